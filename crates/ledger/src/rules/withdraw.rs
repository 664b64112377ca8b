//! What goes when something is withdrawn (L100): a component takes its bindings along, a binding its signing keys and
//! its pairings. Everything that ends for good ends here.

use alloc::{vec, vec::Vec};

use lct::{
    id::{BindingId, Cid, PairingId},
    lifecycle::State,
    revocation::Reason,
};

use super::{Context, lifecycle};
use crate::{
    outcome::Event,
    records::{
        Binding, Bindings, Component, DeviceKey, Pairing, Pairings, Revocation, SigningKey, Status, key,
    },
    state::{Halt, Overlay, View, load},
    tx::Target,
};

/// Notes that `target` is withdrawn by this transaction.
pub(super) fn note<V: View>(state: &mut Overlay<V>, context: &Context<'_>, target: &Target, reason: u8) {
    let (height, time_ms) = (context.header.height, context.header.time_ms);
    state.put(key::revocation(target), &Revocation { reason, height, time_ms, tx: context.tx_id });
}

/// A pairing in force ends.
pub(super) fn pairing<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    id: &PairingId,
    mut pairing: Pairing,
    reason: u8,
) -> Result<(), Halt> {
    pairing.status = Status::Revoked;
    state.put(key::pairing(id), &pairing);
    let mut live = pairings_of(state, &pairing.binding_id)?;
    live.retain(|other| other != id);
    state.put(key::pairings_of(&pairing.binding_id), &Pairings(live));
    note(state, context, &Target::Pairing(*id), reason);
    Ok(())
}

/// A binding in force ends; the answer is how many pairings ended with it.
pub(super) fn binding<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    id: &BindingId,
    mut binding: Binding,
    reason: u8,
) -> Result<u32, Halt> {
    let live = pairings_of(state, id)?;
    let mut ended = 0;
    for pairing_id in &live {
        let found: Option<Pairing> = load(state, &key::pairing(pairing_id))?;
        let found = found.ok_or(Halt::Invariant("a listed pairing is missing"))?;
        ended += u32::from(found.in_force(context.header.time_ms));
        pairing(state, context, pairing_id, found, reason)?;
    }
    for signing_pub in [&binding.key_a, &binding.key_b] {
        let signing: Option<SigningKey> = load(state, &key::signing_key(signing_pub))?;
        let mut signing = signing.ok_or(Halt::Invariant("a key of a binding is missing"))?;
        signing.status = Status::Revoked;
        state.put(key::signing_key(signing_pub), &signing);
    }
    for cid in [&binding.a, &binding.b] {
        let mut bindings = bindings_of(state, cid)?;
        bindings.retain(|other| other != id);
        state.put(key::bindings_of(cid), &Bindings(bindings));
        let component: Option<Component> = load(state, &key::component(cid))?;
        let mut component = component.ok_or(Halt::Invariant("a bound component is missing"))?;
        component.bindings = component.bindings.saturating_sub(1);
        state.put(key::component(cid), &component);
    }
    binding.status = Status::Revoked;
    state.put(key::binding(id), &binding);
    note(state, context, &Target::Binding(*id), reason);
    Ok(ended)
}

/// A component in force ends, with its device key, its entity LCT and its bindings. One event for each binding, then
/// one for the component.
pub(super) fn component<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    cid: &Cid,
    reason: u8,
) -> Result<Vec<Event>, Halt> {
    let mut events = vec![];
    for id in bindings_of(state, cid)? {
        let found: Option<Binding> = load(state, &key::binding(&id))?;
        let found = found.ok_or(Halt::Invariant("a listed binding is missing"))?;
        let pairings = binding(state, context, &id, found, reason)?;
        events.push(binding_event(&id, reason, pairings));
    }
    let component: Option<Component> = load(state, &key::component(cid))?;
    let component = component.ok_or(Halt::Invariant("a component to withdraw is missing"))?;
    let device: Option<DeviceKey> = load(state, &key::device_key(&component.device_key))?;
    let mut device = device.ok_or(Halt::Invariant("a component without device key"))?;
    device.status = Status::Revoked;
    state.put(key::device_key(&component.device_key), &device);
    let end = Reason::from_code(reason).map_or(State::Revoked, State::after);
    lifecycle::settle(state, cid, component, end)?;
    note(state, context, &Target::Component(*cid), reason);
    let bindings = events.len() as u64;
    let event = Event::new("ComponentRevoked").with("cid", cid.0.as_slice());
    events.push(event.with("reason", u32::from(reason)).with("bindings", bindings));
    Ok(events)
}

/// What says that a binding was withdrawn.
pub(super) fn binding_event(id: &BindingId, reason: u8, pairings: u32) -> Event {
    let event = Event::new("BindingRevoked").with("binding_id", id.0.as_slice());
    event.with("reason", u32::from(reason)).with("pairings", pairings)
}

/// The bindings in force of a component.
pub(super) fn bindings_of(view: &impl View, cid: &Cid) -> Result<Vec<BindingId>, Halt> {
    let list: Option<Bindings> = load(view, &key::bindings_of(cid))?;
    Ok(list.map_or_else(Vec::new, |l| l.0))
}

/// The pairings of a binding that were not withdrawn.
pub(super) fn pairings_of(view: &impl View, id: &BindingId) -> Result<Vec<PairingId>, Halt> {
    let list: Option<Pairings> = load(view, &key::pairings_of(id))?;
    Ok(list.map_or_else(Vec::new, |l| l.0))
}
