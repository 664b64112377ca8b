//! `GET /accounts/{public key}`.

use crate::encoding::Hex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An account that may sign transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// P-256 public key, SEC1 compressed.
    pub public_key: Hex<33>,
    /// `authority` or `operator`.
    pub role: String,
    /// `active` or `revoked`.
    pub status: String,
    /// Nonce of the account's next transaction; counts what waits for a block.
    pub next_nonce: u64,
    /// Height of the last block: what an expiry height is counted from.
    pub height: u64,
}
