//! Data of earlier and of later builds: what is older is opened or brought to this build's format, what is newer is left
//! alone (L257). Record files of version 1 are in `segments.rs`.

use crate::world;

use std::{fs, path::Path, sync::Arc};

use lct::{Digest, id::Role};
use ledger::{block::Block, codec::Canonical, genesis::Genesis};
use node::{
    Chain, Error, ReadOnly,
    engine::solo::Solo,
    segments::{Entry, StoredBatch},
};
use redb::{Database, TableDefinition};
use world::*;

const CLOCK: u64 = START_MS + 600_000;
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const CERTIFICATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("certificates");

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

/// The ledger in `dir` as a build with layout 1 left it: of what it stored only genesis, blocks and certificates say
/// anything that does not follow from them. `change` gets every block.
fn version_1(dir: &Path, chain_id: Digest, mut change: impl FnMut(&mut Block)) {
    let mut stored = Vec::new();
    {
        let ledger = ReadOnly::open(dir, None).unwrap();
        let snapshot = ledger.read().unwrap();
        for height in 1..=snapshot.tip().height {
            let mut block = snapshot.block(height).unwrap().unwrap();
            change(&mut block);
            let certificate = snapshot.certificate(height).unwrap().unwrap();
            stored.push((height, block.to_bytes(), certificate.to_bytes()));
        }
    }
    fs::remove_file(dir.join("ledger.redb")).unwrap();
    let db = Database::create(dir.join("ledger.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut meta = txn.open_table(META).unwrap();
        meta.insert("format", 1_u32.to_be_bytes().as_slice()).unwrap();
        meta.insert("chain", chain_id.as_slice()).unwrap();
        meta.insert("genesis", genesis().to_bytes().as_slice()).unwrap();
        let (mut blocks, mut certificates) =
            (txn.open_table(BLOCKS).unwrap(), txn.open_table(CERTIFICATES).unwrap());
        for (height, block, certificate) in &stored {
            blocks.insert(height, block.as_slice()).unwrap();
            certificates.insert(height, certificate.as_slice()).unwrap();
        }
    }
    txn.commit().unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_ledger_of_layout_1_gets_this_one() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("ledger");
    ledger(&dir);
    let before = Chain::open(&dir, &genesis()).unwrap();
    let (tip, status) = (before.tip(), before.status().unwrap());
    drop(before);
    version_1(&dir, chain_id(), |_| ());
    let old = fs::read(dir.join("ledger.redb")).unwrap();
    let refused = ReadOnly::open(&dir, None).err().unwrap().to_string();
    assert!(refused.contains("version 1") && refused.contains("when it is run"), "{refused}");
    // An attempt that was cut before left something of its own.
    fs::create_dir_all(dir.join("migrating")).unwrap();
    fs::write(dir.join("migrating/ledger.part"), "half").unwrap();
    fs::write(dir.join("ledger.version-1"), "half").unwrap();
    let chain = Arc::new(Chain::open(&dir, &genesis()).unwrap());
    assert_eq!((chain.tip(), chain.status().unwrap(), chain.stored().records), (tip, status, 5));
    let kept = fs::read(dir.join("ledger.version-1")).unwrap();
    assert_eq!(kept.len(), old.len(), "the old database stays beside it");
    assert_eq!(names(&dir), ["ledger.redb", "ledger.version-1", "segments"]);
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    chain.submit(tx(&key("authority"), 4, register("module-3", Role::Module))).unwrap();
    engine.cut(CLOCK).unwrap();
    drop((engine, chain));
    assert_eq!(Chain::open(&dir, &genesis()).unwrap().tip().height, tip.height + 1);
}

#[test]
fn a_ledger_that_cannot_be_brought_over_stays_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    for (what, other_chain) in [("changed", false), ("other", true)] {
        let dir = temp.path().join(what);
        ledger(&dir);
        let of = if other_chain { [9; 32] } else { chain_id() };
        version_1(&dir, of, |block| {
            if block.header.height == 2 {
                block.header.time_ms += 1;
            }
        });
        let old = fs::read(dir.join("ledger.redb")).unwrap();
        match Chain::open(&dir, &genesis()).err() {
            Some(Error::OtherChain { .. }) if other_chain => {}
            Some(Error::NotMigrated { found: 1, height: 2, .. }) if !other_chain => {}
            other => panic!("{what}: {other:?}"),
        }
        assert!(fs::read(dir.join("ledger.redb")).unwrap() == old, "{what}: it was changed");
        assert_eq!(names(&dir), ["ledger.redb", "segments"], "{what}");
    }
}

#[test]
fn a_ledger_of_a_later_build_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    ledger(dir);
    {
        let db = Database::open(dir.join("ledger.redb")).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", 99_u32.to_be_bytes().as_slice()).unwrap();
        txn.commit().unwrap();
    }
    let newer = fs::read(dir.join("ledger.redb")).unwrap();
    let refused = |genesis: &Genesis| Chain::open(dir, genesis).err().unwrap();
    for error in [refused(&genesis()), ReadOnly::open(dir, None).err().unwrap()] {
        assert!(matches!(error, Error::FormatVersion { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("ledger.redb has format version 99"), "{error}");
        assert!(fs::read(dir.join("ledger.redb")).unwrap() == newer, "it was changed");
    }
    // Record files likewise.
    let file = dir.join("segments/segment-00000001");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4] = 3;
    fs::write(&file, &bytes).unwrap();
    let segments = node::segments::Segments::open(&dir.join("segments"), chain_id());
    assert!(segments.unwrap_err().to_string().contains("format version is not known"));
    assert_eq!(fs::read(&file).unwrap(), bytes);
}
