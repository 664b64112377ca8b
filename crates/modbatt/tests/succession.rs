//! Another key follows that of the authority, and the installation goes on under it (A98, A99; H232 to H235).

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::{Ended, Running, run, start, stop};

/// A data directory, and files beside it.
struct Site {
    temp: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Site { temp: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn modbatt(&self, command: &[&str], args: &[&str]) -> Ended {
        run(&[command, &["--data-dir", &self.file("data")], args].concat())
    }

    fn demo(&self, more: &[&str]) -> Running {
        let mut running = self.begin(more);
        running.wait_ready();
        running
    }

    fn begin(&self, more: &[&str]) -> Running {
        start(&[&["demo", "--data-dir", &self.file("data"), "--speed", "10", "--json"], more].concat())
    }

    /// What devices wrote last is on its way for a moment.
    #[track_caller]
    fn holds(&self) -> String {
        let patience = Instant::now() + Duration::from_secs(40);
        loop {
            let status = self.modbatt(&["status"], &["--verify"]);
            if status.code == Some(0) || Instant::now() > patience {
                return status.good().out.clone();
            }
        }
    }

    /// Where the app's host listens.
    fn host(&self) -> String {
        let patience = Instant::now() + Duration::from_secs(60);
        while Instant::now() < patience {
            let found = self.modbatt(&["discover"], &["app-0001", "--json"]);
            if let Some(endpoint) = found.json()["access"]["endpoint"].as_str()
                && endpoint.strip_prefix("http://").is_some_and(|at| TcpStream::connect(at).is_ok())
            {
                return endpoint.to_owned();
            }
        }
        panic!("the app announced no host");
    }

    /// Every receipt of a folder holds for whoever has the genesis alone.
    #[track_caller]
    fn receipts_hold(&self, names: &[PathBuf]) {
        let trust = self.file("data/genesis.json");
        for receipt in names {
            run(&["verify", receipt.to_str().unwrap(), "--trust", &trust]).good();
        }
    }
}

fn receipts(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir.join("receipts")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

/// From factory to operational under A, on under B: keys, pairing, revocation and exchange, with devices that learn of B from nobody
/// but the gateway. A take-over that made devices new would pass all of it but the line that they follow; one that made the
/// bridge new would lose the bindings or begin the list at 1.
#[test]
fn an_installation_goes_on_under_the_key_that_follows() {
    let site = Site::new();
    let (data, next) = (site.path("data"), site.file("next"));
    let running = site.demo(&["--modules", "2"]);
    let key = |name: &str| run(&["delegate", "key", &site.file(name)]).good().out.trim().to_owned();
    key("next");
    let old = site.file("old");
    fs::copy(data.join("keys/authority"), &old).unwrap();
    let authority = key("old");
    let sign = |from: &str, to: &str, out: &str| {
        run(&["succession", "sign", "--from", from, "--to", to, "--out", &site.file(out), "--json"])
    };
    let signed = sign(&site.file("data/keys/authority"), &next, "next.succession").good().json();
    let comes = signed["to"].as_str().unwrap();
    let take = |more: &[&str]| site.modbatt(&["succession", "take"], more);
    let right = [site.file("next.succession"), "--key".into(), next.clone()];
    let right = right.each_ref().map(String::as_str);
    take(&right).fails_at_once("it runs", &["in use by another modbatt"]);
    // A laptop that the old authority delegates to.
    let laptop = key("laptop");
    let issue = ["--delegate", &laptop, "--pack", "pack-0001", "--out", &site.file("delegation"), "--json"];
    let delegated = site.modbatt(&["delegate", "issue"], &issue).good().json();
    stop(running);
    let before = receipts(&data);
    // An order that nobody does: no pack is there.
    let mut idle = start(&["ledger", "run", "--data-dir", &site.file("data")]);
    idle.wait_ready();
    let anew = ["app-0001", "pack-0001", "--agreement", "--json"];
    let waits = site.modbatt(&["rotate"], &[&anew[..], &["--wait", "0"]].concat()).json();
    idle.interrupt();
    idle.wait().good();

    key("other");
    let other = site.file("other");
    take(&[right[0], "--key", &other]).fails_at_once("another key", &["and the one that follows is", comes]);
    sign(&other, &next, "foreign").good();
    take(&[&site.file("foreign"), "--key", &next])
        .fails_at_once("of another", &["not a succession of the authority"]);
    take(&[&site.file("delegation"), "--key", &next]).fails_at_once("no succession", &["not a succession"]);
    take(&[&right[..], &["--from", &key("other")]].concat()).fails_at_once("from", &["not a succession"]);
    assert!(!data.join("keys/authority.lineage").exists(), "nothing of it changed anything");
    for _ in 0..2 {
        let taken = take(&[&right[..], &["--json"]].concat()).good().json();
        assert_eq!(taken["authority"], comes, "{taken}");
        assert_eq!(taken["followed"][0], signed["from"], "{taken}");
    }
    fs::remove_file(&next).unwrap();
    let listed = site.modbatt(&["keys", "list"], &["--json"]).good().json();
    assert_eq!((&listed["id"], &listed["followed"]), (&comes.into(), &serde_json::json!([signed["from"]])));

    let running = site.demo(&[]);
    let follows = format!("app, pack and modules obey the authority {comes}, which followed");
    assert!(running.said().contains(&follows), "{}", running.said());
    let done = site.modbatt(&["rotate"], &anew).good().json();
    assert_eq!((&done["id"], &done["state"]), (&waits["id"], &"done".into()), "what waited is done: {done}");
    site.modbatt(&["rotate"], &["pack-0001", "module-0001", "--agreement"]).good();
    site.modbatt(&["unpair"], &["pack-0001", "module-0002"]).good();
    site.modbatt(&["pair"], &["pack-0001", "module-0002"]).good();
    site.modbatt(&["bind"], &["pack-0001", "module-0001"]).good();
    site.holds();

    // What the old key signs afterwards: devices, the bridge, the ledger.
    let third = key("third");
    sign(&old, &site.file("third"), "third.succession").good();
    let host = site.host();
    let at = ["--host", &host, "--to", "pack-0001", "--to", "module-0001", "--to", "app-0001", "--json"];
    let show = ["succession", "show", "--from", &authority, &site.file("third.succession")];
    let given = run(&[&show[..], &at].concat());
    assert_eq!(given.code, Some(1), "{}", given.out);
    for answer in given.json()["given"].as_array().unwrap() {
        assert_eq!(answer["status"], "wrong_party", "{answer}");
    }
    let time = delegated["not_before"].to_string();
    let laptop = ["--key", &site.file("laptop"), "--delegation", &site.file("delegation"), "--time", &time];
    let end = ["--journal", &site.file("journal"), "--binding", &"ab".repeat(16)];
    let ended = run(&[&["delegate", "end"], &laptop[..], &end, &at].concat());
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert_eq!(ended.json()["given"][0]["status"], "not_authentic", "{}", ended.out);
    // The key that signs is the first half of what an authority is known as, behind its version.
    let account = ["auditor", &third[4..70], "--account-key", &old];
    site.modbatt(&["govern", "account"], &account)
        .fails_at_once("it governs", &["W4_ERR_AUTHORITY_SUCCEEDED"]);
    let accounts = site.modbatt(&["govern", "show"], &["--json"]).good().json();
    let mut known = accounts["accounts"]["accounts"].as_array().unwrap().iter();
    let gone = known.find(|a| authority.contains(a["public_key"].as_str().unwrap())).unwrap();
    assert_eq!(gone["status"], "revoked", "{gone}");
    stop(running);

    // A module is exchanged, and the old one revoked; the new one was made for the first authority, as all of them were.
    let running = site.demo(&["--exchange", "module-0002=module-0003"]);
    site.modbatt(&["replace"], &["module-0002", "module-0003"]).good();
    let status = site.holds();
    let line = |id: &str| status.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("module-0002").contains("retired"), "{status}");
    assert!(line("module-0003").contains("bound to pack-0001 (B1), paired"), "{status}");
    // The group key that the revocation drew may be on its way still.
    let patience = Instant::now() + Duration::from_secs(20);
    while site.modbatt(&["check"], &[]).code != Some(0) && Instant::now() < patience {}
    site.modbatt(&["check"], &[]).good();
    let ended = {
        running.interrupt();
        running.wait()
    };
    assert_eq!(ended.good().json()["record_gaps"], 0, "{}", ended.err);
    let log = site.modbatt(&["keys", "issued"], &["--json"]).good().json();
    let entries = log["entries"].as_array().unwrap();
    let lists: Vec<u64> = entries
        .iter()
        .filter(|entry| entry["kind"] == "revocations")
        .map(|entry| entry["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(lists.windows(2).all(|two| two[1] == two[0] + 1), "{lists:?}");
    run(&["audit", "verify", &site.file("data")]).good();
    let after: Vec<_> = receipts(&data).into_iter().filter(|path| !before.contains(path)).collect();
    assert!(after.len() >= 3 && before.len() >= 5, "{} {}", before.len(), after.len());
    site.receipts_hold(&before);
    site.receipts_hold(&after);

    // The folder of keys is brought back from a copy of before.
    let lineage = data.join("keys/authority.lineage");
    let kept = fs::read(&lineage).unwrap();
    fs::remove_file(&lineage).unwrap();
    let refused = site.begin(&[]).wait();
    refused.fails("the old key", &["another authority followed", "W4_ERR_AUTHORITY_SUCCEEDED"]);
    let mut bad = kept.clone();
    bad[100] ^= 1;
    fs::write(&lineage, bad).unwrap();
    site.begin(&[]).wait().fails("damaged", &["authority.lineage is damaged"]);
    fs::write(&lineage, kept).unwrap();
    stop(site.demo(&[]));
}

/// A file of one line that only its owner may read.
fn private(path: &Path, line: &str) {
    fs::write(path, format!("{line}\n")).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Two follow each other before any device is reached, the second under a passphrase, and the first one's key file is lost: devices
/// take them in order, and logs that began under the first are opened with its key as long as that is there.
#[test]
fn devices_that_missed_one_take_them_in_order() {
    let site = Site::new();
    let data = site.path("data");
    private(&site.path("words"), "correct horse battery");
    let words = ["--passphrase-file", &site.file("words")];
    stop(site.demo(&["--modules", "1"]));
    let public = run(&["delegate", "key", &site.file("b")]).good().out.trim().to_owned();
    assert_eq!(public.len(), 136);
    run(&[&["keys", "custodian", &site.file("c")], &words[..]].concat()).good();
    let sign = |from: &str, to: &str, out: &str, time: &str| {
        let files =
            ["succession", "sign", "--from", from, "--to", to, "--out", &site.file(out), "--time", time];
        run(&[&files[..], &words].concat())
    };
    sign(&site.file("data/keys/authority"), &site.file("b"), "one", "1700000000").good();
    sign(&site.file("b"), &site.file("c"), "two", "1700000001").good();
    sign(&site.file("b"), &site.file("c"), "early", "1600000000").good();
    sign(&site.file("b"), &site.file("c"), "late", "4000000000").good();
    let take_with = |file: &str, key: &str, more: &[&str]| {
        site.modbatt(
            &["succession", "take"],
            &[&[&site.file(file)[..], "--key", &site.file(key)], &words[..], more].concat(),
        )
    };
    let take = |file: &str, key: &str| take_with(file, key, &[]);
    take("two", "c").fails_at_once("out of order", &["not a succession of the authority"]);
    // The first one's key is in other hands; why it went is not told otherwise afterwards, and once more is no failure.
    fs::copy(data.join("keys/authority"), site.path("old")).unwrap();
    let other = run(&["delegate", "key", &site.file("old")]).good().out.trim().to_owned();
    let stolen = ["--reason", "key_compromise", "--from", &other];
    take_with("one", "b", &["--reason", "lost"]).fails("a reason", &["`superseded` or `key_compromise`"]);
    take_with("one", "b", &stolen).good();
    take_with("one", "b", &stolen).good();
    take("one", "b").good();
    take_with("one", "b", &["--reason", "superseded"])
        .fails_at_once("another reason", &["taken with key_compromise"]);
    take("early", "c").fails_at_once("dated before", &["signed no later"]);
    take("late", "c").fails("dated ahead", &["is dated 2096-10-02", "sign it anew"]);
    // Whoever names who goes is told when that is somebody else.
    take_with("two", "c", &["--from", &other]).fails_at_once("not the last", &["--from names"]);
    take_with("two", "c", &["--from", &public]).good();
    let c = site.modbatt(&["keys", "list"], &["--json"]).good().json();
    assert_eq!((&c["kept"], c["followed"].as_array().unwrap().len()), (&"encrypted".into(), 2), "{c}");

    let mut running = site.begin(&[]);
    running.wait_for("its end", |_, _| false);
    running.wait().fails("no passphrase", &["a passphrase is needed"]);
    let running = site.demo(&words);
    let follows = format!("obey the authority {}, which followed", c["id"].as_str().unwrap());
    assert!(running.said().contains(&follows), "{}", running.said());
    site.modbatt(&["rotate"], &["app-0001", "pack-0001", "--agreement"]).good();
    site.holds();
    stop(running);
    let verify = |more: &[&str]| run(&[&["audit", "verify", &site.file("data")], more].concat());
    let key = ["--key", &site.file("data/keys/authority")];
    assert!(!verify(&[&key[..], &words].concat()).good().out.contains("tags were not checked"));
    fs::rename(data.join("keys/authority"), site.path("a")).unwrap();
    assert!(verify(&[&key[..], &words].concat()).good().out.contains("tags were not checked"));
    stop(site.demo(&words));
}

/// Everything fails at some moment of commissioning, and another key follows before the next start: what was done stays, what was under
/// way is begun anew under it, whichever step that was.
#[test]
fn a_commissioning_that_was_cut_goes_on_under_the_key_that_follows() {
    let points = [
        "discovered pack-0001",
        "done: register pack-0001",
        "done: bind app-0001 pack-0001",
        "done: bind pack-0001 module-0001",
        "done: lct app-0001 pack-0001",
        "done: pair app-0001 pack-0001",
        "done: pair pack-0001 module-0001",
    ];
    for point in points {
        let site = Site::new();
        let mut running = site.begin(&["--modules", "1"]);
        running.wait_for(point, |_, err| err.contains(point));
        running.kill();
        run(&["delegate", "key", &site.file("next")]).good();
        let files = ["--from", &site.file("data/keys/authority"), "--to", &site.file("next")];
        let out = site.file("next.succession");
        run(&[&["succession", "sign", "--out", &out], &files[..]].concat()).good();
        site.modbatt(&["succession", "take"], &[&out, "--key", &site.file("next")]).good();
        let running = site.demo(&[]);
        assert!(running.said().contains("which followed"), "{point}: {}", running.said());
        let status = site.holds();
        assert!(
            status.lines().any(|line| line.starts_with("module-0001") && line.contains("paired")),
            "{point}: {status}"
        );
        stop(running);
    }
    println!("{} points", points.len());
}
