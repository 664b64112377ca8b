//! Whatever the authority signs for others stands in its log, as it was given out (A223).

use crate::{common, policy};

use api::{Hex, context::GiveScope, pairing::Issued, policy::Standings};
use bridge::issuance::{self, Issuance, Kind};
use common::World;
use lct::{
    hash::sha256,
    policy::Rotation,
    revocation::{Reason, Subject},
};

fn log(world: &World) -> Vec<Issuance> {
    let text = issuance::text_of(world.dir.path()).unwrap().unwrap();
    issuance::verify(&text, &world.chain.chain_id(), |by| *by == world.authority.sign_pub()).unwrap()
}

fn of(world: &World, kind: Kind) -> Vec<Issuance> {
    log(world).into_iter().filter(|entry| entry.kind == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_document_is_noted_with_its_hash() {
    let mut world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let issued: Issued = world.post("/pairings", &world.issue_request(&app, &pack)).await.json();
    let last = |world: &World, kind| of(world, kind).pop().unwrap();
    let cids = [app.cid.to_string(), pack.cid.to_string()];
    let pairing = last(&world, Kind::Pairing);
    assert_eq!((pairing.id, &pairing.components[..]), (issued.pairing_id.to_string(), &cids[..]));
    assert_eq!(pairing.document.0, sha256(&[&issued.certificate.0]));
    // One for each side: what asks it, what introduces the other, and its halves of the keys.
    for kind in [Kind::Request, Kind::Introduction, Kind::Package] {
        let of_both = of(&world, kind);
        assert_eq!(of_both.len(), 2, "{kind:?}");
        assert!(of_both.iter().all(|entry| entry.id == bonded.id.to_string()), "{kind:?}");
        let first = of_both.iter().map(|entry| entry.components[0].clone());
        assert_eq!(first.collect::<Vec<_>>(), cids, "{kind:?}");
        assert_ne!(of_both[0].document, of_both[1].document, "{kind:?}");
    }

    let order = policy::order(&world, 2, Rotation::FACTORY, &[bonded.id]);
    for _ in 0..2 {
        world.post("/policies", &order).await.json::<Standings>();
        let noted = of(&world, Kind::Policy);
        assert_eq!(noted.len(), 1, "what was ordered before is not issued again");
        let proposal = world.client.policy(&Hex(bonded.id.0)).await.unwrap().proposal.unwrap().0;
        assert_eq!(noted[0].document.0, sha256(&[&proposal]));
        assert_eq!((&noted[0].components[..], noted[0].who.as_str()), (&cids[..], "test"));
        assert_eq!(noted[0].id, format!("{}-2", bonded.id));
    }

    let account = Hex(world.operator.public().0);
    let scope = GiveScope { creator: "fitter".into(), component_id: app.id.clone(), account };
    let scoped: api::context::Scoped = world.post("/lct/scopes", &scope).await.json();
    let noted = last(&world, Kind::Scope);
    assert_eq!((noted.id, noted.who.as_str()), (format!("{}-1", scoped.lct_id), "fitter"));
    assert_eq!(noted.components, cids[..1]);

    world.revoke(Subject::Component(pack.cid), Reason::Lost).await;
    let list = world.client.revocations().await.unwrap();
    let noted = last(&world, Kind::Revocations);
    assert_eq!((noted.id, noted.document.0), (list.number.to_string(), sha256(&[&list.list.0])));

    // Many a second: noted for ten minutes at once, before the first of them is given out, and anew after a restart.
    for (after_s, entries, is_first) in [(0, 1, true), (500, 1, false), (150, 2, true), (0, 2, false)] {
        world.advance(after_s * 1000);
        let token = world.client.time_token().await.unwrap();
        let noted = of(&world, Kind::Times);
        assert_eq!(noted.len(), entries, "after {after_s} s");
        let (from, to) = noted.last().unwrap().id.split_once('-').unwrap();
        let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
        assert!(to - from == 599 && (from..=to).contains(&token.time));
        assert_eq!(noted.last().unwrap().document.0 == sha256(&[&token.token.0]), is_first);
    }
    world.restart().await;
    world.client.time_token().await.unwrap();
    assert_eq!(of(&world, Kind::Times).len(), 3);
}
