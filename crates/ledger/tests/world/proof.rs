//! Receipts of what a bench applied, with the proofs of a small tree and the certificate of its one validator.

use std::collections::BTreeMap;

use ed25519_dalek::Signer;
use lct::{Digest, hash::sha256, merkle};
use ledger::{
    block::{Certificate, Header, result_leaves, tx_leaves},
    codec::Canonical,
    outcome::TxResult,
    proof::{Multiproof, StateProof},
    receipt::{Receipt, ReceiptError, evidence_keys, verify},
    state::View,
    tx::{Body, Tx},
    verdict::{Proved, Verdict},
};

use super::{bench::Bench, *};

/// The receipt of a transaction of the authority, on the state as it is, whatever the chain would have done.
pub fn receipt(bench: &Bench, tx: Vec<u8>) -> Receipt {
    let wanted = evidence_keys(&Tx::from_bytes(&tx).unwrap()).unwrap();
    let state: Vec<_> =
        wanted.into_iter().map(|k| (bench.state.get(&k).unwrap().unwrap_or_default(), k)).collect();
    let leaves: BTreeMap<Digest, Digest> = state.iter().map(|(v, k)| (sha256(&[k]), sha256(&[v]))).collect();
    let (state_root, _) = reference(&leaves, 0, None);
    let proof = |(value, key): &(Vec<u8>, Vec<u8>)| {
        let (_, siblings) = reference(&leaves, 0, Some(&sha256(&[key])));
        StateProof { key: key.clone(), value: value.clone(), siblings }
    };
    let proofs: Vec<_> = state.iter().map(proof).collect();
    let result = TxResult { rejection: None, events: vec![] };
    let header = Header {
        chain_id: chain_id(),
        height: 7,
        time_ms: bench.time_ms,
        proposer: validator("v").verifying_key().to_bytes(),
        parent: [1; 32],
        state_root: [2; 32],
        tx_root: merkle::root(&tx_leaves(std::slice::from_ref(&tx))),
        result_root: [3; 32],
        tx_count: 1,
    };
    let result_root = merkle::root(&result_leaves(&[result.to_bytes()]));
    let next = Header { height: 8, parent: header.id(), state_root, result_root, ..header.clone() };
    let signature = validator("v").sign(&Certificate::message(&next.id())).to_bytes();
    let certificate =
        Certificate { signatures: vec![(validator("v").verifying_key().to_bytes(), signature)] };
    Receipt {
        tx: Tx::from_bytes(&tx).unwrap(),
        index: 0,
        tx_path: vec![],
        block: (&header).into(),
        result,
        result_path: vec![],
        next: (&next).into(),
        certificate,
        objects: state.into_iter().map(|(value, _)| value).collect(),
        proof: Multiproof::join(&proofs).unwrap(),
        record: None,
        handovers: vec![],
    }
}

/// What the receipt of a transaction proves, or why it is refused.
pub fn judge(bench: &Bench, tx: Vec<u8>) -> Result<Verdict, ReceiptError> {
    verify(&receipt(bench, tx).to_file(), Some(&genesis().trust()))
}

/// Sends a body as the authority; the transaction, and what its receipt proves.
pub fn prove(bench: &mut Bench, body: Body) -> (Vec<u8>, Proved) {
    bench.nonces[0] += 1;
    let bytes = tx(&key("authority"), bench.nonces[0], body);
    assert_eq!(bench.apply(&bytes), None);
    let verdict = judge(bench, bytes.clone()).unwrap();
    (bytes, verdict.proved)
}
