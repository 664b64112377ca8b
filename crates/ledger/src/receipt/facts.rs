//! What the transaction and the record of a receipt state, and whether it is signed by whom it must be.

use alloc::{boxed::Box, vec::Vec};

use lct::{
    Digest,
    attest::DeviceCertificate,
    binding::BindingRecord,
    consent::Consent,
    context::Statement,
    delegation::{Act, Delegation, DelegationId},
    energy::{CycleClose, EnergyEvent},
    hash::sha256,
    id::{BindingId, Cid, PairingId},
    journal::Checkpoint,
    lifecycle::{Move, Version},
    merkle::{leaf_hash, verify_path},
    ownership::Transfer,
    pairing::Terms,
    record::{BatchStatement, Record},
    registration::{Registration, digest_of},
    sign::{PublicKey, Signature},
    trade,
    trust::MetricsReport,
    validation::{Attestation, Event, EventKind},
};

use super::{
    ReceiptError, RecordPart, ensure,
    evidence::{Evidence, withdrawn},
};
use crate::{
    codec::Canonical,
    records::{
        self, ActRecord, Component, Delegated, DeviceKey, Hop, Objection, Offer, Ownership, Setting,
        Settlement, SigningKey, Status, Tensor, Transfer as EnergyTransfer,
        registry::{ContextRecord, StateChange, VersionRecord},
    },
    reject::Rejection,
    tx::{Body, Paired, Registry, Signed, Tx},
    verdict::{Proved, RecordFacts},
};

fn check(key: &PublicKey, digest: &Digest, signature: &Signature) -> Result<(), ReceiptError> {
    key.verify(digest, signature).map_err(|_| ReceiptError::StatementSignature)
}

/// Checks what is inside the transaction against the proven keys.
pub(super) fn prove(tx: &Tx, time_ms: u64, evidence: &Evidence<'_>) -> Result<Proved, ReceiptError> {
    let broken = |_: lct::Error| ReceiptError::Statement;
    let authority = &tx.unsigned.signer;
    let signed = |cid: Cid, s: &Signed, digest: Result<Digest, lct::Error>| {
        evidence.signing_key(0, Some(&cid))?;
        check(&s.key, &digest.map_err(broken)?, &s.signature)
    };
    let bound = |bytes: &[u8], signatures: [&Signature; 3], third: &PublicKey| {
        let record = BindingRecord::decode(bytes).map_err(broken)?;
        let digest = record.digest();
        for (n, (entity, signature)) in record.entities.iter().zip(signatures).enumerate() {
            evidence.signing_key(n, Some(&entity.cid))?;
            check(&entity.sign_pub, &digest, signature)?;
        }
        check(third, &digest, signatures[2])?;
        Ok(record)
    };
    let pairing = |p: &Paired, renews: Option<PairingId>| {
        let digest = p.digest();
        let (a, b) = (evidence.signing_key(0, None)?, evidence.signing_key(1, None)?);
        check(&p.key_a, &digest, &p.signature_a)?;
        check(&p.key_b, &digest, &p.signature_b)?;
        check(authority, &digest, &p.signature_authority)?;
        let expires_ms = time_ms.saturating_add(u64::from(p.lease_s) * 1000);
        Ok(Proved::Pairing { pairing_id: p.pairing_id, a, b, expires_ms, renews })
    };
    match &tx.unsigned.body {
        Body::Register { statement, signature } => {
            let r = Registration::decode(statement).map_err(broken)?;
            let subject = r.device.subject().map_err(broken)?;
            let owner: DeviceKey = evidence.object(0)?;
            ensure(owner.status == Status::Active, ReceiptError::KeyRevoked)?;
            ensure(owner.cid == subject.cid, ReceiptError::KeyOwner)?;
            check(&subject.key, &digest_of(statement), signature)?;
            Ok(Proved::Registration(r.into()))
        }
        Body::ConfigSet(c) | Body::ConfigReport(c) => {
            let setting: Setting = evidence.object(0)?;
            Ok(Proved::Config { config: c.clone(), setting: Box::new(setting) })
        }
        Body::Govern(governance) => Ok(Proved::Governance(governance.clone())),
        Body::LctCreate { a, b, context } => Ok(Proved::Lct { a: *a, b: *b, context: context.clone() }),
        Body::Bind { record, signature_a, signature_b, signature_authority } => {
            bound(record, [signature_a, signature_b, signature_authority], authority).map(Proved::Binding)
        }
        Body::Rebind { record: bytes, signatures, replacement, owner, .. } => {
            let record = bound(bytes, signatures.each_ref(), authority)?;
            let event = Event::decode(&replacement.statement).map_err(broken)?;
            let digest = event.digest().map_err(broken)?;
            let device: DeviceKey = evidence.object(2)?;
            ensure(device.status == Status::Active, ReceiptError::KeyRevoked)?;
            ensure(device.cid == event.cid, ReceiptError::KeyOwner)?;
            check(&replacement.key, &digest, &replacement.signature)?;
            ensure(event.payload[16..] == sha256(&[bytes]), ReceiptError::Statement)?;
            ensure(evidence.bytes(3)? == record.binding_id.0, ReceiptError::NoEffect)?;
            if let Some(signature) = owner {
                let ownership: Ownership = evidence.object(4)?;
                check(&ownership.owner, &digest, signature)?;
            }
            let old = BindingId(*event.payload.first_chunk().ok_or(ReceiptError::Statement)?);
            Ok(Proved::Replacement { record, old })
        }
        Body::FactoryBind { record, signatures, batch } => {
            let batch = DeviceCertificate::from_slice(batch).and_then(|b| b.subject()).map_err(broken)?;
            bound(record, signatures.each_ref(), &batch.key).map(Proved::Binding)
        }
        Body::Transfer { statement, signatures } => {
            let transfer = Transfer::decode(statement).map_err(broken)?;
            let digest = transfer.digest().map_err(broken)?;
            let hop: Hop = evidence.object(0)?;
            ensure(hop.tx == tx.id(), ReceiptError::NoEffect)?;
            for (key, signature) in [&transfer.from, &transfer.to].into_iter().zip(signatures) {
                check(key, &digest, signature)?;
            }
            Ok(Proved::Ownership(Box::new(transfer)))
        }
        Body::Consent { statement, signature } => {
            let consent = Consent::decode(statement).map_err(broken)?;
            let recorded: records::Consent = evidence.object(0)?;
            ensure(recorded.tx == tx.id(), ReceiptError::NoEffect)?;
            check(&recorded.owner, &consent.digest().map_err(broken)?, signature)?;
            Ok(Proved::Consent { consent: Box::new(consent), owner: recorded.owner })
        }
        Body::Validate { signed: s, witnesses } => {
            let event = Event::decode(&s.statement).map_err(broken)?;
            signed(event.cid, s, event.digest())?;
            let mut seen = Vec::with_capacity(witnesses.len());
            for (n, (bytes, key)) in (1..).zip(witnesses) {
                let attestation = Attestation::decode(bytes).map_err(broken)?;
                evidence.signing_key(n, Some(&attestation.witness))?;
                let verified = attestation.verify((&event, &s.signature), key);
                verified.map_err(|_| ReceiptError::StatementSignature)?;
                seen.push(attestation.witness);
            }
            Ok(Proved::Validation { event: Box::new(event), witnesses: seen })
        }
        Body::Delegate { statement } => {
            let recorded: Delegated = evidence.object(0)?;
            ensure(recorded.statement == *statement, ReceiptError::NoEffect)?;
            let delegation = Delegation::open(statement, authority);
            let delegation = delegation.map_err(|_| ReceiptError::StatementSignature)?;
            Ok(Proved::Delegation { id: DelegationId::of(statement), delegation: Box::new(delegation) })
        }
        Body::DelegateAct { statement, body } => {
            let recorded: Delegated = evidence.object(0)?;
            let delegate = Delegation::read(&recorded.statement).map_err(broken)?.delegate.sign_pub();
            let act = Act::open(statement, &delegate).map_err(|_| ReceiptError::StatementSignature)?;
            ensure(act.body == sha256(&[body]), ReceiptError::Statement)?;
            let row: ActRecord = evidence.object(1)?;
            ensure(row.tx == tx.id(), ReceiptError::NoEffect)?;
            let kind = Body::from_bytes(body).map_err(|_| ReceiptError::Statement)?.kind();
            let refused = Rejection::from_number(row.outcome);
            ensure(refused.is_some() == (row.outcome != 0), ReceiptError::NoEffect)?;
            Ok(Proved::Act { act, kind, refused })
        }
        Body::EnergyOrder { statement, signature } => {
            let order = trade::Order::decode(statement).map_err(broken)?;
            let (owner, by) = if order.begins() {
                let t: EnergyTransfer = evidence.object(0)?;
                let accepts = matches!(order.what, trade::What::Accept(_));
                (if accepts { t.payer } else { t.payee }, t.begun_by)
            } else {
                let offer: Offer = evidence.object(0)?;
                let withdraws = order.what == trade::What::Withdraw;
                (offer.owner, if withdraws { offer.withdrawn_by } else { offer.published_by })
            };
            ensure(by == tx.id(), ReceiptError::NoEffect)?;
            check(&owner, &order.digest().map_err(broken)?, signature)?;
            Ok(Proved::EnergyOrder(Box::new(order)))
        }
        Body::EnergyReceipt { statement, keys: sides, signatures } => {
            let receipt = trade::Receipt::decode(statement).map_err(broken)?;
            let t: EnergyTransfer = evidence.object(2)?;
            ensure(t.ended_by == tx.id(), ReceiptError::NoEffect)?;
            evidence.signing_key(0, Some(&t.giver))?;
            evidence.signing_key(1, Some(&t.taker))?;
            let digest = receipt.digest().map_err(broken)?;
            for (key, signature) in sides.iter().zip(signatures) {
                check(key, &digest, signature)?;
            }
            Ok(Proved::EnergyReceipt { receipt, giver: t.giver, taker: t.taker })
        }
        Body::EnergyRelease { transfer } => {
            let t: EnergyTransfer = evidence.object(0)?;
            ensure(t.ended_by == tx.id(), ReceiptError::NoEffect)?;
            Ok(Proved::EnergyRelease { transfer: *transfer, giver: t.giver, mwh: t.locked })
        }
        Body::Settle { subject, price } => {
            let settlement: Settlement = evidence.object(0)?;
            ensure(settlement.tx == tx.id(), ReceiptError::NoEffect)?;
            if let Some(agreed) = price {
                let quote = trade::Quote::decode(&agreed.quote).map_err(broken)?;
                let digest = quote.digest().map_err(broken)?;
                let (payer, payee) = (settlement.payer, settlement.payee);
                let owner = if payer == quote.other { payee } else { payer };
                ensure([payer, payee].contains(&quote.other), ReceiptError::NoEffect)?;
                ensure(settlement.price == quote.price, ReceiptError::NoEffect)?;
                check(&owner, &digest, &agreed.signatures[0])?;
                check(&quote.other, &digest, &agreed.signatures[1])?;
            }
            Ok(Proved::Settlement { subject: *subject, settlement: Box::new(settlement) })
        }
        Body::Object { subject, reason } => {
            let objection: Objection = evidence.object(0)?;
            ensure(objection.tx == tx.id(), ReceiptError::NoEffect)?;
            Ok(Proved::Objection { subject: *subject, reason: *reason })
        }
        Body::Resolve { subject, upheld } => {
            let objection: Objection = evidence.object(0)?;
            ensure(objection.resolved_by == tx.id(), ReceiptError::NoEffect)?;
            Ok(Proved::Resolution { subject: *subject, upheld: *upheld })
        }
        Body::PairComplete(p) => pairing(p, None),
        Body::PairRenew { paired: p, renews, .. } => pairing(p, Some(*renews)),
        Body::PairUse(s) => {
            let event = Event::decode(&s.statement).map_err(broken)?;
            signed(event.cid, s, event.digest())?;
            Ok(Proved::Validation { event: Box::new(event), witnesses: Vec::new() })
        }
        Body::PairModify { statement, terms, keys: [a, b], signatures } => {
            let event = Event::decode(statement).map_err(broken)?;
            let terms = Terms::decode(terms).map_err(broken)?;
            let digest = event.digest().map_err(broken)?;
            let sides = [evidence.signing_key(0, None)?, evidence.signing_key(1, None)?];
            ensure(sides.contains(&event.cid), ReceiptError::KeyOwner)?;
            for (key, signature) in [a, b, authority].into_iter().zip(signatures) {
                check(key, &digest, signature)?;
            }
            let pairing_id = PairingId(*event.payload.first_chunk().ok_or(ReceiptError::Statement)?);
            Ok(Proved::Terms { pairing_id, terms })
        }
        Body::RevokeSigned(s) => {
            let (event, target) = withdrawn(&s.statement).ok_or(ReceiptError::Statement)?;
            let owner: SigningKey = evidence.object(0)?;
            // With its binding the key that asked for it went, so it proves whose it is and not that it is in force.
            let stays = event.kind == EventKind::PairingRevocation;
            ensure(!stays || owner.status == Status::Active, ReceiptError::KeyRevoked)?;
            ensure(owner.cid == event.cid, ReceiptError::KeyOwner)?;
            check(&s.key, &event.digest().map_err(broken)?, &s.signature)?;
            let reason = *event.payload.last().ok_or(ReceiptError::Statement)?;
            evidence.revocation(1, &tx.id(), reason)?;
            Ok(Proved::Revocation { target, by: Some(event.cid), reason })
        }
        Body::Revoke { target, reason } => {
            evidence.revocation(0, &tx.id(), *reason)?;
            Ok(Proved::Revocation { target: *target, by: None, reason: *reason })
        }
        Body::Batch(s) => {
            let statement = BatchStatement::decode(&s.statement).map_err(broken)?;
            signed(statement.cid, s, statement.digest())?;
            Ok(Proved::Batch(statement))
        }
        Body::Metrics(s) => {
            let report = MetricsReport::decode(&s.statement).map_err(broken)?;
            signed(report.observer, s, report.digest())?;
            let tensor: Tensor = evidence.object(1)?;
            // The block that holds the report is the one that changed the tensor last.
            ensure(tensor.since_ms == time_ms, ReceiptError::NoEffect)?;
            Ok(Proved::Metrics { report, tensor: Box::new(tensor) })
        }
        Body::Energy(s) => {
            let event = EnergyEvent::decode(&s.statement).map_err(broken)?;
            signed(event.cid, s, event.digest())?;
            Ok(Proved::Energy(event))
        }
        Body::CycleClose(s) => {
            let close = CycleClose::decode(&s.statement).map_err(broken)?;
            signed(close.cid, s, close.digest())?;
            Ok(Proved::CycleClose(close))
        }
        Body::Checkpoint(s) => {
            let point = Checkpoint::read_body(&s.statement).map_err(broken)?;
            signed(point.cid, s, Ok(point.digest()))?;
            Ok(Proved::Checkpoint(point))
        }
        Body::Registry(body) => prove_registry(tx, body, evidence),
    }
}

/// What a transaction of the kinds 32 to 41 states.
fn prove_registry(tx: &Tx, body: &Registry, evidence: &Evidence<'_>) -> Result<Proved, ReceiptError> {
    let broken = |_: lct::Error| ReceiptError::Statement;
    match body {
        Registry::Move { statement, key, signature } => {
            let m = Move::decode(statement).map_err(broken)?;
            let change: StateChange = evidence.object(0)?;
            ensure(change.tx == tx.id(), ReceiptError::NoEffect)?;
            check(key, &m.digest().map_err(broken)?, signature)?;
            Ok(Proved::State { cid: m.cid, from: change.from, to: m.to, by: change.by })
        }
        Registry::Version { statement, signature, .. } => {
            let v = Version::decode(statement).map_err(broken)?;
            let record: VersionRecord = evidence.object(0)?;
            ensure(record.tx == tx.id(), ReceiptError::NoEffect)?;
            let component: Component = evidence.object(1)?;
            check(&component.device_key, &v.digest().map_err(broken)?, signature)?;
            Ok(Proved::Version(Box::new(v)))
        }
        Registry::Context { statement, key, signature } => {
            let s = Statement::decode(statement).map_err(broken)?;
            let record: ContextRecord = evidence.object(0)?;
            ensure(record.tx == tx.id(), ReceiptError::NoEffect)?;
            check(key, &s.digest().map_err(broken)?, signature)?;
            Ok(Proved::Context(Box::new(s)))
        }
        said => Ok(Proved::Said(Box::new(said.clone()))),
    }
}

pub(super) fn prove_record(part: &RecordPart, proved: &Proved) -> Result<RecordFacts, ReceiptError> {
    let Proved::Batch(batch) = proved else {
        return Err(ReceiptError::RecordWithoutBatch);
    };
    let record = Record::decode(&part.record).map_err(|_| ReceiptError::Record)?;
    let placed = record.cid == batch.cid && batch.first_seq.checked_add(part.index) == Some(record.seq);
    ensure(placed, ReceiptError::RecordPlace)?;
    let leaf = leaf_hash(&part.record);
    let in_batch = verify_path(&leaf, part.index, batch.count.into(), &part.path, &batch.root);
    ensure(in_batch, ReceiptError::RecordPath)?;
    Ok(RecordFacts {
        cid: record.cid,
        seq: record.seq,
        time_ms: record.time_ms,
        kind: record.kind,
        values: record.values.to_vec(),
    })
}
