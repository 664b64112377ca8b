//! Time that the authority vouches for (`spec/channel.md`, H100).

use crate::{
    Error,
    binding::verify_tail,
    codec::Fields,
    hash::sha256,
    sign::{PublicKey, Signer},
};
use rand_core::CryptoRng;

/// Length of a token in bytes.
pub const TOKEN_LEN: usize = 1 + 4 + 64;

/// The authority's signed statement that `time` has come.
///
/// `1 | time u32 | signature 64`, signature of the authority over `H("modbatt1 time" || preceding)`. It names no
/// device and no nonce: a held-back or repeated token states an earlier time, and time never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeToken {
    /// Unix seconds.
    pub time: u32,
}

impl TimeToken {
    /// The signed bytes.
    pub fn issue(&self, key: &impl Signer, rng: &mut impl CryptoRng) -> [u8; TOKEN_LEN] {
        let mut out = [0; TOKEN_LEN];
        out[0] = 1;
        out[1..5].copy_from_slice(&self.time.to_be_bytes());
        let sig = key.sign(&sha256(&[b"modbatt1 time", &out[..5]]), rng);
        out[5..].copy_from_slice(&sig.0);
        out
    }

    /// Reads without verifying: what it claims decides whether verifying it is worth the work.
    pub fn claimed(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let time = f.u32()?;
        let _sig: [u8; 64] = f.array()?;
        f.end()?;
        Ok(TimeToken { time })
    }

    /// Reads and verifies under the authority's key.
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, Error> {
        let token = Self::claimed(bytes)?;
        verify_tail(b"modbatt1 time", bytes, authority)?;
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn only_the_authority_says_what_time_it_is() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let [authority, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let token = TimeToken { time: 1_800_000_000 };
        let bytes = token.issue(&authority, &mut rng);
        assert_eq!(TimeToken::open(&bytes, &authority.public()), Ok(token));
        assert_eq!(TimeToken::open(&bytes, &other.public()), Err(Error::NotAuthentic));
        for at in 0..TOKEN_LEN {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert!(TimeToken::open(&bad, &authority.public()).is_err(), "byte {at}");
        }
        assert_eq!(TimeToken::open(&bytes[..TOKEN_LEN - 1], &authority.public()), Err(Error::Malformed));
    }
}
