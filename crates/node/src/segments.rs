//! Telemetry records in append-only files (`spec/ledger.md`, L90 and L91).
//!
//! ```text
//! file    = "MBSG" || 01 || chain id 32 || frames
//! frame   = u32 length || H(length)[0:4] || H(payload)[0:8] || payload
//! payload = { 0: 1, 1: [ [ statement, [ [0, record] | [1, leaf hash] ... ] ] ... ] }
//! ```
//!
//! A batch is acknowledged after its frame is synced. What one call appends is one frame, so only the last frame
//! of the last file can be torn by a crash; it was never acknowledged and is cut off at the next open. Damage
//! anywhere else is reported, never cut. The index is rebuilt from the files at open.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use lct::{
    Digest,
    hash::sha256,
    id::Cid,
    merkle::{self, leaf_hash},
    record::{BATCH_MAX, BatchStatement, RECORD_MAX, Record},
};
use ledger::{
    codec::{Canonical, FormatError, Reader, Writer},
    tx::MAX_STATEMENT,
};

use crate::error::Error;

const MAGIC: &[u8; 4] = b"MBSG";
const VERSION: u8 = 1;
const FILE_HEADER: u64 = 37;
const FRAME_HEADER: usize = 16;
/// Longest payload of a frame; a batch of 100 records of the longest kind has 117 000 bytes.
const MAX_PAYLOAD: usize = 4 << 20;
/// A file that has grown beyond this is followed by a new one.
const FILE_BYTES: u64 = 64 << 20;

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
    fn check(&self) -> Result<BatchStatement, SegmentError> {
        let s = BatchStatement::decode(&self.statement).map_err(|_| SegmentError::Statement)?;
        if self.entries.len() != usize::from(s.count) {
            return Err(SegmentError::Count { found: self.entries.len(), stated: s.count });
        }
        for (i, (entry, seq)) in self.entries.iter().zip(s.first_seq..).enumerate() {
            if let Entry::Record(bytes) = entry {
                let r = Record::decode(bytes).map_err(|_| SegmentError::Record(i))?;
                let placed = r.cid == s.cid && r.seq == seq && (s.first_ms..=s.last_ms).contains(&r.time_ms);
                if !placed {
                    return Err(SegmentError::Record(i));
                }
            }
        }
        let leaves: Vec<_> = self.entries.iter().map(Entry::leaf).collect();
        if merkle::root(&leaves) == s.root { Ok(s) } else { Err(SegmentError::Root) }
    }
}

/// The payload of a frame.
struct Group(Vec<StoredBatch>);

impl Canonical for Group {
    fn write(&self, w: &mut Writer) {
        w.object(2, 1).uint(1).array(self.0.len());
        for batch in &self.0 {
            w.item(batch);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(2, 1)?;
        r.key(1)?;
        let n = r.array(usize::MAX)?;
        (0..n).map(|_| r.item()).collect::<Result<_, _>>().map(Self)
    }
}

/// Where a batch is stored.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: u32,
    offset: u64,
    /// Index in the frame's group.
    index: usize,
    count: u16,
    root: Digest,
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
    /// Bytes of a torn frame that the last open found, and cut off if it opened for appending.
    pub torn_bytes: u64,
}

/// The record files of a ledger.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    chain_id: Digest,
    index: BTreeMap<(Cid, u32), Place>,
    records: u64,
    /// The file that grows, its number and its length; `None` when opened for reading.
    tail: Option<(File, u32, u64)>,
    /// Bytes of a torn frame found at open.
    cut: u64,
}

impl Segments {
    /// Opens the files in `dir` for appending, creates the directory if needed, and cuts off a torn tail.
    ///
    /// # Errors
    /// [`Error`]; damage before the tail is [`Error::Corrupted`].
    pub fn open(dir: &Path, chain_id: Digest) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let mut segments = Self::scan(dir, chain_id, true)?;
        let last = segments.numbers()?.last().copied();
        segments.tail = Some(match last {
            Some(number) => {
                let path = segments.path(number);
                let file = OpenOptions::new().read(true).write(true).open(&path);
                let file = file.map_err(|e| Error::io(&path, e))?;
                let len = file.metadata().map_err(|e| Error::io(&path, e))?.len();
                (file, number, len)
            }
            None => segments.create(1)?,
        });
        Ok(segments)
    }

    /// Opens the files in `dir` for reading; a torn tail is ignored.
    ///
    /// # Errors
    /// As [`Segments::open`].
    pub fn open_read_only(dir: &Path, chain_id: Digest) -> Result<Self, Error> {
        Self::scan(dir, chain_id, false)
    }

    /// What is stored.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored { batches: self.index.len(), records: self.records, torn_bytes: self.cut }
    }

    /// Stores batches and returns after they are synced; what was stored before is not stored again.
    ///
    /// # Errors
    /// [`SegmentError`]; then none of the batches is acknowledged.
    pub fn append(&mut self, batches: &[StoredBatch]) -> Result<Vec<Appended>, SegmentError> {
        let mut answers = Vec::with_capacity(batches.len());
        let mut fresh: BTreeMap<(Cid, u32), (BatchStatement, &StoredBatch)> = BTreeMap::new();
        for batch in batches {
            let s = batch.check()?;
            if let Some(seq) = self.stored_root(&s).or_else(|| fresh_root(&fresh, &s)) {
                let seq = seq.map_err(|seq| SegmentError::Overlap { cid: s.cid, seq })?;
                debug_assert_eq!(seq, s.first_seq);
                answers.push(Appended::AlreadyStored);
            } else {
                fresh.insert((s.cid, s.first_seq), (s, batch));
                answers.push(Appended::Stored);
            }
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        for (statement, batch) in fresh.into_values() {
            let size = batch.entries.len() * (RECORD_MAX + 8) + MAX_STATEMENT;
            if bytes + size > MAX_PAYLOAD {
                self.write_group(std::mem::take(&mut group))?;
                bytes = 0;
            }
            bytes += size;
            group.push((statement, batch.clone()));
        }
        self.write_group(group)?;
        Ok(answers)
    }

    /// Number of the last record of `cid` that a stored batch covers.
    #[must_use]
    pub fn last(&self, cid: &Cid) -> Option<u32> {
        let ((of, first), place) = self.index.range(..=(*cid, u32::MAX)).next_back()?;
        (of == cid).then(|| first.saturating_add(u32::from(place.count).saturating_sub(1)))
    }

    /// The batch that covers record `seq` of `cid`, with its statement.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be read or is damaged.
    pub fn batch(&self, cid: &Cid, seq: u32) -> Result<Option<(BatchStatement, StoredBatch)>, Error> {
        let Some((key, place)) = self.index.range(..=(*cid, seq)).next_back() else {
            return Ok(None);
        };
        if key.0 != *cid || seq - key.1 >= u32::from(place.count) {
            return Ok(None);
        }
        let path = self.path(place.file);
        let mut file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        file.seek(SeekFrom::Start(place.offset)).map_err(|e| Error::io(&path, e))?;
        let damaged = || Error::corrupted(&path, format!("the frame at byte {}", place.offset));
        let Frame::Whole(payload) = read_frame(&mut file).map_err(|e| Error::io(&path, e))? else {
            return Err(damaged());
        };
        let Group(mut group) = Group::from_bytes(&payload).map_err(|_| damaged())?;
        if place.index >= group.len() {
            return Err(damaged());
        }
        let batch = group.swap_remove(place.index);
        let statement = batch.check().map_err(|_| damaged())?;
        Ok(Some((statement, batch)))
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
    fn create(&self, number: u32) -> Result<(File, u32, u64), Error> {
        let path = self.path(number);
        let fail = |e| Error::io(&path, e);
        let mut file = File::create_new(&path).map_err(fail)?;
        file.write_all(&file_header(&self.chain_id)).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        File::open(&self.dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(&self.dir, e))?;
        Ok((file, number, FILE_HEADER))
    }

    /// Reads all files and builds the index; with `repair` a torn tail is cut off.
    fn scan(dir: &Path, chain_id: Digest, repair: bool) -> Result<Self, Error> {
        let mut segments =
            Self { dir: dir.into(), chain_id, index: BTreeMap::new(), records: 0, tail: None, cut: 0 };
        let numbers = segments.numbers()?;
        for number in &numbers {
            segments.scan_file(*number, numbers.last() == Some(number), repair)?;
        }
        Ok(segments)
    }

    fn scan_file(&mut self, number: u32, last: bool, repair: bool) -> Result<(), Error> {
        let path = self.path(number);
        let fail = |e| Error::io(&path, e);
        let mut file = OpenOptions::new().read(true).write(repair).open(&path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let mut header = Vec::new();
        (&file).take(FILE_HEADER).read_to_end(&mut header).map_err(fail)?;
        if header != file_header(&self.chain_id) {
            // A crash between creating the last file and its first sync leaves a short or empty header.
            if last && (header.len() as u64) < FILE_HEADER {
                self.cut += header.len() as u64;
                if repair {
                    file.set_len(0).map_err(fail)?;
                    file.seek(SeekFrom::Start(0)).map_err(fail)?;
                    file.write_all(&file_header(&self.chain_id)).map_err(fail)?;
                    file.sync_all().map_err(fail)?;
                }
                return Ok(());
            }
            return Err(Error::corrupted(&path, header_complaint(&header)));
        }
        let mut file = io::BufReader::new(file);
        let mut offset = FILE_HEADER;
        while offset < len {
            let damaged = || Error::corrupted(&path, format!("the frame at byte {offset}"));
            match read_frame(&mut file).map_err(fail)? {
                Frame::Whole(payload) => {
                    let Group(group) = Group::from_bytes(&payload).map_err(|_| damaged())?;
                    for (index, batch) in group.iter().enumerate() {
                        let s = BatchStatement::decode(&batch.statement).map_err(|_| damaged())?;
                        self.note(
                            &s,
                            batch,
                            Place { file: number, offset, index, count: s.count, root: s.root },
                        );
                    }
                    offset += (FRAME_HEADER + payload.len()) as u64;
                }
                Frame::Torn if last => {
                    self.cut += len - offset;
                    if repair {
                        let file = file.into_inner();
                        file.set_len(offset).map_err(fail)?;
                        file.sync_all().map_err(fail)?;
                    }
                    return Ok(());
                }
                Frame::Torn | Frame::Damaged => return Err(damaged()),
            }
        }
        Ok(())
    }

    fn note(&mut self, s: &BatchStatement, batch: &StoredBatch, place: Place) {
        let present = batch.entries.iter().filter(|e| matches!(e, Entry::Record(_))).count();
        self.records += present as u64;
        self.index.insert((s.cid, s.first_seq), place);
    }

    /// `Some(Ok)` if this very batch is stored, `Some(Err)` if another covers one of its numbers.
    fn stored_root(&self, s: &BatchStatement) -> Option<Result<u32, u32>> {
        let last = s.first_seq.saturating_add(u32::from(s.count).saturating_sub(1));
        let ((cid, first), place) = self.index.range(..=(s.cid, last)).next_back()?;
        let overlaps = *cid == s.cid && u64::from(*first) + u64::from(place.count) > u64::from(s.first_seq);
        let same = *first == s.first_seq && place.count == s.count && place.root == s.root;
        overlaps.then_some(if same { Ok(*first) } else { Err(*first) })
    }

    fn write_group(&mut self, group: Vec<(BatchStatement, StoredBatch)>) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        let next = match &self.tail {
            Some((_, number, len)) if *len >= FILE_BYTES => Some(self.create(number + 1)?),
            _ => None,
        };
        if next.is_some() {
            self.tail = next;
        }
        let (statements, batches): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let group = Group(batches);
        let frame = frame(&group.to_bytes());
        let dir = self.dir.clone();
        let Some((file, number, len)) = self.tail.as_mut() else {
            let read_only = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
            return Err(Error::io(&dir, read_only));
        };
        let (number, offset) = (*number, *len);
        let written = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.write_all(&frame))
            .and_then(|()| file.sync_data());
        if let Err(e) = written {
            // Best effort: what stays behind is an unacknowledged torn frame, which the next open cuts off and
            // the next append overwrites.
            let _truncated = file.set_len(offset);
            return Err(Error::io(&self.path(number), e));
        }
        *len += frame.len() as u64;
        for (index, (s, batch)) in statements.iter().zip(&group.0).enumerate() {
            self.note(s, batch, Place { file: number, offset, index, count: s.count, root: s.root });
        }
        Ok(())
    }
}

/// As [`Segments::stored_root`], among the batches of the same call.
fn fresh_root(
    fresh: &BTreeMap<(Cid, u32), (BatchStatement, &StoredBatch)>,
    s: &BatchStatement,
) -> Option<Result<u32, u32>> {
    let last = s.first_seq.saturating_add(u32::from(s.count).saturating_sub(1));
    let (key, (other, _)) = fresh.range(..=(s.cid, last)).next_back()?;
    let overlaps = key.0 == s.cid && u64::from(key.1) + u64::from(other.count) > u64::from(s.first_seq);
    overlaps.then_some(if other == s { Ok(key.1) } else { Err(key.1) })
}

fn file_header(chain_id: &Digest) -> Vec<u8> {
    [MAGIC.as_slice(), &[VERSION], chain_id].concat()
}

fn header_complaint(header: &[u8]) -> &'static str {
    match header.split_at_checked(4) {
        Some((magic, rest)) if magic == MAGIC => match rest.first() {
            Some(&VERSION) => "it holds records of another chain",
            _ => "its format version is not known to this build",
        },
        _ => "it is not a record file",
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[..], &sha256(&[&length])[..4], &sha256(&[payload])[..8], payload].concat()
}

/// What stands at a place in a file.
enum Frame {
    Whole(Vec<u8>),
    /// An append that never finished: it ends at the end of the file.
    Torn,
    /// Bytes that no interrupted append leaves behind.
    Damaged,
}

fn read_frame(file: &mut impl Read) -> io::Result<Frame> {
    let mut header = Vec::with_capacity(FRAME_HEADER);
    file.by_ref().take(FRAME_HEADER as u64).read_to_end(&mut header)?;
    let Ok(header) = <[u8; FRAME_HEADER]>::try_from(header) else {
        return Ok(Frame::Torn);
    };
    let length = [header[0], header[1], header[2], header[3]];
    let size = u32::from_be_bytes(length) as usize;
    if header[4..8] != sha256(&[&length])[..4] || size > MAX_PAYLOAD {
        // A file system may have grown the file without its data: zeros to the end are a torn frame too.
        let mut rest = Vec::new();
        file.by_ref().take((MAX_PAYLOAD + FRAME_HEADER) as u64).read_to_end(&mut rest)?;
        let zeros = header.iter().chain(&rest).all(|b| *b == 0);
        return Ok(if zeros { Frame::Torn } else { Frame::Damaged });
    }
    let mut payload = Vec::new();
    file.by_ref().take(size as u64).read_to_end(&mut payload)?;
    if payload.len() < size {
        return Ok(Frame::Torn);
    }
    if header[8..] == sha256(&[&payload])[..8] {
        return Ok(Frame::Whole(payload));
    }
    let more = file.read(&mut [0])?;
    Ok(if more == 0 { Frame::Torn } else { Frame::Damaged })
}
