//! State, blocks and archives over HTTP: what comes out holds for who does not trust the bridge.

use crate::common::*;

use api::{
    Blob,
    telemetry::{Batch, Entry},
};
use lct::id::Cid;
use ledger::codec::Canonical;
use ledger::{
    excerpt::{Excerpt, ExcerptError},
    receipt::verify,
    records::{Component, key},
};
use node::archive::restore;

#[tokio::test]
async fn what_the_state_holds_is_proved_and_the_whole_ledger_can_be_fetched_while_it_runs() {
    let mut world = World::new().await;
    let (pack, module, _) = world.commissioned().await;
    let client = world.client.clone();
    // The block after it certifies it.
    let tip = client.ledger_status().await.unwrap().height - 1;
    for (id, there) in [(pack.id.as_str(), true), (module.id.as_str(), true), ("pack-unknown", false)] {
        let key = key::component(&Cid::of(id));
        let state = client.state(&key, Some(tip)).await.unwrap();
        let excerpt = Excerpt::from_file(&state.excerpt.unwrap().0).unwrap();
        let proved = excerpt.check(&world.trust()).unwrap();
        assert_eq!((proved.height, proved.state_root, &proved.key), (tip, state.state_root.0, &key));
        assert_eq!(proved.value, state.value.map(|v| v.0), "{id}");
        let component = proved.value.map(|v| Component::from_bytes(&v).unwrap().component_id);
        assert_eq!(component.as_deref(), there.then_some(id));
        let stranger = ledger::anchor::Trust { chain_id: [1; 32], ..world.trust() };
        assert_eq!(excerpt.check(&stranger), Err(ExcerptError::OtherChain));
    }
    for (path, status) in [
        ("/ledger/state/xy", 400),
        ("/ledger/state/00?height=9999", 404),
        ("/ledger/state/00?hight=1", 400),
        ("/ledger/blocks/9999", 404),
        ("/ledger/blocks/-1", 400),
        ("/ledger/blocks/0", 400),
        ("/ledger/archive?height=9999", 404),
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, status, "{path}");
    }
    let block = client.block(1).await.unwrap();
    assert_eq!((block.height, block.transactions.is_empty()), (1, false));
    assert_eq!(block.transactions[0].code, None);

    let dir = tempfile::tempdir().unwrap();
    for (height, base) in [(None, 0), (Some(tip), tip)] {
        let mut bytes = Vec::new();
        client
            .archive(height, |piece| {
                bytes.extend_from_slice(piece);
                true
            })
            .await
            .unwrap();
        let copy = dir.path().join(base.to_string());
        let restored = restore(&copy, &bytes[..], (&world.trust(), None), |_| ()).unwrap();
        assert_eq!(restored.base, base);
        assert!(restored.height > tip);
    }
    let height = client.ledger_status().await.unwrap().height;
    let too_late = world.get(&format!("/ledger/archive?height={height}")).await;
    assert_eq!(too_late.problem().code, "W4_ERR_HEIGHT_FUTURE");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pruned_is_said_to_be_and_receipts_outlive_it() {
    let mut world = World::new().await;
    let (_, pack, bonded) = world.commissioned().await;
    let first = world.client.block(1).await.unwrap().transactions[0].txhash;
    let old = world.receipt(&format!("/receipts/{first}")).await;
    let sent = records(pack.cid, 0, 2, world.now_s());
    let body = batch_body(&sent, bonded.keys[1].signing_key()).1;
    let tx = world.tx(body.clone()).await;
    let entries = sent.iter().map(|r| Entry::Record(Blob(encoded(r)))).collect();
    world.client.submit_batch(&Batch { transaction: Blob(tx.bytes), records: entries }).await.unwrap();
    let of_record = world.receipt("/receipts/pack-0001/1").await;
    let begun = world.client.ledger_status().await.unwrap().height;
    // Blocks of transactions that are refused.
    while world.chain.tip().height < begun + 104 {
        let id = world.chain.submit(world.tx(body.clone()).await.bytes).unwrap();
        world.chain.wait(&id).await.unwrap();
    }
    assert!(world.chain.prune(begun, 0).unwrap().blocks > 0);
    let tip = world.chain.tip().height;
    for path in
        ["/ledger/blocks/1", "/ledger/archive", "/components/pack-0001?height=1", "/governance?height=0"]
    {
        let told = world.get(path).await.problem();
        assert_eq!((told.status, told.code.as_str()), (410, "W4_ERR_HEIGHT_PRUNED"), "{path}");
        assert!(told.detail.unwrap().contains("the oldest one kept is of height"), "{path}");
    }
    let key: String = key::component(&pack.cid).iter().map(|byte| format!("{byte:02x}")).collect();
    // One more block comes by itself.
    for (height, status) in [(tip - 101, 410), (tip - 99, 200), (tip, 200), (tip + 1000, 404)] {
        let told = world.get(&format!("/ledger/state/{key}?height={height}")).await;
        assert_eq!(told.status, status, "height {height} of {tip}");
    }
    assert_eq!(
        world.get(&format!("/ledger/blocks/{}", tip + 1000)).await.problem().code,
        "W4_ERR_HEIGHT_FUTURE"
    );
    // What was issued stays what it was; of what is gone nothing new is issued, of records that are kept it is.
    for receipt in [&old, &of_record] {
        verify(receipt, Some(&world.trust())).unwrap();
    }
    assert_eq!(world.get(&format!("/receipts/{first}")).await.status, 404);
    assert_eq!(world.receipt("/receipts/pack-0001/1").await, of_record);
    world.restart().await;
    assert_eq!(world.get("/ledger/blocks/1").await.problem().code, "W4_ERR_HEIGHT_PRUNED");
    world.stop().await;
}
