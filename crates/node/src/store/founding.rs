//! Founding a ledger with a state that another replica had, instead of the genesis' own.

use std::path::Path;

use lct::Digest;
use ledger::{
    anchor::Handover,
    block::Header,
    codec::Canonical,
    execute::Tip,
    genesis::{Genesis, ValidatorSet},
    history,
    records::key,
    state::{Writes, load},
};
use redb::Durability;

use super::{
    BASE, Error, FILE, FORMAT, HANDOVERS, HISTORY, Handle, Head, META, NODES, STATE, StateTable, Store,
    VERSIONS, create_tables, name_whole, put_state, subtree,
};
use crate::tree::Update;

/// A ledger that is being founded. It appears under its name when it is whole.
pub(crate) struct Founding {
    store: Store,
    genesis: Genesis,
    leaves: u64,
    last_leaf: Option<Digest>,
    /// Version of the tree that the next entries make, and root of the one before.
    version: u64,
    root: Option<Digest>,
}

impl Store {
    /// Begins to found a ledger in `dir`.
    pub fn begin(dir: &Path, genesis: &Genesis) -> Result<Founding, Error> {
        genesis.check()?;
        let store = Self::create_part(dir)?;
        let (leaves, last_leaf, version, root) = (0, None, 0, None);
        Ok(Founding { store, genesis: genesis.clone(), leaves, last_leaf, version, root })
    }

    /// The validators of the next block.
    pub fn validators(&self) -> Result<ValidatorSet, Error> {
        let txn = self.begin_read()?;
        let state = txn.open_table(STATE).map_err(|e| self.fail(e))?;
        load(&StateTable(&state), key::VALIDATORS)?.ok_or_else(|| self.damaged("it has no validators"))
    }
}

impl Founding {
    /// Leaves of the tree of blocks so far.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The last of them.
    pub fn last_leaf(&self) -> Option<Digest> {
        self.last_leaf
    }

    /// One step, which is made durable by the last one.
    fn write(
        &self,
        durability: Durability,
        step: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        let Handle::Write(db) = &self.store.handle else {
            return Err(Error::Missing(self.store.path.clone()));
        };
        let write = || -> Result<(), redb::Error> {
            let mut txn = db.begin_write()?;
            txn.set_durability(durability)?;
            txn.set_quick_repair(matches!(durability, Durability::Immediate));
            step(&txn)?;
            txn.commit()?;
            Ok(())
        };
        self.store.written(write())
    }

    /// Appends leaves to the tree of blocks.
    pub fn put_leaves(&mut self, leaves: &[Digest]) -> Result<(), Error> {
        let first = self.leaves;
        self.write(Durability::None, |txn| {
            let mut table = txn.open_table(HISTORY)?;
            for (height, leaf) in (first + 1..).zip(leaves) {
                let mut fresh = Vec::new();
                let get = |level, index| subtree(&table, level, index);
                history::append_leaf(height, leaf, get, |level, index, node: &Digest| {
                    fresh.push(((level, index), *node));
                    Ok::<_, redb::Error>(())
                })?;
                for (at, node) in fresh {
                    table.insert(at, node.as_slice())?;
                }
            }
            Ok(())
        })?;
        self.leaves += leaves.len() as u64;
        self.last_leaf = leaves.last().copied().or(self.last_leaf);
        Ok(())
    }

    /// Puts entries into the state and its tree.
    pub fn put_entries(&mut self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Error> {
        let writes: Writes = entries.into_iter().map(|(key, value)| (key, Some(value))).collect();
        if writes.is_empty() {
            return Ok(());
        }
        let (version, mut root) = (self.version, None);
        self.write(Durability::None, |txn| {
            put_state(&mut txn.open_table(STATE)?, &writes, |_, _| Ok(()))?;
            let mut nodes = txn.open_table(NODES)?;
            let update = Update::compute(&nodes, version, &writes)
                .map_err(|e| redb::Error::Corrupted(e.to_string()))?;
            for node in update.encoded() {
                let (key, value) = node?;
                nodes.insert(key.as_slice(), value.as_slice())?;
            }
            // Nobody ever asks for the versions in between.
            for key in &update.stale {
                nodes.remove(key.as_slice())?;
            }
            root = Some(update.root);
            Ok(())
        })?;
        self.version += 1;
        self.root = root;
        Ok(())
    }

    /// Says which block the state is that of, and gives the ledger its name.
    pub fn finish(
        self,
        header: &Header,
        result_root: Digest,
        handovers: &[Handover],
    ) -> Result<Store, Error> {
        let state_root = self.root.ok_or_else(|| self.store.damaged("its state is empty"))?;
        let tip = Tip {
            chain_id: header.chain_id,
            height: header.height,
            block_id: header.id(),
            time_ms: header.time_ms,
            state_root,
            result_root,
            tx_count: header.tx_count,
        };
        let head = Head { tip, tree_version: self.version - 1 };
        self.write(Durability::Immediate, |txn| {
            create_tables(txn)?;
            txn.open_table(VERSIONS)?.insert(header.height, head.tree_version)?;
            let mut table = txn.open_table(HANDOVERS)?;
            for handover in handovers {
                table.insert(handover.header.height, handover.to_bytes().as_slice())?;
            }
            let mut meta = txn.open_table(META)?;
            let entries: [(&str, &[u8]); 5] = [
                ("format", &FORMAT.to_be_bytes()),
                ("chain", &self.genesis.chain_id()),
                ("genesis", &self.genesis.to_bytes()),
                (BASE, &header.to_bytes()),
                ("head", &head.to_bytes()),
            ];
            for (name, value) in entries {
                meta.insert(name, value)?;
            }
            Ok(())
        })?;
        let mut store = self.store;
        let dir = store.path.parent().map(Path::to_path_buf).unwrap_or_default();
        name_whole(&dir)?;
        store.path = dir.join(FILE);
        Ok(store)
    }
}
