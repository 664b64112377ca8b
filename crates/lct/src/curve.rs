//! P-256, implemented twice behind the same names (`spec/channel.md`, H2, H3 and H140).
//!
//! [`device`] is RustCrypto's `p256`: no operating system, no allocator, always there. `host` is `aws-lc-rs`, there
//! with the feature of the same name: several times faster, and what programs on a host use. Both offer
//!
//! * `SigningKey`: `from_bytes`, `to_bytes`, `public`, `sign`;
//! * `AgreementKey`: `from_bytes`, `public`, `agree`;
//! * `VerifyingKey`: `parse`, `verify`; `is_point`.
//!
//! With the feature `counted` the first of them says how often it is asked for what; a bench alone turns that on.
//!
//! Each of them accepts and refuses exactly what the other does: a ledger replica that took a signature which
//! its neighbour refuses would fork. Everything else of this crate uses [`backend`]; tests name both.

#[cfg(feature = "counted")]
pub mod counted;
pub mod device;
#[cfg(feature = "host")]
pub mod host;

#[cfg(feature = "counted")]
pub use counted as backend;
#[cfg(not(any(feature = "host", feature = "counted")))]
pub use device as backend;
#[cfg(all(feature = "host", not(feature = "counted")))]
pub use host as backend;

use crate::secret::Secret;
use rand_core::CryptoRng;

/// A compressed point (SEC1, 33 bytes, first byte 02 or 03).
pub type Point = [u8; 33];

/// Half of the group order, rounded down: the largest s that is not high.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde,
    0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// Whether the second half of a raw signature is in its low form. Public data: the comparison may end early.
fn is_low_s(signature: &[u8; 64]) -> bool {
    signature[32..] <= HALF_ORDER[..]
}

/// Draws a scalar by rejection: 32 bytes at a time until one is neither zero nor beyond the group order.
///
/// The same entropy gives the same key with both backends.
fn draw<T>(rng: &mut impl CryptoRng, from_bytes: impl Fn(&[u8; 32]) -> Option<T>) -> T {
    loop {
        if let Some(key) = from_bytes(Secret::<32>::random(rng).expose()) {
            return key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_order_is_the_last_low_s() {
        let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
        // n is odd, so n = 2 * half + 1.
        let mut carry = 1;
        for i in (0..32).rev() {
            let twice = u16::from(HALF_ORDER[i]) * 2 + carry;
            assert_eq!(twice as u8, order[i], "byte {i}");
            carry = twice >> 8;
        }
        let mut signature = [0; 64];
        signature[32..].copy_from_slice(&HALF_ORDER);
        assert!(is_low_s(&signature));
        signature[63] += 1;
        assert!(!is_low_s(&signature));
    }

    #[test]
    fn a_scalar_out_of_range_is_drawn_again() {
        let mut rng = Listed([[0xFF; 32], [0; 32], [7; 32]].concat(), 0);
        let key = device::SigningKey::generate(&mut rng);
        assert_eq!(key.to_bytes().expose(), &[7; 32]);
    }

    /// Entropy from a list.
    struct Listed(Vec<u8>, usize);
    impl rand_core::TryRng for Listed {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unreachable!("keys are drawn as bytes")
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            unreachable!("keys are drawn as bytes")
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            out.copy_from_slice(&self.0[self.1..self.1 + out.len()]);
            self.1 += out.len();
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Listed {}
    extern crate std;
    use std::vec::Vec;
}
