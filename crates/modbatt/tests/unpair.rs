//! An operator ends pairings of a running pack, renews its keys, and pairs again.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::path::Path;

use process::{run, start};

/// How often an entry of this kind is in the log of a component.
fn logged(dir: &Path, name: &str, what: &str) -> usize {
    let log = run(&["audit", "show", dir.join(format!("audit/{name}.log")).to_str().unwrap()]);
    log.good().out.matches(what).count()
}

#[test]
fn what_is_ended_stays_ended_until_somebody_pairs_again() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let modbatt = |command: &str, args: &[&str]| run(&[&[command, "--data-dir", data], args].concat());
    let demo = ["demo", "--data-dir", data, "--speed", "10", "--json"];
    let mut running = start(&[&demo[..], &["--modules", "2"]].concat());
    running.wait_ready();

    let renewed = modbatt("rotate", &["app-0001", "pack-0001"]);
    assert_eq!(renewed.good().out, "app-0001 and pack-0001 renewed the keys of their channel\n");
    modbatt("rotate", &["pack-0001", "module-0002", "--epoch"]).good();
    let agreed = modbatt("rotate", &["pack-0001", "module-0002", "--agreement", "--json"]).good().json();
    assert_eq!((&agreed["task"], &agreed["state"]), (&"pair".into(), &"done".into()));
    modbatt("rotate", &["app-0001", "module-0001"]).fails_at_once("not bound", &["W4_ERR_PAIRING_DENIED"]);
    modbatt("rotate", &["app-0001", "pack-0001", "--epoch", "--agreement"])
        .fails("both", &["cannot be used with"]);

    // A module: the ledger hears of it by the statement of the pack.
    let ended = modbatt("unpair", &["pack-0001", "module-0001"]);
    let words = "pack-0001 and module-0001 are not paired any more, and still bound; the ledger holds it\n";
    assert_eq!(ended.good().out, words);
    for command in ["unpair", "rotate"] {
        modbatt(command, &["pack-0001", "module-0001"])
            .fails_at_once("no pairing", &["W4_ERR_PAIRING_NOT_FOUND", "not paired"]);
    }
    assert!(
        running.said().contains("pack-0001 ended its pairing with module-0001 (retired)"),
        "{}",
        running.said()
    );
    running.interrupt();
    running.wait().good();
    // What the ledger holds is the pack's own word, not that of the authority, which comes later where there is none.
    let receipts = std::fs::read_dir(dir.join("receipts")).unwrap();
    let names: Vec<String> =
        receipts.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let of = |what: &str| names.iter().filter(|name| name.starts_with(what)).count();
    assert_eq!((of("pairing_revocation-"), of("revoked-")), (1, 0), "{names:?}");
    assert_eq!(
        (logged(&dir, "pack-0001", "pairing ended"), logged(&dir, "module-0002", "  paired  ")),
        (1, 2)
    );

    // A start brings nothing back by itself; then app and pack.
    let mut running = start(&demo);
    running.wait_ready();
    let ended = modbatt("unpair", &["app-0001", "pack-0001", "--json"]).good().json();
    assert_eq!((&ended["state"], &ended["recorded"]), (&"done".into(), &true.into()), "{ended}");
    running.interrupt();
    running.wait().good();

    let mut running = start(&demo);
    running.wait_for("the wish for an order", |_, err| err.contains("`modbatt pair` pairs them"));
    modbatt("pair", &["app-0001", "pack-0001"]).good();
    running.wait_ready();
    modbatt("pair", &["pack-0001", "module-0001"]).good();
    modbatt("check", &[]).good();
    running.interrupt();
    let ended = running.wait();
    assert_eq!(ended.good().json()["refused_jobs"], 0, "{}", ended.err);
    run(&["audit", "verify", data]).good();
    modbatt("unpair", &["app-0001", "pack-0001"]).fails_at_once("at rest", &["nothing runs"]);
}
