//! `POST /webhooks`, `GET /webhooks`, `GET /webhooks/{id}` (A187, A189).

use std::sync::Arc;

use api::{
    encoding::Hex,
    webhook::{Letters, Order, Webhook, Webhooks},
};
use axum::{Json, extract::State};

use crate::{
    Shared,
    extract::{self, Body, Segments},
    refusal::Reply,
};

/// Sets up a web hook, replays events to it, or removes it (A187).
#[utoipa::path(
    post,
    path = "/webhooks",
    request_body = Order,
    responses((status = 200, body = Webhook), (status = 401), (status = 403), (status = 404), (status = 409))
)]
pub(crate) async fn order(State(app): State<Arc<Shared>>, Body(order): Body<Order>) -> Reply<Json<Webhook>> {
    extract::label("creator", &order.creator)?;
    let (shared, now) = (app.clone(), app.now_s());
    app.blocking(move |chain| shared.webhooks.order(chain, &order, now).map(Json)).await
}

/// How far every receiver is (A189).
#[utoipa::path(get, path = "/webhooks", responses((status = 200, body = Webhooks)))]
pub(crate) async fn list(State(app): State<Arc<Shared>>) -> Reply<Json<Webhooks>> {
    let shared = app.clone();
    app.blocking(move |_| Ok(Json(Webhooks { webhooks: shared.webhooks.list()? }))).await
}

/// How far a receiver is, and what was given up for it (A189).
#[utoipa::path(
    get,
    path = "/webhooks/{id}",
    params(("id" = Hex<16>, Path)),
    responses((status = 200, body = Letters), (status = 404))
)]
pub(crate) async fn letters(
    State(app): State<Arc<Shared>>,
    Segments(id): Segments<String>,
) -> Reply<Json<Letters>> {
    let id: Hex<16> = crate::routes::id("id", &id)?;
    let shared = app.clone();
    app.blocking(move |_| shared.webhooks.letters(&id).map(Json)).await
}
