//! Answers to level-5 commands (`spec/channel.md`, H37).

use crate::pdu::{self, Pdu};
use lct::{Error, codec::Fields};

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CommandResult {
    /// Carried out.
    Done = 0,
    /// Understood and refused.
    Refused = 1,
    /// The challenge or sequence number is not the current one; sign again with the challenge in this answer.
    Stale = 2,
}

/// The sealed answer: `11 | seq u32 | result u8 | next challenge u32`.
pub fn acknowledgement(seq: u32, result: CommandResult, challenge: u32) -> Result<Pdu, Error> {
    pdu::build(&[&[pdu::COMMAND_ACK], &seq.to_be_bytes(), &[result as u8], &challenge.to_be_bytes()])
}

/// An answer as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Number of the command.
    pub seq: u32,
    /// What became of it.
    pub result: CommandResult,
    /// The challenge for the next command.
    pub challenge: u32,
}

impl Acknowledgement {
    /// Reads the body after the type byte.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let seq = f.u32()?;
        let result = match f.u8()? {
            0 => CommandResult::Done,
            1 => CommandResult::Refused,
            2 => CommandResult::Stale,
            _ => return Err(Error::Malformed),
        };
        let challenge = f.u32()?;
        f.end()?;
        Ok(Acknowledgement { seq, result, challenge })
    }
}
