//! Request for a device certificate, made where the key was born (`spec/channel.md`, H145).
//!
//! 124 bytes: `0 version = 1 | 1 role | 2 flags (as in the certificate) | 3 cid 16 | 19 hw 8 | 27 pub 33 | 60 sig 64`,
//! signature of the key itself over `H("modbatt1 certreq" || bytes 0..59)`: who asks holds the key.

use crate::{
    Digest, Error,
    codec::Fields,
    hash::sha256,
    id::{Cid, Role},
    sign::{PublicKey, Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Length of a request in bytes.
pub const REQUEST_LEN: usize = 124;
const SIGNED_LEN: usize = 60;

/// A request whose proof of possession verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Role of the device.
    pub role: Role,
    /// Bit 0: key in secure storage; bit 1: debug locked.
    pub flags: u8,
    /// Identity of the device.
    pub cid: Cid,
    /// Manufacturer's hardware designation.
    pub hw: [u8; 8],
    /// The device's identity key.
    pub key: PublicKey,
}

impl CertificateRequest {
    /// Signs a request with the device's identity key, whose public half replaces `self.key`.
    pub fn sign(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> [u8; REQUEST_LEN] {
        let mut r = [0; REQUEST_LEN];
        r[0] = 1;
        r[1] = self.role as u8;
        r[2] = self.flags;
        r[3..19].copy_from_slice(&self.cid.0);
        r[19..27].copy_from_slice(&self.hw);
        r[27..SIGNED_LEN].copy_from_slice(&key.public().0);
        let sig = key.sign(&digest(&r[..SIGNED_LEN]), rng);
        r[SIGNED_LEN..].copy_from_slice(&sig.0);
        r
    }

    /// Reads a request and verifies its proof of possession.
    ///
    /// # Errors
    /// [`Error::Malformed`] for length, version, role and flags, [`Error::InvalidKey`] for the point,
    /// [`Error::NotAuthentic`] for the signature.
    pub fn open(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let request = CertificateRequest {
            role: Role::from_code(f.u8()?)?,
            flags: f.u8()?,
            cid: Cid(f.array()?),
            hw: f.array()?,
            key: PublicKey::from_slice(f.slice(33)?)?,
        };
        let sig = Signature(f.array()?);
        f.end()?;
        if request.flags & !0b11 != 0 {
            return Err(Error::Malformed);
        }
        request.key.verify(&digest(&bytes[..SIGNED_LEN]), &sig)?;
        Ok(request)
    }
}

fn digest(signed: &[u8]) -> Digest {
    sha256(&[b"modbatt1 certreq", signed])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn only_the_holder_of_the_key_asks() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let [key, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let wanted = CertificateRequest {
            role: Role::Pack,
            flags: 1,
            cid: Cid::of("pack-0001"),
            hw: *b"MB-2S2P\0",
            key: key.public(),
        };
        let bytes = wanted.sign(&key, &mut rng);
        assert_eq!(CertificateRequest::open(&bytes), Ok(wanted));
        for at in 0..REQUEST_LEN {
            let mut bad = bytes;
            bad[at] ^= 0x10;
            assert!(CertificateRequest::open(&bad).is_err(), "byte {at}");
            assert!(CertificateRequest::open(&bytes[..at]).is_err(), "cut at {at}");
        }
        // Somebody else's key in a request signed by another.
        let mut stolen = wanted.sign(&other, &mut rng);
        stolen[27..60].copy_from_slice(&key.public().0);
        assert_eq!(CertificateRequest::open(&stolen), Err(Error::NotAuthentic));
    }
}
