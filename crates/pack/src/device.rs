//! What every role of a device has: its identity, boot counter, clock, the challenge of its next level-5 command,
//! what waits to be stored or told, and counts of what it refused.

mod lifecycle;

use crate::{
    can::{Frame, Id},
    clock::Clock,
    fault::FaultCode,
    gate::{Denied, Screened, Standing},
    health::Health,
    identity::{Identity, Record, key, next_boot},
    journal::Journal,
    relation::{Effect, Effects, Relation},
    revocations::Revocations,
    sealed_id::SealedId,
    session::Refusal,
    time::Instant,
};
use lct::{Error, clock::TOKEN_LEN, command::SignedCommand, journal::Code};
use rand_core::CryptoRng;

/// Messages and frames that were refused, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Sealed messages that did not open: unknown key, bad tag, replay, malformed.
    pub sealed: u32,
    /// Clear messages whose class asks for more.
    pub policy: u32,
    /// Security PDUs that were refused.
    pub security: u32,
}

/// The part that the roles share. `E` is the role's event; `STORES` and `EVENTS` are how many records and events
/// may wait.
pub(crate) struct Device<E, const STORES: usize, const EVENTS: usize> {
    pub(crate) own: Identity,
    pub(crate) boot: u32,
    pub(crate) clock: Clock,
    pub(crate) revocations: Revocations,
    pub(crate) journal: Journal,
    /// The authority's last word about time, for whoever is below.
    token: Option<[u8; TOKEN_LEN]>,
    stale_told: bool,
    /// What was refused when that was last written into the log.
    refused_logged: Refused,
    challenge: u32,
    last_command: Option<u32>,
    stores: heapless::Deque<Record, STORES>,
    events: heapless::Deque<E, EVENTS>,
    refused: Refused,
    /// Active faults and what is counted about them.
    pub(crate) health: Health,
}

impl<E, const STORES: usize, const EVENTS: usize> Device<E, STORES, EVENTS> {
    /// A device that starts: `load` reads its flash, the next boot counter is the first record to store.
    pub(crate) fn start<'a>(
        own: Identity,
        mut load: impl FnMut(u16) -> Option<&'a [u8]>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let (boot, record) = next_boot(load(key::BOOT))?;
        let mut device = Device {
            boot,
            clock: Clock::start(load(key::TIME), now)?,
            revocations: Revocations::restore(&mut load)?,
            journal: Journal::start(&own, &mut load, now, rng)?,
            token: None,
            stale_told: false,
            refused_logged: Refused::default(),
            own,
            challenge: 0,
            last_command: None,
            stores: heapless::Deque::new(),
            events: heapless::Deque::new(),
            refused: Refused::default(),
            health: Health::new(boot),
        };
        device.store(record)?;
        let firmware = device.own.firmware.to_be_bytes();
        device.log(now, Code::Started, lct::journal::SELF, &[&firmware]);
        Ok(device)
    }

    // --- what goes out --------------------------------------------------------------------------------

    /// The next thing to do: records first, so that each is durable before the frames that depend on it.
    pub(crate) fn poll<O>(
        &mut self,
        store: impl FnOnce(Record) -> O,
        transmit: impl FnOnce() -> Option<O>,
        event: impl FnOnce(E) -> O,
    ) -> Option<O> {
        let record = self.stores.pop_front().or_else(|| self.lifecycle_record());
        if let Some(record) = record {
            return Some(store(record));
        }
        transmit().or_else(|| self.events.pop_front().map(event))
    }

    /// Queues a record for the flash.
    pub(crate) fn store(&mut self, record: Record) -> Result<(), Error> {
        self.stores.push_back(record).map_err(|_| Error::BufferTooSmall)
    }

    /// Tells the owner; the oldest event makes room.
    pub(crate) fn event(&mut self, event: E) {
        if self.events.is_full() {
            self.events.pop_front();
        }
        let kept = self.events.push_back(event);
        debug_assert!(kept.is_ok(), "room was made");
    }

    /// Tells the owner unless too much waits: for events that are not acknowledged and so come again.
    pub(crate) fn offer(&mut self, event: E) -> Result<(), Error> {
        self.events.push_back(event).map_err(|_| Error::BufferTooSmall)
    }

    /// Seals `parts` for the peer of `relation` into `out`, and queues the reservation that this may need.
    pub(crate) fn seal(
        &mut self,
        relation: &mut Relation,
        id: SealedId,
        base: u16,
        h0: u8,
        parts: &[&[u8]],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let mut fx = Effects::new();
        let n = relation.seal(&self.own, id, base, h0, parts, out, &mut fx)?;
        while let Some(Effect::Store(record)) = fx.pop_front() {
            self.store(record)?;
        }
        Ok(n)
    }

    /// As [`Device::seal`] for a compact message; `None` when the pairing does not allow that.
    pub(crate) fn seal_compact(
        &mut self,
        relation: &mut Relation,
        id: SealedId,
        base: u16,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        let mut fx = Effects::new();
        let n = relation.seal_compact(&self.own, id, base, body, out, &mut fx)?;
        while let Some(Effect::Store(record)) = fx.pop_front() {
            self.store(record)?;
        }
        Ok(n)
    }

    // --- what was refused -----------------------------------------------------------------------------

    /// What was refused since the start.
    pub(crate) fn refused(&self) -> Refused {
        self.refused
    }

    /// Counts a sealed message that did not open.
    pub(crate) fn refuse_sealed(&mut self, now: Instant, why: Refusal) {
        self.refused.sealed = self.refused.sealed.saturating_add(1);
        self.health.not_opened(now, why);
    }

    /// Counts a message that a role does not take.
    pub(crate) fn refuse_policy(&mut self) {
        self.refused.policy = self.refused.policy.saturating_add(1);
        self.health.refused_policy();
    }

    /// Counts what the gate refused. Clear frames that go round a channel are an alarm after three (C110).
    pub(crate) fn deny(&mut self, now: Instant, base: u16, denied: Denied) {
        self.refused.policy = self.refused.policy.saturating_add(1);
        match denied {
            Denied::Unprotected => {
                self.health.refused_clear(now, base);
            }
            Denied::TooWeak | Denied::GroupRaises => {
                self.health.refused_policy();
                self.health.raise(now, FaultCode::PolicyRefused, u32::from(base));
            }
            _ => self.health.refused_policy(),
        }
    }

    /// Counts a frame that is not to be received, and says whether it is to be.
    pub(crate) fn screen(&mut self, now: Instant, frame: &Frame, screened: Screened) -> bool {
        match screened {
            Screened::Pass => return true,
            Screened::Hopeless => self.refuse_policy(),
            Screened::Own => {
                let ide = if matches!(frame.id(), Id::Extended(_)) { 0x8000_0000 } else { 0 };
                self.health.own_identifier(now, frame.id().raw() | ide);
            }
        }
        false
    }

    /// Where this device stands towards the peer of `relation`: the one place that names the class table in force.
    pub(crate) fn standing<'a>(&'a self, relation: &'a Relation) -> Standing<'a> {
        Standing::of(relation.device_state()).with_clear(relation.stay_clear())
    }

    /// Counts a security PDU.
    pub(crate) fn refuse_security(&mut self) {
        self.refused.security = self.refused.security.saturating_add(1);
    }

    /// Nothing that arrives from the bus stops a role: it is refused and counted.
    pub(crate) fn tolerate(&mut self, result: Result<(), Error>) {
        if result.is_err() {
            self.refuse_security();
        }
    }

    // --- level-5 commands that it receives ------------------------------------------------------------

    /// Draws the challenge of the next command and lets `relation` announce it.
    pub(crate) fn roll_challenge(&mut self, relation: &mut Relation, rng: &mut impl CryptoRng) {
        let mut c = [0; 4];
        rng.fill_bytes(&mut c);
        self.challenge = u32::from_be_bytes(c);
        relation.set_challenge(self.challenge);
    }

    /// The challenge in force.
    pub(crate) fn challenge(&self) -> u32 {
        self.challenge
    }

    /// True when the command answers another challenge or repeats a number of this epoch (H36).
    pub(crate) fn is_stale(&self, command: &SignedCommand<'_>) -> bool {
        command.challenge != self.challenge || self.last_command.is_some_and(|s| command.seq <= s)
    }

    /// The command with this number was judged: it cannot come again.
    pub(crate) fn spend(&mut self, seq: u32, relation: &mut Relation, rng: &mut impl CryptoRng) {
        self.last_command = Some(seq);
        self.roll_challenge(relation, rng);
    }

    /// A fresh epoch counts its commands anew.
    pub(crate) fn forget_commands(&mut self) {
        self.last_command = None;
    }
}
