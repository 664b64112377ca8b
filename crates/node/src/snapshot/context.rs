//! What is stated in the context of LCTs, and what a component sees around itself.

use ledger::{
    authorization::{self, Denied},
    mrh::{self, Horizon},
    records::registry::{Authorization, ContextHead, ContextRecord, Performance},
};

use super::*;

/// The kinds that somebody states (L144).
const KINDS: [u8; 5] = [1, 2, 4, 5, 6];

impl Snapshot<'_> {
    /// The last statement of each kind about an LCT, by kind.
    ///
    /// # Errors
    /// [`Error`].
    pub fn contexts_of(&self, lct: &Digest) -> Result<Vec<ContextRecord>, Error> {
        let mut found = Vec::new();
        for kind in KINDS {
            let head: Option<ContextHead> = self.get(&key::context(lct, kind))?;
            if let Some(ContextHead { number }) = head {
                found.extend(self.get(&key::context_record(lct, kind, number))?);
            }
        }
        Ok(found)
    }

    /// What the closed cycles of a pack come to.
    ///
    /// # Errors
    /// [`Error`].
    pub fn performance(&self, cid: &Cid) -> Result<Option<Performance>, Error> {
        self.get(&key::performance(cid))
    }

    /// Whether the first component lets itself be paired with the second one in a context, at the time of the last block (L137).
    ///
    /// # Errors
    /// [`Error`].
    pub fn authorized(&self, pair: [&Cid; 2], context: &str) -> Result<Result<Authorization, Denied>, Error> {
        let (weights, tip) = (self.params()?.trust, self.tip());
        let chain_id = self.status()?.chain_id;
        Ok(authorization::ask(&self.view(), &weights, &chain_id, pair, context, tip.time_ms)?)
    }

    /// The horizon of a component at the time of the last block (L149).
    ///
    /// # Errors
    /// [`Error`].
    pub fn horizon(&self, cid: &Cid, depth: u8) -> Result<Horizon, Error> {
        Ok(mrh::horizon(&self.view(), cid, depth, self.tip().time_ms)?)
    }
}
