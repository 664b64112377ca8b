//! Registration: a component states what it is and proves that it holds its attested key (`spec/ledger.md`, L32).
//!
//! Deterministic CBOR `{0: 1, 1: chain_id 32, 2: device certificate 167, 3: batch certificate 167,
//! 4: component id, 5: serial, 6: hardware version, 7: firmware version, 8: capacity mWh, 9: opening state of
//! charge ppm}`; digest `H("modbatt1 register" || bytes)`, signed by the certified key.

use crate::{
    Digest, Error,
    attest::{CERTIFICATE_LEN, DeviceCertificate},
    codec,
    hash::sha256,
    id::{COMPONENT_ID_MAX, Cid, valid_component_id},
};

/// Longest serial number.
pub const SERIAL_MAX: usize = 32;
/// Longest encoded registration.
pub const REGISTRATION_MAX: usize = 560;

/// The statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The ledger it is made for.
    pub chain_id: Digest,
    /// Manufacturer's certificate of the component.
    pub device: DeviceCertificate,
    /// Its issuer.
    pub batch: DeviceCertificate,
    /// 3 to 64 characters of `[A-Za-z0-9_-]`; its [`Cid`] is the certified one.
    pub component_id: heapless::String<COMPONENT_ID_MAX>,
    /// Printed serial number, 1 to 32 printable ASCII characters.
    pub serial: heapless::String<SERIAL_MAX>,
    /// Hardware version.
    pub hardware: u32,
    /// Firmware version.
    pub firmware: u32,
    /// Nominal energy, mWh; 0 for what stores none.
    pub capacity_mwh: u64,
    /// State of charge at registration, 0 to 1 000 000 ppm.
    pub opening_soc_ppm: u32,
}

impl Registration {
    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; REGISTRATION_MAX]) -> Result<usize, Error> {
        codec::encode(out, |e| {
            e.map(10)?.u8(0)?.u8(1)?.u8(1)?.bytes(&self.chain_id)?;
            e.u8(2)?.bytes(&self.device.0)?.u8(3)?.bytes(&self.batch.0)?;
            e.u8(4)?.str(&self.component_id)?.u8(5)?.str(&self.serial)?;
            e.u8(6)?.u32(self.hardware)?.u8(7)?.u32(self.firmware)?;
            e.u8(8)?.u64(self.capacity_mwh)?.u8(9)?.u32(self.opening_soc_ppm)?.ok()
        })
    }

    /// Reads the CBOR; field ranges are checked, certificates are not.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > REGISTRATION_MAX {
            return Err(Error::Malformed);
        }
        let d = &mut codec::decoder(bytes)?;
        codec::expect_object(d, 10)?;
        codec::expect_key(d, 1)?;
        let chain_id = codec::bytes(d)?;
        codec::expect_key(d, 2)?;
        let device = DeviceCertificate::from_slice(&codec::bytes::<CERTIFICATE_LEN>(d)?)?;
        codec::expect_key(d, 3)?;
        let batch = DeviceCertificate::from_slice(&codec::bytes::<CERTIFICATE_LEN>(d)?)?;
        codec::expect_key(d, 4)?;
        let component_id = codec::text(d)?;
        codec::expect_key(d, 5)?;
        let serial = codec::text(d)?;
        codec::expect_key(d, 6)?;
        let hardware = d.u32()?;
        codec::expect_key(d, 7)?;
        let firmware = d.u32()?;
        codec::expect_key(d, 8)?;
        let capacity_mwh = d.u64()?;
        codec::expect_key(d, 9)?;
        let opening_soc_ppm = d.u32()?;
        if !valid_component_id(&component_id)
            || serial.is_empty()
            || !serial.bytes().all(|b| (0x20..0x7f).contains(&b))
            || opening_soc_ppm > 1_000_000
        {
            return Err(Error::Malformed);
        }
        if device.subject()?.cid != Cid::of(&component_id) {
            return Err(Error::WrongParty);
        }
        Ok(Registration {
            chain_id,
            device,
            batch,
            component_id,
            serial,
            hardware,
            firmware,
            capacity_mwh,
            opening_soc_ppm,
        })
    }

    /// What the component signs.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut bytes = [0; REGISTRATION_MAX];
        let n = self.encode(&mut bytes)?;
        Ok(digest_of(&bytes[..n]))
    }
}

/// The digest of an encoded registration.
pub fn digest_of(bytes: &[u8]) -> Digest {
    sha256(&[b"modbatt1 register", bytes])
}
