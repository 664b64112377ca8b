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
    /// What arrived does not hash to the signed root: never stored.
    Contradiction,
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
        let waiting = Waiting { statement, signature, due: now + PATIENCE, tries: 1 };
        self.waiting.entry(key).or_insert(waiting);
        self.judge(key)
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

    /// When [`Collector::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|w| w.due).min()
    }

    /// Leaves to ask again. A statement whose leaves never come is given up after ten times.
    pub fn tick(&mut self, now: Instant) -> Vec<(Party, Vec<u32>)> {
        let due: Vec<_> = self.waiting.iter().filter(|(_, w)| w.due <= now).map(|(key, _)| *key).collect();
        let mut asks = Vec::new();
        for key in due {
            let missing = match self.judge(key) {
                Verdict::Ask(missing) => missing,
                Verdict::Whole(_) | Verdict::Contradiction => continue,
            };
            let Some(w) = self.waiting.get_mut(&key) else { continue };
            if w.tries >= TRIES {
                self.waiting.remove(&key);
                self.contradictions += 1;
                continue;
            }
            w.tries += 1;
            w.due = now + PATIENCE;
            asks.push((key.0, missing));
        }
        asks
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
            *records = records.split_off(&seqs.end);
        }
        self.leaves.retain(|(p, s), _| *p != party || !seqs.contains(s));
        if root(&leaves) != statement.root {
            self.contradictions += 1;
            return Verdict::Contradiction;
        }
        self.gaps += entries.iter().filter(|e| matches!(e, Entry::Lost(..))).count() as u64;
        Verdict::Whole(Batch { party, statement, signature, entries })
    }
}
