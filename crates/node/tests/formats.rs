//! Data of earlier and of later builds: a database of another layout is refused and left alone, and so is what else is newer (L257).
//! Record files of version 1 are in `segments.rs`, a ledger from before L224 in `older.rs`.
//!
//! `data/formats` is what [`ledger`], a close, an export and a signed block left when each file got the format that it has: a build
//! that changes a format goes on opening it, or refuses it here.

use crate::world;

use std::{fs, path::Path, sync::Arc};

use lct::{
    hash::sha256,
    id::{Cid, Role},
};
use ledger::genesis::Genesis;
use node::{
    Chain, Error, ReadOnly,
    archive::{ArchiveError, restore},
    engine::solo::Solo,
    segments::{Entry, StoredBatch},
    series::{Bucket, Followed, Question, Resolution},
    verify::verify,
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

/// What the build wrote that these formats are of, by [`ledger`], [`sums`] and an export.
fn fixture(dir: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats");
    fs::create_dir_all(dir.join("segments")).unwrap();
    for file in FILES {
        fs::copy(from.join(file), dir.join(file)).unwrap();
    }
}

/// Every file of a ledger, and where it states its format version.
const FILES: [&str; 7] = [
    "ledger.redb",
    "series.redb",
    "validator.signed",
    "archive",
    "segments/segment-00000001",
    "segments/segment-00000001.listing",
    "segments/index",
];

/// The days of `module-1`, and what was done for them.
pub fn sums(chain: &Chain) -> (Vec<(u64, Bucket)>, Followed) {
    let question = Question {
        cid: Cid::of("module-1"),
        resolution: Resolution::Day,
        from_ms: 0,
        to_ms: u64::MAX,
        limit: usize::MAX,
    };
    let answer = chain.series(&question).unwrap();
    (answer.buckets, answer.followed)
}

#[test]
fn files_of_every_format_open_with_all_that_they_hold() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, anew) = (temp.path().join("a"), temp.path().join("b"));
    fixture(&dir);
    ledger(&anew);
    let open = |dir: &Path| Arc::new(Chain::open(dir, &genesis()).unwrap());
    let (chain, other) = (open(&dir), open(&anew));
    // Some signatures of what it registers are different ones each time.
    let held = |chain: &Chain| (chain.tip().height, chain.tip().state_root, chain.stored());
    assert_eq!(held(&chain), held(&other));
    let batch = |chain: &Chain| chain.stored_batch(&Cid::of("module-1"), 3).unwrap().unwrap();
    assert_eq!(batch(&chain), batch(&other));
    let (days, followed) = sums(&chain);
    assert_eq!(followed, Followed { complete: true, anew: None });
    assert_eq!(days, sums(&other).0);
    let archive = fs::read(dir.join("archive")).unwrap();
    let restored = restore(&temp.path().join("c"), archive.as_slice(), (&genesis().trust(), None), |_| ());
    assert_eq!(restored.unwrap().state_root, chain.tip().state_root);
    // What was signed is what the ledger ends with, and it goes on.
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let engine = engine.remembering(&dir.join("validator.signed")).unwrap();
    let id = chain.submit(tx(&key("authority"), 4, register("module-3", Role::Module))).unwrap();
    engine.drain(|| CLOCK).unwrap();
    assert!(chain.read().unwrap().tx(&id).unwrap().unwrap().result.accepted());
    drop((engine, chain));
    let reader = ReadOnly::open(&dir, None).unwrap();
    verify(&reader, &temp.path().join("v"), &genesis().trust(), |_| ()).unwrap();
}

#[test]
fn files_of_a_later_format_are_refused_or_not_used_and_left_as_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let later = |file: &str| {
        fixture(dir);
        let mut bytes = fs::read(dir.join(file)).unwrap();
        bytes[4] += 1;
        // As if a build of that version had written it: what closes it fits.
        let close = match file {
            "validator.signed" => 8,
            "segments/segment-00000001.listing" => 32,
            _ => 0,
        };
        if close > 0 {
            let end = bytes.len() - close;
            let hash = sha256(&[&bytes[..end]]);
            bytes[end..].copy_from_slice(&hash[..close]);
        }
        fs::write(dir.join(file), &bytes).unwrap();
        bytes
    };
    let unchanged = |file: &str, bytes: &[u8]| assert!(fs::read(dir.join(file)).unwrap() == bytes, "{file}");

    let file = "segments/segment-00000001";
    let bytes = later(file);
    let refused = Chain::open(dir, &genesis()).err().unwrap().to_string();
    assert!(refused.contains(file) && refused.contains("format version is not known"), "{refused}");
    unchanged(file, &bytes);

    let file = "validator.signed";
    let bytes = later(file);
    let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
    let refused = Solo::new(Arc::clone(&chain), validator("v")).unwrap().remembering(&dir.join(file));
    let refused = refused.err().unwrap().to_string();
    assert!(
        refused.contains(file) && refused.contains("has format version 2, that of a later build"),
        "{refused}"
    );
    unchanged(file, &bytes);
    drop(chain);

    let bytes = later("archive");
    let refused = restore(&dir.join("c"), bytes.as_slice(), (&genesis().trust(), None), |_| ());
    assert!(matches!(refused, Err(ArchiveError::Version(2))), "{refused:?}");
    assert!(!dir.join("c/ledger.redb").exists());

    // Sums of a later build are refused, and everything else is there.
    fixture(dir);
    {
        let db = Database::open(dir.join("series.redb")).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(META)
            .unwrap()
            .insert("of", [&[2], chain_id().as_slice()].concat().as_slice())
            .unwrap();
        txn.commit().unwrap();
    }
    let bytes = fs::read(dir.join("series.redb")).unwrap();
    let chain = Chain::open(dir, &genesis()).unwrap();
    let question = chain.follow().unwrap_err();
    assert!(matches!(question, Error::FormatVersion { found: 2, known: 1, .. }), "{question}");
    unchanged("series.redb", &bytes);
    drop(chain);

    // A listing and an index hold nothing that the record files do not.
    for file in ["segments/segment-00000001.listing", "segments/index"] {
        later(file);
        if file.ends_with("listing") {
            fs::remove_file(dir.join("segments/index")).unwrap();
        }
        let reader = ReadOnly::open(dir, None).unwrap();
        assert_eq!(reader.segments().stored().records, 5, "{file}");
    }
}
