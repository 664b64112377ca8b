//! Energy statements of a pack: what was charged and discharged, and the close of a cycle (`spec/ledger.md`,
//! L51 and L55), and what a module says of the same time (`spec/channel.md`, H240).
//!
//! Energy is in mWh, power in mW, state of charge in parts per million, time in Unix milliseconds.

use crate::{
    Digest, Error,
    codec::{self, Fields},
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

impl EnergyKind {
    /// The kind with wire code `code`.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            1 => EnergyKind::Charge,
            2 => EnergyKind::Discharge,
            3 => EnergyKind::Opening,
            _ => return Err(Error::Malformed),
        })
    }
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
    /// By what it is acknowledged (`spec/can.md`, C47), and the `seq` of its digest: `cycle << 32 | seq`.
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from(self.cycle) << 32 | u64::from(self.seq)
    }

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
        let kind = EnergyKind::from_code(d.u8()?)?;
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

    /// What the pack signs; the statement's `seq` is [`EnergyEvent::number`].
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; STATEMENT_MAX];
        let n = self.encode(&mut out)?;
        Ok(statement_digest(&self.cid, self.number(), &out[..n]))
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
    /// By what it is acknowledged (`spec/can.md`, C47), and the `seq` of its digest: `cycle << 32 | 0xFFFF_FFFF`.
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from(self.cycle) << 32 | 0xFFFF_FFFF
    }

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

    /// What the pack signs; the statement's `seq` is [`CycleClose::number`].
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; STATEMENT_MAX];
        let n = self.encode(&mut out)?;
        Ok(statement_digest(&self.cid, self.number(), &out[..n]))
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

/// Length of a [`ModuleEnergy`].
pub const MODULE_ENERGY_LEN: usize = 4 + 4 + 1 + 8 + 8 + 8;

/// What flowed through a module, net, as the payload of its event of type 23 (H240): `cycle u32 | event u32 | kind u8 |
/// start ms u64 | end ms u64 | mWh u64`, integers big-endian. The event that holds it says and signs whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleEnergy {
    /// Cycle of the pack's event with which it was asked for, from 1.
    pub cycle: u32,
    /// Number of that event in its cycle, from 1: 0 is the opening.
    pub event: u32,
    /// [`EnergyKind::Charge`] or [`EnergyKind::Discharge`].
    pub kind: EnergyKind,
    /// Start, Unix ms.
    pub start_ms: u64,
    /// End, Unix ms, after the start.
    pub end_ms: u64,
    /// Energy in mWh, at least 1.
    pub mwh: u64,
}

impl ModuleEnergy {
    /// Its bytes.
    pub fn encode(&self) -> [u8; MODULE_ENERGY_LEN] {
        let mut out = [0; MODULE_ENERGY_LEN];
        out[..4].copy_from_slice(&self.cycle.to_be_bytes());
        out[4..8].copy_from_slice(&self.event.to_be_bytes());
        out[8] = self.kind as u8;
        for (field, value) in out[9..].chunks_exact_mut(8).zip([self.start_ms, self.end_ms, self.mwh]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        out
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another length, an opening, a cycle, an event or an energy of 0, and an end that is not
    /// after the start.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        let (cycle, event, kind) = (f.u32()?, f.u32()?, EnergyKind::from_code(f.u8()?)?);
        let (start_ms, end_ms, mwh) = (f.u64()?, f.u64()?, f.u64()?);
        f.end()?;
        let whole = cycle > 0 && event > 0 && mwh > 0 && end_ms > start_ms;
        if !whole || kind == EnergyKind::Opening {
            return Err(Error::Malformed);
        }
        Ok(ModuleEnergy { cycle, event, kind, start_ms, end_ms, mwh })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_energy_of_a_module_has_one_form() {
        let said = ModuleEnergy {
            cycle: 1,
            event: 2,
            kind: EnergyKind::Discharge,
            start_ms: 0x0102_0304_0506,
            end_ms: 0x0102_0304_0507,
            mwh: 0x090A,
        };
        let bytes = said.encode();
        let written = [
            0, 0, 0, 1, 0, 0, 0, 2, 2, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 1, 2, 3, 4, 5, 7, 0, 0, 0, 0, 0, 0, 9,
            10,
        ];
        assert_eq!((bytes, ModuleEnergy::decode(&bytes)), (written, Ok(said)));
        let with = |place: usize, value: u8| {
            let mut other = bytes;
            other[place] = value;
            ModuleEnergy::decode(&other)
        };
        for (what, decoded) in [
            ("cycle 0", with(3, 0)),
            ("the opening of a cycle", with(7, 0)),
            ("no kind", with(8, 0)),
            ("an opening", with(8, 3)),
            ("no time", with(24, 6)),
            ("time runs backwards", with(24, 5)),
            ("no energy", ModuleEnergy::decode(&ModuleEnergy { mwh: 0, ..said }.encode())),
            ("too short", ModuleEnergy::decode(&bytes[..32])),
            ("too long", ModuleEnergy::decode(&[&bytes[..], &[0]].concat())),
        ] {
            assert_eq!(decoded, Err(Error::Malformed), "{what}");
        }
    }
}
