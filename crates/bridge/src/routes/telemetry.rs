//! `POST /telemetry/batches` (A35 to A37): records on disk first, then their root to the ledger. `GET /telemetry/{id}/series` (A226): what
//! they came to over time.

use std::time::Duration;

use api::{
    encoding::{ComponentId, Hex},
    problem::code,
    series::{Bucket, CELLS, Quantity, Series, VALUES_MAX, Wanted, name},
    telemetry::{Batch, Entry, Stored},
};
use axum::{Json, extract::State};
use lct::record::{BatchStatement, RecordKind};
use ledger::{
    codec::Canonical,
    records::Status,
    reject::Rejection,
    rules::allowed,
    tx::{Body as TxBody, Signed, Tx},
};
use node::{
    Chain, Snapshot,
    segments::{Entry as Kept, StoredBatch},
    series::{Answer, Question, Resolution},
};

use super::{App, component::cid_of, transaction::submit_once};
use crate::{
    Shared,
    authority::component_id,
    extract::{Body, Options, Segments},
    refusal::{Refusal, Reply},
};

/// How often records that came are summed up.
const FOLLOW: Duration = Duration::from_secs(10);

/// Stores the records of a batch, then submits its transaction (A35).
#[utoipa::path(
    post,
    path = "/telemetry/batches",
    request_body = Batch,
    responses((status = 200, body = Stored), (status = 401), (status = 403), (status = 404), (status = 409), (status = 410), (status = 422))
)]
pub(crate) async fn batch(State(app): App, Body(batch): Body<Batch>) -> Reply<Json<Stored>> {
    let clock = app.clock.clone();
    app.blocking(move |chain| store(chain, batch, clock()).map(Json)).await
}

fn store(chain: &Chain, batch: Batch, now_ms: u64) -> Reply<Stored> {
    let bytes = batch.transaction.0;
    let tx = Tx::from_bytes(&bytes).map_err(|e| Refusal::format(format!("transaction: {e}")))?;
    let TxBody::Batch(signed) = &tx.unsigned.body else {
        return Err(Refusal::new(400, code::KIND, "the transaction does not record a telemetry batch"));
    };
    let statement =
        BatchStatement::decode(&signed.statement).map_err(|_| Refusal::from(Rejection::StatementFormat))?;
    authentic(chain, &tx, signed, &statement, now_ms)?;
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
fn authentic(chain: &Chain, tx: &Tx, signed: &Signed, statement: &BatchStatement, now_ms: u64) -> Reply<()> {
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
    // The ledger's own rule (L26), by the time that the next block will have: records that it refuses would be on disk and
    // in the sums for good.
    let latest = snapshot.tip().time_ms.max(now_ms).saturating_add(snapshot.params()?.max_future_ms);
    ensure(statement.last_ms <= latest, Rejection::StatementTime)
}

/// The records of a component over time, summed up (A226).
#[utoipa::path(
    get,
    path = "/telemetry/{id}/series",
    params(("id" = ComponentId, Path), Wanted),
    responses((status = 200, body = Series), (status = 404))
)]
pub(crate) async fn series(
    State(app): App,
    Segments(id): Segments<String>,
    Options(wanted): Options<Wanted>,
) -> Reply<Json<Series>> {
    app.blocking(move |chain| {
        let ask = |question: &Question| -> Reply<Answer> {
            let answer = chain.series(question)?;
            if let Some(anew) = &answer.followed.anew {
                tracing::warn!("{anew}");
            }
            Ok(answer)
        };
        over_time(&chain.read()?, &id, &wanted, ask).map(Json)
    })
    .await
}

/// The records of a component over time; `ask` gets them from a replica (A226).
///
/// # Errors
/// A [`Refusal`]: no such component or resolution; and what `ask` fails with.
pub fn over_time<E: From<Refusal>>(
    snapshot: &Snapshot<'_>,
    id: &str,
    wanted: &Wanted,
    ask: impl FnOnce(&Question) -> Result<Answer, E>,
) -> Result<Series, E> {
    let resolution = Resolution::from_name(&wanted.resolution)
        .ok_or_else(|| Refusal::format("resolution: minute, hour or day"))?;
    let cid = cid_of(snapshot, id)?;
    let question = Question {
        cid,
        resolution,
        from_ms: wanted.from_ms.unwrap_or(0),
        to_ms: wanted.to_ms.unwrap_or(u64::MAX),
        limit: VALUES_MAX,
    };
    let answer = ask(&question)?;
    let mut buckets: Vec<_> =
        answer.buckets.into_iter().map(|(start_ms, bucket)| named(answer.kind, start_ms, bucket)).collect();
    if let Some(one) = &wanted.quantity {
        buckets.iter_mut().for_each(|bucket| bucket.quantities.retain(|q| q.name == *one));
    }
    Ok(Series {
        component_id: component_id(snapshot, &cid)?,
        cid: Hex(cid.0),
        resolution: resolution.name().into(),
        buckets,
        next_ms: answer.next_ms,
        complete: answer.followed.complete,
    })
}

/// A bucket with the names of what was measured.
fn named(kind: RecordKind, start_ms: u64, bucket: node::series::Bucket) -> Bucket {
    let cells = bucket.values.get(CELLS).filter(|cells| cells.min == cells.max);
    let cells = cells.and_then(|cells| usize::try_from(cells.min).ok());
    let quantity = |(position, figure): (usize, &node::series::Figure)| Quantity {
        name: name(kind, position, cells),
        min: figure.min,
        max: figure.max,
        mean: figure.mean(),
        last: figure.last,
        count: figure.count,
    };
    let quantities = bucket.values.iter().enumerate().map(quantity).collect();
    Bucket { start_ms, records: bucket.records, last_ms: bucket.last_ms, quantities }
}

/// Sums up what was stored, so that nobody who asks waits for it (A226); never ends.
pub(crate) async fn follow(shared: &Shared) {
    // Who stores nothing gets no sums.
    let mut stored = 0;
    loop {
        let found = shared.chain.stored().records;
        if found != stored {
            let followed = shared.blocking(|chain| Ok(chain.follow()?)).await;
            match followed {
                Ok(followed) => {
                    if let Some(anew) = &followed.anew {
                        tracing::info!("{anew}");
                    }
                    if followed.complete {
                        stored = found;
                    }
                }
                Err(why) => tracing::error!(why = %why.0, "the records are not summed up"),
            }
        }
        tokio::time::sleep(FOLLOW).await;
    }
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
