//! Bindings in the place of others: who may have them, and what the ledger is told.

use crate::common;

use api::{
    Blob, Fixed, Hex,
    binding::{Bound, Complete, Replacement, Replaces, Sides},
    delegation::{Agreed, Held, Part},
    order::{Outcome, Place, State, Task, order_digest, outcome_digest},
    transaction::Transaction,
};
use common::{Answer, Bonded, Device, World, rng};
use lct::{
    binding::Assurance,
    consent::Consent,
    hash::sha256,
    id::{BindingId, Cid, Role},
    ownership::{TRANSFER_MAX, Transfer},
    revocation::{Reason, Subject},
    sign::SigningKey,
    validation::{EVENT_MAX, Event, EventKind},
};
use ledger::{
    records::Status,
    tx::{Body, Kind},
};

/// An operator wants the two bound anew.
async fn order(world: &World, a: &Device, b: &Device, id: u8) {
    wanted(world, Task::Bind, a, b, id).await;
}

async fn wanted(world: &World, task: Task, a: &Device, b: &Device, id: u8) {
    assert_eq!(place(world, task, a, b, id).await.status, 200);
}

async fn place(world: &World, task: Task, a: &Device, b: &Device, id: u8) -> Answer {
    let expires_at = world.client.time_token().await.unwrap().time + 600;
    let (chain, id) = (world.chain.chain_id(), [id; 16]);
    let digest = order_digest(&chain, &id, expires_at, (task, None), &Cid::of(&a.id), &Cid::of(&b.id));
    let place = Place {
        creator: "test".into(),
        id: Hex(id),
        task,
        level: None,
        a: a.id.clone(),
        b: b.id.clone(),
        expires_at,
        key: Hex(world.operator.public().0),
        signature: Fixed(world.operator.sign(&digest, &mut rng()).0),
    };
    world.post("/orders", &place).await
}

async fn outcome(world: &World, id: u8, state: State) {
    let digest = outcome_digest(&world.chain.chain_id(), &[id; 16], state, "");
    let signature = Fixed(world.operator.sign(&digest, &mut rng()).0);
    let outcome = Outcome { state, said: String::new(), key: Hex(world.operator.public().0), signature };
    let path = format!("/orders/{}/outcome", Hex([id; 16]));
    assert_eq!(world.post(&path, &outcome).await.status, 200);
}

/// What `cid` says under `key` about the binding in whose place `record` comes.
fn word(key: &SigningKey, cid: Cid, old: BindingId, record: &[u8], seq: u32, leave: &[u8]) -> Replacement {
    let payload = [&old.0[..], &sha256(&[record])].concat();
    let event = Event::new(EventKind::BindingReplacement, cid, 1, seq, &payload).unwrap();
    let mut bytes = [0; EVENT_MAX];
    let n = event.encode(&mut bytes).unwrap();
    Replacement {
        leave: leave.into(),
        statement: Blob(bytes[..n].to_vec()),
        signature: Fixed(event.sign(key, &mut rng()).unwrap().0),
    }
}

/// The kind of the transaction that recorded a binding, and how the one before it stands.
async fn complete(
    world: &World,
    bonded: &Bonded,
    old: BindingId,
    word: Option<Replacement>,
) -> (Kind, Status, u8) {
    let replacements = Sides { a: None, b: word };
    let request = Complete { signatures: world.record_signatures(bonded), replacements };
    let path = format!("/bindings/{}/complete", bonded.id);
    let bound: Bound = world.post(&path, &request).await.json();
    let again: Bound = world.post(&path, &request).await.json();
    assert_eq!(again, bound, "the same again is one transaction");
    let snapshot = world.chain.read().unwrap();
    let tx = snapshot.tx(&bound.txhash.0).unwrap().unwrap();
    let block = snapshot.block(tx.height).unwrap().unwrap();
    let mut kinds = block.txs.iter().filter(|bytes| ledger::tx::Tx::id_of(bytes) == bound.txhash.0);
    let bytes = kinds.next().unwrap();
    let read = <ledger::tx::Tx as ledger::codec::Canonical>::from_bytes(bytes).unwrap();
    let reason = snapshot.revocation(&ledger::tx::Target::Binding(old)).unwrap().unwrap().reason;
    (read.unsigned.body.kind(), snapshot.binding(&old).unwrap().unwrap().status, reason)
}

/// The operator owns `device` from now on.
async fn hand_over(world: &World, device: &Device) {
    let (owner, factory) = (&world.operator, &world.factory.batch);
    let hop = Transfer {
        chain_id: world.chain.chain_id(),
        cid: device.cid,
        lct: world.client.component(&device.id).await.unwrap().lct_id.0,
        hop: 1,
        previous: [0; 32],
        from: factory.public(),
        to: owner.public(),
        time_ms: u64::from(world.now_s()) * 1000,
    };
    let mut out = [0; TRANSFER_MAX];
    let n = hop.encode(&mut out).unwrap();
    let signatures = [factory, owner].map(|k| k.sign(&hop.digest().unwrap(), &mut rng()));
    let tx = world.tx(Body::Transfer { statement: out[..n].to_vec(), signatures }).await;
    assert_eq!(world.client.submit(&tx.bytes, true).await.unwrap().error, None);
}

/// `signer` agrees that a binding of the first with the second takes the place of `old`.
async fn agree(
    world: &World,
    [own, partner]: [&Device; 2],
    old: BindingId,
    signer: &SigningKey,
    for_s: u32,
) -> Transaction {
    let consent = Consent {
        chain_id: world.chain.chain_id(),
        cid: own.cid,
        binding: old,
        partner: partner.cid,
        until_ms: u64::from(world.now_s() + for_s) * 1000,
        hop: 1,
        // As it goes up with every block, so does it from one to the next.
        number: world.chain.tip().height,
    };
    let signature = signer.sign(&consent.digest().unwrap(), &mut rng());
    let tx = world.tx(api::sign::consent(&consent, signature).unwrap()).await;
    world.client.submit(&tx.bytes, true).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_is_replaced_by_order_and_with_the_word_of_a_device_that_knows_it() {
    let mut world = World::new().await;
    let (app, pack, first) = world.commissioned().await;
    let refused = world.post("/bindings", &world.begin_request(&app, &pack)).await.problem();
    assert_eq!((refused.status, refused.code.as_str()), (409, "W4_ERR_BINDING_PAIR_EXISTS"));

    order(&world, &app, &pack, 1).await;
    // A ceremony that comes to nothing costs the binding in force nothing, also after a start.
    world.restart().await;
    world.introduce_anew(&app, &pack, Some(first.id)).await;
    world.pair(&app, &pack, &first).await;
    let (second, leave) = world.introduce_anew(&app, &pack, Some(first.id)).await;
    let says = word(&pack.key, pack.cid, first.id, &second.record.encode(), 1, &leave);
    let superseded = (Kind::Rebind, Status::Revoked, Reason::Superseded as u8);
    assert_eq!(complete(&world, &second, first.id, Some(says)).await, superseded);
    world.pair(&app, &pack, &second).await;

    // What says nothing of the binding in force, and what nobody may say: the authority withdraws it by itself first.
    let stranger = SigningKey::generate(&mut rng());
    let mut before = second;
    for (n, case) in
        ["another binding", "another record", "another's leave", "another key", "nothing"].iter().enumerate()
    {
        let (new, leave) = world.introduce_anew(&app, &pack, Some(before.id)).await;
        let record = new.record.encode();
        let (seq, old) = (10 + n as u32, before.id);
        let says = match *case {
            "another binding" => Some(word(&pack.key, pack.cid, first.id, &record, seq, &leave)),
            "another record" => Some(word(&pack.key, pack.cid, old, &record[1..], seq, &leave)),
            "another's leave" => {
                let asked = lct::rebind::Rebind { device: pack.cid, nonce: [6; 16], old };
                let leave = asked.issue(&stranger, &mut rng());
                Some(word(&pack.key, pack.cid, old, &record, seq, &leave))
            }
            "another key" => Some(word(&stranger, pack.cid, old, &record, seq, &leave)),
            _ => None,
        };
        let cleared = (Kind::Bind, Status::Revoked, Reason::Superseded as u8);
        assert_eq!(complete(&world, &new, old, says).await, cleared, "{case}");
        before = new;
    }
    world.pair(&app, &pack, &before).await;

    // Whoever owns the pack has a say in it.
    let (owner, factory) = (&world.operator, &world.factory.batch);
    hand_over(&world, &pack).await;
    let refused = world.post("/bindings", &world.begin_request(&app, &pack)).await.problem();
    assert_eq!((refused.status, refused.code.as_str()), (403, "W4_ERR_REBIND_OWNER"));
    let agree = async |partner: &Device, signer: &SigningKey| {
        agree(&world, [&pack, partner], before.id, signer, 7_200).await
    };
    let module = world.factory.device("module-7", Role::Module);
    world.register(&module).await;
    assert_eq!(agree(&app, factory).await.code.as_deref(), Some("W4_ERR_CONSENT_PROOF_FAIL"));
    assert_eq!(agree(&module, owner).await.error, None);
    let refused = world.post("/bindings", &world.begin_request(&app, &pack)).await.problem();
    assert_eq!(refused.code, "W4_ERR_REBIND_OWNER", "that is for another partner");
    assert_eq!(agree(&app, owner).await.error, None);
    let (new, leave) = world.introduce_anew(&app, &pack, Some(before.id)).await;
    let says = word(&pack.key, pack.cid, before.id, &new.record.encode(), 20, &leave);
    assert_eq!(complete(&world, &new, before.id, Some(says)).await, superseded);
    let refused = world.post("/bindings", &world.begin_request(&app, &pack)).await.problem();
    assert_eq!(refused.code, "W4_ERR_REBIND_OWNER", "one consent is for one binding");
}

/// What a pack that another app has answers for a ceremony with `app`.
async fn keys_refused(
    world: &World,
    pair: [&Device; 2],
    old: Option<BindingId>,
    assurance: Assurance,
) -> (u16, String) {
    let (id, requests) = world.begin_as(pair[0], pair[1], assurance).await;
    let (_, keys) = world.answers(pair, &requests, old);
    let problem = world.post(&format!("/bindings/{id}/keys"), &keys).await.problem();
    (problem.status, problem.code)
}

async fn completion_refused(
    world: &World,
    bonded: &Bonded,
    words: [Option<Replacement>; 2],
) -> (u16, String) {
    let [a, b] = words;
    let request = Complete { signatures: world.record_signatures(bonded), replacements: Sides { a, b } };
    let problem = world.post(&format!("/bindings/{}/complete", bonded.id), &request).await.problem();
    (problem.status, problem.code)
}

const CODE: Assurance = Assurance::AttestedAndCode;

/// A pack has one app: another one takes it over by order, with the code, on the word of the pack, and not otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_app_takes_a_pack_over_with_its_code() {
    let world = World::new().await;
    let (lost, pack, first) = world.commissioned().await;
    let app = world.factory.device("app-0002", Role::App);
    let old = Some(first.id);
    let active = async |id: BindingId| {
        world.chain.read().unwrap().binding(&id).unwrap().is_some_and(|b| b.status == Status::Active)
    };
    let refused = (409, "W4_ERR_BINDING_REPLACE".to_owned());
    // Whatever the pack names: the binding in force, none that it can read, one that was never recorded, or none at all.
    let named = [old, Some(BindingId([0; 16])), Some(BindingId([9; 16])), None];
    // The order may come before the app is registered.
    wanted(&world, Task::TakeOver, &app, &pack, 1).await;
    world.register(&app).await;
    let other = world.factory.device("app-0003", Role::App);
    world.register(&other).await;
    for old in named {
        assert_eq!(keys_refused(&world, [&other, &pack], old, CODE).await, refused, "nobody ordered it");
        let attested = Assurance::Attested;
        assert_eq!(keys_refused(&world, [&app, &pack], old, attested).await, refused, "from anywhere");
    }

    // The app speaks for itself only, and what the pack says has to hold. Either way nothing gave way.
    let (new, leave) = world.introduce_as(&app, &pack, old, CODE).await;
    let record = new.record.encode();
    let stranger = SigningKey::generate(&mut rng());
    let spoilt = word(&stranger, pack.cid, first.id, &record, 1, &leave);
    assert_eq!(completion_refused(&world, &new, [None, Some(spoilt)]).await, refused, "not the pack's key");
    let of_app = word(&app.key, app.cid, first.id, &record, 1, &leave);
    assert_eq!(completion_refused(&world, &new, [Some(of_app), None]).await, refused, "the app's word");
    let (id, requests) = world.begin_as(&app, &pack, CODE).await;
    let (_, mut keys) = world.answers([&app, &pack], &requests, None);
    keys.a.replaces = Some(Replaces { nonce: Fixed([6; 16]), binding_id: Fixed(first.id.0) });
    let problem = world.post(&format!("/bindings/{id}/keys"), &keys).await.problem();
    assert_eq!((problem.status, problem.code), refused, "leave for the app");
    assert!(active(first.id).await);

    // An order that ended after the pack had its leave stops nothing: the pack gave its old binding up.
    let (new, leave) = world.introduce_as(&app, &pack, old, CODE).await;
    world.advance(700_000);
    assert_eq!(world.client.orders().await.unwrap().orders, [], "it expired");
    let says = word(&pack.key, pack.cid, first.id, &new.record.encode(), 1, &leave);
    let superseded = (Kind::Rebind, Status::Revoked, Reason::Superseded as u8);
    assert_eq!(complete(&world, &new, first.id, Some(says)).await, superseded);
    world.pair(&app, &pack, &new).await;
    assert_eq!(
        keys_refused(&world, [&lost, &pack], Some(new.id), CODE).await,
        refused,
        "not without another"
    );
}

/// After a cut a pack has a new binding that the ledger does not have, or none; the next try finds its way, by order, with
/// the code and the owner's consent, and the ledger never has two apps of the pack in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_was_cut_is_made_by_another_try() {
    let world = World::new().await;
    let (_, pack, first) = world.commissioned().await;
    let app = world.factory.device("app-0002", Role::App);
    world.register(&app).await;
    wanted(&world, Task::TakeOver, &app, &pack, 1).await;
    let owner_asked = (403, "W4_ERR_REBIND_OWNER".to_owned());
    // Both have an owner; only the pack's has something to lose.
    hand_over(&world, &pack).await;
    hand_over(&world, &app).await;
    let old = Some(first.id);
    assert_eq!(keys_refused(&world, [&app, &pack], old, CODE).await, owner_asked, "before anything changes");
    let owner = &world.operator;
    assert_eq!(agree(&world, [&pack, &app], first.id, owner, 600).await.error, None);
    assert_eq!(keys_refused(&world, [&app, &pack], old, CODE).await, owner_asked, "it may end meanwhile");
    assert_eq!(agree(&world, [&pack, &app], first.id, owner, 4_000).await.error, None);
    let (cut, _) = world.introduce_as(&app, &pack, old, CODE).await;

    let (new, leave) = world.introduce_as(&app, &pack, Some(cut.id), CODE).await;
    let says = word(&pack.key, pack.cid, cut.id, &new.record.encode(), 2, &leave);
    let cleared = (Kind::Bind, Status::Revoked, Reason::Superseded as u8);
    assert_eq!(complete(&world, &new, first.id, Some(says)).await, cleared);
    world.pair(&app, &pack, &new).await;

    // A host that leaves the word out: the binding before is withdrawn all the same, and only by an order that stands.
    let third = world.factory.device("app-0003", Role::App);
    world.register(&third).await;
    assert_eq!(agree(&world, [&pack, &third], new.id, owner, 4_000).await.error, None);
    wanted(&world, Task::TakeOver, &third, &pack, 2).await;
    let (next, _) = world.introduce_as(&third, &pack, Some(new.id), CODE).await;
    outcome(&world, 2, State::Failed).await;
    let refused = (409, "W4_ERR_BINDING_REPLACE".to_owned());
    assert_eq!(completion_refused(&world, &next, [None, None]).await, refused, "it was given up");
    wanted(&world, Task::TakeOver, &third, &pack, 3).await;
    assert_eq!(complete(&world, &next, new.id, None).await, cleared);
}

/// A module has one pack, and an app gives up only the one in whose place an order puts another: by that order, as far as owners
/// agree, on the word of whoever stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_takes_the_place_of_another_one_by_order() {
    let world = World::new().await;
    let (app, old_pack, first) = world.commissioned().await;
    let module = world.factory.device("module-0007", Role::Module);
    let pack = world.factory.device("pack-0009", Role::Pack);
    world.register(&module).await;
    let with_module = world.bind(&old_pack, &module).await;
    let refused = (409, "W4_ERR_BINDING_REPLACE".to_owned());
    let attested = Assurance::Attested;
    // The order may come before the pack is registered, and stands for these two only.
    let elsewhere = world.factory.device("pack-0011", Role::Pack);
    wanted(&world, Task::Exchange, &old_pack, &elsewhere, 1).await;
    world.register(&pack).await;
    for named in [Some(with_module.id), Some(BindingId([0; 16])), None] {
        assert_eq!(
            keys_refused(&world, [&pack, &module], named, attested).await,
            refused,
            "nobody ordered it"
        );
    }
    // Beside the one that it has an app may have another pack; in its place it may not.
    let (id, requests) = world.begin_as(&app, &pack, attested).await;
    let (_, mut keys) = world.answers([&app, &pack], &requests, None);
    keys.a.replaces = Some(Replaces { nonce: Fixed([6; 16]), binding_id: Fixed(first.id.0) });
    let problem = world.post(&format!("/bindings/{id}/keys"), &keys).await.problem();
    assert_eq!((problem.status, problem.code), refused, "nor may the app");

    wanted(&world, Task::Exchange, &old_pack, &pack, 2).await;
    // An order that is done lets the modules follow; one that was given up does not.
    outcome(&world, 2, State::Done).await;
    let superseded = (Kind::Rebind, Status::Revoked, Reason::Superseded as u8);
    hand_over(&world, &module).await;
    let owner_asked = (403, "W4_ERR_REBIND_OWNER".to_owned());
    let named = Some(with_module.id);
    assert_eq!(keys_refused(&world, [&pack, &module], named, attested).await, owner_asked);
    let agreed = agree(&world, [&module, &pack], with_module.id, &world.operator, 7_200).await;
    assert_eq!(agreed.error, None);
    let (new, leave) = world.introduce_as(&pack, &module, named, attested).await;
    let record = new.record.encode();
    let of_pack = word(&pack.key, pack.cid, with_module.id, &record, 1, &leave);
    assert_eq!(
        completion_refused(&world, &new, [Some(of_pack), None]).await,
        refused,
        "not the pack's to say"
    );
    let says = word(&module.key, module.cid, with_module.id, &record, 1, &leave);
    assert_eq!(complete(&world, &new, with_module.id, Some(says)).await, superseded);

    // The app cannot name what it had: the authority withdraws that first.
    let (new, _) = world.introduce_as(&app, &pack, None, attested).await;
    let cleared = (Kind::Bind, Status::Revoked, Reason::Superseded as u8);
    assert_eq!(complete(&world, &new, first.id, None).await, cleared);
    world.pair(&app, &pack, &new).await;

    let third = world.factory.device("pack-0010", Role::Pack);
    world.register(&third).await;
    wanted(&world, Task::Exchange, &pack, &third, 3).await;
    outcome(&world, 3, State::Failed).await;
    assert_eq!(keys_refused(&world, [&third, &module], None, attested).await, refused, "it was given up");
}

/// Only packs take each other's places, and the one that broke may have been revoked before.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_of_packs() {
    let world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    let other = world.factory.device("pack-0009", Role::Pack);
    let module = world.factory.device("module-0007", Role::Module);
    world.register(&module).await;
    let unknown = world.factory.device("pack-0010", Role::Pack);
    let bad = (400, "W4_ERR_PROTO_FORMAT".to_owned());
    let missing = (404, "W4_ERR_COMPONENT_NOT_FOUND".to_owned());
    for (n, (a, b, expected)) in
        [(&app, &other, &bad), (&pack, &module, &bad), (&pack, &pack, &bad), (&unknown, &other, &missing)]
            .into_iter()
            .enumerate()
    {
        let problem = place(&world, Task::Exchange, a, b, 10 + n as u8).await.problem();
        assert_eq!((problem.status, &problem.code), (expected.0, &expected.1), "{} {}", a.id, b.id);
    }
    let revoked = world.revoke(Subject::Component(pack.cid), Reason::Lost).await;
    assert_eq!(revoked.status, 200);
    wanted(&world, Task::Exchange, &pack, &other, 1).await;
}

/// Where there is no network nobody can be asked: a laptop is told before who has a say, and what he said (H236).
#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_is_told_what_owners_agreed_to() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let order = world.delegation_order(&[&pack.id], &common::fresh_spk().public());
    let issued: api::delegation::Delegated = world.post("/delegations", &order).await.json();
    let path = format!("/delegations/{}/brief", issued.id);
    let told = async |path: &str| {
        let brief: api::delegation::Brief = world.get(path).await.json();
        brief.parts
    };
    let part = |device: &Device, owned, agreed: Option<Agreed>| Part {
        cid: Hex(device.cid.0),
        owned,
        bindings: vec![Held { binding_id: Hex(bonded.id.0), agreed }],
    };
    let sorted = |mut parts: Vec<Part>| {
        parts.sort_by_key(|part| part.cid.0);
        parts
    };
    let of_pack = |owned, agreed| sorted(vec![part(&app, false, None), part(&pack, owned, agreed)]);
    assert_eq!(told(&path).await, of_pack(false, None));
    hand_over(&world, &pack).await;
    assert_eq!(told(&path).await, of_pack(true, None));
    let until = u64::from(world.now_s() + 7_200);
    assert_eq!(agree(&world, [&pack, &app], bonded.id, &world.operator, 7_200).await.error, None);
    let agreed = Agreed { partner: Hex(app.cid.0), until };
    assert_eq!(told(&path).await, of_pack(true, Some(agreed.clone())));

    // The bridge has no keys of it any more, as of a binding of the factory: the ledger has it all the same. And of what it has
    // not, and somebody may bring, it says that nobody owns it.
    std::fs::remove_file(world.ceremonies()).unwrap();
    world.restart().await;
    let told = async |path: &str| {
        let brief: api::delegation::Brief = world.get(path).await.json();
        assert_eq!(brief.relations, []);
        brief.parts
    };
    assert_eq!(told(&path).await, of_pack(true, Some(agreed.clone())));
    let spare = Part { cid: Hex(Cid::of("module-0009").0), owned: false, bindings: vec![] };
    let mut all = of_pack(true, Some(agreed));
    all.push(spare);
    assert_eq!(told(&format!("{path}?beside=module-0009,pack-0001")).await, sorted(all));
    let many = vec!["module-0009"; 65].join(",");
    for with in ["", "a b", "module-0009,", &many] {
        let refused = world.get(&format!("{path}?beside={}", with.replace(' ', "%20"))).await;
        assert_eq!((refused.status, refused.problem().code.as_str()), (400, "W4_ERR_PROTO_FORMAT"), "{with}");
    }
}
