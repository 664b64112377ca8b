//! Parts that are exchanged: a module by another one, whose owner has a say, and the computer of the app by a new one.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use api::sign::{Envelope, sign};
use lct::ownership::{TRANSFER_MAX, Transfer};
use lct::sign::SigningKey;
use ledger::tx::Body;
use process::{run, start, stop};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// A key of the installation, or one that is kept like it.
fn key(path: &Path) -> SigningKey {
    SigningKey::from_bytes(fs::read(path).unwrap().first_chunk().unwrap()).unwrap()
}

/// The manufacturer hands a component over to `owner`.
fn hand_over(dir: &Path, id: &str, owner: &SigningKey) {
    let url: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("run.json")).unwrap()).unwrap();
    let client = api::Client::new(url["url"].as_str().unwrap()).unwrap();
    let (factory, account) = (key(&dir.join("keys/batch")), key(&dir.join("keys/account")));
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (component, authority) =
            (client.component(id).await.unwrap(), client.ledger_status().await.unwrap());
        let hop = Transfer {
            chain_id: authority.chain_id.0,
            cid: lct::id::Cid(component.cid.0),
            lct: component.lct_id.0,
            hop: 1,
            previous: [0; 32],
            from: factory.public(),
            to: owner.public(),
            time_ms: client.time_token().await.unwrap().time * 1_000,
        };
        let mut out = [0; TRANSFER_MAX];
        let n = hop.encode(&mut out).unwrap();
        let signatures = [&factory, owner].map(|k| k.sign(&hop.digest().unwrap(), &mut rng));
        let body = Body::Transfer { statement: out[..n].to_vec(), signatures };
        // The gateway sends with the same account.
        for _ in 0..20 {
            let known = client.account(&account.public()).await.unwrap();
            let envelope = Envelope {
                chain_id: hop.chain_id,
                nonce: known.next_nonce,
                expiry_height: known.height + 100,
            };
            let tx = sign(body.clone(), &envelope, &account, &mut rng);
            if client.submit(&tx.bytes, true).await.is_ok_and(|sent| sent.status == "included") {
                return;
            }
        }
        panic!("the transfer of {id} is not recorded");
    });
}

#[test]
fn parts_that_were_exchanged_take_the_places_of_others() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let modbatt = |command: &str, args: &[&str]| run(&[&[command, "--data-dir", data], args].concat());
    let demo =
        |more: &[&str]| start(&[&["demo", "--data-dir", data, "--speed", "10", "--json"], more].concat());
    // What devices wrote last is on its way for a moment.
    let holds = || {
        let patience = Instant::now() + Duration::from_secs(40);
        loop {
            let status = modbatt("status", &["--verify"]);
            if status.code == Some(0) || Instant::now() > patience {
                return status.good().out.clone();
            }
        }
    };
    let mut running = demo(&["--modules", "2"]);
    running.wait_ready();

    // Whoever owns a module has a say in its bindings.
    let owner = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(2));
    let file = temp.path().join("owner.key");
    fs::write(&file, owner.to_bytes().expose()).unwrap();
    let file = file.to_str().unwrap();
    hand_over(&dir, "module-0001", &owner);
    let pair = ["pack-0001", "module-0001"];
    modbatt("bind", &pair).fails_at_once("not agreed", &["W4_ERR_REBIND_OWNER", "`modbatt consent`"]);
    let other = ["pack-0001", "module-0002", "--owner-key", file];
    modbatt("consent", &other).fails_at_once("not its owner", &["owns neither"]);
    let agreed = modbatt("consent", &[&pair[..], &["--owner-key", file, "--json"]].concat()).good().json();
    assert_eq!(agreed["agreed_for"][0], "module-0001", "{agreed}");
    modbatt("bind", &pair).good();
    modbatt("bind", &pair).fails_at_once("agreed once", &["W4_ERR_REBIND_OWNER"]);
    modbatt("replace", &["module-0002", "module-0001"])
        .fails_at_once("it is there", &["module-0002 answers", "modbatt revoke"]);
    stop(running);
    let names = fs::read_dir(dir.join("receipts")).unwrap().map(|entry| entry.unwrap().path());
    let consents: Vec<_> = names.filter(|path| path.to_str().unwrap().contains("/consent-")).collect();
    assert_eq!(consents.len(), 1);
    let trust = dir.join("genesis.json");
    let receipt = [consents[0].to_str().unwrap(), "--trust", trust.to_str().unwrap()];
    let verdict = run(&[&["verify"], &receipt[..]].concat());
    assert!(verdict.good().out.contains("agreed to a binding with"), "{}", verdict.out);

    // A module is taken out, and another one is in its place.
    let mut running = demo(&["--exchange", "module-0002=module-0003"]);
    running.wait_ready();
    assert!(running.said().contains("module-0003 is no part of this pack yet"), "{}", running.said());
    modbatt("replace", &["module-0009", "module-0003"])
        .fails_at_once("unknown", &["W4_ERR_COMPONENT_NOT_FOUND"]);
    modbatt("replace", &["app-0001", "app-0002"]).fails_at_once("an app", &["--new-host"]);
    modbatt("replace", &["module-0002", "module-0001"]).fails_at_once("not the new one", &["--yes"]);
    let replaced = modbatt("replace", &["module-0002", "module-0003", "--json"]).good().json();
    assert_eq!(
        (&replaced["replaced"], &replaced["order"]["state"]),
        (&true.into(), &"done".into()),
        "{replaced}"
    );
    let words = "module-0003 is bound to pack-0001 and paired with it in the place of module-0002, which is revoked\n";
    assert_eq!(
        modbatt("replace", &["module-0002", "module-0003"]).good().out,
        words,
        "nothing is done twice"
    );
    let status = holds();
    let line = |id: &str| status.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("module-0002").contains("retired"), "{status}");
    assert!(line("module-0003").contains("bound to pack-0001 (B1), paired"), "{status}");
    hand_over(&dir, "pack-0001", &owner);
    stop(running);

    // The computer of the app is lost: whoever stands before the pack takes it over with its code.
    let wrong = demo(&["--new-host", "--code", "7Z3K-9QXM-20AB-R"]).wait();
    wrong.fails("another code", &["the code"]);
    let mut running = demo(&[]);
    running.wait_for("the owner", |_, err| err.contains("a new binding waits"));
    assert!(running.said().contains("W4_ERR_REBIND_OWNER"), "{}", running.said());
    let apps = |url: &serde_json::Value| {
        let client = api::Client::new(url["url"].as_str().unwrap()).unwrap();
        let links = tokio::runtime::Runtime::new().unwrap().block_on(client.relations("pack-0001"));
        let bound = links.unwrap().links.into_iter().filter(|link| link.relation == "bound");
        bound.map(|link| link.peer_id).filter(|id| id.starts_with("app")).collect::<Vec<_>>()
    };
    let run_file = serde_json::from_slice(&fs::read(dir.join("run.json")).unwrap()).unwrap();
    assert_eq!(apps(&run_file), ["app-0001"], "without its owner nothing changes");
    let stranger = dir.join("keys/account").to_str().unwrap().to_owned();
    let taken = ["app-0002", "pack-0001", "--owner-key"];
    modbatt("consent", &[&taken[..], &[&stranger]].concat())
        .fails_at_once("not its owner", &["does not own"]);
    let agreed = modbatt("consent", &[&taken[..], &[file]].concat());
    assert!(agreed.good().out.contains("that with app-0001"), "{}", agreed.out);
    running.wait_ready();
    assert!(running.said().contains("app-0002 takes pack-0001 over from app-0001"), "{}", running.said());
    assert!(running.said().contains("app-0001 is revoked"), "{}", running.said());
    let status = holds();
    let line = |id: &str| status.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("pack-0001").contains("bound to app-0002 (B1+B2), paired"), "{status}");
    assert!(line("app-0001").contains("revoked"), "{status}");
    modbatt("check", &[]).good();
    stop(running);

    // A start finds everything as it was left.
    let mut running = demo(&[]);
    running.wait_ready();
    assert!(!running.said().contains("takes pack-0001 over"), "{}", running.said());
    holds();
    stop(running);
    run(&["audit", "verify", data]).good();
}

/// A pack controller broke: another one gets its place, app and modules follow, owners are asked, and the old one is revoked
/// when the last has followed.
#[test]
fn a_pack_controller_takes_the_place_of_one_that_broke() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let modbatt = |command: &str, args: &[&str]| run(&[&[command, "--data-dir", data], args].concat());
    let demo =
        |more: &[&str]| start(&[&["demo", "--data-dir", data, "--speed", "10", "--json"], more].concat());
    let mut running = demo(&["--modules", "2"]);
    running.wait_ready();
    let owner = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(2));
    let file = temp.path().join("owner.key");
    fs::write(&file, owner.to_bytes().expose()).unwrap();
    hand_over(&dir, "module-0001", &owner);
    modbatt("replace", &["pack-0001", "pack-0002"]).fails_at_once("it is there", &["pack-0001 answers"]);
    stop(running);

    let mut running = demo(&["--exchange", "pack-0001=pack-0002"]);
    let place = "pack-0002 is in the place of another pack controller: `modbatt replace OLD pack-0002`";
    running.wait_for("the new pack", |_, err| err.contains(place));
    let first = modbatt("replace", &["pack-0001", "pack-0002", "--json"]);
    assert_eq!(first.code, Some(1), "{}{}", first.out, first.err);
    let told = first.json();
    assert_eq!((&told["replaced"], &told["modules"]), (&false.into(), &serde_json::json!(["module-0002"])));
    let why = told["left"][0]["why"].as_str().unwrap();
    assert!(why.contains("W4_ERR_REBIND_OWNER"), "{told}");
    running.wait_ready();
    let status = modbatt("status", &[]).out;
    assert!(
        !status.lines().any(|line| line.starts_with("pack-0001") && line.contains("retired")),
        "{status}"
    );
    let consent = ["pack-0002", "module-0001", "--owner-key", file.to_str().unwrap()];
    let agreed = modbatt("consent", &consent);
    assert!(agreed.good().out.contains("that with pack-0001"), "{}", agreed.out);
    let words = "pack-0002 is in the place of pack-0001, which is revoked; with it are paired the app and 2 modules\n";
    for _ in 0..2 {
        assert_eq!(
            modbatt("replace", &["pack-0001", "pack-0002"]).good().out,
            words,
            "nothing is done twice"
        );
    }
    stop(running);

    // A start finds everything as it was left.
    let mut running = demo(&[]);
    running.wait_ready();
    let patience = Instant::now() + Duration::from_secs(40);
    let status = loop {
        let status = modbatt("status", &["--verify"]);
        if status.code == Some(0) || Instant::now() > patience {
            break status.good().out.clone();
        }
    };
    let line = |id: &str| status.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("pack-0001").contains("retired"), "{status}");
    assert!(line("pack-0002").contains("bound to app-0001 (B1), paired"), "{status}");
    for module in ["module-0001", "module-0002"] {
        assert!(line(module).contains("bound to pack-0002 (B1), paired"), "{status}");
    }
    modbatt("check", &[]).good();
    stop(running);
    run(&["audit", "verify", data]).good();
}
