//! `GET /health`, `GET /blockchain/status`, `GET /ledger/status`.

use crate::{encoding::Hex, gateway::Heard};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Name of the service in answers.
pub const SERVICE: &str = "api-bridge";

/// Answer of `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `healthy`.
    pub status: String,
    /// Unix seconds.
    pub timestamp: u64,
    /// [`SERVICE`].
    pub service: String,
}

/// Figures of the ledger. Energies in mWh; the largest value stands for anything above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerStatus {
    /// Height of the last block.
    pub height: u64,
    /// Blocks after genesis.
    pub blocks: u64,
    /// Accepted transactions.
    pub transactions: u64,
    /// Telemetry records covered by batches.
    pub records: u64,
    /// Telemetry batches.
    pub batches: u64,
    /// Sum of discharge events, mWh.
    pub energy_discharged_mwh: u64,
    /// Sum of charge events, mWh.
    pub energy_charged_mwh: u64,
    /// Registered components.
    pub components: u64,
    /// Root of the state after the last block.
    pub state_root: Hex<32>,
    /// Identity of the chain.
    pub chain_id: Hex<32>,
}

/// Inner object of `GET /blockchain/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainStatus {
    /// Whether the ledger answers.
    pub connected: bool,
    /// Why it does not, if so.
    pub errors: Vec<String>,
    /// `embedded`: the ledger runs in this process.
    pub mode: String,
    /// The figures, as far as the ledger answers.
    #[serde(flatten)]
    pub ledger: Option<LedgerStatus>,
}

/// Answer of `GET /blockchain/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockchainStatus {
    /// What is known of the ledger.
    pub blockchain_status: ChainStatus,
    /// Unix seconds.
    pub timestamp: u64,
    /// [`SERVICE`].
    pub service: String,
}

/// One thing that a bridge needs to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// `ledger`, `bus` or `disk`.
    pub name: String,
    /// Whether it is there.
    pub ok: bool,
    /// Of the bus that is there: `up`, or `not configured` where no gateway is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Answer of `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether every check holds.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// Answer of `GET /health/detailed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Detailed {
    /// `healthy` or `degraded`.
    pub status: String,
    /// Unix seconds.
    pub timestamp: u64,
    /// [`SERVICE`].
    pub service: String,
    /// Of the program.
    pub version: String,
    /// Seconds since the bridge was opened.
    pub uptime: u64,
    /// The checks of `GET /ready`.
    pub checks: Vec<Check>,
    /// The ledger's figures, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerStatus>,
    /// Gateways that are expected or were heard.
    pub gateways: Vec<Heard>,
    /// Room on the disk of the ledger, in MiB; left out where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_mib: Option<u64>,
}
