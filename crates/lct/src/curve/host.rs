//! P-256 from `aws-lc-rs`, for programs on a host.
//!
//! Signatures take a nonce of the library's own, not that of RFC 6979, and are brought to low s. The library erases
//! the memory of a key when it frees it.

use super::{Point, device, draw, is_low_s};
use crate::{Digest, secret::Secret};
use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    digest,
    encoding::{AsBigEndian, EcPublicKeyCompressedBin},
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, ParsedPublicKey},
};
use p256::ecdsa;
use rand_core::CryptoRng;

/// Signs. Zeroised on drop.
#[derive(Clone)]
pub struct SigningKey {
    pair: EcdsaKeyPair,
    scalar: Secret<32>,
    public: Point,
}

impl SigningKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        draw(rng, Self::from_bytes)
    }

    /// The key with this scalar, big-endian; `None` for zero and for values not below the group order.
    pub fn from_bytes(scalar: &[u8; 32]) -> Option<Self> {
        let public = AgreementKey::from_bytes(scalar)?.public();
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, scalar, &public)
                .ok()?;
        Some(SigningKey { pair, scalar: Secret::new(*scalar), public })
    }

    /// The scalar, for sealed storage.
    pub fn to_bytes(&self) -> Secret<32> {
        self.scalar.clone()
    }

    /// The public key.
    pub fn public(&self) -> Point {
        self.public
    }

    /// Signs with a nonce of the library's own; `rng` serves only where the library has no entropy.
    pub fn sign(&self, digest: &Digest, rng: &mut impl CryptoRng) -> [u8; 64] {
        let signed = imported(digest).and_then(|digest| self.pair.sign_digest(&digest).ok());
        match signed.and_then(|signature| ecdsa::Signature::from_slice(signature.as_ref()).ok()) {
            Some(signature) => device::normalised(signature),
            None => match device::SigningKey::from_bytes(self.scalar.expose()) {
                Some(key) => key.sign(digest, rng),
                // Not reached: the scalar was checked when this key was made.
                None => [0; 64],
            },
        }
    }

    /// Signs with the plain RFC 6979 nonce, as the published vectors do.
    pub fn sign_rfc6979(&self, digest: &Digest) -> [u8; 64] {
        device::SigningKey::from_bytes(self.scalar.expose()).map_or([0; 64], |key| key.sign_rfc6979(digest))
    }
}

/// Agrees on a secret with the holder of another key. Zeroised on drop.
pub struct AgreementKey {
    key: PrivateKey,
    public: Point,
}

impl AgreementKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        draw(rng, Self::from_bytes)
    }

    /// The key with this scalar, big-endian; `None` for zero and for values not below the group order.
    pub fn from_bytes(scalar: &[u8; 32]) -> Option<Self> {
        let key = PrivateKey::from_private_key(&ECDH_P256, scalar).ok()?;
        let public = key.compute_public_key().ok()?;
        let public: EcPublicKeyCompressedBin<'_> = public.as_be_bytes().ok()?;
        let public = public.as_ref().try_into().ok()?;
        Some(AgreementKey { key, public })
    }

    /// The public key.
    pub fn public(&self) -> Point {
        self.public
    }

    /// The x coordinate of `scalar * peer`; `None` unless `peer` is a point in compressed form.
    pub fn agree(&self, peer: &Point) -> Option<Secret<32>> {
        if !is_point(peer) {
            return None;
        }
        agree(&self.key, UnparsedPublicKey::new(&ECDH_P256, peer), (), |shared| {
            Secret::from_slice(shared).or(Err(()))
        })
        .ok()
    }
}

/// Whether these bytes are a point of the curve in compressed form.
pub fn is_point(point: &Point) -> bool {
    VerifyingKey::parse(point).is_some()
}

/// A public key, decompressed.
pub struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    /// The key with this point; `None` unless it is one in compressed form.
    pub fn parse(point: &Point) -> Option<Self> {
        let compressed = matches!(point[0], 2 | 3);
        compressed.then(|| ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok().map(Self)).flatten()
    }

    /// Whether `signature` (raw, low s) over `digest` verifies. High s is refused.
    pub fn verify(&self, digest: &Digest, signature: &[u8; 64]) -> bool {
        is_low_s(signature)
            && imported(digest).is_some_and(|digest| self.0.verify_digest_sig(&digest, signature).is_ok())
    }
}

/// The digest as the library's own type; 32 bytes always fit.
fn imported(digest: &Digest) -> Option<digest::Digest> {
    digest::Digest::import_less_safe(digest, &digest::SHA256).ok()
}
