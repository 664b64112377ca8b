//! Where web hooks are kept: one cursor each, and what was given up (A188).
//!
//! The events themselves are the ledger's; the outbox only says how far each receiver is. A receiver's cursor moves in the same
//! transaction that notes what became of the event, after the receiver's answer: a crash in between delivers it once more.

use std::{
    fs,
    path::{Path, PathBuf},
};

use api::{
    encoding::{Fixed, Hex},
    event::Cursor,
    webhook::DeadLetter,
};
use lct::Digest;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

const HOOKS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("webhooks");
const DEAD: TableDefinition<'_, ([u8; 16], u64, u32, u32), &[u8]> = TableDefinition::new("dead letters");
/// Ids of web hooks that were removed, and until when none is added under them.
const REMOVED: TableDefinition<'_, [u8; 16], u64> = TableDefinition::new("removed");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Version of the file.
const FORMAT: u8 = 1;
const CACHE_BYTES: usize = 1 << 20;
/// Most web hooks.
pub(super) const HOOKS_MAX: usize = 64;
/// Most events that are given up for one receiver; then it is suspended, so that nothing is given up unseen.
pub(super) const DEAD_MAX: u64 = 1000;

/// Why the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// It cannot be opened, read or written.
    #[error("{}: {source}", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// It is no outbox of this version and chain.
    #[error("{}: {what}; move it away to start without web hooks", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file cannot be made private.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Key of a receiver's signatures. Not shown by anything but its one answer.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct HookSecret(pub Fixed<32>);

impl Drop for HookSecret {
    fn drop(&mut self) {
        self.0.0.zeroize();
    }
}

/// A web hook as kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Hook {
    pub url: String,
    pub types: String,
    pub component: String,
    pub secret: HookSecret,
    /// The last event that is dealt with.
    pub cursor: Option<Cursor>,
    pub delivered: u64,
    pub tries: u32,
    pub dead: u64,
    pub error: String,
    pub suspended: bool,
    /// Drawn when it is added, and another one whenever an operator sets the cursor: what was on its way for an
    /// earlier one counts no more.
    pub round: u64,
}

pub(super) struct Outbox {
    db: Database,
    path: PathBuf,
}

/// Refuses a file of another version or chain, before anything is written to it.
fn check(path: &Path, db: &impl ReadableDatabase, chain_id: &Digest) -> Kept<()> {
    let read = || -> Result<_, redb::Error> {
        let meta = match db.begin_read()?.open_table(META) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            meta => meta?,
        };
        let value = |name| Ok::<_, redb::Error>(meta.get(name)?.map(|v| v.value().to_vec()));
        Ok(Some((value("format")?, value("chain")?)))
    };
    let damaged = |what| Err(OutboxError::Damaged { path: path.into(), what });
    let found = read().map_err(|e| OutboxError::Store { path: path.into(), source: Box::new(e) })?;
    match found {
        None => Ok(()),
        Some((Some(format), Some(chain))) if format == [FORMAT] => {
            if chain == chain_id {
                Ok(())
            } else {
                damaged("it belongs to another chain".into())
            }
        }
        Some((Some(format), _)) if format.len() == 1 && format != [FORMAT] => {
            damaged(format!("it has format {}, this build knows {FORMAT}", format[0]))
        }
        Some(_) => damaged("it says no format and chain".into()),
    }
}

/// Whether a crash left it as it was before anything was written.
fn is_empty(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.len() == 0)
}

type Kept<T> = Result<T, OutboxError>;

impl Outbox {
    pub fn open(path: &Path, chain_id: &Digest) -> Kept<Self> {
        let fresh = !path.exists();
        let fail = |e: redb::Error| OutboxError::Store { path: path.into(), source: Box::new(e) };
        if fresh {
            private(path).map_err(|source| OutboxError::Io { path: path.into(), source })?;
        }
        if !fresh {
            match Database::builder().open_read_only(path) {
                Ok(db) => check(path, &db, chain_id)?,
                // It was not closed, and has to be repaired before anybody can read it; or it was only just made.
                Err(DatabaseError::RepairAborted) => {}
                Err(_) if is_empty(path) => {}
                Err(e) => return Err(fail(e.into())),
            }
        }
        let db = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|e| fail(e.into()))?;
        check(path, &db, chain_id)?;
        let outbox = Outbox { db, path: path.into() };
        outbox.change(|txn| {
            txn.open_table(HOOKS)?;
            txn.open_table(DEAD)?;
            txn.open_table(REMOVED)?;
            let mut meta = txn.open_table(META)?;
            meta.insert("format", [FORMAT].as_slice())?;
            meta.insert("chain", chain_id.as_slice())?;
            Ok(())
        })?;
        Ok(outbox)
    }

    fn damaged(&self, what: impl ToString) -> OutboxError {
        OutboxError::Damaged { path: self.path.clone(), what: what.to_string() }
    }

    fn fail(&self, source: redb::Error) -> OutboxError {
        OutboxError::Store { path: self.path.clone(), source: Box::new(source) }
    }

    /// One durable change: on an error nothing has changed.
    fn change<T>(&self, f: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>) -> Kept<T> {
        let write = || {
            let txn = self.db.begin_write()?;
            let done = f(&txn)?;
            txn.commit()?;
            Ok(done)
        };
        write().map_err(|e| self.fail(e))
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, bytes: &[u8]) -> Kept<T> {
        serde_json::from_slice(bytes).map_err(|e| self.damaged(e))
    }

    /// Every web hook, by id.
    pub fn hooks(&self) -> Kept<Vec<(Hex<16>, Hook)>> {
        let read = || -> Result<Vec<_>, redb::Error> {
            let table = self.db.begin_read()?.open_table(HOOKS)?;
            let mut hooks = Vec::new();
            for entry in table.iter()? {
                let (id, hook) = entry?;
                hooks.push((id.value(), hook.value().to_vec()));
            }
            Ok(hooks)
        };
        let hooks = read().map_err(|e| self.fail(e))?.into_iter();
        hooks.map(|(id, bytes)| Ok((Hex(id), self.parse(&bytes)?))).collect()
    }

    pub fn hook(&self, id: &Hex<16>) -> Kept<Option<Hook>> {
        let read = || -> Result<_, redb::Error> {
            let table = self.db.begin_read()?.open_table(HOOKS)?;
            Ok(table.get(id.0)?.map(|hook| hook.value().to_vec()))
        };
        read().map_err(|e| self.fail(e))?.map(|bytes| self.parse(&bytes)).transpose()
    }

    /// Puts a web hook, and with it an event that was given up for it. An `expected` round that is over changes nothing.
    pub fn put(
        &self,
        id: &Hex<16>,
        hook: &Hook,
        expected: Option<u64>,
        dead: Option<&DeadLetter>,
    ) -> Kept<bool> {
        let bytes = Zeroizing::new(json(hook));
        self.change(|txn| {
            let mut hooks = txn.open_table(HOOKS)?;
            if expected.is_some() {
                let kept =
                    hooks.get(id.0)?.and_then(|kept| serde_json::from_slice::<Hook>(kept.value()).ok());
                if kept.map(|hook| hook.round) != expected {
                    return Ok(false);
                }
            }
            hooks.insert(id.0, bytes.as_slice())?;
            if let Some(letter) = dead {
                let Cursor { height, transaction, index } = letter.event;
                txn.open_table(DEAD)?.insert((id.0, height, transaction, index), json(letter).as_slice())?;
            }
            Ok(true)
        })
    }

    /// Forgets what was given up for a web hook, which goes on as `hook`.
    pub fn reset(&self, id: &Hex<16>, hook: &Hook) -> Kept<()> {
        let bytes = Zeroizing::new(json(hook));
        self.change(|txn| {
            txn.open_table(DEAD)?.retain_in(letters_of(id), |_, _| false)?;
            txn.open_table(HOOKS)?.insert(id.0, bytes.as_slice())?;
            Ok(())
        })
    }

    /// Forgets a web hook and what was given up for it; what remains is that its id is taken until `until`.
    pub fn remove(&self, id: &Hex<16>, now: u64, until: u64) -> Kept<()> {
        self.change(|txn| {
            txn.open_table(DEAD)?.retain_in(letters_of(id), |_, _| false)?;
            txn.open_table(HOOKS)?.remove(id.0)?;
            let mut removed = txn.open_table(REMOVED)?;
            removed.retain(|_, until| until >= now)?;
            removed.insert(id.0, until)?;
            Ok(())
        })
    }

    /// Whether a web hook with this id was removed so lately that an order from before could still come.
    pub fn removed(&self, id: &Hex<16>, now: u64) -> Kept<bool> {
        let read = || -> Result<_, redb::Error> {
            let table = self.db.begin_read()?.open_table(REMOVED)?;
            Ok(table.get(id.0)?.is_some_and(|until| until.value() >= now))
        };
        read().map_err(|e| self.fail(e))
    }

    /// What was given up for a web hook, by event.
    pub fn letters(&self, id: &Hex<16>) -> Kept<Vec<DeadLetter>> {
        let read = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(DEAD)?;
            let mut letters = Vec::new();
            for entry in table.range(letters_of(id))? {
                letters.push(entry?.1.value().to_vec());
            }
            Ok(letters)
        };
        let letters = read().map_err(|e| self.fail(e))?;
        letters.iter().map(|bytes| self.parse(bytes)).collect()
    }
}

/// Where the letters of a web hook lie.
fn letters_of(id: &Hex<16>) -> std::ops::RangeInclusive<([u8; 16], u64, u32, u32)> {
    (id.0, 0, 0, 0)..=(id.0, u64::MAX, u32::MAX, u32::MAX)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("web hooks and letters have text keys only")
}

/// Makes an empty file that only its owner may read.
fn private(path: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
