//! `GET /components/{id}/trust` (A111): how far a component and its relations are to be relied on, and why.

use ::lct::{
    id::{BindingId, Cid},
    trust::TrustContext,
};
use ledger::{
    standing::Standing,
    trust::{Ppm, Weights},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::Hex;

/// One change of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// `baseline`, `metrics`, `claim`, or an outcome.
    pub cause: String,
    /// `self`, `counterparty`, `witness` or `ledger`.
    pub voucher: String,
    /// Cid of the component that said it; zero where none did.
    pub by: Hex<16>,
    /// Talent afterwards, ppm.
    pub talent: u32,
    /// Training afterwards, ppm.
    pub training: u32,
    /// Temperament afterwards, ppm.
    pub temperament: u32,
    /// Block time, Unix seconds.
    pub time: u64,
    /// Transaction; its receipt proves what was said.
    pub txhash: Hex<32>,
}

impl Change {
    /// A recorded change.
    #[must_use]
    pub fn of(c: &ledger::records::Change) -> Self {
        let [talent, training, temperament] = c.t3.dimensions().map(Ppm::get);
        Change {
            cause: c.cause.name().into(),
            voucher: c.voucher.name().into(),
            by: Hex(c.by.0),
            talent,
            training,
            temperament,
            time: c.time_ms / 1000,
            txhash: Hex(c.tx),
        }
    }
}

/// Most changes of one answer of `GET /components/{id}/trust/history`.
pub const HISTORY_MAX: usize = 256;

/// A change of a tensor in its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Past {
    /// Its number, from 1.
    pub number: u64,
    /// Height of its block; absent where the ledger does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// `kept`: the tensor as it was after that block is proved by `GET /components/{id}/trust/history/{number}`; `pending`: it will
    /// be with the next block; `pruned`: what proved it is not kept.
    pub proof: String,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
}

/// Answer of `GET /components/{id}/trust/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TrustHistory)]
pub struct History {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// `operation`, `energy`, `critical_safety` or `diagnostic`.
    pub context: String,
    /// Of a relation its binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Hex<16>>,
    /// Changes there were.
    pub count: u64,
    /// Number of the first that is kept; those before it were made before this ledger began to keep them.
    pub first: u64,
    /// At most [`HISTORY_MAX`] of them, by number.
    pub changes: Vec<Past>,
    /// The last one told where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What is known of a subject in a context, at the time of the answer. Shares are in ppm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct View {
    /// `operation`, `energy`, `critical_safety` or `diagnostic`.
    pub context: String,
    /// Composite of T3, at most the ceiling.
    pub score: u32,
    /// Most that is told of the subject.
    pub ceiling: u32,
    /// `low`, `standard` or `high`.
    pub level: String,
    /// Share of the rated value that is left to it.
    pub limit: u32,
    /// Talent.
    pub talent: u32,
    /// Training.
    pub training: u32,
    /// Temperament.
    pub temperament: u32,
    /// Valuation; may exceed one.
    pub valuation: u64,
    /// Veracity.
    pub veracity: u32,
    /// Validity.
    pub validity: u32,
    /// Composite of V3.
    pub value: u32,
    /// Whether the score suffices for a basic pairing.
    pub pairing_basic: bool,
    /// For an enhanced one.
    pub pairing_enhanced: bool,
    /// For a critical one.
    pub pairing_critical: bool,
    /// For a transfer of energy.
    pub energy: bool,
    /// Observations by others.
    pub observations: u64,
    /// Changes so far.
    pub count: u64,
    /// The last of them, oldest first.
    pub changes: Vec<Change>,
}

impl View {
    /// A standing in words and numbers.
    pub fn of(standing: &Standing, context: TrustContext, weights: &Weights) -> Self {
        let [talent, training, temperament] = standing.t3.dimensions().map(Ppm::get);
        let [pairing_basic, pairing_enhanced, pairing_critical, energy] = standing.gates(context, weights);
        let changes = standing.tensor.changes.0.iter().map(Change::of);
        View {
            context: context.name().into(),
            score: standing.score.get(),
            ceiling: standing.ceiling.get(),
            level: standing.level.name().into(),
            limit: standing.limit.get(),
            talent,
            training,
            temperament,
            valuation: standing.v3.valuation,
            veracity: standing.v3.veracity.get(),
            validity: standing.v3.validity.get(),
            value: standing.v3.composite(weights).get(),
            pairing_basic,
            pairing_enhanced,
            pairing_critical,
            energy,
            observations: standing.tensor.observations,
            count: standing.tensor.count,
            changes: changes.collect(),
        }
    }
}

/// The relation of a component to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relation {
    /// The binding.
    pub binding_id: Hex<16>,
    /// Cid of the other side.
    pub peer: Hex<16>,
    /// What is known of it.
    #[serde(flatten)]
    pub trust: View,
}

/// Answer of `GET /components/{id}/trust`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trust {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block at whose time it is computed.
    pub height: u64,
    /// That time, Unix seconds.
    pub time: u64,
    /// One per context in which it was ever judged.
    pub contexts: Vec<View>,
    /// One per relation that was ever paired.
    pub relations: Vec<Relation>,
}

impl Trust {
    /// What is known of a component, gathered by `contexts` and `relations`.
    pub fn of(
        (component_id, cid): (String, &Cid),
        (height, time_ms): (u64, u64),
        weights: &Weights,
        contexts: &[(TrustContext, Standing)],
        relations: &[(BindingId, Cid, Standing)],
    ) -> Self {
        let relation = |(id, peer, standing): &(BindingId, Cid, Standing)| Relation {
            binding_id: Hex(id.0),
            peer: Hex(peer.0),
            trust: View::of(standing, TrustContext::Operation, weights),
        };
        Trust {
            component_id,
            cid: Hex(cid.0),
            height,
            time: time_ms / 1000,
            contexts: contexts.iter().map(|(context, s)| View::of(s, *context, weights)).collect(),
            relations: relations.iter().map(relation).collect(),
        }
    }
}
