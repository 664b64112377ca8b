//! What time without any act does, and what distance does (L194).

use super::{ppm::Ppm, tensor::T3, weights::Weights};

impl T3 {
    /// After `months` whole months without any act: training fades, temperament recovers up to `recovers_to` (a higher one
    /// stays), talent stays.
    #[must_use]
    pub fn after_idle(&self, months: u64, recovers_to: Ppm, weights: &Weights) -> Self {
        let [_, loss, gain] = weights.idle.map(i128::from);
        let months = i128::from(months);
        let recovered = (self.temperament.signed() + gain * months).min(recovers_to.signed());
        Self {
            talent: self.talent,
            training: Ppm::clamped(self.training.signed() - loss * months),
            temperament: Ppm::clamped(recovered).max(self.temperament),
        }
    }
}

/// Whole months from `since_ms` to `now_ms`, and the instant to which they reach: what idleness is counted from next.
/// A clock that went back counts nothing.
#[must_use]
pub fn months(since_ms: u64, now_ms: u64, weights: &Weights) -> (u64, u64) {
    let month = u64::from(weights.idle[0]).max(1);
    let whole = now_ms.saturating_sub(since_ms) / month;
    (whole, since_ms.saturating_add(whole * month))
}

/// What is left of trust across `hops` relations: all of it at 0, nothing beyond the table.
#[must_use]
pub fn hops(hops: u32, weights: &Weights) -> Ppm {
    let row = usize::try_from(hops).ok().and_then(|i| weights.hops.get(i));
    row.map_or(Ppm::ZERO, |share| Ppm::clamped((*share).into()))
}
