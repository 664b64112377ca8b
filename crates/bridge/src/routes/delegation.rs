//! `POST /delegations`, `GET /delegations`, `GET /delegations/{id}` (A70 to A72), `GET /delegations/{id}/brief` (A205).

use ::lct::{
    delegation::DelegationId,
    id::{Cid, valid_component_id},
};
use api::{
    delegation::{Brief, Delegate, Delegated, Delegations},
    encoding::Hex,
};
use axum::{Json, extract::State};

use super::App;
use crate::{
    authority::delegation,
    extract::{self, Body, Options, Segments, When},
    list::{List, Page},
    refusal::{Refusal, Reply},
};
use serde::Deserialize;

/// Components that a brief tells of beside its packs, at most.
const BESIDE_MAX: usize = 64;

/// Delegates operations of the authority; answers once a block holds it (A70).
#[utoipa::path(
    post,
    path = "/delegations",
    request_body = Delegate,
    responses((status = 200, body = Delegated), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410), (status = 422), (status = 504))
)]
pub(crate) async fn issue(State(app): App, Body(request): Body<Delegate>) -> Reply<Json<Delegated>> {
    extract::label("creator", &request.creator)?;
    let (id, tx) = app.authority.call(move |core| core.delegate(&request)).await?;
    if let Some(tx) = tx {
        app.included(&tx).await?;
    }
    app.blocking(move |chain| delegation::one(&chain.read()?, id)).await.map(Json)
}

/// Every delegation that the ledger holds (A71).
#[utoipa::path(
    get,
    path = "/delegations",
    params(Page, When),
    responses((status = 200, body = Delegations), (status = 404), (status = 410))
)]
pub(crate) async fn list(State(app): App, list: List<When>) -> Reply<Json<Delegations>> {
    let List { page, of: when } = list;
    app.state(when.height, move |snapshot| delegation::all(snapshot, &page)).await.map(Json)
}

/// A delegation and what was done under it (A72).
#[utoipa::path(
    get,
    path = "/delegations/{id}",
    params(("id" = Hex<16>, Path), When),
    responses((status = 200, body = Delegated), (status = 404), (status = 410))
)]
pub(crate) async fn one(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Json<Delegated>> {
    let id = DelegationId(super::id::<16>("id", &id)?.0);
    app.state(when.height, move |snapshot| delegation::one(snapshot, id)).await.map(Json)
}

/// What the holder of a delegation has to know where there is no network (A205).
#[utoipa::path(
    get,
    path = "/delegations/{id}/brief",
    params(("id" = Hex<16>, Path), Beside),
    responses((status = 200, body = Brief), (status = 404), (status = 410))
)]
pub(crate) async fn brief(
    State(app): App,
    Segments(id): Segments<String>,
    Options(Beside { beside }): Options<Beside>,
) -> Reply<Json<Brief>> {
    let id = DelegationId(super::id::<16>("id", &id)?.0);
    let beside: Vec<&str> = beside.iter().flat_map(|ids| ids.split(',')).collect();
    if beside.len() > BESIDE_MAX || !beside.iter().all(|id| valid_component_id(id)) {
        return Err(Refusal::format(format!(
            "beside: at most {BESIDE_MAX} component ids, separated by commas"
        )));
    }
    let beside: Vec<Cid> = beside.into_iter().map(Cid::of).collect();
    app.authority.call(move |core| core.brief(id, &beside)).await.map(Json)
}

/// What a brief tells of beside the packs of its delegation.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beside {
    /// Component ids, separated by commas: whether each has an owner.
    #[param(pattern = "^[A-Za-z0-9_-]{3,64}(,[A-Za-z0-9_-]{3,64}){0,63}$")]
    beside: Option<String>,
}
