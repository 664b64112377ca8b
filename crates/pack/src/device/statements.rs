//! What a device states by itself (`spec/channel.md`, H170 and H171): that it is there, that its state or its faults
//! changed, that a binding or a pairing stands.

use super::*;
use crate::{
    announce::flag,
    fault::Severity,
    message::RelayState,
    pdu::Pdu,
    testimony::{Claim, ask_witness},
};
use lct::{
    sign::{Signature, SigningKey},
    validation::{Access, Attestation, Escalation, Event, EventKind},
};

const ANNOUNCE: u8 = EventKind::Announce as u8;
const STATE: u8 = EventKind::StateChange as u8;
const HANDSHAKE: u8 = EventKind::SignedHandshake as u8;
const SESSION: u8 = EventKind::PairedHandshake as u8;
const VERIFICATION: u8 = EventKind::BindingVerification as u8;

/// What was stated before: only changes are news.
#[derive(Debug, Default)]
pub(super) struct Stated {
    /// This start was announced.
    present: bool,
    relay: RelayState,
    /// Bit k: the fault with place k in [`FaultCode::ALL`].
    faults: u32,
}

impl<E, const STORES: usize, const EVENTS: usize> Device<E, STORES, EVENTS> {
    /// States something with the key of the relationship `with` (0: with the app or the pack above).
    pub(crate) fn state(&mut self, now: Instant, kind: EventKind, with: u8, payload: &[&[u8]]) {
        self.state_and_ask(now, kind, with, payload, None);
    }

    /// The same, asking for a higher level besides.
    pub(crate) fn state_and_ask(
        &mut self,
        now: Instant,
        kind: EventKind,
        with: u8,
        parts: &[&[u8]],
        escalation: Option<Escalation>,
    ) {
        let mut payload = heapless::Vec::new();
        for part in parts {
            let kept = payload.extend_from_slice(part);
            debug_assert!(kept.is_ok(), "an id and a hash at most");
        }
        let time_ms = self.clock.unix_ms(now);
        self.testimony.claim(now, Claim { kind, with, payload, time_ms, escalation });
    }

    /// Once per start: the device is there, and where.
    pub(super) fn state_presence(&mut self, now: Instant) {
        if !core::mem::replace(&mut self.stated.present, true) {
            self.state(now, EventKind::Announce, 0, &[&flag::STARTED.to_be_bytes()]);
        }
    }

    /// States the relay state `relay` and every fault of severity 3 or 4, when they are not those that were seen last.
    /// Without a pairing there is nobody to tell.
    pub(crate) fn state_changes(&mut self, now: Instant, relay: RelayState, paired: bool) {
        let before = core::mem::replace(&mut self.stated.relay, relay);
        if before != relay && paired {
            self.state(now, EventKind::StateChange, 0, &[&[before as u8, relay as u8]]);
        }
        for (place, code) in FaultCode::ALL.iter().enumerate() {
            if code.severity() < Severity::Fault {
                continue;
            }
            let active = self.health.active().find(|f| f.code == *code).map(|f| f.detail);
            let stated = self.stated.faults >> place & 1 == 1;
            self.stated.faults = self.stated.faults & !(1 << place) | u32::from(active.is_some()) << place;
            if let Some(detail) = active.filter(|_| !stated && paired) {
                let code = (*code as u16).to_be_bytes();
                self.state(now, EventKind::Fault, 0, &[&code, &detail.to_be_bytes()]);
            }
        }
    }

    /// Takes `kind | ..`, what the app asks this device to state about itself or its relationship `with`, which is
    /// `relation` (H190). What waits already is not stated twice.
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything else, [`Error::WrongParty`] for what this side of the relationship does not
    /// state, [`Error::Exhausted`] while too much waits.
    pub(crate) fn asked_to_state(
        &mut self,
        now: Instant,
        with: u8,
        asked: &[u8],
        relation: &mut Relation,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        if !self.testimony.has_room() {
            return Err(Error::Exhausted);
        }
        let of_itself = with == 0;
        match *asked {
            [kind, ..] if self.testimony.waits(kind, with) => {}
            [ANNOUNCE] if of_itself => self.state(now, EventKind::Announce, 0, &[&flag::ASKED.to_be_bytes()]),
            [STATE] if of_itself => {
                let relay = self.stated.relay as u8;
                self.state(now, EventKind::StateChange, 0, &[&[relay, relay]]);
            }
            [HANDSHAKE] => {
                let th4 = *relation.bind_session().ok_or(Error::WrongParty)?.th4();
                self.state(now, EventKind::SignedHandshake, with, &[&th4]);
            }
            [SESSION] if of_itself => relation.prove_session(fx)?,
            [VERIFICATION, ref root @ ..] if root.len() == 32 => {
                let (id, _) = relation.binding().ok_or(Error::WrongParty)?;
                self.state(now, EventKind::BindingVerification, with, &[&id.0, root]);
            }
            _ => return Err(Error::Malformed),
        }
        Ok(())
    }

    /// Signs what is first in turn with `key`, of the relationship `with`.
    pub(crate) fn sign_statement(
        &mut self,
        access: Option<Access>,
        with: u8,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let seq = self.announcer.next_seq().ok_or(Error::Exhausted)?;
        self.testimony.sign((self.own.cid(), self.boot, seq), access, with, key, rng)
    }

    /// The statement to be told upwards now, by a device whose only relationship is `relation`.
    pub(crate) fn statement_pdu(
        &mut self,
        now: Instant,
        relation: &Relation,
        access: Option<Access>,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Pdu>, Error> {
        if self.testimony.due().is_none_or(|due| now < due) {
            return Ok(None);
        }
        if !self.testimony.is_signed()
            && let Some(spk) = relation.own_spk()
        {
            self.sign_statement(access, 0, spk.signing_key(), rng)?;
        }
        self.testimony.poll(now).map(|told| told.to_pdu()).transpose()
    }

    /// The request to a witness about the statement that is first in turn.
    pub(crate) fn ask_witness(&mut self, now: Instant) -> Result<Option<Pdu>, Error> {
        self.testimony.poll_witness(now).map(ask_witness).transpose()
    }

    /// The word of this device at `time_ms` about an event that [`Relation::witness`] verified. `key` is the one that it signs
    /// with.
    pub(crate) fn attest(
        &self,
        time_ms: u64,
        event: (&Event, &Signature),
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Attestation, Error> {
        Attestation::sign(self.own.cid(), time_ms, event, key, rng)
    }
}
