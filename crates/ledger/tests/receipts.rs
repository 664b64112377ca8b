//! Every way a receipt can lie is named, even when the validators themselves lie: the receipts here are built by
//! hand on states and results that no honest chain has, and properly certified.

use crate::world;

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
    outcome::TxResult,
    proof::StateProof,
    receipt::{Receipt, ReceiptError, RecordPart, evidence_keys, verify},
    records::{
        Account, AccountRole, DeviceKey, Hop, Revocation, SigningKey, Status, Tensor, key as state_key,
    },
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
    chain_id: Digest,
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
            chain_id: chain_id(),
            record: Some(record()),
            withdrawn_by: [0; 32],
            counted_ms: START_MS,
        }
    }

    /// The receipt, consistent in itself and certified by the validator `v`.
    fn receipt(&self) -> Receipt {
        let tx = Tx::from_bytes(&self.tx).unwrap();
        let (cid, status) = self.owner;
        let wanted = evidence_keys(&tx).unwrap_or_else(|| vec![state_key::VALIDATORS.to_vec()]);
        let value = |key: &[u8]| match &key[..4] {
            b"val/" => self.validators.to_bytes(),
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
        let leaves = state.iter().map(|(k, v)| (sha256(&[k]), sha256(&[v]))).collect();
        let (state_root, _) = reference(&leaves, 0, None);
        let evidence = state.into_iter().map(|(key, value)| {
            let (_, siblings) = reference(&leaves, 0, Some(&sha256(&[&key])));
            StateProof { key, value, siblings }
        });
        let proposer = validator("v").verifying_key().to_bytes();
        let header = Header {
            chain_id: self.chain_id,
            height: 7,
            time_ms: START_MS,
            proposer,
            parent: [1; 32],
            state_root: [2; 32],
            tx_root: merkle::root(&tx_leaves(std::slice::from_ref(&self.tx))),
            result_root: [3; 32],
            tx_count: 1,
        };
        let result = self.result.to_bytes();
        let next = Header {
            height: 8,
            parent: header.id(),
            state_root,
            result_root: merkle::root(&result_leaves(std::slice::from_ref(&result))),
            ..header.clone()
        };
        Receipt {
            tx: self.tx.clone(),
            index: 0,
            tx_path: vec![],
            header,
            result,
            result_path: vec![],
            certificate: certify(&next),
            next,
            evidence: evidence.collect(),
            record: self.record.clone(),
            handovers: vec![],
        }
    }

    fn refused(&self) -> ReceiptError {
        verify(&self.receipt().to_file(), Some(&genesis().trust())).unwrap_err()
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
        ("another chain's transaction", Claim { chain_id: [9; 32], ..honest() }, ReceiptError::MixedChains),
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
            Claim { account: Account { status: Status::Revoked, ..honest().account }, ..honest() },
            ReceiptError::AccountRevoked,
        ),
        (
            "account from the next height on",
            Claim { account: Account { from_height: 8, ..honest().account }, ..honest() },
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
            ReceiptError::Certificate(CertificateError::UnknownValidator),
        ),
    ];
    for (what, claim, expected) in rows {
        assert_eq!(claim.refused(), expected, "{what}");
    }
}

/// What does not fit together although every part is certified.
#[test]
fn receipts_whose_parts_do_not_fit() {
    type Row = (&'static str, fn(&mut Receipt), ReceiptError);
    let rows: [Row; 12] = [
        ("other chain in the next header", |r| r.next.chain_id = [0; 32], ReceiptError::MixedChains),
        ("a height left out", |r| r.next.height = 9, ReceiptError::Height),
        ("another parent", |r| r.next.parent = [0; 32], ReceiptError::Parent),
        ("another index", |r| r.index = 1, ReceiptError::TxPath),
        ("a path too long", |r| r.tx_path.push([0; 32]), ReceiptError::TxPath),
        ("another result", |r| r.result.push(0), ReceiptError::ResultPath),
        ("a proof left out", |r| drop(r.evidence.pop()), ReceiptError::EvidenceList),
        ("proofs in another order", |r| r.evidence.swap(0, 1), ReceiptError::EvidenceList),
        ("one key proven twice", |r| r.evidence[2] = r.evidence[1].clone(), ReceiptError::EvidenceList),
        ("another value", |r| r.evidence[2].value = vec![0], ReceiptError::EvidencePath),
        ("another state", |r| r.next.state_root = [0; 32], ReceiptError::EvidencePath),
        (
            "a certificate for another header",
            |r| r.certificate = certify(&r.header),
            ReceiptError::Certificate(CertificateError::Signature),
        ),
    ];
    for (what, change, expected) in rows {
        let mut receipt = Claim::honest().receipt();
        change(&mut receipt);
        // The liar certifies whatever it shows, except where the row is about the certificate.
        if !matches!(expected, ReceiptError::Certificate(_)) {
            receipt.certificate = certify(&receipt.next);
        }
        assert_eq!(verify(&receipt.to_file(), None), Err(expected), "{what}");
    }
}

#[test]
fn files_that_are_no_receipts() {
    let file = Claim::honest().receipt().to_file();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut bad = file.clone();
        change(&mut bad);
        verify(&bad, None).unwrap_err()
    };
    assert_eq!(with(Vec::clear), ReceiptError::NotAReceipt);
    assert_eq!(with(|f| f.truncate(4)), ReceiptError::NotAReceipt);
    assert_eq!(with(|f| f[0] = b'm'), ReceiptError::NotAReceipt);
    assert_eq!(with(|f| f[4] = 2), ReceiptError::Version(2));
    assert_eq!(with(|f| f.resize(2 << 20, 0)), ReceiptError::TooLong);
    assert_eq!(with(|f| f.push(0)), ReceiptError::Format(FormatError::Trailing));
    assert_eq!(with(|f| f.truncate(100)), ReceiptError::Format(FormatError::Truncated));
    assert_eq!(with(|f| f[7] = 9), ReceiptError::Format(FormatError::Version(9)), "a newer map inside");
}
