//! An operator changes the policy of a running pack.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use std::fs;
use std::time::{Duration, Instant};

use process::{run, start};
use serde_json::Value;

/// Bindings of the report with the version under which they are, and whether that is what was ordered.
fn policies(report: &Value) -> Vec<(String, bool, String)> {
    let items = report["items"].as_array().unwrap().iter().filter(|i| i["area"] == "policy");
    items
        .map(|i| {
            let text = |key: &str| i[key].as_str().unwrap().to_owned();
            (text("name"), i["holds"] == true, text("found"))
        })
        .collect()
}

#[test]
fn an_order_comes_into_force_on_every_binding_and_never_goes_back() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let policy = |more: &[&str]| run(&[&["policy", more[0], "--data-dir", data], &more[1..]].concat());
    let mut demo = start(&["demo", "--modules", "2", "--data-dir", data, "--speed", "20", "--json"]);
    demo.wait_ready();
    let shown = policy(&["show", "--json"]).good().json();
    assert_eq!((shown["version"].as_u64(), shown["periods"]["epoch_s"].as_u64()), (Some(1), Some(86_400)));
    let words = policy(&["show"]);
    for line in ["app-0001 and pack-0001: version 1 in force\n", "certificates last at most 90 days"] {
        assert!(words.good().out.contains(line), "{}", words.out);
    }

    // A table that leaves 0x518 (deregister) to everybody is an operator's right; one that opens 0x51E is not.
    let table = policy(&["show", "--table"]).good().out.clone();
    let file = temp.path().join("table");
    let with = |from: &str, to: &str| {
        assert_eq!(table.matches(from).count(), 1, "{from} in {table}");
        fs::write(&file, table.replace(from, to)).unwrap();
        policy(&["propose", "--table", file.to_str().unwrap(), "--json"])
    };
    with("0x51E-0x51F ", "0x51E-0x51F never ").fails("too many words", &["table: line", "is no flag"]);
    with("\n0x51E-0x51F clear dev group-or-pair", "\n0x51E-0x51F clear dev clear")
        .fails_at_once("too weak", &["W4_ERR_POLICY_INVALID", "the stop of everything"]);
    policy(&["propose"]).fails("nothing to change", &["required arguments"]);
    policy(&["propose", "--rotation-hours", "48", "--agreement-days", "1"])
        .fails("periods that do not fit", &["2 days", "1 day"]);
    policy(&["propose", "--group-days", "3", "--binding", "00112233445566778899aabbccddeeff"])
        .fails("unknown binding", &["no binding in force"]);

    let periods = ["--rotation-hours", "12", "--group-days", "3", "--certificate-days", "30"];
    let periods = [&periods[..], &["--agreement-epochs", "200"]].concat();
    let ordered = policy(&[&["propose", "--json"][..], &periods].concat()).good().json();
    assert_eq!((ordered["version"].as_u64(), ordered["policies"].as_array().unwrap().len()), (Some(2), 3));
    let expected: Vec<(String, bool, String)> =
        [("pack-0001", "app-0001"), ("module-0001", "pack-0001"), ("module-0002", "pack-0001")]
            .map(|(name, above)| (name.to_owned(), true, format!("version 2 in force with {above}")))
            .into();
    let patience = Instant::now() + Duration::from_secs(90);
    loop {
        let check = run(&["check", "--data-dir", data, "--json"]);
        let found = policies(&check.json());
        if found == expected {
            assert_eq!(check.code, Some(0), "{}{}", check.out, check.err);
            break;
        }
        // Until then the check says what is missing.
        assert!(found.iter().any(|(_, holds, _)| !holds), "{found:?}");
        assert!(Instant::now() < patience, "{found:?}");
    }
    let shown = policy(&["show", "--json"]).good().json();
    assert_eq!(
        (shown["version"].as_u64(), shown["periods"]["group_s"].as_u64()),
        (Some(2), Some(3 * 86_400))
    );
    assert_eq!(shown["periods"]["agreement_epochs"], 200, "{shown}");
    for standing in shown["policies"].as_array().unwrap() {
        assert_eq!((&standing["in_force"], &standing["agreed"]), (&2.into(), &2.into()), "{standing}");
    }

    for version in ["1", "2"] {
        policy(&["propose", "--group-days", "7", "--version", version])
            .fails_at_once("rollback", &["W4_ERR_POLICY_VERSION", "2 was ordered already"]);
    }
    demo.interrupt();
    demo.wait().good();
    policy(&["show"]).fails_at_once("at rest", &["nothing runs"]);

    // It stays in force over a start, and both sides of each binding have it in their logs.
    let check = run(&["check", "--data-dir", data, "--json"]);
    assert_eq!(policies(&check.good().json()), expected);
    for name in ["app-0001", "pack-0001", "module-0001", "module-0002"] {
        let log = run(&["audit", "show", dir.join(format!("audit/{name}.log")).to_str().unwrap()]);
        assert!(log.good().out.contains("policy pending"), "{name}: {}", log.out);
    }
    run(&["audit", "verify", data]).good();
}
