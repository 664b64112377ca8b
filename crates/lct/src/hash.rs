//! SHA-256 over parts, so that callers never build a buffer just to hash it.

use crate::Digest;
use core::{array, slice};
use sha2::{Digest as _, block_api::compress256};

/// SHA-256 of the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut h = sha2::Sha256::new();
    for part in parts {
        h.update(part);
    }
    h.finalize().into()
}

/// SHA-256 over data that arrives piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more data.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of everything taken.
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

/// With what SHA-256 begins (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Bytes that SHA-256 takes at once.
const BLOCK: usize = 64;

/// SHA-256 of `prefix || message` of each message. They are hashed in turns, block by block: what hashes in hardware begins with
/// the next one while it still waits for the one before, which of a single message it cannot.
pub fn sha256_each<const N: usize>(prefix: u8, messages: [&[u8]; N]) -> [Digest; N] {
    let mut states = [INITIAL; N];
    // Behind prefix and message stand one byte and eight.
    let blocks = messages.map(|message| (message.len() + 10).div_ceil(BLOCK));
    for at in 0..blocks.into_iter().max().unwrap_or(0) {
        for ((state, message), blocks) in states.iter_mut().zip(messages).zip(blocks) {
            let inner = (at * BLOCK).checked_sub(1).and_then(|from| message.get(from..)?.first_chunk());
            match inner {
                Some(inner) => compress256(state, slice::from_ref(inner)),
                None if at < blocks => compress256(state, &[outer(prefix, message, at, at + 1 == blocks)]),
                None => {}
            }
        }
    }
    states.map(|state| {
        let words = state.map(u32::to_be_bytes);
        array::from_fn(|i| words[i / 4][i % 4])
    })
}

/// The block at `at` of a message with its prefix, where it is not all of the message: the first one, and those with its end.
fn outer(prefix: u8, message: &[u8], at: usize, last: bool) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let begin = usize::from(at == 0);
    let from = (at * BLOCK).saturating_sub(1);
    if at == 0 {
        block[0] = prefix;
    }
    if let Some(rest) = message.get(from..) {
        let n = rest.len().min(BLOCK - begin);
        block[begin..begin + n].copy_from_slice(&rest[..n]);
        if let Some(end) = block.get_mut(begin + n) {
            *end = 0x80;
        }
    }
    if last {
        let bits = 8 * (message.len() as u64 + 1);
        block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    /// Messages that end at every place of a block, beside longer and shorter ones.
    #[test]
    fn what_is_hashed_in_turns_is_hashed_as_if_alone() {
        let text: Vec<u8> = (0..5000u32).map(|i| (i * i / 3 + i) as u8).collect();
        for n in (0..400).chain([4160]) {
            let messages = [&text[..n], &text[n..], &text[n / 3..n], &[]];
            for (hash, message) in sha256_each(5, messages).iter().zip(messages) {
                assert_eq!(*hash, sha256(&[&[5], message]), "{} beside {n}", message.len());
            }
        }
        assert!(sha256_each::<0>(0, []).is_empty());
    }
}
