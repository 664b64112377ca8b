//! A technician revokes a module of a running pack.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::time::{Duration, Instant};

use process::{run, start};
use serde_json::Value;

/// Names of what does not hold.
fn failing(report: &Value) -> Vec<String> {
    let items = report["items"].as_array().unwrap().iter().filter(|i| i["holds"] == false);
    items.map(|i| format!("{} {}", i["area"].as_str().unwrap(), i["name"].as_str().unwrap())).collect()
}

#[test]
fn a_revoked_module_is_out_within_seconds_and_stays_out() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let revoke = |more: &[&str]| run(&[&["revoke", "--data-dir", data], more].concat());
    let mut demo = start(&["demo", "--modules", "3", "--data-dir", data, "--speed", "10", "--json"]);
    demo.wait_ready();
    revoke(&["--component", "module-0009"]).fails_at_once("unknown", &["W4_ERR_COMPONENT_NOT_FOUND"]);
    revoke(&["--component", "module-0002", "--reason", "stolen"]).fails("reason", &["key_compromise"]);
    let done = revoke(&["--component", "module-0002", "--reason", "lost", "--json"]).good().json();
    assert_eq!(
        (&done["type"], &done["number"], &done["entries"]),
        (&"component".into(), &2.into(), &1.into())
    );
    let height = done["height"].as_u64().unwrap();
    let again = revoke(&["--component", "module-0002", "--json"]).good().json();
    assert_eq!((&again["number"], &again["height"]), (&2.into(), &height.into()), "nothing is revoked twice");
    let words = revoke(&["--component", "module-0002"]);
    let expected =
        format!("is revoked by list 2, which has 1 entries; the ledger holds it since block {height}\n");
    assert!(words.good().out.ends_with(&expected), "{}", words.out);

    let expected = [
        "channel module-0002, exchange tier",
        "channel module-0002, pairing tier",
        "channel module-0002, binding tier",
        "ledger module-0002",
        "revocation module-0002",
    ];
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let check = run(&["check", "--data-dir", data, "--json"]);
        let named = failing(&check.json());
        assert_eq!(check.code, Some(1), "{}{}", check.out, check.err);
        if named == expected {
            break;
        }
        assert!(Instant::now() < patience, "{named:?}");
    }
    demo.interrupt();
    demo.wait().good();

    // The pack's own log says what it did, and who stays got a new group key.
    let log = |name: &str| run(&["audit", "show", dir.join(format!("audit/{name}.log")).to_str().unwrap()]);
    let of_pack = log("pack-0001");
    assert!(of_pack.good().out.contains("peer revoked"), "{}", of_pack.out);
    for name in ["app-0001", "pack-0001", "module-0001", "module-0003"] {
        let log = log(name);
        assert!(log.good().out.contains("revocation list"), "{name}: {}", log.out);
    }
    let verified = run(&["audit", "verify", data]);
    verified.good();

    let mut demo = start(&["demo", "--data-dir", data, "--speed", "10", "--json"]);
    demo.wait_ready();
    demo.interrupt();
    demo.wait().good();
    revoke(&["--component", "module-0001"]).fails_at_once("at rest", &["nothing runs"]);
}
