//! Receipts hold for what happened, for nothing else, and say so.
//!
//! Rule L86.

use crate::world;

use std::{path::Path, sync::Arc};

use lct::{
    Digest,
    delegation::{Act, Delegation, DelegationId},
    energy::{CycleClose, EnergyKind},
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role},
    pairing::{TERMS_MAX, Terms},
    sign::SigningKey,
    spk::SpkSecret,
    validation::EventKind,
};
use ledger::{
    block::CertificateError,
    codec::Canonical,
    genesis::{Genesis, Validator, ValidatorSet},
    receipt::{Receipt, ReceiptError, Trust, verify},
    reject::Rejection,
    tx::{Body, Target, TxId},
    verdict::{Proved, Trusted},
};
use node::{
    Chain,
    engine::solo::Solo,
    receipts::ReceiptFailure,
    segments::{Entry, StoredBatch},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use world::*;

fn pack_key() -> SigningKey {
    bound_key("pack-1", "app-1")
}

fn app_key() -> SigningKey {
    bound_key("app-1", "pack-1")
}

fn new_keys() -> [SigningKey; 3] {
    ["new-pack", "new-module", "authority"].map(key)
}

/// Pack and module with new keys in the place of their binding; the pack asks, and its owner agrees.
fn rebinding() -> Body {
    let [pack, module, authority] = new_keys();
    let mut record = binding(("pack-1", Role::Pack), ("module-1", Role::Module));
    record.binding_id = BindingId([5; 16]);
    (record.entities[0].sign_pub, record.entities[1].sign_pub) = (pack.public(), module.public());
    let old = binding_id("pack-1", "module-1");
    rebind_with(&record, [&pack, &module, &authority], ("pack-1", 2, old), Some(&key("owner")))
}

/// A delegation, and two acts under it: a pairing, and the end of one that nobody knows.
fn delegated() -> [Body; 3] {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let laptop = SpkSecret::generate(&mut rng).unwrap();
    let start = (START_MS / 1000) as u32;
    let delegation = Delegation {
        number: 1,
        delegate: laptop.public(),
        issued: start,
        not_before: start,
        not_after: start + 3_600,
        lease_s: 86_400,
        operations: 7,
        packs: [Cid::of("pack-1")].into_iter().collect(),
    };
    let statement = delegation.issue(&key("authority"), &mut rng).unwrap().to_vec();
    let signers = [&bound_key("pack-1", "module-2"), &bound_key("module-2", "pack-1"), laptop.signing_key()];
    let paired = pair_with("pack-1", "module-2", 0x77, 86_400, signers);
    let unknown = Body::Revoke { target: Target::Pairing(PairingId([0x66; 16])), reason: 2 };
    let mut previous = [0; 32];
    let [first, second] = [(1, paired), (2, unknown)].map(|(number, body)| {
        let body = body.to_bytes();
        let delegation = DelegationId::of(&statement);
        let act = Act { delegation, number, previous, time: start + 60 * number, body: sha256(&[&body]) };
        let statement = act.issue(laptop.signing_key(), &mut rng).to_vec();
        previous = Act::hash_of(&statement);
        Body::DelegateAct { statement, body }
    });
    [Body::Delegate { statement }, first, second]
}

/// Both sides and the authority give the renewed pairing other terms.
fn modification() -> Body {
    let terms = Terms { expires: (START_MS / 1000) as u32 + 7200, max_uses: 4, operations: 1 };
    let mut out = [0; TERMS_MAX];
    let n = terms.encode(&mut out).unwrap();
    let payload = [&[2; 16][..], &lct::hash::sha256(&[&out[..n]])].concat();
    let event = event(EventKind::PairingModification, "app-1", 1, &payload);
    let digest = event.digest().unwrap();
    Body::PairModify {
        statement: event_bytes(&event),
        terms: out[..n].to_vec(),
        keys: [app_key().public(), pack_key().public()],
        signatures: [&app_key(), &pack_key(), &key("authority")].map(|k| k.sign_rfc6979(&digest)),
    }
}

fn module_key() -> SigningKey {
    bound_key("module-1", "pack-1")
}

/// One transaction of every kind, several in one block and some alone.
fn bodies() -> Vec<Body> {
    let discharge = energy(EnergyKind::Discharge, 1, 1, 1234);
    let close = CycleClose {
        cid: Cid::of("pack-1"),
        cycle: 1,
        events: 2,
        charged_mwh: 0,
        discharged_mwh: 1234,
        start_ms: START_MS,
        end_ms: START_MS + 120_000,
    };
    let session = event(EventKind::PairedHandshake, "pack-1", 1, &[&[2; 16][..], &[5; 32]].concat());
    let withdrawal = |kind, seq, id: [u8; 16]| event(kind, "app-1", seq, &[&id[..], &[4]].concat());
    let factory = binding(("pack-1", Role::Pack), ("module-2", Role::Module));
    let fault = signed_event(&event(EventKind::Fault, "module-1", 2, b"hot"), &new_keys()[1]);
    let [delegation, act, refused] = delegated();
    vec![
        register("app-1", Role::App),
        register("pack-1", Role::Pack),
        register("module-1", Role::Module),
        register("module-2", Role::Module),
        Body::LctCreate { a: Cid::of("pack-1"), b: Cid::of("module-1"), context: "energy".into() },
        bind(("app-1", Role::App), ("pack-1", Role::Pack)),
        bind(("pack-1", Role::Pack), ("module-1", Role::Module)),
        pair("app-1", "pack-1", 1),
        batch_with(&batch_statement("module-1", 0, 10), &module_key()),
        batch_with(&batch_statement("module-1", 10, 7), &module_key()),
        energy_with(&energy(EnergyKind::Opening, 1, 0, 0), &pack_key()),
        energy_with(&discharge, &pack_key()),
        close_with(&close, &pack_key()),
        checkpoint_with("module-1", 256, [0xAB; 32], &module_key()),
        Body::PairRenew {
            paired: paired("app-1", "pack-1", 2, 86_400, [&app_key(), &pack_key(), &key("authority")]),
            renews: PairingId([1; 16]),
            max_uses: 9,
            operations: 3,
        },
        modification(),
        Body::PairUse(signed_event(&session, &pack_key())),
        Body::RevokeSigned(signed_event(&withdrawal(EventKind::PairingRevocation, 2, [2; 16]), &app_key())),
        Body::RevokeSigned(signed_event(
            &withdrawal(EventKind::BindingRevocation, 3, binding_id("app-1", "pack-1").0),
            &app_key(),
        )),
        Body::Revoke { target: Target::Component(Cid::of("app-1")), reason: 2 },
        transfer_with(&first_hop("pack-1", "owner"), [&key("batch"), &key("owner")]),
        rebinding(),
        Body::FactoryBind {
            record: factory.encode().to_vec(),
            signatures: [&bound_key("pack-1", "module-2"), &bound_key("module-2", "pack-1"), &key("batch")]
                .map(|k| k.sign_rfc6979(&factory.digest())),
            batch: batch_certificate("root").0.to_vec(),
        },
        Body::Validate { witnesses: vec![attest(&fault, "pack-1", START_MS, &new_keys()[0])], signed: fault },
        delegation,
        act,
        refused,
    ]
}

struct Run {
    chain: Arc<Chain>,
    engine: Solo,
    ids: Vec<TxId>,
}

fn run(dir: &Path) -> Run {
    let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let clock = || START_MS + 600_000;
    for (first, count) in [(0, 10), (10, 7)] {
        let mut entries: Vec<_> = records("module-1", first, count).into_iter().map(Entry::Record).collect();
        entries[4] = Entry::Missing(entries[4].leaf());
        let statement = batch_bytes(&batch_statement("module-1", first, count));
        chain.append(&[StoredBatch { statement, entries }]).unwrap();
    }
    let mut ids = Vec::new();
    for (n, body) in (1..).zip(bodies()) {
        ids.push(chain.submit(tx(&key("authority"), n, body)).unwrap());
        // What is withdrawn is withdrawn in a block of its own: the receipts of others say what held after theirs.
        if [8, 10, 17, 18, 19, 21].contains(&n) {
            engine.cut(clock()).unwrap();
        }
    }
    engine.drain(clock).unwrap();
    for id in &ids {
        let included = chain.read().unwrap().tx(id).unwrap().unwrap();
        assert_eq!(included.result.rejection, None);
    }
    Run { chain, engine, ids }
}

fn all(run: &Run) -> Vec<Receipt> {
    let mut receipts: Vec<_> = run.ids.iter().map(|id| run.chain.receipt_tx(id).unwrap()).collect();
    receipts.push(run.chain.receipt_record(&Cid::of("module-1"), 3).unwrap());
    receipts.push(run.chain.receipt_record(&Cid::of("module-1"), 16).unwrap());
    receipts
}

fn trust() -> Trust {
    genesis().trust()
}

#[test]
fn every_kind_of_receipt_holds_and_says_what_it_proves() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let words = [
        "component app-1",
        "component pack-1",
        "component module-1",
        "component module-2",
        "created for energy",
        "(app) and",
        "(pack) and",
        "completed pairing",
        "signed 10 record(s) from number 0",
        "signed 7 record(s) from number 10",
        "opened energy cycle 1 at 500000 ppm",
        "delivered 1.234 Wh",
        "closed energy cycle 1 after 2 event(s)",
        "signed that its audit log has 256 entries and hashes to abab",
        "completed pairing 02020202020202020202020202020202, which renews 0101",
        "is valid until 2026-01-01 02:00:00.000 UTC, for 4 session(s), with operations 1",
        "signed paired_handshake at level 4 (boot 1, number 1)",
        "pairing 02020202020202020202020202020202 was revoked (reason 4) by component",
        "was revoked (reason 4) by component",
        "was revoked (reason 2) by order of the sender",
        "(hop 1)",
        "were bound as 05050505050505050505050505050505 in the place of",
        "(pack) and",
        "signed fault at level 2 (boot 1, number 2), seen by component",
        "(number 1) lets the holder of",
        "pairing/complete at 2026-01-01 00:01:00.000 UTC, took effect",
        "took no effect: what is to be revoked is not recorded",
        "measured record 3",
        "measured record 16",
    ];
    for (receipt, words) in all(&run).iter().zip(words) {
        let file = receipt.to_file();
        let verdict = verify(&file, Some(&trust())).unwrap();
        assert_eq!((verdict.trusted, verdict.chain_id), (Trusted::Yes, chain_id()));
        assert_eq!((verdict.height, verdict.tx_index), (receipt.block.height, receipt.index));
        let text = verdict.to_string();
        assert!(text.contains(words), "{text}");
        assert!(text.ends_with("Signer: trusted"), "{text}");
        let alone = verify(&file, None).unwrap();
        assert_eq!(alone.trusted, Trusted::SignerUnknown);
        assert!(alone.to_string().contains("Signer: unknown"));
    }
    let record = verify(&all(&run)[28].to_file(), Some(&trust())).unwrap();
    let facts = record.record.as_ref().unwrap();
    assert_eq!(
        (facts.seq, facts.time_ms, &facts.values[..]),
        (16, START_MS + 16_000, &[3656, -1200, 25][..])
    );
    assert_eq!(record.component(), Some(Cid::of("module-1")));
    assert!(matches!(record.proved, Proved::Batch(_)));
}

#[test]
fn no_single_byte_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let mut rng = ChaCha20Rng::seed_from_u64(20);
    let receipts = all(&run);
    let (mut changed, mut cut) = (0, 0);
    for receipt in &receipts {
        let file = receipt.to_file();
        for _ in 0..1000_usize.div_ceil(receipts.len()) {
            let (at, change) = (rng.next_u32() as usize % file.len(), 1 + (rng.next_u32() % 255) as u8);
            let mut bad = file.clone();
            bad[at] ^= change;
            assert!(verify(&bad, Some(&trust())).is_err(), "byte {at} of {}: xor {change:02x}", file.len());
            assert!(verify(&bad, None).is_err(), "byte {at}, without trust");
            changed += 1;
        }
        for n in 0..file.len() {
            assert!(verify(&file[..n], None).is_err(), "cut at {n}");
            cut += 1;
        }
        assert!(verify(&[&file[..], &[0]].concat(), None).is_err(), "a byte more");
    }
    println!(
        "{} receipts: {changed} with one changed byte (seed 20) and {cut} cut short refused",
        receipts.len()
    );
    assert!(changed >= 1000);
}

/// The parts of a receipt: what a swap takes from another one.
const PARTS: [fn(&mut Receipt, &Receipt); 11] = [
    |a, b| a.tx.signature = b.tx.signature,
    |a, b| a.tx.unsigned.clone_from(&b.tx.unsigned),
    |a, b| {
        (a.index, a.tx_path, a.result_path) = (b.index, b.tx_path.clone(), b.result_path.clone());
    },
    |a, b| a.block.clone_from(&b.block),
    |a, b| a.result.clone_from(&b.result),
    |a, b| a.next.clone_from(&b.next),
    |a, b| a.certificate.clone_from(&b.certificate),
    |a, b| a.objects.clone_from(&b.objects),
    |a, b| a.proof.clone_from(&b.proof),
    |a, b| {
        if let (Some(a), Some(b)) = (&mut a.record, &b.record) {
            a.record.clone_from(&b.record);
        }
    },
    |a, b| {
        if let (Some(a), Some(b)) = (&mut a.record, &b.record) {
            (a.index, a.path) = (b.index, b.path.clone());
        }
    },
];

/// Every choice of parts of one receipt put into another: of two telemetry records of two batches, which are as much alike
/// as two receipts are. And each part alone, and each record, between any two.
#[test]
fn parts_of_two_receipts_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let receipts = all(&run);
    let held = |mixed: &Receipt| verify(&mixed.to_file(), Some(&trust()));
    let (a, b) = (&receipts[receipts.len() - 2], &receipts[receipts.len() - 1]);
    assert!(a.record.is_some() && b.record.is_some() && a.tx != b.tx);
    let (mut choices, mut same) = (0, 0);
    for chosen in 1..1_u32 << PARTS.len() {
        let mut mixed = a.clone();
        for (_, part) in PARTS.iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1) {
            part(&mut mixed, b);
        }
        if mixed == *a || mixed == *b {
            same += 1;
            continue;
        }
        choices += 1;
        assert!(held(&mixed).is_err(), "parts {chosen:#b}");
    }
    let mut single = 0;
    for (i, a) in receipts.iter().enumerate() {
        for (j, b) in receipts.iter().enumerate() {
            for (n, part) in PARTS.iter().enumerate() {
                let mut mixed = a.clone();
                part(&mut mixed, b);
                if mixed != *a && !receipts.contains(&mixed) {
                    single += 1;
                    assert!(held(&mixed).is_err(), "part {n} of {j} in {i}");
                }
            }
            if a.record != b.record && a.tx != b.tx && b.record.is_some() {
                single += 1;
                assert!(
                    held(&Receipt { record: b.record.clone(), ..a.clone() }).is_err(),
                    "record of {j} in {i}"
                );
            }
        }
    }
    println!(
        "{choices} choices of parts of two receipts and {single} single parts of {} refused; {same} were whole",
        receipts.len()
    );
    assert!(choices > 1000 && single > 4000);
}

#[test]
fn a_chain_of_ones_own_is_consistent_but_never_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let forged: Genesis = {
        let mut g = genesis();
        g.validators = vec![Validator { key: validator("mallory").verifying_key().to_bytes(), power: 1 }];
        g
    };
    let chain = Arc::new(Chain::open(dir.path(), &forged).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("mallory")).unwrap();
    let signer = key("authority");
    let body = Body::LctCreate { a: Cid::of("a-1"), b: Cid::of("b-1"), context: "x".into() };
    let r = {
        let mut r = registration("pack-1", Role::Pack);
        r.chain_id = forged.chain_id();
        register_with(&r, &key("pack-1"))
    };
    let send = |nonce, body| {
        let u = ledger::tx::Unsigned {
            chain_id: forged.chain_id(),
            signer: signer.public(),
            nonce,
            expiry_height: 9,
            body,
        };
        let signature = signer.sign_rfc6979(&u.digest());
        use ledger::codec::Canonical;
        chain.submit(u.with_signature(signature).to_bytes()).unwrap()
    };
    let id = send(1, r);
    let refused = send(2, body);
    engine.cut(START_MS).unwrap();
    assert!(matches!(chain.receipt_tx(&id), Err(ReceiptFailure::NotCertifiedYet(1))));
    engine.drain(|| START_MS).unwrap();
    assert!(matches!(chain.receipt_tx(&refused), Err(ReceiptFailure::Refused(Rejection::LctComponent))));
    assert!(matches!(chain.receipt_tx(&[0; 32]), Err(ReceiptFailure::UnknownTx)));
    let file = chain.receipt_tx(&id).unwrap().to_file();
    assert_eq!(verify(&file, None).unwrap().trusted, Trusted::SignerUnknown);
    assert_eq!(verify(&file, Some(&forged.trust())).unwrap().trusted, Trusted::Yes);
    assert_eq!(verify(&file, Some(&trust())), Err(ReceiptError::OtherChain));
    let same_name = Trust { chain_id: forged.chain_id(), ..trust() };
    assert_eq!(verify(&file, Some(&same_name)), Err(ReceiptError::UntrustedValidators));
    let mut both = forged.trust();
    both.validators = ValidatorSet([both.validators.0, trust().validators.0].concat());
    assert_eq!(
        verify(&file, Some(&both)),
        Err(ReceiptError::Certificate(CertificateError::Quorum)),
        "a set is trusted as a whole: half of it is not enough"
    );
}

#[test]
fn records_that_have_no_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let cid = Cid::of("module-1");
    assert!(matches!(run.chain.receipt_record(&cid, 17), Err(ReceiptFailure::UnknownRecord { seq: 17, .. })));
    assert!(matches!(
        run.chain.receipt_record(&Cid::of("pack-1"), 0),
        Err(ReceiptFailure::UnknownRecord { .. })
    ));
    assert!(
        matches!(run.chain.receipt_record(&cid, 4), Err(ReceiptFailure::RecordMissing { seq: 4, .. })),
        "a gap"
    );
    assert!(run.chain.receipt_record(&cid, 5).is_ok(), "its neighbours stand");
    let n = run.chain.next_nonce(&key("authority").public()).unwrap();
    let statement = batch_statement("module-1", 50, 2);
    run.chain.submit(tx(&key("authority"), n, batch_with(&statement, &new_keys()[1]))).unwrap();
    run.engine.drain(|| START_MS + 600_000).unwrap();
    let missing = run.chain.receipt_record(&cid, 50);
    assert!(
        matches!(missing, Err(ReceiptFailure::RecordMissing { .. })),
        "on the chain, but never stored here"
    );
}

/// The tree keeps the nodes of the last 100 versions; receipts of older blocks must still come.
#[test]
fn receipts_outlive_the_tree_nodes_that_proved_them() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let before: Vec<_> = all(&run).iter().map(Receipt::to_file).collect();
    for n in 0..150 {
        let nonce = run.chain.next_nonce(&key("authority").public()).unwrap();
        let body = batch_with(&batch_statement("module-1", 100 + n, 1), &module_key());
        run.chain.submit(tx(&key("authority"), nonce, body)).unwrap();
        run.engine.cut(START_MS + 600_000).unwrap();
    }
    run.engine.drain(|| START_MS).unwrap();
    let after: Vec<_> = all(&run).iter().map(Receipt::to_file).collect();
    assert_eq!(before, after);
    let root: Digest = run.chain.tip().state_root;
    assert_eq!(run.chain.status().unwrap().state_root, root);
}
