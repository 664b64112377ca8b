//! Nodes of the older generation, which may share a bus with sealed traffic: what each takes a frame for, by the
//! identifier (`spec/can.md`, C127 and C128).
//!
//! They know nothing of sealing, and none reads a 29-bit identifier in full. The pack controller compares the 11 base
//! bits and looks neither at the width of the identifier nor at the extension; a module filters base bits 10..8 and the
//! low byte of the extension, and after its first reception the base bits alone, because its filter is set up anew
//! with a wider mask. A frame whose base they know is a command or a measurement to them, whatever its bytes.

use pack::can::{Bus, Frame, Id};

/// How a node compares an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compares {
    /// The 11 base bits, 29-bit or not.
    Base,
    /// The 11 base bits and the low byte of the extension, which is the node or 0.
    BaseAndNode(u8),
    /// The 11 base bits of a 29-bit frame; what the extension holds above the node counts too for bases in this list.
    BaseAndExtension(&'static [u16]),
    /// The low 11 bits of the number, 29-bit or not.
    LowBits,
    /// The whole number, 29-bit or not.
    Number,
}

/// One node.
#[derive(Debug, Clone, Copy)]
pub struct OldNode {
    name: &'static str,
    bus: Bus,
    compares: Compares,
    /// Added to every base that it knows.
    offset: u16,
    /// Bases in ascending order.
    knows: &'static [(u16, &'static str)],
}

const COMMANDS: &[(u16, &str)] = &[
    (0x400, "VCU_COMMAND"),
    (0x401, "VCU_TIME"),
    (0x402, "VCU_READ_EEPROM"),
    (0x403, "VCU_WRITE_EEPROM"),
    (0x404, "VCU_MODULE_COMMAND"),
    (0x405, "VCU_KEEP_ALIVE"),
    (0x406, "VCU_REQUEST_MODULE_LIST"),
];
const KEYS: &[(u16, &str)] =
    &[(0x407, "pack key half"), (0x408, "app key half"), (0x409, "component ids"), (0x40A, "key status")];
const TELEMETRY: &[(u16, &str)] = &[
    (0x410, "BMS_STATE"),
    (0x411, "DMC_MODULE_STATE"),
    (0x412, "DMC_MODULE_POWER"),
    (0x413, "DMC_MODULE_CELL_VOLTAGE"),
    (0x414, "DMC_MODULE_CELL_TEMP"),
    (0x415, "DMC_MODULE_CELL_ID"),
    (0x416, "DMC_MODULE_LIMITS"),
    (0x417, "DMC_MODULE_ISOLATION"),
    (0x41F, "DMC_MODULE_LIST"),
    (0x421, "BMS_DATA_1"),
    (0x422, "BMS_DATA_2"),
    (0x423, "BMS_DATA_3"),
    (0x425, "BMS_DATA_5"),
    (0x428, "BMS_DATA_8"),
    (0x429, "BMS_DATA_9"),
    (0x430, "BMS_DATA_10"),
    (0x440, "BMS_TIME_REQUEST"),
    (0x441, "BMS_EEPROM_DATA"),
    (0x4A7, "acknowledged pack key half"),
    (0x4A8, "acknowledged app key half"),
    (0x4A9, "acknowledged component ids"),
];
const MODULE_COMMANDS: &[(u16, &str)] = &[
    (0x510, "MODULE_REGISTRATION"),
    (0x511, "MODULE_HARDWARE_REQUEST"),
    (0x512, "MODULE_STATUS_REQUEST"),
    (0x514, "MODULE_STATE_CHANGE"),
    (0x515, "MODULE_DETAIL_REQUEST"),
    (0x516, "MODULE_SET_TIME"),
    (0x517, "MODULE_MAX_STATE"),
    (0x518, "MODULE_DEREGISTER"),
    (0x51D, "MODULE_ANNOUNCE_REQUEST"),
    (0x51E, "MODULE_ALL_DEREGISTER"),
    (0x51F, "MODULE_ALL_ISOLATE"),
    (0x520, "FRAME_TRANSFER_REQUEST"),
];
const MODULE_REPORTS: &[(u16, &str)] = &[
    (0x500, "MODULE_ANNOUNCEMENT"),
    (0x501, "MODULE_HARDWARE"),
    (0x502, "MODULE_STATUS_1"),
    (0x503, "MODULE_STATUS_2"),
    (0x504, "MODULE_STATUS_3"),
    (0x505, "MODULE_CELL_DETAIL"),
    (0x506, "MODULE_TIME_REQUEST"),
    (0x507, "MODULE_CELL_COMM_STATUS_1"),
];
/// The emulator of a pack also takes base 0 for an announcement and loads log frames.
const EMULATOR: &[(u16, &str)] = &[
    (0x000, "MODULE_ANNOUNCEMENT"),
    (0x500, "MODULE_ANNOUNCEMENT"),
    (0x501, "MODULE_HARDWARE"),
    (0x502, "MODULE_STATUS_1"),
    (0x503, "MODULE_STATUS_2"),
    (0x504, "MODULE_STATUS_3"),
    (0x505, "MODULE_CELL_DETAIL"),
    (0x506, "MODULE_TIME_REQUEST"),
    (0x507, "MODULE_CELL_COMM_STATUS_1"),
    (0x521, "FRAME_TRANSFER_START"),
    (0x522, "FRAME_TRANSFER_DATA"),
    (0x523, "FRAME_TRANSFER_END"),
];

impl OldNode {
    /// Every node, in every way of reading identifiers that is known of it.
    pub fn all() -> Vec<Self> {
        let node = |name, bus, compares, offset, knows| OldNode { name, bus, compares, offset, knows };
        let mut all = Vec::new();
        for offset in [0, 0x100] {
            all.push(node("pack controller, CAN 1", Bus::Can1, Compares::Base, offset, COMMANDS));
            all.push(node("app", Bus::Can1, Compares::Number, offset, TELEMETRY));
            // A display whose controller gives it the base only, or a decoder with a mask.
            all.push(node("display", Bus::Can1, Compares::Base, offset, TELEMETRY));
        }
        // Written with a mask of 0x7FF over the number; in the form that the controller chip gives, this is the base.
        all.push(node("pack controller, keys", Bus::Can1, Compares::LowBits, 0, KEYS));
        all.push(node("pack controller, keys by base", Bus::Can1, Compares::Base, 0, KEYS));
        let exact = Compares::BaseAndExtension(&[0x501, 0x505]);
        all.push(node("pack controller, CAN 2", Bus::Can2, exact, 0, MODULE_REPORTS));
        all.push(node("pack emulator", Bus::Can2, Compares::Base, 0, EMULATOR));
        all.extend(
            (1..=32)
                .chain([0xFF])
                .map(|number| node("module", Bus::Can2, Compares::BaseAndNode(number), 0, MODULE_COMMANDS)),
        );
        all.push(node("module after its first reception", Bus::Can2, Compares::Base, 0, MODULE_COMMANDS));
        all
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The bus on which it is.
    pub fn bus(&self) -> Bus {
        self.bus
    }

    /// The message for which it takes a frame with this identifier; it looks at nothing else, except that some
    /// messages need a certain length (which is left out here, so that no frame is excused by its length).
    pub fn message(&self, id: Id) -> Option<&'static str> {
        let (base, extension) = match id {
            Id::Standard(raw) => (u32::from(raw), 0),
            Id::Extended(raw) => (raw >> 18, raw & 0x3_FFFF),
        };
        let compared = match self.compares {
            Compares::Base => base,
            Compares::BaseAndNode(node) => {
                let own = extension & 0xFF;
                if own != 0 && own != u32::from(node) {
                    return None;
                }
                base
            }
            Compares::BaseAndExtension(exact) => {
                let stray = extension > 0xFF && exact.iter().any(|known| u32::from(*known) == base);
                if stray || !id.is_extended() {
                    return None;
                }
                base
            }
            Compares::LowBits => id.raw() & 0x7FF,
            Compares::Number => id.raw(),
        };
        let base = u16::try_from(compared).ok()?.checked_sub(self.offset)?;
        let at = self.knows.binary_search_by_key(&base, |(base, _)| *base).ok()?;
        Some(self.knows[at].1)
    }

    /// The same for a frame. FD frames are nothing to nodes of classical CAN.
    pub fn takes(&self, frame: &Frame) -> Option<&'static str> {
        if frame.is_fd() { None } else { self.message(frame.id()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pack::sealed_id::{ClearId, Direction, Level, SealedId, SecurityId, Transport};
    use std::collections::BTreeSet;

    const LEVELS: [Level; 4] = [Level::Dev, Level::Exch, Level::Pair, Level::Bind];
    const DIRECTIONS: [Direction; 2] = [Direction::Ab, Direction::Ba];
    const BIT_28: u32 = 1 << 28;

    /// Devices that frames can carry: the pack's number on CAN 1, everything on CAN 2.
    fn devices(bus: Bus) -> std::ops::RangeInclusive<u8> {
        match bus {
            Bus::Can1 => 0..=1,
            Bus::Can2 => 0..=255,
        }
    }

    /// Bases of a bus that can be sealed (C90); one of each family, because the two low bits are not sent.
    fn families(bus: Bus) -> impl Iterator<Item = u16> {
        let first = match bus {
            Bus::Can1 => 0x400,
            Bus::Can2 => 0x500,
        };
        (first..first + 0x100).step_by(4)
    }

    fn transports() -> Vec<Transport> {
        (0..=255).filter_map(Transport::decode).collect()
    }

    /// Every sealed identifier that can be on a bus.
    fn sealed(bus: Bus) -> impl Iterator<Item = Id> {
        let transports = transports();
        families(bus).flat_map(move |base| {
            let transports = transports.clone();
            LEVELS.into_iter().flat_map(move |level| {
                let transports = transports.clone();
                DIRECTIONS.into_iter().flat_map(move |direction| {
                    let transports = transports.clone();
                    devices(bus).flat_map(move |device| {
                        let id = SealedId::new(base, level, direction, device).unwrap();
                        transports.clone().into_iter().map(move |transport| id.encode(transport))
                    })
                })
            })
        })
    }

    fn on(bus: Bus) -> Vec<OldNode> {
        OldNode::all().into_iter().filter(|node| node.bus() == bus).collect()
    }

    /// C127, exhaustively. The control shows that the model would notice: with bit 28 left in place they do take them.
    #[test]
    fn no_sealed_identifier_is_a_message_to_an_old_node() {
        for (bus, identifiers) in [(Bus::Can1, 140_288), (Bus::Can2, 17_956_864)] {
            let nodes = on(bus);
            let (mut tried, mut kept_base_taken) = (0u64, 0u64);
            let mut messages = BTreeSet::new();
            for id in sealed(bus) {
                tried += 1;
                for node in &nodes {
                    assert_eq!(node.message(id), None, "{} takes {id}", node.name());
                }
                let kept_base = Id::Extended(id.raw() | BIT_28);
                // The last node of CAN 2 obeys whatever any module obeys.
                let takers = nodes.iter().filter(|node| !matches!(node.compares, Compares::BaseAndNode(_)));
                let mut taken = false;
                for message in takers.filter_map(|node| node.message(kept_base)) {
                    messages.insert(message);
                    taken = true;
                }
                kept_base_taken += u64::from(taken);
            }
            println!(
                "{bus}: {tried} sealed identifiers, {} old nodes, none taken; with bit 28 kept {kept_base_taken} are \
                 taken, for {} messages",
                nodes.len(),
                messages.len()
            );
            assert_eq!(tried, identifiers);
            let known = nodes.iter().flat_map(|node| node.knows).map(|(_, message)| *message);
            assert_eq!(messages, known.collect::<BTreeSet<_>>(), "the control reaches every message");
            assert!(kept_base_taken * 10 > tried / 2, "and does so often");
        }
    }

    /// The case that the layout was made for: a sealed STATE_CHANGE at pair level would read as SET_TIME.
    #[test]
    fn a_sealed_command_that_kept_its_base_would_be_obeyed_as_another() {
        let module = OldNode::all().into_iter().find(|n| n.compares == Compares::BaseAndNode(5)).unwrap();
        let id = SealedId::new(0x514, Level::Pair, Direction::Ab, 5).unwrap().encode(Transport::Single);
        assert_eq!(module.message(id), None);
        assert_eq!(module.message(Id::Extended(id.raw() | BIT_28)), Some("MODULE_SET_TIME"));
        let dev = SealedId::new(0x514, Level::Dev, Direction::Ab, 5).unwrap().encode(Transport::Single);
        assert_eq!(module.message(Id::Extended(dev.raw() | BIT_28)), Some("MODULE_STATE_CHANGE"));
    }

    /// C128: security PDUs keep bit 28, on bases that nobody knows.
    #[test]
    fn no_security_pdu_is_a_message_to_an_old_node() {
        let mut tried = 0;
        for bus in [Bus::Can1, Bus::Can2] {
            for direction in DIRECTIONS {
                for device in devices(bus) {
                    for transport in transports() {
                        let id = SecurityId::new(bus, direction, device).encode(transport);
                        for node in on(bus) {
                            assert_eq!(node.message(id), None, "{} takes {id}", node.name());
                        }
                        tried += 1;
                    }
                }
            }
        }
        println!("{tried} identifiers of security PDUs, none taken");
        assert_eq!(tried, 2 * (2 + 256) * 137);
    }

    #[test]
    fn the_tables_are_in_order() {
        for node in OldNode::all() {
            assert!(node.knows.is_sorted_by(|a, b| a.0 < b.0), "{}", node.name());
        }
    }

    /// The model is awake: what is meant for them they take. Identifiers of the DBC's examples.
    #[test]
    fn clear_messages_reach_the_nodes_they_are_for() {
        let id = |base, node, bus| ClearId::new(base, node).encode(bus).unwrap();
        let takers = |bus, id: Id| -> BTreeSet<(&str, &str)> {
            on(bus).iter().filter_map(|n| n.message(id).map(|message| (n.name(), message))).collect()
        };
        let wide = "module after its first reception";
        type Takers<'a> = &'a [(&'a str, &'a str)];
        let table: [(Bus, Id, Takers<'_>); 8] = [
            (
                Bus::Can2,
                id(0x514, 5, Bus::Can2),
                &[("module", "MODULE_STATE_CHANGE"), (wide, "MODULE_STATE_CHANGE")],
            ),
            (
                Bus::Can2,
                id(0x517, 0, Bus::Can2),
                &[("module", "MODULE_MAX_STATE"), (wide, "MODULE_MAX_STATE")],
            ),
            (Bus::Can2, id(0x514, 200, Bus::Can2), &[(wide, "MODULE_STATE_CHANGE")]),
            (
                Bus::Can2,
                id(0x502, 5, Bus::Can2),
                &[("pack controller, CAN 2", "MODULE_STATUS_1"), ("pack emulator", "MODULE_STATUS_1")],
            ),
            // Its extension is compared in full.
            (Bus::Can2, Id::Extended(0x501 << 18 | 0x105), &[("pack emulator", "MODULE_HARDWARE")]),
            (Bus::Can1, id(0x400, 1, Bus::Can1), &[("pack controller, CAN 1", "VCU_COMMAND")]),
            // The pack looks neither at the width nor at the extension.
            (Bus::Can1, Id::Extended(0x400 << 18 | 0x3_FFFF), &[("pack controller, CAN 1", "VCU_COMMAND")]),
            // The key frames of old tools have the number, not the base.
            (Bus::Can1, Id::Extended(0x407), &[("pack controller, keys", "pack key half")]),
        ];
        for (bus, id, expected) in table {
            assert_eq!(takers(bus, id), expected.iter().copied().collect(), "{bus} {id}");
        }
        let seen = takers(Bus::Can1, Id::Standard(0x410));
        assert_eq!(seen, [("app", "BMS_STATE"), ("display", "BMS_STATE")].into());
    }
}
