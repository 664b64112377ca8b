//! Signed changes of the policy over whole devices (`spec/channel.md`, H110 to H113).

use crate::world;

use lct::{
    journal::{Code, Entry},
    policy::{Policy, Rotation, digest_of},
};
use pack::{
    app::{self, Party},
    controller,
    journal::LogPart,
    pdu::{self, policy as op},
    policies::Reason,
    relation::{Relation, RelationEvent},
    session::limits::Limits,
    time::Duration,
};
use std::collections::BTreeMap;
use world::{
    BOUND, World,
    policy::{APP, Entity, MODULE, PACK, ask, falls_to_a_clear_frame, lowered, policy, signed, take},
};

fn commissioned(modules: usize, seed: u64) -> World {
    let mut w = World::new(modules, seed);
    w.commission();
    w.events.clear();
    w
}

fn authority_signed(w: &World, policy: &Policy) -> Vec<u8> {
    let body = policy.encode().unwrap();
    let signature = w.authority.spk.signing_key().sign_rfc6979(&digest_of(&body));
    [&body[..], &signature.0].concat()
}

/// What a certificate is answered with.
fn offered(w: &mut World, version: u32, [a, b]: [Entity; 2], to: Entity) -> Option<u8> {
    w.policy_version = version;
    let certificate = w.certificate(a.1, b.1);
    w.events.clear();
    w.give(to.0, &[&[pdu::CERTIFICATE], certificate.as_slice()].concat());
    w.run_for(1_000);
    w.answer(to.0, pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS).map(|answer| answer[18])
}

fn versions(relation: &Relation) -> [u32; 2] {
    [relation.policy_in_force(), relation.policy_agreed()]
}

/// A class is lowered by a signed update and a new pairing, by nothing less, and stays so over starts.
#[test]
fn an_update_is_in_force_with_the_next_pairing() {
    let mut w = commissioned(1, 90);
    let pair = [PACK, MODULE];
    assert!(!falls_to_a_clear_frame(&mut w));
    let new = lowered(&w, 2);
    let update = signed(&mut w, &new, pair);
    assert_eq!(versions(w.modules[0].relation()), [1, 1], "what was signed is not taken yet");
    assert_eq!(take(&mut w, MODULE, &update), 0);
    assert_eq!(take(&mut w, PACK, &update), 0);
    assert_eq!(take(&mut w, MODULE, &update), 0, "a repetition changes nothing");
    assert_eq!(versions(w.modules[0].relation()), [1, 2]);
    assert!(!falls_to_a_clear_frame(&mut w), "before the pairing nothing changes");
    // Neither RESUME nor a start brings it into force, and none forgets it.
    for who in [PACK.1, MODULE.1] {
        w.restart(who);
    }
    w.run_for(12_000);
    assert!(w.pack.modules_up());
    assert_eq!(versions(w.modules[0].relation()), [1, 2]);
    assert!(!falls_to_a_clear_frame(&mut w));

    w.policy_version = 2;
    assert!(w.pair(PACK, MODULE), "paired under the new policy");
    assert_eq!(versions(w.modules[0].relation()), [2, 2]);
    assert!(falls_to_a_clear_frame(&mut w), "now it is in force");
    for who in [PACK.1, MODULE.1] {
        w.restart(who);
    }
    w.run_for(12_000);
    assert!(w.pack.modules_up());
    assert_eq!(versions(w.modules[0].relation()), [2, 2]);
    assert!(falls_to_a_clear_frame(&mut w), "and stays so");
    // The app and the pack are under the policy that they had.
    assert_eq!(versions(w.app.relation()), [1, 1]);
    w.policy_version = 1;
    assert!(w.pair(APP, PACK));
    // Back is no way: neither by the same or an older update nor by a certificate.
    assert_eq!(take(&mut w, MODULE, &update), 0, "held already");
    assert_eq!(offered(&mut w, 1, pair, MODULE), Some(3));
    assert_eq!(offered(&mut w, 1, pair, PACK), Some(3));
}

/// Every reason for which a device signs or takes nothing, by its number.
#[test]
fn what_is_refused_and_why() {
    let mut w = commissioned(2, 91);
    let pair = [PACK, MODULE];
    let three = policy(&w, 3, pair);
    let good = signed(&mut w, &three, pair);
    let n = good.len();
    let swapped = [&good[..n - 128], &good[n - 64..], &good[n - 128..n - 64]].concat();
    let twice = [&good[..n - 64], &good[n - 128..n - 64]].concat();
    let mut forged = good.clone();
    forged[n - 192] ^= 1;
    for (what, bad) in [("A and B swapped", swapped), ("A twice", twice), ("authority", forged)] {
        for to in pair {
            assert_eq!(take(&mut w, to, &bad), Reason::NotAuthentic as u8, "{what}");
        }
    }
    // Another binding of the same pack and the same module: of others it is none of their business.
    let other = policy(&w, 3, [PACK, (Some(Party::Module(2)), 3)]);
    let request = authority_signed(&w, &other);
    assert_eq!(ask(&mut w, MODULE.0, op::SIGN, &request), Err(Reason::WrongParty as u8));
    let mut reversed = three.clone();
    reversed.entities.reverse();
    let request = authority_signed(&w, &reversed);
    for to in pair {
        assert_eq!(ask(&mut w, to.0, op::SIGN, &request), Err(Reason::WrongParty as u8), "B before A");
    }
    // Tables.
    type Change<'a> = &'a dyn Fn(&mut Policy);
    let changes: [(&str, Change<'_>, Reason); 5] = [
        ("unknown minimum", &|p| p.rows[3][7] = 6, Reason::Malformed),
        ("unknown flag", &|p| p.rows[3][4] |= 0x10, Reason::Malformed),
        ("no row for discovery", &|p| p.rows.retain(|row| row[..2] != [0x05, 0x00]), Reason::FixedRow),
        (
            "a stop for everybody",
            &|p| p.rows.iter_mut().filter(|row| row[..2] == [0x05, 0x1E]).for_each(|row| row[7] = 0),
            Reason::FixedRow,
        ),
        ("an epoch of no time", &|p| p.rotation.epoch_s = 0, Reason::Malformed),
    ];
    for (what, change, reason) in changes {
        let mut bad = three.clone();
        change(&mut bad);
        let request = authority_signed(&w, &bad);
        for to in pair {
            assert_eq!(ask(&mut w, to.0, op::SIGN, &request), Err(reason as u8), "{what}");
        }
    }
    for relation in [w.modules[0].relation(), w.modules[1].relation(), w.app.relation()] {
        assert_eq!(versions(relation), [1, 1], "nothing was taken");
    }
    // Rollback: an older update that was rightly signed, and another one under the same version.
    let two = policy(&w, 2, pair);
    let older = signed(&mut w, &two, pair);
    let mut same = lowered(&w, 3);
    same.version = 3;
    let same = signed(&mut w, &same, pair);
    for to in pair {
        assert_eq!(take(&mut w, to, &good), 0);
        assert_eq!(take(&mut w, to, &older), Reason::Version as u8);
        assert_eq!(take(&mut w, to, &same), Reason::Version as u8);
        let request = &older[..older.len() - 128];
        assert_eq!(ask(&mut w, to.0, op::SIGN, request), Err(Reason::Version as u8));
    }
    // The places of the pack: versions 3 and 4 are spoken for, so 5 has to wait for new pairings.
    let second = [PACK, (Some(Party::Module(2)), 3)];
    let four = policy(&w, 4, second);
    let four = signed(&mut w, &four, second);
    assert_eq!(take(&mut w, PACK, &four), 0);
    let app = [APP, PACK];
    let five = policy(&w, 5, app);
    let five = signed(&mut w, &five, app);
    assert_eq!(take(&mut w, PACK, &five), Reason::NoPlace as u8);
}

/// An end that has the update and one that has not agree on nothing; what stood before goes on.
#[test]
fn one_sided_updates_make_no_pairing() {
    let mut w = commissioned(1, 92);
    let pair = [PACK, MODULE];
    let new = lowered(&w, 2);
    let update = signed(&mut w, &new, pair);
    assert_eq!(take(&mut w, PACK, &update), 0);
    for (version, to, status) in [(2, MODULE, 3), (2, PACK, 0), (1, PACK, 3), (1, MODULE, 0)] {
        assert_eq!(offered(&mut w, version, pair, to), Some(status), "{version} to {to:?}");
    }
    for version in [1, 2] {
        w.policy_version = version;
        assert!(!w.pair(PACK, MODULE), "{version}");
        w.run_for(15_000);
    }
    assert_eq!(versions(w.modules[0].relation()), [1, 1]);
    assert!(w.pack.modules_up(), "the pairing before stands");
    assert!(!falls_to_a_clear_frame(&mut w));
    assert_eq!(take(&mut w, MODULE, &update), 0);
    assert!(w.pair(PACK, MODULE), "once both have it");
}

/// Two tables under one number: the transcript of the handshake tells them apart.
#[test]
fn tables_that_differ_make_no_pairing() {
    let mut w = commissioned(1, 93);
    let pair = [PACK, MODULE];
    let (one, other) = (policy(&w, 2, pair), lowered(&w, 2));
    let (one, other) = (signed(&mut w, &one, pair), signed(&mut w, &other, pair));
    assert_eq!(take(&mut w, PACK, &one), 0);
    assert_eq!(take(&mut w, MODULE, &other), 0);
    assert_eq!(offered(&mut w, 2, pair, MODULE), Some(0));
    w.policy_version = 2;
    assert!(!w.pair(PACK, MODULE));
    w.run_for(20_000);
    assert_eq!(versions(w.modules[0].relation()), [1, 2]);
    assert!(w.pack.modules_up());
}

/// The periods of the policy in force are those of the channel, over starts too.
#[test]
fn periods_come_from_the_policy_in_force() {
    let mut w = commissioned(0, 94);
    let pair = [APP, PACK];
    let mut new = policy(&w, 2, pair);
    new.rotation = Rotation { epoch_s: 60, agreement_s: 86_400, link_days: 7, ..Rotation::FACTORY };
    let update = signed(&mut w, &new, pair);
    for to in pair {
        assert_eq!(take(&mut w, to, &update), 0);
    }
    assert_eq!(*w.app.relation().limits(), Limits::DEFAULT);
    w.policy_version = 2;
    assert!(w.pair(APP, PACK));
    let wanted = Limits { epoch_age: Duration::from_secs(60), handshake_age_s: 86_400, ..Limits::DEFAULT };
    assert_eq!(*w.app.relation().limits(), wanted);
    for who in [APP.1, PACK.1] {
        w.restart(who);
    }
    w.run_for(8_000);
    assert!(w.app.relation().is_up());
    assert_eq!(*w.app.relation().limits(), wanted);
    let epoch = w.app.relation().session().unwrap().epoch();
    w.run_for(200_000);
    let renewed = w.app.relation().session().unwrap().epoch() - epoch;
    assert!((2..=5).contains(&renewed), "{renewed} epochs in 200 s");
    // What the owner sets does not go round the policy.
    w.app.set_limits(Limits::DEFAULT).unwrap();
    assert_eq!(*w.app.relation().limits(), wanted);
}

/// A module's policy bounds the age of the group key, and a lease is no longer than the policy of its pairing lets it.
#[test]
fn group_keys_and_leases_are_as_short_as_the_policy_says() {
    let mut w = commissioned(2, 95);
    let pair = [PACK, MODULE];
    let mut new = policy(&w, 2, pair);
    new.rotation = Rotation { group_s: 60, certificate_s: 3_600, ..Rotation::FACTORY };
    let update = signed(&mut w, &new, pair);
    for to in pair {
        assert_eq!(take(&mut w, to, &update), 0);
    }
    let drawn = |w: &mut World| {
        let before = w.pack.group_generation();
        w.run_for(300_000);
        w.pack.group_generation() - before
    };
    assert_eq!(drawn(&mut w), 0, "agreed to is not in force");
    for (lease_s, status) in [(90 * 86_400, 3), (3_601, 3), (3_600, 0)] {
        w.timing.expires = BOUND + lease_s;
        for to in [MODULE, PACK] {
            assert_eq!(offered(&mut w, 2, pair, to), Some(status), "{lease_s} s to {to:?}");
        }
    }
    assert!(w.pair(PACK, MODULE));
    w.run_for(5_000);
    // One module of two is enough: who holds the key of the group is under the shortest period.
    assert!((4..=6).contains(&drawn(&mut w)));
    w.restart(PACK.1);
    w.run_for(12_000);
    assert!(w.pack.modules_up());
    assert!((4..=6).contains(&drawn(&mut w)), "and after a start");
    // Under the policy of the factory, 90 days.
    let second = [PACK, (Some(Party::Module(2)), 3)];
    w.timing.expires = BOUND + 90 * 86_400 + 1;
    assert_eq!(offered(&mut w, 1, second, PACK), Some(3));
}

/// What the logs of the devices say of policies: code, version, node.
fn logged(w: &mut World) -> BTreeMap<Option<Party>, Vec<(Code, u32, u8)>> {
    let mut logs: BTreeMap<Option<Party>, Vec<(Code, u32, u8)>> = BTreeMap::new();
    let mut read: BTreeMap<Option<Party>, u64> = BTreeMap::new();
    for _ in 0..80 {
        w.run_for(500);
        for event in std::mem::take(&mut w.events) {
            let app::Event::Log(from, part) = event else { continue };
            w.log_kept(from, part.receipt());
            let LogPart::Entry { number, entry, .. } = part else { continue };
            let entry = Entry::decode(&entry).unwrap();
            if read.insert(from, number) != Some(number)
                && let Some(code) =
                    [Code::PolicyPending, Code::PolicyRefused].into_iter().find(|c| *c as u8 == entry.code)
            {
                let version = u32::from_be_bytes(entry.detail.as_slice().try_into().unwrap());
                logs.entry(from).or_default().push((code, version, entry.node));
            }
        }
    }
    logs
}

/// Both sides of a relationship keep in their logs what they agreed to, and what they refused.
#[test]
fn logs_say_what_was_agreed_to_and_what_was_refused() {
    let mut w = commissioned(1, 96);
    let pair = [PACK, MODULE];
    let (two, three) = (policy(&w, 2, pair), policy(&w, 3, pair));
    let (older, newer) = (signed(&mut w, &two, pair), signed(&mut w, &three, pair));
    for to in pair {
        assert_eq!(take(&mut w, to, &newer), 0);
        assert_eq!(take(&mut w, to, &older), Reason::Version as u8);
    }
    let logs = logged(&mut w);
    let entries = |node| vec![(Code::PolicyPending, 3, node), (Code::PolicyRefused, 2, node)];
    assert_eq!(logs.get(&PACK.0), Some(&entries(1)), "the pack, of its module 1");
    assert_eq!(logs.get(&MODULE.0), Some(&entries(0)), "the module, of the pack above it");
    assert_eq!(logs.get(&APP.0), None, "it is not the app's relationship");
}

/// H92 over whole devices: after as many epochs as the policy says both sides tell their owner that a full handshake is due,
/// once an epoch; nothing ends by that, and a new pairing ends the waiting.
#[test]
fn both_owners_hear_that_a_full_handshake_is_due() {
    let mut w = commissioned(1, 97);
    let mut new = policy(&w, 2, [APP, PACK]);
    new.rotation.agreement_epochs = 1;
    let update = signed(&mut w, &new, [APP, PACK]);
    for to in [APP, PACK] {
        assert_eq!(take(&mut w, to, &update), 0);
    }
    w.policy_version = 2;
    assert!(w.pair(APP, PACK));
    let told = |w: &mut World| {
        w.run_for(2_000);
        let due = RelationEvent::HandshakeDue;
        let app = w.events.drain(..).filter(|e| matches!(e, app::Event::Relation(event) if *event == due));
        let app = app.count();
        let of_app = |e: &controller::Event| matches!(e, controller::Event::Relation { node: 0, event } if *event == due);
        (app, w.pack_events.drain(..).filter(of_app).count())
    };
    let rotate = |w: &mut World| {
        // An epoch is renewed once a minute at most.
        w.run_for(61_000);
        w.events.clear();
        w.pack_events.clear();
        let now = w.now;
        w.app.rotate(now, &mut w.rng).unwrap();
    };
    w.events.clear();
    assert_eq!(told(&mut w), (0, 0), "the epoch that it begins with");
    for epoch in [1, 2] {
        rotate(&mut w);
        assert_eq!(told(&mut w), (1, 1), "epoch {epoch}");
        assert_eq!(told(&mut w), (0, 0), "once in epoch {epoch}");
        assert!(w.app.relation().is_up() && w.pack.modules_up(), "nothing ends");
    }
    assert!(w.pair(APP, PACK));
    assert_eq!(told(&mut w), (0, 0), "so does the next pairing");
    rotate(&mut w);
    assert_eq!(told(&mut w), (1, 1), "it counts anew");
}
