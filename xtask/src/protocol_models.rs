//! The protocol models of `spec/models`, searched for attacks by Verifpal.
//!
//! A model states properties; no attack may be found on any of them. It also names variations of itself, each with
//! one defence removed or one key leaked, and says which properties each of them loses: exactly those attacks must be
//! found, so a model in which nothing can be found fails.

mod names;
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::suite::Outcome;
use text::Model;

/// The version whose language the models are written in.
const VERSION: &str = "1.6.7";

/// Every model and every variation, with the numbers of sessions that the model asks for.
pub fn run() -> Result<Outcome> {
    let (program, models) = (installed()?, models()?);
    let (mut wrong, mut variations) = (Vec::new(), Vec::new());
    println!("{:8} {:40} {:31} attack found", "model", "property", "as specified");
    for model in &models {
        let varied = model.variations.iter().map(|name| (name.as_str(), model.sessions.varied));
        let found = search(&program, model, std::iter::once(("", model.sessions.specified)).chain(varied))?;
        for (at, query) in model.queries.iter().enumerate() {
            let broken_by = found[1..].iter().filter(|(_, broken)| broken[at]);
            let broken_by: Vec<&str> = broken_by.map(|(name, _)| *name).collect();
            let claim = claim(found[0].1[at], model.sessions.specified);
            println!("{:8} {:40} {claim:31} {}", model.name, query.text, broken_by.join(", "));
        }
        for (variation, broken) in &found[1..] {
            let kept = model.queries.iter().zip(broken).filter(|(_, broken)| !**broken);
            let kept: Vec<&str> = kept.map(|(query, _)| query.text.as_str()).collect();
            let kept = if kept.is_empty() { "(none)".to_owned() } else { kept.join("; ") };
            variations.push(format!("{:8} {variation:24} {:8} {kept}", model.name, model.sessions.varied));
        }
        wrong.extend(found.iter().flat_map(|(variation, broken)| model.differences(variation, broken)));
    }
    println!("\n{:8} {:24} {:>8} still no attack found", "model", "variation", "sessions");
    println!("{}", variations.join("\n"));
    judge(&wrong)
}

/// The models as specified, with more sessions than there is time for otherwise.
pub fn run_long() -> Result<Outcome> {
    let program = installed()?;
    let mut wrong = Vec::new();
    for model in &models()? {
        let found = search(&program, model, std::iter::once(("", model.sessions.long)))?;
        for (query, broken) in model.queries.iter().zip(&found[0].1) {
            println!("{:8} {:40} {}", model.name, query.text, claim(*broken, model.sessions.long));
        }
        wrong.extend(model.differences("", &found[0].1));
    }
    judge(&wrong)
}

fn claim(broken: bool, sessions: u8) -> String {
    match (broken, sessions) {
        (true, _) => "ATTACK FOUND".to_owned(),
        (false, 1) => "no attack found with 1 session".to_owned(),
        (false, n) => format!("no attack found with {n} sessions"),
    }
}

fn judge(wrong: &[String]) -> Result<Outcome> {
    if wrong.is_empty() {
        return Ok(Outcome::Passed);
    }
    bail!("the models do not behave as they say:\n  {}", wrong.join("\n  "))
}

/// Reads the models and compares their names with those of the specification.
fn models() -> Result<Vec<Model>> {
    let folder = shell::root().join("spec/models");
    let specification =
        fs::read_to_string(shell::root().join("spec/channel.md")).context("spec/channel.md")?;
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "vp"));
    paths.sort();
    if paths.is_empty() {
        bail!("{} holds no model", folder.display());
    }
    let mut findings = Vec::new();
    let mut models = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let model = Model::parse(&name, &source).with_context(|| path.display().to_string())?;
        findings.extend(names::check(&model, &specification).into_iter().map(|f| format!("{name}.vp: {f}")));
        models.push(model);
    }
    if !findings.is_empty() {
        bail!("names that spec/channel.md does not have:\n  {}", findings.join("\n  "));
    }
    Ok(models)
}

/// Which properties are broken in each of `variations`, given with the sessions to search; "" is the model itself.
fn search<'a>(
    program: &Path,
    model: &Model,
    variations: impl Iterator<Item = (&'a str, u8)>,
) -> Result<Vec<(&'a str, Vec<bool>)>> {
    let folder = shell::root().join("target/protocol-models").join(&model.name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let one = |name: &str, sessions: u8| -> Result<Vec<bool>> {
        let file = folder.join(format!("{}.vp", if name.is_empty() { "specified" } else { name }));
        fs::write(&file, model.variation(name))
            .with_context(|| format!("cannot write {}", file.display()))?;
        let sessions = sessions.to_string();
        let output = shell::output_of(
            Command::new(program)
                .args(["verify", "--result-code", "--quiet", "--color", "never", "--sessions", &sessions])
                .arg(&file),
        )?;
        text::broken(&output, model.queries.len()).with_context(|| file.display().to_string())
    };
    let variations: Vec<(&str, u8)> = variations.collect();
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(usize, Result<Vec<bool>>)> = std::thread::scope(|scope| {
        let (one, variations) = (&one, &variations);
        let lane = move |first| {
            let mine = (first..variations.len()).step_by(lanes);
            mine.map(|i| (i, one(variations[i].0, variations[i].1))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..lanes).map(|first| scope.spawn(move || lane(first))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    found.sort_by_key(|(i, _)| *i);
    if found.len() != variations.len() {
        bail!("{} of {} variations of {} ended", found.len(), variations.len(), model.name);
    }
    variations.iter().zip(found).map(|((name, _), (_, broken))| Ok((*name, broken?))).collect()
}

/// Verifpal in `target`, which is compiled when it is missing.
fn installed() -> Result<PathBuf> {
    let folder = shell::root().join("target/verifpal");
    let program = folder.join("bin").join(if cfg!(windows) { "verifpal.exe" } else { "verifpal" });
    let version = || shell::output_of(Command::new(&program).arg("--version"));
    if version().is_ok_and(|text| text.trim() == format!("verifpal {VERSION}")) {
        return Ok(program);
    }
    let root = folder.to_string_lossy();
    // It says a newer compiler than it needs.
    shell::install("verifpal", VERSION, &["--ignore-rust-version", "--root", &root])?;
    version().context("Verifpal was installed and does not answer")?;
    Ok(program)
}
