//! `cargo xtask demo`: build the command, then become it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Builds `modbatt` in release and runs its `demo` with `args`.
///
/// Everything said here goes to standard error: standard output belongs to the
/// demo, whose last line is read by scripts.
pub fn run(args: &[String]) -> Result<()> {
    let rustc = shell::output_of(Command::new("rustc").arg("--version").current_dir(shell::root()))
        .context("the Rust toolchain named in rust-toolchain.toml is not usable")?;
    eprintln!("demo: {}", rustc.trim());
    eprintln!("demo: building modbatt (release; the first time takes some minutes, then seconds)");
    let binary = build(Profile::Release)?;
    become_program(Command::new(&binary).arg("demo").args(args))
        .with_context(|| format!("cannot start {}", binary.display()))
}

/// What the binary is built for.
pub enum Profile {
    /// To be used.
    Release,
    /// To be tested: the one that the tests of the command compile and start, with the features that cargo gives
    /// the workspace's tests. Built by itself it would be compiled with other features, and all beneath it once more.
    Dev,
}

/// Builds the binary, with cargo's own progress, and says where it lies.
pub fn build(profile: Profile) -> Result<PathBuf> {
    let selection: &[&str] = match profile {
        Profile::Release => &["--release", "--package", "modbatt", "--bin", "modbatt"],
        Profile::Dev => &["--workspace", "--test", "cli"],
    };
    let mut child = shell::cargo()
        .arg("build")
        .args(selection)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut binary = None;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            binary = shell::executable(&line.context("cannot read cargo's messages")?, "modbatt").or(binary);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("modbatt could not be built ({status}); the reason stands above");
    }
    binary.context("cargo named no executable for modbatt")
}

/// Replaces this process, so that signals and the exit code need no forwarding.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    std::process::exit(status.code().unwrap_or(1));
}
