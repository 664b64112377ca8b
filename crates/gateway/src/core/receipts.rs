//! When a device hears that its statement is kept, and may forget it (`spec/channel.md`, H230): as soon as the ledger has it,
//! for this host may be lost with its disk; where the ledger takes too long, as soon as it is durable here.

use super::*;

/// How long the ledger may take before its device hears that the statement is durable here.
const PATIENCE: Duration = Duration::from_millis(2_000);

/// Statements in the outbox whose devices did not hear of it yet, by the number of their job.
#[derive(Debug, Default)]
pub(super) struct Unheard(BTreeMap<u64, (Kept, Instant)>);

impl Unheard {
    pub fn due(&self) -> Option<Instant> {
        self.0.values().map(|(_, due)| *due).min()
    }

    /// Whether this statement waits, which its device tells again meanwhile.
    pub fn has(&self, kept: Kept) -> bool {
        self.0.values().any(|(known, _)| *known == kept)
    }
}

impl Gateway {
    /// The statement is durable in the outbox, as job `number`.
    pub fn kept(&mut self, now: Instant, kept: Kept, number: u64) {
        self.unheard.0.insert(number, (kept, now + PATIENCE));
    }

    /// These jobs left the outbox: the ledger has them, or refused them for good.
    ///
    /// # Errors
    /// [`Error::Link`] when a device cannot be told.
    pub fn settled(&mut self, now: Instant, jobs: &[u64]) -> Result<(), Error> {
        for number in jobs {
            if let Some((kept, _)) = self.unheard.0.remove(number) {
                self.acknowledge(now, kept)?;
            }
        }
        Ok(())
    }

    /// Tells devices whose statements the ledger does not have in time.
    pub(super) fn acknowledge_due(&mut self, now: Instant) -> Result<(), Error> {
        let due: Vec<u64> =
            self.unheard.0.iter().filter(|(_, (_, due))| *due <= now).map(|(number, _)| *number).collect();
        self.settled(now, &due)
    }

    /// Its device may forget the statement.
    fn acknowledge(&mut self, now: Instant, kept: Kept) -> Result<(), Error> {
        if kept.kind == pdu::VALIDATION {
            return self.acknowledge_statement(now, kept.party, kept.number);
        }
        let Some(party) = kept.party else { return Ok(()) };
        if kept.kind == pdu::BATCH
            && let Ok(first) = u32::try_from(kept.number)
        {
            self.collector.kept(party, first);
        }
        self.received(now, party, kept.kind, kept.number)
    }

    /// Puts a statement into the outbox, unless it is there and waits for the ledger.
    pub(super) fn keep(&mut self, job: Job, kept: Kept) {
        if !self.unheard.has(kept) {
            self.outputs.push_back(Output::Keep(job, Some(kept)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{PACK, gateway};
    use lct::sign::SigningKey;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn kept(number: u64) -> Kept {
        Kept { party: PACK, kind: pdu::VALIDATION, number }
    }

    /// With the ledger at hand a device keeps its statement until the ledger has it; without, until it is durable here.
    #[test]
    fn a_device_hears_of_it_with_the_ledger_or_after_a_while() {
        let mut gateway = gateway();
        gateway.kept(at(0), kept(1), 10);
        gateway.kept(at(500), kept(2), 11);
        assert_eq!((gateway.stated.get(&PACK), gateway.unheard.due()), (None, Some(at(2_000))));
        gateway.settled(at(600), &[10, 99]).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&1), "the ledger has it");
        assert_eq!(gateway.unheard.due(), Some(at(2_500)));
        gateway.acknowledge_due(at(2_499)).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&1));
        gateway.acknowledge_due(at(2_500)).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&2), "it is durable here");
        gateway.settled(at(9_000), &[11]).unwrap();
        assert_eq!(gateway.unheard.due(), None);
    }

    /// What its device tells again meanwhile is one job.
    #[test]
    fn what_waits_for_the_ledger_is_in_the_outbox_once() {
        let mut gateway = gateway();
        let key = SigningKey::from_bytes(&[5; 32]).unwrap().public();
        let job = || Job::Energy { statement: vec![1], key, signature: Signature([0; 64]) };
        let kept = Kept { party: PACK, kind: pdu::ENERGY, number: 7 };
        gateway.keep(job(), kept);
        assert_eq!(gateway.outputs.drain(..).count(), 1);
        gateway.kept(at(0), kept, 3);
        gateway.keep(job(), kept);
        assert_eq!(gateway.outputs.len(), 0);
        gateway.settled(at(1), &[3]).unwrap();
        gateway.keep(job(), kept);
        assert_eq!(
            gateway.outputs.len(),
            1,
            "its device missed the receipt, and the ledger says that it has it"
        );
    }
}
