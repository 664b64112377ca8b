//! Data of earlier and of later builds: a database of another layout is refused and left alone, and so is what else is newer (L257).
//! Record files of version 1 are in `segments.rs`.

use crate::world;

use std::{fs, path::Path, sync::Arc};

use lct::id::Role;
use ledger::genesis::Genesis;
use node::{
    Chain, Error, ReadOnly,
    engine::solo::Solo,
    segments::{Entry, StoredBatch},
};
use redb::{Database, TableDefinition};
use world::*;

const CLOCK: u64 = START_MS + 600_000;
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// A ledger with blocks and records, closed.
fn ledger(dir: &Path) {
    let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let statement = batch_statement("module-1", 0, 5);
    let entries = records("module-1", 0, 5).into_iter().map(Entry::Record).collect();
    chain.append(&[StoredBatch { statement: batch_bytes(&statement), entries }]).unwrap();
    for (nonce, id) in (1..).zip(["pack-1", "module-1", "module-2"]) {
        let role = if nonce == 1 { Role::Pack } else { Role::Module };
        chain.submit(tx(&key("authority"), nonce, register(id, role))).unwrap();
        engine.cut(CLOCK).unwrap();
    }
    engine.drain(|| CLOCK).unwrap();
}

#[test]
fn a_ledger_of_another_build_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    ledger(dir);
    for (version, whose) in [(1_u32, "an earlier build"), (99, "a later build")] {
        {
            let db = Database::open(dir.join("ledger.redb")).unwrap();
            let txn = db.begin_write().unwrap();
            txn.open_table(META).unwrap().insert("format", version.to_be_bytes().as_slice()).unwrap();
            txn.commit().unwrap();
        }
        let other = fs::read(dir.join("ledger.redb")).unwrap();
        let refused = |genesis: &Genesis| Chain::open(dir, genesis).err().unwrap();
        for error in [refused(&genesis()), ReadOnly::open(dir, None).err().unwrap()] {
            assert!(matches!(error, Error::FormatVersion { found, .. } if found == version), "{error}");
            let said = format!("ledger.redb has format version {version}, that of {whose}");
            assert!(error.to_string().contains(&said), "{error}");
            assert!(fs::read(dir.join("ledger.redb")).unwrap() == other, "it was changed");
        }
    }
    // Record files of a later one likewise.
    let file = dir.join("segments/segment-00000001");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4] = 3;
    fs::write(&file, &bytes).unwrap();
    let segments = node::segments::Segments::open(&dir.join("segments"), chain_id());
    assert!(segments.unwrap_err().to_string().contains("format version is not known"));
    assert_eq!(fs::read(&file).unwrap(), bytes);
}
