//! `POST /orders`, `GET /orders`, `GET /orders/{id}`, `POST /orders/{id}/outcome` (A60 to A63).

use api::order::{Order, Orders, Outcome, Place};
use axum::{Json, extract::State};

use super::App;
use crate::{
    extract::{self, Body, Segments},
    refusal::Reply,
};

pub(crate) async fn place(State(app): App, Body(request): Body<Place>) -> Reply<Json<Order>> {
    extract::label("creator", &request.creator)?;
    app.authority.call(move |core| core.place_order(&request)).await.map(Json)
}

pub(crate) async fn waiting(State(app): App) -> Reply<Json<Orders>> {
    app.authority.call(|core| core.waiting_orders()).await.map(Json)
}

pub(crate) async fn order(State(app): App, Segments(id): Segments<String>) -> Reply<Json<Order>> {
    let id = super::id("id", &id)?;
    app.authority.call(move |core| core.order(&id)).await.map(Json)
}

pub(crate) async fn outcome(
    State(app): App,
    Segments(id): Segments<String>,
    Body(request): Body<Outcome>,
) -> Reply<Json<Order>> {
    let id = super::id("id", &id)?;
    app.authority.call(move |core| core.order_outcome(&id, &request)).await.map(Json)
}
