//! Completion of a pairing (L38): both bound entities and the authority signed the same digest.

use alloc::{vec, vec::Vec};

use lct::pairing::Completion;

use super::{Context, Stop, count, ensure};
use crate::{
    outcome::Event,
    records::{Binding, Pairing, Status, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{Body, Tx},
};

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    tx: &Tx,
) -> Result<Vec<Event>, Stop> {
    let Body::PairComplete {
        pairing_id,
        binding_id,
        key_a,
        key_b,
        cert_hash,
        nonce,
        th4,
        lease_s,
        signature_a,
        signature_b,
        signature_authority,
    } = &tx.unsigned.body
    else {
        return Err(Halt::Invariant("a body reached the rules of another kind").into());
    };
    ensure(state.get(&key::pairing(pairing_id))?.is_none(), Rejection::PairingExists)?;
    let binding: Option<Binding> = load(state, &key::binding(binding_id))?;
    let mut binding = binding.ok_or(Rejection::PairingDenied)?;
    ensure(binding.status == Status::Active, Rejection::PairingBindingRevoked)?;
    ensure((binding.key_a, binding.key_b) == (*key_a, *key_b), Rejection::PairingKeys)?;
    ensure((1..=context.params.max_lease_s).contains(lease_s), Rejection::PairingLease)?;
    let completion = Completion { pairing_id: *pairing_id, nonce: *nonce, cert_hash: *cert_hash, th4: *th4 };
    let digest = completion.digest();
    let signers = [
        (key_a, signature_a, Rejection::PairingProofA),
        (key_b, signature_b, Rejection::PairingProofB),
        (&tx.unsigned.signer, signature_authority, Rejection::PairingAuthority),
    ];
    for (signer, signature, rejection) in signers {
        signer.verify(&digest, signature).map_err(|_| rejection)?;
    }

    let time_ms = context.header.time_ms;
    let expires_ms = time_ms.saturating_add(u64::from(*lease_s) * 1000);
    let pairing = Pairing {
        binding_id: *binding_id,
        a: binding.a,
        b: binding.b,
        cert_hash: *cert_hash,
        th4: *th4,
        status: Status::Active,
        height: context.header.height,
        time_ms,
        expires_ms,
    };
    state.put(key::pairing(pairing_id), &pairing);
    binding.pairings += 1;
    state.put(key::binding(binding_id), &binding);
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
