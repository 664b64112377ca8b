//! What each known client of the older contract sends, byte for byte, and what it needs of the answers (A150 to A158).

use crate::common;

use api::{
    Fixed, Hex,
    order::{Order, Outcome, State, outcome_digest},
};
use bridge::compat::{Allow, Profile};
use common::{Answer, Bonded, Device, World, rng};
use lct::{
    id::Role,
    ownership::{TRANSFER_MAX, Transfer},
};
use ledger::tx::Body;
use serde_json::{Value, json};

pub const PACK: &str = "MODBATT-PACK-RC001-A";
pub const MODULE: &str = "MODBATT-MOD-RC001-001";
pub const HOST: &str = "MODBATT-HOST-RC001";

/// One request as a client writes it; an empty body goes out without one.
pub async fn ask(world: &World, method: &str, path: &str, body: &str) -> Answer {
    let method = method.parse().unwrap();
    let request = world.http.request(method, format!("{}{path}", world.address));
    let request = match body {
        "" => request,
        body => request.header("content-type", "application/json").body(body.to_owned()),
    };
    world.send(request).await
}

pub async fn good(world: &World, method: &str, path: &str, body: &str) -> Value {
    let answer = ask(world, method, path, body).await;
    let value: Value = answer.json();
    assert!(!no_null(&value), "{method} {path}: {value}");
    value
}

/// A `null` anywhere: the C++ clients throw on one.
fn no_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.iter().any(no_null),
        Value::Object(all) => all.values().any(no_null),
        _ => false,
    }
}

pub async fn refused(world: &World, method: &str, path: &str, body: &str, status: u16, code: &str) {
    let problem = ask(world, method, path, body).await.problem();
    assert_eq!((problem.status, problem.code.as_str()), (status, code), "{method} {path}: {problem}");
}

/// What a client reads: texts and numbers under these names.
pub fn texts(answer: &Value, names: &[&str]) {
    for name in names {
        assert!(answer[*name].is_string(), "{name}: {answer}");
    }
}

pub fn numbers(answer: &Value, names: &[&str]) {
    for name in names {
        assert!(answer[*name].is_number(), "{name}: {answer}");
    }
}

/// The success rule of the Windows utility.
fn taken_for_success(answer: &Value) -> bool {
    match answer.get("status") {
        Some(Value::String(status)) => {
            ["registered", "active"].iter().any(|word| status.eq_ignore_ascii_case(word))
        }
        Some(_) => false,
        None => answer.get("error").is_none(),
    }
}

/// Pack, module and host as their manufacturer made them, registered, and bound: host to pack, pack to module.
pub async fn parts(world: &World) -> ([Device; 3], [Bonded; 2]) {
    let pack = world.factory.device(PACK, Role::Pack);
    let module = world.factory.device(MODULE, Role::Module);
    let host = world.factory.device(HOST, Role::App);
    for device in [&pack, &module, &host] {
        world.register(device).await;
    }
    let bonds = [world.bind(&host, &pack).await, world.bind(&pack, &module).await];
    ([pack, module, host], bonds)
}

/// The manufacturer hands a component to a creator.
pub async fn hand_over(world: &World, device: &Device, creator: &str) {
    let creators = world.creators();
    let taker = creators.key(creator).unwrap();
    let component = world.chain.read().unwrap().component(&device.cid).unwrap().unwrap();
    let hop = Transfer {
        chain_id: world.chain.chain_id(),
        cid: device.cid,
        lct: component.lct,
        hop: 1,
        previous: [0; 32],
        from: world.factory.batch.public(),
        to: taker.public(),
        time_ms: common::START_MS,
    };
    let mut bytes = [0; TRANSFER_MAX];
    let n = hop.encode(&mut bytes).unwrap();
    let digest = hop.digest().unwrap();
    let signatures = [world.factory.batch.sign(&digest, &mut rng()), taker.sign(&digest, &mut rng())];
    let tx = world.tx(Body::Transfer { statement: bytes[..n].into(), signatures }).await;
    let body = json!({ "transaction": api::Blob(tx.bytes) });
    let sent: Value = world.post("/transactions?wait=1", &body).await.json();
    assert_eq!(sent["status"], "included", "{sent}");
}

/// What the gateway does with the order that waits: the devices pair, and it says so.
pub async fn gateway_pairs(world: &World, a: &Device, b: &Device, bonded: &Bonded) {
    let waiting = world.client.orders().await.unwrap().orders;
    let order: &Order = waiting.first().expect("an order waits");
    assert_eq!((order.a.as_str(), order.b.as_str()), (a.id.as_str(), b.id.as_str()));
    let opened = world.pair(a, b, bonded).await;
    let request = world.completion(&opened, bonded);
    let path = format!("/pairings/{}/complete", Hex(opened.pairing_id.0));
    let _completed: Value = world.post(&path, &request).await.json();
    ends(world, order, State::Done, "").await;
}

/// A gateway says how the order ended.
pub async fn ends(world: &World, order: &Order, state: State, said: &str) {
    let digest = outcome_digest(&world.chain.chain_id(), &order.id.0, state, said);
    let outcome = Outcome {
        state,
        said: said.into(),
        key: Hex(world.operator.public().0),
        signature: Fixed(world.operator.sign(&digest, &mut rng()).0),
    };
    let _ended: Order = world.post(&format!("/orders/{}/outcome", order.id), &outcome).await.json();
}

/// Client (a): registration, LCTs and identity as the utility goes through them.
#[tokio::test(flavor = "multi_thread")]
async fn the_windows_utility_sets_a_pack_up() {
    let allow = Allow { clear_key_halves: true, ..Allow::default() };
    let world = World::old(Profile::ModbattWin, allow).await;
    let ([pack, ..], _) = parts(&world).await;
    let health: Value = good(&world, "GET", "/health", "").await;
    assert_eq!(health["status"], "healthy");
    let mut lcts = Vec::new();
    for (id, context) in
        [(PACK, "battery_pack_demo"), (MODULE, "battery_module_demo"), (HOST, "host_system_demo")]
    {
        // By its serial number, which is another name than its id.
        let body = format!(r#"{{"creator":"alice","component_data":"SN-{id}","context":"{context}"}}"#);
        let answer = good(&world, "POST", "/api/v1/components/register", &body).await;
        assert!(taken_for_success(&answer), "{answer}");
        assert_eq!(answer["status"], "registered");
        assert_eq!((&answer["component_id"], &answer["component_identity"]), (&json!(id), &json!(id)));
        assert_eq!(
            (&answer["component_data"], &answer["context"]),
            (&json!(format!("SN-{id}")), &json!(context))
        );
        assert_eq!(answer["creator"], "alice");
        let hash = answer["txhash"].as_str().unwrap();
        assert!(hash.len() == 64 && hash == hash.to_uppercase() && answer["tx_hash"] == hash, "{answer}");
        lcts.push(answer["lct_id"].clone());
        assert_eq!(
            good(&world, "POST", "/api/v1/components/register", &body).await,
            answer,
            "the same again"
        );

        let found = good(&world, "GET", &format!("/api/v1/components/{id}"), "").await;
        assert!(taken_for_success(&found), "{found}");
        assert_eq!(found["state"], "active");
        for name in
            ["component_id", "component_identity", "lct_id", "component_data", "context", "creator", "txhash"]
        {
            assert_eq!(found[name], answer[name], "{name}");
        }
        let identity = good(&world, "GET", &format!("/api/v1/components/{id}/identity"), "").await;
        assert_eq!(
            (&identity["verified"], &identity["verification"]["component_id"]),
            (&json!(true), &json!(id))
        );
        numbers(&identity["verification"], &["verified_at"]);
        let verified =
            good(&world, "POST", &format!("/api/v1/components/{id}/verify"), r#"{"creator":"alice"}"#).await;
        assert_eq!((&verified["verified"], &verified["verifier"]), (&json!(true), &json!("alice")));
    }
    let lct_path = lcts[0].as_str().unwrap();
    let entity = good(&world, "GET", &format!("/api/v1/lct/{lct_path}"), "").await;
    assert_eq!(entity["component_a"], PACK);

    let body = format!(
        r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","context":"app_pack_communication"}}"#
    );
    let answer = ask(&world, "POST", "/api/v1/lct/create", &body).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let made: Value = answer.json();
    assert!(taken_for_success(&made), "{made}");
    let half = |name: &str| {
        let half = made[name].as_str().unwrap();
        assert!(half.len() == 64 && half.bytes().all(|c| c.is_ascii_hexdigit()), "{name}");
        half.to_owned()
    };
    let (lct_half, device_half) = (half("lct_key_half"), half("device_key_half"));
    assert_ne!(lct_half, device_half);
    assert!(i32::try_from(made["created_at"].as_i64().unwrap()).is_ok(), "that client keeps it in an int");
    let found = good(&world, "GET", &format!("/api/v1/lct/{}", made["lct_id"].as_str().unwrap()), "").await;
    assert!(taken_for_success(&found), "{found}");
    for name in ["component_a", "component_b"] {
        assert!([HOST, PACK].contains(&found[name].as_str().unwrap()), "{found}");
    }
    assert_eq!((&found["context"], &found["txhash"]), (&made["context"], &made["txhash"]));
    texts(&found, &["proxy_id", "status", "lct_id", "component_a_id", "pairing_status"]);

    // Once means once, and nothing of it is kept.
    refused(&world, "POST", "/api/v1/lct/create", &body, 409, "W4_ERR_LCT_EXISTS").await;
    for (path, bytes) in common::files(world.dir.path()) {
        for half in [&lct_half, &device_half] {
            let raw = hex::decode(half).unwrap();
            assert!(!bytes.windows(32).any(|w| w == raw), "{}", path.display());
            assert!(!bytes.windows(64).any(|w| w == half.as_bytes()), "{}", path.display());
        }
    }
    drop(pack);
}

/// Client (a): the composite flows "establish pairing" and "energy transfer", and its queue and authorisations.
#[tokio::test(flavor = "multi_thread")]
async fn the_windows_utility_pairs_and_is_told_the_truth() {
    let world = World::old(Profile::ModbattWin, Allow::default()).await;
    let ([pack, module, host], [bonded, _]) = parts(&world).await;
    hand_over(&world, &pack, "alice").await;

    let grant = format!(
        r#"{{"component_a":"{PACK}","component_b":"{HOST}","operational_context":"race_car_demo","authorization_rules":"trust_score > 0.4"}}"#
    );
    let granted = good(&world, "POST", "/api/v1/authorization/pairing", &grant).await;
    assert!(taken_for_success(&granted), "{granted}");
    texts(&granted, &["authorization_id", "component_a", "component_b", "operational_context", "txhash"]);
    assert_eq!(granted["authorization_rules"], "trust_score > 0.4");
    numbers(&granted, &["created_at"]);
    let authorization = granted["authorization_id"].as_str().unwrap();
    let check = format!(
        "/api/v1/authorization/check?component_a={PACK}&component_b={HOST}&operational_context=race_car_demo"
    );
    let checked = good(&world, "GET", &check, "").await;
    assert!(taken_for_success(&checked), "{checked}");
    // A host that did nothing yet is trusted with 0.4, and a basic pairing asks for 0.5.
    assert_eq!(
        (&checked["authorized"], &checked["authorization_id"]),
        (&json!(false), &json!(authorization))
    );
    assert_eq!(
        (checked["trust_score"].as_f64(), checked["trust_score"].clone()),
        (Some(0.4), checked["score"].clone())
    );
    assert!(checked["verification_status"].as_str().unwrap().contains("does not meet"), "{checked}");
    let list = good(&world, "GET", &format!("/api/v1/authorization/component/{PACK}"), "").await;
    assert_eq!((&list["count"], &list["authorizations"][0]["status"]), (&json!(1), &json!("active")));
    let rules = r#"{"authorization_rules":"trust_score > 0.5"}"#;
    let path = format!("/api/v1/authorization/{authorization}");
    let updated = good(&world, "PUT", &path, rules).await;
    assert!(
        taken_for_success(&updated) && updated["authorization_rules"] == "trust_score > 0.5",
        "{updated}"
    );
    let revoked = good(&world, "DELETE", &path, "").await;
    assert_eq!((&revoked["status"], &revoked["reason"]), (&json!("revoked"), &json!("unspecified")));
    refused(&world, "DELETE", &path, "", 410, "W4_ERR_AUTHORIZATION_ENDED").await;
    let not_his = grant.replace(PACK, "x").replace(HOST, PACK).replace("\"x\"", &format!("\"{HOST}\""));
    refused(&world, "POST", "/api/v1/authorization/pairing", &not_his, 403, "W4_ERR_AUTHORIZATION_DENIED")
        .await;

    let initiate = format!(
        r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","operational_context":"race_car_demo","force_immediate":false}}"#
    );
    let challenge = good(&world, "POST", "/api/v1/pairing/initiate", &initiate).await;
    assert!(taken_for_success(&challenge), "{challenge}");
    assert_eq!(challenge["state"], "pending", "what is so stands beside it");
    texts(&challenge, &["challenge_id", "component_a", "component_b", "operational_context", "creator"]);
    numbers(&challenge, &["created_at"]);
    let challenge_id = challenge["challenge_id"].as_str().unwrap().to_owned();
    assert!(challenge_id.len() <= 64);
    let status = format!("/api/v1/pairing/status/{challenge_id}");
    assert_eq!(good(&world, "GET", &status, "").await["state"], "pending");
    gateway_pairs(&world, &host, &pack, &bonded).await;
    let body = format!(r#"{{"creator":"alice","challenge_id":"{challenge_id}","response":"demo_response"}}"#);
    let completed = good(&world, "POST", "/api/v1/pairing/complete", &body).await;
    texts(&completed, &["lct_id", "session_keys", "trust_summary", "txhash"]);
    assert!(completed.get("split_key_a").is_none(), "the keys are with the devices");
    assert_eq!(good(&world, "GET", &status, "").await["state"], "completed");
    let again = good(&world, "POST", "/api/v1/pairing/complete", &body).await;
    assert_eq!(again, completed, "to ask again changes nothing");

    let calculate =
        format!(r#"{{"component_a":"{HOST}","component_b":"{PACK}","operational_context":"race_car_demo"}}"#);
    let trust = good(&world, "POST", "/api/v1/trust-enhanced/calculate", &calculate).await;
    assert!(taken_for_success(&trust), "{trust}");
    numbers(
        &trust,
        &["trust_score", "score", "evidence_count", "created_at", "calculated_at", "last_updated"],
    );
    texts(&trust, &["tensor_id", "component_a", "component_b", "operational_context", "txhash"]);
    let tensor = trust["tensor_id"].as_str().unwrap();
    let found = good(&world, "GET", &format!("/api/v1/trust/tensor/{tensor}"), "").await;
    assert_eq!(found["trust_score"], trust["trust_score"]);
    let query = format!("/api/v1/trust-enhanced/relationship?component_a={HOST}&component_b={PACK}");
    assert_eq!(good(&world, "GET", &query, "").await["tensor_id"], tensor);
    let set = format!(
        r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","score":0.8,"context":"x"}}"#
    );
    refused(&world, "PUT", "/api/v1/trust-enhanced/score", &set, 403, "W4_ERR_TRUST_DERIVED").await;
    let set = r#"{"creator":"alice","score":0.8}"#;
    refused(&world, "PUT", &format!("/api/v1/trust/tensor/{tensor}/score"), set, 403, "W4_ERR_TRUST_DERIVED")
        .await;
    let wish = format!(
        r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","initial_score":0.99}}"#
    );
    refused(&world, "POST", "/api/v1/trust/tensor", &wish, 403, "W4_ERR_TRUST_DERIVED").await;

    let operation = format!(
        r#"{{"creator":"alice","component_a":"{PACK}","component_b":"{MODULE}","operation_type":"discharge","amount":10.5}}"#
    );
    refused(&world, "POST", "/api/v1/energy/operation", &operation, 403, "W4_ERR_ENERGY_MEASURED").await;
    let transfer = operation.replace("discharge", "transfer");
    refused(&world, "POST", "/api/v1/energy/operation", &transfer, 404, "W4_ERR_PAIRING_NOT_FOUND").await;
    let balance = good(&world, "GET", &format!("/api/v1/energy/balance/{PACK}"), "").await;
    assert!(taken_for_success(&balance), "{balance}");
    numbers(&balance, &["balance", "atp_balance", "adp_balance", "total_energy", "last_updated"]);
    // The binding minted what the manufacturer attested, 50 kWh; what of it is charged the pack has yet to sign.
    let figures = ["balance", "adp_balance", "total_energy"].map(|name| balance[name].as_f64());
    assert_eq!(figures, [Some(0.0), Some(50e3), Some(50e3)]);

    let wish = format!(
        r#"{{"component_a":"{PACK}","component_b":"{MODULE}","operational_context":"race_car_demo","proxy_id":""}}"#
    );
    let queued = good(&world, "POST", "/api/v1/queue/pairing-request", &wish).await;
    assert!(taken_for_success(&queued) && queued["state"] == "queued", "{queued}");
    texts(
        &queued,
        &["request_id", "component_a", "component_b", "operational_context", "proxy_id", "txhash"],
    );
    let about = |what: &str| format!("/api/v1/queue/{what}/{PACK}");
    let status = good(&world, "GET", &about("status"), "").await;
    assert!(taken_for_success(&status), "{status}");
    assert_eq!((&status["pending_requests"], &status["processed_requests"]), (&json!(1), &json!(0)));
    let list = good(&world, "GET", &about("requests"), "").await;
    assert_eq!((&list["count"], &list["requests"][0]["request_id"]), (&json!(1), &queued["request_id"]));
    assert_eq!(list["operations"], list["requests"]);
    assert_eq!(good(&world, "GET", &about("proxy"), "").await["count"], 0);
    let processed = good(&world, "POST", &about("process-offline"), "").await;
    assert_eq!((&processed["processed_requests"], &processed["pending_requests"]), (&json!(0), &json!(1)));
    let path = format!("/api/v1/queue/cancel/{}", queued["request_id"].as_str().unwrap());
    assert_eq!(good(&world, "DELETE", &path, "").await["status"], "cancelled");
    refused(&world, "DELETE", &path, "", 404, "W4_ERR_QUEUE_UNKNOWN").await;
    drop(module);
}

/// Client (b): the C++ demo, without prefix, and its "gRPC" that is JSON.
#[tokio::test(flavor = "multi_thread")]
async fn the_cpp_demo_is_served_without_a_prefix() {
    let world = World::old(Profile::Legacy, Allow::default()).await;
    let ([pack, _, host], [bonded, _]) = parts(&world).await;
    let accounts = good(&world, "GET", "/accounts", "").await;
    texts(&accounts["accounts"][0], &["name", "address", "key_type"]);
    assert_eq!(accounts["count"], 2);
    refused(&world, "POST", "/accounts", r#"{"name":"carol"}"#, 403, "W4_ERR_SWITCHED_OFF").await;

    let component = [
        "component_id",
        "component_identity",
        "component_data",
        "context",
        "creator",
        "lct_id",
        "status",
        "tx_hash",
    ];
    let body =
        format!(r#"{{"creator":"alice","component_data":"{{\"serial\":\"SN-{PACK}\"}}","context":"demo"}}"#);
    let registered = good(&world, "POST", "/components/register", &body).await;
    texts(&registered, &component);
    assert_eq!(registered["component_id"], PACK);
    texts(&good(&world, "GET", &format!("/components/{PACK}"), "").await, &component);
    let verify = format!(r#"{{"verifier":"bob","component_id":"{PACK}","context":"demo"}}"#);
    let verified = good(&world, "POST", "/components/verify", &verify).await;
    assert_eq!((&verified["verifier"], &verified["verified"]), (&json!("bob"), &json!(true)));

    let anonymous = |id: &str| {
        format!(
            r#"{{"creator":"alice","real_component_id":"{id}","manufacturer_id":"m","component_type":"module","context":"demo"}}"#
        )
    };
    let names =
        ["component_hash", "manufacturer_hash", "category_hash", "creator", "context", "status", "tx_hash"];
    let a = good(&world, "POST", "/components/register-anonymous", &anonymous("real-1")).await;
    texts(&a, &names);
    let b = good(&world, "POST", "/components/register-anonymous", &anonymous("real-2")).await;
    let [a, b] = [&a, &b].map(|x| x["component_hash"].as_str().unwrap().to_owned());
    let pair = |who: &str| {
        format!(r#"{{"{who}":"alice","source_hash":"{a}","target_hash":"{b}","context":"demo"}}"#)
    };
    let asked = good(&world, "POST", "/components/verify-pairing-hashes", &pair("verifier")).await;
    texts(&asked, &["source_hash", "target_hash", "context", "status", "tx_hash"]);
    assert_eq!(asked["can_pair"], false);
    let granted = good(&world, "POST", "/components/create-pairing-authorization", &pair("creator")).await;
    texts(&granted, &["authorization_id", "source_hash", "target_hash", "context", "status", "tx_hash"]);
    let gone = format!(r#"{{"creator":"alice","component_hash":"{a}","reason":"recall","context":"demo"}}"#);
    let gone = good(&world, "POST", "/components/create-revocation-event", &gone).await;
    texts(&gone, &["revocation_id", "component_hash", "reason", "context", "status", "tx_hash"]);
    let told = good(&world, "GET", &format!("/components/anonymous/{b}/metadata"), "").await;
    texts(&told, &["component_hash", "metadata", "status", "tx_hash"]);

    let lct = format!(
        r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","context":"demo","proxy_id":""}}"#
    );
    let made = good(&world, "POST", "/lct/create", &lct).await;
    texts(
        &made,
        &["lct_id", "component_a", "component_b", "context", "proxy_id", "status", "creator", "tx_hash"],
    );
    assert!(made.get("lct_key_half").is_none(), "in clear only where the switch says so");
    assert_eq!(made["sealed_key_halves"]["lct"]["a"]["sealed"].as_str().map(str::is_empty), Some(false));
    let lct_id = made["lct_id"].as_str().unwrap();
    texts(
        &good(&world, "GET", &format!("/lct/{lct_id}"), "").await,
        &["lct_id", "component_a", "status", "tx_hash"],
    );
    let status =
        format!(r#"{{"creator":"alice","lct_id":"{lct_id}","status":"suspended","context":"demo"}}"#);
    let path = format!("/lct/{lct_id}/status");
    refused(&world, "PUT", &path, &status, 403, "W4_ERR_LCT_DENIED").await;
    hand_over(&world, &pack, "alice").await;
    assert_eq!(good(&world, "PUT", &path, &status).await["status"], "suspended");

    let initiate = format!(
        r#"{{"creator":"alice","component_a":"{PACK}","component_b":"{HOST}","operational_context":"demo","proxy_id":"","force_immediate":true}}"#
    );
    let challenge = good(&world, "POST", "/pairing/initiate", &initiate).await;
    assert_eq!((&challenge["status"], &challenge["force_immediate"]), (&json!("pending"), &json!(true)));
    gateway_pairs(&world, &host, &pack, &bonded).await;
    let id = challenge["challenge_id"].as_str().unwrap();
    let complete = format!(
        r#"{{"creator":"alice","challenge_id":"{id}","component_a_auth":"a","component_b_auth":"b","session_context":"demo"}}"#
    );
    let completed = good(&world, "POST", "/pairing/complete", &complete).await;
    texts(&completed, &["lct_id", "session_keys", "trust_summary", "tx_hash"]);
    assert_eq!(good(&world, "GET", &format!("/pairing/status/{id}"), "").await["status"], "completed");
    let revoke =
        format!(r#"{{"creator":"alice","lct_id":"{lct_id}","reason":"demo","notify_offline":true}}"#);
    let revoked = good(&world, "POST", "/pairing/revoke", &revoke).await;
    assert_eq!((&revoked["status"], &revoked["state"]), (&json!("revoked"), &json!("pending")));

    let queue =
        format!(r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","context":"demo"}}"#);
    let queued = good(&world, "POST", "/pairing/queue", &queue).await;
    texts(&queued, &["request_id", "component_a", "component_b", "context", "status", "creator", "tx_hash"]);
    let status = good(&world, "GET", &format!("/pairing/queue/{HOST}/status"), "").await;
    texts(&status, &["queue_id", "status"]);
    let process =
        format!(r#"{{"processor":"alice","queue_id":"{HOST}","proxy_id":"{PACK}","context":"demo"}}"#);
    let processed = good(&world, "POST", "/pairing/queue/process", &process).await;
    texts(&processed, &["result"]);
    assert_eq!(processed["component_id"], HOST, "whoever else is named, it is this one's queue");
    assert_eq!(good(&world, "GET", &format!("/pairing/queue/{HOST}/requests"), "").await["count"], 1);
    let cancel = format!(
        r#"{{"creator":"alice","request_id":"{}","reason":"demo"}}"#,
        queued["request_id"].as_str().unwrap()
    );
    texts(&good(&world, "POST", "/pairing/queue/cancel", &cancel).await, &["result"]);

    let trust =
        format!(r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","context":"demo"}}"#);
    let trust = good(&world, "POST", "/trust/create", &trust).await;
    texts(&trust, &["tensor_id", "status", "tx_hash"]);
    numbers(&trust, &["score"]);
    numbers(&good(&world, "GET", &format!("/energy/balance/{PACK}"), "").await, &["balance"]);

    for (method, body) in [
        ("GetAccounts", "{}".to_owned()),
        ("GetComponent", format!(r#"{{"component_id":"{PACK}"}}"#)),
        ("GetLCT", format!(r#"{{"lct_id":"{lct_id}"}}"#)),
        ("GetPairingStatus", format!(r#"{{"challenge_id":"{id}"}}"#)),
        ("GetTrustTensor", format!(r#"{{"tensor_id":"{}"}}"#, trust["tensor_id"].as_str().unwrap())),
        ("GetEnergyBalance", format!(r#"{{"component_id":"{PACK}"}}"#)),
        ("GetQueuedRequests", format!(r#"{{"component_id":"{HOST}"}}"#)),
        ("GetComponentAuthorizations", format!(r#"{{"component_id":"{PACK}"}}"#)),
    ] {
        good(&world, "POST", &format!("/APIBridgeService/{method}"), &body).await;
    }
}

/// Client (c): the Python demo of anonymous components.
#[tokio::test(flavor = "multi_thread")]
async fn the_python_privacy_demo_hides_what_it_registers() {
    let allow = Allow { unknown_creators: true, ..Allow::default() };
    let world = World::old(Profile::Legacy, allow).await;
    let at = |path: &str| format!("/api/v1/components/{path}");
    let register = |creator: &str, id: &str| {
        format!(
            r#"{{"creator": "{creator}", "real_component_id": "{id}", "manufacturer_id": "TESLA_MOTORS", "component_type": "BATTERY_PACK", "context": "race_car"}}"#
        )
    };
    let a = good(&world, "POST", &at("register-anonymous"), &register("alice", "battery-real-1")).await;
    let names = ["component_hash", "manufacturer_hash", "category_hash", "status", "trust_anchor", "txhash"];
    texts(&a, &names);
    numbers(&a, &["timestamp"]);
    // A creator of whom the bridge never heard gets a key and an account of its own.
    let b = good(&world, "POST", &at("register-anonymous"), &register("charlie", "battery-real-2")).await;
    assert_ne!(a["manufacturer_hash"], b["manufacturer_hash"], "of two owners nothing is alike");
    refused(
        &world,
        "POST",
        &at("register-anonymous"),
        &register("alice", "battery-real-1"),
        409,
        "W4_ERR_ANONYMOUS_EXISTS",
    )
    .await;
    let blocks = common::files(&world.dir.path().join("ledger"));
    for (path, bytes) in &blocks {
        assert!(!bytes.windows(14).any(|w| w == b"battery-real-1"), "{}", path.display());
    }
    let [a, b] = [&a, &b].map(|x| x["component_hash"].as_str().unwrap().to_owned());
    let verify = format!(
        r#"{{"verifier": "bob", "component_hash_a": "{a}", "component_hash_b": "{b}", "context": "race_car"}}"#
    );
    let verified = good(&world, "POST", &at("verify-pairing-hashes"), &verify).await;
    assert_eq!(
        (&verified["can_pair"], &verified["reason"]),
        (&json!(false), &json!("there is no authorization"))
    );
    texts(&verified, &["trust_score", "txhash"]);
    let authorize = format!(
        r#"{{"creator": "alice", "component_hash_a": "{a}", "component_hash_b": "{b}", "rule_hash": "{}", "trust_score_requirement": "0.7", "authorization_level": "basic"}}"#,
        "ab".repeat(32)
    );
    let granted = good(&world, "POST", &at("authorization-anonymous"), &authorize).await;
    texts(&granted, &["auth_id", "status", "expires_at", "txhash"]);
    // The block's time and 8760 hours.
    assert!(granted["expires_at"].as_str().unwrap().starts_with("2026-06-15T"), "{granted}");
    let by_another = authorize.replace("alice", "bob");
    refused(&world, "POST", &at("authorization-anonymous"), &by_another, 403, "W4_ERR_ANONYMOUS_DENIED")
        .await;
    let path = format!("{}/{a}?requester=david", at("metadata-anonymous"));
    let told = good(&world, "GET", &path, "").await;
    texts(&told, &["component_hash", "type", "status", "trust_anchor", "txhash"]);
    numbers(&told, &["last_verified", "timestamp"]);
    let revoke = format!(
        r#"{{"creator": "alice", "target_hash": "{a}", "revocation_type": "INDIVIDUAL", "urgency_level": "HIGH", "reason_category": "SAFETY_CONCERN", "context": "race_car"}}"#
    );
    let revoked = good(&world, "POST", &at("revocation-anonymous"), &revoke).await;
    texts(&revoked, &["revocation_id", "status", "effective_at", "txhash"]);
    assert_eq!(good(&world, "GET", &path, "").await["status"], "withdrawn", "high is at once");
    let missing = format!("{}/{}", at("metadata-anonymous"), "00".repeat(32));
    refused(&world, "GET", &missing, "", 404, "W4_ERR_COMMITMENT_NOT_FOUND").await;
}

/// Client (d): the Python demo of encryption gets no further than its components are real; what it computes is as it says.
#[tokio::test(flavor = "multi_thread")]
async fn the_python_encryption_demo_needs_real_components() {
    let world = World::old(Profile::Legacy, Allow::default()).await;
    let body = r#"{"creator": "demo-user", "component_a": "battery-module-001", "component_b": "motor-controller-001", "context": "race_car", "proxy_id": "proxy-001"}"#;
    refused(&world, "POST", "/lct/create", body, 403, "W4_ERR_CREATOR_DENIED").await;
    let known = body.replace("demo-user", "alice");
    refused(&world, "POST", "/lct/create", &known, 404, "W4_ERR_COMPONENT_NOT_FOUND").await;
    let initiate = known.replace("\"context\"", "\"operational_context\"");
    refused(&world, "POST", "/pairing/initiate", &initiate, 404, "W4_ERR_COMPONENT_NOT_FOUND").await;
}

/// Its key derivation, with the halves of that file.
#[test]
fn the_python_encryption_demos_vector() {
    use hmac::{KeyInit, Mac};
    use sha2::{Digest, Sha256};
    let half = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
    let a = half("a1b2c3d4e5f6789012345678901234567890abcdef1234567890abcdef123456");
    let b = half("f1e2d3c4b5a6789012345678901234567890fedcba1234567890fedcba123456");
    let mixed: [u8; 32] = std::array::from_fn(|i| a[i] ^ b[i]);
    let master = Sha256::digest(mixed);
    assert_eq!(hex::encode(master), "a0a06b9c4fe3f0ece731b32b815e5c6ad870a7fbb1eb1a9a37f55cb6c78b330e");
    let prf = |parts: &[&[u8]]| -> [u8; 32] {
        let mut mac = hmac::Hmac::<Sha256>::new_from_slice(&master).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut turn = prf(&[b"web4_session_salt", &1_u32.to_be_bytes()]);
    let mut session = turn;
    for _ in 1..10_000 {
        turn = prf(&[&turn]);
        session.iter_mut().zip(turn).for_each(|(s, t)| *s ^= t);
    }
    assert_eq!(hex::encode(session), "2cf9c1bfa566c4639c5d9203a9394fbcce3bb30c4591b985d7bcb6d7156c736c");
}

/// Client (e): the curl reference; and what every client must be able to rely on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_in_words() {
    let world = World::old(Profile::Legacy, Allow::default()).await;
    let ([_, module, _], _) = parts(&world).await;
    let unknown = r#"{"creator":"alice","component_data":"SN-nobody","context":"x"}"#;
    refused(&world, "POST", "/api/v1/components/register", unknown, 404, "W4_ERR_COMPONENT_NOT_FOUND").await;
    let body = format!(r#"{{"creator":"mallory","component_data":"SN-{PACK}","context":"x"}}"#);
    refused(&world, "POST", "/api/v1/components/register", &body, 403, "W4_ERR_CREATOR_DENIED").await;
    let no_creator = format!(r#"{{"component_data":"SN-{PACK}","creator":""}}"#);
    refused(&world, "POST", "/api/v1/components/register", &no_creator, 400, "W4_ERR_PROTO_FORMAT").await;
    for (method, path, body) in [
        ("POST", "/api/v1/lct/create", r#"{"creator":1}"#),
        ("POST", "/api/v1/lct/create", r#"[]"#),
        ("POST", "/api/v1/lct/create", r#"{"creator":"alice""#),
        ("POST", "/api/v1/trust/tensor", r#"{"creator":"alice","component_a":"x"}"#),
        ("GET", "/api/v1/lct/lct_a", ""),
        ("GET", "/api/v1/pairing/status/..%2f..%2fetc", ""),
        ("GET", "/api/v1/queue/requests/MODBATT-PACK-RC001-A?limit=0", ""),
        ("GET", "/api/v1/components/metadata-anonymous/zz", ""),
    ] {
        refused(&world, method, path, body, 400, "W4_ERR_PROTO_FORMAT").await;
    }
    // A page of another origin can make a browser send a call without a body.
    let request = world.http.post(format!("{}/api/v1/queue/process-offline/{PACK}", world.address));
    let problem = world.send(request.header("origin", "http://evil.example")).await.problem();
    assert_eq!((problem.status, problem.code.as_str()), (415, "W4_ERR_PROTO_MEDIA"));

    // An order that the gateway cannot carry out is no pairing.
    let initiate = format!(
        r#"{{"creator":"bob","component_a":"{PACK}","component_b":"{}","operational_context":""}}"#,
        module.id
    );
    let challenge = good(&world, "POST", "/api/v1/pairing/initiate", &initiate).await;
    let order = world.client.orders().await.unwrap().orders.remove(0);
    ends(&world, &order, State::Failed, "the module does not answer").await;
    let complete = format!(
        r#"{{"creator":"bob","challenge_id":"{}","response":"demo_response"}}"#,
        challenge["challenge_id"].as_str().unwrap()
    );
    refused(&world, "POST", "/api/v1/pairing/complete", &complete, 409, "W4_ERR_PAIRING_FAILED").await;
    let status = format!("/api/v1/pairing/status/{}", challenge["challenge_id"].as_str().unwrap());
    assert_eq!(good(&world, "GET", &status, "").await["status"], "failed");

    // The profile that a client names goes before the configured one.
    let path = format!("{}/api/v1/components/{PACK}", world.address);
    let native: Value = world.send(world.http.get(&path).header("x-client-profile", "native")).await.json();
    assert!(native.get("device_key").is_some() && native.get("state").is_none(), "{native}");
    let windows: Value =
        world.send(world.http.get(&path).header("x-client-profile", "modbatt-win")).await.json();
    assert!(taken_for_success(&windows) && windows["state"] == "active", "{windows}");
    let other = world.send(world.http.get(&path).header("x-client-profile", "windows")).await;
    assert_eq!(other.problem().status, 400);
}

/// The contract of entities.
#[tokio::test(flavor = "multi_thread")]
async fn entities_are_the_same_things_under_other_names() {
    let world = World::old(Profile::Legacy, Allow::default()).await;
    let ([pack, _, host], [bonded, _]) = parts(&world).await;
    let body = format!(
        r#"{{"entity_type":"pack","unique_id":"{PACK}","hardware_serial":"SN-{PACK}","public_key":"{}","metadata":{{"manufacturer":"m","capabilities":[]}}}}"#,
        hex::encode(pack.key.public().0)
    );
    let entity = good(&world, "POST", "/api/v1/entities", &body).await;
    assert_eq!(
        (&entity["status"], &entity["lct"]),
        (&json!("success"), &json!(format!("lct:web4:entity:pack:{PACK}")))
    );
    texts(&entity, &["tx_hash", "created_at", "blockchain_address"]);
    let wrong = body.replace(&hex::encode(pack.key.public().0), &hex::encode(host.key.public().0));
    refused(&world, "POST", "/api/v1/entities", &wrong, 409, "W4_ERR_REGISTRY_EXISTS").await;
    let found = good(&world, "GET", &format!("/api/v1/entities/lct:web4:entity:pack:{PACK}"), "").await;
    assert_eq!(found["lct"], entity["lct"]);
    let register =
        format!(r#"{{"component_type":"pack","component_id":"{PACK}","public_key":"","device_info":{{}}}}"#);
    assert_eq!(
        good(&world, "POST", "/api/binding/register-component", &register).await["lct"],
        entity["lct"]
    );
    let bind = format!(
        r#"{{"entity_lct":"lct:web4:entity:pack:{PACK}","hardware_serial":"SN-{PACK}","binding_proof":{{"signature":"","timestamp":0}}}}"#
    );
    let bound = good(&world, "POST", "/api/v1/bindings", &bind).await;
    assert_eq!((&bound["immutable"], &bound["tx_hash"]), (&json!(true), &entity["tx_hash"]));
    let pair = format!(
        r#"{{"initiator_lct":"lct:web4:entity:app:{HOST}","target_lct":"lct:web4:entity:pack:{PACK}","pairing_type":"symmetric_key","public_key_initiator":"","metadata":{{}}}}"#
    );
    let asked = good(&world, "POST", "/api/v1/pairings", &pair).await;
    texts(&asked, &["status", "pairing_id", "challenge", "expires_at"]);
    gateway_pairs(&world, &host, &pack, &bonded).await;
    let path = format!("/api/v1/pairings/{}", asked["pairing_id"].as_str().unwrap());
    let done = good(
        &world,
        "PUT",
        &path,
        r#"{"target_response":{"public_key":"","signature":""},"shared_secret_hash":""}"#,
    )
    .await;
    assert_eq!((&done["status"], &done["mrh_link_created"]), (&json!("completed"), &json!(true)));
    let witness = format!(
        r#"{{"witness_lct":"lct:web4:entity:app:{HOST}","subject_lct":"lct:web4:entity:pack:{PACK}","event_type":"x","timestamp":"2026-01-01T00:00:00Z","observation":{{}}}}"#
    );
    let seen = good(&world, "POST", "/api/v1/witnessing", &witness).await;
    assert_eq!((&seen["state"], &seen["mrh_tensor_updated"]), (&json!("pending"), &json!(false)));
    let announce = format!(
        r#"{{"entity_lct":"lct:web4:entity:pack:{PACK}","announcement_type":"x","payload":{{}},"signature":""}}"#
    );
    good(&world, "POST", "/api/v1/broadcasts", &announce).await;
    let mut levels: Vec<_> = world.client.orders().await.unwrap().orders.iter().map(|o| o.level).collect();
    levels.sort();
    assert_eq!(levels, [Some(1), Some(2)], "the device is to state both itself");
    let tensor = r#"{"subject_lct":"x","t3_delta":{"talent":0.1},"evidence_hash":"00"}"#;
    refused(&world, "POST", "/api/v1/tensors/t3", tensor, 403, "W4_ERR_TRUST_DERIVED").await;
}

/// Without older clients the routes are there, strict, and sign for nobody; without prefix there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_native_bridge_signs_for_nobody() {
    let world = World::new().await;
    let _parts = parts(&world).await;
    assert_eq!(good(&world, "GET", "/api/v1/accounts", "").await["count"], 0);
    let wish = format!(r#"{{"component_a":"{PACK}","component_b":"{MODULE}","operational_context":"x"}}"#);
    refused(&world, "POST", "/api/v1/queue/pairing-request", &wish, 403, "W4_ERR_CREATOR_DENIED").await;
    let more = r#"{"component_a":"x","colour":"green"}"#;
    refused(&world, "POST", "/api/v1/trust-enhanced/calculate", more, 400, "W4_ERR_PROTO_FORMAT").await;
    refused(&world, "GET", "/accounts", "", 404, "W4_ERR_PROTO_ROUTE").await;
    refused(&world, "POST", "/APIBridgeService/GetAccounts", "{}", 404, "W4_ERR_PROTO_ROUTE").await;
    let path = format!("{}/api/v1/accounts", world.address);
    let asked = world.send(world.http.get(path).header("x-client-profile", "legacy")).await;
    let answer: Value = asked.json();
    assert_eq!(answer["count"], 0, "a header alone opens nothing");
}

/// The guide's table names every route, and what it says is what the router has.
#[test]
fn the_guide_says_what_becomes_of_every_call() {
    let guide = include_str!("../../../docs/api.md");
    let rows: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    let calls = bridge::compat::calls();
    for (method, path, native, verdict) in &calls {
        let row = format!(
            "| `{method} {path}` | {} | {} |",
            if *native { "both" } else { "older" },
            verdict.text()
        );
        assert_eq!(rows.iter().filter(|line| line.starts_with(&row)).count(), 1, "{row}");
    }
    assert_eq!(rows.len(), calls.len(), "the guide has a row of a route that is not there");
}

async fn with_key(world: &World, key: &str, path: &str, body: &str) -> Answer {
    let request = world.http.post(format!("{}{path}", world.address)).header("idempotency-key", key);
    world.send(request.header("content-type", "application/json").body(body.to_owned())).await
}

/// A client that did not see the answer asks again, also after a restart of the bridge.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_under_a_key_happens_once() {
    let allow = Allow { clear_key_halves: true, ..Allow::default() };
    let mut world = World::old(Profile::Legacy, allow).await;
    let _parts = parts(&world).await;
    let path = "/api/v1/queue/pairing-request";
    let wish = format!(r#"{{"component_a":"{PACK}","component_b":"{MODULE}","operational_context":"x"}}"#);
    let refused = with_key(&world, "k0", path, r#"{"component_a":"x"}"#).await;
    assert_eq!(refused.status, 400);
    let first = with_key(&world, "k0", path, &wish).await;
    let queued: Value = first.json();
    assert_eq!(with_key(&world, "k0", path, &wish).await.body, first.body, "what was refused takes no key");
    let other = wish.replace(MODULE, HOST);
    let problem = with_key(&world, "k0", path, &other).await.problem();
    assert_eq!((problem.status, problem.code.as_str()), (409, "W4_ERR_PROTO_REPLAY"));
    let two = tokio::join!(with_key(&world, "k1", path, &other), with_key(&world, "k1", path, &other));
    let done = [two.0, two.1].iter().filter(|a| a.status == 200).count();
    assert!(done >= 1);
    let list = good(&world, "GET", &format!("/api/v1/queue/requests/{PACK}"), "").await;
    assert_eq!(list["count"], 2, "one each");
    let part = good(&world, "GET", &format!("/api/v1/queue/requests/{PACK}?offset=1&limit=1"), "").await;
    assert_eq!((part["requests"].as_array().map(Vec::len), &part["count"]), (Some(1), &json!(2)));

    let lct = format!(r#"{{"creator":"alice","component_a":"{HOST}","component_b":"{PACK}","context":"x"}}"#);
    let made: Value = with_key(&world, "k2", "/lct/create", &lct).await.json();
    let half = made["lct_key_half"].as_str().unwrap().to_owned();
    let again = with_key(&world, "k2", "/lct/create", &lct).await;
    assert_eq!(again.problem().code, "W4_ERR_PROTO_REPLAY", "key material is given once");
    world.restart().await;
    assert_eq!(with_key(&world, "k0", path, &wish).await.json::<Value>(), queued);
    assert_eq!(with_key(&world, "k2", "/lct/create", &lct).await.status, 409);
    for (file, bytes) in common::files(world.dir.path()) {
        assert!(!bytes.windows(64).any(|w| w == half.as_bytes()), "{}", file.display());
    }
    world.advance(86_401_000);
    let much_later = with_key(&world, "k0", path, &wish).await;
    assert_ne!(much_later.body, first.body, "a day later it is another wish");
    for bad in ["", "é", &"x".repeat(129)] {
        let request =
            world.http.post(format!("{}{path}", world.address)).header("idempotency-key", bad.as_bytes());
        let answer = world.send(request.header("content-type", "application/json").body("{}")).await;
        assert_eq!(answer.problem().code, "W4_ERR_PROTO_FORMAT", "{bad}");
    }
}

/// An answer that the client has is not sent again; one that changed is.
#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_answer_has_no_body() {
    let world = World::new().await;
    let pack = world.factory.device(PACK, Role::Pack);
    world.register(&pack).await;
    let path = format!("{}/api/v1/components/{PACK}", world.address);
    // The answer names its height, and one more block comes by itself after the registration's.
    let mut tag = String::new();
    for _ in 0..500 {
        let answer = world.send(world.http.get(&path)).await;
        let last = std::mem::replace(&mut tag, answer.header("etag").unwrap().to_owned());
        if world.chain.tip().height == 2 && last == tag {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for known in [tag.clone(), format!("W/{tag}"), format!("\"00\", {tag}"), "*".into()] {
        let again = world.send(world.http.get(&path).header("if-none-match", known)).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    withdraw(&world, &pack).await;
    let changed = world.send(world.http.get(&path).header("if-none-match", &tag)).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    let refused = world.send(world.http.get(format!("{path}x")).header("if-none-match", "*")).await;
    assert_eq!((refused.status, refused.header("etag")), (404, None));
}

/// Something that shows in what the ledger holds of a component: an operator withdraws it.
async fn withdraw(world: &World, device: &Device) {
    let revoked =
        world.revoke(lct::revocation::Subject::Component(device.cid), lct::revocation::Reason::Lost).await;
    let _list: Value = revoked.json();
}
