//! Verification keys of pack and modules. A component has one signing key in each of its bindings.

use crate::commission::Member;
use lct::sign::PublicKey;
use pack::app::Party;
use std::collections::BTreeMap;

/// Whose key, in the binding with whom (`None`: the app).
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<(Party, Member), PublicKey>);

impl Keys {
    /// `of` signs with `key` in its binding with `with`.
    pub fn insert(&mut self, of: Party, with: Member, key: PublicKey) {
        self.0.insert((of, with), key);
    }

    /// The key with which `party` signs what it measures: that of its binding with the app or the pack above.
    #[must_use]
    pub fn of(&self, party: Party) -> Option<PublicKey> {
        let above = if party == Party::Pack { None } else { Some(Party::Pack) };
        self.with(party, above)
    }

    /// The key of `of` in its binding with `with`.
    #[must_use]
    pub fn with(&self, of: Party, with: Member) -> Option<PublicKey> {
        self.0.get(&(of, with)).copied()
    }
}
