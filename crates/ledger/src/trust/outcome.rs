//! What moves T3 by steps: outcomes, and what repetition is worth (L193).

use super::{ppm::Ppm, tensor::T3, weights::Weights};

const MILLION: i128 = 1_000_000;

/// How something came out. The number is its row in the table of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// It went well for the first time.
    NovelSuccess = 1,
    /// It went well.
    StandardSuccess = 2,
    /// It failed as such things do.
    ExpectedFailure = 3,
    /// It failed without warning.
    UnexpectedFailure = 4,
    /// A rule was broken.
    Violation = 5,
}

impl Outcome {
    /// The outcome with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        use Outcome::*;
        let all = [NovelSuccess, StandardSuccess, ExpectedFailure, UnexpectedFailure, Violation];
        all.into_iter().find(|o| *o as u8 == number)
    }

    /// Word for people and APIs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NovelSuccess => "novel_success",
            Self::StandardSuccess => "standard_success",
            Self::ExpectedFailure => "expected_failure",
            Self::UnexpectedFailure => "unexpected_failure",
            Self::Violation => "violation",
        }
    }

    /// Whether it raises trust.
    #[must_use]
    pub fn is_gain(self) -> bool {
        matches!(self, Self::NovelSuccess | Self::StandardSuccess)
    }
}

/// What the `n`-th of the same outcomes in a row is worth; the first is 1. After the end of the table as its last.
#[must_use]
pub fn repeat(n: u32, weights: &Weights) -> Ppm {
    let table = &weights.repeats;
    let last = table.len() - 1;
    let row = usize::try_from(n.saturating_sub(1)).map_or(last, |i| i.min(last));
    Ppm::clamped(table[row].into())
}

impl T3 {
    /// Moves by one outcome, the `n`-th of its kind in a row, in which there is this `confidence`.
    ///
    /// Repetition and doubt dampen gains only: a failure counts in full however often it happens.
    #[must_use]
    pub fn after_outcome(&self, outcome: Outcome, n: u32, confidence: Ppm, weights: &Weights) -> Self {
        let row = weights.outcomes[outcome as usize - 1].map(i128::from);
        if outcome.is_gain() {
            let share = repeat(n, weights).signed() * confidence.signed();
            self.moved(row.map(|step| step * share / (MILLION * MILLION)))
        } else {
            self.moved(row.map(|step| -step))
        }
    }
}
