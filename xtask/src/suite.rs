//! `cargo xtask test`: what CI checks, in order, and how long each part took.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{bare_metal, bench, deny, fuzz, model, protocol_models, python, shell, tidy, token};

/// One part of the suite.
pub struct Part {
    /// The word after `--only`.
    pub name: &'static str,
    /// One line for the help table.
    pub about: &'static str,
    /// Left out unless `--long` is given or the part is named.
    long: bool,
    run: fn() -> Result<Outcome>,
}

/// How a part ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The part ran and found nothing.
    Passed,
    /// The part could not run, and this is why. It is not a failure, and it is never silent.
    NotRun(&'static str),
}

/// What may follow `test`, before the names of its parts.
pub const WORDS: [(&str, &str); 2] = [
    ("--long", "also the parts that say so"),
    ("--only PART", "this part and no other; may stand several times. The parts, in order:"),
];

/// Every part, quickest verdict first.
pub const PARTS: [Part; 17] = [
    Part { name: "fmt", about: "rustfmt leaves every file as it is", long: false, run: fmt },
    Part { name: "tidy", about: "the rules of `cargo xtask tidy`", long: false, run: tidy_part },
    Part { name: "clippy", about: "clippy on all targets, warnings are errors", long: false, run: clippy },
    Part {
        name: "python",
        about: "the Python packages that tests use, in target/python",
        long: false,
        run: python::run,
    },
    Part { name: "tests", about: "cargo test --workspace, then lct as on a device", long: false, run: tests },
    Part {
        name: "model",
        about: "the second implementation: vectors, a recording opened; the Python client",
        long: false,
        run: model::run,
    },
    Part {
        name: "protocol-models",
        about: "handshakes in Verifpal: no attack, and attacks without each defence",
        long: false,
        run: protocol_models::run,
    },
    Part {
        name: "protocol-models-long",
        about: "the same models with more sessions, with --long",
        long: true,
        run: protocol_models::run_long,
    },
    Part {
        name: "release-history",
        about: "the ledger's frozen history in a release build, with --long",
        long: true,
        run: release_history,
    },
    Part {
        name: "long-tests",
        about: "the tests marked #[ignore], with --long",
        long: true,
        run: long_tests,
    },
    Part {
        name: "bench-smoke",
        about: "the bench of the link beside its peers, a quick run, with --long",
        long: true,
        run: bench_smoke,
    },
    Part {
        name: "timing",
        about: "instructions that must not depend on secrets, on an emulated Cortex-M4, with --long",
        long: true,
        run: timing,
    },
    Part { name: "doc", about: "rustdoc, warnings are errors", long: false, run: doc },
    Part { name: "bare-metal", about: "lct, pack, ledger for thumbv7em", long: false, run: bare_metal::run },
    Part { name: "fuzz", about: "every parser on the link, some seconds each", long: false, run: fuzz::run },
    Part { name: "deny", about: "licences, bans and sources of dependencies", long: false, run: deny::tree },
    Part {
        name: "advisories",
        about: "known defects of dependencies, if the database can be fetched",
        long: false,
        run: deny::advisories,
    },
];

/// Runs the parts that `args` ask for and prints the table.
pub fn run(args: &[String]) -> Result<()> {
    let parts = select(args)?;
    let mut rows = Vec::new();
    let mut failure = None;
    for part in parts {
        eprintln!("\n== {}: {}", part.name, part.about);
        let start = Instant::now();
        let outcome = (part.run)();
        let result = match &outcome {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::NotRun(reason)) => format!("not run: {reason}"),
            Err(_) => "FAILED".to_owned(),
        };
        rows.push((part.name, result, start.elapsed().as_secs_f64()));
        if let Err(error) = outcome {
            failure = Some((part.name, error));
            break;
        }
    }
    print!("\n{}", table(&rows));
    if let Some((name, error)) = failure {
        bail!("`{name}` failed: {error:#}\nTo run only this part: cargo xtask test --only {name}");
    }
    Ok(())
}

/// The parts that the arguments ask for, in the order of [`PARTS`].
fn select(args: &[String]) -> Result<Vec<&'static Part>> {
    let mut long = false;
    let mut only: Vec<&str> = Vec::new();
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--long" => long = true,
            "--only" => only.push(args.next().context("--only needs the name of a part")?),
            other => bail!("`test` has no option `{other}`; it takes --long and --only PART"),
        }
    }
    if let Some(unknown) = only.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        bail!("there is no part `{unknown}`; the parts are {}", names.join(", "));
    }
    let wanted = |part: &&Part| {
        if only.is_empty() { long || !part.long } else { only.contains(&part.name) }
    };
    Ok(PARTS.iter().filter(wanted).collect())
}

fn table(rows: &[(&str, String, f64)]) -> String {
    let width = rows.iter().map(|(_, result, _)| result.len()).max().unwrap_or(0).max("result".len());
    let names = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max("part".len());
    let mut text = format!("{:names$} {:width$} {:>8}\n", "part", "result", "seconds");
    for (name, result, seconds) in rows {
        text += &format!("{name:names$} {result:width$} {seconds:8.1}\n");
    }
    let total: f64 = rows.iter().map(|(_, _, seconds)| seconds).sum();
    text += &format!("{:names$} {:width$} {total:8.1}\n", "all", "");
    text
}

fn fmt() -> Result<Outcome> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed)
}

fn tidy_part() -> Result<Outcome> {
    tidy::run(&[])?;
    Ok(Outcome::Passed)
}

fn clippy() -> Result<Outcome> {
    shell::run(shell::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    Ok(Outcome::Passed)
}

fn tests() -> Result<Outcome> {
    token::prepare()?;
    shell::run(shell::cargo().args(["test", "--workspace"]))?;
    // In the workspace the host backend of P-256 is on; devices run without it.
    shell::run(shell::cargo().args(["test", "--package", "lct", "--lib", "--tests"]))?;
    Ok(Outcome::Passed)
}

fn long_tests() -> Result<Outcome> {
    // Not the documentation tests: there, "ignore" marks text that is no program.
    shell::run(shell::cargo().args([
        "test",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--",
        "--ignored",
    ]))?;
    Ok(Outcome::Passed)
}

/// That the same history comes to the same root in both builds; the debug build has it among the usual tests.
fn release_history() -> Result<Outcome> {
    shell::run(shell::cargo().args([
        "test",
        "--release",
        "--package",
        "ledger",
        "--test",
        "all",
        "history::",
    ]))?;
    Ok(Outcome::Passed)
}

/// That the bench compiles, that its contenders agree on bytes, and that nothing allocates where nothing may; no figures.
fn bench_smoke() -> Result<Outcome> {
    bench::run(&["link".to_owned(), "--quick".to_owned()])?;
    Ok(Outcome::Passed)
}

fn timing() -> Result<Outcome> {
    bench::firmware::timing()?;
    Ok(Outcome::Passed)
}

fn doc() -> Result<Outcome> {
    shell::run(shell::cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Result<Vec<&'static str>> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Ok(select(&args)?.iter().map(|part| part.name).collect())
    }

    #[test]
    fn options_choose_the_parts() {
        let usual = names(&[]).unwrap();
        assert!(!usual.contains(&"long-tests"));
        assert!(!usual.contains(&"release-history"));
        assert!(!usual.contains(&"protocol-models-long"));
        assert!(!usual.contains(&"bench-smoke"));
        assert!(!usual.contains(&"timing"));
        assert_eq!(usual.len(), PARTS.len() - 5);
        assert_eq!(names(&["--long"]).unwrap().len(), PARTS.len());
        assert_eq!(names(&["--only", "doc"]).unwrap(), ["doc"]);
        assert_eq!(names(&["--only", "long-tests"]).unwrap(), ["long-tests"]);
        assert_eq!(names(&["--only", "doc", "--only", "fmt"]).unwrap(), ["fmt", "doc"]);
    }

    #[test]
    fn a_mistyped_option_or_part_runs_nothing() {
        for args in [&["--only"][..], &["--only", "clipy"], &["--lnog"], &["doc"]] {
            assert!(names(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn the_table_keeps_its_columns_when_a_reason_is_long() {
        let rows =
            [("fmt", "passed".to_owned(), 0.5), ("advisories", "not run: a long reason".to_owned(), 12.0)];
        let text = table(&rows);
        let ends: Vec<usize> = text.lines().map(str::len).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{text}");
        assert!(text.ends_with("12.5\n"), "{text}");
    }
}
