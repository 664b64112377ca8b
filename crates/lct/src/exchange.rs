//! The half exchange inside the pairing handshake (`spec/channel.md`, H52).
//!
//! `K = Derive(Extract(cm_hash, xk), "hx a" | "hx b", pairing_id, 32)`; message, 60 bytes:
//! `base4 | u64 0 | ciphertext 32 | tag 16` with `base4 = Derive(.., "hx iv a" | "hx iv b", pairing_id, 4)`,
//! AAD `"modbatt1 hx" || 'a' | 'b' || pairing_id`.

use crate::{
    Digest, Error,
    aead::Aead,
    id::PairingId,
    schedule::{derive, extract},
    secret::Secret,
};

/// Length of a half exchange message.
pub const EXCHANGE_LEN: usize = 60;

/// Whose half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nearer the app.
    A,
    /// The other one.
    B,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

struct Keys {
    cipher: Aead,
    nonce: [u8; 12],
    aad: [u8; 28],
}

fn keys(side: Side, exchange_key: &Secret<32>, cm_hash: &Digest, id: &PairingId) -> Result<Keys, Error> {
    let (key_label, iv_label, letter) = match side {
        Side::A => ("hx a", "hx iv a", b'a'),
        Side::B => ("hx b", "hx iv b", b'b'),
    };
    let prk = extract(cm_hash, &[exchange_key.expose()]);
    let key = derive::<32>(&prk, key_label, &[&id.0])?;
    let base = derive::<4>(&prk, iv_label, &[&id.0])?;
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(base.expose());
    let mut aad = [0; 28];
    aad[..11].copy_from_slice(b"modbatt1 hx");
    aad[11] = letter;
    aad[12..].copy_from_slice(&id.0);
    Ok(Keys { cipher: Aead::new(&key), nonce, aad })
}

/// Seals one side's half of the pairing key.
pub fn seal_half(
    side: Side,
    half: &Secret<32>,
    exchange_key: &Secret<32>,
    cm_hash: &Digest,
    id: &PairingId,
) -> Result<[u8; EXCHANGE_LEN], Error> {
    let k = keys(side, exchange_key, cm_hash, id)?;
    let mut out = [0; EXCHANGE_LEN];
    out[..12].copy_from_slice(&k.nonce);
    out[12..44].copy_from_slice(half.expose());
    let (text, tag) = out[12..].split_last_chunk_mut().ok_or(Error::BufferTooSmall)?;
    k.cipher.seal(&k.nonce, &k.aad, text, tag)?;
    Ok(out)
}

/// Opens the other side's half.
pub fn open_half(
    side: Side,
    message: &[u8; EXCHANGE_LEN],
    exchange_key: &Secret<32>,
    cm_hash: &Digest,
    id: &PairingId,
) -> Result<Secret<32>, Error> {
    let k = keys(side, exchange_key, cm_hash, id)?;
    if message[..12] != k.nonce {
        return Err(Error::NotAuthentic);
    }
    let mut half = zeroize::Zeroizing::new([0; 32]);
    half.copy_from_slice(&message[12..44]);
    let tag: [u8; 16] = message[44..].try_into().map_err(|_| Error::Malformed)?;
    k.cipher.open(&k.nonce, &k.aad, half.as_mut_slice(), &tag)?;
    Ok(Secret::new(*half))
}

/// The 64-byte pairing key from both halves; refuses halves that are degenerate or equal.
pub fn pairing_key(half_a: &Secret<32>, half_b: &Secret<32>) -> Result<Secret<64>, Error> {
    if half_a.is_degenerate() || half_b.is_degenerate() || half_a == half_b {
        return Err(Error::DegenerateKey);
    }
    let mut key = zeroize::Zeroizing::new([0; 64]);
    key[..32].copy_from_slice(half_a.expose());
    key[32..].copy_from_slice(half_b.expose());
    Ok(Secret::new(*key))
}
