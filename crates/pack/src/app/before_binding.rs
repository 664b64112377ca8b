//! The app and a pack that it is not bound to yet: key package, proof of the code, comparison, device channel
//! (`spec/channel.md`, H71 to H79, H86).

use super::*;
use crate::{bootstrap::Keys, session::Opened};
use lct::{id::Cid, pake::ProverSecret};

impl App {
    /// The device channel to the pack, and what leads to it.
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// B0: sends `pack` a key package in clear. The pack takes it only while its commissioning window is open, and
    /// the digits of [`bootstrap::Event::Compare`] must then be compared by a person.
    pub fn begin_plain(&mut self, now: Instant, pack: Cid, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        let result = self.bootstrap.begin_plain(&self.device.own, pack, now, &mut fx, rng);
        self.apply_bootstrap(now, fx)?;
        result
    }

    /// B2: proves to `pack` that its printed code is known, from which `secret` was computed.
    pub fn begin_code(
        &mut self,
        now: Instant,
        pack: Cid,
        secret: &ProverSecret,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        let result = self.bootstrap.begin_code(&self.device.own, pack, secret, now, &mut fx, rng);
        self.apply_bootstrap(now, fx)?;
        result
    }

    /// The installer's verdict on this side: whether the six digits of both sides are equal.
    pub fn compare(&mut self, now: Instant, equal: bool) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        let result = self.bootstrap.compare(equal, now, &mut fx);
        self.apply_bootstrap(now, fx)?;
        result
    }

    /// Sends the pack a PDU inside the device channel, such as the question for its identity.
    pub fn send_device(&mut self, now: Instant, pdu: &[u8]) -> Result<(), Error> {
        if self.bootstrap.is_up() {
            self.seal_device(now, Keys::Standing, pdu)
        } else {
            Err(Error::InvalidKey)
        }
    }

    /// At a start: a pairing took the place of a device channel that was kept, else the pack is asked to resume it.
    pub(super) fn start_bootstrap(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if self.device.condition() != Condition::Sound {
            self.bootstrap.rest();
        }
        if self.relation.is_paired() {
            return self.end_bootstrap(now);
        }
        let mut fx = bootstrap::Effects::new();
        self.bootstrap.resume(now, self.device.boot, &mut fx, rng)?;
        self.apply_bootstrap(now, fx)
    }

    /// True for a message of the binding handshake that travels inside the device channel or not at all (H78).
    pub(super) fn shields(&self, message: &[u8]) -> bool {
        bootstrap::is_binding(message) && (self.bootstrap.is_up() || self.relation.is_shielded())
    }

    pub(super) fn tick_bootstrap(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        self.bootstrap.tick(&self.device.own, now, self.device.boot, &mut fx, rng)?;
        self.apply_bootstrap(now, fx)
    }

    /// A pairing takes the place of the device channel, or the pack was revoked.
    pub(super) fn end_bootstrap(&mut self, now: Instant) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        self.bootstrap.end(&mut fx)?;
        self.apply_bootstrap(now, fx)
    }

    pub(super) fn bootstrap_message(
        &mut self,
        now: Instant,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        let (own, boot) = (&self.device.own, self.device.boot);
        let factory = self.relation.peer().is_none();
        let result = self.bootstrap.message(own, message, factory, now, boot, &mut fx, rng);
        self.apply_bootstrap(now, fx)?;
        result
    }

    fn apply_bootstrap(&mut self, now: Instant, mut fx: bootstrap::Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                bootstrap::Effect::ToPeer(pdu) => self.send(now, Party::Pack, &pdu)?,
                bootstrap::Effect::Seal(keys, pdu) => self.seal_device(now, keys, &pdu)?,
                bootstrap::Effect::Store(record) => self.device.store(record)?,
                bootstrap::Effect::Event(event) => self.device.event(Event::Bootstrap(event)),
            }
        }
        Ok(())
    }

    /// Seals a PDU at dev tier.
    pub(super) fn seal_device(&mut self, now: Instant, keys: Keys, pdu: &[u8]) -> Result<(), Error> {
        let security = SecurityId::new(Bus::Can1, Direction::Ab, self.pack);
        let id = security.sealed(Level::Dev);
        let mut sealed = [0; 640];
        let (format, base) = (self.link.format(), security.base());
        let n = self.device.seal_device(&mut self.bootstrap, keys, format, id, base, &[pdu], &mut sealed)?;
        self.link.send_sealed(now, id, &sealed[..n]);
        Ok(())
    }

    /// What arrives at dev tier: confirmations and comparison, the binding handshake, the pack's identity.
    pub(super) fn device_sealed(
        &mut self,
        now: Instant,
        id: SealedId,
        bytes: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let mut body = heapless::Vec::<u8, 640>::new();
        let (keys, base) = match self.bootstrap.open(now, id, bytes) {
            Ok((keys, Opened { base, signed: false, body: opened, .. })) => {
                body.extend_from_slice(opened).map_err(|_| Error::BufferTooSmall)?;
                (keys, base)
            }
            Ok(_) => {
                // A device channel carries no signed commands.
                self.device.refuse_policy();
                return Ok(());
            }
            Err(why) => {
                self.device.refuse_sealed(now, why);
                return Ok(());
            }
        };
        if base != SecurityId::new(Bus::Can1, Direction::Ba, self.pack).base() {
            self.device.refuse_policy();
            return Ok(());
        }
        match *body.as_slice() {
            [pdu::KEY_PACKAGE, ref m @ ..] => {
                let mut fx = bootstrap::Effects::new();
                let result = self.bootstrap.sealed_message(&self.device.own, keys, m, now, &mut fx);
                self.apply_bootstrap(now, fx)?;
                result
            }
            // What a run agreed on carries nothing else before both sides accepted it.
            _ if keys == Keys::Run => {
                self.device.refuse_policy();
                Ok(())
            }
            [pdu::CONFIRM, ref m @ ..] => {
                let mut fx = bootstrap::Effects::new();
                let result = self.bootstrap.resumed(m, &mut fx);
                self.apply_bootstrap(now, fx)?;
                result
            }
            [pdu::HANDSHAKE, ref m @ ..] if self.bootstrap.is_up() && bootstrap::is_binding(&body) => {
                let mut fx = Effects::new();
                let (own, boot) = (&self.device.own, self.device.boot);
                let result = self.relation.handshake(own, m, now, boot, &mut fx, rng);
                self.apply(now, fx)?;
                result
            }
            [pdu::IDENTIFY, 1, ref who @ ..] if self.bootstrap.is_up() => {
                let who = Introduced::parse(who)?;
                self.device.offer(Event::Identified(Party::Pack, who))
            }
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }
}
