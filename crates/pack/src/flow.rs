//! What flows through one module, counted by the module and by its pack, and the pack's judgement of what the module
//! says (`spec/channel.md`, H240 to H242).
//!
//! Integers throughout, as in [`crate::energy`]: mV x mA = uW, uW x ms = nJ.

use crate::energy::{EVENT_MS, NJ_PER_MWH};
use lct::{
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
/// So often a module is asked before it is no longer waited for.
const TRIES: u8 = 6;

/// What flowed in a span of time, in less out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start_ms: u64,
    end_ms: u64,
    nj: i64,
    /// Largest power in it, uW.
    peak_uw: u64,
    /// Nothing was missed in it.
    whole: bool,
}

/// A sum that runs from measurement to measurement.
#[derive(Debug, Default)]
struct Flow {
    span: Option<Span>,
    last_uw: Option<i64>,
}

impl Flow {
    /// Adds a measurement: trapezoid from the one before. The first one only sets the start.
    fn sample(&mut self, time_ms: u64, mv: u32, ma: i32) {
        let uw = i64::from(mv).saturating_mul(i64::from(ma));
        let start = Span { start_ms: time_ms, end_ms: time_ms, nj: 0, peak_uw: 0, whole: true };
        let span = self.span.get_or_insert(start);
        let gap_ms = time_ms.saturating_sub(span.end_ms);
        if let Some(last_uw) = self.last_uw {
            // Nothing is known of a gap longer than an event; a clock set forward must not become energy.
            span.whole &= gap_ms <= EVENT_MS;
            let ms = if gap_ms <= EVENT_MS { gap_ms as i64 } else { 0 };
            span.nj = span.nj.saturating_add((last_uw / 2 + uw / 2).saturating_mul(ms));
        }
        span.end_ms = span.end_ms.max(time_ms);
        span.peak_uw = span.peak_uw.max(uw.unsigned_abs());
        self.last_uw = Some(uw);
    }

    /// Nothing flows until the next measurement.
    fn pause(&mut self) {
        self.last_uw = None;
    }

    /// What flowed since the start; the next span starts where this one ends.
    fn take(&mut self) -> Option<Span> {
        let span = self.span?;
        let peak_uw = self.last_uw.map_or(0, i64::unsigned_abs);
        self.span = Some(Span { start_ms: span.end_ms, nj: 0, peak_uw, whole: true, ..span });
        Some(span)
    }

    /// Goes on from the start of a span that was taken before.
    fn put_back(&mut self, before: Span) {
        self.span = Some(self.span.map_or(before, |span| Span {
            start_ms: before.start_ms,
            end_ms: span.end_ms,
            nj: span.nj.saturating_add(before.nj),
            peak_uw: span.peak_uw.max(before.peak_uw),
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
}

#[derive(Debug)]
struct Asked {
    cycle: u32,
    event: u32,
    span: Span,
    tries: u8,
}

/// What a pack counts of one module.
#[derive(Debug, Default)]
pub(crate) struct PeerFlow {
    flow: Flow,
    asked: Option<Asked>,
    /// The last event that was judged: it is told until it is acknowledged.
    judged: Option<((u32, u32), Verdict)>,
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

    /// True while the module is asked for something.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// True while its answer is to be expected.
    pub(crate) fn is_awaited(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.tries < TRIES)
    }

    /// True when the last that it said is not what the pack counted.
    pub(crate) fn differs(&self) -> bool {
        self.judged.is_some_and(|(_, verdict)| verdict == Verdict::Differs)
    }

    /// The pack signed this event, at the `end` of its cycle or before: from here on the module is asked for what flowed,
    /// unless it still is for an earlier one. True when it is to be asked now.
    pub(crate) fn want(&mut self, cycle: u32, event: u32, end: bool) -> bool {
        let worth = |span: &Span| {
            span.nj.unsigned_abs() >= FRACTIONS_NJ && (end || span.end_ms - span.start_ms >= LEAST_MS)
        };
        if self.asked.is_none() && self.flow.span.as_ref().is_some_and(worth) {
            let span = self.flow.take();
            self.asked = span.map(|span| Asked { cycle, event, span, tries: 0 });
        }
        self.asked.is_some()
    }

    /// What to ask for once more.
    pub(crate) fn ask(&mut self) -> Option<(u32, u32)> {
        let asked = self.asked.as_mut()?;
        asked.tries = asked.tries.saturating_add(1);
        Some((asked.cycle, asked.event))
    }

    /// Judges what the module says in `event`.
    pub(crate) fn judge(&mut self, event: &Event) -> Verdict {
        if let Some((position, verdict)) = self.judged
            && position == event.position()
        {
            return verdict;
        }
        let said = ModuleEnergy::decode(&event.payload).ok();
        let asked = self.asked.take_if(|a| said.is_some_and(|s| (s.cycle, s.event) == (a.cycle, a.event)));
        let verdict = match (said, asked) {
            (Some(said), Some(asked)) => {
                let counted = self.counted(asked.span, said.end_ms);
                counted.map_or(Verdict::Uncounted, |counted| compare(&said, &counted))
            }
            _ => Verdict::Uncounted,
        };
        self.judged = Some((event.position(), verdict));
        verdict
    }
}

impl PeerFlow {
    /// What was counted up to `end_ms`: until it was asked for, or, where the question came late to the module, until now.
    fn counted(&mut self, asked: Span, end_ms: u64) -> Option<Span> {
        if end_ms.abs_diff(asked.end_ms) <= SPAN_MS {
            return Some(asked);
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
        + u128::from(counted.peak_uw) * u128::from(early + late)
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
            ("a twentieth more", MV, of(|s| s.mwh = 6_302), Agrees),
            ("more than that", MV, of(|s| s.mwh = 6_303), Differs),
            ("less than that", MV, of(|s| s.mwh = 5_697), Differs),
            ("the other direction", MV, said(45_000), Differs),
            ("nothing to speak of", MV, of(|s| s.mwh = 1), Differs),
            ("as much as can be said", MV, of(|s| s.mwh = u64::MAX), Differs),
            (
                "what flows in a second that only it counted",
                MV,
                of(|s| (s.start_ms, s.mwh) = (1_000, 6_402)),
                Agrees,
            ),
            ("more than that", MV, of(|s| (s.start_ms, s.mwh) = (1_000, 6_403)), Differs),
            ("another time", MV, of(|s| (s.start_ms, s.end_ms) = (10_001, 70_001)), Uncounted),
            ("another event", MV, of(|s| s.event = 2), Uncounted),
            ("another cycle", MV, of(|s| s.cycle = 2), Uncounted),
            ("a voltage that the pack knows to be wrong", 2 * MV, of(|s| s.mwh = 12_000), Differs),
            ("as far as it believes that voltage", 2 * MV, of(|s| s.mwh = 7_500), Agrees),
        ] {
            assert_eq!(pack(told_mv).judge(&event(1, &says)), verdict, "{what}");
        }
        let hash = Event::new(EventKind::Energy, Cid([1; 16]), 1, 1, &[7; 32]).unwrap();
        assert_eq!(pack(MV).judge(&hash), Uncounted, "a hash, of which nothing can be checked");
    }

    #[test]
    fn what_was_judged_is_judged_the_same_when_it_is_told_again() {
        let mut flow = pack(MV);
        let good = said(-45_000);
        assert_eq!(flow.judge(&event(1, &good)), Verdict::Agrees);
        assert_eq!(flow.judge(&event(1, &good)), Verdict::Agrees, "its acknowledgement was lost");
        assert_eq!(flow.judge(&event(2, &good)), Verdict::Uncounted, "the same energy twice");
        assert_eq!(flow.ask(), None, "what was answered is not asked again");
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
        assert_eq!(flow.judge(&event(1, &own.state(1, 1).unwrap())), Verdict::Agrees);
        assert!(!flow.want(1, 3, true), "nothing flowed since");
        // One that answered in time, and is heard late.
        let mut flow = pack(MV);
        samples(61..=300, |ms| flow.sample(ms, MV, MV, -45_000));
        assert_eq!(flow.judge(&event(1, &said(-45_000))), Verdict::Agrees);
        assert!(flow.want(1, 5, false) && flow.ask() == Some((1, 5)));
        assert!(flow.is_awaited());
        (1..TRIES).for_each(|_| assert!(flow.ask().is_some()));
        assert_eq!((flow.is_awaited(), flow.is_asked()), (false, true));
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
        assert_eq!(flow.judge(&event(1, &said)), Verdict::Uncounted);
    }
}
