//! The bridge under load: what `cargo xtask bench bridge` and the soaks of the bridge run (`crates/bridge/benches/load`).

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// The command whose bridge is loaded, and the program that loads it, both in release.
struct Programs {
    modbatt: PathBuf,
    load: PathBuf,
}

/// Figures beside a bare axum handler, the kernel's own share and the ledger alone.
pub fn bench(quick: bool) -> Result<Value> {
    let programs = build()?;
    let mut command = Command::new(&programs.load);
    command.arg("bench").arg(&programs.modbatt).args(quick.then_some("--quick"));
    let mut document: Value = serde_json::from_str(&shell::output_of(command.stderr(Stdio::inherit()))?)
        .context("no figures came")?;
    let compiler = shell::output_of(Command::new("rustc").arg("--version").current_dir(shell::root()))?;
    document["compiler"] = compiler.trim().into();
    document["profile"] = "release of Cargo.toml, for any CPU of the architecture".into();
    Ok(document)
}

/// Mixed load on a bridge for so many minutes; fails where its memory does not stay what it was.
pub fn soak(minutes: u64) -> Result<()> {
    let programs = build()?;
    let seconds = (minutes * 60).to_string();
    shell::run(Command::new(&programs.load).arg("soak").arg(&programs.modbatt).arg(seconds))
}

/// A thousand gateways on one bridge for so many minutes; fails where something that was acknowledged is not there.
pub fn gateways(minutes: u64) -> Result<()> {
    let programs = build()?;
    let seconds = (minutes * 60).to_string();
    shell::run(Command::new(&programs.load).arg("gateways").arg(&programs.modbatt).arg("1000").arg(seconds))
}

/// Builds both at once, so that what they share is compiled once.
fn build() -> Result<Programs> {
    eprintln!("load: building modbatt and what loads it (release; the first time takes some minutes)");
    let mut child = shell::cargo()
        .args(["build", "--release", "-p", "modbatt", "-p", "bridge", "--bin", "modbatt", "--bench", "load"])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let (mut modbatt, mut load) = (None, None);
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read cargo's messages")?;
            modbatt = shell::executable(&line, "modbatt").or(modbatt);
            load = shell::executable(&line, "load").or(load);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the programs could not be built ({status}); the reason stands above");
    }
    let missing = "cargo named no executable";
    Ok(Programs { modbatt: modbatt.context(missing)?, load: load.context(missing)? })
}
