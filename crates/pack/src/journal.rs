//! A device's audit chain: what is written, what waits for its keeper, and what vouches for it (`spec/channel.md`,
//! H120 to H124).

use crate::{
    identity::{Identity, Record, key},
    pdu::{self, Pdu},
    time::{Duration, Instant},
};
use lct::{
    Error,
    audit::{AuditChain, genesis},
    codec::Fields,
    journal::{
        CHECKPOINT_LEN, Checkpoint, Code, ENTRY_MAX, Entry, Gap, KEY_STATEMENT_LEN, KeyStatement,
        SEALED_KEY_LEN, seal_first_key,
    },
    secret::Secret,
    sign::SigningKey,
};
use rand_core::CryptoRng;

/// Entries that may wait for their keeper.
pub const PLACES: usize = 24;
/// Of these, how many the codes may fill that an outsider can cause.
pub const NOISE: usize = 12;
/// Shortest time between two entries of one code of noise.
const NOISE_PERIOD: Duration = Duration::from_secs(60);
/// How often what was told is repeated until it is acknowledged.
const REPEAT: Duration = Duration::from_secs(5);
/// Shortest time between two audit PDUs: a log never competes with what it reports about.
const PACE: Duration = Duration::from_millis(200);
/// Entries and time after which a checkpoint is due.
const CHECKPOINT_ENTRIES: u64 = 256;
const CHECKPOINT_TIME: Duration = Duration::from_secs(3_600);
/// Entries in one flash record.
const BLOCK: usize = 3;
const BLOCKS: usize = PLACES / BLOCK;
const ALL_BLOCKS: u16 = (1 << BLOCKS) - 1;

/// Second byte after the node of an audit PDU.
pub mod part {
    /// `n u64 | len u8 | entry | tag 16`.
    pub const ENTRY: u8 = 1;
    /// A checkpoint.
    pub const CHECKPOINT: u8 = 2;
    /// The key statement.
    pub const KEY: u8 = 3;
}

/// A part of a log as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPart {
    /// An entry; it is to be acknowledged once it is durable.
    Entry {
        /// Its number, from 1.
        number: u64,
        /// Its tag.
        tag: [u8; 16],
        /// See [`lct::journal::Entry`].
        entry: heapless::Vec<u8, ENTRY_MAX>,
    },
    /// A checkpoint, signed.
    Checkpoint([u8; CHECKPOINT_LEN]),
    /// The statement of the first key, signed.
    Key([u8; KEY_STATEMENT_LEN]),
}

/// By what a key statement is acknowledged: it stands before entry 1.
const KEY_KEPT: u64 = 0;
/// Marks the number of the last entry under a checkpoint where that is acknowledged.
const CHECKPOINT_KEPT: u64 = 1 << 63;

impl LogPart {
    /// By what its device learns that it is durable (H124).
    pub fn receipt(&self) -> u64 {
        match self {
            LogPart::Entry { number, .. } => *number,
            LogPart::Checkpoint(bytes) => {
                CHECKPOINT_KEPT | Checkpoint::read(bytes).map_or(0, |(point, _)| point.number)
            }
            LogPart::Key(_) => KEY_KEPT,
        }
    }

    /// Reads an audit PDU after its node byte.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let part = match f.u8()? {
            part::ENTRY => {
                let (number, len) = (f.u64()?, usize::from(f.u8()?));
                let entry = heapless::Vec::from_slice(f.slice(len)?).map_err(|_| Error::Malformed)?;
                LogPart::Entry { number, tag: f.array()?, entry }
            }
            part::CHECKPOINT => LogPart::Checkpoint(f.array()?),
            part::KEY => LogPart::Key(f.array()?),
            _ => return Err(Error::Malformed),
        };
        f.end()?;
        Ok(part)
    }
}

#[derive(Clone)]
struct Kept {
    number: u64,
    tag: [u8; 16],
    entry: heapless::Vec<u8, ENTRY_MAX>,
}

/// The chain of one device and what of it was not acknowledged.
pub struct Journal {
    chain: AuditChain,
    sealed: [u8; SEALED_KEY_LEN],
    acknowledged: u64,
    places: [Option<Kept>; PLACES],
    suppressed: u32,
    suppressed_told: Option<Instant>,
    noise: [Option<Instant>; NOISY.len()],
    /// Bit k: block k; [`HEAD`], [`KEY`]: those records.
    dirty: u16,
    /// The receipt that what was told last asks for, and when it was told.
    asked: Option<(u64, Instant)>,
    /// Nothing is sent before.
    next: Instant,
    covered: u64,
    uncovered_since: Option<Instant>,
    /// Until they are acknowledged.
    checkpoint_wanted: bool,
    key_wanted: bool,
    /// What was given up, until the next entry tells it.
    gap: Option<Gap>,
}

/// Written before the head: a first key that is there without its chain begins anew, a chain without its key cannot.
const KEY: u16 = 1 << BLOCKS;
const HEAD: u16 = KEY << 1;

/// What a peer or an outsider can cause at will: each at most once a minute.
const NOISY: [Code; 12] = [
    Code::HandshakeFailed,
    Code::LockedOut,
    Code::Refused,
    Code::RevocationRefused,
    Code::PolicyRefused,
    Code::RaiseRefused,
    Code::ClearRefused,
    Code::PduRefused,
    Code::EscalationOverflow,
    Code::BelowLevel,
    Code::DelegateRefused,
    Code::DelegationShown,
];

impl Journal {
    /// The chain of a device that starts. Without records a new one begins. When an entry is lost that nobody
    /// acknowledged, those that wait are given up (H127): its keeper could take none of those after it.
    pub fn start(
        own: &Identity,
        mut load: impl FnMut(u16) -> Option<Record>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let (head, sealed) = match (load(key::AUDIT_HEAD), load(key::AUDIT_KEY)) {
            (None, _) => return Self::begin(own, now, rng),
            (Some(head), Some(sealed)) => (head, sealed),
            (Some(_), None) => return Err(Error::Malformed),
        };
        let mut f = version(&head)?;
        let chain = AuditChain::restore(f.u64()?, f.array()?, Secret::new(f.array()?));
        f.end()?;
        let mut f = version(&sealed)?;
        let (sealed, acknowledged) = (f.array()?, f.u64()?);
        f.end()?;
        let mut journal = Self::of(chain, sealed, now);
        journal.acknowledged = acknowledged;
        for block in 0..BLOCKS {
            if let Some(bytes) = load(key::audit(block as u8)) {
                journal.restore_block(&bytes)?;
            }
        }
        let count = journal.count();
        if acknowledged > count {
            return Err(Error::Malformed);
        }
        let whole = count - acknowledged <= PLACES as u64
            && (acknowledged + 1..=count).all(|number| journal.places[place(number)].is_some());
        if !whole {
            journal.give_up();
        }
        Ok(journal)
    }

    /// A chain that begins.
    fn begin(own: &Identity, now: Instant, rng: &mut impl CryptoRng) -> Result<Self, Error> {
        let first = Secret::random(rng);
        let sealed = seal_first_key(&first, &own.cid(), &own.authority, rng)?;
        Ok(Journal { dirty: HEAD | KEY, ..Self::of(AuditChain::new(first), sealed, now) })
    }

    fn of(chain: AuditChain, sealed: [u8; SEALED_KEY_LEN], now: Instant) -> Self {
        Journal {
            covered: chain.head().0,
            chain,
            sealed,
            acknowledged: 0,
            places: core::array::from_fn(|_| None),
            suppressed: 0,
            suppressed_told: None,
            noise: [None; NOISY.len()],
            dirty: 0,
            asked: None,
            next: now,
            uncovered_since: None,
            checkpoint_wanted: false,
            key_wanted: false,
            gap: None,
        }
    }

    /// Gives up every entry that waits. The caller writes what `take_gap` tells as the next one.
    pub fn give_up(&mut self) {
        let (number, hash) = self.chain.head();
        self.gap = Some(Gap { first: self.acknowledged + 1, hash });
        (self.acknowledged, self.asked) = (number, None);
        self.places = core::array::from_fn(|_| None);
        // What is left in flash holds numbers that were acknowledged.
        self.dirty |= KEY;
    }

    /// This chain takes the place of one whose head cannot be read.
    pub(crate) fn begin_again(own: &Identity, now: Instant, rng: &mut impl CryptoRng) -> Result<Self, Error> {
        let gap = Some(Gap { first: 0, hash: genesis() });
        Ok(Journal { gap, dirty: HEAD | KEY | ALL_BLOCKS, ..Self::begin(own, now, rng)? })
    }

    /// What was given up and not told yet.
    pub(crate) fn take_gap(&mut self) -> Option<Gap> {
        self.gap.take()
    }

    /// The flash is erased: what waits is written once more.
    pub(crate) fn erased(&mut self) {
        self.dirty |= HEAD | KEY | ALL_BLOCKS;
    }

    fn restore_block(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut f = version(bytes)?;
        let n = f.u8()?;
        for _ in 0..n {
            let (number, tag, len) = (f.u64()?, f.array()?, usize::from(f.u8()?));
            let entry = heapless::Vec::from_slice(f.slice(len)?).map_err(|_| Error::Malformed)?;
            // An entry above the head was cut off before its head was written: it never happened.
            if number > self.acknowledged && number <= self.chain.head().0 {
                self.places[place(number)] = Some(Kept { number, tag, entry });
            }
        }
        f.end()
    }

    /// Number of the last entry.
    pub fn count(&self) -> u64 {
        self.chain.head().0
    }

    fn waiting(&self) -> usize {
        usize::try_from(self.count().saturating_sub(self.acknowledged)).unwrap_or(PLACES)
    }

    /// Writes an entry. What finds no room is counted and said later.
    pub fn write(&mut self, now: Instant, code: Code, entry: &Entry) {
        let noisy = NOISY.iter().position(|c| *c == code);
        if let Some(index) = noisy {
            if self.noise[index].is_some_and(|t| now < t + NOISE_PERIOD) {
                // H122: not written, so the next one of its code counts it too or it is suppressed.
                if code != Code::Refused {
                    self.suppressed = self.suppressed.saturating_add(1);
                }
                return;
            }
            self.noise[index] = Some(now);
        }
        if (noisy.is_some() || code == Code::EpochCounts) && self.waiting() >= NOISE {
            self.suppressed = self.suppressed.saturating_add(1);
            return;
        }
        // The last place is kept for saying that something is missing.
        let room = PLACES - usize::from(self.suppressed > 0 && code != Code::Suppressed);
        if self.waiting() >= room || self.append(now, entry).is_err() {
            self.suppressed = self.suppressed.saturating_add(1);
        }
    }

    /// The number of events that were not written, once there is room to say so, at most once a minute.
    pub fn take_suppressed(&mut self, now: Instant) -> Option<u32> {
        let due = self.suppressed > 0
            && self.waiting() < NOISE
            && self.suppressed_told.is_none_or(|t| t + NOISE_PERIOD <= now);
        due.then(|| {
            self.suppressed_told = Some(now);
            core::mem::take(&mut self.suppressed)
        })
    }

    fn append(&mut self, now: Instant, entry: &Entry) -> Result<(), Error> {
        let bytes = entry.encode()?;
        let link = self.chain.append(&bytes)?;
        let at = place(link.number);
        self.places[at] = Some(Kept { number: link.number, tag: link.tag, entry: bytes });
        self.dirty |= HEAD | 1 << (at / BLOCK);
        self.uncovered_since.get_or_insert(now);
        Ok(())
    }

    /// The keeper has the part with this receipt; of entries everything up to it.
    pub fn acknowledge(&mut self, receipt: u64) {
        self.key_wanted &= receipt != KEY_KEPT;
        self.checkpoint_wanted &= receipt != CHECKPOINT_KEPT | self.count();
        if receipt <= self.acknowledged || receipt > self.count() {
            return;
        }
        self.acknowledged = receipt;
        self.asked = None;
        self.dirty |= KEY;
        for kept in &mut self.places {
            if kept.as_ref().is_some_and(|k| k.number <= receipt) {
                *kept = None;
            }
        }
    }

    /// The channel to the keeper came up: it is told the key again, and the oldest entry, from `first` on.
    pub fn channel_up(&mut self, first: Instant) {
        (self.asked, self.next) = (None, self.next.max(first));
        (self.key_wanted, self.checkpoint_wanted) = (true, self.covered < self.count() || self.covered > 0);
    }

    /// A good moment for a checkpoint: what was switched on is off.
    pub fn stopped(&mut self) {
        self.checkpoint_wanted |= self.covered < self.count();
    }

    /// What is to be told next, by the receipt that it asks for, and not before when. One thing at a time is under way.
    fn turn(&self) -> Option<(u64, Instant)> {
        let (count, oldest) = (self.count(), self.acknowledged + 1);
        let many = self.checkpoint_wanted || count - self.covered >= CHECKPOINT_ENTRIES;
        let (receipt, from) = if self.key_wanted {
            (KEY_KEPT, Instant::START)
        } else if oldest <= count {
            (oldest, Instant::START)
        } else {
            // H123: whoever has a checkpoint has the entries that it covers.
            let long = self.uncovered_since.map(|t| t + CHECKPOINT_TIME);
            let from = if many { Some(Instant::START) } else { long };
            (CHECKPOINT_KEPT | count, from.filter(|_| count > 0)?)
        };
        let again = self.asked.filter(|(told, _)| *told == receipt).map(|(_, at)| at + REPEAT);
        Some((receipt, again.unwrap_or(from).max(self.next)))
    }

    /// When [`Journal::poll`] has something, while the channel stands.
    pub fn due(&self) -> Option<Instant> {
        self.turn().map(|(_, from)| from)
    }

    /// The next thing for the keeper, as the audit PDU after its node byte.
    pub fn poll(
        &mut self,
        now: Instant,
        own: &Identity,
        time: u32,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Pdu>, Error> {
        let Some((receipt, _)) = self.turn().filter(|(_, from)| *from <= now) else { return Ok(None) };
        (self.next, self.asked) = (now + PACE, Some((receipt, now)));
        if receipt == KEY_KEPT {
            let statement = KeyStatement { cid: own.cid(), sealed: self.sealed }.issue(key, rng);
            return pdu::build(&[&[part::KEY], &statement]).map(Some);
        }
        if receipt & CHECKPOINT_KEPT == 0 {
            let Some(kept) = &self.places[place(receipt)] else { return Ok(None) };
            let (number, len) = (kept.number.to_be_bytes(), [kept.entry.len() as u8]);
            return pdu::build(&[&[part::ENTRY], &number, &len, &kept.entry, &kept.tag]).map(Some);
        }
        let (number, hash) = self.chain.head();
        (self.checkpoint_wanted, self.covered, self.uncovered_since) = (true, number, None);
        let point = Checkpoint { cid: own.cid(), number, hash, time };
        pdu::build(&[&[part::CHECKPOINT], &point.issue(key, rng)]).map(Some)
    }

    /// The next record to write: entries first, then the head that makes them count.
    pub(crate) fn record(&mut self) -> Option<Record> {
        if self.dirty == 0 {
            return None;
        }
        let bit = self.dirty.trailing_zeros();
        self.dirty &= self.dirty - 1;
        match 1u16 << bit {
            HEAD => {
                let (number, hash) = self.chain.head();
                let number = number.to_be_bytes();
                Record::new(key::AUDIT_HEAD, &[&[1], &number, &hash, self.chain.key().expose()]).ok()
            }
            KEY => {
                let acknowledged = self.acknowledged.to_be_bytes();
                Record::new(key::AUDIT_KEY, &[&[1], &self.sealed, &acknowledged]).ok()
            }
            _ => self.block(bit as usize).ok(),
        }
    }

    fn block(&self, block: usize) -> Result<Record, Error> {
        let kept = self.places.iter().skip(block * BLOCK).take(BLOCK).flatten();
        let mut record = Record::new(key::audit(block as u8), &[&[1, kept.clone().count() as u8]])?;
        for k in kept {
            for part in [&k.number.to_be_bytes()[..], &k.tag, &[k.entry.len() as u8], &k.entry] {
                record.value.extend_from_slice(part).map_err(|_| Error::BufferTooSmall)?;
            }
        }
        Ok(record)
    }
}

fn place(number: u64) -> usize {
    (number.saturating_sub(1) % PLACES as u64) as usize
}

fn version(bytes: &[u8]) -> Result<Fields<'_>, Error> {
    let mut f = Fields::new(bytes);
    if f.u8()? == 1 { Ok(f) } else { Err(Error::Malformed) }
}
