//! The energy meter of a pack: integrates measured voltage and current into signed events and closes cycles
//! (`spec/can.md`, C47; `spec/ledger.md`, L51 to L57).
//!
//! Integers throughout: mV x mA = uW, uW x ms = nJ; 1 mWh = 3 600 000 000 nJ. What is less than a mWh is carried,
//! so the events of a cycle sum to the integral.

use crate::{
    identity::{Record, key, versioned_u32},
    time::{Duration, Instant},
};
use core::ops::Range;
use lct::{
    Error,
    energy::{CycleClose, EnergyEvent, EnergyKind, STATEMENT_MAX},
    id::Cid,
    sign::{Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Longest span of one event.
pub const EVENT_MS: u64 = 60_000;
/// Statements kept until they are acknowledged; when they are, longer events are made instead of losing any.
pub const STATEMENTS_KEPT: usize = 16;
const RETRY: Duration = Duration::from_millis(500);
pub(crate) const NJ_PER_MWH: u64 = 3_600_000_000;

/// A signed statement that waits for its acknowledgement.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Canonical bytes.
    pub statement: heapless::Vec<u8, STATEMENT_MAX>,
    /// By the relationship's signing key.
    pub signature: Signature,
    /// The relationship has another key since it was signed.
    stale: bool,
    /// `cycle << 32 | event`, event 0xFFFF_FFFF for the close.
    pub number: u64,
    due: Instant,
}

/// What flowed from one measurement (power in uW, and when) to that of `uw` at `now`, in nJ; nothing is known of a gap longer than
/// an event. Time is that of the device's own timer, which no told time moves.
pub(crate) fn trapezoid((last_uw, at): (i64, Instant), uw: i64, now: Instant) -> Option<i64> {
    let ms = now.saturating_since(at).as_millis();
    (ms <= EVENT_MS).then(|| last_uw.midpoint(uw).saturating_mul(ms as i64))
}

/// What flowed from measurement to measurement.
#[derive(Clone, Copy)]
struct Count {
    start_ms: u64,
    last_ms: u64,
    /// Power and moment of the last measurement; none after a pause.
    last: Option<(i64, Instant)>,
    /// A pack that is never Off moves more than 64 bits hold: 5 MWh.
    charged_nj: u128,
    discharged_nj: u128,
}

impl Count {
    fn from(time_ms: u64) -> Self {
        Count { start_ms: time_ms, last_ms: time_ms, last: None, charged_nj: 0, discharged_nj: 0 }
    }

    /// What flowed since the last measurement, if this power is measured now.
    fn since(&self, uw: i64, now: Instant) -> i64 {
        self.last.and_then(|last| trapezoid(last, uw, now)).unwrap_or(0)
    }

    /// In less out.
    fn net_nj(&self) -> i128 {
        self.charged_nj as i128 - self.discharged_nj as i128
    }

    /// Whole mWh in and out.
    fn mwh(&self) -> (u64, u64) {
        let whole = |nj: u128| (nj / u128::from(NJ_PER_MWH)) as u64;
        (whole(self.charged_nj), whole(self.discharged_nj))
    }

    /// Adds that, and this measurement.
    fn add(&mut self, nj: i64, time_ms: u64, uw: i64, now: Instant) {
        match nj >= 0 {
            true => self.charged_nj += u128::from(nj.unsigned_abs()),
            false => self.discharged_nj += u128::from(nj.unsigned_abs()),
        }
        (self.last_ms, self.last) = (self.last_ms.max(time_ms), Some((uw, now)));
    }
}

struct Cycle {
    number: u32,
    next_event: u32,
    window_ms: u64,
    /// End of the last event.
    event_end_ms: u64,
    sum: Count,
    charged_mwh: u64,
    discharged_mwh: u64,
    opening_soc_ppm: u32,
}

impl Cycle {
    /// Whole mWh charged and discharged that no event holds yet.
    fn pending_mwh(&self) -> (u64, u64) {
        let (charged, discharged) = self.sum.mwh();
        (charged - self.charged_mwh, discharged - self.discharged_mwh)
    }
}

/// Integrates and signs.
pub struct Meter {
    cid: Cid,
    capacity_mwh: u64,
    last_cycle: u32,
    cycle: Option<Cycle>,
    /// What flowed while there could be no cycle: the next one begins with it.
    before: Option<Count>,
    /// Cycle and number of the last event in which energy flowed.
    last_event: (u32, u32),
    pending: heapless::Deque<Pending, STATEMENTS_KEPT>,
}

impl Meter {
    /// Continues after the cycle number stored under [`key::CYCLE`].
    pub fn new(cid: Cid, capacity_mwh: u64, stored: Option<&[u8]>) -> Result<Self, Error> {
        let last_cycle = stored.map_or(Ok(0), versioned_u32)?;
        let pending = heapless::Deque::new();
        Ok(Meter { cid, capacity_mwh, last_cycle, cycle: None, before: None, last_event: (0, 0), pending })
    }

    /// Energy cycles opened so far.
    pub fn cycles(&self) -> u32 {
        self.last_cycle
    }

    /// Cycle and number of the last event in which energy flowed since the start; zeros before.
    pub fn last_event(&self) -> (u32, u32) {
        self.last_event
    }

    /// True while a cycle is open.
    pub fn is_open(&self) -> bool {
        self.cycle.is_some()
    }

    /// Opens a cycle at an estimated state of charge, which is that of now, from `time_ms` on or from the first measurement
    /// that waits for one ([`Meter::wait`]); returns the record that must be durable first.
    pub fn open(
        &mut self,
        soc_ppm: u32,
        time_ms: u64,
        key: &SigningKey,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Record, Error> {
        if self.pending.is_full() {
            return Err(Error::BufferTooSmall);
        }
        let number = self.last_cycle.checked_add(1).ok_or(Error::Exhausted)?;
        let record = Record::new(key::CYCLE, &[&[1], &number.to_be_bytes()])?;
        self.last_cycle = number;
        let sum = self.before.take().unwrap_or(Count::from(time_ms));
        let start_ms = sum.start_ms;
        // What flowed since the start is in the estimate already, and in the events to come.
        let opening_soc = i128::from(soc_ppm) - self.ppm(sum.net_nj());
        self.cycle = Some(Cycle {
            number,
            next_event: 0,
            window_ms: start_ms,
            event_end_ms: start_ms,
            sum,
            charged_mwh: 0,
            discharged_mwh: 0,
            opening_soc_ppm: opening_soc.clamp(0, 1_000_000) as u32,
        });
        self.event(EnergyKind::Opening, start_ms..start_ms, 0, key, now, rng)?;
        Ok(record)
    }

    /// True when there is room for the statements of a new cycle.
    pub fn can_open(&self) -> bool {
        self.cycle.is_none() && !self.pending.is_full()
    }

    /// Estimated state of charge: the opening value moved by the net energy.
    pub fn soc_ppm(&self) -> Option<u32> {
        let c = self.cycle.as_ref()?;
        let soc = i128::from(c.opening_soc_ppm) + self.ppm(c.sum.net_nj());
        Some(soc.clamp(0, 1_000_000) as u32)
    }

    /// Energy as a part of the capacity.
    fn ppm(&self, nj: i128) -> i128 {
        nj * 1_000_000 / (i128::from(self.capacity_mwh.max(1)) * i128::from(NJ_PER_MWH))
    }

    /// Adds a measurement made at `now` while no cycle can be opened yet.
    pub fn wait(&mut self, time_ms: u64, mv: u32, ma: i32, now: Instant) {
        let uw = i64::from(mv) * i64::from(ma);
        let sum = self.before.get_or_insert(Count::from(time_ms));
        sum.add(sum.since(uw, now), time_ms, uw, now);
    }

    /// Nothing flows until the next measurement.
    pub fn pause(&mut self) {
        if let Some(sum) = self.cycle.as_mut().map(|c| &mut c.sum).or(self.before.as_mut()) {
            sum.last = None;
        }
    }

    /// Adds a measurement made at `now`: trapezoid from the one before, over the time between the two by the device's own timer: a clock
    /// that is set forward must not become energy. The first of all that is counted, or after a pause, only sets the start: an event that went over
    /// the pause would have a mean power too small to say its energy (`spec/ledger.md`, L52).
    pub fn sample(
        &mut self,
        time_ms: u64,
        mv: u32,
        ma: i32,
        key: &SigningKey,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(c) = &mut self.cycle else { return Ok(()) };
        let uw = i64::from(mv) * i64::from(ma);
        let nj = c.sum.since(uw, now);
        let pending = c.pending_mwh();
        let turned = if nj > 0 { pending.1 > 0 } else { nj < 0 && pending.0 > 0 };
        let paused = c.sum.last.is_none();
        if (turned || paused) && self.pending.len() + 3 <= STATEMENTS_KEPT {
            self.close_window(key, now, rng)?;
        }
        let Some(c) = &mut self.cycle else { return Ok(()) };
        if paused && c.pending_mwh() == (0, 0) {
            c.window_ms = c.window_ms.max(time_ms);
        }
        c.sum.add(nj, time_ms, uw, now);
        if time_ms.saturating_sub(c.window_ms) >= EVENT_MS && self.pending.len() + 3 <= STATEMENTS_KEPT {
            self.close_window(key, now, rng)?;
        }
        Ok(())
    }

    fn close_window(
        &mut self,
        key: &SigningKey,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(c) = &mut self.cycle else { return Ok(()) };
        let (start, end) = (c.window_ms, c.sum.last_ms);
        let (charged, discharged) = c.pending_mwh();
        // A window holds one kind unless a turn fell while nothing could be sent: then it is divided in
        // proportion, because the events of a cycle must not overlap.
        let part = u128::from(end - start) * u128::from(charged);
        let turn = start + part.checked_div(u128::from(charged) + u128::from(discharged)).unwrap_or(0) as u64;
        c.window_ms = end;
        c.charged_mwh += charged;
        c.discharged_mwh += discharged;
        if charged > 0 {
            self.event(EnergyKind::Charge, start..turn, charged, key, now, rng)?;
        }
        if discharged > 0 {
            self.event(EnergyKind::Discharge, turn..end, discharged, key, now, rng)?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        kind: EnergyKind,
        span: Range<u64>,
        mwh: u64,
        key: &SigningKey,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let soc_now = self.soc_ppm().unwrap_or(0);
        let Some(c) = &mut self.cycle else { return Ok(()) };
        let soc_ppm = if kind == EnergyKind::Opening { c.opening_soc_ppm } else { soc_now };
        let event = EnergyEvent {
            cid: self.cid,
            cycle: c.number,
            seq: c.next_event,
            kind,
            start_ms: span.start,
            end_ms: span.end,
            mwh,
            mean_mw: (mwh * 3_600_000).checked_div(span.end - span.start).unwrap_or(0),
            soc_ppm,
        };
        c.next_event = c.next_event.checked_add(1).ok_or(Error::Exhausted)?;
        c.event_end_ms = event.end_ms;
        if kind != EnergyKind::Opening {
            self.last_event = (event.cycle, event.seq);
        }
        let mut bytes = [0; STATEMENT_MAX];
        let n = event.encode(&mut bytes)?;
        let signature = event.sign(key, rng)?;
        self.keep(&bytes[..n], signature, event.number(), now)
    }

    fn keep(
        &mut self,
        statement: &[u8],
        signature: Signature,
        number: u64,
        now: Instant,
    ) -> Result<(), Error> {
        let statement = heapless::Vec::from_slice(statement).map_err(|_| Error::BufferTooSmall)?;
        let pending = Pending { statement, signature, stale: false, number, due: now };
        self.pending.push_back(pending).map_err(|_| Error::BufferTooSmall)
    }

    /// Ends the cycle: the last event and the close. Does nothing when none is open, and waits for
    /// acknowledgements when there is no room; call again.
    pub fn close(&mut self, key: &SigningKey, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if self.cycle.is_none() || self.pending.len() + 3 > STATEMENTS_KEPT {
            return Ok(());
        }
        self.close_window(key, now, rng)?;
        let Some(c) = self.cycle.take() else { return Ok(()) };
        let close = CycleClose {
            cid: self.cid,
            cycle: c.number,
            events: c.next_event,
            charged_mwh: c.charged_mwh,
            discharged_mwh: c.discharged_mwh,
            start_ms: c.sum.start_ms,
            // A rest after the last event belongs to no event, and the close states what the events say.
            end_ms: c.event_end_ms,
        };
        let mut bytes = [0; STATEMENT_MAX];
        let n = close.encode(&mut bytes)?;
        let signature = close.sign(key, rng)?;
        self.keep(&bytes[..n], signature, close.number(), now)
    }

    /// The next statement to send or send again, if any; `key` is that of the relationship.
    pub fn poll(
        &mut self,
        now: Instant,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Pending>, Error> {
        // One at a time, in order: a close that overtook its events would be refused.
        let Some(pending) = self.pending.front_mut().filter(|p| p.due <= now) else { return Ok(None) };
        if pending.stale {
            pending.signature = match CycleClose::decode(&pending.statement) {
                Ok(close) => close.sign(key, rng)?,
                Err(_) => EnergyEvent::decode(&pending.statement)?.sign(key, rng)?,
            };
            pending.stale = false;
        }
        pending.due = now + RETRY;
        Ok(Some(pending.clone()))
    }

    /// The relationship has another key: what waits is signed anew when it is its turn (H181).
    pub fn unsign(&mut self) {
        self.pending.iter_mut().for_each(|pending| pending.stale = true);
    }

    /// When [`Meter::poll`] has something.
    pub fn due(&self) -> Option<Instant> {
        self.pending.front().map(|p| p.due)
    }

    /// The statement `number` is kept by the receiver; returns it, the first time.
    pub fn acknowledge(&mut self, number: u64) -> Option<Pending> {
        // They are told one at a time, in order.
        self.pending.front().is_some_and(|p| p.number == number).then(|| self.pending.pop_front())?
    }

    /// True when every statement was acknowledged and no cycle is open.
    pub fn is_empty(&self) -> bool {
        self.cycle.is_none() && self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    //! Rule L57 of the ledger.
    use super::*;
    use crate::clock::LAST_MS;
    use lct::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    const LATE: Instant = Instant::from_millis(u32::MAX as u64);

    /// What was signed before a binding is signed anew after it, with the same content and number.
    #[test]
    fn what_waits_when_the_key_changes_is_signed_with_the_new_one() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let [old, new] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let mut meter = Meter::new(Cid::of("pack-0001"), 1_482_000, None).unwrap();
        meter.open(980_000, 0, &old, Instant::START, &mut rng).unwrap();
        for s in 0..120 {
            meter
                .sample(s * 1_000, 24_000, -50_000, &old, Instant::from_millis(s * 1_000), &mut rng)
                .unwrap();
        }
        meter.close(&old, Instant::START, &mut rng).unwrap();
        let before = meter.poll(LATE, &old, &mut rng).unwrap().unwrap();
        meter.unsign();
        let mut verified = 0;
        while let Some(p) = meter.poll(LATE + RETRY.times(verified + 2), &new, &mut rng).unwrap() {
            assert!(verified > 0 || (p.number, &p.statement) == (before.number, &before.statement));
            match CycleClose::decode(&p.statement) {
                Ok(close) => close.verify(&new.public(), &p.signature).unwrap(),
                Err(_) => {
                    let event = EnergyEvent::decode(&p.statement).unwrap();
                    event.verify(&new.public(), &p.signature).unwrap();
                }
            }
            meter.acknowledge(p.number);
            verified += 1;
        }
        assert!(verified >= 3 && meter.is_empty(), "{verified}");
    }

    /// The sum of the signed events is the integral, whatever the steps, with less than one mWh left over.
    #[test]
    fn events_sum_to_the_integral() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let key = SigningKey::generate(&mut rng);
        let mut meter = Meter::new(Cid::of("pack-0001"), 1_482_000, None).unwrap();
        let t0 = 1_700_000_000_000;
        let at = |t: u64| Instant::from_millis(t - t0);
        meter.open(980_000, t0, &key, Instant::START, &mut rng).unwrap();
        let (mut discharged, mut charged, mut count, mut last_end) = (0, 0, 0, 0);
        let mut unused = ChaCha20Rng::seed_from_u64(5);
        let mut drain = |meter: &mut Meter| {
            while let Some(p) = meter.poll(LATE, &key, &mut unused).unwrap() {
                if let Ok(e) = EnergyEvent::decode(&p.statement) {
                    e.verify(&key.public(), &p.signature).unwrap();
                    assert_eq!(e.seq, count);
                    assert!(e.start_ms >= last_end, "events of a cycle do not overlap");
                    last_end = e.end_ms;
                    count += 1;
                    let power_mw = match e.kind {
                        EnergyKind::Charge => 24 * 30_000,
                        EnergyKind::Discharge => 24 * 65_000,
                        EnergyKind::Opening => 0,
                    };
                    match e.kind {
                        EnergyKind::Charge => charged += e.mwh,
                        EnergyKind::Discharge => discharged += e.mwh,
                        EnergyKind::Opening => assert_eq!(e.mwh, 0),
                    }
                    // An event says whole mWh: its mean is off by what one is over its time, at most.
                    let off = 3_600_000_u64.checked_div(e.end_ms - e.start_ms).unwrap_or(0) + 1;
                    assert!(e.mean_mw.abs_diff(power_mw) <= off, "{} {power_mw}", e.mean_mw);
                } else {
                    let c = CycleClose::decode(&p.statement).unwrap();
                    assert_eq!((c.discharged_mwh, c.charged_mwh, c.events), (discharged, charged, count));
                }
                meter.acknowledge(p.number);
            }
        };
        // 24 V at -65 A for an hour in steps of 700 ms, then 30 A back for ten minutes in steps of 1 s.
        let mut t = t0;
        meter.sample(t, 24_000, -65_000, &key, at(t), &mut rng).unwrap();
        while t < t0 + 3_600_000 {
            t += 700;
            meter.sample(t, 24_000, -65_000, &key, at(t), &mut rng).unwrap();
            drain(&mut meter);
        }
        let turn = t;
        meter.sample(t, 24_000, 30_000, &key, at(t), &mut rng).unwrap();
        while t < turn + 600_000 {
            t += 1_000;
            meter.sample(t, 24_000, 30_000, &key, at(t), &mut rng).unwrap();
            drain(&mut meter);
        }
        meter.close(&key, Instant::START, &mut rng).unwrap();
        drain(&mut meter);
        assert!(meter.is_empty());
        let want = 24 * 65 * (turn - t0) / 3_600;
        assert!(discharged.abs_diff(want) <= 1, "{discharged} {want}");
        assert!(charged.abs_diff(120_000) <= 1, "{charged}");
    }

    /// A told time moves the span of an event, and not what flowed in it.
    #[test]
    fn a_clock_that_is_set_forward_is_no_energy() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let key = SigningKey::generate(&mut rng);
        let sum = |rng: &mut ChaCha20Rng, set: u64| {
            let mut meter = Meter::new(Cid::of("pack-0001"), 1_482_000, None).unwrap();
            meter.open(980_000, 0, &key, Instant::START, rng).unwrap();
            for s in 0..=120 {
                let time = s * 1_000 + if s > 0 { set } else { 0 };
                meter
                    .sample(time.min(LAST_MS), 24_000, -50_000, &key, Instant::from_millis(s * 1_000), rng)
                    .unwrap();
            }
            meter.close(&key, Instant::START, rng).unwrap();
            meter.pending.iter().find_map(|p| CycleClose::decode(&p.statement).ok()).unwrap().discharged_mwh
        };
        // At the last moment that can be told it stands still.
        assert_eq!([0, 5, 900, 90_000, LAST_MS].map(|set| sum(&mut rng, set)), [40_000; 5]);
    }

    /// A pack of 240 kW that is On for a day while its receiver is away, and is then told the last moment that there is: neither
    /// the sum nor the division of its event goes beyond its integers.
    #[test]
    fn a_long_cycle_overflows_nothing() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let key = SigningKey::generate(&mut rng);
        let mut meter = Meter::new(Cid::of("pack-0001"), 10_000_000_000, None).unwrap();
        meter.open(0, 0, &key, Instant::START, &mut rng).unwrap();
        let (minutes, at) = (24 * 60, |minute: u64| Instant::from_millis(minute * EVENT_MS));
        for minute in 0..=minutes {
            let told = if minute == minutes { LAST_MS } else { minute * EVENT_MS };
            meter.sample(told, 800_000, 300_000, &key, at(minute), &mut rng).unwrap();
        }
        assert_eq!(meter.soc_ppm(), Some(576_000));
        let (mut sum, mut last_end) = (0, 0);
        for _ in 0..2 {
            while let Some(p) = meter.poll(LATE, &key, &mut rng).unwrap() {
                if let Ok(e) = EnergyEvent::decode(&p.statement) {
                    assert!(e.start_ms >= last_end);
                    (sum, last_end) = (sum + e.mwh, e.end_ms);
                }
                meter.acknowledge(p.number);
            }
            meter.close(&key, at(minutes), &mut rng).unwrap();
        }
        assert!(meter.is_empty());
        assert_eq!(sum, 24 * 240_000_000);
    }

    /// An event that went over a pause of hours had a mean power of few mW, or none: the ledger refused it (L52), and the close.
    #[test]
    fn an_event_does_not_go_over_a_pause() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let key = SigningKey::generate(&mut rng);
        let mut meter = Meter::new(Cid::of("pack-0001"), 1_482_000, None).unwrap();
        meter.open(980_000, 0, &key, Instant::START, &mut rng).unwrap();
        // 9.6 W for 90 s, three times, with five hours between.
        for start_ms in [0, 18_000_000, 36_000_000] {
            for ms in (start_ms..=start_ms + 90_000).step_by(1_000) {
                meter.sample(ms, 24_000, -400, &key, Instant::from_millis(ms), &mut rng).unwrap();
            }
            meter.pause();
        }
        meter.close(&key, Instant::START, &mut rng).unwrap();
        let events = meter.pending.iter().filter_map(|p| EnergyEvent::decode(&p.statement).ok());
        let spans = events.filter(|e| e.kind == EnergyKind::Discharge).map(|e| (e.start_ms, e.end_ms, e.mwh));
        let both = |ms: u64| [(ms, ms + 60_000, 160), (ms + 60_000, ms + 90_000, 80)];
        assert!(spans.eq([0, 18_000_000, 36_000_000].into_iter().flat_map(both)));
    }

    /// What flowed before there was a cycle moved the cells from which the state of charge is estimated: it is not taken from it
    /// once more.
    #[test]
    fn a_cycle_that_opens_late_says_where_it_began() {
        let mut rng = ChaCha20Rng::seed_from_u64(10);
        let key = SigningKey::generate(&mut rng);
        let mut meter = Meter::new(Cid::of("pack-0001"), 1_000_000, None).unwrap();
        // A tenth of the capacity.
        for ms in (0..=300_000).step_by(1_000) {
            meter.wait(ms, 24_000, -50_000, Instant::from_millis(ms));
        }
        let now = Instant::from_millis(300_000);
        meter.open(500_000, 300_000, &key, now, &mut rng).unwrap();
        assert_eq!(meter.soc_ppm(), Some(500_000));
        let told = meter.poll(now, &key, &mut rng).unwrap().unwrap();
        let opening = EnergyEvent::decode(&told.statement).unwrap();
        assert_eq!((opening.kind, opening.start_ms, opening.soc_ppm), (EnergyKind::Opening, 0, 600_000));
        meter.sample(301_000, 24_000, -50_000, &key, now, &mut rng).unwrap();
        meter.close(&key, now, &mut rng).unwrap();
        let events = meter.pending.iter().filter_map(|p| EnergyEvent::decode(&p.statement).ok());
        assert!(events.map(|e| (e.mwh, e.soc_ppm)).eq([(0, 600_000), (100_000, 500_000)]));
    }

    /// Statements that nobody acknowledges stop the making of new ones, never the counting.
    #[test]
    fn nothing_is_lost_while_the_receiver_is_away() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let key = SigningKey::generate(&mut rng);
        let mut meter = Meter::new(Cid::of("pack-0001"), 1_482_000, None).unwrap();
        meter.open(980_000, 0, &key, Instant::START, &mut rng).unwrap();
        for s in 0..7_200 {
            meter
                .sample(s * 1_000, 24_000, -50_000, &key, Instant::from_millis(s * 1_000), &mut rng)
                .unwrap();
        }
        meter.close(&key, Instant::START, &mut rng).unwrap();
        assert!(meter.is_open(), "no room for the close yet");
        let mut sum = 0;
        for _ in 0..40 {
            while let Some(p) = meter.poll(LATE, &key, &mut rng).unwrap() {
                sum += EnergyEvent::decode(&p.statement).map_or(0, |e| e.mwh);
                meter.acknowledge(p.number);
            }
            meter.close(&key, Instant::START, &mut rng).unwrap();
        }
        assert!(meter.is_empty());
        assert!(sum.abs_diff(24 * 50 * 7_199 / 3_600 * 1_000) < 1_200, "{sum}");
    }
}
