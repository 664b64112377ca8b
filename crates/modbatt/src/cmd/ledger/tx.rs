//! `modbatt ledger tx`: sends a signed transaction, or shows one.

use std::path::{Path, PathBuf};

use api::encoding::Hex;
use api::transaction::{INCLUDED, REFUSED, Transaction};
use ledger::tx::MAX_TX;

use super::super::data_dir::DataDir;
use super::super::verify::read_bounded;
use super::super::{Failure, Outcome, ask, print_answer};
use super::{At, Ledger, failure, open, table};

/// Arguments of `modbatt ledger tx`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Args {
    /// The hash of a transaction (64 hex digits) to show, or a file with a signed one to send and wait for
    #[arg(value_name = "HASH_OR_FILE")]
    what: PathBuf,
    #[command(flatten)]
    at: At,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let found = match args.what.to_str().map(str::parse::<Hex<32>>) {
        Some(Ok(hash)) => shown(&DataDir::open(&args.at.data_dir)?, &hash)?,
        _ => sent(&args.at.data_dir, &args.what)?,
    };
    let outcome = if found.status == REFUSED { Outcome::Bad } else { Outcome::Good };
    print_answer(&found, args.at.json, in_words)?;
    Ok(outcome)
}

/// Sends the transaction in a file and waits for its block.
fn sent(data_dir: &Path, file: &Path) -> Result<Transaction, Failure> {
    let (_, run) = DataDir::open_running(data_dir, "a block can hold the transaction")?;
    let bytes = read_bounded(file, "transaction", MAX_TX + 1)?;
    ask(async { api::Client::new(&run.url)?.submit(&bytes, true).await })
}

fn shown(dir: &DataDir, hash: &Hex<32>) -> Result<Transaction, Failure> {
    match open(dir)? {
        Ledger::At(client) => ask(client.transaction(hash)),
        Ledger::Here(ledger) => {
            let found = ledger.read().and_then(|snapshot| snapshot.tx(&hash.0)).map_err(|e| failure(&e))?;
            let tx = found
                .ok_or_else(|| Failure::Failed("no block that is kept holds this transaction".into()))?;
            let rejection = tx.result.rejection;
            Ok(Transaction {
                txhash: *hash,
                status: if rejection.is_some() { REFUSED } else { INCLUDED }.into(),
                height: Some(tx.height),
                index: Some(tx.index),
                code: rejection.map(|r| r.code().into()),
                error: rejection.map(|r| r.to_string()),
            })
        }
    }
}

fn in_words(tx: &Transaction) -> String {
    let mut rows = vec![("transaction", tx.txhash.to_string()), ("status", tx.status.clone())];
    rows.extend(tx.height.map(|height| ("height", height.to_string())));
    rows.extend(tx.index.map(|index| ("index", index.to_string())));
    rows.extend(tx.code.clone().map(|code| ("code", code)));
    rows.extend(tx.error.clone().map(|error| ("reason", error)));
    table(&rows)
}
