//! The core: hosts the app role, commissions, collects. No sockets, no clock, no files.

mod authority;
mod carry;
mod field;
mod generate;
mod measured;
mod metrics;
mod receipts;
mod renewal;
mod search;
mod service;
mod statements;
mod validation;

pub(crate) use carry::status_of;
pub use carry::{CarriedTo, CarryRefused};
pub use generate::{KeysFor, KeysRefused};
use renewal::Resting;
use search::SEARCH;
use service::Service;

use crate::{
    anchor::Anchors,
    checkup::{Channel, Checkup, Echo},
    code::Plan,
    collect::{Batch, Collector, Verdict},
    commission::{Commissioner, Member, Reply, Request, Step},
    dispatch::Dispatch,
    ending::{Ending, Endings, Signer},
    keys::{FieldKey, FieldKeys, Keys, Standing},
    orders::Orders,
    outbox::Job,
};
use api::gateway::Bus;
use lct::{
    Digest,
    binding::Assurance,
    energy::{CycleClose, EnergyEvent},
    id::{BindingId, Role, SpkId},
    journal::{CHECKPOINT_LEN, Checkpoint},
    record::{BATCH_STATEMENT_MAX, BatchStatement},
    revocation::RevocationList,
    schedule::Tier,
    sign::{PublicKey, Signature},
    validation::{Access, EscalationReason, ValidationLevel},
};
use pack::{
    answers::DeviceKeys,
    app::{self, App, Party},
    bootstrap::{self, Offer},
    can::Frame,
    health::{Alert, Report},
    identity::{Identity, Loaded, Record},
    introduction::Introduced,
    journal::LogPart,
    message::{ModuleScan, PackStatusAll, RelayState},
    pdu::{self, Status},
    relation::RelationEvent,
    session::Alarm,
    telemetry::{module_record, pack_record},
    time::{Duration, Instant},
};
use rand_core::CryptoRng;
use std::collections::{BTreeMap, VecDeque};

/// How often the pack is told the time.
const TIME_PERIOD: Duration = Duration::from_secs(10);

/// After so long without a frame the bus is silent.
const BUS_SILENT: Duration = Duration::from_secs(5);

/// Tiers that a checkup tries on each channel.
const CHECKED: [Tier; 3] = [Tier::Exch, Tier::Pair, Tier::Bind];

/// Why the gateway cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A device did not answer.
    #[error("{who} does not answer during `{task}`; check its power and the bus, then start again")]
    Silent {
        /// What was being done.
        task: String,
        /// Who.
        who: String,
    },
    /// A device takes nothing from this authority.
    #[error(
        "{who} takes no part in `{task}`: it says that it obeys the authority {authority}, which is none of this \
         installation; it needs new factory data"
    )]
    Obeys {
        /// What was being done.
        task: String,
        /// Who.
        who: String,
        /// Whom it obeys.
        authority: SpkId,
    },
    /// A device refused.
    #[error("`{task}` was declined by the device: {status:?}")]
    Declined {
        /// What was being done.
        task: String,
        /// Its reason.
        status: Status,
    },
    /// A device refused a policy.
    #[error("{who} does not take the policy of {a} and {b}: {reason}")]
    Policy {
        /// Who.
        who: String,
        /// Side A of the binding.
        a: String,
        /// Side B.
        b: String,
        /// Why.
        reason: String,
    },
    /// The authority did not do what was asked.
    #[error("{0}")]
    Authority(String),
    /// Both ends completed another session.
    #[error("the two ends of `{0}` did not complete the same session")]
    Disagree(String),
    /// The authority answered something else than was asked.
    #[error("the authority's answer does not fit the question")]
    UnexpectedReply,
    /// A member without a name.
    #[error("a device answered that was never identified")]
    UnknownMember,
    /// Something did not verify or could not be built.
    #[error(transparent)]
    Link(#[from] lct::Error),
}

/// What the gateway wants done, in order.
#[derive(Debug)]
pub enum Output {
    /// Make durable before any frame that follows.
    Store(Record),
    /// Send on CAN 1.
    Transmit(Frame),
    /// Ask the authority and give the answer to [`Gateway::reply`].
    Ask(Box<Request>),
    /// Ask the bridge for the root of the ledger's state and give it to [`Gateway::verify`].
    Root,
    /// Put into the outbox; where there is a token, then call [`Gateway::kept`] with it and the number of the job, and
    /// [`Gateway::settled`] once that left the outbox, or [`Gateway::not_kept`] when it was not taken.
    Keep(Job, Option<Kept>),
    /// A key of which the ledger does not know: have the outbox note it before anything that follows.
    Learn(FieldKey),
    /// Write a part of a device's log; call [`Gateway::log_kept`] once it is durable.
    Log(LogOf, LogPart),
    /// What became of a request for keys ([`Gateway::generate_keys`]).
    Keys(KeysFor, Result<DeviceKeys, KeysRefused>),
    /// What became of a message that was to be carried ([`Gateway::carry`]): the answer of the device.
    Carried(CarriedTo, Result<Vec<u8>, CarryRefused>),
    /// Tell the owner.
    Event(Event),
}

/// Whose log a part belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOf {
    /// The component.
    pub cid: lct::id::Cid,
    from: Option<Party>,
}

/// Names a kept statement towards its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    party: Member,
    kind: u8,
    number: u64,
    /// Whose keys signed it: the device's, and the witness's if there is one.
    by: (PublicKey, Option<PublicKey>),
    /// Whether its device can sign it with its next key: not what a pack said in the binding with a module.
    again: bool,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The pack answered for the first time.
    Found(Introduced),
    /// Modules found so far.
    Modules(usize),
    /// A commissioning task was finished; its stable name must be stored to resume later.
    TaskDone(String),
    /// The channel to the pack stands in this epoch.
    ChannelUp(u32),
    /// The channel to the pack was rotated to this epoch.
    Rotated(u32),
    /// A full handshake is due: the authority is to be asked for a new pairing (H92).
    HandshakeDue,
    /// The channel to the pack was sent too much that did not open (H93).
    Alarm(Alarm),
    /// The pack took a commanded state.
    State(RelayState),
    /// A pack status arrived.
    PackStatus(Box<PackStatusAll>),
    /// A module's scan arrived.
    ModuleScan(u8, Box<ModuleScan>),
    /// A statement did not fit what arrived, or did not verify.
    Contradiction(Party),
    /// A person has to compare these six digits with those that the pack shows, and say so by [`Gateway::compare`].
    Compare(u32),
    /// The device channel to the pack stands.
    DeviceChannel(Assurance),
    /// No device channel came about; commissioning stands still.
    BootstrapFailed(bootstrap::Failure),
    /// The app took a revocation list with this number and so many entries; pack and modules are given it.
    Revocations(u32, usize),
    /// A policy was agreed to, or two were bound or paired anew, in operation.
    Renewed(String),
    /// Two were bound anew, and the ledger has it: keys and signers are to be given again.
    Bound,
    /// That did not come about, and is tried again later if it is still due: name and reason.
    NotRenewed(String, String),
    /// Between app and pack a level is required from now on; true when the app asked for it.
    Escalated(ValidationLevel, bool),
    /// Which faults a device has, and its counters.
    Health(Party, Box<Report>),
    /// A device alerts.
    Alert(Party, Alert),
    /// A checkup ended: what was found of each channel.
    Checked(Vec<Channel>),
    /// A device ended a pairing; its statement is on the way to the ledger.
    Unpaired(Ending),
    /// Everybody that is there obeys this authority, which followed the one that devices were made for.
    Follow(SpkId),
    /// A device obeys this one, which is none of the authorities that the present one followed: it takes nothing of it.
    Obeys(Member, SpkId),
    /// The app does not take what the authority says, for this reason; what it has it keeps.
    NotTaken(String),
}

/// Where commissioning stands.
enum Phase {
    Searching {
        due: Instant,
        seen: BTreeMap<Party, Introduced>,
        expected: usize,
        /// Nodes of those that were asked and did not answer yet.
        asked: Vec<u8>,
    },
    /// The device channel to the pack comes before the first binding.
    Bootstrapping {
        members: Vec<(Member, Introduced)>,
        begun: bool,
    },
    Commissioning(Box<Commissioner>),
    /// Everybody is commissioned; what remains are renewals.
    Operating(Box<Commissioner>),
}

/// The gateway of one pack.
pub struct Gateway {
    app: App,
    chain_id: Digest,
    phase: Phase,
    done: Vec<String>,
    keys: Keys,
    field: FieldKeys,
    /// Whether the outbox takes batches that have to be held.
    has_room: bool,
    cids: BTreeMap<Party, lct::id::Cid>,
    collector: Collector,
    outputs: VecDeque<Output>,
    unix_ms: Box<dyn Fn(Instant) -> u64 + Send>,
    wanted: Option<RelayState>,
    /// When the pack is told the time again.
    time_due: Instant,
    /// When something was heard on the bus last.
    heard: Option<Instant>,
    /// Answers that did not fit their question.
    misfits: u64,
    plan: Plan,
    checkup: Option<Checkup>,
    dispatch: Dispatch,
    said: authority::Said,
    /// Who is left alone for a while, after a renewal did not come about.
    resting: Resting,
    orders: Orders,
    service: Service,
    anchors: Anchors,
    /// The last statement of each that is in the outbox.
    stated: BTreeMap<Member, u64>,
    unheard: receipts::Unheard,
    endings: Endings,
    /// Everybody is to state its binding, once the root of the ledger's state is known.
    verify_all: bool,
    key_requests: generate::KeyRequests,
    carried: Vec<carry::Carried>,
    /// When those of the last minute began.
    carried_at: Vec<Instant>,
    /// What these keys sign waits with its device.
    held: Vec<PublicKey>,
    /// What the authority is to be asked later.
    postponed: Option<renewal::Postponed>,
    /// From when on what app and pack are to have stated is asked for again.
    owed: Option<Instant>,
}

impl Gateway {
    /// Starts the app role from its store. `done` lists the tasks finished earlier, `expected` how many modules to
    /// wait for; `unix_ms` is the host's clock.
    #[allow(clippy::too_many_arguments)]
    pub fn start(
        identity: Identity,
        chain_id: Digest,
        load: impl FnMut(u16) -> Loaded,
        done: Vec<String>,
        expected: usize,
        unix_ms: Box<dyn Fn(Instant) -> u64 + Send>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let app = App::start(identity, 0, load, now, rng)?;
        Ok(Gateway {
            app,
            chain_id,
            phase: Phase::Searching { due: now, seen: BTreeMap::new(), expected, asked: Vec::new() },
            done,
            keys: Keys::default(),
            field: FieldKeys::default(),
            has_room: true,
            cids: BTreeMap::new(),
            collector: Collector::default(),
            outputs: VecDeque::new(),
            unix_ms,
            wanted: None,
            time_due: now,
            heard: None,
            misfits: 0,
            plan: Plan::default(),
            checkup: None,
            dispatch: Dispatch::default(),
            said: authority::Said::default(),
            resting: Resting::default(),
            orders: Orders::default(),
            service: Service::default(),
            anchors: Anchors::default(),
            stated: BTreeMap::new(),
            unheard: receipts::Unheard::default(),
            endings: Endings::default(),
            verify_all: false,
            key_requests: generate::KeyRequests::default(),
            carried: Vec::new(),
            carried_at: Vec::new(),
            held: Vec::new(),
            postponed: None,
            owed: None,
        })
    }

    /// Says how app and pack establish each other's identity before they are bound; B1 until then.
    pub fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// The verdict of the person who compared the digits of [`Event::Compare`] with those of the pack.
    pub fn compare(&mut self, now: Instant, equal: bool) -> Result<(), Error> {
        Ok(self.app.compare(now, equal)?)
    }

    /// The hosted app role.
    pub fn app(&self) -> &App {
        &self.app
    }
    /// Records replaced by a leaf, and statements that could not be stored.
    pub fn losses(&self) -> (u64, u64) {
        (self.collector.gaps, self.collector.contradictions)
    }
    /// True when every task of commissioning is done.
    pub fn is_commissioned(&self) -> bool {
        matches!(self.phase, Phase::Operating(_))
    }
    /// True when every member is paired and the channel to the pack is up.
    pub fn is_operating(&self) -> bool {
        self.is_commissioned() && self.app.relation().is_up()
    }
    /// True when no statement waits for missing leaves.
    pub fn is_settled(&self) -> bool {
        self.collector.due().is_none() && self.outputs.is_empty()
    }
    /// Says where this app is found; it announces that once per start.
    pub fn set_access(&mut self, access: Access) {
        self.app.set_access(access);
    }

    /// Says what frames CAN 1 carries; classical until then.
    pub fn set_format(&mut self, format: pack::link::FrameFormat) {
        self.app.set_format(format);
    }

    /// Gives the verification keys of pack and modules, as the ledger has them: whose, in the binding with whom.
    pub fn set_keys(&mut self, keys: Keys) {
        let known = self.keys.of(Party::Pack).is_some();
        for party in self.cids.keys().filter(|party| self.keys.of(**party) != keys.of(**party)) {
            self.collector.forget(*party);
            if known {
                // Somebody was bound anew, and a pack answers for those who are bound to it.
                self.owed = Some(Instant::START);
            }
        }
        self.field.recorded(&keys);
        self.keys = keys;
        for (from, checkpoint) in self.anchors.take_early() {
            self.anchor(from, checkpoint);
        }
    }
    /// Names of pack and modules, once found.
    pub fn members(&self) -> Vec<(Party, lct::id::Cid)> {
        self.cids.iter().map(|(p, c)| (*p, *c)).collect()
    }

    /// The next thing to do.
    pub fn poll(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<Option<Output>, Error> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Ok(Some(output));
            }
            if let Some(output) = self.app.poll(now) {
                match output {
                    app::Output::Store(record) => return Ok(Some(Output::Store(record))),
                    app::Output::Transmit(frame) => return Ok(Some(Output::Transmit(frame))),
                    app::Output::Event(event) => self.happened(now, event, rng)?,
                }
                continue;
            }
            if !self.advance(now, rng)? {
                return Ok(None);
            }
        }
    }

    /// When [`Gateway::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Searching { due, .. } => Some(*due),
            Phase::Commissioning(c) | Phase::Operating(c) => c.due(),
            Phase::Bootstrapping { .. } => None,
        };
        let time = self.app.relation().is_up().then_some(self.time_due);
        let checkup = self.checkup.as_ref().and_then(Checkup::due);
        let dispatch = self.dispatch_due();
        let keys = self.key_requests.due();
        [
            keys,
            self.carry_due(),
            self.postponed_due(),
            self.owed_due(),
            self.word_due(),
            self.unheard.due(),
            phase,
            time,
            checkup,
            dispatch,
            self.service.due(),
            self.app.due(),
            self.collector.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes a frame from CAN 1.
    pub fn frame(&mut self, now: Instant, frame: &Frame, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.heard = Some(now);
        Ok(self.app.frame(now, frame, rng)?)
    }

    /// Whether something was heard on the bus within the last 5 s.
    pub fn bus(&self, now: Instant) -> Bus {
        let heard = self.heard.is_some_and(|at| now.saturating_since(at) <= BUS_SILENT);
        if heard { Bus::Up } else { Bus::Silent }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.app.tick(now, rng)?;
        if self.app.relation().is_up() && self.time_due <= now {
            self.time_due = now + TIME_PERIOD;
            self.app.set_time(now, (self.unix_ms)(now))?;
        }
        for (party, verdict) in self.collector.tick(now) {
            self.judge(now, party, verdict)?;
        }
        self.go_on_checking(now, rng)?;
        self.give_successions(now, rng)?;
        self.tell_time(now)?;
        self.give_list(now)?;
        self.serve(now, rng);
        self.validate(now, rng);
        self.ask_keys(now, rng);
        self.give_carried(now, rng);
        self.ask_postponed(now);
        self.acknowledge_due(now)?;
        self.state_owed(now);
        match &mut self.phase {
            Phase::Searching { due, asked, .. } if *due <= now => {
                *due = now + SEARCH;
                asked.clear();
                self.app.send(now, Party::Pack, &[pdu::IDENTIFY, 0])?;
                self.ask_modules(now)
            }
            Phase::Commissioning(c) => c.tick(now, |member| self.said.stranger(member)),
            Phase::Operating(c) => {
                let done = c.tick(now, |member| self.said.stranger(member));
                self.renewed_or_not(now, done)
            }
            _ => Ok(()),
        }
    }

    /// The authority's answer to the last [`Output::Ask`].
    pub fn reply(&mut self, now: Instant, reply: Reply) -> Result<(), Error> {
        self.postponed = None;
        match &mut self.phase {
            Phase::Commissioning(c) => c.reply(now, reply),
            Phase::Operating(c) => {
                let done = c.reply(now, reply);
                self.renewed_or_not(now, done)
            }
            _ => Err(Error::UnexpectedReply),
        }
    }

    /// The part of a device's log with this receipt is durable.
    pub fn log_kept(&mut self, now: Instant, of: LogOf, receipt: u64) -> Result<(), Error> {
        match of.from {
            Some(party) => self.received(now, party, pdu::AUDIT, receipt),
            None => {
                self.app.log_kept(receipt);
                Ok(())
            }
        }
    }

    /// Tells a device that its statement is kept. Without a channel nobody can be told, and the device says it again.
    fn received(&mut self, now: Instant, party: Party, kind: u8, number: u64) -> Result<(), Error> {
        if !self.app.relation().is_up() {
            return Ok(());
        }
        Ok(self.app.received(now, party, kind, number)?)
    }

    fn log(&mut self, from: Option<Party>, part: LogPart) {
        let cid = match from {
            None => Some(self.app.identity().cid()),
            Some(party) => self.cids.get(&party).copied(),
        };
        // Whoever is not known by name yet repeats its entry.
        if let Some(cid) = cid {
            let checkpoint = if let LogPart::Checkpoint(bytes) = &part { Some(*bytes) } else { None };
            self.outputs.push_back(Output::Log(LogOf { cid, from }, part));
            if let Some(checkpoint) = checkpoint {
                self.anchor(from, checkpoint);
            }
        }
    }

    /// Sends a checkpoint on its way to the ledger, once the key is known that it is signed with.
    fn anchor(&mut self, from: Option<Party>, checkpoint: [u8; CHECKPOINT_LEN]) {
        let fits = |key: &PublicKey| Checkpoint::open(&checkpoint, key).is_ok();
        let key = match from {
            Some(party) => self.measured_by(party, fits),
            None => self.signed_by((None, Some(Party::Pack)), fits),
        };
        let goes = |key: &PublicKey| !self.field.is_void(key) && (self.has_room || !self.field.has(key));
        let Some(key) = key.filter(goes) else {
            // Its key comes, or room.
            self.anchors.wait(from, checkpoint);
            if let Some(party) = from.filter(|party| key.is_none() && self.is_measuring(*party)) {
                self.event(Event::Contradiction(party));
            }
            return;
        };
        match self.anchors.job(from, &checkpoint, key) {
            Ok(job) => self.outputs.extend(job.map(|job| Output::Keep(job, None))),
            Err(_) => from.into_iter().for_each(|party| self.event(Event::Contradiction(party))),
        }
    }

    /// Wants the pack in `state`; without a channel it is told when there is one.
    pub fn set_state(
        &mut self,
        now: Instant,
        state: RelayState,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        self.wanted = Some(state);
        if !self.app.relation().is_up() {
            return Ok(());
        }
        Ok(self.app.set_state(now, state, rng)?)
    }

    /// Begins a checkup of every channel; [`Event::Checked`] tells what it found. A second one while one is under way
    /// changes nothing.
    pub fn check(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if self.checkup.is_none() {
            self.checkup = Some(Checkup::new(self.cids.keys().copied(), &CHECKED));
        }
        self.go_on_checking(now, rng)
    }

    fn go_on_checking(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        let Some(checkup) = &mut self.checkup else { return Ok(()) };
        if let Some(Echo { party, tier, nonce }) = checkup.poll(now, || rng.next_u32()) {
            // A channel that is not up takes no echo: it is found closed when nothing comes back.
            return match self.app.echo(now, party, tier, nonce) {
                Ok(()) | Err(lct::Error::InvalidKey) => Ok(()),
                Err(e) => Err(e.into()),
            };
        }
        if let Some(found) = checkup.finished() {
            self.checkup = None;
            self.event(Event::Checked(found));
        }
        Ok(())
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Moves commissioning on; true when there may be more to do at once.
    fn advance(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<bool, Error> {
        match &mut self.phase {
            Phase::Searching { seen, expected, .. } => {
                let modules = seen.keys().filter(|p| **p != Party::Pack).count();
                if !seen.contains_key(&Party::Pack) || modules < *expected {
                    return Ok(false);
                }
                let members: Vec<(Member, Introduced)> =
                    std::mem::take(seen).into_iter().map(|(p, who)| (Some(p), who)).collect();
                if self.plan.needs_channel() && self.app.relation().binding().is_none() {
                    self.phase = Phase::Bootstrapping { members, begun: false };
                    return Ok(true);
                }
                self.commission(members);
                Ok(true)
            }
            Phase::Bootstrapping { members, begun } => {
                let pack = *self.cids.get(&Party::Pack).ok_or(Error::UnknownMember)?;
                let bootstrap = self.app.bootstrap();
                let coded = self.plan.code.is_some();
                let serves = |o: Offer| o.cid == pack && (!coded || o.assurance == Assurance::Code);
                if bootstrap.offer().is_some_and(serves) {
                    let members = std::mem::take(members);
                    self.commission(members);
                    return Ok(true);
                }
                // A channel that was made before this start may come back.
                if bootstrap.is_resuming() || std::mem::replace(begun, true) {
                    return Ok(false);
                }
                match &self.plan.code {
                    Some(code) => {
                        let secret = crate::code::stretch(code, &pack)?;
                        self.app.begin_code(now, pack, &secret, rng)?;
                    }
                    None => self.app.begin_plain(now, pack, rng)?,
                }
                Ok(true)
            }
            Phase::Commissioning(_) | Phase::Operating(_) if self.said.holds_up(now) => Ok(false),
            Phase::Commissioning(c) => {
                match c.poll(now, &mut |bytes| rng.fill_bytes(bytes))? {
                    Some(Step::Finished(task)) => {
                        let name = c.task_name(task);
                        self.done.push(name.clone());
                        self.event(Event::TaskDone(name));
                    }
                    Some(step) => self.give(now, step, rng)?,
                    None if c.is_finished() => self.operate(),
                    None => return Ok(false),
                }
                Ok(true)
            }
            Phase::Operating(_) => self.advance_renewal(now, rng),
        }
    }

    fn go(&mut self, now: Instant, step: Step, rng: &mut impl CryptoRng) -> Result<(), Error> {
        match step {
            Step::Send(None, bytes) => match self.app.authority(now, &bytes, rng) {
                // The own role is asked again like the others.
                Err(lct::Error::Exhausted | lct::Error::BufferTooSmall) => Ok(()),
                judged => Ok(judged?),
            },
            Step::Send(Some(to), bytes) => Ok(self.app.send(now, to, &bytes)?),
            Step::Ask(request) => {
                self.outputs.push_back(Output::Ask(request));
                Ok(())
            }
            Step::Finished(_) => Ok(()),
        }
    }

    /// Begins with the tasks of commissioning.
    fn commission(&mut self, members: Vec<(Member, Introduced)>) {
        let own = self.app.identity();
        let me = Introduced {
            cid: own.cid(),
            role: Role::App,
            state: 0,
            assurance: 0,
            hardware: own.hardware,
            firmware: own.firmware,
            nodes: 0,
            component_id: own.component_id.clone(),
        };
        let commissioner =
            Commissioner::new(own.clone(), self.chain_id, me, members, &self.done, self.plan.assurance);
        self.phase = Phase::Commissioning(Box::new(commissioner));
    }

    fn happened(&mut self, now: Instant, event: app::Event, rng: &mut impl CryptoRng) -> Result<(), Error> {
        match event {
            app::Event::Identified(party, who) => {
                self.identified(now, party, who);
                self.ask_modules(now)?;
            }
            app::Event::Answer(_, bytes) if bytes.starts_with(&[pdu::VALIDATION, pdu::validation::EVENT]) => {
                self.ended(now + service::SETTLED, &bytes[2..]);
            }
            app::Event::ModuleUnpaired(node, status) => self.module_unpaired(node, status),
            app::Event::ModuleRotated(node, _) => self.rotated(node),
            app::Event::Answer(from, bytes) if self.keys_answered(from, &bytes) => {}
            app::Event::Answer(from, bytes) if self.carried_answered(from, &bytes) => {}
            app::Event::Answer(from, bytes) => {
                self.succession_answered(now, from, &bytes, rng)?;
                if let Some(party) = from {
                    self.dispatch.answered(party, &bytes);
                }
                if let Phase::Commissioning(c) | Phase::Operating(c) = &mut self.phase {
                    // An answer that does not fit may be anybody's: the device is asked again until it fits.
                    if c.answer(now, from, &bytes).is_err() {
                        self.misfits += 1;
                    }
                }
            }
            app::Event::Relation(RelationEvent::ChannelUp { epoch, .. }) => {
                self.time_due = now + TIME_PERIOD;
                self.owe_time(now)?;
                self.app.set_time(now, (self.unix_ms)(now))?;
                self.event(Event::ChannelUp(epoch));
                if let Some(state) = self.wanted {
                    self.app.set_state(now, state, rng)?;
                }
            }
            app::Event::Relation(RelationEvent::Failed { .. }) if self.app.relation().is_paired() => {
                // The pack may be without power; it asks for a run itself when it starts.
            }
            app::Event::Relation(RelationEvent::Escalated { target, reason, own, .. }) => {
                self.escalated(now, target, reason, own, rng)?;
            }
            app::Event::Relation(RelationEvent::Rotated { epoch }) => {
                self.rotated(0);
                self.event(Event::Rotated(epoch));
            }
            app::Event::Relation(RelationEvent::Unpaired { .. }) => self.unpaired(),
            app::Event::Relation(RelationEvent::HandshakeDue) => self.handshake_due(),
            app::Event::Relation(RelationEvent::Alarm { alarm, .. }) => self.event(Event::Alarm(alarm)),
            app::Event::Relation(_) => {}
            app::Event::Bootstrap(event) => match event {
                bootstrap::Event::Compare { digits } => self.event(Event::Compare(digits)),
                bootstrap::Event::ChannelUp { assurance } => self.event(Event::DeviceChannel(assurance)),
                bootstrap::Event::Failed(failure) => self.event(Event::BootstrapFailed(failure)),
                // Window and tries are the pack's.
                bootstrap::Event::WindowOpened
                | bootstrap::Event::WindowClosed
                | bootstrap::Event::Tried { .. } => {}
            },
            app::Event::PackStatus(status) => {
                if let Some(cid) = self.cids.get(&Party::Pack) {
                    self.collector.record(Party::Pack, &pack_record(*cid, &status)?)?;
                }
                self.event(Event::PackStatus(Box::new(status)));
            }
            app::Event::ModuleScan(node, scan) => {
                if let Some(cid) = self.cids.get(&Party::Module(node)) {
                    self.collector.record(Party::Module(node), &module_record(*cid, &scan)?)?;
                }
                self.event(Event::ModuleScan(node, Box::new(scan)));
            }
            app::Event::Batch(party, statement, signature) => self.batch(now, party, statement, signature)?,
            app::Event::Energy(statement, signature) => self.energy(&statement, signature),
            app::Event::Metrics(node, statement, signature) => self.metrics(node, &statement, signature),
            app::Event::Leaf(party, seq, leaf) => {
                if let Some(verdict) = self.collector.leaf(party, seq, leaf) {
                    self.judge(now, party, verdict)?;
                }
            }
            app::Event::Echo(party, tier, nonce, generation) => {
                if let Some(checkup) = &mut self.checkup {
                    checkup.answered(now, Echo { party, tier, nonce }, generation);
                }
                self.go_on_checking(now, rng)?;
            }
            app::Event::Log(from, part) => self.log(from, part),
            app::Event::Told(from, told) => self.told(now, from, &told)?,
            app::Event::Health(party, report) => self.event(Event::Health(party, Box::new(report))),
            app::Event::Alert(party, alert) => self.event(Event::Alert(party, alert)),
            app::Event::Clear(..) | app::Event::Announced { .. } => {}
            app::Event::Commanded(state, _) => self.event(Event::State(state)),
        }
        Ok(())
    }
}
