//! Identifiers of the secure link: which frame is sealed, which is a security PDU, which is clear, which is refused
//! (`spec/can.md`, C10 to C17).
//!
//! ```text
//! bit  28..20              19..18      17   16   15..8        7..0
//! E=1: sealed_base[10:2]   L (level)   1    D    T            device id     sealed: base with bit 10 cleared
//! E=0: base[10:2]          base[1:0]   0    D    T            device id     security PDUs
//! E=0: base[10:2]          base[1:0]   0    sequence (9 bits) node          clear, CAN 2
//! ```
//! Clear frames on CAN 1 are 11-bit frames, base + 0x100 for pack 1.

use core::fmt;

use crate::can::{Bus, Frame, Id};

const ENCRYPTED: u32 = 1 << 17;
const DIRECTION: u32 = 1 << 16;

/// The tier named by bits 19..18 of a sealed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// 00: device channel.
    Dev = 0,
    /// 01: exchange key, routine traffic.
    Exch = 1,
    /// 10: pairing key, commands and critical telemetry; also group frames (device id 0).
    Pair = 2,
    /// 11: binding.
    Bind = 3,
}

impl Level {
    /// The level coded by two bits; higher bits are ignored.
    pub const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Dev,
            1 => Self::Exch,
            2 => Self::Pair,
            _ => Self::Bind,
        }
    }
}

/// Who sends (bit 16): 0 from the A side, the app on CAN 1 and the pack on CAN 2.
pub use lct::schedule::Direction;

const fn direction_of(raw: u32) -> Direction {
    if raw & DIRECTION == 0 { Direction::Ab } else { Direction::Ba }
}

const fn direction_bit(direction: Direction) -> u32 {
    match direction {
        Direction::Ab => 0,
        Direction::Ba => DIRECTION,
    }
}

/// The transport byte T (bits 15..8): how the message is cut.
///
/// `cur << 4 | total`, both 1-based, 16 coded as 0. With `total` = 1 only 0x11 (one frame) and 0xF1 (ISO-TP, where
/// `cur` = 15 could not occur) have a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// 0x11: the whole message is in this frame.
    Single,
    /// Chunk `cur` (1..=total) of `total` (2..=16).
    Chunk {
        /// Number of this chunk, from 1.
        cur: u8,
        /// Number of chunks of the message.
        total: u8,
    },
    /// 0xF1: a protocol data unit of ISO 15765-2, flow control included.
    IsoTp,
}

impl Transport {
    /// Decodes T; `None` for values without meaning (reserved `x1`, chunk number above the total).
    pub const fn decode(t: u8) -> Option<Self> {
        let cur = if t >> 4 == 0 { 16 } else { t >> 4 };
        let total = if t & 0xF == 0 { 16 } else { t & 0xF };
        match (cur, total) {
            (1, 1) => Some(Self::Single),
            (15, 1) => Some(Self::IsoTp),
            (_, 1) => None,
            (cur, total) if cur <= total => Some(Self::Chunk { cur, total }),
            _ => None,
        }
    }

    /// The byte T. Chunk numbers are taken modulo 16, so 16 becomes 0.
    pub const fn encode(self) -> u8 {
        match self {
            Self::Single => 0x11,
            Self::IsoTp => 0xF1,
            Self::Chunk { cur, total } => (cur & 0xF) << 4 | total & 0xF,
        }
    }
}

/// The identifier of a message as it is authenticated and as chunks are collected:
/// `0x80000000 | (id & 0x1FFF00FF)`, that is T zeroed and the IDE mark set (C13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanonicalId(u32);

impl CanonicalId {
    const IDE: u32 = 0x8000_0000;
    const KEPT: u32 = 0x1FFF_00FF;

    const fn of(raw: u32) -> Self {
        Self(Self::IDE | raw & Self::KEPT)
    }

    /// The identifier of which [`CanonicalId::to_u32`] told the number.
    pub(crate) const fn from_u32(number: u32) -> Self {
        Self::of(number)
    }

    /// The number that goes into the AAD (big-endian there).
    pub const fn to_u32(self) -> u32 {
        self.0
    }

    /// The identifier of one frame of the message.
    pub const fn frame_id(self, transport: Transport) -> Id {
        Id::Extended(self.0 & Self::KEPT | (transport.encode() as u32) << 8)
    }
}

/// Why a base cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSealable(
    /// The 11-bit base that was asked for.
    pub u16,
);

impl fmt::Display for NotSealable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "base {:#05x} cannot be sealed, only 0x400..=0x5ff can", self.0)
    }
}

impl core::error::Error for NotSealable {}

/// A sealed message on the bus, without its transport byte.
///
/// Held as it is on the wire, so that reading one costs a mask and naming its key a shift.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealedId(CanonicalId);

impl SealedId {
    /// The identifier for a message of 11-bit base `base`, whose two low bits travel inside the encryption.
    ///
    /// `device` is the node on CAN 2 (0 for a group frame) and the number of the pack on CAN 1.
    ///
    /// # Errors
    /// [`NotSealable`] unless `base` is in 0x400..=0x5FF (C17).
    pub const fn new(base: u16, level: Level, direction: Direction, device: u8) -> Result<Self, NotSealable> {
        if base < 0x400 || base > 0x5FF {
            return Err(NotSealable(base));
        }
        Ok(Self::of(base, level, direction, device))
    }

    const fn of(base: u16, level: Level, direction: Direction, device: u8) -> Self {
        let sealed = (base & 0x3FC) as u32; // bit 10 cleared: an old node never matches it
        Self(CanonicalId::of(
            sealed << 18 | (level as u32) << 18 | ENCRYPTED | direction_bit(direction) | device as u32,
        ))
    }

    /// The first of the four bases this message can have; [`SealedId::base`] completes it after opening.
    pub const fn family(self) -> u16 {
        0x400 | ((self.0.0 >> 18) as u16 & 0x1FC)
    }

    /// The exact base, from the two low bits found inside (`spec/channel.md`, H32).
    pub const fn base(self, low_bits: u8) -> u16 {
        self.family() | (low_bits & 3) as u16
    }

    /// The level claimed by the identifier. Only a successful opening under that tier's key proves it.
    pub const fn level(self) -> Level {
        Level::from_bits(self.0.0 >> 18)
    }

    /// The sender's side.
    pub const fn direction(self) -> Direction {
        direction_of(self.0.0)
    }

    /// Node (CAN 2) or pack (CAN 1).
    pub const fn device(self) -> u8 {
        self.0.0 as u8
    }

    /// The identifier of the flow-control frames that answer this message: D inverted (C24).
    pub const fn reversed(self) -> Self {
        Self(CanonicalId(self.0.0 ^ DIRECTION))
    }

    /// T zeroed, IDE set: AAD and reassembly key.
    pub const fn canonical(self) -> CanonicalId {
        self.0
    }

    /// The identifier of one frame.
    pub const fn encode(self, transport: Transport) -> Id {
        self.canonical().frame_id(transport)
    }

    /// Reads the identifier of a frame with E = 1.
    ///
    /// # Errors
    /// [`Reject::NotSealed`] for an 11-bit identifier or E = 0, [`Reject::FamilyNotSealable`] when bit 28 or 27 is
    /// set (a base outside 0x400..=0x5FF), [`Reject::BadTransport`] for a T without meaning.
    pub const fn parse(id: Id) -> Result<(Self, Transport), Reject> {
        let Id::Extended(raw) = id else {
            return Err(Reject::NotSealed);
        };
        if raw & ENCRYPTED == 0 {
            return Err(Reject::NotSealed);
        }
        if raw >> 27 != 0 {
            return Err(Reject::FamilyNotSealable);
        }
        let Some(transport) = Transport::decode((raw >> 8) as u8) else {
            return Err(Reject::BadTransport);
        };
        Ok((Self(CanonicalId::of(raw)), transport))
    }
}

impl fmt::Debug for SealedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedId")
            .field("family", &format_args!("{:#05x}", self.family()))
            .field("level", &self.level())
            .field("direction", &self.direction())
            .field("device", &self.device())
            .finish()
    }
}

/// A security PDU in clear (E = 0): handshakes, certificates, identities (C14).
///
/// Each bus has one base per direction, so the base follows from bus and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SecurityId {
    bus: Bus,
    direction: Direction,
    device: u8,
}

impl SecurityId {
    /// The identifier for a sender. `device` is the node on CAN 2 and the number of the pack on CAN 1.
    pub const fn new(bus: Bus, direction: Direction, device: u8) -> Self {
        Self { bus, direction, device }
    }

    /// 0x40C app to pack, 0x4AC pack to app, 0x52C pack to module, 0x50C module to pack.
    pub const fn base(self) -> u16 {
        match (self.bus, self.direction) {
            (Bus::Can1, Direction::Ab) => 0x40C,
            (Bus::Can1, Direction::Ba) => 0x4AC,
            (Bus::Can2, Direction::Ab) => 0x52C,
            (Bus::Can2, Direction::Ba) => 0x50C,
        }
    }

    /// The bus.
    pub const fn bus(self) -> Bus {
        self.bus
    }

    /// The sender's side. Not authenticated.
    pub const fn direction(self) -> Direction {
        self.direction
    }

    /// Node (CAN 2) or pack (CAN 1). Not authenticated.
    pub const fn device(self) -> u8 {
        self.device
    }

    /// The identifier of the answering flow-control frames: the opposite base of the pair.
    pub const fn reversed(self) -> Self {
        Self { direction: self.direction.reversed(), ..self }
    }

    /// The sealed twin of this identifier: control messages on the security bases with E = 1.
    pub const fn sealed(self, level: Level) -> SealedId {
        SealedId::of(self.base(), level, self.direction, self.device)
    }

    /// T zeroed, IDE set: reassembly key.
    pub const fn canonical(self) -> CanonicalId {
        CanonicalId::of((self.base() as u32) << 18 | direction_bit(self.direction) | self.device as u32)
    }

    /// The identifier of one frame.
    pub const fn encode(self, transport: Transport) -> Id {
        self.canonical().frame_id(transport)
    }
}

/// A clear message: base without pack offset, and who it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClearId {
    /// 11-bit base, on CAN 1 without the +0x100 of pack 1.
    pub base: u16,
    /// CAN 2: node 1..=32, 0 broadcast, 0xFF unregistered. CAN 1: number of the pack, 0 or 1.
    pub node: u8,
    /// Legacy sequence number, bits 16..8; only 0x522 FRAME_TRANSFER_DATA has one (0..=127 in use).
    pub sequence: u16,
}

impl ClearId {
    const PACK_OFFSET: u16 = 0x100;
    const SEQUENCED: u16 = 0x522;

    /// A clear message of `base` from or to `node` (CAN 2) or pack (CAN 1), without sequence number.
    pub const fn new(base: u16, node: u8) -> Self {
        Self { base, node, sequence: 0 }
    }

    /// The identifier on `bus`; `None` when the base is wider than 11 bits, the pack is not 0 or 1, or a sequence
    /// number is given to another base than 0x522.
    pub const fn encode(self, bus: Bus) -> Option<Id> {
        if self.base > Id::MAX_STANDARD || self.sequence > 0x1FF {
            return None;
        }
        if self.sequence != 0 && (self.base != Self::SEQUENCED || matches!(bus, Bus::Can1)) {
            return None;
        }
        match bus {
            Bus::Can1 if self.node > 1 || self.base & Self::PACK_OFFSET != 0 => None,
            Bus::Can1 => Some(Id::Standard(self.base + self.node as u16 * Self::PACK_OFFSET)),
            Bus::Can2 => {
                Some(Id::Extended((self.base as u32) << 18 | (self.sequence as u32) << 8 | self.node as u32))
            }
        }
    }
}

/// What a frame on a bus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A frame of a sealed message (E = 1), or a flow-control frame for one (T = 0xF1).
    Sealed(SealedId, Transport),
    /// A frame of a security PDU (E = 0).
    Security(SecurityId, Transport),
    /// A clear message. Whether the receiver may act on it is for [`crate::policy`] to say.
    Clear(ClearId),
}

/// Why a frame is dropped before anything looks at its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Asked to read a sealed identifier, but bit 17 is clear or the identifier has 11 bits.
    NotSealed,
    /// E = 1 on a family that cannot be sealed: bit 28 was not cleared or the base is outside 0x400..=0x5FF.
    FamilyNotSealable,
    /// A transport byte without meaning.
    BadTransport,
    /// A security PDU whose direction bit contradicts its base.
    WrongDirection,
    /// A 29-bit clear frame on CAN 1 that is no security PDU (old key distribution frames among them).
    ExtendedOnCan1,
    /// An 11-bit frame on CAN 2.
    StandardOnCan2,
    /// A clear frame on CAN 2 with extension bits 16..8 set, which only 0x522 may have.
    StrayBits,
    /// A clear message in an FD frame.
    ClearFd,
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSealed => "not a sealed identifier",
            Self::FamilyNotSealable => "sealed frame of a family that cannot be sealed",
            Self::BadTransport => "transport byte without meaning",
            Self::WrongDirection => "direction bit contradicts the base",
            Self::ExtendedOnCan1 => "29-bit clear frame on CAN 1",
            Self::StandardOnCan2 => "11-bit frame on CAN 2",
            Self::StrayBits => "clear frame with bits 16..8 set",
            Self::ClearFd => "clear message in an FD frame",
        })
    }
}

impl core::error::Error for Reject {}

/// Sorts a received frame. The first step of every receiver (C16).
///
/// # Errors
/// See [`Reject`]; such a frame is dropped and counted, nothing else.
pub fn classify(bus: Bus, frame: &Frame) -> Result<Class, Reject> {
    let clear = match (bus, frame.id()) {
        (_, Id::Extended(raw)) if raw & ENCRYPTED != 0 => {
            let (id, transport) = SealedId::parse(frame.id())?;
            return Ok(Class::Sealed(id, transport));
        }
        (_, Id::Extended(raw)) => {
            let base = (raw >> 18) as u16;
            if let Some(id) = security_id(bus, base, raw as u8) {
                if direction_of(raw) != id.direction {
                    return Err(Reject::WrongDirection);
                }
                let transport = Transport::decode((raw >> 8) as u8).ok_or(Reject::BadTransport)?;
                return Ok(Class::Security(id, transport));
            }
            if bus == Bus::Can1 {
                return Err(Reject::ExtendedOnCan1);
            }
            let sequence = (raw >> 8) as u16 & 0x1FF;
            if sequence != 0 && base != ClearId::SEQUENCED {
                return Err(Reject::StrayBits);
            }
            ClearId { base, node: raw as u8, sequence }
        }
        (Bus::Can1, Id::Standard(raw)) => {
            ClearId::new(raw & !ClearId::PACK_OFFSET, if raw & ClearId::PACK_OFFSET == 0 { 0 } else { 1 })
        }
        (Bus::Can2, Id::Standard(_)) => return Err(Reject::StandardOnCan2),
    };
    if frame.is_fd() { Err(Reject::ClearFd) } else { Ok(Class::Clear(clear)) }
}

fn security_id(bus: Bus, base: u16, device: u8) -> Option<SecurityId> {
    [Direction::Ab, Direction::Ba]
        .into_iter()
        .map(|direction| SecurityId::new(bus, direction, device))
        .find(|id| id.base() == base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(id: Id) -> Frame {
        Frame::new_classic(id, &[0; 8]).unwrap()
    }

    /// `seal_pair_ab`, `seal_fd48` and `compact_c1` of spec/vectors/secure-link.json.
    #[test]
    fn the_published_identifiers_are_met() {
        let command = SealedId::new(0x514, Level::Pair, Direction::Ab, 5).unwrap();
        assert_eq!(command.encode(Transport::Single), Id::Extended(0x045A_1105));
        assert_eq!(command.encode(Transport::IsoTp), Id::Extended(0x045A_F105));
        assert_eq!(command.encode(Transport::Chunk { cur: 5, total: 5 }), Id::Extended(0x045A_5505));
        assert_eq!(command.canonical().to_u32(), 0x845A_0005);
        let status = SealedId::new(0x502, Level::Exch, Direction::Ba, 5).unwrap();
        assert_eq!(status.encode(Transport::Single), Id::Extended(0x0407_1105));
        assert_eq!(status.base(2), 0x502);
    }

    #[test]
    fn a_sealed_command_is_no_message_of_the_old_generation() {
        // Old nodes match the 11 base bits only (C10).
        for level in [Level::Dev, Level::Exch, Level::Pair, Level::Bind] {
            for base in 0x400..=0x5FF {
                let Id::Extended(raw) =
                    SealedId::new(base, level, Direction::Ab, 1).unwrap().encode(Transport::Single)
                else {
                    panic!("sealed frames are extended")
                };
                assert!(raw >> 18 < 0x200, "{base:x}");
            }
        }
    }

    #[test]
    fn only_two_families_of_bases_can_be_sealed() {
        for base in [0, 0x220, 0x3F0, 0x3FF, 0x600, 0x7FF, 0x800, 0xFFFF] {
            assert_eq!(SealedId::new(base, Level::Pair, Direction::Ab, 1), Err(NotSealable(base)));
        }
        // Bit 10 left in place, and families 0x200 and 0x600, with E = 1.
        for raw in [0x145A_1105, 0x0882_1105, 0x1882_1105] {
            assert_eq!(classify(Bus::Can2, &frame(Id::Extended(raw))), Err(Reject::FamilyNotSealable));
        }
    }

    #[test]
    fn transport_bytes_without_meaning_are_refused() {
        let legal = (0..=255u8).filter(|t| Transport::decode(*t).is_some()).count();
        assert_eq!(legal, 2 + (2..=16).sum::<usize>());
        for (t, expected) in [
            (0x11, Some(Transport::Single)),
            (0xF1, Some(Transport::IsoTp)),
            (0x01, None), // 16 of 1
            (0x21, None),
            (0x02, None), // 16 of 2
            (0x43, None),
            (0x00, Some(Transport::Chunk { cur: 16, total: 16 })),
            (0x10, Some(Transport::Chunk { cur: 1, total: 16 })),
            (0x12, Some(Transport::Chunk { cur: 1, total: 2 })),
        ] {
            assert_eq!(Transport::decode(t), expected, "{t:02x}");
        }
    }

    #[test]
    fn security_bases_are_those_of_bus_and_direction() {
        let ids = [
            (Bus::Can1, Direction::Ab, 0x40C),
            (Bus::Can1, Direction::Ba, 0x4AC),
            (Bus::Can2, Direction::Ab, 0x52C),
            (Bus::Can2, Direction::Ba, 0x50C),
        ];
        for (bus, direction, base) in ids {
            let id = SecurityId::new(bus, direction, 1);
            assert_eq!(id.base(), base);
            let wire = id.encode(Transport::Single);
            assert_eq!(wire.raw() >> 18, u32::from(base));
            assert_eq!(classify(bus, &frame(wire)), Ok(Class::Security(id, Transport::Single)));
            assert_eq!(id.reversed().reversed(), id);
            let lying = Id::Extended(wire.raw() ^ DIRECTION);
            assert_eq!(classify(bus, &frame(lying)), Err(Reject::WrongDirection));
            assert_eq!(id.sealed(Level::Pair).family(), base);
        }
        // The bases of CAN 2 mean nothing on CAN 1.
        let foreign = SecurityId::new(Bus::Can2, Direction::Ab, 1).encode(Transport::Single);
        assert_eq!(classify(Bus::Can1, &frame(foreign)), Err(Reject::ExtendedOnCan1));
    }

    #[test]
    fn clear_frames_are_sorted_by_bus() {
        let clear = |base, node, sequence| Ok(Class::Clear(ClearId { base, node, sequence }));
        let table = [
            (Bus::Can1, Id::Standard(0x400), clear(0x400, 0, 0)),
            (Bus::Can1, Id::Standard(0x500), clear(0x400, 1, 0)), // not MODULE_ANNOUNCEMENT
            (Bus::Can1, Id::Standard(0x541), clear(0x441, 1, 0)),
            (Bus::Can1, Id::Standard(0x328), clear(0x228, 1, 0)),
            (Bus::Can1, Id::Extended(0x400 << 18), Err(Reject::ExtendedOnCan1)),
            (Bus::Can1, Id::Extended(0x407), Err(Reject::ExtendedOnCan1)), // old key distribution
            (Bus::Can2, Id::Standard(0x500), Err(Reject::StandardOnCan2)),
            (Bus::Can2, Id::Extended(0x1408_0005), clear(0x502, 5, 0)),
            (Bus::Can2, Id::Extended(0x1400_00FF), clear(0x500, 0xFF, 0)),
            (Bus::Can2, Id::Extended(0x1488_7F05), clear(0x522, 5, 127)),
            (Bus::Can2, Id::Extended(0x1408_0105), Err(Reject::StrayBits)),
        ];
        for (bus, id, expected) in table {
            assert_eq!(classify(bus, &frame(id)), expected, "{bus} {id}");
        }
        let fd = Frame::new_fd(Id::Standard(0x400), &[0; 8]).unwrap();
        assert_eq!(classify(Bus::Can1, &fd), Err(Reject::ClearFd));
    }

    #[test]
    fn a_clear_identifier_that_would_alias_is_refused() {
        assert_eq!(ClearId::new(0x400, 2).encode(Bus::Can1), None);
        assert_eq!(ClearId::new(0x500, 0).encode(Bus::Can1), None);
        assert_eq!(ClearId { base: 0x502, node: 1, sequence: 1 }.encode(Bus::Can2), None);
        assert_eq!(ClearId { base: 0x522, node: 1, sequence: 0x200 }.encode(Bus::Can2), None);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_encoded_to_the_same_frame(
            raw in 0..=Id::MAX_EXTENDED, standard in 0..=Id::MAX_STANDARD, ext: bool, can1: bool
        ) {
            let bus = if can1 { Bus::Can1 } else { Bus::Can2 };
            let id = if ext { Id::Extended(raw) } else { Id::Standard(standard) };
            let back = match classify(bus, &frame(id)) {
                Ok(Class::Sealed(sealed, transport)) => sealed.encode(transport),
                Ok(Class::Security(pdu, transport)) => pdu.encode(transport),
                Ok(Class::Clear(clear)) => clear.encode(bus).unwrap(),
                Err(_) => return Ok(()),
            };
            prop_assert_eq!(back, id);
        }

        #[test]
        fn every_bit_but_the_transport_byte_is_in_the_canonical_identifier(
            base in 0x400u16..=0x5FF, level in 0u32..4, ba: bool, device: u8, bit in 0u32..29
        ) {
            let direction = if ba { Direction::Ba } else { Direction::Ab };
            let id = SealedId::new(base, Level::from_bits(level), direction, device).unwrap();
            let flipped = id.encode(Transport::IsoTp).raw() ^ 1 << bit;
            if let Ok((other, _)) = SealedId::parse(Id::Extended(flipped)) {
                prop_assert_eq!(other.canonical() == id.canonical(), (8..16).contains(&bit));
            }
        }
    }
}
