//! `GET /events` (A183), and what its query means to the streams as well.

use api::{
    event::{After, Events, LIMIT, LIMIT_MAX, Query},
    problem::code,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use node::Chain;

use super::feed::{self, Filter, Place};
use crate::{
    extract::Options,
    refusal::{Refusal, Reply},
    routes::{App, component::cid_of},
};

/// What happened on the ledger, a page at a time (A183).
#[utoipa::path(
    get,
    path = "/events",
    params(Query),
    responses((status = 200, body = Events), (status = 404))
)]
pub(crate) async fn events(State(app): App, Options(query): Options<Query>) -> Reply<Json<Events>> {
    let limit = match query.limit {
        None => LIMIT,
        Some(n) if (1..=LIMIT_MAX as u32).contains(&n) => n as usize,
        Some(_) => return Err(Refusal::format(format!("limit: 1 to {LIMIT_MAX}"))),
    };
    app.blocking(move |chain| {
        let (after, filter) = asked(chain, &query, After::Start)?;
        Ok(Json(feed::page(&chain.read()?, after, &filter, limit)?))
    })
    .await
}

/// Place and filter of a query; `otherwise` where it names no place.
pub(crate) fn asked(chain: &Chain, query: &Query, otherwise: After) -> Reply<(Place, Filter)> {
    let snapshot = chain.read()?;
    let after = match &query.after {
        Some(text) => text.parse().map_err(|e| Refusal::format(format!("after: {e}")))?,
        None => otherwise,
    };
    let component = query.component.as_deref().map(|id| cid_of(&snapshot, id)).transpose()?;
    let filter = Filter::new(query.types.as_deref(), component).map_err(Refusal::format)?;
    Ok((feed::place(&snapshot, after)?, filter))
}

/// A page of another origin may not listen: a browser lets it open a socket to any address and names it.
pub(super) fn same_origin(headers: &HeaderMap) -> Reply<()> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    if named.is_some() && named == host {
        Ok(())
    } else {
        Err(Refusal::new(403, code::ORIGIN, "a page of another origin may not follow events"))
    }
}
