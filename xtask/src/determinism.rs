//! What must not be in the ledger does not pass there: its own `clippy.toml` and the attributes at its head refuse small files
//! that have it. A lint that is taken away, or a list that lost an entry, shows here.

use std::fs;
use std::process::Command;

use crate::shell;

/// What clippy says of a file with the attributes of the ledger's crate and `code`, and whether it passes.
fn judged(code: &str) -> (bool, String) {
    let ledger = shell::root().join("crates/ledger");
    let head = fs::read_to_string(ledger.join("src/lib.rs")).expect("the ledger has a lib.rs");
    let attributes: Vec<_> = head.lines().filter(|line| line.starts_with("#![")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("planted.rs");
    fs::write(&file, format!("{}\n{code}\n", attributes.join("\n"))).expect("a file");
    let mut clippy = Command::new("clippy-driver");
    clippy
        .env("CLIPPY_CONF_DIR", &ledger)
        .arg("--edition=2024")
        .arg("--crate-type=lib")
        .arg("--emit=metadata");
    let out = clippy.arg("--out-dir").arg(folder.path()).arg(&file).output().expect("clippy is installed");
    (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn floats_clocks_and_hashed_collections_do_not_pass_in_the_ledger() {
    let sound = "extern crate alloc; pub fn sum(a: &alloc::collections::BTreeMap<u8, u64>) -> u64 { a.values().sum() }";
    let (passes, text) = judged(sound);
    assert!(passes, "a sound file: {text}");
    let planted = [
        ("pub fn f(a: u8) -> bool { a as f64 > 1.0 }", "disallowed type `f64`"),
        ("pub struct S { pub a: f32 }", "disallowed type `f32`"),
        ("pub fn f(a: u8) -> u8 { (1.5 * 2.0) as u8 + a }", "floating-point arithmetic"),
        ("pub type T = std::collections::BTreeMap<u8, u8>;", "crate `std`"),
        ("extern crate std; pub type T = std::collections::HashMap<u8, u8>;", "HashMap"),
        ("extern crate std; pub type T = std::collections::HashSet<u8>;", "HashSet"),
        ("extern crate std; pub fn f() -> std::hash::RandomState { Default::default() }", "RandomState"),
        ("extern crate std; pub fn f() -> bool { std::time::Instant::now().elapsed().is_zero() }", "Instant"),
        (
            "extern crate std; pub fn f() -> bool { std::time::SystemTime::now().elapsed().is_ok() }",
            "SystemTime",
        ),
        (
            "extern crate std; pub fn f() { std::thread::sleep(core::time::Duration::ZERO) }",
            "disallowed method",
        ),
        ("extern crate std; pub fn f() -> bool { std::env::var(\"X\").is_ok() }", "disallowed method"),
        ("pub fn f(a: &u8) -> u8 { unsafe { *core::ptr::from_ref(a) } }", "unsafe"),
    ];
    for (code, why) in planted {
        let (passes, text) = judged(code);
        assert!(!passes && text.contains(why), "`{code}` is not refused as `{why}`: {text}");
    }
    println!("{} planted files refused", planted.len());
}
