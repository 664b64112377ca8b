//! Proofs against a state root that the state holds something, or holds nothing (`spec/ledger.md`, L62, L63, L166).
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
        let path = sha256(&[&self.key]);
        climb(&path, leaf(&path, &sha256(&[&self.value])), &self.siblings) == Some(*root)
    }
}

fn leaf(path: &Digest, value: &Digest) -> Digest {
    sha256(&[b"JMT::LeafNode", path, value])
}

fn bit(path: &Digest, n: usize) -> bool {
    path[n / 8] >> (7 - n % 8) & 1 == 1
}

/// From the node at the end of `path` up to the root; `None` with more siblings than a path has bits.
fn climb(path: &Digest, node: Digest, siblings: &[Digest]) -> Option<Digest> {
    let depth = siblings.len();
    (depth <= MAX_SIBLINGS).then(|| {
        siblings.iter().enumerate().fold(node, |node, (i, sibling)| {
            let (l, r) = if bit(path, depth - 1 - i) { (sibling, &node) } else { (&node, sibling) };
            sha256(&[b"JMT::IntrnalNode", l, r])
        })
    })
}

/// Proof that the state holds nothing under `key`: where it would stand there is nothing, or one other entry alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The state key.
    pub key: Vec<u8>,
    /// `H(key)` and `H(value)` of the entry that stands there.
    pub other: Option<(Digest, Digest)>,
    /// Sibling hashes from that place up to the root.
    pub siblings: Vec<Digest>,
}

impl Absence {
    /// Whether the proof leads to `root`.
    #[must_use]
    pub fn leads_to(&self, root: &Digest) -> bool {
        let path = sha256(&[&self.key]);
        let node = match &self.other {
            None => *b"SPARSE_MERKLE_PLACEHOLDER_HASH__",
            Some((other, value)) => {
                // An entry stands on its own path; on that of the key only as far as the two agree.
                let shared = self.siblings.len() <= MAX_SIBLINGS
                    && (0..self.siblings.len()).all(|n| bit(&path, n) == bit(other, n));
                if *other == path || !shared {
                    return false;
                }
                leaf(other, value)
            }
        };
        climb(&path, node, &self.siblings) == Some(*root)
    }
}

impl Canonical for Absence {
    fn write(&self, w: &mut Writer) {
        w.array(3).bytes(&self.key);
        match &self.other {
            None => w.bytes(&[]),
            Some((key, value)) => w.bytes([*key, *value].as_flattened()),
        };
        w.item(&Path(self.siblings.clone()));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.array(3)? != 3 {
            return Err(FormatError::Unexpected);
        }
        let key = r.bytes(MAX_KEY)?.into();
        let other = match r.bytes(64)?.as_chunks::<32>() {
            ([], []) => None,
            ([key, value], []) => Some((*key, *value)),
            _ => return Err(FormatError::Unexpected),
        };
        let Path(siblings) = r.item()?;
        Ok(Self { key, other, siblings })
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
