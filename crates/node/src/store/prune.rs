//! What a ledger may forget: blocks of long ago, with their results, proofs and events (`spec/ledger.md`, L248).

use ledger::{block::Block, codec::Canonical, tx::Tx};
use redb::{ReadableTable, ReadableTableMetadata};

use super::{
    BLOCKS, Bytes, CERTIFICATES, EVENTS, EVIDENCE, Error, Handle, KEEP_VERSIONS, META, RESULTS, Store, TXS,
};

/// Blocks that are removed in one transaction.
const STEP: usize = 500;

/// The height below which blocks may be missing.
fn mark(meta: &impl ReadableTable<&'static str, Bytes>) -> Result<u64, redb::StorageError> {
    let bytes = meta.get("pruned")?;
    Ok(bytes.and_then(|b| b.value().try_into().ok()).map_or(0, u64::from_be_bytes))
}

impl Store {
    /// Blocks that are stored.
    pub fn blocks(&self) -> Result<u64, Error> {
        let txn = self.begin_read()?;
        let table = txn.open_table(BLOCKS).map_err(|e| self.fail(e))?;
        table.len().map_err(|e| self.fail(e))
    }

    /// Removes the blocks below height `below` but those that `keep` names, and what follows one that stays, because
    /// that certifies it. The last 100 always stay. Returns how many it removed.
    pub fn prune(&self, below: u64, keep: impl Fn(&Block) -> bool) -> Result<u64, Error> {
        let tip = self.head(&self.begin_read()?)?.tip.height;
        let below = below.min(tip.saturating_sub(KEEP_VERSIONS + 1));
        let (mut from, mut removed) = (0, 0);
        loop {
            let mut gone: Vec<(u64, Block)> = Vec::new();
            let mut seen = 0;
            {
                let txn = self.begin_read()?;
                let blocks = txn.open_table(BLOCKS).map_err(|e| self.fail(e))?;
                let mut kept_before = None;
                for entry in blocks.range(from..below).map_err(|e| self.fail(e))?.take(STEP) {
                    let (height, bytes) = entry.map_err(|e| self.fail(e))?;
                    let height = height.value();
                    (seen, from) = (seen + 1, height + 1);
                    let block = Block::from_bytes(bytes.value()).map_err(|e| self.damaged(e))?;
                    // A step begins where the block before may have stayed.
                    let before = match kept_before {
                        Some(kept) => kept,
                        None => match blocks.get(height.saturating_sub(1)).map_err(|e| self.fail(e))? {
                            None => false,
                            Some(bytes) => {
                                keep(&Block::from_bytes(bytes.value()).map_err(|e| self.damaged(e))?)
                            }
                        },
                    };
                    let kept = keep(&block);
                    kept_before = Some(kept);
                    if !kept && !before {
                        gone.push((height, block));
                    }
                }
            }
            if seen == 0 {
                return Ok(removed);
            }
            removed += gone.len() as u64;
            self.write(|txn| {
                let (mut blocks, mut certificates) = (txn.open_table(BLOCKS)?, txn.open_table(CERTIFICATES)?);
                let (mut results, mut txs) = (txn.open_table(RESULTS)?, txn.open_table(TXS)?);
                let (mut events, mut evidence) = (txn.open_table(EVENTS)?, txn.open_table(EVIDENCE)?);
                for (height, block) in &gone {
                    blocks.remove(height)?;
                    certificates.remove(height)?;
                    results.remove(height)?;
                    for tx in &block.txs {
                        let id = Tx::id_of(tx);
                        let here = txs.get(id.as_slice())?.is_some_and(|at| at.value().0 == *height);
                        if here {
                            txs.remove(id.as_slice())?;
                        }
                    }
                    events.retain_in((*height, 0, 0)..(height + 1, 0, 0), |_, _| false)?;
                    evidence
                        .retain_in::<(u64, &[u8]), _>((*height, &[][..])..(height + 1, &[][..]), |_, _| {
                            false
                        })?;
                }
                // What is missing now was there: a reader can tell it from damage. What went missing up to a greater height
                // stays missing.
                let mut meta = txn.open_table(META)?;
                let mark = mark(&meta)?.max(below);
                meta.insert("pruned", mark.to_be_bytes().as_slice())?;
                Ok(())
            })?;
        }
    }

    /// The height below which blocks may be missing; 0 where none was removed.
    pub fn pruned(&self) -> Result<u64, Error> {
        let txn = self.begin_read()?;
        let meta = txn.open_table(META).map_err(|e| self.fail(e))?;
        mark(&meta).map_err(|e| self.fail(e))
    }

    /// Gives the room of what was removed back to the disk.
    pub fn compact(&mut self) -> Result<(), Error> {
        // Nothing is moved while somebody reads.
        self.changed();
        let Handle::Write(db) = &mut self.handle else {
            return Err(Error::Missing(self.path.clone()));
        };
        // Each pass moves what it can; the first that moves nothing is the last.
        while db.compact().map_err(|e| Error::store(&self.path, e))? {}
        Ok(())
    }
}
