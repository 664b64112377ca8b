//! The authenticated state: crate `jmt`'s Jellyfish Merkle tree over the database's node table.
//!
//! The tree commits to `H(key)` and `H(value)`; values live in the state table only. Its versions count
//! non-empty blocks, because an unchanged tree needs no new root.

use std::collections::BTreeMap;

use anyhow::anyhow;
use jmt::{
    JellyfishMerkleTree, KeyHash, OwnedValue, SimpleHasher, Version,
    proof::SparseMerkleProof,
    storage::{LeafNode, Node, NodeBatch, NodeKey, TreeReader},
};
use lct::{Digest, hash::sha256};
use ledger::{
    proof::{Absence, StateProof},
    state::Writes,
};
use redb::ReadableTable;
use sha2::Digest as _;

/// SHA-256 of the workspace's generation: `jmt` itself is built on an older `digest`.
pub(crate) struct Sha256(sha2::Sha256);

impl SimpleHasher for Sha256 {
    fn new() -> Self {
        Self(sha2::Sha256::new())
    }
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
    fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Reads nodes from a table below a batch of new ones.
struct Nodes<'a, T> {
    table: &'a T,
    fresh: &'a BTreeMap<NodeKey, Node>,
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> TreeReader for Nodes<'_, T> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        if let Some(node) = self.fresh.get(key) {
            return Ok(Some(node.clone()));
        }
        let stored = self.table.get(borsh::to_vec(key)?.as_slice())?;
        stored.map(|bytes| Ok(borsh::from_slice(bytes.value())?)).transpose()
    }

    /// The tree asks for values only to return them beside a proof, which nobody here reads.
    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(Some(OwnedValue::new()))
    }

    /// Needed only to restore a tree from a snapshot of another store.
    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        Err(anyhow!("this store does not restore trees"))
    }
}

/// A change of the tree that is not stored yet.
pub(crate) struct Update {
    /// The version it makes.
    pub version: Version,
    /// Root after it.
    pub root: Digest,
    /// New nodes.
    nodes: NodeBatch,
    /// Nodes that no version from `version` on refers to: their stored keys.
    pub stale: Vec<Vec<u8>>,
}

impl Update {
    /// Computes the tree of `version` from that of `version - 1` and `writes`, which must not be empty.
    pub fn compute(
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        version: Version,
        writes: &Writes,
    ) -> anyhow::Result<Self> {
        let none = BTreeMap::new();
        let nodes = Nodes { table, fresh: &none };
        let tree = JellyfishMerkleTree::<_, Sha256>::new(&nodes);
        let hashed = |key: &Vec<u8>| KeyHash(sha256(&[key]));
        let (root, batch) = if writes.values().all(Option::is_some) {
            // All at once, so that a node above many of them is hashed once.
            let puts = writes.iter().filter_map(|(key, value)| Some((hashed(key), value.clone()?))).collect();
            let (roots, batch) = tree.batch_put_value_sets(vec![puts], None, version)?;
            (*roots.first().ok_or_else(|| anyhow!("the tree has no root"))?, batch)
        } else {
            // What deletes can only be done key by key.
            tree.put_value_set(writes.iter().map(|(key, value)| (hashed(key), value.clone())), version)?
        };
        let stale = batch.stale_node_index_batch.iter();
        Ok(Self {
            version,
            root: root.0,
            stale: stale.map(|s| borsh::to_vec(&s.node_key)).collect::<Result<_, _>>()?,
            nodes: batch.node_batch,
        })
    }

    /// New nodes as stored: key and value.
    pub fn encoded(&self) -> impl Iterator<Item = std::io::Result<(Vec<u8>, Vec<u8>)>> {
        self.nodes.nodes().iter().map(|(key, node)| Ok((borsh::to_vec(key)?, borsh::to_vec(node)?)))
    }

    /// Proves that the state after this update holds `value` under `key`.
    pub fn prove(
        &self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        key: &[u8],
        value: Vec<u8>,
    ) -> anyhow::Result<StateProof> {
        prove_in(&Nodes { table, fresh: self.nodes.nodes() }, self.version, &self.root, key, value)
    }
}

/// Proves that the stored state of `version`, which has `root`, holds `value` under `key`.
pub(crate) fn prove(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    version: Version,
    root: &Digest,
    key: &[u8],
    value: Vec<u8>,
) -> anyhow::Result<StateProof> {
    prove_in(&Nodes { table, fresh: &BTreeMap::new() }, version, root, key, value)
}

/// Proves that the stored state of `version`, which has `root`, holds nothing under `key`.
pub(crate) fn prove_absent(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    version: Version,
    root: &Digest,
    key: &[u8],
) -> anyhow::Result<Absence> {
    let fresh = BTreeMap::new();
    let nodes = Nodes { table, fresh: &fresh };
    let tree = JellyfishMerkleTree::<_, Sha256>::new(&nodes);
    let (_, proof) = tree.get_with_proof(KeyHash(sha256(&[key])), version)?;
    let (other, siblings) = parts(&proof)?;
    let proof = Absence { key: key.into(), other, siblings };
    if proof.leads_to(root) { Ok(proof) } else { Err(anyhow!("the tree proves another state")) }
}

fn prove_in(
    nodes: &impl TreeReader,
    version: Version,
    root: &Digest,
    key: &[u8],
    value: Vec<u8>,
) -> anyhow::Result<StateProof> {
    let tree = JellyfishMerkleTree::<_, Sha256>::new(nodes);
    let (_, proof) = tree.get_with_proof(KeyHash(sha256(&[key])), version)?;
    let proof = StateProof { key: key.into(), value, siblings: parts(&proof)?.1 };
    if proof.leads_to(root) { Ok(proof) } else { Err(anyhow!("the tree proves another state")) }
}

/// Where a proof ends, and the siblings from there up.
type Parts = (Option<(Digest, Digest)>, Vec<Digest>);

/// Hashes of key and value of the leaf that a proof ends at, and the siblings from there up.
///
/// `jmt` keeps them private but serialises them: option of leaf (1 + 64 bytes), then a u32 count, then per
/// sibling a tag (0 none, 1 node, 2 leaf) and for the latter two the 64 bytes that are hashed.
fn parts(proof: &SparseMerkleProof<Sha256>) -> anyhow::Result<Parts> {
    type Shape = (Option<(Digest, Digest)>, Vec<Sibling>);
    #[derive(borsh::BorshDeserialize)]
    enum Sibling {
        None,
        Node([Digest; 2]),
        Leaf([Digest; 2]),
    }
    let (leaf, siblings): Shape = borsh::from_slice(&borsh::to_vec(proof)?)?;
    let hash = |s| match s {
        Sibling::None => *b"SPARSE_MERKLE_PLACEHOLDER_HASH__",
        Sibling::Node([l, r]) => sha256(&[jmt::proof::INTERNAL_DOMAIN_SEPARATOR, &l, &r]),
        Sibling::Leaf([k, v]) => sha256(&[jmt::proof::LEAF_DOMAIN_SEPARATOR, &k, &v]),
    };
    Ok((leaf, siblings.into_iter().map(hash).collect()))
}

#[cfg(test)]
mod tests {
    use rand_chacha::{
        ChaCha20Rng,
        rand_core::{Rng, SeedableRng},
    };
    use redb::{Database, ReadableDatabase, TableDefinition, backends::InMemoryBackend};

    use super::*;

    const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("nodes");

    /// New nodes and stale ones of an update, as they are stored.
    type Stored = (Digest, BTreeMap<Vec<u8>, Vec<u8>>, Vec<Vec<u8>>);

    fn stored(update: &Update) -> Stored {
        (update.root, update.encoded().map(Result::unwrap).collect(), update.stale.clone())
    }

    /// The same update, made key by key.
    fn one_by_one(
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        version: Version,
        writes: &Writes,
    ) -> Update {
        let none = BTreeMap::new();
        let nodes = Nodes { table, fresh: &none };
        let values = writes.iter().map(|(key, value)| (KeyHash(sha256(&[key])), value.clone()));
        let tree = JellyfishMerkleTree::<_, Sha256>::new(&nodes);
        let (root, batch) = tree.put_value_set(values, version).unwrap();
        let stale = batch.stale_node_index_batch.iter();
        let stale = stale.map(|s| borsh::to_vec(&s.node_key).unwrap()).collect();
        Update { version, root: root.0, stale, nodes: batch.node_batch }
    }

    /// A ledger that made its tree key by key goes on with the same roots, nodes and stale nodes: from the empty tree, over keys
    /// that are new, written again, written with what they hold, deleted, and deleted without having been there.
    #[test]
    fn a_tree_made_at_once_is_the_one_made_key_by_key() {
        let (mut puts, mut deletions) = (0, 0);
        for seed in 0..12 {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            let txn = db.begin_write().unwrap();
            txn.open_table(TABLE).unwrap();
            txn.commit().unwrap();
            let mut state: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for version in 0..40 {
                let mut writes = Writes::new();
                for _ in 0..=rng.next_u32() % 60 {
                    let key = (rng.next_u32() % 150).to_be_bytes().to_vec();
                    let deletes = version % 4 == 3 && rng.next_u32() % 3 == 0;
                    let value = (!deletes).then(|| vec![(rng.next_u32() % 3) as u8]);
                    writes.insert(key, value);
                }
                let update = {
                    let read = db.begin_read().unwrap();
                    let table = read.open_table(TABLE).unwrap();
                    let update = Update::compute(&table, version, &writes).unwrap();
                    assert_eq!(
                        stored(&update),
                        stored(&one_by_one(&table, version, &writes)),
                        "{seed}, {version}"
                    );
                    update
                };
                for (key, value) in &writes {
                    match value {
                        Some(value) => drop(state.insert(key.clone(), value.clone())),
                        None => drop(state.remove(key)),
                    }
                }
                if writes.values().all(Option::is_some) {
                    puts += 1
                } else {
                    deletions += 1
                }
                let txn = db.begin_write().unwrap();
                {
                    let mut table = txn.open_table(TABLE).unwrap();
                    for (key, value) in update.encoded().map(Result::unwrap) {
                        table.insert(key.as_slice(), value.as_slice()).unwrap();
                    }
                    for key in &update.stale {
                        assert!(table.remove(key.as_slice()).unwrap().is_some(), "what is stale was there");
                    }
                }
                txn.commit().unwrap();
                let read = db.begin_read().unwrap();
                let table = read.open_table(TABLE).unwrap();
                for (key, value) in &state {
                    prove(&table, version, &update.root, key, value.clone()).unwrap();
                }
            }
        }
        println!("{puts} updates at once, {deletions} key by key");
        assert!(puts > 300 && deletions > 80);
    }
}
