//! What trust is asked for before something happens (L137, L221, L222): scores against the bars of the chain.

use lct::{id::Cid, trust::TrustContext};

use super::{Context, Stop, authorization::live, ensure};
use crate::{
    authorization,
    records::{key, registry::Authorization},
    reject::Rejection,
    standing,
    state::{Halt, Overlay, View, load},
};

/// Place of the transfer of energy among the gates (L196).
const TRANSFER: usize = 3;

/// A transfer needs the trust of both packs in the context of energy, in that of operation while nobody judged them there.
pub(super) fn transfer<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    packs: [&Cid; 2],
) -> Result<(), Stop> {
    let (weights, now_ms) = (&context.params.trust, context.header.time_ms);
    for pack in packs {
        let mut known = standing::component(state, weights, pack, TrustContext::Energy, now_ms)?;
        if known.is_none() {
            known = standing::component(state, weights, pack, TrustContext::Operation, now_ms)?;
        }
        let enough = known.is_some_and(|s| s.gates(TrustContext::Energy, weights)[TRANSFER]);
        ensure(enough, Rejection::TransferTrust)?;
    }
    Ok(())
}

/// A side that lets itself be paired with the other under authorisations in force is asked whether one of them is met.
pub(super) fn pairing<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    a: &Cid,
    b: &Cid,
) -> Result<(), Stop> {
    for (own, partner) in [(a, b), (b, a)] {
        ensure(admits(state, context, own, partner)?, Rejection::PairingTrust)?;
    }
    Ok(())
}

fn admits<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    own: &Cid,
    partner: &Cid,
) -> Result<bool, Halt> {
    let (weights, now_ms) = (&context.params.trust, context.header.time_ms);
    let mut asks = false;
    for id in live(state, own, now_ms)? {
        let found: Option<Authorization> = load(state, &key::authorization(&id))?;
        let found = found.ok_or(Halt::Invariant("a listed authorization is missing"))?;
        if found.b != *partner {
            continue;
        }
        asks = true;
        if authorization::judge(state, weights, &found, now_ms)?.is_ok() {
            return Ok(true);
        }
    }
    Ok(!asks)
}
