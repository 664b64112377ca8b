//! What a laptop does to the parts of a pack without network: new keys of a pairing, new keys altogether, a module in the place
//! of another one (`spec/channel.md`, H226 to H229). The app's host carries its messages (`spec/api.md`, A96).

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use api::delegation::Brief;
use api::encoding::{Blob, Hex};
use api::entity::Carry;
use api::problem::code;
use bridge::AuthorityKey;
use bridge::field::ceremony::{Ground, NoAnswer, Way};
use bridge::field::{Exchanged, Field, FieldError, Journal, Place};
use lct::revocation::{Reason, Subject};
use pack::pdu::{self, delegation as op};
use serde_json::{Value, json};

use super::{ACCEPTED, Stop, component, key_of, time_of, why};
use crate::cmd::factory::files::read_bounded;
use crate::cmd::{Failure, Outcome, ask, print};

/// Pause before a device, or a host that is busy, is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a busy host is asked.
const BUSY_TRIES: u32 = 120;

/// A laptop at a pack.
#[derive(clap::Args)]
pub struct Laptop {
    /// What the laptop was told before it left, made by `delegate brief`
    #[arg(long, value_name = "FILE")]
    brief: PathBuf,
    /// The laptop's key file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The journal, begun with the first act
    #[arg(long, value_name = "FILE")]
    journal: PathBuf,
    /// Address of the app's host on this machine, as `modbatt discover` tells it; it carries the messages to the buses
    #[arg(long, value_name = "URL")]
    host: String,
    /// When, in Unix seconds, where this computer's clock is wrong
    #[arg(long, value_name = "SECONDS")]
    time: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Two that are, or will be, bound to each other.
#[derive(clap::Args)]
pub struct Two {
    /// Component id of the side nearer the app
    #[arg(value_name = "A", value_parser = component)]
    a: String,
    /// Component id of the other side
    #[arg(value_name = "B", value_parser = component)]
    b: String,
    #[command(flatten)]
    at: Laptop,
}

impl Two {
    pub(super) fn is_json(&self) -> bool {
        self.at.json
    }
}

/// Arguments of `delegate replace`.
#[derive(clap::Args)]
pub struct Replace {
    /// Component id of the module or pack controller that was taken out
    #[arg(value_name = "OLD", value_parser = component)]
    old: String,
    /// Component id of the one that is in its place
    #[arg(value_name = "NEW", value_parser = component)]
    new: String,
    /// Why the binding of a module ends: `unspecified`, `key_compromise`, `lost`, `retired` or `violation`; those of a pack controller
    /// give way, `superseded`
    #[arg(long, value_name = "REASON", default_value = "retired", value_parser = why_replaced)]
    reason: Reason,
    #[command(flatten)]
    at: Laptop,
}

impl Replace {
    pub(super) fn is_json(&self) -> bool {
        self.at.json
    }
}

/// `superseded` is what gave way between the same two ([`Ground::gone`]).
fn why_replaced(text: &str) -> Result<Reason, String> {
    match why(text) {
        Ok(reason) if reason != Reason::Superseded => Ok(reason),
        _ => Err("it is `unspecified`, `key_compromise`, `lost`, `retired` or `violation`".into()),
    }
}

/// A laptop that may act, and what it knows.
struct Open {
    field: Field,
    ground: Ground,
    now: u32,
}

impl Laptop {
    fn open(&self) -> Result<Open, Stop> {
        let bytes = read_bounded(&self.brief, "brief")?;
        let brief: Brief = serde_json::from_slice(&bytes)
            .map_err(|e| FieldError::Brief(format!("{} is none: {e}", self.brief.display())))?;
        let key: AuthorityKey = key_of(&self.key)?;
        let field = Field::open(key, &brief.delegation.0, &self.journal)?;
        let journal = Journal::read(&self.journal)?;
        let ground = Ground::new(&brief, &journal)?;
        Ok(Open { field, ground, now: time_of(self.time) })
    }

    /// Gives a component a message over the host, and waits for the host where it is busy.
    fn carry(&self, who: &str, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        let fault = |why: String| NoAnswer { silent: false, why };
        let carry = Carry { component_id: who.to_owned(), message: Blob(message.to_vec()) };
        for _ in 0..BUSY_TRIES {
            let given = ask(async { Ok(api::Client::new(&self.host)?.carry(&carry).await) });
            match given.map_err(|e| fault(e.to_string()))? {
                Ok(carried) => return Ok(carried.answer.0),
                Err(e) if e.code() == Some(code::BUSY) => thread::sleep(PAUSE),
                Err(e) => {
                    let silent = matches!(e.code(), Some(code::SILENT | code::COMPONENT_NOT_FOUND));
                    return Err(NoAnswer { silent, why: e.to_string() });
                }
            }
        }
        Err(fault("the host is busy, with other ceremonies or with what waits for the ledger".into()))
    }

    fn say(&self, what: &str, object: Value) -> Result<(), Failure> {
        print(&if self.json { format!("{object}\n") } else { format!("{what}\n") })
    }
}

/// What is told beside every act.
const LATER: &str = "`modbatt delegate bring` tells the ledger";

/// `delegate rotate`: a whole new key agreement between two that are bound.
pub(super) fn rotate(args: &Two) -> Result<Outcome, Stop> {
    let Two { a, b, at } = args;
    let Open { mut field, mut ground, now } = at.open()?;
    let mut carry = |who: &str, message: &[u8]| at.carry(who, message);
    let mut way = Way { carry: &mut carry, pause: PAUSE };
    let pairing = field.pair(&mut ground, [a, b], now, &mut way)?;
    let (act, id) = (field.acts(), Hex(pairing.0));
    at.say(
        &format!("{a} and {b} are paired anew, {id}: act {act} of the journal; {LATER}"),
        json!({ "act": act, "a": a, "b": b, "pairing_id": id.to_string(), "time": now }),
    )?;
    Ok(Outcome::Good)
}

/// `delegate bind`: new keys of both, and a pairing under them.
pub(super) fn bind(args: &Two) -> Result<Outcome, Stop> {
    let Two { a, b, at } = args;
    let Open { mut field, mut ground, now } = at.open()?;
    let mut carry = |who: &str, message: &[u8]| at.carry(who, message);
    let mut way = Way { carry: &mut carry, pause: PAUSE };
    let (binding, pairing) = field.bind_and_pair(&mut ground, [a, b], None, now, &mut way)?;
    let (act, binding, pairing) = (field.acts(), Hex(binding.0), Hex(pairing.0));
    at.say(
        &format!("{a} and {b} are bound and paired with new keys, {binding}: up to act {act} of the journal; {LATER}"),
        json!({
            "act": act, "a": a, "b": b, "binding_id": binding.to_string(), "pairing_id": pairing.to_string(),
            "time": now,
        }),
    )?;
    Ok(Outcome::Good)
}

/// `delegate replace`, of a module: the new one is bound and paired first, then the binding of the old one ends. What was done
/// before is not done again.
pub(super) fn replace(args: &Replace) -> Result<Outcome, Stop> {
    let Replace { old, new, reason, at } = args;
    let Open { mut field, mut ground, now } = at.open()?;
    if field.names(old) {
        return exchange(args, &mut field, &mut ground, now);
    }
    let Place { pack, binding: ends, ended } = Place::of(&ground, old, new)?;
    field.may_end(&pack, old, now)?;
    let mut carry = |who: &str, message: &[u8]| at.carry(who, message);
    let mut way = Way { carry: &mut carry, pause: PAUSE };
    let pair = [pack.as_str(), new.as_str()];
    if !ground.is_paired(pair) {
        field.may_pair(&pack, new, now)?;
    }
    if ground.binding(pair).is_none() {
        field.bind(&mut ground, pair, None, now, &mut way)?;
    }
    if !ground.is_paired(pair) {
        field.pair(&mut ground, pair, now, &mut way)?;
    }
    let subject = Subject::Binding(ends);
    let statement = match ended {
        Some((reason, time)) => field.ending(subject, reason, time)?,
        None => field.end(subject, *reason, now)?,
    };
    let show = [&[pdu::DELEGATION, op::SHOW], field.delegation()].concat();
    let message = [&[pdu::DELEGATION, op::REVOKE], statement.as_slice()].concat();
    let told = at.carry(&pack, &show).and_then(|_| at.carry(&pack, &message));
    let (act, ended) = (field.acts(), Hex(ends.0));
    let status = match &told {
        Ok(answer) if answer.last() == Some(&(pdu::Status::Accepted as u8)) => ACCEPTED.to_owned(),
        Ok(_) => format!("{pack} does not end the binding of {old}: it has it no more, or it refuses"),
        Err(no) => no.why.clone(),
    };
    at.say(
        &format!(
            "{new} is bound to {pack} and paired with it in the place of {old}, whose binding {ended} ends: up to act {act} of \
             the journal; {LATER}\n{pack}: {status}"
        ),
        json!({
            "act": act, "old": old, "new": new, "pack": pack, "ended": ended.to_string(), "status": status, "time": now,
        }),
    )?;
    Ok(if status == ACCEPTED { Outcome::Good } else { Outcome::Bad })
}

/// `delegate replace`, of a pack controller: app and modules follow from the one that broke to another one.
fn exchange(args: &Replace, field: &mut Field, ground: &mut Ground, now: u32) -> Result<Outcome, Stop> {
    let Replace { old, new, at, .. } = args;
    let mut carry = |who: &str, message: &[u8]| at.carry(who, message);
    let mut way = Way { carry: &mut carry, pause: PAUSE };
    let Exchanged { app, modules, left } = field.exchange(ground, [old, new], now, &mut way)?;
    let act = field.acts();
    let said = |(id, why): &(String, FieldError)| format!("{id} did not follow: {why} ({})\n", why.code());
    let object =
        |(id, why): &(String, FieldError)| json!({ "id": id, "why": why.to_string(), "code": why.code() });
    let end = match left.is_empty() {
        true => format!("`modbatt replace {old} {new}` then revokes {old}"),
        false => format!("this command again has the others follow, or then `modbatt replace {old} {new}`"),
    };
    at.say(
        &format!(
            "{}{new} is in the place of {old}; with it are paired the app and {modules} module(s): up to act {act} of the \
             journal; {LATER}, and {end}",
            left.iter().map(said).collect::<String>()
        ),
        json!({
            "act": act, "old": old, "new": new, "app": app, "modules": modules,
            "left": left.iter().map(object).collect::<Vec<_>>(), "replaced": left.is_empty(), "time": now,
        }),
    )?;
    Ok(if left.is_empty() { Outcome::Good } else { Outcome::Bad })
}
