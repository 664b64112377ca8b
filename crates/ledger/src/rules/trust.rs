//! What moves trust (L198 to L202): reports of metrics, and what the other rules see happen.
//!
//! Nothing here can make another rule fail: where there is no tensor there is nothing to move.

use alloc::{vec, vec::Vec};

use lct::{
    id::{BindingId, Cid},
    revocation::Reason,
    trust::{MetricsReport, TrustContext},
    validation::{Event as Stated, EventKind},
};

use super::{Claim, Context, Stop, check_believed, ensure};
use crate::{
    mrh::{self, Link, LinkKind},
    outcome::Event,
    records::{
        Binding, Cause, Change, Component, NO_COMPONENT, Ownership, Pairing, Pool, Reported, SigningKey,
        Status, Tensor, TrustSubject, Voucher, key,
    },
    reject::Rejection,
    state::{Halt, Overlay, View, load},
    trust::{
        Outcome, Ppm, T3, Weights,
        update::{Evidence, Metrics},
    },
    tx::{Signed, Target},
};

/// Time in which requests for a higher level are counted together, ms.
const HOUR_MS: u64 = 3_600_000;

/// Kind 50: metrics of a period.
pub(super) fn report<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    signed: &Signed,
) -> Result<Vec<Event>, Stop> {
    let r = MetricsReport::decode(&signed.statement).map_err(|_| Rejection::StatementFormat)?;
    let digest = r.digest().map_err(|_| Rejection::StatementFormat)?;
    check_believed(state, context, signed, &Claim { cid: r.observer, digest, end_ms: r.end_ms })?;
    let component: Option<Component> = load(state, &key::component(&r.subject))?;
    ensure(component.is_some_and(|c| !c.status.is_final()), Rejection::TrustSubject)?;
    let subject = TrustSubject::Component(r.subject);
    let first: Option<Tensor> = load(state, &key::tensor(&subject, TrustContext::Operation))?;
    let first = first.ok_or(Rejection::TrustUnbound)?;
    let voucher = voucher(state, context, &r.observer, &r.subject)?.ok_or(Rejection::TrustObserver)?;
    let weights = &context.params.trust;
    let [shortest_ms, ..] = weights.updates;
    ensure(r.end_ms - r.start_ms >= u64::from(shortest_ms), Rejection::TrustPeriod)?;
    // Periods of one observer never overlap, so nobody makes a count grow faster than time passes.
    let reported_key = key::reported(&r.subject, r.context, &r.observer);
    let reported: Option<Reported> = load(state, &reported_key)?;
    let known_from = first.from_ms.saturating_sub(context.params.max_future_ms);
    ensure(r.start_ms >= reported.map_or(known_from, |last| last.end_ms), Rejection::TrustOverlap)?;

    state.put(reported_key, &Reported { end_ms: r.end_ms });
    let [efficiency, reliability, accuracy, responsiveness, safety] =
        r.metrics.map(|m| Ppm::clamped(m.into()));
    let metrics = Metrics { efficiency, reliability, accuracy, responsiveness, safety };
    let mut edit = Edit::open(state, context, &subject, r.context)?
        .ok_or(Halt::Invariant("a bound component without tensor"))?;
    let confidence = confidence(voucher, weights);
    let evidence =
        Evidence { count: edit.tensor.observations, confidence, weight: weights.weight(r.context) };
    edit.moves(voucher, |t3| t3.after_observation(&metrics.observation(weights), &evidence, weights));
    if voucher != Voucher::Subject {
        // Its own word proves nothing, so it neither counts nor slows down the words of others.
        let t = &mut edit.tensor;
        t.observations = t.observations.saturating_add(1);
        t.claims = t.claims.saturating_add(1);
        t.verified = t.verified.saturating_add(accuracy.of(confidence).get().into());
        t.promised = t.promised.saturating_add(Ppm::ONE.get().into());
        t.earned = t.earned.saturating_add(efficiency.get().into());
    }
    let t3 = edit.t3;
    edit.close(state, Cause::Metrics, voucher, &r.observer);
    Ok(vec![
        Event::new("TrustUpdated")
            .with("cid", r.subject.0.as_slice())
            .with("context", r.context.name())
            .with("observer", r.observer.0.as_slice())
            .with("voucher", voucher.name())
            .with("talent", t3.talent.get())
            .with("training", t3.training.get())
            .with("temperament", t3.temperament.get()),
    ])
}

/// As whom `observer` speaks about `subject`. `None` for a stranger, and for an owner's other parts.
fn voucher<V: View>(
    view: &Overlay<V>,
    context: &Context<'_>,
    observer: &Cid,
    subject: &Cid,
) -> Result<Option<Voucher>, Halt> {
    if observer == subject {
        return Ok(Some(Voucher::Subject));
    }
    for pair in [key::bound_pair(observer, subject), key::bound_pair(subject, observer)] {
        let Some(id) = view.get(&pair)? else { continue };
        let id = id.try_into().map_err(|_| Halt::Invariant("a bound pair without binding id"))?;
        let binding: Option<Binding> = load(view, &key::binding(&BindingId(id)))?;
        if binding.is_some_and(|b| b.status == Status::Active) {
            return Ok(Some(Voucher::Counterparty));
        }
    }
    let owner_of = |cid: &Cid| load::<Ownership>(view, &key::ownership(cid));
    let owners = owner_of(observer)?.zip(owner_of(subject)?);
    if owners.is_none_or(|(one, other)| one.owner == other.owner) {
        return Ok(None);
    }
    // Anybody can own a part, and a report can take away what trust is asked for: who is bound to nothing that the subject is
    // bound to can have seen nothing of it.
    let bound = |cid| -> Result<Vec<Link>, Halt> {
        let mut links = mrh::links(view, cid, context.header.time_ms)?;
        links.retain(|link| link.kind == LinkKind::Bound);
        Ok(links)
    };
    let of_subject = bound(subject)?;
    let meets = bound(observer)?.iter().any(|link| of_subject.contains(link));
    Ok(meets.then_some(Voucher::Witness))
}

/// Confidence in who vouches.
fn confidence(voucher: Voucher, weights: &Weights) -> Ppm {
    let [own, counterparty, witness] = weights.confidence;
    Ppm::clamped(match voucher {
        Voucher::Subject => own.into(),
        Voucher::Counterparty => counterparty.into(),
        Voucher::Witness => witness.into(),
        Voucher::Ledger => Ppm::ONE.get().into(),
    })
}

/// A tensor at block time that is being changed.
struct Edit<'a> {
    context: &'a Context<'a>,
    key: Vec<u8>,
    tensor: Tensor,
    t3: T3,
}

impl<'a> Edit<'a> {
    /// The tensor of a subject. For a component that is known but was never judged in `within` a fresh one that begins where it
    /// is in operation, so that the first word there weighs what any other does; `None` for an unknown subject.
    fn open<V: View>(
        state: &Overlay<V>,
        context: &'a Context<'a>,
        subject: &TrustSubject,
        within: TrustContext,
    ) -> Result<Option<Self>, Halt> {
        let now_ms = context.header.time_ms;
        let key = key::tensor(subject, within);
        let tensor = match load::<Tensor>(state, &key)? {
            Some(tensor) => tensor,
            None => {
                let first: Option<Tensor> = load(state, &key::tensor(subject, TrustContext::Operation))?;
                let Some(first) = first else { return Ok(None) };
                let (t3, _) = first.at(now_ms, &context.params.trust);
                let [talent, training, temperament] = t3.dimensions();
                let recovers_to = first.recovers_to;
                let fresh = Tensor::new(first.baseline, now_ms);
                Tensor { talent, training, temperament, recovers_to, ..fresh }
            }
        };
        let (t3, _) = tensor.at(now_ms, &context.params.trust);
        Ok(Some(Self { context, key, tensor, t3 }))
    }

    /// Moves T3. What the subject says of itself carries a dimension beyond its baseline only by the confidence in it, and what
    /// a counterparty says carries one below it only by that in the counterparty (L225).
    fn moves(&mut self, voucher: Voucher, change: impl FnOnce(&T3) -> T3) {
        let share = confidence(voucher, &self.context.params.trust);
        let baseline = self.tensor.baseline;
        let [mut least, mut most] = [Ppm::ZERO, Ppm::ONE];
        match voucher {
            Voucher::Subject => {
                let room = Ppm::clamped(i128::from(Ppm::ONE.get() - baseline.get()));
                most = Ppm::clamped(i128::from(baseline.get() + room.of(share).get()));
            }
            Voucher::Counterparty => {
                least = Ppm::clamped(i128::from(baseline.get() - baseline.of(share).get()));
            }
            Voucher::Witness | Voucher::Ledger => {}
        }
        let mut dimensions = change(&self.t3).dimensions();
        for (value, before) in dimensions.iter_mut().zip(self.t3.dimensions()) {
            *value = (*value).min(most.max(before)).max(least.min(before));
        }
        self.t3 = T3::of(dimensions);
    }

    /// Counts an outcome and moves T3 by it.
    fn meets(&mut self, outcome: Outcome, voucher: Voucher) {
        let weights = &self.context.params.trust;
        let number = outcome as u8;
        let again = self.tensor.outcome == number;
        self.tensor.repeats = if again { self.tensor.repeats.saturating_add(1) } else { 1 };
        self.tensor.outcome = number;
        if outcome == Outcome::Violation {
            self.tensor.recovers_to = self.t3.temperament;
        }
        let n = self.tensor.repeats;
        let confidence = confidence(voucher, weights);
        self.moves(voucher, |t3| t3.after_outcome(outcome, n, confidence, weights));
    }

    /// Writes the tensor back and notes why.
    fn close<V: View>(mut self, state: &mut Overlay<V>, cause: Cause, voucher: Voucher, by: &Cid) {
        let time_ms = self.context.header.time_ms;
        let [_, kept, _] = self.context.params.trust.updates;
        let t = &mut self.tensor;
        [t.talent, t.training, t.temperament] = self.t3.dimensions();
        t.since_ms = time_ms;
        t.count = t.count.saturating_add(1);
        let changes = &mut t.changes.0;
        changes.push(Change { cause, voucher, by: *by, t3: self.t3, time_ms, tx: self.context.tx_id });
        let surplus = changes.len().saturating_sub(kept as usize);
        changes.drain(..surplus);
        state.put(self.key, t);
    }
}

/// A tensor begins where the assurance of its binding lets it (L201). One that nothing moved yet rises with a better
/// binding; any other stays, so that binding anew wipes nothing out.
fn begin<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    subject: &TrustSubject,
    assurance: u8,
) -> Result<(), Halt> {
    let weights = &context.params.trust;
    let baseline = weights.baselines.get(usize::from(assurance)).copied().unwrap_or_default();
    let baseline = Ppm::clamped(baseline.into());
    let key = key::tensor(subject, TrustContext::Operation);
    let known: Option<Tensor> = load(state, &key)?;
    if known.is_none_or(|t| t.count == 1 && t.baseline < baseline) {
        let tensor = Tensor::new(baseline, context.header.time_ms);
        let edit = Edit { context, key, tensor, t3: T3::level(baseline) };
        edit.close(state, Cause::Baseline, Voucher::Ledger, &NO_COMPONENT);
    }
    Ok(())
}

/// Moves a known subject by an outcome.
fn outcome<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    (subject, within): (&TrustSubject, TrustContext),
    outcome: Outcome,
    voucher: Voucher,
    by: &Cid,
) -> Result<(), Halt> {
    let Some(mut edit) = Edit::open(state, context, subject, within)? else { return Ok(()) };
    edit.meets(outcome, voucher);
    edit.close(state, Cause::Outcome(outcome), voucher, by);
    Ok(())
}

/// A binding was recorded.
pub(super) fn bound<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    binding: &Binding,
) -> Result<(), Halt> {
    for side in [binding.a, binding.b] {
        begin(state, context, &TrustSubject::Component(side), binding.assurance)?;
    }
    Ok(())
}

/// A pairing was completed; `binding` counts it already.
pub(super) fn paired<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    id: &BindingId,
    binding: &Binding,
) -> Result<(), Halt> {
    let within = TrustContext::Operation;
    let relation = TrustSubject::Relation(*id);
    let new = binding.pairings == 1;
    let success = if new { Outcome::NovelSuccess } else { Outcome::StandardSuccess };
    if new {
        begin(state, context, &relation, binding.assurance)?;
    } else {
        outcome(state, context, (&relation, within), success, Voucher::Counterparty, &NO_COMPONENT)?;
    }
    for (side, other) in [(binding.a, binding.b), (binding.b, binding.a)] {
        let subject = TrustSubject::Component(side);
        outcome(state, context, (&subject, within), success, Voucher::Counterparty, &other)?;
    }
    Ok(())
}

/// Side B of a pairing counted a session.
pub(super) fn used<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    pairing: &Pairing,
) -> Result<(), Halt> {
    let subject = (&TrustSubject::Relation(pairing.binding_id), TrustContext::Operation);
    outcome(state, context, subject, Outcome::StandardSuccess, Voucher::Subject, &pairing.b)
}

/// Something was withdrawn: by a side, or by order.
pub(super) fn withdrawn<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    target: &Target,
    reason: u8,
    by: Option<Cid>,
) -> Result<(), Halt> {
    let outcome_of_it = match Reason::from_code(reason) {
        Ok(Reason::Violation) => Outcome::Violation,
        Ok(Reason::KeyCompromise | Reason::Lost) => Outcome::UnexpectedFailure,
        _ => return Ok(()),
    };
    let mut subjects = Vec::new();
    match target {
        Target::Component(cid) => subjects.push(TrustSubject::Component(*cid)),
        Target::Binding(id) => subjects.push(TrustSubject::Relation(*id)),
        Target::Pairing(id) => {
            let pairing: Option<Pairing> = load(state, &key::pairing(id))?;
            subjects.extend(pairing.map(|p| TrustSubject::Relation(p.binding_id)));
        }
        Target::SigningKey(signing) => {
            let owner: Option<SigningKey> = load(state, &key::signing_key(signing))?;
            subjects.extend(owner.iter().map(|o| TrustSubject::Relation(o.binding_id)));
            subjects.extend(owner.iter().map(|o| TrustSubject::Component(o.cid)));
        }
        Target::Batch(_) | Target::Account(_) | Target::Delegation(_) => {}
    }
    let voucher = if by.is_some() { Voucher::Counterparty } else { Voucher::Ledger };
    for subject in &subjects {
        for within in TrustContext::ALL {
            // In what it was never judged there is nothing to lose.
            if state.get(&key::tensor(subject, within))?.is_some() {
                let by = by.unwrap_or(NO_COMPONENT);
                outcome(state, context, (subject, within), outcome_of_it, voucher, &by)?;
            }
        }
    }
    Ok(())
}

/// A component stated an event, and `witnesses` saw it.
pub(super) fn stated<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    event: &Stated,
    witnesses: &[Cid],
) -> Result<(), Halt> {
    let subject = TrustSubject::Component(event.cid);
    let mut best: Option<(Voucher, Cid)> = None;
    for witness in witnesses {
        match voucher(state, context, witness, &event.cid)? {
            Some(Voucher::Witness) => best = Some((Voucher::Witness, *witness)),
            Some(Voucher::Counterparty) if best.is_none() => best = Some((Voucher::Counterparty, *witness)),
            _ => {}
        }
    }
    let claimed_in = match event.kind {
        EventKind::Fault => {
            let by = best.map_or(NO_COMPONENT, |(_, witness)| witness);
            let failure = Outcome::ExpectedFailure;
            outcome(state, context, (&subject, TrustContext::Operation), failure, Voucher::Subject, &by)?;
            None
        }
        EventKind::StateChange => Some(TrustContext::Operation),
        EventKind::Energy => Some(TrustContext::Energy),
        EventKind::Telemetry => Some(TrustContext::Diagnostic),
        _ => None,
    };
    if let Some(((voucher, witness), within)) = best.zip(claimed_in)
        && let Some(mut edit) = Edit::open(state, context, &subject, within)?
    {
        let confirmed = confidence(voucher, &context.params.trust);
        edit.tensor.claims = edit.tensor.claims.saturating_add(1);
        edit.tensor.verified = edit.tensor.verified.saturating_add(confirmed.get().into());
        edit.close(state, Cause::Claim, voucher, &witness);
    }
    if event.escalation.is_some() {
        asked(state, context, &subject)?;
    }
    Ok(())
}

/// A component asked for a higher level. Beyond what an hour allows it is a failure.
fn asked<V: View>(state: &mut Overlay<V>, context: &Context<'_>, subject: &TrustSubject) -> Result<(), Halt> {
    let Some(mut edit) = Edit::open(state, context, subject, TrustContext::Operation)? else { return Ok(()) };
    let now_ms = context.header.time_ms;
    let t = &mut edit.tensor;
    if now_ms.saturating_sub(t.asked_ms) >= HOUR_MS {
        (t.asked, t.asked_ms) = (0, now_ms);
    }
    t.asked = t.asked.saturating_add(1);
    let [.., allowed] = context.params.trust.updates;
    if t.asked > allowed {
        let failure = Outcome::UnexpectedFailure;
        edit.meets(failure, Voucher::Ledger);
        edit.close(state, Cause::Outcome(failure), Voucher::Ledger, &NO_COMPONENT);
    } else {
        state.put(edit.key, &edit.tensor);
    }
    Ok(())
}

/// A pack began a cycle while the one before was open: it did not say what came of that one.
pub(super) fn cycle_left<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    pack: &Cid,
) -> Result<(), Halt> {
    let subject = TrustSubject::Component(*pack);
    let Some(mut edit) = Edit::open(state, context, &subject, TrustContext::Energy)? else { return Ok(()) };
    let failure = Outcome::ExpectedFailure;
    edit.tensor.deliveries = edit.tensor.deliveries.saturating_add(1);
    edit.meets(failure, Voucher::Ledger);
    edit.close(state, Cause::Outcome(failure), Voucher::Ledger, &NO_COMPONENT);
    Ok(())
}

/// A pack closed a cycle; one that is not its last was counted as left before.
pub(super) fn cycle_closed<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    pack: &Cid,
    pool: &Pool,
    last: bool,
) -> Result<(), Halt> {
    let subject = TrustSubject::Component(*pack);
    let Some(mut edit) = Edit::open(state, context, &subject, TrustContext::Energy)? else { return Ok(()) };
    edit.tensor.deliveries = edit.tensor.deliveries.saturating_add(u64::from(last));
    edit.tensor.delivered = edit.tensor.delivered.saturating_add(1);
    let (success, voucher) = (Outcome::StandardSuccess, Voucher::Subject);
    edit.meets(success, voucher);
    // Of all energy that came in, what did not get lost: events alone would call a pack that only charged useless.
    let received = pool.charged.saturating_add(pool.untracked_charged).saturating_add(pool.received);
    let lost = Ppm::ratio(pool.untracked_discharged, received).unwrap_or(Ppm::ZERO);
    let efficiency = Ppm::clamped(i128::from(Ppm::ONE.get()) - i128::from(lost.get()));
    let weights = &context.params.trust;
    let evidence = Evidence {
        count: edit.tensor.observations,
        confidence: confidence(voucher, weights),
        weight: weights.weight(TrustContext::Energy),
    };
    edit.moves(voucher, |t3| t3.after_observation(&T3 { talent: efficiency, ..*t3 }, &evidence, weights));
    edit.close(state, Cause::Outcome(success), voucher, pack);
    Ok(())
}
