//! `modbatt replace OLD NEW`: a module that was exchanged gives its place to another one (`spec/api.md`, A94).

use api::component::Component;
use api::order::{State, Task};
use lct::id::{Cid, Role};
use lct::revocation::{Reason, Subject};
use serde_json::json;

use super::data_dir::Run;
use super::order::{self, Options};
use super::{Failure, Outcome, ask, check, print, revoke};

/// Arguments of `modbatt replace`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Component id of the module that was taken out
    #[arg(value_name = "OLD", value_parser = order::component)]
    old: String,
    /// Component id of the module that is in its place
    #[arg(value_name = "NEW", value_parser = order::component)]
    new: String,
    /// Why the old one is revoked: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`
    #[arg(long, value_name = "REASON", default_value = "retired", value_parser = revoke::parse_reason)]
    reason: Reason,
    /// Revoke OLD although NEW was in the pack before: it is in its place all the same
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

/// Runs the command: first the new one is registered, bound and paired, then the old one is revoked. What was done before is
/// not done again.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = args.options.open()?;
    let Args { old, new, .. } = args;
    if old == new {
        return Err(Failure::Input(
            "a module does not replace itself; `modbatt recover` gives it new keys".into(),
        ));
    }
    let before = known(&run, old)?;
    if before.role != Role::Module.name() {
        return Err(Failure::Failed(format!(
            "{old} is no module: an app gives way with `modbatt demo --new-host`; for another pack controller revoke this one \
             and commission the other"
        )));
    }
    let pack = pack_of(&run, &before)?;
    let ended = matches!(before.status.as_str(), "revoked" | "retired");
    // What follows cannot be undone: a wrong name must not cost a module that works.
    if !ended && check::ask_the_program(dir.path())?.channels_to(old).iter().any(|tier| tier.holds) {
        return Err(Failure::Failed(format!(
            "{old} answers, so it is still in the pack; take it out first, or end it with `modbatt revoke --component {old}`"
        )));
    }
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
    let subject = Subject::Component(Cid::of(old));
    let list = match ended {
        true => None,
        false => Some(revoke::order(&dir, &run, "modbatt replace", subject, args.reason)?.number),
    };
    tell(args, &pack, true, order, list)?;
    Ok(Outcome::Good)
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

/// Whether a module is bound to the pack and paired with it already.
fn is_in(run: &Run, pack: &str, module: &str) -> Result<bool, Failure> {
    let links = ask(async { api::Client::new(&run.url)?.relations(pack).await })?.links;
    let has = |relation| links.iter().any(|link| link.relation == relation && link.peer_id == module);
    Ok(has("bound") && has("paired"))
}
