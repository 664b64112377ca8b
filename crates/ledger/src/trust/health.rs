//! Trust, value and energy together (L195).

use super::{
    ppm::{Ppm, weighted},
    weights::{BASIS, Weights},
};

/// `(4 T3 + 3 V3 + 3 energy ratio) / 10` under the default weights; the energy ratio is ATP of ATP and ADP.
#[must_use]
pub fn health(t3: Ppm, v3: Ppm, energy_ratio: Ppm, weights: &Weights) -> Ppm {
    weighted(&weights.health, &[t3, v3, energy_ratio], BASIS)
}
