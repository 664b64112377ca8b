//! `cargo xtask tidy`: the rules about the tree that no compiler checks.
//!
//! A rule is a function from a repository's root to findings, so that each rule
//! is tested on a small tree made for it, and all of them, inside `cargo test`,
//! on this repository.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

mod arrows;
mod documents;
mod sources;

/// The crates that must compile without an operating system.
pub const NO_STD: [&str; 3] = ["lct", "pack", "ledger"];

/// A rule broken at one place.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// Relative to the root.
    path: PathBuf,
    /// Counted from 1; 0 stands for the file as a whole.
    line: usize,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.text),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.text),
        }
    }
}

/// Checks the repository and prints every finding.
pub fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("`tidy` takes no arguments, but was given `{arg}`");
    }
    let findings = check(&shell::root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy: one rule is broken"),
        count => bail!("tidy: {count} rules are broken"),
    }
}

fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = arrows::check(root)?;
    findings.extend(sources::check(root)?);
    findings.extend(documents::check(root)?);
    Ok(findings)
}

/// One file of the tree, read.
struct Text {
    /// Relative to the root.
    path: PathBuf,
    content: String,
}

impl Text {
    fn finding(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, text: text.into() }
    }
}

/// Every file below `folder` (relative to `root`) with this extension, in the order of
/// their paths. Hidden folders and build output are passed over.
fn files(root: &Path, folder: &str, extension: &str) -> Result<Vec<Text>> {
    let mut found = Vec::new();
    collect(root, &root.join(folder), extension, &mut found)?;
    found.sort_by(|a: &Text, b: &Text| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(root: &Path, folder: &Path, extension: &str, found: &mut Vec<Text>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                collect(root, &path, extension, found)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            let content =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            found.push(Text { path, content });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a small tree and gives its root.
    pub fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    /// The findings as text, for comparison with a table.
    pub fn shown(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn this_repository_is_tidy() {
        let findings = check(&shell::root()).unwrap();
        assert!(findings.is_empty(), "\n{}", shown(&findings).join("\n"));
    }

    #[test]
    fn build_output_and_hidden_folders_are_not_sources() {
        let root = tree(&[
            ("crates/a/src/lib.rs", ""),
            ("crates/a/target/debug/out.rs", ""),
            ("crates/a/.cache/x.rs", ""),
            ("crates/a/notes.md", ""),
        ]);
        let paths: Vec<_> =
            files(root.path(), "crates", "rs").unwrap().into_iter().map(|text| text.path).collect();
        assert_eq!(paths, [PathBuf::from("crates/a/src/lib.rs")]);
    }
}
