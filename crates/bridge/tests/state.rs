//! What the ledger holds, told by a route: now, and as it was after an earlier block, with proof.

use crate::common;

use api::{Client, Hex, registry::Checked};
use common::{World, rng};
use lct::{
    commitment::{Field, commit, opening},
    id::Role,
    revocation::Reason,
    secret::Secret,
    sign::SigningKey,
    spk::SpkSecret,
};
use ledger::{
    anonymous::pair_id,
    records::{AccountRole, registry::NO_PROXY},
    tx::{Body, Change, Governance, Registry, registry::Anonymous},
};

impl World {
    /// The authority's account.
    fn authority_account(&self) -> SigningKey {
        let seed = Secret::from_slice(&self.authority_key[5..]).unwrap();
        let key = SpkSecret::from_seed(seed).unwrap().signing_key().clone();
        assert_eq!(key.public(), self.authority.sign_pub());
        key
    }

    /// Records what the authority says; the height at which it did.
    async fn say(&self, body: Body) -> u64 {
        let tx = self.tx_by(&self.authority_account(), body).await;
        let answer = self.client.submit(&tx.bytes, true).await.unwrap();
        assert_eq!(answer.error, None);
        answer.height.unwrap()
    }

    fn then(&self, height: u64) -> Client {
        self.client.clone().at(Some(height))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_before_is_told_as_it_was_and_no_other() {
    let world = World::new().await;
    world.register(&world.factory.device("pack-0001", Role::Pack)).await;
    let before = world.client.ledger_status().await.unwrap();
    world.register(&world.factory.device("module-0001", Role::Module)).await;
    let now = world.client.ledger_status().await.unwrap();
    assert!((now.height, now.components) > (before.height, before.components));
    assert_eq!(world.then(before.height).ledger_status().await.unwrap(), before);

    let missing = world.then(before.height).component("module-0001").await.unwrap_err();
    assert_eq!(missing.code(), Some("W4_ERR_COMPONENT_NOT_FOUND"));
    assert_eq!(world.then(now.height).component("module-0001").await.unwrap().height, now.height);
    let account = world.then(0).account(&world.operator.public()).await.unwrap();
    assert_eq!((account.height, account.next_nonce), (0, 1));
    for path in [
        "/components/pack-0001",
        "/components/pack-0001/history",
        "/components/pack-0001/queue",
        "/governance",
        "/offers",
    ] {
        let told: serde_json::Value = world.get(&format!("{path}?height={}", before.height)).await.json();
        assert_eq!(told["height"], before.height, "{path}");
    }
    let problem = |query: &str| {
        let path = format!("/components/pack-0001{query}");
        let world = &world;
        async move { world.get(&path).await.problem() }
    };
    let future = problem("?height=1000").await;
    assert_eq!((future.status, future.code.as_str()), (404, "W4_ERR_HEIGHT_FUTURE"));
    assert!(future.detail.unwrap().contains("the last block has height"));
    for query in ["?height=", "?height=x", "?height=-1", "?heigth=1", "?height=1&height=2"] {
        let wrong = problem(query).await;
        assert_eq!((wrong.status, wrong.code.as_str()), (400, "W4_ERR_PROTO_FORMAT"), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_beside_the_ceremonies_is_told() {
    let world = World::new().await;
    let (app, pack, _) = world.commissioned().await;
    let asks = |wish| {
        let (initiator, target, context) = (app.cid, pack.cid, "energy".to_owned());
        Body::Registry(Registry::Queue { initiator, target, wish, priority: 3, proxy: NO_PROXY, context })
    };
    let queued = world.say(asks(1)).await;
    let waiting = world.client.queue("app-0001").await.unwrap();
    let [request] = waiting.requests.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((request.wish.as_str(), request.priority.as_str()), ("pair", "high"));
    assert_eq!((request.target, request.proxy, request.tries), (Hex(pack.cid.0), None, 0));
    assert_eq!(world.client.queue("pack-0001").await.unwrap().requests, [], "it is the initiator's");
    let id = ledger::records::registry::QueueId(request.request_id.0);
    world.say(Body::Registry(Registry::Cancel { id, reason: Reason::Unspecified })).await;
    let cancelled = world.client.queued(&request.request_id).await.unwrap();
    assert_eq!((cancelled.status.as_str(), cancelled.ended_at.is_some()), ("cancelled", true));
    assert_eq!(world.then(queued).queued(&request.request_id).await.unwrap().status, "queued");
    let none = world.client.queued(&Hex([0; 16])).await.unwrap_err();
    assert_eq!(none.code(), Some("W4_ERR_QUEUE_NOT_FOUND"));

    // Whether one lets the other be paired with it: who authorises nobody lets nobody, for this question.
    let may = || async { world.client.may_pair("pack-0001", "app-0001", "energy").await.unwrap() };
    let Checked { authorized, reason, .. } = may().await;
    assert_eq!((authorized, reason.as_deref()), (false, Some("there is no authorization")));
    let lets = |rule: &str| {
        let context = "energy".to_owned();
        Body::Registry(Registry::Grant { a: pack.cid, b: app.cid, context, level: 1, rule: rule.into() })
    };
    world.say(lets("trust_score > 0.99")).await;
    let refused = may().await;
    assert!(!refused.authorized && refused.reason.unwrap().contains("does not meet"));
    world.say(lets("")).await;
    let trusted = world.client.trust("app-0001").await.unwrap().contexts[0].pairing_basic;
    let answer = may().await;
    assert_eq!((answer.authorized, answer.authorization.is_some()), (trusted, trusted));
    let given = world.client.authorizations("pack-0001").await.unwrap().authorizations;
    assert_eq!(
        given.iter().map(|a| (a.partner, a.level.as_str())).collect::<Vec<_>>(),
        [(Hex(app.cid.0), "basic")]
    );

    // Under commitments: what was opened is told, nothing else.
    let secret = Secret::new([7; 32]);
    let of = |field, value: &str| commit(&secret, field, value.as_bytes());
    let (manufacturer, category) = (of(Field::Manufacturer, "maker"), of(Field::Category, "pack"));
    let parts = ["pack-0001", "module-0001"].map(|id| of(Field::Component, id));
    for component in parts {
        world
            .say(Body::Registry(Registry::Anonymous(Anonymous::Register {
                component,
                manufacturer,
                category,
            })))
            .await;
    }
    let [a, b] = parts;
    let rule = of(Field::Rule, "trust_score > 0.5");
    let lets = Anonymous::Authorize { a, b, rule, level: 2, trust_ppm: 700_000 };
    world.say(Body::Registry(Registry::Anonymous(lets))).await;
    let field = Field::Manufacturer;
    let shown = Anonymous::Open {
        field: field as u8,
        id: a,
        opening: opening(&secret, field, b"maker"),
        value: "maker".into(),
    };
    world.say(Body::Registry(Registry::Anonymous(shown))).await;
    let known = world.client.commitment(&Hex(a)).await.unwrap();
    assert_eq!((known.withdrawn, known.holder), (false, Hex(world.authority.sign_pub().0)));
    let [value] = known.opened.as_slice() else { panic!("{known:?}") };
    assert_eq!(
        (value.field.as_str(), value.value.as_str(), value.commitment),
        ("manufacturer", "maker", Hex(manufacturer))
    );
    let pair = world.client.committed_pair(&Hex(pair_id(&world.chain.chain_id(), &a, &b))).await.unwrap();
    assert_eq!((pair.level.as_str(), pair.trust_ppm, pair.opened), ("enhanced", 700_000, None));
    let all = Anonymous::Revoke { scope: 3, target: [0; 32], urgency: 1, category: 1 };
    let height = world.say(Body::Registry(Registry::Anonymous(all))).await;
    assert!(world.client.commitment(&Hex(b)).await.unwrap().withdrawn);
    assert!(!world.then(height - 1).commitment(&Hex(b)).await.unwrap().withdrawn, "before it was not");
    assert_eq!(
        world.client.commitment(&Hex([1; 32])).await.unwrap_err().code(),
        Some("W4_ERR_COMMITMENT_NOT_FOUND")
    );

    // The graph around a component.
    let lct = world.client.component("pack-0001").await.unwrap().lct_id;
    let graph = world.client.mrh(&lct, 1, true).await.unwrap();
    let [seen] = graph.relationships.as_slice() else { panic!("{graph:?}") };
    assert_eq!(
        (seen.component_id.as_str(), seen.link.as_str(), seen.hops, seen.via),
        ("app-0001", "bound", 1, lct)
    );
    let score = world.client.trust("app-0001").await.unwrap().contexts[0].score;
    assert_eq!(seen.tensor.as_ref().map(|t| t.score), Some(score));
    assert_eq!(world.client.mrh(&lct, 2, false).await.unwrap().relationships[0].tensor, None);
    for (path, code) in [
        (format!("/mrh/{lct}?depth=11"), "W4_ERR_PROTO_FORMAT"),
        (format!("/mrh/{lct}?depth=0"), "W4_ERR_PROTO_FORMAT"),
        (format!("/mrh/{}", Hex([9; 32])), "W4_ERR_LCT_NOT_FOUND"),
        ("/energy/pack-0001/cycles/1".into(), "W4_ERR_ENERGY_NOT_FOUND"),
        (format!("/energy/transfers/{}", Hex([9; 16])), "W4_ERR_ENERGY_NOT_FOUND"),
        ("/offers?what=gold".into(), "W4_ERR_PROTO_FORMAT"),
        ("/authorizations/check?a=pack-0001".into(), "W4_ERR_PROTO_FORMAT"),
    ] {
        assert_eq!(world.get(&path).await.problem().code, code, "{path}");
    }
    assert_eq!(world.client.cycles("pack-0001").await.unwrap().cycles, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_is_told_before_it_holds() {
    let world = World::new().await;
    let was = world.client.governance().await.unwrap();
    assert_eq!((was.rules, was.validators.len(), was.roots.len(), was.decided.len()), (2, 1, 1, 0));
    let params = ledger::genesis::Params { max_lcts: 7, ..world.genesis.params.clone() };
    let height = world.chain.tip().height + 6;
    let decided =
        world.say(Body::Govern(Governance { change: Change::Params(params.clone()), height })).await;
    let key = SigningKey::generate(&mut rng()).public();
    let change = Change::Account { role: AccountRole::Auditor, key };
    world.say(Body::Govern(Governance { change, height: height + 100 })).await;
    let now = world.then(decided).governance().await.unwrap();
    let [waits] = now.decided.as_slice() else { panic!("{now:?}") };
    assert_eq!((waits.kind.as_str(), waits.height, &now.params), ("governance/params", height, &was.params));
    assert_eq!(waits.params, Some(params.clone().into()));
    let accounts = world.client.accounts().await.unwrap().accounts;
    let of_it: Vec<_> = accounts.iter().filter(|a| a.public_key == Hex(key.0)).collect();
    assert_eq!(
        of_it.iter().map(|a| (a.role.as_str(), a.from_height)).collect::<Vec<_>>(),
        [("auditor", height + 100)]
    );
    // Blocks come with what they hold.
    let mut n = 0;
    while world.chain.tip().height + 1 < height {
        n += 1;
        world.register(&world.factory.device(&format!("module-{n:04}"), Role::Module)).await;
    }
    let then = world.client.governance().await.unwrap();
    assert_eq!((then.params, then.decided.len()), (params.into(), 0));
    assert_eq!(world.then(decided).governance().await.unwrap(), now, "and what was then stays so");
}

/// An answer that is kept until the next block is the one that would be made anew (A165).
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_a_block_is_not_told_after_it() {
    let mut world = World::new().await;
    let key = world.operator.public();
    for n in 1..=3 {
        let id = format!("module-{n:04}");
        let module = world.factory.device(&id, Role::Module);
        assert_eq!(world.get(&format!("/components/{id}")).await.status, 404);
        let before = world.client.ledger_status().await.unwrap();
        assert_eq!(world.client.ledger_status().await.unwrap(), before);
        world.register(&module).await;
        // An empty block may follow at any moment.
        let tip = world.chain.tip().height;
        let after = world.client.ledger_status().await.unwrap();
        let tips = tip..=world.chain.tip().height;
        assert!(after.components == before.components + 1 && tip > before.height);
        assert!(tips.contains(&after.height), "{} of {tips:?}", after.height);
        let told = world.client.component(&id).await.unwrap().height;
        assert!((after.height..=world.chain.tip().height).contains(&told));
    }
    // Without a block: what waits for one is part of an account, and of nothing else.
    world.stand_still().await;
    let account = world.client.account(&key).await.unwrap();
    let status = world.client.ledger_status().await.unwrap();
    for waiting in 1..=2 {
        let device = world.factory.device(&format!("sensor-{waiting}"), Role::Sensor);
        let tx = world.tx(device.register_body(&device.registration(world.chain.chain_id()))).await;
        world.client.submit(&tx.bytes, false).await.unwrap();
        for _ in 0..2 {
            let then = world.client.account(&key).await.unwrap();
            assert_eq!((then.next_nonce, then.height), (account.next_nonce + waiting, account.height));
        }
    }
    assert_eq!(world.client.ledger_status().await.unwrap(), status);
}
