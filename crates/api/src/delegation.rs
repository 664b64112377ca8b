//! `POST /delegations`, `GET /delegations`, `GET /delegations/{id}` (A70 to A72), `GET /delegations/{id}/brief` (A205): who may
//! act in the authority's place, what they have to know for it, and what became of what they did.

use crate::encoding::{Blob, ComponentId, Fixed, Hex, Label};
use ::lct::{
    Digest,
    delegation::{Delegation, OPERATIONS},
    hash::sha256,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The operations byte of these names.
pub fn operations(names: &[String]) -> Option<u8> {
    names.iter().try_fold(0, |all, name| {
        let (operation, _) = OPERATIONS.iter().find(|(_, known)| known == name)?;
        Some(all | *operation as u8)
    })
}

/// Names of the bits of an operations byte.
pub fn operation_names(operations: u8) -> Vec<String> {
    let named = OPERATIONS.iter().filter(|(operation, _)| operations & *operation as u8 != 0);
    named.map(|(_, name)| (*name).to_owned()).collect()
}

/// What an operator signs: `H("modbatt1 delegate order" || chain_id 32 || SPK 68 || u32 not_before || u32 not_after ||
/// u32 lease_s || u8 operations || n u8 || n x cid of a pack 16)`, cids ascending. What is not signed, number and time of
/// issue, is the authority's to say.
pub fn order_digest(chain_id: &Digest, wanted: &Delegation) -> Digest {
    let packs: Vec<u8> = wanted.packs.iter().flat_map(|cid| cid.0).collect();
    sha256(&[
        b"modbatt1 delegate order",
        chain_id,
        &wanted.delegate.0,
        &wanted.not_before.to_be_bytes(),
        &wanted.not_after.to_be_bytes(),
        &wanted.lease_s.to_be_bytes(),
        &[wanted.operations, wanted.packs.len() as u8],
        &packs,
    ])
}

/// Body of `POST /delegations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// The delegate's semi-public key.
    pub delegate: Fixed<68>,
    /// From when.
    pub not_before: u32,
    /// Until when, at most 30 days later.
    pub not_after: u32,
    /// Longest lease that the delegate grants.
    pub lease_s: u32,
    /// `pair`, `bind`, `revoke`.
    pub operations: Vec<String>,
    /// Component ids of one to eight packs.
    pub packs: Vec<String>,
    /// An operator's account key.
    pub key: Hex<33>,
    /// Its signature over [`order_digest`].
    pub signature: Fixed<64>,
}

/// A delegation that the ledger holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delegated {
    /// Its name.
    pub id: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its number.
    pub number: u32,
    /// Signing key of the delegate.
    pub delegate: Hex<33>,
    /// From when.
    pub not_before: u32,
    /// Until when.
    pub not_after: u32,
    /// Longest lease.
    pub lease_s: u32,
    /// What it allows.
    pub operations: Vec<String>,
    /// Component ids of its packs.
    pub packs: Vec<String>,
    /// When it was taken back, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
    /// The delegation as devices take it.
    pub delegation: Blob,
    /// What its holder did, as far as it was brought.
    pub acts: Vec<Acted>,
    /// `H(act)` of the last of them, zero before the first: where the journal goes on.
    pub last: Hex<32>,
}

/// An act, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acted {
    /// Its place in the journal.
    pub number: u32,
    /// Kind of transaction that it is.
    pub kind: String,
    /// When it was done.
    pub done_at: u64,
    /// When it was recorded.
    pub recorded_at: u64,
    /// The transaction that brought it.
    pub txhash: Hex<32>,
    /// [`DONE`], [`SUPERSEDED`] or [`REFUSED`].
    pub outcome: String,
    /// `W4_ERR_*` of one that took no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// It took effect.
pub const DONE: &str = "done";
/// Somebody else had done the same before it was recorded.
pub const SUPERSEDED: &str = "superseded";
/// It took no effect.
pub const REFUSED: &str = "refused";

/// Answer of `GET /delegations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delegations {
    /// Height of the block after which it is so.
    pub height: u64,
    /// Every one that the ledger holds, by id.
    pub delegations: Vec<Delegated>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Answer of `GET /delegations/{id}/brief` (A205): what the holder of a delegation has to know where there is no network.
/// Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Brief {
    /// Height of the block after which it is so.
    pub height: u64,
    /// Of the chain.
    pub chain_id: Hex<32>,
    /// The delegation as devices take it.
    pub delegation: Blob,
    /// The revocation list in force: devices take no certificate that names a later one than they hold.
    pub list: Blob,
    /// Bindings in force of the packs that the delegation names, as far as the bridge has their keys.
    pub relations: Vec<Relation>,
    /// Those packs, whatever is bound with one of them, and what was asked for: whether it has an owner.
    pub parts: Vec<Part>,
}

/// A binding in force, as far as whoever makes a pairing under it has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KnownRelation)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// Side A.
    pub a: Kept,
    /// Side B.
    pub b: Kept,
    /// Of the policy that the two agreed to.
    pub policy_version: u32,
    /// Longest lease by that policy, in seconds.
    pub certificate_s: u32,
    /// When the latest certificate of the two was issued, Unix seconds; 0 where none was.
    pub certified_at: u32,
}

/// A component, and who has a say in what takes the place of its bindings (A93).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ToldPart)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its cid: a spare may have no name yet.
    pub cid: Hex<16>,
    /// Whether it has an owner.
    pub owned: bool,
    /// All its bindings in force, whoever made them and with whomever.
    pub bindings: Vec<Held>,
}

/// A binding in force of a [`Part`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = HeldBinding)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Which.
    pub binding_id: Hex<16>,
    /// To which other one in its place the owner of the part agreed, if he did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Agreed>,
}

/// An owner's consent to a binding in the place of the one that is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AgreedBinding)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// With whom: a cid.
    pub partner: Hex<16>,
    /// Until when, Unix seconds.
    pub until: u64,
}

/// A side of a binding, as the authority keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KeptSide)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its id.
    #[schema(value_type = ComponentId)]
    pub component_id: String,
    /// Its semi-public key in this binding.
    pub spk: Fixed<68>,
    /// How its partner reaches it; empty where nobody can prove what was agreed.
    pub access: String,
    /// Of whoever made the binding: by which its record commits to `access` (A208).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Fixed<32>>,
}

/// What a delegate notes beside an act of binding, in JSON (`spec/ledger.md`, L93): what the ledger and the bridge want to know
/// before and after it, and verify by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// Side A.
    pub a: Kept,
    /// Side B.
    pub b: Kept,
    /// What sides that the delegate did not know say of themselves, to be registered before.
    pub registrations: Vec<Stated>,
}

/// A registration that its component signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// Its id.
    pub component_id: String,
    /// Canonical registration (`spec/ledger.md`, L32).
    pub statement: Blob,
    /// Signature of the component's identity key over it.
    pub proof: Fixed<64>,
}
