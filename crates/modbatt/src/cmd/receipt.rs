//! `modbatt receipt`: writes the receipt of a transaction or of one telemetry record to a file.

use std::path::PathBuf;
use std::str::FromStr;

use api::encoding::Hex;
use lct::id::{Cid, valid_component_id};
use ledger::receipt::{Trust, verify};
use node::receipts::ReceiptFailure;

use super::data_dir::{DataDir, replace_file};
use super::ledger::{Ledger, failure, open};
use super::{Failure, Outcome, ask, print};

/// Arguments of `modbatt receipt`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// A transaction (64 hex digits) or a record (COMPONENT/NUMBER)
    #[arg(value_name = "RECORD_OR_TX")]
    of: Subject,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    source: Source,
}

/// Where the ledger is.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Data directory; a program may be running on it
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of a running bridge, for example http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// What a receipt is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// A transaction by its hash.
    Transaction([u8; 32]),
    /// A record by component (its id or cid) and number.
    Record(String, u32),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((component, number)) => {
                if !valid_component_id(component) {
                    return Err(format!("`{component}` is no component id: 3 to 64 of A-Z a-z 0-9 _ -"));
                }
                // The standard parser would take a sign.
                let digits = number.bytes().all(|b| b.is_ascii_digit());
                let seq = digits.then(|| number.parse().ok()).flatten();
                let seq = seq.ok_or_else(|| format!("`{number}` is no record number: 0 to {}", u32::MAX))?;
                Ok(Subject::Record(component.to_owned(), seq))
            }
            None => {
                let mut id = [0; 32];
                hex::decode_to_slice(text, &mut id).map_err(|_| {
                    "neither a transaction (64 hex digits) nor a record (COMPONENT/NUMBER)".to_owned()
                })?;
                Ok(Subject::Transaction(id))
            }
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (file, trust) = match (&args.source.data_dir, &args.source.url) {
        (Some(path), _) => {
            let dir = DataDir::open(path)?;
            let file = match open(&dir)? {
                Ledger::Here(ledger) => from_disk(&ledger, &args.of)?,
                Ledger::At(client) => from_bridge(&client, &args.of)?,
            };
            (file, Some(dir.genesis().trust()))
        }
        (None, url) => {
            let url = url.as_deref().unwrap_or_default();
            let client = api::Client::new(url).map_err(|e| Failure::Input(e.to_string()))?;
            (from_bridge(&client, &args.of)?, None)
        }
    };
    check(&file, trust.as_ref())?;
    replace_file(&args.output, &file)?;
    print(&format!("wrote {} ({} bytes)\n", args.output.display(), file.len()))?;
    Ok(Outcome::Good)
}

/// File name, without its ending, of the receipt of the event (boot counter, number) that `cid` stated.
pub fn name_of_event(event: &str, cid: &Cid, (boot, seq): (u32, u32)) -> String {
    format!("{event}-{cid}-{boot:05}-{seq:05}")
}

/// A receipt that does not hold is worse than none.
pub fn check(file: &[u8], trust: Option<&Trust>) -> Result<(), Failure> {
    match verify(file, trust) {
        Ok(_) => Ok(()),
        Err(e) => Err(Failure::Failed(format!(
            "the ledger gave a receipt that does not hold, nothing was written: {e}"
        ))),
    }
}

fn from_bridge(client: &api::Client, of: &Subject) -> Result<Vec<u8>, Failure> {
    match of {
        Subject::Transaction(id) => ask(client.receipt(&Hex(*id))),
        Subject::Record(component, seq) => ask(client.record_receipt(component, *seq)),
    }
}

fn from_disk(ledger: &node::ReadOnly, of: &Subject) -> Result<Vec<u8>, Failure> {
    let receipt = match of {
        Subject::Transaction(id) => ledger.receipt_tx(id),
        Subject::Record(component, seq) => {
            let by_id = ledger.receipt_record(&Cid::of(component), *seq);
            // 32 hex digits may be meant as a cid; a component that is called so comes first.
            match (by_id, component.parse::<Hex<16>>()) {
                (Err(ReceiptFailure::UnknownRecord { .. }), Ok(cid)) => {
                    ledger.receipt_record(&Cid(cid.0), *seq)
                }
                (by_id, _) => by_id,
            }
        }
    };
    match receipt {
        Ok(receipt) => Ok(receipt.to_file()),
        Err(ReceiptFailure::Store(e)) => Err(failure(&e)),
        Err(ReceiptFailure::UnknownRecord { seq, .. }) => {
            let Subject::Record(component, _) = of else {
                return Err(Failure::Failed(format!("no batch on the chain covers record {seq}")));
            };
            Err(Failure::Failed(format!("no batch on the chain covers record {seq} of {component}")))
        }
        Err(e) => Err(Failure::Failed(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_transactions_or_records() {
        let tx = "ab".repeat(32);
        let record = |id: &str, seq| Ok(Subject::Record(id.to_owned(), seq));
        let rows = [
            (tx.as_str(), Ok(Subject::Transaction([0xAB; 32]))),
            ("pack-0001/0", record("pack-0001", 0)),
            ("pack-0001/4294967295", record("pack-0001", u32::MAX)),
            ("pack-0001/4294967296", Err("no record number")),
            ("pack-0001/", Err("no record number")),
            ("pack-0001/+1", Err("no record number")),
            ("pack-0001/1/2", Err("no record number")),
            ("p/1", Err("no component id")),
            ("../x/1", Err("no component id")),
            ("", Err("neither")),
            (&tx[1..], Err("neither")),
            ("pack-0001", Err("neither")),
        ];
        for (text, expected) in rows {
            match (text.parse::<Subject>(), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, _) => unreachable!("{text}: {found:?}"),
            }
        }
    }
}
