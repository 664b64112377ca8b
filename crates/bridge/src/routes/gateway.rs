//! `POST /gateways/{id}` (A129).

use std::time::Instant;

use api::{
    encoding::ComponentId,
    gateway::{Report, Reported},
};
use axum::{
    Extension, Json,
    extract::{Request, State},
    http::Method,
};

use super::App;
use crate::{
    authority::component,
    extract::{Body, Segments},
    ops::gateways::WITHIN,
    refusal::Reply,
    rest::Routine,
};

/// Whether a request is a report of a gateway, as far as its path tells.
pub(crate) fn is_report(request: &Request) -> bool {
    let path = request.uri().path().strip_prefix(api::PREFIX);
    request.method() == Method::POST && path.is_some_and(|path| path.starts_with("/gateways/"))
}

/// A gateway says how its bus is, by the component id of its app (A129).
#[utoipa::path(
    post,
    path = "/gateways/{id}",
    params(("id" = ComponentId, Path)),
    request_body = Report,
    responses((status = 200, body = Reported), (status = 404), (status = 409), (status = 410))
)]
pub(crate) async fn report(
    State(app): App,
    Segments(id): Segments<String>,
    Body(report): Body<Report>,
) -> Reply<(Extension<Routine>, Json<Reported>)> {
    let named = id.clone();
    app.state(None, move |snapshot| component(snapshot, "id", &named).map(drop)).await?;
    app.gateways.hear(&id, report.bus, Instant::now())?;
    Ok((Extension(Routine), Json(Reported { within: WITHIN.as_secs() })))
}
