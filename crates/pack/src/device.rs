//! What every role of a device has: its identity, boot counter, clock, the challenge of its next level-5 command,
//! what waits to be stored or told, and counts of what it refused.

pub(crate) mod delegate;
mod lifecycle;
pub(crate) mod policy;
mod statements;

use crate::{
    announce::{Announcer, flag},
    bootstrap::{self, Bootstrap, Keys},
    can::{Frame, Id},
    clock::Clock,
    fault::FaultCode,
    gate::{Denied, Screened, Standing},
    health::Health,
    identity::{Identity, Loaded, Record, key, next_boot},
    journal::Journal,
    lifecycle::{Condition, verify_identity},
    link::FrameFormat,
    policies::{Policies, Terms},
    relation::{Effect, Effects, Relation},
    revocations::Revocations,
    sealed_id::SealedId,
    session::Refusal,
    testimony::Testimony,
    time::{Duration, Instant},
};
use lct::{
    Error,
    clock::TOKEN_LEN,
    command::SignedCommand,
    id::BindingId,
    journal::{Code, SELF},
    selftest,
};
use rand_core::CryptoRng;
use zeroize::Zeroize;

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

/// A counter was not readable.
const LOST_COUNTER: u64 = 1 << 62;
/// Records that sealing a message may leave: the epoch in use and a reservation of counters.
const SEALING_RECORDS: usize = 2;
/// Records that the end of a relationship stores.
const ENDING_RECORDS: usize = 6;
/// The own certificate chain does not verify.
const LOST_IDENTITY: u64 = 1 << 63;

/// The part that the roles share. `E` is the role's event; `STORES` and `EVENTS` are how many records and events
/// may wait.
pub(crate) struct Device<E, const STORES: usize, const EVENTS: usize> {
    pub(crate) own: Identity,
    pub(crate) boot: u32,
    pub(crate) clock: Clock,
    pub(crate) revocations: Revocations,
    pub(crate) policies: Policies,
    delegates: delegate::Delegates,
    pub(crate) journal: Journal,
    /// The authority's last word about time, for whoever is below.
    token: Option<[u8; TOKEN_LEN]>,
    stale_told: bool,
    /// What was refused when that was last written into the log.
    refused_logged: Refused,
    condition: Condition,
    /// The log of this start says that the device is not sound.
    condition_told: bool,
    /// What Key-Lost is about: bit k the relationship in slot k, above them [`LOST_COUNTER`], [`LOST_IDENTITY`].
    lost: u64,
    challenge: u32,
    /// When the challenge was drawn.
    drawn: Instant,
    last_command: Option<u32>,
    stores: heapless::Deque<Record, STORES>,
    events: heapless::Deque<E, EVENTS>,
    refused: Refused,
    pub(crate) announcer: Announcer,
    /// Active faults and what is counted about them.
    pub(crate) health: Health,
    /// Validation events on their way to the ledger.
    pub(crate) testimony: Testimony<STORES>,
    /// What was stated of relay and faults.
    stated: statements::Stated,
}

impl<E, const STORES: usize, const EVENTS: usize> Device<E, STORES, EVENTS> {
    /// A device that starts: `load` reads its flash, the next boot counter is the first record to store.
    ///
    /// # Errors
    /// [`Error::SelfTest`]: the device must not run. [`Error::Exhausted`]: no boot counter is left.
    pub(crate) fn start(
        mut own: Identity,
        mut load: impl FnMut(u16) -> Loaded,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        selftest::run()?;
        // What is damaged counts as absent, in a device that has lost its keys.
        let mut lost = 0;
        let mut read = |key| {
            load(key).unwrap_or_else(|_| {
                lost = LOST_COUNTER;
                None
            })
        };
        let mut succeeded = 0;
        if let Some(record) = read(key::AUTHORITY) {
            (own.authority, succeeded) = delegate::successor(&record)?;
        }
        let boot = read(key::BOOT);
        let clock = Clock::start(read(key::TIME).as_deref(), now)?;
        let revocations = Revocations::restore(&mut read)?;
        // A policy that cannot be read is none: a pairing under it is lost, see `Device::restore`.
        let policies = Policies::restore(&mut read).unwrap_or_default();
        let journal = match Journal::start(&own, &mut read, now, rng) {
            Ok(journal) => journal,
            Err(_) => {
                lost = LOST_COUNTER;
                Journal::begin_again(&own, now, rng)?
            }
        };
        let (boot, record) = next_boot(boot.as_deref())?;
        let mut device = Device {
            boot,
            clock,
            revocations,
            policies,
            delegates: delegate::Delegates::after(succeeded),
            journal,
            token: None,
            stale_told: false,
            refused_logged: Refused::default(),
            condition: Condition::load(load(key::CONDITION)),
            condition_told: false,
            lost: 0,
            own,
            challenge: 0,
            drawn: now,
            last_command: None,
            stores: heapless::Deque::new(),
            events: heapless::Deque::new(),
            refused: Refused::default(),
            announcer: Announcer::new(now, flag::STARTED),
            health: Health::new(boot),
            testimony: Testimony::new(now),
            stated: statements::Stated::default(),
        };
        if verify_identity(&device.own).is_err() {
            device.lose(LOST_IDENTITY);
        }
        // A boot counter that was lost stays lost until a factory reset: peers refuse a lower one.
        if lost == 0 {
            device.store(record)?
        } else {
            device.lose(lost)
        }
        device.log_gap(now);
        let firmware = device.own.firmware.to_be_bytes();
        device.log(now, Code::Started, SELF, &[&firmware]);
        Ok(device)
    }

    /// A counter that cannot be read starts anew, in a device that has lost its keys.
    pub(crate) fn counter(&mut self, stored: Loaded) -> Option<Record> {
        stored.unwrap_or_else(|_| {
            self.lose(LOST_COUNTER);
            None
        })
    }

    /// Restores `relation` unless the device was tampered with; what cannot be restored makes it Key-Lost.
    pub(crate) fn restore(&mut self, relation: &mut Relation, mut load: impl FnMut(u16) -> Loaded) {
        if self.condition == Condition::Tampered {
            return;
        }
        let restored = relation.restore(&self.own, &mut load);
        if restored.and_then(|()| relation.enter_policy(&self.policies)).is_err() {
            let bond = load(key::bond(relation.slot())).ok().flatten();
            let old = bond.as_deref().and_then(|record| record.get(1..)?.first_chunk::<16>().copied());
            relation.lose(old.map(BindingId));
            self.lose(1 << relation.slot());
        }
    }

    /// Restores the device channel, the printed code and the count of wrong tries; where one of these two cannot be read,
    /// none.
    pub(crate) fn restore_bootstrap(
        &mut self,
        load: impl FnMut(u16) -> Loaded,
        now: Instant,
    ) -> Result<Bootstrap, Error> {
        Bootstrap::restore(&self.own, 0, load, now).or_else(|_| {
            self.lose(LOST_COUNTER);
            Bootstrap::restore(&self.own, 0, |_| Ok(None), now)
        })
    }

    /// What was lost in `slot` is bound again.
    pub(crate) fn rebound(&mut self, slot: u8) {
        self.lost &= !(1 << slot);
        if self.lost == 0 && self.condition == Condition::KeyLost {
            self.condition = Condition::Sound;
        }
    }

    /// The enclosure was opened: every key goes, and the condition stays until a factory reset (H138).
    pub(crate) fn tamper(&mut self, now: Instant) -> Result<(), Error> {
        (self.condition, self.condition_told) = (Condition::Tampered, false);
        self.log_condition(now);
        self.announcer.want(flag::TAMPERED);
        self.forget_stores();
        self.store(Condition::Tampered.record()?)?;
        self.erase()
    }

    /// Erases everything but identity and counters (H139). What the last owner was not told is not for the next.
    pub(crate) fn factory_reset(&mut self, now: Instant) -> Result<(), Error> {
        self.forget_stores();
        self.journal.give_up();
        self.log_gap(now);
        self.log(now, Code::FactoryReset, SELF, &[]);
        self.condition_told = false;
        self.log_condition(now);
        self.erase()?;
        self.store(Condition::Sound.record()?)?;
        self.store(Record::new(key::BOOT, &[&[1], &self.boot.to_be_bytes()])?)?;
        self.lost &= LOST_IDENTITY;
        self.condition = if self.lost == 0 { Condition::Sound } else { Condition::KeyLost };
        Ok(())
    }

    /// Erases the flash; the log, which holds no key of a relationship, is written again behind that.
    fn erase(&mut self) -> Result<(), Error> {
        self.journal.erased();
        self.store(Record::new(key::ERASE_ALL, &[])?)
    }

    /// What waits to be stored belongs to keys that go.
    fn forget_stores(&mut self) {
        for _ in 0..self.stores.len() {
            if let Some(record) = self.first_store().filter(|record| key::is_lasting(record.key)) {
                let kept = self.stores.push_back(record);
                debug_assert!(kept.is_ok(), "room was made");
            }
        }
    }

    fn lose(&mut self, what: u64) {
        self.lost |= what;
        if self.condition == Condition::Sound {
            self.condition = Condition::KeyLost;
        }
    }

    /// In what condition the device is.
    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    // --- what goes out --------------------------------------------------------------------------------

    /// The next thing to do: records first, so that each is durable before the frames that depend on it.
    pub(crate) fn poll<O>(
        &mut self,
        store: impl FnOnce(Record) -> O,
        transmit: impl FnOnce() -> Option<O>,
        event: impl FnOnce(E) -> O,
    ) -> Option<O> {
        let record = self.first_store().or_else(|| self.lifecycle_record());
        if let Some(record) = record {
            return Some(store(record));
        }
        transmit().or_else(|| self.events.pop_front().map(event))
    }

    /// Takes the next record out of the queue. Moved out it would leave its bytes in the place where it waited.
    fn first_store(&mut self) -> Option<Record> {
        let record = self.stores.front()?.clone();
        self.stores.front_mut()?.value.as_mut_slice().zeroize();
        self.stores.pop_front();
        Some(record)
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
        self.expect_records()?;
        let mut fx = Effects::new();
        let sealed = relation.seal(&self.own, id, base, h0, parts, out, &mut fx);
        self.store_all(fx)?;
        sealed
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
        self.expect_records()?;
        let mut fx = Effects::new();
        let sealed = relation.seal_compact(&self.own, id, base, body, out, &mut fx);
        self.store_all(fx)?;
        sealed
    }

    /// As [`Device::seal`] at dev tier, under `keys` of `bootstrap` for a bus of `format`.
    pub(crate) fn seal_device(
        &mut self,
        bootstrap: &mut Bootstrap,
        keys: Keys,
        format: FrameFormat,
        id: SealedId,
        base: u16,
        parts: &[&[u8]],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.expect_records()?;
        let mut fx = bootstrap::Effects::new();
        let sealed = bootstrap.seal(&self.own, keys, format, id, base, parts, out, &mut fx);
        while let Some(bootstrap::Effect::Store(record)) = fx.pop_front() {
            self.store(record)?;
        }
        sealed
    }

    /// Whether what sealing may leave to be stored finds a place; asked before anything counts as reserved.
    fn expect_records(&self) -> Result<(), Error> {
        if STORES - self.stores.len() < SEALING_RECORDS { Err(Error::BufferTooSmall) } else { Ok(()) }
    }

    /// Queues the records in `fx`, also those of an operation that failed: whoever left them there counts on them.
    pub(crate) fn store_all(&mut self, mut fx: Effects) -> Result<(), Error> {
        while let Some(Effect::Store(record)) = fx.pop_front() {
            self.store(record)?;
        }
        Ok(())
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
                self.log(now, Code::ClearRefused, SELF, &[&base.to_be_bytes()]);
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
    pub(crate) fn standing<'a>(&'a self, now: Instant, relation: &'a Relation) -> Standing<'a> {
        let terms = self.policies.terms(relation.policy_in_force()).unwrap_or(Terms::FACTORY);
        Standing { table: terms.table, ..Standing::of(relation.device_state()) }
            .with_clear(relation.clear_now(now))
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
    pub(crate) fn roll_challenge(&mut self, now: Instant, relation: &mut Relation, rng: &mut impl CryptoRng) {
        let mut c = [0; 4];
        rng.fill_bytes(&mut c);
        (self.challenge, self.drawn) = (u32::from_be_bytes(c), now);
        relation.set_challenge(self.challenge);
    }

    /// The challenge in force.
    pub(crate) fn challenge(&self) -> u32 {
        self.challenge
    }

    /// True when the command answers another challenge, repeats a number of this epoch, or arrives later than its
    /// time of use after the challenge was drawn, however long it was held back (H36).
    pub(crate) fn is_stale(&self, now: Instant, command: &SignedCommand<'_>) -> bool {
        command.challenge != self.challenge
            || self.last_command.is_some_and(|s| command.seq <= s)
            || now > self.drawn + Duration::from_millis(u64::from(command.ttl_ms))
    }

    /// The command was judged: it cannot come again, for its challenge is gone. The number of a stale one is not spent.
    pub(crate) fn spend(
        &mut self,
        now: Instant,
        seq: u32,
        stale: bool,
        relation: &mut Relation,
        rng: &mut impl CryptoRng,
    ) {
        if !stale {
            self.last_command = Some(seq);
        }
        self.roll_challenge(now, relation, rng);
    }

    /// A fresh epoch counts its commands anew.
    pub(crate) fn forget_commands(&mut self) {
        self.last_command = None;
    }
}
