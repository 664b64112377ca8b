//! Offers of energy and of room for it (L218, L219): who accepts gets what is left, in the order of the blocks.

use alloc::{vec, vec::Vec};

use lct::{
    sign::PublicKey,
    trade::{Acceptance, Order, Terms, TradeId, What},
};

use super::{
    Context, Stop, count, ensure,
    trade::{Opening, begin, owner_of},
};
use crate::{
    outcome::Event,
    records::{Offer, key},
    reject::Rejection,
    state::{Overlay, View, load},
};

pub(super) fn publish<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    order: &Order,
    owner: PublicKey,
    t: &Terms,
) -> Result<Vec<Event>, Stop> {
    let now = context.header.time_ms;
    let offer_key = key::offer(&order.id);
    ensure(state.get(&offer_key)?.is_none(), Rejection::OfferExists)?;
    ensure((1..=t.mwh).contains(&t.least), Rejection::OfferTerms)?;
    let last = now.saturating_add(u64::from(context.params.max_offer_s) * 1000);
    let window = t.from_ms < t.until_ms && t.until_ms > now && t.until_ms <= last;
    ensure(window, Rejection::OfferWindow)?;

    let offer = Offer {
        cid: order.cid,
        capacity: matches!(order.what, What::OfferCapacity(_)),
        owner,
        mwh: t.mwh,
        least: t.least,
        price: t.price,
        from_ms: t.from_ms,
        until_ms: t.until_ms,
        left: t.mwh,
        published_by: context.tx_id,
        withdrawn_by: [0; 32],
    };
    state.put(offer_key, &offer);
    count(state, |t| t.offers += 1)?;
    Ok(vec![
        Event::new("OfferPublished")
            .with("offer", order.id.0.as_slice())
            .with("cid", order.cid.0.as_slice())
            .with("what", if offer.capacity { "capacity" } else { "energy" })
            .with("mwh", t.mwh)
            .with("price", t.price)
            .with("until_ms", t.until_ms),
    ])
}

/// An offer that was not withdrawn and whose author still owns the pack.
fn standing<V: View>(state: &Overlay<V>, id: &TradeId) -> Result<Offer, Stop> {
    let offer: Option<Offer> = load(state, &key::offer(id))?;
    let offer = offer.ok_or(Rejection::OfferUnknown)?;
    let owner = owner_of(state, &offer.cid)?;
    ensure(offer.stands(owner.as_ref()), Rejection::OfferClosed)?;
    Ok(offer)
}

pub(super) fn accept<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    order: &Order,
    owner: PublicKey,
    a: &Acceptance,
) -> Result<Vec<Event>, Stop> {
    let mut offer = standing(state, &a.offer)?;
    let open = offer.from_ms <= context.header.time_ms && context.header.time_ms < offer.until_ms;
    ensure(open, Rejection::OfferExpired)?;
    let (giver, taker) = if offer.capacity { (order.cid, offer.cid) } else { (offer.cid, order.cid) };
    let opening = Opening {
        id: order.id,
        giver,
        taker,
        pairing: a.pairing,
        until_ms: a.until_ms,
        payer: owner,
        payee: offer.owner,
        price: offer.price,
        offer: a.offer,
    };
    // The last acceptance may take a rest that is smaller than the offer's least.
    let fill = a.most.min(offer.left);
    let enough = fill >= a.least.max(offer.least.min(offer.left));
    let (locked, mwh) = begin(state, context, &opening, |_, _| {
        ensure(enough, Rejection::TransferAmount)?;
        Ok(fill)
    })?;

    offer.left -= mwh;
    state.put(key::offer(&a.offer), &offer);
    let accepted = Event::new("OfferAccepted")
        .with("offer", a.offer.0.as_slice())
        .with("transfer", order.id.0.as_slice())
        .with("mwh", mwh)
        .with("left_mwh", offer.left);
    Ok(vec![accepted, locked])
}

/// What is left of an offer is not offered any more. Transfers that were begun go on.
pub(super) fn withdraw<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    order: &Order,
) -> Result<Vec<Event>, Stop> {
    let mut offer = standing(state, &order.id)?;
    ensure(offer.cid == order.cid, Rejection::OfferDenied)?;

    offer.withdrawn_by = context.tx_id;
    state.put(key::offer(&order.id), &offer);
    Ok(vec![Event::new("OfferWithdrawn").with("offer", order.id.0.as_slice()).with("left_mwh", offer.left)])
}
