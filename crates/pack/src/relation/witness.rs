//! What this device is to be the witness of (`spec/channel.md`, H172).

use super::*;
use crate::testimony::Signed;
use lct::validation::Event;

impl Relation {
    /// Verifies an event of level 2 of the peer, before anything is signed about it.
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a binding, and for the event of somebody else or of another level;
    /// [`Error::Expired`] for an older one; [`Error::NotAuthentic`].
    pub(crate) fn witness(&mut self, signed: &Signed) -> Result<Event, Error> {
        let bond = self.bond.as_ref().ok_or(Error::WrongParty)?;
        self.witnessed.judge(signed, bond.peer.0, &bond.peer_spk.sign_pub())
    }
}
