//! What this pack observes of its modules, told once an hour (`spec/channel.md`, H212, H213).

use super::*;
use crate::observation::{Measured, Observed, PERIOD_MS, Sight, number};
use lct::trust::{MetricsReport, REPORT_MAX};

/// How old the last message of a prompt module may be: it reports once a second (C41).
const PROMPT: Duration = Duration::from_millis(1_500);
/// How long a report waits for its acknowledgement before it is told again.
const RETRY: Duration = Duration::from_secs(5);

/// Period of observation.
pub(super) struct Watching {
    /// When it began, on the own clock and in Unix ms, and when was observed last, Unix ms.
    period: Option<(Instant, u64, u64)>,
    /// When the next report may be told.
    due: Instant,
}

impl Watching {
    pub(super) fn new(now: Instant) -> Self {
        Watching { period: None, due: now }
    }
}

/// What is observed of one module.
#[derive(Default)]
pub(super) struct Merit {
    observed: Observed,
    /// The last whole period, until it is kept.
    report: Option<MetricsReport>,
}

impl Controller {
    /// Counts what there is to see of each paired module, and closes the period when its hour is over. A clock that was set
    /// back begins it anew: periods never overlap.
    pub(super) fn observe(&mut self, now: Instant, time_ms: u64) {
        let (since, start, last) = self.watching.period.unwrap_or((now, time_ms, time_ms));
        if time_ms < last {
            self.slots.iter_mut().for_each(|slot| slot.merit.observed = Observed::default());
            self.watching.period = None;
            return;
        }
        self.watching.period = Some((since, start, time_ms));
        let told = |s: &Slot| s.status.filter(|status| s.healthy() && status.status2.cell_avg_mv > 0);
        let told = self.slots.iter().filter_map(|s| told(s).map(|status| status.status1.voltage_mv));
        let (sum, n) = told.fold((0u32, 0u32), |(sum, n), mv| (sum.saturating_add(mv), n + 1));
        let mean_mv = sum.checked_div(n).unwrap_or(0);
        let pack_ma = self.pack_ma;
        for slot in self.slots.iter_mut().filter(|s| s.relation.is_paired()) {
            let healthy = slot.healthy();
            let told = slot.status.filter(|status| healthy && status.status2.cell_avg_mv > 0);
            let measured = told.map(|status| {
                let ma = status.status1.current_ma;
                let allowed = slot.rating.map_or(0, |r| if ma < 0 { r.discharge_ma } else { r.charge_ma });
                Measured {
                    mv: [status.status1.voltage_mv, mean_mv],
                    ma: [ma, pack_ma],
                    allowed_ma: allowed.unsigned_abs(),
                    mc: status.status3.cell_avg_mc,
                }
            });
            let prompt = healthy && now.saturating_since(slot.heard) <= PROMPT;
            let safe = !slot.watch.is_tripped();
            slot.merit.observed.add(&Sight { prompt, safe, healthy, measured });
        }
        // A clock that was set forward makes no hour.
        if time_ms - start >= PERIOD_MS && now.saturating_since(since).as_millis() >= PERIOD_MS {
            self.close_period(now, (start, time_ms));
        }
    }

    fn close_period(&mut self, now: Instant, span: (u64, u64)) {
        let (own, cycles) = (self.device.own.cid(), self.meter.cycles());
        for slot in &mut self.slots {
            let observed = core::mem::take(&mut slot.merit.observed);
            let subject = slot.relation.peer().map(|(cid, _)| cid);
            // What was not kept for an hour gives way.
            slot.merit.report = subject.and_then(|subject| observed.report(own, subject, span, cycles));
        }
        self.watching.period = Some((now, span.1, span.1));
    }

    /// Tells the first report that waits.
    pub(super) fn send_report(
        &mut self,
        now: Instant,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if now < self.watching.due || !self.can1.is_idle() {
            return Ok(());
        }
        let waits = self.slots.iter().zip(1u8..).find_map(|(s, node)| Some((node, s.merit.report?)));
        let Some((node, report)) = waits else { return Ok(()) };
        self.watching.due = now + RETRY;
        let mut statement = [0; REPORT_MAX];
        let n = report.encode(&mut statement)?;
        let signature = report.sign(key, rng)?;
        let head = [pdu::METRICS, node, n as u8];
        self.seal_to_app_parts(now, Tier::Exch, &[&head, &statement[..n], &signature.0])
    }

    /// A report is on its way to the ledger.
    pub(super) fn report_kept(&mut self, now: Instant, kept: u64) {
        for (slot, node) in self.slots.iter_mut().zip(1u8..) {
            if slot.merit.report.is_some_and(|report| number(node, report.end_ms) == kept) {
                slot.merit.report = None;
                self.watching.due = now;
            }
        }
    }
}
