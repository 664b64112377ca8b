//! `POST /lct/create`, `GET /lct/{id}` (A30 to A32).

use api::{
    encoding::Hex,
    lct::{Create, Created, Lct},
    problem::code,
};
use axum::{Json, extract::State};

use super::{App, id};
use crate::{
    extract::{self, Body, Options, Segments, When},
    memo::Lasting,
    refusal::{Refusal, Reply},
};

/// Creates the LCT of a relationship and hands out its sealed halves, once (A30).
#[utoipa::path(
    post,
    path = "/lct/create",
    request_body = Create,
    responses((status = 200, body = Created), (status = 403), (status = 404), (status = 409), (status = 410), (status = 504))
)]
pub(crate) async fn create(State(app): App, Body(request): Body<Create>) -> Reply<Json<Created>> {
    extract::label("creator", &request.creator)?;
    if !request.proxy_id.is_empty() {
        extract::label("proxy_id", &request.proxy_id)?;
    }
    let Create { creator, component_a, component_b, context, proxy_id } = request;
    let (a, b, purpose) = (component_a.clone(), component_b.clone(), context.clone());
    let lct = app.authority.call(move |core| core.create_lct(&a, &b, &purpose)).await?;
    app.included(&lct.tx).await?;
    let lct_id = lct.lct_id;
    let created = app.blocking(move |chain| Ok(chain.read()?.lct(&lct_id.0)?)).await?;
    let created = created.ok_or_else(|| Refusal::internal(&"an included LCT is not in the state"))?;
    let halves = app.authority.call(move |core| core.seal_halves(lct)).await?;
    tracing::info!(creator, lct_id = %lct_id, "relationship LCT created, key halves sealed and handed out");
    Ok(Json(Created {
        lct_id,
        component_a,
        component_b,
        context,
        proxy_id,
        status: created.status.name().into(),
        created_at: created.time_ms / 1000,
        creator,
        txhash: Hex(lct.tx),
        lct_key_half: halves.lct,
        device_key_half: halves.device,
    }))
}

/// An LCT (A32).
#[utoipa::path(
    get,
    path = "/lct/{id}",
    params(("id" = Hex<32>, Path), When),
    responses((status = 200, body = Lct), (status = 404), (status = 410))
)]
pub(crate) async fn lct(
    State(app): App,
    Segments(lct): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Lct>>> {
    let lct_id: Hex<32> = id("lct id", &lct)?;
    app.told(when.height, move |snapshot| {
        let lct = snapshot.lct(&lct_id.0)?;
        let lct = lct.ok_or_else(|| Refusal::new(404, code::LCT_NOT_FOUND, "there is no such LCT"))?;
        let name = |cid| -> Reply<String> {
            Ok(snapshot.component(cid)?.map(|c| c.component_id).unwrap_or_default())
        };
        Ok(Json(Lct {
            lct_id,
            height: snapshot.tip().height,
            kind: if lct.a == lct.b { "entity" } else { "relationship" }.into(),
            component_a_id: name(&lct.a)?,
            component_b_id: name(&lct.b)?,
            pairing_status: lct.status.name().into(),
            created_at: lct.time_ms / 1000,
            operational_context: lct.context,
        }))
    })
    .await
}
