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
use bridge::field::ceremony::{Ground, Way};
use bridge::field::{Field, Journal};
use lct::revocation::{Reason, Subject};
use pack::pdu::{self, delegation as op};
use serde_json::{Value, json};

use super::{ACCEPTED, broken, component, key_of, time_of, why};
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

/// Arguments of `delegate replace`.
#[derive(clap::Args)]
pub struct Replace {
    /// Component id of the module that was taken out
    #[arg(value_name = "OLD", value_parser = component)]
    old: String,
    /// Component id of the one that is in its place
    #[arg(value_name = "NEW", value_parser = component)]
    new: String,
    /// Why the old binding ends: `unspecified`, `key_compromise`, `lost`, `retired` or `violation`
    #[arg(long, value_name = "REASON", default_value = "retired", value_parser = why_replaced)]
    reason: Reason,
    #[command(flatten)]
    at: Laptop,
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
    fn open(&self) -> Result<Open, Failure> {
        let bytes = read_bounded(&self.brief, "brief")?;
        let brief: Brief = serde_json::from_slice(&bytes).map_err(|e| {
            let name = self.brief.display();
            Failure::Input(format!(
                "{name} is not a brief ({e}); `modbatt delegate brief` makes one, with network"
            ))
        })?;
        let key: AuthorityKey = key_of(&self.key)?;
        let field = Field::open(key, &brief.delegation.0, &self.journal).map_err(broken)?;
        let journal = Journal::read(&self.journal).map_err(broken)?;
        let ground = Ground::new(&brief, &journal).map_err(broken)?;
        Ok(Open { field, ground, now: time_of(self.time) })
    }

    /// Gives a component a message over the host, and waits for the host where it is busy.
    fn carry(&self, who: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let carry = Carry { component_id: who.to_owned(), message: Blob(message.to_vec()) };
        for _ in 0..BUSY_TRIES {
            let given = ask(async { Ok(api::Client::new(&self.host)?.carry(&carry).await) });
            match given.map_err(|e| e.to_string())? {
                Ok(carried) => return Ok(carried.answer.0),
                Err(e) if e.code() == Some(code::BUSY) => thread::sleep(PAUSE),
                Err(e) => return Err(e.to_string()),
            }
        }
        Err("the host is busy, with other ceremonies or with what waits for the ledger".into())
    }

    fn say(&self, what: &str, object: Value) -> Result<(), Failure> {
        print(&if self.json { format!("{object}\n") } else { format!("{what}\n") })
    }
}

/// What is told beside every act.
const LATER: &str = "`modbatt delegate bring` tells the ledger";

/// `delegate rotate`: a whole new key agreement between two that are bound.
pub fn rotate(args: &Two) -> Result<Outcome, Failure> {
    let Two { a, b, at } = args;
    let Open { mut field, mut ground, now } = at.open()?;
    let mut carry = |who: &str, message: &[u8]| at.carry(who, message);
    let mut way = Way { carry: &mut carry, pause: PAUSE };
    let pairing = field.pair(&mut ground, [a, b], now, &mut way).map_err(broken)?;
    let (act, id) = (field.acts(), Hex(pairing.0));
    at.say(
        &format!("{a} and {b} are paired anew, {id}: act {act} of the journal; {LATER}"),
        json!({ "act": act, "a": a, "b": b, "pairing_id": id.to_string(), "time": now }),
    )?;
    Ok(Outcome::Good)
}

/// `delegate bind`: new keys of both, and a pairing under them.
pub fn bind(args: &Two) -> Result<Outcome, Failure> {
    let Two { a, b, at } = args;
    let Open { mut field, mut ground, now } = at.open()?;
    let mut carry = |who: &str, message: &[u8]| at.carry(who, message);
    let mut way = Way { carry: &mut carry, pause: PAUSE };
    // What is bound and cannot be paired would be given up by the next command, again and again.
    field.may_pair(a, b, now).map_err(broken)?;
    // Cut off between the two, it goes on with the pairing; where devices answer that it does not work any more both get other
    // keys.
    let resumed = match ground.unpaired([a, b]) {
        None => None,
        Some(binding) => match field.pair(&mut ground, [a, b], now, &mut way) {
            Ok(pairing) => Some((binding, pairing)),
            Err(error) if error.is_answer() => None,
            Err(error) => return Err(broken(error)),
        },
    };
    let (binding, pairing) = match resumed {
        Some(both) => both,
        None => {
            let binding = field.bind(&mut ground, [a, b], now, &mut way).map_err(broken)?;
            let pairing = field.pair(&mut ground, [a, b], now, &mut way).map_err(|e| {
                Failure::Failed(format!(
                    "{a} and {b} are bound, and not paired yet ({e}); the same command again pairs them"
                ))
            })?;
            (binding, pairing)
        }
    };
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

/// `delegate replace`: the new module is bound and paired first, then the binding of the old one ends. What was done before is
/// not done again.
pub fn replace(args: &Replace) -> Result<Outcome, Failure> {
    let Replace { old, new, reason, at } = args;
    let Open { mut field, mut ground, now } = at.open()?;
    let (pack, ends, ended) = match (ground.above(old), ground.gone(old)) {
        (Some((pack, id)), _) => (pack.to_owned(), id, None),
        // Cut off after its last act, of which the pack may not have heard.
        (None, Some(gone)) => (gone.sides[0].clone(), gone.binding_id, Some((gone.reason, gone.time))),
        (None, None) => {
            return Err(Failure::Failed(format!(
                "this laptop knows of no binding of the module {old}: it ended before the brief was made, or its pack is none \
                 of the delegation; where `modbatt delegate bind` was cut off between the two, give that again first"
            )));
        }
    };
    if old == new {
        return Err(Failure::Input(format!(
            "nobody takes its own place; `modbatt delegate bind {pack} {old}` gives it new keys"
        )));
    }
    field.may_end(&pack, old, now).map_err(broken)?;
    let mut carry = |who: &str, message: &[u8]| at.carry(who, message);
    let mut way = Way { carry: &mut carry, pause: PAUSE };
    let pair = [pack.as_str(), new.as_str()];
    if !ground.is_paired(pair) {
        field.may_pair(&pack, new, now).map_err(broken)?;
    }
    if ground.binding(pair).is_none() {
        field.bind(&mut ground, pair, now, &mut way).map_err(broken)?;
    }
    if !ground.is_paired(pair) {
        field.pair(&mut ground, pair, now, &mut way).map_err(broken)?;
    }
    let subject = Subject::Binding(ends);
    let statement = match ended {
        Some((reason, time)) => field.ending(subject, reason, time),
        None => field.end(subject, *reason, now),
    };
    let statement = statement.map_err(broken)?;
    let show = [&[pdu::DELEGATION, op::SHOW], field.delegation()].concat();
    let message = [&[pdu::DELEGATION, op::REVOKE], statement.as_slice()].concat();
    let told = at.carry(&pack, &show).and_then(|_| at.carry(&pack, &message));
    let (act, ended) = (field.acts(), Hex(ends.0));
    let status = match &told {
        Ok(answer) if answer.last() == Some(&(pdu::Status::Accepted as u8)) => ACCEPTED.to_owned(),
        Ok(_) => format!("{pack} does not end the binding of {old}: it has it no more, or it refuses"),
        Err(why) => why.clone(),
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
