//! Pages of what belongs to a component and of the market: the same at each kept height, by spans of any length, and whether a
//! ledger had its indexes from the start or gets them when it is opened.
//!
//! Rule L259.

use crate::world;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use lct::{
    id::{Cid, Role},
    trade::{Terms, TradeId, What},
};
use ledger::{records::Offer, tx::Body};
use node::{Chain, ReadOnly, Snapshot, Span, engine::solo::Solo};
use redb::{Database, TableDefinition, TableHandle};
use world::*;

const CLOCK: u64 = START_MS + 600_000;
/// Blocks, each of which begins with one offer.
const BLOCKS: u8 = 140;

type Offers = Vec<(TradeId, Offer)>;

/// Publishes an offer a block of either side and of few prices, withdraws every fifth, lets every third end soon, and hands a pack
/// over in the middle.
fn trade(dir: &Path) -> (Arc<Chain>, BTreeMap<u64, Offers>) {
    let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let submit = |body: Body| {
        let authority = key("authority");
        let nonce = chain.next_nonce(&authority.public()).unwrap();
        chain.submit(tx(&authority, nonce, body)).unwrap();
    };
    let packs = ["pack-1", "pack-2"];
    submit(register("app-1", Role::App));
    for pack in packs {
        submit(register(pack, Role::Pack));
        submit(bind(("app-1", Role::App), (pack, Role::Pack)));
        submit(pair("app-1", pack, 100 + pack.as_bytes()[5]));
        submit(transfer_with(&first_hop(pack, "owner"), [&key("batch"), &key("owner")]));
    }
    engine.cut(CLOCK).unwrap();
    let mut expected: BTreeMap<TradeId, Offer> = BTreeMap::new();
    let mut at_height = BTreeMap::new();
    for n in 1..=BLOCKS {
        let now_ms = CLOCK + u64::from(n) * 1000;
        let pack = packs[usize::from(n % 2)];
        let life_ms = if n % 3 == 0 { 7_000 } else { 3_600_000 };
        let terms =
            Terms { mwh: 10, least: 1, price: u64::from(n % 7), from_ms: 0, until_ms: now_ms + life_ms };
        let what = if n % 4 == 0 { What::OfferCapacity(terms) } else { What::OfferEnergy(terms) };
        if n <= 70 || pack == "pack-2" {
            submit(order_with(&order(n, pack, what), &key("owner")));
        }
        if n % 5 == 0 && n <= 70 {
            submit(order_with(&order(n - 1, packs[usize::from((n - 1) % 2)], What::Withdraw), &key("owner")));
        }
        if n == 70 {
            let hops = chain.read().unwrap().hops_of(&Cid::of("pack-1")).unwrap();
            let next = lct::ownership::Transfer {
                hop: 2,
                previous: hops[0].statement,
                from: key("owner").public(),
                to: key("other").public(),
                ..first_hop("pack-1", "owner")
            };
            submit(transfer_with(&next, [&key("owner"), &key("other")]));
        }
        engine.cut(now_ms).unwrap();
        let snapshot = chain.read().unwrap();
        if let Some(offer) = snapshot.offer(&TradeId([n; 16])).unwrap() {
            expected.insert(TradeId([n; 16]), offer);
        }
        // What stands, found without any index.
        let mut standing = Vec::new();
        for id in expected.keys() {
            let offer = snapshot.offer(id).unwrap().unwrap();
            let owner = snapshot.ownership(&offer.cid).unwrap().map(|o| o.owner);
            if offer.stands(owner.as_ref()) && snapshot.tip().time_ms < offer.until_ms {
                standing.push((*id, offer));
            }
        }
        standing.sort_by_key(|(id, offer)| (offer.price, id.0));
        at_height.insert(snapshot.tip().height, standing);
    }
    (chain, at_height)
}

/// The market of a snapshot in spans of `limit`.
fn told(snapshot: &Snapshot<'_>, capacity: Option<bool>, limit: usize) -> Offers {
    let mut all = Offers::new();
    loop {
        let after = all.last().map(|(id, offer)| (offer.price, *id));
        let more = snapshot.market(capacity, &Span::of(after, limit)).unwrap();
        assert!(more.len() <= limit);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

fn check(snapshot: &Snapshot<'_>, standing: &Offers) {
    for limit in [1, 2, 7, usize::MAX] {
        assert_eq!(&told(snapshot, None, limit), standing, "at height {} by {limit}", snapshot.tip().height);
    }
    for side in [false, true] {
        let of_side = standing.iter().filter(|(_, offer)| offer.capacity == side).cloned();
        assert_eq!(told(snapshot, Some(side), 3), of_side.collect::<Offers>());
    }
}

#[test]
fn the_market_of_each_kept_height_in_spans_of_any_length() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, at_height) = trade(dir.path());
    let tip = chain.tip().height;
    let standing = &at_height[&tip];
    assert!(
        standing.len() > 20 && standing.iter().all(|(_, o)| o.cid == Cid::of("pack-2")),
        "the other was handed over"
    );
    for (height, standing) in at_height.range(tip - 100..) {
        check(&chain.read().unwrap().at(*height).unwrap(), standing);
    }
    // Offers that ended long ago are in the way of nobody: they left the index, not the state.
    drop(chain);
    let db = Database::open(dir.path().join("ledger.redb")).unwrap();
    let market: TableDefinition<'_, (u8, u64, &[u8]), u64> = TableDefinition::new("market");
    let kept: Vec<u64> = {
        use redb::{ReadableDatabase, ReadableTable};
        let table = db.begin_read().unwrap().open_table(market).unwrap();
        table.iter().unwrap().map(|row| row.unwrap().1.value()).collect()
    };
    let oldest_ms = CLOCK + u64::from(BLOCKS - 100) * 1000;
    assert!(kept.iter().all(|until_ms| *until_ms > oldest_ms) && kept.len() > standing.len());
}

#[test]
fn a_ledger_without_indexes_gets_them_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, at_height) = trade(dir.path());
    let tip = chain.tip().height;
    let sides = |snapshot: &Snapshot<'_>| {
        let pack = Cid::of("pack-1");
        let offers: Vec<_> = snapshot.offers_of(&pack, &Span::all()).unwrap();
        let half = snapshot.offers_of(&pack, &Span::of(None, offers.len() / 2)).unwrap();
        let after = half.last().map(|(id, _)| *id);
        let rest = snapshot.offers_of(&pack, &Span::of(after, usize::MAX)).unwrap();
        assert_eq!([half, rest].concat(), offers);
        (
            snapshot.lcts_of(&pack).unwrap(),
            snapshot.bindings_of(&pack).unwrap(),
            snapshot.pairings_of(&pack).unwrap(),
            offers,
        )
    };
    let before = sides(&chain.read().unwrap());
    assert_eq!((before.0.len(), before.1.len(), before.2.len(), before.3.len()), (1, 1, 1, 35));
    let app = chain.read().unwrap().bindings_of(&Cid::of("app-1")).unwrap();
    assert_eq!(app.len(), 2, "both sides of a binding find it");
    // Of an offer that came later nothing is known before.
    let then = chain.read().unwrap().at(tip - 100).unwrap();
    assert!(then.offers_of(&Cid::of("pack-1"), &Span::all()).unwrap().len() < before.3.len());
    drop(then);
    drop(chain);
    {
        let db = Database::open(dir.path().join("ledger.redb")).unwrap();
        let txn = db.begin_write().unwrap();
        let names = ["sides", "market", "ends of offers"];
        let tables: Vec<_> = txn.list_tables().unwrap().filter(|t| names.contains(&t.name())).collect();
        assert_eq!(tables.len(), names.len());
        for table in tables {
            assert!(txn.delete_table(table).unwrap());
        }
        let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
        assert!(txn.open_table(meta).unwrap().remove("indexes").unwrap().is_some());
        txn.commit().unwrap();
    }
    // Who reads writes nothing; who opens it to run it makes them.
    let file = || std::fs::read(dir.path().join("ledger.redb")).unwrap();
    let unindexed = file();
    assert!(matches!(ReadOnly::open(dir.path(), None), Err(node::Error::Unindexed(_))));
    assert!(file() == unindexed, "a reader changed it");
    drop(Chain::open(dir.path(), &genesis()).unwrap());
    let reader = ReadOnly::open(dir.path(), None).unwrap();
    assert_eq!(sides(&reader.read().unwrap()), before);
    check(&reader.read().unwrap(), &at_height[&tip]);
}

#[test]
fn cycles_and_events_in_spans_forward_and_backward() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Arc::new(Chain::open(dir.path(), &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let mut nonce = 0;
    let mut send = |body: Body| {
        nonce += 1;
        chain.submit(tx(&key("authority"), nonce, body)).unwrap();
        engine.cut(CLOCK).unwrap();
    };
    send(register("app-1", Role::App));
    send(register("pack-1", Role::Pack));
    send(bind(("app-1", Role::App), ("pack-1", Role::Pack)));
    let pack = Cid::of("pack-1");
    let mut heights = Vec::new();
    for cycle in 1..=9 {
        for seq in 1..=2 {
            let event = energy(lct::energy::EnergyKind::Charge, cycle, seq, 10);
            send(energy_with(&event, &bound_key("pack-1", "app-1")));
        }
        heights.push(chain.tip().height);
    }
    let numbers = |snapshot: &Snapshot<'_>, span: Span<u32>| -> Vec<u32> {
        snapshot.cycles_of(&pack, &span).unwrap().iter().map(|row| row.number).collect()
    };
    let now = chain.read().unwrap();
    assert_eq!(numbers(&now, Span::all()), (1..=9).collect::<Vec<_>>());
    assert_eq!(numbers(&now, Span::of(Some(3), 2)), [4, 5]);
    assert_eq!(numbers(&now, Span::of(Some(9), 2)), []);
    assert_eq!(numbers(&now, Span::back(None, 3)), [9, 8, 7]);
    assert_eq!(numbers(&now, Span::back(Some(3), 5)), [2, 1]);
    assert_eq!(numbers(&now, Span::back(Some(1), 5)), []);
    // As it was: later cycles are not there, and one that went on has the sums of then.
    let then = chain.read().unwrap().at(heights[3]).unwrap();
    assert_eq!(numbers(&then, Span::of(Some(2), 9)), [3, 4]);
    assert_eq!(numbers(&then, Span::back(None, 3)), [4, 3, 2]);
    let half = chain.read().unwrap().at(heights[3] - 1).unwrap();
    let last = half.cycles_of(&pack, &Span::back(None, 1)).unwrap();
    assert_eq!((last[0].number, last[0].cycle.events), (4, 1));
    let seqs = |snapshot: &Snapshot<'_>, span: Span<u32>| -> Vec<u32> {
        snapshot.events_in(&pack, 4, &span).unwrap().iter().map(|(seq, _)| *seq).collect()
    };
    assert_eq!((seqs(&half, Span::all()), seqs(&then, Span::all())), (vec![1], vec![1, 2]));
    assert_eq!((seqs(&now, Span::of(Some(1), 9)), seqs(&now, Span::of(None, 1))), (vec![2], vec![1]));
}
