//! One end of a bus: frames in, whole messages out, and back (`spec/can.md`, C20 to C29 and C120 to C123).
//!
//! Messages of up to 128 bytes travel as chunks, longer ones by ISO-TP, one at a time per end. On a bus with FD a
//! sealed message of 32, 48 or 64 bytes is one frame; [`FrameFormat::sealed_length`] tells the sealer how far to pad.
//! What waits is whole messages, sealed where they wait and cut into frames when they leave ([`Link::seal`]). All
//! buffers are bounded; what does not fit is refused to the caller or dropped and counted, never queued without
//! end.

use crate::{
    can::{Bus, Frame, FrameError, Id, fd_length_for},
    chunk::{self, Push, Reassembler},
    isotp::{CanDl, FrameType, Received, Receiver, ReceiverConfig, SendEvent, Sender, SenderConfig},
    sealed_id::{CanonicalId, Class, ClearId, SealedId, SecurityId, Transport, classify},
    time::Instant,
};
use lct::{schedule::Direction, seal::OVERHEAD};
pub use queue::QUEUE;
use queue::Queue;

/// Longest message that is carried: a pairing certificate inside a relay PDU.
pub const MESSAGE_MAX: usize = 1_536;
/// Long messages that may wait for the one under way.
const WAITING: usize = 3;
/// The flow control that refuses a message for which there is no room.
const OVERFLOW: [u8; 3] = [0x32, 0, 0];

/// What the frames of a bus look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FrameFormat {
    /// Classical CAN: at most 8 bytes. FD frames are refused.
    #[default]
    Classical,
    /// CAN FD: sealed messages of up to 64 bytes in one frame, longer ones by ISO-TP in frames of 64 bytes; clear
    /// messages, security PDUs of up to 128 bytes and chunks stay classical frames.
    Fd,
}

impl FrameFormat {
    /// The length that a sealed message of `sealed` bytes (29 or more) should have on this bus: 32, 48 or 64 where it
    /// then is one FD frame, else `sealed`. The difference is padding inside the encryption (`spec/channel.md`, H32).
    pub const fn sealed_length(self, sealed: usize) -> usize {
        match (self, fd_length_for(sealed)) {
            (Self::Fd, Some(length)) => length,
            _ => sealed,
        }
    }

    const fn can_dl(self) -> CanDl {
        match self {
            Self::Classical => CanDl::Dl8,
            Self::Fd => CanDl::Dl64,
        }
    }
}

/// A buffer for one received message.
pub type Buffer = [u8; MESSAGE_MAX];

/// What a frame completed. The bytes are in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    /// A clear message of so many bytes.
    Clear(ClearId, usize),
    /// A security PDU in clear.
    Security(SecurityId, usize),
    /// A sealed message, not yet opened.
    Sealed(SealedId, usize),
}

/// Events of one end since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames that belong to no known layout.
    pub rejected_frames: u32,
    /// Messages that never became whole.
    pub incomplete: u32,
    /// Messages that found no room, and long ones that could not be sent to their end.
    pub unsent: u32,
}

struct Long {
    id: CanonicalId,
    answers: CanonicalId,
    message: heapless::Vec<u8, MESSAGE_MAX>,
}

/// A long message being received.
struct Transfer<const RECEIVE: usize> {
    id: Option<CanonicalId>,
    receiver: Receiver<RECEIVE>,
    /// Whether a frame after the first has come, and when the last one came.
    progress: (bool, Instant),
}

/// One end of a bus.
///
/// It collects `SLOTS` chunked messages and `TRANSFERS` long ones of up to `RECEIVE` bytes at the same time, each
/// from another identifier. A slot takes about 160 bytes of memory, a transfer `RECEIVE` + 72, the queue of frames
/// 23 KiB, the long messages to be sent 6 KiB.
pub struct Link<const SLOTS: usize, const TRANSFERS: usize = 4, const RECEIVE: usize = MESSAGE_MAX> {
    bus: Bus,
    hears: Direction,
    format: FrameFormat,
    chunks: Reassembler<SLOTS>,
    transfers: [Transfer<RECEIVE>; TRANSFERS],
    /// No transfer runs out of time before.
    quiet_until: Instant,
    sender: Sender<MESSAGE_MAX>,
    sending: Option<(CanonicalId, CanonicalId)>,
    waiting: heapless::Deque<Long, WAITING>,
    queue: Queue,
    counters: LinkCounters,
}

impl<const SLOTS: usize, const TRANSFERS: usize, const RECEIVE: usize> Link<SLOTS, TRANSFERS, RECEIVE> {
    /// An end of the classical bus `bus` that takes messages sent in direction `hears`.
    pub fn new(bus: Bus, hears: Direction) -> Self {
        const { assert!(TRANSFERS > 0 && RECEIVE <= MESSAGE_MAX, "a received message fits a buffer") };
        Link {
            bus,
            hears,
            format: FrameFormat::Classical,
            chunks: Reassembler::new(),
            transfers: core::array::from_fn(|_| Transfer {
                id: None,
                receiver: Receiver::new(ReceiverConfig::default()),
                progress: (false, Instant::START),
            }),
            quiet_until: Instant::START,
            sender: Sender::new(SenderConfig::default()),
            sending: None,
            waiting: heapless::Deque::new(),
            queue: Queue::new(),
            counters: LinkCounters::default(),
        }
    }

    /// Says what frames the bus carries. A long message under way ends in the old format.
    pub fn set_format(&mut self, format: FrameFormat) {
        self.format = format;
        self.sender.set_can_dl(format.can_dl());
    }

    /// What frames the bus carries.
    pub fn format(&self) -> FrameFormat {
        self.format
    }

    /// Event counts since the start.
    pub fn counters(&self) -> LinkCounters {
        let c = self.chunks.counters();
        let chunks = [c.restarts, c.gaps, c.conflicts, c.total_changes, c.timeouts, c.evictions];
        let incomplete = chunks.iter().fold(self.counters.incomplete, |sum, n| sum.saturating_add(*n));
        LinkCounters { incomplete, ..self.counters }
    }

    /// Takes a frame; a completed message is left in `out`.
    ///
    /// `accepts` says whether a device id is this end's concern; other frames cost nothing.
    pub fn receive(
        &mut self,
        now: Instant,
        frame: &Frame,
        accepts: impl Fn(u8) -> bool,
        out: &mut Buffer,
    ) -> Option<Inbound> {
        let classified = classify(self.bus, frame).ok().filter(|class| self.carries(frame, class));
        let (id, answers, transport, security) = match classified {
            None => {
                self.counters.rejected_frames = self.counters.rejected_frames.saturating_add(1);
                return None;
            }
            Some(Class::Clear(id)) => {
                let n = frame.data().len();
                out[..n].copy_from_slice(frame.data());
                return Some(Inbound::Clear(id, n));
            }
            Some(Class::Sealed(id, t)) => {
                if id.direction() != self.hears || !accepts(id.device()) {
                    return None;
                }
                (id.canonical(), id.reversed().canonical(), t, Err(id))
            }
            Some(Class::Security(id, t)) => {
                if id.direction() != self.hears || !accepts(id.device()) {
                    return None;
                }
                (id.canonical(), id.reversed().canonical(), t, Ok(id))
            }
        };
        let n = match transport {
            Transport::IsoTp => self.receive_long(now, id, answers, frame, out)?,
            t => match self.chunks.push(now, id, t, frame.data()) {
                Push::Complete(message) => {
                    out[..message.len()].copy_from_slice(message);
                    message.len()
                }
                Push::Pending | Push::Duplicate | Push::Dropped(_) => return None,
            },
        };
        Some(match security {
            Ok(id) => Inbound::Security(id, n),
            Err(id) => Inbound::Sealed(id, n),
        })
    }

    /// Whether a frame of this class exists on this bus in this format (C121).
    fn carries(&self, frame: &Frame, class: &Class) -> bool {
        match class {
            _ if !frame.is_fd() => true,
            _ if self.format == FrameFormat::Classical => false,
            Class::Clear(_) => false,
            Class::Sealed(_, t) => matches!(t, Transport::Single | Transport::IsoTp),
            Class::Security(_, t) => *t == Transport::IsoTp,
        }
    }

    fn receive_long(
        &mut self,
        now: Instant,
        id: CanonicalId,
        answers: CanonicalId,
        frame: &Frame,
        out: &mut Buffer,
    ) -> Option<usize> {
        let announced = match FrameType::of(frame.data()) {
            FrameType::FlowControl => {
                // Flow control travels on our data identifier with D inverted, which is the peer's direction.
                if self.sending.is_some_and(|(_, fc)| fc == id) {
                    self.sender.on_flow_control(now, frame.data());
                }
                return None;
            }
            FrameType::Single(message) => {
                // It needs no buffer and ends what was being received under its identifier.
                if let Some(old) = self.transfers.iter_mut().find(|t| t.id == Some(id)) {
                    old.id = None;
                    old.receiver.reset();
                    self.incomplete();
                }
                out[..message.len()].copy_from_slice(message);
                return Some(message.len());
            }
            FrameType::First { len, .. } => Some(len as usize),
            FrameType::Consecutive { .. } => None,
            FrameType::Malformed => return None,
        };
        self.expire(now);
        let known = self.transfers.iter().position(|t| t.id == Some(id));
        let at = match (known, announced) {
            (Some(at), _) => at,
            (None, None) => return None,
            (None, Some(len)) if len <= RECEIVE => self.free_transfer(),
            (None, Some(_)) => {
                // Refused without taking anybody's buffer.
                self.incomplete();
                self.send_flow_control(answers, frame.is_fd(), &OVERFLOW);
                return None;
            }
        };
        let transfer = &mut self.transfers[at];
        transfer.id = Some(id);
        transfer.progress = (announced.is_none(), now);
        let done = match transfer.receiver.on_frame(now, frame.data()) {
            Received::Message(message) => {
                let n = message.len().min(MESSAGE_MAX);
                out[..n].copy_from_slice(&message[..n]);
                Some(n)
            }
            Received::Failed(_) => {
                self.counters.incomplete = self.counters.incomplete.saturating_add(1);
                None
            }
            Received::Pending | Received::Ignored => None,
        };
        let reply = transfer.receiver.flow_control();
        if transfer.receiver.is_idle() {
            transfer.id = None;
        }
        if let Some(fc) = reply {
            self.send_flow_control(answers, frame.is_fd(), &fc);
        }
        done
    }

    /// An unused buffer, else the one given up: before all others one whose message has only begun, then the one
    /// silent for longest. So a flood of first frames displaces itself, not a message whose frames keep coming.
    fn free_transfer(&mut self) -> usize {
        let order = |t: &Transfer<RECEIVE>| (!t.receiver.is_idle(), t.progress);
        let at = (0..TRANSFERS).min_by_key(|at| order(&self.transfers[*at])).unwrap_or(0);
        let transfer = &mut self.transfers[at];
        if !transfer.receiver.is_idle() {
            transfer.receiver.reset();
            self.incomplete();
        }
        at
    }

    /// The answer has the format of the frame that it answers. It replaces one that still waits, which would
    /// otherwise meet a later message.
    fn send_flow_control(&mut self, id: CanonicalId, fd: bool, data: &[u8]) {
        let Ok(frame) = frame(id.frame_id(Transport::IsoTp), fd, data) else { return };
        if !self.queue.replace(&frame) {
            self.send_frame(frame);
        }
    }

    fn incomplete(&mut self) {
        self.counters.incomplete = self.counters.incomplete.saturating_add(1);
    }

    fn expire(&mut self, now: Instant) {
        if now < self.quiet_until {
            return;
        }
        // What gets its next frame later runs out later.
        self.quiet_until = now + ReceiverConfig::default().n_cr;
        for transfer in &mut self.transfers {
            if transfer.receiver.expire(now).is_some() {
                transfer.id = None;
                self.counters.incomplete = self.counters.incomplete.saturating_add(1);
            }
            if let Some(due) = transfer.receiver.due() {
                self.quiet_until = self.quiet_until.min(due);
            }
        }
    }

    /// Queues a clear frame. Like every `send`: what finds no room is dropped and counted as `unsent`, because
    /// the protocol repeats what matters and must never wait for a bus.
    pub fn send_frame(&mut self, frame: Frame) {
        if !self.queue.push_frame(&frame) {
            self.unsent();
        }
    }

    /// Queues a security PDU.
    pub fn send_security(&mut self, now: Instant, id: SecurityId, message: &[u8]) {
        self.send(now, id.canonical(), id.reversed().canonical(), message);
    }

    /// Queues a sealed message. On a bus with FD one of 32, 48 or 64 bytes is one frame.
    pub fn send_sealed(&mut self, now: Instant, id: SealedId, message: &[u8]) {
        if message.len() > chunk::MAX_LEN {
            return self.send_long(now, id.canonical(), id.reversed().canonical(), message);
        }
        self.queue.place()[..message.len()].copy_from_slice(message);
        self.queue_sealed(id, message.len());
    }

    /// Queues the sealed message of a body of `n` bytes that `seal` makes, in the place where it waits for the bus.
    ///
    /// `seal` gets room for the message and says how long it is. What it fails with is returned, and nothing is queued.
    /// Without room for a frame it is not called: no counter is spent on a message that cannot leave.
    #[inline]
    pub fn seal<E>(
        &mut self,
        now: Instant,
        id: SealedId,
        n: usize,
        seal: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        // The header byte is sealed with the body.
        if n + 1 + OVERHEAD > chunk::MAX_LEN {
            return self.seal_long(now, id, seal);
        }
        if self.has_room(1) {
            let len = seal(self.queue.place())?;
            self.queue_sealed(id, len);
        } else {
            self.unsent();
        }
        Ok(())
    }

    /// The same for a message that goes by ISO-TP.
    fn seal_long<E>(
        &mut self,
        now: Instant,
        id: SealedId,
        seal: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let mut message = [0; MESSAGE_MAX];
        let len = seal(&mut message)?;
        self.send_long(now, id.canonical(), id.reversed().canonical(), message.get(..len).unwrap_or(&[]));
        Ok(())
    }

    /// The first `len` bytes of the queue's place become a message.
    #[inline]
    fn queue_sealed(&mut self, id: SealedId, len: usize) {
        let one = self.format == FrameFormat::Fd && len > chunk::CHUNK_LEN && fd_length_for(len) == Some(len);
        let queued = match one {
            true => self.queue.push_fd(id.encode(Transport::Single), len),
            false => self.queue.push_chunks(id.canonical(), len),
        };
        if !queued {
            self.unsent();
        }
    }

    /// True when `n` more frames fit.
    #[inline]
    pub fn has_room(&self, n: usize) -> bool {
        self.queue.room() >= n
    }

    /// True when a long message would leave at once.
    pub fn is_idle(&self) -> bool {
        self.sending.is_none() && self.has_room(chunk::MAX_LEN / chunk::CHUNK_LEN)
    }

    /// True when the sealed message of a body of `n` bytes finds room.
    pub fn has_room_for(&self, n: usize) -> bool {
        match n + 1 + OVERHEAD {
            short @ ..=chunk::MAX_LEN => self.has_room(short.div_ceil(chunk::CHUNK_LEN)),
            _ => self.sending.is_none() || !self.waiting.is_full(),
        }
    }

    fn unsent(&mut self) {
        self.counters.unsent = self.counters.unsent.saturating_add(1);
    }

    fn send(&mut self, now: Instant, id: CanonicalId, answers: CanonicalId, message: &[u8]) {
        if message.len() > chunk::MAX_LEN {
            return self.send_long(now, id, answers, message);
        }
        self.queue.place()[..message.len()].copy_from_slice(message);
        if !self.queue.push_chunks(id, message.len()) {
            self.unsent();
        }
    }

    fn send_long(&mut self, now: Instant, id: CanonicalId, answers: CanonicalId, message: &[u8]) {
        if self.sending.is_none() {
            match self.sender.start(now, message) {
                Ok(()) => self.sending = Some((id, answers)),
                Err(_) => self.unsent(),
            }
            return;
        }
        let kept = heapless::Vec::from_slice(message)
            .ok()
            .and_then(|message| self.waiting.push_back(Long { id, answers, message }).ok());
        if kept.is_none() {
            self.unsent();
        }
    }

    /// The next frame for the bus, if one is due.
    #[inline]
    pub fn poll(&mut self, now: Instant) -> Option<Frame> {
        if self.queue.is_empty() { self.poll_long(now) } else { self.queue.pop() }
    }

    fn poll_long(&mut self, now: Instant) -> Option<Frame> {
        self.expire(now);
        loop {
            let (id, _) = self.sending?;
            match self.sender.poll(now)? {
                SendEvent::Frame(data) => {
                    self.sender.transmitted(now);
                    let fd = self.sender.can_dl() != CanDl::Dl8;
                    return frame(id.frame_id(Transport::IsoTp), fd, &data).ok();
                }
                SendEvent::Done => self.sending = None,
                SendEvent::Failed(_) => {
                    self.unsent();
                    self.sending = None;
                }
            }
            if let Some(next) = self.waiting.pop_front() {
                match self.sender.start(now, &next.message) {
                    Ok(()) => self.sending = Some((next.id, next.answers)),
                    Err(_) => self.unsent(),
                }
            }
        }
    }

    /// When [`Link::poll`] has something to do without another frame.
    pub fn due(&self) -> Option<Instant> {
        let receivers = self.transfers.iter().filter_map(|t| t.receiver.due());
        receivers.chain(self.sender.due()).min()
    }
}

fn frame(id: Id, fd: bool, data: &[u8]) -> Result<Frame, FrameError> {
    if fd { Frame::new_fd(id, data) } else { Frame::new_classic(id, data) }
}

mod queue;
#[cfg(test)]
mod tests;
