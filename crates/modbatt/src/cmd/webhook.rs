//! `modbatt webhook`: who is told by HTTP of what happens on the ledger (`spec/api.md`, A187 to A190).

use std::fmt::Write as _;
use std::path::PathBuf;

use api::encoding::{Fixed, Hex};
use api::webhook::{Action, Letters, Order, Webhook, Webhooks};
use rand_core::Rng;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, os_rng, print_answer};

/// How long an order is good for, in seconds.
const GOOD_FOR_S: u64 = 300;

/// Arguments of `modbatt webhook`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data", global = true)]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Have events delivered to a receiver; prints the key of their signatures, once
    Add {
        /// Where to: https, or http to this machine
        url: String,
        /// Only events of these types, separated by commas
        #[arg(long, value_name = "TYPES", default_value = "")]
        types: String,
        /// Only events that concern this component
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        component: String,
        /// Begin behind this event, or at `start` or `now`
        #[arg(long, value_name = "CURSOR", default_value = "now")]
        after: String,
    },
    /// Say how far every receiver is
    List,
    /// Say how far a receiver is, and list the events that were given up
    Show {
        /// Of the web hook, 32 hexadecimal digits
        id: Hex<16>,
    },
    /// Deliver again what follows an event, also to a receiver that was suspended
    Replay {
        /// Of the web hook, 32 hexadecimal digits
        id: Hex<16>,
        /// Behind this event, or at `start` or `now`
        #[arg(long, value_name = "CURSOR")]
        after: String,
    },
    /// Stop deliveries for ever
    Remove {
        /// Of the web hook, 32 hexadecimal digits
        id: Hex<16>,
    },
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = DataDir::open_running(&args.data_dir, "its bridge can deliver events")?;
    let none = || [const { String::new() }; 4];
    let (id, action, texts) = match &args.command {
        Command::List => {
            let all = ask(async { api::Client::new(&run.url)?.webhooks().await })?;
            return print_answer(&all, args.json, listed);
        }
        Command::Show { id } => {
            let letters = ask(async { api::Client::new(&run.url)?.webhook(id).await })?;
            return print_answer(&letters, args.json, shown);
        }
        Command::Add { url, types, component, after } => {
            let mut id = [0; 16];
            os_rng()?.fill_bytes(&mut id);
            (Hex(id), Action::Add, [url, types, component, after].map(Clone::clone))
        }
        Command::Replay { id, after } => {
            let [url, types, component, _] = none();
            (*id, Action::Replay, [url, types, component, after.clone()])
        }
        Command::Remove { id } => (*id, Action::Remove, none()),
    };
    let done = order(&dir, &run, id, action, texts)?;
    print_answer(&done, args.json, |hook| match (action, &hook.secret) {
        (Action::Add, Some(secret)) => format!(
            "events go to {} as web hook {}\nkey of their signatures, shown this once: {secret}\n",
            hook.url, hook.id
        ),
        (Action::Remove, _) => format!("web hook {} is removed\n", hook.id),
        _ => line(hook),
    })
}

/// Signs an order and has it done.
fn order(
    dir: &DataDir,
    run: &Run,
    id: Hex<16>,
    action: Action,
    [url, types, component, after]: [String; 4],
) -> Result<Webhook, Failure> {
    let operator = super::demo::operator(dir)?;
    let now = ask(async { api::Client::new(&run.url)?.time_token().await })?.time;
    let mut order = Order {
        creator: "modbatt webhook".into(),
        id,
        action,
        url,
        types,
        component,
        after,
        expires_at: now + GOOD_FOR_S,
        key: Hex(operator.public().0),
        signature: Fixed([0; 64]),
    };
    order.signature = Fixed(operator.sign(&order.digest(dir.chain_id()), &mut os_rng()?).0);
    ask(async { api::Client::new(&run.url)?.order_webhook(&order).await })
}

fn line(hook: &Webhook) -> String {
    let at = hook.cursor.map_or_else(|| "the start".into(), |id| id.to_string());
    let trouble = match (hook.tries, hook.error.as_str()) {
        (0, _) => String::new(),
        (tries, why) => format!(", next event tried {tries} times: {why}"),
    };
    format!(
        "{} {} {}: at {at}, {} delivered, {} given up{trouble}\n",
        hook.id, hook.state, hook.url, hook.delivered, hook.dead
    )
}

fn listed(all: &Webhooks) -> String {
    match all.webhooks[..] {
        [] => "there are no web hooks\n".into(),
        _ => all.webhooks.iter().map(line).collect(),
    }
}

fn shown(letters: &Letters) -> String {
    let mut text = line(&letters.webhook);
    for letter in &letters.dead_letters {
        let at = api::event::rfc3339(letter.at);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  {} given up at {at} after {} tries: {}",
            letter.event, letter.tries, letter.error
        );
    }
    text
}
