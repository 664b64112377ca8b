//! Every change of a tensor, from its first one, with what proves it (L227).

use crate::world;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use lct::{
    id::{Cid, Role},
    trust::TrustContext,
};
use ledger::{
    codec::Canonical,
    records::{Cause, Change, Tensor, TrustSubject, key as state_key},
    tx::Body,
};
use node::{
    Chain, ReadOnly, Snapshot, Span,
    archive::{Start, restore},
    engine::solo::Solo,
    past::PastError,
    snapshot::{ChangeRow, History, Proof},
};
use redb::{Database, ReadableTable, TableDefinition, TableHandle};
use world::*;

const HOUR_MS: u64 = 3_600_000;
const OPERATION: TrustContext = TrustContext::Operation;

fn pack() -> TrustSubject {
    TrustSubject::Component(Cid::of("pack-1"))
}

fn history(snapshot: &Snapshot<'_>, span: Span<u64>) -> History {
    snapshot.changes_of(&pack(), OPERATION, &span).unwrap().unwrap()
}

fn numbers(history: &History) -> Vec<u64> {
    history.changes.iter().map(|row| row.number).collect()
}

fn told(history: &History) -> Vec<(u64, u64, Change)> {
    history.changes.iter().map(|row| (row.number, row.height, row.change)).collect()
}

/// A pack of which its app reports `singly` hours in a block each, and then `at_once` in one block. The history as the state after each
/// block had it at its end.
fn judged(dir: &Path, singly: u64, at_once: u64) -> (Arc<Chain>, Solo, BTreeMap<u64, Change>) {
    let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("v")).unwrap();
    let submit = |body: Body| {
        let authority = key("authority");
        let nonce = chain.next_nonce(&authority.public()).unwrap();
        chain.submit(tx(&authority, nonce, body)).unwrap();
    };
    let (app, pack_role) = (("app-1", Role::App), ("pack-1", Role::Pack));
    for body in [register("app-1", Role::App), register("pack-1", Role::Pack), bind(app, pack_role)] {
        submit(body);
    }
    engine.cut(START_MS + HOUR_MS).unwrap();
    let mut seen = BTreeMap::new();
    let mut look = || {
        let tensor: Tensor =
            chain.read().unwrap().get(&state_key::tensor(&pack(), OPERATION)).unwrap().unwrap();
        seen.extend(tensor.numbered().map(|(number, change)| (number, *change)));
    };
    look();
    submit(pair("app-1", "pack-1", 1));
    engine.cut(START_MS + HOUR_MS + 1).unwrap();
    look();
    let report = |n: u64| {
        let end_ms = START_MS + (n + 2) * HOUR_MS;
        let each = 400_000 + (n % 50) as u32 * 10_000;
        metrics_with(&metrics("app-1", "pack-1", end_ms, each), &bound_key("app-1", "pack-1"))
    };
    for n in 0..singly {
        submit(report(n));
        engine.cut(START_MS + (n + 2) * HOUR_MS).unwrap();
        look();
    }
    (singly..singly + at_once).map(report).for_each(submit);
    if at_once > 0 {
        engine.cut(START_MS + (singly + at_once + 2) * HOUR_MS).unwrap();
        look();
    }
    engine.drain(|| START_MS + (singly + at_once + 2) * HOUR_MS).unwrap();
    (chain, engine, seen)
}

#[test]
fn every_change_from_the_first_one_is_told_and_proved() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, _engine, seen) = judged(dir.path(), 20, 12);
    let snapshot = chain.read().unwrap();
    let all = history(&snapshot, Span::all());
    // The baseline, a pairing, and 32 reports.
    assert_eq!((all.count, all.first, numbers(&all)), (34, 1, (1..=34).collect()));
    assert_eq!(all.changes[0].change.cause, Cause::Baseline);
    for row in &all.changes {
        let included = snapshot.tx(&row.change.tx).unwrap().unwrap();
        assert_eq!((included.height, included.result.rejection), (row.height, None), "change {}", row.number);
        assert!(seen.get(&row.number).is_none_or(|change| *change == row.change), "change {}", row.number);
    }
    // Of twelve changes in one block the state kept the last eight.
    let missed: Vec<u64> = numbers(&all).into_iter().filter(|n| !seen.contains_key(n)).collect();
    assert_eq!(missed, [23, 24, 25, 26]);

    let mut unproved = Vec::new();
    for ChangeRow { number, height, change, proof } in &all.changes {
        assert_eq!(*proof, Proof::Kept);
        let excerpt = snapshot.change_excerpt(&pack(), OPERATION, *number).unwrap().unwrap();
        let proved = excerpt.check(&genesis().trust()).unwrap();
        assert_eq!((proved.height, &proved.key), (*height, &state_key::tensor(&pack(), OPERATION)));
        let tensor = Tensor::from_bytes(&proved.value.unwrap()).unwrap();
        match tensor.numbered().find(|(n, _)| n == number) {
            Some((_, kept)) => assert_eq!(kept, change),
            None => unproved.push(*number),
        }
    }
    assert_eq!(unproved, missed, "and the transactions that these name have receipts");
    chain.receipt_tx(&all.changes[22].change.tx).unwrap();
    for number in [0, 35] {
        assert_eq!(snapshot.change_excerpt(&pack(), OPERATION, number).unwrap(), None);
    }

    assert_eq!(numbers(&history(&snapshot, Span::of(Some(30), 3))), [31, 32, 33]);
    assert_eq!(numbers(&history(&snapshot, Span::of(Some(34), 3))), []);
    assert_eq!(numbers(&history(&snapshot, Span::back(None, 2))), [34, 33]);
    assert_eq!(numbers(&history(&snapshot, Span::back(Some(3), 9))), [2, 1]);
    assert_eq!(numbers(&history(&snapshot, Span::of(Some(u64::MAX), 9))), []);
    // Before a change there is none.
    let height = all.changes[10].height;
    let then = history(&chain.read().unwrap().at(height).unwrap(), Span::all());
    assert_eq!((then.count, numbers(&then)), (11, (1..=11).collect()));
    let nobody = TrustSubject::Component(Cid::of("module-1"));
    assert_eq!(snapshot.changes_of(&nobody, OPERATION, &Span::all()).unwrap(), None);
    assert_eq!(snapshot.changes_of(&pack(), TrustContext::Diagnostic, &Span::all()).unwrap(), None);
    let relation = TrustSubject::Relation(binding_id("app-1", "pack-1"));
    let of_relation = snapshot.changes_of(&relation, OPERATION, &Span::all()).unwrap().unwrap();
    assert_eq!((of_relation.count, of_relation.first), (1, 1));
}

#[test]
fn a_last_change_waits_for_the_block_that_certifies_it() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine, _) = judged(dir.path(), 1, 0);
    let report = metrics("app-1", "pack-1", START_MS + 9 * HOUR_MS, 500_000);
    let nonce = chain.next_nonce(&key("authority").public()).unwrap();
    let body = metrics_with(&report, &bound_key("app-1", "pack-1"));
    chain.submit(tx(&key("authority"), nonce, body)).unwrap();
    engine.cut(START_MS + 9 * HOUR_MS).unwrap();
    let last = |chain: &Chain| history(&chain.read().unwrap(), Span::back(None, 1)).changes[0];
    let row = last(&chain);
    assert_eq!((row.number, row.proof), (4, Proof::Pending));
    let excerpt = |chain: &Chain| chain.read().unwrap().change_excerpt(&pack(), OPERATION, 4);
    assert!(matches!(excerpt(&chain), Err(PastError::Future { .. })));
    engine.drain(|| START_MS + 9 * HOUR_MS).unwrap();
    assert_eq!(last(&chain).proof, Proof::Kept);
    assert!(excerpt(&chain).unwrap().is_some());
}

#[test]
fn pruning_takes_the_proofs_and_leaves_the_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, _engine, _) = judged(dir.path(), 120, 0);
    let before = history(&chain.read().unwrap(), Span::all());
    let receipt = chain.receipt_tx(&before.changes[4].change.tx).unwrap().to_file();
    assert!(chain.prune(15, 0).unwrap().blocks > 0);
    let snapshot = chain.read().unwrap();
    let after = history(&snapshot, Span::all());
    assert_eq!(told(&after), told(&before));
    for row in &after.changes {
        let proof = if row.height < 15 { Proof::Pruned } else { Proof::Kept };
        assert_eq!(row.proof, proof, "change {} of block {}", row.number, row.height);
    }
    let gone = snapshot.change_excerpt(&pack(), OPERATION, 5);
    assert!(matches!(gone, Err(PastError::Forgotten { oldest: 15, .. })), "{gone:?}");
    ledger::receipt::verify(&receipt, Some(&genesis().trust())).unwrap();
}

#[test]
fn what_is_restored_knows_the_changes_since_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, _engine, _) = judged(&dir.path().join("a"), 20, 3);
    let whole = history(&chain.read().unwrap(), Span::all());
    let restored = |start, name: &str| {
        let mut file = Vec::new();
        chain.archive(start, &mut file).unwrap();
        let to = dir.path().join(name);
        restore(&to, &file[..], (&genesis().trust(), None), |_| ()).unwrap();
        history(&ReadOnly::open(&to, None).unwrap().read().unwrap(), Span::all())
    };
    assert_eq!(restored(Start::Genesis, "b"), whole, "executed anew, the same changes with the same proofs");
    // What the tensor of the base kept is known, though not from which blocks it came; the rest is gone, and said to be.
    let from = restored(Start::State(whole.changes[14].height), "c");
    assert_eq!((from.count, from.first), (25, 8));
    for (row, known) in from.changes.iter().zip(&whole.changes[7..]) {
        assert_eq!((row.number, row.change), (known.number, known.change));
        let expected = if row.number > 15 { (known.height, Proof::Kept) } else { (0, Proof::Pruned) };
        assert_eq!((row.height, row.proof), expected, "change {}", row.number);
    }
}

#[test]
fn a_ledger_that_did_not_keep_them_begins_with_what_its_tensors_tell() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine, _) = judged(dir.path(), 20, 0);
    let whole = history(&chain.read().unwrap(), Span::all());
    drop((chain, engine));
    {
        let db = Database::open(dir.path().join("ledger.redb")).unwrap();
        let txn = db.begin_write().unwrap();
        let table = txn.list_tables().unwrap().find(|table| table.name() == "changes of tensors").unwrap();
        assert!(txn.delete_table(table).unwrap());
        let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
        assert!(txn.open_table(meta).unwrap().remove("indexes").unwrap().is_some());
        txn.commit().unwrap();
    }
    let found = history(&Chain::open(dir.path(), &genesis()).unwrap().read().unwrap(), Span::all());
    assert_eq!((found.count, found.first), (22, 15));
    assert_eq!(found.changes, whole.changes[14..], "the blocks of transactions that are kept are found");
}

#[test]
fn a_past_state_is_not_told_a_change_of_its_future() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, engine, _) = judged(dir.path(), 20, 0);
    let whole = history(&chain.read().unwrap(), Span::all());
    drop((chain, engine));
    {
        // As if the pack were bound anew at the end: its changes stand in the rows of the first ones.
        let db = Database::open(dir.path().join("ledger.redb")).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let name = "changes of tensors";
            let changes: TableDefinition<'_, (&[u8], u64), &[u8]> = TableDefinition::new(name);
            let mut table = txn.open_table(changes).unwrap();
            let at = state_key::tensor(&pack(), OPERATION);
            let last = table.get((at.as_slice(), whole.count)).unwrap().unwrap().value().to_vec();
            for number in [1_u64, 2, 5] {
                table.insert((at.as_slice(), number), last.as_slice()).unwrap();
            }
        }
        txn.commit().unwrap();
    }
    let ledger = ReadOnly::open(dir.path(), None).unwrap();
    // The tensor of then kept its last eight, the fourth to the eleventh.
    let then = history(&ledger.read().unwrap().at(whole.changes[10].height).unwrap(), Span::all());
    assert_eq!((then.count, then.first), (11, 3));
    assert_eq!(told(&then), told(&whole)[2..11]);
}
