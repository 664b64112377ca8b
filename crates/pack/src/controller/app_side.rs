//! The controller towards the app: routing of what the authority sends, the sealed channel, commands.

use super::*;
use crate::pdu::Status;
use crate::testimony::ENERGY;

impl Controller {
    pub(super) fn app_clear(&mut self, now: Instant, id: ClearId, body: &[u8]) -> Result<(), Error> {
        if id.node != self.pack {
            return Ok(());
        }
        // What packs send is none of this pack's business.
        if gate::is_sent_by(Bus::Can1, id.base, Direction::Ba) {
            return Ok(());
        }
        if !self.app_admits(now, id.base, body, Protection::Clear) {
            return Ok(());
        }
        match id.base {
            VcuKeepAlive::BASE => self.last_app = now,
            // Without a pairing the only state that is obeyed is the one that takes energy off the bus.
            VcuCommand::BASE => {
                self.last_app = now;
                if VcuCommand::decode(body).is_ok_and(|m| m.state == RelayState::Off) {
                    self.want(RelayState::Off);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn app_id(&self) -> SecurityId {
        SecurityId::new(Bus::Can1, Direction::Ba, self.pack)
    }

    pub(super) fn send_app(&mut self, now: Instant, pdu: &[u8]) -> Result<(), Error> {
        self.can1.send_security(now, self.app_id(), pdu);
        Ok(())
    }

    pub(super) fn app_security(
        &mut self,
        now: Instant,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if message.first().is_none_or(|kind| gate::pdu(*kind, Direction::Ab, Protection::Clear).is_err()) {
            return Err(Error::WrongParty);
        }
        // After a tamper reaction a device says who it is, and takes nothing.
        if message.first() != Some(&pdu::IDENTIFY) && self.device.condition() == Condition::Tampered {
            return Err(Error::WrongParty);
        }
        let issuer = match self.device.issuer(now, message) {
            Ok(issuer) => issuer,
            Err(refusal) => return self.send_app(now, &refusal),
        };
        if self.bootstrap.concerns(message, self.app.is_paired()) {
            let result = self.bootstrap_message(now, message, rng);
            self.device.tolerate(result);
            return Ok(());
        }
        let result = match *message {
            // Inside a device channel a binding is made under its protection or not at all (H78).
            _ if self.shields(message) => Err(Error::WrongParty),
            [pdu::REVOCATION, ref list @ ..] => self.revocation(now, list),
            [pdu::POLICY, ref m @ ..] => self.policy(now, m, rng),
            [pdu::DELEGATION, operation, ref m @ ..] => self.delegation(now, operation, m),
            [pdu::VALIDATION, events::ASK] => {
                self.device.announcer.want(flag::ASKED);
                Ok(())
            }
            [pdu::VALIDATION, events::ANNOUNCE, ref m @ ..] => {
                self.device.heard(now, m, &mut self.app).map(|heard| self.announced_by(0, heard))
            }
            [pdu::ESCALATION, ..] => {
                let mut fx = Effects::new();
                let begun = self.app.hint(now, self.device.boot, &mut fx, rng);
                begun.and_then(|()| self.apply_app(now, fx))
            }
            [pdu::RELAY, node, ref inner @ ..] => match (self.index(node), inner.first()) {
                (
                    Some(index),
                    Some(
                        &(pdu::CERTIFICATE
                        | pdu::BINDING
                        | pdu::KEY_PACKAGE
                        | pdu::IDENTIFY
                        | pdu::REVOCATION
                        | pdu::VALIDATION
                        | pdu::POLICY
                        | pdu::DELEGATION),
                    ),
                ) => self.send_module(index, now, inner),
                _ => Err(Error::WrongParty),
            },
            [pdu::IDENTIFY, 0] => self.introduce().and_then(|pdu| self.send_app(now, &pdu)),
            [pdu::BINDING, op::CERTIFICATES | op::REGISTER, ..] => {
                let soc = crate::soc::from_cell_mv(self.mean_cell_mv());
                crate::introduction::answer_identity(&self.device.own, &message[1..], soc, rng)
                    .and_then(|pdu| self.send_app(now, &pdu))
            }
            _ => self.relation_message(now, message, &issuer, rng),
        };
        self.device.tolerate(result);
        Ok(())
    }

    pub(super) fn announced_by(&mut self, node: u8, heard: Option<Announce>) {
        if let Some(announce) = heard {
            self.device.event(Event::Announced { node, announce });
        }
    }

    /// 0 factory, 1 bound or with a device channel, 2 paired, 3 operational.
    pub(super) fn lifecycle(&self) -> u8 {
        let modules = self.slots.iter().filter(|s| s.registered);
        match (self.app.peer().is_some(), self.app.is_paired()) {
            (_, true)
                if self.app.is_up() && modules.clone().count() > 0 && modules.clone().all(Slot::healthy) =>
            {
                3
            }
            (_, true) => 2,
            (true, false) => 1,
            (false, false) => u8::from(self.bootstrap.is_up()),
        }
    }

    /// Routes what the authority or the app sends to the relationship it is about: node 0 is the app's own.
    pub(super) fn relation_message(
        &mut self,
        now: Instant,
        message: &[u8],
        issuer: &Issuer,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let key = issuer.spk.sign_pub();
        self.app.set_offer(self.bootstrap.offer());
        let target = match *message {
            [pdu::HANDSHAKE, ..] => None,
            [pdu::CERTIFICATE, ref bytes @ ..] => {
                let cert = Certificate::parse(bytes)?;
                let metadata = ClearMetadata::decode(cert.clear_metadata)?;
                let own = self.device.own.cid();
                let partner = metadata.entities.iter().find(|e| e.cid != own).ok_or(Error::WrongParty)?;
                self.find(|s| s.relation.concerns(partner.cid), |app| app.concerns(partner.cid))?
            }
            [pdu::BINDING, op::REQUEST, ref bytes @ ..] => {
                let partner = BindRequest::open(bytes, &key)?.partner;
                match partner.1 {
                    lct::id::Role::App => None,
                    // Who somebody at another place says that he is displaces nobody.
                    _ => self
                        .find(|s| s.relation.concerns(partner.0), |_| false)
                        .or_else(|_| self.find(|s| s.cid == Some(partner.0), |_| false))?,
                }
            }
            [pdu::BINDING, op::INTRODUCTION, ref bytes @ ..] => {
                let id = Introduction::open(Introduction::split(bytes)?.0, &key)?.binding_id;
                self.find(|s| s.relation.is_about(id), |app| app.is_about(id))?
            }
            [pdu::KEY_PACKAGE, pdu::key_package::SEALED, ref m @ ..] => {
                let id = m.first_chunk::<16>().map(|id| BindingId(*id)).ok_or(Error::Malformed)?;
                self.find(|s| s.relation.is_about(id), |app| app.is_about(id))?
            }
            _ => return Err(Error::Malformed),
        };
        let relation = match target {
            None => &mut self.app,
            Some(index) => &mut self.slots[index].relation,
        };
        relation.set_powered(self.device.clock.powered(now));
        let mut fx = Effects::new();
        let result = match *message {
            [pdu::HANDSHAKE, ref m @ ..] => {
                relation.handshake(&self.device.own, m, now, self.device.boot, &mut fx, rng)
            }
            _ => self.device.ceremony(now, message, issuer, relation, &mut fx, rng),
        };
        match target {
            None => self.apply_app(now, fx)?,
            Some(index) => self.apply_module(index, now, fx)?,
        }
        result
    }

    pub(super) fn find(
        &self,
        module: impl Fn(&Slot) -> bool,
        app: impl Fn(&Relation) -> bool,
    ) -> Result<Option<usize>, Error> {
        if app(&self.app) {
            return Ok(None);
        }
        self.slots.iter().position(module).map(Some).ok_or(Error::WrongParty)
    }

    pub(super) fn apply_app(&mut self, now: Instant, mut fx: Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::ToPeer(pdu) if self.shields(&pdu) => {
                    // While the channel is being resumed the run waits: it is repeated.
                    if self.bootstrap.is_up() {
                        self.seal_device(now, bootstrap::Keys::Standing, &pdu)?
                    }
                }
                Effect::ToPeer(pdu) | Effect::ToAuthority(pdu) => self.send_app(now, &pdu)?,
                Effect::SealToPeer(tier, pdu) => self.seal_to_app(now, tier, &pdu)?,
                Effect::Store(record) => self.device.store(record)?,
                Effect::Event(event) => {
                    if matches!(event, RelationEvent::ChannelUp { .. }) {
                        self.device.forget_commands();
                        self.device.journal.channel_up(now);
                        self.app_up(now);
                    }
                    if matches!(event, RelationEvent::Paired { .. }) {
                        self.end_bootstrap(now)?;
                    }
                    if matches!(event, RelationEvent::Bound { .. }) {
                        self.batcher.unsign();
                        self.meter.unsign();
                    }
                    self.device.log_relation(now, 0, &event, &mut self.app);
                    self.device.event(Event::Relation { node: 0, event });
                }
            }
        }
        Ok(())
    }

    // --- app, sealed ----------------------------------------------------------------------------------

    pub(super) fn seal_to_app(&mut self, now: Instant, tier: Tier, pdu: &[u8]) -> Result<(), Error> {
        self.seal_to_app_parts(now, tier, &[pdu])
    }

    pub(super) fn seal_to_app_parts(
        &mut self,
        now: Instant,
        tier: Tier,
        parts: &[&[u8]],
    ) -> Result<(), Error> {
        if tier != Tier::Bind && !self.app.is_up() {
            return Ok(());
        }
        let id = self.app_id();
        let sealed = id.sealed(Level::from_bits(u32::from(tier.level())));
        self.seal_app(now, sealed, id.base(), parts)
    }

    pub(super) fn seal_app(
        &mut self,
        now: Instant,
        id: SealedId,
        base: u16,
        parts: &[&[u8]],
    ) -> Result<(), Error> {
        let n = parts.iter().map(|part| part.len()).sum();
        let (device, app) = (&mut self.device, &mut self.app);
        self.can1.seal(now, id, n, |out| device.seal(app, id, base, 0, parts, out))
    }

    pub(super) fn app_sealed(
        &mut self,
        now: Instant,
        id: SealedId,
        bytes: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if id.level() == Level::Dev {
            return self.device_sealed(now, id, bytes, rng);
        }
        let mut body = heapless::Vec::<u8, { crate::link::MESSAGE_MAX }>::new();
        let (base, tier, signed) = match self.app.open(now, id, bytes) {
            Ok(opened) => {
                body.extend_from_slice(opened.body).map_err(|_| Error::BufferTooSmall)?;
                (opened.base, opened.tier, opened.signed)
            }
            Err(why) => {
                self.device.refuse_sealed(now, why);
                return Ok(());
            }
        };
        self.last_app = now;
        let (security, arrived) = (self.app_id().reversed(), gate::protection(tier, signed));
        if base == security.base() && !signed {
            let asked = body.first().and_then(|kind| assurance::of_pdu(*kind));
            return match self.pdu_admits(now, security, body.first(), arrived)
                && asked.is_none_or(|o| self.device.may(now, 0, base, o, &mut self.app))
            {
                true => self.app_pdu(now, tier, &body, rng),
                false => Ok(()),
            };
        }
        if !self.app_admits(now, base, &body, arrived) {
            return Ok(());
        }
        match (base, signed) {
            (VcuKeepAlive::BASE, false) => Ok(()),
            (VcuCommand::BASE, true) => self.app_command(now, &body, rng),
            (VcuCommand::BASE, false) => match VcuCommand::decode(&body) {
                // Before a pairing the gate lets more through than a pack that never closes a contactor then.
                Ok(m) if m.state <= self.requested => {
                    self.want(m.state);
                    Ok(())
                }
                _ => {
                    self.device.refuse_policy();
                    Ok(())
                }
            },
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    pub(super) fn app_command(
        &mut self,
        now: Instant,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let (Some(session), Some(peer)) = (self.app.session(), self.app.peer_spk()) else {
            return Ok(());
        };
        let command = match SignedCommand::open(body, session.th4(), session.epoch(), &peer.sign_pub()) {
            Ok(command) if command.base == VcuCommand::BASE => command,
            _ => {
                self.device.refuse_security();
                return Ok(());
            }
        };
        let stale = self.device.is_stale(now, &command);
        let seq = command.seq;
        let result = match (stale, VcuCommand::decode(command.command)) {
            (true, _) => CommandResult::Stale,
            (false, Ok(m)) if m.state != RelayState::Off && self.tripped() => {
                // A trip holds against every command but Off.
                CommandResult::Refused
            }
            (false, Ok(m))
                if m.state > self.requested
                    && !self.device.may(now, 0, VcuCommand::BASE, Operation::Switch, &mut self.app) =>
            {
                CommandResult::Refused
            }
            (false, Ok(m)) => {
                self.want(m.state);
                CommandResult::Done
            }
            (false, Err(_)) => CommandResult::Refused,
        };
        self.device.spend(now, seq, stale, &mut self.app, rng);
        let ack = acknowledgement(seq, result, self.device.challenge())?;
        self.seal_to_app(now, Tier::Pair, &ack)
    }

    pub(super) fn app_pdu(
        &mut self,
        now: Instant,
        tier: Tier,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        match *body {
            [pdu::ROTATE, node] => self.rotate_module(now, node, rng),
            [pdu::VALIDATION, events::END, node, reason] if tier == Tier::Pair => {
                let status = self.unpair_module(now, node, reason, rng)?;
                self.seal_to_app(
                    now,
                    Tier::Pair,
                    &pdu::build(&[&[pdu::VALIDATION, events::END_STATUS, node, status as u8]])?,
                )
            }
            [pdu::ROTATE, ref m @ ..] => {
                let mut fx = Effects::new();
                self.app.rotation(now, tier, m, &mut fx, rng)?;
                self.apply_app(now, fx)
            }
            [pdu::VALIDATION, events::STATE, 0, with, ref m @ ..] => self.asked_to_state(now, with, m, rng),
            // What flows through a module the pack asks for itself.
            [pdu::VALIDATION, events::STATE, node, 0, ref m @ ..] if m.first() != Some(&ENERGY) => {
                let asked = pdu::build(&[&[pdu::VALIDATION, events::STATE, 0, 0], m])?;
                self.pass_down(now, node, Tier::Exch, &asked)
            }
            [pdu::VALIDATION, ref m @ ..] => {
                let mut fx = Effects::new();
                self.app.ended(m, &mut fx)?;
                self.apply_app(now, fx)
            }
            [pdu::ESCALATION, ref m @ ..] => {
                let mut fx = Effects::new();
                self.app.escalation(now, m, &mut fx)?;
                self.apply_app(now, fx)
            }
            [pdu::TIME, ref time @ ..] => {
                self.device.take_time(now, time)?;
                self.give(now, Gifts { time: true, ..Gifts::default() });
                Ok(())
            }
            [pdu::RECEIVED, node, kind, ref n @ ..] if n.len() == 8 => {
                let number = n.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
                match (node, kind) {
                    (0, pdu::ENERGY) => self.energy_kept(now, number),
                    (0, pdu::METRICS) => self.report_kept(now, number),
                    (0, pdu::VALIDATION) => self.device.testimony.acknowledge(now, number),
                    (0, pdu::AUDIT) => self.device.journal.acknowledge(number),
                    (0, pdu::BATCH) => {
                        if let Ok(first) = u32::try_from(number) {
                            self.batcher.acknowledge(first);
                        }
                    }
                    _ => return self.pass_down(now, node, Tier::Exch, body),
                }
                Ok(())
            }
            [pdu::LEAF, 0, ref s @ ..] if s.len() == 4 => {
                let seq = u32::from_be_bytes([s[0], s[1], s[2], s[3]]);
                match self.batcher.leaf(seq) {
                    Some(leaf) => self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::LEAF, 0], s, &leaf]),
                    None => Ok(()),
                }
            }
            [pdu::LEAF, node, ..] => self.pass_down(now, node, Tier::Exch, body),
            [pdu::BINDING, op::ANSWER_FOR, ref statement @ ..] => {
                let answer = self.answer_for(statement, rng)?;
                self.seal_to_app(now, Tier::Exch, &answer)
            }
            // C130: asked on at the tier at which it was asked, so that the answer proves that tier on both buses.
            [pdu::ECHO, echo::ASK, node, ref nonce @ ..] if nonce.len() == 4 => match node {
                0 => {
                    let generation = self.group_generation().to_be_bytes();
                    let parts: [&[u8]; 3] = [&[pdu::ECHO, echo::ANSWER, 0], nonce, &generation];
                    self.seal_to_app_parts(now, tier, &parts)
                }
                node => {
                    let asked = pdu::build(&[&[pdu::ECHO, echo::ASK, 0], nonce])?;
                    self.pass_down(now, node, tier, &asked)
                }
            },
            [pdu::ALERT, ref alert @ ..] => {
                let (_, alert) = Alert::parse(alert)?;
                self.device.event(Event::Alert { node: 0, alert });
                Ok(())
            }
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    /// The app wants the pairing with the module at `node` ended (H159).
    fn unpair_module(
        &mut self,
        now: Instant,
        node: u8,
        reason: u8,
        rng: &mut impl CryptoRng,
    ) -> Result<Status, Error> {
        let Ok(reason) = Reason::from_code(reason) else { return Ok(Status::Malformed) };
        let Some(index) = self.index(node) else { return Ok(Status::WrongParty) };
        if !self.device.may(now, 0, self.app_id().base(), Operation::Configure, &mut self.app) {
            return Ok(Status::NotAuthentic);
        }
        let relation = &mut self.slots[index].relation;
        if relation.is_ending() {
            return Ok(Status::Accepted);
        }
        if !relation.is_paired() {
            return Ok(Status::WrongState);
        }
        let mut fx = Effects::new();
        self.device.unpair(relation, reason, &mut fx, rng)?;
        self.apply_module(index, now, fx)?;
        Ok(Status::Accepted)
    }

    /// The app wants the epoch of the channel to the module at `node` renewed (H159).
    fn rotate_module(&mut self, now: Instant, node: u8, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let index = self.index(node).ok_or(Error::WrongParty)?;
        if !self.device.may(now, 0, self.app_id().base(), Operation::Configure, &mut self.app) {
            return Ok(());
        }
        let mut fx = Effects::new();
        self.slots[index].relation.rotate(now, &mut fx, rng)?;
        self.apply_module(index, now, fx)
    }

    /// Judges a message about the policy of one of its relationships and answers.
    fn policy(&mut self, now: Instant, message: &[u8], rng: &mut impl CryptoRng) -> Result<(), Error> {
        let own = self.device.own.cid();
        let named = crate::device::policy::entities(message)?;
        let partner = *named.iter().find(|cid| **cid != own).ok_or(Error::WrongParty)?;
        let is_peer = |relation: &Relation| relation.peer().is_some_and(|(cid, _)| cid == partner);
        let target = self.find(|s| is_peer(&s.relation), is_peer)?;
        let versions = |relation: &Relation| [relation.policy_in_force(), relation.policy_agreed()];
        let mut others = heapless::Vec::<u32, { 2 * (MODULES_MAX + 1) }>::new();
        let slots = self.slots.iter().enumerate().filter(|(i, _)| target != Some(*i));
        let app = Some(&self.app).filter(|_| target.is_some());
        for relation in slots.map(|(_, s)| &s.relation).chain(app) {
            others.extend_from_slice(&versions(relation)).map_err(|_| Error::BufferTooSmall)?;
        }
        let (node, relation) = match target {
            None => (0, &mut self.app),
            Some(index) => (index as u8 + 1, &mut self.slots[index].relation),
        };
        let answer = self.device.policy(now, node, message, relation, others, rng)?;
        self.send_app(now, &answer)
    }

    /// Takes a revocation list and answers; what it revokes ends at once.
    pub(super) fn revocation(&mut self, now: Instant, list: &[u8]) -> Result<(), Error> {
        let (answer, _) = self.device.take_list(now, list)?;
        self.send_app(now, &answer)?;
        self.enforce_list(now)
    }

    /// Takes a delegation, what its holder revokes, or a succession, and answers.
    fn delegation(&mut self, now: Instant, operation: u8, m: &[u8]) -> Result<(), Error> {
        let answer = match operation {
            pdu::delegation::SHOW => self.device.take_delegation(now, m)?,
            pdu::delegation::SUCCEED => self.device.take_succession(now, m)?,
            pdu::delegation::REVOKE => {
                let slots = self.slots.iter_mut().enumerate();
                let modules = slots.map(|(index, slot)| (index as u8 + 1, &mut slot.relation));
                let relations = core::iter::once((0, &mut self.app)).chain(modules);
                let (answer, gone) = self.device.take_delegate_revocation(now, m, relations)?;
                if let Some(index) = gone.and_then(|place| place.checked_sub(1)) {
                    self.revoked_module(index, now)?;
                }
                answer
            }
            _ => return Err(Error::Malformed),
        };
        self.send_app(now, &answer)
    }

    pub(super) fn enforce_list(&mut self, now: Instant) -> Result<(), Error> {
        self.device.enforce(now, 0, &mut self.app)?;
        if self.device.is_revoked(self.bootstrap.peer()) {
            self.end_bootstrap(now)?;
        }
        for index in 0..self.slots.len() {
            if self.device.enforce(now, index as u8 + 1, &mut self.slots[index].relation)? {
                self.revoked_module(index, now)?;
                self.membership_changed(index, now);
            }
        }
        Ok(())
    }

    pub(super) fn send_log(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Some(key) = self.signing_key() else { return Ok(()) };
        if !self.app.is_up() || !self.can1.is_idle() {
            return Ok(());
        }
        match self.device.journal_pdu(now, &key, rng)? {
            Some(part) => self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::AUDIT, 0], &part]),
            None => Ok(()),
        }
    }

    pub(super) fn pass_down(&mut self, now: Instant, node: u8, tier: Tier, body: &[u8]) -> Result<(), Error> {
        match self.index(node) {
            Some(index) if self.slots[index].relation.is_up() => self.seal_to_module(index, now, tier, body),
            _ => Ok(()),
        }
    }
}
