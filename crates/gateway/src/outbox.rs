//! What must reach the ledger, on disk until it is there.
//!
//! One redb file: `jobs` maps `priority u8 || number u64` to an encoded [`Job`], `failed` keeps what the ledger
//! refused for good, with its reason. Nothing is ever evicted. A job is durable when [`Outbox::keep`] returns, and whoever
//! put it there hears by [`Outbox::take_settled`] that it left. What was signed with keys of which the ledger does not know yet is
//! held apart ([`hold`]).

mod hold;

pub use hold::{Fate, HOLD_MIB, Held, Moved, Noted};

use crate::collect::Entry;
use hold::{Hold, Judged};
use lct::{
    context::Signed as SignedContext,
    sign::{PublicKey, Signature},
    validation::Attestation,
};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

const JOBS: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("jobs");
const FAILED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("failed");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Version of the file's content.
const VERSION: u64 = 1;

/// Something for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// A batch of telemetry.
    Batch {
        /// Canonical statement.
        statement: Vec<u8>,
        /// The device's signing key in its binding.
        key: PublicKey,
        /// The device's signature.
        signature: Signature,
        /// Records or leaves, in order.
        entries: Vec<Entry>,
    },
    /// An energy event or cycle close.
    Energy {
        /// Canonical statement.
        statement: Vec<u8>,
        /// The pack's signing key in its binding.
        key: PublicKey,
        /// The pack's signature.
        signature: Signature,
    },
    /// A validation event of a device, with the word of its witness if there is one.
    Statement {
        /// Canonical event.
        statement: Vec<u8>,
        /// The device's signing key in the binding for which it speaks.
        key: PublicKey,
        /// The device's signature.
        signature: Signature,
        /// The attestation, and the signing key of the witness.
        witness: Option<(Attestation, PublicKey)>,
    },
    /// A checkpoint of a device's audit log.
    Checkpoint {
        /// What the device signed.
        statement: Vec<u8>,
        /// The device's signing key in its binding.
        key: PublicKey,
        /// The device's signature.
        signature: Signature,
    },
    /// The end of a pairing that one of its entities signed.
    Withdrawal {
        /// The event.
        statement: Vec<u8>,
        /// The signer's key in its binding.
        key: PublicKey,
        /// Its signature.
        signature: Signature,
    },
    /// A report of metrics.
    Metrics {
        /// Canonical statement.
        statement: Vec<u8>,
        /// The pack's signing key in its binding.
        key: PublicKey,
        /// The pack's signature.
        signature: Signature,
    },
    /// A statement in the context of an LCT, as its signer made it.
    Context(Box<SignedContext>),
}

impl Job {
    /// 1 is sent first: energy before statements before telemetry. The ledger takes the events of a component in their
    /// order (V4), so none of them overtakes another.
    pub(crate) fn priority(&self) -> u8 {
        match self {
            Job::Energy { .. } => 1,
            Job::Checkpoint { .. } | Job::Statement { .. } | Job::Withdrawal { .. } => 2,
            Job::Batch { .. } | Job::Context(_) | Job::Metrics { .. } => 3,
        }
    }

    /// With whose keys it is signed.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        let (key, witness) = match self {
            Job::Batch { key, .. }
            | Job::Energy { key, .. }
            | Job::Checkpoint { key, .. }
            | Job::Withdrawal { key, .. }
            | Job::Metrics { key, .. } => (*key, None),
            Job::Context(signed) => (signed.key, None),
            Job::Statement { key, witness, .. } => (*key, witness.as_ref().map(|(_, key)| *key)),
        };
        [Some(key), witness].into_iter().flatten()
    }

    fn encode(&self) -> Vec<u8> {
        let mut e = minicbor::Encoder::new(Vec::new());
        let done = (|| {
            match self {
                Job::Batch { statement, key, signature, entries } => {
                    e.array(6)?.u8(1)?.u8(1)?.bytes(statement)?.bytes(&key.0)?.bytes(&signature.0)?;
                    e.array(entries.len() as u64)?;
                    for entry in entries {
                        match entry {
                            Entry::Record(bytes) => e.bytes(bytes)?.ok()?,
                            Entry::Lost(seq, leaf) => e.array(2)?.u32(*seq)?.bytes(leaf)?.ok()?,
                        }
                    }
                }
                Job::Energy { statement, key, signature } => {
                    e.array(5)?.u8(1)?.u8(2)?.bytes(statement)?.bytes(&key.0)?.bytes(&signature.0)?;
                }
                Job::Checkpoint { statement, key, signature } => {
                    e.array(5)?.u8(1)?.u8(3)?.bytes(statement)?.bytes(&key.0)?.bytes(&signature.0)?;
                }
                Job::Withdrawal { statement, key, signature } => {
                    e.array(5)?.u8(1)?.u8(4)?.bytes(statement)?.bytes(&key.0)?.bytes(&signature.0)?;
                }
                Job::Metrics { statement, key, signature } => {
                    e.array(5)?.u8(1)?.u8(7)?.bytes(statement)?.bytes(&key.0)?.bytes(&signature.0)?;
                }
                Job::Context(signed) => {
                    let SignedContext { statement, key, signature } = signed.as_ref();
                    e.array(5)?.u8(1)?.u8(6)?.bytes(statement)?.bytes(&key.0)?.bytes(&signature.0)?;
                }
                Job::Statement { statement, key, signature, witness } => {
                    let fields = if witness.is_some() { 7 } else { 5 };
                    e.array(fields)?.u8(1)?.u8(5)?.bytes(statement)?.bytes(&key.0)?.bytes(&signature.0)?;
                    if let Some((attestation, key)) = witness {
                        e.bytes(&attestation.encode())?.bytes(&key.0)?;
                    }
                }
            }
            Ok::<(), minicbor::encode::Error<core::convert::Infallible>>(())
        })();
        debug_assert!(done.is_ok(), "a Vec takes everything");
        e.into_writer()
    }

    fn decode(bytes: &[u8]) -> Option<Job> {
        let mut d = minicbor::Decoder::new(bytes);
        let n = d.array().ok()??;
        if d.u8().ok()? != 1 {
            return None;
        }
        let kind = d.u8().ok()?;
        let statement = d.bytes().ok()?.to_vec();
        let key = PublicKey::from_slice(d.bytes().ok()?).ok()?;
        let signature = Signature::from_slice(d.bytes().ok()?).ok()?;
        match (kind, n) {
            (1, 6) => {
                let count = d.array().ok()??;
                let mut entries = Vec::new();
                for _ in 0..count {
                    entries.push(match d.datatype().ok()? {
                        minicbor::data::Type::Bytes => Entry::Record(d.bytes().ok()?.to_vec()),
                        _ => {
                            d.array().ok()?;
                            Entry::Lost(d.u32().ok()?, d.bytes().ok()?.try_into().ok()?)
                        }
                    });
                }
                Some(Job::Batch { statement, key, signature, entries })
            }
            (2, 5) => Some(Job::Energy { statement, key, signature }),
            (3, 5) => Some(Job::Checkpoint { statement, key, signature }),
            (4, 5) => Some(Job::Withdrawal { statement, key, signature }),
            (6, 5) => Some(Job::Context(Box::new(SignedContext::new(&statement, key, signature).ok()?))),
            (7, 5) => Some(Job::Metrics { statement, key, signature }),
            (5, 5) => Some(Job::Statement { statement, key, signature, witness: None }),
            (5, 7) => {
                let attestation = Attestation::decode(d.bytes().ok()?).ok()?;
                let witness = Some((attestation, PublicKey::from_slice(d.bytes().ok()?).ok()?));
                Some(Job::Statement { statement, key, signature, witness })
            }
            _ => None,
        }
    }
}

/// A job that the ledger refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub number: u64,
    /// In its words.
    pub reason: String,
    /// A key that signed it has ended since: its device, or the witness, may sign it with the next one.
    pub key_ended: bool,
}

/// A job that left the outbox, for the ledger or as refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub number: u64,
    /// As in [`Refusal`].
    pub key_ended: bool,
}

/// Why the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The disk is full.
    #[error("the disk that holds {} is full; make room and start again, nothing is lost", .0.display())]
    DiskFull(PathBuf),
    /// Another process has it open.
    #[error("{} is in use by another process; stop that first", .0.display())]
    InUse(PathBuf),
    /// Written by another version.
    #[error("{} has outbox format {found}, this build knows {VERSION}; use the build that made it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u64,
    },
    /// An entry cannot be read.
    #[error("{} is damaged at entry {entry}; move it away and restore a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which.
        entry: u64,
    },
    /// A key of the field cannot be read.
    #[error(
        "{}: what is noted of a key that a laptop made cannot be read (row {row} of `field`); the file is as it \
         was: use the build that wrote it, or move it away and restore a copy",
        path.display()
    )]
    DamagedKey {
        /// The file.
        path: PathBuf,
        /// Which, in hexadecimal.
        row: String,
    },
    /// Anything else that the store says.
    #[error("{}: {what}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// The store's words.
        what: String,
    },
}

/// The durable queue. It may be shared: every change is one transaction of the store.
pub struct Outbox {
    path: PathBuf,
    db: Database,
    next: AtomicU64,
    /// Jobs that left since somebody asked.
    settled: Mutex<Vec<Left>>,
    hold: Mutex<Hold>,
}

/// Makes an empty file that appears under its name only when it is whole: a store that a crash left half made cannot be
/// opened.
fn create(path: &Path) -> Result<(), redb::Error> {
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    drop(Database::create(&part)?);
    fs::rename(&part, path)?;
    #[cfg(unix)]
    fs::File::open(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()?;
    Ok(())
}

/// A refused job as it is kept, behind the reason.
fn kept(reason: &str, job: &[u8]) -> Vec<u8> {
    [reason.as_bytes(), b"\0", job].concat()
}

/// Refuses a file of another version, before anything is written to it.
fn check(path: &Path, db: &impl ReadableDatabase) -> Result<(), OutboxError> {
    let read = || -> Result<_, redb::Error> {
        match db.begin_read()?.open_table(META) {
            Ok(meta) => Ok(meta.get("version")?.map(|v| v.value())),
            // It was just made.
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    };
    match read().map_err(|e| store_error(path, e))? {
        Some(found) if found != VERSION => Err(OutboxError::Version { path: path.to_owned(), found }),
        _ => Ok(()),
    }
}

impl Outbox {
    /// Opens or creates the file. One of another version is left as it is.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        let fail = |e: redb::Error| store_error(path, e);
        if !path.exists() {
            create(path).map_err(fail)?;
        }
        match Database::builder().open_read_only(path) {
            Ok(db) => check(path, &db)?,
            // It was not closed, and has to be repaired before anybody can read it.
            Err(DatabaseError::RepairAborted) => {}
            Err(e) => return Err(fail(e.into())),
        }
        let db = Database::open(path).map_err(|e| fail(e.into()))?;
        check(path, &db)?;
        let (settled, hold) = (Mutex::default(), Mutex::default());
        let outbox = Outbox { path: path.to_owned(), db, next: AtomicU64::new(0), settled, hold };
        let next = outbox.write(|tx| {
            tx.open_table(FAILED)?;
            hold::create(tx)?;
            let mut meta = tx.open_table(META)?;
            meta.insert("version", VERSION)?;
            let jobs = tx.open_table(JOBS)?;
            let mut last = 0;
            for entry in jobs.iter()? {
                last = last.max(entry?.0.value().1 + 1);
            }
            Ok(meta.get("next")?.map_or(0, |n| n.value()).max(last))
        })?;
        outbox.next.store(next, Ordering::SeqCst);
        outbox.find_held()?;
        Ok(outbox)
    }

    fn write<T>(
        &self,
        f: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, OutboxError> {
        let fail = |e: redb::Error| store_error(&self.path, e);
        let tx = self.db.begin_write().map_err(|e| fail(e.into()))?;
        let value = f(&tx).map_err(fail)?;
        tx.commit().map_err(|e| fail(e.into()))?;
        Ok(value)
    }

    fn read<T>(
        &self,
        f: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, OutboxError> {
        let fail = |e: redb::Error| store_error(&self.path, e);
        let tx = self.db.begin_read().map_err(|e| fail(e.into()))?;
        f(&tx).map_err(fail)
    }

    /// Makes a job durable; returns when it is, with its number, which is above all before. `None` when it is not taken, and stays with
    /// its device: it has to be held and there is no room for it, or an earlier event of the same component is held.
    pub fn keep(&self, job: &Job) -> Result<Option<u64>, OutboxError> {
        let (bytes, mut hold) = (job.encode(), self.held_lock());
        let held = match hold.judge(job, bytes.len()) {
            Judged::Stays => return Ok(None),
            judged => judged == Judged::Held,
        };
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        self.write(|tx| {
            match held {
                true => hold::insert(tx, number, &bytes)?,
                false => {
                    let mut jobs = tx.open_table(JOBS)?;
                    jobs.insert((job.priority(), number), bytes.as_slice())?;
                }
            }
            let mut meta = tx.open_table(META)?;
            let next = meta.get("next")?.map_or(0, |n| n.value()).max(number + 1);
            meta.insert("next", next)?;
            Ok(())
        })?;
        if held {
            hold.add(number, job, bytes.len());
        }
        Ok(Some(number))
    }

    /// Up to `limit` jobs in order of priority and age, except those numbered in `skip`.
    pub fn next(&self, limit: usize, skip: &[u64]) -> Result<Vec<(u64, Job)>, OutboxError> {
        let raw = self.read(|tx| {
            let table = tx.open_table(JOBS)?;
            let mut raw = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                let number = key.value().1;
                if !skip.contains(&number) {
                    raw.push((number, value.value().to_vec()));
                }
                if raw.len() >= limit {
                    break;
                }
            }
            Ok(raw)
        })?;
        let damaged = |entry| OutboxError::Damaged { path: self.path.clone(), entry };
        raw.into_iter().map(|(n, bytes)| Job::decode(&bytes).map(|j| (n, j)).ok_or(damaged(n))).collect()
    }

    /// Takes out jobs that reached the ledger, and moves refused ones, with their reason, to the failed.
    pub fn settle(&self, done: &[u64], failed: &[Refusal]) -> Result<(), OutboxError> {
        if done.is_empty() && failed.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            let mut jobs = tx.open_table(JOBS)?;
            let mut graveyard = tx.open_table(FAILED)?;
            let all = done.iter().map(|number| (number, None));
            for (number, refusal) in all.chain(failed.iter().map(|refusal| (&refusal.number, Some(refusal))))
            {
                for priority in 1..=4 {
                    let taken = jobs.remove((priority, *number))?.map(|v| v.value().to_vec());
                    if let (Some(bytes), Some(Refusal { reason, .. })) = (taken, refusal) {
                        graveyard.insert(*number, kept(reason, &bytes).as_slice())?;
                    }
                }
            }
            Ok(())
        })?;
        let done = done.iter().map(|number| Left { number: *number, key_ended: false });
        let failed = failed
            .iter()
            .map(|Refusal { number, key_ended, .. }| Left { number: *number, key_ended: *key_ended });
        self.lock().extend(done.chain(failed));
        Ok(())
    }

    /// The jobs that left the outbox since this was asked last.
    pub fn take_settled(&self) -> Vec<Left> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Left>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a job that one of these keys signed waits, or is held.
    pub fn holds(&self, keys: &[PublicKey]) -> Result<bool, OutboxError> {
        if keys.is_empty() || self.is_held(keys) {
            return Ok(!keys.is_empty());
        }
        let found = self.read(|tx| {
            for entry in tx.open_table(JOBS)?.iter()? {
                let (key, value) = entry?;
                match Job::decode(value.value()) {
                    Some(job) if !job.keys().any(|key| keys.contains(&key)) => {}
                    Some(_) => return Ok(Ok(true)),
                    None => return Ok(Err(key.value().1)),
                }
            }
            Ok(Ok(false))
        })?;
        found.map_err(|entry| OutboxError::Damaged { path: self.path.clone(), entry })
    }

    /// Jobs that wait, and jobs that were refused.
    pub fn depth(&self) -> Result<(u64, u64), OutboxError> {
        self.read(|tx| Ok((tx.open_table(JOBS)?.len()?, tx.open_table(FAILED)?.len()?)))
    }
}

fn store_error(path: &Path, e: redb::Error) -> OutboxError {
    let path = path.to_owned();
    match e {
        redb::Error::DatabaseAlreadyOpen => OutboxError::InUse(path),
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => OutboxError::DiskFull(path),
        other => OutboxError::Store { path, what: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        context::{Content, Statement},
        sign::SigningKey,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn statements() -> [Job; 2] {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap().public();
        let signature = Signature([7; 64]);
        let word = Attestation { witness: lct::id::Cid([9; 16]), time_ms: 4, sig: Signature([8; 64]) };
        [None, Some((word, key))].map(|witness| Job::Statement {
            statement: vec![4],
            key,
            signature,
            witness,
        })
    }

    fn later() -> [Job; 2] {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap();
        let content = Content::Witness { modules: Default::default() };
        let stated = Statement { chain_id: [1; 32], lct: [2; 32], number: 1, content, time_ms: 3 };
        let context = SignedContext::by(&stated, &key, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let metrics = Job::Metrics { statement: vec![5], key: key.public(), signature: Signature([7; 64]) };
        [Job::Context(Box::new(context)), metrics]
    }

    fn jobs() -> (Job, Job, Job, Job) {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap().public();
        let signature = Signature([7; 64]);
        let entries = vec![Entry::Record(vec![1, 2]), Entry::Lost(9, [3; 32])];
        (
            Job::Batch { statement: vec![1], key, signature, entries },
            Job::Energy { statement: vec![2], key, signature },
            Job::Checkpoint { statement: vec![3], key, signature },
            Job::Withdrawal { statement: vec![4], key, signature },
        )
    }

    #[test]
    fn a_crash_while_the_file_is_made_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        drop(Outbox::open(&path).unwrap());
        let whole = fs::read(&path).unwrap();
        let magic = whole.iter().position(|b| *b != 0).unwrap();
        // What a crash leaves: nothing yet, a part, or all but the mark that is written last.
        let unmarked = [&[0; 9][..], &whole[9..]].concat();
        assert!(magic < 9 && unmarked != whole);
        for left in [&[][..], &whole[..512], &whole[..whole.len() / 2], &unmarked] {
            fs::remove_file(&path).unwrap();
            fs::write(dir.path().join("outbox.part"), left).unwrap();
            let outbox = Outbox::open(&path).unwrap();
            outbox.keep(&jobs().1).unwrap();
            drop(outbox);
            assert_eq!(Outbox::open(&path).unwrap().next(10, &[]).unwrap(), vec![(0, jobs().1)]);
            assert!(!dir.path().join("outbox.part").exists());
        }
    }

    #[test]
    fn energy_overtakes_telemetry_and_all_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        let (batch, energy, checkpoint, withdrawal) = jobs();
        let outbox = Outbox::open(&path).unwrap();
        for (number, job) in (0..).zip([&batch, &energy, &batch, &checkpoint, &withdrawal]) {
            assert_eq!(outbox.keep(job).unwrap(), Some(number));
        }
        assert!(matches!(Outbox::open(&path), Err(OutboxError::InUse(_))));
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        let all = outbox.next(10, &[]).unwrap();
        // Of two events of a component the later one does not overtake.
        let first = [(1, energy), (3, checkpoint), (4, withdrawal)];
        assert_eq!(all, [&first[..], &[(0, batch.clone()), (2, batch.clone())]].concat());
        assert_eq!(outbox.next(10, &[1, 0, 3, 4]).unwrap(), vec![(2, batch.clone())]);
        assert_eq!(outbox.take_settled(), vec![]);
        let refusal = Refusal { number: 2, reason: "refused".into(), key_ended: true };
        outbox.settle(&[0, 1, 3, 4], &[refusal]).unwrap();
        let left = |number| Left { number, key_ended: number == 2 };
        assert_eq!(
            (outbox.take_settled(), outbox.take_settled()),
            ([0, 1, 3, 4, 2].map(left).into(), vec![])
        );
        assert_eq!(outbox.depth().unwrap(), (0, 1));
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        outbox.keep(&batch).unwrap();
        assert_eq!(outbox.next(1, &[]).unwrap(), vec![(5, batch)], "numbers never repeat");
    }

    /// What a key signed is found among everything that others signed, as long as it waits, and its witness's key too.
    #[test]
    fn it_is_known_what_a_key_signed_and_still_waits() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        let [busy, quiet, witness] = [6, 7, 8].map(|n| SigningKey::from_bytes(&[n; 32]).unwrap().public());
        let energy = |key| Job::Energy { statement: vec![2], key, signature: Signature([7; 64]) };
        let word = Attestation { witness: lct::id::Cid([9; 16]), time_ms: 4, sig: Signature([8; 64]) };
        let (statement, signature) = (vec![4], Signature([7; 64]));
        let seen = Job::Statement { statement, key: busy, signature, witness: Some((word, witness)) };
        for _ in 0..40 {
            assert!(outbox.keep(&energy(busy)).unwrap().is_some());
        }
        let held = |keys: &[PublicKey]| outbox.holds(keys).unwrap();
        assert!(held(&[busy]) && !held(&[quiet]) && !held(&[witness]) && !held(&[]));
        let [first, second] = [energy(quiet), seen].map(|job| outbox.keep(&job).unwrap().unwrap());
        assert!(held(&[quiet]) && held(&[witness]) && held(&[witness, quiet]));
        let refusal = Refusal { number: second, reason: "refused".into(), key_ended: false };
        outbox.settle(&[first], &[refusal]).unwrap();
        assert!(held(&[busy]) && !held(&[quiet, witness]), "they are there, or refused for good");
    }

    /// Of every kind, some of which the ledger refused.
    fn filled(outbox: &Outbox) {
        let (batch, energy, checkpoint, withdrawal) = jobs();
        let others = [statements(), later()].concat();
        for job in [&[batch, energy, checkpoint, withdrawal][..], &others].concat() {
            outbox.keep(&job).unwrap().unwrap();
        }
        outbox.settle(&[1], &[Refusal { number: 2, reason: "refused".into(), key_ended: false }]).unwrap();
    }

    /// `formats/outbox.redb` is what [`filled`] left when the file got the format that it has.
    #[test]
    fn a_file_of_this_format_opens_and_one_of_another_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, anew) = (dir.path().join("outbox.redb"), dir.path().join("anew.redb"));
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats/outbox.redb"), &path)
            .unwrap();
        let held = |outbox: &Outbox| (outbox.next(100, &[]).unwrap(), outbox.depth().unwrap());
        {
            let (outbox, other) = (Outbox::open(&path).unwrap(), Outbox::open(&anew).unwrap());
            filled(&other);
            // One signature of them is another one each time.
            let ((jobs, depth), (others, other_depth)) = (held(&outbox), held(&other));
            assert_eq!((jobs.len(), depth), (others.len(), other_depth));
            for (job, other) in jobs.iter().zip(&others).filter(|(job, _)| !matches!(job.1, Job::Context(_)))
            {
                assert_eq!(job, other);
            }
            assert_eq!(outbox.keep(&self::jobs().1).unwrap(), Some(8));
        }
        let db = Database::open(&path).unwrap();
        let tx = db.begin_write().unwrap();
        tx.open_table(META).unwrap().insert("version", VERSION + 1).unwrap();
        tx.commit().unwrap();
        drop(db);
        let later = fs::read(&path).unwrap();
        let refused = Outbox::open(&path).err().unwrap();
        assert!(matches!(refused, OutboxError::Version { found: 2, .. }), "{refused}");
        assert!(fs::read(&path).unwrap() == later, "it was written to");
    }

    #[test]
    fn damaged_jobs_are_named() {
        let (batch, ..) = jobs();
        let bytes = batch.encode();
        for job in [batch].into_iter().chain(statements()).chain(later()) {
            let bytes = job.encode();
            assert_eq!(Job::decode(&bytes), Some(job));
            for n in 0..bytes.len() {
                assert_eq!(Job::decode(&bytes[..n]), None, "cut at {n}");
            }
        }
        let mut other = bytes.clone();
        other[1] = 2;
        assert_eq!(Job::decode(&other), None, "another version");
    }
}
