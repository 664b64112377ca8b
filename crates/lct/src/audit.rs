//! The forward-secure audit chain of a device (`spec/channel.md`, H60).
//!
//! `h_n = H("modbatt1 log" || h_{n-1} || u64 n || u16 len || entry)`, `tag_n = HMAC(k_n, h_n)[0:16]`,
//! `k_{n+1} = Derive(k_n, "log next", u64 n, 32)`; k_n is erased once used, so an intruder of today cannot
//! rewrite yesterday. Entries count from 1; `h_0` is the hash with n = 0 and an empty entry.

use crate::{
    Digest, Error,
    hash::sha256,
    schedule::{derive, mac16},
    secret::Secret,
};

/// Head of a chain: the last hash, and the key of the next entry.
#[derive(Debug, Clone)]
pub struct AuditChain {
    count: u64,
    head: Digest,
    key: Secret<32>,
}

/// What is stored beside an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditLink {
    /// Number of the entry, from 1.
    pub number: u64,
    /// `h_n`.
    pub hash: Digest,
    /// `tag_n`.
    pub tag: [u8; 16],
}

fn link_hash(previous: &Digest, number: u64, entry: &[u8]) -> Result<Digest, Error> {
    let len = u16::try_from(entry.len()).map_err(|_| Error::BufferTooSmall)?;
    Ok(sha256(&[b"modbatt1 log", previous, &number.to_be_bytes(), &len.to_be_bytes(), entry]))
}

/// `h_0`.
pub fn genesis() -> Digest {
    sha256(&[b"modbatt1 log", &[0; 32], &[0; 8], &[0; 2]])
}

impl AuditChain {
    /// An empty chain with its first key `k_1`, which the authority holds too.
    pub fn new(first_key: Secret<32>) -> Self {
        AuditChain { count: 0, head: genesis(), key: first_key }
    }

    /// Number of the last entry and its hash.
    pub fn head(&self) -> (u64, Digest) {
        (self.count, self.head)
    }

    /// Appends `entry` (at most 65535 bytes) and moves the key forward.
    pub fn append(&mut self, entry: &[u8]) -> Result<AuditLink, Error> {
        let number = self.count + 1;
        let hash = link_hash(&self.head, number, entry)?;
        let tag = mac16(self.key.expose(), &[&hash]);
        self.key = derive(&self.key, "log next", &[&number.to_be_bytes()])?;
        (self.count, self.head) = (number, hash);
        Ok(AuditLink { number, hash, tag })
    }
}
