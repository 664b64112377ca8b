//! What a pack knows of a module is known of that module, and of nobody who has its place before or after it (`spec/channel.md`,
//! H250).

use crate::{
    interruptions::{APP, PACK},
    world,
};

use lct::{id::Cid, schedule::Direction};
use pack::{
    app::Party,
    can::{Bus, Frame},
    chunk,
    fault::FaultCode,
    introduction,
    message::{Message, ModuleHardware, RelayState, ScanCell},
    module::{self, Measurement},
    sealed_id::SecurityId,
};
use world::World;

fn module(node: u8, who: usize) -> (Option<Party>, usize) {
    (Some(Party::Module(node)), who)
}

fn want(w: &mut World, state: RelayState) {
    let now = w.now;
    w.app.set_state(now, state, &mut w.rng).unwrap();
    w.run_for(3_000);
}

fn has(w: &World, code: FaultCode) -> bool {
    w.pack.health().active().any(|fault| fault.code == code)
}

/// The frames in which the module at `node` answers who it is, said by somebody who is it or not.
fn claimed(w: &World, node: u8, who: usize) -> Vec<Frame> {
    let id = SecurityId::new(Bus::Can2, Direction::Ba, node);
    let claim = introduction::identify(&w.identities[who], 0, 0, 0).unwrap();
    chunk::split(id.canonical(), &claim).unwrap().collect()
}

fn hear(w: &mut World, frames: &[Frame]) {
    for frame in frames {
        let now = w.now;
        w.pack.frame(now, Bus::Can2, frame, &mut w.rng).unwrap();
    }
    w.run_for(300);
}

/// A module that tripped and was then revoked will never say that its trip is over: a pack that goes on waiting for that never
/// switches on again.
#[test]
fn what_a_revoked_module_told_holds_nothing_up() {
    let mut w = World::new(2, 750);
    w.commission();
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On);
    let place = w.modules.iter().position(|m| m.node() == 2).unwrap();
    for _ in 0..6 {
        let cells = [3_901, 3_902].map(|mv| ScanCell { mv, celsius: 25 });
        let cells = heapless::Vec::from_slice(&cells).unwrap();
        let hot = Measurement { cells, current_ma: 0, temperature_mc: [99_000; 3] };
        let now = w.now;
        w.modules[place].command(now, module::Command::Measure(hot), &mut w.rng).unwrap();
        w.run_for(1_000);
    }
    assert!(has(&w, FaultCode::ModuleTripped) && w.pack.state() == RelayState::Off);
    let end = w.revokes(w.identities[place + 2].cid());
    let now = w.now;
    w.app.send(now, Party::Pack, &end).unwrap();
    w.run_for(2_000);
    assert_eq!(w.pack.modules(), 1);
    assert!(!has(&w, FaultCode::ModuleTripped), "nobody is left who could end it");
    assert_eq!(w.pack.state(), RelayState::Off, "and nothing switches on by itself");
    want(&mut w, RelayState::Off);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On);
}

/// In clear anybody says that he is somebody else. That a module at another place says it is the partner of a binding takes
/// that partner nothing: its own place is asked to be bound anew.
#[test]
fn who_claims_a_name_at_another_place_displaces_nobody() {
    let mut w = World::new(2, 751);
    w.run_for(3_000);
    assert!(w.bind(APP, PACK));
    // The first place stays without binding, the second one has one.
    let bound = w.modules.iter().position(|m| m.node() == 2).unwrap() + 2;
    assert!(w.bind(PACK, module(2, bound)));
    let false_name = claimed(&w, 1, bound);
    hear(&mut w, &false_name);
    assert!(w.bind(PACK, module(2, bound)), "the claim takes the request to the wrong place");
    assert_eq!(w.modules[bound - 2].relation().peer().map(|(cid, _)| cid), Some(Cid::of("pack-0001")));
}

/// What somebody told at a place in clear, before another one was bound there, is not that one's.
#[test]
fn a_place_that_is_bound_knows_nothing_of_who_was_there_before() {
    let mut w = World::new(2, 752);
    w.run_for(3_000);
    assert!(w.bind(APP, PACK));
    let (at, other) = match w.modules[0].node() {
        1 => (2, 3),
        _ => (3, 2),
    };
    let wrong = ModuleHardware {
        max_charge_ma: -1,
        max_discharge_ma: 1,
        end_of_charge_mv: 8_300,
        ..ModuleHardware::decode(&[0; 8]).unwrap()
    };
    let mut told = claimed(&w, 1, other);
    told.push(wrong.frame(1).unwrap());
    hear(&mut w, &told);
    assert!(has(&w, FaultCode::HardwareIncompatible), "the other one's sensors are wired the wrong way");
    let own_name = claimed(&w, 1, at);
    hear(&mut w, &own_name);
    assert!(w.bind(PACK, module(1, at)));
    assert!(!has(&w, FaultCode::HardwareIncompatible), "a fault of somebody who is not there");
}
