//! `modbatt ledger`: what a data directory's ledger holds, read from disk or asked of the program that runs on it.

use std::path::PathBuf;

use api::encoding::Hex;
use api::health::LedgerStatus;
use api::sign::{Envelope, sign};
use api::transaction::INCLUDED;
use ledger::tx::Body;
use serde_json::json;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, os_rng, print};

/// Blocks for which a transaction stays valid.
const EXPIRY_BLOCKS: u64 = 1_000;
/// How often one is sent when the account's number was used by somebody else meanwhile.
const TRIES: usize = 5;

/// Arguments of `modbatt ledger`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print the figures of a ledger
    Status(StatusArgs),
}

/// Arguments of `modbatt ledger status`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct StatusArgs {
    /// The data directory; a program may be running on it
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let Command::Status(args) = &args.command;
    let dir = DataDir::open(&args.data_dir)?;
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
    print(&if args.json { as_json(&dir, &status) } else { as_table(&dir, &status) })?;
    Ok(Outcome::Good)
}

/// Sends a transaction of the operator and waits for its block; `what` is the subject of a sentence about its failure.
pub fn submit(dir: &DataDir, run: &Run, what: &str, body: Body) -> Result<(), Failure> {
    let operator = super::demo::operator(dir)?;
    for _ in 0..TRIES {
        let mut rng = os_rng()?;
        let body = body.clone();
        let sent = ask(async {
            let client = api::Client::new(&run.url)?;
            let account = client.account(&operator.public()).await?;
            let envelope = Envelope {
                chain_id: *dir.chain_id(),
                nonce: account.next_nonce,
                expiry_height: account.height + EXPIRY_BLOCKS,
            };
            client.submit(&sign(body, &envelope, &operator, &mut rng).bytes, true).await
        });
        match sent {
            Ok(tx) if tx.status == INCLUDED => return Ok(()),
            // Another program sends with the same account: the bridge says so, or the block.
            Ok(tx) if tx.code.as_deref().is_some_and(is_overtaken) => {}
            Err(Failure::Failed(why)) if is_overtaken(&why) => {}
            Ok(tx) => {
                let why = [tx.error, tx.code].into_iter().flatten().collect::<Vec<_>>().join(" ");
                return Err(Failure::Failed(format!("{what} is not recorded: {why}")));
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Failed(format!("{what} is not recorded: the operator's account is busy; try again")))
}

/// Whether only the number of a transaction was refused, which another program with the same account used.
fn is_overtaken(why: &str) -> bool {
    why.contains("W4_ERR_PROTO_REPLAY") || why.contains("W4_ERR_PROTO_SEQUENCE")
}

/// Where the content of a ledger can be had.
pub enum Ledger {
    /// On disk: nobody runs on it.
    Here(Box<node::ReadOnly>),
    /// From the program that runs on it.
    At(api::Client),
}

/// Opens a directory's ledger for reading, or finds who runs on it.
pub fn open(dir: &DataDir) -> Result<Ledger, Failure> {
    match node::ReadOnly::open(&dir.ledger(), Some(dir.chain_id())) {
        Ok(ledger) => Ok(Ledger::Here(Box::new(ledger))),
        Err(node::Error::Locked(path)) => match dir.run()? {
            Some(run) => {
                api::Client::new(&run.url).map(Ledger::At).map_err(|e| Failure::Failed(e.to_string()))
            }
            None => Err(Failure::Failed(format!(
                "the ledger in {} is in use by a program that does not say where it answers; try again when it is \
                 ready or has ended",
                path.display()
            ))),
        },
        Err(e) => Err(failure(&e)),
    }
}

/// What a failure of the replica means for the user.
pub fn failure(error: &node::Error) -> Failure {
    use node::Error;
    match error {
        Error::Missing(_) | Error::OtherChain { .. } | Error::FormatVersion { .. } => {
            Failure::Input(format!("{error}; name another data directory"))
        }
        Error::Corrupted { .. } => Failure::Input(format!("{error}; restore it from a copy")),
        Error::Genesis(_) | Error::Io { .. } => Failure::Input(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    }
}

/// The figures of a replica's status.
pub fn figures(status: &node::Status) -> LedgerStatus {
    let narrow = |mwh: u128| u64::try_from(mwh).unwrap_or(u64::MAX);
    LedgerStatus {
        height: status.height,
        blocks: status.blocks,
        transactions: status.txs.saturating_sub(status.refused),
        records: status.records,
        batches: status.batches,
        energy_discharged_mwh: narrow(status.energy_discharged_mwh),
        energy_charged_mwh: narrow(status.energy_charged_mwh),
        components: status.components,
        state_root: Hex(status.state_root),
        chain_id: Hex(status.chain_id),
    }
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
    rows.iter().map(|(name, value)| format!("{name:<15} {value}\n")).collect()
}
