//! What a peer may have done, and for how long a command is of use (`spec/channel.md`, H36, H53, H79 and H114): a
//! sender that keeps to none of it meets a target that does.

use crate::world;

use lct::{
    binding::Assurance,
    journal::{Code, Entry},
    metadata::PairingContext,
    revocation::{Reason, RevocationList, Revoked, Subject},
    schedule::Direction,
};
use pack::{
    app::{self, Party},
    bootstrap,
    can::{Bus, Frame},
    command::CommandResult,
    controller,
    identity::key,
    journal::LogPart,
    lease::LeaseState,
    message::RelayState,
    pdu,
    policies::{Reason as PolicyReason, factory_rows},
    sealed_id::{Class, Level, classify},
};
use std::{cell::RefCell, rc::Rc};
use world::World;

const APP: usize = 0;
const PACK: usize = 1;
const MODULE: usize = 2;
const PAIR: [(Option<Party>, usize); 2] = [(None, APP), (Some(Party::Pack), PACK)];
/// Place of operations and context in the record of a lease (H61).
const RIGHTS: std::ops::Range<usize> = 41..43;

fn want(w: &mut World, state: RelayState) {
    let now = w.now;
    w.app.set_state(now, state, &mut w.rng).unwrap();
}

fn results(w: &mut World) -> Vec<CommandResult> {
    let result = |e| if let app::Event::Commanded(_, result) = e { Some(result) } else { None };
    std::mem::take(&mut w.events).into_iter().filter_map(result).collect()
}

/// Codes and details that a device has in its log, read as a keeper reads them.
fn log(w: &mut World, of: Party) -> Vec<(u8, Vec<u8>)> {
    let mut log = Vec::new();
    for _ in 0..60 {
        w.run_for(500);
        for event in std::mem::take(&mut w.events) {
            let app::Event::Log(from, part) = event else { continue };
            w.log_kept(from, part.receipt());
            let LogPart::Entry { entry, .. } = part else { continue };
            let entry = Entry::decode(&entry).unwrap();
            if from == Some(of) {
                log.push((entry.code, entry.detail.to_vec()));
            }
        }
    }
    log
}

fn refused(base: u16, why: LeaseState) -> (u8, Vec<u8>) {
    (Code::RaiseRefused as u8, vec![(base >> 8) as u8, base as u8, why as u8])
}

/// The sender's own copy of its lease says whatever it likes.
fn forge_own_lease(w: &mut World, who: usize, slot: u8) {
    let record = w.flash[who].get_mut(&key::lease(slot)).unwrap();
    record[RIGHTS].copy_from_slice(&[7, PairingContext::BatteryManagement as u8]);
    w.restart(who);
    w.run_for(8_000);
    w.events.clear();
}

/// H114 towards the pack: 0x400 raised, and the question for a leaf.
#[test]
fn a_pack_does_what_the_certificate_grants_and_logs_what_it_does_not() {
    use PairingContext::{BatteryManagement, Diagnostics, Emergency, FirmwareUpdate};
    for (context, operations, switches, reads) in [
        (BatteryManagement, 7, true, true),
        (BatteryManagement, 4, true, false),
        (BatteryManagement, 3, false, true),
        (Diagnostics, 7, false, true),
        (FirmwareUpdate, 7, false, true),
        (Emergency, 7, true, true),
        (Emergency, 1, false, true),
    ] {
        let mut w = World::new(0, 70);
        w.rights = (context, operations);
        w.commission();
        forge_own_lease(&mut w, APP, 0);
        let case = format!("{context:?} {operations}");
        assert!(w.app.relation().is_up(), "{case}");
        want(&mut w, RelayState::Standby);
        w.run_for(400);
        let expected = if switches { CommandResult::Done } else { CommandResult::Refused };
        assert_eq!(results(&mut w).first(), Some(&expected), "{case}");
        let state = if switches { RelayState::Standby } else { RelayState::Off };
        assert_eq!(w.pack.state(), state, "{case}");
        let raise = refused(0x400, LeaseState::NotGranted);
        let logged = log(&mut w, Party::Pack);
        assert_eq!(logged.contains(&raise), !switches, "{case}: {logged:?}");
        // A pairing without the right to raise still lowers, whatever it is for.
        want(&mut w, RelayState::Off);
        w.run_for(61_000);
        assert_eq!(w.pack.state(), RelayState::Off, "{case}");
        let now = w.now;
        w.app.ask_leaf(now, Party::Pack, 0).unwrap();
        let read = refused(0x40C, LeaseState::NotGranted);
        assert_eq!(log(&mut w, Party::Pack).contains(&read), !reads, "{case}");
    }
}

/// The same towards a module: 0x514 raised, and 0x512.
#[test]
fn a_module_does_what_the_certificate_grants_and_logs_what_it_does_not() {
    for (operations, switches, reads) in [(7, true, true), (3, false, true), (4, true, false)] {
        let mut w = World::new(1, 71);
        w.run_for(3_000);
        assert!(w.bind(PAIR[0], PAIR[1]) && w.pair(PAIR[0], PAIR[1]));
        let (pack, module) = (PAIR[1], (Some(Party::Module(1)), MODULE));
        w.rights.1 = operations;
        assert!(w.bind(pack, module) && w.pair(pack, module));
        forge_own_lease(&mut w, PACK, 1);
        assert!(w.modules[0].relation().is_up());
        want(&mut w, RelayState::On);
        w.run_for(3_000);
        let relay = if switches { RelayState::On } else { RelayState::Off };
        assert_eq!(w.modules[0].relay(), relay, "{operations}");
        let logged = log(&mut w, Party::Module(1));
        for (base, granted) in [(0x514, switches), (0x512, reads)] {
            let entry = refused(base, LeaseState::NotGranted);
            assert_eq!(logged.contains(&entry), !granted, "{operations} {base:x}: {logged:?}");
        }
    }
}

/// Frames of an attacker who loses, from the second signed command on, everything that a sender seals at pair tier for
/// one device.
#[derive(Default)]
struct Held {
    commands: u32,
    frames: Vec<Frame>,
    over: bool,
}

fn hold(w: &mut World, bus: Bus) -> Rc<RefCell<Held>> {
    let held = Rc::new(RefCell::new(Held::default()));
    let shared = held.clone();
    w.filter = Box::new(move |frame| {
        let mut held = shared.borrow_mut();
        let Ok(Class::Sealed(id, _)) = classify(bus, frame) else { return true };
        let base = if bus == Bus::Can1 { 0x400 } else { 0x514 };
        let concerned = id.level() == Level::Pair && id.direction() == Direction::Ab;
        if held.over || !concerned || id.family() != base || (bus == Bus::Can2 && id.device() == 0) {
            return true;
        }
        // Chunks: T = number | total. A signed command is the only message here of so many.
        let t = (frame.id().raw() >> 8) as u8;
        let signed = t & 0xF >= 13;
        held.commands += u32::from(signed && t >> 4 == 1);
        if signed && held.commands == 2 {
            held.frames.push(*frame);
        }
        held.commands < 2
    });
    held
}

/// H36: the challenge of a command is as old as its time of use, no older, whoever kept the command back.
#[test]
fn a_command_that_was_held_back_is_refused() {
    for (delay, obeyed) in [(0, true), (450, true), (520, false), (60_000, false)] {
        let mut w = World::new(0, 72);
        w.commission();
        let held = hold(&mut w, Bus::Can1);
        want(&mut w, RelayState::Standby);
        w.run_for(40);
        // The first one was stale: nobody had asked for long. Its answer brought the challenge of the second.
        assert_eq!((held.borrow().commands, w.pack.state()), (2, RelayState::Off), "{delay}");
        w.run_for(delay);
        let frames = std::mem::take(&mut held.borrow_mut().frames);
        let now = w.now;
        for frame in &frames {
            w.pack.frame(now, Bus::Can1, frame, &mut w.rng).unwrap();
        }
        assert_eq!(w.pack.state() == RelayState::Standby, obeyed, "held back for {delay} ms");
        // Without the attacker the app gets its way, by a signature over a fresh challenge.
        held.borrow_mut().over = true;
        w.run_for(3_000);
        assert_eq!(w.pack.state(), RelayState::Standby);
    }
}

#[test]
fn a_module_refuses_a_command_that_was_held_back() {
    for (delay, obeyed) in [(0, true), (380, true), (520, false), (3_000, false)] {
        let mut w = World::new(1, 73);
        w.commission();
        let held = hold(&mut w, Bus::Can2);
        want(&mut w, RelayState::On);
        w.run_for(80);
        assert_eq!((held.borrow().commands, w.modules[0].relay()), (2, RelayState::Off), "{delay}");
        w.run_for(delay);
        let frames = std::mem::take(&mut held.borrow_mut().frames);
        let now = w.now;
        for frame in &frames {
            w.modules[0].frame(now, frame, &mut w.rng).unwrap();
        }
        assert_eq!(w.modules[0].relay() == RelayState::On, obeyed, "held back for {delay} ms");
        held.borrow_mut().over = true;
        w.run_for(5_000);
        assert_eq!(w.modules[0].relay(), RelayState::On);
    }
}

/// Gives a certificate to both; whether the pack answers that it takes it, and whether the pairing stands.
fn offer(w: &mut World, certificate: &[u8]) -> (bool, bool) {
    w.events.clear();
    for (party, _) in [PAIR[1], PAIR[0]] {
        w.give(party, &[&[pdu::CERTIFICATE], certificate].concat());
        w.run_for(1_500);
    }
    let pack = w.answer(PAIR[1].0, pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS);
    let done = w.answer(None, pdu::CERTIFICATE, pdu::PAIRING_COMPLETE);
    (pack.is_some_and(|answer| answer[18] == 0), done.is_some())
}

/// H53: a certificate of the same second as the one in use, never used itself, and one before it, are of no use any
/// more: with the pairing, over starts, and when the pairing was revoked.
#[test]
fn a_certificate_serves_once_and_only_while_it_is_the_latest() {
    let mut w = World::new(0, 74);
    assert!(w.bind(PAIR[0], PAIR[1]));
    let before = w.certificate(APP, PACK);
    let (first, second) = (w.certificate(APP, PACK), {
        w.issued -= 1;
        w.certificate(APP, PACK)
    });
    assert_ne!(first, second);
    assert_eq!(offer(&mut w, &second), (true, true));
    let useless = [&before, &first, &second];
    let id = w.app.relation().pairing_id().unwrap();
    for stage in 0..4 {
        match stage {
            1 => [PACK, APP].into_iter().for_each(|who| w.restart(who)),
            2 => {
                let entry = Revoked { subject: Subject::Pairing(id), reason: Reason::Lost, time: 1 };
                let entries = [entry].into_iter().collect();
                let list = RevocationList {
                    number: 1,
                    this_update: 1,
                    next_update: u32::MAX,
                    previous: [0; 32],
                    entries,
                };
                let list = list.issue(w.authority.spk.signing_key(), &mut w.rng).unwrap();
                for (party, _) in PAIR {
                    w.give(party, &[&[pdu::REVOCATION], list.as_slice()].concat());
                    w.run_for(1_500);
                }
                assert!(!w.app.relation().is_paired() && !w.pack.is_paired());
            }
            3 => [PACK, APP].into_iter().for_each(|who| w.restart(who)),
            _ => {}
        }
        w.run_for(5_000);
        for (n, certificate) in useless.iter().enumerate() {
            // The latest one is only answered again; that is no new pairing.
            let repeated = n == 2 && stage == 0;
            let (taken, done) = offer(&mut w, certificate);
            assert!(!taken && done == repeated, "certificate {n} in stage {stage}");
        }
        assert_eq!(w.app.relation().is_paired(), stage < 2, "stage {stage}");
    }
    w.issued += 1;
    let third = w.certificate(APP, PACK);
    assert_eq!(offer(&mut w, &third), (true, true), "a later one");
}

/// H79: what B0 established changes no policy and takes the place of no binding; the same asked under B1 is done.
#[test]
fn b0_changes_no_policy_and_rebinds_nothing() {
    for assurance in [Assurance::Plain, Assurance::Attested] {
        let mut w = World::new(0, 75);
        if assurance == Assurance::Plain {
            let now = w.now;
            w.pack.command(now, controller::Command::Button, &mut w.rng).unwrap();
            w.app.begin_plain(now, w.identities[PACK].cid(), &mut w.rng).unwrap();
            w.run_for(300);
            let now = w.now;
            w.app.compare(now, true).unwrap();
            w.pack.command(now, controller::Command::Compare { equal: true }, &mut w.rng).unwrap();
            w.run_for(100);
            let stands = app::Event::Bootstrap(bootstrap::Event::ChannelUp { assurance });
            assert!(w.events.iter().any(|e| format!("{e:?}") == format!("{stands:?}")));
        }
        w.assurance = assurance;
        assert!(w.bind(PAIR[0], PAIR[1]));
        let again = w.bind(PAIR[0], PAIR[1]);
        assert!(w.pair(PAIR[0], PAIR[1]));
        let policy = lct::policy::Policy {
            version: 2,
            entities: [APP, PACK].map(|who| w.identities[who].cid()),
            rotation: lct::policy::Rotation::FACTORY,
            rows: factory_rows(),
        };
        let proposal = policy.propose(w.authority.spk.signing_key(), &mut w.rng).unwrap();
        w.events.clear();
        w.give(PAIR[1].0, &[&[pdu::POLICY, pdu::policy::SIGN], proposal.as_slice()].concat());
        w.run_for(1_500);
        let signed = w.answer(PAIR[1].0, pdu::POLICY, pdu::policy::SIGNED);
        let status = w.answer(PAIR[1].0, pdu::POLICY, pdu::policy::STATUS).map(|answer| answer[6]);
        let logged = log(&mut w, Party::Pack);
        let entries = [
            (Code::PduRefused as u8, vec![pdu::BINDING, pdu::Status::WrongParty as u8]),
            (Code::PolicyRefused as u8, 2u32.to_be_bytes().to_vec()),
        ];
        let b0 = assurance == Assurance::Plain;
        assert_eq!((again, signed.is_some()), (!b0, !b0), "{}", assurance.name());
        assert_eq!(status, b0.then_some(PolicyReason::NotAssured as u8), "{}", assurance.name());
        assert_eq!(entries.map(|e| logged.contains(&e)), [b0; 2], "{}: {logged:?}", assurance.name());
        // B0 may switch: the row of H79 that keeps such a pack of use.
        want(&mut w, RelayState::Standby);
        w.run_for(400);
        assert_eq!(w.pack.state(), RelayState::Standby);
    }
}
