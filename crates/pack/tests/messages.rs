//! Messages under policy: what goes round a channel, what a member of the group may not do, what is told about
//! faults, and what a digest proves (`spec/can.md`, C100 to C115).

use crate::world;

use lct::{
    id::Cid,
    schedule::{Direction, GroupKey},
    secret::Secret,
};
use pack::{
    app::{self, Party},
    can::{Bus, Frame},
    chunk::{self, Push, Reassembler},
    controller,
    fault::FaultCode,
    health::{LINGER, Report},
    link::FrameFormat,
    message::{
        Message, ModuleAllDeregister, ModuleAllIsolate, ModuleMaxState, ModuleRegistration,
        ModuleStateChange, RelayState, ScanCell, VcuCommand,
    },
    module::{self, Measurement},
    pdu,
    policy::{self, DeviceState},
    sealed_id::{Class, ClearId, Level, SealedId, SecurityId, classify},
    session::{GroupSender, limits::Limits},
};
use world::{World, rogue::Rogue};

fn started(mut w: World) -> World {
    w.commission();
    on(&mut w);
    w
}

fn on(w: &mut World) {
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(2_500);
    assert_eq!(w.pack.state(), RelayState::On);
}

fn off(w: &mut World) {
    let now = w.now;
    w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
    w.run_for(500);
    assert_eq!(w.pack.state(), RelayState::Off);
}

/// Frames put on a bus by somebody who is no party: every party hears them.
fn inject(w: &mut World, bus: Bus, frames: &[Frame]) {
    for f in frames {
        let now = w.now;
        w.pack.frame(now, bus, f, &mut w.rng).unwrap();
        match bus {
            Bus::Can1 => w.app.frame(now, f, &mut w.rng).unwrap(),
            Bus::Can2 => w.modules.iter_mut().for_each(|m| m.frame(now, f, &mut w.rng).unwrap()),
        }
    }
}

/// The plaintext body of a base in clear, as the class would be sent before any pairing.
fn clear_frame(bus: Bus, base: u16, node: u8) -> Frame {
    let body: &[u8] = match base {
        0x400 => &[3, 0, 0, 0, 0, 0, 0, 0],
        0x404 => &[1, 3, 0, 0, 0, 0, 0, 0],
        0x514 => &[3, 0, 0, 0],
        0x517 => &[3],
        0x51E | 0x51F => &[0],
        0x518 | 0x511 | 0x512 | 0x515 => &[node],
        _ => &[0; 8],
    };
    Frame::new_classic(ClearId::new(base, node).encode(bus).unwrap(), body).unwrap()
}

fn protected(bus: Bus, first: u16, last: u16) -> impl Iterator<Item = u16> {
    (first..=last).filter(move |base| {
        policy::entry(bus, *base).is_some() && policy::is_protected_when_paired(bus, *base)
    })
}

fn alerts(w: &World) -> Vec<(Party, u16)> {
    let of = |e: &app::Event| match e {
        app::Event::Alert(party, alert) => Some((*party, alert.code)),
        _ => None,
    };
    w.events.iter().filter_map(of).collect()
}

fn last_report(w: &World, from: Party) -> Report {
    let of = |e: &app::Event| match e {
        app::Event::Health(party, report) if *party == from => Some(report.clone()),
        _ => None,
    };
    w.events.iter().rev().find_map(of).expect("a report came")
}

fn codes(report: &Report) -> Vec<u16> {
    report.faults.iter().map(|f| f.code).collect()
}

// --- downgrade ----------------------------------------------------------------------------------------

/// Attack 7: every protected class in clear, on both buses, to every paired role, before and after a restart.
#[test]
fn no_clear_frame_of_a_protected_class_has_an_effect_and_three_are_an_alarm() {
    for number in [0, 1] {
        let mut w = started(World::numbered(1, 50, number));
        for round in 0..2 {
            let before = (w.pack.state(), w.modules[0].relay(), w.modules[0].node());
            let refused = (w.pack.refused().policy, w.modules[0].refused().policy, w.app.refused().policy);
            let mut sent = (0, 0, 0);
            for base in protected(Bus::Can1, 0x400, 0x4FF).filter(|base| !(0x407..=0x40A).contains(base)) {
                inject(&mut w, Bus::Can1, &[clear_frame(Bus::Can1, base, number)]);
                if base < 0x410 { sent.0 += 1 } else { sent.2 += 1 }
            }
            for base in protected(Bus::Can2, 0x500, 0x5FF) {
                // Modules' own bases are heard by the pack, the pack's by the module; broadcasts have node 0.
                let node = if matches!(base, 0x517 | 0x51E | 0x51F) { 0 } else { 1 };
                let frame = clear_frame(Bus::Can2, base, node);
                let (now, from_module) = (w.now, base < 0x510);
                if from_module || base >= 0x520 {
                    w.pack.frame(now, Bus::Can2, &frame, &mut w.rng).unwrap();
                    sent.0 += 1;
                }
                if !from_module {
                    w.modules[0].frame(now, &frame, &mut w.rng).unwrap();
                    sent.1 += 1;
                }
            }
            assert!(sent.0 > 10 && sent.1 > 10 && sent.2 > 15, "{sent:?}");
            assert_eq!((w.pack.state(), w.modules[0].relay(), w.modules[0].node()), before, "round {round}");
            assert_eq!(w.pack.refused().policy - refused.0, sent.0, "pack {number}");
            assert_eq!(w.modules[0].refused().policy - refused.1, sent.1);
            assert_eq!(w.app.refused().policy - refused.2, sent.2);
            assert!(w.pack.health().has(FaultCode::ClearRefused));
            assert!(w.modules[0].health().has(FaultCode::ClearRefused));
            assert!(w.app.health().has(FaultCode::ClearRefused));
            w.events.clear();
            w.pack_events.clear();
            w.run_for(3_000);
            let told = alerts(&w);
            for party in [Party::Pack, Party::Module(1)] {
                assert!(told.contains(&(party, FaultCode::ClearRefused as u16)), "{party:?}: {told:?}");
            }
            let by_app = |e: &controller::Event| matches!(e, controller::Event::Alert { node: 0, alert } if alert.code == FaultCode::ClearRefused as u16);
            assert!(w.pack_events.iter().any(by_app), "the app told the pack");
            assert_eq!(w.pack.state(), RelayState::On, "an alarm stops nobody");
            // The minimum is that of the flash: nothing is weaker after a restart, also before a channel stands.
            for who in [0, 1, 2] {
                w.restart(who);
            }
            for state in [w.app.relation().device_state(), w.modules[0].relation().device_state()] {
                assert_eq!(state, DeviceState::Paired);
            }
            for frame in [0x514, 0x517, 0x51F, 0x51E, 0x518].map(|base| clear_frame(Bus::Can2, base, 0)) {
                inject(&mut w, Bus::Can2, &[frame]);
            }
            inject(&mut w, Bus::Can1, &[clear_frame(Bus::Can1, 0x400, number)]);
            assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::Off, RelayState::Off));
            w.run_for(15_000);
            on(&mut w);
        }
    }
}

#[test]
fn the_alarm_comes_with_the_third_frame_and_ends_after_a_minute_of_quiet() {
    let mut w = started(World::new(1, 51));
    let frame = clear_frame(Bus::Can2, 0x514, 1);
    for n in 1..=3 {
        assert!(!w.modules[0].health().has(FaultCode::ClearRefused), "before frame {n}");
        inject(&mut w, Bus::Can2, &[frame]);
    }
    assert!(w.modules[0].health().has(FaultCode::ClearRefused));
    // A flood is told at most once in ten seconds.
    w.events.clear();
    for _ in 0..200 {
        inject(&mut w, Bus::Can2, &[frame; 5]);
        w.run_for(50);
    }
    let told =
        alerts(&w).iter().filter(|a| **a == (Party::Module(1), FaultCode::ClearRefused as u16)).count();
    assert!((1..=2).contains(&told), "{told} alerts in ten seconds");
    assert_eq!(w.modules[0].health().counters().clear_refused, 1_003);
    w.run_for(LINGER.as_millis() + 1_000);
    assert!(!w.modules[0].health().has(FaultCode::ClearRefused));
    assert!(codes(&last_report(&w, Party::Module(1))).is_empty(), "the end was told");
    inject(&mut w, Bus::Can2, &[frame; 2]);
    assert!(!w.modules[0].health().has(FaultCode::ClearRefused), "counted anew");
}

/// Attack 7, second half: ten minutes of jammed channels, then clear commands.
#[test]
fn a_jammed_channel_costs_functions_and_never_protection() {
    let mut w = started(World::new(1, 52));
    let recorded = {
        let mut factory = World::new(1, 52);
        factory.run_for(3_000);
        let frame = ModuleStateChange { state: RelayState::On, hv_bus_mv: 0 }.frame(1).unwrap();
        inject(&mut factory, Bus::Can2, &[frame]);
        frame
    };
    w.filter = Box::new(|frame| {
        if matches!(frame.id(), pack::can::Id::Extended(raw) if raw >> 17 & 1 == 1) {
            let data: Vec<u8> = frame.data().iter().map(|b| b ^ 0x55).collect();
            *frame = Frame::new_classic(frame.id(), &data).unwrap();
        }
        true
    });
    for round in 0..60 {
        w.run_for(10_000);
        inject(&mut w, Bus::Can2, &[recorded, clear_frame(Bus::Can2, 0x517, 0)]);
        inject(&mut w, Bus::Can1, &[clear_frame(Bus::Can1, 0x400, 0)]);
        // The module waits 11.1 s for its pack before it opens.
        let relay = w.modules[0].relay();
        assert!(
            w.pack.state() == RelayState::Off && (round == 0 || relay == RelayState::Off),
            "round {round}"
        );
    }
    assert!(w.modules[0].relation().is_paired() && w.pack.is_paired());
    w.filter = Box::new(|_| true);
    w.run_for(30_000);
    // The status tells the app what the pack no longer holds.
    w.measure(0);
    w.run_for(5_000);
    on(&mut w);
}

/// A clear 0x500 on CAN 1 is 0x400 of pack 1: On to a paired pack 1 is dropped and alarmed.
#[test]
fn pack_one_removes_its_offset_before_it_judges() {
    let mut w = World::numbered(1, 53, 1);
    w.commission();
    w.run_for(1_000);
    let frame = VcuCommand { state: RelayState::On, ..VcuCommand::default() }.frame(1).unwrap();
    assert_eq!(frame.id().raw(), 0x500);
    inject(&mut w, Bus::Can1, &[frame; 3]);
    w.run_for(1_000);
    assert_eq!(w.pack.state(), RelayState::Off);
    assert_eq!(w.pack.refused().policy, 3);
    let fault = w.pack.health().active().find(|f| f.code == FaultCode::ClearRefused).unwrap();
    assert_eq!(fault.detail, 0x400);
}

/// Attack 6: the same sealed frame at another level is not even collected, and changes nothing.
#[test]
fn sealed_frames_at_a_level_without_use_are_dropped_before_they_are_opened() {
    let mut w = started(World::new(1, 54));
    let before = w.modules[0].refused();
    for level in [Level::Dev, Level::Bind] {
        for base in [0x508u16, 0x520, 0x514] {
            let id = SealedId::new(base, level, Direction::Ab, 1).unwrap();
            let frames: Vec<Frame> = chunk::split(id.canonical(), &[0x5A; 40]).unwrap().collect();
            inject(&mut w, Bus::Can2, &frames);
        }
    }
    let after = w.modules[0].refused();
    // Bind is more than exch, and 0x514 at dev could be an emergency stop: these are collected and do not open.
    assert_eq!(after.sealed - before.sealed, 4);
    assert_eq!(after.policy - before.policy, 2 * 5, "each frame of 0x508 and 0x520 at dev");
    assert_eq!(w.modules[0].relay(), RelayState::On);
}

/// Sealed by the real app, at a tier below the command: Off is obeyed, On is not.
#[test]
fn an_emergency_stop_needs_a_channel_and_nothing_more() {
    let mut w = started(World::new(1, 55));
    let rogue = Rogue::of(w.app.relation().session().unwrap());
    for (state, level, expected) in [
        (RelayState::On, Level::Exch, RelayState::On),
        (RelayState::Standby, Level::Exch, RelayState::On),
        (RelayState::Off, Level::Exch, RelayState::Off),
    ] {
        let (body, len) = VcuCommand { state, ..VcuCommand::default() }.encode();
        let id = SealedId::new(0x400, level, Direction::Ab, 0).unwrap();
        for frame in rogue.seal(id, 0x400, &body[..len]) {
            let now = w.now;
            w.pack.frame(now, Bus::Can1, &frame, &mut w.rng).unwrap();
        }
        let now = w.now;
        w.pack.tick(now, &mut w.rng).unwrap();
        assert_eq!(w.pack.state(), expected, "{state:?} at {level:?}");
    }
}

// --- group --------------------------------------------------------------------------------------------

/// The newest group key that the pack gave to the owner of these keys, from a recording of CAN 2.
fn group_key(rogue: &Rogue, w: &World, node: u8) -> (u32, GroupKey) {
    let mut chunks = Reassembler::<8>::new();
    let mut newest = None;
    for (at, bus, frame) in &w.log {
        let Ok(Class::Sealed(id, transport)) = classify(*bus, frame) else { continue };
        if *bus != Bus::Can2 || id.device() != node || id.direction() != Direction::Ab {
            continue;
        }
        if let Push::Complete(message) = chunks.push(*at, id.canonical(), transport, frame.data()) {
            let mut message = message.to_vec();
            if let Ok(opened) = rogue.0.borrow_mut().open(*at, &Limits::default(), id, &mut message)
                && let [pdu::GROUP_KEY, g0, g1, g2, g3, ref key @ ..] = *opened.body
            {
                let generation = u32::from_be_bytes([g0, g1, g2, g3]);
                newest = Some((generation, GroupKey(Secret::from_slice(key).unwrap())));
            }
        }
    }
    newest.expect("the pack gave the group key")
}

/// A group sender with counters far ahead of the pack's.
fn forger(pack: &Cid, generation: u32, key: &GroupKey) -> GroupSender {
    let mut sender = GroupSender::new(&key.traffic(generation, pack).unwrap(), generation).unwrap();
    let id = SealedId::new(0x517, Level::Pair, Direction::Ab, 0).unwrap();
    for _ in 0..2_000 {
        sender.seal(FrameFormat::Classical, id, 0x517, &[0], &mut [0; 64]).unwrap();
    }
    sender
}

fn group_frames(sender: &mut GroupSender, base: u16, body: &[u8]) -> Vec<Frame> {
    let id = SealedId::new(base, Level::Pair, Direction::Ab, 0).unwrap();
    let mut out = [0; 64];
    let n = sender.seal(FrameFormat::Classical, id, base, body, &mut out).unwrap();
    chunk::split(id.canonical(), &out[..n]).unwrap().collect()
}

/// Only modules hear it: the pack would notice its own identifier.
fn to_modules(w: &mut World, frames: &[Frame]) {
    for frame in frames {
        let now = w.now;
        w.modules.iter_mut().for_each(|m| m.frame(now, frame, &mut w.rng).unwrap());
    }
}

fn body<M: Message>(message: &M) -> Vec<u8> {
    let (bytes, len) = message.encode();
    bytes[..len].to_vec()
}

/// Attack 27.
#[test]
fn a_compromised_module_can_forge_isolation_and_no_raise() {
    let mut w = World::new(2, 56);
    w.commission();
    w.run_for(1_000);
    let rogue = Rogue::of(w.modules[0].relation().session().unwrap());
    let (generation, key) = group_key(&rogue, &w, 1);
    assert_eq!(generation, w.pack.group_generation());
    let mut sender = forger(&w.pack.identity().cid(), generation, &key);
    let raises: [(u16, Vec<u8>); 4] = [
        (0x517, body(&ModuleMaxState { max: RelayState::On })),
        (0x514, body(&ModuleStateChange { state: RelayState::On, hv_bus_mv: 0 })),
        (0x516, vec![0xFF; 8]),
        (0x52C, [&[pdu::TIME][..], &[0xFF; 6]].concat()),
    ];
    for (base, body) in &raises {
        to_modules(&mut w, &group_frames(&mut sender, *base, body));
    }
    let now = w.now;
    w.modules.iter_mut().for_each(|m| m.tick(now, &mut w.rng).unwrap());
    assert!(w.modules.iter().all(|m| m.relay() == RelayState::Off));
    assert!(w.modules.iter().all(|m| m.refused().policy >= 2), "counted");
    // A forged ceiling did not stay behind either: a repeated state is still a raise that needs a signature.
    on(&mut w);
    w.module_events.clear();
    to_modules(&mut w, &group_frames(&mut sender, 0x51F, &body(&ModuleAllIsolate::default())));
    assert!(w.modules.iter().all(|m| m.relay() == RelayState::Off), "isolation is accepted");
    w.run_for(1);
    let opened = |e: &(usize, module::Event)| matches!(e.1, module::Event::Relay(RelayState::Off));
    assert_eq!(w.module_events.iter().filter(|e| opened(e)).count(), 2, "and told");
}

/// Attack 15: who left the group can neither read nor forge one second later.
#[test]
fn a_module_that_left_holds_a_dead_group_key() {
    let mut w = started(World::new(2, 57));
    let rogue = Rogue::of(w.modules[0].relation().session().unwrap());
    let (generation, key) = group_key(&rogue, &w, 1);
    // A new binding of module 1 voids its pairing: whoever holds the old keys is out.
    assert!(w.bind((Some(Party::Pack), 1), (Some(Party::Module(1)), 2)));
    w.run_for(1_000);
    assert!(w.pack.group_generation() > generation);
    let before = (w.modules[1].relay(), w.modules[1].node());
    let failures = w.modules[1].health().counters().open_failures;
    let mut sender = forger(&w.pack.identity().cid(), generation, &key);
    for (base, body) in [
        (0x517, body(&ModuleMaxState { max: RelayState::Off })),
        (0x51F, body(&ModuleAllIsolate::default())),
        (0x51E, body(&ModuleAllDeregister::default())),
    ] {
        to_modules(&mut w, &group_frames(&mut sender, base, &body));
    }
    assert_eq!((w.modules[1].relay(), w.modules[1].node()), before);
    assert_eq!(w.modules[1].health().counters().open_failures - failures, 3);
    // The remaining module hears the pack under the new key.
    let mut newest = group_frames(&mut forger(&w.pack.identity().cid(), generation, &key), 0x517, &[3]);
    newest.truncate(1);
    w.run_for(12_000);
    assert_eq!(w.modules[1].node(), before.1, "the heartbeat keeps it registered");
}

#[test]
fn the_rest_of_the_group_has_another_key_within_a_second() {
    let mut w = started(World::new(3, 58));
    let rogues: Vec<Rogue> = w.modules.iter().map(|m| Rogue::of(m.relation().session().unwrap())).collect();
    let before = w.pack.group_generation();
    assert!(w.bind((Some(Party::Pack), 1), (Some(Party::Module(1)), 2)));
    let bound = w.pack_events.iter().rev().any(|e| {
        matches!(
            e,
            controller::Event::Relation { node: 1, event: pack::relation::RelationEvent::Bound { .. } }
        )
    });
    assert!(bound);
    let after = w.pack.group_generation();
    assert!(after > before);
    for (index, node) in [(1, 2), (2, 3)] {
        assert_eq!(group_key(&rogues[index], &w, node).0, after, "node {node}");
    }
    assert_eq!(group_key(&rogues[0], &w, 1).0, before, "the one that left was not told");
}

/// Attack 2 for the group: what was recorded before a module lost its window is dead after it.
#[test]
fn group_frames_recorded_before_a_restart_of_a_module_stay_dead() {
    let mut w = started(World::new(2, 59));
    off(&mut w);
    w.run_for(2_000);
    let group = |(_, bus, f): &(_, Bus, Frame)| {
        *bus == Bus::Can2 && matches!(classify(*bus, f), Ok(Class::Sealed(id, _)) if id.device() == 0)
    };
    let recorded: Vec<Frame> = w.log.iter().filter(|x| group(x)).map(|x| x.2).collect();
    assert!(recorded.len() > 40);
    w.restart(2);
    w.run_for(15_000);
    on(&mut w);
    for frame in &recorded {
        let now = w.now;
        w.modules.iter_mut().for_each(|m| m.frame(now, frame, &mut w.rng).unwrap());
        assert!(w.modules.iter().all(|m| m.relay() == RelayState::On));
    }
}

#[test]
fn generations_of_the_group_key_rise_over_restarts_of_the_pack() {
    let mut w = started(World::new(1, 60));
    let mut last = 0;
    for _ in 0..5 {
        let generation = w.pack.group_generation();
        assert!(generation > last);
        last = generation;
        w.restart(2);
        w.run_for(15_000);
        assert!(w.pack.group_generation() >= last);
        last = w.pack.group_generation();
        w.restart(1);
        w.run_for(15_000);
        assert!(w.modules[0].relation().is_up());
    }
}

// --- registration and identifiers ---------------------------------------------------------------------

#[test]
fn a_forged_registration_moves_no_paired_module() {
    let mut w = started(World::new(2, 61));
    let forged = ModuleRegistration {
        node: 9,
        controller: 0,
        manufacturer: 2,
        part: 3,
        unique_id: w.identities[2].unique_id,
    };
    for _ in 0..20 {
        to_modules(&mut w, &[forged.frame(0xFF).unwrap()]);
        w.run_for(500);
        assert_eq!((w.modules[0].node(), w.modules[0].relay()), (1, RelayState::On));
    }
    // After a start it takes effect only with a run under it: until then the module has no node.
    w.restart(2);
    to_modules(&mut w, &[forged.frame(0xFF).unwrap()]);
    assert_eq!(w.modules[0].node(), module::UNREGISTERED);
    w.run_for(15_000);
    assert!(w.modules[0].relation().is_up());
    assert_eq!(w.modules[0].node(), 1, "the node of the pack that proved itself");
    on(&mut w);
    assert_eq!(w.modules[0].relay(), RelayState::On);
}

#[test]
fn everyone_notices_its_own_identifier_from_somebody_else() {
    let mut w = started(World::new(1, 62));
    let sealed = |base, direction, device| {
        let id = SealedId::new(base, Level::Pair, direction, device).unwrap();
        chunk::split(id.canonical(), &[1; 8]).unwrap().next().unwrap()
    };
    let security = |bus, direction, device| {
        chunk::split(SecurityId::new(bus, direction, device).canonical(), &[0x0B, 0]).unwrap().next().unwrap()
    };
    let counted = |w: &World| {
        [w.app.health(), w.pack.health(), w.modules[0].health()].map(|h| h.counters().own_identifier)
    };
    let (ab, ba) = (Direction::Ab, Direction::Ba);
    let table = [
        (Bus::Can1, sealed(0x400, ab, 0), [1, 0, 0]),
        (Bus::Can1, sealed(0x424, ba, 0), [0, 1, 0]),
        (Bus::Can1, security(Bus::Can1, ab, 0), [1, 0, 0]),
        (Bus::Can1, clear_frame(Bus::Can1, 0x421, 0), [0, 1, 0]),
        (Bus::Can1, clear_frame(Bus::Can1, 0x421, 1), [0, 0, 0]),
        (Bus::Can2, sealed(0x509, ba, 1), [0, 0, 1]),
        (Bus::Can2, sealed(0x509, ba, 2), [0, 0, 0]),
        (Bus::Can2, sealed(0x514, ab, 1), [0, 1, 0]),
        (Bus::Can2, sealed(0x517, ab, 0), [0, 1, 0]),
        (Bus::Can2, security(Bus::Can2, ba, 1), [0, 0, 1]),
        (Bus::Can2, clear_frame(Bus::Can2, 0x502, 1), [0, 0, 1]),
        (Bus::Can2, clear_frame(Bus::Can2, 0x514, 1), [0, 1, 0]),
    ];
    for (bus, frame, expected) in table {
        let before = counted(&w);
        inject(&mut w, bus, &[frame]);
        let after = counted(&w);
        let seen = [0, 1, 2].map(|i| after[i] - before[i]);
        assert_eq!(seen, expected, "{:x}", frame.id().raw());
    }
    w.run_for(2_500);
    let told = alerts(&w);
    for party in [Party::Pack, Party::Module(1)] {
        assert!(told.contains(&(party, FaultCode::OwnIdentifierSeen as u16)), "{told:?}");
    }
}

// --- clear telemetry and its digest -------------------------------------------------------------------

fn listed(seed: u64) -> World {
    let mut w = World::new(1, seed);
    w.stay_clear = vec![0x502, 0x503, 0x504, 0x507, 0x421, 0x422, 0x514, 0x400];
    started(w)
}

fn is_clear(bus: Bus, frame: &Frame, bases: std::ops::RangeInclusive<u16>) -> bool {
    matches!(classify(bus, frame), Ok(Class::Clear(id)) if bases.contains(&id.base))
}

fn counters(w: &World) -> [(u32, u32); 2] {
    [w.app.health(), w.pack.health()]
        .map(|h| (h.counters().digest_unverified, h.counters().digest_mismatches))
}

#[test]
fn listed_classes_travel_clear_and_are_proved_every_second() {
    let mut w = listed(63);
    let start = w.log.len();
    for _ in 0..30 {
        w.run_for(1_000);
        w.measure(-1_000);
    }
    let count = |bus, range: std::ops::RangeInclusive<u16>| {
        w.log[start..].iter().filter(|(_, b, f)| *b == bus && is_clear(bus, f, range.clone())).count()
    };
    assert!(count(Bus::Can2, 0x502..=0x507) >= 4 * 28 && count(Bus::Can1, 0x421..=0x422) >= 2 * 28);
    assert_eq!(count(Bus::Can2, 0x501..=0x501) + count(Bus::Can1, 0x423..=0x430), 0, "only what is listed");
    assert_eq!(counters(&w), [(0, 0), (0, 0)]);
    let heard = w.events.iter().filter(|e| matches!(e, app::Event::Clear(0x421 | 0x422, _))).count();
    assert!(heard >= 2 * 28);
    assert_eq!((w.app.refused().policy, w.pack.refused().policy, w.modules[0].refused().policy), (0, 0, 0));
    // The list outlives a restart, and a command that somebody listed does not become clear.
    for who in [0, 1, 2] {
        w.restart(who);
    }
    w.run_for(15_000);
    let now = w.now;
    w.app.set_time(now, 1_700_000_100_000).unwrap();
    let start = w.log.len();
    w.run_for(5_000);
    let again = w.log[start..].iter().filter(|(_, b, f)| is_clear(*b, f, 0x502..=0x507)).count();
    assert!(again >= 4 * 4, "{again}");
    inject(&mut w, Bus::Can2, &[clear_frame(Bus::Can2, 0x514, 1)]);
    inject(&mut w, Bus::Can1, &[clear_frame(Bus::Can1, 0x400, 0)]);
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::Off, RelayState::Off));
    assert_eq!(w.modules[0].refused().policy, 1);
}

#[test]
fn without_a_list_nothing_is_clear_and_nothing_is_digested() {
    let mut w = started(World::new(1, 64));
    let start = w.log.len();
    w.run_for(10_000);
    let clear = w.log[start..].iter().filter(|(_, bus, f)| {
        matches!(classify(*bus, f), Ok(Class::Clear(id)) if policy::is_protected_when_paired(*bus, id.base))
    });
    assert_eq!(clear.count(), 0);
    assert_eq!(counters(&w), [(0, 0), (0, 0)]);
}

/// Alters, drops, repeats, adds or exchanges clear frames on their way, for three seconds.
#[test]
fn what_happens_to_clear_telemetry_is_noticed_and_told_from_losses() {
    type Tamper = fn(&mut u32, &mut Frame) -> bool;
    let alter: Tamper = |n, frame| {
        *n += 1;
        if *n == 2 {
            let mut data = frame.data().to_vec();
            data[0] ^= 1;
            *frame = Frame::new_classic(frame.id(), &data).unwrap();
        }
        true
    };
    let drop_one: Tamper = |n, _| {
        *n += 1;
        *n != 2
    };
    let drop_all: Tamper = |_, _| false;
    for (what, bus, tamper) in [
        ("altered", Bus::Can2, alter),
        ("lost", Bus::Can2, drop_one),
        ("all lost", Bus::Can2, drop_all),
        ("altered", Bus::Can1, alter),
        ("lost", Bus::Can1, drop_one),
        ("all lost", Bus::Can1, drop_all),
    ] {
        let mut w = listed(65);
        w.run_for(2_000);
        let before = counters(&w);
        let mut n = 0;
        w.filter = Box::new(move |frame| {
            let range = if bus == Bus::Can2 { 0x502..=0x507 } else { 0x421..=0x422 };
            let of_bus = matches!(frame.id(), pack::can::Id::Extended(_)) == (bus == Bus::Can2);
            if of_bus && is_clear(bus, frame, range) { tamper(&mut n, frame) } else { true }
        });
        w.run_for(4_000);
        let at = if bus == Bus::Can2 { 1 } else { 0 };
        let (unverified, mismatches) = (counters(&w)[at].0 - before[at].0, counters(&w)[at].1 - before[at].1);
        let health = if bus == Bus::Can2 { w.pack.health() } else { w.app.health() };
        match what {
            "altered" => {
                assert_eq!((unverified, mismatches), (0, 1), "{bus}");
                assert!(health.has(FaultCode::DigestMismatch));
            }
            "lost" => {
                assert_eq!((unverified, mismatches), (1, 0), "{bus}");
                assert!(!health.has(FaultCode::DigestMismatch) && !health.has(FaultCode::DigestUnverified));
            }
            _ => {
                assert!(unverified >= 3 && mismatches == 0, "{bus}");
                assert!(health.has(FaultCode::DigestUnverified));
            }
        }
    }
    // One frame more than was sent.
    let mut w = listed(66);
    w.run_for(2_500);
    let added = Frame::new_classic(ClearId::new(0x503, 1).encode(Bus::Can2).unwrap(), &[0xFF; 8]).unwrap();
    let now = w.now;
    w.pack.frame(now, Bus::Can2, &added, &mut w.rng).unwrap();
    w.run_for(2_000);
    assert!(w.pack.health().has(FaultCode::DigestMismatch));
    // Digests that are held back: their frames stay unproved, and that shows.
    let mut w = listed(67);
    w.filter = Box::new(|frame| {
        !matches!(classify(Bus::Can2, frame), Ok(Class::Sealed(id, _))
            if id.family() == 0x50C && id.level() == Level::Exch && id.direction() == Direction::Ba)
    });
    w.run_for(12_000);
    assert!(w.pack.health().has(FaultCode::DigestUnverified));
    assert!(!w.pack.health().has(FaultCode::DigestMismatch));
}

/// A forged clear status neither closes a relay in the pack's eyes nor widens a limit.
#[test]
fn clear_telemetry_is_shown_and_never_relied_upon() {
    let mut w = World::new(1, 68);
    w.stay_clear = vec![0x501, 0x502, 0x503, 0x504, 0x507];
    w.commission();
    w.run_for(2_000);
    w.measure(0);
    w.run_for(1_000);
    let status = Frame::new_classic(ClearId::new(0x502, 1).encode(Bus::Can2).unwrap(), &[3; 8]).unwrap();
    let hardware = Frame::new_classic(ClearId::new(0x501, 1).encode(Bus::Can2).unwrap(), &[0xFF; 8]).unwrap();
    for _ in 0..5 {
        let now = w.now;
        w.pack.frame(now, Bus::Can2, &status, &mut w.rng).unwrap();
        w.pack.frame(now, Bus::Can2, &hardware, &mut w.rng).unwrap();
        w.run_for(200);
    }
    assert_eq!(w.pack.state(), RelayState::Off);
    w.events.clear();
    w.measure(0);
    w.run_for(100);
    let limits = w.events.iter().find_map(|e| match e {
        app::Event::PackStatus(s) => Some((s.data5.charge_limit_ma, s.data5.discharge_limit_ma)),
        _ => None,
    });
    assert_eq!(limits, Some((65_000, -200_000)));
}

/// Until a module told what it can do, the pack allows nothing through it, and it asks.
#[test]
fn a_capability_that_was_lost_counts_as_none_and_is_asked_for() {
    let limits = |w: &mut World| {
        w.events.clear();
        w.measure(0);
        w.run_for(100);
        let of = |e: &app::Event| match e {
            app::Event::PackStatus(s) => Some((s.data5.charge_limit_ma, s.data5.discharge_limit_ma)),
            _ => None,
        };
        w.events.iter().find_map(of).expect("a status came")
    };
    let mut w = World::new(2, 74);
    w.commission();
    w.restart(1);
    // 0x501 of module 1, which it sends when its channel comes up: the first sealed message of its family.
    w.filter = Box::new(|frame| {
        !matches!(classify(Bus::Can2, frame), Ok(Class::Sealed(id, _))
            if id.device() == 1 && id.family() == 0x500 && id.direction() == Direction::Ba)
    });
    w.run_for(3_000);
    let now = w.now;
    w.app.set_time(now, 1_700_000_100_000).unwrap();
    w.run_for(100);
    w.measure(0);
    w.run_for(500);
    assert_eq!(limits(&mut w), (0, 0));
    w.filter = Box::new(|_| true);
    w.run_for(11_000);
    assert_eq!(limits(&mut w), (65_000, -200_000));
}

// --- faults and health --------------------------------------------------------------------------------

fn measure(w: &mut World, module: usize, mv: [u16; 2], mc: i32, ma: i32) {
    let cells = mv.into_iter().map(|mv| ScanCell { mv, celsius: (mc / 1_000) as i16 }).collect();
    let measurement = Measurement { cells, current_ma: ma, temperature_mc: [mc; 3] };
    let now = w.now;
    w.modules[module].command(now, module::Command::Measure(measurement), &mut w.rng).unwrap();
}

/// A trip opens the relay in the same call, without a bus; the pack follows and stays Off until it is told Off.
#[test]
fn a_module_trips_by_itself_and_the_pack_stays_off_until_it_is_told() {
    let calm = ([3_800u16, 3_810], 25_000, -1_000);
    for (code, (mv, mc, ma)) in [
        (FaultCode::CellOverVoltage, ([3_800, 4_300], 25_000, -1_000)),
        (FaultCode::CellUnderVoltage, ([2_400, 3_800], 25_000, -1_000)),
        (FaultCode::OverTemperature, ([3_800, 3_810], 70_000, -1_000)),
        (FaultCode::UnderTemperature, ([3_800, 3_810], -30_000, -1_000)),
        (FaultCode::ChargeOverCurrent, ([3_800, 3_810], 25_000, 90_000)),
        (FaultCode::DischargeOverCurrent, ([3_800, 3_810], 25_000, -250_000)),
    ] {
        let mut w = started(World::new(2, 69));
        measure(&mut w, 0, mv, mc, ma);
        assert_eq!(w.modules[0].relay(), RelayState::Off, "{code:?}: at once, without a frame");
        assert_eq!(w.modules[1].relay(), RelayState::On);
        w.events.clear();
        w.run_for(1_500);
        assert_eq!(w.pack.state(), RelayState::Off, "{code:?}");
        assert!(w.modules.iter().all(|m| m.relay() == RelayState::Off));
        assert!(alerts(&w).contains(&(Party::Module(1), code as u16)), "{code:?}");
        let current = matches!(code, FaultCode::ChargeOverCurrent | FaultCode::DischargeOverCurrent);
        if current {
            // The pack's Off ended it in the module; the pack remembers.
            assert_eq!(last_report(&w, Party::Module(1)).counters.current_trips, 1);
        } else {
            assert_eq!(codes(&last_report(&w, Party::Module(1))), [code as u16]);
        }
        // The app still wants On and asks every second; nothing closes while the cause lasts.
        measure(&mut w, 0, mv, mc, 0);
        w.run_for(5_000);
        assert!(w.modules.iter().all(|m| m.relay() == RelayState::Off) && w.pack.tripped(), "{code:?}");
        // The cause is over: still Off, until somebody switches Off and On.
        measure(&mut w, 0, calm.0, calm.1, calm.2);
        w.run_for(5_000);
        assert_eq!(w.pack.state(), RelayState::Off, "{code:?}: nobody acknowledged the trip");
        let now = w.now;
        w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
        w.run_for(12_000);
        assert!(codes(&last_report(&w, Party::Module(1))).is_empty(), "{code:?}");
        assert!(codes(&last_report(&w, Party::Pack)).is_empty(), "{code:?}");
        on(&mut w);
        assert!(w.modules.iter().all(|m| m.relay() == RelayState::On), "{code:?}");
    }
}

/// Nobody on the bus can keep a module from tripping, or close its relay again.
#[test]
fn no_command_closes_a_tripped_relay() {
    let mut w = started(World::new(1, 70));
    w.filter = Box::new(|_| false);
    measure(&mut w, 0, [3_800, 4_300], 25_000, 0);
    assert_eq!(w.modules[0].relay(), RelayState::Off, "with the bus cut");
    w.filter = Box::new(|_| true);
    w.run_for(10_000);
    assert_eq!(w.modules[0].relay(), RelayState::Off);
    let counters = w.modules[0].health().counters();
    assert_eq!((counters.voltage_trips, counters.temperature_trips, counters.current_trips), (1, 0, 0));
}

#[test]
fn the_pack_trips_on_its_own_sensor() {
    let mut w = started(World::new(1, 71));
    let now = w.now;
    let measured = controller::Command::Measure { pack_mv: 7_800, pack_ma: -250_000 };
    w.pack.command(now, measured, &mut w.rng).unwrap();
    assert_eq!(w.pack.state(), RelayState::Off);
    w.run_for(3_000);
    assert_eq!(w.modules[0].relay(), RelayState::Off);
    let report = last_report(&w, Party::Pack);
    assert_eq!(codes(&report), [FaultCode::DischargeOverCurrent as u16]);
    assert_eq!(report.faults[0].detail, -250_000i32 as u32);
    off(&mut w);
    on(&mut w);
}

#[test]
fn reports_come_every_ten_seconds_and_with_every_change() {
    let mut w = started(World::new(2, 72));
    w.run_for(12_000);
    w.events.clear();
    w.run_for(30_000);
    let count = |w: &World, of: Party| {
        w.events.iter().filter(|e| matches!(e, app::Event::Health(p, _) if *p == of)).count()
    };
    for party in [Party::Pack, Party::Module(1), Party::Module(2)] {
        assert_eq!(count(&w, party), 3, "{party:?}");
    }
    // A cell that stops reporting is told at once, and so is its return.
    w.events.clear();
    measure(&mut w, 1, [3_800, 0], 25_000, 0);
    w.run_for(1_500);
    let report = last_report(&w, Party::Module(2));
    assert_eq!((codes(&report), report.faults[0].severity), (vec![FaultCode::CellsMissing as u16], 2));
    assert_eq!(report.boot, 1);
    assert!(alerts(&w).is_empty(), "a warning is no alert");
    w.run_for(5_000);
    measure(&mut w, 1, [3_800, 3_800], 25_000, 0);
    w.run_for(1_500);
    assert!(codes(&last_report(&w, Party::Module(2))).is_empty());
}

#[test]
fn silence_and_lost_channels_are_faults_of_the_pack() {
    let mut w = started(World::new(2, 73));
    w.filter = Box::new(|f| !matches!(f.id(), pack::can::Id::Extended(raw) if raw & 0xFF == 1));
    w.run_for(8_000);
    let report = last_report(&w, Party::Pack);
    assert_eq!(codes(&report), [FaultCode::ModuleSilent as u16]);
    assert_eq!(report.faults[0].detail, 1 << 1, "node 1");
    w.restart(1);
    w.run_for(16_000);
    let report = last_report(&w, Party::Pack);
    assert!(report.faults.iter().any(|f| f.code == FaultCode::ChannelLost as u16 && f.detail == 1 << 1));
    w.filter = Box::new(|_| true);
    w.run_for(30_000);
    assert!(codes(&last_report(&w, Party::Pack)).is_empty());
}
