//! Verification keys of app, pack and modules. A component has one signing key in each of its bindings.

use crate::commission::Member;
use lct::{
    certificate::Certificate,
    delegation::Delegation,
    id::{BindingId, Cid},
    metadata::ClearMetadata,
    sign::PublicKey,
};
use pack::app::Party;
use std::collections::BTreeMap;

/// Delegates that are remembered: of each laptop at this host the last delegation.
const DELEGATES: usize = 4;

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

    /// Whether it is one of them.
    #[must_use]
    pub fn has(&self, key: &PublicKey) -> bool {
        self.0.values().any(|known| known == key)
    }
}

/// A key that a component drew for a binding that a delegate made, of which the ledger does not know yet (`spec/channel.md`, H237).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldKey {
    /// Which binding.
    pub binding: BindingId,
    /// Whose key.
    pub of: Cid,
    /// Towards whom.
    pub with: Cid,
    /// The key.
    pub key: PublicKey,
    /// The two were paired under the binding: the delegate has it in its journal by then.
    pub stands: bool,
}

/// Such keys, and the delegates whose word brings them.
#[derive(Debug, Default)]
pub(crate) struct FieldKeys {
    keys: Vec<FieldKey>,
    delegates: Vec<PublicKey>,
}

impl FieldKeys {
    /// Those that were learned before.
    pub fn restore(&mut self, keys: Vec<FieldKey>) {
        self.keys = keys;
    }

    /// A device took this delegation.
    pub fn shown(&mut self, delegation: &[u8], authority: &PublicKey) {
        let Ok(delegation) = Delegation::open(delegation, authority) else { return };
        let key = delegation.delegate.sign_pub();
        self.delegates.retain(|known| *known != key);
        self.delegates.push(key);
        if self.delegates.len() > DELEGATES {
            self.delegates.remove(0);
        }
    }

    /// Whom to believe: the last delegate first.
    pub fn delegates(&self) -> impl Iterator<Item = &PublicKey> {
        self.delegates.iter().rev()
    }

    /// Somebody drew a key; of what was begun before between the same two and does not stand nothing is left.
    pub fn learn(&mut self, new: FieldKey) -> Option<FieldKey> {
        if self.keys.iter().any(|known| known.key == new.key) {
            return None;
        }
        self.keys.retain(|known| known.stands || (known.of, known.with) != (new.of, new.with));
        self.keys.push(new);
        Some(new)
    }

    /// Two were paired under `certificate`: what they drew last stands.
    pub fn paired(&mut self, certificate: &[u8]) -> Vec<FieldKey> {
        let Ok(read) = Certificate::parse(certificate) else { return Vec::new() };
        let signed = self.delegates.iter().any(|key| read.verify(key).is_ok());
        let Some(metadata) = ClearMetadata::decode(read.clear_metadata).ok().filter(|_| signed) else {
            return Vec::new();
        };
        let [a, b] = metadata.entities.map(|entity| entity.cid);
        let begun = self.keys.iter_mut().filter(|key| !key.stands);
        let theirs = begun.filter(|key| [(a, b), (b, a)].contains(&(key.of, key.with)));
        theirs
            .map(|key| {
                key.stands = true;
                *key
            })
            .collect()
    }

    /// With what `of` signs towards `with`, as far as that stands: the last one first.
    pub fn of(&self, of: Cid, with: Cid) -> impl Iterator<Item = PublicKey> {
        let theirs = move |key: &&FieldKey| key.stands && (key.of, key.with) == (of, with);
        self.keys.iter().rev().filter(theirs).map(|key| key.key)
    }

    /// Whether it is one of them.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.stands && known.key == *key)
    }

    /// The ledger knows these by now.
    pub fn recorded(&mut self, keys: &Keys) {
        self.keys.retain(|known| !keys.has(&known.key));
    }
}
