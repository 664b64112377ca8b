//! Clear metadata of a pairing certificate: deterministic CBOR with integer keys (`spec/channel.md`, H50).
//!
//! ```text
//! { 1: { 1: pairing_id 16, 2: context u8, 3: [[cid 16, role u8, access], [cid 16, role u8, access]],
//!        4: [created u32, valid_from u32, expires u32, max_uses u32],
//!        5: operations u8 (bit 0 read, 1 write, 2 execute), 6: [u16 base that may stay clear, ...] },
//!   2: salt 32, 3: iv_seed 16, 4: policy version u32, 5: [u16 base allowed compact, ...], 6: CRL number u32 }
//! ```
//! Times are Unix seconds; `max_uses` 0 is without limit.

use crate::{
    Digest, Error,
    certificate::METADATA_MAX,
    codec,
    hash::sha256,
    id::{Cid, PairingId, Role},
};

/// Longest access data of an entity.
pub const ACCESS_MAX: usize = 96;
/// Most bases in a list.
pub const BASES_MAX: usize = 16;

/// What the pairing is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PairingContext {
    /// Operation.
    BatteryManagement = 1,
    /// Reading only.
    Diagnostics = 2,
    /// Firmware update.
    FirmwareUpdate = 3,
    /// Emergency.
    Emergency = 4,
}

impl PairingContext {
    /// The context with this code.
    ///
    /// # Errors
    /// [`Error::Malformed`]: there is none.
    pub const fn from_code(code: u8) -> Result<Self, Error> {
        match code {
            1 => Ok(PairingContext::BatteryManagement),
            2 => Ok(PairingContext::Diagnostics),
            3 => Ok(PairingContext::FirmwareUpdate),
            4 => Ok(PairingContext::Emergency),
            _ => Err(Error::Malformed),
        }
    }
}

/// One side of the pairing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Who.
    pub cid: Cid,
    /// Role.
    pub role: Role,
    /// Endpoint text such as `can1:0`, at most 96 bytes.
    pub access: heapless::Vec<u8, ACCESS_MAX>,
}

/// Validity of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Issued at.
    pub created: u32,
    /// Valid from (inclusive).
    pub valid_from: u32,
    /// Valid until (exclusive).
    pub expires: u32,
    /// Number of sessions allowed; 0 without limit.
    pub max_uses: u32,
}

/// Everything that both sides and the authority may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearMetadata {
    /// Identifier.
    pub pairing_id: PairingId,
    /// Purpose.
    pub context: PairingContext,
    /// A, then B.
    pub entities: [Entity; 2],
    /// Validity.
    pub timing: Timing,
    /// Bit 0 read, bit 1 write, bit 2 execute.
    pub operations: u8,
    /// Bases whose class may stay clear.
    pub unencrypted_allowed: heapless::Vec<u16, BASES_MAX>,
    /// App-generated.
    pub salt: [u8; 32],
    /// App-generated.
    pub iv_seed: [u8; 16],
    /// Version of the class table.
    pub policy_version: u32,
    /// Bases that may use a compact profile.
    pub compact: heapless::Vec<u16, BASES_MAX>,
    /// Number of the revocation list known at issue.
    pub crl_number: u32,
}

impl ClearMetadata {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; METADATA_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(6)?.u8(1)?.map(6)?;
            e.u8(1)?.bytes(&self.pairing_id.0)?.u8(2)?.u8(self.context as u8)?;
            e.u8(3)?.array(2)?;
            for entity in &self.entities {
                e.array(3)?.bytes(&entity.cid.0)?.u8(entity.role as u8)?.bytes(&entity.access)?;
            }
            let t = &self.timing;
            e.u8(4)?.array(4)?.u32(t.created)?.u32(t.valid_from)?.u32(t.expires)?.u32(t.max_uses)?;
            e.u8(5)?.u8(self.operations)?;
            e.u8(6)?.array(self.unencrypted_allowed.len() as u64)?;
            for base in &self.unencrypted_allowed {
                e.u16(*base)?;
            }
            e.u8(2)?.bytes(&self.salt)?.u8(3)?.bytes(&self.iv_seed)?.u8(4)?.u32(self.policy_version)?;
            e.u8(5)?.array(self.compact.len() as u64)?;
            for base in &self.compact {
                e.u16(*base)?;
            }
            e.u8(6)?.u32(self.crl_number)?.ok()
        })
    }

    /// Reads the CBOR; anything but the one deterministic form is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > METADATA_MAX {
            return Err(Error::Malformed);
        }
        let d = &mut codec::decoder(bytes)?;
        codec::expect_map(d, 6)?;
        codec::expect_key(d, 1)?;
        codec::expect_map(d, 6)?;
        codec::expect_key(d, 1)?;
        let pairing_id = PairingId(codec::bytes(d)?);
        codec::expect_key(d, 2)?;
        let context = PairingContext::from_code(d.u8()?)?;
        codec::expect_key(d, 3)?;
        codec::expect_array(d, 2)?;
        let entities = [entity(d)?, entity(d)?];
        codec::expect_key(d, 4)?;
        codec::expect_array(d, 4)?;
        let timing =
            Timing { created: d.u32()?, valid_from: d.u32()?, expires: d.u32()?, max_uses: d.u32()? };
        codec::expect_key(d, 5)?;
        let operations = d.u8()?;
        codec::expect_key(d, 6)?;
        let unencrypted_allowed = bases(d)?;
        codec::expect_key(d, 2)?;
        let salt = codec::bytes(d)?;
        codec::expect_key(d, 3)?;
        let iv_seed = codec::bytes(d)?;
        codec::expect_key(d, 4)?;
        let policy_version = d.u32()?;
        codec::expect_key(d, 5)?;
        let compact = bases(d)?;
        codec::expect_key(d, 6)?;
        let crl_number = d.u32()?;
        if operations & !0b111 != 0 || timing.valid_from >= timing.expires {
            return Err(Error::Malformed);
        }
        Ok(ClearMetadata {
            pairing_id,
            context,
            entities,
            timing,
            operations,
            unencrypted_allowed,
            salt,
            iv_seed,
            policy_version,
            compact,
            crl_number,
        })
    }
}

fn entity(d: &mut minicbor::Decoder<'_>) -> Result<Entity, Error> {
    codec::expect_array(d, 3)?;
    Ok(Entity {
        cid: Cid(codec::bytes(d)?),
        role: Role::from_code(d.u8()?)?,
        access: heapless::Vec::from_slice(d.bytes()?).map_err(|_| Error::Malformed)?,
    })
}

fn bases(d: &mut minicbor::Decoder<'_>) -> Result<heapless::Vec<u16, BASES_MAX>, Error> {
    let n = d.array()?.ok_or(Error::Malformed)?;
    let mut list = heapless::Vec::new();
    for _ in 0..n {
        list.push(d.u16()?).map_err(|_| Error::Malformed)?;
    }
    Ok(list)
}

/// Parameters that both ends must share besides the class table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkParameters {
    /// App-generated.
    pub iv_seed: [u8; 16],
    /// 1 = HKDF-SHA256.
    pub kdf: u8,
    /// 1 = AES-256-GCM.
    pub aead: u8,
    /// Days until the keys of a device channel are renewed.
    pub rotation_days: u16,
}

/// `H(table || iv_seed 16 || u8 kdf || u8 aead || u16 rotation_days)`; `table` is the class table as
/// `u16 count || entries`, 8 bytes a row, ascending by first base.
pub fn policy_hash(table: &[u8], parameters: &LinkParameters) -> Digest {
    sha256(&[
        table,
        &parameters.iv_seed,
        &[parameters.kdf, parameters.aead],
        &parameters.rotation_days.to_be_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_strictness() {
        let side = |name, role| Entity {
            cid: Cid::of(name),
            role,
            access: heapless::Vec::from_slice(b"can1:0").unwrap(),
        };
        let m = ClearMetadata {
            pairing_id: PairingId([9; 16]),
            context: PairingContext::BatteryManagement,
            entities: [side("app-0001", Role::App), side("pack-0001", Role::Pack)],
            timing: Timing { created: 1, valid_from: 1, expires: u32::MAX, max_uses: 0 },
            operations: 7,
            unencrypted_allowed: heapless::Vec::from_slice(&[0x500]).unwrap(),
            salt: [1; 32],
            iv_seed: [2; 16],
            policy_version: 1,
            compact: heapless::Vec::new(),
            crl_number: 0,
        };
        let mut out = [0; METADATA_MAX];
        let n = m.encode(&mut out).unwrap();
        assert_eq!(ClearMetadata::decode(&out[..n]), Ok(m));
        for i in 0..n {
            assert_eq!(ClearMetadata::decode(&out[..i]), Err(Error::Malformed), "cut at {i}");
        }
        let mut longer = out;
        longer[n] = 0;
        assert_eq!(ClearMetadata::decode(&longer[..n + 1]), Err(Error::Malformed));
        let (index, _) = out[..n].windows(3).enumerate().find(|(_, w)| *w == [0x05, 0x07, 0x06]).unwrap();
        out[index + 1] = 8;
        assert_eq!(ClearMetadata::decode(&out[..n]), Err(Error::Malformed), "unknown operation bit");
    }
}
