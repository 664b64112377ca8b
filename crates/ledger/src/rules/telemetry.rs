//! Telemetry batches (L41, L42): the ledger keeps root, count, time span and signer; the records stay off
//! chain. A component's sequence numbers may have gaps between batches (records lost for good) but a number is
//! never covered twice.

use alloc::{vec, vec::Vec};

use lct::record::BatchStatement;

use super::{Claim, Context, Stop, check_believed, count, ensure};
use crate::{
    outcome::Event,
    records::{Batch, TelemetryHead, key},
    reject::Rejection,
    state::{Overlay, View, load},
    tx::Signed,
};

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
) -> Result<Vec<Event>, Stop> {
    let s = BatchStatement::decode(&signed.statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = s.digest().map_err(|_| Rejection::StatementFormat)?;
    check_believed(state, context, signed, &Claim { cid: s.cid, digest, end_ms: s.last_ms })?;
    ensure(u32::from(s.count) <= context.params.max_batch_records, Rejection::TelemetrySize)?;
    let head: Option<TelemetryHead> = load(state, &key::telemetry(&s.cid))?;
    ensure(head.as_ref().is_none_or(|h| s.first_seq > h.last_seq), Rejection::TelemetryOverlap)?;

    let mut head = head.unwrap_or(TelemetryHead { last_seq: 0, batches: 0, records: 0, last_ms: 0 });
    // The statement's decoder guarantees a count of at least 1 and no overflow.
    head.last_seq = s.first_seq.saturating_add(u32::from(s.count).saturating_sub(1));
    head.batches += 1;
    head.records += u64::from(s.count);
    head.last_ms = s.last_ms;
    state.put(key::telemetry(&s.cid), &head);
    let batch = Batch {
        count: s.count,
        root: s.root,
        first_ms: s.first_ms,
        last_ms: s.last_ms,
        key: signed.key,
        tx: context.tx_id,
        height: context.header.height,
    };
    state.put(key::batch(&s.cid, s.first_seq), &batch);
    count(state, |t| {
        t.batches += 1;
        t.records += u64::from(s.count);
    })?;
    Ok(vec![batch_recorded(&s)])
}

/// The one event of a recorded batch: the statement decides all of it, so that a receipt need not carry it (L80).
pub(crate) fn batch_recorded(s: &BatchStatement) -> Event {
    Event::new("TelemetryBatchRecorded")
        .with("cid", s.cid.0.as_slice())
        .with("first_seq", s.first_seq)
        .with("count", u32::from(s.count))
        .with("root", s.root.as_slice())
}
