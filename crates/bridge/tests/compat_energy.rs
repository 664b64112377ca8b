//! Energy in the older contract: what moves is what both packs signed, in Wh (A155).

use crate::{
    common::{Device, World, rng},
    compat::{good, hand_over, numbers, refused, texts},
};

use api::{Blob, Hex};
use bridge::compat::Profile;
use lct::{
    energy::{EnergyEvent, EnergyKind, STATEMENT_MAX},
    id::Role,
    spk::SpkSecret,
    trade::{Receipt, TRADE_MAX, TradeId},
};
use ledger::tx::Body;
use serde_json::{Value, json};

/// Energy between two paired packs: held by the owner's order, and complete when both packs signed what flowed.
#[tokio::test(flavor = "multi_thread")]
async fn energy_moves_when_both_packs_signed_it() {
    let world = World::trading(Profile::Legacy).await;
    let giver = world.factory.device("pack-a", Role::Pack);
    let taker = world.factory.device("pack-b", Role::Pack);
    world.register(&giver).await;
    world.register(&taker).await;
    let (a, b) = if giver.cid < taker.cid { (&giver, &taker) } else { (&taker, &giver) };
    let bonded = world.bind(a, b).await;
    let opened = world.pair(a, b, &bonded).await;
    let path = format!("/pairings/{}/complete", Hex(opened.pairing_id.0));
    let _done: Value = world.post(&path, &world.completion(&opened, &bonded)).await.json();
    hand_over(&world, &giver, "alice").await;
    let keys = if giver.cid < taker.cid { [0, 1] } else { [1, 0] }.map(|i| &bonded.keys[i]);
    opens(&world, &giver, keys[0], 500_000).await;
    opens(&world, &taker, keys[1], 200_000).await;
    let operation = r#"{"creator":"alice","component_a":"pack-a","component_b":"pack-b","operation_type":"transfer","amount":12.5,"context":"race"}"#;
    let not_hers = operation.replace("alice", "bob");
    refused(&world, "POST", "/energy/create", &not_hers, 401, "W4_ERR_TRADE_PROOF_FAIL").await;
    let too_much = operation.replace("12.5", "999999");
    refused(&world, "POST", "/energy/create", &too_much, 409, "W4_ERR_TRANSFER_ATP").await;
    let begun = good(&world, "POST", "/energy/create", operation).await;
    assert_eq!((&begun["status"], &begun["state"]), (&json!("pending"), &json!("open")));
    assert_eq!((&begun["operation_type"], &begun["type"]), (&json!("transfer"), &json!("transfer")));
    assert_eq!((begun["amount"].as_f64(), &begun["context"]), (Some(12.5), &json!("race")));
    texts(&begun, &["operation_id", "component_a", "component_b", "creator", "tx_hash"]);
    numbers(&begun, &["created_at", "timestamp"]);
    let id = begun["operation_id"].as_str().unwrap();
    let balance = good(&world, "GET", "/energy/balance/pack-a", "").await;
    assert_eq!(balance["balance"].as_f64(), Some(25e3 - 12.5), "what is held cannot be given twice");
    let ask_for =
        |amount: &str| format!(r#"{{"creator":"alice","operation_id":"{id}"{amount},"context":""}}"#);
    let waits = good(&world, "POST", "/energy/transfer", &ask_for("")).await;
    assert_eq!(waits["status"], "pending", "asking moves nothing");
    refused(&world, "POST", "/energy/transfer", &ask_for(r#","amount":3"#), 400, "W4_ERR_PROTO_FORMAT").await;

    let time = world.chain.tip().time_ms;
    let receipt = Receipt {
        chain_id: world.chain.chain_id(),
        transfer: transfers(&world, &giver)[0],
        given: 12_000,
        received: 11_500,
        start_ms: time,
        end_ms: time,
    };
    let mut bytes = [0; TRADE_MAX];
    let n = receipt.encode(&mut bytes).unwrap();
    let digest = receipt.digest().unwrap();
    let body = Body::EnergyReceipt {
        statement: bytes[..n].into(),
        keys: keys.map(|k| k.public().sign_pub()),
        signatures: keys.map(|k| k.signing_key().sign(&digest, &mut rng())),
    };
    let tx = world.tx(body).await;
    let sent: Value =
        world.post("/transactions?wait=1", &json!({ "transaction": Blob(tx.bytes) })).await.json();
    assert_eq!(sent["status"], "included", "{sent}");
    let done = good(&world, "POST", "/energy/transfer", &ask_for("")).await;
    assert_eq!((&done["status"], done["amount"].as_f64()), (&json!("completed"), Some(12.0)));
    assert_ne!(done["tx_hash"], begun["tx_hash"]);

    let gave = good(&world, "GET", "/energy/balance/pack-a", "").await;
    texts(&gave, &["component_id", "unit", "status"]);
    numbers(&gave, &["atp_balance", "adp_balance", "total_energy", "last_updated"]);
    assert_eq!(gave["balance"].as_f64(), Some(25e3 - 12.0));
    let took = good(&world, "GET", "/energy/balance/pack-b", "").await;
    assert_eq!(took["balance"].as_f64(), Some(10e3 + 11.5));
    // Both have room for as much as they were made for.
    assert_eq!((gave["total_energy"].as_f64(), took["total_energy"].as_f64()), (Some(50e3), Some(50e3)));

    // At most as much as makes both equally full.
    let leveled = operation.replace("transfer", "balance").replace("12.5", "20000");
    let leveled = good(&world, "POST", "/energy/operation", &leveled).await;
    assert_eq!((&leveled["operation_type"], &leveled["status"]), (&json!("balance"), &json!("pending")));
    assert_eq!(leveled["amount"].as_f64(), Some((24_988.0 - 10_011.5) / 2.0));
    assert_eq!(transfers(&world, &giver).len(), 2);
}

/// A pack says how full it is, in parts per million.
async fn opens(world: &World, pack: &Device, key: &SpkSecret, soc_ppm: u32) {
    let time = world.chain.tip().time_ms;
    let event = EnergyEvent {
        cid: pack.cid,
        cycle: 1,
        seq: 0,
        kind: EnergyKind::Opening,
        start_ms: time,
        end_ms: time,
        mwh: 0,
        mean_mw: 0,
        soc_ppm,
    };
    let mut bytes = [0; STATEMENT_MAX];
    let n = event.encode(&mut bytes).unwrap();
    let signature = key.signing_key().sign(&event.digest().unwrap(), &mut rng());
    let body = api::sign::energy(&bytes[..n], &key.public().sign_pub(), &signature).unwrap();
    let sent = world.client.submit(&world.tx(body).await.bytes, true).await.unwrap();
    assert_eq!(sent.error, None);
}

/// The transfers of a pack, as the ledger names them.
fn transfers(world: &World, pack: &Device) -> Vec<TradeId> {
    let transfers = world.chain.read().unwrap().transfers_of(&pack.cid).unwrap();
    transfers.iter().map(|(id, ..)| *id).collect()
}
