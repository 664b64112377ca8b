//! `modbatt events`: what happened on the ledger, read from disk or asked of the program that runs on it
//! (`spec/api.md`, A180 to A184).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use api::event::{After, Cursor, Event, Events, Gap, LIMIT_MAX, Query};
use bridge::events::feed::{self, Filter};
use lct::id::Cid;

use super::data_dir::DataDir;
use super::ledger::{Ledger, failure, open};
use super::{Failure, Outcome, ask, print};

/// Pause between two looks for news.
const LOOK: Duration = Duration::from_millis(250);

/// Arguments of `modbatt events`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// The data directory; a program may be running on it
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Go on after this event, for example `12-0-3`, or from `start` or `now`
    #[arg(long, value_name = "CURSOR", default_value = "start", value_parser = cursor)]
    after: After,
    /// Only events of these types, separated by commas
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Only events that concern this component
    #[arg(long, value_name = "ID", value_parser = super::order::component)]
    component: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Wait for more when all are shown; needs a program that runs on the directory
    #[arg(long)]
    follow: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

fn cursor(text: &str) -> Result<After, String> {
    text.parse().map_err(|e: api::event::NotACursor| e.to_string())
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let ledger = open(&dir)?;
    if args.follow && matches!(ledger, Ledger::Here(_)) {
        let name = dir.path().display();
        return Err(Failure::Failed(format!(
            "nothing runs on {name}, so nothing more will happen: leave out --follow"
        )));
    }
    let mut after = args.after;
    let mut left = args.limit;
    loop {
        let limit = left.min(LIMIT_MAX as u64) as usize;
        let page = match &ledger {
            Ledger::Here(ledger) => args.read(ledger, after, limit)?,
            Ledger::At(client) => ask(client.events(&args.query(after, limit)))?,
        };
        if let Some(gap) = &page.gap {
            args.show(gap, gap_in_words)?;
        }
        for event in &page.events {
            args.show(event, in_words)?;
        }
        left = left.saturating_sub(page.events.len() as u64);
        after = page.cursor.map_or(After::Start, After::Event);
        if left == 0 || !(page.more || args.follow) {
            return Ok(Outcome::Good);
        }
        if !page.more {
            std::thread::sleep(LOOK);
        }
    }
}

impl Args {
    fn query(&self, after: After, limit: usize) -> Query {
        Query {
            after: Some(after.to_string()),
            types: self.types.clone(),
            component: self.component.clone(),
            limit: Some(limit as u32),
        }
    }

    fn read(&self, ledger: &node::ReadOnly, after: After, limit: usize) -> Result<Events, Failure> {
        let component = self.component.as_deref().map(Cid::of);
        let filter = Filter::new(self.types.as_deref(), component).map_err(Failure::Input)?;
        let page = |snapshot: &node::Snapshot<'_>| {
            feed::page(snapshot, feed::place(snapshot, after)?, &filter, limit)
        };
        ledger.read().and_then(|snapshot| page(&snapshot)).map_err(|e| failure(&e))
    }

    fn show<T: serde::Serialize>(&self, item: &T, in_words: impl Fn(&T) -> String) -> Result<(), Failure> {
        let line = match self.json {
            true => serde_json::to_string(item).map_err(|e| Failure::Failed(e.to_string()))?,
            false => in_words(item),
        };
        print(&format!("{line}\n"))
    }
}

fn in_words(event: &Event) -> String {
    let mut line = format!("{:<10} {} {}", event.id.to_string(), event.timestamp, event.event_type);
    for (name, value) in
        event.data.iter().filter(|(name, _)| !["timestamp", "tx_hash", "creator"].contains(&name.as_str()))
    {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !text.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(line, " {name}={text}");
        }
    }
    line
}

fn gap_in_words(gap: &Gap) -> String {
    let place = |at: Option<Cursor>| at.map_or_else(|| "the start".into(), |id| id.to_string());
    format!("gap after {}: {}", place(gap.after), gap.reason)
}
