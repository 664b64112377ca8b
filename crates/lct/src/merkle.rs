//! RFC 6962 Merkle trees over SHA-256: incremental root, path of one leaf, verification (`spec/ledger.md`, L5).
//!
//! Leaf = `H(0x00 || data)`, node = `H(0x01 || left || right)`, the empty tree's root is `H("")`.

use crate::{
    Digest,
    hash::{sha256, sha256_each},
};
use core::array;

/// Longest path: trees of up to 2^32 leaves.
pub const PATH_MAX: usize = 32;

/// What is hashed before a leaf's data, and before the two nodes below an inner one.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// Leaves or nodes that are worth hashing together.
pub const TOGETHER: usize = 4;

/// Hash of one leaf's data.
pub fn leaf_hash(data: &[u8]) -> Digest {
    sha256(&[&[LEAF], data])
}

/// Hashes of the data of some leaves, together ([`sha256_each`]).
pub fn leaf_hashes(data: [&[u8]; TOGETHER]) -> [Digest; TOGETHER] {
    sha256_each(LEAF, data)
}

/// Hash of an inner node.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[NODE], left, right])
}

/// Root over `nodes`, which hold something else then: level by level, a last one that has no other rises. That is the tree of
/// [`root`], with nodes hashed together.
pub fn root_in_place(nodes: &mut [Digest]) -> Digest {
    let mut count = nodes.len();
    while count > 1 {
        let (mut from, mut to) = (0, 0);
        while let Some(pairs) = nodes[from..count].first_chunk::<{ 2 * TOGETHER }>() {
            let hashes =
                sha256_each(NODE, array::from_fn::<_, TOGETHER, _>(|i| pairs[2 * i..][..2].as_flattened()));
            nodes[to..to + TOGETHER].copy_from_slice(&hashes);
            (from, to) = (from + 2 * TOGETHER, to + TOGETHER);
        }
        while from < count {
            nodes[to] = match nodes[from..count] {
                [left, right, ..] => node_hash(&left, &right),
                _ => nodes[from],
            };
            (from, to) = (from + 2, to + 1);
        }
        count = to;
    }
    nodes.first().copied().unwrap_or_else(|| sha256(&[]))
}

/// Computes a root leaf by leaf in constant memory.
#[derive(Clone, Debug, Default)]
pub struct Accumulator {
    /// Root of the complete subtree of size 2^i for every bit i set in `count`.
    peaks: [Digest; PATH_MAX],
    count: u32,
}

impl Accumulator {
    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        let level = self.count.trailing_ones() as usize;
        for peak in &self.peaks[..level.min(PATH_MAX - 1)] {
            node = node_hash(peak, &node);
        }
        self.peaks[level.min(PATH_MAX - 1)] = node;
        self.count = self.count.saturating_add(1);
    }

    /// Number of leaves.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Root over all leaves so far.
    pub fn root(&self) -> Digest {
        let mut peaks = (0..PATH_MAX).filter(|i| self.count >> i & 1 == 1).map(|i| &self.peaks[i]);
        match peaks.next() {
            None => sha256(&[]),
            Some(first) => peaks.fold(*first, |right, left| node_hash(left, &right)),
        }
    }
}

/// Root over `leaves`.
pub fn root(leaves: &[Digest]) -> Digest {
    let mut acc = Accumulator::default();
    leaves.iter().for_each(|leaf| acc.push(*leaf));
    acc.root()
}

/// Writes the path of leaf `index` from the bottom up into `out`; returns its length, or `None` when
/// there is no such leaf.
pub fn path(leaves: &[Digest], index: usize, out: &mut [Digest; PATH_MAX]) -> Option<usize> {
    if index >= leaves.len() {
        return None;
    }
    let (mut range, mut depth) = (leaves, 0);
    let mut at = index;
    // Walk down, leaving the sibling subtrees top-down, then reverse.
    while range.len() > 1 {
        let split = range.len().next_power_of_two() / 2;
        let (left, right) = range.split_at(split);
        let (inside, sibling) = if at < split { (left, right) } else { (right, left) };
        at = if at < split { at } else { at - split };
        *out.get_mut(depth)? = root(sibling);
        depth += 1;
        range = inside;
    }
    out[..depth].reverse();
    Some(depth)
}

/// True when `leaf` is leaf `index` of a tree of `count` leaves with root `expected` (RFC 9162, 2.1.3.2).
pub fn verify_path(leaf: &Digest, index: u32, count: u32, path: &[Digest], expected: &Digest) -> bool {
    root_of_path(leaf, index, count, path).is_some_and(|root| root == *expected)
}

/// The root to which `path` leads from `leaf`, leaf `index` of a tree of `count` leaves; `None` when such a tree has no such
/// leaf or its path another length.
pub fn root_of_path(leaf: &Digest, index: u32, count: u32, path: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    let (mut at, mut last, mut node) = (index, count - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            node = node_hash(sibling, &node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::{vec, vec::Vec};

    fn leaves(n: usize) -> Vec<Digest> {
        (0..n).map(|i| leaf_hash(&(i as u64).to_be_bytes())).collect()
    }

    /// The tree hash written down as RFC 6962, 2.1 defines it.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => sha256(&[]),
            [one] => *one,
            many => {
                let k = many.len().next_power_of_two() / 2;
                node_hash(&defined(&many[..k]), &defined(&many[k..]))
            }
        }
    }

    /// Test vectors of the certificate-transparency reference implementation: eight inputs.
    #[test]
    fn known_roots() {
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let leaves: Vec<Digest> = inputs.iter().map(|h| leaf_hash(&hex::decode(h).unwrap())).collect();
        for (n, want) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex::encode(root(&leaves[..n])), want, "{n} leaves");
        }
    }

    #[test]
    fn every_path_of_every_small_tree() {
        for n in 0..70 {
            let l = leaves(n);
            let r = root(&l);
            assert_eq!(r, defined(&l));
            assert_eq!(r, root_in_place(&mut l.clone()), "{n} leaves");
            let mut out = [[0; 32]; PATH_MAX];
            assert_eq!(path(&l, n, &mut out), None);
            for i in 0..n {
                let k = path(&l, i, &mut out).unwrap();
                assert!(verify_path(&l[i], i as u32, n as u32, &out[..k], &r));
                for (j, m) in [(i + 1, n), (i, n + 1), (i.wrapping_sub(1), n)] {
                    if j < m && (j != i || verify_shape(i, m) != verify_shape(i, n)) {
                        assert!(
                            !verify_path(&l[i], j as u32, m as u32, &out[..k], &r),
                            "{i} of {n} as {j} of {m}"
                        );
                    }
                }
                if k > 0 {
                    assert!(!verify_path(&l[i], i as u32, n as u32, &out[..k - 1], &r));
                }
                let mut long = vec![[0; 32]; k + 1];
                long[..k].copy_from_slice(&out[..k]);
                assert!(!verify_path(&l[i], i as u32, n as u32, &long, &r));
            }
        }
    }

    /// Nothing is written beside the peaks when there is no more to count.
    #[test]
    fn a_leaf_behind_the_last_number_harms_nothing() {
        let mut full = Accumulator { peaks: [[0; 32]; PATH_MAX], count: u32::MAX };
        full.push([1; 32]);
        assert_eq!(full.count(), u32::MAX);
    }

    /// Sides and number of siblings on the way up: two sizes of equal shape cannot be told apart by a path,
    /// which is why the count is part of every signed batch.
    fn verify_shape(index: usize, count: usize) -> Vec<bool> {
        let (mut lo, mut n, mut shape) = (index, count, Vec::new());
        while n > 1 {
            let k = n.next_power_of_two() / 2;
            shape.push(lo < k);
            (lo, n) = if lo < k { (lo, k) } else { (lo - k, n - k) };
        }
        shape
    }
}
