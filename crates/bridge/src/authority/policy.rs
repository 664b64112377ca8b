//! Signed changes of the policy: orders, proposals, updates (A47 to A50; `spec/channel.md`, H110 to H113).
//!
//! A version is ordered once for a binding and never goes back. What was proposed, and what all three signed, is in the
//! file of the ceremonies before it is given out, so after a crash the authority asks for the signatures of the same
//! policy, and issues certificates for the version that devices may hold.

use api::{
    binding::Sides,
    encoding::{Blob, Hex},
    policy::{self as dto, BINDINGS_MAX, Propose, Sign, Standing, order_digest},
    problem::code,
};
use lct::{
    Error,
    id::{BindingId, Cid},
    policy::{FACTORY_VERSION, Policy, ROW_LEN, ROWS_MAX, Rotation, Rows},
    revocation::Subject,
    sign::Signature,
};
use ledger::records::{Binding, Status};
use node::Snapshot;
use pack::policies::{Reason, read_table};

use super::{Core, by_operator, ceremonies::Bond, component_id, issuance::Kind};
use crate::refusal::{Refusal, Reply};

/// A policy with the bytes in which it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub policy: Policy,
    pub bytes: Vec<u8>,
}

impl Signed {
    /// Reads `body | signature of the authority`; nothing is verified.
    pub fn proposal(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes, 1)
    }

    /// Reads `body | signature of the authority | of A | of B`; nothing is verified.
    pub fn update(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes, 3)
    }

    fn read(bytes: &[u8], signatures: usize) -> Result<Self, Error> {
        let body = bytes.len().checked_sub(64 * signatures).and_then(|n| bytes.get(..n));
        Ok(Signed { policy: Policy::decode(body.ok_or(Error::Malformed)?)?, bytes: bytes.into() })
    }
}

/// The last completed pairing of a relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paired {
    /// Of the policy under which it was made.
    pub version: u32,
    /// When its certificate was issued, Unix seconds.
    pub created: u32,
    /// Unix seconds.
    pub lease_end: u32,
}

impl Paired {
    /// Whether the two are to be paired anew at `now`, if pairings may get `age_s` old.
    fn is_due(&self, now: u32, age_s: u32) -> bool {
        let quarter = self.lease_end.saturating_sub(self.created) / 4;
        now.saturating_sub(self.created) >= age_s || now >= self.lease_end.saturating_sub(quarter)
    }
}

/// The policy of a relationship.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The last completed pairing.
    pub paired: Option<Paired>,
    /// What both entities are to sign.
    pub proposal: Option<Signed>,
    /// What all three signed last.
    pub update: Option<Signed>,
}

impl Agreement {
    /// A pairing was completed.
    pub fn settle(&mut self, pairing: Paired) {
        if self.paired.is_none_or(|last| last.created <= pairing.created) {
            self.paired = Some(pairing);
        }
    }

    /// Version of the next pairing.
    pub fn agreed(&self) -> u32 {
        self.update.as_ref().map_or(FACTORY_VERSION, |u| u.policy.version)
    }

    /// Periods of the next pairing.
    pub fn periods(&self) -> Rotation {
        self.update.as_ref().map_or(Rotation::FACTORY, |u| u.policy.rotation)
    }

    /// What was ordered last.
    fn last(&self) -> Option<&Policy> {
        self.proposal.as_ref().or(self.update.as_ref()).map(|s| &s.policy)
    }

    fn ordered(&self) -> u32 {
        self.last().map_or(FACTORY_VERSION, |policy| policy.version)
    }
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(400, code::POLICY_INVALID, "no device takes this policy").detail(detail)
}

fn no_binding(id: BindingId) -> Refusal {
    Refusal::new(404, code::BINDING_NOT_FOUND, "there is no such binding in force").detail(id.to_string())
}

impl Core {
    /// The policies of all bindings in force whose keys are held here, or of those of one component.
    pub fn policies(&self, component: Option<Cid>) -> Reply<Vec<Standing>> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let mut standings = Vec::new();
        for (id, bond) in &self.ceremonies.rows().bonds {
            let cids = bond.sides.each_ref().map(|side| side.cid);
            if component.is_none_or(|cid| cids.contains(&cid)) && self.in_force(&snapshot, *id)?.is_some() {
                standings.push(self.standing(&snapshot, *id, bond)?);
            }
        }
        Ok(standings)
    }

    /// The policy of one binding.
    pub fn policy(&self, id: BindingId) -> Reply<dto::Policy> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let binding = self.in_force(&snapshot, id)?.ok_or_else(|| no_binding(id))?;
        let bond = self.bond(id, &binding)?;
        let blob = |signed: &Option<Signed>| signed.as_ref().map(|s| Blob(s.bytes.clone()));
        Ok(dto::Policy {
            standing: self.standing(&snapshot, id, bond)?,
            proposal: blob(&bond.policy.proposal),
            update: blob(&bond.policy.update),
        })
    }

    /// Signs proposals for bindings of which an operator ordered a policy: for all of them or for none. What was ordered
    /// before stays as it is.
    pub fn propose_policy(&mut self, request: &Propose) -> Reply<Vec<Standing>> {
        let ids: Vec<BindingId> = request.bindings.iter().map(|id| BindingId(id.0)).collect();
        if !(1..=BINDINGS_MAX).contains(&ids.len()) {
            return Err(Refusal::format(format!("bindings: 1 to {BINDINGS_MAX} of them")));
        }
        let rotation = Rotation::from(request.periods);
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let order = order_digest(&chain.chain_id(), request.version, &rotation, &request.table.0, &ids);
        let codes = [code::POLICY_DENIED, code::POLICY_PROOF];
        by_operator(&snapshot, &request.key.0, &request.signature.0, &order, codes)?;
        Rotation::from_bytes(&rotation.to_bytes())
            .map_err(|_| invalid("periods: one is out of its range (spec/channel.md, H110)"))?;
        let rows = rows(&request.table.0)?;
        let mut proposals = Vec::new();
        for id in &ids {
            let binding = self.in_force(&snapshot, *id)?.ok_or_else(|| no_binding(*id))?;
            let bond = self.bond(*id, &binding)?;
            let entities = bond.sides.each_ref().map(|side| side.cid);
            let policy = Policy { version: request.version, entities, rotation, rows: rows.clone() };
            if bond.policy.last() == Some(&policy) {
                continue;
            }
            let highest = bond.policy.ordered();
            if policy.version <= highest {
                let error = "a policy goes forward only: its version is not above the last one";
                let detail = format!("binding {id}: {highest} was ordered already");
                return Err(Refusal::new(409, code::POLICY_VERSION, error).detail(detail));
            }
            let bytes = self.key.sign(|key, rng| policy.propose(key, rng))?;
            let bytes = bytes.map_err(|_| invalid("table: its rows overlap or do not ascend"))?.to_vec();
            proposals.push((*id, Signed { policy, bytes }));
        }
        if !proposals.is_empty() {
            for (id, Signed { policy, bytes }) in &proposals {
                let name = format!("{id}-{}", policy.version);
                self.note(Kind::Policy, name, (&request.creator, &policy.entities), bytes)?;
            }
            let n = proposals.len();
            self.ceremonies.change(|rows| {
                for (id, proposal) in proposals {
                    if let Some(bond) = rows.bonds.get_mut(&id) {
                        bond.policy.proposal = Some(proposal);
                    }
                }
            })?;
            tracing::warn!(
                creator = request.creator,
                version = request.version,
                bindings = n,
                "policy ordered"
            );
        }
        let mut standings = Vec::new();
        for id in ids {
            let bond = self.ceremonies.rows().bonds.get(&id).ok_or_else(|| no_binding(id))?;
            standings.push(self.standing(&snapshot, id, bond)?);
        }
        Ok(standings)
    }

    /// Takes the signatures of both entities: the update is agreed to, and certificates are issued for its version.
    pub fn sign_policy(&mut self, id: BindingId, request: &Sign) -> Reply<dto::Policy> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let binding = self.in_force(&snapshot, id)?.ok_or_else(|| no_binding(id))?;
        let bond = self.bond(id, &binding)?;
        let waits = |signed: &&Signed| signed.policy.version == request.version;
        let Some(proposal) = bond.policy.proposal.as_ref().filter(waits) else {
            let error = "no proposal of this version waits for signatures";
            // The answer to the first of two equal requests may have been lost.
            return match bond.policy.update.as_ref().filter(waits) {
                Some(_) => self.policy(id),
                None => Err(Refusal::new(409, code::POLICY_STEP, error)),
            };
        };
        let Sides { a, b } = &request.signatures;
        let signatures = [Signature(a.0), Signature(b.0)];
        let update = Policy::complete(&proposal.bytes, &[binding.key_a, binding.key_b], &signatures);
        let update = update.and_then(|bytes| Signed::update(&bytes)).map_err(|_| {
            Refusal::new(401, code::POLICY_PROOF, "an entity did not sign the policy")
                .detail("signatures: not by the keys of the binding over this proposal, A then B")
        })?;
        self.ceremonies.change(|rows| {
            if let Some(bond) = rows.bonds.get_mut(&id) {
                (bond.policy.proposal, bond.policy.update) = (None, Some(update));
            }
        })?;
        tracing::info!(%id, version = request.version, "policy agreed to");
        self.policy(id)
    }

    /// A binding that the ledger holds, and that was not revoked.
    fn in_force(&self, snapshot: &Snapshot<'_>, id: BindingId) -> Reply<Option<Binding>> {
        let Some(binding) = snapshot.binding(&id)? else { return Ok(None) };
        let listed = [Subject::Binding(id), Subject::Component(binding.a), Subject::Component(binding.b)];
        let revoked = listed.into_iter().any(|what| self.revocations.lists(what));
        Ok(Some(binding).filter(|b| b.status == Status::Active && !revoked))
    }

    fn standing(&self, snapshot: &Snapshot<'_>, id: BindingId, bond: &Bond) -> Reply<Standing> {
        let name = |i: usize| component_id(snapshot, &bond.sides[i].cid);
        let mut policy = Agreement { paired: bond.policy.paired, ..Agreement::default() };
        // A completion is on the ledger before its ceremony is forgotten.
        for (pairing_id, pairing) in &self.ceremonies.rows().pairings {
            if pairing.binding_id == id && snapshot.pairing(pairing_id)?.is_some() {
                policy.settle(pairing.paired());
            }
        }
        let periods = bond.policy.periods();
        let (now, paired) = (self.now(), policy.paired);
        // What somebody ended is not made anew by itself.
        let live = snapshot.live_pairings(&id)?;
        let wanted = !live.is_empty();
        // A delegate's lease may end sooner than the last one that was granted here.
        let seconds = |ms: u64| u32::try_from(ms / 1000).unwrap_or(u32::MAX);
        let latest = live.iter().max_by_key(|(_, p)| p.time_ms);
        let recorded = latest.map(|(_, p)| Paired {
            version: FACTORY_VERSION,
            created: seconds(p.time_ms),
            lease_end: seconds(p.expires_ms),
        });
        Ok(Standing {
            binding_id: Hex(id.0),
            a: name(0)?,
            b: name(1)?,
            in_force: paired.map_or(FACTORY_VERSION, |p| p.version),
            agreed: bond.policy.agreed(),
            ordered: bond.policy.ordered(),
            due: wanted && [paired, recorded].iter().flatten().any(|p| p.is_due(now, periods.agreement_s)),
        })
    }
}

/// A class table that devices take (H113).
fn rows(table: &[u8]) -> Reply<Rows> {
    let (rows, rest) = table.as_chunks::<ROW_LEN>();
    if !rest.is_empty() || !(1..=ROWS_MAX).contains(&rows.len()) {
        return Err(invalid(format!("table: it has 1 to {ROWS_MAX} rows of {ROW_LEN} bytes")));
    }
    let rows: Rows = rows.iter().copied().collect();
    match read_table(&rows) {
        Ok(_) => Ok(rows),
        Err(Reason::FixedRow) => Err(invalid(
            "table: security messages, discovery and the stop of everything are the same in every policy; one of these \
             rows is changed or missing (spec/channel.md, H113)",
        )),
        Err(_) => Err(invalid("table: a minimum or a flag is not known (spec/can.md, C94)")),
    }
}
