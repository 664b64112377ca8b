//! Delegations: ordered by an operator, signed by the authority, recorded by the ledger before they are given out (A70).

use api::{
    delegation::{Acted, DONE, Delegate, Delegated, Delegations, REFUSED, SUPERSEDED},
    delegation::{operation_names, operations, order_digest},
    encoding::{Blob, Hex},
    problem::code,
};
use lct::{
    delegation::{Delegation, DelegationId},
    id::{Cid, Role},
    spk::Spk,
};
use ledger::{
    records::{ActRecord, Delegated as Recorded, key},
    reject::Rejection,
    tx::{Body, Kind, Target, TxId},
};
use node::Snapshot;

use super::{Core, by_operator, component, issuance};
use crate::{
    list::{self, Page},
    refusal::{Refusal, Reply},
};

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(400, code::DELEGATION_INVALID, "a delegation cannot be like this").detail(detail)
}

impl Core {
    /// Signs and submits what an operator ordered. Without a transaction: the ledger holds it already.
    pub fn delegate(&mut self, request: &Delegate) -> Reply<(DelegationId, Option<TxId>)> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let now = self.now();
        let delegate =
            Spk::from_slice(&request.delegate.0).map_err(|e| Refusal::format(format!("delegate: {e}")))?;
        let operations = operations(&request.operations)
            .ok_or_else(|| Refusal::format("operations: `pair`, `bind` and `revoke`"))?;
        let mut packs = request.packs.iter().map(|name| Cid::of(name)).collect::<Vec<_>>();
        packs.sort();
        let packs = packs.as_slice().try_into().map_err(|_| invalid("packs: one to eight"))?;
        let wanted = Delegation {
            number: 1,
            delegate,
            issued: request.not_before,
            not_before: request.not_before,
            not_after: request.not_after,
            lease_s: request.lease_s,
            operations,
            packs,
        };
        let order = order_digest(&chain.chain_id(), &wanted);
        let codes = [code::DELEGATION_DENIED, code::DELEGATION_PROOF];
        by_operator(&snapshot, &request.key.0, &request.signature.0, &order, codes)?;
        let (mut registered, mut missing) = (false, None);
        for name in &request.packs {
            match component(&snapshot, "packs", name) {
                Ok((_, known)) if known.role == Role::Pack => registered = true,
                Ok(_) => return Err(invalid(format!("packs: {name} is no pack"))),
                // A spare one is registered with what is done with it.
                Err(refusal) if refusal.0.code == code::COMPONENT_NOT_FOUND => {
                    missing = Some(refusal);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        if let Some(refusal) = missing.filter(|_| !registered) {
            return Err(refusal);
        }
        let mut number = self.delegations;
        for (id, recorded) in snapshot.delegations()? {
            let known = read(&recorded)?;
            number = number.max(known.number);
            let same = Delegation { number: known.number, issued: known.issued, ..wanted.clone() };
            // One that was taken back is not given out again, and one of an earlier authority no device takes (H166).
            let own = recorded.authority == self.spk.sign_pub();
            if own && known == same && snapshot.revocation(&Target::Delegation(id))?.is_none() {
                return Ok((id, None));
            }
        }
        if wanted.not_after <= now {
            return Err(invalid("not_after: it lies in the past"));
        }
        number =
            number.checked_add(1).ok_or_else(|| Refusal::internal(&"no number of a delegation is left"))?;
        let wanted = Delegation { number, issued: now.min(wanted.not_before), ..wanted };
        let issued = self.key.sign(|key, rng| wanted.issue(key, rng))?;
        let statement = issued
            .map_err(|_| {
                invalid("a window of at most 30 days, a lease of 60 s to 90 days, an operation, and each pack once")
            })?
            .to_vec();
        let id = DelegationId::of(&statement);
        self.note(issuance::Kind::Delegation, id.to_string(), (&request.creator, &wanted.packs), &statement)?;
        let tx = self.submit(Body::Delegate { statement })?;
        self.delegations = number;
        let creator = request.creator.as_str();
        tracing::warn!(creator, %id, number, not_after = wanted.not_after, "delegated");
        Ok((id, Some(tx)))
    }
}

fn read(recorded: &Recorded) -> Reply<Delegation> {
    Delegation::read(&recorded.statement).map_err(|e| Refusal::internal(&e))
}

/// Delegations of the chain, by id.
pub(crate) fn all(snapshot: &Snapshot<'_>, page: &Page) -> Reply<Delegations> {
    let (rows, next) = page.scan(snapshot, key::DELEGATIONS, |_: &Recorded| true)?;
    let row = |(rest, row): (Vec<u8>, Recorded)| told(snapshot, DelegationId(list::name(rest)?), &row);
    let delegations = rows.into_iter().map(row).collect::<Reply<_>>()?;
    Ok(Delegations { height: snapshot.tip().height, delegations, next })
}

/// One of them.
pub(crate) fn one(snapshot: &Snapshot<'_>, id: DelegationId) -> Reply<Delegated> {
    let row = snapshot.delegation(&id)?.ok_or_else(|| {
        Refusal::new(404, code::DELEGATION_NOT_FOUND, "the ledger holds no such delegation")
    })?;
    told(snapshot, id, &row)
}

fn told(snapshot: &Snapshot<'_>, id: DelegationId, row: &Recorded) -> Reply<Delegated> {
    let d = read(row)?;
    // Of a spare one that is not registered yet only this is known.
    let name = |cid: &Cid| Ok(snapshot.component(cid)?.map_or_else(|| cid.to_string(), |c| c.component_id));
    let packs = d.packs.iter().map(name).collect::<Reply<_>>()?;
    let revoked = snapshot.revocation(&Target::Delegation(id))?;
    let acts = snapshot.acts_of(&id)?.into_iter();
    Ok(Delegated {
        id: Hex(id.0),
        height: snapshot.tip().height,
        number: d.number,
        delegate: Hex(d.delegate.sign_pub().0),
        not_before: d.not_before,
        not_after: d.not_after,
        lease_s: d.lease_s,
        operations: operation_names(d.operations),
        packs,
        revoked_at: revoked.map(|r| r.time_ms / 1000),
        delegation: Blob(row.statement.clone()),
        acts: acts.map(|(number, act)| acted(number, &act)).collect(),
        last: Hex(row.last),
    })
}

fn acted(number: u32, act: &ActRecord) -> Acted {
    let refused = Rejection::from_number(act.outcome);
    let outcome = match refused {
        None => DONE,
        Some(r) if r.is_superseded() => SUPERSEDED,
        Some(_) => REFUSED,
    };
    Acted {
        number,
        kind: Kind::from_number(act.kind).map_or_else(|| act.kind.to_string(), |k| k.name().to_owned()),
        done_at: act.done.into(),
        recorded_at: act.time_ms / 1000,
        txhash: Hex(act.tx),
        outcome: outcome.into(),
        code: refused.map(|r| r.code().into()),
        error: refused.map(|r| r.text().into()),
    }
}
