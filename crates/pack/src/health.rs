//! Active faults and counters of a device, its report (HEALTH) and its alerts (ALERT); `spec/can.md`, C110 to C114.
//!
//! ```text
//! 0A | node | code u16 | detail u32                                                     at pair tier
//! 1A | node | boot u32 | n u8 | n x (code u16 | severity u8 | age u32 | detail u32)
//!    | m u8 | m x counter u32                                                           at exch tier
//! ```
//! Age is in seconds, so no clock is needed. `node` is 0 where a device speaks of itself; the pack puts the node in
//! when it passes a module's report on.

use crate::{
    fault::{FaultCode, Severity},
    pdu::{self, Pdu},
    session::Refusal,
    time::{Duration, Instant},
};
use lct::{Error, codec::Fields};

/// Most faults that a device shows at a time. More than there are codes, so none is lost.
pub const FAULTS_MAX: usize = 21;
/// Period of the report while nothing changes.
pub const PERIOD: Duration = Duration::from_secs(10);
/// Shortest time between two reports, and between two alerts.
pub const SPACING: Duration = Duration::from_secs(1);
/// How long a fault that is an occurrence and no condition is shown after it was last seen.
pub const LINGER: Duration = Duration::from_secs(60);
/// How often the same alert is repeated while it occurs.
const ALERT_AGAIN: Duration = Duration::from_secs(10);
/// Refused clear frames after which the alarm is raised.
pub const CLEAR_ALARM: u32 = 3;
/// Failures to open within [`PERIOD`] after which the alarm is raised.
pub const OPEN_ALARM: u32 = 64;

/// What is counted since the start, in the order in which it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sealed messages with a wrong tag, of another epoch or malformed.
    pub open_failures: u32,
    /// Sealed messages that were seen before.
    pub replays: u32,
    /// Messages refused by the class table.
    pub policy_drops: u32,
    /// Of them, clear frames of classes that must be sealed.
    pub clear_refused: u32,
    /// Frames with this device's own identifier from somebody else.
    pub own_identifier: u32,
    /// Messages that never became whole.
    pub incomplete: u32,
    /// Digest windows that could not be compared.
    pub digest_unverified: u32,
    /// Digest windows that differed.
    pub digest_mismatches: u32,
    /// Trips on cell voltage.
    pub voltage_trips: u32,
    /// Trips on temperature.
    pub temperature_trips: u32,
    /// Trips on current.
    pub current_trips: u32,
}

impl Counters {
    /// Number of counters of this version.
    pub const COUNT: usize = 11;

    /// In the order of the wire.
    pub const fn to_array(self) -> [u32; Self::COUNT] {
        [
            self.open_failures,
            self.replays,
            self.policy_drops,
            self.clear_refused,
            self.own_identifier,
            self.incomplete,
            self.digest_unverified,
            self.digest_mismatches,
            self.voltage_trips,
            self.temperature_trips,
            self.current_trips,
        ]
    }

    const fn from_array(n: [u32; Self::COUNT]) -> Self {
        Counters {
            open_failures: n[0],
            replays: n[1],
            policy_drops: n[2],
            clear_refused: n[3],
            own_identifier: n[4],
            incomplete: n[5],
            digest_unverified: n[6],
            digest_mismatches: n[7],
            voltage_trips: n[8],
            temperature_trips: n[9],
            current_trips: n[10],
        }
    }
}

/// A fault that is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// Which one.
    pub code: FaultCode,
    /// When it began.
    pub since: Instant,
    /// What the list of codes says about it.
    pub detail: u32,
    /// Last time it was seen.
    last: Instant,
}

/// A fault as a report tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Number in the published list; a later list may have more than [`FaultCode`].
    pub code: u16,
    /// 1 notice, 2 warning, 3 fault, 4 trip.
    pub severity: u8,
    /// Seconds that it lasts.
    pub age_s: u32,
    /// What the list of codes says about it.
    pub detail: u32,
}

impl Fault {
    /// True when the device opened its relay because of it.
    pub fn is_trip(&self) -> bool {
        self.severity == Severity::Trip as u8
    }
}

/// A report as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Starts of the device.
    pub boot: u32,
    /// Active faults.
    pub faults: heapless::Vec<Fault, 32>,
    /// Counters since its start.
    pub counters: Counters,
}

impl Report {
    /// Reads `node | ..`, the body after the type byte. Counters beyond those of this version are ignored, missing
    /// ones are 0.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the sender is to blame.
    pub fn parse(body: &[u8]) -> Result<(u8, Report), Error> {
        let mut f = Fields::new(body);
        let (node, boot) = (f.u8()?, f.u32()?);
        let mut faults = heapless::Vec::new();
        for _ in 0..f.u8()? {
            let [high, low] = f.array()?;
            let fault = Fault {
                code: u16::from_be_bytes([high, low]),
                severity: f.u8()?,
                age_s: f.u32()?,
                detail: f.u32()?,
            };
            if !(1..=4).contains(&fault.severity) {
                return Err(Error::Malformed);
            }
            faults.push(fault).map_err(|_| Error::Malformed)?;
        }
        let mut counters = [0; Counters::COUNT];
        for index in 0..usize::from(f.u8()?) {
            let value = f.u32()?;
            if let Some(slot) = counters.get_mut(index) {
                *slot = value;
            }
        }
        f.end()?;
        Ok((node, Report { boot, faults, counters: Counters::from_array(counters) }))
    }
}

/// An alert as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// Number in the published list.
    pub code: u16,
    /// What the list of codes says about it.
    pub detail: u32,
}

impl Alert {
    /// Reads `node | code u16 | detail u32`, the body after the type byte.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the sender is to blame.
    pub fn parse(body: &[u8]) -> Result<(u8, Alert), Error> {
        let mut f = Fields::new(body);
        let node = f.u8()?;
        let [high, low] = f.array()?;
        let detail = f.u32()?;
        f.end()?;
        Ok((node, Alert { code: u16::from_be_bytes([high, low]), detail }))
    }

    /// The severity in the published list; an unknown code counts as a notice.
    pub fn severity(&self) -> Severity {
        FaultCode::from_code(self.code).map_or(Severity::Notice, FaultCode::severity)
    }

    /// The PDU, for `node`.
    ///
    /// # Errors
    /// None: it always fits.
    pub fn to_pdu(self, node: u8) -> Result<Pdu, Error> {
        pdu::build(&[&[pdu::ALERT, node], &self.code.to_be_bytes(), &self.detail.to_be_bytes()])
    }
}

/// Faults and counters of a device.
#[derive(Debug, Clone)]
pub struct Health {
    boot: u32,
    active: heapless::Vec<Active, FAULTS_MAX>,
    counters: Counters,
    /// Refused clear frames since the last quiet spell.
    clear: u32,
    /// Failures to open in the period that began then.
    failures: (Instant, u32),
    changed: bool,
    reported: Option<Instant>,
    alerts: heapless::Deque<Alert, 4>,
    alerted: heapless::Vec<(FaultCode, Instant), FAULTS_MAX>,
    last_alert: Option<Instant>,
}

impl Health {
    /// Nothing wrong; `boot` is the number of this start.
    pub fn new(boot: u32) -> Self {
        Health {
            boot,
            active: heapless::Vec::new(),
            counters: Counters::default(),
            clear: 0,
            failures: (Instant::START, 0),
            changed: true,
            reported: None,
            alerts: heapless::Deque::new(),
            alerted: heapless::Vec::new(),
            last_alert: None,
        }
    }

    /// Active faults in the order in which they began.
    pub fn active(&self) -> impl Iterator<Item = &Active> {
        self.active.iter()
    }
    /// Counters since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }
    /// True while a fault keeps the relay open.
    pub fn tripped(&self) -> bool {
        self.active.iter().any(|f| f.code.severity() == Severity::Trip)
    }
    /// Whether this fault is active.
    pub fn has(&self, code: FaultCode) -> bool {
        self.active.iter().any(|f| f.code == code)
    }

    // --- what happens ---------------------------------------------------------------------------------

    /// A fault begins or lasts; true when it begins. One that is a fault or a trip is also an alert.
    pub fn raise(&mut self, now: Instant, code: FaultCode, detail: u32) -> bool {
        let known = self.active.iter_mut().find(|f| f.code == code);
        let begins = known.is_none();
        match known {
            Some(fault) => (fault.detail, fault.last) = (detail, now),
            None => {
                let kept = self.active.push(Active { code, since: now, detail, last: now });
                debug_assert!(kept.is_ok(), "more room than codes");
                self.changed = true;
                self.count_trip(code);
            }
        }
        if code.severity() >= Severity::Fault {
            self.alert(now, code, detail);
        }
        begins
    }

    fn count_trip(&mut self, code: FaultCode) {
        let counters = &mut self.counters;
        let counter = match code {
            FaultCode::CellOverVoltage | FaultCode::CellUnderVoltage => &mut counters.voltage_trips,
            FaultCode::OverTemperature | FaultCode::UnderTemperature => &mut counters.temperature_trips,
            FaultCode::ChargeOverCurrent | FaultCode::DischargeOverCurrent => &mut counters.current_trips,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }

    /// The condition is over.
    pub fn end(&mut self, code: FaultCode) {
        let before = self.active.len();
        self.active.retain(|f| f.code != code);
        self.changed |= self.active.len() != before;
    }

    fn alert(&mut self, now: Instant, code: FaultCode, detail: u32) {
        match self.alerted.iter_mut().find(|(c, _)| *c == code) {
            Some((_, at)) if now < *at + ALERT_AGAIN => return,
            Some((_, at)) => *at = now,
            None => {
                let kept = self.alerted.push((code, now));
                debug_assert!(kept.is_ok(), "more room than codes");
            }
        }
        if self.alerts.is_full() {
            self.alerts.pop_front();
        }
        let kept = self.alerts.push_back(Alert { code: code as u16, detail });
        debug_assert!(kept.is_ok(), "room was made");
    }

    /// A clear frame of a class that must be sealed was refused; true when the alarm begins with it.
    pub fn refused_clear(&mut self, now: Instant, base: u16) -> bool {
        self.refused_policy();
        self.counters.clear_refused = self.counters.clear_refused.saturating_add(1);
        self.clear = self.clear.saturating_add(1);
        self.clear >= CLEAR_ALARM && self.raise(now, FaultCode::ClearRefused, u32::from(base))
    }

    /// The class table refused a message.
    pub fn refused_policy(&mut self) {
        self.counters.policy_drops = self.counters.policy_drops.saturating_add(1);
    }

    /// A sealed message did not open; true when the alarm begins with it.
    pub fn not_opened(&mut self, now: Instant, why: Refusal) -> bool {
        if why == Refusal::Replayed {
            self.counters.replays = self.counters.replays.saturating_add(1);
            return false;
        }
        self.counters.open_failures = self.counters.open_failures.saturating_add(1);
        if now >= self.failures.0 + PERIOD {
            self.failures = (now, 0);
        }
        self.failures.1 = self.failures.1.saturating_add(1);
        self.failures.1 >= OPEN_ALARM && self.raise(now, FaultCode::OpenFailures, self.counters.open_failures)
    }

    /// Somebody sends with this device's own identifier; true when the alarm begins with it.
    pub fn own_identifier(&mut self, now: Instant, id: u32) -> bool {
        self.counters.own_identifier = self.counters.own_identifier.saturating_add(1);
        self.raise(now, FaultCode::OwnIdentifierSeen, id)
    }

    /// A digest window of `node` could not be compared, or differed; true when an alarm begins with it.
    pub fn digest(&mut self, now: Instant, node: u8, altered: bool, in_a_row: u8) -> bool {
        let (counter, code, alarm) = if altered {
            (&mut self.counters.digest_mismatches, FaultCode::DigestMismatch, true)
        } else {
            (&mut self.counters.digest_unverified, FaultCode::DigestUnverified, in_a_row >= 3)
        };
        *counter = counter.saturating_add(1);
        alarm && self.raise(now, code, u32::from(node))
    }

    /// How many messages never became whole, as the ends of the buses count them.
    pub fn set_incomplete(&mut self, incomplete: u32) {
        self.counters.incomplete = incomplete;
    }

    // --- what is told ---------------------------------------------------------------------------------

    /// Occurrences end by themselves when they were not seen for [`LINGER`].
    pub fn tick(&mut self, now: Instant) {
        let before = self.active.len();
        self.active.retain(|f| !is_occurrence(f.code) || now < f.last + LINGER);
        if self.active.len() != before {
            self.changed = true;
            if !self.has(FaultCode::ClearRefused) {
                self.clear = 0;
            }
        }
    }

    /// When a report is due; the first at once.
    pub fn report_due(&self) -> Instant {
        match self.reported {
            None => Instant::START,
            Some(at) => at + if self.changed { SPACING } else { PERIOD },
        }
    }

    /// When an alert is due, if one waits.
    pub fn alert_due(&self) -> Option<Instant> {
        (!self.alerts.is_empty()).then(|| self.last_alert.map_or(Instant::START, |at| at + SPACING))
    }

    /// When a fault ends by itself.
    pub fn linger_due(&self) -> Option<Instant> {
        self.active.iter().filter(|f| is_occurrence(f.code)).map(|f| f.last + LINGER).min()
    }

    /// The alert to send now, for a device that speaks of itself.
    pub fn poll_alert(&mut self, now: Instant) -> Option<Alert> {
        self.alert_due().filter(|due| *due <= now)?;
        self.last_alert = Some(now);
        self.alerts.pop_front()
    }

    /// The report to send now.
    ///
    /// # Errors
    /// None: it always fits.
    pub fn poll_report(&mut self, now: Instant) -> Result<Option<Pdu>, Error> {
        if self.report_due() > now {
            return Ok(None);
        }
        (self.reported, self.changed) = (Some(now), false);
        self.report(now).map(Some)
    }

    fn report(&self, now: Instant) -> Result<Pdu, Error> {
        let mut pdu = pdu::build(&[&[pdu::HEALTH, 0], &self.boot.to_be_bytes(), &[self.active.len() as u8]])?;
        let mut add = |bytes: &[u8]| pdu.extend_from_slice(bytes).map_err(|_| Error::BufferTooSmall);
        for fault in &self.active {
            let age =
                u32::try_from(now.saturating_since(fault.since).as_millis() / 1_000).unwrap_or(u32::MAX);
            add(&(fault.code as u16).to_be_bytes())?;
            add(&[fault.code.severity() as u8])?;
            add(&age.to_be_bytes())?;
            add(&fault.detail.to_be_bytes())?;
        }
        add(&[Counters::COUNT as u8])?;
        for counter in self.counters.to_array() {
            add(&counter.to_be_bytes())?;
        }
        Ok(pdu)
    }
}

/// Whether a fault is something that happened, and not a condition that lasts (C111).
const fn is_occurrence(code: FaultCode) -> bool {
    use FaultCode::{
        ClearRefused, DigestMismatch, DigestUnverified, OpenFailures, OwnIdentifierSeen, PolicyRefused,
    };
    matches!(
        code,
        ClearRefused | OwnIdentifierSeen | OpenFailures | DigestMismatch | DigestUnverified | PolicyRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn a_report_has_the_published_layout() {
        let mut health = Health::new(7);
        health.raise(Instant::from_millis(1_000), FaultCode::CellOverVoltage, 0x0003_10CC);
        health.raise(Instant::from_millis(2_500), FaultCode::CellsMissing, 2);
        health.refused_clear(Instant::from_millis(2_600), 0x514);
        health.not_opened(Instant::from_millis(2_700), Refusal::NotAuthentic);
        health.not_opened(Instant::from_millis(2_700), Refusal::Replayed);
        let pdu = health.poll_report(Instant::from_millis(4_000)).unwrap().unwrap();
        let expected = hex!(
            "1A 00 00000007 02"
            "0201 04 00000003 000310CC"
            "0203 02 00000001 00000002"
            "0B 00000001 00000001 00000001 00000001 00000000 00000000 00000000 00000000 00000001 00000000 00000000"
        );
        assert_eq!(pdu[..], expected);
        let (node, report) = Report::parse(&pdu[1..]).unwrap();
        assert_eq!((node, report.boot, report.faults.len()), (0, 7, 2));
        assert_eq!(report.counters, health.counters());
        assert!(report.faults[0].is_trip() && !report.faults[1].is_trip());
        let alert = health.poll_alert(Instant::from_millis(4_000)).unwrap();
        assert_eq!(alert.to_pdu(5).unwrap()[..], hex!("0A 05 0201 000310CC"));
        assert_eq!(Alert::parse(&hex!("05 0201 000310CC")), Ok((5, alert)));
    }

    #[test]
    fn a_longer_list_of_counters_is_read_and_a_wrong_severity_is_not() {
        let body = |severity: u8, counters: u8| {
            let mut body = std::vec![0, 0, 0, 0, 1, 1, 9, 9, severity, 0, 0, 0, 0, 0, 0, 0, 0, counters];
            body.extend(std::iter::repeat_n([0, 0, 0, 6], usize::from(counters)).flatten());
            body
        };
        let read = Report::parse(&body(4, 13)).unwrap().1;
        assert_eq!(
            (read.faults[0].code, read.counters.current_trips),
            (0x0909, 6),
            "an unknown code is kept"
        );
        assert_eq!(Report::parse(&body(4, 2)).unwrap().1.counters.policy_drops, 0);
        for severity in [0, 5, 255] {
            assert_eq!(Report::parse(&body(severity, 11)), Err(Error::Malformed));
        }
    }

    #[test]
    fn every_code_fits_and_alerts_wait_their_turn() {
        let mut health = Health::new(1);
        let now = Instant::from_millis(1_000);
        for code in FaultCode::ALL {
            assert!(health.raise(now, *code, 1) && !health.raise(now, *code, 2));
        }
        assert!(health.poll_report(now).unwrap().is_some());
        assert!(health.poll_alert(now).is_some() && health.poll_alert(now).is_none(), "one a second");
        let sent = (1..30).filter(|s| health.poll_alert(now + Duration::from_secs(*s)).is_some()).count();
        assert_eq!(sent, 3, "four wait at most");
    }

    /// A condition that lasts must not ask for a tick that has nothing to do.
    #[test]
    fn only_occurrences_end_by_time() {
        let mut health = Health::new(1);
        let now = Instant::from_millis(1_000);
        health.raise(now, FaultCode::CellsMissing, 1);
        assert_eq!(health.linger_due(), None);
        health.raise(now, FaultCode::OwnIdentifierSeen, 1);
        assert_eq!(health.linger_due(), Some(now + LINGER));
        health.tick(now + LINGER);
        assert!(health.has(FaultCode::CellsMissing) && !health.has(FaultCode::OwnIdentifierSeen));
        assert_eq!(health.linger_due(), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Report::parse(&bytes);
            let _ = Alert::parse(&bytes);
        }
    }
}
