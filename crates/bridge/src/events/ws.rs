//! `GET /ws`: events as they come, over a WebSocket (A186).

use std::{pin::pin, sync::Arc, time::Duration};

use api::event::{After, Query};
use axum::{
    Extension,
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    http::HeaderMap,
    response::Response,
};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::{
    follow::{HEARTBEAT, Item, follow},
    routes::{asked, same_origin},
    sse,
};
use crate::{
    Shared,
    access::{Known, pass::Pass},
    extract::Options,
    refusal::{Refusal, Reply},
};

/// Longest message that a client may send: it has nothing to say but answers to pings.
const MESSAGE_MAX: usize = 4096;
/// A client that takes no message for so long is let go.
const STALLED: Duration = Duration::from_secs(30);
/// A client that answers no ping for so long is let go.
const SILENT: Duration = Duration::from_secs(45);

/// What happens on the ledger, over a WebSocket (A186).
#[utoipa::path(
    get,
    path = "/ws",
    params(Query),
    responses((status = 101), (status = 403), (status = 404), (status = 426))
)]
pub(crate) async fn socket(
    State(app): State<Arc<Shared>>,
    Extension(known): Extension<Known>,
    headers: HeaderMap,
    Options(query): Options<Query>,
    upgrade: WebSocketUpgrade,
) -> Reply<Response> {
    same_origin(&headers)?;
    if query.limit.is_some() {
        return Err(Refusal::format("limit: a stream has none"));
    }
    let (after, filter) = app.blocking(move |chain| asked(chain, &query, After::Now)).await?;
    let items = follow(&app, after, filter)?;
    let ended = app.streams.ended();
    let pass = Pass::new(&app, known);
    let upgrade = upgrade.max_message_size(MESSAGE_MAX).max_frame_size(MESSAGE_MAX);
    Ok(upgrade.on_upgrade(move |socket| serve(socket, items, ended, pass)))
}

/// Sends one message; `false` when the client is gone or takes nothing.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(STALLED, socket.send(message)).await, Ok(Ok(())))
}

async fn serve(
    mut socket: WebSocket,
    mut items: mpsc::Receiver<Item>,
    mut ended: watch::Receiver<bool>,
    pass: Pass,
) {
    let mut void = pin!(pass.void());
    let mut heard = Instant::now();
    let mut heartbeat = interval_at(heard + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (code, reason) = loop {
        tokio::select! {
            item = items.recv() => {
                let text = match item {
                    Some(Item::Event(event)) => sse::json(&event),
                    Some(Item::Gap(gap)) => json!({ "gap": gap }).to_string(),
                    None => break (close_code::AGAIN, "the stream ended; come back with the last id"),
                };
                if !send(&mut socket, Message::Text(text.into())).await {
                    return;
                }
            }
            _ = heartbeat.tick() => {
                if heard.elapsed() > SILENT {
                    break (close_code::POLICY, "no answer to pings");
                }
                if !send(&mut socket, Message::Ping("alive".into())).await {
                    return;
                }
            }
            said = socket.recv() => match said {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => heard = Instant::now(),
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    break (close_code::UNSUPPORTED, "this socket only speaks; what it says is chosen by its query");
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            () = &mut void => break (close_code::POLICY, "who asked may not ask any more"),
            () = async { drop(ended.wait_for(|ended| *ended).await) } => {
                break (close_code::AWAY, "the bridge ends; come back with the last id");
            }
        }
    };
    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    // The client may be gone before it reads why.
    let _gone = send(&mut socket, close).await;
}
