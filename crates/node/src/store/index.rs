//! Indexes beside the state, so that what belongs to a component and what the market has is found without reading everybody's.
//!
//! They follow from the state: nothing proves them, who finds a key by them reads the state there, and where they are missing,
//! or did not follow the last block, they are made.

use lct::id::Cid;
use ledger::{
    block::Block,
    codec::Canonical,
    records::{Binding, Lct, Offer, Pairing, key},
    state::Writes,
};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{BLOCKS, Bytes, Error, META, STATE, Store, changes};

/// What a component is a side of: its cid, and the state's key of an LCT, a binding, a pairing or an offer.
pub(crate) const SIDES: TableDefinition<'_, Bytes, ()> = TableDefinition::new("sides");
/// Offers that may stand: 1 for capacity, price, id; its end. One that ended stays as long as a state is kept in which it had not.
pub(crate) const MARKET: TableDefinition<'_, (u8, u64, Bytes), u64> = TableDefinition::new("market");
/// The same by their ends.
const ENDS: TableDefinition<'_, (u64, u8, u64, Bytes), ()> = TableDefinition::new("ends of offers");
/// Which indexes a database has, and after which block.
const INDEXES: &str = "indexes";
const VERSION: u8 = 2;

/// What says that the indexes of this version are those of the state after block `height`. The height is there because a build
/// that knows no indexes stores blocks without it: what they lack then would be missing for good.
fn mark(height: u64) -> Vec<u8> {
    [&[VERSION][..], &height.to_be_bytes()].concat()
}

/// Notes that the indexes followed block `height`. Those that lacked something before go on lacking it, and go on saying so.
pub(super) fn advance(meta: &mut Table<'_, &'static str, Bytes>, height: u64) -> Result<(), redb::Error> {
    let before = mark(height.saturating_sub(1));
    let whole = meta.get(INDEXES)?.is_some_and(|found| found.value() == before.as_slice());
    if whole {
        meta.insert(INDEXES, mark(height).as_slice())?;
    }
    Ok(())
}

/// Entries of the state that are indexed together when indexes are made: each time the tables are opened anew.
const BATCH: usize = 4096;

pub(super) fn unreadable(e: impl ToString) -> redb::Error {
    redb::Error::Corrupted(e.to_string())
}

/// Of whom an entry of the state is.
fn sides(at: &[u8], value: &[u8]) -> Result<Vec<Cid>, redb::Error> {
    if at.starts_with(key::LCTS) {
        let lct = Lct::from_bytes(value).map_err(unreadable)?;
        return Ok(vec![lct.a, lct.b]);
    }
    if at.starts_with(key::BINDINGS) {
        let binding = Binding::from_bytes(value).map_err(unreadable)?;
        return Ok(vec![binding.a, binding.b]);
    }
    if at.starts_with(key::PAIRINGS) {
        let pairing = Pairing::from_bytes(value).map_err(unreadable)?;
        return Ok(vec![pairing.a, pairing.b]);
    }
    Ok(Vec::new())
}

/// Follows what a block wrote. None of these entries ever leaves the state.
pub(super) fn follow(txn: &WriteTransaction, writes: &Writes) -> Result<(), redb::Error> {
    let mut table = txn.open_table(SIDES)?;
    for prefix in [key::LCTS, key::BINDINGS, key::PAIRINGS] {
        for (at, value) in put_under(writes, prefix) {
            for Cid(cid) in sides(at, value)? {
                table.insert([&cid, at].concat().as_slice(), ())?;
            }
        }
    }
    let (mut market, mut ends) = (txn.open_table(MARKET)?, txn.open_table(ENDS)?);
    for (at, value) in put_under(writes, key::OFFERS) {
        let offer = Offer::from_bytes(value).map_err(unreadable)?;
        let id = at.strip_prefix(key::OFFERS).unwrap_or_default();
        table.insert([&offer.cid.0, at].concat().as_slice(), ())?;
        let (side, price, until) = (u8::from(offer.capacity), offer.price, offer.until_ms);
        if offer.withdrawn_by == [0; 32] {
            market.insert((side, price, id), until)?;
            ends.insert((until, side, price, id), ())?;
        } else {
            market.remove((side, price, id))?;
            ends.remove((until, side, price, id))?;
        }
    }
    Ok(())
}

/// What a block put under keys that begin with `prefix`.
fn put_under<'a>(writes: &'a Writes, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let entries = writes.range(prefix.to_vec()..).take_while(move |(at, _)| at.starts_with(prefix));
    entries.filter_map(|(at, value)| Some((at.as_slice(), value.as_deref()?)))
}

/// Takes offers from the market that had ended by the oldest state that is kept, which is that of height `oldest`.
pub(super) fn forget(txn: &WriteTransaction, now_ms: u64, oldest: u64) -> Result<(), redb::Error> {
    let mut ends = txn.open_table(ENDS)?;
    if ends.first()?.is_none_or(|(end, _)| end.value().0 > now_ms) {
        return Ok(());
    }
    let blocks = txn.open_table(BLOCKS)?;
    let Some(block) = blocks.get(oldest)? else { return Ok(()) };
    let then_ms = Block::from_bytes(block.value()).map_err(unreadable)?.header.time_ms;
    let mut market = txn.open_table(MARKET)?;
    let ended = ..(then_ms.saturating_add(1), 0, 0, &[][..]);
    for entry in ends.extract_from_if::<(u64, u8, u64, &[u8]), _>(ended, |_, ()| true)? {
        let (end, _) = entry?;
        let (_, side, price, id) = end.value();
        market.remove((side, price, id))?;
    }
    Ok(())
}

impl Store {
    /// Whether the indexes of this version are there, and those of the last block.
    pub(super) fn is_indexed(&self) -> Result<bool, Error> {
        let txn = self.begin_read()?;
        let expected = mark(self.head(&txn)?.tip.height);
        let meta = txn.open_table(META).map_err(|e| self.fail(e))?;
        let found = meta.get(INDEXES).map_err(|e| self.fail(e))?;
        Ok(found.is_some_and(|found| found.value() == expected.as_slice()))
    }

    /// Makes the indexes from the state. Of those that were there nothing stays but changes of tensors, which the state does not
    /// tell all.
    pub(super) fn make_indexes(&self) -> Result<(), Error> {
        let read = self.begin_read()?;
        let height = self.head(&read)?.tip.height;
        self.write(|txn| {
            let state = read.open_table(STATE)?;
            txn.delete_table(SIDES)?;
            txn.delete_table(MARKET)?;
            txn.delete_table(ENDS)?;
            let mut batch = Writes::new();
            for prefix in [key::LCTS, key::BINDINGS, key::PAIRINGS, key::OFFERS, key::TENSORS] {
                for entry in state.range(prefix..)? {
                    let (at, value) = entry?;
                    if !at.value().starts_with(prefix) {
                        break;
                    }
                    if prefix == key::TENSORS {
                        changes::take_in(txn, at.value(), value.value())?;
                        continue;
                    }
                    batch.insert(at.value().to_vec(), Some(value.value().to_vec()));
                    if batch.len() == BATCH {
                        follow(txn, &std::mem::take(&mut batch))?;
                    }
                }
            }
            // The rest; a state without any of these gets the tables too.
            follow(txn, &batch)?;
            changes::follow(txn, 0, &[])?;
            txn.open_table(META)?.insert(INDEXES, mark(height).as_slice())?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Handle,
            tests::{genesis, store_writes},
        },
        *,
    };

    fn offer(number: u8) -> (Vec<u8>, Option<Vec<u8>>) {
        let offer = Offer {
            cid: Cid::of("pack-1"),
            capacity: false,
            owner: genesis().authorities.swap_remove(0),
            mwh: 10,
            least: 1,
            price: number.into(),
            from_ms: 0,
            until_ms: 1_000_000,
            left: 10,
            published_by: [number; 32],
            withdrawn_by: [0; 32],
        };
        ([key::OFFERS, &[number; 32]].concat(), Some(offer.to_bytes()))
    }

    /// How much each index lists, and the prices of the market.
    fn listed(store: &Store) -> (usize, usize, Vec<u64>) {
        let txn = store.begin_read().unwrap();
        let sides = txn.open_table(SIDES).unwrap().iter().unwrap().count();
        let ends = txn.open_table(ENDS).unwrap().iter().unwrap().count();
        let market = txn.open_table(MARKET).unwrap();
        (sides, ends, market.iter().unwrap().map(|entry| entry.unwrap().0.value().1).collect())
    }

    #[test]
    fn indexes_that_a_block_did_not_reach_are_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut head) = Store::open(dir.path(), &genesis()).unwrap();
        for number in 1..=3 {
            head = store_writes(&store, &head, Writes::from([offer(number)])).unwrap();
        }
        assert!(store.is_indexed().unwrap());
        assert_eq!(listed(&store), (3, 3, vec![1, 2, 3]));
        {
            // As if another build had stored the last two, and listed an offer that the state does not hold.
            let Handle::Write(db) = &store.handle else { panic!("it is open for writing") };
            let txn = db.begin_write().unwrap();
            txn.delete_table(SIDES).unwrap();
            txn.open_table(MARKET).unwrap().insert((0_u8, 9_u64, &[9_u8][..]), 1_u64).unwrap();
            txn.open_table(META).unwrap().insert(INDEXES, mark(1).as_slice()).unwrap();
            txn.commit().unwrap();
        }
        head = store_writes(&store, &head, Writes::from([offer(4)])).unwrap();
        assert!(!store.is_indexed().unwrap(), "a block more does not make them whole");
        drop(store);
        let (store, found) = Store::open(dir.path(), &genesis()).unwrap();
        assert_eq!(found, head);
        assert!(store.is_indexed().unwrap());
        assert_eq!(listed(&store), (4, 4, vec![1, 2, 3, 4]));
    }
}
