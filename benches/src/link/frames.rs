//! The same bytes in the same frames without any security: the least that a path adds to its AEAD.
//!
//! A sender cuts bytes that lie before it and hands out each frame. A receiver reads each identifier and puts the bytes
//! where its number says. Nothing waits, nothing is looked up, no order, time or sender is checked, and there is one
//! message at a time: whoever carries messages in these frames does at least this.

use std::hint::black_box;

use anyhow::{Result, ensure};
use pack::{
    can::Frame,
    chunk::{CHUNK_LEN, MAX_LEN, split},
    link::FrameFormat,
    sealed_id::{SealedId, Transport},
};

use super::path::{DOWN, MODULES, UP, id};
use crate::measure::Contender;
use lct::schedule::Direction;

/// The frames of a message: one of CAN FD where it fills one, else chunks.
fn cut(format: FrameFormat, id: SealedId, message: &[u8], mut take: impl FnMut(&Frame)) -> bool {
    if format == FrameFormat::Fd {
        return Frame::new_fd(id.encode(Transport::Single), message).map(|frame| take(&frame)).is_ok();
    }
    split(id.canonical(), message).map(|frames| frames.for_each(|frame| take(&frame))).is_ok()
}

/// From bytes to frames.
pub struct Cutting {
    format: FrameFormat,
    ids: Vec<SealedId>,
    message: Vec<u8>,
    next: usize,
    sent: usize,
    frames: usize,
}

impl Cutting {
    /// Messages of `len` bytes, as long as sealed ones.
    pub fn new(len: usize, format: FrameFormat) -> Result<Self> {
        let ids: Result<_> = (0..MODULES).map(|index| id(DOWN, Direction::Ab, index)).collect();
        Ok(Cutting { format, ids: ids?, message: vec![0xA5; len], next: 0, sent: 0, frames: 0 })
    }
}

impl Contender for Cutting {
    fn prepare(&mut self, _: usize) -> Result<()> {
        let each = if self.format == FrameFormat::Fd { 1 } else { self.message.len().div_ceil(CHUNK_LEN) };
        ensure!(self.frames == self.sent * each, "{} messages left in {} frames", self.sent, self.frames);
        Ok(())
    }

    fn run(&mut self, n: usize) {
        for _ in 0..n {
            self.next = (self.next + 1) % MODULES;
            self.sent += 1;
            cut(self.format, self.ids[self.next], black_box(&self.message), |frame| {
                black_box(frame);
                self.frames += 1;
            });
        }
    }
}

/// From frames to bytes.
pub struct Collecting {
    format: FrameFormat,
    message: Vec<u8>,
    frames: Vec<Frame>,
    buffer: Box<[u8; MAX_LEN]>,
    next: usize,
    expected: usize,
    whole: usize,
}

impl Collecting {
    /// See [`Cutting::new`].
    pub fn new(len: usize, format: FrameFormat) -> Result<Self> {
        let (frames, buffer) = (Vec::new(), Box::new([0; MAX_LEN]));
        Ok(Collecting { format, message: vec![0xA5; len], frames, buffer, next: 0, expected: 0, whole: 0 })
    }
}

impl Contender for Collecting {
    fn prepare(&mut self, n: usize) -> Result<()> {
        ensure!(self.whole == self.expected, "{} of {} messages came whole", self.whole, self.expected);
        (self.expected, self.whole) = (n, 0);
        self.frames.clear();
        for _ in 0..n {
            self.next = (self.next + 1) % MODULES;
            let id = id(UP, Direction::Ba, self.next)?;
            ensure!(
                cut(self.format, id, &self.message, |frame| self.frames.push(*frame)),
                "{} bytes are no message of one frame or of chunks",
                self.message.len()
            );
        }
        Ok(())
    }

    fn run(&mut self, _: usize) {
        for frame in &self.frames {
            let frame = black_box(frame);
            let Ok((id, transport)) = SealedId::parse(frame.id()) else { continue };
            let (begin, last) = match transport {
                Transport::Single => (0, true),
                Transport::Chunk { cur, total } => (usize::from(cur - 1) * CHUNK_LEN, cur == total),
                Transport::IsoTp => continue,
            };
            let data = frame.data();
            // A whole chunk is moved without a call, as the link does it.
            match data.first_chunk::<CHUNK_LEN>().filter(|_| data.len() == CHUNK_LEN) {
                Some(chunk) => self.buffer[begin..begin + CHUNK_LEN].copy_from_slice(chunk),
                None => self.buffer[begin..begin + data.len()].copy_from_slice(data),
            }
            if last {
                black_box((id, &mut self.buffer[..begin + data.len()]));
                self.whole += usize::from(begin + data.len() == self.message.len());
            }
        }
    }
}
