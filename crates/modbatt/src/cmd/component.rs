//! `modbatt component`: what became of a component, and what is to become of it (`spec/ledger.md`, L131 to L137).

use std::fmt::Write as _;
use std::path::PathBuf;

use api::encoding::Hex;
use api::registry::History;
use api::revocation;
use lct::id::Cid;
use lct::lifecycle::{LIFECYCLE_MAX, Move, State};
use lct::revocation::Reason;
use ledger::records::registry::{AuthorizationId, Level};
use ledger::tx::{Body, Registry};

use super::order::component;
use super::send::{At, There, key_file};
use super::{Failure, Outcome, When, ask, os_rng, print_answer};

/// Arguments of `modbatt component`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what became of a component: states, versions, whom it lets be paired with it
    Show(Show),
    /// Put a component into another state: to the workshop and back, out of doubt, to its end
    Move(MoveArgs),
    /// Let a component be paired with another one, for a day
    Authorize(Authorize),
    /// Take such an authorisation back
    Forbid(Forbid),
}

/// Arguments of `modbatt component show`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Show {
    /// Component id, for example `pack-0001`
    #[arg(value_parser = component)]
    id: String,
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    when: When,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `modbatt component move`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct MoveArgs {
    /// Component id, for example `pack-0001`
    #[arg(value_parser = component)]
    id: String,
    /// `active`, `maintenance`, `suspended`, `retired` or `revoked`; the last two are for good
    #[arg(value_parser = state)]
    state: State,
    /// Why: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`
    #[arg(long, default_value = "unspecified", value_parser = parse_reason)]
    reason: Reason,
    /// Private key of its owner, its manufacturer's batch authority, or an authority; 32 bytes
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt component authorize`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Authorize {
    /// Component id of the one that lets; the account that sends it owns it, or is an authority
    #[arg(value_parser = component)]
    id: String,
    /// Component id of the other one
    #[arg(value_parser = component)]
    partner: String,
    /// What for
    #[arg(long, default_value = api::pairing::BATTERY_MANAGEMENT)]
    context: String,
    /// `basic`, `enhanced` or `critical`
    #[arg(long, default_value = "basic", value_parser = level)]
    level: Level,
    /// What the trust of the other has to meet, for example `trust_score >= 0.6`
    #[arg(long, default_value = "")]
    rule: String,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt component forbid`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Forbid {
    /// The authorisation, as `modbatt component show` names it
    authorization: Hex<16>,
    /// Why: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`
    #[arg(long, default_value = "unspecified", value_parser = parse_reason)]
    reason: Reason,
    #[command(flatten)]
    at: At,
}

fn state(text: &str) -> Result<State, String> {
    let states = [State::Active, State::Maintenance, State::Suspended, State::Retired, State::Revoked];
    let found = states.into_iter().find(|state| state.name() == text);
    found.ok_or_else(|| "it is `active`, `maintenance`, `suspended`, `retired` or `revoked`".into())
}

fn level(text: &str) -> Result<Level, String> {
    let found = [Level::Basic, Level::Enhanced, Level::Critical].into_iter().find(|l| l.name() == text);
    found.ok_or_else(|| "it is `basic`, `enhanced` or `critical`".into())
}

fn parse_reason(text: &str) -> Result<Reason, String> {
    revocation::reason(text).ok_or_else(|| {
        "it is `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`".into()
    })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Show(args) => show(args),
        Command::Move(args) => put(args),
        Command::Authorize(args) => authorize(args),
        Command::Forbid(args) => forbid(args),
    }
}

fn show(args: &Show) -> Result<Outcome, Failure> {
    let (_, run) = super::data_dir::DataDir::open_running(&args.data_dir, "its ledger can be asked")?;
    let history = ask(async { args.when.client(api::Client::new(&run.url)?).history(&args.id).await })?;
    print_answer(&history, args.json, in_words)
}

fn in_words(h: &History) -> String {
    let mut text = format!("{} is {}\n", h.component_id, h.status);
    for m in &h.states {
        let _ = writeln!(text, "  {}: from {} to {} by its {} ({})", m.number, m.from, m.to, m.by, m.reason);
    }
    for v in &h.versions {
        let vouched = if v.vouched { ", vouched for" } else { "" };
        let _ = writeln!(
            text,
            "  version {}: hardware {}, firmware {}{vouched}",
            v.number, v.hardware, v.firmware
        );
    }
    for a in &h.authorizations {
        let rule = if a.conditions > 0 { ", with a rule" } else { "" };
        let _ = writeln!(
            text,
            "  lets {} be paired with it for {}, {}{rule}: authorization {}",
            a.partner, a.context, a.level, a.authorization_id
        );
    }
    text
}

fn put(args: &MoveArgs) -> Result<Outcome, Failure> {
    let key = key_file(&args.key)?;
    let There { client, dir, sender } = args.at.open()?;
    let history = ask(client.history(&args.id))?;
    let time_ms = ask(client.time_token())?.time * 1_000;
    let number = history.states.last().map_or(0, |last| last.number) + 1;
    let (cid, to, reason) = (Cid::of(&args.id), args.state, args.reason);
    let moved = Move { chain_id: *dir.chain_id(), cid, number, to, reason, time_ms };
    let unsignable = |e: lct::Error| Failure::Failed(format!("the move cannot be signed: {e}"));
    let mut bytes = [0; LIFECYCLE_MAX];
    let n = moved.encode(&mut bytes).map_err(unsignable)?;
    let signature = key.sign(&moved.digest().map_err(unsignable)?, &mut os_rng()?);
    let (statement, key) = (bytes[..n].to_vec(), key.public());
    let tx = sender.send(Body::Registry(Registry::Move { statement, key, signature }))?;
    args.at.tell(&tx, None, &format!("{} is {}", args.id, to.name()))
}

fn authorize(args: &Authorize) -> Result<Outcome, Failure> {
    let There { dir, sender, .. } = args.at.open()?;
    let (a, b) = (Cid::of(&args.id), Cid::of(&args.partner));
    let id = ledger::authorization::id_of(dir.chain_id(), &a, &b, &args.context);
    let (context, rule) = (args.context.clone(), args.rule.clone());
    let tx = sender.send(Body::Registry(Registry::Grant { a, b, context, level: args.level as u8, rule }))?;
    let words = format!(
        "{} lets {} be paired with it for a day, authorization {}",
        args.id,
        args.partner,
        hex::encode(id.0)
    );
    args.at.tell(&tx, Some(&id.0), &words)
}

fn forbid(args: &Forbid) -> Result<Outcome, Failure> {
    let There { sender, .. } = args.at.open()?;
    let id = AuthorizationId(args.authorization.0);
    let tx = sender.send(Body::Registry(Registry::RevokeGrant { id, reason: args.reason }))?;
    args.at.tell(&tx, Some(&id.0), "the authorization is taken back")
}
