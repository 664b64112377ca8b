//! A ledger replica: where the state machine of crate `ledger` keeps its blocks, and what drives it.
//!
//! * [`chain`]: one object every engine drives: submit, propose, commit, read, wait.
//! * [`snapshot`]: consistent reads; [`receipts`]: proofs for outsiders made from them; [`past`]: earlier states.
//! * [`archive`]: a whole ledger in one stream, and a replica from it.
//! * [`verify`]: everything computed once more.
//! * [`segments`]: telemetry records in append-only files, durable before they are acknowledged.
//! * [`series`]: those records over time, summed up.
//! * [`engine`]: who decides on blocks. [`engine::solo`] is one machine with one validator key.
//!
//! Blocks, certificates, results, state, state tree, evidence and indexes change in ONE redb transaction per
//! block, so a crash leaves either the whole block or nothing of it.
#![forbid(unsafe_code)]

pub mod archive;
pub mod chain;
mod cores;
pub mod engine;
pub mod error;
mod mempool;
pub mod past;
pub mod receipts;
pub mod segments;
pub mod series;
mod signatures;
pub mod snapshot;
mod store;
mod tree;
pub mod verify;

pub use chain::{Chain, Fate, Pruned, ReadOnly, SubmitError};
pub use error::Error;
pub use snapshot::{Snapshot, Span, Status};
