//! Telemetry over time: records summed up by minute, hour and day (`spec/ledger.md`, L252 to L255).
//!
//! It holds nothing that the record files did not: it follows them from where it stood, in transactions that hold sums and
//! place together, and is made anew where it is missing or damaged. Nobody who appends waits for it. What it keeps of a
//! component is bounded; the record files are where everything is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
};

use lct::{
    Digest,
    hash::sha256,
    id::Cid,
    record::{Record, RecordKind},
};
use ledger::codec::Canonical;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use crate::{
    error::{Error, hex},
    segments::{self, Entry, Mark, Segments, StoredBatch},
    store::file::{self, guarded},
};

mod bucket;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Figure};

/// Resolution, component, kind of record, and begin of the span.
type Key = (u8, [u8; 16], u8, u64);
/// Kind of the records, buckets by their begin, and begin of the next one.
type Buckets = (RecordKind, Vec<(u64, Bucket)>, Option<u64>);

const BUCKETS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("buckets");
/// `of`: format and chain; `place`: the last frame that is summed up.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FORMAT: u8 = 1;
const FILE: &str = "series.redb";
const CACHE_BYTES: usize = 8 << 20;
/// Records after which a transaction is closed.
const STEP: usize = 20_000;
/// Values of its sums after which it is closed as well: records of many values would take memory without bound otherwise.
const STEP_VALUES: usize = 200_000;
/// Records that one call sums up at most.
const PATIENCE: usize = 200_000;

/// How finely time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// The last 1440 minutes that have a record: a day of one that never pauses.
    Minute = 1,
    /// The last 744 hours that have a record: 31 days.
    Hour = 2,
    /// The last 1825 days that have a record: five years.
    Day = 3,
}

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Word for people and APIs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The resolution of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Milliseconds of a span. Spans begin at multiples of it.
    #[must_use]
    pub fn span_ms(self) -> u64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// Spans that are kept of one component and kind of record: the last ones that have a record. How far they lie apart does
    /// not count, so that a record with a time far ahead takes the place of one span and not of all.
    #[must_use]
    pub fn kept(self) -> usize {
        match self {
            Self::Minute => 24 * 60,
            Self::Hour => 31 * 24,
            Self::Day => 5 * 365,
        }
    }

    fn begin(self, time_ms: u64) -> u64 {
        time_ms - time_ms % self.span_ms()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of which component.
    pub cid: Cid,
    /// How finely.
    pub resolution: Resolution,
    /// From when on, Unix milliseconds: from the span on that holds it.
    pub from_ms: u64,
    /// Spans that begin before, Unix milliseconds.
    pub to_ms: u64,
    /// Most values of the answer, over all buckets; a single bucket may have more.
    pub limit: usize,
}

/// Buckets by their begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Kind of the records: the one of its last record, should a component have made several.
    pub kind: RecordKind,
    /// Ascending.
    pub buckets: Vec<(u64, Bucket)>,
    /// Begin of the first bucket for which there was no room.
    pub next_ms: Option<u64>,
    /// What was done before it was answered.
    pub followed: Followed,
}

/// How far the sums follow the record files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// All that was stored is summed up; otherwise ask again.
    pub complete: bool,
    /// Why they were begun anew, if they were.
    pub anew: Option<Anew>,
}

/// Why sums are begun anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anew {
    /// There were none.
    Missing,
    /// The file cannot be used.
    Unusable {
        /// What is wrong with it.
        what: String,
        /// Where it lies now.
        aside: PathBuf,
    },
    /// They were of other record files than those that are there.
    OtherRecords {
        /// Where the file lies now: what it holds of files that are gone is nowhere else.
        aside: PathBuf,
    },
}

impl fmt::Display for Anew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                f.write_str("there were no sums of the records; they are made from the record files")
            }
            Self::Unusable { what, aside } => write!(
                f,
                "the sums of the records could not be used ({what}), lie in {} now, and are made anew from the record files",
                aside.display()
            ),
            Self::OtherRecords { aside } => write!(
                f,
                "the sums of the records were of other record files than those that are there, lie in {} now, and are made \
                 anew from the record files",
                aside.display()
            ),
        }
    }
}

/// What a keeper has open. It does not keep it open.
type Shown = Arc<Mutex<Weak<Database>>>;

/// The sums of a ledger's records, for many who ask and one at a time who sums up.
#[derive(Debug)]
pub(crate) struct Sums {
    path: PathBuf,
    keeper: Mutex<Keeper>,
    shown: Shown,
}

impl Sums {
    /// Of the ledger in `dir`.
    pub fn new(dir: &Path, chain_id: Digest) -> Self {
        let keeper = Keeper::new(dir, chain_id);
        Self { path: keeper.path.clone(), shown: Arc::clone(&keeper.shown), keeper: Mutex::new(keeper) }
    }

    /// Who sums up; waits until nobody else does.
    pub fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows and answers. While somebody else is at it, it answers at once from what is summed up: those who ask would
    /// wait in a row otherwise, each with a thread.
    ///
    /// # Errors
    /// As [`Keeper::follow`].
    pub fn ask(&self, segments: &Segments, question: &Question) -> Result<Answer, Error> {
        match self.keeper.try_lock() {
            Ok(mut keeper) => keeper.ask(segments, question),
            Err(TryLockError::Poisoned(keeper)) => keeper.into_inner().ask(segments, question),
            Err(TryLockError::WouldBlock) => self.summed(segments, question),
        }
    }

    fn summed(&self, segments: &Segments, question: &Question) -> Result<Answer, Error> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let Some(db) = shown else {
            let followed = Followed { complete: false, anew: None };
            return Ok(Answer { kind: RecordKind::Module, buckets: Vec::new(), next_ms: None, followed });
        };
        guarded(&self.path, move || {
            // Read first: what is summed up meanwhile makes the answer no less complete.
            let complete = match place(&db, &self.path)? {
                Some(mark) => segments.ends_with(&mark),
                None => segments.stored().batches == 0,
            };
            let (kind, buckets, next_ms) = read(&db, &self.path, question)?;
            Ok(Answer { kind, buckets, next_ms, followed: Followed { complete, anew: None } })
        })
    }
}

/// Who sums up the records of a ledger. The sums are opened when somebody first needs them.
#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    chain_id: Digest,
    open: Option<Series>,
    shown: Shown,
}

impl Keeper {
    /// Of the ledger in `dir`.
    pub fn new(dir: &Path, chain_id: Digest) -> Self {
        Self { path: dir.join(FILE), chain_id, open: None, shown: Shown::default() }
    }

    /// Sums up what was stored since, so far as it can be done soon.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::FormatVersion`], and when a file cannot be read or written.
    pub fn follow(&mut self, segments: &Segments) -> Result<Followed, Error> {
        self.with(|series| series.follow(segments)).map(|(complete, anew)| Followed { complete, anew })
    }

    /// As [`Keeper::follow`], and answers.
    pub fn ask(&mut self, segments: &Segments, question: &Question) -> Result<Answer, Error> {
        let ((complete, (kind, buckets, next_ms)), anew) = self.with(|series| {
            let Some(complete) = series.follow(segments)? else { return Ok(None) };
            Ok(Some((complete, read(&series.db, &series.path, question)?)))
        })?;
        Ok(Answer { kind, buckets, next_ms, followed: Followed { complete, anew } })
    }

    /// Does something with the sums; with new ones where those that are there turn out to be damaged, or `ask` finds, by
    /// answering nothing, that they are of other record files.
    fn with<T>(
        &mut self,
        mut ask: impl FnMut(&Series) -> Result<Option<T>, Error>,
    ) -> Result<(T, Option<Anew>), Error> {
        let anew = if self.open.is_none() { self.open()? } else { None };
        let damage = match self.guarded(&mut ask) {
            Ok(Some(answer)) => return Ok((answer, anew)),
            Ok(None) => None,
            Err(Error::Corrupted { path, what }) if path == self.path && anew.is_none() => Some(what),
            Err(error) => {
                // After a write that failed the database refuses all others until it is opened again: a disk that was
                // full for a moment is no reason to sum up nothing until the next start.
                if let Error::Stopped(path) | Error::DiskFull(path) | Error::Io { path, .. } = &error
                    && *path == self.path
                {
                    self.close();
                }
                return Err(error);
            }
        };
        self.close();
        let aside = set_aside(&self.path)?;
        self.open()?;
        let answer = self.guarded(&mut ask)?;
        let answer = answer
            .ok_or_else(|| Error::corrupted(&self.path, "new sums have a place in the record files"))?;
        let anew = match damage {
            Some(what) => Anew::Unusable { what, aside },
            None => Anew::OtherRecords { aside },
        };
        Ok((answer, Some(anew)))
    }

    fn guarded<T>(&self, ask: impl FnOnce(&Series) -> Result<T, Error>) -> Result<T, Error> {
        guarded(&self.path, || match &self.open {
            Some(series) => ask(series),
            None => Err(Error::Missing(self.path.clone())),
        })
    }

    fn open(&mut self) -> Result<Option<Anew>, Error> {
        let (series, anew) = Series::open(&self.path, &self.chain_id)?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&series.db);
        self.open = Some(series);
        Ok(anew)
    }

    fn close(&mut self) {
        let open = self.open.take();
        // What it says while it is closed helps nobody any more.
        let _closed = guarded(&self.path, || {
            drop(open);
            Ok(())
        });
    }
}

/// Gives a file that cannot be used another name; one that had it before is gone.
fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let aside = path.with_extension("damaged");
    fs::rename(path, &aside).map_err(|e| Error::io(path, e))?;
    Ok(aside)
}

/// What is stored of a bucket under its key: the database finds damage of its own order only.
fn sealed(key: &Key, bucket: &Bucket) -> Vec<u8> {
    let mut bytes = bucket.to_bytes();
    let check = check(key, &bytes);
    bytes.extend_from_slice(&check);
    bytes
}

fn opened(key: &Key, bytes: &[u8]) -> Result<Bucket, redb::Error> {
    let damaged = || redb::Error::Corrupted(format!("a bucket of component {}", hex(&key.1)));
    let (bucket, found) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
    if *found != check(key, bucket) {
        return Err(damaged());
    }
    Bucket::from_bytes(bucket).map_err(|_| damaged())
}

fn check(key: &Key, bucket: &[u8]) -> [u8; 8] {
    let hash = sha256(&[&[key.0], &key.1, &[key.2], &key.3.to_be_bytes(), bucket]);
    let mut check = [0; 8];
    check.copy_from_slice(&hash[..8]);
    check
}

/// Whether these are sums of this chain, in the format of this build.
fn identify(txn: &ReadTransaction, (path, chain_id): (&Path, &Digest)) -> Result<(), Error> {
    let damaged = |what: String| Err(Error::corrupted(path, what));
    let of = meta(txn, path, "of")?;
    match of.as_deref().and_then(<[u8]>::split_first) {
        Some((&FORMAT, of)) if of == chain_id => Ok(()),
        Some((&FORMAT, of)) => damaged(format!("it is of the chain {}", hex(of))),
        Some((&found, _)) if found > FORMAT => {
            Err(Error::FormatVersion { path: path.into(), found: found.into(), known: FORMAT.into() })
        }
        _ => damaged("it does not say what it is".into()),
    }
}

fn meta(txn: &ReadTransaction, path: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let read = || -> Result<_, redb::Error> {
        let value = txn.open_table(META)?.get(name)?;
        Ok(value.map(|bytes| bytes.value().to_vec()))
    };
    read().map_err(|e| Error::store(path, e))
}

/// An open file of sums.
struct Series {
    db: Arc<Database>,
    path: PathBuf,
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Series {
    /// Opens the sums, or begins them; a file that cannot be used is set aside.
    fn open(path: &Path, chain_id: &Digest) -> Result<(Self, Option<Anew>), Error> {
        let mut anew = Anew::Missing;
        if path.exists() {
            let of = (path, chain_id);
            match file::open(path, CACHE_BYTES, |txn| identify(&txn, of)) {
                Ok((db, ())) => return Ok((Self { db: Arc::new(db), path: path.into() }, None)),
                Err(Error::Corrupted { what, .. }) => {
                    anew = Anew::Unusable { what, aside: set_aside(path)? };
                }
                Err(other) => return Err(other),
            }
        }
        Ok((Self::create(path, chain_id)?, Some(anew)))
    }

    /// Makes the file under another name first: what a kill leaves half made is not taken for damage.
    fn create(path: &Path, chain_id: &Digest) -> Result<Self, Error> {
        let part = path.with_extension("part");
        segments::remove(&part)?;
        let db = Database::create(&part).map_err(|e| Error::store(&part, e))?;
        drop(Self::begin(db, &part, chain_id)?);
        fs::rename(&part, path).map_err(|e| Error::io(path, e))?;
        let db = Database::builder().set_cache_size(CACHE_BYTES).open(path);
        Ok(Self { db: Arc::new(db.map_err(|e| Error::store(path, e))?), path: path.into() })
    }

    /// Begins sums in an empty database.
    fn begin(db: Database, path: &Path, chain_id: &Digest) -> Result<Self, Error> {
        let series = Self { db: Arc::new(db), path: path.into() };
        series.write(Durability::Immediate, |txn| {
            txn.open_table(BUCKETS)?;
            txn.open_table(META)?.insert("of", [&[FORMAT], chain_id.as_slice()].concat().as_slice())?;
            Ok(())
        })?;
        Ok(series)
    }

    fn write(
        &self,
        durability: Durability,
        step: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        let write = || -> Result<(), redb::Error> {
            let mut txn = self.db.begin_write()?;
            txn.set_durability(durability)?;
            step(&txn)?;
            txn.commit()?;
            Ok(())
        };
        write().map_err(|e| Error::store(&self.path, e))
    }

    /// Sums up what was stored since; whether that is all of it. `None` when the last frame that is summed up is not where it
    /// was: the sums are of other record files.
    fn follow(&self, segments: &Segments) -> Result<Option<bool>, Error> {
        let mut mark = place(&self.db, &self.path)?;
        if let Some(at) = &mark
            && !segments.has(at)?
        {
            return Ok(None);
        }
        let mut done = 0;
        let complete = loop {
            let mut step = Step::default();
            let before = mark;
            segments.frames_after(before.as_ref(), |at, payload, _| -> Result<bool, Error> {
                let batches = StoredBatch::of_frame(payload).map_err(|e| Error::corrupted(&self.path, e))?;
                for entry in batches.iter().flat_map(|batch| &batch.entries) {
                    let Entry::Record(bytes) = entry else { continue };
                    // What is stored was read before.
                    let Ok(record) = Record::decode(bytes) else { continue };
                    step.add(&record);
                }
                mark = Some(*at);
                Ok(!step.is_full())
            })?;
            if mark == before {
                break true;
            }
            self.store(&step.sums, mark)?;
            done += step.records;
            if done >= PATIENCE {
                break false;
            }
        };
        if done > 0 {
            self.write(Durability::Immediate, |_| Ok(()))?;
        }
        Ok(Some(complete))
    }

    /// Adds sums to those that are stored, forgets what is too old, and notes how far they go. It is durable with the next
    /// write that is.
    fn store(&self, sums: &BTreeMap<Key, Bucket>, mark: Option<Mark>) -> Result<(), Error> {
        self.write(Durability::None, |txn| {
            let mut table = txn.open_table(BUCKETS)?;
            let mut grown: BTreeSet<(u8, [u8; 16], u8)> = BTreeSet::new();
            for (key, bucket) in sums {
                let stored = table.get(key)?.map(|bytes| opened(key, bytes.value())).transpose()?;
                let all = match stored {
                    Some(mut all) => {
                        all.add(bucket);
                        sealed(key, &all)
                    }
                    None => {
                        grown.insert((key.0, key.1, key.2));
                        sealed(key, bucket)
                    }
                };
                table.insert(key, all.as_slice())?;
            }
            // The oldest one that is kept never becomes older, and what is older than it does not come back: how the records
            // are cut into steps does not show.
            for (resolution, cid, kind) in grown {
                let Some(of) = Resolution::ALL.into_iter().find(|one| *one as u8 == resolution) else {
                    continue;
                };
                let all = (resolution, cid, kind, 0)..=(resolution, cid, kind, u64::MAX);
                let oldest = table.range(all)?.rev().nth(of.kept() - 1).transpose()?;
                let Some(oldest) = oldest.map(|(key, _)| key.value().3) else { continue };
                table.retain_in((resolution, cid, kind, 0)..(resolution, cid, kind, oldest), |_, _| false)?;
            }
            if let Some(mark) = mark {
                txn.open_table(META)?.insert("place", mark.to_bytes().as_slice())?;
            }
            Ok(())
        })
    }
}

/// Sums of a step that are not stored yet.
#[derive(Default)]
struct Step {
    sums: BTreeMap<Key, Bucket>,
    records: usize,
    /// Values of all sums.
    values: usize,
}

impl Step {
    fn add(&mut self, record: &Record) {
        let one = Bucket::of(record);
        for resolution in Resolution::ALL {
            let begin = resolution.begin(record.time_ms);
            let key = (resolution as u8, record.cid.0, record.kind as u8, begin);
            let sum = self.sums.get_mut(&key);
            let before = sum.as_ref().map_or(0, |sum| sum.values.len());
            let after = match sum {
                Some(sum) => {
                    sum.add(&one);
                    sum.values.len()
                }
                None => {
                    self.sums.insert(key, one.clone());
                    one.values.len()
                }
            };
            self.values += after - before;
        }
        self.records += 1;
    }

    fn is_full(&self) -> bool {
        self.records >= STEP || self.values >= STEP_VALUES
    }
}

/// The last frame that is summed up.
fn place(db: &Database, path: &Path) -> Result<Option<Mark>, Error> {
    let txn = db.begin_read().map_err(|e| Error::store(path, e))?;
    let Some(bytes) = meta(&txn, path, "place")? else { return Ok(None) };
    let mark = Mark::from_bytes(&bytes);
    mark.map(Some).map_err(|_| Error::corrupted(path, "its place in the record files cannot be read"))
}

/// Kind of the records, the buckets that are asked for, and where those begin for which there is no room.
fn read(db: &Database, path: &Path, question: &Question) -> Result<Buckets, Error> {
    let Question { cid, resolution, from_ms, to_ms, limit } = *question;
    let read = || -> Result<Buckets, redb::Error> {
        let table = db.begin_read()?.open_table(BUCKETS)?;
        let key = |kind: RecordKind, begin| (resolution as u8, cid.0, kind as u8, begin);
        let last = |kind| -> Result<Option<u64>, redb::Error> {
            let last = table.range(key(kind, 0)..=key(kind, u64::MAX))?.next_back().transpose()?;
            Ok(last.map(|(at, _)| at.value().3))
        };
        let pack = last(RecordKind::Pack)? > last(RecordKind::Module)?;
        let kind = if pack { RecordKind::Pack } else { RecordKind::Module };
        let (mut buckets, mut values) = (Vec::new(), 0);
        let first = resolution.begin(from_ms);
        if first >= to_ms {
            return Ok((kind, buckets, None));
        }
        for entry in table.range(key(kind, first)..key(kind, to_ms))? {
            let (at, bytes) = entry?;
            let begin = at.value().3;
            let bucket = opened(&at.value(), bytes.value())?;
            values += bucket.values.len().max(1);
            if values > limit && !buckets.is_empty() {
                return Ok((kind, buckets, Some(begin)));
            }
            buckets.push((begin, bucket));
        }
        Ok((kind, buckets, None))
    };
    read().map_err(|e| Error::store(path, e))
}
