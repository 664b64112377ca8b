//! `modbatt govern`: what governs a chain, and changes of it (`spec/ledger.md`, L160 to L165). An authority's account sends them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use api::encoding::Hex;
use api::genesis::ParamsText;
use api::governance::{Accounts, Decided, Governed, ValidatorView};
use lct::sign::{PublicKey, Signer as _};
use ledger::genesis::ValidatorSet;
use ledger::records::AccountRole;
use ledger::tx::{Body, Change, Governance};
use serde::Serialize;

use super::send::{At, There};
use super::verify::read_bounded;
use super::{Asked, Failure, Outcome, ask, os_rng};

/// Blocks from the last one to the one from which a change holds: two are asked for, and others may come in between.
const AHEAD: u64 = 6;
/// Longest file of parameters.
const PARAMS_MAX: usize = 64 << 10;

/// Arguments of `modbatt govern`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show parameters, validators, roots and accounts, and what is decided for later
    Show(Show),
    /// Give a key an account
    Account(AccountArgs),
    /// Take a manufacturer's root in, withdraw one, or put one in the place of another
    Root(Root),
    /// Change parameters
    Params(ParamsArgs),
    /// Hand the chain to other validators
    Validators(Validators),
    /// Have a later version of the rules hold
    Rules(Rules),
}

/// Arguments of `modbatt govern show`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Show {
    #[command(flatten)]
    asked: Asked,
}

/// From when, and by whom.
#[derive(clap::Args)]
struct Sent {
    /// First block for which it holds, at least two after the one that decides it [default: a few blocks from now]
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    #[command(flatten)]
    at: At,
}

/// Arguments of `modbatt govern account`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct AccountArgs {
    /// `authority`, `operator`, `manufacturer`, `owner`, `auditor` or `controller`
    #[arg(value_parser = role)]
    role: AccountRole,
    /// Its public key, 66 hex digits
    #[arg(value_parser = public_key)]
    key: PublicKey,
    #[command(flatten)]
    sent: Sent,
}

/// Arguments of `modbatt govern root`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Root {
    /// Root that comes, 66 hex digits
    #[arg(long, value_name = "KEY", value_parser = public_key, required_unless_present = "withdraw")]
    add: Option<PublicKey>,
    /// Root that goes, 66 hex digits
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    withdraw: Option<PublicKey>,
    /// Private key of the root that goes, 32 bytes or in a token that FILE.token names: so a manufacturer renews or withdraws
    /// its own
    #[arg(long, value_name = "FILE", requires = "withdraw")]
    root_key: Option<PathBuf>,
    #[command(flatten)]
    sent: Sent,
}

/// Arguments of `modbatt govern params`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct ParamsArgs {
    /// All parameters in JSON, as `modbatt govern show --json` has them under `params`
    file: PathBuf,
    #[command(flatten)]
    sent: Sent,
}

/// Arguments of `modbatt govern validators`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Validators {
    /// All validators to come, as KEY=POWER with a key of 64 hex digits
    #[arg(required = true, value_name = "KEY=POWER", value_parser = validator)]
    validators: Vec<ValidatorView>,
    #[command(flatten)]
    sent: Sent,
}

/// Arguments of `modbatt govern rules`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
struct Rules {
    /// Version, one above that in force
    version: u32,
    #[command(flatten)]
    sent: Sent,
}

fn role(text: &str) -> Result<AccountRole, String> {
    let found = AccountRole::ALL.iter().copied().find(|role| role.name() == text);
    found.ok_or_else(|| {
        let names: Vec<&str> = AccountRole::ALL.iter().map(|role| role.name()).collect();
        format!("it is one of {}", names.join(", "))
    })
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes = Hex::<33>::from_str(text).map_err(|e| e.to_string())?;
    PublicKey::from_slice(&bytes.0).map_err(|_| "it is no public key of P-256".into())
}

fn validator(text: &str) -> Result<ValidatorView, String> {
    let form = || "it is KEY=POWER: 64 hex digits and a number from 1".to_owned();
    let (key, power) = text.split_once('=').ok_or_else(form)?;
    let (key, power) = (key.parse().map_err(|_| form())?, power.parse().map_err(|_| form())?);
    Ok(ValidatorView { key, power })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Show(args) => show(args),
        Command::Account(args) => {
            let change = Change::Account { role: args.role, key: args.key };
            send(&args.sent, |_, _| Ok(change), &format!("{} has an account", args.key))
        }
        Command::Root(args) => root(args),
        Command::Params(args) => {
            let bytes = read_bounded(&args.file, "file of parameters", PARAMS_MAX)?;
            let name = args.file.display();
            let params: ParamsText = serde_json::from_slice(&bytes)
                .map_err(|e| Failure::Input(format!("{name} does not hold parameters: {e}")))?;
            send(&args.sent, |_, _| Ok(Change::Params(params.into())), "the parameters are others")
        }
        Command::Validators(args) => {
            let set = ValidatorSet(args.validators.iter().map(|v| (*v).into()).collect());
            send(&args.sent, |_, _| Ok(Change::Validators(set)), "the validators are others")
        }
        Command::Rules(args) => {
            let words = format!("the rules have version {}", args.version);
            send(&args.sent, |_, _| Ok(Change::Rules(args.version)), &words)
        }
    }
}

fn root(args: &Root) -> Result<Outcome, Failure> {
    let key = args.root_key.as_deref().map(|path| args.sent.at.signatory(path)).transpose()?;
    let (added, withdrawn) = (args.add, args.withdraw);
    let change = |chain_id: &lct::Digest, height| {
        let signature = match (&key, &withdrawn) {
            (Some(key), Some(goes)) => {
                let digest = Change::root_digest(chain_id, height, goes, added.as_ref());
                let mut rng = os_rng()?;
                Some(key.with(|hand| hand.sign(&digest, &mut rng))?)
            }
            _ => None,
        };
        Ok(Change::Roots { added, withdrawn, signature })
    };
    send(&args.sent, change, "the roots are others")
}

/// Sends what `change` makes for this chain and height; `words` say what is so from then on.
fn send(
    sent: &Sent,
    change: impl FnOnce(&lct::Digest, u64) -> Result<Change, Failure>,
    words: &str,
) -> Result<Outcome, Failure> {
    let There { client, dir, sender } = sent.at.open()?;
    let height = match sent.from {
        Some(height) => height,
        None => ask(client.ledger_status())?.height + AHEAD,
    };
    let change = change(dir.chain_id(), height)?;
    let tx = sender.send(Body::Govern(Governance { change, height }))?;
    sent.at.tell(&tx, None, &format!("from block {height} on {words}"))
}

/// What `modbatt govern show` tells.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    governed: Governed,
    accounts: Accounts,
}

fn show(args: &Show) -> Result<Outcome, Failure> {
    let client = args.asked.client()?;
    let governed = ask(client.governance())?;
    let accounts = ask(client.clone().at(Some(governed.height)).accounts())?;
    args.asked.tell(&Shown { governed, accounts }, in_words)
}

fn in_words(shown: &Shown) -> String {
    let g = &shown.governed;
    let mut text = format!("chain {} after block {}, rules version {}\n", g.chain_id, g.height, g.rules);
    for v in &g.validators {
        let _ = writeln!(text, "  validator {} with power {}", v.key, v.power);
    }
    for root in &g.roots {
        let _ = writeln!(text, "  root {root}");
    }
    for a in &shown.accounts.accounts {
        let _ = writeln!(text, "  {} {} ({}, from block {})", a.role, a.public_key, a.status, a.from_height);
    }
    for Decided { kind, height, .. } in &g.decided {
        let _ = writeln!(text, "  decided: {kind} from block {height} on");
    }
    text.push_str("  parameters: `modbatt govern show --json`\n");
    text
}
