//! What a read and a write cost the bridge, beside a bare axum handler, bare hyper, the kernel's own share, and the ledger alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use api::Client;
use lct::id::Role;
use ledger::{records::AccountRole, tx::Tx};
use serde_json::{Value, json};

use crate::{
    fleet::{Account, Founders, world},
    gateways::NOTICE,
    peers,
    server::{Server, found},
    wire::{Connection, get, quantile_ms, race, status, submit},
};
use std::io::Write as _;

/// How much is measured.
struct Size {
    /// Connections that ask at the same time; each has an account of its own for writes.
    connections: usize,
    /// Turns of each server, interleaved.
    turns: usize,
    /// Requests of each connection in a turn of reads, and of writes.
    reads: usize,
    writes: usize,
    /// Of each connection that waits until a block holds what it wrote.
    waits: usize,
}

/// Who is bound to whom.
const PARTS: (&str, &str) = ("app-1", "pack-1");

/// Figures of the bridge and of what stands beside it.
pub fn run(modbatt: &str, quick: bool) -> Value {
    let size = if quick {
        Size { connections: 8, turns: 2, reads: 100, writes: 20, waits: 4 }
    } else {
        Size { connections: 64, turns: 9, reads: 800, writes: 80, waits: 40 }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measured(modbatt, &size))
}

async fn measured(modbatt: &str, size: &Size) -> Value {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let beside = ["same-blocks", "own-pace"].map(|name| temp.path().join(name));
    let mut founders = found(modbatt, &data);
    let bridge = Server::bridge(modbatt, &data);
    let mut accounts = Vec::new();
    for i in 0..size.connections {
        accounts.push(Account::new(world::key(&format!("account-{i}")), founders.chain_id));
    }
    let bound = settle(&bridge, &mut founders, &accounts).await;
    bridge.end();

    let bridge = Server::bridge(modbatt, &data);
    let mut reads = Vec::new();
    for (name, path) in [
        ("health", "/api/v1/health".to_owned()),
        ("component", format!("/api/v1/components/{}", PARTS.1)),
        ("account", format!("/api/v1/accounts/{}", accounts[0].key.public())),
        ("transaction", format!("/api/v1/transactions/{}", hex::encode(bound))),
        ("receipt", format!("/api/v1/receipts/{}", hex::encode(bound))),
    ] {
        reads.push(read(&bridge, size, name, &get(&path)).await);
    }
    let mean = |key: &str| {
        let all: Vec<f64> = reads.iter().map(|row| row[key].as_f64().unwrap()).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    let [ratio, vs_axum, of_axum, of_hyper] = ["ratio", "vs_axum", "axum_ratio", "hyper_ratio"].map(mean);
    let worst = reads.iter().map(|row| row["p99_ms"].as_f64().unwrap()).fold(0.0, f64::max);
    let idle_kib = bridge.memory_kib();
    bridge.end();

    beside.iter().for_each(|beside| copy(&data, beside));
    let bridge = Server::bridge(modbatt, &data);
    let write = write(&bridge, size, &mut accounts, &beside).await;
    bridge.end();
    let settings = json!({
        "connections": size.connections,
        "turns": size.turns,
        "reads_a_turn": size.connections * size.reads,
        "writes_a_turn": size.connections * size.writes,
    });
    json!({
        "read_ratio": ratio,
        "read_vs_axum": vs_axum,
        "axum_ratio": of_axum,
        "hyper_ratio": of_hyper,
        "read_p99_ms": worst,
        "write_ratio": write["ratio"],
        "write_ratio_own_pace": write["ratio_own_pace"],
        "write_p99_ms": write["included_p99_ms"],
        "tx_per_s_bridge": write["per_s"],
        "tx_per_s_ledger": write["ledger_per_s"],
        "memory_kib": idle_kib,
        "rows": reads.into_iter().chain([write]).collect::<Vec<_>>(),
        "settings": settings,
    })
}

/// Lets the accounts in, and registers and binds two parts; returns the transaction that bound them.
async fn settle(bridge: &Server, founders: &mut Founders, accounts: &[Account]) -> [u8; 32] {
    let client = Client::new(&bridge.url()).unwrap();
    let include = async |tx: Vec<u8>| {
        let answer = client.submit(&tx, true).await.unwrap();
        assert_eq!(answer.status, "included", "{answer:?}");
    };
    let mut height = 0;
    for account in accounts {
        height = client.ledger_status().await.unwrap().height + NOTICE;
        include(founders.let_in(&account.key, AccountRole::Owner, height)).await;
    }
    include(founders.register(PARTS.0, Role::App)).await;
    include(founders.register(PARTS.1, Role::Pack)).await;
    let bind = founders.bind(PARTS);
    let id = Tx::id_of(&bind);
    include(bind).await;
    let mut module = 0;
    while client.ledger_status().await.unwrap().height <= height {
        module += 1;
        include(founders.register(&format!("module-{module}"), Role::Module)).await;
    }
    while client.receipt(&api::Hex(id)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    id
}

/// Processor time of a request in microseconds, how long each answer took, answers a second.
type Measured = (f64, Vec<Duration>, f64);

/// What stands beside the bridge.
const PEERS: [&str; 3] = [peers::AXUM, peers::HYPER, peers::KERNEL];

/// Turns of the bridge, of axum, of hyper and of the kernel, one after the other.
async fn turns(
    servers: [&Server; 4],
    size: &Size,
    times: usize,
    requests: impl Fn(usize) -> Vec<Arc<[Vec<u8>]>>,
    mut settled: impl AsyncFnMut(),
) -> [Measured; 4] {
    let mut sums = [0, 1, 2, 3].map(|_| (Duration::ZERO, Vec::new(), Duration::ZERO));
    for turn in 0..size.turns {
        for (i, server) in servers.into_iter().enumerate() {
            let connections = Connection::many(server.address, size.connections).await;
            let (before, began) = (server.cpu(), Instant::now());
            let (_open, took) = race(connections, requests(turn), times).await;
            if i == 0 {
                settled().await;
            }
            sums[i].0 += server.cpu() - before;
            sums[i].1.extend(took);
            sums[i].2 += began.elapsed();
        }
    }
    sums.map(|(cpu, took, elapsed)| {
        let count = took.len() as f64;
        (cpu.as_secs_f64() * 1e6 / count, took, count / elapsed.as_secs_f64())
    })
}

async fn read(bridge: &Server, size: &Size, name: &str, request: &[u8]) -> Value {
    let answer = Connection::open(bridge.address).await.ask(request).await.to_vec();
    assert_eq!(status(&answer), 200, "{}", String::from_utf8_lossy(&answer));
    let [axum, hyper, kernel] = PEERS.map(|which| Server::peer(which, &answer));
    let request: Arc<[Vec<u8>]> = vec![request.to_vec()].into();
    let all = |_| vec![request.clone(); size.connections];
    let servers = [bridge, &axum, &hyper, &kernel];
    let [own, peers @ ..] = turns(servers, size, size.reads, all, async || ()).await;
    row("read", name, answer.len(), own, peers, 0.0)
}

/// A row of the table; what the ledger alone takes of the bridge's time counts for no ratio.
fn row(
    class: &str,
    name: &str,
    bytes: usize,
    mut own: Measured,
    [mut axum, mut hyper, mut kernel]: [Measured; 3],
    ledger_us: f64,
) -> Value {
    json!({
        "class": class,
        "name": name,
        "answer_bytes": bytes,
        "bridge_us": own.0,
        "axum_us": axum.0,
        "hyper_us": hyper.0,
        "kernel_us": kernel.0,
        "ratio": (own.0 - ledger_us) / kernel.0,
        "axum_ratio": axum.0 / kernel.0,
        "hyper_ratio": hyper.0 / kernel.0,
        "vs_axum": (own.0 - ledger_us) / axum.0,
        "per_s": own.2,
        "p50_ms": quantile_ms(&mut own.1, 0.5),
        "p99_ms": quantile_ms(&mut own.1, 0.99),
        "axum_p99_ms": quantile_ms(&mut axum.1, 0.99),
        "hyper_p99_ms": quantile_ms(&mut hyper.1, 0.99),
        "kernel_p99_ms": quantile_ms(&mut kernel.1, 0.99),
    })
}

/// Signed transactions, one after the other by each account: taken by the bridge until all are in blocks, and applied by the ledger
/// alone, of one data directory in as many blocks and of the other at its own pace.
///
/// The ledger's part is what the same transactions take it in blocks as full as those of the bridge's run: how full blocks are says who
/// submits, not who serves. At its own pace, where all of them wait already, blocks are fuller and cost less.
async fn write(
    bridge: &Server,
    size: &Size,
    accounts: &mut [Account],
    [same_blocks, own_pace]: &[PathBuf; 2],
) -> Value {
    let txs: Vec<Vec<Vec<Vec<u8>>>> = (0..size.turns)
        .map(|_| {
            accounts
                .iter_mut()
                .map(|account| (0..size.writes).map(|_| account.withdrawal()).collect())
                .collect()
        })
        .collect();
    let first = submit(&txs[0][0][0], false);
    let client = Client::new(&bridge.url()).unwrap();
    let before = client.ledger_status().await.unwrap();
    let mut expected = before.transactions;
    let answer = Connection::open(bridge.address).await.ask(&first).await.to_vec();
    let [axum, hyper, kernel] = PEERS.map(|which| Server::peer(which, &answer));
    let requests = |turn: usize| {
        let of = |txs: &Vec<Vec<u8>>| txs.iter().map(|tx| submit(tx, false)).collect::<Vec<_>>().into();
        txs[turn].iter().map(of).collect()
    };
    let a_turn = (size.connections * size.writes) as u64;
    let settled = async || {
        expected += a_turn;
        while client.ledger_status().await.unwrap().transactions < expected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let [own, peers @ ..] = turns([bridge, &axum, &hyper, &kernel], size, 1, requests, settled).await;

    let mut input = Vec::new();
    for turn in &txs {
        for i in 0..size.writes {
            for tx in turn.iter().map(|of| &of[i]) {
                input.extend((tx.len() as u32).to_be_bytes());
                input.extend(tx);
            }
        }
    }
    let blocks = client.ledger_status().await.unwrap().height - before.height;
    let same = applied(same_blocks, Some(blocks), &input);
    let own_pace = applied(own_pace, None, &input);
    let [ledger_us, own_pace_us] = [&same, &own_pace].map(|ledger| ledger["cpu_us"].as_f64().unwrap());

    // How long it takes until a block holds it.
    let requests = accounts
        .iter_mut()
        .map(|account| {
            (0..size.waits).map(|_| submit(&account.withdrawal(), true)).collect::<Vec<_>>().into()
        })
        .collect();
    let connections = Connection::many(bridge.address, size.connections).await;
    let (_open, mut included) = race(connections, requests, 1).await;

    let mut row = row("write", "signed transaction", answer.len(), own, peers, ledger_us);
    let of = |key: &str| row[key].as_f64().unwrap();
    row["ratio_own_pace"] = ((of("bridge_us") - own_pace_us) / of("kernel_us")).into();
    row["ledger_us"] = ledger_us.into();
    row["ledger_own_pace_us"] = own_pace_us.into();
    row["ledger_per_s"] = own_pace["per_s"].clone();
    row["txs_per_block"] = ((size.turns as u64 * a_turn) as f64 / blocks as f64).into();
    row["ledger_txs_per_block"] = same["txs_per_block"].clone();
    row["own_pace_txs_per_block"] = own_pace["txs_per_block"].clone();
    row["included_p50_ms"] = quantile_ms(&mut included, 0.5).into();
    row["included_p99_ms"] = quantile_ms(&mut included, 0.99).into();
    row
}

/// What the transactions cost the ledger without a bridge, in about so many blocks if a number is given.
fn applied(data: &Path, blocks: Option<u64>, input: &[u8]) -> Value {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(peers::LEDGER).arg(data).args(blocks.map(|blocks| blocks.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the ledger alone failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
