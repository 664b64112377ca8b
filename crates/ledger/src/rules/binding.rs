//! Bindings (L36, sides in the order of L6): both entities and the authority signed one record; it puts one signing key
//! per entity into force and opens the energy pool of a pack.

use alloc::{vec, vec::Vec};

use lct::{
    Error,
    binding::{Assurance, BindingRecord, BoundEntity},
    hash::sha256,
    id::{BindingId, Role},
    lifecycle::State,
    revocation::Reason,
    sign::{PublicKey, Signature},
};

use super::{Context, Stop, count, ensure, not_future, trust, withdraw};
use crate::{
    outcome::Event,
    records::{Binding, Bindings, Component, MAX_BINDINGS, Pool, SigningKey, Status, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
};

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    authority: &PublicKey,
    bytes: &[u8],
    signatures: [&Signature; 3],
) -> Result<Vec<Event>, Stop> {
    record(state, context, authority, bytes, signatures, None)
}

/// The record inside a statement.
pub(super) fn decode(bytes: &[u8]) -> Result<BindingRecord, Rejection> {
    BindingRecord::decode(bytes).map_err(|e| match e {
        Error::WrongParty => Rejection::BindingParties,
        _ => Rejection::StatementFormat,
    })
}

/// Records a binding that `third` signed besides the two; one that it `replaces` gives way whatever it was worth.
pub(super) fn record<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    third: &PublicKey,
    bytes: &[u8],
    signatures: [&Signature; 3],
    replaces: Option<(BindingId, Binding)>,
) -> Result<Vec<Event>, Stop> {
    let record = decode(bytes)?;
    let [a, b] = &record.entities;
    ensure(a.cid != b.cid, Rejection::BindingParties)?;
    let mut components = Vec::with_capacity(2);
    for entity in [a, b] {
        let component: Option<Component> = load(state, &key::component(&entity.cid))?;
        let component = component.filter(|c| matches!(c.status, State::Active | State::Maintenance));
        components.push(component.ok_or(Rejection::BindingComponent)?);
    }
    let roles_hold = components.iter().zip([a, b]).all(|(c, e)| c.role == e.role);
    ensure(roles_hold, Rejection::BindingRole)?;
    ensure(not_future(context, u64::from(record.time) * 1000), Rejection::BindingTime)?;
    ensure(state.get(&key::binding(&record.binding_id))?.is_none(), Rejection::BindingExists)?;
    let previous = previous(state, a, b)?;
    // Only a binding that proved nothing gives way, and only to one that proved something.
    let gives_way =
        |old: &Binding| old.assurance == Assurance::Plain as u8 && record.assurance != Assurance::Plain;
    let named = replaces.as_ref().map(|(id, _)| *id);
    let free = previous.as_ref().is_none_or(|(id, old)| named == Some(*id) || gives_way(old));
    ensure(free, Rejection::BindingPairExists)?;
    let replaced: Vec<_> = match (previous, replaces) {
        (Some((id, _)), Some(named)) if id == named.0 => vec![named],
        (previous, named) => previous.into_iter().chain(named).collect(),
    };
    let mut fresh = a.sign_pub != b.sign_pub;
    for entity in [a, b] {
        fresh &= state.get(&key::signing_key(&entity.sign_pub))?.is_none();
        fresh &= state.get(&key::device_key(&entity.sign_pub))?.is_none();
    }
    ensure(fresh, Rejection::BindingKey)?;
    let digest = record.digest();
    let signers = [
        (&a.sign_pub, Rejection::BindingProofA),
        (&b.sign_pub, Rejection::BindingProofB),
        (third, Rejection::BindingAuthority),
    ];
    for ((signer, rejection), signature) in signers.into_iter().zip(signatures) {
        signer.verify(&digest, signature).map_err(|_| rejection)?;
    }
    let mut lists = [withdraw::bindings_of(state, &a.cid)?, withdraw::bindings_of(state, &b.cid)?];
    for (old, _) in &replaced {
        lists.iter_mut().for_each(|list| list.retain(|id| id != old));
    }
    ensure(lists.iter().all(|list| list.len() < MAX_BINDINGS), Rejection::BindingLimit)?;

    let mut gone = Vec::new();
    for (id, old) in replaced {
        // What is replaced may have been withdrawn before, with its keys lost for instance.
        if old.status == Status::Active {
            withdraw::binding(state, context, &id, old, Reason::Superseded as u8)?;
        }
        gone.push(Event::new("BindingReplaced").with("binding_id", id.0.as_slice()));
    }
    let (height, time_ms) = (context.header.height, context.header.time_ms);
    let mut events = vec![
        Event::new("BindingRecorded")
            .with("binding_id", record.binding_id.0.as_slice())
            .with("entity_a", a.cid.0.as_slice())
            .with("entity_b", b.cid.0.as_slice())
            .with("assurance", record.assurance.name()),
    ];
    for (entity, mut list) in [a, b].into_iter().zip(lists) {
        let component: Option<Component> = load(state, &key::component(&entity.cid))?;
        let mut component = component.ok_or(Halt::Invariant("a component to bind is missing"))?;
        list.push(record.binding_id);
        state.put(key::bindings_of(&entity.cid), &Bindings(list));
        let signing = SigningKey {
            cid: entity.cid,
            binding_id: record.binding_id,
            from_height: height,
            status: Status::Active,
        };
        state.put(key::signing_key(&entity.sign_pub), &signing);
        component.bindings += 1;
        state.put(key::component(&entity.cid), &component);
        if component.role == Role::Pack && state.get(&key::pool(&entity.cid))?.is_none() {
            let capacity = component.capacity_mwh;
            state.put(key::pool(&entity.cid), &Pool::empty(capacity));
            count(state, |t| t.minted += u128::from(capacity))?;
            events.push(Event::new("AdpMinted").with("cid", entity.cid.0.as_slice()).with("mwh", capacity));
        }
    }
    events.extend(gone);
    let binding = Binding {
        a: a.cid,
        b: b.cid,
        key_a: a.sign_pub,
        key_b: b.sign_pub,
        assurance: record.assurance as u8,
        record: sha256(&[bytes]),
        status: Status::Active,
        height,
        time_ms,
        pairings: 0,
    };
    state.put(key::binding(&record.binding_id), &binding);
    state.put_raw(key::bound_pair(&a.cid, &b.cid), record.binding_id.0.into());
    trust::bound(state, context, &binding)?;
    count(state, |t| t.bindings += 1)?;
    Ok(events)
}

/// The binding of the two that is in force.
fn previous<V: View>(
    state: &Overlay<V>,
    a: &BoundEntity,
    b: &BoundEntity,
) -> Result<Option<(BindingId, Binding)>, Stop> {
    let Some(id) = state.get(&key::bound_pair(&a.cid, &b.cid))? else { return Ok(None) };
    let id = <[u8; 16]>::try_from(id.as_slice())
        .map_err(|_| Halt::Invariant("a bound pair without binding id"))?;
    let binding: Option<Binding> = load(state, &key::binding(&BindingId(id)))?;
    match binding {
        Some(binding) if binding.status == Status::Active => Ok(Some((BindingId(id), binding))),
        Some(_) => Ok(None),
        None => Err(Halt::Invariant("a bound pair without binding").into()),
    }
}
