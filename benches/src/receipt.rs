//! Bench `receipt`: how long a receipt is and what it costs to verify one, for a record among 2^20.
//!
//! The receipt stands on a state with as many batches as that many records take, and every signature in it is made by the
//! key that the chain has for it, so that the verifier does all that it does for a real one.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ed25519_dalek::Signer;
use lct::{
    Digest,
    hash::sha256,
    id::Cid,
    merkle::{self, leaf_hash},
};
use ledger::{
    block::{Certificate, Header, result_leaves, tx_leaves},
    codec::Canonical,
    genesis::{Validator, ValidatorSet},
    outcome::{Event, TxResult},
    proof::{Multiproof, StateProof},
    receipt::{Receipt, RecordPart, Trust, evidence_keys, verify},
    records::{Account, AccountRole, SigningKey, Status, key as state_key},
    tx::Tx,
    verdict::Trusted,
};
use serde_json::{Value, json};

use crate::measure::{Contender, Effort, interleaved};
use crate::world;

/// Records that the chain covers.
const RECORDS: u32 = 1 << 20;
/// Records of a batch: what a device signs at once.
const BATCH: u16 = 100;
/// Signatures of a receipt besides those of validators: the sender's and the device's.
const SIGNATURES: usize = 2;

pub fn run(effort: Effort) -> Result<Value> {
    // A receipt costs a thousand times what a message does.
    let effort = Effort { rounds: effort.rounds.div_ceil(8), turn: effort.turn.div_ceil(64) };
    let sets: [&[&str]; 2] = [&["v"], &["a", "b", "c", "d"]];
    let mut rows = Vec::new();
    for labels in sets {
        let (file, trust) = receipt(labels)?;
        let bytes = file.len();
        let mut verifying = Verifying { file, trust, held: true };
        let ns = interleaved(&mut [&mut verifying], effort)?[0];
        let signatures = SIGNATURES + labels.len();
        rows.push(json!({
            "validators": labels.len(),
            "records": RECORDS,
            "bytes": bytes,
            "signatures": signatures,
            "verify_us": ns / 1000.0,
            "us_per_signature": ns / 1000.0 / signatures as f64,
        }));
    }
    Ok(json!({ "rows": rows, "rounds": effort.rounds, "turn": effort.turn }))
}

struct Verifying {
    file: Vec<u8>,
    trust: Trust,
    held: bool,
}

impl Contender for Verifying {
    fn prepare(&mut self, _: usize) -> Result<()> {
        ensure!(self.held, "a receipt did not hold");
        Ok(())
    }

    fn run(&mut self, n: usize) {
        for _ in 0..n {
            let verdict = verify(&self.file, Some(&self.trust));
            self.held &= verdict.is_ok_and(|v| v.trusted == Trusted::Yes && v.record.is_some());
        }
    }
}

/// The receipt of one record of a chain with these validators, all of whom sign, and what a verifier of it trusts.
fn receipt(labels: &[&str]) -> Result<(Vec<u8>, Trust)> {
    let set = ValidatorSet(
        labels
            .iter()
            .map(|l| Validator { key: world::validator(l).verifying_key().to_bytes(), power: 1 })
            .collect(),
    );
    let first = RECORDS / 2 / u32::from(BATCH) * u32::from(BATCH);
    let device = world::bound_key("module-1", "pack-1");
    let statement = world::batch_statement("module-1", first, BATCH);
    let body = world::batch_with(&statement, &device);
    let tx = world::tx(&world::key("authority"), 1, body);
    let read = Tx::from_bytes(&tx)?;

    let value = |key: &[u8]| match &key[..4] {
        b"val/" => set.to_bytes(),
        b"acc/" => {
            Account { role: AccountRole::Authority, status: Status::Active, from_height: 0 }.to_bytes()
        }
        _ => {
            let (cid, binding_id) = (Cid::of("module-1"), world::binding_id("pack-1", "module-1"));
            SigningKey { cid, binding_id, from_height: 1, status: Status::Active }.to_bytes()
        }
    };
    let wanted = evidence_keys(&read).context("the statement cannot be read")?;
    let mut leaves: BTreeMap<Digest, Digest> = (0..RECORDS / u32::from(BATCH))
        .map(|n| {
            let key = state_key::batch(&Cid::of("module-1"), n * u32::from(BATCH));
            (sha256(&[&key]), sha256(&[&n.to_be_bytes()]))
        })
        .collect();
    leaves.extend(wanted.iter().map(|key| (sha256(&[key]), sha256(&[&value(key)]))));
    let mut state_root = [0; 32];
    let mut proofs = Vec::new();
    for key in wanted {
        let (root, siblings) = world::reference(&leaves, 0, Some(&sha256(&[&key])));
        state_root = root;
        proofs.push(StateProof { value: value(&key), key, siblings });
    }

    let record = world::records("module-1", first, BATCH);
    let all: Vec<Digest> = record.iter().map(|r| leaf_hash(r)).collect();
    let mut path = [[0; 32]; merkle::PATH_MAX];
    let n = merkle::path(&all, 50, &mut path).context("the batch has a record 50")?;
    let event = Event::new("TelemetryBatchRecorded")
        .with("cid", statement.cid.0.as_slice())
        .with("first_seq", first)
        .with("count", u32::from(BATCH))
        .with("root", statement.root.as_slice());
    let result = TxResult { rejection: None, events: vec![event] };
    let header = Header {
        chain_id: world::chain_id(),
        height: 10_000,
        time_ms: world::START_MS + 86_400_000,
        proposer: set.0[0].key,
        parent: [1; 32],
        state_root: [2; 32],
        tx_root: merkle::root(&tx_leaves(std::slice::from_ref(&tx))),
        result_root: [3; 32],
        tx_count: 1,
    };
    let next = Header {
        height: header.height + 1,
        parent: header.id(),
        state_root,
        result_root: merkle::root(&result_leaves(&[result.to_bytes()])),
        ..header.clone()
    };
    let message = Certificate::message(&next.id());
    let signatures = labels
        .iter()
        .map(|label| {
            let key = world::validator(label);
            (key.verifying_key().to_bytes(), key.sign(&message).to_bytes())
        })
        .collect();
    let receipt = Receipt {
        tx: read,
        index: 0,
        tx_path: vec![],
        block: (&header).into(),
        result,
        result_path: vec![],
        next: (&next).into(),
        certificate: Certificate { signatures },
        objects: proofs.iter().map(|p| p.value.clone()).collect(),
        proof: Multiproof::join(&proofs).context("the proofs are of one state")?,
        record: Some(RecordPart { record: record[50].clone(), index: 50, path: path[..n].to_vec() }),
        handovers: vec![],
    };
    let trust = Trust { chain_id: world::chain_id(), validators: set, height: 0 };
    Ok((receipt.to_file(), trust))
}
