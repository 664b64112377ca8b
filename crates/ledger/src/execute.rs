//! Execution of blocks: what makes a block acceptable, and what it does to the state (`spec/ledger.md`, L72 to L74).

use alloc::vec::Vec;
use core::fmt;

use lct::{Digest, merkle};

use crate::{
    block::{Block, Header, result_leaves, tx_leaves},
    codec::Canonical,
    genesis::{Genesis, Params, ValidatorSet},
    outcome::TxResult,
    records::{Account, Change, Pool, Roots, RulesVersion, Status, Tensor, Totals, key},
    rules::{Context, Stop, apply, take_effect},
    state::{Halt, Overlay, View, Writes, load},
    tx::{MAX_TX, Tx},
};

/// Where a chain stands: what the next block must build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Identity of the chain.
    pub chain_id: Digest,
    /// Height of the last block; 0 right after genesis.
    pub height: u64,
    /// Identity of the last block; the chain id at height 0.
    pub block_id: Digest,
    /// Time of the last block, Unix milliseconds.
    pub time_ms: u64,
    /// Root of the state after the last block.
    pub state_root: Digest,
    /// Root over the results of the last block.
    pub result_root: Digest,
    /// Transactions in the last block.
    pub tx_count: u32,
}

impl Tip {
    /// The tip right after genesis, whose state has the root `state_root`.
    #[must_use]
    pub fn genesis(genesis: &Genesis, state_root: Digest) -> Self {
        let chain_id = genesis.chain_id();
        Self {
            chain_id,
            height: 0,
            block_id: chain_id,
            time_ms: genesis.time_ms,
            state_root,
            result_root: merkle::root(&[]),
            tx_count: 0,
        }
    }

    /// The tip after `block`, given its outcome and the root of the state it left.
    #[must_use]
    pub fn after(block: &Block, outcome: &Outcome, state_root: Digest) -> Self {
        Self {
            chain_id: block.header.chain_id,
            height: block.header.height,
            block_id: block.header.id(),
            time_ms: block.header.time_ms,
            state_root,
            result_root: outcome.result_root,
            tx_count: block.header.tx_count,
        }
    }

    /// A block of `txs` on top of this tip. Its time is `now_ms`, or 1 ms after the parent if that is not later.
    #[must_use]
    pub fn next_block(&self, now_ms: u64, proposer: [u8; 32], txs: Vec<Vec<u8>>) -> Block {
        let header = Header {
            chain_id: self.chain_id,
            height: self.height + 1,
            time_ms: now_ms.max(self.time_ms.saturating_add(1)),
            proposer,
            parent: self.block_id,
            state_root: self.state_root,
            tx_root: merkle::root(&tx_leaves(&txs)),
            result_root: self.result_root,
            tx_count: txs.len() as u32,
        };
        Block { header, txs }
    }
}

/// Why a block does not follow a tip, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// It is for another chain.
    OtherChain,
    /// Its height is not the next one.
    Height,
    /// Its parent is another block.
    Parent,
    /// It is not later than its parent.
    Time,
    /// Its proposer is no validator.
    Proposer,
    /// It states another state after the parent than this replica has: replicas diverged.
    StateRoot,
    /// It states other results of the parent than this replica has: replicas diverged.
    ResultRoot,
    /// It has more transactions or bytes than the chain allows.
    Size,
    /// Its transactions are not those its header commits to.
    TxRoot,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherChain => "the block is for another chain",
            Self::Height => "the block's height is not the next one",
            Self::Parent => "the block's parent is another block",
            Self::Time => "the block is not later than its parent",
            Self::Proposer => "the block's proposer is no validator",
            Self::StateRoot => "the block states another state after its parent",
            Self::ResultRoot => "the block states other results of its parent",
            Self::Size => "the block is larger than the chain allows",
            Self::TxRoot => "the block's transactions are not those of its header",
        })
    }
}

impl core::error::Error for BlockError {}

/// Checks that `block` may follow `tip`.
///
/// # Errors
/// The first [`BlockError`] in the order of the enum.
pub fn check_block(
    tip: &Tip,
    params: &Params,
    validators: &ValidatorSet,
    block: &Block,
) -> Result<(), BlockError> {
    let h = &block.header;
    let bytes: usize = block.txs.iter().map(Vec::len).sum();
    let fits = block.txs.len() <= params.max_block_txs as usize
        && bytes <= params.max_block_bytes as usize
        && block.txs.iter().all(|tx| tx.len() <= MAX_TX);
    let checks = [
        (h.chain_id == tip.chain_id, BlockError::OtherChain),
        (Some(h.height) == tip.height.checked_add(1), BlockError::Height),
        (h.parent == tip.block_id, BlockError::Parent),
        (h.time_ms > tip.time_ms, BlockError::Time),
        (validators.power(&h.proposer) > 0, BlockError::Proposer),
        (h.state_root == tip.state_root, BlockError::StateRoot),
        (h.result_root == tip.result_root, BlockError::ResultRoot),
        (fits, BlockError::Size),
    ];
    if let Some((_, error)) = checks.iter().find(|(holds, _)| !holds) {
        return Err(*error);
    }
    let same_txs =
        h.tx_count as usize == block.txs.len() && h.tx_root == merkle::root(&tx_leaves(&block.txs));
    if same_txs { Ok(()) } else { Err(BlockError::TxRoot) }
}

/// Latest version of the rules that this build executes; it knows those before as well (L164).
pub const RULES: u32 = 2;

/// What a block did.
pub struct Outcome {
    /// Changes of the state.
    pub writes: Writes,
    /// One result per transaction, in order.
    pub results: Vec<TxResult>,
    /// RFC 6962 root over the results' bytes.
    pub result_root: Digest,
    /// Every change of a tensor, in order (L227): a block may change one more often than it keeps.
    pub noted: Vec<NotedChange>,
}

/// A change of a tensor: the tensor's key, the change's number from 1, and the change.
pub type NotedChange = (Vec<u8>, u64, Change);

/// The state of a chain right after genesis.
#[must_use]
pub fn genesis_writes(genesis: &Genesis) -> Writes {
    let mut state = Overlay::new(Writes::new());
    state.put_raw(key::CHAIN.into(), genesis.chain_id().into());
    state.put(key::VALIDATORS.into(), &ValidatorSet(genesis.validators.clone()));
    state.put(key::PARAMS.into(), &genesis.params);
    state.put(key::ROOTS.into(), &Roots(genesis.roots.clone()));
    state.put(key::TOTALS.into(), &Totals::zero());
    if genesis.rules != 1 {
        state.put(key::RULES.into(), &RulesVersion { version: genesis.rules });
    }
    for (role, k) in genesis.all_accounts() {
        state.put(key::account(k), &Account { role, status: Status::Active, from_height: 0 });
    }
    state.into_writes()
}

/// Version of the rules of the next block.
///
/// # Errors
/// [`Halt`].
pub fn rules_of(view: &(impl View + ?Sized)) -> Result<u32, Halt> {
    let rules: Option<RulesVersion> = load(view, key::RULES)?;
    Ok(rules.map_or(1, |rules| rules.version))
}

/// Reads an object that genesis wrote and nothing may delete.
///
/// # Errors
/// [`Halt`] when it is missing or damaged.
pub fn require<T: Canonical>(view: &(impl View + ?Sized), key: &[u8]) -> Result<T, Halt> {
    load(view, key)?.ok_or(Halt::Invariant("an object of the genesis is missing"))
}

/// Applies one transaction to `state`. A refused transaction only uses up its signer's nonce, and only if
/// its envelope was in order.
///
/// # Errors
/// [`Halt`] only; a bad transaction is a refused result.
pub fn apply_tx<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    bytes: &[u8],
) -> Result<TxResult, Halt> {
    apply_noting(state, context, bytes, &mut Vec::new())
}

/// As [`apply_tx`]; the changes of tensors go to `noted`.
fn apply_noting<V: View>(
    state: &mut Overlay<V>,
    context: &Context<'_>,
    bytes: &[u8],
    noted: &mut Vec<NotedChange>,
) -> Result<TxResult, Halt> {
    let mut scratch = Overlay::new(&*state);
    let (result, writes) = match apply(&mut scratch, context, bytes) {
        Ok(events) => (TxResult { rejection: None, events }, scratch.into_writes()),
        Err(Stop::Refused { rejection, nonce }) => {
            let mut only_nonce = Overlay::new(&*state);
            if let Some((signer, nonce)) = nonce {
                only_nonce.put(key::nonce(&signer), &nonce);
            }
            (TxResult { rejection: Some(rejection), events: Vec::new() }, only_nonce.into_writes())
        }
        Err(Stop::Halt(halt)) => return Err(halt),
    };
    let tensors = writes.range(key::TENSORS.to_vec()..).take_while(|(key, _)| key.starts_with(key::TENSORS));
    for (key, value) in tensors {
        let Some(value) = value else { continue };
        let tensor = Tensor::from_bytes(value).map_err(Halt::Corrupt)?;
        let before: Option<Tensor> = load(state, key)?;
        let known: Vec<_> = before.iter().flat_map(Tensor::numbered).collect();
        let fresh = tensor.numbered().filter(|change| !known.contains(change));
        noted.extend(fresh.map(|(number, change)| (key.clone(), number, *change)));
    }
    state.absorb(writes);
    let mut totals: Totals = require(state, key::TOTALS)?;
    if result.accepted() {
        totals.accepted += 1;
    } else {
        totals.refused += 1;
    }
    state.put(key::TOTALS.into(), &totals);
    Ok(result)
}

/// Executes a block that [`check_block`] accepted and checks the invariants of what it touched.
///
/// # Errors
/// [`Halt`] when the store or an invariant is broken: the replica must stop.
pub fn execute<V: View>(view: V, block: &Block) -> Result<Outcome, Halt> {
    execute_verified(view, block, &[])
}

/// As [`execute`], for a caller who has verified signatures of envelopes beforehand, say on several cores: where
/// `verified` is true for a transaction, that of its envelope is taken as good. Where it is false or missing, it is
/// verified here.
///
/// # Errors
/// As [`execute`].
pub fn execute_verified<V: View>(view: V, block: &Block, verified: &[bool]) -> Result<Outcome, Halt> {
    let rules = rules_of(&view)?;
    if rules > RULES {
        return Err(Halt::Rules(rules));
    }
    let params: Params = require(&view, key::PARAMS)?;
    let roots: Roots = require(&view, key::ROOTS)?;
    let before: Totals = require(&view, key::TOTALS)?;
    let mut state = Overlay::new(view);
    let (mut results, mut noted) = (Vec::with_capacity(block.txs.len()), Vec::new());
    for (i, bytes) in block.txs.iter().enumerate() {
        let context = Context {
            header: &block.header,
            params: &params,
            roots: &roots.0,
            rules,
            tx_id: Tx::id_of(bytes),
            verified: verified.get(i).copied().unwrap_or(false),
        };
        results.push(apply_noting(&mut state, &context, bytes, &mut noted)?);
    }
    take_effect(&mut state, block.header.height.saturating_add(1))?;
    check_invariants(&state, &before)?;
    let bytes: Vec<_> = results.iter().map(Canonical::to_bytes).collect();
    let result_root = merkle::root(&result_leaves(&bytes));
    Ok(Outcome { writes: state.into_writes(), results, result_root, noted })
}

/// Conservation (L56): every pool the block touched balances, and so do the totals.
fn check_invariants<V: View>(state: &Overlay<V>, before: &Totals) -> Result<(), Halt> {
    for pool_key in state.touched(key::POOLS) {
        let pool: Pool = require(state, pool_key)?;
        if !pool.conserves() {
            return Err(Halt::Invariant("an energy pool does not balance"));
        }
    }
    let t: Totals = require(state, key::TOTALS)?;
    let sum = |a: u128, b: u128, c: u128| a.checked_add(b)?.checked_add(c);
    let came = t.charged.checked_add(t.untracked_charged);
    let went = sum(t.discharged, t.untracked_discharged, t.lost);
    let balance = came.zip(went).and_then(|(c, w)| c.checked_sub(w));
    let stored = t.atp.checked_add(t.locked);
    if balance.is_none() || balance != stored || stored > Some(t.minted) {
        return Err(Halt::Invariant("the energy totals do not balance"));
    }
    if t.minted < before.minted || t.records < before.records {
        return Err(Halt::Invariant("a total that only grows shrank"));
    }
    Ok(())
}
