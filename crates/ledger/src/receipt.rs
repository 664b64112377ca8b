//! Receipts: one file that proves what a chain accepted, without network or database
//! (`spec/ledger.md`, L80 to L86).
//!
//! ```text
//! file = "MBRC" || 01 || CBOR {
//!   0: 1,
//!   1: transaction bytes, 2: its index, 3: path to tx_root,
//!   4: header of the block h that holds it,
//!   5: result bytes, 6: path to result_root of header h+1,
//!   7: header h+1, whose parent is block h, 8: certificate over header h+1,
//!   9: state proofs under state_root of header h+1, in the order of `evidence_keys`,
//!  10: [] or [record bytes, its index in the batch, path to the batch's root],
//!  11: [handover ..], only where the validators changed before }
//! ```
//!
//! The chain of proof: record to batch root (signed by the device), transaction to header h, result to header
//! h+1, which names h as its parent and whose identity the validators signed. The state proofs show the
//! validator set, the sender's account and the device's signing key as they stood after block h.

use alloc::{boxed::Box, vec, vec::Vec};
use core::fmt;

use lct::{
    Digest,
    attest::DeviceCertificate,
    binding::BindingRecord,
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
    record::{BatchStatement, RECORD_MAX, Record},
    registration::{Registration, digest_of},
    sign::{PublicKey, Signature},
    trade,
    trust::MetricsReport,
    validation::{Attestation, Event, EventKind},
};

use crate::{
    anchor::{self, Handover, HandoverError},
    block::{Certificate, CertificateError, Header},
    codec::{Canonical, FormatError, Reader, Writer},
    genesis::ValidatorSet,
    outcome::TxResult,
    proof::{Path, StateProof},
    records::{
        Account, ActRecord, Component, Delegated, DeviceKey, Hop, Objection, Offer, Ownership, Revocation,
        Setting, Settlement, SigningKey, Status, Tensor, Transfer as EnergyTransfer, TrustSubject, key,
        registry::{ContextRecord, StateChange, VersionRecord},
    },
    reject::Rejection,
    tx::{Body, MAX_TX, Paired, Registry, Signed, Target, Tx},
    verdict::{Proved, RecordFacts, Trusted, Verdict},
};

pub use crate::anchor::Trust;

/// First bytes of a receipt file.
pub const MAGIC: &[u8; 4] = b"MBRC";
/// Format version, the byte after [`MAGIC`].
pub const VERSION: u8 = 1;
/// Longest receipt a verifier reads, in bytes.
pub const MAX_LEN: usize = 1 << 20;

const MAX_PROOFS: usize = 8;
const MAX_RESULT: usize = 1 << 16;

/// The record of a batch that a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPart {
    /// Canonical bytes of the record.
    pub record: Vec<u8>,
    /// Its index in the batch.
    pub index: u32,
    /// Its path to the batch's root.
    pub path: Vec<Digest>,
}

/// The parts of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction.
    pub tx: Vec<u8>,
    /// Its index in the block.
    pub index: u32,
    /// Its path to `header.tx_root`.
    pub tx_path: Vec<Digest>,
    /// Header of the block that holds it.
    pub header: Header,
    /// Its result.
    pub result: Vec<u8>,
    /// The result's path to `next.result_root`.
    pub result_path: Vec<Digest>,
    /// Header of the next block.
    pub next: Header,
    /// Certificate over `next`.
    pub certificate: Certificate,
    /// Proofs under `next.state_root`, one per key of [`evidence_keys`].
    pub evidence: Vec<StateProof>,
    /// The record, in a receipt for one.
    pub record: Option<RecordPart>,
    /// Every change of validators up to the next block's height, the first one first.
    pub handovers: Vec<Handover>,
}

/// State keys a receipt for `tx` must prove, in order: the validator set, the sender's account, then the keys
/// that signed what is inside. `None` if a statement inside cannot be read.
#[must_use]
pub fn evidence_keys(tx: &Tx) -> Option<Vec<Vec<u8>>> {
    let mut keys = vec![key::VALIDATORS.to_vec(), key::account(&tx.unsigned.signer)];
    match &tx.unsigned.body {
        Body::Register { statement, .. } => {
            let device = Registration::decode(statement).ok()?.device.subject().ok()?.key;
            keys.push(key::device_key(&device));
        }
        // What it asks for is its content; that it was accepted is in its result.
        Body::LctCreate { .. } | Body::Govern(_) => {}
        Body::ConfigSet(c) | Body::ConfigReport(c) => keys.push(key::setting(&c.cid, c.parameter)),
        Body::Bind { record, .. } => {
            let record = BindingRecord::decode(record).ok()?;
            keys.extend(record.entities.iter().map(|e| key::signing_key(&e.sign_pub)));
        }
        Body::PairComplete(p) | Body::PairRenew { paired: p, .. } => {
            keys.extend([&p.key_a, &p.key_b].map(key::signing_key));
        }
        Body::PairModify { keys: sides, .. } => keys.extend(sides.each_ref().map(key::signing_key)),
        Body::Batch(s) | Body::Energy(s) | Body::CycleClose(s) | Body::Checkpoint(s) | Body::PairUse(s) => {
            keys.push(key::signing_key(&s.key));
        }
        Body::Metrics(s) => {
            let report = MetricsReport::decode(&s.statement).ok()?;
            keys.push(key::signing_key(&s.key));
            keys.push(key::tensor(&TrustSubject::Component(report.subject), report.context));
        }
        Body::RevokeSigned(s) => {
            keys.push(key::signing_key(&s.key));
            keys.push(key::revocation(&withdrawn(&s.statement)?.1));
        }
        Body::Revoke { target, .. } => keys.push(key::revocation(target)),
        Body::Rebind { record, replacement, owner, .. } => {
            let record = BindingRecord::decode(record).ok()?;
            keys.extend(record.entities.iter().map(|e| key::signing_key(&e.sign_pub)));
            keys.push(key::device_key(&replacement.key));
            let event = Event::decode(&replacement.statement).ok()?;
            keys.push(key::replaced(&BindingId(*event.payload.first_chunk()?)));
            keys.extend(owner.map(|_| key::ownership(&event.cid)));
        }
        Body::FactoryBind { record, .. } => {
            let record = BindingRecord::decode(record).ok()?;
            keys.extend(record.entities.iter().map(|e| key::signing_key(&e.sign_pub)));
        }
        Body::Transfer { statement, .. } => {
            let transfer = Transfer::decode(statement).ok()?;
            keys.push(key::hop(&transfer.cid, transfer.hop));
        }
        Body::Validate { signed, witnesses } => {
            keys.push(key::signing_key(&signed.key));
            keys.extend(witnesses.iter().map(|(_, k)| key::signing_key(k)));
        }
        Body::Delegate { statement } => keys.push(key::delegation(&DelegationId::of(statement))),
        Body::DelegateAct { statement, .. } => {
            let act = Act::read(statement).ok()?;
            keys.extend([key::delegation(&act.delegation), key::act(&act.delegation, act.number)]);
        }
        Body::Registry(body) => keys.extend(registry_keys(body)?),
        Body::EnergyOrder { statement, .. } => {
            let order = trade::Order::decode(statement).ok()?;
            keys.push(if order.begins() { key::energy_transfer(&order.id) } else { key::offer(&order.id) });
        }
        Body::EnergyReceipt { statement, keys: sides, .. } => {
            keys.extend(sides.each_ref().map(key::signing_key));
            keys.push(key::energy_transfer(&trade::Receipt::decode(statement).ok()?.transfer));
        }
        Body::EnergyRelease { transfer } => keys.push(key::energy_transfer(transfer)),
        Body::Settle { subject, .. } => keys.push(key::settlement(subject)),
        Body::Object { subject, .. } | Body::Resolve { subject, .. } => keys.push(key::objection(subject)),
    }
    Some(keys)
}

/// What a receipt for one of the kinds 32 to 41 proves besides: the row that the transaction wrote, where its key follows
/// from the transaction, and the identity key of a component that signed.
fn registry_keys(body: &Registry) -> Option<Vec<Vec<u8>>> {
    Some(match body {
        Registry::Move { statement, .. } => {
            let m = Move::decode(statement).ok()?;
            vec![key::state_change(&m.cid, m.number)]
        }
        Registry::Version { statement, .. } => {
            let v = Version::decode(statement).ok()?;
            vec![key::version(&v.cid, v.number), key::component(&v.cid)]
        }
        Registry::Context { statement, .. } => {
            let s = Statement::decode(statement).ok()?;
            vec![key::context_record(&s.lct, s.content.kind(), s.number)]
        }
        // What the sender says in its own name.
        Registry::Grant { .. }
        | Registry::RevokeGrant { .. }
        | Registry::Anonymous(_)
        | Registry::LctStatus { .. }
        | Registry::Queue { .. }
        | Registry::Process { .. }
        | Registry::Cancel { .. } => vec![],
    })
}

/// The event by which a side withdraws something, and what. `None` if the statement is no such event.
fn withdrawn(statement: &[u8]) -> Option<(Event, Target)> {
    let event = Event::decode(statement).ok()?;
    let id = *event.payload.first_chunk()?;
    let target = match event.kind {
        EventKind::PairingRevocation => Target::Pairing(PairingId(id)),
        EventKind::BindingRevocation => Target::Binding(BindingId(id)),
        _ => return None,
    };
    Some((event, target))
}

/// Why bytes are not a receipt that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// The file does not begin like a receipt.
    NotAReceipt,
    /// The file has a format version this build does not know.
    Version(u8),
    /// The file is longer than any receipt.
    TooLong,
    /// The file is damaged.
    Format(FormatError),
    /// The two headers or the transaction name different chains.
    MixedChains,
    /// The second header is not the next height.
    Height,
    /// The second header has another parent.
    Parent,
    /// The transaction is not in the block.
    TxPath,
    /// The transaction cannot be read.
    Tx(FormatError),
    /// The sender's signature does not verify.
    TxSignature,
    /// The result is not the one of the transaction.
    ResultPath,
    /// The result cannot be read.
    Result(FormatError),
    /// The chain refused the transaction.
    Refused(Rejection),
    /// The state proofs are not those this transaction needs.
    EvidenceList,
    /// A state proof does not lead to the state root.
    EvidencePath,
    /// A proven object cannot be read.
    Evidence(FormatError),
    /// The sender's account was withdrawn.
    AccountRevoked,
    /// The sender's account holds from a later height on.
    AccountEarly,
    /// A signing key was withdrawn.
    KeyRevoked,
    /// A signing key belongs to another component.
    KeyOwner,
    /// The state does not hold what the transaction did.
    NoEffect,
    /// The statement inside cannot be read.
    Statement,
    /// A signature over the statement does not verify.
    StatementSignature,
    /// The receipt holds a record but its transaction is no telemetry batch.
    RecordWithoutBatch,
    /// The record cannot be read.
    Record,
    /// The record is of another component or has another number than its place in the batch.
    RecordPlace,
    /// The record is not in the batch.
    RecordPath,
    /// The certificate does not certify the header.
    Certificate(CertificateError),
    /// The validators are not those to whom the changes of validators lead.
    Handover(HandoverError),
    /// The receipt is for another chain than the trusted one.
    OtherChain,
    /// The receipt's validators are not the trusted ones.
    UntrustedValidators,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotAReceipt => "this is not a receipt",
            Self::Version(v) => return write!(f, "receipt format version {v} is not known to this build"),
            Self::TooLong => "the file is longer than any receipt",
            Self::Format(e) => return write!(f, "the receipt is damaged: {e}"),
            Self::MixedChains => "the parts of the receipt are from different chains",
            Self::Height => "the second header is not of the next height",
            Self::Parent => "the second header does not follow the first",
            Self::TxPath => "the transaction is not in the block",
            Self::Tx(e) => return write!(f, "the transaction is damaged: {e}"),
            Self::TxSignature => "the sender's signature does not verify",
            Self::ResultPath => "the result is not that of the transaction",
            Self::Result(e) => return write!(f, "the result is damaged: {e}"),
            Self::Refused(r) => return write!(f, "the chain refused this transaction: {r}"),
            Self::EvidenceList => "the state proofs are not those the transaction needs",
            Self::EvidencePath => "a state proof does not lead to the state root",
            Self::Evidence(e) => return write!(f, "a proven object is damaged: {e}"),
            Self::AccountRevoked => "the sender's account was withdrawn",
            Self::AccountEarly => "the sender's account was not in force yet",
            Self::KeyRevoked => "a signing key was withdrawn",
            Self::KeyOwner => "a signing key belongs to another component",
            Self::NoEffect => "the state does not hold what the transaction did",
            Self::Statement => "the statement inside the transaction is damaged",
            Self::StatementSignature => "a signature over the statement does not verify",
            Self::RecordWithoutBatch => "the record's transaction is not a telemetry batch",
            Self::Record => "the record is damaged",
            Self::RecordPlace => "the record does not have the place in the batch that it claims",
            Self::RecordPath => "the record is not in the batch",
            Self::Certificate(e) => return write!(f, "the block is not certified: {e}"),
            Self::Handover(e) => return write!(f, "{e}"),
            Self::OtherChain => "the receipt is for another chain than the trusted one",
            Self::UntrustedValidators => "the receipt's validators are not the trusted ones",
        };
        f.write_str(text)
    }
}

impl core::error::Error for ReceiptError {}

impl Receipt {
    /// The receipt file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.push(VERSION);
        file.extend_from_slice(&self.to_bytes());
        file
    }

    /// Reads a receipt file without judging it.
    ///
    /// # Errors
    /// [`ReceiptError::NotAReceipt`], `Version`, `TooLong` or `Format`.
    pub fn from_file(file: &[u8]) -> Result<Self, ReceiptError> {
        let rest = file.strip_prefix(MAGIC).ok_or(ReceiptError::NotAReceipt)?;
        let (version, body) = rest.split_first().ok_or(ReceiptError::NotAReceipt)?;
        if *version != VERSION {
            return Err(ReceiptError::Version(*version));
        }
        if file.len() > MAX_LEN {
            return Err(ReceiptError::TooLong);
        }
        Self::from_bytes(body).map_err(ReceiptError::Format)
    }
}

impl Canonical for Receipt {
    fn write(&self, w: &mut Writer) {
        let path = |digests: &Vec<Digest>| Path(digests.clone());
        let handed = usize::from(!self.handovers.is_empty());
        w.object(11 + handed, 1).uint(1).bytes(&self.tx).uint(2).uint(self.index.into());
        w.uint(3).item(&path(&self.tx_path)).uint(4).item(&self.header);
        w.uint(5).bytes(&self.result).uint(6).item(&path(&self.result_path));
        w.uint(7).item(&self.next).uint(8).item(&self.certificate);
        w.uint(9).array(self.evidence.len());
        for proof in &self.evidence {
            w.item(proof);
        }
        w.uint(10);
        match &self.record {
            None => w.array(0),
            Some(r) => w.array(3).bytes(&r.record).uint(r.index.into()).item(&path(&r.path)),
        };
        if handed > 0 {
            anchor::write_list(w.uint(11), &self.handovers);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let handed = r.object_with_optional(11, 1)?;
        r.key(1)?;
        let tx = r.bytes(MAX_TX)?.into();
        r.key(2)?;
        let index = r.int()?;
        r.key(3)?;
        let Path(tx_path) = r.item()?;
        r.key(4)?;
        let header = r.item()?;
        r.key(5)?;
        let result = r.bytes(MAX_RESULT)?.into();
        r.key(6)?;
        let Path(result_path) = r.item()?;
        r.key(7)?;
        let next = r.item()?;
        r.key(8)?;
        let certificate = r.item()?;
        r.key(9)?;
        let n = r.array(MAX_PROOFS)?;
        let evidence = (0..n).map(|_| r.item()).collect::<Result<_, _>>()?;
        r.key(10)?;
        let record = match r.array(3)? {
            0 => None,
            3 => {
                let record = r.bytes(RECORD_MAX)?.into();
                let index = r.int()?;
                let Path(path) = r.item()?;
                Some(RecordPart { record, index, path })
            }
            _ => return Err(FormatError::Unexpected),
        };
        let mut handovers = Vec::new();
        if handed {
            r.key(11)?;
            handovers = anchor::read_list(r)?;
            // A list that is there is not empty: a receipt has one encoding.
            if handovers.is_empty() {
                return Err(FormatError::NotCanonical);
            }
        }
        Ok(Self {
            tx,
            index,
            tx_path,
            header,
            result,
            result_path,
            next,
            certificate,
            evidence,
            record,
            handovers,
        })
    }
}

/// Fails with `error` unless `holds`.
fn ensure(holds: bool, error: ReceiptError) -> Result<(), ReceiptError> {
    if holds { Ok(()) } else { Err(error) }
}

/// Verifies a receipt file and says what it proves.
///
/// Without `trust` the answer is [`Trusted::SignerUnknown`]: all parts agree with each other, but anyone can
/// found a chain, so nothing is known about who signed.
///
/// # Errors
/// The first [`ReceiptError`] found.
pub fn verify(file: &[u8], trust: Option<&Trust>) -> Result<Verdict, ReceiptError> {
    let receipt = Receipt::from_file(file)?;
    let Receipt { header, next, .. } = &receipt;
    ensure(header.chain_id == next.chain_id, ReceiptError::MixedChains)?;
    ensure(header.height.checked_add(1) == Some(next.height), ReceiptError::Height)?;
    ensure(header.id() == next.parent, ReceiptError::Parent)?;

    let tx_id = Tx::id_of(&receipt.tx);
    let count = header.tx_count;
    let in_block = verify_path(&leaf_hash(&tx_id), receipt.index, count, &receipt.tx_path, &header.tx_root);
    ensure(in_block, ReceiptError::TxPath)?;
    let tx = Tx::from_bytes(&receipt.tx).map_err(ReceiptError::Tx)?;
    ensure(tx.unsigned.chain_id == header.chain_id, ReceiptError::MixedChains)?;
    tx.verify().map_err(|_| ReceiptError::TxSignature)?;

    let leaf = leaf_hash(&receipt.result);
    let is_result = verify_path(&leaf, receipt.index, count, &receipt.result_path, &next.result_root);
    ensure(is_result, ReceiptError::ResultPath)?;
    let result = TxResult::from_bytes(&receipt.result).map_err(ReceiptError::Result)?;
    if let Some(rejection) = result.rejection {
        return Err(ReceiptError::Refused(rejection));
    }

    let evidence = Evidence::check(&receipt, &tx)?;
    let proved = prove(&tx, header, &evidence)?;
    let record = receipt.record.as_ref().map(|part| prove_record(part, &proved)).transpose()?;
    receipt.certificate.verify(&next.id(), &evidence.validators).map_err(ReceiptError::Certificate)?;

    ensure(trust.is_none_or(|t| t.chain_id == header.chain_id), ReceiptError::OtherChain)?;
    let led = anchor::follow(&header.chain_id, trust, &receipt.handovers, next.height);
    let led = led.map_err(ReceiptError::Handover)?;
    ensure(led.is_none_or(|set| set == evidence.validators), ReceiptError::UntrustedValidators)?;
    let trusted = if trust.is_some() { Trusted::Yes } else { Trusted::SignerUnknown };
    Ok(Verdict {
        trusted,
        chain_id: header.chain_id,
        height: header.height,
        time_ms: header.time_ms,
        block_id: next.parent,
        tx_id,
        tx_index: receipt.index,
        kind: tx.unsigned.body.kind(),
        sender: tx.unsigned.signer,
        sender_role: evidence.account.role,
        proved,
        record,
        signatures: receipt.certificate.signatures.len(),
        validators: evidence.validators.0.len(),
    })
}

/// The proven objects every receipt has, and the key proofs that follow them.
struct Evidence<'a> {
    validators: ValidatorSet,
    account: Account,
    keys: &'a [StateProof],
}

impl<'a> Evidence<'a> {
    fn check(receipt: &'a Receipt, tx: &Tx) -> Result<Self, ReceiptError> {
        let wanted = evidence_keys(tx).ok_or(ReceiptError::Statement)?;
        let given = receipt.evidence.iter().map(|p| p.key.as_slice());
        ensure(wanted.iter().map(Vec::as_slice).eq(given), ReceiptError::EvidenceList)?;
        let root = &receipt.next.state_root;
        ensure(receipt.evidence.iter().all(|p| p.leads_to(root)), ReceiptError::EvidencePath)?;
        let [validators, account, keys @ ..] = receipt.evidence.as_slice() else {
            return Err(ReceiptError::EvidenceList);
        };
        let validators = ValidatorSet::from_bytes(&validators.value).map_err(ReceiptError::Evidence)?;
        let account = Account::from_bytes(&account.value).map_err(ReceiptError::Evidence)?;
        ensure(account.status == Status::Active, ReceiptError::AccountRevoked)?;
        ensure(account.in_force(receipt.header.height), ReceiptError::AccountEarly)?;
        Ok(Self { validators, account, keys })
    }

    /// Checks that the `n`-th proven signing key is in force and belongs to `cid`.
    fn signing_key(&self, n: usize, cid: Option<&Cid>) -> Result<Cid, ReceiptError> {
        let owner: SigningKey = self.object(n)?;
        ensure(owner.status == Status::Active, ReceiptError::KeyRevoked)?;
        ensure(cid.is_none_or(|cid| owner.cid == *cid), ReceiptError::KeyOwner)?;
        Ok(owner.cid)
    }

    /// The `n`-th proven object after those that every receipt has.
    fn object<T: Canonical>(&self, n: usize) -> Result<T, ReceiptError> {
        let proof = self.keys.get(n).ok_or(ReceiptError::EvidenceList)?;
        T::from_bytes(&proof.value).map_err(ReceiptError::Evidence)
    }

    /// Checks that the `n`-th proven object is the revocation that `tx` recorded, for `reason`.
    fn revocation(&self, n: usize, tx: &Digest, reason: u8) -> Result<(), ReceiptError> {
        let revocation: Revocation = self.object(n)?;
        ensure(revocation.tx == *tx && revocation.reason == reason, ReceiptError::NoEffect)
    }
}

fn check(key: &PublicKey, digest: &Digest, signature: &Signature) -> Result<(), ReceiptError> {
    key.verify(digest, signature).map_err(|_| ReceiptError::StatementSignature)
}

/// Checks what is inside the transaction against the proven keys.
fn prove(tx: &Tx, header: &Header, evidence: &Evidence<'_>) -> Result<Proved, ReceiptError> {
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
        let expires_ms = header.time_ms.saturating_add(u64::from(p.lease_s) * 1000);
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
            let by = evidence.keys.get(3).ok_or(ReceiptError::EvidenceList)?;
            ensure(by.value == record.binding_id.0, ReceiptError::NoEffect)?;
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
            ensure(tensor.since_ms == header.time_ms, ReceiptError::NoEffect)?;
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

fn prove_record(part: &RecordPart, proved: &Proved) -> Result<RecordFacts, ReceiptError> {
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
