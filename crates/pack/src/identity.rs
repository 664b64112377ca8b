//! What a device knows from the factory, and the records that it keeps in flash (`spec/channel.md`, H8 and H61).

use lct::{
    Digest, Error,
    attest::DeviceCertificate,
    codec::Fields,
    hash::sha256,
    id::{COMPONENT_ID_MAX, Cid, Role},
    registration::SERIAL_MAX,
    schedule::derive,
    secret::Secret,
    sign::{PublicKey, SigningKey},
    spk::Spk,
};

/// Factory data of one entity.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Full name.
    pub component_id: heapless::String<COMPONENT_ID_MAX>,
    /// Printed serial number.
    pub serial: heapless::String<SERIAL_MAX>,
    /// What it is.
    pub role: Role,
    /// The identity key, born in the device.
    pub key: SigningKey,
    /// The manufacturer's certificate over it.
    pub device: DeviceCertificate,
    /// The issuer of that certificate.
    pub batch: DeviceCertificate,
    /// Pinned manufacturer root.
    pub root: PublicKey,
    /// The authority: pinned in the factory, or its successor.
    pub authority: Spk,
    /// Hardware version.
    pub hardware: u32,
    /// Firmware version.
    pub firmware: u32,
    /// Nominal energy in mWh; 0 for what stores none.
    pub capacity_mwh: u64,
    /// 32-bit identifier announced on CAN 2; 0 elsewhere.
    pub unique_id: u32,
}

impl Identity {
    /// Short identifier.
    pub fn cid(&self) -> Cid {
        Cid::of(&self.component_id)
    }

    /// Authenticates counter reservations of this device (H40).
    pub fn storage_key(&self) -> Result<Secret<32>, Error> {
        derive(&self.key.to_bytes(), "storage", &[])
    }

    /// Digest of the certified identity, for logs and displays.
    pub fn fingerprint(&self) -> Digest {
        sha256(&[&self.device.0])
    }
}

/// Longest flash record.
pub const RECORD_MAX: usize = 256;

/// One record for the device's flash: the latest value of a key wins, an empty one erases it.
#[derive(Clone)]
pub struct Record {
    /// Which record, see [`key`].
    pub key: u16,
    /// Content, starting with a format version; it may hold secrets.
    pub value: heapless::Vec<u8, RECORD_MAX>,
}

impl core::fmt::Debug for Record {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Record({:#06x}, {} bytes)", self.key, self.value.len())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(self.value.as_mut_slice());
    }
}

impl core::ops::Deref for Record {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.value
    }
}

/// What a device reads from its flash at its start: `None` was never written or is erased, an error is damaged
/// (H133).
pub type Loaded = Result<Option<Record>, Error>;

impl Record {
    /// A record from its parts.
    pub fn new(key: u16, parts: &[&[u8]]) -> Result<Self, Error> {
        let mut value = heapless::Vec::new();
        for part in parts {
            value.extend_from_slice(part).map_err(|_| Error::BufferTooSmall)?;
        }
        Ok(Record { key, value })
    }
}

/// Keys of flash records.
pub mod key {
    use lct::schedule::Tier;

    /// `1 | boot counter u32`.
    pub const BOOT: u16 = 0x0001;
    /// `1 | first telemetry sequence number that is not reserved u32`.
    pub const SEQUENCE: u16 = 0x0002;
    /// `1 | cycle u32`: the energy cycle last opened.
    pub const CYCLE: u16 = 0x0003;
    /// `1 | floor u32 | powered seconds u32`, see [`crate::clock`].
    pub const TIME: u16 = 0x0020;
    /// `1 | number of the last audit entry u64 | its hash 32 | key of the next 32`.
    pub const AUDIT_HEAD: u16 = 0x0021;
    /// `1 | first audit key sealed to the authority 113 | last acknowledged entry u64`.
    pub const AUDIT_KEY: u16 = 0x0022;
    /// `1 | SPK 68`: the authority that followed the one from the factory (H166).
    pub const AUTHORITY: u16 = 0x0023;
    /// `1 | number u32 | next_update u32 | hash 32`: the revocation list held.
    pub const REVOCATION_HEAD: u16 = 0x0028;

    /// Revoked subjects: `1 | number of the list u32 | up to 14 x (type | id 16)`; `chunk` is 0..=4.
    pub const fn revoked(chunk: u8) -> u16 {
        0x0029 + chunk as u16
    }
    /// Part `part` (0 or 1) of the policy in place `place` (0 or 1), see [`crate::policies`].
    pub const fn policy(place: u8, part: u8) -> u16 {
        0x0030 + 2 * place as u16 + part as u16
    }
    /// Audit entries that were not acknowledged; `block` is 0..=7.
    pub const fn audit(block: u8) -> u16 {
        0x0038 + block as u16
    }
    /// `1 | first generation of the group key that is not reserved u32`.
    pub const GROUP: u16 = 0x0040;
    /// `1 | condition u8`, see [`crate::lifecycle::Condition`].
    pub const CONDITION: u16 = 0x0050;
    /// Not a record: stored under this key, an empty value erases every record that is not lasting and replaces the
    /// storage key (H135).
    pub const ERASE_ALL: u16 = 0xFFFF;

    /// True for what outlives a factory reset and a tamper reaction: counters that must never go back, the time floor,
    /// who the authority is, what is revoked, the head of the audit log, the condition, and the printed code, which belongs to the
    /// identity. Together they fit one flash page.
    pub const fn is_lasting(key: u16) -> bool {
        matches!(
            key,
            BOOT | SEQUENCE
                | CYCLE
                | CODE
                | CODE_TRIES
                | TIME
                | AUDIT_HEAD
                | AUDIT_KEY
                | AUTHORITY
                | REVOCATION_HEAD
                | GROUP
                | 0x0029..=0x002D | CONDITION
        )
    }

    /// What a pack keeps of the printed code: `1 | w0 32 | L 65`, written in the factory (H81).
    pub const CODE: u16 = 0x0010;
    /// `1 | tries u8`: tries at the code since the last right one (H77).
    pub const CODE_TRIES: u16 = 0x0011;

    /// Binding of the relation in `slot`.
    pub const fn bond(slot: u8) -> u16 {
        0x1000 | (slot as u16) << 4
    }
    /// Pairing session of the relation in `slot`.
    pub const fn session(slot: u8) -> u16 {
        0x1001 | (slot as u16) << 4
    }
    /// Where a record of the pairing lies that its peer has not proved, beside that of the one before (H261): [`session`],
    /// [`lease`] or [`stay_clear`].
    pub const fn beside(record: u16) -> u16 {
        record | 0x0800
    }
    /// Unique id of the module in `slot`: `1 | unique id u32`.
    pub const fn module(slot: u8) -> u16 {
        0x1002 | (slot as u16) << 4
    }
    /// Lease of the pairing of the relation in `slot`, see [`crate::lease`].
    pub const fn lease(slot: u8) -> u16 {
        0x1003 | (slot as u16) << 4
    }
    /// What the pairing in `slot` lets stay clear: `1 | pairing_id 16 | n u8 | n x base u16`.
    pub const fn stay_clear(slot: u8) -> u16 {
        0x100E | (slot as u16) << 4
    }
    /// Counter reservation of `tier` of the relation in `slot`. The group tier has a place, but its counters need
    /// no reservation.
    pub const fn counter(slot: u8, tier: Tier) -> u16 {
        let place = match tier {
            Tier::Dev => 4,
            Tier::Exch => 5,
            Tier::Pair => 6,
            Tier::Bind => 7,
            Tier::Group => 0xB,
        };
        0x1000 | (slot as u16) << 4 | place
    }
    /// When the latest certificate that served the binding in `slot` was issued, kept for when its session is gone:
    /// `1 | binding_id 16 | issued u32`.
    pub const fn issued(slot: u8) -> u16 {
        0x100A | (slot as u16) << 4
    }
    /// Device channel with the peer of `slot` before a pairing: `1 | peer cid 16 | peer role | assurance | knows the code
    /// u8 | code_commit 32`, then as [`binding`].
    pub const fn device(slot: u8) -> u16 {
        0x100C | (slot as u16) << 4
    }
    /// Powered seconds since the handshake of the pairing in `slot`: `1 | seconds u32`.
    pub const fn age(slot: u8) -> u16 {
        0x1008 | (slot as u16) << 4
    }
    /// Policy that the relation in `slot` agreed to: `1 | binding_id 16 | version u32`.
    pub const fn agreed(slot: u8) -> u16 {
        0x100F | (slot as u16) << 4
    }
    /// What is raised in the relation in `slot` until a validation: `1 | binding_id 16 | level u8`.
    pub const fn escalation(slot: u8) -> u16 {
        0x100D | (slot as u16) << 4
    }
    /// Channel of the binding of the relation in `slot`; that of the pairing is [`session`].
    pub const fn binding(slot: u8) -> u16 {
        0x1009 | (slot as u16) << 4
    }
}

/// Reads the counter stored under [`key::BOOT`] and returns the record of its successor.
pub fn next_boot(stored: Option<&[u8]>) -> Result<(u32, Record), Error> {
    let last = match stored {
        None => 0,
        Some(bytes) => versioned_u32(bytes)?,
    };
    let boot = last.checked_add(1).ok_or(Error::Exhausted)?;
    Ok((boot, Record::new(key::BOOT, &[&[1], &boot.to_be_bytes()])?))
}

/// Reads `1 | u32`.
pub fn versioned_u32(bytes: &[u8]) -> Result<u32, Error> {
    let mut f = Fields::new(bytes);
    if f.u8()? != 1 {
        return Err(Error::Malformed);
    }
    let value = f.u32()?;
    f.end()?;
    Ok(value)
}
