//! `GET /mrh/{lct}` (A122): the graph around a component, hop by hop (`spec/ledger.md`, L148 to L150).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{encoding::Hex, trust::View};

/// A component that is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relationship {
    /// By which link it was reached: `bound`, `paired` or `witnessing`.
    #[serde(rename = "type")]
    pub link: String,
    /// Its entity LCT.
    pub related_lct: Hex<32>,
    /// Its id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// `app`, `pack`, `module`, `sensor` or `actuator`.
    pub role: String,
    /// Hops to it, at least 1.
    pub hops: u8,
    /// What it counts for at this distance, ppm.
    pub weight_ppm: u32,
    /// Entity LCT of the component one hop nearer.
    pub via: Hex<32>,
    /// How far it is to be relied on for operation, where tensors are asked for and something is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensor: Option<View>,
}

/// Answer of `GET /mrh/{lct}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Graph {
    /// The LCT in the middle.
    pub entity_lct: Hex<32>,
    /// Id of its component.
    pub component_id: String,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its time, Unix seconds.
    pub time: u64,
    /// How deep it was looked.
    pub depth: u8,
    /// Whether there was more within that depth than is told.
    pub cut: bool,
    /// Whom it sees, nearest first, without itself.
    pub relationships: Vec<Relationship>,
}
