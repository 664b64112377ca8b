//! What was signed with keys of bindings that a delegate made, until the ledger knows of them (`spec/channel.md`, H237): it is on
//! disk like every job, and no ledger is asked about it before.
//!
//! In the same file: `held` maps the number of a job to it, `field` maps a key to `binding 16 || of 16 || with 16 || delegate 33 ||
//! time u32 || since u64 || standing u8 || why`. How much may be held is bounded; what finds no room is not taken, and stays with its
//! device. A component's events reach the ledger in their order (V4): behind one that is held no statement is taken that none of these
//! keys signed, whose key may end before the journal is brought; its device signs it anew then. Only the end of a pairing, which is told
//! once, is held there too. What need not be held any more leaves a piece at a time ([`Outbox::move_on`]): to the ledger, or to what was
//! refused where the ledger will never have the key (H251, H252).

use super::*;
use crate::keys::{FieldKey, Standing};
use lct::{
    codec::Fields,
    id::{BindingId, Cid, PairingId},
    validation::{Event, EventKind},
};
use std::collections::{BTreeMap, BTreeSet};

const HELD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("held");
const FIELD: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("field");
/// Most MiB that are held, unless the host says otherwise.
pub const HOLD_MIB: u64 = 512;
/// Below this nothing that needs more of its device than its bytes is begun: a batch of each part of a pack.
const RESERVE: u64 = 4 << 20;
/// Jobs that are looked at in one piece, and the bytes after which none is added.
const PIECE: usize = 256;
const PIECE_BYTES: usize = 1 << 20;

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

/// A key of the field as it is noted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The key.
    pub key: FieldKey,
    /// Height of the ledger when it was learned.
    pub since: u64,
    /// Why it is void.
    why: String,
}

/// What became of a key of the field, as the ledger tells (H251).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The ledger has it.
    Recorded,
    /// The ledger will never have it, for this reason; its device may go on signing with it.
    Never(String),
    /// Neither, and its device has another key in its place.
    Replaced(String),
}

/// What left in one piece.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Jobs for the ledger.
    pub released: u64,
    /// Jobs that lie with what was refused.
    pub given_up: u64,
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

/// One way through what is held, oldest first.
#[derive(Debug, Clone, Default)]
struct Pass {
    /// What comes next.
    from: u64,
    /// Whose events stayed: later ones stay behind them.
    behind: BTreeSet<Cid>,
}

/// Keys that the ledger does not know, and how much waits for them.
#[derive(Debug)]
pub(super) struct Hold {
    noted: Vec<Noted>,
    /// Events that are held, of each component.
    of: BTreeMap<Cid, u64>,
    /// Jobs that are held, by the keys that signed them.
    by: BTreeMap<PublicKey, u64>,
    /// Ends of pairings that are held.
    ends: BTreeMap<u64, (PublicKey, PairingId)>,
    held: Held,
    /// While something may leave.
    pass: Option<Pass>,
}

impl Default for Hold {
    fn default() -> Self {
        Hold {
            noted: Vec::new(),
            of: BTreeMap::new(),
            by: BTreeMap::new(),
            ends: BTreeMap::new(),
            held: Held { limit: HOLD_MIB << 20, ..Held::default() },
            pass: None,
        }
    }
}

/// The event that a job brings, where it brings one.
fn event(job: &Job) -> Option<Event> {
    match job {
        Job::Statement { statement, .. } | Job::Withdrawal { statement, .. } => Event::decode(statement).ok(),
        _ => None,
    }
}

/// Which pairing a job ends.
fn ended(job: &Job) -> Option<(PublicKey, PairingId)> {
    let Job::Withdrawal { key, .. } = job else { return None };
    let event = event(job).filter(|event| event.kind == EventKind::PairingRevocation)?;
    event.payload.first_chunk().map(|id| (*key, PairingId(*id)))
}

fn less<K: Ord>(counts: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(n) = counts.get_mut(key) {
        *n -= 1;
        if *n == 0 {
            counts.remove(key);
        }
    }
}

impl Hold {
    /// The keys of the field that signed a job.
    fn signers(&self, job: &Job) -> impl Iterator<Item = &Noted> {
        job.keys().filter_map(move |key| self.noted.iter().find(|noted| noted.key.key == key))
    }

    fn is_signed(&self, job: &Job, standing: &[Standing]) -> bool {
        self.signers(job).any(|noted| standing.contains(&noted.key.standing))
    }

    /// What becomes of a job of so many bytes.
    pub fn judge(&self, job: &Job, bytes: usize) -> Judged {
        let follows = event(job).is_some_and(|event| self.of.contains_key(&event.cid));
        let room = self.held.bytes.saturating_add(bytes as u64) <= self.held.limit;
        let void = self.is_signed(job, &[Standing::Void]);
        // What a key signed that the ledger has since goes behind what that signed before.
        let held = self.is_signed(job, &[Standing::Begun, Standing::Stands])
            || self.pass.is_some() && self.is_signed(job, &[Standing::Recorded]);
        match job {
            // Told once, and short: the end of a pairing has its place also where nothing else has.
            Job::Withdrawal { .. } if held || void || follows => Judged::Held,
            _ if void => Judged::Stays,
            _ if held && room => Judged::Held,
            _ if held => Judged::Stays,
            Job::Statement { .. } if follows => Judged::Stays,
            _ => Judged::Goes,
        }
    }

    pub fn add(&mut self, number: u64, job: &Job, bytes: usize) {
        (self.held.jobs, self.held.bytes) = (self.held.jobs + 1, self.held.bytes + bytes as u64);
        if let Some(event) = event(job) {
            *self.of.entry(event.cid).or_default() += 1;
        }
        for key in job.keys() {
            *self.by.entry(key).or_default() += 1;
        }
        self.ends.extend(ended(job).map(|end| (number, end)));
        if self.is_signed(job, &[Standing::Void]) {
            self.pass.get_or_insert_default();
        }
    }

    fn take(&mut self, number: u64, job: &Job, bytes: usize) {
        (self.held.jobs, self.held.bytes) = (self.held.jobs - 1, self.held.bytes - bytes as u64);
        if let Some(event) = event(job) {
            less(&mut self.of, &event.cid);
        }
        job.keys().for_each(|key| less(&mut self.by, &key));
        self.ends.remove(&number);
    }

    /// Whether nothing needs the note any more. As long as the ledger may yet get another binding of the two, it tells which one was
    /// made first.
    fn is_over(&self, noted: &Noted) -> bool {
        let two = |key: &FieldKey| (key.of, key.with) == (noted.key.of, noted.key.with);
        let open = |other: &Noted| two(&other.key) && other.key.standing < Standing::Recorded;
        noted.key.standing == Standing::Recorded
            && !self.has_jobs(&noted.key.key)
            && !self.noted.iter().any(open)
    }

    fn has_jobs(&self, key: &PublicKey) -> bool {
        self.by.contains_key(key)
    }
}

fn value(Noted { key, since, why }: &Noted) -> Vec<u8> {
    let standing = match key.standing {
        Standing::Begun => 0,
        Standing::Stands => 1,
        Standing::Recorded => 2,
        Standing::Void => 3,
    };
    let (time, since) = (key.time.to_be_bytes(), since.to_be_bytes());
    [&key.binding.0[..], &key.of.0, &key.with.0, &key.delegate.0, &time, &since, &[standing], why.as_bytes()]
        .concat()
}

fn read(name: &[u8], value: &[u8]) -> Option<Noted> {
    let key = PublicKey::from_slice(name).ok()?;
    let mut f = Fields::new(value);
    let (binding, of, with) = (BindingId(f.array().ok()?), Cid(f.array().ok()?), Cid(f.array().ok()?));
    let delegate = PublicKey::from_slice(&f.array::<33>().ok()?).ok()?;
    let (time, since) = (f.u32().ok()?, f.u64().ok()?);
    let standing = match f.u8().ok()? {
        0 => Standing::Begun,
        1 => Standing::Stands,
        2 => Standing::Recorded,
        3 => Standing::Void,
        _ => return None,
    };
    let why = String::from_utf8(f.rest().to_vec()).ok()?;
    Some(Noted { key: FieldKey { binding, of, with, key, delegate, time, standing }, since, why })
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

    /// Finds what an earlier run left. A key that cannot be read stops the start: what it signed would go to a ledger that does not
    /// know it.
    pub(super) fn find_held(&self) -> Result<(), OutboxError> {
        let mut hold = self.held_lock();
        let path = || self.path.clone();
        let damaged = self.read(|tx| {
            for entry in tx.open_table(FIELD)?.iter()? {
                let (name, value) = entry?;
                match read(name.value(), value.value()) {
                    Some(noted) => hold.noted.push(noted),
                    None => {
                        let row = name.value().iter().map(|b| format!("{b:02x}")).collect();
                        return Ok(Some(OutboxError::DamagedKey { path: path(), row }));
                    }
                }
            }
            for entry in tx.open_table(HELD)?.iter()? {
                let (number, bytes) = entry?;
                match Job::decode(bytes.value()) {
                    Some(job) => hold.add(number.value(), &job, bytes.value().len()),
                    None => return Ok(Some(OutboxError::Damaged { path: path(), entry: number.value() })),
                }
            }
            Ok(None)
        })?;
        // What a cut left in the middle goes on.
        hold.pass = Some(Pass::default());
        damaged.map_or(Ok(()), Err)
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

    /// Whether a job is held that one of these keys signed.
    pub fn is_held(&self, keys: &[PublicKey]) -> bool {
        let hold = self.held_lock();
        keys.iter().any(|key| hold.has_jobs(key))
    }

    /// Keys of which the ledger does not know, as far as this host does.
    pub fn field_keys(&self) -> Vec<FieldKey> {
        self.held_lock().noted.iter().map(|noted| noted.key).collect()
    }

    /// The same with what is noted of each, and the pairings whose ends are held under it.
    pub fn noted(&self) -> Vec<(Noted, Vec<PairingId>)> {
        let hold = self.held_lock();
        let ends =
            |key: &PublicKey| hold.ends.values().filter(|(by, _)| by == key).map(|(_, id)| *id).collect();
        hold.noted.iter().map(|noted| (noted.clone(), ends(&noted.key.key))).collect()
    }

    /// Notes such a key, durably, and the height of the ledger: jobs that it signed are held from now on.
    pub fn learn(&self, key: &FieldKey, height: u64) -> Result<(), OutboxError> {
        let mut hold = self.held_lock();
        let gone = key.displaces(hold.noted.iter().map(|noted| &noted.key));
        let before = hold.noted.iter().find(|noted| noted.key.key == key.key);
        let since = before.map_or(height, |noted| noted.since);
        let ended = before.is_some_and(|noted| noted.key.standing >= Standing::Recorded);
        let mut changed = Vec::new();
        if !ended && !gone.contains(&key.key) {
            changed.push(Noted { key: *key, since, why: String::new() });
        }
        let (mut dropped, nothing) = (Vec::new(), "its binding came to nothing: another one was made");
        for noted in hold.noted.iter().filter(|noted| gone.contains(&noted.key.key)) {
            match hold.has_jobs(&noted.key.key) {
                true => changed.push(Noted {
                    key: FieldKey { standing: Standing::Void, ..noted.key },
                    why: nothing.into(),
                    ..*noted
                }),
                false => dropped.push(noted.key),
            }
        }
        self.note(&mut hold, &changed, &dropped)
    }

    /// What became of keys, durably. Returns those that are others now; one that is nothing any more is as one that the ledger has.
    pub fn became(&self, fates: &[(PublicKey, Fate)]) -> Result<Vec<FieldKey>, OutboxError> {
        let mut hold = self.held_lock();
        let (mut changed, mut dropped) = (Vec::new(), Vec::new());
        for (key, fate) in fates {
            let Some(noted) = hold.noted.iter().find(|noted| noted.key.key == *key) else { continue };
            let as_ = |standing, why: &str| Noted {
                key: FieldKey { standing, ..noted.key },
                why: why.into(),
                ..*noted
            };
            match fate {
                Fate::Replaced(_) if !hold.has_jobs(key) => {
                    dropped.push(FieldKey { standing: Standing::Recorded, ..noted.key });
                }
                Fate::Recorded if noted.key.standing != Standing::Recorded => {
                    changed.push(as_(Standing::Recorded, ""));
                }
                Fate::Never(why) | Fate::Replaced(why) if noted.key.standing != Standing::Void => {
                    changed.push(as_(Standing::Void, why));
                }
                _ => {}
            }
        }
        self.note(&mut hold, &changed, &dropped)?;
        Ok(changed.into_iter().map(|noted| noted.key).chain(dropped).collect())
    }

    /// Gives up what is held under bindings of `component`, or everything: a person says that the ledger will never have the keys. How
    /// many jobs those are; they lie with what was refused, and what waited behind them goes on.
    pub fn give_up_held(&self, component: Option<Cid>, reason: &str) -> Result<u64, OutboxError> {
        {
            let mut hold = self.held_lock();
            let given_up = |noted: &&Noted| {
                let key = &noted.key;
                component.is_none_or(|cid| [key.of, key.with].contains(&cid))
                    // What was only begun may come to something yet.
                    && (key.standing == Standing::Stands
                        || key.standing == Standing::Begun && hold.has_jobs(&key.key))
            };
            let void = |noted: &Noted| Noted {
                key: FieldKey { standing: Standing::Void, ..noted.key },
                why: reason.into(),
                ..*noted
            };
            let changed: Vec<_> = hold.noted.iter().filter(given_up).map(void).collect();
            self.note(&mut hold, &changed, &[])?;
        }
        let mut given_up = 0;
        while self.held_lock().pass.is_some() {
            given_up += self.move_on()?.given_up;
        }
        Ok(given_up)
    }

    /// Notes rows, and forgets others; where one need not wait any more, what is held is gone through from the beginning.
    fn note(&self, hold: &mut Hold, changed: &[Noted], dropped: &[FieldKey]) -> Result<(), OutboxError> {
        if changed.is_empty() && dropped.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            let mut field = tx.open_table(FIELD)?;
            for key in dropped {
                field.remove(key.key.0.as_slice())?;
            }
            for noted in changed {
                field.insert(noted.key.key.0.as_slice(), value(noted).as_slice())?;
            }
            Ok(())
        })?;
        let others = changed.iter().map(|noted| &noted.key).chain(dropped);
        let others: Vec<_> = others.map(|key| key.key).collect();
        hold.noted.retain(|known| !others.contains(&known.key.key));
        hold.noted.extend_from_slice(changed);
        if changed.iter().any(|noted| noted.key.standing >= Standing::Recorded) {
            hold.pass = Some(Pass::default());
        }
        Ok(())
    }

    /// Takes some jobs out of what is held, oldest first: to those that wait for the ledger, or with their reason to those that were
    /// refused; an event never before an earlier one of the same component. At most `PIECE` jobs are looked at; nothing happens when
    /// none may leave.
    pub fn move_on(&self) -> Result<Moved, OutboxError> {
        let (mut hold, mut moved) = (self.held_lock(), Moved::default());
        let Some(mut pass) = hold.pass.clone() else { return Ok(moved) };
        let some = self.read(|tx| {
            let (table, mut some, mut size) = (tx.open_table(HELD)?, Vec::new(), 0);
            for entry in table.range(pass.from..)?.take(PIECE) {
                let (number, bytes) = entry?;
                size += bytes.value().len();
                some.push((number.value(), bytes.value().to_vec()));
                if size >= PIECE_BYTES {
                    break;
                }
            }
            Ok(some)
        })?;
        let Some((last, _)) = some.last() else {
            hold.pass = None;
            let over: Vec<_> =
                hold.noted.iter().filter(|noted| hold.is_over(noted)).map(|noted| noted.key).collect();
            return self.note(&mut hold, &[], &over).map(|()| moved);
        };
        pass.from = last + 1;
        let (mut goes, mut refused) = (Vec::new(), Vec::new());
        for (entry, bytes) in some {
            let job =
                Job::decode(&bytes).ok_or_else(|| OutboxError::Damaged { path: self.path.clone(), entry })?;
            let author = event(&job).map(|event| event.cid);
            let void = hold.signers(&job).find(|noted| noted.key.standing == Standing::Void);
            if let Some(noted) = void {
                let why = noted.why.clone();
                refused.push((entry, job, bytes, why));
            } else if hold.is_signed(&job, &[Standing::Begun, Standing::Stands])
                || author.is_some_and(|cid| pass.behind.contains(&cid))
            {
                pass.behind.extend(author);
            } else {
                goes.push((entry, job, bytes));
            }
        }
        if !goes.is_empty() || !refused.is_empty() {
            self.write(|tx| {
                let (mut held, mut jobs, mut failed) =
                    (tx.open_table(HELD)?, tx.open_table(JOBS)?, tx.open_table(FAILED)?);
                for (number, job, bytes) in &goes {
                    held.remove(number)?;
                    jobs.insert((job.priority(), *number), bytes.as_slice())?;
                }
                for (number, _, bytes, why) in &refused {
                    held.remove(number)?;
                    failed.insert(number, kept(why, bytes).as_slice())?;
                }
                Ok(())
            })?;
        }
        (moved.released, moved.given_up) = (goes.len() as u64, refused.len() as u64);
        goes.iter().for_each(|(number, job, bytes)| hold.take(*number, job, bytes.len()));
        for (number, job, bytes, _) in &refused {
            hold.take(*number, job, bytes.len());
            // Its device signs it anew, where it has it still (H230).
            self.lock().push(Left { number: *number, key_ended: true });
        }
        hold.pass = Some(pass);
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
        let (of, with, standing) = (Cid([label; 16]), Cid([9; 16]), Standing::Stands);
        let binding = BindingId([label; 16]);
        FieldKey { binding, of, with, key: key(label), delegate: key(99), time: u32::from(label), standing }
    }

    /// The ledger has these, and all that may goes; how many jobs.
    fn release(outbox: &Outbox, keys: &[PublicKey]) -> u64 {
        let fates: Vec<_> = keys.iter().map(|key| (*key, Fate::Recorded)).collect();
        outbox.became(&fates).unwrap();
        moved(outbox).released
    }

    fn moved(outbox: &Outbox) -> Moved {
        let mut all = Moved::default();
        while outbox.held_lock().pass.is_some() {
            let some = outbox.move_on().unwrap();
            all.released += some.released;
            all.given_up += some.given_up;
        }
        all
    }

    /// What lies with the refused, and why.
    fn failed(outbox: &Outbox) -> Vec<(u64, String)> {
        let read = outbox.read(|tx| {
            let mut all = Vec::new();
            for entry in tx.open_table(FAILED)?.iter()? {
                let (number, kept) = entry?;
                let why = kept.value().split(|b| *b == 0).next().unwrap_or_default();
                all.push((number.value(), String::from_utf8_lossy(why).into_owned()));
            }
            Ok(all)
        });
        read.unwrap()
    }

    fn never(outbox: &Outbox, label: u8, why: &str) -> Vec<FieldKey> {
        outbox.became(&[(key(label), Fate::Never(why.into()))]).unwrap()
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
        [1, 2].iter().for_each(|label| outbox.learn(&learned(*label), 7).unwrap());
        for label in [3, 1, 2, 1] {
            outbox.keep(&batch(label, 10)).unwrap().unwrap();
        }
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![0], 3));
        let bytes = outbox.held().bytes;
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!((outbox.held().jobs, outbox.held().bytes, outbox.field_keys().len()), (3, bytes, 2));
        assert_eq!(release(&outbox, &[key(3)]), 0);
        assert_eq!(release(&outbox, &[key(1), key(3)]), 2);
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![0, 1, 3], 1));
        assert_eq!(outbox.keep(&batch(1, 10)).unwrap(), Some(4));
        assert_eq!(outbox.keep(&batch(2, 10)).unwrap(), Some(5));
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!((waiting(&outbox), outbox.field_keys()), (vec![0, 1, 3, 4], vec![learned(2)]));
        assert_eq!(outbox.give_up_held(None, "no journal").unwrap(), 2);
        assert_eq!((outbox.depth().unwrap(), outbox.held().bytes), ((4, 2), 0));
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        let given_up = FieldKey { standing: Standing::Void, ..learned(2) };
        assert_eq!((outbox.held().jobs, outbox.field_keys()), (0, vec![given_up]));
    }

    /// More than is allowed is not taken: it is not acknowledged, and nothing that was is pushed out.
    #[test]
    fn what_finds_no_room_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap().holding(RESERVE + 3_000);
        outbox.learn(&learned(1), 7).unwrap();
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
        release(&outbox, &[key(1)]);
        assert_eq!((outbox.held().bytes, waiting(&outbox).len() as u64), (0, taken + 1));
    }

    /// V4: an event that overtakes an earlier one of its component has the ledger refuse that; and one whose key ends while it
    /// waits behind another would be refused itself.
    #[test]
    fn no_event_overtakes_an_earlier_one_that_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        [1, 2].iter().for_each(|label| outbox.learn(&learned(*label), 7).unwrap());
        // Component 5 signs with three keys: two of them the ledger does not know.
        let taken = [(5, 1), (5, 3), (6, 3), (5, 2), (5, 1)]
            .map(|(cid, label)| outbox.keep(&event(cid, 1, label)).unwrap());
        assert_eq!(
            taken,
            [Some(0), None, Some(1), Some(2), Some(3)],
            "its device keeps that of the key that is known"
        );
        assert_eq!(waiting(&outbox), [1]);
        release(&outbox, &[key(1)]);
        assert_eq!(waiting(&outbox), [0, 1], "the last one waits behind that of the other key");
        release(&outbox, &[key(2)]);
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![0, 1, 2, 3], 0));
        assert_eq!(outbox.keep(&event(5, 2, 3)).unwrap(), Some(4));
        assert_eq!(outbox.held().jobs, 0);
    }

    /// The end of a pairing is told once: it is taken whatever waits, and overtakes nothing.
    #[test]
    fn the_end_of_a_pairing_is_held_behind_what_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        outbox.learn(&learned(1), 7).unwrap();
        outbox.keep(&event(5, 1, 1)).unwrap().unwrap();
        let Job::Statement { statement, key: by, signature, .. } = event(5, 2, 3) else { panic!() };
        outbox.keep(&Job::Withdrawal { statement, key: by, signature }).unwrap().unwrap();
        assert_eq!((waiting(&outbox), outbox.held().jobs), (vec![], 2));
        release(&outbox, &[key(1)]);
        assert_eq!(waiting(&outbox), [0, 1]);
    }

    /// A witness whose key is not known is none for the ledger.
    #[test]
    fn a_statement_waits_for_the_key_of_its_witness() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        outbox.learn(&learned(1), 7).unwrap();
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
        let begun = |label: u8| FieldKey { of: Cid([1; 16]), standing: Standing::Begun, ..learned(label) };
        // Two that were begun before the one that came to something, and one after it; something was signed with one of them.
        outbox.learn(&begun(1), 7).unwrap();
        outbox.learn(&begun(2), 7).unwrap();
        outbox.learn(&begun(3), 7).unwrap();
        outbox.learn(&begun(4), 7).unwrap();
        outbox.keep(&batch(1, 10)).unwrap().unwrap();
        let stands = FieldKey { standing: Standing::Stands, ..begun(3) };
        outbox.learn(&stands, 7).unwrap();
        assert_eq!(moved(&outbox), Moved { released: 0, given_up: 1 });
        assert_eq!(failed(&outbox)[0].1, "its binding came to nothing: another one was made");
        drop(outbox);
        let mut keys = Outbox::open(&path).unwrap().field_keys();
        keys.sort_by_key(|key| key.binding);
        assert_eq!(keys, [FieldKey { standing: Standing::Void, ..begun(1) }, stands, begun(4)]);
    }

    /// An answer in clear that says of old introductions that they were taken pushes nothing out that was signed later.
    #[test]
    fn what_is_told_in_clear_makes_nothing_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        let begun = |label: u8| FieldKey { of: Cid([1; 16]), standing: Standing::Begun, ..learned(label) };
        let genuine = begun(50);
        outbox.learn(&genuine, 7).unwrap();
        (1..40).for_each(|label| outbox.learn(&begun(label), 7).unwrap());
        let keys = outbox.field_keys();
        assert!(keys.contains(&genuine) && keys.len() == 4, "{}", keys.len());
        assert!(keys.contains(&begun(39)), "the latest ones are kept");
    }

    /// H251: a journal that was refused keeps nothing waiting: what it would have told of lies with the refused, with the reason, and
    /// what waited behind it goes on. What its device has still it signs anew.
    #[test]
    fn what_the_ledger_will_never_have_lets_the_rest_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        let outbox = Outbox::open(&path).unwrap();
        [1, 2].iter().for_each(|label| outbox.learn(&learned(*label), 7).unwrap());
        // Of component 5 an event under each of the keys, and the end of a pairing under one that the ledger has.
        outbox.keep(&event(5, 1, 1)).unwrap().unwrap();
        outbox.keep(&event(5, 2, 2)).unwrap().unwrap();
        let Job::Statement { statement, key: by, signature, .. } = event(5, 3, 3) else { panic!() };
        outbox.keep(&Job::Withdrawal { statement, key: by, signature }).unwrap().unwrap();
        outbox.keep(&batch(1, 10)).unwrap().unwrap();
        assert_eq!(outbox.keep(&event(5, 4, 3)).unwrap(), None, "it waits behind them");
        let void = FieldKey { standing: Standing::Void, ..learned(1) };
        assert_eq!(never(&outbox, 1, "refused: 74"), [void]);
        assert_eq!(never(&outbox, 1, "refused: 74"), [], "told once");
        assert_eq!(moved(&outbox), Moved { released: 0, given_up: 2 });
        let refused = "refused: 74".to_owned();
        assert_eq!(failed(&outbox), [(0, refused.clone()), (3, refused)]);
        let left = |number| Left { number, key_ended: true };
        assert_eq!(outbox.take_settled(), [left(0), left(3)], "its device signs it anew where it has it");
        assert_eq!(outbox.keep(&batch(1, 10)).unwrap(), None, "its device keeps what it signs with that");
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(outbox.keep(&batch(1, 10)).unwrap(), None, "after a start too");
        assert_eq!(release(&outbox, &[key(2)]), 2);
        assert_eq!(waiting(&outbox), [1, 2]);
        assert!(outbox.keep(&event(5, 4, 3)).unwrap().is_some(), "nothing is before it any more");
        // A journal that comes after all.
        release(&outbox, &[key(1)]);
        assert_eq!(outbox.field_keys(), []);
        assert!(outbox.keep(&batch(1, 10)).unwrap().is_some());
    }

    /// The end of a pairing is told once, also under a key that the ledger will never have: it is kept with the reason.
    #[test]
    fn the_end_of_a_pairing_under_a_void_key_lies_with_the_refused() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        outbox.learn(&learned(1), 7).unwrap();
        never(&outbox, 1, "no journal");
        moved(&outbox);
        let Job::Statement { statement, key: by, signature, .. } = event(5, 1, 1) else { panic!() };
        outbox.keep(&Job::Withdrawal { statement, key: by, signature }).unwrap().unwrap();
        assert_eq!(moved(&outbox), Moved { released: 0, given_up: 1 });
        assert_eq!((failed(&outbox).len(), outbox.held().jobs), (1, 0));
    }

    /// A component that is named is given up alone, with what its partner signed towards it.
    #[test]
    fn one_component_is_given_up_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox.redb")).unwrap();
        let (pack, module) = (Cid([9; 16]), Cid([1; 16]));
        let partner = FieldKey { of: pack, with: module, ..learned(3) };
        for key in [learned(1), learned(2), partner] {
            outbox.learn(&key, 7).unwrap();
        }
        for label in [1, 2, 3, 2] {
            outbox.keep(&batch(label, 10)).unwrap().unwrap();
        }
        assert_eq!(outbox.give_up_held(Some(module), "no journal").unwrap(), 2);
        assert_eq!((failed(&outbox).len(), outbox.held().jobs), (2, 2));
        assert_eq!(release(&outbox, &[key(2)]), 2, "what the other one signed goes when its journal comes");
    }

    /// A long absence is a long queue: its end moves a piece in each turn, in order, and what comes meanwhile goes behind.
    #[test]
    fn what_was_held_leaves_a_piece_at_a_time_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        let outbox = Outbox::open(&path).unwrap();
        outbox.learn(&learned(1), 7).unwrap();
        let n = 2 * PIECE as u64 + 10;
        for _ in 0..n {
            outbox.keep(&batch(1, 10)).unwrap().unwrap();
        }
        moved(&outbox);
        outbox.became(&[(key(1), Fate::Recorded)]).unwrap();
        let piece = PIECE as u64;
        assert_eq!(outbox.move_on().unwrap().released, piece);
        assert_eq!((waiting(&outbox).len(), outbox.held().jobs), (100, n - piece));
        // The ledger takes batches of a component in their order only.
        assert_eq!(outbox.keep(&batch(1, 10)).unwrap(), Some(n));
        assert_eq!(outbox.held().jobs, n - piece + 1);
        assert_eq!(outbox.keep(&batch(3, 10)).unwrap(), Some(n + 1), "nobody else waits");
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(moved(&outbox).released, n - piece + 1);
        assert_eq!((outbox.held().jobs, outbox.field_keys()), (0, vec![]));
        let all: Vec<_> = outbox.next(2_000, &[]).unwrap().into_iter().map(|(number, _)| number).collect();
        assert_eq!(all, (0..n + 2).collect::<Vec<_>>());
        // Large ones are fewer in a piece.
        outbox.learn(&learned(2), 7).unwrap();
        for _ in 0..4 {
            outbox.keep(&batch(2, PIECE_BYTES / 2)).unwrap().unwrap();
        }
        outbox.became(&[(key(2), Fate::Recorded)]).unwrap();
        assert_eq!(outbox.move_on().unwrap().released, 2);
    }

    /// What is held counts where it is asked whether anything of these keys is unbrought: keys that end would take it along.
    #[test]
    fn what_is_held_is_found_by_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        let outbox = Outbox::open(&path).unwrap();
        outbox.learn(&learned(1), 7).unwrap();
        outbox.keep(&batch(1, 10)).unwrap().unwrap();
        let is_found = |outbox: &Outbox| {
            assert!(outbox.holds(&[key(2), key(1)]).unwrap() && outbox.is_held(&[key(1)]));
            assert!(!outbox.holds(&[key(2)]).unwrap() && !outbox.is_held(&[]));
        };
        is_found(&outbox);
        drop(outbox);
        is_found(&Outbox::open(&path).unwrap());
    }

    /// A row that cannot be read is named, and nothing is changed: without it what it tells of would go to a ledger that refuses it.
    #[test]
    fn a_key_that_cannot_be_read_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.redb");
        let outbox = Outbox::open(&path).unwrap();
        outbox.learn(&learned(1), 7).unwrap();
        outbox.keep(&batch(1, 10)).unwrap().unwrap();
        let whole = value(&Noted { key: learned(1), since: 7, why: String::new() });
        for bad in [&whole[..whole.len() - 1], &[&whole[..whole.len() - 1], &[9]].concat(), &[]] {
            let put = |value: &[u8]| {
                outbox.write(|tx| {
                    tx.open_table(FIELD)?.insert(key(1).0.as_slice(), value)?;
                    Ok(())
                })
            };
            put(bad).unwrap();
            let found = outbox.find_held();
            let Err(OutboxError::DamagedKey { row, .. }) = &found else { panic!("{found:?}") };
            assert!(row.starts_with("02") || row.starts_with("03"), "{row}");
            let said = found.unwrap_err().to_string();
            assert!(said.contains("outbox.redb") && said.contains("use the build that wrote it"), "{said}");
            let kept = outbox.read(|tx| {
                Ok(tx.open_table(FIELD)?.get(key(1).0.as_slice())?.map(|kept| kept.value().to_vec()))
            });
            assert_eq!(kept.unwrap().as_deref(), Some(bad));
            put(&whole).unwrap();
        }
        drop(outbox);
        assert_eq!(Outbox::open(&path).unwrap().field_keys(), [learned(1)]);
    }
}
