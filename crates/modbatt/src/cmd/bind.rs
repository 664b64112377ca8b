//! `modbatt bind` and `modbatt recover`: an operator orders that components get keys of their own again.

use api::component::Link;
use api::order::{State, Task};
use lct::id::Role;
use serde_json::{Value, json};

use super::data_dir::Run;
use super::order::{self, Options};
use super::{Failure, Outcome, ask, print};

/// Arguments of `modbatt bind`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(flatten)]
    pair: order::Pair,
    #[command(flatten)]
    options: Options,
}

/// Runs `modbatt bind`.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let order::Pair { a, b } = &args.pair;
    let (dir, run) = args.options.open()?;
    let order = args.options.place(&dir, &run, "bind", (Task::Bind, None), [a, b])?;
    let binding = match order.state {
        State::Done => links(&run, a, "bound")?.into_iter().find(|link| link.peer_id == *b),
        _ => None,
    };
    let more = binding.map(|link| ("binding_id".into(), link.id.to_string().into()));
    let (done, not) =
        (format!("{a} and {b} are bound and paired"), format!("{a} and {b} are not bound anew"));
    args.options.tell(&order, &done, &not, more)
}

/// Arguments of `modbatt recover`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Recover {
    /// Component id of whoever lost its keys, for example `module-0001`
    #[arg(value_name = "COMPONENT", value_parser = order::component)]
    component: String,
    #[command(flatten)]
    options: Options,
}

/// Runs `modbatt recover`: what the component is bound with is bound anew, one after the other, nearer the app first.
pub fn recover(args: &Recover) -> Result<Outcome, Failure> {
    let (dir, run) = args.options.open()?;
    let own = role(&run, &args.component)?;
    let mut pairs = Vec::new();
    for link in links(&run, &args.component, "bound")? {
        let (own, peer) = ((own, args.component.clone()), (role(&run, &link.peer_id)?, link.peer_id));
        pairs.push(if own < peer { [own, peer] } else { [peer, own] });
    }
    pairs.sort();
    if pairs.is_empty() {
        return Err(Failure::Failed(format!(
            "the ledger has no binding of {} in force; `modbatt bind` binds two components",
            args.component
        )));
    }
    let mut orders = Vec::new();
    let mut outcome = Outcome::Good;
    for [(_, a), (_, b)] in &pairs {
        let order = args.options.place(&dir, &run, "recover", (Task::Bind, None), [a, b])?;
        let (done, not) =
            (format!("{a} and {b} are bound and paired"), format!("{a} and {b} are not bound anew"));
        if !args.options.is_json() {
            outcome = args.options.tell(&order, &done, &not, [])?;
        }
        let state = order.state;
        orders.push(serde_json::to_value(order).map_err(|e| Failure::Failed(e.to_string()))?);
        // The next one needs this one: a pack without channel passes nothing on.
        match state {
            State::Done => {}
            State::Waiting => break,
            State::Failed | State::Expired => {
                outcome = Outcome::Bad;
                break;
            }
        }
    }
    let left = pairs.len() - orders.len();
    if args.options.is_json() {
        let recovered = left == 0 && orders.iter().all(|order| order["state"] == "done");
        let component = &args.component;
        let object: Value =
            json!({"component": component, "recovered": recovered, "orders": orders, "left": left});
        print(&format!("{object}\n"))?;
    } else if left > 0 {
        print(&format!("{left} of {} bindings are left; run this command again\n", pairs.len()))?;
    }
    Ok(outcome)
}

/// What a component is bound to or paired with, as the ledger has it.
fn links(run: &Run, component: &str, relation: &str) -> Result<Vec<Link>, Failure> {
    let mut links = ask(async { api::Client::new(&run.url)?.relations(component).await })?.links;
    links.retain(|link| link.relation == relation);
    Ok(links)
}

/// The role of a component, lower nearer the app.
fn role(run: &Run, component: &str) -> Result<u8, Failure> {
    let known = ask(async { api::Client::new(&run.url)?.component(component).await })?.role;
    let roles = [Role::App, Role::Pack, Role::Module, Role::Sensor, Role::Actuator].into_iter();
    let role = roles.map(|role| (role.name(), role as u8)).find(|(name, _)| *name == known);
    role.map(|(_, code)| code)
        .ok_or_else(|| Failure::Failed(format!("{component} is a {known}, which is never bound")))
}
