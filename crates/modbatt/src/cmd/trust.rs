//! `modbatt trust`: the arithmetic of trust for scripts, and what the ledger says of a component.

mod eval;
mod history;
mod show;

use super::eval::Args as File;
use super::{Failure, Outcome};

/// Arguments of `modbatt trust`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Compute operations on tensors that a JSON file names, as the ledger does
    #[command(after_help = eval::OPERATIONS)]
    Eval(File),
    /// Say how far a component is to be relied on, and what made it so
    Show(show::Args),
    /// Tell every change of what is known of a component or a relation, with what made it, and check the proofs
    History(history::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Eval(args) => eval::run(args),
        Command::Show(args) => show::run(args),
        Command::History(args) => history::run(args),
    }
}
