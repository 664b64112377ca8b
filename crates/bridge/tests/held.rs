//! Components for which the bridge speaks, where switches let it (A161, A162): clients whose components exist nowhere else.

use crate::{
    common::{self, Answer, World},
    compat::{ask, good, refused},
};

use bridge::compat::{Allow, Profile};
use serde_json::Value;

const ALL: Allow = Allow { clear_key_halves: true, unknown_creators: true, pairing_without_proofs: true };

/// Client (d), unchanged, with every switch on: its components were never registered, and it wants both halves of their key.
#[tokio::test(flavor = "multi_thread")]
async fn the_python_encryption_demo_runs_with_its_switches() {
    let world = World::speaking(Profile::Legacy, ALL).await;
    let lct = r#"{"creator": "demo-user", "component_a": "battery-module-001", "component_b": "motor-controller-001", "context": "race_car", "proxy_id": "proxy-001"}"#;
    let made = good(&world, "POST", "/lct/create", lct).await;
    assert_eq!((made["state"].as_str(), made["proxy_id"].as_str()), (Some("active"), Some("proxy-001")));
    let initiate = r#"{"creator": "demo-user", "component_a": "battery-module-001", "component_b": "motor-controller-001", "operational_context": "race_car", "proxy_id": "proxy-001", "force_immediate": true}"#;
    let challenge = good(&world, "POST", "/pairing/initiate", initiate).await;
    let id = challenge["challenge_id"].as_str().unwrap();
    let status = format!("/pairing/status/{id}");
    assert_eq!(good(&world, "GET", &status, "").await["status"], "pending");
    let complete = format!(
        r#"{{"creator": "demo-user", "challenge_id": "{id}", "component_a_auth": "auth-a", "component_b_auth": "auth-b", "session_context": "race_car"}}"#
    );
    // Another creator has no say over them, and completes nothing that it did not ask for.
    let denied = "W4_ERR_CREATOR_DENIED";
    let by_other = |body: &str| body.replace("demo-user", "somebody-else");
    refused(&world, "POST", "/lct/create", &by_other(lct), 403, denied).await;
    refused(&world, "POST", "/pairing/initiate", &by_other(initiate), 403, denied).await;
    refused(&world, "POST", "/pairing/complete", &by_other(&complete), 403, denied).await;
    let answer: Answer = ask(&world, "POST", "/pairing/complete", &complete).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let completed: Value = answer.json();
    let halves = ["split_key_a", "split_key_b"].map(|name| completed[name].as_str().unwrap().to_owned());
    for half in &halves {
        assert!(half.len() == 64 && half.bytes().all(|c| c.is_ascii_hexdigit()), "{completed}");
    }
    assert_ne!(halves[0], halves[1]);
    assert!(completed["tx_hash"].is_string());
    assert_eq!(completed["lct_id"], made["lct_id"]);
    assert_eq!(good(&world, "GET", &status, "").await["status"], "completed");
    let again = good(&world, "POST", "/pairing/complete", &complete).await;
    assert!(again.get("split_key_a").is_none() && again["tx_hash"] == completed["tx_hash"], "once: {again}");
    for (path, bytes) in common::files(world.dir.path()) {
        for half in &halves {
            let raw = hex::decode(half).unwrap();
            assert!(!bytes.windows(32).any(|w| w == raw), "{}", path.display());
            assert!(!bytes.windows(64).any(|w| w == half.as_bytes()), "{}", path.display());
        }
    }
    // What the bridge made stands on the ledger like anything else: the pairing, its trust, and its end.
    let pair = r#"{"creator":"demo-user","component_a":"battery-module-001","component_b":"motor-controller-001","context":"race_car"}"#;
    let trust = good(&world, "POST", "/trust/create", pair).await;
    assert!(trust["score"].is_number());
    let revoke = format!(
        r#"{{"creator":"demo-user","lct_id":"{}","reason":"done"}}"#,
        made["lct_id"].as_str().unwrap()
    );
    assert_eq!(good(&world, "POST", "/pairing/revoke", &revoke).await["state"], "revoked");
    refused(&world, "POST", "/pairing/revoke", &revoke, 404, "W4_ERR_PAIRING_NOT_FOUND").await;
}

/// The Windows utility with a workshop of made-up parts; each switch is needed for its part, and none reaches real components.
#[tokio::test(flavor = "multi_thread")]
async fn each_switch_opens_its_own_door() {
    let allow = Allow { pairing_without_proofs: false, ..ALL };
    let mut world = World::speaking(Profile::ModbattWin, allow).await;
    let register = |id: &str, context: &str| {
        format!(r#"{{"creator":"alice","component_data":"{id}","context":"{context}"}}"#)
    };
    let mut ids = Vec::new();
    for (id, context, role) in [
        ("MODBATT-PACK-RC001-A", "battery_pack_demo", "pack"),
        ("MODBATT-MOD-RC001-001", "battery_module_demo", "module"),
        ("MODBATT-HOST-RC001", "host_system_demo", "app"),
    ] {
        let path = "/api/v1/components/register";
        let made = good(&world, "POST", path, &register(id, context)).await;
        assert_eq!(
            (made["status"].as_str(), made["component_type"].as_str()),
            (Some("registered"), Some(role))
        );
        let component_id = made["component_id"].as_str().unwrap();
        assert!(component_id.starts_with("comp_") && component_id.len() <= 64);
        assert_eq!(good(&world, "POST", path, &register(id, context)).await, made, "the same again");
        ids.push(component_id.to_owned());
    }
    let lct = format!(
        r#"{{"creator":"alice","component_a":"{}","component_b":"{}","context":"x"}}"#,
        ids[2], ids[0]
    );
    refused(&world, "POST", "/api/v1/lct/create", &lct, 403, "W4_ERR_SWITCHED_OFF").await;
    // Nothing is made up for what is refused.
    let missing = r#"{"creator":"alice","component_a":"host-0009","component_b":"pack-0009","context":"x"}"#;
    refused(&world, "POST", "/api/v1/lct/create", missing, 403, "W4_ERR_SWITCHED_OFF").await;
    for id in ["host-0009", "pack-0009"] {
        let path = format!("/api/v1/components/{id}");
        refused(&world, "GET", &path, "", 404, "W4_ERR_COMPONENT_NOT_FOUND").await;
    }
    world.compat = Some((Profile::ModbattWin, ALL));
    world.restart().await;
    let made = good(&world, "POST", "/api/v1/lct/create", &lct).await;
    assert_eq!(made["status"], "active");

    // A component with a key of its own: the bridge has no say over it.
    let pack = world.factory.device("pack-0001", lct::id::Role::Pack);
    world.register(&pack).await;
    let mixed = format!(
        r#"{{"creator":"alice","component_a":"{}","component_b":"pack-0001","operational_context":"x"}}"#,
        ids[2]
    );
    let challenge = good(&world, "POST", "/api/v1/pairing/initiate", &mixed).await;
    assert_eq!(world.client.orders().await.unwrap().orders.len(), 1, "an order for its gateway: {challenge}");

    // Without the switch the bridge neither makes components up nor speaks for those that it made.
    world.speaks = false;
    world.restart().await;
    refused(
        &world,
        "POST",
        "/api/v1/components/register",
        &register("other", "x"),
        404,
        "W4_ERR_COMPONENT_NOT_FOUND",
    )
    .await;
    let pair = format!(
        r#"{{"creator":"alice","component_a":"{}","component_b":"{}","operational_context":"x"}}"#,
        ids[2], ids[0]
    );
    let challenge = good(&world, "POST", "/api/v1/pairing/initiate", &pair).await;
    assert_eq!(challenge["state"], "pending");
    assert_eq!(world.client.orders().await.unwrap().orders.len(), 2);
}
