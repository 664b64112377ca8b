//! Clients that cannot sign (A150 to A158): the bridge signs for named creators with keys that it was given, and speaks the
//! older contract of routes, fields and words.
//!
//! [`ops`] holds one function per operation, on typed requests and answers; REST (`router`) and other transports call
//! them. What such a call may do is what the account of its creator may do on the ledger: nothing here stands in for a
//! check. Where an operation needs more, a switch of [`Allow`] names the risk, and without it the call is refused.

mod book;
mod contract;
pub mod creators;
mod dress;
mod held;
mod ids;
pub mod ops;
mod router;
mod sign;

pub(crate) use contract::document;
pub use creators::Creators;
pub use dress::Profile;
pub use held::Issuer;
pub use router::{Verdict, calls};
pub(crate) use router::{methods, native, profiles};

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

pub use crate::authority::key::KeyError;
use crate::{
    BridgeError, Shared,
    access::Principal,
    refusal::{Refusal, Reply},
    repeat::{Given, KEPT_S, Trace},
};
use api::problem::code;
pub(crate) use book::Book;

/// How the bridge serves clients that cannot sign.
#[derive(Debug)]
pub struct Settings {
    /// File of the creators' keys; created when absent. No one else may read or write it.
    pub creators: PathBuf,
    /// File of what such calls said; created when absent.
    pub book: PathBuf,
    /// Profile of requests that name none.
    pub profile: Profile,
    /// Who asks in calls that name no creator.
    pub default_creator: Option<String>,
    /// Risks that are taken.
    pub allow: Allow,
    /// `--allow-unknown-components`: whoever names a component that is not there gets one, with keys that the bridge holds and a
    /// certificate by this batch authority. No device stands behind it.
    pub unknown_components: Option<Issuer>,
}

/// What is refused unless it is switched on; each names its risk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Allow {
    /// `--allow-clear-key-halves`: whoever asks gets key halves in clear, once. Who reads the answer has the key.
    pub clear_key_halves: bool,
    /// `--allow-unknown-creators`: whoever names a new creator gets an operator's account.
    pub unknown_creators: bool,
    /// `--allow-pairing-without-proofs`: components for which the bridge speaks are bound and paired by it. Nothing is proved by it
    /// but that the bridge did so.
    pub pairing_without_proofs: bool,
}

/// Why a bridge cannot serve clients that cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum CompatError {
    /// The keys of the creators cannot be used.
    #[error(transparent)]
    Creators(#[from] KeyError),
    /// The file of what calls said cannot be used.
    #[error("{}: {source}", .path.display())]
    Book {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// The creator that is to ask in calls that name none has no key.
    #[error("the default creator {0} has no key; add it first")]
    DefaultCreator(String),
}

impl From<CompatError> for BridgeError {
    fn from(error: CompatError) -> Self {
        BridgeError::Compat(Box::new(error))
    }
}

/// Where the book keeps answers to writes that are to happen once.
pub(crate) const GIVEN: &str = "given/";

/// What handlers share of it.
pub(crate) struct Compat {
    creators: Mutex<Creators>,
    /// Held from the choice of a nonce until its transaction waits for a block.
    turn: Mutex<()>,
    pub book: Book,
    pub profile: Profile,
    pub default_creator: Option<String>,
    pub allow: Allow,
    /// Who certifies components for which the bridge speaks.
    issuer: Option<Issuer>,
}

impl Compat {
    /// Whether the bridge makes components up and speaks for them.
    pub fn speaks(&self) -> bool {
        self.issuer.is_some()
    }

    pub fn open(settings: Settings, now_s: u64) -> Result<Self, CompatError> {
        let Settings { creators, book: path, profile, default_creator, allow, unknown_components } = settings;
        let creators = Creators::open(&creators)?;
        if let Some(name) = default_creator.as_ref().filter(|name| creators.key(name).is_none()) {
            return Err(CompatError::DefaultCreator(name.clone()));
        }
        let keeps = |entry: &[u8]| {
            let given: Result<Given, _> = serde_json::from_slice(entry);
            given.is_ok_and(|given| now_s < given.at.saturating_add(KEPT_S))
        };
        let book = Book::open(&path).and_then(|book| book.retain(GIVEN, keeps).map(|()| book));
        let book = book.map_err(|source| CompatError::Book { path, source: Box::new(source) })?;
        let (creators, turn) = (Mutex::new(creators), Mutex::default());
        Ok(Compat { creators, turn, book, profile, default_creator, allow, issuer: unknown_components })
    }
}

/// What an operation works with: the bridge, and who calls.
#[derive(Clone)]
pub struct Ctx {
    pub(crate) app: Arc<Shared>,
    /// Who calls, as the gate knows him.
    pub(crate) who: Arc<Principal>,
    /// What the same call sent before, if it was made under a key.
    pub(crate) trace: Trace,
}

impl Ctx {
    pub(crate) fn compat(&self) -> Reply<&Compat> {
        self.app.compat.as_ref().ok_or_else(|| {
            let refusal = Refusal::new(403, code::CREATOR_DENIED, "this bridge signs for nobody");
            refusal.detail("send a signed transaction to /transactions, or give the bridge a creator's key")
        })
    }
}
