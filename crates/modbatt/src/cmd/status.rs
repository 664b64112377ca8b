//! `modbatt status`: every component of a running installation, with whom it is bound and paired, and how its channel is;
//! with `--verify` every relationship is held against the ledger.

mod around;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use api::component::{BindingView, Component, Relations};
use api::encoding::Hex;
use api::revocation::Revocations;
use api::{Client, ClientError};
use gateway::audit::{Log, LogRecord};
use lct::Digest;
use lct::id::Cid;
use lct::journal::{Code, Entry};
use lct::sign::PublicKey;
use ledger::records::pair_lct_id;
use serde_json::{Value, json};

use super::audit::{self, proof};
use super::check::{self, Report};
use super::data_dir::DataDir;
use super::{Failure, Outcome, ask, print};

/// Context of the relationship LCTs that commissioning makes.
const CONTEXT: &str = "battery_management";
/// Node of the one above in the log of a device.
const ABOVE: u8 = 0;

/// Arguments of `modbatt status`.
#[derive(clap::Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Args {
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Hold every relationship against the ledger, and say what does not hold; exit code 1 if something does not
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is known of a component.
struct Known {
    component: Component,
    relations: Relations,
    /// What its log says, oldest first.
    entries: Vec<Entry>,
}

/// A relationship as its side B has it: that side is farther from the app.
struct Relationship<'a> {
    below: &'a Known,
    above: &'a Known,
    binding: &'a BindingView,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Outcome, Failure> {
    let (dir, run) = DataDir::open_running(&args.data_dir, "its channels can be tried")?;
    let checked = check::ask_the_program(dir.path())?;
    let logs = logs(&dir.audit())?;
    let (rows, report, now) = ask(async {
        let client = Client::new(&run.url)?;
        let list = client.revocations().await?;
        let mut ids: BTreeSet<String> = logs.keys().map(Cid::to_string).collect();
        ids.extend(list.entries.iter().filter(|e| e.kind == "component").map(|e| e.id.to_string()));
        let mut known = BTreeMap::new();
        for id in ids {
            let (component, relations) = (client.component(&id).await?, client.relations(&id).await?);
            let log = logs.get(&Cid(component.cid.0)).into_iter().flatten();
            let entries = log.flat_map(|log| &log.records).filter_map(entry).collect();
            known.insert(component.component_id.clone(), Known { component, relations, entries });
        }
        let now = client.time_token().await?.time;
        let relationships = relationships(&known);
        let rows: Vec<Value> = known.values().map(|k| row(k, &relationships, &checked, now)).collect();
        let mut report = Report::new(now * 1_000);
        if args.verify {
            let around = around::ask(&client, &known).await?;
            let held = Held {
                around: &around,
                client: &client,
                known: &known,
                chain_id: dir.chain_id(),
                list: &list,
                logs: &logs,
                now,
            };
            for relationship in &relationships {
                held.verify(&mut report, relationship).await?;
            }
            held.listed(&mut report);
            around::stated(&mut report, &known, &around);
        }
        Ok((rows, args.verify.then_some(report), now))
    })?;
    print(&match args.json {
        true => {
            let mut object = json!({ "format": 1, "time": now, "components": rows });
            if let Some(report) = &report {
                object["verify"] = report.as_json();
            }
            format!("{object}\n")
        }
        false => {
            let lines: String = rows.iter().map(line).collect();
            lines + &report.as_ref().map_or_else(String::new, check::in_words)
        }
    })?;
    Ok(match report {
        Some(report) if !report.holds() => Outcome::Bad,
        _ => Outcome::Good,
    })
}

/// The devices' logs as the gateway keeps them.
fn logs(folder: &Path) -> Result<BTreeMap<Cid, Vec<Log>>, Failure> {
    let mut logs: BTreeMap<Cid, Vec<Log>> = BTreeMap::new();
    for file in audit::logs_of(folder)? {
        let log = gateway::audit::read(&file).map_err(|e| Failure::Input(e.to_string()))?;
        logs.entry(log.cid).or_default().push(log);
    }
    Ok(logs)
}

fn entry(record: &LogRecord) -> Option<Entry> {
    match record {
        LogRecord::Entry(_, bytes) => Entry::decode(bytes).ok(),
        _ => None,
    }
}

/// The last binding of each two components, in force or not.
fn relationships(known: &BTreeMap<String, Known>) -> Vec<Relationship<'_>> {
    let mut found = Vec::new();
    for below in known.values() {
        let mut last: BTreeMap<&str, &BindingView> = BTreeMap::new();
        for binding in &below.component.bindings {
            let known = last.entry(&binding.partner_id).or_insert(binding);
            let later = (binding.status == "active", binding.created_at)
                > (known.status == "active", known.created_at);
            if later {
                *known = binding;
            }
        }
        for (partner, binding) in last {
            let Some(above) = known.get(partner) else { continue };
            // What came to its end in good order, or to whose place another one came, is no relationship any more.
            let role = |id: &str| known.get(id).map(|k| k.component.role.as_str());
            let succeeded = below.component.bindings.iter().any(|b| {
                b.status == "active" && b.partner_id != partner && role(&b.partner_id) == role(partner)
            });
            let over = |k: &Known| k.component.status == "retired";
            if binding.status != "active"
                && (succeeded && rank(&above.component.role) < rank(&below.component.role)
                    || over(above)
                    || over(below))
            {
                continue;
            }
            if rank(&above.component.role) < rank(&below.component.role) {
                found.push(Relationship { below, above, binding });
            }
        }
    }
    found
}

/// How far from the app a role is.
fn rank(role: &str) -> usize {
    let nearest_first = ["app", "pack", "module", "sensor", "actuator"];
    nearest_first.iter().position(|known| *known == role).unwrap_or(usize::MAX)
}

impl Known {
    fn id(&self) -> &str {
        &self.component.component_id
    }

    /// The pairing with `peer` that is in force on the ledger, and the end of its lease.
    fn pairing(&self, peer: &str) -> Option<(Hex<16>, u64)> {
        let paired =
            self.relations.links.iter().filter(|link| link.relation == "paired" && link.peer_id == peer);
        // That of a delegate may end sooner than the one before it.
        let last = paired.max_by_key(|link| (link.recorded_at, link.expires_at))?;
        Some((last.id, last.expires_at?))
    }

    /// The last entry about the one above with one of these codes.
    fn last(&self, codes: &[Code]) -> Option<&Entry> {
        let about =
            |entry: &&Entry| entry.node == ABOVE && codes.iter().any(|code| *code as u8 == entry.code);
        self.entries.iter().rev().find(about)
    }

    /// The epoch of the channel to the one above, as the device told last.
    fn epoch(&self) -> Option<u32> {
        let detail = &self.last(&[Code::ChannelUp])?.detail;
        detail.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Whether every tier of the channel to a component answered.
fn channel(checked: &Report, id: &str) -> Option<bool> {
    let tiers = checked.channels_to(id);
    (!tiers.is_empty()).then(|| tiers.iter().all(|tier| tier.holds))
}

/// A component in JSON; members that do not apply are absent.
fn row(known: &Known, relationships: &[Relationship<'_>], checked: &Report, now: u64) -> Value {
    let Component { component_id, role, status, .. } = &known.component;
    let mut row = json!({ "component_id": component_id, "role": role, "status": status });
    if let Some(Relationship { above, binding, .. }) =
        relationships.iter().find(|r| r.below.id() == component_id)
    {
        row["bound_to"] = above.id().into();
        row["binding_id"] = binding.binding_id.to_string().into();
        row["binding"] = binding.status.as_str().into();
        row["assurance"] = binding.assurance.as_str().into();
        if let Some((id, end)) = known.pairing(above.id()) {
            row["pairing_id"] = id.to_string().into();
            row["lease_left_s"] = end.saturating_sub(now).into();
        }
        if let Some(epoch) = known.epoch() {
            row["epoch"] = epoch.into();
        }
        if let Some(open) = channel(checked, component_id) {
            row["channel"] = if open { "open" } else { "closed" }.into();
        }
    }
    if let Some(condition) = checked.condition_of(component_id) {
        row["condition"] = condition.into();
    }
    if let Some(last) = known.entries.last() {
        row["last_event"] = Code::from_number(last.code).map_or("unknown", Code::text).into();
        if last.time > 0 {
            row["last_event_time"] = last.time.into();
        }
    }
    row
}

/// A component in one line.
fn line(row: &Value) -> String {
    let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut text = format!("{:12} {:7} {:8}", word("component_id"), word("role"), word("status"));
    if row["bound_to"].is_string() {
        let state = if row["binding"] == "active" { "" } else { ", withdrawn" };
        text += &format!(" bound to {} ({}{state})", word("bound_to"), word("assurance"));
        text += &match row["lease_left_s"].as_u64() {
            Some(left) => format!(", paired, {} days of its lease left", left / 86_400),
            None => ", not paired".to_owned(),
        };
        if let Some(epoch) = row["epoch"].as_u64() {
            text += &format!(", epoch {epoch}");
        }
        if row["channel"].is_string() {
            text += &format!(", channel {}", word("channel"));
        }
    }
    if row["condition"].is_string() {
        text += &format!("; {}", word("condition"));
    }
    if row["last_event"].is_string() {
        text += &format!("; last: {}", word("last_event"));
    }
    text + "\n"
}

/// What relationships are held against.
struct Held<'a> {
    around: &'a BTreeMap<String, around::Surroundings>,
    client: &'a Client,
    known: &'a BTreeMap<String, Known>,
    chain_id: &'a Digest,
    list: &'a Revocations,
    logs: &'a BTreeMap<Cid, Vec<Log>>,
    now: u64,
}

impl Held<'_> {
    /// Whether a relationship is what the ledger has, in every respect.
    async fn verify(&self, report: &mut Report, relationship: &Relationship<'_>) -> Result<(), ClientError> {
        let Held { client, known, list, logs, now, .. } = self;
        let Relationship { below, above, binding } = relationship;
        let name = format!("{} and {}", above.id(), below.id());
        let mut wrong = Vec::new();
        let mut hold = |holds: bool, otherwise: String| {
            if !holds {
                wrong.push(otherwise);
            }
        };
        for side in [above, below] {
            hold(side.component.status == "active", format!("the ledger withdrew {}", side.id()));
            let lct = client.lct(&side.component.lct_id).await?;
            hold(
                lct.pairing_status == "active",
                format!("the LCT of {} is {}", side.id(), lct.pairing_status),
            );
        }
        hold(binding.status == "active", "the ledger withdrew their binding".into());
        let other = above.component.bindings.iter().find(|b| b.binding_id == binding.binding_id);
        hold(
            other.is_some_and(|b| b.partner_id == below.id()),
            "the two sides have different bindings".into(),
        );
        for (side, key) in [(above, other.map(|b| b.signing_key)), (below, Some(binding.signing_key))] {
            let in_force = key.is_some_and(|key| side.component.signing_keys.contains(&key));
            hold(in_force, format!("the key of {} is not in force", side.id()));
        }
        let [a, b] = [above, below].map(|side| Cid(side.component.cid.0));
        let id = Hex(pair_lct_id(self.chain_id, &a, &b, CONTEXT));
        match client.lct(&id).await {
            Ok(lct) => hold(lct.pairing_status == "active", format!("their LCT is {}", lct.pairing_status)),
            Err(e) => hold(false, format!("their LCT: {e}")),
        }
        let listed = |kind: &str, id: [u8; 16]| list.entries.iter().any(|e| e.kind == kind && e.id.0 == id);
        for side in [above, below] {
            hold(
                !listed("component", side.component.cid.0),
                format!("{} is on the revocation list", side.id()),
            );
        }
        hold(!listed("binding", binding.binding_id.0), "their binding is on the revocation list".into());
        match below.pairing(above.id()) {
            None => hold(false, "they are not paired".into()),
            Some((id, end)) => {
                hold(end > *now, "the lease of their pairing ended".into());
                hold(!listed("pairing", id.0), "their pairing is on the revocation list".into());
                let pairing = client.pairing(&id).await?;
                hold(
                    pairing.binding_id == binding.binding_id,
                    "their pairing rests on another binding".into(),
                );
                let told =
                    below.last(&[Code::Paired, Code::PairingEnded]).filter(|e| e.code == Code::Paired as u8);
                let same = told.is_some_and(|entry| entry.detail.starts_with(&id.0));
                hold(
                    same,
                    format!("{} is in another pairing than the ledger has, as its log says", below.id()),
                );
            }
        }
        let bound =
            below.last(&[Code::Bound]).is_some_and(|entry| entry.detail.starts_with(&binding.binding_id.0));
        hold(bound, format!("{} is in another binding than the ledger has, as its log says", below.id()));
        // Whoever signed it holds the key that the ledger has, or had before their binding was replaced, also by one with
        // another partner in the same place: the log goes on.
        let role = |id: &str| known.get(id).map(|k| k.component.role.as_str());
        let place = Some(above.component.role.as_str());
        let bindings = below.component.bindings.iter().filter(|b| role(&b.partner_id) == place);
        let signers: Vec<PublicKey> = bindings.map(|b| PublicKey(b.signing_key.0)).collect();
        let held = proof::Known { signers: &signers, authority: None, anchors: None };
        let proved = logs.get(&b).and_then(|logs| logs.last()).map(|log| proof::check(log, &held));
        match proved {
            Some(Ok(_)) => {}
            Some(Err(finding)) => hold(false, format!("the log of {}: {finding}", below.id())),
            None => hold(false, format!("no log of {} is here", below.id())),
        }
        wrong.extend(around::missing(relationship, self.around));
        let found = if wrong.is_empty() {
            "binding, pairing, LCTs, keys, horizon and trust are those of the ledger".into()
        } else {
            wrong.join("; ")
        };
        report.add("relation", name, wrong.is_empty(), found);
        Ok(())
    }

    /// What devices were told is revoked the ledger must hold too.
    fn listed(&self, report: &mut Report) {
        let entries = &self.list.entries;
        // A delegation comes there with its holder's acts.
        let missing = entries.iter().filter(|entry| entry.height.is_none() && entry.kind != "delegation");
        let missing: Vec<String> = missing.map(|entry| format!("{} {}", entry.kind, entry.id)).collect();
        let found = match missing.is_empty() {
            true => format!("the ledger holds what list {} names", self.list.number),
            false => format!("the ledger does not hold {}", missing.join(", ")),
        };
        report.add("revocation", "list", missing.is_empty(), found);
    }
}
