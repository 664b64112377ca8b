//! Who may withdraw what: a side its pairing or binding by its own signature (L101), an account by order (L102).

use alloc::{vec, vec::Vec};

use lct::{
    delegation::DelegationId,
    id::{BindingId, Cid, PairingId},
    revocation::Reason,
    sign::PublicKey,
    validation::EventKind,
};

use super::{Context, Stop, advance, check_signed, ensure, event_of, ownership, subject, trust, withdraw};
use crate::{
    outcome::Event,
    records::{Account, AccountRole, Binding, Component, Pairing, Revocation, SigningKey, Status, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{Signed, Target},
};

pub(super) fn signed<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
) -> Result<Vec<Event>, Stop> {
    let kinds = [EventKind::PairingRevocation, EventKind::BindingRevocation];
    let (event, claim) = event_of(context, &signed.statement, &kinds, Rejection::RevokeShape)?;
    let reason = *event.payload.last().ok_or(Rejection::RevokeShape)?;
    ensure(Reason::from_code(reason).is_ok(), Rejection::RevokeShape)?;
    let owner = check_signed(state, context, signed, &claim)?;
    advance(state, &event)?;
    let id = subject(&event)?;
    let (target, binding) = if event.kind == EventKind::PairingRevocation {
        let pairing: Option<Pairing> = load(state, &key::pairing(&PairingId(id)))?;
        let pairing = pairing.ok_or(Rejection::RevokeUnknown)?;
        (Target::Pairing(PairingId(id)), pairing.binding_id)
    } else {
        ensure(state.get(&key::binding(&BindingId(id)))?.is_some(), Rejection::RevokeUnknown)?;
        (Target::Binding(BindingId(id)), BindingId(id))
    };
    // A key speaks for one binding and what rests on it.
    ensure(owner.binding_id == binding, Rejection::RevokeDenied)?;
    carry_out(state, context, &target, reason, Some(event.cid))
}

pub(super) fn ordered<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    target: &Target,
    reason: u8,
) -> Result<Vec<Event>, Stop> {
    known(state, target, reason)?;
    let account: Option<Account> = load(state, &key::account(sender))?;
    let account = account.ok_or(Halt::Invariant("a sender without account"))?;
    let own = *target == Target::Account(*sender);
    // An authority that withdrew itself might be the last one.
    let may = match account.role {
        AccountRole::Authority => !own,
        _ => own || ownership::owns(state, sender, target)?,
    };
    ensure(may, Rejection::RevokeDenied)?;
    carry_out(state, context, target, reason, None)
}

/// What a delegate withdraws; whether it may was judged before.
pub(super) fn delegated<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    target: &Target,
    reason: u8,
) -> Result<Vec<Event>, Stop> {
    known(state, target, reason)?;
    carry_out(state, context, target, reason, None)
}

/// Refuses an unknown reason, then what is not recorded.
fn known(state: &impl View, target: &Target, reason: u8) -> Result<(), Stop> {
    ensure(Reason::from_code(reason).is_ok(), Rejection::RevokeShape)?;
    let known = match target {
        // A batch authority is known by its certificates only.
        Target::Batch(_) => true,
        Target::Component(cid) => state.get(&key::component(cid))?.is_some(),
        Target::Binding(id) => state.get(&key::binding(id))?.is_some(),
        Target::Pairing(id) => state.get(&key::pairing(id))?.is_some(),
        Target::SigningKey(k) => state.get(&key::signing_key(k))?.is_some(),
        Target::Account(k) => state.get(&key::account(k))?.is_some(),
        Target::Delegation(id) => state.get(&key::delegation(id))?.is_some(),
    };
    Ok(ensure(known, Rejection::RevokeUnknown)?)
}

/// Withdraws what is recorded, at the word of a side or by order, and lets trust know why.
fn carry_out<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    target: &Target,
    reason: u8,
    by: Option<Cid>,
) -> Result<Vec<Event>, Stop> {
    let events = withdraw(state, context, target, reason)?;
    trust::withdrawn(state, context, target, reason, by)?;
    Ok(events)
}

/// Withdraws what is recorded, once.
fn withdraw<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    target: &Target,
    reason: u8,
) -> Result<Vec<Event>, Stop> {
    let gone = Halt::Invariant("what is withdrawn is recorded");
    let active = |status: Status| ensure(status == Status::Active, Rejection::RevokeRepeated);
    match target {
        Target::Component(cid) => {
            let component: Component = load(state, &key::component(cid))?.ok_or(gone)?;
            ensure(!component.status.is_final(), Rejection::RevokeRepeated)?;
            Ok(withdraw::component(state, context, cid, reason)?)
        }
        Target::Binding(id) => {
            let binding: Binding = load(state, &key::binding(id))?.ok_or(gone)?;
            active(binding.status)?;
            let pairings = withdraw::binding(state, context, id, binding, reason)?;
            Ok(vec![withdraw::binding_event(id, reason, pairings)])
        }
        Target::Pairing(id) => {
            let pairing: Pairing = load(state, &key::pairing(id))?.ok_or(gone)?;
            active(pairing.status)?;
            withdraw::pairing(state, context, id, pairing, reason)?;
            let event = Event::new("PairingRevoked").with("pairing_id", id.0.as_slice());
            Ok(vec![event.with("reason", u32::from(reason))])
        }
        Target::Batch(id) | Target::Delegation(DelegationId(id)) => {
            let before: Option<Revocation> = load(state, &key::revocation(target))?;
            ensure(before.is_none(), Rejection::RevokeRepeated)?;
            withdraw::note(state, context, target, reason);
            let event = match target {
                Target::Batch(_) => Event::new("BatchAuthorityRevoked").with("batch", id.as_slice()),
                _ => Event::new("DelegationRevoked").with("delegation", id.as_slice()),
            };
            Ok(vec![event.with("reason", u32::from(reason))])
        }
        Target::SigningKey(signing) => {
            let owner: SigningKey = load(state, &key::signing_key(signing))?.ok_or(gone.clone())?;
            active(owner.status)?;
            let binding: Binding = load(state, &key::binding(&owner.binding_id))?.ok_or(gone)?;
            let pairings = withdraw::binding(state, context, &owner.binding_id, binding, reason)?;
            withdraw::note(state, context, target, reason);
            Ok(vec![withdraw::binding_event(&owner.binding_id, reason, pairings)])
        }
        Target::Account(account_key) => {
            let mut account: Account = load(state, &key::account(account_key))?.ok_or(gone)?;
            active(account.status)?;
            account.status = Status::Revoked;
            state.put(key::account(account_key), &account);
            withdraw::note(state, context, target, reason);
            let event = Event::new("AccountRevoked").with("account", account_key.0.as_slice());
            Ok(vec![event.with("reason", u32::from(reason))])
        }
    }
}
