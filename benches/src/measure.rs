//! Time of this thread on its CPU, contenders interleaved, medians.
//!
//! The machine may be busy with something else: what is measured is the time that this thread computed, and every
//! round takes one turn of every contender, so that a slow moment is slow for all of them.

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// Something measured per operation.
pub trait Contender {
    /// Makes ready what the next `n` operations need, and fails if the last ones did; not measured.
    fn prepare(&mut self, n: usize) -> Result<()>;
    /// Does `n` operations.
    fn run(&mut self, n: usize);
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Turns of each contender; the median of them counts.
    pub rounds: usize,
    /// Operations in a turn.
    pub turn: usize,
}

/// Time of this thread on its CPU, in nanoseconds since it began.
pub fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Time of all threads of this program on their CPUs, in nanoseconds since it began.
pub fn process_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What reading the clock twice costs by itself.
fn clock_ns() -> f64 {
    median((0..1_001).map(|_| {
        let start = thread_ns();
        (thread_ns() - start) as f64
    }))
}

/// The middle one of the values; 0 of none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Nanoseconds per operation of each contender, in their order.
pub fn interleaved(contenders: &mut [&mut dyn Contender], effort: Effort) -> Result<Vec<f64>> {
    let clock = clock_ns();
    let mut turns = vec![Vec::with_capacity(effort.rounds); contenders.len()];
    // The first rounds warm caches and predictors.
    for round in 0..effort.rounds + effort.rounds / 8 + 1 {
        for (contender, turns) in contenders.iter_mut().zip(&mut turns) {
            contender.prepare(effort.turn)?;
            let start = thread_ns();
            contender.run(effort.turn);
            let spent = (thread_ns() - start) as f64;
            if round > effort.rounds / 8 {
                turns.push((spent - clock) / effort.turn as f64);
            }
        }
    }
    Ok(turns.into_iter().map(|turns| median(turns.into_iter())).collect())
}

/// Heap allocations that `n` operations of a contender make.
pub fn allocations(contender: &mut dyn Contender, n: usize) -> Result<u64> {
    contender.prepare(n)?;
    Ok(allocation_counter::measure(|| contender.run(n)).count_total)
}
