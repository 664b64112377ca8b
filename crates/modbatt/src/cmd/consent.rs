//! `modbatt consent`: the owner of a component agrees that another binding takes the place of one that it has
//! (`spec/ledger.md`, L125; `spec/api.md`, A93).

use std::path::PathBuf;

use api::component::Component;
use api::encoding::Hex;
use lct::consent::Consent;
use lct::id::{BindingId, Cid};
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
    let binding = between(&sides)?;
    let now = ask(async { client()?.time_token().await })?.time;
    let until_ms = (now + args.days * 86_400) * 1_000;
    let mut agreed = Vec::new();
    for (own, partner) in [(0, 1), (1, 0)] {
        let id = &sides[own].component_id;
        let whose = ask(async { client()?.relations(id).await })?.owner;
        if whose.is_none_or(|whose| whose.key != Hex(owner.public().0)) {
            continue;
        }
        let [cid, partner] = [own, partner].map(|side| Cid(sides[side].cid.0));
        let consent = Consent { chain_id: *dir.chain_id(), cid, binding, partner, until_ms };
        let digest = consent.digest().map_err(|e| Failure::Failed(e.to_string()))?;
        let signature = owner.sign(&digest, &mut os_rng()?);
        let body = api::sign::consent(&consent, signature).map_err(|e| Failure::Failed(e.to_string()))?;
        submit(&dir, &run, "the consent", body)?;
        agreed.push(id.as_str());
    }
    if agreed.is_empty() {
        let file = args.owner_key.display();
        return Err(Failure::Failed(format!("the key in {file} owns neither {a} nor {b} on the ledger")));
    }
    print(&match args.json {
        true => {
            let until = until_ms / 1_000;
            let binding = binding.to_string();
            format!("{}\n", json!({ "agreed_for": agreed, "binding_id": binding, "until": until }))
        }
        false => format!(
            "the owner of {} agrees, for {} days, that another binding of {a} and {b} takes the place of theirs; `modbatt bind {a} {b}` makes it\n",
            agreed.join(" and "),
            args.days
        ),
    })?;
    Ok(Outcome::Good)
}

/// The binding of the two that is in force.
fn between([a, b]: &[Component; 2]) -> Result<BindingId, Failure> {
    let known = a.bindings.iter().find(|x| x.partner_id == b.component_id && x.status == "active");
    known.map(|x| BindingId(x.binding_id.0)).ok_or_else(|| {
        let (a, b) = (&a.component_id, &b.component_id);
        Failure::Failed(format!("{a} and {b} are not bound to each other; nobody has to agree"))
    })
}
