//! Key-Lost, Tampered and factory reset: what a device still does, and the way out (`spec/channel.md`, H136 to H139).

use crate::world;

use lct::{
    binding::Assurance,
    id::{BindingId, Cid},
    rebind::Rebind,
    sign::Signature,
    validation::{Event as Statement, EventKind},
};
use pack::{
    app::{Event, Party},
    controller,
    identity::key,
    introduction::Introduced,
    lifecycle::{Condition, state},
    message::RelayState,
    module, pdu,
};
use std::sync::Mutex;
use world::World;

const PACK: usize = 1;
const MODULE: usize = 2;

fn operational(seed: u64) -> World {
    let mut w = World::new(1, seed);
    w.commission();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(1_500);
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::On, RelayState::On));
    w
}

fn identify(w: &mut World, party: Party) -> Introduced {
    w.events.clear();
    let now = w.now;
    w.app.send(now, party, &[pdu::IDENTIFY, 0]).unwrap();
    w.run_for(500);
    let seen = w.events.iter().find_map(|e| match e {
        Event::Identified(from, who) if *from == party => Some(who.clone()),
        _ => None,
    });
    seen.expect("it answers")
}

fn bind_and_pair(w: &mut World) {
    let (pack, module) = ((Some(Party::Pack), PACK), (Some(Party::Module(w.modules[0].node())), MODULE));
    assert!(w.bind(pack, module) && w.pair(pack, module));
    w.run_for(3_000);
}

/// Nothing of a peer is left; the log goes on.
fn no_relationship(key: &u16) -> bool {
    *key < key::bond(0)
}

/// Every way to spoil a stored key, the state that follows, and the way out of it.
#[test]
fn a_module_with_a_spoiled_key_store_is_key_lost_until_it_is_bound_again() {
    type Spoil = fn(&mut Vec<u8>);
    let spoils: [(u16, &str, Spoil); 6] = [
        (key::bond(0), "own SPK does not fit the seed", |r| r[150] ^= 1),
        (key::bond(0), "seed of zeros", |r| r[170..202].fill(0)),
        (key::bond(0), "point of the peer not on the curve", |r| r[36] = 4),
        (key::bond(0), "cut short", |r| r.truncate(100)),
        (key::session(0), "degenerate master secret", |r| r[65..97].fill(0xFF)),
        (key::session(0), "unknown format", |r| r[0] = 9),
    ];
    for (record, what, spoil) in spoils {
        let mut w = operational(31);
        // What it states is told, so that nothing sealed is on its way when it starts anew.
        w.run_for(10_000);
        spoil(w.flash[MODULE].get_mut(&record).unwrap());
        w.restart(MODULE);
        assert_eq!(w.modules[0].condition(), Condition::KeyLost, "{what}");
        let start = w.log.len();
        w.run_for(15_000);
        assert_eq!(w.modules[0].relay(), RelayState::Off, "{what}");
        assert_eq!(identify(&mut w, Party::Module(1)).state, state::KEY_LOST, "{what}");
        let sealed_by_module = w.log[start..].iter().filter(|(_, bus, frame)| {
            let raw = frame.id().raw();
            let of_module = *bus == pack::can::Bus::Can2 && raw >> 17 & 1 == 1 && raw >> 16 & 1 == 1;
            // A flow-control frame towards the pack, which asks this module to be its witness, carries nothing.
            of_module && frame.data()[0] >> 4 != 3
        });
        assert_eq!(sealed_by_module.count(), 0, "{what}: nothing is sealed");
        bind_and_pair(&mut w);
        assert_eq!(w.modules[0].condition(), Condition::Sound, "{what}");
        assert!(w.modules[0].relation().is_up(), "{what}");
    }
}

#[test]
fn an_identity_that_does_not_verify_is_key_lost() {
    let mut w = World::new(1, 32);
    w.identities[MODULE].device.0[120] ^= 1;
    w.restart(MODULE);
    assert_eq!(w.modules[0].condition(), Condition::KeyLost);
}

#[test]
fn a_tampered_module_stays_so_until_its_owner_resets_it() {
    let mut w = operational(33);
    let now = w.now;
    w.modules[0].command(now, module::Command::Tamper, &mut w.rng).unwrap();
    w.run_for(15_000);
    assert_eq!((w.modules[0].condition(), w.modules[0].relay()), (Condition::Tampered, RelayState::Off));
    assert!(w.flash[MODULE].keys().all(no_relationship), "{:x?}", w.flash[MODULE].keys());
    for _ in 0..2 {
        assert_eq!(identify(&mut w, Party::Module(1)).state, state::TAMPERED);
        let (pack, module) = ((Some(Party::Pack), PACK), (Some(Party::Module(1)), MODULE));
        assert!(!w.bind(pack, module), "a tampered device is not bound");
        w.restart(MODULE);
        w.run_for(15_000);
        assert_eq!(w.modules[0].condition(), Condition::Tampered, "it survives a start");
    }
    let boot = w.flash[MODULE][&key::BOOT].clone();
    let now = w.now;
    w.modules[0].command(now, module::Command::FactoryReset, &mut w.rng).unwrap();
    w.run_for(15_000);
    assert_eq!(w.flash[MODULE][&key::BOOT], boot, "counters outlive it");
    bind_and_pair(&mut w);
    assert!(w.modules[0].relation().is_up());
}

#[test]
fn a_pack_that_is_tampered_or_reset_forgets_everybody() {
    for (command, expected) in
        [(controller::Command::Tamper, state::TAMPERED), (controller::Command::FactoryReset, state::FACTORY)]
    {
        let mut w = operational(34);
        let now = w.now;
        w.pack.command(now, command, &mut w.rng).unwrap();
        w.run_for(3_000);
        assert_eq!(w.pack.state(), RelayState::Off);
        assert_eq!(identify(&mut w, Party::Pack).state, expected);
        assert!(w.flash[PACK].keys().all(no_relationship), "{:x?}", w.flash[PACK].keys());
        w.restart(PACK);
        w.run_for(3_000);
        assert_eq!(identify(&mut w, Party::Pack).state, expected, "after a start");
    }
}

/// H180: with its signature over the record the module says, under its identity key, which binding that one replaces.
fn says_what_it_replaces(w: &World, old: BindingId, known: bool) {
    let signed = w.signed[1].as_ref().unwrap();
    let Some((n, rest)) = signed[82..].split_first() else {
        return assert!(!known, "it knows the binding");
    };
    let (bytes, signature) = rest.split_at(usize::from(*n));
    let event = Statement::decode(bytes).unwrap();
    assert_eq!((event.kind, event.cid), (EventKind::BindingReplacement, w.identities[MODULE].cid()));
    assert_eq!(event.payload[..16], old.0);
    event.verify(&w.identities[MODULE].key.public(), &Signature::from_slice(signature).unwrap()).unwrap();
    // The record that both signed.
    let told = w.modules[0].relation().binding().unwrap().0;
    assert_eq!(signed[2..18], told.0);
    assert!(known, "it cannot know the binding");
}

/// H147: who has or had a binding takes another only with leave for this question, and not with B0.
#[test]
fn a_binding_is_replaced_with_leave_of_the_authority_only() {
    type Leave = fn(Rebind) -> Option<Rebind>;
    let refused: [(&str, Leave); 4] = [
        ("none", |_| None),
        ("for another device", |asked| Some(Rebind { device: Cid([9; 16]), ..asked })),
        ("for another question", |asked| Some(Rebind { nonce: [9; 16], ..asked })),
        ("for another binding", |asked| Some(Rebind { old: BindingId([9; 16]), ..asked })),
    ];
    let parties = |w: &World| ((Some(Party::Pack), PACK), (Some(Party::Module(w.modules[0].node())), MODULE));
    // What the module asks: the binding in force, that of a spoiled session, and none where the record is unreadable.
    type Spoil = fn(&mut World);
    let conditions: [(&str, bool, Spoil); 3] = [
        ("in force", true, |_| {}),
        ("session lost", true, |w| w.flash[MODULE].get_mut(&key::session(0)).unwrap()[0] = 9),
        ("binding lost", false, |w| w.flash[MODULE].get_mut(&key::bond(0)).unwrap().truncate(9)),
    ];
    for (condition, known, spoil) in conditions {
        let mut w = operational(35);
        let old = w.modules[0].relation().binding().unwrap().0;
        spoil(&mut w);
        if condition != "in force" {
            w.restart(MODULE);
            assert_eq!(w.modules[0].condition(), Condition::KeyLost);
        }
        w.run_for(3_000);
        let (pack, module) = parties(&w);
        for (what, leave) in refused {
            w.leave = leave;
            assert!(!w.bind(pack, module), "{condition}: {what}");
        }
        static ASKED: Mutex<Vec<Rebind>> = Mutex::new(Vec::new());
        ASKED.lock().unwrap().clear();
        w.leave = |asked| {
            ASKED.lock().unwrap().push(asked);
            Some(asked)
        };
        w.assurance = Assurance::Plain;
        assert!(!w.bind(pack, module), "{condition}: B0 replaces nothing");
        w.assurance = Assurance::Attested;
        assert!(w.bind(pack, module), "{condition}");
        says_what_it_replaces(&w, old, known);
        let asked = ASKED.lock().unwrap().clone();
        let module = w.identities[MODULE].cid();
        let by_module: Vec<_> = asked.iter().filter(|a| a.device == module).collect();
        let expected = if known { old } else { BindingId([0; 16]) };
        assert!(by_module.iter().all(|a| a.old == expected), "{condition}: {asked:?}");
        assert_ne!(by_module[0].nonce, by_module[1].nonce, "{condition}: each question has its own nonce");
        assert_eq!(w.modules[0].condition(), Condition::Sound, "{condition}");
    }
}
