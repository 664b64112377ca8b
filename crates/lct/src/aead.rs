//! AES-256-GCM with a 96-bit nonce and a 128-bit tag; no other size exists here (`spec/channel.md`, H2).
//!
//! Implemented twice behind the same name, as P-256 is: [`device`] is RustCrypto's `aes-gcm` and always there; `host` is
//! `aws-lc-rs`, there with the feature of the same name. Each makes and takes the same bytes; tests compare them.
//!
//! A build for any CPU must find out at each call what its CPU has, and does it with calls that cannot be inlined. Of such
//! builds that of `aws-lc-rs` is the faster one for the messages of the link. Where the build knows that there are
//! instructions for AES, `aes-gcm` is (`docs/performance.md`).

pub mod device;
#[cfg(feature = "host")]
pub mod host;

#[cfg(not(all(feature = "host", not(all(target_feature = "aes", target_feature = "pclmulqdq")))))]
use device as backend;
#[cfg(all(feature = "host", not(all(target_feature = "aes", target_feature = "pclmulqdq"))))]
use host as backend;

use crate::{Error, secret::Secret};
use kept::{Defence, kept};
use zeroize::Zeroize;

/// A key, expanded. Zeroised on drop.
pub struct Aead(backend::Cipher);

impl Aead {
    /// Expands a key.
    pub fn new(key: &Secret<32>) -> Self {
        Aead(backend::Cipher::new(key))
    }

    /// Encrypts `text` in place and writes its tag to where it is sent from. A nonce must never be used twice with one
    /// key.
    ///
    /// [`Error::BufferTooSmall`] only beyond the cipher's limit of 64 GiB.
    pub fn seal(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; 16],
    ) -> Result<(), Error> {
        self.0.seal(nonce, aad, text, tag).then_some(()).ok_or(Error::BufferTooSmall)
    }

    /// Decrypts `text` in place. On [`Error::NotAuthentic`] it is erased: no part of it may be looked at.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> Result<(), Error> {
        self.attempt(nonce, aad, text, tag).inspect_err(|_| text.zeroize())
    }

    /// As [`Aead::open`], but on [`Error::NotAuthentic`] `text` stays as it was, for an attempt with another key.
    pub fn attempt(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Error> {
        if !kept(Defence::Tag) {
            // Encrypting again is decrypting, and checks nothing.
            return self.seal(nonce, aad, text, &mut [0; 16]);
        }
        self.0.attempt(nonce, aad, text, tag).then_some(()).ok_or(Error::NotAuthentic)
    }
}
