//! `modbatt check` on an installation that rests, that runs, and that lost something.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::path::Path;

use process::{Ended, run, start};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn check(dir: &Path) -> Ended {
    run(&["check", "--data-dir", text(dir), "--json"])
}

/// Names of what does not hold.
fn failing(report: &Value) -> Vec<String> {
    let items = report["items"].as_array().unwrap().iter().filter(|i| i["holds"] == false);
    items.map(|i| format!("{} {}", i["area"].as_str().unwrap(), i["name"].as_str().unwrap())).collect()
}

fn areas(report: &Value, area: &str) -> usize {
    report["items"].as_array().unwrap().iter().filter(|i| i["area"] == area).count()
}

#[test]
fn what_rests_and_what_runs_is_checked_and_what_was_lost_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let mut demo = start(&["demo", "--modules", "2", "--data-dir", text(&dir), "--speed", "20"]);
    demo.wait_ready();
    let running = check(&dir);
    let report = running.good().json();
    assert_eq!(failing(&report), Vec::<String>::new());
    // The app, the pack and two modules; three tiers of the pack and of each module.
    assert_eq!((areas(&report, "keys"), areas(&report, "channel"), areas(&report, "ledger")), (4, 9, 4));
    assert_eq!(areas(&report, "audit"), 4);
    let again = check(&dir).good().json();
    assert!(again["time_ms"].as_u64() > report["time_ms"].as_u64(), "each asking gets its own report");
    demo.interrupt();
    demo.wait().good();

    let resting = check(&dir);
    assert_eq!(failing(&resting.good().json()), Vec::<String>::new());
    let words = run(&["check", "--data-dir", text(&dir)]);
    assert!(words.good().out.ends_with("everything holds\n"), "{}", words.out);
    assert!(!dir.join("run.json").exists(), "the directory is free again");

    // A module whose flash was erased has neither binding nor pairing: its channels are closed, and only they.
    fs::remove_file(dir.join("flash/module-0002.flash")).unwrap();
    let lost = check(&dir);
    assert_eq!(lost.code, Some(1), "{}{}", lost.out, lost.err);
    let named = failing(&lost.json());
    let tiers = ["exchange", "pairing", "binding"].map(|tier| format!("channel module-0002, {tier} tier"));
    assert_eq!(named, tiers);
}

#[test]
fn a_wrong_folder_gets_one_sentence() {
    let temp = tempfile::tempdir().unwrap();
    let nothing = temp.path().join("nothing");
    check(&nothing).fails_at_once("no folder", &["there is no data directory"]);
    assert!(!nothing.exists());
}
