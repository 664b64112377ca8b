//! Trust on the ledger (L197 to L203): every rejection in its order, what moves a tensor, and what is told of it.
//!
//! Rules L190 to L203 and L225.

use crate::world;

use lct::{
    binding::Assurance,
    energy::EnergyKind,
    id::{BindingId, Cid, PairingId, Role},
    revocation::Reason,
    sign::SigningKey,
    trust::{MetricsReport, TrustContext},
    validation::{Escalation, EscalationReason, Event, EventKind, Urgency, ValidationLevel},
};
use ledger::{
    codec::Canonical,
    records::{Cause, Change, Cycle, NO_COMPONENT, Tensor, TrustSubject, Voucher, key as state_key},
    reject::Rejection::*,
    standing::{self, Level, Standing},
    state::load,
    trust::{
        Outcome, Ppm, T3, Weights,
        update::{Evidence, Metrics},
    },
    tx::{Body, Signed, Target},
};
use proptest::{prelude::*, test_runner::RngSeed};
use world::{bench::*, *};

/// What makes constants unusable.
type Spoil<'a> = &'a dyn Fn(&mut Weights);

const HOUR: u64 = 3_600_000;
const MONTH: u64 = 2_592_000_000;

fn of(id: &str) -> TrustSubject {
    TrustSubject::Component(Cid::of(id))
}

fn relation(a: &str, b: &str) -> TrustSubject {
    TrustSubject::Relation(binding_id(a, b))
}

fn found(bench: &Bench, subject: &TrustSubject, context: TrustContext) -> Option<Tensor> {
    load(&bench.state, &state_key::tensor(subject, context)).unwrap()
}

fn tensor(bench: &Bench, subject: &TrustSubject) -> Tensor {
    found(bench, subject, TrustContext::Operation).unwrap()
}

fn t3(t: &Tensor) -> [u32; 3] {
    [t.talent, t.training, t.temperament].map(Ppm::get)
}

fn v3(t: &Tensor) -> (u64, u32, u32) {
    let v = t.v3();
    (v.valuation, v.veracity.get(), v.validity.get())
}

fn last(t: &Tensor) -> (Cause, Voucher, Cid) {
    let Change { cause, voucher, by, .. } = *t.changes.0.last().unwrap();
    (cause, voucher, by)
}

fn told(bench: &Bench, id: &str, context: TrustContext) -> Standing {
    let weights = &bench.params.trust;
    standing::component(&bench.state, weights, &Cid::of(id), context, bench.time_ms).unwrap().unwrap()
}

/// The pack's word about its module.
fn pack_says() -> SigningKey {
    bound_key("pack-1", "module-1")
}

/// A running pack, two hours later, so that there are hours to speak of.
fn later() -> Bench {
    let mut bench = Bench::running();
    bench.time_ms += 2 * HOUR;
    bench
}

#[test]
pub fn report_rules() {
    let mut bench = later();
    bench.accept(register("module-2", Role::Module));
    bench.accept(register("stranger", Role::Module));
    bench.accept(bind(PACK, ("module-2", Role::Module)));
    let now = bench.time_ms;
    let (stranger, by_pack) = (key("stranger"), pack_says());
    let good = metrics("pack-1", "module-1", now, 900_000);
    let with = |change: &dyn Fn(&mut MetricsReport), signer: &SigningKey| {
        let mut r = good;
        change(&mut r);
        metrics_with(&r, signer)
    };
    let garbage = |body: Body, f: &dyn Fn(&mut Signed)| {
        let Body::Metrics(mut signed) = body else { unreachable!() };
        f(&mut signed);
        Body::Metrics(signed)
    };
    let soon = now + bench.params.max_future_ms + 1;
    let nobody = Cid::of("nobody");
    let from = START_MS + HOUR - bench.params.max_future_ms;
    let rows = [
        (
            "damaged, unknown key",
            garbage(with(&|_| (), &stranger), &|s| s.statement.push(0)),
            StatementFormat,
        ),
        ("another version", garbage(with(&|_| (), &stranger), &|s| s.statement[2] = 2), StatementFormat),
        (
            "a context that is none",
            garbage(with(&|_| (), &stranger), &|s| s.statement[40] = 5),
            StatementFormat,
        ),
        ("unknown key, another's cid", with(&|r| r.observer = nobody, &stranger), StatementKeyUnknown),
        ("the module's key", with(&|r| r.end_ms = soon, &bound_key("module-1", "pack-1")), StatementSigner),
        (
            "not signed, in the future",
            garbage(with(&|r| r.end_ms = soon, &by_pack), &|s| s.signature.0[9] ^= 1),
            StatementSignature,
        ),
        (
            "in the future, of nobody",
            with(&|r| (r.end_ms, r.subject) = (soon, nobody), &by_pack),
            StatementTime,
        ),
        (
            "of nobody, of no length",
            with(&|r| (r.subject, r.start_ms) = (nobody, r.end_ms), &by_pack),
            TrustSubject,
        ),
        (
            "of one that was never bound, of no length",
            with(&|r| (r.subject, r.start_ms) = (Cid::of("stranger"), r.end_ms), &by_pack),
            TrustUnbound,
        ),
        (
            "by one that is not bound with it and has no owner, of no length",
            metrics_with(
                &MetricsReport { start_ms: now, ..metrics("module-2", "module-1", now, 0) },
                &bound_key("module-2", "pack-1"),
            ),
            TrustObserver,
        ),
        ("too short, long ago", with(&|r| (r.start_ms, r.end_ms) = (1, HOUR), &by_pack), TrustPeriod),
        ("from before it was bound", with(&|r| r.start_ms = from - 1, &by_pack), TrustOverlap),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    bench.accept(with(&|r| r.start_ms = from, &by_pack));
    bench.refuse("the same again", with(&|r| r.start_ms = from, &by_pack), TrustOverlap);
    bench.time_ms += HOUR;
    let next = |start: u64| with(&|r| (r.start_ms, r.end_ms) = (start, now + HOUR), &by_pack);
    bench.refuse("one millisecond twice", next(now - 1), TrustOverlap);
    let elsewhere = with(&|r| (r.start_ms, r.context) = (from, TrustContext::Energy), &by_pack);
    bench.accept(elsewhere);
    bench.accept(next(now));
    assert_eq!(
        bench.send(
            1,
            metrics_with(&metrics("module-1", "module-1", now, 0), &bound_key("module-1", "pack-1"))
        ),
        None,
        "an operator may bring it"
    );
    bench.accept(Body::Revoke {
        target: Target::Component(Cid::of("module-1")),
        reason: Reason::Retired as u8,
    });
    bench.time_ms += HOUR;
    bench.refuse(
        "of one that was revoked",
        with(&|r| (r.start_ms, r.end_ms) = (now + HOUR, now + 2 * HOUR), &pack_key()),
        TrustSubject,
    );
}

#[test]
fn a_counterparty_moves_all_of_it_and_leaves_evidence() {
    let mut bench = later();
    assert_eq!(t3(&tensor(&bench, &of("module-1"))), [500_000; 3]);
    let report = MetricsReport {
        metrics: [800_000, 900_000, 700_000, 600_000, 400_000],
        ..metrics("pack-1", "module-1", bench.time_ms, 0)
    };
    bench.accept(metrics_with(&report, &pack_says()));
    let t = tensor(&bench, &of("module-1"));
    // Seen 740 000, 800 000, 500 000; half the way (n = 0) by six tenths of confidence.
    assert_eq!(t3(&t), [572_000, 590_000, 500_000]);
    assert_eq!(
        (t.observations, t.claims, t.verified, t.promised, t.earned),
        (1, 1, 420_000, 1_000_000, 800_000)
    );
    assert_eq!(v3(&t), (800_000, 420_000, 500_000));
    assert_eq!(last(&t), (Cause::Metrics, Voucher::Counterparty, Cid::of("pack-1")));
    assert_eq!((t.count, t.changes.0.len()), (2, 2), "the baseline is the first");
    assert_eq!(t.changes.0[0].cause, Cause::Baseline);
    let fresh = found(&bench, &of("module-1"), TrustContext::Diagnostic);
    assert_eq!(fresh, None, "nobody said anything of it there");

    bench.time_ms += 12 * HOUR;
    for n in 0..12 {
        let end = report.end_ms + (n + 1) * HOUR;
        bench.accept(metrics_with(&metrics("pack-1", "module-1", end, 0), &pack_says()));
    }
    let t = tensor(&bench, &of("module-1"));
    assert_eq!((t.observations, t.count, t.changes.0.len()), (13, 14, 8), "the last ones are kept");
    // Six tenths of confidence take six tenths of the baseline of 500 000, and no more.
    assert_eq!(t3(&t), [200_000; 3]);
    // Where others brought it lower it stays: the counterparty lifts nothing by saying the worst.
    bench.change(state_key::tensor(&of("module-1"), TrustContext::Operation), |t: &mut Tensor| {
        t.talent = Ppm::new(150_000).unwrap();
    });
    bench.time_ms += HOUR;
    bench.accept(metrics_with(&metrics("pack-1", "module-1", bench.time_ms, 0), &pack_says()));
    assert_eq!(t3(&tensor(&bench, &of("module-1"))), [150_000, 200_000, 200_000]);
}

#[test]
fn its_own_word_carries_it_little_and_freezes_nothing() {
    let mut bench = Bench::running();
    let own = bound_key("module-1", "pack-1");
    bench.time_ms += 40 * HOUR;
    let from = bench.time_ms - 40 * HOUR;
    for n in 1..=40 {
        bench.accept(metrics_with(&metrics("module-1", "module-1", from + n * HOUR, 1_000_000), &own));
    }
    let t = tensor(&bench, &of("module-1"));
    assert_eq!(t3(&t), [550_000; 3], "a tenth of the way from its baseline to one");
    assert_eq!((t.observations, t.claims, t.promised), (0, 0, 0));
    assert_eq!(v3(&t), (500_000, 500_000, 500_000), "of its own claims nothing is known");
    bench.accept(metrics_with(&metrics("pack-1", "module-1", bench.time_ms, 150_000), &pack_says()));
    // Down counts twice, so six tenths of the whole way: all that it said about itself weighs nothing against it.
    assert_eq!(t3(&tensor(&bench, &of("module-1"))), [310_000; 3]);
    bench.time_ms += HOUR;
    bench.accept(metrics_with(&metrics("module-1", "module-1", bench.time_ms, 0), &own));
    assert_eq!(t3(&tensor(&bench, &of("module-1"))), [279_000; 3], "what it admits counts");
}

#[test]
pub fn a_witness_belongs_to_another_owner() {
    let mut bench = later();
    bench.accept(register("module-2", Role::Module));
    bench.accept(bind(PACK, ("module-2", Role::Module)));
    let says = |bench: &Bench| {
        metrics_with(
            &metrics("module-2", "module-1", bench.time_ms, 900_000),
            &bound_key("module-2", "pack-1"),
        )
    };
    let sell = |bench: &mut Bench, id: &str, to: &str| {
        bench.accept(transfer_with(&first_hop(id, to), [&key("batch"), &key(to)]));
    };
    let body = says(&bench);
    bench.refuse("nobody's", body, TrustObserver);
    sell(&mut bench, "module-1", "owner-1");
    let body = says(&bench);
    bench.refuse("one of them nobody's", body, TrustObserver);
    let mut same = bench;
    sell(&mut same, "module-2", "owner-1");
    let body = says(&same);
    same.refuse("of the same owner", body, TrustObserver);
    // Another world in which it is another's.
    let mut other = later();
    other.accept(register("module-2", Role::Module));
    other.accept(bind(PACK, ("module-2", Role::Module)));
    sell(&mut other, "module-1", "owner-1");
    sell(&mut other, "module-2", "owner-2");
    let body = says(&other);
    other.accept(body);
    let t = tensor(&other, &of("module-1"));
    assert_eq!((t3(&t), last(&t).1), ([700_000; 3], Voucher::Witness));
    assert_eq!(v3(&t), (900_000, 900_000, 500_000));
}

#[test]
fn bindings_and_pairings_are_baselines() {
    let mut bench = Bench::new();
    for (id, role) in [PACK, MODULE] {
        bench.accept(register(id, role));
    }
    assert_eq!(
        found(&bench, &of("module-1"), TrustContext::Operation),
        None,
        "before anybody answers for it"
    );
    let mut plain = binding(PACK, MODULE);
    plain.assurance = Assurance::Plain;
    plain.binding_id = BindingId([1; 16]);
    let keys = [key("plain-a"), key("plain-b"), key("authority")];
    (plain.entities[0].sign_pub, plain.entities[1].sign_pub) = (keys[0].public(), keys[1].public());
    bench.accept(bind_with(&plain, [&keys[0], &keys[1], &keys[2]]));
    let t = tensor(&bench, &of("module-1"));
    assert_eq!((t3(&t), t.baseline.get(), t.recovers_to.get()), ([300_000; 3], 300_000, 300_000));
    assert_eq!(last(&t), (Cause::Baseline, Voucher::Ledger, NO_COMPONENT));
    bench.accept(bind(PACK, MODULE));
    let t = tensor(&bench, &of("module-1"));
    assert_eq!((t3(&t), t.count), ([500_000; 3], 1), "a better binding, and nothing happened in between");

    assert_eq!(found(&bench, &relation("pack-1", "module-1"), TrustContext::Operation), None);
    bench.accept(pair("pack-1", "module-1", 7));
    let t = tensor(&bench, &relation("pack-1", "module-1"));
    assert_eq!((t3(&t), last(&t).0), ([500_000; 3], Cause::Baseline));
    let t = tensor(&bench, &of("module-1"));
    let pack = Cid::of("pack-1");
    assert_eq!(
        (t3(&t), last(&t)),
        ([521_000, 509_000, 506_000], (Cause::Outcome(Outcome::NovelSuccess), Voucher::Counterparty, pack))
    );
    bench.accept(pair("pack-1", "module-1", 8));
    assert_eq!(t3(&tensor(&bench, &relation("pack-1", "module-1"))), [500_000, 504_500, 503_000]);
    bench.accept(pair("pack-1", "module-1", 9));
    // The second of the same kind in a row is worth eight tenths.
    assert_eq!(t3(&tensor(&bench, &relation("pack-1", "module-1"))), [500_000, 508_100, 505_400]);

    // Who lost trust does not get it back by a new binding.
    bench.accept(Body::Revoke {
        target: Target::SigningKey(bound_key("module-1", "pack-1").public()),
        reason: Reason::Violation as u8,
    });
    let before = t3(&tensor(&bench, &of("module-1")));
    let mut again = binding(PACK, MODULE);
    again.binding_id = BindingId([2; 16]);
    again.assurance = Assurance::AttestedAndCode;
    let keys = [key("again-a"), key("again-b"), key("authority")];
    (again.entities[0].sign_pub, again.entities[1].sign_pub) = (keys[0].public(), keys[1].public());
    bench.accept(bind_with(&again, [&keys[0], &keys[1], &keys[2]]));
    assert_eq!(t3(&tensor(&bench, &of("module-1"))), before);
}

#[test]
fn what_is_withdrawn_for_cause_costs_trust() {
    let revoke = |target, reason: Reason| Body::Revoke { target, reason: reason as u8 };
    let (module, pack) = (of("module-1"), of("pack-1"));
    let between = relation("app-1", "pack-1");
    let rows = [
        ("retired", revoke(Target::Component(Cid::of("module-1")), Reason::Retired), &module, None),
        (
            "lost",
            revoke(Target::Component(Cid::of("module-1")), Reason::Lost),
            &module,
            Some([480_000, 490_000, 480_000]),
        ),
        (
            "a violation",
            revoke(Target::Component(Cid::of("module-1")), Reason::Violation),
            &module,
            Some([450_000, 500_000, 400_000]),
        ),
        (
            "a pairing",
            revoke(Target::Pairing(PairingId([1; 16])), Reason::Violation),
            &between,
            Some([450_000, 500_000, 400_000]),
        ),
        (
            "a binding",
            revoke(Target::Binding(binding_id("app-1", "pack-1")), Reason::KeyCompromise),
            &between,
            Some([480_000, 490_000, 480_000]),
        ),
        (
            "its parts are not to blame",
            revoke(Target::Binding(binding_id("app-1", "pack-1")), Reason::Violation),
            &pack,
            None,
        ),
        (
            "what goes along is not to blame",
            revoke(Target::Component(Cid::of("pack-1")), Reason::Violation),
            &module,
            None,
        ),
        (
            "a key, its owner",
            revoke(Target::SigningKey(bound_key("module-1", "pack-1").public()), Reason::Lost),
            &module,
            Some([480_000, 490_000, 480_000]),
        ),
        (
            "a key, its relation",
            revoke(Target::SigningKey(pack_key().public()), Reason::Lost),
            &between,
            Some([480_000, 490_000, 480_000]),
        ),
    ];
    for (what, body, subject, expected) in rows {
        let mut bench = Bench::running();
        let before = tensor(&bench, subject);
        bench.accept(body);
        let after = tensor(&bench, subject);
        match expected {
            None => assert_eq!(before, after, "{what}"),
            Some(expected) => {
                assert_eq!(t3(&after), expected, "{what}");
                assert_eq!((last(&after).1, last(&after).2), (Voucher::Ledger, NO_COMPONENT), "{what}");
            }
        }
    }
    // A side that accuses the other moves their relation, and not the other.
    let mut bench = Bench::running();
    let (accused, side) = (tensor(&bench, &pack), Cid::of("app-1"));
    let e =
        event(EventKind::PairingRevocation, "app-1", 1, &[&[1; 16][..], &[Reason::Violation as u8]].concat());
    bench.accept(Body::RevokeSigned(signed_event(&e, &bound_key("app-1", "pack-1"))));
    assert_eq!(
        last(&tensor(&bench, &between)),
        (Cause::Outcome(Outcome::Violation), Voucher::Counterparty, side)
    );
    assert_eq!(tensor(&bench, &pack), accused);
}

#[test]
fn events_and_their_witnesses() {
    let mut bench = Bench::running();
    let own = bound_key("module-1", "pack-1");
    let time = bench.time_ms;
    let say = |bench: &mut Bench, seq: u32, kind: EventKind, payload: &[u8], change: &dyn Fn(&mut Event)| {
        let mut e = event(kind, "module-1", seq, payload);
        change(&mut e);
        let signed = signed_event(&e, &own);
        let seen = vec![attest(&signed, "pack-1", time, &pack_says())];
        let witnesses = if kind == EventKind::Announce { vec![] } else { seen };
        bench.accept(Body::Validate { signed, witnesses });
    };
    say(&mut bench, 1, EventKind::Fault, b"hot", &|_| ());
    let t = tensor(&bench, &of("module-1"));
    let pack = Cid::of("pack-1");
    assert_eq!(
        (t3(&t), last(&t)),
        ([490_000, 500_000, 500_000], (Cause::Outcome(Outcome::ExpectedFailure), Voucher::Subject, pack))
    );
    say(&mut bench, 2, EventKind::Energy, &[1; 32], &|_| ());
    let t = found(&bench, &of("module-1"), TrustContext::Energy).unwrap();
    assert_eq!(
        (t3(&t), v3(&t), last(&t)),
        // Where it is in operation, after the fault.
        (
            [490_000, 500_000, 500_000],
            (500_000, 600_000, 500_000),
            (Cause::Claim, Voucher::Counterparty, pack)
        )
    );
    say(&mut bench, 3, EventKind::Telemetry, &[1; 32], &|_| ());
    assert_eq!(found(&bench, &of("module-1"), TrustContext::Diagnostic).unwrap().claims, 1);
    say(&mut bench, 4, EventKind::StateChange, b"on", &|_| ());
    let before = tensor(&bench, &of("module-1"));
    assert_eq!((before.claims, t3(&before)), (1, [490_000, 500_000, 500_000]));

    let asks = |e: &mut Event| {
        e.escalation = Some(Escalation {
            target: ValidationLevel::Command,
            reason: EscalationReason::Anomaly,
            urgency: Urgency::Immediate,
        });
    };
    for n in 0..10 {
        say(&mut bench, 5 + n, EventKind::Announce, &[0, 0], &asks);
    }
    let t = tensor(&bench, &of("module-1"));
    assert_eq!((t3(&t), t.count, t.asked), (t3(&before), before.count, 10), "who asks in need is not blamed");
    say(&mut bench, 15, EventKind::Announce, &[0, 0], &asks);
    let t = tensor(&bench, &of("module-1"));
    assert_eq!((t3(&t), last(&t).1), ([470_000, 490_000, 480_000], Voucher::Ledger), "who keeps asking is");
    bench.time_ms += HOUR;
    say(&mut bench, 16, EventKind::Announce, &[0, 0], &asks);
    let after = tensor(&bench, &of("module-1"));
    assert_eq!((t3(&after), after.asked), (t3(&t), 1), "the next hour begins anew");
}

#[test]
fn cycles_are_deliveries() {
    let mut bench = Bench::running();
    let energy_of = |bench: &Bench| found(bench, &of("pack-1"), TrustContext::Energy).unwrap();
    let opened = |cycle| energy_with(&energy(EnergyKind::Opening, cycle, 0, 0), &pack_key());
    assert_eq!(found(&bench, &of("pack-1"), TrustContext::Energy), None, "an opening delivers nothing");
    // Energy begins where operation is.
    bench.change(state_key::tensor(&of("pack-1"), TrustContext::Operation), |t: &mut Tensor| {
        (t.talent, t.training, t.temperament) = (Ppm::HALF, Ppm::HALF, Ppm::HALF);
    });
    bench.accept(opened(2));
    let t = energy_of(&bench);
    assert_eq!((t.deliveries, t.delivered, t3(&t)), (1, 0, [490_000, 500_000, 500_000]), "cycle 1 was left");
    assert_eq!(last(&t), (Cause::Outcome(Outcome::ExpectedFailure), Voucher::Ledger, NO_COMPONENT));
    let close = |bench: &mut Bench, cycle: u32| {
        let c: Cycle = load(&bench.state, &state_key::cycle(&Cid::of("pack-1"), cycle)).unwrap().unwrap();
        let close = lct::energy::CycleClose {
            cid: Cid::of("pack-1"),
            cycle,
            events: c.events,
            charged_mwh: c.charged,
            discharged_mwh: c.discharged,
            start_ms: c.start_ms,
            end_ms: c.end_ms,
        };
        bench.accept(close_with(&close, &pack_key()));
    };
    close(&mut bench, 2);
    let t = energy_of(&bench);
    assert_eq!((t.deliveries, t.delivered, v3(&t).2), (2, 1, 500_000));
    // A tenth of 7 500 and 5 000; nothing was lost, so talent goes a tenth of half the way to one: 490 000 + 25 500.
    assert_eq!(t3(&t), [515_500, 500_750, 500_500]);
    close(&mut bench, 1);
    let t = energy_of(&bench);
    assert_eq!((t.deliveries, t.delivered, v3(&t).2), (2, 2, 1_000_000), "late, and not counted twice");
    // The next opening finds 100 000 of 250 000 mWh gone, which no event took.
    let mut lower = energy(EnergyKind::Opening, 3, 0, 0);
    lower.soc_ppm = 300_000;
    bench.accept(energy_with(&lower, &pack_key()));
    assert_eq!(energy_of(&bench).deliveries, 2, "cycle 2 was closed");
    let before = energy_of(&bench).talent.get();
    close(&mut bench, 3);
    // Seen 600 000 from above or below: by a tenth of half the way.
    let expected = before + (600_000 - before) / 20;
    assert_eq!(energy_of(&bench).talent.get(), expected);
}

#[test]
fn what_is_told() {
    let mut bench = later();
    for _ in 0..40 {
        bench.accept(metrics_with(&metrics("pack-1", "module-1", bench.time_ms, 1_000_000), &pack_says()));
        let high = MetricsReport {
            context: TrustContext::CriticalSafety,
            ..metrics("pack-1", "module-1", bench.time_ms, 850_000)
        };
        bench.accept(metrics_with(&high, &pack_says()));
        bench.time_ms += HOUR;
    }
    // Its certificate says: key in secure storage, debugging not locked.
    let s = told(&bench, "module-1", TrustContext::Operation);
    assert!(s.t3.composite(&bench.params.trust) > Ppm::new(990_000).unwrap());
    assert_eq!((s.ceiling.get(), s.score.get(), s.level), (750_000, 750_000, Level::Standard));
    assert_eq!(
        (s.gates(TrustContext::Operation, &bench.params.trust), s.limit),
        ([true, true, false, true], Ppm::ONE)
    );
    bench.params.trust.ceilings[1] = 1_000_000;
    let s = told(&bench, "module-1", TrustContext::Operation);
    assert_eq!((s.level, s.limit), (Level::High, Ppm::ONE), "a limit never exceeds the rated value");
    // Critical safety asks for a tenth more; the score is the same arithmetic.
    let s = told(&bench, "module-1", TrustContext::CriticalSafety);
    assert!(s.score > Ppm::new(830_000).unwrap() && s.score <= Ppm::new(850_000).unwrap());
    assert_eq!(
        (s.level, s.gates(TrustContext::CriticalSafety, &bench.params.trust)),
        (Level::Standard, [true, true, false, true])
    );
    for _ in 0..10 {
        bench.accept(metrics_with(&metrics("pack-1", "module-1", bench.time_ms, 0), &pack_says()));
        bench.time_ms += HOUR;
    }
    let s = told(&bench, "module-1", TrustContext::Operation);
    assert_eq!((s.level, s.limit.get()), (Level::Low, 800_000));

    // A relation is trusted no more than either side, and there is none before a pairing.
    let rel = |bench: &Bench| {
        standing::relation(
            &bench.state,
            &bench.params.trust,
            &binding_id("pack-1", "module-1"),
            bench.time_ms,
        )
        .unwrap()
    };
    assert_eq!(rel(&bench), None);
    bench.accept(pair("pack-1", "module-1", 9));
    let (r, side) = (rel(&bench).unwrap(), told(&bench, "module-1", TrustContext::Operation));
    assert_eq!((r.t3.talent.get(), r.score, r.ceiling), (500_000, side.score, side.score));
    let nothing = standing::component(
        &bench.state,
        &bench.params.trust,
        &Cid::of("nobody"),
        TrustContext::Operation,
        0,
    );
    assert_eq!(nothing.unwrap(), None);
}

#[test]
fn time_without_acts() {
    let mut bench = Bench::running();
    bench.accept(Body::Revoke {
        target: Target::SigningKey(bound_key("module-1", "pack-1").public()),
        reason: Reason::Violation as u8,
    });
    let at = |bench: &mut Bench, months: u64| {
        let now = bench.time_ms;
        bench.time_ms += months * MONTH;
        let s = told(bench, "module-1", TrustContext::Operation);
        bench.time_ms = now;
        s.t3.dimensions().map(Ppm::get)
    };
    assert_eq!(at(&mut bench, 0), [450_000, 500_000, 400_000]);
    assert_eq!(at(&mut bench, 3), [450_000, 497_000, 430_000]);
    assert_eq!(at(&mut bench, 60), [450_000, 440_000, 500_000], "no further than before the violation");
    // Another one 3 months later: recovery ends where it stood then.
    bench.time_ms += 3 * MONTH + 5;
    bench.accept(Body::Revoke {
        target: Target::Component(Cid::of("module-1")),
        reason: Reason::Violation as u8,
    });
    assert_eq!(t3(&tensor(&bench, &of("module-1"))), [400_000, 497_000, 330_000]);
    assert_eq!(at(&mut bench, 60), [400_000, 437_000, 430_000]);
}

fn vectors() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/link-more.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn hex_of(v: &serde_json::Value) -> Vec<u8> {
    let text = v.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// What the model computed from the text alone: every formula, the record of a tensor, the constants of a chain.
#[test]
fn the_model_agrees() {
    let v = vectors();
    let int = |v: &serde_json::Value| u32::try_from(v.as_u64().unwrap()).unwrap();
    let three = |v: &serde_json::Value| T3::of([0, 1, 2].map(|i| Ppm::new(int(&v[i])).unwrap()));
    let weights = Weights::default();
    let mut t3 = T3::level(Ppm::HALF);
    let steps = v["trust_steps"]["steps"].as_array().unwrap();
    for step in steps {
        let sure = Ppm::new(600_000).unwrap();
        let share = |name: &str| Ppm::new(int(&step[name])).unwrap();
        t3 = match step["what"].as_str().unwrap() {
            "observe" => {
                let e = Evidence { count: int(&step["count"]).into(), confidence: sure, weight: Ppm::ONE };
                t3.after_observation(&three(&step["seen"]), &e, &weights)
            }
            "observe_low" => {
                let [confidence, weight] = [100_000, 500_000].map(|p| Ppm::new(p).unwrap());
                let e = Evidence { count: int(&step["count"]).into(), confidence, weight };
                t3.after_observation(&three(&step["seen"]), &e, &weights)
            }
            "outcome" => {
                let outcome = Outcome::from_number(int(&step["outcome"]) as u8).unwrap();
                t3.after_outcome(outcome, int(&step["n"]), sure, &weights)
            }
            "quality" => t3.after_quality(share("quality"), &weights),
            _ => t3.after_idle(int(&step["months"]).into(), share("limit"), &weights),
        };
        assert_eq!(t3, three(&step["t3"]), "{step}");
        assert_eq!(t3.composite(&weights).get(), int(&step["composite"]), "{step}");
    }
    assert_eq!(steps.len(), 18);

    let report = hex_of(&v["trust_report"]["report"]);
    let r = MetricsReport::decode(&report).unwrap();
    let [efficiency, reliability, accuracy, responsiveness, safety] = r.metrics.map(|m| Ppm::new(m).unwrap());
    let seen = Metrics { efficiency, reliability, accuracy, responsiveness, safety }.observation(&weights);
    assert_eq!(seen, three(&steps[0]["seen"]));

    let bytes = hex_of(&v["trust_tensor"]["tensor"]);
    let t = Tensor::from_bytes(&bytes).unwrap();
    assert_eq!(t.to_bytes(), bytes);
    assert_eq!((t.observations, t.outcome, t.count, t.earned), (1, 5, 3, u128::from(r.metrics[0])));
    assert_eq!(last(&t), (Cause::Outcome(Outcome::Violation), Voucher::Ledger, NO_COMPONENT));
    assert_eq!(t.changes.0[1].by, r.observer);
    for cut in 0..bytes.len() {
        assert!(Tensor::from_bytes(&bytes[..cut]).is_err(), "{cut}");
    }
    let mut many = t.clone();
    many.changes.0 = vec![t.changes.0[0]; 17];
    assert!(Tensor::from_bytes(&many.to_bytes()).is_err(), "more changes than any chain keeps");

    let constants = hex_of(&v["trust_constants"]["bytes"]);
    let params = genesis().params.to_bytes();
    assert!(params.windows(constants.len()).any(|w| w == constants), "the defaults of L196 under their keys");
}

#[test]
fn constants_that_make_no_sense_start_no_chain() {
    let rows: [(&str, Spoil<'_>); 14] = [
        ("T3 sums to more than one", &|w| w.t3 = [4000, 3000, 3001]),
        ("V3", &|w| w.v3[0] = 0),
        ("a row of the matrix", &|w| w.matrix[2] = [0; 5]),
        ("sums that wrap", &|w| w.health = [u32::MAX, 10_001, 0]),
        ("a confidence above one", &|w| w.confidence[0] = 1_000_001),
        ("no k", &|w| w.rate[0] = 0),
        ("denominators in disorder", &|w| w.rate = [10, 101, 100, 2]),
        ("a loss that counts nothing", &|w| w.rate[3] = 0),
        ("an empty month", &|w| w.idle[0] = 0),
        ("LOW above HIGH", &|w| w.levels = [2, 1]),
        ("a limit beyond the rated value", &|w| w.limits[1] = 1_000_001),
        ("no period", &|w| w.updates[0] = 0),
        ("no history", &|w| w.updates[1] = 0),
        ("a history of 17", &|w| w.updates[1] = 17),
    ];
    for (what, change) in rows {
        let mut g = genesis();
        assert_eq!(g.check(), Ok(()));
        change(&mut g.params.trust);
        assert!(g.check().is_err(), "{what}");
    }
    let mut g = genesis();
    g.params.trust.hops[4] = 7;
    assert_eq!(ledger::genesis::Genesis::from_bytes(&g.to_bytes()).unwrap(), g);
    assert_ne!(g.chain_id(), chain_id(), "every constant is part of the chain's identity");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    /// Whoever reports whatever, in whatever order: dimensions stay in bounds, its own word stays below its bound, counts
    /// grow with others' words alone, and the same history gives the same bytes.
    #[test]
    fn any_history_keeps_the_bounds(steps in prop::collection::vec((0..2_usize, 0..=1_000_000_u32, 1..50_u64), 1..10)) {
        let run = || {
            let mut bench = Bench::running();
            let mut own_only = true;
            for (who, each, hours) in &steps {
                bench.time_ms += hours * HOUR;
                let (observer, signer) = [("module-1", bound_key("module-1", "pack-1")), ("pack-1", pack_says())][*who].clone();
                own_only &= *who == 0;
                let before = tensor(&bench, &of("module-1")).observations;
                bench.accept(metrics_with(&metrics(observer, "module-1", bench.time_ms, *each), &signer));
                let after = tensor(&bench, &of("module-1"));
                assert_eq!(after.observations, before + *who as u64);
                assert!(t3(&after).iter().all(|d| *d <= if own_only { 550_000 } else { 1_000_000 }));
            }
            tensor(&bench, &of("module-1"))
        };
        let (one, two) = (run(), run());
        prop_assert_eq!(one.to_bytes(), two.to_bytes());
        // Read late or brought up to date on the way: the same.
        let weights = Weights::default();
        let far = one.since_ms + 7 * MONTH + 3;
        let (late, _) = one.at(far, &weights);
        let mut eager = one.clone();
        for step in [MONTH - 1, 2 * MONTH, 5 * MONTH + 9] {
            let (t, since) = eager.at(one.since_ms + step, &weights);
            [eager.talent, eager.training, eager.temperament] = t.dimensions();
            eager.since_ms = since;
        }
        prop_assert_eq!(eager.at(far, &weights).0, late);
    }
}
