//! What an owner has recorded without saying what it is (L138 to L140): components, authorisations and withdrawals under
//! keyed commitments, and the opening of single values.

use alloc::{vec, vec::Vec};

use lct::{
    Digest,
    commitment::{Field, commitment},
    id::valid_component_id,
    sign::PublicKey,
};

use super::{Context, Stop, ensure};
use crate::{
    anonymous::{Urgency, pair_id, withdrawn},
    authorization::Rule,
    outcome::Event,
    records::{
        key,
        registry::{
            AnonymousAuthorization, AnonymousComponent, AnonymousRevocation, Level, Opened, RevocationScope,
        },
    },
    reject::Rejection,
    state::{Overlay, View, load},
    tx::registry::Anonymous,
};

/// How long an anonymous authorisation holds: 8760 hours, in milliseconds.
const LIFETIME_MS: u64 = 8760 * 3_600_000;

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    holder: &PublicKey,
    entry: &Anonymous,
) -> Result<Vec<Event>, Stop> {
    match entry {
        Anonymous::Register { component, manufacturer, category } => {
            register(state, context, holder, [component, manufacturer, category])
        }
        Anonymous::Authorize { a, b, rule, level, trust_ppm } => {
            authorize(state, context, holder, (a, b, rule), (*level, *trust_ppm))
        }
        Anonymous::Revoke { scope, target, urgency, category } => {
            revoke(state, context, holder, (*scope, target), (*urgency, *category))
        }
        Anonymous::Open { field, id, opening, value } => open(state, context, *field, id, opening, value),
    }
}

fn register<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    holder: &PublicKey,
    [component, manufacturer, category]: [&Digest; 3],
) -> Result<Vec<Event>, Stop> {
    let at = key::anonymous(component);
    ensure(state.get(&at)?.is_none(), Rejection::AnonymousExists)?;
    let recorded = AnonymousComponent {
        holder: *holder,
        manufacturer: *manufacturer,
        category: *category,
        height: context.header.height,
        time_ms: context.header.time_ms,
    };
    state.put(at, &recorded);
    Ok(vec![
        Event::new("AnonymousComponentRegistered")
            .with("component_hash", component.as_slice())
            .with("manufacturer_hash", manufacturer.as_slice())
            .with("category_hash", category.as_slice()),
    ])
}

/// A component of the sender's that is not withdrawn.
fn own<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    holder: &PublicKey,
    component: &Digest,
) -> Result<AnonymousComponent, Stop> {
    let found: Option<AnonymousComponent> = load(state, &key::anonymous(component))?;
    let found = found.ok_or(Rejection::AnonymousUnknown)?;
    ensure(found.holder == *holder, Rejection::AnonymousDenied)?;
    ensure(!withdrawn(state, component, &found, context.header.time_ms)?, Rejection::AnonymousEnded)?;
    Ok(found)
}

fn authorize<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    holder: &PublicKey,
    (a, b, rule): (&Digest, &Digest, &Digest),
    (level, trust_ppm): (u8, u32),
) -> Result<Vec<Event>, Stop> {
    own(state, context, holder, a)?;
    let other: Option<AnonymousComponent> = load(state, &key::anonymous(b))?;
    let other = other.ok_or(Rejection::AnonymousUnknown)?;
    ensure(!withdrawn(state, b, &other, context.header.time_ms)?, Rejection::AnonymousEnded)?;
    let level = Level::from_code(level).ok_or(Rejection::AnonymousLevel)?;
    let asked = level.least_trust_ppm()..=1_000_000;
    ensure(a != b && asked.contains(&trust_ppm), Rejection::AnonymousLevel)?;

    let id = pair_id(&context.header.chain_id, a, b);
    let expires_ms = context.header.time_ms.saturating_add(LIFETIME_MS);
    let granted = AnonymousAuthorization {
        a: *a,
        b: *b,
        rule: *rule,
        level,
        trust_ppm,
        holder: *holder,
        height: context.header.height,
        time_ms: context.header.time_ms,
        expires_ms,
    };
    state.put(key::anonymous_pair(&id), &granted);
    Ok(vec![
        Event::new("AnonymousPairingAuthorized")
            .with("auth_id", id.as_slice())
            .with("component_hash_a", a.as_slice())
            .with("component_hash_b", b.as_slice())
            .with("level", level.name())
            .with("expires_ms", expires_ms),
    ])
}

fn revoke<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    holder: &PublicKey,
    (scope, target): (u8, &Digest),
    (urgency, category): (u8, u8),
) -> Result<Vec<Event>, Stop> {
    let scope = RevocationScope::from_code(scope).ok_or(Rejection::AnonymousRevocation)?;
    let urgency = Urgency::from_code(urgency).ok_or(Rejection::AnonymousRevocation)?;
    // All that is the holder's has no name.
    let blanket = scope == RevocationScope::Blanket;
    ensure(blanket == (*target == [0; 32]), Rejection::AnonymousRevocation)?;
    ensure((1..=3).contains(&category), Rejection::AnonymousRevocation)?;
    if scope == RevocationScope::Individual {
        let component: Option<AnonymousComponent> = load(state, &key::anonymous(target))?;
        let pair: Option<AnonymousAuthorization> = load(state, &key::anonymous_pair(target))?;
        let known = component.map(|c| c.holder).or(pair.map(|p| p.holder));
        ensure(known.ok_or(Rejection::AnonymousUnknown)? == *holder, Rejection::AnonymousDenied)?;
    }
    let at = key::anonymous_revocation(holder, target);
    let before: Option<AnonymousRevocation> = load(state, &at)?;
    let now_ms = context.header.time_ms;
    let effective_ms = now_ms.saturating_add(urgency.delay_ms());
    // What is withdrawn already may only be withdrawn sooner. All that was the holder's may be anew, but at once: a time to
    // come would take back what is in effect till then.
    let news = before.is_none_or(|b| effective_ms < b.effective_ms || (blanket && effective_ms == now_ms));
    ensure(news, Rejection::AnonymousRepeated)?;

    let revocation =
        AnonymousRevocation { scope, category, effective_ms, height: context.header.height, time_ms: now_ms };
    state.put(at, &revocation);
    Ok(vec![
        Event::new("AnonymousRevocationCreated")
            .with("target_hash", target.as_slice())
            .with("scope", scope.name())
            .with("category", u32::from(category))
            .with("effective_ms", effective_ms),
    ])
}

fn open<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    field: u8,
    id: &Digest,
    opening: &Digest,
    value: &str,
) -> Result<Vec<Event>, Stop> {
    let field = Field::from_code(field).ok_or(Rejection::AnonymousUnknown)?;
    let committed = if field == Field::Rule {
        let found: Option<AnonymousAuthorization> = load(state, &key::anonymous_pair(id))?;
        found.ok_or(Rejection::AnonymousUnknown)?.rule
    } else {
        let found: Option<AnonymousComponent> = load(state, &key::anonymous(id))?;
        let found = found.ok_or(Rejection::AnonymousUnknown)?;
        match field {
            Field::Manufacturer => found.manufacturer,
            Field::Category => found.category,
            _ => *id,
        }
    };
    ensure(commitment(opening, field, value.as_bytes()) == committed, Rejection::AnonymousOpening)?;
    let at = key::opened(&committed);
    ensure(state.get(&at)?.is_none(), Rejection::AnonymousOpened)?;
    let fits = match field {
        Field::Component => valid_component_id(value),
        Field::Rule => Rule::parse(value).is_some(),
        Field::Manufacturer | Field::Category => !value.is_empty(),
    };
    ensure(fits, Rejection::AnonymousValue)?;

    let (height, time_ms) = (context.header.height, context.header.time_ms);
    state.put(at, &Opened { field: field as u8, value: value.into(), height, time_ms });
    Ok(vec![
        Event::new("CommitmentOpened")
            .with("commitment", committed.as_slice())
            .with("field", field as u32)
            .with("value", value),
    ])
}
