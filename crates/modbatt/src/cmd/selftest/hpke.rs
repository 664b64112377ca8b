//! HPKE base mode with a given ephemeral scalar (RFC 9180; P-256, HKDF-SHA256, AES-256-GCM).
//!
//! A library that seals draws its ephemeral key, as it must; to recompute a published ciphertext the scalar has to
//! be an argument. This is used for test vectors only.

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use lct::{schedule::extract, sign::PublicKey};
use p256::elliptic_curve::sec1::ToSec1Point;

use super::keys::expand;

const KEM: &[u8] = b"KEM\x00\x10";
const HPKE: &[u8] = b"HPKE\x00\x10\x00\x01\x00\x02";

/// AES-256-GCM: ciphertext and tag. `None` only for texts beyond the cipher's limit.
pub fn gcm_seal(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let mut text = plain.to_vec();
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(nonce.into(), aad, text.as_mut_slice().into())
        .ok()?;
    text.extend_from_slice(&tag);
    Some(text)
}

/// The x coordinate of `scalar * point`; `None` when one of them is none of P-256.
pub fn agree(scalar: &[u8; 32], point: &PublicKey) -> Option<[u8; 32]> {
    let secret = p256::SecretKey::from_slice(scalar).ok()?;
    let point = p256::PublicKey::from_sec1_bytes(&point.0).ok()?;
    secret.diffie_hellman(&point).raw_secret_bytes().as_slice().try_into().ok()
}

/// The public key of a scalar; `None` when it is none of P-256.
pub fn public_of(scalar: &[u8; 32]) -> Option<PublicKey> {
    let secret = p256::SecretKey::from_slice(scalar).ok()?;
    PublicKey::from_slice(secret.public_key().to_sec1_point(true).as_bytes()).ok()
}

fn uncompressed(point: &PublicKey) -> Option<Vec<u8>> {
    let point = p256::PublicKey::from_sec1_bytes(&point.0).ok()?;
    Some(point.to_sec1_point(false).as_bytes().to_vec())
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> [u8; 32] {
    *extract(salt, &[b"HPKE-v1", suite, label, ikm]).expose()
}

fn labeled_expand<const N: usize>(suite: &[u8], prk: &[u8], label: &[u8], info: &[u8]) -> Option<[u8; N]> {
    let info = [&(N as u16).to_be_bytes()[..], b"HPKE-v1", suite, label, info].concat();
    expand(prk, &info, N).try_into().ok()
}

/// `enc 65 || ciphertext || tag 16`; `None` when scalar or receiver are none of P-256.
pub fn seal(ephemeral: &[u8; 32], receiver: &PublicKey, info: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let enc = uncompressed(&public_of(ephemeral)?)?;
    let shared = agree(ephemeral, receiver)?;
    let context = [enc.as_slice(), &uncompressed(receiver)?].concat();
    let eae = labeled_extract(KEM, &[], b"eae_prk", &shared);
    let shared: [u8; 32] = labeled_expand(KEM, &eae, b"shared_secret", &context)?;

    let psk_id_hash = labeled_extract(HPKE, &[], b"psk_id_hash", &[]);
    let info_hash = labeled_extract(HPKE, &[], b"info_hash", info);
    let context = [&[0][..], &psk_id_hash, &info_hash].concat();
    let secret = labeled_extract(HPKE, &shared, b"secret", &[]);
    let key = labeled_expand(HPKE, &secret, b"key", &context)?;
    let nonce = labeled_expand(HPKE, &secret, b"base_nonce", &context)?;
    Some([enc, gcm_seal(&key, &nonce, &[], plain)?].concat())
}
