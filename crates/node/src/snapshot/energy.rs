//! Energy of packs: accounts, transfers, offers, settlements.

use lct::trade::TradeId;
use ledger::{
    records::{Cycle, FLOWS, NOBODY, Objection, Offer, Settlement, Transfer},
    rules::cycle_owner,
    state::View,
    tx::Subject,
};

use super::*;
use crate::store::MARKET;

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

    /// An energy cycle of a pack.
    ///
    /// # Errors
    /// [`Error`].
    pub fn cycle(&self, cid: &Cid, cycle: u32) -> Result<Option<Cycle>, Error> {
        self.get(&key::cycle(cid, cycle))?.map(|cycle| self.owned(cid, cycle)).transpose()
    }

    /// A cycle with its owner, also where its close does not say whose it is (L226).
    fn owned(&self, cid: &Cid, cycle: Cycle) -> Result<Cycle, Error> {
        let owner = cycle_owner(&self.view(), cid, &cycle)?;
        let owner = if cycle.closed_ms > 0 { owner } else { NOBODY };
        Ok(Cycle { owner: Some(owner), ..cycle })
    }

    /// Energy cycles of a pack, by number, with what is owed for each.
    ///
    /// # Errors
    /// [`Error`].
    pub fn cycles_of(&self, cid: &Cid, span: &Span<u32>) -> Result<Vec<CycleRow>, Error> {
        let after = span.after.map(u32::to_be_bytes);
        let rows = self.rows_of(&key::cycles_of(cid), &span.at(after.as_ref().map(|a| a.as_slice())))?;
        let row = |(number, cycle)| -> Result<CycleRow, Error> {
            let subject = Subject::Cycle { cid: *cid, cycle: number };
            Ok(CycleRow { number, cycle: self.owned(cid, cycle)?, owed: self.owed(&subject)? })
        };
        self.with_ids(rows, u32::from_be_bytes)?.into_iter().map(row).collect()
    }

    /// The settlement of a cycle or transfer, and the objection to it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn owed(&self, subject: &Subject) -> Result<Owed, Error> {
        Ok((self.get(&key::settlement(subject))?, self.get(&key::objection(subject))?))
    }

    /// Recorded energy events of a cycle, by number.
    ///
    /// # Errors
    /// [`Error`].
    pub fn events_in(
        &self,
        cid: &Cid,
        cycle: u32,
        span: &Span<u32>,
    ) -> Result<Vec<(u32, EnergyRecord)>, Error> {
        let after = span.after.map(u32::to_be_bytes);
        let rows =
            self.rows_of(&key::energy_in(cid, cycle), &span.at(after.as_ref().map(|a| a.as_slice())))?;
        self.with_ids(rows, u32::from_be_bytes)
    }

    /// Offers about a pack, by id, those that ended too.
    ///
    /// # Errors
    /// [`Error`].
    pub fn offers_of(&self, cid: &Cid, span: &Span<TradeId>) -> Result<Vec<(TradeId, Offer)>, Error> {
        let span = Span::of(span.after.map(|id| id.0), span.limit);
        self.sides_of(cid, key::OFFERS, TradeId, &span)
    }

    /// The offers of everybody that stand and have not ended, the cheapest first, then by id; of energy, of capacity (`true`),
    /// or of both. A cursor is the price and id of an offer, whether it stands or not. The span is never backward.
    ///
    /// # Errors
    /// [`Error`].
    pub fn market(
        &self,
        capacity: Option<bool>,
        span: &Span<(u64, TradeId)>,
    ) -> Result<Vec<(TradeId, Offer)>, Error> {
        let table = self.now.txn.open_table(MARKET).map_err(|e| self.store.fail(e))?;
        let mut found = BTreeMap::new();
        let after = span.after.map(|(price, id)| (price, id.0));
        for side in [false, true] {
            if capacity.is_some_and(|capacity| capacity != side) {
                continue;
            }
            let (side, mut told) = (u8::from(side), 0);
            let begin = match &after {
                None => Bound::Included((side, 0, &[][..])),
                Some((price, id)) => Bound::Excluded((side, *price, id.as_slice())),
            };
            let end = Bound::Excluded((side + 1, 0, &[][..]));
            let range = table.range::<(u8, u64, &[u8])>((begin, end)).map_err(|e| self.store.fail(e))?;
            for entry in range {
                if told == span.limit {
                    break;
                }
                let (at, until_ms) = entry.map_err(|e| self.store.fail(e))?;
                if until_ms.value() <= self.tip().time_ms {
                    continue;
                }
                let (_, price, id) = at.value();
                let id = id.try_into().map_err(|_| self.store.damaged("an offer has no id"))?;
                if let Some(offer) = self.offer(&TradeId(id))?
                    && self.is_open(&offer)?
                {
                    found.insert((price, id), offer);
                    told += 1;
                }
            }
        }
        // Offers that were withdrawn since this snapshot are in the market no more.
        if let Some((_, undo)) = &self.undo {
            for id in undo.under(key::OFFERS).map_err(|e| self.store.fail(e))?.into_keys() {
                let id = id.try_into().map_err(|_| self.store.damaged("an offer has no id"))?;
                let Some(offer) = self.offer(&TradeId(id))? else { continue };
                let at = (offer.price, id);
                let asked = capacity.is_none_or(|capacity| capacity == offer.capacity)
                    && after.is_none_or(|after| at > after);
                if asked && self.is_open(&offer)? {
                    found.insert(at, offer);
                }
            }
        }
        Ok(found.into_iter().map(|((_, id), offer)| (TradeId(id), offer)).take(span.limit).collect())
    }

    /// Whether an offer stands and has not ended at this block's time (L218).
    fn is_open(&self, offer: &Offer) -> Result<bool, Error> {
        let owner = self.ownership(&offer.cid)?.map(|o| o.owner);
        Ok(offer.stands(owner.as_ref()) && self.tip().time_ms < offer.until_ms)
    }
}
