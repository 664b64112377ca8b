//! CAN frames: identifiers in arbitration order, classical and FD frames, the exact length of a classical frame on
//! the wire (ISO 11898-1).
//!
//! Remote frames, error frames and the FD flags BRS and ESI are not modelled: no node of the system sends them, and
//! whether an FD bus switches its bit rate is a property of the bus.

use core::cmp::Ordering;
use core::fmt;

/// One of the two buses of a pack (`spec/can.md`, C1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bus {
    /// App or vehicle control unit to packs.
    Can1,
    /// Pack controller to modules.
    Can2,
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Can1 => "can1",
            Self::Can2 => "can2",
        })
    }
}

/// A CAN identifier. `Ord` is the order of arbitration: the smaller identifier wins the bus.
///
/// Use [`Id::standard`] and [`Id::extended`], which check the range; a [`Frame`] checks it again, so that no frame
/// holds an identifier wider than the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id {
    /// 11 bits.
    Standard(u16),
    /// 29 bits: 11 base bits, then 18 extension bits.
    Extended(u32),
}

impl Id {
    /// Highest 11-bit identifier.
    pub const MAX_STANDARD: u16 = 0x7FF;
    /// Highest 29-bit identifier.
    pub const MAX_EXTENDED: u32 = 0x1FFF_FFFF;

    /// An 11-bit identifier, `None` when `raw` is wider.
    pub const fn standard(raw: u16) -> Option<Self> {
        if raw <= Self::MAX_STANDARD { Some(Self::Standard(raw)) } else { None }
    }

    /// A 29-bit identifier, `None` when `raw` is wider.
    pub const fn extended(raw: u32) -> Option<Self> {
        if raw <= Self::MAX_EXTENDED { Some(Self::Extended(raw)) } else { None }
    }

    /// Whether the identifier fits its width.
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Standard(raw) => raw <= Self::MAX_STANDARD,
            Self::Extended(raw) => raw <= Self::MAX_EXTENDED,
        }
    }

    /// Whether this is a 29-bit identifier.
    pub const fn is_extended(self) -> bool {
        matches!(self, Self::Extended(_))
    }

    /// The number without its width.
    pub const fn raw(self) -> u32 {
        match self {
            Self::Standard(raw) => raw as u32,
            Self::Extended(raw) => raw,
        }
    }

    /// The bits as nodes compare them: 11 base bits, then one bit for SRR/IDE (dominant in a standard frame), then
    /// the 18 extension bits.
    const fn arbitration_key(self) -> u32 {
        match self {
            Self::Standard(raw) => (raw as u32) << 19,
            Self::Extended(raw) => (raw >> 18) << 19 | 1 << 18 | (raw & 0x3_FFFF),
        }
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.arbitration_key().cmp(&other.arbitration_key())
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Id {
    /// Three hexadecimal digits for 11 bits, eight for 29, as candump prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(raw) => write!(f, "{raw:03X}"),
            Self::Extended(raw) => write!(f, "{raw:08X}"),
        }
    }
}

/// Why a frame cannot exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The identifier is wider than 11 or 29 bits.
    IdTooWide,
    /// A classical frame carries at most 8 bytes.
    TooLong,
    /// An FD frame carries 0..=8, 12, 16, 20, 24, 32, 48 or 64 bytes.
    NotAnFdLength,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdTooWide => "identifier wider than the frame allows",
            Self::TooLong => "more than 8 bytes in a classical frame",
            Self::NotAnFdLength => "no FD frame has this length",
        })
    }
}

impl core::error::Error for FrameError {}

/// A data frame, classical or FD. Bytes behind `len` are zero, so that `==` compares what is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame {
    id: Id,
    fd: bool,
    len: u8,
    data: [u8; 64],
}

/// The smallest length an FD frame can have that is at least `len`; `None` above 64.
pub const fn fd_length_for(len: usize) -> Option<usize> {
    match len {
        0..=8 => Some(len),
        9..=12 => Some(12),
        13..=16 => Some(16),
        17..=20 => Some(20),
        21..=24 => Some(24),
        25..=32 => Some(32),
        33..=48 => Some(48),
        49..=64 => Some(64),
        _ => None,
    }
}

impl Frame {
    /// A classical frame of 0..=8 bytes.
    ///
    /// # Errors
    /// [`FrameError::IdTooWide`], [`FrameError::TooLong`].
    #[inline]
    pub fn new_classic(id: Id, data: &[u8]) -> Result<Self, FrameError> {
        if data.len() > 8 {
            return Err(FrameError::TooLong);
        }
        Self::build(id, false, data)
    }

    /// An FD frame. Its length must be one that exists on the wire, see [`fd_length_for`].
    ///
    /// # Errors
    /// [`FrameError::IdTooWide`], [`FrameError::NotAnFdLength`].
    #[inline]
    pub fn new_fd(id: Id, data: &[u8]) -> Result<Self, FrameError> {
        if fd_length_for(data.len()) != Some(data.len()) {
            return Err(FrameError::NotAnFdLength);
        }
        Self::build(id, true, data)
    }

    #[inline]
    fn build(id: Id, fd: bool, bytes: &[u8]) -> Result<Self, FrameError> {
        if !id.is_valid() {
            return Err(FrameError::IdTooWide);
        }
        Ok(Self::assembled(id, fd, bytes))
    }

    /// A frame of which is known that it exists.
    #[inline(always)]
    pub(crate) fn assembled(id: Id, fd: bool, bytes: &[u8]) -> Self {
        let of = |data| Self { id, fd, len: bytes.len() as u8, data };
        // The lengths that sealed messages have are moved in place; a length that is not known is copied by a call.
        match bytes.len() {
            8 => of(padded::<8>(bytes)),
            32 => of(padded::<32>(bytes)),
            48 => of(padded::<48>(bytes)),
            64 => of(padded::<64>(bytes)),
            _ => {
                let mut data = [0; 64];
                data[..bytes.len()].copy_from_slice(bytes);
                of(data)
            }
        }
    }

    /// The identifier.
    pub const fn id(&self) -> Id {
        self.id
    }

    /// Whether this is a CAN FD frame.
    pub const fn is_fd(&self) -> bool {
        self.fd
    }

    /// Number of data bytes, 0..=64.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the frame carries no data.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The data bytes.
    #[inline]
    pub fn data(&self) -> &[u8] {
        self.data.get(..self.len()).unwrap_or(&[])
    }

    /// Bit times of an FD frame that switches its bit rate (BRS): at the nominal rate, intermission included, and at
    /// the rate of the data phase. `None` for a classical frame.
    ///
    /// Nominal are start of frame to BRS, CRC delimiter, acknowledge slot and delimiter (3), end of frame (7) and
    /// intermission (3); the data phase is ESI, DLC, data and CRC field. Stuffing as in a classical frame up to the end
    /// of the data; the CRC field (stuff count 4, CRC 17 up to 16 bytes, else 21) has a fixed stuff bit in front and after
    /// every fourth bit, which also takes the place of a stuff bit due at the end of the data.
    pub fn fd_bits_on_wire(&self) -> Option<(u32, u32)> {
        if !self.fd {
            return None;
        }
        let mut line = Line::new();
        line.field(0, 1); // start of frame
        match self.id {
            Id::Standard(raw) => {
                line.field(u32::from(raw), 11);
                line.field(0, 2); // RRS, IDE
            }
            Id::Extended(raw) => {
                line.field(raw >> 18, 11);
                line.field(0b11, 2); // SRR, IDE
                line.field(raw & 0x3_FFFF, 18);
                line.field(0, 1); // RRS
            }
        }
        line.field(0b10, 2); // FDF, res
        // A stuff bit behind BRS is sent at the rate of the data phase.
        let nominal = line.bits + 1;
        line.field(1, 1); // BRS
        line.field(0, 1); // ESI
        line.field(u32::from(self.dlc()), 4);
        self.data().iter().for_each(|byte| line.field(u32::from(*byte), 8));
        // The fixed stuff bit of the CRC field stands for one due behind the last bit.
        let end = line.bits - u32::from(line.stuffed);
        let crc = if self.len() <= 16 { 21 + 6 } else { 25 + 7 };
        Some((nominal + 13, end - nominal + crc))
    }

    /// The length as it is coded in the frame, 0..=15.
    const fn dlc(&self) -> u8 {
        match self.len {
            0..=8 => self.len,
            9..=12 => 9,
            13..=16 => 10,
            17..=20 => 11,
            21..=24 => 12,
            25..=32 => 13,
            33..=48 => 14,
            _ => 15,
        }
    }

    /// Exact number of bit times a classical frame keeps the bus busy, from start of frame to the end of the 3-bit
    /// intermission, with the stuff bits its content causes. `None` for an FD frame, which has two bit rates.
    ///
    /// Stuffing covers start of frame to the last CRC bit: after five equal bits (stuff bits count) one opposite bit
    /// follows. Then come, unstuffed, CRC delimiter, acknowledge slot and delimiter (3), end of frame (7) and
    /// intermission (3). Without stuff bits: 47 + 8n (11-bit identifier), 67 + 8n (29-bit).
    pub fn bits_on_wire(&self) -> Option<u32> {
        if self.fd {
            return None;
        }
        let mut line = Line::new();
        line.field(0, 1); // start of frame
        match self.id {
            Id::Standard(raw) => {
                line.field(u32::from(raw), 11);
                line.field(0, 3); // RTR, IDE, r0
            }
            Id::Extended(raw) => {
                line.field(raw >> 18, 11);
                line.field(0b11, 2); // SRR, IDE
                line.field(raw & 0x3_FFFF, 18);
                line.field(0, 3); // RTR, r1, r0
            }
        }
        line.field(u32::from(self.len), 4);
        for byte in self.data() {
            line.field(u32::from(*byte), 8);
        }
        line.field(u32::from(line.crc), 15);
        Some(line.bits + 13)
    }
}

impl fmt::Debug for Frame {
    /// `14080005#03A0...` for classical, `##` for FD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.id, if self.fd { "##" } else { "#" })?;
        self.data().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[inline(always)]
fn padded<const N: usize>(bytes: &[u8]) -> [u8; 64] {
    let mut data = [0; 64];
    if let Some(bytes) = bytes.first_chunk::<N>() {
        data[..N].copy_from_slice(bytes);
    }
    data
}

/// The bus line as a transmitter drives it: counts bits including stuff bits and runs the CRC over the others.
struct Line {
    bits: u32,
    last: bool,
    run: u8,
    /// Whether the last bit was followed by a stuff bit.
    stuffed: bool,
    crc: u16,
}

impl Line {
    /// An idle (recessive) line.
    const fn new() -> Self {
        Self { bits: 0, last: true, run: 0, stuffed: false, crc: 0 }
    }

    /// Drives the low `width` bits of `value`, highest first.
    fn field(&mut self, value: u32, width: u32) {
        for shift in (0..width).rev() {
            self.bit(value >> shift & 1 == 1);
        }
    }

    fn bit(&mut self, bit: bool) {
        // CRC-15/CAN, polynomial 0x4599.
        let feed = bit != (self.crc & 0x4000 != 0);
        self.crc = (self.crc << 1) & 0x7FFF;
        if feed {
            self.crc ^= 0x4599;
        }
        self.bits += 1;
        self.run = if bit == self.last { self.run + 1 } else { 1 };
        self.last = bit;
        self.stuffed = self.run == 5;
        if self.stuffed {
            self.bits += 1;
            self.last = !bit;
            self.run = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    fn id_strategy() -> impl Strategy<Value = Id> {
        prop_oneof![
            (0..=Id::MAX_STANDARD).prop_map(Id::Standard),
            (0..=Id::MAX_EXTENDED).prop_map(Id::Extended)
        ]
    }

    #[test]
    fn standard_beats_extended_of_the_same_base_and_only_of_the_same_base() {
        let table = [
            Id::Standard(0x000),
            Id::Extended(0x0000_0000),
            Id::Extended(0x0003_FFFF),
            Id::Standard(0x001),
            Id::Extended(0x045A_1505), // sealed 0x514
            Id::Standard(0x400),
            Id::Extended(0x400 << 18),
            Id::Standard(0x401),
            Id::Extended(0x1408_0005), // clear 0x502
            Id::Standard(0x7FF),
            Id::Extended(0x1FFF_FFFF),
        ];
        assert!(table.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn identifiers_wider_than_the_wire_are_refused_everywhere() {
        assert_eq!(Id::standard(0x800), None);
        assert_eq!(Id::extended(0x2000_0000), None);
        assert_eq!(Frame::new_classic(Id::Standard(0x800), &[]), Err(FrameError::IdTooWide));
        assert_eq!(Frame::new_fd(Id::Extended(1 << 29), &[]), Err(FrameError::IdTooWide));
    }

    #[test]
    fn only_lengths_of_the_standard_exist() {
        let id = Id::Standard(1);
        let bytes = [0xA5; 65];
        let fd: Vec<usize> = (0..=65).filter(|n| Frame::new_fd(id, &bytes[..*n]).is_ok()).collect();
        assert_eq!(fd, [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64]);
        assert_eq!((0..=65).filter(|n| Frame::new_classic(id, &bytes[..*n]).is_ok()).count(), 9);
    }

    /// The check value of CRC-15/CAN in the catalogue of parametrised CRC algorithms.
    #[test]
    fn crc_has_the_catalogue_value() {
        let mut line = Line::new();
        b"123456789".iter().for_each(|byte| line.field(u32::from(*byte), 8));
        assert_eq!(line.crc, 0x059E);
    }

    /// 34 dominant bits: a stuff bit after every fifth, none of them extends a run.
    #[test]
    fn an_all_zero_frame_has_six_stuff_bits() {
        let frame = Frame::new_classic(Id::Standard(0), &[]).unwrap();
        assert_eq!(frame.bits_on_wire(), Some(47 + 6));
    }

    /// Lengths from a second implementation (Python: long division on big integers for the CRC, stuffing on text).
    #[test]
    fn lengths_match_an_independent_count() {
        let table: [(Id, &[u8], u32); 9] = [
            (Id::Standard(0x400), &hex!("03002A6800000000"), 124),
            (Id::Standard(0x410), &hex!("EB4B040300000000"), 121),
            (Id::Standard(0x7FF), &[], 50),
            (Id::Extended(0x145C_0000), &hex!("03"), 82),
            (Id::Extended(0x1408_0005), &hex!("03A0000D8F7D800C"), 142),
            (Id::Extended(0x1450_0005), &hex!("00012468"), 105),
            (Id::Extended(0x045A_1505), &hex!("1C82CFD700000000"), 141),
            (Id::Extended(0x1FFF_FFFF), &[0xFF; 8], 149),
            (Id::Extended(0), &[0; 8], 150),
        ];
        for (id, data, bits) in table {
            let frame = Frame::new_classic(id, data).unwrap();
            assert_eq!(frame.bits_on_wire(), Some(bits), "{frame:?}");
        }
    }

    /// Counts from a second implementation (Python, frame built as text, stuffed by regular expression).
    #[test]
    fn fd_frames_have_two_lengths() {
        let counting: Vec<u8> = (0..32).collect();
        let table: [(Id, &[u8], (u32, u32)); 9] = [
            (Id::Standard(0x400), &[], (32, 32)),
            (Id::Standard(0x7FF), &[0xFF; 8], (32, 108)),
            (Id::Extended(0), &[0; 64], (54, 651)),
            (Id::Extended(0x045A_1505), &counting, (50, 311)),
            (Id::Extended(0x0407_1105), &[0x55; 48], (52, 421)),
            (Id::Extended(0x0407_1105), &[0; 12], (52, 147)),
            (Id::Extended(0x1FFF_FFFF), &[0xFF; 64], (55, 652)),
            (Id::Standard(0x123), &[0xF0; 16], (30, 160)),
            (Id::Extended(0x0425_F105), &[0x84; 20], (51, 197)),
        ];
        for (id, data, bits) in table {
            assert_eq!(Frame::new_fd(id, data).unwrap().fd_bits_on_wire(), Some(bits), "{id} {}", data.len());
        }
        assert_eq!(Frame::new_classic(Id::Standard(1), &[]).unwrap().fd_bits_on_wire(), None);
    }

    #[test]
    fn fd_frames_have_no_single_length() {
        assert_eq!(Frame::new_fd(Id::Standard(0), &[0; 8]).unwrap().bits_on_wire(), None);
    }

    #[test]
    fn debug_is_candump_notation() {
        let frame = Frame::new_classic(Id::Extended(0x145C_0000), &[3]).unwrap();
        assert_eq!(format!("{frame:?}"), "145C0000#03");
    }

    proptest! {
        #[test]
        fn order_is_the_first_differing_bit_on_the_wire(a in id_strategy(), b in id_strategy()) {
            // A standard data frame sends RTR = 0 where an extended one sends SRR = 1.
            let wire = |id: Id| match id {
                Id::Standard(raw) => format!("{raw:011b}00"),
                Id::Extended(raw) => format!("{:011b}11{:018b}", raw >> 18, raw & 0x3_FFFF),
            };
            prop_assert_eq!(a.cmp(&b), wire(a).cmp(&wire(b)));
        }

        #[test]
        fn data_is_what_was_put_in(id in id_strategy(), data in proptest::collection::vec(any::<u8>(), 0..=8)) {
            let frame = Frame::new_classic(id, &data).unwrap();
            prop_assert_eq!(frame.data(), &data[..]);
            prop_assert_eq!(frame.id(), id);
        }

        #[test]
        fn length_stays_between_no_stuffing_and_the_worst_case(
            id in id_strategy(),
            data in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xFF), Just(0xF0), any::<u8>()], 0..=8)
        ) {
            let bits = Frame::new_classic(id, &data).unwrap().bits_on_wire().unwrap();
            let stuffed_region = if id.is_extended() { 54 } else { 34 } + 8 * data.len() as u32;
            prop_assert!(bits >= stuffed_region + 13);
            prop_assert!(bits <= stuffed_region + 13 + (stuffed_region - 1) / 4);
        }
    }
}
