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

    /// True when messages at bind tier flow in an epoch of this start.
    pub fn is_bind_up(&self) -> bool {
        self.bind.as_ref().is_some_and(Channel::is_up)
    }

    /// The session of the binding's channel, if it is up.
    pub fn bind_session(&self) -> Option<&Session> {
        self.bind.as_ref().filter(|c| c.is_up()).map(|c| &c.session)
    }
}
