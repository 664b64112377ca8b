//! `modbatt check`: is the installation still what it should be? Keys and certificates, a sealed echo on every
//! channel, what the ledger says of each component, the audit logs.
//!
//! A program that runs on the directory does the same every hour and keeps the last report in `check.json`; this
//! command then asks it for a fresh one. Without such a program it powers the pack on, checks, and powers it off.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::policy::Standing;
use gateway::audit::Log;
use gateway::checkup::Channel;
use lct::attest::verify_chain;
use pack::app::Party;
use pack::identity::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::audit::{self, known::OnLedger, proof, proof::Known};
use super::data_dir::{DataDir, replace_file};
use super::{Failure, Outcome, print};
use crate::custody::Unlock;
use crate::custody::authority::Openings;

/// The last report, in the data directory.
pub const REPORT: &str = "check.json";
/// Asks the program that runs on the directory for a fresh report.
pub const REQUEST: &str = "check.request";
/// Longest wait for that program.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks for its report.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `modbatt check`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// The data directory of the installation
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    unlock: Unlock,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// `keys`, `channel`, `ledger`, `revocation`, `policy` or `audit`.
    pub area: Cow<'static, str>,
    /// What of it.
    pub name: String,
    /// True when it holds.
    pub holds: bool,
    /// What was found, in words.
    pub found: String,
}

/// Area of what is said of a device that is not sound.
const CONDITION: &str = "device";

/// Everything that was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// When, Unix milliseconds.
    pub time_ms: u64,
    /// What.
    pub items: Vec<Item>,
}

impl Report {
    /// An empty report at `time_ms`.
    pub fn new(time_ms: u64) -> Self {
        Report { time_ms, items: Vec::new() }
    }

    /// Adds a finding.
    pub fn add(
        &mut self,
        area: &'static str,
        name: impl Into<String>,
        holds: bool,
        found: impl Into<String>,
    ) {
        self.items.push(Item { area: area.into(), name: name.into(), holds, found: found.into() });
    }

    /// True when something was checked and all of it holds.
    pub fn holds(&self) -> bool {
        !self.items.is_empty() && self.items.iter().all(|item| item.holds)
    }

    /// What was found of the channel to a component, each tier an item.
    pub fn channels_to(&self, id: &str) -> Vec<&Item> {
        let tier = |item: &&Item| item.name.strip_prefix(id).is_some_and(|rest| rest.starts_with(", "));
        self.items.iter().filter(|item| item.area == "channel").filter(tier).collect()
    }

    /// `key-lost` or `tampered`, of a component that is not sound.
    pub fn condition_of(&self, id: &str) -> Option<&str> {
        let item = self.items.iter().find(|item| item.area == CONDITION && item.name == id)?;
        item.found.split(':').next()
    }

    /// The report for scripts and for `check.json`.
    pub fn as_json(&self) -> Value {
        json!({ "format": 1, "time_ms": self.time_ms, "holds": self.holds(), "items": self.items })
    }

    /// One line: that all holds, or the first thing that does not.
    pub fn summary(&self) -> String {
        let failing = self.items.iter().filter(|i| !i.holds);
        match failing.clone().next() {
            None => format!("check: {} things hold", self.items.len()),
            Some(first) => format!(
                "check: {} of {} things do not hold; {} {}: {}",
                failing.count(),
                self.items.len(),
                first.area,
                first.name,
                first.found
            ),
        }
    }

    /// Writes the report into the directory.
    pub fn keep(&self, dir: &Path) -> Result<(), Failure> {
        Ok(replace_file(&dir.join(REPORT), format!("{}\n", self.as_json()).as_bytes())?)
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let report = match dir.run()? {
        Some(run) if super::ask(async { api::Client::new(&run.url)?.health().await }).is_ok() => {
            ask_the_program(dir.path())?
        }
        _ => {
            drop(dir);
            super::demo::check(&args.data_dir, &args.unlock)?
        }
    };
    let text = if args.json { format!("{}\n", report.as_json()) } else { in_words(&report) };
    print(&text)?;
    Ok(if report.holds() { Outcome::Good } else { Outcome::Bad })
}

/// Has the program that runs on the directory check, and waits for its report.
pub fn ask_the_program(dir: &Path) -> Result<Report, Failure> {
    let path = dir.join(REPORT);
    let before = read(&path);
    replace_file(&dir.join(REQUEST), b"check\n")?;
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
        match read(&path) {
            Some(report) if Some(&report) != before.as_ref() => return Ok(report),
            _ => {}
        }
    }
    Err(Failure::Failed(format!(
        "the program that runs on {} gave no report within {} s; look at its output",
        dir.display(),
        PATIENCE.as_secs()
    )))
}

/// Whether somebody asked for a report; the question is taken with the answer.
pub fn is_asked(dir: &Path) -> bool {
    std::fs::remove_file(dir.join(REQUEST)).is_ok()
}

fn read(path: &Path) -> Option<Report> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// A report, one line for each thing.
pub fn in_words(report: &Report) -> String {
    let mut text = String::new();
    for item in &report.items {
        let mark = if item.holds { "ok  " } else { "FAIL" };
        text += &format!("{mark} {:8} {}: {}\n", item.area, item.name, item.found);
    }
    text += if report.holds() { "everything holds\n" } else { "something does not hold\n" };
    text
}

/// Keys and certificates of this computer's own role and of simulated devices.
pub fn keys(report: &mut Report, identities: &[&Identity], now_s: u32) {
    for own in identities {
        let name = own.component_id.to_string();
        let (holds, found) = match verify_chain(&own.device, &own.batch, &[own.root], Some(now_s)) {
            Err(e) => (false, format!("its certificate does not hold: {e}")),
            Ok(subject) if subject.key != own.key.public() => {
                (false, "its key is not the one of its certificate".to_owned())
            }
            Ok(subject) if subject.cid != own.cid() || subject.role != own.role => {
                (false, "its certificate is another component's".to_owned())
            }
            Ok(subject) => {
                let days = subject.not_after.saturating_sub(now_s) / 86_400;
                (true, format!("key and certificate fit, {days} days left"))
            }
        };
        report.add("keys", name, holds, found);
    }
}

/// Who cannot work with its keys (`spec/channel.md`, H137, H138).
pub fn conditions<'a>(
    report: &mut Report,
    devices: impl IntoIterator<Item = (&'a Identity, pack::lifecycle::Condition)>,
) {
    use pack::lifecycle::Condition;
    for (own, condition) in devices {
        let name = own.component_id.to_string();
        match condition {
            Condition::Sound => {}
            Condition::KeyLost => {
                let found =
                    format!("key-lost: it cannot read its keys; `modbatt recover {name}` gives it new ones");
                report.add(CONDITION, name, false, found);
            }
            Condition::Tampered => {
                report.add(CONDITION, name, false, "tampered: it needs a factory reset at the device");
            }
        }
    }
}

/// What the echoes found. All who share a group key must hold the same generation.
pub fn channels(report: &mut Report, found: &[Channel], name: impl Fn(Party) -> String) {
    let pack = found.iter().find(|c| c.party == Party::Pack && c.is_open()).map(|c| c.generation);
    for channel in found {
        let label = format!("{}, {} tier", name(channel.party), channel.tier.name());
        match channel.round_trip {
            None => report.add("channel", label, false, "no echo came back"),
            Some(_) if pack.is_some_and(|generation| generation != channel.generation) => {
                let found =
                    format!("echo came back, but the group key is of generation {}", channel.generation);
                report.add("channel", label, false, found);
            }
            Some(time) => {
                let text =
                    format!("echo in {}.{} ms", time.as_micros() / 1_000, time.as_micros() % 1_000 / 100);
                report.add("channel", label, true, text);
            }
        }
    }
}

/// What the ledger says of a component, asked through the API.
pub async fn registration(
    report: &mut Report,
    client: &api::Client,
    own: &Identity,
    partner: Option<&Identity>,
    binding: Option<[u8; 16]>,
) {
    let name = own.component_id.to_string();
    let component = match client.component(&name).await {
        Ok(component) => component,
        Err(e) => return report.add("ledger", name, false, e.to_string()),
    };
    let mut wrong = Vec::new();
    if component.cid.0 != own.cid().0 || component.device_key.0 != own.key.public().0 {
        wrong.push("registered with another key".to_owned());
    }
    if component.status != "active" {
        wrong.push(format!("its status is {}", component.status));
    }
    let mut bound = "registered".to_owned();
    if let Some(partner) = partner {
        let active = component
            .bindings
            .iter()
            .filter(|b| b.partner_id == partner.component_id.as_str() && b.status == "active");
        let found = active.max_by_key(|b| b.created_at);
        match (found, binding) {
            (None, _) => wrong.push(format!("not bound to {}", partner.component_id)),
            (Some(b), Some(own)) if b.binding_id.0 != own => {
                wrong.push(format!("bound to {} by another binding than the device's", partner.component_id));
            }
            (Some(b), _) => bound += &format!(", bound to {} ({})", partner.component_id, b.assurance),
        }
    }
    match wrong.is_empty() {
        true => report.add("ledger", name, true, bound),
        false => report.add("ledger", name, false, wrong.join("; ")),
    }
}

/// What the authority's list in force says of these components.
pub async fn revocations(report: &mut Report, client: &api::Client, identities: &[&Identity]) {
    let list = match client.revocations().await {
        Ok(list) => list,
        Err(e) => return report.add("revocation", "list", false, e.to_string()),
    };
    let mut listed = 0;
    for own in identities {
        for entry in list.entries.iter().filter(|e| e.kind == "component" && e.id.0 == own.cid().0) {
            listed += 1;
            let found = format!("was revoked at Unix time {}: {}", entry.time, entry.reason);
            report.add("revocation", own.component_id.to_string(), false, found);
        }
    }
    if listed == 0 {
        let found = format!("number {}, none of these components is on it", list.number);
        report.add("revocation", "list", true, found);
    }
}

/// Whether every binding of these components is under the policy that was ordered for it. `versions` are those under
/// which a device is paired with the one above it, by component.
pub async fn policies(report: &mut Report, client: &api::Client, pack: &str, versions: &[(&str, u32)]) {
    let standings = match client.policies(Some(pack)).await {
        Ok(standings) => standings.policies,
        Err(e) => return report.add("policy", pack, false, e.to_string()),
    };
    for (name, version) in versions {
        // B is the side farther from the app.
        let Some(standing) = standings.iter().find(|s| s.b == *name) else { continue };
        let Standing { a, in_force, ordered, .. } = standing;
        let (holds, found) = match (version == in_force, standing.is_open()) {
            (true, false) => (true, format!("version {version} in force with {a}")),
            (true, true) => {
                (false, format!("version {version} in force with {a}, version {ordered} was ordered"))
            }
            (false, _) => (
                false,
                format!("it is under version {version} with {a}, the authority has version {in_force}"),
            ),
        };
        report.add("policy", *name, holds, found);
    }
}

/// The logs of these components in `folder`, each held against its keys and anchors; `authority` opens first keys.
pub async fn logs(
    report: &mut Report,
    client: &api::Client,
    folder: &Path,
    identities: &[&Identity],
    authority: &Openings,
) -> Result<(), Failure> {
    let mut logs = Vec::new();
    for file in audit::logs_of(folder)? {
        match gateway::audit::read(&file) {
            Ok(log) => logs.push(log),
            Err(e) => report.add("audit", file.display().to_string(), false, e.to_string()),
        }
    }
    for own in identities {
        let name = own.component_id.to_string();
        let known = match OnLedger::asked(client, &name).await {
            Ok(known) => known,
            Err(e) => {
                report.add("audit", name, false, e.to_string());
                continue;
            }
        };
        let mine: Vec<&Log> = logs.iter().filter(|log| log.cid == own.cid()).collect();
        let held = Known { signers: &known.keys, authority: Some(authority), anchors: Some(&known.anchors) };
        let mut results: Vec<_> = mine.iter().map(|log| proof::check(log, &held)).collect();
        results.extend(proof::missing(&mine, &known.anchors).map(Err));
        if results.is_empty() {
            report.add("audit", name, true, "no log has arrived yet");
            continue;
        }
        for result in results {
            report.add("audit", name.clone(), result.is_ok(), audit::in_words(&result));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::schedule::Tier;

    fn channel(party: Party, tier: Tier, ms: Option<u64>, generation: u32) -> Channel {
        Channel { party, tier, round_trip: ms.map(pack::time::Duration::from_millis), generation }
    }

    #[test]
    fn silence_and_an_old_group_key_are_found() {
        let name = |party: Party| format!("{party:?}");
        let rows = [
            (vec![], false),
            (vec![channel(Party::Pack, Tier::Pair, Some(4), 3)], true),
            (
                vec![
                    channel(Party::Pack, Tier::Pair, Some(4), 3),
                    channel(Party::Module(1), Tier::Exch, Some(9), 3),
                ],
                true,
            ),
            (
                vec![
                    channel(Party::Pack, Tier::Pair, Some(4), 3),
                    channel(Party::Module(1), Tier::Exch, Some(9), 2),
                ],
                false,
            ),
            (
                vec![
                    channel(Party::Pack, Tier::Pair, Some(4), 3),
                    channel(Party::Module(1), Tier::Exch, None, 0),
                ],
                false,
            ),
        ];
        for (found, holds) in rows {
            let mut report = Report::new(1);
            channels(&mut report, &found, name);
            assert_eq!(report.holds(), holds, "{report:?}");
            assert_eq!(report.items.len(), found.len());
            assert_eq!(report.as_json()["holds"], holds);
            let text = in_words(&report);
            assert_eq!(text.contains("FAIL"), !holds && !found.is_empty(), "{text}");
        }
    }
}
