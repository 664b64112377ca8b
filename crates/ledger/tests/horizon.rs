//! Contexts of LCTs, their status, and the horizon: every rejection in its order, and what is written by itself.
//!
//! Rules L142 and L144 to L150.

use crate::world;

use lct::{
    Digest,
    context::{CONTEXT_MAX, Content, Statement},
    energy::{CycleClose, EnergyKind, MODULE_ENERGY_LEN, ModuleEnergy},
    id::{Cid, PairingId, Role},
    revocation::Reason,
    sign::{Signature, SigningKey},
    validation::EventKind,
};
use ledger::{
    codec::Canonical,
    mrh::{self, Horizon, LinkKind, MAX_REACHED, weight_ppm},
    records::{
        Component, Lct, LctStatus, RulesVersion, entity_lct_id, key as state_key, pair_lct_id,
        registry::{ContextRecord, MAX_SEEN, Performance, Seen, Witnessing},
    },
    reject::Rejection::*,
    state::{View, load},
    tx::{Body, Registry, Target},
};
use world::{bench::*, *};

fn get<T: Canonical>(bench: &Bench, key: &[u8]) -> T {
    load(&bench.state, key).unwrap().unwrap()
}

fn entity(id: &str) -> Digest {
    entity_lct_id(&chain_id(), &Cid::of(id), &key(id).public())
}

fn relation() -> Digest {
    pair_lct_id(&chain_id(), &Cid::of("pack-1"), &Cid::of("module-1"), "energy")
}

fn related() -> Body {
    Body::LctCreate { a: Cid::of("pack-1"), b: Cid::of("module-1"), context: "energy".into() }
}

fn status(id: Digest, status: u8) -> Body {
    Body::Registry(Registry::LctStatus { id, status, reason: Reason::Unspecified })
}

fn made(lct: Digest, number: u32, content: Content) -> Statement {
    Statement { chain_id: chain_id(), lct, number, content, time_ms: START_MS }
}

fn stated(s: &Statement, signer: &SigningKey) -> Body {
    let mut out = [0; CONTEXT_MAX];
    let n = s.encode(&mut out).unwrap();
    let signature = signer.sign_rfc6979(&s.digest().unwrap());
    Body::Registry(Registry::Context { statement: out[..n].to_vec(), key: signer.public(), signature })
}

fn manufacturing() -> Content {
    let figure = |name: &str, value| (name.try_into().unwrap(), value);
    Content::Manufacturing {
        made: (START_MS / 1000) as u32,
        batch: "B-7".try_into().unwrap(),
        quality: [figure("capacity_mwh", 512_000), figure("spread_uv", -12)].into_iter().collect(),
    }
}

fn deployment() -> Content {
    Content::Deployment {
        location: "bay 4".try_into().unwrap(),
        system: "storage".try_into().unwrap(),
        environment: "indoors".try_into().unwrap(),
    }
}

fn scope(packs: &[&str], account: &str) -> Content {
    let mut packs: lct::context::Cids<16> = packs.iter().map(|id| Cid::of(id)).collect();
    packs.sort_unstable();
    Content::Scope { operations: 5, packs, account: key(account).public() }
}

fn witness(modules: &[&str]) -> Content {
    let mut modules: lct::context::Cids<31> = modules.iter().map(|id| Cid::of(id)).collect();
    modules.sort_unstable();
    Content::Witness { modules }
}

fn profile() -> Content {
    Content::Profile {
        nominal_mv: 48_000,
        charge_ma: 65_000,
        discharge_ma: 200_000,
        resistance_uohm: 900,
        temperature_mc: [-20_000, 60_000],
    }
}

#[test]
pub fn rules_of_an_lcts_status() {
    let mut bench = Bench::running();
    bench.accept(register("module-2", Role::Module));
    bench.accept(related());
    let later = pair_lct_id(&chain_id(), &Cid::of("pack-1"), &Cid::of("module-2"), "energy");
    bench.accept(Body::LctCreate { a: Cid::of("pack-1"), b: Cid::of("module-2"), context: "energy".into() });
    let now = |bench: &Bench, id| get::<Lct>(bench, &state_key::lct(&id)).status;
    assert_eq!(now(&bench, relation()), LctStatus::Active, "the two are bound");
    assert_eq!(now(&bench, later), LctStatus::Pending, "these are not");
    bench.refuse("unknown, no status", status([9; 32], 9), LctUnknown);
    bench.refuse("that of an entity, no status", status(entity("pack-1"), 9), LctUnknown);
    assert_eq!(
        bench.send(1, status(relation(), 9)),
        Some(LctDenied),
        "an operator that owns no side, no status"
    );
    for (what, id, to) in [
        ("no status", relation(), 9),
        ("active again", relation(), 1),
        ("back to pending", relation(), 3),
        ("suspended before it was active", later, 4),
        ("active without a binding", later, 1),
    ] {
        bench.refuse(what, status(id, to), LctStatus);
    }
    bench.accept(transfer_with(&first_hop("module-1", "operator"), [&key("batch"), &key("operator")]));
    assert_eq!(bench.send(1, status(relation(), 4)), None, "the owner of a side");
    bench.accept(Body::Revoke { target: Target::Binding(binding_id("pack-1", "module-1")), reason: 2 });
    bench.refuse("active after the binding ended", status(relation(), 1), LctStatus);
    bench.accept(bind(PACK, ("module-2", Role::Module)));
    bench.accept(status(later, 1));
    let count = |bench: &Bench| get::<Component>(bench, &state_key::component(&Cid::of("pack-1"))).lcts;
    assert_eq!(count(&bench), 2);
    bench.accept(status(relation(), 2));
    assert_eq!((now(&bench, relation()), count(&bench)), (LctStatus::Terminated, 1), "it makes room");
    for to in [1, 2, 3, 4] {
        bench.refuse("for good", status(relation(), to), LctStatus);
    }
    bench.refuse("made anew", related(), LctExists);
}

#[test]
pub fn rules_of_contexts() {
    let mut bench = Bench::running();
    bench.accept(related());
    bench.accept(register("module-2", Role::Module));
    bench.accept(Body::Revoke { target: Target::Component(Cid::of("module-2")), reason: 2 });
    let stranger = key("stranger");
    let future = bench.time_ms + bench.params.max_future_ms + 1;
    let base = Statement { time_ms: future, ..made(entity("module-1"), 9, witness(&["module-2"])) };
    let with = |change: &dyn Fn(&mut Statement)| {
        let mut s = base.clone();
        change(&mut s);
        stated(&s, &stranger)
    };
    let damaged =
        Registry::Context { statement: vec![0xa0], key: stranger.public(), signature: Signature([0; 64]) };
    let rows = [
        ("damaged", Body::Registry(damaged), StatementFormat),
        ("another chain, unknown", with(&|s| (s.chain_id, s.lct) = ([1; 32], [9; 32])), LctChain),
        ("unknown", with(&|s| s.lct = [9; 32]), LctUnknown),
        ("terminated", with(&|s| s.lct = entity("module-2")), LctEnded),
        ("a module is no witness, number 9", with(&|_| ()), LctKind),
        (
            "a pack has no scope",
            with(&|s| (s.lct, s.content) = (entity("pack-1"), scope(&["pack-1"], "operator"))),
            LctKind,
        ),
        ("a pack has no profile", with(&|s| (s.lct, s.content) = (entity("pack-1"), profile())), LctKind),
        ("a relation was not made", with(&|s| (s.lct, s.content) = (relation(), manufacturing())), LctKind),
        ("number 9, by nobody", with(&|s| s.content = manufacturing()), LctSequence),
        ("by nobody, future", with(&|s| (s.number, s.content) = (1, manufacturing())), LctSigner),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let [authority, maker, pack, module] = ["authority", "batch", "pack-1", "module-1"].map(key);
    // Who may state what: every other key is refused.
    let signers = [&authority, &maker, &pack, &module, &key("app-1"), &stranger];
    for (id, content, by) in [
        (entity("module-1"), manufacturing(), 1),
        (entity("module-1"), profile(), 1),
        (entity("module-1"), deployment(), 0),
        (relation(), deployment(), 0),
        (entity("app-1"), scope(&["pack-1"], "operator"), 0),
        (entity("pack-1"), witness(&["module-1"]), 2),
    ] {
        for (who, signer) in signers.iter().enumerate().filter(|(who, _)| *who != by) {
            let body = stated(&made(id, 1, content.clone()), signer);
            bench.refuse(&format!("{} by {who}", content.name()), body, LctSigner);
        }
    }
    let late = |s: Statement, signer: &SigningKey| stated(&Statement { time_ms: future, ..s }, signer);
    bench.refuse(
        "a scope over nothing, future",
        late(made(entity("app-1"), 1, scope(&["module-1"], "operator")), &authority),
        LctValue,
    );
    bench.refuse(
        "a scope with no account, future",
        late(made(entity("app-1"), 1, scope(&["pack-1"], "stranger")), &authority),
        LctValue,
    );
    bench.refuse(
        "a witness of no module, future",
        late(made(entity("pack-1"), 1, witness(&["module-2"])), &pack),
        LctValue,
    );
    bench.refuse("future, not signed", late(made(entity("module-1"), 1, profile()), &maker), StatementTime);
    let Body::Registry(Registry::Context { statement, signature, .. }) =
        stated(&made(entity("module-1"), 1, profile()), &stranger)
    else {
        unreachable!()
    };
    let forged = Body::Registry(Registry::Context { statement, key: maker.public(), signature });
    bench.refuse("not signed", forged, LctProof);

    for (id, content, signer) in [
        (entity("module-1"), manufacturing(), &maker),
        (entity("module-1"), profile(), &maker),
        (entity("module-1"), deployment(), &authority),
        (relation(), deployment(), &authority),
        (entity("app-1"), scope(&["pack-1"], "operator"), &authority),
        (entity("pack-1"), witness(&["module-1"]), &pack),
    ] {
        let s = made(id, 1, content);
        assert_eq!(bench.send(1, stated(&s, signer)), None, "anybody brings it");
        let kept: ContextRecord = get(&bench, &state_key::context_record(&id, s.content.kind(), 1));
        assert_eq!(Statement::decode(&kept.statement), Ok(s), "as it was signed");
    }
    // With an owner it is the owner who says where; the history stays.
    let owner = key("owner");
    bench.accept(transfer_with(&first_hop("module-1", "owner"), [&maker, &owner]));
    bench.accept(stated(&made(entity("module-1"), 2, deployment()), &owner));
    // Of a relation whoever governs one side says it: here the owner of the module, and the authority for the pack.
    bench.accept(stated(&made(relation(), 2, deployment()), &owner));
    bench.accept(stated(&made(relation(), 3, deployment()), &authority));
    for number in [1, 2] {
        get::<ContextRecord>(&bench, &state_key::context_record(&entity("module-1"), 2, number));
    }
}

/// A pack that answers for a module signs beside its energy events, as long as the two are bound.
#[test]
pub fn a_pack_counter_signs_what_its_modules_say_of_energy() {
    let mut bench = Bench::running();
    let (pack, module) = (key("pack-1"), bound_key("module-1", "pack-1"));
    let towards = bound_key("pack-1", "module-1");
    let app = bound_key("app-1", "pack-1");
    let energy_of = |seq: u32, who: &str, by: &SigningKey| {
        let signed = signed_event(&event(EventKind::Energy, "module-1", seq, &[7; 32]), &module);
        let seen = attest(&signed, who, START_MS, by);
        Body::Validate { witnesses: vec![seen], signed }
    };
    bench.accept(energy_of(1, "app-1", &app));
    bench.accept(stated(&made(entity("pack-1"), 1, witness(&["module-1"])), &pack));
    bench.refuse("seen by another only", energy_of(2, "app-1", &app), WitnessQuorum);
    bench.accept(energy_of(2, "pack-1", &towards));
    let fault = signed_event(&event(EventKind::Fault, "module-1", 3, b"x"), &module);
    let seen = vec![attest(&fault, "app-1", START_MS, &app)];
    bench.accept(Body::Validate { signed: fault, witnesses: seen });
    // It answers no more: by its own word, and with the binding.
    bench.accept(stated(&made(entity("pack-1"), 2, witness(&[])), &pack));
    bench.accept(energy_of(4, "app-1", &app));
    bench.accept(stated(&made(entity("pack-1"), 3, witness(&["module-1"])), &pack));
    bench.refuse("again", energy_of(5, "app-1", &app), WitnessQuorum);
    // Where another pack answers for it meanwhile, the first one's new list leaves that alone.
    let (answers, other) = (state_key::counter_signer(&Cid::of("module-1")), Cid::of("pack-2"));
    bench.state.put_raw(answers.clone(), other.0.into());
    bench.accept(stated(&made(entity("pack-1"), 4, witness(&[])), &pack));
    assert_eq!(bench.state.get(&answers).unwrap().as_deref(), Some(&other.0[..]));
}

/// What a module says of its energy is whole, over, of nobody who has a pool, and seen by its pack, whether or not that
/// said on the ledger that it answers for the module.
#[test]
fn a_module_says_its_energy_itself() {
    let mut bench = Bench::running();
    let (pack, module) = (key("pack-1"), bound_key("module-1", "pack-1"));
    let towards = bound_key("pack-1", "module-1");
    let good = ModuleEnergy {
        cycle: 1,
        event: 1,
        kind: EnergyKind::Discharge,
        start_ms: START_MS - 60_000,
        end_ms: START_MS,
        mwh: 400,
    };
    let says = |seq: u32, bytes: &[u8]| {
        let signed = signed_event(&event(EventKind::Energy, "module-1", seq, bytes), &module);
        let seen = attest(&signed, "pack-1", START_MS, &towards);
        Body::Validate { witnesses: vec![seen], signed }
    };
    // Until the rules of the chain have version 2 a component states hashes only.
    bench.refuse("under the first rules", says(1, &good.encode()), StatementFormat);
    let elsewhere = signed_event(&event(EventKind::Energy, "module-1", 1, &good.encode()), &module);
    bench.refuse("nor elsewhere, under them", Body::RevokeSigned(elsewhere.clone()), StatementFormat);
    bench.state.put(state_key::RULES.into(), &RulesVersion { version: 2 });
    bench.refuse("which ends nothing", Body::RevokeSigned(elsewhere), RevokeShape);
    let alone = signed_event(&event(EventKind::Energy, "module-1", 2, &good.encode()), &module);
    let other = attest(&alone, "app-1", START_MS, &bound_key("app-1", "pack-1"));
    let alone = Body::Validate { witnesses: vec![other], signed: alone };
    bench.refuse("not by its pack, which said nothing yet", alone.clone(), WitnessQuorum);
    bench.accept(says(1, &good.encode()));
    bench.accept(stated(&made(entity("pack-1"), 1, witness(&["module-1"])), &pack));
    bench.refuse("not by its pack", alone, WitnessQuorum);
    let opening = ModuleEnergy { kind: EnergyKind::Opening, ..good };
    bench.refuse("an opening", says(2, &opening.encode()), EnergyPayload);
    bench.refuse("nothing", says(2, &[0; MODULE_ENERGY_LEN]), EnergyPayload);
    let ahead = ModuleEnergy { end_ms: u64::MAX, ..good };
    bench.refuse("not over yet", says(2, &ahead.encode()), StatementTime);
    let of_pack = signed_event(&event(EventKind::Energy, "pack-1", 1, &good.encode()), &towards);
    let seen = attest(&of_pack, "module-1", START_MS, &module);
    bench.refuse("a pack", Body::Validate { witnesses: vec![seen], signed: of_pack }, EnergyPooled);
    bench.accept(says(2, &good.encode()));
}

/// What a pack did in its closed cycles follows from them.
#[test]
fn performance_is_that_of_the_closed_cycles() {
    let mut bench = Bench::running();
    let none: Option<Performance> = load(&bench.state, &state_key::performance(&Cid::of("pack-1"))).unwrap();
    assert_eq!(none, None);
    let close =
        |cycle: u32, events: u32, charged_mwh: u64, discharged_mwh: u64, first: u32, last: u32| CycleClose {
            cid: Cid::of("pack-1"),
            cycle,
            events,
            charged_mwh,
            discharged_mwh,
            start_ms: START_MS + u64::from(first) * 60_000,
            end_ms: START_MS + u64::from(last) * 60_000,
        };
    bench.accept(energy_with(&energy(EnergyKind::Charge, 1, 1, 1000), &pack_key()));
    bench.accept(energy_with(&energy(EnergyKind::Discharge, 1, 2, 900), &pack_key()));
    bench.accept(close_with(&close(1, 3, 1000, 900, 0, 3), &pack_key()));
    bench.accept(energy_with(&energy(EnergyKind::Charge, 2, 3, 500), &pack_key()));
    let one: Performance = get(&bench, &state_key::performance(&Cid::of("pack-1")));
    assert_eq!((one.cycles, one.charged, one.discharged), (1, 1000, 900), "an open cycle does not count");
    assert_eq!(one.efficiency_ppm(), Some(900_000));
    bench.accept(close_with(&close(2, 1, 500, 0, 3, 4), &pack_key()));
    let two: Performance = get(&bench, &state_key::performance(&Cid::of("pack-1")));
    assert_eq!((two.cycles, two.charged, two.discharged, two.last_cycle), (2, 1500, 900, 2));
    assert_eq!(two.efficiency_ppm(), Some(600_000));
    assert_eq!(two.full_cycles_milli(), Some(1), "900 of 500 000 mWh, truncated");
    assert_eq!(two.last_end_ms, START_MS + 4 * 60_000);
}

fn seen_from(bench: &Bench, id: &str, depth: u8) -> Horizon {
    mrh::horizon(&bench.state, &Cid::of(id), depth, bench.time_ms).unwrap()
}

fn named(horizon: &Horizon) -> Vec<(Cid, u8, Option<LinkKind>)> {
    horizon.reached.iter().map(|r| (r.cid, r.hops, r.via.map(|(_, kind)| kind))).collect()
}

#[test]
fn a_horizon_follows_bindings_pairings_and_witnesses() {
    use LinkKind::{Bound, Paired, Witnessing as Saw};
    let weights = [0, 1, 2, 3, 4, 5, 6, 255].map(weight_ppm);
    assert_eq!(weights, [1_000_000, 700_000, 490_000, 343_000, 240_100, 0, 0, 0]);
    let mut bench = Bench::running();
    let [app, pack, module] = ["app-1", "pack-1", "module-1"].map(Cid::of);
    assert_eq!(named(&seen_from(&bench, "app-1", 0)), [(app, 0, None)]);
    assert_eq!(named(&seen_from(&bench, "app-1", 1)), [(app, 0, None), (pack, 1, Some(Bound))]);
    let whole = [(app, 0, None), (pack, 1, Some(Bound)), (module, 2, Some(Bound))];
    assert_eq!(named(&seen_from(&bench, "app-1", 3)), whole);
    let links = |bench: &Bench, cid| {
        let links = mrh::links(&bench.state, cid, bench.time_ms).unwrap();
        links.iter().map(|l| (l.kind, l.peer)).collect::<Vec<_>>()
    };
    assert_eq!(links(&bench, &app), [(Bound, pack), (Paired, pack)]);
    // What the app saw of the module makes them neighbours.
    let signed =
        signed_event(&event(EventKind::Fault, "module-1", 1, b"x"), &bound_key("module-1", "pack-1"));
    let seen = vec![attest(&signed, "app-1", START_MS, &bound_key("app-1", "pack-1"))];
    bench.accept(Body::Validate { signed, witnesses: seen });
    assert_eq!(named(&seen_from(&bench, "app-1", 3))[2], (module, 1, Some(Saw)));
    let of_module: Witnessing = get(&bench, &state_key::witnessing(&module));
    assert_eq!(of_module.0, [Seen { peer: app, saw: 0, seen_by: 1, last_ms: bench.time_ms }]);
    let of_app: Witnessing = get(&bench, &state_key::witnessing(&app));
    assert_eq!(of_app.0, [Seen { peer: module, saw: 1, seen_by: 0, last_ms: bench.time_ms }]);
    // A link goes with what made it.
    bench.accept(Body::Revoke { target: Target::Pairing(PairingId([1; 16])), reason: 2 });
    assert_eq!(links(&bench, &app), [(Bound, pack), (Saw, module)]);
    bench.accept(Body::Revoke { target: Target::Binding(binding_id("app-1", "pack-1")), reason: 2 });
    assert_eq!(links(&bench, &app), [(Saw, module)]);
    assert_eq!(
        named(&seen_from(&bench, "app-1", 10)),
        [(app, 0, None), (module, 1, Some(Saw)), (pack, 2, Some(Bound))]
    );
    bench.time_ms += 90 * 86_400_000;
    assert_eq!(links(&bench, &pack), [(Bound, module)]);
}

/// A star of stars has more than a horizon holds: it says so, and is the same each time.
#[test]
fn a_horizon_is_bounded() {
    let mut bench = Bench::running();
    let far = |n: u16| {
        let mut cid = [0xee; 16];
        cid[..2].copy_from_slice(&n.to_be_bytes());
        Cid(cid)
    };
    let seen = |first: u16| {
        let seen = |n| Seen { peer: far(n), saw: 1, seen_by: 0, last_ms: 1 };
        Witnessing((first..first + MAX_SEEN as u16).map(seen).collect())
    };
    bench.state.put(state_key::witnessing(&Cid::of("pack-1")), &seen(0));
    for n in 0..MAX_SEEN as u16 {
        bench.state.put(state_key::witnessing(&far(n)), &seen((n + 1) * 100));
    }
    let horizon = seen_from(&bench, "pack-1", 2);
    assert!(horizon.cut);
    assert_eq!(horizon.reached.len(), MAX_REACHED);
    assert_eq!(horizon, seen_from(&bench, "pack-1", 2));
    assert!(!seen_from(&bench, "pack-1", 1).cut);
}

#[test]
fn of_many_acquaintances_the_one_met_longest_ago_gives_way() {
    let mut bench = Bench::running();
    let far = |n: u8| Cid([n; 16]);
    let seen = |n: u8| Seen { peer: far(n), saw: 1, seen_by: 0, last_ms: if n == 7 { 1 } else { 2 } };
    let full = Witnessing((0..MAX_SEEN as u8).map(seen).collect());
    bench.state.put(state_key::witnessing(&Cid::of("module-1")), &full);
    let signed =
        signed_event(&event(EventKind::Fault, "module-1", 1, b"x"), &bound_key("module-1", "pack-1"));
    let seen = vec![attest(&signed, "app-1", START_MS, &bound_key("app-1", "pack-1"))];
    bench.accept(Body::Validate { signed, witnesses: seen });
    let after: Witnessing = get(&bench, &state_key::witnessing(&Cid::of("module-1")));
    let has = |cid: Cid| after.0.iter().any(|s| s.peer == cid);
    assert_eq!(after.0.len(), MAX_SEEN);
    assert!(has(Cid::of("app-1")) && has(far(6)) && !has(far(7)));
    assert!(after.0.is_sorted_by_key(|s| s.peer), "one order, whoever came first");
}
