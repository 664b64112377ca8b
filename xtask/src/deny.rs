//! `cargo deny` over the dependency tree; `deny.toml` holds the rules.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::shell;
use crate::suite::Outcome;

/// The version whose configuration format `deny.toml` is written in.
const VERSION: &str = "0.20.2";

/// How long the advisory database may take to arrive. Without a network the
/// attempt must not hold up the rest.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Licences, bans and sources of every dependency. Needs no network.
pub fn tree() -> Result<Outcome> {
    ensure_installed()?;
    shell::run(shell::cargo().args([
        "deny",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    Ok(Outcome::Passed)
}

/// Known defects of every dependency, if the database of advisories can be fetched.
pub fn advisories() -> Result<Outcome> {
    ensure_installed()?;
    // Fetching is a step of its own, so that "no network" and "a defect" are never confused.
    let fetched = shell::run_within(shell::cargo().args(["deny", "fetch", "db"]), FETCH_LIMIT)?;
    if !fetched.is_some_and(|status| status.success()) {
        eprintln!("advisories not run: database not reachable");
        return Ok(Outcome::NotRun("database not reachable"));
    }
    shell::run(shell::cargo().args(["deny", "check", "--disable-fetch", "advisories"]))?;
    Ok(Outcome::Passed)
}

fn ensure_installed() -> Result<()> {
    if shell::answers(shell::cargo().args(["deny", "--version"])) {
        return Ok(());
    }
    shell::install("cargo-deny", VERSION, &[])?;
    if !shell::answers(shell::cargo().args(["deny", "--version"])) {
        bail!("cargo-deny was installed but `cargo deny` does not answer: is cargo's bin folder on PATH?");
    }
    Ok(())
}
