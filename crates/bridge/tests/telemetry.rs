//! Batches: records on disk before their root is in the ledger, gaps, repeats, receipts of single records.

use crate::common;

use api::{
    Blob, Client, Fixed, Hex,
    series::Wanted,
    telemetry::{Batch, Entry, Gap, Stored},
};
use common::{World, batch_body, encoded, records, rng};
use lct::{id::Role, record::Record, sign::SigningKey};
use ledger::receipt::verify;

fn whole(records: &[Record], transaction: Vec<u8>) -> Batch {
    let records = records.iter().map(|r| Entry::Record(Blob(encoded(r)))).collect();
    Batch { transaction: Blob(transaction), records }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_gap_is_stored_and_its_records_proved() {
    let mut world = World::new().await;
    let (_, pack, bonded) = world.commissioned().await;
    let key = bonded.keys[1].signing_key();
    let sent = records(pack.cid, 0, 100, world.now_s());
    let (_, body) = batch_body(&sent, key);
    let tx = world.tx(body).await;
    let mut batch = whole(&sent, tx.bytes);
    batch.records[42] = Entry::Lost(Gap { seq: 42, leaf: Fixed(sent[42].leaf().unwrap()) });
    let stored: Stored = world.client.submit_batch(&batch).await.unwrap();
    assert_eq!((stored.txhash.0, stored.stored, stored.gaps), (tx.id, 99, 1));
    assert!(world.chain.stored().records == 99, "acknowledged means on disk");

    // Repeats, also after a restart, change nothing.
    world.client.submit_batch(&batch).await.unwrap();
    let file = world.receipt("/receipts/pack-0001/41").await;
    world.restart().await;
    let again = world.client.submit_batch(&batch).await.unwrap();
    assert_eq!((again.stored, again.gaps, again.status.as_str()), (99, 1, "included"));
    let status = world.client.ledger_status().await.unwrap();
    assert_eq!((status.batches, status.records), (1, 100));

    // The same records over time: all but the one that was lost.
    let day = |quantity: Option<&str>| Wanted {
        resolution: "day".into(),
        from_ms: None,
        to_ms: None,
        quantity: quantity.map(Into::into),
    };
    for id in ["pack-0001", &pack.cid.to_string()] {
        let mut series = world.client.series(id, &day(Some("permission"))).await.unwrap();
        // The bridge may be at it just now.
        while !series.complete {
            series = world.client.series(id, &day(Some("permission"))).await.unwrap();
        }
        assert_eq!(
            (series.component_id.as_str(), series.cid.0, series.complete),
            ("pack-0001", pack.cid.0, true)
        );
        let records: u32 = series.buckets.iter().map(|bucket| bucket.records).sum();
        // Midnight may lie among them.
        let (first, last) = (series.buckets.first().unwrap(), series.buckets.last().unwrap());
        assert_eq!((records, last.last_ms), (99, sent[99].time_ms));
        let (least, most) = (first.quantities[0].min, last.quantities[0].max);
        assert_eq!((least, most, last.quantities[0].last), (0, 99, Some(99)));
    }
    let whole = world.client.series("pack-0001", &day(None)).await.unwrap();
    let names: Vec<_> =
        whole.buckets[0].quantities.iter().map(|q| (q.name.as_str(), q.min, q.mean)).collect();
    assert_eq!((names[0].0, names[1].0, names[2]), ("state", "permission", ("soc_ppm", -7, -7)));
    let to = whole.buckets[0].start_ms;
    let before = world.client.series("pack-0001", &Wanted { to_ms: Some(to), ..day(None) }).await.unwrap();
    assert_eq!(before.buckets, []);
    for (path, status) in [
        ("/telemetry/pack-0001/series?resolution=week", 400),
        ("/telemetry/pack-0001/series", 400),
        ("/telemetry/pack-0009/series?resolution=day", 404),
    ] {
        assert_eq!(world.get(path).await.problem().status, status, "{path}");
    }

    // A record's receipt: by id, by cid, and verified without us.
    let verdict = verify(&file, Some(&world.trust())).unwrap();
    let record = verdict.record.unwrap();
    assert_eq!((record.cid, record.seq, record.time_ms), (pack.cid, 41, sent[41].time_ms));
    assert_eq!(record.values, sent[41].values.as_slice());
    assert_eq!(world.get(&format!("/receipts/{}/41", pack.cid)).await.body, file);
    assert_eq!(world.client.record_receipt("pack-0001", 41).await.unwrap(), file);
    let lost = world.get("/receipts/pack-0001/42").await.problem();
    assert_eq!(lost.code, "W4_ERR_RECEIPT_NOT_FOUND");
    assert!(lost.detail.unwrap().contains("not stored"));
    let missing = world.get("/receipts/pack-0001/100").await.problem();
    assert_eq!((missing.status, missing.code.as_str()), (404, "W4_ERR_RECEIPT_NOT_FOUND"));
    // And the batch's own.
    let file = world.receipt(&format!("/receipts/{}", Hex(tx.id))).await;
    assert!(verify(&file, Some(&world.trust())).unwrap().record.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_can_be_signed_anew_after_its_transaction_was_refused() {
    let world = World::new().await;
    let (_, pack, bonded) = world.commissioned().await;
    let sent = records(pack.cid, 0, 3, world.now_s());
    let (_, body) = batch_body(&sent, bonded.keys[1].signing_key());
    let next = world.chain.next_nonce(&world.operator.public()).unwrap();
    let early = whole(&sent, world.tx_nonce(&world.operator, body.clone(), next + 1).bytes);
    let refused = world.client.submit_batch(&early).await.unwrap_err();
    assert_eq!(refused.code(), Some("W4_ERR_PROTO_SEQUENCE"));
    let right = whole(&sent, world.tx_nonce(&world.operator, body, next).bytes);
    assert_eq!(world.client.submit_batch(&right).await.unwrap().stored, 3);
    assert_eq!(world.chain.stored().batches, 1, "stored once");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_are_not_what_they_say() {
    let world = World::new().await;
    let (app, pack, bonded) = world.commissioned().await;
    let key = bonded.keys[1].signing_key();
    let sent = records(pack.cid, 10, 5, world.now_s());
    let (_, body) = batch_body(&sent, key);
    let good = whole(&sent, world.tx(body.clone()).await.bytes);
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut batch = good.clone();
        change(&mut batch.records);
        batch
    };
    let leaf = Fixed(sent[2].leaf().unwrap());
    let other = encoded(&records(pack.cid, 12, 1, world.now_s() - 2)[0]);
    let stranger = SigningKey::generate(&mut rng());
    let (_, by_stranger) = batch_body(&sent, &stranger);
    let (_, for_app) = batch_body(&records(app.cid, 0, 5, world.now_s()), key);
    let ahead = records(pack.cid, 10, 5, world.now_s() + 3_600);
    let (_, in_future) = batch_body(&ahead, key);
    let foreign = world.tx_by(&stranger, body.clone()).await.bytes;
    let register = pack.register_body(&pack.registration(world.chain.chain_id()));
    let resigned = |tx: Vec<u8>| Batch { transaction: Blob(tx), ..good.clone() };
    let mut spoiled = good.transaction.0.clone();
    let last = spoiled.len() - 1;
    spoiled[last] ^= 1;
    let table = [
        ("one record less", with(&|r| drop(r.pop())), 400, "W4_ERR_TELEMETRY_RECORDS"),
        ("one record more", with(&|r| r.push(r[0].clone())), 400, "W4_ERR_TELEMETRY_RECORDS"),
        ("none", with(&|r| r.clear()), 400, "W4_ERR_TELEMETRY_RECORDS"),
        ("swapped", with(&|r| r.swap(1, 2)), 400, "W4_ERR_TELEMETRY_RECORDS"),
        (
            "another record",
            with(&|r| r[2] = Entry::Record(Blob(other.clone()))),
            400,
            "W4_ERR_TELEMETRY_RECORDS",
        ),
        ("no record", with(&|r| r[2] = Entry::Record(Blob(vec![1, 2]))), 400, "W4_ERR_TELEMETRY_RECORDS"),
        (
            "wrong leaf",
            with(&|r| r[2] = Entry::Lost(Gap { seq: 12, leaf: Fixed([0; 32]) })),
            400,
            "W4_ERR_TELEMETRY_RECORDS",
        ),
        (
            "wrong number",
            with(&|r| r[2] = Entry::Lost(Gap { seq: 13, leaf })),
            400,
            "W4_ERR_TELEMETRY_RECORDS",
        ),
        ("signed by a stranger", resigned(world.tx(by_stranger).await.bytes), 400, "W4_ERR_CRYPTO_KEY"),
        ("for another component", resigned(world.tx(for_app).await.bytes), 403, "W4_ERR_STATEMENT_SIGNER"),
        ("sent by a stranger", resigned(foreign), 401, "W4_ERR_AUTHZ_DENIED"),
        ("spoiled envelope", resigned(spoiled), 401, "W4_ERR_CRYPTO_VERIFY"),
        ("of the future", whole(&ahead, world.tx(in_future).await.bytes), 422, "W4_ERR_STATEMENT_TIME"),
        ("another kind", resigned(world.tx(register).await.bytes), 400, "W4_ERR_PROTO_KIND"),
        ("no transaction", resigned(vec![7; 40]), 400, "W4_ERR_PROTO_FORMAT"),
    ];
    for (what, batch, status, code) in table {
        let problem = world.post("/telemetry/batches", &batch).await.problem();
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{what}: {problem:?}");
    }
    assert_eq!(world.chain.stored().batches, 0, "nothing of this was written");

    // Without its records a batch is not taken.
    let alone = world.client.submit(&good.transaction.0, false).await.unwrap_err();
    assert_eq!(alone.code(), Some("W4_ERR_PROTO_KIND"));
    assert_eq!(world.client.submit_batch(&good).await.unwrap().stored, 5);
    // Other records under the same numbers.
    let mut twice = sent.clone();
    twice[0].values[0] += 1;
    let (_, body) = batch_body(&twice, key);
    let again = whole(&twice, world.tx(body).await.bytes);
    let problem = world.post("/telemetry/batches", &again).await.problem();
    assert_eq!((problem.status, problem.code.as_str()), (409, "W4_ERR_TELEMETRY_OVERLAP"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_batch_fits_and_no_larger_body() {
    let world = World::new().await;
    let (_, pack, bonded) = world.commissioned().await;
    let mut sent = records(pack.cid, 0, 100, world.now_s());
    for record in &mut sent {
        record.values = std::iter::repeat_n(i32::MIN, lct::record::VALUES_MAX).collect();
    }
    let (_, body) = batch_body(&sent, bonded.keys[1].signing_key());
    let batch = whole(&sent, world.tx(body).await.bytes);
    assert_eq!(world.client.submit_batch(&batch).await.unwrap().stored, 100);
    let mut larger = batch;
    larger.transaction = Blob(vec![0; api::TELEMETRY_BODY_MAX]);
    let client = Client::new(&world.address).unwrap();
    let refused = client.submit_batch(&larger).await.unwrap_err();
    assert_eq!(refused.code(), Some("W4_ERR_PROTO_SIZE"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_signs_its_own_batches() {
    let world = World::new().await;
    let pack = world.factory.device("pack-0001", Role::Pack);
    let module = world.factory.device("module-0001", Role::Module);
    world.register(&pack).await;
    world.register(&module).await;
    let bonded = world.bind(&pack, &module).await;
    let sent = records(module.cid, 0, 10, world.now_s());
    // The pack's key of the same binding does not speak for the module.
    let (_, by_pack) = batch_body(&sent, bonded.keys[0].signing_key());
    let refused = world.client.submit_batch(&whole(&sent, world.tx(by_pack).await.bytes)).await.unwrap_err();
    assert_eq!(refused.code(), Some("W4_ERR_STATEMENT_SIGNER"));
    let (_, body) = batch_body(&sent, bonded.keys[1].signing_key());
    world.client.submit_batch(&whole(&sent, world.tx(body).await.bytes)).await.unwrap();
    let file = world.receipt("/receipts/module-0001/9").await;
    assert_eq!(verify(&file, Some(&world.trust())).unwrap().record.unwrap().cid, module.cid);
}
