//! What becomes of components, and of what they are to each other: every rejection in its order.
//!
//! Rules L131 to L134.

use crate::world;

use lct::{
    energy::EnergyKind,
    id::{Cid, Role},
    lifecycle::{LIFECYCLE_MAX, Move, State, Version},
    revocation::{Reason, batch_id},
    sign::SigningKey,
    validation::EventKind,
};
use ledger::{
    codec::Canonical,
    execute::genesis_writes,
    records::{
        Component, Lct, LctStatus, entity_lct_id, key as state_key,
        registry::{History, Party, StateChange, VersionRecord},
    },
    reject::Rejection::{self, *},
    state::{Overlay, load},
    tx::{Body, Registry, Target},
};
use world::{bench::*, *};

fn get<T: Canonical>(bench: &Bench, key: &[u8]) -> T {
    load(&bench.state, key).unwrap().unwrap()
}

fn component(bench: &Bench, id: &str) -> Component {
    get(bench, &state_key::component(&Cid::of(id)))
}

fn entity_lct(bench: &Bench, id: &str) -> LctStatus {
    get::<Lct>(bench, &state_key::lct(&component(bench, id).lct)).status
}

fn step(id: &str, number: u32, to: State) -> Move {
    let reason = if to == State::Retired { Reason::Retired } else { Reason::Unspecified };
    Move { chain_id: chain_id(), cid: Cid::of(id), number, to, reason, time_ms: START_MS }
}

fn moved(m: &Move, signer: &SigningKey) -> Body {
    let mut out = [0; LIFECYCLE_MAX];
    let n = m.encode(&mut out).unwrap();
    let signature = signer.sign_rfc6979(&m.digest().unwrap());
    Body::Registry(Registry::Move { statement: out[..n].to_vec(), key: signer.public(), signature })
}

/// The module belongs to `owner`.
fn owned(bench: &mut Bench, id: &str) -> SigningKey {
    let owner = key("owner");
    bench.accept(transfer_with(&first_hop(id, "owner"), [&key("batch"), &owner]));
    owner
}

#[test]
pub fn rules_of_moves() {
    let mut bench = Bench::running();
    bench.accept(register("module-2", Role::Module));
    bench.accept(moved(&step("module-2", 1, State::Retired), &key("authority")));
    let [authority, stranger] = ["authority", "stranger"].map(key);
    let future = bench.time_ms + bench.params.max_future_ms + 1;
    let base = Move { number: 9, to: State::Pending, time_ms: future, ..step("module-1", 1, State::Active) };
    let next = Move { number: 1, ..base };
    let forged = |m: Move| {
        let Body::Registry(Registry::Move { statement, signature, .. }) = moved(&m, &stranger) else {
            unreachable!()
        };
        Body::Registry(Registry::Move { statement, key: authority.public(), signature })
    };
    let damaged = Body::Registry(Registry::Move {
        statement: vec![0xa0],
        key: stranger.public(),
        signature: lct::sign::Signature([0; 64]),
    });
    let maintenance = Move { to: State::Maintenance, ..next };
    let rows: [(&str, Body, Rejection); 11] = [
        ("damaged", damaged, StatementFormat),
        (
            "another chain, unknown",
            moved(&Move { chain_id: [1; 32], cid: Cid([9; 16]), ..base }, &stranger),
            LifecycleChain,
        ),
        ("unknown", moved(&Move { cid: Cid([9; 16]), ..base }, &stranger), LifecycleComponent),
        ("at its end", moved(&Move { cid: Cid::of("module-2"), ..base }, &stranger), LifecycleFinal),
        ("number 9, by nobody", moved(&base, &stranger), LifecycleSequence),
        ("by nobody, no move", moved(&next, &stranger), LifecycleSigner),
        ("no move, future", moved(&next, &authority), LifecycleDenied),
        (
            "retired for another reason, future",
            moved(&Move { to: State::Retired, ..next }, &authority),
            LifecycleDenied,
        ),
        (
            "revoked as out of service, future",
            moved(&Move { to: State::Revoked, reason: Reason::Retired, ..next }, &authority),
            LifecycleDenied,
        ),
        ("future, not signed", forged(maintenance), StatementTime),
        ("not signed", forged(Move { time_ms: START_MS, ..maintenance }), LifecycleProof),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    // An account that was withdrawn is none, and an operator's has no say.
    bench.refuse("an operator", moved(&maintenance, &key("operator")), LifecycleSigner);
    // So is a batch authority that was revoked: what it certified stays, its say ends.
    let batch = key("batch");
    let suspension = moved(&Move { to: State::Suspended, time_ms: START_MS, ..next }, &batch);
    bench.accept(Body::Revoke { target: Target::Batch(batch_id(&batch.public())), reason: 1 });
    bench.refuse("a revoked batch authority", suspension, LifecycleSigner);
    let hop = transfer_with(&first_hop("module-1", "owner"), [&batch, &key("owner")]);
    bench.refuse("a first owner by it", hop, OwnerDenied);
}

/// Who may lead a component from where to where, all of it.
#[test]
pub fn the_table_of_moves() {
    use State::{Active, Maintenance, Pending, Retired, Revoked, Suspended};
    // From, to, and whether the authority, the owner and the manufacturer may.
    let allowed = [
        (Pending, Active, [true, false, true]),
        (Pending, Retired, [true, true, false]),
        (Pending, Revoked, [true, true, true]),
        (Active, Maintenance, [true, true, false]),
        (Active, Suspended, [true, true, true]),
        (Active, Retired, [true, true, false]),
        (Active, Revoked, [true, true, true]),
        (Maintenance, Active, [true, true, false]),
        (Maintenance, Suspended, [true, true, true]),
        (Maintenance, Retired, [true, true, false]),
        (Maintenance, Revoked, [true, true, true]),
        // Suspended by the owner: whoever suspended it may take it back, and the authority.
        (Suspended, Active, [true, true, false]),
        (Suspended, Maintenance, [true, true, false]),
        // Others doubt with it.
        (Suspended, Suspended, [true, false, true]),
        (Suspended, Retired, [true, true, false]),
        (Suspended, Revoked, [true, true, true]),
    ];
    let states = [Pending, Active, Maintenance, Suspended];
    let mut start = Bench::running();
    owned(&mut start, "module-1");
    let nonces = start.nonces;
    let mut written = genesis_writes(&genesis());
    written.extend(start.state.into_writes());
    let cid = Cid::of("module-1");
    let signers = ["authority", "owner", "batch"].map(key);
    for from in states {
        for to in [Pending, Active, Maintenance, Suspended, Retired, Revoked] {
            for (who, signer) in signers.iter().enumerate() {
                let mut bench = Bench::new();
                (bench.state, bench.nonces) = (Overlay::new(written.clone()), nonces);
                bench.change(state_key::component(&cid), |c: &mut Component| c.status = from);
                let before = History { suspended_by: Party::Owner.bit(), ..History::empty() };
                bench.state.put(state_key::history(&cid), &before);
                let may = allowed.iter().any(|(f, t, by)| (*f, *t) == (from, to) && by[who]);
                let body = moved(&step("module-1", 1, to), signer);
                let expected = if may { None } else { Some(LifecycleDenied) };
                assert_eq!(bench.send(1, body), expected, "{} to {}, {who}", from.name(), to.name());
                let standing = match if may { to } else { from } {
                    Pending => LctStatus::Pending,
                    Suspended => LctStatus::Suspended,
                    Active | Maintenance => LctStatus::Active,
                    Retired | Revoked => LctStatus::Terminated,
                };
                if may {
                    assert_eq!(component(&bench, "module-1").status, to);
                    assert_eq!(entity_lct(&bench, "module-1"), standing);
                }
            }
        }
    }
}

/// A suspension ends when nobody doubts any more: each takes back its own, and only an authority decides for all.
#[test]
pub fn nobody_lifts_the_suspension_of_another() {
    let mut bench = Bench::running();
    let owner = owned(&mut bench, "module-1");
    let (maker, authority) = (key("batch"), key("authority"));
    let denied = Some(LifecycleDenied);
    let rows = [
        (1, State::Suspended, &owner, None),
        (2, State::Suspended, &owner, denied),
        (2, State::Suspended, &maker, None),
        // Both doubt: neither ends it for the other.
        (3, State::Active, &maker, denied),
        (3, State::Active, &owner, denied),
        (3, State::Suspended, &authority, None),
        (4, State::Active, &maker, denied),
        // Two step back; the owner's doubt is left.
        (4, State::Suspended, &maker, None),
        (5, State::Suspended, &authority, None),
        (6, State::Active, &maker, denied),
        (6, State::Suspended, &owner, denied),
        (6, State::Active, &owner, None),
        // A new suspension begins with one.
        (7, State::Suspended, &maker, None),
        (8, State::Active, &owner, denied),
        (8, State::Suspended, &owner, None),
        (9, State::Active, &authority, None),
    ];
    for (n, (number, to, signer, expected)) in rows.into_iter().enumerate() {
        let got = bench.send(1, moved(&step("module-1", number, to), signer));
        assert_eq!(got, expected, "row {n}");
    }
}

#[test]
pub fn every_move_is_kept_and_the_end_takes_everything_along() {
    let mut bench = Bench::running();
    let owner = owned(&mut bench, "module-1");
    let maker = key("batch");
    for (number, to, signer) in [
        (1, State::Maintenance, &owner),
        (2, State::Suspended, &maker),
        (3, State::Active, &maker),
        (4, State::Retired, &owner),
    ] {
        assert_eq!(bench.send(1, moved(&step("module-1", number, to), signer)), None, "{number}");
    }
    let cid = Cid::of("module-1");
    let told: Vec<_> = (1..=4)
        .map(|number| get::<StateChange>(&bench, &state_key::state_change(&cid, number)))
        .map(|c| (c.from, c.to, c.by))
        .collect();
    assert_eq!(
        told,
        [
            (State::Active, State::Maintenance, Party::Owner),
            (State::Maintenance, State::Suspended, Party::Manufacturer),
            (State::Suspended, State::Active, Party::Manufacturer),
            (State::Active, State::Retired, Party::Owner),
        ]
    );
    let module = component(&bench, "module-1");
    assert_eq!((module.status, module.bindings), (State::Retired, 0));
    let module_key = bound_key("module-1", "pack-1");
    let batch = batch_with(&batch_statement("module-1", 10, 3), &module_key);
    bench.refuse("its keys went with it", batch, StatementKeyRevoked);
    bench.refuse("for good", moved(&step("module-1", 5, State::Active), &key("authority")), LifecycleFinal);
    let order = Body::Revoke {
        target: ledger::tx::Target::Component(Cid::of("pack-1")),
        reason: Reason::Retired as u8,
    };
    bench.accept(order);
    assert_eq!(
        component(&bench, "pack-1").status,
        State::Retired,
        "an order for the same reason does the same"
    );
}

/// What a component may say and what it may be put to, in each state (L133).
#[test]
pub fn what_a_state_allows() {
    let mut bench = Bench::running();
    let authority = key("authority");
    bench.accept(register("module-2", Role::Module));
    let lct = || Body::LctCreate { a: Cid::of("pack-1"), b: Cid::of("module-2"), context: "energy".into() };
    bench.accept(moved(&step("pack-1", 1, State::Maintenance), &authority));
    bench.refuse("nothing new is paired in the workshop", pair("app-1", "pack-1", 2), ComponentState);
    bench.refuse("nor related", lct(), LctComponent);
    bench.accept(bind(PACK, ("module-2", Role::Module)));
    bench.accept(energy_with(&energy(EnergyKind::Charge, 1, 1, 10), &pack_key()));

    bench.accept(moved(&step("pack-1", 2, State::Suspended), &authority));
    let fault = event(EventKind::Fault, "pack-1", 7, b"x");
    let seen = |s: &ledger::tx::Signed| vec![attest(s, "app-1", START_MS, &bound_key("app-1", "pack-1"))];
    let stated = signed_event(&fault, &pack_key());
    let session = event(EventKind::PairedHandshake, "pack-1", 7, &[&[1; 16][..], &[1; 32]].concat());
    let witnessed = seen(&stated);
    for (what, body) in [
        ("energy", energy_with(&energy(EnergyKind::Charge, 1, 2, 10), &pack_key())),
        ("telemetry", batch_with(&batch_statement("pack-1", 10, 3), &pack_key())),
        ("an event", Body::Validate { signed: stated, witnesses: witnessed }),
        ("a session", Body::PairUse(signed_event(&session, &pack_key()))),
    ] {
        bench.refuse(what, body, ComponentSuspended);
    }
    let forged = {
        let Body::Energy(mut s) = energy_with(&energy(EnergyKind::Charge, 1, 2, 10), &pack_key()) else {
            unreachable!()
        };
        s.signature.0[8] ^= 1;
        Body::Energy(s)
    };
    bench.refuse("a bad signature, suspended", forged, StatementSignature);
    let app = bound_key("app-1", "pack-1");
    let of_app = signed_event(&event(EventKind::Fault, "app-1", 7, b"x"), &app);
    let by_pack = vec![attest(&of_app, "pack-1", START_MS, &pack_key())];
    bench.refuse("its word as a witness", Body::Validate { signed: of_app, witnesses: by_pack }, WitnessKey);
    bench.refuse("bound", bind(PACK, ("module-3", Role::Module)), BindingComponent);
    // Evidence and the giving up of rights are never refused.
    bench.accept(checkpoint_with("pack-1", 4, [1; 32], &pack_key()));
    let gives_up = event(EventKind::PairingRevocation, "pack-1", 8, &[&[1; 16][..], &[4]].concat());
    bench.accept(Body::RevokeSigned(signed_event(&gives_up, &pack_key())));
    bench.accept(transfer_with(&first_hop("pack-1", "owner"), [&key("batch"), &key("owner")]));
    bench.accept(moved(&step("pack-1", 3, State::Active), &authority));
    bench.accept(pair("app-1", "pack-1", 3));
    bench.accept(lct());
}

#[test]
pub fn where_the_chain_asks_for_it_a_component_waits_to_be_admitted() {
    let mut bench = Bench::new();
    bench.params.admission = 1;
    bench.accept(register("pack-1", Role::Pack));
    bench.accept(register("app-1", Role::App));
    assert_eq!(
        (component(&bench, "pack-1").status, entity_lct(&bench, "pack-1")),
        (State::Pending, LctStatus::Pending)
    );
    bench.refuse("bound before", bind(APP, PACK), BindingComponent);
    bench.accept(moved(&step("pack-1", 1, State::Active), &key("batch")));
    bench.refuse("the other one waits", bind(APP, PACK), BindingComponent);
    bench.accept(moved(&step("app-1", 1, State::Active), &key("authority")));
    bench.accept(bind(APP, PACK));
}

fn version(number: u32, hardware: u32, firmware: u32) -> Version {
    let (chain_id, cid) = (chain_id(), Cid::of("module-1"));
    Version { chain_id, cid, number, hardware, firmware, image: [7; 32], time_ms: START_MS }
}

fn told(v: &Version, device: &SigningKey, vouched: Option<&SigningKey>) -> Body {
    let mut out = [0; LIFECYCLE_MAX];
    let n = v.encode(&mut out).unwrap();
    let digest = v.digest().unwrap();
    Body::Registry(Registry::Version {
        statement: out[..n].to_vec(),
        signature: device.sign_rfc6979(&digest),
        vouched: vouched.map(|k| (k.public(), k.sign_rfc6979(&digest))),
    })
}

#[test]
pub fn rules_of_versions() {
    let mut bench = Bench::running();
    bench.accept(register("module-2", Role::Module));
    bench.accept(moved(&step("module-2", 1, State::Revoked), &key("batch")));
    owned(&mut bench, "module-1");
    let [device, stranger, authority, maker, owner] =
        ["module-1", "stranger", "authority", "batch", "owner"].map(key);
    let future = bench.time_ms + bench.params.max_future_ms + 1;
    // Registered with hardware 1 and firmware 2.
    let base = Version { time_ms: future, ..version(9, 1, 2) };
    let damaged =
        Registry::Version { statement: vec![0xa0], signature: lct::sign::Signature([0; 64]), vouched: None };
    let badly = |v: &Version| {
        let Body::Registry(Registry::Version { statement, signature, vouched }) =
            told(v, &stranger, Some(&stranger))
        else {
            unreachable!()
        };
        let vouched = vouched.map(|(_, s)| (maker.public(), s));
        Body::Registry(Registry::Version { statement, signature, vouched })
    };
    let rows = [
        ("damaged", Body::Registry(damaged), StatementFormat),
        (
            "another chain, unknown",
            told(&Version { chain_id: [1; 32], cid: Cid([9; 16]), ..base }, &stranger, None),
            LifecycleChain,
        ),
        ("unknown", told(&Version { cid: Cid([9; 16]), ..base }, &stranger, None), LifecycleComponent),
        ("at its end", told(&Version { cid: Cid::of("module-2"), ..base }, &stranger, None), LifecycleFinal),
        ("number 9, the same", told(&base, &stranger, None), LifecycleSequence),
        ("the same", told(&Version { number: 1, ..base }, &stranger, Some(&stranger)), VersionSame),
        (
            "other hardware by itself",
            told(&Version { number: 1, hardware: 2, firmware: 3, ..base }, &stranger, None),
            VersionVouch,
        ),
        (
            "older firmware by itself",
            told(&Version { number: 1, firmware: 1, ..base }, &stranger, None),
            VersionVouch,
        ),
        (
            "nobody vouches",
            told(&Version { number: 1, firmware: 1, ..base }, &stranger, Some(&stranger)),
            VersionVouch,
        ),
        (
            "its owner vouches",
            told(&Version { number: 1, firmware: 1, ..base }, &stranger, Some(&owner)),
            VersionVouch,
        ),
        ("the maker did not sign", badly(&Version { number: 1, firmware: 1, ..base }), VersionVouch),
        (
            "future, not signed",
            told(&Version { number: 1, firmware: 3, ..base }, &stranger, None),
            StatementTime,
        ),
        ("not signed", told(&version(1, 1, 3), &stranger, None), VersionProof),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    assert_eq!(bench.send(1, told(&version(1, 1, 3), &device, None)), None, "forward by itself");
    bench.accept(told(&version(2, 2, 3), &device, Some(&maker)));
    bench.accept(told(&version(3, 2, 1), &device, Some(&authority)));
    let module = component(&bench, "module-1");
    assert_eq!((module.hw, module.fw), (2, 1));
    let kept: Vec<_> = (1..=3)
        .map(|n| get::<VersionRecord>(&bench, &state_key::version(&module_cid(), n)))
        .map(|v| (v.hw, v.fw, v.vouched))
        .collect();
    assert_eq!(kept, [(1, 3, false), (2, 3, true), (2, 1, true)]);
    assert_eq!(module.lct, entity_lct_id(&chain_id(), &module_cid(), &device.public()), "its LCT goes on");
}

fn module_cid() -> Cid {
    Cid::of("module-1")
}
