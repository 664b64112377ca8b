//! `modbatt audit`: checks the logs of devices and says in words what they prove (`spec/channel.md`, H125 to H127).

pub mod known;
pub mod proof;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gateway::audit::{Log, LogRecord, read};
use lct::id::Cid;
use lct::journal::{Checkpoint, Code, Entry, SELF};
use lct::sign::PublicKey;
use serde_json::{Value, json};

use super::data_dir::DataDir;
use super::keys::AUTHORITY;
use super::ledger::{Ledger, open};
use super::{Failure, Outcome, print, reason};
use crate::custody::Unlock;
use crate::custody::authority::Keys;
use known::OnLedger;
use proof::{Finding, Known, Report, check, missing};

/// Name of the file with the keys that sign, in the folder of the logs.
pub const SIGNERS: &str = "signers.json";
/// Longest trust file.
const TRUST_MAX: u64 = 1 << 20;

/// Arguments of `modbatt audit`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check a log, or all logs of a data directory, and say what they prove
    Verify(VerifyArgs),
    /// Print the entries of a log
    Show {
        /// The log
        file: PathBuf,
    },
}

#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct VerifyArgs {
    /// A log, or a data directory: all its logs, held against its ledger
    path: PathBuf,
    /// Whose signatures to trust: JSON of component identifier to public key [default: what the ledger has recorded,
    /// else audit/signers.json of a data directory]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Hold the log against the anchors on the ledger of this data directory; a program may be running on it
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data_dir: Option<PathBuf>,
    /// Hold the log against the anchors that a running bridge knows, for example http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The authority's key file, with which every single entry can be checked; with it those of the authorities before
    /// [default: keys/authority of a data directory, so far as they are neither encrypted nor in a token]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    unlock: Unlock,
    /// Print one JSON object per log instead of sentences
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Verify(args) => verify(args),
        Command::Show { file } => show(file),
    }
}

fn verify(args: &VerifyArgs) -> Result<Outcome, Failure> {
    let folder = args.path.is_dir().then_some(args.path.as_path());
    let files = match folder {
        Some(folder) => logs_of(&folder.join("audit"))?,
        None => vec![args.path.clone()],
    };
    if files.is_empty() {
        return Err(Failure::Input(format!("{} holds no logs", args.path.display())));
    }
    let beside = |name: &str| folder.map(|f| f.join(name)).filter(|p| p.exists());
    let listed = beside("audit").map(|f| f.join(SIGNERS)).filter(|p| p.exists());
    let listed = listed.as_deref().map(signers).transpose()?.unwrap_or_default();
    let trusted = args.trust.as_deref().map(signers).transpose()?;
    let authority = match (&args.key, beside("keys")) {
        (Some(path), _) => Some(Keys::at(path)?.openings(&args.unlock, true)?),
        (None, Some(keys)) => Some(Keys::at(&keys.join(AUTHORITY))?.openings(&args.unlock, false)?),
        (None, None) => None,
    };
    let ledger = match (args.data_dir.as_deref().or(folder), &args.url) {
        (_, Some(url)) => Some(Ledger::At(api::Client::new(url).map_err(|e| Failure::Input(e.to_string()))?)),
        (Some(dir), None) => Some(open(&DataDir::open(dir)?)?),
        (None, None) => None,
    };
    let mut logs: BTreeMap<Cid, Vec<(PathBuf, Log)>> = BTreeMap::new();
    // In a data directory a log that is gone is missed.
    logs.extend(listed.keys().map(|cid| (*cid, Vec::new())));
    for file in files {
        let log = read(&file).map_err(|e| Failure::Input(e.to_string()))?;
        logs.entry(log.cid).or_default().push((file, log));
    }
    let mut outcome = Outcome::Good;
    for (cid, logs) in &logs {
        let on_ledger = ledger.as_ref().map(|ledger| OnLedger::of(ledger, cid)).transpose()?;
        let keys = match (&trusted, &on_ledger) {
            (Some(trusted), _) => trusted.get(cid).copied().into_iter().collect(),
            (None, Some(known)) if !known.keys.is_empty() => known.keys.clone(),
            (None, _) => listed.get(cid).copied().into_iter().collect::<Vec<_>>(),
        };
        let anchors = on_ledger.as_ref().map(|known| known.anchors.as_slice());
        let known = Known { signers: &keys, authority: authority.as_ref(), anchors };
        for (file, log) in logs {
            outcome =
                worse(outcome, tell(args.json, &file.display().to_string(), *cid, &check(log, &known))?);
        }
        // One log says nothing about the others of its component.
        if folder.is_some() {
            let all: Vec<&Log> = logs.iter().map(|(_, log)| log).collect();
            if let Some(finding) = missing(&all, anchors.unwrap_or_default()) {
                outcome = worse(outcome, tell(args.json, &format!("component {cid}"), *cid, &Err(finding))?);
            }
        }
    }
    Ok(outcome)
}

/// Prints what was found of a log.
fn tell(json: bool, name: &str, cid: Cid, result: &Result<Report, Finding>) -> Result<Outcome, Failure> {
    print(&match json {
        true => format!("{}\n", as_json(name, cid, result)),
        false => format!("{name}: {}\n", in_words(result)),
    })?;
    Ok(match result {
        Err(_) => Outcome::Bad,
        Ok(report) if report.checkpoints == 0 => Outcome::SignerUnknown,
        Ok(_) => Outcome::Good,
    })
}

fn worse(a: Outcome, b: Outcome) -> Outcome {
    match (a, b) {
        (Outcome::Bad, _) | (_, Outcome::Bad) => Outcome::Bad,
        (Outcome::SignerUnknown, _) | (_, Outcome::SignerUnknown) => Outcome::SignerUnknown,
        (Outcome::Good, Outcome::Good) => Outcome::Good,
    }
}

/// The logs in a folder, by name.
pub fn logs_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let list = std::fs::read_dir(folder)
        .map_err(|e| Failure::Input(format!("{}: {}", folder.display(), reason(&e))))?;
    let mut files: Vec<PathBuf> = list.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "log"));
    files.sort();
    Ok(files)
}

/// Reads a trust file: component identifier to key, both in hexadecimal.
pub fn signers(path: &Path) -> Result<BTreeMap<Cid, PublicKey>, Failure> {
    let wrong = || Failure::Input(format!("{} is not a list of signing keys", path.display()));
    let file = std::fs::File::open(path)
        .map_err(|e| Failure::Input(format!("{}: {}", path.display(), reason(&e))))?;
    let value: Value = serde_json::from_reader(std::io::Read::take(file, TRUST_MAX)).map_err(|_| wrong())?;
    let mut signers = BTreeMap::new();
    for (cid, key) in value.as_object().ok_or_else(wrong)? {
        let cid = hex::decode(cid).ok().and_then(|b| Cid::from_slice(&b).ok()).ok_or_else(wrong)?;
        let key = key.as_str().and_then(|k| hex::decode(k).ok()).ok_or_else(wrong)?;
        signers.insert(cid, PublicKey::from_slice(&key).map_err(|_| wrong())?);
    }
    Ok(signers)
}

/// One sentence.
pub fn in_words(result: &Result<Report, Finding>) -> String {
    let r = match result {
        Err(finding) => return format!("NOT what the device wrote: {finding}"),
        Ok(report) => report,
    };
    let mut text = format!("entries {} to {} form one chain", r.first, r.last);
    let _ = match r.lost {
        0 => write!(text, " without a gap"),
        n => write!(text, "; {n} of them are lost, as the device itself tells"),
    };
    if r.first > 1 {
        let _ = write!(text, "; what came before {} is not here", r.first);
    }
    let _ = match (r.signer_known, r.checkpoints) {
        (false, _) => write!(text, "; no key is known for this component, so nobody vouches for it"),
        (true, 0) => write!(text, "; no checkpoint vouches for it yet"),
        (true, n) => write!(
            text,
            "; {n} checkpoint{} signed by the component: entries up to {} are complete and as written",
            if n == 1 { "" } else { "s" },
            r.covered
        ),
    };
    let _ = match r.anchored {
        None => Ok(()),
        Some(0) => write!(text, "; the ledger holds no anchor of it yet"),
        Some(n) => write!(text, "; the ledger's anchor over {n} entries fits"),
    };
    text.push_str(if r.tags {
        "; every entry's tag is the device's own"
    } else {
        "; tags were not checked (the authority's key is needed)"
    });
    if r.torn > 0 {
        let _ = write!(text, "; the last {} bytes were cut while they were written", r.torn);
    }
    text
}

fn as_json(name: &str, cid: Cid, result: &Result<Report, Finding>) -> Value {
    match result {
        Ok(r) => json!({
            "file": name, "cid": cid.to_string(),
            "result": if r.checkpoints > 0 { "proved" } else { "signer_unknown" },
            "entries": r.last + 1 - r.first - r.lost, "first": r.first, "last": r.last, "lost": r.lost,
            "checkpoints": r.checkpoints, "covered": r.covered, "anchored": r.anchored, "tags": r.tags,
            "torn_bytes": r.torn,
        }),
        Err(finding) => json!({
            "file": name, "cid": cid.to_string(), "result": "refused", "reason": finding.to_string(),
            "entry": finding.entry(),
        }),
    }
}

fn show(file: &Path) -> Result<Outcome, Failure> {
    let log = read(file).map_err(|e| Failure::Input(e.to_string()))?;
    let mut text = format!("log of component {}\n", log.cid);
    for record in &log.records {
        let _ = match record {
            LogRecord::Entry(link, bytes) => match Entry::decode(bytes) {
                Ok(entry) => writeln!(text, "{:>6}  {}", link.number, line(&entry)),
                Err(_) => writeln!(text, "{:>6}  unreadable: {}", link.number, hex::encode(bytes)),
            },
            LogRecord::Checkpoint(bytes) => match Checkpoint::read(bytes) {
                Ok((point, _)) => writeln!(text, "        checkpoint over {} entries", point.number),
                Err(_) => writeln!(text, "        unreadable checkpoint"),
            },
            LogRecord::Key(_) => writeln!(text, "        first key, sealed to the authority"),
        };
    }
    print(&text)?;
    Ok(Outcome::Good)
}

/// One entry in words.
fn line(entry: &Entry) -> String {
    let code =
        Code::from_number(entry.code).map_or_else(|| format!("code {}", entry.code), |c| c.text().into());
    let node = match entry.node {
        SELF => "self".to_owned(),
        0 => "above".to_owned(),
        node => format!("module {node}"),
    };
    let time = if entry.time == 0 { "-".to_owned() } else { entry.time.to_string() };
    format!(
        "{time:>10}  start {} +{} s  {node:<9}  {code}  {}",
        entry.boot,
        entry.uptime_s,
        hex::encode(&entry.detail)
    )
}
