//! `POST /telemetry/batches` (A35 to A37): records on disk first, then their root to the ledger.

use api::{
    problem::code,
    telemetry::{Batch, Entry, Stored},
};
use axum::{Json, extract::State};
use lct::record::BatchStatement;
use ledger::{
    codec::Canonical,
    records::Status,
    reject::Rejection,
    rules::allowed,
    tx::{Body as TxBody, Signed, Tx},
};
use node::{
    Chain,
    segments::{Entry as Kept, StoredBatch},
};

use super::{App, transaction::submit_once};
use crate::{
    extract::Body,
    refusal::{Refusal, Reply},
};

/// Stores the records of a batch, then submits its transaction (A35).
#[utoipa::path(
    post,
    path = "/telemetry/batches",
    request_body = Batch,
    responses((status = 200, body = Stored), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410), (status = 422))
)]
pub(crate) async fn batch(State(app): App, Body(batch): Body<Batch>) -> Reply<Json<Stored>> {
    app.blocking(move |chain| store(chain, batch).map(Json)).await
}

fn store(chain: &Chain, batch: Batch) -> Reply<Stored> {
    let bytes = batch.transaction.0;
    let tx = Tx::from_bytes(&bytes).map_err(|e| Refusal::format(format!("transaction: {e}")))?;
    let TxBody::Batch(signed) = &tx.unsigned.body else {
        return Err(Refusal::new(400, code::KIND, "the transaction does not record a telemetry batch"));
    };
    let statement =
        BatchStatement::decode(&signed.statement).map_err(|_| Refusal::from(Rejection::StatementFormat))?;
    authentic(chain, &tx, signed, &statement)?;
    let entries = entries(batch.records, &statement)?;
    let given = StoredBatch { statement: signed.statement.clone(), entries };
    chain.append(std::slice::from_ref(&given))?;
    // What is on disk counts, which is not what was given when the batch had been stored before.
    let kept = chain.stored_batch(&statement.cid, statement.first_seq)?;
    let kept = kept.map_or(given, |(_, kept)| kept);
    let stored = kept.entries.iter().filter(|e| matches!(e, Kept::Record(_))).count() as u32;
    let submitted = submit_once(chain, bytes)?;
    if let (Some(code), Some(error)) = (&submitted.code, &submitted.error) {
        // The very same transaction was refused in a block before.
        return Err(Refusal::new(409, code, error));
    }
    Ok(Stored {
        txhash: submitted.txhash,
        stored,
        gaps: kept.entries.len() as u32 - stored,
        status: submitted.status,
    })
}

/// Checks who sends and who signed before anything is written: a disk full of what strangers sent helps nobody.
fn authentic(chain: &Chain, tx: &Tx, signed: &Signed, statement: &BatchStatement) -> Reply<()> {
    let ensure =
        |holds: bool, rejection: Rejection| if holds { Ok(()) } else { Err(Refusal::from(rejection)) };
    let snapshot = chain.read()?;
    ensure(tx.unsigned.chain_id == chain.chain_id(), Rejection::OtherChain)?;
    let account = snapshot.account(&tx.unsigned.signer)?.filter(|a| a.status == Status::Active);
    let account = account.ok_or(Rejection::UnknownSigner)?;
    ensure(allowed(account.role, tx.unsigned.body.kind()), Rejection::RoleForbidden)?;
    tx.verify().map_err(|_| Rejection::EnvelopeSignature)?;
    let key = snapshot.signing_key(&signed.key)?.ok_or(Rejection::StatementKeyUnknown)?;
    ensure(key.status == Status::Active, Rejection::StatementKeyRevoked)?;
    ensure(key.cid == statement.cid, Rejection::StatementSigner)?;
    statement.verify(&signed.key, &signed.signature).map_err(|_| Rejection::StatementSignature)?;
    Ok(())
}

fn entries(records: Vec<Entry>, statement: &BatchStatement) -> Reply<Vec<Kept>> {
    let mut kept = Vec::with_capacity(records.len());
    for (i, (entry, seq)) in records.into_iter().zip(statement.first_seq..).enumerate() {
        kept.push(match entry {
            Entry::Record(record) => Kept::Record(record.0),
            Entry::Lost(gap) if gap.seq == seq => Kept::Missing(gap.leaf.0),
            Entry::Lost(gap) => {
                return Err(Refusal::new(
                    400,
                    code::TELEMETRY_RECORDS,
                    "the records are not those of the batch",
                )
                .detail(format!("records[{i}]: number {} where {seq} is due", gap.seq)));
            }
        });
    }
    Ok(kept)
}
