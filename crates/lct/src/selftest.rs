//! What a device proves to itself before it sends anything: one published answer for each primitive that protects
//! a message or a record (`spec/channel.md`, H136).

use crate::{
    Digest, Error,
    hash::sha256,
    schedule::{extract, mac},
    secret::Secret,
    sign::{PublicKey, Signature, SigningKey},
    storage::{open_record, seal_record},
};
use core::sync::atomic::{AtomicBool, Ordering};
use hkdf::Hkdf;
use sha2::Sha256;

/// The answers that the self-test expects.
#[derive(Clone)]
pub struct Answers {
    /// AES-256-GCM, test case 16 of McGrew and Viega: ciphertext and tag.
    pub gcm: ([u8; 60], [u8; 16]),
    /// HKDF-SHA256, RFC 5869, A.1: 42 bytes.
    pub hkdf: [u8; 42],
    /// ECDSA P-256 with SHA-256, RFC 6979, A.2.5, message "test": `r || s`.
    pub ecdsa: [u8; 64],
    /// HMAC-SHA256, RFC 4231, case 2.
    pub hmac: Digest,
}

/// Bytes from hexadecimal digits, for the tables below.
const fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    const fn digit(c: u8) -> u8 {
        match c {
            b'0'..=b'9' => c - b'0',
            _ => c - b'a' + 10,
        }
    }
    let text = hex.as_bytes();
    assert!(text.len() == 2 * N, "wrong length");
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        i += 1;
    }
    out
}

/// The published answers.
pub const PUBLISHED: Answers = Answers {
    gcm: (
        bytes(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        ),
        bytes("76fc6ece0f4e1768cddf8853bb2d551b"),
    ),
    hkdf: bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
    ecdsa: bytes(
        "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367\
         019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
    ),
    hmac: bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
};

const GCM_KEY: [u8; 32] = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
const GCM_NONCE: [u8; 12] = bytes("cafebabefacedbaddecaf888");
const GCM_AAD: [u8; 20] = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
const GCM_PLAIN: [u8; 60] = bytes(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
);
const HKDF_SALT: [u8; 13] = bytes("000102030405060708090a0b0c");
const HKDF_INFO: [u8; 10] = bytes("f0f1f2f3f4f5f6f7f8f9");
const ECDSA_KEY: [u8; 32] = bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
const ECDSA_PUBLIC: [u8; 33] = bytes("0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6");

/// Runs every known answer, once in a program: what it finds holds for each role that the program starts.
/// [`Error::SelfTest`] means that this device must not start.
pub fn run() -> Result<(), Error> {
    static PASSED: AtomicBool = AtomicBool::new(false);
    if !PASSED.load(Ordering::Relaxed) {
        check(&PUBLISHED)?;
        PASSED.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// The self-test against given answers.
pub fn check(answers: &Answers) -> Result<(), Error> {
    let passed = gcm(&answers.gcm) && hkdf(&answers.hkdf) && ecdsa(&answers.ecdsa) && hmac(&answers.hmac);
    if passed { Ok(()) } else { Err(Error::SelfTest) }
}

fn gcm((ciphertext, tag): &([u8; 60], [u8; 16])) -> bool {
    let key = Secret::new(GCM_KEY);
    let mut text = GCM_PLAIN;
    let sealed = seal_record(&key, &GCM_NONCE, &GCM_AAD, &mut text);
    if sealed != Ok(*tag) || text != *ciphertext {
        return false;
    }
    let mut forged = *tag;
    forged[0] ^= 1;
    open_record(&key, &GCM_NONCE, &GCM_AAD, &mut text.clone(), &forged).is_err()
        && open_record(&key, &GCM_NONCE, &GCM_AAD, &mut text, tag).is_ok()
        && text == GCM_PLAIN
}

fn hkdf(expected: &[u8; 42]) -> bool {
    let prk = extract(&HKDF_SALT, &[&[0x0B; 22]]);
    let mut out = [0; 42];
    let expanded = Hkdf::<Sha256>::from_prk(prk.expose()).map(|h| h.expand(&HKDF_INFO, &mut out));
    matches!(expanded, Ok(Ok(()))) && out == *expected
}

fn ecdsa(expected: &[u8; 64]) -> bool {
    let Ok(key) = SigningKey::from_bytes(&ECDSA_KEY) else { return false };
    let public = PublicKey(ECDSA_PUBLIC);
    let digest = sha256(&[b"test"]);
    let signature = Signature(*expected);
    key.public() == public
        && key.sign_rfc6979(&digest) == signature
        && public.verify(&digest, &signature).is_ok()
        && public.verify(&sha256(&[b"tesu"]), &signature).is_err()
}

fn hmac(expected: &Digest) -> bool {
    mac(b"Jefe", &[b"what do ya want for nothing?"]) == *expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_answers_come_out() {
        assert_eq!(run(), Ok(()));
    }

    /// Each primitive is looked at: one wrong bit in one answer is enough.
    #[test]
    fn one_wrong_bit_in_any_answer_fails() {
        type Spoil = fn(&mut Answers);
        let spoils: [(&str, Spoil); 5] = [
            ("gcm ciphertext", |a| a.gcm.0[59] ^= 1),
            ("gcm tag", |a| a.gcm.1[0] ^= 0x80),
            ("hkdf", |a| a.hkdf[41] ^= 1),
            ("ecdsa", |a| a.ecdsa[63] ^= 1),
            ("hmac", |a| a.hmac[0] ^= 1),
        ];
        for (which, spoil) in spoils {
            let mut answers = PUBLISHED;
            spoil(&mut answers);
            assert_eq!(check(&answers), Err(Error::SelfTest), "{which}");
        }
    }
}
