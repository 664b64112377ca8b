//! Announces over whole devices: when they are made, who verifies them, and that they grant nothing
//! (`spec/channel.md`, H156 and H157).

use crate::world;

use lct::{
    schedule::Direction,
    sign::{PublicKey, SigningKey},
    validation::{ANNOUNCE_LEN, Announce},
};
use pack::{
    announce::flag::{ASKED, IDENTITY, STARTED, TAMPERED},
    app::{self, Party},
    can::{Bus, Frame},
    chunk, controller, module, pdu,
    sealed_id::{Class, SecurityId, classify},
};
use world::World;

fn commissioned(seed: u64) -> World {
    let mut w = World::new(1, seed);
    w.commission();
    w.run_for(12_000);
    forget(&mut w);
    w
}

fn forget(w: &mut World) {
    w.events.clear();
    w.pack_events.clear();
    w.log.clear();
}

/// What the app was told of `party`, and whether it verified it itself.
fn told(w: &World, party: Party) -> Vec<([u8; ANNOUNCE_LEN], bool)> {
    let of = |e: &app::Event| match e {
        app::Event::Announced { from, bytes, verified } if *from == party => Some((*bytes, *verified)),
        _ => None,
    };
    w.events.iter().filter_map(of).collect()
}

/// What the pack verified of the peer at `node`.
fn verified(w: &World, node: u8) -> Vec<Announce> {
    let of = |e: &controller::Event| match e {
        controller::Event::Announced { node: n, announce } if *n == node => Some(*announce),
        _ => None,
    };
    w.pack_events.iter().filter_map(of).collect()
}

fn announces(w: &World, bus: Bus, from: Direction) -> Vec<Vec<Frame>> {
    let mut found: Vec<Vec<Frame>> = Vec::new();
    for (_, b, frame) in w.log.iter().filter(|(_, b, _)| *b == bus) {
        let Ok(Class::Security(id, _)) = classify(*b, frame) else { continue };
        if id.direction() != from {
            continue;
        }
        if frame.data().starts_with(&[pdu::VALIDATION, pdu::validation::ANNOUNCE]) {
            found.push(Vec::new());
        }
        if let Some(last) = found.last_mut().filter(|last| last.len() < 12) {
            last.push(*frame);
        }
    }
    found
}

fn to_app(w: &mut World, frames: &[Frame]) {
    for frame in frames {
        let now = w.now;
        w.app.frame(now, frame, &mut w.rng).unwrap();
    }
    w.run_for(1);
}

fn opened(bytes: &[u8; ANNOUNCE_LEN], key: &PublicKey) -> Announce {
    Announce::open(bytes, key).unwrap()
}

#[test]
fn each_start_is_announced_and_verified_by_the_partner() {
    let mut w = commissioned(400);
    let spk = w.spk_of(2, 1).sign_pub();
    for who in [1, 2, 0] {
        w.restart(who);
        w.run_for(12_000);
    }
    let [(bytes, true)] = told(&w, Party::Pack)[..] else { panic!("{:?}", told(&w, Party::Pack)) };
    let pack = opened(&bytes, &w.app.relation().peer_spk().unwrap().sign_pub());
    assert_eq!((pack.cid, pack.boot, pack.seq, pack.flags), (w.identities[1].cid(), 2, 1, STARTED));
    let of_module = told(&w, Party::Module(1));
    let module = opened(&of_module.last().unwrap().0, &spk);
    assert_eq!((module.cid, module.boot, module.flags), (w.identities[2].cid(), 2, STARTED));
    assert!(of_module.iter().all(|(_, verified)| !verified), "the app does not hold that key");
    assert_eq!(verified(&w, 1).last(), Some(&module));
    let app = verified(&w, 0);
    assert_eq!(app.iter().map(|a| (a.boot, a.flags)).collect::<Vec<_>>(), [(2, STARTED)]);
}

/// A thousand questions cost one signature in ten seconds.
#[test]
fn questions_are_answered_together() {
    let mut w = commissioned(401);
    for _ in 0..100 {
        for party in [Party::Pack, Party::Module(1)] {
            for _ in 0..5 {
                let now = w.now;
                w.app.ask_announce(now, party).unwrap();
            }
        }
        w.run_for(10);
    }
    w.run_for(8_000);
    for party in [Party::Pack, Party::Module(1)] {
        let answers = told(&w, party);
        assert_eq!(answers.len(), 1, "{party:?}");
        assert_eq!(Announce::parse(&answers[0].0).unwrap().0.flags & ASKED, ASKED);
    }
    w.run_for(5_000);
    assert_eq!(told(&w, Party::Pack).len(), 2, "those behind the first are answered once");
}

/// A recorded announce, one of an earlier start and a forged one are refused; none of them keeps the next from being
/// taken.
#[test]
fn what_was_heard_is_not_taken_again() {
    let mut w = commissioned(402);
    let ask = |w: &mut World| {
        let now = w.now;
        w.app.ask_announce(now, Party::Pack).unwrap();
        w.run_for(11_000);
    };
    ask(&mut w);
    let first = announces(&w, Bus::Can1, Direction::Ba).remove(0);
    forget(&mut w);
    let before = w.app.refused().security;
    to_app(&mut w, &first);
    assert_eq!((told(&w, Party::Pack).len(), w.app.refused().security), (0, before + 1), "replayed");
    let cid = w.identities[1].cid();
    let forged = Announce { cid, boot: 9, seq: u32::MAX, flags: STARTED };
    let key = SigningKey::generate(&mut w.rng);
    let forged = [&[7, 1][..], &forged.issue(&key, &mut w.rng)].concat();
    let id = SecurityId::new(Bus::Can1, Direction::Ba, 0);
    let frames: Vec<Frame> = chunk::split(id.canonical(), &forged).unwrap().collect();
    w.run_for(1_100);
    to_app(&mut w, &frames);
    assert_eq!((told(&w, Party::Pack).len(), w.app.refused().security), (0, before + 2), "forged");
    // At most one signature a second is verified.
    w.run_for(1_100);
    ask(&mut w);
    assert_eq!(told(&w, Party::Pack).iter().filter(|(_, verified)| *verified).count(), 1);
    w.restart(1);
    w.run_for(12_000);
    forget(&mut w);
    let before = w.app.refused().security;
    to_app(&mut w, &first);
    assert_eq!((told(&w, Party::Pack).len(), w.app.refused().security), (0, before + 1), "an earlier start");
}

/// Without a binding, and after a tamper reaction, the certified identity signs.
#[test]
fn a_device_without_keys_signs_with_its_identity() {
    let mut w = World::new(1, 403);
    w.run_for(12_000);
    let identity = w.identities[2].key.public();
    let first = opened(&told(&w, Party::Module(1))[0].0, &identity);
    assert_eq!(first.flags, STARTED | IDENTITY);
    w.commission();
    w.run_for(12_000);
    forget(&mut w);
    let now = w.now;
    w.modules[0].command(now, module::Command::Tamper, &mut w.rng).unwrap();
    w.run_for(30_000);
    let [(bytes, false)] = told(&w, Party::Module(1))[..] else { panic!("{:?}", told(&w, Party::Module(1))) };
    assert_eq!(opened(&bytes, &identity).flags, TAMPERED | IDENTITY);
    assert!(verified(&w, 1).is_empty());
}
