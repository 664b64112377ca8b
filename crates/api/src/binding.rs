//! `POST /bindings`, `POST /bindings/{id}/keys`, `POST /bindings/{id}/complete`, `POST /bindings/{id}/adopt`.

use crate::{
    delegation::Kept,
    encoding::{Blob, ComponentId, Fixed, Hex, Label},
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The same thing for side A and side B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de>"))]
pub struct Sides<T> {
    /// The side nearer the app: lower role, of equal roles the smaller cid.
    #[serde(deserialize_with = "present")]
    pub a: T,
    /// The other side.
    #[serde(deserialize_with = "present")]
    pub b: T,
}

/// Reads a member that is there, also where it may be `null` (A3).
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(member: D) -> Result<T, D::Error> {
    T::deserialize(member)
}

/// Answer of `GET /bindings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bindings {
    /// Height of the block after which it is so.
    pub height: u64,
    /// By id.
    pub bindings: Vec<Recorded>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A binding that the ledger holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ListedBinding)]
pub struct Recorded {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// Id of side A.
    pub a: String,
    /// Id of side B.
    pub b: String,
    /// `B0`, `B1`, `B2` or `B1+B2`.
    pub assurance: String,
    /// `active` or `revoked`.
    pub status: String,
    /// Unix seconds.
    pub created_at: u64,
}

/// A party of a binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Its id.
    #[schema(value_type = ComponentId)]
    pub component_id: String,
    /// How its partner reaches it, for example `can1:0`; at most 96 bytes.
    pub access: String,
}

/// Body of `POST /bindings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// Side A.
    pub a: Party,
    /// Side B.
    pub b: Party,
    /// How the two are to establish each other's identity: `B0`, `B1`, `B2` or `B1+B2`; `B1` when left out.
    #[serde(default = "attested")]
    pub assurance: String,
}

fn attested() -> String {
    "B1".into()
}

/// Answer of `POST /bindings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Begun {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// `requested`.
    pub status: String,
    /// When the ceremony is void, Unix seconds.
    pub expires_at: u64,
    /// `lct::binding::BindRequest` bytes, one addressed to each entity.
    pub requests: Sides<Blob>,
}

/// What an entity that has or had a binding asks before it takes another (`lct::rebind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replaces {
    /// The entity's own, fresh.
    pub nonce: Fixed<16>,
    /// The binding that is to be replaced; zero when the entity cannot read which one it had.
    pub binding_id: Fixed<16>,
}

/// A fresh relationship key and what vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttestedKey {
    /// Relationship key, 68 bytes.
    pub spk: Fixed<68>,
    /// Signature of the device identity key over key, partner and nonce.
    pub attestation: Fixed<64>,
    /// Where this binding takes the place of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
}

/// Body of `POST /bindings/{id}/keys`.
pub type Keys = Sides<AttestedKey>;

/// Answer of `POST /bindings/{id}/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Introduced {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// `introduced`.
    pub status: String,
    /// `lct::binding::Introduction` bytes: `a` is addressed to A and introduces B. Behind them the leave of the
    /// authority (`lct::rebind`) for who asked for it.
    pub introductions: Sides<Blob>,
    /// Device key halves, sealed to each side's fresh key (`lct::key_package`); to be given before the introductions.
    pub packages: Sides<Blob>,
}

/// With whose leave, and by whose word, a binding takes the place of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// What stood behind the introduction of the entity (`lct::rebind`).
    pub leave: Blob,
    /// `lct::validation::Event` bytes of type 74.
    pub statement: Blob,
    /// By the identity key of the entity over the event's digest.
    pub signature: Fixed<64>,
}

/// Body of `POST /bindings/{id}/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BindingComplete)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Signatures of the relationship keys over the binding record's digest.
    pub signatures: Sides<Fixed<64>>,
    /// What an entity that had leave says of the binding before.
    #[serde(default = "nothing")]
    pub replacements: Sides<Option<Replacement>>,
}

impl Complete {
    /// Of a binding that takes no other's place.
    pub fn first(signatures: Sides<Fixed<64>>) -> Self {
        Complete { signatures, replacements: nothing() }
    }
}

fn nothing() -> Sides<Option<Replacement>> {
    Sides { a: None, b: None }
}

/// Answer of `POST /bindings/{id}/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bound {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// `bound`.
    pub status: String,
    /// The transaction that recorded it.
    pub txhash: Hex<32>,
    /// `lct::binding::BindingRecord` bytes.
    pub record: Blob,
    /// `B0`, `B1`, `B2` or `B1+B2`.
    pub assurance: String,
}

/// Body of `POST /bindings/{id}/adopt` (A208): the keys of a binding that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// Side A.
    pub a: Kept,
    /// Side B.
    pub b: Kept,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Adopted {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// `adopted`.
    pub status: String,
}
