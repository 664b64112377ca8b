//! The controller and an app that is not bound yet: commissioning window, code, device channel
//! (`spec/channel.md`, H71 to H79, H86).

use super::*;
use crate::{bootstrap::Keys, policy::DeviceState, session::Opened};

impl Controller {
    /// The device channel to the app, and what leads to it.
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// How far the relationship with the app protects: a device channel counts as bootstrap.
    pub(super) fn app_state(&self) -> DeviceState {
        match self.app.device_state() {
            DeviceState::Factory if self.bootstrap.is_up() => DeviceState::Bootstrap,
            state => state,
        }
    }

    fn is_factory(&self) -> bool {
        self.app.peer().is_none() && !self.app.is_paired()
    }

    pub(super) fn button(&mut self, now: Instant) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        self.bootstrap.button(now, self.is_factory(), &mut fx)?;
        self.apply_bootstrap(now, fx)
    }

    pub(super) fn compare(&mut self, now: Instant, equal: bool) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        let result = self.bootstrap.compare(equal, now, &mut fx);
        self.apply_bootstrap(now, fx)?;
        result
    }

    pub(super) fn tick_bootstrap(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let mut fx = bootstrap::Effects::new();
        self.bootstrap.tick(&self.device.own, now, self.device.boot, &mut fx, rng)?;
        self.apply_bootstrap(now, fx)
    }

    /// At a start: a pairing took the place of a device channel that was kept.
    pub(super) fn start_bootstrap(&mut self, now: Instant) -> Result<(), Error> {
        if self.device.condition() != Condition::Sound {
            self.bootstrap.rest();
        }
        if self.app.is_paired() { self.end_bootstrap(now) } else { Ok(()) }
    }

    /// True while a channel with the app was kept over a start and the app is to be asked for a run (H17).
    pub(super) fn wants_app(&self) -> bool {
        match self.app.is_paired() {
            true => !self.app.is_up(),
            false => self.bootstrap.is_waiting(),
        }
    }

    /// True for a message of the binding handshake that travels inside the device channel or not at all (H78).
    pub(super) fn shields(&self, message: &[u8]) -> bool {
        bootstrap::is_binding(message) && (self.bootstrap.is_up() || self.app.is_shielded())
    }

    /// A pairing takes the place of the device channel, or the app was revoked.
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
        let (factory, boot) = (self.is_factory(), self.device.boot);
        let result = self.bootstrap.message(&self.device.own, message, factory, now, boot, &mut fx, rng);
        self.apply_bootstrap(now, fx)?;
        result
    }

    fn apply_bootstrap(&mut self, now: Instant, mut fx: bootstrap::Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                bootstrap::Effect::ToPeer(pdu) => self.send_app(now, &pdu)?,
                bootstrap::Effect::Seal(keys, pdu) => self.seal_device(now, keys, &pdu)?,
                bootstrap::Effect::Store(record) => self.device.store(record)?,
                bootstrap::Effect::Event(event) => {
                    self.device.log_bootstrap(now, &event);
                    self.device.event(Event::Bootstrap(event));
                }
            }
        }
        Ok(())
    }

    /// Seals a PDU at dev tier.
    pub(super) fn seal_device(&mut self, now: Instant, keys: Keys, pdu: &[u8]) -> Result<(), Error> {
        let id = self.app_id().sealed(Level::Dev);
        let base = self.app_id().base();
        let mut sealed = [0; 640];
        let format = self.can1.format();
        let n = self.device.seal_device(&mut self.bootstrap, keys, format, id, base, &[pdu], &mut sealed)?;
        self.can1.send_sealed(now, id, &sealed[..n]);
        Ok(())
    }

    /// What arrives at dev tier: confirmations and comparison, the binding handshake, and of an app whose channel
    /// stands the questions and reductions of bootstrap state.
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
        if base == self.app_id().reversed().base()
            && let [pdu::KEY_PACKAGE, ref m @ ..] = *body.as_slice()
        {
            let mut fx = bootstrap::Effects::new();
            let result = self.bootstrap.sealed_message(&self.device.own, keys, m, now, &mut fx);
            self.apply_bootstrap(now, fx)?;
            return result;
        }
        // What a run agreed on carries nothing else before both sides accepted it.
        if keys == Keys::Run || !self.bootstrap.is_up() {
            self.device.refuse_policy();
            return Ok(());
        }
        self.last_app = now;
        if !self.app_admits(now, base, &body, Protection::Dev) {
            return Ok(());
        }
        match (base, body.as_slice()) {
            (b, m) if b == self.app_id().reversed().base() => match *m {
                [pdu::HANDSHAKE, ..] if bootstrap::is_binding(m) => {
                    let issuer = Issuer::authority(&self.device.own);
                    self.relation_message(now, m, &issuer, rng)
                }
                [pdu::IDENTIFY, 0] => {
                    let answer = self.introduce()?;
                    self.seal_device(now, keys, &answer)
                }
                _ => {
                    self.device.refuse_policy();
                    Ok(())
                }
            },
            (VcuKeepAlive::BASE, _) => Ok(()),
            // Without a pairing the only state that is obeyed is the one that takes energy off the bus.
            (VcuCommand::BASE, m) if VcuCommand::decode(m).is_ok_and(|m| m.state == RelayState::Off) => {
                self.want(RelayState::Off);
                Ok(())
            }
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    /// The answer to IDENTIFY: the assurance is that of the binding, before one that of the device channel.
    pub(super) fn introduce(&self) -> Result<Pdu, Error> {
        let nodes = self.slots.iter().enumerate().filter(|(_, s)| s.registered);
        let nodes = nodes.fold(0u32, |bits, (i, _)| bits | 1 << i);
        let bound = self.app.binding().map(|(_, assurance)| assurance);
        let assurance = bound.or(self.bootstrap.offer().map(|o| o.assurance));
        crate::introduction::identify(
            &self.device.own,
            self.device.condition().state(self.lifecycle()),
            assurance.map_or(0, |a| a as u8),
            nodes,
        )
    }
}
