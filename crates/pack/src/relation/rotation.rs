//! The rotation of an epoch in operation, and what else a channel does by itself: count its age, notice failures,
//! tell when a full handshake is due (`spec/channel.md`, H91 to H96).
//!
//! ```text
//! A                                                   B
//! ROTATE epoch e+1, nonce A, salt      under e  ->    holds e+1, still sends in e
//! stores e+1 and e                <-  under e         ROTATE_ACK epoch e+1, nonce B
//! ROTATED epoch e+1                    under e+1 ->   stores e+1, forgets e, sends in e+1
//! stores e+1, forgets e           <-  under e+1       CONFIRM
//! ```
//! Any message under e+1 does for the last two. Whatever is lost or cut, B answers a RESUME from an epoch that A
//! still has: B forgets e only when A proved e+1, A only when B did.

use super::*;
use crate::session::Alarm;
use kept::{Defence, kept};

/// Sealed `0D | epoch u32 | nonce 16 | salt 32`, without the type byte.
const ROTATE_LEN: usize = 52;
/// Sealed `0D | epoch u32 | nonce 16`, without the type byte.
const ROTATE_ACK_LEN: usize = 20;
/// Sealed `0D | epoch u32`, without the type byte.
const ROTATED_LEN: usize = 4;
/// How long a rotation that found no answer waits before it is tried again, and how often B asks for one.
pub const ROTATE_AGAIN: Duration = Duration::from_secs(60);
/// How long A waits before it tries to RESUME the channel of the binding again.
const BIND_AGAIN: Duration = Duration::from_secs(60);
/// Shortest time between two RESUMEs that alarms begin.
const ALARM_REST: Duration = Duration::from_secs(60);
/// How often the powered time of a pairing is kept.
const COUNT_PERIOD: Duration = Duration::from_secs(3_600);

/// How far side A is.
pub(super) enum Rotation {
    /// Sent ROTATE.
    Asked { nonce: [u8; 16], salt: [u8; 32], due: Instant, tries: u8 },
    /// Sends in the next epoch, which B did not prove yet.
    Ahead { due: Instant, tries: u8 },
}

/// What side B answered, so that a repeated ROTATE gets the same answer.
pub(super) struct RotateAnswer {
    nonce: [u8; 16],
    salt: [u8; 32],
    own: [u8; 16],
}

/// What a relationship remembers besides its channels' keys.
#[derive(Default)]
pub(super) struct Upkeep {
    pub(super) rotation: Option<Rotation>,
    pub(super) answer: Option<RotateAnswer>,
    /// No rotation is begun before.
    after: Instant,
    /// The peer proved a rotated epoch: the owner is told, B confirms.
    moved: bool,
    /// When A renews the channel of the binding.
    pub(super) bind_due: Option<Instant>,
    alarm: Option<(Tier, Alarm)>,
    /// Alarms begin no RESUME before.
    rest: Instant,
    /// An alarm asks for a full handshake.
    alarmed: bool,
    /// Powered seconds since the last full handshake, as far as counted.
    pub(super) used_s: u32,
    counted: Option<Instant>,
    /// The owner was told that a handshake is due, in this epoch.
    told: Option<u32>,
    /// Boot counter of this start, for a RESUME that begins by itself.
    boot: u32,
}

impl Relation {
    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets the limits under the policy of the factory, another one brings its own; [`Error::Malformed`] when one is
    /// looser than a policy may choose.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), Error> {
        if !limits.is_allowed() {
            return Err(Error::Malformed);
        }
        self.agreement.given = limits;
        if self.policy_in_force() == lct::policy::FACTORY_VERSION {
            self.limits = limits;
        }
        Ok(())
    }

    /// Powered seconds of the pairing since its handshake, as far as counted.
    pub fn used_s(&self) -> u32 {
        self.upkeep.used_s
    }

    /// A begins to rotate the epoch of the pairing, if its channel is up and at rest.
    pub fn rotate(&mut self, now: Instant, fx: &mut Effects, rng: &mut impl CryptoRng) -> Result<(), Error> {
        if self.renewal().is_none() {
            return Ok(());
        }
        let Some(session) = self.session().filter(|s| s.sends() == Direction::Ab) else {
            return Err(Error::WrongParty);
        };
        if session.epoch() >= self.limits.epochs_max {
            return self.handshake_due(fx);
        }
        let (mut nonce, mut salt) = ([0; 16], [0; 32]);
        rng.fill_bytes(&mut nonce);
        rng.fill_bytes(&mut salt);
        self.upkeep.rotation = Some(Rotation::Asked { nonce, salt, due: now, tries: 0 });
        self.repeat_rotation(now, fx, rng)
    }

    /// The peer's message of a rotation (without the type byte), opened under `tier`.
    pub fn rotation(
        &mut self,
        now: Instant,
        tier: Tier,
        body: &[u8],
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let mut f = Fields::new(body);
        let epoch = f.u32()?;
        let sends = self.session().filter(|_| tier == Tier::Pair).ok_or(Error::WrongParty)?.sends();
        match (sends, body.len()) {
            (Direction::Ab, ROTATE_ACK_LEN) => self.acknowledged(now, epoch, &f.array()?, fx),
            (Direction::Ba, ROTATE_LEN) => self.asked(epoch, f.array()?, f.array()?, fx, rng),
            (Direction::Ba, ROTATED_LEN) => {
                let current = self.session().is_some_and(|s| s.epoch() == epoch);
                if current { self.confirm(Tier::Pair, fx) } else { Err(Error::WrongParty) }
            }
            _ => Err(Error::Malformed),
        }
    }

    /// B: holds the next epoch, and answers.
    fn asked(
        &mut self,
        epoch: u32,
        nonce: [u8; 16],
        salt: [u8; 32],
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        // A RESUME under way renews from the epoch in use: a rotation beside it could part the two sides.
        if matches!(self.run, Some(Run::ResumeResponded { tier: Tier::Pair, .. })) {
            return Ok(());
        }
        let limit = self.limits.epochs_max;
        let channel = self.pair.as_mut().ok_or(Error::WrongParty)?;
        if channel.session.epoch().checked_add(1) != Some(epoch) || epoch > limit {
            return Err(Error::WrongParty);
        }
        let known = self.upkeep.answer.as_ref().filter(|a| a.nonce == nonce && a.salt == salt);
        let own = match known {
            Some(answer) => answer.own,
            None => {
                let mut own = [0; 16];
                rng.fill_bytes(&mut own);
                let next = channel.session.master().rekey(epoch, &nonce, &own, &salt)?;
                channel.session.agree(next, false)?;
                self.upkeep.answer = Some(RotateAnswer { nonce, salt, own });
                own
            }
        };
        let body = pdu::build(&[&[pdu::ROTATE], &epoch.to_be_bytes(), &own])?;
        push(fx, Effect::SealToPeer(Tier::Pair, body))
    }

    /// A: the next epoch is durable, then everything is sent in it.
    fn acknowledged(
        &mut self,
        now: Instant,
        epoch: u32,
        theirs: &[u8; 16],
        fx: &mut Effects,
    ) -> Result<(), Error> {
        let Some(Rotation::Asked { nonce, salt, .. }) = &self.upkeep.rotation else {
            return Ok(());
        };
        let channel = self.pair.as_mut().ok_or(Error::WrongParty)?;
        if channel.session.epoch().checked_add(1) != Some(epoch) {
            return Err(Error::WrongParty);
        }
        let before = channel.session.master().clone();
        channel.session.agree(before.rekey(epoch, nonce, theirs, salt)?, true)?;
        channel.previous = Some(before);
        channel.since = now;
        push(fx, Effect::Store(self.session_record()?))?;
        self.upkeep.rotation = Some(Rotation::Ahead { due: now + CONFIRM_TIMEOUT, tries: 1 });
        self.send_rotated(fx)
    }

    fn send_rotated(&self, fx: &mut Effects) -> Result<(), Error> {
        let epoch = self.pair.as_ref().ok_or(Error::WrongParty)?.session.epoch();
        let body = pdu::build(&[&[pdu::ROTATE], &epoch.to_be_bytes()])?;
        push(fx, Effect::SealToPeer(Tier::Pair, body))
    }

    fn repeat_rotation(
        &mut self,
        now: Instant,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let busy = self.is_busy();
        match &mut self.upkeep.rotation {
            Some(Rotation::Asked { nonce, salt, due, tries }) if *tries < TRIES => {
                (*due, *tries) = (now + CONFIRM_TIMEOUT, *tries + 1);
                let epoch = self.pair.as_ref().ok_or(Error::WrongParty)?.session.epoch() + 1;
                let body = pdu::build(&[&[pdu::ROTATE], &epoch.to_be_bytes(), &nonce[..], &salt[..]])?;
                push(fx, Effect::SealToPeer(Tier::Pair, body))
            }
            Some(Rotation::Ahead { due, tries }) if *tries < TRIES => {
                (*due, *tries) = (now + CONFIRM_TIMEOUT, *tries + 1);
                self.send_rotated(fx)
            }
            // Nobody answered: nothing changed, it is tried again later.
            Some(Rotation::Asked { .. }) => {
                self.upkeep.rotation = None;
                self.upkeep.after = now + ROTATE_AGAIN;
                Ok(())
            }
            // A run under way is not displaced; B may have to wait.
            Some(Rotation::Ahead { due, .. }) if busy => {
                *due = now + CONFIRM_TIMEOUT;
                Ok(())
            }
            // B may or may not have moved; RESUME finds out.
            Some(Rotation::Ahead { .. }) => self.resume(now, self.upkeep.boot, fx, rng),
            None => Ok(()),
        }
    }

    /// A RESUME begins: what was not agreed yet is off.
    pub(super) fn end_rotation(&mut self) {
        (self.upkeep.rotation, self.upkeep.answer) = (None, None);
        if let Some(channel) = &mut self.pair {
            channel.session.withdraw();
        }
    }

    /// A message of the peer opened or did not: notes what has to be done about it.
    pub(super) fn noticed(&mut self, now: Instant, tier: Tier) {
        let Some(channel) = self.channel_mut(tier) else { return };
        let (moved, alarm) = (channel.session.take_moved(), channel.session.take_alarm());
        if moved {
            channel.previous = None;
            (channel.unsaved, channel.since) = (true, now);
            (self.upkeep.rotation, self.upkeep.answer) = (None, None);
            self.upkeep.moved = true;
        }
        if let Some(alarm) = alarm {
            self.upkeep.alarm = Some((tier, alarm));
        }
    }

    /// When a renewal of the pairing's epoch is to be begun: by A with ROTATE at its limits, by B, which can only
    /// ask for a run, an eighth later.
    fn renewal(&self) -> Option<Instant> {
        let pair = self.pair.as_ref().filter(|c| c.is_up() && c.previous.is_none())?;
        if self.run.is_some() || self.upkeep.rotation.is_some() {
            return None;
        }
        let late = |v: u64| if pair.session.sends() == Direction::Ab { v } else { v.saturating_add(v / 8) };
        let usage = pair.session.usage();
        let spent = usage.messages >= late(self.limits.epoch_messages)
            || usage.blocks >= late(self.limits.epoch_blocks)
            || u64::from(pair.session.failures()) >= late(u64::from(self.limits.epoch_failures));
        let spent = spent && kept(Defence::EarlyRenewal);
        let age = Duration::from_micros(late(self.limits.epoch_age.as_micros()));
        Some(if spent { self.upkeep.after } else { self.upkeep.after.max(pair.since + age) })
    }

    /// When the session of a binding that has no pairing ends.
    fn unpaired_end(&self) -> Option<Instant> {
        let bind = self.bind.as_ref().filter(|c| c.fresh && self.pair.is_none())?;
        Some(bind.since + self.limits.unpaired)
    }

    fn count_due(&self) -> Option<Instant> {
        self.upkeep.counted.filter(|_| self.is_up()).map(|t| t + COUNT_PERIOD)
    }

    fn bind_resume_due(&self) -> Option<Instant> {
        self.upkeep.bind_due.filter(|_| self.run.is_none() && self.is_up() && self.bind.is_some())
    }

    /// When [`Relation::upkeep`] has something to do.
    pub(super) fn upkeep_due(&self) -> Option<Instant> {
        let unsaved = [&self.pair, &self.bind].into_iter().flatten().any(|c| c.unsaved);
        let uncounted = self.is_up() && self.upkeep.counted.is_none();
        if unsaved || uncounted || self.upkeep.moved || self.upkeep.alarm.is_some() {
            return Some(Instant::START);
        }
        let rotation = self.upkeep.rotation.as_ref().map(|r| match r {
            Rotation::Asked { due, .. } | Rotation::Ahead { due, .. } => *due,
        });
        let times = [rotation, self.renewal(), self.unpaired_end(), self.count_due(), self.bind_resume_due()];
        times.into_iter().flatten().min()
    }

    /// Does one thing that is due; false when there was none.
    pub(super) fn upkeep(
        &mut self,
        now: Instant,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<bool, Error> {
        let is_due = |at: Option<Instant>| at.is_some_and(|t| t <= now);
        self.upkeep.boot = boot;
        if self.pair.is_none() {
            // The pairing ended in the midst of it.
            self.upkeep.rotation = None;
        }
        for tier in [Tier::Pair, Tier::Bind] {
            if self.channel(tier).is_some_and(|c| c.unsaved) {
                self.save(tier, fx)?;
                return Ok(true);
            }
        }
        if core::mem::take(&mut self.upkeep.moved) {
            let Some(session) = self.session() else { return Ok(true) };
            let (epoch, sends) = (session.epoch(), session.sends());
            if sends == Direction::Ba {
                self.confirm(Tier::Pair, fx)?;
            } else {
                // The channel of the binding is renewed in the same rhythm.
                self.upkeep.bind_due = Some(now);
            }
            push(fx, Effect::Event(RelationEvent::Rotated { epoch }))?;
            self.tell_handshake(fx)?;
            return Ok(true);
        }
        if let Some((tier, alarm)) = self.upkeep.alarm.take() {
            self.alarm(now, tier, alarm, boot, fx, rng)?;
            return Ok(true);
        }
        let rotation_due = self.upkeep.rotation.as_ref().is_some_and(|r| match r {
            Rotation::Asked { due, .. } | Rotation::Ahead { due, .. } => *due <= now,
        });
        if rotation_due {
            self.repeat_rotation(now, fx, rng)?;
            return Ok(true);
        }
        if is_due(self.renewal()) {
            self.upkeep.after = now + ROTATE_AGAIN;
            match self.session().map(Session::sends) {
                Some(Direction::Ab) => self.rotate(now, fx, rng)?,
                _ => Relation::ask_for_run(fx)?,
            }
            return Ok(true);
        }
        if is_due(self.unpaired_end())
            && let Some(bind) = &mut self.bind
        {
            // The secret stays: once there is a pairing, RESUME brings the channel back.
            (bind.fresh, bind.confirmed) = (false, false);
            return Ok(true);
        }
        if self.is_up() && self.upkeep.counted.is_none() {
            self.upkeep.counted = Some(now);
            return Ok(true);
        }
        if is_due(self.count_due()) {
            let since = self.upkeep.counted.replace(now).unwrap_or(now);
            let more = u32::try_from(now.saturating_since(since).as_millis() / 1_000).unwrap_or(u32::MAX);
            self.upkeep.used_s = self.upkeep.used_s.saturating_add(more);
            push(fx, Effect::Store(self.age_record()?))?;
            self.tell_handshake(fx)?;
            return Ok(true);
        }
        if is_due(self.bind_resume_due()) {
            self.upkeep.bind_due = Some(now + BIND_AGAIN);
            self.resume_channel(Tier::Bind, now, boot, fx, rng)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Makes the epoch in use of a channel durable, if it is not.
    pub(super) fn save(&mut self, tier: Tier, fx: &mut Effects) -> Result<(), Error> {
        if self.channel(tier).is_some_and(|c| c.unsaved) {
            push(fx, Effect::Store(self.channel_record(tier)?))?;
            if let Some(channel) = self.channel_mut(tier) {
                channel.unsaved = false;
            }
        }
        Ok(())
    }

    fn alarm(
        &mut self,
        now: Instant,
        tier: Tier,
        alarm: Alarm,
        boot: u32,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        push(fx, Effect::Event(RelationEvent::Alarm { tier, alarm }))?;
        self.upkeep.alarmed |= alarm == Alarm::Failures;
        if alarm != Alarm::Failures || now < self.upkeep.rest || self.run.is_some() {
            return Ok(());
        }
        self.upkeep.rest = now + ALARM_REST;
        match self.channel(tier).map(|c| (c.session.sends(), home(c.session.kind()))) {
            Some((Direction::Ab, channel)) => self.resume_channel(channel, now, boot, fx, rng),
            Some((Direction::Ba, _)) => Relation::ask_for_run(fx),
            None => Ok(()),
        }
    }

    /// Tells the owner, once an epoch, that a full handshake is due.
    pub(super) fn tell_handshake(&mut self, fx: &mut Effects) -> Result<(), Error> {
        let Some(epoch) = self.pair.as_ref().map(|c| c.session.epoch()) else { return Ok(()) };
        let due = self.upkeep.alarmed
            || self.upkeep.used_s >= self.limits.handshake_age_s
            || epoch >= self.limits.handshake_epochs;
        if due && self.upkeep.told != Some(epoch) {
            self.upkeep.told = Some(epoch);
            return self.handshake_due(fx);
        }
        Ok(())
    }

    pub(super) fn handshake_due(&mut self, fx: &mut Effects) -> Result<(), Error> {
        push(fx, Effect::Event(RelationEvent::HandshakeDue))
    }

    /// A new pairing stands: everything counts anew.
    pub(super) fn handshake_done(&mut self) {
        self.upkeep = Upkeep { bind_due: self.upkeep.bind_due, boot: self.upkeep.boot, ..Upkeep::default() };
    }

    /// `1 | powered seconds since the handshake u32`.
    pub(super) fn age_record(&self) -> Result<Record, Error> {
        Record::new(key::age(self.slot), &[&[1], &self.upkeep.used_s.to_be_bytes()])
    }

    /// True when `channel` can be renewed once more.
    pub(super) fn may_renew(&self, channel: &Channel) -> bool {
        channel.session.epoch() < self.limits.epochs_max
    }
}
