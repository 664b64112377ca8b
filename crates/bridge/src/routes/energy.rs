//! `GET /energy/{id}` (A110): what the ledger holds of a pack's energy; its cycles event by event, transfers and what is owed for both
//! (A121), and the market (A124).

use api::{
    encoding::{ComponentId, Hex},
    energy::{
        Account, CycleView, Cycled, Cycles, EventView, Flow, Kept, Market, Offered, Owed, Priced, ROWS_MAX,
        Transferred,
    },
    problem::code,
};
use axum::{Json, extract::State};
use lct::trade::TradeId;
use ledger::{records::Offer, tx::Subject};
use node::{Snapshot, Span};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{App, component::cid_of, id};
use crate::{
    authority::component_id,
    extract::{Options, Segments, When},
    list::{List, Page},
    memo::Lasting,
    refusal::{Refusal, Reply},
};

/// The energy account of a pack, its transfers and offers (A110).
#[utoipa::path(
    get,
    path = "/energy/{id}",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Account), (status = 404), (status = 410))
)]
pub(crate) async fn account(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Account>>> {
    app.told(when.height, move |snapshot| of(snapshot, &id).map(Json)).await
}

fn of(snapshot: &Snapshot<'_>, id: &str) -> Reply<Account> {
    let cid = cid_of(snapshot, id)?;
    let pool = snapshot.pool(&cid)?.ok_or_else(|| {
        Refusal::new(404, code::COMPONENT_NOT_FOUND, "the component is no pack with an energy account")
    })?;
    let kept = Kept {
        pool,
        owner: snapshot.ownership(&cid)?.map(|o| o.owner),
        transfers: snapshot.transfers_of(&cid)?,
        offers: snapshot.offers_of(&cid, &Span::all())?,
        height: snapshot.tip().height,
        time_ms: snapshot.tip().time_ms,
    };
    Ok(Account::of(component_id(snapshot, &cid)?, &cid, &kept))
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(404, code::ENERGY_NOT_FOUND, what)
}

/// The energy cycles of a pack, with what is owed for each (A121).
#[utoipa::path(
    get,
    path = "/energy/{id}/cycles",
    params(("id" = ComponentId, Path), Page, When),
    responses((status = 200, body = Cycles), (status = 404), (status = 410))
)]
pub(crate) async fn cycles(
    State(app): App,
    Segments(pack): Segments<String>,
    list: List<When>,
) -> Reply<Lasting<Json<Cycles>>> {
    let List { page, of: when } = list;
    app.told(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &pack)?;
        let rows = snapshot.cycles_of(&cid, &page.span(u32::from_be_bytes))?;
        let (rows, next) = page.of_span(rows, |row| row.number.to_be_bytes().to_vec());
        Ok(Json(Cycles {
            component_id: component_id(snapshot, &cid)?,
            cid: Hex(cid.0),
            height: snapshot.tip().height,
            cycles: rows.iter().map(|row| CycleView::of(row.number, &row.cycle, &row.owed)).collect(),
            next,
        }))
    })
    .await
}

/// Which events of a cycle, and after which block.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    /// Those after this one; from the first where it is left out.
    after: Option<u32>,
    /// Height of the block; the last one where it is left out.
    height: Option<u64>,
}

/// A cycle of a pack, event by event (A121).
#[utoipa::path(
    get,
    path = "/energy/{id}/cycles/{number}",
    params(("id" = ComponentId, Path), ("number" = u32, Path), Events),
    responses((status = 200, body = Cycled), (status = 404), (status = 410))
)]
pub(crate) async fn cycle(
    State(app): App,
    Segments((pack, number)): Segments<(String, u32)>,
    Options(events): Options<Events>,
) -> Reply<Lasting<Json<Cycled>>> {
    app.told(events.height, move |snapshot| {
        let cid = cid_of(snapshot, &pack)?;
        let found = snapshot.cycle(&cid, number)?.ok_or_else(|| unknown("the pack has no such cycle"))?;
        let owed = snapshot.owed(&Subject::Cycle { cid, cycle: number })?;
        let mut rows = snapshot.events_in(&cid, number, &Span::of(events.after, ROWS_MAX + 1))?;
        let more = rows.len() > ROWS_MAX;
        rows.truncate(ROWS_MAX);
        Ok(Json(Cycled {
            component_id: component_id(snapshot, &cid)?,
            cid: Hex(cid.0),
            height: snapshot.tip().height,
            sums: CycleView::of(number, &found, &owed),
            next: rows.last().map(|(seq, _)| *seq).filter(|_| more),
            flow: rows.iter().map(|(seq, event)| EventView::of(*seq, event)).collect(),
        }))
    })
    .await
}

/// A transfer of energy, with what is owed for it (A121).
#[utoipa::path(
    get,
    path = "/energy/transfers/{id}",
    params(("id" = Hex<16>, Path), When),
    responses((status = 200, body = Transferred), (status = 404), (status = 410))
)]
pub(crate) async fn transfer(
    State(app): App,
    Segments(transfer): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Transferred>>> {
    let transfer = TradeId(id("transfer", &transfer)?.0);
    app.told(when.height, move |snapshot| {
        let found = snapshot.transfer(&transfer)?.ok_or_else(|| unknown("there is no such transfer"))?;
        let owed = snapshot.owed(&Subject::Transfer(transfer))?;
        Ok(Json(Transferred {
            height: snapshot.tip().height,
            flow: Flow::of(&transfer, &found, owed.0.as_ref()),
            owed: Owed::of(&owed),
        }))
    })
    .await
}

/// Which offers, and after which block.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// `energy` or `capacity`; both where it is left out.
    #[param(pattern = "^(energy|capacity)$")]
    what: Option<String>,
    /// Height of the block; the last one where it is left out.
    height: Option<u64>,
}

/// The offers of everybody that stand, the cheapest first (A124).
#[utoipa::path(
    get,
    path = "/offers",
    params(Page, Wanted),
    responses((status = 200, body = Market), (status = 404), (status = 410))
)]
pub(crate) async fn offers(State(app): App, list: List<Wanted>) -> Reply<Lasting<Json<Market>>> {
    let List { page, of: wanted } = list;
    let capacity = match wanted.what.as_deref() {
        None => None,
        Some("energy") => Some(false),
        Some("capacity") => Some(true),
        Some(_) => return Err(Refusal::format("what: energy or capacity")),
    };
    app.told(wanted.height, move |snapshot| {
        let tip = snapshot.tip();
        // Price and id.
        let place = |[a, b, c, d, e, f, g, h, id @ ..]: [u8; 24]| {
            (u64::from_be_bytes([a, b, c, d, e, f, g, h]), TradeId(id))
        };
        let standing = snapshot.market(capacity, &page.span(place))?;
        let named = |(id, offer): &(TradeId, Offer)| [&offer.price.to_be_bytes()[..], &id.0].concat();
        let (standing, next) = page.of_span(standing, named);
        let priced = |(id, offer): &(TradeId, Offer)| {
            Ok(Priced {
                component_id: component_id(snapshot, &offer.cid)?,
                cid: Hex(offer.cid.0),
                offer: Offered::of(id, offer),
            })
        };
        let offers = standing.iter().map(priced).collect::<Reply<_>>()?;
        Ok(Json(Market { height: tip.height, time: tip.time_ms / 1000, offers, next }))
    })
    .await
}
