//! The handshakes of a relationship: BIND and PAIR on either side, RESUME at each start.

use super::*;
use lct::policy::FACTORY_VERSION;

impl Relation {
    /// A starts RESUME of a stored pairing.
    pub fn resume(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.resume_channel(Tier::Pair, now, boot, fx, rng)
    }

    /// A starts RESUME of the channel that `tier` names.
    pub(super) fn resume_channel(
        &mut self,
        tier: Tier,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.again = None;
        if tier == Tier::Pair && self.is_asking() {
            // To the one before there was no answer.
            self.exchange()?;
        }
        let channel = self.channel(tier).ok_or(Error::WrongParty)?;
        if !self.may_renew(channel) {
            (self.run, self.timer) = (None, None);
            return self.handshake_due(fx);
        }
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m1 = channel.state().request(boot, &nonce);
        if tier == Tier::Pair {
            self.end_rotation();
        }
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        if !matches!(self.run, Some(Run::ResumeAsked { tier: asked, .. }) if asked == tier) {
            self.timer = None;
        }
        self.run = Some(Run::ResumeAsked { tier, m1 });
        self.arm(now, RUN_TIMEOUT);
        Ok(())
    }

    /// B is asked to state a session (H190): it asks A for a fresh one.
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a pairing, and on side A.
    pub(crate) fn prove_session(&mut self, fx: &mut Effects) -> Result<(), Error> {
        let is_b = self.pair.as_ref().is_some_and(|c| c.session.sends() == Direction::Ba);
        if !is_b {
            return Err(Error::WrongParty);
        }
        self.proof = SessionProof::Wanted;
        Self::ask_for_run(fx)
    }

    /// Pairing and T3 of the session that was asked for, once it stands.
    pub(crate) fn take_proof(&mut self) -> Option<(PairingId, Digest)> {
        let SessionProof::Of(t3) = self.proof else { return None };
        self.proof = SessionProof::None;
        self.pairing_id.map(|id| (id, t3))
    }

    /// B asks A for a run: it lost its epoch.
    pub fn ask_for_run(fx: &mut Effects) -> Result<(), Error> {
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE, 0x01, 0x7F, 0x00, lct::SUITE]])?))
    }

    pub(super) fn arm(&mut self, now: Instant, after: Duration) {
        let tries = self.timer.as_ref().map_or(0, |t| t.tries) + 1;
        self.timer = Some(Timer { due: now + after, tries });
    }

    pub(super) fn context(&self, kind: Kind, own: &Identity) -> Result<Context, Error> {
        let (peer, own_spk, peer_spk) = match kind {
            Kind::Bind => {
                let p = self.pending_bond.as_ref().ok_or(Error::WrongParty)?;
                let intro = p.introduction.as_ref().ok_or(Error::WrongParty)?;
                (p.request.partner, p.own.public(), intro.spk)
            }
            Kind::Pair => {
                let b = self.bond.as_ref().ok_or(Error::WrongParty)?;
                (b.peer, b.own.public(), b.peer_spk)
            }
            _ => return Err(Error::WrongParty),
        };
        let pending = self.pending_pair.as_ref().filter(|_| kind == Kind::Pair);
        if kind == Kind::Pair && pending.is_none() {
            return Err(Error::WrongParty);
        }
        let bind = self.pending_bond.as_ref().filter(|_| kind == Kind::Bind);
        let package = bind.and_then(|p| p.package.as_ref());
        let parameters = package.map_or(UNPAIRED, |p| p.parameters);
        let mine = (own.cid(), own_spk);
        let theirs = (peer.0, peer_spk);
        let (a, b) =
            if is_side_a(own.role, own.cid(), peer.1, peer.0) { (mine, theirs) } else { (theirs, mine) };
        Ok(Context {
            kind,
            flags: if package.is_some() { SIGNED | HALVES } else { SIGNED },
            cid_a: a.0,
            cid_b: b.0,
            spk_a: Some(a.1),
            spk_b: Some(b.1),
            cert_hash: pending.map(|p| p.cert_hash),
            policy_hash: pending.map_or_else(
                || lct::metadata::policy_hash(&policy::table_bytes(), &parameters),
                |p| p.policy_hash,
            ),
            salt: pending.map(|p| p.salt).or(package.map(|p| p.salt)).unwrap_or([0; 32]),
        })
    }

    pub(super) fn start(
        &mut self,
        kind: Kind,
        own: &Identity,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let context = self.context(kind, own)?;
        let half = match (kind, &self.pending_pair) {
            (Kind::Pair, Some(p)) => {
                Some(seal_half(Side::A, &p.section.half, &p.section.exchange_key, &p.cm_hash, &p.pairing_id)?)
            }
            _ => None,
        };
        let (initiator, m1) =
            Initiator::start(&context, Ephemeral::generate(rng), boot, half.as_ref(), None)?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        self.run = Some(Run::Asked { kind, context, initiator });
        self.arm(now, RUN_TIMEOUT);
        Ok(())
    }

    /// A handshake message of the peer (without the PDU type byte).
    pub fn handshake(
        &mut self,
        own: &Identity,
        message: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let [version, code, ..] = *message else {
            return Err(Error::Malformed);
        };
        if version != 1 {
            return Err(Error::Malformed);
        }
        let kind = match code & 0x1F {
            2 => Kind::Bind,
            3 => Kind::Pair,
            4 => Kind::Resume,
            0x1F if code == 0x7F => Kind::Resume,
            _ => return Err(Error::Malformed),
        };
        // M1 and M3 are for B, M2 and the request for a run are for A.
        let partner = self.peer().or(self.pending_bond.as_ref().map(|p| p.request.partner));
        let (role, cid) = partner.map(|(cid, role)| (role, cid)).ok_or(Error::WrongParty)?;
        let for_a = code & 0x40 != 0;
        if for_a != is_side_a(own.role, own.cid(), role, cid) {
            return Err(Error::WrongParty);
        }
        if code == 0x7F {
            return self.asked_for_run(now, boot, fx, rng);
        }
        match (code & 0xE0, kind) {
            (0x00, Kind::Resume) => self.resume_m1(message, now, boot, fx, rng),
            (0x40, Kind::Resume) => self.resume_m2(message, now, fx),
            (0x80, Kind::Resume) => self.resume_m3(message, now, fx),
            (0x00, _) => self.on_m1(kind, own, message, now, boot, fx, rng),
            (0x40, _) => self.on_m2(own, message, now, fx, rng),
            (0x80, _) => self.on_m3(kind, own, message, now, fx, rng),
            _ => Err(Error::Malformed),
        }
    }

    pub(super) fn asked_for_run(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let recent = self.last_run.is_some_and(|t| now < t + RUN_TIMEOUT);
        if !self.is_paired() || self.is_busy() || recent {
            return Ok(());
        }
        self.last_run = Some(now);
        self.resume(now, boot, fx, rng)
    }

    pub(super) fn on_m1(
        &mut self,
        kind: Kind,
        own: &Identity,
        m1: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        // One new run a second per peer, before any agreement is computed.
        let soon = self.last_run.is_some_and(|t| now < t + Duration::from_millis(1_000));
        if soon && kept(Defence::RunSpacing) {
            return Ok(());
        }
        let context = self.context(kind, own)?;
        if context.cid_b != own.cid() {
            return Err(Error::WrongParty);
        }
        let request = Request::parse(&context, m1)?;
        let (exchange, pairing) = match (&request.exchange, &self.pending_pair) {
            (Some(theirs), Some(p)) => {
                let xk = &p.section.exchange_key;
                let half_a = open_half(Side::A, theirs, xk, &p.cm_hash, &p.pairing_id)?;
                let pk = pairing_key(&half_a, &p.section.half)?;
                p.validation.check_key(&pk)?;
                (Some(seal_half(Side::B, &p.section.half, xk, &p.cm_hash, &p.pairing_id)?), Some(pk))
            }
            _ => (None, None),
        };
        self.last_run = Some(now);
        let key = match kind {
            Kind::Bind => self.pending_bond.as_ref().map(|p| p.own.signing_key()),
            _ => self.bond.as_ref().map(|b| b.own.signing_key()),
        };
        let ephemeral = Ephemeral::generate(rng);
        let answer = |psk: &Psk<'_>| {
            Responder::answer(&context, ephemeral, boot, None, m1, exchange.as_ref(), psk, key, rng)
        };
        let (responder, m2) = match (&pairing, &self.pending_bond) {
            (Some(pk), _) => answer(&Psk(&[pk.expose(), &context.salt]))?,
            (None, Some(pending)) => pending.with_psk(answer)?,
            (None, None) => return Err(Error::WrongParty),
        };
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.run = Some(Run::Responded { kind, context, responder, key: pairing });
        self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: TRIES });
        Ok(())
    }

    pub(super) fn on_m2(
        &mut self,
        own: &Identity,
        m2: &[u8],
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(Run::Asked { kind, context, initiator }) = &self.run else {
            return Ok(());
        };
        // The run stays until an M2 verifies: a forged one must not end it.
        let kind = *kind;
        let response = Response::parse(context, m2)?;
        let (done, m3, pairing) = match kind {
            Kind::Pair => {
                let p = self.pending_pair.as_ref().ok_or(Error::WrongParty)?;
                let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
                let theirs = response.exchange.as_ref().ok_or(Error::Malformed)?;
                let half_b = open_half(Side::B, theirs, &p.section.exchange_key, &p.cm_hash, &p.pairing_id)?;
                let pk = pairing_key(&p.section.half, &half_b)?;
                p.validation.check_key(&pk)?;
                let parts = [pk.expose().as_slice(), &context.salt];
                let (m3, done) =
                    initiator.finish(context, m2, &Psk(&parts), Some(bond.own.signing_key()), rng)?;
                (done, m3, Some(pk))
            }
            _ => {
                let p = self.pending_bond.as_ref().ok_or(Error::WrongParty)?;
                let key = Some(p.own.signing_key());
                let (m3, done) = p.with_psk(|psk| initiator.finish(context, m2, psk, key, rng))?;
                (done, m3, None)
            }
        };
        self.peer_boot = self.peer_boot.max(response.boot);
        self.open_session(kind, own, &done, pairing.as_ref(), now, fx, rng)?;
        let m3 = pdu::build(&[&[pdu::HANDSHAKE], &m3])?;
        push(fx, Effect::ToPeer(m3.clone()))?;
        self.run = Some(Run::Answered { kind, tier: home(kind), m3: short(&m3)?, tells: true });
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    pub(super) fn on_m3(
        &mut self,
        kind: Kind,
        own: &Identity,
        m3: &[u8],
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(Run::Responded { kind: asked, context, responder, key }) = &self.run else {
            return self.confirm_again(home(kind), m3, fx);
        };
        if *asked != kind {
            return Err(Error::WrongParty);
        }
        // The run stays until an M3 verifies: a forged one must not end it.
        let done = responder.finish(context, m3)?;
        // Not moved out of its place, where its bytes would stay (H9).
        let key = key.clone();
        (self.run, self.timer) = (None, None);
        (self.last_m3, self.last_m3_tier) = (Some(sha256(&[m3])), home(kind));
        let completion = self.open_session(kind, own, &done, key.as_ref(), now, fx, rng)?;
        self.confirm(home(kind), fx)?;
        push(fx, Effect::ToAuthority(completion))?;
        self.announce(kind, home(kind), None, fx)
    }

    /// A did not hear the confirmation of a run that already stands: its exact M3 is confirmed again.
    fn confirm_again(&mut self, tier: Tier, m3: &[u8], fx: &mut Effects) -> Result<(), Error> {
        if self.last_m3 == Some(sha256(&[m3])) { self.confirm(tier, fx) } else { Err(Error::NotAuthentic) }
    }

    /// Opens the session of a finished handshake and returns this side's statement for the authority.
    pub(super) fn open_session(
        &mut self,
        kind: Kind,
        own: &Identity,
        done: &Established,
        pairing: Option<&Secret<64>>,
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<Pdu, Error> {
        if kind == Kind::Bind {
            let pending = self.pending_bond.clone().ok_or(Error::WrongParty)?;
            let bond = Bond::confirmed(&pending)?;
            let session = Session::established(kind, done, None, direction(own, bond.peer))?;
            let record = binding_record(own, &pending)?;
            let sig = pending.own.signing_key().sign(&record.digest(), rng);
            let signed = sha256(&[&record.encode()]);
            let replacement = pending.replacement(own, &signed, rng)?;
            // A new binding voids the channels of the old one, in flash too, and first: none ever stands beside a
            // binding that is not its own.
            self.forget_beside(fx)?;
            push(fx, Effect::Store(Record::new(key::session(self.slot), &[])?))?;
            push(fx, Effect::Store(Record::new(key::binding(self.slot), &[])?))?;
            push(fx, Effect::Store(Record::new(key::bond(self.slot), &[&bond.encode()?])?))?;
            let id = bond.binding_id;
            (self.peer_boot, self.issued) = (0, 0);
            (self.bond, self.lost, self.revoked) = (Some(bond), None, None);
            (self.pair, self.pairing_id) = (None, None);
            (self.agreement.version, self.limits) = (FACTORY_VERSION, self.agreement.given);
            (self.heard, self.witnessed) = (Heard::default(), Witnessed::default());
            self.signed = signed;
            self.bind = Some(Channel::opened(session, now));
            self.upkeep = Upkeep::default();
            push(fx, Effect::Store(self.channel_record(Tier::Bind)?))?;
            self.validated(ValidationLevel::Binding, fx)?;
            let answer = pdu::build(&[&[pdu::BINDING, op::SIGNED], &id.0, &sig.0, &replacement])?;
            return self.tells(BindingOrPairing::Binding(id), answer);
        }
        let p = self.pending_pair.clone().ok_or(Error::WrongParty)?;
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        let mut buffer = [0; VALIDATION_BUFFER];
        let validation = p.validation.open(pairing.ok_or(Error::WrongParty)?, &p.issuer, &mut buffer)?;
        let statement = Completion {
            pairing_id: p.pairing_id,
            nonce: validation.nonce,
            cert_hash: p.cert_hash,
            th4: done.th4,
        };
        let completion = statement.digest();
        let sig = bond.own.signing_key().sign(&completion, rng);
        let xk = &p.section.exchange_key;
        let mut session = Session::established(kind, done, Some(xk), direction(own, bond.peer))?;
        session.allow_compact(&p.compact)?;
        if session.sends() == Direction::Ab {
            self.lay_aside()?;
        }
        // With the pairing its policy is in force (H111).
        self.limits = p.limits;
        self.pair = Some(Channel::opened(session, now));
        (self.pairing_id, self.signed) = (Some(p.pairing_id), completion);
        self.expires = p.expires;
        self.issued = p.issued;
        let mut lease = p.lease;
        lease.count_use();
        (self.lease, self.lease_end_told, self.stay_clear) = (Some(lease), false, p.stay_clear);
        self.handshake_done();
        self.store_opened(fx)?;
        self.validated(ValidationLevel::Pairing, fx)?;
        let answer = pdu::build(&[
            &[pdu::CERTIFICATE, pdu::PAIRING_COMPLETE],
            &p.pairing_id.0,
            &validation.nonce,
            &done.th4,
            &sig.0,
        ])?;
        self.tells(BindingOrPairing::Pairing(p.pairing_id), answer)
    }

    /// Keeps a statement for the authority, which may ask for it again.
    fn tells(&mut self, what: BindingOrPairing, statement: Pdu) -> Result<Pdu, Error> {
        let kept = Answer::from_slice(&statement).map_err(|_| Error::BufferTooSmall)?;
        self.answer = Some((what, kept));
        Ok(statement)
    }

    /// B's first sealed message of the epoch.
    pub(super) fn confirm(&mut self, tier: Tier, fx: &mut Effects) -> Result<(), Error> {
        let Some(channel) = self.channel(tier).filter(|c| c.fresh) else {
            return Ok(());
        };
        let epoch = channel.session.epoch();
        let body = pdu::build(&[&[pdu::CONFIRM], &epoch.to_be_bytes(), &self.challenge.to_be_bytes()])?;
        push(fx, Effect::SealToPeer(tier, body))
    }

    /// A: the peer's confirmation (`epoch | challenge`), opened under `tier`.
    pub fn confirmed(&mut self, tier: Tier, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let mut f = Fields::new(body);
        let (epoch, challenge) = (f.u32()?, f.u32()?);
        f.end()?;
        let Some(Run::Answered { kind, tier: wanted, tells, .. }) = &self.run else {
            return Ok(());
        };
        let (kind, wanted, tells) = (*kind, *wanted, *tells);
        if tier != wanted || self.channel(tier).is_none_or(|c| c.session.epoch() != epoch) {
            return Err(Error::WrongParty);
        }
        (self.run, self.timer) = (None, None);
        if kind == Kind::Pair {
            self.settle(fx)?;
        }
        if self.channel_mut(tier).is_some_and(Channel::forget_previous) {
            push(fx, Effect::Store(self.channel_record(tier)?))?;
        }
        if let Some((_, completion)) = self.answer.as_ref().filter(|_| tells) {
            push(fx, Effect::ToAuthority(long(completion)?))?;
        }
        self.announce(kind, tier, Some(challenge), fx)
    }

    pub(super) fn announce(
        &mut self,
        kind: Kind,
        tier: Tier,
        challenge: Option<u32>,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        let Some(channel) = self.channel_mut(tier) else {
            return Ok(());
        };
        channel.confirmed = true;
        let (epoch, sends) = (channel.session.epoch(), channel.session.sends());
        match kind {
            Kind::Bind => {
                self.pending_bond = None;
                let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
                let event = RelationEvent::Bound {
                    binding_id: bond.binding_id,
                    assurance: bond.assurance,
                    record: self.signed,
                };
                return push(fx, Effect::Event(event));
            }
            Kind::Resume if tier == Tier::Bind => {
                self.upkeep.bind_due = None;
                return push(fx, Effect::Event(RelationEvent::BindingUp { epoch }));
            }
            Kind::Pair => {
                self.pending_pair = None;
                if let Some(pairing_id) = self.pairing_id {
                    let completion = self.signed;
                    push(fx, Effect::Event(RelationEvent::Paired { pairing_id, completion }))?;
                }
            }
            Kind::Resume => {
                if let Some(lease) = &mut self.lease
                    && lease.count_use()
                {
                    push(fx, Effect::Store(lease.record(self.slot)?))?;
                }
            }
            _ => {}
        }
        // A renews the channel of the binding too, unless it stands already since the handshake.
        if tier == Tier::Pair && sends == Direction::Ab && (kind == Kind::Resume || !self.is_bind_up()) {
            self.upkeep.bind_due = Some(Instant::START);
        }
        self.tell_handshake(fx)?;
        self.escalation.channel_up();
        push(fx, Effect::Event(RelationEvent::ChannelUp { epoch, challenge }))
    }

    // --- RESUME ---------------------------------------------------------------------------------------

    pub(super) fn resume_m1(
        &mut self,
        m1: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let (hint, peer_boot) = resume::parse_request(m1)?;
        let named = |tier: &Tier| self.channel(*tier).is_some_and(|c| c.is_named(hint));
        let tier = [Tier::Pair, Tier::Bind].into_iter().find(named).ok_or(Error::WrongParty)?;
        let channel = self.channel(tier).ok_or(Error::WrongParty)?;
        if peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        if !self.may_renew(channel) {
            self.handshake_due(fx)?;
            return Err(Error::Exhausted);
        }
        let m1: resume::Request = m1.try_into().map_err(|_| Error::Malformed)?;
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m2 = channel.state().respond(&m1, boot, &nonce)?;
        // From here on only this run leads out of the epoch: a rotation beside it could part the two sides (H95).
        if tier == Tier::Pair {
            self.end_rotation();
        }
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.run = Some(Run::ResumeResponded { tier, m1, m2 });
        self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: TRIES });
        Ok(())
    }

    pub(super) fn resume_m2(&mut self, m2: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::ResumeAsked { tier, m1 }) = &self.run else {
            return Ok(());
        };
        let (tier, m1) = (*tier, *m1);
        let m2: resume::Response = m2.try_into().map_err(|_| Error::Malformed)?;
        let peer_boot = resume::parse_response(&m2)?;
        if peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        let grace = now + self.limits.grace;
        let m3 = self.channel_mut(tier).ok_or(Error::WrongParty)?.answered(&m1, &m2, now, grace)?;
        self.peer_boot = peer_boot;
        if tier == Tier::Pair {
            self.settle(fx)?;
        }
        push(fx, Effect::Store(self.channel_record(tier)?))?;
        let m3 = pdu::build(&[&[pdu::HANDSHAKE], &m3])?;
        push(fx, Effect::ToPeer(m3.clone()))?;
        self.run = Some(Run::Answered { kind: Kind::Resume, tier, m3: short(&m3)?, tells: false });
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    pub(super) fn resume_m3(&mut self, m3: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::ResumeResponded { tier, m1, m2 }) = &self.run else {
            return self.confirm_again(self.last_m3_tier, m3, fx);
        };
        let (tier, m1, m2) = (*tier, *m1, *m2);
        let m3: resume::Confirmation = m3.try_into().map_err(|_| Error::Malformed)?;
        let grace = now + self.limits.grace;
        let t3 = self.channel_mut(tier).ok_or(Error::WrongParty)?.finished((&m1, &m2, &m3), now, grace)?;
        if tier == Tier::Pair && self.proof == SessionProof::Wanted {
            self.proof = SessionProof::Of(t3);
        }
        let (_, peer_boot) = resume::parse_request(&m1)?;
        self.peer_boot = peer_boot;
        (self.run, self.timer) = (None, None);
        (self.last_m3, self.last_m3_tier) = (Some(sha256(&[&m3])), tier);
        push(fx, Effect::Store(self.channel_record(tier)?))?;
        self.confirm(tier, fx)?;
        self.announce(Kind::Resume, tier, None, fx)
    }
}
