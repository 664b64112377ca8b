//! Orders of owners, and transfers between packs (L212 to L215).
//!
//! The energy of a transfer is locked in the giver's pool until both packs sign what flowed, or until its time is over.
//! What left the giver and did not reach the taker is lost; it is the only way in which energy of the chain vanishes.

use alloc::{vec, vec::Vec};

use lct::{
    id::{Cid, PairingId},
    lifecycle::State,
    sign::{PublicKey, Signature},
    trade::{Give, Order, Receipt, TradeId, What},
};

use super::{Context, Stop, count, ensure, gate, not_future, offer};
use crate::{
    energy::{Account, leveling},
    outcome::Event,
    records::{
        Component, FLOWS, NO_OFFER, NOBODY, Offer, Ownership, Pairing, Pool, SigningKey, Status, Transfer,
        TransferState, key,
    },
    reject::Rejection,
    state::{Halt, Overlay, View, load},
};

/// What begins a transfer.
pub(super) struct Opening {
    pub id: TradeId,
    pub giver: Cid,
    pub taker: Cid,
    pub pairing: PairingId,
    pub until_ms: u64,
    pub payer: PublicKey,
    pub payee: PublicKey,
    pub price: u64,
    pub offer: TradeId,
}

/// The pool of a pack that is registered and active.
fn pool_of<V: View>(state: &Overlay<V>, cid: &Cid, other: Rejection) -> Result<Pool, Stop> {
    let component: Option<Component> = load(state, &key::component(cid))?;
    ensure(component.is_some_and(|c| c.status == State::Active), other)?;
    let pool: Option<Pool> = load(state, &key::pool(cid))?;
    Ok(pool.ok_or(other)?)
}

/// Key of a pack's owner, if it has one.
pub(super) fn owner_of<V: View>(state: &Overlay<V>, cid: &Cid) -> Result<Option<PublicKey>, Halt> {
    let ownership: Option<Ownership> = load(state, &key::ownership(cid))?;
    Ok(ownership.map(|o| o.owner))
}

pub(super) fn order<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    signature: &Signature,
) -> Result<Vec<Event>, Stop> {
    let order = Order::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = order.digest().map_err(|_| Rejection::StatementFormat)?;
    ensure(order.chain_id == context.header.chain_id, Rejection::TradeChain)?;
    pool_of(state, &order.cid, Rejection::TradePack)?;
    let owner = owner_of(state, &order.cid)?.ok_or(Rejection::TradeOwner)?;
    owner.verify(&digest, signature).map_err(|_| Rejection::TradeProof)?;
    match &order.what {
        What::Transfer(g) => give(state, context, &order, owner, g, |_, _| g.mwh),
        What::Balance(g) => give(state, context, &order, owner, g, |giver, taker| {
            leveling((giver.atp, giver.minted), (taker.atp, taker.minted)).min(g.mwh)
        }),
        What::OfferEnergy(t) | What::OfferCapacity(t) => offer::publish(state, context, &order, owner, t),
        What::Accept(a) => offer::accept(state, context, &order, owner, a),
        What::Withdraw => offer::withdraw(state, context, &order),
    }
}

fn give<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    order: &Order,
    owner: PublicKey,
    give: &Give,
    amount: impl FnOnce(&Pool, &Pool) -> u64,
) -> Result<Vec<Event>, Stop> {
    let opening = Opening {
        id: order.id,
        giver: order.cid,
        taker: give.to,
        pairing: give.pairing,
        until_ms: give.until_ms,
        payer: owner_of(state, &give.to)?.unwrap_or(NOBODY),
        payee: owner,
        price: 0,
        offer: NO_OFFER,
    };
    begin(state, context, &opening, |giver, taker| Ok(amount(giver, taker))).map(|(event, _)| vec![event])
}

/// Locks energy of the giver (L213). The answer is what is told, and how much it is.
pub(super) fn begin<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    o: &Opening,
    amount: impl FnOnce(&Pool, &Pool) -> Result<u64, Rejection>,
) -> Result<(Event, u64), Stop> {
    let now = context.header.time_ms;
    let transfer_key = key::energy_transfer(&o.id);
    ensure(state.get(&transfer_key)?.is_none(), Rejection::TransferExists)?;
    ensure(o.giver != o.taker, Rejection::TransferSelf)?;
    let mut giver = pool_of(state, &o.giver, Rejection::TransferPack)?;
    let mut taker = pool_of(state, &o.taker, Rejection::TransferPack)?;
    let pairing: Option<Pairing> = load(state, &key::pairing(&o.pairing))?;
    let both = |p: &Pairing| (p.a, p.b) == (o.giver, o.taker) || (p.a, p.b) == (o.taker, o.giver);
    let pairing = pairing.filter(|p| p.in_force(now) && both(p)).ok_or(Rejection::TransferPairing)?;
    gate::transfer(state, context, [&o.giver, &o.taker])?;
    let last = now.saturating_add(u64::from(context.params.max_transfer_s) * 1000);
    ensure(o.until_ms > now && o.until_ms <= last, Rejection::TransferTime)?;
    let mwh = amount(&giver, &taker)?;
    ensure(mwh > 0, Rejection::TransferAmount)?;
    let locked = account(&giver).lock(mwh).map_err(|_| Rejection::TransferAtp)?;

    (giver.atp, giver.locked) = (locked.available, locked.locked);
    for (cid, pool) in [(&o.giver, &mut giver), (&o.taker, &mut taker)] {
        state.put_raw(key::flow(cid, pool.transfers % FLOWS), o.id.0.into());
        pool.transfers += 1;
        state.put(key::pool(cid), pool);
    }
    let transfer = Transfer {
        giver: o.giver,
        taker: o.taker,
        binding_id: pairing.binding_id,
        payer: o.payer,
        payee: o.payee,
        price: o.price,
        offer: o.offer,
        locked: mwh,
        given: 0,
        received: 0,
        until_ms: o.until_ms,
        state: TransferState::Open,
        ended_ms: 0,
        begun_by: context.tx_id,
        ended_by: [0; 32],
    };
    state.put(transfer_key, &transfer);
    count(state, |t| {
        t.atp -= u128::from(mwh);
        t.locked += u128::from(mwh);
    })?;
    let event = Event::new("EnergyLocked")
        .with("transfer", o.id.0.as_slice())
        .with("giver", o.giver.0.as_slice())
        .with("taker", o.taker.0.as_slice())
        .with("mwh", mwh)
        .with("until_ms", o.until_ms);
    Ok((event, mwh))
}

fn account(pool: &Pool) -> Account {
    Account { available: pool.atp, locked: pool.locked }
}

/// The transfer with this id, while its energy is locked.
fn open<V: View>(state: &Overlay<V>, id: &TradeId) -> Result<Transfer, Stop> {
    let transfer: Option<Transfer> = load(state, &key::energy_transfer(id))?;
    let transfer = transfer.ok_or(Rejection::TransferUnknown)?;
    ensure(transfer.state == TransferState::Open, Rejection::TransferEnded)?;
    Ok(transfer)
}

/// Ends a transfer: `given` leaves the giver, the rest of what was locked is free again, there and in the offer.
fn end<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    id: &TradeId,
    transfer: &Transfer,
    given: u64,
) -> Result<(), Stop> {
    const BROKEN: Halt = Halt::Invariant("a pool does not hold what a transfer locked");
    let mut giver: Pool = load(state, &key::pool(&transfer.giver))?.ok_or(BROKEN)?;
    let rest = transfer.locked.checked_sub(given).ok_or(BROKEN)?;
    let freed = account(&giver).commit(given).and_then(|a| a.roll_back(rest)).map_err(|_| BROKEN)?;
    (giver.atp, giver.locked) = (freed.available, freed.locked);
    giver.adp = giver.adp.checked_add(given).ok_or(BROKEN)?;
    giver.sent += u128::from(given);
    state.put(key::pool(&transfer.giver), &giver);
    let offered: Option<Offer> = load(state, &key::offer(&transfer.offer))?;
    if let Some(mut offer) = offered {
        offer.left = offer.left.checked_add(rest).ok_or(BROKEN)?;
        state.put(key::offer(&transfer.offer), &offer);
    }
    let ended = Transfer { ended_ms: context.header.time_ms, ended_by: context.tx_id, ..transfer.clone() };
    state.put(key::energy_transfer(id), &ended);
    count(state, |t| {
        t.locked -= u128::from(transfer.locked);
        t.atp += u128::from(rest);
    })?;
    Ok(())
}

/// Both packs say what flowed (L214).
pub(super) fn receipt<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    keys: &[PublicKey; 2],
    signatures: &[Signature; 2],
) -> Result<Vec<Event>, Stop> {
    let r = Receipt::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = r.digest().map_err(|_| Rejection::StatementFormat)?;
    ensure(r.chain_id == context.header.chain_id, Rejection::TradeChain)?;
    let mut transfer = open(state, &r.transfer)?;
    ensure(context.header.time_ms < transfer.until_ms, Rejection::TransferExpired)?;
    for (signing, cid) in keys.iter().zip([transfer.giver, transfer.taker]) {
        let owner: Option<SigningKey> = load(state, &key::signing_key(signing))?;
        let of_this = |o: &SigningKey| {
            o.status == Status::Active && (o.cid, o.binding_id) == (cid, transfer.binding_id)
        };
        ensure(owner.is_some_and(|o| of_this(&o)), Rejection::TransferKey)?;
    }
    for cid in [transfer.giver, transfer.taker] {
        let component: Option<Component> = load(state, &key::component(&cid))?;
        let believed = component.is_some_and(|c| c.status != State::Suspended);
        ensure(believed, Rejection::ComponentSuspended)?;
    }
    ensure(not_future(context, r.end_ms), Rejection::StatementTime)?;
    keys[0].verify(&digest, &signatures[0]).map_err(|_| Rejection::TransferProof)?;
    keys[1].verify(&digest, &signatures[1]).map_err(|_| Rejection::TransferProofTaker)?;
    ensure(r.received <= r.given && r.given <= transfer.locked, Rejection::TransferSums)?;
    let taker: Option<Pool> = load(state, &key::pool(&transfer.taker))?;
    let mut taker = taker.ok_or(Halt::Invariant("a pack of a transfer has no pool"))?;
    ensure(r.received <= taker.adp, Rejection::TransferRoom)?;

    (transfer.given, transfer.received) = (r.given, r.received);
    transfer.state = TransferState::Done;
    end(state, context, &r.transfer, &transfer, r.given)?;
    taker.adp -= r.received;
    taker.atp += r.received;
    taker.received += u128::from(r.received);
    state.put(key::pool(&transfer.taker), &taker);
    let lost = r.given - r.received;
    count(state, |t| {
        t.atp += u128::from(r.received);
        t.lost += u128::from(lost);
        t.transfers += 1;
    })?;
    Ok(vec![
        Event::new("EnergyTransferred")
            .with("transfer", r.transfer.0.as_slice())
            .with("giver", transfer.giver.0.as_slice())
            .with("taker", transfer.taker.0.as_slice())
            .with("given_mwh", r.given)
            .with("received_mwh", r.received),
    ])
}

/// A transfer whose time is over ends without anything having flowed (L215).
pub(super) fn release<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    id: &TradeId,
) -> Result<Vec<Event>, Stop> {
    let mut transfer = open(state, id)?;
    ensure(context.header.time_ms >= transfer.until_ms, Rejection::TransferRunning)?;

    transfer.state = TransferState::Released;
    end(state, context, id, &transfer, 0)?;
    Ok(vec![
        Event::new("EnergyReleased")
            .with("transfer", id.0.as_slice())
            .with("giver", transfer.giver.0.as_slice())
            .with("mwh", transfer.locked),
    ])
}
