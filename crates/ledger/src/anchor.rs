//! What a verifier trusts of a chain, and how that trust follows a change of validators (`spec/ledger.md`, L165).
//!
//! A handover is the last header that the old validators certified, with the proof that the state before it had
//! decided on the new ones. So whoever trusts the validators of one height can follow the chain to those of a later
//! one without its blocks.

use alloc::vec::Vec;
use core::fmt;

use lct::Digest;

use crate::{
    block::{Certificate, CertificateError, Header},
    codec::{Canonical, FormatError, Reader, Writer},
    genesis::ValidatorSet,
    proof::StateProof,
    records::{Pending, key},
    tx::{Change, Governance, Kind},
};

/// Most handovers that a verifier follows.
pub const MAX_HANDOVERS: usize = 256;
/// Most bytes of handovers in a receipt, so that the rest has room.
const MAX_HANDED: usize = 1 << 19;

/// What a verifier trusts of a chain: from its genesis or a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Identity of the chain.
    pub chain_id: Digest,
    /// Validators whose certificates count.
    pub validators: ValidatorSet,
    /// A height at which they do; 0 for those of the genesis.
    pub height: u64,
}

/// From one validator set to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The last header of the old validators.
    pub header: Header,
    /// Their signatures over it.
    pub certificate: Certificate,
    /// That the state under it decided on the new ones for the height after it.
    pub proof: StateProof,
}

/// Why handovers lead nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverError {
    /// One is of another chain, not later than the one before, or later than what it is to explain.
    Order,
    /// The proof does not lead to the header's state, or to no change of validators at the height after it.
    Proof,
    /// The old validators did not certify the header.
    Certificate(CertificateError),
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order => f.write_str("changes of validators are out of order"),
            Self::Proof => f.write_str("a change of validators is not proved"),
            Self::Certificate(e) => write!(f, "a change of validators is not certified by those before: {e}"),
        }
    }
}

impl core::error::Error for HandoverError {}

impl Handover {
    /// The new validators, once the proof holds.
    fn successors(&self) -> Result<ValidatorSet, HandoverError> {
        let decided = self.proof.key == key::pending(Kind::GovernValidators)
            && self.proof.leads_to(&self.header.state_root);
        let pending = Pending::from_bytes(&self.proof.value);
        match pending {
            Ok(Pending(Governance { change: Change::Validators(set), height }))
                if decided && self.header.height.checked_add(1) == Some(height) =>
            {
                Ok(set)
            }
            _ => Err(HandoverError::Proof),
        }
    }
}

impl Canonical for Handover {
    fn write(&self, w: &mut Writer) {
        w.array(3).item(&self.header).item(&self.certificate).item(&self.proof);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.array(3)? != 3 {
            return Err(FormatError::Unexpected);
        }
        Ok(Self { header: r.item()?, certificate: r.item()?, proof: r.item()? })
    }
}

/// Follows handovers of the chain `chain_id` from `trust`, if there is any, to the validators of `height`. Those that
/// lie before the trusted height are read but not followed. `None` when there is nothing to begin with.
///
/// # Errors
/// The first [`HandoverError`].
pub fn follow(
    chain_id: &Digest,
    trust: Option<&Trust>,
    handovers: &[Handover],
    height: u64,
) -> Result<Option<ValidatorSet>, HandoverError> {
    let since = trust.map_or(0, |t| t.height);
    let mut current = trust.map(|t| t.validators.clone());
    let mut last = 0;
    for handover in handovers {
        let at = handover.header.height;
        let ordered = handover.header.chain_id == *chain_id && at > last && at < height;
        if !ordered {
            return Err(HandoverError::Order);
        }
        last = at;
        let successors = handover.successors()?;
        if at < since {
            continue;
        }
        if let Some(current) = &current {
            let verified = handover.certificate.verify(&handover.header.id(), current);
            verified.map_err(HandoverError::Certificate)?;
        }
        current = Some(successors);
    }
    Ok(current)
}

/// The last of `handovers` that fit into a receipt. Who trusts validators from before them needs a checkpoint on the way.
#[must_use]
pub fn latest(handovers: Vec<Handover>) -> Vec<Handover> {
    let mut room = MAX_HANDED;
    let fits = |handover: &&Handover| match room.checked_sub(handover.to_bytes().len()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let kept = handovers.iter().rev().take(MAX_HANDOVERS).take_while(fits).count();
    let mut handovers = handovers;
    handovers.split_off(handovers.len() - kept)
}

/// Appends a list of handovers.
pub(crate) fn write_list(w: &mut Writer, handovers: &[Handover]) {
    w.array(handovers.len());
    for handover in handovers {
        w.item(handover);
    }
}

/// Reads a list of handovers.
pub(crate) fn read_list(r: &mut Reader<'_>) -> Result<Vec<Handover>, FormatError> {
    let n = r.array(MAX_HANDOVERS)?;
    (0..n).map(|_| r.item()).collect()
}
