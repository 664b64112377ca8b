//! The handshakes of a relationship: BIND and PAIR on either side, RESUME at each start.

use super::*;

impl Relation {
    /// A starts RESUME of a stored pairing.
    pub fn resume(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let session = self.paired_session()?;
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m1 = state(session, session.master(), session.epoch()).request(boot, &nonce);
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        self.again = None;
        self.run = Some(Run::ResumeAsked { m1 });
        self.arm(now, RUN_TIMEOUT);
        Ok(())
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
        let parameters = pending.map_or(UNPAIRED, |p| p.parameters);
        let mine = (own.cid(), own_spk);
        let theirs = (peer.0, peer_spk);
        let (a, b) =
            if is_side_a(own.role, own.cid(), peer.1, peer.0) { (mine, theirs) } else { (theirs, mine) };
        Ok(Context {
            kind,
            flags: SIGNED,
            cid_a: a.0,
            cid_b: b.0,
            spk_a: Some(a.1),
            spk_b: Some(b.1),
            cert_hash: pending.map(|p| p.cert_hash),
            policy_hash: lct::metadata::policy_hash(&policy::table_bytes(), &parameters),
            salt: pending.map_or([0; 32], |p| p.salt),
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
            (0x80, Kind::Resume) => self.resume_m3(message, fx),
            (0x00, _) => self.on_m1(kind, own, message, now, boot, fx, rng),
            (0x40, _) => self.on_m2(own, message, now, fx, rng),
            (0x80, _) => self.on_m3(kind, own, message, fx, rng),
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
        if !self.is_paired() || self.run.is_some() || recent {
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
        if self.last_run.is_some_and(|t| now < t + Duration::from_millis(1_000)) {
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
        let zero = [0; 32];
        let psk_pair = [pairing.as_ref().map_or(&[][..], |k| k.expose().as_slice()), &context.salt];
        let psk_bind = [zero.as_slice()];
        let psk = if kind == Kind::Pair { Psk(&psk_pair) } else { Psk(&psk_bind) };
        let key = match kind {
            Kind::Bind => self.pending_bond.as_ref().map(|p| p.own.signing_key()),
            _ => self.bond.as_ref().map(|b| b.own.signing_key()),
        };
        let ephemeral = Ephemeral::generate(rng);
        let (responder, m2) =
            Responder::answer(&context, ephemeral, boot, None, m1, exchange.as_ref(), &psk, key, rng)?;
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
                let zero = [0; 32];
                let parts = [zero.as_slice()];
                let (m3, done) =
                    initiator.finish(context, m2, &Psk(&parts), Some(p.own.signing_key()), rng)?;
                (done, m3, None)
            }
        };
        self.peer_boot = self.peer_boot.max(response.boot);
        let completion = self.open_session(kind, own, &done, pairing.as_ref(), fx, rng)?;
        self.fresh |= kind == Kind::Pair;
        self.confirmed = false;
        let m3 = pdu::build(&[&[pdu::HANDSHAKE], &m3])?;
        push(fx, Effect::ToPeer(m3.clone()))?;
        self.run = Some(Run::Answered { kind, m3: short(&m3)?, completion: Some(short(&completion)?) });
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    pub(super) fn on_m3(
        &mut self,
        kind: Kind,
        own: &Identity,
        m3: &[u8],
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(Run::Responded { kind: asked, context, responder, .. }) = &self.run else {
            return self.confirm_again(kind, m3, fx);
        };
        if *asked != kind {
            return Err(Error::WrongParty);
        }
        // The run stays until an M3 verifies: a forged one must not end it.
        let done = responder.finish(context, m3)?;
        let Some(Run::Responded { key, .. }) = self.run.take() else {
            return Ok(());
        };
        self.timer = None;
        self.last_m3 = Some(sha256(&[m3]));
        let completion = self.open_session(kind, own, &done, key.as_ref(), fx, rng)?;
        self.fresh = kind == Kind::Pair || self.fresh;
        self.confirm(kind, fx)?;
        push(fx, Effect::ToAuthority(completion))?;
        self.announce(kind, None, fx)
    }

    /// A did not hear the confirmation of a run that already stands: its exact M3 is confirmed again.
    fn confirm_again(&mut self, kind: Kind, m3: &[u8], fx: &mut Effects) -> Result<(), Error> {
        if self.last_m3 == Some(sha256(&[m3])) { self.confirm(kind, fx) } else { Err(Error::NotAuthentic) }
    }

    /// Opens the session of a finished handshake and returns this side's statement for the authority.
    pub(super) fn open_session(
        &mut self,
        kind: Kind,
        own: &Identity,
        done: &Established,
        pairing: Option<&Secret<64>>,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<Pdu, Error> {
        if kind == Kind::Bind {
            let pending = self.pending_bond.clone().ok_or(Error::WrongParty)?;
            let bond = Bond::confirmed(&pending)?;
            let session = Session::established(kind, done, None, direction(own, bond.peer))?;
            let record = binding_record(own, &pending)?;
            let sig = pending.own.signing_key().sign(&record.digest(), rng);
            push(fx, Effect::Store(Record::new(key::bond(self.slot), &[&bond.encode()?])?))?;
            let id = bond.binding_id;
            self.peer_boot = 0;
            self.bond = Some(bond);
            // A new binding voids what was paired under the old one, in flash too.
            push(fx, Effect::Store(Record::new(key::session(self.slot), &[])?))?;
            (self.session, self.pairing_id, self.previous, self.fresh) = (Some(session), None, None, true);
            let answer = pdu::build(&[&[pdu::BINDING, op::SIGNED], &id.0, &sig.0])?;
            self.answer = Some((BindingOrPairing::Binding(id), short(&answer)?));
            return Ok(answer);
        }
        let p = self.pending_pair.clone().ok_or(Error::WrongParty)?;
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        let mut buffer = [0; VALIDATION_BUFFER];
        let validation =
            p.validation.open(pairing.ok_or(Error::WrongParty)?, &own.authority.sign_pub(), &mut buffer)?;
        let statement = Completion {
            pairing_id: p.pairing_id,
            nonce: validation.nonce,
            cert_hash: p.cert_hash,
            th4: done.th4,
        };
        let sig = bond.own.signing_key().sign(&statement.digest(), rng);
        let xk = &p.section.exchange_key;
        self.session = Some(Session::established(kind, done, Some(xk), direction(own, bond.peer))?);
        self.previous = None;
        self.pairing_id = Some(p.pairing_id);
        self.expires = p.expires;
        self.issued = p.issued;
        push(fx, Effect::Store(self.session_record()?))?;
        let answer = pdu::build(&[
            &[pdu::CERTIFICATE, pdu::PAIRING_COMPLETE],
            &p.pairing_id.0,
            &validation.nonce,
            &done.th4,
            &sig.0,
        ])?;
        self.answer = Some((BindingOrPairing::Pairing(p.pairing_id), short(&answer)?));
        Ok(answer)
    }

    /// B's first sealed message of the epoch.
    pub(super) fn confirm(&mut self, kind: Kind, fx: &mut Effects) -> Result<(), Error> {
        let (of, tier) = match kind {
            Kind::Bind => (Kind::Bind, Tier::Bind),
            _ => (Kind::Pair, Tier::Pair),
        };
        let Some(session) = self.session.as_ref().filter(|s| self.fresh && s.kind() == of) else {
            return Ok(());
        };
        let body =
            pdu::build(&[&[pdu::CONFIRM], &session.epoch().to_be_bytes(), &self.challenge.to_be_bytes()])?;
        push(fx, Effect::SealToPeer(tier, body))
    }

    /// A: the peer's confirmation (`epoch | challenge`), opened under `tier`.
    pub fn confirmed(&mut self, tier: Tier, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let mut f = Fields::new(body);
        let (epoch, challenge) = (f.u32()?, f.u32()?);
        f.end()?;
        let Some(Run::Answered { kind, completion, .. }) = &mut self.run else {
            return Ok(());
        };
        let wanted = if *kind == Kind::Bind { Tier::Bind } else { Tier::Pair };
        if tier != wanted || self.session.as_ref().is_none_or(|s| s.epoch() != epoch) {
            return Err(Error::WrongParty);
        }
        let kind = *kind;
        let completion = completion.take();
        (self.run, self.timer) = (None, None);
        if kind != Kind::Bind && self.previous.take().is_some() {
            push(fx, Effect::Store(self.session_record()?))?;
        }
        if let Some(completion) = completion {
            push(fx, Effect::ToAuthority(long(&completion)?))?;
        }
        self.announce(kind, Some(challenge), fx)
    }

    pub(super) fn announce(
        &mut self,
        kind: Kind,
        challenge: Option<u32>,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        self.confirmed = true;
        if kind == Kind::Bind {
            self.pending_bond = None;
            let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
            let event = RelationEvent::Bound { binding_id: bond.binding_id, assurance: bond.assurance };
            return push(fx, Effect::Event(event));
        }
        self.fresh = true;
        if kind == Kind::Pair {
            self.pending_pair = None;
        }
        if kind == Kind::Pair
            && let Some(pairing_id) = self.pairing_id
        {
            push(fx, Effect::Event(RelationEvent::Paired { pairing_id }))?;
        }
        let epoch = self.session.as_ref().map_or(0, Session::epoch);
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
        let session = self.paired_session()?;
        if hint != session.channel()[..4] || peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        let m1: resume::Request = m1.try_into().map_err(|_| Error::Malformed)?;
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m2 = state(session, session.master(), session.epoch()).respond(&m1, boot, &nonce)?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.run = Some(Run::ResumeResponded { m1, m2 });
        self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: TRIES });
        Ok(())
    }

    pub(super) fn resume_m2(&mut self, m2: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::ResumeAsked { m1 }) = &self.run else {
            return Ok(());
        };
        let m2: resume::Response = m2.try_into().map_err(|_| Error::Malformed)?;
        let peer_boot = resume::parse_response(&m2)?;
        let session = self.session.as_mut().ok_or(Error::WrongParty)?;
        if peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        let current = state(session, session.master(), session.epoch()).confirm(m1, &m2);
        let (m3, next) = match (current, &self.previous, session.epoch().checked_sub(1)) {
            (Ok(done), ..) => {
                let (m3, next) = done;
                self.previous = Some(session.master().clone());
                session.advance(next.clone())?;
                (m3, next)
            }
            // The peer never saw our last M3: it still lives in the epoch before.
            (Err(_), Some(previous), Some(epoch)) => {
                let (m3, next) = state(session, previous, epoch).confirm(m1, &m2)?;
                let renewed = Session::at_epoch(
                    Kind::Pair,
                    *session.th4(),
                    session.epoch(),
                    next.clone(),
                    session.exchange().cloned(),
                    session.sends(),
                )?;
                *session = renewed;
                (m3, next)
            }
            (Err(e), ..) => return Err(e),
        };
        drop(next);
        self.peer_boot = peer_boot;
        (self.fresh, self.confirmed) = (true, false);
        push(fx, Effect::Store(self.session_record()?))?;
        let m3 = pdu::build(&[&[pdu::HANDSHAKE], &m3])?;
        push(fx, Effect::ToPeer(m3.clone()))?;
        self.run = Some(Run::Answered { kind: Kind::Resume, m3: short(&m3)?, completion: None });
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    pub(super) fn resume_m3(&mut self, m3: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::ResumeResponded { m1, m2 }) = &self.run else {
            return self.confirm_again(Kind::Resume, m3, fx);
        };
        let m3: resume::Confirmation = m3.try_into().map_err(|_| Error::Malformed)?;
        let session = self.session.as_mut().ok_or(Error::WrongParty)?;
        let next = state(session, session.master(), session.epoch()).finish(m1, &m2.clone(), &m3)?;
        let (_, peer_boot) = resume::parse_request(m1)?;
        session.advance(next)?;
        self.peer_boot = peer_boot;
        (self.run, self.timer, self.fresh) = (None, None, true);
        self.last_m3 = Some(sha256(&[&m3]));
        push(fx, Effect::Store(self.session_record()?))?;
        self.confirm(Kind::Resume, fx)?;
        self.announce(Kind::Resume, None, fx)
    }
}
