//! The app role: the commissioning side of CAN 1. It finds the pack and its modules, carries messages between the
//! authority and the devices, holds the channel to the pack, commands it and receives what it reports
//! (`spec/can.md`, C80 to C89).
//!
//! Sans-IO like the other roles; it runs on a host, in the gateway.

mod before_binding;
mod statements;
mod watch;

pub use statements::Confirming;

use crate::{
    announce::flag,
    assurance::Operation,
    bootstrap::{self, Bootstrap},
    can::{Bus, Frame},
    command::{Acknowledgement, CommandResult},
    controller::time_pdu,
    device::{Device, Refused},
    digest::DigestReceiver,
    gate,
    health::{Alert, Health, Report},
    identity::{Identity, Loaded, Record},
    introduction::Introduced,
    journal::LogPart,
    lifecycle::Condition,
    link::{FrameFormat, Inbound, Link, LinkCounters},
    message::{Message, ModuleScan, PackStatusAll, RelayState, VcuCommand, VcuKeepAlive},
    pdu::{self, Pdu, Status, binding as op, echo, validation as events},
    policy::Protection,
    relation::{Effect, Effects, Relation, RelationEvent},
    sealed_id::{Level, SealedId, SecurityId},
    session::{H0_SIGNED, limits::Limits},
    testimony::Told,
    time::{Duration, Instant},
};
use lct::{
    Digest, Error,
    clock::TOKEN_LEN,
    codec::Fields,
    command::SignedCommand,
    energy::STATEMENT_MAX,
    record::{BATCH_STATEMENT_MAX, BatchStatement},
    revocation::Reason,
    schedule::{Direction, Tier},
    sign::Signature,
    trust::REPORT_MAX,
    validation::{ANNOUNCE_LEN, Access, EscalationReason, Urgency, ValidationLevel},
};
use rand_core::CryptoRng;

/// Period of the keep-alive.
pub const KEEP_ALIVE: Duration = Duration::from_millis(250);
const COMMAND_TIMEOUT: Duration = Duration::from_millis(400);
const COMMAND_TTL_MS: u16 = 500;
const RAISE_RETRY: Duration = Duration::from_millis(1_000);

/// Whom a message is for or from: the pack, or a module behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The pack controller.
    Pack,
    /// The module with this node, 1 to 31.
    Module(u8),
}

impl Party {
    /// Wire node: 0 for the pack.
    pub fn node(self) -> u8 {
        match self {
            Party::Pack => 0,
            Party::Module(node) => node,
        }
    }
    /// The party with wire node `node`.
    pub fn from_node(node: u8) -> Party {
        match node {
            0 => Party::Pack,
            node => Party::Module(node),
        }
    }
}

/// What happened, as the app sees it.
#[derive(Debug, Clone)]
pub enum Event {
    /// An identity was told.
    Identified(Party, Introduced),
    /// An answer for the authority: a certificate or binding PDU, or this app's own statement (`None`).
    Answer(Option<Party>, Pdu),
    /// The relationship with the pack changed.
    Relation(RelationEvent),
    /// A pack status arrived.
    PackStatus(PackStatusAll),
    /// A module's scan arrived.
    ModuleScan(u8, ModuleScan),
    /// A signed batch statement arrived; acknowledge it once it is kept.
    Batch(Party, BatchStatement, Signature),
    /// A signed energy statement arrived; acknowledge it once it is kept.
    Energy(heapless::Vec<u8, STATEMENT_MAX>, Signature),
    /// A report of metrics by the pack about the module at this node, not verified.
    Metrics(u8, heapless::Vec<u8, REPORT_MAX>, Signature),
    /// The leaf of a record that did not arrive.
    Leaf(Party, u32, Digest),
    /// A party answered an echo at this tier: nonce, and generation of the group key that it holds (0 for none).
    Echo(Party, Tier, u32, u32),
    /// A part of the log of a device (`None`: this app's own); acknowledge an entry once it is durable.
    Log(Option<Party>, LogPart),
    /// A party announced itself (`lct::validation::Announce`). That grants nothing.
    Announced {
        /// Who, by where it came from.
        from: Party,
        /// As it was signed.
        bytes: [u8; ANNOUNCE_LEN],
        /// Whether the signature is that of this app's pack and the announce above all heard before; otherwise the
        /// owner judges it by the keys that it knows.
        verified: bool,
    },
    /// An event of a device (`None`: this app's own) on its way to the ledger; acknowledge it once it is kept.
    Told(Option<Party>, Told),
    /// Faults and counters of a device.
    Health(Party, Report),
    /// A device alerts.
    Alert(Party, Alert),
    /// What became of the wish that the pack ends its pairing with the module at this node (H159).
    ModuleUnpaired(u8, Status),
    /// The channel between the pack and the module at this node was rotated to this epoch (H159).
    ModuleRotated(u8, u32),
    /// A clear message of the pack that the pairing allows: its base and body, not proved before the digest of its
    /// window.
    Clear(u16, heapless::Vec<u8, 8>),
    /// A raised state was accepted or refused by the pack.
    Commanded(RelayState, CommandResult),
    /// The device channel to a pack that is not bound yet.
    Bootstrap(bootstrap::Event),
}

/// What the app wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Make durable before any frame that follows.
    Store(Record),
    /// Send on CAN 1.
    Transmit(Frame),
    /// Tell the owner.
    Event(Event),
}

struct CommandRun {
    seq: u32,
    due: Instant,
    /// What was signed.
    digest: Digest,
}

/// The app role.
pub struct App {
    device: Device<Event, 16, 64>,
    pack: u8,
    relation: Relation,
    bootstrap: Bootstrap,
    link: Link<4>,
    challenge: Option<u32>,
    next_seq: u32,
    wanted: RelayState,
    accepted: RelayState,
    run: Option<CommandRun>,
    /// Why the state in force is signed once more.
    confirming: Option<Confirming>,
    /// When a wanted state that the pack does not hold is commanded again.
    retry: Instant,
    keep_alive: Instant,
    /// Compares what the pack leaves clear, when the pairing lets anything.
    digest: Option<DigestReceiver>,
    /// Where its owner says that it is found.
    access: Option<Access>,
}

impl App {
    /// An app that starts, for pack number `pack` (0 or 1): `load` reads its store.
    pub fn start(
        own: Identity,
        pack: u8,
        mut load: impl FnMut(u16) -> Loaded,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let mut device = Device::start(own, &mut load, now, rng)?;
        let mut relation = Relation::new(0);
        device.restore(&mut relation, &mut load);
        let bootstrap = device.restore_bootstrap(&mut load, now)?;
        let mut app = App {
            device,
            pack,
            relation,
            bootstrap,
            link: Link::new(Bus::Can1, Direction::Ba),
            challenge: None,
            next_seq: 0,
            wanted: RelayState::Off,
            accepted: RelayState::Off,
            run: None,
            confirming: None,
            retry: now,
            keep_alive: now,
            digest: None,
            access: None,
        };
        if app.relation.is_paired() {
            let mut fx = Effects::new();
            app.relation.resume(now, app.device.boot, &mut fx, rng)?;
            app.apply(now, fx)?;
        }
        app.start_bootstrap(now, rng)?;
        Ok(app)
    }

    /// Identity of this app.
    pub fn identity(&self) -> &Identity {
        &self.device.own
    }
    /// The relationship with the pack.
    pub fn relation(&self) -> &Relation {
        &self.relation
    }
    /// The state that the pack accepted last.
    pub fn accepted(&self) -> RelayState {
        self.accepted
    }
    /// The owner wants the app as it was installed: every key goes (H139).
    pub fn factory_reset(&mut self, now: Instant) -> Result<(), Error> {
        self.device.factory_reset(now)?;
        self.bootstrap = Bootstrap::restore(&self.device.own, 0, |_| Ok(None), now)?;
        self.relation.erase();
        (self.run, self.challenge) = (None, None);
        Ok(())
    }

    /// In what condition this device is.
    pub fn condition(&self) -> Condition {
        self.device.condition()
    }
    /// What was refused since the start.
    pub fn refused(&self) -> Refused {
        self.device.refused()
    }
    /// Sets how long and how much a channel's keys are used; [`Error::Malformed`] for what no policy may choose.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), Error> {
        self.relation.set_limits(limits)
    }
    /// Says what frames the bus carries; classical until then (C120).
    pub fn set_format(&mut self, format: FrameFormat) {
        self.link.set_format(format);
        self.relation.set_format(format);
    }
    /// The latest Unix second of which it is sure (H101); `None` before the authority told any.
    pub fn judged_time(&self, now: Instant) -> Option<u32> {
        self.device.clock.judged(now)
    }
    /// Number of the revocation list that it holds, 0 for none.
    pub fn revocation_number(&self) -> u32 {
        self.device.revocations.number()
    }
    /// Counters of the bus end.
    pub fn link_counters(&self) -> LinkCounters {
        self.link.counters()
    }

    /// The next thing to do: records first, so that each is durable before the frames that depend on it.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        self.device.poll(Output::Store, || self.link.poll(now).map(Output::Transmit), Output::Event)
    }

    /// When [`App::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let alive = self.relation.is_up().then_some(self.keep_alive);
        let raise = self.relation.is_up() && self.wanted > self.accepted;
        let command = self.run.as_ref().map(|r| r.due).or(raise.then_some(self.retry));
        let log = self.device.journal.due().filter(|_| self.relation.is_up());
        let clock = Some(self.device.clock.due());
        let announce = self.device.announcer.due();
        let stated = self.device.testimony.due().filter(|_| self.relation.own_spk().is_some());
        [announce, alive, command, log, clock, self.relation.due(), self.bootstrap.due(), self.link.due()]
            .into_iter()
            .chain(self.watch_due())
            .chain([stated])
            .flatten()
            .min()
    }

    /// Takes a frame from CAN 1.
    pub fn frame(&mut self, now: Instant, frame: &Frame, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let pack = self.pack;
        if !self.screen(now, frame) {
            return Ok(());
        }
        let mut buffer = [0; crate::link::MESSAGE_MAX];
        let result = match self.link.receive(now, frame, |d| d == pack, &mut buffer) {
            None => Ok(()),
            Some(Inbound::Clear(id, n)) => self.clear(now, id, frame, &buffer[..n]),
            Some(Inbound::Security(_, n)) => self.security(now, &buffer[..n], rng),
            Some(Inbound::Sealed(id, n)) => self.sealed(now, id, &mut buffer[..n], rng),
        };
        self.device.tolerate(result);
        Ok(())
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.device.tick(now);
        self.enforce_list(now)?;
        let mut fx = Effects::new();
        self.relation.tick(&self.device.own, now, self.device.boot, &mut fx, rng)?;
        self.apply(now, fx)?;
        self.tick_bootstrap(now, rng)?;
        if self.relation.is_up() && self.keep_alive <= now {
            self.keep_alive = now + KEEP_ALIVE;
            let (body, len) = VcuKeepAlive { node: 0 }.encode();
            self.seal(now, VcuKeepAlive::BASE, Level::Exch, 0, &body[..len])?;
        }
        let raise = self.relation.is_up() && self.wanted > self.accepted;
        if self.run.as_ref().map_or(raise && self.retry <= now, |r| r.due <= now) {
            self.run = None;
            self.retry = now + RAISE_RETRY;
            self.command(now, rng)?;
        }
        self.tell_log(now, rng)?;
        self.tell_statement(now, rng)?;
        if let Some(announce) = self.device.announce(now, &self.relation, rng)? {
            self.send(now, Party::Pack, &announce)?;
        }
        self.watch(now)
    }

    // --- what the owner asks --------------------------------------------------------------------------

    /// Sends a PDU to the pack or, through it, to a module: in clear, but sealed what a pack takes from its app only
    /// (H210), for which nothing leaves while no channel is up.
    pub fn send(&mut self, now: Instant, to: Party, pdu: &[u8]) -> Result<(), Error> {
        let id = SecurityId::new(Bus::Can1, Direction::Ab, self.pack);
        match to {
            Party::Pack if pdu.starts_with(&[pdu::BINDING, op::ANSWER_FOR]) => {
                return if self.relation.is_up() { self.seal_pdu(now, Tier::Exch, pdu) } else { Ok(()) };
            }
            Party::Pack => {
                self.link.send_security(now, id, pdu);
            }
            Party::Module(node) => {
                let mut relayed = heapless::Vec::<u8, { crate::link::MESSAGE_MAX }>::new();
                relayed.extend_from_slice(&[pdu::RELAY, node]).map_err(|_| Error::BufferTooSmall)?;
                relayed.extend_from_slice(pdu).map_err(|_| Error::BufferTooSmall)?;
                self.link.send_security(now, id, &relayed);
            }
        }
        Ok(())
    }

    /// Gives this app a message of the authority about itself: a binding or certificate PDU.
    pub fn authority(&mut self, now: Instant, message: &[u8], rng: &mut impl CryptoRng) -> Result<(), Error> {
        if let [pdu::REVOCATION, list @ ..] = message {
            let (answer, _) = self.device.take_list(now, list)?;
            self.enforce_list(now)?;
            return self.device.offer(Event::Answer(None, answer));
        }
        if let [pdu::POLICY, m @ ..] = message {
            let answer = self.device.policy(now, 0, m, &mut self.relation, [], rng)?;
            return self.device.offer(Event::Answer(None, answer));
        }
        if let [pdu::DELEGATION, operation, m @ ..] = message {
            let answer = self.delegation(now, *operation, m)?;
            return self.device.offer(Event::Answer(None, answer));
        }
        if let [pdu::BINDING, m @ ..] = message
            && let [pdu::binding::CERTIFICATES] | [pdu::binding::REGISTER, ..] = m
        {
            let answer = crate::introduction::answer_identity(&self.device.own, m, 0, rng)?;
            return self.device.offer(Event::Answer(None, answer));
        }
        let issuer = match self.device.issuer(now, message) {
            Ok(issuer) => issuer,
            Err(refusal) => return self.device.offer(Event::Answer(None, pdu::build(&[&refusal])?)),
        };
        self.relation.set_powered(self.device.clock.powered(now));
        let mut fx = Effects::new();
        let relation = &mut self.relation;
        relation.set_offer(self.bootstrap.offer());
        let result = self.device.ceremony(now, message, &issuer, relation, &mut fx, rng);
        self.apply(now, fx)?;
        result
    }

    /// A delegation, what its holder revokes, or a succession.
    fn delegation(&mut self, now: Instant, operation: u8, m: &[u8]) -> Result<pdu::Pdu, Error> {
        match operation {
            pdu::delegation::SHOW => self.device.take_delegation(now, m),
            pdu::delegation::SUCCEED => self.device.take_succession(now, m),
            pdu::delegation::REVOKE => {
                let own = [(0, &mut self.relation)];
                self.device.take_delegate_revocation(now, m, own).map(|(answer, _)| answer)
            }
            _ => Err(Error::Malformed),
        }
    }

    /// What the list held says about the pack ends at once.
    fn enforce_list(&mut self, now: Instant) -> Result<(), Error> {
        self.device.enforce(now, 0, &mut self.relation)?;
        if self.device.is_revoked(self.bootstrap.peer()) { self.end_bootstrap(now) } else { Ok(()) }
    }

    /// Takes a time token of the authority and passes it on to the pack.
    pub fn time_token(&mut self, now: Instant, token: &[u8; TOKEN_LEN]) -> Result<(), Error> {
        self.device.take_token(now, token)?;
        let body = pdu::build(&[&[pdu::TIME], token])?;
        self.seal_pdu(now, Tier::Pair, &body)
    }

    /// The keeper of this app's own log has the part with this receipt ([`LogPart::receipt`]).
    pub fn log_kept(&mut self, receipt: u64) {
        self.device.journal.acknowledge(receipt);
    }

    fn tell_log(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Some(key) = self.relation.own_spk().map(|spk| spk.signing_key().clone()) else {
            return Ok(());
        };
        if !self.relation.is_up() {
            return Ok(());
        }
        match self.device.journal_pdu(now, &key, rng)? {
            Some(part) => self.device.offer(Event::Log(None, LogPart::parse(&part)?)),
            None => Ok(()),
        }
    }

    /// Tells the pack the time.
    pub fn set_time(&mut self, now: Instant, unix_ms: u64) -> Result<(), Error> {
        let body = time_pdu(unix_ms)?;
        self.seal_pdu(now, Tier::Pair, &body)
    }

    /// Wants the pack in `state`: signed when it raises, sealed when it lowers.
    pub fn set_state(
        &mut self,
        now: Instant,
        state: RelayState,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.wanted = state;
        self.run = None;
        self.command(now, rng)
    }

    /// Asks a party to announce itself; it does so at most once in ten seconds.
    pub fn ask_announce(&mut self, now: Instant, of: Party) -> Result<(), Error> {
        self.send(now, of, &[pdu::VALIDATION, events::ASK])
    }

    /// Ends the pairing with the pack (H158). The signed statement for the authority comes as [`Event::Answer`].
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a pairing.
    pub fn unpair(&mut self, now: Instant, reason: Reason, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let mut fx = Effects::new();
        self.device.unpair(&mut self.relation, reason, &mut fx, rng)?;
        self.apply(now, fx)
    }

    /// Renews the epoch of the channel to the pack, if it is up and at rest (H95).
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a channel.
    pub fn rotate(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let mut fx = Effects::new();
        self.relation.rotate(now, &mut fx, rng)?;
        self.apply(now, fx)
    }

    /// Has the pack end its pairing with the module at `node` (H159); [`Event::ModuleUnpaired`] answers.
    pub fn unpair_module(&mut self, now: Instant, node: u8, reason: Reason) -> Result<(), Error> {
        self.seal_pdu(now, Tier::Pair, &[pdu::VALIDATION, events::END, node, reason as u8])
    }

    /// Has the pack renew the epoch of its channel to the module at `node` (H159); [`Event::ModuleRotated`] answers.
    pub fn rotate_module(&mut self, now: Instant, node: u8) -> Result<(), Error> {
        self.seal_pdu(now, Tier::Pair, &[pdu::ROTATE, node])
    }

    /// From now on operations between this app and the pack are to need `target` (H152).
    ///
    /// # Errors
    /// [`Error::WrongParty`] without a pairing; [`Error::Exhausted`] more often than three times a minute or ten an
    /// hour.
    pub fn escalate(
        &mut self,
        now: Instant,
        target: ValidationLevel,
        reason: EscalationReason,
        urgency: Urgency,
    ) -> Result<(), Error> {
        let mut fx = Effects::new();
        self.relation.escalate(now, target, reason, urgency, &mut fx)?;
        self.apply(now, fx)
    }

    /// Tells the sender that its statement is kept: `number` is the first sequence number of a batch, or
    /// `cycle << 32 | event`.
    pub fn received(&mut self, now: Instant, from: Party, kind: u8, number: u64) -> Result<(), Error> {
        let body = pdu::build(&[&[pdu::RECEIVED, from.node(), kind], &number.to_be_bytes()])?;
        self.seal_pdu(now, Tier::Exch, &body)
    }

    /// Asks for the leaf of a record that did not arrive.
    pub fn ask_leaf(&mut self, now: Instant, from: Party, seq: u32) -> Result<(), Error> {
        let body = pdu::build(&[&[pdu::LEAF, from.node()], &seq.to_be_bytes()])?;
        self.seal_pdu(now, Tier::Exch, &body)
    }

    /// Asks a party for an echo of `nonce`, sealed at `tier` on every channel between (C130).
    pub fn echo(&mut self, now: Instant, to: Party, tier: Tier, nonce: u32) -> Result<(), Error> {
        let body = pdu::build(&[&[pdu::ECHO, echo::ASK, to.node()], &nonce.to_be_bytes()])?;
        self.seal_pdu(now, tier, &body)
    }

    fn command(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let (body, len) = VcuCommand { state: self.wanted, ..VcuCommand::default() }.encode();
        if self.wanted <= self.accepted && self.confirming.is_none() {
            self.accepted = self.wanted;
            return self.seal(now, VcuCommand::BASE, Level::Pair, 0, &body[..len]);
        }
        if !self.device.may(now, 0, VcuCommand::BASE, Operation::Switch, &mut self.relation) {
            self.confirming = None;
            return Ok(());
        }
        let (Some(challenge), Some(session), Some(spk)) =
            (self.challenge, self.relation.session(), self.relation.own_spk())
        else {
            // Asked again once the channel is up.
            return Ok(());
        };
        let command = SignedCommand {
            base: VcuCommand::BASE,
            seq: self.next_seq,
            challenge,
            ttl_ms: COMMAND_TTL_MS,
            command: &body[..len],
        };
        let digest = command.digest(session.th4(), session.epoch());
        let signed = command.sign(session.th4(), session.epoch(), spk.signing_key(), rng)?;
        self.run = Some(CommandRun { seq: self.next_seq, due: now + COMMAND_TIMEOUT, digest });
        self.next_seq = self.next_seq.checked_add(1).ok_or(Error::Exhausted)?;
        self.seal(now, VcuCommand::BASE, Level::Pair, H0_SIGNED, &signed)
    }

    // --- what the pack sends --------------------------------------------------------------------------

    fn security(&mut self, now: Instant, message: &[u8], rng: &mut impl CryptoRng) -> Result<(), Error> {
        let (from, inner) = match *message {
            [pdu::RELAY, node, ref inner @ ..] if node != 0 => (Party::Module(node), inner),
            _ => (Party::Pack, message),
        };
        if inner.first().is_none_or(|kind| gate::pdu(*kind, Direction::Ba, Protection::Clear).is_err()) {
            return Err(Error::WrongParty);
        }
        match (inner, from) {
            (inner, Party::Pack) if self.bootstrap.concerns(inner, self.relation.is_paired()) => {
                let result = self.bootstrap_message(now, inner, rng);
                self.device.tolerate(result);
                Ok(())
            }
            // Inside a device channel a binding is made under its protection or not at all (H78).
            (inner, Party::Pack) if self.shields(inner) => {
                self.device.refuse_security();
                Ok(())
            }
            ([pdu::HANDSHAKE, m @ ..], Party::Pack) => {
                let mut fx = Effects::new();
                if self.relation.handshake(&self.device.own, m, now, self.device.boot, &mut fx, rng).is_err()
                {
                    self.device.refuse_security();
                }
                self.apply(now, fx)
            }
            ([pdu::VALIDATION, events::ASK], Party::Pack) => {
                self.device.announcer.want(flag::ASKED);
                Ok(())
            }
            ([pdu::VALIDATION, events::ANNOUNCE, m @ ..], from) => {
                let bytes = <[u8; ANNOUNCE_LEN]>::try_from(m).map_err(|_| Error::Malformed)?;
                let heard = match from {
                    Party::Pack => self.device.heard(now, m, &mut self.relation)?,
                    Party::Module(_) => None,
                };
                self.device.offer(Event::Announced { from, bytes, verified: heard.is_some() })
            }
            ([pdu::VALIDATION, events::EVENT, ..], _) => match Pdu::from_slice(inner) {
                Ok(pdu) => self.device.offer(Event::Answer(Some(from), pdu)),
                Err(_) => Err(Error::Malformed),
            },
            ([pdu::ESCALATION, ..], Party::Pack) => {
                let mut fx = Effects::new();
                self.relation.hint(now, self.device.boot, &mut fx, rng)?;
                self.apply(now, fx)
            }
            ([pdu::IDENTIFY, 1, body @ ..], _) => match Introduced::parse(body) {
                Ok(who) => self.device.offer(Event::Identified(from, who)),
                Err(_) => Ok(()),
            },
            (
                [
                    pdu::CERTIFICATE
                    | pdu::BINDING
                    | pdu::KEY_PACKAGE
                    | pdu::REVOCATION
                    | pdu::POLICY
                    | pdu::DELEGATION,
                    ..,
                ],
                _,
            ) => match Pdu::from_slice(inner) {
                Ok(pdu) => self.device.offer(Event::Answer(Some(from), pdu)),
                Err(_) => {
                    self.device.refuse_security();
                    Ok(())
                }
            },
            _ => {
                self.device.refuse_security();
                Ok(())
            }
        }
    }

    fn apply(&mut self, now: Instant, mut fx: Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::ToPeer(pdu) if self.shields(&pdu) => {
                    // While the channel is being resumed the run waits: it is repeated.
                    if self.bootstrap.is_up() {
                        self.seal_device(now, bootstrap::Keys::Standing, &pdu)?
                    }
                }
                Effect::ToPeer(pdu) => self.send(now, Party::Pack, &pdu)?,
                Effect::ToAuthority(pdu) => self.device.offer(Event::Answer(None, pdu))?,
                Effect::SealToPeer(tier, pdu) => self.seal_pdu(now, tier, &pdu)?,
                Effect::Store(record) => self.device.store(record)?,
                Effect::Event(event) => {
                    if let RelationEvent::ChannelUp { challenge, .. } = event {
                        self.challenge = challenge;
                        self.device.journal.channel_up(now);
                        (self.next_seq, self.run, self.confirming) = (0, None, None);
                        self.accepted = RelayState::Off;
                        self.keep_alive = now;
                        self.channel_up(now);
                    }
                    if matches!(event, RelationEvent::Paired { .. }) {
                        self.end_bootstrap(now)?;
                    }
                    self.device.log_relation(now, 0, &event, &mut self.relation);
                    self.device.offer(Event::Relation(event))?;
                }
            }
        }
        Ok(())
    }

    fn sealed(
        &mut self,
        now: Instant,
        id: SealedId,
        bytes: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if id.level() == Level::Dev {
            return self.device_sealed(now, id, bytes, rng);
        }
        let mut body = heapless::Vec::<u8, { crate::link::MESSAGE_MAX }>::new();
        let (base, tier, signed) = match self.relation.open(now, id, bytes) {
            Ok(opened) => {
                body.extend_from_slice(opened.body).map_err(|_| Error::BufferTooSmall)?;
                (opened.base, opened.tier, opened.signed)
            }
            Err(why) => {
                self.device.refuse_sealed(now, why);
                return Ok(());
            }
        };
        let (security, arrived) =
            (SecurityId::new(Bus::Can1, Direction::Ba, self.pack), gate::protection(tier, signed));
        if signed {
            // Packs command no app.
            self.device.refuse_policy();
            return Ok(());
        }
        if base == security.base() {
            let kind = *body.first().ok_or(Error::Malformed)?;
            return match gate::pdu(kind, Direction::Ba, arrived) {
                Ok(()) => self.sealed_pdu(now, tier, &body, rng),
                Err(denied) => {
                    self.device.deny(now, base, denied);
                    Ok(())
                }
            };
        }
        if !self.admits(now, base, arrived) {
            return Ok(());
        }
        match base {
            PackStatusAll::BASE => match PackStatusAll::decode(&body) {
                Ok(status) => {
                    // The pack may have lowered itself: what it no longer holds has to be raised again.
                    self.accepted = self.accepted.min(status.state.state);
                    self.device.offer(Event::PackStatus(status))
                }
                Err(_) => Ok(()),
            },
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    fn sealed_pdu(
        &mut self,
        now: Instant,
        tier: Tier,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        match *body {
            [pdu::CONFIRM, ref m @ ..] => {
                let mut fx = Effects::new();
                self.relation.confirmed(tier, m, &mut fx)?;
                self.apply(now, fx)
            }
            [pdu::ROTATE, node, ref epoch @ ..] if epoch.len() == 4 => {
                self.device.offer(Event::ModuleRotated(node, Fields::new(epoch).u32()?))
            }
            [pdu::VALIDATION, events::END_STATUS, node, status] => {
                self.device.offer(Event::ModuleUnpaired(node, Status::from_code(status)))
            }
            [pdu::ROTATE, ref m @ ..] => {
                let mut fx = Effects::new();
                self.relation.rotation(now, tier, m, &mut fx, rng)?;
                self.apply(now, fx)
            }
            [pdu::VALIDATION, events::TOLD, ref m @ ..] => {
                let told = Told::parse(m)?;
                self.device.offer(Event::Told(Some(Party::from_node(told.node)), told))
            }
            [pdu::VALIDATION, ref m @ ..] => {
                let mut fx = Effects::new();
                self.relation.ended(m, &mut fx)?;
                self.apply(now, fx)
            }
            [pdu::ESCALATION, ref m @ ..] => {
                let mut fx = Effects::new();
                self.relation.escalation(now, m, &mut fx)?;
                self.apply(now, fx)
            }
            [pdu::FORWARD, node, hi, lo, ref m @ ..] if u16::from_be_bytes([hi, lo]) == ModuleScan::BASE => {
                match ModuleScan::decode(m) {
                    Ok(scan) => self.device.offer(Event::ModuleScan(node, scan)),
                    Err(_) => Ok(()),
                }
            }
            [pdu::BATCH, node, ref m @ ..] => {
                let (statement, signature) = signed_statement::<BATCH_STATEMENT_MAX>(m)?;
                let statement = BatchStatement::decode(&statement)?;
                self.device.offer(Event::Batch(Party::from_node(node), statement, signature))
            }
            [pdu::AUDIT, node, ref m @ ..] => {
                self.device.offer(Event::Log(Some(Party::from_node(node)), LogPart::parse(m)?))
            }
            [pdu::ENERGY, ref m @ ..] => {
                let (statement, signature) = signed_statement::<STATEMENT_MAX>(m)?;
                self.device.offer(Event::Energy(statement, signature))
            }
            [pdu::METRICS, node, ref m @ ..] => {
                let (statement, signature) = signed_statement::<REPORT_MAX>(m)?;
                self.device.offer(Event::Metrics(node, statement, signature))
            }
            [pdu::LEAF, node, ref m @ ..] if m.len() == 36 => {
                let mut f = Fields::new(m);
                let (seq, leaf) = (f.u32()?, f.array()?);
                self.device.offer(Event::Leaf(Party::from_node(node), seq, leaf))
            }
            [pdu::ECHO, echo::ANSWER, node, ref m @ ..] if m.len() == 8 => {
                let mut f = Fields::new(m);
                let (nonce, generation) = (f.u32()?, f.u32()?);
                self.device.offer(Event::Echo(Party::from_node(node), tier, nonce, generation))
            }
            [pdu::HEALTH, ref m @ ..] => {
                let (node, report) = Report::parse(m)?;
                self.device.offer(Event::Health(Party::from_node(node), report))
            }
            [pdu::ALERT, ref m @ ..] => {
                let (node, alert) = Alert::parse(m)?;
                self.device.offer(Event::Alert(Party::from_node(node), alert))
            }
            [pdu::BINDING, op::ANSWERS_FOR, ..] => {
                let answer = Pdu::from_slice(body).map_err(|_| Error::Malformed)?;
                self.device.offer(Event::Answer(Some(Party::Pack), answer))
            }
            [pdu::DIGEST, ref m @ ..] => self.check_digest(now, m),
            [pdu::COMMAND_ACK, ref m @ ..] => {
                let ack = Acknowledgement::parse(m)?;
                self.challenge = Some(ack.challenge);
                let Some(run) = self.run.take_if(|r| r.seq == ack.seq) else { return Ok(()) };
                match ack.result {
                    CommandResult::Stale => return self.command(now, rng),
                    CommandResult::Done => {
                        self.accepted = self.wanted;
                        self.confirmed(now, &run.digest)?;
                    }
                    CommandResult::Refused => self.confirming = None,
                }
                self.device.offer(Event::Commanded(self.wanted, ack.result))
            }
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    fn seal_pdu(&mut self, now: Instant, tier: Tier, pdu: &[u8]) -> Result<(), Error> {
        let id = SecurityId::new(Bus::Can1, Direction::Ab, self.pack);
        self.seal_as(now, id.sealed(Level::from_bits(u32::from(tier.level()))), id.base(), 0, pdu)
    }

    fn seal(&mut self, now: Instant, base: u16, level: Level, h0: u8, body: &[u8]) -> Result<(), Error> {
        let id = SealedId::new(base, level, Direction::Ab, self.pack).map_err(|_| Error::Malformed)?;
        self.seal_as(now, id, base, h0, body)
    }

    fn seal_as(&mut self, now: Instant, id: SealedId, base: u16, h0: u8, body: &[u8]) -> Result<(), Error> {
        let (device, relation) = (&mut self.device, &mut self.relation);
        self.link.seal(now, id, body.len(), |out| device.seal(relation, id, base, h0, &[body], out))
    }
}

/// Reads `n u8 | statement n | signature 64`.
fn signed_statement<const N: usize>(body: &[u8]) -> Result<(heapless::Vec<u8, N>, Signature), Error> {
    let mut f = Fields::new(body);
    let n = usize::from(f.u8()?);
    let statement = heapless::Vec::from_slice(f.slice(n)?).map_err(|_| Error::Malformed)?;
    let signature = Signature(f.array()?);
    f.end()?;
    Ok((statement, signature))
}
