//! What a delegate is told before it leaves (A205), and what the bridge makes of what it did (A208).

use crate::common;

use api::{
    Blob, Fixed, Hex,
    binding::{Adopt, Adopted},
    delegation::{Brief, Delegated, Kept},
    pairing,
    policy::Standings,
};
use common::{Bonded, Device, World, fresh_spk, rng};
use lct::{
    binding::{Assurance, BindingRecord, BoundEntity},
    delegation::{Act, DelegationId},
    hash::sha256,
    id::{BindingId, PairingId},
    pairing::Completion,
    revocation::{Reason, RevocationList, Subject},
    spk::SpkSecret,
};
use ledger::{codec::Canonical, tx::Body};

/// Both sides of a binding, as whoever made it knows them.
fn kept(devices: [&Device; 2], bonded: &Bonded) -> Adopt {
    let [a, b] = [0, 1].map(|i| Kept {
        component_id: devices[i].id.clone(),
        spk: Fixed(bonded.keys[i].public().0),
        access: String::new(),
        blind: None,
    });
    Adopt { creator: "test".into(), a, b }
}

async fn delegated(world: &World, laptop: &SpkSecret) -> Delegated {
    world.post("/delegations", &world.delegation_order(&["pack-0001"], &laptop.public())).await.json()
}

/// The laptop learns the whole keys of its packs, and of no others, and a list that is not older than what devices ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_is_told_of_its_packs() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let other = world.factory.device("pack-0002", lct::id::Role::Pack);
    world.register(&other).await;
    world.bind(&app, &other).await;
    let laptop = SpkSecret::generate(&mut rng()).unwrap();
    let issued = delegated(&world, &laptop).await;
    let path = format!("/delegations/{}/brief", issued.id);
    let brief: Brief = world.get(&path).await.json();
    assert_eq!((brief.chain_id.0, &brief.delegation), (world.chain.chain_id(), &issued.delegation));
    let [relation] = &brief.relations[..] else { panic!("{brief:?}") };
    assert_eq!(relation.binding_id.0, bonded.id.0);
    assert_eq!([&relation.a.component_id, &relation.b.component_id], [&app.id, &pack.id]);
    assert_eq!([relation.a.spk.0, relation.b.spk.0], [0, 1].map(|i| bonded.keys[i].public().0));
    assert_eq!(relation.certified_at, 0, "they were never paired");
    let opened = world.pair(&app, &pack, &bonded).await;
    assert_eq!(world.revoke(Subject::Pairing(opened.pairing_id), Reason::Lost).await.status, 200);
    let brief: Brief = world.get(&path).await.json();
    assert!(brief.relations[0].certified_at >= world.now_s(), "issued, though nobody completed it");
    let list = RevocationList::open(&brief.list.0, &world.authority.sign_pub()).unwrap();
    assert_eq!(list.entries.len(), 1);
    assert_eq!(world.revoke(Subject::Binding(bonded.id), Reason::Lost).await.status, 200);
    let brief: Brief = world.get(&path).await.json();
    assert_eq!(brief.relations, [], "it ended");
    let unknown = world.get(&format!("/delegations/{}/brief", Hex([9; 16]))).await;
    assert_eq!((unknown.status, unknown.problem().code.as_str()), (404, "W4_ERR_DELEGATION_NOT_FOUND"));
}

/// A technician takes a spare controller along that nobody has registered: it may be named beside a pack that is (H236).
#[tokio::test(flavor = "multi_thread")]
async fn a_spare_controller_is_named_before_it_is_registered() {
    let world = World::new().await;
    let (_, pack, _) = world.commissioned().await;
    let module = world.factory.device("module-0001", lct::id::Role::Module);
    world.register(&module).await;
    let laptop = SpkSecret::generate(&mut rng()).unwrap();
    let order = |packs: &[&str]| world.delegation_order(packs, &laptop.public());
    for (packs, code) in [
        (&["pack-0009"][..], "W4_ERR_COMPONENT_NOT_FOUND"),
        (&["pack-0009", "pack-0008"], "W4_ERR_COMPONENT_NOT_FOUND"),
        (&[&pack.id, "pack-0009", "module-0001"], "W4_ERR_DELEGATION_INVALID"),
    ] {
        assert_eq!(world.post("/delegations", &order(packs)).await.problem().code, code, "{packs:?}");
    }
    let issued: Delegated = world.post("/delegations", &order(&[&pack.id, "pack-0009"])).await.json();
    let spare = lct::id::Cid::of("pack-0009").to_string();
    let mut packs = issued.packs.clone();
    packs.sort();
    let mut named = [pack.id.clone(), spare];
    named.sort();
    assert_eq!(packs, named, "of one that is not registered nobody knows the name");
    let brief = world.get(&format!("/delegations/{}/brief", issued.id)).await;
    assert_eq!(brief.json::<Brief>().relations.len(), 1);
}

/// A binding that somebody else made serves like any other, once the bridge has its keys; which they are the ledger says.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_binding_are_taken_over_as_the_ledger_names_them() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    std::fs::remove_file(world.ceremonies()).unwrap();
    world.restart().await;
    let path = format!("/bindings/{}/adopt", bonded.id);
    let good = kept([&app, &pack], &bonded);
    let mut other = good.clone();
    // Only the half that things are sealed to: no signature would show it.
    other.b.spk.0[35..].copy_from_slice(&fresh_spk().public().0[35..]);
    let swapped = Adopt { a: good.b.clone(), b: good.a.clone(), ..good.clone() };
    let no_key = Adopt { a: Kept { spk: Fixed([0; 68]), ..good.a.clone() }, ..good.clone() };
    let no_name = Adopt { a: Kept { component_id: String::new(), ..good.a.clone() }, ..good.clone() };
    let stranger = Adopt { a: Kept { component_id: "app-0009".into(), ..good.a.clone() }, ..good.clone() };
    let unknown = format!("/bindings/{}/adopt", Hex([9; 16]));
    let unproved = Adopt { a: Kept { access: "can:app-0001".into(), ..good.a.clone() }, ..good.clone() };
    let bad =
        [(&other, 409), (&swapped, 409), (&stranger, 409), (&no_key, 400), (&no_name, 400), (&unproved, 400)];
    let none = world.post(&unknown, &good).await;
    assert_eq!((none.status, none.problem().code.as_str()), (404, "W4_ERR_BINDING_NOT_FOUND"));
    let codes = |status| if status == 400 { "W4_ERR_PROTO_FORMAT" } else { "W4_ERR_BINDING_KEYS" };
    for (request, status) in bad {
        let refused = world.post(&path, request).await;
        assert_eq!((refused.status, refused.problem().code.as_str()), (status, codes(status)));
    }
    let issue = world.issue_request(&app, &pack);
    let refused = world.post("/pairings", &issue).await;
    assert_eq!((refused.status, refused.problem().code.as_str()), (409, "W4_ERR_BINDING_KEYS"));
    for _ in 0..2 {
        assert_eq!(world.post(&path, &good).await.json::<Adopted>().status, "adopted");
    }
    // What is held already makes nothing good that is not.
    for (request, status) in bad {
        assert_eq!(world.post(&path, request).await.status, status);
    }
    world.restart().await;
    let opened = world.pair(&app, &pack, &bonded).await;
    let complete = world.completion(&opened, &bonded);
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    assert_eq!(world.post(&path, &complete).await.json::<pairing::Completed>().status, "completed");
}

/// How the two of a laptop's binding are reached is what both signed: neither whoever brings it nor the bridge can say otherwise,
/// and a certificate names what was agreed and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn access_is_taken_as_both_sides_committed_to_it() {
    let world = World::new().await;
    let (_, pack, _) = world.commissioned().await;
    let module = world.factory.device("module-0001", lct::id::Role::Module);
    world.register(&module).await;
    let laptop = SpkSecret::generate(&mut rng()).unwrap();
    let issued = delegated(&world, &laptop).await;
    world.advance(60_000);
    let keys = [fresh_spk(), fresh_spk()];
    let (access, blinds) = (["can:pack-0001", "can:module-0001"], [[3; 32], [4; 32]]);
    let entity = |i: usize, device: &Device| BoundEntity {
        cid: device.cid,
        role: device.role,
        sign_pub: keys[i].public().sign_pub(),
        spk_id: keys[i].public().id(),
        access_commit: sha256(&[access[i].as_bytes(), &blinds[i]]),
    };
    let record = BindingRecord {
        binding_id: BindingId([8; 16]),
        entities: [entity(0, &pack), entity(1, &module)],
        time: world.now_s(),
        assurance: Assurance::Attested,
    };
    let signers = [keys[0].signing_key(), keys[1].signing_key(), laptop.signing_key()];
    let signatures = signers.map(|key| key.sign(&record.digest(), &mut rng()));
    let body = api::sign::bind(&record, signatures).unwrap().to_bytes();
    let (delegation, time, hash) = (DelegationId(issued.id.0), world.now_s(), sha256(&[&body]));
    let act = Act { delegation, number: 1, previous: [0; 32], time, body: hash };
    let statement = act.issue(laptop.signing_key(), &mut rng()).to_vec();
    let tx = world.tx(Body::DelegateAct { statement, body }).await;
    world.client.submit(&tx.bytes, true).await.unwrap();
    let acts = world.client.delegation(&issued.id).await.unwrap().acts;
    assert_eq!(acts[0].outcome, "done", "{acts:?}");

    let side = |i: usize, device: &Device| Kept {
        component_id: device.id.clone(),
        spk: Fixed(keys[i].public().0),
        access: access[i].into(),
        blind: Some(Fixed(blinds[i])),
    };
    let good = Adopt { creator: "test".into(), a: side(0, &pack), b: side(1, &module) };
    let of_b = |change: fn(&mut Kept)| {
        let mut other = good.clone();
        change(&mut other.b);
        other
    };
    let path = format!("/bindings/{}/adopt", Hex([8; 16]));
    for (what, request, status, code) in [
        ("another place", of_b(|b| b.access = "can:thief".into()), 409, "W4_ERR_BINDING_KEYS"),
        ("another blind", of_b(|b| b.blind = Some(Fixed([5; 32]))), 409, "W4_ERR_BINDING_KEYS"),
        ("no place under a blind", of_b(|b| b.access.clear()), 400, "W4_ERR_PROTO_FORMAT"),
        ("a place without blind", of_b(|b| b.blind = None), 400, "W4_ERR_PROTO_FORMAT"),
    ] {
        let refused = world.post(&path, &request).await;
        assert_eq!((refused.status, refused.problem().code.as_str()), (status, code), "{what}");
    }
    // Its place is proved later than the rest, and counts all the same.
    let half = of_b(|b| (b.access, b.blind) = (String::new(), None));
    for request in [&half, &good, &half] {
        assert_eq!(world.post(&path, request).await.json::<Adopted>().status, "adopted");
    }
    let issue = world.issue_request(&pack, &module);
    let issued: pairing::Issued = world.post("/pairings", &issue).await.json();
    let certificate = lct::certificate::Certificate::parse(&issued.certificate.0).unwrap();
    let metadata = lct::metadata::ClearMetadata::decode(certificate.clear_metadata).unwrap();
    assert_eq!(metadata.entities.map(|e| e.access.to_vec()), access.map(|a| a.as_bytes().to_vec()));
}

/// A delegate's lease is short: the bridge has the two paired anew before it ends, and with a later certificate.
#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_delegate_is_renewed_in_time() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let opened = world.pair(&app, &pack, &bonded).await;
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    world.post(&path, &world.completion(&opened, &bonded)).await.json::<pairing::Completed>();
    let laptop = SpkSecret::generate(&mut rng()).unwrap();
    let issued = delegated(&world, &laptop).await;
    world.advance(120_000);

    let completion =
        Completion { pairing_id: PairingId([4; 16]), nonce: [1; 32], cert_hash: [2; 32], th4: [3; 32] };
    let keys = [bonded.keys[0].signing_key(), bonded.keys[1].signing_key(), laptop.signing_key()];
    let signatures = keys.map(|key| key.sign(&completion.digest(), &mut rng()));
    let bound = (bonded.id, [keys[0].public(), keys[1].public()]);
    let body = api::sign::pair_complete(&completion, bound, 4 * 3_600, signatures).unwrap().to_bytes();
    let delegation = DelegationId(issued.id.0);
    let (time, hash) = (world.now_s(), sha256(&[&body]));
    let act = Act { delegation, number: 1, previous: [0; 32], time, body: hash };
    let statement = act.issue(laptop.signing_key(), &mut rng()).to_vec();
    let tx = world.tx(Body::DelegateAct { statement, body }).await;
    world.client.submit(&tx.bytes, true).await.unwrap();
    let acts = world.client.delegation(&issued.id).await.unwrap().acts;
    assert_eq!(acts[0].outcome, "done", "{acts:?}");

    let due = async || world.get("/policies").await.json::<Standings>().policies[0].due;
    assert!(!due().await);
    world.advance(3 * 3_600_000 + 60_000);
    assert!(due().await, "in its last quarter");
    let next: pairing::Issued = world.post("/pairings", &world.issue_request(&app, &pack)).await.json();
    let Blob(bytes) = next.certificate;
    let certificate = lct::certificate::Certificate::parse(&bytes).unwrap();
    let metadata = lct::metadata::ClearMetadata::decode(certificate.clear_metadata).unwrap();
    assert!(metadata.timing.created > time);
}
