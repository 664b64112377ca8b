//! `modbatt discover`: where a component says that it is found, and whether it answers there (`spec/api.md`, A64).
//!
//! The ledger knows names and places; whether somebody answers is found out by asking. A component on CAN is asked by the
//! program that holds the pack's channel, sealed, so only the part with the keys of its binding can answer.

use std::path::PathBuf;

use api::component::{AccessPoint, Relations};
use serde_json::json;

use super::check::{self, Report};
use super::data_dir::DataDir;
use super::{Failure, Outcome, ask, print};

/// Arguments of `modbatt discover`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Component id, for example `module-0001`
    #[arg(value_name = "ID")]
    id: String,
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Whether it answers, and what is to be said about that.
type Answer = (bool, String);

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = DataDir::open_running(&args.data_dir, "somebody can be asked")?;
    let found = ask(async { api::Client::new(&run.url)?.relations(&args.id).await })?;
    let answer = match &found.access {
        _ if found.status != "active" => (false, "it was revoked, and is not asked".into()),
        None => (false, "it is not asked".into()),
        Some(at) if at.protocol == "http" => over_http(at),
        Some(at) if at.protocol == "can" => {
            over_can(&check::ask_the_program(dir.path())?, &found.component_id)
        }
        Some(at) => (false, format!("this program does not speak {}", at.protocol)),
    };
    tell(&found, &answer, args.json)?;
    Ok(if answer.0 { Outcome::Good } else { Outcome::Bad })
}

fn over_http(at: &AccessPoint) -> Answer {
    match ask(async { api::Client::new(&at.endpoint)?.health().await }) {
        Ok(health) => (true, format!("{} answers there: {}", health.service, health.status)),
        Err(e) => (false, e.to_string()),
    }
}

/// What a fresh report says of the channels that lead to the component.
fn over_can(report: &Report, id: &str) -> Answer {
    let channels = report.channels_to(id);
    match channels.iter().find(|item| !item.holds) {
        _ if channels.is_empty() => (false, "no part of this installation answers to that name".into()),
        Some(broken) => (false, broken.found.clone()),
        None => (true, format!("it answers, sealed, on {} channels", channels.len())),
    }
}

fn tell(found: &Relations, (answers, said): &Answer, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let object = json!({
            "component_id": found.component_id, "cid": found.cid.to_string(), "lct_id": found.lct_id.to_string(),
            "status": found.status, "access": found.access, "answers": answers, "said": said,
        });
        return print(&format!("{object}\n"));
    }
    let place = match &found.access {
        Some(at) => format!(
            "found over {} at {}, device {} (said at start {}, number {})",
            at.protocol, at.endpoint, at.device, at.boot, at.seq
        ),
        None => "it never told the ledger where it is found".into(),
    };
    print(&format!("{}: {}; {place}; {said}\n", found.component_id, found.status))
}
