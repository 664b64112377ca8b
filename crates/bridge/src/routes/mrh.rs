//! `GET /mrh/{lct}` (A122): the graph around a component.

use api::{
    encoding::Hex,
    mrh::{Graph, Relationship},
    problem::code,
    trust::View,
};
use axum::{Json, extract::State};
use lct::{id::Cid, trust::TrustContext};
use ledger::mrh::{DEFAULT_DEPTH, MAX_DEPTH};
use node::Snapshot;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{App, id};
use crate::{
    extract::{Options, Segments},
    memo::Lasting,
    refusal::{Refusal, Reply},
};

/// How deep it is looked, what is told of each, and after which block.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    /// Hops, 1 to 10; 3 where it is left out.
    #[param(minimum = 1, maximum = 10)]
    depth: Option<u8>,
    /// Whether it is told how far each is to be relied on.
    #[serde(default)]
    include_tensors: bool,
    /// Height of the block; the last one where it is left out.
    height: Option<u64>,
}

/// Whom a component sees, hop by hop (A122).
#[utoipa::path(
    get,
    path = "/mrh/{lct}",
    params(("lct" = Hex<32>, Path), Look),
    responses((status = 200, body = Graph), (status = 404), (status = 410))
)]
pub(crate) async fn graph(
    State(app): App,
    Segments(lct): Segments<String>,
    Options(look): Options<Look>,
) -> Reply<Lasting<Json<Graph>>> {
    let lct: Hex<32> = id("lct id", &lct)?;
    let depth = look.depth.unwrap_or(DEFAULT_DEPTH);
    if !(1..=MAX_DEPTH).contains(&depth) {
        return Err(Refusal::format(format!("depth: 1 to {MAX_DEPTH}")));
    }
    app.told(look.height, move |snapshot| around(snapshot, lct, depth, look.include_tensors).map(Json)).await
}

fn around(snapshot: &Snapshot<'_>, lct: Hex<32>, depth: u8, tensors: bool) -> Reply<Graph> {
    let found = snapshot.lct(&lct.0)?.filter(|found| found.a == found.b);
    let middle =
        found.ok_or_else(|| Refusal::new(404, code::LCT_NOT_FOUND, "there is no such LCT of a component"))?;
    let component = |cid: &Cid| -> Reply<_> {
        let found = snapshot.component(cid)?;
        found.ok_or_else(|| Refusal::internal(&"a component vanished from a snapshot"))
    };
    let weights = snapshot.params()?.trust;
    let horizon = snapshot.horizon(&middle.a, depth)?;
    let mut relationships = Vec::new();
    for reached in &horizon.reached {
        let Some((via, link)) = reached.via else { continue };
        let seen = component(&reached.cid)?;
        let known = if tensors { snapshot.standings(&reached.cid)? } else { Vec::new() };
        let operation = known.iter().find(|(context, _)| *context == TrustContext::Operation);
        relationships.push(Relationship {
            link: link.name().into(),
            related_lct: Hex(seen.lct),
            component_id: seen.component_id,
            cid: Hex(reached.cid.0),
            role: seen.role.name().into(),
            hops: reached.hops,
            weight_ppm: reached.weight_ppm,
            via: Hex(component(&via)?.lct),
            tensor: operation.map(|(context, standing)| View::of(standing, *context, &weights)),
        });
    }
    let tip = snapshot.tip();
    Ok(Graph {
        entity_lct: lct,
        component_id: component(&middle.a)?.component_id,
        height: tip.height,
        time: tip.time_ms / 1000,
        depth,
        cut: horizon.cut,
        relationships,
    })
}
