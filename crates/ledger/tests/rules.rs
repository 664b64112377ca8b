//! Rejections of the ledger in the documented order of precedence: one table per group.
//!
//! Rules L20, L24 to L26, L31 to L38, L40 to L43, L50 to L56, L58 and L59.

use crate::world;

use lct::{
    attest::CertificateType,
    binding::{Assurance, BindingRecord},
    energy::{CycleClose, EnergyEvent, EnergyKind},
    id::{BindingId, Cid, PairingId, Role},
    journal::Checkpoint,
    registration::Registration,
    sign::SigningKey,
};
use ledger::{
    codec::Canonical,
    records::{
        Anchor, Binding, Component, LogHead, Pool, SigningKey as KeyRecord, Status, Totals, key as state_key,
    },
    reject::Rejection::{self, *},
    state::{View, load},
    tx::{Body, Paired, Signed, Unsigned},
};
use world::{bench::*, *};

fn unsigned(nonce: u64, body: Body) -> Unsigned {
    let signer = key("authority").public();
    Unsigned { chain_id: chain_id(), signer, nonce, expiry_height: 10, body }
}

fn sign(unsigned: Unsigned, signer: &SigningKey) -> Vec<u8> {
    let signature = signer.sign_rfc6979(&unsigned.digest());
    unsigned.with_signature(signature).to_bytes()
}

fn lct_body() -> Body {
    Body::LctCreate { a: Cid::of("pack-1"), b: Cid::of("module-1"), context: "energy".into() }
}

/// The `n`-th row breaks its own check and every later one, so a check out of order shows.
#[test]
pub fn envelope() {
    let mut bench = Bench::new();
    for body in [register("pack-1", Role::Pack), register("module-1", Role::Module)] {
        bench.accept(body);
    }
    bench.height = 11;
    let authority = key("authority");
    let stranger = key("stranger");
    let good = || unsigned(3, lct_body());
    let signed_by = |change: fn(&mut Unsigned), signer: &SigningKey| {
        let mut u = good();
        change(&mut u);
        sign(u, signer)
    };
    let mut long = signed_by(|_| {}, &authority);
    long.resize(bench.params.max_tx_bytes as usize + 1, 0);
    let mut newer = signed_by(|_| {}, &authority);
    newer[2] = 2;
    newer.push(0);
    let mut trailing = signed_by(|_| {}, &authority);
    trailing.push(0);
    let rows: [(&str, Vec<u8>, Rejection); 10] = [
        ("too large and garbage", long, TooLarge),
        ("newer version and trailing bytes", newer, Version),
        ("trailing byte", trailing, Malformed),
        (
            "other chain, unknown signer, expired, used nonce, bad signature",
            signed_by(
                |u| (u.chain_id, u.signer, u.nonce) = ([1; 32], key("stranger").public(), 0),
                &authority,
            ),
            OtherChain,
        ),
        (
            "unknown signer, expired, used nonce, bad signature",
            signed_by(|u| (u.signer, u.nonce) = (key("stranger").public(), 0), &authority),
            UnknownSigner,
        ),
        (
            "operator sends lct/create, expired, bad signature",
            signed_by(|u| u.signer = key("operator").public(), &stranger),
            RoleForbidden,
        ),
        ("expired, used nonce, bad signature", signed_by(|u| u.nonce = 2, &stranger), Expired),
        (
            "used nonce, bad signature",
            signed_by(|u| (u.nonce, u.expiry_height) = (2, 11), &stranger),
            NonceUsed,
        ),
        (
            "nonce too far, bad signature",
            signed_by(|u| (u.nonce, u.expiry_height) = (4, 11), &stranger),
            NonceGap,
        ),
        ("bad signature", signed_by(|u| u.expiry_height = 11, &stranger), EnvelopeSignature),
    ];
    for (what, bytes, expected) in rows {
        assert_eq!(bench.apply(&bytes), Some(expected), "{what}");
    }
    let mut revoked = Bench::new();
    revoked.change(state_key::account(&authority.public()), |a: &mut ledger::records::Account| {
        a.status = Status::Revoked;
    });
    assert_eq!(revoked.send(0, lct_body()), Some(UnknownSigner), "withdrawn account");
    // None of them used up the nonce; the same transaction in order is accepted, once.
    let mut ok = good();
    ok.expiry_height = 11;
    let bytes = sign(ok, &authority);
    assert_eq!(bench.apply(&bytes), None);
    assert_eq!(bench.apply(&bytes), Some(NonceUsed), "a transaction counts once");
}

#[test]
pub fn an_operator_passes_on_what_devices_sign_and_nothing_else() {
    let mut bench = Bench::running();
    assert_eq!(bench.send(1, register("module-2", Role::Module)), None);
    let open = energy(EnergyKind::Discharge, 1, 1, 10);
    assert_eq!(bench.send(1, energy_with(&open, &pack_key())), None);
    for body in [lct_body(), bind(APP, MODULE), pair("app-1", "pack-1", 9)] {
        assert_eq!(bench.send(1, body), Some(RoleForbidden));
        bench.nonces[1] -= 1;
    }
}

#[test]
pub fn registration_rules() {
    let mut bench = Bench::new();
    bench.accept(register("pack-1", Role::Pack));
    let with = |change: &dyn Fn(&mut Registration)| {
        let mut r = registration("module-1", Role::Module);
        change(&mut r);
        register_with(&r, &key("module-1"))
    };
    let device = |id: &str, role, issuer: &str| {
        certificate(CertificateType::Device, id, role, key("module-1").public(), &key(issuer))
    };
    let foreign_batch = certificate(
        CertificateType::Batch,
        "batch-1",
        Role::Authority,
        key("batch").public(),
        &key("other root"),
    );
    let late = Registration { chain_id: chain_id(), ..registration("module-1", Role::Module) };
    let rows: [(&str, Body, Rejection); 11] = [
        (
            "damaged",
            Body::Register { statement: vec![0xa0], signature: lct::sign::Signature([0; 64]) },
            StatementFormat,
        ),
        (
            "certificate of another id",
            with(&|r| r.device = device("module-2", Role::Module, "batch")),
            AttestMismatch,
        ),
        (
            "other chain and unknown root",
            with(&|r| (r.chain_id, r.batch) = ([1; 32], foreign_batch)),
            RegistryChain,
        ),
        (
            "unknown root, authority role",
            with(&|r| {
                r.batch = foreign_batch;
                r.device = device("module-1", Role::Authority, "batch");
            }),
            AttestRoot,
        ),
        ("issued by nobody", with(&|r| r.device = device("module-1", Role::Module, "stranger")), AttestRoot),
        (
            "authority role, no capacity",
            with(&|r| r.device = device("module-1", Role::Authority, "batch")),
            AttestRole,
        ),
        (
            "pack without capacity, bad proof",
            {
                let mut r = registration("module-1", Role::Pack);
                r.capacity_mwh = 0;
                register_with(&r, &key("stranger"))
            },
            RegistryCapacity,
        ),
        ("absurd capacity", with(&|r| r.capacity_mwh = 1_000_000_000_001), RegistryCapacity),
        (
            "no proof of possession, known component",
            { register_with(&registration("pack-1", Role::Pack), &key("stranger")) },
            RegistryProof,
        ),
        ("known component", register("pack-1", Role::Pack), RegistryExists),
        ("known serial", with(&|r| r.serial = "SN-pack-1".try_into().unwrap()), RegistrySerialExists),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let mut twin = registration("module-9", Role::Module);
    twin.device =
        certificate(CertificateType::Device, "module-9", Role::Module, key("pack-1").public(), &key("batch"));
    bench.refuse("known key", register_with(&twin, &key("pack-1")), RegistryKeyExists);
    bench.time_ms = START_MS + 86_400_000;
    bench.refuse("expired certificate", register_with(&late, &key("stranger")), AttestTime);
}

#[test]
fn registration_creates_component_and_entity_lct() {
    let mut bench = Bench::new();
    bench.accept(register("pack-1", Role::Pack));
    let cid = Cid::of("pack-1");
    let c: Component = load(&bench.state, &state_key::component(&cid)).unwrap().unwrap();
    assert_eq!((c.component_id.as_str(), c.role, c.capacity_mwh), ("pack-1", Role::Pack, CAPACITY));
    let lct: ledger::records::Lct = load(&bench.state, &state_key::lct(&c.lct)).unwrap().unwrap();
    assert_eq!((lct.a, lct.b), (cid, cid));
    assert!(bench.state.get(&state_key::pool(&cid)).unwrap().is_none(), "no energy before a binding");
}

#[test]
pub fn lct_rules() {
    let mut bench = Bench::new();
    for (id, role) in [PACK, MODULE] {
        bench.accept(register(id, role));
    }
    let lct = |a: &str, b: &str, context: &str| Body::LctCreate {
        a: Cid::of(a),
        b: Cid::of(b),
        context: context.into(),
    };
    bench.accept(lct("pack-1", "module-1", "energy"));
    bench.params.max_lcts = 1;
    let rows = [
        ("itself, empty context", lct("pack-1", "pack-1", ""), LctSelf),
        ("empty context, unknown component", lct("pack-1", "nobody", ""), LctContext),
        ("space in context", lct("pack-1", "module-1", "a b"), LctContext),
        ("unknown component", lct("pack-1", "nobody", "energy"), LctComponent),
        ("exists, no room", lct("pack-1", "module-1", "energy"), LctExists),
        ("exists in the other order", lct("module-1", "pack-1", "energy"), LctExists),
        ("no room", lct("pack-1", "module-1", "other"), LctLimit),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
}

/// A binding in clear gives way to a better one, once, and its keys are out of force then.
#[test]
pub fn a_better_binding_takes_the_place_of_b0() {
    for better in [Assurance::Attested, Assurance::Code, Assurance::AttestedAndCode] {
        let mut bench = Bench::new();
        for (id, role) in [APP, PACK] {
            bench.accept(register(id, role));
        }
        let sign =
            |r: &BindingRecord, a: &SigningKey, b: &SigningKey| bind_with(r, [a, b, &key("authority")]);
        let mut plain = binding(APP, PACK);
        plain.assurance = Assurance::Plain;
        let old = [bound_key("app-1", "pack-1"), bound_key("pack-1", "app-1")];
        bench.accept(sign(&plain, &old[0], &old[1]));
        let stored = |bench: &Bench, id: &BindingId| -> Binding {
            load(&bench.state, &state_key::binding(id)).unwrap().unwrap()
        };
        assert_eq!(stored(&bench, &plain.binding_id).assurance, 0);
        let new = [key("new-a"), key("new-b")];
        let mut next = binding(APP, PACK);
        next.binding_id = BindingId([9; 16]);
        for (entity, key) in next.entities.iter_mut().zip(&new) {
            entity.sign_pub = key.public();
        }
        next.assurance = Assurance::Plain;
        bench.refuse("B0 again", sign(&next, &new[0], &new[1]), BindingPairExists);
        next.assurance = better;
        bench.accept(sign(&next, &new[0], &new[1]));
        assert_eq!(stored(&bench, &next.binding_id).assurance, better as u8);
        assert_eq!(stored(&bench, &plain.binding_id).status, Status::Revoked);
        for key in &old {
            let known: KeyRecord =
                load(&bench.state, &state_key::signing_key(&key.public())).unwrap().unwrap();
            assert_eq!(known.status, Status::Revoked);
        }
        let mut last = next;
        last.binding_id = BindingId([10; 16]);
        last.assurance = Assurance::AttestedAndCode;
        bench.refuse(
            "nothing better than what proved something",
            sign(&last, &new[0], &new[1]),
            BindingPairExists,
        );
    }
}

#[test]
pub fn binding_rules() {
    let mut bench = Bench::new();
    for (id, role) in [APP, PACK, MODULE, ("module-2", Role::Module)] {
        bench.accept(register(id, role));
    }
    bench.accept(bind(APP, PACK));
    let keys = |a: &str, b: &str| [bound_key(a, b), bound_key(b, a), key("authority")];
    let wrong = [key("stranger"), key("stranger"), key("stranger")];
    let refuse =
        |bench: &mut Bench, what: &str, record: &BindingRecord, signers: &[SigningKey; 3], expected| {
            bench.refuse(what, bind_with(record, [&signers[0], &signers[1], &signers[2]]), expected);
        };
    let garbage = lct::sign::Signature([0; 64]);
    let damaged = Body::Bind {
        record: vec![1],
        signature_a: garbage,
        signature_b: garbage,
        signature_authority: garbage,
    };
    bench.refuse("damaged", damaged, StatementFormat);
    let mut swapped = binding(PACK, MODULE);
    swapped.entities.swap(0, 1);
    refuse(&mut bench, "sides swapped", &swapped, &wrong, BindingParties);
    refuse(&mut bench, "itself", &binding(PACK, PACK), &wrong, BindingParties);
    let mut future = (START_MS / 1000) as u32 + 3600 + 301;
    let mut r = binding(PACK, ("nobody", Role::Module));
    r.time = future;
    refuse(&mut bench, "unknown component, future", &r, &wrong, BindingComponent);
    r = binding(PACK, ("module-1", Role::Sensor));
    r.time = future;
    refuse(&mut bench, "wrong role, future", &r, &wrong, BindingRole);
    r = binding(APP, PACK);
    r.time = future;
    refuse(&mut bench, "future, exists", &r, &wrong, BindingTime);
    refuse(&mut bench, "exists, pair exists", &binding(APP, PACK), &wrong, BindingExists);
    r = binding(APP, PACK);
    r.binding_id = BindingId([5; 16]);
    refuse(&mut bench, "pair exists, keys in use", &r, &wrong, BindingPairExists);
    r.assurance = Assurance::Plain;
    refuse(&mut bench, "pair exists, to be replaced by B0", &r, &wrong, BindingPairExists);
    r = binding(PACK, MODULE);
    r.entities[0].sign_pub = bound_key("pack-1", "app-1").public();
    refuse(&mut bench, "key of another binding", &r, &wrong, BindingKey);
    r = binding(PACK, MODULE);
    r.entities[1].sign_pub = r.entities[0].sign_pub;
    refuse(&mut bench, "one key for both", &r, &wrong, BindingKey);
    r = binding(PACK, MODULE);
    r.entities[1].sign_pub = key("module-1").public();
    refuse(&mut bench, "device identity key as signing key", &r, &wrong, BindingKey);
    future -= 1;
    r = binding(PACK, MODULE);
    r.time = future;
    let [a, b, authority] = keys("pack-1", "module-1");
    refuse(&mut bench, "nobody signed", &r, &wrong, BindingProofA);
    let stranger = || key("stranger");
    refuse(&mut bench, "only A signed", &r, &[a, stranger(), stranger()], BindingProofB);
    let [a, ..] = keys("pack-1", "module-1");
    refuse(&mut bench, "no authority", &r, &[a, b, stranger()], BindingAuthority);
    let [a, b, _] = keys("pack-1", "module-1");
    bench.accept(bind_with(&r, [&a, &b, &authority]));
    let pool: Pool = load(&bench.state, &state_key::pool(&Cid::of("pack-1"))).unwrap().unwrap();
    assert_eq!(
        (pool.minted, pool.adp, pool.atp),
        (CAPACITY, CAPACITY, 0),
        "minted once, at the first binding"
    );
    let totals: Totals = load(&bench.state, state_key::TOTALS).unwrap().unwrap();
    assert_eq!(totals.minted, u128::from(CAPACITY));
}

#[test]
pub fn pairing_rules() {
    let mut bench = Bench::running();
    let stranger = key("stranger");
    let [a, b, authority] = [bound_key("app-1", "pack-1"), bound_key("pack-1", "app-1"), key("authority")];
    let nobody = [&stranger; 3];
    let p = |id, lease_s, signers| pair_with("app-1", "pack-1", id, lease_s, signers);
    let other_keys = |body: Body| match body {
        Body::PairComplete(p) => Body::PairComplete(Paired { key_b: p.key_a, lease_s: 0, ..p }),
        other => other,
    };
    let most = bench.params.max_lease_s;
    let rows = [
        ("exists, no lease", p(1, 0, nobody), PairingExists),
        ("not bound, no lease", pair_with("app-1", "module-1", 2, 0, nobody), PairingDenied),
        ("other keys, no lease", other_keys(p(2, 1, nobody)), PairingKeys),
        ("no lease", p(2, 0, nobody), PairingLease),
        ("lease too long", p(2, most + 1, nobody), PairingLease),
        ("nobody signed", p(2, most, nobody), PairingProofA),
        ("only A signed", p(2, most, [&a, &stranger, &stranger]), PairingProofB),
        ("no authority", p(2, most, [&a, &b, &stranger]), PairingAuthority),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    bench.accept(p(2, most, [&a, &b, &authority]));
    let pairing: ledger::records::Pairing =
        load(&bench.state, &state_key::pairing(&PairingId([2; 16]))).unwrap().unwrap();
    assert_eq!(pairing.expires_ms, bench.time_ms + u64::from(most) * 1000);
    bench.change(state_key::binding(&binding_id("app-1", "pack-1")), |b: &mut Binding| {
        b.status = Status::Revoked
    });
    bench.refuse("binding revoked, other keys", other_keys(p(3, 1, nobody)), PairingBindingRevoked);
}

#[test]
pub fn statement_signer_rules() {
    let mut bench = Bench::running();
    bench.time_ms = START_MS;
    let s = batch_statement("module-1", 400, 100);
    let module_key = bound_key("module-1", "pack-1");
    let mut forged = match batch_with(&s, &module_key) {
        Body::Batch(signed) => signed,
        _ => unreachable!(),
    };
    let damaged = Signed { statement: vec![0xa0], ..forged.clone() };
    bench.refuse(
        "damaged, unknown key",
        Body::Batch(Signed { key: key("x").public(), ..damaged }),
        StatementFormat,
    );
    bench.refuse("key of no binding", batch_with(&s, &key("module-1")), StatementKeyUnknown);
    bench.refuse("key of another component", batch_with(&s, &pack_key()), StatementSigner);
    forged.signature.0[5] ^= 1;
    bench.refuse("bad signature, future", Body::Batch(forged), StatementSignature);
    bench.refuse("future", batch_with(&s, &module_key), StatementTime);
    bench.time_ms = s.last_ms - bench.params.max_future_ms;
    bench
        .change(state_key::signing_key(&module_key.public()), |k: &mut KeyRecord| k.status = Status::Revoked);
    let mut other = s;
    other.cid = Cid::of("pack-1");
    bench.refuse("revoked, of another component", batch_with(&other, &module_key), StatementKeyRevoked);
    bench.change(state_key::signing_key(&module_key.public()), |k: &mut KeyRecord| k.status = Status::Active);
    bench.accept(batch_with(&s, &module_key));
}

#[test]
pub fn telemetry_rules() {
    let mut bench = Bench::running();
    let signer = bound_key("module-1", "pack-1");
    let b = |first, count| batch_with(&batch_statement("module-1", first, count), &signer);
    bench.accept(b(0, 10));
    bench.params.max_batch_records = 50;
    bench.refuse("too many, overlap", b(9, 51), TelemetrySize);
    bench.refuse("same again", b(0, 10), TelemetryOverlap);
    bench.refuse("begins at the last number", b(9, 5), TelemetryOverlap);
    bench.accept(b(10, 50));
    bench.accept(b(100, 1));
    let head: ledger::records::TelemetryHead =
        load(&bench.state, &state_key::telemetry(&Cid::of("module-1"))).unwrap().unwrap();
    assert_eq!((head.last_seq, head.batches, head.records), (100, 3, 61));
}

#[test]
pub fn energy_rules() {
    let mut bench = Bench::running();
    let module_key = bound_key("module-1", "pack-1");
    let with = |kind, seq, mwh, change: &dyn Fn(&mut EnergyEvent)| {
        let mut e = energy(kind, 1, seq, mwh);
        change(&mut e);
        energy_with(&e, &pack_key())
    };
    use EnergyKind::{Charge, Discharge, Opening};
    let mut of_module = energy(Opening, 0, 0, 0);
    of_module.cid = Cid::of("module-1");
    bench.refuse("no pool, cycle 0", energy_with(&of_module, &module_key), EnergyPool);
    bench.accept(with(Discharge, 1, 100_000, &|_| {}));
    let rows = [
        ("opening with energy", with(Opening, 2, 0, &|e| e.mwh = 1), EnergyShape),
        ("opening with power", with(Opening, 2, 0, &|e| e.mean_mw = 1), EnergyShape),
        ("cycle 0, no time", with(Charge, 2, 5, &|e| (e.cycle, e.end_ms) = (0, e.start_ms)), EnergyShape),
        ("no time, wrong power", with(Charge, 2, 5, &|e| e.end_ms = e.start_ms), EnergyInterval),
        ("3 % off, old number", with(Charge, 1, 1000, &|e| e.mean_mw = 61_801), EnergyMismatch),
        ("3 % off below", with(Charge, 2, 1000, &|e| e.mean_mw = 58_199), EnergyMismatch),
        ("old number, overlap", with(Charge, 1, 5, &|_| {}), EnergySequence),
        ("older cycle", with(Charge, 1, 5, &|e| (e.cycle, e.seq) = (1, 0)), EnergySequence),
        ("overlap, too much", with(Discharge, 2, 500_001, &|e| e.start_ms -= 1), EnergyOverlap),
        ("beyond capacity", with(Discharge, 2, 500_001, &|_| {}), EnergyAtp),
        ("charge beyond capacity", with(Charge, 2, 500_001, &|_| {}), EnergyAdp),
        ("beyond charge and tolerance", with(Discharge, 2, 200_001, &|_| {}), EnergyAtp),
        ("beyond room and tolerance", with(Charge, 2, 400_001, &|_| {}), EnergyAdp),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let pool = |bench: &Bench| -> Pool {
        load(&bench.state, &state_key::pool(&Cid::of("pack-1"))).unwrap().unwrap()
    };
    assert_eq!(pool(&bench).atp, 150_000);
    bench.accept(with(Charge, 2, 1000, &|e| e.mean_mw = 61_200));
    bench.accept(with(Discharge, 3, 1, &|e| e.mean_mw = 120));
    bench.accept(with(Discharge, 4, 200_000, &|_| {}));
    let p = pool(&bench);
    assert_eq!((p.atp, p.untracked_charged), (0, 250_000 + 49_001), "the excess is booked, not lost");
    bench.refuse("the tolerance is per cycle, not per event", with(Discharge, 5, 1000, &|_| {}), EnergyAtp);
    bench.accept(with(Charge, 6, 500_000, &|_| {}));
    let close = |bench: &Bench, change: &dyn Fn(&mut CycleClose)| {
        let c: ledger::records::Cycle =
            load(&bench.state, &state_key::cycle(&Cid::of("pack-1"), 1)).unwrap().unwrap();
        let mut close = CycleClose {
            cid: Cid::of("pack-1"),
            cycle: 1,
            events: c.events,
            charged_mwh: c.charged,
            discharged_mwh: c.discharged,
            start_ms: c.start_ms,
            end_ms: c.end_ms,
        };
        change(&mut close);
        close_with(&close, &pack_key())
    };
    type Row = (&'static str, fn(&mut CycleClose), Rejection);
    let wrong: [Row; 6] = [
        ("unknown cycle, wrong sums", |c| (c.cycle, c.events) = (7, 0), CycleUnknown),
        ("events", |c| c.events += 1, CycleMismatch),
        ("charged", |c| c.charged_mwh -= 1, CycleMismatch),
        ("discharged", |c| c.discharged_mwh += 1, CycleMismatch),
        ("start", |c| c.start_ms -= 1, CycleMismatch),
        ("end", |c| c.end_ms += 1, CycleMismatch),
    ];
    for (what, change, expected) in wrong {
        let body = close(&bench, &change);
        bench.refuse(what, body, expected);
    }
    let body =
        close(&bench, &|c| assert_eq!((c.events, c.charged_mwh, c.discharged_mwh), (6, 501_000, 300_001)));
    bench.accept(body);
    let body = close(&bench, &|c| c.events = 0);
    bench.refuse("closed, wrong sums", body, CycleClosed);
    bench.refuse("event of a closed cycle, old number", with(Charge, 1, 5, &|_| {}), EnergyCycleClosed);
    let mut next = energy(Opening, 2, 0, 0);
    next.soc_ppm = 250_000;
    bench.accept(energy_with(&next, &pack_key()));
    let p = pool(&bench);
    assert_eq!(
        (p.atp, p.untracked_discharged),
        (125_000, 375_000),
        "a new cycle opens at its own state of charge"
    );
}

/// Anchors grow under each binding, a second hash for one number is told apart, and a new binding begins anew.
#[test]
pub fn audit_rules() {
    let mut bench = Bench::running();
    let module_key = bound_key("module-1", "pack-1");
    let point = |n, hash: u8| checkpoint_with("module-1", n, [hash; 32], &module_key);
    bench.refuse("of no entry", point(0, 1), StatementFormat);
    bench.refuse("of the pack", checkpoint_with("module-1", 5, [1; 32], &pack_key()), StatementSigner);
    assert_eq!(bench.send(1, point(5, 1)), None, "an operator may send it");
    bench.accept(point(9, 2));
    let rows = [
        ("two logs of 9 entries", point(9, 3), AuditForked),
        ("two logs of 5 entries", point(5, 3), AuditForked),
        ("once more", point(9, 2), AuditExists),
        ("once more, not the last", point(5, 1), AuditExists),
        ("between", point(7, 1), AuditSequence),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let mut late = Checkpoint { cid: Cid::of("module-1"), number: 10, hash: [4; 32], time: 0 };
    late.time = (bench.time_ms / 1000 + 301) as u32;
    let signature = module_key.sign_rfc6979(&late.digest());
    let statement = late.body().to_vec();
    let signed = Signed { statement, key: module_key.public(), signature };
    bench.refuse("future", Body::Checkpoint(signed.clone()), StatementTime);
    bench.refuse(
        "another length than was signed",
        Body::Checkpoint(Signed { statement: point_body(11), ..signed }),
        StatementSignature,
    );
    let (cid, binding) = (Cid::of("module-1"), binding_id("pack-1", "module-1"));
    let head: LogHead = load(&bench.state, &state_key::log(&cid, &binding)).unwrap().unwrap();
    assert_eq!((head.last, head.anchors), (9, 2));
    let anchor: Anchor = load(&bench.state, &state_key::anchor(&cid, &binding, 9)).unwrap().unwrap();
    assert_eq!((anchor.hash, anchor.key, anchor.height), ([2; 32], module_key.public(), bench.height));

    // A device that was reset has another binding, and a log that begins anew.
    let new = key("module-1 bound again");
    let id = BindingId([9; 16]);
    let owner = KeyRecord { cid, binding_id: id, from_height: 1, status: Status::Active };
    bench.state.put(state_key::signing_key(&new.public()), &owner);
    bench.accept(checkpoint_with("module-1", 2, [7; 32], &new));
    let head: LogHead = load(&bench.state, &state_key::log(&cid, &id)).unwrap().unwrap();
    assert_eq!((head.last, head.anchors), (2, 1));
    bench.accept(point(10, 4));
}

fn point_body(number: u64) -> Vec<u8> {
    Checkpoint { cid: Cid::of("module-1"), number, hash: [4; 32], time: 0 }.body().to_vec()
}
