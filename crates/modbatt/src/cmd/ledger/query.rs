//! `modbatt ledger query`: an object of the state.

use std::fmt::Write as _;

use api::encoding::Blob;
use node::archive::ArchiveError;
use node::past::PastError;
use serde_json::{Value, json};

use super::super::data_dir::DataDir;
use super::super::{Failure, Outcome, ask, print};
use super::object::{Kind, Subject};
use super::{At, Ledger, failure, open};

/// Arguments of `modbatt ledger query`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Args {
    /// What kind of object
    kind: Kind,
    /// Which one
    id: Option<String>,
    /// After the block of this height, one of the last 100 [default: after the last one]
    #[arg(long, value_name = "N")]
    height: Option<u64>,
    #[command(flatten)]
    at: At,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let subject = Subject::of(args.kind, args.id.as_deref())?;
    let dir = DataDir::open(&args.at.data_dir)?;
    let found = look(&dir, &subject.key, args.height)?;
    let object = found.value.as_ref().map(|Blob(value)| subject.shown(value));
    let there = object.is_some();
    print(&if args.at.json {
        let object = json!({
            "height": found.height, "state_root": found.state_root, "key": hex::encode(&subject.key),
            "found": there, "object": object,
        });
        format!("{object}\n")
    } else {
        in_words(object.as_ref(), found.height)
    })?;
    Ok(if there { Outcome::Good } else { Outcome::Bad })
}

/// What the state holds under a key, with its excerpt.
pub fn look(dir: &DataDir, key: &[u8], height: Option<u64>) -> Result<api::ledger::StateObject, Failure> {
    match open(dir)? {
        Ledger::At(client) => ask(client.state(key, height)),
        Ledger::Here(ledger) => {
            let snapshot = ledger.read().map_err(|e| failure(&e))?;
            let height = height.unwrap_or(snapshot.tip().height);
            let past = snapshot.at(height).map_err(unanswered)?;
            let excerpt = match past.excerpt(key) {
                Ok(excerpt) => Some(Blob(excerpt.to_file())),
                Err(PastError::Future { .. }) => None,
                Err(e) => return Err(unanswered(e)),
            };
            let value = past.raw(key).map_err(|e| failure(&e))?.map(Blob);
            Ok(api::ledger::StateObject {
                height,
                state_root: api::encoding::Hex(past.tip().state_root),
                value,
                excerpt,
            })
        }
    }
}

fn unanswered(error: PastError) -> Failure {
    match ArchiveError::from(error) {
        ArchiveError::Past(PastError::Store(e)) => failure(&e),
        other => Failure::Failed(other.to_string()),
    }
}

fn in_words(object: Option<&Value>, height: u64) -> String {
    let Some(object) = object else {
        return format!("the state after the block of height {height} holds nothing under this key\n");
    };
    let Value::Object(fields) = object else { return format!("{object}\n") };
    let mut text = String::new();
    for (name, value) in fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Writing to a string does not fail.
        let _written = writeln!(text, "{name:<22} {value}");
    }
    text
}
