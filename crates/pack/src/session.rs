//! An established channel: its keys in the current epoch, its counters and its replay windows
//! (`spec/channel.md`, H30 to H44).

pub mod compact;
pub mod limits;

use crate::{
    link::FrameFormat,
    sealed_id::{Level, SealedId},
    time::Instant,
};
use compact::{C1_LEN, C2_LEN, Guard};
use kept::{Defence, kept};
use lct::{
    Digest, Error,
    counter::Reservation,
    handshake::{Established, Kind},
    schedule::{ChannelId, Direction, ExchangeTag, MasterSecret, Tier},
    seal::{Binding, Compact, OVERHEAD, Opener, Sealer, claimed_counter, erase, plaintext},
    secret::Secret,
};
use limits::{Limits, Span, Usage};

/// Counters reserved at once for routine traffic.
pub const RESERVE_STREAM: u64 = 65_536;
/// Counters reserved at once for commands.
pub const RESERVE_COMMAND: u64 = 1_024;

/// H0 bits 1..0: the two low bits of the base.
pub const H0_LOW: u8 = 0b11;
/// H0 bit 2: the plaintext is padded, its last byte tells how far.
pub const H0_PADDED: u8 = 0b100;
/// H0 bit 3: the body is a level-5 command with its signature.
pub const H0_SIGNED: u8 = 0b1000;

/// Which counters of a peer were seen in the current epoch.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Highest accepted counter plus one.
    next: u64,
    /// Bit i: counter `next - 1 - i` was accepted.
    seen: u64,
    /// Only increasing counters are accepted.
    strict: bool,
}

impl Window {
    /// A window of 64 for telemetry, or a strictly increasing one for commands.
    pub fn new(strict: bool) -> Self {
        Window { next: 0, seen: 0, strict }
    }

    /// True when `counter` may still be accepted; changes nothing.
    pub fn admits(&self, counter: u64) -> bool {
        if !kept(Defence::ReplayWindow) {
            return true;
        }
        if counter >= self.next {
            return counter != u64::MAX;
        }
        let age = self.next - 1 - counter;
        !self.strict && age < 64 && self.seen >> age & 1 == 0
    }

    /// The highest accepted counter.
    pub fn last(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Marks an authenticated counter.
    pub fn accept(&mut self, counter: u64) {
        if counter >= self.next {
            let shift = counter + 1 - self.next;
            self.seen = if shift >= 64 { 0 } else { self.seen << shift };
            self.seen |= 1;
            self.next = counter + 1;
        } else {
            let age = self.next - 1 - counter;
            if age < 64 {
                self.seen |= 1 << age;
            }
        }
    }
}

struct Way {
    tier: Tier,
    sealer: Sealer,
    opener: Opener,
    window: Window,
    reservations: u32,
    /// AES blocks that the peer spent on what was opened.
    opened: u64,
}

/// Keys, counters and windows of one epoch.
struct Epoch {
    number: u32,
    master: MasterSecret,
    ways: heapless::Vec<Way, 2>,
    compact: Option<Compact>,
}

/// What is still opened of the epoch before.
struct Grace {
    number: u32,
    opener: Opener,
    window: Window,
    until: Instant,
}

/// Keys and windows of one channel: its current epoch, the next one while a rotation is under way, and for a
/// short time the exchange tier of the one before (H90).
pub struct Session {
    kind: Kind,
    th4: Digest,
    channel: ChannelId,
    exchange: Option<ExchangeTag>,
    sends: Direction,
    current: Epoch,
    /// Agreed by a rotation; the first message that opens under it makes it the current one.
    next: Option<Epoch>,
    /// This side already sends in `next`.
    ahead: bool,
    previous: Option<Grace>,
    /// The peer proved `next`; taken by [`Session::take_moved`].
    moved: bool,
    bases: heapless::Vec<u16, { lct::metadata::BASES_MAX }>,
    guard: Guard,
    failures: u32,
    span: Span,
    alarm: Option<Alarm>,
    format: FrameFormat,
}

/// What a channel found wrong with what it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Too many messages did not open under a live key.
    Failures,
    /// Too many compact messages did not verify: the profile is off until the next epoch.
    Compact,
}

/// Why a sealed message was refused. The outside sees no difference; counters do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too short, bad header byte or bad padding.
    Malformed,
    /// No channel, or a nonce base that is not of this epoch.
    UnknownKey,
    /// The counter was seen before or is too old.
    Replayed,
    /// The tag does not verify.
    NotAuthentic,
    /// The class of the message asks for more protection.
    Policy,
}

/// A message that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// 11-bit base, with the bits that travelled inside.
    pub base: u16,
    /// Protection it had.
    pub tier: Tier,
    /// True when the body is a level-5 command.
    pub signed: bool,
    /// Body without header byte and padding.
    pub body: &'a [u8],
}

/// Reservation that must be durable before the session's first message of a tier.
pub type Reserve = Reservation;

impl Session {
    /// The session that a finished handshake of kind BIND, PAIR, DEV or PAKE opens, epoch 0.
    pub fn established(
        kind: Kind,
        done: &Established,
        exchange: Option<&Secret<32>>,
        sends: Direction,
    ) -> Result<Self, Error> {
        Self::at_epoch(kind, done.th4, 0, done.master.clone(), exchange.map(ExchangeTag::of), sends)
    }

    /// A session in a given epoch. Its sealers may send nothing before [`Session::reserved`].
    pub fn at_epoch(
        kind: Kind,
        th4: Digest,
        epoch: u32,
        master: MasterSecret,
        exchange: Option<ExchangeTag>,
        sends: Direction,
    ) -> Result<Self, Error> {
        let channel = lct::handshake::channel_id(&th4);
        let current = Epoch { number: epoch, master, ways: heapless::Vec::new(), compact: None };
        let mut session = Session {
            kind,
            th4,
            channel,
            exchange,
            sends,
            current,
            next: None,
            ahead: false,
            previous: None,
            moved: false,
            bases: heapless::Vec::new(),
            guard: Guard::default(),
            failures: 0,
            span: Span::default(),
            alarm: None,
            format: FrameFormat::Classical,
        };
        session.current = session.derive(epoch, session.current.master.clone())?;
        Ok(session)
    }

    fn derive(&self, number: u32, master: MasterSecret) -> Result<Epoch, Error> {
        let tiers: &[Tier] = match self.kind {
            Kind::Pair => &[Tier::Exch, Tier::Pair],
            Kind::Bind => &[Tier::Bind],
            Kind::Dev | Kind::Pake => &[Tier::Dev],
            Kind::Resume => return Err(Error::WrongParty),
        };
        let secret = |tier, way| master.traffic(tier, way, number, &self.channel, self.exchange.as_ref());
        let mut ways = heapless::Vec::new();
        for tier in tiers {
            let way = Way {
                tier: *tier,
                sealer: Sealer::new(&secret(*tier, self.sends)?, 0, 0)?,
                opener: Opener::new(&secret(*tier, self.sends.reversed())?)?,
                window: Window::new(!matches!(tier, Tier::Exch | Tier::Dev)),
                reservations: 0,
                opened: 0,
            };
            ways.push(way).map_err(|_| Error::BufferTooSmall)?;
        }
        let compact = match self.bases.is_empty() {
            true => None,
            false => Some(Compact::new(&secret(Tier::Exch, Direction::Ba)?)?),
        };
        Ok(Epoch { number, master, ways, compact })
    }

    /// Kind of handshake that opened it.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// TH4 of the handshake; it survives every later epoch.
    pub fn th4(&self) -> &Digest {
        &self.th4
    }
    /// Identifier of the channel.
    pub fn channel(&self) -> &ChannelId {
        &self.channel
    }
    fn sending(&self) -> &Epoch {
        self.next.as_ref().filter(|_| self.ahead).unwrap_or(&self.current)
    }
    fn sending_mut(&mut self) -> &mut Epoch {
        match &mut self.next {
            Some(next) if self.ahead => next,
            _ => &mut self.current,
        }
    }
    /// Epoch in which this side sends.
    pub fn epoch(&self) -> u32 {
        self.sending().number
    }
    /// Master secret of [`Session::epoch`], for sealed storage and RESUME.
    pub fn master(&self) -> &MasterSecret {
        &self.sending().master
    }
    /// Exchange tag, for sealed storage.
    pub fn exchange(&self) -> Option<&ExchangeTag> {
        self.exchange.as_ref()
    }

    /// Direction of what this side sends.
    pub fn sends(&self) -> Direction {
        self.sends
    }

    /// Says what frames the bus carries: on CAN FD a sealed message is padded to 32, 48 or 64 bytes where it then is
    /// one frame (H99).
    pub fn set_format(&mut self, format: FrameFormat) {
        self.format = format;
    }

    /// Moves to epoch `number` after a RESUME: new keys, empty windows, nothing reserved. With `until` the exchange
    /// tier of the epoch in use so far is still opened until then.
    pub fn renew(&mut self, number: u32, master: MasterSecret, until: Option<Instant>) -> Result<(), Error> {
        let fresh = self.derive(number, master)?;
        self.next = Some(fresh);
        self.enter(until);
        Ok(())
    }

    /// Holds the next epoch that a rotation agreed on. With `ahead` this side sends in it from now on; otherwise
    /// from the peer's first message in it.
    pub fn agree(&mut self, master: MasterSecret, ahead: bool) -> Result<(), Error> {
        let number = self.current.number.checked_add(1).ok_or(Error::Exhausted)?;
        self.next = Some(self.derive(number, master)?);
        self.ahead = ahead;
        Ok(())
    }

    /// Forgets a next epoch in which nothing was sent.
    pub fn withdraw(&mut self) {
        if !self.ahead {
            self.next = None;
        }
    }

    /// The next epoch becomes the current one. They change places: an epoch that was moved out of its place would
    /// leave its keys there (H9).
    fn enter(&mut self, until: Option<Instant>) {
        if let Some(old) = &mut self.next {
            core::mem::swap(&mut self.current, old);
            let exch = old.ways.iter().find(|w| w.tier == Tier::Exch);
            self.previous = until.zip(exch).map(|(until, way)| Grace {
                number: old.number,
                opener: way.opener.clone(),
                window: way.window.clone(),
                until,
            });
        }
        (self.next, self.ahead, self.failures) = (None, false, 0);
        self.guard = Guard::default();
    }

    /// True once after the peer proved the next epoch, which is the current one since.
    pub fn take_moved(&mut self) -> bool {
        core::mem::take(&mut self.moved)
    }

    /// The alarm that the last message raised, once.
    pub fn take_alarm(&mut self) -> Option<Alarm> {
        self.alarm.take()
    }

    /// Messages of this epoch that did not open under its keys.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What the busiest key of the epoch protected.
    pub fn usage(&self) -> Usage {
        self.sending().ways.iter().fold(Usage::default(), |sum, way| {
            let sent = Usage { messages: way.sealer.counters().0, blocks: way.sealer.blocks() };
            sum.max(sent).max(Usage { messages: way.window.next, blocks: way.opened })
        })
    }

    /// The reservation that must become durable before `tier` sends on, if one is due.
    pub fn due(&self, tier: Tier, slot: u8) -> Option<Reserve> {
        let epoch = self.sending();
        let way = epoch.ways.iter().find(|w| w.tier == tier)?;
        let (next, limit) = way.sealer.counters();
        let stride = if matches!(tier, Tier::Exch | Tier::Dev) { RESERVE_STREAM } else { RESERVE_COMMAND };
        (next >= limit).then(|| Reservation {
            slot,
            tier,
            direction: self.sends,
            epoch: epoch.number,
            sequence: way.reservations,
            limit: limit + stride,
        })
    }

    /// True when the nonce base of `sealed` is that of the epoch in which this side receives; a hint, not a proof.
    pub fn claims(&self, tier: Tier, sealed: &[u8]) -> bool {
        self.current.ways.iter().any(|way| way.tier == tier && way.opener.claims(sealed))
    }

    /// Takes note that a reservation is durable.
    pub fn reserved(&mut self, reservation: &Reserve) {
        let epoch = self.sending_mut();
        if reservation.epoch != epoch.number {
            return;
        }
        if let Some(way) = epoch.ways.iter_mut().find(|w| w.tier == reservation.tier) {
            way.sealer.reserve(reservation.limit);
            way.reservations = reservation.sequence + 1;
        }
    }

    /// Seals `body` (in parts) as message `base`; returns the sealed length, body + 29 and padding.
    pub fn seal(
        &mut self,
        id: SealedId,
        base: u16,
        h0: u8,
        body: &[&[u8]],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let tier = tier_of(id.level());
        let n: usize = body.iter().map(|part| part.len()).sum();
        let pad = self.format.sealed_length(n + 1 + OVERHEAD) - n - 1 - OVERHEAD;
        let epoch = self.sending_mut();
        let binding = binding(id, epoch.number);
        let way = epoch.ways.iter_mut().find(|w| w.tier == tier).ok_or(Error::InvalidKey)?;
        seal_with(&mut way.sealer, &binding, base, h0, body, pad, out)
    }

    /// Opens `sealed` in place, in the order of `spec/channel.md` H38: epoch, window, tag, window, header. The
    /// epoch is that of the nonce base; where two epochs share it, both are tried (H90).
    pub fn open<'a>(
        &mut self,
        now: Instant,
        limits: &Limits,
        id: SealedId,
        sealed: &'a mut [u8],
    ) -> Result<Opened<'a>, Refusal> {
        let tier = tier_of(id.level());
        if tier == Tier::Exch && matches!(sealed.len(), C1_LEN | C2_LEN) {
            return self.open_compact(now, limits, id, sealed);
        }
        if sealed.len() <= OVERHEAD {
            return Err(Refusal::Malformed);
        }
        let claimed = claimed_counter(sealed).ok_or(Refusal::Malformed)?;
        let mut refusal = Refusal::UnknownKey;
        let mut entered = None;
        for which in [Which::Current, Which::Next, Which::Previous] {
            let Some((opener, window, number, opened)) = self.receiving(which, tier, now) else { continue };
            if !opener.claims(sealed) {
                continue;
            }
            if !window.admits(claimed) {
                refusal = Refusal::Replayed;
                continue;
            }
            match opener.attempt(&binding(id, number), sealed) {
                Ok(counter) => {
                    window.accept(counter);
                    if let Some(opened) = opened {
                        *opened = opened.saturating_add(lct::seal::blocks(sealed.len() - OVERHEAD));
                    }
                    entered = Some(which);
                    break;
                }
                Err(_) => refusal = Refusal::NotAuthentic,
            }
        }
        match entered {
            None => {
                erase(sealed);
                if refusal == Refusal::NotAuthentic {
                    self.failed(now, limits);
                }
                return Err(refusal);
            }
            Some(Which::Next) => {
                self.enter(Some(now + limits.grace));
                self.moved = true;
            }
            Some(_) => {}
        }
        read(id, tier, plaintext(sealed))
    }

    /// The receiving end of `tier` in one of the epochs held.
    fn receiving(
        &mut self,
        which: Which,
        tier: Tier,
        now: Instant,
    ) -> Option<(&Opener, &mut Window, u32, Option<&mut u64>)> {
        let epoch = match which {
            Which::Current => &mut self.current,
            Which::Next => self.next.as_mut()?,
            Which::Previous => {
                let in_time = |g: &&mut Grace| now < g.until || !kept(Defence::GracePeriod);
                let old = self.previous.as_mut().filter(|g| tier == Tier::Exch && in_time(g))?;
                return Some((&old.opener, &mut old.window, old.number, None));
            }
        };
        let way = epoch.ways.iter_mut().find(|w| w.tier == tier)?;
        Some((&way.opener, &mut way.window, epoch.number, Some(&mut way.opened)))
    }

    fn failed(&mut self, now: Instant, limits: &Limits) {
        self.failures = self.failures.saturating_add(1);
        if self.span.count(now, limits.failure_span) == limits.failures {
            self.alarm = Some(Alarm::Failures);
        }
    }
}

/// The epochs of which messages are opened.
#[derive(Clone, Copy)]
enum Which {
    Current,
    Next,
    Previous,
}

/// The tier that a level of the identifier names.
pub fn tier_of(level: Level) -> Tier {
    match level {
        Level::Dev => Tier::Dev,
        Level::Exch => Tier::Exch,
        Level::Pair => Tier::Pair,
        Level::Bind => Tier::Bind,
    }
}

fn binding(id: SealedId, epoch: u32) -> Binding {
    Binding { level: id.level() as u8, canonical_id: id.canonical().to_u32(), epoch }
}

fn seal_with(
    sealer: &mut Sealer,
    binding: &Binding,
    base: u16,
    h0: u8,
    body: &[&[u8]],
    pad: usize,
    out: &mut [u8],
) -> Result<usize, Error> {
    let padded = if pad > 0 { H0_PADDED } else { 0 };
    let n: usize = body.iter().map(|part| part.len()).sum();
    sealer.seal_with(binding, 1 + n + pad, out, |text| {
        let (head, mut rest) = text.split_at_mut(1);
        head[0] = (base as u8 & H0_LOW) | h0 | padded;
        for part in body {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        // Up to 15 bytes fill a frame; the last one tells how many.
        if let Some((last, zeros)) = rest.split_last_mut() {
            zeros.fill(0);
            *last = pad as u8;
        }
    })
}

fn open_with<'a>(
    opener: &Opener,
    window: &mut Window,
    binding: &Binding,
    id: SealedId,
    tier: Tier,
    sealed: &'a mut [u8],
) -> Result<Opened<'a>, Refusal> {
    if sealed.len() <= OVERHEAD {
        return Err(Refusal::Malformed);
    }
    if !opener.claims(sealed) {
        return Err(Refusal::UnknownKey);
    }
    let claimed = claimed_counter(sealed).ok_or(Refusal::Malformed)?;
    if !window.admits(claimed) {
        return Err(Refusal::Replayed);
    }
    let (counter, text) = opener.open(binding, sealed).map_err(|_| Refusal::NotAuthentic)?;
    window.accept(counter);
    read(id, tier, text)
}

/// Header byte and padding of an opened text.
fn read(id: SealedId, tier: Tier, text: &[u8]) -> Result<Opened<'_>, Refusal> {
    let (h0, body) = text.split_first().ok_or(Refusal::Malformed)?;
    if h0 & !(H0_LOW | H0_PADDED | H0_SIGNED) != 0 {
        return Err(Refusal::Malformed);
    }
    let body = if h0 & H0_PADDED != 0 { unpad(body)? } else { body };
    Ok(Opened { base: id.base(h0 & H0_LOW), tier, signed: h0 & H0_SIGNED != 0, body })
}

fn unpad(body: &[u8]) -> Result<&[u8], Refusal> {
    let n = usize::from(*body.last().ok_or(Refusal::Malformed)?);
    let keep = body.len().checked_sub(n).filter(|_| n > 0).ok_or(Refusal::Malformed)?;
    if body[keep..body.len() - 1].iter().any(|b| *b != 0) {
        return Err(Refusal::Malformed);
    }
    Ok(&body[..keep])
}

/// The sending end of a pack's group tier.
pub struct GroupSender {
    sealer: Sealer,
    generation: u32,
}

impl GroupSender {
    /// A fresh generation. The key is drawn anew at every start, so its counters need no reservation.
    pub fn new(secret: &lct::schedule::TrafficSecret, generation: u32) -> Result<Self, Error> {
        Ok(GroupSender { sealer: Sealer::new(secret, 0, lct::seal::MESSAGES_MAX)?, generation })
    }

    /// Seals a group message for a bus of `format`.
    pub fn seal(
        &mut self,
        format: FrameFormat,
        id: SealedId,
        base: u16,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let sealed = body.len() + 1 + OVERHEAD;
        let pad = format.sealed_length(sealed) - sealed;
        seal_with(&mut self.sealer, &binding(id, self.generation), base, 0, &[body], pad, out)
    }
}

/// The receiving end of a pack's group tier.
pub struct GroupReceiver {
    opener: Opener,
    window: Window,
    generation: u32,
}

impl GroupReceiver {
    /// Keys of generation `generation`.
    pub fn new(secret: &lct::schedule::TrafficSecret, generation: u32) -> Result<Self, Error> {
        Ok(GroupReceiver { opener: Opener::new(secret)?, window: Window::new(true), generation })
    }

    /// The generation in force.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Opens a group message.
    pub fn open<'a>(&mut self, id: SealedId, sealed: &'a mut [u8]) -> Result<Opened<'a>, Refusal> {
        let binding = binding(id, self.generation);
        open_with(&self.opener, &mut self.window, &binding, id, Tier::Group, sealed)
    }
}

#[cfg(test)]
mod tests;
