//! `GET /authority`.

use crate::encoding::{Blob, Fixed, Hex};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who issues bindings and pairings here, and on which chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authority {
    /// Public keys of the authority, 68 bytes; devices obey it.
    pub spk: Fixed<68>,
    /// How it came after the authority that the devices were made for, the oldest first; a device that obeys an earlier one
    /// takes them in this order.
    pub successions: Vec<Fixed<209>>,
    /// Identity of the chain.
    pub chain_id: Hex<32>,
    /// Canonical bytes of the genesis; hash to the chain id.
    pub genesis: Blob,
}
