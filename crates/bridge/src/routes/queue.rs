//! `GET /components/{id}/queue`, `GET /queue/{request id}` (A119).

use api::{
    encoding::{ComponentId, Hex},
    problem::code,
    queue::{Request, Waiting},
};
use axum::{Json, extract::State};
use ledger::records::registry::QueueId;

use super::{App, component::cid_of, id};
use crate::{
    authority::component_id,
    extract::{Options, Segments, When},
    memo::Lasting,
    refusal::{Refusal, Reply},
};

/// What waits in the queue of a component (A119).
#[utoipa::path(
    get,
    path = "/components/{id}/queue",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Waiting), (status = 404), (status = 410))
)]
pub(crate) async fn of_component(
    State(app): App,
    Segments(component): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Waiting>>> {
    app.told(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &component)?;
        let height = snapshot.tip().height;
        let requests = snapshot.queue_of(&cid)?;
        Ok(Json(Waiting {
            component_id: component_id(snapshot, &cid)?,
            cid: Hex(cid.0),
            height,
            requests: requests.iter().map(|(id, request)| Request::of(id, height, request)).collect(),
        }))
    })
    .await
}

/// A request of a queue, also one that waits no more (A119).
#[utoipa::path(
    get,
    path = "/queue/{id}",
    params(("id" = Hex<16>, Path), When),
    responses((status = 200, body = Request), (status = 404), (status = 410))
)]
pub(crate) async fn request(
    State(app): App,
    Segments(request): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Request>>> {
    let id = QueueId(id("request id", &request)?.0);
    app.told(when.height, move |snapshot| {
        let found = snapshot.queued(&id)?.ok_or_else(|| {
            Refusal::new(404, code::QUEUE_NOT_FOUND, "there is no such request in any queue")
        })?;
        Ok(Json(Request::of(&id, snapshot.tip().height, &found)))
    })
    .await
}
