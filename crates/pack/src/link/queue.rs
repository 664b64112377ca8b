//! What waits for the bus: whole messages in the order in which they leave, cut into frames when they do.
//!
//! A message lies in one piece in a ring of bytes, so that it can be sealed where it waits and each of its bytes is
//! moved once more only, into its frame. It begins where the one before it ends, or at the start of the ring where less
//! than the longest message is left before its end; from that rule follows where every message lies.

use crate::{
    can::{Frame, Id},
    chunk,
    sealed_id::CanonicalId,
};

/// Frames that may wait to be handed to the bus (C26).
pub const QUEUE: usize = 320;
/// Most bytes of one message in the queue, and of the room that [`Queue::place`] hands out.
pub(super) const PLACE: usize = chunk::MAX_LEN;
/// A full queue of frames of 64 bytes, and what the rule above can leave unused at both ends.
const RING: usize = QUEUE * 64 + 2 * PLACE;
/// Mark of an identifier of 29 bits.
const EXTENDED: u32 = 1 << 31;

/// How a message is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// One classical frame.
    Classic,
    /// One FD frame.
    Fd,
    /// Chunks, so many of which have left.
    Chunks(u8),
}

/// A message that waits, or what is left of it.
#[derive(Clone, Copy)]
struct Waiting {
    /// Identifier of its only frame, or the canonical one of its chunks.
    id: u32,
    len: u8,
    cut: Cut,
}

/// Messages that wait for the bus.
pub(super) struct Queue {
    messages: heapless::Deque<Waiting, QUEUE>,
    /// Frames that the messages still are.
    frames: usize,
    ring: [u8; RING],
    /// Where the first message begins, and where the last one ends.
    first: usize,
    end: usize,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Queue { messages: heapless::Deque::new(), frames: 0, ring: [0; RING], first: 0, end: 0 }
    }

    /// Frames that still fit.
    pub(super) const fn room(&self) -> usize {
        QUEUE - self.frames
    }

    /// Room for the bytes of the next message. What is written there counts from [`Queue::push_chunks`] or
    /// [`Queue::push_fd`] on.
    #[inline]
    pub(super) fn place(&mut self) -> &mut [u8; PLACE] {
        let at = begin(self.end);
        // `begin` leaves as much room before the end of the ring.
        self.ring[at..].first_chunk_mut().expect("a message fits behind its beginning")
    }

    /// Takes the first `len` bytes of the place as one message of chunks. False: it has no length that can be cut, or
    /// finds no room, and is not there.
    #[inline]
    pub(super) fn push_chunks(&mut self, id: CanonicalId, len: usize) -> bool {
        let fits = (1..=PLACE).contains(&len) && self.room() >= len.div_ceil(chunk::CHUNK_LEN);
        fits && self.push(Waiting { id: id.to_u32(), len: len as u8, cut: Cut::Chunks(0) })
    }

    /// As [`Queue::push_chunks`], as one FD frame; `len` is a length that exists.
    #[inline]
    pub(super) fn push_fd(&mut self, id: Id, len: usize) -> bool {
        self.room() > 0 && self.push(Waiting { id: packed(id), len: len as u8, cut: Cut::Fd })
    }

    /// Queues a frame as it is; false without room.
    pub(super) fn push_frame(&mut self, frame: &Frame) -> bool {
        let data = frame.data();
        self.place()[..data.len()].copy_from_slice(data);
        let cut = if frame.is_fd() { Cut::Fd } else { Cut::Classic };
        self.room() > 0 && self.push(Waiting { id: packed(frame.id()), len: data.len() as u8, cut })
    }

    #[inline]
    fn push(&mut self, message: Waiting) -> bool {
        if self.messages.push_back(message).is_err() {
            return false;
        }
        self.end = begin(self.end) + usize::from(message.len);
        self.frames += message.frames();
        true
    }

    /// Puts a frame into the place of one that waits with the same identifier and length; false when none does.
    pub(super) fn replace(&mut self, frame: &Frame) -> bool {
        let (id, data) = (packed(frame.id()), frame.data());
        let mut at = self.first;
        for message in &mut self.messages {
            let len = usize::from(message.len);
            if !matches!(message.cut, Cut::Chunks(_)) && message.id == id && len == data.len() {
                message.cut = if frame.is_fd() { Cut::Fd } else { Cut::Classic };
                self.ring[at..at + len].copy_from_slice(data);
                return true;
            }
            at = begin(at + len);
        }
        false
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The next frame.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let message = self.messages.front_mut()?;
        let (Waiting { id, len, cut }, at) = (*message, self.first);
        let len = usize::from(len);
        self.frames -= 1;
        if let Cut::Chunks(left) = cut {
            message.cut = Cut::Chunks(left + 1);
            let chunk = chunk::Cut::of(len, left + 1);
            if chunk.is_last() {
                self.drop_first(len);
            }
            let id = CanonicalId::from_u32(id).frame_id(chunk.transport);
            let at = at + chunk.begin;
            return Some(Frame::assembled(id, false, &self.ring[at..at + chunk.len]));
        }
        self.drop_first(len);
        Some(Frame::assembled(unpacked(id), cut == Cut::Fd, &self.ring[at..at + len]))
    }

    /// The first message, of `len` bytes, has left.
    #[inline]
    fn drop_first(&mut self, len: usize) {
        self.messages.pop_front();
        self.first = begin(self.first + len);
        if self.messages.is_empty() {
            // The same few bytes serve an end that sends as fast as it seals.
            (self.first, self.end) = (0, 0);
        }
    }
}

impl Waiting {
    /// Frames that the whole message is.
    const fn frames(self) -> usize {
        match self.cut {
            Cut::Chunks(_) => (self.len as usize).div_ceil(chunk::CHUNK_LEN),
            Cut::Classic | Cut::Fd => 1,
        }
    }
}

/// Where a message begins behind one that ends at `end`.
const fn begin(end: usize) -> usize {
    if RING - end < PLACE { 0 } else { end }
}

const fn packed(id: Id) -> u32 {
    match id {
        Id::Standard(raw) => raw as u32,
        Id::Extended(raw) => raw | EXTENDED,
    }
}

const fn unpacked(id: u32) -> Id {
    match id & EXTENDED {
        0 => Id::Standard(id as u16),
        _ => Id::Extended(id & !EXTENDED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed_id::{Direction, Level, SealedId, Transport};
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    fn id(device: u8) -> SealedId {
        SealedId::new(0x514, Level::Pair, Direction::Ab, device).unwrap()
    }

    fn bytes(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Chunks(usize),
        Fd(usize),
        Frame(bool, usize),
        Pop(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let fd = proptest::sample::select(std::vec![12usize, 32, 48, 64]);
        prop_oneof![
            3 => (0usize..=PLACE).prop_map(Step::Chunks),
            6 => fd.prop_map(Step::Fd),
            1 => (any::<bool>(), 0usize..=8).prop_map(|(standard, len)| Step::Frame(standard, len)),
            4 => (1usize..80).prop_map(Step::Pop),
        ]
    }

    /// Fills the queue with as many frames of these lengths as it takes, and gives what it should hold.
    fn filled(queue: &mut Queue, expected: &mut VecDeque<Frame>, len: usize) {
        for n in 0.. {
            queue.place()[..len].copy_from_slice(&bytes(len, n as u8));
            if !queue.push_fd(id(1).encode(Transport::Single), len) {
                return;
            }
            expected.push_back(Frame::new_fd(id(1).encode(Transport::Single), &bytes(len, n as u8)).unwrap());
        }
    }

    /// C26: 320 frames wait, whatever they are and wherever in the ring they begin; one more finds no room.
    #[test]
    fn as_many_frames_as_stated_wait_wherever_they_begin() {
        for before in [0, 1, 3, 7, 100, 318] {
            let (mut queue, mut expected) = (Queue::new(), VecDeque::new());
            for len in [48, 64] {
                filled(&mut queue, &mut expected, len);
                assert_eq!((expected.len(), queue.room()), (QUEUE, 0));
                assert!(!queue.push_chunks(id(1).canonical(), 1) && !queue.push_frame(&expected[0]));
                for _ in 0..QUEUE - before {
                    assert_eq!(queue.pop(), expected.pop_front());
                }
            }
            assert!(std::iter::from_fn(|| queue.pop()).eq(expected));
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn a_message_that_does_not_fit_as_a_whole_is_not_there() {
        let mut queue = Queue::new();
        for _ in 0..QUEUE / 16 - 1 {
            assert!(queue.push_chunks(id(1).canonical(), 128));
        }
        assert!(queue.push_chunks(id(2).canonical(), 9));
        assert_eq!(queue.room(), 14);
        assert!(!queue.push_chunks(id(3).canonical(), 113));
        assert!(queue.push_chunks(id(3).canonical(), 112));
        assert_eq!(queue.room(), 0);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), QUEUE);
        assert!(!queue.push_chunks(id(1).canonical(), 0) && !queue.push_chunks(id(1).canonical(), PLACE + 1));
    }

    #[test]
    fn only_a_frame_of_the_same_identifier_and_length_is_replaced() {
        let mut queue = Queue::new();
        let answer =
            |device, byte| Frame::new_classic(id(device).encode(Transport::IsoTp), &[0x30, byte, 0]).unwrap();
        assert!(!queue.replace(&answer(1, 1)));
        assert!(queue.push_chunks(id(1).canonical(), 20));
        assert!(queue.push_frame(&answer(1, 1)) && queue.push_frame(&answer(2, 2)));
        assert!(!queue.replace(&answer(3, 3)));
        assert!(!queue.replace(&Frame::new_classic(answer(1, 0).id(), &[0x30]).unwrap()));
        assert!(queue.replace(&answer(2, 4)));
        let fd = Frame::new_fd(answer(1, 0).id(), &[0x32, 0, 0]).unwrap();
        assert!(queue.replace(&fd));
        let left: Vec<Frame> = std::iter::from_fn(|| queue.pop()).skip(3).collect();
        assert_eq!(left, [fd, answer(2, 4)]);
    }

    proptest! {
        /// The same frames in the same order as a list of them.
        #[test]
        fn what_waits_leaves_in_order(steps in proptest::collection::vec(step(), 1..400)) {
            let (mut queue, mut expected) = (Queue::new(), VecDeque::<Frame>::new());
            for (seed, step) in steps.into_iter().enumerate() {
                let seed = seed as u8;
                match step {
                    Step::Chunks(len) => {
                        queue.place()[..len].copy_from_slice(&bytes(len, seed));
                        let own = bytes(len, seed);
                        let frames = chunk::split(id(seed).canonical(), &own);
                        let fits = frames.as_ref().is_ok_and(|frames| expected.len() + frames.len() <= QUEUE);
                        prop_assert_eq!(queue.push_chunks(id(seed).canonical(), len), fits);
                        expected.extend(frames.into_iter().flatten().filter(|_| fits));
                    }
                    Step::Fd(len) => {
                        let frame = Frame::new_fd(id(seed).encode(Transport::Single), &bytes(len, seed)).unwrap();
                        queue.place()[..len].copy_from_slice(frame.data());
                        let fits = expected.len() < QUEUE;
                        prop_assert_eq!(queue.push_fd(frame.id(), len), fits);
                        expected.extend(fits.then_some(frame));
                    }
                    Step::Frame(standard, len) => {
                        let id = if standard { Id::Standard(0x7FF) } else { Id::Extended(0x1FFF_FFFF) };
                        let frame = Frame::new_classic(id, &bytes(len, seed)).unwrap();
                        let fits = expected.len() < QUEUE;
                        prop_assert_eq!(queue.push_frame(&frame), fits);
                        expected.extend(fits.then_some(frame));
                    }
                    Step::Pop(count) => {
                        for _ in 0..count {
                            prop_assert_eq!(queue.pop(), expected.pop_front());
                        }
                    }
                }
                prop_assert_eq!(queue.room(), QUEUE - expected.len());
            }
            prop_assert!(std::iter::from_fn(|| queue.pop()).eq(expected));
        }
    }
}
