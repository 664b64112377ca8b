//! The lease that a pairing certificate grants, and how a device judges it (`spec/channel.md`, H104).

use crate::{
    assurance::{Operation, grants},
    identity::{Record, key},
};
use kept::{Defence, kept};
use lct::{
    Error,
    codec::Fields,
    id::PairingId,
    metadata::{ClearMetadata, PairingContext},
};

/// How a lease stands towards an operation. Only [`LeaseState::InForce`] lets it be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LeaseState {
    /// It holds.
    InForce = 0,
    /// `valid_from` lies ahead.
    NotBegun = 1,
    /// `expires` has come.
    EndedByTime = 2,
    /// It was powered for longer than it was given for.
    EndedByPower = 3,
    /// More sessions than `max_uses`.
    UsedUp = 4,
    /// Operations or context of the certificate do not grant it, or there is no pairing (H114).
    NotGranted = 5,
    /// The assurance of the binding does not allow it, whatever the certificate says (H79).
    NotAssured = 6,
}

/// What a certificate granted and what was used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Which pairing.
    pub pairing_id: PairingId,
    /// Begins, Unix seconds.
    pub valid_from: u32,
    /// Ends (exclusive), Unix seconds.
    pub expires: u32,
    /// Sessions allowed, 0 without limit.
    pub max_uses: u32,
    /// Sessions so far.
    pub uses: u32,
    /// Powered seconds of the device when the pairing was made.
    pub powered_at: u32,
    /// Policy under which the pairing was made.
    pub policy_version: u32,
    /// Bit 0 read, 1 write, 2 execute.
    pub operations: u8,
    /// What the pairing is for.
    pub context: PairingContext,
}

impl Lease {
    /// The lease that `metadata` grant to a device with so many powered seconds.
    pub fn granted(metadata: &ClearMetadata, powered: u32) -> Self {
        Lease {
            pairing_id: metadata.pairing_id,
            valid_from: metadata.timing.valid_from,
            expires: metadata.timing.expires,
            max_uses: metadata.timing.max_uses,
            uses: 0,
            powered_at: powered,
            policy_version: metadata.policy_version,
            operations: metadata.operations,
            context: metadata.context,
        }
    }

    /// Judges it at `judged` Unix seconds, if known, and `powered` seconds of power.
    pub fn state(&self, judged: Option<u32>, powered: u32) -> LeaseState {
        let given = self.expires.saturating_sub(self.valid_from);
        if judged.is_some_and(|t| t >= self.expires) {
            LeaseState::EndedByTime
        } else if powered.saturating_sub(self.powered_at) >= given {
            LeaseState::EndedByPower
        } else if self.max_uses > 0 && self.uses > self.max_uses && kept(Defence::UseLimit) {
            LeaseState::UsedUp
        } else if judged.is_some_and(|t| t < self.valid_from) {
            LeaseState::NotBegun
        } else {
            LeaseState::InForce
        }
    }

    /// Judges an operation that the peer asks for: whether the lease stands, where that matters, and whether it grants
    /// the operation.
    pub fn judge(&self, operation: Operation, judged: Option<u32>, powered: u32) -> LeaseState {
        match self.state(judged, powered) {
            LeaseState::InForce => {}
            ended if operation.needs_lease() => return ended,
            _ => {}
        }
        match grants(self.context, self.operations, operation) {
            true => LeaseState::InForce,
            false => LeaseState::NotGranted,
        }
    }

    /// Counts a session. True when that must be written.
    pub fn count_use(&mut self) -> bool {
        self.uses = self.uses.saturating_add(1);
        self.max_uses > 0
    }

    /// The record for `slot`.
    pub fn record(&self, slot: u8) -> Result<Record, Error> {
        Record::new(
            key::lease(slot),
            &[
                &[2],
                &self.pairing_id.0,
                &self.valid_from.to_be_bytes(),
                &self.expires.to_be_bytes(),
                &self.max_uses.to_be_bytes(),
                &self.uses.to_be_bytes(),
                &self.powered_at.to_be_bytes(),
                &self.policy_version.to_be_bytes(),
                &[self.operations, self.context as u8],
            ],
        )
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 2 {
            return Err(Error::Malformed);
        }
        let lease = Lease {
            pairing_id: PairingId(f.array()?),
            valid_from: f.u32()?,
            expires: f.u32()?,
            max_uses: f.u32()?,
            uses: f.u32()?,
            powered_at: f.u32()?,
            policy_version: f.u32()?,
            operations: f.u8()?,
            context: PairingContext::from_code(f.u8()?)?,
        };
        f.end()?;
        Ok(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LeaseState::{EndedByPower, EndedByTime, InForce, NotBegun, NotGranted, UsedUp};

    fn lease() -> Lease {
        Lease {
            pairing_id: PairingId([7; 16]),
            valid_from: 1_000,
            expires: 2_000,
            max_uses: 3,
            uses: 1,
            powered_at: 500,
            policy_version: 1,
            operations: 7,
            context: PairingContext::BatteryManagement,
        }
    }

    #[test]
    fn when_a_lease_holds() {
        let used = Lease { uses: 4, ..lease() };
        // A count that limits nothing need not be written.
        assert!(Lease { max_uses: 3, ..lease() }.count_use() && Lease { max_uses: 1, ..lease() }.count_use());
        assert!(!Lease { max_uses: 0, ..lease() }.count_use());
        let endless = Lease { max_uses: 0, uses: 9_999, ..lease() };
        for (lease, judged, powered, state) in [
            (lease(), Some(1_000), 500, InForce),
            (lease(), Some(999), 500, NotBegun),
            (lease(), Some(1_999), 500, InForce),
            (lease(), Some(2_000), 500, EndedByTime),
            (lease(), None, 500, InForce),
            // A clock that stands still does not help.
            (lease(), Some(1_000), 1_499, InForce),
            (lease(), Some(1_000), 1_500, EndedByPower),
            (lease(), None, 1_500, EndedByPower),
            (lease(), Some(1_000), 0, InForce),
            (Lease { uses: 3, ..lease() }, Some(1_000), 500, InForce),
            (used, Some(1_000), 500, UsedUp),
            (endless, Some(1_000), 500, InForce),
        ] {
            assert_eq!(lease.state(judged, powered), state, "{judged:?} {powered} {lease:?}");
        }
        assert_eq!(Lease::decode(&lease().record(3).unwrap().value), Ok(lease()));
    }

    #[test]
    fn an_ended_lease_still_reads_and_lowers_and_a_right_that_was_not_given_stays_away() {
        let reader = Lease { operations: 1, ..lease() };
        let diagnostics = Lease { context: PairingContext::Diagnostics, ..lease() };
        let nothing = Lease { operations: 0, ..lease() };
        for (lease, judged, operation, state) in [
            (lease(), 1_000, Operation::Switch, InForce),
            (lease(), 2_000, Operation::Switch, EndedByTime),
            (lease(), 2_000, Operation::Configure, EndedByTime),
            (lease(), 2_000, Operation::Read, InForce),
            (lease(), 2_000, Operation::Lower, InForce),
            (reader, 1_000, Operation::Switch, NotGranted),
            (reader, 2_000, Operation::Switch, EndedByTime),
            (reader, 2_000, Operation::Read, InForce),
            (diagnostics, 1_000, Operation::Switch, NotGranted),
            (diagnostics, 1_000, Operation::Read, InForce),
            (nothing, 1_000, Operation::Read, NotGranted),
            (nothing, 1_000, Operation::Lower, InForce),
        ] {
            assert_eq!(lease.judge(operation, Some(judged), 500), state, "{judged} {operation:?} {lease:?}");
        }
    }
}
