//! `POST /lct/create`, `GET /lct/{id}`.

use crate::{
    binding::Sides,
    encoding::{Blob, ComponentId, Hex, Label},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of `POST /lct/create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// Id of one component.
    #[schema(value_type = ComponentId)]
    pub component_a: String,
    /// Id of the other component.
    #[schema(value_type = ComponentId)]
    pub component_b: String,
    /// What the relationship is for: 1 to 64 characters of `[A-Za-z0-9_.-]`.
    #[serde(default = "default_context")]
    pub context: String,
    /// Label of a proxy; echoed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proxy_id: String,
}

fn default_context() -> String {
    crate::pairing::BATTERY_MANAGEMENT.into()
}

/// A key half that only its addressee can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealedHalf {
    /// Relationship key that it is sealed to.
    pub to: Hex<8>,
    /// `nonce 16 || enc 65 || ciphertext 64 || tag 16`: HPKE base mode to the key, empty AAD, info of
    /// [`half_info`].
    pub sealed: Blob,
}

/// Length of a key half in bytes.
pub const HALF_LEN: usize = 64;

/// The HPKE info of a sealed half: `"modbatt1 api" || u8 length || lct id || cid || nonce 16`, the LCT id as
/// its 64 hexadecimal digits.
pub fn half_info(lct_id: &Hex<32>, cid: &::lct::id::Cid, nonce: &[u8; 16]) -> Vec<u8> {
    let id = lct_id.to_string();
    let mut info = b"modbatt1 api".to_vec();
    info.push(id.len() as u8);
    info.extend_from_slice(id.as_bytes());
    info.extend_from_slice(&cid.0);
    info.extend_from_slice(nonce);
    info
}

/// Answer of `POST /lct/create`. The halves are handed out once and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// Identity of the relationship LCT.
    pub lct_id: Hex<32>,
    /// Echo.
    pub component_a: String,
    /// Echo.
    pub component_b: String,
    /// Echo.
    pub context: String,
    /// Echo.
    pub proxy_id: String,
    /// `active`.
    pub status: String,
    /// Unix seconds.
    pub created_at: u64,
    /// Echo.
    pub creator: String,
    /// The transaction that created it.
    pub txhash: Hex<32>,
    /// Halves of the LCT key: `a` for component A, `b` for component B.
    pub lct_key_half: Sides<SealedHalf>,
    /// Halves of the device key.
    pub device_key_half: Sides<SealedHalf>,
}

/// Answer of `GET /lct/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lct {
    /// Identity.
    pub lct_id: Hex<32>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// `entity` or `relationship`.
    pub kind: String,
    /// Id of the first component.
    pub component_a_id: String,
    /// Id of the second component; the first again for an entity LCT.
    pub component_b_id: String,
    /// `active` or `terminated`.
    pub pairing_status: String,
    /// Unix seconds.
    pub created_at: u64,
    /// What it is for; empty for an entity LCT.
    pub operational_context: String,
}
