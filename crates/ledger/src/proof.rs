//! Membership proofs against a state root (`spec/ledger.md`, L62 and L63).
//!
//! The state tree is a Jellyfish Merkle tree over SHA-256 as crate `jmt` 0.12 builds it (the replica's store does).
//! `jmt` needs `std` through its dependencies, so this verifier is written out; it is 20 lines because a
//! Jellyfish tree hashes like a binary sparse Merkle tree in which a subtree of one leaf is that leaf:
//!
//! ```text
//! leaf = H("JMT::LeafNode"    || H(key) || H(value))
//! node = H("JMT::IntrnalNode" || left || right)         empty subtree = "SPARSE_MERKLE_PLACEHOLDER_HASH__"
//! ```
//!
//! The two prefixes keep leaves and nodes apart, so for membership a sibling's hash is enough.

use alloc::vec::Vec;

use lct::{Digest, hash::sha256};

use crate::codec::{Canonical, FormatError, Reader, Writer};

/// Longest path of a proof: one sibling per bit of a key's hash.
pub const MAX_SIBLINGS: usize = 256;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 1 << 16;

/// Proof that the state holds `value` under `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateProof {
    /// The state key, see `records::key`.
    pub key: Vec<u8>,
    /// The canonical object under it.
    pub value: Vec<u8>,
    /// Sibling hashes from the leaf up to the root.
    pub siblings: Vec<Digest>,
}

impl StateProof {
    /// Whether the proof leads to `root`.
    #[must_use]
    pub fn leads_to(&self, root: &Digest) -> bool {
        if self.siblings.len() > MAX_SIBLINGS {
            return false;
        }
        let path = sha256(&[&self.key]);
        let leaf = sha256(&[b"JMT::LeafNode", &path, &sha256(&[&self.value])]);
        let depth = self.siblings.len();
        let top = self.siblings.iter().enumerate().fold(leaf, |node, (i, sibling)| {
            let bit = depth - 1 - i;
            let right = path[bit / 8] >> (7 - bit % 8) & 1 == 1;
            let (l, r) = if right { (sibling, &node) } else { (&node, sibling) };
            sha256(&[b"JMT::IntrnalNode", l, r])
        });
        top == *root
    }
}

impl Canonical for StateProof {
    fn write(&self, w: &mut Writer) {
        w.array(3).bytes(&self.key).bytes(&self.value).item(&Path(self.siblings.clone()));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.array(3)? != 3 {
            return Err(FormatError::Unexpected);
        }
        let key = r.bytes(MAX_KEY)?.into();
        let value = r.bytes(MAX_VALUE)?.into();
        let Path(siblings) = r.item()?;
        Ok(Self { key, value, siblings })
    }
}

/// A list of digests: one byte string, 32 bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub Vec<Digest>);

impl Canonical for Path {
    fn write(&self, w: &mut Writer) {
        w.bytes(self.0.as_flattened());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (digests, rest) = r.bytes(MAX_SIBLINGS * 32)?.as_chunks::<32>();
        if rest.is_empty() { Ok(Self(digests.to_vec())) } else { Err(FormatError::Unexpected) }
    }
}
