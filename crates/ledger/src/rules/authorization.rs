//! Authorisations (L136, L137): who lets a component be paired with which other, for a day.

use alloc::{vec, vec::Vec};

use lct::{id::Cid, lifecycle::State, revocation::Reason, sign::PublicKey};

use super::{Context, Stop, ensure, lct_create::valid_context, lifecycle};
use crate::{
    authorization::{LIFETIME_MS, Rule, id_of, live},
    outcome::Event,
    records::{
        Component, Status, key,
        registry::{Authorization, AuthorizationId, Authorizations, Level, MAX_AUTHORIZATIONS},
    },
    reject::Rejection,
    state::{Halt, Overlay, View, load},
};

/// What is asked for.
pub(super) struct Grant<'a> {
    pub a: &'a Cid,
    pub b: &'a Cid,
    pub purpose: &'a str,
    pub level: u8,
    pub rule: &'a str,
}

pub(super) fn grant<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    wanted: &Grant<'_>,
) -> Result<Vec<Event>, Stop> {
    let Grant { a, b, purpose, level, rule } = *wanted;
    ensure(a != b, Rejection::AuthorizationParties)?;
    ensure(valid_context(purpose), Rejection::AuthorizationContext)?;
    let mut roles = Vec::with_capacity(2);
    for cid in [a, b] {
        let component: Option<Component> = load(state, &key::component(cid))?;
        let component = component.filter(|c| c.status == State::Active);
        roles.push(component.ok_or(Rejection::AuthorizationComponent)?.role);
    }
    ensure(lifecycle::governs(state, context, a, sender)?, Rejection::AuthorizationDenied)?;
    let level = Level::from_code(level).ok_or(Rejection::AuthorizationLevel)?;
    ensure(level.allows(roles[0], roles[1]), Rejection::AuthorizationLevel)?;
    let rule = Rule::parse(rule).ok_or(Rejection::AuthorizationRule)?;
    let (height, now_ms) = (context.header.height, context.header.time_ms);
    let id = id_of(&context.header.chain_id, a, b, purpose);
    let before: Option<Authorization> = load(state, &key::authorization(&id))?;
    let mut live = ids(state, a, now_ms)?;
    live.retain(|other| *other != id);
    ensure(live.len() < MAX_AUTHORIZATIONS, Rejection::AuthorizationLimit)?;

    live.push(id);
    state.put(key::authorizations_of(a), &Authorizations(live));
    let name = match &before {
        Some(old) if old.in_force(now_ms) => "AuthorizationUpdated",
        _ => "AuthorizationCreated",
    };
    let granted = Authorization {
        a: *a,
        b: *b,
        context: purpose.into(),
        level,
        rule,
        status: Status::Active,
        version: before.map_or(0, |old| old.version).saturating_add(1),
        height,
        time_ms: now_ms,
        expires_ms: now_ms.saturating_add(LIFETIME_MS),
    };
    state.put(key::authorization(&id), &granted);
    Ok(vec![
        Event::new(name)
            .with("authorization_id", id.0.as_slice())
            .with("component_a", a.0.as_slice())
            .with("component_b", b.0.as_slice())
            .with("context", purpose)
            .with("level", level.name())
            .with("version", granted.version)
            .with("expires_ms", granted.expires_ms),
    ])
}

pub(super) fn revoke<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    id: &AuthorizationId,
    reason: Reason,
) -> Result<Vec<Event>, Stop> {
    let found: Option<Authorization> = load(state, &key::authorization(id))?;
    let mut found = found.ok_or(Rejection::AuthorizationUnknown)?;
    ensure(lifecycle::governs(state, context, &found.a, sender)?, Rejection::AuthorizationDenied)?;
    ensure(found.in_force(context.header.time_ms), Rejection::AuthorizationEnded)?;

    let mut live = ids(state, &found.a, context.header.time_ms)?;
    live.retain(|other| other != id);
    state.put(key::authorizations_of(&found.a), &Authorizations(live));
    found.status = Status::Revoked;
    state.put(key::authorization(id), &found);
    let event = Event::new("AuthorizationRevoked").with("authorization_id", id.0.as_slice());
    Ok(vec![event.with("reason", reason as u32)])
}

/// The authorisations of a component that hold, by their ids.
fn ids(view: &impl View, a: &Cid, now_ms: u64) -> Result<Vec<AuthorizationId>, Halt> {
    Ok(live(view, a, now_ms)?.into_iter().map(|(id, _)| id).collect())
}
