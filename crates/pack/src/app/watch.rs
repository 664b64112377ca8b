//! What the app watches over: who may tell it what, clear telemetry that the pairing allows, and alerts
//! (`spec/can.md`, C100 to C114).

use super::*;
use crate::{
    digest::Verdict,
    gate::{Arrival, judge, screen},
    policy::Effect as Change,
    sealed_id::ClearId,
};

impl App {
    /// Active faults and counters of the app's own end.
    pub fn health(&self) -> &Health {
        &self.device.health
    }

    pub(super) fn screen(&mut self, now: Instant, frame: &Frame) -> bool {
        let mine = |device: u8| device == self.pack;
        let standing = |device: u8| mine(device).then(|| self.device.standing(now, &self.relation));
        let screened = screen(Bus::Can1, Direction::Ab, frame, mine, standing);
        self.device.screen(now, frame, screened)
    }

    /// The gate for a message of the pack with its exact base; what it refuses is counted.
    pub(super) fn admits(&mut self, now: Instant, base: u16, protection: Protection) -> bool {
        let arrival =
            Arrival { bus: Bus::Can1, base, direction: Direction::Ba, protection, effect: Change::Hold };
        let judged = judge(&arrival, &self.device.standing(now, &self.relation));
        judged.map_err(|denied| self.device.deny(now, base, denied)).is_ok()
    }

    /// A clear message: only what a pairing allows is passed on, everything else of a pack is judged and counted.
    pub(super) fn clear(
        &mut self,
        now: Instant,
        id: ClearId,
        frame: &Frame,
        body: &[u8],
    ) -> Result<(), Error> {
        if id.node != self.pack || gate::is_sent_by(Bus::Can1, id.base, Direction::Ab) {
            return Ok(());
        }
        if !self.admits(now, id.base, Protection::Clear) || !self.relation.stay_clear().contains(&id.base) {
            return Ok(());
        }
        if let Some(digest) = &mut self.digest {
            digest.heard(frame);
        }
        match heapless::Vec::from_slice(body) {
            Ok(body) => self.device.offer(Event::Clear(id.base, body)),
            Err(_) => Ok(()),
        }
    }

    /// A fresh epoch stands.
    pub(super) fn channel_up(&mut self, now: Instant) {
        self.digest = (!self.relation.stay_clear().is_empty()).then(|| DigestReceiver::new(now));
    }

    /// The digest of what the pack left clear.
    pub(super) fn check_digest(&mut self, now: Instant, body: &[u8]) -> Result<(), Error> {
        let Some(digest) = &mut self.digest else { return Ok(()) };
        let verdict = digest.check(now, body)?;
        let in_a_row = digest.unverified();
        if let Some(verdict @ (Verdict::Unverified | Verdict::Altered)) = verdict {
            self.device.health.digest(now, 0, verdict == Verdict::Altered, in_a_row);
        }
        Ok(())
    }

    pub(super) fn watch_due(&self) -> [Option<Instant>; 3] {
        let up = self.relation.is_up();
        [
            self.device.health.alert_due().filter(|_| up),
            self.device.health.linger_due(),
            self.digest.as_ref().filter(|_| up).map(DigestReceiver::due),
        ]
    }

    /// Alerts the pack, and notices a digest that does not come.
    pub(super) fn watch(&mut self, now: Instant) -> Result<(), Error> {
        self.device.health.set_incomplete(self.link.counters().incomplete);
        self.device.health.tick(now);
        if !self.relation.is_up() {
            return Ok(());
        }
        if let Some(digest) = self.digest.as_mut().filter(|digest| digest.due() <= now) {
            digest.missed(now);
            self.device.health.digest(now, 0, false, digest.unverified());
        }
        match self.device.health.poll_alert(now) {
            Some(alert) => self.seal_pdu(now, Tier::Pair, &alert.to_pdu(0)?),
            None => Ok(()),
        }
    }
}
