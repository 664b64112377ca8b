//! How often something may happen, by a key.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use api::problem::code;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use crate::refusal::{Refusal, Reply};

/// Beyond so many keys those that are idle are forgotten.
const KEYS_MAX: usize = 10_000;
/// But not more often: it looks at every key.
const SWEEP: Duration = Duration::from_secs(1);

/// Counts by key.
pub(super) struct Limiter {
    keyed: DefaultKeyedRateLimiter<String>,
    swept: Mutex<Option<Instant>>,
}

impl Limiter {
    pub fn new(quota: Quota) -> Self {
        Limiter { keyed: RateLimiter::keyed(quota), swept: Mutex::default() }
    }

    /// Counts for `key`, or says when to come again.
    pub fn count(&self, key: String) -> Reply<()> {
        if self.keyed.len() > KEYS_MAX && self.sweeps(Instant::now()) {
            self.keyed.retain_recent();
        }
        self.keyed
            .check_key(&key)
            .map(drop)
            .map_err(|wait| too_many(wait.wait_time_from(DefaultClock::default().now())))
    }

    fn sweeps(&self, now: Instant) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let due = swept.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP);
        if due {
            *swept = Some(now);
        }
        due
    }
}

pub(super) fn too_many(wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Refusal::new(429, code::RATE, "too many requests").retry_after(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flood of keys does not have every key looked at for each of them.
    #[test]
    fn keys_are_swept_once_a_second() {
        let limiter = Limiter::new(Quota::per_minute(std::num::NonZeroU32::MIN));
        for n in 0..KEYS_MAX + 50 {
            limiter.count(n.to_string()).unwrap();
        }
        let first = limiter.swept.lock().unwrap().unwrap();
        assert!(!limiter.sweeps(first + SWEEP / 2));
        assert!(limiter.sweeps(first + SWEEP) && !limiter.sweeps(first + SWEEP));
    }
}
