//! `modbatt commitment`: components and authorisations that the ledger holds without knowing what they are (`spec/ledger.md`, L138 to
//! L140). The owner's secret stays here; what is sent are commitments, and openings of those that are opened.

use std::path::{Path, PathBuf};

use api::commitment::{Committed, CommittedPair, FIELDS};
use api::encoding::Hex;
use lct::Digest;
use lct::commitment::{Field, commit, opening};
use lct::secret::Secret;
use ledger::anonymous::{EVERYTHING, Urgency, pair_id};
use ledger::records::registry::{Level, RevocationScope};
use ledger::tx::registry::Anonymous;
use ledger::tx::{Body, Registry};
use zeroize::Zeroizing;

use super::component::level;
use super::send::{At, There};
use super::{Asked, Failure, Outcome, ask, print, reason};

/// Arguments of `modbatt commitment`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print the commitment to a value
    Of(Of),
    /// Show what the ledger holds under a commitment
    Show(Show),
    /// Record a component without saying which
    Record(Record),
    /// Let a committed component be paired with another one, for a year
    Authorize(Authorize),
    /// Withdraw what was recorded
    Withdraw(Withdraw),
    /// Open one commitment: everybody sees this value
    Open(Open),
}

/// A value and the secret of who commits to it.
#[derive(clap::Args)]
struct Of {
    /// `component`, `manufacturer`, `category` or `rule`
    #[arg(value_parser = field)]
    field: Field,
    /// The value
    value: String,
    /// The owner's secret, 32 bytes
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
}

/// Arguments of `modbatt commitment show`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Show {
    /// Commitment of a component, or with --pair the id of an authorisation
    id: Hex<32>,
    /// The id is that of an authorisation
    #[arg(long)]
    pair: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `modbatt commitment record`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Record {
    /// Component id
    id: String,
    /// Its manufacturer
    manufacturer: String,
    /// Its type
    category: String,
    /// The owner's secret, 32 bytes
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt commitment authorize`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Authorize {
    /// Commitment of the one that lets
    a: Hex<32>,
    /// Commitment of the other one
    b: Hex<32>,
    /// What the trust of the other has to meet, for example `trust_score >= 0.6`; it counts once it is opened
    #[arg(long, default_value = "")]
    rule: String,
    /// `basic`, `enhanced` or `critical`
    #[arg(long, default_value = "basic", value_parser = level)]
    level: Level,
    /// Least trust of the other, ppm
    #[arg(long, value_name = "PPM", default_value_t = 500_000)]
    trust: u32,
    /// The owner's secret, 32 bytes
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    #[command(flatten)]
    at: At,
}

/// What is withdrawn.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// One component or authorisation
    #[arg(long, value_name = "ID")]
    one: Option<Hex<32>>,
    /// All of one's components with this commitment to manufacturer or type
    #[arg(long, value_name = "COMMITMENT")]
    like: Option<Hex<32>>,
    /// All of one's components
    #[arg(long)]
    all: bool,
}

/// Arguments of `modbatt commitment withdraw`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Withdraw {
    #[command(flatten)]
    target: Target,
    /// `immediate`, `urgent` (an hour) or `standard` (a day)
    #[arg(long, default_value = "immediate", value_parser = urgency)]
    urgency: Urgency,
    /// `safety`, `security` or `other`
    #[arg(long, default_value = "other", value_parser = category)]
    why: u8,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt commitment open`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Open {
    /// Commitment of the component where the value stands, or of a rule the id of the authorisation
    id: Hex<32>,
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    at: At,
}

fn field(text: &str) -> Result<Field, String> {
    let found = FIELDS.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, field)| *field)
        .ok_or_else(|| "it is `component`, `manufacturer`, `category` or `rule`".into())
}

fn urgency(text: &str) -> Result<Urgency, String> {
    match text {
        "immediate" => Ok(Urgency::Immediate),
        "urgent" => Ok(Urgency::Urgent),
        "standard" => Ok(Urgency::Standard),
        _ => Err("it is `immediate`, `urgent` or `standard`".into()),
    }
}

fn category(text: &str) -> Result<u8, String> {
    let found = (1..).zip(["safety", "security", "other"]).find(|(_, name)| *name == text);
    found.map(|(code, _)| code).ok_or_else(|| "it is `safety`, `security` or `other`".into())
}

fn secret(path: &Path) -> Result<Secret<32>, Failure> {
    let unusable = |why: &str| Failure::Input(format!("{} holds no secret: {why}", path.display()));
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|e| unusable(&reason(&e)))?;
    let secret = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new);
    Ok(Secret::new(*secret.map_err(|_| unusable("it is not 32 bytes long"))?))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Of(args) => {
            let commitment = commit(&secret(&args.secret)?, args.field, args.value.as_bytes());
            print(&format!("{}\n", hex::encode(commitment)))?;
            Ok(Outcome::Good)
        }
        Command::Show(args) => show(args),
        Command::Record(args) => {
            let owner = secret(&args.secret)?;
            let of = |field, value: &str| commit(&owner, field, value.as_bytes());
            let component = of(Field::Component, &args.id);
            let entry = Anonymous::Register {
                component,
                manufacturer: of(Field::Manufacturer, &args.manufacturer),
                category: of(Field::Category, &args.category),
            };
            send(&args.at, entry, &component, "a component is recorded under commitment")
        }
        Command::Authorize(args) => authorize(args),
        Command::Withdraw(args) => withdraw(args),
        Command::Open(args) => {
            let Of { field, value, secret: path } = &args.of;
            let opening = opening(&secret(path)?, *field, value.as_bytes());
            let (field, id, value) = (*field as u8, args.id.0, value.clone());
            send(&args.at, Anonymous::Open { field, id, opening, value }, &id, "opened is a value of")
        }
    }
}

/// Sends an entry and names what it is about.
fn send(at: &At, entry: Anonymous, id: &Digest, words: &str) -> Result<Outcome, Failure> {
    let There { sender, .. } = at.open()?;
    let tx = sender.send(Body::Registry(Registry::Anonymous(entry)))?;
    at.tell(&tx, Some(id), &format!("{words} {}", hex::encode(id)))
}

fn authorize(args: &Authorize) -> Result<Outcome, Failure> {
    let rule = commit(&secret(&args.secret)?, Field::Rule, args.rule.as_bytes());
    let There { dir, sender, .. } = args.at.open()?;
    let (a, b) = (args.a.0, args.b.0);
    let entry = Anonymous::Authorize { a, b, rule, level: args.level as u8, trust_ppm: args.trust };
    let id = pair_id(dir.chain_id(), &a, &b);
    let tx = sender.send(Body::Registry(Registry::Anonymous(entry)))?;
    args.at.tell(&tx, Some(&id), &format!("authorization {} holds for a year", hex::encode(id)))
}

fn withdraw(args: &Withdraw) -> Result<Outcome, Failure> {
    let (scope, target) = match &args.target {
        Target { one: Some(id), .. } => (RevocationScope::Individual, id.0),
        Target { like: Some(id), .. } => (RevocationScope::Pattern, id.0),
        _ => (RevocationScope::Blanket, EVERYTHING),
    };
    let entry =
        Anonymous::Revoke { scope: scope as u8, target, urgency: args.urgency as u8, category: args.why };
    send(&args.at, entry, &target, "withdrawn is")
}

fn show(args: &Show) -> Result<Outcome, Failure> {
    let client = args.asked.client()?;
    if args.pair {
        let pair = ask(client.committed_pair(&args.id))?;
        return args.asked.tell(&pair, |p: &CommittedPair| {
            let rule = p.opened.as_ref().map_or("not opened", |value| &value.value);
            format!(
                "{} lets {} be paired with it, {} from trust of {} ppm on; rule: {rule}\n",
                p.a, p.b, p.level, p.trust_ppm
            )
        });
    }
    let component = ask(client.commitment(&args.id))?;
    args.asked.tell(&component, |c: &Committed| {
        let state = if c.withdrawn { "withdrawn" } else { "in force" };
        let mut text = format!("a component of {}, {state}\n", c.holder);
        for value in &c.opened {
            text.push_str(&format!("  its {} is {}\n", value.field, value.value));
        }
        text
    })
}
