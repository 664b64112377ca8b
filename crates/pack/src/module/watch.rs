//! What a module watches over: who may tell it what, its own limits, what it tells about its health, and the clear
//! telemetry that its pairing allows (`spec/can.md`, C100 to C115).

use super::*;
use crate::{
    gate::{Arrival, judge, screen},
    group::Reduction,
    policy::Effect as Change,
    protection::Extremes,
};
use kept::{Defence, kept};

impl Module {
    /// Active faults and counters of this module.
    pub fn health(&self) -> &Health {
        &self.device.health
    }

    /// Sets the limits beyond which this module opens its relay.
    pub fn set_trip_limits(&mut self, limits: TripLimits) {
        self.limits = limits;
    }

    /// Sets the temperature in thousandths of a degree Celsius above which this module reports a fault and asks its pack
    /// for level 5 (H175); it opens no relay. `None`: none.
    pub fn set_temperature_limit(&mut self, limit_mc: Option<i32>) {
        self.alarm_mc = limit_mc;
    }

    // --- what may be acted upon -----------------------------------------------------------------------

    /// Whether a frame is to be received at all.
    pub(super) fn screen(&mut self, now: Instant, frame: &Frame) -> bool {
        let (node, candidate) = (self.node, self.candidate);
        let mine = |device: u8| device == node && node != UNREGISTERED;
        let concerned = |device: u8| device == NODE_BROADCAST || mine(device) || Some(device) == candidate;
        let standing = |device: u8| concerned(device).then(|| self.device.standing(now, &self.relation));
        let screened = screen(Bus::Can2, Direction::Ba, frame, mine, standing);
        self.device.screen(now, frame, screened)
    }

    /// The gate for a message with its exact base; what it refuses is counted.
    pub(super) fn admits(&mut self, now: Instant, base: u16, body: &[u8], protection: Protection) -> bool {
        let effect = match protection {
            // What a signed command changes is judged after its signature: it may raise.
            Protection::PairSigned => Change::Raise,
            _ => self.effect(base, body),
        };
        let arrival = Arrival { bus: Bus::Can2, base, direction: Direction::Ab, protection, effect };
        match judge(&arrival, &self.device.standing(now, &self.relation)) {
            // A signed command is answered, not dropped: it is judged with its content.
            Ok(()) if protection == Protection::PairSigned => true,
            Ok(()) => assurance::of_message(Bus::Can2, base, effect)
                .is_none_or(|operation| self.device.may(now, 0, base, operation, &mut self.relation)),
            // The pack names in group frames the state that it is raising the others to: no raise, no offence.
            Err(gate::Denied::GroupRaises) if base == ModuleMaxState::BASE => false,
            Err(denied) => {
                self.device.deny(now, base, denied);
                false
            }
        }
    }

    fn effect(&self, base: u16, body: &[u8]) -> Change {
        match base {
            ModuleStateChange::BASE => match ModuleStateChange::decode(body) {
                Ok(m) if m.state == RelayState::Off => Change::Stop,
                // Repeating what was commanded is no raise, also when a ceiling holds it down.
                Ok(m) if m.state > self.relay && m.state != self.target => Change::Raise,
                _ => Change::Hold,
            },
            _ => Reduction::read(base, body).map_or(Change::Hold, |asked| asked.effect(self.ceiling)),
        }
    }

    /// Carries out a message that only reduces, from whomever the gate let through.
    pub(super) fn reduce(&mut self, now: Instant, base: u16, body: &[u8]) -> Result<(), Error> {
        match Reduction::read(base, body) {
            Some(Reduction::Ceiling(max)) if max <= self.ceiling || !kept(Defence::GroupReduces) => {
                self.ceiling = max;
                self.switch(self.target)
            }
            Some(Reduction::Isolate) => {
                self.ceiling = RelayState::Off;
                self.switch(RelayState::Off)
            }
            Some(Reduction::Deregister) => self.unregister(now),
            Some(Reduction::Ceiling(_)) | None => Ok(()),
        }
    }

    /// Carries out a state that an entitled sender wants. Off ends an over-current.
    pub(super) fn obey(&mut self, state: RelayState) -> Result<(), Error> {
        if state == RelayState::Off {
            TripLimits::release(&mut self.device.health);
        }
        self.switch(state)
    }

    // --- registration of a paired module --------------------------------------------------------------

    /// A node was offered in clear: this module answers runs under it, nothing more, and goes on announcing itself
    /// while it has none in force.
    pub(super) fn offered(&mut self, now: Instant, node: u8) {
        self.candidate = (node != self.node).then_some(node);
        if self.node == UNREGISTERED {
            self.announce_due = Some(now + ANNOUNCE_PERIOD);
        }
    }

    /// Security PDUs are answered under the device id that they came with.
    pub(super) fn answer_as(&mut self, device: u8) {
        if Some(device) == self.candidate {
            self.node = device;
        }
    }

    /// The offered node stays only if a run under it stands.
    pub(super) fn answered(&mut self, device: u8, in_force: u8) {
        if device == in_force || Some(device) != self.candidate {
            return;
        }
        if self.candidate_stands {
            self.candidate = None;
            self.announce_due = None;
            self.device.event(Event::Registered { node: self.node });
        } else {
            self.node = in_force;
        }
    }

    /// A fresh epoch stands.
    pub(super) fn channel_up(&mut self, now: Instant) {
        self.candidate_stands = true;
        self.last_contact = now;
        self.device.health.end(FaultCode::ControllerSilent);
        let listed = self.relation.stay_clear().iter().any(|base| TRAIN.contains(base));
        self.digest = listed.then(|| DigestSender::new(now));
    }

    /// Tells the capability, sealed.
    pub(super) fn send_hardware(&mut self, now: Instant) -> Result<(), Error> {
        let (body, len) = self.hardware().encode();
        let id = self.data_id(ModuleHardware::BASE, Level::Exch)?;
        self.seal(now, id, ModuleHardware::BASE, 0, &body[..len])
    }

    // --- own limits -----------------------------------------------------------------------------------

    /// Judges the last measurement; beyond a limit the relay opens at once, whatever a network says.
    pub(super) fn protect(&mut self, now: Instant) -> Result<(), Error> {
        let Some(m) = &self.last else { return Ok(()) };
        let hot = m.temperature_mc[1];
        let health = &mut self.device.health;
        let reporting =
            || (0u16..).zip(&m.cells).filter(|(_, c)| c.mv > 0).map(|(n, c)| (n, u32::from(c.mv)));
        let missing = m.cells.len() - reporting().count();
        if missing > 0 {
            health.raise(now, FaultCode::CellsMissing, missing as u32);
        } else {
            health.end(FaultCode::CellsMissing);
        }
        if let (Some(cell_min), Some(cell_max)) =
            (reporting().min_by_key(|(_, mv)| *mv), reporting().max_by_key(|(_, mv)| *mv))
        {
            let [low, high, _] = m.temperature_mc;
            let seen = Extremes { cell_min, cell_max, temperature_mc: [low, high] };
            self.limits.judge_cells(now, &seen, health);
        }
        self.limits.judge_current(now, m.current_ma, &self.rating, health);
        if self.device.health.tripped() {
            self.ceiling = RelayState::Off;
            self.switch(RelayState::Off)?;
        }
        self.judge_alarm(now, hot)
    }

    // --- health and clear telemetry -------------------------------------------------------------------

    pub(super) fn watch_due(&self) -> [Option<Instant>; 4] {
        let health = &self.device.health;
        let up = self.relation.is_up();
        [
            up.then(|| health.report_due()),
            health.alert_due().filter(|_| up),
            health.linger_due(),
            self.digest.as_ref().filter(|_| up).map(DigestSender::due),
        ]
    }

    /// Tells what is due about faults, and what the pairing lets stay clear.
    pub(super) fn watch(&mut self, now: Instant) -> Result<(), Error> {
        self.device.health.set_incomplete(self.link.counters().incomplete);
        self.device.health.tick(now);
        if !self.relation.is_up() {
            return Ok(());
        }
        if let Some(alert) = self.device.health.poll_alert(now) {
            self.seal_pdu(now, Tier::Pair, &alert.to_pdu(0)?)?;
        }
        if let Some(report) = self.device.health.poll_report(now)? {
            self.seal_pdu(now, Tier::Exch, &report)?;
        }
        if self.digest.as_ref().is_some_and(|digest| digest.due() <= now) {
            self.send_listed(now)?;
            // Behind the frames that it covers, on the same queue.
            if let Some(body) = self.digest.as_mut().map(|digest| digest.close(now)).transpose()? {
                self.seal_pdu(now, Tier::Exch, &body)?;
            }
        }
        Ok(())
    }

    /// Once a window: the messages of the status train that may stay clear.
    fn send_listed(&mut self, now: Instant) -> Result<(), Error> {
        let (status, hardware, node) = (self.status(), self.hardware(), self.node);
        let frames = [
            hardware.frame(node),
            status.status1.frame(node),
            status.status2.frame(node),
            status.status3.frame(node),
            status.comm.frame(node),
        ];
        for (base, frame) in TRAIN.into_iter().zip(frames) {
            let frame = frame.map_err(|_| Error::Malformed)?;
            if self.relation.clear_now(now).contains(&base)
                && let Some(digest) = &mut self.digest
            {
                digest.sent(&frame);
                self.link.send_frame(frame);
            }
        }
        Ok(())
    }
}

/// What a module says in clear when its pairing allows it.
const TRAIN: [u16; 5] = [
    ModuleHardware::BASE,
    ModuleStatus1::BASE,
    ModuleStatus2::BASE,
    ModuleStatus3::BASE,
    ModuleCellCommStatus1::BASE,
];
