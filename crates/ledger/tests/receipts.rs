//! Every way a receipt can lie is named, even when the validators themselves lie: the receipts here are built by
//! hand on states and results that no honest chain has, and properly certified.
//!
//! Rules L80 to L84, L230 and L231.

use crate::world;

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::Signer;
use lct::{
    Digest,
    hash::sha256,
    id::{BindingId, Cid, Role},
    merkle::{self, leaf_hash},
    validation::EventKind,
};
use ledger::{
    block::{Certificate, CertificateError, Header, result_leaves, tx_leaves},
    codec::{Canonical, FormatError},
    genesis::{Validator, ValidatorSet},
    outcome::{Event, TxResult},
    proof::{Multiproof, StateProof},
    receipt::{Receipt, ReceiptError, RecordPart, Trust, evidence_keys, verify},
    records::{Account, AccountRole, DeviceKey, Hop, Revocation, SigningKey, Status, Tensor},
    reject::Rejection,
    trust::Ppm,
    tx::{Body, Signed, Target, Tx},
    verdict::Proved,
};
use world::*;

/// What a crooked chain claims.
struct Claim {
    tx: Vec<u8>,
    result: TxResult,
    account: Account,
    /// Owner and status of the key that signed the statement.
    owner: (Cid, Status),
    validators: ValidatorSet,
    record: Option<RecordPart>,
    /// The transaction that the state names where it says that something was withdrawn.
    withdrawn_by: Digest,
    /// Up to when the state says that a tensor is counted.
    counted_ms: u64,
}

fn record() -> RecordPart {
    let leaves: Vec<_> = records("module-1", 10, 3).iter().map(|r| leaf_hash(r)).collect();
    let mut out = [[0; 32]; merkle::PATH_MAX];
    let n = merkle::path(&leaves, 1, &mut out).unwrap();
    RecordPart { record: records("module-1", 10, 3).remove(1), index: 1, path: out[..n].to_vec() }
}

fn batch() -> Body {
    batch_with(&batch_statement("module-1", 10, 3), &bound_key("module-1", "pack-1"))
}

/// What module-1 says of itself.
fn judged() -> Body {
    metrics_with(&metrics("module-1", "module-1", START_MS, 700_000), &bound_key("module-1", "pack-1"))
}

fn sent(body: Body) -> Vec<u8> {
    tx(&key("authority"), 1, body)
}

impl Claim {
    /// An honest claim about a batch, with a record.
    fn honest() -> Self {
        Self {
            tx: sent(batch()),
            result: TxResult { rejection: None, events: vec![] },
            account: Account { role: AccountRole::Authority, status: Status::Active, from_height: 0 },
            owner: (Cid::of("module-1"), Status::Active),
            validators: ValidatorSet(genesis().validators),
            record: Some(record()),
            withdrawn_by: [0; 32],
            counted_ms: START_MS,
        }
    }

    /// The receipt, consistent in itself and certified by the validator `v`.
    fn receipt(&self) -> Receipt {
        let tx = Tx::from_bytes(&self.tx).unwrap();
        let (cid, status) = self.owner;
        let wanted = evidence_keys(&tx).unwrap();
        let value = |key: &[u8]| match &key[..4] {
            b"acc/" => self.account.to_bytes(),
            b"dev/" => DeviceKey { cid, status, from_height: 1 }.to_bytes(),
            b"hop/" => {
                let (from, to) = (world::key("batch").public(), world::key("owner").public());
                Hop { from, to, statement: [0; 32], time_ms: START_MS, tx: self.withdrawn_by }.to_bytes()
            }
            b"tns/" => Tensor::new(Ppm::HALF, self.counted_ms).to_bytes(),
            b"rvk/" => {
                Revocation { reason: 2, height: 7, time_ms: START_MS, tx: self.withdrawn_by }.to_bytes()
            }
            _ => SigningKey { cid, binding_id: BindingId([0; 16]), from_height: 1, status }.to_bytes(),
        };
        let state: Vec<_> = wanted.iter().map(|key| (key.clone(), value(key))).collect();
        let mut leaves: BTreeMap<_, _> = (0..40_u8).map(|n| (sha256(&[b"more", &[n]]), [n; 32])).collect();
        leaves.extend(state.iter().map(|(k, v)| (sha256(&[k]), sha256(&[v]))));
        let (state_root, _) = reference(&leaves, 0, None);
        let proof = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let (_, siblings) = reference(&leaves, 0, Some(&sha256(&[key])));
            StateProof { key: key.clone(), value: value.clone(), siblings }
        };
        let proofs: Vec<_> = state.iter().map(proof).collect();
        let proposer = validator("v").verifying_key().to_bytes();
        let header = Header {
            chain_id: tx.unsigned.chain_id,
            height: 7,
            time_ms: START_MS,
            proposer,
            parent: [1; 32],
            state_root: [2; 32],
            tx_root: merkle::root(&tx_leaves(std::slice::from_ref(&self.tx))),
            result_root: [3; 32],
            tx_count: 1,
        };
        let next = Header {
            height: 8,
            parent: header.id(),
            state_root,
            result_root: merkle::root(&result_leaves(&[self.result.to_bytes()])),
            ..header.clone()
        };
        Receipt {
            tx,
            index: 0,
            tx_path: vec![],
            block: (&header).into(),
            result: self.result.clone(),
            result_path: vec![],
            certificate: certify(&next),
            next: (&next).into(),
            objects: state.into_iter().map(|(_, value)| value).collect(),
            proof: Multiproof::join(&proofs).unwrap(),
            record: self.record.clone(),
            handovers: vec![],
        }
    }

    fn refused(&self) -> ReceiptError {
        let trust = Trust { validators: self.validators.clone(), ..genesis().trust() };
        verify(&self.receipt().to_file(), Some(&trust)).unwrap_err()
    }
}

fn certify(header: &Header) -> Certificate {
    let key = validator("v");
    let signature = key.sign(&Certificate::message(&header.id())).to_bytes();
    Certificate { signatures: vec![(key.verifying_key().to_bytes(), signature)] }
}

#[test]
fn the_honest_claim_holds() {
    let verdict = verify(&Claim::honest().receipt().to_file(), Some(&genesis().trust())).unwrap();
    assert_eq!(verdict.record.map(|r| r.seq), Some(11));
    let judged = Claim { tx: sent(judged()), record: None, ..Claim::honest() };
    let verdict = verify(&judged.receipt().to_file(), Some(&genesis().trust())).unwrap();
    let Proved::Metrics { report, tensor } = verdict.proved else { panic!("{:?}", verdict.proved) };
    assert_eq!((report.metrics, tensor.talent), ([700_000; 5], Ppm::HALF));
}

#[test]
fn claims_of_a_lying_chain() {
    let forged = |change: fn(&mut Signed)| {
        let Body::Batch(mut signed) = batch() else { unreachable!() };
        change(&mut signed);
        sent(Body::Batch(signed))
    };
    let unsigned = || {
        let mut bytes = sent(batch());
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let bad_bind = |who: usize| {
        let mut signers = [bound_key("app-1", "pack-1"), bound_key("pack-1", "app-1"), key("authority")];
        signers[who] = key("stranger");
        let [a, b, c] = &signers;
        sent(bind_with(&binding(("app-1", Role::App), ("pack-1", Role::Pack)), [a, b, c]))
    };
    let bad_pair = |who: usize| {
        let mut signers = [bound_key("app-1", "pack-1"), bound_key("pack-1", "app-1"), key("authority")];
        signers[who] = key("stranger");
        let [a, b, c] = &signers;
        sent(pair_with("app-1", "pack-1", 1, 60, [a, b, c]))
    };
    let revoked = |signer: &lct::sign::SigningKey, change: &dyn Fn(&mut Claim)| {
        let event = event(EventKind::PairingRevocation, "app-1", 1, &[&[1; 16][..], &[2]].concat());
        let mut signed = signed_event(&event, signer);
        signed.key = bound_key("app-1", "pack-1").public();
        let tx = sent(Body::RevokeSigned(signed));
        let (withdrawn_by, owner) = (Tx::id_of(&tx), (Cid::of("app-1"), Status::Active));
        let mut claim = Claim { tx, withdrawn_by, owner, record: None, ..Claim::honest() };
        change(&mut claim);
        claim
    };
    let handed =
        |to: &lct::sign::SigningKey| sent(transfer_with(&first_hop("pack-1", "owner"), [&key("batch"), to]));
    let without_record = |tx: Vec<u8>| Claim { tx, record: None, ..Claim::honest() };
    let moved = |change: fn(&mut RecordPart)| {
        let mut part = record();
        change(&mut part);
        Claim { record: Some(part), ..Claim::honest() }
    };
    let mut two = genesis().validators;
    two.push(Validator { key: validator("w").verifying_key().to_bytes(), power: 1 });
    let other = Validator { key: validator("w").verifying_key().to_bytes(), power: 1 };
    let honest = Claim::honest;
    let rows: Vec<(&str, Claim, ReceiptError)> = vec![
        ("sender never signed", Claim { tx: unsigned(), ..honest() }, ReceiptError::TxSignature),
        (
            "a refusal sold as a receipt",
            Claim {
                result: TxResult { rejection: Some(Rejection::TelemetryOverlap), events: vec![] },
                ..honest()
            },
            ReceiptError::Refused(Rejection::TelemetryOverlap),
        ),
        (
            "withdrawn account",
            Claim {
                account: Account { status: Status::Revoked, ..honest().account },
                ..without_record(sent(Body::LctCreate {
                    a: Cid::of("a-1"),
                    b: Cid::of("b-1"),
                    context: "x".into(),
                }))
            },
            ReceiptError::AccountRevoked,
        ),
        (
            "account from the next height on",
            Claim {
                account: Account { from_height: 8, ..honest().account },
                owner: (Cid::of("module-1"), Status::Active),
                ..without_record(sent(register("module-1", Role::Module)))
            },
            ReceiptError::AccountEarly,
        ),
        (
            "withdrawn key",
            Claim { owner: (Cid::of("module-1"), Status::Revoked), ..honest() },
            ReceiptError::KeyRevoked,
        ),
        (
            "key of another component",
            Claim { owner: (Cid::of("module-2"), Status::Active), ..honest() },
            ReceiptError::KeyOwner,
        ),
        (
            "device never signed",
            Claim { tx: forged(|s| s.signature.0[9] ^= 1), ..honest() },
            ReceiptError::StatementSignature,
        ),
        (
            "statement is none",
            Claim { tx: forged(|s| s.statement = vec![0xa0]), ..honest() },
            ReceiptError::Statement,
        ),
        (
            "checkpoint that the device never signed",
            without_record(sent({
                let body = checkpoint_with("module-1", 7, [1; 32], &bound_key("module-1", "pack-1"));
                let Body::Checkpoint(mut signed) = body else { unreachable!() };
                signed.statement[24] = 8;
                Body::Checkpoint(signed)
            })),
            ReceiptError::StatementSignature,
        ),
        (
            "a tensor that the block of the report did not move",
            Claim { counted_ms: START_MS - 1, ..without_record(sent(judged())) },
            ReceiptError::NoEffect,
        ),
        (
            "a report of another component",
            Claim { owner: (Cid::of("module-2"), Status::Active), ..without_record(sent(judged())) },
            ReceiptError::KeyOwner,
        ),
        (
            "a report that the observer never signed",
            without_record(sent({
                let Body::Metrics(mut signed) = judged() else { unreachable!() };
                signed.signature.0[9] ^= 1;
                Body::Metrics(signed)
            })),
            ReceiptError::StatementSignature,
        ),
        (
            "checkpoint of another component",
            Claim {
                owner: (Cid::of("module-2"), Status::Active),
                ..without_record(sent(checkpoint_with(
                    "module-1",
                    7,
                    [1; 32],
                    &bound_key("module-1", "pack-1"),
                )))
            },
            ReceiptError::KeyOwner,
        ),
        (
            "registration of a withdrawn key",
            Claim {
                owner: (Cid::of("module-1"), Status::Revoked),
                ..without_record(sent(register("module-1", Role::Module)))
            },
            ReceiptError::KeyRevoked,
        ),
        (
            "registration of another component's key",
            Claim {
                owner: (Cid::of("module-2"), Status::Active),
                ..without_record(sent(register("module-1", Role::Module)))
            },
            ReceiptError::KeyOwner,
        ),
        (
            "registration without proof of possession",
            without_record(sent(register_with(&registration("module-1", Role::Module), &key("stranger")))),
            ReceiptError::StatementSignature,
        ),
        (
            "binding that A never signed",
            Claim { owner: (Cid::of("app-1"), Status::Active), ..without_record(bad_bind(0)) },
            ReceiptError::StatementSignature,
        ),
        ("pairing that A never signed", without_record(bad_pair(0)), ReceiptError::StatementSignature),
        ("pairing that B never signed", without_record(bad_pair(1)), ReceiptError::StatementSignature),
        (
            "pairing that the authority never signed",
            without_record(bad_pair(2)),
            ReceiptError::StatementSignature,
        ),
        (
            "revocation of which the state knows nothing",
            without_record(sent(Body::Revoke { target: Target::Component(Cid::of("pack-1")), reason: 2 })),
            ReceiptError::NoEffect,
        ),
        (
            "revocation for another reason",
            {
                let tx = sent(Body::Revoke { target: Target::Component(Cid::of("pack-1")), reason: 3 });
                Claim { withdrawn_by: Tx::id_of(&tx), ..without_record(tx) }
            },
            ReceiptError::NoEffect,
        ),
        (
            "change of hands of which the state knows nothing",
            without_record(handed(&key("owner"))),
            ReceiptError::NoEffect,
        ),
        (
            "change of hands that nobody took",
            {
                let tx = handed(&key("stranger"));
                Claim { withdrawn_by: Tx::id_of(&tx), ..without_record(tx) }
            },
            ReceiptError::StatementSignature,
        ),
        (
            "witness that saw nothing",
            without_record({
                let fault = signed_event(
                    &event(EventKind::Fault, "module-1", 1, b"x"),
                    &bound_key("module-1", "pack-1"),
                );
                let other = Signed { signature: key("stranger").sign_rfc6979(&[0; 32]), ..fault.clone() };
                let witnesses = vec![attest(&other, "module-1x", START_MS, &key("w"))];
                sent(Body::Validate { signed: fault, witnesses })
            }),
            ReceiptError::KeyOwner,
        ),
        (
            "side's revocation that it never signed",
            revoked(&key("stranger"), &|_| ()),
            ReceiptError::StatementSignature,
        ),
        (
            "revocation by the key of another component",
            revoked(&bound_key("app-1", "pack-1"), &|c| c.owner.0 = Cid::of("pack-1")),
            ReceiptError::KeyOwner,
        ),
        (
            "pairing withdrawn under a withdrawn key",
            revoked(&bound_key("app-1", "pack-1"), &|c| c.owner.1 = Status::Revoked),
            ReceiptError::KeyRevoked,
        ),
        (
            "record under an energy event",
            Claim {
                tx: sent(energy_with(
                    &energy(lct::energy::EnergyKind::Discharge, 1, 1, 5),
                    &bound_key("pack-1", "app-1"),
                )),
                owner: (Cid::of("pack-1"), Status::Active),
                ..honest()
            },
            ReceiptError::RecordWithoutBatch,
        ),
        ("record is none", moved(|r| r.record = vec![0xa0]), ReceiptError::Record),
        ("record of another place", moved(|r| r.index = 2), ReceiptError::RecordPlace),
        (
            "record of another component",
            moved(|r| r.record = records("module-2", 11, 1).remove(0)),
            ReceiptError::RecordPlace,
        ),
        ("record of another batch", moved(|r| r.path[0] = [0; 32]), ReceiptError::RecordPath),
        (
            "half of the power",
            Claim { validators: ValidatorSet(two), ..honest() },
            ReceiptError::Certificate(CertificateError::Quorum),
        ),
        (
            "signed by no validator",
            Claim { validators: ValidatorSet(vec![other]), ..honest() },
            ReceiptError::UntrustedValidators,
        ),
    ];
    for (what, claim, expected) in rows {
        assert_eq!(claim.refused(), expected, "{what}");
    }
}

/// Shapes that lead nowhere, and parts that lead to another block than the one that is certified.
#[test]
fn receipts_whose_parts_do_not_fit() {
    type Row = (&'static str, fn(&mut Receipt), ReceiptError);
    let signature = ReceiptError::Certificate(CertificateError::Signature);
    let rows: [Row; 28] = [
        ("another index", |r| r.index = 1, ReceiptError::TxPath),
        ("an empty block", |r| r.block.tx_count = 0, ReceiptError::TxPath),
        ("a path too long", |r| r.tx_path.push([0; 32]), ReceiptError::TxPath),
        ("a path too short", |r| r.block.tx_count = 2, ReceiptError::TxPath),
        ("a result elsewhere", |r| r.result_path.push([0; 32]), ReceiptError::ResultPath),
        ("the last height", |r| r.block.height = u64::MAX, ReceiptError::Height),
        ("an object left out", |r| drop(r.objects.pop()), ReceiptError::Evidence),
        ("an object more", |r| r.objects.push(vec![]), ReceiptError::Evidence),
        ("a depth left out", |r| r.proof.depths.truncate(2), ReceiptError::Evidence),
        ("a leaf on the way of another", |r| r.proof.depths = vec![0; 3], ReceiptError::Evidence),
        ("a leaf below every tree", |r| r.proof.depths[0] = 257, ReceiptError::Evidence),
        ("a sibling more", |r| r.proof.siblings.push([7; 32]), ReceiptError::Evidence),
        ("a place more", |r| r.proof.given.push(0), ReceiptError::Evidence),
        ("a bit behind the last place", |r| *r.proof.given.last_mut().unwrap() |= 1, ReceiptError::Evidence),
        ("no places", |r| r.proof.given.clear(), ReceiptError::Evidence),
        ("a leaf deeper", |r| r.proof.depths[0] += 1, signature.clone()),
        ("another value", |r| r.objects[2] = vec![0], signature.clone()),
        ("values in another order", |r| r.objects.swap(0, 1), signature.clone()),
        ("another height", |r| r.block.height += 1, signature.clone()),
        ("another time", |r| r.block.time_ms += 1, signature.clone()),
        ("another parent", |r| r.block.parent = [9; 32], signature.clone()),
        ("another state before", |r| r.block.state_root = [9; 32], signature.clone()),
        ("another proposer", |r| r.block.proposer = [9; 32], signature.clone()),
        ("another result", |r| r.result.events.clear(), signature.clone()),
        ("another time after", |r| r.next.time_ms += 1, signature.clone()),
        ("another block after", |r| r.next.tx_root = [9; 32], signature.clone()),
        ("another signature of the sender", |r| r.tx.signature.0[5] ^= 1, signature),
        (
            "nobody's signature",
            |r| r.certificate.signatures.clear(),
            ReceiptError::Certificate(CertificateError::Quorum),
        ),
    ];
    let events = vec![Event::new("PairingCompleted")];
    let claim = Claim {
        tx: sent(pair("app-1", "pack-1", 1)),
        result: TxResult { rejection: None, events },
        record: None,
        ..Claim::honest()
    };
    let receipt = claim.receipt();
    assert!(verify(&receipt.to_file(), None).is_ok());
    assert!(
        receipt.proof.given.iter().map(|b| b.count_ones()).sum::<u32>() as usize
            == receipt.proof.siblings.len()
    );
    for (what, change, expected) in rows {
        let mut changed = receipt.clone();
        change(&mut changed);
        assert_eq!(verify(&changed.to_file(), Some(&genesis().trust())), Err(expected.clone()), "{what}");
        assert_eq!(verify(&changed.to_file(), None), Err(expected), "{what}, without trust");
    }
}

#[test]
fn files_that_are_no_receipts() {
    let receipt = Claim { result: recorded(), ..Claim::honest() }.receipt();
    let file = receipt.to_file();
    assert!(verify(&file, None).is_ok());
    let with = |change: fn(&mut Vec<u8>)| {
        let mut bad = file.clone();
        change(&mut bad);
        verify(&bad, None).unwrap_err()
    };
    assert_eq!(with(Vec::clear), ReceiptError::NotAReceipt);
    assert_eq!(with(|f| f.truncate(4)), ReceiptError::NotAReceipt);
    assert_eq!(with(|f| f[0] = b'm'), ReceiptError::NotAReceipt);
    assert_eq!(with(|f| f[4] = 1), ReceiptError::Version(1), "receipts of format 1 are made anew");
    assert_eq!(with(|f| f[4] = 3), ReceiptError::Version(3));
    assert_eq!(with(|f| f.resize(2 << 20, 0)), ReceiptError::TooLong);
    assert_eq!(with(|f| f.push(0)), ReceiptError::Format(FormatError::Trailing));
    assert_eq!(with(|f| f.truncate(100)), ReceiptError::Format(FormatError::Truncated));
    assert_eq!(with(|f| f[5] = 0x8e), ReceiptError::Format(FormatError::TooLong), "an item more");
    assert_eq!(with(|f| f[5] = 0x8b), ReceiptError::Format(FormatError::Unexpected), "an item less");

    // What follows from the rest is not said, so that a receipt has one encoding.
    let after = |part: &[u8]| file.windows(part.len()).position(|w| w == part).unwrap() + part.len();
    let spelled = |at: usize, long: &[u8]| {
        let bad = [&file[..at], long, &file[at + 1..]].concat();
        verify(&bad, None)
    };
    let key = [&[0x58, 32], &receipt.block.proposer[..]].concat();
    let twice = Err(ReceiptError::Format(FormatError::NotCanonical));
    // Behind it: no result, no path, a list, nine bytes of time, one of the count.
    let next = after(&receipt.block.result_root) + 13;
    assert_eq!(spelled(next, &key), twice, "the same proposer");
    assert_eq!(spelled(after(&receipt.next.tx_root) + 2, &key), twice, "the proposer as validator");
    let result = [&[0x81], &recorded().to_bytes()[..]].concat();
    assert_eq!(spelled(after(&receipt.block.result_root), &result), twice, "a result that follows");
    let list = [&file[..5], &[0x8d], &file[6..], &[0x80]].concat();
    assert_eq!(verify(&list, None), twice, "a list of no handovers");
}

/// What the chain says of the batch.
fn recorded() -> TxResult {
    let batch = batch_statement("module-1", 10, 3);
    let event = Event::new("TelemetryBatchRecorded")
        .with("cid", batch.cid.0.as_slice())
        .with("first_seq", batch.first_seq)
        .with("count", u32::from(batch.count))
        .with("root", batch.root.as_slice());
    TxResult { rejection: None, events: vec![event] }
}

/// The proofs of a state of many entries, joined: what leads to its root is neither more nor less than each alone.
#[test]
fn joined_proofs_say_what_each_says() {
    let entry = |n: u32| (format!("key {n}").into_bytes(), n.to_be_bytes().to_vec());
    let leaves = (0..200).map(entry).map(|(k, v)| (sha256(&[&k]), sha256(&[&v]))).collect();
    let (root, _) = reference(&leaves, 0, None);
    let proof = |n: u32| {
        let (key, value) = entry(n);
        let (_, siblings) = reference(&leaves, 0, Some(&sha256(&[&key])));
        StateProof { key, value, siblings }
    };
    let held = |proofs: &[StateProof]| -> Vec<_> {
        proofs.iter().map(|p| (sha256(&[&p.key]), sha256(&[&p.value]))).collect()
    };
    let mut shared = 0;
    for first in 0..12 {
        for size in 1..=8 {
            let proofs: Vec<_> = (0..size).map(|n| proof((first * 37 + n * n * 53) % 200)).collect();
            let joined = Multiproof::join(&proofs);
            let distinct: BTreeSet<_> = proofs.iter().map(|p| &p.key).collect();
            if distinct.len() < proofs.len() {
                assert_eq!(joined, None, "one key twice");
                continue;
            }
            let joined = joined.unwrap();
            assert_eq!(Multiproof::from_bytes(&joined.to_bytes()), Ok(joined.clone()));
            assert_eq!(joined.root(&held(&proofs)), Some(root));
            shared += proofs.iter().map(|p| p.siblings.len()).sum::<usize>() - joined.siblings.len();
            for n in 0..joined.siblings.len() {
                let mut bad = joined.clone();
                bad.siblings[n][n % 32] ^= 1;
                assert!(bad.root(&held(&proofs)).is_some_and(|other| other != root), "sibling {n}");
                bad.siblings[n] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";
                assert_eq!(bad.root(&held(&proofs)), None, "an empty subtree spelled out");
            }
            let mut other = proofs.clone();
            other[0].value = vec![9];
            assert!(size == 1 || Multiproof::join(&other).is_none(), "of another state");
            assert_ne!(joined.root(&held(&other)), Some(root));
        }
    }
    assert!(shared > 300, "siblings were shared: {shared}");
}
