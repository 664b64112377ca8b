//! `modbatt announce` and `modbatt validate` at every level, on an installation that runs.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use process::{run, start};

/// Each level is stated by the sides whose word it is, recorded, and proved by the receipt that the command wrote.
#[test]
fn every_level_is_stated_recorded_and_proved() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let modbatt = |command: &str, args: &[&str]| run(&[&[command, "--data-dir", data], args].concat());
    let mut demo = start(&["demo", "--modules", "2", "--data-dir", data, "--speed", "10", "--json"]);
    demo.wait_ready();
    let trust = dir.join("genesis.json");
    let trust = trust.to_str().unwrap();

    let (app, pack, module) = ("app-0001", "pack-0001", "module-0002");
    let upper: &[&str] = &[app, pack];
    let lower: &[&str] = &[pack, module];
    let cases: [(&str, &[&str], &str, &[&str]); 10] = [
        ("1", &[module], "announce", &[module]),
        ("2", lower, "state_change", lower),
        ("3", upper, "signed_handshake", upper),
        ("3", lower, "signed_handshake", lower),
        ("4", upper, "paired_handshake", &[pack]),
        ("4", &[module], "paired_handshake", &[module]),
        ("5", upper, "paired_command", &[app]),
        ("5", lower, "paired_command", &[pack]),
        ("6", lower, "pairing_completion", lower),
        ("7", lower, "binding_verification", lower),
    ];
    for (level, who, event, by) in cases {
        let said = modbatt("validate", &[&[level], who, &["--json"]].concat()).good().json();
        let stated = said["statements"].as_array().unwrap();
        let mut signers: Vec<&str> = stated.iter().map(|s| s["component_id"].as_str().unwrap()).collect();
        let mut by = by.to_vec();
        signers.sort_unstable();
        by.sort_unstable();
        assert_eq!(signers, by, "level {level} of {who:?}: {said}");
        for one in stated {
            assert_eq!(
                (&one["event"], &one["level"]),
                (&event.into(), &level.parse::<u64>().unwrap().into())
            );
            let proved = run(&["verify", one["receipt"].as_str().unwrap(), "--trust", trust, "--json"]);
            let proved = proved.good().json();
            assert_eq!(
                (&proved["result"], &proved["transaction"]),
                (&"proved".into(), &one["txhash"]),
                "level {level}: {proved}"
            );
            let witnesses = proved["statement"]["witnesses"].as_array().map_or(0, Vec::len);
            assert_eq!(witnesses, usize::from(level == "2"), "{proved}");
        }
    }
    let words = modbatt("announce", &[app]).good().out.clone();
    assert!(words.starts_with("app-0001: announce (level 1), start 1 number "), "{words}");
    let unseen = modbatt("validate", &["2", app]);
    assert_eq!(unseen.code, Some(1));
    let words = "app-0001 did not validate at level 2: nobody is the witness of an app";
    assert!(unseen.out.starts_with(words), "{}", unseen.out);
    modbatt("validate", &["7", app, module]).fails_at_once("not bound", &["W4_ERR_PAIRING_DENIED"]);
    modbatt("validate", &["8", app]).fails("no such level", &["1..=7"]);
    modbatt("announce", &["module-0009"]).fails_at_once("a stranger", &["W4_ERR_COMPONENT_NOT_FOUND"]);
    modbatt("check", &[]).good();
    demo.interrupt();
    let ended = demo.wait();
    assert_eq!(ended.good().json()["refused_jobs"], 0, "{}", ended.err);
}
