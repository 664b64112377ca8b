//! The whole way of a sealed message: a controller with 32 modules, from a text to frames and from frames to a text.

use std::hint::black_box;

use anyhow::{Result, anyhow, ensure};
use lct::{
    schedule::{Direction, ExchangeTag, MasterSecret, Tier},
    secret::Secret,
};
use pack::{
    can::{Bus, Frame},
    link::{Buffer, FrameFormat, Inbound, Link, MESSAGE_MAX},
    sealed_id::{Level, SealedId},
    session::{Session, limits::Limits},
    time::{Duration, Instant},
};

use crate::measure::Contender;

/// Modules of a pack.
pub const MODULES: usize = 32;
/// MODULE_STATUS_ALL and the request of it: routine messages of the exchange tier.
pub const UP: u16 = 0x508;
pub const DOWN: u16 = 0x511;

/// The link of a pack controller on CAN 2.
type ControllerLink = Link<34, 32, 1024>;

/// One side of the channel of module `index`.
pub fn session(index: usize, sends: Direction) -> Result<Session> {
    let master = MasterSecret(Secret::new([index as u8 + 1; 32]));
    let exchange = ExchangeTag::of(&Secret::new([0x6B; 32]));
    Session::at_epoch(lct::handshake::Kind::Pair, [index as u8; 32], 0, master, Some(exchange), sends)
        .map_err(|e| anyhow!("session of module {index}: {e}"))
}

fn sessions(sends: Direction, format: FrameFormat) -> Result<Vec<Session>> {
    let all: Result<Vec<_>> = (0..MODULES).map(|index| session(index, sends)).collect();
    let mut all = all?;
    all.iter_mut().for_each(|session| session.set_format(format));
    Ok(all)
}

/// Takes note of a reservation when one is due; a role makes it durable in between.
fn reserve(session: &mut Session) {
    if let Some(due) = session.due(Tier::Exch, 0) {
        session.reserved(&due);
    }
}

/// The identifier of messages of module `index`.
pub fn id(base: u16, direction: Direction, index: usize) -> Result<SealedId> {
    SealedId::new(base, Level::Exch, direction, index as u8 + 1).map_err(|e| anyhow!("{e}"))
}

/// From a text to the frames on the bus.
pub struct Sending {
    sessions: Vec<Session>,
    ids: Vec<SealedId>,
    link: Box<ControllerLink>,
    body: Vec<u8>,
    next: usize,
    now: Instant,
    /// Frames that left.
    pub frames: u64,
    /// Messages that had to be sealed, and those that were.
    sent: u64,
    sealed: u64,
}

impl Sending {
    /// Messages whose encrypted part has `size` bytes: the header byte and a body.
    pub fn new(size: usize, format: FrameFormat) -> Result<Self> {
        let ids: Result<_> = (0..MODULES).map(|index| id(DOWN, Direction::Ab, index)).collect();
        let mut link = Box::new(ControllerLink::new(Bus::Can2, Direction::Ba));
        link.set_format(format);
        Ok(Sending {
            sessions: sessions(Direction::Ab, format)?,
            ids: ids?,
            link,
            body: vec![0xA5; size.saturating_sub(1)],
            next: 0,
            now: Instant::START,
            frames: 0,
            sent: 0,
            sealed: 0,
        })
    }
}

impl Sending {
    fn send(&mut self, now: Instant, index: usize, body: &[u8]) {
        let (session, id) = (&mut self.sessions[index], self.ids[index]);
        reserve(session);
        self.sent += 1;
        let sealed = self.link.seal(now, id, body.len(), |out| session.seal(id, DOWN, 0, &[body], out));
        self.sealed += u64::from(sealed.is_ok());
        while let Some(frame) = &self.link.poll(now) {
            black_box(frame);
            self.frames += 1;
        }
    }
}

impl Contender for Sending {
    fn prepare(&mut self, _: usize) -> Result<()> {
        ensure!(self.sealed == self.sent, "{} of {} messages were sealed", self.sealed, self.sent);
        ensure!(self.frames >= self.sent, "{} messages left in {} frames", self.sent, self.frames);
        ensure!(self.link.counters().unsent == 0, "messages found no room");
        Ok(())
    }

    fn run(&mut self, n: usize) {
        let body = std::mem::take(&mut self.body);
        for _ in 0..n {
            self.next = (self.next + 1) % MODULES;
            self.now = self.now + Duration::from_micros(1);
            self.send(self.now, self.next, black_box(&body));
        }
        self.body = body;
    }
}

/// From the frames on the bus to a text.
pub struct Receiving {
    peers: Vec<Session>,
    peer_link: Box<Link<4>>,
    sessions: Vec<Session>,
    link: Box<ControllerLink>,
    buffer: Box<Buffer>,
    body: Vec<u8>,
    frames: Vec<Frame>,
    next: usize,
    now: Instant,
    /// Messages that had to be opened, and those that were.
    expected: usize,
    opened: usize,
}

impl Receiving {
    /// See [`Sending::new`].
    pub fn new(size: usize, format: FrameFormat) -> Result<Self> {
        let mut peer_link = Box::new(Link::new(Bus::Can2, Direction::Ab));
        let mut link = Box::new(ControllerLink::new(Bus::Can2, Direction::Ba));
        peer_link.set_format(format);
        link.set_format(format);
        Ok(Receiving {
            peers: sessions(Direction::Ba, format)?,
            peer_link,
            sessions: sessions(Direction::Ab, format)?,
            link,
            buffer: Box::new([0; MESSAGE_MAX]),
            body: vec![0xA5; size.saturating_sub(1)],
            frames: Vec::new(),
            next: 0,
            now: Instant::START,
            expected: 0,
            opened: 0,
        })
    }
}

impl Receiving {
    fn receive(&mut self, mut then: impl FnMut(Instant, usize, &[u8])) {
        for frame in &self.frames {
            self.now = self.now + Duration::from_micros(1);
            let inbound =
                self.link.receive(self.now, black_box(frame), |device| device != 0, &mut self.buffer);
            let Some(Inbound::Sealed(id, len)) = inbound else { continue };
            let index = usize::from(id.device()).wrapping_sub(1);
            let Some(session) = self.sessions.get_mut(index) else { continue };
            if let Ok(opened) = session.open(self.now, &Limits::DEFAULT, id, &mut self.buffer[..len]) {
                self.opened += usize::from(opened.base == UP && opened.body == self.body);
                then(self.now, index, opened.body);
            }
        }
    }
}

impl Contender for Receiving {
    fn prepare(&mut self, n: usize) -> Result<()> {
        ensure!(self.opened == self.expected, "{} of {} messages opened", self.opened, self.expected);
        (self.expected, self.opened) = (n, 0);
        self.frames.clear();
        for _ in 0..n {
            self.next = (self.next + 1) % MODULES;
            let (peer, id) = (&mut self.peers[self.next], id(UP, Direction::Ba, self.next)?);
            reserve(peer);
            let mut out = [0; 128];
            let len = peer.seal(id, UP, 0, &[&self.body], &mut out).map_err(|e| anyhow!("{e}"))?;
            self.peer_link.send_sealed(self.now, id, &out[..len]);
            while let Some(frame) = self.peer_link.poll(self.now) {
                self.frames.push(frame);
            }
        }
        Ok(())
    }

    fn run(&mut self, _: usize) {
        self.receive(|_, _, _| {});
    }
}

/// From the frames of one bus to those of another, as whoever stands between two channels does: opened and sealed anew.
pub struct Relaying {
    from: Receiving,
    to: Sending,
    reserved: usize,
}

impl Relaying {
    /// See [`Sending::new`].
    pub fn new(size: usize) -> Result<Self> {
        let from = Receiving::new(size, FrameFormat::Classical)?;
        Ok(Relaying { from, to: Sending::new(size, FrameFormat::Classical)?, reserved: 0 })
    }

    /// Time that the frames of the next turn occupy a bus of 500 kbit/s, in nanoseconds.
    pub fn bus_ns(&self) -> f64 {
        self.from.frames.iter().filter_map(Frame::bits_on_wire).map(|bits| f64::from(bits) * 2_000.0).sum()
    }
}

impl Contender for Relaying {
    fn prepare(&mut self, n: usize) -> Result<()> {
        ensure!(self.to.frames as usize >= self.reserved, "what was opened was not sealed again");
        self.from.prepare(n)?;
        self.reserved = self.to.frames as usize + self.from.frames.len();
        Ok(())
    }

    fn run(&mut self, _: usize) {
        let to = &mut self.to;
        self.from.receive(|now, index, body| to.send(now, index, body));
    }
}

/// What allocates once for each operation: shows that the counter counts.
pub struct Allocating;

impl Contender for Allocating {
    fn prepare(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn run(&mut self, n: usize) {
        for i in 0..n {
            black_box(vec![i as u8; 64]);
        }
    }
}
