//! What flows through one module, counted by the module and by its pack, and the pack's judgement of what the module
//! says (`spec/channel.md`, H240 to H242).
//!
//! Integers throughout, as in [`crate::energy`]: mV x mA = uW, uW x ms = nJ.

use crate::energy::{EVENT_MS, NJ_PER_MWH};
use lct::{
    Digest, Error,
    energy::{EnergyKind, ModuleEnergy},
    validation::Event,
};

/// Of what the pack counted itself a module may say this part more or less.
const TOLERANCE: u64 = 20;
/// And so much besides: fractions of a mWh that both carry.
const FRACTIONS_NJ: u64 = 2 * NJ_PER_MWH;
/// How far start and end may lie from those of the pack.
const SPAN_MS: u64 = 10_000;
/// A pack asks for no less time than this, but at the end of a cycle.
const LEAST_MS: u64 = EVENT_MS / 2;
/// So often a module is asked before it is no longer waited for; then once with each further event of the pack.
const TRIES: u8 = 6;

/// What flowed in a span of time, in less out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start_ms: u64,
    end_ms: u64,
    nj: i64,
    /// How wrong one cut of it may be.
    cut: Cut,
    /// Nothing was missed in it.
    whole: bool,
}

/// By what two that measure at different moments may differ where one span ends and the next begins: power that changes
/// between two measurements falls to one of them or the other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Largest power, uW.
    peak_uw: u64,
    /// Longest time between two measurements.
    gap_ms: u64,
}

impl Cut {
    fn max(self, other: Cut) -> Cut {
        Cut { peak_uw: self.peak_uw.max(other.peak_uw), gap_ms: self.gap_ms.max(other.gap_ms) }
    }
}

/// A sum that runs from measurement to measurement.
#[derive(Debug, Default)]
struct Flow {
    span: Option<Span>,
    last_uw: Option<i64>,
    /// Of the span that was taken last.
    before: Cut,
}

impl Flow {
    /// Adds a measurement: trapezoid from the one before. The first one only sets the start.
    fn sample(&mut self, time_ms: u64, mv: u32, ma: i32) {
        let uw = i64::from(mv).saturating_mul(i64::from(ma));
        let start = Span { start_ms: time_ms, end_ms: time_ms, nj: 0, cut: Cut::default(), whole: true };
        let span = self.span.get_or_insert(start);
        let gap_ms = time_ms.saturating_sub(span.end_ms);
        if let Some(last_uw) = self.last_uw {
            // Nothing is known of a gap longer than an event; a clock set forward must not become energy.
            span.whole &= gap_ms <= EVENT_MS;
            let ms = if gap_ms <= EVENT_MS { gap_ms as i64 } else { 0 };
            span.nj = span.nj.saturating_add((last_uw / 2 + uw / 2).saturating_mul(ms));
            span.cut = span.cut.max(Cut { peak_uw: 0, gap_ms: ms.unsigned_abs() });
        }
        span.end_ms = span.end_ms.max(time_ms);
        span.cut = span.cut.max(Cut { peak_uw: uw.unsigned_abs(), gap_ms: 0 });
        self.last_uw = Some(uw);
    }

    /// Nothing flows until the next measurement.
    fn pause(&mut self) {
        self.last_uw = None;
    }

    /// What flowed since the start, with the cut that the span before ended with; the next span starts where this one ends.
    fn take(&mut self) -> Option<Span> {
        let span = self.span?;
        let cut = Cut { peak_uw: self.last_uw.map_or(0, i64::unsigned_abs), gap_ms: 0 };
        self.span = Some(Span { start_ms: span.end_ms, nj: 0, cut, whole: true, ..span });
        let before = core::mem::replace(&mut self.before, span.cut);
        Some(Span { cut: span.cut.max(before), ..span })
    }

    /// Goes on from the start of a span that was taken before.
    fn put_back(&mut self, before: Span) {
        self.span = Some(self.span.map_or(before, |span| Span {
            start_ms: before.start_ms,
            end_ms: span.end_ms,
            nj: span.nj.saturating_add(before.nj),
            cut: span.cut.max(before.cut),
            whole: span.whole && before.whole,
        }));
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
    pub(crate) fn sample(&mut self, time_ms: u64, mv: u32, ma: i32) {
        self.flow.sample(time_ms, mv, ma);
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
    /// The pack did not count over that time, or did not ask.
    Uncounted,
    /// The pack counted something else.
    Differs,
    /// The pack has not measured up to where it ends: it is judged when it is told again.
    Waits,
}

#[derive(Debug)]
struct Asked {
    cycle: u32,
    event: u32,
    span: Span,
    tries: u8,
    /// How often its answer was left until the pack measures.
    waited: u8,
}

/// What a pack counts of one module.
#[derive(Debug, Default)]
pub(crate) struct PeerFlow {
    flow: Flow,
    asked: Option<Asked>,
    /// The last event that was judged, and its digest: it is told until it is acknowledged.
    judged: Option<((u32, u32), Digest, Verdict)>,
    /// What it said differed, and nothing since agreed.
    disputed: bool,
}

impl PeerFlow {
    /// Adds a measurement of the pack: its own current, and the voltage `told_mv` of the module as far as it is within a
    /// quarter of the module's `share_mv` of the pack's own voltage.
    pub(crate) fn sample(&mut self, time_ms: u64, told_mv: u32, share_mv: u32, pack_ma: i32) {
        let quarter = share_mv / 4;
        let mv = told_mv.clamp(share_mv - quarter, share_mv.saturating_add(quarter));
        self.flow.sample(time_ms, mv, pack_ma);
    }

    /// The pack is Off.
    pub(crate) fn pause(&mut self) {
        self.flow.pause();
    }

    /// A new channel: both ends count anew. What was judged is told again, and what is disputed stays so.
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
            let span = self.flow.take();
            self.asked = span.map(|span| Asked { cycle, event, span, tries: 0, waited: 0 });
        } else if let Some(asked) = &mut self.asked {
            asked.tries = asked.tries.min(TRIES - 1);
        }
        self.is_awaited()
    }

    /// What to ask for once more. `None` after [`TRIES`], until the next event.
    pub(crate) fn ask(&mut self) -> Option<(u32, u32)> {
        let asked = self.asked.as_mut().filter(|asked| asked.tries < TRIES)?;
        asked.tries += 1;
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
                let counted = self.asked.take().and_then(|asked| self.counted(asked.span, said.end_ms));
                counted.map_or(Verdict::Uncounted, |counted| compare(&said, &counted))
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
        let counts_on = self.flow.span.filter(|_| self.flow.last_uw.is_some());
        counts_on.is_some_and(|span| end_ms > span.end_ms && end_ms - span.end_ms <= SPAN_MS)
    }

    /// What was counted up to `end_ms`: until it was asked for, or, where the question came late to the module, until now. The
    /// cut is that of the spans before and after too.
    fn counted(&mut self, asked: Span, end_ms: u64) -> Option<Span> {
        if end_ms.abs_diff(asked.end_ms) <= SPAN_MS {
            let after = self.flow.span.map(|span| span.cut).unwrap_or_default();
            return Some(Span { cut: asked.cut.max(after), ..asked });
        }
        self.flow.put_back(asked);
        self.flow.take()
    }
}

fn compare(said: &ModuleEnergy, counted: &Span) -> Verdict {
    let (early, late) = (said.start_ms.abs_diff(counted.start_ms), said.end_ms.abs_diff(counted.end_ms));
    if !counted.whole || early > SPAN_MS || late > SPAN_MS {
        return Verdict::Uncounted;
    }
    let nj = i128::from(said.mwh) * i128::from(NJ_PER_MWH);
    let nj = if said.kind == EnergyKind::Charge { nj } else { -nj };
    let size = counted.nj.unsigned_abs();
    let at_most = u128::from(size / TOLERANCE)
        + u128::from(counted.cut.peak_uw) * u128::from(early + late + counted.cut.gap_ms)
        + u128::from(FRACTIONS_NJ);
    match (nj - i128::from(counted.nj)).unsigned_abs() <= at_most {
        true => Verdict::Agrees,
        false => Verdict::Differs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{id::Cid, validation::EventKind};

    const MV: u32 = 8_000;

    /// One measurement each second from `from` s on; 8 V and 45 A are 0.1 mWh per ms.
    fn samples(seconds: core::ops::RangeInclusive<u64>, mut add: impl FnMut(u64)) {
        seconds.for_each(|s| add(s * 1_000));
    }

    fn event(seq: u32, said: &ModuleEnergy) -> Event {
        Event::new(EventKind::Energy, Cid([1; 16]), 1, seq, &said.encode()).unwrap()
    }

    fn said(ma: i32) -> ModuleEnergy {
        let mut own = OwnFlow::default();
        samples(0..=60, |ms| own.sample(ms, MV, ma));
        own.state(1, 1).unwrap()
    }

    /// A pack that counted 45 A out of a module for a minute, 6000 mWh, and asked.
    fn pack(told_mv: u32) -> PeerFlow {
        let mut flow = PeerFlow::default();
        samples(0..=60, |ms| flow.sample(ms, told_mv, MV, -45_000));
        assert!(flow.want(1, 1, false));
        assert_eq!(flow.ask(), Some((1, 1)));
        flow
    }

    #[test]
    fn a_module_states_whole_mwh_and_carries_the_rest() {
        let mut own = OwnFlow::default();
        samples(0..=60, |ms| own.sample(ms, MV, -45_001));
        let first = own.state(1, 1).unwrap();
        assert_eq!(
            (first.kind, first.mwh, first.start_ms, first.end_ms),
            (EnergyKind::Discharge, 6_000, 0, 60_000)
        );
        assert_eq!(own.state(1, 2), None, "nothing flowed since");
        samples(61..=600, |ms| own.sample(ms, MV, -45_001));
        assert_eq!(own.state(1, 1), None, "asked for again");
        assert_eq!(own.state(0, 9), None, "there is no such cycle");
        let second = own.state(1, 2).unwrap();
        // 600 s at 360.008 W are 60 001.33 mWh.
        assert_eq!((second.mwh, second.start_ms, second.end_ms), (54_001, 60_000, 600_000));
        // Net: a minute in, then a minute out of half as much.
        let mut own = OwnFlow::default();
        samples(0..=60, |ms| own.sample(ms, MV, 45_000));
        samples(61..=121, |ms| own.sample(ms, MV, -22_500));
        let net = own.state(2, 1).unwrap();
        assert_eq!((net.kind, net.mwh), (EnergyKind::Charge, 3_025));
        // A gap longer than an event is nothing; a clock that is set back neither.
        let mut own = OwnFlow::default();
        [0, 61_000, 60_000, 121_000].into_iter().for_each(|ms| own.sample(ms, MV, 45_000));
        assert_eq!(own.state(3, 1).map(|e| e.mwh), Some(6_000));
        // Nor what an open relay lets through.
        let mut own = OwnFlow::default();
        samples(0..=60, |ms| own.sample(ms, MV, 45_000));
        own.pause();
        samples(80..=140, |ms| own.sample(ms, MV, 45_000));
        assert_eq!(own.state(3, 1).map(|e| (e.mwh, e.end_ms)), Some((12_000, 140_000)));
        // The largest values end at the bound and nowhere else.
        let mut own = OwnFlow::default();
        samples(0..=60, |ms| own.sample(ms, u32::MAX, i32::MIN));
        assert_eq!(own.state(4, 1).map(|e| e.mwh), Some(i64::MAX as u64 / NJ_PER_MWH));
    }

    #[test]
    fn a_pack_agrees_with_what_it_counted_itself() {
        use Verdict::*;
        let of = |change: fn(&mut ModuleEnergy)| {
            let mut other = said(-45_000);
            change(&mut other);
            other
        };
        for (what, told_mv, says, verdict) in [
            ("the same", MV, said(-45_000), Agrees),
            ("a twentieth more, and what flows between two measurements", MV, of(|s| s.mwh = 6_402), Agrees),
            ("more than that", MV, of(|s| s.mwh = 6_403), Differs),
            ("less than that", MV, of(|s| s.mwh = 5_597), Differs),
            ("the other direction", MV, said(45_000), Differs),
            ("nothing to speak of", MV, of(|s| s.mwh = 1), Differs),
            ("as much as can be said", MV, of(|s| s.mwh = u64::MAX), Differs),
            (
                "what flows in a second that only it counted",
                MV,
                of(|s| (s.start_ms, s.mwh) = (1_000, 6_502)),
                Agrees,
            ),
            ("more than that", MV, of(|s| (s.start_ms, s.mwh) = (1_000, 6_503)), Differs),
            ("another time", MV, of(|s| (s.start_ms, s.end_ms) = (10_001, 70_001)), Uncounted),
            ("another event", MV, of(|s| s.event = 2), Uncounted),
            ("another cycle", MV, of(|s| s.cycle = 2), Uncounted),
            ("a voltage that the pack knows to be wrong", 2 * MV, of(|s| s.mwh = 12_000), Differs),
            ("as far as it believes that voltage", 2 * MV, of(|s| s.mwh = 7_500), Agrees),
        ] {
            assert_eq!(pack(told_mv).judge(&event(1, &says)), Ok(verdict), "{what}");
        }
        let hash = Event::new(EventKind::Energy, Cid([1; 16]), 1, 1, &[7; 32]).unwrap();
        assert_eq!(pack(MV).judge(&hash), Ok(Uncounted), "a hash, of which nothing can be checked");
    }

    #[test]
    fn what_was_judged_is_judged_the_same_when_it_is_told_again() {
        let mut flow = pack(MV);
        let good = said(-45_000);
        assert_eq!(flow.judge(&event(1, &good)), Ok(Verdict::Agrees));
        assert_eq!(flow.judge(&event(1, &good)), Ok(Verdict::Agrees), "its acknowledgement was lost");
        flow.begin();
        assert_eq!(flow.judge(&event(1, &good)), Ok(Verdict::Agrees), "over a new channel");
        assert_eq!(flow.judge(&event(2, &good)), Ok(Verdict::Uncounted), "the same energy twice");
        assert_eq!(flow.ask(), None, "what was answered is not asked again");
    }

    /// Attack: something else is told in the place of what the pack agreed to.
    #[test]
    fn another_event_under_the_same_number_is_not_what_was_judged() {
        let mut flow = pack(MV);
        let good = said(-45_000);
        assert_eq!(flow.judge(&event(1, &good)), Ok(Verdict::Agrees));
        let more = ModuleEnergy { mwh: u64::MAX, ..good };
        assert_eq!(flow.judge(&event(1, &more)), Ok(Verdict::Uncounted));
        let later = Event { time_ms: Some(1), ..event(1, &good) };
        assert_eq!(flow.judge(&later), Ok(Verdict::Uncounted), "nor with another time");
        assert_eq!(flow.judge(&event(1, &good)), Ok(Verdict::Agrees), "the event itself still is");
        // Not even where it answers the next question.
        samples(61..=120, |ms| flow.sample(ms, MV, MV, -45_000));
        assert!(flow.want(1, 2, false));
        let next = ModuleEnergy { event: 2, start_ms: 60_000, end_ms: 120_000, ..good };
        assert_eq!(flow.judge(&event(1, &next)), Ok(Verdict::Uncounted));
        assert_eq!(flow.judge(&event(2, &next)), Ok(Verdict::Agrees));
    }

    #[test]
    fn a_dispute_ends_with_what_agrees_and_with_nothing_else() {
        let mut flow = pack(MV);
        let lie = ModuleEnergy { mwh: 12_000, ..said(-45_000) };
        assert_eq!((flow.judge(&event(1, &lie)), flow.is_disputed()), (Ok(Verdict::Differs), true));
        assert_eq!((flow.judge(&event(2, &lie)), flow.is_disputed()), (Ok(Verdict::Uncounted), true));
        flow.begin();
        assert!(flow.is_disputed(), "over a new channel");
        samples(0..=60, |ms| flow.sample(ms, MV, MV, -45_000));
        assert!(flow.want(2, 1, false));
        let good = ModuleEnergy { cycle: 2, ..said(-45_000) };
        assert_eq!((flow.judge(&event(3, &good)), flow.is_disputed()), (Ok(Verdict::Agrees), false));
    }

    /// What the load of `ma` at each ms is to a module that measures each second from `from_ms` on.
    fn load(own: &mut OwnFlow, ms: core::ops::Range<u64>, ma: impl Fn(u64) -> i32) {
        ms.step_by(1_000).for_each(|ms| own.sample(ms, MV, ma(ms)));
    }

    /// Where the load steps between the last measurement of the one and that of the other, the energy of a second falls to
    /// one span with the pack and to the next with the module.
    #[test]
    fn a_load_that_steps_at_the_cut_is_no_dispute() {
        for (what, early_ms, step_ms) in [("soon after", 300, 59_800), ("at once", 100, 59_950)] {
            // 200 A until shortly before the pack's measurement at 60 s, then 1 A.
            let ma = |ms: u64| if ms < step_ms { -200_000 } else { -1_000 };
            let mut flow = PeerFlow::default();
            samples(0..=60, |ms| flow.sample(ms, MV, MV, ma(ms)));
            let mut own = OwnFlow::default();
            load(&mut own, 1_000 - early_ms..60_000, ma);
            assert!(flow.want(1, 1, false), "{what}");
            let first = own.state(1, 1).unwrap();
            assert_eq!(flow.judge(&event(1, &first)), Ok(Verdict::Agrees), "{what}");
            samples(61..=120, |ms| flow.sample(ms, MV, MV, ma(ms)));
            load(&mut own, 61_000 - early_ms..120_000, ma);
            assert!(flow.want(1, 2, false), "{what}");
            let second = own.state(1, 2).unwrap();
            assert!((300..=400).contains(&second.mwh), "the pack counts 133: {second:?}");
            assert_eq!(flow.judge(&event(2, &second)), Ok(Verdict::Agrees), "{what}");
        }
        // 1 A until the pack measured, then 200 A, which the module measures before it is asked.
        let ma = |ms: u64| if ms < 60_100 { -1_000 } else { -200_000 };
        let mut flow = PeerFlow::default();
        samples(0..=60, |ms| flow.sample(ms, MV, MV, ma(ms)));
        let mut own = OwnFlow::default();
        load(&mut own, 200..60_201, ma);
        assert!(flow.want(1, 1, false));
        let stepped = event(1, &own.state(1, 1).unwrap());
        assert_eq!(flow.judge(&stepped), Ok(Verdict::Waits), "the pack has not measured since");
        assert!(flow.is_awaited() && flow.judge(&stepped) == Ok(Verdict::Waits));
        flow.sample(61_000, MV, MV, ma(61_000));
        assert_eq!(flow.judge(&stepped), Ok(Verdict::Agrees));
        // A pack that is Off will not measure: it judges by what it has. One that should and does not, in the end not at all.
        let ahead = event(1, &ModuleEnergy { end_ms: 60_500, mwh: 6_050, ..said(-45_000) });
        let mut flow = pack(MV);
        flow.pause();
        assert_eq!(flow.judge(&ahead), Ok(Verdict::Agrees));
        let mut flow = pack(MV);
        (0..TRIES).for_each(|_| assert_eq!(flow.judge(&ahead), Ok(Verdict::Waits)));
        assert_eq!(flow.judge(&ahead), Ok(Verdict::Uncounted));
    }

    /// A question that came late is answered with all that flowed until then; it is one of one event, and others wait.
    #[test]
    fn a_late_answer_says_what_flowed_until_then() {
        let mut flow = pack(MV);
        samples(61..=120, |ms| flow.sample(ms, MV, MV, -45_000));
        assert!(flow.want(1, 2, false));
        assert_eq!(flow.ask(), Some((1, 1)), "still the first");
        let mut own = OwnFlow::default();
        samples(0..=120, |ms| own.sample(ms, MV, -45_000));
        assert_eq!(flow.judge(&event(1, &own.state(1, 1).unwrap())), Ok(Verdict::Agrees));
        assert!(!flow.want(1, 3, true), "nothing flowed since");
        // One that answered in time, and is heard late.
        let mut flow = pack(MV);
        samples(61..=300, |ms| flow.sample(ms, MV, MV, -45_000));
        assert_eq!(flow.judge(&event(1, &said(-45_000))), Ok(Verdict::Agrees));
        assert!(flow.want(1, 5, false) && flow.ask() == Some((1, 5)));
        assert!(flow.is_awaited());
        (1..TRIES).for_each(|_| assert!(flow.ask().is_some()));
        assert_eq!((flow.is_awaited(), flow.ask()), (false, None), "often enough");
        assert!(flow.want(1, 6, false));
        assert_eq!([flow.ask(), flow.ask()], [Some((1, 5)), None], "once with each event");
    }

    #[test]
    fn who_moved_nothing_is_not_asked() {
        // At rest nobody is asked.
        let mut flow = PeerFlow::default();
        samples(0..=60, |ms| flow.sample(ms, MV, MV, 0));
        assert!(!flow.want(1, 4, true));
        // Nor for a moment, unless it was the last.
        let mut flow = PeerFlow::default();
        samples(0..=29, |ms| flow.sample(ms, MV, MV, -45_000));
        assert_eq!([flow.want(1, 5, false), flow.want(1, 5, true)], [false, true]);
    }

    #[test]
    fn a_pack_that_missed_something_does_not_judge() {
        let mut flow = PeerFlow::default();
        [0, 1_000, 61_001, 62_001].into_iter().for_each(|ms| flow.sample(ms, MV, MV, -45_000));
        assert!(flow.want(1, 1, false));
        let said = ModuleEnergy { end_ms: 62_001, mwh: 6_200, ..said(-45_000) };
        assert_eq!(flow.judge(&event(1, &said)), Ok(Verdict::Uncounted));
    }
}
