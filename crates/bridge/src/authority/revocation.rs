//! Time tokens and the revocation list (A43 to A46; `spec/channel.md`, H100, H105).
//!
//! The file is the list issued last, as it was signed. A list is on disk before it is given out, so no two lists ever
//! have the same number, and after a crash the next one follows the one that devices may hold.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use api::{
    encoding::{Blob, Fixed},
    problem::code,
    revocation::{Entry, Revocations, Revoke, TimeToken, order_digest, reason, subject},
};
use lct::{
    Digest, clock,
    id::Cid,
    revocation::{ENTRIES_MAX, Reason, RevocationList, Revoked, Subject, hash_of},
    sign::PublicKey,
};
use node::Snapshot;

use super::{
    Core, by_operator,
    issuance::Kind,
    withdrawal::{recorded, target},
};
use crate::{
    durable,
    refusal::{Refusal, Reply},
};

/// How long a list serves until the next one is due, in seconds.
const VALID_S: u32 = 7 * 86_400;
/// Age at which a list is renewed, in seconds: devices that are reached once in six days always hold one in force.
const RENEW_S: u32 = 86_400;

/// For how many seconds time tokens are noted at once: a line for each of them would be most of the log.
const TIMES_S: u32 = 600;

/// Who has a list issued that is only due.
const OF_ITS_OWN: &str = "bridge";

/// Why the revocation list of an earlier run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The bytes are not a list that this authority signed.
    #[error(
        "{} is not a revocation list of this authority or of one that it followed; devices refuse lists that do not follow it, \
         restore it",
        .0.display()
    )]
    Damaged(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The list issued last, and where it is kept.
#[derive(Debug)]
pub(crate) struct Issued {
    path: PathBuf,
    last: Option<(RevocationList, Vec<u8>)>,
    /// Whether it is an earlier authority's.
    is_earlier: bool,
}

impl Issued {
    /// Reads the list issued last by `authority` or by one that it followed; without a file none was issued.
    pub fn open(path: &Path, authority: &PublicKey, earlier: &[PublicKey]) -> Result<Self, ListError> {
        let (last, is_earlier) = match fs::read(path) {
            Ok(bytes) => {
                let by = |key: &PublicKey| RevocationList::open(&bytes, key).ok().map(|list| (list, *key));
                let list = by(authority).or_else(|| earlier.iter().rev().find_map(by));
                let (list, key) = list.ok_or_else(|| ListError::Damaged(path.into()))?;
                (Some((list, bytes)), key != *authority)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => (None, false),
            Err(source) => return Err(ListError::Io { path: path.into(), source }),
        };
        Ok(Issued { path: path.into(), last, is_earlier })
    }

    /// True when `what` is revoked.
    pub fn lists(&self, what: Subject) -> bool {
        self.entries().iter().any(|e| e.subject == what)
    }

    fn entries(&self) -> &[Revoked] {
        self.last.as_ref().map_or(&[], |(list, _)| &list.entries)
    }

    /// What is revoked, and why.
    pub fn subjects(&self) -> impl Iterator<Item = (Subject, Reason)> {
        self.entries().iter().map(|e| (e.subject, e.reason))
    }

    /// True when a new list is due at `now`, for its age, because there is none, or because devices that follow this authority
    /// would not take the one that there is.
    fn is_due(&self, now: u32) -> bool {
        self.is_earlier
            || self.last.as_ref().is_none_or(|(list, _)| now >= list.this_update.saturating_add(RENEW_S))
    }

    /// Number of the list issued last, 0 without one.
    pub fn number(&self) -> u32 {
        self.last.as_ref().map_or(0, |(list, _)| list.number)
    }

    /// Number of the next list, and the hash of the one before it.
    fn next(&self) -> Option<(u32, Digest)> {
        match &self.last {
            None => Some((1, [0; 32])),
            Some((list, bytes)) => Some((list.number.checked_add(1)?, hash_of(bytes))),
        }
    }

    /// Makes `bytes` the list issued last, on disk first.
    fn keep(&mut self, list: RevocationList, bytes: Vec<u8>) -> Result<(), ListError> {
        durable::replace(&self.path, &bytes)
            .map_err(|source| ListError::Io { path: self.path.clone(), source })?;
        (self.last, self.is_earlier) = (Some((list, bytes)), false);
        Ok(())
    }
}

impl Core {
    /// The present time under the authority's signature.
    pub fn time_token(&mut self) -> Reply<TimeToken> {
        let time = self.now();
        let token = self.key.sign(|key, rng| clock::TimeToken { time }.issue(key, rng))?;
        if !self.times.contains(&time) {
            let (last, end) = (time.saturating_add(TIMES_S - 1), time.saturating_add(TIMES_S));
            self.note(Kind::Times, format!("{time}-{last}"), (OF_ITS_OWN, &[]), &token)?;
            self.times = time..end;
        }
        Ok(TimeToken { time: time.into(), token: Fixed(token) })
    }

    /// The list in force, renewed when it is a day old.
    pub fn revocation_list(&mut self) -> Reply<Revocations> {
        if self.revocations.is_due(self.now()) {
            self.issue_list(OF_ITS_OWN, None)?;
        }
        let (list, bytes) = self
            .revocations
            .last
            .as_ref()
            .ok_or_else(|| Refusal::internal(&"no revocation list was made"))?;
        let snapshot = self.chain.read()?;
        let mut entries = Vec::with_capacity(list.entries.len());
        for revoked in &list.entries {
            entries.push(Entry::new(revoked, recorded(&snapshot, target(revoked.subject))?));
        }
        Ok(Revocations {
            number: list.number,
            this_update: list.this_update.into(),
            next_update: list.next_update.into(),
            list: Blob(bytes.clone()),
            entries,
        })
    }

    /// Adds an entry that an operator ordered. What is listed already stays as it is.
    pub fn revoke(&mut self, request: &Revoke) -> Reply<()> {
        let what = subject(&request.kind, request.id.0).ok_or_else(|| {
            Refusal::format("type: it is `component`, `binding`, `pairing`, `batch` or `delegation`")
        })?;
        let why = reason(&request.reason).ok_or_else(|| {
            Refusal::format(
                "reason: it is `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`",
            )
        })?;
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let order = order_digest(&chain.chain_id(), what, why);
        let codes = [code::REVOCATION_DENIED, code::REVOCATION_PROOF];
        by_operator(&snapshot, &request.key.0, &request.signature.0, &order, codes)?;
        let issued =
            matches!(what, Subject::Pairing(id) if self.ceremonies.rows().pairings.contains_key(&id));
        if !issued {
            exists(&snapshot, what)?;
        }
        if !self.revocations.lists(what) {
            if self.revocations.entries().len() >= ENTRIES_MAX {
                return Err(Refusal::new(409, code::REVOCATION_FULL, "the revocation list is full"));
            }
            let more = Revoked { subject: what, reason: why, time: self.now() };
            self.issue_list(&request.creator, Some(more))?;
            self.withdrawals.want(target(what), why);
            let creator = request.creator.as_str();
            tracing::warn!(creator, kind = request.kind, id = %request.id, reason = request.reason, "revoked");
        }
        Ok(())
    }

    /// Signs the next list, with one more entry or none, and makes it durable.
    fn issue_list(&mut self, who: &str, more: Option<Revoked>) -> Reply<()> {
        let exhausted = || Refusal::internal(&"no number of a revocation list is left");
        let (number, previous) = self.revocations.next().ok_or_else(exhausted)?;
        let this_update = self.now();
        let entries = self.revocations.entries().iter().copied().chain(more).collect();
        let next_update = this_update.saturating_add(VALID_S);
        let list = RevocationList { number, this_update, next_update, previous, entries };
        let bytes = self.key.sign(|key, rng| list.issue(key, rng))?;
        let bytes = bytes.map_err(|e| Refusal::internal(&e))?.to_vec();
        self.note(Kind::Revocations, number.to_string(), (who, &[]), &bytes)?;
        self.revocations.keep(list, bytes).map_err(|e| Refusal::unavailable(&e))?;
        tracing::info!(number, "revocation list issued");
        Ok(())
    }

    /// Refuses when one of `cids` is revoked.
    pub(super) fn not_revoked(&self, cids: &[Cid]) -> Reply<()> {
        match cids.iter().find(|cid| self.revocations.lists(Subject::Component(**cid))) {
            None => Ok(()),
            Some(cid) => Err(Refusal::new(410, code::COMPONENT_REVOKED, "the component was revoked")
                .detail(cid.to_string())),
        }
    }
}

/// Refuses what this chain does not know: a mistyped id would take a place of the list for ever. Batch authorities
/// have no account here.
fn exists(snapshot: &Snapshot<'_>, what: Subject) -> Reply<()> {
    let (known, code, error) = match what {
        Subject::Component(cid) => (
            snapshot.component(&cid)?.is_some(),
            code::COMPONENT_NOT_FOUND,
            "the component is not registered",
        ),
        Subject::Binding(id) => {
            (snapshot.binding(&id)?.is_some(), code::BINDING_NOT_FOUND, "there is no such binding")
        }
        Subject::Pairing(id) => {
            (snapshot.pairing(&id)?.is_some(), code::PAIRING_NOT_FOUND, "there is no such pairing")
        }
        Subject::Delegation(id) => (
            snapshot.delegation(&id)?.is_some(),
            code::DELEGATION_NOT_FOUND,
            "the ledger holds no such delegation",
        ),
        Subject::Batch(_) => return Ok(()),
    };
    if known { Ok(()) } else { Err(Refusal::new(404, code, error)) }
}
