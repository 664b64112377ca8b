//! AES-256-GCM of this product and of its peers: one key, expanded once, text in place, tag apart.

use std::hint::black_box;

use anyhow::{Context, Result};
use lct::secret::Secret;
use openssl::{cipher::Cipher, cipher_ctx::CipherCtx};

use crate::measure::Contender;

/// As long as the associated data of the link.
const AAD: [u8; 12] = [0x01, 2, 0x84, 0x5A, 0, 5, 0, 0, 0, 3, 0, 36];
const KEY: [u8; 32] = [7; 32];

/// One implementation with its key.
pub trait Aead {
    /// Encrypts in place; returns the tag.
    fn seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16];
    /// Decrypts in place a text that its tag follows; whether the tag is right.
    fn open(&mut self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool;
}

/// Text and tag of a sealed message.
fn parts(sealed: &mut [u8]) -> Option<(&mut [u8], &[u8; 16])> {
    sealed.split_last_chunk_mut().map(|(text, tag)| (text, &*tag))
}

/// The one of this product.
pub struct Product(lct::aead::Aead);
pub struct Ring(ring::aead::LessSafeKey);
pub struct AwsLc(aws_lc_rs::aead::LessSafeKey);
pub struct Graviola(graviola::aead::AesGcm);
/// Contexts that hold the key; only the nonce is set for each message.
pub struct OpenSsl {
    seal: CipherCtx,
    open: CipherCtx,
}

impl Product {
    pub fn new() -> Self {
        Product(lct::aead::Aead::new(&Secret::new(KEY)))
    }
}

impl Aead for Product {
    fn seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        let mut tag = [0; 16];
        let _never = self.0.seal(nonce, aad, text, &mut tag);
        tag
    }
    fn open(&mut self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool {
        parts(sealed).is_some_and(|(text, tag)| self.0.attempt(nonce, aad, text, tag).is_ok())
    }
}

impl Ring {
    pub fn new() -> Result<Self> {
        let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &KEY);
        Ok(Ring(ring::aead::LessSafeKey::new(key.ok().context("ring takes a key of 32 bytes")?)))
    }
}

impl Aead for Ring {
    fn seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), text);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).unwrap_or_default()
    }
    fn open(&mut self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool {
        let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, ring::aead::Aad::from(aad), sealed).is_ok()
    }
}

impl AwsLc {
    pub fn new() -> Result<Self> {
        let key = aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_256_GCM, &KEY);
        Ok(AwsLc(aws_lc_rs::aead::LessSafeKey::new(key.ok().context("aws-lc-rs takes a key of 32 bytes")?)))
    }
}

impl Aead for AwsLc {
    fn seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, aws_lc_rs::aead::Aad::from(aad), text);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).unwrap_or_default()
    }
    fn open(&mut self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, aws_lc_rs::aead::Aad::from(aad), sealed).is_ok()
    }
}

impl Graviola {
    pub fn new() -> Self {
        Graviola(graviola::aead::AesGcm::new(&KEY))
    }
}

impl Aead for Graviola {
    fn seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        let mut tag = [0; 16];
        self.0.encrypt(nonce, aad, text, &mut tag);
        tag
    }
    fn open(&mut self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool {
        parts(sealed).is_some_and(|(text, tag)| self.0.decrypt(nonce, aad, text, tag).is_ok())
    }
}

impl OpenSsl {
    pub fn new() -> Result<Self> {
        let (mut seal, mut open) = (CipherCtx::new()?, CipherCtx::new()?);
        seal.encrypt_init(Some(Cipher::aes_256_gcm()), Some(&KEY), None)?;
        open.decrypt_init(Some(Cipher::aes_256_gcm()), Some(&KEY), None)?;
        Ok(OpenSsl { seal, open })
    }

    fn try_seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Result<[u8; 16]> {
        self.seal.encrypt_init(None, None, Some(nonce))?;
        self.seal.cipher_update(aad, None)?;
        self.seal.cipher_update_inplace(text, text.len())?;
        self.seal.cipher_final(&mut [0; 16])?;
        let mut tag = [0; 16];
        self.seal.tag(&mut tag)?;
        Ok(tag)
    }

    fn try_open(&mut self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> Result<()> {
        let (text, tag) = parts(sealed).context("a tag follows the text")?;
        self.open.decrypt_init(None, None, Some(nonce))?;
        self.open.set_tag(tag)?;
        self.open.cipher_update(aad, None)?;
        self.open.cipher_update_inplace(text, text.len())?;
        self.open.cipher_final(&mut [0; 16])?;
        Ok(())
    }
}

impl Aead for OpenSsl {
    fn seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        self.try_seal(nonce, aad, text).unwrap_or_default()
    }
    fn open(&mut self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool {
        self.try_open(nonce, aad, sealed).is_ok()
    }
}

/// Seals texts of one size, each with another nonce.
pub struct Sealing<A> {
    aead: A,
    text: Vec<u8>,
    counter: u64,
}

impl<A: Aead> Sealing<A> {
    pub fn new(aead: A, size: usize) -> Self {
        Sealing { aead, text: vec![0xA5; size], counter: 0 }
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [9; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

impl<A: Aead> Contender for Sealing<A> {
    fn prepare(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn run(&mut self, n: usize) {
        for _ in 0..n {
            self.counter += 1;
            black_box(self.aead.seal(&nonce(self.counter), black_box(&AAD), black_box(&mut self.text)));
        }
    }
}

/// Opens copies of one sealed text.
pub struct Opening<A> {
    aead: A,
    sealed: Vec<u8>,
    copy: Vec<u8>,
    failed: usize,
}

impl<A: Aead> Opening<A> {
    pub fn new(mut aead: A, size: usize) -> Self {
        let mut sealed = vec![0xA5; size];
        let tag = aead.seal(&nonce(1), &AAD, &mut sealed);
        sealed.extend(tag);
        Opening { aead, copy: sealed.clone(), sealed, failed: 0 }
    }
}

impl<A: Aead> Contender for Opening<A> {
    fn prepare(&mut self, _: usize) -> Result<()> {
        anyhow::ensure!(self.failed == 0, "{} messages did not open", self.failed);
        Ok(())
    }
    fn run(&mut self, n: usize) {
        for _ in 0..n {
            self.copy.copy_from_slice(black_box(&self.sealed));
            let opened = self.aead.open(&nonce(1), black_box(&AAD), black_box(&mut self.copy));
            self.failed += usize::from(!opened);
        }
    }
}

/// That all of them make and take the same bytes.
pub fn agree() -> Result<()> {
    let mut all: Vec<(&str, Box<dyn Aead>)> = vec![
        ("lct", Box::new(Product::new())),
        ("ring", Box::new(Ring::new()?)),
        ("aws-lc-rs", Box::new(AwsLc::new()?)),
        ("graviola", Box::new(Graviola::new())),
        ("openssl", Box::new(OpenSsl::new()?)),
    ];
    for size in [1, 8, 16, 20, 36, 64] {
        let mut first = None;
        for (name, aead) in &mut all {
            let mut sealed = vec![0x5A; size];
            let tag = aead.seal(&nonce(3), &AAD, &mut sealed);
            sealed.extend(tag);
            let expected = first.get_or_insert(sealed.clone());
            anyhow::ensure!(sealed == *expected, "{name} seals {size} bytes otherwise than lct");
            anyhow::ensure!(
                !aead.open(&nonce(4), &AAD, &mut sealed.clone()),
                "{name} opens what is not authentic"
            );
            anyhow::ensure!(aead.open(&nonce(3), &AAD, &mut sealed), "{name} does not open {size} bytes");
        }
    }
    Ok(())
}
