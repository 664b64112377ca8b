//! What the app's host serves over HTTP while a run lasts: keys for bindings, and the carrying of messages that authenticate
//! themselves (`spec/api.md`, A91, A96).

use std::collections::BTreeMap;

use gateway::entity::{Drawn, Wanted, serve};
use gateway::{CarriedTo, CarryRefused, Gateway, KeysFor, KeysRefused};
use pack::answers::DeviceKeys;
use pack::pdu;
use pack::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Failure, reason, say};

/// Requests that wait for the run.
const WAITING_MAX: usize = 8;
/// How a message begins that tells a part of its partner's key (`spec/can.md`, C30).
const INTRODUCTION: [u8; 2] = [pdu::BINDING, pdu::binding::INTRODUCTION];

/// The host as others reach it.
pub struct Entity {
    /// Its address.
    pub url: String,
    wanted: mpsc::Receiver<Wanted>,
    answers: BTreeMap<KeysFor, oneshot::Sender<Drawn>>,
    carried: BTreeMap<CarriedTo, oneshot::Sender<Result<Vec<u8>, CarryRefused>>>,
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
        Ok(Entity { url, wanted, answers: BTreeMap::new(), carried: BTreeMap::new(), server })
    }

    /// Gives what was asked for meanwhile to the gateway. While something is `on_its_way` to the ledger nobody is introduced,
    /// for that may end the keys that signed it (H181).
    pub fn take(&mut self, now: Instant, gateway: &mut Gateway, on_its_way: impl Fn() -> bool) {
        while let Ok(wanted) = self.wanted.try_recv() {
            // Whoever asked may have gone.
            match wanted {
                Wanted::Keys { component_id, request, answer } => {
                    match gateway.generate_keys(now, &component_id, &request) {
                        Ok(of) => drop(self.answers.insert(of, answer)),
                        Err(why) => drop(answer.send(Err(why))),
                    }
                }
                Wanted::Carry { message, answer, .. }
                    if message.starts_with(&INTRODUCTION) && on_its_way() =>
                {
                    drop(answer.send(Err(CarryRefused::Busy)));
                }
                Wanted::Carry { component_id, message, answer } => {
                    match gateway.carry(now, &component_id, &message) {
                        Ok(to) => drop(self.carried.insert(to, answer)),
                        Err(why) => drop(answer.send(Err(why))),
                    }
                }
            }
        }
    }

    /// Tells whoever had it carried what the device answered.
    pub fn carried(&mut self, to: CarriedTo, told: Result<Vec<u8>, CarryRefused>) {
        if let Some(answer) = self.carried.remove(&to) {
            // Whoever asked may have gone.
            let _gone = answer.send(told);
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
