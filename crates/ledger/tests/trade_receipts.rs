//! Receipts of what happens to energy between packs: each step has one, and none says more than the state holds.

use crate::world;

use lct::{
    id::Cid,
    sign::SigningKey,
    trade::{TradeId, What},
};
use ledger::{
    receipt::ReceiptError,
    records::{Offer, Settlement, SigningKey as KeyRecord, Status, Transfer, key as state_key},
    tx::{Body, Tx},
    verdict::Proved,
};
use world::{market::*, proof::*, *};

#[test]
fn every_step_has_a_receipt_that_holds() {
    let mut bench = ended();
    let words = |proved: &Proved, parts: &[&str]| {
        let text = proved.to_string();
        for part in parts {
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
    };
    let (_, sent) = {
        let body = send(&bench, 3, 5_000);
        prove(&mut bench, body)
    };
    words(&sent, &["transfer", "5.000 Wh", &Cid::of("pack-2").to_string()]);
    let (_, flowed) = prove(&mut bench, receive(&flowed(3, 4_000, 3_900)));
    assert!(matches!(flowed, Proved::EnergyReceipt { receipt: r, taker, .. }
        if (r.given, r.received) == (4_000, 3_900) && taker == Cid::of("pack-2")));
    words(&flowed, &["4.000 Wh left the first", "3.900 Wh reached the second"]);
    let (_, offered) = {
        let body = offer(&bench, 4);
        prove(&mut bench, body)
    };
    words(&offered, &["offer energy", "10.000 Wh at 0.300000 per kWh"]);
    let (_, accepted) = {
        let body = accept(&bench, 5, 4, 2_000);
        prove(&mut bench, body)
    };
    words(&accepted, &["accept", "0.000 Wh to 2.000 Wh"]);
    let (_, withdrawn) = prove(&mut bench, order_with(&order(4, "pack-1", What::Withdraw), &key("owner-1")));
    words(&withdrawn, &["withdraw", "not offered any more"]);
    let (_, objected) = prove(&mut bench, Body::Object { subject: cycle(), reason: 2 });
    words(&objected, &["objected", "energy cycle 1", "reason 2"]);
    bench.time_ms += DAY_MS;
    let (_, released) = prove(&mut bench, Body::EnergyRelease { transfer: TradeId([5; 16]) });
    words(&released, &["without delivery", "2.000 Wh"]);
    let (_, resolved) = prove(&mut bench, Body::Resolve { subject: cycle(), upheld: false });
    words(&resolved, &["dismissed"]);
    let (_, settled) = prove(&mut bench, settle(cycle(), Some((&quote(), BOTH))));
    words(
        &settled,
        &["12.000 Wh at 0.250000 per kWh", "owes 0.003000", &key("owner-1").public().to_string()],
    );
    let (_, settled) = prove(&mut bench, settle(BOUGHT, None));
    words(&settled, &["9.000 Wh at 0.300000 per kWh", "owes 0.002700"]);
}

/// The state names another transaction, another price or another party, a key was withdrawn, a signature is forged.
#[test]
fn a_receipt_says_no_more_than_the_state_holds() {
    let mut bench = ended();
    let id = |n: u8| TradeId([n; 16]);
    let (sent, _) = {
        let body = send(&bench, 3, 5_000);
        prove(&mut bench, body)
    };
    let (published, _) = {
        let body = offer(&bench, 4);
        prove(&mut bench, body)
    };
    bench.change(state_key::energy_transfer(&id(3)), |t: &mut Transfer| t.begun_by = [0; 32]);
    assert_eq!(judge(&bench, sent), Err(ReceiptError::NoEffect));
    bench.change(state_key::offer(&id(4)), |o: &mut Offer| o.owner = key("thief").public());
    assert_eq!(judge(&bench, published.clone()), Err(ReceiptError::StatementSignature));
    bench.change(state_key::offer(&id(4)), |o: &mut Offer| o.published_by = [0; 32]);
    assert_eq!(judge(&bench, published), Err(ReceiptError::NoEffect));

    let both = [bound_key("pack-1", "pack-2"), bound_key("pack-2", "pack-1")];
    let (received, _) = prove(&mut bench, receive(&flowed(3, 4_000, 3_900)));
    let taker = state_key::signing_key(&both[1].public());
    bench.change(taker.clone(), |k: &mut KeyRecord| k.cid = Cid::of("pack-1"));
    assert_eq!(judge(&bench, received.clone()), Err(ReceiptError::KeyOwner));
    bench.change(taker.clone(), |k: &mut KeyRecord| (k.cid, k.status) = (Cid::of("pack-2"), Status::Revoked));
    assert_eq!(judge(&bench, received.clone()), Err(ReceiptError::KeyRevoked));
    bench.change(taker, |k: &mut KeyRecord| k.status = Status::Active);
    let forged = |signers: [&SigningKey; 2]| {
        let mut body = energy_receipt_with(&flowed(3, 4_000, 3_900), signers);
        if let Body::EnergyReceipt { keys, .. } = &mut body {
            *keys = both.each_ref().map(|k| k.public());
        }
        let bytes = tx(&key("authority"), 1, body);
        let ended_by = Tx::id_of(&bytes);
        (bytes, ended_by)
    };
    for signers in [[&key("thief"), &both[1]], [&both[0], &key("thief")]] {
        let (bytes, ended_by) = forged(signers);
        bench.change(state_key::energy_transfer(&id(3)), |t: &mut Transfer| t.ended_by = ended_by);
        assert_eq!(judge(&bench, bytes), Err(ReceiptError::StatementSignature));
    }
    assert_eq!(judge(&bench, received), Err(ReceiptError::NoEffect));

    bench.time_ms += DAY_MS;
    let (settled, _) = prove(&mut bench, settle(cycle(), Some((&quote(), BOTH))));
    let record = state_key::settlement(&cycle());
    bench.change(record.clone(), |s: &mut Settlement| s.price += 1);
    assert_eq!(judge(&bench, settled.clone()), Err(ReceiptError::NoEffect), "another price than quoted");
    bench.change(record.clone(), |s: &mut Settlement| (s.price, s.payer) = (250_000, key("x").public()));
    assert_eq!(judge(&bench, settled.clone()), Err(ReceiptError::NoEffect), "another party than quoted");
    let grid = key("grid").public();
    bench.change(record, |s: &mut Settlement| (s.payer, s.payee) = (grid, key("x").public()));
    assert_eq!(judge(&bench, settled), Err(ReceiptError::StatementSignature), "an owner who signed no quote");
}
