//! `POST /api/binding/generate-keys` (A91): keys for a binding, from an entity that speaks HTTP. A route of entities, not of
//! the bridge.

use crate::{
    binding::Replaces,
    encoding::{Blob, Fixed, Hex},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Path of the route.
pub const GENERATE_KEYS: &str = "/api/binding/generate-keys";

/// Its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateKeys {
    /// Who is to draw a key: the entity itself, or a device that it reaches over CAN.
    pub component_id: String,
    /// The bind request (`spec/channel.md`, H46): access data of the partner, a fresh nonce, the signature of the authority.
    pub request: Blob,
}

/// Path of the route by which a message of type 1C reaches a device (A96).
pub const CARRY: &str = "/api/delegation/carry";

/// Its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Carry {
    /// Who is to be given it: the entity itself, or a device that it reaches over CAN.
    pub component_id: String,
    /// The message with its type: a delegation, what a delegate ends, a succession (`spec/channel.md`, H161, H164, H166).
    pub message: Blob,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// What the device answered, with its type.
    pub answer: Blob,
    /// The device's status in that (`spec/can.md`, C34): `accepted`, `not_authentic`, `wrong_party`, `wrong_state` or `malformed`.
    pub status: String,
}

/// Answer of [`GENERATE_KEYS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratedKeys {
    /// Of the request.
    pub binding_id: Hex<16>,
    /// A fresh key for this relationship.
    pub semi_public_key: Fixed<68>,
    /// Signature of the device's identity key over that key, the partner and the nonce (H47).
    pub attestation: Fixed<64>,
    /// What it asks before it takes this binding in the place of another one (H147).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
}
