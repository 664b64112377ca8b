//! Time, leases, revocation and logs over whole devices (`spec/channel.md`, H100 to H126).

use crate::world;

use lct::{
    clock::TimeToken,
    id::Cid,
    journal::Code,
    revocation::{GRACE_S, Reason, RevocationList, Revoked, Subject, hash_of},
};
use pack::{
    app::{self, Party},
    can::{Bus, Frame, Id},
    command::CommandResult,
    identity::key,
    message::RelayState,
    pdu,
};
use world::{BOUND, World, keeper::Keeper};

const PACK: usize = 1;

fn commissioned(modules: usize, seed: u64, change: impl FnOnce(&mut World)) -> World {
    let mut w = World::new(modules, seed);
    change(&mut w);
    w.commission();
    w
}

fn want(w: &mut World, state: RelayState) {
    let now = w.now;
    w.app.set_state(now, state, &mut w.rng).unwrap();
    w.run_for(3_000);
}

fn token(w: &mut World, time: u32) {
    let token = TimeToken { time }.issue(w.authority.spk.signing_key(), &mut w.rng);
    let now = w.now;
    w.app.time_token(now, &token).unwrap();
    w.run_for(100);
}

fn results(w: &mut World) -> Vec<CommandResult> {
    let events = std::mem::take(&mut w.events);
    let result = |e| if let app::Event::Commanded(_, result) = e { Some(result) } else { None };
    events.into_iter().filter_map(result).collect()
}

fn list(w: &mut World, number: u32, previous: [u8; 32], next_update: u32, names: &[&str]) -> Vec<u8> {
    let entries = names.iter().map(|name| Revoked {
        subject: Subject::Component(Cid::of(name)),
        reason: Reason::Lost,
        time: BOUND,
    });
    let list =
        RevocationList { number, this_update: BOUND, next_update, previous, entries: entries.collect() };
    list.issue(w.authority.spk.signing_key(), &mut w.rng).unwrap().to_vec()
}

/// Sends a list and returns the number held and the status of the answer.
fn give(w: &mut World, to: Party, list: &[u8]) -> (u32, u8) {
    w.run_for(1_100);
    let now = w.now;
    w.events.clear();
    w.app.send(now, to, &[&[pdu::REVOCATION], list].concat()).unwrap();
    w.run_for(700);
    let answer = w.events.iter().find_map(|e| match e {
        app::Event::Answer(Some(from), p) if *from == to && p[0] == pdu::REVOCATION => Some(p.to_vec()),
        _ => None,
    });
    let answer = answer.expect("an answer");
    (u32::from_be_bytes(answer[2..6].try_into().unwrap()), answer[6])
}

/// Attack: forged clear time in both directions, a peer that leaps ten years, and a replayed token.
#[test]
fn forged_time_neither_revives_nor_expires() {
    let end = BOUND + 86_400;
    let mut w = commissioned(1, 40, |w| w.timing.expires = end);
    let judged = |w: &World| {
        let (pack, module) = (w.pack.judged_time(w.now).unwrap(), w.modules[0].judged_time(w.now).unwrap());
        assert!(pack.abs_diff(module) <= 5, "{pack} and {module}");
        pack
    };
    let honest = judged(&w);
    assert!((BOUND..BOUND + 60).contains(&honest));
    for time in [0u64, 1_000, u64::from(BOUND) + 315_360_000] {
        let body = (time * 1_000).to_le_bytes();
        let one = Frame::new_classic(Id::Standard(0x401), &body).unwrap();
        let two = Frame::new_classic(Id::Extended(0x516 << 18), &body).unwrap();
        let now = w.now;
        w.pack.frame(now, Bus::Can1, &one, &mut w.rng).unwrap();
        w.modules[0].frame(now, &two, &mut w.rng).unwrap();
        // The paired peer itself, lying: its word may stamp records and moves no floor by more than an hour.
        w.app.set_time(now, time * 1_000).unwrap();
        w.run_for(500);
        assert!(judged(&w) <= honest + 5, "told {time}");
    }
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On, "no mass expiry");
    token(&mut w, BOUND + 50_000);
    assert!(judged(&w).abs_diff(BOUND + 50_000) < 5, "the authority is believed");
    token(&mut w, BOUND + 10);
    assert!(judged(&w) >= BOUND + 50_000, "an old token turns nothing back");
    for who in [PACK, 2] {
        w.restart(who);
    }
    // What runs unwritten is at most ten minutes.
    assert!(w.pack.judged_time(w.now).unwrap() >= BOUND + 50_000 - 600);
    assert!(w.modules[0].judged_time(w.now).unwrap() >= BOUND + 50_000 - 600);
}

/// H103: a paired peer that tells the end of time leaves a pack that goes on: heartbeats, and the watchdog of the app.
#[test]
fn the_end_of_time_stops_no_role() {
    let mut w = commissioned(1, 42, |_| {});
    want(&mut w, RelayState::On);
    let now = w.now;
    w.app.set_time(now, u64::from(u32::MAX) * 1_000 + 500).unwrap();
    w.run_for(3_000);
    w.measure(-1_000);
    w.run_for(1_000);
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::On, RelayState::On));
    w.filter = Box::new(|_| false);
    w.run_for(20_000);
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::Off, RelayState::Off));
}

/// H104: the end of a lease blocks raising, and stops neither the running pack, nor status, nor lowering, nor RESUME.
#[test]
fn an_ended_lease_stops_nothing_but_raising() {
    let mut w = commissioned(1, 41, |w| w.timing.expires = BOUND + 7_200);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On);
    token(&mut w, BOUND + 7_200);
    w.events.clear();
    for _ in 0..20 {
        w.run_for(1_000);
        w.measure(-10_000);
    }
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::On, RelayState::On), "nothing opens");
    let status = w.events.iter().filter(|e| matches!(e, app::Event::PackStatus(_))).count();
    assert!(status >= 19, "status goes on: {status}");
    want(&mut w, RelayState::Off);
    assert_eq!(w.modules[0].relay(), RelayState::Off, "lowering goes on");
    want(&mut w, RelayState::On);
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::Off, RelayState::Off));

    // An app that forgot the time signs again; pack and module still know, over a start too.
    w.flash[0].remove(&key::TIME);
    for who in [0, PACK, 2] {
        w.restart(who);
    }
    w.run_for(8_000);
    assert!(w.app.relation().is_up() && w.pack.modules_up(), "RESUME goes on");
    w.events.clear();
    want(&mut w, RelayState::On);
    let results = results(&mut w);
    assert!(!results.is_empty() && results.iter().all(|r| *r == CommandResult::Refused), "{results:?}");
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::Off, RelayState::Off));
}

/// A clock that stands still and power that is cut again and again do not extend a lease.
#[test]
fn powered_time_ends_a_lease_whatever_the_clock_says() {
    let mut w =
        commissioned(1, 42, |w| (w.timing.valid_from, w.timing.expires) = (BOUND - 100, BOUND + 7_100));
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On);
    want(&mut w, RelayState::Off);
    // Each start charges ten minutes in advance; nobody tells the pack any time.
    for _ in 0..14 {
        w.restart(PACK);
        w.run_for(10);
    }
    w.run_for(8_000);
    assert!(w.pack.judged_time(w.now).unwrap() < BOUND + 600, "by the clock there is time left");
    w.events.clear();
    want(&mut w, RelayState::On);
    let results = results(&mut w);
    assert!(!results.is_empty() && results.iter().all(|r| *r == CommandResult::Refused), "{results:?}");
    assert_eq!(w.pack.state(), RelayState::Off);
}

#[test]
fn a_lease_is_used_up() {
    let mut w = commissioned(1, 43, |w| w.timing.max_uses = 2);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On, "the first session");
    want(&mut w, RelayState::Off);
    w.restart(0);
    w.run_for(5_000);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On, "the second");
    w.restart(0);
    w.run_for(5_000);
    assert!(w.app.relation().is_up());
    want(&mut w, RelayState::Off);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::Off, "the third reads and does not raise");
}

/// Attack: a revoked module tries everything that it has.
#[test]
fn a_revoked_module_is_out() {
    let mut w = commissioned(2, 44, |_| {});
    let old = w.certificate(1, 3);
    want(&mut w, RelayState::On);
    assert!(w.modules.iter().all(|m| m.relay() == RelayState::On));
    let one = list(&mut w, 1, [0; 32], BOUND + 86_400, &["module-0002"]);
    let generation = w.pack.group_generation();
    assert_eq!(give(&mut w, Party::Pack, &one), (1, 0));
    w.run_for(300);
    assert!(w.pack.group_generation() > generation, "the group key is replaced within a second");
    assert_eq!(give(&mut w, Party::Pack, &one), (1, 0), "a repetition changes nothing");
    assert_eq!(w.pack.modules(), 1);
    assert_eq!(w.flash[PACK][&key::bond(2)][0], 0xFF, "a tombstone in place of the keys");
    assert!(w.flash[PACK].get(&key::session(2)).is_none_or(|record| record.is_empty()));

    // Lists that must not count: rollback, another one with the same number, a hash that does not fit, forged.
    let same = list(&mut w, 1, [0; 32], BOUND + 86_400, &[]);
    let unlinked = list(&mut w, 2, [7; 32], BOUND + 86_400, &[]);
    let mut forged = list(&mut w, 2, hash_of(&one), BOUND + 86_400, &[]);
    *forged.last_mut().unwrap() ^= 1;
    for (what, bad) in [("same number", same), ("prev_hash", unlinked), ("forged", forged)] {
        let (number, status) = give(&mut w, Party::Pack, &bad);
        assert!(number == 1 && status != 0, "{what}: {number} {status}");
    }
    // The other module does not answer for it, and it does not come back: by itself, after a start, by RESUME.
    w.run_for(15_000);
    assert_eq!(w.modules[1].relay(), RelayState::Off, "it hears no group frame any more and opens");
    assert_eq!(w.modules[0].relay(), RelayState::On, "the rest of the pack runs");
    w.restart(3);
    w.run_for(12_000);
    assert_eq!(w.pack.modules(), 1, "its place is quarantined");
    // Old certificate and a new binding.
    let before = w.pack.refused().security;
    w.events.clear();
    let now = w.now;
    w.app.send(now, Party::Pack, &[&[pdu::CERTIFICATE], old.as_slice()].concat()).unwrap();
    w.run_for(1_000);
    let answered = w.events.iter().any(
        |e| matches!(e, app::Event::Answer(_, p) if p.starts_with(&[pdu::CERTIFICATE, 0x81]) && p[18] == 2),
    );
    assert!(answered || w.pack.refused().security > before, "the old certificate is refused");
    assert!(!w.bind((Some(Party::Pack), 1), (Some(Party::Module(2)), 3)), "no new binding");
    // The pack remembers.
    w.restart(PACK);
    w.run_for(10_000);
    assert_eq!((w.pack.revocation_number(), w.pack.modules()), (1, 1));
    assert!(w.pack.modules_up(), "module 1 resumed");
}

/// A module that gets a list with its own pack forgets the pack.
#[test]
fn a_module_forgets_a_revoked_pack() {
    let mut w = commissioned(1, 45, |_| {});
    let one = list(&mut w, 1, [0; 32], BOUND + 86_400, &["pack-0001"]);
    assert_eq!(give(&mut w, Party::Module(1), &one), (1, 0));
    assert!(!w.modules[0].relation().is_paired() && w.modules[0].relation().own_spk().is_none());
    w.restart(2);
    assert_eq!(w.modules[0].relation().revoked(), Some(Cid::of("pack-0001")));
}

/// H108, H109: no new pairing under a stale list or before the list that a certificate names; what stands goes on.
#[test]
fn a_stale_or_missing_list_admits_nobody_new() {
    let mut w = commissioned(1, 46, |_| {});
    let refused = |w: &mut World| {
        w.events.clear();
        let cert = w.certificate(0, 1);
        let now = w.now;
        w.app.send(now, Party::Pack, &[&[pdu::CERTIFICATE], cert.as_slice()].concat()).unwrap();
        w.run_for(1_000);
        w.events.iter().find_map(|e| match e {
            app::Event::Answer(_, p) if p.starts_with(&[pdu::CERTIFICATE, 0x81]) => Some(p[18]),
            _ => None,
        })
    };
    w.crl_number = 1;
    assert_eq!(refused(&mut w), Some(3), "a certificate that names a list not held");
    let one = list(&mut w, 1, [0; 32], BOUND + 100, &[]);
    assert_eq!(give(&mut w, Party::Pack, &one), (1, 0));
    assert_eq!(refused(&mut w), Some(0));
    token(&mut w, BOUND + 101 + GRACE_S);
    assert_eq!(refused(&mut w), Some(3), "stale");
    w.run_for(3_000);
    want(&mut w, RelayState::On);
    assert_eq!(w.pack.state(), RelayState::On, "the pairing that stands goes on");
}

/// Every device's log arrives whole, verifies under its keys, and says what happened.
#[test]
fn logs_arrive_whole_and_verify() {
    let mut w = commissioned(2, 47, |_| {});
    want(&mut w, RelayState::On);
    let mut keeper = Keeper::default();
    keeper.collect(&mut w, 20_000);
    // A cut of power loses no entry and starts no second chain.
    for who in [0, PACK, 2, 3] {
        w.restart(who);
    }
    keeper.collect(&mut w, 25_000);
    assert_eq!(keeper.logs.len(), 4, "app, pack and two modules");
    for (from, chains) in &keeper.logs {
        assert_eq!(chains.len(), 1, "{from:?}");
        let log = &chains[0];
        log.verify(&w, &Keeper::signer(&w, *from));
        for code in [Code::Started, Code::Bound, Code::Paired, Code::ChannelUp] {
            assert!(!log.details(code).is_empty(), "{from:?} lacks {code:?} in {:?}", log.told());
        }
        assert_eq!(log.details(Code::Started).len(), 2, "{from:?}: two starts");
    }
}

/// The first module is paired when the pack starts anew, so that no clear 0x51E is sent; the others are only registered,
/// and in flash there is no place for them. They get nodes again, here in another order.
#[test]
fn modules_that_are_only_registered_are_found_again_when_the_pack_restarts() {
    let mut w = World::new(3, 46);
    w.run_for(3_000);
    let (app, pack) = ((None, 0), (Some(Party::Pack), PACK));
    let place = |w: &World, m: usize| (Some(Party::Module(w.modules[m].node())), m + 2);
    let first = place(&w, 0);
    assert!(w.bind(app, pack) && w.pair(app, pack) && w.bind(pack, first) && w.pair(pack, first));
    assert_eq!(w.modules.iter().map(|m| m.node()).collect::<Vec<_>>(), [1, 2, 3]);
    w.restart(PACK);
    // The answer of the second module is lost: the third takes its place, and the second has to give it up.
    let mut lost = 0;
    let second = w.identities[3].unique_id.to_le_bytes();
    w.filter = Box::new(move |f| {
        let announces =
            matches!(f.id(), Id::Extended(id) if id >> 18 == 0x500) && f.data().ends_with(&second);
        lost += u32::from(announces);
        !(announces && lost == 1)
    });
    w.run_for(5_000);
    assert_eq!((w.modules[1].node(), w.modules[2].node(), w.pack.modules()), (3, 2, 3));
    for m in [1, 2] {
        let module = place(&w, m);
        assert!(w.bind(pack, module) && w.pair(pack, module), "module {m}");
    }
    assert!(w.pack.modules_up());
}

/// The power of the pack goes between the binding and the pairing of a module: the module, which is bound, obeys no
/// clear 0x51E and announces nothing.
#[test]
fn a_bound_module_keeps_its_node_when_the_pack_restarts() {
    let mut w = World::new(1, 45);
    w.run_for(3_000);
    let (app, pack, module) = ((None, 0), (Some(Party::Pack), PACK), (Some(Party::Module(1)), 2));
    assert!(w.bind(app, pack) && w.pair(app, pack) && w.bind(pack, module));
    w.restart(PACK);
    w.run_for(8_000);
    assert_eq!((w.pack.modules(), w.modules[0].node()), (1, 1));
    assert!(w.pair(pack, module));
    assert!(w.modules[0].relation().is_up() && w.pack.modules_up());
}
