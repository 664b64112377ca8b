//! From factory to a recorded pairing, through the API and with software devices; restarts and repeats.

use crate::common;

use api::{
    Blob, Fixed, Hex,
    binding::{self, Sides},
    lct::{Create, Created, HALF_LEN, SealedHalf, half_info},
    pairing,
};
use common::World;
use lct::{
    binding::Introduction,
    id::{BindingId, Cid, Role},
    metadata::ClearMetadata,
    rebind::Rebind,
    revocation::{Reason, Subject as Revoked},
    spk::{HPKE_OVERHEAD, SpkSecret},
};
use ledger::{receipt::verify, verdict::Proved};

fn open_half(half: &SealedHalf, lct_id: &Hex<32>, cid: &Cid, key: &SpkSecret) -> Vec<u8> {
    assert_eq!(half.to.0, key.public().id().0);
    assert_eq!(half.sealed.0.len(), 16 + HPKE_OVERHEAD + HALF_LEN);
    let (nonce, sealed) = half.sealed.0.split_first_chunk::<16>().unwrap();
    let mut out = vec![0; HALF_LEN];
    key.open(&half_info(lct_id, cid, nonce), sealed, &mut out).unwrap();
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn app_and_pack_from_factory_to_paired() {
    let world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    let pack = world.factory.device("pack-0001", Role::Pack);
    let client = &world.client;
    assert_eq!(client.health().await.unwrap().status, "healthy");

    // What devices pin and what verifiers trust.
    let authority = client.authority().await.unwrap();
    assert_eq!(authority.spk.0, world.authority.0);
    let genesis =
        <ledger::genesis::Genesis as ledger::codec::Canonical>::from_bytes(&authority.genesis.0).unwrap();
    assert_eq!((&genesis, genesis.chain_id()), (&world.genesis, authority.chain_id.0));

    // Registration.
    for device in [&app, &pack] {
        let registered = client.register(&world.register_request(device).await).await.unwrap();
        assert_eq!(registered.component_id, device.id);
        assert_eq!(registered.component_identity, device.id);
        assert_eq!(registered.component_data["colour"], "green");
        let by_cid = client.component(&device.cid.to_string()).await.unwrap();
        let by_id = client.component(&device.id).await.unwrap();
        assert_eq!(api::component::Component { height: by_cid.height, ..by_id }, by_cid);
        assert_eq!((by_cid.lct_id, by_cid.cid.0), (registered.lct_id, device.cid.0));
        assert_eq!(by_cid.device_key.0, device.key.public().0);
        assert_eq!(client.lct(&registered.lct_id).await.unwrap().kind, "entity");
    }
    assert_eq!(client.account(&world.operator.public()).await.unwrap().next_nonce, 3);

    // Binding.
    let bonded = world.bind(&app, &pack).await;
    let seen = client.component("pack-0001").await.unwrap();
    assert_eq!(seen.signing_keys, [Hex(bonded.keys[1].public().sign_pub().0)]);
    assert_eq!(
        (seen.bindings[0].partner_id.as_str(), seen.bindings[0].assurance.as_str()),
        ("app-0001", "B1")
    );
    let seen = client.component("app-0001").await.unwrap();
    assert_eq!(seen.signing_keys, [Hex(bonded.keys[0].public().sign_pub().0)]);

    // Relationship LCT: four halves, each only for its owner. B first, to see that sides follow the request.
    let create = Create {
        creator: "fitter".into(),
        component_a: pack.id.clone(),
        component_b: app.id.clone(),
        context: "battery_management".into(),
        proxy_id: String::new(),
    };
    let created: Created = client.create_lct(&create).await.unwrap();
    let halves = [
        open_half(&created.lct_key_half.a, &created.lct_id, &pack.cid, &bonded.keys[1]),
        open_half(&created.lct_key_half.b, &created.lct_id, &app.cid, &bonded.keys[0]),
        open_half(&created.device_key_half.a, &created.lct_id, &pack.cid, &bonded.keys[1]),
        open_half(&created.device_key_half.b, &created.lct_id, &app.cid, &bonded.keys[0]),
    ];
    for (i, half) in halves.iter().enumerate() {
        assert!(halves[..i].iter().all(|h| h != half), "a half is used twice");
    }
    let lct = client.lct(&created.lct_id).await.unwrap();
    assert_eq!((lct.kind.as_str(), lct.operational_context.as_str()), ("relationship", "battery_management"));

    // Pairing.
    let request = world.issue_request(&app, &pack);
    let issued = client.issue_pairing(&request).await.unwrap();
    let certificate = lct::certificate::Certificate::parse(&issued.certificate.0).unwrap();
    let metadata = ClearMetadata::decode(certificate.clear_metadata).unwrap();
    assert_eq!((metadata.salt, metadata.iv_seed), (request.salt.0, request.iv_seed.0));
    assert_eq!(metadata.unencrypted_allowed.as_slice(), [0x500]);
    assert_eq!(metadata.entities.each_ref().map(|e| e.cid), [app.cid, pack.cid]);
    assert_eq!(metadata.timing.expires - metadata.timing.created, 90 * 86_400);
    assert_eq!(issued.expires_at, u64::from(metadata.timing.expires));
    assert_eq!(client.pairing(&issued.pairing_id).await.unwrap().status, "pending");
    let opened = world.open_certificate(&issued.certificate.0, &bonded);
    let completed =
        client.complete_pairing(&issued.pairing_id, &world.completion(&opened, &bonded)).await.unwrap();
    let pairing = client.pairing(&issued.pairing_id).await.unwrap();
    assert_eq!(
        (pairing.status.as_str(), pairing.a.as_str(), pairing.b.as_str()),
        ("completed", "app-0001", "pack-0001")
    );
    assert_eq!(pairing.binding_id.0, bonded.id.0);
    // H53: one that is issued at once is a second later, for devices take none that is as old as the one in use.
    let again = client.issue_pairing(&request).await.unwrap();
    let again = lct::certificate::Certificate::parse(&again.certificate.0).unwrap().clear_metadata.to_vec();
    assert!(ClearMetadata::decode(&again).unwrap().timing.created > metadata.timing.created);
    assert!(pairing.expires_at.abs_diff(issued.expires_at) < 60, "ledger and certificate agree on the lease");

    // The receipt proves it to someone who has only the genesis.
    let file = world.receipt(&format!("/receipts/{}", completed.txhash)).await;
    assert_eq!(client.receipt(&completed.txhash).await.unwrap(), file);
    let verdict = verify(&file, Some(&world.trust())).unwrap();
    let Proved::Pairing { pairing_id, a, b, .. } = verdict.proved else { panic!("proves something else") };
    assert_eq!((pairing_id, a, b), (opened.pairing_id, app.cid, pack.cid));

    let status = client.blockchain_status().await.unwrap().blockchain_status;
    let ledger = client.ledger_status().await.unwrap();
    assert!(status.connected && status.errors.is_empty());
    assert_eq!(status.ledger.as_ref(), Some(&ledger));
    assert_eq!((ledger.components, ledger.transactions), (2, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_any_two_steps_loses_nothing() {
    let mut world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    let pack = world.factory.device("pack-0001", Role::Pack);
    world.register(&app).await;
    world.register(&pack).await;

    let (id, requests) = world.begin(&app, &pack).await;
    world.restart().await;
    let (key_a, attested_a) = app.answer(&requests[0]);
    let (key_b, attested_b) = pack.answer(&requests[1]);
    let keys = Sides { a: attested_a, b: attested_b };
    let path = format!("/bindings/{id}/keys");
    let introduced: binding::Introduced = world.post(&path, &keys).await.json();
    world.restart().await;
    // The same keys again: the same content, whatever happened to the first answer.
    let again: binding::Introduced = world.post(&path, &keys).await.json();
    let open = |blob: &Blob| lct::binding::Introduction::open(&blob.0, &world.authority.sign_pub()).unwrap();
    assert_eq!(open(&introduced.introductions.a), open(&again.introductions.a));
    assert_eq!(open(&introduced.introductions.b), open(&again.introductions.b));

    let intro = open(&introduced.introductions.a);
    let entity = |cid, role, key: &SpkSecret, access_commit| lct::binding::BoundEntity {
        cid,
        role,
        sign_pub: key.public().sign_pub(),
        spk_id: key.public().id(),
        access_commit,
    };
    let bonded = common::Bonded {
        id,
        record: lct::binding::BindingRecord {
            binding_id: id,
            entities: [
                entity(app.cid, app.role, &key_a, intro.access_commits[0]),
                entity(pack.cid, pack.role, &key_b, intro.access_commits[1]),
            ],
            time: intro.time,
            assurance: lct::binding::Assurance::Attested,
        },
        keys: [key_a, key_b],
    };
    let complete = binding::Complete::first(world.record_signatures(&bonded));
    let path = format!("/bindings/{id}/complete");
    let bound: binding::Bound = world.post(&path, &complete).await.json();
    world.restart().await;
    assert_eq!(
        world.post(&path, &complete).await.json::<binding::Bound>(),
        bound,
        "idempotent over a restart"
    );

    let opened = world.pair(&app, &pack, &bonded).await;
    world.restart().await;
    let pending: pairing::Pairing = world.get(&format!("/pairings/{}", opened.pairing_id)).await.json();
    assert_eq!(pending.status, "pending");
    let complete = world.completion(&opened, &bonded);
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    let completed: pairing::Completed = world.post(&path, &complete).await.json();
    let height = world.chain.tip().height;
    world.restart().await;
    assert_eq!(world.post(&path, &complete).await.json::<pairing::Completed>(), completed);
    assert!(world.chain.tip().height <= height + 1, "a repeat makes no transaction");
    let status: api::health::LedgerStatus = world.get("/ledger/status").await.json();
    assert_eq!(status.transactions, 4);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_idempotent_and_make_one_transaction() {
    let world = World::new().await;
    let app = world.factory.device("app-0001", Role::App);
    let pack = world.factory.device("pack-0001", Role::Pack);
    // A client that heard nothing signs the same registration anew, with another nonce.
    let first = world.register(&app).await;
    let again = world.register(&app).await;
    assert_eq!((first.txhash, first.lct_id), (again.txhash, again.lct_id));
    world.register(&pack).await;

    // Two identical completions at the same time.
    let bonded = world.introduce(&app, &pack).await;
    let complete = binding::Complete::first(world.record_signatures(&bonded));
    let id = Hex(bonded.id.0);
    let (x, y) = tokio::join!(
        world.client.complete_binding(&id, &complete),
        world.client.complete_binding(&id, &complete)
    );
    assert_eq!(x.unwrap(), y.unwrap());

    // An operator's transaction, twice, and once it is in a block.
    let third = world.factory.device("module-0001", Role::Module);
    let tx = world.tx(third.register_body(&third.registration(world.chain.chain_id()))).await;
    let sent = world.client.submit(&tx.bytes, true).await.unwrap();
    assert_eq!((sent.txhash.0, sent.status.as_str()), (tx.id, "included"));
    assert_eq!(world.client.submit(&tx.bytes, false).await.unwrap(), sent);
    assert_eq!(world.client.transaction(&Hex(tx.id)).await.unwrap(), sent);

    let status = world.client.ledger_status().await.unwrap();
    assert_eq!(status.transactions, 4, "3 registrations and 1 binding");
    let refused = world.chain.status().unwrap().refused;
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_modules_are_bound_at_the_same_time() {
    let world = std::sync::Arc::new(World::new().await);
    let pack = std::sync::Arc::new(world.factory.device("pack-0001", Role::Pack));
    world.register(&pack).await;
    let modules: Vec<_> =
        (1..=6).map(|i| world.factory.device(&format!("module-{i:04}"), Role::Module)).collect();
    for module in &modules {
        world.register(module).await;
    }
    let tasks: Vec<_> = modules
        .into_iter()
        .map(|module| {
            let (world, pack) = (world.clone(), pack.clone());
            tokio::spawn(async move {
                let bonded = world.bind(&pack, &module).await;
                let opened = world.pair(&pack, &module, &bonded).await;
                let path = format!("/pairings/{}/complete", opened.pairing_id);
                world.post(&path, &world.completion(&opened, &bonded)).await.json::<pairing::Completed>()
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seen = world.client.component("pack-0001").await.unwrap();
    assert_eq!((seen.bindings.len(), seen.signing_keys.len()), (6, 6));
    assert_eq!(world.chain.status().unwrap().pairings, 6);
    assert_eq!(world.chain.status().unwrap().refused, 0, "nonces left in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_is_bound_to_its_owner_and_lct() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let create = Create {
        creator: "fitter".into(),
        component_a: app.id.clone(),
        component_b: pack.id.clone(),
        context: "diagnostics".into(),
        proxy_id: "proxy".into(),
    };
    let created: Created = world.post("/lct/create", &create).await.json();
    let half = &created.lct_key_half.a;
    let (nonce, sealed) = half.sealed.0.split_first_chunk::<16>().unwrap();
    let mut out = [0; HALF_LEN];
    let other_lct = Hex([1; 32]);
    for (lct_id, cid, key) in [
        (&created.lct_id, &app.cid, &bonded.keys[1]),
        (&created.lct_id, &pack.cid, &bonded.keys[0]),
        (&other_lct, &app.cid, &bonded.keys[0]),
    ] {
        assert!(key.open(&half_info(lct_id, cid, nonce), sealed, &mut out).is_err());
    }
    bonded.keys[0].open(&half_info(&created.lct_id, &app.cid, nonce), sealed, &mut out).unwrap();
}

/// channel.md, H147: who has or had a binding gets leave to replace it, unless another partner holds it or it would be B0.
#[tokio::test(flavor = "multi_thread")]
async fn leave_to_replace_a_binding() {
    let world = World::new().await;
    let [app, other, pack] = [("app-0001", Role::App), ("app-0002", Role::App), ("pack-0001", Role::Pack)]
        .map(|(id, role)| world.factory.device(id, role));
    for device in [&app, &other, &pack] {
        world.register(device).await;
    }
    let bonded = world.bind(&app, &pack).await;
    let (id, requests) = world.begin(&other, &pack).await;
    let (a, b) = (other.answer(&requests[0]).1, pack.answer(&requests[1]).1);
    let nonce = [6; 16];
    let asks = |old: [u8; 16]| {
        let replaces = Some(binding::Replaces { nonce: Fixed(nonce), binding_id: Fixed(old) });
        Sides { a, b: binding::AttestedKey { replaces, ..b } }
    };
    let path = format!("/bindings/{id}/keys");
    // Whatever the pack names: who has it, the ledger knows.
    for old in [bonded.id.0, [0; 16], [7; 16]] {
        let answer = world.post(&path, &asks(old)).await;
        assert_eq!((answer.status, answer.problem().code.as_str()), (409, "W4_ERR_BINDING_REPLACE"));
    }
    // One that cannot be read, and one that the ledger never saw, where nobody has the pack.
    assert_eq!(world.revoke(Revoked::Binding(bonded.id), Reason::Lost).await.status, 200);
    let authority = world.authority.sign_pub();
    for old in [[0; 16], [7; 16]] {
        let introduced: binding::Introduced = world.post(&path, &asks(old)).await.json();
        let (introduction, token) = Introduction::split(&introduced.introductions.b.0).unwrap();
        assert_eq!(Introduction::open(introduction, &authority).unwrap().own, pack.cid);
        let question = Rebind { device: pack.cid, nonce, old: BindingId(old) };
        assert_eq!(question.is_granted_by(token.unwrap(), &authority), Ok(()));
        assert_eq!(Introduction::split(&introduced.introductions.a.0).unwrap().1, None, "who did not ask");
    }
    let plain = binding::Begin { assurance: "B0".into(), ..world.begin_request(&other, &pack) };
    let begun: binding::Begun = world.post("/bindings", &plain).await.json();
    let open = |blob: &Blob| lct::binding::BindRequest::open(&blob.0, &authority).unwrap();
    let (a, b) = (other.answer(&open(&begun.requests.a)).1, pack.answer(&open(&begun.requests.b)).1);
    let replaces = Some(binding::Replaces { nonce: Fixed(nonce), binding_id: Fixed([7; 16]) });
    let keys = Sides { a, b: binding::AttestedKey { replaces, ..b } };
    let answer = world.post(&format!("/bindings/{}/keys", BindingId(begun.binding_id.0)), &keys).await;
    assert_eq!((answer.status, answer.problem().code.as_str()), (409, "W4_ERR_BINDING_REPLACE"));
}

/// channel.md, H53: a device takes only what was issued later than the certificate that served it, so a start at which
/// the clock went back must not issue an older one.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_follow_each_other_although_the_clock_goes_back() {
    let mut world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    world.advance(60_000);
    let created = async |world: &World| {
        let issued: pairing::Issued = world.post("/pairings", &world.issue_request(&app, &pack)).await.json();
        let certificate = lct::certificate::Certificate::parse(&issued.certificate.0).unwrap();
        ClearMetadata::decode(certificate.clear_metadata).unwrap().timing.created
    };
    let first = created(&world).await;
    world.set_back(50_000);
    world.restart().await;
    assert!(world.now_s() < first, "the clock went back");
    let second = created(&world).await;
    assert!(second > first, "{second} after {first}");
    assert!(created(&world).await > second);
}
