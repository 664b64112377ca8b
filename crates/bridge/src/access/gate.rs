//! The gate in front of every route: who asks, how often, and whether he may.

use std::{future::Future, sync::Arc, time::Duration};

use api::problem::code;
use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Class, Denied, Known, Principal, Scope,
    door::Peer,
    methods, now_ms,
    pass::{Pass, goes_on},
};
use crate::{
    Shared, extract, grpc,
    ops::lines,
    refusal::{Refusal, Reply},
};

/// Resources that are of no component, or that somebody else signed: a scope does not shut them.
const UNSCOPED: [&str; 8] =
    ["health", "ready", "blockchain", "authority", "accounts", "transactions", "telemetry", "time-token"];
/// Resources whose query says which component's events are asked for.
const EVENTS: [&str; 2] = ["events", "ws"];
/// Members of a body and of a query that name a component.
const NAMES: [&str; 9] = [
    "component",
    "component_id",
    "component_a",
    "component_b",
    "real_component_id",
    "from",
    "to",
    "giver",
    "taker",
];
/// Segments of a path, after its resource, that are part of a route and name nobody. What is neither here nor covered is
/// taken for a component of somebody else, so that a word that was forgotten shuts out.
const WORDS: [&str; 27] = [
    "anchors",
    "authorizations",
    "balance",
    "cancel",
    "check",
    "complete",
    "component",
    "config",
    "contexts",
    "cycles",
    "history",
    "identity",
    "initiate",
    "operation",
    "pairing-request",
    "process-offline",
    "proxy",
    "queue",
    "relations",
    "requests",
    "score",
    "statements",
    "status",
    "stream",
    "tensor",
    "trust",
    "verify",
];
/// How many passphrases are checked at the same time, each of which takes 19 MiB and a core: those from where their users have
/// logged in before, and others, so that strangers take no turn away.
static FAMILIAR: Semaphore = Semaphore::const_new(1);
static OTHERS: Semaphore = Semaphore::const_new(1);
/// How long a login waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// How deep a body may nest for its components to be found.
const DEPTH_MAX: usize = 16;

/// Lets a request through to `next` whose principal may do what it asks for, and leaves the principal with it, unless there is
/// a `recalled` answer; `asker` is told who that is, also when it comes to no answer.
pub(crate) async fn gate<F: Future<Output = Response>>(
    app: &Arc<Shared>,
    asker: &mut Option<Known>,
    (peer, class): (&Peer, Class),
    request: Request,
    (recalled, next): (impl FnOnce(&Request) -> Option<Response>, impl FnOnce(Request) -> F),
) -> Response {
    let mut request = match admit(app, asker, (peer, class), request).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(response) = recalled(&request) {
        return response;
    }
    if let Some(known) = &*asker {
        request.extensions_mut().insert(known.clone());
    }
    // A stream of gRPC ends with a status, which is its own affair.
    let over_grpc = grpc::is_call(&request);
    // In a place of its own: a future is moved some times before it begins, and those of routes are long.
    let response = Box::pin(next(request)).await;
    match &*asker {
        Some(known) if !over_grpc && goes_on(&response) => Pass::new(app, known.clone()).bound(response),
        _ => response,
    }
}

async fn admit(
    app: &Arc<Shared>,
    asker: &mut Option<Known>,
    (peer, class): (&Peer, Class),
    request: Request,
) -> Reply<Request> {
    let known = app.front.door.known(&request, peer, now_ms());
    let known = match known {
        Ok(known) => known,
        Err(refusal) => {
            // Whoever guesses is held up like anybody else.
            app.front.door.count(None, peer)?;
            if class == Class::Public {
                return Ok(request);
            }
            return Err(refusal);
        }
    };
    app.front.door.count(known.as_ref().map(|known| &*known.who), peer)?;
    let Some(known) = known else {
        if class == Class::Public {
            return Ok(request);
        }
        return Err(Refusal::new(
            401,
            code::ACCESS_REQUIRED,
            "this needs a token with its proof, or a certificate",
        ));
    };
    let principal = &*asker.insert(known).who;
    let allowed = match principal.may(class) {
        Ok(()) if principal.scope != Scope::All => Box::pin(in_scope(principal, request, class)).await,
        allowed => allowed.map_err(Refusal::from).map(|()| request),
    };
    allowed.inspect_err(|Refusal(problem)| {
        tracing::warn!(target: "security", who = %principal.name, from = %peer.address, code = %problem.code, "denied");
    })
}

/// Lets a request through that is about the principal's components only. What it is about stands in its path or, for events,
/// in its query; whatever else it names, there or in its body, has to be his too. Nobody waits for a body whose path is refused.
async fn in_scope(principal: &Principal, request: Request, class: Class) -> Reply<Request> {
    let asks = methods::asks(request.uri().path());
    // Of a method, that of the route that asks the same; the members in its path are looked up below.
    let path = asks.map_or(request.uri().path(), |asks| asks.path);
    let resource = path.strip_prefix(api::PREFIX).unwrap_or(path).split('/').nth(1).unwrap_or("");
    let free = UNSCOPED.contains(&resource) || path.ends_with("/ledger/status");
    if class == Class::Public || free {
        return Ok(request);
    }
    let mut named = Vec::new();
    let mut before = "";
    let segments = path.strip_prefix(api::PREFIX).unwrap_or(path).split('/').skip(2);
    for segment in segments.filter(|_| asks.is_none()) {
        // A number is one of somebody's records or cycles.
        let counted = segment.bytes().all(|b| b.is_ascii_digit())
            && (before == "cycles" || principal.scope.covers(before));
        if !WORDS.contains(&segment) && !counted {
            named.push(segment.to_owned());
        }
        before = segment;
    }
    let mut about = !named.is_empty();
    for pair in request.uri().query().unwrap_or("").split('&') {
        if let Some((name, value)) = pair.split_once('=')
            && (NAMES.contains(&name) || name.contains('%'))
        {
            // A name in disguise names nobody who is covered.
            named.push(if name.contains('%') { String::new() } else { value.to_owned() });
            about |= EVENTS.contains(&resource) && name == "component";
        }
    }
    about |= asks.is_some_and(|asks| asks.named().next().is_some());
    if !about || !covered(principal, &named) {
        return Err(Denied::Scope.into());
    }
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, api::TELEMETRY_BODY_MAX)
        .await
        .map_err(|_| Refusal::new(413, code::SIZE, "the body is larger than any route allows"))?;
    let said = match asks {
        Some(asks) if grpc::is_grpc(&parts.headers) => grpc::members(asks.name, &bytes),
        _ => serde_json::from_slice(&bytes).ok(),
    };
    if let Some(value) = &said {
        components(value, DEPTH_MAX, &mut named);
    }
    for member in asks.into_iter().flat_map(methods::Asks::named) {
        let id = said.as_ref().and_then(|said| said.get(member)).and_then(Value::as_str);
        named.push(id.unwrap_or("").to_owned());
    }
    if !covered(principal, &named) {
        return Err(Denied::Scope.into());
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn covered(principal: &Principal, named: &[String]) -> bool {
    named.iter().all(|id| principal.scope.covers(id))
}

fn components(value: &Value, depth: usize, named: &mut Vec<String>) {
    match value {
        // What lies deeper is nothing that a route reads; it names nobody who is covered.
        Value::Object(_) | Value::Array(_) if depth == 0 => named.push(String::new()),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(id) if NAMES.contains(&name.as_str()) => named.push(id.clone()),
                    member => components(member, depth - 1, named),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| components(item, depth - 1, named)),
        _ => {}
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Role => code::ACCESS_ROLE,
            Denied::Presence => code::ACCESS_PRESENCE,
            Denied::Scope => code::ACCESS_SCOPE,
        };
        Refusal::new(403, code, &denied.to_string())
    }
}

/// Logs a user in, with another passphrase from here on if one is wanted (A135, A220).
#[utoipa::path(
    post,
    path = "/sessions",
    request_body = api::session::Login,
    responses(
        (status = 200, body = api::session::Session),
        (status = 401),
        (status = 403),
        (status = 409),
        (status = 429)
    )
)]
pub(crate) async fn log_in(
    State(app): State<Arc<Shared>>,
    axum::Extension(peer): axum::Extension<Peer>,
    extract::Body(login): extract::Body<api::session::Login>,
) -> Reply<Json<api::session::Session>> {
    let admitted = app.front.door.count_try(&login, &peer)?;
    tokio::time::sleep(admitted.wait).await;
    let now_s = now_ms() / 1000;
    let _turn = turn(if admitted.familiar { &FAMILIAR } else { &OTHERS }, TURN).await?;
    let logged = lines::blocking(move || app.front.door.log_in(&login, &peer, now_s)).await;
    logged.map_err(|e| Refusal::internal(&e))?.map(Json)
}

async fn turn(checks: &Semaphore, patience: Duration) -> Reply<SemaphorePermit<'_>> {
    match tokio::time::timeout(patience, checks.acquire()).await {
        Ok(turn) => turn.map_err(|e| Refusal::internal(&e)),
        Err(_) => {
            Err(Refusal::new(503, code::BUSY, "too many log in at this moment").retry_after(TURN.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    async fn admitted(uri: &str, body: &str) -> bool {
        let scope = Scope::Components(vec!["pack-1".into(), "module-1".into()]);
        let principal = Principal { scope, ..Principal::local() };
        let method = if body.is_empty() || body.starts_with(' ') { Method::GET } else { Method::POST };
        let request = Request::builder().method(method).uri(uri).body(Body::from(body.to_owned())).unwrap();
        let class = Class::of(request.method(), request.uri().path());
        match in_scope(&principal, request, class).await {
            Ok(request) => {
                let kept = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
                assert_eq!(kept, body.as_bytes(), "the handler reads what came");
                true
            }
            Err(Refusal(problem)) => {
                assert_eq!((problem.status, problem.code.as_str()), (403, code::ACCESS_SCOPE));
                false
            }
        }
    }

    /// A method of gRPC is about what its message names; what cannot be read names nobody.
    #[tokio::test]
    async fn a_scope_reads_messages() {
        use prost::Message;
        let principal = Principal { scope: Scope::Components(vec!["pack-1".into()]), ..Principal::local() };
        let framed = |message: &[u8]| {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            [&[0], &length[..], message].concat()
        };
        let id = |id: &str| grpc::proto::GetComponentRequest { component_id: id.into() }.encode_to_vec();
        let verify = |verifier: &str, id: &str| grpc::proto::VerifyComponentRequest {
            verifier: verifier.into(),
            component_id: id.into(),
            context: String::new(),
        };
        let events =
            |id: &str| grpc::proto::StreamEventsRequest { component_id: id.into(), ..Default::default() };
        for (name, body, may) in [
            ("GetComponent", framed(&id("pack-1")), true),
            ("GetComponent", framed(&id("pack-2")), false),
            ("GetComponent", framed(&[]), false),
            ("GetComponent", id("pack-1"), false),
            ("GetComponent", [framed(&id("pack-1")), framed(&id("pack-2"))].concat(), false),
            ("GetComponent", [id("pack-1"), id("pack-2")].concat(), false),
            ("GetComponent", framed(&[id("pack-1"), id("pack-2")].concat()), false),
            ("VerifyComponent", framed(&verify("ann", "pack-1").encode_to_vec()), true),
            ("VerifyComponent", framed(&verify("pack-1", "pack-2").encode_to_vec()), false),
            ("StreamEvents", framed(&events("pack-1").encode_to_vec()), true),
            ("StreamEvents", framed(&events("").encode_to_vec()), false),
            ("GetAccounts", framed(&[]), true),
            ("Everything", framed(&id("pack-1")), false),
        ] {
            let uri = format!("/{}/{name}", methods::SERVICE);
            let request =
                Request::post(uri).header("content-type", "application/grpc").body(Body::from(body));
            assert_eq!(in_scope(&principal, request.unwrap(), Class::Read).await.is_ok(), may, "{name}");
        }
    }

    /// Whatever is refused by its path is refused before its body comes, which may be never.
    #[tokio::test]
    async fn a_path_that_is_refused_waits_for_no_body() {
        let principal = Principal { scope: Scope::Components(vec!["pack-1".into()]), ..Principal::local() };
        for path in [
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.health.v1.Health/Watch",
            "/APIBridgeService/InitiatePairing",
            "/api/v1/orders",
            "/api/v1/components/pack-2/verify",
            "/api/v1/components/pack-1/verify?component=pack-2",
        ] {
            let never = futures_util::stream::pending::<Result<String, std::io::Error>>();
            let request = Request::post(path).body(Body::from_stream(never)).unwrap();
            let judged = in_scope(&principal, request, Class::Read);
            let judged = tokio::time::timeout(std::time::Duration::from_secs(20), judged).await;
            let Refusal(problem) = judged.expect("it waits for the body").unwrap_err();
            assert_eq!(problem.code, code::ACCESS_SCOPE, "{path}");
        }
    }

    /// A method and the route that asks the same let the same ones through.
    #[tokio::test]
    async fn a_scope_judges_a_method_as_its_route() {
        let mut through = 0;
        for asks in &methods::METHODS {
            for id in ["pack-1", "pack-2"] {
                let mut path = asks.path.to_owned();
                let mut members = serde_json::Map::new();
                for member in asks.named() {
                    path = path.replace(&format!("{{{member}}}"), id);
                    members.insert(member.into(), id.into());
                }
                let body = Value::Object(members).to_string();
                let by_route = admitted(&path, &body).await;
                let by_method = admitted(&format!("/APIBridgeService/{}", asks.name), &body).await;
                assert_eq!(by_route, by_method, "{} {path}", asks.name);
                through += usize::from(by_route);
            }
        }
        assert!(through > 15, "{through}");
    }

    #[tokio::test]
    async fn a_login_waits_for_its_turn_but_not_without_end() {
        let checks = Semaphore::new(1);
        let held = turn(&checks, Duration::from_millis(20)).await.unwrap();
        let Refusal(problem) = turn(&checks, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str(), problem.retry_after), (503, code::BUSY, Some(5)));
        drop(held);
        assert!(turn(&checks, Duration::from_millis(20)).await.is_ok());
    }

    #[tokio::test]
    async fn a_scope_shuts_what_names_others_or_nobody() {
        let cid = lct::id::Cid::of("pack-1");
        for (uri, body, may) in [
            ("/api/v1/components/pack-1", "", true),
            (&format!("/api/v1/components/{cid}/trust"), "", true),
            ("/api/v1/components/pack-2", "", false),
            ("/api/v1/components/pack-1/../pack-2", "", false),
            ("/api/v1/components/pack-2?component=pack-1", "", false),
            ("/api/v1/components/pack-2", r#" {"component_id":"pack-1"}"#, false),
            ("/api/v1/bindings/00ff", r#" {"component_id":"pack-1"}"#, false),
            ("/api/v1/components/pack%2D1", "", false),
            ("/api/v1/components/123", "", false),
            ("/api/v1/energy/balance/123", "", false),
            ("/api/v1/energy/pack-1/cycles/3", "", true),
            ("/energy/balance/pack-1", "", true),
            ("/api/v1/ledger/state/00ff", "", false),
            ("/api/v1/ledger/archive", "", false),
            ("/api/v1/ledger/status", "", true),
            ("/api/v1/policies", "", false),
            ("/api/v1/policies?component=pack-1", "", false),
            ("/api/v1/events?component=pack-1", "", true),
            ("/api/v1/events/stream?component=pack-1", "", true),
            ("/api/v1/events?after=1-0-0", "", false),
            ("/api/v1/pairings?component=pack-1", r#"{"a":"pack-2","b":"pack-3"}"#, false),
            ("/api/v1/policies?component=pack-2", "", false),
            ("/api/v1/policies?component=pack-1&component=pack-2", "", false),
            ("/api/v1/policies?component=pack-1&%63omponent=pack-2", "", false),
            ("/api/v1/receipts/pack-1/7", "", true),
            ("/api/v1/health", "", true),
            ("/api/v1/accounts/02ab", "", true),
            ("/api/v1/orders", r#"{"a":"x","component_id":"pack-1"}"#, false),
            ("/api/v1/components/pack-1/verify", r#"{"verifier":"x","component_id":"module-1"}"#, true),
            ("/api/v1/components/pack-1/verify", r#"{"verifier":"x","component_id":"pack-2"}"#, false),
            ("/api/v1/orders", r#"{"a":{"component_id":"pack-1"},"b":{"component_id":"pack-2"}}"#, false),
            ("/api/v1/energy/pack-1", r#"{"list":[{"taker":"pack-2"}]}"#, false),
            ("/api/v1/orders", "{}", false),
            ("/api/v1/orders", "no json", false),
            ("/api_bridge.v1.APIBridgeService/GetComponent", "", false),
            ("/APIBridgeService/GetComponent", r#"{"component_id":"pack-1"}"#, true),
            ("/APIBridgeService/GetComponent", r#"{"component_id":"pack-2"}"#, false),
            ("/APIBridgeService/GetComponent", r#"{"id":"pack-1"}"#, false),
            ("/APIBridgeService/ListProxyQueue", r#"{"proxy_id":"pack-1","component_id":"pack-2"}"#, false),
            (
                "/APIBridgeService/CreateEnergyOperation",
                r#"{"component_a":"pack-1","component_b":"module-1"}"#,
                false,
            ),
            ("/APIBridgeService/Everything", r#"{"component_id":"pack-1"}"#, false),
        ] {
            assert_eq!(admitted(uri, body).await, may, "{uri} {body}");
        }
        let deep = |levels| format!("{}1{}", r#"{"x":"#.repeat(levels), "}".repeat(levels));
        assert!(admitted("/api/v1/components/pack-1", &deep(DEPTH_MAX)).await);
        assert!(!admitted("/api/v1/components/pack-1", &deep(DEPTH_MAX + 1)).await);
    }
}
