//! `GET /governance`, `GET /governance/accounts` (A118).

use api::{
    encoding::Hex,
    governance::{Accounts, Governed, InForce},
};
use axum::{Json, extract::State};
use lct::sign::PublicKey;
use ledger::records::{Account, key};

use super::App;
use crate::{
    extract::{Options, When},
    list::{self, List, Page},
    memo::Lasting,
    refusal::Reply,
};

/// What governs the next block, and what is decided for later (A118).
#[utoipa::path(
    get,
    path = "/governance",
    params(When),
    responses((status = 200, body = Governed), (status = 404), (status = 410))
)]
pub(crate) async fn governance(
    State(app): App,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Governed>>> {
    app.told(when.height, |snapshot| {
        let tip = snapshot.tip();
        let in_force = InForce {
            params: snapshot.params()?,
            validators: snapshot.validators()?,
            roots: snapshot.roots()?,
            rules: snapshot.rules()?,
            decided: snapshot.decided()?,
        };
        Ok(Json(Governed::of(Hex(tip.chain_id), (tip.height, tip.time_ms), in_force)))
    })
    .await
}

/// Every account that there is or was (A118).
#[utoipa::path(
    get,
    path = "/governance/accounts",
    params(Page, When),
    responses((status = 200, body = Accounts), (status = 404), (status = 410))
)]
pub(crate) async fn accounts(State(app): App, list: List<When>) -> Reply<Lasting<Json<Accounts>>> {
    let List { page, of: when } = list;
    app.told(when.height, move |snapshot| {
        let (rows, next) = page.scan(snapshot, key::ACCOUNTS, |_: &Account| true)?;
        let keyed = |(rest, account)| Ok((PublicKey(list::name(rest)?), account));
        let accounts = rows.into_iter().map(keyed).collect::<Reply<Vec<_>>>()?;
        Ok(Json(Accounts::of(snapshot.tip().height, &accounts, next)))
    })
    .await
}
