//! The two channels of a relationship side by side: that of the pairing and that of the binding. Each has its own
//! secrets, epochs and RESUME (`spec/channel.md`, H94).

use super::*;

/// Keys of one channel and how far both sides agree on them.
pub(super) struct Channel {
    pub(super) session: Session,
    /// Master secret of the epoch before, until the peer proved the one in use.
    pub(super) previous: Option<MasterSecret>,
    /// True once this start's epoch is agreed: nothing sealed is accepted before.
    pub(super) fresh: bool,
    /// True once the peer proved the epoch in use.
    pub(super) confirmed: bool,
    /// When the epoch in use began.
    pub(super) since: Instant,
    /// The epoch in use is not in flash yet: nothing may be sent in it before.
    pub(super) unsaved: bool,
}

impl Channel {
    /// The channel of a handshake that this side finished.
    pub(super) fn opened(session: Session, now: Instant) -> Self {
        Channel { session, previous: None, fresh: true, confirmed: false, since: now, unsaved: false }
    }

    /// A channel out of flash: nothing is sealed or opened before RESUME.
    pub(super) fn stored(session: Session, previous: Option<MasterSecret>) -> Self {
        let since = Instant::START;
        Channel { session, previous, fresh: false, confirmed: false, since, unsaved: false }
    }

    pub(super) fn is_up(&self) -> bool {
        self.fresh && self.confirmed
    }

    /// RESUME and ROTATE are computed from this.
    pub(super) fn state(&self) -> resume::Session<'_> {
        state(&self.session, self.session.master(), self.session.epoch())
    }

    /// `1 | peer boot u32 | TH4 32 | epoch u32 | MS 32 | MS before 32 | its presence u8`.
    pub(super) fn record(&self, key: u16, peer_boot: u32) -> Result<Record, Error> {
        let none = Secret::new([0; 32]);
        Record::new(
            key,
            &[
                &[1],
                &peer_boot.to_be_bytes(),
                self.session.th4(),
                &self.session.epoch().to_be_bytes(),
                self.session.master().0.expose(),
                self.previous.as_ref().map_or(&none, |p| &p.0).expose(),
                &[u8::from(self.previous.is_some())],
            ],
        )
    }

    /// Reads [`Channel::record`]; returns the peer's boot counter too.
    pub(super) fn restore(bytes: &[u8], sends: Direction) -> Result<(Self, u32), Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
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
        let session = Session::at_epoch(Kind::Bind, th4, epoch, master, None, sends)?;
        Ok((Channel::stored(session, has_previous.then_some(previous)), peer_boot))
    }
}

/// The tier that names the channel of a handshake kind, and under which its confirmation travels.
pub(super) fn home(kind: Kind) -> Tier {
    match kind {
        Kind::Bind => Tier::Bind,
        Kind::Dev | Kind::Pake => Tier::Dev,
        Kind::Pair | Kind::Resume => Tier::Pair,
    }
}

impl Relation {
    pub(super) fn channel(&self, tier: Tier) -> Option<&Channel> {
        match tier {
            Tier::Exch | Tier::Pair => self.pair.as_ref(),
            Tier::Bind => self.bind.as_ref(),
            Tier::Dev | Tier::Group => None,
        }
    }

    pub(super) fn channel_mut(&mut self, tier: Tier) -> Option<&mut Channel> {
        match tier {
            Tier::Exch | Tier::Pair => self.pair.as_mut(),
            Tier::Bind => self.bind.as_mut(),
            Tier::Dev | Tier::Group => None,
        }
    }

    /// The flash record of the channel that `tier` names.
    pub(super) fn channel_record(&self, tier: Tier) -> Result<Record, Error> {
        match tier {
            Tier::Exch | Tier::Pair => self.session_record(),
            _ => self.channel(tier).ok_or(Error::WrongParty)?.record(key::binding(self.slot), self.peer_boot),
        }
    }

    /// Restores the channel of the binding, if there is one.
    pub(super) fn restore_binding(
        &mut self,
        own: &Identity,
        peer: (Cid, Role),
        bytes: Option<&[u8]>,
    ) -> Result<(), Error> {
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            let (channel, peer_boot) = Channel::restore(bytes, direction(own, peer))?;
            self.bind = Some(channel);
            self.peer_boot = self.peer_boot.max(peer_boot);
        }
        Ok(())
    }

    /// True when messages at bind tier flow in an epoch of this start.
    pub fn is_bind_up(&self) -> bool {
        self.bind.as_ref().is_some_and(Channel::is_up)
    }

    /// The session of the binding's channel, if it is up.
    pub fn bind_session(&self) -> Option<&Session> {
        self.bind.as_ref().filter(|c| c.is_up()).map(|c| &c.session)
    }
}
