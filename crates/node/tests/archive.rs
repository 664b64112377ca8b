//! A ledger in one stream: what comes out of an archive is the ledger that went in, or nothing.
//!
//! Rules L243 to L246, L248 and L249.

use crate::world;

use std::{fs, path::Path, sync::Arc};

use lct::{
    hash::sha256,
    id::{Cid, Role},
};
use ledger::{
    anchor::Trust,
    checkpoint::Statement,
    genesis::{Validator, ValidatorSet},
    receipt,
    tx::{Body, Change, Governance},
};
use node::{
    Chain, ReadOnly,
    archive::{ArchiveError, Restored, Start, restore},
    engine::solo::Solo,
    past::PastError,
    receipts::ReceiptFailure,
    segments::{Entry, Stored, StoredBatch},
    series::{Question, Resolution},
    verify::{VerifyError, verify},
};
use world::*;

const CLOCK: u64 = START_MS + 600_000;

struct World {
    chain: Arc<Chain>,
    engine: Solo,
    nonce: u64,
    batches: u32,
}

impl World {
    /// The ledger in `dir`, in which so many transactions and batches are.
    fn open(dir: &Path, nonce: u64, batches: u32) -> Self {
        let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
        let keys = ["v", "w"].map(validator).into();
        let engine = Solo::with_keys(Arc::clone(&chain), keys).unwrap();
        Self { chain, engine, nonce, batches }
    }

    fn new(dir: &Path) -> Self {
        let mut world = Self::open(dir, 0, 0);
        for (id, role) in [("pack-1", Role::Pack), ("module-1", Role::Module)] {
            world.send(register(id, role));
        }
        world.send(bind(("pack-1", Role::Pack), ("module-1", Role::Module)));
        world
    }

    fn send(&mut self, body: Body) {
        self.nonce += 1;
        self.chain.submit(tx(&key("authority"), self.nonce, body)).unwrap();
        self.engine.cut(CLOCK).unwrap();
    }

    /// A batch of five records, on disk and on the chain.
    fn measure(&mut self) {
        let (first, count) = (self.batches * 5, 5);
        self.batches += 1;
        let statement = batch_statement("module-1", first, count);
        let entries = records("module-1", first, count).into_iter().map(Entry::Record).collect();
        self.chain.append(&[StoredBatch { statement: batch_bytes(&statement), entries }]).unwrap();
        self.send(batch_with(&statement, &bound_key("module-1", "pack-1")));
    }

    fn hand_to(&mut self, label: &str) {
        let validators =
            ValidatorSet(vec![Validator { key: validator(label).verifying_key().to_bytes(), power: 1 }]);
        let height = self.chain.tip().height + 2;
        self.send(Body::Govern(Governance { change: Change::Validators(validators), height }));
    }

    /// Some of everything that an archive has parts for.
    fn live(&mut self) {
        for n in 0..6 {
            self.measure();
            self.send(register(&format!("module-2{n}"), Role::Module));
        }
        self.hand_to("w");
        (0..4).for_each(|_| self.measure());
        self.engine.drain(|| CLOCK).unwrap();
    }
}

fn archive(chain: &Chain, start: Start) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = chain.archive(start, &mut bytes).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    bytes
}

fn restored(dir: &Path, archive: &[u8], statement: Option<&Statement>) -> Result<Restored, ArchiveError> {
    restore(dir, archive, (&genesis().trust(), statement), |_| ())
}

#[test]
fn a_snapshot_and_its_tail_are_the_ledger_that_replaying_all_makes_and_go_on_alike() {
    let temp = tempfile::tempdir().unwrap();
    let mut world = World::new(&temp.path().join("a"));
    world.live();
    let chain = Arc::clone(&world.chain);
    let (tip, status) = (chain.tip(), chain.status().unwrap());
    let statement = chain.read().unwrap().checkpoint().unwrap();
    let full = archive(&chain, Start::Genesis);
    let middle = archive(&chain, Start::State(9));
    let late = archive(&chain, Start::State(tip.height - 1));
    // What the original does next, the others do as well.
    world.measure();
    world.engine.drain(|| CLOCK).unwrap();
    let next: Vec<_> = (tip.height + 1..=chain.tip().height)
        .map(|h| {
            let snapshot = chain.read().unwrap();
            (snapshot.block(h).unwrap().unwrap(), snapshot.certificate(h).unwrap().unwrap())
        })
        .collect();
    for (name, bytes, base) in [("b", &full, 0), ("c", &middle, 9), ("d", &late, tip.height - 1)] {
        let dir = temp.path().join(name);
        let found = restored(&dir, bytes, Some(&statement)).unwrap();
        assert_eq!(
            (found.base, found.height, found.state_root),
            (base, tip.height, tip.state_root),
            "{name}"
        );
        assert_eq!(found.batches, 10);
        let copy = Chain::open(&dir, &genesis()).unwrap();
        let expected = node::Status { blocks: tip.height - base, ..status.clone() };
        assert_eq!((copy.tip(), copy.status().unwrap()), (tip, expected), "{name}");
        assert_eq!(copy.stored(), node::segments::Stored { batches: 10, records: 50, torn_bytes: 0 });
        assert_eq!(copy.read().unwrap().checkpoint().unwrap(), statement, "the tree of blocks as well");
        match copy.receipt_record(&Cid::of("module-1"), 45) {
            Ok(receipt) => drop(receipt::verify(&receipt.to_file(), Some(&genesis().trust())).unwrap()),
            // The last batch lies in the block whose state the archive began with.
            Err(e) => assert!(matches!(e, ReceiptFailure::Forgotten(_)) && name == "d", "{name}: {e}"),
        }
        let old = copy.read().unwrap().at(base.saturating_sub(1)).err();
        assert_eq!(matches!(old, Some(PastError::Forgotten { .. })), base > 0, "{name}");
        for (block, certificate) in &next {
            copy.commit(block, certificate).unwrap();
        }
        assert_eq!(copy.tip(), chain.tip(), "{name}");
        // And it can be handed on.
        let again = archive(&copy, Start::State(copy.tip().height - 1));
        drop(copy);
        let checked =
            verify(&ReadOnly::open(&dir, None).unwrap(), &temp.path().join("v"), &genesis().trust(), |_| ());
        assert_eq!(checked.unwrap().base, base, "{name}");
        restored(&temp.path().join(format!("{name}2")), &again, None).unwrap();
    }
}

#[test]
fn records_that_nobody_signed_for_are_not_restored() {
    let temp = tempfile::tempdir().unwrap();
    let mut world = World::new(&temp.path().join("a"));
    world.live();
    // Whole in itself, behind the last batch of the chain, and in no block.
    let statement = batch_statement("module-1", 500, 5);
    let entries = records("module-1", 500, 5).into_iter().map(Entry::Record).collect();
    world.chain.append(&[StoredBatch { statement: batch_bytes(&statement), entries }]).unwrap();
    assert_eq!(world.chain.stored().batches, 11);
    let tip = world.chain.tip().height;
    for (name, start) in [("b", Start::Genesis), ("c", Start::State(9)), ("d", Start::State(tip - 1))] {
        let dir = temp.path().join(name);
        let found = restored(&dir, &archive(&world.chain, start), None).unwrap();
        assert_eq!((found.batches, found.unrecorded), (10, 1), "{name}");
        let copy = Chain::open(&dir, &genesis()).unwrap();
        assert_eq!(copy.stored().batches, 10, "{name}");
        assert!(copy.stored_batch(&Cid::of("module-1"), 500).unwrap().is_none(), "{name}");
    }
}

#[test]
fn an_archive_that_is_cut_changed_or_of_another_chain_founds_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let mut world = World::new(&temp.path().join("a"));
    world.live();
    let whole = archive(&world.chain, Start::State(9));
    let dir = temp.path().join("b");
    let step = whole.len() / 12;
    for n in (0..whole.len()).step_by(step) {
        let cut = restored(&dir, &whole[..n], None);
        assert!(
            matches!(cut, Err(ArchiveError::NotAnArchive | ArchiveError::CutShort)),
            "cut at {n}: {cut:?}"
        );
        let mut changed = whole.clone();
        changed[n] ^= 1;
        restored(&dir, &changed, None).unwrap_err();
        assert!(!dir.exists() && !temp.path().join("b.restoring").exists(), "byte {n}: nothing is left");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(matches!(restored(&dir, &longer, None), Err(ArchiveError::Damaged(_))));
    let other = Trust { chain_id: [1; 32], ..genesis().trust() };
    assert!(matches!(restore(&dir, &whole[..], (&other, None), |_| ()), Err(ArchiveError::OtherChain)));
    // Somebody who founds the same chain with other validators certifies nothing here.
    let stranger = ValidatorSet(vec![Validator { key: validator("x").verifying_key().to_bytes(), power: 1 }]);
    let stranger = Trust { validators: stranger, ..genesis().trust() };
    assert!(matches!(restore(&dir, &whole[..], (&stranger, None), |_| ()), Err(ArchiveError::Untrusted(_))));
    let statement = Statement { tree_root: [7; 32], ..world.chain.read().unwrap().checkpoint().unwrap() };
    assert!(matches!(restored(&dir, &whole, Some(&statement)), Err(ArchiveError::Untrusted(_))));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("something"), "of somebody").unwrap();
    assert!(matches!(restored(&dir, &whole, None), Err(ArchiveError::Occupied(_))));
    fs::remove_file(dir.join("something")).unwrap();
    restored(&dir, &whole, None).unwrap();
}

#[test]
fn a_height_that_cannot_be_archived_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let world = World::new(&temp.path().join("a"));
    let tip = world.chain.tip().height;
    let refused = |start| world.chain.archive(start, Vec::new()).unwrap_err();
    assert!(matches!(refused(Start::State(tip)), ArchiveError::NotCertifiedYet(h) if h == tip));
    assert!(matches!(refused(Start::State(tip + 1)), ArchiveError::Past(PastError::Future { .. })));
}

#[test]
fn what_is_not_what_executing_makes_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a");
    let mut world = World::new(&dir);
    world.live();
    // On disk, but its block never came.
    let statement = batch_statement("module-1", 500, 5);
    let entries = records("module-1", 500, 5).into_iter().map(Entry::Record).collect();
    world.chain.append(&[StoredBatch { statement: batch_bytes(&statement), entries }]).unwrap();
    drop(world);
    let (scratch, trust) = (temp.path().join("v"), genesis().trust());
    let mut heights = Vec::new();
    let read = ReadOnly::open(&dir, None).unwrap();
    let verified = verify(&read, &scratch, &trust, |height| heights.push(height)).unwrap();
    assert_eq!((verified.base, verified.batches, verified.unrecorded, verified.missing), (0, 11, 1, 0));
    assert_eq!(heights, (1..=verified.height).collect::<Vec<_>>());
    assert!(!scratch.exists());
    drop(read);
    // A changed bit in a record.
    let file = dir.join("segments/segment-00000001");
    let mut bytes = fs::read(&file).unwrap();
    let whole = bytes.clone();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let damaged = ReadOnly::open(&dir, None)
        .map_err(VerifyError::from)
        .and_then(|read| verify(&read, &scratch, &trust, |_| ()));
    assert!(damaged.unwrap_err().to_string().contains("segment-00000001"));
    fs::write(&file, &whole).unwrap();
    verify(&ReadOnly::open(&dir, None).unwrap(), &scratch, &trust, |_| ()).unwrap();
}

#[test]
fn what_is_forgotten_takes_no_receipt_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a");
    let mut world = World::new(&dir);
    let trust = genesis().trust();
    // Records of the first two batches are stored, those of the next are elsewhere.
    world.measure();
    world.measure();
    let statement = batch_statement("module-1", 10, 5);
    world.send(batch_with(&statement, &bound_key("module-1", "pack-1")));
    (0..120).for_each(|n| world.send(register(&format!("module-3{n}"), Role::Module)));
    world.engine.drain(|| CLOCK).unwrap();
    let cid = Cid::of("module-1");
    let before = world.chain.receipt_record(&cid, 7).unwrap().to_file();
    let bound = world.chain.read().unwrap().block(3).unwrap().unwrap().txs.remove(0);
    let bound = ledger::tx::Tx::id_of(&bound);
    let of_binding = world.chain.receipt_tx(&bound).unwrap().to_file();
    let (tip, status) = (world.chain.tip(), world.chain.status().unwrap());
    let statement = world.chain.read().unwrap().checkpoint().unwrap();

    let pruned = world.chain.prune(u64::MAX, 0).unwrap();
    // Blocks 4 and 5 hold batches, block 6 certifies what 5 did; the last 101 stay.
    assert_eq!((pruned.blocks, pruned.files), (tip.height - 101 - 1 - 3, 0));
    assert_eq!(world.chain.prune(u64::MAX, 0).unwrap().blocks, 0, "once");
    assert_eq!(world.chain.prune(5, 0).unwrap().blocks, 0, "a lower height brings nothing back");
    let snapshot = world.chain.read().unwrap();
    let kept: Vec<_> = (1..=8).filter(|h| snapshot.block(*h).unwrap().is_some()).collect();
    assert_eq!(kept, [4, 5, 6]);
    assert_eq!(snapshot.checkpoint().unwrap(), statement);
    let expected = node::Status { blocks: tip.height - pruned.blocks, ..status };
    assert_eq!((world.chain.tip(), world.chain.status().unwrap()), (tip, expected));
    // Receipts of what is kept are the same; those of what is gone hold, and are not made again.
    assert_eq!(world.chain.receipt_record(&cid, 7).unwrap().to_file(), before);
    receipt::verify(&of_binding, Some(&trust)).unwrap();
    assert!(matches!(world.chain.receipt_tx(&bound), Err(ReceiptFailure::UnknownTx)));
    let lost = world.chain.receipt_record(&cid, 12).err();
    assert!(matches!(lost, Some(ReceiptFailure::RecordMissing { .. })), "{lost:?}");
    assert!(snapshot.page(Some((3, 0, 0)), 5).unwrap().gap, "a cursor into what is gone shows as a gap");
    assert!(matches!(world.chain.archive(Start::Genesis, Vec::new()), Err(ArchiveError::Pruned(_))));
    drop(snapshot);
    // It goes on, can be compacted, handed on, and verified from the oldest state that it keeps.
    world.measure();
    world.engine.drain(|| CLOCK).unwrap();
    let copy = archive(&world.chain, Start::State(world.chain.tip().height - 1));
    drop(world);
    let mut chain = Chain::open(&dir, &genesis()).unwrap();
    let size = || fs::metadata(dir.join("ledger.redb")).unwrap().len();
    let large = size();
    chain.compact().unwrap();
    assert!(size() < large, "{large} -> {}", size());
    let tip = chain.tip();
    drop(chain);
    let verified = verify(&ReadOnly::open(&dir, None).unwrap(), &temp.path().join("v"), &trust, |_| ());
    assert_eq!(verified.unwrap().base, tip.height - 100);
    restored(&temp.path().join("b"), &copy, None).unwrap();
}

/// Makes the first record file one of version 1, which is followed by another one as if it had grown beyond 64 MiB.
fn close_first_file(dir: &Path) {
    let path = dir.join("segments/segment-00000001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4] = 1;
    let mut rest = &mut bytes[37..];
    while let Some((header, after)) = rest.split_first_chunk_mut::<16>() {
        let length = u32::from_be_bytes(*header.first_chunk().unwrap());
        let (payload, after) = after.split_at_mut(length as usize);
        header[8..].copy_from_slice(&sha256(&[payload])[..8]);
        rest = after;
    }
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_record_file_that_is_removed_leaves_sums_and_receipts_what_they_were() {
    let temp = tempfile::tempdir().unwrap();
    let cid = Cid::of("module-1");
    // Ten records in the first file, ten in the second.
    let lived = |name: &str| {
        let dir = temp.path().join(name);
        let mut world = World::new(&dir);
        (0..2).for_each(|_| world.measure());
        let nonce = world.nonce;
        drop(world);
        close_first_file(&dir);
        let mut world = World::open(&dir, nonce, 2);
        (0..2).for_each(|_| world.measure());
        world.engine.drain(|| CLOCK).unwrap();
        (dir, world)
    };
    let sums = |chain: &Chain| {
        Resolution::ALL.map(|resolution| {
            let question = Question { cid, resolution, from_ms: 0, to_ms: u64::MAX, limit: usize::MAX };
            let answer = chain.series(&question).unwrap();
            assert!(answer.followed.complete);
            answer.buckets
        })
    };
    let whole = sums(&lived("whole").1.chain);
    // Nobody asked for sums before: they are made when the file goes.
    let (dir, mut world) = lived("a");
    let files = || [1, 2].map(|n| dir.join(format!("segments/segment-0000000{n}")).exists());
    assert_eq!(files(), [true; 2]);
    let trust = genesis().trust();
    let before = [7, 17].map(|seq| world.chain.receipt_record(&cid, seq).unwrap().to_file());
    let pruned = world.chain.prune(0, u64::MAX).unwrap();
    assert_eq!((pruned.files, pruned.unsummed, files()), (1, None, [false, true]));
    let check = |chain: &Chain, when: &str| {
        assert_eq!(sums(chain), whole, "{when}");
        let receipts = before.iter().map(|file| receipt::verify(file, Some(&trust)));
        assert!(receipts.map(Result::unwrap).count() == 2, "{when}");
        assert_eq!(chain.receipt_record(&cid, 17).unwrap().to_file(), before[1], "{when}");
        let gone = chain.receipt_record(&cid, 7).err();
        assert!(matches!(gone, Some(ReceiptFailure::RecordMissing { seq: 7, .. })), "{when}: {gone:?}");
        assert_eq!(chain.stored(), Stored { batches: 2, records: 10, torn_bytes: 0 }, "{when}");
        assert!(chain.stored_batch(&cid, 9).unwrap().is_none(), "{when}");
    };
    check(&world.chain, "at once");
    let nonce = world.nonce;
    drop(world);
    world = World::open(&dir, nonce, 4);
    check(&world.chain, "after a start");
    // Blocks go that were kept for its records, and it goes on.
    (0..110).for_each(|n| world.send(register(&format!("module-3{n}"), Role::Module)));
    let blocks = world.chain.prune(u64::MAX, 0).unwrap().blocks;
    assert!(world.chain.read().unwrap().block(4).unwrap().is_none(), "{blocks}");
    check(&world.chain, "without its blocks");
    world.measure();
    let records: u32 = sums(&world.chain)[2].iter().map(|(_, bucket)| bucket.records).sum();
    assert_eq!(records, 25);
    drop(world);
    let verified =
        verify(&ReadOnly::open(&dir, None).unwrap(), &temp.path().join("v"), &trust, |_| ()).unwrap();
    assert_eq!((verified.batches, verified.unrecorded, verified.missing), (3, 0, 2));
}

#[test]
fn records_that_cannot_be_summed_up_keep_no_files() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a");
    let mut world = World::new(&dir);
    world.measure();
    // Sums that can be neither read nor set aside.
    let aside = dir.join("series.damaged");
    fs::write(dir.join("series.redb"), "x").unwrap();
    fs::create_dir(&aside).unwrap();
    let why = world.chain.prune(0, 1).unwrap().unsummed;
    assert!(why.as_ref().is_some_and(|why| why.contains("series.redb")), "{why:?}");
    fs::remove_dir(&aside).unwrap();
    assert_eq!(world.chain.prune(0, 1).unwrap().unsummed, None);
}
