//! What trust is asked for: a transfer of energy (L221), and a pairing of who authorised the other (L222).

use crate::world;

use lct::{
    id::{Cid, Role},
    trust::{MetricsReport, TrustContext},
};
use ledger::{
    authorization::{self, Denied, LIFETIME_MS},
    records::{Tensor, TrustSubject, key as state_key},
    reject::Rejection::*,
    tx::{Body, Registry},
};
use world::{bench::*, market::*, *};

/// Sets all that is known of how `id` did in a context.
fn judged(bench: &mut Bench, id: &str, context: TrustContext, ppm: u32) {
    let subject = TrustSubject::Component(Cid::of(id));
    let mut tensor: Tensor =
        ledger::state::load(&bench.state, &state_key::tensor(&subject, TrustContext::Operation))
            .unwrap()
            .unwrap();
    let each = ledger::trust::Ppm::clamped(ppm.into());
    (tensor.talent, tensor.training, tensor.temperament) = (each, each, each);
    tensor.since_ms = bench.time_ms;
    bench.state.put(state_key::tensor(&subject, context), &tensor);
}

fn grant(a: &str, b: &str, level: u8, rule: &str) -> Body {
    let (a, b) = (Cid::of(a), Cid::of(b));
    Body::Registry(Registry::Grant { a, b, context: "energy".into(), level, rule: rule.into() })
}

#[test]
pub fn a_transfer_needs_the_trust_of_both_packs() {
    let mut bench = market();
    bench.params.trust.gates[3] = 600_000;
    let score = |bench: &mut Bench, [one, two]: [u32; 2]| {
        judged(bench, "pack-1", TrustContext::Operation, one);
        judged(bench, "pack-2", TrustContext::Operation, two);
    };
    for (what, scores) in [
        ("neither", [599_999, 599_999]),
        ("the giver is not", [599_999, 700_000]),
        ("the taker is not", [700_000, 599_999]),
    ] {
        score(&mut bench, scores);
        bench.refuse(what, send(&bench, 1, 10), TransferTrust);
    }
    score(&mut bench, [600_000, 600_000]);
    // Whoever was judged in energy is asked for that too, and for operation as before.
    judged(&mut bench, "pack-1", TrustContext::Energy, 599_999);
    bench.refuse("worse with energy", send(&bench, 1, 10), TransferTrust);
    judged(&mut bench, "pack-1", TrustContext::Energy, 600_000);
    judged(&mut bench, "pack-1", TrustContext::Operation, 599_999);
    bench.refuse("good with energy, bad elsewhere", send(&bench, 1, 10), TransferTrust);
    judged(&mut bench, "pack-1", TrustContext::Operation, 600_000);
    bench.params.trust.contexts[1][0] = 1;
    bench.refuse("the context asks for more", send(&bench, 1, 10), TransferTrust);
    bench.params.trust.contexts[1][0] = 0;
    bench.accept(send(&bench, 1, 10));

    // An acceptance of an offer begins a transfer too; the order of checks is that of L213.
    bench.accept(offer(&bench, 2));
    judged(&mut bench, "pack-2", TrustContext::Operation, 0);
    bench.refuse("an offer", accept(&bench, 3, 2, 1_000), TransferTrust);
    bench.time_ms += DAY_MS;
    bench.refuse("the lease is over too", send(&bench, 3, 10), TransferPairing);
    let mut late = market();
    late.params.trust.gates[3] = 1_000_000;
    let order_late =
        order(1, "pack-1", lct::trade::What::Transfer(lct::trade::Give { until_ms: 0, ..give(&late, 10) }));
    late.refuse("too late too", order_with(&order_late, &key("owner-1")), TransferTrust);
}

/// A part that is bound to nothing that the pack is bound to has no say about it, whoever owns it; and the first word of who has
/// one moves what is known from operation instead of putting a beginning in its place.
#[test]
pub fn nobody_is_shut_out_of_trade_by_a_first_word() {
    let mut bench = market();
    bench.params.trust.gates[3] = 600_000;
    for pack in ["pack-1", "pack-2"] {
        judged(&mut bench, pack, TrustContext::Operation, 700_000);
    }
    bench.time_ms += HOUR_MS;
    let (pack_9, module_9) = (("pack-9", Role::Pack), ("module-9", Role::Module));
    for (id, role) in [pack_9, module_9] {
        bench.accept(register(id, role));
        bench.accept(transfer_with(&first_hop(id, "owner-9"), [&key("batch"), &key("owner-9")]));
    }
    bench.accept(bind(pack_9, module_9));
    let end_ms = bench.time_ms;
    let says = |observer: &str, partner: &str, each: u32| {
        let report =
            MetricsReport { context: TrustContext::Energy, ..metrics(observer, "pack-1", end_ms, each) };
        metrics_with(&report, &bound_key(observer, partner))
    };
    bench.refuse("a competitor's", says("module-9", "pack-9", 0), TrustObserver);
    bench.accept(send(&bench, 1, 10));
    bench.accept(says("module-1", "pack-1", 650_000));
    let energy: Tensor = ledger::state::load(
        &bench.state,
        &state_key::tensor(&TrustSubject::Component(Cid::of("pack-1")), TrustContext::Energy),
    )
    .unwrap()
    .unwrap();
    // L192: half the weight at first, six tenths confidence, twice for a loss: 700 000 - 50 000 x 0.6.
    assert_eq!([energy.talent, energy.training, energy.temperament].map(|d| d.get()), [670_000; 3]);
    bench.accept(send(&bench, 2, 10));
}

/// Nobody authorised anybody: everybody may. Who did is asked whether the other is trusted as far.
#[test]
pub fn a_pairing_needs_the_trust_that_its_sides_ask_for() {
    let mut bench = Bench::running();
    bench.accept(pair("pack-1", "module-1", 2));
    judged(&mut bench, "module-1", TrustContext::Operation, 600_000);
    judged(&mut bench, "pack-1", TrustContext::Operation, 600_000);
    bench.accept(grant("pack-1", "module-1", 1, ""));
    bench.accept(pair("pack-1", "module-1", 3));
    bench.accept(grant("pack-1", "module-1", 2, ""));
    let again = |id: u8, lease_s: u32| {
        let signers = [&bound_key("pack-1", "module-1"), &bound_key("module-1", "pack-1"), &key("authority")];
        pair_with("pack-1", "module-1", id, lease_s, signers)
    };
    bench.refuse("enhanced, no lease", again(4, 0), PairingTrust);
    bench.refuse("known before", again(3, 0), PairingExists);
    // The other side's word counts as much, and so does a rule.
    bench.accept(grant("pack-1", "module-1", 1, ""));
    bench.accept(grant("module-1", "pack-1", 1, "trust_score > 0.6"));
    judged(&mut bench, "pack-1", TrustContext::Operation, 600_000);
    bench.refuse("not above", again(4, 60), PairingTrust);
    judged(&mut bench, "pack-1", TrustContext::Operation, 600_001);
    bench.accept(again(4, 60));
    // The bar is the chain's. A pairing is a success, so the scores moved.
    judged(&mut bench, "module-1", TrustContext::Operation, 600_000);
    bench.params.trust.gates[0] = 600_001;
    bench.refuse("a higher bar", again(5, 60), PairingTrust);
    bench.params.trust.gates[0] = 600_000;
    bench.accept(again(5, 60));
    // Of several one suffices, and others than this partner are not meant.
    bench.accept(register("module-2", Role::Module));
    bench.accept(grant("pack-1", "module-2", 3, ""));
    bench.accept(again(6, 60));
    // What expired asks for nothing.
    bench.accept(grant("pack-1", "module-1", 3, "trust_score > 0.7"));
    judged(&mut bench, "module-1", TrustContext::Operation, 700_000);
    bench.refuse("critical", again(7, 60), PairingTrust);
    bench.time_ms += LIFETIME_MS;
    bench.accept(again(7, 60));
}

/// The question of who issues certificates is that of the ledger, and says why.
#[test]
fn the_ledger_knows_the_score() {
    let mut bench = Bench::running();
    let ask = |bench: &Bench, a: &str, b: &str| {
        let cids = [Cid::of(a), Cid::of(b)];
        authorization::admits(&bench.state, &bench.params.trust, [&cids[0], &cids[1]], bench.time_ms).unwrap()
    };
    assert_eq!(ask(&bench, "pack-1", "module-1"), Ok(()), "nobody is asked for anything");
    bench.accept(grant("pack-1", "module-1", 1, ""));
    judged(&mut bench, "module-1", TrustContext::Operation, 499_999);
    assert_eq!(ask(&bench, "pack-1", "module-1"), Err(Denied::Trust));
    judged(&mut bench, "module-1", TrustContext::Operation, 500_000);
    assert_eq!(ask(&bench, "pack-1", "module-1"), Ok(()));
    bench.accept(register("module-2", Role::Module));
    bench.accept(grant("pack-1", "module-2", 1, ""));
    assert_eq!(ask(&bench, "pack-1", "module-2"), Err(Denied::TrustUnknown), "it was never bound");
    bench.time_ms += LIFETIME_MS;
    assert_eq!(ask(&bench, "pack-1", "module-2"), Ok(()), "what expired asks for nothing");
}
