//! Validation events on their way to the ledger (`spec/channel.md`, H170 to H174).

use super::*;
use lct::validation::Event as Statement;
use pack::testimony::{Told, number};

impl Gateway {
    /// An event that a device signed, or this app (`None`). Before everybody is commissioned the ledger does not know the
    /// keys; devices tell it again.
    pub(super) fn told(&mut self, now: Instant, from: Member, told: &Told) -> Result<(), Error> {
        let settled = matches!(&self.phase, Phase::Operating(c) if c.is_finished());
        let Some(key) = self.key_of(from, told.with).filter(|_| settled) else { return Ok(()) };
        let cid = match from {
            Some(party) => self.cids.get(&party).copied(),
            None => Some(self.app.identity().cid()),
        };
        let event = Statement::decode(&told.signed.event)?;
        let authentic = Some(event.cid) == cid && event.verify(&key, &told.signed.signature).is_ok();
        let witness = match (&told.attestation, from) {
            (Some(attestation), Some(party)) => {
                // Of a module its pack is the witness, of the pack the module in whose binding it signed.
                let by = if party == Party::Pack { Party::Module(told.with) } else { Party::Pack };
                self.keys.of(by).filter(|key| {
                    self.cids.get(&by) == Some(&attestation.witness)
                        && attestation.verify((&event, &told.signed.signature), key).is_ok()
                })
            }
            _ => None,
        };
        if !authentic || told.attestation.is_some() != witness.is_some() {
            from.into_iter().for_each(|party| self.event(Event::Contradiction(party)));
            return Ok(());
        }
        let number = number(event.position());
        if self.stated.get(&from).is_some_and(|last| number <= *last) {
            // Its device missed the receipt.
            return self.acknowledge_statement(now, from, number);
        }
        let witness = told.attestation.zip(witness);
        let (statement, signature) = (told.signed.event.to_vec(), told.signed.signature);
        let job = Job::Statement { statement, key, signature, witness };
        let kept = Kept { party: from, kind: pdu::VALIDATION, number };
        self.outputs.push_back(Output::Keep(job, Some(kept)));
        Ok(())
    }

    /// More is required between app and pack (H176): the pack gets a signed command, and then everybody states its
    /// binding.
    pub(super) fn escalated(
        &mut self,
        now: Instant,
        target: ValidationLevel,
        reason: EscalationReason,
        own: bool,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.event(Event::Escalated(target, own));
        match own {
            true if target == ValidationLevel::Binding => self.outputs.push_back(Output::Root),
            false if target >= ValidationLevel::Command => self.app.confirm(now, reason, rng)?,
            _ => {}
        }
        Ok(())
    }

    /// Has app, pack and modules state that their bindings are in force (H173); `root` is that of the ledger's state.
    ///
    /// # Errors
    /// [`Error::Link`] while there is no channel to the pack.
    pub fn verify(&mut self, now: Instant, root: &Digest) -> Result<(), Error> {
        let parties: Vec<Party> = self.cids.keys().copied().collect();
        for of in [None].into_iter().chain(parties.into_iter().map(Some)) {
            self.app.ask_verification(now, of, root)?;
        }
        Ok(())
    }

    fn key_of(&self, from: Member, with: u8) -> Option<PublicKey> {
        match (from, with) {
            (None, 0) => self.app.relation().own_spk().map(|own| own.signing_key().public()),
            (None, _) => None,
            (Some(party), 0) => self.keys.of(party),
            (Some(party), node) => self.keys.with(party, Some(Party::Module(node))),
        }
    }

    /// The statement is in the outbox: its device may forget it.
    pub(super) fn acknowledge_statement(
        &mut self,
        now: Instant,
        from: Member,
        number: u64,
    ) -> Result<(), Error> {
        self.stated.insert(from, number);
        match from {
            Some(party) => Ok(self.app.received(now, party, pdu::VALIDATION, number)?),
            None => {
                self.app.statement_kept(now, number);
                Ok(())
            }
        }
    }
}
