//! The keys of one channel over the starts of its two ends: what is kept of it in flash, and how a RESUME leads from
//! one epoch to the next (`spec/channel.md`, H18, H19 and H94). Who says what and when is the owner's affair.

use crate::{identity::Record, session::Session, time::Instant};
use kept::{Defence, kept};
use lct::{
    Digest, Error,
    codec::Fields,
    handshake::Kind,
    resume::{self, Confirmation, Request, Response},
    schedule::{Direction, MasterSecret},
    secret::Secret,
};

/// Keys of one channel and how far both sides agree on them.
pub(crate) struct Channel {
    pub(crate) session: Session,
    /// Master secret of the epoch before, until the peer proved the one in use.
    pub(crate) previous: Option<MasterSecret>,
    /// True once this start's epoch is agreed: nothing sealed is accepted before.
    pub(crate) fresh: bool,
    /// True once the peer proved the epoch in use.
    pub(crate) confirmed: bool,
    /// When the epoch in use began.
    pub(crate) since: Instant,
    /// The epoch in use is not in flash yet: nothing may be sent in it before.
    pub(crate) unsaved: bool,
}

impl Channel {
    /// The channel of a handshake that this side finished.
    pub(crate) fn opened(session: Session, now: Instant) -> Self {
        Channel { session, previous: None, fresh: true, confirmed: false, since: now, unsaved: false }
    }

    /// A channel out of flash: nothing is sealed or opened before RESUME.
    pub(crate) fn stored(session: Session, previous: Option<MasterSecret>) -> Self {
        let (since, fresh) = (Instant::START, !kept(Defence::FreshEpoch));
        Channel { session, previous, fresh, confirmed: fresh, since, unsaved: false }
    }

    /// Erases the secret of the epoch before where it lies; true when there was one.
    pub(crate) fn forget_previous(&mut self) -> bool {
        let held = self.previous.is_some();
        self.previous = None;
        held
    }

    pub(crate) fn is_up(&self) -> bool {
        self.fresh && self.confirmed
    }

    /// True when `hint` names this channel in M1 of a RESUME.
    pub(crate) fn is_named(&self, hint: [u8; 4]) -> bool {
        self.session.channel()[..4] == hint
    }

    /// RESUME and ROTATE are computed from this.
    pub(crate) fn state(&self) -> resume::Session<'_> {
        self.state_in(self.session.master(), self.session.epoch())
    }

    fn state_in<'a>(&self, master: &'a MasterSecret, epoch: u32) -> resume::Session<'a> {
        resume::Session { master, epoch, channel: *self.session.channel() }
    }

    /// A, on M2: enters the next epoch. M3 may leave once [`Channel::record`] is durable. With `until` the exchange tier
    /// of the epoch in use so far is opened until then.
    pub(crate) fn answered(
        &mut self,
        m1: &Request,
        m2: &Response,
        now: Instant,
        until: Instant,
    ) -> Result<Confirmation, Error> {
        let epoch = self.session.epoch();
        let current = self.state().confirm(m1, m2);
        let (m3, next, number) = match (current, &self.previous, epoch.checked_sub(1)) {
            (Ok((m3, next)), ..) => {
                self.previous = Some(self.session.master().clone());
                (m3, next, epoch.checked_add(1).ok_or(Error::Exhausted)?)
            }
            // The peer never saw our last M3, or never moved to the rotated epoch: it still lives in the one before.
            (Err(_), Some(previous), Some(before)) => {
                let (m3, next) = self.state_in(previous, before).confirm(m1, m2)?;
                (m3, next, epoch)
            }
            (Err(e), ..) => return Err(e),
        };
        self.enter(number, next, now, until)?;
        self.confirmed = false;
        Ok(m3)
    }

    /// B, on M3: enters the next epoch. It may be confirmed once [`Channel::record`] is durable. Returns T3, which names the
    /// session.
    pub(crate) fn finished(
        &mut self,
        (m1, m2, m3): (&Request, &Response, &Confirmation),
        now: Instant,
        until: Instant,
    ) -> Result<Digest, Error> {
        let (next, t3) = (self.state().finish(m1, m2, m3)?, self.state().t3(m1, m2));
        let number = self.session.epoch().checked_add(1).ok_or(Error::Exhausted)?;
        self.enter(number, next, now, until)?;
        self.unsaved = false;
        Ok(t3)
    }

    fn enter(&mut self, number: u32, next: MasterSecret, now: Instant, until: Instant) -> Result<(), Error> {
        // After a start the old windows are lost, so nothing of the old epoch is opened.
        self.session.renew(number, next, self.fresh.then_some(until))?;
        (self.fresh, self.since) = (true, now);
        Ok(())
    }

    /// `head || peer boot u32 | TH4 32 | epoch u32 | MS 32 | MS before 32 | its presence u8`.
    pub(crate) fn record(&self, key: u16, head: &[u8], peer_boot: u32) -> Result<Record, Error> {
        let none = Secret::new([0; 32]);
        Record::new(
            key,
            &[
                head,
                &peer_boot.to_be_bytes(),
                self.session.th4(),
                &self.session.epoch().to_be_bytes(),
                self.session.master().0.expose(),
                self.previous.as_ref().map_or(&none, |p| &p.0).expose(),
                &[u8::from(self.previous.is_some())],
            ],
        )
    }

    /// Reads what [`Channel::record`] wrote behind its head, to the end; returns the peer's boot counter too.
    pub(crate) fn restore(mut f: Fields<'_>, kind: Kind, sends: Direction) -> Result<(Self, u32), Error> {
        let peer_boot = f.u32()?;
        let th4 = f.array()?;
        let epoch = f.u32()?;
        let master = MasterSecret(Secret::new(f.array()?));
        let previous = MasterSecret(Secret::new(f.array()?));
        let has_previous = f.u8()? == 1;
        f.end()?;
        if master.0.is_degenerate() || (has_previous && previous.0.is_degenerate()) {
            return Err(Error::DegenerateKey);
        }
        let session = Session::at_epoch(kind, th4, epoch, master, None, sends)?;
        Ok((Channel::stored(session, has_previous.then_some(previous)), peer_boot))
    }
}
