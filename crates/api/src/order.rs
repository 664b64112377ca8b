//! `POST /orders`, `GET /orders`, `GET /orders/{id}`, `POST /orders/{id}/outcome` (A60 to A63): what an operator wants
//! done with a pack, and what became of it.
//!
//! The gateway that holds the pack's channel takes orders when it can reach the bridge; so an order outlives a pack
//! without power and a vehicle without network, until it expires.

use crate::encoding::{ComponentId, Fixed, Hex, Label};
use ::lct::{Digest, hash::sha256, id::Cid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest time that an order may wait, in seconds.
pub const WAIT_MAX_S: u64 = 7 * 86_400;
/// Longest text of an outcome, in bytes.
pub const SAID_MAX: usize = 400;

/// What is to be done. The numbers are signed and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Task {
    /// Pair two bound components anew: a fresh certificate, fresh keys, the policy in force at the authority.
    Pair = 1,
    /// End the pairing of two components; their binding stays.
    Unpair = 2,
    /// Renew the epoch of the channel of two paired components.
    Rotate = 3,
    /// Bind two components, or bind them anew with keys of their own, and pair them.
    Bind = 4,
    /// Have a component, or both of a pair, state something at a validation level (A90).
    Validate = 11,
    /// Take a part that joined a commissioned pack into it: register, bind and pair it (A94).
    Install = 12,
    /// Bind and pair a pack with a new app whose predecessor's host was lost (A95).
    TakeOver = 13,
    /// Let the pack controller B have the place of the pack controller A: bind and pair it with the app (A97).
    Exchange = 14,
}

impl Task {
    /// Its name in JSON, in logs and at the command line.
    pub fn name(self) -> &'static str {
        match self {
            Task::Pair => "pair",
            Task::Unpair => "unpair",
            Task::Rotate => "rotate",
            Task::Bind => "bind",
            Task::Validate => "validate",
            Task::Install => "install",
            Task::TakeOver => "take_over",
            Task::Exchange => "exchange",
        }
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum State {
    /// No gateway has told an outcome.
    Waiting = 1,
    /// Done, as the gateway says.
    Done = 2,
    /// Given up, as the gateway says; `said` tells why.
    Failed = 3,
    /// Nobody did it in time. It is not done any more.
    Expired = 4,
}

/// What an operator signs: `H("modbatt1 order" || chain_id 32 || id 16 || u64 expires_at || u8 task || cid a 16 ||
/// cid b 16 [|| u8 level])`. The random id makes it good for one order on one chain.
pub fn order_digest(
    chain_id: &Digest,
    id: &[u8; 16],
    expires_at: u64,
    (task, level): (Task, Option<u8>),
    a: &Cid,
    b: &Cid,
) -> Digest {
    sha256(&[
        b"modbatt1 order",
        chain_id,
        id,
        &expires_at.to_be_bytes(),
        &[task as u8],
        &a.0,
        &b.0,
        level.as_slice(),
    ])
}

/// An event that a component stated: its id, boot counter and number. An order to validate ends with these (A90), written
/// `ID boot.seq` and joined by `, `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Component id.
    pub component_id: String,
    /// Boot counter of its signer, and number within this boot.
    pub position: (u32, u32),
}

impl Stated {
    /// What an outcome says.
    pub fn say(all: &[Stated]) -> String {
        let one = |s: &Stated| format!("{} {}.{}", s.component_id, s.position.0, s.position.1);
        all.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Reads what [`Stated::say`] wrote; `None` for anything else.
    pub fn read(said: &str) -> Option<Vec<Stated>> {
        let one = |s: &str| {
            let (component_id, at) = s.split_once(' ')?;
            let (boot, seq) = at.split_once('.')?;
            let position = (boot.parse().ok()?, seq.parse().ok()?);
            Some(Stated { component_id: component_id.to_owned(), position })
        };
        said.split(", ").map(one).collect()
    }
}

/// What a gateway signs: `H("modbatt1 order outcome" || chain_id 32 || id 16 || u8 state || said)`.
pub fn outcome_digest(chain_id: &Digest, id: &[u8; 16], state: State, said: &str) -> Digest {
    sha256(&[b"modbatt1 order outcome", chain_id, id, &[state as u8], said.as_bytes()])
}

/// Body of `POST /orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Label of who asks (A6).
    #[schema(value_type = Label)]
    pub creator: String,
    /// Drawn at random by the operator; the same order again answers with its state.
    pub id: Hex<16>,
    /// What.
    pub task: Task,
    /// Validation level 1 to 7, of [`Task::Validate`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 7)]
    pub level: Option<u8>,
    /// Component id of the side nearer the app.
    #[schema(value_type = ComponentId)]
    pub a: String,
    /// Component id of the other side; of [`Task::Validate`] the same as `a` for that component alone.
    #[schema(value_type = ComponentId)]
    pub b: String,
    /// Until when it may be done, Unix seconds.
    pub expires_at: u64,
    /// Key of an active operator account.
    pub key: Hex<33>,
    /// Its signature over [`order_digest`].
    pub signature: Fixed<64>,
}

/// An order and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// As it was placed.
    pub id: Hex<16>,
    /// What.
    pub task: Task,
    /// Validation level 1 to 7, of [`Task::Validate`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// Component id of the side nearer the app.
    #[schema(value_type = ComponentId)]
    pub a: String,
    /// Component id of the other side.
    #[schema(value_type = ComponentId)]
    pub b: String,
    /// When it was placed, Unix seconds.
    pub placed_at: u64,
    /// Until when it may be done, Unix seconds.
    pub expires_at: u64,
    /// Where it stands.
    pub state: State,
    /// What the gateway said of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// Answer of `GET /orders`: what waits, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Orders {
    /// Waiting orders.
    pub orders: Vec<Order>,
    /// Goes into `after` of the next page; absent on the last one (A204).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Body of `POST /orders/{id}/outcome`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// `done` or `failed`.
    pub state: State,
    /// Why it failed, or what was done; at most [`SAID_MAX`] bytes.
    #[serde(default)]
    pub said: String,
    /// Key of an active gateway account.
    pub key: Hex<33>,
    /// Its signature over [`outcome_digest`].
    pub signature: Fixed<64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order for one thing must not serve for another, and an outcome not for another order.
    #[test]
    fn what_is_signed_names_all_that_it_is_about() {
        let (a, b) = (Cid([3; 16]), Cid([4; 16]));
        let pair = (Task::Pair, None);
        let base = order_digest(&[1; 32], &[2; 16], 9, pair, &a, &b);
        for other in [
            order_digest(&[9; 32], &[2; 16], 9, pair, &a, &b),
            order_digest(&[1; 32], &[9; 16], 9, pair, &a, &b),
            order_digest(&[1; 32], &[2; 16], 8, pair, &a, &b),
            order_digest(&[1; 32], &[2; 16], 9, pair, &b, &a),
            order_digest(&[1; 32], &[2; 16], 9, (Task::Unpair, None), &a, &b),
            order_digest(&[1; 32], &[2; 16], 9, (Task::Pair, Some(7)), &a, &b),
        ] {
            assert_ne!(other, base);
        }
        let base = outcome_digest(&[1; 32], &[2; 16], State::Done, "x");
        for other in [
            outcome_digest(&[9; 32], &[2; 16], State::Done, "x"),
            outcome_digest(&[1; 32], &[9; 16], State::Done, "x"),
            outcome_digest(&[1; 32], &[2; 16], State::Failed, "x"),
            outcome_digest(&[1; 32], &[2; 16], State::Done, "y"),
        ] {
            assert_ne!(other, base);
        }
    }

    /// The command finds the events of an outcome on the ledger by what the gateway said.
    #[test]
    fn what_was_stated_is_read_as_it_was_said() {
        let stated = |id: &str, position| Stated { component_id: id.into(), position };
        for all in [vec![stated("a-1", (1, 2))], vec![stated("a-1", (1, 2)), stated("b_2", (3, u32::MAX))]] {
            assert_eq!(Stated::read(&Stated::say(&all)), Some(all));
        }
        for bad in ["", "a-1", "a-1 1", "a-1 1.x", "a-1 1.2,b 3.4", "a-1 1.2, "] {
            assert_eq!(Stated::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_those_of_json() {
        use Task::{Bind, Exchange, Install, Pair, Rotate, TakeOver, Unpair, Validate};
        for task in [Pair, Unpair, Rotate, Bind, Validate, Install, TakeOver, Exchange] {
            assert_eq!(serde_json::to_value(task).unwrap(), task.name());
        }
    }
}
