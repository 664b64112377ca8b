//! `modbatt replace OLD NEW`: a module that was exchanged gives its place to another one (`spec/api.md`, A94), or a pack
//! controller (A97).

mod pack;

use api::component::Component;
use api::order::{State, Task};
use lct::id::{Cid, Role};
use lct::revocation::{Reason, Subject};
use serde_json::json;

use super::data_dir::{DataDir, Run};
use super::order::{self, Options};
use super::{Failure, Outcome, ask, check, print, revoke};

/// Arguments of `modbatt replace`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Component id of the module or pack controller that was taken out
    #[arg(value_name = "OLD", value_parser = order::component)]
    old: String,
    /// Component id of the one that is in its place
    #[arg(value_name = "NEW", value_parser = order::component)]
    new: String,
    /// Why the old one is revoked: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`
    #[arg(long, value_name = "REASON", default_value = "retired", value_parser = revoke::parse_reason)]
    reason: Reason,
    /// Revoke OLD although NEW had a place before: it is in that of OLD all the same
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

/// Runs the command, for a module: first the new one is registered, bound and paired, then the old one is revoked. What was done before is
/// not done again.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = args.options.open()?;
    let Args { old, new, .. } = args;
    if old == new {
        return Err(Failure::Input(
            "nobody takes its own place; `modbatt recover` gives a component new keys".into(),
        ));
    }
    let before = known(&run, old)?;
    let ended = has_ended(&before);
    // What follows cannot be undone: a wrong name must not cost a part that works.
    if !ended && check::ask_the_program(dir.path())?.channels_to(old).iter().any(|tier| tier.holds) {
        return Err(Failure::Failed(format!(
            "{old} answers, so it is still in its place; take it out first, or end it with `modbatt revoke --component {old}`"
        )));
    }
    if before.role == Role::Pack.name() {
        return pack::run(args, &dir, &run, &before);
    }
    if before.role != Role::Module.name() {
        return Err(Failure::Failed(format!(
            "{old} is neither module nor pack controller: an app gives way with `modbatt demo --new-host`"
        )));
    }
    let pack = pack_of(&run, &before)?;
    let was_in = is_in(&run, &pack, new)?;
    if was_in && !ended && !args.yes {
        return Err(Failure::Failed(format!(
            "{new} was in {pack} before this command; if it is in the place of {old}, which is then revoked for good, say --yes"
        )));
    }
    let mut order = None;
    if !was_in {
        let placed = args.options.place(&dir, &run, "replace", (Task::Install, None), [&pack, new])?;
        if placed.state != State::Done {
            return match args.options.is_json() {
                true => {
                    tell(args, &pack, false, Some(placed.clone()), None)?;
                    Ok(if placed.state == State::Waiting { Outcome::Good } else { Outcome::Bad })
                }
                false => {
                    args.options.tell(&placed, "", &format!("{new} is not in the pack, and {old} stays"), [])
                }
            };
        }
        order = Some(placed);
    }
    let list = end(args, &dir, &run, &before)?;
    tell(args, &pack, true, order, list)?;
    Ok(Outcome::Good)
}

/// Revokes the old one, unless that was done; the number of the list that says so.
fn end(args: &Args, dir: &DataDir, run: &Run, old: &Component) -> Result<Option<u32>, Failure> {
    if has_ended(old) {
        return Ok(None);
    }
    let subject = Subject::Component(Cid(old.cid.0));
    Ok(Some(revoke::order(dir, run, "modbatt replace", subject, args.reason)?.number))
}

fn has_ended(component: &Component) -> bool {
    matches!(component.status.as_str(), "revoked" | "retired")
}

fn tell(
    args: &Args,
    pack: &str,
    replaced: bool,
    order: Option<api::order::Order>,
    list: Option<u32>,
) -> Result<(), Failure> {
    let Args { old, new, .. } = args;
    print(&match args.options.is_json() {
        true => {
            let mut object = json!({ "old": old, "new": new, "pack": pack, "replaced": replaced });
            if let Some(order) = order {
                object["order"] = serde_json::to_value(order).map_err(|e| Failure::Failed(e.to_string()))?;
            }
            if let Some(list) = list {
                object["list"] = list.into();
            }
            format!("{object}\n")
        }
        false => {
            format!("{new} is bound to {pack} and paired with it in the place of {old}, which is revoked\n")
        }
    })
}

fn known(run: &Run, id: &str) -> Result<Component, Failure> {
    ask(async { api::Client::new(&run.url)?.component(id).await })
}

/// The pack that a module is, or was last, bound to.
fn pack_of(run: &Run, module: &Component) -> Result<String, Failure> {
    let mut bindings: Vec<_> = module.bindings.iter().collect();
    bindings.sort_by_key(|b| std::cmp::Reverse((b.status == "active", b.created_at)));
    for binding in bindings {
        if known(run, &binding.partner_id)?.role == Role::Pack.name() {
            return Ok(binding.partner_id.clone());
        }
    }
    Err(Failure::Failed(format!("{} was never bound to a pack; it has no place", module.component_id)))
}

/// Whether a component is bound to the pack and paired with it already.
fn is_in(run: &Run, pack: &str, id: &str) -> Result<bool, Failure> {
    let links = ask(async { api::Client::new(&run.url)?.relations(pack).await })?.links;
    let has = |relation| links.iter().any(|link| link.relation == relation && link.peer_id == id);
    Ok(has("bound") && has("paired"))
}
