//! `GET /policies`, `GET /policies/{id}`, `POST /policies`, `POST /policies/{id}/signatures` (A47 to A50).

use api::{
    encoding::Hex,
    policy::{Policy, Propose, Sign, Standings},
};
use axum::{Json, extract::State};
use lct::id::{BindingId, Cid, valid_component_id};
use serde::Deserialize;

use super::{App, id};
use crate::{
    extract::{self, Body, Options, Segments},
    refusal::{Refusal, Reply},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of {
    /// Only of its bindings.
    component: Option<String>,
}

pub(crate) async fn list(State(app): App, Options(of): Options<Of>) -> Reply<Json<Standings>> {
    if of.component.as_deref().is_some_and(|name| !valid_component_id(name)) {
        return Err(Refusal::format("component: 3 to 64 characters of A-Z, a-z, 0-9, _ and -"));
    }
    let cid = of.component.as_deref().map(Cid::of);
    let policies = app.authority.call(move |core| core.policies(cid)).await?;
    Ok(Json(Standings { policies }))
}

pub(crate) async fn policy(State(app): App, Segments(binding): Segments<String>) -> Reply<Json<Policy>> {
    let Hex(binding) = id("binding id", &binding)?;
    app.authority.call(move |core| core.policy(BindingId(binding))).await.map(Json)
}

pub(crate) async fn propose(State(app): App, Body(request): Body<Propose>) -> Reply<Json<Standings>> {
    extract::label("creator", &request.creator)?;
    let policies = app.authority.call(move |core| core.propose_policy(&request)).await?;
    Ok(Json(Standings { policies }))
}

pub(crate) async fn sign(
    State(app): App,
    Segments(binding): Segments<String>,
    Body(request): Body<Sign>,
) -> Reply<Json<Policy>> {
    let Hex(binding) = id("binding id", &binding)?;
    app.authority.call(move |core| core.sign_policy(BindingId(binding), &request)).await.map(Json)
}
