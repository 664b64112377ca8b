//! What lasts longer than a request, a stream, ends soon after whoever opened it may not ask any more (A128).

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, header},
    response::Response,
};

use super::{Known, now_ms};
use crate::{Shared, until::until};

/// How often a stream is asked whose it is.
const LOOK: Duration = Duration::from_secs(1);

/// Whose answer this is, and what he showed.
pub(crate) struct Pass {
    // A stream must not keep the ledger open.
    app: Weak<Shared>,
    known: Known,
}

impl Pass {
    pub fn new(app: &Arc<Shared>, known: Known) -> Self {
        Pass { app: Arc::downgrade(app), known }
    }

    /// Resolves when he may not ask any more: shut out, another role or scope, what he showed was taken back or ran out.
    pub async fn void(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(app) = self.app.upgrade() else { return };
            // A file of users that cannot be read lets nobody in.
            let Known { who, shown } = &self.known;
            if !app.front.door.stands(who, *shown, now_ms() / 1000).unwrap_or(false) {
                tracing::info!(target: "security", who = %who.name, "a stream ends: its reader may not ask any more");
                return;
            }
        }
    }

    /// Ends the body of an answer that goes on and on when the pass is void: a feed of events by itself, since it has no
    /// last one; whatever else is then a part of what was asked for, as a transfer that broke off.
    pub fn bound(self, response: Response) -> Response {
        let media = response.headers().get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        let whole = media.starts_with(b"text/event-stream");
        response.map(|body| bounded(body, whole, self.void()))
    }
}

/// Whether an answer goes on after it began.
pub(crate) fn goes_on(response: &Response) -> bool {
    response.body().size_hint().exact().is_none()
}

/// The body until `void` resolves, then the end of it as far as it is `whole` wherever it ends.
fn bounded(body: Body, whole: bool, void: impl Future<Output = ()> + Send + 'static) -> Body {
    let last = async move {
        void.await;
        (!whole).then(|| Err(axum::Error::new("its reader may not ask any more")))
    };
    until(body, last, ())
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    /// Who was shut out in the middle of an archive does not take what came for the whole of it.
    #[tokio::test]
    async fn what_is_cut_off_is_a_broken_transfer_and_a_feed_ends() {
        for whole in [false, true] {
            let body =
                Body::from_stream(stream::iter([Ok::<_, axum::Error>("part")]).chain(stream::pending()));
            let (shut, out) = tokio::sync::oneshot::channel::<()>();
            let void = async { drop(out.await) };
            let mut body = bounded(body, whole, void).into_data_stream();
            assert_eq!(body.next().await.unwrap().unwrap(), "part");
            shut.send(()).unwrap();
            assert_eq!(body.next().await.map(|last| last.is_err()), (!whole).then_some(true));
            assert!(body.next().await.is_none());
        }
    }
}
