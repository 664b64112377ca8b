//! The model of the secure link in `spec/model` against the golden vectors, its own vectors, and a demo; and the Python
//! client, which verifies receipts with it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::suite::Outcome;
use crate::{demo, python, shell};

/// Recomputes the golden vectors, computes the published ones anew, and opens the recording of a fresh demo.
pub fn run() -> Result<Outcome> {
    let interpreter = match python::interpreter()? {
        Ok(interpreter) => interpreter,
        Err(reason) => return Ok(Outcome::NotRun(reason)),
    };
    client(&interpreter)?;
    program(&interpreter, "check_golden.py", &[])?;
    program(&interpreter, "make_vectors.py", &["--check".as_ref()])?;
    let binary = demo::build(demo::Profile::Dev)?;
    let folder = shell::root().join("target/model");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    program(&interpreter, "check_demo.py", &[&binary, &folder])?;
    Ok(Outcome::Passed)
}

fn program(interpreter: &Path, name: &str, arguments: &[&Path]) -> Result<()> {
    let script = shell::root().join("spec/model").join(name);
    // Bytecode would lie in the tree.
    shell::run(Command::new(interpreter).arg("-B").arg(script).args(arguments))
}

/// The tests of `clients/python` that need no bridge.
fn client(interpreter: &Path) -> Result<()> {
    let folders = ["clients/python/src", "spec/model"].map(|folder| shell::root().join(folder));
    let path = std::env::join_paths(folders).context("a folder's name cannot stand in PYTHONPATH")?;
    let test = shell::root().join("clients/python/tests/test_client.py");
    shell::run(Command::new(interpreter).arg("-B").arg(test).env("PYTHONPATH", path))
}
