//! What was signed with keys of bindings that a delegate made, until the ledger knows of them (`spec/channel.md`, H237): it is on
//! disk like every job, and no ledger is asked about it before.
//!
//! In the same file: `held` maps the number of a job to it, `field` maps `binding 16 || of 16` to `with 16 || key 33 || stands`. How
//! much may be held is bounded; what finds no room is not taken, and stays with its device. A component's events reach the ledger
//! in their order (V4): behind one that is held no statement is taken that none of these keys signed, whose key may end before the
//! journal is brought; its device signs it anew then. Only the end of a pairing, which is told once, is held there too.

use super::*;
use crate::keys::FieldKey;
use lct::{
    id::{BindingId, Cid},
    validation::Event,
};
use std::collections::{BTreeMap, BTreeSet};

const HELD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("held");
const FIELD: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("field");
/// Most MiB that are held, unless the host says otherwise.
pub const HOLD_MIB: u64 = 512;
/// Below this nothing that needs more of its device than its bytes is begun: a batch of each part of a pack.
const RESERVE: u64 = 4 << 20;
/// Jobs that are moved in one commit.
const MOVED: usize = 256;

/// What is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Jobs.
    pub jobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes may be.
    pub limit: u64,
}

impl Held {
    /// Whether a batch is still taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes.saturating_add(RESERVE) <= self.limit
    }
}

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// To the ledger.
    Goes,
    /// It is held.
    Held,
    /// It is not taken.
    Stays,
}

/// Keys that the ledger does not know, and how much waits for them.
#[derive(Debug)]
pub(super) struct Hold {
    keys: Vec<FieldKey>,
    of: BTreeMap<Cid, u64>,
    held: Held,
}

impl Default for Hold {
    fn default() -> Self {
        let held = Held { limit: HOLD_MIB << 20, ..Held::default() };
        Hold { keys: Vec::new(), of: BTreeMap::new(), held }
    }
}

/// Whose event a job brings, where it brings one.
fn author(job: &Job) -> Option<Cid> {
    match job {
        Job::Statement { statement, .. } | Job::Withdrawal { statement, .. } => {
            Event::decode(statement).ok().map(|event| event.cid)
        }
        _ => None,
    }
}

impl Hold {
    fn knows(&self, job: &Job) -> bool {
        job.keys().any(|key| self.keys.iter().any(|known| known.key == key))
    }

    /// What becomes of a job of so many bytes.
    pub fn judge(&self, job: &Job, bytes: usize) -> Judged {
        let follows = author(job).is_some_and(|cid| self.of.contains_key(&cid));
        let room = self.held.bytes.saturating_add(bytes as u64) <= self.held.limit;
        match (self.knows(job), follows, job) {
            (false, false, _) => Judged::Goes,
            (false, true, Job::Statement { .. }) => Judged::Stays,
            // Told once, and short: the end of a pairing has its place also where nothing else has.
            (_, _, Job::Withdrawal { .. }) => Judged::Held,
            _ if room => Judged::Held,
            _ => Judged::Stays,
        }
    }

    pub fn add(&mut self, job: &Job, bytes: usize) {
        (self.held.jobs, self.held.bytes) = (self.held.jobs + 1, self.held.bytes + bytes as u64);
        if let Some(cid) = author(job) {
            *self.of.entry(cid).or_default() += 1;
        }
    }
}

fn row(key: &FieldKey) -> ([u8; 32], [u8; 50]) {
    let (mut name, mut value) = ([0; 32], [0; 50]);
    name[..16].copy_from_slice(&key.binding.0);
    name[16..].copy_from_slice(&key.of.0);
    value[..16].copy_from_slice(&key.with.0);
    value[16..49].copy_from_slice(&key.key.0);
    value[49] = key.stands.into();
    (name, value)
}

fn read(name: &[u8], value: &[u8]) -> Option<FieldKey> {
    let (binding, of) = name.split_first_chunk::<16>()?;
    let (with, rest) = value.split_first_chunk::<16>()?;
    let (key, stands) = rest.split_first_chunk::<33>()?;
    Some(FieldKey {
        binding: BindingId(*binding),
        of: Cid(of.try_into().ok()?),
        with: Cid(*with),
        key: PublicKey::from_slice(key).ok()?,
        stands: stands == [1],
    })
}

pub(super) fn create(tx: &redb::WriteTransaction) -> Result<(), redb::Error> {
    tx.open_table(HELD)?;
    tx.open_table(FIELD)?;
    Ok(())
}

pub(super) fn insert(tx: &redb::WriteTransaction, number: u64, bytes: &[u8]) -> Result<(), redb::Error> {
    let mut held = tx.open_table(HELD)?;
    held.insert(number, bytes)?;
    Ok(())
}

impl Outbox {
    pub(super) fn held_lock(&self) -> std::sync::MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds what an earlier run left.
    pub(super) fn find_held(&self) -> Result<(), OutboxError> {
        let mut hold = self.held_lock();
        let damaged = self.read(|tx| {
            for entry in tx.open_table(FIELD)?.iter()? {
                let (name, value) = entry?;
                hold.keys.extend(read(name.value(), value.value()));
            }
            for entry in tx.open_table(HELD)?.iter()? {
                let (number, bytes) = entry?;
                match Job::decode(bytes.value()) {
                    Some(job) => hold.add(&job, bytes.value().len()),
                    None => return Ok(Some(number.value())),
                }
            }
            Ok(None)
        })?;
        damaged.map_or(Ok(()), |entry| Err(OutboxError::Damaged { path: self.path.clone(), entry }))
    }

    /// Bounds what is held.
    #[must_use]
    pub fn holding(self, limit: u64) -> Self {
        self.held_lock().held.limit = limit;
        self
    }

    /// How much is held.
    pub fn held(&self) -> Held {
        self.held_lock().held
    }

    /// Keys of which the ledger does not know, as far as this host does.
    pub fn field_keys(&self) -> Vec<FieldKey> {
        self.held_lock().keys.clone()
    }

    /// Notes such a key, durably: jobs that it signed are held from now on.
    pub fn learn(&self, key: &FieldKey) -> Result<(), OutboxError> {
        let mut hold = self.held_lock();
        let (name, value) = row(key);
        let over = |known: &FieldKey| !known.stands && (known.of, known.with) == (key.of, key.with);
        let gone: Vec<_> = hold.keys.iter().filter(|known| over(known)).map(|known| row(known).0).collect();
        self.write(|tx| {
            let mut field = tx.open_table(FIELD)?;
            for name in gone {
                field.remove(name.as_slice())?;
            }
            field.insert(name.as_slice(), value.as_slice())?;
            Ok(())
        })?;
        hold.keys.retain(|known| !over(known) && known.key != key.key);
        hold.keys.push(*key);
        Ok(())
    }

    /// The ledger knows of `recorded`: what they signed goes there now, in the order in which it came. How many jobs those are.
    pub fn release(&self, recorded: &[PublicKey]) -> Result<u64, OutboxError> {
        let mut hold = self.held_lock();
        let (known, left): (Vec<_>, Vec<_>) = hold.keys.iter().partition(|key| recorded.contains(&key.key));
        if known.is_empty() {
            return Ok(0);
        }
        hold.keys = left;
        let moved = self.move_held(&mut hold, |hold, job| (!hold.knows(job)).then_some(None))?;
        self.forget(&known)?;
        Ok(moved)
    }

    /// Gives up what is held, for this reason: the ledger will never know its keys. It is kept with what was refused.
    pub fn give_up_held(&self, reason: &str) -> Result<u64, OutboxError> {
        let mut hold = self.held_lock();
        let keys = std::mem::take(&mut hold.keys);
        let moved = self.move_held(&mut hold, |_, _| Some(Some(reason.to_owned())))?;
        self.forget(&keys)?;
        Ok(moved)
    }

    fn forget(&self, keys: &[FieldKey]) -> Result<(), OutboxError> {
        self.write(|tx| {
            let mut field = tx.open_table(FIELD)?;
            for key in keys {
                field.remove(row(key).0.as_slice())?;
            }
            Ok(())
        })
    }

    /// Takes jobs out of what is held, oldest first, to those that wait, or with a reason to those that failed, as `which` says; an
    /// event never before an earlier one of the same component.
    fn move_held(
        &self,
        hold: &mut Hold,
        which: impl Fn(&Hold, &Job) -> Option<Option<String>>,
    ) -> Result<u64, OutboxError> {
        let (mut from, mut moved, mut behind) = (0, 0, BTreeSet::new());
        loop {
            let some = self.read(|tx| {
                let table = tx.open_table(HELD)?;
                let mut some = Vec::new();
                for entry in table.range(from..)?.take(MOVED) {
                    let (number, bytes) = entry?;
                    some.push((number.value(), bytes.value().to_vec()));
                }
                Ok(some)
            })?;
            let Some((last, _)) = some.last() else { break };
            from = last + 1;
            let mut goes = Vec::new();
            for (entry, bytes) in some {
                let path = || self.path.clone();
                let job = Job::decode(&bytes).ok_or_else(|| OutboxError::Damaged { path: path(), entry })?;
                let author = author(&job);
                match which(hold, &job).filter(|_| author.is_none_or(|cid| !behind.contains(&cid))) {
                    Some(reason) => goes.push((entry, job.priority(), author, bytes, reason)),
                    None => behind.extend(author),
                }
            }
            self.write(|tx| {
                let (mut held, mut jobs, mut failed) =
                    (tx.open_table(HELD)?, tx.open_table(JOBS)?, tx.open_table(FAILED)?);
                for (number, priority, _, bytes, reason) in &goes {
                    held.remove(number)?;
                    match reason {
                        None => drop(jobs.insert((*priority, *number), bytes.as_slice())?),
                        Some(reason) => {
                            let kept = [reason.as_bytes(), b"\0", bytes.as_slice()].concat();
                            failed.insert(number, kept.as_slice())?;
                        }
                    }
                }
                Ok(())
            })?;
            for (_, _, author, bytes, _) in &goes {
                moved += 1;
                hold.held.jobs -= 1;
                hold.held.bytes -= bytes.len() as u64;
                if let Some(cid) = author
                    && let Some(n) = hold.of.get_mut(cid)
                {
                    *n -= 1;
                    if *n == 0 {
                        hold.of.remove(cid);
                    }
                }
            }
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        sign::SigningKey,
        validation::{EVENT_MAX, EventKind},
    };

    fn key(label: u8) -> PublicKey {
        SigningKey::from_bytes(&[label; 32]).unwrap().public()
    }

    fn learned(label: u8) -> FieldKey {
        let (of, with) = (Cid([label; 16]), Cid([9; 16]));
        FieldKey { binding: BindingId([label; 16]), of, with, key: key(label), stands: true }
    }

    fn batch(label: u8, bytes: usize) -> Job {
        let entries = vec![Entry::Record(vec![0; bytes])];
        Job::Batch { statement: vec![label], key: key(label), signature: Signature([7; 64]), entries }
    }

    fn event(cid: u8, seq: u32, label: u8) -> Job {
        let event = Event::new(EventKind::Fault, Cid([cid; 16]), 1, seq, b"hot").unwrap();
        let mut statement = [0; EVENT_MAX];
        let n = event.encode(&mut statement).unwrap();
        let signature = Signature([7; 64]);
        Job::Statement { statement: statement[..n].to_vec(), key: key(label), signature, witness: None }
    }

    fn waiting(outbox: &Outbox) -> Vec<u64> {
        outbox.next(100, &[]).unwrap().into_iter().map(|(number, _)| number).collect()
    }

    /// What no ledger would take yet is on disk all the same, asks nobody, and goes with its key, over restarts.
    #[test]
    fn what_the_ledger_cannot_verify_yet_is_held_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        let outbox = Outbox::open(&path).unwrap();
        [1, 2].iter().for_each(|label| outbox.learn(&learned(*label)).unwrap());
        for label in [3, 1, 2, 1] {
            outbox.keep(&batch(label, 10)).unwrap().unwrap();
        }
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![0], 3));
        let bytes = outbox.held().bytes;
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!((outbox.held().jobs, outbox.held().bytes, outbox.field_keys().len()), (3, bytes, 2));
        assert_eq!(outbox.release(&[key(3)]).unwrap(), 0);
        assert_eq!(outbox.release(&[key(1), key(3)]).unwrap(), 2);
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![0, 1, 3], 1));
        assert_eq!(outbox.keep(&batch(1, 10)).unwrap(), Some(4));
        assert_eq!(outbox.keep(&batch(2, 10)).unwrap(), Some(5));
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!((waiting(&outbox), outbox.field_keys()), (vec![0, 1, 3, 4], vec![learned(2)]));
        assert_eq!(outbox.give_up_held("no journal").unwrap(), 2);
        assert_eq!((outbox.depth().unwrap(), outbox.held().bytes), ((4, 2), 0));
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!((outbox.held().jobs, outbox.field_keys()), (0, vec![]));
    }

    /// More than is allowed is not taken: it is not acknowledged, and nothing that was is pushed out.
    #[test]
    fn what_finds_no_room_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap().holding(RESERVE + 3_000);
        outbox.learn(&learned(1)).unwrap();
        assert!(outbox.held().has_room());
        outbox.keep(&batch(1, 3_500)).unwrap().unwrap();
        assert!(!outbox.held().has_room(), "the rest is for what is under way");
        let mut taken = 1;
        while outbox.keep(&batch(1, 100_000)).unwrap().is_some() {
            taken += 1;
        }
        let held = outbox.held();
        assert_eq!(held.jobs, taken);
        assert!(held.bytes <= held.limit && held.bytes > held.limit - 101_000, "{held:?}");
        assert!(outbox.keep(&batch(2, 100_000)).unwrap().is_some(), "what the ledger can verify is not held");
        outbox.release(&[key(1)]).unwrap();
        assert_eq!((outbox.held().bytes, waiting(&outbox).len() as u64), (0, taken + 1));
    }

    /// V4: an event that overtakes an earlier one of its component has the ledger refuse that; and one whose key ends while it
    /// waits behind another would be refused itself.
    #[test]
    fn no_event_overtakes_an_earlier_one_that_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        [1, 2].iter().for_each(|label| outbox.learn(&learned(*label)).unwrap());
        // Component 5 signs with three keys: two of them the ledger does not know.
        let taken = [(5, 1), (5, 3), (6, 3), (5, 2), (5, 1)]
            .map(|(cid, label)| outbox.keep(&event(cid, 1, label)).unwrap());
        assert_eq!(
            taken,
            [Some(0), None, Some(1), Some(2), Some(3)],
            "its device keeps that of the key that is known"
        );
        assert_eq!(waiting(&outbox), [1]);
        outbox.release(&[key(1)]).unwrap();
        assert_eq!(waiting(&outbox), [0, 1], "the last one waits behind that of the other key");
        outbox.release(&[key(2)]).unwrap();
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![0, 1, 2, 3], 0));
        assert_eq!(outbox.keep(&event(5, 2, 3)).unwrap(), Some(4));
        assert_eq!(outbox.held().jobs, 0);
    }

    /// The end of a pairing is told once: it is taken whatever waits, and overtakes nothing.
    #[test]
    fn the_end_of_a_pairing_is_held_behind_what_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        outbox.learn(&learned(1)).unwrap();
        outbox.keep(&event(5, 1, 1)).unwrap().unwrap();
        let Job::Statement { statement, key: by, signature, .. } = event(5, 2, 3) else { panic!() };
        outbox.keep(&Job::Withdrawal { statement, key: by, signature }).unwrap().unwrap();
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![], 2));
        outbox.release(&[key(1)]).unwrap();
        assert_eq!(waiting(&outbox), [0, 1]);
    }

    /// A witness whose key is not known is none for the ledger.
    #[test]
    fn a_statement_waits_for_the_key_of_its_witness() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        outbox.learn(&learned(1)).unwrap();
        let Job::Statement { statement, key: by, signature, .. } = event(5, 1, 3) else { panic!() };
        let word = Attestation { witness: Cid([1; 16]), time_ms: 4, sig: Signature([8; 64]) };
        let job = Job::Statement { statement, key: by, signature, witness: Some((word, key(1))) };
        outbox.keep(&job).unwrap().unwrap();
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![], 1));
    }

    /// What was begun and cut off is forgotten with the next one of the same two; what stands is kept until the ledger has it.
    #[test]
    fn a_key_that_came_to_nothing_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        let outbox = Outbox::open(&path).unwrap();
        let begun = |label: u8| FieldKey { of: Cid([1; 16]), stands: false, ..learned(label) };
        outbox.learn(&begun(1)).unwrap();
        outbox.learn(&begun(2)).unwrap();
        assert_eq!(outbox.field_keys(), [begun(2)]);
        let stands = FieldKey { stands: true, ..begun(2) };
        outbox.learn(&stands).unwrap();
        outbox.learn(&begun(3)).unwrap();
        drop(outbox);
        let mut keys = Outbox::open(&path).unwrap().field_keys();
        keys.sort_by_key(|key| key.binding);
        assert_eq!(keys, [stands, begun(3)]);
    }
}
