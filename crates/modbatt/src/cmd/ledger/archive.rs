//! `modbatt ledger export`, `snapshot`, `restore`: a ledger in one file, and a ledger from one.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use ledger::checkpoint::{Checkpoint, MAX_LEN};
use node::archive::{self, ArchiveError, Start};
use node::engine::signed::Signed;
use serde_json::json;

use super::super::checkpoint::refused;
use super::super::data_dir::{DataDir, sync_folder};
use super::super::verify::read_bounded;
use super::super::{Failure, Outcome, ask, print, reason};
use super::{At, Ledger, Progress, failure, open, scratch, table};

/// Arguments of `modbatt ledger export`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Export {
    /// File to write; it appears when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt ledger snapshot`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Snapshot {
    /// Height after which the state is written, one of the last 100 [default: that of the last block but one]
    #[arg(long, value_name = "N")]
    height: Option<u64>,
    /// File to write; it appears when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt ledger restore`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Restore {
    /// A file of `export` or `snapshot`
    file: PathBuf,
    /// The data directory; its folder `ledger` must be missing or empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// A checkpoint whose validators and blocks the file must agree with [default: the genesis of the data directory]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Only make sure that the file can be restored: make the ledger beside, and remove it again
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn export(args: &Export) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    match open(&dir)? {
        Ledger::Here(ledger) => write(&args.output, |out| from_disk(&ledger, Start::Genesis, out))?,
        Ledger::At(client) => write(&args.output, |out| from_bridge(&client, None, out))?,
    }
    written(&args.output, None, args.at.json)
}

pub fn snapshot(args: &Snapshot) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let below = |tip: u64| {
        let height = args.height.unwrap_or(tip.saturating_sub(1));
        if height > 0 { Ok(height) } else { Err(Failure::Failed("the ledger has no two blocks yet".into())) }
    };
    let height = match open(&dir)? {
        Ledger::Here(ledger) => {
            let height = below(ledger.read().map_err(|e| failure(&e))?.tip().height)?;
            write(&args.output, |out| from_disk(&ledger, Start::State(height), out))?;
            height
        }
        Ledger::At(client) => {
            let height = below(ask(client.ledger_status())?.height)?;
            write(&args.output, |out| from_bridge(&client, Some(height), out))?;
            height
        }
    };
    written(&args.output, Some(height), args.at.json)
}

fn from_disk(ledger: &node::ReadOnly, start: Start, out: &mut impl Write) -> Result<(), Failure> {
    ledger.archive(start, out).map(drop).map_err(|e| not_archived(&e))
}

fn from_bridge(client: &api::Client, height: Option<u64>, out: &mut impl Write) -> Result<(), Failure> {
    let mut failed = None;
    ask(client.archive(height, |piece| {
        failed = out.write_all(piece).err();
        failed.is_none()
    }))?;
    match failed {
        Some(e) => Err(Failure::Failed(format!("the file cannot be written: {}", reason(&e)))),
        None => Ok(()),
    }
}

fn not_archived(error: &ArchiveError) -> Failure {
    match error {
        ArchiveError::Store(e) => failure(e),
        ArchiveError::Pruned(_) => Failure::Failed(format!("{error}; use `modbatt ledger snapshot`")),
        other => Failure::Failed(other.to_string()),
    }
}

/// Writes a file that has its name only when it is whole.
fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let fail = |e: io::Error| Failure::Failed(format!("{}: {}", part.display(), reason(&e)));
    let created = File::create_new(&part).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Failure::Failed(format!(
            "{} is there already: another program writes it, or one was cut; remove it when none runs",
            part.display()
        )),
        _ => fail(e),
    })?;
    let mut out = BufWriter::new(created);
    let filled = fill(&mut out).and_then(|()| {
        out.flush().map_err(fail)?;
        out.get_ref().sync_all().map_err(fail)?;
        fs::rename(&part, path).map_err(fail)
    });
    filled.inspect_err(|_| {
        // The first failure is the one to report; what is left of the file is of no use.
        let _left = fs::remove_file(&part);
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder).map_err(|e| Failure::Failed(format!("{}: {}", folder.display(), reason(&e))))
}

fn written(path: &Path, height: Option<u64>, json: bool) -> Result<Outcome, Failure> {
    let bytes = fs::metadata(path).map_or(0, |found| found.len());
    let file = path.display();
    print(&if json {
        let object = json!({ "file": file.to_string(), "bytes": bytes, "height": height.unwrap_or(0) });
        format!("{object}\n")
    } else {
        let begins = height.map_or("the genesis".into(), |height| format!("the state of height {height}"));
        format!("wrote {file} ({bytes} bytes), which begins with {begins}\n")
    })?;
    Ok(Outcome::Good)
}

pub fn restore(args: &Restore) -> Result<Outcome, Failure> {
    let mut dir = DataDir::open(&args.data_dir)?;
    if !args.verify {
        dir = DataDir::open_or_create(
            &args.data_dir,
            || Err(Failure::Input("there is no data directory".into())),
            |_| Ok::<_, Failure>(()),
        )?;
    }
    let name = args.file.display();
    let file = File::open(&args.file).map_err(|e| Failure::Input(format!("{name}: {}", reason(&e))))?;
    let checkpoint = args.trust.as_deref().map(checkpoint).transpose()?;
    let trust = checkpoint.as_ref().map_or_else(|| dir.genesis().trust(), Checkpoint::trust);
    if trust.chain_id != *dir.chain_id() {
        return Err(Failure::Input("the checkpoint is of another chain than the data directory".into()));
    }
    let mut signed = None;
    let trust = (&trust, checkpoint.as_ref().map(|checkpoint| &checkpoint.statement));
    let mut progress = Progress::new("height");
    let input = BufReader::new(file);
    let made = if args.verify {
        let beside = scratch(&dir)?;
        let made = archive::restore_apart(&beside, input, trust, |height| progress.at(height));
        // Whether it could be removed says nothing about the file.
        let _left = fs::remove_dir_all(&beside);
        made
    } else {
        // From then on nobody can tell which of the blocks that were signed the ledger held. Not before: where a restore is refused
        // the ledger that is there stays, and a block that a crash kept out of it must still be signed anew.
        archive::restore_announced(
            &dir.ledger(),
            input,
            trust,
            |height| progress.at(height),
            |_| Signed::settle(&dir.signed(), dir.chain_id()).map(|found| signed = found),
        )
    };
    drop(progress);
    let made = made.map_err(|e| match e {
        ArchiveError::Store(e @ (node::Error::DiskFull(_) | node::Error::Io { .. })) => failure(&e),
        ArchiveError::Occupied(path) => Failure::Failed(format!(
            "{} is not empty, nothing was changed; move it away first",
            path.display()
        )),
        other => Failure::Failed(format!("{name} is not restored: {other}")),
    })?;
    if let Some(signed) = signed.filter(|signed| *signed > made.height) {
        // It is restored all the same: it can be read.
        let _closed = writeln!(
            io::stderr(),
            "modbatt: the validator signed blocks up to height {signed}, which this copy lacks: nothing will be added to it"
        );
    }
    print(&if args.json {
        let object = json!({
            "file": name.to_string(), "restored": !args.verify, "base": made.base, "height": made.height,
            "state_root": hex::encode(made.state_root), "batches": made.batches, "unrecorded": made.unrecorded,
        });
        format!("{object}\n")
    } else {
        let what = if args.verify { "can be restored" } else { "is restored" };
        format!("{name} {what}\n")
            + &table(&[
                ("begins at", made.base.to_string()),
                ("height", made.height.to_string()),
                ("state root", hex::encode(made.state_root)),
                ("batches", made.batches.to_string()),
                ("  left out", format!("{} that no block holds", made.unrecorded)),
            ])
    })?;
    Ok(Outcome::Good)
}

fn checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let file = read_bounded(path, "checkpoint", MAX_LEN + 1)?;
    Checkpoint::from_file(&file).map_err(|e| refused(path, &e))
}
