//! `GET /components/{id}/history`, `GET /components/{id}/config` (A115, A116).

use api::{
    encoding::Hex,
    registry::{Authorized, History, Moved, Settings, Versioned},
};
use axum::{Json, extract::State};
use node::Chain;

use super::{App, component::cid_of};
use crate::{
    authority::component_id,
    extract::Segments,
    refusal::{Refusal, Reply},
};

pub(crate) async fn history(State(app): App, Segments(id): Segments<String>) -> Reply<Json<History>> {
    app.blocking(move |chain| of(chain, &id).map(Json)).await
}

fn of(chain: &Chain, id: &str) -> Reply<History> {
    let snapshot = chain.read()?;
    let cid = cid_of(&snapshot, id)?;
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
        status: c.status.name().into(),
        states: states.map_err(|e| Refusal::internal(&e))?,
        versions: versions.iter().map(|(number, v)| Versioned::of(*number, v)).collect(),
        authorizations: authorizations.iter().map(|(id, a)| Authorized::of(id, a)).collect(),
    })
}

pub(crate) async fn config(State(app): App, Segments(id): Segments<String>) -> Reply<Json<Settings>> {
    app.blocking(move |chain| {
        let snapshot = chain.read()?;
        let cid = cid_of(&snapshot, &id)?;
        let settings = snapshot.settings_of(&cid)?;
        Ok(Json(Settings::of(component_id(&snapshot, &cid)?, &cid, &settings)))
    })
    .await
}
