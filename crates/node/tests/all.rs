//! The integration tests of this crate in one program: linked once, and what they share is compiled once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]

mod archive;
mod changes;
mod crash;
mod engine;
mod formats;
mod governance;
mod older;
mod pages;
mod past;
mod receipts;
mod replica;
mod segments;
mod signed;
#[path = "../../ledger/tests/world/mod.rs"]
mod world;
