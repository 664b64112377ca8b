//! Pairing: certificates issued and their completions (A24 to A28).

use api::{
    binding::Sides,
    encoding::{Blob, Hex},
    pairing::Issued,
    problem::code,
};
use lct::{
    Digest,
    hash::sha256,
    id::{BindingId, Cid, PairingId},
    metadata::{BASES_MAX, ClearMetadata, Entity, PairingContext, Timing},
    pairing::{Completion, nonce_commitment},
    revocation::Subject,
    secret::equal,
    sign::{Signature, Signer},
};
use ledger::{
    records::Status,
    tx::{Body, TxId},
};
use node::Snapshot;
use rand_core::Rng;

use super::{
    Core,
    ceremonies::{CEREMONY_S, Pairing, runs},
    find_tx,
    issuance::Kind,
    issue, ordered,
};
use crate::{
    entropy,
    refusal::{Refusal, Reply},
};

/// First and last base that a class table can name.
const BASES: std::ops::RangeInclusive<u16> = 0x400..=0x5FF;

/// Both sides admit each other, as the ledger will ask when the pairing is completed (L222).
fn admitted(snapshot: &Snapshot<'_>, [a, b]: [&Cid; 2]) -> Reply<()> {
    for sides in [[a, b], [b, a]] {
        if let Err(why) = snapshot.admits(sides)? {
            let error = "an authorization of one of the two does not hold for the other";
            return Err(Refusal::new(403, code::PAIRING_DENIED, error).detail(why.text()));
        }
    }
    Ok(())
}

/// A pairing as the request asks for it.
pub(crate) struct PairingIn {
    pub creator: String,
    pub a: String,
    pub b: String,
    pub context: PairingContext,
    pub salt: [u8; 32],
    pub iv_seed: [u8; 16],
    pub valid_days: u16,
    pub unencrypted_allowed: Vec<u16>,
}

/// Where a completion stands.
pub(crate) enum PairingProgress {
    /// The ledger holds it.
    Recorded(TxId),
    /// Its transaction waits for a block.
    Waits(TxId),
}

fn not_found() -> Refusal {
    Refusal::new(404, code::PAIRING_NOT_FOUND, "there is no such pairing ceremony, or it ran out")
}

fn replay() -> Refusal {
    Refusal::new(409, code::REPLAY, "the ceremony was already answered with something else")
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(400, code::PAIRING_INVALID, "a parameter of the pairing is out of range").detail(detail)
}

fn no_proof(detail: &str) -> Refusal {
    Refusal::new(401, code::PAIRING_PROOF, "the completion is not proved").detail(detail)
}

impl Core {
    /// Issues a certificate to two components that are bound to each other.
    pub fn issue_pairing(&mut self, request: PairingIn) -> Reply<Issued> {
        let now = self.now();
        self.prune(now)?;
        let chain = self.chain.clone();
        let max_days = chain.params().max_lease_s / 86_400;
        if !(1..=max_days).contains(&u32::from(request.valid_days)) {
            return Err(invalid(format!("valid_days: 1 to {max_days}")));
        }
        let bases = &request.unencrypted_allowed;
        if bases.len() > BASES_MAX || !bases.iter().all(|b| BASES.contains(b)) {
            return Err(invalid(format!(
                "unencrypted_allowed: at most {BASES_MAX} bases from 0x400 to 0x5FF"
            )));
        }
        let snapshot = chain.read()?;
        let parties = ordered(&snapshot, ("a", &request.a), ("b", &request.b))?;
        let [a, b] = parties.each_ref().map(|(cid, _)| *cid);
        self.not_revoked(&[a, b])?;
        let (binding_id, _, bond) = self.relation(&snapshot, &a, &b)?;
        if self.revocations.lists(Subject::Binding(binding_id)) {
            return Err(Refusal::new(403, code::PAIRING_DENIED, "the binding of the two was revoked"));
        }
        admitted(&snapshot, [&a, &b])?;
        if !self.ceremonies.rows().has_room() {
            return Err(Refusal::new(503, code::BUSY, "too many ceremonies are under way"));
        }
        let Some(introduced) = &bond.introduced else {
            return Err(Refusal::internal(&"a relationship without its keys"));
        };
        let spks = introduced.keys.map(|(spk, _)| spk);
        let pairing_id = entropy::with(|rng| {
            let mut id = [0; 16];
            rng.fill_bytes(&mut id);
            PairingId(id)
        })?;
        let lease_s = u32::from(request.valid_days) * 86_400;
        let lease_end = now.saturating_add(lease_s.min(bond.policy.periods().certificate_s));
        // H53: a device takes only what was issued later than the certificate that served it last.
        let last = self.certified_last(&snapshot, &a, binding_id)?;
        let created = last.map_or(now, |last| now.max(last.saturating_add(1)));
        let too_long = |_| Refusal::internal(&"a list of a certificate is too long");
        let entity = |i: usize| -> Reply<Entity> {
            let side = &bond.sides[i];
            let access = side.access.as_slice().try_into().map_err(too_long)?;
            Ok(Entity { cid: side.cid, role: side.role, access })
        };
        let metadata = ClearMetadata {
            pairing_id,
            context: request.context,
            entities: [entity(0)?, entity(1)?],
            timing: Timing { created, valid_from: now, expires: lease_end, max_uses: 0 },
            operations: if request.context == PairingContext::Diagnostics { 0b001 } else { 0b111 },
            unencrypted_allowed: bases.as_slice().try_into().map_err(too_long)?,
            salt: request.salt,
            iv_seed: request.iv_seed,
            policy_version: bond.policy.agreed(),
            compact: [].as_slice().try_into().map_err(too_long)?,
            crl_number: self.revocations.number(),
        };
        let remains = issue::certificate(&self.key, &metadata, &spks)?;
        let creator = request.creator;
        self.note(Kind::Pairing, pairing_id.to_string(), (&creator, &[a, b]), &remains.certificate)?;
        tracing::info!(%pairing_id, creator, %a, %b, "pairing certificate issued");
        let pairing = Pairing {
            binding_id,
            creator,
            created,
            cert_hash: remains.cert_hash,
            commitment: remains.commitment,
            lease_end,
            policy_version: metadata.policy_version,
            submitted: None,
        };
        self.ceremonies.change(|rows| rows.pairings.insert(pairing_id, pairing))?;
        self.certified.insert(binding_id, created);
        Ok(Issued {
            pairing_id: Hex(pairing_id.0),
            certificate: Blob(remains.certificate),
            expires_at: lease_end.into(),
            complete_by: u64::from(now) + u64::from(CEREMONY_S),
            status: "pending".into(),
        })
    }

    /// Checks a completion, adds the authority's signature, and submits. `lost` names a transaction of this
    /// ceremony that left the queue without a block.
    pub fn complete_pairing(
        &mut self,
        id: PairingId,
        nonce: [u8; 32],
        th4: Digest,
        signatures: &Sides<[u8; 64]>,
        lost: Option<TxId>,
    ) -> Reply<PairingProgress> {
        let [sig_a, sig_b] = [Signature(signatures.a), Signature(signatures.b)];
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        if let Some(pairing) = snapshot.pairing(&id)? {
            let is = |body: &Body| matches!(body, Body::PairComplete(p) if p.pairing_id == id);
            return match find_tx(&snapshot, pairing.height, is)? {
                Some((tx, Body::PairComplete(p)))
                    if (p.nonce, p.th4, p.signature_a, p.signature_b) == (nonce, th4, sig_a, sig_b) =>
                {
                    Ok(PairingProgress::Recorded(tx))
                }
                _ => Err(replay()),
            };
        }
        let now = self.now();
        let pairing = self.ceremonies.rows().pairings.get(&id).filter(|p| runs(p.created, now));
        let pairing = pairing.ok_or_else(not_found)?;
        let answer = sha256(&[&nonce, &th4, &sig_a.0, &sig_b.0]);
        if let Some((known, tx)) = pairing.submitted.filter(|(_, tx)| lost != Some(*tx)) {
            return if known == answer { Ok(PairingProgress::Waits(tx)) } else { Err(replay()) };
        }
        let binding = snapshot.binding(&pairing.binding_id)?.filter(|b| b.status == Status::Active);
        let binding = binding.ok_or_else(|| {
            Refusal::new(403, code::PAIRING_DENIED, "the binding of the pairing is not in force")
        })?;
        // What was revoked while the devices were on their way is not completed, whether or not the ledger knows already.
        self.not_revoked(&[binding.a, binding.b])?;
        if [Subject::Pairing(id), Subject::Binding(pairing.binding_id)]
            .iter()
            .any(|s| self.revocations.lists(*s))
        {
            return Err(Refusal::new(
                403,
                code::PAIRING_DENIED,
                "the pairing was revoked before its completion",
            ));
        }
        admitted(&snapshot, [&binding.a, &binding.b])?;
        if !equal(&nonce_commitment(&nonce, &id), &pairing.commitment) {
            return Err(no_proof("validation_nonce: not the one of this certificate"));
        }
        let completion = Completion { pairing_id: id, nonce, cert_hash: pairing.cert_hash, th4 };
        let digest = completion.digest();
        for (side, key, signature) in [("a", &binding.key_a, &sig_a), ("b", &binding.key_b, &sig_b)] {
            key.verify(&digest, signature).map_err(|_| {
                no_proof(&format!("entity_signatures.{side}: not by its key over this completion"))
            })?;
        }
        // A lease is counted from the block; the certificate says when it ends.
        let lease_s = pairing.lease_end.saturating_sub(now).min(chain.params().max_lease_s);
        let own = self.key.sign(|key, rng| key.sign(&digest, rng))?;
        let body = api::sign::pair_complete(
            &completion,
            (pairing.binding_id, [binding.key_a, binding.key_b]),
            lease_s,
            [sig_a, sig_b, own],
        )
        .map_err(|e| Refusal::internal(&e))?;
        let tx = self.submit(body)?;
        self.ceremonies.submitted_pairing(&id, answer, tx);
        Ok(PairingProgress::Waits(tx))
    }

    /// When the latest certificate of a binding was issued, as far as it shows: since this start, a ceremony that is still open,
    /// or the block of a pairing, which a delegate may have made. The clock may have gone back meanwhile.
    pub(super) fn certified_last(
        &self,
        snapshot: &Snapshot<'_>,
        a: &Cid,
        binding_id: BindingId,
    ) -> Reply<Option<u32>> {
        let open = self.ceremonies.rows().pairings.values();
        let open = open.filter(|p| p.binding_id == binding_id).map(|p| p.created).max();
        let here = self.certified.get(&binding_id).copied();
        let recorded = match here {
            // What was issued before it is older, but for what delegates made.
            Some(_) => snapshot.live_pairings(&binding_id)?,
            None => {
                snapshot.pairings_of(a)?.into_iter().filter(|(_, p)| p.binding_id == binding_id).collect()
            }
        };
        let recorded =
            recorded.iter().map(|(_, p)| u32::try_from(p.time_ms / 1000).unwrap_or(u32::MAX)).max();
        Ok(here.max(open).max(recorded))
    }

    /// Forgets a ceremony whose completion the ledger holds.
    pub fn pairing_recorded(&mut self, id: PairingId) -> Reply<()> {
        if self.ceremonies.rows().pairings.contains_key(&id) {
            self.ceremonies.change(|rows| rows.settle(&id))?;
        }
        Ok(())
    }

    /// The ceremony of a pairing that is not completed: its row, the cids of A and B, and where it stands.
    pub fn pending_pairing(&self, id: PairingId) -> Reply<(Pairing, [Cid; 2], &'static str)> {
        let rows = self.ceremonies.rows();
        let pairing = rows.pairings.get(&id).ok_or_else(not_found)?;
        let bond = rows.bonds.get(&pairing.binding_id).ok_or_else(not_found)?;
        let status = match runs(pairing.created, self.now()) {
            _ if self.revocations.lists(Subject::Pairing(id)) => "revoked",
            true => "pending",
            false => "expired",
        };
        Ok((pairing.clone(), bond.sides.each_ref().map(|s| s.cid), status))
    }
}
