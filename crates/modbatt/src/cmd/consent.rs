//! `modbatt consent`: the owner of a component agrees that another binding takes the place of one that it has, with the same
//! partner, of a pack that is taken over with another app, or of an app or a module with another pack controller
//! (`spec/ledger.md`, L125; `spec/api.md`, A93).

use std::path::PathBuf;

use api::component::{BindingView, Component};
use api::encoding::Hex;
use lct::consent::Consent;
use lct::id::{BindingId, Cid, Role};
use serde_json::json;

use super::data_dir::DataDir;
use super::factory::files::p256_key;
use super::ledger::submit;
use super::order;
use super::{Failure, Outcome, ask, os_rng, print};

/// Arguments of `modbatt consent`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    #[command(flatten)]
    pair: order::Pair,
    /// The owner's P-256 key, a file of 32 bytes
    #[arg(long, value_name = "FILE")]
    owner_key: PathBuf,
    /// For how many days from now the owner agrees
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=89))]
    days: u64,
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = DataDir::open_running(&args.data_dir, "its bridge can bring it to the ledger")?;
    let owner = p256_key(&args.owner_key)?;
    let order::Pair { a, b } = &args.pair;
    let client = || api::Client::new(&run.url);
    let [of_a, of_b] = [a, b].map(|id| ask(async { client()?.component(id).await }));
    let sides = [of_a?, of_b?];
    let (binding, of) = giving_way(&sides, |id| ask(async { client()?.component(id).await }))?;
    let now = ask(async { client()?.time_token().await })?.time;
    let until_ms = (now + args.days * 86_400) * 1_000;
    // A later one has a higher number.
    let number = now;
    let mut agreed = Vec::new();
    for (own, partner) in [(0, 1), (1, 0)] {
        let id = &sides[own].component_id;
        let whose = ask(async { client()?.relations(id).await })?.owner;
        let whose = whose.filter(|whose| of.contains(id) && whose.key == Hex(owner.public().0));
        let Some(whose) = whose else { continue };
        let hop = u32::try_from(whose.hops.len()).map_err(|e| Failure::Failed(e.to_string()))?;
        let [cid, partner] = [own, partner].map(|side| Cid(sides[side].cid.0));
        let consent = Consent { chain_id: *dir.chain_id(), cid, binding, partner, until_ms, hop, number };
        let digest = consent.digest().map_err(|e| Failure::Failed(e.to_string()))?;
        let signature = owner.sign(&digest, &mut os_rng()?);
        let body = api::sign::consent(&consent, signature).map_err(|e| Failure::Failed(e.to_string()))?;
        submit(&dir, &run, "the consent", body)?;
        agreed.push(id.as_str());
    }
    if agreed.is_empty() {
        let file = args.owner_key.display();
        let known: Vec<_> = [a, b].into_iter().filter(|id| of.contains(id)).map(String::as_str).collect();
        let owns = match known[..] {
            [one] => format!("does not own {one}"),
            _ => format!("owns neither {a} nor {b}"),
        };
        return Err(Failure::Failed(format!("the key in {file} {owns} on the ledger")));
    }
    print(&match args.json {
        true => {
            let until = until_ms / 1_000;
            let binding = binding.to_string();
            format!("{}\n", json!({ "agreed_for": agreed, "binding_id": binding, "until": until }))
        }
        false => {
            let (days, who, [old, with]) = (args.days, agreed.join(" and "), &of);
            let (theirs, by) = match (of.contains(a), of.contains(b)) {
                (true, true) => ("theirs".to_owned(), format!("`modbatt bind {a} {b}`")),
                (false, _) if sides[1].role == Role::Pack.name() => (
                    format!("that with {old}"),
                    format!("an order to take {b} over, `modbatt demo --new-host`,"),
                ),
                (false, _) => (format!("that with {old}"), format!("`modbatt replace {old} {a}`")),
                (true, false) => (format!("that with {with}"), format!("`modbatt replace {with} {b}`")),
            };
            format!(
                "the owner of {who} agrees, for {days} days, that another binding of {a} and {b} takes the place of {theirs}; {by} makes it\n"
            )
        }
    })?;
    Ok(Outcome::Good)
}

/// What gives way when the two are bound: the binding that they have, or that of a pack with the app which it has instead
/// (`spec/api.md`, A95), or that of a module or an app with the pack which it has instead (A97); with the ids of its sides.
fn giving_way(
    [a, b]: &[Component; 2],
    read: impl Fn(&str) -> Result<Component, Failure>,
) -> Result<(BindingId, [String; 2]), Failure> {
    let sides = |of: &Component, x: &BindingView| {
        let ids = [x.partner_id.clone(), of.component_id.clone()];
        (BindingId(x.binding_id.0), ids)
    };
    let active = |x: &&BindingView| x.status == "active";
    if let Some(known) = b.bindings.iter().filter(active).find(|x| x.partner_id == a.component_id) {
        return Ok(sides(b, known));
    }
    // A pack has one app, a module one pack; and an app gives up a pack for another.
    let upper = match (a.role.as_str(), b.role.as_str()) {
        ("app", "pack") => [Some((b, "app")), Some((a, "pack"))],
        ("pack", "module") => [Some((b, "pack")), None],
        _ => [None, None],
    };
    for (own, role) in upper.into_iter().flatten() {
        for known in own.bindings.iter().filter(active) {
            if read(&known.partner_id)?.role == role {
                // The side nearer the app comes first.
                let (id, [partner, own]) = sides(own, known);
                return Ok((
                    id,
                    if role == "pack" && a.role == "app" { [own, partner] } else { [partner, own] },
                ));
            }
        }
    }
    let (a, b) = (&a.component_id, &b.component_id);
    Err(Failure::Failed(format!(
        "{a} and {b} are not bound to each other, and nothing gives way; nobody has to agree"
    )))
}
