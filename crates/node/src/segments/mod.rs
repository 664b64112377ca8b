//! Telemetry records in append-only files (`spec/ledger.md`, L90, L91 and L240 to L242).
//!
//! ```text
//! file    = "MBSG" || 02 || chain id 32 || frames
//! frame   = u32 length || H(length)[0:4] || H(statements of the payload, joined)[0:8] || payload
//! payload = { 0: 1, 1: [ [ statement, [ [0, record] | [1, leaf hash] ... ] ] ... ] }
//! ```
//!
//! A statement commits to its records by their root, so the frame needs no hash over them. Files of version 1 have the
//! hash of the payload in that place; they are read, and followed by files of version 2.
//!
//! A batch is acknowledged after its frame is synced. What one sync makes durable is one frame, so only the last frame
//! of the last file can be torn by a crash; it was never acknowledged and is moved to a file beside it at the next open.
//! While a file grows there are zeros behind its frames, into which the next ones are written (L228).
//! Damage anywhere else is reported, never cut. A start reads the index that the last close left, the listings of files that
//! it lacks or that grew, and what a file holds beyond its listing.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use lct::{
    Digest,
    id::Cid,
    merkle::leaf_hash,
    record::{BATCH_MAX, BatchStatement, RECORD_MAX, Record},
};
use ledger::{
    codec::{Canonical, FormatError, Reader, Writer},
    tx::MAX_STATEMENT,
};

use crate::{cores, error::Error};
use frame::{FILE_HEADER, Found, Frame, VERSION, file_header, file_version, read_frame, read_statements};
use group::{Group, Sealed};
use index::{Index, Place};
use leaves::Leaves;
use listing::{Listed, Listing};
use table::Row;

mod frame;
mod group;
mod index;
mod leaves;
mod listing;
mod table;

/// The index of all record files, beside them.
const INDEX: &str = "index";

/// A file that has grown beyond this is followed by a new one.
const FILE_BYTES: u64 = 64 << 20;
/// Fewest batches whose check is worth a thread.
const LEAST: usize = 3;

/// One place in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The record's canonical bytes.
    Record(Vec<u8>),
    /// The record never arrived; its leaf hash keeps the proofs of the others standing.
    Missing(Digest),
}

impl Entry {
    /// The entry's leaf in the tree of its batch.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        match self {
            Self::Record(bytes) => leaf_hash(bytes),
            Self::Missing(leaf) => *leaf,
        }
    }
}

/// A batch as stored: the statement's canonical bytes and one entry per record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// `lct::record::BatchStatement` bytes.
    pub statement: Vec<u8>,
    /// Entries in order of sequence numbers.
    pub entries: Vec<Entry>,
}

/// Why a batch is not stored, or the store failed.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The statement cannot be read.
    #[error("the batch statement is malformed")]
    Statement,
    /// The number of entries is not the statement's count.
    #[error("the batch has {found} entries, its statement says {stated}")]
    Count {
        /// Entries given.
        found: usize,
        /// Count stated.
        stated: u16,
    },
    /// An entry is no record, or not the one its place needs.
    #[error("entry {0} is not the record of its place in the batch")]
    Record(usize),
    /// The entries do not hash to the statement's root.
    #[error("the records are not those the statement commits to")]
    Root,
    /// Other records are stored under these sequence numbers.
    #[error("other records of {cid} are already stored from number {seq}")]
    Overlap {
        /// The component.
        cid: Cid,
        /// First sequence number of the stored batch.
        seq: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Canonical for StoredBatch {
    fn write(&self, w: &mut Writer) {
        w.array(2).bytes(&self.statement).array(self.entries.len());
        for entry in &self.entries {
            match entry {
                Entry::Record(bytes) => w.array(2).uint(0).bytes(bytes),
                Entry::Missing(leaf) => w.array(2).uint(1).bytes(leaf),
            };
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.array(2)? != 2 {
            return Err(FormatError::Unexpected);
        }
        let statement = r.bytes(MAX_STATEMENT)?.to_vec();
        let n = r.array(BATCH_MAX.into())?;
        let mut entries = Vec::with_capacity(n);
        for _ in 0..n {
            if r.array(2)? != 2 {
                return Err(FormatError::Unexpected);
            }
            entries.push(match r.uint()? {
                0 => Entry::Record(r.bytes(RECORD_MAX)?.to_vec()),
                1 => Entry::Missing(r.fixed()?),
                _ => return Err(FormatError::Unexpected),
            });
        }
        Ok(Self { statement, entries })
    }
}

impl StoredBatch {
    /// Checks the entries against the statement.
    pub(crate) fn check(&self) -> Result<BatchStatement, SegmentError> {
        let s = BatchStatement::decode(&self.statement).map_err(|_| SegmentError::Statement)?;
        if self.entries.len() != usize::from(s.count) {
            return Err(SegmentError::Count { found: self.entries.len(), stated: s.count });
        }
        let mut leaves = Leaves::default();
        for (i, (entry, seq)) in self.entries.iter().zip(s.first_seq..).enumerate() {
            match entry {
                Entry::Record(bytes) => {
                    let (cid, own, time_ms) = Record::place(bytes).map_err(|_| SegmentError::Record(i))?;
                    if cid != s.cid || own != seq || !(s.first_ms..=s.last_ms).contains(&time_ms) {
                        return Err(SegmentError::Record(i));
                    }
                    leaves.record(bytes);
                }
                Entry::Missing(leaf) => leaves.leaf(*leaf),
            }
        }
        if leaves.root() == s.root { Ok(s) } else { Err(SegmentError::Root) }
    }

    /// The batches of the payload of a frame.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn of_frame(payload: &[u8]) -> Result<Vec<Self>, FormatError> {
        let r = &mut Reader::new(payload);
        r.object(2, 1)?;
        r.key(1)?;
        let n = r.array(usize::MAX)?;
        let batches = (0..n).map(|_| r.item()).collect::<Result<_, _>>()?;
        r.end()?;
        Ok(batches)
    }

    /// Records that are there.
    fn present(&self) -> u64 {
        self.entries.iter().filter(|e| matches!(e, Entry::Record(_))).count() as u64
    }
}

/// The statements in the payload of a frame.
pub(crate) fn statements(payload: &[u8]) -> Result<Vec<BatchStatement>, Error> {
    let found = frame::statements(payload).map_err(|e| Error::corrupted(Path::new("segments"), e))?;
    Ok(found)
}

/// A frame that was read: number of its file, where it begins there, and its header, by which it is told from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    file: u32,
    offset: u64,
    header: [u8; frame::FRAME_HEADER],
}

impl Mark {
    /// Where the frame ends in its file.
    fn end(&self) -> u64 {
        let payload = frame::length(&self.header).unwrap_or(0);
        self.offset.saturating_add((frame::FRAME_HEADER + payload) as u64)
    }

    /// `u32 file || u64 offset || header`.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.file.to_be_bytes().as_slice(), &self.offset.to_be_bytes(), &self.header].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, lct::Error> {
        let mut f = lct::codec::Fields::new(bytes);
        let mark = Self { file: f.u32()?, offset: f.u64()?, header: f.array()? };
        f.end()?;
        Ok(mark)
    }
}

/// Whether an appended batch is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was stored and synced.
    Stored,
    /// The same batch was stored before.
    AlreadyStored,
}

/// Figures of the record files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Batches.
    pub batches: usize,
    /// Records, missing ones not counted.
    pub records: u64,
    /// Bytes of a torn frame that the last open found, and moved to a file beside it if it opened for appending.
    pub torn_bytes: u64,
}

/// The record files of a ledger.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    chain_id: Digest,
    index: RwLock<Index>,
    /// Who appends; `None` when opened for reading.
    group: Option<Group>,
    /// Bytes of a torn frame found at open.
    cut: u64,
    /// Number of the last file at open, and how far it is whole.
    end: (u32, u64),
}

/// The file that grows.
#[derive(Debug)]
struct Tail {
    file: File,
    number: u32,
    /// Where its last frame ends.
    len: u64,
    /// Where the zeros behind that end.
    filled: u64,
    /// Its format; one of an earlier version is followed by another file.
    version: u8,
    /// Behind `len` there may be bytes of a frame that was not written.
    unclean: bool,
    /// What it holds from here on; what it holds before is in its listing, if it has one.
    listed_to: u64,
    listed: Vec<Listed>,
}

impl Segments {
    /// Opens the files in `dir` for appending, creates the directory if needed, and cuts off a torn tail.
    ///
    /// # Errors
    /// [`Error`]; damage before the tail is [`Error::Corrupted`].
    pub fn open(dir: &Path, chain_id: Digest) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let (mut segments, last) = Self::scan(dir, chain_id, true)?;
        let tail = match last {
            Some(Last { number, version, listed_to, listed }) => {
                let path = segments.path(number);
                let file = OpenOptions::new().read(true).write(true).open(&path);
                let file = file.map_err(|e| Error::io(&path, e))?;
                let len = file.metadata().map_err(|e| Error::io(&path, e))?.len();
                // A frame that was written and not synced when its writer was killed is whole to whoever reads it, and is
                // said to be stored from now on.
                file.sync_all().map_err(|e| Error::io(&path, e))?;
                segments.sync_dir()?;
                Tail { file, number, len, filled: len, version, unclean: false, listed_to, listed }
            }
            None => segments.create(1)?,
        };
        segments.group = Some(Group::new(tail));
        Ok(segments)
    }

    /// Opens the files in `dir` for reading; a torn tail is ignored.
    ///
    /// # Errors
    /// As [`Segments::open`].
    pub fn open_read_only(dir: &Path, chain_id: Digest) -> Result<Self, Error> {
        Ok(Self::scan(dir, chain_id, false)?.0)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let index = self.index();
        Stored { batches: index.batches, records: index.records, torn_bytes: self.cut }
    }

    /// Bytes of all files, as far as they hold what is acknowledged.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.index().files.values().sum()
    }

    /// Stores batches and returns after they are synced; what was stored before is not stored again. What several
    /// callers append at the same time is synced together (L241).
    ///
    /// # Errors
    /// [`SegmentError`]; then none of the batches is acknowledged.
    pub fn append(&self, batches: &[StoredBatch]) -> Result<Vec<Appended>, SegmentError> {
        let Some(group) = &self.group else {
            let read_only = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
            return Err(Error::io(&self.dir, read_only).into());
        };
        let sealed = cores::map(batches, LEAST, |batch| Sealed::of(self, batch))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        group.append(self, sealed)
    }

    /// Number of the last record of `cid` that a stored batch covers.
    #[must_use]
    pub fn last(&self, cid: &Cid) -> Option<u32> {
        self.index().before(cid, u32::MAX).map(|place| place.last_seq())
    }

    /// The batch that covers record `seq` of `cid`, with its statement.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be read or is damaged.
    pub fn batch(&self, cid: &Cid, seq: u32) -> Result<Option<(BatchStatement, StoredBatch)>, Error> {
        let place = self.index().before(cid, seq);
        match place.filter(|place| seq <= place.last_seq()) {
            Some(place) => self.read(cid, &place).map(Some),
            None => Ok(None),
        }
    }

    /// Whether this very batch is stored.
    ///
    /// # Errors
    /// [`SegmentError::Overlap`] when others are stored under one of its numbers; [`Error`] when they cannot be read.
    fn holds(&self, s: &BatchStatement) -> Result<bool, SegmentError> {
        let Some(place) = self.index().overlapping(s) else {
            return Ok(false);
        };
        if place.first_seq == s.first_seq && self.read(&s.cid, &place)?.0 == *s {
            Ok(true)
        } else {
            Err(SegmentError::Overlap { cid: s.cid, seq: place.first_seq })
        }
    }

    /// Calls `each` with the payload of every frame that is acknowledged, in the order in which they were stored, and the
    /// number of its batches.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be read or is damaged; and what `each` refuses.
    pub fn each_frame<E: From<Error>>(
        &self,
        mut each: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        self.frames_after(None, |_, payload, batches| each(payload, batches).map(|()| true))
    }

    /// As [`Segments::each_frame`], only those after the one at `mark`, which may be in a file that is gone. `each` is told
    /// where its frame stands, and says whether it wants another one.
    pub(crate) fn frames_after<E: From<Error>>(
        &self,
        mark: Option<&Mark>,
        mut each: impl FnMut(&Mark, &[u8], u64) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (from, at) = mark.map_or((0, 0), |mark| (mark.file, mark.end()));
        // Before the files are listed: what is in one of those after it was stored later.
        let (last, end) = self.end();
        let mut payload = Vec::new();
        for number in self.numbers()?.into_iter().filter(|number| (from..=last).contains(number)) {
            let path = self.path(number);
            let fail = |e| E::from(Error::io(&path, e));
            let mut file = File::open(&path).map_err(fail)?;
            let len = if number == last { end } else { file.metadata().map_err(fail)?.len() };
            let version = self.version(&mut file, &path)?;
            let mut offset = if number == from { at } else { FILE_HEADER };
            file.seek(SeekFrom::Start(offset)).map_err(fail)?;
            let mut file = io::BufReader::new(file.take(len.saturating_sub(offset)));
            while offset < len {
                let frame = read_frame(&mut file, (version, offset), &mut payload).map_err(fail)?;
                let Frame::Whole(header, found) = frame else {
                    return Err(Error::corrupted(&path, format!("the frame at byte {offset}")).into());
                };
                if !each(&Mark { file: number, offset, header }, &payload, found.len() as u64)? {
                    return Ok(());
                }
                offset += (frame::FRAME_HEADER + payload.len()) as u64;
            }
        }
        Ok(())
    }

    /// Whether the frame at `mark` is there, or was before its file was pruned.
    pub(crate) fn has(&self, mark: &Mark) -> Result<bool, Error> {
        let end = self.end();
        if (mark.file, mark.end()) > end {
            return Ok(false);
        }
        let path = self.path(mark.file);
        let mut header = Vec::new();
        let read = File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(mark.offset))?;
            file.take(frame::FRAME_HEADER as u64).read_to_end(&mut header)
        });
        match read {
            Ok(_) => Ok(header == mark.header),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(e) => Err(Error::io(&path, e)),
        }
    }

    /// Whether nothing was stored after the frame at `mark`.
    pub(crate) fn ends_with(&self, mark: &Mark) -> bool {
        (mark.file, mark.end()) == self.end()
    }

    /// Removes the files, from the first on, all of whose records are older than `before_ms`; the file that grows stays, and
    /// what was put among them since they were opened. Returns how many it removed.
    ///
    /// # Errors
    /// [`Error`]; then those that are gone are forgotten, and the others are as they were.
    pub fn prune(&self, before_ms: u64) -> Result<u64, Error> {
        self.prune_by(before_ms, remove)
    }

    fn prune_by(
        &self,
        before_ms: u64,
        mut remove: impl FnMut(&Path) -> Result<bool, Error>,
    ) -> Result<u64, Error> {
        let (last, _) = self.end();
        let mut old = Vec::new();
        let known = |number: &u32| *number < last && self.index().files.contains_key(number);
        for number in self.numbers()?.into_iter().filter(known) {
            // What a listing lacks may be younger, and would stay in the index without its file.
            let listing = self.whole_listing(number, self.len_of(number)?)?;
            if listing.listed.iter().any(|one| one.last_ms >= before_ms) {
                break;
            }
            old.push((number, listing.listed));
        }
        // Whoever asks meanwhile waits until they are gone.
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let more = || {
            let what = "files that are to go hold more than the index has of them; \
                        move `index` away, and a start reads all files";
            Error::corrupted(&self.dir, what)
        };
        if !index.has(old.iter().flat_map(|(_, batches)| batches)) {
            return Err(more());
        }
        let (mut gone, mut done) = (0, Ok(()));
        for (number, _) in &old {
            // One after the other: a power cut leaves none behind a gap.
            done = remove(&self.path(*number)).map(|_| gone += 1).and_then(|()| self.sync_dir());
            if done.is_err() {
                break;
            }
        }
        old.truncate(gone);
        let (gone, batches): (Vec<u32>, Vec<_>) = old.into_iter().unzip();
        index.forget(&gone, batches.iter().flatten()).ok_or_else(more)?;
        drop(index);
        for number in &gone {
            remove(&Listing::path(&self.path(*number)))?;
        }
        self.sync_dir()?;
        done?;
        Ok(gone.len() as u64)
    }

    /// What file `number` holds up to byte `len`, where a frame ends: by its listing, and where that ends elsewhere by the file
    /// itself.
    fn whole_listing(&self, number: u32, len: u64) -> Result<Listing, Error> {
        let path = self.path(number);
        let fail = |e| Error::io(&path, e);
        let found = Listing::read(&path, &self.chain_id)?.filter(|listing| listing.end == len);
        if let Some(listing) = found {
            return Ok(listing);
        }
        let mut file = File::open(&path).map_err(fail)?;
        let version = self.version(&mut file, &path)?;
        let mut file = io::BufReader::new(file);
        let Listing { mut end, mut listed } = Listing::default();
        let mut payload = Vec::new();
        while end < len {
            let damaged = || Error::corrupted(&path, format!("the frame at byte {end}"));
            let frame = read_frame(&mut file, (version, end), &mut payload).map_err(fail)?;
            let Frame::Whole(_, found) = frame else { return Err(damaged()) };
            for (i, batch) in found.iter().enumerate() {
                listed.push(Listed::of(end, i, &batch.statement, batch.present).ok_or_else(damaged)?);
            }
            end += (frame::FRAME_HEADER + payload.len()) as u64;
        }
        Ok(Listing { end, listed })
    }

    /// Whether a batch of `cid` that begins with record `first_seq` is stored.
    #[must_use]
    pub fn holds_from(&self, cid: &Cid, first_seq: u32) -> bool {
        self.index().before(cid, first_seq).is_some_and(|place| place.first_seq == first_seq)
    }

    /// Number of the last file, and how far it holds what is acknowledged.
    fn end(&self) -> (u32, u64) {
        self.group.as_ref().map_or(self.end, Group::end)
    }

    /// Reads and checks a batch of a component.
    fn read(&self, cid: &Cid, place: &Place) -> Result<(BatchStatement, StoredBatch), Error> {
        let path = self.path(place.file);
        let fail = |e| Error::io(&path, e);
        let damaged = || Error::corrupted(&path, format!("the frame at byte {}", place.offset));
        let mut file = File::open(&path).map_err(fail)?;
        let version = self.version(&mut file, &path)?;
        file.seek(SeekFrom::Start(place.offset.into())).map_err(fail)?;
        let mut payload = Vec::new();
        let at = (version, place.offset.into());
        let Frame::Whole(_, found) = read_statements(&mut file, at, &mut payload).map_err(fail)? else {
            return Err(damaged());
        };
        let Found { from, to, .. } = found.get(usize::from(place.index)).ok_or_else(damaged)?;
        let batch = StoredBatch::from_bytes(&payload[*from..*to]).map_err(|_| damaged())?;
        let statement = batch.check().map_err(|_| damaged())?;
        // Another file may have been put in its place.
        let meant = (statement.cid, statement.first_seq) == (*cid, place.first_seq);
        if meant { Ok((statement, batch)) } else { Err(damaged()) }
    }

    /// The format version of a file.
    fn version(&self, file: &mut File, path: &Path) -> Result<u8, Error> {
        let mut header = Vec::new();
        file.take(FILE_HEADER).read_to_end(&mut header).map_err(|e| Error::io(path, e))?;
        file_version(&header, &self.chain_id).map_err(|what| Error::corrupted(path, what))
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("segment-{number:08}"))
    }

    /// Numbers of the files, ascending.
    fn numbers(&self) -> Result<Vec<u32>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| Error::io(&self.dir, e))?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| Error::io(&self.dir, e))?.file_name();
            let number: Option<u32> =
                name.to_str().and_then(|n| n.strip_prefix("segment-")).and_then(|n| n.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Creates a file and makes its name durable.
    fn create(&self, number: u32) -> Result<Tail, Error> {
        let path = self.path(number);
        let fail = |e| Error::io(&path, e);
        // That of a file which had this number and was taken away would fit this one once it has grown.
        remove(&Listing::path(&path))?;
        let mut file = File::create_new(&path).map_err(fail)?;
        let header = file_header(VERSION, &self.chain_id);
        let made = file.write_all(&header).and_then(|()| file.sync_all()).map_err(fail);
        if let Err(e) = made.and_then(|()| self.sync_dir()) {
            // It would be in the way of the next attempt.
            let _removed = fs::remove_file(&path);
            return Err(e);
        }
        let (len, listed_to, listed) = (FILE_HEADER, FILE_HEADER, Vec::new());
        Ok(Tail { file, number, len, filled: len, version: VERSION, unclean: false, listed_to, listed })
    }

    /// Makes the names of the files durable.
    fn sync_dir(&self) -> Result<(), Error> {
        File::open(&self.dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(&self.dir, e))
    }

    /// Cuts off what file `number` has behind `offset`, of which `left` is not zeros. It was not acknowledged; it is kept all the
    /// same beside the file, for it may be damage after all.
    fn cut_off(&self, file: &File, (number, offset): (u32, u64), left: &[u8]) -> Result<(), Error> {
        let path = self.path(number);
        if !left.is_empty() {
            let beside = path.with_extension(format!("cut-{offset}"));
            let kept = File::create(&beside).and_then(|mut f| f.write_all(left).and_then(|()| f.sync_all()));
            kept.map_err(|e| Error::io(&beside, e))?;
            self.sync_dir()?;
        }
        file.set_len(offset).and_then(|()| file.sync_all()).map_err(|e| Error::io(&path, e))
    }

    /// Reads the index and what it lacks; with `repair` a torn tail is cut off, and an index that does not fit removed. Beside
    /// it the last file.
    fn scan(dir: &Path, chain_id: Digest, repair: bool) -> Result<(Self, Option<Last>), Error> {
        let index = RwLock::default();
        let mut segments = Self { dir: dir.into(), chain_id, index, group: None, cut: 0, end: (0, 0) };
        let numbers = segments.numbers()?;
        let lens = numbers.iter().map(|number| segments.len_of(*number)).collect::<Result<Vec<_>, _>>()?;
        let there: Vec<(u32, u64)> = numbers.iter().copied().zip(lens).collect();
        let path = dir.join(INDEX);
        let found = Index::read(&path, &chain_id, |files| segments.fits(files, &there))?;
        let used = found.is_some();
        let mut index = found.unwrap_or_default();
        let mut scan = Scan { repair, rows: Vec::new(), records: 0 };
        let mut last = None;
        for (at, number) in numbers.iter().enumerate() {
            let indexed = index.files.get(number).copied().unwrap_or(0);
            last = Some(segments.scan_file(*number, at + 1 == numbers.len(), indexed, &mut scan)?);
            index.files.insert(*number, segments.end.1);
        }
        index.found(scan.rows, scan.records);
        segments.index = RwLock::new(index);
        if repair && !used && remove(&path)? {
            // It would fit again, after a crash, once the files have grown beyond what it says.
            segments.sync_dir()?;
        }
        Ok((segments, last))
    }

    /// Whether an index of `files`, each with where it ended, is one of those that are there and no others, whole but for its last one,
    /// which may have grown.
    ///
    /// # Errors
    /// [`Error::Corrupted`] where it shows that records are gone (L229).
    fn fits(&self, files: &[(u32, u64)], there: &[(u32, u64)]) -> Result<bool, Error> {
        for (number, end) in files {
            match there.binary_search_by_key(number, |(number, _)| *number) {
                Ok(at) if there[at].1 < *end => return Err(self.shortened(*number, there[at].1, *end)),
                // Those before the first one that is there were pruned.
                Err(at) if at > 0 || there.is_empty() => {
                    let what = format!("it is gone, and had {end} bytes when the ledger was closed");
                    return Err(self.lacking(*number, what));
                }
                _ => {}
            }
        }
        let same = files.iter().zip(there).enumerate().all(|(at, ((file, end), (number, len)))| {
            file == number && (end == len || at + 1 == files.len())
        });
        Ok(same && files.len() <= there.len())
    }

    /// A file that ended at `end` when it was closed has `len` bytes.
    fn shortened(&self, number: u32, len: u64, end: u64) -> Error {
        self.lacking(number, format!("it has {len} bytes, and had {end} when it was closed"))
    }

    fn lacking(&self, number: u32, what: String) -> Error {
        let what = format!(
            "{what}, so that acknowledged records are missing: put the file back or restore the ledger from an archive; \
             whoever gives the records up moves `index` and the file's `.listing` away"
        );
        Error::corrupted(&self.path(number), what)
    }

    fn len_of(&self, number: u32) -> Result<u64, Error> {
        let path = self.path(number);
        fs::metadata(&path).map(|meta| meta.len()).map_err(|e| Error::io(&path, e))
    }

    /// The listing of file `number`, which has `len` bytes; an empty one where there is none.
    fn listing(&self, number: u32, len: u64) -> Result<Listing, Error> {
        let listing = Listing::read(&self.path(number), &self.chain_id)?.unwrap_or_default();
        if len.max(FILE_HEADER) < listing.end {
            return Err(self.shortened(number, len, listing.end));
        }
        Ok(listing)
    }

    /// Reads what a file holds behind byte `indexed`: from its listing, and itself where neither index nor listing has it.
    fn scan_file(&mut self, number: u32, last: bool, indexed: u64, scan: &mut Scan) -> Result<Last, Error> {
        let path = self.path(number);
        let fail = |e| Error::io(&path, e);
        let mut file = OpenOptions::new().read(true).write(scan.repair).open(&path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        self.end = (number, 0);
        if last && len < FILE_HEADER {
            // A crash between creating the last file and its first sync leaves a short or empty header, and no listing.
            self.listing(number, len)?;
            self.cut += len;
            if scan.repair {
                file.set_len(0).map_err(fail)?;
                file.write_all(&file_header(VERSION, &self.chain_id)).map_err(fail)?;
                file.sync_all().map_err(fail)?;
            }
            return Ok(Last { number, version: VERSION, listed_to: FILE_HEADER, listed: Vec::new() });
        }
        let version = self.version(&mut file, &path)?;
        if indexed == len {
            self.end.1 = len;
            return Ok(Last { number, version, listed_to: len, listed: Vec::new() });
        }
        let mut listing = self.listing(number, len)?;
        let listed_to = listing.end.max(indexed);
        file.seek(SeekFrom::Start(listed_to)).map_err(fail)?;
        let mut file = io::BufReader::new(file);
        let (mut end, mut listed, mut payload) = (listed_to, Vec::new(), Vec::new());
        while end < len {
            let damaged = || Error::corrupted(&path, format!("the frame at byte {end}"));
            match read_frame(&mut file, (version, end), &mut payload).map_err(fail)? {
                Frame::Whole(_, found) => {
                    for (i, batch) in found.iter().enumerate() {
                        listed.push(Listed::of(end, i, &batch.statement, batch.present).ok_or_else(damaged)?);
                    }
                    end += (frame::FRAME_HEADER + payload.len()) as u64;
                }
                Frame::Blank | Frame::Torn if last => {
                    let mut left = Vec::new();
                    file.seek(SeekFrom::Start(end)).map_err(fail)?;
                    file.read_to_end(&mut left).map_err(fail)?;
                    left.truncate(left.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1));
                    self.cut += left.len() as u64;
                    if scan.repair {
                        self.cut_off(file.get_ref(), (number, end), &left)?;
                    }
                    break;
                }
                Frame::Blank | Frame::Torn | Frame::Damaged => return Err(damaged()),
            }
        }
        self.end.1 = end;
        scan.take(
            number,
            listing.listed.iter().chain(&listed).filter(|one| u64::from(one.offset) >= indexed),
        );
        if scan.repair && !last && listed_to == listing.end && end > listed_to {
            // The next start need not read it again.
            listing.listed.append(&mut listed);
            Listing { end, listed: listing.listed }.write(&path, &self.chain_id)?;
        }
        Ok(Last { number, version, listed_to, listed })
    }

    /// Leaves an index of everything, so that the next start need not read the listings.
    fn write_index(&self) -> Result<(), Error> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.write(&self.dir.join(INDEX), &self.chain_id)
    }
}

/// Removes a file; whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// What a start finds that the index lacks.
struct Scan {
    /// A torn tail is cut off.
    repair: bool,
    rows: Vec<Row>,
    records: u64,
}

impl Scan {
    fn take<'a>(&mut self, file: u32, batches: impl Iterator<Item = &'a Listed>) {
        for one in batches {
            self.records += u64::from(one.present);
            self.rows.push(one.row(file));
        }
    }
}

/// The last file that was read.
struct Last {
    number: u32,
    version: u8,
    /// What index and listing hold ends here, and what else it holds begins.
    listed_to: u64,
    listed: Vec<Listed>,
}

impl Drop for Segments {
    /// Leaves a listing of the file that grows and the index, so that the next start need not read that file.
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            group.close(self);
            // Without it the next start reads the listings.
            let _unwritten = self.write_index();
        }
    }
}
