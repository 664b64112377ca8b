//! Where the published files are, and how NIST's response files are read.

use crate::covered;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The text of a file of the package, or `None` after saying that the test did not run.
pub fn text(path: &str) -> Option<String> {
    let Some(root) = package() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the package with the published vectors is missing: `cargo xtask test --only python` installs it"
        );
        covered(format_args!("not run: {path} (`cargo xtask test --only python` installs the package)"));
        return None;
    };
    let path = root.join(path);
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The folder of the package in the environment of the tests' own.
fn package() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python");
    let versions = std::fs::read_dir(python.join("lib")).ok()?;
    let unix = versions.filter_map(Result::ok).map(|version| version.path().join("site-packages"));
    let mut places = unix.chain([python.join("Lib/site-packages")]).map(|p| p.join("cryptography_vectors"));
    places.find(|place| place.is_dir())
}

/// One case: the bracketed lines above it, and its `name = value` lines. A bare word is a name without a value.
pub struct Case {
    pub section: String,
    fields: BTreeMap<String, String>,
}

impl Case {
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }
    pub fn word(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.fields))
    }
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.word(name)).unwrap()
    }
    pub fn number(&self, name: &str) -> usize {
        self.word(name).parse().unwrap()
    }
}

/// The cases of a response file. `first` is the name that every case begins with.
pub fn cases(text: &str, first: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section = String::new();
    let mut in_section = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            if !in_section {
                section.clear();
            }
            in_section = true;
            section += line;
            continue;
        }
        let (name, value) =
            line.split_once('=').map_or((line, ""), |(name, value)| (name.trim(), value.trim()));
        if name == first {
            cases.push(Case { section: section.clone(), fields: BTreeMap::new() });
        }
        in_section = false;
        if let Some(case) = cases.last_mut().filter(|case| case.section == section) {
            case.fields.insert(name.to_owned(), value.to_owned());
        }
    }
    cases
}
