//! The backend of devices, and how often it is asked for what: for a bench that counts the work of a role. No product turns
//! its feature on.

use super::{Point, device};
use crate::{Digest, secret::Secret};
use core::sync::atomic::{AtomicU32, Ordering};
use rand_core::CryptoRng;

pub use device::is_point;

/// What is counted. Each is most of a scalar multiplication or more; everything else of a role is small beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A signature.
    Sign,
    /// The check of one.
    Verify,
    /// An agreement on a secret.
    Agree,
    /// The public key of a private one.
    Public,
}

static COUNTS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

fn count(operation: Operation) {
    COUNTS[operation as usize].fetch_add(1, Ordering::Relaxed);
}

/// How often each operation was asked for since the last call, in their order, on all threads.
pub fn taken() -> [u32; 4] {
    COUNTS.each_ref().map(|n| n.swap(0, Ordering::Relaxed))
}

/// HPKE was sealed or opened, which has P-256 from its own library: an agreement, and a public key.
pub(crate) fn encapsulated() {
    count(Operation::Agree);
    count(Operation::Public);
}

/// As [`device::SigningKey`].
#[derive(Clone)]
pub struct SigningKey(device::SigningKey);

impl SigningKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        count(Operation::Public);
        SigningKey(device::SigningKey::generate(rng))
    }

    /// The key with this scalar.
    pub fn from_bytes(scalar: &[u8; 32]) -> Option<Self> {
        // It computes its public key at once.
        count(Operation::Public);
        device::SigningKey::from_bytes(scalar).map(SigningKey)
    }

    /// The scalar.
    pub fn to_bytes(&self) -> Secret<32> {
        self.0.to_bytes()
    }

    /// The public key.
    pub fn public(&self) -> Point {
        self.0.public()
    }

    /// Signs.
    pub fn sign(&self, digest: &Digest, rng: &mut impl CryptoRng) -> [u8; 64] {
        count(Operation::Sign);
        self.0.sign(digest, rng)
    }

    /// Signs with the plain RFC 6979 nonce.
    pub fn sign_rfc6979(&self, digest: &Digest) -> [u8; 64] {
        count(Operation::Sign);
        self.0.sign_rfc6979(digest)
    }
}

/// As [`device::AgreementKey`].
pub struct AgreementKey(device::AgreementKey);

impl AgreementKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        AgreementKey(device::AgreementKey::generate(rng))
    }

    /// The key with this scalar.
    pub fn from_bytes(scalar: &[u8; 32]) -> Option<Self> {
        device::AgreementKey::from_bytes(scalar).map(AgreementKey)
    }

    /// The public key.
    pub fn public(&self) -> Point {
        count(Operation::Public);
        self.0.public()
    }

    /// The x coordinate of `scalar * peer`.
    pub fn agree(&self, peer: &Point) -> Option<Secret<32>> {
        count(Operation::Agree);
        self.0.agree(peer)
    }
}

/// As [`device::VerifyingKey`].
pub struct VerifyingKey(device::VerifyingKey);

impl VerifyingKey {
    /// The key with this point.
    pub fn parse(point: &Point) -> Option<Self> {
        device::VerifyingKey::parse(point).map(VerifyingKey)
    }

    /// Whether `signature` over `digest` verifies.
    pub fn verify(&self, digest: &Digest, signature: &[u8; 64]) -> bool {
        count(Operation::Verify);
        self.0.verify(digest, signature)
    }
}
