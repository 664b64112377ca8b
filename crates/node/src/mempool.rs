//! Transactions that wait for a block, in order of arrival (`spec/ledger.md`, L77).
//!
//! A signer's nonces are admitted strictly in sequence, so the order of arrival is also the order of nonces and
//! one queue serves all signers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lct::sign::PublicKey;
use ledger::{genesis::Params, reject::Rejection, tx::TxId};

/// Most transactions that wait.
const MAX_TXS: usize = 20_000;
/// Most bytes that wait.
const MAX_BYTES: usize = 32 << 20;

/// A waiting transaction.
pub(crate) struct Waiting {
    pub id: TxId,
    pub bytes: Vec<u8>,
    pub signer: PublicKey,
    pub nonce: u64,
    pub expiry_height: u64,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Mempool {
    queue: VecDeque<Waiting>,
    ids: BTreeSet<TxId>,
    /// Last waiting nonce of each signer that has one.
    last: BTreeMap<PublicKey, u64>,
    bytes: usize,
}

impl Mempool {
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn contains(&self, id: &TxId) -> bool {
        self.ids.contains(id)
    }

    /// Whether a transaction of `bytes` bytes finds room.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.queue.len() < MAX_TXS && self.bytes + bytes <= MAX_BYTES
    }

    /// Whether the waiting transactions fill a block.
    pub fn fills_block(&self, params: &Params) -> bool {
        self.queue.len() >= params.max_block_txs as usize || self.bytes >= params.max_block_bytes as usize
    }

    /// Last waiting nonce of `signer`.
    pub fn last_nonce(&self, signer: &PublicKey) -> Option<u64> {
        self.last.get(signer).copied()
    }

    pub fn push(&mut self, tx: Waiting) {
        self.bytes += tx.bytes.len();
        self.ids.insert(tx.id);
        self.last.insert(tx.signer, tx.nonce);
        self.queue.push_back(tx);
    }

    /// The transactions of the next block, which stay in the queue until [`Mempool::settle`].
    pub fn select(&self, params: &Params) -> Vec<Vec<u8>> {
        let mut room = params.max_block_bytes as usize;
        let fits = |tx: &&Waiting| match room.checked_sub(tx.bytes.len()) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        let txs = self.queue.iter().take(params.max_block_txs as usize).take_while(fits);
        txs.map(|tx| tx.bytes.clone()).collect()
    }

    /// Removes what a block included.
    pub fn settle(&mut self, included: &BTreeSet<TxId>) {
        self.retain(|tx, _| if included.contains(&tx.id) { Err(None) } else { Ok(()) });
    }

    /// Removes what can no longer be included in a block of `height`, and what cannot follow without it.
    pub fn expire(&mut self, height: u64) -> Vec<(TxId, Rejection)> {
        self.retain(|tx, lost| {
            if lost {
                Err(Some(Rejection::NonceGap))
            } else if tx.expiry_height < height {
                Err(Some(Rejection::Expired))
            } else {
                Ok(())
            }
        })
    }

    /// Keeps the transactions for which `keep` says so; it is told whether an earlier one of the same signer was
    /// removed with a reason. Returns those removed with a reason.
    fn retain(
        &mut self,
        mut keep: impl FnMut(&Waiting, bool) -> Result<(), Option<Rejection>>,
    ) -> Vec<(TxId, Rejection)> {
        let mut dropped = Vec::new();
        let mut lost = BTreeSet::new();
        let Self { queue, ids, last, bytes } = self;
        last.clear();
        queue.retain(|tx| match keep(tx, lost.contains(&tx.signer)) {
            Ok(()) => {
                last.insert(tx.signer, tx.nonce);
                true
            }
            Err(reason) => {
                *bytes -= tx.bytes.len();
                ids.remove(&tx.id);
                if let Some(reason) = reason {
                    lost.insert(tx.signer);
                    dropped.push((tx.id, reason));
                }
                false
            }
        });
        dropped
    }
}
