//! `GET /components/{id}/trust` (A111), and every change that led there (A163, A164).

use api::{
    encoding::{ComponentId, Hex},
    problem::code,
    receipt::MEDIA_TYPE,
    trust::{Change, HISTORY_MAX, History, Past, Trust},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
};
use lct::{id::BindingId, trust::TrustContext};
use ledger::records::TrustSubject;
use node::{
    Snapshot, Span,
    snapshot::{ChangeRow, Proof},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{App, component::cid_of, id};
use crate::{
    authority::component_id,
    extract::{Options, Segments, When},
    memo::Lasting,
    refusal::{Refusal, Reply},
};

/// How far a component and its relations are to be relied on (A111).
#[utoipa::path(
    get,
    path = "/components/{id}/trust",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Trust), (status = 404), (status = 410))
)]
pub(crate) async fn trust(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Trust>>> {
    app.told(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &id)?;
        let tip = snapshot.tip();
        Ok(Json(Trust::of(
            (component_id(snapshot, &cid)?, &cid),
            (tip.height, tip.time_ms),
            &snapshot.params()?.trust,
            &snapshot.standings(&cid)?,
            &snapshot.relation_standings(&cid)?,
        )))
    })
    .await
}

/// Which tensor of a component.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Which {
    /// `operation`, `energy`, `critical_safety` or `diagnostic`; `operation` where it is left out.
    #[param(pattern = "^(operation|energy|critical_safety|diagnostic)$")]
    context: Option<String>,
    /// Of a relation its binding.
    #[param(value_type = Option<Hex<16>>)]
    relation: Option<String>,
}

impl Which {
    fn read(&self) -> Reply<(TrustContext, Option<BindingId>)> {
        let name = self.context.as_deref().unwrap_or(TrustContext::Operation.name());
        let context = TrustContext::ALL.into_iter().find(|context| context.name() == name);
        let wrong = || Refusal::format("context: operation, energy, critical_safety or diagnostic");
        let relation = self.relation.as_deref().map(|text| id("relation", text)).transpose()?;
        let relation = relation.map(|Hex(binding)| BindingId(binding));
        Ok((context.ok_or_else(wrong)?, relation))
    }
}

fn subject(snapshot: &Snapshot<'_>, id: &str, relation: Option<BindingId>) -> Reply<TrustSubject> {
    let cid = cid_of(snapshot, id)?;
    let Some(binding) = relation else { return Ok(TrustSubject::Component(cid)) };
    match snapshot.binding(&binding)? {
        Some(b) if b.a == cid || b.b == cid => Ok(TrustSubject::Relation(binding)),
        _ => Err(Refusal::new(404, code::BINDING_NOT_FOUND, "the component has no such binding")),
    }
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(404, code::TRUST_NOT_FOUND, what)
}

/// Which changes of which tensor, and after which block.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// `operation`, `energy`, `critical_safety` or `diagnostic`; `operation` where it is left out.
    #[param(pattern = "^(operation|energy|critical_safety|diagnostic)$")]
    context: Option<String>,
    /// Of a relation its binding.
    #[param(value_type = Option<Hex<16>>)]
    relation: Option<String>,
    /// Those after this one; from the first where it is left out.
    after: Option<u64>,
    /// Height of the block; the last one where it is left out.
    height: Option<u64>,
}

/// Every change of a tensor from the first one on, with what made it (A163).
#[utoipa::path(
    get,
    path = "/components/{id}/trust/history",
    params(("id" = ComponentId, Path), Asked),
    responses((status = 200, body = History), (status = 404), (status = 410))
)]
pub(crate) async fn history(
    State(app): App,
    Segments(id): Segments<String>,
    Options(asked): Options<Asked>,
) -> Reply<Lasting<Json<History>>> {
    let Asked { context, relation, after, height } = asked;
    let (context, relation) = Which { context, relation }.read()?;
    app.told(height, move |snapshot| {
        let subject = subject(snapshot, &id, relation)?;
        let cid = cid_of(snapshot, &id)?;
        let found = snapshot.changes_of(&subject, context, &Span::of(after, HISTORY_MAX + 1))?;
        let found = found.ok_or_else(|| unknown("nothing is known of it in this context"))?;
        let told = found.changes.iter().take(HISTORY_MAX);
        let changes: Vec<Past> = told.map(past).collect();
        let next = changes.last().map(|change| change.number).filter(|_| found.changes.len() > HISTORY_MAX);
        Ok(Json(History {
            component_id: component_id(snapshot, &cid)?,
            cid: Hex(cid.0),
            height: snapshot.tip().height,
            context: context.name().into(),
            relation: relation.map(|binding| Hex(binding.0)),
            count: found.count,
            first: found.first,
            changes,
            next,
        }))
    })
    .await
}

fn past(row: &ChangeRow) -> Past {
    let proof = match row.proof {
        Proof::Kept => "kept",
        Proof::Pending => "pending",
        Proof::Pruned => "pruned",
    };
    Past {
        number: row.number,
        height: (row.height > 0).then_some(row.height),
        proof: proof.into(),
        change: Change::of(&row.change),
    }
}

/// What proves a change: an excerpt of the tensor as it was after the change's block (A164).
#[utoipa::path(
    get,
    path = "/components/{id}/trust/history/{number}",
    params(("id" = ComponentId, Path), ("number" = u64, Path), Which),
    responses((status = 200, body = [u8], content_type = "application/octet-stream"), (status = 404), (status = 410))
)]
pub(crate) async fn proof(
    State(app): App,
    Segments((id, number)): Segments<(String, u64)>,
    Options(which): Options<Which>,
) -> Reply<([(HeaderName, &'static str); 1], Vec<u8>)> {
    let (context, relation) = which.read()?;
    app.state(None, move |snapshot| {
        let subject = subject(snapshot, &id, relation)?;
        let excerpt = snapshot.change_excerpt(&subject, context, number)?;
        let excerpt = excerpt.ok_or_else(|| unknown("no change of this number is kept"))?;
        Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], excerpt.to_file()))
    })
    .await
}
