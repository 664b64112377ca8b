//! What a channel may do by the way in which its identities were established (`spec/channel.md`, H79).

use lct::binding::Assurance;

/// An operation that the assurance of a binding may forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Status, telemetry, identities.
    Read,
    /// Repeating, lowering or raising a relay state.
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

impl Operation {
    /// Every operation, in the order of H79.
    pub const ALL: [Operation; 7] = [
        Operation::Read,
        Operation::Switch,
        Operation::Configure,
        Operation::RaiseLimit,
        Operation::Firmware,
        Operation::Rebind,
        Operation::Policy,
    ];
}

/// Whether a channel whose identities were established with `assurance` may do `operation`.
///
/// B0 was open to anybody on the bus while it was made: it reads, switches and configures, and widens nothing until
/// B1 or B2 took its place.
pub const fn permits(assurance: Assurance, operation: Operation) -> bool {
    match (assurance, operation) {
        (Assurance::Plain, Operation::Read | Operation::Switch | Operation::Configure) => true,
        (Assurance::Plain, _) => false,
        (Assurance::Attested | Assurance::Code | Assurance::AttestedAndCode, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_b0_is_limited() {
        let rows = [
            (Assurance::Plain, [true, true, true, false, false, false, false]),
            (Assurance::Attested, [true; 7]),
            (Assurance::Code, [true; 7]),
            (Assurance::AttestedAndCode, [true; 7]),
        ];
        for (assurance, row) in rows {
            assert_eq!(Operation::ALL.map(|o| permits(assurance, o)), row, "{}", assurance.name());
        }
    }
}
