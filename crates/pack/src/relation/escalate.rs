//! Escalation in a relationship: what a paired peer asks, what this device asks of it, and what ends it
//! (`spec/channel.md`, H152 to H155).

use super::*;
use crate::{
    escalation::{Judged, Message},
    level::{Operation, required},
};
use lct::validation::{EscalationReason, Urgency, ValidationLevel};

impl Relation {
    /// The level that is asked for in this relationship now.
    pub fn escalated(&self, now: Instant) -> Option<ValidationLevel> {
        self.escalation.level(now)
    }

    /// Whether `operation`, proved at `reached`, may be done now.
    pub(crate) fn suffices(&self, now: Instant, operation: Operation, reached: ValidationLevel) -> bool {
        // A pairing that is about to end raises nothing.
        let ends = self.is_ending() && matches!(operation, Operation::Raise | Operation::Configure);
        !ends && reached >= required(operation, self.escalated(now))
    }

    /// Asks the paired peer for more; this device holds itself to it at once.
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a pairing; [`Error::Exhausted`] more often than three times a minute or ten an
    /// hour.
    pub fn escalate(
        &mut self,
        now: Instant,
        target: ValidationLevel,
        reason: EscalationReason,
        urgency: Urgency,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        if !self.is_paired() {
            return Err(Error::WrongParty);
        }
        self.escalation.ask(now, target, reason, urgency)?;
        self.keep_escalation(fx)?;
        push(fx, Effect::Event(RelationEvent::Escalated { target, reason, urgency, own: true }))?;
        self.send_escalation(now, fx)
    }

    /// A message about escalation that the peer sealed, without its type byte.
    pub(crate) fn escalation(&mut self, now: Instant, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        if !self.is_paired() {
            return Err(Error::WrongParty);
        }
        let request = match Message::parse(body)? {
            Message::Answer { seq, .. } => {
                self.escalation.answered(seq);
                return Ok(());
            }
            Message::Ask(request) => request,
        };
        let judged = self.escalation.heard(now, &request);
        match judged {
            Judged::Old | Judged::TooMany(None) => return Ok(()),
            Judged::TooMany(Some(count)) => {
                return push(fx, Effect::Event(RelationEvent::EscalationOverflow { count }));
            }
            Judged::Taken => {
                self.keep_escalation(fx)?;
                let (target, reason, urgency) = (request.target, request.reason, request.urgency);
                let event = RelationEvent::Escalated { target, reason, urgency, own: false };
                push(fx, Effect::Event(event))?;
            }
            Judged::Again => {}
        }
        let level = self.escalated(now).map_or(0, |level| level as u8);
        let answer = Message::Answer { seq: request.seq, level }.to_pdu()?;
        push(fx, Effect::SealToPeer(Tier::Pair, answer))
    }

    /// Somebody, who need not be the peer, asks for more: the channel is proved anew, at most once a minute.
    pub(crate) fn hint(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if !self.is_up() || self.run.is_some() || !self.escalation.hinted(now) {
            return Ok(());
        }
        match self.session().map(Session::sends) {
            Some(Direction::Ab) => self.resume(now, boot, fx, rng),
            Some(Direction::Ba) => Relation::ask_for_run(fx),
            None => Ok(()),
        }
    }

    /// A validation at level `by` stands.
    pub(super) fn validated(&mut self, by: ValidationLevel, fx: &mut Effects) -> Result<(), Error> {
        match self.escalation.validated(by) {
            Some(level) => {
                self.keep_escalation(fx)?;
                push(fx, Effect::Event(RelationEvent::EscalationEnded { level, by: Some(by) }))
            }
            None => Ok(()),
        }
    }

    /// What lasts is durable before it is answered.
    fn keep_escalation(&mut self, fx: &mut Effects) -> Result<(), Error> {
        let binding = self.bond.as_ref().ok_or(Error::WrongParty)?.binding_id;
        match self.escalation.record(binding) {
            Some(value) => push(fx, Effect::Store(Record::new(key::escalation(self.slot), &[&value])?)),
            None => Ok(()),
        }
    }

    fn send_escalation(&mut self, now: Instant, fx: &mut Effects) -> Result<(), Error> {
        match self.is_up().then(|| self.escalation.poll(now)).flatten() {
            Some(request) => push(fx, Effect::SealToPeer(Tier::Pair, Message::Ask(request).to_pdu()?)),
            None => Ok(()),
        }
    }

    /// Sends an own request again, and ends what lasted its time.
    pub(super) fn tend_escalation(&mut self, now: Instant, fx: &mut Effects) -> Result<(), Error> {
        if let Some(level) = self.escalation.expire(now) {
            push(fx, Effect::Event(RelationEvent::EscalationEnded { level, by: None }))?;
        }
        self.send_escalation(now, fx)
    }
}
