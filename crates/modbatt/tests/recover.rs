//! Keys that cannot be read any more: an operator has whoever lost them bound and paired anew, through to the ledger.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::path::Path;
use std::time::{Duration, Instant};

use process::{Ended, run, start, stop};

/// How many receipts are of this kind.
fn receipts(dir: &Path, kind: &str) -> usize {
    let names = std::fs::read_dir(dir.join("receipts")).unwrap();
    names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(kind)).count()
}

#[test]
fn whoever_lost_its_keys_gets_new_ones() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let modbatt = |command: &str, args: &[&str]| run(&[&[command, "--data-dir", data], args].concat());
    let demo = |more: &[&str]| {
        start(&[&["demo", "--data-dir", data, "--speed", "10", "--json", "--modules", "2"], more].concat())
    };
    // What devices wrote last is on its way for a moment.
    let holds = || -> Ended {
        let patience = Instant::now() + Duration::from_secs(40);
        loop {
            let status = modbatt("status", &["--verify"]);
            if status.code == Some(0) || Instant::now() > patience {
                return status;
            }
        }
    };
    let mut running = demo(&[]);
    running.wait_ready();
    stop(running);
    assert_eq!(receipts(&dir, "binding-"), 3);

    // A module: the pack, which knows the binding, tells the ledger that another one takes its place.
    let mut running = demo(&["--lose-keys", "module-0001"]);
    running.wait_ready();
    assert!(running.said().contains("module-0001 cannot read its keys: `modbatt recover module-0001`"));
    let line = |id: &str| {
        let status = modbatt("status", &[]);
        status.good().out.lines().find(|line| line.starts_with(id)).unwrap().to_owned()
    };
    assert!(line("module-0001").contains("; key-lost"), "{}", line("module-0001"));
    // The order that waits already is the one that is waited for.
    let placed = modbatt("bind", &["pack-0001", "module-0001", "--wait", "0", "--json"]).good().json();
    let picked = modbatt("bind", &["pack-0001", "module-0001", "--json"]).good().json();
    assert_eq!((&picked["id"], &picked["state"]), (&placed["id"], &"done".into()), "{picked}");
    assert!(picked["binding_id"].is_string(), "{picked}");
    assert!(!line("module-0001").contains("key-lost"), "{}", line("module-0001"));
    holds().good();
    // A recovery that was cut off after the first of two goes on with the second, here of a pack that has its keys.
    let row = modbatt("status", &["--json"]).good().json()["components"][2].clone();
    assert_eq!(row["component_id"], "module-0002");
    let plan = format!(
        r#"{{"format":1,"pairs":[{{"a":"pack-0001","b":"module-0001","before":"{}"}},
            {{"a":"pack-0001","b":"module-0002","before":{}}}]}}"#,
        "00".repeat(16),
        row["binding_id"]
    );
    std::fs::write(dir.join("recover-pack-0001.json"), plan).unwrap();
    let went_on = modbatt("recover", &["pack-0001", "--json"]).good().json();
    assert_eq!((&went_on["recovered"], &went_on["orders"][0]["b"]), (&true.into(), &"module-0002".into()));
    assert_eq!(went_on["orders"].as_array().unwrap().len(), 1, "{went_on}");
    modbatt("bind", &["module-0001", "pack-0001"]).fails_at_once("order", &["W4_ERR_BINDING_INVALID"]);
    modbatt("bind", &["pack-0001", "module-0009"]).fails_at_once("nobody", &["W4_ERR_COMPONENT_NOT_FOUND"]);
    holds().good();
    stop(running);
    assert_eq!((receipts(&dir, "binding-"), receipts(&dir, "revoked-")), (5, 0));

    // Both sides of a binding, and all that the pack is bound with: where nobody knows it any more the authority
    // withdraws the binding first.
    let mut running = demo(&["--lose-keys", "module-0001"]);
    running.wait_ready();
    stop(running);
    let mut running = demo(&["--lose-keys", "pack-0001"]);
    running.wait_for("its keys", |_, err| err.contains("pack-0001 cannot read its keys"));
    let recovered = modbatt("recover", &["pack-0001", "--json"]).good().json();
    assert_eq!((&recovered["recovered"], &recovered["left"]), (&true.into(), &0.into()), "{recovered}");
    assert_eq!(recovered["orders"].as_array().unwrap().len(), 3, "{recovered}");
    running.wait_ready();
    holds().good();
    modbatt("check", &[]).good();
    stop(running);
    assert_eq!((receipts(&dir, "binding-"), receipts(&dir, "revoked-2-")), (8, 1));

    // A start finds everything as it was left.
    let mut running = demo(&[]);
    running.wait_ready();
    assert!(!running.said().contains("cannot read"), "{}", running.said());
    stop(running);
    run(&["audit", "verify", data]).good();
    modbatt("recover", &["pack-0001"]).fails_at_once("at rest", &["nothing runs"]);
}
