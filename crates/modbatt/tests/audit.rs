//! Logs of devices against their anchors on the ledger: `modbatt audit verify`, `modbatt check`, receipts.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::{Ended, run, start};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One object per log.
fn objects(ended: &Ended) -> Vec<Value> {
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The file with everything behind entry `last` taken away, cut where a record ends.
fn cut_behind(log: &[u8], last: u64) -> Vec<u8> {
    let mut end = 21;
    while let Some(head) = log.get(end..end + 3) {
        let body = end + 3;
        let next = body + usize::from(u16::from_be_bytes([head[1], head[2]]));
        let number = log[body..body + 8].try_into().map(u64::from_be_bytes);
        if head[0] == 1 && number.unwrap() > last {
            break;
        }
        end = next;
    }
    log[..end].to_vec()
}

#[test]
fn a_log_that_is_cut_behind_its_anchor_is_found_out() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = text(&dir);
    let mut demo = start(&["demo", "--modules", "1", "--data-dir", data, "--speed", "20", "--json"]);
    demo.wait_ready();
    // While it runs the anchors are asked of the program; they reach the ledger soon after the channels are up.
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let ended = run(&["audit", "verify", data, "--json"]);
        let anchored = |log: &Value| log["anchored"].as_u64().is_some_and(|n| n > 0);
        if ended.code == Some(0) && objects(&ended).len() == 3 && objects(&ended).iter().all(anchored) {
            break;
        }
        assert!(Instant::now() < patience, "{:?}: {}{}", ended.code, ended.out, ended.err);
    }
    let report = run(&["check", "--data-dir", data, "--json"]).good().json();
    let audits: Vec<&Value> =
        report["items"].as_array().unwrap().iter().filter(|i| i["area"] == "audit").collect();
    assert_eq!(audits.len(), 3, "app, pack and module: {report}");
    assert!(audits.iter().all(|i| i["found"].as_str().unwrap().contains("anchor over")), "{audits:?}");
    demo.interrupt();
    let line = demo.wait().good().json();
    assert_eq!(line["refused_jobs"], 0, "every checkpoint was taken");

    let whole = run(&["audit", "verify", data]);
    assert_eq!(whole.good().out.lines().count(), 3, "{}", whole.out);
    // The receipt of an anchor is checked without the ledger.
    let receipts = fs::read_dir(dir.join("receipts")).unwrap().map(|f| f.unwrap().path());
    let of_log = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with("log-");
    let receipt = receipts.into_iter().find(of_log).expect("a receipt of an anchor");
    let trust = line["trust_file"].as_str().unwrap();
    let proved = run(&["verify", text(&receipt), "--trust", trust, "--json"]).good().json();
    assert_eq!((&proved["kind"], &proved["result"]), (&"audit/checkpoint".into(), &"proved".into()));
    assert!(proved["statement"]["entries"].as_u64().unwrap() > 0);
    let again = temp.path().join("again.receipt");
    let tx = proved["transaction"].as_str().unwrap();
    run(&["receipt", tx, "-o", text(&again), "--data-dir", data]).good();
    assert_eq!(fs::read(&again).unwrap(), fs::read(&receipt).unwrap());

    // Behind entry 2 everything is gone, the later checkpoints too: the file alone looks whole.
    let path = dir.join("audit/module-0001.log");
    let kept = fs::read(&path).unwrap();
    fs::write(&path, cut_behind(&kept, 2)).unwrap();
    let signers = text(&dir.join("audit/signers.json")).to_owned();
    let alone = run(&["audit", "verify", text(&path), "--trust", &signers]);
    assert!(alone.out.contains("entries 1 to 2 form one chain"), "{}", alone.out);
    for args in [&["audit", "verify", text(&path), "--data-dir", data][..], &["audit", "verify", data]] {
        let found = run(args);
        assert_eq!(found.code, Some(1), "{}{}", found.out, found.err);
        assert!(found.out.contains("NOT what the device wrote: cut behind entry 2"), "{}", found.out);
    }
    let checked = run(&["check", "--data-dir", data, "--json"]);
    assert_eq!(checked.code, Some(1), "{}{}", checked.out, checked.err);
    let failing: Vec<Value> =
        checked.json()["items"].as_array().unwrap().iter().filter(|i| i["holds"] == false).cloned().collect();
    assert_eq!(failing.len(), 1, "{failing:?}");
    assert_eq!((&failing[0]["area"], &failing[0]["name"]), (&"audit".into(), &"module-0001".into()));
    assert!(failing[0]["found"].as_str().unwrap().contains("cut behind entry 2"), "{failing:?}");

    fs::remove_file(&path).unwrap();
    let gone = run(&["audit", "verify", data]);
    assert_eq!(gone.code, Some(1), "{}", gone.out);
    assert!(gone.out.contains("no log goes with the ledger's anchor over"), "{}", gone.out);
    fs::write(&path, kept).unwrap();
    run(&["audit", "verify", data]).good();
}
