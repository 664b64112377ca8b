//! The pack controller role: registers modules, is the gateway between the two buses, switches the pack, meters its
//! energy (`spec/can.md`, C60 to C79).
//!
//! Sans-IO: frames, time and commands in; [`Output`]s out through [`Controller::poll`]. Records come out before the
//! frames that they guard.

use crate::{
    can::{Bus, Frame},
    command::{Acknowledgement, CommandResult, acknowledgement},
    energy::Meter,
    identity::{Identity, Record, key, next_boot, versioned_u32},
    link::{Inbound, Link, LinkCounters},
    message::{
        Message, ModuleAllDeregister, ModuleAnnounceRequest, ModuleAnnouncement, ModuleHardware,
        ModuleMaxState, ModuleRegistration, ModuleScan, ModuleStateChange, ModuleStatusAll,
        ModuleStatusRequest, PackStatusAll, RelayState, Stamp, VcuCommand, VcuKeepAlive,
    },
    module::{Rating, Refused, UNREGISTERED},
    pdu::{self, Pdu, binding as op},
    policy::{self, DeviceState, MinLevel},
    relation::{Effect, Effects, Introduced, Relation, RelationEvent},
    sealed_id::{ClearId, Level, SealedId, SecurityId},
    session::{GroupSender, H0_SIGNED, Opened},
    telemetry::{Batcher, pack_record},
    time::{Duration, Instant},
};
use lct::{
    Error,
    binding::{BindRequest, Introduction},
    certificate::Certificate,
    command::SignedCommand,
    id::Cid,
    metadata::ClearMetadata,
    schedule::{Direction, GroupKey, Tier},
    secret::Secret,
    sign::SigningKey,
};
use rand_core::CryptoRng;

/// Most modules of a pack.
pub const MODULES_MAX: usize = 31;
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
}

struct CommandRun {
    seq: u32,
    state: RelayState,
    due: Instant,
}

struct Slot {
    unique_id: u32,
    registered: bool,
    cid: Option<Cid>,
    relation: Relation,
    rating: Option<Rating>,
    status: Option<ModuleStatusAll>,
    heard: Instant,
    asked: Instant,
    repeat: Instant,
    relay: RelayState,
    wanted: RelayState,
    challenge: Option<u32>,
    next_seq: u32,
    run: Option<CommandRun>,
    silent: bool,
}

impl Slot {
    fn new(slot: u8, unique_id: u32, now: Instant) -> Self {
        Slot {
            unique_id,
            registered: false,
            cid: None,
            relation: Relation::new(slot),
            rating: None,
            status: None,
            heard: now,
            asked: now,
            repeat: now,
            relay: RelayState::Off,
            wanted: RelayState::Off,
            challenge: None,
            next_seq: 0,
            run: None,
            silent: false,
        }
    }

    fn healthy(&self) -> bool {
        self.registered && self.relation.is_up() && !self.silent
    }
}

/// The pack controller role.
pub struct Controller {
    own: Identity,
    pack: u8,
    boot: u32,
    app: Relation,
    slots: heapless::Vec<Slot, MODULES_MAX>,
    can1: Link<4>,
    can2: Link<34>,
    group_key: GroupKey,
    group: GroupSender,
    clock: Option<(u64, Instant)>,
    requested: RelayState,
    state: RelayState,
    lead: Option<usize>,
    last_app: Instant,
    challenge: u32,
    last_command: Option<u32>,
    heartbeat: Instant,
    discovery: Instant,
    pack_mv: u32,
    pack_ma: i32,
    batcher: Batcher,
    meter: Meter,
    /// First measurement (time, mV, mA) in state On, until the cycle opens.
    first: Option<(u64, u32, i32)>,
    stores: heapless::Deque<Record, 80>,
    events: heapless::Deque<Event, 64>,
    refused: Refused,
}

impl Controller {
    /// A controller of pack number `pack` (0 or 1) that starts: `load` reads its flash.
    pub fn start<'a>(
        own: Identity,
        pack: u8,
        mut load: impl FnMut(u16) -> Option<&'a [u8]>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let (boot, record) = next_boot(load(key::BOOT))?;
        let cid = own.cid();
        let group_key = GroupKey(Secret::random(rng));
        let group = GroupSender::new(&group_key.traffic(boot, &cid)?, boot)?;
        let mut app = Relation::new(0);
        app.restore(&own, &mut load)?;
        let mut slots = heapless::Vec::new();
        for slot in 1..=MODULES_MAX as u8 {
            let Some(bytes) = load(key::module(slot)) else {
                break;
            };
            let mut known = Slot::new(slot, versioned_u32(bytes)?, now);
            known.relation.restore(&own, &mut load)?;
            known.cid = known.relation.peer().map(|(cid, _)| cid);
            slots.push(known).map_err(|_| Error::BufferTooSmall)?;
        }
        let meter = Meter::new(cid, own.capacity_mwh, load(key::CYCLE))?;
        let batcher = Batcher::new(cid, load(key::SEQUENCE))?;
        let mut controller = Controller {
            own,
            pack,
            boot,
            app,
            slots,
            can1: Link::new(Bus::Can1, Direction::Ab),
            can2: Link::new(Bus::Can2, Direction::Ba),
            group_key,
            group,
            clock: None,
            requested: RelayState::Off,
            state: RelayState::Off,
            lead: None,
            last_app: now,
            challenge: 0,
            last_command: None,
            heartbeat: now,
            discovery: now,
            pack_mv: 0,
            pack_ma: 0,
            batcher,
            meter,
            first: None,
            stores: heapless::Deque::new(),
            events: heapless::Deque::new(),
            refused: Refused::default(),
        };
        controller.roll_challenge(rng);
        controller.store(record)?;
        controller.greet(now, rng)?;
        Ok(controller)
    }

    /// After a start: unpaired modules start over, paired ones get a fresh epoch, the app is asked for one.
    fn greet(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if !self.slots.iter().any(|s| s.relation.is_paired()) {
            self.send_module_clear(&ModuleAllDeregister { controller: self.pack }, 0)?;
        }
        for index in 0..self.slots.len() {
            if self.slots[index].relation.is_paired() {
                self.slots[index].registered = true;
                self.resume_module(index, now, rng)?;
            }
        }
        if self.app.is_paired() {
            let mut fx = Effects::new();
            Relation::ask_for_run(&mut fx)?;
            self.apply_app(now, fx)?;
        }
        Ok(())
    }

    /// Identity of this pack.
    pub fn identity(&self) -> &Identity {
        &self.own
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
    /// True when every module with a node has its channel up.
    pub fn modules_up(&self) -> bool {
        self.slots.iter().all(|s| !s.registered || s.relation.is_up())
    }
    /// What was refused since the start, on both buses.
    pub fn refused(&self) -> Refused {
        self.refused
    }
    /// Counters of the ends of CAN 1 and CAN 2.
    pub fn link_counters(&self) -> [LinkCounters; 2] {
        [self.can1.counters(), self.can2.counters()]
    }
    /// True when every record and energy statement was acknowledged and no cycle is open.
    pub fn is_settled(&self) -> bool {
        self.batcher.is_empty() && self.meter.is_empty()
    }

    /// The next thing to do: records first, so that each is durable before the frames that depend on it.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        if let Some(record) = self.stores.pop_front() {
            return Some(Output::Store(record));
        }
        if let Some(frame) = self.can2.poll(now) {
            return Some(Output::Transmit(Bus::Can2, frame));
        }
        if let Some(frame) = self.can1.poll(now) {
            return Some(Output::Transmit(Bus::Can1, frame));
        }
        self.events.pop_front().map(Output::Event)
    }

    /// When [`Controller::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let watch = (self.requested != RelayState::Off).then(|| {
            let limit = APP_SILENCE[usize::from(self.requested < RelayState::Precharge)];
            self.last_app + limit
        });
        let app = [
            Some(self.heartbeat),
            Some(self.discovery),
            self.app.due(),
            self.can1.due(),
            self.can2.due(),
            watch,
        ];
        let statements = [self.batcher.due(), self.meter.due()]
            .into_iter()
            .filter(|_| self.app.is_up() && self.can1.is_idle());
        let modules = self.slots.iter().flat_map(|s| {
            let command = s.run.as_ref().map(|r| r.due);
            [s.relation.due(), command, s.healthy().then_some(s.repeat)]
        });
        app.into_iter().chain(statements).chain(modules).flatten().min()
    }

    /// Takes a frame.
    pub fn frame(
        &mut self,
        now: Instant,
        bus: Bus,
        frame: &Frame,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
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
                Some(Inbound::Clear(id, n)) => self.module_clear(now, id, &buffer[..n], rng),
                Some(Inbound::Security(id, n)) => self.module_security(now, id.device(), &buffer[..n], rng),
                Some(Inbound::Sealed(id, n)) => self.module_sealed(now, id, &mut buffer[..n], rng),
            },
        };
        result?;
        self.advance(now, rng)
    }

    /// Takes a command of the owner.
    pub fn command(&mut self, now: Instant, command: Command, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Command::Measure { pack_mv, pack_ma } = command;
        (self.pack_mv, self.pack_ma) = (pack_mv, pack_ma);
        if self.app.is_up() && self.clock.is_some() { self.report(now, rng) } else { Ok(()) }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let mut fx = Effects::new();
        self.app.tick(&self.own, now, self.boot, &mut fx, rng)?;
        self.apply_app(now, fx)?;
        for index in 0..self.slots.len() {
            let mut fx = Effects::new();
            self.slots[index].relation.tick(&self.own, now, self.boot, &mut fx, rng)?;
            self.apply_module(index, now, fx)?;
        }
        if self.discovery <= now {
            self.discovery = now + DISCOVERY;
            self.send_module_clear(&ModuleAnnounceRequest { controller: self.pack }, UNREGISTERED)?;
        }
        if self.heartbeat <= now {
            self.heartbeat = now + HEARTBEAT;
            self.beat(now)?;
        }
        self.watch(now);
        self.advance(now, rng)?;
        self.send_statements(now)
    }

    fn watch(&mut self, now: Instant) {
        let silence = now.saturating_since(self.last_app);
        if silence >= APP_SILENCE[1] {
            self.requested = RelayState::Off;
        } else if silence >= APP_SILENCE[0] {
            self.requested = self.requested.min(RelayState::Standby);
        }
        for slot in &mut self.slots {
            slot.silent = slot.relation.is_up() && now.saturating_since(slot.heard) >= MODULE_SILENCE;
        }
    }

    /// The ceiling, sealed for the group once one module is paired, in clear for a pack without pairings.
    fn beat(&mut self, now: Instant) -> Result<(), Error> {
        let max = self.requested.max(self.state);
        let message = ModuleMaxState { max };
        if self.slots.iter().any(|s| s.relation.is_paired()) {
            let id = SealedId::new(ModuleMaxState::BASE, Level::Pair, Direction::Ab, 0)
                .map_err(|_| Error::Malformed)?;
            let (body, len) = message.encode();
            let mut sealed = [0; 64];
            let n = self.group.seal(id, ModuleMaxState::BASE, &body[..len], &mut sealed)?;
            self.can2.send_sealed(now, id, &sealed[..n]);
            return Ok(());
        }
        if self.slots.iter().any(|s| s.registered) { self.send_module_clear(&message, 0) } else { Ok(()) }
    }

    // --- modules, clear -------------------------------------------------------------------------------

    fn send_module_clear<M: Message>(&mut self, message: &M, node: u8) -> Result<(), Error> {
        let frame = message.frame(node).map_err(|_| Error::Malformed)?;
        self.can2.send_frame(frame);
        Ok(())
    }

    fn index(&self, node: u8) -> Option<usize> {
        let index = usize::from(node).checked_sub(1)?;
        (index < self.slots.len()).then_some(index)
    }

    fn module_clear(
        &mut self,
        now: Instant,
        id: ClearId,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if id.base == ModuleAnnouncement::BASE {
            return match ModuleAnnouncement::decode(body) {
                Ok(m) => self.announced(now, &m, rng),
                Err(_) => Ok(()),
            };
        }
        let Some(index) = self.index(id.node) else {
            return Ok(());
        };
        let paired = self.slots[index].relation.is_paired();
        let state = if paired { DeviceState::Paired } else { DeviceState::Factory };
        if policy::required(Bus::Can2, id.base, state) != MinLevel::Clear {
            self.refused.policy = self.refused.policy.saturating_add(1);
            return Ok(());
        }
        self.slots[index].heard = now;
        if id.base == ModuleHardware::BASE
            && let Ok(m) = ModuleHardware::decode(body)
        {
            self.slots[index].rating = Some(rating_of(&m));
        }
        Ok(())
    }

    fn announced(
        &mut self,
        now: Instant,
        m: &ModuleAnnouncement,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let index = match self.slots.iter().position(|s| s.unique_id == m.unique_id) {
            Some(index) => index,
            None => {
                let number = self.slots.len() as u8 + 1;
                let record = Record::new(key::module(number), &[&[1], &m.unique_id.to_be_bytes()])?;
                if self.slots.push(Slot::new(number, m.unique_id, now)).is_err() {
                    return Ok(());
                }
                self.store(record)?;
                self.slots.len() - 1
            }
        };
        let node = index as u8 + 1;
        let slot = &mut self.slots[index];
        slot.heard = now;
        slot.registered = true;
        (slot.relay, slot.run) = (RelayState::Off, None);
        let registration = ModuleRegistration {
            node,
            controller: self.pack,
            manufacturer: m.manufacturer,
            part: m.part,
            unique_id: m.unique_id,
        };
        self.send_module_clear(&registration, UNREGISTERED)?;
        self.event(Event::ModuleRegistered { node });
        if self.slots[index].relation.is_paired() {
            return self.resume_module(index, now, rng);
        }
        self.send_module(index, now, &[pdu::IDENTIFY, 0])
    }

    // --- modules, security PDUs -----------------------------------------------------------------------

    fn module_id(index: usize) -> SecurityId {
        SecurityId::new(Bus::Can2, Direction::Ab, index as u8 + 1)
    }

    fn send_module(&mut self, index: usize, now: Instant, pdu: &[u8]) -> Result<(), Error> {
        self.can2.send_security(now, Self::module_id(index), pdu);
        Ok(())
    }

    fn resume_module(&mut self, index: usize, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let mut fx = Effects::new();
        self.slots[index].relation.resume(now, self.boot, &mut fx, rng)?;
        self.apply_module(index, now, fx)
    }

    fn module_security(
        &mut self,
        now: Instant,
        node: u8,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(index) = self.index(node) else {
            return Ok(());
        };
        self.slots[index].heard = now;
        match *message {
            [pdu::HANDSHAKE, ref m @ ..] => {
                let mut fx = Effects::new();
                let relation = &mut self.slots[index].relation;
                if relation.handshake(&self.own, m, now, self.boot, &mut fx, rng).is_err() {
                    self.refused.security = self.refused.security.saturating_add(1);
                }
                self.apply_module(index, now, fx)
            }
            [pdu::CERTIFICATE | pdu::BINDING | pdu::IDENTIFY, ..] => {
                if let [pdu::IDENTIFY, 1, ref body @ ..] = *message
                    && let Ok(who) = Introduced::parse(body)
                    && self.slots[index].relation.peer().is_none()
                {
                    self.slots[index].cid = Some(who.cid);
                }
                let relayed = pdu::build(&[&[pdu::RELAY, node], message])?;
                self.send_app(now, &relayed)
            }
            _ => {
                self.refused.security = self.refused.security.saturating_add(1);
                Ok(())
            }
        }
    }

    fn apply_module(&mut self, index: usize, now: Instant, mut fx: Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::ToPeer(pdu) => self.send_module(index, now, &pdu)?,
                Effect::ToAuthority(pdu) => self.send_app(now, &pdu)?,
                Effect::SealToPeer(tier, pdu) => self.seal_to_module(index, now, tier, &pdu)?,
                Effect::Store(record) => self.store(record)?,
                Effect::Event(event) => {
                    self.event(Event::Relation { node: index as u8 + 1, event });
                    if let RelationEvent::ChannelUp { challenge, .. } = event {
                        self.module_up(index, now, challenge)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A module's fresh epoch stands: it gets the group key, the time and the state it should hold.
    fn module_up(&mut self, index: usize, now: Instant, challenge: Option<u32>) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        slot.challenge = challenge;
        (slot.next_seq, slot.run, slot.heard, slot.repeat, slot.asked) = (0, None, now, now, now);
        let key = self.group_key.0.clone();
        let body = pdu::build(&[&[pdu::GROUP_KEY], &self.boot.to_be_bytes(), key.expose()])?;
        self.seal_to_module(index, now, Tier::Pair, &body)?;
        self.send_time(index, now)
    }

    fn send_time(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let Some(ms) = self.unix_ms(now) else {
            return Ok(());
        };
        let body = time_pdu(ms)?;
        self.seal_to_module(index, now, Tier::Pair, &body)
    }

    // --- modules, sealed ------------------------------------------------------------------------------

    fn seal_to_module(&mut self, index: usize, now: Instant, tier: Tier, pdu: &[u8]) -> Result<(), Error> {
        let id = Self::module_id(index);
        let sealed = id.sealed(Level::from_bits(u32::from(tier.level())));
        self.seal_module(index, now, sealed, id.base(), 0, pdu)
    }

    fn seal_module(
        &mut self,
        index: usize,
        now: Instant,
        id: SealedId,
        base: u16,
        h0: u8,
        body: &[u8],
    ) -> Result<(), Error> {
        let mut sealed = [0; crate::link::MESSAGE_MAX];
        let mut fx = Effects::new();
        let n = self.slots[index].relation.seal(&self.own, id, base, h0, &[body], &mut sealed, &mut fx)?;
        while let Some(Effect::Store(record)) = fx.pop_front() {
            self.store(record)?;
        }
        self.can2.send_sealed(now, id, &sealed[..n]);
        Ok(())
    }

    fn module_sealed(
        &mut self,
        now: Instant,
        id: SealedId,
        bytes: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(index) = self.index(id.device()) else {
            return Ok(());
        };
        let mut opened_body = heapless::Vec::<u8, { crate::link::MESSAGE_MAX }>::new();
        let (base, tier) = match self.slots[index].relation.open(id, bytes) {
            Ok(Opened { base, tier, signed: false, body }) => {
                opened_body.extend_from_slice(body).map_err(|_| Error::BufferTooSmall)?;
                (base, tier)
            }
            _ => {
                self.refused.sealed = self.refused.sealed.saturating_add(1);
                return Ok(());
            }
        };
        self.slots[index].heard = now;
        let node = index as u8 + 1;
        let security = Self::module_id(index).reversed().base();
        match (base, tier) {
            (b, _) if b == security => self.module_pdu(index, now, tier, &opened_body, rng),
            (ModuleScan::BASE, Tier::Exch) => {
                let Ok(scan) = ModuleScan::decode(&opened_body) else {
                    return Ok(());
                };
                self.module_status(index, scan.status);
                let head = [pdu::FORWARD, node, (base >> 8) as u8, base as u8];
                self.seal_to_app_parts(now, Tier::Exch, &[&head, &opened_body])
            }
            (ModuleStatusAll::BASE, Tier::Exch) => {
                if let Ok(status) = ModuleStatusAll::decode(&opened_body) {
                    self.module_status(index, status);
                }
                Ok(())
            }
            (ModuleHardware::BASE, Tier::Exch) => {
                if let Ok(m) = ModuleHardware::decode(&opened_body) {
                    self.slots[index].rating = Some(rating_of(&m));
                }
                Ok(())
            }
            _ => {
                self.refused.policy = self.refused.policy.saturating_add(1);
                Ok(())
            }
        }
    }

    fn module_status(&mut self, index: usize, status: ModuleStatusAll) {
        let slot = &mut self.slots[index];
        slot.relay = status.status1.state;
        slot.status = Some(status);
    }

    fn module_pdu(
        &mut self,
        index: usize,
        now: Instant,
        tier: Tier,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let node = index as u8 + 1;
        match *body {
            [pdu::CONFIRM, ref m @ ..] => {
                let mut fx = Effects::new();
                self.slots[index].relation.confirmed(tier, m, &mut fx)?;
                self.apply_module(index, now, fx)
            }
            [pdu::BATCH, 0, ref m @ ..] if tier == Tier::Pair => {
                self.seal_to_app_parts(now, Tier::Pair, &[&[pdu::BATCH, node], m])
            }
            [pdu::LEAF, _, ref m @ ..] => self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::LEAF, node], m]),
            [pdu::COMMAND_ACK, ref m @ ..] if tier == Tier::Pair => {
                let ack = Acknowledgement::parse(m)?;
                self.commanded(index, now, &ack, rng)
            }
            _ => {
                self.refused.policy = self.refused.policy.saturating_add(1);
                Ok(())
            }
        }
    }

    fn commanded(
        &mut self,
        index: usize,
        now: Instant,
        ack: &Acknowledgement,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        slot.challenge = Some(ack.challenge);
        let Some(run) = slot.run.take_if(|r| r.seq == ack.seq) else {
            return Ok(());
        };
        match ack.result {
            CommandResult::Done => {
                slot.relay = run.state;
                Ok(())
            }
            CommandResult::Stale => self.raise(index, now, rng),
            CommandResult::Refused => Ok(()),
        }
    }

    /// Signs a raised state for a module and sends it.
    fn raise(&mut self, index: usize, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        let (Some(challenge), Some(session), Some(spk)) =
            (slot.challenge, slot.relation.session(), slot.relation.own_spk())
        else {
            return Ok(());
        };
        let (body, len) = ModuleStateChange { state: slot.wanted, hv_bus_mv: 0 }.encode();
        let command = SignedCommand {
            base: ModuleStateChange::BASE,
            seq: slot.next_seq,
            challenge,
            ttl_ms: COMMAND_TTL_MS,
            command: &body[..len],
        };
        let signed = command.sign(session.th4(), session.epoch(), spk.signing_key(), rng)?;
        slot.run = Some(CommandRun { seq: slot.next_seq, state: slot.wanted, due: now + COMMAND_TIMEOUT });
        slot.next_seq = slot.next_seq.checked_add(1).ok_or(Error::Exhausted)?;
        let id = SealedId::new(ModuleStateChange::BASE, Level::Pair, Direction::Ab, index as u8 + 1)
            .map_err(|_| Error::Malformed)?;
        self.seal_module(index, now, id, ModuleStateChange::BASE, H0_SIGNED, &signed)
    }

    /// Repeats or lowers a module's state: sealed, without signature.
    fn hold(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        slot.repeat = now + REPEAT;
        let state = slot.wanted.min(slot.relay);
        slot.relay = state;
        let (body, len) = ModuleStateChange { state, hv_bus_mv: 0 }.encode();
        let id = SealedId::new(ModuleStateChange::BASE, Level::Pair, Direction::Ab, index as u8 + 1)
            .map_err(|_| Error::Malformed)?;
        self.seal_module(index, now, id, ModuleStateChange::BASE, 0, &body[..len])
    }

    fn ask_status(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        self.slots[index].asked = now;
        let id = SealedId::new(ModuleStatusRequest::BASE, Level::Exch, Direction::Ab, index as u8 + 1)
            .map_err(|_| Error::Malformed)?;
        self.seal_module(index, now, id, ModuleStatusRequest::BASE, 0, &[0])
    }

    // --- pack state -----------------------------------------------------------------------------------

    /// Brings modules and pack towards the requested state: one module leads, the others follow.
    fn advance(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let before = self.state;
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
            self.event(Event::State(self.state));
            if self.state == RelayState::Off {
                self.stop(now, rng)?;
            }
        }
        self.command_modules(now, rng)
    }

    fn command_modules(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if !slot.healthy() || !self.can2.has_room(48) {
                continue;
            }
            let waiting = slot.run.as_ref().is_some_and(|r| r.due > now);
            let (lower, raise) = (slot.wanted < slot.relay, slot.wanted > slot.relay);
            let repeat = slot.repeat <= now;
            let quiet =
                now.saturating_since(slot.heard) >= REPEAT && now.saturating_since(slot.asked) >= REPEAT;
            if raise && !waiting {
                self.raise(index, now, rng)?;
            } else if lower || repeat {
                self.hold(index, now)?;
            }
            if quiet {
                self.ask_status(index, now)?;
            }
        }
        Ok(())
    }

    /// The pack went Off: the cycle closes and everything measured gets signed.
    fn stop(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.first = None;
        if let Some(key) = self.signing_key() {
            self.meter.close(&key, now, rng)?;
            self.batcher.close(&key, now, rng)?;
        }
        self.send_statements(now)
    }

    fn signing_key(&self) -> Option<SigningKey> {
        self.app.own_spk().map(|spk| spk.signing_key().clone())
    }

    // --- app, clear and security ----------------------------------------------------------------------

    fn app_clear(&mut self, now: Instant, id: ClearId, body: &[u8]) -> Result<(), Error> {
        if id.node != self.pack {
            return Ok(());
        }
        let state = if self.app.is_paired() { DeviceState::Paired } else { DeviceState::Factory };
        if policy::required(Bus::Can1, id.base, state) != MinLevel::Clear {
            self.refused.policy = self.refused.policy.saturating_add(1);
            return Ok(());
        }
        match id.base {
            VcuKeepAlive::BASE => self.last_app = now,
            // Without a pairing the only state that is obeyed is the one that takes energy off the bus.
            VcuCommand::BASE => {
                self.last_app = now;
                if VcuCommand::decode(body).is_ok_and(|m| m.state == RelayState::Off) {
                    self.requested = RelayState::Off;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn app_id(&self) -> SecurityId {
        SecurityId::new(Bus::Can1, Direction::Ba, self.pack)
    }

    fn send_app(&mut self, now: Instant, pdu: &[u8]) -> Result<(), Error> {
        self.can1.send_security(now, self.app_id(), pdu);
        Ok(())
    }

    fn app_security(&mut self, now: Instant, message: &[u8], rng: &mut impl CryptoRng) -> Result<(), Error> {
        let result = match *message {
            [pdu::RELAY, node, ref inner @ ..] if !inner.is_empty() => match self.index(node) {
                Some(index) => self.send_module(index, now, inner),
                None => Err(Error::WrongParty),
            },
            [pdu::IDENTIFY, 0] => {
                let nodes = self.slots.iter().enumerate().filter(|(_, s)| s.registered);
                let nodes = nodes.fold(0u32, |bits, (i, _)| bits | 1 << i);
                let state = self.lifecycle();
                let assurance = self.app.binding().map_or(0, |(_, a)| a as u8);
                crate::relation::identify(&self.own, state, assurance, nodes)
                    .and_then(|pdu| self.send_app(now, &pdu))
            }
            [pdu::BINDING, op::CERTIFICATES | op::REGISTER, ..] => {
                let soc = crate::soc::from_cell_mv(self.mean_cell_mv());
                crate::relation::answer_identity(&self.own, &message[1..], soc, rng)
                    .and_then(|pdu| self.send_app(now, &pdu))
            }
            _ => self.relation_message(now, message, rng),
        };
        if result.is_err() {
            self.refused.security = self.refused.security.saturating_add(1);
        }
        Ok(())
    }

    /// 0 factory, 1 bound, 2 paired, 3 operational.
    fn lifecycle(&self) -> u8 {
        let modules = self.slots.iter().filter(|s| s.registered);
        match (self.app.peer().is_some(), self.app.is_paired()) {
            (_, true)
                if self.app.is_up() && modules.clone().count() > 0 && modules.clone().all(Slot::healthy) =>
            {
                3
            }
            (_, true) => 2,
            (true, false) => 1,
            (false, false) => 0,
        }
    }

    /// Routes what the authority or the app sends to the relationship it is about: node 0 is the app's own.
    fn relation_message(
        &mut self,
        now: Instant,
        message: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let authority = self.own.authority.sign_pub();
        let target = match *message {
            [pdu::HANDSHAKE, ..] => None,
            [pdu::CERTIFICATE, ref bytes @ ..] => {
                let cert = Certificate::parse(bytes)?;
                let metadata = ClearMetadata::decode(cert.clear_metadata)?;
                let own = self.own.cid();
                let partner = metadata.entities.iter().find(|e| e.cid != own).ok_or(Error::WrongParty)?;
                self.find(|s| s.relation.concerns(partner.cid), |app| app.concerns(partner.cid))?
            }
            [pdu::BINDING, op::REQUEST, ref bytes @ ..] => {
                let partner = BindRequest::open(bytes, &authority)?.partner;
                match partner.1 {
                    lct::id::Role::App => None,
                    _ => self.find(|s| s.cid == Some(partner.0), |_| false)?,
                }
            }
            [pdu::BINDING, op::INTRODUCTION, ref bytes @ ..] => {
                let id = Introduction::open(bytes, &authority)?.binding_id;
                self.find(|s| s.relation.is_about(id), |app| app.is_about(id))?
            }
            _ => return Err(Error::Malformed),
        };
        let relation = match target {
            None => &mut self.app,
            Some(index) => &mut self.slots[index].relation,
        };
        let mut fx = Effects::new();
        let result = match *message {
            [pdu::HANDSHAKE, ref m @ ..] => relation.handshake(&self.own, m, now, self.boot, &mut fx, rng),
            [pdu::CERTIFICATE, ref m @ ..] => {
                relation.certificate(&self.own, m, now, self.boot, &mut fx, rng)
            }
            [pdu::BINDING, op::REQUEST, ref m @ ..] => relation.bind_request(&self.own, m, &mut fx, rng),
            [_, _, ref m @ ..] => relation.introduction(&self.own, m, now, self.boot, &mut fx, rng),
            _ => Err(Error::Malformed),
        };
        match target {
            None => self.apply_app(now, fx)?,
            Some(index) => self.apply_module(index, now, fx)?,
        }
        result
    }

    fn find(
        &self,
        module: impl Fn(&Slot) -> bool,
        app: impl Fn(&Relation) -> bool,
    ) -> Result<Option<usize>, Error> {
        if app(&self.app) {
            return Ok(None);
        }
        self.slots.iter().position(module).map(Some).ok_or(Error::WrongParty)
    }

    fn apply_app(&mut self, now: Instant, mut fx: Effects) -> Result<(), Error> {
        while let Some(effect) = fx.pop_front() {
            match effect {
                Effect::ToPeer(pdu) | Effect::ToAuthority(pdu) => self.send_app(now, &pdu)?,
                Effect::SealToPeer(tier, pdu) => self.seal_to_app(now, tier, &pdu)?,
                Effect::Store(record) => self.store(record)?,
                Effect::Event(event) => {
                    if matches!(event, RelationEvent::ChannelUp { .. }) {
                        self.last_command = None;
                    }
                    self.event(Event::Relation { node: 0, event });
                }
            }
        }
        Ok(())
    }

    // --- app, sealed ----------------------------------------------------------------------------------

    fn seal_to_app(&mut self, now: Instant, tier: Tier, pdu: &[u8]) -> Result<(), Error> {
        self.seal_to_app_parts(now, tier, &[pdu])
    }

    fn seal_to_app_parts(&mut self, now: Instant, tier: Tier, parts: &[&[u8]]) -> Result<(), Error> {
        if tier != Tier::Bind && !self.app.is_up() {
            return Ok(());
        }
        let id = self.app_id();
        let sealed = id.sealed(Level::from_bits(u32::from(tier.level())));
        self.seal_app(now, sealed, id.base(), parts)
    }

    fn seal_app(&mut self, now: Instant, id: SealedId, base: u16, parts: &[&[u8]]) -> Result<(), Error> {
        let mut sealed = [0; crate::link::MESSAGE_MAX];
        let mut fx = Effects::new();
        let n = self.app.seal(&self.own, id, base, 0, parts, &mut sealed, &mut fx)?;
        while let Some(Effect::Store(record)) = fx.pop_front() {
            self.store(record)?;
        }
        self.can1.send_sealed(now, id, &sealed[..n]);
        Ok(())
    }

    fn app_sealed(
        &mut self,
        now: Instant,
        id: SealedId,
        bytes: &mut [u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let mut body = heapless::Vec::<u8, { crate::link::MESSAGE_MAX }>::new();
        let (base, tier, signed) = match self.app.open(id, bytes) {
            Ok(opened) => {
                body.extend_from_slice(opened.body).map_err(|_| Error::BufferTooSmall)?;
                (opened.base, opened.tier, opened.signed)
            }
            Err(_) => {
                self.refused.sealed = self.refused.sealed.saturating_add(1);
                return Ok(());
            }
        };
        self.last_app = now;
        match (base, signed, tier) {
            (b, false, _) if b == self.app_id().reversed().base() => self.app_pdu(now, tier, &body),
            (VcuKeepAlive::BASE, false, _) => Ok(()),
            (VcuCommand::BASE, true, Tier::Pair) => self.app_command(now, &body, rng),
            (VcuCommand::BASE, false, Tier::Pair) => match VcuCommand::decode(&body) {
                // Repeating or lowering needs no signature; raising does.
                Ok(m) if m.state <= self.requested => {
                    self.requested = m.state;
                    Ok(())
                }
                _ => {
                    self.refused.policy = self.refused.policy.saturating_add(1);
                    Ok(())
                }
            },
            _ => {
                self.refused.policy = self.refused.policy.saturating_add(1);
                Ok(())
            }
        }
    }

    fn app_command(&mut self, now: Instant, body: &[u8], rng: &mut impl CryptoRng) -> Result<(), Error> {
        let (Some(session), Some(peer)) = (self.app.session(), self.app.peer_spk()) else {
            return Ok(());
        };
        let command = match SignedCommand::open(body, session.th4(), session.epoch(), &peer.sign_pub()) {
            Ok(command) if command.base == VcuCommand::BASE => command,
            _ => {
                self.refused.security = self.refused.security.saturating_add(1);
                return Ok(());
            }
        };
        let stale =
            command.challenge != self.challenge || self.last_command.is_some_and(|s| command.seq <= s);
        let seq = command.seq;
        let result = match (stale, VcuCommand::decode(command.command)) {
            (true, _) => CommandResult::Stale,
            (false, Ok(m)) => {
                self.requested = m.state;
                CommandResult::Done
            }
            (false, Err(_)) => CommandResult::Refused,
        };
        if !stale {
            self.last_command = Some(seq);
            self.roll_challenge(rng);
        }
        let ack = acknowledgement(seq, result, self.challenge)?;
        self.seal_to_app(now, Tier::Pair, &ack)
    }

    fn app_pdu(&mut self, now: Instant, tier: Tier, body: &[u8]) -> Result<(), Error> {
        match *body {
            [pdu::TIME, ref t @ ..] if tier == Tier::Pair && t.len() == 6 => {
                let seconds = u32::from_be_bytes([t[0], t[1], t[2], t[3]]);
                let ms = u64::from(seconds) * 1_000 + u64::from(u16::from_be_bytes([t[4], t[5]]));
                let shown = self.unix_ms(now).unwrap_or(0);
                self.clock = Some((ms.max(shown), now));
                for index in 0..self.slots.len() {
                    if self.slots[index].relation.is_up() {
                        self.send_time(index, now)?;
                    }
                }
                Ok(())
            }
            [pdu::RECEIVED, node, kind, ref n @ ..] if n.len() == 8 => {
                let number = n.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
                match (node, kind) {
                    (0, pdu::ENERGY) => self.meter.acknowledge(number),
                    (0, pdu::BATCH) => {
                        if let Ok(first) = u32::try_from(number) {
                            self.batcher.acknowledge(first);
                        }
                    }
                    _ => return self.pass_down(now, node, Tier::Exch, body),
                }
                Ok(())
            }
            [pdu::LEAF, 0, ref s @ ..] if s.len() == 4 => {
                let seq = u32::from_be_bytes([s[0], s[1], s[2], s[3]]);
                match self.batcher.leaf(seq) {
                    Some(leaf) => self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::LEAF, 0], s, &leaf]),
                    None => Ok(()),
                }
            }
            [pdu::LEAF, node, ..] => self.pass_down(now, node, Tier::Exch, body),
            _ => {
                self.refused.policy = self.refused.policy.saturating_add(1);
                Ok(())
            }
        }
    }

    fn pass_down(&mut self, now: Instant, node: u8, tier: Tier, body: &[u8]) -> Result<(), Error> {
        match self.index(node) {
            Some(index) if self.slots[index].relation.is_up() => self.seal_to_module(index, now, tier, body),
            _ => Ok(()),
        }
    }

    fn roll_challenge(&mut self, rng: &mut impl CryptoRng) {
        let mut c = [0; 4];
        rng.fill_bytes(&mut c);
        self.challenge = u32::from_be_bytes(c);
        self.app.set_challenge(self.challenge);
    }

    // --- telemetry and energy -------------------------------------------------------------------------

    fn unix_ms(&self, now: Instant) -> Option<u64> {
        self.clock.map(|(ms, at)| ms + now.saturating_since(at).as_millis())
    }

    fn mean_cell_mv(&self) -> u32 {
        let means = self.slots.iter().filter_map(|s| s.status.map(|st| st.status2.cell_avg_mv));
        let (sum, n) = means.fold((0u32, 0u32), |(sum, n), mv| (sum + mv, n + 1));
        sum.checked_div(n).unwrap_or(0)
    }

    fn report(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let (Some(time_ms), Some(key)) = (self.unix_ms(now), self.signing_key()) else {
            return Ok(());
        };
        if self.state == RelayState::On {
            self.meter_energy(now, time_ms, &key, rng)?;
        }
        let (seq, reservation) = self.batcher.reserve()?;
        if let Some(record) = reservation {
            self.store(record)?;
        }
        let body = self.status(Stamp { seq, time_ms }).encode();
        // The record is made of what the receiver can read, in the steps of the wire.
        let heard = PackStatusAll::decode(&body).map_err(|_| Error::Malformed)?;
        self.batcher.push(&pack_record(self.own.cid(), &heard)?)?;
        let id = SealedId::new(PackStatusAll::BASE, Level::Pair, Direction::Ba, self.pack)
            .map_err(|_| Error::Malformed)?;
        self.seal_app(now, id, PackStatusAll::BASE, &[&body])?;
        if self.batcher.is_due(time_ms) {
            self.batcher.close(&key, now, rng)?;
        }
        self.send_statements(now)
    }

    /// Integrates the pack's own measurement. A cycle opens once every module has told its cells, and then counts
    /// from the first measurement in state On.
    fn meter_energy(
        &mut self,
        now: Instant,
        time_ms: u64,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if self.meter.can_open() {
            let first = *self.first.get_or_insert((time_ms, self.pack_mv, self.pack_ma));
            let told = |s: &Slot| s.status.is_some_and(|st| st.status2.cell_avg_mv > 0);
            if !self.slots.iter().filter(|s| s.healthy()).all(told) {
                return Ok(());
            }
            let soc = crate::soc::from_cell_mv(self.mean_cell_mv());
            let record = self.meter.open(soc, first.0, key, now, rng)?;
            self.store(record)?;
            self.meter.sample(first.0, first.1, first.2, key, now, rng)?;
            self.first = None;
        }
        self.meter.sample(time_ms, self.pack_mv, self.pack_ma, key, now, rng)
    }

    fn status(&self, stamp: Stamp) -> PackStatusAll {
        let healthy = self.slots.iter().filter(|s| s.healthy()).count() as u8;
        let registered = self.slots.iter().filter(|s| s.registered).count() as u8;
        crate::aggregate::pack_status(
            self.slots.iter().enumerate().filter(|(_, s)| s.healthy()).filter_map(|(i, s)| {
                s.status.map(|status| crate::aggregate::Part { node: i as u8 + 1, status, rating: s.rating })
            }),
            &crate::aggregate::Whole {
                state: self.state,
                modules_total: registered,
                modules_active: healthy,
                soc_ppm: self
                    .meter
                    .soc_ppm()
                    .unwrap_or_else(|| crate::soc::from_cell_mv(self.mean_cell_mv())),
                pack_mv: self.pack_mv,
                pack_ma: self.pack_ma,
                stamp,
            },
        )
    }

    fn send_statements(&mut self, now: Instant) -> Result<(), Error> {
        if !self.app.is_up() {
            return Ok(());
        }
        while self.can1.is_idle()
            && let Some(p) = self.batcher.poll(now)
        {
            let mut statement = [0; lct::record::BATCH_STATEMENT_MAX];
            let n = p.statement.encode(&mut statement)?;
            let head = [pdu::BATCH, 0, n as u8];
            self.seal_to_app_parts(now, Tier::Pair, &[&head, &statement[..n], &p.signature.0])?;
        }
        while self.can1.is_idle()
            && let Some(p) = self.meter.poll(now)
        {
            let head = [pdu::ENERGY, p.statement.len() as u8];
            self.seal_to_app_parts(now, Tier::Pair, &[&head, &p.statement, &p.signature.0])?;
        }
        Ok(())
    }

    fn store(&mut self, record: Record) -> Result<(), Error> {
        self.stores.push_back(record).map_err(|_| Error::BufferTooSmall)
    }

    fn event(&mut self, event: Event) {
        if self.events.is_full() {
            self.events.pop_front();
        }
        let kept = self.events.push_back(event);
        debug_assert!(kept.is_ok(), "room was made");
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
