//! `GET /policies`, `GET /policies/{id}`, `POST /policies`, `POST /policies/{id}/signatures` (A47 to A50).

use api::{
    encoding::{ComponentId, Hex},
    policy::{Policy, Propose, Sign, Standings},
};
use axum::{Json, extract::State};
use lct::id::{BindingId, Cid, valid_component_id};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{App, id};
use crate::{
    extract::{self, Body, Segments},
    list::{List, Page},
    refusal::{Refusal, Reply},
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of {
    /// Only of its bindings.
    #[param(value_type = Option<ComponentId>)]
    component: Option<String>,
}

/// Where the policies of the bindings stand (A47).
#[utoipa::path(
    get,
    path = "/policies",
    params(Page, Of),
    responses((status = 200, body = Standings), (status = 404))
)]
pub(crate) async fn list(State(app): App, list: List<Of>) -> Reply<Json<Standings>> {
    let List { page, of } = list;
    if of.component.as_deref().is_some_and(|name| !valid_component_id(name)) {
        return Err(Refusal::format("component: 3 to 64 characters of A-Z, a-z, 0-9, _ and -"));
    }
    let cid = of.component.as_deref().map(Cid::of);
    let policies = app.authority.call(move |core| core.policies(cid)).await?;
    let (policies, next) = page.cut(policies, |standing| standing.binding_id.0.to_vec());
    Ok(Json(Standings { policies, next }))
}

/// The policy of a binding (A48).
#[utoipa::path(
    get,
    path = "/policies/{id}",
    params(("id" = Hex<16>, Path)),
    responses((status = 200, body = Policy), (status = 404))
)]
pub(crate) async fn policy(State(app): App, Segments(binding): Segments<String>) -> Reply<Json<Policy>> {
    let Hex(binding) = id("binding id", &binding)?;
    app.authority.call(move |core| core.policy(BindingId(binding))).await.map(Json)
}

/// Orders a policy for bindings (A49).
#[utoipa::path(
    post,
    path = "/policies",
    request_body = Propose,
    responses((status = 200, body = Standings), (status = 401), (status = 403), (status = 404), (status = 409))
)]
pub(crate) async fn propose(State(app): App, Body(request): Body<Propose>) -> Reply<Json<Standings>> {
    extract::label("creator", &request.creator)?;
    let policies = app.authority.call(move |core| core.propose_policy(&request)).await?;
    Ok(Json(Standings { policies, next: None }))
}

/// Takes the signatures of both sides under a proposal (A50).
#[utoipa::path(
    post,
    path = "/policies/{id}/signatures",
    params(("id" = Hex<16>, Path)),
    request_body = Sign,
    responses((status = 200, body = Policy), (status = 401), (status = 404), (status = 409))
)]
pub(crate) async fn sign(
    State(app): App,
    Segments(binding): Segments<String>,
    Body(request): Body<Sign>,
) -> Reply<Json<Policy>> {
    let Hex(binding) = id("binding id", &binding)?;
    app.authority.call(move |core| core.sign_policy(BindingId(binding), &request)).await.map(Json)
}
