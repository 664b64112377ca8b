//! The integration tests of this crate in one program: linked once, and what they share is compiled once.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod ceremony;
mod chain;
mod codes;
mod common;
mod compat;
mod compat_energy;
mod contract;
mod delivery;
mod events;
mod field;
mod front;
mod grpc;
mod held;
mod hostile;
mod hostile_wire;
mod issued;
mod kept;
mod lasting;
mod lists;
mod orders;
mod outside;
mod policy;
mod rebinding;
mod refusals;
mod relations;
mod revocation;
mod secrets;
mod seen;
mod state;
mod strangers;
mod succession;
mod telemetry;
mod webhooks;
