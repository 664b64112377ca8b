//! Energy of packs: accounts, transfers, offers, settlements.

use lct::trade::TradeId;
use ledger::{
    records::{FLOWS, Offer, Settlement, Transfer},
    state::View,
    tx::Subject,
};

use super::*;

impl Snapshot<'_> {
    /// A pack's energy account.
    ///
    /// # Errors
    /// [`Error`].
    pub fn pool(&self, cid: &Cid) -> Result<Option<Pool>, Error> {
        self.get(&key::pool(cid))
    }

    /// All energy accounts.
    ///
    /// # Errors
    /// [`Error`].
    pub fn pools(&self) -> Result<Vec<(Cid, Pool)>, Error> {
        self.scan_ids(key::POOLS, Cid)
    }

    /// A transfer by its identity.
    ///
    /// # Errors
    /// [`Error`].
    pub fn transfer(&self, id: &TradeId) -> Result<Option<Transfer>, Error> {
        self.get(&key::energy_transfer(id))
    }

    /// An offer by its identity, also one that ended.
    ///
    /// # Errors
    /// [`Error`].
    pub fn offer(&self, id: &TradeId) -> Result<Option<Offer>, Error> {
        self.get(&key::offer(id))
    }

    /// The last transfers in which a pack has a part, at most [`FLOWS`], newest first (L211), with what is owed for them.
    ///
    /// # Errors
    /// [`Error`].
    pub fn transfers_of(&self, cid: &Cid) -> Result<Vec<(TradeId, Transfer, Option<Settlement>)>, Error> {
        let begun = self.pool(cid)?.map_or(0, |pool| pool.transfers);
        let mut found = Vec::new();
        for number in (begun.saturating_sub(FLOWS)..begun).rev() {
            let id = self.view().get(&key::flow(cid, number % FLOWS))?;
            let Some(id) = id.and_then(|id| id.try_into().ok()).map(TradeId) else { continue };
            let Some(transfer) = self.get(&key::energy_transfer(&id))? else { continue };
            found.push((id, transfer, self.get(&key::settlement(&Subject::Transfer(id)))?));
        }
        Ok(found)
    }

    /// Every offer about a pack, by id.
    ///
    /// # Errors
    /// [`Error`].
    pub fn offers_of(&self, cid: &Cid) -> Result<Vec<(TradeId, Offer)>, Error> {
        let mut offers = self.scan_ids(key::OFFERS, TradeId)?;
        offers.retain(|(_, offer): &(_, Offer)| offer.cid == *cid);
        Ok(offers)
    }
}
