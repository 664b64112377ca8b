//! `GET /components/{id}/queue`, `GET /queue/{request id}` (A119): wishes that wait for a device (`spec/ledger.md`, L151 to L153).

use ledger::records::registry::{NO_PROXY, QueueId, Queued};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::Hex;

/// Priorities, in the order of their codes from 1.
pub const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];

/// A request of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Request {
    /// Its id.
    pub request_id: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// Cid of who asks.
    pub initiator: Hex<16>,
    /// Cid of with whom.
    pub target: Hex<16>,
    /// Cid of who asks in the initiator's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Hex<16>>,
    /// `pair` or `unpair`.
    pub wish: String,
    /// One of [`PRIORITIES`].
    pub priority: String,
    /// What the pairing is for.
    pub context: String,
    /// `queued`, `completed`, `failed`, `expired` or `cancelled`.
    pub status: String,
    /// Tries so far.
    pub tries: u8,
    /// Account that asked.
    pub sender: Hex<33>,
    /// Block time, Unix seconds.
    pub asked_at: u64,
    /// From when it may be tried, Unix seconds of block time.
    pub next_at: u64,
    /// When it is given up.
    pub expires_at: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
}

impl Request {
    /// A recorded request.
    #[must_use]
    pub fn of(id: &QueueId, height: u64, q: &Queued) -> Self {
        let priority = PRIORITIES.get(usize::from(q.priority).wrapping_sub(1)).copied().unwrap_or("unknown");
        Request {
            request_id: Hex(id.0),
            height,
            initiator: Hex(q.initiator.0),
            target: Hex(q.target.0),
            proxy: (q.proxy != NO_PROXY).then_some(Hex(q.proxy.0)),
            wish: q.wish.name().into(),
            priority: priority.into(),
            context: q.context.clone(),
            status: q.status.name().into(),
            tries: q.tries,
            sender: Hex(q.sender.0),
            asked_at: q.time_ms / 1000,
            next_at: q.next_ms / 1000,
            expires_at: q.expires_ms / 1000,
            ended_at: (q.ended_ms > 0).then_some(q.ended_ms / 1000),
        }
    }
}

/// Answer of `GET /components/{id}/queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// The component's id.
    pub component_id: String,
    /// Its cid.
    pub cid: Hex<16>,
    /// Height of the block after which it is so.
    pub height: u64,
    /// What waits in its queue, oldest first, its own and what it asks for others; at most 100.
    pub requests: Vec<Request>,
}
