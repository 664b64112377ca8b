//! Questions about the past: the state as it was after a block, and what proves it; events with a cursor (L168); checkpoints and
//! what leads from one to another.

use std::{collections::BTreeMap, ops::RangeInclusive};

use lct::hash::sha256;
use ledger::{
    anchor::latest,
    checkpoint::{Inclusion, Statement, Succession},
    codec::Canonical,
    excerpt::{Excerpt, Found},
    execute::Tip,
    history,
    state::{Halt, View},
};
use redb::{ReadOnlyTable, ReadableTable};

use crate::{
    error::Error,
    snapshot::{LoggedEvent, Snapshot},
    store::{BEFORE, HISTORY, Head, KEEP_VERSIONS, StateTable, VERSIONS, subtree},
};

/// Why there is no answer about a height.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// There is no block of this height yet.
    #[error("height {height} is not reached: the last block has height {tip}")]
    Future {
        /// Asked for.
        height: u64,
        /// Of the last block.
        tip: u64,
    },
    /// The replica keeps no state so old.
    #[error("the state of height {height} is not kept; the oldest one kept is of height {oldest}")]
    Forgotten {
        /// Asked for.
        height: u64,
        /// The oldest that can be asked for.
        oldest: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// What later blocks wrote over: with it the state of now is read as that of before.
pub(crate) struct Undo {
    before: ReadOnlyTable<(u64, &'static [u8]), &'static [u8]>,
    later: RangeInclusive<u64>,
}

impl Undo {
    /// What was under `key` before the first of the later blocks that wrote it; `None` if none of them did.
    fn get(&self, key: &[u8]) -> Result<Option<Option<Vec<u8>>>, redb::Error> {
        for later in self.later.clone() {
            if let Some(old) = self.before.get((later, key))? {
                return Ok(Some(before(old.value())));
            }
        }
        Ok(None)
    }

    /// What was under each key that begins with `prefix` and that a later block wrote, by the rest of the key.
    pub(crate) fn under(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>, redb::Error> {
        let mut found = BTreeMap::new();
        for later in self.later.clone() {
            for entry in self.before.range((later, prefix)..(later + 1, &[][..]))? {
                let (at, old) = entry?;
                let Some(rest) = at.value().1.strip_prefix(prefix) else { break };
                found.entry(rest.to_vec()).or_insert_with(|| before(old.value()));
            }
        }
        Ok(found)
    }
}

/// A value as [`BEFORE`] keeps it: 1 and what there was, or nothing.
fn before(kept: &[u8]) -> Option<Vec<u8>> {
    kept.split_first().map(|(_, value)| value.to_vec())
}

/// The state of a snapshot, for the functions of crate `ledger`.
pub(crate) struct StateView<'a> {
    now: StateTable<'a>,
    undo: Option<&'a Undo>,
}

impl<'a> StateView<'a> {
    pub(crate) fn new(now: StateTable<'a>, undo: Option<&'a Undo>) -> Self {
        Self { now, undo }
    }
}

impl View for StateView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        if let Some(undo) = self.undo
            && let Some(old) = undo.get(key).map_err(|e| Halt::Store(e.to_string()))?
        {
            return Ok(old);
        }
        self.now.get(key)
    }
}

/// Some events, and whether others are missing before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The cursor was not where this ledger's events have been: what follows may not be what comes next.
    pub gap: bool,
    /// Events after the cursor, in order.
    pub events: Vec<LoggedEvent>,
    /// The cursor for the next page.
    pub next: Option<(u64, u32, u32)>,
}

impl Snapshot<'_> {
    /// The same ledger with the state as it was after block `height`; 0 is that of the genesis. Everything that is asked about
    /// the state answers for then, [`Snapshot::tip`] too; blocks, transactions and events are all there. A replica keeps the
    /// states of the last 100 heights, one that was restored from a state none before it.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn at(self, height: u64) -> Result<Self, PastError> {
        let tip = self.tip();
        if height > tip.height {
            return Err(PastError::Future { height, tip: tip.height });
        }
        let (last, oldest) = (self.last(), self.oldest()?);
        if height < oldest {
            return Err(PastError::Forgotten { height, oldest });
        }
        let versions = self.txn().open_table(VERSIONS).map_err(|e| self.fail(e))?;
        let version = versions.get(height).map_err(|e| self.fail(e))?;
        let tree_version = version.ok_or_else(|| self.damaged("a version of the tree is missing"))?.value();
        // What block `height` did stands in the header that follows it.
        let Some(next) = self.block(height + 1)? else { return Ok(self) };
        let (time_ms, tx_count) = match self.header(height)? {
            Some(header) => (header.time_ms, header.tx_count),
            None => (self.founded_ms()?, 0),
        };
        let tip = Tip {
            chain_id: tip.chain_id,
            height,
            block_id: next.header.parent,
            time_ms,
            state_root: next.header.state_root,
            result_root: next.header.result_root,
            tx_count,
        };
        let before = self.txn().open_table(BEFORE).map_err(|e| self.fail(e))?;
        let undo = Undo { before, later: height + 1..=last };
        drop(versions);
        Ok(self.rewound(Head { tip, tree_version }, undo))
    }

    /// Height of the oldest state that can be asked for.
    ///
    /// # Errors
    /// [`Error`].
    pub fn oldest(&self) -> Result<u64, Error> {
        let versions = self.txn().open_table(VERSIONS).map_err(|e| self.fail(e))?;
        let first = versions.first().map_err(|e| self.fail(e))?;
        // A ledger that was restored from a state knows none before it.
        let first = first.map_or(self.last(), |(height, _)| height.value());
        Ok(self.last().saturating_sub(KEEP_VERSIONS).max(first))
    }

    /// The bytes under a state key.
    ///
    /// # Errors
    /// [`Error`].
    pub fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.view().get(key)?)
    }

    /// What is under a state key, or that nothing is, for who has no replica.
    ///
    /// # Errors
    /// [`PastError::Future`] when no block follows this state yet, which certifies it.
    pub fn excerpt(&self, key: &[u8]) -> Result<Excerpt, PastError> {
        let next = self.tip().height + 1;
        let certified = self.block(next)?.zip(self.certificate(next)?);
        let (block, certificate) = certified.ok_or(PastError::Future { height: next, tip: self.last() })?;
        Ok(Excerpt {
            header: block.header,
            certificate,
            handovers: latest(self.handovers(next)?),
            found: self.prove(key)?,
        })
    }

    /// What is under a state key, or that nothing is, as an outsider can check it against [`Tip::state_root`].
    ///
    /// # Errors
    /// [`Error`].
    pub fn prove(&self, key: &[u8]) -> Result<Found, Error> {
        let value = self.view().get(key)?;
        self.prove_value(key, value)
    }

    /// Up to `limit` events after the event `after`, in order; `None` starts at the beginning. A cursor that names no
    /// event of this ledger, because it came from another one or from a time that a restored copy does not know, shows as
    /// a gap.
    ///
    /// # Errors
    /// [`Error`].
    pub fn page(&self, after: Option<(u64, u32, u32)>, limit: usize) -> Result<Page, Error> {
        let gap = match after {
            None => false,
            Some(id) => !self.has_event(id)?,
        };
        let events = self.events(after, limit)?;
        let next = events.last().map_or(after, |last| Some(last.id));
        Ok(Page { gap, events, next })
    }

    /// What a checkpoint says of the block at which this snapshot stands.
    ///
    /// # Errors
    /// [`PastError::Future`] before the first block.
    pub fn checkpoint(&self) -> Result<Statement, PastError> {
        let tip = self.tip();
        if tip.height == 0 {
            return Err(PastError::Future { height: 1, tip: 0 });
        }
        let table = self.txn().open_table(HISTORY).map_err(|e| self.fail(e))?;
        let tree_root = history::root(tip.height, |level, index| subtree(&table, level, index));
        Ok(Statement {
            chain_id: tip.chain_id,
            height: tip.height,
            block_id: tip.block_id,
            state_root: tip.state_root,
            tree_root: tree_root.map_err(|e| self.fail(e))?,
            validators: sha256(&[&self.validators()?.to_bytes()]),
        })
    }

    /// What leads from the block of `height` to the checkpoint of height `checkpoint`.
    ///
    /// # Errors
    /// [`PastError::Future`] if `checkpoint` is not reached, or `height` is 0 or above it.
    pub fn inclusion(&self, height: u64, checkpoint: u64) -> Result<Inclusion, PastError> {
        let tip = self.last();
        if checkpoint > tip {
            return Err(PastError::Future { height: checkpoint, tip });
        }
        if height == 0 || height > checkpoint {
            return Err(PastError::Future { height: height.max(1), tip: checkpoint });
        }
        let table = self.txn().open_table(HISTORY).map_err(|e| self.fail(e))?;
        let path = history::inclusion(height, checkpoint, |level, index| subtree(&table, level, index));
        Ok(Inclusion { height: checkpoint, path: path.map_err(|e| self.fail(e))? })
    }

    /// What leads from the checkpoint of height `old` to that of `new`.
    ///
    /// # Errors
    /// [`PastError::Future`] if `new` is not reached, or `old` is 0 or above it.
    pub fn succession(&self, old: u64, new: u64) -> Result<Succession, PastError> {
        let tip = self.last();
        if new > tip {
            return Err(PastError::Future { height: new, tip });
        }
        if old == 0 || old > new {
            return Err(PastError::Future { height: old.max(1), tip: new });
        }
        let table = self.txn().open_table(HISTORY).map_err(|e| self.fail(e))?;
        let path = history::consistency(old, new, |level, index| subtree(&table, level, index));
        let mut handovers = self.handovers(new + 1)?;
        handovers.retain(|handover| handover.header.height > old);
        Ok(Succession { path: path.map_err(|e| self.fail(e))?, handovers })
    }
}
