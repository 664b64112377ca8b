//! LCTs after their making: what stands in the way of a relation (L142), what is stated in its context (L144 to L146), and
//! what follows from closed energy cycles (L147).

use alloc::{vec, vec::Vec};

use lct::{
    Digest,
    context::{Content, Statement},
    id::{BindingId, Cid, Role},
    lifecycle::State,
    revocation::Reason,
    sign::{PublicKey, Signature},
};

use super::{Context, Stop, ensure, lifecycle, not_future};
use crate::{
    outcome::Event,
    records::{
        Account, Binding, Component, Cycle, DeviceKey, Lct, LctStatus, Pool, Status, key,
        registry::{ContextHead, ContextRecord, MAX_SEEN, Party, Performance, Seen, Witnessing},
    },
    reject::Rejection,
    state::{Halt, Overlay, View, load},
};

pub(super) fn status<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    id: &Digest,
    (to, reason): (u8, Reason),
) -> Result<Vec<Event>, Stop> {
    let lct: Option<Lct> = load(state, &key::lct(id))?;
    // That of an entity follows its component.
    let mut lct = lct.filter(|l| l.a != l.b).ok_or(Rejection::LctUnknown)?;
    let governs = lifecycle::governs(state, context, &lct.a, sender)?
        || lifecycle::governs(state, context, &lct.b, sender)?;
    ensure(governs, Rejection::LctDenied)?;
    let to = LctStatus::from_code(to).ok_or(Rejection::LctStatus)?;
    use LctStatus::{Active, Pending, Suspended, Terminated};
    let may = match (lct.status, to) {
        (Pending | Suspended, Active) => related(state, &lct.a, &lct.b)?,
        (Active, Suspended) | (Pending | Active | Suspended, Terminated) => true,
        _ => false,
    };
    ensure(may, Rejection::LctStatus)?;

    lct.status = to;
    state.put(key::lct(id), &lct);
    if to == Terminated {
        for cid in [&lct.a, &lct.b] {
            let component: Option<Component> = load(state, &key::component(cid))?;
            let mut component = component.ok_or(Halt::Invariant("a component of a relation is missing"))?;
            component.lcts = component.lcts.saturating_sub(1);
            state.put(key::component(cid), &component);
        }
    }
    Ok(vec![
        Event::new("LctUpdated")
            .with("lct_id", id.as_slice())
            .with("status", to.name())
            .with("reason", reason as u32),
    ])
}

/// Whether the two are bound to each other, and both active.
pub(super) fn related(view: &impl View, a: &Cid, b: &Cid) -> Result<bool, Halt> {
    let mut roles = Vec::with_capacity(2);
    for cid in [a, b] {
        let component: Option<Component> = load(view, &key::component(cid))?;
        match component.filter(|c| c.status == State::Active) {
            Some(c) => roles.push((c.role, *cid)),
            None => return Ok(false),
        }
    }
    roles.sort_unstable();
    let [(_, a), (_, b)] = roles[..] else { return Ok(false) };
    bound(view, &a, &b)
}

/// Whether a binding of A and B is in force.
fn bound(view: &impl View, a: &Cid, b: &Cid) -> Result<bool, Halt> {
    let Some(id) = view.get(&key::bound_pair(a, b))? else { return Ok(false) };
    let id = <[u8; 16]>::try_from(id.as_slice())
        .map_err(|_| Halt::Invariant("a bound pair without binding id"))?;
    let binding: Option<Binding> = load(view, &key::binding(&BindingId(id)))?;
    Ok(binding.is_some_and(|b| b.status == Status::Active))
}

pub(super) fn stated<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    statement: &[u8],
    signer: &PublicKey,
    signature: &Signature,
) -> Result<Vec<Event>, Stop> {
    let s = Statement::decode(statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = s.digest().map_err(|_| Rejection::StatementFormat)?;
    ensure(s.chain_id == context.header.chain_id, Rejection::LctChain)?;
    let lct: Option<Lct> = load(state, &key::lct(&s.lct))?;
    let lct = lct.ok_or(Rejection::LctUnknown)?;
    ensure(lct.status != LctStatus::Terminated, Rejection::LctEnded)?;
    let component: Option<Component> = load(state, &key::component(&lct.a))?;
    let component = component.ok_or(Halt::Invariant("an LCT without component"))?;
    let entity = lct.a == lct.b;
    let belongs = match &s.content {
        Content::Manufacturing { .. } => entity,
        Content::Deployment { .. } => true,
        Content::Scope { .. } => entity && component.role == Role::App,
        Content::Witness { .. } => entity && component.role == Role::Pack,
        Content::Profile { .. } => entity && component.role == Role::Module,
    };
    ensure(belongs, Rejection::LctKind)?;
    let kind = s.content.kind();
    let head: Option<ContextHead> = load(state, &key::context(&s.lct, kind))?;
    let last = head.map_or(0, |h| h.number);
    ensure(last.checked_add(1) == Some(s.number), Rejection::LctSequence)?;
    ensure(may_state(state, context, &lct, &s.content, signer)?, Rejection::LctSigner)?;
    ensure(holds(state, context, &lct, &s.content)?, Rejection::LctValue)?;
    ensure(not_future(context, s.time_ms), Rejection::StatementTime)?;
    signer.verify(&digest, signature).map_err(|_| Rejection::LctProof)?;

    if let Content::Witness { modules } = &s.content {
        let before: Option<ContextRecord> = load(state, &key::context_record(&s.lct, kind, last))?;
        let before = before.map(|r| Statement::decode(&r.statement));
        if let Some(Ok(Statement { content: Content::Witness { modules: before }, .. })) = before {
            for module in before.iter().filter(|m| !modules.contains(m)) {
                // Another pack may have named it since.
                let at = key::counter_signer(module);
                if state.get(&at)?.is_some_and(|pack| pack == lct.a.0) {
                    state.delete(at);
                }
            }
        }
        for module in modules {
            state.put_raw(key::counter_signer(module), lct.a.0.into());
        }
    }
    state.put(key::context(&s.lct, kind), &ContextHead { number: s.number });
    let record = ContextRecord {
        statement: statement.into(),
        key: *signer,
        height: context.header.height,
        time_ms: context.header.time_ms,
        tx: context.tx_id,
    };
    state.put(key::context_record(&s.lct, kind, s.number), &record);
    Ok(vec![
        Event::new("ContextRecorded")
            .with("lct_id", s.lct.as_slice())
            .with("kind", s.content.name())
            .with("number", s.number),
    ])
}

/// Who may state what about an LCT (L145).
fn may_state(
    view: &impl View,
    context: &Context<'_>,
    lct: &Lct,
    content: &Content,
    signer: &PublicKey,
) -> Result<bool, Halt> {
    let parties = lifecycle::parties(view, context, &lct.a, signer)?;
    Ok(match content {
        Content::Manufacturing { .. } | Content::Profile { .. } => parties.contains(&Party::Manufacturer),
        Content::Deployment { .. } => {
            lifecycle::governs(view, context, &lct.a, signer)?
                || lifecycle::governs(view, context, &lct.b, signer)?
        }
        Content::Scope { .. } => parties.contains(&Party::Authority),
        Content::Witness { .. } => {
            let device: Option<DeviceKey> = load(view, &key::device_key(signer))?;
            device.is_some_and(|d| d.cid == lct.a && d.status == Status::Active)
        }
    })
}

/// Whether what a statement names is there: packs and account of a scope, bound modules of a witness.
fn holds(view: &impl View, context: &Context<'_>, lct: &Lct, content: &Content) -> Result<bool, Halt> {
    match content {
        Content::Scope { packs, account, .. } => {
            for pack in packs {
                let pack: Option<Component> = load(view, &key::component(pack))?;
                if pack.is_none_or(|c| c.role != Role::Pack || c.status.is_final()) {
                    return Ok(false);
                }
            }
            let account: Option<Account> = load(view, &key::account(account))?;
            Ok(account.is_some_and(|a| a.in_force(context.header.height)))
        }
        Content::Witness { modules } => {
            for module in modules {
                if !bound(view, &lct.a, module)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(true),
    }
}

/// The pack without whose word an energy event of `module` does not count: one that answers for it and is bound to it.
pub(super) fn counter_signer(view: &impl View, module: &Cid) -> Result<Option<Cid>, Halt> {
    let Some(pack) = view.get(&key::counter_signer(module))? else { return Ok(None) };
    let pack = <[u8; 16]>::try_from(pack.as_slice())
        .map_err(|_| Halt::Invariant("a counter-signer that is no cid"))?;
    Ok(if bound(view, &Cid(pack), module)? { Some(Cid(pack)) } else { None })
}

/// Whether a pack to which `module` is bound is among `witnesses`.
pub(super) fn seen_by_its_pack(view: &impl View, module: &Cid, witnesses: &[Cid]) -> Result<bool, Halt> {
    for witness in witnesses {
        let component: Option<Component> = load(view, &key::component(witness))?;
        if component.is_some_and(|c| c.role == Role::Pack) && bound(view, witness, module)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A pack closed an energy cycle: its performance is that of all its closed cycles (L147).
pub(super) fn cycle_closed<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    cid: &Cid,
    number: u32,
    cycle: &Cycle,
) -> Result<(), Halt> {
    let pool: Option<Pool> = load(state, &key::pool(cid))?;
    let pool = pool.ok_or(Halt::Invariant("a closed cycle without pool"))?;
    let before: Option<Performance> = load(state, &key::performance(cid))?;
    let mut p = before.unwrap_or_else(Performance::empty);
    p.cycles += 1;
    p.charged += u128::from(cycle.charged);
    p.discharged += u128::from(cycle.discharged);
    p.excess += u128::from(cycle.excess);
    p.minted = pool.minted;
    p.last_cycle = number;
    p.last_end_ms = cycle.end_ms;
    p.height = context.header.height;
    state.put(key::performance(cid), &p);
    Ok(())
}

/// A witness saw what a component stated: both note it (L148). Of more than there is room for, whom they met longest ago
/// gives way.
pub(super) fn saw<V: View>(
    state: &mut Overlay<V>,
    witness: &Cid,
    stated_by: &Cid,
    now_ms: u64,
) -> Result<(), Halt> {
    for (cid, peer, sees) in [(witness, stated_by, true), (stated_by, witness, false)] {
        let list: Option<Witnessing> = load(state, &key::witnessing(cid))?;
        let mut list = list.map_or_else(Vec::new, |w| w.0);
        let at = list.partition_point(|seen| seen.peer < *peer);
        if list.get(at).is_none_or(|seen| seen.peer != *peer) {
            list.insert(at, Seen { peer: *peer, saw: 0, seen_by: 0, last_ms: 0 });
        }
        let seen = &mut list[at];
        let count = if sees { &mut seen.saw } else { &mut seen.seen_by };
        *count = count.saturating_add(1);
        seen.last_ms = now_ms;
        if list.len() > MAX_SEEN {
            let oldest =
                list.iter().enumerate().min_by_key(|(_, seen)| (seen.last_ms, seen.peer)).map(|(i, _)| i);
            list.remove(oldest.unwrap_or(0));
        }
        state.put(key::witnessing(cid), &Witnessing(list));
    }
    Ok(())
}
