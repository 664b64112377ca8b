//! `modbatt creator`: for whom the bridge of a data directory signs (`spec/api.md`, A150).

use std::path::PathBuf;

use bridge::compat::Creators;
use serde_json::json;

use super::data_dir::DataDir;
use super::{Failure, Outcome, print_answer};

/// Arguments of `modbatt creator`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Draw a key with which the bridge signs for NAME, who cannot; it becomes an operator's account with its first call
    Add(One),
    /// List for whom the bridge signs, and with which keys
    List(Where),
    /// Forget the key of NAME; its account on the ledger stays until it is revoked there
    Remove(One),
}

#[derive(clap::Args)]
struct One {
    /// What calls say as `creator`: 1 to 64 bytes
    name: String,
    #[command(flatten)]
    place: Where,
}

#[derive(clap::Args)]
struct Where {
    /// Where the installation is kept; it does not run
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// File of the keys in a data directory.
pub fn file(dir: &DataDir) -> PathBuf {
    dir.path().join("creators.keys")
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (Command::Add(One { place, .. }) | Command::Remove(One { place, .. }) | Command::List(place)) =
        &args.command;
    let dir = DataDir::open(&place.data_dir)?;
    if dir.run()?.is_some() {
        let what = format!("the installation in {} runs; stop it first", dir.path().display());
        return Err(Failure::Input(format!("{what}: its bridge reads the keys at its start")));
    }
    let failed = |e: bridge::compat::KeyError| Failure::Failed(e.to_string());
    let mut creators = Creators::open(&file(&dir)).map_err(failed)?;
    match &args.command {
        Command::Add(One { name, .. }) => {
            if !api::valid_label(name) {
                return Err(Failure::Input("NAME has 1 to 64 bytes without control characters".into()));
            }
            creators.add(name).map_err(failed)?;
        }
        Command::Remove(One { name, .. }) => {
            if !creators.remove(name).map_err(failed)? {
                return Err(Failure::Input(format!("the bridge does not sign for {name}")));
            }
        }
        Command::List(_) => {}
    }
    let all = creators
        .names()
        .filter_map(|name| Some(json!({ "name": name, "key": hex::encode(creators.key(name)?.public().0) })));
    let answer = json!({ "creators": all.collect::<Vec<_>>() });
    print_answer(&answer, place.json, |_| {
        let line = |name: &str| {
            let key = creators.key(name).map(|key| hex::encode(key.public().0)).unwrap_or_default();
            format!("{name}  {key}\n")
        };
        let lines: String = creators.names().map(line).collect();
        if lines.is_empty() { "the bridge signs for nobody\n".into() } else { lines }
    })
}
