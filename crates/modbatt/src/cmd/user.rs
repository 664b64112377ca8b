//! `modbatt user`: who may use the bridge of a data directory (`spec/api.md`, A131 to A137). A running bridge heeds a
//! change with the next request.

use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use bridge::access::Role;
use bridge::access::users::{Certificate, User, UserFile};
use bridge::front::tls;
use lct::sign::SigningKey;
use serde_json::json;

use super::data_dir::{DataDir, replace_private};
use super::demo::unix_ms;
use super::{Failure, Outcome, print};
use crate::custody::PassphraseArgs;

/// Arguments of `modbatt user`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "modbatt-data", global = true)]
    data_dir: PathBuf,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a user; the first one is an administrator
    Add(Add),
    /// Give a user another role
    Role {
        /// The user
        name: String,
        /// viewer, operator, technician, security or administrator
        role: Role,
    },
    /// Shut a user out, at once
    Disable {
        /// The user
        name: String,
    },
    /// Let a user in again
    Enable {
        /// The user
        name: String,
    },
    /// Show the users
    List {
        /// As one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make a token for a program, bound to a key that is drawn for it
    Token(Token),
    /// Certify an app or a gateway for mutual TLS
    Certificate(Certify),
}

#[derive(clap::Args)]
struct Add {
    /// 1 to 64 letters, digits and . _ @ -
    name: String,
    /// viewer, operator, technician, security or administrator
    #[arg(long)]
    role: Role,
    /// A component that the user may name; may be given several times [default: every one]
    #[arg(long, value_name = "ID")]
    component: Vec<String>,
    /// Days until the user is shut out [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: Option<u64>,
    /// Without a passphrase: for programs, which use tokens or certificates
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(clap::Args)]
struct Token {
    /// The user
    name: String,
    /// Where token and key are written, readable by their owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A component that the token is for; may be given several times [default: those of the user]
    #[arg(long, value_name = "ID")]
    component: Vec<String>,
    /// Days until it ends
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=365))]
    days: u64,
}

#[derive(clap::Args)]
struct Certify {
    /// The user
    name: String,
    /// Where certificate and key are written in PEM, readable by their owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

const DAY_S: u64 = 24 * 3600;

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let path = dir.path().join("users.json");
    let mut file = UserFile::read(&path).map_err(refused)?;
    let now_s = unix_ms()? / 1000;
    let said = match &args.command {
        Command::List { json } => return list(&file, *json, now_s),
        Command::Add(add) => {
            if file.users.is_empty() && (add.role != Role::Administrator || add.no_passphrase) {
                return Err(Failure::Input("the first user is an administrator with a passphrase".into()));
            }
            let mut user = User::new(&add.name, add.role, some(&add.component)).map_err(refused)?;
            user.expires_at = add.days.map(|days| now_s + days * DAY_S);
            if !add.no_passphrase {
                user.set_passphrase(add.passphrase.new_one()?.expose_secret()).map_err(refused)?;
            }
            file.add(user).map_err(refused)?;
            format!("{} is {}", add.name, add.role.word())
        }
        Command::Role { name, role } => {
            file.set(name, Some(*role), None).map_err(refused)?;
            format!("{name} is {}", role.word())
        }
        Command::Disable { name } => {
            file.set(name, None, Some(true)).map_err(refused)?;
            format!("{name} is shut out")
        }
        Command::Enable { name } => {
            file.set(name, None, Some(false)).map_err(refused)?;
            format!("{name} is let in")
        }
        Command::Token(token) => {
            let key = SigningKey::generate(&mut super::os_rng()?);
            let user = file.user(&token.name).map_err(refused)?;
            let expires_at = now_s + token.days * DAY_S;
            let text = user.give_token(&key.public(), expires_at, some(&token.component)).map_err(refused)?;
            let secret = zeroize::Zeroizing::new(hex::encode(key.to_bytes().expose()));
            let credential = json!({ "token": *text, "key": *secret, "expires_at": expires_at });
            write(&token.out, format!("{credential}\n").as_bytes())?;
            format!("token of {} in {}, for {} days", token.name, token.out.display(), token.days)
        }
        Command::Certificate(certify) => {
            let authority = tls::Authority::open_or_create(&dir.path().join("tls"))
                .map_err(|e| Failure::Failed(e.to_string()))?;
            let user = file.user(&certify.name).map_err(refused)?;
            let issued = authority
                .issue_client(&certify.name, tls::CLIENT_DAYS)
                .map_err(|e| Failure::Failed(e.to_string()))?;
            let expires_at = now_s + u64::from(tls::CLIENT_DAYS) * DAY_S;
            let fingerprint = api::Hex(issued.fingerprint);
            user.certificates.push(Certificate { fingerprint, expires_at });
            write(&certify.out, issued.pem.as_bytes())?;
            format!(
                "certificate of {} in {}, for {} days",
                certify.name,
                certify.out.display(),
                tls::CLIENT_DAYS
            )
        }
    };
    file.write(&path).map_err(refused)?;
    print(&format!("{said}\n"))?;
    Ok(Outcome::Good)
}

fn some(components: &[String]) -> Option<Vec<String>> {
    (!components.is_empty()).then(|| components.to_vec())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(replace_private(path, bytes)?)
}

fn refused(e: bridge::access::users::UsersError) -> Failure {
    Failure::Input(e.to_string())
}

fn list(file: &UserFile, as_json: bool, now_s: u64) -> Result<Outcome, Failure> {
    let mut text = String::new();
    if as_json {
        let users = file.users.iter().map(|user| {
            json!({
                "name": user.name, "role": user.role, "components": user.components,
                "active": user.is_active(now_s), "tokens": user.tokens.len(), "certificates": user.certificates.len(),
            })
        });
        text = format!("{}\n", serde_json::Value::from(users.collect::<Vec<_>>()));
    } else {
        for user in &file.users {
            let scope =
                user.components.as_ref().map_or_else(|| "every component".into(), |ids| ids.join(", "));
            let state = if user.is_active(now_s) { "active" } else { "shut out" };
            text += &format!(
                "{}  {}  {state}  {scope}  {} tokens  {} certificates\n",
                user.name,
                user.role.word(),
                user.tokens.len(),
                user.certificates.len()
            );
        }
    }
    print(&text)?;
    Ok(Outcome::Good)
}
