//! Operations as routes (A154 to A157): one table, from which the routes are made and which `docs/api.md` repeats.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use api::{BODY_MAX, PREFIX, problem::code};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{Method, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tower::ServiceExt;
use utoipa::ToSchema;

use super::{
    Ctx, Profile,
    contract::Shape,
    dress::{dress, undress},
    ops::{account, anonymous, authorization, component, energy, entity, lct, pairing, queue, trust},
};
use crate::{
    Shared,
    access::Known,
    refusal::{Refusal, Reply},
    repeat::{self, Once, Trace},
    strict::Strict,
};

/// What becomes of a call of the older contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It works only with this switch.
    Only(&'static str),
    /// It works; what more is possible needs this switch.
    More(&'static str),
    /// It is refused always.
    Refused,
}

impl Verdict {
    /// As `docs/api.md` writes it.
    pub fn text(self) -> String {
        match self {
            Verdict::Works => "works".into(),
            Verdict::Only(switch) => format!("works only with `{switch}`"),
            Verdict::More(switch) => format!("works; more with `{switch}`"),
            Verdict::Refused => "refused".into(),
        }
    }
}

/// A route: method, path below the prefix, who has it, what becomes of calls, and how.
pub(super) struct Call {
    pub method: Method,
    pub path: &'static str,
    /// The members of a request that its path names, in their order.
    pub fields: &'static [&'static str],
    served: Served,
    pub verdict: Verdict,
    /// What it takes and answers.
    pub shape: fn() -> Shape,
    handler: MethodRouter<Arc<Shared>>,
}

impl Call {
    /// Whether it is found below the prefix.
    pub fn is_prefixed(&self) -> bool {
        self.served != Served::Bare
    }
}

/// Who has a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// Every profile, below the prefix; older ones without it too.
    All,
    /// Older profiles only: the native one has another route under this name, or another name for it.
    Old,
    /// Older profiles only, and only without the prefix.
    Bare,
}

/// Every route: method, path below the prefix, whether the native profile has it, and what becomes of calls.
pub fn calls() -> Vec<(String, &'static str, bool, Verdict)> {
    let all = table().into_iter();
    all.map(|c| (c.method.to_string(), c.path, c.served == Served::All, c.verdict)).collect()
}

/// The routes that the native profile has.
pub(crate) fn native() -> Router<Arc<Shared>> {
    let ours = table().into_iter().filter(|call| call.served == Served::All);
    ours.fold(Router::new(), |router, call| router.route(&format!("{PREFIX}{}", call.path), call.handler))
}

/// The methods of the service, for those who ask them over gRPC, where each write under a key happens once as well.
pub(crate) fn methods(app: Arc<Shared>) -> Router {
    let ours = table().into_iter().filter(|call| call.path.starts_with("/APIBridgeService/"));
    let routes = ours.fold(Router::new(), |router, call| router.route(call.path, call.handler));
    routes
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(app.clone(), repeat::layer))
        .with_state(app)
}

/// Every route under both of its names; what is not there is asked of `native`.
fn old(native: Router, app: Arc<Shared>) -> Router {
    let ask = move |request: Request| {
        let native = native.clone();
        async move { native.oneshot(request).await }
    };
    let routes = table().into_iter().fold(Router::new(), |router, call| {
        let router = if call.is_prefixed() {
            router.route(&format!("{PREFIX}{}", call.path), call.handler.clone())
        } else {
            router
        };
        router.route(call.path, call.handler)
    });
    routes
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .fallback(ask.clone())
        .method_not_allowed_fallback(ask)
        .with_state(app)
}

/// `native`, and beside it what clients of the older contract see, where the bridge serves them.
pub(crate) fn profiles(native: Router, app: &Arc<Shared>) -> Router {
    let Some(compat) = &app.compat else { return native };
    let configured = compat.profile;
    if configured == Profile::Native {
        return native;
    }
    let old = old(native.clone(), app.clone());
    Router::new().fallback(move |mut request: Request| {
        let (native, old) = (native.clone(), old.clone());
        async move {
            let Some(profile) = Profile::of(request.headers(), configured) else {
                return Refusal::format("X-Client-Profile: native, legacy or modbatt-win").into_response();
            };
            request.extensions_mut().insert(profile);
            let router = if profile == Profile::Native { native } else { old };
            router.oneshot(request).await.into_response()
        }
    })
}

/// Makes a route of an operation. What a path names goes into the fields `names`, in their order.
fn call<Rq, Rs, F, Fut>(
    method: Method,
    path: &'static str,
    names: &'static [&'static str],
    (served, verdict): (Served, Verdict),
    operation: F,
) -> Call
where
    Rq: Serialize + DeserializeOwned + ToSchema + Send + 'static,
    Rs: Serialize + ToSchema + 'static,
    F: Fn(Ctx, Rq) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Reply<Rs>> + Send + 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    let handler = on(filter, move |axum::extract::State(app): crate::routes::App, request: Request| {
        let operation = operation.clone();
        async move {
            let profile = request.extensions().get::<Profile>().copied().unwrap_or_default();
            let Known { who, .. } =
                request.extensions().get::<Known>().cloned().ok_or_else(|| {
                    Refusal::internal(&"a route that needs a principal lies outside the gate")
                })?;
            let trace = request.extensions().get::<Trace>().cloned().unwrap_or_default();
            let rq = read::<Rq>(request, names, profile).await?;
            let rs = operation(Ctx { app, who, trace }, rq).await?;
            let mut answer = serde_json::to_value(rs).map_err(|e| Refusal::internal(&e))?;
            let secret = ["lct_key_half", "device_key_half", "split_key_a"]
                .iter()
                .any(|half| answer.get(half).is_some());
            dress(profile, &mut answer);
            let mut response = Json(answer).into_response();
            if secret {
                response.extensions_mut().insert(Once);
            }
            Ok::<Response, Refusal>(response)
        }
    });
    Call { method, path, fields: names, served, verdict, shape: Shape::of::<Rq, Rs>, handler }
}

/// Body, query and path as one request.
async fn read<Rq: Serialize + DeserializeOwned>(
    request: Request,
    names: &[&str],
    profile: Profile,
) -> Reply<Rq> {
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &()).await;
    let params = params.map_err(|e| Refusal::format(e.body_text()))?;
    let in_path: Vec<String> = params.iter().map(|(_, value)| value.to_owned()).collect();
    let query = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri);
    let Query(query) = query.map_err(|e| Refusal::format(e.body_text()))?;
    let request = Request::from_parts(parts, body);
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let json = media.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json");
    let foreign = request.headers().contains_key(header::ORIGIN) && request.method() != Method::GET;
    let bytes = Bytes::from_request(request, &())
        .await
        .map_err(|_| Refusal::new(413, code::SIZE, "the body is larger than this route allows"))?;
    // A page of another origin can send a form, plain text or nothing without asking, but not JSON.
    if !json && (foreign || !bytes.is_empty()) {
        return Err(Refusal::new(415, code::MEDIA, "the body must be declared as application/json"));
    }
    let mut fields: Map<String, Value> =
        if bytes.is_empty() { Map::new() } else { crate::extract::parse(&bytes)? };
    for (name, value) in query {
        if fields.insert(name.clone(), Value::String(value)).is_some() {
            return Err(Refusal::format(format!("{name}: it is in the query and in the body")));
        }
    }
    if profile != Profile::Native {
        undress(&mut fields);
    }
    for (name, value) in names.iter().zip(in_path) {
        fields.insert((*name).into(), Value::String(value));
    }
    let given: Vec<String> = fields.keys().cloned().collect();
    let rq: Rq = serde_path_to_error::deserialize(Strict(Value::Object(fields))).map_err(|e| {
        let path = e.path().to_string();
        Refusal::format(format!("{path}: {}", e.into_inner()))
    })?;
    if profile == Profile::Native {
        let known = serde_json::to_value(&rq).map_err(|e| Refusal::internal(&e))?;
        if let Some(other) = given.iter().find(|name| known.get(name.as_str()).is_none()) {
            return Err(Refusal::format(format!("{other}: this request has no such member")));
        }
    }
    Ok(rq)
}

/// Every operation and where it is found.
pub(super) fn table() -> Vec<Call> {
    use Served::{All, Bare, Old};
    use Verdict::{More, Only, Refused, Works};
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let creators = Only("--allow-unknown-creators");
    let halves = More("--allow-clear-key-halves");
    let made_up = More("--allow-unknown-components");
    let unproved = More("--allow-pairing-without-proofs");
    macro_rules! calls {
        ($($method:ident $path:literal [$($name:literal)*] $served:ident $verdict:expr, $operation:path;)*) => {
            vec![$(call($method.clone(), $path, &[$($name),*], ($served, $verdict), $operation)),*]
        };
    }
    calls! {
        get "/accounts" [] All Works, account::accounts;
        post "/accounts" [] All creators, account::create;
        get "/accounts/info" [] All Works, account::info;
        post "/components/register" [] Old made_up, component::register;
        get "/components/{id}" ["component_id"] Old Works, component::get;
        get "/components/{id}/identity" ["component_id"] All Works, component::identity;
        post "/components/{id}/verify" ["component_id"] All Works, component::verify;
        post "/components/verify" [] Old Works, component::verify;
        post "/component/register" [] Old made_up, component::register;
        post "/components/register-anonymous" [] All Works, anonymous::register;
        post "/components/verify-pairing-hashes" [] All Works, anonymous::verify;
        post "/components/authorization-anonymous" [] All Works, anonymous::authorize;
        post "/components/create-pairing-authorization" [] Old Works, anonymous::authorize;
        post "/components/revocation-anonymous" [] All Works, anonymous::revoke;
        post "/components/create-revocation-event" [] Old Works, anonymous::revoke;
        get "/components/metadata-anonymous/{hash}" ["hash"] All Works, anonymous::metadata;
        get "/components/anonymous/{hash}/metadata" ["hash"] Old Works, anonymous::metadata;
        post "/lct/create" [] Old halves, lct::create;
        get "/lct/{id}" ["lct_id"] Old Works, lct::get;
        put "/lct/{id}/status" ["lct_id"] All Works, lct::update_status;
        post "/pairing/initiate" [] All unproved, pairing::initiate;
        post "/pairing/complete" [] All unproved, pairing::complete;
        delete "/pairing/revoke" [] All Works, pairing::revoke;
        post "/pairing/revoke" [] Old Works, pairing::revoke;
        get "/pairing/status/{id}" ["challenge_id"] All Works, pairing::status;
        post "/pairing/queue" [] Old Works, queue::request;
        get "/pairing/queue/{id}/status" ["request_id"] Old Works, queue::status;
        post "/pairing/queue/process" [] Old Works, queue::process;
        post "/pairing/queue/cancel" [] Old Works, queue::cancel;
        get "/pairing/queue/{id}/requests" ["component_id"] Old Works, queue::requests;
        get "/pairing/queue/proxy/{id}" ["component_id"] Old Works, queue::proxy;
        post "/trust/tensor" [] All Works, trust::create;
        post "/trust/create" [] Old Works, trust::create;
        get "/trust/tensor/{id}" ["tensor_id"] All Works, trust::get;
        get "/trust/{id}" ["tensor_id"] Old Works, trust::get;
        put "/trust/tensor/{id}/score" ["tensor_id"] All Refused, trust::update;
        put "/trust/{id}/score" ["tensor_id"] Old Refused, trust::update;
        post "/energy/operation" [] All Works, energy::create;
        post "/energy/create" [] Old Works, energy::create;
        post "/energy/transfer" [] All Works, energy::transfer;
        get "/energy/balance/{id}" ["component_id"] All Works, energy::balance;
        post "/queue/pairing-request" [] All Works, queue::request;
        get "/queue/status/{id}" ["request_id"] All Works, queue::status;
        post "/queue/process-offline/{id}" ["component_id"] All Works, queue::process;
        delete "/queue/cancel/{id}" ["request_id"] All Works, queue::cancel;
        get "/queue/requests/{id}" ["component_id"] All Works, queue::requests;
        get "/queue/proxy/{id}" ["component_id"] All Works, queue::proxy;
        post "/authorization/pairing" [] All Works, authorization::create;
        get "/authorization/component/{id}" ["component_id"] All Works, authorization::of_component;
        get "/authorization/check" [] All Works, authorization::check;
        put "/authorization/{id}" ["authorization_id"] All Works, authorization::update;
        delete "/authorization/{id}" ["authorization_id"] All Works, authorization::revoke;
        post "/trust-enhanced/calculate" [] All Works, trust::calculate;
        get "/trust-enhanced/relationship" [] All Works, trust::relationship;
        put "/trust-enhanced/score" [] All Refused, trust::update;
        post "/entities" [] All Works, entity::create;
        get "/entities/{id}" ["lct"] All Works, entity::get;
        post "/bindings" [] Old Works, entity::bind;
        post "/pairings" [] Old Works, entity::pair;
        put "/pairings/{id}" ["pairing_id"] All Works, entity::complete;
        post "/witnessing" [] All Works, entity::witness;
        post "/broadcasts" [] All Works, entity::broadcast;
        post "/tensors/t3" [] All Refused, entity::tensor;
        post "/tensors/v3" [] All Refused, entity::tensor;
        post "/api/binding/register-component" [] Bare Works, entity::create;
        post "/APIBridgeService/GetAccounts" [] Bare Works, account::accounts;
        post "/APIBridgeService/RegisterComponent" [] Bare made_up, component::register;
        post "/APIBridgeService/GetComponent" [] Bare Works, component::get;
        post "/APIBridgeService/GetComponentIdentity" [] Bare Works, component::identity;
        post "/APIBridgeService/VerifyComponent" [] Bare Works, component::verify;
        post "/APIBridgeService/CreateLCT" [] Bare halves, lct::create;
        post "/APIBridgeService/GetLCT" [] Bare Works, lct::get;
        post "/APIBridgeService/UpdateLCTStatus" [] Bare Works, lct::update_status;
        post "/APIBridgeService/InitiatePairing" [] Bare unproved, pairing::initiate;
        post "/APIBridgeService/CompletePairing" [] Bare unproved, pairing::complete;
        post "/APIBridgeService/RevokePairing" [] Bare Works, pairing::revoke;
        post "/APIBridgeService/GetPairingStatus" [] Bare Works, pairing::status;
        post "/APIBridgeService/CreateTrustTensor" [] Bare Works, trust::create;
        post "/APIBridgeService/GetTrustTensor" [] Bare Works, trust::get;
        post "/APIBridgeService/UpdateTrustScore" [] Bare Refused, trust::update;
        post "/APIBridgeService/CreateEnergyOperation" [] Bare Works, energy::create;
        post "/APIBridgeService/ExecuteEnergyTransfer" [] Bare Works, energy::transfer;
        post "/APIBridgeService/GetEnergyBalance" [] Bare Works, energy::balance;
        post "/APIBridgeService/QueuePairingRequest" [] Bare Works, queue::request;
        post "/APIBridgeService/GetQueueStatus" [] Bare Works, queue::status;
        post "/APIBridgeService/ProcessOfflineQueue" [] Bare Works, queue::process;
        post "/APIBridgeService/CancelRequest" [] Bare Works, queue::cancel;
        post "/APIBridgeService/GetQueuedRequests" [] Bare Works, queue::requests;
        post "/APIBridgeService/ListProxyQueue" [] Bare Works, queue::proxy;
        post "/APIBridgeService/CreatePairingAuthorization" [] Bare Works, authorization::create;
        post "/APIBridgeService/GetComponentAuthorizations" [] Bare Works, authorization::of_component;
        post "/APIBridgeService/UpdateAuthorization" [] Bare Works, authorization::update;
        post "/APIBridgeService/RevokeAuthorization" [] Bare Works, authorization::revoke;
        post "/APIBridgeService/CheckPairingAuthorization" [] Bare Works, authorization::check;
        post "/APIBridgeService/CalculateRelationshipTrust" [] Bare Works, trust::calculate;
        post "/APIBridgeService/GetRelationshipTensor" [] Bare Works, trust::get;
        post "/APIBridgeService/UpdateTensorScore" [] Bare Refused, trust::update;
    }
}
