//! The database file: tables, opening, and the one transaction that stores a block (`spec/ledger.md`, L92).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use lct::Digest;
use ledger::{
    anchor::Handover,
    block::{Block, Certificate},
    codec::{Canonical, FormatError, Reader, Writer},
    excerpt::Found,
    execute::{Outcome, Tip, genesis_writes},
    genesis::Genesis,
    history,
    proof::StateProof,
    state::{Halt, View, Writes},
    tx::TxId,
};
use redb::{
    Database, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, WriteTransaction,
};

use crate::{
    cores,
    error::{Error, hex},
    tree::{self, Update},
};

type Bytes = &'static [u8];

pub(crate) const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
pub(crate) const BLOCKS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("blocks");
pub(crate) const CERTIFICATES: TableDefinition<'_, u64, Bytes> = TableDefinition::new("certificates");
pub(crate) const RESULTS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("results");
pub(crate) const STATE: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("state");
const NODES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("tree nodes");
const STALE: TableDefinition<'_, (u64, Bytes), ()> = TableDefinition::new("stale tree nodes");
pub(crate) const TXS: TableDefinition<'_, Bytes, (u64, u32)> = TableDefinition::new("transaction index");
pub(crate) const EVENTS: TableDefinition<'_, (u64, u32, u32), Bytes> = TableDefinition::new("events");
pub(crate) const EVIDENCE: TableDefinition<'_, (u64, Bytes), Bytes> = TableDefinition::new("evidence");
pub(crate) const HANDOVERS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("handovers");
/// Of the last heights what each block found under the keys that it wrote: nothing, or 1 and the value.
pub(crate) const BEFORE: TableDefinition<'_, (u64, Bytes), Bytes> = TableDefinition::new("values before");
/// Of the last heights the version of the state tree after each.
pub(crate) const VERSIONS: TableDefinition<'_, u64, u64> = TableDefinition::new("tree versions");
/// Complete subtrees of the tree of blocks, by level and index (L170).
pub(crate) const HISTORY: TableDefinition<'_, (u8, u64), Bytes> = TableDefinition::new("tree of blocks");

/// Version of the database's layout.
const FORMAT: u32 = 2;
/// While blocks are replayed, how many there are from one sync of the disk to the next.
const RELAXED: u64 = 256;
/// Name of the header of the block whose state a ledger was founded with, where that is not the genesis.
pub(crate) const BASE: &str = "base";
/// How many versions of the state tree keep their nodes, and how many heights can be asked about (L167).
pub(crate) const KEEP_VERSIONS: u64 = 100;
/// Fewest proofs that are worth a thread.
const LEAST: usize = 32;
const CACHE_BYTES: usize = 64 << 20;
const FILE: &str = "ledger.redb";
/// Name of a database whose ledger is not founded yet.
const PART: &str = "ledger.part";

/// The tip and the version of the state tree, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub tip: Tip,
    pub tree_version: u64,
}

impl Canonical for Head {
    fn write(&self, w: &mut Writer) {
        let t = &self.tip;
        w.object(9, 1).uint(1).bytes(&t.chain_id).uint(2).uint(t.height).uint(3).bytes(&t.block_id);
        w.uint(4).uint(t.time_ms).uint(5).bytes(&t.state_root).uint(6).bytes(&t.result_root);
        w.uint(7).uint(t.tx_count.into()).uint(8).uint(self.tree_version);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(9, 1)?;
        let digest = |r: &mut Reader<'_>, key| r.key(key).and_then(|()| r.fixed());
        let uint = |r: &mut Reader<'_>, key| r.key(key).and_then(|()| r.uint());
        let tip = Tip {
            chain_id: digest(r, 1)?,
            height: uint(r, 2)?,
            block_id: digest(r, 3)?,
            time_ms: uint(r, 4)?,
            state_root: digest(r, 5)?,
            result_root: digest(r, 6)?,
            tx_count: u32::try_from(uint(r, 7)?).map_err(|_| FormatError::Unexpected)?,
        };
        Ok(Self { tip, tree_version: uint(r, 8)? })
    }
}

/// A list of byte strings: the results of a block.
pub(crate) struct Blobs(pub Vec<Vec<u8>>);

impl Canonical for Blobs {
    fn write(&self, w: &mut Writer) {
        w.object(2, 1).uint(1).array(self.0.len());
        for blob in &self.0 {
            w.bytes(blob);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(2, 1)?;
        r.key(1)?;
        let n = r.array(usize::MAX)?;
        (0..n).map(|_| Ok(r.bytes(usize::MAX)?.to_vec())).collect::<Result<_, FormatError>>().map(Self)
    }
}

enum Handle {
    Write(Database),
    Read(ReadOnlyDatabase),
}

/// What was committed by a moment. To begin with takes longer than to read something in it.
pub(crate) struct Committed {
    pub txn: ReadTransaction,
    pub state: ReadOnlyTable<Bytes, Bytes>,
    pub head: Head,
}

/// The open database.
pub(crate) struct Store {
    /// What somebody began to read since the last change. It goes before the database does.
    committed: RwLock<Option<Arc<Committed>>>,
    handle: Handle,
    path: PathBuf,
    /// Blocks are replayed from elsewhere: not every one waits for the disk.
    relaxed: bool,
}

/// The state table of one read transaction.
pub(crate) struct StateTable<'a>(pub &'a ReadOnlyTable<Bytes, Bytes>);

impl View for StateTable<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        let value = self.0.get(key).map_err(|e| Halt::Store(e.to_string()))?;
        Ok(value.map(|v| v.value().to_vec()))
    }
}

impl Store {
    fn over(handle: Handle, path: PathBuf) -> Self {
        Self { committed: RwLock::default(), handle, path, relaxed: false }
    }

    /// Opens the ledger in `dir` or founds it with `genesis`.
    pub fn open(dir: &Path, genesis: &Genesis) -> Result<(Self, Head), Error> {
        genesis.check()?;
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join(FILE);
        if !path.exists() {
            Self::create(dir, genesis)?;
        }
        let (db, identity) = file::open(&path, CACHE_BYTES, |txn| identity(&txn, &path))?;
        let store = Self::over(Handle::Write(db), path);
        let Some((chain_id, head)) = identity else {
            return Err(store.damaged("it has no genesis"));
        };
        let expected = genesis.chain_id();
        if chain_id != expected {
            let (found, expected) = (hex(&chain_id), hex(&expected));
            return Err(Error::OtherChain { path: dir.into(), found, expected });
        }
        if !store.is_indexed()? {
            store.make_indexes()?;
        }
        Ok((store, head))
    }

    /// Whether `dir` holds a ledger.
    pub fn is_founded(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// Founds a ledger. It appears under its name only when it is whole: a database that a crash left half made cannot be
    /// opened.
    fn create(dir: &Path, genesis: &Genesis) -> Result<(), Error> {
        Self::create_part(dir)?.found(genesis)?;
        name_whole(dir)
    }

    /// An empty database under the name of one that is not founded yet.
    fn create_part(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(PART);
        crate::segments::remove(&path)?;
        let db = Database::builder().create(&path).map_err(|e| Error::store(&path, e))?;
        Ok(Self::over(Handle::Write(db), path))
    }

    /// Blocks that follow are replayed: what a crash takes of them is replayed again.
    pub fn relax(&mut self) {
        self.relaxed = true;
    }

    /// Makes all blocks durable.
    pub fn settle(&self) -> Result<(), Error> {
        self.write(|_| Ok(()))
    }

    /// Makes a change durable. It writes down which pages are free, so that a start after a crash need not walk over all of the
    /// database to find out (L261).
    fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), Error> {
        let Handle::Write(db) = &self.handle else {
            return Err(Error::Missing(self.path.clone()));
        };
        let write = || -> Result<(), redb::Error> {
            let mut txn = db.begin_write()?;
            txn.set_quick_repair(true);
            change(&txn)?;
            txn.commit()?;
            Ok(())
        };
        self.written(write())
    }

    /// What a write came to. What was read before it is forgotten either way, for it may have been committed.
    fn written(&self, written: Result<(), redb::Error>) -> Result<(), Error> {
        self.changed();
        written.map_err(|e| self.fail(e))
    }

    /// Opens the ledger in `dir` for reading. A ledger that was not closed is repaired first; one without indexes of its last
    /// block is refused.
    pub fn open_read_only(dir: &Path) -> Result<(Self, Head), Error> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(Error::Missing(dir.into()));
        }
        let store = Self::over(Handle::Read(file::read_only(&path)?), path);
        let head = file::guarded(&store.path, || store.identity())?.ok_or(Error::Missing(dir.into()))?.1;
        if store.is_indexed()? { Ok((store, head)) } else { Err(Error::Unindexed(store.path)) }
    }

    /// Names the file in an error of the database.
    pub fn fail(&self, error: impl Into<redb::Error>) -> Error {
        Error::store(&self.path, error)
    }

    pub fn damaged(&self, what: impl ToString) -> Error {
        Error::corrupted(&self.path, what)
    }

    /// A consistent view of everything committed.
    pub fn begin_read(&self) -> Result<ReadTransaction, Error> {
        match &self.handle {
            Handle::Write(db) => db.begin_read(),
            Handle::Read(db) => db.begin_read(),
        }
        .map_err(|e| self.fail(e))
    }

    /// The same view for all who ask until something else is committed.
    pub fn committed(&self) -> Result<Arc<Committed>, Error> {
        if let Some(committed) = &*self.committed.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(committed));
        }
        // Begun while it is locked: whoever commits after this forgets it after that.
        let mut kept = self.committed.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(committed) = &*kept {
            return Ok(Arc::clone(committed));
        }
        let txn = self.begin_read()?;
        let state = txn.open_table(STATE).map_err(|e| self.fail(e))?;
        let head = self.head(&txn)?;
        Ok(Arc::clone(kept.insert(Arc::new(Committed { txn, state, head }))))
    }

    /// Something was committed, or may have been.
    fn changed(&self) {
        *self.committed.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn identity(&self) -> Result<Option<(Digest, Head)>, Error> {
        identity(&self.begin_read()?, &self.path)
    }

    /// The genesis the chain was founded with.
    pub fn genesis(&self) -> Result<Genesis, Error> {
        let txn = self.begin_read()?;
        let meta = txn.open_table(META).map_err(|e| self.fail(e))?;
        let bytes = meta.get("genesis").map_err(|e| self.fail(e))?;
        let bytes = bytes.ok_or_else(|| self.damaged("its genesis is missing"))?;
        Genesis::from_bytes(bytes.value()).map_err(|e| self.damaged(format!("its genesis: {e}")))
    }

    /// Stores the first state in an empty database.
    fn found(&self, genesis: &Genesis) -> Result<(), Error> {
        let writes = genesis_writes(genesis);
        self.write(|txn| {
            let mut nodes = txn.open_table(NODES)?;
            let update = Update::compute(&nodes, 0, &writes).map_err(index::unreadable)?;
            let head = Head { tip: Tip::genesis(genesis, update.root), tree_version: 0 };
            for node in update.encoded() {
                let (key, value) = node?;
                nodes.insert(key.as_slice(), value.as_slice())?;
            }
            let mut meta = txn.open_table(META)?;
            let entries: [(&str, &[u8]); 4] = [
                ("format", &FORMAT.to_be_bytes()),
                ("chain", &genesis.chain_id()),
                ("genesis", &genesis.to_bytes()),
                ("head", &head.to_bytes()),
            ];
            for (name, value) in entries {
                meta.insert(name, value)?;
            }
            put_state(&mut txn.open_table(STATE)?, &writes, |_, _| Ok(()))?;
            create_tables(txn)?;
            txn.open_table(VERSIONS)?.insert(0, 0)?;
            Ok(())
        })
    }

    /// The head as `txn` sees it.
    pub fn head(&self, txn: &ReadTransaction) -> Result<Head, Error> {
        let meta = txn.open_table(META).map_err(|e| self.fail(e))?;
        let bytes = meta.get("head").map_err(|e| self.fail(e))?;
        let bytes = bytes.ok_or_else(|| self.damaged("its head is missing"))?;
        Head::from_bytes(bytes.value()).map_err(|e| self.damaged(format!("its head: {e}")))
    }

    /// The tree after `writes`; `None` when there are none.
    pub fn tree_update(
        &self,
        txn: &ReadTransaction,
        head: &Head,
        writes: &Writes,
    ) -> Result<Option<Update>, Error> {
        if writes.is_empty() {
            return Ok(None);
        }
        let nodes = txn.open_table(NODES).map_err(|e| self.fail(e))?;
        Update::compute(&nodes, head.tree_version + 1, writes).map(Some).map_err(|e| self.damaged(e))
    }

    /// Proves `keys` in the state that `update` makes.
    pub fn prove(
        &self,
        txn: &ReadTransaction,
        update: &Update,
        state: &(impl View + Sync),
        keys: &[Vec<u8>],
    ) -> Result<Vec<StateProof>, Error> {
        let nodes = txn.open_table(NODES).map_err(|e| self.fail(e))?;
        let prove = |key: &Vec<u8>| {
            let value = state
                .get(key)?
                .ok_or(Halt::Invariant("an accepted transaction's key is not in the state"))?;
            update.prove(&nodes, key, value).map_err(|e| self.damaged(e))
        };
        cores::map(keys, LEAST, prove).into_iter().collect()
    }

    /// Proves in the state of `head` that it holds `value` under `key`.
    pub fn prove_at(
        &self,
        txn: &ReadTransaction,
        head: &Head,
        key: &[u8],
        value: Vec<u8>,
    ) -> Result<StateProof, Error> {
        let nodes = txn.open_table(NODES).map_err(|e| self.fail(e))?;
        tree::prove(&nodes, head.tree_version, &head.tip.state_root, key, value).map_err(|e| self.damaged(e))
    }

    /// Proves that the state of `version`, which has `root`, holds `value` under `key`, or nothing.
    pub fn prove_found(
        &self,
        txn: &ReadTransaction,
        version: u64,
        root: &Digest,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) -> Result<Found, Error> {
        let nodes = txn.open_table(NODES).map_err(|e| self.fail(e))?;
        match value {
            Some(value) => tree::prove(&nodes, version, root, key, value).map(Found::Present),
            None => tree::prove_absent(&nodes, version, root, key).map(Found::Absent),
        }
        .map_err(|e| self.damaged(e))
    }

    /// Stores a block and all it did, durably, in one transaction.
    pub fn store_block(&self, new: &NewBlock<'_>) -> Result<(), Error> {
        let Handle::Write(db) = &self.handle else {
            return Err(Error::Missing(self.path.clone()));
        };
        let write = || -> Result<(), redb::Error> {
            let mut txn = db.begin_write()?;
            let height = new.head.tip.height;
            if self.relaxed && !height.is_multiple_of(RELAXED) {
                txn.set_durability(redb::Durability::None)?;
            } else {
                // As in `write`.
                txn.set_quick_repair(true);
            }
            {
                txn.open_table(BLOCKS)?.insert(height, new.block.to_bytes().as_slice())?;
                txn.open_table(CERTIFICATES)?.insert(height, new.certificate.to_bytes().as_slice())?;
                let results = Blobs(new.outcome.results.iter().map(Canonical::to_bytes).collect());
                txn.open_table(RESULTS)?.insert(height, results.to_bytes().as_slice())?;
                let mut before = txn.open_table(BEFORE)?;
                put_state(&mut txn.open_table(STATE)?, &new.outcome.writes, |key, old| {
                    let old = old.map_or(vec![], |value| [&[1], value].concat());
                    before.insert((height, key), old.as_slice()).map(|_| ())
                })?;
                let mut versions = txn.open_table(VERSIONS)?;
                versions.insert(height, new.head.tree_version)?;
                let oldest = height.saturating_sub(KEEP_VERSIONS);
                before.retain_in::<(u64, &[u8]), _>(..(oldest + 1, &[][..]), |_, _| false)?;
                versions.retain_in(..oldest, |_, _| false)?;
                put_history(&mut txn.open_table(HISTORY)?, height, &new.head.tip.block_id)?;
                index::follow(&txn, &new.outcome.writes)?;
                index::forget(&txn, new.head.tip.time_ms, oldest)?;
                changes::follow(&txn, height, &new.outcome.noted)?;
                if let Some(update) = new.update {
                    put_tree(&txn, update)?;
                }
                let mut txs = txn.open_table(TXS)?;
                let mut events = txn.open_table(EVENTS)?;
                let ids = new.ids.iter().zip(&new.outcome.results).zip(0..);
                // In the order of the table, so that a page of it is looked for once; those of one id stay as they came.
                let mut sorted: Vec<_> = ids.map(|((id, result), i)| (id, i, result)).collect();
                sorted.sort_by_key(|(id, ..)| *id);
                for (id, i, result) in sorted {
                    // A transaction can be refused (say, a nonce too early) and later be accepted: that one counts.
                    if result.accepted() || txs.get(id.as_slice())?.is_none() {
                        txs.insert(id.as_slice(), (height, i))?;
                    }
                }
                for (i, result) in (0..).zip(&new.outcome.results) {
                    for (n, event) in (0..).zip(&result.events) {
                        events.insert((height, i, n), event.to_bytes().as_slice())?;
                    }
                }
                let mut evidence = txn.open_table(EVIDENCE)?;
                for proof in new.evidence {
                    evidence.insert((height, proof.key.as_slice()), proof.to_bytes().as_slice())?;
                }
                if let Some(handover) = new.handover {
                    txn.open_table(HANDOVERS)?.insert(height, handover.to_bytes().as_slice())?;
                }
                let mut meta = txn.open_table(META)?;
                index::advance(&mut meta, height)?;
                meta.insert("head", new.head.to_bytes().as_slice())?;
            }
            txn.commit()?;
            Ok(())
        };
        self.written(write())
    }
}

/// Chain id and head of the ledger at `path`; `None` for a file that was created but never founded.
fn identity(txn: &ReadTransaction, path: &Path) -> Result<Option<(Digest, Head)>, Error> {
    let fail = |e: redb::Error| Error::store(path, e);
    let damaged = |what: String| Error::corrupted(path, what);
    let meta = match txn.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other.map_err(|e| fail(e.into()))?,
    };
    let read = |name: &str| -> Result<Vec<u8>, Error> {
        let value = meta.get(name).map_err(|e| fail(e.into()))?;
        value.map(|v| v.value().to_vec()).ok_or_else(|| damaged(format!("its {name} is missing")))
    };
    let format =
        read("format")?.try_into().map_err(|_| damaged("its format version is unreadable".into()))?;
    let found = u32::from_be_bytes(format);
    if found != FORMAT {
        return Err(Error::FormatVersion { path: path.into(), found, known: FORMAT });
    }
    let chain_id = read("chain")?.try_into().map_err(|_| damaged("its chain id is unreadable".into()))?;
    let head = Head::from_bytes(&read("head")?).map_err(|e| damaged(format!("its head: {e}")))?;
    Ok(Some((chain_id, head)))
}

/// A block to be stored and everything derived from it.
pub(crate) struct NewBlock<'a> {
    pub block: &'a Block,
    /// Identities of its transactions, in order.
    pub ids: &'a [TxId],
    pub certificate: &'a Certificate,
    pub outcome: &'a Outcome,
    pub update: Option<&'a Update>,
    pub evidence: &'a [StateProof],
    pub handover: Option<&'a Handover>,
    pub head: Head,
}

/// Gives a database that is founded its name.
fn name_whole(dir: &Path) -> Result<(), Error> {
    let (path, complete) = (dir.join(PART), dir.join(FILE));
    fs::rename(&path, &complete).map_err(|e| Error::io(&path, e))?;
    #[cfg(unix)]
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(dir, e))?;
    Ok(())
}

/// Every table exists from the start, so that readers need not tell "empty" from "absent".
fn create_tables(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(BLOCKS)?;
    txn.open_table(CERTIFICATES)?;
    txn.open_table(RESULTS)?;
    txn.open_table(STALE)?;
    txn.open_table(TXS)?;
    txn.open_table(EVENTS)?;
    txn.open_table(EVIDENCE)?;
    txn.open_table(HANDOVERS)?;
    txn.open_table(BEFORE)?;
    txn.open_table(VERSIONS)?;
    txn.open_table(HISTORY)?;
    Ok(())
}

/// Stores the writes of a block; `replaced` gets each key with what was under it.
fn put_state(
    table: &mut redb::Table<'_, Bytes, Bytes>,
    writes: &Writes,
    mut replaced: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), redb::StorageError>,
) -> Result<(), redb::StorageError> {
    for (key, value) in writes {
        let old = match value {
            Some(value) => table.insert(key.as_slice(), value.as_slice())?,
            None => table.remove(key.as_slice())?,
        };
        replaced(key, old.as_ref().map(|old| old.value()))?;
    }
    Ok(())
}

/// Appends a block to the tree of blocks.
fn put_history(
    table: &mut redb::Table<'_, (u8, u64), Bytes>,
    height: u64,
    block_id: &Digest,
) -> Result<(), redb::Error> {
    let mut fresh = Vec::new();
    let get = |level, index| subtree(table, level, index);
    history::append(height, block_id, get, |level, index, node: &Digest| {
        fresh.push(((level, index), *node));
        Ok::<_, redb::Error>(())
    })?;
    for (at, node) in fresh {
        table.insert(at, node.as_slice())?;
    }
    Ok(())
}

/// A complete subtree of the tree of blocks.
pub(crate) fn subtree(
    table: &impl ReadableTable<(u8, u64), Bytes>,
    level: u8,
    index: u64,
) -> Result<Digest, redb::Error> {
    let stored = table.get((level, index))?;
    let node = stored.and_then(|node| node.value().try_into().ok());
    node.ok_or_else(|| redb::Error::Corrupted("the tree of blocks has a hole".into()))
}

/// Stores new nodes, remembers which became stale, and deletes those stale for long enough.
fn put_tree(txn: &WriteTransaction, update: &Update) -> Result<(), redb::Error> {
    let mut nodes = txn.open_table(NODES)?;
    for node in update.encoded() {
        let (key, value) = node?;
        nodes.insert(key.as_slice(), value.as_slice())?;
    }
    let mut stale = txn.open_table(STALE)?;
    for key in &update.stale {
        stale.insert((update.version, key.as_slice()), ())?;
    }
    let oldest = update.version.saturating_sub(KEEP_VERSIONS);
    let mut gone = Vec::new();
    for entry in stale.range::<(u64, &[u8])>(..(oldest, &[][..]))? {
        let (at, _) = entry?;
        let (version, key) = at.value();
        gone.push((version, key.to_vec()));
    }
    for (version, key) in gone {
        nodes.remove(key.as_slice())?;
        stale.remove((version, key.as_slice()))?;
    }
    Ok(())
}

mod changes;
pub(crate) mod file;
mod founding;
mod index;
#[cfg(test)]
pub(crate) mod power;
mod prune;

pub(crate) use changes::CHANGES;
pub(crate) use founding::Founding;
pub(crate) use index::{MARKET, SIDES};

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{
        block::Header,
        genesis::{Params, Validator},
    };

    pub(super) fn genesis() -> Genesis {
        let seed = lct::hash::sha256(&[b"a"]);
        let authority = lct::sign::SigningKey::from_bytes(&seed).unwrap().public();
        Genesis {
            name: "prune".into(),
            time_ms: 1,
            validators: vec![Validator { key: validator(), power: 1 }],
            roots: vec![],
            authorities: vec![authority],
            operators: vec![],
            params: Params::default(),
            accounts: vec![],
            rules: 1,
        }
    }

    fn validator() -> [u8; 32] {
        ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes()
    }

    /// One of sixteen keys, and what block `height` writes under it.
    pub(super) fn written(height: u64) -> (Vec<u8>, Vec<u8>) {
        (vec![(height % 16) as u8], height.to_be_bytes().to_vec())
    }

    /// Stores a block whose only effect is one write, without the rules of crate `ledger`.
    pub(super) fn store_next(store: &Store, head: &Head) -> Result<Head, Error> {
        let (key, value) = written(head.tip.height + 1);
        store_writes(store, head, Writes::from([(key, Some(value))]))
    }

    /// Likewise one with these effects.
    pub(super) fn store_writes(store: &Store, head: &Head, writes: Writes) -> Result<Head, Error> {
        let height = head.tip.height + 1;
        let header = Header { height, ..head.tip.next_block(height, validator(), vec![]).header };
        let block = Block { header, txs: vec![] };
        let txn = store.begin_read()?;
        let update = store.tree_update(&txn, head, &writes)?.unwrap();
        drop(txn);
        let outcome = Outcome { writes, results: vec![], result_root: [0; 32], noted: vec![] };
        let head = Head { tip: Tip::after(&block, &outcome, update.root), tree_version: update.version };
        let new = NewBlock {
            block: &block,
            ids: &[],
            certificate: &Certificate { signatures: vec![] },
            outcome: &outcome,
            update: Some(&update),
            evidence: &[],
            handover: None,
            head,
        };
        store.store_block(&new).map(|()| head)
    }

    #[test]
    fn stale_tree_nodes_are_deleted_and_the_tree_still_grows() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut head) = Store::open(dir.path(), &genesis()).unwrap();
        let count = |store: &Store| {
            let txn = store.begin_read().unwrap();
            let nodes = txn.open_table(NODES).unwrap();
            let stale = txn.open_table(STALE).unwrap();
            let oldest = stale.first().unwrap().map_or(0, |(k, _)| k.value().0);
            (redb::ReadableTableMetadata::len(&nodes).unwrap(), oldest)
        };
        let mut sizes = Vec::new();
        for _ in 0..400 {
            // A tree that keeps everything grows by several nodes a block.
            head = store_next(&store, &head).unwrap();
            sizes.push(count(&store));
        }
        let (nodes, oldest) = sizes[399];
        assert_eq!(oldest, 400 - KEEP_VERSIONS);
        let later = sizes[250..].iter().map(|s| s.0);
        assert!(later.clone().max() <= later.min().map(|n| n + 16), "it no longer grows: {nodes}");
        drop(store);
        assert_eq!(Store::open(dir.path(), &genesis()).unwrap().1, head);
    }
}
