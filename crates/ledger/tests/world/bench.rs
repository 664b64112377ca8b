//! A ledger in memory.

use std::{cell::RefCell, collections::BTreeSet};

use lct::{
    energy::EnergyKind,
    id::Role,
    sign::{PublicKey, SigningKey},
};
use ledger::{
    block::{Block, Header},
    codec::Canonical,
    execute::{apply_tx, execute, genesis_writes, rules_of},
    genesis::Params,
    outcome::Value,
    records::{Roots, Totals, key as state_key},
    reject::Rejection,
    rules::Context,
    state::{Overlay, Writes, load},
    tx::{Body, Tx},
};

use super::*;

pub const PACK: (&str, Role) = ("pack-1", Role::Pack);
pub const MODULE: (&str, Role) = ("module-1", Role::Module);
pub const APP: (&str, Role) = ("app-1", Role::App);

thread_local! {
    static REACHED: RefCell<BTreeSet<Rejection>> = const { RefCell::new(BTreeSet::new()) };
}

/// What became of the transactions that were refused on this thread, and of the bodies of acts (L123).
pub fn reached() -> BTreeSet<Rejection> {
    REACHED.take()
}

/// A ledger in memory that applies one transaction per block.
pub struct Bench {
    pub state: Overlay<Writes>,
    pub params: Params,
    pub roots: Vec<PublicKey>,
    pub time_ms: u64,
    pub height: u64,
    pub nonces: [u64; 2],
}

impl Bench {
    pub fn new() -> Self {
        let genesis = genesis();
        Self {
            state: Overlay::new(genesis_writes(&genesis)),
            params: genesis.params,
            roots: genesis.roots,
            time_ms: START_MS + 3_600_000,
            height: 1,
            nonces: [0; 2],
        }
    }

    /// App, pack and module registered; app and pack, pack and module bound; app and pack paired; the pack at 50 %.
    pub fn running() -> Self {
        let mut bench = Self::new();
        for (id, role) in [APP, PACK, MODULE] {
            bench.accept(register(id, role));
        }
        bench.accept(bind(APP, PACK));
        bench.accept(bind(PACK, MODULE));
        bench.accept(pair("app-1", "pack-1", 1));
        bench.accept(energy_with(&energy(EnergyKind::Opening, 1, 0, 0), &pack_key()));
        bench
    }

    fn header(&self) -> Header {
        Header {
            chain_id: chain_id(),
            height: self.height,
            time_ms: self.time_ms,
            proposer: [0; 32],
            parent: [0; 32],
            state_root: [0; 32],
            tx_root: [0; 32],
            result_root: [0; 32],
            tx_count: 1,
        }
    }

    pub fn apply(&mut self, bytes: &[u8]) -> Option<Rejection> {
        let header = self.header();
        let context = Context {
            header: &header,
            params: &self.params,
            roots: &self.roots,
            rules: rules_of(&self.state).unwrap(),
            tx_id: Tx::id_of(bytes),
            verified: false,
        };
        let result = apply_tx(&mut self.state, &context, bytes).unwrap();
        assert_eq!(result.accepted(), !result.events.is_empty(), "an accepted transaction says what it did");
        let acted = result.events.iter().filter(|event| event.kind == "DelegateActed");
        let outcomes = acted.filter_map(|event| match event.get("outcome") {
            Some(Value::Uint(number)) => Rejection::from_number(*number),
            _ => None,
        });
        REACHED.with_borrow_mut(|reached| reached.extend(result.rejection.into_iter().chain(outcomes)));
        result.rejection
    }

    /// Sends a body as the authority (0) or the operator (1).
    pub fn send(&mut self, who: usize, body: Body) -> Option<Rejection> {
        self.nonces[who] += 1;
        let signer = key(["authority", "operator"][who]);
        self.apply(&tx(&signer, self.nonces[who], body))
    }

    pub fn accept(&mut self, body: Body) {
        assert_eq!(self.send(0, body), None);
    }

    pub fn refuse(&mut self, what: &str, body: Body, expected: Rejection) {
        let before: Totals = load(&self.state, state_key::TOTALS).unwrap().unwrap();
        assert_eq!(self.send(0, body), Some(expected), "{what}");
        let after: Totals = load(&self.state, state_key::TOTALS).unwrap().unwrap();
        assert_eq!(
            Totals { refused: before.refused + 1, ..before },
            after,
            "{what}: a refusal changes nothing"
        );
    }

    /// Ends the block and begins the next one.
    pub fn end_block(&mut self) {
        let outcome = execute(&self.state, &Block { header: self.header(), txs: vec![] }).unwrap();
        self.state.absorb(outcome.writes);
        self.height += 1;
        self.params = load(&self.state, state_key::PARAMS).unwrap().unwrap();
        self.roots = load::<Roots>(&self.state, state_key::ROOTS).unwrap().unwrap().0;
    }

    /// Changes an object of the state in place, for states that no transaction of this version leads to.
    pub fn change<T: Canonical>(&mut self, key: Vec<u8>, change: impl FnOnce(&mut T)) {
        let mut object: T = load(&self.state, &key).unwrap().unwrap();
        change(&mut object);
        self.state.put(key, &object);
    }
}

/// Signing key of the pack towards the app.
pub fn pack_key() -> SigningKey {
    bound_key("pack-1", "app-1")
}
