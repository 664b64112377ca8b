//! Energy statements of a pack: what was charged and discharged, and the close of a cycle (`spec/ledger.md`,
//! L51 and L55).
//!
//! Energy is in mWh, power in mW, state of charge in parts per million, time in Unix milliseconds.

use crate::{
    Digest, Error, codec,
    id::Cid,
    record::statement_digest,
    sign::{PublicKey, Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Length bound of an encoded statement.
pub const STATEMENT_MAX: usize = 96;

/// What happened to the energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EnergyKind {
    /// Energy flowed into the battery.
    Charge = 1,
    /// Energy flowed out of the battery.
    Discharge = 2,
    /// The cycle begins at the attested state of charge; no energy flowed.
    Opening = 3,
}

/// `{0: 1, 1: cid, 2: cycle, 3: seq, 4: kind, 5: start ms, 6: end ms, 7: mWh, 8: mean mW, 9: soc ppm}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnergyEvent {
    /// The pack.
    pub cid: Cid,
    /// Cycle number, from 1.
    pub cycle: u32,
    /// Number of the event in its cycle, from 0 (the opening).
    pub seq: u32,
    /// What happened.
    pub kind: EnergyKind,
    /// Start.
    pub start_ms: u64,
    /// End.
    pub end_ms: u64,
    /// Energy; 0 for an opening.
    pub mwh: u64,
    /// Mean power; 0 for an opening.
    pub mean_mw: u64,
    /// State of charge at the end, 0 to 1 000 000.
    pub soc_ppm: u32,
}

impl EnergyEvent {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; STATEMENT_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(10)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.cid.0)?;
            e.u8(2)?.u32(self.cycle)?.u8(3)?.u32(self.seq)?.u8(4)?.u8(self.kind as u8)?;
            e.u8(5)?.u64(self.start_ms)?.u8(6)?.u64(self.end_ms)?;
            e.u8(7)?.u64(self.mwh)?.u8(8)?.u64(self.mean_mw)?.u8(9)?.u32(self.soc_ppm)?.ok()
        })
    }

    /// Reads the CBOR; refuses time running backwards and a state of charge above one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 10)?;
        codec::expect_key(d, 1)?;
        let cid = Cid(codec::bytes(d)?);
        codec::expect_key(d, 2)?;
        let cycle = d.u32()?;
        codec::expect_key(d, 3)?;
        let seq = d.u32()?;
        codec::expect_key(d, 4)?;
        let kind = match d.u8()? {
            1 => EnergyKind::Charge,
            2 => EnergyKind::Discharge,
            3 => EnergyKind::Opening,
            _ => return Err(Error::Malformed),
        };
        codec::expect_key(d, 5)?;
        let start_ms = d.u64()?;
        codec::expect_key(d, 6)?;
        let end_ms = d.u64()?;
        codec::expect_key(d, 7)?;
        let mwh = d.u64()?;
        codec::expect_key(d, 8)?;
        let mean_mw = d.u64()?;
        codec::expect_key(d, 9)?;
        let soc_ppm = d.u32()?;
        if end_ms < start_ms || soc_ppm > 1_000_000 {
            return Err(Error::Malformed);
        }
        Ok(EnergyEvent { cid, cycle, seq, kind, start_ms, end_ms, mwh, mean_mw, soc_ppm })
    }

    /// What the pack signs; the statement's `seq` is `cycle << 32 | seq`.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; STATEMENT_MAX];
        let n = self.encode(&mut out)?;
        Ok(statement_digest(&self.cid, u64::from(self.cycle) << 32 | u64::from(self.seq), &out[..n]))
    }

    /// Signs with the relationship's signing key.
    pub fn sign(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> Result<Signature, Error> {
        Ok(key.sign(&self.digest()?, rng))
    }

    /// Verifies a pack's signature.
    pub fn verify(&self, key: &PublicKey, sig: &Signature) -> Result<(), Error> {
        Ok(key.verify(&self.digest()?, sig)?)
    }
}

/// `{0: 1, 1: cid, 2: cycle, 3: events, 4: charged mWh, 5: discharged mWh, 6: start ms, 7: end ms}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CycleClose {
    /// The pack.
    pub cid: Cid,
    /// Cycle number.
    pub cycle: u32,
    /// Number of events, the opening included.
    pub events: u32,
    /// Sum of the charge events.
    pub charged_mwh: u64,
    /// Sum of the discharge events.
    pub discharged_mwh: u64,
    /// Start of the cycle.
    pub start_ms: u64,
    /// End of the cycle.
    pub end_ms: u64,
}

impl CycleClose {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; STATEMENT_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(8)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.cid.0)?;
            e.u8(2)?.u32(self.cycle)?.u8(3)?.u32(self.events)?;
            e.u8(4)?.u64(self.charged_mwh)?.u8(5)?.u64(self.discharged_mwh)?;
            e.u8(6)?.u64(self.start_ms)?.u8(7)?.u64(self.end_ms)?.ok()
        })
    }

    /// Reads the CBOR; refuses time running backwards.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 8)?;
        codec::expect_key(d, 1)?;
        let cid = Cid(codec::bytes(d)?);
        codec::expect_key(d, 2)?;
        let cycle = d.u32()?;
        codec::expect_key(d, 3)?;
        let events = d.u32()?;
        codec::expect_key(d, 4)?;
        let charged_mwh = d.u64()?;
        codec::expect_key(d, 5)?;
        let discharged_mwh = d.u64()?;
        codec::expect_key(d, 6)?;
        let start_ms = d.u64()?;
        codec::expect_key(d, 7)?;
        let end_ms = d.u64()?;
        if end_ms < start_ms {
            return Err(Error::Malformed);
        }
        Ok(CycleClose { cid, cycle, events, charged_mwh, discharged_mwh, start_ms, end_ms })
    }

    /// What the pack signs; the statement's `seq` is `cycle << 32 | 0xFFFF_FFFF`.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; STATEMENT_MAX];
        let n = self.encode(&mut out)?;
        Ok(statement_digest(&self.cid, u64::from(self.cycle) << 32 | 0xFFFF_FFFF, &out[..n]))
    }

    /// Signs with the relationship's signing key.
    pub fn sign(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> Result<Signature, Error> {
        Ok(key.sign(&self.digest()?, rng))
    }

    /// Verifies a pack's signature.
    pub fn verify(&self, key: &PublicKey, sig: &Signature) -> Result<(), Error> {
        Ok(key.verify(&self.digest()?, sig)?)
    }
}
