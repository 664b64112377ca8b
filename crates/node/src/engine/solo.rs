//! The embedded engine: one machine that holds the keys of enough validators (`spec/ledger.md`, L76).
//!
//! A block is cut promptly when transactions wait, at once when they fill one, and never while idle, except ONE
//! empty block after the last non-empty one, so that the last state has a certified root.

use std::{
    future::Future,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ed25519_dalek::{Signer, SigningKey};
use ledger::{
    block::{Block, Certificate},
    checkpoint::Checkpoint,
    execute::Tip,
    genesis::ValidatorSet,
};
use tokio::time::Instant;

use super::signed::Signed;
use crate::{Chain, Error, past::PastError};

/// How the engine paces blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Shortest time between two blocks that are not full.
    pub min_gap: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { min_gap: Duration::from_millis(25) }
    }
}

/// The engine: a chain and the keys that certify its blocks.
pub struct Solo {
    chain: Arc<Chain>,
    keys: Vec<SigningKey>,
    signed: Option<Mutex<Signed>>,
}

impl Solo {
    /// An engine for `chain` that signs with `key`.
    ///
    /// # Errors
    /// As [`Solo::with_keys`].
    pub fn new(chain: Arc<Chain>, key: SigningKey) -> Result<Self, Error> {
        Self::with_keys(chain, vec![key])
    }

    /// An engine for `chain` that signs with those of `keys` that are validators at the time: the key of a set that is
    /// decided on may wait beside that of the set in force.
    ///
    /// # Errors
    /// [`Error::NotTheValidator`] when the keys cannot certify a block of this chain.
    pub fn with_keys(chain: Arc<Chain>, mut keys: Vec<SigningKey>) -> Result<Self, Error> {
        keys.sort_by_key(|key| key.verifying_key().to_bytes());
        keys.dedup_by_key(|key| key.verifying_key().to_bytes());
        let engine = Self { chain, keys, signed: None };
        engine.proposer()?;
        Ok(engine)
    }

    /// Has it note what it signs in the file at `path`, which is kept apart from the ledger, and sign nothing that an older copy of
    /// the ledger lacks (L256).
    ///
    /// # Errors
    /// As [`Signed::open`].
    pub fn remembering(mut self, path: &Path) -> Result<Self, Error> {
        self.signed = Some(Mutex::new(Signed::open(path, &self.chain)?));
        Ok(self)
    }

    /// The keys that count for the next block.
    fn signers(&self, set: &ValidatorSet) -> Vec<&SigningKey> {
        self.keys.iter().filter(|key| set.power(&key.verifying_key().to_bytes()) > 0).collect()
    }

    /// Who proposes the next block, if the keys can certify it.
    fn proposer(&self) -> Result<[u8; 32], Error> {
        let set = self.chain.validators();
        let signers = self.signers(&set);
        let powers = signers.iter().map(|key| u128::from(set.power(&key.verifying_key().to_bytes())));
        let enough = powers.sum::<u128>() * 3 > set.total() * 2;
        let first = signers.first().filter(|_| enough).ok_or(Error::NotTheValidator)?;
        Ok(first.verifying_key().to_bytes())
    }

    /// Certifies the next block.
    #[must_use]
    pub fn certify(&self, block: &Block) -> Certificate {
        let message = Certificate::message(&block.header.id());
        let sign = |key: &SigningKey| (key.verifying_key().to_bytes(), key.sign(&message).to_bytes());
        let signers = self.signers(&self.chain.validators());
        Certificate { signatures: signers.into_iter().map(sign).collect() }
    }

    /// A checkpoint of the last block, signed by the validators of the next one.
    ///
    /// # Errors
    /// [`PastError::Future`] before the first block.
    pub fn checkpoint(&self) -> Result<Checkpoint, PastError> {
        let snapshot = self.chain.read()?;
        let (statement, set) = (snapshot.checkpoint()?, snapshot.validators()?);
        let keys = self.signers(&set);
        Ok(statement.certify(set.clone(), keys))
    }

    /// Makes one block at `now_ms` if there is work; returns the tip after it. Blocks while the disk syncs.
    ///
    /// # Errors
    /// [`Error`]: the replica must stop.
    pub fn cut(&self, now_ms: u64) -> Result<Option<Tip>, Error> {
        let block = self.chain.propose(now_ms, self.proposer()?);
        if block.txs.is_empty() && self.chain.tip().tx_count == 0 {
            return Ok(None);
        }
        let mut signed = self.signed.as_ref().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(signed) = &mut signed {
            signed.begin(block.header.height, block.header.id())?;
        }
        let tip = self.chain.commit(&block, &self.certify(&block))?;
        if let Some(signed) = &mut signed {
            signed.stored()?;
        }
        Ok(Some(tip))
    }

    /// Makes blocks until nothing waits and the last state is certified.
    ///
    /// # Errors
    /// As [`Solo::cut`].
    pub fn drain(&self, now: impl Fn() -> u64) -> Result<(), Error> {
        while self.cut(now())?.is_some() {}
        Ok(())
    }

    /// Runs until `stop` resolves, then makes the blocks that are due and returns.
    ///
    /// `now` gives block time in Unix milliseconds; pacing itself is in real time. Must run inside a tokio
    /// runtime with time enabled; syncing happens on its blocking threads.
    ///
    /// # Errors
    /// [`Error`]: the replica must stop.
    pub async fn run(
        self,
        config: Config,
        now: impl Fn() -> u64,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let engine = Arc::new(self);
        let mut stop = std::pin::pin!(stop);
        let mut earliest = Instant::now();
        loop {
            while !engine.chain.has_work() {
                tokio::select! {
                    () = engine.chain.work() => {}
                    // What arrived at the same moment is still put into a block.
                    () = &mut stop => return Self::blocking(&engine, now(), |e, t| e.drain(|| t)).await,
                }
            }
            // Until the gap is over only a full block may go out; the arrival that fills one asks again.
            while !engine.chain.is_full() && Instant::now() < earliest {
                tokio::select! {
                    () = tokio::time::sleep_until(earliest) => {}
                    () = engine.chain.work() => {}
                    () = &mut stop => return Self::blocking(&engine, now(), |e, t| e.drain(|| t)).await,
                }
            }
            earliest = Instant::now() + config.min_gap;
            Self::blocking(&engine, now(), Self::cut).await?;
            // Under full load no wait above ever asks.
            tokio::select! {
                biased;
                () = &mut stop => return Self::blocking(&engine, now(), |e, t| e.drain(|| t)).await,
                () = std::future::ready(()) => {}
            }
        }
    }

    /// Runs a step that syncs the disk without holding up the runtime.
    async fn blocking<T: Send + 'static>(
        engine: &Arc<Self>,
        now_ms: u64,
        step: impl FnOnce(&Self, u64) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(engine);
        tokio::task::spawn_blocking(move || step(&engine, now_ms)).await.map_err(|_| Error::Interrupted)?
    }
}
