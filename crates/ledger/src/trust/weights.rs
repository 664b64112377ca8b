//! Every constant of trust. They are parameters of the chain; the defaults are those of `spec/ledger.md`, L196.

/// Weights that share one are in basis points and sum to this.
pub const BASIS: u32 = 10_000;

/// The constants, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Talent, training, temperament in the composite of T3, basis points.
    pub t3: [u32; 3],
    /// Valuation, veracity, validity in the composite of V3, basis points.
    pub v3: [u32; 3],
    /// One row per dimension of T3, in it efficiency, reliability, accuracy, responsiveness, safety in basis points.
    pub matrix: [[u32; 5]; 3],
    /// `k`, and the least and the largest denominator of the rate of an observation.
    pub rate: [u32; 3],
    /// How many times a loss counts.
    pub penalty: u32,
    /// Step of an act of quality 0 to 1 in ppm, and the tenths of it that talent, training and temperament take.
    pub quality: [u32; 4],
    /// Steps of talent, training, temperament in ppm: up for novel and standard success, down for expected failure,
    /// unexpected failure and violation.
    pub outcomes: [[u32; 3]; 5],
    /// What the first, second .. outcome of the same kind in a row is worth, ppm; later ones as the last.
    pub repeats: [u32; 12],
    /// Length of a month in ms; what training loses and temperament gains in each without any act, ppm.
    pub idle: [u32; 3],
    /// What is left across 0, 1 .. hops, ppm; nothing beyond.
    pub hops: [u32; 5],
    /// T3, V3 and energy ratio in health, basis points.
    pub health: [u32; 3],
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            t3: [4000, 3000, 3000],
            v3: [3000, 3500, 3500],
            matrix: [[6000, 0, 2000, 2000, 0], [0, 6000, 2000, 2000, 0], [0, 0, 2000, 2000, 6000]],
            rate: [10, 2, 100],
            penalty: 2,
            quality: [20_000, 10, 8, 6],
            outcomes: [
                [35_000, 15_000, 10_000],
                [0, 7_500, 5_000],
                [10_000, 0, 0],
                [20_000, 10_000, 20_000],
                [50_000, 0, 100_000],
            ],
            repeats: [
                1_000_000, 800_000, 640_000, 512_000, 409_600, 327_680, 262_144, 209_715, 167_772, 134_218,
                107_374, 100_000,
            ],
            idle: [2_592_000_000, 1_000, 10_000],
            hops: [1_000_000, 700_000, 490_000, 343_000, 240_100],
            health: [4000, 3000, 3000],
        }
    }
}
