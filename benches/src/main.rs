//! The benches of the product. `cargo xtask bench NAME` builds this program, once for any CPU and once for the one it
//! runs on, and puts what it prints together.
//!
//! Standard output is one JSON object. Nothing here is a test: figures are compared with peers of the same run, never
//! with a limit.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use measure::Effort;
use serde_json::{Value, json};

#[cfg(feature = "host")]
mod ledger;
mod link;
mod measure;
mod receipt;
mod tiers;
mod timing;
/// The devices and the chain of the ledger's tests.
#[path = "../../crates/ledger/tests/world/mod.rs"]
mod world;

/// The lock file names the versions of the peers.
const LOCK: &str = include_str!("../Cargo.lock");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "host")]
    if let [what, rest @ ..] = args.as_slice()
        && let Some((_, run)) = ledger::PROGRAMS.iter().find(|(name, _)| name == what)
    {
        return match run(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error),
        };
    }
    match bench(&args) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => failure(&error),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("benches: {error:#}");
    ExitCode::FAILURE
}

fn bench(args: &[String]) -> Result<Value> {
    let (mut quick, mut only) = (false, None);
    let mut options = args.iter().skip(1).map(String::as_str);
    while let Some(option) = options.next() {
        match option {
            "--quick" => quick = true,
            "--only" => only = Some(options.next().context("--only names a part of the bench")?),
            _ => bail!("there is no option `{option}`; there is --quick, and for the ledger --only PART"),
        }
    }
    let effort = if quick { Effort { rounds: 9, turn: 64 } } else { Effort { rounds: 801, turn: 256 } };
    let mut figures = match args.first().map(String::as_str) {
        #[cfg(feature = "host")]
        Some("ledger") => ledger::run(quick, only)?,
        Some(name) if only.is_some() => bail!("`{name}` has no parts to run alone"),
        Some("link") => link::run(effort)?,
        Some("tiers") => tiers::run(effort)?,
        Some("receipt") => receipt::run(effort)?,
        Some("timing") => timing::run(quick)?,
        _ => bail!("name a bench: ledger, link, receipt, tiers, timing"),
    };
    // A bench of its own effort says so.
    if figures["rounds"].is_null() {
        figures["rounds"] = effort.rounds.into();
        figures["turn"] = effort.turn.into();
    }
    figures["cpu"] = cpu();
    figures["versions"] = versions();
    Ok(figures)
}

/// Versions of what does the work.
fn versions() -> Value {
    let version = |name: &str| {
        let entry =
            LOCK.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{name}\"\n")))?;
        Some(entry.split("version = \"").nth(1)?.split('"').next()?.to_owned())
    };
    let mut all = json!({ "openssl": openssl::version::version() });
    for name in [
        "aes-gcm",
        "aes",
        "polyval",
        "ring",
        "aws-lc-rs",
        "graviola",
        "redb",
        "jmt",
        "rusqlite",
        "libsqlite3-sys",
    ] {
        all[name] = version(name).into();
    }
    all
}

/// What the CPU has of the instructions that matter here.
fn cpu() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
    let matter = ["aes", "pclmulqdq", "pmull", "avx2", "avx512f", "vaes", "vpclmulqdq", "sha_ni", "sha2"];
    let has: Vec<&str> = flags.split(' ').filter(|flag| matter.contains(flag)).collect();
    json!({ "model": field("model name"), "flags": has })
}
