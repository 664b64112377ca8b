//! A small world for tests: one manufacturer, one authority, one gateway, and devices with real certificates and
//! signatures. Everything follows from labels, so two worlds are alike to the byte.
#![allow(dead_code, reason = "each test file uses its own part of the world")]

pub mod bench;
pub mod market;
pub mod proof;

use std::collections::BTreeMap;

use lct::{
    Digest,
    attest::{CertificateType, DeviceCertificate, Subject},
    binding::{Assurance, BindingRecord, BoundEntity},
    consent::{CONSENT_MAX, Consent},
    energy::{CycleClose, EnergyEvent, EnergyKind},
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role, SpkId},
    journal::Checkpoint,
    ownership::{TRANSFER_MAX, Transfer},
    pairing::Completion,
    rebind::Rebind,
    record::{BatchStatement, Record, RecordKind},
    registration::{Registration, digest_of},
    sign::{PublicKey, SigningKey},
    trade::{self, Order, Quote, TRADE_MAX, TradeId, What},
    trust::{MetricsReport, REPORT_MAX, TrustContext},
    validation::{Attestation, EVENT_MAX, Event, EventKind},
};
use ledger::{
    codec::Canonical,
    genesis::{Genesis, Params, Validator},
    records::entity_lct_id,
    tx::{Agreed, Body, Paired, Signed, Unsigned},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

/// 2026-01-01 00:00:00 UTC.
pub const START_MS: u64 = 1_767_225_600_000;
pub const CAPACITY: u64 = 500_000;

pub fn key(label: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(&[b"test key", label.as_bytes()])).unwrap()
}

pub fn validator(label: &str) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&sha256(&[b"test validator", label.as_bytes()]))
}

pub fn genesis() -> Genesis {
    let key_of = |label: &str| key(label).public();
    Genesis {
        name: "test".into(),
        time_ms: START_MS,
        validators: vec![Validator { key: validator("v").verifying_key().to_bytes(), power: 1 }],
        roots: vec![key_of("root")],
        authorities: vec![key_of("authority")],
        operators: vec![key_of("operator")],
        params: Params::default(),
        accounts: vec![],
        rules: 1,
    }
}

pub fn chain_id() -> Digest {
    genesis().chain_id()
}

pub fn certificate(
    kind: CertificateType,
    id: &str,
    role: Role,
    key: PublicKey,
    issuer: &SigningKey,
) -> DeviceCertificate {
    let start = (START_MS / 1000) as u32;
    let subject = Subject {
        kind,
        cid: Cid::of(id),
        role,
        flags: 1,
        not_before: start - 86_400,
        not_after: start + 86_400,
        hw: *b"MB-TEST1",
        key,
        code_commit: [0; 32],
    };
    DeviceCertificate::issue(&subject, issuer, &mut ChaCha20Rng::seed_from_u64(1))
}

/// The statement by which the device `id` registers.
pub fn registration(id: &str, role: Role) -> Registration {
    let batch =
        certificate(CertificateType::Batch, "batch-1", Role::Authority, key("batch").public(), &key("root"));
    let device = certificate(CertificateType::Device, id, role, key(id).public(), &key("batch"));
    let stores = matches!(role, Role::Pack | Role::Module);
    Registration {
        chain_id: chain_id(),
        device,
        batch,
        component_id: id.try_into().unwrap(),
        serial: format!("SN-{id}").as_str().try_into().unwrap(),
        hardware: 1,
        firmware: 2,
        capacity_mwh: if stores { CAPACITY } else { 0 },
        opening_soc_ppm: 500_000,
    }
}

pub fn register_with(r: &Registration, signer: &SigningKey) -> Body {
    let mut out = [0; lct::registration::REGISTRATION_MAX];
    let n = r.encode(&mut out).unwrap();
    let statement = out[..n].to_vec();
    let signature = signer.sign_rfc6979(&digest_of(&statement));
    Body::Register { statement, signature }
}

pub fn register(id: &str, role: Role) -> Body {
    register_with(&registration(id, role), &key(id))
}

/// Signing key of `own` towards `partner`.
pub fn bound_key(own: &str, partner: &str) -> SigningKey {
    key(&format!("{own} towards {partner}"))
}

pub fn binding_id(a: &str, b: &str) -> BindingId {
    let mut id = [0; 16];
    id.copy_from_slice(&sha256(&[a.as_bytes(), b.as_bytes()])[..16]);
    BindingId(id)
}

pub fn binding(a: (&str, Role), b: (&str, Role)) -> BindingRecord {
    let entity = |own: (&str, Role), partner: &str| BoundEntity {
        cid: Cid::of(own.0),
        role: own.1,
        sign_pub: bound_key(own.0, partner).public(),
        spk_id: SpkId([7; 8]),
        access_commit: [9; 32],
    };
    BindingRecord {
        binding_id: binding_id(a.0, b.0),
        entities: [entity(a, b.0), entity(b, a.0)],
        time: (START_MS / 1000) as u32,
        assurance: Assurance::Attested,
    }
}

/// Signs a binding record by `a`, `b` and an authority.
pub fn bind_with(record: &BindingRecord, signers: [&SigningKey; 3]) -> Body {
    let [signature_a, signature_b, signature_authority] = signers.map(|k| k.sign_rfc6979(&record.digest()));
    Body::Bind { record: record.encode().to_vec(), signature_a, signature_b, signature_authority }
}

pub fn bind(a: (&str, Role), b: (&str, Role)) -> Body {
    let signers = [&bound_key(a.0, b.0), &bound_key(b.0, a.0), &key("authority")];
    bind_with(&binding(a, b), signers)
}

pub fn paired(a: &str, b: &str, id: u8, lease_s: u32, signers: [&SigningKey; 3]) -> Paired {
    let completion =
        Completion { pairing_id: PairingId([id; 16]), nonce: [2; 32], cert_hash: [3; 32], th4: [4; 32] };
    let digest = completion.digest();
    let [signature_a, signature_b, signature_authority] = signers.map(|k| k.sign_rfc6979(&digest));
    Paired {
        pairing_id: completion.pairing_id,
        binding_id: binding_id(a, b),
        key_a: bound_key(a, b).public(),
        key_b: bound_key(b, a).public(),
        cert_hash: completion.cert_hash,
        nonce: completion.nonce,
        th4: completion.th4,
        lease_s,
        signature_a,
        signature_b,
        signature_authority,
    }
}

pub fn pair_with(a: &str, b: &str, id: u8, lease_s: u32, signers: [&SigningKey; 3]) -> Body {
    Body::PairComplete(paired(a, b, id, lease_s, signers))
}

pub fn pair(a: &str, b: &str, id: u8) -> Body {
    pair_with(a, b, id, 86_400, [&bound_key(a, b), &bound_key(b, a), &key("authority")])
}

/// Records `first..first + count` of a component, one per second.
pub fn records(id: &str, first: u32, count: u16) -> Vec<Vec<u8>> {
    let record = |i: u16| {
        let seq = first + u32::from(i);
        let values = [3650 + i32::from(i), -1200, 25].into_iter().collect();
        let time_ms = START_MS + u64::from(seq) * 1000;
        let record = Record { cid: Cid::of(id), seq, time_ms, kind: RecordKind::Module, values };
        let mut out = [0; lct::record::RECORD_MAX];
        let n = record.encode(&mut out).unwrap();
        out[..n].to_vec()
    };
    (0..count).map(record).collect()
}

pub fn batch_statement(id: &str, first: u32, count: u16) -> BatchStatement {
    let leaves: Vec<_> = records(id, first, count).iter().map(|r| lct::merkle::leaf_hash(r)).collect();
    let last = first + u32::from(count) - 1;
    BatchStatement {
        cid: Cid::of(id),
        first_seq: first,
        count,
        root: lct::merkle::root(&leaves),
        first_ms: START_MS + u64::from(first) * 1000,
        last_ms: START_MS + u64::from(last) * 1000,
    }
}

/// The certificate of the batch authority, and of one that is alike but stands under `issuer`.
pub fn batch_certificate(issuer: &str) -> DeviceCertificate {
    certificate(CertificateType::Batch, "batch-1", Role::Authority, key("batch").public(), &key(issuer))
}

/// A device of `batch`, under the same root.
pub fn register_of(id: &str, role: Role, batch: &str) -> Body {
    let mut r = registration(id, role);
    r.batch = certificate(CertificateType::Batch, batch, Role::Authority, key(batch).public(), &key("root"));
    r.device = certificate(CertificateType::Device, id, role, key(id).public(), &key(batch));
    register_with(&r, &key(id))
}

/// The first hop of a component: from the manufacturer to `to`.
pub fn first_hop(id: &str, to: &str) -> Transfer {
    Transfer {
        chain_id: chain_id(),
        cid: Cid::of(id),
        lct: entity_lct_id(&chain_id(), &Cid::of(id), &key(id).public()),
        hop: 1,
        previous: [0; 32],
        from: key("batch").public(),
        to: key(to).public(),
        time_ms: START_MS,
    }
}

pub fn transfer_bytes(t: &Transfer) -> Vec<u8> {
    let mut out = [0; TRANSFER_MAX];
    let n = t.encode(&mut out).unwrap();
    out[..n].to_vec()
}

pub fn transfer_with(t: &Transfer, signers: [&SigningKey; 2]) -> Body {
    let digest = t.digest().unwrap();
    Body::Transfer { statement: transfer_bytes(t), signatures: signers.map(|k| k.sign_rfc6979(&digest)) }
}

/// The owner of `id` agrees to a binding with `partner` in the place of `binding`; the time is still to be named.
pub fn consent_to(id: &str, binding: BindingId, partner: &str) -> Consent {
    let (cid, partner) = (Cid::of(id), Cid::of(partner));
    Consent { chain_id: chain_id(), cid, binding, partner, until_ms: 0, hop: 1, number: 1 }
}

pub fn consent_with(consent: &Consent, signer: &SigningKey) -> Body {
    let mut out = [0; CONSENT_MAX];
    let n = consent.encode(&mut out).unwrap();
    let signature = signer.sign_rfc6979(&consent.digest().unwrap());
    Body::Consent { statement: out[..n].to_vec(), signature }
}

/// What `device` says and the authority allows when `record` takes the place of `old`.
pub fn rebind_with(
    record: &BindingRecord,
    signers: [&SigningKey; 3],
    (device, seq, old): (&str, u32, BindingId),
    owner: Option<&SigningKey>,
) -> Body {
    let bytes = record.encode().to_vec();
    let event = event(EventKind::BindingReplacement, device, seq, &[&old.0[..], &sha256(&[&bytes])].concat());
    let leave = Rebind { device: Cid::of(device), nonce: [6; 16], old };
    Body::Rebind {
        signatures: signers.map(|k| k.sign_rfc6979(&record.digest())),
        token: leave.issue(&key("authority"), &mut ChaCha20Rng::seed_from_u64(3)).to_vec(),
        replacement: signed_event(&event, &key(device)),
        owner: owner.map(|k| k.sign_rfc6979(&event.digest().unwrap())),
        record: bytes,
    }
}

/// A witness's word about a signed event.
pub fn attest(signed: &Signed, witness: &str, time_ms: u64, signer: &SigningKey) -> (Vec<u8>, PublicKey) {
    let event = Event::decode(&signed.statement).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let said = Attestation::sign(Cid::of(witness), time_ms, (&event, &signed.signature), signer, &mut rng);
    (said.unwrap().encode().to_vec(), signer.public())
}

pub fn event(kind: EventKind, id: &str, seq: u32, payload: &[u8]) -> Event {
    Event::new(kind, Cid::of(id), 1, seq, payload).unwrap()
}

pub fn event_bytes(event: &Event) -> Vec<u8> {
    let mut out = [0; EVENT_MAX];
    let n = event.encode(&mut out).unwrap();
    out[..n].to_vec()
}

pub fn signed_event(event: &Event, signer: &SigningKey) -> Signed {
    signed(&event_bytes(event), event.digest().unwrap(), signer)
}

fn signed(statement: &[u8], digest: Digest, signer: &SigningKey) -> Signed {
    Signed { statement: statement.to_vec(), key: signer.public(), signature: signer.sign_rfc6979(&digest) }
}

pub fn batch_bytes(s: &BatchStatement) -> Vec<u8> {
    let mut out = [0; lct::record::BATCH_STATEMENT_MAX];
    let n = s.encode(&mut out).unwrap();
    out[..n].to_vec()
}

pub fn batch_with(s: &BatchStatement, signer: &SigningKey) -> Body {
    Body::Batch(signed(&batch_bytes(s), s.digest().unwrap(), signer))
}

pub fn energy_with(e: &EnergyEvent, signer: &SigningKey) -> Body {
    let mut out = [0; lct::energy::STATEMENT_MAX];
    let n = e.encode(&mut out).unwrap();
    Body::Energy(signed(&out[..n], e.digest().unwrap(), signer))
}

pub fn close_with(c: &CycleClose, signer: &SigningKey) -> Body {
    let mut out = [0; lct::energy::STATEMENT_MAX];
    let n = c.encode(&mut out).unwrap();
    Body::CycleClose(signed(&out[..n], c.digest().unwrap(), signer))
}

/// A checkpoint over `number` entries of a component's audit log, which ends with `hash`.
pub fn checkpoint_with(id: &str, number: u64, hash: Digest, signer: &SigningKey) -> Body {
    let point = Checkpoint { cid: Cid::of(id), number, hash, time: (START_MS / 1000) as u32 };
    Body::Checkpoint(signed(&point.body(), point.digest(), signer))
}

/// What `observer` says of `subject` over the hour that ends at `end_ms`: all five metrics alike.
pub fn metrics(observer: &str, subject: &str, end_ms: u64, each: u32) -> MetricsReport {
    MetricsReport {
        observer: Cid::of(observer),
        subject: Cid::of(subject),
        context: TrustContext::Operation,
        start_ms: end_ms - 3_600_000,
        end_ms,
        metrics: [each; 5],
        temperature: -5_000,
        load_ppm: 250_000,
        cycles: 7,
    }
}

pub fn metrics_with(r: &MetricsReport, signer: &SigningKey) -> Body {
    let mut out = [0; REPORT_MAX];
    let n = r.encode(&mut out).unwrap();
    Body::Metrics(signed(&out[..n], r.digest().unwrap(), signer))
}

/// A minute of `kind` in a pack's cycle: the `seq`-th minute after the start.
pub fn energy(kind: EnergyKind, cycle: u32, seq: u32, mwh: u64) -> EnergyEvent {
    let opening = kind == EnergyKind::Opening;
    EnergyEvent {
        cid: Cid::of("pack-1"),
        cycle,
        seq,
        kind,
        start_ms: START_MS + u64::from(seq) * 60_000,
        end_ms: START_MS + u64::from(seq + u32::from(!opening)) * 60_000,
        mwh: if opening { 0 } else { mwh },
        mean_mw: if opening { 0 } else { mwh * 60 },
        soc_ppm: 500_000,
    }
}

/// A transaction's bytes, signed by `signer`.
pub fn tx(signer: &SigningKey, nonce: u64, body: Body) -> Vec<u8> {
    let unsigned =
        Unsigned { chain_id: chain_id(), signer: signer.public(), nonce, expiry_height: 1_000, body };
    let signature = signer.sign_rfc6979(&unsigned.digest());
    unsigned.with_signature(signature).to_bytes()
}

/// A sparse Merkle tree written from its definition, not from the verifier: root and siblings of one key.
pub fn reference(
    leaves: &BTreeMap<Digest, Digest>,
    depth: usize,
    key: Option<&Digest>,
) -> (Digest, Vec<Digest>) {
    let bit = |k: &Digest| k[depth / 8] & (0x80 >> (depth % 8)) != 0;
    match leaves.len() {
        0 => (*b"SPARSE_MERKLE_PLACEHOLDER_HASH__", vec![]),
        1 => {
            let (k, v) = leaves.iter().next().unwrap();
            (sha256(&[b"JMT::LeafNode", k, v]), vec![])
        }
        _ => {
            let (right, left): (BTreeMap<_, _>, BTreeMap<_, _>) = leaves.iter().partition(|(k, _)| bit(k));
            let goes_right = key.is_some_and(bit);
            let (l, below_l) = reference(&left, depth + 1, key.filter(|_| !goes_right));
            let (r, below_r) = reference(&right, depth + 1, key.filter(|_| goes_right));
            let mut siblings = if goes_right { below_r } else { below_l };
            siblings.push(if goes_right { l } else { r });
            (sha256(&[b"JMT::IntrnalNode", &l, &r]), siblings)
        }
    }
}

/// An order about the energy of `pack`, signed by `signer`.
pub fn order_with(order: &Order, signer: &SigningKey) -> Body {
    let mut out = [0; TRADE_MAX];
    let n = order.encode(&mut out).unwrap();
    let signature = signer.sign_rfc6979(&order.digest().unwrap());
    Body::EnergyOrder { statement: out[..n].to_vec(), signature }
}

pub fn order(id: u8, pack: &str, what: What) -> Order {
    Order { chain_id: chain_id(), id: TradeId([id; 16]), cid: Cid::of(pack), what }
}

/// What giver and taker sign of a transfer.
pub fn energy_receipt_with(r: &trade::Receipt, signers: [&SigningKey; 2]) -> Body {
    let mut out = [0; TRADE_MAX];
    let n = r.encode(&mut out).unwrap();
    let digest = r.digest().unwrap();
    Body::EnergyReceipt {
        statement: out[..n].to_vec(),
        keys: signers.map(SigningKey::public),
        signatures: signers.map(|k| k.sign_rfc6979(&digest)),
    }
}

/// A price that the owner of a pack (first) and another one sign.
pub fn agreed(quote: &Quote, signers: [&SigningKey; 2]) -> Agreed {
    let mut out = [0; TRADE_MAX];
    let n = quote.encode(&mut out).unwrap();
    let digest = quote.digest().unwrap();
    Agreed { quote: out[..n].to_vec(), signatures: signers.map(|k| k.sign_rfc6979(&digest)) }
}
