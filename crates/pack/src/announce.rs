//! Announces: when a device signs one, and which of a peer's it takes (`spec/channel.md`, H156 and H157).

use crate::time::{Duration, Instant};
use lct::validation::Announce;

/// Bits of an announce's flags.
pub mod flag {
    /// The device started.
    pub const STARTED: u16 = 1;
    /// Somebody asked.
    pub const ASKED: u16 = 2;
    /// It lost keys.
    pub const KEY_LOST: u16 = 4;
    /// It was tampered with.
    pub const TAMPERED: u16 = 8;
    /// Signed with the identity key that the manufacturer certified, not with that of the relationship.
    pub const IDENTITY: u16 = 16;
}

/// Shortest time between two signatures under announces.
pub const REST: Duration = Duration::from_secs(10);
/// Shortest time between two announces whose signature is verified.
const PERIOD: Duration = Duration::from_secs(1);

/// Decides when this device announces itself. Requests, which nobody signs, are answered together.
#[derive(Debug)]
pub(crate) struct Announcer {
    /// Why the next one is to be sent: bits of [`flag`].
    wanted: u16,
    /// None before.
    rested: Instant,
    seq: u32,
    verified: Option<Instant>,
}

impl Announcer {
    /// Of a device that starts.
    pub(crate) fn new(now: Instant, wanted: u16) -> Self {
        Announcer { wanted, rested: now, seq: 0, verified: None }
    }

    /// One is to be sent, for this reason.
    pub(crate) fn want(&mut self, flags: u16) {
        self.wanted |= flags;
    }

    /// When the next one is to be sent, if one is.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.wanted != 0).then_some(self.rested)
    }

    /// Number and reasons of the one to be sent now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(u32, u16)> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        self.rested = now + REST;
        Some((self.next_seq()?, core::mem::take(&mut self.wanted)))
    }

    /// The next number: announces and other events of a start share them.
    pub(crate) fn next_seq(&mut self) -> Option<u32> {
        self.seq = self.seq.checked_add(1)?;
        Some(self.seq)
    }

    /// Whether one more signature of somebody else may be verified now.
    pub(crate) fn may_verify(&mut self, now: Instant) -> bool {
        let rested = self.verified.is_none_or(|t| t + PERIOD <= now);
        if rested {
            self.verified = Some(now);
        }
        rested
    }
}

/// What was heard of one peer.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    last: Option<(u32, u32)>,
}

impl Heard {
    /// Whether what this announce claims is above everything heard of the peer, whose boot counter was at least
    /// `boot`.
    pub(crate) fn admits(&self, claimed: &Announce, boot: u32) -> bool {
        claimed.boot >= boot && Some(claimed.position()) > self.last
    }

    /// It verified.
    pub(crate) fn take(&mut self, announce: &Announce) {
        self.last = Some(announce.position());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flag::{ASKED, KEY_LOST, STARTED};
    use lct::id::Cid;

    fn at(s: u64) -> Instant {
        Instant::START + Duration::from_secs(s)
    }

    #[test]
    fn many_requests_cost_one_signature() {
        let mut announcer = Announcer::new(at(1), STARTED);
        assert_eq!(announcer.poll(at(0)), None);
        assert_eq!(announcer.poll(at(1)), Some((1, STARTED)));
        for _ in 0..1_000 {
            announcer.want(ASKED);
        }
        announcer.want(KEY_LOST);
        assert_eq!(announcer.due(), Some(at(11)));
        assert_eq!((2..11).find_map(|s| announcer.poll(at(s))), None);
        assert_eq!(announcer.poll(at(11)), Some((2, ASKED | KEY_LOST)));
        assert_eq!((announcer.due(), announcer.poll(at(99))), (None, None));
        assert_eq!([0, 0, 1].map(|s| announcer.may_verify(at(99 + s))), [true, false, true]);
    }

    #[test]
    fn positions_only_grow() {
        let mut heard = Heard::default();
        let announce = |boot, seq| Announce { cid: Cid([1; 16]), boot, seq, flags: 0 };
        for (boot, seq, known, taken) in [
            (3, 1, 4, false),
            (4, 2, 4, true),
            (4, 2, 4, false),
            (4, 1, 4, false),
            (3, 9, 0, false),
            (4, 3, 4, true),
            (5, 1, 4, true),
            (4, 9, 4, false),
        ] {
            let claimed = announce(boot, seq);
            assert_eq!(heard.admits(&claimed, known), taken, "{boot} {seq}");
            if taken {
                heard.take(&claimed);
            }
        }
    }
}
