//! Appending for many callers at a time: whoever comes while the disk syncs waits for the next sync, which is for all who
//! came (L241).

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, Seek, SeekFrom, Write},
    iter, mem,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
};

use lct::{id::Cid, record::BatchStatement};

use super::{
    Appended, FILE_BYTES, SegmentError, Segments, StoredBatch, Tail,
    frame::{FILE_HEADER, MAX_PAYLOAD, VERSION, beginning, encoded},
    listing::{Listed, Listing},
};
use crate::error::Error;

/// Most batches of a frame.
const MAX_BATCHES: usize = u16::MAX as usize;

/// A file that is not this long gets no zeros behind its frames: most ledgers of a test, or of a quiet component, need none.
const FILL_LEAST: u64 = 64 << 10;
/// Most zeros behind them.
const FILL_MOST: u64 = 4 << 20;
/// What is written of them at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A batch that was checked, as it is written.
pub(super) struct Sealed {
    s: BatchStatement,
    statement: Vec<u8>,
    bytes: Vec<u8>,
    present: u64,
    /// Stored before it came.
    stored: bool,
}

impl Sealed {
    pub fn of(segments: &Segments, batch: &StoredBatch) -> Result<Self, SegmentError> {
        let s = batch.check()?;
        // Looked up here, where nobody waits for what is read.
        let stored = segments.holds(&s)?;
        let (statement, bytes) = (batch.statement.clone(), encoded(batch));
        Ok(Self { s, statement, bytes, present: batch.present(), stored })
    }
}

type Answer = Result<Vec<Appended>, SegmentError>;

/// What a caller learns while it waits.
enum Word {
    /// Nobody writes: the caller does it, for all who wait.
    Lead,
    /// Its batches are on disk, or refused.
    Done(Answer),
}

/// Batches of a caller.
struct Job {
    batches: Vec<Sealed>,
    caller: Sender<Word>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Somebody writes, or was told to.
    led: bool,
}

/// Those who append.
pub(super) struct Group {
    queue: Mutex<Queue>,
    /// Only who leads has it.
    tail: Mutex<Tail>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("tail", &self.tail).finish_non_exhaustive()
    }
}

/// Every critical section below leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    pub fn new(tail: Tail) -> Self {
        Self { queue: Mutex::default(), tail: Mutex::new(tail) }
    }

    /// Number of the file that grows, and how far it does.
    pub fn end(&self) -> (u32, u64) {
        let tail = lock(&self.tail);
        (tail.number, tail.len)
    }

    /// Lists what the file that grows holds, and takes away the zeros behind it.
    pub fn close(&self, segments: &Segments) {
        let mut tail = lock(&self.tail);
        // The next start takes away what this does not.
        let _left = tail.trim();
        // Without a listing the next start reads the file.
        let _unlisted = tail.list(segments);
    }

    /// Returns when the batches are on disk.
    pub fn append(&self, segments: &Segments, batches: Vec<Sealed>) -> Answer {
        if batches.iter().all(|batch| batch.stored) {
            return Ok(vec![Appended::AlreadyStored; batches.len()]);
        }
        let (caller, words) = channel();
        let first = {
            let mut queue = lock(&self.queue);
            queue.jobs.push(Job { batches, caller });
            !mem::replace(&mut queue.led, true)
        };
        let mut lead = first;
        loop {
            if mem::take(&mut lead) {
                self.lead(segments);
            }
            match words.recv() {
                Ok(Word::Lead) => lead = true,
                Ok(Word::Done(answer)) => return answer,
                // Who led ended in a panic.
                Err(_) => return Err(Error::Interrupted.into()),
            }
        }
    }

    /// Writes what waits, hands the lead on, then tells the callers.
    fn lead(&self, segments: &Segments) {
        let lead = Lead(self);
        let jobs = mem::take(&mut lock(&self.queue).jobs);
        let answers = self.write(segments, &jobs);
        // Before the answers, so that the disk does not wait for those who are told.
        drop(lead);
        for (job, answer) in jobs.into_iter().zip(answers) {
            // A caller that is gone wants no answer.
            let _gone = job.caller.send(Word::Done(answer));
        }
    }

    /// Writes the batches of all jobs; an answer for each.
    fn write(&self, segments: &Segments, jobs: &[Job]) -> Vec<Answer> {
        let mut tail = lock(&self.tail);
        let mut fresh = Fresh::default();
        let mut answers: Vec<Answer> = jobs.iter().map(|job| fresh.judge(segments, &job.batches)).collect();
        for part in fresh.frames() {
            if let Err(failure) = tail.write(segments, &part) {
                // Whoever had a part in this sync learns of it; what an earlier frame holds counts as stored when it
                // comes again.
                for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                    *answer = Err(failure.error().into());
                }
                break;
            }
        }
        answers
    }
}

/// Who leads; it hands on when it is done, also by a panic, which must not stop the others.
struct Lead<'a>(&'a Group);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let queue = &mut *lock(&self.0.queue);
        // The job of a caller that is gone waits for nobody.
        queue.led = queue.jobs.iter().any(|next| next.caller.send(Word::Lead).is_ok());
    }
}

/// Batches that are written in the next frames.
#[derive(Default)]
struct Fresh<'a>(BTreeMap<(Cid, u32), &'a Sealed>);

impl<'a> Fresh<'a> {
    /// Takes those of a job that are new; none if one of them cannot be stored.
    fn judge(&mut self, segments: &Segments, batches: &'a [Sealed]) -> Answer {
        let mut own = Vec::new();
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            match self.standing(segments, batch) {
                Ok(Appended::Stored) => {
                    self.0.insert((batch.s.cid, batch.s.first_seq), batch);
                    own.push((batch.s.cid, batch.s.first_seq));
                    answers.push(Appended::Stored);
                }
                Ok(stored) => answers.push(stored),
                Err(e) => {
                    for key in own {
                        self.0.remove(&key);
                    }
                    return Err(e);
                }
            }
        }
        Ok(answers)
    }

    /// Whether a batch is new, or the one that is stored already.
    fn standing(&self, segments: &Segments, batch: &Sealed) -> Result<Appended, SegmentError> {
        let s = &batch.s;
        let overlap = |seq| Err(SegmentError::Overlap { cid: s.cid, seq });
        let last = s.first_seq.saturating_add(u32::from(s.count).saturating_sub(1));
        if let Some(((cid, first), other)) = self.0.range(..=(s.cid, last)).next_back() {
            let covered = u64::from(*first) + u64::from(other.s.count) > u64::from(s.first_seq);
            if *cid == s.cid && covered {
                return if other.s == *s { Ok(Appended::AlreadyStored) } else { overlap(*first) };
            }
        }
        let stored = batch.stored || segments.holds(s)?;
        Ok(if stored { Appended::AlreadyStored } else { Appended::Stored })
    }

    /// The batches by frames.
    fn frames(&self) -> Vec<Vec<&'a Sealed>> {
        let mut frames = vec![Vec::new()];
        // What a frame holds besides batches.
        let mut bytes = 64;
        for batch in self.0.values().copied() {
            let full = frames.last().is_some_and(|frame| frame.len() == MAX_BATCHES);
            if full || bytes + batch.bytes.len() > MAX_PAYLOAD {
                frames.push(Vec::new());
                bytes = 64;
            }
            bytes += batch.bytes.len();
            if let Some(frame) = frames.last_mut() {
                frame.push(batch);
            }
        }
        frames.retain(|frame| !frame.is_empty());
        frames
    }
}

/// A write that failed, for each of those who waited for it.
struct Failure {
    path: PathBuf,
    kind: io::ErrorKind,
    code: Option<i32>,
}

impl Failure {
    fn error(&self) -> Error {
        let source = self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error);
        Error::io(&self.path, source)
    }
}

impl Tail {
    fn failure(&self, segments: &Segments, e: &io::Error) -> Failure {
        Failure { path: segments.path(self.number), kind: e.kind(), code: e.raw_os_error() }
    }

    /// Takes away what the file has behind its last frame.
    fn trim(&mut self) -> io::Result<()> {
        if self.filled > self.len || self.unclean {
            self.file.set_len(self.len)?;
            if self.unclean {
                // Or a power cut may bring back what is behind a shorter frame that comes next.
                self.file.sync_all()?;
            }
            self.filled = self.len;
        }
        Ok(())
    }

    /// Writes a frame behind the last one: into zeros, so that its sync has nothing to say but its bytes; where they do not suffice,
    /// with others behind it.
    fn put(&mut self, frame: &mut [IoSlice<'_>], end: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        write_parts(&mut self.file, frame)?;
        if end > self.filled {
            self.filled = filled_to(end);
            if self.fill(self.filled - end).is_err() {
                // A disk that has no room for them has some for the frame; what they took of it blocks need more.
                self.file.set_len(end)?;
                self.filled = end;
            }
        }
        Ok(())
    }

    fn fill(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let part = usize::try_from(count).map_or(&ZEROS[..], |n| &ZEROS[..n.min(ZEROS.len())]);
            self.file.write_all(part)?;
            count -= part.len() as u64;
        }
        Ok(())
    }

    /// Writes the listing of the file.
    fn list(&mut self, segments: &Segments) -> Result<(), Error> {
        if self.len == FILE_HEADER {
            return Ok(());
        }
        let path = segments.path(self.number);
        let before = match Listing::read(&path, &segments.chain_id)? {
            Some(listing) if listing.end == self.len => return Ok(()),
            Some(listing) if listing.end == self.listed_to => listing.listed,
            _ if self.listed_to == FILE_HEADER => Vec::new(),
            // It is lost, or could not be written: the file has it all.
            _ => segments.whole_listing(self.number, self.listed_to)?.listed,
        };
        let listed = [before.as_slice(), &self.listed].concat();
        Listing { end: self.len, listed }.write(&path, &segments.chain_id)?;
        self.listed.clear();
        self.listed_to = self.len;
        Ok(())
    }

    /// Writes a frame, syncs it and notes where its batches are.
    fn write(&mut self, segments: &Segments, batches: &[&Sealed]) -> Result<(), Failure> {
        if self.len >= FILE_BYTES || self.version != VERSION {
            // Without a listing the next start reads the file.
            let _unlisted = self.list(segments);
            // Only the last file has anything behind its frames.
            self.trim().and_then(|()| self.file.sync_all()).map_err(|e| self.failure(segments, &e))?;
            *self = segments.create(self.number + 1).map_err(|e| match e {
                Error::DiskFull(path) => Failure { path, kind: io::ErrorKind::StorageFull, code: None },
                Error::Io { path, source } => {
                    Failure { path, kind: source.kind(), code: source.raw_os_error() }
                }
                other => {
                    Failure { path: segments.dir.clone(), kind: io::Error::other(other).kind(), code: None }
                }
            })?;
        }
        let bytes = batches.iter().map(|batch| batch.bytes.len()).sum();
        let begin = beginning(batches.iter().map(|batch| batch.statement.as_slice()), bytes);
        let end = self.len + (begin.len() + bytes) as u64;
        // As they lie, because a copy of a long frame costs as much as half of its hashes.
        let parts = iter::once(&begin).chain(batches.iter().map(|batch| &batch.bytes));
        let mut parts: Vec<_> = parts.map(|part| IoSlice::new(part)).collect();
        // What a longer frame left behind the end would stand behind this one.
        let cleared = if mem::replace(&mut self.unclean, true) { self.trim() } else { Ok(()) };
        let written = cleared.and_then(|()| self.put(&mut parts, end)).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            self.unclean = self.trim().is_err();
            return Err(self.failure(segments, &e));
        }
        self.unclean = false;
        let index = &mut *segments.index.write().unwrap_or_else(PoisonError::into_inner);
        for (i, batch) in batches.iter().enumerate() {
            // A file that is followed by another beyond 64 MiB and frames of at most 65 535 batches have every place.
            if let Some(listed) = Listed::of(self.len, i, &batch.s, batch.present) {
                index.note(batch.s.cid, listed.place(self.number), batch.present);
                self.listed.push(listed);
            }
        }
        self.len = end;
        index.files.insert(self.number, self.len);
        Ok(())
    }
}

/// Writes all parts, one behind the other.
fn write_parts(out: &mut impl Write, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !parts.is_empty() {
        match out.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// How far a file is filled with zeros whose frames end at `end`: to twice that, but by no more than [`FILL_MOST`] and not beyond
/// where the next file begins.
fn filled_to(end: u64) -> u64 {
    let more = if end < FILL_LEAST { 0 } else { end.min(FILL_MOST) };
    (end + more).min(FILE_BYTES).max(end)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs::{File, OpenOptions},
        panic::{AssertUnwindSafe, catch_unwind},
        path::Path,
        sync::mpsc,
        thread,
        time::Duration,
    };

    use lct::{
        merkle,
        record::{BATCH_STATEMENT_MAX, BatchStatement},
    };

    use super::*;
    use crate::segments::Entry;

    /// Takes few bytes at a time, or none once it is full, and is interrupted now and then.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
        calls: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = bytes.len().min(5).min(self.room - self.taken.len());
            self.taken.extend(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn parts_are_written_whole_and_in_order_or_not_at_all_is_said() {
        let bytes: Vec<u8> = (0..100).collect();
        for cut in 0..=bytes.len() {
            for room in [bytes.len(), 60] {
                let mut out = Narrow { taken: Vec::new(), room, calls: 0 };
                let (begin, end) = bytes.split_at(cut);
                let written = write_parts(&mut out, &mut [begin, &[], end].map(IoSlice::new));
                let whole = room == bytes.len();
                assert_eq!(
                    written.map_err(|e| e.kind()),
                    if whole { Ok(()) } else { Err(io::ErrorKind::WriteZero) }
                );
                assert_eq!(out.taken, bytes[..room], "cut at {cut}");
            }
        }
    }

    /// A batch of `n` records of component `cid`, none of which arrived.
    fn batch(cid: u8, n: u16) -> StoredBatch {
        let leaves: Vec<_> = (0..n).map(|i| [i as u8; 32]).collect();
        let root = merkle::root(&leaves);
        let s = BatchStatement { cid: Cid([cid; 16]), first_seq: 0, count: n, root, first_ms: 1, last_ms: 2 };
        let mut statement = [0; BATCH_STATEMENT_MAX];
        let len = s.encode(&mut statement).unwrap();
        let entries = leaves.into_iter().map(Entry::Missing).collect();
        StoredBatch { statement: statement[..len].to_vec(), entries }
    }

    fn open(dir: &Path) -> Segments {
        Segments::open(dir, [7; 32]).unwrap()
    }

    fn group(segments: &Segments) -> &Group {
        segments.group.as_ref().unwrap()
    }

    /// Appends a batch each of `n` components while the disk belongs to somebody else: one caller leads, the others wait.
    /// Then `prepare` has the disk.
    fn append_together(segments: &Segments, n: u8, prepare: impl FnOnce(&mut Tail)) -> Vec<Answer> {
        let mut tail = lock(&group(segments).tail);
        thread::scope(|scope| {
            let callers: Vec<_> =
                (0..n).map(|cid| scope.spawn(move || segments.append(&[batch(cid, 1)]))).collect();
            let waiting = || {
                let queue = lock(&group(segments).queue);
                queue.led && queue.jobs.len() == usize::from(n) - 1
            };
            while !waiting() {
                thread::yield_now();
            }
            prepare(&mut tail);
            drop(tail);
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        })
    }

    #[test]
    fn those_who_wait_share_a_frame() {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        for answer in append_together(&segments, 20, |_| ()) {
            assert_eq!(answer.unwrap(), [Appended::Stored]);
        }
        let index = segments.index();
        let frames: BTreeSet<_> =
            (0..20).map(|cid| index.before(&Cid([cid; 16]), 0).unwrap().offset).collect();
        assert!(frames.len() <= 2, "that of who led, and one of all who came meanwhile: {frames:?}");
    }

    #[test]
    fn all_who_shared_a_write_that_failed_learn_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        let answers = append_together(&segments, 20, |tail| {
            // A file that is open for reading takes nothing.
            tail.file = File::open(segments.path(1)).unwrap();
        });
        for answer in answers {
            assert!(matches!(answer, Err(SegmentError::Store(Error::Io { .. }))), "{answer:?}");
        }
        assert_eq!(segments.stored().batches, 0);
    }

    /// `/dev/full` is a disk without room.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said_and_appending_goes_on_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        segments.append(&[batch(1, 3)]).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let file = mem::replace(&mut lock(&group(&segments).tail).file, full);
        let refused = segments.append(&[batch(2, 3)]).unwrap_err();
        assert!(matches!(refused, SegmentError::Store(Error::DiskFull(_))), "{refused:?}");
        assert_eq!(segments.stored().batches, 1, "what was acknowledged before is still there");
        lock(&group(&segments).tail).file = file;
        segments.append(&[batch(2, 3)]).unwrap();
        drop(segments);
        assert_eq!(open(dir.path()).stored().batches, 2);
    }

    #[test]
    fn what_a_failed_write_left_is_cleared_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        let path = segments.path(1);
        lock(&group(&segments).tail).file = File::open(&path).unwrap();
        segments.append(&[batch(1, 90)]).unwrap_err();
        // It could not be cut off either. A part of it is in the file.
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(&[0xEE; 2_000])).unwrap();
        lock(&group(&segments).tail).file = file;
        segments.append(&[batch(2, 1)]).unwrap();
        drop(segments);
        let found = open(dir.path()).stored();
        assert_eq!((found.batches, found.torn_bytes), (1, 0));
    }

    #[test]
    fn a_panic_of_who_leads_hands_the_lead_on() {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        let group = group(&segments);
        let (gone, _) = channel();
        let (caller, words) = channel();
        let jobs = [gone, caller].map(|caller| Job { batches: Vec::new(), caller });
        *lock(&group.queue) = Queue { jobs: jobs.into(), led: true };
        catch_unwind(AssertUnwindSafe(|| {
            let _lead = Lead(group);
            panic!("while it writes");
        }))
        .unwrap_err();
        assert!(matches!(words.try_recv(), Ok(Word::Lead)));
    }

    #[test]
    fn a_repetition_does_not_wait_for_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        segments.append(&[batch(1, 3)]).unwrap();
        let tail = lock(&group(&segments).tail);
        thread::scope(|scope| {
            let (sender, answers) = mpsc::channel();
            let segments = &segments;
            scope.spawn(move || sender.send(segments.append(&[batch(1, 3)])));
            let answer = answers.recv_timeout(Duration::from_secs(60));
            drop(tail);
            assert!(matches!(answer, Ok(Ok(stored)) if stored == [Appended::AlreadyStored]));
        });
    }

    /// What is gone is forgotten and what is not stays known, so that the next one goes on with it.
    #[test]
    fn a_prune_that_fails_half_way_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let segments = open(dir.path());
        for cid in 1..=4 {
            segments.append(&[batch(cid, 3)]).unwrap();
            // The next batch founds a file.
            lock(&group(&segments).tail).version = 1;
        }
        let [listing, stuck] = [Listing::path(&segments.path(1)), segments.path(2)];
        assert!(listing.exists());
        let remove = |path: &Path| {
            if path == stuck { Err(Error::Interrupted) } else { crate::segments::remove(path) }
        };
        assert!(matches!(segments.prune_by(u64::MAX, remove), Err(Error::Interrupted)));
        assert_eq!(segments.numbers().unwrap(), [2, 3, 4]);
        assert!(!listing.exists());
        assert_eq!(segments.stored().batches, 3);
        assert_eq!(segments.append(&[batch(2, 3)]).unwrap(), [Appended::AlreadyStored]);
        assert_eq!(segments.batch(&Cid([1; 16]), 0).unwrap(), None);
        assert_eq!(segments.prune(u64::MAX).unwrap(), 2);
        assert_eq!((segments.numbers().unwrap().as_slice(), segments.stored().batches), (&[4][..], 1));
        drop(segments);
        assert_eq!(open(dir.path()).stored().batches, 1);
    }
}
