//! All batches of all record files in one file that a start reads at once (`spec/ledger.md`, L258).
//!
//! ```text
//! index = "MBSI" || 01 || chain id 32 || u64 records || u32 files || file .. || row .. || H
//! file  = u32 number || u64 end
//! row   = cid 16 || u32 first seq || u16 count || u16 index || u32 file || u32 offset
//! H     = H(everything before the rows || H(32 768 rows) ..)
//! ```
//!
//! Rows ascend by component and first number, and stay in memory as they stand in the file: a start hashes them and looks at
//! each once, and makes nothing of any of them. Like a listing it holds nothing that the record files do not; one that does not
//! fit them is not used.

use std::{fs, io, path::Path};

use lct::{
    Digest,
    codec::Fields,
    hash::{Hasher, sha256},
    id::Cid,
};

use super::index::Place;
use crate::{cores, error::Error};

const MAGIC: &[u8; 5] = b"MBSI\x01";
/// Length of what stands before the files.
const HEADER: usize = 5 + 32 + 8 + 4;
/// Length of a file.
const FILE: usize = 4 + 8;
/// Length of a row.
pub(super) const ROW: usize = 32;
/// Length of what rows are sorted by.
const KEY: usize = 16 + 4;
/// Bytes of rows that are hashed together.
const PART: usize = ROW << 15;
/// Rows to each beginning of a component's id, about: those are searched.
const SHARE: usize = 8;

/// A batch as the index has it.
pub(super) type Row = [u8; ROW];

/// The row of a batch.
pub(super) fn row(cid: &Cid, place: &Place) -> Row {
    let Place { first_seq, file, offset, index, count } = place;
    let mut row = [0; ROW];
    row[..16].copy_from_slice(&cid.0);
    row[16..KEY].copy_from_slice(&first_seq.to_be_bytes());
    row[20..22].copy_from_slice(&count.to_be_bytes());
    row[22..24].copy_from_slice(&index.to_be_bytes());
    row[24..28].copy_from_slice(&file.to_be_bytes());
    row[28..].copy_from_slice(&offset.to_be_bytes());
    row
}

fn place(row: &Row) -> Place {
    let long = |at: usize| u32::from_be_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
    let short = |at: usize| u16::from_be_bytes([row[at], row[at + 1]]);
    Place { first_seq: long(16), count: short(20), index: short(22), file: long(24), offset: long(28) }
}

fn key(cid: &Cid, seq: u32) -> [u8; KEY] {
    let mut key = [0; KEY];
    key[..16].copy_from_slice(&cid.0);
    key[16..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Batches, sorted.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The rows, from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// How many of the first 32 bits of a component's id tell where its rows are.
    bits: u32,
    /// Where the rows of each such beginning end.
    ends: Vec<usize>,
}

/// What of the record files an index holds.
pub(super) struct Covered {
    /// Records of all batches.
    pub records: u64,
    /// Record files, and how far each is in the index.
    pub files: Vec<(u32, u64)>,
}

impl Table {
    /// Rows that are sorted, from `at` on.
    fn of(bytes: Vec<u8>, at: usize) -> Self {
        let mut table = Self { bytes, at, bits: 0, ends: Vec::new() };
        let bits = (table.len() / SHARE).checked_ilog2().map_or(0, |n| n.min(28));
        let mut ends = vec![0; 1 << bits];
        for (n, row) in (1..).zip(table.rows()) {
            ends[beginning(row, bits)] = n;
        }
        // A beginning that no id has ends where the one before it does.
        let mut end = 0;
        for one in &mut ends {
            end = end.max(*one);
            *one = end;
        }
        (table.bits, table.ends) = (bits, ends);
        table
    }

    fn rows(&self) -> &[Row] {
        self.bytes.get(self.at..).unwrap_or_default().as_chunks().0
    }

    /// How many batches.
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// The last batch of a component that begins at `seq` or before.
    pub fn before(&self, cid: &Cid, seq: u32) -> Option<Place> {
        let key = key(cid, seq);
        let share = beginning(&key, self.bits);
        let to = *self.ends.get(share)?;
        let from = share.checked_sub(1).map_or(0, |before| self.ends[before]);
        let rows = self.rows().get(from..to)?;
        let at = rows.partition_point(|row| row[..KEY] <= key[..]);
        rows[..at].last().filter(|row| row[..16] == cid.0).map(place)
    }

    /// These batches and others, which come in any order.
    pub fn with(self, mut others: Vec<Row>) -> Self {
        if others.is_empty() {
            return self;
        }
        others.sort_unstable();
        let mut merged = Vec::with_capacity((self.len() + others.len()) * ROW);
        let mut others = others.as_slice();
        for row in self.rows() {
            let before = others.iter().take_while(|other| *other < row).count();
            let (before, rest) = others.split_at(before);
            merged.extend_from_slice(before.as_flattened());
            merged.extend_from_slice(row);
            others = rest;
        }
        merged.extend_from_slice(others.as_flattened());
        Self::of(merged, 0)
    }

    /// Forgets those for which `keep` does not say so.
    pub fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        let mut kept = Vec::with_capacity(self.len() * ROW);
        for row in self.rows().iter().filter(|row| keep(&place(row))) {
            kept.extend_from_slice(row);
        }
        *self = Self::of(kept, 0);
    }

    /// The index at `path`, if there is one that can be used.
    pub fn read(path: &Path, chain_id: &Digest) -> Result<Option<(Self, Covered)>, Error> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::from_bytes(bytes, chain_id)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    fn from_bytes(mut bytes: Vec<u8>, chain_id: &Digest) -> Option<(Self, Covered)> {
        let hash = *bytes.split_last_chunk::<32>()?.1;
        bytes.truncate(bytes.len() - hash.len());
        let mut f = Fields::new(bytes.strip_prefix(MAGIC)?.strip_prefix(chain_id.as_slice())?);
        let records = f.u64().ok()?;
        let count = f.u32().ok()? as usize;
        let at = count.checked_mul(FILE)?.checked_add(HEADER)?;
        let (header, rows) = bytes.split_at_checked(at)?;
        if !rows.len().is_multiple_of(ROW) || check(header, rows) != hash {
            return None;
        }
        let files = (0..count).map(|_| Ok((f.u32()?, f.u64()?))).collect::<Result<_, lct::Error>>().ok()?;
        let table = Self::of(bytes, at);
        table.rows().is_sorted_by_key(|row| &row[..KEY]).then_some((table, Covered { records, files }))
    }

    /// Writes the index. It is not synced: what a crash leaves of it is not used.
    pub fn write(&self, path: &Path, chain_id: &Digest, covered: &Covered) -> Result<(), Error> {
        let mut header = [MAGIC.as_slice(), chain_id, &covered.records.to_be_bytes()].concat();
        // A folder with more than 2^32 files has none of them numbered.
        header.extend_from_slice(&(covered.files.len() as u32).to_be_bytes());
        for (number, end) in &covered.files {
            header.extend_from_slice(&number.to_be_bytes());
            header.extend_from_slice(&end.to_be_bytes());
        }
        let rows = self.rows().as_flattened();
        let new = path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&new)?;
            for part in [&header, rows, &check(&header, rows)] {
                io::Write::write_all(&mut file, part)?;
            }
            fs::rename(&new, path)
        };
        write().map_err(|e| Error::io(path, e))
    }
}

/// The first `bits` bits of a component's id, with which rows and keys begin.
fn beginning(of: &[u8], bits: u32) -> usize {
    let first = of.first_chunk().map_or(0, |first| u32::from_be_bytes(*first));
    // With no bit there is one share.
    first.checked_shr(32 - bits).unwrap_or(0) as usize
}

fn check(header: &[u8], rows: &[u8]) -> Digest {
    let parts: Vec<_> = rows.chunks(PART).collect();
    let mut hasher = Hasher::new();
    hasher.update(header);
    cores::map(&parts, 1, |part| sha256(&[part])).iter().for_each(|hash| hasher.update(hash));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use rand_chacha::{
        ChaCha20Rng,
        rand_core::{Rng, SeedableRng},
    };

    use super::*;

    const CHAIN: Digest = [7; 32];

    /// Batches of components whose ids begin alike and of others, some with many.
    fn batches(n: usize) -> Vec<(Cid, Place)> {
        let mut rng = ChaCha20Rng::seed_from_u64(n as u64);
        let one = |i: usize| {
            let (id, seq) = (rng.next_u32() % 60, rng.next_u32() % 1_000);
            let mut cid = [id as u8; 16];
            if id < 20 {
                cid[..4].fill(0xAB);
            }
            (
                Cid(cid),
                Place { first_seq: seq * 5, count: 5, index: i as u16, file: 1 + i as u32 % 3, offset: 37 },
            )
        };
        let mut all: Vec<_> = (0..n).map(one).collect();
        all.sort_by_key(|(cid, place)| (*cid, place.first_seq));
        all.dedup_by_key(|(cid, place)| (*cid, place.first_seq));
        all
    }

    fn rows(batches: &[(Cid, Place)]) -> Vec<Row> {
        batches.iter().map(|(cid, place)| row(cid, place)).collect()
    }

    /// It finds what a look at all of them finds.
    fn check(table: &Table, batches: &[(Cid, Place)]) {
        assert_eq!(table.rows(), rows(batches));
        for id in 0..60 {
            for begin in [id, 0xAB] {
                let mut cid = [id; 16];
                cid[..4].fill(begin);
                for seq in [0, 4, 5, 1_234, 2_500, 4_995, u32::MAX] {
                    let mut of = batches.iter().filter(|(of, place)| of.0 == cid && place.first_seq <= seq);
                    let expected = of.next_back().map(|(cid, place)| row(cid, place));
                    let found = table.before(&Cid(cid), seq).map(|place| row(&Cid(cid), &place));
                    assert_eq!(found, expected, "{cid:?} {seq}");
                }
            }
        }
    }

    #[test]
    fn every_batch_is_found_however_the_rows_came_together() {
        assert!(Table::default().before(&Cid([0; 16]), 1).is_none());
        for n in [1, 7, 16, 40, 900] {
            let all = batches(n);
            let (even, odd): (Vec<_>, Vec<_>) =
                rows(&all).into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
            let half = |part: Vec<(usize, Row)>| part.into_iter().rev().map(|(_, row)| row).collect();
            let mut table = Table::default().with(half(even)).with(half(odd));
            check(&table, &all);
            table.retain(|place| place.file != 2);
            check(&table, &all.into_iter().filter(|(_, place)| place.file != 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_index_is_read_as_it_was_written_or_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        assert!(Table::read(&path, &CHAIN).unwrap().is_none());
        let all = batches(300);
        let covered = Covered { records: 1_500, files: vec![(1, 37), (2, 1 << 40)] };
        Table::default().with(rows(&all)).write(&path, &CHAIN, &covered).unwrap();
        let (table, found) = Table::read(&path, &CHAIN).unwrap().unwrap();
        check(&table, &all);
        assert_eq!((found.records, found.files), (covered.records, covered.files));
        assert!(Table::read(&path, &[8; 32]).unwrap().is_none(), "another chain's");
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7).chain(whole.len() - 40..whole.len()) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            for bytes in [damaged, whole[..at].to_vec()] {
                assert!(Table::from_bytes(bytes, &CHAIN).is_none(), "{at}");
            }
        }
        // Rows that are not in order, under a hash that fits.
        let table = Table::of(rows(&all).into_iter().rev().flatten().collect(), 0);
        table.write(&path, &CHAIN, &Covered { records: 0, files: Vec::new() }).unwrap();
        assert!(Table::read(&path, &CHAIN).unwrap().is_none());
    }
}
