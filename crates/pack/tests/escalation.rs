//! Escalation over whole devices: who may ask for more, what it stops and what it never stops, what ends it
//! (`spec/channel.md`, H150 to H155).

use crate::world;

use lct::{
    journal::{Code, Entry},
    schedule::Direction,
    validation::{
        EscalationReason::{Anomaly, Audit, Threat},
        Urgency::{Deferred, Immediate},
        ValidationLevel::{self, Announce, Binding, Command, Pairing},
    },
};
use pack::{
    app::{self, Party},
    can::{Bus, Frame, Id},
    chunk,
    command::CommandResult,
    controller,
    journal::LogPart,
    message::{Message, ModuleStatus1, RelayState},
    module, pdu,
    relation::RelationEvent,
    sealed_id::{Class, Level, SecurityId, classify},
};
use std::{cell::Cell, rc::Rc};
use world::{World, rogue::Rogue};

const APP: (Option<Party>, usize) = (None, 0);
const PACK: (Option<Party>, usize) = (Some(Party::Pack), 1);
const MODULE: (Option<Party>, usize) = (Some(Party::Module(1)), 2);

fn commissioned(modules: usize, seed: u64) -> World {
    let mut w = World::new(modules, seed);
    w.commission();
    w.events.clear();
    w
}

fn want(w: &mut World, state: RelayState) {
    let now = w.now;
    w.app.set_state(now, state, &mut w.rng).unwrap();
    w.run_for(1_500);
}

fn pack_asks(w: &mut World, node: u8, target: ValidationLevel, urgency: lct::validation::Urgency) {
    let command = controller::Command::Escalate { node, target, reason: Anomaly, urgency };
    let now = w.now;
    w.pack.command(now, command, &mut w.rng).unwrap();
}

/// What the app was answered about the last state that it asked for.
fn answered(w: &World) -> Option<CommandResult> {
    w.events.iter().rev().find_map(|e| match e {
        app::Event::Commanded(_, result) => Some(*result),
        _ => None,
    })
}

/// Whether a frame is sealed and comes from side B on CAN 1, and nothing of a handshake.
fn from_the_pack(frame: &Frame) -> bool {
    matches!(classify(Bus::Can1, frame), Ok(Class::Sealed(id, _)) if id.direction() == Direction::Ba)
}

fn inject(w: &mut World, bus: Bus, from: Direction, device: u8, message: &[u8]) {
    let id = SecurityId::new(bus, from, device);
    for frame in chunk::split(id.canonical(), message).unwrap() {
        let (now, rng) = (w.now, &mut w.rng);
        w.pack.frame(now, bus, &frame, rng).unwrap();
        match bus {
            Bus::Can1 => w.app.frame(now, &frame, rng).unwrap(),
            Bus::Can2 => w.modules.iter_mut().for_each(|m| m.frame(now, &frame, rng).unwrap()),
        }
    }
}

/// Entries of this code in the log of a party, as the app was told them.
fn logged(w: &World, party: Option<Party>, code: Code) -> Vec<Vec<u8>> {
    let entries = w.events.iter().filter_map(|e| match e {
        app::Event::Log(from, LogPart::Entry { number, entry, .. }) if *from == party => {
            Some((*number, Entry::decode(entry).unwrap()))
        }
        _ => None,
    });
    let found: std::collections::BTreeMap<u64, Entry> =
        entries.filter(|(_, entry)| entry.code == code as u8).collect();
    found.into_values().map(|entry| entry.detail.to_vec()).collect()
}

/// Lets time pass while the app acknowledges every part of a log, as a gateway does.
fn keep_logs(w: &mut World, ms: u64) {
    for _ in 0..ms / 200 {
        w.run_for(200);
        for party in [None, Some(Party::Pack)] {
            let last = w.events.iter().rev().find_map(|e| match e {
                app::Event::Log(from, part) if *from == party => Some(part.receipt()),
                _ => None,
            });
            if let Some(receipt) = last {
                w.log_kept(party, receipt);
            }
        }
    }
}

/// The receiver judges by itself: the app, which did not hear that the pack asked for more, signs a raise and is
/// refused; Off is obeyed; a minute later the same raise is carried out.
#[test]
fn the_receiver_refuses_to_raise_and_obeys_off() {
    let mut w = commissioned(1, 200);
    want(&mut w, RelayState::Standby);
    assert_eq!((w.pack.state(), answered(&w)), (RelayState::Standby, Some(CommandResult::Done)));
    let deaf = Rc::new(Cell::new(true));
    let flag = deaf.clone();
    w.filter = Box::new(move |f| !(flag.get() && from_the_pack(f)));
    pack_asks(&mut w, 0, Pairing, Deferred);
    w.run_for(3_500);
    deaf.set(false);
    assert_eq!(w.app.relation().escalated(w.now), None, "it did not hear");
    w.events.clear();
    want(&mut w, RelayState::On);
    assert_eq!((w.pack.state(), answered(&w)), (RelayState::Standby, Some(CommandResult::Refused)));
    want(&mut w, RelayState::Off);
    assert_eq!(w.pack.state(), RelayState::Off, "what lowers needs no level");
    w.run_for(60_000);
    w.events.clear();
    want(&mut w, RelayState::On);
    assert_eq!((w.pack.state(), answered(&w)), (RelayState::On, Some(CommandResult::Done)));
}

/// Level 5 and below ask for nothing that a raise does not have.
#[test]
fn a_command_suffices_for_level_5() {
    let mut w = commissioned(1, 201);
    let now = w.now;
    w.app.escalate(now, Command, Audit, Immediate).unwrap();
    w.run_for(200);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On);
}

/// A sender that asked for more signs nothing below it, and a request for less changes nothing.
#[test]
fn nobody_lowers_by_message() {
    let mut w = commissioned(1, 202);
    let now = w.now;
    w.app.escalate(now, Pairing, Threat, Deferred).unwrap();
    w.run_for(200);
    let events = |w: &World| -> Vec<RelationEvent> {
        let all = w.pack_events.iter().filter_map(|e| match e {
            controller::Event::Relation { node: 0, event } => Some(*event),
            _ => None,
        });
        all.filter(|e| matches!(e, RelationEvent::Escalated { .. } | RelationEvent::EscalationEnded { .. }))
            .collect()
    };
    assert_eq!(
        events(&w),
        [RelationEvent::Escalated { target: Pairing, reason: Threat, urgency: Deferred, own: false }]
    );
    pack_asks(&mut w, 0, Announce, Immediate);
    w.run_for(200);
    assert_eq!(w.app.relation().escalated(w.now), Some(Pairing));
    want(&mut w, RelayState::On);
    assert_eq!((w.pack.state(), answered(&w)), (RelayState::Off, None), "nothing was signed");
    keep_logs(&mut w, 62_000);
    assert_eq!(w.app.relation().escalated(w.now), None);
    assert_eq!(
        events(&w).last(),
        Some(&RelationEvent::EscalationEnded { level: Pairing, by: None }),
        "it ended by time"
    );
    w.run_for(1_500);
    assert_eq!(w.pack.state(), RelayState::On, "what was wanted all the time is signed now");
    assert_eq!(logged(&w, None, Code::Escalated), [[6, 2, 0, 1], [1, 1, 1, 0]]);
    assert_eq!(logged(&w, Some(Party::Pack), Code::Escalated), [[6, 2, 0, 0], [1, 1, 1, 1]]);
    assert_eq!(logged(&w, Some(Party::Pack), Code::EscalationEnded), [[6, 0]]);
    assert_eq!(logged(&w, None, Code::BelowLevel), [[6, 6]; 2], "raise needed level 6; told once a minute");
}

/// An immediate request for level 6 outlives time and a start of both; a new pairing ends it, and only one that
/// completed.
#[test]
fn level_6_lasts_until_a_new_pairing() {
    let mut w = commissioned(1, 203);
    let now = w.now;
    w.app.escalate(now, Pairing, Anomaly, Immediate).unwrap();
    w.run_for(120_000);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::Off);
    w.restart(1);
    w.run_for(3_000);
    // The app starts as if it had never asked: the pack alone holds to it.
    w.flash[0].remove(&pack::identity::key::escalation(0));
    w.restart(0);
    w.run_for(5_000);
    assert!(w.app.relation().is_up());
    assert_eq!(w.app.relation().escalated(w.now), None);
    w.events.clear();
    want(&mut w, RelayState::On);
    assert_eq!((w.pack.state(), answered(&w)), (RelayState::Off, Some(CommandResult::Refused)));
    assert!(w.pair(APP, PACK));
    assert!(!w.flash[1].contains_key(&pack::identity::key::escalation(0)));
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On);
}

/// What asks for level 7 lets no pairing be completed or modified; a new binding ends it.
#[test]
fn level_7_lasts_until_a_new_binding() {
    let mut w = commissioned(1, 204);
    pack_asks(&mut w, 1, Binding, Immediate);
    w.run_for(200);
    assert_eq!(w.modules[0].relation().escalated(w.now), Some(Binding));
    assert!(!w.pair(PACK, MODULE));
    assert_eq!(w.answer(MODULE.0, pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS).map(|a| a[18]), Some(3));
    w.events.clear();
    // Telemetry and status go on.
    w.measure(-1_000);
    w.run_for(500);
    assert!(w.events.iter().any(|e| matches!(e, app::Event::ModuleScan(1, _))));
    want(&mut w, RelayState::On);
    assert_eq!(w.modules[0].relay(), RelayState::Off);
    want(&mut w, RelayState::Off);
    assert!(w.bind(PACK, MODULE));
    assert_eq!(w.modules[0].relation().escalated(w.now), None);
    assert!(w.pair(PACK, MODULE));
    want(&mut w, RelayState::On);
    assert_eq!(w.modules[0].relay(), RelayState::On);
}

/// What a module asks of its pack stays theirs: of the app no more is asked than a signed command, for a minute, and three
/// times an hour. The others are switched on meanwhile, and ask for what they need.
#[test]
fn a_module_that_asks_for_level_7_stops_no_other() {
    let mut w = commissioned(2, 211);
    let ask = |w: &mut World, index: usize| {
        let (now, rng) = (w.now, &mut w.rng);
        let ask = module::Command::Escalate { target: Binding, reason: Threat, urgency: Immediate };
        let _too_often = w.modules[index].command(now, ask, rng);
        w.run_for(200);
    };
    let asked = |w: &World| {
        let own = |e: &&controller::Event| {
            matches!(
                e,
                controller::Event::Relation { node: 0, event: RelationEvent::Escalated { own: true, .. } }
            )
        };
        w.pack_events.iter().filter(own).count()
    };
    let (rogue, other) = (w.modules[0].node(), w.modules[1].node());
    ask(&mut w, 0);
    assert_eq!((w.pack.escalated(rogue, w.now), w.pack.escalated(other, w.now)), (Some(Binding), None));
    assert_eq!(
        (w.pack.escalated(0, w.now), w.app.relation().escalated(w.now)),
        (Some(Command), Some(Command))
    );
    want(&mut w, RelayState::On);
    assert_eq!((w.modules[0].relay(), w.modules[1].relay()), (RelayState::Off, RelayState::On));
    for minutes in 0..8 {
        w.run_for(62_000);
        assert_eq!(w.pack.escalated(0, w.now), None, "it ends with time");
        ask(&mut w, 0);
        assert!(w.pack.escalated(0, w.now) <= Some(Command));
        assert_eq!(asked(&w), 3.min(minutes + 2));
    }
    ask(&mut w, 1);
    assert_eq!((w.pack.escalated(0, w.now), asked(&w)), (Some(Command), 4));
}

/// A module that asks for more is not raised any more; its own trip waits for nobody, and neither does Off.
#[test]
fn a_trip_waits_for_no_level() {
    let mut w = commissioned(1, 205);
    want(&mut w, RelayState::On);
    assert_eq!(w.modules[0].relay(), RelayState::On);
    let now = w.now;
    let ask = module::Command::Escalate { target: Binding, reason: Anomaly, urgency: Deferred };
    w.modules[0].command(now, ask, &mut w.rng).unwrap();
    w.run_for(1_500);
    assert_eq!(w.modules[0].relay(), RelayState::On, "what is in force stays");
    let mut cells = heapless::Vec::new();
    cells.push(pack::message::ScanCell { mv: 4_400, celsius: 25 }).unwrap();
    let high = module::Measurement { cells, current_ma: 0, temperature_mc: [25_000; 3] };
    let now = w.now;
    w.modules[0].command(now, module::Command::Measure(high), &mut w.rng).unwrap();
    assert_eq!(w.modules[0].relay(), RelayState::Off, "in the same call");
}

/// Clear telemetry is worth no more than an announce: while more is asked for it is neither sent nor taken.
#[test]
fn what_may_stay_clear_is_sealed_meanwhile() {
    let mut w = World::new(1, 206);
    w.stay_clear = vec![ModuleStatus1::BASE];
    w.commission();
    let clear = |w: &World| {
        let status = |(_, bus, f): &&(_, Bus, Frame)| {
            *bus == Bus::Can2
                && matches!(classify(*bus, f), Ok(Class::Clear(id)) if id.base == ModuleStatus1::BASE)
        };
        w.log.iter().filter(status).count()
    };
    w.log.clear();
    w.run_for(5_000);
    assert!(clear(&w) >= 4, "{} while nothing is asked", clear(&w));
    pack_asks(&mut w, 1, ValidationLevel::Witness, Deferred);
    w.run_for(200);
    w.log.clear();
    w.run_for(50_000);
    assert_eq!(clear(&w), 0);
    let denied = w.pack.refused().policy;
    let node = w.modules[0].node();
    let forged = Frame::new_classic(Id::Extended(0x502 << 18 | u32::from(node)), &[3; 8]).unwrap();
    let now = w.now;
    w.pack.frame(now, Bus::Can2, &forged, &mut w.rng).unwrap();
    assert_eq!(w.pack.refused().policy, denied + 1);
    w.run_for(12_000);
    w.log.clear();
    w.run_for(5_000);
    assert!(clear(&w) >= 4, "{} afterwards", clear(&w));
    assert_eq!(w.pack.health().active().filter(|f| f.code as u16 & 0xFF00 == 0x0600).count(), 0);
}

/// Attack 13 from outside: ten thousand requests a second in clear raise nothing, make no signature, and begin one
/// RESUME a minute; commands are as quick as without them.
#[test]
fn a_flood_in_clear_is_a_hint() {
    let quick = |flood: bool| {
        let mut w = commissioned(1, 207);
        w.log.clear();
        let request = [pdu::ESCALATION, 7, 2, 1, 0, 0, 0, 1];
        for _ in 0..100 {
            if flood {
                for _ in 0..100 {
                    inject(&mut w, Bus::Can1, Direction::Ab, 0, &request);
                    inject(&mut w, Bus::Can1, Direction::Ba, 0, &request);
                    inject(&mut w, Bus::Can2, Direction::Ab, 1, &request);
                    inject(&mut w, Bus::Can2, Direction::Ba, 1, &request);
                }
            }
            w.run_for(10);
        }
        assert_eq!(w.app.relation().escalated(w.now), None);
        assert_eq!(w.modules[0].relation().escalated(w.now), None);
        let first = |f: &Frame, bus| match classify(bus, f) {
            Ok(Class::Security(..)) => f.data().first_chunk::<3>().copied(),
            _ => None,
        };
        let requests = |bus| {
            w.log
                .iter()
                .filter(|(_, b, f)| *b == bus && first(f, bus) == Some([pdu::HANDSHAKE, 1, 4]))
                .count()
        };
        let runs = (requests(Bus::Can1), requests(Bus::Can2));
        let asked = w.now;
        w.app.set_state(asked, RelayState::On, &mut w.rng).unwrap();
        while w.modules[0].relay() != RelayState::On {
            w.run_for(1);
            assert!(w.now.saturating_since(asked).as_millis() < 2_000);
        }
        (runs, w.now.saturating_since(asked).as_millis())
    };
    let (none, plain) = quick(false);
    let (runs, flooded) = quick(true);
    assert_eq!(none, (0, 0));
    // One by A for its own hint, one because B asked for it; the binding's channel is renewed with each.
    assert!((1..=4).contains(&runs.0) && (1..=4).contains(&runs.1), "{runs:?}");
    assert!(flooded <= plain + plain / 10, "{flooded} ms, {plain} ms without a flood");
}

/// Attack 13 from a paired peer whose keys were stolen: of ten thousand requests three are judged, the rest is counted
/// and logged once, and none of them makes a level lower.
#[test]
fn a_flood_of_a_paired_peer_is_judged_three_times_a_minute() {
    let mut w = commissioned(1, 210);
    let rogue = Rogue::of(w.modules[0].relation().session().unwrap());
    let id = SecurityId::new(Bus::Can2, Direction::Ba, 1);
    let mut asked = 0u32;
    let mut flood = |w: &mut World, n: u32, target: u8| {
        for _ in 0..n {
            asked += 1;
            let request = [&[pdu::ESCALATION, target, 1, 0][..], &asked.to_be_bytes()].concat();
            for frame in rogue.seal(id.sealed(Level::Pair), id.base(), &request) {
                let now = w.now;
                w.pack.frame(now, Bus::Can2, &frame, &mut w.rng).unwrap();
            }
        }
        w.run_for(200);
    };
    let raised = |w: &World| {
        let taken = |e: &&controller::Event| {
            matches!(
                e,
                controller::Event::Relation { node: 1, event: RelationEvent::Escalated { own: false, .. } }
            )
        };
        w.pack_events.iter().filter(taken).count()
    };
    let overflow = |w: &World| {
        let told = |e: &controller::Event| match e {
            controller::Event::Relation { node: 1, event: RelationEvent::EscalationOverflow { count } } => {
                Some(*count)
            }
            _ => None,
        };
        w.pack_events.iter().filter_map(told).collect::<Vec<u32>>()
    };
    flood(&mut w, 1, 6);
    for _ in 0..100 {
        flood(&mut w, 100, 1);
    }
    assert_eq!((raised(&w), overflow(&w)), (3, vec![1]));
    assert_eq!(w.pack.escalated(1, w.now), Some(Pairing), "a request for level 1 changed nothing");
    w.run_for(45_000);
    flood(&mut w, 4, 1);
    assert_eq!((raised(&w), overflow(&w)), (6, vec![1, 10_005 - 6 - 1]));
    // The app's own requests are heard beside all that.
    let now = w.now;
    w.app.escalate(now, Command, Threat, Deferred).unwrap();
    w.run_for(200);
    assert_eq!(w.pack.escalated(0, w.now), Some(Command));
}

/// Attack 13 from a paired peer: the fourth request of a minute is neither sent by an honest device nor judged.
#[test]
fn an_honest_device_asks_three_times_a_minute() {
    let mut w = commissioned(1, 208);
    for _ in 0..3 {
        let now = w.now;
        w.app.escalate(now, Command, Audit, Deferred).unwrap();
        w.run_for(1_000);
    }
    let now = w.now;
    assert_eq!(w.app.escalate(now, Binding, Audit, Immediate), Err(lct::Error::Exhausted));
    assert_eq!(w.app.relation().escalated(w.now), Some(Command));
    w.run_for(61_000);
    let now = w.now;
    w.app.escalate(now, Binding, Audit, Immediate).unwrap();
    assert_eq!(w.app.relation().escalated(w.now), Some(Binding));
}

/// Without a pairing there is nobody to ask.
#[test]
fn an_unpaired_device_asks_nobody() {
    let mut w = World::new(1, 209);
    w.run_for(3_000);
    assert!(w.bind(APP, PACK));
    let now = w.now;
    assert_eq!(w.app.escalate(now, Binding, Threat, Immediate), Err(lct::Error::WrongParty));
}
