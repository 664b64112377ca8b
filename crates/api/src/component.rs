//! `POST /components/register`, `GET /components/{id}`, and what is known of it under that.

use crate::encoding::{Blob, Hex, Label};
use ::lct::{Error, id::Cid, validation::EventKind};
use ledger::records::Validation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Body of `POST /components/register`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Label of who asks; recorded in the log, never an authorisation (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// Shown text about the component; echoed, not stored.
    #[schema(value_type = Object)]
    pub component_data: Map<String, Value>,
    /// Free label.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// Signed transaction of kind `component/register`.
    pub transaction: Blob,
}

/// Answer of `POST /components/register`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Registered {
    /// The component's id.
    pub component_id: String,
    /// The same value, under the name that existing clients read.
    pub component_identity: String,
    /// Identity of its entity LCT.
    pub lct_id: Hex<32>,
    /// `registered`.
    pub status: String,
    /// The transaction that registered it, which is an earlier one when the component was registered before.
    pub txhash: Hex<32>,
    /// Echo.
    pub creator: String,
    /// Echo.
    #[schema(value_type = Object)]
    pub component_data: Map<String, Value>,
    /// Echo.
    pub context: String,
}

/// One binding of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BindingView {
    /// Which binding.
    pub binding_id: Hex<16>,
    /// Cid of the partner.
    pub partner: Hex<16>,
    /// Component id of the partner.
    pub partner_id: String,
    /// Role of the partner, for example `module`.
    pub partner_role: String,
    /// This component's signing key in the binding.
    pub signing_key: Hex<33>,
    /// `B0`, `B1`, `B2` or `B1+B2`.
    pub assurance: String,
    /// `active` or `revoked`.
    pub status: String,
    /// Why it is revoked; `superseded` where another one took its place or is to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Unix seconds.
    pub created_at: u64,
}

/// Answer of `GET /components`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Components {
    /// Height of the block after which it is so.
    pub height: u64,
    /// By cid.
    pub components: Vec<Registration>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A component in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ListedComponent)]
pub struct Registration {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// For example `module`.
    pub role: String,
    /// What became of it, for example `active`.
    pub status: String,
    /// Unix seconds.
    pub registered_at: u64,
    /// Its entity LCT.
    pub lct_id: Hex<32>,
    /// Manufacturer's serial number.
    pub serial: String,
    /// Hardware version.
    pub hardware_version: u32,
    /// Firmware version.
    pub firmware_version: u32,
    /// Attested nominal capacity, mWh; 0 of what stores no energy.
    pub capacity_mwh: u64,
}

/// Answer of `GET /components/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Component {
    /// The component's id.
    pub component_id: String,
    /// Its 16-byte identifier on the buses and in the ledger.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// `app`, `pack`, `module` or `sensor`.
    pub role: String,
    /// The same word, under the name of existing clients.
    pub component_type: String,
    /// `active` or `revoked`.
    pub status: String,
    /// Unix seconds of block time.
    pub registered_at: u64,
    /// Identity of its entity LCT.
    pub lct_id: Hex<32>,
    /// Manufacturer's serial number.
    pub serial: String,
    /// Hardware version.
    pub hardware_version: u32,
    /// Firmware version.
    pub firmware_version: u32,
    /// Attested capacity, mWh.
    pub capacity_mwh: u64,
    /// Attested state of charge at registration, ppm.
    pub opening_soc_ppm: u32,
    /// Device identity key.
    pub device_key: Hex<33>,
    /// Signing keys of its bindings that are in force.
    pub signing_keys: Vec<Hex<33>>,
    /// Its bindings.
    pub bindings: Vec<BindingView>,
}

/// One anchor of an audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnchorView {
    /// The binding whose key signed it.
    pub binding_id: Hex<16>,
    /// Entries that it covers.
    pub number: u64,
    /// Hash of the last of them.
    pub hash: Hex<32>,
    /// The device's time, Unix seconds; 0 when it did not know.
    pub time: u32,
    /// The key that signed it.
    pub signing_key: Hex<33>,
    /// Transaction that recorded it.
    pub txhash: Hex<32>,
    /// Height of that.
    pub height: u64,
}

/// Answer of `GET /components/{id}/anchors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Anchors {
    /// Cid of the component.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// By binding, then by number.
    pub anchors: Vec<AnchorView>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Whose a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Owner {
    /// Key of the owner.
    pub key: Hex<33>,
    /// `H(transfer)` of the last hop, which the next one names.
    pub last_transfer: Hex<32>,
    /// How it came there, from the manufacturer on.
    pub hops: Vec<Hop>,
}

/// One change of hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hop {
    /// Who gave.
    pub from: Hex<33>,
    /// Who took.
    pub to: Hex<33>,
    /// When both signed, Unix seconds.
    pub time: u64,
    /// The transaction that recorded it; its receipt proves the hop.
    pub txhash: Hex<32>,
}

/// Where a component said last that it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessPoint {
    /// `can`, `http` or `mqtt`.
    pub protocol: String,
    /// Bus or URL.
    pub endpoint: String,
    /// Device at the endpoint.
    pub device: String,
    /// Boot counter of the event that said so.
    pub boot: u32,
    /// Number of that event; a later one supersedes it.
    pub seq: u32,
}

/// One event of a component that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statement {
    /// Word of its type, for example `announce` or `energy`.
    pub event: String,
    /// Its level, 1 to 7.
    pub level: u8,
    /// Boot counter of its signer.
    pub boot: u32,
    /// Number within this boot.
    pub seq: u32,
    /// How many witnesses signed too.
    pub witnesses: u8,
    /// Unix seconds of block time.
    pub recorded_at: u64,
    /// The transaction that recorded it; its receipt proves the event and its witnesses.
    pub txhash: Hex<32>,
}

impl Statement {
    /// Event number `seq` of start `boot`, as the ledger keeps it.
    ///
    /// # Errors
    /// [`Error`] for a type that this version does not know.
    pub fn of(boot: u32, seq: u32, kept: &Validation) -> Result<Self, Error> {
        let kind = EventKind::from_code(kept.kind)?;
        Ok(Statement {
            event: kind.name().into(),
            level: kind.level() as u8,
            boot,
            seq,
            witnesses: kept.witnesses,
            recorded_at: kept.time_ms / 1000,
            txhash: Hex(kept.tx),
        })
    }
}

/// Most events in an answer.
pub const STATEMENTS_MAX: usize = 256;

/// Answer of `GET /components/{id}/statements`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statements {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// How many are recorded.
    pub count: u64,
    /// The last [`STATEMENTS_MAX`] of them, oldest first.
    pub statements: Vec<Statement>,
}

impl Statements {
    /// The events of a component, oldest first: boot counter, number, and what the ledger keeps.
    ///
    /// # Errors
    /// [`Error`] for a type that this version does not know.
    pub fn of(
        component_id: String,
        cid: &Cid,
        height: u64,
        all: &[(u32, u32, Validation)],
    ) -> Result<Self, Error> {
        let last = all.iter().skip(all.len().saturating_sub(STATEMENTS_MAX));
        let statements =
            last.map(|(boot, seq, kept)| Statement::of(*boot, *seq, kept)).collect::<Result<_, _>>()?;
        Ok(Statements { component_id, cid: Hex(cid.0), height, count: all.len() as u64, statements })
    }
}

/// A relation in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// `bound` or `paired`.
    pub relation: String,
    /// Binding or pairing id.
    pub id: Hex<16>,
    /// Cid of the other side.
    pub peer: Hex<16>,
    /// Component id of the other side.
    pub peer_id: String,
    /// End of a lease, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// When the ledger recorded it, Unix seconds.
    pub recorded_at: u64,
}

/// Answer of `GET /components/{id}/relations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relations {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Its entity LCT.
    pub lct_id: Hex<32>,
    /// `active` or `revoked`.
    pub status: String,
    /// Its owner, if it was ever handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Where it is found, if it ever said so on the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessPoint>,
    /// What it is bound to and paired with at the time of the last block.
    pub links: Vec<Link>,
    /// Whom it sees, nearest first, without itself, three hops deep (ledger.md, L149).
    pub horizon: Vec<Seen>,
}

/// A component in the horizon of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seen {
    /// Its id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Hops to it.
    pub hops: u8,
    /// What it counts for, ppm.
    pub weight_ppm: u32,
    /// Id of the component one hop nearer.
    pub via: String,
    /// The link from there: `bound`, `paired` or `witnessing`.
    pub link: String,
}
