//! Proofs against a state root that the state holds something, or holds nothing (`spec/ledger.md`, L62, L63, L166, L230).
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
/// Most objects that one [`Multiproof`] proves.
pub const MAX_PROVED: usize = 8;
const MAX_KEY: usize = 128;
/// Longest value of a proof, bytes.
pub const MAX_VALUE: usize = 1 << 16;
/// Hash of a subtree that holds nothing.
const EMPTY: Digest = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

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
            inner(l, r)
        })
    })
}

fn inner(left: &Digest, right: &Digest) -> Digest {
    sha256(&[b"JMT::IntrnalNode", left, right])
}

/// Proof that one state holds several objects, with every sibling once and none that follows from the others (L81).
///
/// Its nodes are combined from the deepest level up, in a level from the smallest key hash to the largest: two that are
/// siblings with each other, any other with the next of the siblings given here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiproof {
    /// How deep in the tree each object's leaf stands, in the order of the objects.
    pub depths: Vec<u16>,
    /// Per sibling one bit, the highest of a byte first: 1 where [`Self::siblings`] has it, 0 for an empty subtree.
    pub given: Vec<u8>,
    /// Those siblings that are not empty subtrees.
    pub siblings: Vec<Digest>,
}

/// A node on the way up.
struct Node {
    /// Hash of the key of a leaf below it.
    path: Digest,
    depth: usize,
    hash: Digest,
}

/// Combines nodes up to the root, with `sibling` for those whose sibling is none of them. `None` when it has none, or when
/// one stands below another.
fn combine(mut nodes: Vec<Node>, mut sibling: impl FnMut(&Node) -> Option<Digest>) -> Option<Digest> {
    nodes.sort_by_key(|node| node.path);
    for depth in (0..nodes.iter().map(|n| n.depth).max()?).rev() {
        let mut up = Vec::with_capacity(nodes.len());
        let mut rest = nodes.into_iter().peekable();
        while let Some(mut node) = rest.next() {
            if node.depth > depth {
                let right = bit(&node.path, depth);
                let near = |n: &Node| {
                    n.depth == node.depth && (0..depth).all(|i| bit(&n.path, i) == bit(&node.path, i))
                };
                node.hash = match rest.next_if(near) {
                    // Both on one side: one of them stands where the other does.
                    Some(other) if right || !bit(&other.path, depth) => return None,
                    Some(other) => inner(&node.hash, &other.hash),
                    None if right => inner(&sibling(&node)?, &node.hash),
                    None => inner(&node.hash, &sibling(&node)?),
                };
                node.depth = depth;
            }
            up.push(node);
        }
        nodes = up;
    }
    match nodes.as_slice() {
        [root] => Some(root.hash),
        _ => None,
    }
}

impl Multiproof {
    /// Joins proofs that lead to one root. `None` if they do not, or if two are of one key.
    #[must_use]
    pub fn join(proofs: &[StateProof]) -> Option<Self> {
        let depths = proofs.iter().map(|p| u16::try_from(p.siblings.len()).ok()).collect::<Option<_>>()?;
        let held: Vec<_> = proofs.iter().map(|p| (sha256(&[&p.key]), sha256(&[&p.value]))).collect();
        let mut all = Vec::new();
        let root = combine(leaves(&held, proofs.iter().map(|p| p.siblings.len())), |node| {
            let of = held.iter().position(|(path, _)| *path == node.path)?;
            let siblings = &proofs[of].siblings;
            let sibling = siblings.get(siblings.len().checked_sub(node.depth)?)?;
            all.push(*sibling);
            Some(*sibling)
        })?;
        let mut given = alloc::vec![0; all.len().div_ceil(8)];
        for (n, _) in all.iter().enumerate().filter(|(_, s)| **s != EMPTY) {
            given[n / 8] |= 0x80 >> (n % 8);
        }
        let siblings = all.into_iter().filter(|s| *s != EMPTY).collect();
        proofs.iter().all(|p| p.leads_to(&root)).then_some(Self { depths, given, siblings })
    }

    /// The root to which it leads from objects with these hashes of key and value. `None` when it is not for so many, has
    /// not exactly the siblings that their places ask for, or says one in another way than the shortest.
    #[must_use]
    pub fn root(&self, held: &[(Digest, Digest)]) -> Option<Digest> {
        let depths = self.depths.iter().map(|depth| usize::from(*depth));
        if held.len() != self.depths.len() || depths.clone().any(|depth| depth > MAX_SIBLINGS) {
            return None;
        }
        let (mut count, mut rest) = (0, self.siblings.iter());
        let root = combine(leaves(held, depths), |_| {
            let given = self.given.get(count / 8)? << (count % 8) & 0x80 != 0;
            count += 1;
            if given { rest.next().filter(|s| **s != EMPTY).copied() } else { Some(EMPTY) }
        })?;
        let padding = self.given.last().is_some_and(|last| count % 8 != 0 && last << (count % 8) != 0);
        (self.given.len() == count.div_ceil(8) && !padding && rest.len() == 0).then_some(root)
    }
}

/// The leaves of objects with these hashes of key and value.
fn leaves(held: &[(Digest, Digest)], depths: impl Iterator<Item = usize>) -> Vec<Node> {
    let node = |((path, value), depth): (&(Digest, Digest), usize)| Node {
        path: *path,
        depth,
        hash: leaf(path, value),
    };
    held.iter().zip(depths).map(node).collect()
}

impl Canonical for Multiproof {
    fn write(&self, w: &mut Writer) {
        w.array(3).array(self.depths.len());
        for depth in &self.depths {
            w.uint((*depth).into());
        }
        w.bytes(&self.given).bytes(self.siblings.as_flattened());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.array(3)? != 3 {
            return Err(FormatError::Unexpected);
        }
        let n = r.array(MAX_PROVED)?;
        let depths = (0..n).map(|_| r.int()).collect::<Result<_, _>>()?;
        let given = r.bytes(MAX_PROVED * MAX_SIBLINGS / 8)?.into();
        let (siblings, rest) = r.bytes(MAX_PROVED * MAX_SIBLINGS * 32)?.as_chunks::<32>();
        if rest.is_empty() {
            Ok(Self { depths, given, siblings: siblings.to_vec() })
        } else {
            Err(FormatError::Unexpected)
        }
    }
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
            None => EMPTY,
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
