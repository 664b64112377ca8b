//! A checker is worth what it refuses: every value of the published file is altered, removed and replaced in turn.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::sheet::{Problem, Sheet, group_of};
use super::{PUBLISHED, check};

fn published() -> Value {
    serde_json::from_str(PUBLISHED).unwrap()
}

/// JSON pointers of all values that hold no others.
fn leaves(at: &str, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(k, v)| leaves(&format!("{at}/{k}"), v, out)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| leaves(&format!("{at}/{i}"), v, out));
        }
        _ => out.push(at.to_owned()),
    }
}

fn all_leaves() -> Vec<String> {
    let mut out = Vec::new();
    leaves("", &published(), &mut out);
    out
}

/// `/audit/chain/0/hash` as `audit.chain[0].hash`.
fn entry_of(pointer: &str) -> String {
    let mut entry = String::new();
    for key in pointer.split('/').skip(1) {
        match key.parse::<usize>() {
            Ok(index) => entry.push_str(&format!("[{index}]")),
            Err(_) if entry.is_empty() => entry.push_str(key),
            Err(_) => entry.push_str(&format!(".{key}")),
        }
    }
    entry
}

/// The failing entries of a file in which one value was changed.
fn failing(pointer: &str, change: impl FnOnce(&mut Value)) -> BTreeSet<String> {
    let mut vectors = published();
    change(vectors.pointer_mut(pointer).unwrap());
    check(&vectors).findings.into_iter().map(|f| f.entry).collect()
}

/// Changes one digit, one character or the number by one, and keeps the form.
fn alter(value: &mut Value, seed: usize) {
    *value = match &*value {
        Value::Number(n) => json!(n.as_u64().unwrap() + 1),
        Value::String(s) if s.is_empty() => json!("00"),
        Value::String(s) => {
            let digits = s.strip_prefix("0x").unwrap_or(s);
            let at = s.len() - digits.len() + seed % digits.len();
            let mut text = s.clone().into_bytes();
            let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            text[at] = match text[at] {
                digit if is_hex => {
                    let digit = char::from(digit).to_digit(16).unwrap() ^ (1 + seed as u32 % 7);
                    char::from_digit(digit, 16).unwrap() as u8
                }
                b'x' => b'y',
                _ => b'x',
            };
            json!(String::from_utf8(text).unwrap())
        }
        other => unreachable!("{other} in the published file"),
    };
}

/// One entry that cannot stay right when an input changes.
const DEPENDENT: [(&str, &str); 35] = [
    ("inputs.component_id_A", "spk.cidA"),
    ("inputs.component_id_B", "spk.cidB"),
    ("inputs.spk_seed_A", "spk.SPKA"),
    ("inputs.spk_seed_B", "spk.SPKB"),
    ("inputs.spk_seed_C", "cert.SPKC"),
    ("inputs.salt", "handshake_dev.S0"),
    ("inputs.pairing_id", "cert.info_A"),
    ("inputs.pk64", "cert.K_V"),
    ("inputs.xk", "tier_exch_ba_e0.TS"),
    ("inputs.clear_metadata", "cert.cm_hash"),
    ("inputs.hpke_ephemeral_A", "cert.secA"),
    ("inputs.hpke_ephemeral_B", "cert.secB"),
    ("inputs.validation_nonce", "completion.digest"),
    ("inputs.endpoint", "cert.secV"),
    ("inputs.timeout_s", "cert.secV"),
    ("inputs.v_flags", "cert.secV"),
    ("inputs.hpke_ephemeral_is", "inputs.hpke_ephemeral_is"),
    ("inputs.section_v_iv", "cert.secV"),
    ("inputs.policy", "handshake_pair.policy_hash"),
    ("inputs.ephemeral_A", "handshake_dev_sas.DH1"),
    ("inputs.ephemeral_B", "handshake_dev_sas.M0"),
    ("inputs.N_A", "resume.M1"),
    ("inputs.N_B", "resume.M2"),
    ("inputs.boot_ctr_A", "handshake_pair.M1"),
    ("inputs.boot_ctr_B", "handshake_pair.M2"),
    ("inputs.device_key_half_A", "handshake_dev.S0"),
    ("inputs.device_key_half_B", "handshake_dev_sas.S0"),
    ("inputs.base", "seal_pair_ab.base11"),
    ("inputs.device", "seal_fd48.can_id"),
    ("inputs.body", "seal_pair_ab.plaintext"),
    ("inputs.level5.type", "level5.digest"),
    ("inputs.level5.seq", "level5.digest"),
    ("inputs.level5.challenge", "level5.digest"),
    ("inputs.level5.ttl_ms", "level5.sigA"),
    ("inputs.level5.cmd", "level5.cmd"),
];

#[test]
fn the_published_file_passes_and_nothing_in_it_is_left_out() {
    let vectors = published();
    let report = check(&vectors);
    assert_eq!(report.findings, []);
    assert_eq!(report.not_checked, [""; 0]);
    assert!(report.good());
    let inputs = all_leaves().iter().filter(|p| p.starts_with("/inputs/")).count();
    assert_eq!(inputs, DEPENDENT.len(), "every input has a row in the table");
}

#[test]
fn every_altered_value_is_named_or_what_depends_on_it() {
    let vectors = published();
    let compared = {
        let mut sheet = Sheet::new(&vectors);
        super::compute(&mut sheet);
        sheet.compared().clone()
    };
    for (seed, pointer) in all_leaves().iter().enumerate() {
        let entry = entry_of(pointer);
        let named = failing(pointer, |v| alter(v, seed));
        if compared.contains(&entry) {
            // A wrong result is one wrong entry: nothing else is computed from it.
            assert_eq!(named, BTreeSet::from([entry]));
        } else if let Some((_, dependent)) = DEPENDENT.iter().find(|(input, _)| *input == entry) {
            assert!(named.contains(*dependent), "{entry} altered, but only {named:?}");
        } else {
            let group = group_of(&entry);
            assert!(named.iter().any(|e| group_of(e) == group), "{entry} altered, but only {named:?}");
        }
    }
}

#[test]
fn every_removed_value_is_named() {
    for pointer in all_leaves() {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut last = None;
        let named = failing(parent, |parent| match parent {
            Value::Object(fields) => {
                fields.remove(key).unwrap();
            }
            Value::Array(items) => {
                items.pop().unwrap();
                last = Some(items.len());
            }
            _ => unreachable!(),
        });
        let entry = entry_of(&last.map_or(pointer.clone(), |last| format!("{parent}/{last}")));
        let emptied = entry_of(parent);
        assert!(named.contains(&entry) || named.contains(&emptied), "{entry} removed, but {named:?}");
    }
    for group in published().as_object().unwrap().keys() {
        let named = failing("", |v| {
            v.as_object_mut().unwrap().remove(group);
        });
        assert!(named.contains(group), "{group} removed, but {named:?}");
    }
}

#[test]
fn every_value_of_wrong_type_is_named() {
    for pointer in all_leaves() {
        let entry = entry_of(&pointer);
        assert!(failing(&pointer, |v| *v = json!(null)).contains(&entry), "{entry} null");
        assert!(failing(&pointer, |v| *v = json!([1])).contains(&entry), "{entry} a list");
    }
}

#[test]
fn the_problem_says_what_is_wrong_with_a_value() {
    let rows = [
        ("/inputs/xk", json!("5c5"), "odd number of hex digits"),
        ("/inputs/xk", json!("5g"), "`g` at position 2 is no hex digit"),
        ("/inputs/xk", json!("5c5c"), "2 bytes where 32 are needed"),
        ("/inputs/xk", json!(5), "a hex string is needed, this is a number"),
        ("/inputs/timeout_s", json!(65536), "65536 does not fit 16 bits"),
        ("/inputs/timeout_s", json!(-1), "-1 is no whole number"),
        ("/inputs/timeout_s", json!(1.5), "1.5 is no whole number"),
        ("/inputs/base", json!("0x+514"), "0x+514 is no whole number"),
        ("/inputs/base", json!("0x"), "0x is no whole number"),
        ("/inputs/endpoint", json!(["a"]), "a string is needed, this is a list"),
        ("/tier_dev_ab_e0/source", json!("cert"), "names no group that establishes a channel"),
        ("/nvrec/tier", json!(5), "5 is no tier"),
        ("/nvrec/dir", json!(2), "2 is no direction"),
        ("/audit/chain", json!([]), "a list with entries is needed"),
        ("/inputs/v_flags", json!(256), "256 does not fit 8 bits"),
    ];
    for (pointer, value, text) in rows {
        let mut vectors = published();
        *vectors.pointer_mut(pointer).unwrap() = value;
        let report = check(&vectors);
        let found = report.findings.iter().find(|f| f.entry == entry_of(pointer)).unwrap();
        assert!(found.problem.to_string().contains(text), "{pointer}: {}", found.problem);
    }
}

#[test]
fn values_that_the_protocol_forbids_are_refused() {
    const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let rows = [
        ("/inputs/ephemeral_A", json!("00".repeat(32)), "inputs.ephemeral_A"),
        ("/inputs/ephemeral_B", json!(N), "inputs.ephemeral_B"),
        ("/inputs/hpke_ephemeral_A", json!(N), "inputs.hpke_ephemeral_A"),
        ("/inputs/pk64", json!("00".repeat(64)), "inputs.pk64"),
        ("/inputs/pk64", json!("ab".repeat(64)), "inputs.pk64"),
        ("/inputs/base", json!("0x3ff"), "inputs.base"),
        ("/inputs/base", json!("0x600"), "inputs.base"),
        ("/inputs/body", json!("00".repeat(36)), "inputs.body"),
        ("/resume/epoch", json!(u32::MAX), "resume"),
        ("/compact_c1/can_id", json!("0xc071105"), "compact_c1.can_id"),
        ("/compact_c1/can_id", json!("0x24071105"), "compact_c1.can_id"),
        ("/compact_c1/can_id", json!("0x4051105"), "compact_c1.can_id"),
        ("/compact_c1/can_id", json!("0x40b1105"), "compact_c1.can_id"),
    ];
    for (pointer, value, entry) in rows {
        let mut vectors = published();
        *vectors.pointer_mut(pointer).unwrap() = value.clone();
        let report = check(&vectors);
        let found = report.findings.iter().find(|f| f.entry == entry);
        let refused = matches!(found.map(|f| &f.problem), Some(Problem::Refused(_)));
        assert!(refused, "{pointer} = {value}: {found:?}");
    }
}

#[test]
fn a_foreign_signature_over_the_right_digest_is_told_from_a_wrong_one() {
    let mut vectors = published();
    // B's signature over the same digest verifies under B's key only.
    let of_b = vectors["completion"]["sigB"].clone();
    vectors["completion"]["sigA"] = of_b;
    let report = check(&vectors);
    assert_eq!(report.findings.len(), 1);
    let text = report.findings[0].problem.to_string();
    assert_eq!(
        (report.findings[0].entry.as_str(), text.as_str()),
        ("completion.sigA", "differs; its signature does not verify")
    );
}

#[test]
fn what_is_unknown_is_reported_and_does_not_count() {
    let mut vectors = published();
    vectors["handshake_bind"] = json!({ "M1": "00", "M2": "01" });
    vectors["resume"]["comment"] = json!("text");
    vectors["tier_pair_ba_e9"] = json!({ "source": "rekey" });
    let report = check(&vectors);
    assert_eq!(report.not_checked, ["handshake_bind", "resume.comment"]);
    let named: Vec<_> = report.findings.iter().map(|f| f.entry.as_str()).collect();
    assert_eq!(
        named,
        [
            "tier_pair_ba_e9.TS",
            "tier_pair_ba_e9.key",
            "tier_pair_ba_e9.mac",
            "tier_pair_ba_e9.iv",
            "tier_pair_ba_e9.ckey"
        ]
    );
    let nothing = check(&json!({}));
    assert!(!nothing.good());
    assert!(!check(&json!({ "other": { "x": 1 } })).good());
}

#[test]
fn frames_that_are_too_many_are_named() {
    for (list, frame) in [
        ("frames_chunk", json!(["0x45a6505", "00"])),
        ("frames_isotp", json!("26")),
        ("compact_c1", json!("00")),
        ("compact_c2", json!("00")),
    ] {
        let mut vectors = published();
        let frames = vectors[list]["frames"].as_array_mut().unwrap();
        let entry = format!("{list}.frames[{}]", frames.len());
        frames.push(frame);
        let named: Vec<_> = check(&vectors).findings.into_iter().map(|f| f.entry).collect();
        assert_eq!(named, [entry]);
    }
}
