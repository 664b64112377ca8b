//! State, blocks and archives over HTTP: what comes out holds for who does not trust the bridge.

use crate::common::*;

use lct::id::Cid;
use ledger::codec::Canonical;
use ledger::{
    excerpt::{Excerpt, ExcerptError},
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
