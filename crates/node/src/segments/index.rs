//! Where every batch is, in memory.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use lct::{Digest, id::Cid, record::BatchStatement};

use super::{
    listing::Listed,
    table::{Covered, Row, Table, row},
};
use crate::error::Error;

/// Where a batch is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub first_seq: u32,
    pub file: u32,
    /// Of the frame in the file.
    pub offset: u32,
    /// Index in the frame.
    pub index: u16,
    pub count: u16,
}

impl Place {
    /// Number of the last record that it covers.
    pub fn last_seq(&self) -> u32 {
        // A statement covers at least one record and does not overflow.
        self.first_seq.saturating_add(u32::from(self.count).saturating_sub(1))
    }
}

/// Batches of a component that came since the start, by their first numbers. Most components are asked about their last one.
#[derive(Debug)]
struct Batches {
    last: Place,
    earlier: Vec<Place>,
}

impl Batches {
    /// The last batch that begins at `seq` or before.
    fn before(&self, seq: u32) -> Option<Place> {
        if self.last.first_seq <= seq {
            return Some(self.last);
        }
        let at = self.earlier.partition_point(|place| place.first_seq <= seq);
        self.earlier[..at].last().copied()
    }

    fn insert(&mut self, place: Place) {
        if place.first_seq >= self.last.first_seq {
            self.earlier.push(std::mem::replace(&mut self.last, place));
        } else {
            let at = self.earlier.partition_point(|other| other.first_seq <= place.first_seq);
            self.earlier.insert(at, place);
        }
    }

    /// Forgets those for which `keep` does not say so; whether any is left.
    fn retain(&mut self, keep: impl Fn(&Place) -> bool) -> bool {
        self.earlier.retain(|place| keep(place));
        if keep(&self.last) {
            return true;
        }
        match self.earlier.pop() {
            Some(place) => self.last = place,
            None => return false,
        }
        true
    }
}

/// Where everything is: what was there at the start in a table, what came since beside it.
#[derive(Debug, Default)]
pub(super) struct Index {
    table: Table,
    since: HashMap<Cid, Batches>,
    /// Batches.
    pub batches: usize,
    /// Records that are there.
    pub records: u64,
    /// The record files that hold all this, and how far each of them does.
    pub files: BTreeMap<u32, u64>,
    /// The file of the index holds something else.
    unwritten: bool,
}

impl Index {
    /// The index at `path`, if there is one that fits the record files: `fits` is told how far each is in it.
    pub fn read(
        path: &Path,
        chain_id: &Digest,
        fits: impl FnOnce(&[(u32, u64)]) -> Result<bool, Error>,
    ) -> Result<Option<Self>, Error> {
        let Some((table, Covered { records, files })) = Table::read(path, chain_id)? else {
            return Ok(None);
        };
        let index = || {
            let files = files.iter().copied().collect();
            Self { batches: table.len(), records, files, table, ..Self::default() }
        };
        Ok(fits(&files)?.then(index))
    }

    /// Takes in what a start found in the record files besides: batches of files, and records that are there.
    pub fn found(&mut self, rows: Vec<Row>, records: u64) {
        self.unwritten |= !rows.is_empty();
        self.batches += rows.len();
        self.records += records;
        self.table = std::mem::take(&mut self.table).with(rows);
    }

    /// Takes in a batch that was stored.
    pub fn note(&mut self, cid: Cid, place: Place, present: u64) {
        self.unwritten = true;
        self.batches += 1;
        self.records += present;
        match self.since.get_mut(&cid) {
            Some(batches) => batches.insert(place),
            None => {
                self.since.insert(cid, Batches { last: place, earlier: Vec::new() });
            }
        }
    }

    /// Whether it has as many batches and records as these.
    pub fn has<'a>(&self, batches: impl Iterator<Item = &'a Listed>) -> bool {
        self.without(batches).is_some()
    }

    /// How many batches and records there are besides these.
    fn without<'a>(&self, batches: impl Iterator<Item = &'a Listed>) -> Option<(usize, u64)> {
        let (count, records) =
            batches.fold((0, 0), |(count, records), one| (count + 1, records + u64::from(one.present)));
        Some((self.batches.checked_sub(count)?, self.records.checked_sub(records)?))
    }

    /// Forgets some files and all their batches, which these are; nothing where they are more than it has.
    pub fn forget<'a>(&mut self, files: &[u32], batches: impl Iterator<Item = &'a Listed>) -> Option<()> {
        let (left, records) = self.without(batches)?;
        if files.is_empty() {
            return Some(());
        }
        (self.batches, self.records, self.unwritten) = (left, records, true);
        self.files.retain(|number, _| !files.contains(number));
        let keep = |place: &Place| !files.contains(&place.file);
        self.since.retain(|_, batches| batches.retain(keep));
        self.table.retain(keep);
        Some(())
    }

    /// The last batch of a component that begins at `seq` or before.
    pub fn before(&self, cid: &Cid, seq: u32) -> Option<Place> {
        let since = self.since.get(cid).and_then(|batches| batches.before(seq));
        let both = [since, self.table.before(cid, seq)];
        both.into_iter().flatten().max_by_key(|place| place.first_seq)
    }

    /// The batch that covers one of the numbers of `s`.
    pub fn overlapping(&self, s: &BatchStatement) -> Option<Place> {
        let last = s.first_seq.saturating_add(u32::from(s.count).saturating_sub(1));
        self.before(&s.cid, last).filter(|place| place.last_seq() >= s.first_seq)
    }

    /// Writes the index to `path` if the file there is another one. It says which record files it is of, whatever is there
    /// by then: the next start judges whether they are those.
    pub fn write(&mut self, path: &Path, chain_id: &Digest) -> Result<(), Error> {
        if !std::mem::take(&mut self.unwritten) {
            return Ok(());
        }
        let since = std::mem::take(&mut self.since);
        let rows = since.iter().flat_map(|(cid, batches)| {
            batches.earlier.iter().chain([&batches.last]).map(move |place| row(cid, place))
        });
        self.table = std::mem::take(&mut self.table).with(rows.collect());
        let files = self.files.iter().map(|(number, end)| (*number, *end)).collect();
        self.table.write(path, chain_id, &Covered { records: self.records, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_is_not_forgotten() {
        let s = BatchStatement {
            cid: Cid([1; 16]),
            first_seq: 0,
            count: 5,
            root: [2; 32],
            first_ms: 1,
            last_ms: 2,
        };
        let listed = Listed::of(37, 0, &s, 5).unwrap();
        let more = Listed { present: 6, ..listed };
        let mut index = Index::default();
        index.note(s.cid, listed.place(1), 5);
        index.files.insert(1, 100);
        for others in [vec![listed, listed], vec![more]] {
            assert!(!index.has(others.iter()));
            assert!(index.forget(&[1], others.iter()).is_none());
            assert_eq!((index.batches, index.records, index.files.len()), (1, 5, 1));
            assert!(index.overlapping(&s).is_some());
        }
        index.forget(&[1], [&listed].into_iter()).unwrap();
        assert_eq!((index.batches, index.records, index.files.len()), (0, 0, 0));
        assert!(index.overlapping(&s).is_none());
    }
}
