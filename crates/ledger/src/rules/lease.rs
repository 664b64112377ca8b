//! What happens to a pairing in force: renewal (L104), use (L105) and other terms (L106).

use alloc::{vec, vec::Vec};

use lct::{
    hash::sha256,
    id::PairingId,
    pairing::Terms,
    sign::{PublicKey, Signature},
    validation::EventKind,
};

use super::{
    Context, Stop, advance, check_believed, ensure, event_of, not_future, pairing, subject, trust, validate,
};
use crate::{
    outcome::Event,
    records::{Binding, NO_PAIRING, Pairing, Usage, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{Paired, Signed},
};

/// How long a renewed pairing still holds beside the new one, in milliseconds: an hour, so that neither side is without
/// a pairing while the other has not heard of the new one yet.
pub const OVERLAP_MS: u64 = 3_600_000;

pub(super) fn renew<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    authority: &PublicKey,
    paired: &Paired,
    renews: &PairingId,
    (max_uses, operations): (u32, u8),
    time_ms: u64,
) -> Result<Vec<Event>, Stop> {
    let mut events = pairing::complete(state, context, authority, paired, time_ms)?;
    let (mut old, mut used) = load_pairing(state, renews)?;
    ensure(old.binding_id == paired.binding_id, Rejection::PairingSide)?;
    ensure(old.in_force(time_ms), Rejection::PairingEnded)?;
    ensure(used.renewed_by == NO_PAIRING, Rejection::PairingRenewed)?;
    ensure((1..=7).contains(&operations), Rejection::PairingTerms)?;

    old.expires_ms = old.expires_ms.min(time_ms.saturating_add(OVERLAP_MS));
    state.put(key::pairing(renews), &old);
    used.renewed_by = paired.pairing_id;
    state.put(key::usage(renews), &used);
    let usage = Usage { max_uses, operations, renews: *renews, ..Usage::unlimited() };
    state.put(key::usage(&paired.pairing_id), &usage);
    events.push(
        Event::new("PairingRenewed")
            .with("pairing_id", paired.pairing_id.0.as_slice())
            .with("renews", renews.0.as_slice())
            .with("old_expires_ms", old.expires_ms)
            .with("max_uses", max_uses)
            .with("operations", u32::from(operations)),
    );
    Ok(events)
}

/// B counts: it is the side that lets A do something.
pub(super) fn used<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
) -> Result<Vec<Event>, Stop> {
    let kinds = [EventKind::PairedHandshake];
    let (event, claim) = event_of(context, &signed.statement, &kinds, Rejection::StatementFormat)?;
    let owner = check_believed(state, context, signed, &claim)?;
    advance(state, &event)?;
    let id = PairingId(subject(&event)?);
    let session = event.payload.last_chunk::<32>().copied().ok_or(Rejection::StatementFormat)?;
    let (pairing, mut usage) = load_pairing(state, &id)?;
    let is_b = owner.binding_id == pairing.binding_id && owner.cid == pairing.b;
    ensure(is_b, Rejection::PairingSide)?;
    ensure(pairing.in_force(context.header.time_ms), Rejection::PairingEnded)?;
    ensure(usage.uses == 0 || usage.last != session, Rejection::PairingUseRepeated)?;
    ensure(usage.max_uses == 0 || usage.uses < usage.max_uses, Rejection::PairingUsedUp)?;

    usage.uses = usage.uses.saturating_add(1);
    usage.last = session;
    state.put(key::usage(&id), &usage);
    trust::used(state, context, &pairing)?;
    let used = Event::new("PairingUsed").with("pairing_id", id.0.as_slice());
    let used = used.with("uses", usage.uses).with("max_uses", usage.max_uses);
    Ok(vec![used, validate::record(state, context, &event, claim.digest, 0)])
}

pub(super) fn modify<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    authority: &PublicKey,
    statement: &[u8],
    terms: &[u8],
    keys: &[PublicKey; 2],
    signatures: &[Signature; 3],
) -> Result<Vec<Event>, Stop> {
    let kinds = [EventKind::PairingModification];
    let (event, claim) = event_of(context, statement, &kinds, Rejection::StatementFormat)?;
    let wanted = Terms::decode(terms).map_err(|_| Rejection::StatementFormat)?;
    let id = PairingId(subject(&event)?);
    let (mut pairing, mut usage) = load_pairing(state, &id)?;
    let binding: Option<Binding> = load(state, &key::binding(&pairing.binding_id))?;
    let binding = binding.ok_or(Halt::Invariant("a pairing without binding"))?;
    let is_side = [pairing.a, pairing.b].contains(&event.cid) && *keys == [binding.key_a, binding.key_b];
    ensure(is_side, Rejection::PairingSide)?;
    let now_ms = context.header.time_ms;
    ensure(pairing.in_force(now_ms), Rejection::PairingEnded)?;
    let expires_ms = u64::from(wanted.expires) * 1000;
    let longest_ms = now_ms.saturating_add(u64::from(context.params.max_lease_s) * 1000);
    let signed_terms = event.payload[16..] == sha256(&[terms]);
    ensure(signed_terms && now_ms < expires_ms && expires_ms <= longest_ms, Rejection::PairingTerms)?;
    let rejections = [Rejection::PairingProofA, Rejection::PairingProofB, Rejection::PairingAuthority];
    for ((signer, signature), rejection) in
        [&keys[0], &keys[1], authority].into_iter().zip(signatures).zip(rejections)
    {
        signer.verify(&claim.digest, signature).map_err(|_| rejection)?;
    }
    ensure(not_future(context, claim.end_ms), Rejection::StatementTime)?;
    advance(state, &event)?;

    pairing.expires_ms = expires_ms;
    state.put(key::pairing(&id), &pairing);
    (usage.max_uses, usage.operations) = (wanted.max_uses, wanted.operations);
    state.put(key::usage(&id), &usage);
    Ok(vec![
        Event::new("PairingModified")
            .with("pairing_id", id.0.as_slice())
            .with("expires_ms", expires_ms)
            .with("max_uses", wanted.max_uses)
            .with("operations", u32::from(wanted.operations)),
    ])
}

fn load_pairing(view: &impl View, id: &PairingId) -> Result<(Pairing, Usage), Stop> {
    let pairing: Option<Pairing> = load(view, &key::pairing(id))?;
    let pairing = pairing.ok_or(Rejection::PairingUnknown)?;
    Ok((pairing, load(view, &key::usage(id))?.unwrap_or_else(Usage::unlimited)))
}
