//! `GET /time-token`, `GET /revocations`, `POST /revocations` (A43 to A46).

use crate::encoding::{Blob, Fixed, Hex, Label};
use ::lct::{
    Digest,
    clock::TOKEN_LEN,
    delegation::DelegationId,
    hash::sha256,
    id::{BindingId, Cid, PairingId},
    revocation::{Reason, Revoked, Subject},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What may be revoked, by name.
const KINDS: [&str; 5] = ["component", "binding", "pairing", "batch", "delegation"];
/// Why, by name, in the order of their codes.
const REASONS: [&str; 6] = ["unspecified", "key_compromise", "lost", "superseded", "retired", "violation"];

/// The subject of this kind with these bytes: `component` (cid), `binding`, `pairing`, `batch` (id of a batch
/// authority's key) or `delegation`.
pub fn subject(kind: &str, id: [u8; 16]) -> Option<Subject> {
    Some(match KINDS.iter().position(|k| *k == kind)? {
        0 => Subject::Component(Cid(id)),
        1 => Subject::Binding(BindingId(id)),
        2 => Subject::Pairing(PairingId(id)),
        3 => Subject::Batch(id),
        _ => Subject::Delegation(DelegationId(id)),
    })
}

/// Kind and bytes of a subject.
pub fn kind_and_id(subject: Subject) -> (&'static str, [u8; 16]) {
    match subject {
        Subject::Component(Cid(id)) => (KINDS[0], id),
        Subject::Binding(BindingId(id)) => (KINDS[1], id),
        Subject::Pairing(PairingId(id)) => (KINDS[2], id),
        Subject::Batch(id) => (KINDS[3], id),
        Subject::Delegation(DelegationId(id)) => (KINDS[4], id),
    }
}

/// The reason with this name: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`.
pub fn reason(name: &str) -> Option<Reason> {
    let code = REASONS.iter().position(|r| *r == name)?;
    Reason::from_code(code as u8).ok()
}

/// Name of a reason.
pub fn reason_name(reason: Reason) -> &'static str {
    REASONS[reason as usize]
}

/// What an operator signs to have `subject` revoked on the chain `chain_id`:
/// `H("modbatt1 revoke" || chain_id 32 || type u8 | id 16 | reason u8)`. A revocation is not taken back, so the same
/// order again changes nothing and needs no number.
pub fn order_digest(chain_id: &Digest, subject: Subject, reason: Reason) -> Digest {
    sha256(&[b"modbatt1 revoke", chain_id, &subject.to_bytes(), &[reason as u8]])
}

/// Answer of `GET /time-token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeToken {
    /// What the token says, Unix seconds.
    pub time: u64,
    /// The signed bytes (`spec/channel.md`, H100).
    #[schema(value_type = Fixed<69>)]
    pub token: Fixed<TOKEN_LEN>,
}

/// Answer of `GET /revocations` and of `POST /revocations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revocations {
    /// Number of the list.
    pub number: u32,
    /// When it was issued, Unix seconds.
    pub this_update: u64,
    /// When the next one will have been issued, Unix seconds.
    pub next_update: u64,
    /// The signed bytes (`spec/channel.md`, H105).
    pub list: Blob,
    /// The same in words.
    pub entries: Vec<Entry>,
}

/// One thing that is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RevocationEntry)]
pub struct Entry {
    /// See [`subject`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Which.
    pub id: Hex<16>,
    /// See [`reason`].
    pub reason: String,
    /// Since when, Unix seconds.
    pub time: u64,
    /// Height of the block in which the ledger withdrew it; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// The transaction that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txhash: Option<Hex<32>>,
}

impl Entry {
    /// An entry of a list; `recorded` is where the ledger withdrew it: height and transaction.
    pub fn new(revoked: &Revoked, recorded: Option<(u64, Digest)>) -> Self {
        let (kind, id) = kind_and_id(revoked.subject);
        let reason = reason_name(revoked.reason).into();
        let (height, txhash) = recorded.map(|(height, tx)| (height, Hex(tx))).unzip();
        Entry { kind: kind.into(), id: Hex(id), reason, time: revoked.time.into(), height, txhash }
    }
}

fn unspecified() -> String {
    REASONS[0].into()
}

/// Body of `POST /revocations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// See [`subject`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Which.
    pub id: Hex<16>,
    /// See [`reason`].
    #[serde(default = "unspecified")]
    pub reason: String,
    /// Key of an active operator account.
    pub key: Hex<33>,
    /// Its signature over [`order_digest`].
    pub signature: Fixed<64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_each_others_inverse() {
        for kind in KINDS {
            assert_eq!(subject(kind, [7; 16]).map(kind_and_id), Some((kind, [7; 16])));
        }
        for (code, name) in (0u8..).zip(REASONS) {
            let reason = reason(name).unwrap();
            assert_eq!((reason as u8, reason_name(reason)), (code, name));
        }
        assert!(subject("Component", [7; 16]).is_none() && reason("stolen").is_none());
    }

    /// An order for one thing must not serve for another, or on another chain.
    #[test]
    fn an_order_names_all_that_it_is_about() {
        let base = order_digest(&[1; 32], Subject::Binding(BindingId([2; 16])), Reason::Lost);
        for (chain, what, why) in [
            ([9; 32], Subject::Binding(BindingId([2; 16])), Reason::Lost),
            ([1; 32], Subject::Pairing(PairingId([2; 16])), Reason::Lost),
            ([1; 32], Subject::Binding(BindingId([3; 16])), Reason::Lost),
            ([1; 32], Subject::Binding(BindingId([2; 16])), Reason::Retired),
        ] {
            assert_ne!(order_digest(&chain, what, why), base);
        }
    }
}
