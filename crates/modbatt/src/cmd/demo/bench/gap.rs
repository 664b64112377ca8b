//! What a new host can say of the time before it (`spec/channel.md`, H231): how far the ledger reached when it took over, and
//! with what each part goes on.

use std::collections::BTreeMap;

use gateway::Job;
use lct::id::Cid;
use lct::record::BatchStatement;
use ledger::verdict::Utc;
use node::Chain;

use super::super::super::Failure;
use super::super::super::ledger::failure;

/// Last number and time that the ledger had of each part, until that goes on.
#[derive(Default)]
pub struct Before(BTreeMap<Cid, (u32, u64)>);

impl Before {
    /// As the ledger has it at the takeover.
    pub fn read(chain: &Chain, parts: &[(String, Cid)]) -> Result<Self, Failure> {
        let ledger = chain.read().map_err(|e| failure(&e))?;
        let mut before = BTreeMap::new();
        for (_, cid) in parts {
            if let Some(head) = ledger.telemetry(cid).map_err(|e| failure(&e))? {
                before.insert(*cid, (head.last_seq, head.last_ms));
            }
        }
        Ok(Before(before))
    }

    /// With the first batch of a part: whose it is, and from when until when the ledger has nothing, where numbers are missing.
    pub fn gap(&mut self, job: &Job) -> Option<(Cid, String)> {
        let Job::Batch { statement, .. } = job else { return None };
        let batch = BatchStatement::decode(statement).ok()?;
        let (seq, ms) = self.0.remove(&batch.cid)?;
        let missing = batch.first_seq > seq.saturating_add(1);
        missing.then(|| (batch.cid, format!("from {} to {}", Utc(ms), Utc(batch.first_ms))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::record::BATCH_STATEMENT_MAX;
    use lct::sign::{Signature, SigningKey};

    #[test]
    fn a_gap_is_said_once_and_only_where_numbers_are_missing() {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap().public();
        let [one, two, new] = ["module-0001", "module-0002", "module-0003"].map(Cid::of);
        let mut before = Before([(one, (99, 5_000)), (two, (99, 5_000))].into());
        let mut batch = |cid, first_seq| {
            let statement =
                BatchStatement { cid, first_seq, count: 1, root: [0; 32], first_ms: 9_000, last_ms: 9_000 };
            let mut bytes = [0; BATCH_STATEMENT_MAX];
            let n = statement.encode(&mut bytes).unwrap();
            let statement = bytes[..n].to_vec();
            before.gap(&Job::Batch { statement, key, signature: Signature([0; 64]), entries: Vec::new() })
        };
        assert_eq!(batch(one, 100), None, "it goes on where the ledger ends");
        let words = "from 1970-01-01 00:00:05.000 UTC to 1970-01-01 00:00:09.000 UTC".to_owned();
        assert_eq!(batch(two, 101), Some((two, words)));
        assert_eq!(batch(two, 300), None, "once");
        assert_eq!(batch(new, 7), None, "of whom the ledger had nothing");
    }
}
