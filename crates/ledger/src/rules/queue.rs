//! Wishes that wait for a device to come back (L151 to L153). The queue makes no pairing and ends none, for that needs the
//! signatures of the sides; it keeps what is wanted, and says at each try whether it has come about.

use alloc::{vec, vec::Vec};

use lct::{id::Cid, revocation::Reason, sign::PublicKey};

use super::{Context, Stop, ensure, lct_create::valid_context, lifecycle};
use crate::{
    outcome::Event,
    records::{
        Binding, Bindings, Component, Pairing, Pairings, key,
        registry::{MAX_QUEUED, NO_PROXY, Queue, QueueId, QueueStatus, Queued, Wish},
    },
    reject::Rejection,
    state::{Halt, Overlay, View, load},
};

/// How long a request waits: 168 hours, in milliseconds.
pub const LIFETIME_MS: u64 = 168 * 3_600_000;
/// Wait after the first failed try, in milliseconds.
const FIRST_WAIT_MS: u64 = 300_000;
/// Longest wait between two tries, in milliseconds.
const LONGEST_WAIT_MS: u64 = 4_800_000;
/// Most requests that one transaction tries.
const BATCH: usize = 10;
/// Most requests that somebody without a say over a component keeps waiting in its queue.
const SHARE: usize = 20;

/// Wait after the `tries`-th failed try: 300 s, doubled each time, at most 4800 s.
fn wait_ms(tries: u8) -> u64 {
    let doublings = u32::from(tries.saturating_sub(1)).min(4);
    (FIRST_WAIT_MS << doublings).min(LONGEST_WAIT_MS)
}

/// What is wanted.
pub(super) struct Request<'a> {
    pub initiator: &'a Cid,
    pub target: &'a Cid,
    pub wish: u8,
    pub priority: u8,
    pub proxy: &'a Cid,
    pub purpose: &'a str,
}

pub(super) fn request<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    wanted: &Request<'_>,
) -> Result<Vec<Event>, Stop> {
    let Request { initiator, target, wish, priority, proxy, purpose } = *wanted;
    let wish = Wish::from_code(wish).ok_or(Rejection::QueueInvalid)?;
    let apart = initiator != target && proxy != initiator && proxy != target;
    ensure(apart && (1..=4).contains(&priority) && valid_context(purpose), Rejection::QueueInvalid)?;
    for cid in [initiator, target, proxy] {
        let component: Option<Component> = load(state, &key::component(cid))?;
        let there = component.is_some_and(|c| !c.status.is_final());
        ensure(there || (cid == proxy && *proxy == NO_PROXY), Rejection::QueueComponent)?;
    }
    let now_ms = context.header.time_ms;
    // Whoever asks, and whoever asks in its place, must find it.
    let askers = askers(initiator, proxy);
    for cid in &askers {
        for id in queue_of(state, cid)? {
            let late = queued(state, &id)?;
            if late.expires_ms <= now_ms {
                end(state, &id, late, QueueStatus::Expired, now_ms)?;
            }
        }
        let waiting = queue_of(state, cid)?;
        ensure(waiting.len() < MAX_QUEUED, Rejection::QueueLimit)?;
        if !lifecycle::governs(state, context, cid, sender)? {
            let mut theirs = 0;
            for id in &waiting {
                theirs += usize::from(queued(state, id)?.sender == *sender);
            }
            ensure(theirs < SHARE, Rejection::QueueLimit)?;
        }
    }

    let id = QueueId::of(&context.tx_id);
    for cid in &askers {
        let mut list = queue_of(state, cid)?;
        list.push(id);
        state.put(key::queue_of(cid), &Queue(list));
    }
    let request = Queued {
        initiator: *initiator,
        target: *target,
        wish,
        priority,
        proxy: *proxy,
        context: purpose.into(),
        sender: *sender,
        status: QueueStatus::Queued,
        tries: 0,
        height: context.header.height,
        time_ms: now_ms,
        next_ms: now_ms,
        expires_ms: now_ms.saturating_add(LIFETIME_MS),
        ended_ms: 0,
    };
    state.put(key::queued(&id), &request);
    Ok(vec![
        Event::new("PairingRequestQueued")
            .with("request_id", id.0.as_slice())
            .with("component_a", initiator.0.as_slice())
            .with("component_b", target.0.as_slice())
            .with("wish", wish.name())
            .with("priority", u32::from(priority))
            .with("context", purpose),
    ])
}

pub(super) fn process<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    cid: &Cid,
) -> Result<Vec<Event>, Stop> {
    let now_ms = context.header.time_ms;
    let mut due = Vec::new();
    for id in queue_of(state, cid)? {
        let request = queued(state, &id)?;
        if request.next_ms <= now_ms || request.expires_ms <= now_ms {
            due.push((id, request));
        }
    }
    ensure(!due.is_empty(), Rejection::QueueIdle)?;
    // What is urgent first, then what has waited longest.
    due.sort_by_key(|(id, r)| (u8::MAX - r.priority, r.time_ms, id.0));
    let mut ends = [0_u32; 3];
    let mut events = Vec::new();
    for (id, mut request) in due.into_iter().take(BATCH) {
        let status = if request.expires_ms <= now_ms {
            QueueStatus::Expired
        } else {
            request.tries += 1;
            if came_about(state, &request, now_ms)? {
                QueueStatus::Completed
            } else if request.tries >= request.wish.most_tries() {
                QueueStatus::Failed
            } else {
                request.next_ms = now_ms.saturating_add(wait_ms(request.tries));
                QueueStatus::Queued
            }
        };
        events.push(
            Event::new("PairingRequestTried")
                .with("request_id", id.0.as_slice())
                .with("tries", u32::from(request.tries))
                .with("status", status.name())
                .with("next_ms", request.next_ms),
        );
        match status {
            QueueStatus::Queued => {
                ends[0] += 1;
                state.put(key::queued(&id), &request);
            }
            _ => {
                ends[if status == QueueStatus::Completed { 1 } else { 2 }] += 1;
                end(state, &id, request, status, now_ms)?;
            }
        }
    }
    let [waiting, completed, failed] = ends;
    let processed = Event::new("OfflineQueueProcessed")
        .with("cid", cid.0.as_slice())
        .with("completed", completed)
        .with("failed", failed)
        .with("waiting", waiting);
    events.insert(0, processed);
    Ok(events)
}

pub(super) fn cancel<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    sender: &PublicKey,
    id: &QueueId,
    reason: Reason,
) -> Result<Vec<Event>, Stop> {
    let found: Option<Queued> = load(state, &key::queued(id))?;
    let found = found.filter(|r| r.status == QueueStatus::Queued).ok_or(Rejection::QueueUnknown)?;
    let may = found.sender == *sender || lifecycle::governs(state, context, &found.initiator, sender)?;
    ensure(may, Rejection::QueueDenied)?;

    end(state, id, found, QueueStatus::Cancelled, context.header.time_ms)?;
    let event = Event::new("RequestCancelled").with("request_id", id.0.as_slice());
    Ok(vec![event.with("reason", reason as u32)])
}

/// Whether what is wanted is so: a pairing in force that was recorded since, or none at all.
fn came_about(view: &impl View, request: &Queued, now_ms: u64) -> Result<bool, Halt> {
    let bindings: Option<Bindings> = load(view, &key::bindings_of(&request.initiator))?;
    let mut paired = false;
    for id in bindings.map_or_else(Vec::new, |l| l.0) {
        let binding: Option<Binding> = load(view, &key::binding(&id))?;
        let binding = binding.ok_or(Halt::Invariant("a listed binding is missing"))?;
        if ![binding.a, binding.b].contains(&request.target) {
            continue;
        }
        let pairings: Option<Pairings> = load(view, &key::pairings_of(&id))?;
        for id in pairings.map_or_else(Vec::new, |l| l.0) {
            let pairing: Option<Pairing> = load(view, &key::pairing(&id))?;
            let pairing = pairing.ok_or(Halt::Invariant("a listed pairing is missing"))?;
            let counts = request.wish == Wish::Unpair || pairing.time_ms >= request.time_ms;
            paired |= counts && pairing.in_force(now_ms);
        }
    }
    Ok(paired == (request.wish == Wish::Pair))
}

/// In whose queues a request stands.
fn askers(initiator: &Cid, proxy: &Cid) -> Vec<Cid> {
    [initiator, proxy].into_iter().filter(|cid| **cid != NO_PROXY).copied().collect()
}

/// Ends a request and takes it out of the queues.
fn end<V: View>(
    state: &mut Overlay<V>,
    id: &QueueId,
    mut request: Queued,
    status: QueueStatus,
    now_ms: u64,
) -> Result<(), Halt> {
    for cid in askers(&request.initiator, &request.proxy) {
        let mut list = queue_of(state, &cid)?;
        list.retain(|other| other != id);
        state.put(key::queue_of(&cid), &Queue(list));
    }
    (request.status, request.ended_ms) = (status, now_ms);
    state.put(key::queued(id), &request);
    Ok(())
}

fn queue_of(view: &impl View, cid: &Cid) -> Result<Vec<QueueId>, Halt> {
    let list: Option<Queue> = load(view, &key::queue_of(cid))?;
    Ok(list.map_or_else(Vec::new, |l| l.0))
}

fn queued(view: &impl View, id: &QueueId) -> Result<Queued, Halt> {
    load(view, &key::queued(id))?.ok_or(Halt::Invariant("a queued request is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_longest() {
        let waits = [1, 2, 3, 4, 5, 6, 255].map(|tries| wait_ms(tries) / 1000);
        assert_eq!(waits, [300, 600, 1200, 2400, 4800, 4800, 4800]);
    }
}
