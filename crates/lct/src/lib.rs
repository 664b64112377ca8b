//! Identities, keys, and every statement one of them can sign.
//!
//! This crate is the bottom of the product: it knows neither buses nor ledgers. It holds
//!
//! * identities ([`id`]), their certificates ([`attest`]) and relationship keys ([`spk`]),
//! * the key schedule of the secure link ([`schedule`]), its handshakes ([`handshake`], [`resume`]),
//!   sealed messages ([`seal`]) and pairing certificates ([`certificate`]),
//! * the statements that travel from a device to the ledger ([`registration`], [`binding`],
//!   [`pairing`], [`record`], [`energy`], [`trade`], [`validation`], [`ownership`], [`lifecycle`],
//!   [`context`]), and commitments to what is not told ([`commitment`]).
//!
//! It is `no_std`, allocates nothing, and takes entropy as an argument. With the feature `host` the arithmetic of
//! P-256 comes from a library that does allocate and draws nonces of its own ([`curve`]), and keys of messages are kept
//! expanded ([`seal`]). Byte layouts are those of
//! `spec/channel.md`; integers inside signed or hashed bytes are big-endian.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "host")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod aead;
pub mod attest;
pub mod audit;
pub mod backup;
pub mod binding;
pub mod certificate;
pub mod clock;
pub mod codec;
pub mod command;
pub mod commitment;
pub mod consent;
pub mod context;
pub mod counter;
pub mod curve;
pub mod delegation;
pub mod energy;
pub mod exchange;
pub mod handshake;
pub mod hash;
pub mod id;
pub mod journal;
pub mod key_package;
pub mod lifecycle;
pub mod merkle;
pub mod metadata;
pub mod ownership;
pub mod pairing;
pub mod pake;
pub mod policy;
pub mod rebind;
pub mod record;
pub mod registration;
pub mod request;
pub mod resume;
pub mod revocation;
pub mod schedule;
pub mod seal;
pub mod secret;
pub mod selftest;
pub mod sign;
pub mod spk;
pub mod storage;
pub mod succession;
pub mod trade;
pub mod trust;
pub mod validation;

/// A SHA-256 value.
pub type Digest = [u8; 32];

/// The cryptographic suite of this product: P-256, HKDF-SHA256, AES-256-GCM. Never negotiated.
pub const SUITE: u8 = 0x01;

/// A check of cryptographic or structural nature failed.
///
/// Deliberately few: what is not needed to react must not be distinguishable (`spec/channel.md`, H9 and H62).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Wrong length, unknown version or code, non-canonical encoding.
    Malformed,
    /// A point is not on the curve, the identity, or wrongly encoded; or a scalar is out of range.
    InvalidKey,
    /// A signature, tag, commitment or MAC does not verify.
    NotAuthentic,
    /// Key halves are all-zero, all-0xFF or equal to each other.
    DegenerateKey,
    /// A field names another party, pairing or binding than expected.
    WrongParty,
    /// Outside the validity period.
    Expired,
    /// The caller's buffer is too small for the result.
    BufferTooSmall,
    /// A counter or limit is used up; a fresh epoch is needed.
    Exhausted,
    /// A primitive does not give its published answer: the device must not run.
    SelfTest,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Error::Malformed => "malformed: wrong length, version, code or encoding",
            Error::InvalidKey => "invalid key: not a point of P-256 or scalar out of range",
            Error::NotAuthentic => "not authentic: signature, tag or commitment does not verify",
            Error::DegenerateKey => "degenerate key half",
            Error::WrongParty => "made for another party",
            Error::Expired => "outside its validity period",
            Error::BufferTooSmall => "buffer too small",
            Error::Exhausted => "counter or limit used up, a fresh epoch is needed",
            Error::SelfTest => {
                "self-test failed: the cryptography of this device does not give the published answers"
            }
        })
    }
}

impl core::error::Error for Error {}
