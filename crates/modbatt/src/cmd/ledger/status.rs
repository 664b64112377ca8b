//! `modbatt ledger status`.

use api::health::LedgerStatus;
use serde_json::json;

use super::super::data_dir::DataDir;
use super::super::{Failure, Outcome, ask, print};
use super::{At, Ledger, failure, figures, open, table};

/// Arguments of `modbatt ledger status`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Args {
    #[command(flatten)]
    at: At,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let status = match open(&dir)? {
        Ledger::Here(ledger) => {
            let status = ledger.read().and_then(|snapshot| snapshot.status());
            figures(&status.map_err(|e| failure(&e))?)
        }
        Ledger::At(client) => ask(client.ledger_status())?,
    };
    if status.chain_id.0 != *dir.chain_id() {
        let (found, expected) = (status.chain_id, hex::encode(dir.chain_id()));
        let name = dir.path().display();
        return Err(Failure::Failed(format!(
            "the program that {name}/run.json names serves chain {found}, not {expected}; stop what runs on {name}"
        )));
    }
    print(&if args.at.json { as_json(&dir, &status) } else { as_table(&dir, &status) })?;
    Ok(Outcome::Good)
}

fn as_json(dir: &DataDir, s: &LedgerStatus) -> String {
    let object = json!({
        "height": s.height, "blocks": s.blocks, "transactions": s.transactions, "records": s.records,
        "batches": s.batches, "energy_discharged_mwh": s.energy_discharged_mwh,
        "energy_charged_mwh": s.energy_charged_mwh, "components": s.components,
        "state_root": s.state_root.to_string(), "chain_id": s.chain_id.to_string(),
        "data_dir": dir.path().display().to_string(),
    });
    format!("{object}\n")
}

fn as_table(dir: &DataDir, s: &LedgerStatus) -> String {
    let wh = |mwh: u64| format!("{}.{:03} Wh", mwh / 1000, mwh % 1000);
    let rows = [
        ("data directory", dir.path().display().to_string()),
        ("chain", s.chain_id.to_string()),
        ("height", s.height.to_string()),
        ("blocks", s.blocks.to_string()),
        ("transactions", s.transactions.to_string()),
        ("components", s.components.to_string()),
        ("records", s.records.to_string()),
        ("batches", s.batches.to_string()),
        ("discharged", wh(s.energy_discharged_mwh)),
        ("charged", wh(s.energy_charged_mwh)),
        ("state root", s.state_root.to_string()),
    ];
    table(&rows)
}
