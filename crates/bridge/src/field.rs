//! A delegate at work without network: it signs, and keeps a journal that is brought to the ledger later
//! (`spec/channel.md`, H160 to H165, H226 to H229, H236; `spec/ledger.md`, L122). What it does with devices is in [`ceremony`].
//!
//! ```text
//! journal  "MBDJ" || 02 || u16 n || delegation n || entry ..
//! entry    act 153 || u16 n || body n || u16 m || note m
//! .drawn   (id 16 || u8 n || n ids of 16) ..
//! ```
//!
//! The journal is only appended to, and an entry is on disk before what it tells of leaves the laptop; a binding or a pairing,
//! which devices sign too, as soon as both did. The ids of bindings that this laptop began stand in a file beside the journal,
//! `.drawn`, before a device can hold one, each with the ids of what ends for it. A journal begins without one. A note is JSON
//! or empty ([`api::delegation::Made`]). Entries are a chain under the delegate's key: none can be taken out, changed or put
//! in, but the last ones can be cut off, which only the logs of the devices show. What a cut left of the last one is moved to
//! a file beside the journal, `.cut`.

pub mod ceremony;
mod exchange;
mod refusal;

pub use exchange::{Exchanged, Place};
pub use refusal::FieldError;

use crate::{
    authority::{issue::Unissued, key::AuthorityKey, signer::SignError},
    durable,
};
use lct::{
    Digest,
    binding::BindingRecord,
    delegation::{ACT_LEN, Act, DelegateRevocation, Delegation, DelegationId, Operation, REVOCATION_LEN},
    hash::sha256,
    id::BindingId,
    revocation::{Reason, Subject},
};
use ledger::{
    codec::Canonical,
    tx::{Body, MAX_STATEMENT, Target},
};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 5] = b"MBDJ\x02";
/// Longest note in bytes.
const NOTE_MAX: usize = 4_096;
/// Longest entry in bytes.
const ENTRY_MAX: usize = ACT_LEN + 2 + MAX_STATEMENT + 2 + NOTE_MAX;

/// One entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub act: Act,
    /// The act as it was signed.
    pub statement: Vec<u8>,
    /// What the ledger is to record, as it was hashed.
    pub body: Vec<u8>,
    /// What was noted beside it; nobody signed that.
    pub note: Vec<u8>,
}

/// A journal as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The delegation under which all of it was done.
    pub delegation: Vec<u8>,
    /// What was done, in order.
    pub entries: Vec<Entry>,
    /// What stands behind the last whole entry.
    left: Vec<u8>,
    /// Bytes of what is whole.
    len: usize,
}

impl Journal {
    /// Reads and verifies the journal at `path`.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn read(path: &Path) -> Result<Self, FieldError> {
        let bytes = fs::read(path).map_err(|source| FieldError::Io { path: path.into(), source })?;
        let foreign = || FieldError::NotAJournal(path.into());
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(foreign)?;
        let (delegation, mut rest) = sized(rest).ok_or_else(foreign)?;
        let right = Delegation::read(delegation).map_err(|_| foreign())?;
        let (id, key) = (DelegationId::of(delegation), right.delegate.sign_pub());
        let (mut entries, mut previous) = (Vec::<Entry>::new(), [0; 32]);
        while let Some(([statement, body, note], after)) = next(rest) {
            let number = entries.len() as u32 + 1;
            let follows = |act: &Act| {
                (act.delegation, act.number, act.previous, act.body)
                    == (id, number, previous, sha256(&[body]))
            };
            let act = Act::open(statement, &key).ok().filter(follows);
            let act = act.ok_or_else(|| FieldError::Broken { path: path.into(), number })?;
            previous = Act::hash_of(statement);
            entries.push(Entry { act, statement: statement.into(), body: body.into(), note: note.into() });
            rest = after;
        }
        // A cut leaves less than one entry.
        let claimed =
            rest.get(ACT_LEN..ACT_LEN + 2).map_or(0, |n| usize::from(u16::from_be_bytes([n[0], n[1]])));
        if rest.len() > ENTRY_MAX || claimed > MAX_STATEMENT {
            return Err(FieldError::Broken { path: path.into(), number: entries.len() as u32 + 1 });
        }
        let len = bytes.len() - rest.len();
        Ok(Journal { delegation: delegation.into(), entries, left: rest.into(), len })
    }

    /// What is to be brought now of the journal at `path`, of which the ledger has so many `acts` with the hash `last` of the last
    /// one; and the number of the act before which whoever brings it stops, because it ends a binding that these make (H238). An act
    /// that ends a binding is brought only by whoever is `caught_up` (H229).
    ///
    /// # Errors
    /// [`FieldError::Fork`], [`FieldError::CaughtUp`].
    pub fn unbrought(
        &self,
        path: &Path,
        (acts, last): (usize, &Digest),
        caught_up: bool,
    ) -> Result<(&[Entry], Option<u32>), FieldError> {
        // Of two journals under one delegation the ledger goes on with the one that it has the beginning of.
        let follows = match acts.checked_sub(1) {
            None => true,
            Some(at) => self.entries.get(at).is_some_and(|entry| Act::hash_of(&entry.statement) == *last),
        };
        let rest = self.entries.get(acts..).filter(|_| follows);
        let rest = rest.ok_or_else(|| FieldError::Fork { path: path.into(), acts })?;
        if let Some(entry) = rest.iter().find(|entry| entry.ends_binding() && !caught_up) {
            return Err(FieldError::CaughtUp(entry.act.number));
        }
        let mut bound = Vec::new();
        for (at, entry) in rest.iter().enumerate() {
            if entry.ended().is_some_and(|id| bound.contains(&id)) {
                return Ok((&rest[..at], Some(entry.act.number)));
            }
            bound.extend(entry.bound());
        }
        Ok((rest, None))
    }
}

impl Entry {
    /// Whether it ends a binding, with which its keys end.
    fn ends_binding(&self) -> bool {
        self.ended().is_some() || matches!(Body::from_bytes(&self.body), Ok(Body::Rebind { .. }))
    }

    /// The binding that it ends by its name.
    fn ended(&self) -> Option<BindingId> {
        match Body::from_bytes(&self.body) {
            Ok(Body::Revoke { target: Target::Binding(id), .. }) => Some(id),
            _ => None,
        }
    }

    /// The binding that it makes.
    pub fn bound(&self) -> Option<BindingId> {
        match Body::from_bytes(&self.body) {
            Ok(Body::Bind { record, .. }) => BindingRecord::decode(&record).ok().map(|r| r.binding_id),
            _ => None,
        }
    }
}

/// `u16 n | n bytes`, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (n, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*n)))
}

/// Act, body and note of the next entry, and what follows it.
fn next(bytes: &[u8]) -> Option<([&[u8]; 3], &[u8])> {
    let (statement, rest) = bytes.split_at_checked(ACT_LEN)?;
    let (body, rest) = sized(rest)?;
    let (note, rest) = sized(rest)?;
    Some(([statement, body, note], rest))
}

/// The file beside the journal at `path` whose name ends with `what`.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    PathBuf::from(name)
}

/// A binding that was begun under a journal; no device and no act may ever tell of it.
#[derive(Debug)]
struct Begun {
    id: BindingId,
    /// What the ledger may have and ends for it.
    ends: Vec<BindingId>,
}

impl Begun {
    /// All that a file tells of, in order.
    fn read(mut bytes: &[u8]) -> Option<Vec<Self>> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (id, rest) = bytes.split_first_chunk::<16>()?;
            let (n, rest) = rest.split_first()?;
            let (ends, rest) = rest.split_at_checked(16 * usize::from(*n))?;
            let ends = ends.as_chunks::<16>().0.iter().map(|end| BindingId(*end)).collect();
            all.push(Begun { id: BindingId(*id), ends });
            bytes = rest;
        }
        Some(all)
    }

    fn append_to(&self, bytes: &mut Vec<u8>) -> Result<(), FieldError> {
        let n = u8::try_from(self.ends.len()).map_err(|_| FieldError::Full)?;
        bytes.extend(self.id.0);
        bytes.push(n);
        self.ends.iter().for_each(|end| bytes.extend(end.0));
        Ok(())
    }
}

/// A delegate with its key, its delegation and its journal.
#[derive(Debug)]
pub struct Field {
    key: AuthorityKey,
    delegation: Delegation,
    id: DelegationId,
    /// The delegation as devices take it.
    shown: Vec<u8>,
    path: PathBuf,
    file: File,
    acts: u32,
    last: Digest,
    last_time: u32,
    /// An entry could not be written, or not yet: what follows it would not be read any more.
    unfit: bool,
    /// What was begun under this journal.
    drawn: Vec<Begun>,
}

impl Field {
    /// Opens the journal at `path`, which begins with its first use.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn open(key: AuthorityKey, delegation: &[u8], path: &Path) -> Result<Self, FieldError> {
        let right = Delegation::read(delegation).map_err(|_| FieldError::NotADelegation)?;
        if right.delegate != key.public() {
            return Err(FieldError::OtherKey);
        }
        let fail = |source| FieldError::Io { path: path.into(), source };
        if !path.try_exists().map_err(fail)? {
            // What is there was begun under another journal, of which this one knows nothing.
            match fs::remove_file(beside(path, ".drawn")) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(e)),
                _ => {}
            }
            let head = [&MAGIC[..], &(delegation.len() as u16).to_be_bytes(), delegation].concat();
            durable::replace(path, &head).map_err(fail)?;
        }
        let mut file = OpenOptions::new().write(true).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FieldError::InUse(path.into())),
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        let journal = Journal::read(path)?;
        if journal.delegation != delegation {
            return Err(FieldError::OtherJournal(path.into()));
        }
        // What a cut left of the last entry told of nothing: it was not whole when anything left the laptop. It is kept
        // all the same, for it may be damage after all.
        if !journal.left.is_empty() {
            durable::replace(&beside(path, ".cut"), &journal.left).map_err(fail)?;
            file.set_len(journal.len as u64).and_then(|()| file.sync_all()).map_err(fail)?;
        }
        file.seek(SeekFrom::End(0)).map_err(fail)?;
        let last = journal.entries.last();
        let (last_time, last) =
            last.map_or((right.not_before, [0; 32]), |e| (e.act.time, Act::hash_of(&e.statement)));
        let (id, acts) = (DelegationId::of(delegation), journal.entries.len() as u32);
        let begun = beside(path, ".drawn");
        let drawn = match fs::read(&begun) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(fail)?,
        };
        let drawn = Begun::read(&drawn).ok_or(FieldError::Drawn(begun))?;
        let (shown, path) = (delegation.to_vec(), path.to_owned());
        let unfit = false;
        Ok(Field { key, delegation: right, id, shown, path, file, acts, last, last_time, unfit, drawn })
    }

    /// Notes that the binding `id` is begun, and what ends for it, durably.
    fn begin(&mut self, id: BindingId, ends: &[BindingId]) -> Result<(), FieldError> {
        self.drawn.push(Begun { id, ends: ends.to_vec() });
        let mut bytes = Vec::new();
        for begun in &self.drawn {
            begun.append_to(&mut bytes)?;
        }
        let path = beside(&self.path, ".drawn");
        durable::replace(&path, &bytes).map_err(|source| FieldError::Io { path, source })
    }

    /// What was to end for the binding `id`, where that was begun under this journal.
    fn began(&self, id: BindingId) -> Option<&[BindingId]> {
        self.drawn.iter().find(|begun| begun.id == id).map(|begun| begun.ends.as_slice())
    }

    /// How many acts the journal has.
    pub fn acts(&self) -> u32 {
        self.acts
    }

    /// The delegation, as devices take it.
    pub fn delegation(&self) -> &[u8] {
        &self.shown
    }

    /// Ends a pairing or a binding at `now` (Unix seconds): what devices are to be told (H164). It is in the journal when
    /// this returns.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn end(
        &mut self,
        subject: Subject,
        reason: Reason,
        now: u32,
    ) -> Result<[u8; REVOCATION_LEN], FieldError> {
        let target = match subject {
            Subject::Binding(id) => Target::Binding(id),
            Subject::Pairing(id) => Target::Pairing(id),
            _ => return Err(FieldError::Subject),
        };
        let statement = self.ending(subject, reason, now)?;
        self.write(Operation::Revoke, &Body::Revoke { target, reason: reason as u8 }, &[], now)?;
        Ok(statement)
    }

    /// What devices are to be told of an end at `time` (Unix seconds) that the journal has.
    ///
    /// # Errors
    /// [`FieldError::Sign`].
    pub fn ending(
        &self,
        subject: Subject,
        reason: Reason,
        time: u32,
    ) -> Result<[u8; REVOCATION_LEN], FieldError> {
        let statement = DelegateRevocation { delegation: self.id, subject, reason, time };
        Ok(self.key.sign(|key, rng| statement.issue(key, rng))?)
    }

    /// Whether the delegate may do this now, as far as it can know.
    fn may(&self, operation: Operation, now: u32) -> Result<(), FieldError> {
        let right = &self.delegation;
        if !right.names(operation) {
            return Err(FieldError::Operation);
        }
        if !right.holds_at(now) {
            return Err(FieldError::Window { from: right.not_before, to: right.not_after, now });
        }
        if now < self.last_time {
            return Err(FieldError::ClockBack { last: self.last_time, now });
        }
        Ok(())
    }

    /// Appends an act, durably.
    fn write(&mut self, operation: Operation, body: &Body, note: &[u8], now: u32) -> Result<(), FieldError> {
        self.may(operation, now)?;
        if self.unfit {
            return Err(FieldError::Unfit(self.path.clone()));
        }
        let body = body.to_bytes();
        let number =
            self.acts.checked_add(1).filter(|_| body.len() <= MAX_STATEMENT && note.len() <= NOTE_MAX);
        let number = number.ok_or(FieldError::Full)?;
        let act = Act { delegation: self.id, number, previous: self.last, time: now, body: sha256(&[&body]) };
        let statement = self.key.sign(|key, rng| act.issue(key, rng))?;
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let entry = [&statement[..], &sized(&body), &sized(note)].concat();
        self.unfit = true;
        let written = self.file.write_all(&entry).and_then(|()| self.file.sync_all());
        written.map_err(|source| FieldError::Io { path: self.path.clone(), source })?;
        (self.acts, self.last, self.last_time) = (number, Act::hash_of(&statement), now);
        self.unfit = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        id::{Cid, PairingId},
        sign::SigningKey,
    };

    pub(super) const FROM: u32 = 1_000;

    pub(super) fn delegation(key: &AuthorityKey, operations: u8) -> Vec<u8> {
        let mut packs = ["pack-0001", "pack-0002"].map(Cid::of);
        packs.sort();
        let right = Delegation {
            number: 1,
            delegate: key.public(),
            issued: FROM,
            not_before: FROM,
            not_after: FROM + 600,
            lease_s: 60,
            operations,
            packs: packs.into_iter().collect(),
        };
        let issued = crate::entropy::with(|rng| right.issue(&SigningKey::generate(rng), rng));
        issued.unwrap().unwrap().to_vec()
    }

    pub(super) fn again(key: &AuthorityKey) -> AuthorityKey {
        AuthorityKey::from_bytes(&key.to_bytes().unwrap()).unwrap()
    }

    #[test]
    fn acts_are_on_disk_before_they_are_told_and_follow_each_other_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("laptop.journal");
        let key = AuthorityKey::generate().unwrap();
        let right = delegation(&key, 7);
        let pairing = Subject::Pairing(PairingId([3; 16]));
        for n in 1..=3 {
            let mut field = Field::open(again(&key), &right, &path).unwrap();
            let told = field.end(pairing, Reason::Lost, FROM + n).unwrap();
            let told = DelegateRevocation::open(&told, &key.public().sign_pub()).unwrap();
            assert_eq!((told.subject, told.time), (pairing, FROM + n));
            assert_eq!((field.acts(), Journal::read(&path).unwrap().entries.len()), (n, n as usize));
        }
        let journal = Journal::read(&path).unwrap();
        let target = Target::Pairing(PairingId([3; 16]));
        for entry in &journal.entries {
            assert_eq!(Body::from_bytes(&entry.body), Ok(Body::Revoke { target, reason: 2 }));
        }

        // The power goes while an entry is written: all whole ones stay, and the next one follows them.
        let whole = fs::read(&path).unwrap();
        let entry = (whole.len() - MAGIC.len() - 2 - right.len()) / 3;
        for cut in [1, ACT_LEN, entry - 1] {
            fs::write(&path, &whole[..whole.len() - entry + cut]).unwrap();
            assert_eq!(Journal::read(&path).unwrap().entries.len(), 2, "{cut}");
            let mut field = Field::open(again(&key), &right, &path).unwrap();
            field.end(pairing, Reason::Lost, FROM + 9).unwrap();
            assert_eq!(Journal::read(&path).unwrap().entries.len(), 3, "{cut}");
            let left = fs::read(dir.path().join("laptop.journal.cut")).unwrap();
            assert_eq!(left, whole[whole.len() - entry..][..cut], "{cut}");
        }
    }

    /// What is behind an entry that is not whole could not be read any more.
    #[test]
    fn nothing_is_written_behind_an_entry_that_could_not_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("laptop.journal");
        let key = AuthorityKey::generate().unwrap();
        let right = delegation(&key, 7);
        let pairing = Subject::Pairing(PairingId([3; 16]));
        let mut field = Field::open(again(&key), &right, &path).unwrap();
        field.file = File::open(&path).unwrap();
        let failed = field.end(pairing, Reason::Lost, FROM + 1);
        assert!(matches!(failed, Err(FieldError::Io { .. })), "it is open for reading only");
        field.file = OpenOptions::new().append(true).open(&path).unwrap();
        let refused = field.end(pairing, Reason::Lost, FROM + 1);
        assert!(matches!(refused, Err(FieldError::Unfit(_))));
        assert_eq!((field.acts(), Journal::read(&path).unwrap().entries.len()), (0, 0));
        drop(field);
        let mut field = Field::open(again(&key), &right, &path).unwrap();
        field.end(pairing, Reason::Lost, FROM + 1).unwrap();
        assert_eq!(Journal::read(&path).unwrap().entries.len(), 1);
    }

    #[test]
    fn no_entry_is_changed_taken_out_or_exchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("laptop.journal");
        let key = AuthorityKey::generate().unwrap();
        let right = delegation(&key, 7);
        let mut field = Field::open(again(&key), &right, &path).unwrap();
        for n in 1..=3 {
            field.end(Subject::Binding(BindingId([n; 16])), Reason::Lost, FROM + 1).unwrap();
        }
        let whole = fs::read(&path).unwrap();
        let head = MAGIC.len() + 2 + right.len();
        let entry = (whole.len() - head) / 3;
        let [one, two, three] = [0, 1, 2].map(|n| &whole[head + n * entry..head + (n + 1) * entry]);
        for (case, entries, broken) in [
            ("the second taken out", vec![one, three], 2),
            ("exchanged", vec![two, one, three], 1),
            ("told twice", vec![one, one, two], 2),
        ] {
            fs::write(&path, [&whole[..head], &entries.concat()].concat()).unwrap();
            let read = Journal::read(&path);
            assert!(matches!(read, Err(FieldError::Broken { number, .. }) if number == broken), "{case}");
        }
        for at in head..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let read = Journal::read(&path);
            let cut = matches!(&read, Ok(journal) if journal.entries.len() < 3);
            assert!(cut || matches!(read, Err(FieldError::Broken { .. })), "byte {at}");
        }
    }

    #[test]
    fn a_delegate_knows_what_it_may_not_do() {
        let dir = tempfile::tempdir().unwrap();
        let key = AuthorityKey::generate().unwrap();
        let pairing = Subject::Pairing(PairingId([3; 16]));
        let open = |name: &str, right: &[u8]| Field::open(again(&key), right, &dir.path().join(name));
        let right = delegation(&key, 7);
        let mut field = open("a", &right).unwrap();
        for now in [FROM - 1, FROM + 600] {
            let done = field.end(pairing, Reason::Lost, now);
            assert!(matches!(done, Err(FieldError::Window { .. })), "{now}");
        }
        let component = Subject::Component(Cid([1; 16]));
        assert!(matches!(field.end(component, Reason::Lost, FROM), Err(FieldError::Subject)));
        field.end(pairing, Reason::Lost, FROM + 5).unwrap();
        let back = field.end(pairing, Reason::Lost, FROM + 4);
        assert!(matches!(back, Err(FieldError::ClockBack { last, .. }) if last == FROM + 5));
        assert_eq!(field.acts(), 1, "what was refused is not in the journal");
        assert!(matches!(open("a", &right), Err(FieldError::InUse(_))), "two would write over each other");
        drop(field);
        let mut other = open("b", &delegation(&key, 3)).unwrap();
        assert!(matches!(other.end(pairing, Reason::Lost, FROM), Err(FieldError::Operation)));
        assert!(matches!(open("a", &delegation(&key, 3)), Err(FieldError::OtherJournal(_))));
        assert!(matches!(open("c", &right[1..]), Err(FieldError::NotADelegation)));
        let stranger = AuthorityKey::generate().unwrap();
        let refused = Field::open(stranger, &right, &dir.path().join("a"));
        assert!(matches!(refused, Err(FieldError::OtherKey)));
        fs::write(dir.path().join("d"), b"MBDJ").unwrap();
        assert!(matches!(open("d", &right), Err(FieldError::NotAJournal(_))));
    }
}
