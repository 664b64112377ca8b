//! `modbatt serve` as a process that is killed while clients write: what it answered with success is on the ledger, and what
//! is sent again happens once (A138, A146).

#![allow(clippy::unwrap_used, clippy::panic)]

mod fleet;
#[allow(dead_code, reason = "other tests use more of it")]
mod process;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use api::{
    Client, ClientError, Hex,
    telemetry::Batch,
    transaction::{INCLUDED, REFUSED},
};
use fleet::{Account, Founders, world};
use lct::id::Role;
use ledger::records::AccountRole;
use process::{Running, run, start};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Clients that send transactions, each with an account of its own.
const SENDERS: usize = 3;
/// Who sends telemetry, an app and the pack that it is bound to, and how many records at a time.
const PARTS: (&str, &str) = ("app-1", "pack-1");
const RECORDS: u16 = 20;
/// Blocks before an account is let in: at least two, and blocks without transactions come between.
const NOTICE: u64 = 8;
/// It is killed after fewer answers than this, and so many microseconds after the last of them at most: where a machine is slow, as far in
/// the middle of its work as where it is fast.
const ANSWERS_MAX: u32 = 24;
const AFTER_MAX_US: u32 = 50_000;
/// Pause before something is asked again.
const PAUSE: Duration = Duration::from_millis(3);

/// What a client has in hand.
enum Work {
    Transaction(Vec<u8>),
    Batch(Batch),
}

/// A client that sends one thing after the other, and keeps what has no answer yet.
struct Sender {
    account: Account,
    /// Number of its next record, of one who sends telemetry.
    record: Option<u32>,
    pending: Option<Work>,
    /// What was answered as included and not looked for since.
    acknowledged: Vec<Hex<32>>,
}

impl Sender {
    fn next(&mut self) -> Work {
        match self.record {
            None => Work::Transaction(self.account.withdrawal()),
            Some(first) => {
                self.record = Some(first + u32::from(RECORDS));
                Work::Batch(self.account.batch(PARTS, first, RECORDS))
            }
        }
    }

    /// Sends until nobody answers any more, and counts the answers with success.
    async fn send(mut self, client: Client, answers: Arc<AtomicU32>) -> Self {
        loop {
            let work = match self.pending.take() {
                Some(work) => work,
                None => self.next(),
            };
            let answer = match &work {
                Work::Transaction(bytes) => client.submit(bytes, true).await.map(|t| (t.txhash, t.status)),
                Work::Batch(batch) => client.submit_batch(batch).await.map(|s| (s.txhash, s.status)),
            };
            match answer {
                Ok((hash, status)) if status == INCLUDED => {
                    self.acknowledged.push(hash);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                Ok((_, status)) if status == REFUSED => panic!("the ledger refused what is in order"),
                // Taken, and in no block yet: it is sent until it is.
                Ok(_) => {
                    self.pending = Some(work);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(ClientError::Unreachable { .. }) => {
                    self.pending = Some(work);
                    return self;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Starts it, and says where it answers.
fn serve(dir: &str) -> (Running, Client) {
    let mut running = start(&["serve", "--data-dir", dir, "--listen", "127.0.0.1:0"]);
    let at = |said: &str| {
        let rest = said.lines().find_map(|line| line.split_once("ledger at ")).map(|(_, rest)| rest)?;
        Some(rest.split_once(',')?.0.to_owned())
    };
    running.wait_for("its address", |_, said| at(said).is_some());
    let url = at(&running.said()).unwrap_or_else(|| panic!("{}", running.said()));
    (running, Client::new(&url).unwrap())
}

/// Founds a ledger whose accounts are let in, with a pack that may send telemetry; returns the senders, and how many transactions
/// the authority signed for that.
async fn founded(dir: &Path) -> (Vec<Sender>, u64) {
    let data = dir.to_str().unwrap();
    let chain_id = run(&["ledger", "init", "--data-dir", data, "--json"]).good().json();
    let Hex(chain_id) = chain_id["chain_id"].as_str().unwrap().parse::<Hex<32>>().unwrap();
    let mut founders = Founders::of(dir, chain_id);
    let keys: Vec<_> = (0..SENDERS).map(|i| world::key(&format!("sender-{i}"))).collect();

    let (running, client) = serve(data);
    let include = async |tx: Vec<u8>| {
        let answer = client.submit(&tx, true).await.unwrap();
        assert_eq!(answer.status, INCLUDED, "{answer:?}");
    };
    let mut height = 0;
    for key in &keys {
        height = client.ledger_status().await.unwrap().height + NOTICE;
        include(founders.let_in(key, AccountRole::Owner, height)).await;
    }
    include(founders.register(PARTS.0, Role::App)).await;
    include(founders.register(PARTS.1, Role::Pack)).await;
    include(founders.bind(PARTS)).await;
    let mut module = 0;
    while client.ledger_status().await.unwrap().height <= height {
        module += 1;
        include(founders.register(&format!("module-{module}"), Role::Module)).await;
    }
    running.interrupt();
    running.wait().good();
    let sender = |account, record| Sender { account, record, pending: None, acknowledged: vec![] };
    let mut senders: Vec<_> = keys.into_iter().map(|key| sender(Account::new(key, chain_id), None)).collect();
    senders.push(sender(founders.operator, Some(0)));
    (senders, founders.authority.nonce)
}

/// Kills it `kills` times while clients send.
async fn killed(seed: u64, kills: usize) {
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let (mut senders, by_authority) = founded(&dir).await;
    let mut acknowledged = [0, 0];
    for _ in 0..kills {
        let (running, client) = serve(dir.to_str().unwrap());
        // What the one before answered with success is here.
        for sender in &mut senders {
            for hash in std::mem::take(&mut sender.acknowledged) {
                let found = client.transaction(&hash).await;
                assert_eq!(found.unwrap().status, INCLUDED, "{hash:?}");
                acknowledged[usize::from(sender.record.is_some())] += 1;
            }
        }
        let answers = Arc::new(AtomicU32::new(0));
        let send = |sender: Sender| tokio::spawn(sender.send(client.clone(), answers.clone()));
        let sending: Vec<_> = senders.drain(..).map(send).collect();
        let enough = rng.next_u32() % ANSWERS_MAX;
        while answers.load(Ordering::Relaxed) < enough && !sending.iter().all(|sender| sender.is_finished()) {
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(Duration::from_micros(u64::from(rng.next_u32() % AFTER_MAX_US))).await;
        tokio::task::spawn_blocking(move || running.kill()).await.unwrap();
        for sender in sending {
            senders.push(sender.await.unwrap());
        }
    }
    // What had no answer is sent once more, and then each thing is there once.
    let (running, client) = serve(dir.to_str().unwrap());
    let mut sent = by_authority;
    for sender in &mut senders {
        while let Some(work) = sender.pending.take() {
            let status = match &work {
                Work::Transaction(bytes) => client.submit(bytes, true).await.unwrap().status,
                Work::Batch(batch) => client.submit_batch(batch).await.unwrap().status,
            };
            if status != INCLUDED {
                sender.pending = Some(work);
                tokio::time::sleep(PAUSE).await;
            }
        }
        sent += sender.account.nonce;
    }
    for sender in &senders {
        for hash in &sender.acknowledged {
            assert_eq!(client.transaction(hash).await.unwrap().status, INCLUDED, "{hash:?}");
        }
        acknowledged[usize::from(sender.record.is_some())] += sender.acknowledged.len();
        let account = client.account(&sender.account.key.public()).await.unwrap();
        assert_eq!(account.next_nonce, sender.account.nonce + 1);
    }
    let records = senders.iter().find_map(|sender| sender.record).unwrap();
    let status = client.ledger_status().await.unwrap();
    assert_eq!((status.transactions, status.records), (sent, records.into()));
    running.interrupt();
    running.wait().good();
    let verified = run(&["ledger", "verify-chain", "--data-dir", dir.to_str().unwrap(), "--json"]);
    assert_eq!(verified.good().json()["batches"], records / u32::from(RECORDS));
    let [transactions, batches] = acknowledged;
    println!(
        "{kills} kills; {transactions} transactions and {batches} batches of {RECORDS} records acknowledged, none lost, none \
         doubled"
    );
    assert!(transactions > kills && batches > 0, "{acknowledged:?}: it was not under load");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_the_process() {
    killed(0x6d6f_6462, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three hundred processes; a few are among the usual tests"]
async fn what_was_answered_outlives_hundreds_of_processes() {
    for seed in 1..=4 {
        killed(seed, 75).await;
    }
}
