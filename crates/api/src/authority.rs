//! `GET /authority`.

use crate::encoding::{Blob, Fixed, Hex};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who issues bindings and pairings here, and on which chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authority {
    /// Public keys of the authority, 68 bytes; devices pin it.
    pub spk: Fixed<68>,
    /// Identity of the chain.
    pub chain_id: Hex<32>,
    /// Canonical bytes of the genesis; hash to the chain id.
    pub genesis: Blob,
}
