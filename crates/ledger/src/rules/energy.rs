//! Energy events and the close of a cycle (L50 to L55).
//!
//! A pool holds `minted` mWh, split into ATP (charged), ADP (room) and what transfers hold (`trade`). A charge moves its energy ADP to ATP,
//! a discharge ATP to ADP. An opening moves the pool to the signed state of charge; the difference counts as
//! untracked charge or discharge. An estimated state of charge is never exact: when an event exceeds what the
//! pool holds, the excess is first booked as untracked, up to a share of the capacity per cycle
//! (`Params::pool_tolerance_ppm`), so that a measured event is not lost and every sum still balances.

use alloc::{vec, vec::Vec};

use lct::energy::{CycleClose, EnergyEvent, EnergyKind};

use super::{Claim, Context, Stop, check_believed, count, ensure, ownership::owner_when, relation, trust};
use crate::{
    energy::share,
    outcome::Event,
    records::{Cycle, EnergyRecord, NOBODY, Pool, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::Signed,
};

/// mW times ms per mWh.
const MW_MS_PER_MWH: u128 = 3_600_000;

/// Whether energy and mean power of an event agree within 2 percent of the energy or within 1 mWh.
fn agrees(e: &EnergyEvent) -> bool {
    let by_power = u128::from(e.mean_mw) * u128::from(e.end_ms.saturating_sub(e.start_ms));
    let stated = u128::from(e.mwh) * MW_MS_PER_MWH;
    let difference = by_power.abs_diff(stated);
    difference <= MW_MS_PER_MWH || difference <= stated / 50
}

/// How an event moves a pool.
struct Move {
    /// Energy booked as untracked charge before the event.
    untracked_in: u64,
    /// Energy booked as untracked discharge before the event.
    untracked_out: u64,
    /// Charged by the event.
    charge: u64,
    /// Discharged by the event.
    discharge: u64,
    /// Part of the untracked energy that counts against the tolerance.
    excess: u64,
}

fn plan(pool: &Pool, e: &EnergyEvent) -> Result<Move, Rejection> {
    let mut m = Move { untracked_in: 0, untracked_out: 0, charge: 0, discharge: 0, excess: 0 };
    let free = pool.minted.saturating_sub(pool.locked);
    match e.kind {
        EnergyKind::Opening => {
            // What is locked is in the pack too, and is promised: it stays.
            let target = share(pool.minted, e.soc_ppm).saturating_sub(pool.locked);
            m.untracked_in = target.saturating_sub(pool.atp);
            m.untracked_out = pool.atp.saturating_sub(target);
        }
        EnergyKind::Charge => {
            ensure(e.mwh <= free, Rejection::EnergyAdp)?;
            m.charge = e.mwh;
            m.excess = e.mwh.saturating_sub(pool.adp);
            m.untracked_out = m.excess;
        }
        EnergyKind::Discharge => {
            ensure(e.mwh <= free, Rejection::EnergyAtp)?;
            m.discharge = e.mwh;
            m.excess = e.mwh.saturating_sub(pool.atp);
            m.untracked_in = m.excess;
        }
    }
    Ok(m)
}

/// Books a plan; `None` if the pool cannot, which [`plan`] excludes.
fn book(pool: &mut Pool, m: &Move) -> Option<()> {
    let atp = pool.atp.checked_add(m.untracked_in)?.checked_sub(m.untracked_out)?;
    pool.atp = atp.checked_add(m.charge)?.checked_sub(m.discharge)?;
    pool.adp = pool.minted.checked_sub(pool.locked)?.checked_sub(pool.atp)?;
    pool.untracked_charged = pool.untracked_charged.checked_add(m.untracked_in.into())?;
    pool.untracked_discharged = pool.untracked_discharged.checked_add(m.untracked_out.into())?;
    pool.charged = pool.charged.checked_add(m.charge.into())?;
    pool.discharged = pool.discharged.checked_add(m.discharge.into())?;
    Some(())
}

pub(super) fn event<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
) -> Result<Vec<Event>, Stop> {
    let e = EnergyEvent::decode(&signed.statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = e.digest().map_err(|_| Rejection::StatementFormat)?;
    check_believed(state, context, signed, &Claim { cid: e.cid, digest, end_ms: e.end_ms })?;
    let pool: Option<Pool> = load(state, &key::pool(&e.cid))?;
    let mut pool = pool.ok_or(Rejection::EnergyPool)?;
    let opening = e.kind == EnergyKind::Opening;
    ensure(e.cycle > 0 && (!opening || (e.mwh, e.mean_mw) == (0, 0)), Rejection::EnergyShape)?;
    ensure(opening || e.end_ms > e.start_ms, Rejection::EnergyInterval)?;
    ensure(opening || agrees(&e), Rejection::EnergyMismatch)?;
    let cycle_key = key::cycle(&e.cid, e.cycle);
    let known: Option<Cycle> = load(state, &cycle_key)?;
    ensure(known.as_ref().is_none_or(|c| c.closed_ms == 0), Rejection::EnergyCycleClosed)?;
    let follows = pool.events == 0 || (e.cycle, e.seq) > (pool.last_cycle, pool.last_seq);
    ensure(follows, Rejection::EnergySequence)?;
    ensure(known.as_ref().is_none_or(|c| e.start_ms >= c.end_ms), Rejection::EnergyOverlap)?;
    let begins = known.is_none() && pool.events > 0;
    let mut cycle = known.unwrap_or(Cycle {
        events: 0,
        charged: 0,
        discharged: 0,
        start_ms: e.start_ms,
        end_ms: e.start_ms,
        excess: 0,
        closed_ms: 0,
        owner: Some(NOBODY),
    });
    let beyond = if e.kind == EnergyKind::Charge { Rejection::EnergyAdp } else { Rejection::EnergyAtp };
    let m = plan(&pool, &e)?;
    cycle.excess = cycle.excess.checked_add(m.excess).ok_or(beyond)?;
    ensure(cycle.excess <= share(pool.minted, context.params.pool_tolerance_ppm), beyond)?;

    if begins {
        let last: Option<Cycle> = load(state, &key::cycle(&e.cid, pool.last_cycle))?;
        if last.is_some_and(|c| c.closed_ms == 0) {
            trust::cycle_left(state, context, &e.cid)?;
        }
    }
    let atp_before = pool.atp;
    book(&mut pool, &m).ok_or(Halt::Invariant("an energy pool cannot book a planned event"))?;
    pool.last_cycle = e.cycle;
    pool.last_seq = e.seq;
    pool.events += 1;
    // An event moves at most 1 GWh and a cycle has at most 2^32 events, so sums of a cycle stay in 64 bits
    // only up to 2^64 mWh; beyond that the event is refused rather than wrapped.
    cycle.charged = cycle.charged.checked_add(m.charge).ok_or(beyond)?;
    cycle.discharged = cycle.discharged.checked_add(m.discharge).ok_or(beyond)?;
    cycle.events = cycle.events.checked_add(1).ok_or(Rejection::EnergySequence)?;
    cycle.end_ms = e.end_ms;
    state.put(cycle_key, &cycle);
    state.put(key::pool(&e.cid), &pool);
    let record = EnergyRecord {
        kind: e.kind as u8,
        mwh: e.mwh,
        start_ms: e.start_ms,
        end_ms: e.end_ms,
        tx: context.tx_id,
    };
    state.put(key::energy(&e.cid, e.cycle, e.seq), &record);
    let atp_after = pool.atp;
    count(state, |t| {
        t.energy_events += 1;
        t.charged += u128::from(m.charge);
        t.discharged += u128::from(m.discharge);
        t.untracked_charged += u128::from(m.untracked_in);
        t.untracked_discharged += u128::from(m.untracked_out);
        t.atp = t.atp + u128::from(atp_after) - u128::from(atp_before);
    })?;
    let kind = match e.kind {
        EnergyKind::Charge => "EnergyCharged",
        EnergyKind::Discharge => "EnergyDischarged",
        EnergyKind::Opening => "EnergyOpened",
    };
    Ok(vec![
        Event::new(kind)
            .with("cid", e.cid.0.as_slice())
            .with("cycle", e.cycle)
            .with("seq", e.seq)
            .with("mwh", e.mwh)
            .with("atp_mwh", atp_after),
    ])
}

pub(super) fn close<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
) -> Result<Vec<Event>, Stop> {
    let c = CycleClose::decode(&signed.statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = c.digest().map_err(|_| Rejection::StatementFormat)?;
    check_believed(state, context, signed, &Claim { cid: c.cid, digest, end_ms: c.end_ms })?;
    let cycle_key = key::cycle(&c.cid, c.cycle);
    let known: Option<Cycle> = load(state, &cycle_key)?;
    let mut cycle = known.ok_or(Rejection::CycleUnknown)?;
    ensure(cycle.closed_ms == 0, Rejection::CycleClosed)?;
    let recorded = (cycle.events, cycle.charged, cycle.discharged, cycle.start_ms, cycle.end_ms);
    let stated = (c.events, c.charged_mwh, c.discharged_mwh, c.start_ms, c.end_ms);
    ensure(recorded == stated, Rejection::CycleMismatch)?;

    cycle.closed_ms = context.header.time_ms;
    cycle.owner = Some(owner_when(state, &c.cid, c.end_ms)?.unwrap_or(NOBODY));
    state.put(cycle_key, &cycle);
    relation::cycle_closed(state, context, &c.cid, c.cycle, &cycle)?;
    let pool: Option<Pool> = load(state, &key::pool(&c.cid))?;
    let pool = pool.ok_or(Halt::Invariant("a cycle without pool"))?;
    trust::cycle_closed(state, context, &c.cid, &pool, pool.last_cycle == c.cycle)?;
    count(state, |t| t.cycles_closed += 1)?;
    Ok(vec![
        Event::new("EnergyCycleClosed")
            .with("cid", c.cid.0.as_slice())
            .with("cycle", c.cycle)
            .with("events", c.events)
            .with("charged_mwh", c.charged_mwh)
            .with("discharged_mwh", c.discharged_mwh),
    ])
}
