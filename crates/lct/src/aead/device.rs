//! AES-256-GCM from RustCrypto's `aes-gcm`.

use crate::secret::Secret;
use aes::{
    Aes256Enc,
    cipher::{
        Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser,
        ParBlocksSizeUser,
        consts::{U1, U12, U16},
        inout::InOut,
        typenum::Unsigned,
    },
};
use aes_gcm::{AesGcm, KeyInit, aead::AeadInOut};

/// A key, expanded. Zeroised on drop.
pub struct Cipher(AesGcm<Aes, U12>);

impl Cipher {
    /// Expands a key.
    pub fn new(key: &Secret<32>) -> Self {
        Cipher(Aes(Aes256Enc::new(key.expose().into())).into())
    }

    /// Encrypts `text` in place and writes its tag; false beyond the cipher's limit.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &mut [u8; 16]) -> bool {
        let sealed = self.0.encrypt_inout_detached(nonce.into(), aad, text.into());
        sealed.is_ok_and(|own| {
            tag.copy_from_slice(&own);
            true
        })
    }

    /// Decrypts `text` in place; false, and `text` as it was, when the tag does not verify.
    pub fn attempt(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> bool {
        // The tag is checked before the first byte is decrypted.
        self.0.decrypt_inout_detached(nonce.into(), aad, text.into(), tag.into()).is_ok()
    }
}

/// AES for messages of a few blocks.
///
/// The vector instructions of a CPU take up to 64 blocks at once, and what prepares them for so many costs more than a
/// message of the link does. A CPU that has instructions for AES overlaps single blocks by itself.
#[derive(Clone)]
struct Aes(Aes256Enc);

/// Blocks at once up to which a backend is taken as it is: without instructions for AES two or four are worth it.
const WIDE: usize = 4;

impl BlockSizeUser for Aes {
    type BlockSize = U16;
}

impl BlockCipherEncrypt for Aes {
    #[inline]
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        self.0.encrypt_with_backend(Short(f));
    }
}

struct Short<F>(F);

impl<F: BlockCipherEncClosure<BlockSize = U16>> BlockSizeUser for Short<F> {
    type BlockSize = U16;
}

impl<F: BlockCipherEncClosure<BlockSize = U16>> BlockCipherEncClosure for Short<F> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        match B::ParBlocksSize::USIZE > WIDE {
            true => self.0.call(&OneByOne(backend)),
            false => self.0.call(backend),
        }
    }
}

/// A backend that is given one block at a time.
struct OneByOne<'a, B>(&'a B);

impl<B: BlockCipherEncBackend<BlockSize = U16>> BlockSizeUser for OneByOne<'_, B> {
    type BlockSize = U16;
}

impl<B: BlockCipherEncBackend<BlockSize = U16>> ParBlocksSizeUser for OneByOne<'_, B> {
    type ParBlocksSize = U1;
}

impl<B: BlockCipherEncBackend<BlockSize = U16>> BlockCipherEncBackend for OneByOne<'_, B> {
    #[inline(always)]
    fn encrypt_block(&self, block: InOut<'_, '_, Block<Self>>) {
        self.0.encrypt_block(block);
    }
}
