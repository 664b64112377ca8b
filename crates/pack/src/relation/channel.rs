//! The two channels of a relationship side by side: that of the pairing and that of the binding. Each has its own
//! secrets, epochs and RESUME (`spec/channel.md`, H94).

use super::*;

/// First byte of the record of the binding's channel.
const BINDING_VERSION: u8 = 1;

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
            _ => self.channel(tier).ok_or(Error::WrongParty)?.record(
                key::binding(self.slot),
                &[BINDING_VERSION],
                self.peer_boot,
            ),
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
            let mut f = Fields::new(bytes);
            if f.u8()? != BINDING_VERSION {
                return Err(Error::Malformed);
            }
            let (channel, peer_boot) = Channel::restore(f, Kind::Bind, direction(own, peer))?;
            self.bind = Some(channel);
            self.peer_boot = self.peer_boot.max(peer_boot);
        }
        Ok(())
    }

    /// The flash record of the pairing in use.
    pub(super) fn session_record(&self) -> Result<Record, Error> {
        let channel = self.pair.as_ref().ok_or(Error::WrongParty)?;
        let session = &channel.session;
        let id = self.pairing_id.ok_or(Error::WrongParty)?;
        let tag = session.exchange().ok_or(Error::InvalidKey)?;
        let none = Secret::new([0; 32]);
        let previous = channel.previous.as_ref().map_or(&none, |p| &p.0);
        let mut bases = heapless::Vec::<u8, { 1 + 2 * BASES_MAX }>::new();
        bases.push(session.compact_bases().len() as u8).map_err(|_| Error::BufferTooSmall)?;
        for base in session.compact_bases() {
            bases.extend_from_slice(&base.to_be_bytes()).map_err(|_| Error::BufferTooSmall)?;
        }
        Record::new(
            key::session(self.slot),
            &[
                &[2],
                &id.0,
                &self.expires.to_be_bytes(),
                &self.issued.to_be_bytes(),
                &self.peer_boot.to_be_bytes(),
                session.th4(),
                &session.epoch().to_be_bytes(),
                session.master().0.expose(),
                previous.expose(),
                &[u8::from(channel.previous.is_some())],
                tag.0.expose(),
                &bases,
            ],
        )
    }

    /// Reads what [`Relation::session_record`] wrote.
    pub(super) fn restore_session(&mut self, bytes: &[u8], sends: Direction) -> Result<(), Error> {
        let mut f = Fields::new(bytes);
        if f.u8()? != 2 {
            return Err(Error::Malformed);
        }
        self.pairing_id = Some(PairingId(f.array()?));
        self.expires = f.u32()?;
        self.issued = f.u32()?;
        self.peer_boot = f.u32()?.max(self.peer_boot);
        let th4 = f.array()?;
        let epoch = f.u32()?;
        let master = MasterSecret(Secret::new(f.array()?));
        let previous = MasterSecret(Secret::new(f.array()?));
        let has_previous = f.u8()? == 1;
        let exchange = ExchangeTag(Secret::new(f.array()?));
        let mut bases = heapless::Vec::<u16, BASES_MAX>::new();
        for _ in 0..f.u8()? {
            bases.push(u16::from_be_bytes(f.array()?)).map_err(|_| Error::Malformed)?;
        }
        f.end()?;
        if master.0.is_degenerate() || (has_previous && previous.0.is_degenerate()) {
            return Err(Error::DegenerateKey);
        }
        let mut session = Session::at_epoch(Kind::Pair, th4, epoch, master, Some(exchange), sends)?;
        session.allow_compact(&bases)?;
        self.pair = Some(Channel::stored(session, has_previous.then_some(previous)));
        Ok(())
    }

    /// Restores what the pairing in use lets be done and stay clear.
    pub(super) fn restore_rights(&mut self, mut load: impl FnMut(u16) -> Loaded) -> Result<(), Error> {
        let lease = load(key::lease(self.slot))?.filter(|b| !b.is_empty());
        self.lease = lease.map(|record| Lease::decode(&record)).transpose()?;
        // A lease that was written before its pairing stood is not this one's.
        self.lease = self.lease.filter(|l| Some(l.pairing_id) == self.pairing_id);
        if let (Some(bytes), Some(pairing)) = (load(key::stay_clear(self.slot))?, &self.pairing_id) {
            self.stay_clear = stay_clear::restored(&bytes, pairing)?;
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
