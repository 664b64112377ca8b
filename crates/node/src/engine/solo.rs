//! The embedded engine: one machine, one validator key (`spec/ledger.md`, L76).
//!
//! A block is cut promptly when transactions wait, at once when they fill one, and never while idle, except ONE
//! empty block after the last non-empty one, so that the last state has a certified root.

use std::{future::Future, sync::Arc, time::Duration};

use ed25519_dalek::{Signer, SigningKey};
use ledger::{
    block::{Block, Certificate},
    execute::Tip,
};
use tokio::time::Instant;

use crate::{Chain, Error};

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

/// The engine: a chain and the key that certifies its blocks.
pub struct Solo {
    chain: Arc<Chain>,
    key: SigningKey,
}

impl Solo {
    /// An engine for `chain`.
    ///
    /// # Errors
    /// [`Error::NotTheValidator`] when `key` alone cannot certify a block of this chain.
    pub fn new(chain: Arc<Chain>, key: SigningKey) -> Result<Self, Error> {
        let set = chain.validators();
        let power = u128::from(set.power(&key.verifying_key().to_bytes()));
        if power * 3 > set.total() * 2 { Ok(Self { chain, key }) } else { Err(Error::NotTheValidator) }
    }

    /// Certifies a block.
    #[must_use]
    pub fn certify(&self, block: &Block) -> Certificate {
        let signature = self.key.sign(&Certificate::message(&block.header.id()));
        Certificate { signatures: vec![(self.key.verifying_key().to_bytes(), signature.to_bytes())] }
    }

    /// Makes one block at `now_ms` if there is work; returns the tip after it. Blocks while the disk syncs.
    ///
    /// # Errors
    /// [`Error`]: the replica must stop.
    pub fn cut(&self, now_ms: u64) -> Result<Option<Tip>, Error> {
        let block = self.chain.propose(now_ms, self.key.verifying_key().to_bytes());
        if block.txs.is_empty() && self.chain.tip().tx_count == 0 {
            return Ok(None);
        }
        self.chain.commit(&block, &self.certify(&block)).map(Some)
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
            // Until the gap is over only a full block may go out; every arrival asks again.
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
