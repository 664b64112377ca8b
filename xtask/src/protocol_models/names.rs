//! Are the names of a model those of `spec/channel.md`?
//!
//! | name in a model | must be in the specification |
//! |---|---|
//! | `label_fin_b` | the label `fin b` of H29 |
//! | `tag_sig_b` | `"modbatt1 sig b"` in quotes (or with hyphens), the beginning of what is signed or hashed |
//! | `private_e_a` | E_A: the private key or secret behind it |
//! | `th2_at_a` | TH2: what side A computes |
//! | any other | the name itself or its words; without the letter of its side if need be |
//!
//! A message is named by the comment above it. M0 to M3 carry the fields of their layout: none that is not there, and
//! every nonce, point, MAC and signature that is not in brackets there.

use std::collections::BTreeSet;

use super::text::Model;

/// Words of the language.
const WORDS: [&str; 18] = [
    "active",
    "attacker",
    "authentication",
    "confidentiality",
    "equivalence",
    "freshness",
    "generates",
    "knows",
    "leaks",
    "nil",
    "passive",
    "phase",
    "precondition",
    "principal",
    "private",
    "public",
    "queries",
    "_",
];

/// Names of the model that the specification does not have, and messages that differ from their layout.
pub fn check(model: &Model, specification: &str) -> Vec<String> {
    let lower = specification.to_lowercase();
    let mut findings = Vec::new();
    let labels = rule(specification, "H29");
    if labels.is_empty() || rule(specification, &model.layouts).is_empty() {
        return vec![format!("spec/channel.md has no rule H29 or {}", model.layouts)];
    }
    let names: BTreeSet<&str> = model.lines().iter().flat_map(|line| constants(&line.code)).collect();
    for name in names {
        if !known(name, labels, &lower) {
            findings.push(format!("`{name}`"));
        }
    }
    let mut above = "";
    for line in model.lines() {
        if line.code.is_empty() {
            above = if line.comment.is_empty() { above } else { &line.comment };
            continue;
        }
        let Some((_, fields)) = line.code.split_once("->").and_then(|(_, rest)| rest.split_once(':')) else {
            above = "";
            continue;
        };
        // What is guarded whole travels outside the protocol: in the factory, by a person.
        let guarded = fields.split(',').all(|field| field.trim().starts_with('['));
        if !guarded && !line.code.contains('?') {
            findings.extend(message(above, fields, rule(specification, &model.layouts), &lower));
        }
    }
    findings
}

/// The text of a rule, up to the next one.
fn rule<'a>(specification: &'a str, number: &str) -> &'a str {
    let Some((_, text)) = specification.split_once(&format!("**{number}.**")) else { return "" };
    text.split("\n**H").next().unwrap_or_default()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Constants of a line; principals begin with a capital, primitives have nothing else.
fn constants(code: &str) -> impl Iterator<Item = &str> {
    words(code).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()) && !WORDS.contains(word))
}

fn known(name: &str, labels: &str, specification: &str) -> bool {
    if let Some(label) = name.strip_prefix("label_") {
        let label = label.replace('_', " ");
        let traffic = |label: &str| {
            let [ts, tier, way] = label.split(' ').collect::<Vec<_>>()[..] else { return false };
            ts == "ts" && ["dev", "exch", "pair", "bind"].contains(&tier) && ["ab", "ba"].contains(&way)
        };
        return labels.replace('\n', " ").contains(&format!("`{label}`")) || traffic(&label);
    }
    if let Some(tag) = name.strip_prefix("tag_") {
        let quoted = |quote: char, between: &str| {
            specification.contains(&format!("{quote}modbatt1 {}{quote}", tag.replace('_', between)))
        };
        return ['"', '`'].iter().any(|quote| quoted(*quote, " ") || quoted(*quote, "-"));
    }
    let name = name.strip_suffix("_at_a").or(name.strip_suffix("_at_b")).unwrap_or(name);
    let name = name.strip_prefix("private_").unwrap_or(name);
    let sideless = name.strip_suffix("_a").or(name.strip_suffix("_b")).unwrap_or(name);
    [name, sideless]
        .iter()
        .any(|name| written(name, specification) || written(&name.replace('_', " "), specification))
}

/// Whether the specification has this phrase between other than letters, digits and `_`.
fn written(phrase: &str, specification: &str) -> bool {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    specification.match_indices(phrase).any(|(at, _)| {
        !specification[..at].ends_with(part_of_word)
            && !specification[at + phrase.len()..].starts_with(part_of_word)
    })
}

fn message(name: &str, fields: &str, layouts: &str, specification: &str) -> Vec<String> {
    let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    if name.is_empty() || !written(&name.to_lowercase(), specification) {
        return vec![format!("the message `{}` is named `{name}` by the comment above it", fields.trim())];
    }
    let Some(layout) = layouts.lines().find(|line| line.starts_with(&format!("{name} "))) else {
        return Vec::new();
    };
    let sent: BTreeSet<&str> = words(fields).collect();
    let lower = layout.to_lowercase();
    let listed: BTreeSet<&str> = words(&lower).collect();
    let foreign = sent.difference(&listed).map(|field| format!("{name} has no field `{field}`"));
    // Only what stands outside the brackets is always there.
    let mut depth = 0;
    let fixed: String = lower
        .chars()
        .map(|c| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            if depth == 0 { c } else { ' ' }
        })
        .collect();
    let protects = |field: &&str| {
        ["n_", "e_", "mac_"].iter().any(|kind| field.strip_prefix(kind).is_some_and(|side| side.len() == 1))
    };
    let missing = words(&fixed).filter(protects).filter(|field| !sent.contains(field));
    foreign.chain(missing.map(|field| format!("{name} lacks the field `{field}`"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIFICATION: &str = "**H11.** Layouts\n```\nM1  1 | N_A 16 | E_A 33 [| HX_A 60]\nM3  mac_A 16 [| sig_A 64]\n\
        ```\n**H14.** `\"modbatt1 sig a\"`, the identity key, TH2, sign_pub, xk, \"modbatt1 spk-attest\"\n\
        **H29.** Labels in use: `ts <tier> <dir>`, `fin a`, `hs\nsalt`.\n**H30.** CONFIRM and `no label`\n";

    fn found(body: &str) -> Vec<String> {
        let source = format!(
            "// layouts H11\n// sessions 1, varied 1, long 1\n{body}\n//+without-x y\nqueries[\nfreshness? xk // breaks: without-x\n]"
        );
        let model = Model::parse("m", &source.replace("//+without-x y", "//+without-x xk")).unwrap();
        check(&model, SPECIFICATION)
    }

    #[test]
    fn names_of_the_specification_pass() {
        let body = "x_at_a = HKDF(xk, label_fin_a, label_ts_pair_ba)";
        assert_eq!(found(&body.replace("x_at", "th2_at")), [""; 0]);
        assert_eq!(
            found("knows public tag_sig_a, tag_spk_attest, label_hs_salt, private_identity_key_b"),
            [""; 0]
        );
        assert_eq!(
            found("// M1\nA -> B: n_a, e_a, hx_a\n// M3\nA -> B: mac_a\n// CONFIRM\nB -> A: xk"),
            [""; 0]
        );
        assert_eq!(found("A -> B: [sign_pub_a]"), [""; 0], "outside the protocol");
    }

    #[test]
    fn other_names_are_found() {
        for (body, finding) in [
            ("label_fin_c = nil", "`label_fin_c`"),
            ("label_no_label = nil", "`label_no_label`"),
            ("label_ts_pair_up = nil", "`label_ts_pair_up`"),
            ("tag_sig_c = nil", "`tag_sig_c`"),
            ("th3_at_a = nil", "`th3_at_a`"),
            ("//+without-x s_pub = nil", "`s_pub`"),
            ("// M1\nA -> B: n_a, e_a, mac_a", "M1 has no field `mac_a`"),
            ("// M1\nA -> B: n_a", "M1 lacks the field `e_a`"),
            ("// Hello\nA -> B: xk", "the message `xk` is named `Hello` by the comment above it"),
            ("xk = nil\nA -> B: xk", "the message `xk` is named `` by the comment above it"),
        ] {
            assert_eq!(found(body), [finding], "{body}");
        }
    }
}
