//! Energy in the older contract: what moves is what both packs signed, in Wh (A155), over REST and over gRPC (A192).

use crate::{
    common::{Device, World, rng},
    compat::{good, hand_over, numbers, refused, texts},
    grpc,
};

use api::{Blob, Hex};
use bridge::{
    compat::Profile,
    grpc::proto::{CreateEnergyOperationRequest, ExecuteEnergyTransferRequest, GetEnergyBalanceRequest},
};
use lct::{
    energy::{EnergyEvent, EnergyKind, STATEMENT_MAX},
    id::Role,
    spk::SpkSecret,
    trade::{Receipt, TRADE_MAX, TradeId},
};
use ledger::tx::Body;
use serde_json::{Value, json};

/// Two packs that are paired: `pack-a`, which is alice's and holds 25 kWh, and `pack-b`, which holds 10.
struct Packs {
    giver: Device,
    keys: [SpkSecret; 2],
}

impl Packs {
    async fn new(world: &World) -> Self {
        let giver = world.factory.device("pack-a", Role::Pack);
        let taker = world.factory.device("pack-b", Role::Pack);
        world.register(&giver).await;
        world.register(&taker).await;
        let (a, b) = if giver.cid < taker.cid { (&giver, &taker) } else { (&taker, &giver) };
        let bonded = world.bind(a, b).await;
        let opened = world.pair(a, b, &bonded).await;
        let path = format!("/pairings/{}/complete", Hex(opened.pairing_id.0));
        let _done: Value = world.post(&path, &world.completion(&opened, &bonded)).await.json();
        hand_over(world, &giver, "alice").await;
        let mut keys = bonded.keys;
        if giver.cid > taker.cid {
            keys.reverse();
        }
        opens(world, &giver, &keys[0], 500_000).await;
        opens(world, &taker, &keys[1], 200_000).await;
        Packs { giver, keys }
    }

    /// Both sign how much of the first transfer flowed, mWh.
    async fn sign(&self, world: &World, given: u64, received: u64) {
        let time = world.chain.tip().time_ms;
        let receipt = Receipt {
            chain_id: world.chain.chain_id(),
            transfer: transfers(world, &self.giver)[0],
            given,
            received,
            start_ms: time,
            end_ms: time,
        };
        let mut bytes = [0; TRADE_MAX];
        let n = receipt.encode(&mut bytes).unwrap();
        let digest = receipt.digest().unwrap();
        let body = Body::EnergyReceipt {
            statement: bytes[..n].into(),
            keys: self.keys.each_ref().map(|k| k.public().sign_pub()),
            signatures: self.keys.each_ref().map(|k| k.signing_key().sign(&digest, &mut rng())),
        };
        let tx = world.tx(body).await;
        let sent: Value =
            world.post("/transactions?wait=1", &json!({ "transaction": Blob(tx.bytes) })).await.json();
        assert_eq!(sent["status"], "included", "{sent}");
    }
}

/// The same over gRPC, from what a pack holds to what both signed.
#[tokio::test(flavor = "multi_thread")]
async fn energy_moves_over_grpc() {
    let world = World::trading(Profile::Native).await;
    let packs = Packs::new(&world).await;
    let mut client = grpc::client(&world);
    let operation = CreateEnergyOperationRequest {
        creator: "alice".into(),
        component_a: "pack-a".into(),
        component_b: "pack-b".into(),
        operation_type: "transfer".into(),
        amount: 12.5,
        context: "race".into(),
    };
    let begun = client.create_energy_operation(operation.clone()).await.unwrap().into_inner();
    assert_eq!(
        (begun.operation_type.as_str(), begun.amount, begun.status.as_str()),
        ("transfer", 12.5, "open")
    );
    assert!(!begun.operation_id.is_empty() && begun.txhash.len() == 64, "{begun:?}");
    let mut balance = async |id: &str| {
        let asked = GetEnergyBalanceRequest { component_id: id.into() };
        let told = client.get_energy_balance(asked).await.unwrap().into_inner();
        assert_eq!((told.component_id.as_str(), told.unit.as_str()), (id, "Wh"));
        assert!(told.last_updated > 0);
        told.balance
    };
    assert_eq!([balance("pack-a").await, balance("pack-b").await], [25e3 - 12.5, 10e3]);
    let ask = ExecuteEnergyTransferRequest {
        creator: "alice".into(),
        operation_id: begun.operation_id.clone(),
        amount: 0.0,
        context: String::new(),
    };
    let waits = client.execute_energy_transfer(ask.clone()).await.unwrap().into_inner();
    assert_eq!((waits.status.as_str(), waits.operation_id.as_str()), ("open", begun.operation_id.as_str()));
    packs.sign(&world, 12_000, 11_500).await;
    let done = client.execute_energy_transfer(ask).await.unwrap().into_inner();
    assert_eq!((done.status.as_str(), done.amount), ("done", 12.0));
    assert_ne!(done.txhash, begun.txhash);
    let mut balance = async |id: &str| {
        let asked = GetEnergyBalanceRequest { component_id: id.into() };
        client.get_energy_balance(asked).await.unwrap().into_inner().balance
    };
    assert_eq!([balance("pack-a").await, balance("pack-b").await], [25e3 - 12.0, 10e3 + 11.5]);
    let level = CreateEnergyOperationRequest { operation_type: "balance".into(), amount: 2e4, ..operation };
    let level = client.create_energy_operation(level).await.unwrap().into_inner();
    assert_eq!((level.operation_type.as_str(), level.amount), ("balance", (24_988.0 - 10_011.5) / 2.0));
}

/// Energy between two paired packs: held by the owner's order, and complete when both packs signed what flowed.
#[tokio::test(flavor = "multi_thread")]
async fn energy_moves_when_both_packs_signed_it() {
    let world = World::trading(Profile::Legacy).await;
    let packs = Packs::new(&world).await;
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

    packs.sign(&world, 12_000, 11_500).await;
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
    assert_eq!(transfers(&world, &packs.giver).len(), 2);
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
