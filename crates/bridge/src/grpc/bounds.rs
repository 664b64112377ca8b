//! What bounds a call of gRPC beyond what bounds every request: its deadline, and the end of the bridge (A196).

use std::{sync::Arc, time::Duration};

use api::problem::code;
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use hyper::{HeaderMap, body::Frame, header};
use tokio::{sync::oneshot, time::Instant};
use tonic::Status;

use super::status::timeout;
use crate::{
    Shared,
    access::{Known, pass::Pass},
    refusal::Refusal,
    until::until,
};

/// How long somebody may ask what the service has.
const REFLECTION: Duration = Duration::from_secs(45);
/// After so long every stream ends, and its reader comes back with its cursor.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Whether a request speaks gRPC. A page of another origin cannot send this type without asking.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    media == b"application/grpc" || media == b"application/grpc+proto"
}

/// Whether a request is a call of gRPC, of whatever service.
pub(crate) fn is_call(request: &Request) -> bool {
    let service = request.uri().path().split('/').nth(1);
    is_grpc(request.headers()) && service.is_some_and(|name| name.contains('.'))
}

/// Lets a call run until its deadline, and its stream until then, until the bridge ends, or its reader may not ask any more.
pub(super) async fn bounded(State(app): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) {
        let refusal = Refusal::new(415, code::MEDIA, "this is a method of gRPC");
        return refusal.detail("content-type: application/grpc, or application/grpc+proto").into_response();
    }
    let asked = request.headers().get("grpc-timeout").map(|value| value.to_str().ok().and_then(timeout));
    let Some(asked) = asked.unwrap_or(Some(LONGEST)) else {
        return Refusal::format("grpc-timeout: up to 8 digits and one of H, M, S, m, u, n").into_response();
    };
    let name = request.uri().path().rsplit('/').next().unwrap_or("");
    let (reflects, watches) = (name == "ServerReflectionInfo", name == "Watch" || name.starts_with("Stream"));
    let pass = request.extensions().get::<Known>().map(|known| Pass::new(&app, known.clone()));
    let deadline = Instant::now() + asked.min(if reflects { REFLECTION } else { LONGEST });
    // The methods of the bridge that stream take their place themselves.
    let place = match (reflects || name == "Watch").then(|| app.streams.enter()).transpose() {
        Ok(place) => place,
        Err(refusal) => return refusal.into_response(),
    };
    let (answering, answered) = oneshot::channel();
    let request = if reflects { request.map(|body| asked_until(body, deadline, answered)) } else { request };
    let Ok(response) = tokio::time::timeout_at(deadline, next.run(request)).await else {
        return late().into_http();
    };
    if !reflects && !watches {
        return response;
    }
    let mut ended = app.streams.ended();
    let void = async {
        match pass {
            Some(pass) => pass.void().await,
            None => std::future::pending().await,
        }
    };
    let end = async move {
        let status: Status = tokio::select! {
            () = tokio::time::sleep_until(deadline) => late(),
            // An error means that the bridge is gone already.
            _ = ended.wait_for(|ended| *ended) => Status::unavailable("the bridge ends; come back"),
            () = void => {
                Refusal::new(401, code::ACCESS_REQUIRED, "whoever opened the stream may not ask any more").into()
            }
        };
        let mut trailers = HeaderMap::new();
        let written = status.add_header(&mut trailers);
        written.is_ok().then_some(Ok(Frame::trailers(trailers)))
    };
    // The place among the streams, and what tells that the answer has ended.
    response.map(|body| until(body, end, (place, answering)))
}

/// A body of a request that ends with its answer, or with the deadline where nobody takes the answer, so that whatever reads it
/// ends too.
fn asked_until(body: Body, deadline: Instant, answered: oneshot::Receiver<()>) -> Body {
    let end = Box::pin(async move { drop(tokio::time::timeout_at(deadline, answered).await) });
    Body::from_stream(body.into_data_stream().take_until(end))
}

fn late() -> Status {
    Refusal::new(408, code::TIMEOUT, "the request took too long; it may still take effect").into()
}
