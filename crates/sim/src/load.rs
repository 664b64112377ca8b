//! What the world outside asks of the pack: a list of currents, repeated.

/// One stretch of constant current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// How long, in milliseconds; at least 1.
    pub ms: u32,
    /// The current wanted, in milliamperes, positive when charging.
    pub ma: i32,
}

/// A short drive and a charge, 295 s long, that take out as much charge as they put in: 65 A for a minute (the 1 C rate
/// of the measured pack), 30 A back, then three bursts of 130 A out and 65 A in as in acceleration and braking.
pub const DRIVE_AND_CHARGE: [Phase; 17] = [
    Phase { ms: 10_000, ma: 0 },
    Phase { ms: 60_000, ma: -65_000 },
    Phase { ms: 10_000, ma: 0 },
    Phase { ms: 130_000, ma: 30_000 },
    Phase { ms: 10_000, ma: 0 },
    Phase { ms: 5_000, ma: -130_000 },
    Phase { ms: 5_000, ma: 0 },
    Phase { ms: 10_000, ma: 65_000 },
    Phase { ms: 5_000, ma: 0 },
    Phase { ms: 5_000, ma: -130_000 },
    Phase { ms: 5_000, ma: 0 },
    Phase { ms: 10_000, ma: 65_000 },
    Phase { ms: 5_000, ma: 0 },
    Phase { ms: 5_000, ma: -130_000 },
    Phase { ms: 5_000, ma: 0 },
    Phase { ms: 10_000, ma: 65_000 },
    Phase { ms: 5_000, ma: 0 },
];

/// A position in a repeated list of phases.
#[derive(Debug, Clone)]
pub struct Load {
    phases: Vec<Phase>,
    current: usize,
    elapsed_ms: u32,
}

impl Load {
    /// Repeats `phases` for ever; `None` when there is none or one of them lasts 0 ms.
    pub fn repeat(phases: &[Phase]) -> Option<Self> {
        if phases.is_empty() || phases.iter().any(|phase| phase.ms == 0) {
            return None;
        }
        Some(Self { phases: phases.to_vec(), current: 0, elapsed_ms: 0 })
    }

    /// [`DRIVE_AND_CHARGE`], repeated.
    pub fn standard() -> Self {
        Self { phases: DRIVE_AND_CHARGE.to_vec(), current: 0, elapsed_ms: 0 }
    }

    /// The current wanted now, in milliamperes.
    pub fn demand_ma(&self) -> i32 {
        self.phases[self.current].ma
    }

    /// Milliseconds until the next phase begins; at least 1.
    pub fn ms_left(&self) -> u32 {
        self.phases[self.current].ms - self.elapsed_ms
    }

    /// Moves on by at most [`Load::ms_left`]; `true` when a new phase begins.
    pub fn advance(&mut self, ms: u32) -> bool {
        self.elapsed_ms += ms.min(self.ms_left());
        if self.elapsed_ms < self.phases[self.current].ms {
            return false;
        }
        self.elapsed_ms = 0;
        self.current = (self.current + 1) % self.phases.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_cycle_returns_all_charge_and_has_both_directions() {
        let charge: i64 =
            DRIVE_AND_CHARGE.iter().map(|phase| i64::from(phase.ms) * i64::from(phase.ma)).sum();
        let total: u32 = DRIVE_AND_CHARGE.iter().map(|phase| phase.ms).sum();
        assert_eq!(charge, 0);
        assert_eq!(total, 295_000);
        // Within the capability of the replayed pack (`spec/can.md`, C70).
        assert!(DRIVE_AND_CHARGE.iter().all(|phase| (-200_000..=65_000).contains(&phase.ma)));
    }

    #[test]
    fn phases_follow_each_other_and_repeat() {
        let mut load = Load::repeat(&[Phase { ms: 3, ma: 1 }, Phase { ms: 2, ma: -1 }]).unwrap();
        let mut seen = Vec::new();
        for _ in 0..10 {
            seen.push(load.demand_ma());
            load.advance(1);
        }
        assert_eq!(seen, [1, 1, 1, -1, -1, 1, 1, 1, -1, -1]);
        assert!(!load.advance(2) && load.ms_left() == 1);
        assert!(load.advance(900), "never beyond the end of a phase");
        assert_eq!((load.demand_ma(), load.ms_left()), (-1, 2));
        assert!(Load::repeat(&[]).is_none());
        assert!(Load::repeat(&[Phase { ms: 0, ma: 5 }]).is_none());
    }
}
