//! `modbatt selftest`: recomputes a file of test vectors and names every entry that differs.
//!
//! Any file with the fields of the published one can be checked: identifiers, seeds, ephemerals, nonces and
//! counters are taken from the file, never from here. Everything in such a file is public, so failures print the
//! values. Signatures are verified and made again with RFC 6979.

mod handshake;
mod hpke;
mod keys;
mod lifecycle;
mod messages;
mod sheet;

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use self::messages::Channels;
use self::sheet::{Problem, Report, Sheet, Stop};
use super::{Failure, Outcome, print, reason};

/// The published vectors.
const PUBLISHED: &str = include_str!("../../../../spec/vectors/secure-link.json");

/// Arguments of `modbatt selftest`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// Vectors to check, a JSON file with the fields of the published one [default: the published vectors]
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (name, text) = match &args.vectors {
        None => ("the published vectors".to_owned(), PUBLISHED.to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read(path)
                .map_err(|e| Failure::Input(format!("cannot read the vectors {name}: {}", reason(&e))))?;
            let text = String::from_utf8(text)
                .map_err(|_| Failure::Input(format!("{name} is not a JSON file: it is not UTF-8 text")))?;
            (name, text)
        }
    };
    let vectors: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::Input(format!("{name} is not a JSON file: {e}; is it truncated?")))?;
    if !vectors.is_object() {
        return Err(Failure::Input(format!(
            "{name} holds no vectors: a JSON object of groups is needed, as in spec/vectors/secure-link.json"
        )));
    }
    let report = check(&vectors);
    print(&if args.json { as_json(&name, &report) } else { as_table(&name, &report) })?;
    Ok(if report.good() { Outcome::Good } else { Outcome::Bad })
}

/// Recomputes every group of a file.
fn check(vectors: &Value) -> Report {
    let mut sheet = Sheet::new(vectors);
    compute(&mut sheet);
    sheet.report()
}

fn compute(s: &mut Sheet<'_>) {
    inputs(s);
    s.group("label", keys::label);
    let parties = s.group("spk", keys::spk);
    let need_parties = || parties.as_ref().ok_or_else(|| Stop("spk could not be computed".to_owned()));
    let pairing = s.group("cert", |s| keys::cert(s, need_parties()?));
    let need_pairing = || pairing.as_ref().ok_or_else(|| Stop("cert could not be computed".to_owned()));
    let mut channels = Channels::default();
    let pair = s.group("handshake_pair", |s| handshake::pair(s, need_parties()?, need_pairing()?));
    channels.add("handshake_pair", pair);
    for (group, flags) in [("handshake_dev", 0), ("handshake_dev_sas", lct::handshake::COMMITTED)] {
        let dev = s.group(group, |s| handshake::dev(s, need_parties()?, group, flags));
        channels.add(group, dev);
    }
    let rekeyed = s.group("rekey", |s| lifecycle::rekey(s, &channels));
    channels.add("rekey", rekeyed);
    let resumed = s.group("resume", |s| lifecycle::resume(s, &channels));
    channels.add("resume", resumed);
    messages::tiers(s, &channels);
    messages::seals(s, &channels);
    messages::compacts(s, &channels);
    s.group("level5", |s| lifecycle::level5(s, need_parties()?, &channels));
    s.group("completion", |s| lifecycle::completion(s, need_parties()?, need_pairing()?, &channels));
    s.group("audit", lifecycle::audit);
    s.group("nvrec", lifecycle::nvrec);
}

/// Reads every input once, so that all that are malformed are named, not only the first that stops a computation.
fn inputs(sheet: &mut Sheet<'_>) {
    const N12: [&str; 1] = ["section_v_iv"];
    const N16: [&str; 3] = ["pairing_id", "N_A", "N_B"];
    const N32: [&str; 10] = [
        "spk_seed_A",
        "spk_seed_B",
        "spk_seed_C",
        "salt",
        "xk",
        "hpke_ephemeral_A",
        "hpke_ephemeral_B",
        "validation_nonce",
        "ephemeral_A",
        "ephemeral_B",
    ];
    const N64: [&str; 3] = ["pk64", "device_key_half_A", "device_key_half_B"];
    const BYTES: [&str; 4] = ["clear_metadata", "policy", "body", "level5.cmd"];
    const TEXT: [&str; 4] = ["component_id_A", "component_id_B", "endpoint", "hpke_ephemeral_is"];
    const U32: [&str; 3] = ["boot_ctr_A", "boot_ctr_B", "level5.seq"];
    const U16: [&str; 4] = ["timeout_s", "base", "level5.type", "level5.ttl_ms"];
    const U8: [&str; 2] = ["v_flags", "device"];
    let path = |name: &&str| format!("inputs.{name}");
    // What is wrong is recorded in the sheet; the values are read where they are used.
    N12.iter().for_each(|n| drop(sheet.fixed::<12>(&path(n))));
    N16.iter().for_each(|n| drop(sheet.fixed::<16>(&path(n))));
    N32.iter().for_each(|n| drop(sheet.fixed::<32>(&path(n))));
    N64.iter().for_each(|n| drop(sheet.fixed::<64>(&path(n))));
    drop(sheet.fixed::<4>("inputs.level5.challenge"));
    BYTES.iter().for_each(|n| drop(sheet.bytes(&path(n))));
    TEXT.iter().for_each(|n| drop(sheet.text(&path(n))));
    U32.iter().for_each(|n| drop(sheet.number::<u32>(&path(n))));
    U16.iter().for_each(|n| drop(sheet.number::<u16>(&path(n))));
    U8.iter().for_each(|n| drop(sheet.number::<u8>(&path(n))));
}

/// What to write in the column `result`.
fn result(row: &sheet::Row) -> &'static str {
    match row {
        row if row.failed > 0 => "FAILED",
        row if row.unknown == row.entries => "not checked",
        row if row.compared == 0 => "used",
        _ => "ok",
    }
}

/// The sentence at the end.
fn summary(report: &Report) -> String {
    match (report.compared(), report.findings.len()) {
        (0, 0) => "FAILED: no entry of the file is known".to_owned(),
        (n, 0) => format!("ok: all {n} computed entries agree"),
        (_, 1) => "FAILED: 1 entry".to_owned(),
        (_, failed) => format!("FAILED: {failed} entries"),
    }
}

fn as_table(name: &str, report: &Report) -> String {
    let mut text = format!(
        "Vectors: {name}\n\n{:<20} {:>8} {:>9} {:>7}  result\n",
        "group", "entries", "computed", "failed"
    );
    for row in &report.rows {
        let (group, verdict) = (&row.group, result(row));
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{group:<20} {:>8} {:>9} {:>7}  {verdict}", row.entries, row.compared, row.failed);
    }
    if !report.findings.is_empty() {
        text.push('\n');
    }
    for finding in &report.findings {
        let _ = writeln!(text, "{}: {}", finding.entry, finding.problem);
        if let Problem::Differs { expected, computed, .. } = &finding.problem {
            let _ = writeln!(text, "  expected {expected}\n  computed {computed}");
        }
    }
    if !report.not_checked.is_empty() {
        let _ = writeln!(text, "\nNot checked, unknown here: {}", report.not_checked.join(", "));
    }
    let _ = writeln!(text, "\n{}", summary(report));
    text
}

fn as_json(name: &str, report: &Report) -> String {
    let groups: Vec<Value> = report
        .rows
        .iter()
        .map(|row| {
            json!({
                "group": row.group, "entries": row.entries, "computed": row.compared, "failed": row.failed,
                "result": result(row),
            })
        })
        .collect();
    let failures: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let mut failure = json!({ "entry": finding.entry, "problem": finding.problem.to_string() });
            if let Problem::Differs { expected, computed, .. } = &finding.problem {
                failure["expected"] = json!(expected);
                failure["computed"] = json!(computed);
            }
            failure
        })
        .collect();
    let object = json!({
        "vectors": name, "ok": report.good(), "computed": report.compared(), "failures": failures,
        "not_checked": report.not_checked, "groups": groups,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests;
