//! P-256: NIST CAVP (key pairs, key validation, signatures, agreement), RFC 6979 and Wycheproof, through every
//! implementation of [`lct::curve`] and through [`lct::sign`].

use crate::{
    backend::{BACKENDS, both, compressed, fixed},
    covered,
    files::{Case, cases, text},
};
use lct::{
    curve::Point,
    hash::sha256,
    sign::{PublicKey, Signature, SigningKey},
};
use wycheproof::{TestResult, ecdh, ecdsa};

const CURVE: &str = "[P-256]";
const CURVE_AND_HASH: &str = "[P-256,SHA-256]";

fn backends() -> String {
    BACKENDS.iter().map(|backend| backend.name).collect::<Vec<_>>().join(" and ")
}

fn nist(file: &str, first: &str, section: &str) -> Option<Vec<Case>> {
    let text = text(&format!("asymmetric/ECDSA/FIPS_186-3/{file}"))?;
    Some(cases(&text, first).into_iter().filter(|case| case.section.contains(section)).collect())
}

fn point_of(case: &Case) -> Option<Point> {
    compressed(&case.bytes_padded("Qx"), &case.bytes_padded("Qy"))
}

impl Case {
    /// A number of which a file leaves out a leading zero digit.
    fn bytes_padded(&self, name: &str) -> Vec<u8> {
        let digits = self.word(name);
        hex::decode(if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() }).unwrap()
    }
    fn passes(&self) -> bool {
        match self.word("Result").as_bytes()[0] {
            b'P' => true,
            b'F' => false,
            other => panic!("result {other}"),
        }
    }
}

/// What the world calls a signature: r and s as numbers of any length; ours are 32 bytes each.
fn raw(r: &[u8], s: &[u8]) -> Option<[u8; 64]> {
    Some([fixed(r)?, fixed(s)?].concat().try_into().unwrap())
}

/// The twin with s in its high or low form.
fn twin(signature: &[u8; 64]) -> [u8; 64] {
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut twin = *signature;
    let mut borrow = 0;
    for i in (0..32).rev() {
        let v = i16::from(order[i]) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(v < 0);
        twin[32 + i] = v.rem_euclid(256) as u8;
    }
    twin
}

/// How a signature that the suite calls valid is judged here.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    Taken,
    /// Its twin with low s is taken, it is not.
    HighS,
    Refused,
}

fn judge(point: &Point, message: &[u8], signature: &[u8; 64]) -> Verdict {
    let digest = sha256(&[message]);
    let taken = |signature: &[u8; 64]| {
        let taken = both(|backend| (backend.verify)(point, &digest, signature));
        assert_eq!(PublicKey(*point).verify(&digest, &Signature(*signature)).is_ok(), taken);
        taken
    };
    match (taken(signature), taken(&twin(signature))) {
        (true, false) => Verdict::Taken,
        (false, true) => Verdict::HighS,
        (false, false) => Verdict::Refused,
        (true, true) => panic!("both twins are taken"),
    }
}

#[test]
fn nist_key_pairs() {
    let Some(pairs) = nist("KeyPair.rsp", "d", "B.4.2 Key Pair Generation") else { return };
    // The section's heading is read as two lines; the curve stands above the count.
    let pairs: Vec<_> = pairs.iter().filter(|case| case.section.contains(CURVE)).collect();
    for case in &pairs {
        let scalar = fixed(&case.bytes_padded("d")).unwrap();
        let expected = point_of(case).unwrap();
        assert_eq!(both(|backend| (backend.public)(&scalar)), Some(expected));
        assert_eq!(SigningKey::from_bytes(&scalar).unwrap().public().0, expected);
    }
    assert_eq!(pairs.len(), 10);
    covered(format_args!("CAVP KeyPair P-256, {}: 10 of 10 right", backends()));
}

#[test]
fn nist_public_key_validation() {
    let Some(keys) = nist("PKV.rsp", "Qx", CURVE) else { return };
    let mut refused = 0;
    for case in &keys {
        let point = point_of(case);
        assert_eq!(point.is_some(), case.passes(), "{}", case.word("Result"));
        assert!(point.is_none_or(|point| PublicKey::from_slice(&point).is_ok()));
        refused += usize::from(point.is_none());
    }
    assert_eq!((keys.len(), refused), (12, 8));
    covered(format_args!("CAVP PKV P-256, {}: 12 of 12 right, 8 of them refused", backends()));
}

#[test]
fn nist_signature_verification() {
    let Some(cases) = nist("SigVer.rsp", "Msg", CURVE_AND_HASH) else { return };
    let (mut taken, mut high_s, mut refused) = (0, 0, 0);
    for case in &cases {
        let point = point_of(case).unwrap();
        let signature = raw(&case.bytes_padded("R"), &case.bytes_padded("S")).unwrap();
        let verdict = judge(&point, &case.bytes("Msg"), &signature);
        assert_eq!(verdict != Verdict::Refused, case.passes(), "{}", case.word("Result"));
        match verdict {
            Verdict::Taken => taken += 1,
            Verdict::HighS => high_s += 1,
            Verdict::Refused => refused += 1,
        }
    }
    assert_eq!((cases.len(), taken, high_s, refused), (15, 2, 1, 12));
    covered(format_args!(
        "CAVP SigVer P-256 SHA-256, {}: 15 of 15 right: {taken} taken, {high_s} valid but for high s refused, \
         {refused} refused",
        backends()
    ));
}

#[test]
fn nist_signature_generation() {
    let Some(cases) = nist("SigGen.txt", "Msg", CURVE_AND_HASH) else { return };
    let (mut taken, mut high_s) = (0, 0);
    for case in &cases {
        let point = point_of(case).unwrap();
        let scalar = fixed(&case.bytes_padded("d")).unwrap();
        assert_eq!(both(|backend| (backend.public)(&scalar)), Some(point));
        let message = case.bytes("Msg");
        match judge(&point, &message, &raw(&case.bytes_padded("R"), &case.bytes_padded("S")).unwrap()) {
            Verdict::Taken => taken += 1,
            Verdict::HighS => high_s += 1,
            Verdict::Refused => panic!("a published signature is refused"),
        }
        let own = both(|backend| (backend.sign_rfc6979)(&scalar, &sha256(&[&message]))).unwrap();
        assert_eq!(judge(&point, &message, &own), Verdict::Taken);
    }
    assert_eq!((cases.len(), taken, high_s), (15, 5, 10));
    covered(format_args!(
        "CAVP SigGen P-256 SHA-256, {}: {taken} low s taken, {high_s} high s refused",
        backends()
    ));
}

/// A.2.5: the RFC's own signatures, brought to low s.
#[test]
fn rfc_6979() {
    let Some(text) = text("asymmetric/ECDSA/RFC6979/evppkey_ecdsa_rfc6979.txt") else { return };
    let scalar =
        fixed(&hex::decode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap())
            .unwrap();
    let point = both(|backend| (backend.public)(&scalar)).unwrap();
    let (mut made, mut verified, mut refused) = (0, 0, 0);
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            let mut lines = paragraph.lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches('"'))
        };
        let (Some(key), Some(message), Some(output)) = (field("Key"), field("Input"), field("Output")) else {
            continue;
        };
        if !key.starts_with("P-256_") {
            continue;
        }
        let (r, s) = der(&hex::decode(output).unwrap()).unwrap();
        let published = raw(&r, &s).unwrap();
        if field("DigestSign") == Some("SHA256") {
            let own =
                both(|backend| (backend.sign_rfc6979)(&scalar, &sha256(&[message.as_bytes()]))).unwrap();
            assert!(own == published || own == twin(&published), "{message}");
            made += 1;
        } else if field("DigestVerify") == Some("SHA256") {
            let good = judge(&point, message.as_bytes(), &published) != Verdict::Refused;
            assert_eq!(good, field("Result") != Some("VERIFY_ERROR"), "{message}");
            *(if good { &mut verified } else { &mut refused }) += 1;
        }
    }
    assert_eq!((made, verified, refused), (2, 2, 2));
    covered(format_args!("RFC 6979 A.2.5 SHA-256, {}: 2 made, 2 verified, 2 refused", backends()));
}

/// What the other side of a static agreement publishes, what ours holds, and what comes out.
#[test]
fn nist_agreement() {
    let (mut right, mut refused) = (0, 0);
    for role in ["init", "resp"] {
        let Some(text) =
            text(&format!("asymmetric/ECDH/KASValidityTest_ECCStaticUnified_NOKC_ZZOnly_{role}.fax"))
        else {
            return;
        };
        for case in cases(&text, "COUNT").iter().filter(|case| case.section == "[EC - SHA256]") {
            let peer = compressed(&case.bytes_padded("QsCAVSx"), &case.bytes_padded("QsCAVSy"));
            let own = compressed(&case.bytes_padded("QsIUTx"), &case.bytes_padded("QsIUTy"));
            let scalar = fixed(&case.bytes_padded("dsIUT")).unwrap();
            let good = peer.is_some_and(|peer| {
                let shared = both(|backend| (backend.agree)(&scalar, &peer)).unwrap();
                own.is_some()
                    && own == both(|backend| (backend.public)(&scalar))
                    && shared.expose()[..] == case.bytes("Z")
            });
            assert_eq!(good, case.passes(), "{role} {}: {}", case.word("COUNT"), case.word("Result"));
            right += 1;
            refused += usize::from(!good);
        }
    }
    assert_eq!((right, refused), (60, 24));
    covered(format_args!(
        "CAVP KAS ECC static P-256, {}: {right} of {right} right, {refused} must fail",
        backends()
    ));
}

#[test]
fn wycheproof_agreement() {
    let set = ecdh::TestSet::load(ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let (mut right, mut valid, mut acceptable, mut invalid, mut uncompressed) = (0, 0, 0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let bytes = test.public_key.as_slice();
        // Our interfaces take 33 bytes; a point in another form is brought to it, where it has one.
        let point = match bytes {
            [4, rest @ ..] if rest.len() == 64 => compressed(&rest[..32], &rest[32..]),
            _ => bytes.try_into().ok().filter(|point| both(|backend| (backend.is_point)(point))),
        };
        if bytes.len() != 33 {
            assert!(PublicKey::from_slice(bytes).is_err(), "test {}: {} bytes", test.tc_id, bytes.len());
            uncompressed += 1;
        }
        let scalar = fixed(&test.private_key).unwrap();
        let shared = point.map(|point| both(|backend| (backend.agree)(&scalar, &point)).unwrap());
        match test.result {
            TestResult::Invalid => {
                assert!(shared.is_none(), "test {}: {}", test.tc_id, test.comment);
                invalid += 1;
            }
            TestResult::Valid | TestResult::Acceptable => {
                assert_eq!(shared.unwrap().expose()[..], **test.shared_secret, "test {}", test.tc_id);
                *(if test.result == TestResult::Valid { &mut valid } else { &mut acceptable }) += 1;
            }
        }
        right += 1;
    }
    assert_eq!((right, valid, acceptable, invalid, uncompressed), (355, 330, 1, 24, 347));
    covered(format_args!(
        "Wycheproof ecdh_secp256r1_ecpoint, {}: 355 of 355 right, {invalid} refused, \
         {uncompressed} not compressed and refused as they stand",
        backends()
    ));
}

/// r and s of a DER signature in its one canonical form; `None` for every other form.
fn der(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    fn integer(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
        let [2, length, rest @ ..] = bytes else { return None };
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        let canonical = match value {
            [] => false,
            [0] => true,
            [0, next, ..] => next & 0x80 != 0,
            [first, ..] => first & 0x80 == 0,
        };
        (canonical && *length < 0x80).then(|| (value.to_vec(), rest))
    }
    let [0x30, length, body @ ..] = bytes else { return None };
    if usize::from(*length) != body.len() || *length >= 0x80 {
        return None;
    }
    let (r, body) = integer(body)?;
    let (s, body) = integer(body)?;
    body.is_empty().then_some((r, s))
}

fn wycheproof_signatures(name: ecdsa::TestName, parse: impl Fn(&[u8]) -> Option<[u8; 64]>) -> [usize; 5] {
    let [mut right, mut taken, mut high_s, mut refused, mut not_raw] = [0; 5];
    for group in &ecdsa::TestSet::load(name).unwrap().test_groups {
        let [4, key @ ..] = group.key.key.as_slice() else { panic!("keys are uncompressed") };
        let point = compressed(&key[..32], &key[32..]).unwrap();
        for test in &group.tests {
            let signature = parse(&test.sig);
            not_raw += usize::from(signature.is_none());
            let verdict = signature.map_or(Verdict::Refused, |s| judge(&point, &test.msg, &s));
            let good = test.result == TestResult::Valid;
            assert_eq!(verdict != Verdict::Refused, good, "test {}: {}", test.tc_id, test.comment);
            *(match verdict {
                Verdict::Taken => &mut taken,
                Verdict::HighS => &mut high_s,
                Verdict::Refused => &mut refused,
            }) += 1;
            right += 1;
        }
    }
    [right, taken, high_s, refused, not_raw]
}

/// DER is foreign to this crate: what a strict reader refuses never reaches it, the rest does as `r || s`.
#[test]
fn wycheproof_der_signatures() {
    let counts = wycheproof_signatures(ecdsa::TestName::EcdsaSecp256r1Sha256, |bytes| {
        let (r, s) = der(bytes)?;
        raw(&r, &s)
    });
    assert_eq!(counts, [484, 103, 71, 310, 235]);
    let [right, taken, high_s, refused, not_raw] = counts;
    covered(format_args!(
        "Wycheproof ecdsa_secp256r1_sha256, {}: {right} of {right} right: {taken} taken, {high_s} valid but for \
         high s refused, {refused} refused ({not_raw} of them by their encoding)",
        backends()
    ));
}

#[test]
fn wycheproof_raw_signatures() {
    let counts = wycheproof_signatures(ecdsa::TestName::EcdsaSecp256r1Sha256P1363, |bytes| {
        Signature::from_slice(bytes).ok().map(|signature| signature.0)
    });
    assert_eq!(counts, [262, 103, 70, 89, 21]);
    let [right, taken, high_s, refused, not_raw] = counts;
    covered(format_args!(
        "Wycheproof ecdsa_secp256r1_sha256_p1363, {}: {right} of {right} right: {taken} taken, {high_s} valid but \
         for high s refused, {refused} refused ({not_raw} of them by their length)",
        backends()
    ));
}
