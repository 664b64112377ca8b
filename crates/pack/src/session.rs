//! An established channel: its keys in the current epoch, its counters and its replay windows
//! (`spec/channel.md`, H30 to H44).

use crate::sealed_id::{Level, SealedId};
use lct::{
    Digest, Error,
    counter::Reservation,
    handshake::{Established, Kind},
    schedule::{ChannelId, Direction, ExchangeTag, MasterSecret, Tier},
    seal::{Binding, OVERHEAD, Opener, Sealer, claimed_counter},
    secret::Secret,
};

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
        if counter >= self.next {
            return counter != u64::MAX;
        }
        let age = self.next - 1 - counter;
        !self.strict && age < 64 && self.seen >> age & 1 == 0
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
}

/// Keys and windows of one channel in its current epoch.
pub struct Session {
    kind: Kind,
    th4: Digest,
    channel: ChannelId,
    epoch: u32,
    master: MasterSecret,
    exchange: Option<ExchangeTag>,
    sends: Direction,
    ways: heapless::Vec<Way, 2>,
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
    /// The session that a finished handshake of kind BIND, PAIR or DEV opens, epoch 0.
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
        let mut session =
            Session { kind, th4, channel, epoch, master, exchange, sends, ways: heapless::Vec::new() };
        session.derive_ways()?;
        Ok(session)
    }

    fn derive_ways(&mut self) -> Result<(), Error> {
        let tiers: &[Tier] = match self.kind {
            Kind::Pair => &[Tier::Exch, Tier::Pair],
            Kind::Bind => &[Tier::Bind],
            Kind::Dev | Kind::Pake => &[Tier::Dev],
            Kind::Resume => return Err(Error::WrongParty),
        };
        self.ways.clear();
        for tier in tiers {
            let secret =
                |way| self.master.traffic(*tier, way, self.epoch, &self.channel, self.exchange.as_ref());
            let way = Way {
                tier: *tier,
                sealer: Sealer::new(&secret(self.sends)?, 0, 0)?,
                opener: Opener::new(&secret(self.sends.reversed())?)?,
                window: Window::new(!matches!(tier, Tier::Exch | Tier::Dev)),
                reservations: 0,
            };
            self.ways.push(way).map_err(|_| Error::BufferTooSmall)?;
        }
        Ok(())
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
    /// Current epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
    /// Master secret, for sealed storage and RESUME.
    pub fn master(&self) -> &MasterSecret {
        &self.master
    }
    /// Exchange tag, for sealed storage.
    pub fn exchange(&self) -> Option<&ExchangeTag> {
        self.exchange.as_ref()
    }

    /// Direction of what this side sends.
    pub fn sends(&self) -> Direction {
        self.sends
    }

    /// Moves to the next epoch after a RESUME: new keys, empty windows, nothing reserved.
    pub fn advance(&mut self, master: MasterSecret) -> Result<(), Error> {
        self.epoch = self.epoch.checked_add(1).ok_or(Error::Exhausted)?;
        self.master = master;
        self.derive_ways()
    }

    /// The reservation that must become durable before `tier` sends on, if one is due.
    pub fn due(&self, tier: Tier, slot: u8) -> Option<Reserve> {
        let way = self.ways.iter().find(|w| w.tier == tier)?;
        let (next, limit) = way.sealer.counters();
        let stride = if matches!(tier, Tier::Exch | Tier::Dev) { RESERVE_STREAM } else { RESERVE_COMMAND };
        (next >= limit).then(|| Reservation {
            slot,
            tier,
            direction: self.sends,
            epoch: self.epoch,
            sequence: way.reservations,
            limit: limit + stride,
        })
    }

    /// Takes note that a reservation is durable.
    pub fn reserved(&mut self, reservation: &Reserve) {
        if reservation.epoch != self.epoch {
            return;
        }
        if let Some(way) = self.ways.iter_mut().find(|w| w.tier == reservation.tier) {
            way.sealer.reserve(reservation.limit);
            way.reservations = reservation.sequence + 1;
        }
    }

    /// Seals `body` (in parts) as message `base`; returns the sealed length, body + 29.
    pub fn seal(
        &mut self,
        id: SealedId,
        base: u16,
        h0: u8,
        body: &[&[u8]],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let tier = tier_of(id.level());
        let binding = binding(id, self.epoch);
        let way = self.ways.iter_mut().find(|w| w.tier == tier).ok_or(Error::InvalidKey)?;
        seal_with(&mut way.sealer, &binding, base, h0, body, out)
    }

    /// Opens `sealed` in place, in the order of `spec/channel.md` H38: epoch, window, tag, window, header.
    pub fn open<'a>(&mut self, id: SealedId, sealed: &'a mut [u8]) -> Result<Opened<'a>, Refusal> {
        let tier = tier_of(id.level());
        let binding = binding(id, self.epoch);
        let way = self.ways.iter_mut().find(|w| w.tier == tier).ok_or(Refusal::UnknownKey)?;
        open_with(&way.opener, &mut way.window, &binding, id, tier, sealed)
    }
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
    out: &mut [u8],
) -> Result<usize, Error> {
    let head = [(base as u8 & H0_LOW) | h0];
    let mut parts = heapless::Vec::<&[u8], 6>::new();
    parts.push(&head).map_err(|_| Error::BufferTooSmall)?;
    for part in body {
        parts.push(part).map_err(|_| Error::BufferTooSmall)?;
    }
    sealer.seal(binding, &parts, out)
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

    /// Seals a group message.
    pub fn seal(&mut self, id: SealedId, base: u16, body: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        seal_with(&mut self.sealer, &binding(id, self.generation), base, 0, &[body], out)
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
mod tests {
    use super::*;
    use lct::handshake::Established;

    fn pair() -> (Session, Session) {
        let done = Established { master: MasterSecret(Secret::new([5; 32])), th4: [6; 32], comparison: 0 };
        let xk = Secret::new([7; 32]);
        let mut ends = [Direction::Ab, Direction::Ba]
            .map(|d| Session::established(Kind::Pair, &done, Some(&xk), d).unwrap());
        for s in &mut ends {
            for tier in [Tier::Exch, Tier::Pair] {
                let due = s.due(tier, 0).unwrap();
                s.reserved(&due);
                assert!(s.due(tier, 0).is_none());
            }
        }
        let [a, b] = ends;
        (a, b)
    }
    fn id(level: Level, direction: Direction, base: u16) -> SealedId {
        SealedId::new(base, level, direction, 5).unwrap()
    }

    #[test]
    fn windows() {
        let mut strict = Window::new(true);
        strict.accept(3);
        assert!(!strict.admits(2) && !strict.admits(3) && strict.admits(4));
        let mut loose = Window::new(false);
        for c in [0, 1, 5, 70] {
            assert!(loose.admits(c), "{c}");
            loose.accept(c);
            assert!(!loose.admits(c), "{c} twice");
        }
        for (c, ok) in
            [(5, false), (6, false), (7, true), (69, true), (70, false), (71, true), (u64::MAX, false)]
        {
            assert_eq!(loose.admits(c), ok, "{c}");
        }
        loose.accept(1000);
        assert!(!loose.admits(70) && !loose.admits(936) && loose.admits(937));
    }

    #[test]
    fn each_replay_reflection_and_context_change_is_refused() {
        let (mut a, mut b) = pair();
        let mut out = [0; 64];
        let ab = id(Level::Pair, Direction::Ab, 0x514);
        let n = a.seal(ab, 0x514, 0, &[&[1, 2, 3]], &mut out).unwrap();
        let sent = out;
        for wrong in [
            id(Level::Exch, Direction::Ab, 0x514),
            id(Level::Pair, Direction::Ba, 0x514),
            id(Level::Pair, Direction::Ab, 0x518),
            SealedId::new(0x514, Level::Pair, Direction::Ab, 6).unwrap(),
        ] {
            assert!(b.open(wrong, &mut { sent }[..n]).is_err(), "{wrong:?}");
        }
        assert!(a.open(ab, &mut { sent }[..n]).is_err(), "own message reflected");
        let opened = b.open(ab, &mut out[..n]).unwrap();
        assert_eq!((opened.base, opened.body, opened.tier), (0x514, &[1u8, 2, 3][..], Tier::Pair));
        assert_eq!(b.open(ab, &mut { sent }[..n]), Err(Refusal::Replayed));
    }

    #[test]
    fn the_low_bits_of_the_base_travel_inside() {
        let (mut a, mut b) = pair();
        for base in [0x514, 0x515, 0x516, 0x517] {
            let mut out = [0; 64];
            let ab = id(Level::Pair, Direction::Ab, base);
            let n = a.seal(ab, base, 0, &[&[0]], &mut out).unwrap();
            assert_eq!(b.open(ab, &mut out[..n]).unwrap().base, base);
        }
    }

    #[test]
    fn padding_is_checked() {
        assert_eq!(unpad(&[9, 0, 0, 3]), Ok(&[9][..]));
        assert_eq!(unpad(&[9, 1]), Ok(&[9][..]));
        for bad in [&[9u8, 0][..], &[9, 1, 0, 3], &[5], &[]] {
            assert_eq!(unpad(bad), Err(Refusal::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_resumed_epoch_shares_no_key_with_the_last() {
        let (mut a, mut b) = pair();
        let ab = id(Level::Exch, Direction::Ab, 0x405);
        let mut old = [0; 64];
        let n = a.seal(ab, 0x405, 0, &[&[0]], &mut old).unwrap();
        b.advance(MasterSecret(Secret::new([9; 32]))).unwrap();
        assert!(b.open(ab, &mut old[..n]).is_err());
        let due = b.due(Tier::Exch, 0).unwrap();
        assert_eq!((due.epoch, due.limit), (1, RESERVE_STREAM), "a fresh epoch has nothing reserved");
        assert_eq!(
            b.seal(id(Level::Exch, Direction::Ba, 0x405), 0x405, 0, &[&[0]], &mut old),
            Err(Error::Exhausted)
        );
    }
}
