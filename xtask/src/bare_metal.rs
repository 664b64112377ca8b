//! The `no_std` crates, compiled for a Cortex-M4.
//!
//! `#![no_std]` alone proves nothing on a host: `extern crate std` compiles there.
//! Only a target without an operating system refuses it, so this part compiles for one.
//! Two toolchains can do it: rustup's, where the target was added, or Debian's
//! `rustc-web` with the library's sources, which builds `core` and `alloc` itself.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::suite::Outcome;
use crate::tidy::NO_STD;

/// Cortex-M4 with a hardware floating point unit: the pack controller's core.
pub const TARGET: &str = "thumbv7em-none-eabihf";

const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/core/src/lib.rs";

/// The question is whether it compiles, so no time is spent on making it fast.
const UNOPTIMISED: [&str; 4] =
    ["--config", "profile.dev.opt-level=0", "--config", "profile.dev.package.'*'.opt-level=0"];

/// Compiles each crate of [`NO_STD`] alone, so that no neighbour lends it a feature.
pub fn run() -> Result<Outcome> {
    let target_dir = shell::root().join("target/thumb");
    for name in NO_STD {
        let mut command = cross_cargo()?;
        command.args(["build", "--locked", "--lib", "--package", name, "--target", TARGET]).args(UNOPTIMISED);
        command.arg("--target-dir").arg(&target_dir);
        shell::run(&mut command).with_context(|| format!("`{name}` does not compile without std"))?;
    }
    Ok(Outcome::Passed)
}

/// A `cargo` that can compile for [`TARGET`]; its first arguments are set. Debian's is installed when there is none.
pub fn cross_cargo() -> Result<Command> {
    if rustup_has_target() {
        return Ok(shell::cargo());
    }
    if !debian_is_complete() {
        install_debian()?;
    }
    Ok(debian_cargo())
}

fn rustup_has_target() -> bool {
    let list = shell::output_of(
        Command::new("rustup").args(["target", "list", "--installed"]).current_dir(shell::root()),
    );
    list.is_ok_and(|list| list.lines().any(|line| line.trim() == TARGET))
}

/// Whether Debian's toolchain, with the sources of the library, is there in full.
fn debian_is_complete() -> bool {
    [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_SOURCES].iter().all(|path| Path::new(path).exists())
}

fn debian_cargo() -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    command
        .current_dir(shell::root())
        .env("RUSTC", DEBIAN_RUSTC)
        // A stable compiler refuses `-Z`, and there is no core for this target to link instead.
        .env("RUSTC_BOOTSTRAP", "1")
        // Set by the toolchain that runs this program; wrong for the other one.
        .env_remove("LD_LIBRARY_PATH")
        .arg("-Zbuild-std=core,alloc");
    command
}

fn install_debian() -> Result<()> {
    let advice = format!(
        "either run `rustup target add {TARGET}`, or as root \
         `apt-get update && apt-get install --no-install-recommends {}`",
        PACKAGES.join(" ")
    );
    if !shell::answers(Command::new("apt-get").arg("--version")) {
        bail!("no compiler for {TARGET} is installed and this system has no apt-get: {advice}");
    }
    let user = shell::output_of(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        bail!("no compiler for {TARGET} is installed, and installing one needs root: {advice}");
    }
    eprintln!("no compiler for {TARGET} is installed: fetching {} (about 150 MB, once)", PACKAGES.join(", "));
    shell::run(Command::new("apt-get").arg("update")).with_context(|| advice.clone())?;
    shell::run(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(PACKAGES)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| advice.clone())?;
    if !debian_is_complete() {
        bail!("the packages were installed, but {DEBIAN_SOURCES} is not there: {advice}");
    }
    Ok(())
}
