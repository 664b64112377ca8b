//! The demonstration of escalation on measured data: the 130 A discharge with a temperature limit of 35 degC.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../sim/tests/data/mod.rs"]
mod data;
#[allow(dead_code)]
mod process;

use std::collections::BTreeMap;
use std::path::Path;

use process::run;
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Telemetry beyond the limit, a command at level 5, bindings at level 7: each is stated by the device whose act it is,
/// recorded on the ledger and written into the logs, and nothing is switched because of it.
#[test]
fn the_130_a_discharge_escalates_from_telemetry_to_the_bindings() {
    let Some(file) = data::leaf("module123-irdischarge-65ah-2_0c.csv") else { return };
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let fixed = ["demo", "--replay", text(&file), "--headless", "--speed", "max", "--json"];
    let ended = run(&[&fixed[..], &["--temperature-limit", "35", "--data-dir", text(&dir)]].concat());
    let line = ended.good().json();
    assert_eq!((line["refused_jobs"].as_u64(), line["rows"].as_u64()), (Some(0), Some(2_209)), "{line}");
    for said in ["the pack asks for validation level 5", "the app asks for validation level 7"] {
        assert!(ended.err.contains(said), "{}", ended.err);
    }
    let faults = line["faults"].as_array().unwrap();
    let hot = faults.iter().find(|f| f["name"] == "TemperatureHigh").unwrap();
    assert_eq!((hot["component"].as_str(), hot["severity"].as_u64()), (Some("module-0002"), Some(2)));

    // What the ledger says, proved by receipts.
    let mut stated = BTreeMap::<String, Vec<Value>>::new();
    let trust = line["trust_file"].as_str().unwrap();
    for entry in std::fs::read_dir(dir.join("receipts")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let kinds = ["fault", "paired_command", "binding_verification", "announce", "energy-"];
        if kinds.iter().any(|kind| name.starts_with(kind)) || name.starts_with("pairing_completion") {
            let proved = run(&["verify", text(&path), "--trust", trust, "--json"]).good().json();
            assert_eq!(proved["result"], "proved", "{name}");
            let statement = proved["statement"].clone();
            let kind = statement["event"].as_str().unwrap().to_owned();
            stated.entry(kind).or_default().push(statement);
        }
    }
    let target = |s: &Value| s["escalation"]["target"].as_u64();
    let fault: Vec<&Value> = stated["fault"].iter().filter(|s| target(s) == Some(5)).collect();
    assert!(!fault.is_empty() && fault.iter().all(|s| s["witnesses"].as_array().unwrap().len() == 1));
    let command = &stated["paired_command"];
    assert!(!command.is_empty() && command.iter().all(|s| target(s) == Some(7)), "{command:?}");
    assert!(stated["binding_verification"].len() >= 5, "app, pack and three modules");
    assert_eq!(stated["announce"].len(), 5, "each announced its start, with its access data");
    assert!(stated["announce"].iter().all(|s| s["access"]["endpoint"].is_string()));
    assert_eq!(stated["pairing_completion"].len(), 8, "both sides of four pairings");
    // A module was the witness of the pack's energy.
    assert!(stated["energy"].iter().all(|s| s["witnesses"].as_array().unwrap().len() == 1), "quorum");

    // What the logs say: who asked, and who was asked.
    let mut raised = BTreeMap::<String, u32>::new();
    for entry in std::fs::read_dir(dir.join("audit")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "log") {
            continue;
        }
        let shown = run(&["audit", "show", text(&path)]).good().out.clone();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        raised.insert(name, shown.lines().filter(|l| l.contains("validation level raised")).count() as u32);
    }
    println!("{raised:?}");
    let asked = raised.values().filter(|n| **n > 0).count();
    assert!(asked >= 3, "app, pack and a module: {raised:?}");
    // Each of the three steps a few times at most: requests are limited, and only a crossing of the limit asks.
    assert!(raised.values().all(|n| *n <= 24), "{raised:?}");
}
