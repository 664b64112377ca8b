//! `modbatt demo --bootstrap` as a user and a script see it.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::path::Path;

use process::{Ended, run, start};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One module, as fast as the machine allows, Ctrl-C as soon as it is operational.
fn demo(dir: &Path, more: &[&str]) -> Ended {
    let fixed = ["demo", "--headless", "--modules", "1", "--speed", "max", "--json", "--data-dir", text(dir)];
    let mut running = start(&[&fixed, more].concat());
    running.wait_ready();
    running.interrupt();
    running.wait()
}

#[test]
fn every_mode_ends_operational_with_its_assurance_on_the_ledger() {
    for (mode, assurance) in [("b0", "B0"), ("b1", "B1"), ("b2", "B2"), ("b1+b2", "B1+B2")] {
        let dir = tempfile::tempdir().unwrap();
        let ended = demo(dir.path(), &["--bootstrap", mode]);
        let line = ended.good().json();
        assert_eq!(line["assurance"], assurance, "{mode}");
        assert_eq!(line["frames_clear_after_pairing"], 0, "{mode}");
        assert_eq!(line["open_failures"], 0, "{mode}");
        let digits = |who: &str| {
            let line = ended.err.lines().find(|l| l.starts_with(who));
            line.map(|l| l.rsplit("digits ").next().unwrap().to_owned())
        };
        let shown = [digits("the app shows"), digits("the pack shows")];
        assert_eq!(shown[0], shown[1], "{mode}");
        assert_eq!(shown[0].is_some(), mode == "b0", "{mode}");
        assert_eq!(ended.err.contains("WARNING"), mode == "b0", "{mode}");
        // A second run goes on with the same binding, whatever it is told.
        let again = demo(dir.path(), &[]);
        assert_eq!(again.good().json()["assurance"], assurance, "{mode}");
        assert!(!again.err.contains("digits"), "{mode}: {}", again.err);
    }
}

#[test]
fn a_wrong_code_ends_with_a_sentence_and_the_right_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let args = |code| {
        let fixed =
            ["demo", "--headless", "--modules", "1", "--speed", "max", "--data-dir", text(dir.path())];
        [&fixed[..], &["--bootstrap", "b2", "--code", code]].concat()
    };
    let wrong = run(&args("7Z3K-9QXM-20AB-R"));
    wrong.fails("wrong code", &["does not fit this pack", "label"]);
    assert_eq!(wrong.code, Some(1));
    let mistyped = run(&args("7Z3K-9QXM-20AB-S"));
    mistyped.fails("mistyped code", &["--code"]);
    assert_eq!(mistyped.code, Some(2));
    let label = fs::read_to_string(dir.path().join("keys/label-pack-0001")).unwrap();
    let ended = demo(dir.path(), &["--bootstrap", "b2", "--code", &label.trim().to_lowercase()]);
    assert_eq!(ended.good().json()["assurance"], "B2");
}

#[test]
fn a_code_that_nobody_asks_for_is_a_wrong_argument() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(&["demo", "--headless", "--data-dir", text(dir.path()), "--code", "7Z3K-9QXM-20AB-R"]);
    assert_eq!(ended.code, Some(2));
    ended.fails("code without b2", &["--code", "--bootstrap"]);
}
