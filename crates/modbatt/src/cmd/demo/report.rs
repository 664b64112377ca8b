//! What a run leaves behind: receipts, and the figures for scripts.

use lct::Digest;
use lct::binding::BindingRecord;
use lct::consent::Consent;
use lct::context::Statement;
use lct::delegation::{Act, DelegationId};
use lct::energy::{CycleClose, EnergyEvent};
use lct::id::Cid;
use lct::journal::Checkpoint;
use lct::lifecycle::{Move, Version};
use lct::ownership::Transfer;
use lct::registration::Registration;
use lct::trade;
use lct::trust::MetricsReport;
use lct::validation::Event;
use ledger::codec::Canonical;
use ledger::tx::{Body, Registry, Signed, Subject, Tx};
use node::receipts::ReceiptFailure;
use node::{Chain, Snapshot};
use serde_json::{Value, json};

use super::super::Failure;
use super::super::data_dir::{DataDir, replace_file};
use super::super::ledger::{failure, figures};
use super::super::receipt::name_of_event;
use super::faults::Faults;

/// Figures of one run, beside those of the ledger.
#[derive(Default)]
pub struct Run {
    /// Measurements fed to the pack.
    pub rows: u64,
    /// Modules of the pack.
    pub modules: u64,
    /// Frames with the encryption bit, on both buses.
    pub frames_sealed: u64,
    /// Frames without it.
    pub frames_clear: u64,
    /// Clear frames of classes that a paired device accepts only sealed.
    pub frames_clear_after_pairing: u64,
    /// Sealed messages that did not open, over all parties.
    pub open_failures: u64,
    /// Messages that never became whole or found no room.
    pub messages_lost: u64,
    /// Records of which only the leaf arrived.
    pub gaps: u64,
    /// Frames lost and frames flipped by the fault plan.
    pub disturbed: (u32, u32),
    /// Faults that the parties had.
    pub faults: Faults,
    /// Virtual time, ms.
    pub virtual_ms: u64,
    /// Time on this machine, ms.
    pub wall_ms: u64,
    /// Jobs that the ledger refused.
    pub refused_jobs: u64,
    /// Jobs that wait for the journal of a laptop.
    pub held_jobs: u64,
}

/// Writes the receipts that are not there yet: registrations, bindings, pairings, every energy statement, and the
/// first and last record of every component. Returns how many files the folder then holds.
pub fn write_receipts(dir: &DataDir, chain: &Chain, components: &[(String, Cid)]) -> Result<u64, Failure> {
    let snapshot = chain.read().map_err(|e| failure(&e))?;
    let mut records: Vec<(String, Cid, u32)> = Vec::new();
    for (name, cid) in components {
        if let Some((first, last)) = first_and_last(chain, &snapshot, cid)? {
            records.extend([first, last].map(|seq| (format!("record-{name}-{seq:07}"), *cid, seq)));
        }
    }
    for (name, id) in statements(chain, &snapshot)? {
        let path = dir.receipt(&name);
        if path.exists() {
            continue;
        }
        match chain.receipt_tx(&id) {
            Ok(receipt) => replace_file(&path, &receipt.to_file())?,
            // A refused transaction proves nothing.
            Err(ReceiptFailure::Refused(_)) => {}
            Err(e) => return Err(Failure::Failed(format!("receipt of {name}: {e}"))),
        }
    }
    for (name, cid, seq) in records {
        let path = dir.receipt(&name);
        if !path.exists() {
            let receipt = chain
                .receipt_record(&cid, seq)
                .map_err(|e| Failure::Failed(format!("receipt of {name}: {e}")))?;
            replace_file(&path, &receipt.to_file())?;
        }
    }
    let folder = dir.receipts();
    let files = std::fs::read_dir(&folder)
        .map_err(|e| Failure::Failed(format!("{}: {}", folder.display(), super::super::reason(&e))))?;
    Ok(files.filter_map(Result::ok).filter(|f| f.path().extension().is_some_and(|e| e == "receipt")).count()
        as u64)
}

/// Names and ids of the accepted transactions that get a receipt, in the order of the chain.
fn statements(chain: &Chain, snapshot: &Snapshot) -> Result<Vec<(String, Digest)>, Failure> {
    let mut all = Vec::new();
    for height in 1..=chain.tip().height {
        let Some(block) = snapshot.block(height).map_err(|e| failure(&e))? else { continue };
        for bytes in &block.txs {
            let Ok(tx) = Tx::from_bytes(bytes) else { continue };
            if let Some(name) = name_of(&tx.unsigned.body) {
                all.push((name, Tx::id_of(bytes)));
            }
        }
    }
    Ok(all)
}

/// File name of a transaction's receipt; batches have none of their own, their records do.
fn name_of(body: &Body) -> Option<String> {
    Some(match body {
        Body::Register { statement, .. } => {
            format!("registration-{}", Registration::decode(statement).ok()?.component_id)
        }
        Body::LctCreate { a, b, .. } => format!("lct-{a}-{b}"),
        Body::Bind { record, .. } | Body::Rebind { record, .. } | Body::FactoryBind { record, .. } => {
            format!("binding-{}", BindingRecord::decode(record).ok()?.binding_id)
        }
        Body::PairComplete(p) | Body::PairRenew { paired: p, .. } => format!("pairing-{}", p.pairing_id),
        Body::Energy(signed) => {
            let event = EnergyEvent::decode(&signed.statement).ok()?;
            format!("energy-{:05}-{:05}", event.cycle, event.seq)
        }
        Body::CycleClose(signed) => {
            format!("cycle-{:05}", CycleClose::decode(&signed.statement).ok()?.cycle)
        }
        Body::Consent { statement, .. } => {
            let consent = Consent::decode(statement).ok()?;
            format!("consent-{}-{}", consent.cid, consent.binding)
        }
        Body::Transfer { statement, .. } => {
            let transfer = Transfer::decode(statement).ok()?;
            format!("owner-{}-{:05}", transfer.cid, transfer.hop)
        }
        Body::Revoke { target, .. } => {
            let (code, id) = target.parts();
            format!("revoked-{code}-{}", hex::encode(id))
        }
        Body::RevokeSigned(Signed { statement, .. })
        | Body::PairUse(Signed { statement, .. })
        | Body::PairModify { statement, .. }
        | Body::Validate { signed: Signed { statement, .. }, .. } => {
            let event = Event::decode(statement).ok()?;
            name_of_event(event.kind.name(), &event.cid, event.position())
        }
        Body::Checkpoint(signed) => {
            let point = Checkpoint::read_body(&signed.statement).ok()?;
            format!("log-{}-{:08}", point.cid, point.number)
        }
        Body::Delegate { statement } => format!("delegation-{}", DelegationId::of(statement)),
        Body::DelegateAct { statement, .. } => {
            let act = Act::read(statement).ok()?;
            format!("act-{}-{:05}", act.delegation, act.number)
        }
        Body::ConfigSet(c) => format!("config-{}-{:02}-{:05}", c.cid, c.parameter, c.version),
        Body::ConfigReport(c) => format!("config-report-{}-{:02}-{:05}", c.cid, c.parameter, c.version),
        Body::Govern(g) => format!("{}-{:08}", g.change.kind().name().replace('/', "-"), g.height),
        Body::Registry(body) => registry_name(body)?,
        Body::EnergyOrder { statement, .. } => {
            let order = trade::Order::decode(statement).ok()?;
            format!("order-{}-{}", order.id, order.what.name().replace(' ', "-"))
        }
        Body::EnergyReceipt { statement, .. } => {
            format!("transfer-{}", trade::Receipt::decode(statement).ok()?.transfer)
        }
        Body::EnergyRelease { transfer } => format!("released-{transfer}"),
        Body::Settle { subject, .. } => about("settled", subject),
        Body::Object { subject, .. } => about("objection", subject),
        Body::Resolve { subject, .. } => about("resolved", subject),
        Body::Metrics(signed) => {
            let report = MetricsReport::decode(&signed.statement).ok()?;
            format!("metrics-{}-{}-{}", report.subject, report.observer, report.end_ms)
        }
        Body::Batch(_) => return None,
    })
}

/// The same of what is said of components, LCTs and pairings beyond their making.
fn registry_name(body: &Registry) -> Option<String> {
    Some(match body {
        Registry::Move { statement, .. } => {
            let m = Move::decode(statement).ok()?;
            format!("state-{}-{:05}", m.cid, m.number)
        }
        Registry::Version { statement, .. } => {
            let v = Version::decode(statement).ok()?;
            format!("version-{}-{:05}", v.cid, v.number)
        }
        Registry::Context { statement, .. } => {
            let s = Statement::decode(statement).ok()?;
            format!("{}-{}-{:05}", s.content.name(), hex::encode(s.lct), s.number)
        }
        // What an account said in its own name is in the block; nobody else signed it.
        _ => return None,
    })
}

fn about(what: &str, subject: &Subject) -> String {
    let (id, cycle) = subject.parts();
    format!("{what}-{}-{cycle:05}", hex::encode(id))
}

/// Sequence numbers of the first and last record that is kept whole.
fn first_and_last(chain: &Chain, snapshot: &Snapshot, cid: &Cid) -> Result<Option<(u32, u32)>, Failure> {
    let Some(head) = snapshot.telemetry(cid).map_err(|e| failure(&e))? else { return Ok(None) };
    let whole = |seq: &u32| chain.receipt_record(cid, *seq).is_ok();
    let first = (0..=head.last_seq).find(whole);
    let last = (0..=head.last_seq).rev().find(whole);
    Ok(first.zip(last))
}

/// The object that ends a run with `--json`.
pub fn as_json(dir: &DataDir, chain: &Chain, pack: Cid, run: &Run, receipts: u64) -> Result<Value, Failure> {
    let status = figures(&chain.status().map_err(|e| failure(&e))?);
    let assurance = super::bootstrap::recorded(chain, pack).map_err(|e| failure(&e))?;
    Ok(json!({
        "rows": run.rows,
        "modules": run.modules,
        "assurance": assurance.map(lct::binding::Assurance::name),
        "frames_sealed": run.frames_sealed,
        "frames_clear": run.frames_clear,
        "frames_clear_after_pairing": run.frames_clear_after_pairing,
        "records": status.records,
        "batches": status.batches,
        "blocks": status.blocks,
        "transactions": status.transactions,
        "components": status.components,
        "energy_discharged_mwh": status.energy_discharged_mwh,
        "energy_charged_mwh": status.energy_charged_mwh,
        "receipts_written": receipts,
        "open_failures": run.open_failures,
        "messages_lost": run.messages_lost,
        "record_gaps": run.gaps,
        "frames_dropped": run.disturbed.0,
        "frames_flipped": run.disturbed.1,
        "refused_jobs": run.refused_jobs,
        "held_jobs": run.held_jobs,
        "faults": run.faults.as_json(),
        "alerts": run.faults.alerts(),
        "virtual_ms": run.virtual_ms,
        "wall_ms": run.wall_ms,
        "trust_file": dir.trust_file(),
        "data_dir": dir.path(),
    }))
}
