//! The logs of devices on disk (`spec/channel.md`, H125): one file per chain, appended and synced before an entry is
//! acknowledged. The chain of a component is in `NAME.log`; one that took its place, because the device lost the head of
//! its log, is in `NAME.2.log`, and so on.
//!
//! ```text
//! 'MBAL' | version u8 = 1 | cid 16, then records: kind u8 | length u16 | bytes                     (big-endian)
//! kind 1: n u64 | h_n 32 | tag 16 | entry      kind 2: checkpoint 125      kind 3: key statement 194
//! ```

use lct::{
    Digest,
    audit::{AuditLink, genesis, link_hash},
    id::Cid,
    journal::{CHECKPOINT_LEN, ENTRY_MAX, Gap, KEY_STATEMENT_LEN},
};
use pack::journal::{LogPart, PLACES};
use std::{
    collections::{BTreeMap, VecDeque, btree_map},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 4] = b"MBAL";
const VERSION: u8 = 1;
const HEADER: usize = 4 + 1 + 16;
const ENTRY_HEAD: usize = 8 + 32 + 16;
/// Largest file that is read: about a million entries.
const FILE_MAX: u64 = 128 * 1024 * 1024;

/// Why a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("log {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a log of the component.
    #[error("{}: not a log of this component", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another build wrote it.
    #[error(
        "log {} has format {found}, and this build knows {VERSION}; nothing was changed, the build that wrote it still reads it",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u8,
    },
    /// A record that makes no sense.
    #[error("log {}: record at byte {offset} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: usize,
    },
}

/// One record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// An entry with what is stored beside it.
    Entry(AuditLink, Vec<u8>),
    /// A checkpoint.
    Checkpoint([u8; CHECKPOINT_LEN]),
    /// The statement of the first key.
    Key([u8; KEY_STATEMENT_LEN]),
}

impl LogRecord {
    fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            LogRecord::Entry(link, entry) => {
                (1, [&link.number.to_be_bytes()[..], &link.hash, &link.tag, entry].concat())
            }
            LogRecord::Checkpoint(bytes) => (2, bytes.to_vec()),
            LogRecord::Key(bytes) => (3, bytes.to_vec()),
        };
        let mut out = vec![kind];
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
        out.extend_from_slice(&body);
        out
    }

    fn decode(kind: u8, body: &[u8]) -> Option<Self> {
        match kind {
            1 if (ENTRY_HEAD..=ENTRY_HEAD + ENTRY_MAX).contains(&body.len()) => {
                let (number, rest) = body.split_first_chunk::<8>()?;
                let (hash, rest) = rest.split_first_chunk::<32>()?;
                let (tag, entry) = rest.split_first_chunk::<16>()?;
                let link = AuditLink { number: u64::from_be_bytes(*number), hash: *hash, tag: *tag };
                Some(LogRecord::Entry(link, entry.to_vec()))
            }
            2 => body.try_into().ok().map(LogRecord::Checkpoint),
            3 => body.try_into().ok().map(LogRecord::Key),
            _ => None,
        }
    }
}

/// A whole file as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Whose log it says to be.
    pub cid: Cid,
    /// What it holds.
    pub records: Vec<LogRecord>,
    /// Bytes behind the last whole record: the cut of a power failure.
    pub torn: usize,
}

/// Reads a file. Whether it is what the device wrote is not asked here.
pub fn read(path: &Path) -> Result<Log, LogError> {
    let io = |source| LogError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(FILE_MAX).read_to_end(&mut bytes)).map_err(io)?;
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Log, LogError> {
    let foreign = || LogError::Foreign { path: path.to_owned() };
    let header = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first);
    if let Some((found, _)) = header.filter(|(version, _)| **version != VERSION) {
        return Err(LogError::Version { path: path.to_owned(), found: *found });
    }
    let (cid, mut rest) = header.and_then(|(_, rest)| rest.split_at_checked(16)).ok_or_else(foreign)?;
    let cid = Cid::from_slice(cid).map_err(|_| foreign())?;
    let mut records = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(3) {
        let n = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let Some((body, behind)) = behind.split_at_checked(n) else { break };
        let offset = bytes.len() - rest.len();
        let damaged = || LogError::Damaged { path: path.to_owned(), offset };
        records.push(LogRecord::decode(head[0], body).ok_or_else(damaged)?);
        rest = behind;
    }
    Ok(Log { cid, records, torn: rest.len() })
}

struct Open {
    file: File,
    path: PathBuf,
    /// Which chain of the component this is, from 1.
    chain: u32,
    count: u64,
    head: Digest,
    /// Tags of the last entries: what a device can repeat.
    recent: VecDeque<[u8; 16]>,
    key: Option<[u8; KEY_STATEMENT_LEN]>,
    checkpoint: Option<[u8; CHECKPOINT_LEN]>,
}

impl Open {
    fn at(path: PathBuf, chain: u32, cid: Cid) -> Result<Self, LogError> {
        let io = |source| LogError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(io)?;
        let mut bytes = Vec::new();
        (&mut file).take(FILE_MAX).read_to_end(&mut bytes).map_err(io)?;
        // A file that was cut inside its header holds nothing yet.
        let header = [MAGIC, &[VERSION][..], &cid.0].concat();
        if bytes.len() < HEADER && header.starts_with(&bytes) {
            bytes = header;
            file.set_len(0).map_err(io)?;
            file.write_all(&bytes).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        let log = parse(&path, &bytes)?;
        if log.cid != cid {
            return Err(LogError::Foreign { path });
        }
        if log.torn > 0 {
            file.set_len((bytes.len() - log.torn) as u64).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        let (head, recent) = (genesis(), VecDeque::new());
        let mut open = Open { file, path, chain, count: 0, head, recent, key: None, checkpoint: None };
        for record in &log.records {
            open.count_in(record);
        }
        Ok(open)
    }

    fn count_in(&mut self, record: &LogRecord) {
        match record {
            LogRecord::Entry(link, _) => {
                (self.count, self.head) = (link.number, link.hash);
                self.recent.push_front(link.tag);
                self.recent.truncate(PLACES);
            }
            LogRecord::Checkpoint(bytes) => self.checkpoint = Some(*bytes),
            LogRecord::Key(bytes) => self.key = Some(*bytes),
        }
    }

    /// Whether entry `number` with this tag is in the file. Further back than this nothing is repeated.
    fn has(&self, number: u64, tag: &[u8; 16]) -> bool {
        let back = self.count.checked_sub(number).and_then(|back| usize::try_from(back).ok());
        back.and_then(|back| self.recent.get(back)) == Some(tag)
    }

    /// Whether `part` is of a chain that took the place of this one: it has another first key or another first entry.
    fn is_replaced_by(&self, part: &LogPart) -> bool {
        match part {
            LogPart::Key(bytes) => self.key.is_some_and(|own| !same_first_key(&own, bytes)),
            LogPart::Entry { number: 1, tag, .. } => {
                // The first entry of a long file is too far back to be repeated.
                self.count > 0 && (self.count > PLACES as u64 || !self.has(1, tag))
            }
            LogPart::Entry { .. } | LogPart::Checkpoint(_) => false,
        }
    }

    fn append(&mut self, record: &LogRecord) -> Result<(), LogError> {
        let written = self.file.write_all(&record.encode()).and_then(|()| self.file.sync_data());
        written.map_err(|source| LogError::Io { path: self.path.clone(), source })?;
        self.count_in(record);
        Ok(())
    }
}

/// Statements are signed anew each time; the sealed key inside stays the same.
fn same_first_key(a: &[u8; KEY_STATEMENT_LEN], b: &[u8; KEY_STATEMENT_LEN]) -> bool {
    let body = KEY_STATEMENT_LEN - 64;
    a[..body] == b[..body]
}

/// The logs of an installation.
pub struct AuditLogs {
    dir: PathBuf,
    names: BTreeMap<Cid, String>,
    open: BTreeMap<Cid, Open>,
}

impl AuditLogs {
    /// Logs in `dir`, which is made when it is missing. `names` gives files their names; a device without one gets its
    /// cid.
    pub fn new(dir: &Path, names: impl IntoIterator<Item = (Cid, String)>) -> Result<Self, LogError> {
        std::fs::create_dir_all(dir).map_err(|source| LogError::Io { path: dir.to_owned(), source })?;
        Ok(AuditLogs { dir: dir.to_owned(), names: names.into_iter().collect(), open: BTreeMap::new() })
    }

    /// Writes a part of the log of `cid`. The answer is the receipt of what is durable, of entries that of the last one.
    pub fn write(&mut self, cid: Cid, part: &LogPart) -> Result<Option<u64>, LogError> {
        let name = self.names.get(&cid).cloned().unwrap_or_else(|| cid.to_string());
        let path = |chain: u32| match chain {
            1 => self.dir.join(format!("{name}.log")),
            n => self.dir.join(format!("{name}.{n}.log")),
        };
        let log = match self.open.entry(cid) {
            btree_map::Entry::Occupied(log) => log.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let chain = (2..).find(|n| !path(*n).exists()).map_or(1, |next| next - 1);
                place.insert(Open::at(path(chain), chain, cid)?)
            }
        };
        if log.is_replaced_by(part) {
            let chain = log.chain + 1;
            *log = Open::at(path(chain), chain, cid)?;
        }
        match part {
            LogPart::Entry { number, tag, entry } => {
                let before = match Gap::told_by(entry) {
                    Some(gap) if gap.joins(log.count, *number) => Some(gap.hash),
                    _ => (*number == log.count + 1).then_some(log.head),
                };
                if let Some(before) = before
                    && let Ok(hash) = link_hash(&before, *number, entry)
                {
                    let link = AuditLink { number: *number, hash, tag: *tag };
                    log.append(&LogRecord::Entry(link, entry.to_vec()))?;
                }
                // What leaves a gap without telling so, and what is not what stands here, is not acknowledged.
                Ok(log.has(*number, tag).then_some(log.count))
            }
            LogPart::Checkpoint(bytes) => {
                if log.checkpoint != Some(*bytes) {
                    log.append(&LogRecord::Checkpoint(*bytes))?;
                }
                Ok(Some(part.receipt()))
            }
            LogPart::Key(bytes) => {
                if log.key.is_none_or(|own| !same_first_key(&own, bytes)) {
                    log.append(&LogRecord::Key(*bytes))?;
                }
                Ok(Some(part.receipt()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        audit::AuditChain,
        journal::{Code, Entry},
        secret::Secret,
    };

    fn entry(chain: &mut AuditChain, text: &[u8]) -> LogPart {
        let link = chain.append(text).unwrap();
        LogPart::Entry { number: link.number, tag: link.tag, entry: text.iter().copied().collect() }
    }

    /// `formats/module-0001.log` is what this wrote when the file got the format that it has.
    #[test]
    fn a_log_of_this_format_goes_on_and_one_of_another_is_named_and_left_alone() {
        let kept = include_bytes!("../tests/data/formats/module-0001.log");
        let dir = tempfile::tempdir().unwrap();
        let cid = Cid([3; 16]);
        let path = dir.path().join("module-0001.log");
        std::fs::write(&path, kept).unwrap();
        let write = |part: &LogPart| {
            AuditLogs::new(dir.path(), [(cid, "module-0001".to_owned())]).unwrap().write(cid, part)
        };
        let mut chain = AuditChain::new(Secret::new([1; 32]));
        let [key, checkpoint] = [LogPart::Key([8; 194]), LogPart::Checkpoint([7; 125])];
        let parts = [key, entry(&mut chain, &[1, 2]), checkpoint, entry(&mut chain, &[3; 20])];
        for part in &parts {
            let durable = if let LogPart::Entry { .. } = part { 2 } else { part.receipt() };
            assert_eq!(write(part).unwrap(), Some(durable));
        }
        assert_eq!(std::fs::read(&path).unwrap(), kept, "it has all of them");
        assert_eq!(read(&path).unwrap().records.len(), 4);
        assert_eq!(write(&entry(&mut chain, &[4])).unwrap(), Some(3));
        let other = [&kept[..4], &[2], &kept[5..]].concat();
        for other in [&other[..], &other[..10]] {
            std::fs::write(&path, other).unwrap();
            assert!(matches!(read(&path), Err(LogError::Version { found: 2, .. })));
            assert!(matches!(write(&parts[1]), Err(LogError::Version { found: 2, .. })));
            assert_eq!(std::fs::read(&path).unwrap(), other);
        }
        std::fs::write(&path, "notes").unwrap();
        assert!(matches!(write(&parts[1]), Err(LogError::Foreign { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"notes");
    }

    /// Cut at every byte: what was acknowledged is there, and writing goes on where it ended.
    #[test]
    fn a_cut_costs_only_what_was_not_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let cid = Cid([3; 16]);
        let name = [(cid, "module-0001".to_owned())];
        let path = dir.path().join("module-0001.log");
        let mut chain = AuditChain::new(Secret::new([1; 32]));
        let parts: Vec<LogPart> = (0..4u8).map(|i| entry(&mut chain, &[1, i, i])).collect();
        let mut logs = AuditLogs::new(dir.path(), name.clone()).unwrap();
        let mut ends = vec![HEADER as u64];
        for (i, part) in parts.iter().enumerate() {
            assert_eq!(logs.write(cid, part).unwrap(), Some(i as u64 + 1));
            ends.push(std::fs::metadata(&path).unwrap().len());
        }
        assert_eq!(logs.write(cid, &parts[1]).unwrap(), Some(4), "a repetition is acknowledged, not written");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut logs = AuditLogs::new(dir.path(), name.clone()).unwrap();
            let kept = ends.iter().filter(|e| **e <= cut as u64).count().saturating_sub(1);
            if kept + 1 < parts.len() {
                assert_eq!(logs.write(cid, &parts[kept + 1]).unwrap(), None, "a gap, cut at {cut}");
            }
            for (i, part) in parts.iter().enumerate().skip(kept) {
                assert_eq!(logs.write(cid, part).unwrap(), Some(i as u64 + 1), "cut at {cut}");
            }
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    /// A device that lost the head of its log begins another chain: by its key or, if that was lost on the way, by its first entry.
    #[test]
    fn a_chain_that_begins_anew_gets_a_file_of_its_own() {
        for key_arrives in [true, false] {
            for entries in [3, 40] {
                let dir = tempfile::tempdir().unwrap();
                let cid = Cid([3; 16]);
                let logs = || AuditLogs::new(dir.path(), [(cid, "pack-0001".to_owned())]).unwrap();
                let mut kept = logs();
                assert_eq!(kept.write(cid, &LogPart::Key([1; KEY_STATEMENT_LEN])).unwrap(), Some(0));
                let mut old = AuditChain::new(Secret::new([1; 32]));
                let mut last = entry(&mut old, b"old");
                for n in 1..=entries {
                    assert_eq!(kept.write(cid, &last).unwrap(), Some(n));
                    last = entry(&mut old, b"old");
                }
                let whole = std::fs::read(dir.path().join("pack-0001.log")).unwrap();
                if key_arrives {
                    assert_eq!(kept.write(cid, &LogPart::Key([2; KEY_STATEMENT_LEN])).unwrap(), Some(0));
                }
                let mut new = AuditChain::new(Secret::new([2; 32]));
                let (first, second) = (entry(&mut new, b"new"), entry(&mut new, b"new"));
                assert_eq!(kept.write(cid, &first).unwrap(), Some(1));
                assert_eq!(kept.write(cid, &first).unwrap(), Some(1), "repeated");
                kept = logs();
                assert_eq!(kept.write(cid, &second).unwrap(), Some(2), "after a start");
                assert_eq!(kept.write(cid, &LogPart::Key([2; KEY_STATEMENT_LEN])).unwrap(), Some(0));
                let read = |name: &str| read(&dir.path().join(name)).unwrap().records.len();
                assert_eq!(read("pack-0001.2.log"), 3);
                assert!(!dir.path().join("pack-0001.3.log").exists());
                assert_eq!(std::fs::read(dir.path().join("pack-0001.log")).unwrap(), whole, "left as it was");
            }
        }
    }

    /// A gap that the device tells is taken where it fits, and into a file that begins with it.
    #[test]
    fn a_told_gap_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let gap = |first, number: u64, chain: &mut AuditChain| {
            let (count, hash) = chain.head();
            assert_eq!(count, number - 1);
            let detail = Gap { first, hash }.encode().into_iter().collect();
            let told =
                Entry { code: Code::EntriesLost as u8, boot: 1, uptime_s: 0, time: 0, node: 255, detail };
            entry(chain, &told.encode().unwrap())
        };
        let chain = |n| {
            let mut chain = AuditChain::new(Secret::new([1; 32]));
            (0..n).for_each(|_| drop(entry(&mut chain, b"lost")));
            chain
        };
        for (kept, first, taken) in [(3, 4, true), (3, 3, false), (3, 5, false), (0, 4, true), (6, 7, true)] {
            let cid = Cid([kept as u8 + 10 * first as u8; 16]);
            let mut logs = AuditLogs::new(dir.path(), []).unwrap();
            let mut own = chain(0);
            for n in 1..=kept {
                assert_eq!(logs.write(cid, &entry(&mut own, b"lost")).unwrap(), Some(n));
            }
            let mut device = chain(6);
            let told = gap(first, 7, &mut device);
            let answer = logs.write(cid, &told).unwrap();
            assert_eq!(answer, taken.then_some(7), "{kept} kept, lost from {first}");
            let next = logs.write(cid, &entry(&mut device, b"next")).unwrap();
            assert_eq!(next, taken.then_some(8), "{kept} kept, lost from {first}");
        }
    }

    /// An entry of another chain is never acknowledged for one with its number: its device would forget it.
    #[test]
    fn only_what_stands_in_the_file_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let cid = Cid([3; 16]);
        let mut logs = AuditLogs::new(dir.path(), [(cid, "app".to_owned())]).unwrap();
        let (mut own, mut other) =
            (AuditChain::new(Secret::new([1; 32])), AuditChain::new(Secret::new([2; 32])));
        for n in 1..=3 {
            assert_eq!(logs.write(cid, &entry(&mut own, b"own")).unwrap(), Some(n));
        }
        let (_, second) = (entry(&mut other, b"other"), entry(&mut other, b"other"));
        assert_eq!(logs.write(cid, &second).unwrap(), None);
    }

    #[test]
    fn another_file_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let cid = Cid([3; 16]);
        std::fs::write(dir.path().join("app.log"), b"these are somebody's notes, not a log").unwrap();
        let mut logs = AuditLogs::new(dir.path(), [(cid, "app".to_owned())]).unwrap();
        let part = entry(&mut AuditChain::new(Secret::new([1; 32])), b"x");
        assert!(matches!(logs.write(cid, &part), Err(LogError::Foreign { .. })));
    }
}
