//! What happened on the ledger, for those who must miss nothing (A180 to A190).
//!
//! Events are derived from committed blocks whenever somebody reads them; nothing is queued for a reader. `catalogue` turns
//! the ledger's events into those of the API, [`feed`] makes pages of them, `follow` goes on with a page whenever a block
//! came. What a reader has seen is its cursor, so one that is slow or away falls behind on its own and holds up nobody.

pub(crate) mod catalogue;
pub mod feed;
mod follow;
mod routes;
mod sse;
pub mod webhooks;
mod ws;

pub(crate) use follow::{Item, Streams, follow};
pub(crate) use routes::asked;
pub(crate) use sse::json;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::Shared;

/// The routes under the prefix.
pub(crate) fn router() -> OpenApiRouter<Arc<Shared>> {
    socket()
        .routes(routes!(routes::events))
        .routes(routes!(sse::stream))
        .routes(routes!(webhooks::routes::list, webhooks::routes::order))
        .routes(routes!(webhooks::routes::letters))
}

/// The socket alone, which clients of other systems look for without the prefix.
pub(crate) fn socket() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(ws::socket))
}
