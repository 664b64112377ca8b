//! What becomes of a component after its registration: its states (L132) and its versions (L134).

use alloc::{vec, vec::Vec};

use lct::{
    id::Cid,
    lifecycle::{Move, State, Version},
    revocation::batch_id,
    sign::{PublicKey, Signature},
};

use super::{Context, Stop, ensure, not_future, withdraw};
use crate::{
    outcome::Event,
    records::{
        Account, AccountRole, Component, Lct, LctStatus, Ownership, key,
        registry::{History, Party, StateChange, VersionRecord},
    },
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::Target,
};

pub(super) fn moved<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    signer: &PublicKey,
    signature: &Signature,
) -> Result<Vec<Event>, Stop> {
    let m = Move::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = m.digest().map_err(|_| Rejection::StatementFormat)?;
    ensure(m.chain_id == context.header.chain_id, Rejection::LifecycleChain)?;
    let (component, mut history) = recorded(state, &m.cid)?;
    let from = component.status;
    ensure(history.moves.checked_add(1) == Some(m.number), Rejection::LifecycleSequence)?;
    let parties = parties(state, context, &m.cid, signer)?;
    ensure(!parties.is_empty(), Rejection::LifecycleSigner)?;
    let by = parties.into_iter().find(|by| may(*by, from, m.to, history.suspended_by));
    let by = by.ok_or(Rejection::LifecycleDenied)?;
    ensure(!m.to.is_final() || m.to == State::after(m.reason), Rejection::LifecycleDenied)?;
    ensure(not_future(context, m.time_ms), Rejection::StatementTime)?;
    signer.verify(&digest, signature).map_err(|_| Rejection::LifecycleProof)?;

    if m.to == State::Suspended {
        history.suspended_by = match from {
            // Who did not doubt joins those who do, who did steps back.
            State::Suspended => history.suspended_by ^ by.bit(),
            _ => by.bit(),
        };
    }
    history.moves = m.number;
    state.put(key::history(&m.cid), &history);
    let change = StateChange {
        from,
        to: m.to,
        reason: m.reason as u8,
        by,
        key: *signer,
        signed_ms: m.time_ms,
        height: context.header.height,
        time_ms: context.header.time_ms,
        tx: context.tx_id,
    };
    state.put(key::state_change(&m.cid, m.number), &change);
    let event = Event::new("ComponentMoved")
        .with("cid", m.cid.0.as_slice())
        .with("number", m.number)
        .with("from", from.name())
        .with("to", m.to.name())
        .with("by", by.name())
        .with("reason", m.reason as u32);
    let mut events = vec![event];
    if m.to.is_final() {
        events.extend(withdraw::component(state, context, &m.cid, m.reason as u8)?);
    } else {
        settle(state, &m.cid, component, m.to)?;
    }
    Ok(events)
}

/// Puts a component into `to`, and its entity LCT with it.
pub(super) fn settle<V: View>(
    state: &mut Overlay<V>,
    cid: &Cid,
    mut component: Component,
    to: State,
) -> Result<(), Halt> {
    component.status = to;
    state.put(key::component(cid), &component);
    let lct: Option<Lct> = load(state, &key::lct(&component.lct))?;
    let mut lct = lct.ok_or(Halt::Invariant("a component without entity LCT"))?;
    lct.status = match to {
        State::Active | State::Maintenance => LctStatus::Active,
        State::Pending => LctStatus::Pending,
        State::Suspended => LctStatus::Suspended,
        State::Revoked | State::Retired => LctStatus::Terminated,
    };
    state.put(key::lct(&component.lct), &lct);
    Ok(())
}

/// A component that is not at its end, and its history.
fn recorded(view: &impl View, cid: &Cid) -> Result<(Component, History), Stop> {
    let component: Option<Component> = load(view, &key::component(cid))?;
    let component = component.ok_or(Rejection::LifecycleComponent)?;
    ensure(!component.status.is_final(), Rejection::LifecycleFinal)?;
    Ok((component, load(view, &key::history(cid))?.unwrap_or_else(History::empty)))
}

/// Whether `signer` is the batch authority that certified a component, and still one.
pub(super) fn certified(view: &impl View, cid: &Cid, signer: &PublicKey) -> Result<bool, Halt> {
    let batch = batch_id(signer);
    let issued = view.get(&key::issuer(cid))?.is_some_and(|id| id == batch);
    Ok(issued && view.get(&key::revocation(&Target::Batch(batch)))?.is_none())
}

/// What the holder of a key is to a component.
pub(super) fn parties(
    view: &impl View,
    context: &Context<'_>,
    cid: &Cid,
    signer: &PublicKey,
) -> Result<Vec<Party>, Halt> {
    let mut found = Vec::new();
    let account: Option<Account> = load(view, &key::account(signer))?;
    let height = context.header.height;
    if account.is_some_and(|a| a.role == AccountRole::Authority && a.in_force(height)) {
        found.push(Party::Authority);
    }
    let ownership: Option<Ownership> = load(view, &key::ownership(cid))?;
    if ownership.is_some_and(|o| o.owner == *signer) {
        found.push(Party::Owner);
    }
    if certified(view, cid, signer)? {
        found.push(Party::Manufacturer);
    }
    Ok(found)
}

/// Whether the holder of a key has the owner's say over a component: its owner, or an authority.
pub(super) fn governs(
    view: &impl View,
    context: &Context<'_>,
    cid: &Cid,
    signer: &PublicKey,
) -> Result<bool, Halt> {
    Ok(parties(view, context, cid, signer)?.iter().any(|by| *by != Party::Manufacturer))
}

/// Who may lead a component that is not at its end from where to where (L132).
fn may(by: Party, from: State, to: State, suspended_by: u8) -> bool {
    use Party::{Authority, Manufacturer, Owner};
    use State::{Active, Maintenance, Pending, Retired, Revoked, Suspended};
    match (from, to) {
        (Pending, Active) => by != Owner,
        (Active, Maintenance) | (Maintenance, Active) => by != Manufacturer,
        (Active | Maintenance, Suspended) => true,
        // Who is the only one to doubt goes on to another state.
        (Suspended, Suspended) => suspended_by != by.bit(),
        // Nobody believes again for another; an authority decides for all.
        (Suspended, Active | Maintenance) => by == Authority || suspended_by == by.bit(),
        (_, Retired) => by != Manufacturer,
        (_, Revoked) => true,
        _ => false,
    }
}

pub(super) fn version<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    signature: &Signature,
    vouched: Option<&(PublicKey, Signature)>,
) -> Result<Vec<Event>, Stop> {
    let v = Version::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = v.digest().map_err(|_| Rejection::StatementFormat)?;
    ensure(v.chain_id == context.header.chain_id, Rejection::LifecycleChain)?;
    let (mut component, mut history) = recorded(state, &v.cid)?;
    ensure(history.versions.checked_add(1) == Some(v.number), Rejection::LifecycleSequence)?;
    ensure((v.hardware, v.firmware) != (component.hw, component.fw), Rejection::VersionSame)?;
    let vouches = match vouched {
        // Going on by itself a device can only go forward: hardware does not change by itself, and an older firmware
        // may have the hole that a newer one closed.
        None => v.hardware == component.hw && v.firmware > component.fw,
        Some((key, signature)) => {
            let entitled = parties(state, context, &v.cid, key)?.iter().any(|by| *by != Party::Owner);
            entitled && key.verify(&digest, signature).is_ok()
        }
    };
    ensure(vouches, Rejection::VersionVouch)?;
    ensure(not_future(context, v.time_ms), Rejection::StatementTime)?;
    component.device_key.verify(&digest, signature).map_err(|_| Rejection::VersionProof)?;

    (component.hw, component.fw) = (v.hardware, v.firmware);
    state.put(key::component(&v.cid), &component);
    history.versions = v.number;
    state.put(key::history(&v.cid), &history);
    let record = VersionRecord {
        hw: v.hardware,
        fw: v.firmware,
        image: v.image,
        vouched: vouched.is_some(),
        signed_ms: v.time_ms,
        height: context.header.height,
        time_ms: context.header.time_ms,
        tx: context.tx_id,
    };
    state.put(key::version(&v.cid, v.number), &record);
    Ok(vec![
        Event::new("VersionRecorded")
            .with("cid", v.cid.0.as_slice())
            .with("number", v.number)
            .with("hardware", v.hardware)
            .with("firmware", v.firmware)
            .with("image", v.image.as_slice())
            .with("vouched", u32::from(record.vouched)),
    ])
}
