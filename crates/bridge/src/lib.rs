//! Serves the API over a ledger replica, and is the authentication controller (`spec/api.md`).
//!
//! [`authority`] holds the only secrets: the authority's key, and those of a pairing while one function issues its
//! certificate. `routes` holds one file per resource; they read the ledger, pass on transactions that others
//! signed, and send jobs to the authority. No route, log line, error or transaction carries a secret.
#![forbid(unsafe_code)]

pub mod access;
pub mod authority;
pub mod compat;
mod durable;
mod entropy;
pub mod events;
mod extract;
pub mod field;
pub mod front;
pub mod grpc;
mod list;
mod memo;
mod openapi;
pub mod ops;
mod refusal;
mod repeat;
mod rest;
mod routes;
mod strict;
mod until;
mod work;

pub use authority::{
    ceremonies::CeremonyError,
    issuance,
    issue::Unissued,
    key::{AuthorityKey, KeyError},
    lineage::{Lineage, LineageError},
    orders::OrdersError,
    revocation::ListError,
    signer::{Hand, SignError, Source, Token, TokenFailure},
};
pub use entropy::NoEntropy;
pub use front::Front;
pub use openapi::{contract, older_contract};
pub use refusal::Refusal;
pub use routes::telemetry::over_time;

use std::{
    future::Future,
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use authority::Authority;
use events::webhooks::{Pace, Webhooks};
use front::threads::Threads;
use lct::{id::SpkId, spk::Spk};
use ledger::codec::Canonical;
use node::Chain;
use tokio::{net::TcpListener, sync::watch};

/// Unix milliseconds; in a simulation the simulated ones, the same as the engine's.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How long connections may go on after the shutdown began and the last change ended: for its answer to be read by its asker.
const GRACE: Duration = Duration::from_secs(5);
/// Pause between two looks for what the ledger is to withdraw, and after something that it did not take.
const WITHDRAW: Duration = Duration::from_secs(1);
const WITHDRAW_AGAIN: Duration = Duration::from_secs(60);

/// What a bridge needs.
pub struct Config {
    /// The ledger it serves; an engine runs it elsewhere.
    pub chain: Arc<Chain>,
    /// Its clock.
    pub clock: Clock,
    /// The authority's key; its signing half must be an authority account of the chain.
    pub key: AuthorityKey,
    /// The authorities of the installation, of which the key is that of the last one; `None` where nobody followed the first.
    pub lineage: Option<Lineage>,
    /// File of the ceremonies; created when absent. No one else may write it. The log of what the authority issued lies beside
    /// it ([`authority::issuance::FILE`]).
    pub ceremonies: PathBuf,
    /// File of the revocation list issued last; created when absent. No one else may write it.
    pub revocations: PathBuf,
    /// File of the orders that operators placed; created when absent. No one else may write it.
    pub orders: PathBuf,
    /// Database of the web hooks; created when absent. No one else may read it: it holds the keys of their signatures.
    pub webhooks: PathBuf,
}

/// Why a bridge does not start or ended early.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The key is not an authority's.
    #[error("the authority's key has no authority account on this chain")]
    NotAnAuthority,
    /// Another authority followed the one whose key it is.
    #[error(
        "another authority{} followed the one with this key ({}), which signs nothing any more: start with the keys that follow",
        .0.map(|id| format!(" ({id})")).unwrap_or_default(), api::problem::code::AUTHORITY_SUCCEEDED
    )]
    Succeeded(Option<SpkId>),
    /// The key is of nobody in the line.
    #[error(
        "the key is that of {key}, and the authority of this installation is {authority}: start with its keys"
    )]
    OtherAuthority {
        /// Whose key it is.
        key: SpkId,
        /// Who is the authority.
        authority: SpkId,
    },
    /// The ceremony file cannot be used.
    #[error(transparent)]
    Ceremonies(#[from] CeremonyError),
    /// The file of the revocation list cannot be used.
    #[error(transparent)]
    Revocations(#[from] ListError),
    /// The log of what was issued cannot be used.
    #[error(transparent)]
    Issuances(#[from] authority::issuance::IssuanceError),
    /// The file of users cannot be used.
    #[error(transparent)]
    Users(#[from] access::users::UsersError),
    /// The file of orders cannot be used.
    #[error(transparent)]
    Orders(#[from] OrdersError),
    /// The database of web hooks cannot be used.
    #[error(transparent)]
    Webhooks(#[from] events::webhooks::OutboxError),
    /// What an earlier run left cannot be taken up.
    #[error("what an earlier run left cannot be taken up: {}", .0.0)]
    Start(Refusal),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] node::Error),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] front::tls::TlsError),
    /// The listener is reachable from other machines, and there is no TLS or nobody who may come in.
    #[error("without TLS and users the bridge only listens on a loopback address, not on {0}")]
    NotLoopback(std::net::SocketAddr),
    /// Clients that cannot sign cannot be served.
    #[error(transparent)]
    Compat(Box<compat::CompatError>),
    /// No thread.
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Listener(io::Error),
}

/// What handlers share.
pub(crate) struct Shared {
    pub chain: Arc<Chain>,
    pub clock: Clock,
    pub authority: Authority,
    pub streams: events::Streams,
    pub webhooks: Webhooks,
    /// Canonical bytes.
    pub genesis: Vec<u8>,
    /// For whom the bridge signs, if for anybody.
    pub compat: Option<compat::Compat>,
    /// What was answered to writes that are to happen once.
    pub answers: repeat::Answers,
    /// What was answered since the last block.
    pub memo: memo::Memo,
    /// Changes under way.
    pub works: work::Works,
    pub front: front::Open,
    pub metrics: ops::metrics::Metrics,
    /// Who hears the buses.
    pub gateways: ops::gateways::Gateways,
    /// Least room on the disk, in MiB.
    pub disk_free_mib: u64,
    /// Where spans of requests go, if anywhere.
    pub traces: Option<ops::traces::Traces>,
    pub began: Instant,
    /// Written to see whether the disk takes anything.
    pub probe: PathBuf,
}

/// A bridge that is ready to serve.
pub struct Bridge {
    shared: Shared,
    thread: thread::JoinHandle<()>,
    pace: Pace,
}

impl Bridge {
    /// Reads the ceremonies and starts the authority. Blocks while it reads the disk.
    ///
    /// # Errors
    /// [`BridgeError`].
    pub fn open(config: Config) -> Result<Self, BridgeError> {
        let Config { chain, clock, key, lineage, ceremonies, revocations, orders, webhooks } = config;
        let genesis = chain.genesis()?.to_bytes();
        let (authority, thread) =
            Authority::start(key, lineage, chain.clone(), clock.clone(), &ceremonies, &revocations, &orders)?;
        let probe = orders.with_extension("probe");
        let (front, metrics) =
            (front::Open::new(&Front::default(), access::now_ms())?, ops::metrics::Metrics::new());
        let began = Instant::now();
        let streams = events::Streams::default();
        let webhooks = Webhooks::open(&webhooks, &chain.chain_id())?;
        let shared = Shared {
            chain,
            clock,
            authority,
            streams,
            webhooks,
            genesis,
            compat: None,
            answers: repeat::Answers::default(),
            memo: memo::Memo::default(),
            works: work::Works::default(),
            front,
            metrics,
            gateways: ops::gateways::Gateways::default(),
            disk_free_mib: 0,
            traces: None,
            began,
            probe,
        };
        Ok(Bridge { shared, thread, pace: Pace::default() })
    }

    /// Repeats failed deliveries of events at another pace.
    #[must_use]
    pub fn with_pace(self, pace: Pace) -> Self {
        Bridge { pace, ..self }
    }

    /// Serves clients that cannot sign as well (A150 to A158). Blocks while it reads the disk.
    ///
    /// # Errors
    /// [`BridgeError::Compat`].
    pub fn with_compat(mut self, settings: compat::Settings) -> Result<Self, BridgeError> {
        self.shared.compat = Some(compat::Compat::open(settings, self.shared.now_s())?);
        Ok(self)
    }

    /// Has it reached in another way than by this machine alone.
    ///
    /// # Errors
    /// [`BridgeError::Users`], [`BridgeError::Tls`].
    pub fn behind(mut self, front: &Front) -> Result<Self, BridgeError> {
        self.shared.front = front::Open::new(front, access::now_ms())?;
        Ok(self)
    }

    /// Is ready only while this holds too.
    #[must_use]
    pub fn watching(mut self, watch: ops::Watch) -> Self {
        let ops::Watch { gateways, disk_free_mib } = watch;
        self.shared.gateways.expected = gateways;
        self.shared.disk_free_mib = disk_free_mib;
        self
    }

    /// Sends a span of each request to a collector.
    #[must_use]
    pub fn with_traces(mut self, traces: ops::traces::Traces) -> Self {
        self.shared.traces = Some(traces);
        self
    }

    /// The authority's public keys, which devices pin.
    pub fn authority(&self) -> Spk {
        *self.shared.authority.spk()
    }

    /// Serves `listener` until `shutdown` resolves, and then until every request that was taken has ended, also those
    /// whose askers have gone (A138). When this returns, the authority has stopped and every ceremony is on disk.
    ///
    /// # Errors
    /// [`BridgeError::NotLoopback`], [`BridgeError::Listener`].
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BridgeError> {
        let address = listener.local_addr().map_err(BridgeError::Listener)?;
        let Bridge { shared, thread, pace } = self;
        let tls = shared.front.tls.clone();
        let users = shared.front.door.has_users().map_err(BridgeError::Start)?;
        if !(address.ip().is_loopback() || tls.is_some() && users) {
            return Err(BridgeError::NotLoopback(address));
        }
        let shared = Arc::new(shared);
        let (stop, stops) = watch::channel(false);
        let served = rest::Served::new(shared.clone());
        let strangers = shared.front.door.strangers().clone();
        let threads = Threads::start().map_err(BridgeError::Thread)?;
        let front = (shared.front.patience, strangers);
        let server = front::server::serve(listener, tls, (served, &threads), front, stops);
        tokio::select! {
            () = async {
                server.await;
                shared.works.idle().await;
            } => {}
            () = async {
                shutdown.await;
                shared.streams.end();
                stop.send_replace(true);
                let longest = shared.front.patience.request + GRACE;
                let done = async {
                    shared.works.idle().await;
                    tokio::time::sleep(GRACE).await;
                    // A change whose request was on its way still.
                    shared.works.idle().await;
                };
                match tokio::time::timeout(longest, done).await {
                    Ok(()) => tracing::warn!("connections whose clients do not end are dropped"),
                    Err(_) => {
                        tracing::warn!("requests were still running {} s after the end began", longest.as_secs());
                    }
                }
            } => {}
            () = withdraw(&shared) => {}
            () = routes::telemetry::follow(&shared) => {}
            () = events::webhooks::run(&shared, pace) => {}
        }
        // What is still under way there waits for nothing any more.
        threads.end().await;
        shared.authority.stop().await;
        if let Some(traces) = &shared.traces {
            traces.end().await;
        }
        // The thread ends with its last job; a panic in it was reported where it happened.
        let _reported = tokio::task::spawn_blocking(move || thread.join()).await;
        Ok(())
    }
}

/// Has the ledger withdraw what an interrupted request or an earlier run left; never ends.
async fn withdraw(shared: &Shared) {
    loop {
        let pause = match shared.withdraw().await {
            Ok(()) => WITHDRAW,
            Err(why) => {
                tracing::error!(why = %why.0, "the ledger does not withdraw what it should");
                WITHDRAW_AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}
