//! `GET /energy/{id}` (A110): what the ledger holds of a pack's energy.

use api::{
    encoding::ComponentId,
    energy::{Account, Kept},
    problem::code,
};
use axum::{Json, extract::State};
use node::Snapshot;

use super::{App, component::cid_of};
use crate::{
    authority::component_id,
    extract::{Options, Segments, When},
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
) -> Reply<Json<Account>> {
    app.state(when.height, move |snapshot| of(snapshot, &id).map(Json)).await
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
        offers: snapshot.offers_of(&cid)?,
        height: snapshot.tip().height,
        time_ms: snapshot.tip().time_ms,
    };
    Ok(Account::of(component_id(snapshot, &cid)?, &cid, &kept))
}
