//! What is stated in the context of LCTs, and what a component sees around itself.

use ledger::{
    authorization::{self, Denied},
    mrh::{self, Horizon},
    records::registry::{ContextHead, ContextRecord, Performance},
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

    /// Whether the first component admits the second one to a pairing at the time of the last block (L222).
    ///
    /// # Errors
    /// [`Error`].
    pub fn admits(&self, pair: [&Cid; 2]) -> Result<Result<(), Denied>, Error> {
        let weights = self.params()?.trust;
        Ok(authorization::admits(&self.view(), &weights, pair, self.tip().time_ms)?)
    }

    /// The horizon of a component at the time of the last block (L149).
    ///
    /// # Errors
    /// [`Error`].
    pub fn horizon(&self, cid: &Cid, depth: u8) -> Result<Horizon, Error> {
        Ok(mrh::horizon(&self.view(), cid, depth, self.tip().time_ms)?)
    }
}
