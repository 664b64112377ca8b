//! SoftHSM2, a PKCS#11 token in software, for the tests of keys in tokens.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

const PACKAGE: &str = "softhsm2";
/// What the tests run to make a token.
const TOOL: &str = "softhsm2-util";

/// Installs it when it is missing. Where nobody asks for every test, a machine on which that cannot be done goes without: the
/// tests then say "not run".
pub fn prepare() -> Result<()> {
    if shell::answers(Command::new(TOOL).arg("--version")) {
        return Ok(());
    }
    match install() {
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("{error:#}; the tests of keys in tokens say \"not run\"");
            Ok(())
        }
        done => done,
    }
}

fn install() -> Result<()> {
    let advice = format!(
        "{TOOL} is missing; as root `apt-get update && apt-get install --no-install-recommends {PACKAGE}`"
    );
    if !shell::answers(Command::new("apt-get").arg("--version")) {
        bail!("{advice}, or the package of that name of this system, which has no apt-get");
    }
    let user = shell::output_of(Command::new("id").arg("-u"))?;
    let sudo = user.trim() != "0";
    if sudo && !shell::answers(Command::new("sudo").args(["-n", "true"])) {
        bail!("{advice} (this user is not root, and sudo asks for a password or is missing)");
    }
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", PACKAGE]] {
        let mut command = Command::new(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        } else {
            command.env("DEBIAN_FRONTEND", "noninteractive");
        }
        shell::run(command.args(arguments)).with_context(|| advice.clone())?;
    }
    if !shell::answers(Command::new(TOOL).arg("--version")) {
        bail!("{PACKAGE} was installed, but {TOOL} does not run: {advice}");
    }
    Ok(())
}
