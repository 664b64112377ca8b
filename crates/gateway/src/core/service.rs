//! What operators have done with pairings in operation besides pairing anew: they are ended (H158, H159), and the keys of
//! their channels renewed (H95, H159). Each is asked for until the device says that it is done.

use super::*;
use crate::orders::{Ending as Outcome, OrderId};
use api::order::{Order, Task};
use lct::revocation::Reason;

/// How long a device may take, and how often it is asked.
const PATIENCE: Duration = Duration::from_millis(5_000);
const TRIES: u8 = 6;

/// A wish under way.
#[derive(Debug)]
struct Wish {
    /// Name of the task towards orders.
    name: String,
    kind: Kind,
    /// 0 between app and pack, else between the pack and the module at this node.
    node: u8,
    due: Instant,
    tries: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unpair,
    Rotate,
}

/// The wishes under way, one for each relationship and kind.
#[derive(Debug, Default)]
pub(super) struct Service(Vec<Wish>);

impl Service {
    pub fn due(&self) -> Option<Instant> {
        self.0.iter().map(|wish| wish.due).min()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|wish| wish.name == name)
    }

    fn take(&mut self, kind: Kind, node: u8) -> Option<Wish> {
        let at = self.0.iter().position(|wish| (wish.kind, wish.node) == (kind, node))?;
        Some(self.0.swap_remove(at))
    }
}

/// The node of the side farther from the app.
fn node_of(pair: [Member; 2]) -> Option<u8> {
    match pair {
        [None, Some(Party::Pack)] => Some(0),
        [Some(Party::Pack), Some(Party::Module(node))] => Some(node),
        _ => None,
    }
}

impl Gateway {
    /// Orders that wait at the bridge. Takes those whose components are here, once everybody is commissioned, and
    /// returns those that ended.
    pub fn orders(&mut self, now: Instant, waiting: &[Order]) -> Vec<(OrderId, Outcome)> {
        if let Phase::Operating(c) = &mut self.phase {
            // A pairing that its policy did not need any more is begun anew for an order that waits for it.
            let service = &self.service;
            self.orders.dropped(|task| c.has(task) || service.has(task));
            for order in waiting {
                if self.orders.is_known(&order.id.0) {
                    continue;
                }
                let components = [order.a.as_str(), order.b.as_str()];
                let kind = match order.task {
                    Task::Pair => {
                        if let Some(task) = c.pair_by_order(components) {
                            self.orders.begin(order.id.0, task);
                        }
                        continue;
                    }
                    Task::Unpair => Kind::Unpair,
                    Task::Rotate => Kind::Rotate,
                };
                // What is done with the same two goes before.
                let pair = c.pair_of(components).filter(|pair| !c.waits(*pair));
                if let Some(node) = pair.and_then(node_of) {
                    let name = format!("{} {} {}", order.task.name(), order.a, order.b);
                    if !self.service.has(&name) {
                        self.service.0.push(Wish { name: name.clone(), kind, node, due: now, tries: 0 });
                    }
                    self.orders.begin(order.id.0, name);
                }
            }
        }
        let waiting: Vec<OrderId> = waiting.iter().map(|order| order.id.0).collect();
        self.orders.ended(&waiting)
    }

    /// Asks for what is due.
    pub(super) fn serve(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        while let Some(wish) = self.service.0.iter_mut().find(|wish| wish.due <= now) {
            (wish.due, wish.tries) = (now + PATIENCE, wish.tries + 1);
            let (kind, node, tries) = (wish.kind, wish.node, wish.tries);
            let (up, paired) = (self.app.relation().is_up(), self.app.relation().is_paired());
            let asked = match (kind, node) {
                // It may have ended before this program began.
                (Kind::Unpair, 0) if !paired => {
                    self.served(kind, node);
                    Ok(())
                }
                _ if tries > TRIES => {
                    let why = if up {
                        "the pack does not say that it is done"
                    } else {
                        "there is no channel to the pack"
                    };
                    self.not_served(kind, node, why);
                    Ok(())
                }
                // Once begun it comes to its end by itself, also without a channel.
                (Kind::Unpair, 0) if tries == 1 => self.app.unpair(now, Reason::Retired, rng),
                (Kind::Unpair, 0) => Ok(()),
                _ if !up => Ok(()),
                (Kind::Unpair, node) => self.app.unpair_module(now, node, Reason::Retired),
                (Kind::Rotate, 0) => self.app.rotate(now, rng),
                (Kind::Rotate, node) => self.app.rotate_module(now, node),
            };
            if let Err(e) = asked {
                self.not_served(kind, node, &e.to_string());
            }
        }
    }

    /// The epoch of a channel was renewed; node 0 is the pack's.
    pub(super) fn rotated(&mut self, node: u8) {
        self.served(Kind::Rotate, node);
    }

    /// The app's own pairing ended; the pack's statement may still come.
    pub(super) fn unpaired(&mut self) {
        self.served(Kind::Unpair, 0);
    }

    /// The pack's answer to the wish to end a pairing with a module.
    pub(super) fn module_unpaired(&mut self, node: u8, status: Status) {
        let why = match status {
            // Its statement follows.
            Status::Accepted => return,
            Status::WrongState => return self.served(Kind::Unpair, node),
            Status::WrongParty => "the pack has no module there",
            Status::NotAuthentic | Status::Malformed => "the pairing of app and pack does not grant it",
        };
        self.not_served(Kind::Unpair, node, why);
    }

    /// A device's statement that it ended a pairing: what is verified goes to the ledger.
    pub(super) fn ended(&mut self, statement: &[u8]) {
        match self.endings.take(statement) {
            Ok(Some((ending, job))) => {
                self.outputs.push_back(Output::Keep(job, None));
                let module = self.cids.iter().find(|(party, cid)| {
                    matches!(party, Party::Module(_)) && [ending.by, ending.with].contains(cid)
                });
                if let Some(node) = module.map(|(party, _)| party.node()) {
                    self.served(Kind::Unpair, node);
                }
                self.event(Event::Unpaired(ending));
            }
            Ok(None) => {}
            Err(_) => self.misfits += 1,
        }
    }

    /// Gives the keys with which app, pack and modules sign towards each other, as the ledger has them.
    pub fn set_signers(&mut self, signers: Vec<Signer>) {
        for statement in self.endings.set_signers(signers) {
            self.ended(&statement);
        }
    }

    fn served(&mut self, kind: Kind, node: u8) {
        if let Some(wish) = self.service.take(kind, node) {
            self.orders.done(&wish.name);
        }
    }

    fn not_served(&mut self, kind: Kind, node: u8, why: &str) {
        if let Some(wish) = self.service.take(kind, node) {
            self.orders.failed(&wish.name, why);
        }
    }
}
