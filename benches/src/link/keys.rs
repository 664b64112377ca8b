//! What the keys of 32 modules cost, from the master secret of each.

use std::hint::black_box;

use anyhow::{Result, anyhow};
use lct::{
    handshake::{Kind, channel_id},
    schedule::{Direction, ExchangeTag, MasterSecret, Tier},
    seal::Opener,
    secret::Secret,
};
use pack::session::Session;
use serde_json::{Value, json};

use super::path::MODULES;
use crate::measure::{Contender, Effort, interleaved};

/// Derives for all modules; an operation is the 32 of them.
struct Deriving {
    of_one: fn(usize) -> Result<()>,
    failed: Option<anyhow::Error>,
}

impl Contender for Deriving {
    fn prepare(&mut self, _: usize) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
    fn run(&mut self, n: usize) {
        for index in (0..n).flat_map(|_| 0..MODULES) {
            if let Err(error) = (self.of_one)(index) {
                self.failed = Some(error);
            }
        }
    }
}

fn master(index: usize) -> MasterSecret {
    MasterSecret(Secret::new([index as u8 + 1; 32]))
}

/// The key of one tier and direction, expanded.
fn one(index: usize) -> Result<()> {
    let channel = channel_id(&[index as u8; 32]);
    let secret = master(index).traffic(Tier::Pair, Direction::Ba, 0, &channel, None);
    let opener = secret.and_then(|secret| Opener::new(&secret)).map_err(|e| anyhow!("{e}"))?;
    black_box(opener);
    Ok(())
}

/// Exchange and pair tier in both directions, and the channel of the binding.
fn all(index: usize) -> Result<()> {
    let exchange = ExchangeTag::of(&Secret::new([0x6B; 32]));
    for (kind, exchange) in [(Kind::Pair, Some(exchange)), (Kind::Bind, None)] {
        let session = Session::at_epoch(kind, [index as u8; 32], 0, master(index), exchange, Direction::Ab);
        black_box(session.map_err(|e| anyhow!("{e}"))?);
    }
    Ok(())
}

/// Microseconds for 32 modules: one tier and direction, and all that a paired module needs.
pub fn run(effort: Effort) -> Result<Value> {
    let mut one = Deriving { of_one: one, failed: None };
    let mut all = Deriving { of_one: all, failed: None };
    let times = interleaved(&mut [&mut one, &mut all], Effort { turn: 4, ..effort })?;
    let us: Vec<f64> = times.iter().map(|ns| ns / 1_000.0).collect();
    Ok(json!({ "one_tier_one_direction_us": us.first(), "paired_module_us": us.get(1) }))
}
