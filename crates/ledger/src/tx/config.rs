//! Configuration of packs (`spec/ledger.md`, L176, L177).

use alloc::vec::Vec;

use lct::{
    command::{COMMAND_MAX, SignedCommand},
    id::{Cid, PairingId},
};

use super::{MAX_STATEMENT, fixed, int};
use crate::codec::{FormatError, Reader, Writer};

/// A value for a parameter, or the report of the one that a pack has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The pack.
    pub cid: Cid,
    /// Number of the parameter, 1 to 18.
    pub parameter: u8,
    /// Version on the ledger that it builds on; 0 before the first.
    pub version: u32,
    /// The value.
    pub value: i32,
    /// The command by which an operator set it on the pack.
    pub command: Option<CommandReference>,
}

/// Names a level-5 command whose event the ledger holds, with what its digest was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandReference {
    /// `lct::validation::Event` bytes of the commander's event of type 51.
    pub event: Vec<u8>,
    /// The pairing in whose session it was signed.
    pub pairing: PairingId,
    /// Epoch of the session.
    pub epoch: u32,
    /// Number of the command.
    pub seq: u32,
    /// The pack's challenge.
    pub challenge: u32,
    /// Its time to live, ms.
    pub ttl_ms: u16,
    /// Body of the message 0x403.
    pub body: Vec<u8>,
}

impl CommandReference {
    /// The command, as it was signed.
    pub(crate) fn command(&self) -> SignedCommand<'_> {
        let Self { seq, challenge, ttl_ms, body, .. } = self;
        SignedCommand { base: 0x403, seq: *seq, challenge: *challenge, ttl_ms: *ttl_ms, command: body }
    }
}

impl Config {
    pub(super) fn write(&self, w: &mut Writer) {
        w.uint(2).bytes(&self.cid.0).uint(3).uint(self.parameter.into()).uint(4).uint(self.version.into());
        w.uint(5).bytes(&self.value.to_be_bytes()).uint(6);
        match &self.command {
            None => w.array(0),
            Some(c) => {
                w.array(7).bytes(&c.event).bytes(&c.pairing.0).uint(c.epoch.into()).uint(c.seq.into());
                w.uint(c.challenge.into()).uint(c.ttl_ms.into()).bytes(&c.body)
            }
        };
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let cid = Cid(fixed(r, 2)?);
        let parameter = int(r, 3)?;
        let version = int(r, 4)?;
        let value = i32::from_be_bytes(fixed(r, 5)?);
        r.key(6)?;
        let command = match r.array(7)? {
            0 => None,
            7 => Some(CommandReference {
                event: r.bytes(MAX_STATEMENT)?.into(),
                pairing: PairingId(r.fixed()?),
                epoch: r.int()?,
                seq: r.int()?,
                challenge: r.int()?,
                ttl_ms: r.int()?,
                body: r.bytes(COMMAND_MAX)?.into(),
            }),
            _ => return Err(FormatError::Unexpected),
        };
        Ok(Self { cid, parameter, version, value, command })
    }
}
