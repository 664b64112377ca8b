//! An operator has parts of a running pack paired anew.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod process;

use process::{run, start};

#[test]
fn what_is_ordered_is_done_by_the_running_pack() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let data = dir.to_str().unwrap();
    let pair = |args: &[&str]| run(&[&["pair", "--data-dir", data], args].concat());
    let mut demo = start(&["demo", "--modules", "2", "--data-dir", data, "--speed", "10", "--json"]);
    demo.wait_ready();
    pair(&["pack-0001", "module-0009"]).fails_at_once("unknown", &["W4_ERR_COMPONENT_NOT_FOUND"]);
    pair(&["module-0001", "pack-0001"]).fails_at_once("order", &["W4_ERR_BINDING_INVALID"]);
    pair(&["app-0001", "module-0001"]).fails_at_once("not bound", &["W4_ERR_PAIRING_DENIED"]);
    pair(&["pack-0001", "m"]).fails("id", &["3 to 64 characters"]);

    let of_app = pair(&["app-0001", "pack-0001", "--json"]).good().json();
    assert_eq!(of_app["state"], "done", "{of_app}");
    let of_module = pair(&["pack-0001", "module-0002"]);
    assert_eq!(of_module.good().out, "pack-0001 and module-0002 are paired anew\n");
    let placed = pair(&["pack-0001", "module-0001", "--wait", "0", "--json"]).good().json();
    assert_eq!(placed["state"], "waiting", "{placed}");
    let check = run(&["check", "--data-dir", data]);
    check.good();
    demo.interrupt();
    let ended = demo.wait();
    ended.good();
    assert!(ended.err.contains("renewed: pair app-0001 pack-0001"), "{}", ended.err);

    // The logs say it: the app paired twice, module 2 as well.
    let pairings = |name: &str| {
        let log = run(&["audit", "show", dir.join(format!("audit/{name}.log")).to_str().unwrap()]);
        log.good().out.matches("  paired  ").count()
    };
    assert_eq!((pairings("app-0001"), pairings("module-0002")), (2, 2));
    pair(&["app-0001", "pack-0001"]).fails_at_once("at rest", &["nothing runs"]);
}
