//! How a chain changes itself (L160 to L164). A change is decided in one block and holds from a later one on, so that
//! what decided it is certified by the validators before it.

use alloc::{vec, vec::Vec};

use lct::sign::PublicKey;

use super::{Context, Stop, ensure};
use crate::{
    execute::{require, rules_of},
    genesis::MAX_KEYS,
    outcome::Event,
    records::{Account, AccountRole, Pending, Roots, RulesVersion, Status, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{Change, Governance, Kind},
};

/// Kinds of which a change waits for its height; an account knows its own.
const WAITING: [Kind; 4] = [Kind::GovernRoots, Kind::GovernParams, Kind::GovernValidators, Kind::GovernRules];

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    governance: &Governance,
) -> Result<Vec<Event>, Stop> {
    let Governance { change, height } = governance;
    ensure(well_formed(change), Rejection::GovernInvalid)?;
    // Block h + 1 certifies what block h decided, under the validators that it may have decided about.
    let soonest = context.header.height.saturating_add(2);
    ensure(*height >= soonest, Rejection::GovernHeight)?;
    let pending_key = key::pending(change.kind());
    match change {
        Change::Account { role, key: account_key } => {
            let at = key::account(account_key);
            // A key that was withdrawn stays so.
            ensure(state.get(&at)?.is_none(), Rejection::GovernExists)?;
            state.put(at, &Account { role: *role, status: Status::Active, from_height: *height });
        }
        change => {
            match change {
                Change::Roots { .. } => roots(state, context, sender, change, *height)?,
                Change::Rules(version) => {
                    ensure(rules_of(state)?.checked_add(1) == Some(*version), Rejection::GovernVersion)?;
                }
                _ => {}
            }
            let waiting: Option<Pending> = load(state, &pending_key)?;
            // A manufacturer's own change never takes the place of one that waits: it could undo an authority's.
            let signed = matches!(change, Change::Roots { signature: Some(_), .. });
            let blocked = waiting.is_some_and(|w| {
                let next = w.0.height.checked_add(1) == Some(soonest);
                next || (signed && w.0.height >= soonest)
            });
            ensure(!blocked, Rejection::GovernPending)?;
            state.put(pending_key, &Pending(governance.clone()));
        }
    }
    let event = Event::new("GovernanceDecided").with("kind", change.kind().name()).with("height", *height);
    Ok(vec![match change {
        Change::Account { role, key } => event.with("account", key.0.as_slice()).with("role", role.name()),
        Change::Roots { added, withdrawn, .. } => [("added", added), ("withdrawn", withdrawn)]
            .into_iter()
            .fold(event, |event, (name, root)| match root {
                Some(root) => event.with(name, root.0.as_slice()),
                None => event,
            }),
        Change::Validators(set) => event.with("validators", set.0.len() as u64),
        Change::Rules(version) => event.with("version", *version),
        Change::Params(_) => event,
    }])
}

/// Whether it changes something, and a chain could begin with it (L13).
fn well_formed(change: &Change) -> bool {
    let point = |key: &PublicKey| PublicKey::from_slice(&key.0).is_ok();
    match change {
        Change::Account { key, .. } => point(key),
        Change::Roots { added: None, withdrawn: None, .. } => false,
        Change::Roots { added, withdrawn, .. } => added != withdrawn && added.as_ref().is_none_or(point),
        Change::Params(params) => params.usable(),
        Change::Validators(set) => set.check().is_ok(),
        Change::Rules(_) => true,
    }
}

/// An authority changes roots as it sees fit, a manufacturer with the signature of the root that goes.
fn roots<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    change: &Change,
    height: u64,
) -> Result<(), Stop> {
    let Change::Roots { added, withdrawn, signature } = change else {
        return Ok(());
    };
    let account: Account =
        load(state, &key::account(sender))?.ok_or(Halt::Invariant("a sender without account"))?;
    let agreed = withdrawn.as_ref().zip(signature.as_ref()).is_some_and(|(root, signature)| {
        let digest = Change::root_digest(&context.header.chain_id, height, root, added.as_ref());
        root.verify(&digest, signature).is_ok()
    });
    let free = account.role == AccountRole::Authority && signature.is_none();
    ensure(agreed || free, Rejection::GovernDenied)?;
    let roots = context.roots;
    ensure(added.is_none_or(|root| !roots.contains(&root)), Rejection::GovernExists)?;
    ensure(withdrawn.is_none_or(|root| roots.contains(&root)), Rejection::GovernUnknown)?;
    let room = withdrawn.is_some() || roots.len() < MAX_KEYS;
    Ok(ensure(room, Rejection::GovernLimit)?)
}

/// What was decided for `height` holds from the next block on, which has this height.
pub(crate) fn take_effect<V: View>(state: &mut Overlay<V>, height: u64) -> Result<(), Halt> {
    for kind in WAITING {
        let pending: Option<Pending> = load(state, &key::pending(kind))?;
        let Some(Pending(decided)) = pending.filter(|p| p.0.height == height) else {
            continue;
        };
        match &decided.change {
            Change::Account { .. } => {}
            Change::Roots { added, withdrawn, .. } => {
                let Roots(mut roots) = require(state, key::ROOTS)?;
                roots.retain(|root| withdrawn.as_ref() != Some(root));
                roots.extend(added);
                state.put(key::ROOTS.into(), &Roots(roots));
            }
            Change::Params(params) => state.put(key::PARAMS.into(), params),
            Change::Validators(set) => state.put(key::VALIDATORS.into(), set),
            Change::Rules(version) => state.put(key::RULES.into(), &RulesVersion { version: *version }),
        }
    }
    Ok(())
}
