//! `modbatt bind`: an operator orders that two components get keys of their own, for the first time or again.

use api::component::Link;
use api::order::{State, Task};

use super::data_dir::Run;
use super::order::{self, Options};
use super::{Failure, Outcome, ask};

/// Arguments of `modbatt bind`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(flatten)]
    pair: order::Pair,
    #[command(flatten)]
    options: Options,
}

/// Runs `modbatt bind`.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let order::Pair { a, b } = &args.pair;
    let (dir, run) = args.options.open()?;
    let order = args.options.place(&dir, &run, "bind", (Task::Bind, None), [a, b])?;
    let binding = match order.state {
        State::Done => links(&run, a, "bound")?.into_iter().find(|link| link.peer_id == *b),
        _ => None,
    };
    let more = binding.map(|link| ("binding_id".into(), link.id.to_string().into()));
    let (done, not) =
        (format!("{a} and {b} are bound and paired"), format!("{a} and {b} are not bound anew"));
    args.options.tell(&order, &done, &not, more)
}

/// What a component is bound to or paired with, as the ledger has it.
fn links(run: &Run, component: &str, relation: &str) -> Result<Vec<Link>, Failure> {
    let mut links = ask(async { api::Client::new(&run.url)?.relations(component).await })?.links;
    links.retain(|link| link.relation == relation);
    Ok(links)
}
