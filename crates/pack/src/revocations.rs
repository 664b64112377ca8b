//! The revocation list that a device holds (`spec/channel.md`, H105 to H109).

use crate::{
    identity::{Record, key},
    time::{Duration, Instant},
};
use kept::{Defence, kept};
use lct::{
    Digest, Error,
    codec::Fields,
    revocation::{ENTRIES_MAX, GRACE_S, RevocationList, Subject, hash_of},
    sign::PublicKey,
};

/// Entries in one record.
const CHUNK: usize = 14;
/// Records that hold entries.
const CHUNKS: usize = ENTRIES_MAX.div_ceil(CHUNK);
/// Shortest time between two lists whose signature is verified.
const PERIOD: Duration = Duration::from_secs(1);
const HEAD: u8 = 1 << CHUNKS;

/// The list held, its number and how long it serves.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    number: u32,
    next_update: u32,
    hash: Digest,
    entries: heapless::Vec<[u8; 17], ENTRIES_MAX>,
    verified: Option<Instant>,
    /// Bit k: entry record k; bit [`CHUNKS`]: the head, which is written last.
    dirty: u8,
}

/// What became of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is the one held now.
    New,
    /// It was held already.
    Held,
}

impl Revocations {
    /// Reads what `load` finds; nothing stored is a device that never got a list.
    pub fn restore(mut load: impl FnMut(u16) -> Option<Record>) -> Result<Self, Error> {
        let mut held = Revocations::default();
        if let Some(bytes) = load(key::REVOCATION_HEAD) {
            let mut f = version(&bytes)?;
            (held.number, held.next_update, held.hash) = (f.u32()?, f.u32()?, f.array()?);
            f.end()?;
        }
        for chunk in 0..CHUNKS {
            let Some(bytes) = load(key::revoked(chunk as u8)) else { continue };
            let mut f = version(&bytes)?;
            // A record of a newer list than the head is that of a cut between the two: it was verified before it was
            // written, so it may revoke already.
            let _number = f.u32()?;
            for entry in f.rest().chunks_exact(17) {
                let entry: &[u8; 17] = entry.try_into().map_err(|_| Error::Malformed)?;
                Subject::from_bytes(entry)?;
                held.entries.push(*entry).map_err(|_| Error::Malformed)?;
            }
        }
        Ok(held)
    }

    /// Number of the list held, 0 for none.
    pub fn number(&self) -> u32 {
        self.number
    }
    /// When the next one was due, Unix seconds.
    pub fn next_update(&self) -> u32 {
        self.next_update
    }
    /// How much is revoked.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// True when nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when `subject` is listed.
    pub fn lists(&self, subject: Subject) -> bool {
        let wanted = subject.to_bytes();
        self.entries.contains(&wanted)
    }

    /// True when the list is so old that it must not admit anyone new.
    pub fn is_stale(&self, judged: Option<u32>) -> bool {
        self.number > 0 && judged.is_some_and(|t| t > self.next_update.saturating_add(GRACE_S))
    }

    /// Takes a list as received.
    pub fn take(&mut self, now: Instant, bytes: &[u8], authority: &PublicKey) -> Result<Taken, Error> {
        let number = RevocationList::claimed_number(bytes)?;
        if number == self.number && hash_of(bytes) == self.hash {
            return Ok(Taken::Held);
        }
        if number <= self.number && kept(Defence::ListNumber) {
            return Err(Error::Expired);
        }
        if self.verified.is_some_and(|t| now < t + PERIOD) {
            return Err(Error::Exhausted);
        }
        self.verified = Some(now);
        let list = RevocationList::open(bytes, authority)?;
        let next = self.number.checked_add(1) == Some(list.number);
        if next && list.previous != self.hash {
            return Err(Error::WrongParty);
        }
        let before = self.entries.len();
        self.entries = list.entries.iter().map(|e| e.subject.to_bytes()).collect();
        (self.number, self.next_update, self.hash) = (list.number, list.next_update, hash_of(bytes));
        let records = before.max(self.entries.len()).div_ceil(CHUNK);
        self.dirty = HEAD | (HEAD - 1) & ((1u16 << records) - 1) as u8;
        Ok(Taken::New)
    }

    /// The next record to write: entries first, the head last.
    pub(crate) fn record(&mut self) -> Option<Record> {
        if self.dirty == 0 {
            return None;
        }
        let bit = self.dirty.trailing_zeros() as usize;
        self.dirty &= self.dirty - 1;
        let number = self.number.to_be_bytes();
        if bit == CHUNKS {
            let next = self.next_update.to_be_bytes();
            return Record::new(key::REVOCATION_HEAD, &[&[1], &number, &next, &self.hash]).ok();
        }
        let entries = self.entries.chunks(CHUNK).nth(bit).unwrap_or(&[]);
        let mut record = Record::new(key::revoked(bit as u8), &[&[1], &number]).ok()?;
        for entry in entries {
            record.value.extend_from_slice(entry).ok()?;
        }
        Some(record)
    }
}

fn version(bytes: &[u8]) -> Result<Fields<'_>, Error> {
    let mut f = Fields::new(bytes);
    if f.u8()? == 1 { Ok(f) } else { Err(Error::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{
        id::Cid,
        revocation::{Reason, Revoked},
        sign::SigningKey,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    use std::collections::BTreeMap;
    use std::vec::Vec;

    struct Authority {
        key: SigningKey,
        rng: ChaCha20Rng,
    }

    impl Authority {
        fn new(seed: u64) -> Self {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            Authority { key: SigningKey::generate(&mut rng), rng }
        }
        fn list(&mut self, number: u32, previous: Digest, revoked: usize) -> Vec<u8> {
            let entries = (0..revoked).map(|i| Revoked {
                subject: Subject::Component(Cid([i as u8; 16])),
                reason: Reason::Lost,
                time: 5,
            });
            let list = RevocationList {
                number,
                this_update: 1_000,
                next_update: 2_000,
                previous,
                entries: entries.collect(),
            };
            list.issue(&self.key, &mut self.rng).unwrap().to_vec()
        }
    }

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1_000)
    }

    #[test]
    fn the_number_only_rises_and_each_list_names_the_one_before() {
        let (mut authority, mut stranger) = (Authority::new(1), Authority::new(2));
        let key = authority.key.public();
        let one = authority.list(1, [0; 32], 1);
        let two = authority.list(2, hash_of(&one), 2);
        let mut held = Revocations::default();
        let mut now = 0;
        let mut take = |held: &mut Revocations, list: &[u8]| {
            now += 2;
            held.take(at(now), list, &key)
        };
        assert_eq!(take(&mut held, &stranger.list(1, [0; 32], 0)), Err(Error::NotAuthentic));
        assert_eq!(take(&mut held, &authority.list(1, [1; 32], 0)), Err(Error::WrongParty), "prev_hash");
        assert_eq!(held.number(), 0);
        assert_eq!(take(&mut held, &one), Ok(Taken::New));
        assert_eq!(take(&mut held, &one), Ok(Taken::Held));
        let other = authority.list(1, [0; 32], 3);
        assert_eq!(take(&mut held, &other), Err(Error::Expired), "the same number, another list");
        assert_eq!(take(&mut held, &authority.list(2, [0; 32], 2)), Err(Error::WrongParty));
        assert_eq!(take(&mut held, &two), Ok(Taken::New));
        assert_eq!(take(&mut held, &one), Err(Error::Expired), "rollback");
        assert!(held.lists(Subject::Component(Cid([1; 16]))));
        assert!(!held.lists(Subject::Component(Cid([2; 16]))));
        assert!(!held.lists(Subject::Batch([1; 16])), "the type counts");
        // A list that jumps over some is complete and needs no hash of what the device never had.
        let nine = authority.list(9, [0xAA; 32], 1);
        assert_eq!(take(&mut held, &nine), Ok(Taken::New));
        assert!(!held.lists(Subject::Component(Cid([1; 16]))), "a list is complete: it may drop entries");
    }

    #[test]
    fn a_flood_costs_one_verification_a_second() {
        let (mut authority, mut stranger) = (Authority::new(1), Authority::new(2));
        let key = authority.key.public();
        let good = authority.list(1, [0; 32], 1);
        let mut held = Revocations::default();
        let forged = stranger.list(u32::MAX, [0; 32], 64);
        assert_eq!(held.take(at(0), &forged, &key), Err(Error::NotAuthentic));
        for _ in 0..100 {
            assert_eq!(held.take(at(0), &forged, &key), Err(Error::Exhausted));
        }
        assert_eq!(held.take(at(1), &good, &key), Ok(Taken::New));
    }

    #[test]
    fn a_list_is_stale_thirty_days_after_its_successor_was_due() {
        let mut authority = Authority::new(1);
        let mut held = Revocations::default();
        assert!(!held.is_stale(Some(u32::MAX)), "no list, nothing to be stale");
        held.take(at(0), &authority.list(1, [0; 32], 0), &authority.key.public()).unwrap();
        assert!(!held.is_stale(Some(2_000 + GRACE_S)));
        assert!(held.is_stale(Some(2_001 + GRACE_S)));
        assert!(!held.is_stale(None));
    }

    /// The power goes between any two records: the old list or the new one, never less than the old revocations of
    /// a list that grows.
    #[test]
    fn a_cut_between_records_revokes_no_less() {
        let mut authority = Authority::new(1);
        let key = authority.key.public();
        let one = authority.list(1, [0; 32], 30);
        let two = authority.list(2, hash_of(&one), 40);
        let mut flash: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
        let mut held = Revocations::default();
        held.take(at(0), &one, &key).unwrap();
        while let Some(r) = held.record() {
            flash.insert(r.key, r.value.to_vec());
        }
        held.take(at(2), &two, &key).unwrap();
        let mut records = Vec::new();
        while let Some(r) = held.record() {
            records.push((r.key, r.value.to_vec()));
        }
        assert_eq!(records.len(), 4, "three records of entries and the head");
        for cut in 0..=records.len() {
            let mut flash = flash.clone();
            flash.extend(records[..cut].iter().cloned());
            let after = Revocations::restore(|k| Record::new(k, &[flash.get(&k)?]).ok()).unwrap();
            assert_eq!(after.number(), if cut == 4 { 2 } else { 1 }, "cut after {cut}");
            for i in 0..30 {
                assert!(after.lists(Subject::Component(Cid([i; 16]))), "entry {i}, cut after {cut}");
            }
            let mut again = after.clone();
            again.take(at(0), &two, &key).unwrap();
            assert_eq!(again.len(), 40, "cut after {cut}");
        }
    }
}
