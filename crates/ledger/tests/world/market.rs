//! Two packs of two owners that trade energy.

use lct::{
    energy::{CycleClose, EnergyKind},
    id::{Cid, PairingId, Role},
    trade::{Acceptance, Give, Quote, Receipt, Terms, TradeId, What},
};
use ledger::{
    records::{Cycle, key as state_key},
    state::load,
    tx::{Body, Subject},
};

use super::{bench::*, *};

pub const PACK_2: (&str, Role) = ("pack-2", Role::Pack);
pub const HOUR_MS: u64 = 3_600_000;

/// The two packs in the order of their cids, in which they are bound.
pub fn sides() -> [(&'static str, Role); 2] {
    if Cid::of("pack-1") < Cid::of("pack-2") { [PACK, PACK_2] } else { [PACK_2, PACK] }
}

/// Two packs of two owners, paired with each other; the first is half full, the second empty. Transfers ask for no trust.
pub fn market() -> Bench {
    let mut bench = Bench::running();
    bench.params.trust.gates[3] = 0;
    bench.accept(register("pack-2", Role::Pack));
    let [a, b] = sides();
    bench.accept(bind(a, b));
    bench.accept(pair(a.0, b.0, 7));
    for (pack, owner) in [("pack-1", "owner-1"), ("pack-2", "owner-2")] {
        bench.accept(transfer_with(&first_hop(pack, owner), [&key("batch"), &key(owner)]));
    }
    bench
}

pub fn until(bench: &Bench) -> u64 {
    bench.time_ms + HOUR_MS
}

pub fn give(bench: &Bench, mwh: u64) -> Give {
    Give { to: Cid::of("pack-2"), pairing: PairingId([7; 16]), mwh, until_ms: until(bench) }
}

pub fn send(bench: &Bench, id: u8, mwh: u64) -> Body {
    order_with(&order(id, "pack-1", What::Transfer(give(bench, mwh))), &key("owner-1"))
}

pub fn flowed(id: u8, given: u64, received: u64) -> Receipt {
    let transfer = TradeId([id; 16]);
    Receipt { chain_id: chain_id(), transfer, given, received, start_ms: START_MS, end_ms: START_MS + 1000 }
}

pub fn receive(r: &Receipt) -> Body {
    energy_receipt_with(r, [&bound_key("pack-1", "pack-2"), &bound_key("pack-2", "pack-1")])
}

pub fn terms(bench: &Bench, mwh: u64, least: u64) -> Terms {
    Terms { mwh, least, price: 300_000, from_ms: bench.time_ms, until_ms: until(bench) }
}

pub fn offer(bench: &Bench, id: u8) -> Body {
    order_with(&order(id, "pack-1", What::OfferEnergy(terms(bench, 10_000, 1_000))), &key("owner-1"))
}

pub fn acceptance(bench: &Bench, offer: u8, most: u64) -> Acceptance {
    Acceptance {
        offer: TradeId([offer; 16]),
        pairing: PairingId([7; 16]),
        most,
        least: 0,
        until_ms: until(bench),
    }
}

pub fn accept(bench: &Bench, id: u8, offer: u8, most: u64) -> Body {
    order_with(&order(id, "pack-2", What::Accept(acceptance(bench, offer, most))), &key("owner-2"))
}

pub const BOUGHT: Subject = Subject::Transfer(TradeId([1; 16]));

pub fn cycle() -> Subject {
    Subject::Cycle { cid: Cid::of("pack-1"), cycle: 1 }
}

/// A market in which the first pack charged 8 and discharged 20 Wh in its closed cycle, and gave 24 Wh to the second.
pub fn ended() -> Bench {
    let mut bench = market();
    charge_and_discharge(&mut bench);
    close_cycle(&mut bench);
    bench.accept(offer(&bench, 2));
    bench.accept(accept(&bench, 1, 2, 10_000));
    bench.accept(receive(&flowed(1, 10_000, 9_000)));
    bench
}

/// The cycle of [`ended`], with `between` before its close.
pub fn run_cycle(bench: &mut Bench, between: &Body) {
    charge_and_discharge(bench);
    bench.accept(between.clone());
    close_cycle(bench);
}

fn charge_and_discharge(bench: &mut Bench) {
    for (kind, seq, mwh) in [(EnergyKind::Charge, 1, 8_000), (EnergyKind::Discharge, 2, 20_000)] {
        bench.accept(energy_with(&energy(kind, 1, seq, mwh), &pack_key()));
    }
}

fn close_cycle(bench: &mut Bench) {
    let c: Cycle = load(&bench.state, &state_key::cycle(&Cid::of("pack-1"), 1)).unwrap().unwrap();
    let close = CycleClose {
        cid: Cid::of("pack-1"),
        cycle: 1,
        events: c.events,
        charged_mwh: c.charged,
        discharged_mwh: c.discharged,
        start_ms: c.start_ms,
        end_ms: c.end_ms,
    };
    bench.accept(close_with(&close, &pack_key()));
}

pub fn quote() -> Quote {
    let other = key("grid").public();
    Quote { chain_id: chain_id(), cid: Cid::of("pack-1"), cycle: 1, price: 250_000, other }
}

pub fn settle(subject: Subject, q: Option<(&Quote, [&str; 2])>) -> Body {
    let price = q.map(|(q, [owner, other])| agreed(q, [&key(owner), &key(other)]));
    Body::Settle { subject, price }
}

pub const DAY_MS: u64 = 86_400_000;
pub const BOTH: [&str; 2] = ["owner-1", "grid"];
