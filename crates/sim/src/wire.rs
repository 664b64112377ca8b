//! One CAN bus in virtual time: who may send when, how long it takes, who hears it.
//!
//! Classical CAN at 500 kbit/s (`spec/can.md`, C1), or CAN FD with 2 Mbit/s in the data phase (C120). A frame may start when the bus has been idle for the three bits
//! of intermission; of all nodes that then have one to send, the lowest identifier wins. It takes exactly its bits on
//! the wire, stuff bits included, and every other node has it at the end of its end-of-frame field, three bits before
//! the bus is free again.
//!
//! **A port is a queue, first in, first out**, as a CAN controller in FIFO mode has it (the MCP2518FD of the pack with
//! its transmit FIFO, the single transmit object of the module). Only the head takes part in arbitration. A controller
//! that sorts its mailboxes by identifier would send an urgent frame earlier, but it must not be used here: the chunks
//! of one message differ in the transport byte of their identifier, chunk 16 is coded 0, and sorting would tear their
//! order. The price is priority inversion inside one node, which this model shows as the hardware does.
//!
//! Nothing happens on its own: the caller asks [`Wire::next_event`], lets time pass with [`Wire::advance`], hands each
//! [`Delivery`] to every port but the sender's, and sends the answers before it advances again. Arbitration is decided
//! when time reaches it, so an answer sent at the moment of a delivery takes part in the next one. Errors of the bus
//! (error frames, retransmission, bus-off) are not modelled; what [`Faults`] drops is gone.

use std::collections::VecDeque;
use std::fmt;

use pack::can::{Bus, Frame};
use pack::link::FrameFormat;
use pack::time::{Duration, Instant};

use crate::fault::{Faults, Verdict};

/// Microseconds per bit at 500 kbit/s.
const BIT_US: u64 = 2;
/// Bits of the data phase of CAN FD in one nominal bit: 2 Mbit/s.
const DATA_BITS: u32 = 4;
/// Bits of intermission at the end of a frame, when its receivers already have it.
const INTERMISSION_BITS: u32 = 3;
/// Frames one port may have waiting: more than a bus carries in a second.
pub const MAX_QUEUED: usize = 8192;

/// A node on one [`Wire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(usize);

/// A frame that has crossed the bus, as every port but `from` hears it and as a recorder writes it down: after faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// End of the frame on the wire.
    pub at: Instant,
    /// The sender.
    pub from: PortId,
    /// What arrived.
    pub frame: Frame,
}

/// Why a frame was not taken for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// This is a classical bus.
    #[error("a CAN FD frame cannot be sent on a classical bus")]
    Fd,
    /// The port is not one of this wire.
    #[error("no such port on this bus")]
    NoSuchPort,
    /// [`MAX_QUEUED`] frames wait already.
    #[error("the transmit queue of the port is full ({MAX_QUEUED} frames)")]
    QueueFull,
}

/// What has happened on a bus since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Stats {
    /// Frames delivered.
    pub frames: u64,
    /// Frames that took bus time but were dropped by a fault.
    pub dropped: u64,
    /// Bits on the wire, stuff bits and intermission included, of delivered and dropped frames. The data phase of an
    /// FD frame counts in nominal bits, rounded up.
    pub bits: u64,
    /// Arbitrations in which two ports offered the same identifier. On a real bus their data would collide; here the
    /// port attached first wins. It has to stay 0.
    pub collisions: u64,
}

impl Stats {
    /// Bus load in parts per million between the moment `earlier` was taken and now, `span` later; 0 for no span.
    pub fn load_ppm(&self, earlier: &Self, span: Duration) -> u32 {
        let busy_us = u128::from(self.bits - earlier.bits) * u128::from(BIT_US);
        let ppm = (busy_us * 1_000_000).checked_div(u128::from(span.as_micros())).unwrap_or(0);
        u32::try_from(ppm).unwrap_or(u32::MAX)
    }
}

#[derive(Debug, Clone, Copy)]
struct Queued {
    ready: Instant,
    frame: Frame,
    bits: u32,
}

/// The bus.
#[derive(Debug)]
pub struct Wire {
    bus: Bus,
    format: FrameFormat,
    ports: Vec<VecDeque<Queued>>,
    /// From here on a frame may start.
    idle_at: Instant,
    stats: Stats,
}

/// A frame that wins the bus if nothing else is sent before `start`.
struct Winner {
    port: usize,
    start: Instant,
    bits: u32,
    collides: bool,
}

impl Winner {
    fn delivered_at(&self) -> Instant {
        self.start + bit_time(self.bits.saturating_sub(INTERMISSION_BITS))
    }
}

fn bit_time(bits: u32) -> Duration {
    Duration::from_micros(u64::from(bits) * BIT_US)
}

impl Wire {
    /// An idle bus without nodes.
    pub fn new(bus: Bus) -> Self {
        Self {
            bus,
            format: FrameFormat::Classical,
            ports: Vec::new(),
            idle_at: Instant::START,
            stats: Stats::default(),
        }
    }

    /// Says what frames the bus carries.
    pub fn set_format(&mut self, format: FrameFormat) {
        self.format = format;
    }

    /// Which of the pack's buses this is.
    pub fn bus(&self) -> Bus {
        self.bus
    }

    /// Adds a node.
    pub fn attach(&mut self) -> PortId {
        self.ports.push(VecDeque::new());
        PortId(self.ports.len() - 1)
    }

    /// Queues `frame` at `port`; it takes part in arbitration from `now` on. Within one port `now` must not go back.
    ///
    /// # Errors
    /// [`SendError`]; the frame is then not queued.
    pub fn send(&mut self, port: PortId, now: Instant, frame: Frame) -> Result<(), SendError> {
        let fd = frame.fd_bits_on_wire().filter(|_| self.format == FrameFormat::Fd);
        let fd = fd.map(|(nominal, data)| nominal + data.div_ceil(DATA_BITS));
        let bits = frame.bits_on_wire().or(fd).ok_or(SendError::Fd)?;
        let queue = self.ports.get_mut(port.0).ok_or(SendError::NoSuchPort)?;
        if queue.len() == MAX_QUEUED {
            return Err(SendError::QueueFull);
        }
        queue.push_back(Queued { ready: now, frame, bits });
        Ok(())
    }

    /// Throws away what `port` has not begun to send: the node lost its power. `false` for a port of another wire.
    pub fn clear(&mut self, port: PortId) -> bool {
        self.ports.get_mut(port.0).map(VecDeque::clear).is_some()
    }

    /// Frames waiting at `port`.
    pub fn queued(&self, port: PortId) -> usize {
        self.ports.get(port.0).map_or(0, VecDeque::len)
    }

    /// When the next frame arrives if nothing else is sent until then; `None` when nothing waits.
    pub fn next_event(&self) -> Option<Instant> {
        self.arbitrate().map(|winner| winner.delivered_at())
    }

    /// The next frame that arrives at or before `to`; call again until it gives `None`, sending the answers to each
    /// delivery in between. Every frame is shown to `faults` once, in the order of the bus.
    pub fn advance(&mut self, to: Instant, faults: &mut impl Faults) -> Option<Delivery> {
        loop {
            let winner = self.arbitrate()?;
            let at = winner.delivered_at();
            if at > to {
                return None;
            }
            let Queued { frame, bits, .. } = self.ports[winner.port].pop_front()?;
            self.idle_at = winner.start + bit_time(bits);
            self.stats.bits += u64::from(bits);
            self.stats.collisions += u64::from(winner.collides);
            let frame = match faults.judge(at, self.bus, &frame) {
                Verdict::Pass => frame,
                Verdict::Alter(altered) => altered,
                Verdict::Drop => {
                    self.stats.dropped += 1;
                    continue;
                }
            };
            self.stats.frames += 1;
            return Some(Delivery { at, from: PortId(winner.port), frame });
        }
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn arbitrate(&self) -> Option<Winner> {
        let heads = || self.ports.iter().enumerate().filter_map(|(port, queue)| Some((port, queue.front()?)));
        let start = heads().map(|(_, head)| head.ready).min()?.max(self.idle_at);
        let contenders = || heads().filter(|(_, head)| head.ready <= start);
        let (port, head) = contenders().min_by_key(|&(port, head)| (head.frame.id(), port))?;
        let collides =
            contenders().any(|(other, rival)| other != port && rival.frame.id() == head.frame.id());
        Some(Winner { port, start, bits: head.bits, collides })
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::NoFaults;
    use crate::seed::Chance;
    use pack::can::Id;
    use std::hash::{DefaultHasher, Hash, Hasher};

    const T0: Instant = Instant::START;

    fn us(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn standard(id: u16, data: &[u8]) -> Frame {
        Frame::new_classic(Id::Standard(id), data).unwrap()
    }

    fn drain(wire: &mut Wire) -> Vec<Delivery> {
        std::iter::from_fn(|| wire.advance(us(u64::MAX), &mut NoFaults)).collect()
    }

    fn ids(wire: &mut Wire) -> Vec<u32> {
        drain(wire).iter().map(|delivery| delivery.frame.id().raw()).collect()
    }

    /// Bit counts by an independent program (Python, frame built as text, stuffed by regular expression).
    #[test]
    fn frames_take_exactly_their_bits() {
        let extended = |id, data: &[u8]| Frame::new_classic(Id::Extended(id), data).unwrap();
        let sealed_chunk = [0x1C, 0x82, 0xCF, 0xD7, 0, 0, 0, 0];
        for (frame, bits) in [
            (standard(0, &[]), 53),
            (standard(0x555, &[0xAA; 8]), 112),
            (standard(0x7FF, &[0xFF; 8]), 126),
            (extended(0x145C_0000, &[3]), 82),
            (extended(0x045A_1505, &sealed_chunk), 141),
            (extended(0x1FFF_FFFF, &[0xFF; 8]), 149),
        ] {
            let mut wire = Wire::new(Bus::Can1);
            let port = wire.attach();
            wire.send(port, us(1_000), frame).unwrap();
            wire.send(port, us(1_000), frame).unwrap();
            let first = 1_000 + (bits - 3) * 2;
            assert_eq!(wire.next_event(), Some(us(first)), "{frame:?}");
            assert_eq!(wire.advance(us(first - 1), &mut NoFaults), None);
            assert_eq!(wire.advance(us(first), &mut NoFaults).unwrap().at, us(first));
            assert_eq!(wire.next_event(), Some(us(first + bits * 2)), "back to back");
            drain(&mut wire);
            assert_eq!(wire.stats().bits, 2 * bits);
        }
    }

    /// Nominal and data bits as in `pack::can`: 52 at 2 us and 421 at 0.5 us, rounded up to 106 nominal bits.
    #[test]
    fn an_fd_frame_takes_its_two_rates() {
        let mut wire = Wire::new(Bus::Can2);
        let port = wire.attach();
        let frame = Frame::new_fd(Id::Extended(0x0407_1105), &[0x55; 48]).unwrap();
        assert_eq!(wire.send(port, T0, frame), Err(SendError::Fd));
        wire.set_format(FrameFormat::Fd);
        wire.send(port, T0, frame).unwrap();
        assert_eq!(wire.next_event(), Some(us((52 + 106 - 3) * 2)));
        wire.send(port, T0, standard(1, &[])).unwrap();
        assert_eq!(ids(&mut wire), [0x0407_1105, 1]);
    }

    #[test]
    fn the_lowest_identifier_wins_when_the_bus_becomes_free() {
        let mut wire = Wire::new(Bus::Can2);
        let [a, b, c] = [wire.attach(), wire.attach(), wire.attach()];
        wire.send(a, T0, standard(0x700, &[0; 8])).unwrap();
        // While 0x700 is on the wire these three arrive, the most urgent last.
        wire.send(b, us(10), standard(0x300, &[])).unwrap();
        wire.send(a, us(20), standard(0x200, &[])).unwrap();
        wire.send(c, us(30), standard(0x100, &[])).unwrap();
        assert_eq!(ids(&mut wire), [0x700, 0x100, 0x200, 0x300]);
        assert_eq!(wire.stats().collisions, 0);
    }

    #[test]
    fn a_frame_on_the_wire_is_never_interrupted_and_a_late_one_waits() {
        let mut wire = Wire::new(Bus::Can1);
        let [a, b] = [wire.attach(), wire.attach()];
        wire.send(a, T0, standard(0x700, &[1; 8])).unwrap();
        let end = wire.next_event().unwrap();
        // One microsecond after the start the decision has fallen.
        wire.send(b, us(1), standard(0x001, &[])).unwrap();
        assert_eq!(wire.next_event(), Some(end));
        assert_eq!(ids(&mut wire), [0x700, 0x001]);

        // At the very moment of the start it has not.
        let mut wire = Wire::new(Bus::Can1);
        let [a, b] = [wire.attach(), wire.attach()];
        wire.send(a, us(50), standard(0x700, &[1; 8])).unwrap();
        wire.send(b, us(50), standard(0x001, &[])).unwrap();
        assert_eq!(ids(&mut wire), [0x001, 0x700]);
    }

    /// Inside one node the head blocks the urgent frame behind it, as in a transmit FIFO.
    #[test]
    fn a_port_is_first_in_first_out() {
        let mut wire = Wire::new(Bus::Can1);
        let [a, b] = [wire.attach(), wire.attach()];
        wire.send(a, T0, standard(0x600, &[])).unwrap();
        wire.send(a, T0, standard(0x010, &[])).unwrap();
        wire.send(b, T0, standard(0x500, &[])).unwrap();
        wire.send(b, T0, standard(0x550, &[])).unwrap();
        assert_eq!(ids(&mut wire), [0x500, 0x550, 0x600, 0x010]);
    }

    /// 16 chunks: T runs 0x10, 0x20 .. 0xF0, 0x00, so the last has the lowest identifier of all.
    #[test]
    fn chunks_of_one_message_stay_in_order_against_other_traffic() {
        let mut wire = Wire::new(Bus::Can2);
        let [a, b] = [wire.attach(), wire.attach()];
        let chunk = |node: u32, n: u32| {
            Frame::new_classic(Id::Extended(0x045A_0000 | (n & 0xF) << 12 | node), &[n as u8; 8]).unwrap()
        };
        for n in 1..=16 {
            wire.send(a, T0, chunk(5, n)).unwrap();
            wire.send(b, T0, chunk(4, n)).unwrap();
        }
        let log = drain(&mut wire);
        for port in [a, b] {
            let order: Vec<u8> = log
                .iter()
                .filter(|delivery| delivery.from == port)
                .map(|delivery| delivery.frame.data()[0])
                .collect();
            assert_eq!(order, (1..=16).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn an_answer_to_a_delivery_takes_part_in_the_next_arbitration() {
        let mut wire = Wire::new(Bus::Can1);
        let [a, b] = [wire.attach(), wire.attach()];
        wire.send(a, T0, standard(0x400, &[])).unwrap();
        wire.send(a, T0, standard(0x401, &[])).unwrap();
        let first = wire.advance(us(u64::MAX), &mut NoFaults).unwrap();
        wire.send(b, first.at, standard(0x100, &[])).unwrap();
        assert_eq!(ids(&mut wire), [0x100, 0x401]);
    }

    #[test]
    fn two_nodes_with_one_identifier_are_counted() {
        let mut wire = Wire::new(Bus::Can1);
        let [a, b] = [wire.attach(), wire.attach()];
        wire.send(b, T0, standard(0x123, &[2])).unwrap();
        wire.send(a, T0, standard(0x123, &[1])).unwrap();
        assert_eq!(drain(&mut wire).iter().map(|delivery| delivery.from).collect::<Vec<_>>(), [a, b]);
        assert_eq!(wire.stats().collisions, 1);
    }

    #[test]
    fn load_is_bits_over_time() {
        let mut wire = Wire::new(Bus::Can1);
        let port = wire.attach();
        let before = wire.stats();
        for tenth in 0..10u64 {
            wire.send(port, Instant::from_millis(tenth * 100), standard(0, &[])).unwrap();
        }
        drain(&mut wire);
        // 10 frames of 53 bits of 2 us in a second
        assert_eq!(wire.stats().load_ppm(&before, Duration::from_secs(1)), 1_060);
        assert_eq!(wire.stats().load_ppm(&before, Duration::ZERO), 0);
        assert_eq!(wire.stats().load_ppm(&wire.stats(), Duration::from_secs(1)), 0);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_and_a_dead_node_is_silent() {
        let mut wire = Wire::new(Bus::Can1);
        let mut other = Wire::new(Bus::Can2);
        let port = wire.attach();
        let stranger = [other.attach(), other.attach()][1];
        let fd = Frame::new_fd(Id::Standard(1), &[0; 12]).unwrap();
        assert_eq!(wire.send(port, T0, fd), Err(SendError::Fd));
        assert_eq!(wire.send(stranger, T0, standard(1, &[])), Err(SendError::NoSuchPort));
        for _ in 0..MAX_QUEUED {
            wire.send(port, T0, standard(1, &[])).unwrap();
        }
        assert_eq!(wire.send(port, T0, standard(1, &[])), Err(SendError::QueueFull));
        assert_eq!(wire.queued(port), MAX_QUEUED);
        assert!(wire.clear(port) && !wire.clear(stranger));
        assert_eq!(wire.next_event(), None);
    }

    /// Whatever is sent arrives exactly once, in FIFO order per port, never two frames at a time, never with the bus
    /// idle while one waits; and one seed gives one log.
    #[test]
    fn a_busy_bus_keeps_its_rules_and_its_seed() {
        let run = |seed| {
            let mut chance = Chance::new(seed, "busy bus");
            let mut wire = Wire::new(Bus::Can2);
            let ports: Vec<PortId> = (0..8).map(|_| wire.attach()).collect();
            let mut sent = vec![Vec::new(); ports.len()];
            let mut now = T0;
            for serial in 0..2_000u16 {
                now = now + Duration::from_micros(chance.below(400));
                let port = chance.below(8) as usize;
                let data = [&serial.to_le_bytes()[..], &[0xFF; 6][..chance.below(7) as usize]].concat();
                wire.send(ports[port], now, standard(chance.below(0x800) as u16, &data)).unwrap();
                sent[port].push((now, serial));
            }
            let log = drain(&mut wire);
            let mut heard = vec![Vec::new(); ports.len()];
            let mut free = T0;
            for delivery in &log {
                let bits = u64::from(delivery.frame.bits_on_wire().unwrap());
                let start = us(delivery.at.as_micros() - (bits - 3) * 2);
                let serial = u16::from_le_bytes([delivery.frame.data()[0], delivery.frame.data()[1]]);
                let next_ready = |port: usize, heard: &[Vec<u16>]| {
                    sent[port].get(heard[port].len()).map(|&(ready, _)| ready)
                };
                assert!(
                    start >= free && next_ready(delivery.from.0, &heard).is_some_and(|ready| ready <= start)
                );
                if start > free {
                    let waiting = (0..ports.len())
                        .any(|port| next_ready(port, &heard).is_some_and(|ready| ready < start));
                    assert!(!waiting, "idle while a frame waits");
                }
                heard[delivery.from.0].push(serial);
                free = us(start.as_micros() + bits * 2);
            }
            for (sent, heard) in sent.iter().zip(&heard) {
                assert_eq!(sent.iter().map(|&(_, serial)| serial).collect::<Vec<_>>(), *heard);
            }
            let mut hasher = DefaultHasher::new();
            for delivery in &log {
                (delivery.at, delivery.from, delivery.frame).hash(&mut hasher);
            }
            hasher.finish()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
