//! A replica's life: founding, queue, blocks, waiting, reopening, and every way its directory can be wrong.
//!
//! Rules L76, L77, L92, L242 and L261.

use crate::world;

use std::{fs, path::Path, sync::Arc, time::Duration};

use lct::{
    energy::EnergyKind,
    id::{Cid, Role},
};
use ledger::{
    codec::Canonical,
    reject::Rejection,
    tx::{Body, TxId, Unsigned},
};
use node::{
    Chain, Error, Fate, ReadOnly, SubmitError,
    engine::solo::{Config, Solo},
};
use world::*;

fn open(dir: &Path) -> Chain {
    Chain::open(dir, &genesis()).unwrap()
}

fn solo(dir: &Path) -> (Arc<Chain>, Solo) {
    let chain = Arc::new(open(dir));
    (Arc::clone(&chain), Solo::new(chain, validator("v")).unwrap())
}

fn setup() -> Vec<Body> {
    vec![
        register("app-1", Role::App),
        register("pack-1", Role::Pack),
        register("module-1", Role::Module),
        bind(("app-1", Role::App), ("pack-1", Role::Pack)),
        bind(("pack-1", Role::Pack), ("module-1", Role::Module)),
        pair("app-1", "pack-1", 1),
    ]
}

fn submit(chain: &Chain, body: Body) -> TxId {
    let signer = key("authority");
    let nonce = chain.next_nonce(&signer.public()).unwrap();
    chain.submit(tx(&signer, nonce, body)).unwrap()
}

#[test]
fn a_chain_continues_where_it_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let (chain, engine) = solo(dir.path());
        for body in setup() {
            submit(&chain, body);
        }
        engine.drain(|| START_MS + 1000).unwrap();
        assert_eq!(chain.tip().height, 2, "one block with all, and one empty block that certifies it");
        assert!(!chain.has_work());
        (chain.tip(), chain.status().unwrap())
    };
    let (chain, engine) = solo(dir.path());
    assert_eq!((chain.tip(), chain.status().unwrap()), before);
    let s = before.1;
    assert_eq!((s.components, s.bindings, s.pairings, s.lcts, s.txs, s.refused), (3, 2, 1, 3, 6, 0));
    submit(&chain, batch_with(&batch_statement("module-1", 0, 100), &bound_key("module-1", "pack-1")));
    engine.drain(|| START_MS + 1000).unwrap();
    let status = chain.status().unwrap();
    assert_eq!((status.height, status.records, status.batches), (4, 100, 1));
    assert!(chain.tip().time_ms > before.0.time_ms, "block time rises although the clock stood still");
    let snapshot = chain.read().unwrap();
    let cid = Cid::of("module-1");
    assert_eq!(snapshot.batch(&cid, 99).unwrap().map(|(first, b)| (first, b.count)), Some((0, 100)));
    assert_eq!(snapshot.batch(&cid, 100).unwrap(), None);
    assert_eq!(snapshot.batch(&Cid::of("pack-1"), 5).unwrap(), None);
    assert_eq!(snapshot.bindings_of(&Cid::of("pack-1")).unwrap().len(), 2);
    assert_eq!(
        snapshot.events(None, 100).unwrap().len(),
        8,
        "seven transactions, and the minting of one pool"
    );
    let first = snapshot.events(None, 1).unwrap()[0].id;
    assert_eq!(snapshot.events(Some(first), 100).unwrap().len(), 7, "a cursor continues after its event");
}

#[test]
fn the_queue_admits_each_nonce_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    let signer = key("authority");
    let at = |nonce, id: &str| tx(&signer, nonce, register(id, Role::Module));
    let refused = |bytes| match chain.submit(bytes) {
        Err(SubmitError::Refused(r)) => r,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(at(2, "m-2")), Rejection::NonceGap);
    let bytes = at(1, "m-1");
    let first = chain.submit(bytes.clone()).unwrap();
    assert_eq!(chain.submit(bytes).unwrap(), first, "the same bytes again are the same transaction");
    assert_eq!(refused(at(1, "m-2")), Rejection::NonceUsed);
    chain.submit(at(2, "m-2")).unwrap();
    assert_eq!(refused(at(4, "m-4")), Rejection::NonceGap);
    assert_eq!(chain.waiting(), 2);
    engine.drain(|| START_MS).unwrap();
    assert_eq!(refused(at(2, "m-2")), Rejection::NonceUsed, "replay of a committed transaction");
    assert_eq!(chain.next_nonce(&signer.public()).unwrap(), 3);
    let mut forged = at(3, "m-3");
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(refused(forged), Rejection::EnvelopeSignature);
    assert_eq!(refused(vec![0; 70_000]), Rejection::TooLarge);
    // A transaction whose body is refused is in the block as a refused result and uses its nonce.
    let twice = chain.submit(at(3, "m-1")).unwrap();
    chain.submit(at(4, "m-4")).unwrap();
    engine.drain(|| START_MS).unwrap();
    let included = chain.read().unwrap().tx(&twice).unwrap().unwrap();
    assert_eq!(included.result.rejection, Some(Rejection::RegistryExists));
    assert_eq!(chain.status().unwrap().components, 3);
}

#[test]
fn what_waits_behind_a_block_keeps_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    let signer = key("authority");
    let first = chain.propose(START_MS, validator("v").verifying_key().to_bytes());
    submit(&chain, register("m-1", Role::Module));
    let second = {
        let tip = chain.commit(&first, &engine.certify(&first)).unwrap();
        assert_eq!(tip.height, 1);
        chain.propose(START_MS, validator("v").verifying_key().to_bytes())
    };
    submit(&chain, register("m-2", Role::Module));
    chain.commit(&second, &engine.certify(&second)).unwrap();
    assert_eq!((chain.waiting(), chain.next_nonce(&signer.public()).unwrap()), (1, 3));
    submit(&chain, register("m-3", Role::Module));
    engine.drain(|| START_MS).unwrap();
    assert_eq!(chain.status().unwrap().components, 3);
}

#[test]
fn an_expired_transaction_leaves_the_queue_with_those_that_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    let signer = key("authority");
    let operator = key("operator");
    let expiring = |nonce, id: &str, expiry_height| {
        let body = register(id, Role::Module);
        let u = Unsigned { chain_id: chain_id(), signer: signer.public(), nonce, expiry_height, body };
        let signature = signer.sign_rfc6979(&u.digest());
        u.with_signature(signature).to_bytes()
    };
    chain.submit(tx(&operator, 1, register("m-0", Role::Module))).unwrap();
    engine.cut(START_MS).unwrap();
    // Waits for height 2 only, but height 2 is made by someone else's block first.
    let block = chain.propose(START_MS, validator("v").verifying_key().to_bytes());
    let late = chain.submit(expiring(1, "m-1", 2)).unwrap();
    let next = chain.submit(expiring(2, "m-2", 9)).unwrap();
    let fate = |id: TxId| {
        let chain = Arc::clone(&chain);
        async move { chain.wait(&id).await.unwrap() }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fates = runtime.block_on(async {
        let waits = [tokio::spawn(fate(late)), tokio::spawn(fate(next))];
        tokio::task::yield_now().await;
        chain.commit(&block, &engine.certify(&block)).unwrap();
        engine.drain(|| START_MS).unwrap();
        let [a, b] = waits;
        [a.await.unwrap(), b.await.unwrap()]
    });
    assert_eq!(fates, [Fate::Dropped(Rejection::Expired), Fate::Dropped(Rejection::NonceGap)]);
    assert_eq!((chain.waiting(), chain.next_nonce(&signer.public()).unwrap()), (0, 1));
}

#[test]
fn a_block_is_committed_once_and_only_by_the_validators() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    submit(&chain, register("pack-1", Role::Pack));
    let block = chain.propose(START_MS, validator("v").verifying_key().to_bytes());
    let mut certificate = engine.certify(&block);
    certificate.signatures[0].1[0] ^= 1;
    assert!(matches!(chain.commit(&block, &certificate), Err(Error::Certificate(_))));
    let tip = chain.commit(&block, &engine.certify(&block)).unwrap();
    assert_eq!(
        chain.commit(&block, &engine.certify(&block)).unwrap(),
        tip,
        "again is no error and no new block"
    );
    assert_eq!(chain.status().unwrap().txs, 1);
    let mut other = block;
    other.header.time_ms += 1;
    assert!(
        matches!(chain.commit(&other, &engine.certify(&other)), Err(Error::Block(_))),
        "no second block of a height"
    );
    assert!(matches!(Solo::new(Arc::clone(&chain), validator("x")), Err(Error::NotTheValidator)));
}

/// Enough of them that they are verified on several cores.
#[test]
fn signatures_of_a_block_that_nobody_here_took_in_are_verified() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    let signer = key("authority");
    let mut txs = Vec::new();
    for nonce in 1..=40 {
        let good = tx(&signer, nonce, register(&format!("m-{nonce}"), Role::Module));
        let mut forged = good.clone();
        *forged.last_mut().unwrap() ^= 1;
        txs.extend([forged, good]);
    }
    // One of the good ones waits, and was verified when it came.
    chain.submit(txs[1].clone()).unwrap();
    let proposer = validator("v").verifying_key().to_bytes();
    let block = chain.tip().next_block(START_MS, proposer, txs.clone());
    chain.commit(&block, &engine.certify(&block)).unwrap();
    let snapshot = chain.read().unwrap();
    for (i, bytes) in txs.iter().enumerate() {
        let found = snapshot.tx(&ledger::tx::Tx::id_of(bytes)).unwrap().unwrap();
        let expected = (i % 2 == 0).then_some(Rejection::EnvelopeSignature);
        assert_eq!(found.result.rejection, expected, "transaction {i}");
    }
}

#[test]
fn a_transaction_refused_too_early_is_found_where_it_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    let early = tx(&key("authority"), 2, register("m-2", Role::Module));
    let id = ledger::tx::Tx::id_of(&early);
    let proposer = validator("v").verifying_key().to_bytes();
    let block = chain.tip().next_block(START_MS, proposer, vec![early.clone()]);
    chain.commit(&block, &engine.certify(&block)).unwrap();
    let found = || chain.read().unwrap().tx(&id).unwrap().map(|t| (t.height, t.result.rejection));
    assert_eq!(found(), Some((1, Some(Rejection::NonceGap))));
    submit(&chain, register("m-1", Role::Module));
    chain.submit(early).unwrap();
    engine.drain(|| START_MS).unwrap();
    assert_eq!(found(), Some((2, None)));
    assert!(chain.receipt_tx(&id).is_ok());
}

#[test]
fn blocks_that_are_not_full_keep_the_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let min_gap = Duration::from_millis(150);
    runtime.block_on(async {
        let run = tokio::spawn(engine.run(Config { min_gap }, || START_MS, std::future::pending()));
        let start = std::time::Instant::now();
        for id in ["m-1", "m-2", "m-3"] {
            chain.wait(&submit(&chain, register(id, Role::Module))).await.unwrap();
        }
        assert!(start.elapsed() >= 2 * min_gap, "three blocks, two gaps: {:?}", start.elapsed());
        run.abort();
    });
}

#[test]
fn directories_that_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = genesis();
    other.name = "other".into();
    let chain = open(dir.path());
    let said = |e: Option<Error>| e.unwrap().to_string();
    assert!(said(Chain::open(dir.path(), &genesis()).err()).ends_with("is in use by another process"));
    assert!(matches!(ReadOnly::open(dir.path(), None), Err(Error::Locked(_))));
    drop(chain);
    assert!(matches!(Chain::open(dir.path(), &other), Err(Error::OtherChain { .. })));
    assert!(matches!(ReadOnly::open(dir.path(), Some(&other.chain_id())), Err(Error::OtherChain { .. })));
    assert!(ReadOnly::open(dir.path(), Some(&chain_id())).is_ok());
    other.validators.clear();
    assert!(matches!(Chain::open(dir.path(), &other), Err(Error::Genesis(_))));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(ReadOnly::open(empty.path(), None), Err(Error::Missing(_))));
    let file = empty.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(
        matches!(Chain::open(&file, &genesis()), Err(Error::Io { .. })),
        "a file where the directory should be"
    );
    fs::write(empty.path().join("ledger.redb"), vec![7; 5000]).unwrap();
    assert!(matches!(Chain::open(empty.path(), &genesis()), Err(Error::Corrupted { .. })), "not a database");
    let mut segment = fs::read(dir.path().join("segments/segment-00000001")).unwrap();
    segment[5] ^= 1;
    fs::write(dir.path().join("segments/segment-00000001"), segment).unwrap();
    assert!(said(Chain::open(dir.path(), &genesis()).err()).contains("records of another chain"));
}

#[test]
fn another_format_version_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let db = redb::Database::open(dir.path().join("ledger.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    txn.open_table(meta).unwrap().insert("format", [0, 0, 0, 9].as_slice()).unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = Chain::open(dir.path(), &genesis()).err().unwrap();
    assert!(matches!(error, Error::FormatVersion { found: 9, known: 2, .. }), "{error}");
}

#[test]
fn a_second_process_reads_what_the_first_committed() {
    let dir = tempfile::tempdir().unwrap();
    let status = {
        let (chain, engine) = solo(dir.path());
        for body in setup() {
            submit(&chain, body);
        }
        submit(&chain, energy_with(&energy(EnergyKind::Opening, 1, 0, 0), &bound_key("pack-1", "app-1")));
        submit(
            &chain,
            energy_with(&energy(EnergyKind::Discharge, 1, 1, 1234), &bound_key("pack-1", "app-1")),
        );
        engine.drain(|| START_MS + 600_000).unwrap();
        chain.status().unwrap()
    };
    let reader = ReadOnly::open(dir.path(), Some(&chain_id())).unwrap();
    assert_eq!(reader.read().unwrap().status().unwrap(), status);
    assert_eq!(status.energy_discharged_mwh, 1234);
    assert_eq!(reader.genesis().unwrap(), genesis());
    assert_eq!(reader.read().unwrap().energy_events(&Cid::of("pack-1")).unwrap().len(), 2);
}

#[test]
fn the_engine_answers_promptly_and_then_rests() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let clock = || START_MS + 1000;
        let stopped = async { stopped.await.unwrap_or(()) };
        let run = tokio::spawn(engine.run(Config { min_gap: Duration::from_millis(5) }, clock, stopped));
        let mut heights = chain.subscribe();
        for body in setup() {
            let id = submit(&chain, body);
            let fate = tokio::time::timeout(Duration::from_secs(10), chain.wait(&id)).await.unwrap().unwrap();
            let Fate::Included { result, .. } = &fate else { panic!("{fate:?}") };
            assert!(result.accepted(), "{result:?}");
            assert_eq!(chain.wait(&id).await.unwrap(), fate, "asked again later, the answer is the same");
        }
        tokio::time::timeout(Duration::from_secs(10), heights.wait_for(|_| !chain.has_work()))
            .await
            .unwrap()
            .unwrap();
        let resting = chain.tip();
        assert_eq!(resting.tx_count, 0, "the last block is the empty one that certifies the last state");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(chain.tip(), resting, "no blocks while idle");
        // What was taken before the stop is in a block after it, certified.
        let last = submit(&chain, register("module-9", Role::Module));
        stop.send(()).unwrap();
        run.await.unwrap().unwrap();
        assert!(chain.receipt_tx(&last).is_ok());
        assert!(chain.wait(&[9; 32]).await.is_err(), "nobody waits for what is not known");
    });
}

#[test]
fn a_ledger_that_was_not_closed_is_repaired_by_whoever_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine) = solo(dir.path());
    for body in setup() {
        submit(&chain, body);
    }
    engine.drain(|| START_MS).unwrap();
    // A copy of the files of a running replica is what a power cut leaves behind.
    let copy = |to: &Path| {
        fs::create_dir_all(to.join("segments")).unwrap();
        for file in ["ledger.redb", "segments/segment-00000001"] {
            fs::copy(dir.path().join(file), to.join(file)).unwrap();
        }
    };
    let crashed = tempfile::tempdir().unwrap();
    copy(crashed.path());
    let reader = ReadOnly::open(crashed.path(), None).unwrap();
    assert_eq!(reader.read().unwrap().status().unwrap(), chain.status().unwrap());
    // Nobody has to walk over all of it before.
    let crashed = tempfile::tempdir().unwrap();
    copy(crashed.path());
    let mut database = redb::Database::builder();
    database.set_repair_callback(|walk| walk.abort());
    assert!(database.open(crashed.path().join("ledger.redb")).is_ok());
    let crashed = tempfile::tempdir().unwrap();
    copy(crashed.path());
    assert_eq!(open(crashed.path()).tip(), chain.tip());
}
