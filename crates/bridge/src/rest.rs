//! The router, and what applies to every request: time, size, host, headers.

use std::{sync::Arc, time::Duration};

use api::{BODY_MAX, PREFIX, TELEMETRY_BODY_MAX, problem::code};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    Shared, compat,
    refusal::{Refusal, Reply},
    repeat,
    routes::{
        account, binding, component, context, delegation, energy, health, lct, order, pairing, policy,
        receipt, registry, revocation, telemetry, transaction,
    },
};

/// How long a request may take, its body and the wait for a block included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// All routes over `shared`.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let at = |route: &str| format!("{PREFIX}{route}");
    let routes = Router::new()
        .route("/health", get(health::health))
        .route("/blockchain/status", get(health::blockchain))
        .route(&at("/health"), get(health::health))
        .route(&at("/blockchain/status"), get(health::blockchain))
        .route(&at("/ledger/status"), get(health::ledger))
        .route(&at("/authority"), get(account::authority))
        .route(&at("/accounts/{key}"), get(account::account))
        .route(&at("/components/register"), post(component::register))
        .route(&at("/components/{id}"), get(component::component))
        .route(&at("/components/{id}/anchors"), get(component::anchors))
        .route(&at("/components/{id}/relations"), get(component::relations))
        .route(&at("/components/{id}/statements"), get(component::statements))
        .route(&at("/components/{id}/trust"), get(component::trust))
        .route(&at("/components/{id}/history"), get(registry::history))
        .route(&at("/components/{id}/config"), get(registry::config))
        .route(&at("/energy/{id}"), get(energy::account))
        .route(&at("/bindings"), post(binding::begin))
        .route(&at("/bindings/{id}/keys"), post(binding::keys))
        .route(&at("/bindings/{id}/complete"), post(binding::complete))
        .route(&at("/lct/create"), post(lct::create))
        .route(&at("/lct/scopes"), post(context::scope))
        .route(&at("/lct/{id}"), get(lct::lct))
        .route(&at("/lct/{id}/contexts"), get(context::contexts))
        .route(&at("/pairings"), post(pairing::issue))
        .route(&at("/pairings/{id}"), get(pairing::pairing))
        .route(&at("/pairings/{id}/complete"), post(pairing::complete))
        .route(&at("/delegations"), get(delegation::list).post(delegation::issue))
        .route(&at("/delegations/{id}"), get(delegation::one))
        .route(&at("/orders"), get(order::waiting).post(order::place))
        .route(&at("/orders/{id}"), get(order::order))
        .route(&at("/orders/{id}/outcome"), post(order::outcome))
        .route(&at("/time-token"), get(revocation::time_token))
        .route(&at("/revocations"), get(revocation::list).post(revocation::revoke))
        .route(&at("/policies"), get(policy::list).post(policy::propose))
        .route(&at("/policies/{id}"), get(policy::policy))
        .route(&at("/policies/{id}/signatures"), post(policy::sign))
        .route(&at("/transactions"), post(transaction::submit))
        .route(&at("/transactions/{hash}"), get(transaction::transaction))
        .route(
            &at("/telemetry/batches"),
            post(telemetry::batch).layer(DefaultBodyLimit::max(TELEMETRY_BODY_MAX)),
        )
        .route(&at("/receipts/{id}"), get(receipt::of_transaction))
        .route(&at("/receipts/{id}/{seq}"), get(receipt::of_record))
        .merge(crate::events::router(at))
        .merge(compat::native())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .fallback(no_route)
        .method_not_allowed_fallback(other_method)
        .with_state(shared.clone());
    let repeated = middleware::from_fn_with_state(shared.clone(), repeat::repeated);
    compat::profiles(routes, &shared).layer(repeated).layer(middleware::from_fn(guard))
}

async fn no_route() -> Refusal {
    Refusal::new(404, code::ROUTE, "there is no such route")
}

async fn other_method() -> Refusal {
    Refusal::new(405, code::METHOD, "this route does not have that method")
}

/// Bounds the time of a request and marks every answer.
async fn guard(request: Request, next: Next) -> Response {
    let answer = async {
        names_this_machine(&request)?;
        tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await.map_err(|_| {
            Refusal::new(408, code::TIMEOUT, "the request took too long; it may still take effect")
        })
    };
    let mut response = answer.await.into_response();
    let headers = response.headers_mut();
    // Some answers hold sealed key material, and none is worth caching.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A page from elsewhere whose name was made to resolve to this machine still sends its own name.
fn names_this_machine(request: &Request) -> Reply<()> {
    let named = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or(""));
    let authority = named.or_else(|| request.uri().authority().map(|a| a.as_str())).unwrap_or("");
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    if api::client::is_loopback(host) {
        Ok(())
    } else {
        Err(Refusal::new(421, code::HOST, "this bridge only answers to the names of its own machine"))
    }
}
