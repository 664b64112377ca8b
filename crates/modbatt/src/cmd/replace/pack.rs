//! A pack controller in the place of one that broke: app and modules are bound and paired with it, by one operator's order each,
//! and the old one is revoked when the last of them followed (`spec/api.md`, A97).

use api::component::{BindingView, Component};
use api::order::{State, Task};
use lct::id::Role;
use serde_json::json;

use super::super::data_dir::{DataDir, Run};
use super::super::{Failure, Outcome, ask, print};
use super::{Args, end, has_ended, is_in, known};

/// Runs the command: the app first, for without it nobody reaches the modules; then each module that did not follow yet.
pub(super) fn run(args: &Args, dir: &DataDir, run: &Run, before: &Component) -> Result<Outcome, Failure> {
    let Args { old, new, .. } = args;
    let was_in = app_of(run, new)?;
    if let Some(app) = &was_in
        && !has_ended(before)
        && !args.yes
        && !gave_way(before, app)
    {
        return Err(Failure::Failed(format!(
            "{new} was bound to {app} before this command; if it is in the place of {old}, which is then revoked for good, say --yes"
        )));
    }
    let order = args.options.place(dir, run, "replace", (Task::Exchange, None), [old, new])?;
    if order.state != State::Done {
        return args.options.tell(&order, "", &format!("{new} has no place, and {old} stays"), []);
    }
    let (mut followed, mut left) = (Vec::new(), Vec::new());
    for module in modules(run, before, new)? {
        if is_in(run, new, &module)? {
            followed.push(module);
            continue;
        }
        match bind(args, dir, run, &module) {
            Ok(None) => followed.push(module),
            // Another module may follow all the same.
            Ok(Some(why)) => left.push((module, why)),
            Err(e) => left.push((module, e.to_string())),
        }
    }
    let list = if left.is_empty() { end(args, dir, run, before)? } else { None };
    print(&match args.options.is_json() {
        true => {
            let left: Vec<_> = left.iter().map(|(id, why)| json!({ "id": id, "why": why })).collect();
            let mut object = json!({
                "old": old, "new": new, "replaced": left.is_empty(), "modules": followed, "left": left,
            });
            if let Some(list) = list {
                object["list"] = list.into();
            }
            format!("{object}\n")
        }
        false if left.is_empty() => format!(
            "{new} is in the place of {old}, which is revoked; with it are paired the app and {} modules\n",
            followed.len()
        ),
        false => {
            let why: String = left.iter().map(|(id, why)| format!("{id} did not follow: {why}\n")).collect();
            format!("{why}{old} is not revoked before they did; run this command again\n")
        }
    })?;
    Ok(if left.is_empty() { Outcome::Good } else { Outcome::Bad })
}

/// Has the new pack and a module bound and paired; why not, where that did not come about.
fn bind(args: &Args, dir: &DataDir, run: &Run, module: &str) -> Result<Option<String>, Failure> {
    let order = args.options.place(dir, run, "replace", (Task::Bind, None), [&args.new, module])?;
    Ok(match order.state {
        State::Done => None,
        State::Waiting => Some(format!("the order {} waits for it", order.id)),
        State::Expired => Some(format!("the order {} expired", order.id)),
        State::Failed => Some(order.said),
    })
}

fn is_active(binding: &BindingView) -> bool {
    binding.status == "active"
}

/// The app that a pack is bound to, if the ledger has the pack.
fn app_of(run: &Run, pack: &str) -> Result<Option<String>, Failure> {
    let known = ask(async {
        match api::Client::new(&run.url)?.component(pack).await {
            Err(e) if e.code() == Some(api::problem::code::COMPONENT_NOT_FOUND) => Ok(None),
            known => known.map(Some),
        }
    })?;
    let bindings = known.map(|pack| pack.bindings).unwrap_or_default();
    let with_app = |b: &BindingView| is_active(b) && b.partner_role == Role::App.name();
    Ok(bindings.into_iter().find(with_app).map(|b| b.partner_id))
}

/// Whether a binding of the old pack with this app gave way to another one.
fn gave_way(old: &Component, app: &str) -> bool {
    old.bindings.iter().any(|b| b.partner_id == app && b.reason.as_deref() == Some("superseded"))
}

/// The modules of the old pack that are to follow: those bound to it, and those whose binding gave way or ended with the pack,
/// unless they were retired or have another pack since.
fn modules(run: &Run, old: &Component, new: &str) -> Result<Vec<String>, Failure> {
    let mut ids: Vec<&str> = Vec::new();
    for b in old.bindings.iter().filter(|b| b.partner_role == Role::Module.name()) {
        if is_active(b) || has_ended(old) || b.reason.as_deref() == Some("superseded") {
            ids.push(&b.partner_id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let mut modules = Vec::new();
    for id in ids {
        let module = known(run, id)?;
        if follows(&module, [&old.component_id, new]) {
            modules.push(module.component_id);
        }
    }
    Ok(modules)
}

fn follows(module: &Component, packs: [&str; 2]) -> bool {
    let elsewhere = |b: &BindingView| {
        is_active(b) && b.partner_role == Role::Pack.name() && !packs.contains(&b.partner_id.as_str())
    };
    !has_ended(module) && !module.bindings.iter().any(elsewhere)
}
