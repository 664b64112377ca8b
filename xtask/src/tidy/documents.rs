//! Rules about the documents: short, complete, and pointing at files that exist.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use anyhow::Result;

use super::{Finding, Text, files};

/// Documents that must exist, and how many lines each may have.
const DOCUMENTS: [(&str, usize); 6] = [
    ("README.md", 150),
    ("ARCHITECTURE.md", 300),
    ("CONTRIBUTING.md", usize::MAX),
    ("SECURITY.md", usize::MAX),
    ("CHANGELOG.md", usize::MAX),
    ("spec/README.md", usize::MAX),
];

/// A code span that starts with one of these names a file of this repository.
const PATH_STARTS: [&str; 4] = ["crates/", "spec/", "docs/", "xtask/"];

pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let texts = files(root, "", "md")?;
    let mut findings = Vec::new();
    for (name, lines_max) in DOCUMENTS {
        let path = Path::new(name);
        match texts.iter().find(|text| text.path == path) {
            None => {
                findings.push(Finding { path: path.into(), line: 0, text: "the document is missing".into() })
            }
            Some(text) if text.content.lines().count() > lines_max => {
                findings.push(text.finding(0, format!("more than {lines_max} lines: nobody will read it")));
            }
            Some(_) => {}
        }
    }
    for text in &texts {
        findings.extend(dangling(root, text));
    }
    findings.extend(repeated_rules(&texts));
    findings.extend(unlisted_specifications(root, &texts)?);
    Ok(findings)
}

/// Links and paths in code spans that lead nowhere.
fn dangling(root: &Path, text: &Text) -> Vec<Finding> {
    let folder = text.path.parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.content.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in links(line) {
            if !within(folder, target).is_some_and(|path| root.join(path).exists()) {
                findings.push(text.finding(index + 1, format!("the link `{target}` leads nowhere")));
            }
        }
        for path in paths(line) {
            if !root.join(path).exists() {
                findings.push(text.finding(index + 1, format!("`{path}` does not exist")));
            }
        }
    }
    findings
}

/// The targets of a line's links that point into this repository, without their anchors.
fn links(line: &str) -> Vec<&str> {
    // A code span shows text; a link inside one is an example.
    let outside = line.split('`').step_by(2);
    outside
        .flat_map(|part| part.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

/// The code spans of a line that name a file or folder; patterns and placeholders are no names.
fn paths(line: &str) -> Vec<&str> {
    let spans = line.split('`').skip(1).step_by(2);
    spans
        .filter(|span| PATH_STARTS.iter().any(|start| span.starts_with(start)))
        .filter(|span| !span.contains(['*', '<', '{', ' ', '…']))
        .collect()
}

/// `target` as seen from `folder`, relative to the root; `None` if it leaves the repository.
fn within(folder: &Path, target: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in folder.join(target).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => path.pop().then_some(())?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// Rules of `spec/` that have the number of another one: who cites it would mean either.
fn repeated_rules(texts: &[Text]) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for text in texts.iter().filter(|text| text.path.starts_with("spec")) {
        for (index, line) in text.content.lines().enumerate() {
            let number =
                line.strip_prefix("**").and_then(|rest| rest.split_once(".**")).map(|(number, _)| number);
            let rule = number
                .filter(|n| n.starts_with(char::is_uppercase) && n.ends_with(|c: char| c.is_ascii_digit()));
            if let Some(rule) = rule.filter(|rule| !seen.insert(*rule)) {
                findings.push(text.finding(index + 1, format!("there is another rule {rule}")));
            }
        }
    }
    findings
}

/// Every file of `spec/` is named in its README, so that nothing normative lies there unseen.
fn unlisted_specifications(root: &Path, texts: &[Text]) -> Result<Vec<Finding>> {
    let readme = Path::new("spec/README.md");
    let Some(list) = texts.iter().find(|text| text.path == readme) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    for extension in ["md", "dbc", "json", "cddl"] {
        for text in files(root, "spec", extension)? {
            let name = text.path.strip_prefix("spec").unwrap_or(&text.path).display().to_string();
            if text.path != readme && !list.content.contains(&name) {
                findings.push(text.finding(0, "spec/README.md does not say what this file is"));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{shown, tree};
    use super::*;

    /// A repository whose documents are in order, but for the given files.
    fn findings(given: &[(&str, &str)]) -> Vec<String> {
        let mut all: Vec<(&str, &str)> = DOCUMENTS.iter().map(|(name, _)| (*name, "# Title\n")).collect();
        all.extend(given);
        shown(&check(tree(&all).path()).unwrap())
    }

    #[test]
    fn a_missing_document_is_found() {
        let root = tree(&[("README.md", "# Title\n")]);
        let found = shown(&check(root.path()).unwrap());
        assert_eq!(found.len(), DOCUMENTS.len() - 1, "{found:?}");
        assert!(found.contains(&"SECURITY.md: the document is missing".to_owned()));
    }

    #[test]
    fn a_readme_that_grew_too_long_is_found() {
        assert_eq!(findings(&[("README.md", &"x\n".repeat(150))]), [""; 0]);
        let found = findings(&[("README.md", &"x\n".repeat(151))]);
        assert_eq!(found, ["README.md: more than 150 lines: nobody will read it"]);
    }

    #[test]
    fn links_are_followed_from_the_file_that_holds_them() {
        let good =
            "[a](demo.md) [b](../README.md#title) [c](https://example.org/x) [d](#here) [e](../docs/)\n";
        assert_eq!(findings(&[("docs/demo.md", good)]), [""; 0]);
        for target in ["gone.md", "README.md", "../../outside.md", "/README.md"] {
            let found = findings(&[("docs/demo.md", &format!("one\n[a]({target})\n"))]);
            assert_eq!(found, [format!("docs/demo.md:2: the link `{target}` leads nowhere")]);
        }
    }

    #[test]
    fn paths_in_code_spans_are_checked_from_the_root() {
        let good = "`spec/README.md`, `crates/<name>/src`, `crates/sim/src/attack/*.rs`, `crates/` x\n";
        assert_eq!(findings(&[("README.md", good), ("crates/a.rs", "")]), [""; 0]);
        let found = findings(&[("README.md", "see `crates/gone.rs` there\n")]);
        assert_eq!(found, ["README.md:1: `crates/gone.rs` does not exist"]);
    }

    #[test]
    fn examples_are_not_links() {
        let text = "`[a](gone.md)`\n```text\n[b](gone.md) `crates/gone.rs`\n```\n[c](gone.md)\n";
        let found = findings(&[("docs/demo.md", text)]);
        assert_eq!(found, ["docs/demo.md:5: the link `gone.md` leads nowhere"]);
    }

    #[test]
    fn a_number_that_two_rules_have_is_found() {
        let (a, b) =
            ("**A1.** One.\n\n**A2.** Two.\n", "**V1.** Three; as A1.\n**Note.** Four.\n**Note.** Five.\n");
        let listed = ("spec/README.md", "a.md b.md");
        assert_eq!(findings(&[("spec/a.md", a), ("spec/b.md", b), listed]), [""; 0]);
        let found = findings(&[("spec/a.md", a), ("spec/b.md", "x\n**A2.** Other.\n"), listed]);
        assert_eq!(found, ["spec/b.md:2: there is another rule A2"]);
    }

    #[test]
    fn a_specification_that_its_readme_passes_over_is_found() {
        let found = findings(&[("spec/vectors/more.json", "{}")]);
        assert_eq!(found, ["spec/vectors/more.json: spec/README.md does not say what this file is"]);
        assert_eq!(
            findings(&[("spec/vectors/more.json", "{}"), ("spec/README.md", "vectors/more.json")]),
            [""; 0]
        );
    }
}
