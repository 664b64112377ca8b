//! `GET /components/{id}/history`, `GET /components/{id}/config`: what became of a component, whom it lets itself be paired with, and how
//! a pack is set (A115, A116).

use ::lct::{id::Cid, revocation::Reason};
use ledger::{
    config::Parameter,
    records::{
        Setting,
        registry::{Authorization, AuthorizationId, StateChange, VersionRecord},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{encoding::Hex, revocation::reason_name};

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Moved {
    /// From 1.
    pub number: u32,
    /// State before.
    pub from: String,
    /// State afterwards.
    pub to: String,
    /// Why.
    pub reason: String,
    /// `authority`, `owner` or `manufacturer`.
    pub by: String,
    /// Block time, Unix seconds.
    pub recorded_at: u64,
    /// Transaction; its receipt proves it.
    pub txhash: Hex<32>,
}

impl Moved {
    /// Change number `number`.
    ///
    /// # Errors
    /// [`::lct::Error`] for a reason that this version does not know.
    pub fn of(number: u32, c: &StateChange) -> Result<Self, ::lct::Error> {
        Ok(Moved {
            number,
            from: c.from.name().into(),
            to: c.to.name().into(),
            reason: reason_name(Reason::from_code(c.reason)?).into(),
            by: c.by.name().into(),
            recorded_at: c.time_ms / 1000,
            txhash: Hex(c.tx),
        })
    }
}

/// What a component said that it is built of and runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Versioned {
    /// From 1.
    pub number: u32,
    /// Hardware version.
    pub hardware: u32,
    /// Firmware version.
    pub firmware: u32,
    /// SHA-256 of the firmware's image.
    pub image: Hex<32>,
    /// Whether the manufacturer or an authority vouched for it.
    pub vouched: bool,
    /// Block time, Unix seconds.
    pub recorded_at: u64,
    /// Transaction; its receipt proves it.
    pub txhash: Hex<32>,
}

impl Versioned {
    /// Version number `number`.
    pub fn of(number: u32, v: &VersionRecord) -> Self {
        Versioned {
            number,
            hardware: v.hw,
            firmware: v.fw,
            image: Hex(v.image),
            vouched: v.vouched,
            recorded_at: v.time_ms / 1000,
            txhash: Hex(v.tx),
        }
    }
}

/// Somebody with whom a component lets itself be paired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authorized {
    /// The authorisation.
    pub authorization_id: Hex<16>,
    /// Cid of the other.
    pub partner: Hex<16>,
    /// For what.
    pub context: String,
    /// `basic`, `enhanced` or `critical`.
    pub level: String,
    /// Conditions of its rule.
    pub conditions: u64,
    /// Unix seconds of block time.
    pub expires_at: u64,
}

impl Authorized {
    /// An authorisation of the ledger.
    pub fn of(id: &AuthorizationId, a: &Authorization) -> Self {
        Authorized {
            authorization_id: Hex(id.0),
            partner: Hex(a.b.0),
            context: a.context.clone(),
            level: a.level.name().into(),
            conditions: a.rule.0.len() as u64,
            expires_at: a.expires_ms / 1000,
        }
    }
}

/// Answer of `GET /components/{id}/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its state.
    pub status: String,
    /// Every change of it, oldest first.
    pub states: Vec<Moved>,
    /// Every version, oldest first.
    pub versions: Vec<Versioned>,
    /// The authorisations that it gives and that are in force.
    pub authorizations: Vec<Authorized>,
}

/// A parameter of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Set {
    /// Number.
    pub parameter: u8,
    /// Its name, unit last; absent of one that is only reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Value in force on the ledger.
    pub value: i32,
    /// Its version.
    pub version: u32,
    /// `to_chain` or `from_chain`.
    pub direction: String,
    /// Value that the pack had when it was last reported, before that the value in force.
    pub local: i32,
    /// Version that the report was about; 0 before the first one.
    pub local_version: u32,
    /// Whether pack and ledger disagree.
    pub conflict: bool,
    /// How often they did.
    pub conflicts: u32,
    /// Block time, Unix seconds.
    pub recorded_at: u64,
    /// Transaction; its receipt proves it.
    pub txhash: Hex<32>,
}

impl Set {
    /// The setting of a parameter.
    pub fn of(parameter: u8, s: &Setting) -> Self {
        Set {
            parameter,
            name: Parameter::settable(parameter).map(|p| p.name.into()),
            value: s.value,
            version: s.version,
            direction: s.direction.name().into(),
            local: s.local,
            local_version: s.local_version,
            conflict: s.conflict,
            conflicts: s.conflicts,
            recorded_at: s.time_ms / 1000,
            txhash: Hex(s.tx),
        }
    }
}

/// Answer of `GET /components/{id}/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// The pack's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// What is set or was reported, by number.
    pub settings: Vec<Set>,
}

impl Settings {
    /// The settings of a pack.
    pub fn of(component_id: String, cid: &Cid, height: u64, settings: &[(u8, Setting)]) -> Self {
        let settings = settings.iter().map(|(parameter, s)| Set::of(*parameter, s)).collect();
        Settings { component_id, cid: Hex(cid.0), height, settings }
    }
}

/// Answer of `GET /components/{id}/authorizations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authorizations {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// What it gives and is in force, oldest first; at most 100.
    pub authorizations: Vec<Authorized>,
}

/// Answer of `GET /authorizations/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// Id of who lets.
    pub a: String,
    /// Id of whom.
    pub b: String,
    /// For what.
    pub context: String,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Whether a lets itself be paired with b.
    pub authorized: bool,
    /// The authorisation that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorized>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
