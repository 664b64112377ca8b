//! Every parser on the link, fed by libFuzzer.
//!
//! `FUZZ_TARGET` names the target, one row of [`targets::TARGETS`]; the other arguments are libFuzzer's. What a target
//! calls must neither panic nor stop a role, whatever the input. `FUZZ_TARGET=list` prints the names.
//! `FUZZ_SEEDS=FOLDER` writes the target's seeds and ends.
#![no_main]

mod coverage;
mod fixture;
mod input;
mod targets;
#[path = "../../crates/pack/tests/world/mod.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod world;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use targets::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(if name == "list" { 0 } else { 2 });
    };
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
        for (i, seed) in (target.seeds)().iter().enumerate() {
            let path = std::path::Path::new(&folder).join(format!("{name}-{i}"));
            if let Err(error) = std::fs::write(&path, seed) {
                eprintln!("{}: {error}", path.display());
                std::process::exit(1);
            }
        }
        std::process::exit(0);
    }
    let _chosen_once = TARGET.set(target);
    coverage::watch(target.watches);
}

fuzz_target!(
    init: choose(),
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
            coverage::gather();
        }
    }
);
