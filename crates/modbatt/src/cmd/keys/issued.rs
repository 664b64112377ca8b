//! What the authority issued (`spec/api.md`, A223): listed, and checked whole.

use std::collections::BTreeMap;

use bridge::issuance::{self, Issuance};
use lct::sign::PublicKey;
use ledger::records::AccountRole;
use serde_json::json;

use super::{Failure, Outcome, print};
use crate::cmd::data_dir::DataDir;
use crate::cmd::ledger::{Ledger, failure, open};

#[derive(clap::Args)]
pub struct Issued {
    #[command(flatten)]
    at: super::At,
    /// List only what concerns the component with this id
    #[arg(long, value_name = "ID", value_parser = crate::cmd::order::component)]
    component: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `modbatt keys issued`.
pub fn issued(args: &Issued) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let text = issuance::text_of(dir.path()).map_err(|e| Failure::Input(e.to_string()))?.unwrap_or_default();
    let mut asked = BTreeMap::new();
    let mut refused = None;
    let known = |key: &PublicKey| {
        *asked.entry(key.0).or_insert_with(|| match is_authority(&dir, key) {
            Ok(known) => known,
            Err(failure) => {
                refused = Some(failure);
                false
            }
        })
    };
    let checked = issuance::verify(&text, dir.chain_id(), known);
    if let Some(failure) = refused {
        return Err(failure);
    }
    let file = dir.path().join(issuance::FILE);
    let entries = checked.map_err(|e| Failure::Failed(format!("{} does not hold: {e}", file.display())))?;
    let cid = args.component.as_deref().map(|id| lct::id::Cid::of(id).to_string());
    let shown: Vec<&Issuance> = entries
        .iter()
        .filter(|entry| cid.as_ref().is_none_or(|cid| entry.components.contains(cid)))
        .collect();
    print(&match args.json {
        true => format!("{}\n", json!({ "entries": shown, "count": entries.len(), "holds": true })),
        false => {
            let lines = shown.iter().map(|entry| line(entry)).collect::<String>();
            let count = entries.len();
            format!("{lines}{count} entries; every signature holds, none is missing before the last\n")
        }
    })?;
    Ok(Outcome::Good)
}

fn line(entry: &Issuance) -> String {
    let kind = serde_json::to_value(entry.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
    let time = api::event::rfc3339(entry.time.into());
    // What a request says of itself may hold anything.
    let who: String = entry.who.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    // A list of revocations is for everybody.
    let whom = if entry.components.is_empty() { "everybody".to_owned() } else { entry.components.join(" ") };
    format!("{} {time} {kind} {} for {whom} by order of {who}\n", entry.number, entry.id)
}

/// Whether the chain has or had this key as an authority.
fn is_authority(dir: &DataDir, key: &PublicKey) -> Result<bool, Failure> {
    if dir.genesis().authorities.contains(key) {
        return Ok(true);
    }
    match open(dir)? {
        Ledger::Here(ledger) => {
            let account =
                ledger.read().and_then(|snapshot| snapshot.account(key)).map_err(|e| failure(&e))?;
            Ok(account.is_some_and(|account| account.role == AccountRole::Authority))
        }
        Ledger::At(client) => match crate::cmd::ask(client.account(key)) {
            Ok(account) => Ok(account.role == "authority"),
            Err(Failure::Failed(why)) if why.contains("ACCOUNT_NOT_FOUND") => Ok(false),
            Err(other) => Err(other),
        },
    }
}
