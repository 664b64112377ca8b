//! The device channel that stands: kept in flash, resumed at each start of either side, until a pairing takes its place
//! (`spec/channel.md`, H18, H71 and H86).

use super::*;
use crate::channel::Channel;
use lct::{codec::Fields, resume};

/// First byte of the record.
const VERSION: u8 = 1;

/// A RESUME under way.
enum Run {
    /// A sent M1.
    Asked(resume::Request),
    /// A sent M3 and waits for the confirmation.
    Answered(resume::Confirmation),
    /// B sent M2.
    Responded(resume::Request, resume::Response),
}

/// A device channel on which both sides agreed.
pub(super) struct Standing {
    pub(super) peer: (Cid, Role),
    pub(super) assurance: Assurance,
    /// What the peer's certificate must say of the code; known to the app.
    pub(super) code_commit: Option<Digest>,
    pub(super) channel: Channel,
    peer_boot: u32,
    run: Option<Run>,
    timer: Option<Timer>,
    /// Last RESUME that the peer asked for.
    asked: Option<Instant>,
    /// M3 that was accepted last: only its exact repetition is confirmed again.
    last_m3: Option<Digest>,
    /// What the handshake left for repetitions of its last messages, until a RESUME.
    pub(super) proof: Option<Proof>,
}

impl Standing {
    /// The channel of a run that both sides accepted.
    pub(super) fn new(
        peer: (Cid, Role),
        assurance: Assurance,
        code_commit: Option<Digest>,
        (session, proof): (Session, Proof),
        now: Instant,
    ) -> Self {
        let channel = Channel { confirmed: true, ..Channel::opened(session, now) };
        Standing {
            peer,
            assurance,
            code_commit,
            channel,
            peer_boot: 0,
            run: None,
            timer: None,
            asked: None,
            last_m3: None,
            proof: Some(proof),
        }
    }

    /// `1 | peer cid 16 | peer role | assurance | knows the code u8 | code_commit 32 | ..`, then as
    /// [`Channel::record`].
    pub(super) fn record(&self, slot: u8) -> Result<Record, Error> {
        let head: heapless::Vec<u8, 52> = lct::codec::Layout::default()
            .put(&[
                &[VERSION],
                &self.peer.0.0,
                &[self.peer.1 as u8, self.assurance as u8, u8::from(self.code_commit.is_some())],
                &self.code_commit.unwrap_or([0; 32]),
            ])?
            .done();
        self.channel.record(key::device(slot), &head, self.peer_boot)
    }

    /// Reads [`Standing::record`].
    pub(super) fn restore(own: &Identity, record: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(record);
        if f.u8()? != VERSION {
            return Err(Error::Malformed);
        }
        let peer = (Cid(f.array()?), Role::from_code(f.u8()?)?);
        let assurance = Assurance::from_code(f.u8()?)?;
        let (known, code_commit) = (f.u8()? == 1, f.array()?);
        let kind = match assurance {
            Assurance::Plain => Kind::Dev,
            Assurance::Code => Kind::Pake,
            _ => return Err(Error::Malformed),
        };
        let is_a = is_side_a(own.role, own.cid(), peer.1, peer.0);
        let sends = if is_a { Direction::Ab } else { Direction::Ba };
        let (channel, peer_boot) = Channel::restore(f, kind, sends)?;
        Ok(Standing {
            peer,
            assurance,
            code_commit: known.then_some(code_commit),
            channel,
            peer_boot,
            run: None,
            timer: None,
            asked: None,
            last_m3: None,
            proof: None,
        })
    }

    fn is_a(&self) -> bool {
        self.channel.session.sends() == Direction::Ab
    }

    /// True while side A looks for the peer of a channel that it kept.
    pub(super) fn is_resuming(&self) -> bool {
        matches!(self.run, Some(Run::Asked(_) | Run::Answered(_)))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.timer.as_ref().map(|t| t.due)
    }

    /// True for a message of a RESUME of this channel.
    pub(super) fn concerns(&self, m: &[u8]) -> bool {
        match (m, &self.run) {
            ([_, 0x04, _, _, a, b, c, d, ..], _) => !self.is_a() && self.channel.is_named([*a, *b, *c, *d]),
            ([_, 0x44, ..], Some(Run::Asked(_))) | ([_, 0x84, ..], Some(Run::Responded(..))) => true,
            ([_, 0x84, ..], _) => self.last_m3 == Some(sha256(&[m])),
            _ => false,
        }
    }

    /// A: begins a RESUME.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let again = matches!(self.run, Some(Run::Asked(_)));
        if !self.is_a() || self.channel.session.epoch() >= Limits::DEFAULT.epochs_max {
            return Ok(());
        }
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m1 = self.channel.state().request(boot, &nonce);
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m1])?))?;
        self.run = Some(Run::Asked(m1));
        let tries = self.timer.as_ref().filter(|_| again).map_or(0, |t| t.tries) + 1;
        self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries });
        Ok(())
    }

    /// A: the peer, which started, asks for a run.
    pub(super) fn asked(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if self.run.is_some() || self.asked.is_some_and(|t| now < t + RUN_TIMEOUT) {
            return Ok(());
        }
        self.asked = Some(now);
        self.resume(now, boot, fx, rng)
    }

    /// A message of a RESUME, without the PDU type byte.
    pub(super) fn message(
        &mut self,
        slot: u8,
        m: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        match m.get(1) {
            Some(0x04) => self.on_m1(m, now, boot, fx, rng),
            Some(0x44) => self.on_m2(slot, m, now, fx),
            Some(0x84) => self.on_m3(slot, m, now, fx),
            _ => Err(Error::Malformed),
        }
    }

    fn on_m1(
        &mut self,
        m1: &[u8],
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let (_, peer_boot) = resume::parse_request(m1)?;
        if peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        if self.channel.session.epoch() >= Limits::DEFAULT.epochs_max {
            return Err(Error::Exhausted);
        }
        let m1: resume::Request = m1.try_into().map_err(|_| Error::Malformed)?;
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let m2 = self.channel.state().respond(&m1, boot, &nonce)?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m2])?))?;
        self.run = Some(Run::Responded(m1, m2));
        self.timer = Some(Timer { due: now + RUN_TIMEOUT, tries: TRIES });
        Ok(())
    }

    fn on_m2(&mut self, slot: u8, m2: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::Asked(m1)) = &self.run else {
            return Ok(());
        };
        let m2: resume::Response = m2.try_into().map_err(|_| Error::Malformed)?;
        let peer_boot = resume::parse_response(&m2)?;
        if peer_boot < self.peer_boot {
            return Err(Error::WrongParty);
        }
        let m3 = self.channel.answered(m1, &m2, now, now)?;
        (self.peer_boot, self.proof) = (peer_boot, None);
        push(fx, Effect::Store(self.record(slot)?))?;
        push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], &m3])?))?;
        self.run = Some(Run::Answered(m3));
        self.timer = Some(Timer { due: now + CONFIRM_TIMEOUT, tries: 1 });
        Ok(())
    }

    fn on_m3(&mut self, slot: u8, m3: &[u8], now: Instant, fx: &mut Effects) -> Result<(), Error> {
        let Some(Run::Responded(m1, m2)) = &self.run else {
            return self.confirm(fx);
        };
        let hash = sha256(&[m3]);
        let m3: resume::Confirmation = m3.try_into().map_err(|_| Error::Malformed)?;
        self.channel.finished((m1, m2, &m3), now, now)?;
        let (_, peer_boot) = resume::parse_request(m1)?;
        (self.peer_boot, self.proof, self.last_m3) = (peer_boot, None, Some(hash));
        (self.run, self.timer) = (None, None);
        self.channel.confirmed = true;
        push(fx, Effect::Store(self.record(slot)?))?;
        self.confirm(fx)?;
        push(fx, Effect::Event(Event::ChannelUp { assurance: self.assurance }))
    }

    /// B's first sealed message of the epoch. A device channel takes no signed commands: its challenge is 0.
    fn confirm(&self, fx: &mut Effects) -> Result<(), Error> {
        let epoch = self.channel.session.epoch().to_be_bytes();
        push(fx, Effect::Seal(Keys::Standing, pdu::build(&[&[pdu::CONFIRM], &epoch, &[0; 4]])?))
    }

    /// A: the peer's confirmation `epoch u32 | challenge u32`, opened under this channel.
    pub(super) fn confirmed(&mut self, slot: u8, body: &[u8], fx: &mut Effects) -> Result<(), Error> {
        let mut f = Fields::new(body);
        let (epoch, _challenge) = (f.u32()?, f.u32()?);
        f.end()?;
        if !matches!(self.run, Some(Run::Answered(_))) {
            return Ok(());
        }
        if self.channel.session.epoch() != epoch {
            return Err(Error::WrongParty);
        }
        (self.run, self.timer) = (None, None);
        (self.channel.previous, self.channel.confirmed) = (None, true);
        push(fx, Effect::Store(self.record(slot)?))?;
        push(fx, Effect::Event(Event::ChannelUp { assurance: self.assurance }))
    }

    /// Repeats or gives up what waited too long; a RESUME that found no answer begins anew when the peer asks, or with
    /// the next start.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(timer) = self.timer.as_mut().filter(|t| t.due <= now) else {
            return Ok(());
        };
        match &self.run {
            Some(Run::Asked(_)) if timer.tries < TRIES => self.resume(now, boot, fx, rng),
            Some(Run::Answered(m3)) if timer.tries < TRIES => {
                *timer = Timer { due: now + CONFIRM_TIMEOUT, tries: timer.tries + 1 };
                push(fx, Effect::ToPeer(pdu::build(&[&[pdu::HANDSHAKE], m3])?))
            }
            _ => {
                (self.run, self.timer) = (None, None);
                Ok(())
            }
        }
    }
}
