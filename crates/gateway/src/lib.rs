//! Carries a pack to the ledger.
//!
//! * [`Gateway`] is the sans-IO core: it hosts the app role of `pack`, commissions the pack and its modules
//!   ([`commission`]), and joins what arrives on the bus into batches with their signatures ([`collect`]).
//! * [`Outbox`] keeps what must reach the ledger until it is there.
//! * [`Uplink`] speaks with the bridge: it executes the core's requests and empties the outbox, with retries.
//!
//! * [`entity`] serves what the app's host offers over HTTP: keys for bindings.
//!
//! A statement is acknowledged to its device once the ledger has it, and never before the outbox holds it.

mod anchor;
pub mod audit;
pub mod checkup;
mod code;
pub mod collect;
pub mod commission;
mod core;
mod dispatch;
mod ending;
pub mod entity;
mod follow;
mod keys;
pub mod orders;
mod outbox;
mod uplink;
pub mod upload;
pub mod word;
#[cfg(test)]
mod world;

pub use crate::core::{CarriedTo, CarryRefused, Error, Event, Gateway, KeysFor, KeysRefused, LogOf, Output};
pub use code::{Plan, stretch};
pub use ending::{Ending, Signer};
pub use keys::{FieldKey, Keys, Standing};
pub use outbox::{Fate, HOLD_MIB, Held, Job, Moved, Noted, Outbox, OutboxError};
pub use uplink::{Uplink, UplinkError, Uploaded};
