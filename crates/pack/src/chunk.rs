//! MB-CHUNK: messages of up to 128 bytes in 8-byte frames numbered in the identifier (`spec/can.md`, C21 and C22).
//!
//! # The receiver's rules
//! * Chunks of a message are taken strictly in order. CAN does not reorder the frames of one sender, and a sender
//!   must queue them first in, first out (chunk 16 has the smallest identifier of its message, so a controller that
//!   sends the smallest identifier first would break it).
//! * Chunk 1 always starts afresh, even if it equals the chunk 1 received before: the first 8 bytes of consecutive
//!   sealed messages are equal (`base4` and the high half of the counter).
//! * A repeated chunk with the same bytes is ignored (CAN may repeat a frame when its last bit is disturbed). A
//!   repeated chunk with other bytes, a gap, another total or a chunk of wrong length drops the message.
//! * A message not complete 50 ms after its chunk 1 is dropped; later chunks do not prolong this.
//! * There is one buffer per canonical identifier. When none is free, the one that has been silent longest is
//!   given up: a flood of first chunks cannot hold back a message whose chunks keep coming.
//!
//! A sealed message put together wrongly fails its tag; the rules keep that rare and memory bounded.

use core::fmt;
use kept::{Defence, kept};

use crate::can::Frame;
use crate::sealed_id::{CanonicalId, Transport};
use crate::time::{Duration, Instant};

/// Bytes in a chunk; only the last may have fewer.
pub const CHUNK_LEN: usize = 8;
/// Longest message.
pub const MAX_LEN: usize = 16 * CHUNK_LEN;
/// Time from chunk 1 to the last chunk.
pub const TIMEOUT: Duration = Duration::from_millis(50);

/// Why a message cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength(
    /// Its length in bytes; 1..=128 can be split.
    pub usize,
);

impl fmt::Display for BadLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes do not fit 1 to 16 chunks of 8", self.0)
    }
}

impl core::error::Error for BadLength {}

/// The frames of a message, in the order they must be sent. A message of up to 8 bytes is one frame with T = 0x11.
///
/// # Errors
/// [`BadLength`] for an empty message or one longer than [`MAX_LEN`].
pub fn split(id: CanonicalId, message: &[u8]) -> Result<Split<'_>, BadLength> {
    if message.is_empty() || message.len() > MAX_LEN {
        return Err(BadLength(message.len()));
    }
    Ok(Split { id, message, cut: 0 })
}

/// Which bytes of a message are one of its frames, and how that frame is named.
pub(crate) struct Cut {
    pub(crate) transport: Transport,
    pub(crate) begin: usize,
    pub(crate) len: usize,
    /// Bytes behind it.
    left: usize,
}

impl Cut {
    /// Frame `number`, from 1, of a message of `message` bytes that has so many frames.
    #[inline]
    pub(crate) fn of(message: usize, number: u8) -> Self {
        let begin = usize::from(number.saturating_sub(1)) * CHUNK_LEN;
        let rest = message.saturating_sub(begin);
        let len = rest.min(CHUNK_LEN);
        let transport = match message {
            0..=CHUNK_LEN => Transport::Single,
            _ => Transport::Chunk { cur: number, total: message.div_ceil(CHUNK_LEN) as u8 },
        };
        Cut { transport, begin, len, left: rest - len }
    }

    pub(crate) const fn is_last(&self) -> bool {
        self.left == 0
    }
}

/// Iterator over the frames of a message, see [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    id: CanonicalId,
    message: &'a [u8],
    /// Frames that were cut.
    cut: u8,
}

impl Iterator for Split<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.len() == 0 {
            return None;
        }
        self.cut += 1;
        let cut = Cut::of(self.message.len(), self.cut);
        let data = self.message.get(cut.begin..cut.begin + cut.len)?;
        Frame::new_classic(self.id.frame_id(cut.transport), data).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.message.len().div_ceil(CHUNK_LEN) - usize::from(self.cut);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Split<'_> {}

/// Why a chunk, and with it the message begun, was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A chunk above 1 without a message begun, or after its time ran out.
    Orphan,
    /// A chunk number further on than the next.
    Gap,
    /// A repeated chunk with other bytes.
    Conflict,
    /// The number of chunks changed.
    TotalChanged,
    /// A chunk that is not 8 bytes long (the last: 1..=8), or ISO-TP handed to the wrong machine.
    Malformed,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Orphan => "chunk without a beginning",
            Self::Gap => "chunk missing",
            Self::Conflict => "repeated chunk differs",
            Self::TotalChanged => "number of chunks changed",
            Self::Malformed => "chunk of wrong length",
        })
    }
}

/// What a frame led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push<'a> {
    /// The message is complete.
    Complete(&'a [u8]),
    /// The chunk was stored.
    Pending,
    /// An identical repetition, ignored.
    Duplicate,
    /// The chunk was dropped, together with what was collected for its identifier.
    Dropped(DropReason),
}

/// Event counts of a reassembler; they stop at their maximum. For local diagnosis only, never sent in reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages completed.
    pub completed: u32,
    /// Messages begun again by a new chunk 1 before they were complete.
    pub restarts: u32,
    /// Identical repetitions ignored.
    pub duplicates: u32,
    /// [`DropReason::Orphan`].
    pub orphans: u32,
    /// [`DropReason::Gap`].
    pub gaps: u32,
    /// [`DropReason::Conflict`].
    pub conflicts: u32,
    /// [`DropReason::TotalChanged`].
    pub total_changes: u32,
    /// [`DropReason::Malformed`].
    pub malformed: u32,
    /// Messages given up after [`TIMEOUT`].
    pub timeouts: u32,
    /// Messages given up because a buffer was needed.
    pub evictions: u32,
}

fn bump(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

/// A message being collected.
#[derive(Clone, Copy)]
struct Slot {
    key: CanonicalId,
    total: u8,
    /// Chunks received, 1..=total.
    received: u8,
    started: Instant,
    touched: Instant,
    data: [u8; MAX_LEN],
}

impl Slot {
    const FREE: Self = Slot {
        key: CanonicalId::from_u32(0),
        total: 0,
        received: 0,
        started: Instant::START,
        touched: Instant::START,
        data: [0; MAX_LEN],
    };

    fn chunk(&self, number: u8) -> &[u8] {
        let start = usize::from(number.saturating_sub(1)) * CHUNK_LEN;
        self.data.get(start..start + CHUNK_LEN).unwrap_or(&[])
    }

    #[inline]
    fn store(&mut self, number: u8, chunk: &[u8]) {
        let start = usize::from(number.saturating_sub(1)) * CHUNK_LEN;
        let Some(place) = self.data.get_mut(start..start + CHUNK_LEN) else { return };
        match chunk.first_chunk::<CHUNK_LEN>() {
            Some(whole) => place.copy_from_slice(whole),
            None => place[..chunk.len()].copy_from_slice(chunk),
        }
    }
}

/// Collects the chunks of up to `SLOTS` messages at a time. One per bus: the canonical identifier does not name it.
pub struct Reassembler<const SLOTS: usize> {
    slots: [Slot; SLOTS],
    /// The slots by number, those of messages begun first; a buffer that is free costs no search.
    order: [u8; SLOTS],
    begun: usize,
    /// No message begun runs out of time before.
    quiet_until: Instant,
    counters: Counters,
}

impl<const SLOTS: usize> Default for Reassembler<SLOTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SLOTS: usize> Reassembler<SLOTS> {
    /// Nothing collected.
    pub const fn new() -> Self {
        const { assert!(SLOTS > 0 && SLOTS <= 255, "a reassembler needs a buffer, and numbers them") };
        let mut order = [0; SLOTS];
        let mut at = 0;
        while at < SLOTS {
            order[at] = at as u8;
            at += 1;
        }
        Self {
            slots: [Slot::FREE; SLOTS],
            order,
            begun: 0,
            quiet_until: Instant::START,
            counters: Counters {
                completed: 0,
                restarts: 0,
                duplicates: 0,
                orphans: 0,
                gaps: 0,
                conflicts: 0,
                total_changes: 0,
                malformed: 0,
                timeouts: 0,
                evictions: 0,
            },
        }
    }

    /// Event counts since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes the data of one frame of the message `key`.
    ///
    /// [`Transport::Single`] completes at once, with up to 64 bytes where the bus has FD.
    pub fn push<'a>(
        &'a mut self,
        now: Instant,
        key: CanonicalId,
        transport: Transport,
        data: &'a [u8],
    ) -> Push<'a> {
        self.expire(now);
        let (cur, total) = match transport {
            Transport::Single => {
                self.restart(key);
                if data.is_empty() {
                    return self.drop_message(key, DropReason::Malformed);
                }
                bump(&mut self.counters.completed);
                return Push::Complete(data);
            }
            Transport::IsoTp => return self.drop_message(key, DropReason::Malformed),
            Transport::Chunk { cur, total } => (cur, total),
        };
        let whole = data.len() == CHUNK_LEN || cur == total && (1..CHUNK_LEN).contains(&data.len());
        if !whole || cur == 0 || cur > total || !(2..=16).contains(&total) {
            return self.drop_message(key, DropReason::Malformed);
        }
        if cur == 1 {
            self.restart(key);
            self.open(now, key, total, data);
            return Push::Pending;
        }
        let Some(at) = self.position(key) else {
            return self.drop_message(key, DropReason::Orphan);
        };
        let number = usize::from(self.order[at]);
        let slot = &mut self.slots[number];
        if slot.total != total {
            return self.drop_message(key, DropReason::TotalChanged);
        }
        if cur <= slot.received {
            if slot.chunk(cur) == data {
                bump(&mut self.counters.duplicates);
                return Push::Duplicate;
            }
            return self.drop_message(key, DropReason::Conflict);
        }
        if cur != slot.received + 1 {
            return self.drop_message(key, DropReason::Gap);
        }
        slot.store(cur, data);
        slot.received = cur;
        slot.touched = now;
        if cur < total {
            return Push::Pending;
        }
        self.release(at);
        bump(&mut self.counters.completed);
        let len = usize::from(total - 1) * CHUNK_LEN + data.len();
        // Its bytes stay until the slot is taken again, which needs another frame.
        Push::Complete(self.slots[number].data.get(..len).unwrap_or(&[]))
    }

    /// Gives up messages whose time has run out. [`Reassembler::push`] does so by itself; a caller needs this only
    /// to keep the counters current on a silent bus.
    pub fn expire(&mut self, now: Instant) {
        if now < self.quiet_until {
            return;
        }
        let mut first = now;
        // From the last to the first: a slot that is released takes the last one to its place.
        for at in (0..self.begun).rev() {
            let started = self.slots[usize::from(self.order[at])].started;
            if now.saturating_since(started) >= TIMEOUT {
                self.release(at);
                bump(&mut self.counters.timeouts);
            } else {
                first = first.min(started);
            }
        }
        // What begins later runs out later.
        self.quiet_until = first + TIMEOUT;
    }

    /// Messages begun and not complete, at most `SLOTS`.
    pub fn pending(&self) -> usize {
        self.begun
    }

    /// Where in the order the slot of `key` stands.
    #[inline]
    fn position(&self, key: CanonicalId) -> Option<usize> {
        self.order[..self.begun].iter().position(|number| self.slots[usize::from(*number)].key == key)
    }

    /// Frees the slot at this position of the order.
    #[inline]
    fn release(&mut self, at: usize) {
        self.begun -= 1;
        self.order.swap(at, self.begun);
    }

    fn free(&mut self, key: CanonicalId) -> bool {
        let at = self.position(key);
        at.map(|at| self.release(at)).is_some()
    }

    fn restart(&mut self, key: CanonicalId) {
        if self.free(key) {
            bump(&mut self.counters.restarts);
        }
    }

    fn open(&mut self, now: Instant, key: CanonicalId, total: u8, chunk: &[u8]) {
        let number = if self.begun < SLOTS {
            self.begun += 1;
            self.order[self.begun - 1]
        } else {
            let touched = |number: &u8| self.slots[usize::from(*number)].touched;
            let silent_longest = self.order.iter().copied().min_by_key(touched);
            let Some(number) = silent_longest.filter(|_| kept(Defence::BufferEviction)) else { return };
            bump(&mut self.counters.evictions);
            number
        };
        let slot = &mut self.slots[usize::from(number)];
        (slot.key, slot.total, slot.received) = (key, total, 1);
        (slot.started, slot.touched) = (now, now);
        slot.store(1, chunk);
    }

    fn drop_message(&mut self, key: CanonicalId, reason: DropReason) -> Push<'static> {
        self.free(key);
        bump(match reason {
            DropReason::Orphan => &mut self.counters.orphans,
            DropReason::Gap => &mut self.counters.gaps,
            DropReason::Conflict => &mut self.counters.conflicts,
            DropReason::TotalChanged => &mut self.counters.total_changes,
            DropReason::Malformed => &mut self.counters.malformed,
        });
        Push::Dropped(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::can::{Bus, Id};
    use crate::sealed_id::{Class, Direction, Level, SealedId, classify};
    use proptest::prelude::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    fn key(device: u8) -> CanonicalId {
        SealedId::new(0x514, Level::Pair, Direction::Ab, device).unwrap().canonical()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Sends frames through identifier and reassembler as a receiver does; returns what came out.
    fn receive<const N: usize>(rx: &mut Reassembler<N>, now: Instant, frames: &[Frame]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for frame in frames {
            let Ok(Class::Sealed(id, transport)) = classify(Bus::Can2, frame) else {
                panic!("{frame:?} is not sealed")
            };
            if let Push::Complete(message) = rx.push(now, id.canonical(), transport, frame.data()) {
                out.push(message.to_vec());
            }
        }
        out
    }

    fn message(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_published_frames_are_met() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/secure-link.json");
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let expected: Vec<(String, String)> =
            serde_json::from_value(json["frames_chunk"]["frames"].clone()).unwrap();
        let sealed: Vec<u8> = expected.iter().flat_map(|(_, data)| unhex(data)).collect();
        let frames: Vec<Frame> = split(key(5), &sealed).unwrap().collect();
        let got: Vec<(String, String)> = frames
            .iter()
            .map(|frame| {
                let data = frame.data().iter().map(|byte| format!("{byte:02x}")).collect();
                (format!("{:#x}", frame.id().raw()), data)
            })
            .collect();
        assert_eq!(got, expected);
        assert_eq!(receive(&mut Reassembler::<1>::new(), at(0), &frames), [sealed]);
    }

    #[test]
    fn sixteen_chunks_are_the_most() {
        let frames: Vec<Frame> = split(key(1), &message(128, 0)).unwrap().collect();
        assert_eq!(frames.len(), 16);
        assert_eq!(frames[0].id(), Id::Extended(0x045A_1001));
        assert_eq!(frames[15].id(), Id::Extended(0x045A_0001));
        assert_eq!(split(key(1), &message(129, 0)).err(), Some(BadLength(129)));
        assert_eq!(split(key(1), &[]).err(), Some(BadLength(0)));
        let one: Vec<Frame> = split(key(1), &message(8, 0)).unwrap().collect();
        assert_eq!(one[0].id(), Id::Extended(0x045A_1101));
        assert_eq!(one.len(), 1);
    }

    /// Looking for what ran out is put off, never the moment at which it did.
    #[test]
    fn each_message_runs_out_at_its_own_time() {
        let mut rx = Reassembler::<3>::new();
        for (start, device) in [(0, 1), (20, 2), (49, 3)] {
            let first: Vec<Frame> = split(key(device), &message(20, 0)).unwrap().take(1).collect();
            receive(&mut rx, at(start), &first);
        }
        for (now, left) in [(49, 3), (50, 2), (69, 2), (70, 1), (98, 1), (99, 0)] {
            rx.expire(at(now));
            assert_eq!(rx.pending(), left, "at {now} ms");
        }
    }

    #[test]
    fn a_lost_last_chunk_does_not_harm_the_next_message_that_begins_alike() {
        let mut rx = Reassembler::<2>::new();
        let (first, second) = (message(37, 1), [&message(8, 1)[..], &message(29, 9)].concat());
        let mut frames: Vec<Frame> = split(key(5), &first).unwrap().collect();
        frames.pop();
        frames.extend(split(key(5), &second).unwrap());
        assert_eq!(receive(&mut rx, at(0), &frames), [second]);
        assert_eq!(rx.counters().restarts, 1);
    }

    /// One row per rule; after each disturbance the next honest message must pass (C22).
    #[test]
    fn disturbances_cost_one_message_at_most() {
        use DropReason::*;
        let frames: Vec<Frame> = split(key(5), &message(37, 3)).unwrap().collect();
        let [one, two, three, four, five] = frames[..] else { panic!("37 bytes are 5 chunks") };
        let forged = |frame: Frame, data: &[u8]| Frame::new_classic(frame.id(), data).unwrap();
        let other_total =
            Frame::new_classic(key(5).frame_id(Transport::Chunk { cur: 3, total: 6 }), three.data()).unwrap();
        let table: [(&str, Vec<Frame>, Option<DropReason>); 9] = [
            ("duplicate", std::vec![one, two, two, three, two, four, five], None),
            ("conflict", std::vec![one, two, forged(two, &[0; 8])], Some(Conflict)),
            ("conflict in the past", std::vec![one, two, three, forged(two, &[0; 8])], Some(Conflict)),
            ("gap", std::vec![one, three], Some(Gap)),
            ("orphan", std::vec![two], Some(Orphan)),
            ("last first", std::vec![five], Some(Orphan)),
            ("total", std::vec![one, two, other_total], Some(TotalChanged)),
            ("short", std::vec![one, forged(two, &[0; 7])], Some(Malformed)),
            ("empty last", std::vec![one, two, three, four, forged(five, &[])], Some(Malformed)),
        ];
        for (name, sent, reason) in table {
            let mut rx = Reassembler::<2>::new();
            let delivered = receive(&mut rx, at(0), &sent);
            assert_eq!(delivered.len(), usize::from(reason.is_none()), "{name}");
            assert_eq!(rx.pending(), 0, "{name}");
            let counters = rx.counters();
            let counted = [
                (Orphan, counters.orphans),
                (Gap, counters.gaps),
                (Conflict, counters.conflicts),
                (TotalChanged, counters.total_changes),
                (Malformed, counters.malformed),
            ];
            for (counter, count) in counted {
                assert_eq!(count, u32::from(reason == Some(counter)), "{name}: {counter:?}");
            }
            assert_eq!(receive(&mut rx, at(1), &frames), [message(37, 3)], "{name}");
        }
    }

    #[test]
    fn the_time_runs_from_chunk_1() {
        let frames: Vec<Frame> = split(key(5), &message(24, 3)).unwrap().collect();
        let [one, two, three] = frames[..] else { panic!("24 bytes are 3 chunks") };
        let mut rx = Reassembler::<1>::new();
        receive(&mut rx, at(100), &[one]);
        receive(&mut rx, at(140), &[two]);
        assert_eq!(receive(&mut rx, at(149), &[three]).len(), 1);
        receive(&mut rx, at(200), &[one]);
        receive(&mut rx, at(249), &[two]);
        assert!(receive(&mut rx, at(250), &[three]).is_empty());
        assert_eq!((rx.counters().timeouts, rx.counters().orphans), (1, 1));
    }

    #[test]
    fn interleaved_senders_do_not_mix() {
        let a: Vec<Frame> = split(key(1), &message(40, 1)).unwrap().collect();
        let b: Vec<Frame> = split(key(2), &message(40, 2)).unwrap().collect();
        let woven: Vec<Frame> = a.into_iter().zip(b).flat_map(|(a, b)| [a, b]).collect();
        let mut rx = Reassembler::<2>::new();
        assert_eq!(receive(&mut rx, at(0), &woven), [message(40, 1), message(40, 2)]);
    }

    #[test]
    fn a_flood_of_first_chunks_cannot_stop_a_message_in_progress() {
        let honest: Vec<Frame> = split(key(5), &message(128, 1)).unwrap().collect();
        let mut rx = Reassembler::<4>::new();
        let mut now = 0;
        let mut delivered = Vec::new();
        let mut device = 0u8;
        for frame in &honest {
            now += 1_000;
            delivered.extend(receive(&mut rx, Instant::from_micros(now), &[*frame]));
            for _ in 0..3 {
                now += 100;
                device = device.wrapping_add(1).max(6);
                let flood = split(key(device), &message(16, 0)).unwrap().next().unwrap();
                receive(&mut rx, Instant::from_micros(now), &[flood]);
            }
        }
        assert_eq!(delivered, [message(128, 1)]);
        assert!(rx.counters().evictions > 40);
        assert!(rx.pending() <= 4);
    }

    #[test]
    fn a_single_frame_ends_what_was_begun() {
        let mut rx = Reassembler::<1>::new();
        let begun = split(key(5), &message(16, 0)).unwrap().next().unwrap();
        receive(&mut rx, at(0), &[begun]);
        let fd = Frame::new_fd(key(5).frame_id(Transport::Single), &message(48, 7)).unwrap();
        assert_eq!(receive(&mut rx, at(0), &[fd]), [message(48, 7)]);
        assert_eq!((rx.pending(), rx.counters().restarts), (0, 1));
        assert_eq!(rx.push(at(0), key(5), Transport::Single, &[]), Push::Dropped(DropReason::Malformed));
        assert_eq!(rx.push(at(0), key(5), Transport::IsoTp, &[1]), Push::Dropped(DropReason::Malformed));
    }

    proptest! {
        #[test]
        fn what_is_split_is_put_together(bytes in proptest::collection::vec(any::<u8>(), 1..=128)) {
            let frames: Vec<Frame> = split(key(9), &bytes).unwrap().collect();
            prop_assert_eq!(frames.len(), split(key(9), &bytes).unwrap().len());
            prop_assert_eq!(receive(&mut Reassembler::<1>::new(), at(0), &frames), [bytes]);
        }

        /// Whatever an attacker sends under the victim's identifier, the honest message after it arrives.
        #[test]
        fn rubbish_before_an_honest_message_does_no_harm(
            rubbish in proptest::collection::vec((1u8..=16, 2u8..=16, 0usize..=8, 0u64..20_000), 0..200)
        ) {
            let mut rx = Reassembler::<2>::new();
            let mut now = Instant::START;
            for (cur, total, len, wait) in rubbish {
                now = now + Duration::from_micros(wait);
                rx.push(now, key(5), Transport::Chunk { cur, total }, &message(len, 0));
                prop_assert!(rx.pending() <= 1);
            }
            let honest: Vec<Frame> = split(key(5), &message(69, 4)).unwrap().collect();
            prop_assert_eq!(receive(&mut rx, now, &honest), [message(69, 4)]);
        }
    }
}
