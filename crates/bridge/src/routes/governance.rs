//! `GET /governance`, `GET /governance/accounts` (A118).

use api::{
    encoding::Hex,
    governance::{Accounts, Governed, InForce},
};
use axum::{Json, extract::State};

use super::App;
use crate::{
    extract::{Options, When},
    refusal::Reply,
};

/// What governs the next block, and what is decided for later (A118).
#[utoipa::path(
    get,
    path = "/governance",
    params(When),
    responses((status = 200, body = Governed), (status = 404), (status = 410))
)]
pub(crate) async fn governance(State(app): App, Options(when): Options<When>) -> Reply<Json<Governed>> {
    app.state(when.height, |snapshot| {
        let tip = snapshot.tip();
        let in_force = InForce {
            params: snapshot.params()?,
            validators: snapshot.validators()?,
            roots: snapshot.roots()?,
            rules: snapshot.rules()?,
            decided: snapshot.decided()?,
        };
        Ok(Json(Governed::of(Hex(tip.chain_id), (tip.height, tip.time_ms), in_force)))
    })
    .await
}

/// Every account that there is or was (A118).
#[utoipa::path(
    get,
    path = "/governance/accounts",
    params(When),
    responses((status = 200, body = Accounts), (status = 404), (status = 410))
)]
pub(crate) async fn accounts(State(app): App, Options(when): Options<When>) -> Reply<Json<Accounts>> {
    app.state(when.height, |snapshot| Ok(Json(Accounts::of(snapshot.tip().height, &snapshot.accounts()?))))
        .await
}
