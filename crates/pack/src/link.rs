//! One end of a bus: frames in, whole messages out, and back (`spec/can.md`, C20 to C29).
//!
//! Messages of up to 128 bytes travel as chunks, longer ones by ISO-TP, one at a time per end. All buffers are
//! bounded; what does not fit is refused to the caller or dropped and counted, never queued without end.

use crate::{
    can::{Bus, Frame},
    chunk::{self, Push, Reassembler},
    isotp::{Received, Receiver, ReceiverConfig, SendEvent, Sender, SenderConfig},
    sealed_id::{CanonicalId, Class, ClearId, SealedId, SecurityId, Transport, classify},
    time::Instant,
};
use lct::schedule::Direction;

/// Longest message that is carried: a pairing certificate inside a relay PDU.
pub const MESSAGE_MAX: usize = 1_536;
/// Frames that may wait to be handed to the bus.
pub const QUEUE: usize = 320;
/// Long messages that may wait for the one under way.
const WAITING: usize = 3;
/// Long messages that may be received at the same time.
const TRANSFERS: usize = 4;

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

struct Transfer {
    id: Option<CanonicalId>,
    receiver: Receiver<MESSAGE_MAX>,
}

/// One end of a bus.
pub struct Link<const SLOTS: usize> {
    bus: Bus,
    hears: Direction,
    chunks: Reassembler<SLOTS>,
    transfers: [Transfer; TRANSFERS],
    sender: Sender<MESSAGE_MAX>,
    sending: Option<(CanonicalId, CanonicalId)>,
    waiting: heapless::Deque<Long, WAITING>,
    queue: heapless::Deque<Frame, QUEUE>,
    counters: LinkCounters,
}

impl<const SLOTS: usize> Link<SLOTS> {
    /// An end of `bus` that takes messages sent in direction `hears`.
    pub fn new(bus: Bus, hears: Direction) -> Self {
        Link {
            bus,
            hears,
            chunks: Reassembler::new(),
            transfers: core::array::from_fn(|_| Transfer {
                id: None,
                receiver: Receiver::new(ReceiverConfig::default()),
            }),
            sender: Sender::new(SenderConfig::default()),
            sending: None,
            waiting: heapless::Deque::new(),
            queue: heapless::Deque::new(),
            counters: LinkCounters::default(),
        }
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
        let (id, answers, transport, security) = match classify(self.bus, frame) {
            Err(_) => {
                self.counters.rejected_frames = self.counters.rejected_frames.saturating_add(1);
                return None;
            }
            Ok(Class::Clear(id)) => {
                let n = frame.data().len();
                out[..n].copy_from_slice(frame.data());
                return Some(Inbound::Clear(id, n));
            }
            Ok(Class::Sealed(id, t)) => {
                if id.direction() != self.hears || !accepts(id.device()) {
                    return None;
                }
                (id.canonical(), id.reversed().canonical(), t, Err(id))
            }
            Ok(Class::Security(id, t)) => {
                if id.direction() != self.hears || !accepts(id.device()) {
                    return None;
                }
                (id.canonical(), id.reversed().canonical(), t, Ok(id))
            }
        };
        let n = match transport {
            Transport::IsoTp => self.receive_long(now, id, answers, frame.data(), out)?,
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

    fn receive_long(
        &mut self,
        now: Instant,
        id: CanonicalId,
        answers: CanonicalId,
        data: &[u8],
        out: &mut Buffer,
    ) -> Option<usize> {
        if data.first().is_some_and(|pci| pci >> 4 == 3) {
            // Flow control travels on our data identifier with D inverted, which is the peer's direction.
            if self.sending.is_some_and(|(_, fc)| fc == id) {
                self.sender.on_flow_control(now, data);
            }
            return None;
        }
        self.expire(now);
        let at = self
            .transfers
            .iter()
            .position(|t| t.id == Some(id))
            .or_else(|| self.transfers.iter().position(|t| t.receiver.is_idle()))?;
        let transfer = &mut self.transfers[at];
        transfer.id = Some(id);
        let done = match transfer.receiver.on_frame(now, data) {
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
        if let Some(fc) = transfer.receiver.flow_control()
            && let Ok(frame) = Frame::new_classic(answers.frame_id(Transport::IsoTp), &fc)
        {
            self.send_frame(frame);
        }
        done
    }

    fn expire(&mut self, now: Instant) {
        for transfer in &mut self.transfers {
            if transfer.receiver.expire(now).is_some() {
                self.counters.incomplete = self.counters.incomplete.saturating_add(1);
            }
        }
    }

    /// Queues a clear frame. Like every `send`: what finds no room is dropped and counted as `unsent`, because
    /// the protocol repeats what matters and must never wait for a bus.
    pub fn send_frame(&mut self, frame: Frame) {
        if self.queue.push_back(frame).is_err() {
            self.unsent();
        }
    }

    /// Queues a security PDU.
    pub fn send_security(&mut self, now: Instant, id: SecurityId, message: &[u8]) {
        self.send(now, id.canonical(), id.reversed().canonical(), message);
    }

    /// Queues a sealed message.
    pub fn send_sealed(&mut self, now: Instant, id: SealedId, message: &[u8]) {
        self.send(now, id.canonical(), id.reversed().canonical(), message);
    }

    /// True when `n` more frames fit.
    pub fn has_room(&self, n: usize) -> bool {
        QUEUE - self.queue.len() >= n
    }

    /// True when a long message would leave at once.
    pub fn is_idle(&self) -> bool {
        self.sending.is_none() && self.has_room(chunk::MAX_LEN / chunk::CHUNK_LEN)
    }

    fn unsent(&mut self) {
        self.counters.unsent = self.counters.unsent.saturating_add(1);
    }

    fn send(&mut self, now: Instant, id: CanonicalId, answers: CanonicalId, message: &[u8]) {
        if let Ok(frames) = chunk::split(id, message) {
            if !self.has_room(frames.len()) {
                return self.unsent();
            }
            return frames.for_each(|frame| self.send_frame(frame));
        }
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
    pub fn poll(&mut self, now: Instant) -> Option<Frame> {
        if let Some(frame) = self.queue.pop_front() {
            return Some(frame);
        }
        self.expire(now);
        loop {
            let (id, _) = self.sending?;
            match self.sender.poll(now)? {
                SendEvent::Frame(data) => {
                    self.sender.transmitted(now);
                    return Frame::new_classic(id.frame_id(Transport::IsoTp), &data).ok();
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
