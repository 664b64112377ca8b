//! `GET /authority`, `GET /accounts/{public key}` (A12, A13).

use api::{
    account::Account,
    authority::Authority,
    encoding::{Blob, Fixed, Hex},
    problem::code,
};
use axum::{Json, extract::State};
use lct::sign::PublicKey;

use super::{App, id};
use crate::{
    extract::Segments,
    refusal::{Refusal, Reply},
};

pub(crate) async fn authority(State(app): App) -> Json<Authority> {
    Json(Authority {
        spk: Fixed(app.authority.spk().0),
        chain_id: Hex(app.chain.chain_id()),
        genesis: Blob(app.genesis.clone()),
    })
}

pub(crate) async fn account(State(app): App, Segments(key): Segments<String>) -> Reply<Json<Account>> {
    let bytes: Hex<33> = id("public key", &key)?;
    let key = PublicKey::from_slice(&bytes.0).map_err(|e| Refusal::format(format!("public key: {e}")))?;
    app.blocking(move |chain| {
        let account = chain.read()?.account(&key)?;
        let account = account.ok_or_else(|| {
            Refusal::new(404, code::ACCOUNT_NOT_FOUND, "the key has no account on this chain")
        })?;
        Ok(Json(Account {
            public_key: bytes,
            role: account.role.name().into(),
            status: account.status.name().into(),
            next_nonce: chain.next_nonce(&key)?,
            height: chain.tip().height,
        }))
    })
    .await
}
