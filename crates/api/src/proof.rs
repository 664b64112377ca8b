//! `GET /state/{key}` (A126): what the state holds under a key, or that it holds nothing, with the proof (`spec/ledger.md`, L62,
//! L63, L166).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::{Blob, Hex};

/// Longest key, bytes (L63).
pub const KEY_MAX: usize = 128;

/// Answer of `GET /state/{key}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proved {
    /// The key, hexadecimal.
    pub key: String,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Root of the state then, which the header of the next height states and a checkpoint of this height.
    pub state_root: Hex<32>,
    /// Whether there is something under the key.
    pub present: bool,
    /// What there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Blob>,
    /// The state proof (L63), or the absence proof (L166).
    pub proof: Blob,
}
