//! What an entity states at a validation level, and what a witness adds (`spec/tiers.md`, V1 to V8).
//!
//! An event is deterministic CBOR `{0: 1, 1: level, 2: type, 3: cid, 4: access data, 5: bound LCT, 6: boot counter,
//! 7: seq, 8: time, 9: payload, 10: escalation}`, of which 4, 5, 8 and 10 may be absent. Signed is
//! `H("modbatt1 val" || u8 level || CBOR)`. Whoever judges events keeps the last ([`Event::position`]) of each cid and
//! takes none that is not above it.

use crate::{
    Digest, Error,
    binding::verify_tail,
    codec::{self, Fields},
    energy::MODULE_ENERGY_LEN,
    hash::sha256,
    id::Cid,
    sign::{PublicKey, Signature, SigningKey},
};
use core::ops::RangeInclusive;
use rand_core::CryptoRng;

/// Longest endpoint, bytes of UTF-8.
pub const ENDPOINT_MAX: usize = 64;
/// Longest name of a device at its endpoint, bytes of UTF-8; room for a UUID.
pub const DEVICE_MAX: usize = 36;
/// Longest payload; what is longer enters as its hash.
pub const PAYLOAD_MAX: usize = 64;
/// Longest encoded event.
pub const EVENT_MAX: usize = 288;
/// Length of a compact announce.
pub const ANNOUNCE_LEN: usize = 16 + 4 + 4 + 2 + 64;
/// Length of a witness's attestation.
pub const ATTESTATION_LEN: usize = 1 + 16 + 8 + 64;

/// What somebody's word is worth, lowest first (V2). Neither a tier of the secure link nor a communication level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValidationLevel {
    /// Said in public, signed. Grants nothing.
    Announce = 1,
    /// Seen by a third party that signs too.
    Witness = 2,
    /// Both sides signed a handshake; they need not be paired.
    SignedHandshake = 3,
    /// Both sides hold the keys of their pairing, afresh.
    PairedHandshake = 4,
    /// One command, sealed, signed and acknowledged.
    Command = 5,
    /// A pairing changes: the authority and the sides sign.
    Pairing = 6,
    /// A binding or ownership changes: entity, LCT and authority sign.
    Binding = 7,
}

impl ValidationLevel {
    /// The level with number `code`, 1 to 7.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        use ValidationLevel::*;
        let all = [Announce, Witness, SignedHandshake, PairedHandshake, Command, Pairing, Binding];
        all.into_iter().find(|level| *level as u8 == code).ok_or(Error::Malformed)
    }
}

/// What an event is about; the upper four bits of its code are its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// "Here I am": payload flags 2.
    Announce = 0x11,
    /// The state changed: payload what the message says, or its hash.
    StateChange = 0x21,
    /// A fault: payload what the report says, or its hash.
    Fault = 0x22,
    /// Energy flowed: payload `H(statement)` of an energy statement of a pack, or what a module says
    /// ([`crate::energy::ModuleEnergy`]).
    Energy = 0x23,
    /// Telemetry was taken: payload the root of its batch.
    Telemetry = 0x24,
    /// A handshake of a binding: payload TH4.
    SignedHandshake = 0x31,
    /// A handshake of a pairing: payload pairing id 16, T3 32.
    PairedHandshake = 0x41,
    /// A command: payload the digest that its commander signed.
    Command = 0x51,
    /// A pairing is complete: payload pairing id 16, digest of the completion 32.
    PairingCompletion = 0x61,
    /// A pairing is withdrawn: payload pairing id 16, reason 1.
    PairingRevocation = 0x62,
    /// The terms of a pairing change: payload pairing id 16, `H(terms)` 32.
    PairingModification = 0x63,
    /// A binding is made: payload binding id 16, `H(record)` 32.
    BindingEstablishment = 0x71,
    /// A binding is found in force: payload binding id 16, root of the ledger's state 32.
    BindingVerification = 0x72,
    /// A binding is withdrawn: payload binding id 16, reason 1.
    BindingRevocation = 0x73,
    /// A binding takes the place of another: payload old binding id 16, `H(record)` of the new one 32.
    BindingReplacement = 0x74,
    /// A component changes hands: payload its cid 16, `H(transfer)` 32.
    Ownership = 0x75,
}

impl EventKind {
    const ALL: [EventKind; 16] = [
        EventKind::Announce,
        EventKind::StateChange,
        EventKind::Fault,
        EventKind::Energy,
        EventKind::Telemetry,
        EventKind::SignedHandshake,
        EventKind::PairedHandshake,
        EventKind::Command,
        EventKind::PairingCompletion,
        EventKind::PairingRevocation,
        EventKind::PairingModification,
        EventKind::BindingEstablishment,
        EventKind::BindingVerification,
        EventKind::BindingRevocation,
        EventKind::BindingReplacement,
        EventKind::Ownership,
    ];

    /// The kind with wire code `code`.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code).ok_or(Error::Malformed)
    }

    /// The level at which it is said.
    pub fn level(self) -> ValidationLevel {
        match self as u8 >> 4 {
            1 => ValidationLevel::Announce,
            2 => ValidationLevel::Witness,
            3 => ValidationLevel::SignedHandshake,
            4 => ValidationLevel::PairedHandshake,
            5 => ValidationLevel::Command,
            6 => ValidationLevel::Pairing,
            _ => ValidationLevel::Binding,
        }
    }

    /// Word for people and for the API.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Announce => "announce",
            EventKind::StateChange => "state_change",
            EventKind::Fault => "fault",
            EventKind::Energy => "energy",
            EventKind::Telemetry => "telemetry",
            EventKind::SignedHandshake => "signed_handshake",
            EventKind::PairedHandshake => "paired_handshake",
            EventKind::Command => "paired_command",
            EventKind::PairingCompletion => "pairing_completion",
            EventKind::PairingRevocation => "pairing_revocation",
            EventKind::PairingModification => "pairing_modification",
            EventKind::BindingEstablishment => "binding_establishment",
            EventKind::BindingVerification => "binding_verification",
            EventKind::BindingRevocation => "binding_revocation",
            EventKind::BindingReplacement => "binding_replacement",
            EventKind::Ownership => "ownership",
        }
    }

    /// How many bytes its payload may have.
    pub fn payload_len(self) -> RangeInclusive<usize> {
        match self {
            EventKind::Announce => 2..=2,
            EventKind::StateChange | EventKind::Fault => 1..=PAYLOAD_MAX,
            EventKind::Energy => 32..=MODULE_ENERGY_LEN,
            EventKind::Telemetry | EventKind::SignedHandshake | EventKind::Command => 32..=32,
            EventKind::PairingRevocation | EventKind::BindingRevocation => 17..=17,
            EventKind::PairedHandshake
            | EventKind::PairingCompletion
            | EventKind::PairingModification
            | EventKind::BindingEstablishment
            | EventKind::BindingVerification
            | EventKind::BindingReplacement
            | EventKind::Ownership => 48..=48,
        }
    }
}

/// Over what an endpoint is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// A CAN bus; endpoint such as `can1`.
    Can = 1,
    /// HTTP; endpoint a URL.
    Http = 2,
    /// MQTT; endpoint a URL of a broker with the topic as its path.
    Mqtt = 3,
}

impl Protocol {
    /// The protocol with wire code `code`.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            1 => Protocol::Can,
            2 => Protocol::Http,
            3 => Protocol::Mqtt,
            _ => return Err(Error::Malformed),
        })
    }

    /// Lower-case word for people and for the API.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Can => "can",
            Protocol::Http => "http",
            Protocol::Mqtt => "mqtt",
        }
    }
}

/// Where an entity is found: `[protocol, endpoint, device]`. A later event of the same cid supersedes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// How.
    pub protocol: Protocol,
    /// Where, 1 to 64 bytes of UTF-8.
    pub endpoint: heapless::String<ENDPOINT_MAX>,
    /// Which device there, up to 36 bytes of UTF-8: a node number on CAN, the id of a host.
    pub device: heapless::String<DEVICE_MAX>,
}

/// Why more is asked for than the level of the event gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EscalationReason {
    /// Something measured is odd.
    Anomaly = 1,
    /// Somebody may be attacking.
    Threat = 2,
    /// An audit asks for it.
    Audit = 3,
}

impl EscalationReason {
    /// The reason with wire code `code`.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            1 => EscalationReason::Anomaly,
            2 => EscalationReason::Threat,
            3 => EscalationReason::Audit,
            _ => return Err(Error::Malformed),
        })
    }

    /// Lower-case word for people and for the API.
    pub fn name(self) -> &'static str {
        match self {
            EscalationReason::Anomaly => "anomaly",
            EscalationReason::Threat => "threat",
            EscalationReason::Audit => "audit",
        }
    }
}

/// How soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Urgency {
    /// In time.
    Deferred = 0,
    /// At once.
    Immediate = 1,
}

impl Urgency {
    /// The urgency with wire code `code`.
    pub fn from_code(code: u8) -> Result<Self, Error> {
        Ok(match code {
            0 => Urgency::Deferred,
            1 => Urgency::Immediate,
            _ => return Err(Error::Malformed),
        })
    }

    /// Lower-case word for people and for the API.
    pub fn name(self) -> &'static str {
        match self {
            Urgency::Deferred => "deferred",
            Urgency::Immediate => "immediate",
        }
    }
}

/// The wish that a higher level be asked of the signer's relation: `[level, reason, urgency]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escalation {
    /// Above the level of the event.
    pub target: ValidationLevel,
    /// Why.
    pub reason: EscalationReason,
    /// How soon.
    pub urgency: Urgency,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about, and so its level.
    pub kind: EventKind,
    /// Who says it.
    pub cid: Cid,
    /// Where its signer is found.
    pub access: Option<Access>,
    /// The LCT for which its signer speaks.
    pub bound_lct: Option<Digest>,
    /// Boot counter of the signer.
    pub boot: u32,
    /// Number within this boot, strictly increasing.
    pub seq: u32,
    /// Unix ms; absent from a device that does not know the time.
    pub time_ms: Option<u64>,
    /// As [`EventKind`] says.
    pub payload: heapless::Vec<u8, PAYLOAD_MAX>,
    /// Whether more is asked for.
    pub escalation: Option<Escalation>,
}

impl Event {
    /// An event with nothing but what each must have.
    pub fn new(kind: EventKind, cid: Cid, boot: u32, seq: u32, payload: &[u8]) -> Result<Self, Error> {
        let payload = heapless::Vec::from_slice(payload).map_err(|_| Error::Malformed)?;
        if !kind.payload_len().contains(&payload.len()) {
            return Err(Error::Malformed);
        }
        Ok(Event {
            kind,
            cid,
            access: None,
            bound_lct: None,
            boot,
            seq,
            time_ms: None,
            payload,
            escalation: None,
        })
    }

    /// Its level.
    pub fn level(&self) -> ValidationLevel {
        self.kind.level()
    }

    /// Boot counter and number: what must be above that of the last event of the same cid (V4).
    pub fn position(&self) -> (u32, u32) {
        (self.boot, self.seq)
    }

    /// Writes the CBOR; returns its length.
    pub fn encode(&self, out: &mut [u8; EVENT_MAX]) -> Result<usize, Error> {
        let optional = [
            self.access.is_some(),
            self.bound_lct.is_some(),
            self.time_ms.is_some(),
            self.escalation.is_some(),
        ];
        let keys = 7 + optional.iter().filter(|present| **present).count() as u64;
        codec::encode(out, |e| {
            e.map(keys)?.u8(0)?.u8(1)?.u8(1)?.u8(self.level() as u8)?.u8(2)?.u8(self.kind as u8)?;
            e.u8(3)?.bytes(&self.cid.0)?;
            if let Some(a) = &self.access {
                e.u8(4)?.array(3)?.u8(a.protocol as u8)?.str(&a.endpoint)?.str(&a.device)?;
            }
            if let Some(lct) = &self.bound_lct {
                e.u8(5)?.bytes(lct)?;
            }
            e.u8(6)?.u32(self.boot)?.u8(7)?.u32(self.seq)?;
            if let Some(time) = self.time_ms {
                e.u8(8)?.u64(time)?;
            }
            e.u8(9)?.bytes(&self.payload)?;
            if let Some(x) = &self.escalation {
                e.u8(10)?.array(3)?.u8(x.target as u8)?.u8(x.reason as u8)?.u8(x.urgency as u8)?;
            }
            e.ok()
        })
    }

    /// Reads the CBOR.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another form, version or code, a level that is not the type's, a payload of another
    /// length than its kind has, an empty endpoint, and an escalation that does not rise.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > EVENT_MAX {
            return Err(Error::Malformed);
        }
        let d = &mut codec::decoder(bytes)?;
        let mut optional = codec::object(d)?.checked_sub(7).ok_or(Error::Malformed)?;
        codec::expect_key(d, 1)?;
        let level = ValidationLevel::from_code(d.u8()?)?;
        codec::expect_key(d, 2)?;
        let kind = EventKind::from_code(d.u8()?)?;
        codec::expect_key(d, 3)?;
        let cid = Cid(codec::bytes(d)?);
        let access = codec::optional_key(d, 4, &mut optional)?.then(|| access(d)).transpose()?;
        let bound_lct = codec::optional_key(d, 5, &mut optional)?.then(|| codec::bytes(d)).transpose()?;
        codec::expect_key(d, 6)?;
        let boot = d.u32()?;
        codec::expect_key(d, 7)?;
        let seq = d.u32()?;
        let time_ms = codec::optional_key(d, 8, &mut optional)?.then(|| d.u64()).transpose()?;
        codec::expect_key(d, 9)?;
        let payload = d.bytes()?;
        let escalation =
            codec::optional_key(d, 10, &mut optional)?.then(|| escalation(d, level)).transpose()?;
        if optional != 0 || level != kind.level() {
            return Err(Error::Malformed);
        }
        Ok(Event { access, bound_lct, time_ms, escalation, ..Event::new(kind, cid, boot, seq, payload)? })
    }

    /// What its signer signs.
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut out = [0; EVENT_MAX];
        let n = self.encode(&mut out)?;
        Ok(sha256(&[b"modbatt1 val", &[self.level() as u8], &out[..n]]))
    }

    /// Signs it: with the relationship's signing key, or with the identity key where there is none (V5).
    pub fn sign(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> Result<Signature, Error> {
        Ok(key.sign(&self.digest()?, rng))
    }

    /// Verifies a signature over it.
    pub fn verify(&self, key: &PublicKey, sig: &Signature) -> Result<(), Error> {
        Ok(key.verify(&self.digest()?, sig)?)
    }
}

fn access(d: &mut minicbor::Decoder<'_>) -> Result<Access, Error> {
    codec::expect_array(d, 3)?;
    let protocol = Protocol::from_code(d.u8()?)?;
    let access = Access { protocol, endpoint: codec::text(d)?, device: codec::text(d)? };
    if access.endpoint.is_empty() { Err(Error::Malformed) } else { Ok(access) }
}

fn escalation(d: &mut minicbor::Decoder<'_>, level: ValidationLevel) -> Result<Escalation, Error> {
    codec::expect_array(d, 3)?;
    let target = ValidationLevel::from_code(d.u8()?)?;
    let reason = EscalationReason::from_code(d.u8()?)?;
    let urgency = Urgency::from_code(d.u8()?)?;
    if target > level { Ok(Escalation { target, reason, urgency }) } else { Err(Error::Malformed) }
}

/// Level 1 in its compact form (V6): `cid 16 | boot u32 | seq u32 | flags u16 | signature 64`, signature over
/// `H("modbatt1 l1" || preceding)`. Its (boot, seq) is counted together with that of whole events (V4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// Who is there.
    pub cid: Cid,
    /// Its boot counter.
    pub boot: u32,
    /// Number within this boot, strictly increasing.
    pub seq: u32,
    /// As in the payload of a whole announce.
    pub flags: u16,
}

impl Announce {
    /// The signed bytes.
    pub fn issue(&self, key: &SigningKey, rng: &mut impl CryptoRng) -> [u8; ANNOUNCE_LEN] {
        let mut out = [0; ANNOUNCE_LEN];
        out[..16].copy_from_slice(&self.cid.0);
        out[16..20].copy_from_slice(&self.boot.to_be_bytes());
        out[20..24].copy_from_slice(&self.seq.to_be_bytes());
        out[24..26].copy_from_slice(&self.flags.to_be_bytes());
        let sig = key.sign(&sha256(&[b"modbatt1 l1", &out[..26]]), rng);
        out[26..].copy_from_slice(&sig.0);
        out
    }

    /// Reads without verifying: by its cid and [`Announce::position`] a receiver finds the key, and whether to bother.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Signature), Error> {
        let mut f = Fields::new(bytes);
        let announce = Announce { cid: Cid(f.array()?), boot: f.u32()?, seq: f.u32()?, flags: f.u16()? };
        let sig = Signature(f.array()?);
        f.end()?;
        Ok((announce, sig))
    }

    /// Reads and verifies under the key of its signer.
    pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Self, Error> {
        let (announce, _) = Self::parse(bytes)?;
        verify_tail(b"modbatt1 l1", bytes, key)?;
        Ok(announce)
    }

    /// As [`Event::position`].
    pub fn position(&self) -> (u32, u32) {
        (self.boot, self.seq)
    }
}

/// A witness's word about a signed event (V7): `1 | witness cid 16 | time u64 | signature 64`, signature over
/// `H("modbatt1 witness" || 1 || witness cid || time || digest of the event || signature of its signer)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation {
    /// The witness; never the signer of the event.
    pub witness: Cid,
    /// When it saw the event, Unix ms.
    pub time_ms: u64,
    /// The witness's signature.
    pub sig: Signature,
}

impl Attestation {
    /// Signs for `witness`, which has verified `signed` over `event`. [`Error::WrongParty`] where the witness is the
    /// event's own signer.
    pub fn sign(
        witness: Cid,
        time_ms: u64,
        (event, signed): (&Event, &Signature),
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        if witness == event.cid {
            return Err(Error::WrongParty);
        }
        let digest = attestation_digest(&witness, time_ms, &event.digest()?, signed);
        Ok(Attestation { witness, time_ms, sig: key.sign(&digest, rng) })
    }

    /// Verifies under the witness's key. [`Error::WrongParty`] where the witness is the event's own signer. The
    /// signer's own signature is not verified here.
    pub fn verify(&self, (event, signed): (&Event, &Signature), key: &PublicKey) -> Result<(), Error> {
        if self.witness == event.cid {
            return Err(Error::WrongParty);
        }
        let digest = attestation_digest(&self.witness, self.time_ms, &event.digest()?, signed);
        Ok(key.verify(&digest, &self.sig)?)
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; ATTESTATION_LEN] {
        let mut out = [1; ATTESTATION_LEN];
        out[1..17].copy_from_slice(&self.witness.0);
        out[17..25].copy_from_slice(&self.time_ms.to_be_bytes());
        out[25..].copy_from_slice(&self.sig.0);
        out
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let attestation =
            Attestation { witness: Cid(f.array()?), time_ms: f.u64()?, sig: Signature(f.array()?) };
        f.end()?;
        Ok(attestation)
    }
}

fn attestation_digest(witness: &Cid, time_ms: u64, event: &Digest, signed: &Signature) -> Digest {
    sha256(&[b"modbatt1 witness", &[1], &witness.0, &time_ms.to_be_bytes(), event, &signed.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn full() -> Event {
        Event {
            access: Some(Access {
                protocol: Protocol::Http,
                endpoint: heapless::String::try_from("https://host.example:8443/modbatt").unwrap(),
                device: heapless::String::try_from("7").unwrap(),
            }),
            bound_lct: Some([5; 32]),
            time_ms: Some(1_700_000_000_000),
            escalation: Some(Escalation {
                target: ValidationLevel::Command,
                reason: EscalationReason::Anomaly,
                urgency: Urgency::Immediate,
            }),
            ..Event::new(EventKind::Fault, Cid([1; 16]), 3, 9, b"over temperature").unwrap()
        }
    }

    /// Each of the sixteen combinations of optional fields has one encoding, and it reads as written.
    #[test]
    fn every_combination_of_fields_reads_as_written() {
        let mut seen = heapless::Vec::<[u8; EVENT_MAX], 16>::new();
        for bits in 0..16u8 {
            let mut event = full();
            if bits & 1 == 0 {
                event.access = None;
            }
            if bits & 2 == 0 {
                event.bound_lct = None;
            }
            if bits & 4 == 0 {
                event.time_ms = None;
            }
            if bits & 8 == 0 {
                event.escalation = None;
            }
            let mut out = [0; EVENT_MAX];
            let n = event.encode(&mut out).unwrap();
            assert_eq!(Event::decode(&out[..n]), Ok(event), "{bits:04b}");
            assert!(Event::decode(&out[..n - 1]).is_err(), "{bits:04b} cut");
            assert!(!seen.contains(&out));
            seen.push(out).unwrap();
        }
    }

    #[test]
    fn the_longest_event_fits() {
        let long = Event {
            access: Some(Access {
                protocol: Protocol::Mqtt,
                endpoint: core::iter::repeat_n('e', ENDPOINT_MAX).collect(),
                device: core::iter::repeat_n('d', DEVICE_MAX).collect(),
            }),
            time_ms: Some(u64::MAX),
            ..Event::new(EventKind::Fault, Cid([1; 16]), u32::MAX, u32::MAX, &[0; PAYLOAD_MAX]).unwrap()
        };
        let long = Event { bound_lct: full().bound_lct, escalation: full().escalation, ..long };
        let mut out = [0; EVENT_MAX];
        let n = long.encode(&mut out).unwrap();
        assert_eq!(Event::decode(&out[..n]), Ok(long));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let change = |what: &str, f: &dyn Fn(&mut [u8])| {
            let mut out = [0; EVENT_MAX];
            let n = full().encode(&mut out).unwrap();
            f(&mut out[..n]);
            assert_eq!(Event::decode(&out[..n]), Err(Error::Malformed), "{what}");
        };
        change("another version", &|b| b[2] = 2);
        change("level of another type", &|b| b[4] = 3);
        change("level 8", &|b| b[4] = 8);
        change("unknown type", &|b| b[7] = 0x25);
        change("unknown urgency", &|b| *b.last_mut().unwrap() = 3);
        change("unknown reason", &|b| b[b.len() - 2] = 4);
        change("escalation to its own level", &|b| b[b.len() - 3] = 2);
        change("a key more than there is", &|b| b[0] += 1);
        change("unknown protocol", &|b| {
            let at = b.windows(2).position(|w| w == [4, 0x83]).unwrap();
            b[at + 2] = 4;
        });
        for (kind, len) in [
            (EventKind::Announce, 1),
            (EventKind::Fault, 0),
            (EventKind::Energy, 31),
            (EventKind::PairingRevocation, 16),
            (EventKind::Ownership, 49),
        ] {
            let refused = Event::new(kind, Cid([1; 16]), 0, 0, &[0; 64][..len]);
            assert_eq!(refused, Err(Error::Malformed), "{}", kind.name());
        }
    }

    #[test]
    fn codes_levels_and_names_agree() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_code(kind as u8), Ok(kind));
            assert_eq!(kind.level() as u8, kind as u8 >> 4);
            assert_eq!(EventKind::ALL.iter().filter(|k| k.name() == kind.name()).count(), 1);
        }
        let known = (0..=255).filter(|code| EventKind::from_code(*code).is_ok()).count();
        assert_eq!(known, EventKind::ALL.len());
    }

    #[test]
    fn every_byte_of_a_compact_announce_counts() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let key = SigningKey::generate(&mut rng);
        let announce = Announce { cid: Cid([4; 16]), boot: 7, seq: 8, flags: 1 };
        let bytes = announce.issue(&key, &mut rng);
        assert_eq!(Announce::open(&bytes, &key.public()), Ok(announce));
        for at in 0..ANNOUNCE_LEN {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(Announce::open(&bad, &key.public()), Err(Error::NotAuthentic), "byte {at}");
            assert!(Announce::open(&bytes[..at], &key.public()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_witness_vouches_for_one_signed_event_at_one_time() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let [signer, witness] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let event = full();
        let sig = event.sign(&signer, &mut rng).unwrap();
        let said = Attestation::sign(Cid([2; 16]), 77, (&event, &sig), &witness, &mut rng).unwrap();
        assert_eq!(Attestation::decode(&said.encode()), Ok(said));
        said.verify((&event, &sig), &witness.public()).unwrap();
        let again = event.sign(&signer, &mut ChaCha20Rng::seed_from_u64(9)).unwrap();
        let other = Event { seq: 10, ..event.clone() };
        for (what, result) in [
            ("another event", said.verify((&other, &sig), &witness.public())),
            ("another signature", said.verify((&event, &again), &witness.public())),
            ("another key", said.verify((&event, &sig), &signer.public())),
            ("another time", Attestation { time_ms: 78, ..said }.verify((&event, &sig), &witness.public())),
            (
                "another witness",
                Attestation { witness: Cid([3; 16]), ..said }.verify((&event, &sig), &witness.public()),
            ),
        ] {
            assert_eq!(result, Err(Error::NotAuthentic), "{what}");
        }
        let own = Attestation::sign(event.cid, 77, (&event, &sig), &witness, &mut rng);
        assert_eq!(own, Err(Error::WrongParty), "nobody is its own witness");
        let own = Attestation { witness: event.cid, ..said };
        assert_eq!(own.verify((&event, &sig), &witness.public()), Err(Error::WrongParty));
        let mut bad = said.encode();
        bad[0] = 2;
        assert_eq!(Attestation::decode(&bad), Err(Error::Malformed), "version");
        assert_eq!(Attestation::decode(&said.encode()[1..]), Err(Error::Malformed), "cut");
    }
}
