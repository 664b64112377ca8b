//! `modbatt revoke`: an operator has the authority revoke a component or a binding (`spec/api.md`, A45).

use std::path::PathBuf;

use api::encoding::{Fixed, Hex};
use api::revocation::{self, Revoke, order_digest};
use lct::id::{BindingId, Cid, valid_component_id};
use lct::revocation::{Reason, Subject};
use serde_json::json;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, os_rng, print};

/// Arguments of `modbatt revoke`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    what: What,
    /// Why: `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`
    #[arg(long, value_name = "REASON", default_value = "unspecified", value_parser = parse_reason)]
    reason: Reason,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Component id, for example `module-0002`: every binding and pairing of it ends
    #[arg(long, value_name = "ID", value_parser = parse_component)]
    component: Option<Subject>,
    /// Binding id in hexadecimal, as `GET /components/ID` tells it: only this binding ends
    #[arg(long, value_name = "ID", value_parser = parse_binding)]
    binding: Option<Subject>,
}

fn parse_component(text: &str) -> Result<Subject, String> {
    match valid_component_id(text) {
        true => Ok(Subject::Component(Cid::of(text))),
        false => Err("a component id has 3 to 64 characters of A-Z, a-z, 0-9, _ and -".into()),
    }
}

fn parse_binding(text: &str) -> Result<Subject, String> {
    let id = text.parse::<Hex<16>>().map_err(|e| e.to_string())?;
    Ok(Subject::Binding(BindingId(id.0)))
}

/// Reads a reason.
pub fn parse_reason(text: &str) -> Result<Reason, String> {
    revocation::reason(text).ok_or_else(|| {
        "it is `unspecified`, `key_compromise`, `lost`, `superseded`, `retired` or `violation`".into()
    })
}

/// Has the authority list `subject`, in the operator's name; `creator` is the label in the bridge's log.
pub fn order(
    dir: &DataDir,
    run: &Run,
    creator: &str,
    subject: Subject,
    reason: Reason,
) -> Result<revocation::Revocations, Failure> {
    let request = signed(dir, creator, subject, reason)?;
    ask(async { api::Client::new(&run.url)?.revoke(&request).await })
}

/// The operator's order to list `subject`.
pub fn signed(dir: &DataDir, creator: &str, subject: Subject, reason: Reason) -> Result<Revoke, Failure> {
    let operator = super::demo::operator(dir)?;
    let order = order_digest(dir.chain_id(), subject, reason);
    let signature = operator.sign(&order, &mut os_rng()?);
    let (kind, id) = revocation::kind_and_id(subject);
    Ok(Revoke {
        creator: creator.into(),
        kind: kind.into(),
        id: Hex(id),
        reason: revocation::reason_name(reason).into(),
        key: Hex(operator.public().0),
        signature: Fixed(signature.0),
    })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = DataDir::open_running(&args.data_dir, "its authority can sign")?;
    let Some(subject) = args.what.component.or(args.what.binding) else {
        return Err(Failure::Input("name a component or a binding".into()));
    };
    let list = order(&dir, &run, "modbatt revoke", subject, args.reason)?;
    let (kind, id) = revocation::kind_and_id(subject);
    let (number, entries) = (list.number, list.entries.len());
    let recorded =
        list.entries.iter().find(|e| e.kind == kind && e.id.0 == id).and_then(|e| e.height.zip(e.txhash));
    print(&if args.json {
        let mut line =
            json!({ "type": kind, "id": Hex(id).to_string(), "number": number, "entries": entries });
        if let Some((height, tx)) = recorded {
            line["height"] = height.into();
            line["txhash"] = tx.to_string().into();
        }
        format!("{line}\n")
    } else {
        let ledger = match recorded {
            Some((height, _)) => format!("the ledger holds it since block {height}"),
            None => "the ledger does not hold it yet; the bridge brings it there by itself".to_owned(),
        };
        format!("{kind} {} is revoked by list {number}, which has {entries} entries; {ledger}\n", Hex(id))
    })?;
    Ok(Outcome::Good)
}
