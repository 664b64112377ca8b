//! Signs of life of gateways: `POST /gateways/{id}`, and what `GET /health/detailed` tells of them (A129).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a gateway knows of its bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// Something was heard on it within the last seconds.
    Up,
    /// Nothing is heard on it.
    Silent,
}

/// Body of `POST /gateways/{id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Its bus.
    pub bus: Bus,
}

/// What is known of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Heard {
    /// Component id of its app.
    pub id: String,
    /// Its bus, as it said; left out where it was never heard since the bridge began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<Bus>,
    /// Seconds since it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// Answer of `POST /gateways/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reported {
    /// Seconds within which the next report is due.
    pub within: u64,
}
