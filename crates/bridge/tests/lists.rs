//! Lists in pages: nothing is left out or told twice, at any kept height, and what no page is gets refused (A204, A206).

use crate::common;

use common::World;
use lct::{
    id::Role,
    revocation::{Reason, Subject},
};
use serde_json::Value;

/// The rows of every page of `limit` rows, and how many pages there were.
async fn pages(world: &World, path: &str, rows: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut found, mut count) = (Vec::new(), 0);
    let mut after = String::new();
    loop {
        let sign = if path.contains('?') { '&' } else { '?' };
        let page: Value = world.get(&format!("{path}{sign}limit={limit}{after}")).await.json();
        let told = page[rows].as_array().unwrap();
        assert!(told.len() <= limit, "{path}: {page}");
        found.extend(told.iter().cloned());
        count += 1;
        let Some(next) = page["next"].as_str() else { return (found, count) };
        after = format!("&after={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_leave_nothing_out_at_any_height() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let opened = world.pair(&app, &pack, &bonded).await;
    let path = format!("/pairings/{}/complete", opened.pairing_id);
    world.post(&path, &world.completion(&opened, &bonded)).await.json::<Value>();
    for n in 1..=4 {
        let module = world.factory.device(&format!("module-{n:04}"), Role::Module);
        world.register(&module).await;
        world.bind(&pack, &module).await;
        if n == 2 {
            world.revoke(Subject::Component(module.cid), Reason::Retired).await.json::<Value>();
        }
    }
    let mut most = [0; 3];
    for height in 0..=world.chain.tip().height {
        for (at, (path, rows)) in
            [("/components", "components"), ("/bindings", "bindings"), ("/pairings", "pairings")]
                .into_iter()
                .enumerate()
        {
            let path = format!("{path}?height={height}");
            let (whole, count) = pages(&world, &path, rows, 1000).await;
            assert_eq!(count, 1, "{path}");
            for limit in [1, 2, 3] {
                let (joined, count) = pages(&world, &path, rows, limit).await;
                assert_eq!(joined, whole, "{path} by {limit}");
                assert_eq!(count, whole.len().div_ceil(limit).max(1), "{path} by {limit}");
            }
            let ledger = world.chain.read().unwrap().at(height).unwrap().status().unwrap();
            let there = [ledger.components, ledger.bindings, ledger.pairings][at];
            assert_eq!(whole.len() as u64, there, "{path}");
            most[at] = whole.len();
        }
    }
    assert_eq!(most, [6, 5, 1]);

    // The client reads on by itself, and asks for what it is told to.
    let all = world.client.components(None).await.unwrap();
    assert_eq!((all.components.len(), all.next), (6, None));
    let modules = world.client.components(Some("module")).await.unwrap().components;
    let retired: Vec<_> =
        modules.iter().filter(|m| m.status == "retired").map(|m| m.component_id.as_str()).collect();
    assert_eq!((modules.len(), retired), (4, vec!["module-0002"]));
    let of_app = world.client.bindings(Some("app-0001")).await.unwrap().bindings;
    assert_eq!(
        of_app.iter().map(|b| (b.a.as_str(), b.b.as_str())).collect::<Vec<_>>(),
        [("app-0001", "pack-0001")]
    );
    assert_eq!(world.client.bindings(Some("pack-0001")).await.unwrap().bindings.len(), 5);
    let pairings = world.client.pairings(Some("pack-0001")).await.unwrap().pairings;
    assert_eq!(pairings[0].status, "completed");
    assert_eq!(world.client.pairings(Some("module-0001")).await.unwrap().pairings, []);
    // A list that the bridge keeps itself.
    let (policies, count) = pages(&world, "/policies", "policies", 1).await;
    assert_eq!((policies.len(), count), (4, 4), "of the bindings in force");
    let accounts = pages(&world, "/governance/accounts", "accounts", 1).await;
    assert_eq!(accounts, (pages(&world, "/governance/accounts", "accounts", 1000).await.0, accounts.1));
    assert!(accounts.1 >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_page_is_refused() {
    let world = World::new().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=1&limit=2",
        "after=",
        "after=0",
        "after=xy",
        "after=00&after=00",
        "%6Cimit=1",
        "size=1",
        "role=king",
        "role=app&role=app",
        "height=x",
    ] {
        let problem = world.get(&format!("/components?{query}")).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (400, "W4_ERR_PROTO_FORMAT"), "{query}");
    }
    let nobody = world.get("/bindings?component=nobody").await.problem();
    assert_eq!(nobody.code, "W4_ERR_COMPONENT_NOT_FOUND");
    // A place behind everything is the end of the list, not an error: what stood there may be gone.
    let end: Value = world.get(&format!("/components?after={}", "ff".repeat(16))).await.json();
    assert_eq!((end["components"].as_array().unwrap().len(), end.get("next")), (0, None));
}
