//! Events (L115): what a component says of itself, who saw it, and what a side says of a relation that stands.

use alloc::{vec, vec::Vec};

use lct::{
    Digest,
    energy::{MODULE_ENERGY_LEN, ModuleEnergy},
    id::{BindingId, Cid, PairingId},
    lifecycle::State,
    sign::PublicKey,
    validation::{Attestation, Event as Stated, EventKind, ValidationLevel},
};

use super::{Context, Stop, advance, check_believed, ensure, event_of, not_future, relation, subject, trust};
use crate::{
    outcome::Event,
    records::{AccessPoint, Binding, Component, Pairing, Pool, SigningKey, Status, Validation, key},
    reject::Rejection,
    state::{Overlay, View, load},
    tx::Signed,
};

pub(super) fn event<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
    witnesses: &[(Vec<u8>, PublicKey)],
) -> Result<Vec<Event>, Stop> {
    use EventKind::*;
    let kinds = [
        Announce,
        StateChange,
        Fault,
        Energy,
        Telemetry,
        SignedHandshake,
        Command,
        PairingCompletion,
        BindingEstablishment,
        BindingVerification,
    ];
    let (event, claim) = event_of(context, &signed.statement, &kinds, Rejection::StatementFormat)?;
    let signer = check_believed(state, context, signed, &claim)?;
    advance(state, &event)?;
    let enough = match event.level() {
        ValidationLevel::Announce => witnesses.is_empty(),
        ValidationLevel::Witness => witnesses.len() >= context.params.witness_quorum as usize,
        // What goes by itself already; who saw it is welcome.
        _ => true,
    };
    ensure(enough, Rejection::WitnessQuorum)?;
    let mut seen = vec![event.cid];
    for (bytes, witness_key) in witnesses {
        let attestation = Attestation::decode(bytes).map_err(|_| Rejection::WitnessFormat)?;
        ensure(!seen.contains(&attestation.witness), Rejection::WitnessSelf)?;
        seen.push(attestation.witness);
        let owner: Option<SigningKey> = load(state, &key::signing_key(witness_key))?;
        // A key in force belongs to a binding in force: the witness is bound.
        let speaks = owner.is_some_and(|o| o.status == Status::Active && o.cid == attestation.witness);
        let component: Option<Component> = load(state, &key::component(&attestation.witness))?;
        let believed = component.is_some_and(|c| c.status != State::Suspended);
        ensure(speaks && believed, Rejection::WitnessKey)?;
        let verified = attestation.verify((&event, &signed.signature), witness_key);
        verified.map_err(|_| Rejection::WitnessVerify)?;
        let after = event.time_ms.is_none_or(|made| {
            // Two clocks that the chain both accepts may differ by as much as it lets one be ahead.
            made <= attestation.time_ms.saturating_add(context.params.max_future_ms)
        });
        ensure(after && not_future(context, attestation.time_ms), Rejection::WitnessTime)?;
    }

    if event.kind == EventKind::Energy {
        module_energy(state, context, &event, &seen[1..])?;
        let pack = relation::counter_signer(state, &event.cid)?;
        ensure(pack.is_none_or(|pack| seen.contains(&pack)), Rejection::WitnessQuorum)?;
    }
    if event.level() >= ValidationLevel::Pairing {
        own_relation(state, context, &event, &signer)?;
    }
    for witness in &seen[1..] {
        relation::saw(state, witness, &event.cid, context.header.time_ms)?;
    }

    let (boot, seq) = event.position();
    if let Some(access) = &event.access {
        let point = AccessPoint {
            protocol: access.protocol as u8,
            endpoint: access.endpoint.as_str().into(),
            device: access.device.as_str().into(),
            boot,
            seq,
            height: context.header.height,
        };
        state.put(key::access(&event.cid), &point);
    }
    trust::stated(state, context, &event, &seen[1..])?;
    let mut events = vec![record(state, context, &event, claim.digest, witnesses.len())];
    if let Some(asked) = event.escalation {
        let told = Event::new("EscalationRecorded")
            .with("cid", event.cid.0.as_slice())
            .with("level", event.level() as u32)
            .with("target", asked.target as u32)
            .with("reason", asked.reason as u32)
            .with("urgency", asked.urgency as u32);
        events.push(told);
    }
    Ok(events)
}

/// What a module says flowed (H240): whole, over, not of a component whose energy a pool counts, and seen by its pack.
fn module_energy<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    event: &Stated,
    witnesses: &[Cid],
) -> Result<(), Stop> {
    if event.payload.len() != MODULE_ENERGY_LEN {
        return Ok(());
    }
    let said = ModuleEnergy::decode(&event.payload).map_err(|_| Rejection::EnergyPayload)?;
    let pool: Option<Pool> = load(state, &key::pool(&event.cid))?;
    ensure(pool.is_none(), Rejection::EnergyPooled)?;
    ensure(not_future(context, said.end_ms), Rejection::StatementTime)?;
    let seen = relation::seen_by_its_pack(state, &event.cid, witnesses)?;
    Ok(ensure(seen, Rejection::WitnessQuorum)?)
}

/// Writes that `event`, whose signer signed `digest`, is recorded.
pub(super) fn record<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    event: &Stated,
    digest: Digest,
    witnesses: usize,
) -> Event {
    let (height, time_ms) = (context.header.height, context.header.time_ms);
    let (boot, seq) = event.position();
    let (kind, count) = (event.kind as u8, witnesses as u8);
    let validation = Validation { kind, digest, witnesses: count, height, time_ms, tx: context.tx_id };
    state.put(key::validation(&event.cid, boot, seq), &validation);
    Event::new("ValidationRecorded")
        .with("cid", event.cid.0.as_slice())
        .with("level", event.level() as u32)
        .with("type", event.kind.name())
        .with("boot", boot)
        .with("seq", seq)
        .with("witnesses", witnesses as u64)
}

/// What a side says of its own pairing or binding: it is recorded, the key is of it, it is in force, and it is the same.
fn own_relation<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    event: &Stated,
    signer: &SigningKey,
) -> Result<(), Stop> {
    let id = subject(event)?;
    let (binding_id, in_force) = match event.kind {
        EventKind::PairingCompletion => {
            let pairing: Option<Pairing> = load(state, &key::pairing(&PairingId(id)))?;
            let pairing = pairing.ok_or(Rejection::ValidationRelation)?;
            (pairing.binding_id, pairing.in_force(context.header.time_ms))
        }
        _ => (BindingId(id), true),
    };
    let binding: Option<Binding> = load(state, &key::binding(&binding_id))?;
    let binding = binding.ok_or(Rejection::ValidationRelation)?;
    ensure(signer.binding_id == binding_id, Rejection::ValidationSide)?;
    ensure(in_force && binding.status == Status::Active, Rejection::ValidationEnded)?;
    let named = event.kind == EventKind::BindingEstablishment;
    let same = event.payload.get(16..) == Some(binding.record.as_slice());
    Ok(ensure(!named || same, Rejection::ValidationRecord)?)
}
