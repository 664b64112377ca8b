//! Validation events on their way to the ledger (`spec/channel.md`, H170 to H174).

use super::*;
use lct::{id::Cid, validation::Event as Statement};
use pack::{
    app::Confirming,
    testimony::{Asked, Signed, Told, number},
};

/// The event that `cid` signed with `key`, when it is one of those that the ledger records.
fn read(signed: &Signed, cid: Option<Cid>, key: &PublicKey) -> Option<Statement> {
    let event = signed.decode().ok()?;
    let recorded = api::sign::is_recorded(event.kind) && Some(event.cid) == cid;
    (recorded && event.verify(key, &signed.signature).is_ok()).then_some(event)
}

impl Gateway {
    /// An event that a device signed, or this app (`None`). Before everybody is commissioned the ledger does not know the
    /// keys; devices tell it again.
    pub(super) fn told(&mut self, now: Instant, from: Member, told: &Told) -> Result<(), Error> {
        let settled = matches!(&self.phase, Phase::Operating(c) if c.is_finished());
        let with = match (from, told.with) {
            (None, 0) => Some(Party::Pack),
            (None, _) => return Ok(()),
            (Some(Party::Module(_)), 0) => Some(Party::Pack),
            (Some(Party::Pack), 0) => None,
            (Some(_), node) => Some(Party::Module(node)),
        };
        if !settled || !self.is_known(from, with) {
            return Ok(());
        }
        let cid = match from {
            Some(party) => self.cids.get(&party).copied(),
            None => Some(self.app.identity().cid()),
        };
        let judged = |key| Some((key, read(&told.signed, cid, &key)?));
        let found = self.keys_between(from, with).find_map(judged);
        let Some((key, event)) = found else {
            from.into_iter().for_each(|party| self.event(Event::Contradiction(party)));
            return Ok(());
        };
        let witness = match (&told.attestation, from) {
            (Some(attestation), Some(party)) => {
                // Of a module its pack is the witness, of the pack the module in whose binding it signed.
                let by = if party == Party::Pack { Party::Module(told.with) } else { Party::Pack };
                let named = self.cids.get(&by) == Some(&attestation.witness);
                let fits =
                    |key: &PublicKey| attestation.verify((&event, &told.signed.signature), key).is_ok();
                self.measured_by(by, fits).filter(|_| named)
            }
            _ => None,
        };
        if told.attestation.is_some() != witness.is_some() {
            from.into_iter().for_each(|party| self.event(Event::Contradiction(party)));
            return Ok(());
        }
        let number = number(event.position());
        if self.stated.get(&from).is_some_and(|last| number <= *last) {
            // Its device missed the receipt.
            return self.acknowledge_statement(now, from, number);
        }
        let (by, again) = ((key, witness), told.with == 0);
        let kept = Kept { party: from, kind: pdu::VALIDATION, number, by, again };
        if self.unheard.knows(kept) {
            return Ok(());
        }
        let witness = told.attestation.zip(witness);
        let (statement, signature) = (told.signed.event.to_vec(), told.signed.signature);
        let job = Job::Statement { statement, key, signature, witness };
        if self.keep(job, kept) {
            self.stated_by(from, told.with, &event);
        }
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
            true if target == ValidationLevel::Binding => {
                self.verify_all = true;
                self.outputs.push_back(Output::Root);
            }
            false if target >= ValidationLevel::Command => {
                self.app.confirm(now, Confirming::Escalation(reason), rng)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Has those state that their bindings are in force who were ordered to (A90), and after an escalation app, pack and
    /// modules (H176); `root` is that of the ledger's state.
    ///
    /// # Errors
    /// [`Error::Link`] while there is no channel to the pack, or too much waits; the bindings are then not stated.
    pub fn verify(&mut self, now: Instant, root: &Digest, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if std::mem::take(&mut self.verify_all) {
            let parties: Vec<Party> = self.cids.keys().copied().collect();
            for of in [None].into_iter().chain(parties.into_iter().map(Some)) {
                self.app.ask_statement(now, of, &Asked::Verification(0, *root))?;
            }
        }
        self.verify_ordered(now, root, rng)
    }

    /// Whether any key of `from` towards `with` is known, true or not.
    fn is_known(&self, from: Member, with: Member) -> bool {
        self.keys_between(from, with).next().is_some()
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
            Some(party) => self.received(now, party, pdu::VALIDATION, number),
            None => {
                self.app.statement_kept(now, number);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{PACK, gateway};
    use lct::{
        sign::SigningKey,
        validation::{EVENT_MAX, EventKind},
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn signed(kind: EventKind, cid: Cid, key: &SigningKey, rng: &mut ChaCha20Rng) -> Signed {
        let payload = vec![2; if kind == EventKind::PairingRevocation { 17 } else { 2 }];
        let event = Statement::new(kind, cid, 1, 1, &payload).unwrap();
        let mut bytes = [0; EVENT_MAX];
        let n = event.encode(&mut bytes).unwrap();
        let signature = event.sign(key, rng).unwrap();
        Signed { event: bytes[..n].iter().copied().collect(), signature }
    }

    /// What is acknowledged can be brought to the ledger: everything else is none of its statements.
    #[test]
    fn what_no_transaction_carries_is_no_statement() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let [key, other] = std::array::from_fn(|_| SigningKey::generate(&mut rng));
        let pack = Cid::of("pack-0001");
        let good = signed(EventKind::Fault, pack, &key, &mut rng);
        assert_eq!(read(&good, Some(pack), &key.public()).map(|event| event.kind), Some(EventKind::Fault));
        assert!(api::sign::validate(&good.event, &key.public(), &good.signature, &[]).is_ok());
        assert_eq!(read(&good, Some(pack), &other.public()), None);
        assert_eq!(read(&good, Some(Cid::of("pack-0002")), &key.public()), None);
        assert_eq!(read(&good, None, &key.public()), None);
        let end = signed(EventKind::PairingRevocation, pack, &key, &mut rng);
        assert!(api::sign::validate(&end.event, &key.public(), &end.signature, &[]).is_err());
        assert_eq!(read(&end, Some(pack), &key.public()), None, "of a kind that goes elsewhere");
        let cut = Signed { event: good.event[..good.event.len() - 1].iter().copied().collect(), ..good };
        assert_eq!(read(&cut, Some(pack), &key.public()), None, "malformed");
    }

    /// The channel may have ended between the statement and the outbox: the device tells it again.
    #[test]
    fn without_a_channel_nobody_is_told_and_nothing_ends() {
        let mut gateway = gateway();
        assert!(gateway.acknowledge_statement(Instant::START, PACK, 7).is_ok());
        assert_eq!(gateway.stated.get(&PACK), Some(&7));
    }
}
