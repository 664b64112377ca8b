//! The classes that a pairing certificate lets stay clear, kept beside the session (`spec/can.md`, C105).

use super::*;
use crate::can::Bus;
use lct::metadata::BASES_MAX;

/// Bases that may stay clear.
pub(super) type StayClear = heapless::Vec<u16, BASES_MAX>;

/// Of the bases that a certificate lists, those whose class may stay clear at all under the table of its policy.
pub(super) fn admitted(table: &[policy::Entry], listed: &[u16]) -> StayClear {
    let may = |base: &&u16| {
        [Bus::Can1, Bus::Can2].into_iter().any(|bus| {
            policy::entry_in(table, bus, **base).is_some_and(|e| e.flags & policy::MAY_STAY_CLEAR != 0)
        })
    };
    listed.iter().filter(may).copied().take(BASES_MAX).collect()
}

/// The record that keeps them; it names the pairing, so that a list never outlives its session.
pub(super) fn record(slot: u8, pairing: &PairingId, bases: &StayClear) -> Result<Record, Error> {
    let mut list = heapless::Vec::<u8, { 2 * BASES_MAX }>::new();
    for base in bases {
        list.extend_from_slice(&base.to_be_bytes()).map_err(|_| Error::BufferTooSmall)?;
    }
    Record::new(key::stay_clear(slot), &[&[1], &pairing.0, &[bases.len() as u8], &list])
}

/// Reads it back; the list of another pairing is empty.
pub(super) fn restored(bytes: &[u8], pairing: &PairingId) -> Result<StayClear, Error> {
    let mut f = Fields::new(bytes);
    if f.u8()? != 1 {
        return Err(Error::Malformed);
    }
    let of = PairingId(f.array()?);
    let mut bases = StayClear::new();
    for _ in 0..f.u8()? {
        let [high, low] = f.array()?;
        bases.push(u16::from_be_bytes([high, low])).map_err(|_| Error::Malformed)?;
    }
    f.end()?;
    Ok(if of == *pairing { bases } else { StayClear::new() })
}

impl Relation {
    /// Bases that the pairing in force lets stay clear.
    pub fn stay_clear(&self) -> &[u16] {
        if self.is_paired() { &self.stay_clear } else { &[] }
    }

    /// Of these what is taken and sent in clear now: a clear message is worth no more than an announce (H151).
    pub(crate) fn clear_now(&self, now: Instant) -> &[u16] {
        let enough = self.suffices(now, level::Operation::Read, ValidationLevel::Announce);
        if enough { self.stay_clear() } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_telemetry_classes_stay_clear_and_only_for_their_pairing() {
        let listed = [0x400, 0x502, 0x514, 0x421, 0x508, 0x403, 0x405, 0x410, 0x507, 0x7FF];
        let kept = admitted(&policy::TABLE, &listed);
        assert_eq!(kept[..], [0x502, 0x421, 0x507]);
        let (mine, other) = (PairingId([1; 16]), PairingId([2; 16]));
        let stored = record(3, &mine, &kept).unwrap();
        assert_eq!(stored.key, 0x103E);
        assert_eq!(restored(&stored.value, &mine).unwrap(), kept);
        assert!(restored(&stored.value, &other).unwrap().is_empty());
        for cut in 0..stored.value.len() {
            assert!(restored(&stored.value[..cut], &mine).is_err(), "{cut}");
        }
    }
}
