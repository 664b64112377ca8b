//! What a pack states, for which its modules are the witnesses, and what it witnesses of them (`spec/channel.md`, H170
//! to H174).

use super::*;
use crate::testimony::Told;
use core::fmt::Write;
use lct::{
    hash::sha256,
    validation::{ATTESTATION_LEN, Access, Event as Statement, Protocol},
};

impl Controller {
    /// Tells the statement that is first in turn, once it has the witness that it needs.
    pub(super) fn send_testimony(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let due = self.device.testimony.due().is_some_and(|due| due <= now);
        if !due || !self.app.is_up() || !self.can1.is_idle() {
            return Ok(());
        }
        if self.device.testimony.needs_witness() {
            return self.ask_witness(now, rng);
        }
        if !self.device.testimony.is_signed() {
            let with = self.device.testimony.with().unwrap_or(0);
            let relation = match self.index(with) {
                Some(index) => &self.slots[index].relation,
                None => &self.app,
            };
            match relation.own_spk().map(|spk| spk.signing_key().clone()) {
                Some(key) => self.device.sign_statement(self.access(), with, &key, rng)?,
                // Its relationship is no more: nobody could verify the statement.
                None => self.device.testimony.next(now),
            }
        }
        match self.device.testimony.poll(now).map(Told::to_pdu).transpose()? {
            Some(pdu) => self.seal_to_app(now, Tier::Exch, &pdu),
            None => Ok(()),
        }
    }

    /// Asks the next healthy module to be the witness. The statement is signed with the key that this module knows.
    fn ask_witness(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let count = self.slots.len();
        let next = (1..=count).map(|step| (self.witness + step) % count);
        let asked = next.into_iter().find(|index| self.slots[*index].healthy());
        let known = asked.and_then(|index| Some((index, self.slots[index].relation.own_spk()?)));
        let Some((index, spk)) = known else {
            self.device.testimony.wait(now);
            return Ok(());
        };
        let key = spk.signing_key().clone();
        self.witness = index;
        self.device.sign_statement(None, index as u8 + 1, &key, rng)?;
        match self.device.ask_witness(now)? {
            Some(pdu) => self.seal_to_module(index, now, Tier::Exch, &pdu),
            None => Ok(()),
        }
    }

    /// The word of a module about the statement that is first in turn.
    pub(super) fn attested(&mut self, index: usize, now: Instant, word: &[u8]) -> Result<(), Error> {
        let Some(spk) = self.slots[index].relation.peer_spk() else { return Ok(()) };
        self.device.testimony.attested(now, index as u8 + 1, word, &spk.sign_pub())
    }

    /// Passes an event of a module on; of one at level 2 this pack is the witness. Without room for it there, the module tells it
    /// again.
    pub(super) fn pass_testimony(
        &mut self,
        index: usize,
        now: Instant,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        // With the word of a witness and what stands before the event.
        if !self.can1.has_room_for(body.len() + ATTESTATION_LEN + 2) {
            return Ok(());
        }
        let told = Told::parse(body)?;
        if (told.node, told.with) != (0, 0) || told.attestation.is_some() {
            return Err(Error::WrongParty);
        }
        let event = Statement::decode(&told.signed.event)?;
        let attestation = if event.level() == ValidationLevel::Witness {
            let (Some(time_ms), Some(key)) = (self.device.unix_ms(now), self.signing_key()) else {
                // The module tells it again; by then the time may be known.
                return Ok(());
            };
            self.slots[index].relation.witness(&told.signed)?;
            if event.kind == EventKind::Energy && !self.vouches_for(index, now, &event)? {
                return Ok(());
            }
            Some(self.device.attest(time_ms, (&event, &told.signed.signature), &key, rng)?)
        } else {
            None
        };
        let passed = Told { node: index as u8 + 1, attestation, ..told };
        self.seal_to_app(now, Tier::Exch, &passed.to_pdu()?)
    }

    /// The app wants something stated: of this pack, or of what it has with the module at node `with` (H190).
    pub(super) fn asked_to_state(
        &mut self,
        now: Instant,
        with: u8,
        asked: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let mut fx = Effects::new();
        if with == 0 {
            self.device.asked_to_state(now, 0, asked, &mut self.app, &mut fx)?;
            return self.apply_app(now, fx);
        }
        let index = self.index(with).ok_or(Error::WrongParty)?;
        if *asked == [EventKind::Command as u8] {
            return self.confirm(index, now, rng);
        }
        self.device.asked_to_state(now, with, asked, &mut self.slots[index].relation, &mut fx)?;
        self.apply_module(index, now, fx)
    }

    /// Signs the state that the module is to hold once more; this pack states the command when the module did it. One that is under
    /// way is as good.
    fn confirm(&mut self, index: usize, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        if !slot.relation.is_up() {
            return Err(Error::WrongParty);
        }
        slot.confirming = true;
        if slot.run.is_some() { Ok(()) } else { self.raise(index, now, rng) }
    }

    /// An energy statement is on its way to the ledger: a module is to be the witness of that.
    pub(super) fn energy_kept(&mut self, now: Instant, number: u64) {
        if let Some(kept) = self.meter.acknowledge(number) {
            self.device.state(now, EventKind::Energy, 0, &[&sha256(&[&kept.statement])]);
        }
    }

    /// A module asks for a level: this pack asks its app for it, for no more than a signed command and for a while only,
    /// so that one module stops neither the others nor the pack. Not while that is in force, nor when that module caused
    /// it, or this pack asked, too often (H175).
    pub(super) fn pass_escalation(
        &mut self,
        index: usize,
        now: Instant,
        target: ValidationLevel,
        reason: EscalationReason,
    ) -> Result<(), Error> {
        let target = target.min(ValidationLevel::Command);
        if self.app.escalated(now) >= Some(target) || !self.slots[index].passed_on.take(now) {
            return Ok(());
        }
        let mut fx = Effects::new();
        match self.app.escalate(now, target, reason, Urgency::Deferred, &mut fx) {
            Ok(()) => self.apply_app(now, fx),
            Err(_) => Ok(()),
        }
    }

    /// Where this pack is found.
    fn access(&self) -> Option<Access> {
        let endpoint = heapless::String::try_from("can1").ok()?;
        let mut device = heapless::String::new();
        write!(device, "{}", self.pack).ok()?;
        Some(Access { protocol: Protocol::Can, endpoint, device })
    }
}
