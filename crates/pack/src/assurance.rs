//! Which operation a peer may ask for: what the assurance of the binding allows, and what the certificate of the
//! pairing grants (`spec/channel.md`, H79 and H114).
//!
//! Every message that asks for an operation has its line in [`of_message`] or [`of_pdu`], every operation its row in
//! `TABLE`; the roles act on nothing that [`permits`] or [`grants`] refuses.

use crate::{can::Bus, level, pdu, policy::Effect};
use lct::{binding::Assurance, metadata::PairingContext};

/// What a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Questions: status, identities, leaves of records.
    Read,
    /// Repeating or lowering a relay state, lowering a ceiling.
    Lower,
    /// Raising a relay state.
    Switch,
    /// Parameters that loosen no limit.
    Configure,
    /// Loosening a limit of voltage, current, temperature or state: 0x517 upwards, limits by 0x403.
    RaiseLimit,
    /// Installing firmware.
    Firmware,
    /// Another binding in the place of this one with the same assurance.
    Rebind,
    /// Changing the class policy or another minimum of protection.
    Policy,
}

/// Operations bit 0 of a certificate: the peer may ask.
const READ: u8 = 1;
/// Operations bit 1: it may change parameters.
const WRITE: u8 = 2;
/// Operations bit 2: it may have something done.
const EXECUTE: u8 = 4;

use PairingContext::{BatteryManagement, Diagnostics, Emergency, FirmwareUpdate};

const EVERY: &[PairingContext] = &[BatteryManagement, Diagnostics, FirmwareUpdate, Emergency];

/// An operation, whether B0 suffices for it, the operations bits that it needs all of, and the contexts in which it
/// is granted.
type Row = (Operation, bool, u8, &'static [PairingContext]);

/// The rows, in the order of H79.
const TABLE: [Row; 8] = [
    (Operation::Read, true, READ, EVERY),
    (Operation::Lower, true, 0, EVERY),
    (Operation::Switch, true, EXECUTE, &[BatteryManagement, Emergency]),
    (Operation::Configure, true, WRITE, &[BatteryManagement]),
    (Operation::RaiseLimit, false, WRITE | EXECUTE, &[BatteryManagement]),
    (Operation::Firmware, false, WRITE | EXECUTE, &[FirmwareUpdate]),
    // These two are granted by all who sign them, not by a pairing.
    (Operation::Rebind, false, 0, EVERY),
    (Operation::Policy, false, 0, EVERY),
];

impl Operation {
    fn row(self) -> &'static Row {
        // The table has the order of the enum; a test holds them together.
        &TABLE[self as usize]
    }

    /// What it is for the validation levels (H150), where an escalation may ask for more.
    pub const fn level(self) -> Option<level::Operation> {
        match self {
            Operation::Switch | Operation::RaiseLimit => Some(level::Operation::Raise),
            Operation::Configure | Operation::Firmware => Some(level::Operation::Configure),
            Operation::Read | Operation::Lower | Operation::Rebind | Operation::Policy => None,
        }
    }

    /// True for what a lease that is not in force blocks (H104).
    pub const fn needs_lease(self) -> bool {
        matches!(self, Operation::Switch | Operation::Configure | Operation::RaiseLimit | Operation::Firmware)
    }
}

/// Whether a channel whose identities were established with `assurance` may do `operation`.
///
/// B0 was open to anybody on the bus while it was made: it reads, switches and configures, and widens nothing until
/// B1 or B2 took its place.
pub fn permits(assurance: Assurance, operation: Operation) -> bool {
    assurance != Assurance::Plain || operation.row().1
}

/// Whether a certificate for `context` with these operations bits grants `operation` (H114).
pub fn grants(context: PairingContext, operations: u8, operation: Operation) -> bool {
    let (_, _, bits, contexts) = *operation.row();
    operations & bits == bits && contexts.contains(&context)
}

/// What a message of side A asks for; `None` for what asks for nothing: contact, time, discovery.
pub fn of_message(bus: Bus, base: u16, effect: Effect) -> Option<Operation> {
    match (bus, base, effect) {
        (Bus::Can1, 0x403, Effect::Raise) | (Bus::Can2, 0x517, Effect::Raise) => Some(Operation::RaiseLimit),
        (Bus::Can1, 0x403, _) => Some(Operation::Configure),
        (Bus::Can1, 0x400 | 0x404, Effect::Raise) => Some(Operation::Switch),
        (Bus::Can2, 0x514 | 0x518, Effect::Raise) => Some(Operation::Switch),
        (Bus::Can1, 0x400 | 0x404, _) => Some(Operation::Lower),
        (Bus::Can2, 0x514 | 0x517 | 0x518 | 0x51E | 0x51F, _) => Some(Operation::Lower),
        (Bus::Can1, 0x402 | 0x440, _) | (Bus::Can2, 0x511 | 0x512 | 0x515, _) => Some(Operation::Read),
        _ => None,
    }
}

/// What a sealed security PDU of side A asks for, by its type.
pub const fn of_pdu(kind: u8) -> Option<Operation> {
    match kind {
        pdu::LEAF => Some(Operation::Read),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{Configure, Firmware, Lower, Policy, RaiseLimit, Read, Rebind, Switch};

    #[test]
    fn only_b0_is_limited() {
        for row in TABLE {
            assert_eq!(row.0.row().0, row.0, "the table has the order of the enum");
        }
        let all = TABLE.map(|row| row.0);
        let rows = [
            (Assurance::Plain, [true, true, true, true, false, false, false, false]),
            (Assurance::Attested, [true; 8]),
            (Assurance::Code, [true; 8]),
            (Assurance::AttestedAndCode, [true; 8]),
        ];
        for (assurance, row) in rows {
            assert_eq!(all.map(|o| permits(assurance, o)), row, "{}", assurance.name());
        }
    }

    #[test]
    fn what_a_certificate_grants() {
        // Besides these, lowering, binding again and changes of the policy are granted by every certificate.
        let rows: [(PairingContext, u8, &[Operation]); 10] = [
            (BatteryManagement, 7, &[Read, Switch, Configure, RaiseLimit]),
            (BatteryManagement, 6, &[Switch, Configure, RaiseLimit]),
            (BatteryManagement, 5, &[Read, Switch]),
            (BatteryManagement, 3, &[Read, Configure]),
            (BatteryManagement, 0, &[]),
            (Diagnostics, 7, &[Read]),
            (Diagnostics, 6, &[]),
            (FirmwareUpdate, 7, &[Read, Firmware]),
            (FirmwareUpdate, 5, &[Read]),
            (Emergency, 7, &[Read, Switch]),
        ];
        for (context, operations, granted) in rows {
            for (operation, ..) in TABLE {
                let expected = granted.contains(&operation) || matches!(operation, Lower | Rebind | Policy);
                assert_eq!(
                    grants(context, operations, operation),
                    expected,
                    "{context:?} {operations} {operation:?}"
                );
            }
        }
    }

    #[test]
    fn what_messages_ask_for() {
        for (bus, base, effect, operation) in [
            (Bus::Can1, 0x400, Effect::Raise, Some(Switch)),
            (Bus::Can1, 0x400, Effect::Hold, Some(Lower)),
            (Bus::Can1, 0x400, Effect::Stop, Some(Lower)),
            (Bus::Can1, 0x403, Effect::Hold, Some(Configure)),
            (Bus::Can1, 0x403, Effect::Raise, Some(RaiseLimit)),
            (Bus::Can1, 0x405, Effect::Hold, None),
            (Bus::Can2, 0x514, Effect::Raise, Some(Switch)),
            (Bus::Can2, 0x517, Effect::Raise, Some(RaiseLimit)),
            (Bus::Can2, 0x517, Effect::Hold, Some(Lower)),
            (Bus::Can2, 0x51E, Effect::Stop, Some(Lower)),
            (Bus::Can2, 0x512, Effect::Hold, Some(Read)),
            (Bus::Can2, 0x516, Effect::Hold, None),
        ] {
            assert_eq!(of_message(bus, base, effect), operation, "{base:x} {effect:?}");
        }
        assert_eq!((of_pdu(pdu::LEAF), of_pdu(pdu::ECHO)), (Some(Read), None));
    }
}
