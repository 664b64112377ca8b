//! A technician asks how an installation stands, and whether that is what the ledger has.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::time::{Duration, Instant};

use process::{run, start};
use serde_json::Value;

/// What does not hold, by name, with the reason.
fn wrong(status: &Value) -> Vec<(String, String)> {
    let items = status["verify"]["items"].as_array().unwrap().iter().filter(|item| item["holds"] == false);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    items.map(|item| (text(&item["name"]), text(&item["found"]))).collect()
}

#[test]
fn every_relationship_is_held_against_the_ledger() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let modbatt = |command: &str, args: &[&str]| run(&[&[command, "--data-dir", data], args].concat());
    let mut demo = start(&["demo", "--modules", "2", "--data-dir", data, "--speed", "10", "--json"]);
    demo.wait_ready();
    // What devices wrote last is on its way for a moment.
    let until = |what: &str, expected: &[(&str, &str)]| {
        let patience = Instant::now() + Duration::from_secs(40);
        loop {
            let status = modbatt("status", &["--verify", "--json"]);
            let (code, status) = (status.code, status.json());
            let found = wrong(&status);
            let same = |((name, found), (expected, part)): (&(String, String), &(&str, &str))| {
                name == expected && found.contains(part)
            };
            if found.len() == expected.len() && found.iter().zip(expected).all(same) {
                assert_eq!(code, Some(i32::from(!expected.is_empty())), "{what}");
                return status;
            }
            assert!(Instant::now() < patience, "{what}: {found:?}");
        }
    };
    let status = until("commissioned", &[]);
    let rows = status["components"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for (row, above) in rows.iter().zip([None, Some("pack-0001"), Some("pack-0001"), Some("app-0001")]) {
        assert_eq!(row["status"], "active", "{row}");
        assert_eq!(row["bound_to"].as_str(), above, "{row}");
        if above.is_some() {
            assert_eq!((&row["binding"], &row["channel"]), (&"active".into(), &"open".into()), "{row}");
            assert!(row["lease_left_s"].as_u64().unwrap() > 80 * 86_400, "{row}");
            assert!(row["epoch"].is_u64() && row["pairing_id"].is_string(), "{row}");
        }
        assert!(row["last_event"].is_string(), "{row}");
    }

    // Everybody's word was brought, by itself: the authority's, the pack's, the manufacturer's.
    let stated =
        status["verify"]["items"].as_array().unwrap().iter().filter(|item| item["area"] == "context");
    assert_eq!(stated.count(), 4, "{status}");
    let file = dir.join("contexts/module-0001-profile.mbcontext");
    let again = ["factory", "record", file.to_str().unwrap(), "--data-dir", data];
    run(&again).fails_at_once("recorded before", &["W4_ERR_LCT_SEQUENCE"]);

    modbatt("unpair", &["pack-0001", "module-0002"]).good();
    let status = until("unpaired", &[("pack-0001 and module-0002", "they are not paired")]);
    assert_eq!(status["components"][2]["channel"], "closed", "{status}");
    let words = modbatt("status", &[]);
    let line = words.good().out.lines().find(|line| line.starts_with("module-0002")).unwrap().to_owned();
    assert!(
        line.contains("bound to pack-0001 (B1), not paired") && line.contains("channel closed"),
        "{line}"
    );
    modbatt("pair", &["pack-0001", "module-0002"]).good();
    until("paired again", &[]);

    modbatt("revoke", &["--component", "module-0001", "--reason", "lost"]).good();
    let part = "the ledger withdrew module-0001; the LCT of module-0001 is terminated; the ledger withdrew their binding";
    let status = until("revoked", &[("pack-0001 and module-0001", part)]);
    let unseen = "pack-0001 sees module-0001 as a witness only: no binding or pairing links them";
    assert!(wrong(&status)[0].1.contains(unseen), "{status}");
    demo.interrupt();
    demo.wait().good();
    modbatt("status", &[]).fails_at_once("at rest", &["nothing runs"]);
}
