//! `GET /time-token`, `GET /revocations`, `POST /revocations` (A43 to A46).

use api::revocation::{Revocations, Revoke, TimeToken};
use axum::{Json, extract::State};

use super::App;
use crate::{
    extract::{self, Body},
    refusal::Reply,
};

/// The time under the signature of the authority (A43).
#[utoipa::path(
    get,
    path = "/time-token",
    responses((status = 200, body = TimeToken))
)]
pub(crate) async fn time_token(State(app): App) -> Reply<Json<TimeToken>> {
    app.authority.call(|core| core.time_token()).await.map(Json)
}

/// The revocation list in force (A44).
#[utoipa::path(
    get,
    path = "/revocations",
    responses((status = 200, body = Revocations))
)]
pub(crate) async fn list(State(app): App) -> Reply<Json<Revocations>> {
    app.authority.call(|core| core.revocation_list()).await.map(Json)
}

/// Revokes; answers once the list that says so is on disk (A45).
#[utoipa::path(
    post,
    path = "/revocations",
    request_body = Revoke,
    responses((status = 200, body = Revocations), (status = 401), (status = 403), (status = 404), (status = 409))
)]
pub(crate) async fn revoke(State(app): App, Body(request): Body<Revoke>) -> Reply<Json<Revocations>> {
    extract::label("creator", &request.creator)?;
    app.authority.call(move |core| core.revoke(&request)).await?;
    // It is in force for devices. What the ledger does not hold by now it is told again, without this request.
    let _later = app.withdraw().await;
    app.authority.call(|core| core.revocation_list()).await.map(Json)
}
