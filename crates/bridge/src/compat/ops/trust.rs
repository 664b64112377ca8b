//! Trust. The ledger computes it from what devices stated and others observed; nobody sets a score. So a tensor is looked
//! up, `create` finds it, and a call that would set a score is refused.

use ::lct::id::{BindingId, Cid};
use api::problem::code;
use ledger::standing::Standing;
use node::Snapshot;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Ctx,
        ids::{id, parse},
    },
    known, ratio, required,
};
use crate::refusal::{Refusal, Reply};

/// `CreateTrustTensor`, `CalculateRelationshipTrust`, `GetRelationshipTensor` by components.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RelationshipTrustRequest {
    /// Who asks.
    pub creator: String,
    /// One component.
    pub component_a: String,
    /// The other; the two were paired.
    pub component_b: String,
    /// What for; echoed.
    pub operational_context: String,
    /// The same, as some clients call it.
    pub context: String,
    /// Must be left out, or what the score is: nobody sets it.
    pub initial_score: Option<f64>,
}

/// `GetTrustTensor`, `GetRelationshipTensor`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GetTrustTensorRequest {
    /// Of a relationship.
    pub tensor_id: String,
}

/// `UpdateTrustScore`, `UpdateTensorScore`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateTrustScoreRequest {
    /// Who asks.
    pub creator: String,
    /// Which; or the two components.
    pub tensor_id: String,
    /// One component.
    pub component_a: String,
    /// The other.
    pub component_b: String,
    /// What it would be set to.
    pub score: f64,
    /// What for.
    pub context: String,
    /// The same, as some clients call it.
    pub operational_context: String,
}

/// How far a relationship is to be relied on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TrustResponse {
    /// Of the relationship.
    pub tensor_id: String,
    /// One component.
    pub component_a: String,
    /// The other.
    pub component_b: String,
    /// What was asked for.
    pub operational_context: String,
    /// From 0 to 1.
    pub trust_score: f64,
    /// The dimensions of T3.
    pub talent: f64,
    /// Likewise.
    pub training: f64,
    /// Likewise.
    pub temperament: f64,
    /// `active`, or `calculated` where it was computed.
    pub status: String,
    /// `low`, `medium`, `high`: what limits follow from.
    pub state: String,
    /// Observations so far.
    pub evidence_count: i64,
    /// When it was computed: it decays.
    pub calculated_at: i64,
    /// When something changed it last, or it began.
    pub last_updated: i64,
    /// When its first kept change was.
    pub created_at: i64,
    /// Transaction that changed it last; empty before the first.
    pub txhash: String,
}

fn missing() -> Refusal {
    let refusal =
        Refusal::new(404, code::TRUST_NOT_FOUND, "nothing is known of how far the two rely on each other");
    refusal.detail("a relationship has a score once its two components were paired")
}

fn view(
    snapshot: &Snapshot<'_>,
    binding: &BindingId,
    [a, b]: [&Cid; 2],
    s: &Standing,
    (context, word): (&str, &str),
) -> Reply<TrustResponse> {
    let name = |cid| crate::authority::component_id(snapshot, cid);
    let [talent, training, temperament] = s.t3.dimensions().map(|d| ratio(d.get()));
    let now = (snapshot.tip().time_ms / 1000).cast_signed();
    let at = |c: &ledger::records::Change| (c.time_ms / 1000).cast_signed();
    let changes = &s.tensor.changes.0;
    let last = changes.last();
    Ok(TrustResponse {
        tensor_id: id("tensor", &binding.0),
        component_a: name(a)?,
        component_b: name(b)?,
        operational_context: context.into(),
        trust_score: ratio(s.score.get()),
        talent,
        training,
        temperament,
        status: word.into(),
        state: s.level.name().into(),
        evidence_count: s.tensor.observations.cast_signed(),
        calculated_at: now,
        last_updated: last.map_or(now, at),
        created_at: changes.first().map_or(now, at),
        txhash: last.map(|c| hex::encode(c.tx)).unwrap_or_default(),
    })
}

async fn of_pair(ctx: &Ctx, rq: RelationshipTrustRequest, word: &'static str) -> Reply<TrustResponse> {
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let a = known(&snapshot, "component_a", &rq.component_a)?;
        let b = known(&snapshot, "component_b", &rq.component_b)?;
        let standings = snapshot.relation_standings(&a)?;
        let found = standings.iter().rev().find(|(_, peer, _)| *peer == b);
        let (binding, _, standing) = found.ok_or_else(missing)?;
        let context = if rq.operational_context.is_empty() { &rq.context } else { &rq.operational_context };
        let view = view(&snapshot, binding, [&a, &b], standing, (context, word))?;
        match rq.initial_score {
            Some(wanted) if (wanted - view.trust_score).abs() > 1e-6 => Err(denied()
                .detail(format!("initial_score: the ledger computes {:.6}; leave it out", view.trust_score))),
            _ => Ok(view),
        }
    };
    ctx.app.blocking(read).await
}

pub(super) fn denied() -> Refusal {
    Refusal::new(403, code::TRUST_DERIVED, "trust follows from what the ledger recorded; nobody sets it")
}

/// Finds the tensor of two components that were paired.
pub(crate) async fn create(ctx: Ctx, rq: RelationshipTrustRequest) -> Reply<TrustResponse> {
    crate::extract::label("creator", required("creator", &rq.creator)?)?;
    of_pair(&ctx, rq, "active").await
}

/// Computes how far two components that were paired rely on each other.
pub(crate) async fn calculate(ctx: Ctx, rq: RelationshipTrustRequest) -> Reply<TrustResponse> {
    of_pair(&ctx, rq, "calculated").await
}

/// The same.
pub(crate) async fn relationship(ctx: Ctx, rq: RelationshipTrustRequest) -> Reply<TrustResponse> {
    of_pair(&ctx, rq, "active").await
}

/// The tensor of a relationship.
pub(crate) async fn get(ctx: Ctx, rq: GetTrustTensorRequest) -> Reply<TrustResponse> {
    let binding: [u8; 16] = parse("tensor_id", "tensor", required("tensor_id", &rq.tensor_id)?)?;
    let read = move |chain: &node::Chain| {
        let snapshot = chain.read()?;
        let sides = snapshot.binding(&BindingId(binding))?.ok_or_else(missing)?;
        let standings = snapshot.relation_standings(&sides.a)?;
        let found = standings.iter().find(|(id, ..)| id.0 == binding);
        let (of, _, standing) = found.ok_or_else(missing)?;
        view(&snapshot, of, [&sides.a, &sides.b], standing, ("", "active"))
    };
    ctx.app.blocking(read).await
}

/// Refused: a score follows from evidence.
pub(crate) async fn update(_: Ctx, _: UpdateTrustScoreRequest) -> Reply<TrustResponse> {
    Err(denied().detail(
        "what changes it: reports that devices sign, and events that others witness (POST /transactions)",
    ))
}
