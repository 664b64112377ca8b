//! B0: key package in clear inside a commissioning window, committed handshake, digits that the installer compares
//! (`spec/channel.md`, H72 to H75).

use super::*;

impl Bootstrap {
    /// A begins: draws salt, IV seed and both halves, and sends the pack its package. The pack takes it only while
    /// its commissioning window is open.
    pub fn begin_plain(
        &mut self,
        own: &Identity,
        pack: Cid,
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.abandon();
        self.peer = Some((pack, Role::Pack));
        let parties = self.parties(own)?;
        let (mut salt, mut iv_seed, mut relation) = ([0; 32], [0; 16], [0; 16]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut iv_seed);
        rng.fill_bytes(&mut relation);
        let package = KeyPackage {
            kind: Kind::Dev,
            relation,
            half_own: Secret::random(rng),
            half_peer: Secret::random(rng),
            lct_half: Secret::new([0; 64]),
            salt,
            parameters: LinkParameters { iv_seed, kdf: 1, aead: 1, rotation_days: 30 },
            epoch: 0,
        };
        let theirs = package.for_peer(Secret::new([0; 64])).encode(&parties.swapped())?;
        self.package = Some(pdu::build(&[&[pdu::KEY_PACKAGE, op::PLAIN], theirs.as_slice()])?);
        self.material = Some(Material::Package(package));
        self.stage = Stage::Offered;
        self.send_package(now, fx)
    }

    pub(super) fn send_package(&mut self, now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let package = self.package.clone().ok_or(Error::WrongParty)?;
        push(fx, Effect::ToPeer(package))?;
        self.again(now, RUN_TIMEOUT);
        Ok(())
    }

    /// B takes a package while its window is open, and commits itself to its ephemeral key.
    pub(super) fn on_package(
        &mut self,
        own: &Identity,
        bytes: &[u8],
        is_factory: bool,
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if own.role != Role::Pack || !is_factory {
            return Err(Error::WrongParty);
        }
        let repeated = self.package.as_deref().is_some_and(|p| p.get(2..) == Some(bytes));
        match &self.stage {
            Stage::Committed { m0, .. } if repeated => {
                return push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], m0])?));
            }
            // The installer already looks at digits: only a verdict or the end of the window changes that.
            Stage::Comparing => return Err(Error::WrongParty),
            _ => {}
        }
        let window = self.window.as_mut().ok_or(Error::WrongParty)?;
        let mut peer = [0; 16];
        peer.copy_from_slice(bytes.get(24..40).ok_or(Error::Malformed)?);
        let parties = Parties { own: (own.cid(), own.role), peer: (Cid(peer), Role::App) };
        let package = KeyPackage::decode(bytes, &parties)?;
        if package.kind != Kind::Dev || bytes.len() != PACKAGE_LEN {
            return Err(Error::Malformed);
        }
        if self.last_run.is_some_and(|t| now < t + RUN_SPACING) {
            return Ok(());
        }
        window.spend(now)?;
        self.last_run = Some(now);
        self.abandon();
        self.peer = Some(parties.peer);
        self.material = Some(Material::Package(package));
        self.package = Some(pdu::build(&[&[pdu::KEY_PACKAGE, op::PLAIN], bytes])?);
        let ephemeral = Ephemeral::generate(rng);
        let m0 = commit(&self.context(own)?, &ephemeral)?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m0])?))?;
        self.stage = Stage::Committed { ephemeral, m0 };
        self.timer = Some(Timer { due: now + HALF_OPEN, tries: TRIES });
        Ok(())
    }

    /// A got the commitment and starts the handshake.
    pub(super) fn on_m0(
        &mut self,
        own: &Identity,
        m0: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if !matches!(self.stage, Stage::Offered) || !self.is_a(own) {
            return Ok(());
        }
        self.start(own, Some(m0), now, boot, fx, rng)
    }

    /// The installer's verdict on this side: whether the digits of both sides are equal.
    pub fn compare(&mut self, equal: bool, now: Instant, fx: &mut Effects) -> Result<(), Error> {
        if !matches!(self.stage, Stage::Comparing) {
            return Err(Error::WrongParty);
        }
        if !equal {
            self.send_verdict(Keys::Run, false, fx)?;
            return self.turn_down(now, fx);
        }
        if let Some(agreed) = &mut self.agreed {
            agreed.proof.accepted[0] = true;
        }
        self.timer = None;
        self.again(now, CONFIRM_TIMEOUT);
        let keys = if self.judge(now, fx)? { Keys::Standing } else { Keys::Run };
        self.send_verdict(keys, true, fx)
    }

    pub(super) fn send_verdict(&self, keys: Keys, equal: bool, fx: &mut Effects) -> Result<(), Error> {
        let Some(proof) = self.proof(keys) else { return Ok(()) };
        let body = [pdu::KEY_PACKAGE, op::COMPARED, u8::from(equal), u8::from(proof.accepted[1])];
        push(fx, Effect::Seal(keys, pdu::build(&[&body])?))
    }

    /// The verdict of the other side.
    pub(super) fn on_compared(
        &mut self,
        keys: Keys,
        verdict: u8,
        seen: u8,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        let proof = self.proof(keys).filter(|proof| proof.digits.is_some()).ok_or(Error::WrongParty)?;
        let stands = keys == Keys::Standing && proof.accepted == [true; 2];
        if !stands && !matches!(self.stage, Stage::Comparing) {
            return Err(Error::WrongParty);
        }
        match (verdict, stands) {
            // The other side may have missed this side's verdict.
            (1, true) if seen == 0 => self.send_verdict(Keys::Standing, true, fx),
            (1, true) => Ok(()),
            (1, false) => {
                if let Some(agreed) = &mut self.agreed {
                    agreed.proof.accepted[1] = true;
                }
                self.judge(now, fx).map(drop)
            }
            // Its installer thought better of it before it heard the verdict of this side.
            (_, true) => {
                push(fx, Effect::Event(Event::Failed(Failure::Different)))?;
                self.end(fx)
            }
            (_, false) => self.turn_down(now, fx),
        }
    }

    /// Different digits: somebody sits between the two. Nothing of the run stays, and the window closes.
    fn turn_down(&mut self, now: Instant, fx: &mut Effects) -> Result<(), Error> {
        push(fx, Effect::Event(Event::Failed(Failure::Different)))?;
        (self.stage, self.compare_until) = (Stage::Idle, None);
        // The verdict that was pushed still needs the keys: they go with the next tick, which is due at once.
        self.timer = Some(Timer { due: now, tries: TRIES });
        match self.window.take() {
            Some(_) => push(fx, Effect::Event(Event::WindowClosed)),
            None => Ok(()),
        }
    }

    /// True when both sides accepted, and the channel stands.
    fn judge(&mut self, now: Instant, fx: &mut Effects) -> Result<bool, Error> {
        let both = self.agreed.as_ref().is_some_and(|a| a.proof.accepted == [true; 2]);
        if both && matches!(self.stage, Stage::Comparing) {
            self.stand(now, fx)?;
            return Ok(true);
        }
        Ok(false)
    }
}
