//! `modbatt pair`, `modbatt unpair` and `modbatt rotate`: an operator orders what becomes of a pairing and its keys.

use std::time::{Duration, Instant};

use api::order::{State, Task};

use super::data_dir::Run;
use super::order::{self, LOOK, Options};
use super::{Failure, Outcome, ask};

/// How long the ledger may take to hold what was ended.
const PATIENCE: Duration = Duration::from_secs(15);

/// Arguments of `modbatt pair`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(flatten)]
    pair: order::Pair,
    #[command(flatten)]
    options: Options,
}

/// Runs `modbatt pair`.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let order::Pair { a, b } = &args.pair;
    let (dir, run) = args.options.open()?;
    let order = args.options.place(&dir, &run, "pair", (Task::Pair, None), [a, b])?;
    let (done, not) = (format!("{a} and {b} are paired anew"), format!("{a} and {b} are not paired anew"));
    args.options.tell(&order, &done, &not, [])
}

/// Arguments of `modbatt unpair`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Unpair {
    #[command(flatten)]
    pair: order::Pair,
    #[command(flatten)]
    options: Options,
}

/// Runs `modbatt unpair`.
pub fn unpair(args: &Unpair) -> Result<Outcome, Failure> {
    let order::Pair { a, b } = &args.pair;
    let (dir, run) = args.options.open()?;
    let order = args.options.place(&dir, &run, "unpair", (Task::Unpair, None), [a, b])?;
    let recorded = order.state == State::Done && is_withdrawn(&run, a, b)?;
    let ledger = match recorded {
        true => "the ledger holds it",
        false => "the ledger does not hold it yet; the bridge brings it there by itself",
    };
    let done = format!("{a} and {b} are not paired any more, and still bound; {ledger}");
    let not = format!("the pairing of {a} and {b} was not ended");
    args.options.tell(&order, &done, &not, [("recorded".into(), recorded.into())])
}

/// Waits until the ledger has no pairing of the two in force.
fn is_withdrawn(run: &Run, a: &str, b: &str) -> Result<bool, Failure> {
    let asked = Instant::now();
    loop {
        let relations = ask(async { api::Client::new(&run.url)?.relations(a).await })?;
        if !relations.links.iter().any(|link| link.relation == "paired" && link.peer_id == b) {
            return Ok(true);
        }
        if asked.elapsed() >= PATIENCE {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

/// Arguments of `modbatt rotate`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Rotate {
    #[command(flatten)]
    pair: order::Pair,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Which {
    /// Only the keys of the channel, from those in use: what is done when neither is named
    #[arg(long)]
    epoch: bool,
    /// A key agreement from the beginning, under a fresh certificate: what was copied of the old keys is worth nothing
    #[arg(long)]
    agreement: bool,
}

/// Runs `modbatt rotate`.
pub fn rotate(args: &Rotate) -> Result<Outcome, Failure> {
    let order::Pair { a, b } = &args.pair;
    let (task, what) = match args.which.agreement && !args.which.epoch {
        true => (Task::Pair, "agreed on fresh keys under a fresh certificate"),
        false => (Task::Rotate, "renewed the keys of their channel"),
    };
    let (dir, run) = args.options.open()?;
    let order = args.options.place(&dir, &run, "rotate", (task, None), [a, b])?;
    let not = format!("the keys of {a} and {b} are not renewed");
    args.options.tell(&order, &format!("{a} and {b} {what}"), &not, [])
}
