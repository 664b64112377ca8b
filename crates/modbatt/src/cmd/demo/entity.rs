//! What the app's host serves over HTTP while a run lasts: keys for bindings, and the carrying of messages that authenticate
//! themselves (`spec/api.md`, A91, A96, A166).

use std::collections::BTreeMap;
use std::time::{Duration, Instant as WallInstant};

use gateway::entity::{Drawn, Wanted, serve};
use gateway::{CarriedTo, CarryRefused, Gateway, KeysFor, KeysRefused};
use lct::sign::PublicKey;
use pack::answers::DeviceKeys;
use pack::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Failure, reason, say};

/// Requests that wait for the run.
const WAITING_MAX: usize = 8;

/// How long an introduction waits for what the keys that it ends signed; whoever brought it waits longer. After one that
/// waited in vain nothing is held back for as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks at what waits.
const LOOK: Duration = Duration::from_millis(20);

type Told = Result<Vec<u8>, CarryRefused>;

/// What keys that would end signed and the ledger does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbrought {
    Nothing,
    /// It is there soon.
    OnItsWay,
    /// It waits for the journal of a laptop.
    Held,
}

/// An introduction that waits until what was signed with the keys that it ends is on the ledger (A166).
struct Introduction {
    component_id: String,
    message: Vec<u8>,
    answer: oneshot::Sender<Told>,
    keys: Vec<PublicKey>,
    until: WallInstant,
    /// When it is looked again whether it is there.
    look: WallInstant,
}

/// The host as others reach it.
pub struct Entity {
    /// Its address.
    pub url: String,
    wanted: mpsc::Receiver<Wanted>,
    answers: BTreeMap<KeysFor, oneshot::Sender<Drawn>>,
    carried: BTreeMap<CarriedTo, oneshot::Sender<Told>>,
    introduction: Option<Introduction>,
    /// Until when no other one has keys held back.
    rests: Option<WallInstant>,
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
        let (answers, carried) = (BTreeMap::new(), BTreeMap::new());
        Ok(Entity { url, wanted, answers, carried, introduction: None, rests: None, server })
    }

    /// Gives what was asked for meanwhile to the gateway. An introduction ends keys: while something that these signed is
    /// on its way to the ledger it waits, and what they sign from then on waits with its device; where it is held, the introduction is
    /// refused (H253). Of what others sign there may be as much as there likes.
    pub fn take(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        unbrought: impl Fn(&[PublicKey]) -> Unbrought,
    ) {
        let clock = WallInstant::now();
        while let Ok(wanted) = self.wanted.try_recv() {
            // Whoever asked may have gone.
            match wanted {
                Wanted::Keys { component_id, request, answer } => {
                    match gateway.generate_keys(now, &component_id, &request) {
                        Ok(of) => drop(self.answers.insert(of, answer)),
                        Err(why) => drop(answer.send(Err(why))),
                    }
                }
                Wanted::Carry { component_id, message, answer } => {
                    let keys = gateway.keys_ending(&component_id, &message);
                    let of_keys = unbrought(&keys);
                    if of_keys == Unbrought::Nothing {
                        self.carry(now, gateway, &component_id, &message, answer);
                    } else if of_keys == Unbrought::Held {
                        drop(answer.send(Err(CarryRefused::Held)));
                    } else if self.introduction.is_some() || self.rests.is_some_and(|until| clock < until) {
                        drop(answer.send(Err(CarryRefused::Busy)));
                    } else {
                        let (until, look) = (clock + PATIENCE, clock + LOOK);
                        let waits = Introduction { component_id, message, answer, keys, until, look };
                        self.introduction = Some(waits);
                    }
                }
            }
        }
        match self.introduction.take() {
            Some(waits) if clock < waits.look => self.introduction = Some(waits),
            // Whoever asked has gone: nobody would hear what the device says.
            Some(waits) if waits.answer.is_closed() => self.rests = Some(clock + PATIENCE),
            Some(waits) if unbrought(&waits.keys) == Unbrought::Nothing => {
                self.carry(now, gateway, &waits.component_id, &waits.message, waits.answer);
            }
            Some(waits) if waits.until <= clock => {
                self.rests = Some(clock + PATIENCE);
                drop(waits.answer.send(Err(CarryRefused::Busy)));
            }
            waits => {
                self.introduction = waits.map(|waits| Introduction { look: clock + LOOK, ..waits });
            }
        }
        gateway.hold(self.introduction.as_ref().map_or_else(Vec::new, |waits| waits.keys.clone()));
    }

    fn carry(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        component_id: &str,
        message: &[u8],
        answer: oneshot::Sender<Told>,
    ) {
        match gateway.carry(now, component_id, message) {
            Ok(to) => drop(self.carried.insert(to, answer)),
            // Whoever asked may have gone.
            Err(why) => drop(answer.send(Err(why))),
        }
    }

    /// Tells whoever had it carried what the device answered.
    pub fn carried(&mut self, to: CarriedTo, told: Told) {
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
