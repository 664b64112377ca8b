//! Settlement of cycles and transfers, and objections to it (L216, L217).
//!
//! What is owed is computed from what the ledger recorded; a transaction that settles says only what is to be settled, and
//! at most a price that two signed. Nothing is settled before everybody had time to object.

use alloc::{vec, vec::Vec};

use lct::{
    sign::{PublicKey, Signature},
    trade::Quote,
};

use super::{Context, Stop, count, ensure, ownership::cycle_owner};
use crate::{
    energy::{efficiency, worth},
    outcome::Event,
    records::{
        Account, AccountRole, Cycle, NO_OFFER, NOBODY, Objection, ObjectionState, Settlement, Transfer,
        TransferState, key,
    },
    reject::Rejection,
    state::{Overlay, View, load},
    tx::{Agreed, Subject},
};

/// What was recorded of a subject that has ended.
struct Ended {
    /// Block time of its end.
    at_ms: u64,
    /// Energy.
    mwh: u64,
    /// Millionths per kWh, of an offer: where there is none only the chain or a quote knows one.
    price: Option<u64>,
    payer: PublicKey,
    payee: PublicKey,
    /// Of a cycle: whose it is, and discharged per charged energy, ppm.
    cycle: Option<(PublicKey, u64)>,
}

/// Reads what is to be settled. `other` is who a quote names beside the pack's owner.
fn ended<V: View>(state: &Overlay<V>, subject: &Subject, other: PublicKey) -> Result<Ended, Stop> {
    match subject {
        Subject::Cycle { cid, cycle } => {
            let recorded: Option<Cycle> = load(state, &key::cycle(cid, *cycle))?;
            let c = recorded.ok_or(Rejection::SettleUnknown)?;
            ensure(c.closed_ms > 0, Rejection::SettleOpen)?;
            let owner = cycle_owner(state, cid, &c)?;
            let (payer, payee) = if c.charged >= c.discharged { (owner, other) } else { (other, owner) };
            Ok(Ended {
                at_ms: c.closed_ms,
                mwh: c.charged.abs_diff(c.discharged),
                price: None,
                payer,
                payee,
                cycle: Some((owner, efficiency(c.charged, c.discharged))),
            })
        }
        Subject::Transfer(id) => {
            let recorded: Option<Transfer> = load(state, &key::energy_transfer(id))?;
            let t = recorded.ok_or(Rejection::SettleUnknown)?;
            ensure(t.state == TransferState::Done, Rejection::SettleOpen)?;
            let price = (t.offer != NO_OFFER).then_some(t.price);
            let (at_ms, mwh) = (t.ended_ms, t.received);
            Ok(Ended { at_ms, mwh, price, payer: t.payer, payee: t.payee, cycle: None })
        }
    }
}

/// Whether block time is still within the window for objections to what ended at `at_ms`.
fn disputable(context: &Context<'_>, at_ms: u64) -> bool {
    let end = at_ms.saturating_add(u64::from(context.params.objection_s) * 1000);
    context.header.time_ms < end
}

/// The price that the `owner` of a cycle and another one agreed on, after both signatures were checked.
fn agreed(
    context: &Context<'_>,
    subject: &Subject,
    owner: Option<PublicKey>,
    a: &Agreed,
) -> Result<Quote, Stop> {
    let quote = Quote::decode(&a.quote).map_err(|_| Rejection::SettleQuote)?;
    let digest = quote.digest().map_err(|_| Rejection::SettleQuote)?;
    let about = Subject::Cycle { cid: quote.cid, cycle: quote.cycle };
    ensure(quote.chain_id == context.header.chain_id && about == *subject, Rejection::SettleQuote)?;
    let owner = owner.filter(|owner| *owner != NOBODY && *owner != quote.other);
    let owner = owner.ok_or(Rejection::SettleOwner)?;
    let verify = |key: PublicKey, s: &Signature, refused| key.verify(&digest, s).map_err(|_| refused);
    verify(owner, &a.signatures[0], Rejection::SettleProof)?;
    verify(quote.other, &a.signatures[1], Rejection::SettleProofOther)?;
    Ok(quote)
}

pub(super) fn settle<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    subject: &Subject,
    price: Option<&Agreed>,
) -> Result<Vec<Event>, Stop> {
    let recorded = ended(state, subject, NOBODY)?;
    let settlement_key = key::settlement(subject);
    ensure(state.get(&settlement_key)?.is_none(), Rejection::SettleExists)?;
    ensure(!disputable(context, recorded.at_ms), Rejection::SettleWindow)?;
    let objection: Option<Objection> = load(state, &key::objection(subject))?;
    let agreed_to = objection.is_none_or(|o| o.state == ObjectionState::Dismissed);
    ensure(agreed_to, Rejection::SettleObjected)?;
    let (price, recorded) = match price {
        Some(a) => {
            let quote = agreed(context, subject, recorded.cycle.map(|(owner, _)| owner), a)?;
            (quote.price, ended(state, subject, quote.other)?)
        }
        None => {
            // Whose cycle it is may still agree on a price with somebody: a stranger must not be first.
            if let Some((owner, _)) = recorded.cycle {
                let account: Option<Account> = load(state, &key::account(sender))?;
                let authority = account.is_some_and(|a| a.role == AccountRole::Authority);
                ensure(authority || owner == *sender, Rejection::SettleOwner)?;
            }
            (recorded.price.unwrap_or(context.params.price_micro_per_kwh), recorded)
        }
    };
    let amount = worth(recorded.mwh, price).filter(|_| price > 0).ok_or(Rejection::SettlePrice)?;

    let settlement = Settlement {
        mwh: recorded.mwh,
        price,
        amount,
        payer: recorded.payer,
        payee: recorded.payee,
        height: context.header.height,
        time_ms: context.header.time_ms,
        tx: context.tx_id,
    };
    state.put(settlement_key, &settlement);
    count(state, |t| t.settlements += 1)?;
    let (id, cycle) = subject.parts();
    let event = Event::new("EnergySettled")
        .with("subject", id.as_slice())
        .with("cycle", cycle)
        .with("mwh", settlement.mwh)
        .with("price", price)
        .with("amount", amount)
        .with("payer", settlement.payer.0.as_slice())
        .with("payee", settlement.payee.0.as_slice());
    Ok(vec![match recorded.cycle {
        Some((_, ppm)) => event.with("efficiency_ppm", ppm),
        None => event,
    }])
}

pub(super) fn object<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    subject: &Subject,
    reason: u8,
) -> Result<Vec<Event>, Stop> {
    ensure((1..=4).contains(&reason), Rejection::ObjectionReason)?;
    let recorded = ended(state, subject, NOBODY)?;
    let account: Option<Account> = load(state, &key::account(sender))?;
    let judge = account.is_some_and(|a| matches!(a.role, AccountRole::Authority | AccountRole::Auditor));
    let party = [recorded.payer, recorded.payee].contains(sender);
    ensure(judge || party, Rejection::ObjectionDenied)?;
    // The window may have been lengthened since: what is settled stays so.
    let settled = state.get(&key::settlement(subject))?.is_some();
    ensure(!settled && disputable(context, recorded.at_ms), Rejection::ObjectionLate)?;
    let objection_key = key::objection(subject);
    ensure(state.get(&objection_key)?.is_none(), Rejection::ObjectionExists)?;

    let objection = Objection {
        by: *sender,
        reason,
        state: ObjectionState::Open,
        time_ms: context.header.time_ms,
        tx: context.tx_id,
        resolved_by: [0; 32],
    };
    state.put(objection_key, &objection);
    let (id, cycle) = subject.parts();
    Ok(vec![
        Event::new("SettlementObjected")
            .with("subject", id.as_slice())
            .with("cycle", cycle)
            .with("reason", u32::from(reason)),
    ])
}

/// An authority decides an objection.
pub(super) fn resolve<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    subject: &Subject,
    upheld: bool,
) -> Result<Vec<Event>, Stop> {
    let objection_key = key::objection(subject);
    let objection: Option<Objection> = load(state, &objection_key)?;
    let mut objection = objection.ok_or(Rejection::ObjectionUnknown)?;
    ensure(objection.state == ObjectionState::Open, Rejection::ObjectionDecided)?;

    objection.state = if upheld { ObjectionState::Upheld } else { ObjectionState::Dismissed };
    objection.resolved_by = context.tx_id;
    state.put(objection_key, &objection);
    let (id, cycle) = subject.parts();
    Ok(vec![
        Event::new("ObjectionResolved")
            .with("subject", id.as_slice())
            .with("cycle", cycle)
            .with("outcome", objection.state.name()),
    ])
}
