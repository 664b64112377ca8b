//! Whose a component is (L113, L114): a chain of hops from the manufacturer on, each signed by both hands. And to what other
//! binding of it its owner agreed (L125).

use alloc::{vec, vec::Vec};

use lct::{
    consent::Consent,
    id::{BindingId, Cid, Role},
    ownership::{Transfer, hash_of},
    revocation::Reason,
    sign::{PublicKey, Signature},
};

use super::{Context, Stop, ensure, lifecycle::certified, not_future, withdraw};
use crate::{
    outcome::Event,
    records::{
        Binding, Component, Consent as Agreed, Cycle, Hop, NOBODY, Ownership, Pairing, SigningKey, key,
    },
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::Target,
};

pub(super) fn transfer<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    signatures: &[Signature; 2],
) -> Result<Vec<Event>, Stop> {
    let t = Transfer::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = t.digest().map_err(|_| Rejection::StatementFormat)?;
    ensure(t.chain_id == context.header.chain_id, Rejection::OwnerChain)?;
    let component: Option<Component> = load(state, &key::component(&t.cid))?;
    let component = component.filter(|c| !c.status.is_final()).ok_or(Rejection::OwnerComponent)?;
    ensure(t.lct == component.lct, Rejection::OwnerLct)?;
    let before: Option<Ownership> = load(state, &key::ownership(&t.cid))?;
    let (gives, hops, last) = match &before {
        Some(o) => (o.owner == t.from, o.hops, o.last),
        None => (certified(state, &t.cid, &t.from)?, 0, [0; 32]),
    };
    ensure(gives, Rejection::OwnerDenied)?;
    ensure((Some(t.hop), t.previous) == (hops.checked_add(1), last), Rejection::OwnerSequence)?;
    ensure(t.from != t.to, Rejection::OwnerSame)?;
    ensure(not_future(context, t.time_ms), Rejection::OwnerTime)?;
    t.from.verify(&digest, &signatures[0]).map_err(|_| Rejection::OwnerProof)?;
    t.to.verify(&digest, &signatures[1]).map_err(|_| Rejection::OwnerProofTo)?;

    let ended = end_rights(state, context, &t)?;
    let statement = hash_of(statement);
    let ownership =
        Ownership { owner: t.to, hops: t.hop, last: statement, from_height: context.header.height };
    state.put(key::ownership(&t.cid), &ownership);
    let hop = Hop { from: t.from, to: t.to, statement, time_ms: t.time_ms, tx: context.tx_id };
    state.put(key::hop(&t.cid, t.hop), &hop);
    Ok(vec![
        Event::new("OwnershipTransferred")
            .with("cid", t.cid.0.as_slice())
            .with("hop", t.hop)
            .with("owner", t.to.0.as_slice())
            .with("pairings", ended),
    ])
}

/// Longest time for which an owner agrees ahead: 90 days.
const AHEAD_MS: u64 = 90 * 86_400_000;

pub(super) fn consent<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    signature: &Signature,
) -> Result<Vec<Event>, Stop> {
    let c = Consent::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = c.digest().map_err(|_| Rejection::StatementFormat)?;
    ensure(c.chain_id == context.header.chain_id, Rejection::ConsentChain)?;
    let binding: Option<Binding> = load(state, &key::binding(&c.binding))?;
    ensure(binding.is_some_and(|b| [b.a, b.b].contains(&c.cid)), Rejection::ConsentBinding)?;
    let partner: Option<Component> = load(state, &key::component(&c.partner))?;
    let stands = partner.is_some_and(|p| !p.status.is_final()) && c.partner != c.cid;
    ensure(stands, Rejection::ConsentPartner)?;
    let ownership: Option<Ownership> = load(state, &key::ownership(&c.cid))?;
    let ownership = ownership.filter(|o| o.hops == c.hop).ok_or(Rejection::ConsentOwner)?;
    let owner = ownership.owner;
    let before: Option<Agreed> = load(state, &key::consent(&c.cid, &c.binding))?;
    let follows = before.is_none_or(|b| (c.hop, c.number) > (b.hop, b.number));
    ensure(follows, Rejection::ConsentNumber)?;
    let now = context.header.time_ms;
    let in_time = c.until_ms > now && c.until_ms - now <= AHEAD_MS;
    ensure(in_time, Rejection::ConsentTime)?;
    owner.verify(&digest, signature).map_err(|_| Rejection::ConsentProof)?;

    let Consent { partner, until_ms, hop, number, .. } = c;
    let agreed = Agreed { owner, partner, until_ms, tx: context.tx_id, hop, number };
    state.put(key::consent(&c.cid, &c.binding), &agreed);
    Ok(vec![
        Event::new("RebindingAgreed")
            .with("cid", c.cid.0.as_slice())
            .with("binding", c.binding.0.as_slice())
            .with("partner", c.partner.0.as_slice())
            .with("until_ms", c.until_ms),
    ])
}

/// Whether the owner of `cid` agreed that a binding with `partner` takes the place of `old`, and still does.
pub(super) fn agreed(
    view: &impl View,
    context: &Context<'_>,
    ownership: &Ownership,
    cid: &Cid,
    old: &BindingId,
    partner: &Cid,
) -> Result<bool, Halt> {
    let agreed: Option<Agreed> = load(view, &key::consent(cid, old))?;
    Ok(agreed.is_some_and(|a| a.allows(ownership, partner, context.header.time_ms)))
}

/// What the former owner's apps may do with the component ends; its bindings stay. The answer is how many pairings ended.
fn end_rights<V: View>(state: &mut Overlay<V>, context: &Context<'_>, t: &Transfer) -> Result<u32, Halt> {
    let mut ended = 0;
    for binding_id in withdraw::bindings_of(state, &t.cid)? {
        let binding: Option<Binding> = load(state, &key::binding(&binding_id))?;
        let binding = binding.ok_or(Halt::Invariant("a listed binding is missing"))?;
        // Of two sides the app is A.
        let app: Option<Component> = load(state, &key::component(&binding.a))?;
        if binding.a == t.cid || app.is_none_or(|c| c.role != Role::App) {
            continue;
        }
        for id in withdraw::pairings_of(state, &binding_id)? {
            let pairing: Option<Pairing> = load(state, &key::pairing(&id))?;
            let pairing = pairing.ok_or(Halt::Invariant("a listed pairing is missing"))?;
            ended += u32::from(pairing.in_force(context.header.time_ms));
            withdraw::pairing(state, context, &id, pairing, Reason::Superseded as u8)?;
        }
    }
    Ok(ended)
}

/// Who owned a component at `time_ms` by the times that both hands signed (L216); `None` before the first hop. The hops are
/// looked at from the last one back: of two that lie before, the later one counts.
pub(super) fn owner_when(view: &impl View, cid: &Cid, time_ms: u64) -> Result<Option<PublicKey>, Halt> {
    let ownership: Option<Ownership> = load(view, &key::ownership(cid))?;
    for number in (1..=ownership.map_or(0, |o| o.hops)).rev() {
        let hop: Option<Hop> = load(view, &key::hop(cid, number))?;
        let hop = hop.ok_or(Halt::Invariant("a counted hop is missing"))?;
        if hop.time_ms <= time_ms {
            return Ok(Some(hop.to));
        }
    }
    Ok(None)
}

/// Whose a closed cycle is (L224), [`NOBODY`] where nobody was. Where its close does not say, the hops that are recorded by now tell
/// (L226).
///
/// # Errors
/// [`Halt`] when the store is broken.
pub fn cycle_owner(view: &impl View, cid: &Cid, cycle: &Cycle) -> Result<PublicKey, Halt> {
    match cycle.owner {
        Some(owner) => Ok(owner),
        None => Ok(owner_when(view, cid, cycle.end_ms)?.unwrap_or(NOBODY)),
    }
}

/// Whether `key` owns what `target` is about: a component, or a side of a relation.
pub(super) fn owns(view: &impl View, owner: &PublicKey, target: &Target) -> Result<bool, Halt> {
    let bound = |id| -> Result<Vec<_>, Halt> {
        let binding: Option<Binding> = load(view, &key::binding(&id))?;
        Ok(binding.map_or_else(Vec::new, |b| vec![b.a, b.b]))
    };
    let about = match target {
        Target::Component(cid) => vec![*cid],
        Target::Binding(id) => bound(*id)?,
        Target::Pairing(id) => {
            let pairing: Option<Pairing> = load(view, &key::pairing(id))?;
            pairing.map_or_else(Vec::new, |p| vec![p.a, p.b])
        }
        Target::SigningKey(signing) => {
            let signing: Option<SigningKey> = load(view, &key::signing_key(signing))?;
            signing.map_or_else(Vec::new, |s| vec![s.cid])
        }
        Target::Batch(_) | Target::Account(_) | Target::Delegation(_) => vec![],
    };
    for cid in about {
        let ownership: Option<Ownership> = load(view, &key::ownership(&cid))?;
        if ownership.is_some_and(|o| o.owner == *owner) {
            return Ok(true);
        }
    }
    Ok(false)
}
