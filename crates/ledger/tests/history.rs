//! A long seeded history: every replica comes to the same root, whatever the build and whatever order its memory is in.

use crate::world;

use std::collections::{BTreeMap, BTreeSet};

use lct::{Digest, energy::EnergyKind, hash::sha256, id::Role, sign::PublicKey};
use ledger::{
    block::Block,
    codec::Canonical,
    execute::{Tip, check_block, execute, genesis_writes},
    genesis::{Params, ValidatorSet},
    proof::{Multiproof, StateProof},
    records::{Nonce, Pool, key as state_key},
    state::{Halt, View, Writes, load},
    tx::{Body, Change, Config, Governance, Target},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use world::*;

/// What the history below comes to. Debug and release builds, and every machine, must agree on it.
const FROZEN: &str = include_str!("../../../spec/vectors/ledger-history.json");
const BLOCKS: u64 = 120;

/// Root of the state by the definition of L62.
fn state_root(state: &Writes) -> Digest {
    let entry = |(k, v): (&Vec<u8>, &Option<Vec<u8>>)| (sha256(&[k]), sha256(&[v.as_ref().unwrap()]));
    reference(&state.iter().map(entry).collect::<BTreeMap<_, _>>(), 0, None).0
}

/// A replica whose memory is in an order of its own.
struct Shuffled {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    rng: ChaCha20Rng,
}

impl View for Shuffled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        Ok(self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()))
    }
}

impl Shuffled {
    fn write(&mut self, writes: &Writes) {
        for (key, value) in writes {
            self.entries.retain(|(k, _)| k != key);
            let at = self.rng.next_u32() as usize % (self.entries.len() + 1);
            self.entries.insert(at, (key.clone(), value.clone().unwrap()));
        }
    }

    fn state(&self) -> Writes {
        self.entries.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect()
    }
}

/// One of many things, right or wrong, that somebody may send.
fn anything(rng: &mut ChaCha20Rng, height: u64) -> Body {
    let n = rng.next_u32() % 40;
    let pack_key = bound_key("pack-1", "app-1");
    match rng.next_u32() % 9 {
        0 => register(&format!("module-{n}"), Role::Module),
        1 if n < 9 => energy_with(&energy(EnergyKind::Opening, 1, n, 0), &pack_key),
        1 => batch_with(&batch_statement("module-1", n * 7, 1 + n as u16), &bound_key("module-1", "pack-1")),
        2 => energy_with(&energy(EnergyKind::Charge, 1, n, u64::from(n) * 100), &pack_key),
        3 => energy_with(&energy(EnergyKind::Discharge, 1 + n % 2, n, u64::from(n) * 90), &pack_key),
        4 => checkpoint_with("module-1", u64::from(n), [n as u8; 32], &bound_key("module-1", "pack-1")),
        5 => {
            let change = Change::Params(Params { max_batch_records: 1 + n, ..Params::default() });
            Body::Govern(Governance { change, height: height + u64::from(n % 4) })
        }
        6 => Body::ConfigReport(Config {
            cid: lct::id::Cid::of("pack-1"),
            parameter: 1 + n as u8 % 4,
            version: n % 3,
            value: n as i32 * 1000,
            command: None,
        }),
        7 => Body::Revoke { target: Target::Batch([n as u8; 16]), reason: n as u8 % 7 },
        _ => Body::LctCreate {
            a: lct::id::Cid::of("pack-1"),
            b: lct::id::Cid::of(&format!("module-{n}")),
            context: format!("c{}", n % 3),
        },
    }
}

/// The blocks of the history, made by one replica as it goes; with the root after each.
fn history() -> (Vec<Block>, Vec<Digest>) {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let mut state = genesis_writes(&genesis());
    let mut tip = Tip::genesis(&genesis(), state_root(&state));
    let signers: [PublicKey; 2] = ["authority", "operator"].map(|label| key(label).public());
    let mut nonces = [0_u64; 2];
    let (mut blocks, mut roots) = (Vec::new(), Vec::new());
    let mut setup = vec![
        register("app-1", Role::App),
        register("pack-1", Role::Pack),
        register("module-1", Role::Module),
        bind(("app-1", Role::App), ("pack-1", Role::Pack)),
        bind(("pack-1", Role::Pack), ("module-1", Role::Module)),
    ];
    for height in 1..=BLOCKS {
        let mut txs = Vec::new();
        let count = rng.next_u32() % 4;
        let bodies = if setup.is_empty() {
            (0..count).map(|_| anything(&mut rng, height)).collect()
        } else {
            core::mem::take(&mut setup)
        };
        for body in bodies {
            let who = usize::from(height > 1 && rng.next_u32().is_multiple_of(5));
            // Now and then a nonce that was used, or one too many.
            let nonce = match rng.next_u32() % 12 {
                0 if height > 1 => nonces[who],
                1 if height > 1 => nonces[who] + 2,
                _ => {
                    nonces[who] += 1;
                    nonces[who]
                }
            };
            txs.push(tx(&key(["authority", "operator"][who]), nonce, body));
        }
        let proposer = validator("v").verifying_key().to_bytes();
        let block = tip.next_block(tip.time_ms + 1000 + u64::from(rng.next_u32() % 90_000), proposer, txs);
        let params: Params = load(&state, state_key::PARAMS).unwrap().unwrap();
        let before = signers.map(|s| last_nonce(&state, &s));
        check_block(&tip, &params, &ValidatorSet(genesis().validators), &block).unwrap();
        let outcome = execute(&state, &block).unwrap();
        state.extend(outcome.writes.clone());
        for (i, signer) in signers.iter().enumerate() {
            let after = last_nonce(&state, signer);
            assert!(after >= before[i], "height {height}: a nonce fell");
            assert!(after - before[i] <= block.txs.len() as u64, "height {height}: a nonce leapt");
            nonces[i] = after;
        }
        tip = Tip::after(&block, &outcome, state_root(&state));
        roots.push(tip.state_root);
        blocks.push(block);
    }
    (blocks, roots)
}

fn last_nonce(state: &Writes, signer: &PublicKey) -> u64 {
    load(state, &state_key::nonce(signer)).unwrap().map_or(0, |n: Nonce| n.last)
}

/// Proofs of eight entries, alone and joined, and of one that is not there, against `root`.
fn check_proofs(state: &Writes, root: &Digest, rng: &mut ChaCha20Rng) -> usize {
    let hash = |(k, v): (&Vec<u8>, &Option<Vec<u8>>)| (sha256(&[k]), sha256(&[v.as_ref().unwrap()]));
    let leaves: BTreeMap<_, _> = state.iter().map(hash).collect();
    let chosen: BTreeSet<usize> = (0..8).map(|_| rng.next_u32() as usize % state.len()).collect();
    let proofs: Vec<StateProof> = chosen
        .into_iter()
        .map(|n| {
            let (key, value) = state.iter().nth(n).map(|(k, v)| (k.clone(), v.clone().unwrap())).unwrap();
            let (_, siblings) = reference(&leaves, 0, Some(&sha256(&[&key])));
            StateProof { key, value, siblings }
        })
        .collect();
    assert!(proofs.iter().all(|p| p.leads_to(root)));
    let held: Vec<_> = proofs.iter().map(|p| (sha256(&[&p.key]), sha256(&[&p.value]))).collect();
    let joined = Multiproof::join(&proofs).unwrap();
    assert_eq!(joined.root(&held), Some(*root));
    // None of them is a proof of another value.
    let other = |p: &StateProof| StateProof { value: [&p.value[..], &[0]].concat(), ..p.clone() };
    assert!(!proofs.iter().any(|p| other(p).leads_to(root)));
    proofs.len()
}

/// Every pool holds what was minted into it and no more than that, and what flowed says how much of it is charged.
fn check_pools(state: &Writes) -> usize {
    let pools = state.iter().filter(|(key, _)| key.starts_with(b"pol/"));
    let pools: Vec<_> = pools.map(|(_, v)| Pool::from_bytes(v.as_ref().unwrap()).unwrap()).collect();
    for p in &pools {
        assert_eq!(u128::from(p.atp) + u128::from(p.adp) + u128::from(p.locked), u128::from(p.minted));
        let came = p.charged + p.untracked_charged + p.received;
        let left = p.discharged + p.untracked_discharged + p.sent;
        assert_eq!(
            came.checked_sub(left),
            Some(u128::from(p.atp) + u128::from(p.locked)),
            "no negative balance"
        );
    }
    pools.len()
}

#[test]
fn every_replica_comes_to_the_frozen_root() {
    let (blocks, roots) = history();
    let mut shuffled = Shuffled { entries: Vec::new(), rng: ChaCha20Rng::seed_from_u64(7) };
    shuffled.write(&genesis_writes(&genesis()));
    let (mut accepted, mut refused, mut proofs, mut pools) = (0, 0, 0, 0);
    for (block, root) in blocks.iter().zip(&roots) {
        let stored = Block::from_bytes(&block.to_bytes()).unwrap();
        let outcome = execute(&shuffled, &stored).unwrap();
        accepted += outcome.results.iter().filter(|r| r.accepted()).count();
        refused += outcome.results.iter().filter(|r| !r.accepted()).count();
        shuffled.write(&outcome.writes);
        assert_eq!(state_root(&shuffled.state()), *root, "height {}", block.header.height);
        pools += check_pools(&shuffled.state());
        if block.header.height.is_multiple_of(10) {
            proofs += check_proofs(&shuffled.state(), root, &mut shuffled.rng);
        }
    }
    println!(
        "seeds 6 and 7, {BLOCKS} blocks: {accepted} transactions accepted, {refused} refused, {pools} pools in balance, \
         {proofs} proofs hold"
    );
    assert!(proofs > 80 && pools > 100);
    assert!(
        accepted > 40 && refused > 20,
        "{accepted} accepted, {refused} refused: the history is worth nothing"
    );
    let hex = |d: &Digest| d.iter().map(|b| format!("{b:02x}")).collect::<String>();
    // The state alone: a device's certificate is signed with the nonce of the library at hand, so blocks differ.
    let line = format!("\"state_root\": \"{}\"", hex(roots.last().unwrap()));
    assert!(FROZEN.contains(&line), "the history comes to {line}");
}
