//! What the app's host serves over HTTP (`spec/api.md`, A91, A96): keys for bindings, its own and those of the parts behind it that
//! speak no HTTP.
//!
//! Like the bridge it has no TLS: it listens on this machine only and takes no request that names another host (A7).

use crate::core::{CarryRefused, KeysRefused, status_of};
use api::{
    Blob, Fixed, Hex, Problem,
    binding::Replaces,
    entity::{CARRY, Carried, Carry, GENERATE_KEYS, GenerateKeys, GeneratedKeys},
    health::Health,
    problem::code,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use lct::id::BindingId;
use pack::{answers::DeviceKeys, pdu::Status};
use std::{future::Future, io, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Longest body; a request has at most 268 bytes.
const BODY_MAX: usize = 4_096;
/// How long a caller waits for a device.
const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of a request: the keys for this binding, or why nobody draws any.
pub type Drawn = Result<(BindingId, DeviceKeys), KeysRefused>;

/// A request for whoever owns the [`crate::Gateway`].
#[derive(Debug)]
pub enum Wanted {
    /// Somebody is to draw a key.
    Keys {
        /// Who.
        component_id: String,
        /// The bind request, not verified yet.
        request: Vec<u8>,
        /// Where the outcome goes.
        answer: oneshot::Sender<Drawn>,
    },
    /// Somebody is to be given a message that authenticates itself.
    Carry {
        /// Who.
        component_id: String,
        /// With its type.
        message: Vec<u8>,
        /// Where the device's answer goes.
        answer: oneshot::Sender<Result<Vec<u8>, CarryRefused>>,
    },
}

/// Serves `listener` until `shutdown` resolves.
///
/// # Errors
/// Of the listener; [`io::ErrorKind::InvalidInput`] when other machines could reach it.
pub async fn serve(
    listener: TcpListener,
    wanted: mpsc::Sender<Wanted>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    if !listener.local_addr()?.ip().is_loopback() {
        let why = "an entity speaks http in clear and only listens on a loopback address";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let router = Router::new()
        .route(GENERATE_KEYS, post(generate_keys))
        .route(CARRY, post(carry))
        .route("/health", get(health))
        .route(&format!("{}/health", api::PREFIX), get(health))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(of_this_machine))
        .with_state(wanted);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

/// Against names that were made to resolve to this machine.
async fn of_this_machine(request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let host = match named.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => named,
    };
    if api::client::is_loopback(host) {
        return next.run(request).await;
    }
    refusal(Problem::new(421, code::HOST, "the request names another host than this machine"))
}

async fn health() -> Json<Health> {
    let timestamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Json(Health {
        status: "healthy".into(),
        timestamp: timestamp.map_or(0, |since| since.as_secs()),
        service: "gateway".into(),
    })
}

async fn generate_keys(
    State(wanted): State<mpsc::Sender<Wanted>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match generated(&wanted, &headers, &body).await {
        Ok(keys) => ([(header::CACHE_CONTROL, "no-store")], Json(keys)).into_response(),
        Err(problem) => refusal(problem),
    }
}

async fn carry(State(wanted): State<mpsc::Sender<Wanted>>, headers: HeaderMap, body: Bytes) -> Response {
    match carried(&wanted, &headers, &body).await {
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(problem) => refusal(problem),
    }
}

/// The body of a request, in JSON.
fn read<T>(
    headers: &HeaderMap,
    body: &[u8],
    parse: impl FnOnce(&[u8]) -> serde_json::Result<T>,
) -> Result<T, Problem> {
    // A page of another origin can send plain text without asking, but not this.
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !media.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(415, code::MEDIA, "the body must be declared as application/json"));
    }
    parse(body).map_err(|e| {
        Problem::new(400, code::FORMAT, "the request does not have the documented form")
            .with_detail(e.to_string())
    })
}

/// The word for the status of an answer.
fn word(status: Status) -> &'static str {
    match status {
        Status::Accepted => "accepted",
        Status::NotAuthentic => "not_authentic",
        Status::WrongParty => "wrong_party",
        Status::WrongState => "wrong_state",
        Status::Malformed => "malformed",
    }
}

/// Has the owner of the gateway do what is wanted, and waits for the outcome.
async fn outcome_of<T>(
    wanted: &mpsc::Sender<Wanted>,
    what: impl FnOnce(oneshot::Sender<T>) -> Wanted,
) -> Result<T, Problem> {
    let (answer, outcome) = oneshot::channel();
    wanted
        .try_send(what(answer))
        .map_err(|_| Problem::new(503, code::BUSY, "too many requests wait; try again later"))?;
    timeout(PATIENCE, outcome).await.ok().and_then(Result::ok).ok_or_else(|| {
        Problem::new(504, code::TIMEOUT, "nobody answered in time; ask again with the same request")
    })
}

async fn carried(
    wanted: &mpsc::Sender<Wanted>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Carried, Problem> {
    let Carry { component_id, message } = read(headers, body, |b| serde_json::from_slice(b))?;
    let told =
        outcome_of(wanted, |answer| Wanted::Carry { component_id, message: message.0, answer }).await?;
    let answer = told.map_err(|why| {
        let (status, code) = match why {
            CarryRefused::Unknown => (404, code::COMPONENT_NOT_FOUND),
            CarryRefused::Kind => (400, code::KIND),
            CarryRefused::Busy => (503, code::BUSY),
            CarryRefused::Held => (409, code::HELD),
            CarryRefused::Silent => (504, code::SILENT),
        };
        Problem::new(status, code, why.to_string())
    })?;
    let status = word(status_of(&answer)).into();
    Ok(Carried { answer: Blob(answer), status })
}

async fn generated(
    wanted: &mpsc::Sender<Wanted>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<GeneratedKeys, Problem> {
    let GenerateKeys { component_id, request } = read(headers, body, |b| serde_json::from_slice(b))?;
    let drawn =
        outcome_of(wanted, |answer| Wanted::Keys { component_id, request: request.0, answer }).await?;
    let (id, keys) = drawn.map_err(|why| {
        let (status, code) = match why {
            KeysRefused::Unknown => (404, code::COMPONENT_NOT_FOUND),
            KeysRefused::NotAuthentic => (401, code::BINDING_PROOF),
            KeysRefused::OtherEntity => (400, code::BINDING_INVALID),
            KeysRefused::Busy => (503, code::BUSY),
            KeysRefused::Over => (404, code::BINDING_NOT_FOUND),
            KeysRefused::Declined(_) => (409, code::BINDING_DECLINED),
            KeysRefused::Silent => (504, code::TIMEOUT),
        };
        Problem::new(status, code, why.to_string())
    })?;
    Ok(GeneratedKeys {
        binding_id: Hex(id.0),
        semi_public_key: Fixed(keys.spk),
        attestation: Fixed(keys.attestation),
        replaces: keys.replaces.map(|(nonce, old)| Replaces { nonce: Fixed(nonce), binding_id: Fixed(old) }),
    })
}

fn refusal(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(problem)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Client, ClientError};

    fn problem<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (u16, String) {
        match answer {
            Err(ClientError::Refused(problem)) => (problem.status, problem.code),
            other => panic!("{other:?}"),
        }
    }

    /// Whoever asks is told why nobody drew a key, and why a message was not carried, each by a code of its own (A91, A96).
    #[tokio::test]
    async fn each_refusal_has_its_status_and_its_code() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (sender, mut wanted) = mpsc::channel(1);
        let server = tokio::spawn(serve(listener, sender, std::future::pending()));
        for (why, status, code) in [
            (KeysRefused::Unknown, 404, "W4_ERR_COMPONENT_NOT_FOUND"),
            (KeysRefused::NotAuthentic, 401, "W4_ERR_BINDING_PROOF_FAIL"),
            (KeysRefused::OtherEntity, 400, "W4_ERR_BINDING_INVALID"),
            (KeysRefused::Busy, 503, "W4_ERR_BUSY"),
            (KeysRefused::Over, 404, "W4_ERR_BINDING_NOT_FOUND"),
            (KeysRefused::Declined(Status::WrongParty), 409, "W4_ERR_BINDING_DECLINED"),
            (KeysRefused::Silent, 504, "W4_ERR_PROTO_TIMEOUT"),
        ] {
            let request = GenerateKeys { component_id: "pack-0001".into(), request: Blob(vec![1]) };
            let owner = async {
                let Some(Wanted::Keys { component_id, request, answer }) = wanted.recv().await else {
                    panic!("it asks for something else")
                };
                assert_eq!((component_id.as_str(), request), ("pack-0001", vec![1]));
                assert!(answer.send(Err(why)).is_ok(), "it waits for the answer");
            };
            let (answer, ()) = tokio::join!(client.generate_keys(&request), owner);
            assert_eq!(problem(answer), (status, code.into()), "{why:?}");
        }
        for (why, status, code) in [
            (CarryRefused::Unknown, 404, "W4_ERR_COMPONENT_NOT_FOUND"),
            (CarryRefused::Kind, 400, "W4_ERR_PROTO_KIND"),
            (CarryRefused::Busy, 503, "W4_ERR_BUSY"),
            (CarryRefused::Held, 409, "W4_ERR_PROTO_HELD"),
            (CarryRefused::Silent, 504, "W4_ERR_PROTO_SILENT"),
        ] {
            let request = Carry { component_id: "pack-0001".into(), message: Blob(vec![2]) };
            let owner = async {
                let Some(Wanted::Carry { component_id, message, answer }) = wanted.recv().await else {
                    panic!("it asks for something else")
                };
                assert_eq!((component_id.as_str(), message), ("pack-0001", vec![2]));
                assert!(answer.send(Err(why)).is_ok(), "it waits for the answer");
            };
            let (answer, ()) = tokio::join!(client.carry(&request), owner);
            assert_eq!(problem(answer), (status, code.into()), "{why:?}");
        }
        server.abort();
    }
}
