//! The append-only Merkle tree over a chain's blocks, and the proof that it only ever grew (`spec/ledger.md`, L170).
//!
//! The tree is that of RFC 9162, 2.1: leaf n is the identity of block n + 1. Whoever keeps the hashes of the complete
//! subtrees, two a block, answers every question about it in steps of the logarithm of its size.

use alloc::vec::Vec;

use lct::{
    Digest,
    hash::sha256,
    merkle::{leaf_hash, node_hash},
};

/// Longest path: a tree of up to 2^64 leaves.
pub const PATH_MAX: usize = 65;

/// Hash of the leaf of a block.
#[must_use]
pub fn leaf(block_id: &Digest) -> Digest {
    leaf_hash(block_id)
}

/// Appends the leaf of `height` to a store of complete subtrees: `put` gets each that it completes, as level (leaves are
/// of level 0), index in the level and hash; `get` reads one that is stored.
///
/// # Errors
/// Those of the store.
pub fn append<E>(
    height: u64,
    block_id: &Digest,
    get: impl Fn(u8, u64) -> Result<Digest, E>,
    put: impl FnMut(u8, u64, &Digest) -> Result<(), E>,
) -> Result<(), E> {
    append_leaf(height, &leaf(block_id), get, put)
}

/// As [`append`], for who has the leaf of a block instead of its identity.
///
/// # Errors
/// Those of the store.
pub fn append_leaf<E>(
    height: u64,
    leaf: &Digest,
    get: impl Fn(u8, u64) -> Result<Digest, E>,
    mut put: impl FnMut(u8, u64, &Digest) -> Result<(), E>,
) -> Result<(), E> {
    let (mut level, mut index, mut node) = (0, height.saturating_sub(1), *leaf);
    put(level, index, &node)?;
    while index & 1 == 1 {
        node = node_hash(&get(level, index - 1)?, &node);
        (level, index) = (level + 1, index >> 1);
        put(level, index, &node)?;
    }
    Ok(())
}

/// Hash of the leaves `start .. start + n`, where `start` is a multiple of the least power of two that is not below `n`.
fn subtree<E>(start: u64, n: u64, get: &impl Fn(u8, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    if n.is_power_of_two() {
        let level = n.trailing_zeros();
        return get(level as u8, start >> level);
    }
    let left = split(n);
    Ok(node_hash(&subtree(start, left, get)?, &subtree(start + left, n - left, get)?))
}

/// The largest power of two below `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// Root of the tree of the first `size` blocks.
///
/// # Errors
/// Those of the store.
pub fn root<E>(size: u64, get: impl Fn(u8, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    if size == 0 { Ok(sha256(&[])) } else { subtree(0, size, &get) }
}

/// The path that proves that the tree of `old` blocks is the beginning of that of `new`, neither fewer nor none (RFC
/// 9162, 2.1.4.1).
///
/// # Errors
/// Those of the store.
pub fn consistency<E>(
    old: u64,
    new: u64,
    get: impl Fn(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut path = Vec::new();
    // Down to where the old tree ends; what lies beside the way is the path, the lowest first.
    let (mut start, mut old, mut n, mut whole) = (0, old, new, true);
    while old < n {
        let left = split(n);
        if old <= left {
            path.push(subtree(start + left, n - left, &get)?);
            n = left;
        } else {
            path.push(subtree(start, left, &get)?);
            (start, old, n, whole) = (start + left, old - left, n - left, false);
        }
    }
    if !whole {
        path.push(subtree(start, n, &get)?);
    }
    path.reverse();
    Ok(path)
}

/// The path that proves that the block of `height` is in the tree of `size` blocks, neither 0 nor above (RFC 9162, 2.1.3.1).
///
/// # Errors
/// Those of the store.
pub fn inclusion<E>(
    height: u64,
    size: u64,
    get: impl Fn(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut path = Vec::new();
    let (mut start, mut at, mut n) = (0, height.saturating_sub(1), size);
    while n > 1 {
        let left = split(n);
        if at < left {
            path.push(subtree(start + left, n - left, &get)?);
            n = left;
        } else {
            path.push(subtree(start, left, &get)?);
            (start, at, n) = (start + left, at - left, n - left);
        }
    }
    path.reverse();
    Ok(path)
}

/// Whether the tree of `size` blocks with this root holds the block of `height` (RFC 9162, 2.1.3.2).
#[must_use]
pub fn is_included(
    (height, block_id): (u64, &Digest),
    (size, root): (u64, &Digest),
    path: &[Digest],
) -> bool {
    if height == 0 || height > size || path.len() > PATH_MAX {
        return false;
    }
    let (mut at, mut last, mut node) = (height - 1, size - 1, leaf(block_id));
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            node = node_hash(sibling, &node);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            node = node_hash(&node, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && node == *root
}

/// Whether the tree of `old` blocks with `old_root` is the beginning of that of `new` blocks with `new_root` (RFC 9162,
/// 2.1.4.2). Of an empty tree nothing can be proved.
#[must_use]
pub fn is_consistent(
    (old, old_root): (u64, &Digest),
    (new, new_root): (u64, &Digest),
    path: &[Digest],
) -> bool {
    if old == 0 || old > new || path.len() > PATH_MAX {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    let (first, rest) = if old.is_power_of_two() {
        (old_root, path)
    } else {
        match path.split_first() {
            Some(parts) => parts,
            None => return false,
        }
    };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old_node, mut new_node) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_node = node_hash(sibling, &old_node);
            new_node = node_hash(sibling, &new_node);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new_node = node_hash(&new_node, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old_node == *old_root && new_node == *new_root
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::{cell::RefCell, convert::Infallible};
    use std::{collections::BTreeMap, vec};

    /// The tree hash written down as RFC 9162, 2.1.1 defines it.
    fn defined(ids: &[Digest]) -> Digest {
        match ids {
            [] => sha256(&[]),
            [one] => sha256(&[&[0], one]),
            many => {
                let k = many.len().next_power_of_two() / 2;
                sha256(&[&[1], &defined(&many[..k]), &defined(&many[k..])])
            }
        }
    }

    #[test]
    fn every_two_sizes_of_a_small_tree() {
        let ids: Vec<Digest> = (0..70_u8).map(|i| [i; 32]).collect();
        let store = RefCell::new(BTreeMap::new());
        let get = |level, index| Ok::<_, Infallible>(store.borrow()[&(level, index)]);
        for (height, id) in (1..).zip(&ids) {
            let put = |level, index, node: &Digest| {
                store.borrow_mut().insert((level, index), *node);
                Ok(())
            };
            append(height, id, get, put).unwrap();
            assert_eq!(root(height, get).unwrap(), defined(&ids[..height as usize]));
        }
        for new in 1..=ids.len() as u64 {
            let new_root = root(new, get).unwrap();
            for height in 1..=new {
                let id = &ids[height as usize - 1];
                let path = inclusion(height, new, get).unwrap();
                let holds = |height, id, path: &[Digest]| is_included((height, id), (new, &new_root), path);
                assert!(holds(height, id, &path), "{height} of {new}");
                assert!(!holds(height, &[200; 32], &path), "{height} of {new}: another block");
                let elsewhere = (0..=new + 1).filter(|h| *h != height).any(|h| holds(h, id, &path));
                assert!(!elsewhere, "{height} of {new}: at another height");
                assert!(
                    !is_included((height, id), (new, &[9; 32]), &path),
                    "{height} of {new}: another tree"
                );
                let longer = [&path[..], &[[0; 32]]].concat();
                assert!(!holds(height, id, &longer), "{height} of {new}: too long");
                for n in 0..path.len() {
                    assert!(!holds(height, id, &path[..n]), "{height} of {new}: {n} of the path");
                }
            }
            for old in 1..=new {
                let old_root = root(old, get).unwrap();
                let path = consistency(old, new, get).unwrap();
                let holds = |o, n, path: &[Digest]| is_consistent((o, &old_root), (n, &new_root), path);
                assert!(holds(old, new, &path), "{old} in {new}");
                assert!(
                    !is_consistent((old, &[9; 32]), (new, &new_root), &path),
                    "{old} in {new}: another past"
                );
                assert!(
                    !is_consistent((old, &old_root), (new, &[9; 32]), &path),
                    "{old} in {new}: another present"
                );
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert!(!holds(old, new, &longer), "{old} in {new}: too long");
                for n in 0..path.len() {
                    assert!(!holds(old, new, &path[..n]), "{old} in {new}: {n} of the path");
                    let mut other = path.clone();
                    other[n][0] ^= 1;
                    assert!(!holds(old, new, &other), "{old} in {new}: another {n}");
                }
            }
        }
        assert!(!is_consistent((0, &root(0, get).unwrap()), (3, &root(3, get).unwrap()), &[]), "nothing");
        assert!(!is_consistent((3, &[0; 32]), (2, &[0; 32]), &[]), "back");
        assert!(!is_consistent((1, &[0; 32]), (u64::MAX, &[0; 32]), &vec![[0; 32]; 70]), "no end");
    }
}
