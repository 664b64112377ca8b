//! What the app's host serves over HTTP while a run lasts: keys for bindings (`spec/api.md`, A91).

use std::collections::BTreeMap;

use gateway::commission::DeviceKeys;
use gateway::entity::{Drawn, Wanted, serve};
use gateway::{Gateway, KeysFor, KeysRefused};
use pack::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Failure, reason, say};

/// Requests that wait for the run.
const WAITING_MAX: usize = 8;

/// The host as others reach it.
pub struct Entity {
    /// Its address.
    pub url: String,
    wanted: mpsc::Receiver<Wanted>,
    answers: BTreeMap<KeysFor, oneshot::Sender<Drawn>>,
    server: JoinHandle<()>,
}

impl Entity {
    /// Begins to listen, on a port that the system chooses.
    pub async fn open() -> Result<Self, Failure> {
        let refuse = |e: std::io::Error| {
            Failure::Failed(format!("the app's host cannot listen on 127.0.0.1: {}", reason(&e)))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(refuse)?;
        let url = format!("http://{}", listener.local_addr().map_err(refuse)?);
        let (sender, wanted) = mpsc::channel(WAITING_MAX);
        let server = tokio::spawn(async move {
            if let Err(e) = serve(listener, sender, std::future::pending()).await {
                say(&format!("the app's host serves no more keys: {}", reason(&e)));
            }
        });
        Ok(Entity { url, wanted, answers: BTreeMap::new(), server })
    }

    /// Gives what was asked for meanwhile to the gateway.
    pub fn take(&mut self, now: Instant, gateway: &mut Gateway) {
        while let Ok(Wanted { component_id, request, answer }) = self.wanted.try_recv() {
            match gateway.generate_keys(now, &component_id, &request) {
                Ok(of) => {
                    self.answers.insert(of, answer);
                }
                Err(why) => {
                    // Whoever asked may have gone.
                    let _gone = answer.send(Err(why));
                }
            }
        }
    }

    /// Tells whoever asked what became of it.
    pub fn answer(&mut self, of: KeysFor, keys: Result<DeviceKeys, KeysRefused>) {
        if let Some(answer) = self.answers.remove(&of) {
            // Whoever asked may have gone.
            let _gone = answer.send(keys.map(|keys| (of.0, keys)));
        }
    }
}

impl Drop for Entity {
    fn drop(&mut self) {
        self.server.abort();
    }
}
