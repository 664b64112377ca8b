//! What goes wrong on a bus: frames that are lost, bits that flip and are not noticed by the frame's own CRC.
//!
//! [`FaultPlan`] spends an exact number of faults on sealed messages, spread over a run, so that a script can compare
//! what it ordered with what the receivers counted.

use std::collections::VecDeque;

use pack::can::{Bus, Frame};
use pack::sealed_id::{CanonicalId, SealedId, Transport};
use pack::time::Instant;

use crate::seed::Chance;

/// The fate of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives as sent.
    Pass,
    /// It takes its time on the bus and arrives nowhere.
    Drop,
    /// Everyone receives this frame instead.
    Alter(Frame),
}

/// Decides about every frame of a bus, once, in the order of the bus.
pub trait Faults {
    /// The fate of `frame`, which ends at `at` on `bus`.
    fn judge(&mut self, at: Instant, bus: Bus, frame: &Frame) -> Verdict;
}

/// A bus without faults.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn judge(&mut self, _: Instant, _: Bus, _: &Frame) -> Verdict {
        Verdict::Pass
    }
}

/// Sealed bytes before the ciphertext: base of the nonce (4) and counter (8); `spec/channel.md`, H30.
const NONCE: usize = 12;
/// Shortest sealed message: nonce, one byte of ciphertext, tag. Also tells a sealed message from the compact
/// profiles, which have no tag of this kind (H33).
const SHORTEST_SEALED: usize = NONCE + 1 + 16;
/// Chunks of the shortest sealed message.
const FEWEST_CHUNKS: u8 = SHORTEST_SEALED.div_ceil(8) as u8;

/// How many faults to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultConfig {
    /// Frames to drop, each of another sealed message.
    pub drop: u32,
    /// Sealed messages in which to flip one bit.
    pub flip: u32,
    /// Decides where.
    pub seed: u64,
    /// Sealed messages that the run will certainly have after [`FaultPlan::arm`]. The faults are spread over so many;
    /// if so many pass (and at least `drop + flip`), all faults are spent.
    pub expected_messages: u64,
}

/// What a plan has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultReport {
    /// Sealed messages seen that a fault could have met, counted while the plan is armed and has faults left.
    pub messages: u64,
    /// Frames dropped.
    pub dropped: u32,
    /// Bits flipped, each in another message.
    pub flipped: u32,
    /// Faults still to come.
    pub left: u32,
}

/// Drops frames of, and flips bits in, an exact number of sealed messages.
///
/// * A fault meets only a message whose first chunk passed after [`FaultPlan::arm`] (the pack is operational): sealed
///   (29-bit identifier, bit 17), in chunks or in a single frame, never ISO-TP, and no group message (device 0 on
///   CAN 2), which many receivers would open.
/// * No message meets two faults, so a flipped message arrives whole but for its bit.
/// * A flip meets ciphertext or tag, never the 12 bytes of nonce before them: every flip is then one failure to open at
///   the receiver. A changed counter may be refused earlier, as a replay, and would be counted elsewhere.
/// * Both buses of a pack share one plan.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// Faults to come, each with the number of the message from which on it is due.
    schedule: VecDeque<(u64, Kind)>,
    /// Faults assigned to a message that is on its way.
    pending: Vec<Pending>,
    chance: Chance,
    armed: bool,
    report: FaultReport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Drop,
    Flip,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    bus: Bus,
    message: CanonicalId,
    kind: Kind,
    /// Number of the chunk, from 1.
    chunk: u8,
    /// Bit within that chunk's data, for a flip.
    bit: u16,
}

impl FaultPlan {
    /// Lays the faults out; nothing happens before [`FaultPlan::arm`].
    pub fn new(config: FaultConfig) -> Self {
        let FaultConfig { drop, flip, seed, expected_messages } = config;
        let mut chance = Chance::new(seed, "faults");
        let total = u64::from(drop) + u64::from(flip);
        // A margin, because messages under way at the end are counted and may not be finished.
        let span = expected_messages - expected_messages / 16;
        let (mut drops, mut flips) = (u64::from(drop), u64::from(flip));
        let schedule = (0..total)
            .map(|index| {
                // One fault in each of `total` equal stretches, at a place and in an order of chance.
                let edge = |index: u64| (u128::from(index) * u128::from(span) / u128::from(total)) as u64;
                let due = edge(index) + chance.below(edge(index + 1) - edge(index));
                let kind = if chance.below(drops + flips) < drops { Kind::Drop } else { Kind::Flip };
                match kind {
                    Kind::Drop => drops -= 1,
                    Kind::Flip => flips -= 1,
                }
                (due, kind)
            })
            .collect();
        let report = FaultReport { left: drop.saturating_add(flip), ..FaultReport::default() };
        Self { schedule, pending: Vec::new(), chance, armed: false, report }
    }

    /// From now on faults happen.
    pub fn arm(&mut self) {
        self.armed = true;
    }

    /// What has been done, and what has not.
    pub fn report(&self) -> FaultReport {
        self.report
    }

    /// A message begins: decides whether it meets a fault, and where.
    fn begin(&mut self, bus: Bus, message: CanonicalId, chunks: u8, len: usize) {
        // An earlier message of this identifier ended before its fault: the fault is due again.
        if let Some(at) =
            self.pending.iter().position(|pending| (pending.bus, pending.message) == (bus, message))
        {
            let missed = self.pending.swap_remove(at);
            self.schedule.push_front((0, missed.kind));
        }
        let number = self.report.messages;
        self.report.messages += 1;
        if self.schedule.front().is_none_or(|&(due, _)| due > number) {
            return;
        }
        let Some((_, kind)) = self.schedule.pop_front() else {
            return;
        };
        let (chunk, bit) = match (kind, chunks) {
            (_, 1) => (1, NONCE * 8 + self.chance.below(((len - NONCE) * 8) as u64) as usize),
            (Kind::Drop, _) => (1 + self.chance.below(u64::from(chunks)) as u8, 0),
            // All chunks but the last are full; the last has at least one byte and is left alone.
            (Kind::Flip, _) => {
                let bytes = usize::from(chunks - 1) * 8 - NONCE;
                let bit = NONCE * 8 + self.chance.below((bytes * 8) as u64) as usize;
                ((bit / 64 + 1) as u8, bit % 64)
            }
        };
        self.pending.push(Pending { bus, message, kind, chunk, bit: bit as u16 });
    }

    fn spend(&mut self, bus: Bus, message: CanonicalId, chunk: u8, frame: &Frame) -> Verdict {
        let matches =
            |pending: &Pending| (pending.bus, pending.message, pending.chunk) == (bus, message, chunk);
        let Some(at) = self.pending.iter().position(matches) else {
            return Verdict::Pass;
        };
        let Pending { kind, bit, .. } = self.pending.swap_remove(at);
        let verdict = match kind {
            Kind::Drop => Some(Verdict::Drop),
            Kind::Flip => flipped(frame, bit).map(Verdict::Alter),
        };
        let Some(verdict) = verdict else {
            // A chunk shorter than the format allows; the fault finds another message.
            self.schedule.push_front((0, kind));
            return Verdict::Pass;
        };
        match kind {
            Kind::Drop => self.report.dropped += 1,
            Kind::Flip => self.report.flipped += 1,
        }
        self.report.left -= 1;
        verdict
    }
}

impl Faults for FaultPlan {
    fn judge(&mut self, _: Instant, bus: Bus, frame: &Frame) -> Verdict {
        if !self.armed || self.report.left == 0 {
            return Verdict::Pass;
        }
        let Ok((id, transport)) = SealedId::parse(frame.id()) else {
            return Verdict::Pass;
        };
        let group = bus == Bus::Can2 && id.device() == 0;
        let (chunk, chunks) = match transport {
            _ if group => return Verdict::Pass,
            Transport::Single if frame.len() >= SHORTEST_SEALED => (1, 1),
            Transport::Chunk { cur, total } if total >= FEWEST_CHUNKS => (cur, total),
            Transport::Single | Transport::Chunk { .. } | Transport::IsoTp => return Verdict::Pass,
        };
        if chunk == 1 {
            self.begin(bus, id.canonical(), chunks, frame.len());
        }
        self.spend(bus, id.canonical(), chunk, frame)
    }
}

/// `frame` with one data bit inverted; `None` when it has no such bit.
fn flipped(frame: &Frame, bit: u16) -> Option<Frame> {
    let mut data = [0; 64];
    let data = data.get_mut(..frame.len())?;
    data.copy_from_slice(frame.data());
    *data.get_mut(usize::from(bit / 8))? ^= 1 << (bit % 8);
    let build = if frame.is_fd() { Frame::new_fd } else { Frame::new_classic };
    build(frame.id(), data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pack::can::Id;
    use pack::sealed_id::{Direction, Level};
    use std::collections::BTreeMap;

    fn config(drop: u32, flip: u32, expected_messages: u64) -> FaultConfig {
        FaultConfig { drop, flip, seed: 11, expected_messages }
    }

    /// The frames of one sealed message of `len` bytes.
    fn message(base: u16, device: u8, len: usize) -> Vec<Frame> {
        let id = SealedId::new(base, Level::Exch, Direction::Ba, device).unwrap();
        let body: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let total = len.div_ceil(8) as u8;
        (1..=total)
            .zip(body.chunks(8))
            .map(|(cur, chunk)| {
                Frame::new_classic(id.encode(Transport::Chunk { cur, total }), chunk).unwrap()
            })
            .collect()
    }

    fn differing_bits(a: &Frame, b: &Frame) -> Vec<usize> {
        assert_eq!((a.id(), a.len(), a.is_fd()), (b.id(), b.len(), b.is_fd()));
        (0..a.len() * 8)
            .filter(|&bit| (a.data()[bit / 8] ^ b.data()[bit / 8]) >> (bit % 8) & 1 == 1)
            .collect()
    }

    /// Many modules talk at once, their chunks interleaved. Returns per message: frames dropped, bits flipped (as
    /// offsets in the message).
    fn run(plan: &mut FaultPlan, rounds: u64, modules: u8, len: usize) -> Vec<(u32, Vec<usize>)> {
        let mut fates = Vec::new();
        for _ in 0..rounds {
            let messages: Vec<Vec<Frame>> = (1..=modules).map(|device| message(0x502, device, len)).collect();
            let mut fate = vec![(0, Vec::new()); messages.len()];
            for chunk in 0..messages[0].len() {
                for (frames, (dropped, flips)) in messages.iter().zip(&mut fate) {
                    match plan.judge(Instant::START, Bus::Can2, &frames[chunk]) {
                        Verdict::Pass => {}
                        Verdict::Drop => *dropped += 1,
                        Verdict::Alter(altered) => {
                            flips.extend(
                                differing_bits(&frames[chunk], &altered).iter().map(|bit| chunk * 64 + bit),
                            );
                        }
                    }
                }
            }
            fates.extend(fate);
        }
        fates
    }

    #[test]
    fn exactly_the_ordered_faults_each_in_a_message_of_its_own() {
        for (drop, flip, rounds, len) in [
            (0, 0, 50, 37),
            (7, 0, 100, 37),
            (0, 7, 100, 29),
            (20, 30, 100, 128),
            (150, 150, 100, 37),
            (1, 1, 1, 40),
        ] {
            let mut plan = FaultPlan::new(config(drop, flip, rounds * 3));
            plan.arm();
            let fates = run(&mut plan, rounds, 3, len);
            let dropped: u32 = fates.iter().map(|(dropped, _)| dropped).sum();
            let flips: usize = fates.iter().map(|(_, flips)| flips.len()).sum();
            assert_eq!((dropped, flips as u32), (drop, flip), "{drop} {flip}");
            for (dropped, flips) in &fates {
                assert!(*dropped as usize + flips.len() <= 1, "two faults in one message");
                assert!(flips.iter().all(|&bit| (NONCE * 8..len * 8).contains(&bit)), "{flips:?}");
            }
            let report = plan.report();
            assert_eq!((report.dropped, report.flipped, report.left), (drop, flip, 0));
        }
    }

    #[test]
    fn faults_are_spread_over_the_run() {
        let mut plan = FaultPlan::new(config(10, 10, 2_000));
        plan.arm();
        let fates = run(&mut plan, 1_000, 2, 37);
        let hit: Vec<usize> = (0..fates.len()).filter(|&at| fates[at] != (0, vec![])).collect();
        for (index, at) in hit.iter().enumerate() {
            let stretch = index * 1_875 / 20..=(index + 1) * 1_875 / 20;
            assert!(stretch.contains(at), "fault {index} at message {at}");
        }
        let chunks: BTreeMap<usize, u32> =
            fates.iter().flat_map(|(_, flips)| flips).fold(BTreeMap::new(), |mut seen, bit| {
                *seen.entry(bit / 64).or_default() += 1;
                seen
            });
        assert!(chunks.len() > 1, "always the same chunk: {chunks:?}");
    }

    #[test]
    fn too_little_traffic_leaves_faults_and_says_so() {
        let mut plan = FaultPlan::new(config(2, 3, 100));
        plan.arm();
        run(&mut plan, 1, 3, 37);
        let FaultReport { dropped, flipped, left, messages } = plan.report();
        assert_eq!((dropped + flipped + left, messages), (5, 3));
        assert!(left > 0);
        // Without an expectation they come at once, one message each.
        let mut plan = FaultPlan::new(config(2, 3, 0));
        plan.arm();
        let fates = run(&mut plan, 5, 1, 37);
        assert!(fates.iter().all(|fate| *fate != (0, vec![])));
        assert_eq!(plan.report().left, 0);
    }

    /// Everything that no fault may meet, each of it often enough that one would show.
    #[test]
    fn what_is_not_an_ordinary_sealed_message_is_left_alone() {
        let sealed = |device, transport, data: &[u8]| {
            let id = SealedId::new(0x514, Level::Pair, Direction::Ab, device).unwrap();
            Frame::new_classic(id.encode(transport), data).unwrap()
        };
        let clear = Frame::new_classic(Id::Extended(0x1408_0005), &[1; 8]).unwrap();
        let standard = Frame::new_classic(Id::Standard(0x410), &[1; 8]).unwrap();
        let compact = sealed(5, Transport::Single, &[1; 8]);
        let compact_of_two = sealed(5, Transport::Chunk { cur: 1, total: 2 }, &[1; 8]);
        let iso_tp = sealed(5, Transport::IsoTp, &[0x10, 200, 1, 2, 3, 4, 5, 6]);
        let group = sealed(0, Transport::Chunk { cur: 1, total: 5 }, &[1; 8]);
        let without_beginning = sealed(5, Transport::Chunk { cur: 3, total: 5 }, &[1; 8]);
        let mut plan = FaultPlan::new(config(50, 50, 0));
        plan.arm();
        for frame in [clear, standard, compact, compact_of_two, iso_tp, group, without_beginning] {
            for _ in 0..100 {
                assert_eq!(plan.judge(Instant::START, Bus::Can2, &frame), Verdict::Pass, "{frame:?}");
            }
        }
        assert_eq!(plan.report().messages, 0);
        // Device 0 on CAN 1 is pack 0.
        (0..5).for_each(|_| _ = plan.judge(Instant::START, Bus::Can1, &group));
        assert_eq!(plan.report().messages, 5);
    }

    #[test]
    fn nothing_happens_before_it_is_armed_also_to_a_message_under_way() {
        let mut plan = FaultPlan::new(config(5, 5, 0));
        assert!(run(&mut plan, 20, 2, 37).iter().all(|fate| *fate == (0, vec![])));
        let frames = message(0x502, 1, 37);
        assert_eq!(plan.judge(Instant::START, Bus::Can2, &frames[0]), Verdict::Pass);
        plan.arm();
        for frame in &frames[1..] {
            assert_eq!(plan.judge(Instant::START, Bus::Can2, frame), Verdict::Pass);
        }
        run(&mut plan, 10, 1, 37);
        assert_eq!(plan.report().left, 0);
    }

    /// The sender gives up after the first chunk; the fault that was meant for a later chunk must not be lost.
    #[test]
    fn a_message_that_is_never_finished_costs_no_fault() {
        let mut plan = FaultPlan::new(config(0, 5, 0));
        plan.arm();
        let frames = message(0x502, 1, 37);
        for _ in 0..50 {
            assert_eq!(plan.judge(Instant::START, Bus::Can2, &frames[0]), Verdict::Pass);
        }
        assert_eq!(plan.report().left, 5);
        run(&mut plan, 5, 1, 37);
        assert_eq!((plan.report().flipped, plan.report().left), (5, 0));
    }

    #[test]
    fn a_single_fd_frame_is_flipped_behind_its_nonce() {
        let id = SealedId::new(0x502, Level::Exch, Direction::Ba, 3).unwrap();
        let frame = Frame::new_fd(id.encode(Transport::Single), &[0x55; 48]).unwrap();
        let mut plan = FaultPlan::new(config(0, 200, 0));
        plan.arm();
        let mut bytes = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let Verdict::Alter(altered) = plan.judge(Instant::START, Bus::Can1, &frame) else {
                panic!("not flipped")
            };
            let bits = differing_bits(&frame, &altered);
            assert_eq!(bits.len(), 1);
            bytes.insert(bits[0] / 8);
        }
        assert!(bytes.first() >= Some(&NONCE) && bytes.last() > Some(&40), "{bytes:?}");
    }

    #[test]
    fn one_seed_gives_one_plan() {
        let faults = |seed| {
            let mut plan = FaultPlan::new(FaultConfig { seed, ..config(10, 10, 300) });
            plan.arm();
            run(&mut plan, 100, 3, 61)
        };
        assert_eq!(faults(1), faults(1));
        assert_ne!(faults(1), faults(2));
    }
}
