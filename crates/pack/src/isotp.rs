//! ISO 15765-2 (ISO-TP) for messages of up to 4095 bytes: one machine that sends, one that receives.
//!
//! Normal addressing, classical frames and CAN FD. The machines know no identifiers: they take and give the data
//! bytes of frames and the times at which something is due. The flow-control frame of a sealed message goes back
//! under the data identifier with D inverted, that of a security PDU under the opposite base of the pair, T = 0xF1
//! in both (`spec/can.md`, C23 to C25); that is the caller's part.
//!
//! ```text
//! single frame    0L data               L = 1..=7, CAN_DL up to 8
//!                 00 LL data            L = 8..=CAN_DL-2, FD
//! first frame     1L LL data            L <= 4095, frame of CAN_DL bytes
//!                 10 00 LL LL LL LL     more than 4095 bytes: never sent, answered with overflow
//! consecutive     2n data               n = 1..=15, 0, 1, ...
//! flow control    3s BS STmin           s = 0 continue, 1 wait, 2 overflow
//! ```
//! The last frame is sent unpadded where its length exists (always up to 8 bytes; FD pads to the next length with
//! 0xCC); padded frames are received.
//!
//! Flow control cannot be sealed, so a sender bounds what a forged one can do: the number of waits in a row, the
//! separation time, and the time of the whole transfer. An attacker on the bus can end a transfer, never hold
//! memory or stop the machine.

use core::fmt;

use heapless::Vec;

use crate::can::fd_length_for;
use crate::time::{Duration, Instant};

/// Longest message.
pub const MAX_LEN: usize = 4095;

/// The data bytes of one frame.
pub type Pdu = Vec<u8, 64>;

const PAD: u8 = 0xCC;

/// Length of a full frame (CAN_DL).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CanDl {
    /// Classical.
    #[default]
    Dl8,
    /// FD.
    Dl12,
    /// FD.
    Dl16,
    /// FD.
    Dl20,
    /// FD.
    Dl24,
    /// FD.
    Dl32,
    /// FD.
    Dl48,
    /// FD.
    Dl64,
}

impl CanDl {
    /// Bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Dl8 => 8,
            Self::Dl12 => 12,
            Self::Dl16 => 16,
            Self::Dl20 => 20,
            Self::Dl24 => 24,
            Self::Dl32 => 32,
            Self::Dl48 => 48,
            Self::Dl64 => 64,
        }
    }

    /// Longest message in a single frame.
    pub const fn single_max(self) -> usize {
        match self {
            Self::Dl8 => 7,
            _ => self.bytes() - 2,
        }
    }
}

/// Separation time between consecutive frames as coded in a flow-control frame.
///
/// 0x00..=0x7F milliseconds, 0xF1..=0xF9 100..=900 microseconds; every other value is reserved and means 127 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StMin(u8);

impl StMin {
    /// The coded byte as received.
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The shortest coded time that is not below `time`; 127 ms when it is longer.
    pub const fn at_least(time: Duration) -> Self {
        let micros = time.as_micros();
        if micros == 0 {
            Self(0)
        } else if micros <= 900 {
            Self(0xF0 + micros.div_ceil(100) as u8)
        } else if micros <= 127_000 {
            Self(micros.div_ceil(1_000) as u8)
        } else {
            Self(127)
        }
    }

    /// The coded byte.
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// The time.
    pub const fn duration(self) -> Duration {
        match self.0 {
            0..=0x7F => Duration::from_millis(self.0 as u64),
            0xF1..=0xF9 => Duration::from_micros((self.0 - 0xF0) as u64 * 100),
            _ => Duration::from_millis(127),
        }
    }
}

/// Times and bounds of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderConfig {
    /// Length of full frames.
    pub can_dl: CanDl,
    /// N_As: longest time until the bus has taken a frame.
    pub n_as: Duration,
    /// N_Bs: longest time until flow control arrives.
    pub n_bs: Duration,
    /// N_WFTmax: waits in a row that are obeyed.
    pub max_waits: u8,
    /// Longest separation time that is obeyed; a receiver that wants more does not get the message.
    pub max_st_min: Duration,
    /// Longest time for the whole message.
    pub max_transfer: Duration,
}

impl Default for SenderConfig {
    /// Classical frames, 1 s as in ISO 15765-2, 8 waits, 20 ms, 30 s (a full message at 20 ms takes 12 s).
    fn default() -> Self {
        Self {
            can_dl: CanDl::Dl8,
            n_as: Duration::from_millis(1_000),
            n_bs: Duration::from_millis(1_000),
            max_waits: 8,
            max_st_min: Duration::from_millis(20),
            max_transfer: Duration::from_secs(30),
        }
    }
}

/// Times and wishes of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// N_Cr: longest time until the next consecutive frame arrives.
    pub n_cr: Duration,
    /// Consecutive frames between two flow-control frames; 0 = no further flow control.
    pub block_size: u8,
    /// Separation time asked for.
    pub st_min: StMin,
}

impl Default for ReceiverConfig {
    /// 1 s as in ISO 15765-2, flow control every 16 frames, no separation.
    fn default() -> Self {
        Self { n_cr: Duration::from_millis(1_000), block_size: 16, st_min: StMin(0) }
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Empty, above 4095 bytes or above the buffer.
    Length,
    /// Another message is being sent.
    Busy,
    /// The bus did not take a frame in time (N_As).
    NotTransmitted,
    /// No flow control in time (N_Bs).
    NoFlowControl,
    /// The receiver has no room (flow status 2).
    Overflow,
    /// More waits in a row than allowed.
    TooManyWaits,
    /// Flow status 3..=15.
    InvalidFlowStatus,
    /// The receiver asks for a longer separation than allowed.
    TooSlow,
    /// The message took longer than allowed as a whole.
    TransferTime,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "message empty or too long",
            Self::Busy => "another message is being sent",
            Self::NotTransmitted => "frame not transmitted in time",
            Self::NoFlowControl => "no flow control in time",
            Self::Overflow => "receiver has no room",
            Self::TooManyWaits => "receiver waits too often",
            Self::InvalidFlowStatus => "flow status without meaning",
            Self::TooSlow => "receiver asks for too slow a pace",
            Self::TransferTime => "transfer took too long",
        })
    }
}

impl core::error::Error for SendError {}

/// What a sender wants to tell its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendEvent {
    /// Send this frame, then call [`Sender::transmitted`].
    Frame(Pdu),
    /// The whole message is sent.
    Done,
    /// The message is given up.
    Failed(SendError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tx {
    Idle,
    /// The next frame may go at this time.
    Ready(Instant),
    /// A frame is with the bus; the time is the end of N_As.
    InFlight(Instant),
    /// Flow control is awaited; the time is the end of N_Bs.
    Waiting(Instant),
    /// The end has not been told yet.
    Ended(Result<(), SendError>),
}

/// Sends one message of up to `N` bytes at a time.
///
/// Call [`Sender::poll`] when [`Sender::due`] has come and after every other call.
pub struct Sender<const N: usize> {
    config: SenderConfig,
    /// CAN_DL of the message under way.
    can_dl: CanDl,
    message: Vec<u8, N>,
    sent: usize,
    sequence: u8,
    /// Separation time of the last flow control; `None` before the first.
    pace: Option<Duration>,
    /// Frames until the next flow control; `None` = no more flow control.
    block: Option<u8>,
    waits: u8,
    deadline: Instant,
    state: Tx,
}

impl<const N: usize> Sender<N> {
    /// An idle sender.
    pub const fn new(config: SenderConfig) -> Self {
        Self {
            config,
            can_dl: config.can_dl,
            message: Vec::new(),
            sent: 0,
            sequence: 0,
            pace: None,
            block: None,
            waits: 0,
            deadline: Instant::START,
            state: Tx::Idle,
        }
    }

    /// Whether no message is being sent.
    pub fn is_idle(&self) -> bool {
        self.state == Tx::Idle
    }

    /// Length of full frames of the message under way, or of the last one.
    pub fn can_dl(&self) -> CanDl {
        self.can_dl
    }

    /// Changes the length of full frames, from the next message on.
    pub fn set_can_dl(&mut self, can_dl: CanDl) {
        self.config.can_dl = can_dl;
    }

    /// Begins to send a message.
    ///
    /// # Errors
    /// [`SendError::Length`] when it is empty, above [`MAX_LEN`] or above `N`, [`SendError::Busy`].
    pub fn start(&mut self, now: Instant, message: &[u8]) -> Result<(), SendError> {
        if !self.is_idle() {
            return Err(SendError::Busy);
        }
        if message.is_empty() || message.len() > MAX_LEN {
            return Err(SendError::Length);
        }
        self.message.clear();
        self.message.extend_from_slice(message).map_err(|_| SendError::Length)?;
        self.can_dl = self.config.can_dl;
        self.sent = 0;
        self.sequence = 0;
        self.pace = None;
        self.block = None;
        self.waits = 0;
        self.deadline = now + self.config.max_transfer;
        self.state = Tx::Ready(now);
        Ok(())
    }

    /// Gives up the message at once and silently.
    pub fn cancel(&mut self) {
        self.state = Tx::Idle;
    }

    /// When [`Sender::poll`] has something to do without a further call; `None` while idle.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            Tx::Idle => None,
            Tx::Ready(at) | Tx::InFlight(at) | Tx::Waiting(at) => Some(at.min(self.deadline)),
            Tx::Ended(_) => Some(Instant::START),
        }
    }

    /// The next event, `None` when nothing is due.
    pub fn poll(&mut self, now: Instant) -> Option<SendEvent> {
        match self.state {
            Tx::Ended(result) => {
                self.state = Tx::Idle;
                Some(result.map_or_else(SendEvent::Failed, |()| SendEvent::Done))
            }
            Tx::Idle => None,
            Tx::InFlight(at) if now >= at => self.fail(SendError::NotTransmitted),
            Tx::Waiting(at) if now >= at => self.fail(SendError::NoFlowControl),
            _ if now >= self.deadline => self.fail(SendError::TransferTime),
            Tx::Ready(at) if now >= at => {
                let frame = self.next_frame();
                self.state = Tx::InFlight(now + self.config.n_as);
                Some(SendEvent::Frame(frame))
            }
            _ => None,
        }
    }

    /// The bus has taken the frame of the last [`SendEvent::Frame`].
    pub fn transmitted(&mut self, now: Instant) {
        if !matches!(self.state, Tx::InFlight(_)) {
            return;
        }
        self.state = if self.sent == self.message.len() {
            Tx::Ended(Ok(()))
        } else if self.pace.is_none() || self.block == Some(0) {
            self.waits = 0;
            Tx::Waiting(now + self.config.n_bs)
        } else {
            Tx::Ready(now + self.pace.unwrap_or(Duration::ZERO))
        };
    }

    /// Takes a flow-control frame. Anything else, and flow control nobody asked for, is ignored (ISO 15765-2).
    pub fn on_flow_control(&mut self, now: Instant, data: &[u8]) {
        if matches!(self.state, Tx::InFlight(_)) {
            // The answer can overtake the report that the frame was sent.
            let before = self.state;
            self.transmitted(now);
            if !matches!(self.state, Tx::Waiting(_)) {
                self.state = before;
            }
        }
        let (Tx::Waiting(_), [status, block_size, st_min, ..]) = (self.state, data) else {
            return;
        };
        match status {
            0x30 => {
                let separation = StMin::from_byte(*st_min).duration();
                if separation > self.config.max_st_min {
                    self.state = Tx::Ended(Err(SendError::TooSlow));
                    return;
                }
                // A receiver may change both from block to block.
                self.pace = Some(separation);
                self.block = (*block_size > 0).then_some(*block_size);
                self.state = Tx::Ready(now);
            }
            0x31 if self.waits < self.config.max_waits => {
                self.waits += 1;
                self.state = Tx::Waiting(now + self.config.n_bs);
            }
            0x31 => self.state = Tx::Ended(Err(SendError::TooManyWaits)),
            0x32 => self.state = Tx::Ended(Err(SendError::Overflow)),
            0x33..=0x3F => self.state = Tx::Ended(Err(SendError::InvalidFlowStatus)),
            _ => {}
        }
    }

    fn fail(&mut self, error: SendError) -> Option<SendEvent> {
        self.state = Tx::Idle;
        Some(SendEvent::Failed(error))
    }

    fn next_frame(&mut self) -> Pdu {
        let can_dl = self.can_dl;
        let mut frame = Pdu::new();
        let len = self.message.len();
        let header: &[u8] = if self.sent > 0 {
            self.sequence = (self.sequence + 1) & 0xF;
            self.block = self.block.map(|left| left.saturating_sub(1));
            &[0x20 | self.sequence]
        } else if len <= 7 {
            &[len as u8]
        } else if len <= can_dl.single_max() {
            &[0, len as u8]
        } else {
            &[0x10 | (len >> 8) as u8, len as u8]
        };
        let rest = self.message.get(self.sent..).unwrap_or(&[]);
        let take = rest.len().min(can_dl.bytes() - header.len());
        let bytes = header.iter().chain(rest.iter().take(take));
        frame.extend(bytes.copied());
        self.sent += take;
        let padded = fd_length_for(frame.len()).unwrap_or(frame.len());
        frame.extend(core::iter::repeat_n(PAD, padded - frame.len()));
        frame
    }
}

/// What a frame is, by its protocol control information alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType<'a> {
    /// A whole message of 1..=62 bytes.
    Single(&'a [u8]),
    /// The beginning of a message of `len` bytes, more than a single frame of the same length could carry.
    First {
        /// Length announced; above 4095 in the escape form.
        len: u32,
        /// The first bytes of the message.
        data: &'a [u8],
    },
    /// A later part of a message.
    Consecutive {
        /// Number modulo 16.
        number: u8,
        /// Its bytes, perhaps with padding.
        data: &'a [u8],
    },
    /// An answer of a receiver.
    FlowControl,
    /// None of these, or one whose length contradicts the frame; ISO 15765-2 asks to ignore it.
    Malformed,
}

impl<'a> FrameType<'a> {
    /// Reads the data bytes of a frame.
    pub const fn of(data: &'a [u8]) -> Self {
        let full = data.len() >= 8 && matches!(fd_length_for(data.len()), Some(n) if n == data.len());
        match data {
            [first @ 0x01..=0x07, rest @ ..] if data.len() <= 8 => Self::single(*first, rest),
            // The long form is for frames above 8 bytes and lengths the short form cannot say.
            [0x00, len @ 8..=62, rest @ ..] if data.len() > 8 => Self::single(*len, rest),
            // The escape form is for lengths that twelve bits cannot say.
            [0x10, 0, a, b, c, d, rest @ ..] if full => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]);
                if len > MAX_LEN as u32 { Self::First { len, data: rest } } else { Self::Malformed }
            }
            [high @ 0x10..=0x1F, low, rest @ ..] if full => {
                let len = (*high as u32 & 0xF) << 8 | *low as u32;
                let single_max = if data.len() == 8 { 7 } else { data.len() as u32 - 2 };
                if len > single_max { Self::First { len, data: rest } } else { Self::Malformed }
            }
            [number @ 0x20..=0x2F, rest @ ..] => Self::Consecutive { number: *number & 0xF, data: rest },
            [0x30..=0x3F, ..] => Self::FlowControl,
            _ => Self::Malformed,
        }
    }

    const fn single(len: u8, rest: &'a [u8]) -> Self {
        match rest.split_at_checked(len as usize) {
            Some((message, _)) => Self::Single(message),
            None => Self::Malformed,
        }
    }
}

/// Why a reception ended without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The next frame did not come in time (N_Cr).
    Timeout,
    /// A consecutive frame with the wrong number.
    WrongSequence,
    /// A consecutive frame that is too short.
    ShortFrame,
    /// The message announced is longer than the buffer; flow status 2 is sent.
    Overflow,
    /// A new message began before this one was complete.
    Superseded,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "next frame did not come in time",
            Self::WrongSequence => "frame out of sequence",
            Self::ShortFrame => "frame too short",
            Self::Overflow => "message longer than the buffer",
            Self::Superseded => "a new message began",
        })
    }
}

impl core::error::Error for ReceiveError {}

/// What a frame led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A message is complete.
    Message(&'a [u8]),
    /// The frame was taken, the message goes on.
    Pending,
    /// The frame has no meaning here (flow control, malformed, nothing begun) and changed nothing.
    Ignored,
    /// A reception ended. With [`ReceiveError::Superseded`] the new one has begun.
    Failed(ReceiveError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rx {
    Idle,
    Running { len: usize, can_dl: usize, sequence: u8, block: u8, deadline: Instant },
}

/// Receives one message of up to `N` bytes at a time.
///
/// After every [`Receiver::on_frame`] ask [`Receiver::flow_control`] for a frame to send, and call
/// [`Receiver::expire`] when [`Receiver::due`] has come.
pub struct Receiver<const N: usize> {
    config: ReceiverConfig,
    message: Vec<u8, N>,
    reply: Option<Reply>,
    state: Rx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Continue,
    Overflow,
}

impl<const N: usize> Receiver<N> {
    /// An idle receiver.
    pub const fn new(config: ReceiverConfig) -> Self {
        Self { config, message: Vec::new(), reply: None, state: Rx::Idle }
    }

    /// Whether no message is being received.
    pub fn is_idle(&self) -> bool {
        self.state == Rx::Idle
    }

    /// Gives up what was received.
    pub fn reset(&mut self) {
        self.state = Rx::Idle;
        self.reply = None;
    }

    /// When [`Receiver::expire`] has something to do; `None` while idle.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            Rx::Idle => None,
            Rx::Running { deadline, .. } => Some(deadline),
        }
    }

    /// Ends a reception whose next frame is overdue, and says so.
    pub fn expire(&mut self, now: Instant) -> Option<ReceiveError> {
        if self.due().is_none_or(|deadline| now < deadline) {
            return None;
        }
        self.reset();
        Some(ReceiveError::Timeout)
    }

    /// The flow-control frame to send now, once.
    pub fn flow_control(&mut self) -> Option<Pdu> {
        let bytes = match self.reply.take()? {
            Reply::Continue => [0x30, self.config.block_size, self.config.st_min.byte()],
            Reply::Overflow => [0x32, 0, 0],
        };
        Pdu::from_slice(&bytes).ok()
    }

    /// Takes the data bytes of one frame. A frame after the end of N_Cr finds no reception; ask
    /// [`Receiver::expire`] first to learn that one ended.
    pub fn on_frame(&mut self, now: Instant, data: &[u8]) -> Received<'_> {
        self.expire(now);
        match FrameType::of(data) {
            FrameType::Single(message) => self.single(message),
            FrameType::First { len, data: rest } => self.first(now, len, data.len(), rest),
            FrameType::Consecutive { number, data: rest } => self.consecutive(now, number, data.len(), rest),
            FrameType::FlowControl | FrameType::Malformed => Received::Ignored,
        }
    }

    fn single(&mut self, message: &[u8]) -> Received<'_> {
        self.reset();
        self.message.clear();
        if self.message.extend_from_slice(message).is_err() {
            return Received::Failed(ReceiveError::Overflow);
        }
        Received::Message(&self.message)
    }

    fn first(&mut self, now: Instant, len: u32, can_dl: usize, rest: &[u8]) -> Received<'_> {
        let superseded = !self.is_idle();
        self.reset();
        self.message.clear();
        let len = usize::try_from(len).ok().filter(|len| *len <= N.min(MAX_LEN));
        let Some(len) = len.filter(|_| self.message.extend_from_slice(rest).is_ok()) else {
            self.reply = Some(Reply::Overflow);
            return Received::Failed(ReceiveError::Overflow);
        };
        self.reply = Some(Reply::Continue);
        self.state = Rx::Running {
            len,
            can_dl,
            sequence: 1,
            block: self.config.block_size,
            deadline: now + self.config.n_cr,
        };
        if superseded { Received::Failed(ReceiveError::Superseded) } else { Received::Pending }
    }

    fn consecutive(&mut self, now: Instant, number: u8, frame_len: usize, rest: &[u8]) -> Received<'_> {
        let Rx::Running { len, can_dl, sequence, block, .. } = self.state else {
            return Received::Ignored;
        };
        if number != sequence {
            self.reset();
            return Received::Failed(ReceiveError::WrongSequence);
        }
        let missing = len.saturating_sub(self.message.len());
        let take = missing.min(can_dl.saturating_sub(1));
        let Some(bytes) = rest.get(..take).filter(|_| frame_len <= can_dl) else {
            self.reset();
            return Received::Failed(ReceiveError::ShortFrame);
        };
        if self.message.extend_from_slice(bytes).is_err() {
            self.reset();
            return Received::Failed(ReceiveError::Overflow);
        }
        if take == missing {
            self.reset();
            return Received::Message(&self.message);
        }
        let mut left = block;
        if self.config.block_size > 0 {
            left = left.saturating_sub(1);
            if left == 0 {
                left = self.config.block_size;
                self.reply = Some(Reply::Continue);
            }
        }
        self.state = Rx::Running {
            len,
            can_dl,
            sequence: (sequence + 1) & 0xF,
            block: left,
            deadline: now + self.config.n_cr,
        };
        Received::Pending
    }
}

#[cfg(test)]
mod tests;
