//! Sealed messages: AES-256-GCM with a counter nonce, and the compact profiles (`spec/channel.md`, H30 to H39).
//!
//! Sealed message of an n-byte plaintext: `0 base4 | 4 counter u64 | 12 ciphertext n | 12+n tag 16`. The GCM
//! nonce is bytes 0..11 as sent. AAD, 12 bytes:
//! `0x01 | level | canonical identifier u32 | epoch u32 | n u16`.

use crate::{
    Error,
    aead::Aead,
    schedule::{TrafficSecret, mac},
    secret::{Secret, equal},
};
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use kept::{Defence, kept};
use zeroize::Zeroize;

/// Bytes added by sealing: base 4, counter 8, tag 16.
pub const OVERHEAD: usize = 28;
/// Shortest sealed message: one byte of plaintext.
pub const SEALED_MIN: usize = OVERHEAD + 1;
/// Hard limit of messages under one key (2^32): above it GCM loses its margin.
pub const MESSAGES_MAX: u64 = 1 << 32;
/// Hard limit of AES blocks under one key (2^34), counted as [`blocks`] does.
pub const BLOCKS_MAX: u64 = 1 << 34;

/// AES blocks that a plaintext of `n` bytes costs its key: its own and the one that masks the tag.
pub fn blocks(n: usize) -> u64 {
    n.div_ceil(16) as u64 + 1
}

/// What a sealed message is bound to besides its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Bits 19..18 of the identifier.
    pub level: u8,
    /// `0x80000000 | (identifier & 0x1FFF00FF)`: the identifier without its transport byte.
    pub canonical_id: u32,
    /// Epoch of the key.
    pub epoch: u32,
}

impl Binding {
    /// The AAD for a ciphertext of `n` bytes.
    pub fn aad(&self, n: u16) -> [u8; 12] {
        let mut aad = [0; 12];
        aad[0] = 0x01;
        aad[1] = self.level;
        if kept(Defence::BoundIdentifier) {
            aad[2..6].copy_from_slice(&self.canonical_id.to_be_bytes());
        }
        aad[6..10].copy_from_slice(&self.epoch.to_be_bytes());
        aad[10..12].copy_from_slice(&n.to_be_bytes());
        aad
    }
}

/// A key at rest: as bytes on a device, expanded for each message, because 31 modules with four tiers and two epochs
/// would need more memory for round keys than a pack controller has. A host has the memory, and expanding costs it as
/// much as a short message.
#[derive(Clone)]
struct Key {
    #[cfg(not(feature = "host"))]
    key: Secret<32>,
    #[cfg(feature = "host")]
    expanded: alloc::sync::Arc<Aead>,
    base: [u8; 4],
}

impl Key {
    fn of(secret: &TrafficSecret) -> Result<Self, Error> {
        Ok(Key {
            #[cfg(not(feature = "host"))]
            key: secret.key()?,
            // The move may leave a copy on the unused stack (SECURITY.md, "Unused memory").
            #[cfg(feature = "host")]
            expanded: alloc::sync::Arc::new(Aead::new(&secret.key()?)),
            base: base4(secret)?,
        })
    }

    #[cfg(not(feature = "host"))]
    fn aead(&self) -> Aead {
        Aead::new(&self.key)
    }

    #[cfg(feature = "host")]
    fn aead(&self) -> &Aead {
        &self.expanded
    }
}

fn base4(secret: &TrafficSecret) -> Result<[u8; 4], Error> {
    let iv = secret.iv()?;
    let mut base = [0; 4];
    base.copy_from_slice(&iv.expose()[..4]);
    Ok(base)
}

/// Seals messages of one tier, direction and epoch. The counter belongs to it and never goes back.
pub struct Sealer {
    key: Key,
    counter: u64,
    limit: u64,
    blocks: u64,
}

impl Sealer {
    /// A sealer that may use the counters `from..limit`; see [`crate::counter`].
    pub fn new(secret: &TrafficSecret, from: u64, limit: u64) -> Result<Self, Error> {
        Ok(Sealer { key: Key::of(secret)?, counter: from, limit, blocks: 0 })
    }

    /// Next counter to be used, and the first that is not reserved.
    pub fn counters(&self) -> (u64, u64) {
        (self.counter, self.limit)
    }

    /// AES blocks spent under this key, see [`blocks`].
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Takes the next counter for a message of `n` plaintext bytes. It is spent from here on: an error later may
    /// cost a counter but can never repeat one.
    ///
    /// [`Error::Exhausted`] when the reservation or a limit of the key is used up: nothing was taken.
    pub fn spend(&mut self, n: usize) -> Result<u64, Error> {
        let spent = self.blocks.saturating_add(blocks(n));
        let worn = self.counter >= MESSAGES_MAX || spent > BLOCKS_MAX;
        if self.counter >= self.limit || (worn && kept(Defence::KeyLimit)) {
            return Err(Error::Exhausted);
        }
        self.blocks = spent;
        self.counter += 1;
        Ok(self.counter - 1)
    }

    /// Allows counters below `limit`, once that reservation is durable.
    pub fn reserve(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Seals the concatenation of `parts` into `out`; returns the length, plaintext + 28.
    ///
    /// [`Error::Exhausted`] when the reservation or a limit of the key is used up: nothing was sealed.
    pub fn seal(&mut self, binding: &Binding, parts: &[&[u8]], out: &mut [u8]) -> Result<usize, Error> {
        self.seal_with(binding, parts.iter().map(|p| p.len()).sum(), out, |text| {
            let mut at = 0;
            for part in parts {
                text[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
        })
    }

    /// Seals the `n` bytes that `write` puts where they are encrypted; the rest as [`Sealer::seal`]. On an error `write`
    /// was not called.
    #[inline]
    pub fn seal_with(
        &mut self,
        binding: &Binding,
        n: usize,
        out: &mut [u8],
        write: impl FnOnce(&mut [u8]),
    ) -> Result<usize, Error> {
        let len = n + OVERHEAD;
        let n16 = u16::try_from(n).map_err(|_| Error::BufferTooSmall)?;
        let out = out.get_mut(..len).ok_or(Error::BufferTooSmall)?;
        let counter = self.spend(n)?;
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.key.base);
        nonce[4..].copy_from_slice(&counter.to_be_bytes());
        let (head, body) = out.split_at_mut(12);
        head.copy_from_slice(&nonce);
        let (text, tag) = body.split_at_mut(n);
        let tag = tag.first_chunk_mut().ok_or(Error::BufferTooSmall)?;
        write(text);
        self.key.aead().seal(&nonce, &binding.aad(n16), text, tag)?;
        Ok(len)
    }
}

/// Opens messages of one tier, direction and epoch. The replay window is the caller's.
#[derive(Clone)]
pub struct Opener(Key);

impl Opener {
    /// An opener for one traffic secret.
    pub fn new(secret: &TrafficSecret) -> Result<Self, Error> {
        Key::of(secret).map(Opener)
    }

    /// True when `sealed` names this epoch's nonce base; a hint, not a proof.
    pub fn claims(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.0.base)
    }

    /// Opens `sealed` in place; returns its counter and its plaintext. On failure the bytes are erased.
    pub fn open<'a>(&self, binding: &Binding, sealed: &'a mut [u8]) -> Result<(u64, &'a [u8]), Error> {
        match self.attempt(binding, sealed) {
            Ok(counter) => Ok((counter, plaintext(sealed))),
            Err(e) => {
                erase(sealed);
                Err(e)
            }
        }
    }

    /// Opens `sealed` in place and returns its counter; [`plaintext`] shows where the text is. On failure the
    /// ciphertext is as it was, so that the key of another epoch with the same nonce base can be tried; the caller
    /// calls [`erase`] when none fits.
    pub fn attempt(&self, binding: &Binding, sealed: &mut [u8]) -> Result<u64, Error> {
        if sealed.len() < SEALED_MIN {
            return Err(Error::Malformed);
        }
        if !self.claims(sealed) {
            return Err(Error::NotAuthentic);
        }
        let n = sealed.len() - OVERHEAD;
        let n16 = u16::try_from(n).map_err(|_| Error::Malformed)?;
        let (head, body) = sealed.split_at_mut(12);
        let (text, tag) = body.split_at_mut(n);
        let nonce: [u8; 12] = (&*head).try_into().map_err(|_| Error::Malformed)?;
        let tag: [u8; 16] = (&*tag).try_into().map_err(|_| Error::Malformed)?;
        self.0.aead().attempt(&nonce, &binding.aad(n16), text, &tag)?;
        Ok(counter_of(&nonce))
    }
}

/// Where [`Opener::attempt`] leaves the plaintext of a sealed message.
pub fn plaintext(sealed: &[u8]) -> &[u8] {
    sealed.len().checked_sub(16).and_then(|end| sealed.get(12..end)).unwrap_or(&[])
}

/// Erases the text of a message that did not open.
pub fn erase(sealed: &mut [u8]) {
    if let Some(text) = sealed.len().checked_sub(16).and_then(|end| sealed.get_mut(12..end)) {
        text.zeroize();
    }
}

/// The counter that a sealed message claims; `None` when it is too short to hold one.
pub fn claimed_counter(sealed: &[u8]) -> Option<u64> {
    sealed.first_chunk::<12>().map(counter_of)
}

fn counter_of(nonce: &[u8; 12]) -> u64 {
    nonce[4..].iter().fold(0, |v, b| v << 8 | u64::from(*b))
}

/// Keys of the compact profiles C1 (one frame, 4 bytes, 24-bit tag) and C2 (two frames, 8 bytes, 48-bit tag).
pub struct Compact {
    key: Secret<32>,
    mac: Secret<32>,
    base: [u8; 4],
}

impl Compact {
    /// Keys of one tier, direction and epoch; never those of the GCM profile.
    pub fn new(secret: &TrafficSecret) -> Result<Self, Error> {
        Ok(Compact { key: secret.compact_key()?, mac: secret.mac_key()?, base: base4(secret)? })
    }

    fn keystream(&self, counter: u64) -> [u8; 16] {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&self.base);
        block[4..12].copy_from_slice(&counter.to_be_bytes());
        block[15] = 1;
        let mut block = block.into();
        aes::Aes256::new(self.key.expose().into()).encrypt_block(&mut block);
        block.into()
    }

    fn apply(&self, counter: u64, text: &mut [u8]) {
        text.iter_mut().zip(self.keystream(counter)).for_each(|(t, k)| *t ^= k);
    }

    fn tag(&self, label: &[u8], binding: &Binding, counter: u64, ct: &[u8]) -> [u8; 32] {
        let aad = binding.aad(ct.len() as u16);
        mac(self.mac.expose(), &[label, &aad, &self.base, &counter.to_be_bytes(), ct])
    }

    /// C1: `counter[7:0] | ciphertext 4 | tag 3`.
    pub fn seal1(&self, binding: &Binding, counter: u64, mut text: [u8; 4]) -> [u8; 8] {
        self.apply(counter, &mut text);
        let tag = self.tag(b"modbatt1 c1", binding, counter, &text);
        let mut out = [0; 8];
        out[0] = counter as u8;
        out[1..5].copy_from_slice(&text);
        out[5..].copy_from_slice(&tag[..3]);
        out
    }

    /// C2: first frame `ciphertext 8`, second frame `counter[15:0] | tag 6`.
    pub fn seal2(&self, binding: &Binding, counter: u64, mut text: [u8; 8]) -> [[u8; 8]; 2] {
        self.apply(counter, &mut text);
        let tag = self.tag(b"modbatt1 c2", binding, counter, &text);
        let mut second = [0; 8];
        second[..2].copy_from_slice(&(counter as u16).to_be_bytes());
        second[2..].copy_from_slice(&tag[..6]);
        [text, second]
    }

    /// Opens C1. The counter is the smallest above `last` with the low bits received; returns it and the text.
    pub fn open1(
        &self,
        binding: &Binding,
        last: Option<u64>,
        frame: &[u8; 8],
    ) -> Result<(u64, [u8; 4]), Error> {
        let counter = next_counter(last, u64::from(frame[0]), 8)?;
        let mut text = [frame[1], frame[2], frame[3], frame[4]];
        let tag = self.tag(b"modbatt1 c1", binding, counter, &text);
        if !equal(&tag[..3], &frame[5..]) {
            return Err(Error::NotAuthentic);
        }
        self.apply(counter, &mut text);
        Ok((counter, text))
    }

    /// Opens C2; see [`Compact::open1`].
    pub fn open2(
        &self,
        binding: &Binding,
        last: Option<u64>,
        frames: &[[u8; 8]; 2],
    ) -> Result<(u64, [u8; 8]), Error> {
        let [mut text, second] = *frames;
        let low = u64::from(u16::from_be_bytes([second[0], second[1]]));
        let counter = next_counter(last, low, 16)?;
        let tag = self.tag(b"modbatt1 c2", binding, counter, &text);
        if !equal(&tag[..6], &second[2..]) {
            return Err(Error::NotAuthentic);
        }
        self.apply(counter, &mut text);
        Ok((counter, text))
    }
}

fn next_counter(last: Option<u64>, low: u64, bits: u32) -> Result<u64, Error> {
    let first = match last {
        None => 0,
        Some(last) => last.checked_add(1).ok_or(Error::Exhausted)?,
    };
    let span = 1u64 << bits;
    let distance = low.wrapping_sub(first) & (span - 1);
    first.checked_add(distance).ok_or(Error::Exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(b: u8) -> TrafficSecret {
        TrafficSecret(Secret::new([b; 32]))
    }
    const B: Binding = Binding { level: 2, canonical_id: 0x845a_0005, epoch: 3 };

    #[test]
    fn every_flipped_bit_length_and_binding_is_refused() {
        for n in [1usize, 2, 8, 36, 99] {
            let mut sealer = Sealer::new(&secret(1), 5, 6).unwrap();
            let opener = Opener::new(&secret(1)).unwrap();
            let text = [0xA5; 99];
            let mut out = [0; 140];
            let len = sealer.seal(&B, &[&text[..1], &text[1..n]], &mut out).unwrap();
            assert_eq!(len, n + 28);
            let good = out;
            assert_eq!(opener.open(&B, &mut out[..len]), Ok((5, &text[..n])));
            for bit in 0..len * 8 {
                let mut bad = good;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(opener.open(&B, &mut bad[..len]), Err(Error::NotAuthentic));
                assert!(bad[12..12 + n].iter().all(|b| *b == 0), "no partial plaintext");
            }
            for other in [
                Binding { level: 1, ..B },
                Binding { canonical_id: B.canonical_id ^ 0x1_0000, ..B },
                Binding { epoch: 4, ..B },
            ] {
                assert!(opener.open(&other, &mut { good }[..len]).is_err());
            }
            for cut in 1..len {
                assert!(opener.open(&B, &mut { good }[..len - cut]).is_err());
            }
            assert!(opener.open(&B, &mut { good }[..len + 1]).is_err());
            assert!(Opener::new(&secret(2)).unwrap().open(&B, &mut { good }[..len]).is_err());
            assert_eq!(sealer.seal(&B, &[b"x"], &mut out), Err(Error::Exhausted), "reservation used up");
        }
    }

    #[test]
    fn a_key_stops_at_its_limit_whatever_is_reserved() {
        let mut sealer = Sealer::new(&secret(1), MESSAGES_MAX - 1, u64::MAX).unwrap();
        let mut out = [0; 40];
        sealer.seal(&B, &[b"x"], &mut out).unwrap();
        assert_eq!(sealer.seal(&B, &[b"x"], &mut out), Err(Error::Exhausted));
    }

    /// A base collision between two epochs must not cost the message: the first key that fails leaves it whole.
    #[test]
    fn a_failed_attempt_leaves_the_message_for_the_next_key() {
        let mut sealer = Sealer::new(&secret(1), 0, 1).unwrap();
        let mut out = [0; 40];
        let len = sealer.seal(&B, &[b"text"], &mut out).unwrap();
        let whole = out;
        let mut other = Opener::new(&secret(2)).unwrap();
        assert!(!other.claims(&out[..len]) && Opener::new(&secret(1)).unwrap().claims(&out[..len]));
        other.0.base = sealer.key.base;
        assert_eq!(other.attempt(&B, &mut out[..len]), Err(Error::NotAuthentic));
        assert_eq!(out, whole);
        assert_eq!(Opener::new(&secret(1)).unwrap().attempt(&B, &mut out[..len]), Ok(0));
        assert_eq!(plaintext(&out[..len]), b"text");
        erase(&mut out[..len]);
        assert_eq!(plaintext(&out[..len]), [0; 4]);
        assert_eq!((plaintext(&[1; 15]), plaintext(&[1; 20])), (&[][..], &[][..]));
    }

    /// On a device no round keys are kept: two epochs of 32 relationships would not fit a pack controller's memory.
    #[test]
    #[cfg(not(feature = "host"))]
    fn a_key_at_rest_is_its_bytes() {
        assert_eq!(core::mem::size_of::<Key>(), 36);
        assert!(core::mem::size_of::<Sealer>() <= 64);
    }

    /// Blocks are counted with the one that masks the tag, and stop the key like messages do.
    #[test]
    fn a_key_stops_at_its_blocks() {
        assert_eq!([1, 16, 17, 4_066].map(blocks), [2, 2, 3, 256]);
        let mut sealer = Sealer::new(&secret(1), 0, u64::MAX).unwrap();
        sealer.blocks = BLOCKS_MAX - 3;
        let mut out = [0; 64];
        assert_eq!(sealer.seal(&B, &[&[0; 33]], &mut out), Err(Error::Exhausted), "four blocks");
        assert_eq!(sealer.counters().0, 0);
        sealer.seal(&B, &[&[0; 32]], &mut out).unwrap();
        assert_eq!(sealer.blocks(), BLOCKS_MAX);
        assert_eq!(sealer.spend(1), Err(Error::Exhausted));
    }

    #[test]
    fn a_seal_that_does_not_fit_spends_no_counter_and_reserve_never_shrinks() {
        let mut sealer = Sealer::new(&secret(1), 0, 10).unwrap();
        assert_eq!(sealer.seal(&B, &[b"abc"], &mut [0; 30]), Err(Error::BufferTooSmall));
        sealer.reserve(4);
        assert_eq!(sealer.counters(), (0, 10));
        sealer.reserve(11);
        assert_eq!(sealer.counters(), (0, 11));
    }

    #[test]
    fn compact_counters_follow_their_low_bits() {
        for (last, low, bits, want) in [
            (None, 0, 8, 0),
            (None, 255, 8, 255),
            (Some(255), 0, 8, 256),
            (Some(0x12ff), 0xff, 8, 0x13ff),
            (Some(0x12fe), 0xff, 8, 0x12ff),
            (Some(0xffff), 1, 16, 0x1_0001),
        ] {
            assert_eq!(next_counter(last, low, bits), Ok(want));
        }
        assert_eq!(next_counter(Some(u64::MAX), 0, 8), Err(Error::Exhausted));
    }
}
