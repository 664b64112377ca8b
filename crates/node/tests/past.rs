//! Questions about the past, checkpoints and witnesses: what is answered holds for who trusts nobody here.
//!
//! Rules L166 to L168, L170 to L174, L223, L250 and L251.

use crate::world;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use lct::id::{Cid, Role};
use ledger::{
    anchor::HandoverError,
    block::CertificateError,
    checkpoint::{Checkpoint, CheckpointError, Inclusion, Statement, Succession},
    codec::{Canonical, FormatError},
    excerpt::Found,
    genesis::{Validator, ValidatorSet},
    proof::{Absence, StateProof},
    receipt::{ReceiptError, verify, verify_within},
    records::{Totals, key as state_key},
    tx::{Body, Change, Governance},
    verdict::Trusted,
};
use node::{Chain, engine::solo::Solo, past::PastError};
use world::*;

const CLOCK: u64 = START_MS + 600_000;

struct World {
    chain: Arc<Chain>,
    engine: Solo,
    nonce: u64,
}

impl World {
    fn new(dir: &Path, validators: &[&str]) -> Self {
        let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
        let keys = validators.iter().map(|l| validator(l)).collect();
        let engine = Solo::with_keys(Arc::clone(&chain), keys).unwrap();
        Self { chain, engine, nonce: 0 }
    }

    fn send(&mut self, body: Body) -> lct::Digest {
        self.nonce += 1;
        let id = self.chain.submit(tx(&key("authority"), self.nonce, body)).unwrap();
        self.engine.cut(CLOCK).unwrap();
        id
    }

    fn register(&mut self, n: u64) {
        self.send(register(&format!("module-{n}"), Role::Module));
    }

    fn hand_to(&mut self, labels: &[&str]) {
        let one = |l: &&str| Validator { key: validator(l).verifying_key().to_bytes(), power: 1 };
        let change = Change::Validators(ValidatorSet(labels.iter().map(one).collect()));
        let height = self.chain.tip().height + 3;
        self.send(Body::Govern(Governance { change, height }));
    }
}

#[test]
fn the_state_of_each_kept_height_with_proofs_of_what_is_there_and_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), &["v"]);
    let component = |n: u64| state_key::component(&Cid::of(&format!("module-{n}")));
    let mut totals = BTreeMap::new();
    for n in 1..=115 {
        // Empty blocks in between: a height is not a version of the tree.
        if n % 9 == 0 {
            world.engine.drain(|| CLOCK).unwrap();
        }
        world.register(n);
        let snapshot = world.chain.read().unwrap();
        totals.insert(snapshot.tip().height, (n, (snapshot.tip(), snapshot.totals().unwrap())));
    }
    let snapshot = world.chain.read().unwrap();
    let tip = snapshot.tip().height;
    assert!(tip > 120);
    for (height, (n, (tip_then, expected))) in totals.range(tip - 100..) {
        let past = world.chain.read().unwrap().at(*height).unwrap();
        assert_eq!(past.get::<Totals>(state_key::TOTALS).unwrap().as_ref(), Some(expected));
        assert_eq!(past.tip(), *tip_then);
        let root = past.tip().state_root;
        // What is found by the beginning of its key is what was there then, in the order of now.
        let then: Vec<Cid> = past.components().unwrap().into_iter().map(|(cid, _)| cid).collect();
        assert_eq!(then.len() as u64, *n);
        let now = snapshot.components().unwrap().into_iter().map(|(cid, _)| cid);
        assert!(now.filter(|cid| then.contains(cid)).eq(then.iter().copied()));
        let older = height - 1;
        if older >= tip - 100 {
            assert_eq!(past.at(older).unwrap().tip().height, older, "from one height to an older one");
        }
        let past = world.chain.read().unwrap().at(*height).unwrap();
        // What came later is not there yet, and that is provable; what came before stays provable.
        let Found::Present(proof) = past.prove(&component(*n)).unwrap() else { panic!("{n} is there") };
        assert!(proof.leads_to(&root));
        assert_eq!(StateProof::from_bytes(&proof.to_bytes()), Ok(proof));
        let Found::Absent(proof) = past.prove(&component(n + 1)).unwrap() else { panic!("{} is not", n + 1) };
        assert!(proof.leads_to(&root));
        assert_eq!(Absence::from_bytes(&proof.to_bytes()), Ok(proof));
    }
    assert!(matches!(world.chain.read().unwrap().at(tip + 1), Err(PastError::Future { .. })));
    let old = snapshot.at(tip - 101).err();
    assert!(matches!(old, Some(PastError::Forgotten { oldest, .. }) if oldest == tip - 100));
}

#[test]
fn a_cursor_leads_through_all_events_and_a_foreign_one_shows_as_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), &["v"]);
    (1..=7).for_each(|n| world.register(n));
    let snapshot = world.chain.read().unwrap();
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let page = snapshot.page(cursor, 3).unwrap();
        assert!(!page.gap);
        if page.events.is_empty() {
            assert_eq!(page.next, cursor, "a cursor at the end stays where it is");
            break;
        }
        seen.extend(page.events.iter().map(|e| e.id));
        cursor = page.next;
    }
    assert_eq!(seen, (1..=7).map(|height| (height, 0, 0)).collect::<Vec<_>>());
    for foreign in [(8, 0, 0), (3, 1, 0), (0, 0, 0)] {
        assert!(snapshot.page(Some(foreign), 3).unwrap().gap, "{foreign:?}");
    }
}

#[test]
fn checkpoints_follow_each_other_or_show_that_they_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), &["v", "a", "b", "c", "d"]);
    assert!(matches!(world.engine.checkpoint(), Err(PastError::Future { .. })));
    world.register(1);
    let mut made = vec![world.engine.checkpoint().unwrap()];
    world.hand_to(&["a", "b", "c", "d"]);
    for n in 2..12 {
        world.register(n);
        made.push(world.engine.checkpoint().unwrap());
    }
    world.engine.drain(|| CLOCK).unwrap();
    let snapshot = world.chain.read().unwrap();
    for (i, old) in made.iter().enumerate() {
        assert_eq!(Checkpoint::from_file(&old.to_file()).as_ref(), Ok(old));
        for new in &made[i..] {
            let by = snapshot.succession(old.statement.height, new.statement.height).unwrap();
            let read = Succession::from_file(&by.to_file()).unwrap();
            assert_eq!(read, by);
            assert_eq!(new.check_follows(old, &read), Ok(()));
        }
    }

    // The state of a checkpoint proves what is in it and what is not.
    let last = made.last().unwrap();
    let past = world.chain.read().unwrap().at(last.statement.height).unwrap();
    assert_eq!(past.tip().state_root, last.statement.state_root);
    assert_eq!(past.checkpoint().unwrap(), last.statement, "also later");
    let Found::Absent(proof) = past.prove(&state_key::component(&Cid::of("module-99"))).unwrap() else {
        panic!("it was never registered");
    };
    assert!(proof.leads_to(&last.statement.state_root));

    // Who trusts a checkpoint trusts what its validators certified, before and after it.
    let id = snapshot.block(5).unwrap().unwrap().txs[0].clone();
    let receipt = snapshot.receipt_tx(&ledger::tx::Tx::id_of(&id)).unwrap().to_file();
    for checkpoint in [&made[0], last] {
        assert_eq!(verify(&receipt, Some(&checkpoint.trust())).unwrap().trusted, Trusted::Yes);
    }

    // And what validators of before certified, if it is shown to lie in the checkpoint's history.
    let id = snapshot.block(1).unwrap().unwrap().txs[0].clone();
    let receipt = snapshot.receipt_tx(&ledger::tx::Tx::id_of(&id)).unwrap().to_file();
    let alone = verify(&receipt, Some(&last.trust()));
    assert_eq!(alone.err(), Some(ReceiptError::UntrustedValidators));
    for checkpoint in &made[1..] {
        let statement = &checkpoint.statement;
        let by = snapshot.inclusion(2, statement.height).unwrap();
        assert_eq!(Inclusion::from_file(&by.to_file()).as_ref(), Ok(&by));
        let verdict = verify_within(&receipt, statement, &by).unwrap();
        assert_eq!((verdict.trusted, verdict.height), (Trusted::Yes, 1));
        assert_eq!((verdict.signatures, verdict.validators), (0, None), "its certificate was not judged");
        let refused = |statement: &Statement, by: &Inclusion| verify_within(&receipt, statement, by).err();
        let longer = Inclusion { path: [&by.path[..], &[[0; 32]]].concat(), ..by.clone() };
        let elsewhere = Inclusion { height: by.height + 1, ..by.clone() };
        let of_another = snapshot.inclusion(1, statement.height).unwrap();
        for (what, by) in [("longer", &longer), ("elsewhere", &elsewhere), ("another block", &of_another)] {
            assert_eq!(refused(statement, by), Some(ReceiptError::NotInHistory), "{what}");
        }
        let forged = Statement { tree_root: [1; 32], ..statement.clone() };
        assert_eq!(refused(&forged, &by), Some(ReceiptError::NotInHistory));
        let foreign = Statement { chain_id: [1; 32], ..statement.clone() };
        assert_eq!(refused(&foreign, &by), Some(ReceiptError::OtherChain));
    }
    assert!(matches!(snapshot.inclusion(3, 2), Err(PastError::Future { .. })));
    assert!(matches!(snapshot.inclusion(0, 2), Err(PastError::Future { .. })));

    let first = &made[0];
    let by = snapshot.succession(first.statement.height, last.statement.height).unwrap();
    type Row = (&'static str, fn(&mut Checkpoint, &mut Succession), CheckpointError);
    let rows: [Row; 7] = [
        ("another chain", |c, _| c.statement.chain_id = [1; 32], CheckpointError::OtherChain),
        ("an older one", |c, _| c.statement.height = 0, CheckpointError::Height),
        ("another one of the same height", |c, _| c.statement.height = 1, CheckpointError::Fork),
        ("another history", |c, _| c.statement.tree_root = [1; 32], CheckpointError::Inconsistent),
        ("no path", |_, s| s.path.clear(), CheckpointError::Inconsistent),
        ("no handover", |_, s| s.handovers.clear(), CheckpointError::Validators),
        (
            "a handover that nobody certified",
            |_, s| s.handovers[0].certificate.signatures.clear(),
            CheckpointError::Handover(HandoverError::Certificate(CertificateError::Quorum)),
        ),
    ];
    for (what, change, expected) in rows {
        let (mut checkpoint, mut by) = (last.clone(), by.clone());
        change(&mut checkpoint, &mut by);
        assert_eq!(checkpoint.check_follows(first, &by), Err(expected), "{what}");
    }
    assert!(snapshot.succession(0, 3).is_err() && snapshot.succession(3, 2).is_err());
    assert!(snapshot.succession(1, 99).is_err());
}

#[test]
fn files_that_are_no_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), &["v"]);
    world.register(1);
    let mut checkpoint = world.engine.checkpoint().unwrap();
    let witness = key("witness");
    let digest = checkpoint.statement.witness_digest();
    checkpoint.add_witness(witness.public(), witness.sign_rfc6979(&digest));
    checkpoint.add_witness(witness.public(), witness.sign_rfc6979(&digest));
    assert_eq!(checkpoint.witnesses.len(), 1, "a witness counts once");
    let file = checkpoint.to_file();
    assert_eq!(Checkpoint::from_file(&file), Ok(checkpoint.clone()));

    let with = |change: fn(&mut Checkpoint)| {
        let mut bad = checkpoint.clone();
        change(&mut bad);
        Checkpoint::from_file(&bad.to_file()).unwrap_err()
    };
    let bytes = |change: fn(&mut Vec<u8>)| {
        let mut bad = file.clone();
        change(&mut bad);
        Checkpoint::from_file(&bad).unwrap_err()
    };
    assert_eq!(bytes(|f| f[0] = b'm'), CheckpointError::NotACheckpoint);
    assert_eq!(bytes(|f| f.truncate(4)), CheckpointError::NotACheckpoint);
    assert_eq!(bytes(|f| f[4] = 2), CheckpointError::Version(2));
    assert_eq!(bytes(|f| f.resize(2 << 20, 0)), CheckpointError::TooLong);
    assert_eq!(bytes(|f| f.push(0)), CheckpointError::Format(FormatError::Trailing));
    assert_eq!(with(|c| c.validators.0[0].power = 2), CheckpointError::Validators);
    assert_eq!(with(|c| c.statement.height = 9), CheckpointError::Certificate(CertificateError::Signature));
    assert_eq!(
        with(|c| c.certificate.signatures.clear()),
        CheckpointError::Certificate(CertificateError::Quorum)
    );
    assert_eq!(with(|c| c.witnesses[0].1.0[5] ^= 1), CheckpointError::Witness);
    assert_eq!(with(|c| c.witnesses.push(c.witnesses[0])), CheckpointError::Witness);
    for n in 0..file.len() {
        assert!(Checkpoint::from_file(&file[..n]).is_err(), "cut at {n}");
        let mut bad = file.clone();
        bad[n] ^= 0x10;
        assert!(Checkpoint::from_file(&bad).is_err(), "byte {n}");
    }
}
