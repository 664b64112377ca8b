//! Running other programs: always from the repository's root, always said aloud.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The repository's root, wherever the user stands when typing the command.
pub fn root() -> PathBuf {
    // `cargo run` sets the variable at run time; the value of compile time serves a bare binary.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    let manifest = PathBuf::from(manifest);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// The same `cargo` that runs this program, to be started in the root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// Prints the command, runs it with this program's own input and output, and
/// fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let text = words(command);
    eprintln!("$ {text}");
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Installs a tool from its published sources, as `cargo install PACKAGE --version =VERSION --locked EXTRA`.
///
/// The packages ask for optimisation across all their crates, on one core: that takes twice as long to compile as what
/// a check of CI can save by it.
pub fn install(package: &str, version: &str, extra: &[&str]) -> Result<()> {
    eprintln!("{package} is missing: installing version {version} (some minutes, once)");
    let exact = format!("={version}");
    let mut command = cargo();
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    run(command.args(["install", package, "--version", &exact, "--locked"]).args(extra))
        .with_context(|| format!("{package} could not be installed"))
}

/// The path of the program `name` that cargo built, if this line of its messages names it.
pub fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    (message["reason"] == "compiler-artifact" && message["target"]["name"] == name).then_some(())?;
    message["executable"].as_str().map(PathBuf::from)
}

/// Whether the program can be started and answers with success, without showing anything.
pub fn answers(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// The standard output of a command that must succeed.
pub fn output_of(command: &mut Command) -> Result<String> {
    let text = words(command);
    let output = command.output().with_context(|| format!("cannot start `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{text}` did not print UTF-8"))
}

/// Runs a command for at most `limit`; `None` if it had to be stopped.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let text = words(command);
    eprintln!("$ {text}");
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start `{text}`"))?;
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for `{text}`"))? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().with_context(|| format!("cannot stop `{text}`"))?;
    child.wait().with_context(|| format!("cannot wait for `{text}`"))?;
    Ok(None)
}

/// A command as one would type it: the program's file name, then its arguments.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words: Vec<_> =
        std::iter::once(name).chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_arguments() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).expect_err("exit 3 is a failure");
        assert!(format!("{error:#}").contains("`sh -c exit 3` failed (exit status: 3)"), "{error:#}");
    }

    #[test]
    fn a_missing_program_is_an_error_and_does_not_answer() {
        assert!(run(&mut Command::new("no-such-program-here")).is_err());
        assert!(!answers(&mut Command::new("no-such-program-here")));
    }

    #[test]
    fn a_command_that_takes_too_long_is_stopped() {
        let start = Instant::now();
        let status = run_within(Command::new("sleep").arg("30"), Duration::from_millis(100)).unwrap();
        assert!(status.is_none());
        assert!(start.elapsed() < Duration::from_secs(10), "the child was waited for, not stopped");
    }

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn only_the_artifact_of_the_binary_names_the_executable() {
        let cases = [
            (
                r#"{"reason":"compiler-artifact","target":{"name":"modbatt"},"executable":"/t/release/modbatt"}"#,
                true,
            ),
            // The library target of the same name has no executable.
            (r#"{"reason":"compiler-artifact","target":{"name":"modbatt"},"executable":null}"#, false),
            (
                r#"{"reason":"compiler-artifact","target":{"name":"build-script-build"},"executable":"/t/b"}"#,
                false,
            ),
            (r#"{"reason":"build-finished","success":true}"#, false),
            ("not json", false),
        ];
        for (line, named) in cases {
            let expected = named.then(|| PathBuf::from("/t/release/modbatt"));
            assert_eq!(executable(line, "modbatt"), expected, "{line}");
        }
    }
}
