//! What governs the chain (L160 to L164).

use ledger::{
    execute::rules_of,
    records::Pending,
    tx::{Governance, Kind},
};

use super::*;

/// The kinds of which one change each waits; an account is recorded at once.
const WAITING: [Kind; 4] = [Kind::GovernRoots, Kind::GovernParams, Kind::GovernValidators, Kind::GovernRules];

impl Snapshot<'_> {
    /// The version of the rules by which the next block is executed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rules(&self) -> Result<u32, Error> {
        Ok(rules_of(&self.view())?)
    }

    /// What is decided and not in force for the next block.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decided(&self) -> Result<Vec<Governance>, Error> {
        let mut decided = Vec::new();
        for kind in WAITING {
            let last: Option<Pending> = self.get(&key::pending(kind))?;
            decided.extend(last.map(|p| p.0).filter(|g| g.height > self.tip().height + 1));
        }
        Ok(decided)
    }
}
