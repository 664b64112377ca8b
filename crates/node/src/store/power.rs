//! The database on a disk that loses power, or room, at every one of its operations: nothing that was acknowledged is
//! lost, nothing is there by half.
//!
//! Of what was written since the last sync any sectors may have arrived, in any order: each sector is there as it was before
//! or as one of the writes left it.

use std::{
    io,
    sync::{Arc, Mutex},
};

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use redb::StorageBackend;

use super::{
    BLOCKS, Database, Error, Handle, Head, STATE, StateTable, Store, View,
    tests::{genesis, store_next, written},
};

const SECTOR: u64 = 512;

/// What was asked of a disk.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

impl Operation {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let (from, to) = (*offset as usize, *offset as usize + data.len());
                image.resize(image.len().max(to), 0);
                image[from..to].copy_from_slice(data);
            }
            Self::Length(len) => image.resize(*len as usize, 0),
            Self::Sync => {}
        }
    }

    /// As much of it as arrived.
    fn apply_some(&self, image: &mut Vec<u8>, rng: &mut ChaCha20Rng) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len() as u64;
                let mut from = *offset;
                while from < end {
                    let to = (from / SECTOR + 1) * SECTOR;
                    let to = to.min(end);
                    if rng.next_u32() & 1 == 0 {
                        let part = data[(from - offset) as usize..(to - offset) as usize].to_vec();
                        Self::Write(from, part).apply(image);
                    }
                    from = to;
                }
            }
            // A file that shrank before its pages were given up, or that did not grow, is another order of the same.
            other if rng.next_u32() & 1 == 0 => other.apply(image),
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
struct State {
    image: Vec<u8>,
    log: Vec<Operation>,
    /// Number of the operation from which on the disk is full.
    full_at: Option<usize>,
}

/// A disk that remembers what it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub fn of(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { image, ..State::default() })))
    }

    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }

    pub fn log(&self) -> Vec<Operation> {
        self.0.lock().unwrap().log.clone()
    }

    pub fn image(&self) -> Vec<u8> {
        self.0.lock().unwrap().image.clone()
    }

    fn record(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let full = state.full_at.is_some_and(|at| state.log.len() >= at);
        if full && !matches!(operation, Operation::Sync) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        operation.apply(&mut state.image);
        state.log.push(operation);
        Ok(())
    }

    /// The database on this disk, founded if there is none.
    fn open(&self) -> Result<(Store, Head), Error> {
        let path = "disk".into();
        let db = Database::builder().set_cache_size(1 << 20).create_with_backend(self.clone());
        let db = db.map_err(|e| Error::store(std::path::Path::new("disk"), e))?;
        let store = Store::over(Handle::Write(db), path);
        if store.identity()?.is_none() {
            store.found(&genesis())?;
        }
        let (_, head) = store.identity()?.unwrap();
        Ok((store, head))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let from = offset as usize;
        let bytes = state.image.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.record(Operation::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.record(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.record(Operation::Write(offset, data.to_vec()))
    }
}

/// A ledger that ran: what its disk was asked, and when which height was acknowledged.
struct Run {
    log: Vec<Operation>,
    /// Operations done, and the height.
    acknowledged: Vec<(usize, u64)>,
}

fn run(blocks: u64) -> Run {
    let disk = Disk::default();
    let (store, mut head) = disk.open().unwrap();
    let mut acknowledged = vec![(disk.operations(), 0)];
    for height in 1..=blocks {
        head = store_next(&store, &head).unwrap();
        acknowledged.push((disk.operations(), height));
    }
    // Without closing it: power goes while it runs.
    Run { log: disk.log(), acknowledged }
}

/// The store that comes up from an image has `acknowledged` or the block after it, and all of that.
fn check(image: Vec<u8>, acknowledged: u64, what: &str) -> (Store, Head) {
    let (store, head) = Disk::of(image).open().unwrap_or_else(|e| panic!("{what}: {e}"));
    let height = head.tip.height;
    assert!((acknowledged..=acknowledged + 1).contains(&height), "{what}: {acknowledged} became {height}");
    let txn = store.begin_read().unwrap();
    let (blocks, state) = (txn.open_table(BLOCKS).unwrap(), txn.open_table(STATE).unwrap());
    for h in 1..=height + 1 {
        assert_eq!(blocks.get(h).unwrap().is_some(), h <= height, "{what}: block {h} of {height}");
    }
    for h in height.saturating_sub(15).max(1)..=height {
        let (key, value) = written(h);
        assert_eq!(StateTable(&state).get(&key).unwrap().as_ref(), Some(&value), "{what}: what {h} wrote");
        store.prove_at(&txn, &head, &key, value).unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    let (next, _) = written(height + 1);
    let later = StateTable(&state).get(&next).unwrap();
    assert_ne!(later, Some(written(height + 1).1), "{what}: the block that is not there wrote something");
    drop((blocks, state, txn));
    (store, head)
}

/// What a disk may hold that lost its power after `first` or more of the operations of `log`: `images` for each of them.
/// `each` gets one, the number of operations that were done, and which of the images it is; 0 is that of a process that was
/// killed, whose system still has everything.
pub(crate) fn cut_images(
    log: &[Operation],
    first: usize,
    images: u32,
    mut each: impl FnMut(Vec<u8>, usize, u32),
) {
    let (mut synced, mut pending): (Vec<u8>, Vec<&Operation>) = (Vec::new(), Vec::new());
    for (operation, done) in log.iter().zip(1..) {
        match operation {
            Operation::Sync => pending.drain(..).for_each(|operation| operation.apply(&mut synced)),
            other => pending.push(other),
        }
        for n in 0..if done < first { 0 } else { images } {
            let mut image = synced.clone();
            let mut rng = ChaCha20Rng::seed_from_u64(done as u64 * 1_000 + u64::from(n));
            for operation in &pending {
                match n {
                    0 => operation.apply(&mut image),
                    // Nothing of it arrived.
                    1 => {}
                    _ => operation.apply_some(&mut image, &mut rng),
                }
            }
            each(image, done, n);
        }
    }
}

/// Cuts the power after every operation of `blocks` blocks, `images` times each.
fn cuts(blocks: u64, images: u32) -> usize {
    let Run { log, acknowledged } = run(blocks);
    let mut count = 0;
    cut_images(&log, acknowledged[0].0, images, |image, done, n| {
        let height = acknowledged.iter().rev().find(|(at, _)| *at <= done).unwrap().1;
        let (store, head) = check(image, height, &format!("cut after {done}, image {n}"));
        if n == 0 {
            let next = store_next(&store, &head).unwrap();
            assert_eq!(next.tip.height, head.tip.height + 1, "it goes on");
        }
        count += 1;
    });
    println!("{count} power cuts in {blocks} blocks of the database: nothing lost, nothing by half");
    count
}

#[test]
fn power_may_go_at_every_operation() {
    assert!(cuts(3, 6) > 200);
}

#[test]
#[ignore = "eleven thousand cuts; a smaller share is among the usual tests"]
fn power_may_go_at_every_operation_of_many_blocks() {
    assert!(cuts(40, 16) > 10_000);
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let whole = run(2);
    let (from, to) = (whole.acknowledged[1].0, whole.acknowledged[2].0);
    for full_at in from..to {
        let disk = Disk::default();
        let (store, head) = disk.open().unwrap();
        let head = store_next(&store, &head).unwrap();
        disk.0.lock().unwrap().full_at = Some(full_at);
        let stored = store_next(&store, &head);
        let what = format!("full at {full_at}");
        // The last operation is a sync, which needs no room.
        if let Err(e) = stored {
            assert!(matches!(e, Error::DiskFull(_)), "{what}: {e}");
        }
        drop(store);
        let image = disk.image();
        let (store, head) = check(image, 1, &what);
        store_next(&store, &head).unwrap();
    }
}
