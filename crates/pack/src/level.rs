//! The least validation level of each operation, and what an escalation makes of it (`spec/channel.md`, H150 and H151).
//!
//! This is the one place that says so. The class table ([`crate::policy`]) says how well a message must be protected;
//! a level says how much somebody must have proved before an operation is done.

use crate::{
    can::Bus,
    policy::{Effect, Protection},
};
use lct::validation::ValidationLevel::{self, *};

/// What somebody may want done. The discriminant is the code in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Reading telemetry.
    Read = 1,
    /// Reporting a fault or a state.
    Report = 2,
    /// First contact with a device that is not paired.
    Contact = 3,
    /// Resuming a session.
    Resume = 4,
    /// Repeating or lowering a state.
    Hold = 5,
    /// Raising a relay state, a ceiling or a limit.
    Raise = 6,
    /// Balancing, parameters, firmware.
    Configure = 7,
    /// Completing or modifying a pairing.
    Pair = 8,
    /// Ending a pairing.
    Unpair = 9,
    /// Binding, binding again, ownership.
    Bind = 10,
}

impl Operation {
    /// Every operation, in the order of H150.
    pub const ALL: [Operation; 10] = [
        Operation::Read,
        Operation::Report,
        Operation::Contact,
        Operation::Resume,
        Operation::Hold,
        Operation::Raise,
        Operation::Configure,
        Operation::Pair,
        Operation::Unpair,
        Operation::Bind,
    ];

    /// The least level, and the highest that an escalation asks for it.
    ///
    /// What observes, keeps a channel or reduces authority never needs more than the channel itself: refusing it would
    /// stop status or protection.
    const fn range(self) -> (ValidationLevel, ValidationLevel) {
        match self {
            Operation::Read => (Announce, PairedHandshake),
            Operation::Report => (Witness, PairedHandshake),
            Operation::Contact => (SignedHandshake, SignedHandshake),
            Operation::Resume | Operation::Hold => (PairedHandshake, PairedHandshake),
            Operation::Raise | Operation::Configure => (Command, Binding),
            Operation::Pair => (Pairing, Binding),
            Operation::Unpair => (Pairing, Pairing),
            Operation::Bind => (Binding, Binding),
        }
    }

    /// The least level without escalation.
    pub const fn minimum(self) -> ValidationLevel {
        self.range().0
    }

    /// What a message of `base` does when it has this effect; `None` for what the class table alone decides. A stop
    /// needs no level.
    pub fn of(bus: Bus, base: u16, effect: Effect) -> Option<Operation> {
        match (bus, base, effect) {
            (Bus::Can1, 0x400 | 0x404, Effect::Raise) | (Bus::Can2, 0x514 | 0x517, Effect::Raise) => {
                Some(Operation::Raise)
            }
            (Bus::Can1, 0x403, _) => Some(Operation::Configure),
            _ => None,
        }
    }
}

/// The level that `operation` needs while `raised` is asked for.
pub fn required(operation: Operation, raised: Option<ValidationLevel>) -> ValidationLevel {
    let (minimum, most) = operation.range();
    raised.map_or(minimum, |level| level.min(most).max(minimum))
}

/// The level that a message proves by the way in which it arrived; `None` for a clear frame that proves nothing.
/// Levels 6 and 7 are proved by signed statements, never by protection.
pub const fn reached(arrived: Protection) -> Option<ValidationLevel> {
    match arrived {
        Protection::Clear => None,
        Protection::Dev => Some(SignedHandshake),
        Protection::Exch | Protection::Pair | Protection::Bind | Protection::Group => Some(PairedHandshake),
        Protection::PairSigned => Some(Command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decision 15 and H150, written down again from the text: least level, and the level needed while 2, 4, 5, 6 and
    /// 7 are asked for.
    #[test]
    fn what_each_operation_needs() {
        let rows = [
            (Operation::Read, 1, [2, 4, 4, 4, 4]),
            (Operation::Report, 2, [2, 4, 4, 4, 4]),
            (Operation::Contact, 3, [3, 3, 3, 3, 3]),
            (Operation::Resume, 4, [4, 4, 4, 4, 4]),
            (Operation::Hold, 4, [4, 4, 4, 4, 4]),
            (Operation::Raise, 5, [5, 5, 5, 6, 7]),
            (Operation::Configure, 5, [5, 5, 5, 6, 7]),
            (Operation::Pair, 6, [6, 6, 6, 6, 7]),
            (Operation::Unpair, 6, [6, 6, 6, 6, 6]),
            (Operation::Bind, 7, [7, 7, 7, 7, 7]),
        ];
        assert_eq!(rows.map(|row| row.0), Operation::ALL);
        for (operation, minimum, escalated) in rows {
            assert_eq!(required(operation, None) as u8, minimum, "{operation:?}");
            let levels = [Witness, PairedHandshake, Command, Pairing, Binding];
            assert_eq!(levels.map(|l| required(operation, Some(l)) as u8), escalated, "{operation:?}");
        }
    }
}
