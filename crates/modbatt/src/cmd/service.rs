//! Ledger and bridge of a data directory, running, with the one validator.

use std::net::SocketAddr;
use std::sync::Arc;

use bridge::{AuthorityKey, Bridge, BridgeError, Clock, Config};
use node::Chain;
use node::engine::solo::{self, Solo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::data_dir::{DataDir, Run};
use super::keys::AUTHORITY;
use super::{Failure, ledger, reason};
use crate::custody::authority::Keys;

/// What runs.
pub struct Service {
    /// Where the API answers.
    pub url: String,
    engine: JoinHandle<Result<(), node::Error>>,
    bridge: JoinHandle<Result<(), BridgeError>>,
    stop_engine: watch::Sender<bool>,
    stop_bridge: watch::Sender<bool>,
}

impl Service {
    /// Starts the engine of `chain` and its bridge at `listen`, as `dress` wants it, which also says how it is spoken to, `http` or
    /// `https`; and says in the directory where that is.
    ///
    /// Must run inside a runtime.
    pub async fn start(
        dir: &DataDir,
        chain: &Arc<Chain>,
        (authority, validator): (AuthorityKey, ed25519_dalek::SigningKey),
        clock: Clock,
        listen: SocketAddr,
        dress: impl FnOnce(Bridge) -> Result<(Bridge, &'static str), Failure>,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind(listen).await.map_err(|e| unheard(listen, &e))?;
        let address = listener.local_addr().map_err(|e| unheard(listen, &e))?;
        let (stop_bridge, bridge_stops) = watch::channel(false);
        let (stop_engine, engine_stops) = watch::channel(false);
        let engine = Solo::new(chain.clone(), validator).and_then(|engine| engine.remembering(&dir.signed()));
        let engine = engine.map_err(|e| ledger::failure(&e))?;
        let now = clock.clone();
        let engine = tokio::spawn(engine.run(solo::Config::default(), move || now(), raised(engine_stops)));
        let config = Config {
            chain: chain.clone(),
            clock,
            key: authority,
            lineage: Keys::at(&dir.keys().join(AUTHORITY))?.lineage().cloned(),
            ceremonies: dir.path().join("ceremonies"),
            revocations: dir.path().join("revocations"),
            orders: dir.path().join("orders.json"),
            webhooks: dir.path().join("webhooks.redb"),
        };
        let bridge = Bridge::open(config).map_err(|e| Failure::Failed(e.to_string()))?;
        let (bridge, scheme) = dress(bridge)?;
        let url = format!("{scheme}://{address}");
        let bridge = tokio::spawn(bridge.serve(listener, raised(bridge_stops)));
        dir.announce(&Run { url: url.clone(), pid: std::process::id() })?;
        Ok(Self { url, engine, bridge, stop_engine, stop_bridge })
    }

    /// Ends when engine or bridge do, which they never do by themselves unless they fail.
    pub async fn died(&mut self) -> Failure {
        tokio::select! {
            engine = &mut self.engine => ended(engine),
            bridge = &mut self.bridge => match bridge {
                Ok(Err(e)) => Failure::Failed(e.to_string()),
                _ => Failure::Failed("the bridge ended unexpectedly".into()),
            },
        }
    }

    /// Ends in order: what the bridge took is in a block.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop_bridge.send_replace(true);
        match self.bridge.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Failure::Failed(e.to_string())),
            Err(_) => return Err(Failure::Failed("the bridge ended unexpectedly".into())),
        }
        self.stop_engine.send_replace(true);
        match self.engine.await {
            Ok(Ok(())) => Ok(()),
            died => Err(ended(died)),
        }
    }
}

async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone, which ends things as well.
    let _gone = flag.wait_for(|up| *up).await;
}

fn ended(died: Result<Result<(), node::Error>, JoinError>) -> Failure {
    match died {
        Ok(Err(e)) => ledger::failure(&e),
        _ => Failure::Failed("the ledger's engine ended unexpectedly".into()),
    }
}

fn unheard(address: SocketAddr, e: &std::io::Error) -> Failure {
    match e.kind() {
        std::io::ErrorKind::AddrInUse => Failure::Failed(format!(
            "{address} is in use by another program; name another with --listen, or leave it out for a free port"
        )),
        _ => Failure::Failed(format!("cannot listen on {address}: {}", reason(e))),
    }
}
