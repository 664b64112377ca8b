//! How fast a run goes: as measurements come, or a number of times as fast, or as fast as this host computes.

use std::time::Duration as WallDuration;

use pack::time::{Duration, Instant};

use super::super::Speed;

/// Keeps virtual time from running ahead of the clock on the wall.
pub(super) struct Pace {
    speed: Speed,
    began: std::time::Instant,
}

impl Pace {
    pub(super) fn new(speed: Speed) -> Self {
        Pace { speed, began: std::time::Instant::now() }
    }

    /// How far towards `until` the run may go now: at most a tenth of a second of real time at once.
    pub(super) fn limit(&self, origin: Instant, until: Instant) -> Instant {
        match self.speed {
            Speed::Max => until,
            Speed::Times(times) => {
                let ahead = (self.began.elapsed().as_secs_f64() + 0.1) * times;
                until.min(origin + Duration::from_micros((ahead * 1e6) as u64))
            }
        }
    }

    /// Sleeps until the wall clock has reached virtual time `at`.
    pub(super) async fn wait(&self, origin: Instant, at: Instant) {
        if let Speed::Times(times) = self.speed {
            let due = at.saturating_since(origin).as_micros() as f64 / 1e6 / times;
            let ahead = due - self.began.elapsed().as_secs_f64();
            if ahead > 0.0 {
                tokio::time::sleep(WallDuration::from_secs_f64(ahead)).await;
            }
        }
    }
}
