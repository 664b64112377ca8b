//! `GET /commitments/{commitment}`, `GET /commitments/pairs/{id}` (A120): what is recorded without saying what it is
//! (`spec/ledger.md`, L138 to L140).

use ::lct::commitment::Field;
use ledger::records::registry::{AnonymousAuthorization, AnonymousComponent, Opened};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::Hex;

/// Words of the fields, in the order of their codes from 1.
pub const FIELDS: [(&str, Field); 4] = [
    ("component", Field::Component),
    ("manufacturer", Field::Manufacturer),
    ("category", Field::Category),
    ("rule", Field::Rule),
];

/// To what a commitment was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Value {
    /// The commitment.
    pub commitment: Hex<32>,
    /// `component`, `manufacturer`, `category` or `rule`.
    pub field: String,
    /// The value.
    pub value: String,
    /// Block time, Unix seconds.
    pub opened_at: u64,
}

impl Value {
    /// An opened commitment.
    #[must_use]
    pub fn of(commitment: Hex<32>, opened: &Opened) -> Self {
        let field = FIELDS.iter().find(|(_, field)| *field as u8 == opened.field);
        Value {
            commitment,
            field: field.map_or("unknown", |(name, _)| name).into(),
            value: opened.value.clone(),
            opened_at: opened.time_ms / 1000,
        }
    }
}

/// Answer of `GET /commitments/{commitment}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Committed {
    /// The component's commitment.
    pub commitment: Hex<32>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Account that recorded it.
    pub holder: Hex<33>,
    /// Commitment to its manufacturer.
    pub manufacturer: Hex<32>,
    /// Commitment to its type.
    pub category: Hex<32>,
    /// Block time, Unix seconds.
    pub recorded_at: u64,
    /// Whether it is withdrawn: itself, by a pattern, or with everything of its holder.
    pub withdrawn: bool,
    /// Which of the three were opened.
    pub opened: Vec<Value>,
}

impl Committed {
    /// A recorded component.
    #[must_use]
    pub fn of(
        commitment: Hex<32>,
        height: u64,
        (found, withdrawn): &(AnonymousComponent, bool),
        opened: Vec<Value>,
    ) -> Self {
        Committed {
            commitment,
            height,
            holder: Hex(found.holder.0),
            manufacturer: Hex(found.manufacturer),
            category: Hex(found.category),
            recorded_at: found.time_ms / 1000,
            withdrawn: *withdrawn,
            opened,
        }
    }
}

/// Answer of `GET /commitments/pairs/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommittedPair {
    /// Its id.
    pub authorization_id: Hex<32>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Account that recorded it.
    pub holder: Hex<33>,
    /// Commitment of who lets.
    pub a: Hex<32>,
    /// Commitment of whom.
    pub b: Hex<32>,
    /// Commitment to the rule.
    pub rule: Hex<32>,
    /// `basic`, `enhanced` or `critical`.
    pub level: String,
    /// Least trust of the partner, ppm.
    pub trust_ppm: u32,
    /// Block time, Unix seconds.
    pub recorded_at: u64,
    /// When it ends, Unix seconds of block time.
    pub expires_at: u64,
    /// The rule, if it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Value>,
}

impl CommittedPair {
    /// A recorded authorisation.
    #[must_use]
    pub fn of(id: Hex<32>, height: u64, found: &AnonymousAuthorization, opened: Option<Value>) -> Self {
        CommittedPair {
            authorization_id: id,
            height,
            holder: Hex(found.holder.0),
            a: Hex(found.a),
            b: Hex(found.b),
            rule: Hex(found.rule),
            level: found.level.name().into(),
            trust_ppm: found.trust_ppm,
            recorded_at: found.time_ms / 1000,
            expires_at: found.expires_ms / 1000,
            opened,
        }
    }
}
