//! Telemetry over time: records summed up by minute, hour and day (`spec/ledger.md`, L252 to L255).
//!
//! It holds nothing that the record files did not: it follows them from where it stood, in transactions that hold sums and
//! place together, and is made anew where it is missing or damaged. Nobody who appends waits for it. What it keeps of a
//! component is bounded; the record files are where everything is.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
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
    segments::{Entry, Mark, Segments, StoredBatch},
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
/// Records that one call sums up at most.
const PATIENCE: usize = 200_000;

/// How finely time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// The last day by minute.
    Minute = 1,
    /// The last 31 days by hour.
    Hour = 2,
    /// The last five years by day.
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

    /// Spans that are kept of one component and kind of record, back from its last one.
    #[must_use]
    pub fn kept(self) -> u64 {
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
    OtherRecords,
}

impl fmt::Display for Anew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there were no sums of the records; they are made from the record files"),
            Self::Unusable { what, aside } => write!(
                f,
                "the sums of the records could not be used ({what}), lie in {} now, and are made anew from the record files",
                aside.display()
            ),
            Self::OtherRecords => f.write_str(
                "the sums of the records were of other record files than those that are there, and are made anew",
            ),
        }
    }
}

/// The sums of a ledger's records, opened when somebody first needs them.
#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    chain_id: Digest,
    open: Option<Series>,
}

impl Keeper {
    /// Of the ledger in `dir`.
    pub fn new(dir: &Path, chain_id: Digest) -> Self {
        Self { path: dir.join(FILE), chain_id, open: None }
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
        let ((complete, (kind, buckets, next_ms)), anew) =
            self.with(|series| Ok((series.follow(segments)?, series.read(question)?)))?;
        Ok(Answer { kind, buckets, next_ms, followed: Followed { complete, anew } })
    }

    /// Does something with the sums; with new ones where those that are there turn out to be damaged.
    fn with<T>(
        &mut self,
        mut ask: impl FnMut(&mut Series) -> Result<T, Error>,
    ) -> Result<(T, Option<Anew>), Error> {
        let mut anew = None;
        if self.open.is_none() {
            let (series, how) = Series::open(&self.path, &self.chain_id)?;
            (self.open, anew) = (Some(series), how);
        }
        let open = &mut self.open;
        let answer = guarded(&self.path, || match open {
            Some(series) => ask(series).map(|answer| (answer, series.anew.take())),
            None => Err(Error::Missing(self.path.clone())),
        });
        match answer {
            Err(Error::Corrupted { path, what }) if path == self.path && anew.is_none() => {
                // What it says while it is closed helps nobody any more.
                let open = self.open.take();
                let _closed = guarded(&self.path, || {
                    drop(open);
                    Ok(())
                });
                let aside = set_aside(&self.path)?;
                let (mut series, _) = Series::open(&self.path, &self.chain_id)?;
                let answer = ask(&mut series)?;
                self.open = Some(series);
                Ok((answer, Some(Anew::Unusable { what, aside })))
            }
            other => other.map(|(answer, found)| (answer, found.or(anew))),
        }
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
    db: Database,
    path: PathBuf,
    /// It was begun anew meanwhile.
    anew: Option<Anew>,
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
                Ok((db, ())) => return Ok((Self { db, path: path.into(), anew: None }, None)),
                Err(Error::Corrupted { what, .. }) => {
                    anew = Anew::Unusable { what, aside: set_aside(path)? };
                }
                Err(other) => return Err(other),
            }
        }
        let db = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let db = db.map_err(|e| Error::store(path, e))?;
        Ok((Self::begin(db, path, chain_id)?, Some(anew)))
    }

    /// Begins sums in an empty database.
    fn begin(db: Database, path: &Path, chain_id: &Digest) -> Result<Self, Error> {
        let series = Self { db, path: path.into(), anew: None };
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

    /// The last frame that is summed up.
    fn place(&self) -> Result<Option<Mark>, Error> {
        let txn = self.db.begin_read().map_err(|e| Error::store(&self.path, e))?;
        let Some(bytes) = meta(&txn, &self.path, "place")? else { return Ok(None) };
        let mark = Mark::from_bytes(&bytes);
        mark.map(Some)
            .map_err(|_| Error::corrupted(&self.path, "its place in the record files cannot be read"))
    }

    /// Sums up what was stored since; whether that is all of it.
    fn follow(&mut self, segments: &Segments) -> Result<bool, Error> {
        let mut mark = self.place()?;
        if let Some(at) = &mark
            && !segments.has(at)?
        {
            self.write(Durability::None, |txn| {
                txn.delete_table(BUCKETS)?;
                txn.open_table(BUCKETS)?;
                txn.open_table(META)?.remove("place")?;
                Ok(())
            })?;
            (self.anew, mark) = (Some(Anew::OtherRecords), None);
        }
        let mut done = 0;
        let complete = loop {
            let mut sums: BTreeMap<Key, Bucket> = BTreeMap::new();
            let (before, mut records) = (mark, 0);
            segments.frames_after(before.as_ref(), |at, payload, _| -> Result<bool, Error> {
                let batches = StoredBatch::of_frame(payload).map_err(|e| Error::corrupted(&self.path, e))?;
                for entry in batches.iter().flat_map(|batch| &batch.entries) {
                    let Entry::Record(bytes) = entry else { continue };
                    // What is stored was read before.
                    let Ok(record) = Record::decode(bytes) else { continue };
                    let one = Bucket::of(&record);
                    for resolution in Resolution::ALL {
                        let begin = resolution.begin(record.time_ms);
                        let key = (resolution as u8, record.cid.0, record.kind as u8, begin);
                        sums.entry(key).and_modify(|sum| sum.add(&one)).or_insert_with(|| one.clone());
                    }
                    records += 1;
                }
                mark = Some(*at);
                Ok(records < STEP)
            })?;
            if mark == before {
                break true;
            }
            self.store(&sums, mark)?;
            done += records;
            if done >= PATIENCE {
                break false;
            }
        };
        if done > 0 {
            self.write(Durability::Immediate, |_| Ok(()))?;
        }
        Ok(complete)
    }

    /// Adds sums to those that are stored, forgets what is too old, and notes how far they go. It is durable with the next
    /// write that is.
    fn store(&self, sums: &BTreeMap<Key, Bucket>, mark: Option<Mark>) -> Result<(), Error> {
        self.write(Durability::None, |txn| {
            let mut table = txn.open_table(BUCKETS)?;
            let mut touched: BTreeMap<(u8, [u8; 16], u8), u64> = BTreeMap::new();
            for (key, bucket) in sums {
                let stored = table.get(key)?.map(|bytes| opened(key, bytes.value())).transpose()?;
                let all = match stored {
                    Some(mut all) => {
                        all.add(bucket);
                        sealed(key, &all)
                    }
                    None => sealed(key, bucket),
                };
                table.insert(key, all.as_slice())?;
                touched.insert((key.0, key.1, key.2), key.3);
            }
            for ((resolution, cid, kind), last) in touched {
                let Some(of) = Resolution::ALL.into_iter().find(|one| *one as u8 == resolution) else {
                    continue;
                };
                // Back from the last one that is stored, which may be later than those of this step.
                let all = (resolution, cid, kind, last)..=(resolution, cid, kind, u64::MAX);
                let newest =
                    table.range(all)?.next_back().transpose()?.map_or(last, |(key, _)| key.value().3);
                let oldest = newest.saturating_sub((of.kept() - 1) * of.span_ms());
                table.retain_in((resolution, cid, kind, 0)..(resolution, cid, kind, oldest), |_, _| false)?;
            }
            if let Some(mark) = mark {
                txn.open_table(META)?.insert("place", mark.to_bytes().as_slice())?;
            }
            Ok(())
        })
    }

    /// Kind of the records, the buckets that are asked for, and where those begin for which there is no room.
    fn read(&self, question: &Question) -> Result<Buckets, Error> {
        let Question { cid, resolution, from_ms, to_ms, limit } = *question;
        let read = || -> Result<Buckets, redb::Error> {
            let table = self.db.begin_read()?.open_table(BUCKETS)?;
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
        read().map_err(|e| Error::store(&self.path, e))
    }
}
