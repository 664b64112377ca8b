//! Anchors of audit logs (L58): a device signed how far its log reaches and what it hashes to there. A log that is later
//! shorter than its anchor was cut, and a second hash for one number is the device's own signature under two logs.

use alloc::{vec, vec::Vec};

use lct::journal::Checkpoint;

use super::{Claim, Context, Stop, check_signed, ensure};
use crate::{
    outcome::Event,
    records::{Anchor, LogHead, key},
    reject::Rejection,
    state::{Overlay, View, load},
    tx::Signed,
};

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
) -> Result<Vec<Event>, Stop> {
    let point = Checkpoint::read_body(&signed.statement).map_err(|_| Rejection::StatementFormat)?;
    let end_ms = u64::from(point.time) * 1000;
    let claim = Claim { cid: point.cid, digest: point.digest(), end_ms };
    let binding = check_signed(state, context, signed, &claim)?.binding_id;
    let at = key::anchor(&point.cid, &binding, point.number);
    let known: Option<Anchor> = load(state, &at)?;
    if let Some(known) = known {
        ensure(known.hash == point.hash, Rejection::AuditForked)?;
        return Err(Rejection::AuditExists.into());
    }
    let head: Option<LogHead> = load(state, &key::log(&point.cid, &binding))?;
    let mut head = head.unwrap_or(LogHead { last: 0, anchors: 0 });
    ensure(point.number > head.last, Rejection::AuditSequence)?;

    head = LogHead { last: point.number, anchors: head.anchors + 1 };
    state.put(key::log(&point.cid, &binding), &head);
    let anchor = Anchor {
        hash: point.hash,
        time: point.time,
        key: signed.key,
        tx: context.tx_id,
        height: context.header.height,
    };
    state.put(at, &anchor);
    Ok(vec![
        Event::new("LogAnchored")
            .with("cid", point.cid.0.as_slice())
            .with("binding_id", binding.0.as_slice())
            .with("number", point.number)
            .with("hash", point.hash.as_slice()),
    ])
}
