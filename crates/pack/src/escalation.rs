//! Escalation: a peer, or this device itself, asks that more be proved before things are done in their relationship
//! (`spec/channel.md`, H152 to H155).
//!
//! A request only raises. What it raised ends by time or by a validation of that level, never by a message. One
//! [`Escalation`] belongs to one relationship; it decides, counts and keeps time, and touches neither bus nor keys.

use crate::{
    pdu,
    time::{Duration, Instant},
};
use kept::{Defence, kept};
use lct::{
    Error,
    codec::Fields,
    id::BindingId,
    validation::{EscalationReason, Urgency, ValidationLevel},
};

/// How long a level stays raised that does not last until a validation.
pub const LASTS: Duration = Duration::from_secs(60);
/// By how much whoever asked holds it longer, so that it never relaxes before the peer does.
const MARGIN: Duration = Duration::from_secs(1);
/// Requests of one peer that are judged within [`SHORT`], and within [`LONG`].
pub const PER_SHORT: usize = 3;
/// See [`PER_SHORT`].
pub const PER_LONG: usize = 10;
/// Requests to the app that one module may cause within [`LONG`], so that what others need remains.
pub(crate) const PER_MODULE: usize = 3;
/// The shorter span of the rate.
pub const SHORT: Duration = Duration::from_secs(60);
/// The longer one.
pub const LONG: Duration = Duration::from_secs(3_600);
/// How often an own request is sent again until it is answered.
const REPEAT: Duration = Duration::from_millis(500);
/// Sendings of one own request.
const TRIES: u8 = 6;
/// Shortest time between two hints that begin a RESUME.
const HINT_REST: Duration = Duration::from_secs(60);
/// Body byte of an answer, where a request has its level.
const ANSWER: u8 = 0x81;

/// A message about escalation, without its type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// `target u8 | reason u8 | urgency u8 | seq u32`: more is asked for.
    Ask(Request),
    /// `81 | seq u32 | level u8`: it was judged; the level in force there, 0 for none.
    Answer {
        /// Number of the request.
        seq: u32,
        /// What is in force.
        level: u8,
    },
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The level that operations below it are to need.
    pub target: ValidationLevel,
    /// Why.
    pub reason: EscalationReason,
    /// How soon; at levels 6 and 7 also for how long.
    pub urgency: Urgency,
    /// Number in this epoch of the channel, from 1.
    pub seq: u32,
}

impl Message {
    /// Reads a PDU of type 08 after its type byte.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let message = match f.u8()? {
            ANSWER => Message::Answer { seq: f.u32()?, level: f.u8()? },
            target => Message::Ask(Request {
                target: ValidationLevel::from_code(target)?,
                reason: EscalationReason::from_code(f.u8()?)?,
                urgency: Urgency::from_code(f.u8()?)?,
                seq: f.u32()?,
            }),
        };
        f.end()?;
        Ok(message)
    }

    /// The PDU.
    pub fn to_pdu(&self) -> Result<pdu::Pdu, Error> {
        match self {
            Message::Ask(r) => {
                let head = [pdu::ESCALATION, r.target as u8, r.reason as u8, r.urgency as u8];
                pdu::build(&[&head, &r.seq.to_be_bytes()])
            }
            Message::Answer { seq, level } => {
                pdu::build(&[&[pdu::ESCALATION, ANSWER], &seq.to_be_bytes(), &[*level]])
            }
        }
    }
}

/// What became of a peer's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It is in force; answer it.
    Taken,
    /// The last one again; answer it.
    Again,
    /// An earlier one: nothing to do.
    Old,
    /// Beyond the rate. The number of those since that was last told, when it is to be told now.
    TooMany(Option<u32>),
}

/// The times of the last requests that were judged, `N` within [`LONG`] at most.
#[derive(Debug, Default)]
pub(crate) struct Rate<const N: usize = PER_LONG>(heapless::Deque<Instant, N>);

impl<const N: usize> Rate<N> {
    /// Counts one more, unless there were too many.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let within = |span: Duration| self.0.iter().filter(|t| now < **t + span).count();
        let often = within(SHORT) >= PER_SHORT || within(LONG) >= N;
        if often && kept(Defence::EscalationRate) {
            return false;
        }
        if self.0.is_full() {
            self.0.pop_front();
        }
        self.0.push_back(now).is_ok()
    }
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    request: Request,
    due: Instant,
    tries: u8,
}

/// What is raised in one relationship, and the requests about it.
#[derive(Debug, Default)]
pub struct Escalation {
    /// Until a validation of that level.
    lasting: Option<ValidationLevel>,
    /// Flash does not know that yet.
    unkept: bool,
    /// Until a time.
    timed: Option<(ValidationLevel, Instant)>,
    heard: Rate,
    last: Option<u32>,
    overflow: u32,
    overflow_told: bool,
    asked: Rate,
    next: u32,
    pending: Option<Pending>,
    hinted: Option<Instant>,
}

impl Escalation {
    /// The level that is asked for now.
    pub fn level(&self, now: Instant) -> Option<ValidationLevel> {
        let timed = self.timed.filter(|(_, until)| now < *until).map(|(level, _)| level);
        self.lasting.max(timed)
    }

    fn raise(&mut self, until: Instant, target: ValidationLevel, urgency: Urgency) {
        if urgency == Urgency::Immediate && target >= ValidationLevel::Pairing {
            self.unkept |= self.lasting < Some(target);
            self.lasting = self.lasting.max(Some(target));
            return;
        }
        let (level, end) = self.timed.unwrap_or((target, until));
        self.timed = Some((level.max(target), end.max(until)));
    }

    /// Judges a request that the peer sealed.
    pub fn heard(&mut self, now: Instant, request: &Request) -> Judged {
        match self.last {
            Some(last) if request.seq == last => return Judged::Again,
            Some(last) if request.seq < last => return Judged::Old,
            _ => {}
        }
        if !self.heard.take(now) {
            self.overflow = self.overflow.saturating_add(1);
            let tell = !core::mem::replace(&mut self.overflow_told, true);
            return Judged::TooMany(tell.then(|| core::mem::take(&mut self.overflow)));
        }
        (self.last, self.overflow_told) = (Some(request.seq), false);
        self.expire(now);
        self.raise(now + LASTS, request.target, request.urgency);
        Judged::Taken
    }

    /// This device asks; it holds itself to that from now on. A request that waits for its answer is joined with this
    /// one.
    ///
    /// # Errors
    /// [`Error::Exhausted`]: more often than the peer would hear.
    pub fn ask(
        &mut self,
        now: Instant,
        target: ValidationLevel,
        reason: EscalationReason,
        urgency: Urgency,
    ) -> Result<(), Error> {
        if !self.asked.take(now) {
            return Err(Error::Exhausted);
        }
        self.expire(now);
        self.raise(now + LASTS + MARGIN, target, urgency);
        let seq = self.next_seq()?;
        let mut request = Request { target, reason, urgency, seq };
        if let Some(Pending { request: before, .. }) = self.pending {
            request.target = request.target.max(before.target);
            if before.urgency == Urgency::Immediate {
                request.urgency = Urgency::Immediate;
            }
        }
        self.pending = Some(Pending { request, due: now, tries: 0 });
        Ok(())
    }

    fn next_seq(&mut self) -> Result<u32, Error> {
        self.next = self.next.checked_add(1).ok_or(Error::Exhausted)?;
        Ok(self.next)
    }

    /// The request to send now, while the channel is up.
    pub fn poll(&mut self, now: Instant) -> Option<Request> {
        let pending = self.pending.as_mut().filter(|p| p.due <= now)?;
        (pending.due, pending.tries) = (now + REPEAT, pending.tries + 1);
        let request = pending.request;
        if pending.tries >= TRIES {
            self.pending = None;
        }
        Some(request)
    }

    /// The peer judged the request with this number.
    pub fn answered(&mut self, seq: u32) {
        self.pending.take_if(|p| p.request.seq == seq);
    }

    /// A fresh epoch: numbers begin anew, and so does a request that was not answered.
    pub fn channel_up(&mut self) {
        (self.last, self.next) = (None, 0);
        if let Some(Pending { request, .. }) = self.pending.take() {
            self.next = 1;
            self.pending =
                Some(Pending { request: Request { seq: 1, ..request }, due: Instant::START, tries: 0 });
        }
    }

    /// Whether a hint that nobody vouches for may begin a RESUME now.
    pub fn hinted(&mut self, now: Instant) -> bool {
        let rested = self.hinted.is_none_or(|t| t + HINT_REST <= now);
        if rested {
            self.hinted = Some(now);
        }
        rested
    }

    /// When [`Escalation::poll`] or [`Escalation::expire`] has something to do.
    pub fn due(&self, up: bool) -> Option<Instant> {
        let send = self.pending.as_ref().filter(|_| up).map(|p| p.due);
        send.into_iter().chain(self.timed.map(|(_, until)| until)).min()
    }

    /// Ends what lasted its time; the level that ended.
    pub fn expire(&mut self, now: Instant) -> Option<ValidationLevel> {
        self.timed.take_if(|(_, until)| *until <= now).map(|(level, _)| level)
    }

    /// A validation at level `by` stands: what asked for no more ends. The highest level that ended.
    pub fn validated(&mut self, by: ValidationLevel) -> Option<ValidationLevel> {
        let timed = self.timed.take_if(|(level, _)| *level <= by).map(|(level, _)| level);
        let lasting = self.lasting.take_if(|level| *level <= by);
        self.unkept |= lasting.is_some();
        lasting.max(timed)
    }

    /// The value of its record, when that is to be written anew: `1 | binding_id 16 | level u8` of what lasts, empty
    /// for nothing.
    pub(crate) fn record(&mut self, binding: BindingId) -> Option<heapless::Vec<u8, 18>> {
        if !core::mem::take(&mut self.unkept) {
            return None;
        }
        let mut value = heapless::Vec::new();
        if let Some(level) = self.lasting {
            let parts: [&[u8]; 3] = [&[1], &binding.0, &[level as u8]];
            for part in parts {
                let kept = value.extend_from_slice(part);
                debug_assert!(kept.is_ok(), "18 bytes");
            }
        }
        Some(value)
    }

    /// What [`Escalation::record`] kept for `binding`.
    pub(crate) fn restore(record: &[u8], binding: BindingId) -> Result<Self, Error> {
        let mut f = Fields::new(record);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let (of, level) = (BindingId(f.array()?), ValidationLevel::from_code(f.u8()?)?);
        f.end()?;
        Ok(Escalation { lasting: (of == binding).then_some(level), ..Escalation::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EscalationReason::{Anomaly, Threat};
    use Urgency::{Deferred, Immediate};
    use ValidationLevel::{Binding, Command, Pairing, Witness};
    use proptest::prelude::*;

    fn at(s: u64) -> Instant {
        Instant::START + Duration::from_secs(s)
    }

    fn request(target: ValidationLevel, urgency: Urgency, seq: u32) -> Request {
        Request { target, reason: Anomaly, urgency, seq }
    }

    #[test]
    fn how_long_a_level_stays_raised() {
        for (target, urgency, lasts) in [
            (Command, Deferred, false),
            (Command, Immediate, false),
            (Pairing, Deferred, false),
            (Pairing, Immediate, true),
            (Binding, Deferred, false),
            (Binding, Immediate, true),
        ] {
            let mut e = Escalation::default();
            assert_eq!(e.heard(at(10), &request(target, urgency, 1)), Judged::Taken);
            assert_eq!(e.level(at(69)), Some(target), "at once, and for 60 s");
            assert_eq!(e.level(at(70)), lasts.then_some(target), "{target:?} {urgency:?}");
            assert_eq!(e.level(at(10_000_000)), lasts.then_some(target));
            assert_eq!(e.expire(at(70)), (!lasts).then_some(target));
        }
    }

    #[test]
    fn a_validation_ends_what_asked_for_no_more() {
        let mut e = Escalation::default();
        e.heard(at(0), &request(Pairing, Immediate, 1));
        assert_eq!(e.validated(Command), None);
        assert_eq!(e.validated(Pairing), Some(Pairing));
        e.heard(at(0), &request(Binding, Immediate, 2));
        assert_eq!(e.validated(Pairing), None);
        assert_eq!(e.level(at(1)), Some(Binding));
        assert_eq!(e.validated(Binding), Some(Binding));
        assert_eq!(e.level(at(1)), None);
    }

    #[test]
    fn three_a_minute_and_ten_an_hour() {
        let mut e = Escalation::default();
        let mut judged = |s, seq| e.heard(at(s), &request(Command, Deferred, seq));
        for seq in 1..=3 {
            assert_eq!(judged(0, seq), Judged::Taken);
        }
        assert_eq!(judged(0, 4), Judged::TooMany(Some(1)), "told once");
        assert_eq!(judged(59, 5), Judged::TooMany(None));
        assert_eq!(judged(59, 3), Judged::Again, "a repetition is no request");
        assert_eq!(judged(59, 2), Judged::Old);
        for seq in 6..=8 {
            assert_eq!(judged(60, seq), Judged::Taken);
        }
        assert_eq!(judged(60, 9), Judged::TooMany(Some(2)), "what was not told is counted");
        for seq in 10..=12 {
            assert_eq!(judged(120, seq), Judged::Taken);
        }
        assert_eq!(judged(180, 13), Judged::Taken);
        assert!(matches!(judged(3_599, 14), Judged::TooMany(_)), "the eleventh of the hour");
        assert_eq!(judged(3_600, 15), Judged::Taken);
    }

    /// One request is under way; a second one joins it.
    #[test]
    fn an_own_request_is_repeated_until_it_is_answered() {
        let mut e = Escalation::default();
        assert_eq!(e.ask(at(0), Binding, Threat, Deferred), Ok(()));
        assert_eq!(e.level(at(0)), Some(Binding), "this device holds itself to it");
        assert_eq!(e.ask(at(0), Witness, Threat, Immediate), Ok(()));
        let sent = e.poll(at(0)).expect("one");
        assert_eq!((sent.target, sent.urgency, sent.seq), (Binding, Immediate, 2));
        assert_eq!(e.poll(at(0)), None);
        assert_eq!(e.due(false), Some(at(61)));
        assert_eq!(e.due(true), Some(at(0) + REPEAT));
        e.answered(1);
        assert_eq!(e.poll(at(1)), Some(sent), "another answer is not its own");
        // A fresh epoch counts anew.
        e.channel_up();
        assert_eq!(e.poll(at(2)), Some(Request { seq: 1, ..sent }));
        e.answered(1);
        assert_eq!(e.poll(at(9)), None);
        assert_eq!(e.ask(at(10), Command, Anomaly, Deferred), Ok(()));
        assert_eq!((0..20).filter(|i| e.poll(at(10 + i)).is_some()).count(), usize::from(TRIES));
        assert_eq!(
            e.ask(at(11), Command, Anomaly, Deferred),
            Err(Error::Exhausted),
            "the fourth of the minute"
        );
    }

    #[test]
    fn what_lasts_outlives_a_start_and_no_binding() {
        let (own, other) = (BindingId([1; 16]), BindingId([2; 16]));
        let mut e = Escalation::default();
        e.heard(at(0), &request(Command, Deferred, 1));
        assert_eq!(e.record(own), None);
        e.heard(at(0), &request(Pairing, Immediate, 2));
        let record = e.record(own).expect("it lasts");
        assert_eq!(e.record(own), None, "written once");
        assert_eq!(Escalation::restore(&record, own).map(|e| e.level(at(9))), Ok(Some(Pairing)));
        assert_eq!(Escalation::restore(&record, other).map(|e| e.level(at(9))), Ok(None));
        assert!(Escalation::restore(&record[..17], own).is_err());
        assert_eq!(e.validated(Pairing), Some(Pairing));
        assert_eq!(e.record(own).as_deref(), Some(&[][..]));
    }

    proptest! {
        /// Whatever is asked, in whatever order: no message ever makes the level lower than it was.
        #[test]
        fn no_message_lowers(steps in proptest::collection::vec((1u8..8, any::<bool>(), 0u32..9, 0u64..30), 1..80)) {
            let mut e = Escalation::default();
            let mut now = 0;
            for (target, immediate, seq, pass) in steps {
                now += pass;
                let target = ValidationLevel::from_code(target).expect("1 to 7");
                let urgency = if immediate { Immediate } else { Deferred };
                let before = e.level(at(now));
                let judged = e.heard(at(now), &request(target, urgency, seq));
                prop_assert!(e.level(at(now)) >= before);
                if judged == Judged::Taken {
                    prop_assert!(e.level(at(now)) >= Some(target));
                }
            }
        }

        /// One encoding only.
        #[test]
        fn messages_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..9)) {
            if let Ok(message) = Message::parse(&bytes) {
                prop_assert_eq!(&message.to_pdu().expect("short")[1..], &bytes[..]);
            }
        }
    }
}
