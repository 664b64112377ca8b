//! AES-256-GCM with a 96-bit nonce and a 128-bit tag; no other size exists here (`spec/channel.md`, H2).
//!
//! The same code on every target; `docs/performance.md` compares it with the libraries of a host.

use crate::{Error, secret::Secret};
use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use kept::{Defence, kept};
use zeroize::Zeroize;

/// A key, expanded. Zeroised on drop.
#[derive(Clone)]
pub struct Aead(Aes256Gcm);

impl Aead {
    /// Expands a key.
    pub fn new(key: &Secret<32>) -> Self {
        Aead(Aes256Gcm::new(key.expose().into()))
    }

    /// Encrypts `text` in place and returns its tag. A nonce must never be used twice with one key.
    ///
    /// [`Error::BufferTooSmall`] only beyond the cipher's limit of 64 GiB.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Result<[u8; 16], Error> {
        let tag = self.0.encrypt_inout_detached(nonce.into(), aad, text.into());
        tag.map(Into::into).map_err(|_| Error::BufferTooSmall)
    }

    /// Decrypts `text` in place. On [`Error::NotAuthentic`] it is erased: no part of it may be looked at.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> Result<(), Error> {
        self.attempt(nonce, aad, text, tag).inspect_err(|_| text.zeroize())
    }

    /// As [`Aead::open`], but on [`Error::NotAuthentic`] `text` stays as it was, for an attempt with another key: the
    /// tag is checked before the first byte is decrypted.
    pub fn attempt(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Error> {
        if !kept(Defence::Tag) {
            // Encrypting again is decrypting, and checks nothing.
            return self.seal(nonce, aad, text).map(drop);
        }
        let opened = self.0.decrypt_inout_detached(nonce.into(), aad, text.into(), tag.into());
        opened.map_err(|_| Error::NotAuthentic)
    }
}
