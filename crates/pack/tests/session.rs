//! What the roles do with their channels in operation: rotation under load, the binding's channel beside the
//! pairing's, compact status, CAN FD (`spec/channel.md`, H90 to H99).

use crate::world;

use lct::schedule::Direction;
use pack::{
    can::{Bus, Frame, Id},
    controller,
    link::FrameFormat,
    message::RelayState,
    module,
    relation::RelationEvent,
    sealed_id::{Class, Level, SealedId, Transport, classify},
    session::{Alarm, limits::Limits},
    time::Duration,
};
use std::collections::HashMap;
use world::World;

fn commissioned(modules: usize, seed: u64, compact: &[u16]) -> World {
    let mut w = World::new(modules, seed);
    w.compact = compact.to_vec();
    w.commission();
    w
}

fn set_limits(w: &mut World, limits: Limits) {
    w.app.set_limits(limits).unwrap();
    w.pack.set_limits(limits).unwrap();
    w.modules.iter_mut().for_each(|m| m.set_limits(limits).unwrap());
}

/// Whole sealed messages of a log, as bus, identifier and bytes.
fn sealed_messages(log: &[(pack::time::Instant, Bus, Frame)]) -> Vec<(Bus, SealedId, Vec<u8>)> {
    let mut open: HashMap<(bool, u32), Vec<u8>> = HashMap::new();
    let mut whole = Vec::new();
    for (_, bus, frame) in log {
        let (Ok(Class::Sealed(id, transport)), data) = (classify(*bus, frame), frame.data()) else {
            continue;
        };
        let at = (*bus == Bus::Can1, id.canonical().to_u32());
        match transport {
            Transport::Single => whole.push((*bus, id, data.to_vec())),
            Transport::Chunk { cur, total } => {
                let message = open.entry(at).or_default();
                if cur == 1 {
                    message.clear();
                }
                message.extend_from_slice(data);
                if cur == total {
                    whole.push((*bus, id, message.clone()));
                }
            }
            Transport::IsoTp => {}
        }
    }
    whole
}

fn refusals(w: &World) -> Vec<(u32, u32, u32)> {
    let all = [w.app.refused(), w.pack.refused()].into_iter().chain(w.modules.iter().map(|m| m.refused()));
    all.map(|r| (r.sealed, r.policy, r.security)).collect()
}

/// Every channel rotates while statuses, commands and statements flow. Nothing is refused, no relay opens, no nonce
/// comes twice, and a command right after a rotation is obeyed.
#[test]
fn rotation_under_load_disturbs_nothing() {
    let mut w = commissioned(3, 71, &[]);
    set_limits(&mut w, Limits { epoch_age: Duration::from_secs(61), ..Limits::DEFAULT });
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(2_000);
    let before = refusals(&w);
    w.module_events.clear();
    let start = w.log.len();
    for second in 0..200 {
        w.run_for(1_000);
        w.measure(-20_000);
        assert_eq!(w.pack.state(), RelayState::On, "after {second} s");
    }
    assert_eq!(refusals(&w), before);
    assert!(!w.module_events.iter().any(|(_, e)| matches!(e, module::Event::Relay(_))));
    let rotations = |node: u8| {
        let of = |e: &&controller::Event| matches!(e, controller::Event::Relation { node: n, event: RelationEvent::Rotated { .. } } if *n == node);
        w.pack_events.iter().filter(of).count()
    };
    assert_eq!([0, 1, 2, 3].map(rotations), [3; 4]);
    let mut nonces = HashMap::new();
    let messages = sealed_messages(&w.log[start..]);
    assert!(messages.len() > 4_000, "{} messages", messages.len());
    for (bus, id, bytes) in messages {
        if bytes.len() >= 29
            && let Some(other) = nonces.insert(bytes[..12].to_vec(), bytes.clone())
        {
            assert_eq!(other, bytes, "a nonce was used twice on {bus:?} by {id:?}");
        }
    }
    for state in [RelayState::Off, RelayState::On] {
        let now = w.now;
        w.app.set_state(now, state, &mut w.rng).unwrap();
        w.run_for(2_000);
        assert_eq!(w.pack.state(), state);
        assert!(w.modules.iter().all(|m| m.relay() == state));
    }
}

/// Attack 10 on the buses: parties start at random moments, in the midst of handshakes, rotations and telemetry, and
/// no nonce is used for two different messages.
#[test]
fn starts_at_random_repeat_no_nonce() {
    let mut w = commissioned(2, 78, &[0x502]);
    set_limits(&mut w, Limits { epoch_age: Duration::from_secs(60), ..Limits::DEFAULT });
    let start = w.log.len();
    let mut dice = 78u64;
    let mut roll = |n: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) % n
    };
    for _ in 0..60 {
        w.restart(roll(4) as usize);
        for _ in 0..roll(4) {
            w.run_for(roll(1_500));
            w.measure(-10_000);
        }
    }
    w.run_for(15_000);
    assert!(w.app.relation().is_up() && w.pack.modules_up());
    let mut nonces = HashMap::new();
    for (bus, id, bytes) in sealed_messages(&w.log[start..]) {
        if bytes.len() >= 29
            && let Some(other) = nonces.insert(bytes[..12].to_vec(), bytes.clone())
        {
            assert_eq!(other, bytes, "a nonce was used twice on {bus:?} by {id:?}");
        }
    }
    assert!(nonces.len() > 1_000, "{} messages", nonces.len());
}

/// The channel of the binding stands beside that of the pairing, also after each party's restart.
#[test]
fn the_binding_keeps_a_channel_of_its_own() {
    let mut w = commissioned(2, 72, &[]);
    let epochs = |w: &World| {
        let of = |r: &pack::relation::Relation| {
            (r.session().map(|s| s.epoch()), r.bind_session().map(|s| s.epoch()))
        };
        vec![of(w.app.relation()), of(w.modules[0].relation()), of(w.modules[1].relation())]
    };
    w.run_for(1_000);
    assert_eq!(epochs(&w), [(Some(0), Some(0)); 3], "as the handshakes left them");
    for (who, want) in [(0, [1, 0, 0]), (2, [1, 1, 0]), (1, [2, 2, 1]), (3, [2, 2, 2])] {
        w.restart(who);
        w.run_for(15_000);
        let want: Vec<_> = want.iter().map(|n| (Some(*n), Some(*n))).collect();
        assert_eq!(epochs(&w), want, "after the restart of {who}");
    }
    let [app, module] = [w.app.relation(), w.modules[0].relation()];
    assert_ne!(app.session().unwrap().th4(), app.bind_session().unwrap().th4());
    assert_ne!(app.bind_session().unwrap().channel(), module.bind_session().unwrap().channel());
}

/// Compact frames on CAN 2, as they went.
fn compact_frames(w: &World, from: usize) -> Vec<Frame> {
    let is = |(_, bus, f): &&(_, Bus, Frame)| {
        *bus == Bus::Can2
            && matches!(classify(*bus, f), Ok(Class::Sealed(id, Transport::Chunk { total: 2, .. }))
                if id.level() == Level::Exch && id.direction() == Direction::Ba && id.family() == 0x500)
    };
    w.log[from..].iter().filter(is).map(|x| x.2).collect()
}

fn quiet(w: &mut World, ms: u64) {
    // Nothing is measured, so that the pack asks for statuses.
    w.run_for(ms);
}

/// Off by default; where the certificate lists 0x502 it halves the frames of a status and keeps a module healthy.
#[test]
fn status_travels_compact_only_where_the_certificate_says_so() {
    let mut w = commissioned(1, 73, &[]);
    let start = w.log.len();
    quiet(&mut w, 20_000);
    assert!(compact_frames(&w, start).is_empty(), "off by default");

    let mut w = commissioned(1, 74, &[0x502]);
    let start = w.log.len();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    quiet(&mut w, 30_000);
    let frames = compact_frames(&w, start);
    assert!(frames.len() > 20, "{} compact frames", frames.len());
    assert_eq!(w.pack.state(), RelayState::On);
    assert_eq!(refusals(&w), [(0, 0, 0); 3]);
    // It survives a start: the list is in flash.
    for who in [1, 2] {
        w.restart(who);
        w.run_for(10_000);
        let start = w.log.len();
        quiet(&mut w, 10_000);
        assert!(!compact_frames(&w, start).is_empty());
    }
}

/// Attack 24: replays, random tags and games with the low bits of the counter change nothing but counters, switch
/// the profile off, and never disturb the honest sender.
#[test]
fn forged_compact_frames_are_refused_and_switch_the_profile_off() {
    let mut w = commissioned(1, 75, &[0x502]);
    let start = w.log.len();
    quiet(&mut w, 10_000);
    let frames = compact_frames(&w, start);
    let [first, second] = frames[..2] else { panic!("a compact message") };
    let relays = w.module_events.len();
    // Replayed, and with each low byte of the counter: never accepted.
    for low in 0..=255u8 {
        let mut data: Vec<u8> = second.data().to_vec();
        data[1] = low;
        let forged = Frame::new_classic(second.id(), &data).unwrap();
        let refused = w.pack.refused().sealed;
        for frame in [first, forged] {
            let now = w.now;
            w.pack.frame(now, Bus::Can2, &frame, &mut w.rng).unwrap();
        }
        assert_eq!(w.pack.refused().sealed, refused + 1, "{low}");
    }
    let off = |e: &&controller::Event| {
        matches!(
            e,
            controller::Event::Relation {
                node: 1,
                event: RelationEvent::Alarm { alarm: Alarm::Compact, .. }
            }
        )
    };
    quiet(&mut w, 1_000);
    assert_eq!(w.pack_events.iter().filter(off).count(), 1);
    // Off: also the genuine ones are refused until the next epoch, and the whole answers keep the module healthy.
    let refused = w.pack.refused().sealed;
    quiet(&mut w, 15_000);
    assert!(w.pack.refused().sealed > refused);
    assert!(w.modules[0].relation().is_up() && w.pack.modules_up());
    w.restart(2);
    w.run_for(10_000);
    let refused = w.pack.refused().sealed;
    quiet(&mut w, 10_000);
    assert_eq!(w.pack.refused().sealed, refused, "a fresh epoch allows it again");
    assert_eq!(w.module_events.len() - relays, w.module_events[relays..].len());
}

/// A certificate that lists a command, a request, parameters or two bases of a family is refused whole.
#[test]
fn certificates_may_list_only_routine_bases() {
    for bases in
        [&[0x400u16][..], &[0x405], &[0x441], &[0x514], &[0x512], &[0x522], &[0x501, 0x502], &[0x508]]
    {
        let mut w = World::new(1, 76);
        w.run_for(3_000);
        let pack = (Some(pack::app::Party::Pack), 1);
        assert!(w.bind((None, 0), pack));
        w.compact = bases.to_vec();
        assert!(!w.pair((None, 0), pack), "{bases:x?}");
        assert!(!w.app.relation().is_paired() && !w.pack.is_paired());
        w.compact = vec![0x502, 0x412, 0x504];
        assert!(w.pair((None, 0), pack));
    }
}

/// On CAN FD short messages are sealed to the length of one frame.
#[test]
fn short_messages_fill_one_fd_frame() {
    let mut w = commissioned(1, 77, &[]);
    for format in [FrameFormat::Classical, FrameFormat::Fd] {
        w.app.set_format(format);
        w.pack.set_format(Bus::Can1, format);
        w.pack.set_format(Bus::Can2, format);
        w.modules[0].set_format(format);
        let start = w.log.len();
        let now = w.now;
        w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
        w.run_for(2_000);
        assert_eq!(w.pack.state(), RelayState::On);
        let fd = |f: &&(_, Bus, Frame)| f.2.is_fd() && matches!(f.2.id(), Id::Extended(_));
        let lengths: Vec<usize> = w.log[start..].iter().filter(fd).map(|f| f.2.data().len()).collect();
        match format {
            FrameFormat::Classical => assert!(lengths.is_empty()),
            FrameFormat::Fd => assert!([32, 48, 64].iter().all(|n| lengths.contains(n)), "{lengths:?}"),
        }
        let now = w.now;
        w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
        w.run_for(1_000);
    }
}
