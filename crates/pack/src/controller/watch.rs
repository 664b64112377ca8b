//! What a pack controller watches over: who may tell it what, its own limits and those of its modules, the group
//! key, what it tells about its health, and the clear telemetry that its pairings allow (`spec/can.md`, C100 to
//! C115).

use super::*;
use crate::{
    digest::{DigestReceiver, DigestSender, Verdict},
    fault::Severity,
    gate::{Arrival, Standing, judge, screen},
    group::LIFETIME,
    health::{Alert, Health, Report},
    message::{
        BmsData1, BmsData2, BmsData3, BmsData8, BmsData9, BmsData10, ModuleCellCommStatus1,
        ModuleHardwareRequest, ModuleStatus1, ModuleStatus2, ModuleStatus3,
    },
    policy::{Effect as Change, Protection},
    protection::TripLimits,
};

/// How long a stored pairing may be without a fresh epoch before that is a fault.
const CHANNEL_LOST: Duration = Duration::from_secs(10);
/// Pause between two modules that are given something, so that a command that comes in between finds the bus free: key
/// and time take 4 ms of it.
const GIFT_PAUSE: Duration = Duration::from_millis(8);
/// Frames that must fit before a module is given something, so that commands find room behind it.
const GIFT_ROOM: usize = 96;

/// What a pack keeps for its watch.
pub(super) struct Watch {
    pub(super) limits: TripLimits,
    /// A trip holds the pack Off until the app commands Off.
    latched: bool,
    /// When the app's channel was last seen up.
    app_up: Instant,
    /// Tells what the pack leaves clear on CAN 1.
    digest: Option<DigestSender>,
    /// When the next module is given what it waits for.
    gifts: Option<Instant>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Watch { limits: TripLimits::default(), latched: false, app_up: now, digest: None, gifts: None }
    }
}

/// What a module is given under its channel.
#[derive(Clone, Copy, Default)]
pub(super) struct Gifts {
    /// The group key.
    pub(super) key: bool,
    /// The time, if there is one.
    pub(super) time: bool,
    /// The question what flowed through it (H241).
    pub(super) energy: bool,
}

impl Gifts {
    fn any(self) -> bool {
        self.key || self.time || self.energy
    }
}

/// What a pack keeps for its watch over one module.
pub(super) struct ModuleWatch {
    /// When its channel was last seen up.
    up: Instant,
    /// Compares what it leaves clear.
    digest: Option<DigestReceiver>,
    /// Generation of the group key that it was given in this epoch or an earlier one.
    generation: Option<u32>,
    /// What it waits for.
    pub(super) due: Gifts,
    /// Code of the trip that it told about.
    trip: Option<u16>,
    /// Told a capability with wrong signs.
    incompatible: bool,
}

impl ModuleWatch {
    pub(super) fn new(now: Instant) -> Self {
        ModuleWatch {
            up: now,
            digest: None,
            generation: None,
            due: Gifts::default(),
            trip: None,
            incompatible: false,
        }
    }
}

impl ModuleWatch {
    /// The module told about a trip that holds on.
    pub(super) fn is_tripped(&self) -> bool {
        self.trip.is_some()
    }

    /// What it told is no more than that of another one.
    pub(super) fn forget(&mut self) {
        (self.trip, self.incompatible) = (None, false);
    }
}

impl Controller {
    /// Active faults and counters of this pack controller.
    pub fn health(&self) -> &Health {
        &self.device.health
    }

    /// True while a trip of the pack or of a module keeps it Off.
    pub fn tripped(&self) -> bool {
        self.watch.latched || self.device.health.tripped()
    }

    // --- what may be acted upon -----------------------------------------------------------------------

    pub(super) fn screen(&mut self, now: Instant, bus: Bus, frame: &Frame) -> bool {
        let (pack, own) = match bus {
            Bus::Can1 => (Some(self.pack), Direction::Ba),
            Bus::Can2 => (None, Direction::Ab),
        };
        let mine = |device: u8| pack.is_none_or(|pack| pack == device);
        let standing = |device: u8| match bus {
            Bus::Can1 => (device == self.pack).then(|| self.app_standing(now)),
            Bus::Can2 => self.index(device).map(|i| self.device.standing(now, &self.slots[i].relation)),
        };
        let screened = screen(bus, own, frame, mine, standing);
        self.device.screen(now, frame, screened)
    }

    /// Where this pack stands towards the app: a device channel counts, and so does the window that somebody opened
    /// at the pack.
    fn app_standing(&self, now: Instant) -> Standing<'_> {
        Standing {
            state: self.app_state(),
            window_open: self.bootstrap.is_window_open(now),
            ..self.device.standing(now, &self.app)
        }
    }

    /// The gate for a message of the app with its exact base; what it refuses is counted.
    pub(super) fn app_admits(
        &mut self,
        now: Instant,
        base: u16,
        body: &[u8],
        protection: Protection,
    ) -> bool {
        let effect = match (base, VcuCommand::decode(body)) {
            // What a signed command changes is judged after its signature: it may raise.
            _ if protection == Protection::PairSigned => Change::Raise,
            (VcuCommand::BASE, Ok(m)) if m.state == RelayState::Off => Change::Stop,
            (VcuCommand::BASE, Ok(m)) if m.state > self.requested => Change::Raise,
            _ => Change::Hold,
        };
        let arrival = Arrival { bus: Bus::Can1, base, direction: Direction::Ab, protection, effect };
        if let Err(denied) = judge(&arrival, &self.app_standing(now)) {
            self.device.deny(now, base, denied);
            return false;
        }
        // A signed command is answered, not dropped: it is judged with its content.
        let asked =
            assurance::of_message(Bus::Can1, base, effect).filter(|_| protection != Protection::PairSigned);
        asked.is_none_or(|operation| self.device.may(now, 0, base, operation, &mut self.app))
    }

    /// The gate for a message of the module in a slot.
    pub(super) fn module_admits(
        &mut self,
        now: Instant,
        index: usize,
        base: u16,
        protection: Protection,
    ) -> bool {
        let arrival =
            Arrival { bus: Bus::Can2, base, direction: Direction::Ba, protection, effect: Change::Hold };
        let judged = judge(&arrival, &self.device.standing(now, &self.slots[index].relation));
        judged.map_err(|denied| self.device.deny(now, base, denied)).is_ok()
    }

    /// The gate for a sealed PDU, which has no base of its own.
    pub(super) fn pdu_admits(
        &mut self,
        now: Instant,
        id: SecurityId,
        kind: Option<&u8>,
        arrived: Protection,
    ) -> bool {
        let Some(kind) = kind else { return false };
        let judged = gate::pdu(*kind, id.direction(), arrived);
        judged.map_err(|denied| self.device.deny(now, id.base(), denied)).is_ok()
    }

    // --- requests of the app --------------------------------------------------------------------------

    /// An entitled sender wants this state. Off ends what a trip latched.
    pub(super) fn want(&mut self, state: RelayState) {
        self.requested = state;
        if state == RelayState::Off {
            self.watch.latched = false;
            TripLimits::release(&mut self.device.health);
        }
    }

    /// The pack goes Off by itself and stays there until it is commanded Off.
    fn trip(&mut self) {
        self.watch.latched = true;
        self.requested = RelayState::Off;
    }

    // --- clear telemetry ------------------------------------------------------------------------------

    /// A clear message of a paired module that its certificate allows: shown, never relied upon. It changes no
    /// relay state and no limit.
    pub(super) fn listed(&mut self, index: usize, frame: &Frame, base: u16, body: &[u8]) {
        let slot = &mut self.slots[index];
        if let Some(digest) = &mut slot.watch.digest {
            digest.heard(frame);
        }
        let Some(status) = &mut slot.status else { return };
        match base {
            ModuleStatus1::BASE => {
                if let Ok(m) = ModuleStatus1::decode(body) {
                    status.status1 = ModuleStatus1 { state: status.status1.state, ..m };
                }
            }
            ModuleStatus2::BASE => status.status2 = ModuleStatus2::decode(body).unwrap_or(status.status2),
            ModuleStatus3::BASE => status.status3 = ModuleStatus3::decode(body).unwrap_or(status.status3),
            ModuleCellCommStatus1::BASE => {
                status.comm = ModuleCellCommStatus1::decode(body).unwrap_or(status.comm);
            }
            _ => {}
        }
    }

    /// A module's digest of what it left clear.
    pub(super) fn module_digest(&mut self, index: usize, now: Instant, body: &[u8]) -> Result<(), Error> {
        let Some(digest) = &mut self.slots[index].watch.digest else { return Ok(()) };
        let verdict = digest.check(now, body)?;
        let (node, in_a_row) = (index as u8 + 1, digest.unverified());
        if let Some(altered) = verdict.and_then(unproved) {
            self.device.health.digest(now, node, altered, in_a_row);
        }
        Ok(())
    }

    /// Once a window: the messages of the pack that may stay clear on CAN 1, then their digest.
    fn send_listed(&mut self, now: Instant) -> Result<(), Error> {
        if self.watch.digest.as_ref().is_none_or(|digest| digest.due() > now) {
            return Ok(());
        }
        let (status, pack) = (self.status(Stamp::default()), self.pack);
        let frames = [
            (BmsData1::BASE, status.data1.frame(pack)),
            (BmsData2::BASE, status.data2.frame(pack)),
            (BmsData3::BASE, status.data3.frame(pack)),
            (BmsData8::BASE, status.data8.frame(pack)),
            (BmsData9::BASE, status.data9.frame(pack)),
            (BmsData10::BASE, status.data10.frame(pack)),
        ];
        for (base, frame) in frames {
            let frame = frame.map_err(|_| Error::Malformed)?;
            if self.app.clear_now(now).contains(&base)
                && let Some(digest) = &mut self.watch.digest
            {
                digest.sent(&frame);
                self.can1.send_frame(frame);
            }
        }
        // Behind the frames that it covers, on the same queue.
        match self.watch.digest.as_mut().map(|digest| digest.close(now)).transpose()? {
            Some(body) => self.seal_to_app(now, Tier::Exch, &body),
            None => Ok(()),
        }
    }

    // --- health ---------------------------------------------------------------------------------------

    /// A module's report, passed on to the app with its node.
    pub(super) fn module_health(&mut self, index: usize, now: Instant, body: &[u8]) -> Result<(), Error> {
        let (_, report) = Report::parse(body)?;
        let trip = report.faults.iter().find(|f| f.is_trip()).map(|f| f.code);
        self.module_trip(index, now, trip);
        let node = index as u8 + 1;
        self.seal_to_app_parts(now, Tier::Exch, &[&[pdu::HEALTH, node], body.get(1..).unwrap_or_default()])
    }

    /// A module's alert, passed on to the app with its node.
    pub(super) fn module_alert(&mut self, index: usize, now: Instant, body: &[u8]) -> Result<(), Error> {
        let (_, alert) = Alert::parse(body)?;
        let node = index as u8 + 1;
        if alert.severity() == Severity::Trip {
            self.module_trip(index, now, Some(alert.code));
        }
        self.device.event(Event::Alert { node, alert });
        self.seal_to_app(now, Tier::Pair, &alert.to_pdu(node)?)
    }

    fn module_trip(&mut self, index: usize, now: Instant, trip: Option<u16>) {
        self.slots[index].watch.trip = trip;
        match trip {
            Some(code) => {
                self.device.health.raise(
                    now,
                    FaultCode::ModuleTripped,
                    u32::from(index as u8 + 1) << 16 | u32::from(code),
                );
                self.trip();
            }
            None => self.end_trip(),
        }
    }

    /// The fault ends once no module tells of a trip. The pack stays Off all the same until it is commanded Off.
    pub(super) fn end_trip(&mut self) {
        if !self.slots.iter().any(|slot| slot.watch.is_tripped()) {
            self.device.health.end(FaultCode::ModuleTripped);
        }
    }

    /// A module told its capability; wrong signs are a fault (`rating_of` makes them a limit of 0 A).
    pub(super) fn told_hardware(&mut self, index: usize, now: Instant, m: &ModuleHardware) {
        self.slots[index].watch.incompatible = m.max_charge_ma < 0 || m.max_discharge_ma > 0;
        self.slots[index].rating = Some(rating_of(m));
        self.judge_hardware(now);
    }

    pub(super) fn judge_hardware(&mut self, now: Instant) {
        let wrong = self.slots.iter().position(|s| s.watch.incompatible);
        match wrong {
            Some(index) => {
                self.device.health.raise(now, FaultCode::HardwareIncompatible, index as u32 + 1);
            }
            None => self.device.health.end(FaultCode::HardwareIncompatible),
        }
    }

    /// Asks for a capability that did not arrive (C117).
    pub(super) fn ask_hardware(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let base = ModuleHardwareRequest::BASE;
        let id =
            SealedId::new(base, Level::Exch, Direction::Ab, index as u8 + 1).map_err(|_| Error::Malformed)?;
        self.seal_module(index, now, id, base, 0, &[0])
    }

    /// The pack's own sensor against the narrowest rating of its healthy modules.
    pub(super) fn protect(&mut self, now: Instant) {
        let ratings = || self.slots.iter().filter(|s| s.healthy()).filter_map(|s| s.rating);
        let (Some(charge_ma), Some(discharge_ma)) =
            (ratings().map(|r| r.charge_ma).min(), ratings().map(|r| r.discharge_ma).max())
        else {
            return;
        };
        let narrowest = Rating { charge_ma, discharge_ma, end_of_charge_mv: 0 };
        let before = self.device.health.tripped();
        self.watch.limits.judge_current(now, self.pack_ma, &narrowest, &mut self.device.health);
        if self.device.health.tripped() && !before {
            self.trip();
        }
    }

    /// Conditions that only time shows.
    pub(super) fn watch_conditions(&mut self, now: Instant) {
        let silence = now.saturating_since(self.last_app);
        if silence < APP_SILENCE[0] {
            self.device.health.end(FaultCode::AppSilent);
        }
        if self.app.is_up() || !self.app.is_paired() {
            self.watch.app_up = now;
        }
        let mut lost = u32::from(now >= self.watch.app_up + CHANNEL_LOST);
        let mut silent = 0u32;
        for (node, slot) in (1u32..).zip(&mut self.slots) {
            if slot.relation.is_up() || !slot.relation.is_paired() || !slot.registered {
                slot.watch.up = now;
            }
            lost |= u32::from(now >= slot.watch.up + CHANNEL_LOST) << node;
            silent |= u32::from(slot.registered && slot.silent) << node;
        }
        for (code, nodes) in [(FaultCode::ChannelLost, lost), (FaultCode::ModuleSilent, silent)] {
            if nodes == 0 {
                self.device.health.end(code);
            } else {
                self.device.health.raise(now, code, nodes);
            }
        }
        for (node, slot) in (1u8..).zip(&mut self.slots) {
            if let Some(digest) = slot.watch.digest.as_mut().filter(|_| slot.relation.is_up())
                && digest.due() <= now
            {
                digest.missed(now);
                self.device.health.digest(now, node, false, digest.unverified());
            }
        }
        let [one, two] = [self.can1.counters(), self.can2.counters()];
        self.device.health.set_incomplete(one.incomplete.saturating_add(two.incomplete));
        self.device.health.tick(now);
    }

    pub(super) fn watch_due(&self) -> [Option<Instant>; 5] {
        let health = &self.device.health;
        let up = self.app.is_up();
        [
            up.then(|| health.report_due()),
            health.alert_due().filter(|_| up),
            self.watch.digest.as_ref().filter(|_| up).map(DigestSender::due),
            Some(self.group.due()),
            self.watch.gifts,
        ]
    }

    /// Tells what is due about faults, and what the pairing lets stay clear.
    pub(super) fn tell(&mut self, now: Instant) -> Result<(), Error> {
        if !self.app.is_up() {
            return Ok(());
        }
        if let Some(alert) = self.device.health.poll_alert(now) {
            self.seal_to_app(now, Tier::Pair, &alert.to_pdu(0)?)?;
        }
        if let Some(report) = self.device.health.poll_report(now)? {
            self.seal_to_app(now, Tier::Exch, &report)?;
        }
        self.send_listed(now)
    }

    // --- channels and the group key -------------------------------------------------------------------

    /// A fresh epoch with the app stands.
    pub(super) fn app_up(&mut self, now: Instant) {
        let listed = self.app.stay_clear().iter().any(|base| *base >= BmsData1::BASE);
        self.watch.digest = listed.then(|| DigestSender::new(now));
    }

    /// A fresh epoch with a module stands. One that held the group key may have lost the window of what it heard
    /// under it, so the key is replaced; the others get the key in force.
    pub(super) fn watch_module_up(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        slot.watch.digest = (!slot.relation.stay_clear().is_empty()).then(|| DigestReceiver::new(now));
        slot.watch.due = Gifts { key: true, time: true, energy: false };
        if slot.watch.generation == Some(self.group.generation()) {
            self.group.membership_changed(now);
        }
        self.watch.gifts.get_or_insert(now);
    }

    /// Somebody left the group: the rest gets another key within a second.
    pub(super) fn membership_changed(&mut self, index: usize, now: Instant) {
        self.slots[index].watch.generation = None;
        self.group.membership_changed(now);
    }

    /// Every module with a channel gets this (again).
    pub(super) fn give(&mut self, now: Instant, gifts: Gifts) {
        for due in self.slots.iter_mut().map(|s| &mut s.watch.due) {
            (due.key, due.time) = (due.key | gifts.key, due.time | gifts.time);
        }
        self.begin_giving(now);
    }

    /// Whoever waits for something gets it, one after the other.
    pub(super) fn begin_giving(&mut self, now: Instant) {
        self.watch.gifts.get_or_insert(now);
    }

    /// Period of the group key: the shortest under the policies in force with modules (H111, C109).
    fn group_period(&self) -> Duration {
        let paired = self.slots.iter().map(|slot| &slot.relation).filter(|relation| relation.is_paired());
        let terms = paired.filter_map(|relation| self.device.policies.terms(relation.policy_in_force()));
        let shortest = terms.map(|terms| Duration::from_secs(u64::from(terms.rotation.group_s))).min();
        shortest.unwrap_or(LIFETIME)
    }

    /// Replaces a group key that is due and gives the next module what it waits for.
    pub(super) fn tend_group(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Result<(), Error> {
        self.group.set_lifetime(self.group_period());
        if self.group.is_due(now) {
            // A pack that used up its generations keeps the key in force.
            if let Ok(record) = self.group.rotate(now, rng) {
                record.map_or(Ok(()), |record| self.device.store(record))?;
                self.device.log_group(now, self.group.generation());
                self.give(now, Gifts { key: true, ..Gifts::default() });
            }
        }
        if self.group.take_repeat(now) {
            self.give(now, Gifts { key: true, ..Gifts::default() });
        }
        if self.watch.gifts.is_none_or(|due| due > now) {
            return Ok(());
        }
        // Who has no channel gets both when it comes up.
        let waits = |slot: &Slot| slot.relation.is_up() && slot.watch.due.any();
        let next = self.slots.iter().position(waits);
        self.watch.gifts = next.map(|_| now + GIFT_PAUSE);
        let Some(index) = next else { return Ok(()) };
        if !self.can2.has_room(GIFT_ROOM) {
            return Ok(());
        }
        if self.slots[index].watch.due.time && self.device.token().is_some() {
            self.watch.gifts = Some(now + GIFT_PAUSE + GIFT_PAUSE);
        }
        let due = core::mem::take(&mut self.slots[index].watch.due);
        if due.key {
            let generation = self.group.generation();
            let body =
                pdu::build(&[&[pdu::GROUP_KEY], &generation.to_be_bytes(), self.group.key().0.expose()])?;
            self.seal_to_module(index, now, Tier::Pair, &body)?;
            self.slots[index].watch.generation = Some(generation);
        }
        if due.energy {
            self.ask_for_energy(index, now)?;
        }
        if due.time { self.send_time(index, now) } else { Ok(()) }
    }
}

/// Whether a window that is not proved was altered.
fn unproved(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Verified(_) => None,
        Verdict::Unverified => Some(false),
        Verdict::Altered => Some(true),
    }
}
