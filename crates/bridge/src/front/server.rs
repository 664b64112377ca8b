//! Connections: accepted, wrapped in TLS where there is some, bounded in time and number, ended in order (A138).

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use lct::hash::sha256;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Patience, stall::Impatient, threads::Threads};
use crate::{
    access::{door::Peer, strangers::Strangers},
    rest::Served,
};

/// Longest header of a request, in bytes, and most lines of it.
const HEADER_MAX: usize = 32 << 10;
const HEADER_LINES: usize = 64;
/// Most requests at the same time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 128;
/// How often a quiet connection of HTTP/2 is asked whether somebody is still there, and how long for the answer.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);
/// Most connections at the same time; a further one waits in the system's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// How a client begins that knows without a handshake that HTTP/2 is spoken here (RFC 9113, 3.3): no request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// Pause between two looks at a connection of which only the first bytes came.
const LOOK: Duration = Duration::from_millis(5);
/// What the system keeps of an answer until its client took it, in bytes. It takes more when about a third of that is free, so
/// this is how much a client has to take for the bridge to see that he takes something.
const SEND_BUFFER: usize = 128 << 10;
/// Pause after the system did not give a connection, for example because too many files are open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stop` is raised, and then until every request that was taken has its answer. Connections end with it, also
/// where it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    (served, threads): (Served, &Threads),
    (patience, strangers): (Patience, Arc<Strangers>),
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(patience.header);
    http.http1().max_buf_size(HEADER_MAX).max_headers(HEADER_LINES);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PONG);
    http.http2().max_concurrent_streams(STREAMS_MAX).max_header_list_size(HEADER_MAX as u32);
    // Which version is spoken is agreed in the handshake of TLS, or said by the first bytes, for which nobody waits without end.
    let (one, two) = (Arc::new(http.clone().http1_only()), Arc::new(http.http2_only()));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            // The sender lives as long as the bridge.
            _ = stop.wait_for(|up| *up) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, address, place) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!("no connection accepted: {e}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // Answers are small and whole: waiting for more to send only makes them late.
        let _only_slower = stream.set_nodelay(true);
        if let Err(e) = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER) {
            tracing::warn!("slow clients may be taken for ones that take nothing: {e}");
        }
        let Ok(stream) = stream.into_std() else { continue };
        let (tls, served, watcher) = (tls.clone(), served.apart(), graceful.watcher());
        let (one, two, mut stops) = (one.clone(), two.clone(), stop.clone());
        let strangers = strangers.clone();
        let connection = async move {
            let _place = place;
            // What comes is waited for where it is answered.
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let two_is_known = match tls {
                // The handshake says so.
                Some(_) => false,
                None => {
                    let begun = tokio::select! {
                        _ = stops.wait_for(|up| *up) => return,
                        begun = tokio::time::timeout(patience.header, begins_with_preface(&stream)) => begun,
                    };
                    let Ok(Ok(preface)) = begun else { return };
                    preface
                }
            };
            let stream = Impatient::new(stream, patience.reader);
            match tls {
                None => {
                    let http = if two_is_known { &two } else { &one };
                    converse(http, stream, Peer { address, certificate: None }, served, watcher).await;
                }
                Some(tls) => match tokio::time::timeout(patience.header, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                        let certificate = shown.map(|first| sha256(&[first]));
                        let http =
                            if stream.get_ref().1.alpn_protocol() == Some(b"h2") { &two } else { &one };
                        converse(http, stream, Peer { address, certificate }, served, watcher).await;
                    }
                    _ if !strangers.heard(address) => {}
                    Ok(Err(e)) => tracing::info!(target: "security", from = %address, "no TLS: {e}"),
                    Err(_) => tracing::info!(target: "security", from = %address, "TLS takes too long"),
                },
            }
        };
        threads.serve(&mut connections, connection);
    }
    // Nobody else is taken; those on their way see an end instead of silence.
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip(), place))
}

/// Whether a connection begins as one of HTTP/2 does; what was looked at is still there to be read.
async fn begins_with_preface(stream: &TcpStream) -> std::io::Result<bool> {
    let mut begin = [0; PREFACE.len()];
    loop {
        let n = stream.peek(&mut begin).await?;
        let seen = begin.get(..n).unwrap_or_default();
        if n == 0 || !PREFACE.starts_with(seen) {
            return Ok(false);
        }
        if n == PREFACE.len() {
            return Ok(true);
        }
        // What came is told again at once, so that there is nothing to wait for.
        tokio::time::sleep(LOOK).await;
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    http: &auto::Builder<TokioExecutor>,
    stream: S,
    peer: Peer,
    served: Served,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(served.answer(peer, request.map(Body::new)).await) }
    });
    let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(e) = watcher.watch(connection).await {
        tracing::debug!(from = %peer.address, "connection ended: {e}");
    }
}
