//! What becomes of a component after it was registered (`spec/ledger.md`, L131 to L134): the states that it goes through,
//! and the versions that it runs.
//!
//! A [`Move`] is deterministic CBOR `{0: 1, 1: chain id 32, 2: cid, 3: number, 4: state, 5: reason, 6: time ms}`, digest
//! `H("modbatt1 lifecycle" || bytes)`; a [`Version`] is `{0: 1, 1: chain id 32, 2: cid, 3: number, 4: hardware, 5: firmware,
//! 6: hash of the image 32, 7: time ms}`, digest `H("modbatt1 version" || bytes)`. Both are numbered from 1, each for itself,
//! so that none counts twice and none is left out.

use crate::{Digest, Error, codec, hash::sha256, id::Cid, revocation::Reason};

/// Length bound of an encoded statement of this module.
pub const LIFECYCLE_MAX: usize = 128;

/// State of a component. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// In use.
    Active = 1,
    /// Withdrawn; for good.
    Revoked = 2,
    /// Registered, not admitted.
    Pending = 3,
    /// In the workshop: it goes on to speak, but is put to no new use.
    Maintenance = 4,
    /// Its word is in doubt: it is neither believed nor used.
    Suspended = 5,
    /// Out of use at the end of its life; for good.
    Retired = 6,
}

impl State {
    /// The state with this number.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            1 => State::Active,
            2 => State::Revoked,
            3 => State::Pending,
            4 => State::Maintenance,
            5 => State::Suspended,
            6 => State::Retired,
            _ => return Err(Error::Malformed),
        })
    }

    /// Lower-case word for people and APIs.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Revoked => "revoked",
            State::Pending => "pending",
            State::Maintenance => "maintenance",
            State::Suspended => "suspended",
            State::Retired => "retired",
        }
    }

    /// Whether nothing follows it.
    pub fn is_final(self) -> bool {
        matches!(self, State::Revoked | State::Retired)
    }

    /// The final state to which a reason leads: whoever is retired did nothing wrong.
    pub fn after(reason: Reason) -> Self {
        if reason == Reason::Retired { State::Retired } else { State::Revoked }
    }
}

/// A component goes into another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// The component.
    pub cid: Cid,
    /// Number among the moves of this component, from 1.
    pub number: u32,
    /// Where it goes.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// When, Unix ms.
    pub time_ms: u64,
}

impl Move {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; LIFECYCLE_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(7)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.bytes(&self.cid.0)?;
            e.u8(3)?.u32(self.number)?.u8(4)?.u8(self.to as u8)?.u8(5)?.u8(self.reason as u8)?;
            e.u8(6)?.u64(self.time_ms)?.ok()
        })
    }

    /// Reads the CBOR; refuses number 0, an unknown state and an unknown reason.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        let (chain_id, cid, number) = head(d, 7)?;
        codec::expect_key(d, 4)?;
        let to = State::from_code(d.u8()?)?;
        codec::expect_key(d, 5)?;
        let reason = Reason::from_code(d.u8()?)?;
        codec::expect_key(d, 6)?;
        Ok(Move { chain_id, cid, number, to, reason, time_ms: d.u64()? })
    }

    /// What is signed.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; LIFECYCLE_MAX];
        let n = self.encode(&mut out)?;
        Ok(sha256(&[b"modbatt1 lifecycle", &out[..n]]))
    }
}

/// What a component is built of and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// The component.
    pub cid: Cid,
    /// Number among the versions that this component told, from 1.
    pub number: u32,
    /// Hardware version.
    pub hardware: u32,
    /// Firmware version.
    pub firmware: u32,
    /// SHA-256 of the firmware's image.
    pub image: Digest,
    /// When, Unix ms.
    pub time_ms: u64,
}

impl Version {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; LIFECYCLE_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(8)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?.u8(2)?.bytes(&self.cid.0)?;
            e.u8(3)?.u32(self.number)?.u8(4)?.u32(self.hardware)?.u8(5)?.u32(self.firmware)?;
            e.u8(6)?.bytes(&self.image)?.u8(7)?.u64(self.time_ms)?.ok()
        })
    }

    /// Reads the CBOR; refuses number 0.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let d = &mut codec::decoder(bytes)?;
        let (chain_id, cid, number) = head(d, 8)?;
        codec::expect_key(d, 4)?;
        let hardware = d.u32()?;
        codec::expect_key(d, 5)?;
        let firmware = d.u32()?;
        codec::expect_key(d, 6)?;
        let image = codec::bytes(d)?;
        codec::expect_key(d, 7)?;
        Ok(Version { chain_id, cid, number, hardware, firmware, image, time_ms: d.u64()? })
    }

    /// What the component signs, and who vouches for it.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; LIFECYCLE_MAX];
        let n = self.encode(&mut out)?;
        Ok(sha256(&[b"modbatt1 version", &out[..n]]))
    }
}

/// What both statements begin with.
fn head(d: &mut minicbor::Decoder<'_>, pairs: u64) -> Result<(Digest, Cid, u32), Error> {
    codec::expect_object(d, pairs)?;
    codec::expect_key(d, 1)?;
    let chain_id = codec::bytes(d)?;
    codec::expect_key(d, 2)?;
    let cid = Cid(codec::bytes(d)?);
    codec::expect_key(d, 3)?;
    match d.u32()? {
        0 => Err(Error::Malformed),
        number => Ok((chain_id, cid, number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_read_as_written_and_nothing_else_does() {
        let (chain_id, cid) = ([1; 32], Cid([2; 16]));
        let moved = Move {
            chain_id,
            cid,
            number: u32::MAX,
            to: State::Retired,
            reason: Reason::Retired,
            time_ms: u64::MAX,
        };
        let mut out = [0; LIFECYCLE_MAX];
        let n = moved.encode(&mut out).unwrap();
        assert_eq!(Move::decode(&out[..n]), Ok(moved));
        assert!(Move::decode(&out[..n - 1]).is_err(), "cut");
        let mut other = out;
        other[2] = 2;
        assert_eq!(Move::decode(&other[..n]), Err(Error::Malformed), "another version");
        for state in [0, 7] {
            other = out;
            // Behind the map's head, version, chain id, cid and number.
            let at = 3 + 35 + 18 + 6 + 1;
            assert_eq!(other[at], State::Retired as u8);
            other[at] = state;
            assert_eq!(Move::decode(&other[..n]), Err(Error::Malformed), "state {state}");
        }
        let n = Move { number: 0, ..moved }.encode(&mut out).unwrap();
        assert_eq!(Move::decode(&out[..n]), Err(Error::Malformed), "number 0");

        let version = Version {
            chain_id,
            cid,
            number: 1,
            hardware: u32::MAX,
            firmware: u32::MAX,
            image: [3; 32],
            time_ms: u64::MAX,
        };
        let n = version.encode(&mut out).unwrap();
        assert_eq!(Version::decode(&out[..n]), Ok(version));
        assert!(Move::decode(&out[..n]).is_err(), "neither is taken for the other");
    }

    #[test]
    fn every_state_has_its_number_and_word() {
        let all: std::vec::Vec<_> = (0..=255).filter_map(|code| State::from_code(code).ok()).collect();
        let words: std::vec::Vec<_> = all.iter().map(|state| state.name()).collect();
        assert_eq!(words, ["active", "revoked", "pending", "maintenance", "suspended", "retired"]);
        for (code, state) in (1..).zip(&all) {
            assert_eq!(*state as u8, code);
        }
    }
}
