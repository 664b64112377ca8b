//! Keys of the state, one function per table (`spec/ledger.md`, L60).

use lct::trust::TrustContext;

use super::*;
use crate::tx::Kind;

/// The chain's identity: the 32 bytes of the chain id.
pub const CHAIN: &[u8] = b"chn/";
/// The validator set in force at the next height.
pub const VALIDATORS: &[u8] = b"val/";
/// The parameters in force.
pub const PARAMS: &[u8] = b"prm/";
/// Manufacturer roots.
pub const ROOTS: &[u8] = b"rts/";
/// [`Totals`].
pub const TOTALS: &[u8] = b"tot/";
/// Table of [`Pool`]s.
pub const POOLS: &[u8] = b"pol/";
/// Table of [`Component`]s.
pub const COMPONENTS: &[u8] = b"cmp/";
/// Table of [`Lct`]s.
pub const LCTS: &[u8] = b"lct/";
/// Table of [`Binding`]s.
pub const BINDINGS: &[u8] = b"bnd/";
/// Table of [`Tensor`]s.
pub const TENSORS: &[u8] = b"tns/";
/// Table of [`Pairing`]s.
pub const PAIRINGS: &[u8] = b"par/";

/// [`RulesVersion`] in force at the next height; absent for version 1.
pub const RULES: &[u8] = b"ver/";

/// [`Pending`]: the last change of this kind that was decided.
#[must_use]
pub fn pending(kind: Kind) -> Vec<u8> {
    join(b"nxt/", &[&[kind as u8]])
}

/// Prefix of the [`Setting`]s of a pack; u8 number of the parameter follows.
#[must_use]
pub fn settings_of(cid: &Cid) -> Vec<u8> {
    join(b"cfg/", &[&cid.0])
}

/// [`Setting`] of a parameter of a pack.
#[must_use]
pub fn setting(cid: &Cid, parameter: u8) -> Vec<u8> {
    join(b"cfg/", &[&cid.0, &[parameter]])
}

/// Table of [`Account`]s.
pub const ACCOUNTS: &[u8] = b"acc/";

/// [`Account`] of a transaction signer.
#[must_use]
pub fn account(signer: &PublicKey) -> Vec<u8> {
    join(b"acc/", &[&signer.0])
}

/// [`Nonce`]: last accepted nonce of a signer.
#[must_use]
pub fn nonce(signer: &PublicKey) -> Vec<u8> {
    join(b"non/", &[&signer.0])
}

/// [`Component`].
#[must_use]
pub fn component(cid: &Cid) -> Vec<u8> {
    join(b"cmp/", &[&cid.0])
}

/// [`DeviceKey`]: the component a device identity key belongs to.
#[must_use]
pub fn device_key(key: &PublicKey) -> Vec<u8> {
    join(b"dev/", &[&key.0])
}

/// Cid of the component with this serial number (16 bytes).
#[must_use]
pub fn serial(serial: &str) -> Vec<u8> {
    join(b"ser/", &[&sha256(&[serial.as_bytes()])])
}

/// [`Lct`].
#[must_use]
pub fn lct(id: &Digest) -> Vec<u8> {
    join(b"lct/", &[id])
}

/// [`Binding`].
#[must_use]
pub fn binding(id: &BindingId) -> Vec<u8> {
    join(b"bnd/", &[&id.0])
}

/// Id of the last binding between two components (16 bytes).
#[must_use]
pub fn bound_pair(a: &Cid, b: &Cid) -> Vec<u8> {
    join(b"bpr/", &[&a.0, &b.0])
}

/// [`SigningKey`] of a binding.
#[must_use]
pub fn signing_key(key: &PublicKey) -> Vec<u8> {
    join(b"key/", &[&key.0])
}

/// [`Pairing`].
#[must_use]
pub fn pairing(id: &PairingId) -> Vec<u8> {
    join(b"par/", &[&id.0])
}

/// [`Usage`] of a pairing.
#[must_use]
pub fn usage(id: &PairingId) -> Vec<u8> {
    join(b"use/", &[&id.0])
}

/// [`Bindings`] in force of a component.
#[must_use]
pub fn bindings_of(cid: &Cid) -> Vec<u8> {
    join(b"lnk/", &[&cid.0])
}

/// [`Pairings`] of a binding that were neither withdrawn nor found ended.
#[must_use]
pub fn pairings_of(id: &BindingId) -> Vec<u8> {
    join(b"lse/", &[&id.0])
}

/// [`Revocation`] of what `target` names.
#[must_use]
pub fn revocation(target: &Target) -> Vec<u8> {
    let (code, id) = target.parts();
    join(b"rvk/", &[&[code], id])
}

/// `lct::revocation::batch_id` of the batch authority that certified a component (16 bytes).
#[must_use]
pub fn issuer(cid: &Cid) -> Vec<u8> {
    join(b"iss/", &[&cid.0])
}

/// Id of the binding that took the place of another (16 bytes).
#[must_use]
pub fn replaced(id: &BindingId) -> Vec<u8> {
    join(b"rpl/", &[&id.0])
}

/// [`Ownership`] of a component.
#[must_use]
pub fn ownership(cid: &Cid) -> Vec<u8> {
    join(b"own/", &[&cid.0])
}

/// [`Consent`] of the owner of a component that another binding takes the place of this one.
#[must_use]
pub fn consent(cid: &Cid, binding: &BindingId) -> Vec<u8> {
    join(b"cns/", &[&cid.0, &binding.0])
}

/// Prefix of the [`Hop`]s of a component; u32 number follows.
#[must_use]
pub fn hops_of(cid: &Cid) -> Vec<u8> {
    join(b"hop/", &[&cid.0])
}

/// [`Hop`] of a component's ownership.
#[must_use]
pub fn hop(cid: &Cid, number: u32) -> Vec<u8> {
    join(b"hop/", &[&cid.0, &number.to_be_bytes()])
}

/// Prefix of the [`Validation`]s of a component; u32 boot counter and u32 number follow.
#[must_use]
pub fn validations_of(cid: &Cid) -> Vec<u8> {
    join(b"vev/", &[&cid.0])
}

/// [`Validation`] of an event.
#[must_use]
pub fn validation(cid: &Cid, boot: u32, seq: u32) -> Vec<u8> {
    join(b"vev/", &[&cid.0, &boot.to_be_bytes(), &seq.to_be_bytes()])
}

/// [`AccessPoint`] of a component.
#[must_use]
pub fn access(cid: &Cid) -> Vec<u8> {
    join(b"acs/", &[&cid.0])
}

/// [`Position`] of a component.
#[must_use]
pub fn position(cid: &Cid) -> Vec<u8> {
    join(b"pos/", &[&cid.0])
}

/// [`Delegated`]: a delegation.
#[must_use]
pub fn delegation(id: &DelegationId) -> Vec<u8> {
    join(b"dlg/", &[&id.0])
}

/// Prefix of the [`ActRecord`]s under a delegation; u32 number follows.
#[must_use]
pub fn acts_of(id: &DelegationId) -> Vec<u8> {
    join(b"act/", &[&id.0])
}

/// [`ActRecord`] of an act.
#[must_use]
pub fn act(id: &DelegationId, number: u32) -> Vec<u8> {
    join(b"act/", &[&id.0, &number.to_be_bytes()])
}

/// Table of [`Delegated`].
pub const DELEGATIONS: &[u8] = b"dlg/";

/// [`TelemetryHead`] of a component.
#[must_use]
pub fn telemetry(cid: &Cid) -> Vec<u8> {
    join(b"tel/", &[&cid.0])
}

/// [`Batch`] by its first sequence number.
#[must_use]
pub fn batch(cid: &Cid, first_seq: u32) -> Vec<u8> {
    join(b"bat/", &[&cid.0, &first_seq.to_be_bytes()])
}

/// [`Pool`] of a pack.
#[must_use]
pub fn pool(cid: &Cid) -> Vec<u8> {
    join(b"pol/", &[&cid.0])
}

/// Prefix of the [`Cycle`]s of a pack; u32 number follows.
#[must_use]
pub fn cycles_of(cid: &Cid) -> Vec<u8> {
    join(b"cyc/", &[&cid.0])
}

/// [`Cycle`] of a pack.
#[must_use]
pub fn cycle(cid: &Cid, cycle: u32) -> Vec<u8> {
    join(b"cyc/", &[&cid.0, &cycle.to_be_bytes()])
}

/// Prefix of the [`EnergyRecord`]s of a pack; u32 cycle and u32 sequence number follow.
#[must_use]
pub fn energy_of(cid: &Cid) -> Vec<u8> {
    join(b"evt/", &[&cid.0])
}

/// Prefix of the [`EnergyRecord`]s of a cycle; u32 sequence number follows.
#[must_use]
pub fn energy_in(cid: &Cid, cycle: u32) -> Vec<u8> {
    join(b"evt/", &[&cid.0, &cycle.to_be_bytes()])
}

/// [`EnergyRecord`] of an event.
#[must_use]
pub fn energy(cid: &Cid, cycle: u32, seq: u32) -> Vec<u8> {
    join(b"evt/", &[&cid.0, &cycle.to_be_bytes(), &seq.to_be_bytes()])
}

/// [`Transfer`] between two packs.
#[must_use]
pub fn energy_transfer(id: &TradeId) -> Vec<u8> {
    join(b"xfr/", &[&id.0])
}

/// Id of the transfer that a pack began or was named in, by its number modulo [`FLOWS`] (16 bytes).
#[must_use]
pub fn flow(cid: &Cid, slot: u64) -> Vec<u8> {
    join(b"flw/", &[&cid.0, &slot.to_be_bytes()])
}

/// Table of [`Offer`]s.
pub const OFFERS: &[u8] = b"ofr/";

/// [`Offer`].
#[must_use]
pub fn offer(id: &TradeId) -> Vec<u8> {
    join(b"ofr/", &[&id.0])
}

/// [`Settlement`] of a cycle or transfer.
#[must_use]
pub fn settlement(subject: &Subject) -> Vec<u8> {
    let (id, cycle) = subject.parts();
    join(b"stl/", &[&id, &cycle.to_be_bytes()])
}

/// [`Objection`] to the settlement of a cycle or transfer.
#[must_use]
pub fn objection(subject: &Subject) -> Vec<u8> {
    let (id, cycle) = subject.parts();
    join(b"obj/", &[&id, &cycle.to_be_bytes()])
}

/// [`LogHead`] of a component's audit log under one of its bindings.
#[must_use]
pub fn log(cid: &Cid, binding: &BindingId) -> Vec<u8> {
    join(b"log/", &[&cid.0, &binding.0])
}

/// Prefix of the [`Anchor`]s of a component; binding id and u64 number follow.
#[must_use]
pub fn anchors_of(cid: &Cid) -> Vec<u8> {
    join(b"anc/", &[&cid.0])
}

/// [`Anchor`] over the first `number` entries.
#[must_use]
pub fn anchor(cid: &Cid, binding: &BindingId, number: u64) -> Vec<u8> {
    join(b"anc/", &[&cid.0, &binding.0, &number.to_be_bytes()])
}

/// [`registry::History`] of a component.
#[must_use]
pub fn history(cid: &Cid) -> Vec<u8> {
    join(b"his/", &[&cid.0])
}

/// Prefix of the [`registry::StateChange`]s of a component; u32 number follows.
#[must_use]
pub fn moves_of(cid: &Cid) -> Vec<u8> {
    join(b"mov/", &[&cid.0])
}

/// [`registry::StateChange`] of a component.
#[must_use]
pub fn state_change(cid: &Cid, number: u32) -> Vec<u8> {
    join(b"mov/", &[&cid.0, &number.to_be_bytes()])
}

/// Prefix of the [`registry::VersionRecord`]s of a component; u32 number follows.
#[must_use]
pub fn versions_of(cid: &Cid) -> Vec<u8> {
    join(b"ver/", &[&cid.0])
}

/// [`registry::VersionRecord`] of a component.
#[must_use]
pub fn version(cid: &Cid, number: u32) -> Vec<u8> {
    join(b"ver/", &[&cid.0, &number.to_be_bytes()])
}

/// [`registry::Authorization`].
#[must_use]
pub fn authorization(id: &registry::AuthorizationId) -> Vec<u8> {
    join(b"aut/", &[&id.0])
}

/// [`registry::Authorizations`] that a component gives.
#[must_use]
pub fn authorizations_of(cid: &Cid) -> Vec<u8> {
    join(b"aul/", &[&cid.0])
}

/// [`registry::AnonymousComponent`] by its commitment.
#[must_use]
pub fn anonymous(component: &Digest) -> Vec<u8> {
    join(b"ano/", &[component])
}

/// [`registry::AnonymousAuthorization`] by `anonymous::pair_id`.
#[must_use]
pub fn anonymous_pair(id: &Digest) -> Vec<u8> {
    join(b"anp/", &[id])
}

/// [`registry::Opened`]: what a commitment was opened to.
#[must_use]
pub fn opened(commitment: &Digest) -> Vec<u8> {
    join(b"opn/", &[commitment])
}

/// [`registry::Performance`] of a pack.
#[must_use]
pub fn performance(cid: &Cid) -> Vec<u8> {
    join(b"prf/", &[&cid.0])
}

/// Cid of the pack that answers for a module (16 bytes).
#[must_use]
pub fn counter_signer(module: &Cid) -> Vec<u8> {
    join(b"ctr/", &[&module.0])
}

/// [`registry::Witnessing`] of a component.
#[must_use]
pub fn witnessing(cid: &Cid) -> Vec<u8> {
    join(b"wit/", &[&cid.0])
}

/// [`registry::Queued`]: a request.
#[must_use]
pub fn queued(id: &registry::QueueId) -> Vec<u8> {
    join(b"que/", &[&id.0])
}

/// [`registry::Queue`] of a component.
#[must_use]
pub fn queue_of(cid: &Cid) -> Vec<u8> {
    join(b"qul/", &[&cid.0])
}

/// [`registry::AnonymousRevocation`] of a holder; the target of everything is `anonymous::EVERYTHING`.
#[must_use]
pub fn anonymous_revocation(holder: &PublicKey, target: &Digest) -> Vec<u8> {
    join(b"arv/", &[&holder.0, target])
}

/// [`registry::ContextHead`] of a kind of statements about an LCT.
#[must_use]
pub fn context(lct: &Digest, kind: u8) -> Vec<u8> {
    join(b"lcx/", &[lct, &[kind]])
}

/// [`registry::ContextRecord`] of a statement about an LCT.
#[must_use]
pub fn context_record(lct: &Digest, kind: u8, number: u32) -> Vec<u8> {
    join(b"lch/", &[lct, &[kind], &number.to_be_bytes()])
}

/// [`Tensor`] of a subject in a context.
#[must_use]
pub fn tensor(subject: &TrustSubject, context: TrustContext) -> Vec<u8> {
    let (code, id) = subject.parts();
    join(b"tns/", &[&[code], id, &[context as u8]])
}

/// [`Reported`]: how far the word of `observer` about a component reaches.
#[must_use]
pub fn reported(subject: &Cid, context: TrustContext, observer: &Cid) -> Vec<u8> {
    join(b"rpt/", &[&subject.0, &[context as u8], &observer.0])
}

/// [`Custody`] of a component.
#[must_use]
pub fn custody(cid: &Cid) -> Vec<u8> {
    join(b"cus/", &[&cid.0])
}

fn join(table: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let mut key = table.to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
