//! Secret bytes: zeroised on drop, never printed, never copied, compared in constant time.

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes`.
    pub const fn new(bytes: [u8; N]) -> Self {
        Secret(bytes)
    }

    /// Copies a slice of exactly `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, crate::Error> {
        bytes.try_into().map(Secret).map_err(|_| crate::Error::Malformed)
    }

    /// Draws `N` random bytes.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; N];
        rng.fill_bytes(&mut bytes);
        Secret(bytes)
    }

    /// The bytes, for a computation or for sealed storage; never for a message, log or error.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be filled by a derivation.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// True for the values that a stuck source or an erased flash page yields (all 0x00, all 0xFF).
    pub fn is_degenerate(&self) -> bool {
        self.0.iter().all(|b| *b == 0) || self.0.iter().all(|b| *b == 0xFF)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> core::fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Overwrites the 16 kB of the stack below, which the calls before have used and left. Moves leave copies there, and a
/// value with room that it does not use carries along what lies in that room: done before something long-lived takes
/// the place of secrets.
#[inline(never)]
pub fn overwrite_stack() {
    let mut room = [0u8; 16 << 10];
    room.zeroize();
    core::hint::black_box(&room);
}

/// Constant-time equality of two byte strings of any lengths.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
