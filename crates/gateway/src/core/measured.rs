//! Batches of records and statements of energy on their way into the outbox.

use super::*;

impl Gateway {
    pub(super) fn batch(
        &mut self,
        now: Instant,
        party: Party,
        statement: BatchStatement,
        signature: Signature,
    ) -> Result<(), Error> {
        let named = self.cids.get(&party) == Some(&statement.cid);
        let key = self.measured_by(party, |key| statement.verify(key, &signature).is_ok()).filter(|_| named);
        let Some(key) = key else {
            self.event(Event::Contradiction(party));
            return Ok(());
        };
        if self.is_held(&key) || self.field.is_void(&key) {
            return Ok(());
        }
        let first = statement.first_seq;
        if !self.has_room && self.field.has(&key) && !self.collector.is_kept(party, first) {
            // Its device keeps it, and tells it again.
            return Ok(());
        }
        match self.collector.statement(now, party, statement, signature) {
            Verdict::Kept => self.received(now, party, pdu::BATCH, u64::from(first)),
            verdict => self.judge(now, party, verdict),
        }
    }

    pub(super) fn judge(&mut self, now: Instant, party: Party, verdict: Verdict) -> Result<(), Error> {
        match verdict {
            Verdict::Ask(missing) => self.ask_leaves(now, party, &missing),
            Verdict::Kept | Verdict::Underway => Ok(()),
            Verdict::Contradiction => {
                self.event(Event::Contradiction(party));
                Ok(())
            }
            Verdict::Whole(Batch { statement, signature, entries, .. }) => {
                let key = self.measured_by(party, |key| statement.verify(key, &signature).is_ok());
                let Some(key) = key else { return Ok(()) };
                let mut bytes = [0; BATCH_STATEMENT_MAX];
                let n = statement.encode(&mut bytes)?;
                let job = Job::Batch { statement: bytes[..n].to_vec(), key, signature, entries };
                let number = u64::from(statement.first_seq);
                let by = (key, None);
                self.keep(job, Kept { party: Some(party), kind: pdu::BATCH, number, by, again: true });
                Ok(())
            }
        }
    }

    fn ask_leaves(&mut self, now: Instant, party: Party, missing: &[u32]) -> Result<(), Error> {
        if !self.app.relation().is_up() {
            return Ok(());
        }
        for seq in missing.iter().take(8) {
            self.app.ask_leaf(now, party, *seq)?;
        }
        Ok(())
    }

    pub(super) fn energy(&mut self, statement: &[u8], signature: Signature) {
        if !self.is_measuring(Party::Pack) {
            return;
        }
        let read = if let Ok(event) = EnergyEvent::decode(statement) {
            let key = self.measured_by(Party::Pack, |key| event.verify(key, &signature).is_ok());
            key.map(|key| (key, event.number()))
        } else if let Ok(close) = CycleClose::decode(statement) {
            let key = self.measured_by(Party::Pack, |key| close.verify(key, &signature).is_ok());
            key.map(|key| (key, close.number()))
        } else {
            None
        };
        match read {
            Some((key, number)) => {
                let job = Job::Energy { statement: statement.to_vec(), key, signature };
                let by = (key, None);
                let kept = Kept { party: Some(Party::Pack), kind: pdu::ENERGY, number, by, again: true };
                self.keep(job, kept);
            }
            None => self.event(Event::Contradiction(Party::Pack)),
        }
    }
}
