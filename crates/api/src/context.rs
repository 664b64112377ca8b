//! `GET /lct/{id}/contexts`, `POST /lct/scopes`: what is stated in the context of an LCT (A112, A113).

use std::collections::BTreeMap;

use ::lct::context::{Content, Statement};
use ledger::records::registry::{ContextRecord, Performance};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::{Blob, ComponentId, Hex, Label};

/// What a statement says, by its kind (ledger.md, L144).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Said {
    /// How a component was made.
    Manufacturing {
        /// Unix seconds.
        made: u32,
        /// Batch.
        batch: String,
        /// Figures of quality, each in the unit that its name ends with.
        quality: BTreeMap<String, i32>,
    },
    /// Where it serves.
    Deployment {
        /// Where.
        location: String,
        /// In which system.
        system: String,
        /// Under which conditions.
        environment: String,
    },
    /// What an app may do.
    Scope {
        /// Bit 0 read, 1 write, 2 execute.
        operations: u8,
        /// Cids of the packs.
        packs: Vec<Hex<16>>,
        /// Account that energy is settled with.
        account: Hex<33>,
    },
    /// For which modules a pack answers.
    Witness {
        /// Their cids.
        modules: Vec<Hex<16>>,
    },
    /// What a module is rated for.
    Profile {
        /// mV.
        nominal_mv: u32,
        /// mA.
        charge_ma: u32,
        /// mA.
        discharge_ma: u32,
        /// Micro-ohm.
        resistance_uohm: u32,
        /// 0.001 degC.
        lowest_mc: i32,
        /// 0.001 degC.
        highest_mc: i32,
    },
}

impl Said {
    fn of(content: &Content) -> Self {
        match content {
            Content::Manufacturing { made, batch, quality } => Said::Manufacturing {
                made: *made,
                batch: batch.as_str().into(),
                quality: quality.iter().map(|(name, value)| (name.as_str().into(), *value)).collect(),
            },
            Content::Deployment { location, system, environment } => Said::Deployment {
                location: location.as_str().into(),
                system: system.as_str().into(),
                environment: environment.as_str().into(),
            },
            Content::Scope { operations, packs, account } => Said::Scope {
                operations: *operations,
                packs: packs.iter().map(|cid| Hex(cid.0)).collect(),
                account: Hex(account.0),
            },
            Content::Witness { modules } => {
                Said::Witness { modules: modules.iter().map(|cid| Hex(cid.0)).collect() }
            }
            Content::Profile {
                nominal_mv,
                charge_ma,
                discharge_ma,
                resistance_uohm,
                temperature_mc: [lowest_mc, highest_mc],
            } => Said::Profile {
                nominal_mv: *nominal_mv,
                charge_ma: *charge_ma,
                discharge_ma: *discharge_ma,
                resistance_uohm: *resistance_uohm,
                lowest_mc: *lowest_mc,
                highest_mc: *highest_mc,
            },
        }
    }

    /// Word of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Said::Manufacturing { .. } => "manufacturing",
            Said::Deployment { .. } => "deployment",
            Said::Scope { .. } => "scope",
            Said::Witness { .. } => "witness",
            Said::Profile { .. } => "profile",
        }
    }
}

/// A statement as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Context {
    /// What it says.
    #[serde(flatten)]
    pub said: Said,
    /// Number among the statements of its kind about this LCT.
    pub number: u32,
    /// When it was signed, Unix seconds.
    pub time: u64,
    /// Who signed it.
    pub key: Hex<33>,
    /// Block time, Unix seconds.
    pub recorded_at: u64,
    /// The transaction that recorded it; its receipt proves it.
    pub txhash: Hex<32>,
    /// Its bytes.
    pub statement: Blob,
}

impl Context {
    /// A record of the ledger.
    ///
    /// # Errors
    /// [`::lct::Error`] for one that this version does not know.
    pub fn of(kept: &ContextRecord) -> Result<Self, ::lct::Error> {
        let stated = Statement::decode(&kept.statement)?;
        Ok(Context {
            said: Said::of(&stated.content),
            number: stated.number,
            time: stated.time_ms / 1000,
            key: Hex(kept.key.0),
            recorded_at: kept.time_ms / 1000,
            txhash: Hex(kept.tx),
            statement: Blob(kept.statement.clone()),
        })
    }
}

/// What the closed cycles of a pack come to (ledger.md, L147).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worked {
    /// Closed cycles.
    pub cycles: u64,
    /// mWh.
    pub charged_mwh: u64,
    /// mWh.
    pub discharged_mwh: u64,
    /// Discharged of charged, ppm; absent before anything was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efficiency_ppm: Option<u64>,
    /// Discharged of the attested capacity, thousandths.
    pub full_cycles_milli: u64,
}

impl Worked {
    /// The sums of the ledger; what exceeds 64 bits is told as the largest number.
    pub fn of(p: &Performance) -> Self {
        let told = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        let share = |of: u128, one: u128| p.discharged.saturating_mul(one).checked_div(of).map(told);
        Worked {
            cycles: p.cycles,
            charged_mwh: told(p.charged),
            discharged_mwh: told(p.discharged),
            efficiency_ppm: share(p.charged, 1_000_000),
            full_cycles_milli: share(p.minted.into(), 1_000).unwrap_or(0),
        }
    }
}

/// Answer of `GET /lct/{id}/contexts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contexts {
    /// The LCT.
    pub lct_id: Hex<32>,
    /// Height of the last block.
    pub height: u64,
    /// Its time, Unix seconds.
    pub time: u64,
    /// The last statement of each kind.
    pub contexts: Vec<Context>,
    /// Of a pack that closed a cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Worked>,
}

/// Body of `POST /lct/scopes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveScope {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// The app.
    #[schema(value_type = ComponentId)]
    pub component_id: String,
    /// Account that energy is settled with.
    pub account: Hex<33>,
}

/// Answer of `POST /lct/scopes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scoped {
    /// The app's entity LCT.
    pub lct_id: Hex<32>,
    /// Number of the statement in force.
    pub number: u32,
    /// The transaction that recorded it.
    pub txhash: Hex<32>,
}
