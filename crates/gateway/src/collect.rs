//! Joins records that arrived on the bus with the statement that signs them.
//!
//! A record whose message was lost is replaced by its leaf, asked from the device; the proofs of the others
//! stand (`spec/ledger.md`, L43).

use lct::{
    Digest,
    merkle::{leaf_hash, root},
    record::{BatchStatement, RECORD_MAX, Record},
    sign::Signature,
};
use pack::{
    app::Party,
    time::{Duration, Instant},
};
use std::collections::BTreeMap;

/// How long an asked leaf may take before it is asked again.
const PATIENCE: Duration = Duration::from_millis(400);
/// How often a leaf is asked before the batch is given up.
const TRIES: u8 = 10;
/// Records kept for one party while their statement is awaited.
const KEPT: usize = 2_048;

/// Finished statements remembered for one party: a device repeats what it saw no receipt of.
const FINISHED: usize = 32;

/// One place in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The record's canonical bytes.
    Record(Vec<u8>),
    /// Only its leaf.
    Lost(u32, Digest),
}

/// A batch that can be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Who measured.
    pub party: Party,
    /// The signed statement.
    pub statement: BatchStatement,
    /// The device's signature.
    pub signature: Signature,
    /// Its places in order.
    pub entries: Vec<Entry>,
}

/// What to do about a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Ask for the leaves of these sequence numbers.
    Ask(Vec<u32>),
    /// The batch is whole.
    Whole(Batch),
    /// The batch was whole before and is in the outbox: its device missed the receipt.
    Kept,
    /// The batch was whole before and is on its way into the outbox.
    Underway,
    /// What arrived does not hash to the signed root, or a second statement claims the same records: never stored.
    Contradiction,
}

struct Finished {
    root: Digest,
    kept: bool,
}

struct Waiting {
    statement: BatchStatement,
    signature: Signature,
    due: Instant,
    tries: u8,
}

/// Records and statements of all parties.
#[derive(Default)]
pub struct Collector {
    records: BTreeMap<Party, BTreeMap<u32, Vec<u8>>>,
    leaves: BTreeMap<(Party, u32), Digest>,
    waiting: BTreeMap<(Party, u32), Waiting>,
    finished: BTreeMap<(Party, u32), Finished>,
    /// Records replaced by their leaf.
    pub gaps: u64,
    /// Statements that contradicted their records, or whose leaves never came.
    pub contradictions: u64,
}

impl Collector {
    /// Keeps a record until its statement arrives.
    pub fn record(&mut self, party: Party, record: &Record) -> Result<(), lct::Error> {
        let mut bytes = [0; RECORD_MAX];
        let n = record.encode(&mut bytes)?;
        let of = self.records.entry(party).or_default();
        of.insert(record.seq, bytes[..n].to_vec());
        while of.len() > KEPT {
            of.pop_first();
        }
        Ok(())
    }

    /// A statement whose signature was verified.
    pub fn statement(
        &mut self,
        now: Instant,
        party: Party,
        statement: BatchStatement,
        signature: Signature,
    ) -> Verdict {
        let key = (party, statement.first_seq);
        match self.finished.get(&key) {
            Some(f) if f.root != statement.root => {
                self.contradictions += 1;
                return Verdict::Contradiction;
            }
            Some(Finished { kept: true, .. }) => return Verdict::Kept,
            Some(_) => return Verdict::Underway,
            None => {}
        }
        let waiting = Waiting { statement, signature, due: now + PATIENCE, tries: 1 };
        self.waiting.entry(key).or_insert(waiting);
        self.judge(key)
    }

    /// The batch of `party` that begins with record `first` is in the outbox.
    pub fn kept(&mut self, party: Party, first: u32) {
        if let Some(f) = self.finished.get_mut(&(party, first)) {
            f.kept = true;
        }
    }

    /// Whether that batch is in the outbox.
    pub fn is_kept(&self, party: Party, first: u32) -> bool {
        self.finished.get(&(party, first)).is_some_and(|f| f.kept)
    }

    /// The batch of `party` that begins with record `first` found no room: it may come again.
    pub fn not_kept(&mut self, party: Party, first: u32) {
        self.finished.remove(&(party, first));
    }

    /// The leaf of a record that did not arrive.
    pub fn leaf(&mut self, party: Party, seq: u32, leaf: Digest) -> Option<Verdict> {
        let key = self
            .waiting
            .iter()
            .find(|((p, first), w)| {
                *p == party && seq >= *first && seq - first < u32::from(w.statement.count)
            })
            .map(|(key, _)| *key)?;
        self.leaves.insert((party, seq), leaf);
        match self.judge(key) {
            Verdict::Ask(_) => None,
            verdict => Some(verdict),
        }
    }

    /// The party has another key: what waits is signed anew and comes again (H181), and what was refused under the key before
    /// (H230). Of that there are leaves only.
    pub fn forget(&mut self, party: Party) {
        self.waiting.retain(|(of, _), _| *of != party);
        self.finished.retain(|(of, _), finished| *of != party || finished.kept);
    }

    /// When [`Collector::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|w| w.due).min()
    }

    /// What became of the statements that wait: leaves to ask again, or batches that late records made whole. A
    /// statement whose leaves never come is given up after ten times.
    pub fn tick(&mut self, now: Instant) -> Vec<(Party, Verdict)> {
        let due: Vec<_> = self.waiting.iter().filter(|(_, w)| w.due <= now).map(|(key, _)| *key).collect();
        let mut verdicts = Vec::new();
        for key in due {
            let verdict = self.judge(key);
            if !matches!(verdict, Verdict::Ask(_)) {
                verdicts.push((key.0, verdict));
                continue;
            }
            let Some(w) = self.waiting.get_mut(&key) else { continue };
            if w.tries >= TRIES {
                self.waiting.remove(&key);
                self.contradictions += 1;
                continue;
            }
            w.tries += 1;
            w.due = now + PATIENCE;
            verdicts.push((key.0, verdict));
        }
        verdicts
    }

    fn judge(&mut self, key: (Party, u32)) -> Verdict {
        let Some(w) = self.waiting.get(&key) else { return Verdict::Contradiction };
        let (party, first) = key;
        let seqs = first..first + u32::from(w.statement.count);
        let empty = BTreeMap::new();
        let records = self.records.get(&party).unwrap_or(&empty);
        let missing: Vec<u32> = seqs
            .clone()
            .filter(|s| !records.contains_key(s) && !self.leaves.contains_key(&(party, *s)))
            .collect();
        if !missing.is_empty() {
            return Verdict::Ask(missing);
        }
        let entries: Vec<Entry> = seqs
            .clone()
            .filter_map(|s| match records.get(&s) {
                Some(bytes) => Some(Entry::Record(bytes.clone())),
                None => self.leaves.get(&(party, s)).map(|leaf| Entry::Lost(s, *leaf)),
            })
            .collect();
        let leaves: Vec<Digest> = entries
            .iter()
            .map(|e| match e {
                Entry::Record(bytes) => leaf_hash(bytes),
                Entry::Lost(_, leaf) => *leaf,
            })
            .collect();
        let (statement, signature) = (w.statement, w.signature);
        self.waiting.remove(&key);
        if let Some(records) = self.records.get_mut(&party) {
            // Only its own: an earlier batch may still wait for a leaf.
            records.retain(|seq, _| !seqs.contains(seq));
        }
        self.leaves.retain(|(p, s), _| *p != party || !seqs.contains(s));
        if root(&leaves) != statement.root {
            self.contradictions += 1;
            return Verdict::Contradiction;
        }
        self.finished.insert(key, Finished { root: statement.root, kept: false });
        if self.finished.range((party, 0)..=(party, u32::MAX)).count() > FINISHED
            && let Some(oldest) = self.finished.range((party, 0)..).next().map(|(k, _)| *k)
        {
            self.finished.remove(&oldest);
        }
        self.gaps += entries.iter().filter(|e| matches!(e, Entry::Lost(..))).count() as u64;
        Verdict::Whole(Batch { party, statement, signature, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{id::Cid, record::RecordKind, sign::Signature};

    const MODULE: Party = Party::Module(3);
    const SIGNATURE: Signature = Signature([7; 64]);

    fn record(seq: u32) -> Record {
        let values = [seq as i32, -1].into_iter().collect();
        Record { cid: Cid([5; 16]), seq, time_ms: u64::from(seq) * 100, kind: RecordKind::Module, values }
    }

    fn leaf(seq: u32) -> Digest {
        record(seq).leaf().unwrap()
    }

    fn statement(first_seq: u32, count: u16) -> BatchStatement {
        let leaves: Vec<Digest> = (first_seq..first_seq + u32::from(count)).map(leaf).collect();
        let (first_ms, last_ms) = (0, 10_000);
        BatchStatement { cid: Cid([5; 16]), first_seq, count, root: root(&leaves), first_ms, last_ms }
    }

    fn received(seqs: impl IntoIterator<Item = u32>) -> Collector {
        let mut collector = Collector::default();
        seqs.into_iter().for_each(|seq| collector.record(MODULE, &record(seq)).unwrap());
        collector
    }

    fn lost(verdict: Verdict) -> Vec<u32> {
        let Verdict::Whole(batch) = verdict else { panic!("{verdict:?}") };
        let lost = batch.entries.iter().filter_map(|e| match e {
            Entry::Lost(seq, _) => Some(*seq),
            Entry::Record(_) => None,
        });
        lost.collect()
    }

    #[test]
    fn a_later_batch_leaves_the_records_of_one_that_still_waits() {
        let mut c = received((0..30).filter(|s| *s != 4));
        let now = Instant::default();
        assert_eq!(c.statement(now, MODULE, statement(0, 10), SIGNATURE), Verdict::Ask(vec![4]));
        assert_eq!(lost(c.statement(now, MODULE, statement(10, 20), SIGNATURE)), [0; 0]);
        assert_eq!(lost(c.leaf(MODULE, 4, leaf(4)).unwrap()), [4]);
        assert_eq!((c.gaps, c.contradictions), (1, 0));
        assert!(c.records[&MODULE].is_empty() && c.leaves.is_empty() && c.due().is_none());
    }

    #[test]
    fn a_repeated_statement_asks_for_nothing() {
        let mut c = received(0..10);
        let now = Instant::default();
        assert_eq!(lost(c.statement(now, MODULE, statement(0, 10), SIGNATURE)), [0; 0]);
        assert_eq!(c.statement(now, MODULE, statement(0, 10), SIGNATURE), Verdict::Underway);
        c.kept(MODULE, 0);
        assert_eq!(c.statement(now, MODULE, statement(0, 10), SIGNATURE), Verdict::Kept);
        // The same records under another root are never stored.
        assert_eq!(c.statement(now, MODULE, statement(0, 9), SIGNATURE), Verdict::Contradiction);
        assert_eq!((c.gaps, c.contradictions), (0, 1));
    }

    #[test]
    fn finished_statements_are_bounded_for_each_party() {
        let mut c = received(0..100);
        let now = Instant::default();
        c.record(Party::Pack, &record(0)).unwrap();
        assert_eq!(lost(c.statement(now, Party::Pack, statement(0, 1), SIGNATURE)), [0; 0]);
        for seq in 0..100 {
            assert_eq!(lost(c.statement(now, MODULE, statement(seq, 1), SIGNATURE)), [0; 0]);
        }
        assert_eq!(c.finished.len(), FINISHED + 1);
        assert_eq!(c.statement(now, MODULE, statement(99, 1), SIGNATURE), Verdict::Underway);
        assert_eq!(c.statement(now, Party::Pack, statement(0, 1), SIGNATURE), Verdict::Underway);
    }

    #[test]
    fn a_record_that_comes_after_its_statement_makes_it_whole() {
        let mut c = received(0..9);
        let now = Instant::default();
        assert_eq!(c.statement(now, MODULE, statement(0, 10), SIGNATURE), Verdict::Ask(vec![9]));
        c.record(MODULE, &record(9)).unwrap();
        let mut verdicts = c.tick(now + PATIENCE);
        let (party, verdict) = verdicts.remove(0);
        assert_eq!((party, verdicts.len()), (MODULE, 0));
        assert_eq!(lost(verdict), [0; 0]);
        assert_eq!((c.gaps, c.due()), (0, None));
    }

    #[test]
    fn a_leaf_that_never_comes_ends_the_wait() {
        let mut c = received(1..10);
        let mut now = Instant::default();
        assert_eq!(c.statement(now, MODULE, statement(0, 10), SIGNATURE), Verdict::Ask(vec![0]));
        let mut asked = 0;
        while let Some(due) = c.due() {
            now = due;
            asked += c.tick(now).len();
        }
        assert_eq!((asked, c.contradictions), (usize::from(TRIES) - 1, 1));
        // A wrong leaf is told apart from a lost one.
        assert_eq!(c.statement(now, MODULE, statement(0, 10), SIGNATURE), Verdict::Ask(vec![0]));
        assert_eq!(c.leaf(MODULE, 0, [9; 32]), Some(Verdict::Contradiction));
    }
}
