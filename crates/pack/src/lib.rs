//! Everything that is spoken on the two CAN buses of a modular battery, without a bus, a clock or an allocator.
//!
//! From the wire upwards: [`can`] frames and their arbitration order, [`sealed_id`] which tells sealed from clear
//! traffic, [`chunk`] and [`isotp`] which carry messages longer than a frame, [`message`] the typed clear messages,
//! [`policy`] which says how well each of them must be protected. Time is always an argument ([`time`]).
//!
//! CAN 1 joins the app (or a vehicle control unit) with up to two packs, CAN 2 joins a pack controller with its
//! modules. Bodies are little-endian as in `spec/modbatt.dbc`.
#![no_std]
#![forbid(unsafe_code)]
// There is no allocator to box the larger variants with.
#![allow(clippy::large_enum_variant)]

#[cfg(test)]
extern crate std;

pub mod aggregate;
pub mod announce;
pub mod answers;
pub mod app;
pub mod assurance;
pub mod bootstrap;
pub mod can;
pub(crate) mod channel;
pub mod chunk;
pub mod clock;
pub mod command;
pub mod controller;
pub mod device;
pub mod digest;
pub mod energy;
pub mod escalation;
pub mod fault;
pub(crate) mod flow;
pub mod gate;
pub mod group;
pub mod health;
pub mod identity;
pub mod introduction;
pub mod isotp;
pub mod journal;
pub mod lease;
pub mod level;
pub mod lifecycle;
pub mod link;
pub mod message;
pub mod module;
pub mod observation;
pub mod pdu;
pub mod policies;
pub mod policy;
pub mod protection;
pub mod relation;
pub mod revocations;
pub mod sealed_id;
pub mod session;
pub mod soc;
pub mod telemetry;
pub mod testimony;
pub mod time;
pub mod vault;
