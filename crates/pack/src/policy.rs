//! Which protection each class of message needs, by bus, base and state of the device (`spec/can.md`,
//! C90 to C95).
//!
//! The table is hashed into every handshake ([`table_bytes`]), so two ends with different tables cannot pair. The
//! *sticky* minimum - a device in flash never falls back to a weaker table - is kept by the caller.
//!
//! What the rows mean:
//! * `clear*` (0x402, and telemetry) is stored as `exch` with the flag [`MAY_STAY_CLEAR`]: without an entry in
//!   `unencrypted_allowed` of the pairing certificate the stricter value holds.
//! * The aggregated messages are "sealed only", so in Factory, where there is no channel, they are `never`.
//! * A table entry cannot say "raise" or "reduce": it holds the minimum for repeating or lowering, and
//!   [`required_for`] adds what [`Effect::Raise`] needs and [`Effect::Stop`] is spared.

use crate::can::Bus;
use crate::sealed_id::{Direction, Level};

/// How a device stands to the secure link (C91).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceState {
    /// Not bound: no channel.
    #[default]
    Factory,
    /// Bound, not paired.
    Bootstrap,
    /// Paired (and operational).
    Paired,
}

/// The least protection a message needs. The discriminant is the code in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MinLevel {
    /// 0: clear frames are accepted.
    Clear = 0,
    /// 1: sealed at dev tier.
    Dev = 1,
    /// 2: sealed at exch tier.
    Exch = 2,
    /// 3: sealed at pair tier.
    Pair = 3,
    /// 4: sealed at pair tier and signed (level 5).
    PairSigned = 4,
    /// 5: sealed at bind tier.
    Bind = 5,
    /// 0xFE: sealed at group or pair tier.
    GroupOrPair = 0xFE,
    /// 0xFF: not accepted at all.
    Never = 0xFF,
}

/// How a message arrived, after it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// In a clear frame.
    Clear,
    /// Opened at dev tier.
    Dev,
    /// Opened at exch tier.
    Exch,
    /// Opened at pair tier.
    Pair,
    /// Opened at pair tier, level-5 signature verified.
    PairSigned,
    /// Opened at bind tier.
    Bind,
    /// Opened under the group key.
    Group,
}

impl MinLevel {
    /// Whether a message that arrived like this may be acted upon.
    ///
    /// A signature or group membership is no rank: bind tier does not stand in for a signature, and the group key,
    /// which every module holds, counts only where the table names it (C92).
    pub const fn admits(self, arrived: Protection) -> bool {
        use Protection::{Bind, Dev, Exch, Group, Pair, PairSigned};
        match self {
            Self::Clear => !matches!(arrived, Group),
            Self::Dev => matches!(arrived, Dev | Exch | Pair | PairSigned | Bind),
            Self::Exch => matches!(arrived, Exch | Pair | PairSigned | Bind),
            Self::Pair => matches!(arrived, Pair | PairSigned | Bind),
            Self::PairSigned => matches!(arrived, PairSigned),
            Self::Bind => matches!(arrived, Bind),
            Self::GroupOrPair => matches!(arrived, Group | Pair | PairSigned),
            Self::Never => false,
        }
    }
}

/// What acting on a command would change, decided after opening (C93).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Takes a state or a ceiling above the one in force.
    Raise,
    /// Repeats or lowers it; also everything that is no command.
    Hold,
    /// Asks for Off.
    Stop,
}

/// Flag: may stay clear in a paired device when listed in `unencrypted_allowed`.
pub const MAY_STAY_CLEAR: u8 = 1;
/// Flag: in Factory only inside the commissioning window.
pub const COMMISSIONING_WINDOW: u8 = 2;
/// Flag: values must lie in the factory envelope.
pub const NEEDS_ENVELOPE: u8 = 4;
/// Flag: only from the A side to the B side.
pub const A_TO_B_ONLY: u8 = 8;

/// One row, 8 bytes: `u16 first | u16 last | u8 flags | u8 min_factory | u8 min_bootstrap | u8 min_paired`,
/// big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First 11-bit base.
    pub first: u16,
    /// Last 11-bit base.
    pub last: u16,
    /// [`MAY_STAY_CLEAR`] and the other flags.
    pub flags: u8,
    /// Minimum in Factory.
    pub factory: MinLevel,
    /// Minimum in Bootstrap.
    pub bootstrap: MinLevel,
    /// Minimum in Paired.
    pub paired: MinLevel,
}

impl Entry {
    /// Encoded length.
    pub const LEN: usize = 8;

    /// The row as it is hashed.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [f0, f1] = self.first.to_be_bytes();
        let [l0, l1] = self.last.to_be_bytes();
        [f0, f1, l0, l1, self.flags, self.factory as u8, self.bootstrap as u8, self.paired as u8]
    }

    /// The minimum in `state`.
    pub const fn min(self, state: DeviceState) -> MinLevel {
        match state {
            DeviceState::Factory => self.factory,
            DeviceState::Bootstrap => self.bootstrap,
            DeviceState::Paired => self.paired,
        }
    }
}

const fn row(first: u16, last: u16, flags: u8, min: [MinLevel; 3]) -> Entry {
    let [factory, bootstrap, paired] = min;
    Entry { first, last, flags, factory, bootstrap, paired }
}

use MinLevel::{Bind, Clear, Dev, Exch, GroupOrPair, Never, Pair, PairSigned};

const OPEN: [MinLevel; 3] = [Clear, Clear, Clear];
const TELEMETRY: [MinLevel; 3] = [Clear, Clear, Exch];
const REQUEST: [MinLevel; 3] = [Clear, Dev, Exch];
const CRITICAL: [MinLevel; 3] = [Clear, Dev, Pair];
const COMMAND: [MinLevel; 3] = [Clear, Dev, Pair];
const REDUCE: [MinLevel; 3] = [Clear, Dev, GroupOrPair];

/// The table, ascending and without overlap. A base in no row is refused in every state.
pub const TABLE: [Entry; 35] = [
    // Read-only diagnostics and sector transfer, clear in every state.
    row(0x220, 0x228, 0, OPEN),
    row(0x3F0, 0x3F3, 0, OPEN),
    // CAN 1, app to pack.
    row(0x400, 0x400, A_TO_B_ONLY, COMMAND),
    row(0x401, 0x401, A_TO_B_ONLY, COMMAND), // time; in Factory for display only
    row(0x402, 0x402, A_TO_B_ONLY | MAY_STAY_CLEAR, TELEMETRY),
    row(0x403, 0x403, A_TO_B_ONLY | COMMISSIONING_WINDOW | NEEDS_ENVELOPE, [Clear, Dev, PairSigned]),
    row(0x404, 0x404, A_TO_B_ONLY, COMMAND),
    row(0x405, 0x405, A_TO_B_ONLY, REQUEST), // keep-alive
    row(0x406, 0x406, A_TO_B_ONLY, OPEN),
    row(0x407, 0x40A, COMMISSIONING_WINDOW, [Clear, Dev, Bind]), // keys
    row(0x40C, 0x40C, A_TO_B_ONLY, OPEN),                        // security PDUs authenticate themselves
    // CAN 1, pack to app.
    row(0x410, 0x411, 0, CRITICAL),
    row(0x412, 0x417, MAY_STAY_CLEAR, TELEMETRY),
    row(0x421, 0x423, MAY_STAY_CLEAR, TELEMETRY),
    row(0x424, 0x424, 0, [Never, Dev, Pair]), // PACK_STATUS_ALL, sealed only, holds 0x410 and 0x425
    row(0x425, 0x425, 0, CRITICAL),
    row(0x426, 0x430, MAY_STAY_CLEAR, TELEMETRY),
    row(0x440, 0x440, 0, REQUEST),
    row(0x441, 0x441, MAY_STAY_CLEAR, TELEMETRY),
    row(0x4AC, 0x4AC, 0, OPEN),
    // CAN 2, module to pack.
    row(0x500, 0x500, 0, OPEN),
    row(0x501, 0x507, MAY_STAY_CLEAR, TELEMETRY),
    row(0x508, 0x509, 0, [Never, Dev, Exch]), // MODULE_STATUS_ALL, MODULE_SCAN, sealed only
    row(0x50C, 0x50C, 0, OPEN),
    // CAN 2, pack to module.
    row(0x510, 0x510, A_TO_B_ONLY, OPEN),
    row(0x511, 0x512, A_TO_B_ONLY, REQUEST),
    row(0x514, 0x514, A_TO_B_ONLY, COMMAND),
    row(0x515, 0x515, A_TO_B_ONLY, REQUEST),
    row(0x516, 0x516, A_TO_B_ONLY, COMMAND), // time
    row(0x517, 0x517, A_TO_B_ONLY, REDUCE),
    row(0x518, 0x518, A_TO_B_ONLY, COMMAND),
    row(0x51D, 0x51D, A_TO_B_ONLY, OPEN),
    row(0x51E, 0x51F, A_TO_B_ONLY, REDUCE),
    // CAN 2, log frame transfer, both directions.
    row(0x520, 0x523, MAY_STAY_CLEAR, TELEMETRY),
    row(0x52C, 0x52C, A_TO_B_ONLY, OPEN),
];

/// The table as it is hashed: `u16 count || entries ascending by first`, big-endian (C94).
pub const fn table_bytes() -> [u8; 2 + TABLE.len() * Entry::LEN] {
    let mut out = [0; 2 + TABLE.len() * Entry::LEN];
    let [high, low] = (TABLE.len() as u16).to_be_bytes();
    out[0] = high;
    out[1] = low;
    let mut index = 0;
    while index < TABLE.len() {
        let bytes = TABLE[index].to_bytes();
        let mut at = 0;
        while at < Entry::LEN {
            out[2 + index * Entry::LEN + at] = bytes[at];
            at += 1;
        }
        index += 1;
    }
    out
}

/// The bus on which a base of the table lives. On CAN 1 the offset of pack 1 is already gone, so 0x5xx is CAN 2.
const fn bus_of(base: u16) -> Option<Bus> {
    match base {
        0x220..=0x228 | 0x400..=0x4FF => Some(Bus::Can1),
        0x3F0..=0x3F3 | 0x500..=0x5FF => Some(Bus::Can2),
        _ => None,
    }
}

/// The row for a base (without pack offset) on a bus.
pub fn entry(bus: Bus, base: u16) -> Option<&'static Entry> {
    entry_in(&TABLE, bus, base)
}

/// The row for a base in the table in force, which is ascending and without overlap.
pub fn entry_in(table: &[Entry], bus: Bus, base: u16) -> Option<&Entry> {
    if bus_of(base) != Some(bus) {
        return None;
    }
    let after = table.partition_point(|entry| entry.first <= base);
    table.get(after.checked_sub(1)?).filter(|entry| base <= entry.last)
}

/// The least protection for a message that raises nothing: [`required_for`] with [`Effect::Hold`].
///
/// `base` is the 11-bit base without pack offset. [`MinLevel::Never`] for a base in no row.
pub fn required(bus: Bus, base: u16, state: DeviceState) -> MinLevel {
    entry(bus, base).map_or(Never, |entry| entry.min(state))
}

/// The least protection for a message with this effect.
///
/// * Raising a relay state (0x400, 0x404, 0x514) in a paired device needs pair tier and a level-5 signature; raising
///   the ceiling 0x517 needs the same and is refused in any other state.
/// * Off (0x400, 0x404, 0x514) is accepted from dev tier up in a paired device too.
pub fn required_for(bus: Bus, base: u16, state: DeviceState, effect: Effect) -> MinLevel {
    entry(bus, base).map_or(Never, |entry| minimum(entry, bus, base, state, effect))
}

/// [`required_for`] by a row of the table in force.
pub const fn minimum(entry: &Entry, bus: Bus, base: u16, state: DeviceState, effect: Effect) -> MinLevel {
    let hold = entry.min(state);
    let command = matches!((bus, base), (Bus::Can1, 0x400 | 0x404) | (Bus::Can2, 0x514));
    let ceiling = matches!((bus, base), (Bus::Can2, 0x517));
    match (effect, state) {
        (Effect::Raise, DeviceState::Paired) if ceiling => PairSigned,
        (Effect::Raise, _) if ceiling => Never,
        (Effect::Raise, DeviceState::Paired) if command => PairSigned,
        (Effect::Stop, DeviceState::Paired) if command => Dev,
        _ => hold,
    }
}

/// Whether a clear frame of this base is refused in a paired device that lists nothing in `unencrypted_allowed`.
pub fn is_protected_when_paired(bus: Bus, base: u16) -> bool {
    required(bus, base, DeviceState::Paired) != Clear
}

/// Whether `unencrypted_allowed` of the pairing certificate may name this base.
pub fn may_stay_clear(bus: Bus, base: u16) -> bool {
    entry(bus, base).is_some_and(|entry| entry.flags & MAY_STAY_CLEAR != 0)
}

/// Whether a message of this base may come from this side. The table knows "A to B only" and "either".
pub fn admits_direction(bus: Bus, base: u16, direction: Direction) -> bool {
    entry(bus, base).is_some_and(|entry| entry.flags & A_TO_B_ONLY == 0 || direction == Direction::Ab)
}

/// The outer check of a sealed frame, before its exact base is known: whether any message
/// of the family could be acted upon at this level. The exact check after opening is [`required_for`].
///
/// `family` is the first of four bases, as [`crate::sealed_id::SealedId::family`] gives it.
pub fn outer_admits(bus: Bus, family: u16, level: Level, state: DeviceState) -> bool {
    outer_admits_in(&TABLE, bus, family, level, state)
}

/// [`outer_admits`] by the table in force.
pub fn outer_admits_in(table: &[Entry], bus: Bus, family: u16, level: Level, state: DeviceState) -> bool {
    let possible: &[Protection] = match level {
        Level::Dev => &[Protection::Dev],
        Level::Exch => &[Protection::Exch],
        Level::Pair => &[Protection::Pair, Protection::PairSigned, Protection::Group],
        Level::Bind => &[Protection::Bind],
    };
    (family..=family | 3).filter_map(|base| Some((base, entry_in(table, bus, base)?))).any(|(base, entry)| {
        [Effect::Raise, Effect::Hold, Effect::Stop].into_iter().any(|effect| {
            let min = minimum(entry, bus, base, state, effect);
            possible.iter().any(|arrived| min.admits(*arrived))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeviceState::{Bootstrap, Factory, Paired};

    #[test]
    fn the_table_ascends_without_overlap_on_known_buses() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].last < pair[1].first, "{:x}", pair[1].first);
        }
        for entry in &TABLE {
            assert!(entry.first <= entry.last);
            assert!((entry.first..=entry.last).all(|base| bus_of(base) == bus_of(entry.first)));
            assert!(bus_of(entry.first).is_some());
        }
    }

    /// The rows of C90, written down again from the text.
    #[test]
    fn every_class_needs_what_the_design_says() {
        let (one, two) = (Bus::Can1, Bus::Can2);
        let table: [(&str, Bus, &[u16], [MinLevel; 3]); 17] = [
            ("discovery", two, &[0x500, 0x510, 0x51D], [Clear, Clear, Clear]),
            ("discovery", one, &[0x406], [Clear, Clear, Clear]),
            ("diagnostics", one, &[0x220, 0x224, 0x228], [Clear, Clear, Clear]),
            ("sector transfer", two, &[0x3F0, 0x3F3], [Clear, Clear, Clear]),
            (
                "telemetry",
                one,
                &[0x412, 0x417, 0x421, 0x422, 0x423, 0x428, 0x430, 0x441],
                [Clear, Clear, Exch],
            ),
            ("telemetry", two, &[0x501, 0x502, 0x507, 0x520, 0x523], [Clear, Clear, Exch]),
            ("critical", one, &[0x410, 0x411, 0x425], [Clear, Dev, Pair]),
            ("sealed only", one, &[0x424], [Never, Dev, Pair]),
            ("sealed only", two, &[0x508, 0x509], [Never, Dev, Exch]),
            ("keep-alive", one, &[0x405], [Clear, Dev, Exch]),
            ("requests", two, &[0x511, 0x512, 0x515], [Clear, Dev, Exch]),
            ("requests", one, &[0x440], [Clear, Dev, Exch]),
            ("command, time", one, &[0x400, 0x401, 0x404], [Clear, Dev, Pair]),
            ("command, time", two, &[0x514, 0x516, 0x518], [Clear, Dev, Pair]),
            ("config", one, &[0x403], [Clear, Dev, PairSigned]),
            ("reduce", two, &[0x517, 0x51E, 0x51F], [Clear, Dev, GroupOrPair]),
            ("keys", one, &[0x407, 0x408, 0x409, 0x40A], [Clear, Dev, Bind]),
        ];
        for (class, bus, bases, minimums) in table {
            for base in bases {
                let got = [Factory, Bootstrap, Paired].map(|state| required(bus, *base, state));
                assert_eq!(got, minimums, "{class} {base:x}");
            }
        }
    }

    #[test]
    fn unlisted_bases_and_the_wrong_bus_are_refused() {
        for state in [Factory, Bootstrap, Paired] {
            for base in [0x000, 0x229, 0x40B, 0x418, 0x41F, 0x420, 0x431, 0x442, 0x513, 0x519, 0x524, 0x600] {
                assert_eq!(required(Bus::Can1, base, state), Never, "{base:x}");
                assert_eq!(required(Bus::Can2, base, state), Never, "{base:x}");
            }
            assert_eq!(required(Bus::Can2, 0x400, state), Never);
            // 0x514 on CAN 1 would be DMC_MODULE_CELL_TEMP of pack 1 with its offset left on.
            assert_eq!(required(Bus::Can1, 0x514, state), Never);
        }
    }

    #[test]
    fn raising_needs_a_signature_and_stopping_only_a_channel() {
        use Effect::{Hold, Raise, Stop};
        let table = [
            (Bus::Can1, 0x400, Paired, [PairSigned, Pair, Dev]),
            (Bus::Can1, 0x404, Paired, [PairSigned, Pair, Dev]),
            (Bus::Can2, 0x514, Paired, [PairSigned, Pair, Dev]),
            (Bus::Can2, 0x517, Paired, [PairSigned, GroupOrPair, GroupOrPair]),
            (Bus::Can2, 0x517, Bootstrap, [Never, Dev, Dev]),
            (Bus::Can2, 0x517, Factory, [Never, Clear, Clear]),
            (Bus::Can2, 0x514, Bootstrap, [Dev, Dev, Dev]),
            (Bus::Can2, 0x518, Paired, [Pair, Pair, Pair]),
        ];
        for (bus, base, state, expected) in table {
            let got = [Raise, Hold, Stop].map(|effect| required_for(bus, base, state, effect));
            assert_eq!(got, expected, "{base:x} {state:?}");
        }
    }

    /// A compromised module knows the group key (H34): it may reduce and nothing else.
    #[test]
    fn the_group_key_opens_only_what_reduces() {
        for entry in &TABLE {
            for min in [entry.factory, entry.bootstrap, entry.paired] {
                assert_eq!(min.admits(Protection::Group), min == GroupOrPair, "{:x}", entry.first);
            }
        }
        assert!(!required_for(Bus::Can2, 0x517, Paired, Effect::Raise).admits(Protection::Group));
    }

    #[test]
    fn only_a_signature_is_a_signature() {
        for arrived in [
            Protection::Clear,
            Protection::Dev,
            Protection::Exch,
            Protection::Pair,
            Protection::Bind,
            Protection::Group,
        ] {
            assert!(!PairSigned.admits(arrived), "{arrived:?}");
            assert!(!Never.admits(arrived), "{arrived:?}");
        }
        assert!(!Never.admits(Protection::PairSigned));
        assert!(
            !Pair.admits(Protection::Exch) && !Exch.admits(Protection::Dev) && !Dev.admits(Protection::Clear)
        );
    }

    #[test]
    fn a_paired_device_takes_no_clear_command() {
        for (bus, base) in [(Bus::Can1, 0x400), (Bus::Can1, 0x403), (Bus::Can1, 0x405), (Bus::Can2, 0x51F)] {
            assert!(is_protected_when_paired(bus, base));
            assert!(!may_stay_clear(bus, base));
        }
        assert!(!is_protected_when_paired(Bus::Can1, 0x406));
        assert!(may_stay_clear(Bus::Can2, 0x502) && is_protected_when_paired(Bus::Can2, 0x502));
        // Nothing that may stay clear can command, configure or carry critical telemetry.
        for entry in TABLE.iter().filter(|entry| entry.flags & MAY_STAY_CLEAR != 0) {
            assert_eq!(entry.paired, Exch, "{:x}", entry.first);
        }
    }

    #[test]
    fn commands_come_from_above_only() {
        assert!(admits_direction(Bus::Can2, 0x514, Direction::Ab));
        assert!(!admits_direction(Bus::Can2, 0x514, Direction::Ba));
        assert!(admits_direction(Bus::Can2, 0x508, Direction::Ba));
        assert!(!admits_direction(Bus::Can2, 0x513, Direction::Ab));
    }

    #[test]
    fn the_outer_check_passes_what_some_base_of_the_family_allows() {
        let table = [
            (Bus::Can2, 0x514, Level::Pair, Paired, true),
            (Bus::Can2, 0x514, Level::Exch, Paired, true), // 0x515
            (Bus::Can2, 0x51C, Level::Pair, Paired, true),
            (Bus::Can2, 0x508, Level::Dev, Paired, false),
            (Bus::Can1, 0x424, Level::Dev, Factory, true), // 0x425
            (Bus::Can2, 0x524, Level::Pair, Paired, false),
            (Bus::Can1, 0x514, Level::Pair, Paired, false),
            (Bus::Can1, 0x40C, Level::Pair, Paired, true),
        ];
        for (bus, family, level, state, expected) in table {
            assert_eq!(outer_admits(bus, family, level, state), expected, "{bus} {family:x} {level:?}");
        }
    }

    #[test]
    fn the_hashed_bytes_have_the_published_layout() {
        let bytes = table_bytes();
        assert_eq!(bytes[..2], [0, 35]);
        assert_eq!(bytes.len(), 2 + 35 * 8);
        let config = bytes[2..].chunks(8).find(|row| row[..2] == [0x04, 0x03]).unwrap();
        assert_eq!(config, [0x04, 0x03, 0x04, 0x03, 0x0E, 0, 1, 4]);
        let reduce = bytes[2..].chunks(8).find(|row| row[..2] == [0x05, 0x1E]).unwrap();
        assert_eq!(reduce, [0x05, 0x1E, 0x05, 0x1F, 0x08, 0, 1, 0xFE]);
        assert!(bytes[2..].chunks(8).is_sorted_by_key(|row| [row[0], row[1]]));
    }
}
