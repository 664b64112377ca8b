//! `modbatt ledger series`: the records of a component over time.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use api::event::rfc3339;
use api::series::{Bucket, Series, Wanted};

use super::super::data_dir::DataDir;
use super::super::{Failure, Outcome, ask, print};
use super::{At, Ledger, failure, open};

/// How long a ledger that runs is left to sum up before it is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Arguments of `modbatt ledger series`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Args {
    /// Which component, by its id
    component: String,
    /// How finely: by the last 1440 minutes, 744 hours or 1825 days that have a record
    #[arg(long, value_name = "SPAN", default_value = "hour", value_parser = ["minute", "hour", "day"])]
    resolution: String,
    /// From when on, Unix milliseconds [default: all that is kept]
    #[arg(long, value_name = "MS")]
    from: Option<u64>,
    /// Before when, Unix milliseconds [default: up to the last record]
    #[arg(long, value_name = "MS")]
    to: Option<u64>,
    /// One quantity, as `voltage_mv`, instead of all
    #[arg(long, value_name = "NAME")]
    quantity: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let ledger = open(&dir)?;
    let mut wanted = Wanted {
        resolution: args.resolution.clone(),
        from_ms: args.from,
        to_ms: args.to,
        quantity: args.quantity.clone(),
    };
    let mut series = page(&ledger, &args.component, &wanted)?;
    // An answer has a limit, and so has what one question waits for.
    loop {
        if !series.complete {
            // One that is only read sums up within the question.
            if matches!(ledger, Ledger::At(_)) {
                thread::sleep(AGAIN);
            }
            series = page(&ledger, &args.component, &wanted)?;
        } else if let Some(next) = series.next_ms.take() {
            wanted.from_ms = Some(next);
            let more = page(&ledger, &args.component, &wanted)?;
            series.buckets.extend(more.buckets);
            (series.next_ms, series.complete) = (more.next_ms, true);
        } else {
            break;
        }
    }
    let found = series.buckets.iter().any(|bucket| !bucket.quantities.is_empty());
    print(&if args.at.json {
        let text = serde_json::to_string(&series).map_err(|e| Failure::Failed(e.to_string()))?;
        format!("{text}\n")
    } else if found {
        series.buckets.iter().map(in_words).collect()
    } else {
        format!("no such records of {} are kept\n", series.component_id)
    })?;
    Ok(if found { Outcome::Good } else { Outcome::Bad })
}

/// One answer.
fn page(ledger: &Ledger, component: &str, wanted: &Wanted) -> Result<Series, Failure> {
    match ledger {
        Ledger::At(client) => ask(client.series(component, wanted)),
        Ledger::Here(ledger) => {
            let snapshot = ledger.read().map_err(|e| failure(&e))?;
            bridge::over_time(&snapshot, component, wanted, |question| {
                let answer = ledger.series(question).map_err(|e| failure(&e))?;
                if let Some(anew) = &answer.followed.anew {
                    // Who does not read it is answered all the same.
                    let _closed = writeln!(io::stderr(), "modbatt: {anew}");
                }
                Ok(answer)
            })
        }
    }
}

fn in_words(bucket: &Bucket) -> String {
    let mut text = format!("{}  {} record(s)\n", rfc3339(bucket.start_ms / 1_000), bucket.records);
    for q in &bucket.quantities {
        let last = q.last.map_or_else(|| "-".into(), |last| last.to_string());
        // Writing to a string does not fail.
        let _written = writeln!(
            text,
            "  {:<22} {:>11} to {:>11}  mean {:>11}  last {last:>11}",
            q.name, q.min, q.max, q.mean
        );
    }
    text
}
