//! What the ledger knows of a parameter of a pack (`spec/ledger.md`, L175).

use super::*;

codes! {
    /// Which way a value went.
    Direction {
        /// From the pack to the ledger.
        ToChain = 1 "to_chain",
        /// From the ledger to the pack.
        FromChain = 2 "from_chain",
    }
}

impl Field for i32 {
    fn put(&self, w: &mut Writer) {
        w.bytes(&self.to_be_bytes());
    }
    fn take(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self::from_be_bytes(r.fixed()?))
    }
}

object! {
    /// A parameter of a pack.
    Setting {
        /// Value in force on the ledger.
        value: i32 = 1,
        /// Its version, from 1.
        version: u32 = 2,
        /// Where it came from.
        direction: Direction = 3,
        /// The account that brought it.
        authority: PublicKey = 4,
        /// Digest of the operator's command behind it; zero for none.
        command: Digest = 5,
        /// Height of its transaction.
        height: u64 = 6,
        /// Block time of its transaction, Unix milliseconds.
        time_ms: u64 = 7,
        /// Its transaction.
        tx: Digest = 8,
        /// Value that the pack had when it was last reported, before that the value in force.
        local: i32 = 9,
        /// Version that the report was about; 0 before the first report.
        local_version: u32 = 10,
        /// Block time of the last report, Unix milliseconds; 0 before the first.
        local_ms: u64 = 11,
        /// Whether pack and ledger disagree, and the ledger may not settle it.
        conflict: bool = 12,
        /// Conflicts found so far.
        conflicts: u32 = 13,
    }
}
