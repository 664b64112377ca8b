//! How far a subject is to be relied on at a time: the value, and the changes that made it (`spec/ledger.md`, L197 and
//! L203).

use lct::{
    id::{BindingId, Cid},
    trust::TrustContext,
};

use crate::{
    records::{Binding, Custody, Tensor, TrustSubject, key},
    state::{Halt, View, load},
    trust::{Ppm, T3, V3, Weights},
};

/// Where a score stands between the thresholds of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Below LOW: limits are tightened.
    Low,
    /// Between.
    Standard,
    /// HIGH or above.
    High,
}

impl Level {
    /// Word for people and APIs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Standard => "standard",
            Self::High => "high",
        }
    }
}

/// What is known of a subject in a context at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// T3 at that time.
    pub t3: T3,
    /// V3.
    pub v3: V3,
    /// Most that is told of the subject.
    pub ceiling: Ppm,
    /// Composite of T3, at most the ceiling: what decisions use.
    pub score: Ppm,
    /// Where the score stands.
    pub level: Level,
    /// Share of the rated value that is left to it.
    pub limit: Ppm,
    /// The record, with the last changes.
    pub tensor: Tensor,
}

impl Standing {
    fn of(tensor: Tensor, context: TrustContext, ceiling: Ppm, now_ms: u64, weights: &Weights) -> Self {
        let (t3, _) = tensor.at(now_ms, weights);
        let score = t3.composite(weights).min(ceiling);
        let [low, high] = weights.levels.map(|bar| raised(bar, context, weights));
        let level = if score < low {
            Level::Low
        } else if score >= high {
            Level::High
        } else {
            Level::Standard
        };
        let [conservative, optimised] = weights.limits.map(|share| Ppm::clamped(share.into()));
        let limit = match level {
            Level::Low => conservative,
            Level::Standard => Ppm::ONE,
            Level::High => optimised,
        };
        Self { t3, v3: tensor.v3(), ceiling, score, level, limit, tensor }
    }

    /// Whether the score suffices for a basic, an enhanced, a critical pairing and a transfer of energy.
    #[must_use]
    pub fn gates(&self, context: TrustContext, weights: &Weights) -> [bool; 4] {
        weights.gates.map(|bar| self.score >= raised(bar, context, weights))
    }
}

/// A context asks for more; it never changes a score.
fn raised(bar: u32, context: TrustContext, weights: &Weights) -> Ppm {
    Ppm::clamped(i128::from(bar) + i128::from(weights.raise(context)))
}

/// What is known of a component. `None` if it was never bound, or never judged in this context.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn component(
    view: &impl View,
    weights: &Weights,
    cid: &Cid,
    context: TrustContext,
    now_ms: u64,
) -> Result<Option<Standing>, Halt> {
    let tensor: Option<Tensor> = load(view, &key::tensor(&TrustSubject::Component(*cid), context))?;
    let Some(tensor) = tensor else { return Ok(None) };
    let custody: Option<Custody> = load(view, &key::custody(cid))?;
    let kept = usize::from(custody.map_or(0, |c| c.flags) & 0b11);
    let ceiling = Ppm::clamped(weights.ceilings[kept].into());
    Ok(Some(Standing::of(tensor, context, ceiling, now_ms, weights)))
}

/// What is known of the relation of the two sides of a binding: no more than of the less trusted side. `None` before their
/// first pairing.
///
/// # Errors
/// [`Halt`] when the store fails.
pub fn relation(
    view: &impl View,
    weights: &Weights,
    id: &BindingId,
    now_ms: u64,
) -> Result<Option<Standing>, Halt> {
    let context = TrustContext::Operation;
    let tensor: Option<Tensor> = load(view, &key::tensor(&TrustSubject::Relation(*id), context))?;
    let Some(tensor) = tensor else { return Ok(None) };
    let binding: Option<Binding> = load(view, &key::binding(id))?;
    let binding = binding.ok_or(Halt::Invariant("a relation without binding"))?;
    let mut ceiling = Ppm::ONE;
    for side in [&binding.a, &binding.b] {
        let standing = component(view, weights, side, context, now_ms)?;
        ceiling = ceiling.min(standing.map_or(Ppm::ZERO, |s| s.score));
    }
    Ok(Some(Standing::of(tensor, context, ceiling, now_ms, weights)))
}
