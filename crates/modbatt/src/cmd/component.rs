//! `modbatt component`: what became of a component, and what is to become of it (`spec/ledger.md`, L131 to L137).

use std::fmt::Write as _;
use std::path::PathBuf;

use api::encoding::Hex;
use api::registry::History;
use api::revocation;
use lct::id::Cid;
use lct::lifecycle::{LIFECYCLE_MAX, Move, State, Version};
use lct::revocation::Reason;
use ledger::records::registry::{AuthorizationId, Level};
use ledger::tx::{Body, Registry};

use super::order::component;
use super::send::{At, There, key_file};
use super::{Asked, Failure, Outcome, ask, os_rng};

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
    /// Say whether a component lets itself be paired with another one, and if not, why
    May(May),
    /// Tell on the ledger which hardware and firmware a component has
    Version(VersionArgs),
    /// Show whom a component sees, hop by hop: what it is bound to, paired with, and who saw what it stated
    Around(Around),
}

/// Arguments of `modbatt component show`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Show {
    /// Component id, for example `pack-0001`
    #[arg(value_parser = component)]
    id: String,
    #[command(flatten)]
    asked: Asked,
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

/// Arguments of `modbatt component may`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct May {
    /// Component id of the one that lets
    #[arg(value_parser = component)]
    id: String,
    /// Component id of the other one
    #[arg(value_parser = component)]
    partner: String,
    /// What for
    #[arg(long, default_value = api::pairing::BATTERY_MANAGEMENT)]
    context: String,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `modbatt component version`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct VersionArgs {
    /// Component id, for example `module-0001`
    #[arg(value_parser = component)]
    id: String,
    /// Hardware version
    #[arg(long)]
    hardware: u32,
    /// Firmware version
    #[arg(long)]
    firmware: u32,
    /// The firmware's image, of which the SHA-256 is told
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// Private identity key of the component, 32 bytes: on a bench, where it is at hand
    #[arg(long, value_name = "FILE")]
    device_key: PathBuf,
    /// Private key of who vouches, the manufacturer's batch authority or an authority, 32 bytes; needed unless it is a higher
    /// firmware on the same hardware
    #[arg(long, value_name = "FILE")]
    vouch_key: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt component around`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Around {
    /// Component id, for example `pack-0001`
    #[arg(value_parser = component)]
    id: String,
    /// Hops
    #[arg(long, default_value_t = ledger::mrh::DEFAULT_DEPTH, value_parser = clap::value_parser!(u8).range(1..=10))]
    depth: u8,
    /// Say also how far each is to be relied on
    #[arg(long)]
    trust: bool,
    #[command(flatten)]
    asked: Asked,
}

fn state(text: &str) -> Result<State, String> {
    let states = [State::Active, State::Maintenance, State::Suspended, State::Retired, State::Revoked];
    let found = states.into_iter().find(|state| state.name() == text);
    found.ok_or_else(|| "it is `active`, `maintenance`, `suspended`, `retired` or `revoked`".into())
}

/// Reads a level by its word.
pub fn level(text: &str) -> Result<Level, String> {
    let found = [Level::Basic, Level::Enhanced, Level::Critical].into_iter().find(|l| l.name() == text);
    found.ok_or_else(|| "it is `basic`, `enhanced` or `critical`".into())
}

/// Reads a reason by its word.
pub fn parse_reason(text: &str) -> Result<Reason, String> {
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
        Command::May(args) => may(args),
        Command::Version(args) => version(args),
        Command::Around(args) => around(args),
    }
}

fn show(args: &Show) -> Result<Outcome, Failure> {
    let history = ask(args.asked.client()?.history(&args.id))?;
    args.asked.tell(&history, in_words)
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

fn may(args: &May) -> Result<Outcome, Failure> {
    let checked = ask(args.asked.client()?.may_pair(&args.id, &args.partner, &args.context))?;
    args.asked.tell(&checked, |c| {
        let (a, b, context) = (&c.a, &c.b, &c.context);
        match (&c.authorization, &c.reason) {
            (Some(given), _) => {
                format!(
                    "{a} lets {b} be paired with it for {context}: authorization {}\n",
                    given.authorization_id
                )
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or("no reason was given");
                format!("{a} does not let {b} be paired with it for {context}: {why}\n")
            }
        }
    })?;
    Ok(if checked.authorized { Outcome::Good } else { Outcome::Bad })
}

fn version(args: &VersionArgs) -> Result<Outcome, Failure> {
    let device = key_file(&args.device_key)?;
    let vouch = args.vouch_key.as_deref().map(key_file).transpose()?;
    let name = args.image.display();
    let image = std::fs::read(&args.image)
        .map_err(|e| Failure::Input(format!("cannot read the image {name}: {}", super::reason(&e))))?;
    let There { client, dir, sender } = args.at.open()?;
    let history = ask(client.history(&args.id))?;
    let told = Version {
        chain_id: *dir.chain_id(),
        cid: Cid::of(&args.id),
        number: history.versions.last().map_or(0, |last| last.number) + 1,
        hardware: args.hardware,
        firmware: args.firmware,
        image: lct::hash::sha256(&[&image]),
        time_ms: ask(client.time_token())?.time * 1_000,
    };
    let unsignable = |e: lct::Error| Failure::Failed(format!("the version cannot be signed: {e}"));
    let mut bytes = [0; LIFECYCLE_MAX];
    let n = told.encode(&mut bytes).map_err(unsignable)?;
    let digest = told.digest().map_err(unsignable)?;
    let mut rng = os_rng()?;
    let signature = device.sign(&digest, &mut rng);
    let vouched = vouch.map(|key| (key.public(), key.sign(&digest, &mut rng)));
    let tx = sender.send(Body::Registry(Registry::Version {
        statement: bytes[..n].to_vec(),
        signature,
        vouched,
    }))?;
    let words = format!("{} has hardware {} and firmware {}", args.id, args.hardware, args.firmware);
    args.at.tell(&tx, None, &words)
}

fn around(args: &Around) -> Result<Outcome, Failure> {
    let client = args.asked.client()?;
    let lct = ask(client.component(&args.id))?.lct_id;
    let graph = ask(client.mrh(&lct, args.depth, args.trust))?;
    args.asked.tell(&graph, |g| {
        let mut text =
            format!("{} sees {} others within {} hops\n", g.component_id, g.relationships.len(), g.depth);
        for r in &g.relationships {
            let trust = r.tensor.as_ref().map_or_else(String::new, |t| format!(", trusted {} ppm", t.score));
            let _ = writeln!(
                text,
                "  {}: {} ({}), {} hop(s), counts {} ppm{trust}",
                r.component_id, r.link, r.role, r.hops, r.weight_ppm
            );
        }
        if g.cut {
            text.push_str("  and more, which are not told\n");
        }
        text
    })
}
