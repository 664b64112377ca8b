//! The flash of a simulated device: small records under 16-bit keys that survive a power cut at any byte.
//!
//! A flash is a log. [`Flash::put`] appends one record and makes it durable before it returns; the last record of a key
//! is its value. When more than half of a log that has grown past [`COMPACT_FROM`] is old, the live records are
//! written to a new file, which then takes the place of the log.
//!
//! ```text
//! record: version u8 = 1 | key u16 | length u16 | check u16 | value, length bytes | crc u32      (big-endian)
//! check = low half of CRC-32 over the five bytes before it
//! crc   = CRC-32 (ISO-HDLC) over everything before it
//! ```
//!
//! A power cut leaves a beginning of the last record. [`Flash::open`] drops such a tail: the `put` had not returned,
//! so nothing was promised. Damage anywhere else is an error and never a silent loss, because a counter that falls
//! back to an older value would let a nonce be used twice; that is why the header has a check of its own, so that a
//! damaged length is not taken for a record that was cut. What cannot be told from a power cut is damage inside the
//! very last record.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Longest value in bytes.
pub const MAX_VALUE: usize = 1024;
/// Size in bytes below which a log is not compacted.
pub const COMPACT_FROM: u64 = 64 * 1024;
/// Largest log that is read: all keys at full length would fill 68 MB, a device uses a few kilobytes.
const MAX_LOG: u64 = 128 * 1024 * 1024;

const VERSION: u8 = 1;
const HEADER: usize = 7;
const TRAILER: usize = 4;

/// Why a flash cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The file system refused.
    #[error("flash {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another part of this one, has it open.
    #[error("flash {} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A record was written by another version of this program.
    #[error("flash {}: record at byte {offset} has format version {version}, this program knows {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// Its version byte.
        version: u8,
    },
    /// A record that is not the last one is damaged.
    #[error("flash {}: damaged at byte {offset}, and more data follows; restore the file from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
    },
    /// The log is larger than any device writes.
    #[error("flash {}: {size} bytes is more than a device writes ({MAX_LOG})", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The value is longer than [`MAX_VALUE`].
    #[error("a value of {0} bytes does not fit a flash record ({MAX_VALUE})")]
    ValueTooLong(usize),
    /// The simulated power is off: see [`Flash::cut_after`].
    #[error("the power was cut")]
    PowerCut,
    /// An earlier write failed, so what is stored is known only after opening the flash again.
    #[error("flash {}: closed after a failed write; open it again", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

/// A store of records.
#[derive(Debug)]
pub struct Flash {
    medium: Medium,
    records: BTreeMap<u16, Vec<u8>>,
    /// Bytes of the log, and of those the bytes of records that are still the last of their key.
    log_bytes: u64,
    live_bytes: u64,
    puts: u64,
    cut: Option<Cut>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    PowerOff,
    Failed,
}

/// A power cut that is to come.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Writes that still succeed.
    writes: u32,
    /// Bytes of the next one that reach the medium.
    bytes: usize,
}

/// Where the log is.
#[derive(Debug)]
enum Medium {
    File { path: PathBuf, file: File },
    Memory { log: Vec<u8> },
}

impl Flash {
    /// Opens the flash at `path` and creates it when it is not there (readable by the owner only, as it holds keys).
    ///
    /// # Errors
    /// Any [`FlashError`] about files and their content.
    pub fn open(path: &Path) -> Result<Self, FlashError> {
        let at = |source| FlashError::Io { path: path.to_path_buf(), source };
        let created = !path.exists();
        let mut file =
            private().read(true).write(true).create(true).truncate(false).open(path).map_err(at)?;
        lock(&file, path)?;
        if !is_still_at(&file, path).map_err(at)? {
            return Err(FlashError::InUse { path: path.to_path_buf() });
        }
        // What a compaction left behind that was cut before it took the place of the log.
        match std::fs::remove_file(replacement(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        if created {
            sync_folder(path).map_err(at)?;
        }
        let size = file.metadata().map_err(at)?.len();
        if size > MAX_LOG {
            return Err(FlashError::TooLarge { path: path.to_path_buf(), size });
        }
        let mut log = Vec::with_capacity(size as usize);
        file.read_to_end(&mut log).map_err(at)?;
        let scan = Scan::of(&log, path)?;
        if scan.good < log.len() {
            file.set_len(scan.good as u64).and_then(|()| file.sync_all()).map_err(at)?;
        }
        file.seek(SeekFrom::Start(scan.good as u64)).map_err(at)?;
        Ok(Self::from_scan(Medium::File { path: path.to_path_buf(), file }, scan))
    }

    /// An empty flash in memory.
    pub fn in_memory() -> Self {
        let scan = Scan { records: BTreeMap::new(), good: 0, live: 0 };
        Self::from_scan(Medium::Memory { log: Vec::new() }, scan)
    }

    /// A flash in memory that starts from the bytes of another one ([`Flash::log`]): a device that boots again.
    ///
    /// # Errors
    /// [`FlashError::Damaged`], [`FlashError::Version`].
    pub fn from_log(mut log: Vec<u8>) -> Result<Self, FlashError> {
        let scan = Scan::of(&log, Path::new("(memory)"))?;
        log.truncate(scan.good);
        Ok(Self::from_scan(Medium::Memory { log }, scan))
    }

    fn from_scan(medium: Medium, scan: Scan) -> Self {
        Self {
            medium,
            records: scan.records,
            log_bytes: scan.good as u64,
            live_bytes: scan.live,
            puts: 0,
            cut: None,
            state: State::Ready,
        }
    }

    /// The bytes of a flash in memory; `None` for one in a file.
    pub fn log(&self) -> Option<&[u8]> {
        match &self.medium {
            Medium::Memory { log } => Some(log),
            Medium::File { .. } => None,
        }
    }

    /// Stores `value` under `key`; durable when this returns `Ok`. After an error the flash holds the previous or the
    /// new value, and has to be opened again to know which.
    ///
    /// # Errors
    /// [`FlashError::ValueTooLong`] leaves everything as it was; every other error closes the flash.
    pub fn put(&mut self, key: u16, value: &[u8]) -> Result<(), FlashError> {
        self.check_ready()?;
        if value.len() > MAX_VALUE {
            return Err(FlashError::ValueTooLong(value.len()));
        }
        let record = encode(key, value);
        self.write(&record, Medium::append)?;
        self.log_bytes += record.len() as u64;
        self.live_bytes += record.len() as u64;
        if let Some(old) = self.records.insert(key, value.to_vec()) {
            self.live_bytes -= (HEADER + old.len() + TRAILER) as u64;
        }
        self.puts += 1;
        if self.log_bytes > COMPACT_FROM && self.live_bytes < self.log_bytes / 2 {
            self.compact()?;
        }
        Ok(())
    }

    /// Records written since it was opened: it tells an observer that there is something new.
    pub fn puts(&self) -> u64 {
        self.puts
    }

    /// The value under `key`.
    pub fn get(&self, key: u16) -> Option<&[u8]> {
        self.records.get(&key).map(Vec::as_slice)
    }

    /// All records in ascending order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.records.iter().map(|(&key, value)| (key, value.as_slice()))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Writes the live records to a new log, which takes the place of the present one.
    ///
    /// # Errors
    /// As [`Flash::put`]; no value is lost either way.
    pub fn compact(&mut self) -> Result<(), FlashError> {
        self.check_ready()?;
        let log: Vec<u8> = self.records.iter().flat_map(|(&key, value)| encode(key, value)).collect();
        self.write(&log, Medium::replace)?;
        self.log_bytes = log.len() as u64;
        self.live_bytes = self.log_bytes;
        Ok(())
    }

    /// Cuts the simulated power: after `writes` more writes to the medium (a `put` is one, a compaction another), the
    /// next one stores only its first `bytes` bytes and the flash is off from then on, every call failing with
    /// [`FlashError::PowerCut`]. A cut at or beyond the length of an append stores it completely, without a word to
    /// the caller; a cut compaction never takes the place of the log.
    pub fn cut_after(&mut self, writes: u32, bytes: usize) {
        self.cut = Some(Cut { writes, bytes });
    }

    fn check_ready(&self) -> Result<(), FlashError> {
        match self.state {
            State::Ready => Ok(()),
            State::PowerOff => Err(FlashError::PowerCut),
            State::Failed => Err(FlashError::Closed { path: self.medium.path().to_path_buf() }),
        }
    }

    fn write(
        &mut self,
        bytes: &[u8],
        how: fn(&mut Medium, &[u8], Option<usize>) -> io::Result<()>,
    ) -> Result<(), FlashError> {
        let torn_at = match &mut self.cut {
            Some(Cut { writes: 0, bytes: at }) => Some((*at).min(bytes.len())),
            Some(cut) => {
                cut.writes -= 1;
                None
            }
            None => None,
        };
        // Until the medium has answered, what it holds is not known.
        self.state = State::Failed;
        how(&mut self.medium, bytes, torn_at)
            .map_err(|source| FlashError::Io { path: self.medium.path().to_path_buf(), source })?;
        if torn_at.is_some() {
            self.state = State::PowerOff;
            return Err(FlashError::PowerCut);
        }
        self.state = State::Ready;
        Ok(())
    }
}

impl Medium {
    fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } => path,
            Self::Memory { .. } => Path::new("(memory)"),
        }
    }

    /// Adds `bytes`, or only the first `torn_at` of them, to the end of the log.
    fn append(&mut self, bytes: &[u8], torn_at: Option<usize>) -> io::Result<()> {
        let bytes = &bytes[..torn_at.unwrap_or(bytes.len())];
        match self {
            Self::File { file, .. } => {
                file.write_all(bytes)?;
                file.sync_data()
            }
            Self::Memory { log } => {
                log.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Makes `bytes` the whole log: a new file, made durable, then renamed, then the folder made durable. With
    /// `torn_at` the new file is left with so many bytes beside the old log.
    fn replace(&mut self, bytes: &[u8], torn_at: Option<usize>) -> io::Result<()> {
        match self {
            Self::File { path, file } => {
                let fresh = replacement(path);
                let mut new = private().read(true).write(true).create(true).truncate(true).open(&fresh)?;
                new.try_lock().map_err(io::Error::from)?;
                new.write_all(&bytes[..torn_at.unwrap_or(bytes.len())])?;
                new.sync_all()?;
                if torn_at.is_some() {
                    return Ok(());
                }
                std::fs::rename(&fresh, &*path)?;
                *file = new;
                sync_folder(path)
            }
            Self::Memory { log } => {
                if torn_at.is_none() {
                    *log = bytes.to_vec();
                }
                Ok(())
            }
        }
    }
}

/// What a log holds.
struct Scan {
    records: BTreeMap<u16, Vec<u8>>,
    /// Bytes up to the end of the last whole record.
    good: usize,
    /// Bytes of the records that are the last of their key.
    live: u64,
}

impl Scan {
    fn of(log: &[u8], path: &Path) -> Result<Self, FlashError> {
        let mut scan = Self { records: BTreeMap::new(), good: 0, live: 0 };
        while let Some(found) = decode(&log[scan.good..]) {
            let path = path.to_path_buf();
            let offset = scan.good as u64;
            match found {
                Found::Record { key, value, size } => {
                    scan.live += size as u64;
                    if let Some(old) = scan.records.insert(key, value.to_vec()) {
                        scan.live -= (HEADER + old.len() + TRAILER) as u64;
                    }
                    scan.good += size;
                }
                Found::Torn => break,
                Found::Version(version) => {
                    return Err(FlashError::Version { path, offset, version });
                }
                Found::Damaged => return Err(FlashError::Damaged { path, offset }),
            }
        }
        Ok(scan)
    }
}

enum Found<'a> {
    Record { key: u16, value: &'a [u8], size: usize },
    Torn,
    Version(u8),
    Damaged,
}

/// What stands at the beginning of `log`; `None` at its end.
fn decode(log: &[u8]) -> Option<Found<'_>> {
    let [version, rest @ ..] = log else { return None };
    // A file system may have made the file longer before the bytes arrived.
    if log.iter().all(|&byte| byte == 0) {
        return Some(Found::Torn);
    }
    let Some((&[k0, k1, l0, l1, c0, c1], body)) = rest.split_first_chunk::<6>() else {
        return Some(if *version == VERSION { Found::Torn } else { Found::Damaged });
    };
    if u16::from_be_bytes([c0, c1]) != crc32(&log[..5]) as u16 {
        return Some(Found::Damaged);
    }
    if *version != VERSION {
        return Some(Found::Version(*version));
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let size = HEADER + length + TRAILER;
    if length > MAX_VALUE {
        return Some(Found::Damaged);
    }
    let Some((value, tail)) = body.split_at_checked(length) else {
        return Some(Found::Torn);
    };
    let Some(stored) = tail.first_chunk::<TRAILER>() else {
        return Some(Found::Torn);
    };
    if u32::from_be_bytes(*stored) == crc32(&log[..HEADER + length]) {
        return Some(Found::Record { key: u16::from_be_bytes([k0, k1]), value, size });
    }
    // All bytes are there and wrong: only the very last record can have been under way when the power went.
    Some(if log.len() == size { Found::Torn } else { Found::Damaged })
}

fn encode(key: u16, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + value.len() + TRAILER);
    record.push(VERSION);
    record.extend_from_slice(&key.to_be_bytes());
    record.extend_from_slice(&(value.len() as u16).to_be_bytes());
    let check = crc32(&record) as u16;
    record.extend_from_slice(&check.to_be_bytes());
    record.extend_from_slice(value);
    let crc = crc32(&record);
    record.extend_from_slice(&crc.to_be_bytes());
    record
}

/// CRC-32 (ISO-HDLC), bit by bit: records are short and rare.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// The name of the new log while it is written.
fn replacement(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn lock(file: &File, path: &Path) -> Result<(), FlashError> {
    let path = path.to_path_buf();
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => FlashError::InUse { path },
        TryLockError::Error(source) => FlashError::Io { path, source },
    })
}

/// Whether `path` still names `file`: its owner may have compacted, and so replaced, it between our opening and
/// locking it.
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (ours, named) = (file.metadata()?, std::fs::metadata(path)?);
        Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
    }
    // Elsewhere an open file cannot be replaced.
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        Ok(true)
    }
}

/// Options for a file that only its owner may read.
fn private() -> OpenOptions {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a new or renamed entry of the folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    // Elsewhere a folder cannot be opened as a file; the rename itself is journalled.
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(flash: &Flash) -> Vec<(u16, Vec<u8>)> {
        flash.iter().map(|(key, value)| (key, value.to_vec())).collect()
    }

    #[test]
    fn crc_has_the_catalogue_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    /// Freezes the layout: a store written today has to open tomorrow.
    #[test]
    fn the_bytes_of_a_record() {
        let mut flash = Flash::in_memory();
        flash.put(0x1234, b"abc").unwrap();
        let log = flash.log().unwrap();
        assert_eq!(log[..5], [1, 0x12, 0x34, 0, 3]);
        assert_eq!(log[7..10], *b"abc");
        assert_eq!(log.len(), 14);
        // zlib.crc32 of Python over the first 5 and the first 10 bytes.
        assert_eq!(log[5..7], [0x5D, 0x4F]);
        assert_eq!(log[10..], [0xC0, 0xFC, 0x9D, 0x57]);
    }

    #[test]
    fn the_last_value_of_a_key_wins_also_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.flash");
        let mut flash = Flash::open(&path).unwrap();
        assert!(flash.is_empty());
        flash.put(7, b"old").unwrap();
        flash.put(1, &[]).unwrap();
        flash.put(7, &[0xFF; MAX_VALUE]).unwrap();
        assert!(matches!(flash.put(7, &[0; MAX_VALUE + 1]), Err(FlashError::ValueTooLong(1025))));
        let expected = vec![(1, vec![]), (7, vec![0xFF; MAX_VALUE])];
        assert_eq!(contents(&flash), expected);
        assert!(matches!(Flash::open(&path), Err(FlashError::InUse { .. })));
        drop(flash);
        let flash = Flash::open(&path).unwrap();
        assert_eq!(contents(&flash), expected);
        assert_eq!((flash.len(), flash.get(2)), (2, None));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it_also_after_compaction() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.flash");
        let mut flash = Flash::open(&path).unwrap();
        flash.put(1, b"key").unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        flash.compact().unwrap();
        assert_eq!(mode(), 0o600);
    }

    /// The power goes at every byte of a write that replaces a value. After the next boot the flash holds the old or
    /// the new value, everything else, and takes further writes.
    #[test]
    fn a_cut_at_every_byte_of_a_write_leaves_the_old_or_the_new_value() {
        let (old, new) = (vec![1u8; 40], vec![2u8; 300]);
        let size = HEADER + new.len() + TRAILER;
        for bytes in 0..=size + 1 {
            let mut flash = Flash::in_memory();
            flash.put(1, &old).unwrap();
            flash.put(2, b"other").unwrap();
            flash.cut_after(0, bytes);
            assert!(matches!(flash.put(1, &new), Err(FlashError::PowerCut)));
            assert!(matches!(flash.put(3, b"x"), Err(FlashError::PowerCut)));
            let mut next = Flash::from_log(flash.log().unwrap().to_vec()).unwrap();
            let expected = if bytes >= size { &new } else { &old };
            assert_eq!(next.get(1), Some(expected.as_slice()), "cut at byte {bytes}");
            assert_eq!(next.get(2), Some(b"other".as_slice()));
            assert_eq!(next.get(3), None);
            next.put(3, b"after").unwrap();
            let again = Flash::from_log(next.log().unwrap().to_vec()).unwrap();
            assert_eq!(again.get(3), Some(b"after".as_slice()), "cut at byte {bytes}");
            assert_eq!(again.get(1), Some(expected.as_slice()));
        }
    }

    /// The same on a disk, at every write of a sequence that includes a compaction.
    #[test]
    fn a_cut_at_every_write_of_a_life_on_disk_loses_nothing_that_was_promised() {
        let folder = tempfile::tempdir().unwrap();
        for writes in 0..12 {
            for bytes in [0, 1, 6, 7, 8, 30, 10_000] {
                let path = folder.path().join(format!("{writes}-{bytes}.flash"));
                let mut flash = Flash::open(&path).unwrap();
                flash.cut_after(writes, bytes);
                let (mut promised, mut tried) = (BTreeMap::new(), BTreeMap::new());
                for round in 0..10u8 {
                    let (key, value) = (u16::from(round % 3), vec![round; 20]);
                    tried.insert(key, value.clone());
                    if flash.put(key, &value).is_err() {
                        break;
                    }
                    promised.insert(key, value);
                    if round == 5 && flash.compact().is_err() {
                        break;
                    }
                }
                drop(flash);
                let flash = Flash::open(&path).unwrap();
                let found: BTreeMap<u16, Vec<u8>> = contents(&flash).into_iter().collect();
                assert!(
                    found == promised || found == tried,
                    "cut in write {writes} at byte {bytes}: {found:?}"
                );
                assert!(!replacement(&path).exists());
            }
        }
    }

    /// The tail of a long torn record must be gone before a shorter one is written over its beginning.
    #[test]
    fn a_short_write_after_a_long_torn_one_survives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.flash");
        let mut flash = Flash::open(&path).unwrap();
        flash.cut_after(0, 900);
        assert!(flash.put(1, &[0xAB; 1_000]).is_err());
        drop(flash);
        for value in [b"a", b"b"] {
            Flash::open(&path).unwrap().put(2, value).unwrap();
        }
        assert_eq!(contents(&Flash::open(&path).unwrap()), [(2, b"b".to_vec())]);
    }

    #[test]
    fn a_log_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter.flash");
        let mut flash = Flash::open(&path).unwrap();
        flash.put(9, b"kept").unwrap();
        for round in 0..2_000u32 {
            flash.put(1, &[round as u8; 100]).unwrap();
        }
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= COMPACT_FROM + 200, "{size}");
        drop(flash);
        let flash = Flash::open(&path).unwrap();
        assert_eq!(contents(&flash), [(1, vec![1_999u32 as u8; 100]), (9, b"kept".to_vec())]);
    }

    /// A flipped bit in front of later records must never pass for a power cut: the later records would be lost.
    #[test]
    fn damage_before_the_end_is_an_error_at_every_bit() {
        let mut flash = Flash::in_memory();
        flash.put(1, b"first").unwrap();
        let first = flash.log().unwrap().len();
        flash.put(1, b"second").unwrap();
        let log = flash.log().unwrap().to_vec();
        for bit in 0..first * 8 {
            let mut damaged = log.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(Flash::from_log(damaged), Err(FlashError::Damaged { offset: 0, .. })),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn another_format_and_a_longer_file_are_told_apart() {
        let mut other = vec![2, 0, 1, 0, 0];
        other.extend_from_slice(&(crc32(&other) as u16).to_be_bytes());
        other.extend_from_slice(&[0; 40]);
        assert!(matches!(Flash::from_log(other), Err(FlashError::Version { offset: 0, version: 2, .. })));

        let mut flash = Flash::in_memory();
        flash.put(1, b"value").unwrap();
        let mut log = flash.log().unwrap().to_vec();
        log.extend_from_slice(&[0; 4096]);
        assert_eq!(Flash::from_log(log.clone()).unwrap().get(1), Some(b"value".as_slice()));
        log.push(1);
        assert!(matches!(Flash::from_log(log), Err(FlashError::Damaged { .. })));
        assert!(matches!(Flash::from_log(b"{\"json\": true}".to_vec()), Err(FlashError::Damaged { .. })));
    }
}
