//! The public contract of the bridge and its client (`spec/api.md`).
//!
//! One module per resource holds what travels as JSON; these are the only types of the product with `serde`
//! derives that cross HTTP. [`problem`] is the body of every refusal, [`genesis`] the JSON form of a chain's
//! genesis and of what a verifier trusts, [`client`] the typed client, [`sign`] builds and signs transactions
//! offline. No request and no answer carries a secret in clear.
//!
//! Conventions (A1 to A4): byte strings are base64 with padding, identifiers and hashes lower-case hexadecimal,
//! times integer Unix seconds unless the name ends in `_ms`, and no answer contains `null`.
#![forbid(unsafe_code)]

pub mod account;
pub mod authority;
pub mod binding;
pub mod client;
pub mod commitment;
pub mod component;
pub mod context;
pub mod delegation;
pub mod encoding;
pub mod energy;
pub mod entity;
pub mod event;
pub mod gateway;
pub mod genesis;
pub mod governance;
pub mod health;
pub mod lct;
pub mod ledger;
pub mod list;
pub mod mrh;
pub mod order;
pub mod pairing;
pub mod policy;
pub mod problem;
pub mod queue;
pub mod receipt;
pub mod registry;
pub mod revocation;
pub mod series;
pub mod session;
pub mod sign;
pub mod telemetry;
pub mod transaction;
pub mod trust;
pub mod webhook;

pub use client::{Client, ClientError};
pub use encoding::{Blob, Fixed, Hex};
pub use problem::Problem;

/// Prefix of every route but `/health` and `/blockchain/status`, which exist with and without it.
pub const PREFIX: &str = "/api/v1";
/// Longest request body, in bytes, of every route but telemetry.
pub const BODY_MAX: usize = 64 << 10;
/// Longest request body of `POST /telemetry/batches`, in bytes.
pub const TELEMETRY_BODY_MAX: usize = 1 << 20;
/// Longest label a caller may give itself or a context, in bytes.
pub const LABEL_MAX: usize = 64;

/// True for 1 to [`LABEL_MAX`] bytes without control characters: what `creator`, `context` and `proxy_id` may be.
pub fn valid_label(text: &str) -> bool {
    (1..=LABEL_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}
