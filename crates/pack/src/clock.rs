//! The two clocks of a device (`spec/channel.md`, H101 to H103): the floor, which judges leases and lists and moves
//! only on good authority, and the stamp, which dates records and follows the paired peer.

use crate::{
    identity::{Record, key},
    time::{Duration, Instant},
};
use kept::{Defence, kept};
use lct::{Error, codec::Fields};

/// How far the peer's word may raise the floor between two words of the authority, in seconds.
pub const PEER_CREDIT_S: u32 = 3_600;
/// Seconds of powered time that are written ahead, and how far judged time runs before the floor is written again.
pub const AHEAD_S: u32 = 600;

/// The last millisecond that a stamp tells: seconds have 32 bits on the link (C48).
pub const LAST_MS: u64 = u32::MAX as u64 * 1_000 + 999;

/// What became of a time that the peer told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It fits, or is earlier than judged time.
    Fits,
    /// It is further ahead than the peer may say: only the stamp follows. The first time since the start.
    Jump {
        /// What was told, Unix seconds.
        told: u32,
        /// Judged time, Unix seconds.
        own: u32,
    },
    /// The same again.
    JumpAgain,
}

/// The clocks.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    floor: u32,
    floor_at: Instant,
    /// Seconds by which the peer may still raise the floor.
    credit: u32,
    powered_before: u32,
    stored_floor: u32,
    stored_powered: u32,
    dirty: bool,
    stamp: Option<(u64, Instant)>,
    jumped: bool,
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis() / 1_000).unwrap_or(u32::MAX)
}

impl Clock {
    /// The clocks of a device that starts; `stored` is the record under [`key::TIME`].
    pub fn start(stored: Option<&[u8]>, now: Instant) -> Result<Self, Error> {
        let (floor, powered) = match stored {
            None => (0, 0),
            Some(bytes) => {
                let mut f = Fields::new(bytes);
                if f.u8()? != 1 {
                    return Err(Error::Malformed);
                }
                let read = (f.u32()?, f.u32()?);
                f.end()?;
                read
            }
        };
        Ok(Clock {
            started: now,
            floor,
            floor_at: now,
            credit: PEER_CREDIT_S,
            powered_before: powered,
            stored_floor: floor,
            // H102: counted ahead, so that a cut gives nothing back.
            stored_powered: powered.saturating_add(AHEAD_S),
            dirty: true,
            stamp: None,
            jumped: false,
        })
    }

    /// The latest Unix second of which the device is sure; `None` before the authority said any.
    pub fn judged(&self, now: Instant) -> Option<u32> {
        let since = seconds(now.saturating_since(self.floor_at));
        (self.floor > 0).then(|| self.floor.saturating_add(since))
    }

    /// Seconds of power in the device's life, never too few.
    pub fn powered(&self, now: Instant) -> u32 {
        self.powered_before.saturating_add(self.uptime(now))
    }

    /// Seconds since this start.
    pub fn uptime(&self, now: Instant) -> u32 {
        seconds(now.saturating_since(self.started))
    }

    /// Unix time in milliseconds for records, once it was told; it stops at [`LAST_MS`].
    pub fn unix_ms(&self, now: Instant) -> Option<u64> {
        self.stamp.map(|(ms, at)| ms.saturating_add(now.saturating_since(at).as_millis()).min(LAST_MS))
    }

    /// Unix second for the log, 0 when unknown.
    pub fn stamp_s(&self, now: Instant) -> u32 {
        self.unix_ms(now).and_then(|ms| u32::try_from(ms / 1_000).ok()).unwrap_or(0)
    }

    /// The authority said that `time` has come. True when that was news; only then the peer has credit again, or an old
    /// word that is repeated would let it go on for ever.
    pub fn authority(&mut self, now: Instant, time: u32) -> bool {
        let news = self.raise(now, time);
        if news {
            self.credit = PEER_CREDIT_S;
        }
        news
    }

    fn raise(&mut self, now: Instant, time: u32) -> bool {
        if self.judged(now).is_some_and(|own| time <= own) || time == 0 {
            return false;
        }
        (self.floor, self.floor_at) = (time, now);
        self.keep(now, false);
        true
    }

    /// The paired peer told its time.
    pub fn peer(&mut self, now: Instant, unix_ms: u64) -> Told {
        let shown = self.unix_ms(now).unwrap_or(0);
        self.stamp = Some((unix_ms.max(shown), now));
        let told = u32::try_from(unix_ms / 1_000).unwrap_or(u32::MAX);
        // H101: without a word of the authority there is nothing that the peer could move.
        let Some(own) = self.judged(now) else { return Told::Fits };
        let ahead = told.saturating_sub(own);
        if ahead <= self.credit || !kept(Defence::PeerCredit) {
            self.credit = self.credit.saturating_sub(ahead);
            self.raise(now, told);
            return Told::Fits;
        }
        if core::mem::replace(&mut self.jumped, true) { Told::JumpAgain } else { Told::Jump { told, own } }
    }

    /// Lets time pass: what runs ahead of its record is written again.
    pub fn tick(&mut self, now: Instant) {
        self.keep(now, false);
    }

    /// When [`Clock::tick`] has something to do.
    pub fn due(&self) -> Instant {
        let ahead = self.stored_powered.saturating_sub(self.powered_before);
        self.started + Duration::from_secs(u64::from(ahead))
    }

    /// Makes what was judged now hold after a start too.
    pub fn settle(&mut self, now: Instant) {
        self.keep(now, true);
    }

    fn keep(&mut self, now: Instant, at_once: bool) {
        let judged = self.judged(now).unwrap_or(0);
        if judged >= self.stored_floor.saturating_add(AHEAD_S) || (at_once && judged > self.stored_floor) {
            (self.stored_floor, self.dirty) = (judged, true);
        }
        let powered = self.powered(now);
        if powered >= self.stored_powered {
            (self.stored_powered, self.dirty) = (powered.saturating_add(AHEAD_S), true);
        }
    }

    /// The record to write, if one is due.
    pub(crate) fn record(&mut self) -> Option<Record> {
        if !core::mem::take(&mut self.dirty) {
            return None;
        }
        let (floor, powered) = (self.stored_floor.to_be_bytes(), self.stored_powered.to_be_bytes());
        Record::new(key::TIME, &[&[1], &floor, &powered]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1_000)
    }

    /// H103: the end of time is a time that can be passed on.
    #[test]
    fn a_stamp_stops_at_its_end() {
        let mut clock = Clock::start(None, at(0)).unwrap();
        clock.peer(at(0), LAST_MS - 1_000);
        assert_eq!(clock.unix_ms(at(0)), Some(LAST_MS - 1_000));
        assert_eq!(clock.unix_ms(at(5)), Some(LAST_MS));
        assert_eq!(clock.stamp_s(at(5)), u32::MAX);
    }

    #[test]
    fn the_peer_has_an_hour_and_the_authority_has_all_the_time() {
        let mut clock = Clock::start(None, at(0)).unwrap();
        assert_eq!(clock.peer(at(0), 5_000_000), Told::Fits);
        assert_eq!(clock.judged(at(0)), None, "a peer's word sets no floor");
        assert_eq!(clock.unix_ms(at(1)), Some(5_001_000), "and still stamps");
        assert!(clock.authority(at(2), 10_000));
        assert_eq!(clock.judged(at(12)), Some(10_010));
        assert_eq!(clock.peer(at(12), 13_000_000), Told::Fits);
        assert_eq!(clock.judged(at(12)), Some(13_000));
        // 2990 of 3600 seconds are spent: small steps do not add up to a leap.
        assert_eq!(clock.peer(at(12), 13_611_000), Told::Jump { told: 13_611, own: 13_000 });
        assert_eq!(clock.peer(at(12), 4_000_000_000_000), Told::JumpAgain);
        assert_eq!(clock.judged(at(12)), Some(13_000));
        assert_eq!(clock.peer(at(12), 1_000), Told::Fits, "backwards is not news");
        assert_eq!(clock.judged(at(12)), Some(13_000));
        assert!(clock.authority(at(12), 99_000));
        assert!(!clock.authority(at(12), 98_999), "an older token changes nothing");
        assert_eq!(clock.judged(at(12)), Some(99_000));
        assert_eq!(clock.peer(at(12), 102_600_000), Told::Fits, "the authority's word renews the hour");
    }

    /// Power cycles every nine minutes: the count of powered seconds still grows.
    #[test]
    fn cutting_the_power_buys_no_time() {
        let mut stored: Option<heapless::Vec<u8, 256>> = None;
        let mut last = 0;
        for cycle in 0..100 {
            let mut clock = Clock::start(stored.as_deref(), at(0)).unwrap();
            stored = clock.record().map(|r| r.value.clone());
            clock.tick(at(540));
            let powered = clock.powered(at(540));
            assert!(powered >= last + 540, "cycle {cycle}: {powered} after {last}");
            last = powered;
        }
    }

    /// H102: a record is due when what it holds is outrun by [`AHEAD_S`], or at once when somebody relied on the time.
    #[test]
    fn records_are_written_when_they_are_outrun_and_not_before() {
        let mut clock = Clock::start(None, at(0)).unwrap();
        let written = |clock: &mut Clock| {
            clock.record().map(|record| {
                let mut f = Fields::new(&record.value[1..]);
                (f.u32().unwrap(), f.u32().unwrap())
            })
        };
        assert_eq!(written(&mut clock), Some((0, 600)));
        assert_eq!(clock.due(), at(600));
        assert!(clock.authority(at(10), 10_000));
        assert_eq!(written(&mut clock), Some((10_000, 600)));
        let steps = [
            (100, false, None),
            (599, false, None),
            (600, false, Some((10_000, 1_200))), // powered for as long as was counted ahead
            (609, false, None),
            (610, false, Some((10_600, 1_200))),
            (700, false, None),
            (700, true, Some((10_690, 1_200))),
            (700, true, None), // nothing passed since
        ];
        for (now, settle, expected) in steps {
            if settle {
                clock.settle(at(now))
            } else {
                clock.tick(at(now))
            }
            assert_eq!(written(&mut clock), expected, "at {now} s");
        }
        assert_eq!(clock.due(), at(1_200));
    }

    proptest! {
        /// Whatever is told in whatever order, with power cuts anywhere: judged time never goes back by more than
        /// what ran unwritten, a settled judgement never, and the stored floor never at all.
        #[test]
        fn the_floor_never_goes_back(
            steps in proptest::collection::vec((0u8..5, 0u32..40_000, 0u64..2_000), 1..60)
        ) {
            let mut now = 0;
            let mut stored: Option<heapless::Vec<u8, 256>> = None;
            let mut clock = Clock::start(None, at(0)).unwrap();
            let (mut settled, mut floor_stored) = (0, 0);
            let mut judged = 0;
            for (what, time, pass) in steps {
                now += pass;
                match what {
                    0 => { clock.authority(at(now), time); }
                    1 => { clock.peer(at(now), u64::from(time) * 1_000); }
                    2 => clock.tick(at(now)),
                    3 => {
                        clock.settle(at(now));
                        settled = clock.judged(at(now)).unwrap_or(0);
                    }
                    _ => {
                        // The driver makes records durable before anything else happens.
                        now += 1;
                        clock = Clock::start(stored.as_deref(), at(now)).unwrap();
                        judged = 0;
                    }
                }
                if let Some(record) = clock.record() {
                    let mut f = Fields::new(&record.value[1..]);
                    let floor = f.u32().unwrap();
                    prop_assert!(floor >= floor_stored, "stored floor {} after {}", floor, floor_stored);
                    floor_stored = floor;
                    stored = Some(record.value.clone());
                }
                let new = clock.judged(at(now)).unwrap_or(0);
                prop_assert!(new >= judged && new >= settled, "{} after {} and {}", new, judged, settled);
                judged = new;
            }
        }
    }
}
