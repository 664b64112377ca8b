//! `GET /commitments/{commitment}`, `GET /commitments/pairs/{id}` (A120).

use api::{
    commitment::{Committed, CommittedPair, Value},
    encoding::Hex,
    problem::code,
};
use axum::{Json, extract::State};
use node::Snapshot;

use super::{App, id};
use crate::{
    extract::{Options, Segments, When},
    memo::Lasting,
    refusal::{Refusal, Reply},
};

fn unknown() -> Refusal {
    Refusal::new(404, code::COMMITMENT_NOT_FOUND, "nothing is recorded under this commitment or id")
}

fn opened(snapshot: &Snapshot<'_>, commitment: [u8; 32]) -> Reply<Option<Value>> {
    Ok(snapshot.opened(&commitment)?.map(|found| Value::of(Hex(commitment), &found)))
}

/// What is recorded of a component under its commitment (A120).
#[utoipa::path(
    get,
    path = "/commitments/{id}",
    params(("id" = Hex<32>, Path), When),
    responses((status = 200, body = Committed), (status = 404), (status = 410))
)]
pub(crate) async fn component(
    State(app): App,
    Segments(commitment): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Committed>>> {
    let commitment: Hex<32> = id("commitment", &commitment)?;
    app.told(when.height, move |snapshot| {
        let found = snapshot.anonymous(&commitment.0)?.ok_or_else(unknown)?;
        let mut values = Vec::new();
        for of in [commitment.0, found.0.manufacturer, found.0.category] {
            values.extend(opened(snapshot, of)?);
        }
        Ok(Json(Committed::of(commitment, snapshot.tip().height, &found, values)))
    })
    .await
}

/// An authorisation of one committed component for another (A120).
#[utoipa::path(
    get,
    path = "/commitments/pairs/{id}",
    params(("id" = Hex<32>, Path), When),
    responses((status = 200, body = CommittedPair), (status = 404), (status = 410))
)]
pub(crate) async fn pair(
    State(app): App,
    Segments(pair): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<CommittedPair>>> {
    let pair: Hex<32> = id("authorization id", &pair)?;
    app.told(when.height, move |snapshot| {
        let found = snapshot.anonymous_authorization(&pair.0)?.ok_or_else(unknown)?;
        let rule = opened(snapshot, found.rule)?;
        Ok(Json(CommittedPair::of(pair, snapshot.tip().height, &found, rule)))
    })
    .await
}
