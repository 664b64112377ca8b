//! The arithmetic of trust (L190 to L195): known answers, and what holds whatever the numbers are.
use ledger::trust::{
    Outcome::*,
    Ppm, T3, V3, Weights, decay, health, outcome,
    update::{Evidence, Metrics, rate},
};
use proptest::{prelude::*, test_runner::RngSeed};

fn ppm(parts: u32) -> Ppm {
    Ppm::new(parts).unwrap()
}

fn t3(talent: u32, training: u32, temperament: u32) -> T3 {
    T3 { talent: ppm(talent), training: ppm(training), temperament: ppm(temperament) }
}

const HALF: T3 = T3 { talent: Ppm::HALF, training: Ppm::HALF, temperament: Ppm::HALF };

/// A count of none, full confidence, neutral weight.
const FRESH: Evidence = Evidence { count: 0, confidence: Ppm::ONE, weight: Ppm::ONE };

#[test]
fn composites() {
    let w = Weights::default();
    for ([a, b, c], expected) in [
        ([900_000, 800_000, 700_000], 810_000),
        ([800_000, 700_000, 900_000], 800_000),
        ([0, 0, 0], 0),
        ([1_000_000; 3], 1_000_000),
        // 0.4 + 0.3 + 0.3 of a millionth: nothing is rounded up.
        ([1, 1, 0], 0),
        ([1, 1, 1], 1),
    ] {
        assert_eq!(t3(a, b, c).composite(&w), ppm(expected), "{a} {b} {c}");
    }
    for (valuation, veracity, validity, expected) in [
        (300_000, 850_000, 800_000, 667_500),
        (863_636, 810_000, 1_000_000, 892_590),
        // Worth more than was promised counts as what was promised.
        (1_700_000, 0, 0, 300_000),
        (u64::MAX, 1_000_000, 1_000_000, 1_000_000),
    ] {
        let v3 = V3 { valuation, veracity: ppm(veracity), validity: ppm(validity) };
        assert_eq!(v3.composite(&w), ppm(expected), "{valuation}");
    }
    assert_eq!(health::health(ppm(950_000), ppm(900_000), ppm(900_000), &w), ppm(920_000));
}

#[test]
fn quality_of_an_act() {
    let w = Weights::default();
    for (quality, expected) in [
        (800_000, [506_000, 504_800, 503_600]),
        (300_000, [496_000, 496_800, 497_600]),
        (500_000, [500_000; 3]),
        // A tenth of the smallest step is nothing, in both directions.
        (500_001, [500_000; 3]),
        (499_999, [500_000; 3]),
    ] {
        let [a, b, c] = expected;
        assert_eq!(HALF.after_quality(ppm(quality), &w), t3(a, b, c), "{quality}");
    }
    assert_eq!(t3(999_999, 1_000_000, 0).after_quality(Ppm::ONE, &w), t3(1_000_000, 1_000_000, 6_000));
}

#[test]
fn the_rate_of_an_observation_falls_and_never_vanishes() {
    let w = Weights::default();
    for (count, expected) in [
        (0, (1, 2)),
        (10, (1, 2)),
        (11, (10, 21)),
        (100, (10, 110)),
        (989, (10, 999)),
        (990, (1, 100)),
        (u64::MAX, (1, 100)),
    ] {
        assert_eq!(rate(count, &w), expected, "{count}");
    }
}

#[test]
fn observations() {
    let w = Weights::default();
    let seen = Metrics {
        efficiency: ppm(700_000),
        reliability: ppm(600_000),
        accuracy: ppm(500_000),
        responsiveness: ppm(500_000),
        safety: ppm(500_000),
    };
    assert_eq!(seen.observation(&w), t3(620_000, 560_000, 500_000));
    for (what, old, seen, evidence, expected) in [
        ("half the way up", 500_000, 700_000, FRESH, 600_000),
        ("down it counts twice", 500_000, 300_000, FRESH, 300_000),
        ("21 observations", 500_000, 731_000, Evidence { count: 21, ..FRESH }, 574_516),
        ("a tenth of confidence", 500_000, 700_000, Evidence { confidence: ppm(100_000), ..FRESH }, 510_000),
        ("down, a tenth", 500_000, 300_000, Evidence { confidence: ppm(100_000), ..FRESH }, 480_000),
        ("half the weight", 500_000, 700_000, Evidence { weight: ppm(500_000), ..FRESH }, 550_000),
        ("too little for a millionth", 500_000, 500_001, FRESH, 500_000),
        ("twice half of one is one", 500_000, 499_999, FRESH, 499_999),
    ] {
        let moved = T3::level(ppm(old)).after_observation(&T3::level(ppm(seen)), &evidence, &w);
        assert_eq!(moved, T3::level(ppm(expected)), "{what}");
    }
    let harsh = Weights { rate: [10, 2, 100, 7], ..w };
    let fallen = HALF.after_observation(&t3(400_000, 400_000, 400_000), &FRESH, &harsh);
    assert_eq!(fallen, T3::level(ppm(400_000)), "however much a loss counts, it ends at what was seen");
}

#[test]
fn outcomes_and_repetition() {
    let w = Weights::default();
    for (outcome, n, expected) in [
        (NovelSuccess, 1, [535_000, 515_000, 510_000]),
        (StandardSuccess, 1, [500_000, 507_500, 505_000]),
        (ExpectedFailure, 1, [490_000, 500_000, 500_000]),
        (UnexpectedFailure, 1, [480_000, 490_000, 480_000]),
        (Violation, 1, [450_000, 500_000, 400_000]),
        (StandardSuccess, 3, [500_000, 504_800, 503_200]),
        (NovelSuccess, 50, [503_500, 501_500, 501_000]),
        // A failure that repeats itself is none the less one.
        (Violation, 50, [450_000, 500_000, 400_000]),
    ] {
        let [a, b, c] = expected;
        assert_eq!(HALF.after_outcome(outcome, n, Ppm::ONE, &w), t3(a, b, c), "{outcome:?} {n}");
    }
    let doubtful = HALF.after_outcome(NovelSuccess, 1, ppm(100_000), &w);
    assert_eq!(doubtful, t3(503_500, 501_500, 501_000));
    let failed = HALF.after_outcome(ExpectedFailure, 1, ppm(100_000), &w);
    assert_eq!(failed, t3(490_000, 500_000, 500_000), "doubt excuses nothing");
    let table = [
        1_000_000, 800_000, 640_000, 512_000, 409_600, 327_680, 262_144, 209_715, 167_772, 134_218, 107_374,
        100_000,
    ];
    for (n, expected) in (1..).zip(table) {
        assert_eq!(outcome::repeat(n, &w), ppm(expected), "{n}");
    }
    for (n, expected) in [(0, 1_000_000), (13, 100_000), (u32::MAX, 100_000)] {
        assert_eq!(outcome::repeat(n, &w), ppm(expected), "{n}");
    }
}

#[test]
fn idleness_and_distance() {
    let w = Weights::default();
    let month = 2_592_000_000;
    for (now, expected) in
        [(0, (0, 5)), (month + 4, (0, 5)), (month + 5, (1, month + 5)), (month * 3, (2, month * 2 + 5))]
    {
        assert_eq!(decay::months(5, now, &w), expected, "{now}");
    }
    assert_eq!(decay::months(9, 3, &w), (0, 9), "a clock that went back");
    assert_eq!(HALF.after_idle(3, Ppm::ONE, &w), t3(500_000, 497_000, 530_000));
    assert_eq!(HALF.after_idle(3, ppm(510_000), &w), t3(500_000, 497_000, 510_000), "up to where it was");
    assert_eq!(HALF.after_idle(3, ppm(400_000), &w), t3(500_000, 497_000, 500_000), "and not down to it");
    assert_eq!(HALF.after_idle(u64::MAX, Ppm::ONE, &w), t3(500_000, 0, 1_000_000));
    let never = Weights { idle: [w.idle[0], 1_000, 0], ..w.clone() };
    assert_eq!(HALF.after_idle(9, Ppm::ONE, &never), t3(500_000, 491_000, 500_000), "recovery switched off");
    for (hops, expected) in (0..).zip([1_000_000, 700_000, 490_000, 343_000, 240_100, 0, 0]) {
        assert_eq!(decay::hops(hops, &w), ppm(expected), "{hops}");
    }
    assert_eq!(decay::hops(u32::MAX, &w), Ppm::ZERO);
}

#[test]
fn shares() {
    assert_eq!(Ppm::new(1_000_001), None);
    assert_eq!((Ppm::clamped(-1), Ppm::clamped(i128::MAX)), (Ppm::ZERO, Ppm::ONE));
    for (part, whole, expected) in [
        (1, 3, Some(333_333)),
        (3, 3, Some(1_000_000)),
        (4, 3, Some(1_000_000)),
        (1, 0, None),
        (0, 1, Some(0)),
        (u128::MAX / 2, u128::MAX, Some(499_999)),
        (u128::MAX, u128::MAX, Some(1_000_000)),
    ] {
        assert_eq!(Ppm::ratio(part, whole).map(Ppm::get), expected, "{part} of {whole}");
    }
    assert_eq!(ppm(999_999).of(ppm(999_999)), ppm(999_998));
}

fn any_ppm() -> impl Strategy<Value = Ppm> {
    prop_oneof![(0..=1_000_000_u32).prop_map(ppm), Just(Ppm::ZERO), Just(Ppm::ONE), Just(Ppm::HALF)]
}

fn any_t3() -> impl Strategy<Value = T3> {
    [any_ppm(), any_ppm(), any_ppm()].prop_map(T3::of)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    /// A composite lies between the lowest and the highest dimension and never falls when one rises.
    #[test]
    fn a_composite_is_between_its_dimensions(a in any_t3(), b in any_t3()) {
        let w = Weights::default();
        let dimensions = a.dimensions();
        let composite = a.composite(&w);
        prop_assert!(dimensions.iter().min().unwrap() <= &composite && &composite <= dimensions.iter().max().unwrap());
        let higher = T3::of([0, 1, 2].map(|i| a.dimensions()[i].max(b.dimensions()[i])));
        prop_assert!(higher.composite(&w) >= composite);
    }

    /// An observation never moves past what was seen, nor away from it; a better one never leads lower.
    #[test]
    fn an_observation_moves_towards_what_was_seen(
        old in any_ppm(), one in any_ppm(), other in any_ppm(), count in any::<u64>(), confidence in any_ppm(),
    ) {
        let w = Weights::default();
        let evidence = Evidence { count: count >> (count % 64), confidence, weight: Ppm::ONE };
        let after = |seen: Ppm| T3::level(old).after_observation(&T3::level(seen), &evidence, &w).talent;
        for seen in [one, other] {
            let now = after(seen);
            prop_assert!(old.min(seen) <= now && now <= old.max(seen));
        }
        prop_assert!(after(one.max(other)) >= after(one.min(other)));
    }

    /// Better acts lead higher, and repetition never makes a success worth more.
    #[test]
    fn steps_are_monotone(old in any_t3(), one in any_ppm(), other in any_ppm(), n in 1..40_u32) {
        let w = Weights::default();
        let (low, high) = (old.after_quality(one.min(other), &w), old.after_quality(one.max(other), &w));
        prop_assert!(low.dimensions().iter().zip(high.dimensions()).all(|(l, h)| *l <= h));
        let often = old.after_outcome(StandardSuccess, n + 1, one, &w);
        let once = old.after_outcome(StandardSuccess, n, one, &w);
        prop_assert!(often.composite(&w) <= once.composite(&w) && old.composite(&w) <= often.composite(&w));
    }

    /// What a reader computes from an old record is what a record brought up to date at any time on the way holds.
    #[test]
    fn idleness_counted_late_is_idleness_counted_early(
        old in any_t3(), limit in any_ppm(), since in 0..1_u64 << 40, steps in prop::collection::vec(0..1_u64 << 34, 1..8),
    ) {
        let w = Weights::default();
        let at = |t3: T3, since: u64, now: u64| {
            let (months, reached) = decay::months(since, now, &w);
            (t3.after_idle(months, limit, &w), reached)
        };
        let (mut eager, mut reached, mut now) = (old, since, since);
        for step in steps {
            now += step;
            (eager, reached) = at(eager, reached, now);
        }
        prop_assert_eq!(at(old, since, now), (eager, reached));
    }
}
