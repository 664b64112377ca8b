//! `modbatt ledger block`.

use std::fmt::Write as _;

use api::ledger::BlockView;

use super::super::data_dir::DataDir;
use super::super::{Failure, Outcome, ask, print_answer};
use super::{At, Ledger, failure, open, table};

/// Arguments of `modbatt ledger block`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Args {
    /// Its height, from 1
    height: u64,
    #[command(flatten)]
    at: At,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    if args.height == 0 {
        let why =
            "blocks begin at 1; height 0 is the genesis, whose state `modbatt ledger query --height 0` reads";
        return Err(Failure::Input(why.into()));
    }
    let dir = DataDir::open(&args.at.data_dir)?;
    let block = match open(&dir)? {
        Ledger::Here(ledger) => stored(&ledger, args.height).map_err(|e| failure(&e))?.ok_or_else(|| {
            Failure::Failed(format!(
                "no block of height {} is kept; `modbatt ledger status` tells how far the chain goes",
                args.height
            ))
        })?,
        Ledger::At(client) => ask(client.block(args.height))?,
    };
    print_answer(&block, args.at.json, in_words)
}

fn stored(ledger: &node::ReadOnly, height: u64) -> Result<Option<BlockView>, node::Error> {
    let snapshot = ledger.read()?;
    let Some((block, certificate)) = snapshot.block(height)?.zip(snapshot.certificate(height)?) else {
        return Ok(None);
    };
    Ok(Some(BlockView::of(&block, &certificate, &snapshot.tx_results(height)?)))
}

fn in_words(b: &BlockView) -> String {
    let mut text = table(&[
        ("height", b.height.to_string()),
        ("block", b.block_id.to_string()),
        ("time", format!("{} ms", b.time_ms)),
        ("parent", b.parent.to_string()),
        ("proposer", b.proposer.to_string()),
        ("signed by", format!("{} validator(s)", b.signed_by.len())),
        ("state before", b.state_root.to_string()),
        ("transactions", b.transactions.len().to_string()),
    ]);
    for (n, tx) in b.transactions.iter().enumerate() {
        let kind = tx.kind.as_deref().unwrap_or("unreadable");
        let outcome = tx.code.as_deref().unwrap_or("accepted");
        // Writing to a string does not fail.
        let _written = writeln!(text, "{n:>5}  {}  {kind}  {outcome}", tx.txhash);
    }
    text
}
