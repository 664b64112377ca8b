//! What became of components, whom they let be paired with them, and how packs are set.

use ledger::records::{
    Setting,
    registry::{
        Authorization, AuthorizationId, Authorizations, History, QueueId, Queued, StateChange, VersionRecord,
    },
};

use super::*;

impl Snapshot<'_> {
    /// Every change of state of a component, oldest first, with its number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn moves_of(&self, cid: &Cid) -> Result<Vec<(u32, StateChange)>, Error> {
        let last = self.history_of(cid)?.moves;
        self.numbered(last, |number| key::state_change(cid, number))
    }

    /// Every version that a component told of, oldest first, with its number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn versions_of(&self, cid: &Cid) -> Result<Vec<(u32, VersionRecord)>, Error> {
        let last = self.history_of(cid)?.versions;
        self.numbered(last, |number| key::version(cid, number))
    }

    fn history_of(&self, cid: &Cid) -> Result<History, Error> {
        Ok(self.get(&key::history(cid))?.unwrap_or_else(History::empty))
    }

    fn numbered<T: Canonical>(
        &self,
        last: u32,
        key: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<(u32, T)>, Error> {
        let mut found = Vec::new();
        for number in 1..=last {
            found.extend(self.get(&key(number))?.map(|object| (number, object)));
        }
        Ok(found)
    }

    /// An authorisation by its identity, also one that ended.
    ///
    /// # Errors
    /// [`Error`].
    pub fn authorization(&self, id: &AuthorizationId) -> Result<Option<Authorization>, Error> {
        self.get(&key::authorization(id))
    }

    /// A queued wish by its identity, also one that ended.
    ///
    /// # Errors
    /// [`Error`].
    pub fn queued(&self, id: &QueueId) -> Result<Option<Queued>, Error> {
        self.get(&key::queued(id))
    }

    /// The authorisations of a component that are in force at the time of the last block.
    ///
    /// # Errors
    /// [`Error`].
    pub fn authorizations_of(&self, cid: &Cid) -> Result<Vec<(AuthorizationId, Authorization)>, Error> {
        let list: Option<Authorizations> = self.get(&key::authorizations_of(cid))?;
        let mut found = Vec::new();
        for id in list.map_or_else(Vec::new, |l| l.0) {
            let authorization: Option<Authorization> = self.get(&key::authorization(&id))?;
            found.extend(authorization.filter(|a| a.in_force(self.tip().time_ms)).map(|a| (id, a)));
        }
        Ok(found)
    }

    /// What is set of a pack, or was reported, by the number of the parameter.
    ///
    /// # Errors
    /// [`Error`].
    pub fn settings_of(&self, cid: &Cid) -> Result<Vec<(u8, Setting)>, Error> {
        self.scan_ids(&key::settings_of(cid), |[parameter]: [u8; 1]| parameter)
    }
}
