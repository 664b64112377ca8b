//! Asking again (A159, A160): a read whose answer is the same needs no body, and a write under the same key happens once.
//!
//! A change begins when its request is there as a whole, and then goes on to its end, whoever hangs up (A126).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use api::{TELEMETRY_BODY_MAX, problem::code};
use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use lct::{Digest, hash::sha256};
use serde::{Deserialize, Serialize};

use crate::{
    Shared,
    access::{Class, Known},
    extract,
    refusal::{Refusal, Reply},
};

/// Names a write that is to happen once.
const KEY: &str = "idempotency-key";
/// Longest such name, in bytes.
const KEY_MAX: usize = 128;
/// Longest answer that has a tag, or is kept.
const ANSWER_MAX: u64 = 2 << 20;
/// Answers that are kept in memory.
const KEPT: usize = 1024;
/// Longest answer among them.
const KEPT_MAX: usize = 64 << 10;
/// How long an answer is kept, in seconds.
pub(crate) const KEPT_S: u64 = 86_400;

/// Marks an answer with key material: it is given once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Once;

/// An answer that was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Given {
    /// Of the whole request.
    asked: Digest,
    /// Unix seconds.
    pub at: u64,
    #[serde(default = "fine")]
    status: u16,
    /// The body; `None` when it held key material.
    body: Option<String>,
}

/// Status of an answer that names none.
fn fine() -> u16 {
    StatusCode::OK.as_u16()
}

/// What was given under which name.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// `None` while the first request runs.
    by_name: BTreeMap<Digest, Option<Given>>,
    order: VecDeque<Digest>,
}

impl Answers {
    /// Begins a request, or tells what the same one was answered before; refused while that runs.
    fn begin(&self, name: Digest, stored: Option<Given>) -> Reply<Option<Given>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.by_name.get(&name) {
            Some(Some(given)) => return Ok(Some(given.clone())),
            Some(None) => {
                let refusal =
                    Refusal::new(409, code::REPLAY, "the request with this key is still being answered");
                return Err(refusal.detail("Idempotency-Key: ask again in a moment"));
            }
            None => {}
        }
        if stored.is_some() {
            return Ok(stored);
        }
        if kept.order.len() >= KEPT {
            // One that is still being answered is no answer that could be forgotten.
            let answered = kept.order.iter().position(|name| matches!(kept.by_name.get(name), Some(Some(_))));
            let Some(oldest) = answered.and_then(|at| kept.order.remove(at)) else {
                return Err(Refusal::new(503, code::BUSY, "too many requests with a key are being answered"));
            };
            kept.by_name.remove(&oldest);
        }
        kept.order.push_back(name);
        kept.by_name.insert(name, None);
        Ok(None)
    }

    /// Ends a request: what it was answered is kept, or it may be asked anew.
    fn end(&self, name: Digest, given: Option<Given>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match given {
            Some(given) => {
                // Forgotten meanwhile is forgotten.
                if let Some(known) = kept.by_name.get_mut(&name) {
                    *known = Some(given);
                }
            }
            None => {
                kept.by_name.remove(&name);
                kept.order.retain(|other| *other != name);
            }
        }
    }
}

/// Forgets a request that failed before it was answered.
struct Begun<'a>(&'a Answers, Digest, Option<Given>);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.end(self.1, self.2.take());
    }
}

/// Answers a read that the asker has already, and a write that happened already, without doing it.
pub(crate) async fn repeated(State(app): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if request.method() == Method::GET {
        let known = request.headers().get(header::IF_NONE_MATCH).cloned();
        return tagged(next.run(request).await, known).await;
    }
    let class = Class::of(request.method(), request.uri().path());
    // Behind the services of gRPC each call comes by here once more, in the form in which it is asked and answered.
    if matches!(class, Class::Public | Class::Read) || crate::grpc::is_call(&request) {
        return next.run(request).await;
    }
    let key = request.headers().get(KEY).cloned().filter(|_| !tells_a_secret(request.uri().path()));
    let who = request.extensions().get::<Known>().map_or_else(|| "-".into(), |Known(who)| who.name.clone());
    let (asked, bytes) = match whole(request).await {
        Ok(whole) => whole,
        Err(refusal) => return refusal.into_response(),
    };
    let shared = app.clone();
    let work = async move {
        match key {
            None => next.run(Request::from_parts(asked, Body::from(bytes))).await,
            Some(key) => {
                once(&shared, key, (asked, bytes), next).await.unwrap_or_else(IntoResponse::into_response)
            }
        }
    };
    let unheard = move |response: &Response| {
        let (class, status) = (class.word(), response.status().as_u16());
        tracing::info!(target: "audit", who, class, status, "done after its asker had gone");
    };
    app.works.run(work, unheard).await
}

/// The request with its body, which comes as slowly as its sender likes: until it is there nothing has begun.
async fn whole(request: Request) -> Reply<(Parts, Bytes)> {
    let (parts, body) = request.into_parts();
    let mut bounded = Request::new(body);
    DefaultBodyLimit::max(TELEMETRY_BODY_MAX).apply(&mut bounded);
    Ok((parts, extract::bytes(bounded).await?))
}

/// Gives an answer a tag, or leaves its body out where the asker has it.
async fn tagged(response: Response, known: Option<HeaderValue>) -> Response {
    let short = response.body().size_hint().exact().is_some_and(|n| n <= ANSWER_MAX);
    if response.status() != StatusCode::OK || !short {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, ANSWER_MAX as usize).await else {
        return Refusal::internal(&"an answer could not be read").into_response();
    };
    let digest = sha256(&[&bytes]);
    let tag = format!("\"{}\"", hex::encode(&digest[..16]));
    let has =
        |known: &str| known.split(',').any(|k| k.trim().trim_start_matches("W/") == tag || k.trim() == "*");
    let unchanged = known.as_ref().and_then(|k| k.to_str().ok()).is_some_and(has);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if unchanged {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Who asks, as far as it matters here: one client does not get another one's answers, whatever means they show.
fn asker(parts: &Parts) -> Digest {
    let part = |name| parts.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let known = parts.extensions.get::<Known>();
    let who = known.map_or(String::new(), |Known(who)| format!("{:?} {:?}", who.name, who.scope));
    sha256(&[b"asker", who.as_bytes(), b"|", part("x-api-key"), b"|", part("x-client-profile")])
}

/// Whether an answer may be kept at all: a login, and the secret of a web hook, are told once.
fn tells_a_secret(path: &str) -> bool {
    path.ends_with("/sessions") || path.ends_with("/webhooks")
}

async fn once(app: &Shared, key: HeaderValue, (parts, bytes): (Parts, Bytes), next: Next) -> Reply<Response> {
    let valid = (1..=KEY_MAX).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic);
    if !valid {
        return Err(Refusal::format(format!("Idempotency-Key: 1 to {KEY_MAX} visible ASCII characters")));
    }
    let path = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let lengths = [path.len(), bytes.len()].map(|n| (n as u64).to_be_bytes());
    let asked = sha256(&[parts.method.as_str().as_bytes(), &lengths.concat(), path.as_bytes(), &bytes]);
    let name = sha256(&[&asker(&parts), key.as_bytes()]);
    let stored_name = format!("{}{}", crate::compat::GIVEN, hex::encode(name));
    let now = app.now_s();
    let stored: Option<Given> = match &app.compat {
        Some(compat) => compat.book.get(&stored_name)?,
        None => None,
    };
    let stored = stored.filter(|given| now < given.at.saturating_add(KEPT_S));
    if let Some(given) = app.answers.begin(name, stored)? {
        return match given.body {
            _ if given.asked != asked => Err(Refusal::new(409, code::REPLAY, "another request had this key")
                .detail("Idempotency-Key: one key is for one request")),
            Some(body) => {
                let status = StatusCode::from_u16(given.status).map_err(|e| Refusal::internal(&e))?;
                Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
            }
            None => Err(Refusal::new(
                409,
                code::REPLAY,
                "this was done and answered; the answer held key material",
            )),
        };
    }
    let mut begun = Begun(&app.answers, name, None);
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let short = response.body().size_hint().exact().is_some_and(|n| n <= KEPT_MAX as u64);
    // What was sent and not seen in a block may still be in one: asked anew it would be sent anew.
    let begun_or_done = matches!(response.status(), StatusCode::OK | StatusCode::GATEWAY_TIMEOUT);
    if !begun_or_done || !short {
        return Ok(response);
    }
    let secret = response.extensions().get::<Once>().is_some();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, KEPT_MAX).await.map_err(|e| Refusal::internal(&e))?;
    let text = if secret { None } else { String::from_utf8(bytes.to_vec()).ok() };
    let given = Given { asked, at: now, status: parts.status.as_u16(), body: text };
    if let Some(compat) = &app.compat {
        compat.book.put(&stored_name, &given)?;
    }
    begun.2 = Some(given);
    Ok(Response::from_parts(parts, Body::from(bytes)))
}
