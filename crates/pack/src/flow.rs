//! What flows through one module, counted by the module and by its pack, and the pack's judgement of what the module
//! says (`spec/channel.md`, H240 to H242, H244).
//!
//! Integers throughout, as in [`crate::energy`]: mV x mA = uW, uW x ms = nJ.

use crate::{
    energy::{EVENT_MS, NJ_PER_MWH, trapezoid},
    time::Instant,
};
use lct::{
    Digest, Error,
    energy::{EnergyKind, ModuleEnergy},
    validation::Event,
};

/// Of all that the pack counted itself a module may say this part more or less.
const TOLERANCE: u128 = 20;
/// And so much besides: fractions of a mWh that both carry.
const FRACTIONS_NJ: u64 = 2 * NJ_PER_MWH;
/// How far start and end may lie from those of the pack; and for so long the largest power may flow that the one counts and the
/// other not.
const SPAN_MS: u64 = 10_000;
/// A pack asks for no less time than this, but at the end of a cycle.
const LEAST_MS: u64 = EVENT_MS / 2;
/// So often a module is asked before it is no longer waited for; then once with each further event of the pack.
const TRIES: u8 = 6;

/// What flowed in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start_ms: u64,
    end_ms: u64,
    /// In less out.
    nj: i64,
    /// In and out.
    moved_nj: u64,
    /// Nothing was missed in it.
    whole: bool,
    /// How often in it counting stopped at a pause, or began again behind one.
    edges: u32,
}

impl Span {
    /// Nothing, from this time on.
    fn at(ms: u64) -> Span {
        Span { start_ms: ms, end_ms: ms, nj: 0, moved_nj: 0, whole: true, edges: 0 }
    }

    /// This span and the one that follows it.
    fn with(&self, next: &Span) -> Span {
        Span {
            start_ms: self.start_ms,
            end_ms: next.end_ms,
            nj: self.nj.saturating_add(next.nj),
            moved_nj: self.moved_nj.saturating_add(next.moved_nj),
            whole: self.whole && next.whole,
            edges: self.edges.saturating_add(next.edges),
        }
    }
}

/// A sum that runs from measurement to measurement.
#[derive(Debug, Default, Clone)]
struct Flow {
    span: Option<Span>,
    /// Power and moment of the last measurement.
    last: Option<(i64, Instant)>,
}

impl Flow {
    /// Adds a measurement made at `now`: trapezoid from the one before. The first one only sets the start, also after a pause
    /// before which nothing flowed.
    fn sample(&mut self, now: Instant, time_ms: u64, mv: u32, ma: i32) {
        let uw = i64::from(mv).saturating_mul(i64::from(ma));
        if let Some(span) = self.span.as_mut().filter(|_| self.last.is_none()) {
            span.edges = span.edges.saturating_add(2);
        }
        let span = self.span.get_or_insert(Span::at(time_ms));
        if let Some(last) = self.last {
            let flowed = trapezoid(last, uw, now);
            span.whole &= flowed.is_some();
            let nj = flowed.unwrap_or(0);
            span.nj = span.nj.saturating_add(nj);
            span.moved_nj = span.moved_nj.saturating_add(nj.unsigned_abs());
        } else if span.moved_nj == 0 {
            span.start_ms = span.end_ms.max(time_ms);
        }
        span.end_ms = span.end_ms.max(time_ms);
        self.last = Some((uw, now));
    }

    /// Nothing flows until the next measurement.
    fn pause(&mut self) {
        self.last = None;
    }

    /// What flowed since the start; the next span starts where this one ends.
    fn take(&mut self) -> Option<Span> {
        let span = self.span?;
        self.span = Some(Span::at(span.end_ms));
        Some(span)
    }

    /// Goes on from the start of a span that was taken before.
    fn put_back(&mut self, before: Span) {
        self.span = Some(self.span.map_or(before, |span| before.with(&span)));
    }
}

/// What a module counts of itself.
#[derive(Debug, Default)]
pub(crate) struct OwnFlow {
    flow: Flow,
    /// The last that it was asked for.
    stated: Option<(u32, u32)>,
}

impl OwnFlow {
    /// Adds a measurement.
    pub(crate) fn sample(&mut self, now: Instant, time_ms: u64, mv: u32, ma: i32) {
        self.flow.sample(now, time_ms, mv, ma);
    }

    /// The relay is open.
    pub(crate) fn pause(&mut self) {
        self.flow.pause();
    }

    /// What flowed, for this event of the pack's cycle. `None` for one that is not above the last, and below one mWh:
    /// that goes on. Fractions are carried.
    pub(crate) fn state(&mut self, cycle: u32, event: u32) -> Option<ModuleEnergy> {
        let span = self.flow.span?;
        let mwh = span.nj.unsigned_abs() / NJ_PER_MWH;
        let new = cycle > 0 && event > 0 && self.stated < Some((cycle, event));
        if !new || mwh == 0 || span.end_ms == span.start_ms {
            return None;
        }
        self.flow.take();
        if let Some(rest) = &mut self.flow.span {
            rest.nj = span.nj % NJ_PER_MWH as i64;
        }
        self.stated = Some((cycle, event));
        let kind = if span.nj > 0 { EnergyKind::Charge } else { EnergyKind::Discharge };
        Some(ModuleEnergy { cycle, event, kind, start_ms: span.start_ms, end_ms: span.end_ms, mwh })
    }
}

/// What the pack makes of what a module says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what the pack counted too.
    Agrees,
    /// The pack did not count over that time, or did not ask; or its count has too many edges to tell.
    Uncounted,
    /// The pack counted something else.
    Differs,
    /// The pack has not measured up to where it ends: it is judged when it is told again.
    Waits,
}

#[derive(Debug, Clone)]
struct Asked {
    cycle: u32,
    event: u32,
    /// What was counted up to the first question, and from each to the next: the module answers to one of them.
    parts: heapless::Vec<Span, { TRIES as usize }>,
    tries: u8,
    /// How often its answer was left until the pack measures.
    waited: u8,
}

/// How much more was said than counted in one direction, and how much flowed meanwhile.
#[derive(Debug, Default, Clone, Copy)]
struct Excess {
    nj: i128,
    /// In and out, as counted.
    moved_nj: u128,
    /// See [`Span::edges`].
    edges: u32,
}

/// All that the pack vouched for since it started, against what it counted over the same time. Each statement is judged by
/// itself and with all before it, so that what a module says too much cannot be said again and again (H244).
#[derive(Debug, Default, Clone)]
struct Vouched {
    /// Of charge and of discharge.
    sums: [Excess; 2],
    /// The largest power that was measured.
    peak_uw: u64,
    /// Where the last of it ended.
    end_ms: u64,
}

impl Vouched {
    /// Judges what the module said over the time in which this was counted, and adds what agrees.
    fn judge(&mut self, said: &ModuleEnergy, counted: &Span) -> Verdict {
        let near = |a: u64, b: u64| a.abs_diff(b) <= SPAN_MS;
        let same = near(said.start_ms, counted.start_ms) && near(said.end_ms, counted.end_ms);
        if !same || !counted.whole || said.start_ms < self.end_ms {
            return Verdict::Uncounted;
        }
        let (sum, counted_nj) = match said.kind {
            EnergyKind::Charge => (&mut self.sums[0], i128::from(counted.nj)),
            _ => (&mut self.sums[1], -i128::from(counted.nj)),
        };
        let said_nj = i128::from(said.mwh) * i128::from(NJ_PER_MWH);
        let (moved_nj, edges) = (counted.moved_nj.into(), counted.edges);
        let alone = Excess { nj: said_nj - counted_nj, moved_nj, edges };
        let all = Excess {
            nj: sum.nj + alone.nj,
            moved_nj: sum.moved_nj + moved_nj,
            edges: sum.edges.saturating_add(edges),
        };
        // Spans join: a statement has two ends that may be cut otherwise, all of them together one.
        let cut_nj = u128::from(self.peak_uw) * u128::from(SPAN_MS);
        let fits = |e: &Excess, cuts: u32| {
            e.nj.unsigned_abs()
                <= e.moved_nj / TOLERANCE + u128::from(FRACTIONS_NJ) + u128::from(cuts) * cut_nj
        };
        if fits(&alone, 2) && fits(&all, 1) {
            (*sum, self.end_ms) = (all, said.end_ms);
            return Verdict::Agrees;
        }
        // At each edge one of the two may have measured once more than the other: what that can explain is no lie that was seen, nor
        // is it vouched for. A span that is left out leaves two more.
        let unseen = fits(&alone, alone.edges.saturating_add(2)) && fits(&all, all.edges.saturating_add(1));
        if !unseen {
            return Verdict::Differs;
        }
        sum.edges = sum.edges.saturating_add(2);
        Verdict::Uncounted
    }
}

/// What a pack counts of one module.
#[derive(Debug, Default, Clone)]
pub(crate) struct PeerFlow {
    flow: Flow,
    asked: Option<Asked>,
    vouched: Vouched,
    /// The last event that was judged, and its digest: it is told until it is acknowledged.
    judged: Option<((u32, u32), Digest, Verdict)>,
    /// What it said differed, and nothing since agreed.
    disputed: bool,
}

impl PeerFlow {
    /// Adds a measurement of the pack: its own current, and the voltage `told_mv` of the module as far as it is within a
    /// quarter of the module's `share_mv` of the pack's own voltage.
    pub(crate) fn sample(&mut self, now: Instant, time_ms: u64, told_mv: u32, share_mv: u32, pack_ma: i32) {
        let quarter = share_mv / 4;
        let mv = told_mv.clamp(share_mv - quarter, share_mv.saturating_add(quarter));
        let uw = u64::from(mv) * u64::from(pack_ma.unsigned_abs());
        self.vouched.peak_uw = self.vouched.peak_uw.max(uw);
        self.flow.sample(now, time_ms, mv, pack_ma);
    }

    /// The pack is not On any more.
    pub(crate) fn pause(&mut self) {
        self.flow.pause();
    }

    /// A new channel: both ends count anew. What was judged is told again, what is disputed stays so, and what was vouched for
    /// counts on.
    pub(crate) fn begin(&mut self) {
        (self.flow, self.asked) = (Flow::default(), None);
    }

    /// True while its answer is to be expected, and it is asked again.
    pub(crate) fn is_awaited(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.tries < TRIES)
    }

    /// True from something that the pack counted otherwise to the next on which both agree.
    pub(crate) fn is_disputed(&self) -> bool {
        self.disputed
    }

    /// The pack signed this event, at the `end` of its cycle or before: from here on the module is asked for what flowed,
    /// unless it still is for an earlier one. True when it is to be asked now: one that never answered, once more.
    pub(crate) fn want(&mut self, cycle: u32, event: u32, end: bool) -> bool {
        let worth = |span: &Span| {
            span.nj.unsigned_abs() >= FRACTIONS_NJ && (end || span.end_ms - span.start_ms >= LEAST_MS)
        };
        if self.asked.is_none() && self.flow.span.as_ref().is_some_and(worth) {
            let parts = self.flow.take().into_iter().collect();
            self.asked = Some(Asked { cycle, event, parts, tries: 0, waited: 0 });
        } else if let Some(asked) = &mut self.asked {
            asked.tries = asked.tries.min(TRIES - 1);
        }
        self.is_awaited()
    }

    /// What to ask for once more. `None` after [`TRIES`], until the next event.
    pub(crate) fn ask(&mut self) -> Option<(u32, u32)> {
        let asked = self.asked.as_mut().filter(|asked| asked.tries < TRIES)?;
        asked.tries += 1;
        if let Some(more) = self.flow.take().filter(|more| more.end_ms > more.start_ms)
            && let Err(more) = asked.parts.push(more)
            && let Some(last) = asked.parts.last_mut()
        {
            *last = last.with(&more);
        }
        Some((asked.cycle, asked.event))
    }

    /// Judges what the module says in `event`. What takes the place of an event that was judged, under the same boot counter
    /// and number, is nothing that the pack counted, whatever it says.
    ///
    /// # Errors
    /// As [`Event::digest`].
    pub(crate) fn judge(&mut self, event: &Event) -> Result<Verdict, Error> {
        let digest = event.digest()?;
        if let Some((position, judged, verdict)) = self.judged
            && position == event.position()
        {
            return Ok(if judged == digest { verdict } else { Verdict::Uncounted });
        }
        let asked = self.asked.as_ref().map(|asked| (asked.cycle, asked.event));
        let said = ModuleEnergy::decode(&event.payload).ok();
        let verdict = match said.filter(|said| asked == Some((said.cycle, said.event))) {
            Some(said) if self.is_ahead(said.end_ms) => {
                if let Some(asked) = self.asked.as_mut().filter(|asked| asked.waited < TRIES) {
                    asked.waited += 1;
                    return Ok(Verdict::Waits);
                }
                // It does not measure any more.
                self.asked = None;
                Verdict::Uncounted
            }
            Some(said) => {
                let counted = self.asked.take().and_then(|asked| self.counted(&asked.parts, said.end_ms));
                counted.map_or(Verdict::Uncounted, |counted| self.vouched.judge(&said, &counted))
            }
            None => Verdict::Uncounted,
        };
        match verdict {
            Verdict::Agrees => self.disputed = false,
            Verdict::Differs => self.disputed = true,
            Verdict::Uncounted | Verdict::Waits => {}
        }
        self.judged = Some((event.position(), digest, verdict));
        Ok(verdict)
    }
}

impl PeerFlow {
    /// Whether the pack goes on counting and its next measurements will reach `end_ms`: how much the power changed up to there
    /// they will tell.
    fn is_ahead(&self, end_ms: u64) -> bool {
        let counts_on = self.flow.span.filter(|_| self.flow.last.is_some());
        counts_on.is_some_and(|span| end_ms > span.end_ms && end_ms - span.end_ms <= SPAN_MS)
    }

    /// What was counted up to `end_ms`: until one of the questions or until now, whichever is nearest. The rest counts with the
    /// next.
    fn counted(&mut self, parts: &[Span], end_ms: u64) -> Option<Span> {
        let now_ms = self.flow.span.map(|span| span.end_ms);
        let ends = parts.iter().map(|part| part.end_ms).chain(now_ms);
        let nearest = ends.min_by_key(|end| end.abs_diff(end_ms))?;
        let (of_it, rest) = parts.split_at(parts.partition_point(|part| part.end_ms <= nearest));
        rest.iter().rev().for_each(|part| self.flow.put_back(*part));
        let counted = of_it.iter().copied().reduce(|sum, part| sum.with(&part))?;
        if counted.end_ms == nearest {
            return Some(counted);
        }
        self.flow.put_back(counted);
        self.flow.take()
    }
}

#[cfg(test)]
mod tests;
