//! Orders of operators for the gateway that holds a pack's channel (A60 to A63).
//!
//! The file is JSON, `{format: 1, chain_id, orders}`, replaced as a whole: an order is on disk before it is answered,
//! and an outcome before its gateway may forget it. Ended orders are kept while there is room, the oldest go first.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use api::{
    encoding::Hex,
    order::{Order, Outcome, Place, SAID_MAX, State, Task, WAIT_MAX_S, order_digest, outcome_digest},
    problem::code,
};
use lct::{
    Digest,
    id::{Cid, Role},
};
use node::Snapshot;
use serde::{Deserialize, Serialize};

use super::{Core, active_binding, by_operator, component, ordered};
use crate::{
    durable,
    refusal::{Refusal, Reply},
};

/// Most orders that wait at the same time.
const WAITING_MAX: usize = 256;
/// Most orders that are kept, ended ones included.
const KEPT_MAX: usize = 1024;
const FORMAT: u32 = 1;

/// Why the file of orders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// It is no file of orders, or another version's.
    #[error("{}: {what}; move it away to start without orders: those that wait are then not done", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It belongs to another chain.
    #[error("{} holds the orders of another chain", .0.display())]
    OtherChain(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    chain_id: Hex<32>,
    orders: Vec<Order>,
}

/// The file and what it holds, in the order of placing.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    chain_id: Digest,
    orders: Vec<Order>,
}

impl Book {
    /// Reads the file at `path`; without one there are no orders yet.
    pub fn open(path: &Path, chain_id: Digest) -> Result<Self, OrdersError> {
        let orders = match fs::read(path) {
            Ok(bytes) => {
                let damaged = |what: String| OrdersError::Damaged { path: path.into(), what };
                let file: File = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
                if file.format != FORMAT {
                    return Err(damaged(format!("it has format {}, this build knows {FORMAT}", file.format)));
                }
                if file.chain_id.0 != chain_id {
                    return Err(OrdersError::OtherChain(path.into()));
                }
                file.orders
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(OrdersError::Io { path: path.into(), source }),
        };
        Ok(Book { path: path.into(), chain_id, orders })
    }

    fn find(&self, id: &Hex<16>) -> Option<&Order> {
        self.orders.iter().find(|o| o.id == *id)
    }

    /// What was done of this task.
    pub fn done(&self, task: Task) -> impl Iterator<Item = &Order> {
        self.orders.iter().filter(move |o| (o.task, o.state) == (task, State::Done))
    }

    /// Whether an operator wants A and B bound, though they may be bound already, and nobody did it yet.
    pub fn binds(&self, pair: [&str; 2], now: u64) -> bool {
        self.waiting().any(|o| wants(o, Task::Bind, pair, now))
    }

    /// Whether an operator wanted the app A at `at` to take the pack B over from another one, and no gateway said since what
    /// became of it. What began in time is not stopped halfway by the order's end.
    pub fn takes_over(&self, pair: [&str; 2], at: u64) -> bool {
        let stands = |o: &&Order| matches!(o.state, State::Waiting | State::Expired);
        self.orders.iter().filter(stands).any(|o| wants(o, Task::TakeOver, pair, at))
    }

    /// Whether an operator wanted at `at` the pack B in the place of the pack A. What gives way then are the bindings of A, one
    /// after the other, also once app and B are paired.
    pub fn exchanges(&self, pair: [&str; 2], at: u64) -> bool {
        let stands = |o: &&Order| o.state != State::Failed;
        self.orders.iter().filter(stands).any(|o| wants(o, Task::Exchange, pair, at))
    }

    fn waiting(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter().filter(|o| o.state == State::Waiting)
    }

    /// Changes the orders, durably: on an error nothing has changed.
    fn change(&mut self, f: impl FnOnce(&mut Vec<Order>)) -> Result<(), OrdersError> {
        let mut orders = self.orders.clone();
        f(&mut orders);
        while orders.len() > KEPT_MAX
            && let Some(ended) = orders.iter().position(|o| o.state != State::Waiting)
        {
            orders.remove(ended);
        }
        let file = File { format: FORMAT, chain_id: Hex(self.chain_id), orders };
        let io = |source| OrdersError::Io { path: self.path.clone(), source };
        let bytes = serde_json::to_vec(&file).map_err(|e| io(e.into()))?;
        durable::replace(&self.path, &bytes).map_err(io)?;
        self.orders = file.orders;
        Ok(())
    }

    /// Ends what nobody did in time.
    fn expire(&mut self, now: u64) -> Result<(), OrdersError> {
        if !self.waiting().any(|o| o.expires_at <= now) {
            return Ok(());
        }
        self.change(|orders| {
            for order in orders.iter_mut().filter(|o| o.state == State::Waiting && o.expires_at <= now) {
                tracing::warn!(id = %order.id, task = order.task.name(), "order expired");
                order.state = State::Expired;
            }
        })
    }
}

/// Whether an order is about this task of the two, and did not end before `at`.
fn wants(order: &Order, task: Task, [a, b]: [&str; 2], at: u64) -> bool {
    order.expires_at > at && (order.task, order.a.as_str(), order.b.as_str()) == (task, a, b)
}

impl From<OrdersError> for Refusal {
    fn from(error: OrdersError) -> Self {
        Refusal::unavailable(&error)
    }
}

impl Core {
    /// Takes an order that an operator signed. The same order again answers with where it stands.
    pub fn place_order(&mut self, request: &Place) -> Reply<Order> {
        let now = u64::from(self.now());
        self.orders.expire(now)?;
        let (a, b) = (Cid::of(&request.a), Cid::of(&request.b));
        let what = (request.task, request.level);
        let digest = order_digest(&self.chain.chain_id(), &request.id.0, request.expires_at, what, &a, &b);
        self.operator_signed(&request.key, &digest, &request.signature.0)?;
        if let Some(known) = self.orders.find(&request.id) {
            let same = (known.task, known.level) == what
                && (known.a.as_str(), known.b.as_str()) == (request.a.as_str(), request.b.as_str())
                && known.expires_at == request.expires_at;
            return if same {
                Ok(known.clone())
            } else {
                Err(Refusal::new(409, code::REPLAY, "another order has this id"))
            };
        }
        if request.expires_at <= now || request.expires_at - now > WAIT_MAX_S {
            return Err(Refusal::format(format!(
                "expires_at: it lies in the future, at most {WAIT_MAX_S} s; the bridge has {now}"
            )));
        }
        match (request.task, request.level) {
            (Task::Validate, Some(1..=7)) => {}
            (task, None) if task != Task::Validate => {}
            (Task::Validate, _) => return Err(Refusal::format("level: 1 to 7 of `validate`")),
            _ => return Err(Refusal::format("level: of `validate` only")),
        }
        self.concerns(request, &a, &b)?;
        let waiting = |o: &&Order| (o.task, o.level) == what && o.a == request.a && o.b == request.b;
        if let Some(other) = self.orders.waiting().find(waiting) {
            let refusal = Refusal::new(409, code::ORDER_WAITING, "the same waits already");
            return Err(refusal.detail(format!("order {}", other.id)));
        }
        if self.orders.waiting().count() >= WAITING_MAX {
            return Err(Refusal::new(503, code::BUSY, "too many orders wait for a gateway; try again later"));
        }
        let order = Order {
            id: request.id,
            task: request.task,
            level: request.level,
            a: request.a.clone(),
            b: request.b.clone(),
            placed_at: now,
            expires_at: request.expires_at,
            state: State::Waiting,
            said: String::new(),
        };
        self.orders.change(|orders| orders.push(order.clone()))?;
        let (creator, task) = (request.creator.as_str(), request.task.name());
        tracing::info!(creator, task, a = request.a, b = request.b, id = %request.id, "order placed");
        Ok(order)
    }

    /// Refuses unless those that an order concerns are registered, in force, and what the order takes them for.
    fn concerns(&self, request: &Place, a: &Cid, b: &Cid) -> Reply<()> {
        let snapshot = self.chain.read()?;
        if request.task == Task::Validate && a == b {
            component(&snapshot, "a", &request.a)?;
            return self.not_revoked(&[*a, *b]);
        }
        if request.task == Task::Exchange {
            return self.concerns_exchange(&snapshot, request, [a, b]);
        }
        self.not_revoked(&[*a, *b])?;
        // Who joins is registered by the gateway that does it.
        let joins = match request.task {
            Task::Install => Some(("a", &request.a, ("b", &request.b, b))),
            Task::TakeOver => Some(("b", &request.b, ("a", &request.a, a))),
            _ => None,
        };
        if let Some((field, known, (joining_field, joining, cid))) = joins
            && snapshot.component(cid)?.is_none()
        {
            component(&snapshot, field, known)?;
            let valid = lct::id::valid_component_id(joining);
            return match valid {
                true => Ok(()),
                false => Err(Refusal::format(format!(
                    "{joining_field}: 3 to 64 characters of A-Z, a-z, 0-9, _ and -"
                ))),
            };
        }
        let parties = ordered(&snapshot, ("a", &request.a), ("b", &request.b))?;
        if matches!(request.task, Task::Install | Task::TakeOver) {
            return Ok(());
        }
        if request.task == Task::Bind {
            let parties = parties.map(|(cid, component)| (cid, component.role));
            let (now_s, now_ms) = (self.now(), (self.clock)());
            for (id, old) in self.displaced(&snapshot, parties, now_s)? {
                self.owners_agree_to(&snapshot, [a, b], (&id, &old), now_ms)?;
            }
            return Ok(());
        }
        let (binding, _) = active_binding(&snapshot, a, b)?.ok_or_else(|| {
            Refusal::new(403, code::PAIRING_DENIED, "the two components are not bound to each other")
        })?;
        if request.task != Task::Pair && snapshot.live_pairings(&binding)?.is_empty() {
            return Err(Refusal::new(404, code::PAIRING_NOT_FOUND, "the two components are not paired"));
        }
        Ok(())
    }

    /// Refuses unless a pack may take the place of another one, which may have been revoked before; the one that comes need
    /// not be registered yet.
    fn concerns_exchange(&self, snapshot: &Snapshot<'_>, request: &Place, [a, b]: [&Cid; 2]) -> Reply<()> {
        self.not_revoked(&[*b])?;
        let role = |field: &str, id: &str, role: Role| match role {
            Role::Pack => Ok(()),
            _ => Err(Refusal::format(format!(
                "{field}: {id} is no pack, and only a pack takes a pack's place"
            ))),
        };
        match snapshot.component(a)? {
            Some(old) => role("a", &request.a, old.role)?,
            None => drop(component(snapshot, "a", &request.a)?),
        }
        match snapshot.component(b)? {
            _ if a == b => Err(Refusal::format("b: a pack does not take its own place")),
            Some(_) => role("b", &request.b, component(snapshot, "b", &request.b)?.1.role),
            None if lct::id::valid_component_id(&request.b) => Ok(()),
            None => Err(Refusal::format("b: 3 to 64 characters of A-Z, a-z, 0-9, _ and -")),
        }
    }

    /// What waits, oldest first.
    pub fn waiting_orders(&mut self) -> Reply<Vec<Order>> {
        self.orders.expire(self.now().into())?;
        Ok(self.orders.waiting().cloned().collect())
    }

    /// One order.
    pub fn order(&mut self, id: &Hex<16>) -> Reply<Order> {
        self.orders.expire(self.now().into())?;
        self.orders.find(id).cloned().ok_or_else(no_order)
    }

    /// Takes what a gateway says became of an order. The first outcome stands; the same again changes nothing. What a
    /// gateway did stands even where the order expired meanwhile.
    pub fn order_outcome(&mut self, id: &Hex<16>, request: &Outcome) -> Reply<Order> {
        if !matches!(request.state, State::Done | State::Failed) {
            return Err(Refusal::format("state: an outcome is `done` or `failed`"));
        }
        if request.said.len() > SAID_MAX || request.said.chars().any(char::is_control) {
            return Err(Refusal::format(format!(
                "said: at most {SAID_MAX} bytes without control characters"
            )));
        }
        let digest = outcome_digest(&self.chain.chain_id(), &id.0, request.state, &request.said);
        self.operator_signed(&request.key, &digest, &request.signature.0)?;
        let known = self.orders.find(id).ok_or_else(no_order)?;
        if matches!(known.state, State::Waiting | State::Expired) {
            self.orders.change(|orders| {
                if let Some(order) = orders.iter_mut().find(|o| o.id == *id) {
                    order.state = request.state;
                    order.said.clone_from(&request.said);
                }
            })?;
            tracing::info!(id = %id, state = ?request.state, said = request.said, "outcome of an order");
        } else if known.state != request.state || known.said != request.said {
            return Err(Refusal::new(409, code::REPLAY, "the order has another outcome"));
        }
        let order = self.order(id)?;
        self.withdraw_pairings(&order)?;
        Ok(order)
    }

    /// Refuses unless `key` has an active operator account and signed `digest`.
    fn operator_signed(&self, key: &Hex<33>, digest: &Digest, signature: &[u8; 64]) -> Reply<()> {
        let codes = [code::ORDER_DENIED, code::ORDER_PROOF];
        by_operator(&self.chain.read()?, &key.0, signature, digest, codes)
    }
}

fn no_order() -> Refusal {
    Refusal::new(404, code::ORDER_NOT_FOUND, "there is no such order, or it ended long ago")
}
