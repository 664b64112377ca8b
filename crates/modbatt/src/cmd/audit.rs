//! `modbatt audit`: checks the logs of devices and says in words what they prove (`spec/channel.md`, H125, H126).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bridge::authority::key::AuthorityKey;
use gateway::audit::{Log, LogRecord, read};
use lct::audit::{Broken, Verifier};
use lct::id::Cid;
use lct::journal::{Checkpoint, Code, Entry, KeyStatement, SELF};
use lct::secret::Secret;
use lct::sign::PublicKey;
use serde_json::{Value, json};

use super::{Failure, Outcome, print, reason};

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
    /// A log, or a data directory
    path: PathBuf,
    /// Whose signatures to trust: JSON of component identifier to public key [default: audit/signers.json of a
    /// data directory]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// The authority's key file, with which every single entry can be checked [default: keys/authority of a data
    /// directory]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
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

/// What a log proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Entries that form one chain from the first.
    pub entries: u64,
    /// Signatures of checkpoints that verified.
    pub checkpoints: usize,
    /// Last entry that a verified checkpoint covers.
    pub covered: u64,
    /// The tag of each entry was checked.
    pub tags: bool,
    /// Bytes of a record that was cut by a power failure.
    pub torn: usize,
    /// A key that signs for the component was known.
    pub signer_known: bool,
}

/// Why a log is not what its device wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Entries are missing, repeated or out of order.
    #[error(
        "entry {expected} is missing: entry {found} stands in its place (deleted, inserted or reordered)"
    )]
    Order {
        /// What should be there.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The entry or what stands before it was changed.
    #[error("entry {0} was changed: its hash does not fit")]
    Changed(u64),
    /// The tag is not the device's.
    #[error("entry {0} was not written by the device: its tag does not fit")]
    Foreign(u64),
    /// A checkpoint tells another hash.
    #[error("an entry up to {0} was changed: the checkpoint over {0} entries tells another hash")]
    Rewritten(u64),
    /// A checkpoint covers entries that are not there.
    #[error("the log ends before entry {missing}: a checkpoint covers {covered} entries")]
    Truncated {
        /// First entry that is missing.
        missing: u64,
        /// What the checkpoint covers.
        covered: u64,
    },
    /// A checkpoint or key statement that the known key did not sign.
    #[error("a {0} is not signed by the component's key")]
    Signature(&'static str),
    /// A checkpoint or key statement of another component.
    #[error("a {0} belongs to another component")]
    WrongLog(&'static str),
    /// The authority cannot open the first key.
    #[error("the first key is not sealed to this authority")]
    Key,
}

impl Finding {
    /// The entry at which the log stops being believable.
    pub fn entry(self) -> Option<u64> {
        match self {
            Finding::Order { expected, .. } => Some(expected),
            Finding::Changed(n) | Finding::Foreign(n) | Finding::Rewritten(n) => Some(n),
            Finding::Truncated { missing, .. } => Some(missing),
            _ => None,
        }
    }
}

/// Checks a log as far as what is known allows. `signer` is the component's relationship key, `authority` opens the
/// first key of the chain.
pub fn check(
    log: &Log,
    signer: Option<&PublicKey>,
    authority: Option<&AuthorityKey>,
) -> Result<Report, Finding> {
    let first_key = first_key(log, signer, authority)?;
    let mut report = Report {
        entries: 0,
        checkpoints: 0,
        covered: 0,
        tags: first_key.is_some(),
        torn: log.torn,
        signer_known: signer.is_some(),
    };
    let mut verifier = Verifier::new(first_key);
    let mut hashes = Vec::new();
    for record in &log.records {
        if let LogRecord::Entry(link, entry) = record {
            verifier.entry(link, entry).map_err(|broken| match broken {
                Broken::Number { expected, found } => Finding::Order { expected, found },
                Broken::Hash(n) => Finding::Changed(n),
                Broken::Tag(n) => Finding::Foreign(n),
            })?;
            hashes.push(link.hash);
        }
    }
    report.entries = hashes.len() as u64;
    for record in &log.records {
        let LogRecord::Checkpoint(bytes) = record else { continue };
        let point = match signer {
            Some(key) => Checkpoint::open(bytes, key),
            None => Checkpoint::read(bytes),
        };
        let point = point.map_err(|_| Finding::Signature("checkpoint"))?;
        if point.cid != log.cid {
            return Err(Finding::WrongLog("checkpoint"));
        }
        let covered = point.number;
        let at = usize::try_from(covered).ok().and_then(|n| n.checked_sub(1));
        match at.and_then(|at| hashes.get(at)) {
            Some(hash) if *hash == point.hash => {}
            Some(_) => return Err(Finding::Rewritten(covered)),
            None => return Err(Finding::Truncated { missing: report.entries + 1, covered }),
        }
        if signer.is_some() {
            report.checkpoints += 1;
            report.covered = report.covered.max(covered);
        }
    }
    Ok(report)
}

fn first_key(
    log: &Log,
    signer: Option<&PublicKey>,
    authority: Option<&AuthorityKey>,
) -> Result<Option<Secret<32>>, Finding> {
    for record in &log.records {
        let LogRecord::Key(bytes) = record else { continue };
        let statement = match signer {
            Some(key) => KeyStatement::open(bytes, key),
            None => KeyStatement::read(bytes),
        };
        let statement = statement.map_err(|_| Finding::Signature("statement of the first key"))?;
        if statement.cid != log.cid {
            return Err(Finding::WrongLog("statement of the first key"));
        }
        if let Some(authority) = authority {
            return authority.open_log_key(&statement).map(Some).map_err(|_| Finding::Key);
        }
    }
    Ok(None)
}

fn verify(args: &VerifyArgs) -> Result<Outcome, Failure> {
    let (files, folder) = if args.path.is_dir() {
        (logs_of(&args.path.join("audit"))?, Some(args.path.as_path()))
    } else {
        (vec![args.path.clone()], None)
    };
    if files.is_empty() {
        return Err(Failure::Input(format!("{} holds no logs", args.path.display())));
    }
    let beside = |name: &str| folder.map(|f| f.join(name)).filter(|p| p.exists());
    let trust =
        args.trust.clone().or_else(|| beside("audit").map(|f| f.join(SIGNERS)).filter(|p| p.exists()));
    let signers = trust.as_deref().map(signers).transpose()?.unwrap_or_default();
    let authority = match args.key.clone().or_else(|| beside("keys").map(|f| f.join("authority"))) {
        Some(path) if args.key.is_some() || path.exists() => Some(authority(&path)?),
        _ => None,
    };
    let mut outcome = Outcome::Good;
    for file in &files {
        let name = file.display().to_string();
        let log = read(file).map_err(|e| Failure::Input(e.to_string()))?;
        let result = check(&log, signers.get(&log.cid), authority.as_ref());
        let text = match args.json {
            true => format!("{}\n", as_json(&name, &log, &result)),
            false => in_words(&name, &result),
        };
        print(&text)?;
        outcome = match (outcome, &result) {
            (Outcome::Bad, _) | (_, Err(_)) => Outcome::Bad,
            (_, Ok(report)) if report.checkpoints == 0 => Outcome::SignerUnknown,
            (before, Ok(_)) => before,
        };
    }
    Ok(outcome)
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

/// Reads the authority's key file.
pub fn authority(path: &Path) -> Result<AuthorityKey, Failure> {
    let bytes = std::fs::read(path).map(zeroize::Zeroizing::new);
    let bytes = bytes.map_err(|e| Failure::Input(format!("{}: {}", path.display(), reason(&e))))?;
    AuthorityKey::from_bytes(&bytes).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))
}

fn in_words(name: &str, result: &Result<Report, Finding>) -> String {
    let r = match result {
        Err(finding) => return format!("{name}: NOT what the device wrote: {finding}\n"),
        Ok(report) => report,
    };
    let mut text = format!("{name}: entries 1 to {} form one chain without a gap", r.entries);
    let _ = match (r.signer_known, r.checkpoints) {
        (false, _) => write!(text, "; no key is known for this component, so nobody vouches for it"),
        (true, 0) => write!(text, "; no checkpoint vouches for it yet"),
        (true, n) => write!(
            text,
            "; {n} checkpoint{} signed by the component: entries 1 to {} are complete and as written",
            if n == 1 { "" } else { "s" },
            r.covered
        ),
    };
    text.push_str(if r.tags {
        "; every entry's tag is the device's own"
    } else {
        "; tags were not checked (the authority's key is needed)"
    });
    if r.torn > 0 {
        let _ = write!(text, "; the last {} bytes were cut while they were written", r.torn);
    }
    text.push('\n');
    text
}

fn as_json(name: &str, log: &Log, result: &Result<Report, Finding>) -> Value {
    match result {
        Ok(r) => json!({
            "file": name, "cid": log.cid.to_string(),
            "result": if r.checkpoints > 0 { "proved" } else { "signer_unknown" },
            "entries": r.entries, "checkpoints": r.checkpoints, "covered": r.covered, "tags": r.tags,
            "torn_bytes": r.torn,
        }),
        Err(finding) => json!({
            "file": name, "cid": log.cid.to_string(), "result": "refused", "reason": finding.to_string(),
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
                Ok(point) => writeln!(text, "        checkpoint over {} entries", point.number),
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

#[cfg(test)]
mod tests {
    use super::*;
    use lct::audit::AuditChain;
    use lct::journal::seal_first_key;
    use lct::sign::SigningKey;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    struct Made {
        log: Log,
        signer: PublicKey,
        authority: AuthorityKey,
    }

    /// A log of nine entries with a checkpoint over the first six.
    fn made() -> Made {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let key = SigningKey::generate(&mut rng);
        let authority = AuthorityKey::generate().unwrap();
        let cid = Cid::of("module-0001");
        let first = Secret::random(&mut rng);
        let sealed = seal_first_key(&first, &cid, &authority.public(), &mut rng).unwrap();
        let mut records = vec![LogRecord::Key(KeyStatement { cid, sealed }.issue(&key, &mut rng))];
        let mut chain = AuditChain::new(first);
        for i in 1..=9u8 {
            let entry = vec![1, i, 0, 0];
            records.push(LogRecord::Entry(chain.append(&entry).unwrap(), entry));
            if i == 6 {
                let (number, hash) = chain.head();
                let point = Checkpoint { cid, number, hash, time: 0 }.issue(&key, &mut rng);
                records.push(LogRecord::Checkpoint(point));
            }
        }
        Made { log: Log { cid, records, torn: 0 }, signer: key.public(), authority }
    }

    /// Places of the entries in the list of records.
    fn at(entry: usize) -> usize {
        if entry <= 6 { entry } else { entry + 1 }
    }

    #[test]
    fn every_attack_is_found_at_its_entry() {
        let m = made();
        let full = |log: &Log| check(log, Some(&m.signer), Some(&m.authority));
        let good = full(&m.log).unwrap();
        assert_eq!((good.entries, good.checkpoints, good.covered, good.tags), (9, 1, 6, true));
        for n in 1..=9u64 {
            let i = at(n as usize);
            let mut edited = m.log.clone();
            if let LogRecord::Entry(_, bytes) = &mut edited.records[i] {
                bytes[2] ^= 1;
            }
            assert_eq!(full(&edited), Err(Finding::Foreign(n)), "edited");
            assert_eq!(check(&edited, None, None), Err(Finding::Changed(n)), "edited, nothing known");
            let mut deleted = m.log.clone();
            deleted.records.remove(i);
            if n < 9 {
                assert_eq!(full(&deleted), Err(Finding::Order { expected: n, found: n + 1 }), "deleted");
            }
            if n > 1 {
                let mut swapped = m.log.clone();
                swapped.records.swap(at(n as usize - 1), i);
                assert_eq!(full(&swapped), Err(Finding::Order { expected: n - 1, found: n }), "reordered");
            }
            // Cut after entry n, with every checkpoint that is there left in place.
            let mut cut = m.log.clone();
            cut.records.retain(|r| !matches!(r, LogRecord::Entry(link, _) if link.number > n));
            let expected = match n {
                1..6 => Err(Finding::Truncated { missing: n + 1, covered: 6 }),
                _ => Ok(n),
            };
            assert_eq!(full(&cut).map(|r| r.entries), expected, "cut after {n}");
        }
    }

    /// Somebody without the device's keys rebuilds hashes from entry 4 on.
    #[test]
    fn a_rebuilt_chain_meets_its_checkpoint_and_its_tags() {
        let m = made();
        let mut forged = m.log.clone();
        let mut head = lct::audit::genesis();
        for record in &mut forged.records {
            if let LogRecord::Entry(link, bytes) = record {
                if link.number >= 4 {
                    bytes[3] = 9;
                }
                link.hash = lct::audit::link_hash(&head, link.number, bytes).unwrap();
                head = link.hash;
            }
        }
        assert_eq!(check(&forged, Some(&m.signer), None), Err(Finding::Rewritten(6)));
        assert_eq!(check(&forged, Some(&m.signer), Some(&m.authority)), Err(Finding::Foreign(4)));
        // With neither there is nothing to hold it against, and the report says that nobody vouches.
        let unknown = check(&m.log, None, None).unwrap();
        assert!(!unknown.signer_known && unknown.checkpoints == 0 && !unknown.tags);
    }

    #[test]
    fn statements_of_others_do_not_vouch() {
        let (m, other) = (made(), made());
        let stranger = SigningKey::from_bytes(&[7; 32]).unwrap().public();
        assert_eq!(
            check(&m.log, Some(&stranger), None),
            Err(Finding::Signature("statement of the first key"))
        );
        assert_eq!(check(&m.log, None, Some(&other.authority)), Err(Finding::Key));
        let mut moved = m.log.clone();
        moved.cid = Cid::of("module-0002");
        assert_eq!(
            check(&moved, Some(&m.signer), None),
            Err(Finding::WrongLog("statement of the first key"))
        );
    }
}
