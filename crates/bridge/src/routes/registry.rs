//! `GET /components/{id}/history`, `GET /components/{id}/config` (A115, A116); `GET /components/{id}/authorizations`,
//! `GET /authorizations/check` (A125).

use api::{
    encoding::{ComponentId, Hex},
    registry::{Authorizations, Authorized, Checked, History, Moved, Settings, Versioned},
};
use axum::{Json, extract::State};
use ledger::authorization::id_of;
use node::Snapshot;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{App, component::cid_of};
use crate::{
    authority::component_id,
    extract::{Options, Segments, When},
    memo::Lasting,
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
) -> Reply<Lasting<Json<History>>> {
    app.told(when.height, move |snapshot| of(snapshot, &id).map(Json)).await
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
) -> Reply<Lasting<Json<Settings>>> {
    app.told(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &id)?;
        let settings = snapshot.settings_of(&cid)?;
        let name = component_id(snapshot, &cid)?;
        Ok(Json(Settings::of(name, &cid, snapshot.tip().height, &settings)))
    })
    .await
}

/// Whom a component lets be paired with it (A125).
#[utoipa::path(
    get,
    path = "/components/{id}/authorizations",
    params(("id" = ComponentId, Path), When),
    responses((status = 200, body = Authorizations), (status = 404), (status = 410))
)]
pub(crate) async fn authorizations(
    State(app): App,
    Segments(id): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Authorizations>>> {
    app.told(when.height, move |snapshot| {
        let cid = cid_of(snapshot, &id)?;
        let given = snapshot.authorizations_of(&cid)?;
        Ok(Json(Authorizations {
            component_id: component_id(snapshot, &cid)?,
            cid: Hex(cid.0),
            height: snapshot.tip().height,
            authorizations: given.iter().map(|(id, a)| Authorized::of(id, a)).collect(),
        }))
    })
    .await
}

/// Who lets whom, for what, and after which block.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    /// Who lets.
    #[param(value_type = ComponentId)]
    a: String,
    /// Whom.
    #[param(value_type = ComponentId)]
    b: String,
    /// For what; `battery_management` where it is left out.
    context: Option<String>,
    /// Height of the block; the last one where it is left out.
    height: Option<u64>,
}

/// Whether a component lets itself be paired with another one (A125).
#[utoipa::path(
    get,
    path = "/authorizations/check",
    params(Pair),
    responses((status = 200, body = Checked), (status = 404), (status = 410))
)]
pub(crate) async fn check(State(app): App, Options(pair): Options<Pair>) -> Reply<Lasting<Json<Checked>>> {
    let Pair { a, b, context, height } = pair;
    let context = context.unwrap_or_else(|| api::pairing::BATTERY_MANAGEMENT.into());
    app.told(height, move |snapshot| {
        let (cid_a, cid_b) = (cid_of(snapshot, &a)?, cid_of(snapshot, &b)?);
        let answer = snapshot.authorized([&cid_a, &cid_b], &context)?;
        let (authorization, reason) = match answer {
            Ok(found) => {
                let id = id_of(&snapshot.tip().chain_id, &cid_a, &cid_b, &context);
                (Some(Authorized::of(&id, &found)), None)
            }
            Err(why) => (None, Some(why.text().into())),
        };
        Ok(Json(Checked {
            a: component_id(snapshot, &cid_a)?,
            b: component_id(snapshot, &cid_b)?,
            context,
            height: snapshot.tip().height,
            authorized: authorization.is_some(),
            authorization,
            reason,
        }))
    })
    .await
}
