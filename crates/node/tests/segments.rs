//! Record files: what is acknowledged is there after a crash, what is not is cut, and damage is told apart.
//!
//! Rules L90, L91, L228, L229, L240, L241, L247, L248 and L258.

use crate::world;

use std::{fs, path::Path};

use lct::id::Cid;
use node::{
    Error,
    segments::{Appended, Entry, SegmentError, Segments, Stored, StoredBatch},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use world::*;

fn stored(id: &str, first: u32, count: u16) -> StoredBatch {
    StoredBatch {
        statement: batch_bytes(&batch_statement(id, first, count)),
        entries: records(id, first, count).into_iter().map(Entry::Record).collect(),
    }
}

fn open(dir: &Path) -> Segments {
    Segments::open(dir, chain_id()).unwrap()
}

fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("segment-00000001")
}

/// The file as a crash leaves it, which lists nothing.
fn leave(dir: &Path, bytes: &[u8]) {
    fs::write(file(dir), bytes).unwrap();
    let _none = fs::remove_file(listing(dir));
    let _none = fs::remove_file(index(dir));
}

fn index(dir: &Path) -> std::path::PathBuf {
    dir.join("index")
}

fn listing(dir: &Path) -> std::path::PathBuf {
    file(dir).with_extension("listing")
}

#[test]
fn batches_come_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    let both = [stored("module-1", 0, 100), stored("module-2", 7, 3)];
    assert_eq!(segments.append(&both).unwrap(), [Appended::Stored; 2]);
    let mut gap = stored("module-1", 100, 5);
    gap.entries[2] = Entry::Missing(gap.entries[2].leaf());
    assert_eq!(segments.append(&[gap.clone()]).unwrap(), [Appended::Stored]);
    assert_eq!(segments.append(&both).unwrap(), [Appended::AlreadyStored; 2], "a retry is no error");
    drop(segments);
    for segments in [open(dir.path()), Segments::open_read_only(dir.path(), chain_id()).unwrap()] {
        assert_eq!(segments.stored(), Stored { batches: 3, records: 107, torn_bytes: 0 });
        let cid = Cid::of("module-1");
        for (seq, expected) in
            [(0, Some(&both[0])), (99, Some(&both[0])), (100, Some(&gap)), (104, Some(&gap)), (105, None)]
        {
            let found = segments.batch(&cid, seq).unwrap();
            assert_eq!(found.as_ref().map(|(_, b)| b), expected, "record {seq}");
        }
        assert!(segments.batch(&Cid::of("module-2"), 6).unwrap().is_none());
        let last = ["module-1", "module-2", "module-3"].map(|id| segments.last(&Cid::of(id)));
        assert_eq!(last, [Some(104), Some(9), None]);
        assert!(segments.batch(&Cid::of("module-2"), 9).unwrap().is_some());
    }
}

#[test]
fn what_does_not_match_its_statement_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 10, 10)]).unwrap();
    let refuse = |segments: &Segments, b: StoredBatch| segments.append(&[b]).unwrap_err();
    let mut b = stored("module-1", 20, 3);
    b.statement.push(0);
    assert!(matches!(refuse(&segments, b), SegmentError::Statement));
    let mut b = stored("module-1", 20, 3);
    b.entries.pop();
    assert!(matches!(refuse(&segments, b), SegmentError::Count { found: 2, stated: 3 }));
    let mut b = stored("module-1", 20, 3);
    b.entries.swap(0, 1);
    assert!(matches!(refuse(&segments, b), SegmentError::Record(0)));
    let mut b = stored("module-1", 20, 3);
    b.entries[1] = Entry::Record(records("module-2", 21, 1).remove(0));
    assert!(matches!(refuse(&segments, b), SegmentError::Record(1)), "another component's record");
    let mut b = stored("module-1", 20, 3);
    b.entries[1] = Entry::Missing([0; 32]);
    assert!(matches!(refuse(&segments, b), SegmentError::Root));
    for (first, count) in [(5, 6), (19, 2), (10, 5), (0, 100)] {
        let overlap = refuse(&segments, stored("module-1", first, count));
        assert!(matches!(overlap, SegmentError::Overlap { seq: 10, .. }), "{first}+{count}: {overlap}");
    }
    let inside = segments.append(&[stored("module-1", 30, 10), stored("module-1", 35, 10)]);
    assert!(matches!(inside, Err(SegmentError::Overlap { seq: 30, .. })), "two of one call overlap");
    assert_eq!(segments.stored().batches, 1, "nothing of a refused call is stored");
}

#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    let kept = fs::read(file(dir.path())).unwrap();
    segments.append(&[stored("module-1", 4, 4)]).unwrap();
    drop(segments);
    let whole = fs::read(file(dir.path())).unwrap();
    let mut torn: Vec<Vec<u8>> = (kept.len()..whole.len()).map(|n| whole[..n].to_vec()).collect();
    // The file grew but its data did not arrive: zeros in place of the tail, of the payload's end, of all.
    for zeros_from in [kept.len(), kept.len() + 30, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[zeros_from..].fill(0);
        torn.push(bytes);
    }
    for bytes in torn {
        let beside = file(dir.path()).with_extension(format!("cut-{}", kept.len()));
        let _none = fs::remove_file(&beside);
        leave(dir.path(), &bytes);
        let reader = Segments::open_read_only(dir.path(), chain_id()).unwrap();
        // Zeros at the end were there before.
        let left = bytes[kept.len()..].iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let found = Stored { batches: 1, records: 4, torn_bytes: left as u64 };
        assert_eq!(reader.stored(), found);
        assert_eq!(fs::read(file(dir.path())).unwrap(), bytes, "a reader changes nothing");
        let segments = open(dir.path());
        assert_eq!(segments.stored(), found);
        assert_eq!(fs::read(file(dir.path())).unwrap(), kept);
        let cut = fs::read(&beside).unwrap_or_default();
        assert_eq!(cut, bytes[kept.len()..][..left], "what was cut is kept beside");
        segments.append(&[stored("module-1", 4, 4)]).unwrap();
        assert_eq!(fs::read(file(dir.path())).unwrap(), whole, "and it continues as if nothing had been");
    }
    for n in 0..37 {
        leave(dir.path(), &whole[..n]);
        assert_eq!(open(dir.path()).stored().batches, 0, "a file whose header was never synced is empty");
    }
}

/// Of the frame that was on its way any sectors may have arrived, in any order.
fn sectors_of_the_last_frame(images: u64) {
    const SECTOR: usize = 512;
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let segments = open(dir.path());
    let mut kept = fs::read(file(dir.path())).unwrap();
    let mut count = 0;
    // The lengths move the frames over the borders of sectors, so that some headers lie in two.
    for n in 0..20_u32 {
        segments.append(&[stored("module-1", n * 100, 1 + (n * 7 % 30) as u16)]).unwrap();
        let whole = fs::read(file(dir.path())).unwrap();
        for _ in 0..images {
            let mut image = kept.clone();
            image.resize(whole.len(), 0);
            for sector in kept.len() / SECTOR..whole.len().div_ceil(SECTOR) {
                let from = (sector * SECTOR).max(kept.len());
                let to = ((sector + 1) * SECTOR).min(whole.len());
                if rng.next_u32() & 3 != 0 {
                    image[from..to].copy_from_slice(&whole[from..to]);
                }
            }
            // How far the file grew is written separately; or there were zeros behind its frames already.
            match rng.next_u32() % 3 {
                0 => image.truncate(kept.len() + rng.next_u64() as usize % (whole.len() - kept.len())),
                1 => image.resize(whole.len() + rng.next_u32() as usize % 20_000, 0),
                _ => {}
            }
            let all = image.starts_with(&whole);
            let crashed = tempfile::tempdir().unwrap();
            fs::write(file(crashed.path()), &image).unwrap();
            let found = open(crashed.path()).stored().batches;
            assert_eq!(found, n as usize + usize::from(all), "frame {n}: {} of {}", image.len(), whole.len());
            assert_eq!(fs::read(file(crashed.path())).unwrap(), if all { &whole } else { &kept }[..]);
            count += 1;
        }
        kept = whole;
    }
    println!("{count} power cuts in 20 frames of records: nothing lost, nothing by half");
}

#[test]
fn any_sectors_of_the_last_frame_may_be_missing() {
    sectors_of_the_last_frame(5);
}

#[test]
#[ignore = "five thousand cuts; a smaller share is among the usual tests"]
fn any_sectors_of_the_last_frame_may_be_missing_many_times() {
    sectors_of_the_last_frame(250);
}

/// Where the frames of a file end.
fn end_of_frames(bytes: &[u8]) -> usize {
    let mut at = 37;
    while let Some(length) = bytes.get(at..at + 4).filter(|length| **length != [0; 4]) {
        at += 16 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
    }
    at
}

/// Batches of 100 until the file has so many bytes; how many, and at how many of them the file grew.
fn grown(segments: &Segments, dir: &Path, bytes: usize, from: u32) -> (u32, usize) {
    let len = || fs::metadata(file(dir)).unwrap().len();
    let (mut n, mut growths) = (from, 0);
    while end_of_frames(&fs::read(file(dir)).unwrap()) < bytes {
        let before = len();
        segments.append(&[stored("module-1", n * 100, 100)]).unwrap();
        growths += usize::from(len() != before);
        n += 1;
    }
    (n, growths)
}

/// A sync that has to tell the disk how long the file is now takes longer (`docs/performance.md`).
#[test]
fn a_file_grows_into_zeros_and_is_closed_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    let (few, growths) = grown(&segments, dir.path(), 60_000, 0);
    assert_eq!(growths, few as usize, "a small file has no zeros behind it");
    let (n, growths) = grown(&segments, dir.path(), 400_000, few);
    assert!(growths <= 6, "{growths} of {}", n - few);
    let image = fs::read(file(dir.path())).unwrap();
    let end = end_of_frames(&image);
    assert!((end..=2 * end).contains(&image.len()), "{end} of {}", image.len());
    let all = Stored { batches: n as usize, records: u64::from(n) * 100, torn_bytes: 0 };
    // As a crash leaves it: a reader takes the zeros for nothing, and who appends takes them away.
    let crashed = tempfile::tempdir().unwrap();
    fs::write(file(crashed.path()), &image).unwrap();
    assert_eq!(Segments::open_read_only(crashed.path(), chain_id()).unwrap().stored(), all);
    assert_eq!(fs::metadata(file(crashed.path())).unwrap().len(), image.len() as u64);
    let again = open(crashed.path());
    assert_eq!((again.stored(), fs::read(file(crashed.path())).unwrap()), (all, image[..end].to_vec()));
    assert_eq!(fs::read_dir(crashed.path()).unwrap().count(), 1, "nothing was torn");
    grown(&again, crashed.path(), end + 1, n);
    drop(again);
    assert_eq!(open(crashed.path()).stored().batches, n as usize + 1);
    // One bit where there should be zeros may be all that arrived of a frame.
    for at in [end + 20, image.len() - 1] {
        let mut damaged = image.clone();
        damaged[at] = 1;
        leave(crashed.path(), &damaged);
        let found = Segments::open_read_only(crashed.path(), chain_id()).unwrap().stored();
        assert_eq!(found, Stored { torn_bytes: (at + 1 - end) as u64, ..all });
    }
    drop(segments);
    assert_eq!(fs::read(file(dir.path())).unwrap(), image[..end]);
}

#[test]
fn damage_before_the_tail_is_reported_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    let first_end = fs::metadata(file(dir.path())).unwrap().len() as usize;
    segments.append(&[stored("module-1", 4, 4)]).unwrap();
    drop(segments);
    let whole = fs::read(file(dir.path())).unwrap();
    for at in (0..first_end).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        leave(dir.path(), &bytes);
        let opened = Segments::open(dir.path(), chain_id());
        assert!(matches!(opened, Err(Error::Corrupted { .. })), "byte {at}: {opened:?}");
        assert_eq!(fs::read(file(dir.path())).unwrap(), bytes);
    }
    // Nor is what follows a header that reads as zeros.
    let mut bytes = whole.clone();
    bytes[37..53].fill(0);
    leave(dir.path(), &bytes);
    let opened = Segments::open(dir.path(), chain_id());
    assert!(matches!(opened, Err(Error::Corrupted { .. })), "{opened:?}");
    assert_eq!(fs::read(file(dir.path())).unwrap(), bytes);
    // Damage after opening is found when the batch is read.
    leave(dir.path(), &whole);
    let segments = open(dir.path());
    let mut bytes = whole;
    bytes[first_end - 5] ^= 1;
    fs::write(file(dir.path()), &bytes).unwrap();
    assert!(matches!(segments.batch(&Cid::of("module-1"), 0), Err(Error::Corrupted { .. })));
    assert!(segments.batch(&Cid::of("module-1"), 4).is_ok());
}

#[test]
fn a_start_reads_what_is_not_listed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    drop(segments);
    let (first, listed) = (fs::read(file(dir.path())).unwrap(), fs::read(listing(dir.path())).unwrap());
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 4, 4), stored("module-2", 0, 2)]).unwrap();
    drop(segments);
    let without_index = || fs::remove_file(index(dir.path())).unwrap();
    without_index();
    let whole = fs::read(file(dir.path())).unwrap();
    let all = Stored { batches: 3, records: 10, torn_bytes: 0 };
    // Killed after the second batch: the listing is that of the first close.
    fs::write(listing(dir.path()), &listed).unwrap();
    assert_eq!(Segments::open_read_only(dir.path(), chain_id()).unwrap().stored(), all);
    // What is listed is not read again; who asks for it is told that it is damaged.
    let mut damaged = whole.clone();
    damaged[first.len() - 5] ^= 1;
    fs::write(file(dir.path()), &damaged).unwrap();
    let segments = open(dir.path());
    assert_eq!(segments.stored(), all);
    assert!(matches!(segments.batch(&Cid::of("module-1"), 2), Err(Error::Corrupted { .. })));
    assert!(segments.batch(&Cid::of("module-1"), 5).unwrap().is_some());
    drop(segments);
    without_index();
    // A listing that was not written whole, or is of another chain, is not used.
    let complete = fs::read(listing(dir.path())).unwrap();
    for n in 0..complete.len() {
        let mut broken = complete.clone();
        broken[n] ^= 1;
        for broken in [&broken[..], &complete[..n]] {
            fs::write(listing(dir.path()), broken).unwrap();
            assert!(Segments::open_read_only(dir.path(), chain_id()).is_err(), "the damage is read: {n}");
        }
    }
    // A file that lost its end after it was closed.
    fs::write(listing(dir.path()), &complete).unwrap();
    fs::write(file(dir.path()), &whole[..whole.len() - 1]).unwrap();
    let opened = Segments::open(dir.path(), chain_id()).unwrap_err().to_string();
    assert!(opened.contains("when it was closed"), "{opened}");
    assert_eq!(fs::read(file(dir.path())).unwrap().len(), whole.len() - 1, "nothing is cut");
}

#[test]
fn a_start_reads_the_index_and_of_the_files_only_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let held = |segments: &Segments| (segments.stored().batches, segments.stored().records);
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    let end = fs::metadata(file(dir.path())).unwrap().len() as usize;
    segments.append(&[stored("module-2", 3, 2)]).unwrap();
    drop(segments);
    let (first, indexed) = (fs::read(file(dir.path())).unwrap(), fs::read(index(dir.path())).unwrap());
    // Neither the file nor its listing is read: damage in both is not seen, but by who asks.
    let mut damaged = first.clone();
    damaged[end - 5] ^= 1;
    fs::write(file(dir.path()), &damaged).unwrap();
    fs::remove_file(listing(dir.path())).unwrap();
    let segments = open(dir.path());
    assert_eq!(held(&segments), (2, 6));
    assert!(segments.batch(&Cid::of("module-2"), 3).unwrap().is_some());
    assert!(matches!(segments.batch(&Cid::of("module-1"), 2), Err(Error::Corrupted { .. })));
    drop(segments);
    // An index that is damaged or of another chain is not used: then the damage is read.
    for (at, other) in [(4, 2), (10, 0), (60, 9), (indexed.len() - 1, 0)] {
        let mut broken = indexed.clone();
        broken[at] = broken[at].wrapping_add(1 + other);
        fs::write(index(dir.path()), &broken).unwrap();
        assert!(matches!(Segments::open(dir.path(), chain_id()), Err(Error::Corrupted { .. })), "{at}");
    }
    // What came after it is found, by whatever listing there is.
    fs::write(file(dir.path()), &first).unwrap();
    fs::write(index(dir.path()), &indexed).unwrap();
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 4, 4)]).unwrap();
    segments.append(&[stored("module-3", 0, 1)]).unwrap();
    let overlap = segments.append(&[stored("module-2", 4, 1)]);
    assert!(matches!(overlap, Err(SegmentError::Overlap { seq: 3, .. })), "{overlap:?}");
    drop(segments);
    let whole = fs::read(file(dir.path())).unwrap();
    for listed in [false, true] {
        fs::write(index(dir.path()), &indexed).unwrap();
        if !listed {
            let _none = fs::remove_file(listing(dir.path()));
        }
        let segments = open(dir.path());
        assert_eq!(held(&segments), (4, 11));
        for (id, last) in [("module-1", 7), ("module-2", 4), ("module-3", 0)] {
            assert_eq!(segments.last(&Cid::of(id)), Some(last));
            assert!(segments.batch(&Cid::of(id), last).unwrap().is_some());
        }
    }
    // A file that lost its end, or that is not there, is said, whether it has a listing or not.
    let missing = |what: &str| {
        for listed in [true, false] {
            if !listed {
                fs::remove_file(listing(dir.path())).unwrap();
            }
            for opened in [Segments::open, Segments::open_read_only] {
                let opened = opened(dir.path(), chain_id()).unwrap_err().to_string();
                let said = ["segment-00000001", what, "acknowledged records are missing", "`index`"];
                assert!(said.iter().all(|part| opened.contains(part)), "{opened}");
            }
            assert!(index(dir.path()).exists(), "who refuses removes nothing");
        }
    };
    let listed = fs::read(listing(dir.path())).unwrap();
    fs::write(file(dir.path()), &whole[..whole.len() - 1]).unwrap();
    missing(&format!("{} bytes, and had {}", whole.len() - 1, whole.len()));
    fs::remove_file(file(dir.path())).unwrap();
    fs::write(listing(dir.path()), &listed).unwrap();
    missing("it is gone");
    fs::remove_file(index(dir.path())).unwrap();
    assert_eq!(held(&open(dir.path())), (0, 0), "whoever moves the index away gives them up");
}

/// What the index has of a file is not read again where the listing is lost; a listing is made at the close.
#[test]
fn a_listing_that_is_lost_is_made_again_and_refuses_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    let end = fs::metadata(file(dir.path())).unwrap().len() as usize;
    drop(segments);
    let (indexed, listed) = (fs::read(index(dir.path())).unwrap(), fs::read(listing(dir.path())).unwrap());
    fs::remove_file(listing(dir.path())).unwrap();
    drop(open(dir.path()));
    assert_eq!(fs::read(listing(dir.path())).unwrap(), listed, "nothing came since");
    fs::remove_file(listing(dir.path())).unwrap();
    let segments = open(dir.path());
    segments.append(&[stored("module-2", 0, 2)]).unwrap();
    drop(segments);
    let all = Stored { batches: 2, records: 6, torn_bytes: 0 };
    let mut bytes = fs::read(file(dir.path())).unwrap();
    bytes[end - 5] ^= 1;
    fs::write(file(dir.path()), &bytes).unwrap();
    fs::remove_file(index(dir.path())).unwrap();
    let reader = Segments::open_read_only(dir.path(), chain_id()).unwrap();
    assert_eq!(reader.stored(), all, "the listing has both");
    // The file grew beyond the index, and before its end there is damage.
    fs::remove_file(listing(dir.path())).unwrap();
    fs::write(index(dir.path()), &indexed).unwrap();
    let segments = open(dir.path());
    assert_eq!(segments.stored(), all);
    assert!(segments.batch(&Cid::of("module-2"), 1).unwrap().is_some());
    assert!(matches!(segments.batch(&Cid::of("module-1"), 0), Err(Error::Corrupted { .. })));
    drop(segments);
    assert!(!listing(dir.path()).exists(), "of a file that is damaged none is made");
}

/// The last file lost its end, or is gone, and its number is that of the file which is begun: the listing of what was there does
/// not fit again when it has grown.
#[test]
fn what_was_given_up_does_not_come_back() {
    for left in ["one frame", "no frame", "no file"] {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        segments.append(&[stored("module-1", 0, 4)]).unwrap();
        let end = fs::metadata(file(dir.path())).unwrap().len() as usize;
        segments.append(&[stored("module-2", 3, 2)]).unwrap();
        drop(segments);
        let whole = fs::read(file(dir.path())).unwrap();
        if left == "no file" {
            fs::remove_file(file(dir.path())).unwrap();
        } else {
            let kept = if left == "one frame" { end } else { 10 };
            fs::write(file(dir.path()), &whole[..kept]).unwrap();
        }
        Segments::open(dir.path(), chain_id()).unwrap_err();
        // Given up.
        fs::remove_file(index(dir.path())).unwrap();
        if left != "no file" {
            fs::remove_file(listing(dir.path())).unwrap();
        }
        let kept = usize::from(left == "one frame");
        let reader = Segments::open_read_only(dir.path(), chain_id()).unwrap();
        assert_eq!(reader.stored().batches, kept, "{left}");
        let segments = open(dir.path());
        assert_eq!(segments.stored().batches, kept, "{left}");
        // The first begins before the end that the listing states.
        let later = [stored("module-3", 0, 1), stored("module-4", 0, 100)];
        for batch in &later {
            segments.append(std::slice::from_ref(batch)).unwrap();
        }
        assert!(fs::metadata(file(dir.path())).unwrap().len() as usize > whole.len());
        // As a process that is killed leaves it.
        std::mem::forget(segments);
        let segments = open(dir.path());
        assert_eq!(segments.stored().batches, kept + 2, "{left}");
        assert_eq!(segments.last(&Cid::of("module-2")), None, "{left}: it is gone");
        assert_eq!(segments.append(&later).unwrap(), [Appended::AlreadyStored; 2], "{left}");
        assert_eq!(segments.append(&[stored("module-2", 3, 2)]).unwrap(), [Appended::Stored], "{left}");
    }
}

#[test]
fn old_files_are_removed_and_what_they_held_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let old = include_bytes!("data/segment-v1");
    fs::write(file(dir.path()), old).unwrap();
    let chain_id = old[5..37].try_into().unwrap();
    let segments = Segments::open(dir.path(), chain_id).unwrap();
    let held = segments.stored();
    assert_eq!(segments.prune(u64::MAX).unwrap(), 0, "the file that grows stays");
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    assert_eq!(segments.prune(1).unwrap(), 0, "its records are not that old");
    assert_eq!(segments.prune(u64::MAX).unwrap(), 1);
    assert!(!file(dir.path()).exists() && !listing(dir.path()).exists());
    let left = Stored { batches: 1, records: 4, torn_bytes: 0 };
    assert_eq!((held.batches, segments.stored()), (3, left));
    assert!(segments.batch(&Cid::of("module-1"), 3).unwrap().is_some());
    drop(segments);
    assert_eq!(Segments::open(dir.path(), chain_id).unwrap().stored(), left);
}

/// A file that is taken away or put back while others run the ledger: the next start has what is there, and no more.
#[test]
fn files_that_come_and_go_meanwhile_are_read_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let old = include_bytes!("data/segment-v1");
    let chain_id = old[5..37].try_into().unwrap();
    let open = || Segments::open(dir.path(), chain_id).unwrap();
    let held = |segments: &Segments| (segments.stored().batches, segments.stored().records);
    let put = || fs::write(file(dir.path()), old).unwrap();
    put();
    let segments = open();
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    // Like one that could not be removed.
    assert_eq!(segments.prune(u64::MAX).unwrap(), 1);
    put();
    assert_eq!(segments.prune(u64::MAX).unwrap(), 0, "nothing that it knows is old");
    assert_eq!(held(&segments), (1, 4));
    drop(segments);
    let segments = open();
    assert_eq!(held(&segments), (4, 95), "it is read");
    segments.append(&[stored("module-1", 4, 4)]).unwrap();
    fs::remove_file(file(dir.path())).unwrap();
    drop(segments);
    let segments = open();
    assert_eq!(held(&segments), (2, 8), "nothing is left of it");
    put();
    segments.append(&[stored("module-1", 8, 4)]).unwrap();
    drop(segments);
    let segments = open();
    assert_eq!(held(&segments), (6, 103), "it is read");
    assert_eq!(segments.prune(u64::MAX).unwrap(), 1);
    assert_eq!(held(&segments), (3, 12));
    drop(segments);
    assert_eq!(held(&open()), (3, 12));
}

/// A file as version 1 had it: chain and records are those of a demonstration.
#[test]
fn files_of_version_1_are_read_and_followed_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let old = include_bytes!("data/segment-v1");
    fs::write(file(dir.path()), old).unwrap();
    let chain_id = old[5..37].try_into().unwrap();
    let open = || Segments::open(dir.path(), chain_id).unwrap();
    let segments = open();
    let found = segments.stored();
    assert_eq!(found, Stored { batches: 3, records: 91, torn_bytes: 0 });
    segments.append(&[stored("module-1", 0, 4)]).unwrap();
    drop(segments);
    assert_eq!(fs::read(file(dir.path())).unwrap(), old, "it does not change");
    assert_eq!(fs::read(dir.path().join("segment-00000002")).unwrap()[4], 2);
    let segments = open();
    assert_eq!(segments.stored(), Stored { batches: 4, records: 95, torn_bytes: 0 });
    assert!(segments.batch(&Cid::of("module-1"), 3).unwrap().is_some());
    let mut damaged = old.to_vec();
    damaged[500] ^= 1;
    leave(dir.path(), &damaged);
    assert!(matches!(Segments::open(dir.path(), chain_id), Err(Error::Corrupted { .. })));
}

/// In a process of its own, because a limit on the length of files holds for all of one.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_could_not_be_begun_is_not_in_the_way() {
    use std::{env, process};

    const LIMITED: &str = "MODBATT_TEST_LIMITED";
    if env::var_os(LIMITED).is_none() {
        // A write beyond the limit is to fail instead of ending the process.
        let script =
            "trap '' XFSZ; exec \"$0\" --exact segments::a_file_that_could_not_be_begun_is_not_in_the_way";
        let mut shell = process::Command::new("sh");
        let run =
            shell.args(["-c", script]).arg(env::current_exe().unwrap()).env(LIMITED, "1").output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
        return;
    }
    let limit = |bytes: &str| {
        let own = process::id().to_string();
        let limited = process::Command::new("prlimit").args(["--pid", &own, bytes]).status().unwrap();
        assert!(limited.success());
    };
    let dir = tempfile::tempdir().unwrap();
    let old = include_bytes!("data/segment-v1");
    fs::write(file(dir.path()), old).unwrap();
    // The next batch founds a file.
    let segments = Segments::open(dir.path(), old[5..37].try_into().unwrap()).unwrap();
    limit("--fsize=0:unlimited");
    let refused = segments.append(&[stored("module-1", 0, 4)]).unwrap_err();
    limit("--fsize=unlimited:unlimited");
    assert!(matches!(refused, SegmentError::Store(Error::Io { .. })), "{refused:?}");
    assert_eq!(segments.append(&[stored("module-1", 0, 4)]).unwrap(), [Appended::Stored]);
    // Room for frames, but not for as many zeros behind them: they are stored as long as there is.
    drop(segments);
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    limit("--fsize=100000:unlimited");
    let mut n = 0;
    let refused = loop {
        match segments.append(&[stored("module-1", n * 50, 50)]) {
            Ok(_) => n += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, SegmentError::Store(Error::Io { .. })), "{refused:?}");
    let end = end_of_frames(&fs::read(file(dir.path())).unwrap());
    assert!(end > 95_000, "{end}");
    limit("--fsize=unlimited:unlimited");
    let again = tempfile::tempdir().unwrap();
    fs::copy(file(dir.path()), file(again.path())).unwrap();
    assert_eq!(open(again.path()).stored(), segments.stored());
    segments.append(&[stored("module-1", n * 50, 50)]).unwrap();
    drop(segments);
    assert_eq!(open(dir.path()).stored().batches, n as usize + 1);
}

#[test]
fn who_appends_at_the_same_time_shares_no_answer() {
    const CALLERS: u32 = 12;
    const EACH: u32 = 10;
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    let id = |caller: u32| format!("module-{caller}");
    let news: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let segments = &segments;
                scope.spawn(move || {
                    let mut news = 0;
                    for n in 0..EACH {
                        let own = stored(&id(caller), n, 1);
                        assert_eq!(segments.append(std::slice::from_ref(&own)).unwrap(), [Appended::Stored]);
                        let (_, kept) = segments.batch(&Cid::of(&id(caller)), n).unwrap().unwrap();
                        assert_eq!(kept, own, "what is acknowledged can be read");
                        // All of them bring this one, and one that is refused.
                        let same = segments.append(&[stored("module-x", n, 1)]).unwrap();
                        news += usize::from(same == [Appended::Stored]);
                        let both =
                            segments.append(&[stored(&id(caller), n + EACH, 1), stored(&id(caller), n, 2)]);
                        assert!(
                            matches!(both, Err(SegmentError::Overlap { seq, .. }) if seq == n),
                            "{both:?}"
                        );
                    }
                    news
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert_eq!(news, EACH as usize, "one of those who bring the same is the first");
    let all = Stored {
        batches: ((CALLERS + 1) * EACH) as usize,
        records: u64::from((CALLERS + 1) * EACH),
        torn_bytes: 0,
    };
    assert_eq!(segments.stored(), all);
    drop(segments);
    assert_eq!(open(dir.path()).stored(), all);
}

#[test]
fn batches_are_found_in_whatever_order_they_came() {
    let dir = tempfile::tempdir().unwrap();
    let segments = open(dir.path());
    let order = [50, 10, 90, 30, 70, 0];
    for first in order {
        assert_eq!(segments.append(&[stored("module-1", first, 5)]).unwrap(), [Appended::Stored]);
    }
    drop(segments);
    for segments in [open(dir.path()), Segments::open_read_only(dir.path(), chain_id()).unwrap()] {
        let cid = Cid::of("module-1");
        assert_eq!(segments.last(&cid), Some(94));
        for seq in 0..100 {
            let found = segments.batch(&cid, seq).unwrap().map(|(s, _)| s.first_seq);
            let expected = order.into_iter().find(|first| (*first..first + 5).contains(&seq));
            assert_eq!(found, expected, "record {seq}");
        }
    }
    let segments = open(dir.path());
    for first in order {
        let overlap = segments.append(&[stored("module-1", first + 4, 3)]).err();
        assert!(matches!(overlap, Some(SegmentError::Overlap { seq, .. }) if seq == first), "{overlap:?}");
    }
}
