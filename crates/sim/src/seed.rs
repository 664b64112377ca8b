//! The only source of chance in a simulated world: SplitMix64, started from the seed of the run.
//!
//! The sequence is part of the replay contract (same seed, same run, on every machine and in every release), so it is
//! written out here instead of taken from a crate whose algorithm may change. It is not for keys.

/// A sequence of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of `seed` for one `purpose`; different purposes of one run must not share a sequence, or a draw
    /// added in one place would change all others.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a over the purpose keeps the sequences apart.
        let label = purpose.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        let mut chance = Self(seed ^ label);
        chance.draw();
        chance
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    ///
    /// Taken from the high half of a 128-bit product: the bias is below 2^-32 for every bound used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `-1.0..1.0`, evenly spread.
    pub fn signed_unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference output of SplitMix64 with state 1234567, as published with the algorithm (and used by the
    /// xoshiro authors): a changed constant or shift shows here.
    #[test]
    fn matches_the_published_sequence() {
        let mut chance = Chance(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        for value in expected {
            assert_eq!(chance.draw(), value);
        }
    }

    #[test]
    fn stays_in_range_and_reaches_the_ends() {
        let mut chance = Chance::new(7, "test");
        let mut seen = [0u32; 5];
        let (mut low, mut high) = (1.0f64, -1.0f64);
        for _ in 0..10_000 {
            seen[chance.below(5) as usize] += 1;
            let unit = chance.signed_unit();
            assert!((-1.0..1.0).contains(&unit));
            low = low.min(unit);
            high = high.max(unit);
        }
        assert!(seen.iter().all(|&count| (1_800..2_200).contains(&count)), "{seen:?}");
        assert!(low < -0.99 && high > 0.99);
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn purposes_do_not_share_a_sequence() {
        assert_ne!(Chance::new(1, "cells").draw(), Chance::new(1, "faults").draw());
        assert_ne!(Chance::new(1, "cells").draw(), Chance::new(2, "cells").draw());
    }
}
