//! What an app states and what it asks others to state (`spec/channel.md`, H170 to H174).

use super::*;
use lct::validation::{Escalation, EventKind};

impl App {
    /// Says where this app is found; its next announce tells it.
    pub fn set_access(&mut self, access: Access) {
        self.access = Some(access);
    }

    /// Asks for a whole announce: of a party, or of this app itself (`None`).
    pub fn ask_presence(&mut self, now: Instant, of: Option<Party>) -> Result<(), Error> {
        self.ask_statement(now, of, &[EventKind::Announce as u8])
    }

    /// Asks for the statement that the binding of a party with the pack or app above, or that of this app with the pack
    /// (`None`), is in force in the state of the ledger with this root.
    pub fn ask_verification(&mut self, now: Instant, of: Option<Party>, root: &Digest) -> Result<(), Error> {
        let mut asked = [EventKind::BindingVerification as u8; 33];
        asked[1..].copy_from_slice(root);
        self.ask_statement(now, of, &asked)
    }

    fn ask_statement(&mut self, now: Instant, of: Option<Party>, asked: &[u8]) -> Result<(), Error> {
        match of {
            Some(party) => {
                let head = [pdu::VALIDATION, events::STATE, party.node()];
                let body = pdu::build(&[&head, asked])?;
                self.seal_pdu(now, Tier::Exch, &body)
            }
            None => self.device.asked_to_state(now, asked, &self.relation),
        }
    }

    /// Signs the state that the pack holds once more (H176): what a pack gets that asks for level 5. A signed command that is
    /// under way is as good.
    pub fn confirm(
        &mut self,
        now: Instant,
        reason: EscalationReason,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.confirming = Some(reason);
        if self.run.is_some() { Ok(()) } else { self.command(now, rng) }
    }

    /// The pack took a signed command. Where it was asked for, this app states it and asks for level 7 in turn, unless it
    /// asked too often.
    pub(super) fn confirmed(&mut self, now: Instant, digest: &Digest) -> Result<(), Error> {
        let Some(reason) = self.confirming.take() else { return Ok(()) };
        let asked = Escalation { target: ValidationLevel::Binding, reason, urgency: Urgency::Deferred };
        let begun = self.escalate(now, asked.target, asked.reason, asked.urgency);
        let escalation = begun.is_ok().then_some(asked);
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
