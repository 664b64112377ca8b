//! Asking again (A159, A160): a read whose answer is the same needs no body, and a write under the same key happens once.
//!
//! A change begins when its request is there as a whole, and then goes on to its end, whoever hangs up (A126).

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use api::{BODY_MAX, TELEMETRY_BODY_MAX, problem::code};
use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{DefaultBodyLimit, Request, State},
    http::{
        HeaderValue, Method, StatusCode, header, request::Parts as Asked, response::Parts, uri::PathAndQuery,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use lct::{Digest, hash::sha256};
use ledger::tx::TxId;
use serde::{Deserialize, Serialize};

use crate::{
    Shared,
    access::{Class, Known},
    compat::Book,
    extract,
    memo::{Answer, UntilBlock},
    refusal::{Refusal, Reply},
    rest::{Routine, mark},
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

/// What was done under a name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Given {
    /// Of the whole request.
    asked: Digest,
    /// Unix seconds.
    pub at: u64,
    /// The body of the answer; `None` when it held key material.
    body: Option<String>,
    /// There is no answer, but this may have taken effect or may still do so.
    #[serde(default)]
    sent: Option<Sent>,
}

/// A transaction that the bridge signed for a request.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Of its signer and body: what it does.
    pub what: Digest,
    pub tx: TxId,
}

/// The transaction of a request under a key, once it is sent and until it is known to have no effect; left with the request,
/// so that the same request finds it again instead of sending another one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Option<Sent>>>);

impl Trace {
    pub fn sent(&self) -> Option<Sent> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, sent: Option<Sent>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    }
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

/// What becomes of a request under a name.
enum Turn {
    /// It was answered so before.
    Answered(Option<String>),
    /// It runs, with what it sent before.
    Runs(Option<Sent>),
}

impl Answers {
    /// Begins a request, or tells what the same one was answered before; refused while that runs, and under the name of
    /// another one.
    fn begin(&self, name: Digest, asked: Digest, stored: Option<Given>) -> Reply<Turn> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match kept.by_name.get(&name) {
            Some(None) => {
                let refusal =
                    Refusal::new(409, code::REPLAY, "the request with this key is still being answered");
                return Err(refusal.detail("Idempotency-Key: ask again in a moment"));
            }
            Some(given) => given.clone(),
            None => stored,
        };
        let sent = match known {
            Some(given) if given.asked != asked => {
                return Err(Refusal::new(409, code::REPLAY, "another request had this key")
                    .detail("Idempotency-Key: one key is for one request"));
            }
            Some(Given { body, sent: None, .. }) => return Ok(Turn::Answered(body)),
            Some(given) => given.sent,
            None => None,
        };
        if let Some(known) = kept.by_name.get_mut(&name) {
            *known = None;
            return Ok(Turn::Runs(sent));
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
        Ok(Turn::Runs(sent))
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

/// A request that runs. However it ends: what it did under its name is kept, and if it did nothing the name is free.
struct Begun<'a> {
    answers: &'a Answers,
    book: Option<&'a Book>,
    name: Digest,
    asked: Digest,
    at: u64,
    trace: Trace,
    /// The body of an answer that is kept.
    answer: Option<Option<String>>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let Begun { asked, at, .. } = *self;
        let given = match (self.answer.take(), self.trace.sent()) {
            (Some(body), _) => Some(Given { asked, at, body, sent: None }),
            (None, Some(sent)) => Some(Given { asked, at, body: None, sent: Some(sent) }),
            (None, None) => None,
        };
        self.answers.end(self.name, given.clone());
        // What cannot be written down is done all the same, and holds while the bridge runs.
        if let (Some(book), Some(given)) = (self.book, given)
            && let Err(Refusal(why)) = book.put(&stored_name(&self.name), &given)
        {
            tracing::error!(%why, "an answer is kept in memory only: a restart forgets it");
        }
    }
}

/// Where the book keeps it.
fn stored_name(name: &Digest) -> String {
    format!("{}{}", crate::compat::GIVEN, hex::encode(name))
}

/// What was answered to a read since the last block (A165).
pub(crate) fn recalled(app: &Shared, request: &Request) -> Option<Response> {
    let answer = app.memo.recall(&app.chain, kept_as(app, request)?.as_str())?;
    app.metrics.recalled();
    Some(answer.given(request.headers().get(header::IF_NONE_MATCH)))
}

/// Under what the answer to a request may be kept until the next block.
fn kept_as<'a>(app: &Shared, request: &'a Request) -> Option<&'a PathAndQuery> {
    // Which contract an answer is of may stand in a header, where several are served.
    let may = request.method() == Method::GET && app.compat.is_none();
    request.uri().path_and_query().filter(|_| may)
}

/// Answers a read that the asker has already, and a write that happened already, without doing it: asking `next`.
pub(crate) async fn repeated<F>(
    app: &Arc<Shared>,
    class: Class,
    mut request: Request,
    next: impl FnOnce(Request) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    if request.method() == Method::GET {
        return read(app, request, next).await;
    }
    DefaultBodyLimit::max(BODY_MAX).apply(&mut request);
    // Behind the services of gRPC each call comes by here once more, in the form in which it is asked and answered.
    if matches!(class, Class::Public | Class::Read) || crate::grpc::is_call(&request) {
        return next(request).await;
    }
    let key = request.headers().get(KEY).cloned().filter(|_| !tells_a_secret(request.uri().path()));
    let known = request.extensions().get::<Known>();
    let who = known.map_or_else(|| "-".into(), |known| known.who.name.clone());
    let (asked, bytes) = match whole(request).await {
        Ok(whole) => whole,
        Err(refusal) => return refusal.into_response(),
    };
    let (shared, name) = (app.clone(), who.clone());
    let work = async move {
        match key {
            None => next(Request::from_parts(asked, Body::from(bytes))).await,
            Some(key) => {
                once(&shared, key, (asked, bytes), next).await.unwrap_or_else(IntoResponse::into_response)
            }
        }
    };
    let unheard = move |response: &Response| {
        if response.extensions().get::<Routine>().is_none() {
            let (class, status) = (class.word(), response.status().as_u16());
            tracing::info!(target: "audit", who, class, status, "done after its asker had gone");
        }
    };
    app.works.run(&name, work, unheard).await
}

/// As [`repeated`] for routes of another router.
pub(crate) async fn layer(State(app): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let class = Class::of(request.method(), request.uri().path());
    repeated(&app, class, request, |request| next.run(request)).await
}

/// Answers a read, with a tag.
async fn read<F: Future<Output = Response>>(
    app: &Shared,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let asked = kept_as(app, &request).cloned();
    let response = next(request).await;
    let until = response.extensions().get::<UntilBlock>().copied();
    let answer = match tagged(response).await {
        Ok(answer) => Arc::new(answer),
        Err(response) => return response,
    };
    if let (Some(until), Some(asked)) = (until, &asked) {
        app.memo.keep(until, asked.as_str(), &answer);
    }
    answer.given(known.as_ref())
}

/// The request with its body, which comes as slowly as its sender likes: until it is there nothing has begun.
async fn whole(request: Request) -> Reply<(Asked, Bytes)> {
    let (parts, body) = request.into_parts();
    let mut bounded = Request::new(body);
    DefaultBodyLimit::max(TELEMETRY_BODY_MAX).apply(&mut bounded);
    Ok((parts, extract::bytes(bounded).await?))
}

/// Gives a good answer a tag, unless it is long or goes on.
async fn tagged(response: Response) -> Result<Answer, Response> {
    let short = response.body().size_hint().exact().is_some_and(|n| n <= ANSWER_MAX);
    if response.status() != StatusCode::OK || !short {
        return Err(response);
    }
    let (Parts { mut headers, .. }, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, ANSWER_MAX as usize).await else {
        return Err(Refusal::internal(&"an answer could not be read").into_response());
    };
    let digest = sha256(&[&bytes]);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", hex::encode(&digest[..16]))) {
        headers.insert(header::ETAG, tag);
    }
    // So that there is a place for each of them where the answer is given again.
    mark(&mut headers, HeaderValue::from_static("-"));
    Ok(Answer { headers, bytes })
}

/// Who asks, as far as it matters here: one client does not get another one's answers, whatever means they show.
fn asker(parts: &Asked) -> Digest {
    let part = |name| parts.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let known = parts.extensions.get::<Known>();
    let who = known.map_or(String::new(), |Known { who, .. }| format!("{:?} {:?}", who.name, who.scope));
    sha256(&[b"asker", who.as_bytes(), b"|", part("x-api-key"), b"|", part("x-client-profile")])
}

/// Whether an answer may be kept at all: a login, and the secret of a web hook, are told once.
fn tells_a_secret(path: &str) -> bool {
    path.ends_with("/sessions") || path.ends_with("/webhooks")
}

async fn once<F: Future<Output = Response>>(
    app: &Shared,
    key: HeaderValue,
    (parts, bytes): (Asked, Bytes),
    next: impl FnOnce(Request) -> F,
) -> Reply<Response> {
    let valid = (1..=KEY_MAX).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic);
    if !valid {
        return Err(Refusal::format(format!("Idempotency-Key: 1 to {KEY_MAX} visible ASCII characters")));
    }
    let path = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let lengths = [path.len(), bytes.len()].map(|n| (n as u64).to_be_bytes());
    let asked = sha256(&[parts.method.as_str().as_bytes(), &lengths.concat(), path.as_bytes(), &bytes]);
    let name = sha256(&[&asker(&parts), key.as_bytes()]);
    let now = app.now_s();
    let book = app.compat.as_ref().map(|compat| &compat.book);
    let stored: Option<Given> = match book {
        Some(book) => book.get(&stored_name(&name))?,
        None => None,
    };
    let stored = stored.filter(|given| now < given.at.saturating_add(KEPT_S));
    let sent = match app.answers.begin(name, asked, stored)? {
        Turn::Answered(Some(body)) => {
            return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
        }
        Turn::Answered(None) => {
            let words = "this was done and answered; the answer held key material";
            return Err(Refusal::new(409, code::REPLAY, words));
        }
        Turn::Runs(sent) => sent,
    };
    let trace = Trace::default();
    trace.set(sent);
    let mut begun =
        Begun { answers: &app.answers, book, name, asked, at: now, trace: trace.clone(), answer: None };
    let mut request = Request::from_parts(parts, Body::from(bytes));
    request.extensions_mut().insert(trace);
    let response = next(request).await;
    let short = response.body().size_hint().exact().is_some_and(|n| n <= KEPT_MAX as u64);
    if response.status() != StatusCode::OK || !short {
        return Ok(response);
    }
    let secret = response.extensions().get::<Once>().is_some();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, KEPT_MAX).await.map_err(|e| Refusal::internal(&e))?;
    begun.answer = Some(if secret { None } else { String::from_utf8(bytes.to_vec()).ok() });
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicBool, Ordering::SeqCst},
    };

    use redb::{StorageBackend, backends::InMemoryBackend};

    use super::*;

    /// A disk that gets full.
    #[derive(Debug)]
    struct Disk(InMemoryBackend, Arc<AtomicBool>);

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            if self.1.load(SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(offset, data)
        }
    }

    /// What was done keeps its name, whether it was answered, could be written down, or ended in a panic.
    #[test]
    fn what_was_done_is_not_done_again() {
        let full = Arc::new(AtomicBool::new(false));
        let disk = Disk(InMemoryBackend::new(), full.clone());
        let book = Book::over(redb::Builder::new().create_with_backend(disk).unwrap()).unwrap();
        full.store(true, SeqCst);
        let answers = Answers::default();
        let (asked, sent) = ([1; 32], Sent { what: [2; 32], tx: [3; 32] });
        let begun = |name: u8| {
            let Turn::Runs(sent) = answers.begin([name; 32], asked, None).unwrap() else {
                panic!("{name} was answered")
            };
            let trace = Trace::default();
            trace.set(sent);
            Begun {
                answers: &answers,
                book: Some(&book),
                name: [name; 32],
                asked,
                at: 7,
                trace,
                answer: None,
            }
        };

        let mut answered = begun(1);
        answered.answer = Some(Some("done".into()));
        drop(answered);
        let stored = book.get::<Given>(&stored_name(&[1; 32]));
        assert!(!matches!(stored, Ok(Some(_))), "the disk is full");
        let again = answers.begin([1; 32], asked, None).unwrap();
        assert!(matches!(again, Turn::Answered(Some(body)) if body == "done"));
        assert!(answers.begin([1; 32], [9; 32], None).is_err(), "another request");

        let unanswered = begun(2);
        unanswered.trace.set(Some(sent));
        assert!(answers.begin([2; 32], asked, None).is_err(), "it runs");
        drop(unanswered);
        assert!(answers.begin([2; 32], [9; 32], None).is_err(), "another request");
        let again = begun(2);
        assert_eq!(again.trace.sent().map(|sent| sent.tx), Some(sent.tx), "its fate is open");
        again.trace.set(None);
        drop(again);
        assert!(begun(2).trace.sent().is_none(), "what had no effect is done anew");
    }
}
