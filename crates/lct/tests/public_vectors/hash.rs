//! SHA-256, HMAC and HKDF: NIST CAVP, RFC 4231, RFC 5869 and Wycheproof, through [`lct::hash`] and [`lct::schedule`].

use crate::{
    covered,
    files::{cases, text},
};
use lct::{
    Error,
    hash::sha256,
    schedule::{expand, extract, mac, mac16},
    secret::equal,
};
use wycheproof::{TestResult, hkdf, mac as macs};

fn messages(file: &str, count: usize) {
    let Some(text) = text(&format!("hashes/SHA2/{file}")) else { return };
    let cases = cases(&text, "Len");
    assert_eq!(cases.len(), count, "{file}");
    for case in &cases {
        let bits = case.number("Len");
        let message = &case.bytes("Msg")[..bits / 8];
        let expected = case.bytes("MD");
        assert_eq!(sha256(&[message])[..], expected, "{file}, {bits} bits");
        let (head, tail) = message.split_at(message.len() / 3);
        assert_eq!(sha256(&[head, &[], tail])[..], expected, "{file}, {bits} bits in parts");
    }
    covered(format_args!("CAVP {file}: {count} of {count} right"));
}

#[test]
fn nist_short_messages() {
    messages("SHA256ShortMsg.rsp", 65);
}

#[test]
fn nist_long_messages() {
    messages("SHA256LongMsg.rsp", 64);
}

/// 100 rounds of 1000 hashes, each over the three before it.
#[test]
fn nist_monte_carlo() {
    let Some(text) = text("hashes/SHA2/SHA256Monte.rsp") else { return };
    let seed = text.lines().find_map(|line| line.strip_prefix("Seed = ")).unwrap();
    let mut seed: [u8; 32] = hex::decode(seed.trim()).unwrap().try_into().unwrap();
    let rounds = cases(&text, "COUNT");
    for round in &rounds {
        let mut last = [seed; 3];
        for _ in 0..1000 {
            let next = sha256(&[&last[0], &last[1], &last[2]]);
            last = [last[1], last[2], next];
        }
        seed = last[2];
        assert_eq!(seed[..], round.bytes("MD"), "round {}", round.word("COUNT"));
    }
    assert_eq!(rounds.len(), 100);
    covered(format_args!("CAVP SHA256Monte.rsp: 100 of 100 rounds right"));
}

#[test]
fn rfc_4231() {
    let Some(text) = text("HMAC/rfc-4231-sha256.txt") else { return };
    let cases = cases(&text, "Len");
    for case in &cases {
        let (key, message, expected) = (case.bytes("Key"), case.bytes("Msg"), case.bytes("MD"));
        assert_eq!(message.len() * 8, case.number("Len"));
        assert_eq!(mac(&key, &[&message])[..], expected);
        assert_eq!(mac16(&key, &[&message])[..], expected[..16]);
    }
    assert_eq!(cases.len(), 6);
    covered(format_args!("RFC 4231: 6 of 6 right"));
}

#[test]
fn rfc_5869() {
    let Some(text) = text("KDF/rfc-5869-HKDF-SHA256.txt") else { return };
    let cases = cases(&text, "COUNT");
    for case in &cases {
        let prk = extract(&case.bytes("salt"), &[&case.bytes("IKM")]);
        assert_eq!(prk.expose()[..], case.bytes("PRK"));
        let mut okm = vec![0; case.number("L")];
        expand(&prk, &case.bytes("info"), &mut okm).unwrap();
        assert_eq!(okm, case.bytes("OKM"));
    }
    assert_eq!(cases.len(), 3);
    covered(format_args!("RFC 5869, SHA-256: 3 of 3 right"));
}

#[test]
fn wycheproof_hkdf() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    let (mut right, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        match expand(&extract(&test.salt, &[&test.ikm]), &test.info, &mut okm) {
            Ok(()) => {
                assert_eq!((&okm, &test.result), (&*test.okm, &TestResult::Valid), "test {}", test.tc_id)
            }
            Err(error) => {
                assert_eq!(
                    (error, &test.result),
                    (Error::BufferTooSmall, &TestResult::Invalid),
                    "test {}",
                    test.tc_id
                );
                refused += 1;
            }
        }
        right += 1;
    }
    assert_eq!((right, refused), (86, 3));
    covered(format_args!("Wycheproof hkdf_sha256: 86 of 86 right, 3 of them refused"));
}

#[test]
fn wycheproof_hmac() {
    let set = macs::TestSet::load(macs::TestName::HmacSha256).unwrap();
    let (mut right, mut refused) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let accepted = match group.tag_size {
                256 => equal(&mac(&test.key, &[&test.msg]), &test.tag),
                128 => equal(&mac16(&test.key, &[&test.msg]), &test.tag),
                other => panic!("tags of {other} bits"),
            };
            assert_eq!(accepted, test.result == TestResult::Valid, "test {}", test.tc_id);
            right += 1;
            refused += usize::from(!accepted);
        }
    }
    assert_eq!((right, refused), (174, 108));
    covered(format_args!("Wycheproof hmac_sha256: 174 of 174 right, 108 of them refused"));
}
