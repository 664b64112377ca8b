//! AES-256-GCM: NIST CAVP and Wycheproof, through [`lct::aead`].

use crate::{
    covered,
    files::{Case, cases, text},
};
use lct::{Error, aead::Aead, secret::Secret};
use wycheproof::{TestResult, aead};

/// Key, nonce and tag in the only sizes that the interface can express.
type Sizes = (Secret<32>, [u8; 12], [u8; 16]);

fn sizes(key: &[u8], nonce: &[u8], tag: &[u8]) -> Option<Sizes> {
    Some((Secret::from_slice(key).ok()?, nonce.try_into().ok()?, tag.try_into().ok()?))
}

/// Whether the tag fits; a text that was refused is erased.
fn opens((key, nonce, tag): &Sizes, aad: &[u8], sealed: &[u8], plain: &[u8]) -> bool {
    let mut text = sealed.to_vec();
    let attempted = Aead::new(key).attempt(nonce, aad, &mut text, tag);
    assert_eq!(
        text,
        if attempted.is_ok() { plain } else { sealed },
        "a failed attempt leaves the text as it was"
    );
    text.copy_from_slice(sealed);
    match Aead::new(key).open(nonce, aad, &mut text, tag) {
        Ok(()) => {
            assert_eq!(text, plain);
            true
        }
        Err(error) => {
            assert_eq!(error, Error::NotAuthentic);
            assert!(text.iter().all(|b| *b == 0), "a refused text is erased");
            false
        }
    }
}

fn seals((key, nonce, tag): &Sizes, aad: &[u8], plain: &[u8], sealed: &[u8]) {
    let (mut text, mut made) = (plain.to_vec(), [0; 16]);
    Aead::new(key).seal(nonce, aad, &mut text, &mut made).unwrap();
    assert_eq!(made, *tag);
    assert_eq!(text, sealed);
}

fn nist(file: &str) -> Option<(Vec<Case>, usize)> {
    let all = cases(&text(&format!("ciphers/AES/GCM/{file}"))?, "Count");
    let count = all.len();
    let fitting = all.into_iter().filter(|case| {
        let fits = sizes(&case.bytes("Key"), &case.bytes("IV"), &case.bytes("Tag")).is_some();
        assert_eq!(
            fits,
            case.section.contains("[IVlen = 96]") && case.section.contains("[Taglen = 128]"),
            "other sizes cannot even be written down: {}",
            case.section
        );
        fits
    });
    Some((fitting.collect(), count))
}

#[test]
fn nist_decryption() {
    let Some((fitting, all)) = nist("gcmDecrypt256.rsp") else { return };
    let mut refused = 0;
    for case in &fitting {
        let sizes = sizes(&case.bytes("Key"), &case.bytes("IV"), &case.bytes("Tag")).unwrap();
        let must_fail = case.has("FAIL");
        let plain = if must_fail { Vec::new() } else { case.bytes("PT") };
        assert_eq!(opens(&sizes, &case.bytes("AAD"), &case.bytes("CT"), &plain), !must_fail);
        refused += usize::from(must_fail);
    }
    assert_eq!((all, fitting.len(), refused), (7875, 375, 191));
    covered(format_args!(
        "CAVP gcmDecrypt256: 375 of 7875 have our sizes, 375 of 375 right, 191 of them refused"
    ));
}

#[test]
fn nist_encryption() {
    let Some((fitting, all)) = nist("gcmEncryptExtIV256.rsp") else { return };
    for case in &fitting {
        let sizes = sizes(&case.bytes("Key"), &case.bytes("IV"), &case.bytes("Tag")).unwrap();
        let (aad, plain, sealed) = (case.bytes("AAD"), case.bytes("PT"), case.bytes("CT"));
        seals(&sizes, &aad, &plain, &sealed);
        assert!(opens(&sizes, &aad, &sealed, &plain));
    }
    assert_eq!((all, fitting.len()), (7875, 375));
    covered(format_args!("CAVP gcmEncryptExtIV256: 375 of 7875 have our sizes, 375 of 375 right"));
}

#[test]
fn wycheproof_aes_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let (mut fitting, mut refused, mut narrower) = (0, 0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let ours = group.key_size == 256 && group.nonce_size == 96 && group.tag_size == 128;
            let Some(sizes) = sizes(&test.key, &test.nonce, &test.tag) else {
                assert!(!ours, "test {}", test.tc_id);
                narrower += 1;
                continue;
            };
            assert!(ours, "test {}: sizes that must be refused fit", test.tc_id);
            let must_fail = test.result == TestResult::Invalid;
            assert_eq!(opens(&sizes, &test.aad, &test.ct, &test.pt), !must_fail, "test {}", test.tc_id);
            if !must_fail {
                seals(&sizes, &test.aad, &test.pt, &test.ct);
            }
            fitting += 1;
            refused += usize::from(must_fail);
        }
    }
    assert_eq!((fitting, refused, narrower), (66, 27, 250));
    covered(format_args!(
        "Wycheproof aes_gcm: 66 of 66 right, 27 of them refused; 250 of other sizes refused"
    ));
}
