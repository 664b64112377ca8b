//! Telemetry records, and the statement by which a component signs a batch of them (`spec/ledger.md`,
//! L40 and L41).
//!
//! A record is deterministic CBOR `{0: 1, 1: cid, 2: seq, 3: time ms, 4: kind, 5: [values]}`. Its leaf is
//! `H(0x00 || record)`; a batch is signed over the RFC 6962 root of its leaves, so that every record is
//! verifiable alone at one signature per batch.

use crate::{
    Digest, Error, codec,
    hash::sha256,
    id::Cid,
    merkle::leaf_hash,
    sign::{PublicKey, Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Most values in a record.
pub const VALUES_MAX: usize = 272;
/// Longest encoded record.
pub const RECORD_MAX: usize = 48 + 5 * VALUES_MAX;
/// Most records in a batch.
pub const BATCH_MAX: u16 = 100;
/// Longest time from the first record of a batch until it is signed, ms.
pub const BATCH_MS: u64 = 30_000;

/// What the values of a record mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A module's status and cells.
    Module = 1,
    /// A pack's status.
    Pack = 2,
}

/// One measurement of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who measured.
    pub cid: Cid,
    /// Counts a component's records from 0 and never repeats.
    pub seq: u32,
    /// Time of the measurement, Unix milliseconds.
    pub time_ms: u64,
    /// Meaning of the values.
    pub kind: RecordKind,
    /// Integers in the units listed at the function that makes the record.
    pub values: heapless::Vec<i32, VALUES_MAX>,
}

impl Record {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(6)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.cid.0)?.u8(2)?.u32(self.seq)?;
            e.u8(3)?.u64(self.time_ms)?.u8(4)?.u8(self.kind as u8)?;
            e.u8(5)?.array(self.values.len() as u64)?;
            for value in &self.values {
                e.i32(*value)?;
            }
            e.ok()
        })
    }

    /// Reads the CBOR; anything but the one deterministic form is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 6)?;
        codec::expect_key(d, 1)?;
        let cid = Cid(codec::bytes(d)?);
        codec::expect_key(d, 2)?;
        let seq = d.u32()?;
        codec::expect_key(d, 3)?;
        let time_ms = d.u64()?;
        codec::expect_key(d, 4)?;
        let kind = match d.u8()? {
            1 => RecordKind::Module,
            2 => RecordKind::Pack,
            _ => return Err(Error::Malformed),
        };
        codec::expect_key(d, 5)?;
        let n = d.array()?.ok_or(Error::Malformed)?;
        let mut values = heapless::Vec::new();
        for _ in 0..n {
            values.push(d.i32()?).map_err(|_| Error::Malformed)?;
        }
        Ok(Record { cid, seq, time_ms, kind, values })
    }

    /// Reads of a record only where it belongs: component, number and time. What [`Record::decode`] refuses is refused, in one
    /// walk over the bytes.
    pub fn place(bytes: &[u8]) -> Result<(Cid, u32, u64), Error> {
        let rest = bytes.strip_prefix(&[0xA6, 0, 1, 1, 0x50]).ok_or(Error::Malformed)?;
        let (cid, rest) = rest.split_first_chunk().ok_or(Error::Malformed)?;
        let (seq, rest) = codec::field(rest, 2, 0)?;
        let (time_ms, rest) = codec::field(rest, 3, 0)?;
        let (kind, rest) = codec::field(rest, 4, 0)?;
        let (count, mut rest) = codec::field(rest, 5, 4)?;
        if !matches!(kind, 1 | 2) || count > VALUES_MAX as u64 {
            return Err(Error::Malformed);
        }
        for _ in 0..count {
            let (major, value, after) = codec::head(rest)?;
            if major > 1 || value > i32::MAX as u64 {
                return Err(Error::Malformed);
            }
            rest = after;
        }
        let seq = u32::try_from(seq).map_err(|_| Error::Malformed)?;
        if rest.is_empty() { Ok((Cid(*cid), seq, time_ms)) } else { Err(Error::Malformed) }
    }

    /// The leaf of this record in its batch's tree.
    pub fn leaf(&self) -> Result<Digest, Error> {
        let mut out = [0; RECORD_MAX];
        let n = self.encode(&mut out)?;
        Ok(leaf_hash(&out[..n]))
    }
}

/// Digest by which a component signs statement bytes for the ledger:
/// `H("modbatt1 led" || cid || u64 seq || H(statement))`.
pub fn statement_digest(cid: &Cid, seq: u64, statement: &[u8]) -> Digest {
    sha256(&[b"modbatt1 led", &cid.0, &seq.to_be_bytes(), &sha256(&[statement])])
}

/// Length bound of an encoded batch statement.
pub const BATCH_STATEMENT_MAX: usize = 96;

/// A signed batch: `{0: 1, 1: cid, 2: first seq, 3: count, 4: root, 5: first ms, 6: last ms}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchStatement {
    /// Who measured and signs.
    pub cid: Cid,
    /// Sequence number of the first record; the others follow without gap.
    pub first_seq: u32,
    /// Number of records, 1 to 100.
    pub count: u16,
    /// RFC 6962 root of the records' leaves.
    pub root: Digest,
    /// Time of the first record, Unix milliseconds.
    pub first_ms: u64,
    /// Time of the last record, Unix milliseconds.
    pub last_ms: u64,
}

impl BatchStatement {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; BATCH_STATEMENT_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(7)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.cid.0)?.u8(2)?.u32(self.first_seq)?;
            e.u8(3)?.u16(self.count)?.u8(4)?.bytes(&self.root)?;
            e.u8(5)?.u64(self.first_ms)?.u8(6)?.u64(self.last_ms)?.ok()
        })
    }

    /// Reads the CBOR; refuses an empty batch, one over 100 records, and time running backwards.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 7)?;
        codec::expect_key(d, 1)?;
        let cid = Cid(codec::bytes(d)?);
        codec::expect_key(d, 2)?;
        let first_seq = d.u32()?;
        codec::expect_key(d, 3)?;
        let count = d.u16()?;
        codec::expect_key(d, 4)?;
        let root = codec::bytes(d)?;
        codec::expect_key(d, 5)?;
        let first_ms = d.u64()?;
        codec::expect_key(d, 6)?;
        let last_ms = d.u64()?;
        if count == 0
            || count > BATCH_MAX
            || last_ms < first_ms
            || first_seq.checked_add(u32::from(count)).is_none()
        {
            return Err(Error::Malformed);
        }
        Ok(BatchStatement { cid, first_seq, count, root, first_ms, last_ms })
    }

    /// What the component signs; the statement's `seq` is that of its first record.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; BATCH_STATEMENT_MAX];
        let n = self.encode(&mut out)?;
        Ok(statement_digest(&self.cid, u64::from(self.first_seq), &out[..n]))
    }

    /// Signs with the relationship's signing key.
    pub fn sign(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> Result<Signature, Error> {
        Ok(key.sign(&self.digest()?, rng))
    }

    /// Verifies a component's signature.
    pub fn verify(&self, key: &PublicKey, sig: &Signature) -> Result<(), Error> {
        Ok(key.verify(&self.digest()?, sig)?)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// Of every single changed byte, of every shorter text and of values at their ends.
    #[test]
    fn a_place_is_read_where_a_record_is_and_nowhere_else() {
        let values = [0, 23, 24, -24, -25, 255, 256, 65_536, i32::MAX, i32::MIN];
        for (seq, time_ms, n) in [(0, 0, 0), (23, 24, 1), (u32::MAX, u64::MAX, 10), (70_000, 1 << 40, 5)] {
            let values = values[..n].iter().copied().collect();
            let record = Record { cid: Cid([9; 16]), seq, time_ms, kind: RecordKind::Pack, values };
            let mut out = [0; RECORD_MAX];
            let len = record.encode(&mut out).unwrap();
            let check = |bytes: &[u8]| {
                let decoded = Record::decode(bytes).map(|r| (r.cid, r.seq, r.time_ms));
                assert_eq!(Record::place(bytes).ok(), decoded.ok(), "{bytes:?}");
            };
            check(&out[..len + 1]);
            for at in 0..len {
                check(&out[..at]);
                for changed in 0..=255 {
                    let mut bytes = out;
                    bytes[at] = changed;
                    check(&bytes[..len]);
                }
            }
        }
        // One value too many, and one that has 33 bits.
        let mut bytes = std::vec![0xA6, 0, 1, 1, 0x50];
        bytes.extend([[9; 16].as_slice(), &[2, 1, 3, 1, 4, 1, 5]].concat());
        for rest in [[&[0x99, 1, 17][..], &[0; 273]].concat(), [&[0x81, 0x1A, 0x80], &[0; 3][..]].concat()] {
            let bytes = [bytes.as_slice(), &rest].concat();
            assert!(Record::decode(&bytes).is_err() && Record::place(&bytes).is_err(), "{rest:?}");
        }
    }
}
