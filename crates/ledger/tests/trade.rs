//! Energy between packs: transfers, offers, settlement, objections. Every rejection in its order, and conservation.
//!
//! Rules L211 to L219 and L224.

use crate::world;

use lct::{
    energy::EnergyKind,
    id::{Cid, PairingId, Role},
    lifecycle::State,
    trade::{Acceptance, Give, Order, Quote, Receipt, Terms, TradeId, What},
};
use ledger::{
    records::{
        Component, Cycle, NOBODY, Objection, ObjectionState, Offer, Pool, Settlement,
        SigningKey as KeyRecord, Status, Totals, Transfer, TransferState, key as state_key,
    },
    reject::Rejection::{self, *},
    state::{Overlay, View, load},
    tx::{Body, Subject, Target},
};
use proptest::{prelude::*, test_runner::RngSeed};
use world::{bench::*, market::*, *};

fn pool(bench: &Bench, pack: &str) -> Pool {
    load(&bench.state, &state_key::pool(&Cid::of(pack))).unwrap().unwrap()
}

fn offered(bench: &Bench, id: u8) -> Offer {
    load(&bench.state, &state_key::offer(&TradeId([id; 16]))).unwrap().unwrap()
}

fn transfer(bench: &Bench, id: u8) -> Transfer {
    load(&bench.state, &state_key::energy_transfer(&TradeId([id; 16]))).unwrap().unwrap()
}

fn settled(bench: &Bench, subject: &Subject) -> Settlement {
    load(&bench.state, &state_key::settlement(subject)).unwrap().unwrap()
}

/// (free, locked, room) of both packs.
fn balances(bench: &Bench) -> [(u64, u64, u64); 2] {
    ["pack-1", "pack-2"].map(|pack| {
        let p = pool(bench, pack);
        assert!(p.conserves(), "{p:?}");
        (p.atp, p.locked, p.adp)
    })
}

#[test]
fn energy_is_locked_and_goes_where_both_packs_say() {
    let mut bench = market();
    assert_eq!(balances(&bench), [(250_000, 0, 250_000), (0, 0, 500_000)]);
    bench.accept(send(&bench, 1, 30_000));
    assert_eq!(balances(&bench), [(220_000, 30_000, 250_000), (0, 0, 500_000)]);
    // 25 Wh left the first pack, 24 reached the second, 5 are free again.
    bench.accept(receive(&flowed(1, 25_000, 24_000)));
    assert_eq!(balances(&bench), [(225_000, 0, 275_000), (24_000, 0, 476_000)]);
    let totals: Totals = load(&bench.state, state_key::TOTALS).unwrap().unwrap();
    assert_eq!((totals.atp, totals.locked, totals.lost, totals.transfers), (249_000, 0, 1_000, 1));
    let t = transfer(&bench, 1);
    assert_eq!((t.state, t.given, t.received), (TransferState::Done, 25_000, 24_000));
    assert_eq!((t.payer, t.payee), (key("owner-2").public(), key("owner-1").public()));
    // Both have it in their history of flows.
    for pack in ["pack-1", "pack-2"] {
        let id = bench.state.get(&state_key::flow(&Cid::of(pack), 0)).unwrap();
        assert_eq!(id, Some(vec![1; 16]), "{pack}");
    }
}

#[test]
pub fn what_is_not_delivered_in_time_is_free_again() {
    let mut bench = market();
    bench.accept(send(&bench, 1, 30_000));
    let release = || Body::EnergyRelease { transfer: TradeId([1; 16]) };
    bench.time_ms += HOUR_MS - 1;
    bench.refuse("not over", release(), TransferRunning);
    bench.time_ms += 1;
    bench.refuse("over", receive(&flowed(1, 1, 1)), TransferExpired);
    bench.accept(release());
    assert_eq!(balances(&bench), [(250_000, 0, 250_000), (0, 0, 500_000)]);
    assert_eq!(transfer(&bench, 1).state, TransferState::Released);
    bench.refuse("twice", release(), TransferEnded);
    bench.refuse("unknown", Body::EnergyRelease { transfer: TradeId([9; 16]) }, TransferUnknown);
}

#[test]
pub fn two_packs_are_made_equally_full() {
    let mut bench = market();
    let balance = |bench: &Bench, id: u8, most| {
        order_with(&order(id, "pack-1", What::Balance(give(bench, most))), &key("owner-1"))
    };
    bench.accept(balance(&bench, 1, 50_000));
    assert_eq!(transfer(&bench, 1).locked, 50_000, "at most what was said");
    bench.accept(receive(&flowed(1, 50_000, 50_000)));
    bench.accept(balance(&bench, 2, u64::MAX));
    assert_eq!(transfer(&bench, 2).locked, 75_000, "200 and 50 of 500 become 125 each");
    bench.accept(receive(&flowed(2, 75_000, 75_000)));
    assert_eq!(balances(&bench), [(125_000, 0, 375_000), (125_000, 0, 375_000)]);
    bench.refuse("even", balance(&bench, 3, u64::MAX), TransferAmount);
}

/// What is locked is promised: neither a discharge nor an opening takes it.
#[test]
pub fn what_is_locked_stays() {
    let mut bench = market();
    bench.accept(send(&bench, 1, 240_000));
    let event = |kind, seq, mwh| energy_with(&energy(kind, 1, seq, mwh), &pack_key());
    bench.refuse("beyond the tolerance", event(EnergyKind::Discharge, 1, 61_000), EnergyAtp);
    bench.refuse("more than is not locked", event(EnergyKind::Charge, 1, 260_001), EnergyAdp);
    bench.accept(event(EnergyKind::Discharge, 1, 20_000));
    assert_eq!(pool(&bench, "pack-1").untracked_charged, 250_000 + 10_000);
    assert_eq!(balances(&bench)[0], (0, 240_000, 260_000));
    let empty = lct::energy::EnergyEvent { soc_ppm: 0, ..energy(EnergyKind::Opening, 2, 0, 0) };
    bench.accept(energy_with(&empty, &pack_key()));
    assert_eq!(balances(&bench)[0], (0, 240_000, 260_000));
    let full = lct::energy::EnergyEvent { soc_ppm: 1_000_000, ..energy(EnergyKind::Opening, 3, 0, 0) };
    bench.accept(energy_with(&full, &pack_key()));
    assert_eq!(balances(&bench)[0], (260_000, 240_000, 0));
}

/// The `n`-th row breaks its own check and those after it.
#[test]
pub fn order_rules() {
    let mut bench = market();
    bench.accept(register("pack-3", Role::Pack));
    bench.accept(bind(APP, ("pack-3", Role::Pack)));
    bench.accept(send(&bench, 1, 10));
    bench.time_ms += 1;
    let (gift, now) = (give(&bench, 10), bench.time_ms);
    let good = order(2, "pack-1", What::Transfer(gift));
    let with = |change: &dyn Fn(&mut Order, &mut Give)| {
        let (mut o, mut g) = (good, gift);
        change(&mut o, &mut g);
        Order { what: What::Transfer(g), ..o }
    };
    let owner = key("owner-1");
    let thief = key("thief");
    let mut cut = order_with(&good, &owner);
    if let Body::EnergyOrder { statement, .. } = &mut cut {
        statement.pop();
    }
    let late = until(&bench) + 23 * HOUR_MS + 1;
    let rows: [(&str, Body, Rejection); 15] = [
        ("cut", cut, StatementFormat),
        (
            "other chain, no pack",
            order_with(&with(&|o, _| (o.chain_id, o.cid) = ([0; 32], Cid::of("x"))), &thief),
            TradeChain,
        ),
        ("no pack", order_with(&with(&|o, _| o.cid = Cid::of("x")), &thief), TradePack),
        ("a module", order_with(&with(&|o, _| o.cid = Cid::of("module-1")), &thief), TradePack),
        ("no owner", order_with(&with(&|o, _| o.cid = Cid::of("pack-3")), &thief), TradeOwner),
        ("a thief, with a used id", order_with(&with(&|o, _| o.id = TradeId([1; 16])), &thief), TradeProof),
        (
            "used id, to itself",
            order_with(&with(&|o, g| (o.id, g.to) = (TradeId([1; 16]), o.cid)), &owner),
            TransferExists,
        ),
        (
            "to itself, without pairing",
            order_with(&with(&|o, g| (g.to, g.pairing) = (o.cid, PairingId([0; 16]))), &owner),
            TransferSelf,
        ),
        (
            "to a module, without pairing",
            order_with(&with(&|_, g| (g.to, g.pairing) = (Cid::of("module-1"), PairingId([0; 16]))), &owner),
            TransferPack,
        ),
        (
            "no such pairing, ended",
            order_with(&with(&|_, g| (g.pairing, g.until_ms) = (PairingId([0; 16]), 0)), &owner),
            TransferPairing,
        ),
        (
            "a pairing of others",
            order_with(&with(&|_, g| (g.pairing, g.until_ms) = (PairingId([1; 16]), 0)), &owner),
            TransferPairing,
        ),
        (
            "ends now, nothing to give",
            order_with(&with(&|_, g| (g.until_ms, g.mwh) = (now, 0)), &owner),
            TransferTime,
        ),
        ("too long", order_with(&with(&|_, g| (g.until_ms, g.mwh) = (late, 0)), &owner), TransferTime),
        ("nothing", order_with(&with(&|_, g| g.mwh = 0), &owner), TransferAmount),
        ("more than is free", order_with(&with(&|_, g| g.mwh = 249_991), &owner), TransferAtp),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    bench.accept(order_with(&with(&|_, g| (g.mwh, g.until_ms) = (249_990, late - 1)), &owner));

    // A pairing whose lease is over, and a pack that was withdrawn.
    let mut ended = market();
    ended.time_ms += 86_400_000;
    ended.refuse("lease over", send(&ended, 3, 10), TransferPairing);
    let mut revoked = market();
    revoked.change(state_key::component(&Cid::of("pack-2")), |c: &mut Component| c.status = State::Revoked);
    revoked.refuse("revoked taker", send(&revoked, 3, 10), TransferPack);
    revoked.change(state_key::component(&Cid::of("pack-1")), |c: &mut Component| c.status = State::Revoked);
    revoked.refuse("revoked giver", send(&revoked, 3, 10), TradePack);
}

#[test]
pub fn receipt_rules() {
    let mut bench = market();
    bench.accept(send(&bench, 1, 1_000));
    bench.accept(send(&bench, 2, 1_000));
    bench.accept(receive(&flowed(2, 0, 0)));
    let good = flowed(1, 900, 800);
    let (giver, taker) = (bound_key("pack-1", "pack-2"), bound_key("pack-2", "pack-1"));
    let far = bench.time_ms + bench.params.max_future_ms + 1;
    let sign = |change: &dyn Fn(&mut Receipt), signers| {
        let mut r = good;
        change(&mut r);
        energy_receipt_with(&r, signers)
    };
    let both = [&giver, &taker];
    let forged = |n: usize| {
        let mut body = sign(&|r| r.received = 901, both);
        if let Body::EnergyReceipt { signatures, .. } = &mut body {
            signatures[n] = key("thief").sign_rfc6979(&[0; 32]);
            if n == 0 {
                signatures[1] = signatures[0];
            }
        }
        body
    };
    let mut cut = receive(&good);
    if let Body::EnergyReceipt { statement, .. } = &mut cut {
        statement.pop();
    }
    let other = pack_key();
    let rows: [(&str, Body, Rejection); 12] = [
        ("cut", cut, StatementFormat),
        (
            "other chain, unknown",
            sign(&|r| (r.chain_id, r.transfer) = ([0; 32], TradeId([9; 16])), both),
            TradeChain,
        ),
        ("unknown", sign(&|r| r.transfer = TradeId([9; 16]), [&taker, &giver]), TransferUnknown),
        ("ended", sign(&|r| r.transfer = TradeId([2; 16]), [&taker, &giver]), TransferEnded),
        ("keys changed places", sign(&|r| r.end_ms = far, [&taker, &giver]), TransferKey),
        ("the giver's key of another binding", sign(&|r| r.end_ms = far, [&other, &taker]), TransferKey),
        ("future", sign(&|r| (r.end_ms, r.received) = (far, 901), both), StatementTime),
        ("giver did not sign", forged(0), TransferProof),
        ("taker did not sign", forged(1), TransferProofTaker),
        ("more received than given", sign(&|r| r.received = 901, both), TransferSums),
        ("more given than locked", sign(&|r| r.given = 1_001, both), TransferSums),
        ("unknown keys", sign(&|_| {}, [&key("x"), &key("y")]), TransferKey),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    bench.change(state_key::pool(&Cid::of("pack-2")), |p: &mut Pool| (p.minted, p.adp) = (799, 799));
    bench.refuse("no room", receive(&good), TransferRoom);
    bench.change(state_key::pool(&Cid::of("pack-2")), |p: &mut Pool| (p.minted, p.adp) = (800, 800));
    bench.change(state_key::signing_key(&taker.public()), |k: &mut KeyRecord| k.status = Status::Revoked);
    bench.refuse("revoked key", receive(&good), TransferKey);
    bench.change(state_key::signing_key(&taker.public()), |k: &mut KeyRecord| k.status = Status::Active);
    let pack = state_key::component(&Cid::of("pack-2"));
    bench.change(pack.clone(), |c: &mut Component| c.status = State::Suspended);
    bench.refuse("a suspended pack", receive(&good), ComponentSuspended);
    bench.change(pack, |c: &mut Component| c.status = State::Active);
    bench.accept(receive(&good));
    bench.refuse("twice", receive(&good), TransferEnded);
}

#[test]
pub fn offers_are_filled_in_order_and_what_returns_is_offered_again() {
    let mut bench = market();
    bench.accept(offer(&bench, 1));
    bench.accept(accept(&bench, 2, 1, 6_000));
    assert_eq!((offered(&bench, 1).left, transfer(&bench, 2).locked), (4_000, 6_000));
    // More is wanted than is left: what is left is given.
    bench.accept(accept(&bench, 3, 1, 9_000));
    assert_eq!((offered(&bench, 1).left, transfer(&bench, 3).locked), (0, 4_000));
    bench.refuse("sold out", accept(&bench, 4, 1, 9_000), TransferAmount);
    bench.accept(receive(&flowed(2, 5_500, 5_000)));
    assert_eq!(offered(&bench, 1).left, 500);
    // A rest below the offer's least can be taken whole.
    bench.refuse("not whole", accept(&bench, 4, 1, 499), TransferAmount);
    bench.accept(accept(&bench, 4, 1, 500));
    bench.time_ms += HOUR_MS;
    bench.accept(Body::EnergyRelease { transfer: TradeId([3; 16]) });
    assert_eq!(offered(&bench, 1).left, 4_000);
    let t = transfer(&bench, 2);
    assert_eq!((t.price, t.payer, t.payee), (300_000, key("owner-2").public(), key("owner-1").public()));
}

/// Who offers room takes energy, and is paid for it.
#[test]
fn an_offer_of_capacity_is_filled_by_who_has_energy() {
    let mut bench = market();
    let room = order(1, "pack-2", What::OfferCapacity(terms(&bench, 10_000, 1)));
    bench.accept(order_with(&room, &key("owner-2")));
    let take = order(2, "pack-1", What::Accept(acceptance(&bench, 1, 2_000)));
    bench.accept(order_with(&take, &key("owner-1")));
    bench.accept(receive(&flowed(2, 2_000, 1_900)));
    assert_eq!(balances(&bench), [(248_000, 0, 252_000), (1_900, 0, 498_100)]);
    let t = transfer(&bench, 2);
    assert_eq!((t.payer, t.payee), (key("owner-1").public(), key("owner-2").public()));
}

#[test]
pub fn offer_rules() {
    let mut bench = market();
    bench.accept(offer(&bench, 1));
    let now = bench.time_ms;
    let last = now + 90 * 86_400_000;
    let publish = |id: u8, change: &dyn Fn(&mut Terms)| {
        let mut t = terms(&bench, 10, 1);
        change(&mut t);
        order_with(&order(id, "pack-1", What::OfferEnergy(t)), &key("owner-1"))
    };
    let rows: [(&str, Body, Rejection); 7] = [
        ("used id, no least", publish(1, &|t| t.least = 0), OfferExists),
        ("no least, no window", publish(2, &|t| (t.least, t.until_ms) = (0, 0)), OfferTerms),
        ("least above all", publish(2, &|t| (t.least, t.until_ms) = (11, 0)), OfferTerms),
        ("nothing", publish(2, &|t| (t.mwh, t.least) = (0, 0)), OfferTerms),
        ("ends as it begins", publish(2, &|t| (t.from_ms, t.until_ms) = (now + 5, now + 5)), OfferWindow),
        ("ended", publish(2, &|t| (t.from_ms, t.until_ms) = (0, now)), OfferWindow),
        ("too long", publish(2, &|t| t.until_ms = last + 1), OfferWindow),
    ];
    let later = publish(2, &|t| (t.from_ms, t.until_ms) = (now + 1, last));
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    bench.accept(later);

    let withdraw =
        |id: u8, pack: &str, owner: &str| order_with(&order(id, pack, What::Withdraw), &key(owner));
    bench.refuse("accept unknown", accept(&bench, 9, 8, 1_000), OfferUnknown);
    bench.refuse("not yet", accept(&bench, 9, 2, 1_000), OfferExpired);
    bench.refuse("below the offer's least", accept(&bench, 9, 1, 999), TransferAmount);
    let picky = Acceptance { least: 10_001, ..acceptance(&bench, 1, 20_000) };
    let picky = order_with(&order(9, "pack-2", What::Accept(picky)), &key("owner-2"));
    bench.refuse("less than is wanted at least", picky, TransferAmount);
    let own = order_with(&order(9, "pack-1", What::Accept(acceptance(&bench, 1, 0))), &key("owner-1"));
    bench.refuse("one's own, of nothing", own, TransferSelf);
    bench.refuse("withdraw unknown", withdraw(8, "pack-2", "owner-2"), OfferUnknown);
    bench.refuse("withdraw another's", withdraw(1, "pack-2", "owner-2"), OfferDenied);
    bench.accept(withdraw(1, "pack-1", "owner-1"));
    bench.refuse("withdrawn, and the time is over", accept(&bench, 9, 1, 1_000), OfferClosed);
    bench.refuse("withdraw twice", withdraw(1, "pack-1", "owner-1"), OfferClosed);
    // With the pack its offers go: the new owner did not make them.
    bench.accept(offer(&bench, 3));
    bench.accept(sold(START_MS));
    bench.refuse("sold", accept(&bench, 9, 3, 1_000), OfferClosed);
    let mut late = market();
    late.accept(offer(&late, 1));
    late.time_ms += HOUR_MS;
    late.refuse("over", accept(&late, 9, 1, 1_000), OfferExpired);
}

#[test]
pub fn what_is_owed_comes_from_what_was_recorded() {
    let mut bench = ended();
    bench.time_ms += DAY_MS;
    bench.accept(settle(cycle(), Some((&quote(), BOTH))));
    // 12 Wh more went out than came in: the other owes 12 x 0.25 / 1000.
    let s = settled(&bench, &cycle());
    assert_eq!((s.mwh, s.price, s.amount), (12_000, 250_000, 3_000));
    assert_eq!((s.payer, s.payee), (key("grid").public(), key("owner-1").public()));
    // What arrived is paid, at the price of the offer.
    bench.accept(settle(BOUGHT, None));
    let s = settled(&bench, &BOUGHT);
    assert_eq!((s.mwh, s.price, s.amount), (9_000, 300_000, 2_700));
    assert_eq!((s.payer, s.payee), (key("owner-2").public(), key("owner-1").public()));
    for subject in [cycle(), BOUGHT] {
        bench.refuse("twice", settle(subject, None), SettleExists);
    }
    let totals: Totals = load(&bench.state, state_key::TOTALS).unwrap().unwrap();
    assert_eq!((totals.settlements, totals.offers), (2, 1));

    // The chain's price serves where two agreed on none.
    let mut bench = ended();
    bench.params.price_micro_per_kwh = 100_000;
    bench.time_ms += DAY_MS;
    bench.accept(settle(cycle(), None));
    let s = settled(&bench, &cycle());
    assert_eq!((s.amount, s.payer, s.payee), (1_200, NOBODY, key("owner-1").public()));
    // An offer for nothing is an offer.
    let Subject::Transfer(bought) = BOUGHT else { unreachable!() };
    bench.change(state_key::energy_transfer(&bought), |t: &mut Transfer| t.price = 0);
    bench.refuse("given away", settle(BOUGHT, None), SettlePrice);
}

/// Pack 1 goes from its first owner to a third one, as both signed at `time_ms`.
fn sold(time_ms: u64) -> Body {
    let first = first_hop("pack-1", "owner-1");
    let hop = lct::ownership::Transfer {
        hop: 2,
        previous: lct::ownership::hash_of(&transfer_bytes(&first)),
        from: key("owner-1").public(),
        to: key("owner-3").public(),
        time_ms,
        ..first
    };
    transfer_with(&hop, [&key("owner-1"), &key("owner-3")])
}

/// A cycle is that of who had the pack when its last event ended, by the times that were signed, as known at its close.
#[test]
pub fn a_cycle_is_settled_with_whose_it_was() {
    let end = |bench: &Bench| {
        load::<Cycle>(&bench.state, &state_key::cycle(&Cid::of("pack-1"), 1)).unwrap().unwrap().end_ms
    };
    let payee = |bench: &mut Bench, quoted: [&str; 2]| {
        bench.time_ms += DAY_MS;
        bench.accept(settle(cycle(), Some((&quote(), quoted))));
        settled(bench, &cycle()).payee
    };
    // Sold after the close, whenever they say that they did it: the bill stays.
    for back in [0, 1_000_000] {
        let mut bench = ended();
        let time_ms = bench.time_ms - back;
        bench.accept(sold(time_ms));
        bench.time_ms += DAY_MS;
        let new = settle(cycle(), Some((&quote(), ["owner-3", "grid"])));
        bench.refuse("the new owner's word", new, SettleProof);
        bench.time_ms -= DAY_MS;
        assert_eq!(payee(&mut bench, BOTH), key("owner-1").public());
    }
    // Sold before the close, and before or after the last event.
    let last_ms = end(&ended());
    for (time_ms, whose) in [(last_ms, "owner-3"), (last_ms + 1, "owner-1")] {
        let mut bench = market();
        run_cycle(&mut bench, &sold(time_ms));
        assert_eq!(end(&bench), last_ms);
        assert_eq!(payee(&mut bench, [whose, "grid"]), key(whose).public());
    }
    // A pack that nobody owned then has a cycle that nobody owns: only an authority settles it, and nobody quotes.
    let mut bench = ended();
    bench.change(state_key::cycle(&Cid::of("pack-1"), 1), |c: &mut Cycle| c.owner = Some(NOBODY));
    bench.time_ms += DAY_MS;
    bench.refuse("nobody's", settle(cycle(), Some((&quote(), BOTH))), SettleOwner);
}

#[test]
pub fn settlement_rules() {
    let mut bench = ended();
    bench.accept(energy_with(&energy(EnergyKind::Opening, 2, 0, 0), &pack_key()));
    bench.accept(send(&bench, 3, 10));
    let open = Subject::Cycle { cid: Cid::of("pack-1"), cycle: 2 };
    let unknown = Subject::Cycle { cid: Cid::of("pack-1"), cycle: 3 };
    bench.refuse("unknown cycle", settle(unknown, None), SettleUnknown);
    bench.refuse("unknown transfer", settle(Subject::Transfer(TradeId([9; 16])), None), SettleUnknown);
    bench.refuse("open cycle", settle(open, None), SettleOpen);
    bench.refuse("open transfer", settle(Subject::Transfer(TradeId([3; 16])), None), SettleOpen);
    bench.time_ms += DAY_MS - 1;
    bench.refuse("too early, no price", settle(cycle(), None), SettleWindow);
    bench.time_ms += 1;
    let q = quote();
    let rows: [(&str, Body, Rejection); 9] = [
        (
            "a quote for another chain, nobody signed",
            settle(cycle(), Some((&Quote { chain_id: [0; 32], ..q }, ["x", "y"]))),
            SettleQuote,
        ),
        (
            "a quote for another cycle, nobody signed",
            settle(cycle(), Some((&Quote { cycle: 2, ..q }, ["x", "y"]))),
            SettleQuote,
        ),
        ("a quote for a transfer", settle(BOUGHT, Some((&q, BOTH))), SettleQuote),
        (
            "damaged",
            Body::Settle {
                subject: cycle(),
                price: Some(ledger::tx::Agreed { quote: vec![1], ..agreed(&q, [&key("x"), &key("y")]) }),
            },
            SettleQuote,
        ),
        (
            "with oneself, nobody signed",
            settle(cycle(), Some((&Quote { other: key("owner-1").public(), ..q }, ["x", "y"]))),
            SettleOwner,
        ),
        ("nobody signed", settle(cycle(), Some((&q, ["x", "y"]))), SettleProof),
        (
            "the other did not sign, no price",
            settle(cycle(), Some((&Quote { price: 0, ..q }, ["owner-1", "y"]))),
            SettleProofOther,
        ),
        ("a price of nothing", settle(cycle(), Some((&Quote { price: 0, ..q }, BOTH))), SettlePrice),
        ("the chain has no price", settle(cycle(), None), SettlePrice),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }
    let stranger = bench.send(1, settle(cycle(), None));
    assert_eq!(stranger, Some(SettleOwner), "an operator at the chain's price");
    bench.change(state_key::cycle(&Cid::of("pack-1"), 1), |c: &mut Cycle| c.charged = u64::MAX);
    let dear = Quote { price: 1_000_001, ..q };
    bench.refuse("too large", settle(cycle(), Some((&dear, BOTH))), SettlePrice);
}

#[test]
pub fn objections_hold_a_settlement_up() {
    let mut bench = ended();
    let object = |subject, reason| Body::Object { subject, reason };
    let resolve = |subject, upheld| Body::Resolve { subject, upheld };
    let unknown = Subject::Transfer(TradeId([9; 16]));
    bench.refuse("no reason, unknown", object(unknown, 0), ObjectionReason);
    bench.refuse("no such reason", object(cycle(), 5), ObjectionReason);
    bench.refuse("unknown", object(unknown, 1), SettleUnknown);
    bench.refuse("nothing to decide", resolve(cycle(), true), ObjectionUnknown);
    assert_eq!(bench.send(1, object(cycle(), 1)), Some(ObjectionDenied), "an operator who is no party");
    bench.accept(object(cycle(), 2));
    bench.refuse("a second one", object(cycle(), 3), ObjectionExists);
    bench.accept(object(BOUGHT, 1));
    bench.time_ms += DAY_MS;
    bench.refuse("too late, and a second one", object(cycle(), 3), ObjectionLate);
    for subject in [cycle(), BOUGHT] {
        bench.refuse("objected", settle(subject, None), SettleObjected);
    }
    assert_eq!(bench.send(1, resolve(cycle(), false)), Some(RoleForbidden), "an operator decides nothing");
    bench.nonces[1] -= 1;
    bench.accept(resolve(cycle(), true));
    bench.accept(resolve(BOUGHT, false));
    bench.refuse("decided", resolve(BOUGHT, true), ObjectionDecided);
    bench.refuse("upheld", settle(cycle(), Some((&quote(), BOTH))), SettleObjected);
    bench.accept(settle(BOUGHT, None));
    // A longer window opens nothing that is settled.
    bench.params.objection_s *= 100;
    bench.refuse("settled", object(BOUGHT, 1), ObjectionLate);
    let o: Objection = load(&bench.state, &state_key::objection(&cycle())).unwrap().unwrap();
    assert_eq!((o.reason, o.state), (2, ObjectionState::Upheld));

    // A party with an account may object: here the operator owned the pack.
    let mut bench = ended();
    bench.change(state_key::cycle(&Cid::of("pack-1"), 1), |c: &mut Cycle| {
        c.owner = Some(key("operator").public())
    });
    assert_eq!(bench.send(1, object(cycle(), 4)), None);
}

#[test]
pub fn a_binding_that_is_withdrawn_takes_its_transfers_along_when_their_time_is_over() {
    let mut bench = market();
    bench.accept(send(&bench, 1, 1_000));
    let [a, b] = sides();
    bench.accept(Body::Revoke { target: Target::Binding(binding_id(a.0, b.0)), reason: 1 });
    bench.refuse("no keys", receive(&flowed(1, 1_000, 1_000)), TransferKey);
    bench.time_ms += HOUR_MS;
    bench.accept(Body::EnergyRelease { transfer: TradeId([1; 16]) });
    assert_eq!(balances(&bench)[0], (250_000, 0, 250_000));
}

/// What may happen to two packs, in any order and with any amounts.
#[derive(Clone, Debug)]
enum Act {
    Event(bool, u64),
    Opening(u32),
    Send(u64),
    Balance(u64),
    Offer(u64),
    Accept(u8, u64),
    Receive(u8, u64, u64),
    Release(u8),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let mwh = || prop_oneof![0..3_000_u64, 0..CAPACITY, Just(u64::MAX), CAPACITY - 2..CAPACITY + 9];
    let id = any::<u8>();
    prop_oneof![
        (any::<bool>(), mwh()).prop_map(|(charge, e)| Act::Event(charge, e)),
        (0..=1_000_000_u32).prop_map(Act::Opening),
        mwh().prop_map(Act::Send),
        mwh().prop_map(Act::Balance),
        mwh().prop_map(Act::Offer),
        (id, mwh()).prop_map(|(o, e)| Act::Accept(o, e)),
        (id, mwh(), mwh()).prop_map(|(t, g, r)| Act::Receive(t, g, r.min(g))),
        id.prop_map(Act::Release),
        (0..2 * HOUR_MS).prop_map(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    /// Energy is neither made nor lost, in each pool and over all; and the same acts lead to the same state.
    #[test]
    fn energy_is_conserved_between_packs(acts in proptest::collection::vec(act(), 1..20)) {
        let mut states = Vec::new();
        let (begun, nonces) = { let bench = market(); (bench.state.into_writes(), bench.nonces) };
        for _replay in 0..2 {
            let mut bench = Bench { state: Overlay::new(begun.clone()), nonces, ..Bench::new() };
            let mut seq = 0;
            for (n, act) in (0_u8..).zip(&acts) {
                seq += 1;
                let earlier = |id: u8| id % n.max(1);
                let body = match *act {
                    Act::Event(charge, mwh) => {
                        let kind = if charge { EnergyKind::Charge } else { EnergyKind::Discharge };
                        let e = energy(kind, 1, seq, 0);
                        let e = lct::energy::EnergyEvent { mwh, mean_mw: mwh.saturating_mul(60), ..e };
                        energy_with(&e, &pack_key())
                    }
                    Act::Opening(soc_ppm) => {
                        let e = energy(EnergyKind::Opening, 1, seq, 0);
                        energy_with(&lct::energy::EnergyEvent { soc_ppm, ..e }, &pack_key())
                    }
                    Act::Send(mwh) => send(&bench, n, mwh),
                    Act::Balance(mwh) => {
                        order_with(&order(n, "pack-1", What::Balance(give(&bench, mwh))), &key("owner-1"))
                    }
                    Act::Offer(mwh) => {
                        order_with(&order(n, "pack-1", What::OfferEnergy(terms(&bench, mwh, 1))), &key("owner-1"))
                    }
                    Act::Accept(offer, most) => accept(&bench, n, earlier(offer), most),
                    Act::Receive(transfer, given, received) => receive(&flowed(earlier(transfer), given, received)),
                    Act::Release(transfer) => Body::EnergyRelease { transfer: TradeId([earlier(transfer); 16]) },
                    Act::Wait(ms) => {
                        bench.time_ms += ms;
                        continue;
                    }
                };
                bench.send(0, body);
                let [one, two] = ["pack-1", "pack-2"].map(|p| pool(&bench, p));
                for p in [&one, &two] {
                    prop_assert!(p.conserves(), "{p:?}");
                    prop_assert_eq!(u128::from(p.atp) + u128::from(p.adp) + u128::from(p.locked), u128::from(CAPACITY));
                }
                let t: Totals = load(&bench.state, state_key::TOTALS).unwrap().unwrap();
                prop_assert_eq!(t.atp, u128::from(one.atp) + u128::from(two.atp));
                prop_assert_eq!(t.locked, u128::from(one.locked) + u128::from(two.locked));
                let stored = t.charged + t.untracked_charged - t.discharged - t.untracked_discharged - t.lost;
                prop_assert_eq!(stored, t.atp + t.locked);
                prop_assert_eq!(t.lost, one.sent + two.sent - one.received - two.received);
            }
            states.push(bench.state.into_writes());
        }
        prop_assert_eq!(&states[0], &states[1]);
    }
}
