//! The integration tests of this crate in one program: linked once, and what they share is compiled once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]

mod authorizations;
mod blocks;
mod config;
mod delegation;
mod edges;
mod gates;
mod governance;
mod history;
mod horizon;
mod queue;
mod reached;
mod receipts;
mod registry;
mod registry_receipts;
mod rules;
mod spec;
mod standing;
mod tensors;
mod tiers;
mod trade;
mod trade_receipts;
mod trust;
mod vectors;
mod world;
