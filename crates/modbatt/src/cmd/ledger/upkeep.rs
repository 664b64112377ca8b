//! `modbatt ledger verify-chain` and `compact`: whether a ledger is what it says, and how it is kept small.

use std::io::{self, Write as _};

use node::verify::{VerifyError, verify};
use serde_json::json;

use super::super::data_dir::DataDir;
use super::super::demo::unix_ms;
use super::super::{Failure, Outcome, print};
use super::{At, Progress, at_rest, failure, founded, scratch, table};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Arguments of `modbatt ledger verify-chain`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct VerifyChain {
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt ledger compact`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Compact {
    /// Forget blocks below this height; those with records that are kept stay, and the last 100
    #[arg(long, value_name = "N")]
    below: Option<u64>,
    /// Forget record files whose records are all older than so many days
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u64>,
    #[command(flatten)]
    at: At,
}

pub fn verify_chain(args: &VerifyChain) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let ledger = at_rest(&dir)?;
    let mut progress = Progress::new("height");
    let scratch = scratch(&dir)?;
    let found = verify(&ledger, &scratch, &dir.genesis().trust(), |height| progress.at(height));
    drop(progress);
    let v = match found {
        Ok(verified) => verified,
        Err(VerifyError::Store(e)) => return Err(failure(&e)),
        Err(e) => {
            let sentence = format!("the ledger in {} does not hold: {e}", dir.path().display());
            if args.at.json {
                print(&format!("{}\n", json!({ "result": "refused", "reason": e.to_string() })))?;
            }
            return Err(Failure::Failed(sentence));
        }
    };
    print(&if args.at.json {
        let object = json!({
            "result": "verified", "base": v.base, "height": v.height, "blocks": v.height - v.base,
            "entries": v.entries, "batches": v.batches, "unrecorded": v.unrecorded, "missing": v.missing,
        });
        format!("{object}\n")
    } else {
        let from = if v.base == 0 { "the genesis".into() } else { format!("the state of height {}", v.base) };
        "everything holds\n".to_owned()
            + &table(&[
                ("executed from", from),
                ("height", v.height.to_string()),
                ("state", format!("{} entries", v.entries)),
                ("record batches", v.batches.to_string()),
                ("  not on chain", v.unrecorded.to_string()),
                ("  not stored", v.missing.to_string()),
            ])
    })?;
    Ok(Outcome::Good)
}

pub fn compact(args: &Compact) -> Result<Outcome, Failure> {
    let dir = DataDir::open_or_create(
        &args.at.data_dir,
        || Err(Failure::Input(format!("there is no data directory {}", args.at.data_dir.display()))),
        |_| Ok::<_, Failure>(()),
    )?;
    let mut chain = founded(&dir)?;
    let before_ms = match args.older_than {
        Some(days) => unix_ms()?.saturating_sub(days.saturating_mul(DAY_MS)),
        None => 0,
    };
    let pruned = chain.prune(args.below.unwrap_or(0), before_ms).map_err(|e| failure(&e))?;
    chain.compact().map_err(|e| failure(&e))?;
    if let Some(why) = &pruned.unsummed {
        // Who does not read it has room all the same.
        let _closed =
            writeln!(io::stderr(), "modbatt: not all records were summed up before they went: {why}");
    }
    print(&if args.at.json {
        format!("{}\n", json!({ "blocks": pruned.blocks, "files": pruned.files }))
    } else {
        format!("forgot {} block(s) and {} record file(s)\n", pruned.blocks, pruned.files)
    })?;
    Ok(Outcome::Good)
}
