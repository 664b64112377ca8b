//! The router, and what applies to every request: time, size, host, headers.

use std::{
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use api::{PREFIX, Problem, TELEMETRY_BODY_MAX, problem::code};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use tower::ServiceExt as _;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt},
    routes,
};

use crate::{
    Shared,
    access::{Class, Known, Principal, door::Peer, gate, users::random},
    compat, events, grpc, openapi,
    ops::lines::{self, Asked},
    refusal::Refusal,
    repeat,
    routes::{
        account, binding, chain, commitment, component, context, delegation, energy, gateway, governance,
        health, lct, mrh, ops, order, pairing, policy, queue, receipt, registry, revocation, telemetry,
        transaction, trust,
    },
};

/// Names a request in the answer and in the logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM_JSON: &str = "application/problem+json";
/// Headers that every answer gets.
const MARKS: usize = 5;

/// All routes over `shared`, and their contract.
fn router(shared: &Arc<Shared>) -> Router {
    let (routes, contract) = native().split_for_parts();
    if let Some(traces) = &shared.traces {
        let older = compat::calls()
            .into_iter()
            .flat_map(|(_, path, ..)| [path.to_owned(), format!("{PREFIX}{path}")]);
        traces.know(contract.paths.paths.keys().cloned().chain(older).collect());
    }
    let routes = routes
        .merge(openapi::published(contract))
        .merge(compat::native())
        .merge(grpc::router(shared))
        .fallback(no_route)
        .method_not_allowed_fallback(other_method)
        .with_state(shared.clone());
    compat::profiles(routes, shared)
}

/// Routes below the prefix, each under its whole path: a nested router takes the path of every request apart.
struct Prefixed(OpenApiRouter<Arc<Shared>>);

impl Prefixed {
    fn routes(self, (schemas, paths, handlers): UtoipaMethodRouter<Arc<Shared>>) -> Self {
        let mut whole = utoipa::openapi::path::Paths::new();
        whole.paths = paths.paths.into_iter().map(|(path, item)| (format!("{PREFIX}{path}"), item)).collect();
        Prefixed(self.0.routes((schemas, whole, handlers)))
    }
}

/// Every route, with its part of the contract: `routes!` takes no handler without `utoipa::path`, and path and
/// method stand there alone.
pub(crate) fn native() -> OpenApiRouter<Arc<Shared>> {
    let Prefixed(prefixed) = Prefixed(openapi::router())
        .routes(routes!(health::health))
        .routes(routes!(health::blockchain))
        .routes(routes!(ops::detailed))
        .routes(routes!(gate::log_in))
        .routes(routes!(health::ledger))
        .routes(routes!(chain::state))
        .routes(routes!(chain::block))
        .routes(routes!(chain::archive))
        .routes(routes!(account::authority))
        .routes(routes!(account::account))
        .routes(routes!(component::list))
        .routes(routes!(component::register))
        .routes(routes!(component::component))
        .routes(routes!(component::anchors))
        .routes(routes!(component::relations))
        .routes(routes!(component::statements))
        .routes(routes!(trust::trust))
        .routes(routes!(trust::history))
        .routes(routes!(trust::proof))
        .routes(routes!(registry::history))
        .routes(routes!(registry::config))
        .routes(routes!(registry::authorizations))
        .routes(routes!(registry::check))
        .routes(routes!(queue::of_component))
        .routes(routes!(queue::request))
        .routes(routes!(gateway::report))
        .routes(routes!(governance::governance))
        .routes(routes!(governance::accounts))
        .routes(routes!(commitment::component))
        .routes(routes!(commitment::pair))
        .routes(routes!(mrh::graph))
        .routes(routes!(energy::offers))
        .routes(routes!(energy::account))
        .routes(routes!(energy::cycles))
        .routes(routes!(energy::cycle))
        .routes(routes!(energy::transfer))
        .routes(routes!(binding::list, binding::begin))
        .routes(routes!(binding::keys))
        .routes(routes!(binding::complete))
        .routes(routes!(binding::adopt))
        .routes(routes!(lct::create))
        .routes(routes!(context::scope))
        .routes(routes!(lct::lct))
        .routes(routes!(context::contexts))
        .routes(routes!(pairing::list, pairing::issue))
        .routes(routes!(pairing::pairing))
        .routes(routes!(pairing::complete))
        .routes(routes!(delegation::list, delegation::issue))
        .routes(routes!(delegation::one))
        .routes(routes!(delegation::brief))
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
        .routes(routes!(telemetry::series))
        .routes(routes!(telemetry::batch).layer(DefaultBodyLimit::max(TELEMETRY_BODY_MAX)))
        .routes(routes!(receipt::of_transaction))
        .routes(routes!(receipt::of_record));
    prefixed
        .routes(routes!(health::health))
        .routes(routes!(health::blockchain))
        .routes(routes!(ops::detailed))
        .routes(routes!(ops::ready))
        .routes(routes!(ops::metrics))
        .merge(events::socket())
        .nest(PREFIX, events::router())
}

async fn no_route() -> Refusal {
    Refusal::new(404, code::ROUTE, "there is no such route")
}

async fn other_method() -> Refusal {
    Refusal::new(405, code::METHOD, "this route does not have that method")
}

/// Marks an answer to what a program says again and again: it would push out of the audits what somebody did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Routine;

/// Says in the log what was asked by somebody who did not wait for the answer: it may have taken effect.
struct CutOff {
    class: Class,
    /// What is asked is said again and again, and makes no line where it is answered.
    routine: bool,
    asker: Option<Known>,
    answered: bool,
}

impl CutOff {
    fn asker(&self) -> Option<&Principal> {
        self.asker.as_ref().map(|known| &*known.who)
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        if !self.answered
            && !self.routine
            && !matches!(self.class, Class::Public | Class::Read)
            && let Some(Principal { name: who, .. }) = self.asker()
        {
            tracing::info!(target: "audit", who, class = self.class.word(), "asked, and gone before the answer");
        }
    }
}

/// The routes, behind what applies to every request.
#[derive(Clone)]
pub(crate) struct Served(Arc<Inside>);

struct Inside {
    app: Arc<Shared>,
    routes: Router,
}

impl Served {
    pub fn new(app: Arc<Shared>) -> Self {
        let routes = router(&app);
        Served(Arc::new(Inside { app, routes }))
    }

    /// The same for a connection of its own, whose requests count their references to it among themselves: what all threads count costs
    /// each of them a good part of a read.
    pub fn apart(&self) -> Self {
        let Inside { app, routes } = &*self.0;
        Served(Arc::new(Inside { app: app.clone(), routes: routes.clone() }))
    }

    /// Answers a request: bounds its time, marks the answer, counts it, and says in the logs what was done.
    pub async fn answer(self, peer: Peer, request: Request) -> Response {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let asked = Asked { id: request_id(request.headers()), method, uri };
        let mut work = pin!(asked.during(self.guarded(peer, request)));
        let mut response = work.as_mut().await;
        let id = work.take_value().map_or(HeaderValue::from_static("-"), |asked| asked.id);
        mark(response.headers_mut(), id);
        response
    }

    async fn guarded(&self, peer: Peer, mut request: Request) -> Response {
        let Inside { app, routes } = &*self.0;
        let began = Instant::now();
        let _running = app.metrics.begin();
        let class = Class::of(request.method(), request.uri().path());
        let wants_problem = accepts_problem(request.headers());
        let over_grpc = grpc::is_call(&request);
        let traced = app.traces.as_ref().and_then(|traces| {
            let asked = lines::asked()?;
            let (named, of) = ((asked.method(), class), (asked.path(), asked.name()));
            Some(Box::new(traces.begin(request.headers(), named, of)))
        });
        if request.method() != Method::GET {
            // From where somebody logs in.
            request.extensions_mut().insert(peer);
        }
        let routine = gateway::is_report(&request);
        let mut cut = CutOff { class, routine, asker: None, answered: false };
        let answer = async {
            if !app.front.answers_to(host_of(authority(&request))) {
                return Err(Refusal::new(421, code::HOST, "this bridge does not answer to that name"));
            }
            // Who may not ask learns of no answer that was given to others.
            let recalled = |request: &Request| repeat::recalled(app, request);
            let next = |request| {
                let routes = routes.clone();
                let route = async |request| routes.oneshot(request).await.into_response();
                repeat::repeated(app, class, request, route)
            };
            let admitted = gate::gate(app, &mut cut.asker, (&peer, class), request, (recalled, next));
            tokio::time::timeout(app.front.patience.request, admitted).await.map_err(|_| {
                Refusal::new(408, code::TIMEOUT, "the request took too long; it may still take effect")
            })
        };
        let mut response = answer.await.into_response();
        cut.answered = true;
        if over_grpc {
            response = grpc::dressed(response);
        }
        let status = grpc::http_status(&response).unwrap_or(response.status().as_u16());
        app.metrics.answered(class, status, began.elapsed());
        if let Some(traced) = traced {
            traced.answered(cut.asker(), status);
        }
        if response.extensions().get::<Routine>().is_none() {
            told(app, cut.asker(), class, status, peer.address);
        }
        if is_strange(&response) {
            response = in_our_words(status).into_response();
        }
        if wants_problem && let Some(problem) = response.extensions_mut().remove::<Problem>() {
            response = as_problem_json(response, &problem);
        }
        response
    }
}

/// Gives an answer the headers that every one has, with the name of its request.
pub(crate) fn mark(headers: &mut HeaderMap, id: HeaderValue) {
    // An answer that was kept has a place for each.
    if !headers.contains_key(REQUEST_ID) {
        headers.reserve(MARKS);
    }
    // Some answers hold sealed key material, and none is worth caching.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(REQUEST_ID, id);
}

/// Says in the audits what somebody changed. What nobody who is known asked for in vain is counted, and said in the log of
/// security as often as it is to be (A143).
fn told(app: &Shared, asker: Option<&Principal>, class: Class, status: u16, from: IpAddr) {
    match asker {
        Some(_) if matches!(class, Class::Public | Class::Read) => {}
        Some(Principal { name: who, .. }) => {
            tracing::info!(target: "audit", who, class = class.word(), status, "asked");
        }
        None if status < 400 => {}
        None => {
            app.metrics.stranger();
            // A login says itself why it is refused.
            if (class, status) != (Class::Public, 401) && app.front.door.strangers().heard(from) {
                tracing::warn!(target: "security", %from, class = class.word(), status, "refused to nobody who is known");
            }
        }
    }
}

/// Whether it is a refusal by a library, in words of its own: there is one form of refusal (A5).
fn is_strange(response: &Response) -> bool {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return false;
    }
    let media =
        response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    !["application/json", "application/grpc"].iter().any(|known| media.starts_with(known))
}

fn in_our_words(status: u16) -> Refusal {
    let (code, words) = match status {
        404 => (code::ROUTE, "there is no such route"),
        405 => (code::METHOD, "this route does not have that method"),
        413 => (code::SIZE, "the body is larger than this route allows"),
        415 => (code::MEDIA, "the body is not declared as what this route takes"),
        400..=499 => (code::FORMAT, "the request does not have the documented form"),
        _ => (code::INTERNAL, "the bridge failed; its log says why"),
    };
    Refusal::new(status, code, words)
}

/// The caller's name for the request if it is a plain one, otherwise one that no other request of this process has.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        let fits = (1..=64).contains(&value.len());
        fits && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
    };
    match headers.get(REQUEST_ID).filter(plain) {
        Some(id) => id.clone(),
        None => {
            let mut digits = [b'-'; 16];
            // There is room for them.
            let _written = hex::encode_to_slice(next_id().to_be_bytes(), &mut digits);
            HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("-"))
        }
    }
}

/// A number that was not given out before: a count, from a place of its own for each process, put out of order.
fn next_id() -> u64 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let drawn = random::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        AtomicU64::new(drawn)
    });
    // Each step can be undone, so that two counts come to two numbers (the finalizer of SplitMix64).
    let mut n = NEXT.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

fn accepts_problem(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|one| {
        let essence = one.split(';').next().unwrap_or("").trim();
        essence.eq_ignore_ascii_case(PROBLEM_JSON)
    })
}

/// The same refusal as RFC 9457 has it.
fn as_problem_json(response: Response, problem: &Problem) -> Response {
    let (mut parts, _) = response.into_parts();
    let mut body = serde_json::to_value(problem).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.insert("type".into(), format!("urn:modbatt:problem:{}", problem.code).into());
        members.insert("title".into(), problem.error.clone().into());
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    Response::from_parts(parts, body.to_string().into())
}

/// The host, and the port if one is named, that a request is for; empty where it names none, or two (A145).
pub(crate) fn authority(request: &Request) -> &str {
    let inner = request.uri().authority().map(|a| a.as_str());
    let named = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or(""));
    let mut all = inner.into_iter().chain(named);
    let first = all.next().unwrap_or("");
    if all.all(|other| other.eq_ignore_ascii_case(first)) { first } else { "" }
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}
