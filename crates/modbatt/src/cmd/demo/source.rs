//! Where the sensor values come from: a tester's file, or the battery model.

use std::path::Path;

use sim::battery::{Battery, Config};
use sim::reading::Reading;
use sim::replay::{Replay, Sample};

use super::super::Failure;
use super::provision::GROUPS;

/// Period of the model's measurements.
const PERIOD_MS: u64 = 1_000;

/// Sensor values in time.
pub enum Source {
    /// Rows of a file, and the next one.
    Replay {
        /// All rows.
        samples: Vec<Sample>,
        /// The next one.
        next: usize,
    },
    /// The battery model.
    Model(Box<Battery>),
}

impl Source {
    /// Reads a tester's file completely, so that a damaged one is refused before anything runs.
    pub fn replay(path: &Path) -> Result<(Self, bool), Failure> {
        let replay = Replay::open(path).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
        let complete = replay.summary.complete;
        Ok((Source::Replay { samples: replay.samples, next: 0 }, complete))
    }

    /// A model of `modules` modules.
    pub fn model(modules: usize, seed: u64) -> Result<Self, Failure> {
        let modules = u8::try_from(modules).unwrap_or(u8::MAX);
        let mut config = Config::measured(modules, seed);
        config.groups_per_module = GROUPS;
        let battery = Battery::new(config).map_err(|e| Failure::Input(e.to_string()))?;
        Ok(Source::Model(Box::new(battery)))
    }

    /// Milliseconds from the first value to the next one that has not been read.
    pub fn next_ms(&self, read: u64) -> Option<u64> {
        match self {
            Source::Replay { samples, next } => {
                let first = samples.first()?.time_ms;
                samples.get(*next).map(|s| s.time_ms - first)
            }
            Source::Model(_) => Some(read * PERIOD_MS),
        }
    }

    /// Rows, if they are known beforehand.
    pub fn rows(&self) -> Option<usize> {
        match self {
            Source::Replay { samples, .. } => Some(samples.len()),
            Source::Model(_) => None,
        }
    }

    /// Reads the next values into `reading`; false at the end of the data.
    pub fn read(&mut self, connected: bool, reading: &mut Reading) -> bool {
        match self {
            Source::Replay { samples, next } => match samples.get(*next) {
                Some(sample) => {
                    *next += 1;
                    sample.write_to(reading);
                    true
                }
                None => false,
            },
            Source::Model(battery) => {
                battery.set_connected(connected);
                battery.step(PERIOD_MS as u32, reading);
                true
            }
        }
    }
}
