//! A pack of modules in series, each of cell groups in series, driven by a load.
//!
//! Groups differ from each other by chance drawn from the seed. The spread is that of the six groups of the measured
//! pack, found by fitting each of them to `module123-irdischarge-65ah-1_0c.csv` and `-2_0c.csv`: capacity 60.0 to
//! 62.2 Ah (two measured cells: 61.1 Ah), state of charge at the start 0.923 to 0.969, resistance within 5 % of each
//! other (and 0.68 to 0.82 of the single cell's, which was used more; the model keeps the single cell's).

use crate::cell::{Cell, Parameters};
use crate::load::Load;
use crate::reading::Reading;
use crate::seed::Chance;

/// Most modules on one string: nodes 1..31 are assigned (`spec/can.md`, C3).
pub const MAX_MODULES: u8 = 31;
/// Most cell groups of a module (module firmware).
pub const MAX_GROUPS: u8 = 94;

/// Cells in parallel per group of the measured pack.
const CELLS_PER_GROUP: u32 = 2;
/// Half the spread between groups.
const CAPACITY_SPREAD: f64 = 0.018;
const RESISTANCE_SPREAD: f64 = 0.05;
const SOC_SPREAD: f64 = 0.023;
/// The load may not charge a group above, or discharge it below, these limits.
const FULL_SOC: f64 = 0.99;
const FULL_V: f64 = 4.2;
const EMPTY_SOC: f64 = 0.05;
const EMPTY_V: f64 = 3.0;
/// Longest stretch between two checks of the limits.
const CHECK_MS: u32 = 1_000;

/// Rated energy of `groups` groups in milliwatt-hours: 66 Ah (two cells of 33 Ah) at a nominal 3.75 V.
pub fn rated_mwh(groups: u32) -> u64 {
    u64::from(groups) * 66_000 * 3_750 / 1_000
}

/// How to build a [`Battery`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Modules in series, 1..=[`MAX_MODULES`].
    pub modules: u8,
    /// Cell groups per module, 1..=[`MAX_GROUPS`].
    pub groups_per_module: u8,
    /// Decides the spread between the groups.
    pub seed: u64,
    /// Mean state of charge at the start in parts per million, 50 000..=970 000.
    pub soc_ppm: u32,
    /// Temperature of the surroundings, and of the cells at the start, in thousandths of a degree Celsius,
    /// -20 000..=50 000.
    pub ambient_mdegc: i32,
    /// What is asked of the pack while it is connected.
    pub load: Load,
}

impl Config {
    /// `modules` modules of two groups as measured, 90 % charged at 25 degC, under [`crate::load::DRIVE_AND_CHARGE`].
    pub fn measured(modules: u8, seed: u64) -> Self {
        Self {
            modules,
            groups_per_module: 2,
            seed,
            soc_ppm: 900_000,
            ambient_mdegc: 25_000,
            load: Load::standard(),
        }
    }
}

/// Why a [`Config`] cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Modules out of range.
    #[error("{0} modules: 1 to {MAX_MODULES} are possible")]
    Modules(u8),
    /// Groups out of range.
    #[error("{0} cell groups per module: 1 to {MAX_GROUPS} are possible")]
    Groups(u8),
    /// State of charge out of range.
    #[error("state of charge of {0} ppm: 50000 to 970000 are possible")]
    StateOfCharge(u32),
    /// Ambient temperature out of range.
    #[error("ambient temperature of {0} mdegC: -20000 to 50000 are possible")]
    Ambient(i32),
}

/// The pack.
#[derive(Debug, Clone)]
pub struct Battery {
    groups: Vec<Cell>,
    groups_per_module: usize,
    ambient_c: f64,
    load: Load,
    connected: bool,
    /// A limit was reached in the present phase; no current flows until the next one.
    blocked: bool,
    current_ma: i32,
}

impl Battery {
    /// Builds a pack at rest, not connected.
    ///
    /// # Errors
    /// The first part of `config` that is out of range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let Config { modules, groups_per_module, seed, soc_ppm, ambient_mdegc, load } = config;
        if !(1..=MAX_MODULES).contains(&modules) {
            return Err(ConfigError::Modules(modules));
        }
        if !(1..=MAX_GROUPS).contains(&groups_per_module) {
            return Err(ConfigError::Groups(groups_per_module));
        }
        if !(50_000..=970_000).contains(&soc_ppm) {
            return Err(ConfigError::StateOfCharge(soc_ppm));
        }
        if !(-20_000..=50_000).contains(&ambient_mdegc) {
            return Err(ConfigError::Ambient(ambient_mdegc));
        }
        let ambient_c = f64::from(ambient_mdegc) / 1000.0;
        let mut chance = Chance::new(seed, "cell groups");
        let nominal = Parameters::MEASURED.parallel(CELLS_PER_GROUP);
        let groups = (0..usize::from(modules) * usize::from(groups_per_module))
            .map(|_| {
                let capacity = 1.0 + CAPACITY_SPREAD * chance.signed_unit();
                let resistance = 1.0 + RESISTANCE_SPREAD * chance.signed_unit();
                let soc = f64::from(soc_ppm) / 1e6 + SOC_SPREAD * chance.signed_unit();
                let parameters = Parameters {
                    capacity_ah: nominal.capacity_ah * capacity,
                    r0_ohm: nominal.r0_ohm * resistance,
                    r1_ohm: nominal.r1_ohm * resistance,
                    ..nominal
                };
                Cell::at_rest(parameters, soc, ambient_c)
            })
            .collect();
        Ok(Self {
            groups,
            groups_per_module: usize::from(groups_per_module),
            ambient_c,
            load,
            connected: false,
            blocked: false,
            current_ma: 0,
        })
    }

    /// Closes or opens the contactors: only a connected pack carries current, and only then does the load go on.
    pub fn set_connected(&mut self, connected: bool) {
        self.connected = connected;
        if !connected {
            self.current_ma = 0;
        }
    }

    /// Mean state of charge of `module` (from 0) in parts per million: the truth that an estimator is judged by.
    /// `None` when there is no such module.
    pub fn soc_ppm(&self, module: usize) -> Option<u32> {
        let groups = self.groups.chunks_exact(self.groups_per_module).nth(module)?;
        let mean = groups.iter().map(Cell::soc).sum::<f64>() / groups.len() as f64;
        Some((mean * 1e6).round().clamp(0.0, 1e6) as u32)
    }

    /// Lets `ms` milliseconds pass and writes what the sensors then show into `out`.
    ///
    /// The current shown is the one that flowed at the end of the step; a step should not be longer than the shortest
    /// phase of the load, or phases go by unseen (their charge still counts).
    pub fn step(&mut self, ms: u32, out: &mut Reading) {
        let mut left = ms;
        while left > 0 {
            let piece = if self.connected { left.min(CHECK_MS).min(self.load.ms_left()) } else { left };
            left -= piece;
            self.current_ma = match self.connected && !self.blocked {
                true => self.allowed(self.load.demand_ma()),
                false => 0,
            };
            let amperes = f64::from(self.current_ma) / 1000.0;
            for group in &mut self.groups {
                group.step(f64::from(piece) / 1000.0, amperes, self.ambient_c);
            }
            if self.connected && self.load.advance(piece) {
                self.blocked = false;
            }
        }
        self.measure(out);
    }

    /// `demand_ma`, or 0 and blocked for the rest of the phase when a group is at its limit.
    fn allowed(&mut self, demand_ma: i32) -> i32 {
        let at_limit = |cell: &Cell| match demand_ma {
            0 => false,
            1.. => cell.soc() >= FULL_SOC || cell.voltage() >= FULL_V,
            _ => cell.soc() <= EMPTY_SOC || cell.voltage() <= EMPTY_V,
        };
        self.blocked = self.groups.iter().any(at_limit);
        if self.blocked { 0 } else { demand_ma }
    }

    fn measure(&self, out: &mut Reading) {
        out.pack_ma = self.current_ma;
        out.resize(self.groups.len() / self.groups_per_module);
        for (module, groups) in out.modules.iter_mut().zip(self.groups.chunks_exact(self.groups_per_module)) {
            module.cell_mv.clear();
            module.cell_mv.extend(
                groups.iter().map(|cell| (cell.voltage() * 1000.0).round().clamp(0.0, 5000.0) as u16),
            );
            module.temp_mdegc.clear();
            module.temp_mdegc.extend(groups.iter().map(|cell| (cell.temperature() * 1000.0).round() as i32));
            module.voltage_mv = module.cell_mv.iter().map(|&mv| u32::from(mv)).sum();
            module.current_ma = self.current_ma;
        }
        out.pack_mv = out.modules.iter().map(|module| module.voltage_mv).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Phase;
    use std::hash::{DefaultHasher, Hash, Hasher};

    fn run(config: Config, seconds: u32) -> (Battery, Vec<Reading>) {
        let mut battery = Battery::new(config).unwrap();
        battery.set_connected(true);
        let mut log = Vec::new();
        let mut reading = Reading::default();
        for _ in 0..seconds {
            battery.step(1000, &mut reading);
            log.push(reading.clone());
        }
        (battery, log)
    }

    #[test]
    fn one_seed_gives_one_history_and_another_seed_another() {
        let hash = |seed| {
            let mut hasher = DefaultHasher::new();
            run(Config::measured(5, seed), 900).1.hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }

    #[test]
    fn pack_is_the_sum_of_modules_and_the_current_is_common() {
        let (_, log) = run(Config::measured(31, 3), 300);
        for reading in &log {
            assert_eq!(reading.modules.len(), 31);
            assert_eq!(reading.pack_mv, reading.modules.iter().map(|module| module.voltage_mv).sum::<u32>());
            for module in &reading.modules {
                assert_eq!(module.voltage_mv, module.cell_mv.iter().map(|&mv| u32::from(mv)).sum::<u32>());
                assert_eq!(module.current_ma, reading.pack_ma);
                assert_eq!((module.cell_mv.len(), module.temp_mdegc.len()), (2, 2));
            }
        }
        let spread: Vec<u16> =
            log[0].modules.iter().flat_map(|module| module.cell_mv.iter().copied()).collect();
        let (low, high) = (spread.iter().min().unwrap(), spread.iter().max().unwrap());
        assert!((5..60).contains(&(high - low)), "rest voltages spread over {} mV", high - low);
    }

    /// Energy events of both kinds need both directions, in every cycle and for ever.
    #[test]
    fn both_directions_flow_and_the_charge_level_does_not_drift() {
        let (battery, log) = run(Config::measured(3, 4), 295 * 12);
        for cycle in log.chunks(295) {
            assert!(cycle.iter().any(|reading| reading.pack_ma < 0));
            assert!(cycle.iter().any(|reading| reading.pack_ma > 0));
        }
        for module in 0..3 {
            let soc = battery.soc_ppm(module).unwrap();
            assert!((870_000..930_000).contains(&soc), "{soc}");
        }
        assert_eq!(battery.soc_ppm(3), None);
    }

    #[test]
    fn a_load_cannot_drive_the_pack_beyond_its_limits() {
        for (ma, soc_ppm) in [(-130_000, 100_000), (65_000, 960_000)] {
            let load = Load::repeat(&[Phase { ms: 60_000, ma }]).unwrap();
            let (_, log) = run(Config { load, soc_ppm, ..Config::measured(3, 5) }, 3600);
            let cells = |reading: &Reading| -> Vec<u16> {
                reading.modules.iter().flat_map(|module| module.cell_mv.clone()).collect()
            };
            for pair in log.windows(2) {
                let limit = match ma {
                    0.. => cells(&pair[0]).iter().any(|&mv| mv >= 4_201),
                    _ => cells(&pair[0]).iter().any(|&mv| mv <= 2_999),
                };
                assert!(!limit || pair[1].pack_ma == 0, "current goes on beyond a limit");
            }
            // The second of full current in which the limit is passed may pass it by what it does to the voltage.
            let all: Vec<u16> = log.iter().flat_map(cells).collect();
            assert!(*all.iter().min().unwrap() > 2_950 && *all.iter().max().unwrap() < 4_250);
            let running = log.iter().filter(|reading| reading.pack_ma != 0).count();
            assert!((10..1_800).contains(&running), "{running} s of current");
            assert_eq!(log.last().unwrap().pack_ma, 0);
        }
    }

    #[test]
    fn a_full_pack_still_discharges_and_then_charges_again() {
        let load =
            Load::repeat(&[Phase { ms: 600_000, ma: 30_000 }, Phase { ms: 60_000, ma: -65_000 }]).unwrap();
        let (_, log) = run(Config { load, soc_ppm: 960_000, ..Config::measured(2, 8) }, 1_400);
        let changes: Vec<i32> = log.iter().map(|reading| reading.pack_ma).fold(Vec::new(), |mut seen, ma| {
            if seen.last() != Some(&ma) {
                seen.push(ma);
            }
            seen
        });
        assert_eq!(changes, [30_000, 0, -65_000, 30_000, 0, -65_000, 30_000]);
    }

    #[test]
    fn without_contactors_no_current_flows_and_the_load_waits() {
        let mut battery = Battery::new(Config::measured(2, 6)).unwrap();
        let mut reading = Reading::default();
        battery.step(600_000, &mut reading);
        assert_eq!(reading.pack_ma, 0);
        battery.set_connected(true);
        battery.step(10_000, &mut reading);
        assert_eq!(reading.pack_ma, 0, "the cycle begins with its rest");
        battery.step(1_000, &mut reading);
        assert_eq!(reading.pack_ma, -65_000);
        battery.set_connected(false);
        battery.step(1_000, &mut reading);
        assert_eq!(reading.pack_ma, 0);
    }

    /// Same current, different capacity: the modules lose different shares of their charge, within the spread.
    #[test]
    fn groups_differ_in_capacity() {
        let load = Load::repeat(&[Phase { ms: 1_000, ma: -61_119 }]).unwrap();
        let config = Config { load, groups_per_module: 1, ..Config::measured(31, 9) };
        let start = Battery::new(config.clone()).unwrap();
        let (end, _) = run(config, 1_800);
        let lost: Vec<u32> =
            (0..31).map(|module| start.soc_ppm(module).unwrap() - end.soc_ppm(module).unwrap()).collect();
        let (least, most) = (lost.iter().min().unwrap(), lost.iter().max().unwrap());
        assert!(*least >= 491_000 && *most <= 509_300, "{least} {most}");
        assert!(most - least > 9_000, "{least} {most}");
    }

    /// A long step must not change what flowed: limits and phases are looked at inside it.
    #[test]
    fn one_long_step_equals_many_short_ones() {
        // Phases that do not meet the seconds.
        let load = Load::repeat(&[Phase { ms: 1_700, ma: -90_000 }, Phase { ms: 300, ma: 65_000 }]).unwrap();
        let mut long = Battery::new(Config { load, ..Config::measured(2, 7) }).unwrap();
        let mut short = long.clone();
        let (mut a, mut b) = (Reading::default(), Reading::default());
        long.set_connected(true);
        short.set_connected(true);
        long.step(295_000, &mut a);
        for _ in 0..2_950 {
            short.step(100, &mut b);
        }
        assert_eq!(a.pack_ma, b.pack_ma);
        assert_eq!(long.soc_ppm(0), short.soc_ppm(0));
        assert!(a.pack_mv.abs_diff(b.pack_mv) <= 4, "{} {}", a.pack_mv, b.pack_mv);
    }

    #[test]
    fn impossible_packs_are_refused() {
        let base = || Config::measured(3, 0);
        let table = [
            (Config { modules: 0, ..base() }, ConfigError::Modules(0)),
            (Config { modules: 32, ..base() }, ConfigError::Modules(32)),
            (Config { groups_per_module: 0, ..base() }, ConfigError::Groups(0)),
            (Config { groups_per_module: 95, ..base() }, ConfigError::Groups(95)),
            (Config { soc_ppm: 49_999, ..base() }, ConfigError::StateOfCharge(49_999)),
            (Config { soc_ppm: 1_000_000, ..base() }, ConfigError::StateOfCharge(1_000_000)),
            (Config { ambient_mdegc: -273_000, ..base() }, ConfigError::Ambient(-273_000)),
        ];
        for (config, expected) in table {
            assert_eq!(Battery::new(config).unwrap_err(), expected);
        }
    }
}
