//! `modbatt recover`: what a component was bound with is bound anew, after it lost its keys.
//!
//! Which bindings those are is looked up once and kept in `recover-COMPONENT.json` of the data directory until each is done,
//! `{format: 1, pairs: [{a, b, before?}]}` with the binding that was in force: so the same command again goes on where it stands.

use std::path::Path;

use api::component::Component;
use api::encoding::Hex;
use api::order::{State, Task};
use lct::id::Role;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::data_dir::{DataDir, Run, replace_file};
use super::order::{self, Options};
use super::{Failure, Outcome, ask, print, reason};

/// Arguments of `modbatt recover`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Component id of whoever lost its keys, for example `module-0001`
    #[arg(value_name = "COMPONENT", value_parser = order::component)]
    component: String,
    #[command(flatten)]
    options: Options,
}

/// Two that are to be bound anew, nearer the app first, and the binding of theirs that was in force, if there was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    a: String,
    b: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Hex<16>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    pairs: Vec<Pair>,
}

const FORMAT: u32 = 1;

/// Runs the command: one pair after the other, nearer the app first.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = args.options.open()?;
    let component = &args.component;
    let path = dir.path().join(format!("recover-{component}.json"));
    let kept = without_ended(component, read(&path)?.unwrap_or_default(), |id| known(&run, id))?;
    let mut open = still_open(&run, &kept)?;
    let pairs = match open.is_empty() {
        false => kept,
        true => {
            open = begin(&path, &run, component)?;
            open.clone()
        }
    };
    let (mut orders, mut done, mut outcome) = (Vec::new(), pairs.len() - open.len(), Outcome::Good);
    for pair in &open {
        match one(args, &dir, &run, pair)? {
            (order, State::Done) => {
                done += 1;
                orders.push(order);
            }
            // The next one needs this one: a pack without channel passes nothing on.
            (order, state) => {
                orders.push(order);
                if state != State::Waiting {
                    outcome = Outcome::Bad;
                }
                break;
            }
        }
    }
    let left = pairs.len() - done;
    if left == 0 {
        std::fs::remove_file(&path)
            .map_err(|e| Failure::Failed(format!("{}: {}", path.display(), reason(&e))))?;
    }
    if args.options.is_json() {
        let object =
            json!({ "component": component, "recovered": left == 0, "orders": orders, "left": left });
        print(&format!("{object}\n"))?;
    } else if left > 0 {
        print(&format!("{left} of {} bindings are left; run this command again\n", pairs.len()))?;
    }
    Ok(outcome)
}

/// Has two bound anew; the order as it stands then.
fn one(args: &Args, dir: &DataDir, run: &Run, pair: &Pair) -> Result<(serde_json::Value, State), Failure> {
    let Pair { a, b, .. } = pair;
    let order = args.options.place(dir, run, "recover", (Task::Bind, None), [a, b])?;
    if !args.options.is_json() {
        let done = format!("{a} and {b} are bound and paired");
        args.options.tell(&order, &done, &format!("{a} and {b} are not bound anew"), [])?;
    }
    let state = order.state;
    Ok((serde_json::to_value(order).map_err(|e| Failure::Failed(e.to_string()))?, state))
}

/// Those that are not in another binding than before, and paired.
fn still_open(run: &Run, pairs: &[Pair]) -> Result<Vec<Pair>, Failure> {
    let mut open = Vec::new();
    for pair in pairs {
        let links = ask(async { api::Client::new(&run.url)?.relations(&pair.a).await })?.links;
        let has = |relation| links.iter().find(|link| link.relation == relation && link.peer_id == pair.b);
        if has("paired").is_none() || has("bound").is_none_or(|link| Some(link.id) == pair.before) {
            open.push(pair.clone());
        }
    }
    Ok(open)
}

/// The pairs of a recovery that was begun before.
fn read(path: &Path) -> Result<Option<Vec<Pair>>, Failure> {
    let damaged = |what: String| {
        Failure::Input(format!("{}: {what}; remove it to begin the recovery anew", path.display()))
    };
    match std::fs::read(path) {
        Ok(bytes) => {
            let file: File = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
            match file.format {
                FORMAT => Ok(Some(file.pairs)),
                other => Err(damaged(format!("it has format {other}, this build knows {FORMAT}"))),
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(damaged(reason(&e))),
    }
}

/// Looks up what is to be bound anew, and keeps it.
fn begin(path: &Path, run: &Run, component: &str) -> Result<Vec<Pair>, Failure> {
    let pairs = pairs(run, component)?;
    if pairs.is_empty() {
        return Err(Failure::Failed(format!(
            "the ledger has nothing that {component} is bound with; `modbatt bind` binds two components"
        )));
    }
    let file = File { format: FORMAT, pairs };
    let bytes = serde_json::to_vec(&file).map_err(|e| Failure::Failed(e.to_string()))?;
    replace_file(path, &bytes)?;
    Ok(file.pairs)
}

fn known(run: &Run, id: &str) -> Result<Component, Failure> {
    ask(async { api::Client::new(&run.url)?.component(id).await })
}

/// Whether nobody binds it any more.
fn has_ended(component: &Component) -> bool {
    matches!(component.status.as_str(), "revoked" | "retired")
}

/// Of the pairs that were kept those whose partner is still there to be bound.
fn without_ended(
    own: &str,
    kept: Vec<Pair>,
    read: impl Fn(&str) -> Result<Component, Failure>,
) -> Result<Vec<Pair>, Failure> {
    let mut left = Vec::new();
    for pair in kept {
        let partner = if pair.a == own { &pair.b } else { &pair.a };
        if !has_ended(&read(partner)?) {
            left.push(pair);
        }
    }
    Ok(left)
}

/// Looks up with whom a component is bound, or was.
fn pairs(run: &Run, component: &str) -> Result<Vec<Pair>, Failure> {
    let known = |id: &str| known(run, id);
    let own = known(component)?;
    let mut partners: Vec<&str> = own.bindings.iter().map(|b| b.partner_id.as_str()).collect();
    partners.sort_unstable();
    partners.dedup();
    let partners = partners.into_iter().map(known).collect::<Result<Vec<_>, _>>()?;
    chosen(&own, &partners)
}

/// Of the bindings of a component with `partners` those in force, and those that gave way to one that was never made.
fn chosen(own: &Component, partners: &[Component]) -> Result<Vec<Pair>, Failure> {
    let mut pairs = Vec::new();
    for partner in partners.iter().filter(|p| !has_ended(p)) {
        let with = own.bindings.iter().filter(|b| b.partner_id == partner.component_id);
        let last = with.max_by_key(|b| (b.status == "active", b.created_at));
        let Some(last) = last.filter(|b| b.status == "active" || b.reason.as_deref() == Some("superseded"))
        else {
            continue;
        };
        let before = (last.status == "active").then_some(last.binding_id);
        let mut two = [(role(own)?, own), (role(partner)?, partner)];
        two.sort_by_key(|(role, _)| *role);
        let [(rank, a), (_, b)] = two;
        pairs.push((rank, Pair { a: a.component_id.clone(), b: b.component_id.clone(), before }));
    }
    pairs.sort_by(|(x, a), (y, b)| (x, &a.a, &a.b).cmp(&(y, &b.a, &b.b)));
    Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
}

/// The role of a component, lower nearer the app.
fn role(component: &Component) -> Result<u8, Failure> {
    let roles = [Role::App, Role::Pack, Role::Module, Role::Sensor, Role::Actuator].into_iter();
    let role = roles.map(|role| (role.name(), role as u8)).find(|(name, _)| *name == component.role);
    let Component { component_id, role: name, .. } = component;
    role.map(|(_, code)| code)
        .ok_or_else(|| Failure::Failed(format!("{component_id} is a {name}, which is never bound")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::component::BindingView;

    fn component(id: &str, role: &str, status: &str, bindings: Vec<BindingView>) -> Component {
        Component {
            component_id: id.into(),
            cid: Hex([0; 16]),
            height: 1,
            role: role.into(),
            component_type: role.into(),
            status: status.into(),
            registered_at: 0,
            lct_id: Hex([0; 32]),
            serial: String::new(),
            hardware_version: 1,
            firmware_version: 1,
            capacity_mwh: 0,
            opening_soc_ppm: 0,
            device_key: Hex([0; 33]),
            signing_keys: Vec::new(),
            bindings,
        }
    }

    fn binding(id: u8, partner: &str, reason: Option<&str>, created_at: u64) -> BindingView {
        BindingView {
            partner_role: "module".into(),
            binding_id: Hex([id; 16]),
            partner: Hex([0; 16]),
            partner_id: partner.into(),
            signing_key: Hex([0; 33]),
            assurance: "B1".into(),
            status: if reason.is_some() { "revoked" } else { "active" }.into(),
            reason: reason.map(Into::into),
            created_at,
        }
    }

    /// What gave way to a binding that was never made is bound anew too; what was ended for good is not.
    #[test]
    fn what_is_or_was_bound_is_found_nearer_the_app_first() {
        let superseded = Some("superseded");
        let bindings = vec![
            binding(1, "module-0001", superseded, 5),
            binding(2, "module-0002", superseded, 5),
            binding(3, "module-0002", None, 4),
            binding(4, "module-0003", superseded, 5),
            binding(5, "module-0003", Some("retired"), 6),
            binding(6, "module-0004", None, 5),
            binding(7, "app-0001", None, 5),
        ];
        let own = component("pack-0001", "pack", "active", bindings);
        let module = |n: u8, status| component(&format!("module-000{n}"), "module", status, Vec::new());
        let mut partners: Vec<Component> = (1..4).map(|n| module(n, "active")).collect();
        partners.extend([module(4, "retired"), component("app-0001", "app", "active", Vec::new())]);
        let pair = |a: &str, b: &str, before: Option<u8>| Pair {
            a: a.into(),
            b: b.into(),
            before: before.map(|id| Hex([id; 16])),
        };
        let expected = [
            pair("app-0001", "pack-0001", Some(7)),
            pair("pack-0001", "module-0001", None),
            pair("pack-0001", "module-0002", Some(3)),
        ];
        assert_eq!(chosen(&own, &partners).unwrap(), expected);
    }

    /// A plan goes on without whom came to its end since, for with that one it would stop at every run.
    #[test]
    fn who_ended_since_is_left_out_of_a_kept_plan() {
        let pair = |a: &str, b: &str| Pair { a: a.into(), b: b.into(), before: None };
        let kept = ["module-0001", "module-0002", "module-0003"].map(|m| pair("pack-0001", m));
        let kept = [vec![pair("app-0001", "pack-0001")], kept.to_vec()].concat();
        let read = |id: &str| {
            let status = match id {
                "app-0001" => "revoked",
                "module-0002" => "retired",
                _ => "active",
            };
            Ok(component(id, "module", status, Vec::new()))
        };
        let left = without_ended("pack-0001", kept, read).unwrap();
        assert_eq!(left, ["module-0001", "module-0003"].map(|m| pair("pack-0001", m)));
    }

    #[test]
    fn a_kept_plan_is_read_as_it_was_written_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recover-x.json");
        assert_eq!(read(&path).unwrap(), None);
        let pairs = vec![Pair { a: "app-0001".into(), b: "pack-0001".into(), before: Some(Hex([7; 16])) }];
        let bytes = serde_json::to_vec(&File { format: FORMAT, pairs: pairs.clone() }).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), Some(pairs));
        for bad in [&b"{}"[..], br#"{"format":9,"pairs":[]}"#, &bytes[..9]] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(read(&path), Err(Failure::Input(why)) if why.contains("remove it")));
        }
    }
}
