//! P-256 signatures: ECDSA with SHA-256 over a digest, raw `r || s`, low s on both ends.

use crate::{Digest, Error, curve::backend};
use core::fmt;
use rand_core::CryptoRng;

/// A signing key. Zeroised on drop, never printed.
#[derive(Clone)]
pub struct SigningKey(backend::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

impl SigningKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        SigningKey(backend::SigningKey::generate(rng))
    }

    /// The key with the given scalar (big-endian); refuses zero and values not below the group order.
    pub fn from_bytes(scalar: &[u8; 32]) -> Result<Self, Error> {
        backend::SigningKey::from_bytes(scalar).map(SigningKey).ok_or(Error::InvalidKey)
    }

    /// The scalar, for sealed storage.
    pub fn to_bytes(&self) -> crate::secret::Secret<32> {
        self.0.to_bytes()
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public())
    }

    /// Signs `digest` with a nonce that cannot be foretold; from where it takes it is the [`backend`]'s choice.
    pub fn sign(&self, digest: &Digest, rng: &mut impl CryptoRng) -> Signature {
        Signature(self.0.sign(digest, rng))
    }

    /// Signs `digest` with the plain RFC 6979 nonce, as the published vectors do.
    pub fn sign_rfc6979(&self, digest: &Digest) -> Signature {
        Signature(self.0.sign_rfc6979(digest))
    }
}

/// Makes signatures: with a key in this memory, or with one that lies elsewhere, as in a token.
///
/// An implementation that can fail remembers that it did, and its caller drops what was made of its signatures.
pub trait Signer {
    /// The public key.
    fn public(&self) -> PublicKey;
    /// Signs `digest`, as [`SigningKey::sign`].
    fn sign(&self, digest: &Digest, rng: &mut impl CryptoRng) -> Signature;
}

impl Signer for SigningKey {
    fn public(&self) -> PublicKey {
        self.public()
    }

    fn sign(&self, digest: &Digest, rng: &mut impl CryptoRng) -> Signature {
        self.sign(digest, rng)
    }
}

/// A public key: SEC1 compressed point, 33 bytes. The bytes are checked when the key is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 33]);

impl PublicKey {
    /// Copies and checks a compressed point.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let bytes: [u8; 33] = bytes.try_into().map_err(|_| Error::Malformed)?;
        let key = PublicKey(bytes);
        if backend::is_point(&key.0) { Ok(key) } else { Err(Error::InvalidKey) }
    }

    /// Verifies `sig` over `digest`; a high-s twin of a valid signature is refused.
    pub fn verify(&self, digest: &Digest, sig: &Signature) -> Result<(), BadSignature> {
        self.expand().ok_or(BadSignature)?.verify(digest, sig)
    }

    /// The key in the form that verifies, which takes a quarter of a verification to compute; `None` if the bytes are
    /// no compressed point. For whoever verifies under the same key again and again.
    pub fn expand(&self) -> Option<VerifyingKey> {
        backend::VerifyingKey::parse(&self.0).map(VerifyingKey)
    }
}

/// A public key, decompressed.
pub struct VerifyingKey(backend::VerifyingKey);

impl VerifyingKey {
    /// As [`PublicKey::verify`].
    pub fn verify(&self, digest: &Digest, sig: &Signature) -> Result<(), BadSignature> {
        if self.0.verify(digest, &sig.0) { Ok(()) } else { Err(BadSignature) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A signature, raw `r || s`, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Copies 64 bytes; they are checked when the signature is verified.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        bytes.try_into().map(Signature).map_err(|_| Error::Malformed)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        self.0.iter().take(8).try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str("..)")
    }
}

/// The signature does not verify under this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signature does not verify")
    }
}
impl core::error::Error for BadSignature {}

impl From<BadSignature> for Error {
    fn from(_: BadSignature) -> Self {
        Error::NotAuthentic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6979, A.2.5, message "sample"; the RFC's s is high, so its low twin is what we publish.
    #[test]
    fn rfc6979_sample_in_low_s_form() {
        let mut d = [0; 32];
        hex::decode_to_slice("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", &mut d)
            .unwrap();
        let key = SigningKey::from_bytes(&d).unwrap();
        let digest = crate::hash::sha256(&[b"sample"]);
        let sig = key.sign_rfc6979(&digest);
        assert_eq!(
            hex::encode(&sig.0[..32]),
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        );
        key.public().verify(&digest, &sig).unwrap();
        let n = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
        let mut twin = sig;
        let mut borrow = 0i16;
        for i in (0..32).rev() {
            let v = i16::from(n[i]) - i16::from(sig.0[32 + i]) - borrow;
            borrow = i16::from(v < 0);
            twin.0[32 + i] = v.rem_euclid(256) as u8;
        }
        assert_eq!(key.public().verify(&digest, &twin), Err(BadSignature), "high-s twin must be refused");
    }

    #[test]
    fn scalars_out_of_range_and_bad_points_are_refused() {
        assert!(SigningKey::from_bytes(&[0; 32]).is_err());
        assert!(SigningKey::from_bytes(&[0xFF; 32]).is_err());
        for first in [0u8, 1, 4, 6, 7] {
            let mut p = SigningKey::from_bytes(&[7; 32]).unwrap().public();
            p.0[0] = first;
            assert!(PublicKey::from_slice(&p.0).is_err(), "prefix {first}");
        }
        let off_curve = (0..=255u8).filter(|x| {
            let mut p = [0; 33];
            p[0] = 2;
            p[32] = *x;
            PublicKey::from_slice(&p).is_err()
        });
        assert!(off_curve.count() > 80, "about half of all x are not on the curve");
    }
}
