//! The pack controller role: registers modules, is the gateway between the two buses, switches the pack, meters its
//! energy (`spec/can.md`, C60 to C79).
//!
//! Sans-IO: frames, time and commands in; [`Output`]s out through [`Controller::poll`]. Records come out before the
//! frames that they guard.

mod app_side;
mod before_binding;
mod context;
mod energy;
mod module_side;
mod observation;
mod reports;
mod statements;
mod watch;

use crate::{
    announce::flag,
    assurance::{self, Operation},
    bootstrap::{self, Bootstrap},
    can::{Bus, Frame},
    command::{Acknowledgement, CommandResult, acknowledgement},
    device::{Device, Refused, delegate::Issuer},
    energy::Meter,
    escalation::{PER_MODULE, Rate},
    fault::FaultCode,
    flow::PeerFlow,
    gate,
    group::Group,
    health::Alert,
    identity::{Identity, Loaded, Record, key, versioned_u32},
    introduction::Introduced,
    lifecycle::Condition,
    link::{FrameFormat, Inbound, Link, LinkCounters},
    message::{
        Message, ModuleAllDeregister, ModuleAnnounceRequest, ModuleAnnouncement, ModuleHardware,
        ModuleMaxState, ModuleRegistration, ModuleScan, ModuleStateChange, ModuleStatus1, ModuleStatusAll,
        ModuleStatusRequest, PackStatusAll, RelayState, Stamp, VcuCommand, VcuKeepAlive,
    },
    module::{Rating, UNREGISTERED},
    pdu::{self, Pdu, binding as op, echo, validation as events},
    policy::Protection,
    relation::{Effect, Effects, Relation, RelationEvent},
    sealed_id::{ClearId, Level, SealedId, SecurityId},
    session::{H0_SIGNED, limits::Limits},
    telemetry::{Batcher, pack_record},
    time::{Duration, Instant},
};
use lct::{
    Digest, Error,
    binding::{BindRequest, Introduction},
    certificate::Certificate,
    command::SignedCommand,
    id::{BindingId, Cid},
    metadata::ClearMetadata,
    revocation::Reason,
    schedule::{Direction, Tier},
    sign::SigningKey,
    validation::{Announce, EscalationReason, EventKind, Urgency, ValidationLevel},
};
use observation::{Merit, Watching};
use rand_core::CryptoRng;
use watch::{Gifts, ModuleWatch, Watch};

/// Most modules of a pack.
pub const MODULES_MAX: usize = 31;
/// Longest message from a module: a PDU of 512 bytes (C30) or a scan of 128 cells (C42), sealed.
const MODULE_MESSAGE_MAX: usize = crate::pdu::PDU_MAX + 32;
/// Period of the ceiling broadcast that keeps modules registered.
pub const HEARTBEAT: Duration = Duration::from_millis(200);
/// Period of the invitation to announce.
pub const DISCOVERY: Duration = Duration::from_millis(10_000);
/// Silence of the app after which the pack falls to Standby, and to Off.
pub const APP_SILENCE: [Duration; 2] = [Duration::from_millis(600), Duration::from_millis(1_200)];
/// Silence of a module after which it counts as failed.
pub const MODULE_SILENCE: Duration = Duration::from_millis(4_000);
/// How long a level-5 command waits for its answer.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(300);
/// How often the state in force is repeated to each module, and a silent one is asked for its status.
const REPEAT: Duration = Duration::from_millis(1_000);
/// Time between two modules that are told what is told to each again and again: a command that comes in between finds
/// the bus free. All of them have had their turn within [`REPEAT`].
const TURN: Duration = Duration::from_millis(REPEAT.as_millis() / (MODULES_MAX as u64 + 1));
/// Frames of the group frame that lowers all modules, at most.
const CAP_ROOM: usize = 8;
/// Shortest time between two RESUMEs that announcements of one module begin.
const GREET_PERIOD: Duration = Duration::from_millis(2_000);
/// How often the app is asked for a fresh epoch while there is none.
const ASK_APP: Duration = Duration::from_millis(2_000);
/// Milliseconds a raised state is of use to a module.
const COMMAND_TTL_MS: u16 = 500;

/// What the owner of a pack controller tells it.
#[derive(Debug, Clone, Copy)]
pub enum Command {
    /// The pack's own sensor: terminal voltage mV, current mA (positive charges).
    Measure {
        /// Terminal voltage, mV.
        pack_mv: u32,
        /// Current, mA, positive charges.
        pack_ma: i32,
    },
    /// The button on the pack: opens the commissioning window of a pack in factory state; within ten seconds of a
    /// start it also sets the tries at the code back.
    Button,
    /// The enclosure is open: every key is erased, the pack falls to Off, and only a factory reset leads out (H138).
    Tamper,
    /// The owner, at the pack, wants it as it left the factory (H139).
    FactoryReset,
    /// The owner ends the pairing with the peer at `node`, 0 for the app (H158).
    Unpair {
        /// With whom.
        node: u8,
        /// Why.
        reason: Reason,
    },
    /// From now on operations between this pack and the peer at `node`, 0 for the app, are to need this level (H152).
    Escalate {
        /// Whom to ask.
        node: u8,
        /// The level.
        target: ValidationLevel,
        /// Why.
        reason: EscalationReason,
        /// How soon, and at levels 6 and 7 for how long.
        urgency: Urgency,
    },
    /// The installer compared the six digits of both sides, on this side.
    Compare {
        /// Whether they are equal.
        equal: bool,
    },
}

/// What a pack controller wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Make durable before any frame that follows.
    Store(Record),
    /// Send on a bus.
    Transmit(Bus, Frame),
    /// Tell the owner.
    Event(Event),
}

/// What happened to a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A module has a node.
    ModuleRegistered {
        /// Its node.
        node: u8,
    },
    /// A relationship changed; node 0 is the app.
    Relation {
        /// Node of the module, 0 for the app.
        node: u8,
        /// What happened.
        event: RelationEvent,
    },
    /// The pack's state in force.
    State(RelayState),
    /// The device channel to an app that is not bound yet.
    Bootstrap(bootstrap::Event),
    /// A module, or the app (node 0), announced itself, and its signature verified. That grants nothing.
    Announced {
        /// Its node.
        node: u8,
        /// What it says.
        announce: Announce,
    },
    /// A module, or the app (node 0), alerts.
    Alert {
        /// Its node.
        node: u8,
        /// What it is about.
        alert: Alert,
    },
}

struct CommandRun {
    seq: u32,
    state: RelayState,
    due: Instant,
    /// What was signed, when anything was.
    digest: Option<Digest>,
}

struct Slot {
    unique_id: u32,
    registered: bool,
    /// Who says that he is there, or is bound there.
    cid: Option<Cid>,
    /// Who was bound there last, and not revoked.
    holder: Option<Cid>,
    relation: Relation,
    rating: Option<Rating>,
    status: Option<ModuleStatusAll>,
    heard: Instant,
    /// When it is its turn again to hear the state in force.
    repeat: Instant,
    /// Last RESUME that an announcement began.
    greeted: Option<Instant>,
    relay: RelayState,
    wanted: RelayState,
    challenge: Option<u32>,
    next_seq: u32,
    run: Option<CommandRun>,
    /// The next command that the module does is stated (H190).
    confirming: bool,
    silent: bool,
    watch: ModuleWatch,
    merit: Merit,
    energy: PeerFlow,
    /// What this module had the app asked for.
    passed_on: Rate<PER_MODULE>,
}

impl Slot {
    fn new(slot: u8, unique_id: u32, now: Instant) -> Self {
        Slot {
            unique_id,
            registered: false,
            cid: None,
            holder: None,
            relation: Relation::new(slot),
            rating: None,
            status: None,
            heard: now,
            repeat: now,
            greeted: None,
            relay: RelayState::Off,
            wanted: RelayState::Off,
            challenge: None,
            next_seq: 0,
            run: None,
            confirming: false,
            silent: false,
            watch: ModuleWatch::new(now),
            merit: Merit::default(),
            energy: PeerFlow::default(),
            passed_on: Rate::default(),
        }
    }

    fn healthy(&self) -> bool {
        self.registered && self.relation.is_up() && !self.silent
    }

    /// Whether the answer to a command may still come.
    fn waits(&self, now: Instant) -> bool {
        self.run.as_ref().is_some_and(|r| r.due > now)
    }
}

/// The pack controller role.
pub struct Controller {
    device: Device<Event, 80, 64>,
    pack: u8,
    app: Relation,
    bootstrap: Bootstrap,
    slots: heapless::Vec<Slot, MODULES_MAX>,
    can1: Link<4>,
    can2: Link<34, MODULES_MAX, MODULE_MESSAGE_MAX>,
    group: Group,
    watch: Watch,
    watching: Watching,
    requested: RelayState,
    /// The requested state that the modules' ceilings follow.
    capped: RelayState,
    state: RelayState,
    lead: Option<usize>,
    last_app: Instant,
    heartbeat: Instant,
    discovery: Instant,
    /// When the next module has its turn.
    turn: Instant,
    /// When the app is asked again for a fresh epoch.
    ask_app: Instant,
    pack_mv: u32,
    pack_ma: i32,
    batcher: Batcher,
    meter: Meter,
    /// The event of the meter for which the modules were asked last.
    flows_wanted: (u32, u32),
    /// The module that was asked last to be a witness.
    witness: usize,
    /// Number of the last statement about its modules that it signed, and what it said.
    answered: Option<(u32, Digest)>,
}

impl Controller {
    /// A controller of pack number `pack` (0 or 1) that starts: `load` reads its flash.
    pub fn start(
        own: Identity,
        pack: u8,
        mut load: impl FnMut(u16) -> Loaded,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let mut device = Device::start(own, &mut load, now, rng)?;
        let (cid, boot) = (device.own.cid(), device.boot);
        let (group, generations) =
            Group::start(cid, boot, device.counter(load(key::GROUP)).as_deref(), now, rng)?;
        let mut app = Relation::new(0);
        device.restore(&mut app, &mut load);
        let bootstrap = device.restore_bootstrap(&mut load, now)?;
        let mut slots = heapless::Vec::new();
        for slot in 1..=MODULES_MAX as u8 {
            // A place without record is free: its module was never bound.
            let unique_id = device.counter(load(key::module(slot))).map_or(Ok(0), |r| versioned_u32(&r))?;
            let mut known = Slot::new(slot, unique_id, now);
            device.restore(&mut known.relation, &mut load);
            known.cid = known.relation.peer().map(|(cid, _)| cid);
            known.holder = known.cid;
            slots.push(known).map_err(|_| Error::BufferTooSmall)?;
        }
        while slots.last().is_some_and(|s: &Slot| s.unique_id == 0) {
            slots.pop();
        }
        // Key-Lost seals nothing: what is intact rests until everything is bound again and the pack starts anew.
        if device.condition() != Condition::Sound {
            app.rest();
            slots.iter_mut().for_each(|slot| slot.relation.rest());
        }
        let meter = Meter::new(cid, device.own.capacity_mwh, device.counter(load(key::CYCLE)).as_deref())?;
        let batcher = Batcher::new(cid, device.counter(load(key::SEQUENCE)).as_deref())?;
        let mut controller = Controller {
            device,
            pack,
            app,
            bootstrap,
            slots,
            can1: Link::new(Bus::Can1, Direction::Ab),
            can2: Link::new(Bus::Can2, Direction::Ba),
            group,
            watch: Watch::new(now),
            watching: Watching::new(now),
            requested: RelayState::Off,
            capped: RelayState::Off,
            state: RelayState::Off,
            lead: None,
            last_app: now,
            heartbeat: now,
            discovery: now,
            turn: now,
            ask_app: now + ASK_APP,
            pack_mv: 0,
            pack_ma: 0,
            batcher,
            meter,
            flows_wanted: (0, 0),
            witness: 0,
            answered: None,
        };
        controller.device.store(generations)?;
        controller.device.roll_challenge(now, &mut controller.app, rng);
        controller.greet(now, rng)?;
        Ok(controller)
    }

    /// After a start: unbound modules start over, paired ones get a fresh epoch, the app is asked for one.
    fn greet(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if !self.slots.iter().any(|s| s.relation.is_paired()) {
            self.send_module_clear(&ModuleAllDeregister { controller: self.pack }, 0)?;
        }
        for index in 0..self.slots.len() {
            // A bound module keeps its node, for it obeys no clear 0x51E.
            self.slots[index].registered = self.slots[index].relation.peer().is_some();
            if self.slots[index].relation.is_paired() {
                self.resume_module(index, now, rng)?;
            }
        }
        self.start_bootstrap(now)?;
        if self.wants_app() {
            let mut fx = Effects::new();
            Relation::ask_for_run(&mut fx)?;
            self.apply_app(now, fx)?;
        }
        Ok(())
    }

    /// Generation of the group key in force.
    pub fn group_generation(&self) -> u32 {
        self.group.generation()
    }
    /// Identity of this pack.
    pub fn identity(&self) -> &Identity {
        &self.device.own
    }
    /// State in force.
    pub fn state(&self) -> RelayState {
        self.state
    }
    /// Number of modules with a node.
    pub fn modules(&self) -> usize {
        self.slots.iter().filter(|s| s.registered).count()
    }
    /// True when a pairing with the app is stored.
    pub fn is_paired(&self) -> bool {
        self.app.is_paired()
    }
    /// True when the relationship with this module ended because it was revoked.
    pub fn has_revoked(&self, module: Cid) -> bool {
        self.slots.iter().any(|s| s.relation.revoked() == Some(module))
    }
    /// The level that is asked for in the relationship with the peer at `node`, 0 for the app (H152).
    pub fn escalated(&self, node: u8, now: Instant) -> Option<ValidationLevel> {
        match node {
            0 => self.app.escalated(now),
            node => self.slots[self.index(node)?].relation.escalated(now),
        }
    }
    /// True when every module with a node has its channel up.
    pub fn modules_up(&self) -> bool {
        self.slots.iter().all(|s| !s.registered || s.relation.is_up())
    }
    /// Nothing secret stays in memory; every module registers anew.
    fn forget_keys(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.requested = RelayState::Off;
        self.app.erase();
        self.slots.iter_mut().for_each(|slot| slot.relation.erase());
        self.bootstrap = Bootstrap::restore(&self.device.own, 0, |_| Ok(None), now)?;
        self.slots.clear();
        self.advance(now, rng)
    }

    /// In what condition this device is.
    pub fn condition(&self) -> Condition {
        self.device.condition()
    }
    /// What was refused since the start, on both buses.
    pub fn refused(&self) -> Refused {
        self.device.refused()
    }
    /// Says what frames a bus carries; classical until then (C120).
    pub fn set_format(&mut self, bus: Bus, format: FrameFormat) {
        match bus {
            Bus::Can1 => {
                self.can1.set_format(format);
                self.app.set_format(format);
            }
            Bus::Can2 => {
                self.can2.set_format(format);
                self.slots.iter_mut().for_each(|s| s.relation.set_format(format));
            }
        }
    }
    /// Sets how long and how much the channels' keys are used; [`Error::Malformed`] for what no policy may choose.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), Error> {
        self.app.set_limits(limits)?;
        self.slots.iter_mut().try_for_each(|s| s.relation.set_limits(limits))
    }
    /// The latest Unix second of which it is sure (H101); `None` before the authority told any.
    pub fn judged_time(&self, now: Instant) -> Option<u32> {
        self.device.clock.judged(now)
    }
    /// Number of the revocation list that it holds, 0 for none.
    pub fn revocation_number(&self) -> u32 {
        self.device.revocations.number()
    }
    /// Counters of the ends of CAN 1 and CAN 2.
    pub fn link_counters(&self) -> [LinkCounters; 2] {
        [self.can1.counters(), self.can2.counters()]
    }
    /// Events that found no room or no witness since the start.
    pub fn statements_lost(&self) -> u32 {
        self.device.testimony.lost()
    }
    /// True when every record, energy statement and event was acknowledged and no cycle is open.
    pub fn is_settled(&self) -> bool {
        let stated = self.device.testimony.is_empty() || !self.app.is_paired();
        let stated = stated && !self.slots.iter().any(|s| s.healthy() && s.energy.is_awaited());
        self.batcher.is_empty() && self.meter.is_empty() && stated
    }

    /// The next thing to do: records first, so that each is durable before the frames that depend on it.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        let frame = || {
            let module = self.can2.poll(now).map(|frame| Output::Transmit(Bus::Can2, frame));
            module.or_else(|| self.can1.poll(now).map(|frame| Output::Transmit(Bus::Can1, frame)))
        };
        self.device.poll(Output::Store, frame, Output::Event)
    }

    /// When [`Controller::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let watch = (self.requested != RelayState::Off).then(|| {
            let limit = APP_SILENCE[usize::from(self.requested < RelayState::Precharge)];
            self.last_app + limit
        });
        let log = self.device.journal.due().filter(|_| self.app.is_up() && self.can1.is_idle());
        let app = [
            log,
            self.device.announcer.due(),
            Some(self.device.clock.due()),
            Some(self.heartbeat),
            Some(self.discovery),
            self.app.due(),
            self.bootstrap.due(),
            self.can1.due(),
            self.can2.due(),
            watch,
        ];
        let ask = self.wants_app().then_some(self.ask_app);
        let batch = self.batcher.close_due().filter(|_| self.app.own_spk().is_some());
        let statements = [self.batcher.due(), self.meter.due(), self.device.testimony.due()]
            .into_iter()
            .filter(|_| self.app.is_up() && self.can1.is_idle());
        let modules = self.slots.iter().flat_map(|s| {
            let run = s.run.as_ref().map(|r| r.due);
            let turn = (s.registered && s.relation.is_up())
                .then(|| s.repeat.max(self.turn).max(run.unwrap_or(s.repeat)));
            [s.relation.due(), run.filter(|_| s.healthy()), turn]
        });
        app.into_iter()
            .chain([ask, batch])
            .chain(self.watch_due())
            .chain(statements)
            .chain(modules)
            .flatten()
            .min()
    }

    /// Takes a frame.
    pub fn frame(
        &mut self,
        now: Instant,
        bus: Bus,
        frame: &Frame,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if !self.screen(now, bus, frame) {
            return Ok(());
        }
        let mut buffer = [0; crate::link::MESSAGE_MAX];
        let result = match bus {
            Bus::Can1 => {
                let pack = self.pack;
                match self.can1.receive(now, frame, |d| d == pack, &mut buffer) {
                    None => Ok(()),
                    Some(Inbound::Clear(id, n)) => self.app_clear(now, id, &buffer[..n]),
                    Some(Inbound::Security(_, n)) => self.app_security(now, &buffer[..n], rng),
                    Some(Inbound::Sealed(id, n)) => self.app_sealed(now, id, &mut buffer[..n], rng),
                }
            }
            Bus::Can2 => match self.can2.receive(now, frame, |d| d != 0, &mut buffer) {
                None => Ok(()),
                Some(Inbound::Clear(id, n)) => self.module_clear(now, id, frame, &buffer[..n], rng),
                Some(Inbound::Security(id, n)) => self.module_security(now, id.device(), &buffer[..n], rng),
                Some(Inbound::Sealed(id, n)) => self.module_sealed(now, id, &mut buffer[..n], rng),
            },
        };
        self.device.tolerate(result);
        self.advance(now, rng)
    }

    /// Takes a command of the owner.
    pub fn command(&mut self, now: Instant, command: Command, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let (pack_mv, pack_ma) = match command {
            Command::Measure { pack_mv, pack_ma } => (pack_mv, pack_ma),
            Command::Button => return self.button(now),
            Command::Tamper => {
                self.device.tamper(now)?;
                return self.forget_keys(now, rng);
            }
            Command::FactoryReset => {
                self.device.factory_reset(now)?;
                return self.forget_keys(now, rng);
            }
            Command::Compare { equal } => return self.compare(now, equal),
            Command::Unpair { node: 0, reason } => {
                let mut fx = Effects::new();
                self.device.unpair(&mut self.app, reason, &mut fx, rng)?;
                return self.apply_app(now, fx);
            }
            Command::Unpair { node, reason } => {
                let index = self.index(node).ok_or(Error::WrongParty)?;
                let mut fx = Effects::new();
                self.device.unpair(&mut self.slots[index].relation, reason, &mut fx, rng)?;
                return self.apply_module(index, now, fx);
            }
            Command::Escalate { node, target, reason, urgency } => {
                let mut fx = Effects::new();
                if node == 0 {
                    self.app.escalate(now, target, reason, urgency, &mut fx)?;
                    return self.apply_app(now, fx);
                }
                let index = self.index(node).ok_or(Error::WrongParty)?;
                self.slots[index].relation.escalate(now, target, reason, urgency, &mut fx)?;
                return self.apply_module(index, now, fx);
            }
        };
        (self.pack_mv, self.pack_ma) = (pack_mv, pack_ma);
        self.protect(now);
        self.advance(now, rng)?;
        if self.app.is_up() && self.device.unix_ms(now).is_some() { self.report(now, rng) } else { Ok(()) }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.device.tick(now);
        self.enforce_list(now)?;
        let mut fx = Effects::new();
        self.app.tick(&self.device.own, now, self.device.boot, &mut fx, rng)?;
        self.apply_app(now, fx)?;
        self.tick_bootstrap(now, rng)?;
        for index in 0..self.slots.len() {
            let mut fx = Effects::new();
            self.slots[index].relation.tick(&self.device.own, now, self.device.boot, &mut fx, rng)?;
            self.apply_module(index, now, fx)?;
        }
        if self.discovery <= now {
            self.discovery = now + DISCOVERY;
            self.refresh_modules(now)?;
            self.send_module_clear(&ModuleAnnounceRequest { controller: self.pack }, UNREGISTERED)?;
        }
        if self.wants_app() && self.ask_app <= now {
            self.ask_app = now + ASK_APP;
            let mut fx = Effects::new();
            Relation::ask_for_run(&mut fx)?;
            self.apply_app(now, fx)?;
        }
        if self.batcher.close_due().is_some_and(|due| due <= now)
            && let Some(key) = self.signing_key()
        {
            self.batcher.close(&key, now, rng)?;
        }
        if self.heartbeat <= now {
            self.heartbeat = now + HEARTBEAT;
            // A pack that cannot seal for the group still watches and lowers.
            let told = self.beat(now, self.requested.max(self.state));
            self.device.tolerate(told);
        }
        self.watch(now);
        self.tend_group(now, rng)?;
        self.advance(now, rng)?;
        self.send_statements(now, rng)?;
        self.send_log(now, rng)?;
        self.send_testimony(now, rng)?;
        if let Some(announce) = self.device.announce(now, &self.app, rng)? {
            self.send_app(now, &announce)?;
        }
        self.tell(now)
    }

    fn watch(&mut self, now: Instant) {
        let silence = now.saturating_since(self.last_app);
        if silence >= APP_SILENCE[0] && self.requested > RelayState::Standby {
            self.device.health.raise(now, FaultCode::AppSilent, silence.as_millis() as u32);
        }
        if silence >= APP_SILENCE[1] {
            self.requested = RelayState::Off;
        } else if silence >= APP_SILENCE[0] {
            self.requested = self.requested.min(RelayState::Standby);
        }
        for slot in &mut self.slots {
            slot.silent = slot.relation.is_up() && now.saturating_since(slot.heard) >= MODULE_SILENCE;
            if slot.silent {
                slot.run = None;
            }
        }
        self.watch_conditions(now);
    }

    /// A ceiling for all, sealed for the group once one module is paired, in clear for a pack without pairings.
    fn beat(&mut self, now: Instant, max: RelayState) -> Result<(), Error> {
        let message = ModuleMaxState { max };
        if self.slots.iter().any(|s| s.relation.is_paired()) {
            let id = SealedId::new(ModuleMaxState::BASE, Level::Pair, Direction::Ab, 0)
                .map_err(|_| Error::Malformed)?;
            let (body, len) = message.encode();
            let (format, sender) = (self.can2.format(), self.group.sender());
            return self
                .can2
                .seal(now, id, len, |out| sender.seal(format, id, ModuleMaxState::BASE, &body[..len], out));
        }
        let bound = self.slots.iter().any(|s| s.relation.peer().is_some());
        if !bound && self.modules() > 0 { self.send_module_clear(&message, 0) } else { Ok(()) }
    }

    // --- pack state -----------------------------------------------------------------------------------

    /// Brings modules and pack towards the requested state: one module leads, the others follow.
    fn advance(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let before = self.state;
        if self.device.condition() != Condition::Sound {
            self.requested = RelayState::Off;
        }
        // One frame for all reaches the last module as soon as the first; each is told by itself behind it. Where there is
        // no room for it, it follows when there is.
        let lowered = self.requested < self.capped;
        if !lowered || self.can2.has_room(CAP_ROOM) {
            self.capped = self.requested;
            if lowered {
                let told = self.beat(now, self.requested);
                self.device.tolerate(told);
            }
        }
        if self.requested <= RelayState::Standby {
            self.lead = None;
            self.slots.iter_mut().for_each(|s| s.wanted = self.requested);
            self.state = self.requested;
        } else {
            let healthy = |s: &Slot| s.healthy();
            if self.lead.is_none_or(|l| !self.slots[l].healthy()) {
                let voltage = |s: &Slot| s.status.map_or(0, |st| st.status1.voltage_mv);
                let all = self.slots.iter().enumerate().filter(|(_, s)| healthy(s));
                self.lead = all.max_by_key(|(_, s)| voltage(s)).map(|(i, _)| i);
            }
            if self.lead.is_none() {
                self.state = self.state.min(RelayState::Standby);
            }
            if let Some(lead) = self.lead {
                self.slots[lead].wanted = self.requested;
                let led = self.slots[lead].relay == self.requested;
                let others = match (led, self.requested) {
                    (true, state @ RelayState::On) => state,
                    _ => RelayState::Standby,
                };
                for (index, slot) in self.slots.iter_mut().enumerate() {
                    if index != lead && slot.healthy() {
                        slot.wanted = others.max(slot.relay.min(self.requested));
                    }
                }
                let all_there = self.slots.iter().filter(|s| healthy(s)).all(|s| s.relay >= others);
                if led && all_there {
                    self.state = self.requested;
                }
            }
        }
        if self.state != before {
            self.device.event(Event::State(self.state));
            if before == RelayState::On {
                // What a pack in standby measures flows through none of its relays.
                self.meter.pause();
                self.slots.iter_mut().for_each(|slot| slot.energy.pause());
            }
            if self.state == RelayState::Off {
                self.stop(now, rng)?;
            }
        }
        self.device.state_changes(now, self.state, self.app.is_paired());
        self.command_modules(now, rng)
    }

    fn command_modules(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        // Who waits longest, so that a device that looks late leaves nobody out.
        let due = |s: &Slot| s.registered && s.relation.is_up() && s.repeat <= now && !s.waits(now);
        let waiting = self.slots.iter().enumerate().filter(|(_, s)| self.turn <= now && due(s));
        let next = waiting.min_by_key(|(_, s)| s.repeat).map(|(index, _)| index);
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if !slot.registered || !slot.relation.is_up() || !self.can2.has_room(48) {
                continue;
            }
            let waiting = slot.waits(now);
            let turn = next == Some(index);
            if turn {
                self.turn = (self.turn + TURN).max(now);
                let quiet = now.saturating_since(slot.heard) >= REPEAT;
                self.slots[index].repeat = now + REPEAT;
                if quiet {
                    // A silent module is asked too: its answer makes it healthy again.
                    self.ask_status(index, now)?;
                }
            }
            let slot = &mut self.slots[index];
            if slot.silent {
                continue;
            }
            if !waiting {
                slot.run = None;
            }
            let (lower, raise) = (slot.wanted < slot.relay, slot.wanted > slot.relay);
            if raise && !waiting {
                self.raise(index, now, rng)?;
            } else if lower || turn {
                self.hold(index, now)?;
            }
        }
        Ok(())
    }

    /// The pack went Off: the cycle closes and everything measured gets signed.
    fn stop(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.device.journal.stopped();
        if let Some(key) = self.signing_key() {
            self.meter.close(&key, now, rng)?;
            self.batcher.close(&key, now, rng)?;
        }
        self.send_statements(now, rng)
    }

    fn signing_key(&self) -> Option<SigningKey> {
        self.app.own_spk().map(|spk| spk.signing_key().clone())
    }
}

fn rating_of(m: &ModuleHardware) -> Rating {
    Rating {
        charge_ma: m.max_charge_ma.max(0),
        discharge_ma: m.max_discharge_ma.min(0),
        end_of_charge_mv: m.end_of_charge_mv,
    }
}

/// `09 | seconds u32 | milliseconds u16`.
pub fn time_pdu(unix_ms: u64) -> Result<Pdu, Error> {
    let seconds = u32::try_from(unix_ms / 1_000).map_err(|_| Error::Malformed)?;
    pdu::build(&[&[pdu::TIME], &seconds.to_be_bytes(), &((unix_ms % 1_000) as u16).to_be_bytes()])
}
