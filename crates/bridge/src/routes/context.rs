//! `GET /lct/{id}/contexts`, `POST /lct/scopes` (A112, A113).

use api::{
    context::{Context, Contexts, GiveScope, Scoped, Worked},
    encoding::Hex,
    problem::code,
};
use axum::{Json, extract::State};
use node::Snapshot;

use super::{App, id};
use crate::{
    extract::{self, Body, Options, Segments, When},
    memo::Lasting,
    refusal::{Refusal, Reply},
};

/// What is stated in the context of an LCT (A112).
#[utoipa::path(
    get,
    path = "/lct/{id}/contexts",
    params(("id" = Hex<32>, Path), When),
    responses((status = 200, body = Contexts), (status = 404), (status = 410))
)]
pub(crate) async fn contexts(
    State(app): App,
    Segments(lct): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Contexts>>> {
    let lct_id: Hex<32> = id("lct id", &lct)?;
    app.told(when.height, move |snapshot| of(snapshot, lct_id).map(Json)).await
}

fn of(snapshot: &Snapshot<'_>, lct_id: Hex<32>) -> Reply<Contexts> {
    let lct = snapshot.lct(&lct_id.0)?;
    let lct = lct.ok_or_else(|| Refusal::new(404, code::LCT_NOT_FOUND, "there is no such LCT"))?;
    let contexts = snapshot.contexts_of(&lct_id.0)?;
    let contexts = contexts.iter().map(Context::of).collect::<Result<_, _>>();
    let performance = if lct.a == lct.b { snapshot.performance(&lct.a)? } else { None };
    let tip = snapshot.tip();
    Ok(Contexts {
        lct_id,
        height: tip.height,
        time: tip.time_ms / 1000,
        contexts: contexts.map_err(|e| Refusal::internal(&e))?,
        performance: performance.as_ref().map(Worked::of),
    })
}

/// States that an app may do everything with the packs that it is bound to (A113).
#[utoipa::path(
    post,
    path = "/lct/scopes",
    request_body = GiveScope,
    responses((status = 200, body = Scoped), (status = 403), (status = 404), (status = 409), (status = 410), (status = 422), (status = 504))
)]
pub(crate) async fn scope(State(app): App, Body(request): Body<GiveScope>) -> Reply<Json<Scoped>> {
    extract::label("creator", &request.creator)?;
    let creator = request.creator.clone();
    let scope = app.authority.call(move |core| core.scope(&request)).await?;
    if scope.waits {
        app.included(&scope.tx).await?;
        tracing::info!(creator, lct_id = %scope.lct_id, number = scope.number, "scope of an app stated");
    }
    Ok(Json(Scoped { lct_id: scope.lct_id, number: scope.number, txhash: Hex(scope.tx) }))
}
