//! What became of components, whom they let be paired with them, and how packs are set.

use ledger::{
    anonymous,
    authorization::{self, Denied, Question},
    records::{
        Roots, Setting,
        registry::{
            AnonymousAuthorization, AnonymousComponent, Authorization, AuthorizationId, Authorizations,
            History, Opened, Queue, QueueId, Queued, StateChange, VersionRecord,
        },
    },
    state::View as _,
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

    /// Whether the first component lets itself be paired with the second one in `context` (L136), as far as the second one is
    /// trusted to operate at the time of the last block: the authorisation, or why not.
    ///
    /// # Errors
    /// [`Error`].
    pub fn authorized(
        &self,
        [a, b]: [&Cid; 2],
        context: &str,
    ) -> Result<Result<Authorization, Denied>, Error> {
        let weights = self.params()?.trust;
        let (now_ms, chain_id) = (self.tip().time_ms, self.tip().chain_id);
        let known = standing::component(&self.view(), &weights, b, TrustContext::Operation, now_ms)?;
        let trust_ppm = known.map(|s| s.score.get());
        let [basic, enhanced, critical, _] = weights.gates;
        let least_ppm = [basic, enhanced, critical];
        let question = Question { chain_id: &chain_id, a, b, context, now_ms, trust_ppm, least_ppm };
        Ok(authorization::check(&self.view(), &question)?)
    }

    /// The manufacturer roots in force.
    ///
    /// # Errors
    /// [`Error`].
    pub fn roots(&self) -> Result<Vec<PublicKey>, Error> {
        let roots: Option<Roots> = self.get(key::ROOTS)?;
        Ok(roots.map_or_else(Vec::new, |roots| roots.0))
    }

    /// The component with this serial number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn with_serial(&self, serial: &str) -> Result<Option<Cid>, Error> {
        let found = self.view().get(&key::serial(serial))?;
        Ok(found.and_then(|cid| cid.try_into().ok()).map(Cid))
    }

    /// What waits for a component, or for it to ask in another one's place, oldest first.
    ///
    /// # Errors
    /// [`Error`].
    pub fn queue_of(&self, cid: &Cid) -> Result<Vec<(QueueId, Queued)>, Error> {
        let list: Option<Queue> = self.get(&key::queue_of(cid))?;
        let mut found = Vec::new();
        for id in list.map_or_else(Vec::new, |l| l.0) {
            found.extend(self.queued(&id)?.map(|queued| (id, queued)));
        }
        Ok(found)
    }

    /// A component that is known by its commitment only, and whether it is withdrawn at the time of the last block.
    ///
    /// # Errors
    /// [`Error`].
    pub fn anonymous(&self, component: &Digest) -> Result<Option<(AnonymousComponent, bool)>, Error> {
        let Some(found) = self.get(&key::anonymous(component))? else { return Ok(None) };
        let withdrawn = anonymous::withdrawn(&self.view(), component, &found, self.tip().time_ms)?;
        Ok(Some((found, withdrawn)))
    }

    /// The authorisation of a committed component for another one, in force or not.
    ///
    /// # Errors
    /// [`Error`].
    pub fn anonymous_authorization(&self, id: &Digest) -> Result<Option<AnonymousAuthorization>, Error> {
        self.get(&key::anonymous_pair(id))
    }

    /// What a commitment was opened to.
    ///
    /// # Errors
    /// [`Error`].
    pub fn opened(&self, commitment: &Digest) -> Result<Option<Opened>, Error> {
        self.get(&key::opened(commitment))
    }

    /// Whether the committed component `a` lets itself be paired with `b` (L140), as far as `b` is trusted to operate: known
    /// once its commitment was opened to a component that was judged.
    ///
    /// # Errors
    /// [`Error`].
    pub fn anonymously_authorized(
        &self,
        [a, b]: [&Digest; 2],
    ) -> Result<(Option<u32>, Result<AnonymousAuthorization, Denied>), Error> {
        let (now_ms, chain_id) = (self.tip().time_ms, self.tip().chain_id);
        let mut trust_ppm = None;
        if let Some(opened) = self.opened(b)? {
            let weights = self.params()?.trust;
            let cid = Cid::of(&opened.value);
            let known = standing::component(&self.view(), &weights, &cid, TrustContext::Operation, now_ms)?;
            trust_ppm = known.map(|s| s.score.get());
        }
        Ok((trust_ppm, anonymous::check(&self.view(), (&chain_id, a, b), now_ms, trust_ppm)?))
    }

    /// What is set of a pack, or was reported, by the number of the parameter.
    ///
    /// # Errors
    /// [`Error`].
    pub fn settings_of(&self, cid: &Cid) -> Result<Vec<(u8, Setting)>, Error> {
        self.scan_ids(&key::settings_of(cid), |[parameter]: [u8; 1]| parameter)
    }
}
