//! `modbatt discover` and `modbatt witness` on a running installation, and on one that does not run.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::time::{Duration, Instant};

use process::{run, start};

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
