//! `modbatt ledger proof`: what the state holds under a key, in a file that needs no ledger to be checked.

use std::path::{Path, PathBuf};

use api::encoding::Blob;
use ledger::excerpt::{Excerpt, MAX_LEN, Proved};
use serde_json::json;

use super::super::data_dir::{DataDir, replace_file};
use super::super::verify::{read_bounded, read_trust};
use super::super::{Failure, Outcome, print};
use super::object::{Kind, Subject};
use super::query::look;
use super::table;

/// Arguments of `modbatt ledger proof`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Args {
    /// What kind of object; leave it out with --check
    #[arg(required_unless_present = "check")]
    kind: Option<Kind>,
    /// Which one
    id: Option<String>,
    /// After the block of this height [default: after the last one that is certified]
    #[arg(long, value_name = "N")]
    height: Option<u64>,
    /// File to write
    #[arg(short, long, value_name = "FILE", required_unless_present = "check")]
    output: Option<PathBuf>,
    /// The data directory; a program may be running on it
    #[arg(long, value_name = "DIR", required_unless_present = "check")]
    data_dir: Option<PathBuf>,
    /// Check this file instead of writing one; needs no data directory
    #[arg(long, value_name = "FILE", requires = "trust", conflicts_with_all = ["kind", "output", "data_dir", "height"])]
    check: Option<PathBuf>,
    /// With --check: the genesis.json or a checkpoint of the chain
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match (&args.check, &args.trust, args.kind, &args.data_dir, &args.output) {
        (Some(file), Some(trust), ..) => check(file, trust, args.json),
        (None, _, Some(kind), Some(dir), Some(output)) => write(args, kind, dir, output),
        _ => Err(Failure::Input(
            "name an object, --data-dir and --output, or a file to --check and --trust".into(),
        )),
    }
}

fn write(args: &Args, kind: Kind, dir: &Path, output: &Path) -> Result<Outcome, Failure> {
    let subject = Subject::of(kind, args.id.as_deref())?;
    let dir = DataDir::open(dir)?;
    let mut found = look(&dir, &subject.key, args.height)?;
    if found.excerpt.is_none() && args.height.is_none() && found.height > 0 {
        // The last block is not followed by one that certifies it.
        found = look(&dir, &subject.key, Some(found.height - 1))?;
    }
    let Some(Blob(file)) = found.excerpt else {
        return Err(Failure::Failed(format!(
            "no block follows height {} yet, so its state is not certified; name an earlier --height",
            found.height
        )));
    };
    let read = Excerpt::from_file(&file).and_then(|excerpt| excerpt.check(&dir.genesis().trust()));
    let proved = read.map_err(|e| {
        Failure::Failed(format!("the ledger gave a proof that does not hold, nothing was written: {e}"))
    })?;
    replace_file(output, &file)?;
    show(output, &subject, &proved, args.json)
}

fn check(file: &Path, trust: &Path, json: bool) -> Result<Outcome, Failure> {
    let bytes = read_bounded(file, "proof", MAX_LEN + 1)?;
    let trust = read_trust(trust)?;
    let name = file.display();
    match Excerpt::from_file(&bytes).and_then(|excerpt| excerpt.check(&trust)) {
        Ok(proved) => {
            let subject = Subject::of(Kind::Key, Some(&hex::encode(&proved.key)))?;
            show(file, &subject, &proved, json)
        }
        Err(e) => Err(Failure::Failed(format!("the proof {name} is refused: {e}"))),
    }
}

fn show(file: &Path, subject: &Subject, proved: &Proved, json: bool) -> Result<Outcome, Failure> {
    let object = proved.value.as_ref().map(|value| subject.shown(value));
    print(&if json {
        let object = json!({
            "file": file.display().to_string(), "result": "proved", "height": proved.height,
            "state_root": hex::encode(proved.state_root), "certified_ms": proved.certified_ms,
            "key": hex::encode(&proved.key), "found": object.is_some(), "object": object,
        });
        format!("{object}\n")
    } else {
        let holds = object.map_or_else(|| "nothing".to_owned(), |object| object.to_string());
        format!("{} proves:\n", file.display())
            + &table(&[
                ("after height", proved.height.to_string()),
                ("under the key", hex::encode(&proved.key)),
                ("stands", holds),
            ])
    })?;
    Ok(Outcome::Good)
}
