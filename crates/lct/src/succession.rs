//! Another authority in the place of the one that a device was made for (`spec/channel.md`, H166).

use crate::{
    Error,
    codec::Fields,
    hash::sha256,
    id::SpkId,
    sign::{Signature, Signer},
    spk::{SPK_LEN, Spk},
};
use core::ops::Range;
use rand_core::CryptoRng;

/// Length of a succession in bytes.
pub const SUCCESSION_LEN: usize = BODY_LEN + 2 * 64;
/// Where it has the SPK_id of the old authority.
pub const OLD: Range<usize> = 1..9;
/// Where it has the SPK of the new one.
pub const NEW: Range<usize> = OLD.end..OLD.end + SPK_LEN;
const BODY_LEN: usize = NEW.end + 4;
const DOMAIN: &[u8] = b"modbatt1 succession";

/// The authority names its successor, and the successor holds the keys that are named.
///
/// `1 | SPK_id of the old authority 8 | SPK of the new one 68 | time u32 | signature of the old 64 | of the new 64`,
/// both over `H("modbatt1 succession" || the first 81 bytes)`; time in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Succession {
    /// Who goes.
    pub old: SpkId,
    /// Who comes.
    pub new: Spk,
    /// When it was signed.
    pub time: u32,
}

impl Succession {
    /// The signed bytes.
    pub fn issue(
        time: u32,
        old: (&Spk, &impl Signer),
        new: (&Spk, &impl Signer),
        rng: &mut impl CryptoRng,
    ) -> [u8; SUCCESSION_LEN] {
        let mut out = [0; SUCCESSION_LEN];
        out[0] = 1;
        out[OLD].copy_from_slice(&old.0.id().0);
        out[NEW].copy_from_slice(&new.0.0);
        out[NEW.end..BODY_LEN].copy_from_slice(&time.to_be_bytes());
        let digest = sha256(&[DOMAIN, &out[..BODY_LEN]]);
        let signatures = [old.1.sign(&digest, rng).0, new.1.sign(&digest, rng).0];
        out[BODY_LEN..].copy_from_slice(signatures.as_flattened());
        out
    }

    /// Reads without verifying.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::InvalidKey`].
    pub fn claimed(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).map(|(read, _)| read)
    }

    fn read(bytes: &[u8]) -> Result<(Self, [Signature; 2]), Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let (old, new) = (SpkId(f.array()?), Spk::from_slice(f.slice(SPK_LEN)?)?);
        let read = Succession { old, new, time: f.u32()? };
        let signatures = [Signature(f.array()?), Signature(f.array()?)];
        f.end()?;
        Ok((read, signatures))
    }

    /// Reads and verifies a succession of the authority `old`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::InvalidKey`]; [`Error::WrongParty`] for the succession of another authority;
    /// [`Error::NotAuthentic`] when one of the two did not sign.
    pub fn open(bytes: &[u8], old: &Spk) -> Result<Self, Error> {
        let (read, signatures) = Self::read(bytes)?;
        if read.old != old.id() {
            return Err(Error::WrongParty);
        }
        let digest = sha256(&[DOMAIN, bytes.get(..BODY_LEN).ok_or(Error::Malformed)?]);
        for (spk, signature) in [old, &read.new].into_iter().zip(&signatures) {
            spk.sign_pub().verify(&digest, signature)?;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spk::SpkSecret;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn it_takes_the_old_and_the_new_authority() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let [old, new, other] = core::array::from_fn(|_| SpkSecret::generate(&mut rng).unwrap());
        let bytes = Succession::issue(
            77,
            (&old.public(), old.signing_key()),
            (&new.public(), new.signing_key()),
            &mut rng,
        );
        let expected = Succession { old: old.public().id(), new: new.public(), time: 77 };
        assert_eq!(Succession::open(&bytes, &old.public()), Ok(expected));
        assert_eq!(Succession::open(&bytes, &new.public()), Err(Error::WrongParty), "it serves once");
        for at in 0..SUCCESSION_LEN {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert!(Succession::open(&bad, &old.public()).is_err(), "byte {at}");
        }
        // One of the two signatures is of another key.
        let by_other = Succession::issue(
            77,
            (&old.public(), old.signing_key()),
            (&other.public(), other.signing_key()),
            &mut rng,
        );
        let mut mixed = bytes;
        mixed[BODY_LEN + 64..].copy_from_slice(&by_other[BODY_LEN + 64..]);
        assert_eq!(Succession::open(&mixed, &old.public()), Err(Error::NotAuthentic));
        let by_stranger = Succession::issue(
            77,
            (&other.public(), other.signing_key()),
            (&new.public(), new.signing_key()),
            &mut rng,
        );
        let mut mixed = bytes;
        mixed[BODY_LEN..BODY_LEN + 64].copy_from_slice(&by_stranger[BODY_LEN..BODY_LEN + 64]);
        assert_eq!(Succession::open(&mixed, &old.public()), Err(Error::NotAuthentic));
    }
}
