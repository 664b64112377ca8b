//! Rebinding, bindings of the factory, ownership and witnesses: every rejection in its order, and what holds afterwards.
//!
//! Rules L110, L112 to L115 and L125.

use crate::world;

use lct::{
    attest::CertificateType,
    binding::BindingRecord,
    consent::Consent,
    id::{BindingId, Cid, PairingId, Role},
    ownership::{Transfer, hash_of},
    revocation::{Reason, batch_id},
    sign::{PublicKey, Signature, SigningKey},
    validation::{Access, Event, EventKind, Protocol},
};
use ledger::{
    codec::Canonical,
    records::{
        AccessPoint, Binding, Hop, Ownership, Pairing, SigningKey as KeyRecord, Status, Validation,
        key as state_key,
    },
    reject::Rejection::*,
    state::{View, load},
    tx::{Body, Signed, Target},
};
use world::{bench::*, *};

const NEW: (&str, Role) = ("module-2", Role::Module);

/// Changes what the device signed, the record and the token.
type Change<'a> = &'a dyn Fn(&mut Signed, &mut Vec<u8>, &mut Vec<u8>);
/// Who attests a signed event.
type Witnesses<'a> = &'a dyn Fn(&Signed) -> Vec<(Vec<u8>, PublicKey)>;

fn get<T: Canonical>(bench: &Bench, key: &[u8]) -> T {
    load(&bench.state, key).unwrap().unwrap()
}

fn pack_module() -> BindingId {
    binding_id("pack-1", "module-1")
}

/// Pack and module once more, with fresh keys.
fn again(id: u8) -> (BindingRecord, [SigningKey; 3]) {
    let keys = [key(&format!("again-a-{id}")), key(&format!("again-b-{id}")), key("authority")];
    let mut record = binding(PACK, MODULE);
    record.binding_id = BindingId([id; 16]);
    (record.entities[0].sign_pub, record.entities[1].sign_pub) = (keys[0].public(), keys[1].public());
    (record, keys)
}

fn each(keys: &[SigningKey; 3]) -> [&SigningKey; 3] {
    [&keys[0], &keys[1], &keys[2]]
}

#[test]
pub fn rebinding_rules() {
    let mut bench = Bench::running();
    bench.accept(register("module-2", Role::Module));
    bench.accept(pair("pack-1", "module-1", 7));
    let stranger = key("stranger");
    let nobody = [&stranger; 3];
    let (record, keys) = again(5);
    let old = pack_module();
    let change = |body: Body, f: Change<'_>| match body {
        Body::Rebind { mut record, signatures, mut token, mut replacement, owner } => {
            f(&mut replacement, &mut record, &mut token);
            Body::Rebind { record, signatures, token, replacement, owner }
        }
        other => other,
    };
    let by = |device: &str, seq, old| rebind_with(&record, nobody, (device, seq, old), None);
    let good = || by("module-1", 1, old);
    let late = {
        let e = Event::decode(&match good() {
            Body::Rebind { replacement, .. } => replacement.statement,
            _ => unreachable!(),
        })
        .unwrap();
        let e = Event { time_ms: Some(bench.time_ms + bench.params.max_future_ms + 1), ..e };
        change(good(), &|s, _, _| *s = signed_event(&e, &key("module-1")))
    };
    let rows = [
        (
            "no event, unknown",
            change(by("module-1", 1, BindingId([9; 16])), &|s, _, _| s.statement = vec![0xa0]),
            StatementFormat,
        ),
        (
            "no record, unknown",
            change(by("module-1", 1, BindingId([9; 16])), &|_, r, _| *r = vec![1]),
            StatementFormat,
        ),
        ("unknown, by somebody else", by("app-1", 1, BindingId([9; 16])), RebindUnknown),
        ("device of neither, no token", change(by("app-1", 1, old), &|_, _, t| t.clear()), RebindParties),
        ("shares no side", rebind_with(&binding(APP, NEW), nobody, ("app-1", 1, old), None), RebindParties),
        ("another record than the device named", change(good(), &|_, r, _| r[201] ^= 2), RebindParties),
        (
            "no token, not the device",
            change(good(), &|s, _, t| {
                t[60] ^= 1;
                s.signature.0[3] ^= 1
            }),
            RebindToken,
        ),
        (
            "token of the pack for the module",
            change(good(), &|_, _, t| {
                if let Body::Rebind { token, .. } = by("pack-1", 1, old) {
                    *t = token
                }
            }),
            RebindToken,
        ),
        ("not the device", change(good(), &|s, _, _| s.signature.0[3] ^= 1), RebindProof),
        (
            "the device under its signing key",
            change(good(), &|s, _, _| {
                let e = Event::decode(&s.statement).unwrap();
                *s = signed_event(&e, &bound_key("module-1", "pack-1"));
            }),
            RebindProof,
        ),
        (
            "an owner where there is none",
            rebind_with(&record, nobody, ("module-1", 1, old), Some(&stranger)),
            RebindOwner,
        ),
        ("future, nobody signed", late, StatementTime),
        ("nobody signed", good(), BindingProofA),
        (
            "no authority",
            rebind_with(&record, [&keys[0], &keys[1], &stranger], ("module-1", 1, old), None),
            BindingAuthority,
        ),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    bench.accept(rebind_with(&record, each(&keys), ("module-1", 1, old), None));
    let status = |bench: &Bench, id: &BindingId| get::<Binding>(bench, &state_key::binding(id)).status;
    assert_eq!(status(&bench, &old), Status::Revoked);
    assert_eq!(status(&bench, &record.binding_id), Status::Active);
    let pairing: Pairing = get(&bench, &state_key::pairing(&PairingId([7; 16])));
    assert_eq!(pairing.status, Status::Revoked, "in the same record");
    let old_key = bound_key("module-1", "pack-1").public();
    assert_eq!(get::<KeyRecord>(&bench, &state_key::signing_key(&old_key)).status, Status::Revoked);

    let (other, others) = again(8);
    let twice = rebind_with(&other, each(&others), ("module-1", 2, old), None);
    bench.refuse("replaced before", twice, RebindRepeated);
    let replayed = rebind_with(&other, each(&others), ("module-1", 1, record.binding_id), None);
    bench.refuse("a number from before", replayed, EventReplay);

    // What was withdrawn by itself may be replaced too, as after the loss of a device's keys.
    bench.accept(Body::Revoke {
        target: Target::Binding(record.binding_id),
        reason: Reason::KeyCompromise as u8,
    });
    bench.accept(transfer_with(&first_hop("module-1", "owner"), [&key("batch"), &key("owner")]));
    let (maker, owner) = (key("batch"), key("owner"));
    let with = |owner| rebind_with(&other, each(&others), ("module-1", 2, record.binding_id), owner);
    bench.refuse("without its owner", with(None), RebindOwner);
    bench.refuse("by a former owner", with(Some(&maker)), RebindOwner);
    bench.accept(with(Some(&owner)));
    // Agreed ahead, to another binding with this partner, and for a while: of that the owner of that time is asked.
    let old = other.binding_id;
    let (third, thirds) = again(9);
    let with = || rebind_with(&third, each(&thirds), ("module-1", 4, old), None);
    let agree = |bench: &Bench, (hop, number), partner: &str, ahead_ms| {
        let until_ms = bench.time_ms + ahead_ms;
        consent_with(&Consent { until_ms, hop, number, ..consent_to("module-1", old, partner) }, &owner)
    };
    bench.accept(agree(&bench, (1, 1), "module-2", 60_000));
    bench.refuse("agreed to another partner", with(), RebindOwner);
    let long = agree(&bench, (1, 2), "pack-1", 60_000);
    bench.accept(long.clone());
    bench.refuse("the same again", long.clone(), ConsentNumber);
    bench.accept(agree(&bench, (1, 7), "pack-1", 1_000));
    bench.time_ms += 5_000;
    bench.refuse("agreed for a time that is over", with(), RebindOwner);
    bench.refuse("what was shortened, brought again", long, ConsentNumber);
    bench.accept(agree(&bench, (1, 8), "pack-1", 60_000));
    let sold = |before: &Transfer, from: &SigningKey, to: &SigningKey| Transfer {
        hop: before.hop + 1,
        previous: hash_of(&transfer_bytes(before)),
        from: from.public(),
        to: to.public(),
        ..*before
    };
    let second = sold(&first_hop("module-1", "owner"), &owner, &maker);
    bench.accept(transfer_with(&second, [&owner, &maker]));
    bench.refuse("agreed by a former owner", with(), RebindOwner);
    bench.accept(transfer_with(&sold(&second, &maker, &owner), [&maker, &owner]));
    bench.refuse("agreed before it was sold and came back", with(), RebindOwner);
    bench.refuse("for the time before", agree(&bench, (1, 9), "pack-1", 60_000), ConsentOwner);
    bench.accept(agree(&bench, (3, 1), "pack-1", 60_000));
    bench.accept(with());
    let other = third;

    // A module is exchanged for another one: the pack asks.
    let swap = binding(PACK, NEW);
    let signers = [bound_key("pack-1", "module-2"), bound_key("module-2", "pack-1"), key("authority")];
    bench.accept(rebind_with(&swap, each(&signers), ("pack-1", 1, other.binding_id), None));
    assert_eq!(status(&bench, &other.binding_id), Status::Revoked);
    assert_eq!(status(&bench, &swap.binding_id), Status::Active);
    assert_eq!(bench.state.get(&state_key::replaced(&other.binding_id)).unwrap().unwrap(), swap.binding_id.0);
}

/// What an owner agrees to (L125).
#[test]
pub fn consent_rules() {
    let mut bench = Bench::running();
    bench.accept(register("module-2", Role::Module));
    bench.accept(register("module-3", Role::Module));
    bench.accept(Body::Revoke {
        target: Target::Component(Cid::of("module-3")),
        reason: Reason::Retired as u8,
    });
    bench.accept(transfer_with(&first_hop("module-1", "owner"), [&key("batch"), &key("owner")]));
    let (owner, stranger) = (key("owner"), key("stranger"));
    let now = bench.time_ms;
    let good = Consent { until_ms: now + 60_000, ..consent_to("module-1", pack_module(), "pack-1") };
    let elsewhere = binding_id("app-1", "pack-1");
    let row = |change: &dyn Fn(&mut Consent)| {
        let mut consent = good;
        change(&mut consent);
        consent_with(&consent, &stranger)
    };
    let garbage = Body::Consent { statement: vec![0xa0], signature: Signature([0; 64]) };
    let days = 90 * 86_400_000;
    let rows = [
        ("damaged", garbage, StatementFormat),
        (
            "other chain, unknown",
            row(&|c| (c.chain_id, c.binding) = ([1; 32], BindingId([9; 16]))),
            ConsentChain,
        ),
        (
            "unknown, with itself",
            row(&|c| (c.binding, c.partner) = (BindingId([9; 16]), c.cid)),
            ConsentBinding,
        ),
        ("of others", row(&|c| c.binding = elsewhere), ConsentBinding),
        ("with itself", row(&|c| c.partner = c.cid), ConsentPartner),
        ("with nobody", row(&|c| c.partner = Cid([9; 16])), ConsentPartner),
        ("with what is retired", row(&|c| c.partner = Cid::of("module-3")), ConsentPartner),
        (
            "without owner, over",
            row(&|c| (c.cid, c.partner, c.until_ms) = (c.partner, c.cid, now)),
            ConsentOwner,
        ),
        ("for another hop, over", row(&|c| (c.hop, c.until_ms) = (2, now)), ConsentOwner),
        ("over", row(&|c| c.until_ms = now), ConsentTime),
        ("for long", row(&|c| c.until_ms = now + days + 60_000), ConsentTime),
        ("by somebody else", row(&|_| ()), ConsentProof),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    assert_eq!(bench.send(1, consent_with(&good, &owner)), None, "anybody brings it");
    let agreed: ledger::records::Consent =
        get(&bench, &state_key::consent(&Cid::of("module-1"), &pack_module()));
    assert_eq!((agreed.owner, agreed.until_ms), (owner.public(), good.until_ms));
    bench.refuse("as before, over", row(&|c| c.until_ms = now), ConsentNumber);
}

#[test]
pub fn factory_rules() {
    let mut bench = Bench::new();
    for (id, role) in [PACK, MODULE] {
        bench.accept(register(id, role));
    }
    bench.accept(register_of("module-2", Role::Module, "batch-2"));
    let made = |a, b, batch: Vec<u8>, signers: [&SigningKey; 3], time: u32| {
        let mut record = binding(a, b);
        record.time = time;
        let signatures = signers.map(|k| k.sign_rfc6979(&record.digest()));
        Body::FactoryBind { record: record.encode().to_vec(), signatures, batch }
    };
    let now = (START_MS / 1000) as u32;
    let stranger = key("stranger");
    let nobody = [&stranger; 3];
    let batch = || batch_certificate("root").0.to_vec();
    let device = certificate(CertificateType::Device, "x", Role::Pack, key("batch").public(), &key("root"));
    let rows = [
        ("certificate damaged", made(PACK, MODULE, vec![1], nobody, now), StatementFormat),
        (
            "other root, other batch",
            made(PACK, NEW, batch_certificate("stranger").0.to_vec(), nobody, now),
            AttestRoot,
        ),
        ("a device as batch", made(PACK, MODULE, device.0.to_vec(), nobody, now), AttestRoot),
        ("after its time, other batch", made(PACK, NEW, batch(), nobody, now + 86_400), AttestTime),
        ("module of another batch", made(PACK, NEW, batch(), nobody, now), FactoryBatch),
        ("unknown module", made(PACK, ("nobody", Role::Module), batch(), nobody, now), BindingComponent),
        ("nobody signed", made(PACK, MODULE, batch(), nobody, now), BindingProofA),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let (a, b) = (bound_key("pack-1", "module-1"), bound_key("module-1", "pack-1"));
    let authority = key("authority");
    let by_hand = made(PACK, MODULE, batch(), [&a, &b, &authority], now);
    bench.refuse("the authority in the factory's place", by_hand, BindingAuthority);
    let good = || made(PACK, MODULE, batch(), [&a, &b, &key("batch")], now);
    let mut revoked = Bench::new();
    for (id, role) in [PACK, MODULE] {
        revoked.accept(register(id, role));
    }
    let target = Target::Batch(batch_id(&key("batch").public()));
    revoked.accept(Body::Revoke { target, reason: Reason::Lost as u8 });
    revoked.refuse("a revoked factory", good(), AttestRevoked);
    // Long after: what counts is when the factory signed, and anybody may bring it.
    bench.time_ms += 30 * 86_400_000;
    assert_eq!(bench.send(1, good()), None);
    let binding: Binding = get(&bench, &state_key::binding(&pack_module()));
    assert_eq!(binding.status, Status::Active);
}

#[test]
pub fn ownership_rules() {
    let mut bench = Bench::running();
    bench.accept(pair("pack-1", "module-1", 7));
    let first = first_hop("pack-1", "owner-1");
    let (factory, stranger) = (key("batch"), key("stranger"));
    let with = |change: &dyn Fn(&mut Transfer), signers: [&SigningKey; 2]| {
        let mut t = first;
        change(&mut t);
        transfer_with(&t, signers)
    };
    let nobody = [&stranger; 2];
    let garbage = Body::Transfer { statement: vec![0xa0], signatures: [Signature([0; 64]); 2] };
    let future = bench.time_ms + bench.params.max_future_ms + 1;
    let rows = [
        ("damaged", garbage, StatementFormat),
        (
            "other chain, unknown",
            with(&|t| (t.chain_id, t.cid) = ([1; 32], Cid([9; 16])), nobody),
            OwnerChain,
        ),
        ("unknown", with(&|t| (t.cid, t.lct) = (Cid([9; 16]), [0; 32]), nobody), OwnerComponent),
        (
            "other LCT, not the maker's to give",
            with(&|t| (t.lct, t.from) = ([0; 32], t.to), nobody),
            OwnerLct,
        ),
        (
            "not the maker's to give, hop 2",
            with(&|t| (t.from, t.hop) = (key("x").public(), 2), nobody),
            OwnerDenied,
        ),
        ("hop 2, to itself", with(&|t| (t.hop, t.to) = (2, t.from), nobody), OwnerSequence),
        ("after something", with(&|t| t.previous = [1; 32], nobody), OwnerSequence),
        ("to itself, future", with(&|t| (t.to, t.time_ms) = (t.from, future), nobody), OwnerSame),
        ("future", with(&|t| t.time_ms = future, nobody), OwnerTime),
        ("nobody signed", with(&|_| (), nobody), OwnerProof),
        ("not taken", with(&|_| (), [&factory, &stranger]), OwnerProofTo),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let owners = ["owner-1", "operator", "owner-3"].map(key);
    assert_eq!(bench.send(1, with(&|_| (), [&factory, &owners[0]])), None, "anybody brings it");
    let ended: Pairing = get(&bench, &state_key::pairing(&PairingId([1; 16])));
    assert_eq!(ended.status, Status::Revoked, "what an app of before may do has ended");
    let kept: Pairing = get(&bench, &state_key::pairing(&PairingId([7; 16])));
    assert_eq!(kept.status, Status::Active, "the pack and its modules go on");
    assert_eq!(
        get::<Binding>(&bench, &state_key::binding(&binding_id("app-1", "pack-1"))).status,
        Status::Active
    );

    let next = |before: &Transfer, from: &SigningKey, to: &SigningKey| Transfer {
        hop: before.hop + 1,
        previous: hash_of(&transfer_bytes(before)),
        from: from.public(),
        to: to.public(),
        ..*before
    };
    bench.refuse("once more by the maker", with(&|_| (), [&factory, &owners[0]]), OwnerDenied);
    let second = next(&first, &owners[0], &owners[1]);
    let detached = Transfer { previous: [7; 32], ..second };
    bench.refuse("after another hop", transfer_with(&detached, [&owners[0], &owners[1]]), OwnerSequence);
    bench.accept(transfer_with(&second, [&owners[0], &owners[1]]));
    let target = |t| Body::Revoke { target: t, reason: Reason::Lost as u8 };
    // The operator's account owns the pack now, and nothing else.
    assert_eq!(bench.send(1, target(Target::Component(Cid::of("module-1")))), Some(RevokeDenied));
    assert_eq!(bench.send(1, target(Target::Pairing(PairingId([7; 16])))), None);
    assert_eq!(bench.send(1, target(Target::SigningKey(bound_key("pack-1", "module-1").public()))), None);
    assert_eq!(bench.send(1, target(Target::Binding(binding_id("app-1", "pack-1")))), None);
    let third = next(&second, &owners[1], &owners[2]);
    bench.accept(transfer_with(&third, [&owners[1], &owners[2]]));
    assert_eq!(bench.send(1, target(Target::Component(Cid::of("pack-1")))), Some(RevokeDenied), "given away");

    // Every hop can be followed from the owner of today to the maker.
    let today: Ownership = get(&bench, &state_key::ownership(&Cid::of("pack-1")));
    assert_eq!((today.owner, today.hops), (owners[2].public(), 3));
    assert_eq!(today.last, hash_of(&transfer_bytes(&third)));
    let mut owner = today.owner;
    for number in (1..=3).rev() {
        let hop: Hop = get(&bench, &state_key::hop(&Cid::of("pack-1"), number));
        assert_eq!(hop.to, owner);
        owner = hop.from;
    }
    assert_eq!(owner, factory.public());
    bench.accept(target(Target::Component(Cid::of("pack-1"))));
    let fourth = next(&third, &owners[2], &owners[0]);
    bench.refuse("revoked", transfer_with(&fourth, [&owners[2], &owners[0]]), OwnerComponent);
}

/// What a side says of a relation that stands (L115): recorded, its own, in force, the same.
#[test]
pub fn relation_rules() {
    let mut bench = Bench::running();
    let now = bench.time_ms;
    let app_pack = binding_id("app-1", "pack-1");
    let made = |kind, id: &str, seq, parts: [&[u8]; 2]| Event {
        time_ms: Some(now),
        ..event(kind, id, seq, &parts.concat())
    };
    let body = |e: &Event, signer: &SigningKey| Body::Validate {
        signed: signed_event(e, signer),
        witnesses: vec![],
    };
    let app = bound_key("app-1", "pack-1");
    let other = bound_key("pack-1", "module-1");
    let record = lct::hash::sha256(&[&binding(APP, PACK).encode()]);
    use EventKind::{
        BindingEstablishment as Bound, BindingVerification as Checked, PairingCompletion as Paired,
    };
    let rows = [
        ("unknown pairing", made(Paired, "app-1", 5, [&[9; 16], &[0; 32]]), &app, ValidationRelation),
        ("unknown binding", made(Bound, "app-1", 5, [&[9; 16], &record]), &app, ValidationRelation),
        (
            "pairing of others, by the pack's other key",
            made(Paired, "pack-1", 5, [&[1; 16], &[0; 32]]),
            &other,
            ValidationSide,
        ),
        (
            "binding of others, another record",
            made(Bound, "pack-1", 5, [&app_pack.0, &[0; 32]]),
            &other,
            ValidationSide,
        ),
        ("another record", made(Bound, "app-1", 5, [&app_pack.0, &[0; 32]]), &app, ValidationRecord),
    ];
    for (what, event, signer, expected) in rows {
        bench.refuse(what, body(&event, signer), expected);
    }
    for (seq, event) in [
        (5, made(Bound, "app-1", 5, [&app_pack.0, &record])),
        (6, made(Paired, "app-1", 6, [&[1; 16], &[0; 32]])),
        (7, made(Checked, "app-1", 7, [&app_pack.0, &[8; 32]])),
        (8, made(EventKind::SignedHandshake, "app-1", 8, [&[3; 32], &[]])),
    ] {
        bench.accept(body(&event, &app));
        let v: Validation = get(&bench, &state_key::validation(&Cid::of("app-1"), 1, seq));
        assert_eq!((v.kind, v.witnesses), (event.kind as u8, 0));
    }
    bench.refuse("again", body(&made(Checked, "app-1", 7, [&app_pack.0, &[8; 32]]), &app), EventReplay);
    bench.accept(Body::Revoke { target: Target::Pairing(PairingId([1; 16])), reason: 2 });
    let ended = made(Paired, "app-1", 9, [&[1; 16], &[0; 32]]);
    bench.refuse("a pairing that was withdrawn", body(&ended, &app), ValidationEnded);
}

#[test]
pub fn witness_rules() {
    let mut bench = Bench::running();
    let module_key = bound_key("module-1", "pack-1");
    let now = bench.time_ms;
    let most = bench.params.max_future_ms;
    let made =
        |kind, seq, payload: &[u8]| Event { time_ms: Some(now), ..event(kind, "module-1", seq, payload) };
    let fault = made(EventKind::Fault, 5, b"cell 3");
    let body = |e: &Event, signer: &SigningKey, witnesses: Witnesses<'_>| {
        let signed = signed_event(e, signer);
        let witnesses = witnesses(&signed);
        Body::Validate { signed, witnesses }
    };
    let none = |_: &Signed| vec![];
    let (pack, app) = (bound_key("pack-1", "module-1"), bound_key("app-1", "pack-1"));
    let seen = |time| {
        let pack = pack.clone();
        move |s: &Signed| vec![attest(s, "pack-1", time, &pack)]
    };
    let stranger = key("stranger");
    let session = event(EventKind::PairedHandshake, "module-1", 5, &[0; 48]);
    bench.params.witness_quorum = 2;
    let alone = made(EventKind::Announce, 5, &[0, 0]);
    let rows = [
        ("another level, unknown key", body(&session, &stranger, &none), StatementFormat),
        ("unknown key, no witness", body(&fault, &stranger, &none), StatementKeyUnknown),
        ("no witness", body(&fault, &module_key, &none), WitnessQuorum),
        ("one witness of two", body(&fault, &module_key, &seen(now)), WitnessQuorum),
        ("a witness where none belongs", body(&alone, &module_key, &seen(now)), WitnessQuorum),
        (
            "one witness twice, damaged",
            body(&fault, &module_key, &|s| {
                let one = attest(s, "pack-1", now, &pack);
                vec![one.clone(), (vec![2], one.1)]
            }),
            WitnessFormat,
        ),
        (
            "one witness twice",
            body(&fault, &module_key, &|s| vec![attest(s, "pack-1", now, &pack); 2]),
            WitnessSelf,
        ),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    bench.params.witness_quorum = 1;
    let own = |s: &Signed| {
        let (mut bytes, key) = attest(s, "pack-1", now, &module_key);
        bytes[1..17].copy_from_slice(&Cid::of("module-1").0);
        vec![(bytes, key)]
    };
    let rows = [
        ("its own witness", body(&fault, &module_key, &own), WitnessSelf),
        (
            "key of nobody, bad signature",
            body(&fault, &module_key, &|s| vec![attest(s, "pack-1", 0, &stranger)]),
            WitnessKey,
        ),
        ("key of another", body(&fault, &module_key, &|s| vec![attest(s, "pack-1", 0, &app)]), WitnessKey),
        (
            "bad signature, too early",
            body(&fault, &module_key, &|s| {
                let mut one = attest(s, "pack-1", 0, &pack);
                one.0[88] ^= 1;
                vec![one]
            }),
            WitnessVerify,
        ),
        ("before it was made", body(&fault, &module_key, &seen(now - most - 1)), WitnessTime),
        ("in the future", body(&fault, &module_key, &seen(now + most + 1)), WitnessTime),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let two =
        body(&fault, &module_key, &|s| vec![attest(s, "pack-1", now, &pack), attest(s, "app-1", now, &app)]);
    assert_eq!(bench.send(1, two), None, "anybody passes on what was seen");
    let v: Validation = get(&bench, &state_key::validation(&Cid::of("module-1"), 1, 5));
    assert_eq!((v.kind, v.witnesses, v.digest), (0x22, 2, fault.digest().unwrap()));
    bench.refuse("seen before, no witness", body(&fault, &module_key, &none), EventReplay);

    // A newer announce supersedes an older endpoint; a witness whose binding is gone is none.
    let at = |seq, endpoint: &str| Event {
        access: Some(Access {
            protocol: Protocol::Can,
            endpoint: endpoint.try_into().unwrap(),
            device: "0x100".try_into().unwrap(),
        }),
        ..made(EventKind::Announce, seq, &[0, 0])
    };
    for (seq, endpoint) in [(6, "can1"), (9, "can0")] {
        bench.accept(body(&at(seq, endpoint), &module_key, &none));
    }
    bench.refuse("held back", body(&at(8, "can7"), &module_key, &none), EventReplay);
    let access: AccessPoint = get(&bench, &state_key::access(&Cid::of("module-1")));
    assert_eq!((access.endpoint.as_str(), access.seq), ("can0", 9));
    bench.accept(Body::Revoke { target: Target::Binding(binding_id("app-1", "pack-1")), reason: 2 });
    let by_app = |s: &Signed| vec![attest(s, "app-1", now, &app)];
    let later = made(EventKind::Fault, 10, b"x");
    bench.refuse("a witness that is bound to nobody", body(&later, &module_key, &by_app), WitnessKey);
}
