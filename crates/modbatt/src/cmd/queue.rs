//! `modbatt queue`: wishes that wait on the ledger for a device that is not there (`spec/ledger.md`, L151 to L153).

use std::fmt::Write as _;

use api::encoding::Hex;
use api::queue::{PRIORITIES, Request, Waiting};
use lct::id::Cid;
use lct::revocation::Reason;
use ledger::records::registry::{NO_PROXY, QueueId, Wish};
use ledger::tx::{Body, Registry};

use super::component::parse_reason;
use super::order::component;
use super::send::{At, There};
use super::{Asked, Failure, Outcome, ask};

/// Arguments of `modbatt queue`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what waits for a component
    Show(Show),
    /// Have the ledger keep the wish that two components are paired, or paired no more
    Ask(AskArgs),
    /// Have the ledger look whether what waits for a component has come about
    Try(Try),
    /// Take a request back
    Cancel(Cancel),
}

/// Arguments of `modbatt queue show`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Show {
    /// Component id
    #[arg(value_parser = component)]
    id: String,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `modbatt queue ask`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct AskArgs {
    /// Component id of the one that asks
    #[arg(value_parser = component)]
    initiator: String,
    /// Component id of the other one
    #[arg(value_parser = component)]
    target: String,
    /// `pair` or `unpair`
    #[arg(long, default_value = "pair", value_parser = wish)]
    wish: Wish,
    /// `low`, `normal`, `high` or `critical`
    #[arg(long, default_value = "normal", value_parser = priority)]
    priority: u8,
    /// Component id of one that asks in the first one's place
    #[arg(long, value_parser = component)]
    proxy: Option<String>,
    /// What the pairing is for
    #[arg(long, default_value = api::pairing::BATTERY_MANAGEMENT)]
    context: String,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt queue try`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Try {
    /// Component id
    #[arg(value_parser = component)]
    id: String,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt queue cancel`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Cancel {
    /// The request, as `modbatt queue show` names it
    request: Hex<16>,
    /// Why: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`
    #[arg(long, default_value = "unspecified", value_parser = parse_reason)]
    reason: Reason,
    #[command(flatten)]
    at: At,
}

fn wish(text: &str) -> Result<Wish, String> {
    let found = Wish::ALL.iter().copied().find(|wish| wish.name() == text);
    found.ok_or_else(|| "it is `pair` or `unpair`".into())
}

fn priority(text: &str) -> Result<u8, String> {
    let found = (1..).zip(PRIORITIES).find(|(_, name)| *name == text);
    found.map(|(code, _)| code).ok_or_else(|| "it is `low`, `normal`, `high` or `critical`".into())
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Show(args) => {
            let waiting = ask(args.asked.client()?.queue(&args.id))?;
            args.asked.tell(&waiting, in_words)
        }
        Command::Ask(args) => request(args),
        Command::Try(args) => {
            let There { sender, .. } = args.at.open()?;
            let cid = Cid::of(&args.id);
            let tx = sender.send(Body::Registry(Registry::Process { cid }))?;
            args.at.tell(&tx, None, &format!("what waits for {} was tried", args.id))
        }
        Command::Cancel(args) => {
            let There { sender, .. } = args.at.open()?;
            let id = QueueId(args.request.0);
            let tx = sender.send(Body::Registry(Registry::Cancel { id, reason: args.reason }))?;
            args.at.tell(&tx, Some(&id.0), "the request is taken back")
        }
    }
}

fn in_words(waiting: &Waiting) -> String {
    if waiting.requests.is_empty() {
        return format!("nothing waits for {}\n", waiting.component_id);
    }
    let mut text = String::new();
    for Request { request_id, wish, priority, target, context, tries, .. } in &waiting.requests {
        let _ = writeln!(
            text,
            "{request_id}: {wish} with {target} for {context}, priority {priority}, tried {tries} times"
        );
    }
    text
}

fn request(args: &AskArgs) -> Result<Outcome, Failure> {
    let There { sender, .. } = args.at.open()?;
    let tx = sender.send(Body::Registry(Registry::Queue {
        initiator: Cid::of(&args.initiator),
        target: Cid::of(&args.target),
        wish: args.wish as u8,
        priority: args.priority,
        proxy: args.proxy.as_deref().map_or(NO_PROXY, Cid::of),
        context: args.context.clone(),
    }))?;
    let id = QueueId::of(&tx);
    let words = format!(
        "it waits that {} and {} {}: request {}",
        args.initiator,
        args.target,
        if args.wish == Wish::Pair { "are paired" } else { "are paired no more" },
        hex::encode(id.0)
    );
    args.at.tell(&tx, Some(&id.0), &words)
}
