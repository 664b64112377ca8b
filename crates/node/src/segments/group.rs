//! Appending for many callers at a time: whoever comes while the disk syncs waits for the next sync, which is for all who
//! came (L241).

use std::{
    collections::BTreeMap,
    io::{self, Seek, SeekFrom, Write},
    mem,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
};

use lct::{id::Cid, record::BatchStatement};

use super::{
    Appended, FILE_BYTES, Index, SegmentError, Segments, StoredBatch, Tail,
    frame::{MAX_PAYLOAD, VERSION, encoded, frame},
    place,
};
use crate::error::Error;

/// Most batches of a frame.
const MAX_BATCHES: usize = u16::MAX as usize;

/// A batch that was checked, as it is written.
pub(super) struct Sealed {
    s: BatchStatement,
    statement: Vec<u8>,
    bytes: Vec<u8>,
    present: u64,
}

impl Sealed {
    pub fn of(batch: &StoredBatch) -> Result<Self, SegmentError> {
        let s = batch.check()?;
        Ok(Self { s, statement: batch.statement.clone(), bytes: encoded(batch), present: batch.present() })
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

    /// Returns when the batches are on disk.
    pub fn append(&self, segments: &Segments, batches: Vec<Sealed>) -> Answer {
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
                // Not reached: who leads answers every job it took, and each waiting job is led by somebody.
                Err(_) => return Err(Error::Interrupted.into()),
            }
        }
    }

    /// Writes what waits, hands the lead on, then tells the callers.
    fn lead(&self, segments: &Segments) {
        let jobs = mem::take(&mut lock(&self.queue).jobs);
        let answers = self.write(segments, &jobs);
        {
            // Before the answers, so that the disk does not wait for those who are told.
            let mut queue = lock(&self.queue);
            match queue.jobs.first() {
                // Gone if its caller is: then it waits for nobody.
                Some(next) => queue.led = next.caller.send(Word::Lead).is_ok(),
                None => queue.led = false,
            }
        }
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
        let Some(place) = segments.index().overlapping(s).copied() else {
            return Ok(Appended::Stored);
        };
        let same = place.first_seq == s.first_seq && segments.read(&place)?.0 == *s;
        if same { Ok(Appended::AlreadyStored) } else { overlap(place.first_seq) }
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
    /// Writes a frame, syncs it and notes where its batches are.
    fn write(&mut self, segments: &Segments, batches: &[&Sealed]) -> Result<(), Failure> {
        if self.len >= FILE_BYTES || self.version != VERSION {
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
        let bytes = frame(batches.iter().map(|batch| (batch.bytes.as_slice(), batch.statement.as_slice())));
        let written = self
            .file
            .seek(SeekFrom::Start(self.len))
            .and_then(|_| self.file.write_all(&bytes))
            .and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // Best effort: what stays behind is an unacknowledged torn frame, which the next open cuts off and
            // the next append overwrites.
            let _truncated = self.file.set_len(self.len);
            return Err(Failure { path: segments.path(self.number), kind: e.kind(), code: e.raw_os_error() });
        }
        let index: &mut Index = &mut segments.index.write().unwrap_or_else(PoisonError::into_inner);
        for (i, batch) in batches.iter().enumerate() {
            // A file that is followed by another beyond 64 MiB and frames of at most 65 535 batches have every place.
            if let Some(place) = place(self.number, self.len, i, &batch.s) {
                index.note(batch.s.cid, place, batch.present);
            }
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}
