//! The committed or code-proved handshake of a run, on either side, from its key material to keys that both are to
//! confirm (`spec/channel.md`, H10 to H15, H73, H76 and H83).

use super::*;

impl Bootstrap {
    pub(super) fn on_handshake(
        &mut self,
        own: &Identity,
        m: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let [version, code, ..] = *m else {
            return Err(Error::Malformed);
        };
        let kind = if code & 0x1F == Kind::Dev as u8 { Kind::Dev } else { Kind::Pake };
        if version != 1 {
            return Err(Error::Malformed);
        }
        match code & 0xE0 {
            0x20 => self.on_m0(own, m, now, boot, fx, rng),
            0x00 => self.on_m1(own, kind, m, now, boot, fx, rng),
            0x40 => self.on_m2(own, m, now, fx, rng),
            0x80 => self.on_m3(own, m, now, fx),
            _ => Err(Error::Malformed),
        }
    }

    pub(super) fn kind(&self) -> Result<Kind, Error> {
        match self.material {
            Some(Material::Package(_)) => Ok(Kind::Dev),
            Some(Material::Shared(_)) => Ok(Kind::Pake),
            None => Err(Error::WrongParty),
        }
    }

    pub(super) fn parties(&self, own: &Identity) -> Result<Parties, Error> {
        Ok(Parties { own: (own.cid(), own.role), peer: self.peer.ok_or(Error::WrongParty)? })
    }

    pub(super) fn context(&self, own: &Identity) -> Result<Context, Error> {
        let parties = self.parties(own)?;
        let (a, b) =
            if parties.own_is_a() { (parties.own, parties.peer) } else { (parties.peer, parties.own) };
        let unpaired = LinkParameters { iv_seed: [0; 16], kdf: 1, aead: 1, rotation_days: 30 };
        let (parameters, salt, flags) = match &self.material {
            Some(Material::Package(p)) => (p.parameters, p.salt, COMMITTED),
            _ => (unpaired, [0; 32], 0),
        };
        Ok(Context {
            kind: self.kind()?,
            flags,
            cid_a: a.0,
            cid_b: b.0,
            spk_a: None,
            spk_b: None,
            cert_hash: None,
            policy_hash: lct::metadata::policy_hash(&policy::table_bytes(), &parameters),
            salt,
        })
    }

    /// Calls `f` with the pre-shared key of the run (H83).
    fn with_psk<T>(&self, own: &Identity, f: impl FnOnce(&Psk<'_>) -> Result<T, Error>) -> Result<T, Error> {
        match &self.material {
            Some(Material::Package(package)) => {
                let [a, b] = package.halves(&self.parties(own)?)?;
                f(&Psk(&[a.expose(), b.expose(), &package.salt]))
            }
            Some(Material::Shared(shared)) => f(&Psk(&[shared.expose(), &[0; 32]])),
            None => Err(Error::WrongParty),
        }
    }

    pub(super) fn is_a(&self, own: &Identity) -> bool {
        self.peer.is_some_and(|(cid, role)| is_side_a(own.role, own.cid(), role, cid))
    }

    /// A starts the handshake.
    pub(super) fn start(
        &mut self,
        own: &Identity,
        m0: Option<&[u8]>,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let context = self.context(own)?;
        let (initiator, m1) = Initiator::start(&context, Ephemeral::generate(rng), boot, None, m0)?;
        if let Some(confirm) = &self.confirm {
            push(fx, Effect::ToPeer(pdu::build(&[&[pdu::PAKE, step::CONFIRM], confirm])?))?;
        }
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        self.stage = Stage::Asked { initiator };
        self.again(now, RUN_TIMEOUT);
        Ok(())
    }

    fn on_m1(
        &mut self,
        own: &Identity,
        kind: Kind,
        m1: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if self.kind()? != kind || self.is_a(own) {
            return Err(Error::WrongParty);
        }
        let context = self.context(own)?;
        lct::handshake::Request::parse(&context, m1)?;
        let (ephemeral, m0) = match &self.stage {
            Stage::Proven | Stage::Responded { .. } if kind == Kind::Pake => {
                if self.last_run.is_some_and(|t| now < t + RUN_SPACING) {
                    return Ok(());
                }
                self.last_run = Some(now);
                (Ephemeral::generate(rng), None)
            }
            // A commitment answers one M1: whoever could send a second would choose it with the first answer in hand.
            Stage::Committed { .. } => match core::mem::replace(&mut self.stage, Stage::Idle) {
                Stage::Committed { ephemeral, m0 } => (ephemeral, Some(m0)),
                _ => return Err(Error::WrongParty),
            },
            _ => return Err(Error::WrongParty),
        };
        let (responder, m2) = self.with_psk(own, |psk| {
            Responder::answer(&context, ephemeral, boot, m0.as_deref(), m1, None, psk, None, rng)
        })?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.stage = Stage::Responded { responder };
        self.timer = Some(Timer { due: now + HALF_OPEN, tries: TRIES });
        Ok(())
    }

    fn on_m2(
        &mut self,
        own: &Identity,
        m2: &[u8],
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Stage::Asked { initiator } = &self.stage else {
            return Ok(());
        };
        // The run stays until an M2 verifies: a forged one must not end it. The commitment is checked first.
        let context = self.context(own)?;
        let (m3, done) = self.with_psk(own, |psk| initiator.finish(&context, m2, psk, None, rng))?;
        self.establish(own, &done, Some(m3.clone()))?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m3])?))?;
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    fn on_m3(&mut self, own: &Identity, m3: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let hash = sha256(&[m3]);
        let Stage::Responded { responder } = &self.stage else {
            // A did not hear the confirmation: its exact M3 is confirmed again.
            let is_last = |keys| self.proof(keys).is_some_and(|proof| proof.last_m3 == Some(hash));
            let keys = [Keys::Run, Keys::Standing].into_iter().find(|keys| is_last(*keys));
            return self.send_confirmation(keys.ok_or(Error::NotAuthentic)?, fx);
        };
        let done = responder.finish(&self.context(own)?, m3)?;
        self.establish(own, &done, None)?;
        if let Some(agreed) = &mut self.agreed {
            agreed.proof.last_m3 = Some(hash);
        }
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        self.send_confirmation(Keys::Run, fx)
    }

    fn establish(&mut self, own: &Identity, done: &Established, m3: Option<Message>) -> Result<(), Error> {
        let kind = self.kind()?;
        let is_a = self.is_a(own);
        let of = |label| derive::<16>(&done.master.0, label, &[&done.th4]);
        let (a, b) = (of("key confirm a")?, of("key confirm b")?);
        let sends = if is_a { Direction::Ab } else { Direction::Ba };
        self.agreed = Some(Agreed {
            session: Session::established(kind, done, None, sends)?,
            proof: Proof {
                confirmations: if is_a { [a, b] } else { [b, a] },
                digits: (kind == Kind::Dev).then_some(done.comparison),
                last_m3: None,
                accepted: [false; 2],
            },
        });
        self.stage = Stage::Confirming { m3 };
        // What the channel came from is used up.
        (self.material, self.package, self.confirm) = (None, None, None);
        Ok(())
    }
}
