//! Each code of the API has a sentence, a place in the specification, somebody who says it, and a test that is told it (A5). The
//! codes of the ledger are held against its rules where those are (`crates/ledger/tests/spec.rs`).

use crate::{
    common::{World, rng},
    compat::{ask, ends, good, hand_over, parts, refused},
};

use api::{Fixed, Hex, order::State};
use bridge::compat::{Allow, Profile};
use lct::{sign::SigningKey, spk::SpkSecret};
use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path},
};

const CODES: &str = include_str!("../../api/src/problem.rs");
const SPEC: &str = include_str!("../../../spec/api.md");

/// Name, code and sentence of each constant.
fn codes() -> Vec<(&'static str, &'static str, &'static str)> {
    let lines: Vec<&str> = CODES.lines().map(str::trim).collect();
    let of = |(at, line): (usize, &&'static str)| {
        let (name, code) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        Some((name, code.strip_suffix("\";")?, lines[at - 1].strip_prefix("/// ").unwrap_or("")))
    };
    lines.iter().enumerate().filter_map(of).collect()
}

/// The sources of the crates that refuse something over HTTP: what they are made of, and what is only said to test them.
fn sources() -> (String, String) {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> = ["api", "bridge", "gateway", "modbatt"].map(|name| crates.join(name)).into();
    let (mut product, mut tests) = (String::new(), String::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "rs")
                && !entry.ends_with("api/src/problem.rs")
            {
                let text = fs::read_to_string(&entry).unwrap();
                let of_tests =
                    |part: Component| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs";
                let tested = entry.strip_prefix(&crates).unwrap().components().any(of_tests);
                let from = if tested { 0 } else { text.find("#[cfg(test)]").unwrap_or(text.len()) };
                product.push_str(&text[..from]);
                tests.push_str(&text[from..]);
            }
        }
    }
    (product, tests)
}

/// Whether a code is named whole, and not as a part of a longer one: by its constant, as it is, or in quotes without what all begin with.
fn names(text: &str, name: &str, code: &str, short: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    [format!("code::{name}"), code.to_owned(), format!("\"{short}\"")]
        .iter()
        .any(|named| text.match_indices(named).any(|(at, _)| ends(&text[at + named.len()..])))
}

#[test]
fn every_code_has_a_sentence_and_a_test() {
    let (product, tests) = sources();
    let quoted: BTreeSet<&str> = SPEC.split('`').skip(1).step_by(2).collect();
    let all = codes();
    assert!(all.len() > 70, "{}", all.len());
    for (name, code, sentence) in &all {
        let short = code.strip_prefix("W4_ERR_").unwrap();
        assert!(sentence.contains(' '), "{code} has no sentence");
        let family = short.strip_suffix("NOT_FOUND");
        assert!(
            quoted.contains(short) || family.is_some_and(|family| quoted.contains(family)),
            "{code} is not in spec/api.md"
        );
        assert!(names(&product, name, code, short), "nobody refuses anything with {code}");
        assert!(names(&tests, name, code, short), "no test expects {code}");
    }
    println!("{} codes of the API, each with a sentence and a test", all.len());
}

/// Who may not delegate is told so before his signature is looked at, and whoever may signs what is delegated.
#[tokio::test(flavor = "multi_thread")]
async fn a_delegation_is_an_operators_own_word() {
    let world = World::new().await;
    let (_app, _pack, _) = world.commissioned().await;
    let laptop = SpkSecret::generate(&mut rng()).unwrap().public();
    let order = world.delegation_order(&["pack-0001"], &laptop);
    let stranger = SigningKey::generate(&mut rng());
    let mut of_a_stranger = order.clone();
    of_a_stranger.key = Hex(stranger.public().0);
    let mut longer = order.clone();
    longer.not_after += 1;
    let mut unsigned = order.clone();
    unsigned.signature = Fixed([0; 64]);
    for (what, request, status, code) in [
        ("no account", &of_a_stranger, 403, "W4_ERR_DELEGATION_DENIED"),
        ("a day and a second", &longer, 401, "W4_ERR_DELEGATION_PROOF_FAIL"),
        ("nobody's signature", &unsigned, 401, "W4_ERR_DELEGATION_PROOF_FAIL"),
    ] {
        let problem = world.post("/delegations", request).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{what}");
    }
    assert_eq!(world.post("/delegations", &order).await.status, 200);
}

/// What an older client asks for and is not there, or not there yet, it is told by a code of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_has_its_own_code_for_older_clients() {
    let world = World::old(Profile::ModbattWin, Allow::default()).await;
    let ([pack, ..], _) = parts(&world).await;
    hand_over(&world, &pack, "alice").await;
    let path = format!("/api/v1/authorization/{}", "0".repeat(32));
    let rules = r#"{"authorization_rules":"trust_score > 0.5"}"#;
    refused(&world, "PUT", &path, rules, 404, "W4_ERR_AUTHORIZATION_NOT_FOUND").await;
    refused(&world, "DELETE", &path, "", 404, "W4_ERR_AUTHORIZATION_NOT_FOUND").await;

    // A gateway says that it is done before the ledger holds the pairing.
    let initiate = format!(
        r#"{{"creator":"alice","component_a":"{}","component_b":"{}","operational_context":"race_car_demo","force_immediate":false}}"#,
        crate::compat::HOST,
        crate::compat::PACK
    );
    let challenge = good(&world, "POST", "/api/v1/pairing/initiate", &initiate).await;
    let order = world.client.orders().await.unwrap().orders.remove(0);
    ends(&world, &order, State::Done, "").await;
    let body =
        format!(r#"{{"creator":"alice","challenge_id":{},"response":"x"}}"#, challenge["challenge_id"]);
    let problem = ask(&world, "POST", "/api/v1/pairing/complete", &body).await.problem();
    assert_eq!((problem.status, problem.code.as_str()), (409, "W4_ERR_PAIRING_PENDING"), "{problem}");
}
