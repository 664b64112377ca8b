//! `GET /governance`, `GET /governance/accounts` (A118): what governs a chain, and who may send what to it.

use ::lct::sign::PublicKey;
use ledger::{
    genesis::{Params, Validator, ValidatorSet},
    records,
    tx::{Change, Governance},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{encoding::Hex, genesis::ParamsText};

/// Who decides on blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidatorView {
    /// Ed25519 key.
    pub key: Hex<32>,
    /// Its power, at least 1.
    pub power: u64,
}

impl From<&Validator> for ValidatorView {
    fn from(v: &Validator) -> Self {
        ValidatorView { key: Hex(v.key), power: v.power }
    }
}

impl From<ValidatorView> for Validator {
    fn from(v: ValidatorView) -> Self {
        Validator { key: v.key.0, power: v.power }
    }
}

fn validators(set: &ValidatorSet) -> Vec<ValidatorView> {
    set.0.iter().map(Into::into).collect()
}

/// What is decided and holds from a later height on. What does not belong to its kind is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// `governance/roots`, `governance/params`, `governance/validators` or `governance/rules`.
    pub kind: String,
    /// First block for which it holds.
    pub height: u64,
    /// Root that comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Hex<33>>,
    /// Root that goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Hex<33>>,
    /// All parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<ParamsText>,
    /// Validators to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validators: Option<Vec<ValidatorView>>,
    /// Version of the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u32>,
}

impl Decided {
    /// A change that was decided.
    #[must_use]
    pub fn of(Governance { change, height }: &Governance) -> Self {
        let mut decided = Decided {
            kind: change.kind().name().into(),
            height: *height,
            added: None,
            withdrawn: None,
            params: None,
            validators: None,
            rules: None,
        };
        match change {
            // Recorded at once, so it never waits.
            Change::Account { .. } => {}
            Change::Roots { added, withdrawn, .. } => {
                decided.added = added.map(|key| Hex(key.0));
                decided.withdrawn = withdrawn.map(|key| Hex(key.0));
            }
            Change::Params(params) => decided.params = Some(params.clone().into()),
            Change::Validators(set) => decided.validators = Some(validators(set)),
            Change::Rules(version) => decided.rules = Some(*version),
        }
        decided
    }
}

/// Answer of `GET /governance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Governed {
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its time, Unix seconds.
    pub time: u64,
    /// The chain.
    pub chain_id: Hex<32>,
    /// Version of the rules for the next block.
    pub rules: u32,
    /// Parameters for the next block.
    pub params: ParamsText,
    /// Validators of the next block.
    pub validators: Vec<ValidatorView>,
    /// Manufacturers' roots.
    pub roots: Vec<Hex<33>>,
    /// What is decided and holds later, at most one of each kind.
    pub decided: Vec<Decided>,
}

/// What a ledger holds of its own government at a height.
pub struct InForce {
    /// Parameters.
    pub params: Params,
    /// Validators.
    pub validators: ValidatorSet,
    /// Roots.
    pub roots: Vec<PublicKey>,
    /// Version of the rules.
    pub rules: u32,
    /// What waits.
    pub decided: Vec<Governance>,
}

impl Governed {
    /// What is in force after the block of `height` with this time, Unix milliseconds.
    #[must_use]
    pub fn of(chain_id: Hex<32>, (height, time_ms): (u64, u64), in_force: InForce) -> Self {
        Governed {
            height,
            time: time_ms / 1000,
            chain_id,
            rules: in_force.rules,
            validators: validators(&in_force.validators),
            params: in_force.params.into(),
            roots: in_force.roots.iter().map(|key| Hex(key.0)).collect(),
            decided: in_force.decided.iter().map(Decided::of).collect(),
        }
    }
}

/// An account of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listed {
    /// P-256 public key.
    pub public_key: Hex<33>,
    /// `authority`, `operator`, `manufacturer`, `owner`, `auditor` or `controller`.
    pub role: String,
    /// `active` or `revoked`.
    pub status: String,
    /// First block in which it may send.
    pub from_height: u64,
}

/// Answer of `GET /governance/accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accounts {
    /// Height of the block after which it is so.
    pub height: u64,
    /// Every account that there is or was, by key.
    pub accounts: Vec<Listed>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Accounts {
    /// Accounts of a chain.
    #[must_use]
    pub fn of(height: u64, accounts: &[(PublicKey, records::Account)], next: Option<String>) -> Self {
        let listed = accounts.iter().map(|(key, a)| Listed {
            public_key: Hex(key.0),
            role: a.role.name().into(),
            status: a.status.name().into(),
            from_height: a.from_height,
        });
        Accounts { height, accounts: listed.collect(), next }
    }
}
