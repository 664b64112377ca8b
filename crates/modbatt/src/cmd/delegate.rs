//! `modbatt delegate`: who may act in the authority's place without network, what such a laptop does, and what became of
//! it (`spec/channel.md`, H160 to H165; `spec/api.md`, A70 to A72, A205, A208; the journal: `spec/ledger.md`, L93). Guide:
//! `docs/offline-service.md`.

mod bring;
mod laptop;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use api::delegation::{Acted, DONE, Delegate, Delegated, SUPERSEDED, operations, order_digest};
use api::encoding::{Blob, Fixed, Hex};
use api::entity::Carry;
use api::revocation;
use bridge::AuthorityKey;
use bridge::field::{Field, FieldError};
use lct::delegation::{Delegation, DelegationId};
use lct::id::{BindingId, Cid, PairingId, valid_component_id};
use lct::revocation::{Reason, Subject};
use lct::spk::Spk;
use ledger::verdict::Utc;
use pack::pdu::{self, delegation as op};
use serde_json::{Value, json};

use super::data_dir::{DataDir, Run, replace_file};
use super::factory::files::read_bounded;
use super::revoke;
use super::{Failure, Outcome, ask, os_rng, print};

const DAY_S: u32 = 86_400;

/// Arguments of `modbatt delegate`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// On the laptop: make its key, or show the public half of the one that is there
    Key(Key),
    /// At the installation: let the holder of a key act in the authority's place
    Issue(Issue),
    /// Say what a delegation allows; needs no network
    Show(Show),
    /// At the installation: what the laptop has to know to pair and bind, for its way
    Brief(Brief),
    /// On the laptop, without network: a whole new key agreement between two that are bound
    Rotate(laptop::Two),
    /// On the laptop, without network: new keys of two, bound and paired, for one that lost its own or for the first time
    Bind(laptop::Two),
    /// On the laptop, without network: a module in the place of another one, or a pack controller
    Replace(laptop::Replace),
    /// On the laptop, without network: end a pairing or a binding, and write it into the laptop's journal
    End(End),
    /// With network again: bring a laptop's journal to the ledger, in order
    Bring(bring::Bring),
    /// Say what became of what laptops did
    Report(Report),
    /// Take a delegation back, on the ledger and by the revocation list for the devices
    Revoke(TakeBack),
}

#[derive(clap::Args)]
struct Key {
    /// The key file, made when it is not there
    file: PathBuf,
}

#[derive(clap::Args)]
struct Installation {
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Issue {
    #[command(flatten)]
    at: Installation,
    /// The laptop's public key, 136 hexadecimal digits, as `delegate key` tells it
    #[arg(long, value_name = "KEY", value_parser = spk)]
    delegate: Spk,
    /// Component id of a pack; one to eight of them, spare ones too
    #[arg(long = "pack", value_name = "ID", required = true, num_args = 1, value_parser = component)]
    packs: Vec<String>,
    /// Component id of a pack controller that may take the place of one of them, and need not be registered yet
    #[arg(long = "spare", value_name = "ID", num_args = 1, value_parser = component)]
    spares: Vec<String>,
    /// For how many hours from now
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
    /// Longest lease of a pairing that the laptop makes, in days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=90))]
    lease_days: u32,
    /// What it may do, of `pair`, `bind` and `revoke`
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "pair,bind,revoke")]
    allow: Vec<String>,
    /// Where to write the delegation, for the laptop
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args)]
struct Show {
    /// The delegation
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct End {
    /// The delegation
    #[arg(long, value_name = "FILE")]
    delegation: PathBuf,
    /// The laptop's key file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The journal, begun with the first act
    #[arg(long, value_name = "FILE")]
    journal: PathBuf,
    #[command(flatten)]
    what: What,
    /// Why: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`
    #[arg(long, value_name = "REASON", default_value = "unspecified", value_parser = why)]
    reason: Reason,
    /// When, in Unix seconds, where this computer's clock is wrong
    #[arg(long, value_name = "SECONDS")]
    time: Option<u32>,
    #[command(flatten)]
    give: Give,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Whom messages are given, and over which host.
#[derive(clap::Args)]
pub struct Give {
    /// Address of the app's host on this machine, as `modbatt discover` tells it; it carries the messages to the buses
    #[arg(long, value_name = "URL", requires = "to")]
    host: Option<String>,
    /// Component id of whom to give them; may be repeated
    #[arg(long, value_name = "ID", requires = "host", num_args = 1, value_parser = component)]
    to: Vec<String>,
}

impl Give {
    /// Gives `messages` in order to each, and tells what each said of the last one; nothing without a host.
    pub fn give(&self, messages: &[&[u8]]) -> Result<Vec<(String, String)>, Failure> {
        let mut told = Vec::new();
        for id in self.to.iter().filter(|_| self.host.is_some()) {
            let host = self.host.as_deref().unwrap_or_default();
            let mut status = String::new();
            for message in messages {
                let carry = Carry { component_id: id.clone(), message: Blob(message.to_vec()) };
                status = ask(async { api::Client::new(host)?.carry(&carry).await })?.status;
                if status != ACCEPTED {
                    break;
                }
            }
            told.push((id.clone(), status));
        }
        Ok(told)
    }

    /// Whether everybody took them.
    pub fn verdict(told: &[(String, String)]) -> Outcome {
        match told.iter().all(|(_, status)| status == ACCEPTED) {
            true => Outcome::Good,
            false => Outcome::Bad,
        }
    }

    /// A line for each.
    pub fn words(told: &[(String, String)]) -> String {
        told.iter().map(|(id, status)| format!("{id}: {status}\n")).collect()
    }

    /// For scripts.
    pub fn object(told: &[(String, String)]) -> Value {
        told.iter().map(|(id, status)| json!({ "id": id, "status": status })).collect()
    }
}

/// Status of what a device took.
const ACCEPTED: &str = "accepted";

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Pairing id in hexadecimal: its session ends, the binding stays
    #[arg(long, value_name = "ID", value_parser = |t: &str| id(t).map(|id| Subject::Pairing(PairingId(id))))]
    pairing: Option<Subject>,
    /// Binding id in hexadecimal: its keys are erased
    #[arg(long, value_name = "ID", value_parser = |t: &str| id(t).map(|id| Subject::Binding(BindingId(id))))]
    binding: Option<Subject>,
}

#[derive(clap::Args)]
struct Brief {
    #[command(flatten)]
    at: Installation,
    /// The delegation
    #[arg(value_name = "FILE")]
    delegation: PathBuf,
    /// Where to write what the laptop has to know
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Component id of a part that is no pack of the delegation and not bound with one: whether it has an owner; may be repeated.
    /// Without that no binding of it that somebody else made gives way in the field
    #[arg(long, value_name = "ID", value_parser = component)]
    with: Vec<String>,
}

#[derive(clap::Args)]
struct Report {
    #[command(flatten)]
    at: Installation,
    /// Only this delegation, by its id in hexadecimal
    #[arg(value_name = "ID", value_parser = id)]
    id: Option<[u8; 16]>,
}

#[derive(clap::Args)]
struct TakeBack {
    #[command(flatten)]
    at: Installation,
    /// Id of the delegation in hexadecimal
    #[arg(value_name = "ID", value_parser = id)]
    id: [u8; 16],
    /// Why. With `key_compromise`, `lost` or `violation` nothing that the laptop did and did not bring yet counts
    #[arg(long, value_name = "REASON", default_value = "unspecified", value_parser = why)]
    reason: Reason,
}

/// Reads a semi-public key.
pub fn spk(text: &str) -> Result<Spk, String> {
    let bytes = text.parse::<Hex<68>>().map_err(|e| e.to_string())?;
    Spk::from_slice(&bytes.0).map_err(|e| e.to_string())
}

fn id(text: &str) -> Result<[u8; 16], String> {
    text.parse::<Hex<16>>().map(|id| id.0).map_err(|e| e.to_string())
}

fn component(text: &str) -> Result<String, String> {
    match valid_component_id(text) {
        true => Ok(text.to_owned()),
        false => Err("a component id has 3 to 64 characters of A-Z, a-z, 0-9, _ and -".into()),
    }
}

fn why(text: &str) -> Result<Reason, String> {
    revocation::reason(text).ok_or_else(|| {
        "it is `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`".into()
    })
}

/// Why a command of a laptop did not do its work.
enum Stop {
    /// Its own refusal, which has a code (H239).
    Field(FieldError),
    Other(Failure),
}

impl From<FieldError> for Stop {
    fn from(error: FieldError) -> Self {
        Stop::Field(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Other(failure)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Key(key) => make_key(key),
        Command::Issue(issue) => self::issue(issue),
        Command::Show(show) => self::show(show),
        Command::Brief(args) => brief(args),
        Command::Rotate(two) => told(two.is_json(), laptop::rotate(two)),
        Command::Bind(two) => told(two.is_json(), laptop::bind(two)),
        Command::Replace(args) => told(args.is_json(), laptop::replace(args)),
        Command::End(args) => told(args.json, end(args)),
        Command::Bring(args) => told(args.is_json(), bring::run(args)),
        Command::Report(report) => self::report(report),
        Command::Revoke(back) => take_back(back),
    }
}

/// Tells a laptop's own refusal with its code, and for scripts as an object too.
fn told(json: bool, done: Result<Outcome, Stop>) -> Result<Outcome, Failure> {
    done.or_else(|stop| match stop {
        Stop::Other(failure) => Err(failure),
        Stop::Field(error) => {
            if json {
                print(&format!("{}\n", json!({ "error": error.to_string(), "code": error.code() })))?;
            }
            Err(broken(&error))
        }
    })
}

fn make_key(args: &Key) -> Result<Outcome, Failure> {
    let key = AuthorityKey::load_or_create(&args.file).map_err(|e| Failure::Input(e.to_string()))?;
    print(&format!("{}\n", Hex(key.public().0)))?;
    Ok(Outcome::Good)
}

fn running(at: &Installation) -> Result<(DataDir, Run), Failure> {
    DataDir::open_running(&at.data_dir, "its authority can answer")
}

fn issue(args: &Issue) -> Result<Outcome, Failure> {
    let (dir, run) = running(&args.at)?;
    let allowed = operations(&args.allow)
        .filter(|all| *all > 0)
        .ok_or_else(|| Failure::Input("--allow: it is a list of `pair`, `bind` and `revoke`".into()))?;
    // The bridge would take a name that it does not know for that of a spare one.
    for name in &args.packs {
        ask(async { api::Client::new(&run.url)?.component(name).await })?;
    }
    let packs: Vec<String> = args.packs.iter().chain(&args.spares).cloned().collect();
    let mut cids: Vec<Cid> = packs.iter().map(|name| Cid::of(name)).collect();
    cids.sort();
    let named = cids.as_slice().try_into();
    let named = named.map_err(|_| Failure::Input("--pack, --spare: one to eight packs together".into()))?;
    let now = ask(async { api::Client::new(&run.url)?.time_token().await })?.time as u32;
    let wanted = Delegation {
        number: 1,
        delegate: args.delegate,
        issued: now,
        not_before: now,
        not_after: now.saturating_add(args.hours * 3_600),
        lease_s: args.lease_days * DAY_S,
        operations: allowed,
        packs: named,
    };
    let operator = super::demo::operator(&dir)?;
    let signature = operator.sign(&order_digest(dir.chain_id(), &wanted), &mut os_rng()?);
    let request = Delegate {
        creator: "modbatt delegate".into(),
        delegate: Fixed(args.delegate.0),
        not_before: wanted.not_before,
        not_after: wanted.not_after,
        lease_s: wanted.lease_s,
        operations: args.allow.clone(),
        packs,
        key: Hex(operator.public().0),
        signature: Fixed(signature.0),
    };
    let made = ask(async { api::Client::new(&run.url)?.delegate(&request).await })?;
    replace_file(&args.out, &made.delegation.0)?;
    let file = args.out.display();
    print(&if args.at.json {
        format!("{}\n", object(&made))
    } else {
        format!("{}It is in {file}; take it to the laptop together with nothing else\n", words(&made))
    })?;
    Ok(Outcome::Good)
}

fn show(args: &Show) -> Result<Outcome, Failure> {
    let bytes = read_bounded(&args.file, "delegation")?;
    let d = Delegation::read(&bytes)
        .map_err(|e| Failure::Input(format!("{} is not a delegation: {e}", args.file.display())))?;
    let id = DelegationId::of(&bytes);
    let allowed = api::delegation::operation_names(d.operations);
    print(&if args.json {
        let packs: Vec<String> = d.packs.iter().map(ToString::to_string).collect();
        let value = json!({
            "id": id.to_string(), "number": d.number, "not_before": d.not_before, "not_after": d.not_after,
            "lease_s": d.lease_s, "operations": allowed, "pack_cids": packs,
        });
        format!("{value}\n")
    } else {
        format!(
            "delegation {id}, number {}\n  holds from {} to {}\n  allows {} for {} pack(s), leases of at most {} day(s)\n",
            d.number,
            Utc(u64::from(d.not_before) * 1_000),
            Utc(u64::from(d.not_after) * 1_000),
            allowed.join(", "),
            d.packs.len(),
            d.lease_s.div_ceil(DAY_S),
        )
    })?;
    Ok(Outcome::Good)
}

/// What the laptop has to know of its packs, as the installation has it at this moment.
fn brief(args: &Brief) -> Result<Outcome, Failure> {
    let id = DelegationId::of(&read_bounded(&args.delegation, "delegation")?);
    let (_, run) = running(&args.at)?;
    let told = ask(async { api::Client::new(&run.url)?.brief(&Hex(id.0), &args.with).await })?;
    let text = serde_json::to_vec(&told).map_err(|e| Failure::Failed(e.to_string()))?;
    replace_file(&args.out, &text)?;
    let (n, parts, file) = (told.relations.len(), told.parts.len(), args.out.display());
    let owned = told.parts.iter().filter(|part| part.owned).count();
    print(&if args.at.json {
        let value = json!({
            "id": id.to_string(), "height": told.height, "relations": n, "parts": parts, "owned": owned,
        });
        format!("{value}\n")
    } else {
        format!(
            "{n} binding(s) of its packs, as of block {}, and {parts} part(s), {owned} of which have an owner; they are in {file}, \
             for the laptop\n",
            told.height
        )
    })?;
    Ok(Outcome::Good)
}

/// The laptop's key, which is there already.
fn key_of(file: &Path) -> Result<AuthorityKey, Failure> {
    if !file.exists() {
        let name = file.display();
        return Err(Failure::Input(format!("there is no key file {name}; `modbatt delegate key` makes one")));
    }
    AuthorityKey::load_or_create(file).map_err(|e| Failure::Input(e.to_string()))
}

/// Unix seconds: as given, or by this computer's clock.
fn time_of(given: Option<u32>) -> u32 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as u32);
    given.unwrap_or_else(now)
}

/// What is wrong with a file or an argument is wrong input; everything else was tried and failed.
fn broken(error: &FieldError) -> Failure {
    use FieldError::{
        Brief, Broken, Drawn, InUse, Io, Itself, NotADelegation, NotAJournal, OtherJournal, OtherKey, Subject,
    };
    let sentence = format!("{error} ({})", error.code());
    match error {
        NotADelegation
        | OtherKey
        | NotAJournal(_)
        | InUse(_)
        | OtherJournal(_)
        | Broken { .. }
        | Drawn(_)
        | Subject
        | Itself(_)
        | Brief(_)
        | Io { .. } => Failure::Input(sentence),
        _ => Failure::Failed(sentence),
    }
}

fn end(args: &End) -> Result<Outcome, Stop> {
    let Some(subject) = args.what.pairing.or(args.what.binding) else {
        return Err(Failure::Input("name a pairing or a binding".into()).into());
    };
    let delegation = read_bounded(&args.delegation, "delegation")?;
    let (key, now) = (key_of(&args.key)?, time_of(args.time));
    let mut field = Field::open(key, &delegation, &args.journal)?;
    let statement = field.end(subject, args.reason, now)?;
    let show = [&[pdu::DELEGATION, op::SHOW], delegation.as_slice()].concat();
    let revoke = [&[pdu::DELEGATION, op::REVOKE], statement.as_slice()].concat();
    let (kind, id) = revocation::kind_and_id(subject);
    let number = field.acts();
    let given = args.give.give(&[show.as_slice(), revoke.as_slice()])?;
    print(&if args.json {
        let value = json!({
            "act": number, "type": kind, "id": Hex(id).to_string(), "time": now,
            "show": hex::encode(show), "revoke": hex::encode(revoke), "given": Give::object(&given),
        });
        format!("{value}\n")
    } else {
        format!(
            "{kind} {} ends: act {number} of the journal. Give both sides these messages (1C of the security PDUs):\n\
             {}\n{}\n{}",
            Hex(id),
            hex::encode(show),
            hex::encode(revoke),
            Give::words(&given)
        )
    })?;
    Ok(Give::verdict(&given))
}

fn report(args: &Report) -> Result<Outcome, Failure> {
    let (_, run) = running(&args.at)?;
    let told = ask(async {
        let client = api::Client::new(&run.url)?;
        match args.id {
            Some(id) => client.delegation(&Hex(id)).await.map(|one| vec![one]),
            None => client.delegations().await.map(|all| all.delegations),
        }
    })?;
    print(&if args.at.json {
        format!("{}\n", json!({ "delegations": told.iter().map(object).collect::<Vec<_>>() }))
    } else if told.is_empty() {
        "nothing is delegated\n".into()
    } else {
        told.iter().map(words).collect()
    })?;
    Ok(verdict(&told))
}

fn take_back(args: &TakeBack) -> Result<Outcome, Failure> {
    let (dir, run) = running(&args.at)?;
    let id = args.id;
    let subject = Subject::Delegation(DelegationId(id));
    let list = revoke::order(&dir, &run, "modbatt delegate", subject, args.reason)?;
    print(&if args.at.json {
        format!("{}\n", json!({ "id": Hex(id).to_string(), "list": list.number }))
    } else {
        let number = list.number;
        format!("delegation {} is taken back: by the ledger, and by list {number} for the devices\n", Hex(id))
    })?;
    Ok(Outcome::Good)
}

/// Good when everything that was brought took effect.
fn verdict(told: &[Delegated]) -> Outcome {
    let all = told.iter().flat_map(|d| &d.acts).all(|act| act.outcome == DONE);
    if all { Outcome::Good } else { Outcome::Bad }
}

fn words(d: &Delegated) -> String {
    let mut text = format!(
        "delegation {}, number {}, for {}: {} from {} to {}\n",
        d.id,
        d.number,
        d.packs.join(", "),
        d.operations.join(", "),
        Utc(u64::from(d.not_before) * 1_000),
        Utc(u64::from(d.not_after) * 1_000),
    );
    if let Some(at) = d.revoked_at {
        text.push_str(&format!("  taken back at {}\n", Utc(at * 1_000)));
    }
    for act in &d.acts {
        text.push_str(&format!(
            "  act {}, {} at {}: {}\n",
            act.number,
            act.kind,
            Utc(act.done_at * 1_000),
            became(act)
        ));
    }
    text
}

/// What became of an act, and what to do about it.
fn became(act: &Acted) -> String {
    let why =
        [act.error.as_deref(), act.code.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(", ");
    match act.outcome.as_str() {
        DONE => "done".into(),
        SUPERSEDED => format!(
            "superseded, somebody else was first ({why}); what the ledger holds counts, check the pack"
        ),
        _ => {
            format!("refused ({why}); the devices may hold what the ledger does not: pair or bind them anew")
        }
    }
}

fn object(d: &Delegated) -> Value {
    let acts: Vec<Value> = d
        .acts
        .iter()
        .map(|act| {
            json!({
                "number": act.number, "kind": act.kind, "done_at": act.done_at, "recorded_at": act.recorded_at,
                "txhash": act.txhash.to_string(), "outcome": act.outcome, "code": act.code, "text": became(act),
            })
        })
        .collect();
    json!({
        "id": d.id.to_string(), "number": d.number, "packs": d.packs, "operations": d.operations,
        "not_before": d.not_before, "not_after": d.not_after, "lease_s": d.lease_s, "revoked_at": d.revoked_at,
        "acts": acts,
    })
}
