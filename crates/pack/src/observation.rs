//! What a pack observes of a module over an hour, for a signed report of metrics (`spec/channel.md`, H212, H213;
//! `spec/ledger.md`, L198).

use lct::{
    id::Cid,
    trust::{MetricsReport, TrustContext},
};

/// How long a period is: the shortest that the ledger takes by default (L196, `updates`).
pub const PERIOD_MS: u64 = 3_600_000;
/// One, in parts per million.
const ONE: u32 = 1_000_000;
/// Currents are compared as if the pack carried at least this, mA: below it the difference is noise of the sensors.
const LEAST_MA: u32 = 1_000;

/// The number by which the report about the module at `node` that ends at `end_ms` is acknowledged: `node u8 | end u56`.
pub fn number(node: u8, end_ms: u64) -> u64 {
    u64::from(node) << 56 | end_ms & (u64::MAX >> 8)
}

/// A share of `of`, ppm, at most one; of nothing it is nothing.
fn share(part: u64, of: u64) -> u32 {
    let ppm = (u128::from(part) * u128::from(ONE)).checked_div(of.into()).unwrap_or(0);
    ppm.min(ONE.into()) as u32
}

/// What a healthy module measured, and what the pack measured at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Its voltage, mV, and the mean voltage of all healthy modules.
    pub mv: [u32; 2],
    /// Its current, mA, and that of the pack: in a series pack they are the same.
    pub ma: [i32; 2],
    /// Largest current that it allows in this direction, mA.
    pub allowed_ma: u32,
    /// Mean temperature, 0.001 degC.
    pub mc: i32,
}

/// A module at one measurement of the pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Its last message is not older than a heartbeat may be.
    pub prompt: bool,
    /// It did not trip.
    pub safe: bool,
    /// It is registered, its channel is up, and it is heard (C65).
    pub healthy: bool,
    /// What it measured; `None` while it is not healthy, or has not told its cells.
    pub measured: Option<Measured>,
}

/// Sums of a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    sights: u64,
    prompt: u64,
    safe: u64,
    healthy: u64,
    measured: u64,
    efficiency: u64,
    accuracy: u64,
    load: u64,
    mc: i64,
}

impl Observed {
    /// Counts a sight.
    pub fn add(&mut self, sight: &Sight) {
        self.sights += 1;
        self.prompt += u64::from(sight.prompt);
        self.safe += u64::from(sight.safe);
        self.healthy += u64::from(sight.healthy);
        let Some(Measured { mv: [mv, mean_mv], ma: [ma, pack_ma], allowed_ma, mc }) = sight.measured else {
            return;
        };
        self.measured += 1;
        self.efficiency += u64::from(share(mv.into(), mean_mv.into()));
        let pack_ma_size = pack_ma.unsigned_abs().max(LEAST_MA);
        self.accuracy += u64::from(ONE - share(ma.abs_diff(pack_ma).into(), pack_ma_size.into()));
        self.load += u64::from(share(ma.unsigned_abs().into(), allowed_ma.into()));
        self.mc += i64::from(mc);
    }

    /// The report about `subject` for this period; `None` when nothing was seen of it.
    pub fn report(
        &self,
        observer: Cid,
        subject: Cid,
        (start_ms, end_ms): (u64, u64),
        cycles: u32,
    ) -> Option<MetricsReport> {
        let mean = |sum: u64| sum.checked_div(self.measured).unwrap_or(0) as u32;
        (self.sights > 0).then(|| MetricsReport {
            observer,
            subject,
            context: TrustContext::Operation,
            start_ms,
            end_ms,
            metrics: [
                mean(self.efficiency),
                share(self.healthy, self.sights),
                mean(self.accuracy),
                share(self.prompt, self.sights),
                share(self.safe, self.sights),
            ],
            temperature: self.mc.checked_div(self.measured as i64).unwrap_or(0) as i32,
            load_ppm: mean(self.load),
            cycles,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Measured =
        Measured { mv: [7_300, 7_300], ma: [-20_000, -20_000], allowed_ma: 200_000, mc: 25_000 };

    fn of(sights: &[Sight]) -> MetricsReport {
        let mut observed = Observed::default();
        sights.iter().for_each(|sight| observed.add(sight));
        observed.report(Cid([1; 16]), Cid([2; 16]), (5, 5 + PERIOD_MS), 3).unwrap()
    }

    #[test]
    fn each_metric_follows_what_it_is_about() {
        let good = Sight { prompt: true, safe: true, healthy: true, measured: Some(GOOD) };
        let with = |change: fn(&mut Measured)| {
            let mut measured = GOOD;
            change(&mut measured);
            [good, Sight { measured: Some(measured), ..good }]
        };
        let all = ONE;
        for (what, sights, metrics) in [
            ("all is well", [good, good], [all; 5]),
            ("less voltage", with(|m| m.mv[0] = 6_570), [950_000, all, all, all, all]),
            ("more voltage is no merit", with(|m| m.mv[0] = 9_000), [all; 5]),
            ("another current", with(|m| m.ma[0] = -19_000), [all, all, 975_000, all, all]),
            ("the wrong direction", with(|m| m.ma[0] = 20_000), [all, all, 500_000, all, all]),
            ("noise at rest", with(|m| m.ma = [-10, 0]), [all, all, 995_000, all, all]),
            ("late", [good, Sight { prompt: false, ..good }], [all, all, all, 500_000, all]),
            ("tripped", [good, Sight { safe: false, ..good }], [all, all, all, all, 500_000]),
            ("gone", [good, Sight { healthy: false, measured: None, ..good }], [all, 500_000, all, all, all]),
            ("silent about its cells", [good, Sight { measured: None, ..good }], [all; 5]),
        ] {
            assert_eq!(of(&sights).metrics, metrics, "{what}");
        }
        let r = of(&with(|m| (m.mc, m.ma) = (-5_000, [-60_000, -60_000])));
        assert_eq!((r.temperature, r.load_ppm, r.cycles), (10_000, 200_000, 3));
        assert_eq!((r.start_ms, r.end_ms), (5, 5 + PERIOD_MS));
    }

    /// A module without capability, of which nothing was ever measured, or of which nothing was seen, divides by nothing.
    #[test]
    fn nothing_is_divided_by_nothing() {
        let unable = Measured { mv: [0, 0], ma: [i32::MIN, i32::MAX], allowed_ma: 0, mc: i32::MIN };
        let r = of(&[Sight { prompt: true, safe: true, healthy: true, measured: Some(unable) }]);
        assert_eq!((r.metrics, r.load_ppm), ([0, ONE, 0, ONE, ONE], 0));
        let dead = Sight { prompt: false, safe: true, healthy: false, measured: None };
        assert_eq!(of(&[dead]).metrics, [0, 0, 0, 0, ONE]);
        assert_eq!(Observed::default().report(Cid([1; 16]), Cid([2; 16]), (0, 1), 0), None);
    }

    #[test]
    fn reports_of_one_end_have_numbers_of_their_own() {
        assert_ne!(number(1, 7), number(2, 7));
        assert_ne!(number(1, 7), number(1, 8));
    }
}
