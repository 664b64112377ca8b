//! The policy that a relationship agreed to and the one it is under (`spec/channel.md`, H111 to H113).

use super::*;
use crate::policies::{Policies, Terms};
use lct::{
    policy::FACTORY_VERSION,
    sign::{PublicKey, Signature},
};

/// The policy of a relationship.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    /// The highest version that both entities of the binding signed: that of the next pairing.
    pub(super) version: u32,
    /// What the owner chose, for as long as the policy of the factory is in force.
    pub(super) given: Limits,
}

impl Agreement {
    pub(super) const FACTORY: Agreement = Agreement { version: FACTORY_VERSION, given: Limits::DEFAULT };

    /// Reads `1 | binding_id 16 | version u32`; that of another binding is none.
    pub(super) fn restore(&mut self, record: &[u8], binding: BindingId) -> Result<(), Error> {
        let mut f = Fields::new(record);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let of = BindingId(f.array()?);
        let version = f.u32()?;
        f.end()?;
        if of == binding {
            self.version = version.max(FACTORY_VERSION);
        }
        Ok(())
    }
}

impl Relation {
    /// Version of the policy that both entities signed last; it takes effect with the next pairing.
    pub fn policy_agreed(&self) -> u32 {
        self.agreement.version
    }

    /// Version of the policy in force: that of the pairing, or the factory's.
    pub fn policy_in_force(&self) -> u32 {
        let lease = self.lease.as_ref().filter(|_| self.is_paired());
        lease.map_or(FACTORY_VERSION, |lease| lease.policy_version)
    }

    /// The limits that the owner chose; [`Relation::limits`] are those in force.
    pub(crate) fn given_limits(&self) -> Limits {
        self.agreement.given
    }

    /// The policy under which a pairing may be made now: the one agreed to and no other.
    pub(super) fn next_terms<'a>(&self, policies: &'a Policies) -> Option<Terms<'a>> {
        // What was agreed to and is held no more never took effect: another one came in its place.
        policies.terms(self.agreement.version).or_else(|| policies.terms(self.policy_in_force()))
    }

    /// After a start: the periods of the policy in force hold again.
    ///
    /// # Errors
    /// [`Error::WrongParty`]: the policy of the pairing is not held any more.
    pub(crate) fn enter_policy(&mut self, policies: &Policies) -> Result<(), Error> {
        let limits = |version| {
            let terms = policies.terms(version).ok_or(Error::WrongParty)?;
            Ok::<_, Error>(self.limits_under(&terms))
        };
        let in_force = limits(self.policy_in_force())?;
        let beside = self.beside.as_ref().map(|beside| limits(beside.policy_version())).transpose()?;
        self.limits = in_force;
        if let (Some(beside), Some(limits)) = (&mut self.beside, beside) {
            beside.limits = limits;
        }
        Ok(())
    }

    /// The limits under a policy: of the factory's those that the owner chose.
    pub(super) fn limits_under(&self, terms: &Terms<'_>) -> Limits {
        match terms.version {
            FACTORY_VERSION => self.agreement.given,
            _ => Limits::under(&terms.rotation),
        }
    }

    /// The entities of the binding in force and their keys, A then B.
    pub(crate) fn signatories(&self, own: &Identity) -> Option<([Cid; 2], [PublicKey; 2])> {
        let bond = self.bond.as_ref()?;
        let mine = (own.cid(), bond.own.signing_key().public());
        let theirs = (bond.peer.0, bond.peer_spk.sign_pub());
        let (a, b) = if direction(own, bond.peer) == Direction::Ab { (mine, theirs) } else { (theirs, mine) };
        Some(([a.0, b.0], [a.1, b.1]))
    }

    /// Signs the digest of a policy that was judged.
    pub(crate) fn sign_policy(&self, digest: &Digest, rng: &mut impl CryptoRng) -> Result<Signature, Error> {
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        Ok(bond.own.signing_key().sign(digest, rng))
    }

    /// Both entities signed the policy of this version: the next pairing is made under it. Returns what keeps that.
    pub(crate) fn agree(&mut self, version: u32) -> Result<Record, Error> {
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        let record =
            Record::new(key::agreed(self.slot), &[&[1], &bond.binding_id.0, &version.to_be_bytes()])?;
        self.agreement.version = version;
        // A certificate that waits is one for the policy before.
        self.pending_pair = None;
        Ok(record)
    }
}
