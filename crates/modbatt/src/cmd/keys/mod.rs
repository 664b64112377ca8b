//! `modbatt keys`: where the keys that issue are kept, and how they get from a plain file into a better place, into a backup and out of it (`spec/api.md`, A210
//! to A214). Guide: `docs/keys.md`.

mod backup;
mod issued;
mod protect;
mod token;

pub use protect::{erase, synced};

use std::path::PathBuf;

use bridge::Lineage;
use serde_json::json;

use super::data_dir::DataDir;
use super::{Failure, Outcome, print};
use crate::custody::authority::{Kept, Keys};

/// File of the authority's keys in the folder of keys of an installation.
pub const AUTHORITY: &str = "authority";

/// Arguments of `modbatt keys`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say how the authority's keys of an installation are kept, and what they are known as
    List(List),
    /// Encrypt the authority's plain key file, in its place
    Protect(protect::Args),
    /// Put the authority's signing key into a PKCS#11 token; it leaves this computer's disk
    Import(token::Import),
    /// Have a PKCS#11 token draw a signing key for an authority that follows the present one
    Generate(token::Generate),
    /// List what the authority issued, and check the log of it whole
    Issued(issued::Issued),
    /// Draw a custodian's key, or the key of whoever restores, and print the public one
    Custodian(backup::Custodian),
    /// Write a backup of the keys that issue, and a share of its key for each custodian
    Backup(backup::Make),
    /// As a custodian, seal one's share to whoever restores
    Release(backup::Release),
    /// Restore keys from a backup and enough shares
    Restore(backup::Restore),
    /// Restore keys in memory, have each sign a challenge, ask the ledger whether it knows them; writes nothing
    Rehearse(backup::Rehearse),
}

/// Whose keys.
#[derive(clap::Args)]
struct At {
    /// The data directory of the installation
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
}

impl At {
    fn keys(&self) -> Result<Keys, Failure> {
        Keys::at(&DataDir::open(&self.data_dir)?.keys().join(AUTHORITY))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::List(args) => list(args),
        Command::Protect(args) => protect::run(args),
        Command::Import(args) => token::import(args),
        Command::Generate(args) => token::generate(args),
        Command::Issued(args) => issued::issued(args),
        Command::Custodian(args) => backup::custodian(args),
        Command::Backup(args) => backup::make(args),
        Command::Release(args) => backup::release(args),
        Command::Restore(args) => backup::restore(args),
        Command::Rehearse(args) => backup::rehearse(args),
    }
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    at: At,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn list(args: &List) -> Result<Outcome, Failure> {
    let keys = args.at.keys()?;
    let kept = keys.kept()?;
    let public = keys.public()?;
    let left = kept.as_ref().is_some_and(|kept| *kept != Kept::Plain) && keys.file("").exists();
    let (word, place) = match &kept {
        None => ("missing", keys.file("").display().to_string()),
        Some(Kept::Plain) => ("plain", keys.file("").display().to_string()),
        Some(Kept::Encrypted) => ("encrypted", keys.file(".age").display().to_string()),
        Some(Kept::Token(held)) => ("token", format!("token `{}`", held.place.token)),
    };
    // Whom others followed is known with the key still closed.
    let public = public.or(keys.lineage().map(|lineage| *lineage.last()));
    let known = public.map(|spk| (spk.id().to_string(), hex::encode(spk.0)));
    let earlier = keys.lineage().into_iter().flat_map(Lineage::earlier);
    let followed: Vec<String> = earlier.map(|spk| spk.id().to_string()).collect();
    print(&match args.json {
        true => {
            let (id, key) = known.unzip();
            let object = json!({ "name": keys.name(), "kept": word, "place": place, "id": id, "key": key,
                "plain_file_left": left, "followed": followed });
            format!("{object}\n")
        }
        false => {
            let known = known.map_or_else(
                || "known once it is opened".to_owned(),
                |(id, key)| format!("id {id}, key {key}"),
            );
            let left = match left {
                true => {
                    "its plain file is still there; the command that was interrupted, once more, erases it\n"
                }
                false => "",
            };
            let followed = match followed.is_empty() {
                true => String::new(),
                false => format!("it followed {}, whose keys only open logs\n", followed.join(", then ")),
            };
            format!("{}: {word}, {place}; {known}\n{followed}{left}", keys.name())
        }
    })?;
    Ok(if kept.is_none() || left { Outcome::Bad } else { Outcome::Good })
}
