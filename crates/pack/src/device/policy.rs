//! Signed changes of the policy (`spec/channel.md`, H111 to H113).

use super::*;
use crate::{
    assurance::{Operation, permits},
    level,
    pdu::{self, Pdu, policy as op},
    policies::{PLACES, Reason, Table, read_table},
};
use kept::{Defence, kept};
use lct::{
    codec::Fields,
    id::Cid,
    policy::{Policy, digest_of},
    validation::ValidationLevel,
};

/// Records that taking a policy stores.
const RECORDS: usize = 3;

/// The entities that a message about a policy (without its type byte) names, A then B; unverified.
pub(crate) fn entities(message: &[u8]) -> Result<[Cid; 2], Error> {
    let mut f = Fields::new(message);
    f.slice(1 + 1 + 4)?;
    Ok([Cid(f.array()?), Cid(f.array()?)])
}

/// A message about a policy in its parts.
struct Proposal<'a> {
    policy: Policy,
    table: Table,
    body: &'a [u8],
    signed: &'a [u8],
}

impl<'a> Proposal<'a> {
    fn read(signed: &'a [u8], signatures: usize) -> Result<Self, Reason> {
        let n = signed.len().checked_sub(64 * signatures).ok_or(Reason::Malformed)?;
        let body = signed.get(..n).ok_or(Reason::Malformed)?;
        let policy = Policy::decode(body)?;
        let table = read_table(&policy.rows)?;
        Ok(Proposal { policy, table, body, signed })
    }
}

impl<E, const STORES: usize, const EVENTS: usize> Device<E, STORES, EVENTS> {
    /// Judges a message about the policy of `relation` (without its type byte), whose peer is at `node`, and answers.
    /// `others` are the versions that the other relationships of this device are under or agreed to.
    ///
    /// # Errors
    /// [`Error::Exhausted`], [`Error::BufferTooSmall`]: not judged, it is to be sent again.
    pub(crate) fn policy(
        &mut self,
        now: Instant,
        node: u8,
        message: &[u8],
        relation: &mut Relation,
        others: impl IntoIterator<Item = u32>,
        rng: &mut impl CryptoRng,
    ) -> Result<Pdu, Error> {
        let (operation, signed) = message.split_first().ok_or(Error::Malformed)?;
        let used = self.policies.used(others.into_iter().chain([relation.policy_in_force()]));
        let claimed = signed.get(1..5).unwrap_or(&[0; 4]);
        let assured = relation.binding().is_none_or(|(_, assurance)| permits(assurance, Operation::Policy));
        let (needed, proved) = (level::Operation::Pair, ValidationLevel::Pairing);
        let enough = self.suffices(now, node, needed, proved, relation);
        let judged = match *operation {
            op::SIGN | op::UPDATE if !assured => Err(Reason::NotAssured),
            op::SIGN | op::UPDATE if !enough => Err(Reason::Escalated),
            op::SIGN => match Proposal::read(signed, 1) {
                Ok(proposal) => self.sign_policy(now, &proposal, relation, rng)?,
                Err(reason) => Err(reason),
            },
            op::UPDATE => match Proposal::read(signed, 3) {
                Ok(proposal) => self.take_policy(now, node, proposal, relation, used)?,
                Err(reason) => Err(reason),
            },
            _ => return Err(Error::Malformed),
        };
        let status = match judged {
            Ok(Some(signature)) => {
                return pdu::build(&[&[pdu::POLICY, op::SIGNED], claimed, &signature]);
            }
            Ok(None) => 0,
            Err(reason) => {
                if let Ok(version) = <&[u8; 4]>::try_from(claimed) {
                    self.log(now, Code::PolicyRefused, node, &[version]);
                }
                reason as u8
            }
        };
        pdu::build(&[&[pdu::POLICY, op::STATUS], claimed, &[status]])
    }

    /// True when `policy` is the one that `relation` agreed to last.
    fn is_agreed(&self, policy: &Policy, table: &Table, relation: &Relation) -> bool {
        policy.version == relation.policy_agreed()
            && self
                .policies
                .terms(policy.version)
                .is_some_and(|held| held.rotation == policy.rotation && held.table == table.as_slice())
    }

    /// The signature of this entity under a policy that the authority signed.
    fn sign_policy(
        &mut self,
        now: Instant,
        proposal: &Proposal<'_>,
        relation: &Relation,
        rng: &mut impl CryptoRng,
    ) -> Result<Result<Option<[u8; 64]>, Reason>, Error> {
        let policy = &proposal.policy;
        if relation.signatories(&self.own).is_none_or(|(cids, _)| cids != policy.entities) {
            return Ok(Err(Reason::WrongParty));
        }
        let again = self.is_agreed(policy, &proposal.table, relation);
        if policy.version <= relation.policy_agreed() && !again {
            return Ok(Err(Reason::Version));
        }
        if !self.policies.may_verify(now) {
            return Err(Error::Exhausted);
        }
        if Policy::open_request(proposal.signed, &self.own.authority.sign_pub()).is_err() {
            return Ok(Err(Reason::NotAuthentic));
        }
        relation.sign_policy(&digest_of(proposal.body), rng).map(|signature| Ok(Some(signature.0)))
    }

    /// Holds a policy that all three signed.
    fn take_policy(
        &mut self,
        now: Instant,
        node: u8,
        proposal: Proposal<'_>,
        relation: &mut Relation,
        used: [bool; PLACES],
    ) -> Result<Result<Option<[u8; 64]>, Reason>, Error> {
        let Proposal { policy, table, signed, .. } = proposal;
        let Some((_, keys)) = relation.signatories(&self.own).filter(|(cids, _)| *cids == policy.entities)
        else {
            return Ok(Err(Reason::WrongParty));
        };
        if self.is_agreed(&policy, &table, relation) {
            return Ok(Ok(None));
        }
        if policy.version <= relation.policy_agreed() || relation.is_busy() {
            return Ok(Err(Reason::Version));
        }
        if STORES - self.stores.len() < RECORDS {
            return Err(Error::BufferTooSmall);
        }
        if !self.policies.may_verify(now) {
            return Err(Error::Exhausted);
        }
        let authority = self.own.authority.sign_pub();
        if kept(Defence::PolicySignatures) && Policy::open(signed, &authority, |_| Ok(keys)).is_err() {
            return Ok(Err(Reason::NotAuthentic));
        }
        // The policy comes before the word that it was agreed to: no relationship ever names one that is not held.
        let records = match self.policies.hold(&policy, table, used) {
            Ok(records) => records,
            Err(reason) => return Ok(Err(reason)),
        };
        for record in records.into_iter().flatten() {
            self.store(record)?;
        }
        let record = relation.agree(policy.version)?;
        self.store(record)?;
        self.log(now, Code::PolicyPending, node, &[&policy.version.to_be_bytes()]);
        Ok(Ok(None))
    }
}
