//! Who acts for the authority while there is no network: a delegation (L120), and what its holder did, brought later and
//! in order (L122 to L124).
//!
//! An act that is in its place in the journal is always recorded, also one that has no effect: otherwise one conflict
//! would hide everything that was done after it. What became of it stands in its record.

use alloc::{vec, vec::Vec};

use lct::{
    Error,
    binding::BindingRecord,
    delegation::{Act, Delegation, DelegationId, Operation},
    hash::sha256,
    id::{BindingId, Cid, Role},
    revocation::Reason,
    sign::PublicKey,
    validation::EventKind,
};

use super::{Context, Stop, binding, ensure, event_of, lease, not_future, pairing, rebind, revoke, subject};
use crate::{
    codec::Canonical,
    outcome::Event,
    records::{ActRecord, Binding, Component, Delegated, Pairing, Revocation, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{Body, Target},
};

pub(super) fn delegate<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    authority: &PublicKey,
    statement: &[u8],
) -> Result<Vec<Event>, Stop> {
    let delegation = Delegation::open(statement, authority).map_err(|e| match e {
        Error::NotAuthentic => Rejection::DelegationAuthority,
        _ => Rejection::StatementFormat,
    })?;
    let id = DelegationId::of(statement);
    ensure(state.get(&key::delegation(&id))?.is_none(), Rejection::DelegationExists)?;
    let mut known = false;
    for cid in &delegation.packs {
        let Some(pack) = load::<Component>(state, &key::component(cid))? else {
            // A spare one may be registered later, with the acts that concern it; not under the first rules (L164).
            ensure(context.rules >= 2, Rejection::DelegationPack)?;
            continue;
        };
        ensure(!pack.status.is_final() && pack.role == Role::Pack, Rejection::DelegationPack)?;
        known = true;
    }
    ensure(known, Rejection::DelegationPack)?;
    ensure(not_future(context, u64::from(delegation.issued) * 1000), Rejection::DelegationTime)?;
    let recorded = Delegated {
        statement: statement.into(),
        height: context.header.height,
        time_ms: context.header.time_ms,
        acts: 0,
        last: [0; 32],
        last_time: delegation.not_before,
        authority: *authority,
    };
    state.put(key::delegation(&id), &recorded);
    Ok(vec![
        Event::new("DelegationRecorded")
            .with("delegation", id.0.as_slice())
            .with("number", delegation.number)
            .with("not_after", delegation.not_after),
    ])
}

pub(super) fn act<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    bytes: &[u8],
) -> Result<Vec<Event>, Stop> {
    let act = Act::read(statement).map_err(|_| Rejection::StatementFormat)?;
    let body = Body::from_bytes(bytes).map_err(|_| Rejection::StatementFormat)?;
    let recorded: Option<Delegated> = load(state, &key::delegation(&act.delegation))?;
    let mut recorded = recorded.ok_or(Rejection::ActUnknown)?;
    let delegation = Delegation::read(&recorded.statement)
        .map_err(|_| Halt::Invariant("a recorded delegation cannot be read"))?;
    let signer = delegation.delegate.sign_pub();
    Act::open(statement, &signer).map_err(|_| Rejection::ActProof)?;
    ensure(act.body == sha256(&[bytes]), Rejection::ActBody)?;
    let next = recorded.acts.checked_add(1) == Some(act.number) && act.previous == recorded.last;
    ensure(next, Rejection::ActSequence)?;
    let time_ms = u64::from(act.time) * 1000;
    ensure(act.time >= recorded.last_time && not_future(context, time_ms), Rejection::ActTime)?;

    let mut scratch = Overlay::new(&*state);
    let done = judge(&scratch, context, &act, (&delegation, &recorded.authority), &body)
        .and_then(|()| effect(&mut scratch, context, &signer, &body, time_ms));
    let (outcome, mut more) = match done {
        Ok(events) => {
            let writes = scratch.into_writes();
            state.absorb(writes);
            (0, events)
        }
        Err(Stop::Refused { rejection, .. }) => (rejection.number(), Vec::new()),
        Err(halt @ Stop::Halt(_)) => return Err(halt),
    };
    (recorded.acts, recorded.last, recorded.last_time) = (act.number, Act::hash_of(statement), act.time);
    state.put(key::delegation(&act.delegation), &recorded);
    let row = ActRecord {
        kind: body.kind() as u8,
        outcome,
        done: act.time,
        height: context.header.height,
        time_ms: context.header.time_ms,
        tx: context.tx_id,
    };
    state.put(key::act(&act.delegation, act.number), &row);
    let mut events = vec![
        Event::new("DelegateActed")
            .with("delegation", act.delegation.0.as_slice())
            .with("number", act.number)
            .with("kind", body.kind().name())
            .with("outcome", outcome),
    ];
    events.append(&mut more);
    Ok(events)
}

/// Whether the delegate had the right to do this when it did it (L123).
fn judge(
    view: &impl View,
    context: &Context<'_>,
    act: &Act,
    (delegation, authority): (&Delegation, &PublicKey),
    body: &Body,
) -> Result<(), Stop> {
    // A delegation ends with the account of the authority that gave it (H166).
    for target in [Target::Delegation(act.delegation), Target::Account(*authority)] {
        let withdrawn: Option<Revocation> = load(view, &key::revocation(&target))?;
        let void = withdrawn.is_some_and(|r| {
            Reason::from_code(r.reason).is_ok_and(Reason::voids_the_past)
                || r.time_ms <= u64::from(act.time) * 1000
        });
        ensure(!void, Rejection::ActRevoked)?;
    }
    ensure(delegation.holds_at(act.time), Rejection::ActWindow)?;
    let (operation, sides, lease_s) = match body {
        Body::Bind { record, .. } | Body::Rebind { record, .. } => (Operation::Bind, sides_of(record), None),
        Body::PairComplete(p) | Body::PairRenew { paired: p, .. } => {
            (Operation::Pair, bound(view, &p.binding_id)?, Some(p.lease_s))
        }
        Body::Revoke { target: Target::Binding(id), .. } => (Operation::Revoke, bound(view, id)?, None),
        Body::Revoke { target: Target::Pairing(id), .. } => {
            let pairing: Option<Pairing> = load(view, &key::pairing(id))?;
            (Operation::Revoke, pairing.map(|p| [p.a, p.b]), None)
        }
        _ => return Err(Rejection::ActOperation.into()),
    };
    let old = match body {
        // What the new binding takes the place of is to be in scope as well; what cannot be read its rules refuse.
        Body::Rebind { replacement, .. } => {
            let kinds = [EventKind::BindingReplacement];
            let event = event_of(context, &replacement.statement, &kinds, Rejection::StatementFormat);
            let id = event.ok().and_then(|(event, _)| subject(&event).ok()).map(BindingId);
            id.map_or(Ok(None), |id| bound(view, &id))?
        }
        _ => None,
    };
    ensure(delegation.names(operation), Rejection::ActOperation)?;
    // What is not recorded is refused by the rules of its kind, which say what is missing. A name that was nobody's when it was
    // delegated may be another role's by now.
    for sides in [old, sides].into_iter().flatten() {
        ensure(has_pack(view, delegation, &sides)?, Rejection::ActScope)?;
    }
    Ok(ensure(lease_s.is_none_or(|s| s <= delegation.lease_s), Rejection::ActGrant)?)
}

/// Whether one of the two is a pack of the delegation, or registered by nobody yet.
fn has_pack(view: &impl View, delegation: &Delegation, sides: &[Cid; 2]) -> Result<bool, Halt> {
    for side in sides.iter().filter(|side| delegation.packs.contains(side)) {
        let component: Option<Component> = load(view, &key::component(side))?;
        if component.is_none_or(|c| c.role == Role::Pack) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sides_of(record: &[u8]) -> Option<[Cid; 2]> {
    BindingRecord::decode(record).ok().map(|r| r.entities.map(|e| e.cid))
}

fn bound(view: &impl View, id: &BindingId) -> Result<Option<[Cid; 2]>, Halt> {
    let binding: Option<Binding> = load(view, &key::binding(id))?;
    Ok(binding.map(|b| [b.a, b.b]))
}

/// The rules of the act's kind, with the delegate in the authority's place.
fn effect<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    delegate: &PublicKey,
    body: &Body,
    time_ms: u64,
) -> Result<Vec<Event>, Stop> {
    match body {
        Body::Bind { record, signature_a, signature_b, signature_authority } => {
            binding::apply(state, context, delegate, record, [signature_a, signature_b, signature_authority])
        }
        Body::PairComplete(paired) => pairing::complete(state, context, delegate, paired, time_ms),
        Body::PairRenew { paired, renews, max_uses, operations } => {
            lease::renew(state, context, delegate, paired, renews, (*max_uses, *operations), time_ms)
        }
        body @ Body::Rebind { .. } => rebind::replace(state, context, delegate, body),
        Body::Revoke { target, reason } => revoke::delegated(state, context, target, *reason),
        _ => Err(Rejection::ActOperation.into()),
    }
}
