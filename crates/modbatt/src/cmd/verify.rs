//! `modbatt verify`: checks a receipt file and says in words what it proves. Needs no network and no database.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lct::energy::{EnergyKind, ModuleEnergy};
use lct::validation::{Event, EventKind};
use ledger::checkpoint::{self, Checkpoint, Inclusion};
use ledger::receipt::{self, ReceiptError, Trust};
use ledger::verdict::{Proved, Trusted, Verdict};
use serde_json::{Value, json};

use super::checkpoint::refused;
use super::{Failure, Outcome, print, reason};

/// Names the trust file when `--trust` does not.
const TRUST_VARIABLE: &str = "MODBATT_TRUST";
/// Longest trust file: 1024 keys per role fit in a quarter of it.
const TRUST_MAX: usize = 1 << 20;

/// Arguments of `modbatt verify`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// The receipt
    file: PathBuf,
    /// Whom to trust: the genesis.json or a checkpoint of the chain [default: the file that MODBATT_TRUST names]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// What shows that the history of the trusted checkpoint holds the receipt's block, as `modbatt checkpoint include`
    /// writes it: for a receipt of earlier validators
    #[arg(long, value_name = "FILE")]
    by: Option<PathBuf>,
    /// Print one JSON object instead of sentences
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let name = args.file.display().to_string();
    // One byte more than any receipt has, so that the verifier sees when it is too long.
    let file = read_bounded(&args.file, "receipt", receipt::MAX_LEN + 1)?;
    let default = std::env::var_os(TRUST_VARIABLE).filter(|v| !v.is_empty());
    let trust = args.trust.clone().map(OsString::from).or(default);
    let verified = match (trust.as_ref().map(Path::new), &args.by) {
        (Some(path), Some(by)) => {
            receipt::verify_within(&file, &read_checkpoint(path)?.statement, &read_by(by)?)
        }
        (None, Some(_)) => {
            return Err(Failure::Input("--by leads to a checkpoint: name it with --trust".into()));
        }
        (Some(path), None) => receipt::verify(&file, Some(&read_trust(path)?)),
        (None, None) => receipt::verify(&file, None),
    };
    match verified {
        Ok(verdict) => {
            let text = if args.json { format!("{}\n", as_json(&name, &verdict)) } else { in_words(&verdict) };
            print(&text)?;
            Ok(match verdict.trusted {
                Trusted::Yes => Outcome::Good,
                Trusted::SignerUnknown => Outcome::SignerUnknown,
            })
        }
        Err(e) => {
            let sentence = refusal(&name, &e);
            if args.json {
                print(&format!(
                    "{}\n",
                    json!({ "file": name, "result": "refused", "reason": e.to_string() })
                ))?;
            }
            Err(Failure::Failed(sentence))
        }
    }
}

fn refusal(name: &str, error: &ReceiptError) -> String {
    let advice = match error {
        ReceiptError::OtherChain => "; check that the trust file is the right one",
        ReceiptError::UntrustedValidators => {
            "; check that the trust file is the right one; beside a checkpoint that is younger than the receipt name \
             with --by what `modbatt checkpoint include` writes"
        }
        ReceiptError::NotInHistory => "; make it anew with `modbatt checkpoint include`",
        ReceiptError::Version(v) if *v < receipt::VERSION => {
            "; `modbatt receipt` writes it anew from the data directory"
        }
        ReceiptError::Version(_) => "; use a newer build",
        _ => "",
    };
    format!("the receipt {name} is refused: {error}{advice}")
}

/// Reads at most `max` bytes of a file.
pub fn read_bounded(path: &Path, what: &str, max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max as u64).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(e) => Err(Failure::Input(format!("cannot read the {what} {}: {}", path.display(), reason(&e)))),
    }
}

/// Reads the checkpoint that is trusted.
fn read_checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let bytes = read_bounded(path, "checkpoint", checkpoint::MAX_LEN + 1)?;
    Checkpoint::from_file(&bytes).map_err(|e| refused(path, &e))
}

/// Reads what leads from a block to a checkpoint.
fn read_by(path: &Path) -> Result<Inclusion, Failure> {
    let bytes = read_bounded(path, "inclusion", checkpoint::MAX_LEN + 1)?;
    Inclusion::from_file(&bytes).map_err(|e| {
        Failure::Input(format!("{} does not lead from a block to a checkpoint: {e}", path.display()))
    })
}

/// Reads a trust file: the genesis or a checkpoint of a chain. A checkpoint holds in itself; that it is the right one is the
/// word of whoever names it.
pub fn read_trust(path: &Path) -> Result<Trust, Failure> {
    let name = path.display();
    let bytes = read_bounded(path, "trust file", TRUST_MAX)?;
    if bytes.starts_with(checkpoint::MAGIC) {
        let read = Checkpoint::from_file(&bytes);
        return read.map(|checkpoint| checkpoint.trust()).map_err(|e| refused(path, &e));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Input(format!("{name} is not a trust file: it is not UTF-8 text")))?;
    api::genesis::trust_from_json(&text)
        .map_err(|e| Failure::Input(format!("{name} is not a usable trust file: {e}")))
}

fn in_words(verdict: &Verdict) -> String {
    format!("{verdict}\n")
}

/// What was proved, for scripts.
fn as_json(name: &str, verdict: &Verdict) -> Value {
    let mut object = json!({
        "file": name,
        "result": match verdict.trusted {
            Trusted::Yes => "proved",
            Trusted::SignerUnknown => "signer_unknown",
        },
        "chain_id": hex::encode(verdict.chain_id),
        "height": verdict.height,
        "time_ms": verdict.time_ms,
        "block_id": hex::encode(verdict.block_id),
        "transaction": hex::encode(verdict.tx_id),
        "index": verdict.tx_index,
        "kind": verdict.kind.name(),
        "sender": verdict.sender.to_string(),
        "sender_role": verdict.sender_role.map(|role| role.name()),
        "statement": statement(&verdict.proved),
        // None where a checkpoint vouches for the block instead.
        "signatures": (verdict.signatures > 0).then_some(verdict.signatures),
        "validators": verdict.validators,
    });
    if let Some(cid) = verdict.component() {
        object["cid"] = json!(cid.to_string());
    }
    if let Some(r) = &verdict.record {
        object["record"] = json!({
            "cid": r.cid.to_string(), "seq": r.seq, "time_ms": r.time_ms, "kind": r.kind as u8, "values": r.values,
        });
    }
    object
}

fn kind(kind: EnergyKind) -> &'static str {
    match kind {
        EnergyKind::Opening => "opening",
        EnergyKind::Charge => "charge",
        EnergyKind::Discharge => "discharge",
    }
}

/// What a module says flowed through it, where an event says that.
fn module_energy(event: &Event) -> Option<Value> {
    let said = ModuleEnergy::decode(&event.payload).ok().filter(|_| event.kind == EventKind::Energy)?;
    Some(json!({
        "event": kind(said.kind), "cycle": said.cycle, "seq": said.event,
        "start_ms": said.start_ms, "end_ms": said.end_ms, "mwh": said.mwh,
    }))
}

/// The members of a statement that a script computes with, and all of it in words.
fn statement(proved: &Proved) -> Value {
    let mut object = match proved {
        Proved::Registration(r) => json!({
            "component_id": r.component_id.as_str(), "serial": r.serial.as_str(), "capacity_mwh": r.capacity_mwh,
        }),
        Proved::Lct { a, b, context } => {
            json!({ "a": a.to_string(), "b": b.to_string(), "context": context })
        }
        Proved::Binding(r) => json!({
            "binding_id": r.binding_id.to_string(), "a": r.entities[0].cid.to_string(),
            "b": r.entities[1].cid.to_string(), "assurance": r.assurance.name(),
        }),
        Proved::Pairing { pairing_id, a, b, expires_ms, renews } => json!({
            "pairing_id": pairing_id.to_string(), "a": a.to_string(), "b": b.to_string(), "expires_ms": expires_ms,
            "renews": renews.map(|id| id.to_string()),
        }),
        Proved::Terms { pairing_id, terms } => json!({
            "pairing_id": pairing_id.to_string(), "expires_ms": u64::from(terms.expires) * 1000,
            "max_uses": terms.max_uses, "operations": terms.operations,
        }),
        Proved::Revocation { target, by, reason } => json!({
            "revoked": target.name(), "id": hex::encode(target.parts().1), "reason": reason,
            "by": by.map(|cid| cid.to_string()),
        }),
        Proved::Replacement { record, old } => json!({
            "binding_id": record.binding_id.to_string(), "replaces": old.to_string(),
            "a": record.entities[0].cid.to_string(), "b": record.entities[1].cid.to_string(),
        }),
        Proved::Ownership(t) => json!({
            "hop": t.hop, "from": t.from.to_string(), "to": t.to.to_string(), "time_ms": t.time_ms,
        }),
        Proved::Consent { consent: c, owner } => json!({
            "owner": owner.to_string(), "binding": c.binding.to_string(), "partner": c.partner.to_string(),
            "until_ms": c.until_ms, "hop": c.hop, "number": c.number,
        }),
        Proved::Validation { event: e, witnesses } => json!({
            "witnesses": witnesses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "level": e.level() as u8, "event": e.kind.name(), "boot": e.boot, "seq": e.seq, "time_ms": e.time_ms,
            "payload": hex::encode(&e.payload),
            "energy": module_energy(e),
            "escalation": e.escalation.map(|x| json!({
                "target": x.target as u8, "reason": x.reason.name(), "urgency": x.urgency.name(),
            })),
            "access": e.access.as_ref().map(|a| json!({
                "protocol": a.protocol.name(), "endpoint": a.endpoint.as_str(), "device": a.device.as_str(),
            })),
        }),
        Proved::Delegation { id, delegation: d } => json!({
            "delegation": id.to_string(), "number": d.number, "delegate": d.delegate.sign_pub().to_string(),
            "not_before": d.not_before, "not_after": d.not_after, "operations": d.operations,
            "packs": d.packs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Proved::Act { act, kind, refused } => json!({
            "delegation": act.delegation.to_string(), "number": act.number, "time": act.time,
            "kind": kind.name(), "refused": refused.map(|r| r.code()),
        }),
        Proved::Batch(s) => json!({
            "first_seq": s.first_seq, "count": s.count, "first_ms": s.first_ms, "last_ms": s.last_ms,
            "root": hex::encode(s.root),
        }),
        Proved::Metrics { report: r, tensor: t } => json!({
            "observer": r.observer.to_string(), "subject": r.subject.to_string(), "context": r.context.name(),
            "start_ms": r.start_ms, "end_ms": r.end_ms, "metrics": r.metrics, "temperature": r.temperature,
            "load_ppm": r.load_ppm, "cycles": r.cycles, "talent": t.talent.get(), "training": t.training.get(),
            "temperament": t.temperament.get(),
        }),
        Proved::Energy(e) => json!({
            "event": kind(e.kind),
            "cycle": e.cycle, "seq": e.seq, "start_ms": e.start_ms, "end_ms": e.end_ms, "mwh": e.mwh,
            "mean_mw": e.mean_mw, "soc_ppm": e.soc_ppm,
        }),
        Proved::Config { config: c, setting: s } => json!({
            "parameter": c.parameter, "value": c.value, "in_force": s.value, "version": s.version,
            "direction": s.direction.name(), "local": s.local, "conflict": s.conflict, "conflicts": s.conflicts,
            "command": hex::encode(s.command),
        }),
        Proved::Governance(g) => json!({ "change": g.change.kind().name(), "height": g.height }),
        Proved::EnergyOrder(o) => json!({
            "order": o.what.name(), "id": o.id.to_string(), "cid": o.cid.to_string(),
        }),
        Proved::EnergyReceipt { receipt: r, giver, taker } => json!({
            "transfer": r.transfer.to_string(), "giver": giver.to_string(), "taker": taker.to_string(),
            "given_mwh": r.given, "received_mwh": r.received, "start_ms": r.start_ms, "end_ms": r.end_ms,
        }),
        Proved::EnergyRelease { transfer, giver, mwh } => json!({
            "transfer": transfer.to_string(), "giver": giver.to_string(), "mwh": mwh,
        }),
        Proved::Settlement { subject, settlement: s } => json!({
            "subject": subject.to_string(), "mwh": s.mwh, "price_micro_per_kwh": s.price, "amount_micro": s.amount,
            "payer": s.payer.to_string(), "payee": s.payee.to_string(),
        }),
        Proved::Objection { subject, reason } => {
            json!({ "subject": subject.to_string(), "reason": reason })
        }
        Proved::Resolution { subject, upheld } => {
            json!({ "subject": subject.to_string(), "upheld": upheld })
        }
        Proved::Checkpoint(p) => json!({
            "entries": p.number, "hash": hex::encode(p.hash), "time": p.time,
        }),
        Proved::State { from, to, by, .. } => json!({
            "from": from.name(), "to": to.name(), "by": by.name(),
        }),
        Proved::Version(v) => json!({
            "hardware": v.hardware, "firmware": v.firmware, "image": hex::encode(v.image), "time_ms": v.time_ms,
        }),
        Proved::Context(s) => json!({
            "lct_id": hex::encode(s.lct), "about": s.content.name(), "number": s.number, "time_ms": s.time_ms,
        }),
        Proved::Said(_) => json!({}),
        Proved::CycleClose(c) => json!({
            "cycle": c.cycle, "events": c.events, "charged_mwh": c.charged_mwh, "discharged_mwh": c.discharged_mwh,
            "start_ms": c.start_ms, "end_ms": c.end_ms,
        }),
    };
    object["text"] = json!(proved.to_string());
    object
}
