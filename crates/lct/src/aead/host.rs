//! AES-256-GCM from `aws-lc-rs`, for programs on a host. The library erases the memory of a key when it frees it.

use crate::secret::Secret;
use alloc::vec;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

/// Texts that fit these need no memory of the heap to be opened: a message in a few frames, and all others of the link.
const SHORT: usize = 128;
const LONG: usize = 2_048;

/// A key, expanded.
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// Expands a key.
    pub fn new(key: &Secret<32>) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("32 bytes are a key of AES-256");
        Cipher(LessSafeKey::new(key))
    }

    /// Encrypts `text` in place and writes its tag; false beyond the cipher's limit.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &mut [u8; 16]) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.seal_in_place_scatter(nonce, Aad::from(aad), text, &[], tag).is_ok()
    }

    /// Decrypts `text` in place; false, and `text` as it was, when the tag does not verify.
    pub fn attempt(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> bool {
        match text.len() {
            n if n <= SHORT => self.through(&mut [0; SHORT], nonce, aad, text, tag),
            n if n <= LONG => self.through(&mut [0; LONG], nonce, aad, text, tag),
            n => self.through(&mut vec![0; n], nonce, aad, text, tag),
        }
    }

    /// The library decrypts before it knows whether the tag verifies, so it does that elsewhere.
    fn through(
        &self,
        room: &mut [u8],
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; 16],
    ) -> bool {
        let room = &mut room[..text.len()];
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_separate_gather(nonce, Aad::from(aad), text, tag, room).is_ok();
        if opened {
            text.copy_from_slice(room);
        }
        room.zeroize();
        opened
    }
}
