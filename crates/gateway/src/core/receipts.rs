//! When a device hears that its statement is kept, and may forget it (`spec/channel.md`, H230): as soon as the ledger has it,
//! for this host may be lost with its disk; where the ledger takes too long, as soon as it is durable here.

use super::*;
use crate::outbox::Left;
use std::collections::VecDeque;

/// How long the ledger may take before its device hears that the statement is durable here.
const PATIENCE: Duration = Duration::from_millis(2_000);
/// Statements remembered whose keys have ended: a device tells few at a time.
const ENDED: usize = 256;

/// Statements in the outbox whose devices did not hear of it yet, by the number of their job.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    waiting: BTreeMap<u64, (Kept, Instant)>,
    /// What was refused because a key had ended, and not acknowledged: under these keys it need not be tried again.
    ended: VecDeque<Kept>,
}

impl Unheard {
    pub fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|(_, due)| *due).min()
    }

    /// Whether this statement waits, or waits for another key: its device tells it again meanwhile.
    pub fn knows(&self, kept: Kept) -> bool {
        self.waiting.values().any(|(known, _)| *known == kept) || self.ended.contains(&kept)
    }

    fn end(&mut self, kept: Kept) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(kept);
    }
}

impl Gateway {
    /// The statement is durable in the outbox, as job `number`.
    pub fn kept(&mut self, now: Instant, kept: Kept, number: u64) {
        self.unheard.waiting.insert(number, (kept, now + PATIENCE));
    }

    /// The outbox did not take the statement: its device keeps it, and tells it again.
    pub fn not_kept(&mut self, kept: Kept) {
        if let (Some(party), pdu::BATCH, Ok(first)) = (kept.party, kept.kind, u32::try_from(kept.number)) {
            self.collector.not_kept(party, first);
        }
    }

    /// These jobs left the outbox: the ledger has them, or refused them for good. What it refused because a key had ended its
    /// device goes on keeping, and signs it with the next one.
    ///
    /// # Errors
    /// [`Error::Link`] when a device cannot be told.
    pub fn settled(&mut self, now: Instant, jobs: &[Left]) -> Result<(), Error> {
        for Left { number, key_ended } in jobs {
            match self.unheard.waiting.remove(number) {
                Some((kept, _)) if *key_ended && kept.again => self.unheard.end(kept),
                Some((kept, _)) => self.acknowledge(now, kept)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Tells devices whose statements the ledger does not have in time.
    pub(super) fn acknowledge_due(&mut self, now: Instant) -> Result<(), Error> {
        let due = self.unheard.waiting.iter().filter(|(_, (_, due))| *due <= now);
        let due: Vec<Left> = due.map(|(number, _)| Left { number: *number, key_ended: false }).collect();
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

    /// Puts a statement into the outbox, unless it is there and waits for the ledger, was refused under the same keys, its
    /// signer's key is held back, or the ledger will never have that; then its device tells it again. True when it goes there.
    pub(super) fn keep(&mut self, job: Job, kept: Kept) -> bool {
        if job.keys().any(|key| self.field.is_void(&key)) {
            self.not_kept(kept);
            return false;
        }
        let held = match &job {
            // What a device says of this very binding no other key can say; each says one thing at a time.
            Job::Statement { key, .. } if self.is_held(key) => false,
            // Told before: what comes anew is held back before it is collected, and these records are nowhere else any more.
            Job::Batch { .. } => false,
            job => job.keys().any(|key| self.is_held(&key)),
        };
        let taken = !held && !self.unheard.knows(kept);
        if taken {
            self.outputs.push_back(Output::Keep(job, Some(kept)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outbox::{Outbox, Refusal},
        world::{PACK, gateway},
    };
    use lct::sign::SigningKey;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn key(n: u8) -> PublicKey {
        SigningKey::from_bytes(&[n; 32]).unwrap().public()
    }

    fn kept(number: u64) -> Kept {
        Kept { party: PACK, kind: pdu::VALIDATION, number, by: (key(5), None), again: true }
    }

    fn left(number: u64) -> Left {
        Left { number, key_ended: false }
    }

    /// With the ledger at hand a device keeps its statement until the ledger has it; without, until it is durable here.
    #[test]
    fn a_device_hears_of_it_with_the_ledger_or_after_a_while() {
        let mut gateway = gateway();
        gateway.kept(at(0), kept(1), 10);
        gateway.kept(at(500), kept(2), 11);
        assert_eq!((gateway.stated.get(&PACK), gateway.unheard.due()), (None, Some(at(2_000))));
        gateway.settled(at(600), &[10, 99].map(left)).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&1), "the ledger has it");
        assert_eq!(gateway.unheard.due(), Some(at(2_500)));
        gateway.acknowledge_due(at(2_499)).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&1));
        gateway.acknowledge_due(at(2_500)).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&2), "it is durable here");
        gateway.settled(at(9_000), &[left(11)]).unwrap();
        assert_eq!(gateway.unheard.due(), None);
    }

    fn job(number: u64, key: PublicKey) -> Job {
        Job::Energy { statement: number.to_be_bytes().to_vec(), key, signature: Signature([0; 64]) }
    }

    /// What its device tells again meanwhile is one job.
    #[test]
    fn what_waits_for_the_ledger_is_in_the_outbox_once() {
        let mut gateway = gateway();
        let kept = Kept { kind: pdu::ENERGY, ..kept(7) };
        gateway.keep(job(7, key(5)), kept);
        assert_eq!(gateway.outputs.drain(..).count(), 1);
        gateway.kept(at(0), kept, 3);
        gateway.keep(job(7, key(5)), kept);
        assert_eq!(gateway.outputs.len(), 0);
        gateway.settled(at(1), &[left(3)]).unwrap();
        gateway.keep(job(7, key(5)), kept);
        assert_eq!(
            gateway.outputs.len(),
            1,
            "its device missed the receipt, and the ledger says that it has it"
        );
    }

    /// A key that ended on the ledger: the device does not hear that its statement is there, the statement is not tried again and
    /// again, and with the next key it is.
    #[test]
    fn what_was_refused_because_its_key_ended_is_not_acknowledged() {
        let mut gateway = gateway();
        let ended = |number| Left { number, key_ended: true };
        gateway.kept(at(0), kept(1), 10);
        gateway.settled(at(600), &[ended(10)]).unwrap();
        gateway.acknowledge_due(at(9_000)).unwrap();
        assert_eq!((gateway.stated.get(&PACK), gateway.unheard.due()), (None, None));
        gateway.keep(job(1, key(5)), kept(1));
        assert_eq!(gateway.outputs.len(), 0, "the same keys");
        let signed_anew = Kept { by: (key(6), None), ..kept(1) };
        let seen_anew = Kept { by: (key(5), Some(key(7))), ..kept(1) };
        for (number, again) in [(11, signed_anew), (12, seen_anew)] {
            gateway.keep(job(1, key(6)), again);
            assert_eq!(gateway.outputs.drain(..).count(), 1, "{again:?}");
            gateway.kept(at(10_000), again, number);
        }
        gateway.settled(at(10_001), &[left(11)]).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&1), "the ledger has it");
        // What a pack said in a binding that is no more holds nothing up.
        gateway.kept(at(11_000), Kept { again: false, ..kept(2) }, 14);
        gateway.settled(at(11_001), &[ended(14)]).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&2));
        // What was acknowledged because the ledger was away is among the refused, with its reason.
        gateway.kept(at(20_000), kept(3), 13);
        gateway.acknowledge_due(at(22_000)).unwrap();
        assert_eq!(gateway.stated.get(&PACK), Some(&3));
        gateway.settled(at(30_000), &[ended(13)]).unwrap();
        assert!(!gateway.unheard.knows(kept(3)));
        // Not more is remembered than so many.
        (0..1_000).for_each(|n| gateway.unheard.end(kept(n)));
        assert_eq!(gateway.unheard.ended.len(), ENDED);
    }

    /// Steps of a statement from its device to the ledger and back, as a host takes them.
    const STEPS: usize = 6;

    /// A host whose power goes after `cut` steps of its first start, and which then starts anew from its disk, while the device tells
    /// what it did not hear of. `slow`: the device hears of each after [`PATIENCE`], before the ledger has it. How often the ledger
    /// took each statement.
    fn brought(cut: usize, slow: bool) -> BTreeMap<u64, u32> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let mut ledger = BTreeMap::<u64, u32>::new();
        let mut heard = 0;
        let mut steps = 0;
        for start in 0..3 {
            let outbox = Outbox::open(&path).unwrap();
            let mut gateway = gateway();
            let mut now = at(start * 100_000);
            // One step, unless the power went before.
            let mut step = || {
                steps += 1;
                start > 0 || steps <= cut
            };
            // What is in the outbox goes on to the ledger whether or not its device waits for it.
            while heard < 3 || start > 0 && outbox.depth().unwrap().0 > 0 {
                let mut told = || {
                    let number = heard + 1;
                    let kept = Kept { kind: pdu::VALIDATION, ..kept(number) };
                    if number <= 3 {
                        gateway.keep(job(number, key(5)), kept);
                    }
                    if !step() {
                        return None;
                    }
                    for output in gateway.outputs.drain(..).collect::<Vec<_>>() {
                        let Output::Keep(job, Some(kept)) = output else { continue };
                        let number = outbox.keep(&job).unwrap().unwrap();
                        if !step() {
                            return None;
                        }
                        gateway.kept(now, kept, number);
                    }
                    if slow {
                        now = now + PATIENCE;
                        gateway.acknowledge_due(now).unwrap();
                        heard = gateway.stated.get(&PACK).copied().unwrap_or(heard).max(heard);
                        step().then_some(())?;
                    }
                    // The ledger takes what follows its last, once (V4).
                    for (job_number, job) in outbox.next(10, &[]).unwrap() {
                        let Job::Energy { statement, .. } = job else { continue };
                        let number = u64::from_be_bytes(statement.try_into().unwrap());
                        if ledger.last_key_value().is_none_or(|(last, _)| *last < number) {
                            *ledger.entry(number).or_default() += 1;
                        }
                        if !step() {
                            return None;
                        }
                        outbox.settle(&[job_number], &[] as &[Refusal]).unwrap();
                        if !step() {
                            return None;
                        }
                    }
                    gateway.settled(now, &outbox.take_settled()).unwrap();
                    if !step() {
                        return None;
                    }
                    heard = gateway.stated.get(&PACK).copied().unwrap_or(heard).max(heard);
                    Some(())
                };
                if told().is_none() {
                    break;
                }
            }
            if start > 0 {
                assert_eq!(outbox.depth().unwrap(), (0, 0), "{cut}, {slow}");
            }
        }
        assert_eq!(heard, 3, "{cut}, {slow}: a device was told to wait for ever");
        ledger
    }

    /// Between any two steps the host's power goes: each statement is in the ledger, and once.
    #[test]
    fn a_host_that_is_cut_anywhere_loses_nothing_and_brings_nothing_twice() {
        let mut points = 0;
        for slow in [false, true] {
            for cut in 0..3 * (STEPS + 1) {
                assert_eq!(brought(cut, slow), (1..=3).map(|n| (n, 1)).collect(), "{cut}, {slow}");
                points += 1;
            }
        }
        println!("the way of statements through a host was cut at {points} points");
    }
}
