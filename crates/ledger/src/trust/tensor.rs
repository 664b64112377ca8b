//! The two tensors and their composites (L191).

use super::{
    ppm::{Ppm, weighted},
    weights::{BASIS, Weights},
};

/// Trust in a component or relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct T3 {
    /// Aptitude: what it can do.
    pub talent: Ppm,
    /// Record: what it has done.
    pub training: Ppm,
    /// Conduct: how steady it is.
    pub temperament: Ppm,
}

impl T3 {
    /// The same in every dimension.
    #[must_use]
    pub fn level(value: Ppm) -> Self {
        Self { talent: value, training: value, temperament: value }
    }

    /// `(4000 talent + 3000 training + 3000 temperament) / 10000` under the default weights.
    #[must_use]
    pub fn composite(&self, weights: &Weights) -> Ppm {
        weighted(&weights.t3, &self.dimensions(), BASIS)
    }

    /// Talent, training, temperament.
    #[must_use]
    pub fn dimensions(&self) -> [Ppm; 3] {
        [self.talent, self.training, self.temperament]
    }

    /// From talent, training, temperament.
    #[must_use]
    pub fn of([talent, training, temperament]: [Ppm; 3]) -> Self {
        Self { talent, training, temperament }
    }

    /// Adds a delta in parts per million to each dimension; each ends between 0 and 1.
    pub(super) fn moved(&self, deltas: [i128; 3]) -> Self {
        let mut dimensions = self.dimensions();
        for (value, delta) in dimensions.iter_mut().zip(deltas) {
            *value = Ppm::clamped(value.signed().saturating_add(delta));
        }
        Self::of(dimensions)
    }
}

/// Value of what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V3 {
    /// Worth to who received it, in parts per million of what was promised; may exceed one.
    pub valuation: u64,
    /// How much of what it claimed was true.
    pub veracity: Ppm,
    /// How much of what it was to deliver was delivered.
    pub validity: Ppm,
}

impl V3 {
    /// `(3000 valuation + 3500 veracity + 3500 validity) / 10000` under the default weights; valuation counts up to one.
    #[must_use]
    pub fn composite(&self, weights: &Weights) -> Ppm {
        let valuation = Ppm::clamped(self.valuation.into());
        weighted(&weights.v3, &[valuation, self.veracity, self.validity], BASIS)
    }
}
