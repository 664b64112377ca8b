//! `modbatt ledger`: read, proved, copied, checked and run.

use super::*;

#[test]
fn the_ledger_is_read_proved_copied_and_checked() {
    let installation = installation();
    let dir = text(&installation.dir).to_owned();
    let ledger = |args: &[&str]| run(&[&["ledger"], args, &["--data-dir", &dir, "--json"]].concat());
    let good = |args: &[&str]| {
        let ended = ledger(args);
        assert_eq!(ended.code, 0, "{args:?}: {}{}", ended.out, ended.err);
        ended.json()
    };
    let status = good(&["status"]);

    let tx = good(&["tx", &installation.txs[2]]);
    assert_eq!((&tx["status"], &tx["height"]), (&Value::from("included"), &Value::from(3)));
    let refused = ledger(&["tx", &installation.txs[6]]);
    assert_eq!((refused.code, &refused.json()["status"]), (1, &Value::from("refused")));
    ledger(&["tx", &"0".repeat(64)]).fails(1, &["no block that is kept holds this transaction"]);
    let file = installation.file("tx");
    fs::write(&file, "x").unwrap();
    ledger(&["tx", text(&file)]).fails(1, &["nothing runs on"]);

    let block = good(&["block", "3"]);
    assert_eq!(block["transactions"][0]["txhash"], Value::from(installation.txs[2].as_str()));
    assert_eq!(block["transactions"][0]["kind"], Value::from("binding/record"));
    ledger(&["block", "0"]).fails(2, &["blocks begin at 1", "height 0 is the genesis"]);
    ledger(&["block", "99"]).fails(1, &["no block of height 99"]);

    // Before and after the discharge of block 6.
    let energy = |height: &str| good(&["query", "energy", "pack-1", "--height", height])["object"].clone();
    assert_eq!((&energy("5")["discharged"], &energy("6")["discharged"]), (&"0".into(), &"1234".into()));
    let component = good(&["query", "component", "pack-1"]);
    assert_eq!(component["object"]["component_id"], Value::from("pack-1"));
    let none = ledger(&["query", "component", "pack-2"]);
    assert_eq!((none.code, &none.json()["found"]), (1, &Value::from(false)));
    ledger(&["query", "component", "pack-1", "--height", "50"]).fails(1, &["height 50 is not reached"]);
    ledger(&["query", "component"]).fails(2, &["needs the ID"]);

    let series = |args: &[&str]| ledger(&[&["series", "pack-1", "--resolution", "day"], args].concat());
    let first = series(&[]);
    assert!(first.err.contains("there were no sums"), "{}", first.err);
    let days = first.json();
    assert_eq!((&days["buckets"][0]["records"], &days["complete"]), (&5.into(), &true.into()));
    // A damaged file is said, and made anew.
    fs::write(installation.dir.join("ledger/series.redb"), "x").unwrap();
    let anew = series(&[]);
    assert!(anew.err.contains("could not be used"), "{}", anew.err);
    assert_eq!((anew.json(), series(&[]).err), (days, String::new()));
    assert_eq!(series(&["--quantity", "nothing"]).code, 1);
    assert_eq!(series(&["--to", "5"]).code, 1);
    ledger(&["series", "pack-2"]).fails(1, &["not registered"]);

    let (proof, genesis) = (installation.file("proof"), installation.dir.join("genesis.json"));
    let check =
        |trust: &Path| run(&["ledger", "proof", "--check", text(&proof), "--trust", text(trust), "--json"]);
    for (id, found) in [("pack-1", true), ("pack-2", false)] {
        let written = good(&["proof", "component", id, "--output", text(&proof)]);
        let checked = check(&genesis);
        assert_eq!(checked.code, 0, "{}", checked.err);
        assert_eq!((&checked.json()["found"], &written["found"]), (&found.into(), &found.into()), "{id}");
        let bytes = fs::read(&proof).unwrap();
        for n in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[n] ^= 1;
            fs::write(&proof, changed).unwrap();
            check(&genesis).fails(1, &["is refused"]);
        }
    }

    let verified = good(&["verify-chain"]);
    assert_eq!((&verified["height"], &verified["batches"]), (&8.into(), &1.into()));
    let (snapshot, export) = (installation.file("snapshot"), installation.file("export"));
    good(&["export", "--output", text(&export)]);
    assert_eq!(good(&["snapshot", "--output", text(&snapshot)])["height"], Value::from(7));
    // A block that a crash kept out of the ledger: only a restore that is carried out takes it for seen.
    let signed = installation.dir.join("validator.signed");
    let chain_id = hex::decode(status["chain_id"].as_str().unwrap()).unwrap();
    let height = 9_u64.to_be_bytes();
    let content = [b"MBVS\x01".as_slice(), &chain_id, &height, &[9; 32], &[0]].concat();
    let check = lct::hash::sha256(&[&content]);
    let ahead = [content.as_slice(), &check[..8]].concat();
    fs::write(&signed, &ahead).unwrap();
    ledger(&["restore", text(&snapshot)]).fails(1, &["is not empty, nothing was changed"]);
    assert!(fs::read(&signed).unwrap() == ahead, "it was changed");
    for copy in [&snapshot, &export] {
        assert_eq!(good(&["restore", text(copy), "--verify"])["restored"], Value::from(false));
        fs::remove_dir_all(installation.dir.join("ledger")).unwrap();
        let restored = good(&["restore", text(copy)]);
        assert_eq!(restored["state_root"], status["state_root"]);
        let again = good(&["status"]);
        assert_eq!((&again["records"], &again["height"]), (&status["records"], &status["height"]));
    }
    assert_eq!(fs::read(&signed).unwrap()[77], 1, "the stage");
    fs::remove_file(&signed).unwrap();
    let mut damaged = fs::read(&snapshot).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&snapshot, damaged).unwrap();
    ledger(&["restore", text(&snapshot), "--verify"]).fails(1, &["is not restored"]);
    for entry in fs::read_dir(&installation.dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("ledger.verifying"), "{name} is left");
    }
    fs::write(installation.file("taken.part"), "of another program").unwrap();
    ledger(&["export", "--output", text(&installation.file("taken"))]).fails(1, &["is there already"]);
    assert!(installation.file("taken.part").exists() && !installation.file("taken").exists());
    let compacted = good(&["compact", "--below", "8", "--older-than", "1"]);
    assert_eq!((&compacted["blocks"], &compacted["files"]), (&0.into(), &0.into()), "the last of both stay");
    installation.receipt("pack-1/3");
}

#[test]
fn a_ledger_of_its_own_is_made_run_and_asked_while_it_runs() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("own");
    let ledger = |args: &[&str]| run(&[&["ledger"], args, &["--data-dir", text(&dir)]].concat());
    let made = ledger(&["init", "--json"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert_eq!(made.json()["chain_id"], ledger(&["status", "--json"]).json()["chain_id"]);
    ledger(&["init"]).fails(1, &["nothing was changed"]);
    ledger(&["run", "--listen", "0.0.0.0:0"]).fails(1, &["only listens on a loopback address"]);
    let mut running =
        command(&["ledger", "run", "--data-dir", text(&dir)]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(running.stdout.take().unwrap()), &mut ready)
        .unwrap();
    assert!(ready.starts_with("ready http://127.0.0.1:"), "{ready}");
    // The operator takes back a wish that nobody made: a transaction that the chain refuses.
    let chain_id = made.json()["chain_id"].as_str().unwrap().to_owned();
    let chain_id = hex::decode(chain_id).unwrap().try_into().unwrap();
    let account = fs::read(dir.join("keys/account")).unwrap();
    let operator = lct::sign::SigningKey::from_bytes(&account.try_into().unwrap()).unwrap();
    let id = ledger::records::registry::QueueId([1; 16]);
    let cancel = ledger::tx::Registry::Cancel { id, reason: lct::revocation::Reason::Retired };
    let body = ledger::tx::Body::Registry(cancel);
    let unsigned =
        ledger::tx::Unsigned { chain_id, signer: operator.public(), nonce: 1, expiry_height: 1_000, body };
    let signature = operator.sign_rfc6979(&unsigned.digest());
    let file = temp.path().join("tx");
    fs::write(&file, ledger::codec::Canonical::to_bytes(&unsigned.with_signature(signature))).unwrap();
    let sent = ledger(&["tx", text(&file), "--json"]);
    assert_eq!((sent.code, &sent.json()["status"]), (1, &Value::from("refused")), "{}{}", sent.out, sent.err);
    let hash = sent.json()["txhash"].as_str().unwrap().to_owned();
    let good = |args: &[&str]| {
        let ended = ledger(args);
        assert_eq!(ended.code, 0, "{args:?}: {}{}", ended.out, ended.err);
        ended.out
    };
    assert!(good(&["block", "1"]).contains(&hash));
    assert_eq!(ledger(&["tx", &hash]).code, 1);
    assert!(good(&["query", "totals"]).contains("refused                1"));
    let copy = temp.path().join("copy");
    let proof = temp.path().join("proof");
    good(&["proof", "totals", "--height", "1", "--output", text(&proof)]);
    good(&["snapshot", "--height", "1", "--output", text(&copy)]);
    good(&["export", "--output", text(&copy)]);
    ledger(&["verify-chain"]).fails(1, &["a program runs on", "stop it first"]);
    ledger(&["compact"]).fails(1, &["in use by another modbatt"]);
    let pid = running.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(0));
    good(&["verify-chain"]);
    good(&["restore", text(&copy), "--verify"]);
}
