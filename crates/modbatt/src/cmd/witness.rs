//! `modbatt witness`: what a component stated, and how many saw it (`spec/tiers.md`).

use std::fmt::Write as _;
use std::path::PathBuf;

use api::component::Statements;
use lct::id::Cid;
use node::Snapshot;

use super::data_dir::DataDir;
use super::ledger::{Ledger, failure, open};
use super::{Failure, Outcome, When, ask, print_answer};

/// Arguments of `modbatt witness`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Component id, for example `pack-0001`
    #[arg(value_name = "ID")]
    id: String,
    /// The data directory of the installation; a program may be running on it
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    when: When,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let stated = match open(&dir)? {
        Ledger::Here(ledger) => recorded(&args.when.read(&ledger)?, &args.id)?,
        Ledger::At(client) => Some(ask(args.when.client(client).statements(&args.id))?),
    };
    let stated = stated.ok_or_else(|| unknown(&args.id))?;
    print_answer(&stated, args.json, in_words)
}

/// What is said of a component that the ledger does not know.
fn unknown(id: &str) -> Failure {
    Failure::Failed(format!("{id} is not registered on this ledger; look at the label of the part"))
}

fn recorded(snapshot: &Snapshot<'_>, id: &str) -> Result<Option<Statements>, Failure> {
    let cid = Cid::of(id);
    let Some(component) = snapshot.component(&cid).map_err(|e| failure(&e))? else { return Ok(None) };
    let kept = snapshot.validations_of(&cid).map_err(|e| failure(&e))?;
    let stated = Statements::of(component.component_id, &cid, snapshot.tip().height, &kept);
    stated
        .map(Some)
        .map_err(|e| Failure::Failed(format!("what the ledger holds of {id} is of another version: {e}")))
}

fn in_words(stated: &Statements) -> String {
    let mut text = format!("{} stated {} events on the ledger\n", stated.component_id, stated.count);
    for s in &stated.statements {
        let seen = match s.witnesses {
            0 => String::new(),
            1 => ", seen by one other part".into(),
            n => format!(", seen by {n} other parts"),
        };
        let _ = writeln!(
            text,
            "  start {} number {}: {} (level {}{seen}), transaction {}",
            s.boot, s.seq, s.event, s.level, s.txhash
        );
    }
    text
}
