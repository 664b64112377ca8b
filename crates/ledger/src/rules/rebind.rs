//! Bindings that come about in another way than by the authority's hand alone: one that takes the place of another
//! (L110), and one that was made at the factory (L112).

use alloc::vec::Vec;

use lct::{
    Error,
    attest::{DeviceCertificate, verify_batch},
    hash::sha256,
    id::BindingId,
    rebind::Rebind,
    revocation::batch_id,
    sign::{PublicKey, Signature},
    validation::EventKind,
};

use super::{Context, Stop, advance, binding, ensure, event_of, not_future, ownership, subject};
use crate::{
    outcome::Event,
    records::{Binding, DeviceKey, Ownership, Status, key},
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    tx::{Body, Target},
};

pub(super) fn replace<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    authority: &PublicKey,
    body: &Body,
) -> Result<Vec<Event>, Stop> {
    let Body::Rebind { record, signatures, token, replacement, owner } = body else {
        return Err(Halt::Invariant("a body reached the rules of another kind").into());
    };
    let kinds = [EventKind::BindingReplacement];
    let (event, claim) = event_of(context, &replacement.statement, &kinds, Rejection::StatementFormat)?;
    let new = binding::decode(record)?;
    let old_id = BindingId(subject(&event)?);
    let old: Option<Binding> = load(state, &key::binding(&old_id))?;
    let old = old.ok_or(Rejection::RebindUnknown)?;
    let sides = new.entities.each_ref().map(|e| e.cid);
    let shared = sides.contains(&old.a) || sides.contains(&old.b);
    let names_record = event.payload[16..] == sha256(&[record]);
    ensure(shared && sides.contains(&event.cid) && names_record, Rejection::RebindParties)?;
    let leave = Rebind::open(token, authority).map_err(|_| Rejection::RebindToken)?;
    ensure((leave.device, leave.old) == (event.cid, old_id), Rejection::RebindToken)?;
    ensure(state.get(&key::replaced(&old_id))?.is_none(), Rejection::RebindRepeated)?;
    let device: Option<DeviceKey> = load(state, &key::device_key(&replacement.key))?;
    let speaks = device.is_some_and(|d| d.cid == event.cid && d.status == Status::Active);
    let signed = replacement.key.verify(&claim.digest, &replacement.signature).is_ok();
    ensure(speaks && signed, Rejection::RebindProof)?;
    let owned: Option<Ownership> = load(state, &key::ownership(&event.cid))?;
    let partner = if sides[0] == event.cid { sides[1] } else { sides[0] };
    let approved = match (&owned, owner) {
        (None, None) => true,
        (Some(o), Some(signature)) => o.owner.verify(&claim.digest, signature).is_ok(),
        (Some(o), None) => ownership::agreed(state, context, o, &event.cid, &old_id, &partner)?,
        (None, Some(_)) => false,
    };
    ensure(approved, Rejection::RebindOwner)?;
    ensure(not_future(context, claim.end_ms), Rejection::StatementTime)?;
    advance(state, &event)?;
    let [a, b, c] = signatures;
    let events = binding::record(state, context, authority, record, [a, b, c], Some((old_id, old)))?;
    state.put_raw(key::replaced(&old_id), new.binding_id.0.into());
    Ok(events)
}

pub(super) fn factory<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    record: &[u8],
    signatures: &[Signature; 3],
    batch: &[u8],
) -> Result<Vec<Event>, Stop> {
    let new = binding::decode(record)?;
    let batch = DeviceCertificate::from_slice(batch).map_err(|_| Rejection::StatementFormat)?;
    // There was no network: what counts is when the factory signed.
    let authority = verify_batch(&batch, context.roots, Some(new.time)).map_err(|e| match e {
        Error::Expired => Rejection::AttestTime,
        _ => Rejection::AttestRoot,
    })?;
    let id = batch_id(&authority.key);
    let revoked = state.get(&key::revocation(&Target::Batch(id)))?.is_some();
    ensure(!revoked, Rejection::AttestRevoked)?;
    for entity in &new.entities {
        // Who is not registered at all is refused as in every binding.
        let issuer = state.get(&key::issuer(&entity.cid))?;
        ensure(issuer.is_none_or(|issuer| issuer == id), Rejection::FactoryBatch)?;
    }
    let [a, b, c] = signatures;
    binding::record(state, context, &authority.key, record, [a, b, c], None)
}
