//! Every constant of trust. They are parameters of the chain, keys 30 to 47 (`spec/ledger.md`, L196).

use lct::trust::TrustContext;

use super::Ppm;
use crate::codec::{FormatError, Reader, Writer};

/// Weights that share one are in basis points and sum to this.
pub const BASIS: u32 = 10_000;
/// Key of the first constant among the parameters of a chain.
const FIRST_KEY: u64 = 30;
/// How many constants there are: one key each.
pub(crate) const KEYS: usize = 18;

/// The constants, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Talent, training, temperament in the composite of T3, basis points.
    pub t3: [u32; 3],
    /// Valuation, veracity, validity in the composite of V3, basis points.
    pub v3: [u32; 3],
    /// One row per dimension of T3, in it efficiency, reliability, accuracy, responsiveness, safety in basis points.
    pub matrix: [[u32; 5]; 3],
    /// Confidence in the subject itself, in a counterparty, in an independent witness, ppm.
    pub confidence: [u32; 3],
    /// `k`, the least and the largest denominator of the rate of an observation, and how many times a loss counts.
    pub rate: [u32; 4],
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
    /// LOW and HIGH, ppm.
    pub levels: [u32; 2],
    /// What a basic, an enhanced, a critical pairing and a transfer of energy ask for, ppm.
    pub gates: [u32; 4],
    /// For each context by how much it raises what is asked for, and its weight in an observation, ppm.
    pub contexts: [[u32; 2]; 4],
    /// Share of the rated value that is left to who is below LOW, and to who is above HIGH, ppm.
    pub limits: [u32; 2],
    /// Most that is told of a component, by the flags of its device certificate, ppm.
    pub ceilings: [u32; 4],
    /// Where a tensor begins, by the assurance of the binding, ppm.
    pub baselines: [u32; 4],
    /// Shortest period of a report in ms; changes that a tensor keeps; requests for a higher level in an hour that cost
    /// nothing.
    pub updates: [u32; 3],
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            t3: [4000, 3000, 3000],
            v3: [3000, 3500, 3500],
            matrix: [[6000, 0, 2000, 2000, 0], [0, 6000, 2000, 2000, 0], [0, 0, 2000, 2000, 6000]],
            confidence: [100_000, 600_000, 1_000_000],
            rate: [10, 2, 100, 2],
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
            levels: [400_000, 800_000],
            gates: [500_000, 700_000, 850_000, 600_000],
            contexts: [[0, 1_000_000], [0, 1_000_000], [100_000, 1_000_000], [0, 1_000_000]],
            limits: [800_000, 1_000_000],
            ceilings: [400_000, 750_000, 400_000, 850_000],
            baselines: [300_000, 500_000, 500_000, 500_000],
            updates: [3_600_000, 8, 10],
        }
    }
}

/// The constants by their keys, borrowed as slices.
macro_rules! slices {
    ($w:expr, $plain:ident, $nested:ident) => {{
        let w = $w;
        [
            w.t3.$plain(),
            w.v3.$plain(),
            w.matrix.$nested(),
            w.confidence.$plain(),
            w.rate.$plain(),
            w.quality.$plain(),
            w.outcomes.$nested(),
            w.repeats.$plain(),
            w.idle.$plain(),
            w.hops.$plain(),
            w.health.$plain(),
            w.levels.$plain(),
            w.gates.$plain(),
            w.contexts.$nested(),
            w.limits.$plain(),
            w.ceilings.$plain(),
            w.baselines.$plain(),
            w.updates.$plain(),
        ]
    }};
}

impl Weights {
    /// By how much `context` raises what is asked for.
    #[must_use]
    pub fn raise(&self, context: TrustContext) -> u32 {
        self.contexts[context as usize - 1][0]
    }

    /// What an observation in `context` weighs.
    #[must_use]
    pub fn weight(&self, context: TrustContext) -> Ppm {
        Ppm::clamped(self.contexts[context as usize - 1][1].into())
    }

    /// Whether every constant is in its range: shares at most one, rows of weights that sum to one, no empty month, LOW not
    /// above HIGH, no limit beyond the rated value, 1 to 16 changes kept.
    #[must_use]
    pub fn check(&self) -> bool {
        let rows = [&self.t3[..], &self.v3, &self.health, &self.matrix[0], &self.matrix[1], &self.matrix[2]];
        let sums = rows.iter().all(|row| row.iter().map(|w| u64::from(*w)).sum::<u64>() == u64::from(BASIS));
        let shares = [
            &self.confidence[..],
            &self.quality[..1],
            self.outcomes.as_flattened(),
            &self.repeats,
            &self.idle[1..],
            &self.hops,
            &self.levels,
            &self.gates,
            self.contexts.as_flattened(),
            &self.limits,
            &self.ceilings,
            &self.baselines,
        ];
        let [k, least, most, penalty] = self.rate;
        let [period_ms, kept, _] = self.updates;
        sums && shares.iter().all(|row| row.iter().all(|share| *share <= Ppm::ONE.get()))
            && self.quality[1..].iter().all(|tenths| *tenths <= 100)
            && k > 0
            && 0 < least
            && least <= most
            && (1..=10).contains(&penalty)
            && self.idle[0] > 0
            && self.levels[0] <= self.levels[1]
            && period_ms > 0
            && (1..=crate::records::MAX_CHANGES as u32).contains(&kept)
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        let values: [&[u32]; KEYS] = slices!(self, as_slice, as_flattened);
        for (key, values) in (FIRST_KEY..).zip(values) {
            w.uint(key).array(values.len());
            for value in values {
                w.uint((*value).into());
            }
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut weights = Self::default();
        let values: [&mut [u32]; KEYS] = slices!(&mut weights, as_mut_slice, as_flattened_mut);
        for (key, values) in (FIRST_KEY..).zip(values) {
            r.key(key)?;
            if r.array(values.len())? != values.len() {
                return Err(FormatError::Unexpected);
            }
            for value in values {
                *value = r.int()?;
            }
        }
        Ok(weights)
    }
}
