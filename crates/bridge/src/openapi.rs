//! The contract of the API, published from its code, and a viewer for it (A200 to A202).
//!
//! What is true of every route is added here: a handler names its path, its parameters, its answer and the statuses that
//! are its own.

use std::{collections::BTreeSet, sync::Arc};

use api::{PREFIX, Problem, session::PROOF_HEADER};
use axum::{
    Router,
    body::Bytes,
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::Response,
    routing::get,
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{SwaggerUi, Url};

use crate::{Shared, access::Class, events::catalogue};

/// Where the contract lies.
const DOCUMENT: &str = "/openapi.json";
/// Where that of clients that cannot sign lies.
const OLDER: &str = "/openapi-compat.json";
/// What the two are about.
const ABOUT: &str = "Secure link and ledger of modular batteries. What each call means: spec/api.md.";
const ABOUT_OLDER: &str = "What the bridge serves to clients that cannot sign (A150 to A162). A native client finds part of it below \
                           `/api/v1`, older profiles find all of it under each path; members they see are dressed \
                           as docs/api.md says.";
/// Statuses that any request may get, and one that needs somebody who asks (A130 to A136).
const ALWAYS: [u16; 5] = [408, 421, 429, 500, 503];
const WITH_PRINCIPAL: [u16; 2] = [401, 403];
/// Statuses of a request with parameters or a body, and of one with a body.
const WITH_INPUT: [u16; 1] = [400];
const WITH_BODY: [u16; 2] = [413, 415];
/// What the viewer may do: show what this host gives it. Its styles are partly in the elements.
const VIEWER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Base;

/// An empty router whose contract knows the body of every refusal.
pub(crate) fn router() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Base::openapi())
}

/// The contract of this version (OpenAPI 3.1), as `GET /openapi.json` gives it.
pub fn contract() -> String {
    complete(json!(crate::rest::native().into_openapi()), ABOUT).to_string()
}

/// The contract of clients that cannot sign (OpenAPI 3.1), as `GET /openapi-compat.json` gives it.
pub fn older_contract() -> String {
    let mut contract = crate::compat::document();
    contract["components"]["schemas"]["Problem"] = json!(<Problem as utoipa::PartialSchema>::schema());
    complete(contract, ABOUT_OLDER).to_string()
}

/// The routes that publish a contract: the documents, and the viewer.
pub(crate) fn published(contract: utoipa::openapi::OpenApi) -> Router<Arc<Shared>> {
    let json = |document: String| {
        let document = Bytes::from(document);
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) })
    };
    let native = json(complete(json!(contract), ABOUT).to_string());
    let older = json(older_contract());
    let both = [Url::new("native", DOCUMENT), Url::new("clients that cannot sign", OLDER)];
    let config = utoipa_swagger_ui::Config::new(both)
        .validator_url("none")
        .default_model_rendering("model")
        .filter(true);
    let viewer = Router::from(SwaggerUi::new("/docs").config(config));
    let strict = |mut answer: Response| async {
        let policy = HeaderValue::from_static(VIEWER_POLICY);
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        answer
    };
    viewer.layer(map_response(strict)).route(DOCUMENT, native).route(OLDER, older)
}

/// Adds what holds for every route and every type.
fn complete(mut contract: Value, about: &str) -> Value {
    contract["info"] = json!({
        "title": "modbatt",
        "version": env!("CARGO_PKG_VERSION"),
        "description": about,
        "license": {"name": "MIT OR Apache-2.0"},
    });
    contract["servers"] = json!([{"url": "/"}]);
    contract["components"]["securitySchemes"] = json!({
        "token": {"type": "http", "scheme": "bearer", "description": "From POST /sessions, or of a user (A134)."},
        "proof": {"type": "apiKey", "in": "header", "name": PROOF_HEADER,
            "description": "That the token's key made this request: TIME.NONCE.SIGNATURE (A134)."},
        "certificate": {"type": "mutualTLS", "description": "Of a user (A139)."},
    });
    for (path, methods) in members(&mut contract["paths"]) {
        for (method, operation) in members(methods) {
            describe(path, method, operation);
        }
    }
    bound_integers(&mut contract);
    no_null_in_answers(&mut contract);
    contract
}

/// Name, group and statuses of an operation.
fn describe(path: &str, method: &str, operation: &mut Value) {
    let inner = path.strip_prefix(PREFIX);
    let mut words = vec![method];
    words.extend(inner.unwrap_or(path).split(['/', '{', '}', '-']).filter(|word| !word.is_empty()));
    // Two routes exist with and without the prefix.
    words.extend(inner.is_none().then_some("at_root"));
    operation["operationId"] = words.join("_").into();
    operation["tags"] = json!([words[1]]);
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        if parameter["name"] == "types" {
            let words: BTreeSet<_> = catalogue::words().collect();
            let one = words.into_iter().collect::<Vec<_>>().join("|");
            parameter["schema"]["pattern"] = format!("^({one})(,({one}))*$").into();
        }
    }
    let body = operation.get("requestBody").is_some();
    let input = body || operation.get("parameters").is_some();
    let mut statuses = ALWAYS.to_vec();
    let public = Class::of(&method.to_uppercase().parse().unwrap_or_default(), path) == Class::Public;
    operation["security"] =
        if public { json!([]) } else { json!([{"token": [], "proof": []}, {"certificate": []}]) };
    statuses.extend(if public { &[] } else { &WITH_PRINCIPAL[..] });
    statuses.extend(if input { &WITH_INPUT[..] } else { &[] });
    statuses.extend(if body { &WITH_BODY[..] } else { &[] });
    if method == "get" && operation["responses"]["200"]["content"]["application/json"].is_object() {
        conditional(operation);
    }
    let responses = &mut operation["responses"];
    for status in statuses {
        let entry = &mut responses[status.to_string()];
        if entry.is_null() {
            *entry = json!({});
        }
    }
    for (status, response) in members(responses) {
        let status = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.unwrap_or(StatusCode::OK);
        response["description"] = status.canonical_reason().unwrap_or_default().into();
        // Unless the route says what else it tells then.
        if (status.is_client_error() || status.is_server_error()) && response.get("content").is_none() {
            let schema = json!({"$ref": "#/components/schemas/Problem"});
            response["content"] = json!({"application/json": {"schema": schema}});
        }
    }
}

/// Says that an answer has a name, and is left out where the asker has it (A159).
fn conditional(operation: &mut Value) {
    let known = json!({"in": "header", "name": "If-None-Match", "required": false, "schema": {"type": "string"},
        "description": "`ETag` of answers that the asker has."});
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(known),
        None => operation["parameters"] = json!([known]),
    }
    let tag =
        json!({"ETag": {"schema": {"type": "string"}, "description": "Names the answer by its content."}});
    operation["responses"]["304"] = json!({ "headers": tag });
    operation["responses"]["200"]["headers"] = tag;
}

/// The members of an object; none of anything else.
fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

/// Calls `f` with every object in `value`, inner ones first.
fn every_object(value: &mut Value, f: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|v| every_object(v, f)),
        Value::Object(object) => {
            object.values_mut().for_each(|v| every_object(v, f));
            f(object);
        }
        _ => {}
    }
}

/// Says the range of an integer of 32 or 64 bits in numbers; a narrower one has it from its type's `schema(maximum)`.
fn bound_integers(contract: &mut Value) {
    every_object(contract, &mut |schema| {
        let unsigned = schema.get("minimum").and_then(Value::as_i64).is_some_and(|least| least >= 0);
        let (least, most) = match (schema.get("format").and_then(Value::as_str), unsigned) {
            (Some("int32"), true) => (json!(0), json!(u32::MAX)),
            (Some("int64"), true) => (json!(0), json!(u64::MAX)),
            (Some("int32"), false) => (json!(i32::MIN), json!(i32::MAX)),
            (Some("int64"), false) => (json!(i64::MIN), json!(i64::MAX)),
            _ => return,
        };
        schema.entry("minimum").or_insert(least);
        schema.entry("maximum").or_insert(most);
    });
}

/// An answer holds no `null` (A3), and a request may: a type that no request reaches admits none.
fn no_null_in_answers(contract: &mut Value) {
    let mut asked = Vec::new();
    for (_, methods) in members(&mut contract["paths"]) {
        for (_, operation) in members(methods) {
            if let Some(body) = operation.get_mut("requestBody") {
                references(body, &mut asked);
            }
        }
    }
    let schemas = &mut contract["components"]["schemas"];
    let mut at = 0;
    while let Some(name) = asked.get(at).cloned() {
        if let Some(schema) = schemas.get_mut(&name) {
            references(schema, &mut asked);
        }
        at += 1;
    }
    for (name, schema) in members(schemas) {
        if !asked.contains(name) {
            every_object(schema, &mut without_null);
        }
    }
}

/// Adds the names of the types that `value` refers to.
fn references(value: &mut Value, names: &mut Vec<String>) {
    every_object(value, &mut |object| {
        let name = object.get("$ref").and_then(Value::as_str).and_then(|at| at.rsplit('/').next());
        if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
            names.push(name.into());
        }
    });
}

fn without_null(schema: &mut Map<String, Value>) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| *one != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(either)) = schema.get_mut("oneOf") {
        either.retain(|one| one.get("type") != Some(&null));
        if either.len() == 1
            && let Some(Value::Object(only)) = either.pop()
        {
            schema.remove("oneOf");
            schema.extend(only);
        }
    }
}
