//! Relationship LCTs (L34): two registered components, a context, one LCT per pair and context.

use alloc::{vec, vec::Vec};

use lct::{id::Cid, lifecycle::State};

use super::{Context, Stop, count, ensure, relation};
use crate::{
    outcome::Event,
    records::{Component, Lct, LctStatus, key, pair_lct_id},
    reject::Rejection,
    state::{Overlay, View, load},
};

/// Whether a context is 1 to 64 characters of `[A-Za-z0-9_.-]`.
pub(super) fn valid_context(context: &str) -> bool {
    (1..=crate::tx::MAX_CONTEXT).contains(&context.len())
        && context.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    a: &Cid,
    b: &Cid,
    purpose: &str,
) -> Result<Vec<Event>, Stop> {
    ensure(a != b, Rejection::LctSelf)?;
    ensure(valid_context(purpose), Rejection::LctContext)?;
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let mut parties = Vec::with_capacity(2);
    for cid in [low, high] {
        let component: Option<Component> = load(state, &key::component(cid))?;
        let component = component.filter(|c| c.status == State::Active);
        parties.push(component.ok_or(Rejection::LctComponent)?);
    }
    let id = pair_lct_id(&context.header.chain_id, low, high, purpose);
    ensure(state.get(&key::lct(&id))?.is_none(), Rejection::LctExists)?;
    ensure(parties.iter().all(|c| c.lcts < context.params.max_lcts), Rejection::LctLimit)?;

    for (cid, mut component) in [low, high].into_iter().zip(parties) {
        component.lcts += 1;
        state.put(key::component(cid), &component);
    }
    let (height, time_ms) = (context.header.height, context.header.time_ms);
    let status = if relation::related(state, low, high)? { LctStatus::Active } else { LctStatus::Pending };
    let lct = Lct { a: *low, b: *high, context: purpose.into(), status, height, time_ms };
    state.put(key::lct(&id), &lct);
    count(state, |t| t.lcts += 1)?;
    Ok(vec![
        Event::new("LctRelationshipCreated")
            .with("lct_id", id.as_slice())
            .with("component_a", low.0.as_slice())
            .with("component_b", high.0.as_slice())
            .with("context", purpose)
            .with("status", status.name()),
    ])
}
