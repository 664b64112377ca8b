//! `GET /components/{id}/history`, `GET /components/{id}/config` (A115, A116).

use api::{
    encoding::{ComponentId, Hex},
    registry::{Authorized, History, Moved, Settings, Versioned},
};
use axum::{Json, extract::State};
use node::Snapshot;

use super::{App, component::cid_of};
use crate::{
    authority::component_id,
    extract::{Options, Segments, When},
    refusal::{Refusal, Reply},
};

/// States, versions and authorisations of a component (A115).
#[utoipa::path(
    get,
    path = "/components/{id}/history",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = History), (status = 404), (status = 410))
)]
pub(crate) async fn history(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Json<History>> {
    app.state(when.height, move |snapshot| of(snapshot, &id).map(Json)).await
}

fn of(snapshot: &Snapshot<'_>, id: &str) -> Reply<History> {
    let cid = cid_of(snapshot, id)?;
    let Some(c) = snapshot.component(&cid)? else {
        return Err(Refusal::internal(&"a component vanished from a snapshot"));
    };
    let moves = snapshot.moves_of(&cid)?;
    let states = moves.iter().map(|(number, m)| Moved::of(*number, m)).collect::<Result<_, _>>();
    let versions = snapshot.versions_of(&cid)?;
    let authorizations = snapshot.authorizations_of(&cid)?;
    Ok(History {
        component_id: c.component_id,
        cid: Hex(cid.0),
        height: snapshot.tip().height,
        status: c.status.name().into(),
        states: states.map_err(|e| Refusal::internal(&e))?,
        versions: versions.iter().map(|(number, v)| Versioned::of(*number, v)).collect(),
        authorizations: authorizations.iter().map(|(id, a)| Authorized::of(id, a)).collect(),
    })
}

/// The settings of a pack (A116).
#[utoipa::path(
    get,
    path = "/components/{id}/config",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Settings), (status = 404), (status = 410))
)]
pub(crate) async fn config(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Json<Settings>> {
    app.state(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &id)?;
        let settings = snapshot.settings_of(&cid)?;
        let name = component_id(snapshot, &cid)?;
        Ok(Json(Settings::of(name, &cid, snapshot.tip().height, &settings)))
    })
    .await
}
