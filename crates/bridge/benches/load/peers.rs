//! What stands beside the bridge: a bare axum handler, bare hyper, the kernel's own share, and the ledger without a bridge.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    io::{Read, Write},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::header,
    serve::ListenerExt,
};
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use node::{
    Chain,
    engine::solo::{self, Solo},
};
use serde_json::json;

/// Names of the modes in which this program is a peer.
pub const AXUM: &str = "serve-axum";
pub const HYPER: &str = "serve-hyper";
pub const KERNEL: &str = "serve-kernel";
pub const LEDGER: &str = "apply";

fn input() -> Vec<u8> {
    let mut answer = Vec::new();
    std::io::stdin().read_to_end(&mut answer).unwrap();
    answer
}

fn runtime() -> tokio::runtime::Runtime {
    // As `modbatt serve` has it.
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn body() -> Bytes {
    let answer = input();
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    Bytes::copy_from_slice(&answer[head + 4..])
}

/// The same as [`axum`] with hyper alone, on one thread for each core to which its connections keep, as the bridge has them.
pub fn hyper() {
    let body = body();
    let serve = async move |stream: std::net::TcpStream| {
        let answer = |request: hyper::Request<Incoming>| {
            let body = body.clone();
            async move {
                axum::body::to_bytes(Body::new(request.into_body()), usize::MAX).await.unwrap();
                let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
                Ok::<_, Infallible>(answer.body(Body::from(body)).unwrap())
            }
        };
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
        // A client that hangs up is no failure.
        let _ended = http.serve_connection(stream, service_fn(answer)).await;
    };
    let cores = thread::available_parallelism().unwrap().get();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let handle = runtime.handle().clone();
            thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
            handle
        })
        .collect();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for (n, stream) in listener.incoming().enumerate() {
        let (serve, stream) = (serve.clone(), stream.unwrap());
        threads[n % cores].spawn(async move { serve(stream).await });
    }
}

/// Answers every request, read to its end, with the body of the answer on standard input, as JSON.
pub fn axum() {
    let body = body();
    let handler = move |request: Request| async move {
        axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
        ([(header::CONTENT_TYPE, "application/json")], body)
    };
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
    });
}

/// Reads and writes: whatever comes in one piece is answered with the bytes on standard input.
pub fn kernel() {
    const LISTENER: Token = Token(usize::MAX);
    let answer = input();
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    let (mut events, mut streams, mut next) = (Events::with_capacity(256), HashMap::new(), 0);
    let mut read = vec![0; 64 << 10];
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE).unwrap();
                    streams.insert(next, stream);
                    next += 1;
                }
                continue;
            }
            let Token(id) = event.token();
            let Some(stream) = streams.get_mut(&id) else { continue };
            match stream.read(&mut read) {
                Ok(0) => drop(streams.remove(&id)),
                // A client asks one thing after the other: the answer fits into what the system keeps.
                Ok(_) => stream.write_all(&answer).unwrap(),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => drop(streams.remove(&id)),
            }
        }
    }
}

/// Applies the transactions on standard input, each after its length, to the ledger of a data directory; prints how long that took,
/// what it computed and how many blocks came of it. With `blocks` it makes about so many, each as full as the others, and otherwise as
/// the engine of `modbatt serve` makes them.
pub fn ledger(dir: &Path, blocks: Option<usize>) {
    let bytes = input();
    let (mut txs, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (tx, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        txs.push(tx.to_vec());
        rest = after;
    }
    let genesis = api::genesis::from_json(&fs::read_to_string(dir.join("genesis.json")).unwrap()).unwrap();
    let key = fs::read(dir.join("keys/validator")).unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(key[..].try_into().unwrap());
    let chain = Arc::new(Chain::open(&dir.join("ledger"), &genesis).unwrap());
    // With the note of what it signed, as there.
    let solo = Solo::new(chain.clone(), key).unwrap().remembering(&dir.join("validator.signed")).unwrap();
    let (count, tip, txs_before) = (txs.len(), chain.tip(), chain.status().unwrap().txs);
    let (began, cpu) = (Instant::now(), own_cpu());
    let now = move || tip.time_ms + 1 + began.elapsed().as_millis() as u64;
    match blocks {
        Some(blocks) => in_blocks(&chain, &solo, txs, count.div_ceil(blocks.max(1)), now),
        None => runtime().block_on(paced(&chain, solo, txs, now)),
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), own_cpu() - cpu);
    assert_eq!(chain.status().unwrap().txs, txs_before + count as u64);
    println!(
        "{}",
        json!({
            "cpu_us": cpu.as_secs_f64() * 1e6 / count as f64,
            "per_s": count as f64 / seconds,
            "txs_per_block": count as f64 / (chain.tip().height - tip.height) as f64,
        })
    );
}

/// Submits so many and makes a block of them, until none is left.
fn in_blocks(chain: &Chain, solo: &Solo, txs: Vec<Vec<u8>>, each: usize, now: impl Fn() -> u64) {
    let mut txs = txs.into_iter().peekable();
    while txs.peek().is_some() {
        for tx in txs.by_ref().take(each) {
            chain.submit(tx).unwrap();
        }
        solo.cut(now()).unwrap();
    }
    solo.drain(now).unwrap();
}

/// Submits as fast as the queue takes them while the engine paces itself.
async fn paced(chain: &Arc<Chain>, solo: Solo, txs: Vec<Vec<u8>>, now: impl Fn() -> u64 + Send + 'static) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let engine = tokio::spawn(solo.run(solo::Config::default(), now, async { drop(stopped.await) }));
    let submitter = chain.clone();
    let submitted = tokio::task::spawn_blocking(move || {
        for tx in txs {
            while let Err(e) = submitter.submit(tx.clone()) {
                assert!(matches!(e, node::SubmitError::Full), "{e}");
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    submitted.await.unwrap();
    // Whoever ends it waits for the blocks that are due.
    stop.send(()).unwrap();
    engine.await.unwrap().unwrap();
}

/// Processor time of this process so far.
fn own_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
