//! What changes over the life of a device: its time, what was revoked, and its log (`spec/channel.md`, H100 to H126).

use super::{
    delegate::{Refusal, refusal},
    *,
};
use crate::{
    announce::flag,
    assurance::{Operation, permits},
    bootstrap::{self, FREE_TRIES, WINDOW},
    lease::LeaseState,
    level::{self, required},
    pdu::{self, Pdu, Status, binding as op, validation as events},
    relation::RelationEvent,
    revocations::Taken,
};
use lct::{
    attest::{CERTIFICATE_LEN, DeviceCertificate},
    binding::Introduction,
    certificate::Certificate,
    clock::TimeToken,
    codec::Fields,
    id::Cid,
    journal::{DETAIL_MAX, Entry},
    metadata::ClearMetadata,
    revocation::{Reason, Subject, batch_id},
    validation::{Announce, EventKind, ValidationLevel},
};

impl<E, const STORES: usize, const EVENTS: usize> Device<E, STORES, EVENTS> {
    /// The next record of clock, list or log. The entry of an event comes before every frame that follows the event.
    pub(super) fn lifecycle_record(&mut self) -> Option<Record> {
        let revoked = self.revocations.record();
        revoked.or_else(|| self.clock.record()).or_else(|| self.journal.record())
    }

    /// Lets time pass; the roles call it with every tick.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.clock.tick(now);
        self.log_condition(now);
        if !self.stale_told && self.revocations.is_stale(self.clock.judged(now)) {
            self.stale_told = true;
            let next = self.revocations.next_update().to_be_bytes();
            self.log(now, Code::RevocationStale, SELF, &[&next]);
        }
        if self.refused != self.refused_logged {
            let Refused { sealed, policy, security } = self.refused;
            let before = self.journal.count();
            let counts = [sealed, policy, security].map(u32::to_be_bytes);
            self.log(now, Code::Refused, SELF, &[&counts[0], &counts[1], &counts[2]]);
            if self.journal.count() > before {
                self.refused_logged = self.refused;
            }
        }
        if let Some(k) = self.journal.take_suppressed(now) {
            self.log(now, Code::Suppressed, SELF, &[&k.to_be_bytes()]);
        }
    }

    // --- log ------------------------------------------------------------------------------------------

    /// Writes an event into the log.
    pub(crate) fn log(&mut self, now: Instant, code: Code, node: u8, detail: &[&[u8]]) {
        let mut bytes = heapless::Vec::<u8, DETAIL_MAX>::new();
        for part in detail {
            let kept = bytes.extend_from_slice(part);
            debug_assert!(kept.is_ok(), "details are shorter than that");
        }
        let entry = Entry {
            code: code as u8,
            boot: self.boot,
            uptime_s: self.clock.uptime(now),
            time: self.clock.stamp_s(now),
            node,
            detail: bytes,
        };
        self.journal.write(now, code, &entry);
    }

    /// Writes what happened to `relation`, whose peer is at `node`.
    pub(crate) fn log_relation(
        &mut self,
        now: Instant,
        node: u8,
        event: &RelationEvent,
        relation: &mut Relation,
    ) {
        match event {
            RelationEvent::Bound { binding_id, assurance, record } => {
                self.rebound(relation.slot());
                self.testimony.rebound(node);
                self.state(now, EventKind::BindingEstablishment, node, &[&binding_id.0, record]);
                self.log(now, Code::Bound, node, &[&binding_id.0, &[*assurance as u8]]);
            }
            RelationEvent::Paired { pairing_id, completion } => {
                self.state(now, EventKind::PairingCompletion, node, &[&pairing_id.0, completion]);
                let version = relation.lease().map_or(0, |l| l.policy_version).to_be_bytes();
                self.log(now, Code::Paired, node, &[&pairing_id.0, &version]);
            }
            RelationEvent::ChannelUp { epoch, .. } | RelationEvent::Rotated { epoch } => {
                if let Some((ended, counts)) = relation.take_counts(*epoch) {
                    let [s, o, m, u, r, n] = counts.map(u32::to_be_bytes);
                    let detail: [&[u8]; 7] = [&ended.to_be_bytes(), &s, &o, &m, &u, &r, &n];
                    self.log(now, Code::EpochCounts, node, &detail);
                }
                self.log(now, Code::ChannelUp, node, &[&epoch.to_be_bytes()]);
                if let Some((pairing, t3)) = relation.take_proof() {
                    self.state(now, EventKind::PairedHandshake, node, &[&pairing.0, &t3]);
                }
                if node == 0 {
                    self.state_presence(now);
                }
            }
            RelationEvent::Alarm { .. } => {
                let epoch = relation.stored_session().map_or(0, |s| s.epoch()).to_be_bytes();
                self.log(now, Code::FailureAlarm, node, &[&epoch]);
            }
            RelationEvent::Escalated { target, reason, urgency, own } => {
                let detail = [*target as u8, *reason as u8, *urgency as u8, u8::from(*own)];
                self.log(now, Code::Escalated, node, &[&detail]);
            }
            RelationEvent::EscalationEnded { level, by } => {
                let by = by.map_or(0, |by| by as u8);
                self.log(now, Code::EscalationEnded, node, &[&[*level as u8, by]]);
            }
            RelationEvent::EscalationOverflow { count } => {
                self.log(now, Code::EscalationOverflow, node, &[&count.to_be_bytes()]);
            }
            RelationEvent::Unpaired { pairing_id, own } => {
                self.log(now, Code::PairingEnded, node, &[&pairing_id.0, &[u8::from(*own)]]);
            }
            RelationEvent::Failed { kind } => {
                self.log(now, Code::HandshakeFailed, node, &[&[*kind as u8]]);
            }
            RelationEvent::Denied { .. } => {
                self.log(now, Code::PduRefused, node, &[&[pdu::BINDING, Status::WrongParty as u8]]);
            }
            _ => {}
        }
    }

    /// Says which entries will never come, before any other.
    pub(super) fn log_gap(&mut self, now: Instant) {
        if let Some(gap) = self.journal.take_gap() {
            self.log(now, Code::EntriesLost, SELF, &[&gap.encode()]);
        }
    }

    /// Says once per start that the device is not sound.
    pub(super) fn log_condition(&mut self, now: Instant) {
        let code = match self.condition {
            Condition::Sound => return,
            Condition::KeyLost => Code::KeyLost,
            Condition::Tampered => Code::Tampered,
        };
        if !core::mem::replace(&mut self.condition_told, true) {
            self.log(now, code, SELF, &[]);
        }
    }

    /// Writes what happened before a binding.
    pub(crate) fn log_bootstrap(&mut self, now: Instant, event: &bootstrap::Event) {
        match event {
            bootstrap::Event::WindowOpened => {
                let seconds = (WINDOW.as_millis() / 1_000) as u16;
                self.log(now, Code::WindowOpened, SELF, &[&seconds.to_be_bytes()]);
            }
            bootstrap::Event::WindowClosed => self.log(now, Code::WindowClosed, SELF, &[]),
            bootstrap::Event::Tried { tries } if *tries >= FREE_TRIES => {
                self.log(now, Code::LockedOut, SELF, &[&[*tries]]);
            }
            _ => {}
        }
    }

    /// A fresh group key is in force.
    pub(crate) fn log_group(&mut self, now: Instant, generation: u32) {
        self.log(now, Code::GroupKey, SELF, &[&generation.to_be_bytes()]);
    }

    /// The next audit PDU without type and node, if one is due.
    pub(crate) fn journal_pdu(
        &mut self,
        now: Instant,
        key: &lct::sign::SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Pdu>, Error> {
        let time = self.clock.stamp_s(now);
        self.journal.poll(now, &self.own, time, key, rng)
    }

    // --- time -----------------------------------------------------------------------------------------

    /// Unix time in milliseconds for records, once it was told.
    pub(crate) fn unix_ms(&self, now: Instant) -> Option<u64> {
        self.clock.unix_ms(now)
    }

    /// The authority's last word about time, for those below.
    pub(crate) fn token(&self) -> Option<&[u8; TOKEN_LEN]> {
        self.token.as_ref()
    }

    /// Takes what the paired peer sealed as time: its own word, or the authority's token (H100, H101).
    pub(crate) fn take_time(&mut self, now: Instant, body: &[u8]) -> Result<(), Error> {
        if let Ok(token) = <&[u8; TOKEN_LEN]>::try_from(body) {
            return self.take_token(now, token);
        }
        let mut f = Fields::new(body);
        let (seconds, millis) = (f.u32()?, f.u16()?);
        f.end()?;
        let told = self.clock.peer(now, u64::from(seconds) * 1_000 + u64::from(millis));
        if let crate::clock::Told::Jump { told, own } = told {
            self.log(now, Code::TimeJump, 0, &[&told.to_be_bytes(), &own.to_be_bytes()]);
        }
        Ok(())
    }

    /// Takes a time token of the authority; one that is no news costs no verification.
    pub(crate) fn take_token(&mut self, now: Instant, token: &[u8; TOKEN_LEN]) -> Result<(), Error> {
        let own = self.clock.judged(now).unwrap_or(0);
        if TimeToken::claimed(token)?.time <= own {
            return Ok(());
        }
        let time = TimeToken::open(token, &self.own.authority.sign_pub())?.time;
        self.token = Some(*token);
        // What the peer could have said too is not worth an entry.
        if self.clock.authority(now, time) && time.abs_diff(own) > crate::clock::PEER_CREDIT_S {
            self.log(now, Code::TimeToken, SELF, &[&time.to_be_bytes(), &own.to_be_bytes()]);
        }
        Ok(())
    }

    /// This device ends the pairing of `relation`.
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a pairing.
    pub(crate) fn unpair(
        &mut self,
        relation: &mut Relation,
        reason: Reason,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let seq = self.announcer.next_seq().ok_or(Error::Exhausted)?;
        relation.unpair(&self.own, (self.boot, seq), reason, fx, rng)?;
        self.testimony.yield_turn();
        Ok(())
    }

    // --- announces ------------------------------------------------------------------------------------

    /// The announce that is due: signed with the key of `relation`, or with the identity's where there is none (H156).
    pub(crate) fn announce(
        &mut self,
        now: Instant,
        relation: &Relation,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Pdu>, Error> {
        let Some((seq, wanted)) = self.announcer.poll(now) else { return Ok(None) };
        let condition = match self.condition {
            Condition::Sound => 0,
            Condition::KeyLost => flag::KEY_LOST,
            Condition::Tampered => flag::TAMPERED,
        };
        let (key, by) = match relation.own_spk() {
            Some(spk) => (spk.signing_key(), 0),
            None => (&self.own.key, flag::IDENTITY),
        };
        let announce = Announce { cid: self.own.cid(), boot: self.boot, seq, flags: wanted | condition | by };
        let signed = announce.issue(key, rng);
        pdu::build(&[&[pdu::VALIDATION, events::ANNOUNCE], &signed]).map(Some)
    }

    /// Takes an announce of the peer of `relation`. `None` when it is not verified: it is signed with an identity key,
    /// which only the owner may know, or another one was verified just now.
    ///
    /// # Errors
    /// [`Error::WrongParty`] for another cid, [`Error::Expired`] for one that is not above what was heard.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        bytes: &[u8],
        relation: &mut Relation,
    ) -> Result<Option<Announce>, Error> {
        let claimed = Announce::parse(bytes)?.0;
        let Some(key) = relation.peer_spk().map(|spk| spk.sign_pub()) else { return Ok(None) };
        if relation.peer().is_none_or(|(cid, _)| cid != claimed.cid) {
            return Err(Error::WrongParty);
        }
        if claimed.flags & flag::IDENTITY != 0 {
            return Ok(None);
        }
        if !relation.heard.admits(&claimed, relation.peer_boot()) {
            return Err(Error::Expired);
        }
        if !self.announcer.may_verify(now) {
            return Ok(None);
        }
        let announce = Announce::open(bytes, &key)?;
        relation.heard.take(&announce);
        Ok(Some(announce))
    }

    // --- lease ----------------------------------------------------------------------------------------

    /// Whether the peer of `relation` may have `operation` done by the message `base`: by the assurance of the binding
    /// (H79), then by the lease (H104) and what its certificate grants (H114), then by what an escalation asks for (H151).
    /// A refusal is logged; when the lease ended, that is made to last.
    pub(crate) fn may(
        &mut self,
        now: Instant,
        node: u8,
        base: u16,
        operation: Operation,
        relation: &mut Relation,
    ) -> bool {
        let (judged, powered) = (self.clock.judged(now), self.clock.powered(now));
        let assured = relation.binding().is_none_or(|(_, assurance)| permits(assurance, operation));
        let state = match relation.lease() {
            _ if !assured => LeaseState::NotAssured,
            Some(lease) => lease.judge(operation, judged, powered),
            // Without a pairing the class table says what is admitted, and nothing is raised.
            None if operation.needs_lease() => LeaseState::NotGranted,
            None => LeaseState::InForce,
        };
        match state {
            LeaseState::InForce => {
                let level = ValidationLevel::Command;
                return operation.level().is_none_or(|o| self.suffices(now, node, o, level, relation));
            }
            LeaseState::NotGranted | LeaseState::NotAssured => {}
            _ => {
                self.clock.settle(now);
                let pairing = relation.pairing_id().map_or([0; 16], |id| id.0);
                if relation.tell_lease_ended() {
                    self.log(now, Code::LeaseEnded, node, &[&pairing, &[state as u8]]);
                }
            }
        }
        let [high, low] = base.to_be_bytes();
        self.log(now, Code::RaiseRefused, node, &[&[high, low, state as u8]]);
        false
    }

    /// Whether `operation`, proved at `reached`, may be done in `relation`; a refusal is logged.
    pub(crate) fn suffices(
        &mut self,
        now: Instant,
        node: u8,
        operation: level::Operation,
        reached: ValidationLevel,
        relation: &Relation,
    ) -> bool {
        let enough = relation.suffices(now, operation, reached);
        if !enough {
            let required = required(operation, relation.escalated(now));
            self.log(now, Code::BelowLevel, node, &[&[operation as u8, required as u8]]);
        }
        enough
    }

    // --- what the authority sends ---------------------------------------------------------------------

    /// The answer to a message of the authority that the list held does not let in (H108, H109). What is read here is
    /// not verified yet: it can only lead to a refusal.
    pub(super) fn refusal(&mut self, now: Instant, message: &[u8]) -> Option<Refusal> {
        let (kind, operation, id, status) = self.judge(now, message)?;
        self.log(now, Code::PduRefused, SELF, &[&[kind, status as u8]]);
        Some(refusal(kind, operation, &id, status))
    }

    fn judge(&self, now: Instant, message: &[u8]) -> Option<(u8, u8, [u8; 16], Status)> {
        let list = &self.revocations;
        let stale = list.is_stale(self.clock.judged(now));
        let (kind, operation, id, revoked, early) = match *message {
            [pdu::CERTIFICATE, ref m @ ..] => {
                let cert = Certificate::parse(m).ok()?;
                let metadata = ClearMetadata::decode(cert.clear_metadata).ok()?;
                let entity = metadata.entities.iter().any(|e| list.lists(Subject::Component(e.cid)));
                let revoked = entity || list.lists(Subject::Pairing(cert.pairing_id));
                let early = metadata.crl_number > list.number();
                (pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS, cert.pairing_id.0, revoked, early)
            }
            [pdu::BINDING, op::REQUEST, ref m @ ..] => {
                let mut f = Fields::new(m.get(1..)?);
                let id: [u8; 16] = f.array().ok()?;
                f.slice(17).ok()?;
                let partner = Cid(f.array().ok()?);
                (pdu::BINDING, op::STATUS, id, list.lists(Subject::Component(partner)), false)
            }
            [pdu::BINDING, op::INTRODUCTION, ref m @ ..] => {
                let mut f = Fields::new(m.get(1..)?);
                let id: [u8; 16] = f.array().ok()?;
                f.slice(16).ok()?;
                let device =
                    DeviceCertificate::from_slice(f.slice(CERTIFICATE_LEN).ok()?).ok()?.subject().ok()?;
                let batch =
                    DeviceCertificate::from_slice(f.slice(CERTIFICATE_LEN).ok()?).ok()?.subject().ok()?;
                let revoked = list.lists(Subject::Component(device.cid))
                    || list.lists(Subject::Batch(batch_id(&batch.key)));
                (pdu::BINDING, op::STATUS, id, revoked, false)
            }
            _ => return None,
        };
        match (revoked, stale || early) {
            (true, _) => Some((kind, operation, id, Status::WrongParty)),
            (false, true) => Some((kind, operation, id, Status::WrongState)),
            (false, false) => None,
        }
    }

    /// A message of the authority was accepted: the time in it is the authority's word (H101).
    pub(super) fn vouched(&mut self, now: Instant, message: &[u8]) {
        let time = match *message {
            [pdu::CERTIFICATE, ref m @ ..] => Certificate::parse(m)
                .and_then(|cert| ClearMetadata::decode(cert.clear_metadata))
                .map(|metadata| metadata.timing.created)
                .ok(),
            [pdu::BINDING, op::INTRODUCTION, ref m @ ..] => {
                let opened = Introduction::split(m).and_then(|(introduction, _)| {
                    Introduction::open(introduction, &self.own.authority.sign_pub())
                });
                opened.map(|intro| intro.time).ok()
            }
            _ => None,
        };
        if let Some(time) = time {
            self.clock.authority(now, time);
        }
    }

    /// Takes a revocation list; the answer says which one is held now. True when it is a new one.
    pub(crate) fn take_list(&mut self, now: Instant, list: &[u8]) -> Result<(Pdu, bool), Error> {
        let taken = self.revocations.take(now, list, &self.own.authority.sign_pub());
        let number = self.revocations.number().to_be_bytes();
        let status = match taken {
            Ok(_) => Status::Accepted,
            Err(Error::Expired) => Status::WrongState,
            Err(e) => e.into(),
        };
        if taken == Ok(Taken::New) {
            self.stale_told = false;
            let entries = (self.revocations.len() as u16).to_be_bytes();
            self.log(now, Code::RevocationList, SELF, &[&number, &entries]);
        } else if matches!(taken, Err(Error::NotAuthentic | Error::WrongParty)) {
            self.log(now, Code::RevocationRefused, SELF, &[&number]);
        }
        let answer = pdu::build(&[&[pdu::REVOCATION, pdu::REVOCATION_STATUS], &number, &[status as u8]])?;
        Ok((answer, taken == Ok(Taken::New)))
    }

    /// True when the list held names `peer`, or this device itself.
    pub(crate) fn is_revoked(&self, peer: Option<Cid>) -> bool {
        let lists = |cid| self.revocations.lists(Subject::Component(cid));
        peer.is_some_and(|peer| lists(peer) || lists(self.own.cid()))
    }

    /// Ends what the list held says about `relation`. True when its peer was revoked just now.
    pub(crate) fn enforce(&mut self, now: Instant, node: u8, relation: &mut Relation) -> Result<bool, Error> {
        if self.revocations.is_empty() || STORES - self.stores.len() < ENDING_RECORDS {
            // What finds no room now is done with the next call: the list is held.
            return Ok(false);
        }
        let list = &self.revocations;
        let own = list.lists(Subject::Component(self.own.cid()));
        let peer = relation.partner().filter(|cid| own || list.lists(Subject::Component(*cid)));
        let bound = relation.binding().filter(|(id, _)| list.lists(Subject::Binding(*id)));
        let gone = peer.or(bound.and(relation.partner()));
        if gone.is_some() || relation.pairing_id().is_some_and(|id| list.lists(Subject::Pairing(id))) {
            self.end(now, node, relation, gone)?;
        }
        Ok(gone.is_some())
    }

    /// Ends what there is with the peer `gone`, otherwise only the pairing of `relation`.
    pub(super) fn end(
        &mut self,
        now: Instant,
        node: u8,
        relation: &mut Relation,
        gone: Option<Cid>,
    ) -> Result<(), Error> {
        let mut fx = Effects::new();
        match gone {
            Some(cid) => {
                relation.revoke(cid, &mut fx)?;
                self.log(now, Code::PeerRevoked, node, &[&cid.0]);
            }
            None => {
                relation.end_pairing(&mut fx)?;
                self.log(now, Code::PeerRevoked, node, &[]);
            }
        }
        self.store_all(fx)
    }
}
