//! How much a key may protect, how long an epoch may last and how many failures are too many
//! (`spec/channel.md`, H90 to H93).

use crate::time::{Duration, Instant};

/// Periods and counts after which a channel renews itself or raises an alarm. [`Limits::DEFAULT`] are the design's;
/// a policy may only choose values that [`Limits::is_allowed`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Powered time after which an epoch is rotated.
    pub epoch_age: Duration,
    /// Messages of one key after which its epoch is rotated.
    pub epoch_messages: u64,
    /// AES blocks of one key after which its epoch is rotated.
    pub epoch_blocks: u64,
    /// Powered seconds after a full handshake until the next one is due.
    pub handshake_age_s: u32,
    /// Epochs after a full handshake until the next one is due.
    pub handshake_epochs: u32,
    /// Epochs after which a channel is renewed no more: only a new pairing helps.
    pub epochs_max: u32,
    /// How long the exchange tier of the epoch before is still opened.
    pub grace: Duration,
    /// Messages that do not open within [`Limits::failure_span`] before the alarm.
    pub failures: u32,
    /// The span in which failures are counted.
    pub failure_span: Duration,
    /// Messages that do not open in one epoch before it is rotated.
    pub epoch_failures: u32,
    /// Compact messages that do not verify within [`Limits::failure_span`] before the profile is switched off.
    pub compact_failures: u32,
    /// Compact messages that do not verify in one epoch before the profile is switched off.
    pub compact_epoch_failures: u32,
    /// How long the session of a binding is used while there is no pairing.
    pub unpaired: Duration,
}

impl Limits {
    /// The values of the design.
    pub const DEFAULT: Limits = Limits {
        epoch_age: Duration::from_secs(24 * 3_600),
        epoch_messages: 1 << 24,
        epoch_blocks: 1 << 30,
        handshake_age_s: 7 * 24 * 3_600,
        handshake_epochs: 256,
        epochs_max: 4_096,
        grace: Duration::from_millis(2_000),
        failures: 64,
        failure_span: Duration::from_millis(10_000),
        epoch_failures: 1 << 20,
        compact_failures: 8,
        compact_epoch_failures: 64,
        unpaired: Duration::from_secs(600),
    };

    /// The limits under the rotation periods of a policy (H110); what a policy does not set stays as designed.
    pub fn under(periods: &lct::policy::Rotation) -> Limits {
        let d = Limits::DEFAULT;
        Limits {
            epoch_age: Duration::from_secs(u64::from(periods.epoch_s)),
            epoch_messages: u64::from(periods.epoch_messages),
            handshake_age_s: periods.agreement_s,
            handshake_epochs: u32::from(periods.agreement_epochs).min(d.epochs_max),
            ..d
        }
    }

    /// True when no value is looser than the bounds that a policy may not pass: half of what a key can protect,
    /// 30 days for an epoch, 90 days for a handshake, and the failure counts of the design.
    pub fn is_allowed(&self) -> bool {
        const DAY_S: u32 = 24 * 3_600;
        let d = Limits::DEFAULT;
        (1..=lct::seal::MESSAGES_MAX / 2).contains(&self.epoch_messages)
            && (1..=lct::seal::BLOCKS_MAX / 2).contains(&self.epoch_blocks)
            && self.epoch_age > Duration::ZERO
            && self.epoch_age <= Duration::from_secs(u64::from(30 * DAY_S))
            && (1..=90 * DAY_S).contains(&self.handshake_age_s)
            && (1..=self.epochs_max).contains(&self.handshake_epochs)
            && self.epochs_max <= d.epochs_max
            && self.grace <= d.grace
            && self.failures <= d.failures
            && self.failure_span >= d.failure_span
            && self.epoch_failures <= d.epoch_failures
            && self.compact_failures <= d.compact_failures
            && self.compact_epoch_failures <= d.compact_epoch_failures
            && self.unpaired <= d.unpaired
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

/// What one key of an epoch protected, the larger of both directions and of all tiers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Messages.
    pub messages: u64,
    /// AES blocks.
    pub blocks: u64,
}

impl Usage {
    /// The larger of each.
    pub fn max(self, other: Usage) -> Usage {
        Usage { messages: self.messages.max(other.messages), blocks: self.blocks.max(other.blocks) }
    }

    /// True when an epoch that was used like this is to be renewed.
    pub fn is_spent(&self, limits: &Limits) -> bool {
        self.messages >= limits.epoch_messages || self.blocks >= limits.epoch_blocks
    }
}

/// Counts events in spans: a span begins with its first event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    since: Option<Instant>,
    count: u32,
}

impl Span {
    /// Counts one event at `now`; returns how many the span has seen.
    pub fn count(&mut self, now: Instant, span: Duration) -> u32 {
        if self.since.is_none_or(|t| now >= t + span) {
            (self.since, self.count) = (Some(now), 0);
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy may tighten everything and loosen only up to the bounds.
    #[test]
    fn what_a_policy_may_choose() {
        let d = Limits::DEFAULT;
        assert!(d.is_allowed());
        let day = |n: u64| Duration::from_secs(n * 86_400);
        for (allowed, limits) in [
            (true, Limits { epoch_age: day(30), handshake_age_s: 90 * 86_400, ..d }),
            (true, Limits { failures: 1, epochs_max: 1, handshake_epochs: 1, ..d }),
            (false, Limits { epoch_age: day(31), ..d }),
            (false, Limits { epoch_age: Duration::ZERO, ..d }),
            (false, Limits { epoch_messages: (1 << 31) + 1, ..d }),
            (false, Limits { epoch_messages: 0, ..d }),
            (false, Limits { epoch_blocks: (1 << 33) + 1, ..d }),
            (false, Limits { handshake_age_s: 91 * 86_400, ..d }),
            (false, Limits { handshake_age_s: 0, ..d }),
            (false, Limits { handshake_epochs: 4_097, ..d }),
            (false, Limits { epochs_max: 4_097, ..d }),
            (false, Limits { grace: Duration::from_millis(2_001), ..d }),
            (false, Limits { failures: 65, ..d }),
            (false, Limits { failure_span: Duration::from_millis(9_999), ..d }),
            (false, Limits { epoch_failures: 1 << 21, ..d }),
            (false, Limits { compact_failures: 9, ..d }),
            (false, Limits { compact_epoch_failures: 65, ..d }),
            (false, Limits { unpaired: Duration::from_secs(601), ..d }),
        ] {
            assert_eq!(limits.is_allowed(), allowed, "{limits:?}");
        }
    }

    /// Every policy that its own reader accepts can be put in force.
    #[test]
    fn periods_of_a_policy_become_limits() {
        use lct::policy::Rotation;
        assert_eq!(Limits::under(&Rotation::FACTORY), Limits::DEFAULT);
        let least = Rotation {
            epoch_s: 60,
            epoch_messages: 1 << 10,
            agreement_s: 60,
            agreement_epochs: 1,
            ..Rotation::FACTORY
        };
        let most = Rotation {
            epoch_s: 7 * 86_400,
            epoch_messages: 1 << 31,
            agreement_s: 90 * 86_400,
            agreement_epochs: u16::MAX,
            ..Rotation::FACTORY
        };
        for periods in [least, most] {
            assert!(Limits::under(&periods).is_allowed(), "{periods:?}");
        }
        let limits = Limits::under(&least);
        assert_eq!(
            (limits.epoch_age, limits.epoch_messages, limits.handshake_age_s, limits.handshake_epochs),
            (Duration::from_secs(60), 1 << 10, 60, 1)
        );
        assert_eq!(Limits::under(&most).handshake_epochs, Limits::DEFAULT.epochs_max);
    }

    #[test]
    fn messages_or_blocks_use_a_key_up() {
        let limits = Limits { epoch_messages: 10, epoch_blocks: 100, ..Limits::DEFAULT };
        for (messages, blocks, spent) in [(9, 99, false), (10, 0, true), (0, 100, true), (11, 101, true)] {
            assert_eq!(Usage { messages, blocks }.is_spent(&limits), spent, "{messages}, {blocks}");
        }
        let one = Usage { messages: 3, blocks: 70 };
        let other = Usage { messages: 5, blocks: 60 };
        assert_eq!(one.max(other), Usage { messages: 5, blocks: 70 });
    }

    #[test]
    fn a_span_begins_with_its_first_event() {
        let mut span = Span::default();
        let ten = Duration::from_secs(10);
        let at = Instant::from_millis;
        assert_eq!([0, 5_000, 9_999].map(|t| span.count(at(t), ten)), [1, 2, 3]);
        assert_eq!([10_000, 19_999, 20_000].map(|t| span.count(at(t), ten)), [1, 2, 1]);
    }
}
