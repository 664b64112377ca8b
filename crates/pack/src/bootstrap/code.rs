//! B2: the app proves that it knows the code printed on the pack (`spec/channel.md`, H76 and H77).

use super::*;

impl Bootstrap {
    /// A begins: `secret` is computed from the code that was typed.
    pub fn begin_code(
        &mut self,
        own: &Identity,
        pack: Cid,
        secret: &ProverSecret,
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.abandon();
        self.peer = Some((pack, Role::Pack));
        self.code_commit = Some(secret.record().commitment(&pack));
        let prover = Prover::start(secret, &own.cid(), &pack, rng);
        let share = pdu::build(&[&[pdu::PAKE, step::SHARE], &own.cid().0, prover.share()])?;
        push(fx, Effect::ToPeer(share))?;
        self.stage = Stage::Proving { prover, hint: None };
        self.again(now, RUN_TIMEOUT);
        Ok(())
    }

    /// B: a try. It is counted durably before it is answered, because the answer tells whether it was right.
    pub(super) fn on_share(
        &mut self,
        own: &Identity,
        body: &[u8],
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if own.role != Role::Pack {
            return Err(Error::WrongParty);
        }
        let (cid, share) = body.split_first_chunk::<16>().ok_or(Error::Malformed)?;
        let share: &[u8; pake::SHARE_LEN] = share.try_into().map_err(|_| Error::Malformed)?;
        if let Stage::Guessed { share: known, answer, .. } = &self.stage
            && equal(known, share)
            && self.peer.is_some_and(|(peer, _)| peer.0 == *cid)
        {
            return push(fx, Effect::ToPeer(answer.clone()));
        }
        let record = self.record.as_ref().ok_or(Error::WrongParty)?;
        let locked = self.guard.locked_s(now);
        if locked > 0 {
            let wait = locked.to_be_bytes();
            return push(fx, Effect::ToPeer(pdu::build(&[&[pdu::PAKE, step::LOCKED], &wait])?));
        }
        if self.last_run.is_some_and(|t| now < t + RUN_SPACING) {
            return Ok(());
        }
        // A share that is no point costs the sender nothing and the pack no try: it learns nothing by it.
        let app = Cid(*cid);
        let (verifier, bytes) = Verifier::answer(record, &app, &own.cid(), share, rng)?;
        self.last_run = Some(now);
        self.abandon();
        self.peer = Some((app, Role::App));
        push(fx, Effect::Store(self.guard.count(now)?))?;
        push(fx, Effect::Event(Event::Tried { tries: self.guard.tries() }))?;
        let answer = pdu::build(&[&[pdu::PAKE, step::ANSWER], &bytes])?;
        push(fx, Effect::ToPeer(answer.clone()))?;
        self.stage = Stage::Guessed { verifier, share: *share, answer };
        self.timer = Some(Timer { due: now + HALF_OPEN, tries: TRIES });
        Ok(())
    }

    /// A: the pack's share and confirmation. Only when they fit anything more is said.
    pub(super) fn on_answer(
        &mut self,
        own: &Identity,
        body: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let answer: &[u8; pake::ANSWER_LEN] = body.try_into().map_err(|_| Error::Malformed)?;
        if !matches!(self.stage, Stage::Proving { .. }) {
            return Ok(());
        }
        let Stage::Proving { prover, .. } = core::mem::replace(&mut self.stage, Stage::Idle) else {
            return Ok(());
        };
        // One guess per run, on this side too: a false pack gets no second answer to the same share.
        match prover.finish(answer) {
            Ok((confirm, shared)) => {
                self.confirm = Some(confirm);
                self.material = Some(Material::Shared(shared));
                self.timer = None;
                self.start(own, None, now, boot, fx, rng)
            }
            Err(_) => self.fail(Failure::WrongCode, fx),
        }
    }

    /// B: the app's confirmation.
    pub(super) fn on_confirm(&mut self, body: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let confirm: &[u8; pake::CONFIRMATION_LEN] = body.try_into().map_err(|_| Error::Malformed)?;
        match core::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Guessed { verifier, .. } => match verifier.finish(confirm) {
                Ok(shared) => {
                    push(fx, Effect::Store(self.guard.clear(now)?))?;
                    self.material = Some(Material::Shared(shared));
                    self.stage = Stage::Proven;
                    self.last_run = None;
                    self.timer = Some(Timer { due: now + RUN_TIMEOUT.times(u64::from(TRIES)), tries: TRIES });
                    Ok(())
                }
                // Counted when it was answered; nothing is stored.
                Err(e) => {
                    self.abandon();
                    Err(e)
                }
            },
            // A repetition with a later M1.
            other => {
                self.stage = other;
                Ok(())
            }
        }
    }

    /// A: the pack says, without proof, that it admits no try. It is told when nothing better arrives.
    pub(super) fn on_locked(&mut self, body: &[u8]) -> Result<(), Error> {
        let wait: [u8; 2] = body.try_into().map_err(|_| Error::Malformed)?;
        if let Stage::Proving { hint, .. } = &mut self.stage {
            *hint = Some(u16::from_be_bytes(wait));
        }
        Ok(())
    }
}
