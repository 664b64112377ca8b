//! Energy of packs: accounts, transfers, offers, settlements.

use lct::trade::TradeId;
use ledger::{
    records::{FLOWS, Objection, Offer, Settlement, Transfer},
    state::View,
    tx::Subject,
};

use super::*;

/// What is owed for a cycle or transfer, and who objected to that.
pub type Owed = (Option<Settlement>, Option<Objection>);

/// An energy cycle of a pack.
pub struct CycleRow {
    /// Its number.
    pub number: u32,
    /// Its sums.
    pub cycle: Cycle,
    /// What is owed for it.
    pub owed: Owed,
}

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

    /// Every energy cycle of a pack, by number, with its settlement and the objection to it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn cycles_of(&self, cid: &Cid) -> Result<Vec<CycleRow>, Error> {
        let rows = self.scan_ids(&key::cycles_of(cid), u32::from_be_bytes)?.into_iter();
        let row = |(number, cycle)| -> Result<CycleRow, Error> {
            let subject = Subject::Cycle { cid: *cid, cycle: number };
            Ok(CycleRow { number, cycle, owed: self.owed(&subject)? })
        };
        rows.map(row).collect()
    }

    /// The settlement of a cycle or transfer, and the objection to it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn owed(&self, subject: &Subject) -> Result<Owed, Error> {
        Ok((self.get(&key::settlement(subject))?, self.get(&key::objection(subject))?))
    }

    /// The recorded energy events of a cycle, by number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn events_in(&self, cid: &Cid, cycle: u32) -> Result<Vec<(u32, EnergyRecord)>, Error> {
        self.scan_ids(&key::energy_in(cid, cycle), u32::from_be_bytes)
    }

    /// Every offer, by id.
    ///
    /// # Errors
    /// [`Error`].
    pub fn offers(&self) -> Result<Vec<(TradeId, Offer)>, Error> {
        self.scan_ids(key::OFFERS, TradeId)
    }

    /// Every offer about a pack, by id.
    ///
    /// # Errors
    /// [`Error`].
    pub fn offers_of(&self, cid: &Cid) -> Result<Vec<(TradeId, Offer)>, Error> {
        let mut offers = self.offers()?;
        offers.retain(|(_, offer)| offer.cid == *cid);
        Ok(offers)
    }
}
