//! The authority's leave to put a binding in the place of one that a device has or had (`spec/channel.md`, H147).

use crate::{
    Error,
    binding::verify_tail,
    codec::Fields,
    hash::sha256,
    id::{BindingId, Cid},
    sign::{PublicKey, Signer},
};
use rand_core::CryptoRng;

/// Length of a token in bytes.
pub const TOKEN_LEN: usize = 1 + 16 + 16 + 16 + 64;
const DOMAIN: &[u8] = b"modbatt1 rebind";

/// What a device asks leave for, and what the authority signs.
///
/// `1 | cid 16 | nonce 16 | binding_id of the old binding 16 | signature 64`, signature of the authority over
/// `H("modbatt1 rebind" || preceding)`. The nonce is the device's own and fresh, so that a token serves once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebind {
    /// The device that asks.
    pub device: Cid,
    /// Drawn by the device for this question.
    pub nonce: [u8; 16],
    /// The binding that is to be replaced, zero when the device cannot read which one it had.
    pub old: BindingId,
}

impl Rebind {
    /// The signed bytes.
    pub fn issue(&self, key: &impl Signer, rng: &mut impl CryptoRng) -> [u8; TOKEN_LEN] {
        let mut out = [0; TOKEN_LEN];
        out[0] = 1;
        out[1..17].copy_from_slice(&self.device.0);
        out[17..33].copy_from_slice(&self.nonce);
        out[33..49].copy_from_slice(&self.old.0);
        let signature = key.sign(&sha256(&[DOMAIN, &out[..49]]), rng);
        out[49..].copy_from_slice(&signature.0);
        out
    }

    /// Reads and verifies under the authority's key.
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let token = Rebind { device: Cid(f.array()?), nonce: f.array()?, old: BindingId(f.array()?) };
        let _signature: [u8; 64] = f.array()?;
        f.end()?;
        verify_tail(DOMAIN, bytes, authority)?;
        Ok(token)
    }

    /// Whether `token` is the authority's answer to this question.
    ///
    /// # Errors
    /// As [`Rebind::open`]; [`Error::WrongParty`] for another device, nonce or binding.
    pub fn is_granted_by(&self, token: &[u8], authority: &PublicKey) -> Result<(), Error> {
        if Self::open(token, authority)? == *self { Ok(()) } else { Err(Error::WrongParty) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn only_the_authority_and_only_what_was_asked() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let [authority, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let asked = Rebind { device: Cid::of("module-0001"), nonce: [7; 16], old: BindingId([9; 16]) };
        let token = asked.issue(&authority, &mut rng);
        assert_eq!(asked.is_granted_by(&token, &authority.public()), Ok(()));
        assert_eq!(asked.is_granted_by(&token, &other.public()), Err(Error::NotAuthentic));
        for changed in [
            Rebind { device: Cid::of("module-0002"), ..asked },
            Rebind { nonce: [8; 16], ..asked },
            Rebind { old: BindingId([0; 16]), ..asked },
        ] {
            assert_eq!(changed.is_granted_by(&token, &authority.public()), Err(Error::WrongParty));
        }
        for at in 0..TOKEN_LEN {
            let mut bad = token;
            bad[at] ^= 4;
            assert!(Rebind::open(&bad, &authority.public()).is_err(), "byte {at}");
        }
        let longer = [&token[..], &[0]].concat();
        for bytes in [&token[..TOKEN_LEN - 1], &longer] {
            assert_eq!(Rebind::open(bytes, &authority.public()), Err(Error::Malformed));
        }
    }
}
