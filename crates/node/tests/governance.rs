//! A chain whose validators change: it goes on, and receipts of every time hold for who trusts its genesis.
//!
//! Rule L165.

use crate::world;

use std::sync::Arc;

use lct::id::Role;
use ledger::{
    anchor::{Handover, HandoverError, latest},
    block::{Certificate, CertificateError},
    codec::Canonical,
    genesis::{Params, Validator, ValidatorSet},
    receipt::{Receipt, ReceiptError, Trust, verify},
    reject::Rejection,
    tx::{Body, Change, Governance, Target, TxId},
    verdict::{Proved, Trusted},
};
use node::{Chain, Error, SubmitError, engine::solo::Solo};
use world::*;

const CLOCK: u64 = START_MS + 600_000;

fn set(labels: &[&str]) -> ValidatorSet {
    let one = |l: &&str| Validator { key: validator(l).verifying_key().to_bytes(), power: 1 };
    ValidatorSet(labels.iter().map(one).collect())
}

/// A chain, its engine with the keys of all validators there will be, and the next nonce of the authority.
struct World {
    chain: Arc<Chain>,
    engine: Solo,
    nonce: u64,
}

impl World {
    fn new(dir: &std::path::Path) -> Self {
        let chain = Arc::new(Chain::open(dir, &genesis()).unwrap());
        let keys = ["v", "a", "b", "c", "d"].map(validator).to_vec();
        let engine = Solo::with_keys(Arc::clone(&chain), keys).unwrap();
        Self { chain, engine, nonce: 0 }
    }

    /// A transaction in a block of its own; its height is the answer.
    fn send(&mut self, body: Body) -> (TxId, u64) {
        self.nonce += 1;
        let id = self.chain.submit(tx(&key("authority"), self.nonce, body)).unwrap();
        (id, self.engine.cut(CLOCK).unwrap().unwrap().height)
    }

    fn validators(&mut self, labels: &[&str], height: u64) -> TxId {
        self.send(Body::Govern(Governance { change: Change::Validators(set(labels)), height })).0
    }

    fn receipt(&self, id: &TxId) -> Receipt {
        self.chain.receipt_tx(id).unwrap()
    }
}

fn registered(n: u32) -> Body {
    register(&format!("module-{n}"), Role::Module)
}

#[test]
fn receipts_hold_across_changes_of_validators() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    let mut ids = vec![world.send(registered(1)).0];
    ids.push(world.validators(&["a", "b", "c", "d"], 5));
    ids.extend((2..5).map(|n| world.send(registered(n)).0));
    assert_eq!(world.chain.validators(), set(&["a", "b", "c", "d"]));
    // A second change is decided, and decided otherwise before it holds.
    ids.push(world.validators(&["c"], 9));
    ids.push(world.validators(&["b", "c", "d"], 9));
    ids.extend((5..9).map(|n| world.send(registered(n)).0));
    assert_eq!(world.chain.validators(), set(&["b", "c", "d"]));
    world.engine.drain(|| CLOCK).unwrap();

    let trust = genesis().trust();
    let receipts: Vec<_> = ids.iter().map(|id| world.receipt(id)).collect();
    let mut signers = Vec::new();
    for receipt in &receipts {
        let verdict = verify(&receipt.to_file(), Some(&trust)).unwrap();
        assert_eq!(verdict.trusted, Trusted::Yes);
        assert_eq!(verify(&receipt.to_file(), None).unwrap().trusted, Trusted::SignerUnknown);
        signers.push((verdict.signatures, receipt.handovers.len()));
    }
    // What block h did is certified by the validators of block h + 1.
    let expected = [(1, 0), (1, 0), (1, 0), (4, 1), (4, 1), (4, 1), (4, 1), (3, 2), (3, 2), (3, 2), (3, 2)];
    assert_eq!(signers, expected);
    let Proved::Governance(g) = verify(&receipts[1].to_file(), Some(&trust)).unwrap().proved else {
        panic!("a decision is proved as such");
    };
    assert_eq!((g.change, g.height), (Change::Validators(set(&["a", "b", "c", "d"])), 5));

    // Who trusts later validators follows from there; what was before them it cannot place.
    let later = Trust { validators: set(&["a", "b", "c", "d"]), height: 5, ..trust.clone() };
    let last = receipts.last().unwrap();
    assert_eq!(verify(&last.to_file(), Some(&later)).unwrap().trusted, Trusted::Yes);
    assert_eq!(verify(&receipts[4].to_file(), Some(&later)).unwrap().trusted, Trusted::Yes);
    let early = verify(&receipts[0].to_file(), Some(&later));
    assert_eq!(early, Err(ReceiptError::UntrustedValidators));

    type Row = (&'static str, fn(&mut Receipt), ReceiptError);
    let order = ReceiptError::Handover(HandoverError::Order);
    let proof = ReceiptError::Handover(HandoverError::Proof);
    let signature = ReceiptError::Handover(HandoverError::Certificate(CertificateError::Signature));
    let unknown = ReceiptError::Handover(HandoverError::Certificate(CertificateError::UnknownValidator));
    let rows: [Row; 8] = [
        ("none", |r| r.handovers.clear(), ReceiptError::UntrustedValidators),
        ("the second one only", |r| drop(r.handovers.remove(0)), unknown.clone()),
        ("in another order", |r| r.handovers.swap(0, 1), unknown),
        ("one twice", |r| r.handovers.insert(1, r.handovers[0].clone()), order.clone()),
        ("of another chain", |r| r.handovers[0].header.chain_id = [1; 32], order),
        ("another state", |r| r.handovers[0].header.state_root = [1; 32], proof.clone()),
        ("a proof of another time", |r| r.handovers[0].proof = r.handovers[1].proof.clone(), proof),
        ("a header nobody signed", |r| r.handovers[0].header.time_ms += 1, signature),
    ];
    for (what, change, expected) in rows {
        let mut receipt = last.clone();
        change(&mut receipt);
        assert_eq!(verify(&receipt.to_file(), Some(&trust)), Err(expected), "{what}");
    }

    // A receipt has room for the last 256 changes, and of large sets for fewer.
    let times = |n: u64| -> Vec<_> {
        let at = |height| {
            let mut handover = last.handovers[0].clone();
            handover.header.height = height;
            handover
        };
        (0..n).map(at).collect()
    };
    let heights = |list: Vec<Handover>| list.iter().map(|h| h.header.height).collect::<Vec<_>>();
    assert_eq!(heights(latest(times(3))), [0, 1, 2]);
    assert_eq!(heights(latest(times(300))), (44..300).collect::<Vec<_>>());
    let large = |mut handover: Handover| {
        handover.certificate.signatures = vec![handover.certificate.signatures[0]; 128];
        handover
    };
    let (all, each) =
        (times(200).into_iter().map(large).collect(), large(times(1).remove(0)).to_bytes().len());
    let kept = latest(all);
    assert!(kept.len() < 200 && kept.last().unwrap().header.height == 199);
    assert!(((1 << 19) - 2 * each..=1 << 19).contains(&(kept.len() * each)), "{} of {each}", kept.len());

    // Validators that were never handed over to, on the true chain: their certificate changes nothing.
    let mut usurped = last.clone();
    let forged = Certificate { signatures: vec![] };
    usurped.handovers[1].certificate = forged;
    let quorum = HandoverError::Certificate(CertificateError::Quorum);
    assert_eq!(verify(&usurped.to_file(), Some(&trust)), Err(ReceiptError::Handover(quorum)));
    assert_eq!(
        verify(&usurped.to_file(), None),
        Err(ReceiptError::Handover(quorum)),
        "not even consistent in itself"
    );
}

#[test]
fn a_replica_goes_on_under_what_was_decided() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    let params = Params { max_tx_bytes: 8192, ..Params::default() };
    let change = Change::Params(params.clone());
    world.send(Body::Govern(Governance { change, height: 3 }));
    world.validators(&["a", "b", "c", "x"], 4);
    assert_eq!(world.chain.params(), params);
    let long = world.chain.submit(vec![0; 8193]);
    assert!(matches!(long, Err(SubmitError::Refused(Rejection::TooLarge))));
    // Three of the four new keys are here: enough.
    world.send(Body::Revoke { target: Target::Batch([1; 16]), reason: 2 });
    world.send(Body::Revoke { target: Target::Batch([2; 16]), reason: 2 });
    let tip = world.chain.tip();
    drop(world);

    let chain = Arc::new(Chain::open(dir.path(), &genesis()).unwrap());
    assert_eq!(chain.tip(), tip);
    assert_eq!((chain.params(), chain.validators()), (params, set(&["a", "b", "c", "x"])));
    let two = ["v", "a", "b", "a"].map(validator).to_vec();
    assert!(matches!(Solo::with_keys(Arc::clone(&chain), two), Err(Error::NotTheValidator)));
    let engine = Solo::with_keys(chain, ["a", "b", "c"].map(validator).to_vec()).unwrap();
    assert_eq!(engine.cut(CLOCK).unwrap().map(|tip| tip.height), Some(5));
}

/// The keys at hand are not those of the next validators: the engine stops where it would forge, and says why.
#[test]
fn an_engine_without_the_next_validators_stops_before_their_first_block() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path());
    world.validators(&["x"], 3);
    world.send(registered(1));
    world.chain.submit(tx(&key("authority"), 3, registered(2))).unwrap();
    assert!(matches!(world.engine.cut(CLOCK), Err(Error::NotTheValidator)));
    assert_eq!(world.chain.tip().height, 2);
    drop(world);
    let chain = Arc::new(Chain::open(dir.path(), &genesis()).unwrap());
    let engine = Solo::new(Arc::clone(&chain), validator("x")).unwrap();
    let id = chain.submit(tx(&key("authority"), 3, registered(2))).unwrap();
    engine.drain(|| CLOCK).unwrap();
    assert_eq!(
        verify(&chain.receipt_tx(&id).unwrap().to_file(), Some(&genesis().trust())).unwrap().height,
        3
    );
}
