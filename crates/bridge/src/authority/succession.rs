//! Going on where an earlier authority ended (A98): its account is withdrawn, what waits for its word is signed anew or begun
//! anew, and nobody goes on with its key.

use api::problem::code;
use lct::{
    Digest,
    policy::digest_of,
    sign::{Signature, Signer},
    spk::Spk,
};
use ledger::{
    records::{AccountRole, Status},
    tx::Target,
};
use node::Chain;

use super::{
    Core,
    issuance::Kind,
    lineage::{Lineage, REASONS},
    policy::Signed,
};
use crate::{
    BridgeError,
    refusal::{Refusal, Reply},
};

/// Refuses a key that is not that of the authority in force: the last of `lineage`, with an account of the chain.
pub(super) fn is_in_force(lineage: &Lineage, spk: &Spk, chain: &Chain) -> Result<(), BridgeError> {
    let authority = lineage.last();
    if spk != authority {
        return Err(match lineage.earlier().any(|earlier| earlier == spk) {
            true => BridgeError::Succeeded(Some(authority.id())),
            false => BridgeError::OtherAuthority { key: spk.id(), authority: authority.id() },
        });
    }
    let (ledger, key) = (chain.read()?, spk.sign_pub());
    let account = ledger.account(&key)?.filter(|a| a.role == AccountRole::Authority);
    if account.is_some_and(|account| account.status == Status::Active) {
        return Ok(());
    }
    // Where the line was lost, with the folder of keys brought back from a copy, the ledger still knows.
    let withdrawn = ledger.revocation(&Target::Account(key))?;
    match withdrawn.is_some_and(|r| REASONS.iter().any(|reason| *reason as u8 == r.reason)) {
        true => Err(BridgeError::Succeeded(None)),
        false => Err(BridgeError::NotAnAuthority),
    }
}

impl Core {
    /// What is to be done once after earlier authorities, at each start that finds it undone.
    pub(super) fn go_on_after_others(&mut self) -> Reply<()> {
        if self.earlier.is_empty() {
            return Ok(());
        }
        let own = self.know_policies()?;
        // Nothing leaves without a line of the log: where the last is another's, this key has begun nothing since it follows.
        if self.issuances.by() != Some(&self.spk.sign_pub()) {
            self.end_ceremonies()?;
        }
        if !own {
            self.sign_policies_anew()?;
        }
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        for (key, reason) in &self.earlier {
            if snapshot.account(key)?.is_some_and(|account| account.status == Status::Active) {
                self.withdrawals.want(Target::Account(*key), *reason);
            }
        }
        Ok(())
    }

    /// A binding that is not on the ledger is begun anew: devices take its introductions from whoever signed its request only
    /// (H162). What is left of a pairing is the devices' to say, under the certificate that they have.
    fn end_ceremonies(&mut self) -> Reply<()> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let mut ended = Vec::new();
        for (id, _) in self.ceremonies.rows().bonds.iter().filter(|(_, bond)| !bond.bound) {
            ended.push((*id, snapshot.binding(id)?.is_some()));
        }
        if ended.is_empty() {
            return Ok(());
        }
        self.ceremonies.change(|rows| {
            for (id, recorded) in ended {
                match rows.bonds.get_mut(&id) {
                    Some(bond) if recorded => bond.bound = true,
                    _ => drop(rows.bonds.remove(&id)),
                }
            }
        })?;
        tracing::warn!(
            "bindings that an earlier authority began, and that are not on the ledger, are begun anew"
        );
        Ok(())
    }

    /// Whether this authority signed all policies. Refuses those that none of the line signed: the file is only trusted as far as
    /// they did, and what lies in it is signed anew.
    fn know_policies(&self) -> Reply<bool> {
        let (own, mut all) = (self.spk.sign_pub(), true);
        for (id, bond) in &self.ceremonies.rows().bonds {
            for known in [&bond.policy.proposal, &bond.policy.update].into_iter().flatten() {
                let Parts { digest, by, .. } = parts(known)?;
                if own.verify(&digest, &by).is_ok() {
                    continue;
                }
                all = false;
                if !self.earlier.iter().any(|(key, _)| key.verify(&digest, &by).is_ok()) {
                    let why = "no authority of this installation signed a policy of the ceremonies";
                    let refusal = Refusal::new(500, code::INTERNAL, why);
                    let which = format!("binding {id}, version {}; restore their file", known.policy.version);
                    return Err(refusal.detail(which));
                }
            }
        }
        Ok(all)
    }

    /// Policies keep their versions and the signatures of both entities, which signed the policy and not the authority's word.
    fn sign_policies_anew(&mut self) -> Reply<()> {
        let own = self.spk.sign_pub();
        let mut signed = Vec::new();
        for (id, bond) in &self.ceremonies.rows().bonds {
            let anew = [&bond.policy.proposal, &bond.policy.update]
                .map(|known| known.as_ref().map_or(Ok(None), |known| self.policy_anew(known)));
            let [proposal, update] = anew;
            let (proposal, update) = (proposal?, update?);
            if proposal.is_some() || update.is_some() {
                signed.push((*id, bond.creator.clone(), proposal, update));
            }
        }
        if signed.is_empty() {
            return Ok(());
        }
        for (id, creator, proposal, update) in &signed {
            for Signed { policy, bytes } in [proposal, update].into_iter().flatten() {
                let name = format!("{id}-{}", policy.version);
                self.note(Kind::Policy, name, (creator, &policy.entities), bytes)?;
            }
        }
        let count = signed.len();
        self.ceremonies.change(|rows| {
            for (id, _, proposal, update) in signed {
                if let Some(bond) = rows.bonds.get_mut(&id) {
                    bond.policy.proposal = proposal.or(bond.policy.proposal.take());
                    bond.policy.update = update.or(bond.policy.update.take());
                }
            }
        })?;
        tracing::warn!(bindings = count, authority = %own, "policies of an earlier authority are signed anew");
        Ok(())
    }

    /// The same policy under this authority's signature; `None` where it has that.
    fn policy_anew(&self, known: &Signed) -> Reply<Option<Signed>> {
        let Parts { body, digest, by, entities } = parts(known)?;
        if self.spk.sign_pub().verify(&digest, &by).is_ok() {
            return Ok(None);
        }
        let signature = self.key.sign(|key, rng| key.sign(&digest, rng))?;
        let bytes = [body.as_slice(), &signature.0, entities].concat();
        Ok(Some(Signed { policy: known.policy.clone(), bytes }))
    }
}

/// A policy as it was signed.
struct Parts<'a> {
    body: Vec<u8>,
    digest: Digest,
    /// Of the authority.
    by: Signature,
    /// Of both entities, or nothing yet.
    entities: &'a [u8],
}

fn parts(known: &Signed) -> Reply<Parts<'_>> {
    let broken = || Refusal::internal(&"a policy without its signature");
    let body = known.policy.encode().map_err(|e| Refusal::internal(&e))?;
    let rest = known.bytes.strip_prefix(body.as_slice()).ok_or_else(broken)?;
    let (by, entities) = rest.split_first_chunk::<64>().ok_or_else(broken)?;
    Ok(Parts { digest: digest_of(&body), by: Signature(*by), body: body.to_vec(), entities })
}
