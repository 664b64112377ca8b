//! What trust is asked for before something happens (L137, L221, L222): scores against the bars of the chain.

use lct::{id::Cid, trust::TrustContext};

use super::{Context, Stop, ensure};
use crate::{
    authorization,
    reject::Rejection,
    standing::{self, Standing},
    state::{Overlay, View},
};

/// Place of the transfer of energy among the gates (L196).
const TRANSFER: usize = 3;

/// A transfer needs the trust of both packs in operation, and in energy where they were judged there: neither makes up for the
/// other.
pub(super) fn transfer<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    packs: [&Cid; 2],
) -> Result<(), Stop> {
    let (weights, now_ms) = (&context.params.trust, context.header.time_ms);
    for pack in packs {
        let within = |context| standing::component(state, weights, pack, context, now_ms);
        let enough = |known: Standing| known.gates(TrustContext::Energy, weights)[TRANSFER];
        ensure(within(TrustContext::Operation)?.is_some_and(enough), Rejection::TransferTrust)?;
        ensure(within(TrustContext::Energy)?.is_none_or(enough), Rejection::TransferTrust)?;
    }
    Ok(())
}

/// Each side admits the other.
pub(super) fn pairing<V: View>(
    state: &Overlay<V>,
    context: &Context<'_>,
    a: &Cid,
    b: &Cid,
) -> Result<(), Stop> {
    let (weights, now_ms) = (&context.params.trust, context.header.time_ms);
    for sides in [[a, b], [b, a]] {
        let admitted = authorization::admits(state, weights, sides, now_ms)?;
        ensure(admitted.is_ok(), Rejection::PairingTrust)?;
    }
    Ok(())
}
