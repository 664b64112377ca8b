//! The typed clear messages in use, one struct each, little-endian as in `spec/modbatt.dbc`.
//!
//! # Units
//! Every physical quantity is an integer whose name carries the unit: `_mv` millivolt, `_ma` milliampere (positive
//! charges the battery), `_mc` thousandths of a degree Celsius, `_ppm` parts per million of full charge or health,
//! `_mohm_per_v` thousandths of an ohm per volt.
//!
//! # Rounding
//! The wire counts in steps (15 mV, 20 mA, 31.25 m°C, ...). Encoding truncates to the lower count, as the firmware
//! does, and saturates at the ends of the field. Decoding gives the smallest whole number of the unit that encodes
//! to the received count: exact where the step is a whole number, and up to 0.75 m°C (pack temperature) or 0.875 ppm
//! (pack state of charge) above the exact value elsewhere. So `encode(decode(body))` never changes a count.
//!
//! # Unused bits
//! Spare bits and the `Reserved` bytes are sent as 0 and ignored on receipt (`spec/can.md`, C7).

use core::fmt;

use crate::can::{Bus, Frame, FrameError};
use crate::sealed_id::ClearId;

mod module_bus;
mod status_all;
mod vehicle_bus;

#[cfg(test)]
mod dbc_test;

pub use module_bus::*;
pub use status_all::*;
pub use vehicle_bus::*;

/// State of a relay or of the pack (C5). The order is the order of authority: a higher state
/// connects more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RelayState {
    /// 0: relay and transistor open.
    #[default]
    Off = 0,
    /// 1: relay closed, transistor open; reaches the bus through 33 kOhm.
    Standby = 1,
    /// 2: transistor pulsed to charge the bus capacitance.
    Precharge = 2,
    /// 3: connected.
    On = 3,
}

/// Permission to move charge (C5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Permission {
    /// 0: neither; always when the state is not On.
    #[default]
    Neither = 0,
    /// 1: empty, charge only.
    ChargeOnly = 1,
    /// 2: both.
    Both = 2,
    /// 3: full, discharge only.
    DischargeOnly = 3,
}

/// Faults of a module as the pack reports them, bits 22..26 of 0x411 (C5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModuleFaults(u8);

impl ModuleFaults {
    /// No fault.
    pub const NONE: Self = Self(0);
    /// No status for too long.
    pub const COMMUNICATION: Self = Self(1);
    /// The capability message had wrong signs.
    pub const HARDWARE_INCOMPATIBLE: Self = Self(2);
    /// Current beyond the capability.
    pub const OVER_CURRENT: Self = Self(4);
    /// Too hot.
    pub const OVER_TEMPERATURE: Self = Self(8);
    /// Voltage too high.
    pub const OVER_VOLTAGE: Self = Self(16);

    /// The faults coded by `bits`; `None` when a spare bit is set.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 32 { Some(Self(bits)) } else { None }
    }

    /// Bit 0 communication .. bit 4 over-voltage.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The faults of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every fault of `other` is present.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is no fault.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Why a body is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The body has a length no sender of this message uses.
    Length {
        /// Bytes received.
        got: usize,
    },
    /// A field holds a number without meaning (a relay state above 3, a count that contradicts the length).
    Value {
        /// Name of the signal in `spec/modbatt.dbc`.
        signal: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got } => write!(f, "no such message has {got} bytes"),
            Self::Value { signal } => write!(f, "signal {signal} holds a number without meaning"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// How counts become a quantity: `quantity = ceil(count * num / den) + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    num: i64,
    den: i64,
    offset: i64,
    /// Quantities per unit of the DBC: 1000 for millivolts where the DBC has volts.
    per_unit: i64,
    signed: bool,
}

impl Scale {
    const fn new(num: i64, den: i64, offset: i64, per_unit: i64) -> Self {
        Self { num, den, offset, per_unit, signed: false }
    }

    fn quantity(self, count: i64) -> i64 {
        let product = count.saturating_mul(self.num);
        // Counts of scaled fields are not negative, so this is the ceiling.
        let steps = if self.den == 1 { product } else { product.saturating_add(self.den - 1) / self.den };
        steps.saturating_add(self.offset)
    }

    fn count(self, quantity: i64) -> i64 {
        quantity.saturating_sub(self.offset).saturating_mul(self.den).div_euclid(self.num)
    }
}

/// A number without unit.
const PLAIN: Scale = Scale::new(1, 1, 0, 1);
/// A number without unit in two's complement.
const SIGNED: Scale = Scale { signed: true, ..PLAIN };
/// Cell voltage, 1 mV steps.
const MV_1: Scale = Scale::new(1, 1, 0, 1_000);
/// Module and bus voltage, 15 mV steps.
const MV_15: Scale = Scale::new(15, 1, 0, 1_000);
/// Pack voltage, 50 mV steps.
const MV_50: Scale = Scale::new(50, 1, 0, 1_000);
/// Module current, 20 mA steps from -655.36 A.
const MA_20: Scale = Scale::new(20, 1, -655_360, 1_000);
/// Pack current, 50 mA steps from -1600 A.
const MA_50: Scale = Scale::new(50, 1, -1_600_000, 1_000);
/// Module temperature, 10 m°C steps from -55.35 °C.
const MC_10: Scale = Scale::new(10, 1, -55_350, 1_000);
/// Pack temperature, 31.25 m°C steps from -273 °C.
const MC_31_25: Scale = Scale::new(125, 4, -273_000, 1_000);
/// Module state of charge and health, 0.5 % steps.
const PPM_5000: Scale = Scale::new(5_000, 1, 0, 10_000);
/// Pack state of health, 0.4 % steps.
const PPM_4000: Scale = Scale::new(4_000, 1, 0, 10_000);
/// Pack state of charge, 0.0015625 % steps.
const PPM_15_625: Scale = Scale::new(125, 8, 0, 10_000);
/// Isolation, 0.001 Ohm/V steps as the constant in the firmware says; the factor is disputed and the value is
/// always 0 today (C4).
const MOHM_PER_V: Scale = Scale::new(1, 1, 0, 1_000);

/// Place and scale of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name in the DBC. A field made of several one-bit signals joins their names with `|`, lowest bit first.
    pub signal: &'static str,
    /// Position of the least significant bit, bit 0 = bit 0 of byte 0.
    pub start: u8,
    /// Number of bits, 1..=64.
    pub len: u8,
    /// How counts become a quantity.
    pub scale: Scale,
}

impl Field {
    const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.len as u32)
    }

    fn get<T: Quantity>(self, word: u64) -> Result<T, DecodeError> {
        let count = (word >> self.start & self.mask()) as i64;
        T::from_quantity(self.scale.quantity(count)).ok_or(DecodeError::Value { signal: self.signal })
    }

    fn put<T: Quantity>(self, value: T) -> u64 {
        let count = self.scale.count(value.quantity());
        let count = if self.scale.signed {
            count as u64 & self.mask()
        } else {
            u64::try_from(count).unwrap_or(0).min(self.mask())
        };
        count << self.start
    }
}

/// A Rust type a field can have.
trait Quantity: Copy {
    fn quantity(self) -> i64;
    fn from_quantity(quantity: i64) -> Option<Self>;
}

macro_rules! integer_quantity {
    ($($ty:ty)*) => { $(
        impl Quantity for $ty {
            fn quantity(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }

            fn from_quantity(quantity: i64) -> Option<Self> {
                Self::try_from(quantity).ok()
            }
        }
    )* };
}

integer_quantity!(u8 u16 u32 u64 i32 i64);

impl Quantity for bool {
    fn quantity(self) -> i64 {
        i64::from(self)
    }

    fn from_quantity(quantity: i64) -> Option<Self> {
        Some(quantity != 0)
    }
}

impl Quantity for RelayState {
    fn quantity(self) -> i64 {
        self as i64
    }

    fn from_quantity(quantity: i64) -> Option<Self> {
        match quantity {
            0 => Some(Self::Off),
            1 => Some(Self::Standby),
            2 => Some(Self::Precharge),
            3 => Some(Self::On),
            _ => None,
        }
    }
}

impl Quantity for Permission {
    fn quantity(self) -> i64 {
        self as i64
    }

    fn from_quantity(quantity: i64) -> Option<Self> {
        match quantity {
            0 => Some(Self::Neither),
            1 => Some(Self::ChargeOnly),
            2 => Some(Self::Both),
            3 => Some(Self::DischargeOnly),
            _ => None,
        }
    }
}

impl Quantity for ModuleFaults {
    fn quantity(self) -> i64 {
        i64::from(self.0)
    }

    fn from_quantity(quantity: i64) -> Option<Self> {
        u8::try_from(quantity).ok().and_then(Self::from_bits)
    }
}

/// A message with a fixed layout.
pub trait Message: Sized {
    /// The bus it is sent on.
    const BUS: Bus;
    /// 11-bit base, on CAN 1 without the offset of pack 1.
    const BASE: u16;
    /// Name in `spec/modbatt.dbc`.
    const NAME: &'static str;
    /// Bytes sent.
    const DLC: usize;
    /// Shortest body accepted; missing bytes read as 0.
    const MIN_LEN: usize;
    /// Longest body accepted; further bytes are ignored.
    const MAX_LEN: usize;
    /// The signals.
    const FIELDS: &'static [Field];

    /// The eight bytes as one little-endian number.
    fn to_word(&self) -> u64;

    /// Reads the signals from eight bytes as one little-endian number.
    ///
    /// # Errors
    /// [`DecodeError::Value`].
    fn from_word(word: u64) -> Result<Self, DecodeError>;

    /// The body: eight bytes of which the first `.1` are sent.
    fn encode(&self) -> ([u8; 8], usize) {
        (self.to_word().to_le_bytes(), Self::DLC)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError`].
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&body.len()) {
            return Err(DecodeError::Length { got: body.len() });
        }
        let mut bytes = [0; 8];
        for (slot, byte) in bytes.iter_mut().zip(body) {
            *slot = *byte;
        }
        Self::from_word(u64::from_le_bytes(bytes))
    }

    /// The clear frame: `node` is the node on CAN 2, the number of the pack (0 or 1) on CAN 1.
    ///
    /// # Errors
    /// [`FrameError::IdTooWide`] when the pack is neither 0 nor 1.
    fn frame(&self, node: u8) -> Result<Frame, FrameError> {
        let id = ClearId::new(Self::BASE, node).encode(Self::BUS).ok_or(FrameError::IdTooWide)?;
        let (bytes, len) = self.encode();
        Frame::new_classic(id, bytes.get(..len).unwrap_or(&bytes))
    }
}

/// Declares messages. One line per signal: field, type, DBC name, start bit, length, scale.
macro_rules! messages {
    ($bus:ident; $(
        $(#[$doc:meta])*
        $name:ident = $dbc:literal, $base:literal, dlc $dlc:literal, accepts $min:literal ..= $max:literal {
            $( $(#[$field_doc:meta])* $field:ident: $ty:ty = $signal:literal @ $start:literal, $len:literal, $scale:ident; )*
        }
    )*) => { $(
        #[doc = concat!("`", stringify!($base), " ", $dbc, "`.")]
        #[doc = ""]
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[doc = ""]
                #[doc = concat!("Signal `", $signal, "`: bit ", stringify!($start), ", ", stringify!($len), " bits.")]
                pub $field: $ty,
            )*
        }

        impl Message for $name {
            const BUS: Bus = Bus::$bus;
            const BASE: u16 = $base;
            const NAME: &'static str = $dbc;
            const DLC: usize = $dlc;
            const MIN_LEN: usize = $min;
            const MAX_LEN: usize = $max;
            const FIELDS: &'static [Field] =
                &[$(Field { signal: $signal, start: $start, len: $len, scale: $scale }),*];

            fn to_word(&self) -> u64 {
                0 $(| Field { signal: $signal, start: $start, len: $len, scale: $scale }.put(self.$field))*
            }

            fn from_word(_word: u64) -> Result<Self, DecodeError> {
                Ok(Self {
                    $($field: Field { signal: $signal, start: $start, len: $len, scale: $scale }.get(_word)?,)*
                })
            }
        }
    )* };
}

use messages;
