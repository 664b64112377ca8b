//! Another engine on the same chain: four validators of which three decide, on a network that delays, repeats and loses.
//! Whatever the order of events, all replicas come to the same blocks and the same state.

use crate::world;

use std::{collections::BTreeMap, path::Path};

use ed25519_dalek::{Signer, SigningKey as ValidatorKey};
use lct::id::Role;
use ledger::{
    block::{Block, Certificate},
    execute::BlockError,
    genesis::{Genesis, Validator},
    tx::Body,
};
use node::{Chain, Error};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use world::*;

const NAMES: [&str; 4] = ["v", "w", "x", "y"];

fn founding() -> Genesis {
    let validators =
        NAMES.map(|name| Validator { key: validator(name).verifying_key().to_bytes(), power: 1 });
    Genesis { validators: validators.into(), ..genesis() }
}

/// What is on its way to a replica.
#[derive(Clone)]
enum Message {
    /// A validator proposes.
    Proposal(Block),
    /// A validator signs for a block.
    Vote(usize, Block),
    /// A block is decided on.
    Decided(Block, Certificate),
}

struct Replica {
    chain: Chain,
    key: ValidatorKey,
    /// The block for which it signed at each height: never for two.
    signed: BTreeMap<u64, lct::Digest>,
    /// Signatures for the blocks of a height that it proposed.
    votes: BTreeMap<lct::Digest, BTreeMap<usize, [u8; 64]>>,
}

struct Network {
    replicas: Vec<Replica>,
    under_way: Vec<(usize, Message)>,
    /// What has enough signatures, by height. A real engine keeps its validators from deciding twice; here it is known.
    certified: BTreeMap<u64, (Block, Certificate)>,
    rng: ChaCha20Rng,
    now: u64,
    refused: u64,
}

impl Network {
    fn new(dir: &Path, seed: u64) -> Self {
        let replica = |(n, name): (usize, &str)| Replica {
            chain: Chain::open(&dir.join(n.to_string()), &founding()).unwrap(),
            key: validator(name),
            signed: BTreeMap::new(),
            votes: BTreeMap::new(),
        };
        let replicas = NAMES.into_iter().enumerate().map(replica).collect();
        let rng = ChaCha20Rng::seed_from_u64(seed);
        let certified = BTreeMap::new();
        Self { replicas, under_way: Vec::new(), certified, rng, now: START_MS, refused: 0 }
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.next_u64() as usize % n
    }

    fn tell_all(&mut self, message: &Message) {
        for to in 0..NAMES.len() {
            // Lost, once, or twice.
            for _ in 0..[0, 1, 1, 1, 2][self.below(5)] {
                self.under_way.push((to, message.clone()));
            }
        }
    }

    /// One thing happens, somewhere.
    fn step(&mut self) {
        self.now += 1;
        if self.under_way.is_empty() || self.below(10) == 0 {
            let n = self.below(NAMES.len());
            match self.below(2) {
                0 => self.propose(n),
                _ => self.catch_up(n),
            }
            return;
        }
        let at = self.below(self.under_way.len());
        let (to, message) = self.under_way.swap_remove(at);
        match message {
            Message::Proposal(block) => self.vote(to, block),
            Message::Vote(from, block) => self.count(to, from, block),
            Message::Decided(block, certificate) => self.commit(to, &block, &certificate),
        }
    }

    fn propose(&mut self, n: usize) {
        let replica = &self.replicas[n];
        let block = replica.chain.propose(self.now, replica.key.verifying_key().to_bytes());
        if !block.txs.is_empty() || replica.chain.tip().tx_count > 0 {
            self.tell_all(&Message::Proposal(block));
        }
    }

    /// A validator signs for the first block of a height that may follow.
    fn vote(&mut self, n: usize, block: Block) {
        let replica = &mut self.replicas[n];
        let (height, id) = (block.header.height, block.header.id());
        if replica.chain.check(&block).is_err() {
            self.refused += 1;
            return;
        }
        // Two proposals of one height can each get half of the votes; the next round is for another one. Here a later time
        // stands for the round.
        let first = *replica.signed.entry(height).or_insert(id);
        if first == id {
            self.tell_all(&Message::Vote(n, block));
        }
    }

    /// Who proposed a block collects the signatures for it.
    fn count(&mut self, n: usize, from: usize, block: Block) {
        let id = block.header.id();
        let replica = &mut self.replicas[n];
        if block.header.proposer != replica.key.verifying_key().to_bytes() {
            return;
        }
        let signature = validator(NAMES[from]).sign(&Certificate::message(&id)).to_bytes();
        let votes = replica.votes.entry(id).or_default();
        votes.insert(from, signature);
        if votes.len() * 3 > NAMES.len() * 2 {
            let signed = |(n, s): (&usize, &[u8; 64])| (validator(NAMES[*n]).verifying_key().to_bytes(), *s);
            let certificate = Certificate { signatures: votes.iter().map(signed).collect() };
            self.certified.insert(block.header.height, (block.clone(), certificate.clone()));
            self.tell_all(&Message::Decided(block, certificate));
        }
    }

    fn commit(&mut self, n: usize, block: &Block, certificate: &Certificate) {
        let chain = &self.replicas[n].chain;
        let tip = chain.tip().height;
        match chain.commit(block, certificate) {
            Ok(after) => assert!(after.height == block.header.height),
            // Late, early, or again.
            Err(Error::Block(BlockError::Height)) if block.header.height != tip + 1 => self.refused += 1,
            Err(e) => panic!("replica {n} at {tip}: {e}"),
        }
    }

    /// A replica that is behind takes the next block from another one.
    fn catch_up(&mut self, n: usize) {
        let from = self.below(NAMES.len());
        let next = self.replicas[n].chain.tip().height + 1;
        let snapshot = self.replicas[from].chain.read().unwrap();
        let decided = snapshot.block(next).unwrap().zip(snapshot.certificate(next).unwrap());
        drop(snapshot);
        if let Some((block, certificate)) = decided {
            self.commit(n, &block, &certificate);
        }
    }

    /// Nothing is decided any more: everybody signed, for blocks of which none has enough, or what has enough was lost.
    fn next_round(&mut self) {
        self.under_way.clear();
        let lost: Vec<_> = self.certified.values().cloned().collect();
        for (block, certificate) in lost.into_iter().rev().take(2) {
            self.tell_all(&Message::Decided(block, certificate));
        }
        let last = self.certified.keys().last().copied().unwrap_or(0);
        for replica in &mut self.replicas {
            replica.signed.retain(|signed, _| *signed <= last);
        }
    }
}

/// Blocks that are decided under one order of events, and how much came too late, too early or twice.
fn run(seed: u64, txs: u64) -> (u64, u64) {
    let temp = tempfile::tempdir().unwrap();
    let mut network = Network::new(temp.path(), seed);
    let signer = key("authority");
    let mut sent = 0;
    let mut quiet = 0;
    loop {
        let height = network.replicas.iter().map(|r| r.chain.tip().height).max().unwrap();
        network.step();
        let now = network.replicas.iter().map(|r| r.chain.tip().height).max().unwrap();
        quiet = if now > height { 0 } else { quiet + 1 };
        if quiet > 400 {
            network.next_round();
            quiet = 0;
        }
        // Whoever has all that was sent before takes the next transaction.
        let n = network.below(NAMES.len());
        let chain = &network.replicas[n].chain;
        if sent < txs && chain.next_nonce(&signer.public()).unwrap() == sent + 1 {
            let body: Body = register_in(&founding(), &format!("module-{sent}"));
            if chain.submit(tx_in(&founding(), &signer, sent + 1, body)).is_ok() {
                sent += 1;
            }
        }
        let done = network.replicas.iter().all(|r| {
            r.chain.read().unwrap().nonce(&signer.public()).unwrap() == txs && r.chain.tip().tx_count == 0
        });
        if done {
            break;
        }
    }
    let top = network.replicas.iter().map(|r| r.chain.tip().height).max().unwrap();
    for n in 0..NAMES.len() {
        while network.replicas[n].chain.tip().height < top {
            network.catch_up(n);
        }
    }
    // The same blocks, and the state that one replica alone comes to with them.
    let alone = Chain::open(&temp.path().join("alone"), &founding()).unwrap();
    for height in 1..=top {
        let blocks: Vec<_> = network
            .replicas
            .iter()
            .map(|r| r.chain.read().unwrap().block(height).unwrap().unwrap())
            .collect();
        assert!(blocks.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: two histories at {height}");
        let certificate = network.replicas[0].chain.read().unwrap().certificate(height).unwrap().unwrap();
        alone.commit(&blocks[0], &certificate).unwrap();
    }
    for replica in &network.replicas {
        assert_eq!(replica.chain.tip(), alone.tip(), "seed {seed}");
        assert_eq!(replica.chain.status().unwrap(), alone.status().unwrap());
    }
    assert_eq!(alone.status().unwrap().components, txs);
    (top, network.refused)
}

fn register_in(genesis: &Genesis, id: &str) -> Body {
    let r =
        lct::registration::Registration { chain_id: genesis.chain_id(), ..registration(id, Role::Module) };
    register_with(&r, &key(id))
}

fn tx_in(genesis: &Genesis, signer: &lct::sign::SigningKey, nonce: u64, body: Body) -> Vec<u8> {
    use ledger::{codec::Canonical, tx::Unsigned};
    let chain_id = genesis.chain_id();
    let unsigned = Unsigned { chain_id, signer: signer.public(), nonce, expiry_height: 1_000_000, body };
    let signature = signer.sign_rfc6979(&unsigned.digest());
    unsigned.with_signature(signature).to_bytes()
}

fn seeds(seeds: u64, txs: u64) {
    let (mut blocks, mut refused) = (0, 0);
    for seed in 0..seeds {
        let (b, r) = run(seed, txs);
        (blocks, refused) = (blocks + b, refused + r);
    }
    assert!(blocks > seeds && refused > seeds, "{blocks} blocks, {refused} refused: too little happened");
    println!(
        "{seeds} orders of events, {blocks} blocks decided, {refused} messages too late or too early: one history"
    );
}

#[test]
fn replicas_agree_whatever_the_order_of_events() {
    seeds(2, 4);
}

#[test]
#[ignore = "three hundred orders of events; a few are among the usual tests"]
fn replicas_agree_under_three_hundred_orders_of_events() {
    seeds(300, 12);
}
