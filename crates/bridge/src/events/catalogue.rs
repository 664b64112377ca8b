//! From an event of the ledger to one of the API: the only place that knows both (A181, A182).
//!
//! An event has one or more names: first its own, then those under which clients of other systems know it. What a block does
//! not record of an event is an empty text where a client expects a member, and is never made up.

use std::borrow::Cow;

use api::{encoding::Hex, event::rfc3339};
use lct::{
    id::{BindingId, Cid, PairingId},
    trade::TradeId,
};
use ledger::{
    block::Block,
    codec::Canonical,
    outcome::{Event, Value as Attribute},
    records::{
        LctStatus,
        registry::{AuthorizationId, NO_PROXY, QueueId},
    },
    trust::{Ppm, T3},
    tx::Tx,
};
use node::{Error, Snapshot, snapshot::LoggedEvent};
use serde_json::{Map, Value, json};

/// Names of the ledger's events, beside those whose name is that of the ledger in small letters.
const NAMES: &[(&str, &[&str])] = &[
    ("LctRelationshipCreated", &["lct_created"]),
    ("OwnershipTransferred", &["component_transferred"]),
    ("ComponentMoved", &["component_state_changed"]),
    ("EscalationRecorded", &["escalation_raised"]),
    ("AuthorizationCreated", &["pairing_authorization_created"]),
    ("EnergyTransferred", &["energy_transfer"]),
    ("TrustUpdated", &["trust_updated", "tensor_score_updated", "relationship_trust_calculated"]),
];

/// Events whose name is the ledger's in small letters.
const PLAIN: &[&str] = &[
    "ComponentRegistered",
    "BindingRecorded",
    "AdpMinted",
    "PairingCompleted",
    "BindingReplaced",
    "RebindingAgreed",
    "ValidationRecorded",
    "PairingRenewed",
    "PairingUsed",
    "PairingModified",
    "PairingRevoked",
    "BindingRevoked",
    "ComponentRevoked",
    "BatchAuthorityRevoked",
    "AccountRevoked",
    "DelegationRevoked",
    "DelegationRecorded",
    "VersionRecorded",
    "AuthorizationUpdated",
    "AuthorizationRevoked",
    "AnonymousComponentRegistered",
    "AnonymousPairingAuthorized",
    "AnonymousRevocationCreated",
    "CommitmentOpened",
    "LctUpdated",
    "ContextRecorded",
    "PairingRequestQueued",
    "OfflineQueueProcessed",
    "PairingRequestTried",
    "RequestCancelled",
    "DelegateActed",
    "TelemetryBatchRecorded",
    "EnergyCharged",
    "EnergyDischarged",
    "EnergyOpened",
    "EnergyCycleClosed",
    "GovernanceDecided",
    "EnergyLocked",
    "EnergyReleased",
    "OfferPublished",
    "OfferAccepted",
    "OfferWithdrawn",
    "EnergySettled",
    "SettlementObjected",
    "ObjectionResolved",
    "ConfigSet",
    "ConfigReported",
    "ConfigConflict",
    "LogAnchored",
];

/// Further names, by what an event says.
const LCT_TERMINATED: &str = "lct_terminated";
const COMPONENT_VERIFIED: &str = "component_verified";
/// Types of a validation event by which a component proves who it is (tiers.md, V3).
const VERIFICATIONS: [&str; 2] = ["signed_handshake", "binding_verification"];

/// Words of other systems for which no block holds anything, and why.
const NEVER: &[(&str, &str)] = &[
    ("pairing_initiated", "a pairing is recorded when it is complete: pairing_completed"),
    ("component_pairing_verified_with_hashes", "that is a question, and the ledger records no questions"),
    ("trust_tensor_created", "a tensor begins with its first change: trust_updated"),
];

/// Attributes that name a component, and the member that holds its id.
const COMPONENTS: &[(&str, &str)] = &[
    ("cid", "component_id"),
    ("entity_a", "component_a"),
    ("entity_b", "component_b"),
    ("component_a", "component_a"),
    ("component_b", "component_b"),
    ("partner", "partner"),
    ("observer", "observer"),
    ("giver", "giver"),
    ("taker", "taker"),
];

/// `PairingCompleted` as `pairing_completed`.
fn small(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Whether events can have this name; if not, why.
///
/// # Errors
/// A clause in words.
pub fn known(name: &str) -> Result<(), String> {
    if let Some((_, why)) = NEVER.iter().find(|(never, _)| *never == name) {
        return Err(format!("there is no event `{name}`: {why}"));
    }
    if words().any(|word| word == name) { Ok(()) } else { Err(format!("there is no event `{name}`")) }
}

/// Every name that an event can have; some twice.
pub fn words() -> impl Iterator<Item = Cow<'static, str>> {
    let named = NAMES.iter().flat_map(|(_, names)| *names).copied();
    let further = [LCT_TERMINATED, COMPONENT_VERIFIED];
    named.chain(further).map(Cow::from).chain(PLAIN.iter().map(|plain| small(plain).into()))
}

/// An event as it can be told, with all that a filter asks about.
pub(super) struct Described {
    /// Its own name first.
    pub names: Vec<Cow<'static, str>>,
    /// Components that it concerns.
    pub about: Vec<Cid>,
    /// Block time, RFC 3339.
    pub timestamp: String,
    /// Members of A182.
    pub data: Map<String, Value>,
}

/// Describes events of one snapshot. Keeps the last block, as many events come of one.
pub(super) struct Describer<'a> {
    snapshot: &'a Snapshot<'a>,
    block: Option<(u64, Option<Block>)>,
    /// Of the last block that was looked at: signer and identity of its last transaction that was looked at.
    tx: Option<((u64, u32), [String; 2])>,
}

impl<'a> Describer<'a> {
    pub fn new(snapshot: &'a Snapshot<'a>) -> Self {
        Describer { snapshot, block: None, tx: None }
    }

    /// `None` when the replica does not keep the event's block any more.
    pub fn describe(&mut self, logged: &LoggedEvent) -> Result<Option<Described>, Error> {
        let (height, index, _) = logged.id;
        if self.block.as_ref().is_none_or(|(kept, _)| *kept != height) {
            self.block = Some((height, self.snapshot.block(height)?));
        }
        let Some((_, Some(block))) = &self.block else { return Ok(None) };
        let at = (height, index);
        let [creator, tx_hash] = match &self.tx {
            Some((kept, tx)) if *kept == at => tx.clone(),
            _ => {
                let Some(bytes) = block.txs.get(index as usize) else { return Ok(None) };
                let signer = Tx::from_bytes(bytes).map(|tx| Hex(tx.unsigned.signer.0).to_string());
                let tx = [signer.unwrap_or_default(), Hex(Tx::id_of(bytes)).to_string()];
                self.tx = Some((at, tx.clone()));
                tx
            }
        };
        let seconds = block.header.time_ms / 1000;
        let mut telling = Telling { snapshot: self.snapshot, height, about: Vec::new(), data: Map::new() };
        telling.attributes(&logged.event)?;
        telling.between(&logged.event)?;
        telling.put("creator", creator);
        telling.put("timestamp", seconds);
        telling.put("tx_hash", tx_hash);
        telling.members(&logged.event)?;
        let Telling { about, data, .. } = telling;
        Ok(Some(Described { names: names(&logged.event), about, timestamp: rfc3339(seconds), data }))
    }
}

fn names(event: &Event) -> Vec<Cow<'static, str>> {
    let kind = event.kind.as_ref();
    if kind == "LctUpdated" && text(event, "status") == LctStatus::Terminated.name() {
        return vec![LCT_TERMINATED.into(), "lct_updated".into()];
    }
    let mut names: Vec<Cow<'static, str>> = match NAMES.iter().find(|(name, _)| *name == kind) {
        Some((_, names)) => names.iter().map(|name| Cow::from(*name)).collect(),
        None => vec![small(kind).into()],
    };
    if kind == "ValidationRecorded" && VERIFICATIONS.contains(&text(event, "type")) {
        names.push(COMPONENT_VERIFIED.into());
    }
    names
}

fn text<'e>(event: &'e Event, name: &str) -> &'e str {
    match event.get(name) {
        Some(Attribute::Text(text)) => text,
        _ => "",
    }
}

fn uint(event: &Event, name: &str) -> u64 {
    match event.get(name) {
        Some(Attribute::Uint(n)) => *n,
        _ => 0,
    }
}

fn bytes<const N: usize>(event: &Event, name: &str) -> Option<[u8; N]> {
    match event.get(name) {
        Some(Attribute::Bytes(bytes)) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

/// Wh of a whole number of mWh, as clients of other systems expect energies.
fn wh(mwh: u64) -> f64 {
    mwh as f64 / 1000.0
}

struct Telling<'a> {
    snapshot: &'a Snapshot<'a>,
    height: u64,
    about: Vec<Cid>,
    data: Map<String, Value>,
}

impl Telling<'_> {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.data.insert(name.to_owned(), value.into());
    }

    /// Puts a member that is there under another name as well.
    fn also(&mut self, name: &str, known_as: &str) {
        let value = self.data.get(known_as).cloned().unwrap_or_else(|| "".into());
        self.put(name, value);
    }

    fn component(&mut self, member: &str, cid: &Cid) -> Result<(), Error> {
        let id = match self.snapshot.component(cid)? {
            Some(component) => component.component_id,
            None => Hex(cid.0).to_string(),
        };
        self.put(member, id);
        if !self.about.contains(cid) {
            self.about.push(*cid);
        }
        Ok(())
    }

    /// What the ledger's event says, components by their ids.
    fn attributes(&mut self, event: &Event) -> Result<(), Error> {
        for (name, value) in &event.attributes {
            let component = COMPONENTS.iter().find(|(attribute, _)| attribute == name);
            match (component, value) {
                (Some((_, member)), Attribute::Bytes(bytes)) if bytes.len() == 16 => {
                    let mut cid = Cid([0; 16]);
                    cid.0.copy_from_slice(bytes);
                    self.component(member, &cid)?;
                }
                (_, Attribute::Bytes(bytes)) => self.put(name, hex::encode(bytes)),
                (_, Attribute::Uint(n)) => self.put(name, *n),
                (_, Attribute::Text(text)) => self.put(name, text.as_str()),
            }
        }
        Ok(())
    }

    /// Between which components something is that the event only names. What is looked up never changes.
    fn between(&mut self, event: &Event) -> Result<(), Error> {
        let s = self.snapshot;
        let mut sides = None;
        if let Some(id) = bytes(event, "pairing_id") {
            sides = s.pairing(&PairingId(id))?.map(|p| (p.a, p.b));
        } else if let Some(id) = bytes(event, "binding_id").or(bytes(event, "binding")) {
            sides = s.binding(&BindingId(id))?.map(|b| (b.a, b.b));
        } else if let Some(id) = bytes(event, "lct_id").filter(|_| event.kind != "ComponentRegistered") {
            sides = s.lct(&id)?.map(|l| (l.a, l.b));
        } else if let Some(id) = bytes(event, "authorization_id") {
            sides = s.authorization(&AuthorizationId(id))?.map(|a| (a.a, a.b));
        } else if let Some(id) = bytes(event, "request_id") {
            sides = s.queued(&QueueId(id))?.map(|q| (q.initiator, q.target));
        }
        // A log is that of one of the two.
        if let Some((a, b)) = sides.filter(|_| event.kind != "LogAnchored") {
            self.component("component_a", &a)?;
            self.component("component_b", &b)?;
        }
        if let Some(id) = bytes(event, "offer").filter(|_| event.get("cid").is_none())
            && let Some(offer) = s.offer(&TradeId(id))?
        {
            self.component("component_id", &offer.cid)?;
        }
        if let Some(id) = bytes(event, "subject") {
            if uint(event, "cycle") > 0 {
                self.component("component_id", &Cid(id))?;
            } else if let Some(transfer) = s.transfer(&TradeId(id))? {
                self.component("giver", &transfer.giver)?;
                self.component("taker", &transfer.taker)?;
            }
        }
        Ok(())
    }

    /// Members that clients of other systems expect beside (A182).
    fn members(&mut self, event: &Event) -> Result<(), Error> {
        match event.kind.as_ref() {
            "ComponentRegistered" => {
                self.also("component_data", "serial");
                self.put("context", "");
            }
            "ValidationRecorded" => {
                self.also("verifier", "creator");
                self.also("context", "type");
            }
            "LctRelationshipCreated" => self.put("proxy_id", ""),
            "PairingCompleted" => {
                self.also("challenge_id", "pairing_id");
                let (lct, context) = self.lct(event)?.unwrap_or_default();
                self.put("lct_id", lct);
                self.put("session_context", context);
            }
            "PairingRevoked" => {
                let pairing = bytes(event, "pairing_id").map(PairingId);
                let pairing = pairing.map(|id| self.snapshot.pairing(&id)).transpose()?.flatten();
                if let Some(pairing) = pairing {
                    self.put("binding_id", Hex(pairing.binding_id.0).to_string());
                }
            }
            "AnonymousComponentRegistered" => self.put("context", ""),
            "AnonymousPairingAuthorized" => {
                self.put("status", "active");
                self.put("expires_at", rfc3339(uint(event, "expires_ms") / 1000));
            }
            "AnonymousRevocationCreated" => {
                self.also("revocation_id", "tx_hash");
                self.put("revocation_type", text(event, "scope").to_uppercase());
                self.put("urgency_level", "");
                self.also("reason_category", "category");
                self.put("context", "");
                self.put("status", "revoked");
                self.put("effective_at", rfc3339(uint(event, "effective_ms") / 1000));
            }
            "PairingRequestQueued" => {
                self.also("operational_context", "context");
                self.put("proxy_id", "");
                let request = bytes(event, "request_id").map(QueueId);
                let request = request.map(|id| self.snapshot.queued(&id)).transpose()?.flatten();
                if let Some(proxy) = request.map(|r| r.proxy).filter(|proxy| *proxy != NO_PROXY) {
                    self.component("proxy_id", &proxy)?;
                }
            }
            "OfflineQueueProcessed" => {
                self.also("processed_requests", "completed");
                self.also("failed_requests", "failed");
            }
            "AuthorizationCreated" => {
                self.also("operational_context", "context");
                self.also("authorization_rules", "level");
            }
            "AuthorizationUpdated" => {
                let updates = json!({
                    "operational_context": text(event, "context"), "authorization_rules": text(event, "level"),
                    "expires_at": uint(event, "expires_ms") / 1000,
                });
                self.put("updates", updates);
            }
            "TrustUpdated" => {
                let of = |name| Ppm::clamped(uint(event, name).into());
                let t3 =
                    T3 { talent: of("talent"), training: of("training"), temperament: of("temperament") };
                let score = t3.composite(&self.snapshot.params()?.trust);
                let score = f64::from(score.get()) / 1e6;
                self.put("score", score);
                self.put("trust_score", score);
                self.also("component_a", "observer");
                self.also("component_b", "component_id");
                self.also("operational_context", "context");
                let cid = bytes(event, "cid").map(|cid: [u8; 16]| hex::encode(cid)).unwrap_or_default();
                self.put("tensor_id", format!("{cid}.{}", text(event, "context")));
            }
            "EnergyTransferred" => {
                self.also("operation_id", "transfer");
                self.put("amount", wh(uint(event, "given_mwh")));
                self.put("context", "");
            }
            _ => {}
        }
        Ok(())
    }

    /// The LCT of the two of a pairing that was there when it was completed, and what it is for.
    fn lct(&self, event: &Event) -> Result<Option<(String, String)>, Error> {
        let (Some(a), Some(b)) = (bytes(event, "entity_a").map(Cid), bytes(event, "entity_b").map(Cid))
        else {
            return Ok(None);
        };
        let sides = [a.min(b), a.max(b)];
        let mut lcts = self.snapshot.lcts_of(&a)?.into_iter();
        let found = lcts.find(|(_, lct)| [lct.a, lct.b] == sides && lct.height <= self.height);
        Ok(found.map(|(id, lct)| (Hex(id).to_string(), lct.context)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first cells of the table of L75.
    fn specified() -> Vec<&'static str> {
        let spec = include_str!("../../../../spec/ledger.md");
        let (_, table) = spec.split_once("| event | attributes in order |").unwrap();
        let (table, _) = table.split_once("**L76.**").unwrap();
        let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| name.len() > 2).collect()
    }

    #[test]
    fn every_name_is_that_of_an_event_of_the_ledger() {
        let specified = specified();
        assert!(specified.len() > 50, "{specified:?}");
        for name in NAMES.iter().map(|(name, _)| name).chain(PLAIN) {
            assert!(specified.contains(name), "{name} is in no row of L75");
        }
        for name in specified {
            let [own] = &names(&Event::new(name))[..1] else { panic!("{name}") };
            assert_eq!(known(own), Ok(()), "{name}: it needs a row here");
        }
    }

    #[test]
    fn words_of_the_catalogue_and_others() {
        // The catalogue of facts 1.9 and what it lacks.
        for name in [
            "component_registered",
            "component_verified",
            "anonymous_component_registered",
            "anonymous_pairing_authorized",
            "anonymous_revocation_created",
            "pairing_completed",
            "lct_created",
            "energy_transfer",
            "pairing_request_queued",
            "offline_queue_processed",
            "request_cancelled",
            "pairing_authorization_created",
            "authorization_updated",
            "authorization_revoked",
            "relationship_trust_calculated",
            "tensor_score_updated",
            "component_transferred",
            "lct_updated",
            "lct_terminated",
            "energy_settled",
            "trust_updated",
            "pairing_revoked",
            "binding_recorded",
            "binding_replaced",
            "binding_revoked",
            "validation_recorded",
            "escalation_raised",
        ] {
            assert_eq!(known(name), Ok(()));
        }
        assert!(known("pairing_initiated").unwrap_err().contains("pairing_completed"));
        assert!(known("pairing_complete").unwrap_err().contains("no event"));
    }
}
