//! A ledger with many components: what finding and reading one costs, and how soon a program that opens it is ready.

use std::{hint::black_box, ops::Range, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use lct::{
    attest::{CertificateType, DeviceCertificate},
    id::{Cid, Role},
    registration::{Registration, digest_of},
};
use ledger::{
    codec::Canonical,
    excerpt::Found,
    records::key as state_key,
    tx::{Body, Unsigned},
};
use node::{Chain, engine::solo::Solo, segments::StoredBatch};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Value, json};

use super::{BLOCK, Disk, OPERATORS, Size, bytes_below, genesis, on_all_cores, open, operator, records};
use crate::{
    measure::{median, process_ns, thread_ns},
    world,
};

/// Batches that one call appends while the ledger is filled.
const GROUP: usize = 500;
/// Operations of one turn, and turns.
const TURN: usize = 256;
const TURNS: usize = 32;

/// Name of the component with this number.
pub fn name(i: usize) -> String {
    format!("component-{i}")
}

pub fn run(disk: &Disk, size: &Size) -> Result<Value> {
    let empty = disk.ledger("empty")?;
    drop(Chain::open(&empty, &genesis())?);
    let dir = disk.ledger("components")?;
    fill(&dir, size)?;
    let mut all = queries(&dir, size.components)?;
    let cold_empty = open::starts(&empty, 0, size.starts)?;
    let cold = open::starts(&dir, size.components, size.starts.div_ceil(4))?;
    all["cold_empty_ms"] = cold_empty.ready_ms.into();
    all["cold_million_ms"] = cold.ready_ms.into();
    all["idle_mb"] = cold_empty.idle_mb.into();
    all["idle_full_mb"] = cold.idle_mb.into();
    all["disk_bytes_per_component"] = (bytes_below(&dir)? as f64 / size.components as f64).into();
    Ok(all)
}

/// Registers the components by transactions and stores a record of each.
fn fill(dir: &Path, size: &Size) -> Result<()> {
    let chain = Arc::new(Chain::open(dir, &genesis())?);
    register(&chain, 0..size.components)?;
    append(&chain, 0..size.components, 1)?;
    Ok(())
}

/// Registers these components by transactions; nanoseconds of CPU that all threads took to take them in and execute them.
pub fn register(chain: &Arc<Chain>, components: Range<usize>) -> Result<f64> {
    let engine = Solo::new(Arc::clone(chain), world::validator("v"))?;
    let batch = world::certificate(
        CertificateType::Batch,
        "batch-1",
        Role::Authority,
        world::key("batch").public(),
        &world::key("root"),
    );
    let operators: Vec<_> = (0..OPERATORS).map(|i| world::key(&operator(i))).collect();
    let batch_key = world::key("batch");
    let mut nonces =
        operators.iter().map(|key| chain.next_nonce(&key.public())).collect::<Result<Vec<_>, _>>()?;
    let mut spent = 0;
    for first in components.clone().step_by(BLOCK) {
        let n = BLOCK.min(components.end - first);
        let senders: Vec<(usize, u64)> = (first..first + n)
            .map(|i| {
                let nonce = nonces[i % OPERATORS];
                nonces[i % OPERATORS] += 1;
                (i % OPERATORS, nonce)
            })
            .collect();
        let txs = on_all_cores(n, |i| {
            let rng = &mut ChaCha20Rng::seed_from_u64(1);
            let id = name(first + i);
            let key = world::key(&id);
            let device = device(&id, &key, &batch_key);
            let registration = Registration {
                chain_id: chain.chain_id(),
                device,
                batch: batch.clone(),
                component_id: id.as_str().try_into().map_err(|_| anyhow::anyhow!("the name is too long"))?,
                serial: id.as_str().try_into().map_err(|_| anyhow::anyhow!("the name is too long"))?,
                hardware: 1,
                firmware: 2,
                capacity_mwh: world::CAPACITY,
                opening_soc_ppm: 500_000,
            };
            let mut out = [0; lct::registration::REGISTRATION_MAX];
            let len = registration.encode(&mut out)?;
            let statement = out[..len].to_vec();
            let signature = key.sign(&digest_of(&statement), rng);
            let (sender, nonce) = senders[i];
            let unsigned = Unsigned {
                chain_id: chain.chain_id(),
                signer: operators[sender].public(),
                nonce,
                expiry_height: u64::MAX,
                body: Body::Register { statement, signature },
            };
            let signature = operators[sender].sign(&unsigned.digest(), rng);
            Ok(unsigned.with_signature(signature).to_bytes())
        })?;
        let start = process_ns();
        for tx in txs {
            chain.submit(tx)?;
        }
        engine.drain(|| world::START_MS)?;
        spent += process_ns() - start;
        eprintln!("bench: {} components", first + n);
    }
    ensure!(chain.status()?.components == components.end as u64, "a component was refused");
    Ok(spent as f64)
}

/// Stores a batch of so many records of each of these components; nanoseconds of CPU that all threads took.
pub fn append(chain: &Chain, components: Range<usize>, records: u16) -> Result<f64> {
    let mut spent = 0;
    for first in components.clone().step_by(GROUP) {
        let n = GROUP.min(components.end - first);
        let batches = on_all_cores(n, |i| Ok(records::batch(Cid::of(&name(first + i)), 0, records)?.1))?;
        let start = process_ns();
        chain.append(&batches)?;
        spent += process_ns() - start;
    }
    Ok(spent as f64)
}

/// The certificate of a device.
fn device(id: &str, key: &lct::sign::SigningKey, batch: &lct::sign::SigningKey) -> DeviceCertificate {
    world::certificate(CertificateType::Device, id, Role::Module, key.public(), batch)
}

/// Time of this thread per operation, nanoseconds, for random ones of so many components; the median of turns.
pub fn each(turn: usize, components: usize, mut operation: impl FnMut(&Cid) -> Result<()>) -> Result<f64> {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let cids: Vec<Cid> =
            (0..turn).map(|_| Cid::of(&name(rng.next_u64() as usize % components))).collect();
        let start = thread_ns();
        for cid in &cids {
            operation(cid)?;
        }
        turns.push((thread_ns() - start) as f64 / turn as f64);
    }
    Ok(median(turns.into_iter()))
}

/// What finding and reading one of so many components costs, and what the ledger then holds in memory.
pub fn queries(dir: &Path, components: usize) -> Result<Value> {
    let mut opened = None;
    let memory = allocation_counter::measure(|| opened = Some(Chain::open(dir, &genesis())));
    let chain = opened.context("the ledger was opened")??;
    // The pages of the files are in memory after a first round.
    let mut found = 0_usize;
    let lookup = each(TURN, components, |cid| {
        found += usize::from(black_box(chain.last_stored(cid)).is_some());
        Ok(())
    })?;
    ensure!(found == TURNS * TURN, "a component has no record");
    let read = each(TURN, components, |cid| {
        let component = chain.read()?.component(cid)?;
        ensure!(black_box(component).is_some(), "a component is missing");
        Ok(())
    })?;
    let proof = each(TURN, components, |cid| {
        let snapshot = chain.read()?;
        let height = snapshot.tip().height;
        let past = snapshot.at(height)?;
        let found = past.prove(&state_key::component(cid))?;
        ensure!(matches!(black_box(found), Found::Present(_)), "a component is missing");
        Ok(())
    })?;
    let batch = each(TURN, components, |cid| {
        let stored: Option<(_, StoredBatch)> = chain.stored_batch(cid, 0)?;
        ensure!(black_box(stored).is_some(), "a record is missing");
        Ok(())
    })?;
    Ok(json!({
        "bytes_per_component": memory.bytes_current as f64 / components as f64,
        "lookup_ns": lookup,
        "read_us": read / 1_000.0,
        "read_proof_us": proof / 1_000.0,
        "read_record_us": batch / 1_000.0,
    }))
}
