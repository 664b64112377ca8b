//! Blocks: what may follow a tip, execution that repeats to the byte, conservation of energy, and proofs.
//!
//! Rules L10 to L14, L62, L63, L70 to L74 and L166.

use crate::world;

use lct::{
    Digest,
    energy::{EnergyEvent, EnergyKind},
    hash::sha256,
    id::{Cid, Role},
};
use ledger::{
    block::{Block, Certificate, CertificateError},
    codec::{Canonical, FormatError},
    execute::{BlockError, Tip, check_block, execute, genesis_writes},
    genesis::{Genesis, GenesisError, Validator, ValidatorSet},
    outcome::TxResult,
    proof::{Absence, StateProof},
    records::{Pool, Totals, key as state_key},
    reject::Rejection,
    state::{Halt, Writes, load},
    tx::{Body, Tx},
};
use proptest::{prelude::*, test_runner::RngSeed};
use world::*;

/// A replica in memory. Its state root is a plain hash over all entries: any difference shows.
struct Replica {
    state: Writes,
    tip: Tip,
}

fn root(state: &Writes) -> Digest {
    let parts: Vec<Vec<u8>> =
        state.iter().map(|(k, v)| [&sha256(&[k])[..], &sha256(&[v.as_ref().unwrap()])].concat()).collect();
    sha256(&[&parts.concat()])
}

impl Replica {
    fn new() -> Self {
        let state = genesis_writes(&genesis());
        let tip = Tip::genesis(&genesis(), root(&state));
        Self { state, tip }
    }

    fn next(&self, txs: Vec<Vec<u8>>) -> Block {
        self.tip.next_block(self.tip.time_ms + 1000, validator("v").verifying_key().to_bytes(), txs)
    }

    fn run(&mut self, block: &Block) -> Vec<TxResult> {
        let set = ValidatorSet(genesis().validators);
        check_block(&self.tip, &genesis().params, &set, block).unwrap();
        let outcome = execute(&self.state, block).unwrap();
        self.state.extend(outcome.writes.clone());
        self.tip = Tip::after(block, &outcome, root(&self.state));
        outcome.results
    }
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

fn signed(bodies: Vec<Body>, first_nonce: u64) -> Vec<Vec<u8>> {
    (first_nonce..).zip(bodies).map(|(nonce, body)| tx(&key("authority"), nonce, body)).collect()
}

#[test]
fn blocks_that_do_not_follow() {
    let mut replica = Replica::new();
    let first = replica.next(signed(setup(), 1));
    replica.run(&first);
    let set = ValidatorSet(genesis().validators);
    let params = genesis().params;
    type Row = (fn(&mut Block), BlockError);
    let rows: [Row; 11] = [
        (|b| (b.header.chain_id, b.header.height) = ([0; 32], 9), BlockError::OtherChain),
        (|b| (b.header.height, b.header.parent) = (1, [0; 32]), BlockError::Height),
        (|b| (b.header.height, b.header.parent) = (3, [0; 32]), BlockError::Height),
        (|b| (b.header.parent, b.header.time_ms) = ([0; 32], 0), BlockError::Parent),
        (|b| (b.header.time_ms, b.header.proposer) = (b.header.time_ms - 1000, [0; 32]), BlockError::Time),
        (|b| (b.header.proposer, b.header.state_root) = ([0; 32], [0; 32]), BlockError::Proposer),
        (|b| (b.header.state_root, b.header.result_root) = ([0; 32], [0; 32]), BlockError::StateRoot),
        (|b| (b.header.result_root, b.header.tx_root) = ([0; 32], [0; 32]), BlockError::ResultRoot),
        (|b| b.txs = vec![vec![0; 1 << 20], vec![0]], BlockError::Size),
        (|b| b.txs[0][0] ^= 1, BlockError::TxRoot),
        (|b| b.header.tx_count += 1, BlockError::TxRoot),
    ];
    for (change, expected) in rows {
        let mut block = replica.next(signed(vec![register("module-2", Role::Module)], 7));
        change(&mut block);
        assert_eq!(check_block(&replica.tip, &params, &set, &block), Err(expected));
    }
    let many = replica.next(vec![vec![0]; 1001]);
    assert_eq!(check_block(&replica.tip, &params, &set, &many), Err(BlockError::Size));
}

#[test]
fn replay_gives_the_same_bytes_and_bad_transactions_never_stop_a_block() {
    let mut a = Replica::new();
    let mut blocks = Vec::new();
    let garbage = vec![vec![], vec![0xff; 40], b"not a transaction".to_vec()];
    let mut txs = signed(setup(), 1);
    let again = txs[0].clone();
    txs.splice(2..2, garbage);
    txs.push(again);
    let block = a.next(txs);
    let results = a.run(&block);
    let refused: Vec<_> = results.iter().filter_map(|r| r.rejection).collect();
    assert_eq!(
        refused,
        [Rejection::Malformed, Rejection::Malformed, Rejection::Malformed, Rejection::NonceUsed]
    );
    blocks.push(block);
    for n in 0..5 {
        let s = batch_statement("module-1", n * 10, 10);
        let block = a.next(signed(vec![batch_with(&s, &bound_key("module-1", "pack-1"))], 7 + u64::from(n)));
        assert!(a.run(&block)[0].accepted());
        blocks.push(block);
        let empty = a.next(vec![]);
        a.run(&empty);
        blocks.push(empty);
    }
    let mut b = Replica::new();
    for block in &blocks {
        let stored = Block::from_bytes(&block.to_bytes()).unwrap();
        assert_eq!(&stored, block);
        b.run(&stored);
    }
    assert_eq!(a.state, b.state);
    assert_eq!(a.tip, b.tip);
}

#[test]
fn a_broken_pool_stops_the_replica() {
    let mut replica = Replica::new();
    let block = replica.next(signed(setup(), 1));
    replica.run(&block);
    let pool_key = state_key::pool(&Cid::of("pack-1"));
    let mut pool: Pool = load(&replica.state, &pool_key).unwrap().unwrap();
    pool.charged += 1;
    replica.state.insert(pool_key, Some(pool.to_bytes()));
    let event = energy_with(&energy(EnergyKind::Opening, 1, 0, 0), &bound_key("pack-1", "app-1"));
    let block = replica.next(signed(vec![event], 7));
    assert_eq!(
        execute(&replica.state, &block).err(),
        Some(Halt::Invariant("an energy pool does not balance"))
    );
    replica.state.insert(state_key::PARAMS.into(), Some(vec![1]));
    assert_eq!(execute(&replica.state, &block).err(), Some(Halt::Corrupt(FormatError::Unexpected)));
}

fn event() -> impl Strategy<Value = (u8, u32, u64, u32)> {
    let mwh = prop_oneof![0..2_000_u64, 0..CAPACITY, CAPACITY - 2..CAPACITY + 50_000, Just(u64::MAX)];
    (1_u8..=3, 0_u32..2, mwh, 0_u32..=1_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    /// Whatever a pack signs: energy is neither made nor lost, in its pool and in the totals.
    #[test]
    fn energy_is_conserved(events in proptest::collection::vec(event(), 1..30)) {
        let mut replica = Replica::new();
        let block = replica.next(signed(setup(), 1));
        replica.run(&block);
        let (mut cycle, mut charged, mut discharged) = (1, 0_u128, 0_u128);
        for (n, (kind, new_cycle, mwh, soc_ppm)) in events.into_iter().enumerate() {
            cycle += new_cycle;
            let kind = [EnergyKind::Charge, EnergyKind::Discharge, EnergyKind::Opening][usize::from(kind) - 1];
            let opening = kind == EnergyKind::Opening;
            let e = EnergyEvent {
                mwh: if opening { 0 } else { mwh },
                mean_mw: if opening { 0 } else { mwh.saturating_mul(60) },
                soc_ppm,
                ..energy(kind, cycle, n as u32, 0)
            };
            let body = energy_with(&e, &bound_key("pack-1", "app-1"));
            let mut block = replica.next(signed(vec![body], 7 + n as u64));
            block.header.time_ms = START_MS + 80_000_000 + n as u64;
            let accepted = replica.run(&block)[0].accepted();
            if accepted && kind == EnergyKind::Charge { charged += u128::from(mwh); }
            if accepted && kind == EnergyKind::Discharge { discharged += u128::from(mwh); }
            prop_assert!(accepted || kind != EnergyKind::Opening, "an opening is always possible");
            let p: Pool = load(&replica.state, &state_key::pool(&Cid::of("pack-1"))).unwrap().unwrap();
            prop_assert_eq!(p.atp + p.adp, CAPACITY);
            prop_assert_eq!((p.charged, p.discharged), (charged, discharged));
            let stored = p.charged + p.untracked_charged - p.discharged - p.untracked_discharged;
            prop_assert_eq!(stored, u128::from(p.atp));
            let t: Totals = load(&replica.state, state_key::TOTALS).unwrap().unwrap();
            prop_assert_eq!((t.charged, t.discharged, t.atp), (charged, discharged, u128::from(p.atp)));
        }
    }

    /// No input makes a reader panic, and what it accepts is the only encoding of what it read.
    #[test]
    fn transactions_have_one_encoding(at in 0..900_usize, to in any::<u8>()) {
        let mut bytes = tx(&key("authority"), 1, register("pack-1", Role::Pack));
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(read) = Tx::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}

#[test]
fn certificates() {
    let id = [7; 32];
    let labels = ["a", "b", "c", "d"];
    let set = ValidatorSet(
        labels.map(|l| Validator { key: validator(l).verifying_key().to_bytes(), power: 1 }).to_vec(),
    );
    let sign = |label: &str, id: &Digest| {
        use ed25519_dalek::Signer;
        let key = validator(label);
        (key.verifying_key().to_bytes(), key.sign(&Certificate::message(id)).to_bytes())
    };
    let by = |labels: &[&str]| Certificate { signatures: labels.iter().map(|l| sign(l, &id)).collect() };
    assert_eq!(by(&["a", "b", "c"]).verify(&id, &set), Ok(()));
    assert_eq!(
        by(&["a", "b"]).verify(&id, &set),
        Err(CertificateError::Quorum),
        "two of four are not enough"
    );
    assert_eq!(by(&[]).verify(&id, &set), Err(CertificateError::Quorum));
    assert_eq!(by(&["a", "b", "b"]).verify(&id, &set), Err(CertificateError::Duplicate));
    assert_eq!(by(&["a", "b", "x"]).verify(&id, &set), Err(CertificateError::UnknownValidator));
    assert_eq!(by(&["a", "b", "c"]).verify(&[8; 32], &set), Err(CertificateError::Signature));
    let mut swapped = by(&["a", "b", "c"]);
    swapped.signatures[0].1 = swapped.signatures[1].1;
    assert_eq!(swapped.verify(&id, &set), Err(CertificateError::Signature));
}

#[test]
fn genesis_rules() {
    type Row = (fn(&mut Genesis), GenesisError);
    let rows: [Row; 9] = [
        (|g| g.name.clear(), GenesisError::Name),
        (|g| g.validators.clear(), GenesisError::ValidatorCount),
        (|g| g.validators[0].power = 0, GenesisError::Validator),
        (|g| g.validators.push(g.validators[0]), GenesisError::Validator),
        (|g| g.validators[0].key = [2; 32], GenesisError::ValidatorKey),
        (|g| g.operators.push(g.authorities[0]), GenesisError::Account),
        (|g| g.authorities.clear(), GenesisError::NoAuthority),
        (|g| g.params.max_block_txs = 0, GenesisError::Params),
        (|g| g.params.max_block_bytes = 100, GenesisError::Params),
    ];
    assert_eq!(genesis().check(), Ok(()));
    for (change, expected) in rows {
        let mut g = genesis();
        change(&mut g);
        assert_eq!(g.check(), Err(expected));
        assert_ne!(g.chain_id(), chain_id(), "every field is part of the identity");
    }
    assert_eq!(Genesis::from_bytes(&genesis().to_bytes()), Ok(genesis()));
}

#[test]
fn state_proofs_against_a_reference_tree() {
    let entries: Vec<(Vec<u8>, Vec<u8>)> =
        (0..200_u32).map(|i| (format!("key {i}").into_bytes(), i.to_be_bytes().to_vec())).collect();
    let leaves = entries.iter().map(|(k, v)| (sha256(&[k]), sha256(&[v]))).collect();
    for (k, v) in &entries {
        let (root, siblings) = reference(&leaves, 0, Some(&sha256(&[k])));
        let proof = StateProof { key: k.clone(), value: v.clone(), siblings };
        assert!(proof.leads_to(&root));
        for broken in [
            StateProof { key: b"key x".to_vec(), ..proof.clone() },
            StateProof { value: b"other".to_vec(), ..proof.clone() },
            StateProof { siblings: proof.siblings[1..].to_vec(), ..proof.clone() },
            StateProof { siblings: [&proof.siblings[..], &[[0; 32]]].concat(), ..proof.clone() },
            StateProof { siblings: vec![[0; 32]; 257], ..proof.clone() },
        ] {
            assert!(!broken.leads_to(&root));
        }
    }
}

#[test]
fn proofs_of_absence_against_a_reference_tree() {
    let leaves: std::collections::BTreeMap<Digest, Digest> = (0..200_u32)
        .map(|i| (sha256(&[format!("key {i}").as_bytes()]), sha256(&[&i.to_be_bytes()])))
        .collect();
    let bit = |k: &Digest, n: usize| k[n / 8] & (0x80 >> (n % 8)) != 0;
    let (mut beside, mut empty) = (0, 0);
    for i in 0..200_u32 {
        let key = format!("no key {i}").into_bytes();
        let path = sha256(&[&key]);
        let (root, siblings) = reference(&leaves, 0, Some(&path));
        let alone = leaves.iter().find(|(k, _)| (0..siblings.len()).all(|n| bit(k, n) == bit(&path, n)));
        let other = alone.map(|(k, v)| (*k, *v));
        *if other.is_some() { &mut beside } else { &mut empty } += 1;
        let proof = Absence { key, other, siblings };
        assert!(proof.leads_to(&root), "{i}");
        let stranger = leaves.iter().find(|(k, _)| Some(**k) != other.map(|o| o.0)).map(|(k, v)| (*k, *v));
        for broken in [
            Absence { key: b"key 7".to_vec(), ..proof.clone() },
            Absence { other: stranger, ..proof.clone() },
            Absence { other: other.map_or(Some((path, [0; 32])), |_| None), ..proof.clone() },
            Absence { siblings: proof.siblings[1..].to_vec(), ..proof.clone() },
            Absence { siblings: vec![[0; 32]; 257], ..proof.clone() },
        ] {
            assert!(!broken.leads_to(&root), "{i}");
        }
    }
    assert!(beside > 20 && empty > 20, "both forms were there: {beside} and {empty}");
    // An entry that is there is never absent: not by itself, and not by pointing at its own place.
    let key = b"key 7".to_vec();
    let path = sha256(&[&key]);
    let (root, siblings) = reference(&leaves, 0, Some(&path));
    for other in [None, Some((path, leaves[&path]))] {
        assert!(!Absence { key: key.clone(), other, siblings: siblings.clone() }.leads_to(&root));
    }
    let (nothing, _) = reference(&std::collections::BTreeMap::new(), 0, None);
    assert!(Absence { key, other: None, siblings: vec![] }.leads_to(&nothing), "an empty tree");
}

/// Frozen identities, computed by a foreign implementation from the layouts in the documentation. Others keep these
/// bytes, so they may not move.
#[test]
fn identities_do_not_move() {
    let hex = |d: Digest| d.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(chain_id()), "ab6d297e59d6d87a5e35fe0d8d9030f03618b9582f0d9faae6605ded4ad9e288");
    let lct = Body::LctCreate { a: Cid::of("pack-1"), b: Cid::of("module-1"), context: "energy".into() };
    let mut tip = Replica::new().tip;
    tip.state_root = std::array::from_fn(|i| i as u8);
    let proposer = validator("v").verifying_key().to_bytes();
    let block = tip.next_block(START_MS + 1000, proposer, signed(vec![lct], 1));
    assert_eq!(
        hex(Tx::id_of(&block.txs[0])),
        "e52b5d2b4ba8c23cc6fc6cf2c54ba93aa186d6c4e5b394108e03373ecb3849cf"
    );
    assert_eq!(hex(block.header.id()), "c7837409260c021d01a8d011a7af436c397d495a6834a4db7442a294de9361c4");
}
