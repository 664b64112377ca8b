//! The end of a pairing at the wish of one of its entities (`spec/channel.md`, H158).
//!
//! Whoever wants it says so in an event that it signs (`lct::validation`), to the peer and to the authority. Both ends
//! erase the session; the binding stays.

use super::*;
use crate::pdu::validation as events;
use lct::{
    revocation::Reason,
    sign::Signature,
    validation::{EVENT_MAX, Event, EventKind},
};

/// How far an end is.
pub(super) enum Ending {
    /// The peer is told until it answers.
    Told { statement: Short, due: Instant, tries: u8 },
    /// Both know, or the peer is not heard.
    Agreed { own: bool },
}

impl Relation {
    /// True from the wish to end the pairing on until it has ended: nothing is raised meanwhile.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// This entity ends the pairing: `position` is boot counter and number of its statement.
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a pairing.
    pub fn unpair(
        &mut self,
        own: &Identity,
        position: (u32, u32),
        reason: Reason,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let id = self.pairing_id.filter(|_| self.is_paired()).ok_or(Error::WrongParty)?;
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        let mut payload = [reason as u8; 17];
        payload[..16].copy_from_slice(&id.0);
        let event = Event::new(EventKind::PairingRevocation, own.cid(), position.0, position.1, &payload)?;
        let signature = event.sign(bond.own.signing_key(), rng)?;
        let mut bytes = [0; EVENT_MAX];
        let n = event.encode(&mut bytes)?;
        let head = [pdu::VALIDATION, events::EVENT, n as u8];
        let statement = pdu::build(&[&head, &bytes[..n], &signature.0])?;
        self.ending = Some(Ending::Told { statement: short(&statement)?, due: Instant::START, tries: 0 });
        push(fx, Effect::ToAuthority(statement))
    }

    /// What the peer sealed about the end of the pairing, after `07`: its statement, or its answer.
    pub(crate) fn ended(&mut self, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let id = self.pairing_id.filter(|_| self.is_paired()).ok_or(Error::WrongParty)?;
        match *body {
            [events::TAKEN, ref of @ ..] if of == id.0 => {
                if matches!(self.ending, Some(Ending::Told { .. })) {
                    self.ending = Some(Ending::Agreed { own: true });
                }
                Ok(())
            }
            [events::EVENT, ref statement @ ..] => {
                let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
                let mut f = Fields::new(statement);
                let n = usize::from(f.u8()?);
                let event = Event::decode(f.slice(n)?)?;
                let signature = Signature(f.array()?);
                f.end()?;
                let about = event.payload.first_chunk::<16>() == Some(&id.0);
                if event.kind != EventKind::PairingRevocation || event.cid != bond.peer.0 || !about {
                    return Err(Error::WrongParty);
                }
                event.verify(&bond.peer_spk.sign_pub(), &signature)?;
                if !matches!(self.ending, Some(Ending::Agreed { .. })) {
                    self.ending = Some(Ending::Agreed { own: false });
                }
                // What guards the answer: nothing of the pairing returns after a start.
                self.save(Tier::Pair, fx)?;
                self.erase_pairing(fx)?;
                let answer = pdu::build(&[&[pdu::VALIDATION, events::TAKEN], &id.0])?;
                push(fx, Effect::SealToPeer(Tier::Exch, answer))
            }
            _ => Err(Error::Malformed),
        }
    }

    pub(super) fn ending_due(&self) -> Option<Instant> {
        self.ending.as_ref().map(|ending| match ending {
            Ending::Told { due, .. } => *due,
            Ending::Agreed { .. } => Instant::START,
        })
    }

    /// Tells the peer again, or ends the pairing.
    pub(super) fn tend_ending(&mut self, now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let up = self.is_up();
        let own = match &mut self.ending {
            None => return Ok(()),
            Some(Ending::Told { due, .. }) if now < *due => return Ok(()),
            Some(Ending::Told { statement, due, tries }) if *tries < TRIES && up => {
                (*due, *tries) = (now + CONFIRM_TIMEOUT, *tries + 1);
                let statement = long(statement)?;
                return push(fx, Effect::SealToPeer(Tier::Exch, statement));
            }
            Some(Ending::Told { .. }) => true,
            Some(Ending::Agreed { own }) => *own,
        };
        self.ending = None;
        let Some(pairing_id) = self.pairing_id else { return Ok(()) };
        self.end_pairing(fx)?;
        push(fx, Effect::Event(RelationEvent::Unpaired { pairing_id, own }))
    }
}
