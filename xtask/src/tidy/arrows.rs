//! Dependencies between the crates of the workspace only go down.
//!
//! `ARCHITECTURE.md` draws the layers; [`LAYERS`] is the same table for the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::shell;

/// Every product crate and its layer. A crate may depend on lower numbers only;
/// two crates of one layer do not see each other.
const LAYERS: [(&str, i8); 11] = [
    ("kept", -1),
    ("lct", 0),
    ("pack", 1),
    ("ledger", 1),
    ("sim", 2),
    ("api", 2),
    ("bus", 2),
    ("node", 3),
    ("gateway", 3),
    ("bridge", 4),
    ("modbatt", 5),
];

/// Ends the name of the second build of a crate, whose defences can be taken away (`spec/threats.md`, T102). Such a
/// crate sees only crates of its kind, and nobody but [`ATTACKER`] sees it.
const WEAKENED: &str = "-weakened";

/// The crate whose command attacks.
const ATTACKER: &str = "modbatt";

/// The one member that is no product crate.
const XTASK: &str = "xtask";

const LICENSE: &str = "MIT OR Apache-2.0";

pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in packages(root)? {
        let manifest = manifest_of(&package, root);
        let mut broken = |text: String| findings.push(Finding { path: manifest.clone(), line: 0, text });
        let name = package["name"].as_str().unwrap_or_default();
        let layer = layer_of(name);
        if layer.is_none() && name != XTASK {
            broken(format!("`{name}` has no layer: add it to ARCHITECTURE.md and to the table of tidy"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let Some(below) = layer_of(target) else { continue };
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            if let Some(text) = across(name, target, kind) {
                broken(text);
                continue;
            }
            match layer {
                None if name == XTASK => {
                    broken(format!("xtask depends on the product crate `{target}` ({kind})"));
                }
                Some(layer) if below >= layer && !is_own_control(name, target, kind) => broken(format!(
                    "`{name}` (layer {layer}) depends on `{target}` (layer {below}, {kind}): arrows only go down"
                )),
                _ => {}
            }
        }
        if package["license"] != LICENSE {
            broken(format!("the licence is not `{LICENSE}`"));
        }
        if package["publish"].as_array().is_none_or(|registries| !registries.is_empty()) {
            broken(
                "the crate could be published by mistake: inherit `publish` from the workspace".to_owned(),
            );
        }
        if !inherits_lints(&root.join(&manifest))? {
            broken("the lints of the workspace do not apply here: add `[lints] workspace = true`".to_owned());
        }
    }
    Ok(findings)
}

/// A second build compares itself with the first one in its tests, and `kept` lends it the names of the defences.
fn is_own_control(name: &str, target: &str, kind: &str) -> bool {
    let own = name.strip_suffix(WEAKENED) == Some(target);
    own && (kind == "dev" || target == "kept")
}

/// What is wrong with an arrow between the product and its second build.
fn across(name: &str, target: &str, kind: &str) -> Option<String> {
    match (name.ends_with(WEAKENED), target.ends_with(WEAKENED)) {
        (true, false) if !is_own_control(name, target, kind) => {
            Some(format!("`{name}` depends on `{target}` ({kind}), which is not weakened"))
        }
        (false, true) if name != ATTACKER => {
            Some(format!("`{name}` depends on `{target}` ({kind}): only {ATTACKER} may, to attack it"))
        }
        _ => None,
    }
}

fn layer_of(name: &str) -> Option<i8> {
    let name = name.strip_suffix(WEAKENED).unwrap_or(name);
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// The members of the workspace, as cargo understands their manifests. Needs neither network nor lock file.
fn packages(root: &Path) -> Result<Vec<Value>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = shell::output_of(
        Command::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(root),
    )?;
    let mut metadata: Value = serde_json::from_str(&text).context("cargo metadata did not print JSON")?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => anyhow::bail!("cargo metadata names no packages"),
    }
}

/// The path of a package's manifest, relative to the root.
fn manifest_of(package: &Value, root: &Path) -> PathBuf {
    let path = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    path.strip_prefix(&root).map(Path::to_path_buf).unwrap_or(path)
}

/// Cargo does not show lints in its metadata, so this one rule reads the manifest's text.
fn inherits_lints(manifest: &Path) -> Result<bool> {
    let text =
        std::fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{shown, tree};
    use super::*;

    const GOOD: &str = "license = 'MIT OR Apache-2.0'\npublish = false\n";

    /// A workspace of crates, each given as name and the tail of its manifest.
    fn findings(members: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![(
            "Cargo.toml".to_owned(),
            "[workspace]\nresolver = '3'\nmembers = ['crates/*']\n[workspace.lints]\n".to_owned(),
        )];
        for (name, tail) in members {
            let head = format!("[package]\nname = '{name}'\nversion = '0.0.0'\nedition = '2024'\n");
            files.push((format!("crates/{name}/Cargo.toml"), head + tail));
            files.push((format!("crates/{name}/src/lib.rs"), String::new()));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        shown(&check(tree(&files).path()).unwrap())
    }

    /// A manifest's tail in good order, with these tables of dependencies.
    fn with(tables: &str) -> String {
        format!("{GOOD}{tables}\n[lints]\nworkspace = true\n")
    }

    #[test]
    fn downward_arrows_pass() {
        let found = findings(&[
            ("lct", &with("")),
            ("pack", &with("[dependencies]\nlct = { path = '../lct' }")),
            ("gateway", &with("[dependencies]\npack = { path = '../pack' }\nlct = { path = '../lct' }")),
            ("xtask", &with("[dependencies]\nserde_json = '1'")),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn an_arrow_up_or_sideways_is_found_in_every_kind_of_table() {
        let tables = [
            ("normal", "[dependencies]\nledger = { path = '../ledger' }"),
            ("dev", "[dev-dependencies]\nledger = { path = '../ledger' }"),
            ("build", "[build-dependencies]\nledger = { path = '../ledger' }"),
            ("normal", "[dependencies]\nbooks = { package = 'ledger', path = '../ledger' }"),
            ("normal", "[dependencies]\nledger = { path = '../ledger', optional = true }"),
            ("normal", "[target.'cfg(windows)'.dependencies]\nledger = { path = '../ledger' }"),
        ];
        for (kind, table) in tables {
            for (name, layer) in [("pack", 1), ("lct", 0)] {
                let found = findings(&[("ledger", &with("")), (name, &with(table))]);
                let text = format!(
                    "crates/{name}/Cargo.toml: `{name}` (layer {layer}) depends on `ledger` (layer 1, {kind}): \
                     arrows only go down"
                );
                assert_eq!(found, [text], "{table}");
            }
        }
    }

    #[test]
    fn nobody_but_the_attacker_sees_a_weakened_crate() {
        let weak = "[dependencies]\npack = { package = 'pack-weakened', path = '../pack-weakened' }";
        let strong = "[dependencies]\npack = { path = '../pack' }";
        let own = "[dev-dependencies]\nsim = { path = '../sim' }";
        let both = [("pack", with("")), ("pack-weakened", with("")), ("sim", with(strong))];
        let found = |more: &[(&str, &str)]| {
            let both = both.iter().map(|(name, text)| (*name, text.as_str()));
            findings(&both.chain(more.iter().copied()).collect::<Vec<_>>())
        };
        assert_eq!(
            found(&[("modbatt", &with(weak)), ("sim-weakened", &with(&format!("{weak}\n{own}")))]),
            [""; 0]
        );
        for name in ["gateway", "node"] {
            let text = format!(
                "crates/{name}/Cargo.toml: `{name}` depends on `pack-weakened` (normal): only modbatt may, to attack it"
            );
            assert_eq!(found(&[(name, &with(weak))]), [text]);
        }
        let text = "crates/sim-weakened/Cargo.toml: `sim-weakened` depends on `pack` (normal), which is not weakened";
        assert_eq!(found(&[("sim-weakened", &with(strong))]), [text]);
    }

    #[test]
    fn xtask_may_not_depend_on_the_product() {
        let found =
            findings(&[("lct", &with("")), ("xtask", &with("[dependencies]\nlct = { path = '../lct' }"))]);
        assert_eq!(found, ["crates/xtask/Cargo.toml: xtask depends on the product crate `lct` (normal)"]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let found = findings(&[("common", &with(""))]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("`common` has no layer"), "{found:?}");
    }

    #[test]
    fn a_manifest_that_inherits_nothing_is_found() {
        let found = findings(&[("lct", "license = 'GPL-3.0'\n")]);
        assert_eq!(found.len(), 3, "{found:?}");
        for (text, word) in found.iter().zip(["licence", "published", "lints"]) {
            assert!(text.contains(word), "{text}");
        }
        let own = findings(&[("lct", &format!("{GOOD}[lints]\nrust.unsafe_code = 'allow'\n"))]);
        assert_eq!(own.len(), 1, "{own:?}");
    }
}
