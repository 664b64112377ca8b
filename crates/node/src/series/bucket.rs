//! What the records of a span of time came to.

use lct::record::{Record, VALUES_MAX};
use ledger::codec::{Canonical, FormatError, Reader, Writer};

/// One value of the records of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Smallest.
    pub min: i32,
    /// Largest.
    pub max: i32,
    /// Sum over the records that have it.
    pub sum: i64,
    /// Records that have it, at least one.
    pub count: u32,
    /// In the last record of the bucket; `None` where that one is shorter.
    pub last: Option<i32>,
}

impl Figure {
    fn of(value: i32) -> Self {
        Self { min: value, max: value, sum: value.into(), count: 1, last: Some(value) }
    }

    /// Mean, rounded towards zero.
    #[must_use]
    pub fn mean(&self) -> i32 {
        // It lies between two values of 32 bits.
        (self.sum / i64::from(self.count.max(1))) as i32
    }
}

/// The records of a component and kind in one span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// How many there were.
    pub records: u32,
    /// Time of the last one, Unix milliseconds.
    pub last_ms: u64,
    /// Its number; of two with the same time the one with the larger number is the last.
    pub last_seq: u32,
    /// By position in the records (L40).
    pub values: Vec<Figure>,
}

impl Bucket {
    /// A single record.
    pub(super) fn of(record: &Record) -> Self {
        let values = record.values.iter().copied().map(Figure::of).collect();
        Self { records: 1, last_ms: record.time_ms, last_seq: record.seq, values }
    }

    /// Adds the records of another bucket of the same span. In which order buckets are added does not show.
    pub(super) fn add(&mut self, other: &Self) {
        let later = (other.last_ms, other.last_seq) > (self.last_ms, self.last_seq);
        for (n, more) in other.values.iter().enumerate() {
            match self.values.get_mut(n) {
                Some(figure) => {
                    figure.min = figure.min.min(more.min);
                    figure.max = figure.max.max(more.max);
                    figure.sum = figure.sum.saturating_add(more.sum);
                    figure.count = figure.count.saturating_add(more.count);
                }
                None => self.values.push(Figure { last: None, ..*more }),
            }
        }
        if later {
            (self.last_ms, self.last_seq) = (other.last_ms, other.last_seq);
            for (n, figure) in self.values.iter_mut().enumerate() {
                figure.last = other.values.get(n).and_then(|more| more.last);
            }
        }
        self.records = self.records.saturating_add(other.records);
    }
}

/// Integers of a value.
const PARTS: usize = 5;

/// A signed integer as an unsigned one that is small where its amount is.
fn folded(value: i32) -> u64 {
    ((value << 1) ^ (value >> 31)).cast_unsigned().into()
}

fn unfolded(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// `{0: 1, 1: records, 2: last ms, 3: last seq, 4: [minimum folded, maximum - minimum, sum - minimum * count, records - count,
/// last + 1 - minimum or 0 ..]}` (L253).
impl Canonical for Bucket {
    fn write(&self, w: &mut Writer) {
        w.object(5, 1).uint(1).uint(self.records.into()).uint(2).uint(self.last_ms);
        w.uint(3).uint(self.last_seq.into()).uint(4).array(self.values.len() * PARTS);
        for one in &self.values {
            let min = i64::from(one.min);
            let above = |value: i64| value.wrapping_sub(min).cast_unsigned();
            w.uint(folded(one.min)).uint(above(one.max.into()));
            w.uint(one.sum.wrapping_sub(min * i64::from(one.count)).cast_unsigned());
            w.uint(self.records.wrapping_sub(one.count).into());
            w.uint(one.last.map_or(0, |last| above(last.into()) + 1));
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let narrow = |value: u64| u32::try_from(value).map_err(|_| FormatError::Unexpected);
        r.object(5, 1)?;
        r.key(1)?;
        let records = narrow(r.uint()?)?;
        r.key(2)?;
        let last_ms = r.uint()?;
        r.key(3)?;
        let last_seq = narrow(r.uint()?)?;
        r.key(4)?;
        let parts = r.array(VALUES_MAX * PARTS)?;
        if parts % PARTS != 0 {
            return Err(FormatError::Unexpected);
        }
        let mut values = Vec::with_capacity(parts / PARTS);
        for _ in 0..parts / PARTS {
            let min = unfolded(narrow(r.uint()?)?);
            let above = |value: u64| {
                let value = i64::from(min).checked_add(value.try_into().ok()?)?;
                i32::try_from(value).ok()
            };
            let max = above(r.uint()?).ok_or(FormatError::Unexpected)?;
            let more = i64::try_from(r.uint()?).map_err(|_| FormatError::Unexpected)?;
            let count = records.checked_sub(narrow(r.uint()?)?).filter(|count| *count > 0);
            let count = count.ok_or(FormatError::Unexpected)?;
            let sum = (i64::from(min) * i64::from(count)).checked_add(more).ok_or(FormatError::Unexpected)?;
            let last = match r.uint()? {
                0 => None,
                n => Some(above(n - 1).filter(|last| *last <= max).ok_or(FormatError::Unexpected)?),
            };
            values.push(Figure { min, max, sum, count, last });
        }
        Ok(Self { records, last_ms, last_seq, values })
    }
}

#[cfg(test)]
mod tests {
    use lct::{id::Cid, record::RecordKind};

    use super::*;

    fn record(seq: u32, time_ms: u64, values: &[i32]) -> Bucket {
        let values = values.iter().copied().collect();
        Bucket::of(&Record { cid: Cid([1; 16]), seq, time_ms, kind: RecordKind::Module, values })
    }

    #[test]
    fn the_order_in_which_buckets_are_added_does_not_show() {
        let all = [
            record(0, 10, &[5, -7, i32::MAX]),
            record(1, 10, &[i32::MIN, 3]),
            record(2, 30, &[4, 4, 4, 4]),
            record(3, 20, &[1]),
        ];
        let expected = [
            Figure { min: i32::MIN, max: 5, sum: i64::from(i32::MIN) + 10, count: 4, last: Some(4) },
            Figure { min: -7, max: 4, sum: 0, count: 3, last: Some(4) },
            Figure { min: 4, max: i32::MAX, sum: i64::from(i32::MAX) + 4, count: 2, last: Some(4) },
            Figure { min: 4, max: 4, sum: 4, count: 1, last: Some(4) },
        ];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let of = |places: &[usize]| {
                let mut sum = all[places[0]].clone();
                places[1..].iter().for_each(|n| sum.add(&all[*n]));
                sum
            };
            let mut pairs = of(&order[..2]);
            pairs.add(&of(&order[2..]));
            for sum in [of(&order), pairs] {
                assert_eq!(sum, Bucket { records: 4, last_ms: 30, last_seq: 2, values: expected.to_vec() });
                assert_eq!(Bucket::from_bytes(&sum.to_bytes()).unwrap(), sum);
            }
        }
        let mut two = record(0, 10, &[1, 2]);
        two.add(&record(1, 10, &[9]));
        assert_eq!((two.last_seq, two.values[0].last, two.values[1].last), (1, Some(9), None));
        assert_eq!(Bucket::from_bytes(&two.to_bytes()).unwrap(), two);
        assert_eq!(two.values[1].mean(), 2);
        assert_eq!(Figure { sum: -7, count: 2, ..two.values[0] }.mean(), -3, "towards zero");
    }

    #[test]
    fn bytes_that_no_records_make_are_refused() {
        let good = record(7, 9, &[100]).to_bytes();
        assert_eq!(good.len(), 1 + 2 + 2 + 2 + 2 + 2 + 2 + 4);
        let at = good.len() - 4;
        for (place, byte) in [(at + 2, 1), (at + 3, 2), (at - 3, 0x84), (1, 1)] {
            let mut bad = good.clone();
            bad[place] = byte;
            assert!(Bucket::from_bytes(&bad).is_err(), "{place}: {bad:02x?}");
        }
    }
}
