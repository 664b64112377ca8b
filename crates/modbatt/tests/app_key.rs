//! Where the app's key is kept: `--app-key`.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::path::Path;

use process::{Ended, run, start};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn passphrase(path: &Path, words: &str) {
    fs::write(path, format!("{words}\n")).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Runs a pack of one module until it is ready, then stops it.
fn demo(dir: &Path, more: &[&str]) -> Ended {
    let fixed = ["demo", "--modules", "1", "--speed", "50", "--data-dir", text(dir)];
    let mut running = start(&[&fixed, more].concat());
    running.wait_ready();
    if running.is_running() {
        running.interrupt();
    }
    running.wait()
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_only() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, words) = (temp.path().join("data"), temp.path().join("words"));
    passphrase(&words, "correct horse battery");
    let given = ["--passphrase-file", text(&words)];
    let first = demo(&dir, &[&["--app-key", "encrypted-file"], &given[..]].concat());
    first.good();
    let host = |ended: &Ended| {
        let line = ended.err.lines().find_map(|l| l.rsplit_once("; host ")).unwrap().1.to_owned();
        assert_eq!(line.len(), 36, "a UUID: {line}");
        line
    };
    assert!(dir.join("keys/device-app-0001.age").exists() && !dir.join("keys/device-app-0001").exists());
    // The channel comes up again with the key that was read back, and the computer is the same one.
    let second = demo(&dir, &given);
    assert_eq!(host(second.good()), host(&first));

    let again = ["demo", "--data-dir", text(&dir)];
    run(&again).fails("no passphrase", &["a passphrase is needed", "--passphrase-file"]);
    run(&[&again[..], &given, &["--app-key", "os-store"]].concat())
        .fails("another place", &["`encrypted-file`, not `os-store`"]);
    run(&["check", "--data-dir", text(&dir)]).fails("check without passphrase", &["a passphrase is needed"]);
    run(&[&["check", "--data-dir", text(&dir)], &given[..]].concat()).good();
    passphrase(&words, "correct horse batterz");
    run(&[&again[..], &given].concat()).fails("wrong passphrase", &["does not open"]);
    passphrase(&words, "short");
    let new = temp.path().join("new");
    let short = ["demo", "--data-dir", text(&new), "--app-key", "encrypted-file"];
    run(&[&short[..], &given].concat()).fails("too short", &["at least 8 characters"]);
}

#[test]
fn the_key_store_of_the_system_is_used_or_its_absence_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let ended = demo(&dir, &["--app-key", "os-store"]);
    if ended.code == Some(0) {
        assert!(!dir.join("keys/device-app-0001").exists() && !dir.join("keys/device-app-0001.age").exists());
        demo(&dir, &[]).good();
    } else {
        ended.fails("no key store", &["key store of this system cannot be used", "encrypted file"]);
        assert!(!dir.join("format").exists(), "nothing half made is taken for complete");
    }
}
