//! What an app states and what it asks others to state (`spec/channel.md`, H170 to H174).

use super::*;
use crate::testimony::Asked;
use lct::validation::{Escalation, EventKind};

/// Why an app signs the state in force once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirming {
    /// Its pack asks for level 5 or more, for this reason.
    Escalation(EscalationReason),
    /// Somebody wants to see it done.
    Asked,
}

impl App {
    /// Says where this app is found; its next announce tells it.
    pub fn set_access(&mut self, access: Access) {
        self.access = Some(access);
    }

    /// Asks for a statement (H190): of a party, or of this app itself (`None`).
    ///
    /// # Errors
    /// Of this app: [`Error::WrongParty`] for what it does not state, [`Error::Exhausted`] while too much waits. Of another:
    /// those of sealing.
    pub fn ask_statement(&mut self, now: Instant, of: Option<Party>, asked: &Asked) -> Result<(), Error> {
        let (with, body) = asked.encode();
        if let Some(party) = of {
            let head = [pdu::VALIDATION, events::STATE, party.node(), with];
            return self.seal_pdu(now, Tier::Exch, &pdu::build(&[&head, &body])?);
        }
        if *asked == Asked::State {
            // Nobody is the witness of an app.
            return Err(Error::WrongParty);
        }
        let mut fx = Effects::new();
        self.device.asked_to_state(now, with, &body, &mut self.relation, &mut fx)?;
        self.apply(now, fx)
    }

    /// Signs the state that the pack holds once more: for a pack that asks for level 5 (H176), or because it was asked for
    /// (H190). A signed command that is under way is as good.
    pub fn confirm(&mut self, now: Instant, why: Confirming, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.confirming = Some(why);
        if self.run.is_some() { Ok(()) } else { self.command(now, rng) }
    }

    /// The pack took a signed command. Where it was asked for, this app states it; after an escalation it asks for level 7
    /// in turn, unless it asked too often.
    pub(super) fn confirmed(&mut self, now: Instant, digest: &Digest) -> Result<(), Error> {
        let escalation = match self.confirming.take() {
            None => return Ok(()),
            Some(Confirming::Asked) => None,
            Some(Confirming::Escalation(reason)) => {
                let asked =
                    Escalation { target: ValidationLevel::Binding, reason, urgency: Urgency::Deferred };
                let begun = self.escalate(now, asked.target, asked.reason, asked.urgency);
                begun.is_ok().then_some(asked)
            }
        };
        self.device.state_and_ask(now, EventKind::Command, 0, &[digest], escalation);
        Ok(())
    }

    /// The keeper has this app's own event with this number.
    pub fn statement_kept(&mut self, now: Instant, number: u64) {
        self.device.testimony.acknowledge(now, number);
    }

    /// Tells the owner the statement that is first in turn.
    pub(super) fn tell_statement(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Some(pdu) = self.device.statement_pdu(now, &self.relation, self.access.clone(), rng)? else {
            return Ok(());
        };
        let told = Told::parse(pdu.get(2..).ok_or(Error::Malformed)?)?;
        self.device.offer(Event::Told(None, told))
    }
}
