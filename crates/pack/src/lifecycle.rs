//! In what condition a device is, what it checks at its start, and how it says so (`spec/channel.md`, H136 to H139).

use crate::identity::{Identity, Loaded, Record, key};
use lct::{Error, attest::verify_chain};

/// State byte of an IDENTIFY answer (`spec/can.md`, C33).
pub mod state {
    /// No binding.
    pub const FACTORY: u8 = 0;
    /// Bound, not paired.
    pub const BOUND: u8 = 1;
    /// Paired.
    pub const PAIRED: u8 = 2;
    /// Every channel is up.
    pub const OPERATIONAL: u8 = 3;
    /// Keys are missing or do not verify: bind again.
    pub const KEY_LOST: u8 = 4;
    /// The enclosure was opened: only a factory reset by the owner leads out.
    pub const TAMPERED: u8 = 5;
}

/// In what condition a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing is missing.
    #[default]
    Sound,
    /// A stored key is damaged, degenerate, or does not fit its public half; or the identity does not verify.
    KeyLost,
    /// A tamper switch was triggered; every key is erased.
    Tampered,
}

impl Condition {
    /// The record under [`key::CONDITION`]: `1 | 0 sound or 5 tampered`. Key-Lost is found anew at each start.
    pub fn record(self) -> Result<Record, Error> {
        let code = if self == Condition::Tampered { state::TAMPERED } else { 0 };
        Record::new(key::CONDITION, &[&[1, code]])
    }

    /// Reads that record.
    pub fn load(stored: Loaded) -> Self {
        match stored.as_ref().map(|r| r.as_deref()) {
            Ok(None | Some([1, 0])) => Condition::Sound,
            // Whoever can spoil this record must not gain by it.
            _ => Condition::Tampered,
        }
    }

    /// State byte of IDENTIFY; `sound` is the one of a device that lacks nothing.
    pub fn state(self, sound: u8) -> u8 {
        match self {
            Condition::Sound => sound,
            Condition::KeyLost => state::KEY_LOST,
            Condition::Tampered => state::TAMPERED,
        }
    }
}

/// Checks that the certified identity is the device's own: chain to the pinned root, key, cid and role. Periods are
/// left to those who know the time.
pub fn verify_identity(own: &Identity) -> Result<(), Error> {
    let subject = verify_chain(&own.device, &own.batch, &[own.root], None)?;
    let mine = (subject.cid, subject.role, subject.key) == (own.cid(), own.role, own.key.public());
    if mine { Ok(()) } else { Err(Error::WrongParty) }
}
