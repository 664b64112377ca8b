//! The controller towards its modules: registration, relations, commands, what they report.

use super::*;

impl Controller {
    pub(super) fn send_module_clear<M: Message>(&mut self, message: &M, node: u8) -> Result<(), Error> {
        let frame = message.frame(node).map_err(|_| Error::Malformed)?;
        self.can2.send_frame(frame);
        Ok(())
    }

    pub(super) fn index(&self, node: u8) -> Option<usize> {
        let index = usize::from(node).checked_sub(1)?;
        (index < self.slots.len()).then_some(index)
    }

    pub(super) fn module_clear(
        &mut self,
        now: Instant,
        id: ClearId,
        frame: &Frame,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        // Clear in every state, from a module that has no node yet.
        if id.base == ModuleAnnouncement::BASE {
            return match ModuleAnnouncement::decode(body) {
                Ok(m) => self.announced(now, &m, rng),
                Err(_) => Ok(()),
            };
        }
        let Some(index) = self.index(id.node) else {
            return Ok(());
        };
        if !self.module_admits(now, index, id.base, Protection::Clear) {
            return Ok(());
        }
        if self.slots[index].relation.is_paired() {
            self.listed(index, frame, id.base, body);
            return Ok(());
        }
        self.slots[index].heard = now;
        if id.base == ModuleHardware::BASE
            && let Ok(m) = ModuleHardware::decode(body)
        {
            self.told_hardware(index, now, &m);
        }
        Ok(())
    }

    pub(super) fn announced(
        &mut self,
        now: Instant,
        m: &ModuleAnnouncement,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let index = match self.slots.iter().position(|s| s.unique_id == m.unique_id) {
            Some(index) => index,
            None => match self.new_slot(m.unique_id, now) {
                Some(index) => index,
                None => return Ok(()),
            },
        };
        let node = index as u8 + 1;
        let slot = &mut self.slots[index];
        if slot.relation.revoked().is_some() {
            // H107: its place is quarantined.
            return Ok(());
        }
        let paired = slot.relation.is_paired();
        // An announcement proves nothing: of a paired module only a finished RESUME changes what is known.
        if !paired {
            slot.heard = now;
        }
        let first = !core::mem::replace(&mut slot.registered, true);
        let registration = ModuleRegistration {
            node,
            controller: self.pack,
            manufacturer: m.manufacturer,
            part: m.part,
            unique_id: m.unique_id,
        };
        self.send_module_clear(&registration, UNREGISTERED)?;
        if first {
            self.device.event(Event::ModuleRegistered { node });
        }
        let slot = &mut self.slots[index];
        if paired {
            let recent = slot.greeted.is_some_and(|t| now < t + GREET_PERIOD);
            // Without its node a module did not hear the M1 of a run that began before it announced itself (C61).
            if recent || (slot.relation.is_busy() && !slot.relation.is_asking()) {
                return Ok(());
            }
            slot.greeted = Some(now);
            return self.resume_module(index, now, rng);
        }
        self.send_module(index, now, &[pdu::IDENTIFY, 0])
    }

    /// A free place for a new module: the next one, or that of a module that was never bound and is silent.
    fn new_slot(&mut self, unique_id: u32, now: Instant) -> Option<usize> {
        let number = self.slots.len() as u8 + 1;
        let fresh = |number, controller: &Controller| {
            let mut slot = Slot::new(number, unique_id, now);
            slot.relation.set_format(controller.can2.format());
            // The limits of all relationships are the same, and were accepted once.
            slot.relation.set_limits(controller.app.given_limits()).ok().map(|()| slot)
        };
        if self.slots.push(fresh(number, self)?).is_ok() {
            return Some(self.slots.len() - 1);
        }
        let stranger = |s: &Slot| {
            s.relation.peer().is_none()
                && s.relation.revoked().is_none()
                && !s.relation.is_busy()
                && now.saturating_since(s.heard) >= MODULE_SILENCE
        };
        let oldest = self.slots.iter().enumerate().filter(|(_, s)| stranger(s)).min_by_key(|(_, s)| s.heard);
        let index = oldest.map(|(i, _)| i)?;
        self.slots[index] = fresh(index as u8 + 1, self)?;
        Some(index)
    }

    // --- modules, security PDUs -----------------------------------------------------------------------

    pub(super) fn module_id(index: usize) -> SecurityId {
        SecurityId::new(Bus::Can2, Direction::Ab, index as u8 + 1)
    }

    pub(super) fn send_module(&mut self, index: usize, now: Instant, pdu: &[u8]) -> Result<(), Error> {
        self.can2.send_security(now, Self::module_id(index), pdu);
        Ok(())
    }

    pub(super) fn resume_module(
        &mut self,
        index: usize,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let mut fx = Effects::new();
        self.slots[index].relation.resume(now, self.device.boot, &mut fx, rng)?;
        self.apply_module(index, now, fx)
    }

    pub(super) fn module_security(
        &mut self,
        now: Instant,
        node: u8,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(index) = self.index(node) else {
            return Ok(());
        };
        if self.slots[index].relation.revoked().is_some() {
            return Err(Error::WrongParty);
        }
        if !self.slots[index].relation.is_paired() {
            self.slots[index].heard = now;
        }
        match *message {
            [pdu::HANDSHAKE, ref m @ ..] => {
                let mut fx = Effects::new();
                let relation = &mut self.slots[index].relation;
                if relation.handshake(&self.device.own, m, now, self.device.boot, &mut fx, rng).is_err() {
                    self.device.refuse_security();
                }
                self.apply_module(index, now, fx)
            }
            // Passed on whatever it is worth here: whoever knows the module's identity can judge it.
            [pdu::VALIDATION, events::ANNOUNCE, ref m @ ..] => {
                let heard = self.device.heard(now, m, &mut self.slots[index].relation);
                let relayed = pdu::build(&[&[pdu::RELAY, node], message])?;
                self.send_app(now, &relayed)?;
                heard.map(|heard| self.announced_by(node, heard))
            }
            [pdu::VALIDATION, events::EVENT, ..] => {
                let relayed = pdu::build(&[&[pdu::RELAY, node], message])?;
                self.send_app(now, &relayed)
            }
            [pdu::ESCALATION, ..] => {
                let mut fx = Effects::new();
                self.slots[index].relation.hint(now, self.device.boot, &mut fx, rng)?;
                self.apply_module(index, now, fx)
            }
            [
                pdu::CERTIFICATE
                | pdu::BINDING
                | pdu::KEY_PACKAGE
                | pdu::IDENTIFY
                | pdu::REVOCATION
                | pdu::POLICY
                | pdu::DELEGATION,
                ..,
            ] => {
                if let [pdu::IDENTIFY, 1, ref body @ ..] = *message
                    && let Ok(who) = Introduced::parse(body)
                    && self.slots[index].relation.peer().is_none()
                {
                    self.slots[index].cid = Some(who.cid);
                }
                let relayed = pdu::build(&[&[pdu::RELAY, node], message])?;
                self.send_app(now, &relayed)
            }
            _ => {
                self.device.refuse_security();
                Ok(())
            }
        }
    }

    pub(super) fn apply_module(&mut self, index: usize, now: Instant, mut fx: Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::ToPeer(pdu) => self.send_module(index, now, &pdu)?,
                Effect::ToAuthority(pdu) => self.send_app(now, &pdu)?,
                Effect::SealToPeer(tier, pdu) => self.seal_to_module(index, now, tier, &pdu)?,
                Effect::Store(record) => {
                    // The place first: a bond without it would belong to nobody at the next start (C61).
                    let number = index as u8 + 1;
                    if record.key == key::bond(number) && !record.is_empty() {
                        let id = self.slots[index].unique_id;
                        self.device.store(Record::new(key::module(number), &[&[1], &id.to_be_bytes()])?)?;
                    }
                    self.device.store(record)?;
                }
                Effect::Event(event) => {
                    let slot = &mut self.slots[index];
                    self.device.log_relation(now, index as u8 + 1, &event, &mut slot.relation);
                    self.device.event(Event::Relation { node: index as u8 + 1, event });
                    if let RelationEvent::Escalated { target, reason, own: false, .. } = event {
                        self.pass_escalation(index, now, target, reason)?;
                    }
                    if let RelationEvent::Bound { .. } = event {
                        self.bound_module(index, now);
                    }
                    if let RelationEvent::Bound { .. } | RelationEvent::Unpaired { .. } = event {
                        // Whoever held the place before is no member any more.
                        self.membership_changed(index, now);
                    }
                    if let RelationEvent::Rotated { epoch } = event {
                        let told = [&[pdu::ROTATE, index as u8 + 1][..], &epoch.to_be_bytes()];
                        self.seal_to_app_parts(now, Tier::Pair, &told)?;
                    }
                    if let RelationEvent::ChannelUp { challenge, .. } = event {
                        self.module_up(index, now, challenge)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A module's fresh epoch stands: it gets the group key, the time and the state it should hold.
    pub(super) fn module_up(
        &mut self,
        index: usize,
        now: Instant,
        challenge: Option<u32>,
    ) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        slot.challenge = challenge;
        slot.relay = RelayState::Off;
        (slot.next_seq, slot.run, slot.confirming) = (0, None, false);
        (slot.heard, slot.repeat) = (now, now);
        slot.energy.begin();
        self.watch_module_up(index, now);
        Ok(())
    }

    /// Repeats what a module must have and may have missed.
    pub(super) fn refresh_modules(&mut self, now: Instant) -> Result<(), Error> {
        self.give(now, Gifts { key: true, time: true, energy: false });
        self.repeat_questions(now);
        for index in 0..self.slots.len() {
            if self.slots[index].healthy() && self.slots[index].rating.is_none() {
                self.ask_hardware(index, now)?;
            }
        }
        Ok(())
    }

    pub(super) fn send_time(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let Some(ms) = self.device.unix_ms(now) else {
            return Ok(());
        };
        let body = time_pdu(ms)?;
        self.seal_to_module(index, now, Tier::Pair, &body)?;
        match self.device.token() {
            Some(token) => {
                let body = pdu::build(&[&[pdu::TIME], token])?;
                self.seal_to_module(index, now, Tier::Pair, &body)
            }
            None => Ok(()),
        }
    }

    /// The place is that of whom it is bound to, whoever said before that he was there: what was told before goes, but for what
    /// the same one told under a binding.
    fn bound_module(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        let holder = slot.relation.peer().map(|(cid, _)| cid);
        slot.cid = holder;
        if core::mem::replace(&mut slot.holder, holder) != holder {
            self.forget_holder(index, now);
        }
    }

    /// Nothing that was known of the module at this place is known of the next one there, and no fault of its is left (H250).
    fn forget_holder(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        (slot.status, slot.rating, slot.run) = (None, None, None);
        (slot.relay, slot.wanted) = (RelayState::Off, RelayState::Off);
        (slot.energy, slot.merit) = (PeerFlow::default(), Merit::default());
        slot.watch.forget();
        if self.lead == Some(index) {
            self.lead = None;
        }
        self.end_dispute();
        self.end_trip();
        self.judge_hardware(now);
    }

    /// A module's keys were erased because it was revoked: it has no place in the pack any more.
    pub(super) fn revoked_module(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        (slot.cid, slot.holder, slot.registered) = (None, None, false);
        self.forget_holder(index, now);
        self.membership_changed(index, now);
        // What was never bound has no record of its place, and this place must stay taken.
        let (number, id) = (index as u8 + 1, self.slots[index].unique_id);
        self.device.store(Record::new(key::module(number), &[&[1], &id.to_be_bytes()])?)
    }

    // --- modules, sealed ------------------------------------------------------------------------------

    pub(super) fn seal_to_module(
        &mut self,
        index: usize,
        now: Instant,
        tier: Tier,
        pdu: &[u8],
    ) -> Result<(), Error> {
        let id = Self::module_id(index);
        let sealed = id.sealed(Level::from_bits(u32::from(tier.level())));
        self.seal_module(index, now, sealed, id.base(), 0, pdu)
    }

    pub(super) fn seal_module(
        &mut self,
        index: usize,
        now: Instant,
        id: SealedId,
        base: u16,
        h0: u8,
        body: &[u8],
    ) -> Result<(), Error> {
        let (device, relation) = (&mut self.device, &mut self.slots[index].relation);
        self.can2.seal(now, id, body.len(), |out| device.seal(relation, id, base, h0, &[body], out))
    }

    pub(super) fn module_sealed(
        &mut self,
        now: Instant,
        id: SealedId,
        bytes: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(index) = self.index(id.device()) else {
            return Ok(());
        };
        let mut opened_body = heapless::Vec::<u8, { crate::link::MESSAGE_MAX }>::new();
        let (base, tier, signed) = match self.slots[index].relation.open(now, id, bytes) {
            Ok(opened) => {
                opened_body.extend_from_slice(opened.body).map_err(|_| Error::BufferTooSmall)?;
                (opened.base, opened.tier, opened.signed)
            }
            Err(why) => {
                self.device.refuse_sealed(now, why);
                return Ok(());
            }
        };
        self.slots[index].heard = now;
        let node = index as u8 + 1;
        let (security, arrived) = (Self::module_id(index).reversed(), gate::protection(tier, signed));
        if base == security.base() && !signed {
            return match self.pdu_admits(now, security, opened_body.first(), arrived) {
                true => self.module_pdu(index, now, tier, &opened_body, rng),
                false => Ok(()),
            };
        }
        if signed {
            // Modules command nobody.
            self.device.refuse_policy();
            return Ok(());
        }
        if !self.module_admits(now, index, base, arrived) {
            return Ok(());
        }
        match base {
            ModuleScan::BASE => {
                let Ok(scan) = ModuleScan::decode(&opened_body) else {
                    return Ok(());
                };
                self.module_status(index, scan.status);
                let head = [pdu::FORWARD, node, (base >> 8) as u8, base as u8];
                self.seal_to_app_parts(now, Tier::Exch, &[&head, &opened_body])
            }
            ModuleStatusAll::BASE => {
                if let Ok(status) = ModuleStatusAll::decode(&opened_body) {
                    self.module_status(index, status);
                }
                Ok(())
            }
            ModuleStatus1::BASE => {
                // The rest of the status stays as it was told last.
                if let (Ok(status1), Some(known)) =
                    (ModuleStatus1::decode(&opened_body), self.slots[index].status)
                {
                    self.module_status(index, ModuleStatusAll { status1, ..known });
                }
                Ok(())
            }
            ModuleHardware::BASE => {
                if let Ok(m) = ModuleHardware::decode(&opened_body) {
                    self.told_hardware(index, now, &m);
                }
                Ok(())
            }
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    pub(super) fn module_status(&mut self, index: usize, status: ModuleStatusAll) {
        let slot = &mut self.slots[index];
        slot.relay = status.status1.state;
        slot.status = Some(status);
    }

    pub(super) fn module_pdu(
        &mut self,
        index: usize,
        now: Instant,
        tier: Tier,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let node = index as u8 + 1;
        match *body {
            [pdu::CONFIRM, ref m @ ..] => {
                let mut fx = Effects::new();
                self.slots[index].relation.confirmed(tier, m, &mut fx)?;
                self.apply_module(index, now, fx)
            }
            [pdu::ROTATE, ref m @ ..] => {
                let mut fx = Effects::new();
                self.slots[index].relation.rotation(now, tier, m, &mut fx, rng)?;
                self.apply_module(index, now, fx)
            }
            [pdu::VALIDATION, events::TOLD, ref m @ ..] => self.pass_testimony(index, now, m, rng),
            [pdu::VALIDATION, events::WITNESSED, ref word @ ..] => self.attested(index, now, word),
            [pdu::VALIDATION, ref m @ ..] => {
                let mut fx = Effects::new();
                self.slots[index].relation.ended(m, &mut fx)?;
                self.apply_module(index, now, fx)
            }
            [pdu::ESCALATION, ref m @ ..] => {
                let mut fx = Effects::new();
                self.slots[index].relation.escalation(now, m, &mut fx)?;
                self.apply_module(index, now, fx)
            }
            // Without room for it there, the module tells it again, or is asked again.
            [pdu::BATCH | pdu::AUDIT, 0, ..] | [pdu::LEAF, ..] if !self.can1.has_room_for(body.len()) => {
                Ok(())
            }
            [pdu::BATCH, 0, ref m @ ..] => self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::BATCH, node], m]),
            [pdu::AUDIT, 0, ref m @ ..] => self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::AUDIT, node], m]),
            [pdu::LEAF, _, ref m @ ..] => self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::LEAF, node], m]),
            [pdu::ECHO, echo::ANSWER, 0, ref m @ ..] if m.len() == 8 => {
                self.seal_to_app_parts(now, tier, &[&[pdu::ECHO, echo::ANSWER, node], m])
            }
            [pdu::HEALTH, 0, ..] => self.module_health(index, now, &body[1..]),
            [pdu::ALERT, 0, ..] => self.module_alert(index, now, &body[1..]),
            [pdu::DIGEST, ref m @ ..] => self.module_digest(index, now, m),
            [pdu::COMMAND_ACK, ref m @ ..] => {
                let ack = Acknowledgement::parse(m)?;
                self.commanded(index, now, &ack, rng)
            }
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    pub(super) fn commanded(
        &mut self,
        index: usize,
        now: Instant,
        ack: &Acknowledgement,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        slot.challenge = Some(ack.challenge);
        let Some(run) = slot.run.take_if(|r| r.seq == ack.seq) else {
            return Ok(());
        };
        match ack.result {
            CommandResult::Done => {
                slot.relay = run.state;
                if let (true, Some(digest)) = (core::mem::take(&mut slot.confirming), run.digest) {
                    self.device.state(now, EventKind::Command, index as u8 + 1, &[&digest]);
                }
                Ok(())
            }
            CommandResult::Stale => self.raise(index, now, rng),
            CommandResult::Refused => {
                slot.confirming = false;
                // Nothing will have changed at once: a tripped module must not be asked without pause.
                slot.run = Some(CommandRun { due: now + REPEAT, ..run });
                Ok(())
            }
        }
    }

    /// Signs a raised state for a module and sends it.
    pub(super) fn raise(
        &mut self,
        index: usize,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let node = index as u8 + 1;
        let slot = &mut self.slots[index];
        if !self.device.may(now, node, ModuleStateChange::BASE, Operation::Switch, &mut slot.relation) {
            // Nothing changes at once: it is tried again in the rhythm of the repetitions.
            slot.run =
                Some(CommandRun { seq: slot.next_seq, state: slot.wanted, due: now + REPEAT, digest: None });
            return Ok(());
        }
        let (Some(challenge), Some(session), Some(spk)) =
            (slot.challenge, slot.relation.session(), slot.relation.own_spk())
        else {
            return Ok(());
        };
        let (body, len) = ModuleStateChange { state: slot.wanted, hv_bus_mv: 0 }.encode();
        let command = SignedCommand {
            base: ModuleStateChange::BASE,
            seq: slot.next_seq,
            challenge,
            ttl_ms: COMMAND_TTL_MS,
            command: &body[..len],
        };
        let digest = Some(command.digest(session.th4(), session.epoch()));
        let signed = command.sign(session.th4(), session.epoch(), spk.signing_key(), rng)?;
        slot.run =
            Some(CommandRun { seq: slot.next_seq, state: slot.wanted, due: now + COMMAND_TIMEOUT, digest });
        slot.next_seq = slot.next_seq.checked_add(1).ok_or(Error::Exhausted)?;
        let id = SealedId::new(ModuleStateChange::BASE, Level::Pair, Direction::Ab, index as u8 + 1)
            .map_err(|_| Error::Malformed)?;
        self.seal_module(index, now, id, ModuleStateChange::BASE, H0_SIGNED, &signed)
    }

    /// Repeats or lowers a module's state: sealed, without signature.
    pub(super) fn hold(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        slot.repeat = now + REPEAT;
        let state = slot.wanted.min(slot.relay);
        slot.relay = state;
        let (body, len) = ModuleStateChange { state, hv_bus_mv: 0 }.encode();
        let id = SealedId::new(ModuleStateChange::BASE, Level::Pair, Direction::Ab, index as u8 + 1)
            .map_err(|_| Error::Malformed)?;
        self.seal_module(index, now, id, ModuleStateChange::BASE, 0, &body[..len])
    }

    pub(super) fn ask_status(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let id = SealedId::new(ModuleStatusRequest::BASE, Level::Exch, Direction::Ab, index as u8 + 1)
            .map_err(|_| Error::Malformed)?;
        self.seal_module(index, now, id, ModuleStatusRequest::BASE, 0, &[0])
    }
}
