//! `modbatt announce` and `modbatt validate`: parts of a running pack state something at a validation level, and the ledger's
//! receipt of each statement is written (`spec/api.md`, A90).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::component::Statement;
use api::order::{Order, State, Stated, Task};
use lct::id::Cid;
use serde_json::{Value, json};

use super::data_dir::{DataDir, Run, replace_file};
use super::order::{self, LOOK, Options};
use super::{Failure, Outcome, ask, receipt};

/// How long the ledger may take to hold what was stated, and to certify it.
const PATIENCE: Duration = Duration::from_secs(30);

const LEVELS: &str = "\
Validation level:
  1  they say where they are found
  2  they say in which state they are, and another part is the witness
  3  they sign the session of their binding
  4  they agree on fresh keys, and the side farther from the app states the session
  5  the side nearer the app signs the state in force once more, and the other one obeys
  6  they are paired anew under a fresh certificate
  7  they state that their binding is in force on the ledger";

/// Arguments of `modbatt announce`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Announce {
    /// Component id, for example `module-0001`
    #[arg(value_name = "ID", value_parser = order::component)]
    id: String,
    #[command(flatten)]
    options: Options,
}

/// Arguments of `modbatt validate`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Validation level, 1 to 7
    #[arg(value_name = "LEVEL", long_help = LEVELS, value_parser = clap::value_parser!(u8).range(1..=7))]
    level: u8,
    /// Component id, for example `pack-0001`
    #[arg(value_name = "ID", value_parser = order::component)]
    id: String,
    /// Component id of its partner, farther from the app, when both are to do it
    #[arg(value_name = "PARTNER", value_parser = order::component)]
    partner: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// Runs `modbatt announce`.
pub fn announce(args: &Announce) -> Result<Outcome, Failure> {
    order("announce", 1, [&args.id, &args.id], &args.options)
}

/// Runs `modbatt validate`.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let partner = args.partner.as_ref().unwrap_or(&args.id);
    order("validate", args.level, [&args.id, partner], &args.options)
}

fn order(command: &str, level: u8, [a, b]: [&str; 2], options: &Options) -> Result<Outcome, Failure> {
    let (dir, run) = options.open()?;
    let order = options.place(&dir, &run, command, (Task::Validate, Some(level)), [a, b])?;
    let recorded = match order.state {
        State::Done => recorded(&dir, &run, &order)?,
        _ => Vec::new(),
    };
    let lines: Vec<String> = recorded.iter().map(Recorded::in_words).collect();
    let both = if a == b { a.to_owned() } else { format!("{a} and {b}") };
    let not = format!("{both} did not validate at level {level}");
    let more = [("statements".to_owned(), recorded.iter().map(Recorded::as_json).collect::<Value>())];
    options.tell(&order, &lines.join("\n"), &not, more)
}

/// A statement that the ledger holds, and the file with its receipt.
struct Recorded {
    component_id: String,
    statement: Statement,
    receipt: PathBuf,
}

impl Recorded {
    fn in_words(&self) -> String {
        let Statement { event, level, boot, seq, witnesses, txhash, .. } = &self.statement;
        let seen = match witnesses {
            0 => "",
            _ => ", seen by another part",
        };
        format!(
            "{}: {event} (level {level}{seen}), start {boot} number {seq}; the ledger holds it in transaction {txhash}; \
             receipt {}",
            self.component_id,
            self.receipt.display()
        )
    }

    fn as_json(&self) -> Value {
        json!({
            "component_id": self.component_id, "event": self.statement.event, "level": self.statement.level,
            "boot": self.statement.boot, "seq": self.statement.seq, "witnesses": self.statement.witnesses,
            "txhash": self.statement.txhash, "receipt": self.receipt,
        })
    }
}

/// Waits until the ledger holds what the gateway says was stated, and writes the receipts.
fn recorded(dir: &DataDir, run: &Run, order: &Order) -> Result<Vec<Recorded>, Failure> {
    let said = Stated::read(&order.said);
    let said =
        said.ok_or_else(|| Failure::Failed(format!("the gateway said `{}` of the order", order.said)))?;
    let patience = Instant::now() + PATIENCE;
    said.into_iter().map(|stated| one(dir, run, stated, patience)).collect()
}

fn one(dir: &DataDir, run: &Run, stated: Stated, patience: Instant) -> Result<Recorded, Failure> {
    let Stated { component_id, position } = stated;
    let statement = loop {
        let all = ask(async { api::Client::new(&run.url)?.statements(&component_id).await })?.statements;
        match all.into_iter().find(|s| (s.boot, s.seq) == position) {
            Some(statement) => break statement,
            None if Instant::now() >= patience => {
                return Err(Failure::Failed(format!(
                    "{component_id} stated it, and the ledger does not hold it yet; look with `modbatt witness {component_id}`"
                )));
            }
            None => std::thread::sleep(LOOK),
        }
    };
    let file = loop {
        match ask(async { api::Client::new(&run.url)?.receipt(&statement.txhash).await }) {
            Ok(file) => break file,
            Err(e) if Instant::now() >= patience => return Err(e),
            // The block after is not there yet.
            Err(_) => std::thread::sleep(LOOK),
        }
    };
    receipt::check(&file, Some(&dir.genesis().trust()))?;
    let cid = Cid::of(&component_id);
    let receipt = dir.receipt(&receipt::name_of_event(&statement.event, &cid, position));
    replace_file(&receipt, &file)?;
    Ok(Recorded { component_id, statement, receipt })
}
