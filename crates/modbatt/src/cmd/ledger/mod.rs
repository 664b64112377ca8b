//! `modbatt ledger`: what a data directory's ledger holds, read from disk or asked of the program that runs on it; copies of
//! it, and its upkeep.

mod archive;
mod block;
mod object;
mod proof;
mod query;
mod run;
mod series;
mod status;
mod tx;
mod upkeep;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use api::encoding::Hex;
use api::health::LedgerStatus;
use api::sign::{Envelope, sign};
use api::transaction::INCLUDED;
use ledger::reject::Rejection;
use ledger::tx::Body;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, os_rng, reason};

/// Blocks for which a transaction stays valid.
const EXPIRY_BLOCKS: u64 = 1_000;
/// How often one is sent when the account's number was used by somebody else meanwhile, who may have much to send, and the longest
/// pause between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Arguments of `modbatt ledger`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a data directory with a chain of its own and the keys of whoever runs it
    Init(run::Init),
    /// Run the ledger of a data directory and its bridge, for programs of this machine, until Ctrl-C
    Run(run::Run),
    /// Print the figures of a ledger
    Status(status::Args),
    /// Send a signed transaction, or show one by its hash
    Tx(tx::Args),
    /// Show an object of the state, also of an earlier height
    Query(query::Args),
    /// Show the records of a component over time
    Series(series::Args),
    /// Show a block
    Block(block::Args),
    /// Write or check a proof of what the state holds, or does not hold, under a key
    Proof(proof::Args),
    /// Write all blocks and records to a file
    Export(archive::Export),
    /// Write a state, the blocks after it and all records to a file
    Snapshot(archive::Snapshot),
    /// Make the ledger of a data directory from a file of `export` or `snapshot`
    Restore(archive::Restore),
    /// Execute every block again and check certificates, roots, state and records
    VerifyChain(upkeep::VerifyChain),
    /// Forget old blocks and records, and give their room back to the disk
    Compact(upkeep::Compact),
}

/// Where a ledger lies, and how its answer is wanted.
#[derive(clap::Args)]
struct At {
    /// The data directory; a program may be running on it
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Init(args) => run::init(args),
        Command::Run(args) => run::run(args),
        Command::Status(args) => status::run(args),
        Command::Tx(args) => tx::run(args),
        Command::Query(args) => query::run(args),
        Command::Series(args) => series::run(args),
        Command::Block(args) => block::run(args),
        Command::Proof(args) => proof::run(args),
        Command::Export(args) => archive::export(args),
        Command::Snapshot(args) => archive::snapshot(args),
        Command::Restore(args) => archive::restore(args),
        Command::VerifyChain(args) => upkeep::verify_chain(args),
        Command::Compact(args) => upkeep::compact(args),
    }
}

/// Heights that pass, on the last line of a terminal; nothing where nobody watches.
struct Progress {
    what: &'static str,
    shown: u64,
    watched: bool,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self { what, shown: 0, watched: io::stderr().is_terminal() }
    }

    fn at(&mut self, height: u64) {
        if height >= self.shown + 100 {
            self.shown = height;
            if self.watched {
                // Progress that nobody reads any more is no reason to stop.
                let _closed = write!(io::stderr(), "\r{} {height} ", self.what);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.watched && self.shown > 0 {
            let _closed = writeln!(io::stderr());
        }
    }
}

/// Opens a ledger that nothing runs on.
fn at_rest(dir: &DataDir) -> Result<node::ReadOnly, Failure> {
    match open(dir)? {
        Ledger::Here(ledger) => Ok(*ledger),
        Ledger::At(_) => {
            let name = dir.path().display();
            Err(Failure::Failed(format!("a program runs on {name}; stop it first")))
        }
    }
}

/// Rows of a table.
fn table(rows: &[(&str, String)]) -> String {
    rows.iter().map(|(name, value)| format!("{name:<15} {value}\n")).collect()
}

/// Why a transaction is not recorded.
pub struct Unrecorded {
    /// In words.
    pub why: Failure,
    /// What it says is refused, and would be again; otherwise it did not come so far.
    pub for_good: bool,
}

impl From<Failure> for Unrecorded {
    fn from(why: Failure) -> Self {
        Unrecorded { why, for_good: false }
    }
}

/// Sends a transaction of the operator and waits for its block; `what` is the subject of a sentence about its failure.
pub fn submit(dir: &DataDir, run: &Run, what: &str, body: Body) -> Result<(), Failure> {
    offer(dir, run, what, body).map_err(|unrecorded| unrecorded.why)
}

/// Like [`submit`], and tells what the ledger refuses from what it was not asked.
pub fn offer(dir: &DataDir, run: &Run, what: &str, body: Body) -> Result<(), Unrecorded> {
    let operator = super::demo::operator(dir)?;
    for tried in 0..TRIES {
        thread::sleep((PAUSE / 20 * tried).min(PAUSE));
        let mut rng = os_rng()?;
        let body = body.clone();
        let mut for_good = false;
        let sent = ask(async {
            let client = api::Client::new(&run.url)?;
            let account = client.account(&operator.public()).await?;
            let envelope = Envelope {
                chain_id: *dir.chain_id(),
                nonce: account.next_nonce,
                expiry_height: account.height + EXPIRY_BLOCKS,
            };
            let sent = client.submit(&sign(body, &envelope, &operator, &mut rng).bytes, true).await;
            if let Err(e) = &sent {
                for_good = e.code().is_some_and(is_verdict);
            }
            sent
        });
        match sent {
            Ok(tx) if tx.status == INCLUDED => return Ok(()),
            // Another program sends with the same account: the bridge says so, or the block.
            Ok(tx) if tx.code.as_deref().is_some_and(is_overtaken) => {}
            Err(Failure::Failed(why)) if is_overtaken(&why) => {}
            Ok(tx) => {
                let for_good = tx.code.as_deref().is_some_and(is_verdict);
                let why = [tx.error, tx.code].into_iter().flatten().collect::<Vec<_>>().join(" ");
                return Err(Unrecorded {
                    why: Failure::Failed(format!("{what} is not recorded: {why}")),
                    for_good,
                });
            }
            Err(why) => return Err(Unrecorded { why, for_good }),
        }
    }
    let why = format!("{what} is not recorded: the operator's account is busy; try again");
    Err(Failure::Failed(why).into())
}

/// Whether the ledger judged what a transaction says. Numbers up to 20 are about the envelope (L24): who sent it, and when.
fn is_verdict(code: &str) -> bool {
    Rejection::ALL.iter().any(|rejection| rejection.number() > 20 && rejection.code() == code)
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

/// Opens a directory's ledger to run it. Whoever makes the directory founds its ledger: where it is missing now it was lost,
/// and a new one would sign other blocks of the heights that were certified already.
pub fn founded(dir: &DataDir) -> Result<node::Chain, Failure> {
    let folder = dir.ledger();
    if !node::Chain::is_founded(&folder) {
        return Err(Failure::Input(format!(
            "{} has no `ledger.redb`, and no other chain is begun in its place: put the folder back, or move what is left of \
             it away and run `modbatt ledger restore` with the last snapshot or export",
            folder.display()
        )));
    }
    node::Chain::open(&folder, dir.genesis()).map_err(|e| failure(&e))
}

/// A folder beside the ledger, of a name that nobody else works under, to make a ledger in and remove it.
fn scratch(dir: &DataDir) -> Result<PathBuf, Failure> {
    let process = std::process::id();
    let mut number = 0_u32;
    loop {
        let path = dir.path().join(format!("ledger.verifying-{process}-{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            // A run that was cut left it.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && number < u32::MAX => number += 1,
            Err(e) => return Err(Failure::Failed(format!("{}: {}", path.display(), reason(&e)))),
        }
    }
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
        Error::Corrupted { path, .. } => Failure::Input(format!("{error}; {}", mending(path))),
        Error::Unindexed(_) => Failure::Failed(format!("{error}; `modbatt ledger compact` makes them")),
        Error::Genesis(_) | Error::Io { .. } => Failure::Input(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    }
}

/// What helps against damage of a file of the ledger.
fn mending(path: &Path) -> &'static str {
    let records = path.components().any(|part| part.as_os_str() == "segments");
    if records {
        "put this file back from a copy, or move it, its `.listing` and `index` away: blocks and state are not affected, and \
         only receipts of its records can no longer be made"
    } else {
        "restore it from a copy: move the folder `ledger` away and run `modbatt ledger restore` with the file of a \
         snapshot or export"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_transaction_says_is_refused_for_good() {
        for code in ["W4_ERR_REGISTRY_PROOF_FAIL", "W4_ERR_REGISTRY_SERIAL_EXISTS", "W4_ERR_ATTEST_ROOT"] {
            assert!(is_verdict(code), "{code}");
        }
        for code in [
            "W4_ERR_BUSY",
            "W4_ERR_RATE_LIMIT",
            "W4_ERR_PROTO_TIMEOUT",
            "W4_ERR_PROTO_REPLAY",
            "W4_ERR_AUTHZ_DENIED",
        ] {
            assert!(!is_verdict(code), "{code}");
        }
    }
}
