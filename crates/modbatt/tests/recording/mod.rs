//! A reader of its own for the recordings: it shares nothing with the code that writes them.

use std::collections::BTreeSet;
use std::path::Path;

use pack::can::Id;
use sim::legacy::OldNode;

/// One frame of a recording: identifier as in SocketCAN (bit 31: 29-bit).
type Identifier = u32;

/// What a recording holds.
#[derive(Debug, Default)]
pub struct Census {
    /// 29-bit frames with bit 17.
    pub sealed: u64,
    /// All others.
    pub clear: u64,
    /// Clear frames after the pairing of their device whose class is not one of those that stay clear for ever.
    pub trespassers: Vec<String>,
}

/// Identifiers of all frames of a pcapng file, in order.
fn identifiers(path: &Path) -> Vec<Identifier> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let length = word(at + 4) as usize;
        assert_eq!(length as u32, word(at + length - 4), "block at {at} of {}", path.display());
        if word(at) == 6 {
            found.push(u32::from_be_bytes(bytes[at + 28..at + 32].try_into().unwrap()));
        }
        at += length;
    }
    found
}

/// Counts a bus. `paired` says that every device was paired before the recording began.
///
/// Otherwise a device counts as paired from its first sealed frame of exchange or pairing level on, a broadcast from
/// the first such frame of any device. What stays clear is read from secure-link 2.7.2: discovery, read-only
/// diagnostics, security PDUs.
pub fn census(path: &Path, can1: bool, paired: bool) -> Census {
    let mut census = Census::default();
    let mut devices: BTreeSet<u32> = BTreeSet::new();
    for (index, identifier) in identifiers(path).into_iter().enumerate() {
        let (raw, extended) = (identifier & 0x1FFF_FFFF, identifier >> 31 == 1);
        if extended && raw >> 17 & 1 == 1 {
            census.sealed += 1;
            if matches!(raw >> 18 & 3, 1 | 2) {
                devices.insert(raw & 0xFF);
            }
            continue;
        }
        census.clear += 1;
        let (base, device) = match (extended, can1) {
            (true, _) => (raw >> 18, raw & 0xFF),
            (false, true) => (raw.wrapping_sub(0x100), 0),
            (false, false) => (raw, 0),
        };
        let stays_clear: &[u32] =
            if can1 { &[0x406, 0x40C, 0x4AC] } else { &[0x500, 0x50C, 0x510, 0x51D, 0x52C] };
        let diagnostics = if can1 { 0x220..=0x228 } else { 0x3F0..=0x3F3 };
        let concerned =
            paired || devices.contains(&device) || (matches!(device, 0 | 0xFF) && !devices.is_empty());
        if concerned && !stays_clear.contains(&base) && !diagnostics.contains(&base) {
            census.trespassers.push(format!("frame {index}: base {base:#x}, device {device}"));
        }
    }
    census
}

/// Both buses of a folder together.
pub fn both(folder: &Path, paired: bool) -> Census {
    let (one, two) = (
        census(&folder.join("can1.pcapng"), true, paired),
        census(&folder.join("can2.pcapng"), false, paired),
    );
    assert!(one.sealed > 0 && two.sealed > 0, "both buses carry sealed frames");
    let trespassers = [one.trespassers, two.trespassers].concat();
    Census { sealed: one.sealed + two.sealed, clear: one.clear + two.clear, trespassers }
}

/// C127 and C128 on a recording: no sealed frame and no clear security PDU is a message to a node of the older
/// generation. Gives the number of frames shown to them, and how many clear messages they took.
pub fn shown_to_old_nodes(folder: &Path) -> (u64, u64) {
    let nodes = OldNode::all();
    let (mut tried, mut taken) = (0, 0);
    for (file, can1) in [("can1.pcapng", true), ("can2.pcapng", false)] {
        let bus = if can1 { pack::can::Bus::Can1 } else { pack::can::Bus::Can2 };
        for identifier in identifiers(&folder.join(file)) {
            let (raw, extended) = (identifier & 0x1FFF_FFFF, identifier >> 31 == 1);
            let id = if extended { Id::Extended(raw) } else { Id::Standard(raw as u16) };
            let message = nodes.iter().filter(|node| node.bus() == bus).find_map(|node| node.message(id));
            let security = extended && matches!(raw >> 18, 0x40C | 0x4AC | 0x50C | 0x52C);
            if extended && raw >> 17 & 1 == 1 || security {
                assert_eq!(message, None, "{file}: {id}");
                tried += 1;
            } else {
                taken += u64::from(message.is_some());
            }
        }
    }
    (tried, taken)
}

/// Lengths of the FD frames in a pcapng file, by its FD flag.
pub fn fd_lengths(path: &Path) -> BTreeSet<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (0, BTreeSet::new());
    while at < bytes.len() {
        if word(at) == 6 && bytes[at + 33] & 4 != 0 {
            found.insert(bytes[at + 32]);
        }
        at += word(at + 4) as usize;
    }
    found
}
