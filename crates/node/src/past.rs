//! Questions about the past: the state as it was after a block, and what proves it; events with a cursor; checkpoints and
//! what leads from one to another.

use lct::{Digest, hash::sha256};
use ledger::{
    checkpoint::{Statement, Succession},
    codec::Canonical,
    history,
    proof::{Absence, StateProof},
    state::{Halt, View, load},
};

use crate::{
    error::Error,
    snapshot::{LoggedEvent, Snapshot},
    store::{BEFORE, HISTORY, KEEP_VERSIONS, VERSIONS, subtree},
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

/// What the state holds under a key, with proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A value.
    Present(StateProof),
    /// Nothing.
    Absent(Absence),
}

/// The state as it was after one block.
pub struct Past<'a> {
    snapshot: &'a Snapshot<'a>,
    height: u64,
    tree_version: u64,
    root: Digest,
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

impl<'a> Snapshot<'a> {
    /// The state after block `height`; 0 is that of the genesis. A replica keeps those of the last 100 heights.
    ///
    /// # Errors
    /// [`PastError`].
    pub fn at(&'a self, height: u64) -> Result<Past<'a>, PastError> {
        let tip = self.tip();
        if height > tip.height {
            return Err(PastError::Future { height, tip: tip.height });
        }
        let oldest = tip.height.saturating_sub(KEEP_VERSIONS);
        if height < oldest {
            return Err(PastError::Forgotten { height, oldest });
        }
        let versions = self.txn().open_table(VERSIONS).map_err(|e| self.fail(e))?;
        let version = versions.get(height).map_err(|e| self.fail(e))?;
        let tree_version = version.ok_or_else(|| self.damaged("a version of the tree is missing"))?.value();
        // The root after a block stands in the header that follows it.
        let root = match self.block(height + 1)? {
            Some(next) => next.header.state_root,
            None => tip.state_root,
        };
        Ok(Past { snapshot: self, height, tree_version, root })
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

    /// What a checkpoint of the last block says.
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

    /// What leads from the checkpoint of height `old` to that of `new`.
    ///
    /// # Errors
    /// [`PastError::Future`] if `new` is not reached, or `old` is 0 or above it.
    pub fn succession(&self, old: u64, new: u64) -> Result<Succession, PastError> {
        let tip = self.tip().height;
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

impl Past<'_> {
    /// Root of this state. The header of the next height states it.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The object under `key`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn get<T: Canonical>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        Ok(load(self, key)?)
    }

    /// What is under `key`, or that nothing is, as an outsider can check it against [`Past::root`].
    ///
    /// # Errors
    /// [`Error`].
    pub fn prove(&self, key: &[u8]) -> Result<Found, Error> {
        let value = View::get(self, key)?;
        self.snapshot.prove(self.tree_version, &self.root, key, value)
    }
}

impl View for Past<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        let store = |e: redb::Error| Halt::Store(e.to_string());
        let before = self.snapshot.txn().open_table(BEFORE).map_err(|e| store(e.into()))?;
        // The first block after this one that wrote the key found there what was under it then.
        for later in self.height + 1..=self.snapshot.tip().height {
            if let Some(old) = before.get((later, key)).map_err(|e| store(e.into()))? {
                return Ok(old.value().split_first().map(|(_, value)| value.to_vec()));
            }
        }
        self.snapshot.view().get(key)
    }
}
