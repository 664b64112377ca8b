//! Registration of a component: manufacturer attestation, proof of possession, uniqueness (L33).

use alloc::{vec, vec::Vec};

use lct::{
    Error,
    attest::verify_chain,
    id::{Cid, Role},
    lifecycle::State,
    registration::{Registration, digest_of},
    revocation::batch_id,
    sign::Signature,
};

use super::{Context, Stop, count, ensure};
use crate::{
    outcome::Event,
    records::{Component, Custody, DeviceKey, Lct, LctStatus, Status, entity_lct_id, key},
    reject::Rejection,
    state::{Overlay, View},
    tx::Target,
};

/// Largest attested capacity: 1 GWh in mWh. Keeps every sum of energies far inside 64 bits.
pub const MAX_CAPACITY_MWH: u64 = 1_000_000_000_000;

pub(super) fn apply<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    signature: &Signature,
) -> Result<Vec<Event>, Stop> {
    let r = Registration::decode(statement).map_err(|e| match e {
        Error::WrongParty => Rejection::AttestMismatch,
        _ => Rejection::StatementFormat,
    })?;
    let chain_id = context.header.chain_id;
    ensure(r.chain_id == chain_id, Rejection::RegistryChain)?;
    let now = u32::try_from(context.header.time_ms / 1000).unwrap_or(u32::MAX);
    let subject = verify_chain(&r.device, &r.batch, context.roots, Some(now)).map_err(|e| match e {
        Error::Expired => Rejection::AttestTime,
        _ => Rejection::AttestRoot,
    })?;
    let batch = r.batch.subject().map_err(|_| Rejection::StatementFormat)?;
    let revoked = state.get(&key::revocation(&Target::Batch(batch_id(&batch.key))))?.is_some();
    ensure(!revoked, Rejection::AttestRevoked)?;
    ensure(subject.role != Role::Authority, Rejection::AttestRole)?;
    let capacity_fits =
        r.capacity_mwh <= MAX_CAPACITY_MWH && (r.capacity_mwh > 0 || subject.role != Role::Pack);
    ensure(capacity_fits, Rejection::RegistryCapacity)?;
    subject.key.verify(&digest_of(statement), signature).map_err(|_| Rejection::RegistryProof)?;

    let cid = Cid::of(&r.component_id);
    ensure(state.get(&key::component(&cid))?.is_none(), Rejection::RegistryExists)?;
    ensure(state.get(&key::serial(&r.serial))?.is_none(), Rejection::RegistrySerialExists)?;
    ensure(state.get(&key::device_key(&subject.key))?.is_none(), Rejection::RegistryKeyExists)?;

    let (height, time_ms) = (context.header.height, context.header.time_ms);
    let lct = entity_lct_id(&chain_id, &cid, &subject.key);
    let (status, standing) = match context.params.admission {
        0 => (State::Active, LctStatus::Active),
        _ => (State::Pending, LctStatus::Pending),
    };
    let component = Component {
        component_id: r.component_id.as_str().into(),
        serial: r.serial.as_str().into(),
        role: subject.role,
        device_key: subject.key,
        hw: r.hardware,
        fw: r.firmware,
        capacity_mwh: r.capacity_mwh,
        opening_soc_ppm: r.opening_soc_ppm,
        lct,
        status,
        height,
        time_ms,
        lcts: 0,
        bindings: 0,
    };
    state.put(key::component(&cid), &component);
    state.put_raw(key::serial(&r.serial), cid.0.into());
    state.put_raw(key::issuer(&cid), batch_id(&batch.key).into());
    state.put(key::device_key(&subject.key), &DeviceKey { cid, status: Status::Active, from_height: height });
    state.put(key::custody(&cid), &Custody { flags: subject.flags });
    let entity = Lct { a: cid, b: cid, context: Default::default(), status: standing, height, time_ms };
    state.put(key::lct(&lct), &entity);
    count(state, |t| {
        t.components += 1;
        t.lcts += 1;
    })?;
    Ok(vec![
        Event::new("ComponentRegistered")
            .with("cid", cid.0.as_slice())
            .with("component_id", r.component_id.as_str())
            .with("role", subject.role.name())
            .with("serial", r.serial.as_str())
            .with("lct_id", lct.as_slice()),
    ])
}
