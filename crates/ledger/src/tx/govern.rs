//! Changes of the chain itself (`spec/ledger.md`, L160 to L164): accounts, roots, parameters, validators, rules.

use lct::{
    Digest,
    hash::sha256,
    sign::{PublicKey, Signature},
};

use super::Kind;
use crate::{
    codec::{FormatError, Reader, Writer},
    genesis::{Params, ValidatorSet},
    records::AccountRole,
};

/// A change of the chain, and from which height it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governance {
    /// What changes.
    pub change: Change,
    /// The first block for which it holds.
    pub height: u64,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key gets an account (kind 42).
    Account {
        /// What it may send.
        role: AccountRole,
        /// The key.
        key: PublicKey,
    },
    /// A manufacturer's root comes, goes, or takes the place of another (kind 43).
    Roots {
        /// The root that comes.
        added: Option<PublicKey>,
        /// The root that goes.
        withdrawn: Option<PublicKey>,
        /// By the root that goes, over [`Change::root_digest`].
        signature: Option<Signature>,
    },
    /// Other parameters, all of them (kind 44).
    Params(Params),
    /// Other validators (kind 45).
    Validators(ValidatorSet),
    /// Other rules (kind 46).
    Rules(u32),
}

impl Change {
    /// The kind of a transaction that asks for it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Account { .. } => Kind::GovernAccount,
            Self::Roots { .. } => Kind::GovernRoots,
            Self::Params(_) => Kind::GovernParams,
            Self::Validators(_) => Kind::GovernValidators,
            Self::Rules(_) => Kind::GovernRules,
        }
    }

    /// What the root that goes signs: `H("modbatt1 root" || chain id || u64 height || root that goes 33 || root that
    /// comes 33, or nothing)`.
    #[must_use]
    pub fn root_digest(
        chain_id: &Digest,
        height: u64,
        withdrawn: &PublicKey,
        added: Option<&PublicKey>,
    ) -> Digest {
        let comes = added.map_or(&[][..], |key| &key.0);
        sha256(&[b"modbatt1 root", chain_id, &height.to_be_bytes(), &withdrawn.0, comes])
    }

    /// Appends the content, without its kind.
    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Self::Account { role, key } => w.array(2).item(role).bytes(&key.0),
            Self::Roots { added, withdrawn, signature } => {
                let key = |key: &Option<PublicKey>| key.map_or([0; 33], |k| k.0);
                let part = |w: &mut Writer, present: bool, bytes: &[u8]| {
                    w.bytes(if present { bytes } else { &[] });
                };
                w.array(3);
                part(w, added.is_some(), &key(added));
                part(w, withdrawn.is_some(), &key(withdrawn));
                w.bytes(signature.as_ref().map_or(&[][..], |s| &s.0))
            }
            Self::Params(params) => w.item(params),
            Self::Validators(set) => w.item(set),
            Self::Rules(version) => w.uint((*version).into()),
        };
    }

    /// Reads the content of a change of `kind`.
    pub(crate) fn read(kind: u8, r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let items = |r: &mut Reader<'_>, n| {
            if r.array(n)? == n { Ok(()) } else { Err(FormatError::Unexpected) }
        };
        match Kind::from_number(kind) {
            Some(Kind::GovernAccount) => {
                items(r, 2)?;
                Ok(Self::Account { role: r.item()?, key: PublicKey(r.fixed()?) })
            }
            Some(Kind::GovernRoots) => {
                items(r, 3)?;
                let (added, withdrawn) = (optional(r)?.map(PublicKey), optional(r)?.map(PublicKey));
                Ok(Self::Roots { added, withdrawn, signature: optional(r)?.map(Signature) })
            }
            Some(Kind::GovernParams) => Ok(Self::Params(r.item()?)),
            Some(Kind::GovernValidators) => Ok(Self::Validators(r.item()?)),
            Some(Kind::GovernRules) => Ok(Self::Rules(r.int()?)),
            _ => Err(FormatError::Unexpected),
        }
    }
}

/// A byte string of `N` bytes, or an empty one.
fn optional<const N: usize>(r: &mut Reader<'_>) -> Result<Option<[u8; N]>, FormatError> {
    match r.bytes(N)? {
        [] => Ok(None),
        bytes => bytes.try_into().map(Some).map_err(|_| FormatError::Unexpected),
    }
}
