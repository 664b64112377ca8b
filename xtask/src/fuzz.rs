//! The fuzz targets of `fuzz/`, for a short time each: how many inputs, and how much of each parser they reached.
//!
//! libFuzzer needs nothing but the compiler's own coverage pass and a C++ compiler, so this works with the stable
//! toolchain of the workspace. Its corpus stays in `target/fuzz/corpus` and grows from run to run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::suite::Outcome;

/// For all targets together, beside the time of compiling them.
const BUDGET: Duration = Duration::from_secs(4 * 60);

/// Edges are counted by an array that libFuzzer and the targets read, comparisons are traced. The numbers that are
/// wrong in release builds must show here too.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// What one target did.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    executions: u64,
    reached: usize,
    functions: usize,
}

/// Compiles the targets and runs each for its share of the time.
pub fn run() -> Result<Outcome> {
    if !shell::answers(Command::new("c++").arg("--version")) {
        if std::env::var_os("CI").is_some() {
            bail!("no C++ compiler is installed; libFuzzer is compiled with one");
        }
        eprintln!("fuzz not run: no C++ compiler");
        return Ok(Outcome::NotRun("no C++ compiler"));
    }
    let folder = shell::root().join("target/fuzz");
    let program = build(&folder)?;
    let names = shell::output_of(Command::new(&program).env("FUZZ_TARGET", "list"))?;
    let names: Vec<&str> = names.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        bail!("there are no targets");
    }
    let lanes = std::thread::available_parallelism().map_or(1, usize::from).min(names.len());
    let seconds = (BUDGET.as_secs() * lanes as u64 / names.len() as u64).max(1);
    eprintln!("{} targets, {seconds} s each, {lanes} at a time", names.len());

    let results: Vec<(usize, Result<Run>)> = std::thread::scope(|scope| {
        let (program, folder, names) = (&program, &folder, &names);
        let lane = |first: usize| {
            let mine = (first..names.len()).step_by(lanes);
            mine.map(|i| (i, one(program, folder, names[i], seconds))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..lanes).map(|first| scope.spawn(move || lane(first))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    if results.len() != names.len() {
        bail!("{} of {} targets ended", results.len(), names.len());
    }

    let mut ordered: Vec<_> = results.into_iter().collect();
    ordered.sort_by_key(|(i, _)| *i);
    println!("{:14} {:>12} {:>20}", "target", "executions", "functions reached");
    let mut failures = Vec::new();
    for (i, result) in ordered {
        let name = names[i];
        match result {
            Ok(run) => {
                let share = 100 * run.reached / run.functions.max(1);
                println!(
                    "{name:14} {:>12} {:>9} of {:3} {share:3} %",
                    run.executions, run.reached, run.functions
                );
                if let Some(fault) = fault(&run) {
                    failures.push(format!("{name}: {fault}"));
                }
            }
            Err(error) => {
                println!("{name:14} {:>12}", "FAILED");
                failures.push(format!("{name}: {error:#}"));
            }
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(Outcome::Passed)
}

/// A run that proves nothing is no success.
fn fault(run: &Run) -> Option<&'static str> {
    if run.executions == 0 {
        Some("executed nothing")
    } else if run.reached == 0 {
        Some("reached no function of its parser")
    } else {
        None
    }
}

fn build(folder: &Path) -> Result<PathBuf> {
    let version = shell::output_of(Command::new("rustc").arg("-vV").current_dir(shell::root()))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    // With a target named, the flags spare build scripts, which nothing links with libFuzzer.
    shell::run(
        shell::cargo()
            .current_dir(shell::root().join("fuzz"))
            // Not locked: a dependency that the product gained must not stop this before its lock file follows.
            .args(["build", "--release", "--target", host, "--target-dir"])
            .arg(folder)
            .env("RUSTFLAGS", FLAGS.join(" ")),
    )
    .context("the fuzz targets do not compile")?;
    Ok(folder.join(host).join("release/fuzz"))
}

fn one(program: &Path, folder: &Path, name: &str, seconds: u64) -> Result<Run> {
    let corpus = folder.join("corpus").join(name);
    let (logs, crashes) = (folder.join("logs"), folder.join("crashes"));
    for folder in [&corpus, &logs, &crashes] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let target = || {
        let mut command = Command::new(program);
        command.env("FUZZ_TARGET", name).current_dir(shell::root());
        command
    };
    shell::output_of(target().env("FUZZ_SEEDS", &corpus)).context("its seeds could not be written")?;
    let log = logs.join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = target()
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/{name}-", crashes.display()))
        .arg(&corpus)
        .stdout(file.try_clone().context("one file for both streams")?)
        .stderr(file)
        .status()
        .context("cannot start the targets")?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        bail!("{}", explained(name, &text, program));
    }
    read(&text).with_context(|| format!("{} does not end as a run does", log.display()))
}

/// The figures of a run that ended well.
fn read(text: &str) -> Option<Run> {
    let after = |mark: &str| text.lines().find_map(|line| line.strip_prefix(mark)).map(str::trim);
    let (reached, functions) = after("functions reached:")?.split_once(" of ")?;
    Some(Run {
        executions: after("stat::number_of_executed_units:")?.parse().ok()?,
        reached: reached.parse().ok()?,
        functions: functions.parse().ok()?,
    })
}

/// What failed, the input that did it, and how to see it again.
fn explained(name: &str, text: &str, program: &Path) -> String {
    let mut words = String::from("an input failed");
    let mut lines = text.lines();
    if let Some(place) = lines.find(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"))
    {
        words += &format!("\n{place}\n{}", lines.next().unwrap_or_default());
    }
    let artifact =
        text.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.trim());
    match artifact.map(|path| (path, fs::read(path))) {
        Some((path, Ok(input))) => {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            words += &format!("\ninput, {} bytes: {hex}", input.len());
            words += &format!("\nagain: FUZZ_TARGET={name} {} {path}", program.display());
        }
        _ => words += "\nno input was kept",
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_run_are_read() {
        let text = "Done 9\nstat::number_of_executed_units: 512\nstat::x: 1\nfunctions reached: 7 of 9\n";
        assert_eq!(read(text), Some(Run { executions: 512, reached: 7, functions: 9 }));
        for cut in ["stat::number_of_executed_units: 512\n", "functions reached: 7 of 9\n", ""] {
            assert_eq!(read(cut), None, "{cut}");
        }
    }

    #[test]
    fn a_run_that_did_nothing_is_a_failure() {
        let run = |executions, reached| Run { executions, reached, functions: 9 };
        assert!(fault(&run(1, 1)).is_none());
        assert!(fault(&run(0, 1)).is_some());
        assert!(fault(&run(1, 0)).is_some());
    }

    #[test]
    fn a_crash_is_told_with_its_input() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("chunk-crash-1");
        fs::write(&input, [1, 0xAB]).unwrap();
        let text = format!(
            "thread panicked at src/chunk.rs:7:1:\nindex out of bounds\nartifact_prefix='x'; Test unit written to {}\n",
            input.display()
        );
        let words = explained("chunk", &text, Path::new("fuzz"));
        for part in ["src/chunk.rs:7:1", "index out of bounds", "2 bytes: 01ab", "FUZZ_TARGET=chunk fuzz "] {
            assert!(words.contains(part), "{words}");
        }
    }
}
