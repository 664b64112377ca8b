//! The module role: announces itself, takes its node, is bound and paired, switches its relay on command, and
//! reports its cells in signed batches (`spec/can.md`, C50 to C59).
//!
//! Sans-IO: frames, time and commands in; [`Output`]s out through [`Module::poll`]. Records come out before the
//! frames that they guard.

mod watch;

mod command;
mod condition;
mod reports;
mod statements;

use crate::{
    announce::flag,
    assurance::{self, Operation},
    can::{Bus, Frame},
    device::{Device, Refused},
    digest::DigestSender,
    fault::FaultCode,
    flow::OwnFlow,
    gate,
    health::Health,
    identity::{Identity, Loaded, Record, key},
    lifecycle::Condition,
    link::{FrameFormat, Inbound, Link, LinkCounters},
    message::{
        Message, ModuleAllDeregister, ModuleAllIsolate, ModuleAnnounceRequest, ModuleAnnouncement,
        ModuleCellCommStatus1, ModuleDeregister, ModuleHardware, ModuleHardwareRequest, ModuleMaxState,
        ModuleRegistration, ModuleScan, ModuleStateChange, ModuleStatus1, ModuleStatus2, ModuleStatus3,
        ModuleStatusAll, ModuleStatusRequest, Permission, RelayState, ScanCell, Stamp,
    },
    pdu::{self, Pdu, binding as op, echo, validation as events},
    policy::Protection,
    protection::TripLimits,
    relation::{Effect, Effects, Relation, RelationEvent},
    sealed_id::{ClearId, Level, SealedId, SecurityId},
    session::{GroupReceiver, Opened, Refusal, compact::C2_LEN, limits::Limits},
    telemetry::{Batcher, module_record},
    testimony::ENERGY,
    time::{Duration, Instant},
};
use lct::{
    Error,
    command::SignedCommand,
    revocation::Reason,
    schedule::{Direction, GroupKey, Tier},
    secret::Secret,
    validation::{EscalationReason, Urgency, ValidationLevel},
};
use rand_core::CryptoRng;

/// Node of a module that has none.
pub const UNREGISTERED: u8 = 0xFF;
/// Silence of the controller after which a module opens its relay and starts over.
pub const CONTROLLER_SILENCE: Duration = Duration::from_millis(11_100);
/// How often an unregistered module announces itself without being asked.
const ANNOUNCE_PERIOD: Duration = Duration::from_millis(5_000);
/// Hardware maker and part code of the announcement.
const MANUFACTURER: u8 = 2;
const PART: u8 = 3;

/// What a module measured.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// Cells in order: mV and whole degrees Celsius.
    pub cells: heapless::Vec<ScanCell, { crate::message::MAX_CELLS }>,
    /// String current, mA, positive charges.
    pub current_ma: i32,
    /// Lowest, highest and mean cell temperature in thousandths of a degree.
    pub temperature_mc: [i32; 3],
}

/// What the owner of a module tells it.
#[derive(Debug, Clone)]
pub enum Command {
    /// A new measurement: becomes a record and a sealed scan.
    Measure(Measurement),
    /// The enclosure is open: every key is erased, the relay opens, and only a factory reset leads out (H138).
    Tamper,
    /// The owner, at the device, wants it as it left the factory (H139).
    FactoryReset,
    /// The owner ends the pairing with the pack (H158).
    Unpair(Reason),
    /// From now on operations between this module and its pack are to need this level (H152).
    Escalate {
        /// The level.
        target: ValidationLevel,
        /// Why.
        reason: EscalationReason,
        /// How soon, and at levels 6 and 7 for how long.
        urgency: Urgency,
    },
}

/// What a module wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Make durable before any frame that follows.
    Store(Record),
    /// Send on CAN 2.
    Transmit(Frame),
    /// Tell the owner.
    Event(Event),
}

/// What happened to a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A node was assigned.
    Registered {
        /// The node, 1 to 32.
        node: u8,
    },
    /// The relationship with the pack changed.
    Relation(RelationEvent),
    /// The relay switched.
    Relay(RelayState),
}

/// Electrical rating of a module, reported in 0x501.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// Highest charge current, mA, positive.
    pub charge_ma: i32,
    /// Highest discharge current, mA, negative.
    pub discharge_ma: i32,
    /// End of charge, mV.
    pub end_of_charge_mv: u32,
}

/// Modules measure at the same instants; each waits its node times this before it reports, so that their messages
/// follow each other on the bus instead of interleaving beyond the reassembly time of chunks.
pub const REPORT_SPREAD: Duration = Duration::from_millis(3);

/// The same for what is signed, which is longer: some 40 frames on each of both buses.
const STATEMENT_SPREAD: Duration = REPORT_SPREAD.times(5);

const NODE_BROADCAST: u8 = 0;
/// Of so many answers to 0x512 the first is whole where the others may be compact.
const COMPACT_RUN: u8 = 8;
type ModuleLink = Link<6, 2>;

/// The module role.
pub struct Module {
    device: Device<Event, 16, 16>,
    rating: Rating,
    node: u8,
    relation: Relation,
    link: ModuleLink,
    group: Option<GroupReceiver>,
    relay: RelayState,
    ceiling: RelayState,
    target: RelayState,
    last_contact: Instant,
    announce_due: Option<Instant>,
    batcher: Batcher,
    flow: OwnFlow,
    last: Option<Measurement>,
    /// When the last measurement is reported, and the Unix time at which it was taken.
    report_due: Option<(Instant, u64)>,
    /// The relay opened: what is unsigned gets signed.
    stopped: bool,
    /// Answers to 0x512 in this epoch of the channel.
    answers: u8,
    limits: TripLimits,
    /// Temperature above which it asks for more, thousandths of a degree Celsius.
    alarm_mc: Option<i32>,
    /// A node that was offered to this paired module: it takes effect when a run under it stands.
    candidate: Option<u8>,
    /// Whether the message at hand brought the channel up.
    candidate_stands: bool,
    /// Tells what stayed clear, when the pairing lets anything.
    digest: Option<DigestSender>,
}

impl Module {
    /// A module that starts: `load` reads its flash.
    pub fn start(
        own: Identity,
        rating: Rating,
        mut load: impl FnMut(u16) -> Loaded,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let mut device = Device::start(own, &mut load, now, rng)?;
        let batcher = Batcher::new(device.own.cid(), device.counter(load(key::SEQUENCE)).as_deref())?;
        let mut relation = Relation::new(0);
        device.restore(&mut relation, &mut load);
        let mut module = Module {
            device,
            rating,
            node: UNREGISTERED,
            relation,
            link: Link::new(Bus::Can2, Direction::Ab),
            group: None,
            relay: RelayState::Off,
            ceiling: RelayState::Off,
            target: RelayState::Off,
            last_contact: now,
            announce_due: Some(now),
            batcher,
            flow: OwnFlow::default(),
            last: None,
            report_due: None,
            stopped: false,
            answers: 0,
            limits: TripLimits::default(),
            alarm_mc: None,
            candidate: None,
            candidate_stands: false,
            digest: None,
        };
        module.device.roll_challenge(now, &mut module.relation, rng);
        Ok(module)
    }

    /// Node, or [`UNREGISTERED`].
    pub fn node(&self) -> u8 {
        self.node
    }
    /// Identity of this module.
    pub fn identity(&self) -> &Identity {
        &self.device.own
    }
    /// Relay state in force.
    pub fn relay(&self) -> RelayState {
        self.relay
    }
    /// The relationship with the pack.
    pub fn relation(&self) -> &Relation {
        &self.relation
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
    /// Events that found no room since the start.
    pub fn statements_lost(&self) -> u32 {
        self.device.testimony.lost()
    }
    /// True when every record is in a statement that was acknowledged, and so is every event that somebody can take.
    pub fn is_settled(&self) -> bool {
        self.batcher.is_empty() && (self.device.testimony.is_empty() || !self.relation.is_paired())
    }

    /// The next thing to do: records first, so that each is durable before the frames that depend on it.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        self.device.poll(Output::Store, || self.link.poll(now).map(Output::Transmit), Output::Event)
    }

    /// When [`Module::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let silence = (self.node != UNREGISTERED).then(|| self.last_contact + CONTROLLER_SILENCE);
        let statements = self.batcher.due().filter(|_| self.relation.is_up() && self.link.is_idle());
        let report = self.report_due.map(|(due, _)| due);
        let announce = self.device.announcer.due().filter(|_| self.node != UNREGISTERED);
        let batch = self.batcher.close_due();
        let stated = self.device.testimony.due().filter(|_| self.relation.is_up() && self.link.is_idle());
        let log = self.device.journal.due().filter(|_| self.relation.is_up() && self.link.is_idle());
        [
            self.announce_due,
            announce,
            stated,
            log,
            Some(self.device.clock.due()),
            silence,
            report,
            batch,
            self.relation.due(),
            self.link.due(),
            statements,
        ]
        .into_iter()
        .chain(self.watch_due())
        .flatten()
        .min()
    }

    /// Takes a frame from CAN 2.
    pub fn frame(&mut self, now: Instant, frame: &Frame, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let (node, candidate) = (self.node, self.candidate);
        let mut buffer = [0; crate::link::MESSAGE_MAX];
        let mine = |device: u8| device == node && node != UNREGISTERED;
        let accepts = |device: u8| device == NODE_BROADCAST || mine(device) || Some(device) == candidate;
        if !self.screen(now, frame) {
            return Ok(());
        }
        let result = match self.link.receive(now, frame, accepts, &mut buffer) {
            None => Ok(()),
            Some(Inbound::Clear(id, n)) => self.clear(now, id, &buffer[..n]),
            Some(Inbound::Security(id, n)) => self.security(now, id.device(), &buffer[..n], rng),
            Some(Inbound::Sealed(id, n)) => self.sealed(now, id, &mut buffer[..n], rng),
        };
        self.device.tolerate(result);
        self.settle(now, rng)
    }

    /// When the relay opened, what is unsigned gets signed. A measurement that waits for its turn on the bus keeps it: all
    /// modules may have opened at the same instant.
    fn settle(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if self.stopped && self.report_due.is_none() {
            self.stopped = false;
            self.close_batch(now, rng)?;
            self.send_statements(now, rng)?;
            self.device.journal.stopped();
        }
        self.device.state_changes(now, self.relay, self.relation.is_paired());
        Ok(())
    }

    /// Takes a command of the owner.
    pub fn command(&mut self, now: Instant, command: Command, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let measurement = match command {
            Command::Measure(measurement) => measurement,
            Command::Tamper => {
                self.device.tamper(now)?;
                return self.forget_keys(now);
            }
            Command::FactoryReset => {
                self.device.factory_reset(now)?;
                return self.forget_keys(now);
            }
            Command::Unpair(reason) => {
                let mut fx = Effects::new();
                self.device.unpair(&mut self.relation, reason, &mut fx, rng)?;
                return self.apply(now, fx);
            }
            Command::Escalate { target, reason, urgency } => {
                let mut fx = Effects::new();
                self.relation.escalate(now, target, reason, urgency, &mut fx)?;
                return self.apply(now, fx);
            }
        };
        // A measurement that was not reported yet must not be lost to the next one.
        self.report(now, rng)?;
        self.last = Some(measurement);
        self.count_energy(now);
        if let Some(time_ms) = self.device.unix_ms(now).filter(|_| self.relation.is_up()) {
            self.report_due = Some((now + REPORT_SPREAD.times(u64::from(self.node)), time_ms));
        }
        self.protect(now)?;
        self.settle(now, rng)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.device.tick(now);
        self.enforce_list(now)?;
        if self.node != UNREGISTERED && now >= self.last_contact + CONTROLLER_SILENCE {
            let silence = now.saturating_since(self.last_contact).as_millis();
            self.device.health.raise(now, FaultCode::ControllerSilent, silence as u32);
            self.unregister(now)?;
        }
        if self.announce_due.is_some_and(|due| due <= now) {
            self.announce(now)?;
        }
        if self.report_due.is_some_and(|(due, _)| due <= now) {
            self.report(now, rng)?;
        }
        if self.batcher.close_due().is_some_and(|due| due <= now) {
            self.close_batch(now, rng)?;
        }
        let mut fx = Effects::new();
        self.relation.tick(&self.device.own, now, self.device.boot, &mut fx, rng)?;
        self.apply(now, fx)?;
        self.send_statements(now, rng)?;
        self.send_log(now, rng)?;
        if self.node != UNREGISTERED
            && let Some(announce) = self.device.announce(now, &self.relation, rng)?
        {
            self.send_pack(now, &announce)?;
        }
        self.watch(now)?;
        self.settle(now, rng)?;
        self.send_statement(now, rng)
    }

    // --- clear messages -------------------------------------------------------------------------------

    /// True when the controller knows this module's node after a start of its own as well (C62).
    fn has_place(&self) -> bool {
        self.node != UNREGISTERED && self.relation.peer().is_some()
    }

    fn announce(&mut self, now: Instant) -> Result<(), Error> {
        self.announce_due = (self.node == UNREGISTERED).then(|| now + ANNOUNCE_PERIOD);
        if self.has_place() {
            return Ok(());
        }
        let message = ModuleAnnouncement {
            fw_build: self.device.own.firmware as u16,
            manufacturer: MANUFACTURER,
            part: PART,
            unique_id: self.device.own.unique_id,
        };
        self.send_clear(&message, UNREGISTERED)
    }

    fn send_clear<M: Message>(&mut self, message: &M, node: u8) -> Result<(), Error> {
        let frame = message.frame(node).map_err(|_| Error::Malformed)?;
        self.link.send_frame(frame);
        Ok(())
    }

    fn clear(&mut self, now: Instant, id: ClearId, body: &[u8]) -> Result<(), Error> {
        let mine = id.node == self.node && self.node != UNREGISTERED;
        if !(mine || id.node == NODE_BROADCAST || id.node == UNREGISTERED) {
            return Ok(());
        }
        // What modules send is none of this module's business.
        if gate::is_sent_by(Bus::Can2, id.base, Direction::Ba) {
            return Ok(());
        }
        if !self.admits(now, id.base, body, Protection::Clear) {
            return Ok(());
        }
        // Once paired, only what is authenticated keeps the relay closed.
        if self.node != UNREGISTERED && !self.relation.is_paired() {
            self.last_contact = now;
        }
        match id.base {
            ModuleAnnounceRequest::BASE if !self.has_place() => {
                // Spread the answers: the lowest byte of the unique id decides, 0.1 s to 2.5 s.
                let ticks = u64::from((self.device.own.unique_id as u8) / 10).max(1);
                self.announce_due = Some(now + Duration::from_millis(100 * ticks));
            }
            ModuleRegistration::BASE => {
                if let Ok(m) = ModuleRegistration::decode(body) {
                    return self.register(now, &m);
                }
            }
            ModuleStatusRequest::BASE if mine => return self.clear_status(),
            ModuleStateChange::BASE if mine => {
                if let Ok(m) = ModuleStateChange::decode(body) {
                    return self.switch(m.state);
                }
            }
            ModuleMaxState::BASE | ModuleAllIsolate::BASE | ModuleAllDeregister::BASE => {
                return self.reduce(now, id.base, body);
            }
            ModuleDeregister::BASE if mine => return self.unregister(now),
            _ => {}
        }
        Ok(())
    }

    fn register(&mut self, now: Instant, m: &ModuleRegistration) -> Result<(), Error> {
        let for_me = (m.manufacturer, m.part, m.unique_id) == (MANUFACTURER, PART, self.device.own.unique_id);
        if !for_me {
            // Its place was given away: a controller that started anew, or ran out of places, had forgotten it.
            let taken = self.node == m.node && self.relation.peer().is_none();
            return if taken { self.unregister(now) } else { Ok(()) };
        }
        if !(1..=32).contains(&m.node) {
            return Ok(());
        }
        if self.relation.is_paired() {
            self.offered(now, m.node);
            return Ok(());
        }
        self.last_contact = now;
        self.announce_due = None;
        self.device.health.end(FaultCode::ControllerSilent);
        if self.node == m.node {
            return Ok(());
        }
        self.node = m.node;
        let hardware = self.hardware();
        self.send_clear(&hardware, self.node)?;
        self.clear_status()?;
        self.device.event(Event::Registered { node: m.node });
        Ok(())
    }

    fn unregister(&mut self, now: Instant) -> Result<(), Error> {
        (self.node, self.candidate) = (UNREGISTERED, None);
        self.ceiling = RelayState::Off;
        self.announce_due = Some(now + Duration::from_millis(100));
        self.switch(RelayState::Off)
    }

    fn clear_status(&mut self) -> Result<(), Error> {
        let status = self.status();
        self.send_clear(&status.status1, self.node)?;
        self.send_clear(&status.status2, self.node)?;
        self.send_clear(&status.status3, self.node)?;
        self.send_clear(&status.comm, self.node)
    }

    fn status(&self) -> ModuleStatusAll {
        let none = Measurement::default();
        let m = self.last.as_ref().unwrap_or(&none);
        let cells = m.cells.iter().map(|c| u32::from(c.mv));
        let sum: u32 = cells.clone().sum();
        let count = m.cells.len() as u32;
        let on = self.relay == RelayState::On;
        ModuleStatusAll {
            status1: ModuleStatus1 {
                state: self.relay,
                permission: if on { Permission::Both } else { Permission::Neither },
                soc_ppm: crate::soc::from_cell_mv(sum.checked_div(count).unwrap_or(0)),
                soh_ppm: 1_000_000,
                cells_expected: count as u8,
                current_ma: m.current_ma,
                voltage_mv: sum,
            },
            status2: ModuleStatus2 {
                cell_min_mv: cells.clone().min().unwrap_or(0),
                cell_max_mv: cells.max().unwrap_or(0),
                cell_avg_mv: sum.checked_div(count).unwrap_or(0),
                cell_sum_mv: sum,
            },
            status3: ModuleStatus3 {
                cell_min_mc: m.temperature_mc[0],
                cell_max_mc: m.temperature_mc[1],
                cell_avg_mc: m.temperature_mc[2],
            },
            comm: ModuleCellCommStatus1 {
                fewest: count as u8,
                most: count as u8,
                i2c_errors: 0,
                framing_errors: 0,
                first_i2c_fault: 255,
            },
        }
    }

    /// Switches to `target`, never above the ceiling.
    fn switch(&mut self, target: RelayState) -> Result<(), Error> {
        self.target = target;
        let sound = self.device.condition() == Condition::Sound;
        let relay = if sound { target.min(self.ceiling) } else { RelayState::Off };
        if relay == self.relay {
            return Ok(());
        }
        self.relay = relay;
        self.stopped |= relay == RelayState::Off;
        self.device.event(Event::Relay(relay));
        Ok(())
    }

    // --- security PDUs --------------------------------------------------------------------------------

    fn security(
        &mut self,
        now: Instant,
        device: u8,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if !self.relation.is_paired() {
            self.last_contact = now;
        }
        if message.first().is_none_or(|kind| gate::pdu(*kind, Direction::Ab, Protection::Clear).is_err()) {
            return Err(Error::WrongParty);
        }
        let in_force = self.node;
        self.candidate_stands = false;
        self.answer_as(device);
        let issuer = match self.device.issuer(now, message) {
            Ok(issuer) => issuer,
            Err(refusal) => {
                let done = self.send_pack(now, &refusal);
                self.answered(device, in_force);
                return done;
            }
        };
        self.relation.set_powered(self.device.clock.powered(now));
        let mut fx = Effects::new();
        let result = match *message {
            // After a tamper reaction a device says who it is, and takes nothing.
            [first, ..] if first != pdu::IDENTIFY && self.device.condition() == Condition::Tampered => {
                Err(Error::WrongParty)
            }
            [pdu::REVOCATION, ref list @ ..] => self.revocation(now, list),
            [pdu::DELEGATION, operation, ref m @ ..] => self.delegation(now, operation, m),
            [pdu::VALIDATION, events::ASK] => {
                self.device.announcer.want(flag::ASKED);
                Ok(())
            }
            [pdu::ESCALATION, ..] => self.relation.hint(now, self.device.boot, &mut fx, rng),
            [pdu::POLICY, ref m @ ..] => {
                let answer = self.device.policy(now, 0, m, &mut self.relation, [], rng);
                answer.and_then(|pdu| self.send_pack(now, &pdu))
            }
            [pdu::HANDSHAKE, ref m @ ..] => {
                self.relation.handshake(&self.device.own, m, now, self.device.boot, &mut fx, rng)
            }
            [pdu::CERTIFICATE, ..]
            | [pdu::BINDING, op::REQUEST | op::INTRODUCTION, ..]
            | [pdu::KEY_PACKAGE, pdu::key_package::SEALED, ..] => {
                self.device.ceremony(now, message, &issuer, &mut self.relation, &mut fx, rng)
            }
            [pdu::BINDING, ref m @ ..] => {
                let soc = self.status().status1.soc_ppm;
                crate::introduction::answer_identity(&self.device.own, m, soc, rng)
                    .and_then(|pdu| self.send_pack(now, &pdu))
            }
            [pdu::IDENTIFY, 0] => {
                let state = self.device.condition().state(if self.relation.is_paired() { 2 } else { 0 });
                let assurance = self.relation.binding().map_or(0, |(_, a)| a as u8);
                crate::introduction::identify(&self.device.own, state, assurance, 0)
                    .and_then(|pdu| self.send_pack(now, &pdu))
            }
            _ => Err(Error::Malformed),
        };
        self.device.tolerate(result);
        let done = self.apply(now, fx);
        self.answered(device, in_force);
        done
    }

    /// How long this module lets those before it go first with what all sign at the same moment.
    fn turn(&self) -> Duration {
        STATEMENT_SPREAD.times(u64::from(self.node))
    }

    fn security_id(&self) -> SecurityId {
        SecurityId::new(Bus::Can2, Direction::Ba, self.node)
    }

    fn send_pack(&mut self, now: Instant, pdu: &[u8]) -> Result<(), Error> {
        self.link.send_security(now, self.security_id(), pdu);
        Ok(())
    }

    fn apply(&mut self, now: Instant, mut fx: Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::ToPeer(pdu) | Effect::ToAuthority(pdu) => self.send_pack(now, &pdu)?,
                Effect::SealToPeer(tier, pdu) => self.seal_pdu(now, tier, &pdu)?,
                Effect::Store(record) => self.device.store(record)?,
                Effect::Event(event) => {
                    self.device.event(Event::Relation(event));
                    self.device.testimony.set_turn(self.turn());
                    self.device.log_relation(now, 0, &event, &mut self.relation);
                    if matches!(event, RelationEvent::Bound { .. }) {
                        self.batcher.unsign();
                    }
                    if matches!(event, RelationEvent::ChannelUp { .. }) {
                        self.device.forget_commands();
                        (self.answers, self.flow) = (0, OwnFlow::default());
                        self.device.journal.channel_up(now + self.turn());
                        self.channel_up(now);
                        self.send_hardware(now)?;
                    }
                }
            }
        }
        Ok(())
    }

    // --- sealed messages ------------------------------------------------------------------------------

    fn seal_pdu(&mut self, now: Instant, tier: Tier, pdu: &[u8]) -> Result<(), Error> {
        let level = Level::from_bits(u32::from(tier.level()));
        let id = self.security_id();
        self.seal(now, id.sealed(level), id.base(), 0, pdu)
    }

    fn seal(&mut self, now: Instant, id: SealedId, base: u16, h0: u8, body: &[u8]) -> Result<(), Error> {
        let (device, relation) = (&mut self.device, &mut self.relation);
        self.link.seal(now, id, body.len(), |out| device.seal(relation, id, base, h0, &[body], out))
    }

    fn sealed(
        &mut self,
        now: Instant,
        id: SealedId,
        bytes: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let opened = match (id.device() == NODE_BROADCAST, &mut self.group) {
            (true, Some(group)) => group.open(id, bytes),
            (true, None) => Err(Refusal::UnknownKey),
            (false, _) => self.relation.open(now, id, bytes),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(why) => {
                // A group frame before this start's group key, or before the key that replaces it, is not an
                // attack: the key comes under this module's own channel.
                match (id.device(), why, self.group.is_some()) {
                    (NODE_BROADCAST, Refusal::UnknownKey, false) => {}
                    (NODE_BROADCAST, Refusal::UnknownKey, true) => {
                        self.device.health.not_opened(now, why);
                    }
                    _ => self.device.refuse_sealed(now, why),
                }
                return Ok(());
            }
        };
        self.last_contact = now;
        if opened.base == SecurityId::new(Bus::Can2, Direction::Ab, self.node).base() {
            return self.sealed_pdu(now, opened.tier, opened.body, rng);
        }
        if !self.admits(now, opened.base, opened.body, gate::protection(opened.tier, opened.signed)) {
            return Ok(());
        }
        match opened.tier {
            Tier::Group => self.reduce(now, opened.base, opened.body),
            _ => self.sealed_message(now, &opened, rng),
        }
    }

    fn sealed_pdu(
        &mut self,
        now: Instant,
        tier: Tier,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let kind = *body.first().ok_or(Error::Malformed)?;
        let base = SecurityId::new(Bus::Can2, Direction::Ab, self.node).base();
        if let Err(denied) = gate::pdu(kind, Direction::Ab, gate::protection(tier, false)) {
            self.device.deny(now, base, denied);
            return Ok(());
        }
        if assurance::of_pdu(kind).is_some_and(|o| !self.device.may(now, 0, base, o, &mut self.relation)) {
            return Ok(());
        }
        match *body {
            [pdu::TIME, ref time @ ..] => self.device.take_time(now, time),
            [pdu::RECEIVED, _, pdu::AUDIT, ref n @ ..] if n.len() == 8 => {
                self.device.journal.acknowledge(n.iter().fold(0u64, |v, b| v << 8 | u64::from(*b)));
                Ok(())
            }
            [pdu::GROUP_KEY, ref k @ ..] if k.len() == 36 => {
                let generation = u32::from_be_bytes([k[0], k[1], k[2], k[3]]);
                let key = GroupKey(Secret::from_slice(&k[4..])?);
                let Some((pack, _)) = self.relation.peer() else {
                    return Ok(());
                };
                if self.group.as_ref().is_none_or(|g| g.generation() < generation) {
                    self.group = Some(GroupReceiver::new(&key.traffic(generation, &pack)?, generation)?);
                    self.device.log_group(now, generation);
                }
                Ok(())
            }
            [pdu::RECEIVED, _, pdu::VALIDATION, ref n @ ..] if n.len() == 8 => {
                let number = n.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
                self.device.testimony.acknowledge(now, number);
                Ok(())
            }
            [pdu::RECEIVED, _, pdu::BATCH, ref n @ ..] if n.len() == 8 => {
                let number = n.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
                if let Ok(first) = u32::try_from(number) {
                    self.batcher.acknowledge(first);
                }
                Ok(())
            }
            [pdu::LEAF, node, ref s @ ..] if s.len() == 4 => {
                let seq = u32::from_be_bytes([s[0], s[1], s[2], s[3]]);
                match self.batcher.leaf(seq) {
                    Some(leaf) => {
                        let answer = pdu::build(&[&[pdu::LEAF, node], s, &leaf])?;
                        self.seal_pdu(now, Tier::Exch, &answer)
                    }
                    None => Ok(()),
                }
            }
            // C130
            [pdu::ECHO, echo::ASK, 0, ref nonce @ ..] if nonce.len() == 4 => {
                let generation = self.group.as_ref().map_or(0, GroupReceiver::generation).to_be_bytes();
                let answer = pdu::build(&[&[pdu::ECHO, echo::ANSWER, 0], nonce, &generation])?;
                self.seal_pdu(now, tier, &answer)
            }
            [pdu::CONFIRM, ref m @ ..] => {
                let mut fx = Effects::new();
                self.relation.confirmed(tier, m, &mut fx)?;
                self.apply(now, fx)
            }
            [pdu::ROTATE, ref m @ ..] => {
                let mut fx = Effects::new();
                self.relation.rotation(now, tier, m, &mut fx, rng)?;
                self.apply(now, fx)
            }
            [pdu::VALIDATION, events::WITNESS, ref m @ ..] => self.be_witness(now, m, rng),
            [pdu::VALIDATION, events::STATE, 0, 0, ENERGY, ref m @ ..] => self.asked_for_energy(now, m),
            [pdu::VALIDATION, events::STATE, 0, 0, ref m @ ..] => {
                let mut fx = Effects::new();
                self.device.asked_to_state(now, 0, m, &mut self.relation, &mut fx)?;
                self.apply(now, fx)
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
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    fn sealed_message(
        &mut self,
        now: Instant,
        opened: &Opened<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        match (opened.base, opened.signed) {
            (base, true) => self.signed_command(now, base, opened.body, rng),
            (ModuleStateChange::BASE, false) => match ModuleStateChange::decode(opened.body) {
                Ok(m) => self.obey(m.state),
                Err(_) => Ok(()),
            },
            (ModuleStatusRequest::BASE, false) => self.answer_status(now),
            (ModuleHardwareRequest::BASE, false) => self.send_hardware(now),
            (ModuleDeregister::BASE, false) => self.unregister(now),
            (ModuleMaxState::BASE | ModuleAllIsolate::BASE | ModuleAllDeregister::BASE, false) => {
                self.reduce(now, opened.base, opened.body)
            }
            _ => {
                self.device.refuse_policy();
                Ok(())
            }
        }
    }

    /// 0x508, or a compact 0x502 between two of them where the certificate allows that (H98).
    fn answer_status(&mut self, now: Instant) -> Result<(), Error> {
        let status = self.status();
        let full = self.answers.is_multiple_of(COMPACT_RUN);
        self.answers = self.answers.wrapping_add(1);
        let (body, len) = status.status1.encode();
        let id = self.data_id(ModuleStatus1::BASE, Level::Exch)?;
        let mut sealed = [0; C2_LEN];
        let compact = match full {
            true => None,
            false => self.device.seal_compact(
                &mut self.relation,
                id,
                ModuleStatus1::BASE,
                &body[..len],
                &mut sealed,
            )?,
        };
        if let Some(n) = compact {
            self.link.send_sealed(now, id, &sealed[..n]);
            return Ok(());
        }
        let id = self.data_id(ModuleStatusAll::BASE, Level::Exch)?;
        self.seal(now, id, ModuleStatusAll::BASE, 0, &status.encode())
    }

    fn data_id(&self, base: u16, level: Level) -> Result<SealedId, Error> {
        SealedId::new(base, level, Direction::Ba, self.node).map_err(|_| Error::Malformed)
    }
}
