//! The tree of a batch (`spec/ledger.md`, L5 and L41), its records hashed several at a time.

use lct::{
    Digest,
    merkle::{TOGETHER, leaf_hash, leaf_hashes, root_in_place},
    record::BATCH_MAX,
};

/// Leaves in the order of their records.
pub(super) struct Leaves<'a> {
    leaves: Vec<Digest>,
    /// Records that are not hashed yet, and their places among the leaves.
    records: [&'a [u8]; TOGETHER],
    places: [usize; TOGETHER],
    waiting: usize,
}

impl Default for Leaves<'_> {
    fn default() -> Self {
        let leaves = Vec::with_capacity(BATCH_MAX.into());
        Self { leaves, records: [&[]; TOGETHER], places: [0; TOGETHER], waiting: 0 }
    }
}

impl<'a> Leaves<'a> {
    /// The next one is that of a record.
    pub fn record(&mut self, record: &'a [u8]) {
        (self.records[self.waiting], self.places[self.waiting]) = (record, self.leaves.len());
        self.leaves.push([0; 32]);
        self.waiting += 1;
        if self.waiting == TOGETHER {
            self.waiting = 0;
            for (place, leaf) in self.places.into_iter().zip(leaf_hashes(self.records)) {
                self.leaves[place] = leaf;
            }
        }
    }

    /// The next one is that of a record which is not there.
    pub fn leaf(&mut self, leaf: Digest) {
        self.leaves.push(leaf);
    }

    /// The root over all of them.
    pub fn root(mut self) -> Digest {
        for (place, record) in self.places.into_iter().zip(self.records).take(self.waiting) {
            self.leaves[place] = leaf_hash(record);
        }
        root_in_place(&mut self.leaves)
    }
}

#[cfg(test)]
mod tests {
    use lct::merkle;

    use super::*;

    /// Of every length, with every third record missing and with none.
    #[test]
    fn records_hashed_together_stay_in_their_places() {
        let records: Vec<Vec<u8>> = (0..100_u8).map(|i| vec![i; usize::from(i) * 3]).collect();
        for n in 0..=records.len() {
            for missing in [3, usize::MAX] {
                let mut leaves = Leaves::default();
                let mut expected = Vec::new();
                for (i, record) in records[..n].iter().enumerate() {
                    if i % missing == 1 {
                        leaves.leaf([i as u8; 32]);
                        expected.push([i as u8; 32]);
                    } else {
                        leaves.record(record);
                        expected.push(leaf_hash(record));
                    }
                }
                assert_eq!(leaves.root(), merkle::root(&expected), "{n} leaves");
            }
        }
    }
}
