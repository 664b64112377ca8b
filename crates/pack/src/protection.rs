//! Local trips on what a device measures itself, with hysteresis (`spec/can.md`, C115). They never wait for a network
//! and nothing on a bus can suppress them.

use crate::{fault::FaultCode, health::Health, module::Rating, time::Instant};

/// What a device measured, as far as its limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extremes {
    /// Lowest cell that reported: number and mV.
    pub cell_min: (u16, u32),
    /// Highest cell that reported: number and mV.
    pub cell_max: (u16, u32),
    /// Coldest and hottest, thousandths of a degree Celsius.
    pub temperature_mc: [i32; 2],
}

/// TripLimits beyond which a device opens its relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TripLimits {
    /// Highest cell voltage, mV.
    pub cell_max_mv: u32,
    /// Lowest cell voltage, mV.
    pub cell_min_mv: u32,
    /// How far a cell must return before its fault ends, mV.
    pub hysteresis_mv: u32,
    /// Highest temperature, thousandths of a degree Celsius.
    pub max_mc: i32,
    /// Lowest temperature, thousandths of a degree Celsius.
    pub min_mc: i32,
    /// How far a temperature must return before its fault ends, thousandths of a degree.
    pub hysteresis_mc: i32,
    /// How far the current may exceed the rating, parts per million of it.
    pub current_margin_ppm: u32,
}

impl Default for TripLimits {
    /// 2.5 to 4.25 V with 50 mV, -25 to 60 degrees with 3 degrees, 10 % above the rated current.
    fn default() -> Self {
        TripLimits {
            cell_max_mv: 4_250,
            cell_min_mv: 2_500,
            hysteresis_mv: 50,
            max_mc: 60_000,
            min_mc: -25_000,
            hysteresis_mc: 3_000,
            current_margin_ppm: 100_000,
        }
    }
}

impl TripLimits {
    /// Judges cell voltages and temperatures: faults begin beyond a limit and end once the value has returned by the
    /// hysteresis.
    pub fn judge_cells(&self, now: Instant, seen: &Extremes, health: &mut Health) {
        use FaultCode::{CellOverVoltage, CellUnderVoltage, OverTemperature, UnderTemperature};
        let of_cell = |(cell, mv): (u16, u32)| u32::from(cell) << 16 | mv.min(0xFFFF);
        let (high, low) = (seen.cell_max.1, seen.cell_min.1);
        let [cold, hot] = seen.temperature_mc;
        let rows = [
            (
                CellOverVoltage,
                high > self.cell_max_mv,
                high.saturating_add(self.hysteresis_mv) <= self.cell_max_mv,
                of_cell(seen.cell_max),
            ),
            (
                CellUnderVoltage,
                low < self.cell_min_mv,
                low >= self.cell_min_mv.saturating_add(self.hysteresis_mv),
                of_cell(seen.cell_min),
            ),
            (
                OverTemperature,
                hot > self.max_mc,
                hot.saturating_add(self.hysteresis_mc) <= self.max_mc,
                hot as u32,
            ),
            (
                UnderTemperature,
                cold < self.min_mc,
                cold >= self.min_mc.saturating_add(self.hysteresis_mc),
                cold as u32,
            ),
        ];
        for (code, beyond, returned, detail) in rows {
            if beyond {
                health.raise(now, code, detail);
            } else if returned {
                health.end(code);
            }
        }
    }

    /// Judges a current against a rating. An over-current stays until [`TripLimits::release`], because opening the relay
    /// ends the current and not its cause.
    pub fn judge_current(&self, now: Instant, current_ma: i32, rating: &Rating, health: &mut Health) {
        let with_margin =
            |ma: i32| i64::from(ma) + i64::from(ma) * i64::from(self.current_margin_ppm) / 1_000_000;
        let current = i64::from(current_ma);
        if current > with_margin(rating.charge_ma) {
            health.raise(now, FaultCode::ChargeOverCurrent, current_ma as u32);
        } else if current < with_margin(rating.discharge_ma) {
            health.raise(now, FaultCode::DischargeOverCurrent, current_ma as u32);
        }
    }

    /// Somebody entitled switched Off: an over-current that was latched ends.
    pub fn release(health: &mut Health) {
        health.end(FaultCode::ChargeOverCurrent);
        health.end(FaultCode::DischargeOverCurrent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Extremes =
        Extremes { cell_min: (0, 3_700), cell_max: (1, 3_800), temperature_mc: [20_000, 25_000] };

    fn active(health: &Health) -> std::vec::Vec<(FaultCode, u32)> {
        health.active().map(|f| (f.code, f.detail)).collect()
    }

    #[test]
    fn a_fault_begins_beyond_its_limit_and_ends_after_the_hysteresis() {
        let limits = TripLimits::default();
        let cell = |mv| Extremes { cell_max: (3, mv), ..CALM };
        let low = |mv| Extremes { cell_min: (7, mv), ..CALM };
        let hot = |mc| Extremes { temperature_mc: [20_000, mc], ..CALM };
        let cold = |mc| Extremes { temperature_mc: [mc, 20_000], ..CALM };
        let tables = [
            (
                FaultCode::CellOverVoltage,
                3 << 16 | 4_251,
                [cell(4_250), cell(4_251), cell(4_201), cell(4_200)],
            ),
            (FaultCode::CellUnderVoltage, 7 << 16 | 2_499, [low(2_500), low(2_499), low(2_549), low(2_550)]),
            (FaultCode::OverTemperature, 60_001, [hot(60_000), hot(60_001), hot(57_001), hot(57_000)]),
            (
                FaultCode::UnderTemperature,
                -25_001i32 as u32,
                [cold(-25_000), cold(-25_001), cold(-22_001), cold(-22_000)],
            ),
        ];
        for (code, detail, [at, beyond, within, returned]) in tables {
            let mut health = Health::new(1);
            let now = Instant::START;
            limits.judge_cells(now, &at, &mut health);
            assert_eq!(active(&health), [], "{code:?} at its limit");
            limits.judge_cells(now, &beyond, &mut health);
            assert_eq!(active(&health), [(code, detail)]);
            assert!(health.tripped());
            limits.judge_cells(now, &within, &mut health);
            assert!(health.tripped(), "{code:?} ended within its hysteresis");
            limits.judge_cells(now, &returned, &mut health);
            assert_eq!(active(&health), []);
        }
    }

    #[test]
    fn an_over_current_stays_until_it_is_released() {
        let limits = TripLimits::default();
        let rating = Rating { charge_ma: 65_000, discharge_ma: -200_000, end_of_charge_mv: 8_400 };
        let table = [
            (71_500, None),
            (71_501, Some(FaultCode::ChargeOverCurrent)),
            (-220_000, None),
            (-220_001, Some(FaultCode::DischargeOverCurrent)),
        ];
        for (ma, expected) in table {
            let mut health = Health::new(1);
            limits.judge_current(Instant::START, ma, &rating, &mut health);
            assert_eq!(health.active().next().map(|f| f.code), expected, "{ma} mA");
            limits.judge_current(Instant::START, 0, &rating, &mut health);
            assert_eq!(health.tripped(), expected.is_some(), "the current ended, the cause did not");
            TripLimits::release(&mut health);
            assert!(!health.tripped());
        }
    }
}
