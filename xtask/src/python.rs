//! A Python of the tests' own: foreign peers and models are Python programs.
//!
//! A virtual environment in `target/python` gets exactly the versions of `xtask/python.txt`, from the
//! package index that pip is set up for. Nothing outside `target` is touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::suite::Outcome;

/// What gets installed, one pinned package per line.
const REQUIREMENTS: &str = include_str!("../python.txt");

/// Makes the environment. Without Python it does not run; where `CI` is set that fails.
pub fn run() -> Result<Outcome> {
    Ok(match interpreter()? {
        Ok(_) => Outcome::Passed,
        Err(reason) => Outcome::NotRun(reason),
    })
}

/// The interpreter of the environment, which is made when needed; or why there is none.
pub fn interpreter() -> Result<Result<PathBuf, &'static str>> {
    let Some(python) = system_python() else {
        if std::env::var_os("CI").is_some() {
            bail!(
                "no Python 3.11 or newer is installed; the model and the tests with foreign peers need one"
            );
        }
        eprintln!("python not run: no Python 3.11 or newer is installed");
        return Ok(Err("no Python 3.11 or newer"));
    };
    environment(&python)?;
    Ok(Ok(interpreter_in(&shell::root().join("target/python"))))
}

/// Makes or renews the environment when it does not match [`REQUIREMENTS`].
fn environment(system: &str) -> Result<()> {
    let folder = shell::root().join("target/python");
    let interpreter = interpreter_in(&folder);
    let stamp = folder.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS)
        && shell::answers(Command::new(&interpreter).arg("--version"))
    {
        return Ok(());
    }
    shell::run(Command::new(system).args(["-m", "venv", "--clear"]).arg(&folder))
        .context("a virtual environment could not be made (on Debian the package python3-venv is needed)")?;
    shell::run(
        Command::new(&interpreter)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(shell::root().join("xtask/python.txt")),
    )
    .context("the packages of xtask/python.txt could not be installed")?;
    std::fs::write(&stamp, REQUIREMENTS).with_context(|| format!("cannot write {}", stamp.display()))
}

fn interpreter_in(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

fn system_python() -> Option<String> {
    let new_enough = "import sys; sys.exit(sys.version_info < (3, 11))";
    ["python3", "python"]
        .into_iter()
        .find(|name| shell::answers(Command::new(name).args(["-c", new_enough])))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_and_comes_from_no_named_place() {
        let lines: Vec<&str> = REQUIREMENTS
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert!(!lines.is_empty());
        for line in lines {
            let pinned = line.split_once("==").is_some_and(|(name, version)| {
                name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                    && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
            });
            assert!(pinned, "`{line}` is not NAME==VERSION");
        }
    }
}
