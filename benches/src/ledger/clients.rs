//! Clients that wait, each for one record, until it is on disk.

use std::{sync::Barrier, thread, time::Instant};

use anyhow::{Result, anyhow, ensure};
use node::{
    Chain,
    segments::{Appended, StoredBatch},
};
use serde_json::{Value, json};

use super::{Disk, Size, genesis, quantile, records};

/// How many wait at a time.
pub const CLIENTS: usize = 64;

pub fn run(disk: &Disk, size: &Size) -> Result<Value> {
    let chain = Chain::open(&disk.ledger("clients")?, &genesis())?;
    let prepared = super::on_all_cores(CLIENTS, |client| {
        let batch = |seq| Ok(records::batch(records::cid(client), seq, 1)?.1);
        (0..size.appends as u32).map(batch).collect::<Result<Vec<StoredBatch>>>()
    })?;
    let barrier = Barrier::new(CLIENTS + 1);
    let (chain, barrier) = (&chain, &barrier);
    let (elapsed, mut waits) = thread::scope(|scope| {
        let clients: Vec<_> = prepared
            .iter()
            .map(|batches| {
                scope.spawn(move || {
                    barrier.wait();
                    let mut waits = Vec::with_capacity(batches.len());
                    for batch in batches {
                        let start = Instant::now();
                        let answer = chain.append(std::slice::from_ref(batch))?;
                        waits.push(start.elapsed().as_secs_f64() * 1_000.0);
                        ensure!(answer == [Appended::Stored], "a record was there before");
                    }
                    Ok(waits)
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        let mut waits = Vec::new();
        for client in clients {
            waits.extend(client.join().map_err(|_| anyhow!("a client stopped"))??);
        }
        Ok::<_, anyhow::Error>((start.elapsed(), waits))
    })?;
    ensure!(chain.stored().records as usize == CLIENTS * size.appends, "a record is missing");
    Ok(json!({
        "acks_per_s": waits.len() as f64 / elapsed.as_secs_f64(),
        "acks_p50_ms": quantile(&mut waits, 0.5),
        "acks_p99_ms": quantile(&mut waits, 0.99),
    }))
}
