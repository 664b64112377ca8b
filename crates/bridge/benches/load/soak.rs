//! Everything at once for a long time: whether the memory of a bridge stays what it was after its first minutes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use api::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    fleet::Account,
    gateways::{Fleet, Pack, settle},
    server::{Server, found},
    wire::{Connection, get, post, quantile_ms, race, submit},
};

/// Who asks: readers, accounts that write and wait, packs that send telemetry.
const READERS: usize = 8;
const WRITERS: usize = 4;
const PACKS: usize = 4;
/// How long each waits before it asks again.
const READ_EVERY: Duration = Duration::from_millis(25);
const WRITE_EVERY: Duration = Duration::from_millis(50);
const BATCH_EVERY: Duration = Duration::from_millis(500);
const RECORDS: u16 = 50;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(2);
/// Until when a bridge may take what it needs, and by how much more it may hold at the end.
const SETTLED: Duration = Duration::from_secs(300);
const GROWTH_MAX: f64 = 0.02;

/// The caches of the ledger are filled first: writes of each account and batches of each pack in a round, in how many rounds memory has to stay within
/// what part for them to be full, and how many rounds there are at most.
const ROUND: usize = 500;
const BATCHES: usize = 4;
const STEADY_ROUNDS: usize = 8;
const STEADY: f64 = 0.01;
const ROUNDS_MAX: usize = 200;

/// Runs for `time`, on caches that are as full as they get. `ok` says whether the memory at the end is within 2 % of that after
/// minute 5 (of a shorter run: after a sixth).
pub fn run(modbatt: &str, time: Duration) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(soaked(modbatt, time))
}

async fn soaked(modbatt: &str, time: Duration) -> Value {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let mut founders = found(modbatt, &data);
    let bridge = Server::bridge(modbatt, &data);
    let url = bridge.url();
    let fleet = settle(&url, &mut founders, PACKS, WRITERS).await;
    let Fleet { mut packs, mut accounts } = fleet;
    let filled = fill(&bridge, &mut accounts, &mut packs).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();

    let paths = [
        "/api/v1/health".to_owned(),
        "/metrics".into(),
        "/ready".into(),
        "/openapi.json".into(),
        "/api/v1/ledger/status".into(),
        "/api/v1/orders".into(),
        "/api/v1/revocations".into(),
        "/api/v1/events?limit=20&after=start".into(),
        format!("/api/v1/components/{}", packs[0].id),
        format!("/api/v1/components/{}/trust", packs[0].id),
        format!("/api/v1/accounts/{}", accounts[0].key.public()),
        "/api/v1/components/unknown-pack".into(),
        "/api/v1/no-such-route".into(),
    ];
    let requests: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| get(path))
        .chain([post("/api/v1/bindings", "{\"creator\":7}"), post("/api/v1/transactions", "{")])
        .collect();
    let requests: Arc<[Vec<u8>]> = requests.into();
    for reader in 0..READERS {
        let (requests, stop, asked) = (requests.clone(), stop.clone(), asked.clone());
        let address = bridge.address;
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                // A connection does not live for ever either.
                let mut connection = Connection::open(address).await;
                for i in 0..200 {
                    let began = Instant::now();
                    connection.ask(&requests[(reader + i) % requests.len()]).await;
                    took.push(began.elapsed());
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(READ_EVERY).await;
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
            took
        }));
    }
    let settled = SETTLED.min(time / 6);
    for mut account in accounts {
        let (stop, written, address) = (stop.clone(), written.clone(), bridge.address);
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            while !stop.load(Ordering::Relaxed) {
                let answer = connection.ask(&submit(&account.withdrawal(), true)).await;
                let text = String::from_utf8_lossy(answer).into_owned();
                assert!(text.contains("\"included\""), "{text}");
                written.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(WRITE_EVERY).await;
            }
            Vec::new()
        }));
    }
    for mut pack in packs {
        let (stop, written) = (stop.clone(), written.clone());
        let client = Client::new(&url).unwrap();
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                pack.send(&client, RECORDS).await;
                written.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(BATCH_EVERY).await;
            }
            Vec::new()
        }));
    }
    // One who follows the events and comes back every few seconds, and one who begins requests and goes.
    let (ended, address) = (stop.clone(), bridge.address);
    tasks.push(tokio::spawn(async move {
        let mut told = vec![0; 16 << 10];
        while !ended.load(Ordering::Relaxed) {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(&get("/api/v1/events/stream")).await.unwrap();
            let until = tokio::time::Instant::now() + Duration::from_secs(7);
            while let Ok(Ok(1..)) = tokio::time::timeout_at(until, stream.read(&mut told)).await {}
            let mut gone = tokio::net::TcpStream::connect(address).await.unwrap();
            gone.write_all(b"POST /api/v1/transactions HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
        }
        Vec::new()
    }));

    let (began, mut samples, mut of_settled) = (Instant::now(), Vec::new(), None);
    while began.elapsed() < time {
        tokio::time::sleep(SAMPLE).await;
        if began.elapsed() >= settled {
            of_settled.get_or_insert_with(|| bridge.memory_kib_by_kind());
        }
        samples.push((began.elapsed(), bridge.memory_kib()));
        if samples.len() % 30 == 0 {
            eprintln!("soak: after {:>4} s {} KiB", began.elapsed().as_secs(), samples[samples.len() - 1].1);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let of_end = bridge.memory_kib_by_kind();
    let cpu = bridge.cpu().as_secs_f64() / began.elapsed().as_secs_f64();
    bridge.end();

    let window = Duration::from_secs(60).min(time / 12);
    let mean = |from: Duration| {
        let within = samples.iter().filter(|(at, _)| (from..from + window).contains(at));
        let all: Vec<f64> = within.map(|(_, kib)| *kib as f64).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    let (after, last) = (mean(settled), mean(time - window));
    let growth = last / after - 1.0;
    json!({
        "ok": growth.abs() <= GROWTH_MAX,
        "seconds": time.as_secs(),
        "settled_after_s": settled.as_secs(),
        "filled": filled,
        "settled_kib": after.round(),
        "end_kib": last.round(),
        "settled_kib_by_kind": of_settled,
        "end_kib_by_kind": of_end,
        "growth": growth,
        "reads": asked.load(Ordering::Relaxed),
        "writes": written.load(Ordering::Relaxed),
        "read_p50_ms": quantile_ms(&mut took, 0.5),
        "read_p99_ms": quantile_ms(&mut took, 0.99),
        "cores": cpu,
    })
}

/// Writes until the memory of the bridge does not grow with what is written any more: the ledger keeps pages of its databases, of
/// blocks and of what records come to, up to a bound each. Tells how much that took, and the memory before and after.
async fn fill(bridge: &Server, accounts: &mut [Account], packs: &mut [Pack]) -> Value {
    let client = Client::new(&bridge.url()).unwrap();
    let (mut memory, mut connections) = (vec![bridge.memory_kib()], Vec::new());
    connections.extend(Connection::many(bridge.address, accounts.len()).await);
    for round in 1..=ROUNDS_MAX {
        let write = |account: &mut Account, i| submit(&account.withdrawal(), i + 1 == ROUND);
        let requests = accounts
            .iter_mut()
            .map(|account| (0..ROUND).map(|i| write(account, i)).collect::<Vec<_>>().into());
        (connections, _) = race(connections, requests.collect(), 1).await;
        for pack in packs.iter_mut() {
            for _ in 0..BATCHES {
                pack.send(&client, RECORDS).await;
            }
        }
        memory.push(bridge.memory_kib());
        let last = &memory[memory.len().saturating_sub(STEADY_ROUNDS)..];
        let (least, most) = (last.iter().min().unwrap(), last.iter().max().unwrap());
        if round % 10 == 0 {
            eprintln!("soak: {} writes fill caches, {most} KiB", round * ROUND * accounts.len());
        }
        if round >= STEADY_ROUNDS && *most as f64 <= *least as f64 * (1.0 + STEADY) {
            break;
        }
    }
    let writes = (memory.len() - 1) * ROUND * accounts.len();
    json!({ "writes": writes, "before_kib": memory[0], "after_kib": memory.last() })
}
