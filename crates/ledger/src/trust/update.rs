//! What moves T3 by degrees: the quality of one act, and observations of the five metrics (L192).

use super::{
    ppm::{Ppm, weighted},
    tensor::T3,
    weights::{BASIS, Weights},
};

const MILLION: i128 = 1_000_000;

/// The five metrics of one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Energy that came out, of what went in.
    pub efficiency: Ppm,
    /// Successes among attempts.
    pub reliability: Ppm,
    /// Agreement of what was reported with what others measured.
    pub accuracy: Ppm,
    /// Commands that were acknowledged within their deadline.
    pub responsiveness: Ppm,
    /// One less the faults, weighted by their severity.
    pub safety: Ppm,
}

impl Metrics {
    /// What the metrics say of each dimension of T3: the matrix of the chain applied to them.
    #[must_use]
    pub fn observation(&self, weights: &Weights) -> T3 {
        let Self { efficiency, reliability, accuracy, responsiveness, safety } = *self;
        let metrics = [efficiency, reliability, accuracy, responsiveness, safety];
        T3::of(weights.matrix.map(|row| weighted(&row, &metrics, BASIS)))
    }
}

/// How much an observation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Observations that count already.
    pub count: u64,
    /// Confidence in who vouches for it.
    pub confidence: Ppm,
    /// Weight of the context; one is neutral.
    pub weight: Ppm,
}

/// How far an observation moves a dimension: numerator and denominator.
///
/// `k / (k + count)`, at most `1 / least` and at least `1 / most`.
#[must_use]
pub fn rate(count: u64, weights: &Weights) -> (u64, u64) {
    let [k, least, most, _] = weights.rate.map(u64::from);
    let whole = k.saturating_add(count);
    if whole <= k.saturating_mul(least) {
        (1, least)
    } else if whole >= k.saturating_mul(most) {
        (1, most)
    } else {
        (k, whole)
    }
}

impl T3 {
    /// Moves by the quality of one act: one half changes nothing.
    ///
    /// `20000 (q - 500000) f / (1000000 x 10)` with f = 10, 8, 6 for talent, training, temperament.
    #[must_use]
    pub fn after_quality(&self, quality: Ppm, weights: &Weights) -> Self {
        let [step, factors @ ..] = weights.quality.map(i128::from);
        let apart = quality.signed() - Ppm::HALF.signed();
        self.moved(factors.map(|f| step * apart * f / (MILLION * 10)))
    }

    /// Moves towards what was observed. A loss counts as often as the chain says.
    ///
    /// `(seen - old) x rate x confidence x weight`, multiplied out before the one division.
    #[must_use]
    pub fn after_observation(&self, seen: &Self, evidence: &Evidence, weights: &Weights) -> Self {
        let (numerator, denominator) = rate(evidence.count, weights);
        let [.., penalty] = weights.rate;
        let share = evidence.confidence.signed() * evidence.weight.signed() * i128::from(numerator);
        let whole = i128::from(denominator) * MILLION * MILLION;
        let mut deltas = [0; 3];
        for (delta, (old, seen)) in
            deltas.iter_mut().zip(self.dimensions().into_iter().zip(seen.dimensions()))
        {
            let apart = seen.signed() - old.signed();
            let factor = if apart < 0 { i128::from(penalty) } else { 1 };
            // A loss that counts more than once still ends at what was seen.
            let moved = apart * share * factor / whole;
            *delta = if apart < 0 { moved.max(apart) } else { moved };
        }
        self.moved(deltas)
    }
}
