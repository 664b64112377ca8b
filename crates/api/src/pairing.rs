//! `POST /pairings`, `POST /pairings/{id}/complete`, `GET /pairings/{id}`.

use crate::{
    binding::Sides,
    encoding::{Base, Blob, ComponentId, Fixed, Hex, Label},
};
use ::lct::metadata::PairingContext;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The context of normal operation.
pub const BATTERY_MANAGEMENT: &str = "battery_management";

/// The context with this name: `battery_management`, `diagnostics`, `firmware_update` or `emergency`.
pub fn context(name: &str) -> Option<PairingContext> {
    use PairingContext::{BatteryManagement, Diagnostics, Emergency, FirmwareUpdate};
    let all = [BatteryManagement, Diagnostics, FirmwareUpdate, Emergency];
    all.into_iter().find(|context| context_name(*context) == name)
}

/// The name of a context.
pub fn context_name(context: PairingContext) -> &'static str {
    match context {
        PairingContext::BatteryManagement => BATTERY_MANAGEMENT,
        PairingContext::Diagnostics => "diagnostics",
        PairingContext::FirmwareUpdate => "firmware_update",
        PairingContext::Emergency => "emergency",
    }
}

/// Days of a lease when the request names none.
pub const DEFAULT_DAYS: u16 = 90;

fn default_days() -> u16 {
    DEFAULT_DAYS
}
fn default_context() -> String {
    BATTERY_MANAGEMENT.into()
}

/// Body of `POST /pairings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// Id of side A.
    #[schema(value_type = ComponentId)]
    pub a: String,
    /// Id of side B.
    #[schema(value_type = ComponentId)]
    pub b: String,
    /// See [`context`].
    #[serde(default = "default_context")]
    pub context: String,
    /// Drawn by the app.
    pub salt: Fixed<32>,
    /// Drawn by the app.
    pub iv_seed: Fixed<16>,
    /// Length of the lease in days, 1 to 90.
    #[serde(default = "default_days")]
    #[schema(minimum = 1, maximum = 90)]
    pub valid_days: u16,
    /// 11-bit bases whose class may stay clear; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Base>, max_items = 16)]
    pub unencrypted_allowed: Vec<u16>,
}

/// Answer of `POST /pairings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Issued {
    /// Which pairing.
    pub pairing_id: Hex<16>,
    /// `lct::certificate` bytes: a section sealed to each entity, one for both together.
    pub certificate: Blob,
    /// End of the lease, Unix seconds.
    pub expires_at: u64,
    /// When the ceremony is void, Unix seconds.
    pub complete_by: u64,
    /// `pending`.
    pub status: String,
}

/// Body of `POST /pairings/{id}/complete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PairingComplete)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// From section V of the certificate.
    pub validation_nonce: Fixed<32>,
    /// Transcript hash of the handshake.
    pub th4: Fixed<32>,
    /// Signatures of the relationship keys over the completion digest.
    pub entity_signatures: Sides<Fixed<64>>,
}

/// Answer of `POST /pairings/{id}/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Completed {
    /// Which pairing.
    pub pairing_id: Hex<16>,
    /// `completed`.
    pub status: String,
    /// The transaction that recorded it.
    pub txhash: Hex<32>,
}

/// Answer of `GET /pairings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pairings {
    /// Height of the block after which it is so.
    pub height: u64,
    /// Those that the ledger holds, by id.
    pub pairings: Vec<Pairing>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Answer of `GET /pairings/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pairing {
    /// Which pairing.
    pub pairing_id: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// The binding it rests on.
    pub binding_id: Hex<16>,
    /// Id of side A.
    pub a: String,
    /// Id of side B.
    pub b: String,
    /// `pending`, `completed`, `expired` or `revoked`.
    pub status: String,
    /// Unix seconds.
    pub created_at: u64,
    /// End of the lease, Unix seconds.
    pub expires_at: u64,
}

impl Pairing {
    /// Whether it was withdrawn: by one of its entities, by the authority, or with its binding.
    pub fn is_revoked(&self) -> bool {
        self.status == "revoked"
    }
}
