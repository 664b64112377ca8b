//! What a component is to others: links that come and go, where it is found, whose it is.

use crate::common;

use api::{
    Hex,
    context::{GiveScope, Said},
    transaction::INCLUDED,
};
use common::{World, rng};
use lct::{
    id::Role,
    ownership::{TRANSFER_MAX, Transfer},
    revocation::Reason,
    trade::{Order, TRADE_MAX, Terms, TradeId, What},
    validation::{Access, EVENT_MAX, Event, EventKind, Protocol},
};
use ledger::{
    authorization::LIFETIME_MS,
    tx::{Body, Registry, Signed, Target},
};

async fn record(world: &World, body: Body) {
    let tx = world.tx(body).await;
    let answer = world.client.submit(&tx.bytes, true).await.unwrap();
    assert_eq!((answer.status.as_str(), answer.error), (INCLUDED, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_end_with_what_they_rest_on() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let opened = world.pair(&app, &pack, &bonded).await;
    let completed = world.completion(&opened, &bonded);
    world.client.complete_pairing(&Hex(opened.pairing_id.0), &completed).await.unwrap();

    let of = |id: &'static str| async { world.client.relations(id).await.unwrap() };
    let pack_side = of("pack-0001").await;
    assert_eq!((pack_side.status.as_str(), pack_side.owner, pack_side.access), ("active", None, None));
    let links: Vec<_> =
        pack_side.links.iter().map(|l| (l.relation.as_str(), l.id, l.peer_id.as_str())).collect();
    assert_eq!(
        links,
        [("bound", Hex(bonded.id.0), "app-0001"), ("paired", Hex(opened.pairing_id.0), "app-0001")]
    );
    assert!(pack_side.links[1].expires_at.is_some_and(|end| end > u64::from(world.now_s())));
    assert_eq!(of("app-0001").await.links[1].peer, Hex(pack.cid.0), "by cid from the other side");

    // Both are worth what their binding is, and the pairing was a first success.
    let trust = world.client.trust("pack-0001").await.unwrap();
    let [known] = trust.contexts.as_slice() else { panic!("{trust:?}") };
    assert_eq!((known.context.as_str(), known.level.as_str(), known.count), ("operation", "standard", 2));
    assert_eq!([known.talent, known.training, known.temperament], [521_000, 509_000, 506_000]);
    let said: Vec<_> = known.changes.iter().map(|c| (c.cause.as_str(), c.voucher.as_str(), c.by)).collect();
    let nobody = Hex([0; 16]);
    assert_eq!(said, [("baseline", "ledger", nobody), ("novel_success", "counterparty", Hex(app.cid.0))]);
    let [relation] = trust.relations.as_slice() else { panic!("{trust:?}") };
    assert_eq!((relation.binding_id, relation.peer), (Hex(bonded.id.0), Hex(app.cid.0)));
    assert!(relation.trust.score <= known.score);
    let proof = world.receipt(&format!("/receipts/{}", known.changes[1].txhash)).await;
    let proved = ledger::receipt::verify(&proof, Some(&world.trust())).unwrap();
    assert_eq!(proved.kind.name(), "pairing/complete", "what moved it has a receipt");
    let stranger = world.client.trust("pack-0009").await.unwrap_err().to_string();
    assert!(stranger.contains("not registered"), "{stranger}");

    // Each sees the other, and the authority states what the app may do, once.
    let seen = &of("app-0001").await.horizon;
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(
        (seen.component_id.as_str(), seen.hops, seen.weight_ppm, seen.via.as_str(), seen.link.as_str()),
        ("pack-0001", 1, 700_000, "app-0001", "bound")
    );
    let account = Hex(world.operator.public().0);
    let scope = |id: &str| GiveScope { creator: "fitter".into(), component_id: id.into(), account };
    let scoped = world.client.give_scope(&scope("app-0001")).await.unwrap();
    assert_eq!(world.client.give_scope(&scope("app-0001")).await.unwrap(), scoped, "nothing changed");
    let stated = world.client.contexts(&scoped.lct_id).await.unwrap();
    let [stated] = stated.contexts.as_slice() else { panic!("{stated:?}") };
    let packs = vec![Hex(pack.cid.0)];
    assert_eq!((&stated.said, stated.number), (&Said::Scope { operations: 7, packs, account }, 1));
    assert_eq!((stated.key.0, stated.txhash), (world.authority.sign_pub().0, scoped.txhash));
    for (id, words) in [("pack-0001", "bound to a pack"), ("app-0009", "not registered")] {
        let refused = world.client.give_scope(&scope(id)).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{id}: {refused}");
    }

    // The pack says where it is found, and the factory hands it to somebody.
    let announce = Event {
        access: Some(Access {
            protocol: Protocol::Can,
            endpoint: "can1".try_into().unwrap(),
            device: "0x100".try_into().unwrap(),
        }),
        ..Event::new(EventKind::Announce, pack.cid, 1, 1, &[0, 0]).unwrap()
    };
    let key = bonded.keys[1].signing_key();
    let mut out = [0; EVENT_MAX];
    let n = announce.encode(&mut out).unwrap();
    let signature = announce.sign(key, &mut rng()).unwrap();
    let signed = Signed { statement: out[..n].to_vec(), key: key.public(), signature };
    record(&world, Body::Validate { signed, witnesses: vec![] }).await;
    let stated = world.client.statements("pack-0001").await.unwrap();
    assert_eq!((stated.count, stated.cid), (1, Hex(pack.cid.0)));
    let one = &stated.statements[0];
    let what = (one.event.as_str(), one.level, one.boot, one.seq, one.witnesses);
    assert_eq!(what, ("announce", 1, 1, 1, 0));
    assert_eq!(world.client.statements("app-0001").await.unwrap().statements, []);
    let (owner, factory) = (&world.operator, &world.factory.batch);
    let hop = Transfer {
        chain_id: world.chain.chain_id(),
        cid: pack.cid,
        lct: pack_side.lct_id.0,
        hop: 1,
        previous: [0; 32],
        from: factory.public(),
        to: owner.public(),
        time_ms: u64::from(world.now_s()) * 1000,
    };
    let mut out = [0; TRANSFER_MAX];
    let n = hop.encode(&mut out).unwrap();
    let signatures = [factory, owner].map(|k| k.sign(&hop.digest().unwrap(), &mut rng()));
    record(&world, Body::Transfer { statement: out[..n].to_vec(), signatures }).await;
    let handed = of("pack-0001").await;
    let access = handed.access.unwrap();
    assert_eq!((access.protocol.as_str(), access.endpoint.as_str(), access.seq), ("can", "can1", 1));
    let whose = handed.owner.unwrap();
    assert_eq!((whose.key, whose.hops.len()), (Hex(owner.public().0), 1));
    assert_eq!(whose.hops[0].from, Hex(factory.public().0));
    let relations: Vec<_> = handed.links.iter().map(|l| l.relation.as_str()).collect();
    assert_eq!(relations, ["bound"], "the pairing ended with the rights of who had it");

    // Its owner lets it be paired with an app that is trusted more than this one: the authority issues nothing.
    let opened = world.pair(&app, &pack, &bonded).await;
    let lets = |rule: &str| {
        let context = "energy".to_owned();
        Body::Registry(Registry::Grant { a: pack.cid, b: app.cid, context, level: 1, rule: rule.into() })
    };
    record(&world, lets("trust_score > 0.9")).await;
    let refused = world.post("/pairings", &world.issue_request(&app, &pack)).await.problem();
    assert_eq!((refused.status, refused.code.as_str()), (403, "W4_ERR_PAIRING_DENIED"));
    assert!(refused.detail.unwrap().contains("does not meet the authorization"));
    // Nor does it complete what it issued before, which the ledger would refuse.
    let path = format!("/pairings/{}/complete", Hex(opened.pairing_id.0));
    let refused = world.post(&path, &world.completion(&opened, &bonded)).await.problem();
    assert_eq!((refused.status, refused.code.as_str()), (403, "W4_ERR_PAIRING_DENIED"));

    // Its owner offers energy, for a minute.
    let now = u64::from(world.now_s()) * 1000;
    let terms = Terms { mwh: 5_000, least: 1_000, price: 300_000, from_ms: 0, until_ms: now + 60_000 };
    let order = Order {
        chain_id: world.chain.chain_id(),
        id: TradeId([5; 16]),
        cid: pack.cid,
        what: What::OfferEnergy(terms),
    };
    let mut out = [0; TRADE_MAX];
    let n = order.encode(&mut out).unwrap();
    let signature = owner.sign(&order.digest().unwrap(), &mut rng());
    record(&world, Body::EnergyOrder { statement: out[..n].to_vec(), signature }).await;
    let account = world.client.energy("pack-0001").await.unwrap();
    assert_eq!((account.owner, account.cid), (Some(Hex(owner.public().0)), Hex(pack.cid.0)));
    assert_eq!((account.adp_mwh, account.ratio_ppm), (account.minted_mwh, 0), "nothing was charged");
    let offered: Vec<_> = account.offers.iter().map(|o| (o.offer, o.what.as_str(), o.left_mwh)).collect();
    assert_eq!(offered, [(Hex([5; 16]), "energy", 5_000)]);
    assert_eq!(account.transfers, []);
    let none = world.get("/energy/app-0001").await.problem();
    assert_eq!((none.status, none.code.as_str()), (404, "W4_ERR_COMPONENT_NOT_FOUND"));

    // What it let ended a day after it did: a pairing is renewed as if there had been nothing. The time of the last block counts.
    world.advance(LIFETIME_MS);
    world.register(&world.factory.device("module-0001", Role::Module)).await;
    let renewed = world.post("/pairings", &world.issue_request(&app, &pack)).await;
    assert_eq!(renewed.status, 200, "{}", String::from_utf8_lossy(&renewed.body));

    // Its owner may end what it is a side of.
    let order = api::sign::revoke(Target::Binding(bonded.id), Reason::Lost);
    record(&world, order).await;
    assert_eq!(of("pack-0001").await.links, []);
    assert_eq!(of("app-0001").await.links, []);
    assert_eq!(world.get("/components/nobody/relations").await.problem().code, "W4_ERR_COMPONENT_NOT_FOUND");
}
