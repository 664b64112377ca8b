//! Wishes that wait for a device: every rejection in its order, tries, waits and ends.
//!
//! Rules L151 to L153.

use crate::world;

use lct::{
    hash::sha256,
    id::{Cid, PairingId, Role},
    revocation::Reason,
};
use ledger::{
    records::{
        key as state_key,
        registry::{MAX_QUEUED, NO_PROXY, Queue, QueueId, QueueStatus, Queued},
    },
    reject::Rejection::*,
    state::load,
    tx::{Body, Registry, Target, Tx},
};
use world::{bench::*, *};

const HOUR_MS: u64 = 3_600_000;

/// Changes initiator, target, wish, priority, proxy and context of a request.
type Change<'a> = &'a dyn Fn(&mut Cid, &mut Cid, &mut u8, &mut u8, &mut Cid, &mut String);

fn wish(a: &str, b: &str, wish: u8, priority: u8, proxy: Cid) -> Registry {
    let (initiator, target) = (Cid::of(a), Cid::of(b));
    Registry::Queue { initiator, target, wish, priority, proxy, context: "energy".into() }
}

fn process(id: &str) -> Body {
    Body::Registry(Registry::Process { cid: Cid::of(id) })
}

fn cancel(id: QueueId) -> Body {
    Body::Registry(Registry::Cancel { id, reason: Reason::Unspecified })
}

/// Queues a request as the authority (0) or the operator (1) and says under which id.
fn queued(bench: &mut Bench, who: usize, body: Registry) -> QueueId {
    let body = Body::Registry(body);
    bench.nonces[who] += 1;
    let bytes = tx(&key(["authority", "operator"][who]), bench.nonces[who], body);
    assert_eq!(bench.apply(&bytes), None);
    let digest = sha256(&[b"modbatt1 queue", &Tx::id_of(&bytes)]);
    QueueId(digest[..16].try_into().unwrap())
}

fn request(bench: &Bench, id: &QueueId) -> Queued {
    load(&bench.state, &state_key::queued(id)).unwrap().unwrap()
}

fn waiting(bench: &Bench, id: &str) -> Vec<QueueId> {
    let list: Option<Queue> = load(&bench.state, &state_key::queue_of(&Cid::of(id))).unwrap();
    list.map_or_else(Vec::new, |l| l.0)
}

#[test]
pub fn rules_of_queues() {
    let mut bench = Bench::running();
    bench.accept(register("module-2", Role::Module));
    bench.accept(Body::Revoke { target: Target::Component(Cid::of("module-2")), reason: 2 });
    let body = |change: Change<'_>| {
        let (mut a, mut b, mut wish, mut priority, mut proxy, mut context) =
            (Cid::of("pack-1"), Cid::of("module-1"), 1, 2, NO_PROXY, "energy".to_string());
        change(&mut a, &mut b, &mut wish, &mut priority, &mut proxy, &mut context);
        Body::Registry(Registry::Queue { initiator: a, target: b, wish, priority, proxy, context })
    };
    let unknown = Cid([9; 16]);
    let rows = [
        ("no wish, unknown", body(&|a, _, w, _, _, _| (*a, *w) = (unknown, 3)), QueueInvalid),
        ("itself, unknown", body(&|a, b, _, _, _, _| (*a, *b) = (unknown, unknown)), QueueInvalid),
        ("its own proxy, unknown", body(&|a, b, _, _, p, _| (*p, *b) = (*a, unknown)), QueueInvalid),
        ("a proxy of the other", body(&|_, b, _, _, p, _| *p = *b), QueueInvalid),
        ("priority 0, unknown", body(&|a, _, _, p, _, _| (*a, *p) = (unknown, 0)), QueueInvalid),
        ("priority 5, unknown", body(&|a, _, _, p, _, _| (*a, *p) = (unknown, 5)), QueueInvalid),
        (
            "no context, unknown",
            body(&|a, _, _, _, _, c| {
                *a = unknown;
                c.clear();
            }),
            QueueInvalid,
        ),
        ("unknown", body(&|a, _, _, _, _, _| *a = unknown), QueueComponent),
        ("at its end", body(&|_, b, _, _, _, _| *b = Cid::of("module-2")), QueueComponent),
        ("an unknown proxy", body(&|_, _, _, _, p, _| *p = unknown), QueueComponent),
        ("nobody asks", body(&|a, _, _, _, _, _| *a = NO_PROXY), QueueInvalid),
        ("nothing waits", process("pack-1"), QueueIdle),
        ("no such request", cancel(QueueId([1; 16])), QueueUnknown),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let app = Cid::of("app-1");
    let first = queued(&mut bench, 0, wish("pack-1", "module-1", 1, 2, app));
    assert_eq!(
        (waiting(&bench, "pack-1"), waiting(&bench, "app-1")),
        (vec![first], vec![first]),
        "its proxy finds it"
    );
    assert_eq!(bench.send(1, cancel(first)), Some(QueueDenied), "an operator that neither asked nor owns");
    let own = queued(&mut bench, 1, wish("pack-1", "module-1", 2, 1, NO_PROXY));
    assert_eq!(bench.send(1, cancel(own)), None, "whoever asked");
    bench.accept(transfer_with(&first_hop("pack-1", "operator"), [&key("batch"), &key("operator")]));
    assert_eq!(bench.send(1, cancel(first)), None, "the owner");
    bench.refuse("twice", cancel(first), QueueUnknown);
    assert_eq!((waiting(&bench, "pack-1"), waiting(&bench, "app-1")), (vec![], vec![]));
    assert_eq!(request(&bench, &first).status, QueueStatus::Cancelled);

    // Without a say over a component nobody fills its queue, and at most once another's as its proxy.
    for n in 0..20 {
        assert_eq!(bench.send(1, Body::Registry(wish("app-1", "module-1", 1, 2, NO_PROXY))), None, "{n}");
    }
    let more = |initiator, proxy| Body::Registry(wish(initiator, "module-1", 1, 2, proxy));
    assert_eq!(bench.send(1, more("app-1", NO_PROXY)), Some(QueueLimit), "the operator's share");
    assert_eq!(bench.send(1, more("pack-1", app)), Some(QueueLimit), "nor as a proxy");
    bench.accept(more("app-1", NO_PROXY));

    for _ in 0..MAX_QUEUED {
        queued(&mut bench, 0, wish("pack-1", "module-1", 1, 2, NO_PROXY));
    }
    let one_more = || Body::Registry(wish("pack-1", "module-1", 1, 2, NO_PROXY));
    bench.refuse("no room", one_more(), QueueLimit);
    bench.refuse(
        "nor as a proxy",
        Body::Registry(wish("app-1", "module-1", 1, 2, Cid::of("pack-1"))),
        QueueLimit,
    );
    bench.time_ms += 168 * HOUR_MS;
    bench.accept(one_more());
    assert_eq!(waiting(&bench, "pack-1").len(), 1, "what is late makes room");
}

/// 300 s, 600 s, 1200 s, 2400 s; given up after three tries, an end of a pairing after five.
#[test]
pub fn tries_and_waits() {
    for (what, kind, waits) in [("pair", 1, &[300_u64, 600][..]), ("unpair", 2, &[300, 600, 1200, 2400][..])]
    {
        let mut bench = Bench::running();
        // app and pack are paired, so the end of it is what does not come about; pack and module are not.
        let (a, b) = if kind == 1 { ("pack-1", "module-1") } else { ("app-1", "pack-1") };
        let id = queued(&mut bench, 1, wish(a, b, kind, 2, NO_PROXY));
        for (tries, wait) in (1..).zip(waits) {
            assert_eq!(bench.send(1, process(a)), None, "{what}");
            let now = request(&bench, &id);
            assert_eq!((now.status, now.tries), (QueueStatus::Queued, tries), "{what}");
            assert_eq!(now.next_ms, bench.time_ms + wait * 1000, "{what}");
            bench.time_ms = now.next_ms - 1;
            bench.refuse("not due yet", process(a), QueueIdle);
            bench.time_ms += 1;
        }
        bench.accept(process(a));
        let now = request(&bench, &id);
        assert_eq!((now.status, usize::from(now.tries)), (QueueStatus::Failed, waits.len() + 1), "{what}");
        assert_eq!(now.ended_ms, bench.time_ms);
        assert_eq!(waiting(&bench, a), vec![]);
        bench.refuse("given up", process(a), QueueIdle);
    }
}

#[test]
pub fn what_comes_about_is_completed_and_what_is_late_expires() {
    let mut bench = Bench::running();
    bench.time_ms += 1;
    let again = queued(&mut bench, 0, wish("app-1", "pack-1", 1, 2, NO_PROXY));
    bench.accept(process("app-1"));
    assert_eq!(
        request(&bench, &again).status,
        QueueStatus::Queued,
        "the pairing of before is not what was asked for"
    );
    bench.time_ms += 300_000;
    bench.accept(pair("app-1", "pack-1", 2));
    bench.accept(process("app-1"));
    assert_eq!(request(&bench, &again).status, QueueStatus::Completed);

    let ended = queued(&mut bench, 0, wish("app-1", "pack-1", 2, 2, NO_PROXY));
    bench.accept(Body::Revoke { target: Target::Pairing(PairingId([1; 16])), reason: 2 });
    bench.accept(process("app-1"));
    assert_eq!(request(&bench, &ended).status, QueueStatus::Queued, "one pairing is left");
    bench.accept(Body::Revoke { target: Target::Pairing(PairingId([2; 16])), reason: 2 });
    bench.time_ms += 300_000;
    bench.accept(process("app-1"));
    assert_eq!(request(&bench, &ended).status, QueueStatus::Completed);

    let late = queued(&mut bench, 0, wish("pack-1", "module-1", 1, 2, Cid::of("app-1")));
    bench.time_ms += 168 * HOUR_MS - 1;
    bench.accept(process("app-1"));
    assert_eq!(
        request(&bench, &late).status,
        QueueStatus::Queued,
        "tried by its proxy in the last millisecond"
    );
    bench.time_ms += 1;
    bench.accept(process("pack-1"));
    let now = request(&bench, &late);
    assert_eq!((now.status, now.tries), (QueueStatus::Expired, 1), "it expires before its next try is due");
    assert_eq!(waiting(&bench, "app-1"), vec![]);
}

/// One transaction tries ten, the urgent ones first, then those that have waited longest.
#[test]
fn the_urgent_ones_are_first() {
    let mut bench = Bench::running();
    let mut ids = Vec::new();
    for priority in [1, 2, 2, 4, 3, 1, 2, 4, 2, 2, 3, 1] {
        bench.time_ms += 1;
        ids.push((priority, queued(&mut bench, 0, wish("pack-1", "module-1", 1, priority, NO_PROXY))));
    }
    bench.accept(process("pack-1"));
    let left: Vec<_> = ids.iter().filter(|(_, id)| request(&bench, id).tries == 0).collect();
    assert_eq!(left, [&ids[5], &ids[11]], "the two of low priority that came last");
    bench.accept(process("pack-1"));
    assert!(ids.iter().all(|(_, id)| request(&bench, id).tries == 1));
}
