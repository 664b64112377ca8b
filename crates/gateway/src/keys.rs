//! Verification keys of app, pack and modules. A component has one signing key in each of its bindings.

use crate::commission::Member;
use lct::{
    certificate::Certificate,
    delegation::Delegation,
    id::{BindingId, Cid},
    metadata::ClearMetadata,
    pairing::Completion,
    sign::{PublicKey, Signature},
};
use pack::{answers::Completed, app::Party};
use std::{cmp::Reverse, collections::BTreeMap};

/// Delegates that are remembered.
const DELEGATES: usize = 4;
/// Keys that may be begun at the same time between the same two. That one is begun says only an answer in clear.
const BEGUN: usize = 4;

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

/// How far a key of the field has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its component was introduced with it, as far as an answer in clear tells.
    Begun,
    /// The two were paired under the binding, and one of them signed that: the delegate has it in its journal by then.
    Stands,
    /// The ledger has it.
    Recorded,
    /// The ledger will never have it.
    Void,
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
    /// Who introduced it.
    pub delegate: PublicKey,
    /// When, Unix seconds, as the delegate signed it.
    pub time: u32,
    /// How far it has come.
    pub standing: Standing,
}

impl FieldKey {
    /// Which of those that are known gives way to this one (H237). An answer in clear makes none give way but the earliest of too
    /// many, by the time that their delegates signed, which may be this one; what stands, as a device signed, makes those give way that
    /// were begun before between the same two.
    pub(crate) fn displaces<'a>(&self, known: impl IntoIterator<Item = &'a FieldKey>) -> Vec<PublicKey> {
        let rival = |other: &&FieldKey| {
            other.standing == Standing::Begun
                && (other.of, other.with) == (self.of, self.with)
                && other.key != self.key
        };
        let rivals = known.into_iter().filter(rival);
        match self.standing {
            Standing::Begun => {
                let dated = |key: &FieldKey| (Reverse(key.time), key.key);
                let mut all: Vec<_> = rivals.map(dated).chain([dated(self)]).collect();
                all.sort();
                all.into_iter().skip(BEGUN).map(|(_, key)| key).collect()
            }
            _ => rivals.filter(|other| other.time <= self.time).map(|other| other.key).collect(),
        }
    }
}

/// A delegate, and when its delegation was signed.
#[derive(Debug, Clone, Copy)]
struct Delegate {
    key: PublicKey,
    issued: u32,
}

/// Such keys, and the delegates whose word brings them.
#[derive(Debug, Default)]
pub(crate) struct FieldKeys {
    keys: Vec<FieldKey>,
    delegates: Vec<Delegate>,
}

impl FieldKeys {
    /// Those that were learned before.
    pub fn restore(&mut self, keys: Vec<FieldKey>) {
        self.keys = keys;
    }

    /// A device took this delegation, as an answer in clear tells: none gives way to one that was signed before it.
    pub fn shown(&mut self, delegation: &[u8], authority: &PublicKey) {
        let Ok(delegation) = Delegation::open(delegation, authority) else { return };
        let (key, mut issued) = (delegation.delegate.sign_pub(), delegation.issued);
        if let Some(at) = self.delegates.iter().position(|known| known.key == key) {
            issued = issued.max(self.delegates.remove(at).issued);
        }
        self.delegates.push(Delegate { key, issued });
        self.delegates.sort_by_key(|known| Reverse(known.issued));
        self.delegates.truncate(DELEGATES);
    }

    /// Whom to believe: the last delegate first.
    pub fn delegates(&self) -> impl Iterator<Item = &PublicKey> {
        self.delegates.iter().map(|known| &known.key)
    }

    /// Somebody was introduced with a key. `None` for one that is known or has no room.
    pub fn learn(&mut self, new: FieldKey) -> Option<FieldKey> {
        if self.keys.iter().any(|known| known.key == new.key) {
            return None;
        }
        let gone = new.displaces(&self.keys);
        self.keys.push(new);
        self.keys.retain(|known| !gone.contains(&known.key));
        (!gone.contains(&new.key)).then_some(new)
    }

    /// `by` answers that it is paired under `certificate`. Its signature says so, with the key that it drew for the binding: that
    /// stands, with what its partner drew for the same one.
    pub fn paired(&mut self, by: Cid, certificate: &[u8], answer: &[u8]) -> Vec<FieldKey> {
        let Ok(read) = Certificate::parse(certificate) else { return Vec::new() };
        let signed = self.delegates().any(|key| read.verify(key).is_ok());
        let metadata = ClearMetadata::decode(read.clear_metadata).ok().filter(|_| signed);
        let Some((metadata, done)) = metadata.zip(Completed::read(answer).ok()) else { return Vec::new() };
        let with = match metadata.entities.map(|entity| entity.cid) {
            [a, b] if a == by => b,
            [a, b] if b == by => a,
            _ => return Vec::new(),
        };
        let Completed { nonce, th4, signature, .. } = done;
        let completion = Completion { pairing_id: metadata.pairing_id, nonce, cert_hash: read.hash(), th4 };
        let (digest, signature) = (completion.digest(), Signature(signature));
        let own = self.keys.iter().find(|key| {
            key.standing == Standing::Begun
                && (key.of, key.with) == (by, with)
                && key.key.verify(&digest, &signature).is_ok()
        });
        let Some(binding) = own.map(|own| own.binding) else { return Vec::new() };
        let sides = [(by, with), (with, by)];
        let mut stand = Vec::new();
        for key in &mut self.keys {
            let theirs = key.binding == binding && sides.contains(&(key.of, key.with));
            if theirs && key.standing == Standing::Begun {
                key.standing = Standing::Stands;
                stand.push(*key);
            }
        }
        let gone: Vec<_> = stand.iter().flat_map(|key| key.displaces(&self.keys)).collect();
        self.keys.retain(|known| !gone.contains(&known.key));
        stand
    }

    /// With what `of` signs towards `with`, as far as that came to something: the last one first.
    pub fn of(&self, of: Cid, with: Cid) -> impl Iterator<Item = &FieldKey> {
        let theirs = move |key: &&FieldKey| {
            matches!(key.standing, Standing::Stands | Standing::Void) && (key.of, key.with) == (of, with)
        };
        self.keys.iter().rev().filter(theirs)
    }

    /// All that came to something.
    pub fn all(&self) -> impl Iterator<Item = &FieldKey> {
        self.keys.iter().filter(|key| matches!(key.standing, Standing::Stands | Standing::Void))
    }

    /// Whether it is one of them of which the ledger will know.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.standing == Standing::Stands && known.key == *key)
    }

    /// Whether this delegate introduced it.
    pub fn is_of(&self, key: &PublicKey, delegate: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key == *key && known.delegate == *delegate)
    }

    /// Whether it is one of which the ledger will never know.
    pub fn is_void(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.standing == Standing::Void && known.key == *key)
    }

    /// What became of some.
    pub fn became(&mut self, keys: &[FieldKey]) {
        for new in keys {
            self.keys.retain(|known| known.key != new.key || new.standing != Standing::Recorded);
            if let Some(known) = self.keys.iter_mut().find(|known| known.key == new.key) {
                known.standing = new.standing;
            }
        }
    }

    /// The ledger knows these by now.
    pub fn recorded(&mut self, keys: &Keys) {
        self.keys.retain(|known| !keys.has(&known.key));
    }
}
