//! Level-5 commands: signed, bound to the session and to the target's rolling challenge (`spec/channel.md`, H36).
//!
//! Body: `type u16 | seq u32 | challenge u32 | ttl_ms u16 | cmd | sig 64`, signature over
//! `H("modbatt1 cmd" || TH4 || u32 epoch || type || seq || challenge || ttl || H(cmd))`.

use crate::{
    Digest, Error,
    codec::{Fields, Layout},
    hash::sha256,
    sign::{PublicKey, Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Longest command.
pub const COMMAND_MAX: usize = 16;
/// Bytes of a level-5 body besides the command.
pub const OVERHEAD: usize = 12 + 64;

/// A command with what makes it fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedCommand<'a> {
    /// 11-bit base of the message whose body follows.
    pub base: u16,
    /// Strictly increasing per session.
    pub seq: u32,
    /// The target's current challenge.
    pub challenge: u32,
    /// Milliseconds since it drew the challenge within which the target takes the command (H36).
    pub ttl_ms: u16,
    /// The message body.
    pub command: &'a [u8],
}

impl<'a> SignedCommand<'a> {
    /// What the commander signs.
    pub fn digest(&self, th4: &Digest, epoch: u32) -> Digest {
        sha256(&[
            b"modbatt1 cmd",
            th4,
            &epoch.to_be_bytes(),
            &self.base.to_be_bytes(),
            &self.seq.to_be_bytes(),
            &self.challenge.to_be_bytes(),
            &self.ttl_ms.to_be_bytes(),
            &sha256(&[self.command]),
        ])
    }

    /// The body with its signature.
    pub fn sign(
        &self,
        th4: &Digest,
        epoch: u32,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<heapless::Vec<u8, { COMMAND_MAX + OVERHEAD }>, Error> {
        let sig = key.sign(&self.digest(th4, epoch), rng);
        Ok(Layout::default()
            .put(&[
                &self.base.to_be_bytes(),
                &self.seq.to_be_bytes(),
                &self.challenge.to_be_bytes(),
                &self.ttl_ms.to_be_bytes(),
                self.command,
                &sig.0,
            ])?
            .done())
    }

    /// Splits a body and verifies it under the commander's key.
    pub fn open(body: &'a [u8], th4: &Digest, epoch: u32, key: &PublicKey) -> Result<Self, Error> {
        let (body, sig) = body.split_last_chunk::<64>().ok_or(Error::Malformed)?;
        let mut f = Fields::new(body);
        let command = SignedCommand {
            base: f.u16()?,
            seq: f.u32()?,
            challenge: f.u32()?,
            ttl_ms: f.u16()?,
            command: f.rest(),
        };
        if command.command.len() > COMMAND_MAX {
            return Err(Error::Malformed);
        }
        key.verify(&command.digest(th4, epoch), &Signature(*sig))?;
        Ok(command)
    }
}
