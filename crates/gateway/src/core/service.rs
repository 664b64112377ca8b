//! What operators have done with pairings in operation besides pairing anew: they are ended (H158, H159), and the keys of
//! their channels renewed (H95, H159). Each is asked for until the device says that it is done.

use super::{
    validation::{Validation, relationship},
    *,
};
use crate::orders::{Ending as Outcome, OrderId};
use api::order::{Order, Task};
use lct::revocation::Reason;

/// How long a device may take, and how often it is asked.
const PATIENCE: Duration = Duration::from_millis(5_000);
const TRIES: u8 = 6;
/// How soon after its statement a device may have ended a pairing.
pub(super) const SETTLED: Duration = Duration::from_millis(500);

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

/// What is under way: wishes, one for each relationship and kind, and validations.
#[derive(Debug, Default)]
pub(super) struct Service {
    wishes: Vec<Wish>,
    pub(super) validations: Vec<Validation>,
}

impl Service {
    pub fn due(&self) -> Option<Instant> {
        let wishes = self.wishes.iter().map(|wish| wish.due);
        wishes.chain(self.validations.iter().map(|validation| validation.due)).min()
    }

    pub fn has(&self, name: &str) -> bool {
        let mut names = self.wishes.iter().map(|wish| &wish.name);
        names.any(|known| known == name) || self.validations.iter().any(|validation| validation.name == name)
    }

    /// Whether the pairing at `node` is being ended.
    fn ends(&self, node: u8) -> bool {
        self.wishes.iter().any(|wish| (wish.kind, wish.node) == (Kind::Unpair, node))
    }

    /// Asks at `due` at the latest whether the pairing at `node` has ended.
    fn ask_by(&mut self, node: u8, due: Instant) {
        let ends = self.wishes.iter_mut().filter(|wish| (wish.kind, wish.node) == (Kind::Unpair, node));
        ends.for_each(|wish| wish.due = wish.due.min(due));
    }

    fn take(&mut self, kind: Kind, node: u8) -> Option<Wish> {
        let at = self.wishes.iter().position(|wish| (wish.kind, wish.node) == (kind, node))?;
        Some(self.wishes.swap_remove(at))
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

/// Begins what an order to validate wants of members of this pack; one of somebody else is left alone.
fn begin_validation(
    now: Instant,
    order: &Order,
    c: &Commissioner,
    orders: &mut Orders,
    service: &mut Service,
) {
    let Some(level) = order.level.and_then(|code| ValidationLevel::from_code(code).ok()) else { return };
    let Some([a, b]) = c.pair_of([&order.a, &order.b]) else { return };
    let name = format!("{} {} {} {}", order.task.name(), level as u8, order.a, order.b);
    let alone = (a == b).then_some(a);
    let pair = alone.map_or([a, b], relationship);
    orders.begin(order.id.0, name.clone());
    if level == ValidationLevel::Witness && alone == Some(None) {
        return orders
            .failed(&name, "nobody is the witness of an app; ask for its pack, or for another level");
    }
    if !service.has(&name) {
        service.validations.push(Validation::new(name, level, pair, alone, now));
    }
}

impl Gateway {
    /// Orders that wait at the bridge. Takes those whose components are here, once everybody is commissioned, and
    /// returns those that ended.
    pub fn orders(&mut self, now: Instant, waiting: &[Order]) -> Vec<(OrderId, Outcome)> {
        if let Phase::Operating(c) = &mut self.phase {
            // A pairing that its policy did not need any more is begun anew for an order that waits for it.
            self.orders.dropped(|task| c.has(task) || self.service.has(task));
            for order in waiting {
                if self.orders.is_known(&order.id.0) {
                    continue;
                }
                let components = [order.a.as_str(), order.b.as_str()];
                let kind = match order.task {
                    Task::Pair => {
                        // A new pairing would be the one that is ended.
                        let node = c.pair_of(components).and_then(node_of);
                        if !node.is_some_and(|node| self.service.ends(node))
                            && let Some(task) = c.pair_by_order(components)
                        {
                            self.orders.begin(order.id.0, task);
                        }
                        continue;
                    }
                    Task::Bind => {
                        if let Some(task) = c.bind_by_order(components) {
                            self.orders.begin(order.id.0, task);
                        }
                        continue;
                    }
                    Task::Install => {
                        if let Some(task) = c.install_by_order(components) {
                            self.orders.begin(order.id.0, task);
                        }
                        continue;
                    }
                    Task::TakeOver => {
                        // The app is bound with its pack in commissioning, or it is not here.
                        let here = c.pair_of(components) == Some([None, Some(Party::Pack)]);
                        if here && self.app.relation().is_paired() {
                            let name = format!("{} {} {}", order.task.name(), order.a, order.b);
                            self.orders.begin(order.id.0, name.clone());
                            self.orders.done(&name, "");
                        }
                        continue;
                    }
                    Task::Exchange => {
                        let pack = self.cids.get(&Party::Pack).map(|cid| (*cid, Role::Pack));
                        let relation = self.app.relation();
                        let name = match relation.is_paired() && relation.peer() == pack {
                            // It has the place already, and the order lets modules follow.
                            true => c
                                .name(Some(Party::Pack))
                                .filter(|name| *name == order.b)
                                .map(|_| (format!("{} {} {}", order.task.name(), order.a, order.b), true)),
                            false => c.exchange_by_order(&order.b).map(|task| (task, false)),
                        };
                        if let Some((name, done)) = name {
                            self.orders.begin(order.id.0, name.clone());
                            if done {
                                self.orders.done(&name, "");
                            }
                        }
                        continue;
                    }
                    Task::Unpair => Kind::Unpair,
                    Task::Rotate => Kind::Rotate,
                    Task::Validate => {
                        begin_validation(now, order, c, &mut self.orders, &mut self.service);
                        continue;
                    }
                };
                // What is done with the same two goes before.
                let pair = c.pair_of(components).filter(|pair| !c.waits(*pair));
                if let Some(node) = pair.and_then(node_of) {
                    let name = format!("{} {} {}", order.task.name(), order.a, order.b);
                    if !self.service.has(&name) {
                        self.service.wishes.push(Wish { name: name.clone(), kind, node, due: now, tries: 0 });
                    }
                    self.orders.begin(order.id.0, name);
                }
            }
        }
        let waiting: Vec<OrderId> = waiting.iter().map(|order| order.id.0).collect();
        let ended = self.orders.ended(&waiting);
        // What nobody waits for any more is not asked for any more.
        self.service.wishes.retain(|wish| self.orders.waits(&wish.name));
        self.service.validations.retain(|validation| self.orders.waits(&validation.name));
        ended
    }

    /// Asks for what is due.
    pub(super) fn serve(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        while let Some(wish) = self.service.wishes.iter_mut().find(|wish| wish.due <= now) {
            wish.due = now + PATIENCE;
            let (kind, node) = (wish.kind, wish.node);
            let (up, paired) = (self.app.relation().is_up(), self.app.relation().is_paired());
            // The end of the own pairing, once begun, comes by itself; everything else waits for a channel, as long as its
            // order does.
            if !up && (kind, node) != (Kind::Unpair, 0) {
                continue;
            }
            wish.tries += 1;
            let tries = wish.tries;
            let asked = match (kind, node) {
                // It may have ended before this program began.
                (Kind::Unpair, 0) if !paired => {
                    self.served(kind, node);
                    Ok(())
                }
                _ if tries > TRIES => {
                    self.not_served(kind, node, "the pack does not say that it is done");
                    Ok(())
                }
                (Kind::Unpair, 0) if tries == 1 => self.app.unpair(now, Reason::Retired, rng),
                (Kind::Unpair, 0) => Ok(()),
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
            // It is asked again, until it has ended.
            Status::Accepted => return,
            Status::WrongState => return self.served(Kind::Unpair, node),
            Status::WrongParty => "the pack has no module there",
            Status::NotAuthentic | Status::Malformed => "the pairing of app and pack does not grant it",
        };
        self.not_served(Kind::Unpair, node, why);
    }

    /// A device's statement that it ended a pairing: what is verified goes to the ledger. In clear it may be that of an
    /// earlier pairing: whether the wish is done says the pack's sealed answer, for which it is asked by `ask`.
    pub(super) fn ended(&mut self, ask: Instant, statement: &[u8]) {
        let field = self.field.all().map(|key| Signer { cid: key.of, partner: key.with, key: key.key });
        match self.endings.take(statement, field) {
            Ok(Some((ending, job))) => {
                self.outputs.push_back(Output::Keep(job, None));
                let module = self.cids.iter().find(|(party, cid)| {
                    matches!(party, Party::Module(_)) && [ending.by, ending.with].contains(cid)
                });
                if let Some(node) = module.map(|(party, _)| party.node()) {
                    self.service.ask_by(node, ask);
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
            self.ended(Instant::START, &statement);
        }
    }

    fn served(&mut self, kind: Kind, node: u8) {
        if let Some(wish) = self.service.take(kind, node) {
            self.orders.done(&wish.name, "");
        }
    }

    fn not_served(&mut self, kind: Kind, node: u8, why: &str) {
        if let Some(wish) = self.service.take(kind, node) {
            self.orders.failed(&wish.name, why);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::world::{DONE, commissioner, gateway};
    use api::{Hex, order::State};
    use lct::{
        id::Cid,
        sign::SigningKey,
        validation::{EVENT_MAX, Event as Statement, EventKind},
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    pub(in crate::core) fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1_000)
    }

    /// A gateway with everybody commissioned, and without a channel.
    pub(in crate::core) fn operating() -> Gateway {
        let mut gateway = gateway();
        gateway.phase = Phase::Operating(Box::new(commissioner(&DONE.map(String::from))));
        gateway.cids.insert(Party::Pack, Cid::of("pack-0001"));
        gateway.cids.insert(Party::Module(1), Cid::of("module-0001"));
        gateway
    }

    /// What is wanted of pack and module.
    pub(in crate::core) fn order(id: u8, task: Task) -> Order {
        Order {
            id: Hex([id; 16]),
            task,
            level: None,
            a: "pack-0001".into(),
            b: "module-0001".into(),
            placed_at: 0,
            expires_at: 3_600,
            state: State::Waiting,
            said: String::new(),
        }
    }

    fn pairs(gateway: &Gateway) -> bool {
        matches!(&gateway.phase, Phase::Operating(c) if c.has("pair pack-0001 module-0001"))
    }

    /// A pack without power is no failure: its order waits for it until it expires, and then nothing is asked any more.
    #[test]
    fn without_a_channel_an_order_waits_until_it_expires() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut gateway = operating();
        let waiting = [order(1, Task::Unpair), order(2, Task::Rotate)];
        for s in 0..600 {
            assert_eq!(gateway.orders(at(s), &waiting), []);
            gateway.serve(at(s), &mut rng);
        }
        assert_eq!(gateway.service.wishes.len(), 2);
        assert_eq!(gateway.orders(at(600), &waiting[1..]), []);
        assert_eq!(gateway.service.wishes.iter().map(|wish| wish.kind).collect::<Vec<_>>(), [Kind::Rotate]);
    }

    /// A new pairing made meanwhile would be the one that is ended.
    #[test]
    fn two_whose_pairing_is_being_ended_are_paired_afterwards() {
        let mut gateway = operating();
        let waiting = [order(1, Task::Unpair), order(2, Task::Pair)];
        assert_eq!(gateway.orders(at(0), &waiting), []);
        assert!(!pairs(&gateway));
        gateway.module_unpaired(1, Status::WrongState);
        assert_eq!(gateway.orders(at(1), &waiting), [([1; 16], Ok(String::new()))]);
        assert!(pairs(&gateway));
    }

    /// Anybody on the bus can tell an old statement again: it completes nothing, and has the pack asked at once.
    #[test]
    fn a_statement_in_clear_completes_no_order() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let key = SigningKey::generate(&mut rng);
        let mut gateway = operating();
        let [cid, partner] = ["pack-0001", "module-0001"].map(Cid::of);
        gateway.set_signers(vec![Signer { cid, partner, key: key.public() }]);
        let waiting = [order(1, Task::Unpair)];
        assert_eq!(gateway.orders(at(0), &waiting), []);
        gateway.serve(at(0), &mut rng);
        let payload = [&[7; 16][..], &[Reason::Retired as u8]].concat();
        let old = Statement::new(EventKind::PairingRevocation, cid, 1, 1, &payload).unwrap();
        let mut bytes = [0; EVENT_MAX];
        let n = old.encode(&mut bytes).unwrap();
        let signature = old.sign(&key, &mut rng).unwrap();
        gateway.ended(at(1), &[&[n as u8], &bytes[..n], &signature.0].concat());
        assert!(
            gateway.outputs.iter().any(|output| matches!(output, Output::Keep(Job::Withdrawal { .. }, None)))
        );
        assert_eq!((gateway.orders(at(1), &waiting), gateway.service.due()), (vec![], Some(at(1))));
        gateway.module_unpaired(1, Status::Accepted);
        assert_eq!(gateway.orders(at(1), &waiting), [], "it ends, and has not ended");
        gateway.module_unpaired(1, Status::WrongState);
        assert_eq!(gateway.orders(at(2), &waiting), [([1; 16], Ok(String::new()))]);
    }
}
