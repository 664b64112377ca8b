//! Binding: requests, introductions, record (A20 to A23).

use api::{
    binding::{AttestedKey, Begun, Introduced as IntroducedOut, Keys, Replacement, Sides},
    encoding::{Blob, Hex},
    problem::code,
};
use lct::{
    attest::{DeviceCertificate, spk_attestation_digest},
    binding::{Assurance, BindingRecord, RECORD_LEN},
    hash::sha256,
    id::{BindingId, Cid},
    metadata::ACCESS_MAX,
    registration::Registration,
    revocation::Reason,
    sign::{Signature, Signer},
    spk::Spk,
};
use ledger::tx::{Body, Target, TxId};
use node::Snapshot;
use rand_core::Rng;

use super::{
    Core, active_binding,
    ceremonies::{Bond, CEREMONY_S, Introduced, Rows, Side, runs},
    displaced::Before,
    find_tx,
    issuance::Kind as Noted,
    issue, ordered,
    policy::Agreement,
};
use crate::{
    entropy,
    refusal::{Refusal, Reply},
};

/// A party as the request names it.
pub(crate) struct PartyIn {
    pub component_id: String,
    pub access: String,
}

/// Where a completion stands.
pub(crate) enum BindingProgress {
    /// The ledger holds it.
    Recorded { tx: TxId, record: [u8; RECORD_LEN] },
    /// Its transaction waits for a block.
    Waits { tx: TxId, record: [u8; RECORD_LEN] },
    /// First this transaction withdraws the binding before it; then the completion is asked for again.
    Clears { tx: TxId },
}

pub(super) fn not_found() -> Refusal {
    Refusal::new(404, code::BINDING_NOT_FOUND, "there is no such binding ceremony, or it ran out")
}

/// When a ceremony begun at `created` is void, Unix ms.
fn ends_ms(created: u32) -> u64 {
    u64::from(created.saturating_add(CEREMONY_S)) * 1000
}

fn replay() -> Refusal {
    Refusal::new(409, code::REPLAY, "the ceremony was already answered with something else")
}

impl Core {
    /// Begins a ceremony between two registered components.
    pub fn begin_binding(
        &mut self,
        creator: String,
        a: PartyIn,
        b: PartyIn,
        assurance: &str,
    ) -> Reply<Begun> {
        let assurance = Assurance::from_name(assurance)
            .map_err(|_| Refusal::format("assurance: it is `B0`, `B1`, `B2` or `B1+B2`"))?;
        let now = self.now();
        self.prune(now)?;
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let parties =
            ordered(&snapshot, ("a.component_id", &a.component_id), ("b.component_id", &b.component_id))?;
        let [cid_a, cid_b] = parties.each_ref().map(|(cid, _)| *cid);
        self.not_revoked(&[cid_a, cid_b])?;
        let known = active_binding(&snapshot, &cid_a, &cid_b)?.map(|(_, b)| b.assurance);
        // A binding in clear gives way to one that proves something, and any to one that an operator ordered.
        let gives_way = known == Some(Assurance::Plain as u8)
            || self.orders.binds([&a.component_id, &b.component_id], now.into());
        if known.is_some() && !(gives_way && assurance != Assurance::Plain) {
            return Err(Refusal::new(409, code::BINDING_EXISTS, "the two components are bound already"));
        }
        // As long as the ceremony may last: what the devices did with it nobody could undo.
        let ends = ends_ms(now);
        self.owners_agree(&snapshot, [&cid_a, &cid_b], ends)?;
        if !self.ceremonies.rows().has_room() {
            return Err(Refusal::new(503, code::BUSY, "too many ceremonies are under way"));
        }
        let access = [access("a.access", &a.access)?, access("b.access", &b.access)?];

        let (id, sides) = entropy::with(|rng| {
            let mut id = [0; 16];
            rng.fill_bytes(&mut id);
            let [(_, a), (_, b)] = &parties;
            // What the access data is this authority keeps itself: nobody has to open the commitment to it.
            let (a, _) = Side::draw(cid_a, a.role, &access[0], rng);
            let (b, _) = Side::draw(cid_b, b.role, &access[1], rng);
            (BindingId(id), [a, b])
        })?;
        let request = |own, partner| issue::request(&self.key, id, own, partner).map(Blob);
        let requests = [request(&sides[0], &sides[1])?, request(&sides[1], &sides[0])?];
        for (side, request) in sides.iter().zip(&requests) {
            self.note(Noted::Request, id.to_string(), (&creator, &[side.cid]), &request.0)?;
        }
        tracing::info!(%id, creator, a = %cid_a, b = %cid_b, assurance = assurance.name(), "binding requested");
        let bond = Bond {
            creator,
            created: now,
            sides,
            assurance,
            introduced: None,
            bound: false,
            policy: Agreement::default(),
            submitted: None,
            cleared: None,
        };
        let in_force = active_binding(&snapshot, &cid_a, &cid_b)?.map(|(id, _)| id);
        self.ceremonies.change(|rows| {
            // A pair has one ceremony: a client that lost the answer begins again. The one that made the binding in
            // force stays, and one whose record may be in the next block.
            let same = |b: &Bond| b.sides.each_ref().map(|s| s.cid) == [cid_a, cid_b];
            rows.bonds.retain(|id, b| b.bound || b.submitted.is_some() || in_force == Some(*id) || !same(b));
            rows.bonds.insert(id, bond);
        })?;
        let [a, b] = requests;
        Ok(Begun {
            binding_id: Hex(id.0),
            status: "requested".into(),
            expires_at: u64::from(now) + u64::from(CEREMONY_S),
            requests: Sides { a, b },
        })
    }

    /// Takes both relationship keys and introduces each entity to the other. The same keys again give fresh
    /// introductions with the same content.
    pub fn binding_keys(&mut self, id: BindingId, keys: &Keys) -> Reply<IntroducedOut> {
        let now = self.now();
        let bond = self.running_bond(id, now)?.clone();
        let given = [spk("a.spk", &keys.a)?, spk("b.spk", &keys.b)?];
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let introduced = match bond.introduced.clone() {
            Some(known) if known.keys == given => known,
            Some(_) => return Err(replay()),
            None => Introduced { time: now, keys: given },
        };
        let displaced = self.displaced(&snapshot, bond.parties(), introduced.time)?;
        self.may_displace(&snapshot, &bond, &displaced, introduced.time, ends_ms(bond.created))?;
        let mut certificates = Vec::with_capacity(2);
        for (i, (own, partner)) in [(0, 1), (1, 0)].into_iter().enumerate() {
            let side = ["a", "b"][i];
            let (spk, attestation) = &introduced.keys[own];
            certificates.push(self.attested(
                &snapshot,
                side,
                &bond.sides[own],
                &bond.sides[partner],
                spk,
                attestation,
            )?);
        }
        if introduced.keys[0].0.sign_pub() == introduced.keys[1].0.sign_pub() {
            return Err(Refusal::format("b.spk: the two sides have the same key"));
        }
        let mut introductions = Vec::with_capacity(2);
        let questions = [keys.a.replaces, keys.b.replaces];
        for (own, partner) in [(0, 1), (1, 0)] {
            let chain = certificates[partner];
            let introduction = issue::introduction(id, &bond.sides, own, chain, &introduced, bond.assurance);
            // What an entity would refuse is refused here, before it costs a handshake. The manufacturer's chain is
            // verified in every mode: the assurance says what the entities themselves found.
            introduction
                .verify_partner((bond.sides[partner].cid, bond.sides[partner].role), &self.roots)
                .map_err(|e| {
                    let side = ["a", "b"][partner];
                    Refusal::new(401, code::ATTESTATION, "the manufacturer's attestation does not hold")
                        .detail(format!("{side}: {e}"))
                })?;
            let bytes = self.key.sign(|key, rng| introduction.issue(key, rng))?;
            let mut bytes = bytes.map_err(|e| Refusal::internal(&e))?.to_vec();
            if let Some(question) = &questions[own] {
                bytes.extend(self.leave(&snapshot, &bond, &displaced, own, question)?);
            }
            let cids = [own, partner].map(|side| bond.sides[side].cid);
            self.note(Noted::Introduction, id.to_string(), (&bond.creator, &cids), &bytes)?;
            introductions.push(Blob(bytes));
        }
        let [a, b] = issue::packages(&self.key, &bond.sides, &introduced)?.map(Blob);
        let packages = Sides { a, b };
        for (side, package) in bond.sides.iter().zip([&packages.a, &packages.b]) {
            self.note(Noted::Package, id.to_string(), (&bond.creator, &[side.cid]), &package.0)?;
        }
        self.ceremonies.change(|rows: &mut Rows| {
            if let Some(bond) = rows.bonds.get_mut(&id) {
                bond.introduced = Some(introduced);
            }
        })?;
        let mut introductions = introductions.into_iter();
        let (Some(a), Some(b)) = (introductions.next(), introductions.next()) else {
            return Err(not_found());
        };
        Ok(IntroducedOut {
            binding_id: Hex(id.0),
            status: "introduced".into(),
            introductions: Sides { a, b },
            packages,
        })
    }

    /// Checks that the registered device vouches for `spk` towards `partner`; returns its certificates.
    fn attested(
        &self,
        snapshot: &Snapshot<'_>,
        side: &str,
        own: &Side,
        partner: &Side,
        spk: &Spk,
        attestation: &Signature,
    ) -> Reply<(DeviceCertificate, DeviceCertificate)> {
        let component = snapshot.component(&own.cid)?.ok_or_else(not_found)?;
        let digest = spk_attestation_digest(&own.cid, own.role, spk, &partner.cid, &own.nonce);
        component.device_key.verify(&digest, attestation).map_err(|_| {
            Refusal::new(401, code::ATTESTATION, "the registered device does not vouch for this key")
                .detail(format!("{side}.attestation: not by the device key over this key, partner and nonce"))
        })?;
        let registration = registration_of(snapshot, &own.cid, component.height)?.map(|(_, r)| r);
        let r = registration.ok_or_else(|| Refusal::internal(&"a component without its registration"))?;
        Ok((r.device, r.batch))
    }

    /// Takes both signatures over the record, adds the authority's, and submits. `replacements` is what the two say of a
    /// binding in whose place it comes; `lost` names a transaction of this ceremony that left the queue without a block.
    pub fn complete_binding(
        &mut self,
        id: BindingId,
        signatures: &Sides<[u8; 64]>,
        replacements: &[Option<Replacement>; 2],
        lost: Option<TxId>,
    ) -> Reply<BindingProgress> {
        let [sig_a, sig_b] = [Signature(signatures.a), Signature(signatures.b)];
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        if let Some(binding) = snapshot.binding(&id)? {
            let recorded = find_tx(&snapshot, binding.height, |body| {
                record_of(body).is_some_and(|r| r.binding_id == id)
            })?;
            return match recorded {
                Some((
                    tx,
                    Body::Bind { record, signature_a, signature_b, .. }
                    | Body::Rebind { record, signatures: [signature_a, signature_b, _], .. },
                )) if (signature_a, signature_b) == (sig_a, sig_b) => {
                    let record =
                        record.try_into().map_err(|_| Refusal::internal(&"a recorded binding's length"))?;
                    Ok(BindingProgress::Recorded { tx, record })
                }
                _ => Err(replay()),
            };
        }
        let now = self.now();
        let bond = self.running_bond(id, now)?;
        let record = bond.record(id).ok_or_else(|| {
            Refusal::new(409, code::BINDING_STEP, "the keys of this ceremony are still missing")
        })?;
        let bytes = record.encode();
        let answer = sha256(&[&sig_a.0, &sig_b.0]);
        if let Some((known, tx)) = bond.submitted.filter(|(_, tx)| lost != Some(*tx)) {
            return if known == answer {
                Ok(BindingProgress::Waits { tx, record: bytes })
            } else {
                Err(replay())
            };
        }
        let digest = record.digest();
        for (side, entity, signature) in [("a", 0, &sig_a), ("b", 1, &sig_b)] {
            record.entities[entity].sign_pub.verify(&digest, signature).map_err(|_| {
                Refusal::new(401, code::BINDING_PROOF, "an entity did not sign the binding record")
                    .detail(format!("signatures.{side}"))
            })?;
        }
        let own = self.key.sign(|key, rng| key.sign(&digest, rng))?;
        let signed = [sig_a, sig_b, own];
        let body = match self.before(&snapshot, bond, &record, replacements)? {
            Before::Nothing => api::sign::bind(&record, signed),
            Before::Replaced { word, device } => {
                let statement = (&*word.statement.0, &device, &Signature(word.signature.0));
                api::sign::rebind(&record, signed, &word.leave.0, statement, None)
            }
            Before::Cleared(old) => {
                let tx = match bond.cleared.filter(|(id, tx)| *id == old && lost != Some(*tx)) {
                    Some((_, tx)) => tx,
                    None => self.submit(api::sign::revoke(Target::Binding(old), Reason::Superseded))?,
                };
                self.ceremonies.cleared_bond(&id, (old, tx));
                return Ok(BindingProgress::Clears { tx });
            }
        };
        let tx = self.submit(body.map_err(|e| Refusal::internal(&e))?)?;
        self.ceremonies.submitted_bond(&id, answer, tx);
        Ok(BindingProgress::Waits { tx, record: bytes })
    }

    fn running_bond(&self, id: BindingId, now: u32) -> Reply<&Bond> {
        let bond = self.ceremonies.rows().bonds.get(&id);
        bond.filter(|b| !b.bound && runs(b.created, now)).ok_or_else(not_found)
    }

    /// Forgets what ran out. What the ledger holds by now is kept as a relationship.
    pub(super) fn prune(&mut self, now: u32) -> Reply<()> {
        let rows = self.ceremonies.rows();
        let stale: Vec<_> =
            rows.bonds.iter().filter(|(_, b)| !b.bound && !runs(b.created, now)).map(|(id, _)| *id).collect();
        let late: Vec<_> =
            rows.pairings.iter().filter(|(_, p)| !runs(p.created, now)).map(|(id, _)| *id).collect();
        if stale.is_empty() && late.is_empty() {
            return Ok(());
        }
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let mut bound = Vec::new();
        for id in &stale {
            bound.push(snapshot.binding(id)?.is_some());
        }
        let mut completed = Vec::new();
        for id in &late {
            completed.push(snapshot.pairing(id)?.is_some());
        }
        self.ceremonies.change(|rows| {
            for (id, bound) in stale.iter().zip(bound) {
                match rows.bonds.get_mut(id) {
                    Some(bond) if bound => bond.bound = true,
                    _ => drop(rows.bonds.remove(id)),
                }
            }
            for (id, completed) in late.iter().zip(completed) {
                if completed { rows.settle(id) } else { drop(rows.pairings.remove(id)) }
            }
        })?;
        Ok(())
    }
}

impl Bond {
    /// The record that both entities and the authority sign, once both keys are there.
    pub(super) fn record(&self, binding_id: BindingId) -> Option<BindingRecord> {
        let introduced = self.introduced.as_ref()?;
        Some(issue::record(binding_id, &self.sides, introduced, self.assurance))
    }
}

/// The registration of a component and the transaction that made it.
pub(crate) fn registration_of(
    snapshot: &Snapshot<'_>,
    cid: &Cid,
    height: u64,
) -> Reply<Option<(TxId, Registration)>> {
    let registers = |body: &Body| registration_in(body).is_some_and(|r| Cid::of(&r.component_id) == *cid);
    let found = find_tx(snapshot, height, registers)?;
    Ok(found.and_then(|(tx, body)| Some((tx, registration_in(&body)?))))
}

fn registration_in(body: &Body) -> Option<Registration> {
    match body {
        Body::Register { statement, .. } => Registration::decode(statement).ok(),
        _ => None,
    }
}

fn record_of(body: &Body) -> Option<BindingRecord> {
    match body {
        Body::Bind { record, .. } | Body::Rebind { record, .. } => BindingRecord::decode(record).ok(),
        _ => None,
    }
}

fn spk(field: &str, key: &AttestedKey) -> Reply<(Spk, Signature)> {
    let spk = Spk::from_slice(&key.spk.0).map_err(|e| Refusal::format(format!("{field}: {e}")))?;
    Ok((spk, Signature(key.attestation.0)))
}

pub(super) fn access(field: &str, text: &str) -> Reply<Vec<u8>> {
    if text.is_empty() || text.len() > ACCESS_MAX || text.chars().any(char::is_control) {
        return Err(Refusal::format(format!("{field}: 1 to {ACCESS_MAX} bytes without control characters")));
    }
    Ok(text.as_bytes().to_vec())
}
