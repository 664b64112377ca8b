//! `modbatt trust`: the arithmetic of trust for scripts.

mod eval;

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
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Eval(args) => eval::run(args),
    }
}
