//! `modbatt user`: who may use the bridge of a data directory (`spec/api.md`, A131 to A137). A running bridge heeds a
//! change with the next request.

use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};
use bridge::access::Role;
use bridge::access::users::{Certificate, User, UserFile, UsersError};
use bridge::front::tls;
use lct::sign::SigningKey;
use serde_json::json;
use zeroize::Zeroizing;

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
    /// Give a user another passphrase
    Passphrase(Passphrase),
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
    /// Draw a passphrase, print it once, and have the user set another one with the first login, within 7 days
    #[arg(long, conflicts_with_all = ["passphrase_file", "no_passphrase"])]
    once: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(clap::Args)]
struct Passphrase {
    /// The user
    name: String,
    /// Draw it, print it once, and have the user set another one with the first login, within 7 days
    #[arg(long, conflicts_with = "passphrase_file")]
    once: bool,
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
/// For how long a passphrase that was drawn for somebody opens, in days.
const ONCE_DAYS: u64 = 7;

/// File of the users in a data directory.
pub fn file(dir: &DataDir) -> PathBuf {
    dir.path().join("users.json")
}

/// A passphrase that was drawn for a user, and until when it opens, Unix seconds.
pub struct Drawn {
    /// Shown once.
    pub passphrase: Zeroizing<String>,
    /// The end.
    pub until: u64,
}

impl Drawn {
    /// For people.
    pub fn in_words(&self, name: &str) -> String {
        format!(
            "passphrase of {name}, shown this once: {}\nit opens for {ONCE_DAYS} days, and only to set another one: \
             `new_passphrase` of POST /api/v1/sessions, or `modbatt user passphrase {name}`",
            *self.passphrase
        )
    }
}

/// The first administrator of a data directory that is about to be made (A220).
pub struct First {
    user: User,
    /// The passphrase, where nobody chose one.
    pub drawn: Option<Drawn>,
}

impl First {
    /// With the passphrase of a file, or with one that is drawn.
    pub fn new(name: &str, passphrase: Option<&PassphraseArgs>) -> Result<Self, Failure> {
        let chosen = passphrase.map(PassphraseArgs::new_one).transpose()?;
        let mut user = User::new(name, Role::Administrator, None)?;
        let drawn = set(&mut user, chosen.as_ref(), unix_ms()? / 1000)?;
        Ok(First { user, drawn })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.user.name
    }

    /// Writes it to the directory.
    pub fn keep(&self, dir: &DataDir) -> Result<(), Failure> {
        UserFile::change(&file(dir), |file| Ok(file.add(self.user.clone())?))
    }
}

/// Gives a user the passphrase that somebody chose, or one that is drawn.
fn set(user: &mut User, chosen: Option<&SecretString>, now_s: u64) -> Result<Option<Drawn>, Failure> {
    let Some(chosen) = chosen else {
        let passphrase = user.give_passphrase_once(now_s + ONCE_DAYS * DAY_S)?;
        return Ok(Some(Drawn { passphrase, until: now_s + ONCE_DAYS * DAY_S }));
    };
    user.set_passphrase(chosen.expose_secret())?;
    Ok(None)
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let path = file(&dir);
    let now_s = unix_ms()? / 1000;
    // Asked for before anybody else has to wait for the file.
    let chosen = match &args.command {
        Command::List { json } => return list(&UserFile::read(&path)?, *json, now_s),
        Command::Add(add) if !add.once && !add.no_passphrase => Some(add.passphrase.new_one()?),
        Command::Passphrase(another) if !another.once => Some(another.passphrase.new_one()?),
        _ => None,
    };
    let said = UserFile::change(&path, |file| change(file, &args.command, &dir, (now_s, chosen.as_ref())))?;
    print(&format!("{said}\n"))?;
    Ok(Outcome::Good)
}

/// Does what a command wants of the users, and says it in words.
fn change(
    file: &mut UserFile,
    command: &Command,
    dir: &DataDir,
    (now_s, chosen): (u64, Option<&SecretString>),
) -> Result<String, Failure> {
    Ok(match command {
        // Changes nothing; `run` answers it.
        Command::List { .. } => String::new(),
        Command::Add(add) => {
            if file.users.is_empty() && (add.role != Role::Administrator || add.no_passphrase) {
                return Err(Failure::Input("the first user is an administrator with a passphrase".into()));
            }
            let mut user = User::new(&add.name, add.role, some(&add.component))?;
            user.expires_at = add.days.map(|days| now_s + days * DAY_S);
            let said = format!("{} is {}", add.name, add.role.word());
            let drawn = if add.no_passphrase { None } else { set(&mut user, chosen, now_s)? };
            file.add(user)?;
            drawn.map_or(said.clone(), |drawn| format!("{said}\n{}", drawn.in_words(&add.name)))
        }
        Command::Passphrase(another) => {
            let drawn = set(file.user(&another.name)?, chosen, now_s)?;
            drawn.map_or_else(
                || format!("{} has another passphrase", another.name),
                |drawn| drawn.in_words(&another.name),
            )
        }
        Command::Role { name, role } => {
            file.set(name, Some(*role), None, now_s)?;
            format!("{name} is {}", role.word())
        }
        Command::Disable { name } => {
            file.set(name, None, Some(true), now_s)?;
            format!("{name} is shut out")
        }
        Command::Enable { name } => {
            file.set(name, None, Some(false), now_s)?;
            format!("{name} is let in")
        }
        Command::Token(token) => {
            let key = SigningKey::generate(&mut super::os_rng()?);
            let user = file.user(&token.name)?;
            let expires_at = now_s + token.days * DAY_S;
            let text = user.give_token(&key.public(), expires_at, some(&token.component))?;
            let secret = Zeroizing::new(hex::encode(key.to_bytes().expose()));
            let credential = json!({ "token": *text, "key": *secret, "expires_at": expires_at });
            write(&token.out, format!("{credential}\n").as_bytes())?;
            format!("token of {} in {}, for {} days", token.name, token.out.display(), token.days)
        }
        Command::Certificate(certify) => {
            let authority = tls::Authority::open_or_create(&dir.path().join("tls"))
                .map_err(|e| Failure::Failed(e.to_string()))?;
            let user = file.user(&certify.name)?;
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
    })
}

fn some(components: &[String]) -> Option<Vec<String>> {
    (!components.is_empty()).then(|| components.to_vec())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(replace_private(path, bytes)?)
}

impl From<UsersError> for Failure {
    fn from(error: UsersError) -> Self {
        Failure::Input(error.to_string())
    }
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
