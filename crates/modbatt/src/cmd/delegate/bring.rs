//! `delegate bring`: what a laptop did comes to the ledger, in order, and what it bound to the bridge.

use std::path::PathBuf;

use api::binding::Adopt;
use api::delegation::{DONE, Delegated, Kept, Made, Stated};
use api::encoding::Hex;
use api::problem::code;
use api::{Client, ClientError};
use bridge::field::ceremony::note;
use bridge::field::{FieldError, Journal};
use lct::delegation::DelegationId;
use lct::sign::Signature;
use ledger::tx::Body;
use serde_json::json;

use super::{Installation, Stop, broken, object, running, verdict, words};
use crate::cmd::data_dir::{DataDir, Run};
use crate::cmd::ledger::{Unrecorded, offer, submit};
use crate::cmd::{Failure, Outcome, ask, print};

/// Label in the bridge's log.
const CREATOR: &str = "modbatt delegate";

/// Arguments of `delegate bring`.
#[derive(clap::Args)]
pub struct Bring {
    #[command(flatten)]
    at: Installation,
    /// The laptop's journal
    #[arg(long, value_name = "FILE")]
    journal: PathBuf,
    /// The app's machine was on the network since, and its `jobs waiting` came to 0: asked for where an act ends a binding,
    /// for the ledger takes nothing more that was signed with the keys of one that ended
    #[arg(long)]
    caught_up: bool,
    /// Go on where the ledger refuses the registration of a part or a note cannot be read: what binds that part is then refused too
    #[arg(long)]
    skip_refused: bool,
}

impl Bring {
    pub(super) fn is_json(&self) -> bool {
        self.at.json
    }
}

/// Runs the command. What was brought before is not brought twice.
pub(super) fn run(args: &Bring) -> Result<Outcome, Stop> {
    let journal = Journal::read(&args.journal)?;
    let (dir, run) = running(&args.at)?;
    let id = Hex(DelegationId::of(&journal.delegation).0);
    let client = || Client::new(&run.url);
    let recorded = ask(async { client()?.delegation(&id).await })?;
    let known = recorded.acts.len();
    let (rest, stopped) = journal.unbrought(&args.journal, (known, &recorded.last.0), args.caught_up)?;
    let stopped = stopped.map(FieldError::CaughtUp);
    let mut skipped = Vec::new();
    for entry in rest {
        let number = entry.act.number;
        let before = |why: Failure| format!("before act {number}: {why}");
        let refused = meet(&dir, &run, &entry.note).map_err(|why| Failure::Failed(before(why)))?;
        for why in refused.into_iter().map(before) {
            if !args.skip_refused {
                return Err(Failure::Failed(format!("{why}; `--skip-refused` goes on without it")).into());
            }
            skipped.push(why);
        }
        let (statement, body) = (entry.statement.clone(), entry.body.clone());
        submit(&dir, &run, &format!("act {number}"), Body::DelegateAct { statement, body })?;
    }
    let told = ask(async { client()?.delegation(&id).await })?;
    for (entry, act) in journal.entries.iter().zip(&told.acts).filter(|(_, act)| act.outcome == DONE) {
        debug_assert_eq!(entry.act.number, act.number);
        // A note that cannot be read was told of above.
        if let Ok(Some(made)) = made(&entry.note) {
            ask(async { go_on(&client()?, made).await })?;
        }
    }
    tell(args, known, (&told, stopped.as_ref()), &skipped)?;
    match stopped {
        // It is told of already.
        Some(error) => Err(broken(&error).into()),
        None => Ok(verdict(&[told])),
    }
}

fn tell(
    args: &Bring,
    known: usize,
    (told, stopped): (&Delegated, Option<&FieldError>),
    skipped: &[String],
) -> Result<(), Failure> {
    let brought = told.acts.len().saturating_sub(known);
    print(&if args.at.json {
        let mut object = json!({ "brought": brought, "skipped": skipped, "delegation": object(told) });
        if let Some(error) = stopped {
            (object["error"], object["code"]) = (error.to_string().into(), error.code().into());
        }
        format!("{object}\n")
    } else {
        let skipped: String = skipped.iter().map(|why| format!("skipped {why}\n")).collect();
        format!("{brought} act(s) brought, {known} were there\n{skipped}{}", words(told))
    })
}

fn made(noted: &[u8]) -> Result<Option<Made>, Failure> {
    if noted.is_empty() { Ok(None) } else { note(noted).map(Some).map_err(|e| broken(&e)) }
}

/// Registers what the laptop met and the ledger does not know: what is refused for good, or cannot be read.
fn meet(dir: &DataDir, run: &Run, noted: &[u8]) -> Result<Vec<Failure>, Failure> {
    let registrations = match made(noted) {
        Ok(made) => made.map_or_else(Vec::new, |made| made.registrations),
        Err(unread) => return Ok(vec![unread]),
    };
    let mut refused = Vec::new();
    for stated in &registrations {
        match register(dir, run, stated) {
            Ok(()) => {}
            Err(unrecorded) if unrecorded.for_good => refused.push(unrecorded.why),
            Err(unrecorded) => return Err(unrecorded.why),
        }
    }
    Ok(refused)
}

/// Registers a component by its own word, where the ledger does not know it.
fn register(dir: &DataDir, run: &Run, stated: &Stated) -> Result<(), Unrecorded> {
    let id = &stated.component_id;
    let known = ask(async {
        match Client::new(&run.url)?.component(id).await {
            Err(e) if e.code() == Some(code::COMPONENT_NOT_FOUND) => Ok(false),
            found => found.map(|_| true),
        }
    })?;
    if known {
        return Ok(());
    }
    let body = api::sign::register(&stated.statement.0, &Signature(stated.proof.0)).map_err(|e| {
        let why = Failure::Input(format!("the registration of {id} in the journal: {e}"));
        Unrecorded { why, for_good: true }
    })?;
    offer(dir, run, &format!("the registration of {id}"), body)
}

/// What the bridge takes of a side: how it is reached only where the journal can prove that.
fn provable(side: Kept) -> Kept {
    let access = if side.blind.is_some() { side.access } else { String::new() };
    Kept { access, ..side }
}

/// Gives the bridge the keys of a binding, so that it can pair the two from now on, and has their LCT made.
async fn go_on(client: &Client, made: Made) -> Result<(), ClientError> {
    let Made { binding_id, a, b, .. } = made;
    let [a, b] = [a, b].map(provable);
    let create = api::lct::Create {
        creator: CREATOR.into(),
        component_a: a.component_id.clone(),
        component_b: b.component_id.clone(),
        context: api::pairing::BATTERY_MANAGEMENT.into(),
        proxy_id: String::new(),
    };
    let adopted = client.adopt(&binding_id, &Adopt { creator: CREATOR.into(), a, b }).await;
    match adopted {
        // Somebody ended it since.
        Err(e) if e.code() == Some(code::BINDING_NOT_FOUND) => return Ok(()),
        adopted => adopted.map(drop)?,
    }
    match client.create_lct(&create).await {
        Err(e) if e.code() == Some(code::LCT_EXISTS) => Ok(()),
        created => created.map(drop),
    }
}
