//! Vectors that others published, run through this crate's own functions: NIST CAVP, Wycheproof, RFC 4231, 5869, 6979
//! and 9180 (`spec/channel.md`, H141).
//!
//! Each test states how many cases there are and how many of them must fail, so that a file read only in part is
//! noticed. Where an interface here is narrower than a suite (sizes of nonces and tags, high s, uncompressed points),
//! the rest must be refused, and that is counted too. RFC 9383 is beside its code, in `lct::pake`.
//!
//! Wycheproof is a crate. The files of NIST and the RFCs come from a Python package that
//! `cargo xtask test --only python` installs; without it those tests say "not run", and fail where `CI` is set.

#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
mod cipher;
mod curve;
mod files;
mod hash;
mod hpke;

/// Says what was covered, past the harness that keeps the output of tests that pass to itself.
fn covered(what: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // A closed stream is no reason to fail.
    let _closed = writeln!(std::io::stderr(), "public vectors: {what}");
}
