//! The logs of devices on disk (`spec/channel.md`, H125): one file per component, appended and synced before an entry is
//! acknowledged.
//!
//! ```text
//! 'MBAL' | version u8 = 1 | cid 16, then records: kind u8 | length u16 | bytes                     (big-endian)
//! kind 1: n u64 | h_n 32 | tag 16 | entry      kind 2: checkpoint 125      kind 3: key statement 194
//! ```

use lct::{
    Digest,
    audit::{AuditLink, genesis, link_hash},
    id::Cid,
    journal::{CHECKPOINT_LEN, ENTRY_MAX, KEY_STATEMENT_LEN},
};
use pack::journal::LogPart;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

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
    /// Not a log, or one of another version.
    #[error("{}: not a log of this version", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
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
    let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or_else(foreign)?;
    if header[..5] != *b"MBAL\x01" {
        return Err(foreign());
    }
    let cid = Cid::from_slice(&header[5..]).map_err(|_| foreign())?;
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
    count: u64,
    head: Digest,
    key: Option<[u8; KEY_STATEMENT_LEN]>,
    checkpoint: Option<[u8; CHECKPOINT_LEN]>,
}

impl Open {
    fn at(path: PathBuf, cid: Cid) -> Result<Self, LogError> {
        let io = |source| LogError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(io)?;
        let mut bytes = Vec::new();
        (&mut file).take(FILE_MAX).read_to_end(&mut bytes).map_err(io)?;
        // A file that was cut inside its header holds nothing yet.
        if bytes.len() < HEADER {
            file.set_len(0).map_err(io)?;
            file.write_all(&[b"MBAL\x01", &cid.0[..]].concat()).map_err(io)?;
            file.sync_all().map_err(io)?;
            return Ok(Open { file, path, count: 0, head: genesis(), key: None, checkpoint: None });
        }
        let log = parse(&path, &bytes)?;
        if log.cid != cid {
            return Err(LogError::Foreign { path });
        }
        if log.torn > 0 {
            file.set_len((bytes.len() - log.torn) as u64).map_err(io)?;
            file.sync_all().map_err(io)?;
        }
        let mut open = Open { file, path, count: 0, head: genesis(), key: None, checkpoint: None };
        for record in &log.records {
            open.count_in(record);
        }
        Ok(open)
    }

    fn count_in(&mut self, record: &LogRecord) {
        match record {
            LogRecord::Entry(link, _) => (self.count, self.head) = (link.number, link.hash),
            LogRecord::Checkpoint(bytes) => self.checkpoint = Some(*bytes),
            LogRecord::Key(bytes) => self.key = Some(*bytes),
        }
    }

    fn append(&mut self, record: &LogRecord) -> Result<(), LogError> {
        let written = self.file.write_all(&record.encode()).and_then(|()| self.file.sync_data());
        written.map_err(|source| LogError::Io { path: self.path.clone(), source })?;
        self.count_in(record);
        Ok(())
    }
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

    /// Writes a part of the log of `cid`. For an entry the answer is the number up to which the log is durable.
    pub fn write(&mut self, cid: Cid, part: &LogPart) -> Result<Option<u64>, LogError> {
        let log = match self.open.entry(cid) {
            std::collections::btree_map::Entry::Occupied(log) => log.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let name = self.names.get(&cid).cloned().unwrap_or_else(|| cid.to_string());
                place.insert(Open::at(self.dir.join(format!("{name}.log")), cid)?)
            }
        };
        match part {
            LogPart::Entry { number, tag, entry } => {
                if *number == log.count + 1
                    && let Ok(hash) = link_hash(&log.head, *number, entry)
                {
                    let link = AuditLink { number: *number, hash, tag: *tag };
                    log.append(&LogRecord::Entry(link, entry.to_vec()))?;
                }
                // An entry that leaves a gap is not written and not acknowledged.
                Ok((log.count >= *number).then_some(log.count))
            }
            LogPart::Checkpoint(bytes) => {
                if log.checkpoint != Some(*bytes) {
                    log.append(&LogRecord::Checkpoint(*bytes))?;
                }
                Ok(None)
            }
            LogPart::Key(bytes) => {
                // Signed anew each time; the sealed key inside stays the same.
                let body = KEY_STATEMENT_LEN - 64;
                if log.key.is_none_or(|k| k[..body] != bytes[..body]) {
                    log.append(&LogRecord::Key(*bytes))?;
                }
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{audit::AuditChain, secret::Secret};

    fn entry(chain: &mut AuditChain, text: &[u8]) -> LogPart {
        let link = chain.append(text).unwrap();
        LogPart::Entry { number: link.number, tag: link.tag, entry: text.iter().copied().collect() }
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
