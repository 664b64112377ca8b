//! `modbatt checkpoint`: what the validators sign about a whole chain, and witnesses after them (`spec/ledger.md`, L171 to
//! L174).

use std::path::{Path, PathBuf};

use ledger::checkpoint::{Checkpoint, CheckpointError, MAX_LEN, Succession};
use ledger::receipt;
use serde_json::json;

use super::data_dir::{DataDir, replace_file};
use super::factory::files::p256_key;
use super::verify::read_bounded;
use super::{Failure, Outcome, ledger as replica, os_rng, print};

/// Arguments of `modbatt checkpoint`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Sign a checkpoint of the last block with the validator's key of an installation that does not run
    Make(Make),
    /// Write what leads from one checkpoint to a later one of the same chain
    Lead(Lead),
    /// Write what shows that the history of a checkpoint holds the block of a receipt, for `modbatt verify --by`
    Include(Include),
    /// Check a checkpoint, alone or against an earlier one, and say what it says
    Show(Show),
    /// Sign a checkpoint as a witness, after one that was signed before
    Cosign(Cosign),
}

#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Make {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where the checkpoint is written
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Lead {
    /// The earlier checkpoint
    earlier: PathBuf,
    /// The later checkpoint
    later: PathBuf,
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where it is written
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Include {
    /// The receipt
    receipt: PathBuf,
    /// The checkpoint, of the receipt's next block or a later one
    checkpoint: PathBuf,
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where it is written
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// The checkpoint that another one is to follow.
#[derive(clap::Args)]
struct Earlier {
    /// A checkpoint of before, which this one must follow
    #[arg(long, value_name = "FILE", requires = "by")]
    after: Option<PathBuf>,
    /// What leads from there to here, as `modbatt checkpoint lead` writes it
    #[arg(long, value_name = "FILE", requires = "after")]
    by: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Show {
    /// The checkpoint
    file: PathBuf,
    #[command(flatten)]
    earlier: Earlier,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Cosign {
    /// The checkpoint; the signature is added to this file
    file: PathBuf,
    /// The witness's P-256 key, a file of 32 bytes
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    earlier: Earlier,
    /// Sign although there is no checkpoint of before: the first one that this witness sees of the chain
    #[arg(long, conflicts_with = "after", required_unless_present = "after")]
    first: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Make(args) => make(args),
        Command::Lead(args) => lead(args),
        Command::Include(args) => include(args),
        Command::Show(args) => show(args),
        Command::Cosign(args) => cosign(args),
    }
}

/// The replica of a data directory on which nothing runs.
fn at_rest(dir: &DataDir) -> Result<Box<node::ReadOnly>, Failure> {
    match replica::open(dir)? {
        replica::Ledger::Here(ledger) => Ok(ledger),
        replica::Ledger::At(_) => {
            let name = dir.path().display();
            Err(Failure::Failed(format!(
                "a program runs on {name}; stop it first: its ledger is read from disk"
            )))
        }
    }
}

fn make(args: &Make) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let ledger = at_rest(&dir)?;
    let validator = super::demo::validator(&dir)?;
    let snapshot = ledger.read().map_err(|e| replica::failure(&e))?;
    let statement = snapshot.checkpoint().map_err(|e| Failure::Failed(e.to_string()))?;
    let validators = snapshot.validators().map_err(|e| replica::failure(&e))?;
    let made = statement.certify(validators, [&validator]);
    // Read back as anybody else will: the key at hand may not be that of the validators in force.
    let file = made.to_file();
    Checkpoint::from_file(&file).map_err(|e| Failure::Failed(format!("no checkpoint can be made: {e}")))?;
    replace_file(&args.out, &file)?;
    print(&format!("checkpoint of height {} in {}\n", made.statement.height, args.out.display()))?;
    Ok(Outcome::Good)
}

fn lead(args: &Lead) -> Result<Outcome, Failure> {
    let (earlier, later) = (read(&args.earlier)?, read(&args.later)?);
    let dir = DataDir::open(&args.data_dir)?;
    let ledger = at_rest(&dir)?;
    let snapshot = ledger.read().map_err(|e| replica::failure(&e))?;
    let by = snapshot.succession(earlier.statement.height, later.statement.height);
    let by = by.map_err(|e| Failure::Failed(e.to_string()))?;
    later.check_follows(&earlier, &by).map_err(|e| broken(&args.later, &args.earlier, &e))?;
    replace_file(&args.out, &by.to_file())?;
    let (from, to) = (earlier.statement.height, later.statement.height);
    print(&format!("what leads from height {from} to {to} in {}\n", args.out.display()))?;
    Ok(Outcome::Good)
}

fn include(args: &Include) -> Result<Outcome, Failure> {
    let checkpoint = read(&args.checkpoint)?;
    let file = read_bounded(&args.receipt, "receipt", receipt::MAX_LEN + 1)?;
    let name = args.receipt.display();
    let proved = receipt::verify(&file, None)
        .map_err(|e| Failure::Failed(format!("the receipt {name} is refused: {e}")))?;
    let dir = DataDir::open(&args.data_dir)?;
    let ledger = at_rest(&dir)?;
    let snapshot = ledger.read().map_err(|e| replica::failure(&e))?;
    // What a block did is certified by the header after it.
    let certified = proved.height.saturating_add(1);
    let by = snapshot.inclusion(certified, checkpoint.statement.height);
    let by = by.map_err(|e| Failure::Failed(format!("the checkpoint does not reach the receipt: {e}")))?;
    receipt::verify_within(&file, &checkpoint.statement, &by).map_err(|e| {
        Failure::Failed(format!("{name} and {} do not belong together: {e}", args.checkpoint.display()))
    })?;
    replace_file(&args.out, &by.to_file())?;
    let to = checkpoint.statement.height;
    print(&format!(
        "what leads from height {certified} to the checkpoint of {to} in {}\n",
        args.out.display()
    ))?;
    Ok(Outcome::Good)
}

fn show(args: &Show) -> Result<Outcome, Failure> {
    let checkpoint = read(&args.file)?;
    follow(&args.file, &checkpoint, &args.earlier)?;
    let s = &checkpoint.statement;
    let witnesses: Vec<String> = checkpoint.witnesses.iter().map(|(key, _)| key.to_string()).collect();
    print(&if args.json {
        let object = json!({
            "chain_id": hex::encode(s.chain_id), "height": s.height, "block_id": hex::encode(s.block_id),
            "state_root": hex::encode(s.state_root), "tree_root": hex::encode(s.tree_root),
            "signatures": checkpoint.certificate.signatures.len(), "validators": checkpoint.validators.0.len(),
            "witnesses": witnesses,
        });
        format!("{object}\n")
    } else {
        let rows = [
            ("chain", hex::encode(s.chain_id)),
            ("height", s.height.to_string()),
            ("block", hex::encode(s.block_id)),
            ("state root", hex::encode(s.state_root)),
            ("tree of blocks", hex::encode(s.tree_root)),
            (
                "signed by",
                format!(
                    "{} of {} validator(s)",
                    checkpoint.certificate.signatures.len(),
                    checkpoint.validators.0.len()
                ),
            ),
            ("witnesses", if witnesses.is_empty() { "none".into() } else { witnesses.join(" ") }),
        ];
        rows.iter().map(|(name, value)| format!("{name:<15} {value}\n")).collect()
    })?;
    Ok(Outcome::Good)
}

fn cosign(args: &Cosign) -> Result<Outcome, Failure> {
    let mut checkpoint = read(&args.file)?;
    follow(&args.file, &checkpoint, &args.earlier)?;
    let key = p256_key(&args.key)?;
    let signature = key.sign(&checkpoint.statement.witness_digest(), &mut os_rng()?);
    checkpoint.add_witness(key.public(), signature);
    replace_file(&args.file, &checkpoint.to_file())?;
    let (height, witnesses) = (checkpoint.statement.height, checkpoint.witnesses.len());
    print(&format!("the checkpoint of height {height} has {witnesses} witness(es)\n"))?;
    Ok(Outcome::Good)
}

fn read(path: &Path) -> Result<Checkpoint, Failure> {
    let file = read_bounded(path, "checkpoint", MAX_LEN + 1)?;
    Checkpoint::from_file(&file).map_err(|e| refused(path, &e))
}

/// What a file that is no usable checkpoint means for the user.
pub fn refused(path: &Path, error: &CheckpointError) -> Failure {
    let sentence = format!("{} is not a usable checkpoint: {error}", path.display());
    match error {
        CheckpointError::NotACheckpoint | CheckpointError::Version(_) => Failure::Input(sentence),
        _ => Failure::Failed(sentence),
    }
}

fn follow(path: &Path, checkpoint: &Checkpoint, earlier: &Earlier) -> Result<(), Failure> {
    let Some((after, by)) = earlier.after.as_ref().zip(earlier.by.as_ref()) else {
        return Ok(());
    };
    let succession = Succession::from_file(&read_bounded(by, "succession", MAX_LEN + 1)?);
    let succession = succession.map_err(|e| {
        Failure::Input(format!("{} does not lead from a checkpoint to another: {e}", by.display()))
    })?;
    checkpoint.check_follows(&read(after)?, &succession).map_err(|e| broken(path, after, &e))
}

fn broken(later: &Path, earlier: &Path, error: &CheckpointError) -> Failure {
    let (later, earlier) = (later.display(), earlier.display());
    Failure::Failed(format!(
        "{later} does not follow {earlier}: {error}; sign neither, and keep both as evidence"
    ))
}
