//! Web hooks (A187 to A190): `POST /webhooks`, `GET /webhooks`, `GET /webhooks/{id}`.

use crate::{
    encoding::{Fixed, Hex, Label},
    event::Cursor,
};
use ::lct::{Digest, hash::sha256};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Furthest that an order may end ahead of the bridge's time, in seconds.
pub const ORDER_MAX_S: u64 = 600;
/// Longest address of a receiver, in bytes.
pub const URL_MAX: usize = 512;

/// What an operator wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WebhookAction)]
pub enum Action {
    /// Deliver events to a receiver.
    Add = 1,
    /// Stop for ever; its letters are forgotten.
    Remove = 2,
    /// Go on at another place, also after it was suspended; its dead letters are forgotten.
    Replay = 3,
}

/// Body of `POST /webhooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookOrder)]
pub struct Order {
    /// Label for the log.
    #[schema(value_type = Label)]
    pub creator: String,
    /// Drawn by the operator when it is added.
    pub id: Hex<16>,
    /// What to do.
    pub action: Action,
    /// Of `add`: where events go.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Of `add`: words of the catalogue, separated by commas; everything without.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub types: String,
    /// Of `add`: id or cid of the component that events concern; everything without.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub component: String,
    /// Of `add` and `replay`: `start`, `now` or the id of an event; `now` without.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
    /// End of the order, Unix seconds.
    pub expires_at: u64,
    /// The operator's key.
    pub key: Hex<33>,
    /// Over [`Order::digest`].
    pub signature: Fixed<64>,
}

impl Order {
    /// What the operator signs: `H("modbatt1 webhook" || chain_id 32 || u8 action || id 16 || u64 expires_at || url || 00 ||
    /// types || 00 || component || 00 || after)`. A text with a zero byte is refused.
    pub fn digest(&self, chain_id: &Digest) -> Digest {
        let (action, until) = ([self.action as u8], self.expires_at.to_be_bytes());
        let texts = [&self.url, &self.types, &self.component, &self.after].map(String::as_str).join("\0");
        sha256(&[b"modbatt1 webhook", chain_id, &action, &self.id.0, &until, texts.as_bytes()])
    }
}

/// A web hook as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// Its id.
    pub id: Hex<16>,
    /// Where events go.
    pub url: String,
    /// Words of the catalogue, separated by commas; empty for everything.
    pub types: String,
    /// The component that events concern; empty for everything.
    pub component: String,
    /// `active`, or `suspended`: too many events could not be delivered.
    pub state: String,
    /// The last event that is dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Events delivered.
    pub delivered: u64,
    /// How often the next event was tried without success.
    pub tries: u32,
    /// Why the last try failed; empty when it did not.
    pub error: String,
    /// Events given up.
    pub dead: u64,
    /// Key of the signatures; in the first answer to `add` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Hex<32>>,
}

/// Answer of `GET /webhooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhooks {
    /// By id.
    pub webhooks: Vec<Webhook>,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// The event; `GET /events` has it still.
    pub event: Cursor,
    /// Tries.
    pub tries: u32,
    /// Why the last one failed.
    pub error: String,
    /// When it was given up, Unix seconds.
    pub at: u64,
}

/// Answer of `GET /webhooks/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Letters {
    /// How it stands.
    pub webhook: Webhook,
    /// By event.
    pub dead_letters: Vec<DeadLetter>,
}
