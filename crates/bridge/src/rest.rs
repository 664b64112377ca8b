//! The router, and what applies to every request: time, size, host, headers.

use std::{sync::Arc, time::Duration};

use api::{BODY_MAX, PREFIX, TELEMETRY_BODY_MAX, problem::code};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    Shared, compat, events, openapi,
    refusal::{Refusal, Reply},
    repeat,
    routes::{
        account, binding, commitment, component, context, delegation, energy, governance, health, lct, mrh,
        order, pairing, policy, proof, queue, receipt, registry, revocation, telemetry, transaction,
    },
};

/// How long a request may take, its body and the wait for a block included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// All routes over `shared`, and their contract.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let (routes, contract) = native().split_for_parts();
    let routes = routes
        .merge(openapi::published(contract))
        .merge(compat::native())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .fallback(no_route)
        .method_not_allowed_fallback(other_method)
        .with_state(shared.clone());
    let repeated = middleware::from_fn_with_state(shared.clone(), repeat::repeated);
    compat::profiles(routes, &shared).layer(repeated).layer(middleware::from_fn(guard))
}

/// Every route, with its part of the contract: `routes!` takes no handler without `utoipa::path`, and path and
/// method stand there alone.
pub(crate) fn native() -> OpenApiRouter<Arc<Shared>> {
    let prefixed = OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::blockchain))
        .routes(routes!(health::ledger))
        .routes(routes!(account::authority))
        .routes(routes!(account::account))
        .routes(routes!(component::register))
        .routes(routes!(component::component))
        .routes(routes!(component::anchors))
        .routes(routes!(component::relations))
        .routes(routes!(component::statements))
        .routes(routes!(component::trust))
        .routes(routes!(registry::history))
        .routes(routes!(registry::config))
        .routes(routes!(registry::authorizations))
        .routes(routes!(registry::check))
        .routes(routes!(queue::of_component))
        .routes(routes!(queue::request))
        .routes(routes!(governance::governance))
        .routes(routes!(governance::accounts))
        .routes(routes!(commitment::component))
        .routes(routes!(commitment::pair))
        .routes(routes!(mrh::graph))
        .routes(routes!(proof::state))
        .routes(routes!(energy::offers))
        .routes(routes!(energy::account))
        .routes(routes!(energy::cycles))
        .routes(routes!(energy::cycle))
        .routes(routes!(energy::transfer))
        .routes(routes!(binding::begin))
        .routes(routes!(binding::keys))
        .routes(routes!(binding::complete))
        .routes(routes!(lct::create))
        .routes(routes!(context::scope))
        .routes(routes!(lct::lct))
        .routes(routes!(context::contexts))
        .routes(routes!(pairing::issue))
        .routes(routes!(pairing::pairing))
        .routes(routes!(pairing::complete))
        .routes(routes!(delegation::list, delegation::issue))
        .routes(routes!(delegation::one))
        .routes(routes!(order::waiting, order::place))
        .routes(routes!(order::order))
        .routes(routes!(order::outcome))
        .routes(routes!(revocation::time_token))
        .routes(routes!(revocation::list, revocation::revoke))
        .routes(routes!(policy::list, policy::propose))
        .routes(routes!(policy::policy))
        .routes(routes!(policy::sign))
        .routes(routes!(transaction::submit))
        .routes(routes!(transaction::transaction))
        .routes(routes!(telemetry::batch).layer(DefaultBodyLimit::max(TELEMETRY_BODY_MAX)))
        .routes(routes!(receipt::of_transaction))
        .routes(routes!(receipt::of_record))
        .merge(events::router());
    openapi::router()
        .routes(routes!(health::health))
        .routes(routes!(health::blockchain))
        .merge(events::socket())
        .nest(PREFIX, prefixed)
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
