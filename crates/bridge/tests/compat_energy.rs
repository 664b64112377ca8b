//! Energy in the older contract: what moves is what both packs signed, in Wh (A155).

use crate::{
    common::{Device, World, rng},
    compat::{good, hand_over, numbers, refused, texts},
};

use api::{Blob, Hex};
use bridge::compat::Profile;
use lct::{
    id::Role,
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

    let keys = if giver.cid < taker.cid { [0, 1] } else { [1, 0] }.map(|i| &bonded.keys[i]);
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

    // Half of what the giver opened with was charged; what flowed is discharged for it, and charged for the taker.
    let balance = |pack: &'static str| good(&world, "GET", pack, "");
    let gave = balance("/energy/balance/pack-a").await;
    texts(&gave, &["component_id", "unit", "status"]);
    numbers(
        &gave,
        &["balance", "atp_balance", "adp_balance", "total_energy", "trust_weighted_balance", "last_updated"],
    );
    let of = |balance: &Value| {
        ["balance", "adp_balance", "total_energy"].map(|name| balance[name].as_f64().unwrap())
    };
    println!("{gave}");
    let took = balance("/energy/balance/pack-b").await;
    println!("{took}");
    assert_eq!(of(&gave)[0], 25e3 - 12.0);
    assert_eq!(of(&took)[0], 25e3 + 11.5);

    // As much as makes both equally full, at most.
    let balanced = operation
        .replace("transfer", "balance")
        .replace("pack-a", "x")
        .replace("pack-b", "pack-a")
        .replace("\"x\"", "\"pack-b\"");
    hand_over(&world, &taker, "alice").await;
    refused(&world, "POST", "/energy/create", &balanced, 409, "W4_ERR_TRANSFER_ATP").await;
    let balanced = good(&world, "POST", "/energy/operation", &balanced.replace("12.5", "1")).await;
    assert_eq!((&balanced["operation_type"], &balanced["status"]), (&json!("balance"), &json!("pending")));
    assert_eq!(balanced["amount"].as_f64(), Some(1.0));
    assert_eq!(transfers(&world, &taker).len(), 2);
}

/// The transfers of a pack, as the ledger names them.
fn transfers(world: &World, pack: &Device) -> Vec<TradeId> {
    let transfers = world.chain.read().unwrap().transfers_of(&pack.cid).unwrap();
    transfers.iter().map(|(id, ..)| *id).collect()
}
