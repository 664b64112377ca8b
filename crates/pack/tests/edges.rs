//! A device's link where two things meet: a message whose parts arrive on both sides of an end, one that is cut off while its
//! channel or its binding comes about, and heartbeats that alone are wrong (`spec/channel.md`, H95, H104, H107).

use crate::{
    interruptions::{APP, PACK},
    world,
};

use lct::{clock::TimeToken, id::Cid, schedule::Direction};
use pack::{
    app::{self, Party},
    can::{Bus, Frame},
    identity::key,
    message::{Message, RelayState, ScanCell, VcuCommand},
    module::{self, Measurement},
    pdu::{self, binding as op},
    sealed_id::{Class, Level, SealedId, Transport, classify},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use world::{BOUND, World};

fn sealed_as(frame: &Frame, bus: Bus, id: SealedId) -> bool {
    matches!(classify(bus, frame), Ok(Class::Sealed(of, _)) if of.canonical() == id.canonical())
}

/// How many parts its message has.
fn total(frame: &Frame) -> Option<u8> {
    match classify(Bus::Can1, frame) {
        Ok(Class::Sealed(_, Transport::Chunk { total, .. })) => Some(total),
        _ => None,
    }
}

/// Takes the frames for which `wanted` holds off the buses, while the flag is set.
fn held_back(
    w: &mut World,
    wanted: impl Fn(&Frame) -> bool + 'static,
) -> (Rc<RefCell<Vec<Frame>>>, Rc<Cell<bool>>) {
    let (held, on) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(true)));
    let (kept, flag) = (held.clone(), on.clone());
    w.filter = Box::new(move |frame| {
        let takes = flag.get() && wanted(frame);
        if takes {
            kept.borrow_mut().push(*frame);
        }
        !takes
    });
    (held, on)
}

/// The first parts of a signed command arrive while the lease holds and the last one when it is over. What counts is when it can be
/// read: a pack that judged the lease with the first part would switch on.
#[test]
fn a_lease_that_ends_within_a_command_admits_nothing() {
    const END: u32 = BOUND + 7_200;
    for ends in [false, true] {
        let mut w = World::new(1, 760);
        w.timing.expires = if ends { END } else { END + 60 };
        w.commission();
        let token = TimeToken { time: END - 2 }.issue(w.authority.spk.signing_key(), &mut w.rng);
        let now = w.now;
        w.app.time_token(now, &token).unwrap();
        while w.pack.judged_time(w.now) != Some(END - 1) {
            w.run_for(5);
        }
        w.run_for(850);
        // With the answer to this one comes a challenge that is fresh.
        let now = w.now;
        w.app.set_state(now, RelayState::Standby, &mut w.rng).unwrap();
        w.run_for(50);
        let id = SealedId::new(VcuCommand::BASE, Level::Pair, Direction::Ab, 0).unwrap();
        let signed = move |frame: &Frame| sealed_as(frame, Bus::Can1, id) && total(frame) > Some(8);
        let (held, on) = held_back(&mut w, signed);
        let now = w.now;
        w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
        w.run_for(55);
        let parts = std::mem::take(&mut *held.borrow_mut());
        let (last, first) = parts.split_last().unwrap();
        assert_eq!(Some(parts.len() as u8), total(last), "one command");
        for frame in first {
            w.pack.frame(w.now, Bus::Can1, frame, &mut w.rng).unwrap();
        }
        assert_eq!(w.pack.judged_time(w.now), Some(END - 1));
        w.run_for(48);
        assert_eq!(w.pack.judged_time(w.now), Some(END));
        w.pack.frame(w.now, Bus::Can1, last, &mut w.rng).unwrap();
        // What the app signs since does not arrive: this command does it, or none.
        w.run_for(1_500);
        let expected = if ends { RelayState::Standby } else { RelayState::On };
        assert_eq!((w.pack.state(), w.pack.refused().sealed), (expected, 0), "the lease ends: {ends}");
        on.set(false);
        w.run_for(3_000);
        assert_eq!(w.pack.state(), expected, "nor does another one: {ends}");
    }
}

/// A list comes while the channel of whom it names comes up, after any frame of that: there is none afterwards, and whoever else
/// is there is not concerned.
#[test]
fn who_is_revoked_while_its_channel_comes_up_has_none() {
    let mut before = World::new(2, 761);
    before.commission();
    let flash = std::mem::take(&mut before.flash);
    let mut points = 0;
    for n in 0.. {
        let mut w = World::new(2, 761);
        w.flash = flash.clone();
        (0..4).for_each(|who| w.restart(who));
        w.run_for(20_000);
        assert!(w.pack.modules_up());
        let named = w.modules.iter().position(|m| m.node() == 2).unwrap();
        let end = w.revokes(Cid::of(&format!("module-{:04}", named + 1)));
        let count = Cell::new(0);
        let on_can2 = |frame: &Frame| frame.id().raw() >> 18 >= 0x500;
        let (_, on) = held_back(&mut w, move |frame| {
            count.set(count.get() + u32::from(on_can2(frame)));
            on_can2(frame) && count.get() > n
        });
        w.restart(named + 2);
        w.run_for(60);
        let up = w.modules[named].relation().is_up();
        let now = w.now;
        w.app.send(now, Party::Pack, &end).unwrap();
        w.run_for(300);
        on.set(false);
        w.run_for(25_000);
        assert_eq!((w.pack.modules(), w.pack.modules_up()), (1, true), "after {n}");
        assert_eq!(w.flash[1][&key::bond(2)][0], 0xFF, "after {n}: no keys");
        assert_eq!(w.modules[named].relay(), RelayState::Off, "after {n}");
        assert!(w.modules[1 - named].relation().is_up(), "after {n}");
        points += 1;
        if up {
            break;
        }
    }
    println!("a list came after each of {points} frames of a channel");
    assert!(points > 4, "{points}");
}

/// What was begun before the list and is finished after it comes to nothing: the list is judged when the partner is introduced,
/// not when a key was asked for.
#[test]
fn a_binding_under_way_with_who_is_revoked_comes_to_nothing() {
    let mut w = World::new(1, 762);
    w.run_for(3_000);
    assert!(w.bind(APP, PACK));
    let module = (Some(Party::Module(w.modules[0].node())), 2);
    let begun = Rc::new(Cell::new(false));
    let seen = begun.clone();
    let (held, on) = held_back(&mut w, move |frame| {
        let parts = frame.data();
        seen.set(seen.get() || parts.windows(2).any(|w| w == [pdu::BINDING, op::INTRODUCTION]));
        seen.get()
    });
    assert!(!w.bind(PACK, module), "nobody was introduced");
    assert!(begun.get());
    on.set(false);
    let introductions = std::mem::take(&mut *held.borrow_mut());
    let end = w.revokes(Cid::of("module-0001"));
    w.give(PACK.0, &end);
    w.run_for(1_500);
    let answer = w.answer(PACK.0, pdu::REVOCATION, pdu::REVOCATION_STATUS).unwrap();
    assert_eq!(answer.last(), Some(&0), "the list is taken: {answer:?}");
    for frame in &introductions {
        w.pack.frame(w.now, Bus::Can1, frame, &mut w.rng).unwrap();
        w.run_for(2);
    }
    w.run_for(5_000);
    let bond = w.flash[1].get(&key::bond(1));
    assert!(bond.is_none_or(|record| record.is_empty() || record[0] == 0xFF), "the pack has no keys with it");
    assert_eq!(w.modules[0].relation().peer(), None, "nor it with the pack");
}

/// Heartbeats that alone are wrong, one after the other for ten seconds: each is refused, and nothing else happens. The others hold
/// the module, and none of it is an alarm.
#[test]
fn wrong_heartbeats_alone_cost_nothing() {
    let mut w = World::new(1, 763);
    w.commission();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(1_500);
    let (refused, epoch) =
        (w.modules[0].refused().sealed, w.modules[0].relation().session().unwrap().epoch());
    w.filter = Box::new(|frame| {
        let beat = matches!(classify(Bus::Can2, frame), Ok(Class::Sealed(id, _)) if id.family() == 0x514 && id.device() == 0);
        if beat {
            let mut data = frame.data().to_vec();
            *data.last_mut().unwrap() ^= 1;
            *frame = Frame::new_classic(frame.id(), &data).unwrap();
        }
        true
    });
    for second in 0..10 {
        w.run_for(1_000);
        assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::On, RelayState::On), "{second}");
    }
    let wrong = w.modules[0].refused().sealed - refused;
    assert!((45..=55).contains(&wrong), "each of them was refused: {wrong}");
    assert_eq!(w.modules[0].relation().session().unwrap().epoch(), epoch, "nobody began anew");
    assert_eq!(w.modules[0].health().active().count(), 0);
}

/// A scan is under way in parts when the epoch changes: it is opened under the epoch in which it was sealed, or told again; no
/// channel ends, and what follows is read.
#[test]
fn a_message_in_parts_crosses_an_epoch() {
    let mut w = World::new(1, 764);
    w.commission();
    w.run_for(61_000);
    w.events.clear();
    let from_module = |frame: &Frame| matches!(classify(Bus::Can2, frame), Ok(Class::Sealed(id, _)) if id.direction() == Direction::Ba && id.device() == 1);
    let measure = |w: &mut World| {
        let cells = [ScanCell { mv: 3_900, celsius: 25 }; 60];
        let cells = heapless::Vec::from_slice(&cells).unwrap();
        let measured = Measurement { cells, current_ma: 0, temperature_mc: [25_000; 3] };
        let now = w.now;
        w.modules[0].command(now, module::Command::Measure(measured), &mut w.rng).unwrap();
    };
    let count = Rc::new(Cell::new(0));
    let (seen, cell) = (count.clone(), Rc::new(Cell::new(true)));
    let first = cell.clone();
    let (held, on) = held_back(&mut w, move |frame| {
        let mine = first.get() && from_module(frame);
        seen.set(seen.get() + u32::from(mine));
        // The first three parts pass.
        mine && seen.get() > 3
    });
    measure(&mut w);
    w.run_for(60);
    cell.set(false);
    on.set(false);
    let rest = std::mem::take(&mut *held.borrow_mut());
    assert!(rest.len() > 3, "it has more parts: {}", rest.len());
    let before = w.modules[0].relation().session().unwrap().epoch();
    let now = w.now;
    w.app.rotate_module(now, 1).unwrap();
    w.run_for(500);
    assert_eq!(w.modules[0].relation().session().unwrap().epoch(), before + 1);
    for frame in &rest {
        w.pack.frame(w.now, Bus::Can2, frame, &mut w.rng).unwrap();
    }
    w.run_for(3_000);
    w.events.clear();
    measure(&mut w);
    w.run_for(500);
    let scans =
        w.events.iter().filter(|e| matches!(e, app::Event::ModuleScan(1, scan) if scan.cells.len() == 60));
    assert_eq!(scans.count(), 1, "what follows is read");
    assert!(w.pack.modules_up() && w.app.relation().is_up());
    assert_eq!(w.modules[0].relation().session().unwrap().epoch(), before + 1, "nobody began anew");
}
