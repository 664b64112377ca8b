//! Completion of a pairing (L38): both bound entities and the authority signed the same digest.

use alloc::{vec, vec::Vec};

use lct::{id::PairingId, lifecycle::State, sign::PublicKey};

use super::{Context, Stop, count, ensure, gate, trust, withdraw};
use crate::{
    outcome::Event,
    records::{Binding, Component, MAX_PAIRINGS, Pairing, Pairings, Status, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::Paired,
};

/// Records what was completed at `time_ms`, from when its lease counts.
pub(super) fn complete<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    authority: &PublicKey,
    paired: &Paired,
    time_ms: u64,
) -> Result<Vec<Event>, Stop> {
    let Paired { pairing_id, binding_id, key_a, key_b, lease_s, .. } = paired;
    ensure(state.get(&key::pairing(pairing_id))?.is_none(), Rejection::PairingExists)?;
    let binding: Option<Binding> = load(state, &key::binding(binding_id))?;
    let mut binding = binding.ok_or(Rejection::PairingDenied)?;
    ensure(binding.status == Status::Active, Rejection::PairingBindingRevoked)?;
    ensure((binding.key_a, binding.key_b) == (*key_a, *key_b), Rejection::PairingKeys)?;
    for cid in [&binding.a, &binding.b] {
        let component: Option<Component> = load(state, &key::component(cid))?;
        ensure(component.is_some_and(|c| c.status == State::Active), Rejection::ComponentState)?;
    }
    gate::pairing(state, context, &binding.a, &binding.b)?;
    ensure((1..=context.params.max_lease_s).contains(lease_s), Rejection::PairingLease)?;
    let digest = paired.digest();
    let signers = [
        (key_a, &paired.signature_a, Rejection::PairingProofA),
        (key_b, &paired.signature_b, Rejection::PairingProofB),
        (authority, &paired.signature_authority, Rejection::PairingAuthority),
    ];
    for (signer, signature, rejection) in signers {
        signer.verify(&digest, signature).map_err(|_| rejection)?;
    }
    let mut live = withdraw::pairings_of(state, binding_id)?;
    let mut ended = Vec::new();
    for id in &live {
        if !get(state, id)?.in_force(time_ms) {
            ended.push(*id);
        }
    }
    live.retain(|id| !ended.contains(id));
    ensure(live.len() < MAX_PAIRINGS, Rejection::PairingLimit)?;

    live.push(*pairing_id);
    state.put(key::pairings_of(binding_id), &Pairings(live));
    let expires_ms = time_ms.saturating_add(u64::from(*lease_s) * 1000);
    let pairing = Pairing {
        binding_id: *binding_id,
        a: binding.a,
        b: binding.b,
        cert_hash: paired.cert_hash,
        th4: paired.th4,
        status: Status::Active,
        height: context.header.height,
        time_ms: context.header.time_ms,
        expires_ms,
    };
    state.put(key::pairing(pairing_id), &pairing);
    binding.pairings += 1;
    state.put(key::binding(binding_id), &binding);
    trust::paired(state, context, binding_id, &binding)?;
    count(state, |t| t.pairings += 1)?;
    Ok(vec![
        Event::new("PairingCompleted")
            .with("pairing_id", pairing_id.0.as_slice())
            .with("binding_id", binding_id.0.as_slice())
            .with("entity_a", pairing.a.0.as_slice())
            .with("entity_b", pairing.b.0.as_slice())
            .with("expires_ms", expires_ms),
    ])
}

/// A pairing that a list names.
fn get(view: &impl View, id: &PairingId) -> Result<Pairing, Halt> {
    load(view, &key::pairing(id))?.ok_or(Halt::Invariant("a listed pairing is missing"))
}
