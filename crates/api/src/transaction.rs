//! `POST /transactions`, `GET /transactions/{hash}`.

use crate::encoding::{Blob, Hex};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Body of `POST /transactions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// Signed transaction of any kind.
    pub transaction: Blob,
}

/// Query of `POST /transactions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SubmitQuery {
    /// 1: answer only when a block holds the transaction.
    #[param(maximum = 1)]
    #[serde(default)]
    pub wait: u8,
}

/// The transaction waits for a block.
pub const ACCEPTED: &str = "accepted";
/// A block holds it and it took effect.
pub const INCLUDED: &str = "included";
/// A block holds it and the ledger refused it.
pub const REFUSED: &str = "refused";

/// Answer of `POST /transactions` and `GET /transactions/{hash}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// SHA-256 of the transaction's bytes.
    pub txhash: Hex<32>,
    /// [`ACCEPTED`], [`INCLUDED`] or [`REFUSED`].
    pub status: String,
    /// Height of the block that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// Position in that block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// `W4_ERR_*` of a refused one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The refusal in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
