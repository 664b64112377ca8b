//! Revocation and leases: every rejection in its order, and what is left in force.
//!
//! Rules L100 to L106.

use crate::world;

use lct::{
    binding::Assurance,
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role},
    lifecycle::State,
    pairing::{TERMS_MAX, Terms},
    revocation::{Reason, batch_id},
    sign::SigningKey,
    validation::{Event, EventKind},
};
use ledger::{
    codec::Canonical,
    records::{
        Account, Binding, Bindings, Component, DeviceKey, Lct, LctStatus, MAX_BINDINGS, MAX_PAIRINGS,
        Pairing, Pairings, Revocation, SigningKey as KeyRecord, Status, Usage, Validation, key as state_key,
    },
    reject::Rejection::*,
    state::load,
    tx::{Body, Paired, Signed, Target},
};
use world::{bench::*, *};

const DAY: u32 = 86_400;

fn get<T: Canonical>(bench: &Bench, key: &[u8]) -> T {
    load(&bench.state, key).unwrap().unwrap()
}

fn revoke(target: Target) -> Body {
    Body::Revoke { target, reason: Reason::Lost as u8 }
}

fn pairing_id(id: u8) -> PairingId {
    PairingId([id; 16])
}

fn app_pack() -> BindingId {
    binding_id("app-1", "pack-1")
}

/// An event of the app by which it withdraws `id`.
fn withdrawal(kind: EventKind, seq: u32, id: [u8; 16]) -> Event {
    event(kind, "app-1", seq, &[&id[..], &[Reason::Retired as u8]].concat())
}

fn app_key() -> SigningKey {
    bound_key("app-1", "pack-1")
}

fn status_of(bench: &Bench, binding: &BindingId) -> [Status; 4] {
    let b: Binding = get(bench, &state_key::binding(binding));
    let key = |k| get::<KeyRecord>(bench, &state_key::signing_key(k)).status;
    let listed = get::<Bindings>(bench, &state_key::bindings_of(&b.b)).0.contains(binding);
    [b.status, key(&b.key_a), key(&b.key_b), if listed { Status::Active } else { Status::Revoked }]
}

#[test]
pub fn a_side_withdraws_what_its_key_is_for() {
    use EventKind::{BindingRevocation, PairingRevocation};
    let mut bench = Bench::running();
    let (module, stranger) = (bound_key("pack-1", "module-1"), key("stranger"));
    let by = |e: &Event, key: &SigningKey| Body::RevokeSigned(signed_event(e, key));
    let known = withdrawal(PairingRevocation, 5, [1; 16]);
    let mut reasonless = known.clone();
    reasonless.payload[16] = 99;
    let mut pack = known.clone();
    pack.cid = Cid::of("pack-1");
    let late = Event { time_ms: Some(bench.time_ms + bench.params.max_future_ms + 1), ..known.clone() };
    let damaged = Signed { statement: vec![0xa0], ..signed_event(&known, &stranger) };
    let mut forged = signed_event(&late, &app_key());
    forged.signature.0[8] ^= 1;
    let fault = event(EventKind::Fault, "app-1", 5, b"x");
    let rows = [
        ("damaged, unknown key", Body::RevokeSigned(damaged), StatementFormat),
        ("a fault withdraws nothing, unknown key", by(&fault, &stranger), RevokeShape),
        ("no reason, unknown key", by(&reasonless, &stranger), RevokeShape),
        ("unknown key", by(&late, &stranger), StatementKeyUnknown),
        ("key of the app for the pack", by(&pack, &app_key()), StatementSigner),
        ("bad signature, future", Body::RevokeSigned(forged), StatementSignature),
        ("future", by(&late, &app_key()), StatementTime),
        ("unknown pairing", by(&withdrawal(PairingRevocation, 5, [9; 16]), &app_key()), RevokeUnknown),
        ("unknown binding", by(&withdrawal(BindingRevocation, 5, [9; 16]), &app_key()), RevokeUnknown),
        (
            "binding of others",
            by(&withdrawal(BindingRevocation, 5, binding_id("pack-1", "module-1").0), &app_key()),
            RevokeDenied,
        ),
        ("pairing of others, by the pack's other key", by(&pack, &module), RevokeDenied),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    assert_eq!(bench.send(1, by(&known, &app_key())), None, "anyone passes on what a side signed");
    assert_eq!(get::<Pairing>(&bench, &state_key::pairing(&pairing_id(1))).status, Status::Revoked);
    assert_eq!(status_of(&bench, &app_pack()), [Status::Active; 4], "the binding stays");
    bench.refuse("the same event again", by(&known, &app_key()), EventReplay);
    bench.refuse(
        "an event from before, unknown pairing",
        by(&withdrawal(PairingRevocation, 4, [9; 16]), &app_key()),
        EventReplay,
    );
    bench.refuse("again", by(&withdrawal(PairingRevocation, 6, [1; 16]), &app_key()), RevokeRepeated);

    bench.accept(pair("app-1", "pack-1", 2));
    bench.accept(by(&withdrawal(BindingRevocation, 7, app_pack().0), &app_key()));
    assert_eq!(status_of(&bench, &app_pack()), [Status::Revoked; 4]);
    assert_eq!(get::<Pairing>(&bench, &state_key::pairing(&pairing_id(2))).status, Status::Revoked);
    assert_eq!(
        get::<Revocation>(&bench, &state_key::revocation(&Target::Pairing(pairing_id(2)))).reason,
        Reason::Retired as u8
    );
    bench.refuse(
        "a later word under a key that is out of force",
        by(&withdrawal(BindingRevocation, 8, app_pack().0), &app_key()),
        StatementKeyRevoked,
    );
    let charge = energy(lct::energy::EnergyKind::Charge, 1, 1, 10);
    bench.refuse("the pack's key went too", energy_with(&charge, &pack_key()), StatementKeyRevoked);
    bench.refuse("no pairing under it", pair("app-1", "pack-1", 3), PairingBindingRevoked);
    let other = status_of(&bench, &binding_id("pack-1", "module-1"));
    assert_eq!(other, [Status::Active; 4], "what others agreed on stays");
}

#[test]
pub fn an_account_withdraws_what_its_role_allows() {
    let mut bench = Bench::running();
    let unknown = [
        Target::Component(Cid([9; 16])),
        Target::Binding(BindingId([9; 16])),
        Target::Pairing(pairing_id(9)),
        Target::SigningKey(key("stranger").public()),
        Target::Account(key("stranger").public()),
    ];
    for target in unknown {
        bench.refuse("no reason, unknown", Body::Revoke { target, reason: 9 }, RevokeShape);
        bench.refuse(target.name(), revoke(target), RevokeUnknown);
    }
    let [authority, operator] = ["authority", "operator"].map(|n| key(n).public());
    bench.refuse("an authority itself", revoke(Target::Account(authority)), RevokeDenied);
    for target in [
        Target::Component(Cid::of("pack-1")),
        Target::Binding(app_pack()),
        Target::Pairing(pairing_id(1)),
        Target::SigningKey(pack_key().public()),
        Target::Batch(batch_id(&key("batch").public())),
        Target::Account(authority),
    ] {
        assert_eq!(bench.send(1, revoke(target)), Some(RevokeDenied), "an operator: {}", target.name());
    }
    assert_eq!(bench.send(1, revoke(Target::Account(operator))), None, "an operator itself");
    assert_eq!(get::<Account>(&bench, &state_key::account(&operator)).status, Status::Revoked);
    assert_eq!(bench.send(1, register("module-7", Role::Module)), Some(UnknownSigner));
    bench.refuse("an account twice", revoke(Target::Account(operator)), RevokeRepeated);

    let batch = Target::Batch(batch_id(&key("batch").public()));
    bench.accept(revoke(batch));
    bench.refuse("a batch twice", revoke(batch), RevokeRepeated);
    bench.refuse("a device of that batch", register("module-2", Role::Module), AttestRevoked);

    bench.accept(revoke(Target::Pairing(pairing_id(1))));
    bench.refuse("a pairing twice", revoke(Target::Pairing(pairing_id(1))), RevokeRepeated);
    let signing = Target::SigningKey(pack_key().public());
    bench.accept(revoke(signing));
    assert_eq!(status_of(&bench, &app_pack()), [Status::Revoked; 4], "a binding is worth both keys");
    bench.refuse("a key twice", revoke(signing), RevokeRepeated);
    bench.refuse("its binding", revoke(Target::Binding(app_pack())), RevokeRepeated);
}

#[test]
pub fn a_withdrawn_component_is_out_of_everything() {
    let mut bench = Bench::running();
    let pack = Cid::of("pack-1");
    bench.accept(revoke(Target::Component(pack)));
    let c: Component = get(&bench, &state_key::component(&pack));
    assert_eq!((c.status, c.bindings), (State::Revoked, 0));
    assert_eq!(get::<DeviceKey>(&bench, &state_key::device_key(&c.device_key)).status, Status::Revoked);
    assert_eq!(get::<Lct>(&bench, &state_key::lct(&c.lct)).status, LctStatus::Terminated);
    for binding in [app_pack(), binding_id("pack-1", "module-1")] {
        assert_eq!(status_of(&bench, &binding), [Status::Revoked; 4]);
    }
    assert_eq!(get::<Pairing>(&bench, &state_key::pairing(&pairing_id(1))).status, Status::Revoked);
    assert_eq!(get::<Component>(&bench, &state_key::component(&Cid::of("module-1"))).bindings, 0);
    bench.refuse("twice", revoke(Target::Component(pack)), RevokeRepeated);
    let mut again = binding(APP, PACK);
    again.binding_id = BindingId([5; 16]);
    let keys = [key("new-a"), key("new-b"), key("authority")];
    (again.entities[0].sign_pub, again.entities[1].sign_pub) = (keys[0].public(), keys[1].public());
    let bind = |r: &_| bind_with(r, [&keys[0], &keys[1], &keys[2]]);
    bench.refuse("bound again", bind(&again), BindingComponent);
    let lct = Body::LctCreate { a: pack, b: Cid::of("app-1"), context: "energy".into() };
    bench.refuse("related again", lct, LctComponent);
}

/// Withdrawn, two may be bound anew, and only the new binding is in force.
#[test]
fn two_are_bound_again_after_their_binding_was_withdrawn() {
    let mut bench = Bench::running();
    bench.accept(revoke(Target::Binding(app_pack())));
    let keys = [key("new-a"), key("new-b"), key("authority")];
    let mut again = binding(APP, PACK);
    again.binding_id = BindingId([5; 16]);
    again.assurance = Assurance::Plain;
    (again.entities[0].sign_pub, again.entities[1].sign_pub) = (keys[0].public(), keys[1].public());
    bench.accept(bind_with(&again, [&keys[0], &keys[1], &keys[2]]));
    assert_eq!(status_of(&bench, &again.binding_id), [Status::Active; 4]);
    assert_eq!(status_of(&bench, &app_pack()), [Status::Revoked; 4]);
    assert_eq!(get::<Component>(&bench, &state_key::component(&Cid::of("app-1"))).bindings, 1);
}

#[test]
pub fn a_component_has_room_for_so_many_bindings_and_a_binding_for_so_many_pairings() {
    let mut bench = Bench::running();
    let full = Bindings((0..MAX_BINDINGS as u8).map(|n| BindingId([n; 16])).collect());
    bench.accept(register("module-2", Role::Module));
    let before: Bindings = get(&bench, &state_key::bindings_of(&Cid::of("pack-1")));
    bench.state.put(state_key::bindings_of(&Cid::of("pack-1")), &full);
    bench.refuse("no room", bind(PACK, ("module-2", Role::Module)), BindingLimit);
    bench.state.put(state_key::bindings_of(&Cid::of("pack-1")), &before);
    bench.accept(bind(PACK, ("module-2", Role::Module)));

    let short = |id| pair_with("app-1", "pack-1", id, 60, [&app_key(), &pack_key(), &key("authority")]);
    for id in 2..=MAX_PAIRINGS as u8 {
        bench.accept(short(id));
    }
    bench.refuse("no room", short(99), PairingLimit);
    bench.time_ms += 60_000;
    bench.accept(short(99));
    let live: Pairings = get(&bench, &state_key::pairings_of(&app_pack()));
    assert_eq!(live.0, [pairing_id(1), pairing_id(99)], "what has ended makes room");
}

/// The bytes of an order, written by hand from L21.
#[test]
fn an_order_has_the_bytes_of_the_specification() {
    let body = Body::Revoke { target: Target::Pairing(pairing_id(7)), reason: 2 };
    let mut bytes = vec![0xa5, 0, 1, 1, 17, 2, 3, 3, 0x50];
    bytes.extend([7; 16]);
    bytes.extend([4, 2]);
    assert_eq!(body.to_bytes(), bytes);
    assert_eq!(Body::from_bytes(&bytes), Ok(body));
    let other = Body::Revoke { target: Target::Account(key("operator").public()), reason: 0 };
    assert_eq!(Body::from_bytes(&other.to_bytes()), Ok(other));
    bytes[6] = 8;
    assert!(Body::from_bytes(&bytes).is_err(), "unknown code");
    bytes[6] = 5;
    assert!(Body::from_bytes(&bytes).is_err(), "a key of 16 bytes");
}

fn renewal(id: u8, renews: u8, max_uses: u32, operations: u8) -> Body {
    let signers = [&app_key(), &pack_key(), &key("authority")];
    let paired = paired("app-1", "pack-1", id, 90 * DAY, signers);
    Body::PairRenew { paired, renews: pairing_id(renews), max_uses, operations }
}

#[test]
pub fn renewal_rules() {
    let mut bench = Bench::running();
    bench.accept(pair("pack-1", "module-1", 7));
    let stranger = key("stranger");
    let bad = |change: &dyn Fn(&mut Paired)| {
        let paired = paired("app-1", "pack-1", 2, 60, [&app_key(), &pack_key(), &stranger]);
        let mut body = Body::PairRenew { paired, renews: pairing_id(9), max_uses: 0, operations: 0 };
        if let Body::PairRenew { paired, .. } = &mut body {
            change(paired);
        }
        body
    };
    let rows = [
        ("known, without lease", bad(&|p| (p.pairing_id, p.lease_s) = (pairing_id(1), 0)), PairingExists),
        ("without lease", bad(&|p| p.lease_s = 0), PairingLease),
        ("no authority, unknown", bad(&|_| ()), PairingAuthority),
        ("renews nothing known, no operations", renewal(2, 9, 0, 0), PairingUnknown),
        ("renews the pairing of others, no operations", renewal(2, 7, 0, 0), PairingSide),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    for operations in [0, 8] {
        bench.refuse("operations out of range", renewal(2, 1, 0, operations), PairingTerms);
    }
    let before: Pairing = get(&bench, &state_key::pairing(&pairing_id(1)));
    bench.accept(renewal(2, 1, 3, 5));
    let (old, new): (Pairing, Pairing) =
        (get(&bench, &state_key::pairing(&pairing_id(1))), get(&bench, &state_key::pairing(&pairing_id(2))));
    assert!(old.expires_ms < before.expires_ms);
    assert_eq!(old.expires_ms, bench.time_ms + 3_600_000, "both hold for an hour");
    assert_eq!(new.expires_ms, bench.time_ms + 90 * u64::from(DAY) * 1000);
    let usage: Usage = get(&bench, &state_key::usage(&pairing_id(2)));
    assert_eq!((usage.max_uses, usage.operations, usage.renews), (3, 5, pairing_id(1)));
    bench.refuse("renewed before, no operations", renewal(3, 1, 0, 0), PairingRenewed);
    bench.time_ms += 3_600_000;
    bench.refuse("ended, renewed before", renewal(3, 1, 0, 0), PairingEnded);
    bench.accept(revoke(Target::Pairing(pairing_id(2))));
    bench.refuse("withdrawn", renewal(3, 2, 0, 1), PairingEnded);
}

#[test]
pub fn use_rules() {
    let mut bench = Bench::running();
    bench.accept(renewal(2, 1, 2, 7));
    let session = |id: &str, seq, pairing: u8, t3: u8| {
        event(EventKind::PairedHandshake, id, seq, &[&[pairing; 16][..], &[t3; 32]].concat())
    };
    let by_pack =
        |seq, pairing, t3| Body::PairUse(signed_event(&session("pack-1", seq, pairing, t3), &pack_key()));
    let fault = event(EventKind::Fault, "pack-1", 1, b"x");
    let rows = [
        ("another event", Body::PairUse(signed_event(&fault, &key("stranger"))), StatementFormat),
        (
            "unknown key",
            Body::PairUse(signed_event(&session("pack-1", 1, 9, 1), &key("stranger"))),
            StatementKeyUnknown,
        ),
        ("unknown pairing", by_pack(1, 9, 1), PairingUnknown),
        ("side A", Body::PairUse(signed_event(&session("app-1", 1, 2, 1), &app_key())), PairingSide),
        (
            "B of another binding",
            Body::PairUse(signed_event(&session("pack-1", 1, 2, 1), &bound_key("pack-1", "module-1"))),
            PairingSide,
        ),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    assert_eq!(bench.send(1, by_pack(1, 2, 1)), None);
    bench.refuse(
        "replayed, unknown pairing",
        Body::PairUse(signed_event(&session("pack-1", 1, 9, 1), &pack_key())),
        EventReplay,
    );
    bench.refuse("counted before", by_pack(2, 2, 1), PairingUseRepeated);
    bench.accept(by_pack(2, 2, 2));
    let kept: Validation = get(&bench, &state_key::validation(&Cid::of("pack-1"), 1, 2));
    assert_eq!((kept.kind, kept.witnesses), (EventKind::PairedHandshake as u8, 0));
    bench.refuse("counted before, used up", by_pack(3, 2, 2), PairingUseRepeated);
    bench.refuse("used up", by_pack(3, 2, 3), PairingUsedUp);
    for n in 0..5 {
        bench.accept(by_pack(4 + n, 1, n as u8));
    }
    bench.time_ms += 3_600_000;
    bench.refuse("ended", by_pack(20, 1, 99), PairingEnded);
}

#[test]
pub fn modification_rules() {
    let mut bench = Bench::running();
    bench.accept(pair("pack-1", "module-1", 7));
    let now = (bench.time_ms / 1000) as u32;
    let bytes = |terms: &Terms| {
        let mut out = [0; TERMS_MAX];
        let n = terms.encode(&mut out).unwrap();
        out[..n].to_vec()
    };
    let good = Terms { expires: now + 2 * DAY, max_uses: 5, operations: 1 };
    let with = |e: &Event, terms: Vec<u8>, signers: [&SigningKey; 3]| {
        let digest = e.digest().unwrap();
        Body::PairModify {
            statement: event_bytes(e),
            terms,
            keys: [app_key().public(), pack_key().public()],
            signatures: signers.map(|k| k.sign_rfc6979(&digest)),
        }
    };
    let change = |id: &str, seq, pairing: u8, terms: &Terms| {
        let payload = [&[pairing; 16][..], &sha256(&[&bytes(terms)])].concat();
        event(EventKind::PairingModification, id, seq, &payload)
    };
    let stranger = key("stranger");
    let nobody = [&stranger; 3];
    let (a, b, authority) = (app_key(), pack_key(), key("authority"));
    let right = change("app-1", 1, 1, &good);
    let late = Event { time_ms: Some(bench.time_ms + bench.params.max_future_ms + 1), ..right.clone() };
    let other_keys = |body: Body| match body {
        Body::PairModify { statement, terms, signatures, .. } => {
            let keys = [bound_key("pack-1", "module-1").public(), pack_key().public()];
            Body::PairModify { statement, terms, signatures, keys }
        }
        other => other,
    };
    let ended = Terms { expires: now, ..good };
    let long = Terms { expires: now + bench.params.max_lease_s + 1, ..good };
    let rows = [
        (
            "another event",
            with(&event(EventKind::Fault, "app-1", 1, b"x"), bytes(&good), nobody),
            StatementFormat,
        ),
        (
            "no terms, unknown pairing",
            with(&change("app-1", 1, 9, &good), vec![0xa0], nobody),
            StatementFormat,
        ),
        ("unknown pairing", with(&change("app-1", 1, 9, &good), bytes(&good), nobody), PairingUnknown),
        (
            "said by a third, other terms",
            with(&change("module-1", 1, 1, &long), bytes(&good), nobody),
            PairingSide,
        ),
        ("other keys, other terms", other_keys(with(&right, bytes(&long), nobody)), PairingSide),
        ("terms that were not signed", with(&right, bytes(&long), nobody), PairingTerms),
        ("ends at once", with(&change("app-1", 1, 1, &ended), bytes(&ended), nobody), PairingTerms),
        ("lasts too long", with(&change("app-1", 1, 1, &long), bytes(&long), nobody), PairingTerms),
        ("nobody signed", with(&late, bytes(&good), nobody), PairingProofA),
        ("only A signed", with(&late, bytes(&good), [&a, &stranger, &stranger]), PairingProofB),
        ("no authority", with(&late, bytes(&good), [&a, &b, &stranger]), PairingAuthority),
        ("future", with(&late, bytes(&good), [&a, &b, &authority]), StatementTime),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let all = [&a, &b, &authority];
    bench.accept(with(&right, bytes(&good), all));
    let pairing: Pairing = get(&bench, &state_key::pairing(&pairing_id(1)));
    assert_eq!(pairing.expires_ms, u64::from(good.expires) * 1000);
    let usage: Usage = get(&bench, &state_key::usage(&pairing_id(1)));
    assert_eq!((usage.max_uses, usage.operations), (5, 1));
    bench.refuse("again", with(&right, bytes(&good), all), EventReplay);
    bench.time_ms = pairing.expires_ms;
    bench.refuse(
        "ended, other terms",
        with(&change("app-1", 2, 1, &good), bytes(&long), nobody),
        PairingEnded,
    );
}
