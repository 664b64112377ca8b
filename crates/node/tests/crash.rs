//! A process that is killed while it runs a ledger: nothing that it acknowledged is lost, nothing is there by half.
//!
//! The test starts itself as the process that is killed. That one says on its standard output what is acknowledged.

use crate::{formats::sums, world};

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lct::id::{Cid, Role};
use node::{
    Chain,
    engine::solo::Solo,
    receipts::ReceiptFailure,
    segments::{Entry, StoredBatch},
    series::Anew,
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use world::*;

const VICTIM: &str = "MODBATT_TEST_VICTIM";
const CLOCK: u64 = START_MS + 600_000;
/// Longest time from the first acknowledgement until the process is killed.
const LIFE_MS: u64 = 40;

/// What stands on the last lines of a victim: the height and the batches that were acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Acknowledged {
    height: u64,
    batches: u32,
}

fn solo(dir: &Path) -> (Arc<Chain>, Solo) {
    let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    (chain, engine)
}

/// Runs the ledger in `dir` until it is killed: one thread appends records, the other makes blocks.
fn victim(dir: &Path) {
    let (chain, engine) = solo(dir);
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let first = chain.last_stored(&Cid::of("module-1")).map_or(0, |last| last / 5 + 1);
            for n in first.. {
                let statement = batch_statement("module-1", n * 5, 5);
                let entries = records("module-1", n * 5, 5).into_iter().map(Entry::Record).collect();
                chain.append(&[StoredBatch { statement: batch_bytes(&statement), entries }]).unwrap();
                if n % 3 == 2 {
                    chain.follow().unwrap();
                }
                if !say(format!("batches {}", n + 1)) {
                    return;
                }
            }
        });
        loop {
            let signer = key("authority");
            let nonce = chain.next_nonce(&signer.public()).unwrap();
            chain.submit(tx(&signer, nonce, register(&format!("module-9{nonce}"), Role::Module))).unwrap();
            let tip = engine.cut(CLOCK).unwrap().unwrap();
            if !say(format!("height {}", tip.height)) {
                return;
            }
        }
    });
}

/// Starts a victim on `dir` and kills it, so long after its first word, or after the first block that it acknowledged; what it
/// acknowledged. A block takes longer than a batch, on a busy machine longer than it lives.
fn killed(dir: &Path, life: Duration, from_block: bool, before: Acknowledged) -> Acknowledged {
    let mut acknowledged = before;
    let test = "crash::a_killed_process_loses_nothing_that_it_acknowledged";
    let mut child: Child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(VICTIM, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let read = |acknowledged: &mut Acknowledged, line: &str| {
        let number = |what| line.split_once(what).and_then(|(_, n)| n.trim().parse().ok());
        if let Some(height) = number("height ") {
            acknowledged.height = height;
        } else if let Some(batches) = number("batches ") {
            acknowledged.batches = batches as u32;
        } else {
            return false;
        }
        true
    };
    // It lives from its first word on: what comes before is the start of a process.
    let mut begun = None;
    loop {
        let Some(Ok(line)) = lines.next() else { panic!("the victim ended by itself") };
        if read(&mut acknowledged, &line) && (!from_block || acknowledged.height > before.height) {
            let begun = *begun.get_or_insert_with(Instant::now);
            if begun.elapsed() >= life {
                break;
            }
        }
    }
    // SIGKILL on Unix.
    child.kill().unwrap();
    for line in lines.map_while(Result::ok) {
        read(&mut acknowledged, &line);
    }
    child.wait().unwrap();
    acknowledged
}

/// What is acknowledged is there, whole, and at most one of either that was on its way besides.
fn check(dir: &Path, acknowledged: Acknowledged) {
    let (chain, engine) = solo(dir);
    let what = format!("{acknowledged:?}");
    let height = chain.tip().height;
    assert!((acknowledged.height..=acknowledged.height + 1).contains(&height), "{what}: height {height}");
    let batches = chain.stored().batches as u32;
    assert!(
        (acknowledged.batches..=acknowledged.batches + 1).contains(&batches),
        "{what}: {batches} batches"
    );
    let snapshot = chain.read().unwrap();
    for h in height.saturating_sub(5).max(1)..=height + 1 {
        assert_eq!(snapshot.block(h).unwrap().is_some(), h <= height, "{what}: block {h}");
        assert_eq!(snapshot.certificate(h).unwrap().is_some(), h <= height, "{what}: certificate {h}");
    }
    // Each transaction registered one component, under its nonce.
    let status = snapshot.status().unwrap();
    assert_eq!((status.components, status.refused), (status.txs, 0), "{what}");
    for n in [1, status.txs, status.txs + 1] {
        let there = snapshot.component(&Cid::of(&format!("module-9{n}"))).unwrap().is_some();
        assert_eq!(there, (1..=status.txs).contains(&n), "{what}: {n}");
    }
    for n in (0..batches).rev().take(5) {
        let (_, kept) = chain.stored_batch(&Cid::of("module-1"), n * 5).unwrap().unwrap();
        assert_eq!(kept.entries.len(), 5, "{what}: batch {n}");
    }
    // Each record is in the sums once (L254).
    let (days, followed) = sums(&chain);
    let records: u32 = days.iter().map(|(_, bucket)| bucket.records).sum();
    assert_eq!((records, followed.complete), (batches * 5, true), "{what}");
    assert!(matches!(followed.anew, None | Some(Anew::Missing)), "{what}: {followed:?}");
    let missing = chain.receipt_record(&Cid::of("module-1"), 0);
    assert!(matches!(missing, Err(ReceiptFailure::UnknownRecord { .. })), "no block holds the batches");
    drop(snapshot);
    // What was certified leads to the state that is there.
    engine.drain(|| CLOCK).unwrap();
}

fn kills(count: u32) {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let mut acknowledged = Acknowledged::default();
    for n in 0..count {
        // A ledger that is founded as well.
        let fresh = tempfile::tempdir().unwrap();
        let (dir, before) =
            if n % 4 == 3 { (fresh.path(), Acknowledged::default()) } else { (dir.path(), acknowledged) };
        let life = Duration::from_micros(rng.next_u64() % (LIFE_MS * 1_000));
        let found = killed(dir, life, n % 2 == 1, before);
        assert!(found.height > before.height || found.batches > before.batches, "it did something");
        check(dir, found);
        if n % 4 != 3 {
            // The block that was on its way counts from here, and the empty one that certifies it.
            let (chain, _) = solo(dir);
            acknowledged =
                Acknowledged { height: chain.tip().height, batches: chain.stored().batches as u32 };
        }
    }
    assert!(acknowledged.height >= u64::from(count / 4), "{acknowledged:?}");
    println!(
        "{count} processes killed; {} blocks and {} batches acknowledged by one ledger: nothing lost, nothing by half",
        acknowledged.height, acknowledged.batches
    );
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    match env::var_os(VICTIM) {
        Some(dir) => victim(Path::new(&dir)),
        None => kills(4),
    }
}

#[test]
#[ignore = "four hundred processes; a smaller share is among the usual tests"]
fn four_hundred_killed_processes_lose_nothing_that_they_acknowledged() {
    kills(400);
}
