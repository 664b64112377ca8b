//! Between this authority and whoever acts for it without network: what a delegate has to know before (A205), and the keys of
//! a binding that it made (A208).

use api::{
    binding::Adopt,
    delegation::{Agreed, Brief, Held, Kept, Part, Relation},
    encoding::{Blob, Fixed, Hex},
    problem::code,
};
use lct::{
    Digest,
    binding::{BindingRecord, BoundEntity},
    delegation::{Delegation, DelegationId},
    id::{BindingId, Cid, valid_component_id},
    sign::Signature,
    spk::Spk,
};
use ledger::{codec::Canonical, records::Status, tx::Body};
use node::Snapshot;
use std::collections::BTreeSet;

use super::{
    Core,
    binding::access,
    ceremonies::{Bond, Introduced, Side},
    component_id, find_tx, in_force, issue,
    policy::Agreement,
};
use crate::refusal::{Refusal, Reply};

impl Core {
    /// What the holder of a delegation has to know of its packs, and whether these components have owners too.
    pub fn brief(&mut self, id: DelegationId, beside: &[Cid]) -> Reply<Brief> {
        let list = self.revocation_list()?.list;
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let recorded = snapshot.delegation(&id)?.ok_or_else(|| {
            Refusal::new(404, code::DELEGATION_NOT_FOUND, "the ledger holds no such delegation")
        })?;
        if recorded.authority != self.spk.sign_pub() {
            let error = "the delegation ended with the authority that gave it, which another one followed";
            return Err(Refusal::new(403, code::AUTHORITY_SUCCEEDED, error).detail("delegate anew"));
        }
        let delegation = Delegation::read(&recorded.statement).map_err(|e| Refusal::internal(&e))?;
        let mut relations = Vec::new();
        for (id, bond) in &self.ceremonies.rows().bonds {
            if !bond.sides.iter().any(|side| delegation.packs.contains(&side.cid)) {
                continue;
            }
            let binding = snapshot.binding(id)?.filter(|b| b.status == Status::Active);
            if let Some(binding) = binding
                && self.bond(*id, &binding).is_ok()
                && let Some(introduced) = &bond.introduced
            {
                relations.push(self.relation_of(&snapshot, *id, bond, introduced)?);
            }
        }
        Ok(Brief {
            height: snapshot.tip().height,
            chain_id: Hex(chain.chain_id()),
            delegation: Blob(recorded.statement),
            list,
            relations,
            parts: parts(&snapshot, &delegation.packs, beside)?,
        })
    }

    fn relation_of(
        &self,
        snapshot: &Snapshot<'_>,
        id: BindingId,
        bond: &Bond,
        introduced: &Introduced,
    ) -> Reply<Relation> {
        let kept = |i: usize| -> Reply<Kept> {
            let side = &bond.sides[i];
            let access = String::from_utf8(side.access.clone()).map_err(|e| Refusal::internal(&e))?;
            let (component_id, spk) = (component_id(snapshot, &side.cid)?, Fixed(introduced.keys[i].0.0));
            Ok(Kept { component_id, spk, access, blind: None })
        };
        let last = self.certified_last(snapshot, &bond.sides[0].cid, id)?;
        Ok(Relation {
            binding_id: Hex(id.0),
            a: kept(0)?,
            b: kept(1)?,
            policy_version: bond.policy.agreed(),
            certificate_s: bond.policy.periods().certificate_s,
            certified_at: last.unwrap_or(0),
        })
    }

    /// Takes the keys of a binding that the ledger has and this bridge did not make, by a delegate or at the factory: as far as
    /// its record names them.
    pub fn adopt(&mut self, id: BindingId, request: &Adopt) -> Reply<()> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let binding = snapshot
            .binding(&id)?
            .filter(|b| b.status == Status::Active)
            .ok_or_else(|| Refusal::new(404, code::BINDING_NOT_FOUND, "there is no such binding in force"))?;
        let record = recorded(&snapshot, binding.height, id)?;
        let none = Signature([0; 64]);
        let side = |field: &str, kept: &Kept, entity: &BoundEntity| {
            if !valid_component_id(&kept.component_id) {
                return Err(Refusal::format(format!(
                    "{field}.component_id: 3 to 64 characters of A-Z, a-z, 0-9, _ and -"
                )));
            }
            let spk =
                Spk::from_slice(&kept.spk.0).map_err(|e| Refusal::format(format!("{field}.spk: {e}")))?;
            let (cid, commit) = (Cid::of(&kept.component_id), entity.access_commit);
            let access = agreed_access(field, kept, &commit)?;
            Ok((Side { cid, role: entity.role, access, nonce: [0; 16], commit }, (spk, none)))
        };
        let [a, b] = record.entities.each_ref();
        let [(a, of_a), (b, of_b)] = [side("a", &request.a, a)?, side("b", &request.b, b)?];
        let bond = Bond {
            creator: request.creator.clone(),
            created: record.time,
            sides: [a, b],
            assurance: record.assurance,
            introduced: Some(Introduced { time: record.time, keys: [of_a, of_b] }),
            bound: true,
            policy: Agreement::default(),
            submitted: None,
            cleared: None,
        };
        if bond.record(id).as_ref() != Some(&record) {
            let error = "the record of the binding names other components or keys";
            return Err(Refusal::new(409, code::BINDING_KEYS, error).detail(id.to_string()));
        }
        // What is known of a binding, its policy above all, is more than this; but how a side is reached only a blind proves.
        if let Ok(known) = self.bond(id, &binding) {
            let sides = [0, 1].map(|at| match &known.sides[at] {
                side if side.access.is_empty() => {
                    Side { access: bond.sides[at].access.clone(), ..side.clone() }
                }
                side => side.clone(),
            });
            if sides != known.sides {
                self.ceremonies.change(|rows| rows.bonds.get_mut(&id).map(|known| known.sides = sides))?;
            }
            return Ok(());
        }
        self.ceremonies.change(|rows| rows.bonds.insert(id, bond))?;
        tracing::info!(%id, creator = request.creator, "keys of a binding taken over");
        Ok(())
    }
}

/// Whose these packs are, whatever is bound with one of them, and what was asked for (H256).
fn parts(snapshot: &Snapshot<'_>, packs: &[Cid], beside: &[Cid]) -> Reply<Vec<Part>> {
    let mut cids: BTreeSet<Cid> = packs.iter().chain(beside).copied().collect();
    for pack in packs {
        cids.extend(in_force(snapshot, pack)?.flat_map(|(_, b)| [b.a, b.b]));
    }
    cids.iter().map(|cid| part(snapshot, cid)).collect()
}

/// Whose a component is, and what the owner agreed to in the place of each of its bindings.
fn part(snapshot: &Snapshot<'_>, cid: &Cid) -> Reply<Part> {
    let ownership = snapshot.ownership(cid)?;
    let mut bindings = Vec::new();
    for (id, _) in in_force(snapshot, cid)? {
        let consent = snapshot.consent(cid, &id)?.zip(ownership.as_ref());
        let counts = consent.filter(|(c, ownership)| c.allows(ownership, &c.partner, c.until_ms));
        let agreed = counts.map(|(c, _)| Agreed { partner: Hex(c.partner.0), until: c.until_ms / 1_000 });
        bindings.push(Held { binding_id: Hex(id.0), agreed });
    }
    Ok(Part { cid: Hex(cid.0), owned: ownership.is_some(), bindings })
}

/// How a side is reached, as it is committed to in the record that both sides signed. Without the blind nobody can prove what that
/// was, and nothing is taken: where a component is found it says itself (`spec/tiers.md`, V1).
fn agreed_access(field: &str, kept: &Kept, commit: &Digest) -> Reply<Vec<u8>> {
    let field = format!("{field}.access");
    match &kept.blind {
        Some(Fixed(blind)) => {
            let told = access(&field, &kept.access)?;
            match issue::commitment(&told, blind) == *commit {
                true => Ok(told),
                false => {
                    let error =
                        "the record of the binding commits to other access data, or under another blind";
                    Err(Refusal::new(409, code::BINDING_KEYS, error).detail(field))
                }
            }
        }
        None if kept.access.is_empty() => Ok(Vec::new()),
        None => Err(Refusal::format(format!("{field}: it is taken with the blind of its commitment only"))),
    }
}

/// The record of a binding that the block at `height` made.
fn recorded(snapshot: &Snapshot<'_>, height: u64, id: BindingId) -> Reply<BindingRecord> {
    let made = find_tx(snapshot, height, |body| record_in(body).is_some_and(|r| r.binding_id == id))?;
    let record = made.and_then(|(_, body)| record_in(&body));
    record.ok_or_else(|| Refusal::internal(&"a binding without its record"))
}

/// The record that a transaction brings, also within an act of a delegate.
fn record_in(body: &Body) -> Option<BindingRecord> {
    match body {
        Body::Bind { record, .. } | Body::Rebind { record, .. } | Body::FactoryBind { record, .. } => {
            BindingRecord::decode(record).ok()
        }
        // An act holds no further act (L123).
        Body::DelegateAct { body, .. } => record_in(&Body::from_bytes(body).ok()?),
        _ => None,
    }
}
