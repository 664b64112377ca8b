//! `modbatt trust show`: how far a component is to be relied on, and why.

use std::fmt::Write as _;
use std::path::PathBuf;

use api::trust::{Trust, View};
use lct::id::Cid;
use node::Snapshot;

use super::super::data_dir::DataDir;
use super::super::ledger::{Ledger, failure, open};
use super::super::{Failure, Outcome, When, ask, print};

/// Arguments of `modbatt trust show`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
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
    let trust = match open(&dir)? {
        Ledger::Here(ledger) => recorded(&args.when.read(&ledger)?, &args.id).map_err(|e| failure(&e))?,
        Ledger::At(client) => Some(ask(args.when.client(client).trust(&args.id))?),
    };
    let trust = trust.ok_or_else(|| {
        Failure::Failed(format!(
            "{} is not registered on this ledger; look at the label of the part",
            args.id
        ))
    })?;
    print(&if args.json {
        let text = serde_json::to_string(&trust).map_err(|e| Failure::Failed(e.to_string()))?;
        format!("{text}\n")
    } else {
        in_words(&trust)
    })?;
    Ok(Outcome::Good)
}

fn recorded(snapshot: &Snapshot<'_>, id: &str) -> Result<Option<Trust>, node::Error> {
    let cid = Cid::of(id);
    let Some(component) = snapshot.component(&cid)? else { return Ok(None) };
    let tip = snapshot.tip();
    Ok(Some(Trust::of(
        (component.component_id, &cid),
        (tip.height, tip.time_ms),
        &snapshot.params()?.trust,
        &snapshot.standings(&cid)?,
        &snapshot.relation_standings(&cid)?,
    )))
}

fn in_words(trust: &Trust) -> String {
    let mut text = format!("{} at block {}, in parts per million\n", trust.component_id, trust.height);
    if trust.contexts.is_empty() {
        text.push_str("  nothing is known of it: it was never bound\n");
    }
    for view in &trust.contexts {
        let _ = writeln!(text, "  {}: {}", view.context, standing(view));
        changes(&mut text, view);
    }
    for relation in &trust.relations {
        let _ = writeln!(text, "  relation with {}: {}", relation.peer, standing(&relation.trust));
        changes(&mut text, &relation.trust);
    }
    text
}

fn standing(v: &View) -> String {
    format!(
        "{} ({}; talent {}, training {}, temperament {}; at most {}), value {}",
        v.score, v.level, v.talent, v.training, v.temperament, v.ceiling, v.value
    )
}

fn changes(text: &mut String, view: &View) {
    for c in &view.changes {
        let (t3, who) = ([c.talent, c.training, c.temperament], &c.voucher);
        let _ = writeln!(text, "    {} by {who}: {t3:?}, transaction {}", c.cause, c.txhash);
    }
}
