//! What keeps strangers out before a binding: the commissioning window, and the count of tries at the printed code
//! (`spec/channel.md`, H72 and H77).

use crate::{
    identity::{Record, key},
    time::{Duration, Instant},
};
use kept::{Defence, kept};
use lct::{Error, codec::Fields};

/// How long a window stays open.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Handshake runs that one window admits.
pub const WINDOW_RUNS: u8 = 5;
/// Tries at the code that cost nothing but themselves.
pub const FREE_TRIES: u8 = 5;
/// Tries after which only the button at a start gives more.
pub const LAST_TRY: u8 = 20;
/// Longest wait between two tries.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// How long after a start the button sets the count of tries back.
pub const START_BUTTON: Duration = Duration::from_secs(10);

/// A commissioning window, opened by the button.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    until: Instant,
    runs: u8,
}

impl Window {
    pub(super) fn open(now: Instant) -> Self {
        Window { until: now + WINDOW, runs: WINDOW_RUNS }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Takes one of its runs.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Error> {
        if now >= self.until {
            return Err(Error::Expired);
        }
        self.runs = self.runs.checked_sub(1).ok_or(Error::Exhausted)?;
        Ok(())
    }
}

/// Counts tries at the printed code. A try is counted durably before its answer leaves, so that a cut of the power
/// gives none for nothing.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    tries: u8,
    unlock: Instant,
    started: Instant,
}

impl Guard {
    /// Reads the count; what waited before the start waits anew.
    pub(super) fn restore(stored: Option<&[u8]>, now: Instant) -> Result<Self, Error> {
        let tries = match stored {
            None => 0,
            Some(bytes) => {
                let mut f = Fields::new(bytes);
                if f.u8()? != 1 {
                    return Err(Error::Malformed);
                }
                let tries = f.u8()?;
                f.end()?;
                tries
            }
        };
        Ok(Guard { tries, unlock: now + wait(tries), started: now })
    }

    pub(super) fn tries(&self) -> u8 {
        self.tries
    }

    /// Seconds until the next try: 0 now, `u16::MAX` not before a start with the button.
    pub(super) fn locked_s(&self, now: Instant) -> u16 {
        if !kept(Defence::TryLimit) {
            return 0;
        }
        if self.tries >= LAST_TRY {
            return u16::MAX;
        }
        let left = self.unlock.saturating_since(now).as_micros();
        // An hour at most: it fits.
        left.div_ceil(1_000_000) as u16
    }

    /// Counts a try as a wrong one; the record must be durable before the try is answered.
    pub(super) fn count(&mut self, now: Instant) -> Result<Record, Error> {
        self.tries = self.tries.saturating_add(1).min(LAST_TRY);
        self.unlock = now + wait(self.tries);
        self.record()
    }

    /// The try was right, or the button was pressed at a start: the count begins anew.
    pub(super) fn clear(&mut self, now: Instant) -> Result<Record, Error> {
        (self.tries, self.unlock) = (0, now);
        self.record()
    }

    /// Whether the button now sets the count back.
    pub(super) fn at_start(&self, now: Instant) -> bool {
        now < self.started + START_BUTTON
    }

    fn record(&self) -> Result<Record, Error> {
        Record::new(key::CODE_TRIES, &[&[1, self.tries]])
    }
}

/// The wait after `tries` wrong tries in a row: 1, 2, 4 .. 60 minutes from the fifth on.
fn wait(tries: u8) -> Duration {
    match tries.checked_sub(FREE_TRIES) {
        None => Duration::ZERO,
        Some(n) => Duration::from_secs(60).times(1 << n.min(6)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_the_fifth_wrong_try_to_an_hour() {
        let minutes: std::vec::Vec<u64> = (0..21).map(|n| wait(n).as_millis() / 60_000).collect();
        let mut expected = std::vec![0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32];
        expected.resize(21, 60);
        assert_eq!(minutes, expected);
    }

    #[test]
    fn a_restart_makes_the_wait_begin_anew_and_the_twentieth_try_is_the_last() {
        let now = Instant::START;
        let mut guard = Guard::restore(None, now).unwrap();
        let mut record = None;
        for _ in 0..5 {
            assert_eq!(guard.locked_s(now), 0);
            record = Some(guard.count(now).unwrap());
        }
        let stored = record.unwrap();
        assert_eq!((stored.key, stored.value.as_slice()), (key::CODE_TRIES, &[1u8, 5][..]));
        assert_eq!(guard.locked_s(now + Duration::from_secs(59)), 1);
        assert_eq!(guard.locked_s(now + Duration::from_secs(60)), 0);
        let later = now + Duration::from_secs(59);
        let guard = Guard::restore(Some(&stored.value), later).unwrap();
        assert_eq!(guard.locked_s(later), 60);
        let mut guard = Guard::restore(Some(&[1, 19]), now).unwrap();
        assert_eq!(guard.locked_s(now), 3600);
        guard.count(now + Duration::from_secs(3600)).unwrap();
        assert_eq!(guard.locked_s(now + Duration::from_secs(1_000_000)), u16::MAX);
        for bad in [&[][..], &[1], &[2, 0], &[1, 0, 0]] {
            assert!(Guard::restore(Some(bad), now).is_err());
        }
    }
}
