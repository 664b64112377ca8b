//! Time tokens and the revocation list: what is signed, what is refused, and what a crash leaves.

use crate::common;

use api::{
    Hex,
    revocation::{Revocations, Revoke, TimeToken},
};
use common::{Answer, World, order, rng};
use lct::{
    clock,
    id::{BindingId, Cid, PairingId},
    revocation::{ENTRIES_MAX, Reason, RevocationList, Subject, hash_of},
    sign::SigningKey,
};

async fn revoke(world: &World, what: Subject) -> Answer {
    world.revoke(what, Reason::Lost).await
}

/// The list in force, as a device reads it.
async fn list(world: &World) -> (RevocationList, Vec<u8>) {
    let answer = world.client.revocations().await.unwrap();
    let list = RevocationList::open(&answer.list.0, &world.authority.sign_pub()).unwrap();
    assert_eq!((answer.number, answer.entries.len()), (list.number, list.entries.len()));
    assert!(u64::from(list.next_update) == answer.next_update && list.next_update > world.now_s());
    (list, answer.list.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_that_of_the_bridge_and_signed() {
    let world = World::new().await;
    let TimeToken { time, token } = world.client.time_token().await.unwrap();
    let read = clock::TimeToken::open(&token.0, &world.authority.sign_pub()).unwrap();
    assert_eq!(u64::from(read.time), time);
    assert!(read.time.abs_diff(world.now_s()) < 30);
    world.advance(3_600_000);
    assert!(world.client.time_token().await.unwrap().time >= time + 3_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_follow_each_other_over_renewals_and_restarts() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let (first, bytes) = list(&world).await;
    assert_eq!((first.number, first.previous, first.entries.len()), (1, [0; 32], 0));
    assert_eq!(list(&world).await.1, bytes, "what is in force is not signed anew");

    let answer: Revocations = revoke(&world, Subject::Binding(bonded.id)).await.json();
    let (second, second_bytes) = list(&world).await;
    assert_eq!((second.number, second.previous), (2, hash_of(&bytes)));
    assert_eq!(
        (second.entries[0].subject, answer.list.0.clone()),
        (Subject::Binding(bonded.id), answer.list.0)
    );
    assert_eq!((answer.entries[0].kind.as_str(), answer.entries[0].reason.as_str()), ("binding", "lost"));

    // A crash between the write and the answer: the list is on disk and nobody heard of it. What follows follows it.
    world.restart().await;
    assert_eq!(list(&world).await.1, second_bytes);
    world.advance(86_400_000);
    let (third, _) = list(&world).await;
    assert_eq!((third.number, third.previous), (3, hash_of(&second_bytes)), "renewed long before it is due");
    assert!(third.this_update < second.next_update && third.entries == second.entries);

    // A crash before the write: what was half written is not the list.
    std::fs::write(world.revocations().with_extension("part"), b"MBRL").unwrap();
    world.restart().await;
    assert_eq!(list(&world).await.0.number, 3);

    let denied = world.post("/pairings", &world.issue_request(&app, &pack)).await.problem();
    assert_eq!((denied.status, denied.code.as_str()), (403, "W4_ERR_PAIRING_DENIED"));
    revoke(&world, Subject::Component(pack.cid)).await.json::<Revocations>();
    let gone = world.post("/pairings", &world.issue_request(&app, &pack)).await.problem();
    assert_eq!((gone.status, gone.code.as_str()), (410, "W4_ERR_COMPONENT_REVOKED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_revoke_does_not() {
    let world = World::new().await;
    let (_, pack, _) = world.commissioned().await;
    let what = Subject::Component(pack.cid);
    let good = order(&world, &world.operator, what, Reason::Lost);
    let stranger = SigningKey::generate(&mut rng());
    let change = |f: &dyn Fn(&mut Revoke)| {
        let mut request = good.clone();
        f(&mut request);
        request
    };
    let unknown = |what| order(&world, &world.operator, what, Reason::Lost);
    for (name, request, status, code) in [
        ("creator", change(&|r| r.creator.clear()), 400, "W4_ERR_PROTO_FORMAT"),
        ("type", change(&|r| r.kind = "pack".into()), 400, "W4_ERR_PROTO_FORMAT"),
        ("reason", change(&|r| r.reason = "stolen".into()), 400, "W4_ERR_PROTO_FORMAT"),
        ("no key", change(&|r| r.key = Hex([9; 33])), 400, "W4_ERR_PROTO_FORMAT"),
        ("stranger", order(&world, &stranger, what, Reason::Lost), 403, "W4_ERR_REVOCATION_DENIED"),
        (
            "authority",
            change(&|r| r.key = Hex(world.authority.sign_pub().0)),
            403,
            "W4_ERR_REVOCATION_DENIED",
        ),
        ("other reason", change(&|r| r.reason = "retired".into()), 401, "W4_ERR_REVOCATION_PROOF_FAIL"),
        ("other type", change(&|r| r.kind = "binding".into()), 401, "W4_ERR_REVOCATION_PROOF_FAIL"),
        ("other id", change(&|r| r.id = Hex([1; 16])), 401, "W4_ERR_REVOCATION_PROOF_FAIL"),
        ("component", unknown(Subject::Component(Cid([1; 16]))), 404, "W4_ERR_COMPONENT_NOT_FOUND"),
        ("binding", unknown(Subject::Binding(BindingId([1; 16]))), 404, "W4_ERR_BINDING_NOT_FOUND"),
        ("pairing", unknown(Subject::Pairing(PairingId([1; 16]))), 404, "W4_ERR_PAIRING_NOT_FOUND"),
    ] {
        let problem = world.post("/revocations", &request).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{name}: {problem}");
    }
    assert!(!world.revocations().exists(), "a refusal signs nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_list_and_a_disk_that_refuses() {
    let world = World::new().await;
    for i in 0..ENTRIES_MAX {
        revoke(&world, Subject::Batch([i as u8; 16])).await.json::<Revocations>();
    }
    let full = revoke(&world, Subject::Batch([99; 16])).await.problem();
    assert_eq!((full.status, full.code.as_str()), (409, "W4_ERR_REVOCATION_FULL"));
    let known: Revocations = revoke(&world, Subject::Batch([3; 16])).await.json();
    assert_eq!((known.number, known.entries.len()), (ENTRIES_MAX as u32, ENTRIES_MAX));

    // What cannot be written is not given out, and its number is used once the disk takes it.
    let before = std::fs::read(world.revocations()).unwrap();
    let part = world.revocations().with_extension("part");
    std::fs::create_dir(&part).unwrap();
    world.advance(86_400_000);
    let refused = world.client.revocations().await.unwrap_err();
    assert_eq!(refused.code(), Some("W4_ERR_UNAVAILABLE"));
    assert_eq!(std::fs::read(world.revocations()).unwrap(), before);
    std::fs::remove_dir(&part).unwrap();
    let (next, _) = list(&world).await;
    assert_eq!((next.number, next.previous), (ENTRIES_MAX as u32 + 1, hash_of(&before)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_somebody_changed_stops_the_bridge() {
    let mut world = World::new().await;
    revoke(&world, Subject::Batch([1; 16])).await.json::<Revocations>();
    world.stop().await;
    let mut bytes = std::fs::read(world.revocations()).unwrap();
    bytes[60] ^= 1;
    std::fs::write(world.revocations(), bytes).unwrap();
    let opened = bridge::Bridge::open(bridge::Config {
        chain: world.chain.clone(),
        clock: std::sync::Arc::new(|| common::START_MS),
        key: bridge::AuthorityKey::from_bytes(&world.authority_key).unwrap(),
        lineage: None,
        ceremonies: world.ceremonies(),
        revocations: world.revocations(),
        orders: world.orders(),
        webhooks: world.dir.path().join("second.redb"),
    });
    assert!(matches!(opened, Err(bridge::BridgeError::Revocations(_))));
}

/// Waits until the ledger holds every entry of the list.
async fn recorded(world: &World) -> Vec<(u64, Hex<32>)> {
    for _ in 0..1_000 {
        let list = world.client.revocations().await.unwrap();
        let held: Vec<_> = list.entries.iter().filter_map(|e| e.height.zip(e.txhash)).collect();
        if held.len() == list.entries.len() {
            return held;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the ledger was not told")
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let _absent = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A52: what devices are told the ledger holds too, whenever the bridge stops in between, and by one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_withdraws_what_is_listed_once() {
    let mut world = World::new().await;
    let (_, pack, bonded) = world.commissioned().await;
    let what = Subject::Binding(bonded.id);
    let (ledger, before) = (world.dir.path().join("ledger"), world.dir.path().join("before"));
    world.stop().await;
    copy(&ledger, &before);
    world.resume().await;
    let refused = |world: &World| world.chain.read().unwrap().totals().unwrap().refused;

    let answer: Revocations = revoke(&world, what).await.json();
    let (height, tx) = (answer.entries[0].height.unwrap(), answer.entries[0].txhash.unwrap());
    assert!(height <= world.chain.tip().height);
    let binding = world.chain.read().unwrap().binding(&bonded.id).unwrap().unwrap();
    assert_eq!(binding.status, ledger::records::Status::Revoked);
    assert_eq!(revoke(&world, what).await.json::<Revocations>().entries, answer.entries, "once");
    let receipt = world.receipt(&format!("/receipts/{tx}")).await;
    ledger::receipt::verify(&receipt, Some(&world.trust())).unwrap();

    // The list is on disk, and the power went before a block held the transaction.
    world.stop().await;
    copy(&before, &ledger);
    world.resume().await;
    let held = recorded(&world).await;
    assert!(held[0].1 != tx, "another transaction, for that one was lost");
    assert_eq!(refused(&world), 0);

    // What the ledger holds it is not told again.
    let nonce = |world: &World| world.chain.next_nonce(&world.authority.sign_pub()).unwrap();
    let told = nonce(&world);
    world.restart().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!((nonce(&world), refused(&world)), (told, 0));

    // A component takes along what it has; a batch authority the ledger knows by its number only.
    revoke(&world, Subject::Component(pack.cid)).await.json::<Revocations>();
    revoke(&world, Subject::Batch([7; 16])).await.json::<Revocations>();
    assert_eq!(recorded(&world).await.len(), 3);
    let component = world.chain.read().unwrap().component(&pack.cid).unwrap().unwrap();
    assert_eq!(component.status, lct::lifecycle::State::Revoked);
}
