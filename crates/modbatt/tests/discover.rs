//! `modbatt discover` and `modbatt witness` on a running installation, and on one that does not run.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::time::{Duration, Instant};

use api::binding::{Begin, Party};
use api::entity::GenerateKeys;
use lct::binding::BindRequest;
use process::{run, start};

/// The authority's requests, brought over HTTP to the app's host: the app answers itself, the module over the buses, each with a
/// key that its identity vouches for. Nobody else's request gets one, and no name that is not of this pack.
fn keys_over_http(bridge: &str, host: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let [bridge, host] = [bridge, host].map(|url| api::Client::new(url).unwrap());
        let party = |id: &str| Party { component_id: id.into(), access: format!("can:{id}") };
        let (a, b) = (party("app-0001"), party("module-0001"));
        let begin = Begin { creator: "test".into(), a, b, assurance: "B1".into() };
        let begun = bridge.begin_binding(&begin).await.unwrap();
        let authority =
            lct::spk::Spk::from_slice(&bridge.authority().await.unwrap().spk.0).unwrap().sign_pub();
        let asked = [("app-0001", &begun.requests.a), ("module-0001", &begun.requests.b)];
        for (id, request) in asked {
            let component_id = id.to_owned();
            let keys = GenerateKeys { component_id: component_id.clone(), request: request.clone() };
            let drawn = host.generate_keys(&keys).await.unwrap();
            assert_eq!(host.generate_keys(&keys).await.unwrap().semi_public_key, drawn.semi_public_key);
            let wanted = BindRequest::open(&request.0, &authority).unwrap();
            assert_eq!(drawn.binding_id.0, wanted.binding_id.0, "{id}");
            let identity = bridge.component(id).await.unwrap().device_key.0;
            let ((cid, role), partner) = (wanted.own, wanted.partner.0);
            let vouched = [
                b"modbatt1 spk-attest".as_slice(),
                &cid.0,
                &[role as u8],
                &drawn.semi_public_key.0,
                &partner.0,
                &wanted.nonce,
            ];
            let attestation = lct::sign::Signature(drawn.attestation.0);
            lct::sign::PublicKey(identity).verify(&lct::hash::sha256(&vouched), &attestation).unwrap();
            assert!(drawn.replaces.is_some(), "{id} is bound already, and asks for leave");
            let mut forged = keys.clone();
            forged.request.0[20] ^= 1;
            let refused = host.generate_keys(&forged).await.unwrap_err();
            assert_eq!(refused.code(), Some("W4_ERR_BINDING_PROOF_FAIL"), "{id}: {refused}");
            let elsewhere = GenerateKeys { component_id: "pack-0001".into(), ..keys.clone() };
            let refused = host.generate_keys(&elsewhere).await.unwrap_err();
            assert_eq!(refused.code(), Some("W4_ERR_BINDING_INVALID"), "{id}: {refused}");
            let stranger = GenerateKeys { component_id: "module-0009".into(), ..keys };
            let refused = host.generate_keys(&stranger).await.unwrap_err();
            assert_eq!(refused.code(), Some("W4_ERR_COMPONENT_NOT_FOUND"), "{id}: {refused}");
        }
    });
}

#[test]
fn parts_are_found_where_they_say_and_answer_there() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let mut demo = start(&["demo", "--modules", "1", "--data-dir", data, "--speed", "20", "--json"]);
    demo.wait_ready();
    // The first announces reach the ledger soon after the channels are up.
    let patience = Instant::now() + Duration::from_secs(60);
    for (id, protocol, endpoint) in
        [("app-0001", "http", None), ("pack-0001", "can", Some("can1")), ("module-0001", "can", Some("can2"))]
    {
        let found = loop {
            let found = run(&["discover", id, "--data-dir", data, "--json"]);
            if found.code == Some(0) {
                break found.json();
            }
            assert!(Instant::now() < patience, "{id}: {}{}", found.out, found.err);
        };
        assert_eq!(
            (found["access"]["protocol"].as_str(), found["answers"].as_bool()),
            (Some(protocol), Some(true))
        );
        if let Some(endpoint) = endpoint {
            assert_eq!(found["access"]["endpoint"], endpoint, "{id}");
        }
    }
    let words = run(&["discover", "module-0001", "--data-dir", data]).good().out.clone();
    assert!(words.starts_with("module-0001: active; found over can at can2, device 1 "), "{words}");
    let stranger = run(&["discover", "module-0009", "--data-dir", data]);
    assert_eq!(stranger.code, Some(1));
    stranger.fails_at_once("a name that the ledger does not know", &["not registered"]);

    let stated = run(&["witness", "pack-0001", "--data-dir", data, "--json"]).good().json();
    let all = stated["statements"].as_array().unwrap();
    let seen =
        |event: &str| all.iter().find(|s| s["event"] == event).map(|s| s["witnesses"].as_u64().unwrap());
    assert_eq!((seen("announce"), seen("state_change")), (Some(0), Some(1)), "{stated}");
    assert_eq!((seen("binding_establishment"), seen("pairing_completion")), (Some(0), Some(0)));

    let app = run(&["discover", "app-0001", "--data-dir", data, "--json"]).good().json();
    let runs: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("run.json")).unwrap()).unwrap();
    keys_over_http(runs["url"].as_str().unwrap(), app["access"]["endpoint"].as_str().unwrap());

    demo.interrupt();
    assert_eq!(demo.wait().code, Some(0));
    // At rest the ledger is read from disk, and nobody can be asked.
    let words = run(&["witness", "module-0001", "--data-dir", data]).good().out.clone();
    assert!(words.contains("state_change (level 2, seen by one other part)"), "{words}");
    let asked = run(&["discover", "module-0001", "--data-dir", data]);
    asked.fails_at_once("nothing runs", &["nothing runs on"]);
    let account = run(&["energy", "show", "pack-0001", "--data-dir", data, "--json"]).good().json();
    let mwh = |name: &str| account[name].as_u64().unwrap();
    assert_eq!(mwh("atp_mwh") + mwh("adp_mwh") + mwh("locked_mwh"), mwh("minted_mwh"));
    assert!(mwh("atp_mwh") > 0 && account["offers"].as_array().unwrap().is_empty(), "{account}");
    let none = run(&["energy", "show", "module-0001", "--data-dir", data]);
    none.fails_at_once("a module", &["no energy account"]);
    let unknown = run(&["witness", "module-0009", "--data-dir", data]);
    unknown.fails_at_once("unknown", &["not registered"]);
}
