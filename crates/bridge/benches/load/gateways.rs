//! Many gateways on one bridge: each asks what the authority says as `gateway` does, and sends batches until blocks hold them.

use std::time::{Duration, Instant};

use api::{Client, ClientError, telemetry::Batch};
use lct::id::Role;
use ledger::records::AccountRole;
use serde_json::{Value, json};

use crate::{
    fleet::{Account, Founders, world},
    server::{Server, found},
    wire::quantile_ms,
};

/// How often a gateway asks for revocations, policies and orders; and after how many of these for the time.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS_PER_TOKEN: u64 = 60;
/// A batch is full, or 30 seconds old: what a pack with a few modules comes to.
const BATCH_EVERY: u64 = 10;
const RECORDS: u16 = 100;
/// How often it asks what became of a batch, and how long it waits after a transport failure.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Blocks before an account is let in: at least two, and blocks without transactions come between.
pub const NOTICE: u64 = 8;
/// Transactions that wait for a block while a fleet is set up.
const AHEAD: usize = 200;

/// A pack, the app that it is bound to, and the account of its gateway.
pub struct Pack {
    pub id: String,
    app: String,
    account: Account,
    /// Number of its next record.
    next: u32,
}

impl Pack {
    /// Sends a batch until a block holds it; tells how long the answers to it took.
    pub async fn send(&mut self, client: &Client, records: u16) -> Vec<Duration> {
        let batch: Batch = self.account.batch((&self.app, &self.id), self.next, records);
        self.next += u32::from(records);
        let mut took = Vec::new();
        loop {
            let began = Instant::now();
            let sent = client.submit_batch(&batch).await;
            took.push(began.elapsed());
            match sent {
                Ok(stored) if stored.status == "included" => return took,
                Ok(_) => {}
                Err(e) if e.is_transient() => {}
                Err(e) => panic!("{}: {e}", self.id),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// Who is on the ledger.
pub struct Fleet {
    pub packs: Vec<Pack>,
    /// Accounts of owners.
    pub accounts: Vec<Account>,
}

/// Registers and binds `packs` packs, each with an app and the account of a gateway, and lets `owners` accounts in.
pub async fn settle(url: &str, founders: &mut Founders, packs: usize, owners: usize) -> Fleet {
    let client = Client::new(url).unwrap();
    let account = |name: String| Account::new(world::key(&name), founders.chain_id);
    let accounts: Vec<_> = (0..owners).map(|i| account(format!("owner-{i}"))).collect();
    let packs: Vec<_> = (0..packs)
        .map(|i| Pack {
            id: format!("pack-{i:04}"),
            app: format!("app-{i:04}"),
            account: account(format!("gateway-{i}")),
            next: 0,
        })
        .collect();
    let mut sent = 0;
    let mut send = async |tx: Vec<u8>| {
        sent += 1;
        // Now and then one waits, so that blocks keep up.
        let answer = client.submit(&tx, sent % AHEAD == 0).await.unwrap();
        assert_ne!(answer.status, "refused", "{answer:?}");
    };
    for pack in &packs {
        send(founders.register(&pack.app, Role::App)).await;
        send(founders.register(&pack.id, Role::Pack)).await;
        send(founders.bind((&pack.app, &pack.id))).await;
    }
    let mut height = 0;
    let gateways = packs.iter().map(|pack| (&pack.account, AccountRole::Operator));
    for (account, role) in gateways.chain(accounts.iter().map(|account| (account, AccountRole::Owner))) {
        height = client.ledger_status().await.unwrap().height + NOTICE;
        send(founders.let_in(&account.key, role, height)).await;
    }
    // Blocks until the last of them is let in.
    let mut module = 0;
    while client.ledger_status().await.unwrap().height <= height {
        module += 1;
        let tx = founders.register(&format!("module-{module:04}"), Role::Module);
        let answer = client.submit(&tx, true).await.unwrap();
        assert_eq!(answer.status, "included", "{answer:?}");
    }
    Fleet { packs, accounts }
}

/// What a gateway saw.
#[derive(Default)]
struct Seen {
    looks: Vec<Duration>,
    batches: Vec<Duration>,
    records: u64,
    /// Requests that were lost on the way and made again.
    again: u64,
}

/// Runs `count` gateways for `time`; `ok` says whether the ledger holds exactly what they were told that it holds.
pub fn run(modbatt: &str, count: usize, time: Duration) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(crowd(modbatt, count, time))
}

async fn crowd(modbatt: &str, count: usize, time: Duration) -> Value {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let mut founders = found(modbatt, &data);
    let bridge = Server::bridge(modbatt, &data);
    eprintln!("gateways: setting up {count} packs");
    let fleet = settle(&bridge.url(), &mut founders, count, 0).await;
    bridge.end();
    // What the setup needed is no gateway's.
    let bridge = Server::bridge(modbatt, &data);
    let client = Client::new(&bridge.url()).unwrap();
    let began_with = client.ledger_status().await.unwrap();
    let before_kib = bridge.memory_kib();
    let (began, cpu) = (Instant::now(), bridge.cpu());
    let mut running = Vec::new();
    for (i, pack) in fleet.packs.into_iter().enumerate() {
        // Each has a connection of its own, and they do not ask in step.
        let (client, start) = (Client::new(&bridge.url()).unwrap(), LOOK * i as u32 / count as u32);
        running.push(tokio::spawn(gateway(client, pack, start, i as u64, time)));
    }
    tokio::time::sleep(time.saturating_sub(Duration::from_secs(1))).await;
    let with_kib = bridge.memory_kib();
    let cores = (bridge.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let mut all = Seen::default();
    for one in running {
        let seen = one.await.unwrap();
        all.looks.extend(seen.looks);
        all.batches.extend(seen.batches);
        all.records += seen.records;
        all.again += seen.again;
    }
    let held = client.ledger_status().await.unwrap();
    let lost = (began_with.records + all.records).abs_diff(held.records);
    bridge.end();
    json!({
        "ok": lost == 0 && all.records > 0,
        "gateways": count,
        "seconds": time.as_secs(),
        "looks": all.looks.len(),
        "batches": all.records / u64::from(RECORDS),
        "records_acknowledged": all.records,
        "records_lost_or_doubled": lost,
        "requests_made_again": all.again,
        "look_p50_ms": quantile_ms(&mut all.looks, 0.5),
        "look_p99_ms": quantile_ms(&mut all.looks, 0.99),
        "batch_p99_ms": quantile_ms(&mut all.batches, 0.99),
        "memory_kib": with_kib,
        "kib_per_gateway": (with_kib as f64 - before_kib as f64) / count as f64,
        "cores": cores,
    })
}

/// Asks and sends as long as the run lasts; what it has in hand then is sent to its end.
async fn gateway(client: Client, mut pack: Pack, start: Duration, number: u64, time: Duration) -> Seen {
    let end = Instant::now() + time;
    let mut seen = Seen::default();
    tokio::time::sleep(start).await;
    let mut turn = number;
    while Instant::now() < end {
        let next = tokio::time::Instant::now() + LOOK;
        let began = Instant::now();
        match look(&client, &pack.id, turn.is_multiple_of(LOOKS_PER_TOKEN)).await {
            Ok(requests) => seen.looks.extend(requests),
            Err(e) if e.is_transient() => seen.again += 1,
            Err(e) => panic!("{}: {e} after {:?}", pack.id, began.elapsed()),
        }
        if turn.is_multiple_of(BATCH_EVERY) {
            seen.batches.extend(pack.send(&client, RECORDS).await);
            seen.records += u64::from(RECORDS);
        }
        turn += 1;
        tokio::time::sleep_until(next).await;
    }
    seen
}

/// What `gateway` asks every second, and how long each answer took.
async fn look(client: &Client, pack: &str, time: bool) -> Result<Vec<Duration>, ClientError> {
    let mut took = Vec::new();
    let mut began = Instant::now();
    let mut done = || {
        let now = Instant::now();
        took.push(now - std::mem::replace(&mut began, now));
    };
    client.revocations().await?;
    done();
    client.policies(Some(pack)).await?;
    done();
    client.orders().await?;
    done();
    if time {
        client.time_token().await?;
        done();
    }
    Ok(took)
}
