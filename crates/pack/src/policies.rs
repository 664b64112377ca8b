//! The policies that a device holds beside that of the factory (`spec/channel.md`, H111 to H113).
//!
//! A device holds at most [`PLACES`]: that of pairings in force, and one that waits for them. Which one a
//! relationship is under says the relationship; a place that none names is free.

use crate::{
    can::Bus,
    identity::{Record, key},
    policy::{self, Entry, MinLevel, TABLE},
    time::{Duration, Instant},
};
use lct::{
    Digest, Error,
    codec::Fields,
    metadata::{LinkParameters, policy_hash},
    policy::{FACTORY_VERSION, Policy, ROWS_MAX, Rotation, Rows},
};

/// Policies that a device holds beside that of the factory.
pub const PLACES: usize = 2;
/// Rows in the first of the two records of a policy.
const ROWS_FIRST: usize = 24;
/// Shortest time between two messages about a policy whose signatures are verified.
const PERIOD: Duration = Duration::from_secs(1);
const FLAGS: u8 =
    policy::MAY_STAY_CLEAR | policy::COMMISSIONING_WINDOW | policy::NEEDS_ENVELOPE | policy::A_TO_B_ONLY;

/// A class table as devices judge by it.
pub type Table = heapless::Vec<Entry, ROWS_MAX>;

/// Why a message about a policy was refused: the status byte of `19 82`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// A signature does not verify.
    NotAuthentic = 1,
    /// It names other entities than those of a binding in force.
    WrongParty = 2,
    /// The version is not above the highest held, belongs to another policy, or a pairing is under way.
    Version = 3,
    /// Not readable: lengths, periods, order of the rows, unknown minimum or flag.
    Malformed = 4,
    /// It changes or lacks a row that is the same in every policy.
    FixedRow = 5,
    /// Pairings under two other policies are in force: they are to be made anew first.
    NoPlace = 6,
    /// The assurance of the binding does not allow it (H79).
    NotAssured = 7,
    /// More than level 6 is asked for in this relationship.
    Escalated = 8,
}

impl Reason {
    /// The reason with this status byte.
    pub fn from_code(code: u8) -> Option<Self> {
        use Reason::{
            Escalated, FixedRow, Malformed, NoPlace, NotAssured, NotAuthentic, Version, WrongParty,
        };
        let known = [NotAuthentic, WrongParty, Version, Malformed, FixedRow, NoPlace, NotAssured, Escalated];
        known.into_iter().find(|reason| *reason as u8 == code)
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Reason::NotAuthentic => "a signature does not verify",
            Reason::WrongParty => "it is for another binding",
            Reason::Version => "its version is not above the one agreed to, or a handshake is under way",
            Reason::Malformed => "it is not readable",
            Reason::FixedRow => "it changes a row that is the same in every policy",
            Reason::NoPlace => "two other policies are in use",
            Reason::NotAssured => "the assurance of the binding does not allow it: bind again with b1 or b2",
            Reason::Escalated => "a binding validation (level 7) is asked for first",
        })
    }
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        match error {
            Error::Malformed | Error::BufferTooSmall => Reason::Malformed,
            _ => Reason::NotAuthentic,
        }
    }
}

/// Bases whose rows are the same in every policy: security PDUs, discovery, and the stop of everything (H113).
const FIXED: [(Bus, u16); 10] = [
    (Bus::Can1, 0x406),
    (Bus::Can1, 0x40C),
    (Bus::Can1, 0x4AC),
    (Bus::Can2, 0x500),
    (Bus::Can2, 0x50C),
    (Bus::Can2, 0x510),
    (Bus::Can2, 0x51D),
    (Bus::Can2, 0x51E),
    (Bus::Can2, 0x51F),
    (Bus::Can2, 0x52C),
];

fn minimum(code: u8) -> Result<MinLevel, Error> {
    use MinLevel::{Bind, Clear, Dev, Exch, GroupOrPair, Never, Pair, PairSigned};
    let known = [Clear, Dev, Exch, Pair, PairSigned, Bind, GroupOrPair, Never];
    known.into_iter().find(|level| *level as u8 == code).ok_or(Error::Malformed)
}

fn entries(rows: &Rows) -> Result<Table, Error> {
    let mut table = Table::new();
    for row in rows {
        let [f0, f1, l0, l1, flags, factory, bootstrap, paired] = *row;
        if flags & !FLAGS != 0 {
            return Err(Error::Malformed);
        }
        let entry = Entry {
            first: u16::from_be_bytes([f0, f1]),
            last: u16::from_be_bytes([l0, l1]),
            flags,
            factory: minimum(factory)?,
            bootstrap: minimum(bootstrap)?,
            paired: minimum(paired)?,
        };
        table.push(entry).map_err(|_| Error::Malformed)?;
    }
    Ok(table)
}

/// Reads a class table whose rows ascend, and judges it (H113).
///
/// # Errors
/// [`Reason::Malformed`], [`Reason::FixedRow`].
pub fn read_table(rows: &Rows) -> Result<Table, Reason> {
    let table = entries(rows)?;
    let class = |table: &[Entry], bus, base| {
        policy::entry_in(table, bus, base).map(|e| (e.flags, e.factory, e.bootstrap, e.paired))
    };
    let fixed = FIXED.iter().all(|(bus, base)| class(&table, *bus, *base) == class(&TABLE, *bus, *base));
    if fixed { Ok(table) } else { Err(Reason::FixedRow) }
}

/// The rows of the table of the factory, to begin a new policy with.
pub fn factory_rows() -> Rows {
    TABLE.iter().map(|entry| entry.to_bytes()).collect()
}

/// What a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'a> {
    /// Its version.
    pub version: u32,
    /// Periods.
    pub rotation: Rotation,
    /// Class table.
    pub table: &'a [Entry],
}

impl Terms<'static> {
    /// Those of the factory.
    pub const FACTORY: Terms<'static> =
        Terms { version: FACTORY_VERSION, rotation: Rotation::FACTORY, table: &TABLE };
}

impl Terms<'_> {
    /// The hash of table and parameters for the first transcript of a handshake (H55); `iv_seed` is the pairing's.
    pub fn hash(&self, iv_seed: [u8; 16]) -> Result<Digest, Error> {
        let mut bytes = heapless::Vec::<u8, { 2 + ROWS_MAX * Entry::LEN }>::new();
        let count = (self.table.len() as u16).to_be_bytes();
        bytes.extend_from_slice(&count).map_err(|_| Error::BufferTooSmall)?;
        for entry in self.table {
            bytes.extend_from_slice(&entry.to_bytes()).map_err(|_| Error::BufferTooSmall)?;
        }
        let rotation_days = self.rotation.link_days;
        Ok(policy_hash(&bytes, &LinkParameters { iv_seed, kdf: 1, aead: 1, rotation_days }))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    version: u32,
    rotation: Rotation,
    table: Table,
}

impl Held {
    fn terms(&self) -> Terms<'_> {
        Terms { version: self.version, rotation: self.rotation, table: &self.table }
    }

    /// `1 | version u32 | periods 24 | rows in all u8 | rows 0 to 23`, and for the rows behind them `1 | version u32 |
    /// rows`. The first record is written last: without it the place is empty.
    fn records(&self, place: u8) -> Result<[Option<Record>; 2], Error> {
        let (version, periods) = (self.version.to_be_bytes(), self.rotation.to_bytes());
        let mut rows = heapless::Vec::<u8, { ROWS_MAX * Entry::LEN }>::new();
        for entry in &self.table {
            rows.extend_from_slice(&entry.to_bytes()).map_err(|_| Error::BufferTooSmall)?;
        }
        let (first, rest) = rows.split_at(rows.len().min(ROWS_FIRST * Entry::LEN));
        let count = [self.table.len() as u8];
        let second = Record::new(key::policy(place, 1), &[&[1], &version, rest])?;
        let head = Record::new(key::policy(place, 0), &[&[1], &version, &periods, &count, first])?;
        Ok([Some(second).filter(|_| !rest.is_empty()), Some(head)])
    }

    /// `None` for records that do not belong together: their writing was cut off, and nothing ever named them.
    fn restore(place: u8, load: &mut impl FnMut(u16) -> Option<Record>) -> Result<Option<Self>, Error> {
        let Some(head) = load(key::policy(place, 0)).filter(|record| !record.is_empty()) else {
            return Ok(None);
        };
        let mut f = Fields::new(&head);
        let (format, version) = (f.u8()?, f.u32()?);
        let rotation = Rotation::from_bytes(&f.array()?)?;
        let count = usize::from(f.u8()?);
        if format != 1 || count > ROWS_MAX {
            return Err(Error::Malformed);
        }
        let mut rows = Rows::new();
        for _ in 0..count.min(ROWS_FIRST) {
            rows.push(f.array()?).map_err(|_| Error::Malformed)?;
        }
        f.end()?;
        if count > ROWS_FIRST {
            let Some(rest) = load(key::policy(place, 1)) else { return Ok(None) };
            let mut f = Fields::new(&rest);
            if f.u8()? != 1 || f.u32()? != version {
                return Ok(None);
            }
            for _ in ROWS_FIRST..count {
                rows.push(f.array()?).map_err(|_| Error::Malformed)?;
            }
            f.end()?;
        }
        Ok(Some(Held { version, rotation, table: entries(&rows)? }))
    }
}

/// The policies held.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    places: [Option<Held>; PLACES],
    verified: Option<Instant>,
}

impl Policies {
    /// Reads what `load` finds; nothing stored is a device that has the policy of the factory only.
    pub fn restore(mut load: impl FnMut(u16) -> Option<Record>) -> Result<Self, Error> {
        let mut held = Policies::default();
        for (place, kept) in (0..).zip(held.places.iter_mut()) {
            *kept = Held::restore(place, &mut load)?;
        }
        Ok(held)
    }

    /// What the policy of this version says, if it is held.
    pub fn terms(&self, version: u32) -> Option<Terms<'_>> {
        if version == FACTORY_VERSION {
            return Some(Terms::FACTORY);
        }
        self.places.iter().flatten().map(Held::terms).find(|terms| terms.version == version)
    }

    /// Which places hold one of these versions.
    pub(crate) fn used(&self, versions: impl IntoIterator<Item = u32>) -> [bool; PLACES] {
        let mut used = [false; PLACES];
        for version in versions {
            for (place, used) in self.places.iter().zip(used.iter_mut()) {
                *used |= place.as_ref().is_some_and(|held| held.version == version);
            }
        }
        used
    }

    /// Whether signatures may be verified now: once in a while, whoever asks.
    pub(crate) fn may_verify(&mut self, now: Instant) -> bool {
        let rested = self.verified.is_none_or(|last| now >= last + PERIOD);
        if rested {
            self.verified = Some(now);
        }
        rested
    }

    /// Holds a verified policy in a place that is not `used`; returns what is to be stored, in order.
    pub(crate) fn hold(
        &mut self,
        policy: &Policy,
        table: Table,
        used: [bool; PLACES],
    ) -> Result<[Option<Record>; 2], Reason> {
        let new = Held { version: policy.version, rotation: policy.rotation, table };
        let same = |held: &Option<Held>| held.as_ref().is_some_and(|held| held.version == new.version);
        let place = match self.places.iter().position(same) {
            Some(place) if self.places[place].as_ref() == Some(&new) => return Ok([None, None]),
            Some(place) if used[place] => return Err(Reason::Version),
            Some(place) => place,
            None => used.iter().position(|used| !used).ok_or(Reason::NoPlace)?,
        };
        let records = new.records(place as u8)?;
        self.places[place] = Some(new);
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use lct::id::Cid;
    use std::collections::BTreeMap;

    fn policy(version: u32, rows: Rows) -> Policy {
        Policy { version, entities: [Cid([1; 16]), Cid([2; 16])], rotation: Rotation::FACTORY, rows }
    }

    #[test]
    fn the_factory_table_reads_back_and_hashes_the_same() {
        let table = read_table(&factory_rows()).unwrap();
        assert_eq!(table[..], TABLE);
        let read = Terms { table: &table, ..Terms::FACTORY };
        let parameters = LinkParameters { iv_seed: [7; 16], kdf: 1, aead: 1, rotation_days: 30 };
        assert_eq!(read.hash([7; 16]), Ok(policy_hash(&policy::table_bytes(), &parameters)));
        let days = Rotation { link_days: 31, ..Rotation::FACTORY };
        assert_ne!(Terms { rotation: days, ..read }.hash([7; 16]), read.hash([7; 16]));
    }

    #[test]
    fn fixed_rows_may_be_split_or_joined_and_never_changed() {
        for (bus, base) in FIXED {
            let at = TABLE.iter().position(|e| (e.first..=e.last).contains(&base)).unwrap();
            let mut rows = factory_rows();
            rows.remove(at);
            assert_eq!(read_table(&rows), Err(Reason::FixedRow), "{bus} {base:x} left out");
            for byte in 5..8 {
                let mut rows = factory_rows();
                rows[at][byte] = if rows[at][byte] == 0 { 3 } else { 0 };
                assert_eq!(read_table(&rows), Err(Reason::FixedRow), "{bus} {base:x} byte {byte}");
            }
            let mut rows = factory_rows();
            rows[at][4] ^= policy::A_TO_B_ONLY;
            assert_eq!(read_table(&rows), Err(Reason::FixedRow), "{bus} {base:x} flags");
        }
        let mut rows = factory_rows();
        let at = rows.iter().position(|row| row[..2] == [0x05, 0x1E]).unwrap();
        rows[at][3] = 0x1E;
        let mut rest = rows[at];
        (rest[1], rest[3]) = (0x1F, 0x1F);
        rows.insert(at + 1, rest).unwrap();
        assert!(read_table(&rows).is_ok(), "the same in two rows");
    }

    /// Two tables lie in flash, in use is never overwritten, and a write that was cut off leaves a free place.
    #[test]
    fn places_survive_a_start_and_are_not_taken_away() {
        let mut rows = factory_rows();
        let table = |rows: &Rows| read_table(rows).unwrap();
        let (two, three) = (policy(2, rows.clone()), policy(3, rows.clone()));
        let mut held = Policies::default();
        let mut flash = BTreeMap::new();
        let mut keep = |records: [Option<Record>; 2]| {
            for record in records.into_iter().flatten() {
                flash.insert(record.key, record);
            }
            flash.clone()
        };
        keep(held.hold(&two, table(&rows), [false; 2]).unwrap());
        let used = held.used([1, 2]);
        assert_eq!(used, [true, false]);
        let flash = keep(held.hold(&three, table(&rows), used).unwrap());
        let read = |flash: &BTreeMap<u16, Record>| Policies::restore(|key| flash.get(&key).cloned()).unwrap();
        assert_eq!(read(&flash).places, held.places);
        let used = held.used([2, 3]);
        let refused = held.hold(&policy(4, rows.clone()), table(&rows), used).unwrap_err();
        assert_eq!(refused, Reason::NoPlace);
        // Another table under a version in use.
        rows[0][7] = 2;
        let refused = held.hold(&policy(2, rows.clone()), table(&rows), used).unwrap_err();
        assert_eq!(refused, Reason::Version);
        let before = held.clone();
        let [first, last] = held.hold(&policy(4, rows.clone()), table(&rows), [true, false]).unwrap();
        for written in [1, 2] {
            let mut cut = flash.clone();
            for record in [&first, &last].into_iter().flatten().take(written) {
                cut.insert(record.key, record.clone());
            }
            let restored = read(&cut);
            assert_eq!(restored.places[0], before.places[0]);
            let expected = if written == 1 { None } else { Some(4) };
            assert_eq!(restored.places[1].as_ref().map(|held| held.version), expected);
        }
    }
}
