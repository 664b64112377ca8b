//! `POST /transactions`, `GET /transactions/{hash}` (A33, A34).

use std::time::Duration;

use api::{
    encoding::Hex,
    problem::code,
    transaction::{ACCEPTED, INCLUDED, REFUSED, Submit, SubmitQuery, Transaction},
};
use axum::{Json, extract::State};
use ledger::{
    codec::Canonical,
    outcome::TxResult,
    reject::Rejection,
    tx::{Body as TxBody, Tx, TxId},
};
use node::{Fate, SubmitError, chain::WaitError};

use super::{App, id};
use crate::{
    Shared,
    extract::{Body, Options, Segments},
    memo::{Lasting, lasting},
    refusal::{Refusal, Reply, tx_not_found},
};

/// A transaction that waits for a block.
pub(super) fn waiting(id: TxId) -> Transaction {
    let txhash = Hex(id);
    Transaction { txhash, status: ACCEPTED.into(), height: None, index: None, code: None, error: None }
}

/// A transaction in a block.
fn in_block(id: TxId, height: u64, index: u32, result: &TxResult) -> Transaction {
    let rejection = result.rejection;
    Transaction {
        txhash: Hex(id),
        status: if rejection.is_none() { INCLUDED } else { REFUSED }.into(),
        height: Some(height),
        index: Some(index),
        code: rejection.map(|r| r.code().into()),
        error: rejection.map(|r| r.text().into()),
    }
}

/// Submits a transaction; one that a block holds already is no error.
pub(super) fn submit_once(chain: &node::Chain, bytes: Vec<u8>) -> Reply<Transaction> {
    let id = Tx::id_of(&bytes);
    match chain.submit(bytes) {
        Ok(id) => Ok(waiting(id)),
        Err(SubmitError::Refused(Rejection::NonceUsed)) => match chain.read()?.tx(&id)? {
            Some(t) => Ok(in_block(id, t.height, t.index, &t.result)),
            None => Err(Rejection::NonceUsed.into()),
        },
        Err(e) => Err(e.into()),
    }
}

/// Submits a signed transaction (A33).
#[utoipa::path(
    post,
    path = "/transactions",
    params(SubmitQuery),
    request_body = Submit,
    responses((status = 200, body = Transaction), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410), (status = 422))
)]
pub(crate) async fn submit(
    State(app): App,
    Options(query): Options<SubmitQuery>,
    Body(request): Body<Submit>,
) -> Reply<Json<Transaction>> {
    if query.wait > 1 {
        return Err(Refusal::format("wait: 0 or 1"));
    }
    let bytes = request.transaction.0;
    if let Ok(tx) = Tx::from_bytes(&bytes) {
        if matches!(tx.unsigned.body, TxBody::Batch(_)) {
            // Its root would stand in the ledger while no one holds the records.
            return Err(Refusal::new(
                400,
                code::KIND,
                "a telemetry batch goes to /telemetry/batches, together with its records",
            ));
        }
        in_office(&app, &tx)?;
    }
    // Where it came in: to hand it to another thread costs a good part of what checking it does.
    let submitted = submit_once(&app.chain, bytes)?;
    if query.wait == 0 || submitted.status != ACCEPTED {
        return Ok(Json(submitted));
    }
    let Hex(id) = submitted.txhash;
    match tokio::time::timeout(app.front.patience.block, app.chain.wait(&id)).await {
        // Not refused: the transaction waits, which is what the answer says.
        Err(_) => Ok(Json(submitted)),
        Ok(Ok(Fate::Included { height, index, result })) => Ok(Json(in_block(id, height, index, &result))),
        Ok(Ok(Fate::Dropped(rejection))) => Err(rejection.into()),
        Ok(Err(e)) => Err(e.into()),
    }
}

/// Refuses what an authority signed that another one followed (A99). The ledger does too, once it holds that the account was
/// withdrawn.
pub(super) fn in_office(app: &Shared, tx: &Tx) -> Reply<()> {
    match app.authority.lineage().earlier().any(|spk| spk.sign_pub() == tx.unsigned.signer) {
        true => {
            let error = "another authority followed the one that signed this, which signs nothing any more";
            Err(Refusal::new(403, code::AUTHORITY_SUCCEEDED, error))
        }
        false => Ok(()),
    }
}

/// Where a transaction stands (A34).
#[utoipa::path(
    get,
    path = "/transactions/{hash}",
    params(("hash" = Hex<32>, Path)),
    responses((status = 200, body = Transaction), (status = 404))
)]
pub(crate) async fn transaction(
    State(app): App,
    Segments(hash): Segments<String>,
) -> Reply<Lasting<Json<Transaction>>> {
    let Hex(id) = id("transaction hash", &hash)?;
    let found = app.glance(None, move |snapshot| {
        let found = snapshot.tx(&id)?;
        Ok(found.map(|t| lasting(snapshot, None, Json(in_block(id, t.height, t.index, &t.result)))))
    });
    match found.await? {
        Some(found) => Ok(found),
        None if waits(&app, &id).await? => Ok((None, Json(waiting(id)))),
        None => Err(tx_not_found()),
    }
}

/// Whether a transaction is known without being in a block that was looked into before.
pub(super) async fn waits(app: &Shared, id: &TxId) -> Reply<bool> {
    // Waiting for an unknown one ends at once.
    match tokio::time::timeout(Duration::ZERO, app.chain.wait(id)).await {
        Err(_) | Ok(Ok(Fate::Included { .. })) => Ok(true),
        Ok(Ok(Fate::Dropped(_)) | Err(WaitError::Unknown)) => Ok(false),
        Ok(Err(WaitError::Store(e))) => Err(e.into()),
    }
}
