//! `modbatt trust history`: every change of what is known of a component or a relation, checked against what the state proves (A163,
//! A164; `spec/ledger.md`, L227).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use api::encoding::Hex;
use api::trust::{Change, History, Past};
use lct::id::{BindingId, Cid};
use lct::trust::TrustContext;
use ledger::anchor::Trust;
use ledger::codec::Canonical;
use ledger::excerpt::{Excerpt, MAX_LEN};
use ledger::records::{Tensor, TrustSubject, key};
use serde::Serialize;

use super::super::verify::read_trust;
use super::super::{Asked, Failure, Outcome, ask};

/// Arguments of `modbatt trust history`.
#[derive(clap::Args)]
#[command(after_help = super::super::EXIT_CODES)]
pub struct Args {
    /// Component id, for example `pack-0001`
    #[arg(value_name = "ID")]
    id: String,
    /// `operation`, `energy`, `critical_safety` or `diagnostic`
    #[arg(long, default_value = "operation", value_parser = context)]
    context: TrustContext,
    /// Of the component's relation under this binding, 32 hex digits, instead of the component itself
    #[arg(long, value_name = "BINDING")]
    relation: Option<Hex<16>>,
    /// Only those after this number
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// A genesis.json or a checkpoint: fetch what proves each change and check it for who trusts that
    #[arg(long, value_name = "FILE")]
    check: Option<std::path::PathBuf>,
    #[command(flatten)]
    asked: Asked,
}

fn context(text: &str) -> Result<TrustContext, String> {
    let found = TrustContext::ALL.into_iter().find(|context| context.name() == text);
    found.ok_or_else(|| "it is one of operation, energy, critical_safety, diagnostic".into())
}

/// What the command tells.
#[derive(Serialize)]
struct Told {
    format: u32,
    #[serde(flatten)]
    history: History,
    /// Numbers of changes that were checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    proved: Option<Vec<u64>>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let client = args.asked.client()?;
    let fetch =
        |after| ask(client.trust_history(&args.id, args.context.name(), args.relation.as_ref(), after));
    let mut history = fetch(args.after)?;
    // The pages that follow are of the same block.
    let client = client.clone().at(Some(history.height));
    while let Some(next) = history.next {
        let more =
            ask(client.trust_history(&args.id, args.context.name(), args.relation.as_ref(), Some(next)))?;
        history.changes.extend(more.changes);
        history.next = more.next;
    }
    let proved = match &args.check {
        None => None,
        Some(path) => Some(check(args, &client, &read_trust(path)?, &history.changes)?),
    };
    let told = Told { format: 1, history, proved };
    args.asked.tell(&told, in_words)
}

/// Holds what was told against what the state proves, from the last change back: each excerpt proves as many as a tensor keeps.
/// The numbers of those that are proved.
fn check(args: &Args, client: &api::Client, trust: &Trust, changes: &[Past]) -> Result<Vec<u64>, Failure> {
    let mut proved: BTreeMap<u64, Change> = BTreeMap::new();
    for told in changes.iter().rev() {
        if told.proof == "kept" && !proved.contains_key(&told.number) {
            let file =
                ask(client.trust_proof(&args.id, args.context.name(), args.relation.as_ref(), told.number))?;
            let refused = |why: String| {
                Failure::Failed(format!("what is to prove change {} is refused: {why}", told.number))
            };
            if file.len() > MAX_LEN {
                return Err(refused("it is longer than any excerpt".into()));
            }
            let excerpt = Excerpt::from_file(&file).and_then(|excerpt| excerpt.check(trust));
            let excerpt = excerpt.map_err(|e| refused(e.to_string()))?;
            let tensor =
                excerpt.value.filter(|_| excerpt.key == args.key() && Some(excerpt.height) == told.height);
            let tensor = tensor.ok_or_else(|| refused("it is about something else".into()))?;
            let tensor = Tensor::from_bytes(&tensor).map_err(|e| refused(e.to_string()))?;
            proved.extend(tensor.numbered().map(|(number, change)| (number, Change::of(change))));
        }
        if proved.get(&told.number).is_some_and(|change| *change != told.change) {
            return Err(Failure::Failed(format!(
                "change {} was told otherwise than the state proves it; do not rely on this history",
                told.number
            )));
        }
    }
    Ok(changes.iter().map(|told| told.number).filter(|number| proved.contains_key(number)).collect())
}

impl Args {
    /// The tensor's key in the state.
    fn key(&self) -> Vec<u8> {
        let subject = match &self.relation {
            None => TrustSubject::Component(Cid::of(&self.id)),
            Some(binding) => TrustSubject::Relation(BindingId(binding.0)),
        };
        key::tensor(&subject, self.context)
    }
}

fn in_words(told: &Told) -> String {
    let h = &told.history;
    let of = h.relation.as_ref().map_or_else(String::new, |binding| format!(", relation {binding}"));
    let mut text = format!(
        "{}{of}, {} at block {}: {} change(s), in parts per million\n",
        h.component_id, h.context, h.height, h.count
    );
    if h.first > 1 {
        let _ = writeln!(text, "  changes before number {} are not kept here", h.first);
    }
    for past in &h.changes {
        let c = &past.change;
        let at = past.height.map_or_else(|| "an unknown block".into(), |height| format!("block {height}"));
        let checked = told.proved.as_ref().is_some_and(|proved| proved.contains(&past.number));
        let proof = match past.proof.as_str() {
            _ if checked => "; proved",
            "pruned" => "; its proof is pruned",
            "pending" => "; the next block proves it",
            _ if told.proved.is_some() => "; one of more in its block than the state keeps: not proved",
            _ => "",
        };
        let t3 = [c.talent, c.training, c.temperament];
        let _ = writeln!(
            text,
            "  {:>4}  {} by {} {}: {t3:?} in {at}, transaction {}{proof}",
            past.number, c.cause, c.voucher, c.by, c.txhash
        );
    }
    text
}
