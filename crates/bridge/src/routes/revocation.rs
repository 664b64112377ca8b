//! `GET /time-token`, `GET /revocations`, `POST /revocations` (A43 to A46).

use api::revocation::{Revocations, Revoke, TimeToken};
use axum::{Json, extract::State};

use super::App;
use crate::{
    extract::{self, Body},
    refusal::Reply,
};

pub(crate) async fn time_token(State(app): App) -> Reply<Json<TimeToken>> {
    app.authority.call(|core| core.time_token()).await.map(Json)
}

pub(crate) async fn list(State(app): App) -> Reply<Json<Revocations>> {
    app.authority.call(|core| core.revocation_list()).await.map(Json)
}

pub(crate) async fn revoke(State(app): App, Body(request): Body<Revoke>) -> Reply<Json<Revocations>> {
    extract::label("creator", &request.creator)?;
    app.authority.call(move |core| core.revoke(&request)).await?;
    // It is in force for devices. What the ledger does not hold by now it is told again, without this request.
    let _later = app.withdraw().await;
    app.authority.call(|core| core.revocation_list()).await.map(Json)
}
