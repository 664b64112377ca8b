//! Signed transactions: how many a second become durable, beside bare verification; how long a block of 500 writes takes,
//! beside redb without a tree.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::signature::VerificationAlgorithm;
use graviola::signing::ecdsa::{P256, VerifyingKey};
use lct::sign::SigningKey;
use ledger::{
    anonymous::{EVERYTHING, Urgency},
    codec::Canonical,
    records::{AccountRole, registry::RevocationScope},
    tx::{Body, Change, Governance, Registry, Tx, Unsigned, registry::Anonymous},
};
use node::{
    Chain, SubmitError,
    engine::solo::{Config, Solo},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use redb::Database;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

use super::{BLOCK, Disk, Size, cores, genesis, on_all_cores, peers::TABLE, quantile};
use crate::{measure::median, world};

/// Transactions of a commit of 500 writes: each writes its sender's nonce and one row.
const SMALL: usize = 250;
/// For how long each library verifies in a turn.
const BARE: Duration = Duration::from_millis(100);
/// How long somebody waits who finds nothing to do.
const PAUSE: Duration = Duration::from_micros(200);

pub fn run(disk: &Disk, size: &Size) -> Result<Value> {
    let many = Ledger::found(disk, "many", size.accounts)?;
    let many_row = many.turns(size)?;
    let few = Ledger::found(disk, "few", size.few)?;
    let few_row = few.turns(size)?;
    let commits = few.small_blocks(disk, size)?;
    let latency = latency(few, size)?;
    let mut all = json!({
        "tx_ratio_many": many_row["ratio"],
        "tx_ratio_few": few_row["ratio"],
        "transactions": [many_row, few_row],
    });
    for part in [commits, latency] {
        for (key, value) in part.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
    }
    Ok(all)
}

/// A ledger with accounts, and the keys of the accounts.
struct Ledger {
    chain: Arc<Chain>,
    engine: Solo,
    accounts: Vec<SigningKey>,
    /// Transactions that each account has sent.
    sent: RefCell<Vec<u64>>,
}

/// Signs with the host's library, as clients do.
fn signed(chain: &Chain, signer: &SigningKey, nonce: u64, body: Body) -> Vec<u8> {
    let chain_id = chain.chain_id();
    let unsigned = Unsigned { chain_id, signer: signer.public(), nonce, expiry_height: u64::MAX, body };
    let signature = signer.sign(&unsigned.digest(), &mut ChaCha20Rng::seed_from_u64(1));
    unsigned.with_signature(signature).to_bytes()
}

/// A transaction that is judged by its envelope's signature alone and writes two keys of its sender: the nonce, and what the
/// sender withdraws.
fn withdrawal() -> Body {
    Body::Registry(Registry::Anonymous(Anonymous::Revoke {
        scope: RevocationScope::Blanket as u8,
        target: EVERYTHING,
        urgency: Urgency::Immediate as u8,
        category: 3,
    }))
}

impl Ledger {
    /// Founds a ledger and gives `n` keys accounts.
    fn found(disk: &Disk, name: &str, n: usize) -> Result<Self> {
        let chain = Arc::new(Chain::open(&disk.ledger(name)?, &genesis())?);
        let engine = Solo::new(Arc::clone(&chain), world::validator("v"))?;
        let accounts = on_all_cores(n, |i| Ok(world::key(&format!("account-{i}"))))?;
        let authority = world::key("authority");
        for (first, part) in (0..).step_by(BLOCK).zip(accounts.chunks(BLOCK)) {
            let height = chain.tip().height + 3;
            let txs = on_all_cores(part.len(), |i| {
                let change = Change::Account { role: AccountRole::Owner, key: part[i].public() };
                let body = Body::Govern(Governance { change, height });
                Ok(signed(&chain, &authority, (first + i) as u64 + 1, body))
            })?;
            for tx in txs {
                chain.submit(tx)?;
            }
            engine.drain(|| world::START_MS)?;
        }
        let status = chain.status()?;
        ensure!((status.txs, status.refused) == (n as u64, 0), "an account was refused");
        Ok(Self { chain, engine, sent: vec![0; accounts.len()].into(), accounts })
    }

    /// The next `n` transactions, of one account after the other.
    fn next(&self, n: usize, from: usize) -> Result<Vec<Vec<u8>>> {
        let mut sent = self.sent.borrow_mut();
        let whose: Vec<(usize, u64)> = (from..from + n)
            .map(|i| {
                let i = i % self.accounts.len();
                sent[i] += 1;
                (i, sent[i])
            })
            .collect();
        let (chain, accounts) = (&self.chain, &self.accounts);
        on_all_cores(n, |i| Ok(signed(chain, &accounts[whose[i].0], whose[i].1, withdrawal())))
    }

    /// Full blocks, each turn of them beside one of bare verification on all cores.
    fn turns(&self, size: &Size) -> Result<Value> {
        let (mut libraries, mut bare) = (Vec::new(), Vec::new());
        let (mut ratios, mut rates) = (Vec::new(), Vec::new());
        let n = size.blocks * BLOCK;
        for turn in 0..size.turns {
            let txs = self.next(n, turn * n)?;
            let (library, verified) = bare_rate(&txs)?;
            let applied = self.apply(&txs)?;
            libraries.push(library);
            bare.push(verified);
            rates.push(applied);
            ratios.push(applied / verified);
        }
        let status = self.chain.status()?;
        ensure!(status.refused == 0, "{} transactions were refused", status.refused);
        Ok(json!({
            "accounts": self.accounts.len(),
            "ratio": median(ratios.into_iter()),
            "applied_per_s": median(rates.into_iter()),
            "bare_verifications_per_s": median(bare.into_iter()),
            "fastest_library": libraries,
        }))
    }

    /// Transactions a second, from the first submission until the last is in a block on disk: clients submit on all cores
    /// while the engine makes full blocks.
    fn apply(&self, txs: &[Vec<u8>]) -> Result<f64> {
        // An account's transactions follow one another in one thread.
        let mut parts: Vec<Vec<Vec<u8>>> = (0..cores()).map(|_| Vec::new()).collect();
        for (i, tx) in txs.iter().enumerate() {
            parts[i % self.accounts.len() % cores()].push(tx.clone());
        }
        let clients = AtomicUsize::new(parts.len());
        let (chain, clients) = (&self.chain, &clients);
        let start = Instant::now();
        thread::scope(|scope| {
            let submitting: Vec<_> = parts
                .into_iter()
                .map(|part| {
                    scope.spawn(move || {
                        let sent = part.into_iter().try_for_each(|tx| submit(chain, tx));
                        clients.fetch_sub(1, Ordering::Release);
                        sent
                    })
                })
                .collect();
            loop {
                let last = clients.load(Ordering::Acquire) == 0;
                if chain.is_full() || (last && chain.waiting() > 0) {
                    self.engine.cut(world::START_MS)?;
                } else if last {
                    break;
                } else {
                    thread::sleep(PAUSE);
                }
            }
            for client in submitting {
                client.join().map_err(|_| anyhow!("a client stopped"))??;
            }
            Ok::<_, anyhow::Error>(())
        })?;
        Ok(txs.len() as f64 / start.elapsed().as_secs_f64())
    }

    /// Time to commit a block of 500 writes with its tree, beside redb that stores the same rows and block without one.
    fn small_blocks(&self, disk: &Disk, size: &Size) -> Result<Value> {
        let plain = Database::create(disk.path("plain"))?;
        let (mut ours, mut redb) = (Vec::new(), Vec::new());
        for n in 0..size.commits500 {
            let txs = self.next(SMALL, n * SMALL)?;
            for tx in &txs {
                self.chain.submit(tx.clone())?;
            }
            let start = Instant::now();
            let tip = self.engine.cut(world::START_MS)?;
            ours.push(start.elapsed().as_secs_f64() * 1_000.0);
            ensure!(tip.is_some_and(|tip| tip.tx_count as usize == SMALL), "the block has all transactions");

            let start = Instant::now();
            let txn = plain.begin_write()?;
            {
                let mut table = txn.open_table(TABLE)?;
                table.insert(
                    [b"block".as_slice(), &n.to_be_bytes()].concat().as_slice(),
                    txs.concat().as_slice(),
                )?;
                for i in 0..SMALL {
                    let account = self.accounts[(n * SMALL + i) % self.accounts.len()].public();
                    for prefix in [b"non/", b"arv/"] {
                        let key = [prefix.as_slice(), &account.0].concat();
                        table.insert(key.as_slice(), [n as u8; 32].as_slice())?;
                    }
                }
            }
            txn.commit()?;
            redb.push(start.elapsed().as_secs_f64() * 1_000.0);
        }
        Ok(json!({
            "commit500_p50_ms": quantile(&mut ours, 0.5),
            "commit500_p99_ms": quantile(&mut ours, 0.99),
            "commit500_redb_p50_ms": quantile(&mut redb, 0.5),
            "commit500_redb_p99_ms": quantile(&mut redb, 0.99),
        }))
    }
}

/// Submits a transaction, again while too many wait.
fn submit(chain: &Chain, tx: Vec<u8>) -> Result<()> {
    loop {
        match chain.submit(tx.clone()) {
            Err(SubmitError::Full) => thread::sleep(PAUSE),
            other => return other.map(|_| ()).map_err(Into::into),
        }
    }
}

/// From the submission of one transaction until its sender learns that a block holds it, the engine pacing itself.
fn latency(ledger: Ledger, size: &Size) -> Result<Value> {
    let Ledger { chain, engine, accounts, sent } = ledger;
    let sent = sent.into_inner();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let mut waits = runtime.block_on(async {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopped = async { stopped.await.unwrap_or(()) };
        let running = tokio::spawn(engine.run(Config::default(), || world::START_MS, stopped));
        let mut waits = Vec::new();
        for (account, sent) in accounts.iter().zip(sent).take(size.commits500.min(200)) {
            let tx = signed(&chain, account, sent + 1, withdrawal());
            let start = Instant::now();
            let id = chain.submit(tx)?;
            chain.wait(&id).await?;
            waits.push(start.elapsed().as_secs_f64() * 1_000.0);
        }
        stop.send(()).map_err(|()| anyhow!("the engine ended before"))?;
        running.await??;
        Ok::<_, anyhow::Error>(waits)
    })?;
    Ok(
        json!({ "commit_latency_p50_ms": quantile(&mut waits, 0.5), "commit_latency_p99_ms": quantile(&mut waits, 0.99) }),
    )
}

/// The fastest library and how many of these transactions' signatures it verifies a second on all cores, keys given as
/// bytes.
fn bare_rate(txs: &[Vec<u8>]) -> Result<(&'static str, f64)> {
    let work = txs
        .iter()
        .take(2_000)
        .map(|bytes| {
            let tx = Tx::from_bytes(bytes)?;
            let unsigned = &tx.unsigned;
            Ok((unsigned.signer.0, unsigned.digest(), tx.signature.0))
        })
        .collect::<Result<Vec<_>>>()?;
    let work = work.as_slice();
    let aws = rate(work.len(), |i| {
        let (key, digest, signature) = &work[i];
        let digest = aws_lc_rs::digest::Digest::import_less_safe(digest, &aws_lc_rs::digest::SHA256);
        digest.is_ok_and(|digest| {
            aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED.verify_digest_sig(key, &digest, signature).is_ok()
        })
    })?;
    // These take uncompressed keys and hash the message themselves: 32 bytes, as short as a digest.
    let others = (0..64)
        .map(|i| {
            let key = graviola::signing::ecdsa::SigningKey::<P256>::generate()
                .map_err(|e| anyhow!("graviola: {e:?}"))?;
            let message = [i as u8; 32];
            let mut signature = [0; 64];
            key.sign::<graviola::hashing::Sha256>(&[&message], &mut signature)
                .map_err(|e| anyhow!("graviola: {e:?}"))?;
            // The point is what the encoded key ends with.
            let mut der = [0; 128];
            let der = key.to_spki_der(&mut der).map_err(|e| anyhow!("graviola: {e:?}"))?;
            let public: [u8; 65] = *der.last_chunk().context("a key has a point")?;
            Ok((public, message, signature))
        })
        .collect::<Result<Vec<_>>>()?;
    let others = others.as_slice();
    let graviola = rate(others.len(), |i| {
        let (public, message, signature) = &others[i];
        VerifyingKey::<P256>::from_x962_uncompressed(public)
            .and_then(|key| key.verify::<graviola::hashing::Sha256>(&[message], signature))
            .is_ok()
    })?;
    let ring = rate(others.len(), |i| {
        let (public, message, signature) = &others[i];
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(message, signature).is_ok()
    })?;
    [("aws-lc-rs", aws), ("graviola", graviola), ("ring", ring)]
        .into_iter()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .context("a library verified")
}

/// How often all cores together do something a second.
fn rate(n: usize, verify: impl Fn(usize) -> bool + Sync) -> Result<f64> {
    let start = Instant::now();
    let verify = &verify;
    let done = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores())
            .map(|_| {
                scope.spawn(move || {
                    let mut done = 0_usize;
                    while start.elapsed() < BARE {
                        for i in 0..32 {
                            if !verify((done + i) % n) {
                                return None;
                            }
                        }
                        done += 32;
                    }
                    Some(done)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().ok().flatten().context("a signature did not verify"))
            .sum::<Result<usize>>()
    })?;
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
