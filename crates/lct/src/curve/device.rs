//! P-256 from RustCrypto: runs on a microcontroller, and makes the deterministic signatures of the vectors.

use super::{Point, draw, is_low_s};
use crate::{Digest, secret::Secret};
use p256::{
    ecdsa::{
        self,
        signature::hazmat::{PrehashSigner, PrehashVerifier, RandomizedPrehashSigner},
    },
    elliptic_curve::sec1::ToSec1Point,
};
use rand_core::CryptoRng;

/// Signs. Zeroised on drop.
#[derive(Clone)]
pub struct SigningKey(ecdsa::SigningKey);

impl SigningKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        draw(rng, Self::from_bytes)
    }

    /// The key with this scalar, big-endian; `None` for zero and for values not below the group order.
    pub fn from_bytes(scalar: &[u8; 32]) -> Option<Self> {
        ecdsa::SigningKey::from_slice(scalar).ok().map(SigningKey)
    }

    /// The scalar, for sealed storage.
    pub fn to_bytes(&self) -> Secret<32> {
        Secret::new(self.0.to_bytes().into())
    }

    /// The public key.
    pub fn public(&self) -> Point {
        compressed(self.0.verifying_key())
    }

    /// Signs with an RFC 6979 nonce that also takes entropy from `rng` (RFC 6979, 3.6): a stuck source repeats at
    /// worst the deterministic signature, a fault attack on one nonce finds no twin.
    pub fn sign(&self, digest: &Digest, rng: &mut impl CryptoRng) -> [u8; 64] {
        match self.0.sign_prehash_with_rng(rng, digest) {
            Ok(signature) => normalised(signature),
            Err(_) => self.sign_rfc6979(digest),
        }
    }

    /// Signs with the plain RFC 6979 nonce, as the published vectors do.
    pub fn sign_rfc6979(&self, digest: &Digest) -> [u8; 64] {
        // A 32-byte prehash always signs: the only error of this call is a prehash that is too short.
        self.0.sign_prehash(digest).map_or([0; 64], normalised)
    }
}

/// Low s, raw `r || s`.
pub(super) fn normalised(signature: ecdsa::Signature) -> [u8; 64] {
    signature.normalize_s().to_bytes().into()
}

fn compressed(key: &ecdsa::VerifyingKey) -> Point {
    let mut point = [0; 33];
    point.copy_from_slice(key.to_sec1_point(true).as_bytes());
    point
}

/// Agrees on a secret with the holder of another key. Zeroised on drop.
pub struct AgreementKey(p256::SecretKey);

impl AgreementKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        draw(rng, Self::from_bytes)
    }

    /// The key with this scalar, big-endian; `None` for zero and for values not below the group order.
    pub fn from_bytes(scalar: &[u8; 32]) -> Option<Self> {
        p256::SecretKey::from_slice(scalar).ok().map(AgreementKey)
    }

    /// The public key.
    pub fn public(&self) -> Point {
        let mut point = [0; 33];
        point.copy_from_slice(self.0.public_key().to_sec1_point(true).as_bytes());
        point
    }

    /// The x coordinate of `scalar * peer`; `None` unless `peer` is a point in compressed form.
    pub fn agree(&self, peer: &Point) -> Option<Secret<32>> {
        let peer = p256::PublicKey::from(parse(peer)?);
        Secret::from_slice(self.0.diffie_hellman(&peer).raw_secret_bytes()).ok()
    }
}

/// Whether these bytes are a point of the curve in compressed form.
pub fn is_point(point: &Point) -> bool {
    parse(point).is_some()
}

/// A public key, decompressed.
pub struct VerifyingKey(ecdsa::VerifyingKey);

impl VerifyingKey {
    /// The key with this point; `None` unless it is one in compressed form.
    pub fn parse(point: &Point) -> Option<Self> {
        parse(point).map(Self)
    }

    /// Whether `signature` (raw, low s) over `digest` verifies. High s is refused.
    pub fn verify(&self, digest: &Digest, signature: &[u8; 64]) -> bool {
        is_low_s(signature)
            && ecdsa::Signature::from_slice(signature)
                .is_ok_and(|parsed| self.0.verify_prehash(digest, &parsed).is_ok())
    }
}

fn parse(point: &Point) -> Option<ecdsa::VerifyingKey> {
    if !matches!(point[0], 2 | 3) {
        return None;
    }
    ecdsa::VerifyingKey::from_sec1_bytes(point).ok()
}
