//! Load on a running bridge, and what stands beside it: `cargo xtask bench bridge`, `cargo xtask soak bridge`.
//!
//! ```text
//! load bench MODBATT [--quick]             figures beside bare axum, bare hyper and the kernel's own share, as JSON
//! load soak MODBATT SECONDS                mixed load; whether its memory stays what it was
//! load gateways MODBATT COUNT SECONDS      so many gateways, and whether all that they were told is so
//! ```
//!
//! Servers are processes of their own, so that the system says what each of them computes.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // Helpers of a program that measures: it stops where one fails.

#[path = "../../../modbatt/tests/fleet/mod.rs"]
mod fleet;
mod gateways;
mod peers;
mod rates;
mod server;
mod soak;
mod wire;

use std::{process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let seconds = |text: &str| Duration::from_secs(text.parse().unwrap());
    match args[..] {
        ["bench", modbatt] => println!("{}", rates::run(modbatt, false)),
        ["bench", modbatt, "--quick"] => println!("{}", rates::run(modbatt, true)),
        ["soak", modbatt, time] => return verdict(soak::run(modbatt, seconds(time))),
        ["gateways", modbatt, count, time] => {
            return verdict(gateways::run(modbatt, count.parse().unwrap(), seconds(time)));
        }
        [peers::AXUM] => peers::axum(),
        [peers::HYPER] => peers::hyper(),
        [peers::KERNEL] => peers::kernel(),
        [peers::LEDGER, dir] => peers::ledger(dir.as_ref(), None),
        [peers::LEDGER, dir, blocks] => peers::ledger(dir.as_ref(), Some(blocks.parse().unwrap())),
        _ => {
            eprintln!("load: see the head of crates/bridge/benches/load/main.rs");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Prints the figures; a verdict that is not good is a failure.
fn verdict(figures: serde_json::Value) -> ExitCode {
    println!("{figures}");
    if figures["ok"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
