//! `GET /authority`, `GET /accounts/{public key}` (A12, A13).

use api::{
    account::Account,
    authority::Authority,
    encoding::{Blob, Fixed, Hex},
    problem::code,
};
use axum::{Extension, Json, extract::State};
use lct::sign::PublicKey;

use super::{App, id};
use crate::{
    extract::{Options, Segments, When},
    memo::{Lasting, UntilBlock},
    refusal::{Refusal, Reply},
};

/// Who issues bindings and pairings here, and on which chain (A12).
#[utoipa::path(
    get,
    path = "/authority",
    responses((status = 200, body = Authority))
)]
pub(crate) async fn authority(State(app): App) -> Json<Authority> {
    Json(Authority {
        spk: Fixed(app.authority.spk().0),
        successions: app.authority.lineage().successions().copied().map(Fixed).collect(),
        chain_id: Hex(app.chain.chain_id()),
        genesis: Blob(app.genesis.clone()),
    })
}

/// An account that may sign transactions, and its next nonce (A13).
#[utoipa::path(
    get,
    path = "/accounts/{key}",
    params(("key" = Hex<33>, Path), When),
    responses((status = 200, body = Account), (status = 404), (status = 410))
)]
pub(crate) async fn account(
    State(app): App,
    Segments(key): Segments<String>,
    Options(when): Options<When>,
) -> Reply<Lasting<Json<Account>>> {
    let bytes: Hex<33> = id("public key", &key)?;
    let key = PublicKey::from_slice(&bytes.0).map_err(|e| Refusal::format(format!("public key: {e}")))?;
    let chain = app.chain.clone();
    app.glance(when.height, move |snapshot| {
        let account = snapshot.account(&key)?;
        let account = account.ok_or_else(|| {
            Refusal::new(404, code::ACCOUNT_NOT_FOUND, "the key has no account on this chain")
        })?;
        let settled = snapshot.nonce(&key)?.saturating_add(1);
        let next_nonce = match when.height {
            Some(_) => settled,
            None => chain.next_nonce(&key)?,
        };
        let height = snapshot.tip().height;
        let (role, status) = (account.role.name().into(), account.status.name().into());
        // The next nonce counts what waits for a block: one that counted something is nobody else's answer, whatever
        // becomes of that.
        let lasts = when.height.is_none() && next_nonce == settled;
        let until = lasts.then_some(Extension(UntilBlock { height, while_idle: true }));
        Ok((until, Json(Account { public_key: bytes, role, status, next_nonce, height })))
    })
    .await
}
