//! Rules about Rust files: a header, a bounded length, no unfinished work, `no_std` where promised.

use std::path::Path;

use anyhow::Result;

use super::{Finding, NO_STD, Text, files};

const FOLDERS: [&str; 3] = ["crates", "weakened", "xtask"];

/// A file is one concept; beyond this many lines it is usually two.
const LINES_MAX: usize = 900;

/// Files that may be longer, each with its own bound and the reason. A bound only goes down.
const LONGER: [(&str, usize, &str); 0] = [];

/// Marks of unfinished work. Written in two halves, or this file would be its own finding.
const REFUSED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
];

pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for folder in FOLDERS {
        for text in files(root, folder, "rs")? {
            findings.extend(header(&text));
            findings.extend(length(&text));
            findings.extend(refused_words(&text));
        }
    }
    for text in files(root, "crates", "rs")? {
        findings.extend(missing_specifications(root, &text));
    }
    findings.extend(no_std(root)?);
    findings.extend(tests_that_nothing_compiles(root)?);
    Ok(findings)
}

/// A reader learns from the first line what the file is for.
fn header(text: &Text) -> Option<Finding> {
    (!text.content.starts_with("//!")).then(|| text.finding(1, "the file does not open with `//!`"))
}

fn length(text: &Text) -> Option<Finding> {
    let lines = text.content.lines().count();
    let exception = LONGER.iter().find(|(path, ..)| text.path == Path::new(path));
    let max = exception.map_or(LINES_MAX, |(_, max, _)| *max);
    if lines > max {
        return Some(text.finding(0, format!("{lines} lines; at most {max}: split it by concept")));
    }
    (exception.is_some() && lines <= LINES_MAX)
        .then(|| text.finding(0, format!("{lines} lines: it needs no exception any more")))
}

fn refused_words(text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.content.lines().enumerate() {
        for word in REFUSED.into_iter().filter(|word| holds_word(line, word)) {
            findings.push(text.finding(number + 1, format!("unfinished: `{word}`")));
        }
    }
    findings
}

/// Whether the word stands in the line by itself, not as part of a longer name.
fn holds_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(start, _)| {
        !part_of_name(line[..start].chars().next_back())
            && !part_of_name(line[start + word.len()..].chars().next())
    })
}

/// A rule cited in code must be there to be read.
fn missing_specifications(root: &Path, text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.content.lines().enumerate() {
        for path in specifications(line).into_iter().filter(|path| !root.join(path).exists()) {
            findings.push(text.finding(number + 1, format!("`{path}` is cited, but does not exist")));
        }
    }
    findings
}

/// The paths below `spec/` that a line names, in prose or as the end of a relative path.
fn specifications(line: &str) -> Vec<&str> {
    let of_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let starts = line.match_indices("spec/").map(|(start, _)| start);
    let starts = starts.filter(|start| !line[..*start].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let paths = starts.map(|start| line[start..].split(|c| !of_path(c)).next().unwrap_or_default());
    paths.map(|path| path.trim_end_matches('.')).collect()
}

/// The crates for devices say so in their root. That it is true, the bare-metal part proves.
fn no_std(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in NO_STD {
        let folder = format!("crates/{name}/src");
        for text in files(root, &folder, "rs")? {
            let is_root = text.path == Path::new(&folder).join("lib.rs");
            if is_root && !text.content.lines().any(|line| line == "#![no_std]") {
                findings.push(text.finding(0, "the crate is for devices, but there is no line `#![no_std]`"));
            }
        }
    }
    Ok(findings)
}

/// Where a crate's integration tests are one program, a file that its `all.rs` does not name, and that is no program
/// of its own, would be passed over in silence.
fn tests_that_nothing_compiles(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for manifest in files(root, "crates", "toml")? {
        let Some(folder) = manifest.path.parent().map(|krate| krate.join("tests")) else { continue };
        if !manifest.content.lines().any(|line| line == "autotests = false") {
            continue;
        }
        let tests = files(root, &folder.to_string_lossy(), "rs")?;
        let all = tests.iter().find(|text| text.path == folder.join("all.rs"));
        for text in tests.iter().filter(|text| text.path.parent() == Some(&folder)) {
            let Some(name) = text.path.file_stem().and_then(|name| name.to_str()) else { continue };
            let program = format!("name = \"{name}\"");
            let module = format!("mod {name};");
            let named = manifest.content.lines().any(|line| line == program)
                || all.is_some_and(|all| all.content.lines().any(|line| line == module));
            if !named {
                findings
                    .push(text.finding(0, format!("nothing compiles it: `{module}` is missing in all.rs")));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{shown, tree};
    use super::*;

    fn findings(path: &str, content: &str) -> Vec<String> {
        shown(&check(tree(&[(path, content)]).path()).unwrap())
    }

    #[test]
    fn a_file_without_a_header_is_found_wherever_it_lies() {
        for path in ["crates/api/src/lib.rs", "crates/api/tests/a.rs", "xtask/src/deep/b.rs"] {
            let found = findings(path, "use std::fmt;\n");
            assert_eq!(found, [format!("{path}:1: the file does not open with `//!`")]);
        }
        assert_eq!(findings("crates/api/src/lib.rs", "//! Good.\n"), [""; 0]);
        assert_eq!(findings("crates/api/src/lib.rs", "").len(), 1, "an empty file says nothing either");
    }

    #[test]
    fn a_file_one_line_too_long_is_found() {
        let mut content = "//! Long.\n".repeat(LINES_MAX);
        assert_eq!(findings("crates/api/src/lib.rs", &content), [""; 0]);
        content += "//! One more.\n";
        let found = findings("crates/api/src/lib.rs", &content);
        assert_eq!(found, ["crates/api/src/lib.rs: 901 lines; at most 900: split it by concept"]);
    }

    #[test]
    fn unfinished_work_is_found_and_longer_names_are_not() {
        for word in REFUSED {
            let found = findings("crates/api/src/lib.rs", &format!("//! Good.\n// {word} later\n"));
            assert_eq!(found, [format!("crates/api/src/lib.rs:2: unfinished: `{word}`")]);
            let longer = findings("crates/api/src/lib.rs", &format!("//! Good.\n// A{word} _{word}\n"));
            assert_eq!(longer, [""; 0], "{word}");
        }
    }

    #[test]
    fn a_cited_specification_must_exist() {
        for (line, missing) in [
            ("// See spec/can.md.", None),
            ("include_str!(\"../../../spec/can.md\")", None),
            ("// myspec/gone.md and others in spec/", None),
            ("//! Layouts are those of `spec/gone.md`; integers too.", Some("spec/gone.md")),
            ("// (spec/gone.md). And more", Some("spec/gone.md")),
        ] {
            let content = format!("//! Good.\n{line}\n");
            let root = tree(&[("spec/can.md", ""), ("crates/api/src/lib.rs", &content)]);
            let expected: Vec<String> = missing
                .iter()
                .map(|path| format!("crates/api/src/lib.rs:2: `{path}` is cited, but does not exist"))
                .collect();
            assert_eq!(shown(&check(root.path()).unwrap()), expected, "{line}");
        }
    }

    #[test]
    fn a_device_crate_must_say_no_std() {
        for (content, count) in [
            ("//! Keys.\n#![no_std]\n", 0),
            ("//! Keys.\n", 1),
            ("//! Keys.\n// #![no_std]\n", 1),
            ("//! Keys.\n#![cfg_attr(not(feature = \"std\"), no_std)]\n", 1),
        ] {
            assert_eq!(findings("crates/lct/src/lib.rs", content).len(), count, "{content}");
            assert_eq!(findings("crates/node/src/lib.rs", content).len(), 0, "{content}");
        }
    }
    #[test]
    fn a_test_file_that_nothing_compiles_is_found() {
        let found = |manifest: &str| {
            let files = [
                ("crates/api/Cargo.toml", manifest),
                ("crates/api/tests/all.rs", "//! All.\nmod named;\n"),
                ("crates/api/tests/named.rs", "//! Named.\n"),
                ("crates/api/tests/lost.rs", "//! Lost.\n"),
                ("crates/api/tests/world/part.rs", "//! Part of a module.\n"),
            ];
            shown(&tests_that_nothing_compiles(tree(&files).path()).unwrap())
        };
        let all = "autotests = false\n[[test]]\nname = \"all\"\n";
        let lost = "crates/api/tests/lost.rs: nothing compiles it: `mod lost;` is missing in all.rs";
        assert_eq!(found(all), [lost]);
        assert_eq!(found(&format!("{all}[[test]]\nname = \"lost\"\n")), [""; 0], "a program of its own");
        assert_eq!(found(""), [""; 0], "cargo finds every file itself");
    }
}
