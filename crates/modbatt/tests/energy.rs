//! An owner trades the energy of a pack with commands.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;

use process::{run, start};

#[test]
fn an_owner_offers_energy_and_takes_it_back() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let mut demo = start(&["demo", "--modules", "1", "--data-dir", data, "--speed", "10", "--json"]);
    demo.wait_ready();
    // The simulated manufacturer's batch authority: its scalar, then its certificate.
    let batch = fs::read(dir.join("keys/batch")).unwrap();
    let (factory, owner, short) = (file("factory.key"), file("owner.key"), file("short.key"));
    fs::write(&factory, &batch[..32]).unwrap();
    fs::write(&owner, [0x51; 32]).unwrap();
    fs::write(&short, [0x51; 31]).unwrap();
    let modbatt = |args: &[&str]| run(&[args, &["--data-dir", data]].concat());
    let energy = |args: &[&str]| modbatt(&[&["energy"], args].concat());
    let offer = |key: &str| {
        energy(&[
            "offer",
            "pack-0001",
            "--mwh",
            "5000",
            "--least",
            "1000",
            "--price",
            "300000",
            "--owner-key",
            key,
        ])
    };
    let none = "00".repeat(16);
    for (what, args, words) in [
        (
            "no key",
            &["offer", "pack-0001", "--mwh", "1", "--price", "1", "--owner-key", &short][..],
            "32 bytes",
        ),
        (
            "not paired",
            &["transfer", "pack-0001", "pack-0002", "--mwh", "1", "--owner-key", &owner],
            "are not paired",
        ),
        ("no offer", &["withdraw", "pack-0001", &none, "--owner-key", &owner], "W4_ERR_TRADE_OWNER"),
        ("no transfer", &["settle", "--transfer", &none], "W4_ERR_SETTLE_UNKNOWN"),
        ("no cycle", &["settle", "--pack", "pack-0001", "--cycle", "99"], "W4_ERR_SETTLE_UNKNOWN"),
        ("nothing locked", &["release", &none], "W4_ERR_TRANSFER_UNKNOWN"),
    ] {
        energy(args).fails_at_once(what, &[words]);
    }
    offer(&owner).fails_at_once("nobody owns it", &["W4_ERR_TRADE_OWNER"]);
    let hand = |from: &str, to: &str| modbatt(&["owner", "pack-0001", "--from", from, "--to", to]);
    hand(&owner, &factory).fails_at_once("not its to give", &["W4_ERR_OWNER_DENIED"]);
    let other = file("other.key");
    fs::write(&other, [0x52; 32]).unwrap();
    hand(&factory, &other).good();
    hand(&other, &owner).good();

    // Whoever owns a component says what becomes of it, and with whom it may be paired.
    let account = dir.join("keys/account");
    let account = account.to_str().unwrap();
    hand(&owner, account).good();
    for (what, args, words) in [
        (
            "nobody's",
            &["component", "move", "pack-0001", "maintenance", "--key", &other][..],
            "W4_ERR_LIFECYCLE_SIGNER",
        ),
        (
            "no rule",
            &["component", "authorize", "pack-0001", "app-0001", "--rule", "trust"],
            "W4_ERR_AUTHORIZATION_RULE",
        ),
        ("none", &["component", "forbid", &none], "W4_ERR_AUTHORIZATION_UNKNOWN"),
        (
            "too much",
            &["config", "set", "pack-0001", "max_charge_current_ma", "200001"],
            "W4_ERR_CONFIG_RANGE",
        ),
        (
            "nothing to tighten",
            &["config", "set", "pack-0001", "max_charge_current_ma", "1"],
            "W4_ERR_CONFIG_LOOSENS",
        ),
    ] {
        modbatt(args).fails_at_once(what, &[words]);
    }
    modbatt(&["component", "move", "pack-0001", "maintenance", "--key", account]).good();
    modbatt(&["component", "move", "pack-0001", "active", "--key", account]).good();
    let given = modbatt(&[
        "component",
        "authorize",
        "pack-0001",
        "app-0001",
        "--rule",
        "trust_score > 0.9",
        "--json",
    ]);
    let given = given.json()["id"].as_str().unwrap().to_owned();
    let shown = modbatt(&["component", "show", "pack-0001", "--json"]).json();
    let states: Vec<&str> =
        shown["states"].as_array().unwrap().iter().map(|m| m["to"].as_str().unwrap()).collect();
    assert_eq!((states, &shown["status"]), (vec!["maintenance", "active"], &"active".into()), "{shown}");
    assert_eq!(shown["authorizations"][0]["authorization_id"], given.as_str(), "{shown}");
    modbatt(&["component", "forbid", &given]).good();
    let shown = modbatt(&["component", "show", "pack-0001"]);
    assert!(shown.good().out.contains("pack-0001 is active") && !shown.out.contains("lets"), "{}", shown.out);
    assert!(modbatt(&["config", "show", "pack-0001"]).good().out.contains("nothing is set of pack-0001"));
    // What else an account or the authority says, and what is told of it.
    let authority = dir.join("keys/authority");
    let authority = authority.to_str().unwrap();
    let asked = modbatt(&[
        "queue",
        "ask",
        "pack-0001",
        "app-0001",
        "--wish",
        "unpair",
        "--priority",
        "high",
        "--json",
    ]);
    let request = asked.json()["id"].as_str().unwrap().to_owned();
    let waits = modbatt(&["queue", "show", "pack-0001", "--json"]).json();
    assert_eq!(waits["requests"][0]["request_id"], request.as_str(), "{waits}");
    let height = waits["height"].as_u64().unwrap().to_string();
    modbatt(&["queue", "cancel", &request]).good();
    // With the pack changing hands the two are paired no more: such a wish has come about at the first try.
    modbatt(&["queue", "ask", "pack-0001", "app-0001", "--wish", "unpair"]).good();
    modbatt(&["queue", "try", "pack-0001"]).good();
    assert!(modbatt(&["queue", "show", "pack-0001"]).good().out.contains("nothing waits for pack-0001"));
    let then = modbatt(&["queue", "show", "pack-0001", "--height", &height]);
    assert!(then.good().out.contains(&request), "{}", then.out);
    let later = modbatt(&["component", "show", "pack-0001", "--height", "99999999"]);
    later.fails_at_once("not reached", &["W4_ERR_HEIGHT_FUTURE"]);
    // The generator of P-256: a point that is nobody's account yet.
    let public = "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    for (what, args, words) in [
        ("an operator governs nothing", &["govern", "account", "auditor", public][..], "W4_ERR_AUTHZ_SCOPE"),
        ("twice at once", &["queue", "cancel", &request], "W4_ERR_QUEUE_UNKNOWN"),
        (
            "another device",
            &[
                "component",
                "version",
                "module-0001",
                "--hardware",
                "1",
                "--firmware",
                "99",
                "--image",
                &owner,
                "--device-key",
                &owner,
            ],
            "W4_ERR_VERSION",
        ),
        (
            "nothing to object to",
            &["energy", "object", "--transfer", &none, "--reason", "other"],
            "W4_ERR_SETTLE_UNKNOWN",
        ),
        (
            "no objection",
            &["energy", "decide", "--transfer", &none, "--as", "dismiss", "--account-key", authority],
            "W4_ERR_OBJECTION_UNKNOWN",
        ),
        ("nothing of it", &["commitment", "show", &"11".repeat(32)], "W4_ERR_COMMITMENT_NOT_FOUND"),
    ] {
        modbatt(args).fails_at_once(what, &[words]);
    }
    // What a module runs, vouched for by the authority where it is another hardware, by its own word where it is a later firmware.
    let (module, image) = (file("module.key"), file("image.bin"));
    fs::write(&module, &fs::read(dir.join("keys/device-module-0001")).unwrap()[..32]).unwrap();
    fs::write(&image, b"firmware").unwrap();
    let runs = |hardware: &str, firmware: &str, more: &[&str]| {
        let told =
            ["--hardware", hardware, "--firmware", firmware, "--image", &image, "--device-key", &module];
        modbatt(&[&["component", "version", "module-0001"], &told[..], more].concat())
    };
    runs("7", "3", &[]).fails_at_once("nobody vouches", &["W4_ERR_VERSION_VOUCH"]);
    runs("7", "3", &["--vouch-key", authority]).good();
    runs("7", "4", &[]).good();
    runs("7", "3", &[]).fails_at_once("back", &["W4_ERR_VERSION_VOUCH"]);
    runs("7", "4", &["--vouch-key", authority]).fails_at_once("the same", &["W4_ERR_VERSION_INVALID"]);
    let shown = modbatt(&["component", "show", "module-0001", "--json"]).json();
    let versions: Vec<_> = shown["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| {
            (
                v["hardware"].as_u64(),
                v["firmware"].as_u64(),
                v["vouched"].as_bool(),
                v["image"].as_str().unwrap(),
            )
        })
        .collect();
    let hash = lct::hash::sha256(&[b"firmware"]).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = [(Some(7), Some(3), Some(true), &*hash), (Some(7), Some(4), Some(false), &*hash)];
    assert_eq!(versions, expected, "{shown}");

    // Every change of what is known of a part, from the first one, proved to who has the genesis; and of its relation.
    let genesis = dir.join("genesis.json");
    let history = |id: &str, more: &[&str]| {
        modbatt(
            &[&["trust", "history", id, "--check", genesis.to_str().unwrap()], more, &["--json"]].concat(),
        )
    };
    let told = history("pack-0001", &[]).good().json();
    let numbers = |name: &str| {
        told[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["number"].as_u64().or(row.as_u64()).unwrap())
            .collect::<Vec<_>>()
    };
    let count = told["count"].as_u64().unwrap();
    assert!(count >= 3, "a baseline, and two pairings of it: {told}");
    assert_eq!((numbers("changes"), &told["first"]), ((1..=count).collect(), &1.into()), "{told}");
    assert_eq!(told["changes"][0]["cause"], "baseline", "{told}");
    let kept = told["changes"].as_array().unwrap().iter().filter(|row| row["proof"] == "kept").count();
    assert_eq!(numbers("proved").len(), kept, "{told}");
    let trust = modbatt(&["trust", "show", "pack-0001", "--json"]).json();
    let relation = trust["relations"][0]["binding_id"].as_str().unwrap();
    let of_relation = history("pack-0001", &["--relation", relation]).good().json();
    assert_eq!((&of_relation["relation"], &of_relation["first"]), (&relation.into(), &1.into()));
    history("pack-0001", &["--relation", &none]).fails_at_once("no relation", &["W4_ERR_BINDING_NOT_FOUND"]);
    history("module-0001", &["--context", "diagnostic"])
        .fails_at_once("no tensor", &["W4_ERR_TRUST_NOT_FOUND"]);
    let words = modbatt(&["trust", "history", "pack-0001", "--after", "1"]).good().out.clone();
    assert!(words.contains("change(s)") && !words.contains("baseline by"), "{words}");

    let may = modbatt(&["component", "may", "app-0001", "pack-0001"]);
    assert!(
        may.out.contains("does not let pack-0001 be paired") && may.out.contains("no authorization"),
        "{}",
        may.out
    );
    modbatt(&["govern", "account", "auditor", public, "--account-key", authority]).good();
    let governed = modbatt(&["govern", "show", "--json"]).json();
    let accounts = governed["accounts"]["accounts"].as_array().unwrap();
    assert!(accounts.iter().any(|a| a["public_key"] == public && a["role"] == "auditor"), "{governed}");
    let recorded =
        modbatt(&["commitment", "record", "pack-0001", "maker", "pack", "--secret", &owner, "--json"]);
    let commitment = recorded.json()["id"].as_str().unwrap().to_owned();
    let opened = ["commitment", "open", &commitment, "manufacturer", "maker", "--secret", &owner];
    modbatt(&opened).good();
    modbatt(&opened).fails_at_once("open already", &["W4_ERR_ANONYMOUS_OPENED"]);
    assert!(modbatt(&["commitment", "show", &commitment]).good().out.contains("its manufacturer is maker"));
    modbatt(&["commitment", "withdraw", "--one", &commitment, "--why", "safety"]).good();
    assert!(modbatt(&["commitment", "show", &commitment]).good().out.contains("withdrawn"));
    let around = modbatt(&["component", "around", "pack-0001", "--depth", "1", "--trust"]);
    assert!(around.good().out.contains("module-0001: bound (module)"), "{}", around.out);
    let cycles = energy(&["cycles", "pack-0001", "--json"]).json();
    let number = cycles["cycles"][0]["cycle"].as_u64().unwrap().to_string();
    let cycle = energy(&["cycles", "pack-0001", "--cycle", &number, "--json"]).json();
    assert_eq!(cycle["flow"][0]["kind"], "opening", "{cycle}");
    hand(account, &owner).good();

    offer(&other).fails_at_once("not the owner any more", &["W4_ERR_TRADE_PROOF_FAIL"]);
    let offered = energy(&[
        "offer",
        "pack-0001",
        "--mwh",
        "5000",
        "--least",
        "1000",
        "--price",
        "300000",
        "--owner-key",
        &owner,
        "--json",
    ]);
    let id = offered.json()["id"].as_str().unwrap().to_owned();
    let shown = energy(&["show", "pack-0001", "--json"]).json();
    assert_eq!(shown["offers"][0]["offer"], id.as_str(), "{shown}");
    assert!(energy(&["market", "--what", "energy"]).good().out.contains(&id));
    assert!(!energy(&["market", "--what", "capacity"]).good().out.contains(&id));
    assert_eq!(
        (&shown["offers"][0]["left_mwh"], &shown["offers"][0]["least_mwh"]),
        (&5000.into(), &1000.into())
    );
    let accepted = ["accept", "pack-0001", "pack-0001", &id, "--most", "1", "--owner-key", &owner];
    energy(&accepted).fails_at_once("by itself", &["are not paired"]);
    energy(&["withdraw", "pack-0001", &id, "--owner-key", &owner]).good();
    let shown = energy(&["show", "pack-0001", "--json"]).json();
    assert_eq!(shown["offers"].as_array().map(Vec::len), Some(0), "{shown}");
    energy(&["withdraw", "pack-0001", &id, "--owner-key", &owner])
        .fails_at_once("twice", &["W4_ERR_OFFER_CLOSED"]);
    // Gateway and commands send with one account: nothing that devices stated was lost for that.
    demo.interrupt();
    let ended = demo.wait();
    assert_eq!(ended.good().json()["refused_jobs"], 0, "{}", ended.err);
}
