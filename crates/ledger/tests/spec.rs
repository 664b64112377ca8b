//! `spec/ledger.md` names what the code has and nothing else: kinds, roles, rejections, tables of the state, events.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ledger::{records::AccountRole, reject::Rejection, rules::allowed, tx::Kind};

const SPEC: &str = include_str!("../../../spec/ledger.md");

/// The text from one rule to another.
fn between(from: &str, to: &str) -> &'static str {
    let at = |rule: &str| SPEC.find(&format!("**{rule}.**")).unwrap_or_else(|| panic!("no rule {rule}"));
    &SPEC[at(from)..at(to)]
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of each row of the tables in `text`.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn kinds_and_who_may_send_them() {
    let named: BTreeMap<u8, &str> = rows(between("L21", "L22"))
        .iter()
        .filter_map(|row| Some((row[0].parse().ok()?, quoted(row[1]).next()?)))
        .collect();
    let known = (0..=u8::MAX).filter_map(|n| Kind::from_number(n).map(|kind| (n, kind.name())));
    assert_eq!(named, known.collect(), "L21");

    use AccountRole::*;
    let roles = [Authority, Operator, Manufacturer, Owner, Auditor, Controller];
    let table: Vec<_> = rows(between("L22", "L23")).into_iter().filter(|row| row[0].contains('*')).collect();
    assert_eq!(table.len(), roles.len());
    for (role, row) in roles.into_iter().zip(table) {
        assert!(row[0].ends_with(&format!("*{}*", role.name())), "{row:?}");
        let said = |number: u8| {
            row[1] == "every kind"
                || row[1].split(", ").any(|part| match part.split_once(" to ") {
                    Some((from, to)) => (from.parse().unwrap()..=to.parse().unwrap()).contains(&number),
                    None => part.parse() == Ok(number),
                })
        };
        for number in named.keys() {
            let kind = Kind::from_number(*number).unwrap();
            assert_eq!(said(*number), allowed(role, kind), "{} and kind {number}", role.name());
        }
    }
}

#[test]
fn rejections() {
    // A run of numbers and then as many codes, in a table or in a sentence.
    let (mut numbers, mut codes, mut said) = (Vec::new(), Vec::new(), BTreeMap::<u64, BTreeSet<&str>>::new());
    for word in SPEC.split(|c: char| c.is_whitespace() || c == ',' || c == '|').filter(|w| !w.is_empty()) {
        let code = word.strip_prefix('`').and_then(|w| w.split_once('`')).map(|(code, _)| code);
        let code =
            code.filter(|c| c.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
        match (word.parse::<u64>(), code) {
            (Ok(number), _) if codes.is_empty() => numbers.push(number),
            (_, Some(code)) => codes.push(code),
            (number, _) => {
                let named = numbers.len().saturating_sub(codes.len());
                for (n, code) in numbers[named..].iter().zip(codes.drain(..)) {
                    said.entry(*n).or_default().insert(code);
                }
                codes.clear();
                numbers = number.into_iter().collect();
            }
        }
    }
    let known = (0..1000).filter_map(Rejection::from_number);
    let known: BTreeMap<u64, BTreeSet<&str>> = known
        .map(|r| (r.number(), BTreeSet::from([r.code().strip_prefix("W4_ERR_").unwrap_or(r.code())])))
        .collect();
    let missing: Vec<_> = known.iter().filter(|(n, code)| said.get(n) != Some(code)).collect();
    assert!(missing.is_empty(), "not in the specification, or otherwise: {missing:?}");
    let unknown: Vec<_> = said.iter().filter(|(n, _)| **n > 0 && !known.contains_key(n)).collect();
    assert!(unknown.is_empty(), "not in the code: {unknown:?}");
    println!("{} rejections are those of the specification", known.len());
}

#[test]
fn tables_of_the_state_and_events() {
    let source =
        |path: &str| fs::read_to_string(format!("{}/src/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let table = |text: &str| text.len() == 4 && text.ends_with('/');
    let keys = source("records/key.rs");
    let built: BTreeSet<&str> = keys.split('"').skip(1).step_by(2).filter(|text| table(text)).collect();
    let said: BTreeSet<&str> = quoted(between("L60", "L61")).filter(|text| table(text)).collect();
    assert_eq!(said, built, "L60");

    let rules = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules")).unwrap();
    let rules: String = rules.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let made: BTreeSet<&str> =
        rules.split("Event::new(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let said: BTreeSet<&str> = rows(between("L75", "L76")).iter().flat_map(|row| quoted(row[0])).collect();
    let silent: Vec<_> = made.difference(&said).collect();
    assert!(silent.is_empty(), "events that L75 does not have: {silent:?}");
    let never: Vec<_> = said.iter().filter(|name| !rules.contains(&format!("\"{name}\""))).collect();
    assert!(never.is_empty(), "events that no rule makes: {never:?}");
    println!("{} tables and {} events are those of the specification", built.len(), said.len());
}

/// Numbers of rules that a text cites: `L5`, `L5 to L7`, also across lines of a comment.
fn cited(text: &str) -> BTreeSet<u32> {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let rule = |word: &str| word.strip_prefix('L').and_then(|number| number.parse::<u32>().ok());
    let mut found: BTreeSet<u32> = words.iter().filter_map(|word| rule(word)).collect();
    for range in words.windows(3).filter(|range| range[1] == "to") {
        if let (Some(from), Some(to)) = (rule(range[0]), rule(range[2])) {
            found.extend(from..=to);
        }
    }
    found
}

/// Each rule is cited where it is made true, and where a test would fail if it were not.
#[test]
fn every_rule_is_cited_by_code_and_by_a_test() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut folders, mut code, mut tests) = (vec![crates.clone()], BTreeSet::new(), BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let inside = entry.strip_prefix(&crates).unwrap();
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&entry).unwrap();
                let tested = inside.iter().any(|part| part == "tests");
                let tests_from = if tested { Some(0) } else { text.find("#[cfg(test)]") };
                let (of_code, of_tests) = text.split_at(tests_from.unwrap_or(text.len()));
                code.extend(cited(of_code));
                tests.extend(cited(of_tests));
            }
        }
    }
    let heads = SPEC.split("**L").skip(1).filter_map(|rest| rest.split_once(".**")?.0.parse::<u32>().ok());
    let rules: BTreeSet<u32> = heads.collect();
    assert!(rules.len() > 150, "{}", rules.len());
    let missing = |by: &BTreeSet<u32>| rules.difference(by).copied().collect::<Vec<_>>();
    assert_eq!((missing(&code), missing(&tests)), (vec![], vec![]), "not cited by code, by a test");
}

/// Each code has a sentence and is expected by a test: a check that nobody tried to fail is not there.
#[test]
fn every_rejection_has_a_sentence_and_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut tests) = (vec![root.join("tests"), root.join("src")], String::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap();
            let from = match entry.starts_with(root.join("tests")) {
                true => Some(0),
                false => text.find("#[cfg(test)]"),
            };
            tests.push_str(from.map_or("", |from| &text[from..]));
        }
    }
    let words: BTreeSet<&str> = tests.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut missing = Vec::new();
    for rejection in Rejection::ALL {
        let name = format!("{rejection:?}");
        println!("{:3}  {:36} {}", *rejection as u16, rejection.code(), rejection.text());
        assert!(rejection.text().contains(' '), "{name} has no sentence");
        if !words.contains(name.as_str()) {
            missing.push(name);
        }
    }
    assert_eq!(missing, [""; 0], "rejections that no test expects");
}
