//! One file per resource, and what they share.

pub(crate) mod account;
pub(crate) mod binding;
pub(crate) mod chain;
pub(crate) mod commitment;
pub(crate) mod component;
pub(crate) mod context;
pub(crate) mod delegation;
pub(crate) mod energy;
pub(crate) mod gateway;
pub(crate) mod governance;
pub(crate) mod health;
pub(crate) mod lct;
pub(crate) mod mrh;
pub(crate) mod ops;
pub(crate) mod order;
pub(crate) mod pairing;
pub(crate) mod policy;
pub(crate) mod queue;
pub(crate) mod receipt;
pub(crate) mod registry;
pub(crate) mod revocation;
pub(crate) mod telemetry;
pub(crate) mod transaction;
pub(crate) mod trust;

use std::sync::Arc;

use api::{encoding::Hex, problem::code};
use axum::extract::State;
use ledger::tx::TxId;
use node::{Chain, Fate, Snapshot, chain::WaitError};

use crate::{
    Shared,
    memo::{Lasting, lasting},
    ops::lines,
    refusal::{Refusal, Reply},
};

/// Access of a handler to what all share.
pub(crate) type App = State<Arc<Shared>>;

/// Why a transaction did not take effect, so far as it is known.
pub(crate) enum NotIncluded {
    /// It left the queue without a block, or was forgotten in a restart; it may be sent anew.
    Lost,
    /// It was refused in a block, or not in time.
    Refused(Refusal),
}

impl From<NotIncluded> for Refusal {
    fn from(why: NotIncluded) -> Self {
        match why {
            NotIncluded::Lost => {
                Refusal::new(503, code::BUSY, "the transaction left the queue without a block; try again")
            }
            NotIncluded::Refused(refusal) => refusal,
        }
    }
}

impl Shared {
    /// Runs `f` where it may block on the disk.
    pub async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Chain) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        let chain = self.chain.clone();
        match lines::blocking(move || f(&chain)).await {
            Ok(made) => made,
            Err(e) => Err(Refusal::internal(&e)),
        }
    }

    /// Reads the state as it is after the last block, or as it was after that of `height` (A117).
    pub async fn state<T: Send + 'static>(
        &self,
        height: Option<u64>,
        f: impl FnOnce(&Snapshot<'_>) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        self.blocking(move |chain| {
            let snapshot = chain.read()?;
            match height {
                Some(height) => f(&snapshot.at(height)?),
                None => f(&snapshot),
            }
        })
        .await
    }

    /// The same for an answer that says nothing but that (A165).
    pub async fn told<T: Send + 'static>(
        &self,
        height: Option<u64>,
        f: impl FnOnce(&Snapshot<'_>) -> Reply<T> + Send + 'static,
    ) -> Reply<Lasting<T>> {
        self.state(height, move |snapshot| Ok(lasting(snapshot, height, f(snapshot)?))).await
    }

    /// The same as [`Shared::state`] for a few entries: those of the last state are read where they are asked for, since to hand that to another
    /// thread costs many times the read.
    pub async fn glance<T: Send + 'static>(
        &self,
        height: Option<u64>,
        f: impl FnOnce(&Snapshot<'_>) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        match height {
            Some(_) => self.state(height, f).await,
            None => f(&self.chain.read()?),
        }
    }

    /// Unix seconds.
    pub fn now_s(&self) -> u64 {
        (self.clock)() / 1000
    }

    /// Has the ledger withdraw what it is to withdraw by now (A52); returns once blocks hold it all.
    pub async fn withdraw(&self) -> Reply<()> {
        let mut lost = Vec::new();
        loop {
            let waiting = self.authority.call(move |core| core.withdraw(&lost)).await?;
            if waiting.is_empty() {
                return Ok(());
            }
            lost = Vec::new();
            for tx in waiting {
                match self.included(&tx).await {
                    Ok(()) => {}
                    Err(NotIncluded::Lost) => lost.push(tx),
                    Err(NotIncluded::Refused(why)) => return Err(why),
                }
            }
        }
    }

    /// Waits until a block holds the transaction and it took effect.
    pub async fn included(&self, id: &TxId) -> Result<(), NotIncluded> {
        let patience = self.front.patience.block;
        let fate = tokio::time::timeout(patience, self.chain.wait(id)).await.map_err(|_| {
            let words = format!("no block within {} s; it may still be included", patience.as_secs());
            NotIncluded::Refused(Refusal::new(504, code::TIMEOUT, &words).detail(Hex(*id).to_string()))
        })?;
        match fate {
            Ok(Fate::Included { result, .. }) => match result.rejection {
                None => Ok(()),
                Some(rejection) => Err(NotIncluded::Refused(rejection.into())),
            },
            Ok(Fate::Dropped(_)) | Err(WaitError::Unknown) => Err(NotIncluded::Lost),
            Err(WaitError::Store(e)) => Err(NotIncluded::Refused(e.into())),
        }
    }
}

/// Reads an identifier in a path.
pub(crate) fn id<const N: usize>(field: &str, text: &str) -> Reply<Hex<N>> {
    text.parse().map_err(|e| Refusal::format(format!("{field}: {e}")))
}
