//! `GET /events/stream`: events as they come, over server-sent events (A185).

use std::{convert::Infallible, sync::Arc};

use api::event::{After, Query};
use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    follow::{HEARTBEAT, Item, follow},
    routes::{asked, same_origin},
};
use crate::{
    Shared,
    extract::Options,
    refusal::{Refusal, Reply},
};

/// What a client that comes back says it has seen; it has precedence over `after`.
const LAST_EVENT_ID: &str = "last-event-id";

/// What happens on the ledger, as server-sent events (A185). `Last-Event-ID` has precedence over `after`.
#[utoipa::path(
    get,
    path = "/events/stream",
    params(Query),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 403), (status = 404))
)]
pub(crate) async fn stream(
    State(app): State<Arc<Shared>>,
    headers: HeaderMap,
    Options(mut query): Options<Query>,
) -> Reply<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>> {
    same_origin(&headers)?;
    if query.limit.is_some() {
        return Err(Refusal::format("limit: a stream has none"));
    }
    if let Some(last) = headers.get(LAST_EVENT_ID) {
        let last = last.to_str().map_err(|_| Refusal::format("Last-Event-ID: no text"))?;
        query.after = Some(last.to_owned());
    }
    let (after, filter) = app.blocking(move |chain| asked(chain, &query, After::Now)).await?;
    let items = ReceiverStream::new(follow(&app, after, filter)?);
    let events = items.map(|item| Ok(event(&item)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")))
}

fn event(item: &Item) -> sse::Event {
    match item {
        // Without an id of its own: who breaks off here is told again.
        Item::Gap(gap) => sse::Event::default().event("gap").data(json(gap)),
        Item::Event(event) => {
            sse::Event::default().event(&event.event_type).id(event.id.to_string()).data(json(event))
        }
    }
}

/// JSON on one line.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("events and gaps have text keys only")
}
