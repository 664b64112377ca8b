//! `modbatt config`: the parameters of a pack as the ledger has them (`spec/ledger.md`, L175 to L177), and the settings of the
//! service checked (`spec/api.md`, A221).

use std::fmt::Write as _;

use api::registry::Settings;
use lct::id::Cid;
use ledger::config::{Parameter, SETTABLE};
use ledger::tx::{Body, Config};

use super::order::component;
use super::send::{At, There};
use super::{Asked, Failure, Outcome, ask, serve};

/// Arguments of `modbatt config`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what is set of a pack, and what it was last reported to have
    Show(Show),
    /// Set a parameter of a pack on the ledger; a limit can only be tightened
    Set(SetArgs),
    /// Check the settings of `modbatt serve`, say what they come to and what they risk; the same as its --check
    Check(Box<serve::Args>),
}

/// Arguments of `modbatt config show`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Show {
    /// Component id of the pack
    #[arg(value_parser = component)]
    pack: String,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `modbatt config set`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct SetArgs {
    /// Component id of the pack; the account that sends it owns it, or is an authority
    #[arg(value_parser = component)]
    pack: String,
    /// Its name, for example `max_charge_current_ma`, or its number
    #[arg(value_parser = parameter)]
    parameter: Parameter,
    /// The value, in the unit that the name ends with
    #[arg(allow_negative_numbers = true)]
    value: i32,
    #[command(flatten)]
    at: At,
}

fn parameter(text: &str) -> Result<Parameter, String> {
    let found = SETTABLE.into_iter().find(|p| p.name == text || p.id.to_string() == text);
    found.ok_or_else(|| {
        let names: Vec<&str> = SETTABLE.iter().map(|p| p.name).collect();
        format!("it is one of {}", names.join(", "))
    })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Show(args) => show(args),
        Command::Set(args) => set(args),
        Command::Check(args) => serve::check(args),
    }
}

fn show(args: &Show) -> Result<Outcome, Failure> {
    let settings = ask(args.asked.client()?.config(&args.pack))?;
    args.asked.tell(&settings, in_words)
}

fn in_words(settings: &Settings) -> String {
    if settings.settings.is_empty() {
        return format!("nothing is set of {}, and nothing was reported\n", settings.component_id);
    }
    let mut text = String::new();
    for s in &settings.settings {
        let name = s.name.clone().unwrap_or_else(|| format!("parameter {}", s.parameter));
        let pack = match (s.local_version, s.conflict) {
            (0, _) => "the pack was not heard about it".to_owned(),
            (_, true) => format!("the pack has {}: they disagree", s.local),
            (_, false) => format!("the pack has {}", s.local),
        };
        let _ = writeln!(text, "{name}: {} (version {}); {pack}", s.value, s.version);
    }
    text
}

fn set(args: &SetArgs) -> Result<Outcome, Failure> {
    let There { client, sender, .. } = args.at.open()?;
    let known = ask(client.config(&args.pack))?.settings;
    let version = known.iter().find(|s| s.parameter == args.parameter.id).map_or(0, |s| s.version);
    let (cid, parameter, value) = (Cid::of(&args.pack), args.parameter.id, args.value);
    let tx = sender.send(Body::ConfigSet(Config { cid, parameter, version, value, command: None }))?;
    let words = format!("{} of {} is {value}, version {}", args.parameter.name, args.pack, version + 1);
    args.at.tell(&tx, None, &words)
}
