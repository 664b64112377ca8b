//! `POST /orders`, `GET /orders`, `GET /orders/{id}`, `POST /orders/{id}/outcome` (A60 to A63).

use api::{
    encoding::Hex,
    order::{Order, Orders, Outcome, Place},
};
use axum::{Json, extract::State};

use super::App;
use crate::{
    extract::{self, Body, Segments},
    list::{List, Nothing, Page},
    refusal::Reply,
};

/// Orders what is to be done with a pack (A61).
#[utoipa::path(
    post,
    path = "/orders",
    request_body = Place,
    responses((status = 200, body = Order), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410))
)]
pub(crate) async fn place(State(app): App, Body(request): Body<Place>) -> Reply<Json<Order>> {
    extract::label("creator", &request.creator)?;
    app.authority.call(move |core| core.place_order(&request)).await.map(Json)
}

/// The orders that wait, oldest first (A62).
#[utoipa::path(
    get,
    path = "/orders",
    params(Page),
    responses((status = 200, body = Orders))
)]
pub(crate) async fn waiting(State(app): App, list: List<Nothing>) -> Reply<Json<Orders>> {
    let waiting = app.authority.call(|core| core.waiting_orders()).await?;
    let place = |order: &Order| [&order.placed_at.to_be_bytes()[..], &order.id.0].concat();
    let (orders, next) = list.page.cut(waiting, place);
    Ok(Json(Orders { orders, next }))
}

/// An order and what became of it (A62).
#[utoipa::path(
    get,
    path = "/orders/{id}",
    params(("id" = Hex<16>, Path)),
    responses((status = 200, body = Order), (status = 404))
)]
pub(crate) async fn order(State(app): App, Segments(id): Segments<String>) -> Reply<Json<Order>> {
    let id = super::id("id", &id)?;
    app.authority.call(move |core| core.order(&id)).await.map(Json)
}

/// Tells what became of an order (A63).
#[utoipa::path(
    post,
    path = "/orders/{id}/outcome",
    params(("id" = Hex<16>, Path)),
    request_body = Outcome,
    responses((status = 200, body = Order), (status = 401), (status = 403), (status = 404), (status = 409))
)]
pub(crate) async fn outcome(
    State(app): App,
    Segments(id): Segments<String>,
    Body(request): Body<Outcome>,
) -> Reply<Json<Order>> {
    let id = super::id("id", &id)?;
    app.authority.call(move |core| core.order_outcome(&id, &request)).await.map(Json)
}
