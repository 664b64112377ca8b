//! Both buses of a pack with exact bit times and arbitration, and others who share them.

use std::{cell::RefCell, rc::Rc};

use pack::{
    can::{Bus, Frame, Id},
    time::{Duration, Instant},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use sim::{
    fault::NoFaults,
    wire::{PortId, Wire},
};

use super::world;

/// Microseconds of a bit at 500 kbit/s.
pub const BIT_US: f64 = 2.0;
/// Who sends frames that belong to nobody of the pack.
const OTHERS: usize = usize::MAX;
/// How far ahead frames of others are queued.
const AHEAD: Duration = Duration::from_millis(200);

/// Others on a bus.
struct Others {
    port: PortId,
    rng: ChaCha20Rng,
    /// Part of the bus that they take.
    part: f64,
    next: Instant,
}

struct Both {
    wires: [Wire; 2],
    /// Ports of each party on CAN 1 and CAN 2.
    ports: [Vec<PortId>; 2],
    others: [Option<Others>; 2],
    now: Instant,
}

/// The two buses; a clone is the same ones.
#[derive(Clone)]
pub struct Timed(Rc<RefCell<Both>>);

impl Timed {
    /// Idle buses for so many parties.
    pub fn new(parties: usize) -> Self {
        let mut wires = [Bus::Can1, Bus::Can2].map(Wire::new);
        let ports = [0, 1].map(|bus: usize| (0..parties).map(|_| wires[bus].attach()).collect());
        Timed(Rc::new(RefCell::new(Both { wires, ports, others: [None, None], now: Instant::START })))
    }

    /// Bits so far, of CAN 1 and CAN 2.
    pub fn bits(&self) -> [u64; 2] {
        let both = self.0.borrow();
        [both.wires[0].stats().bits, both.wires[1].stats().bits]
    }

    /// What waits to be sent is lost with the power.
    pub fn power_cut(&self) {
        let Both { wires, ports, .. } = &mut *self.0.borrow_mut();
        for (wire, ports) in wires.iter_mut().zip(ports) {
            ports.iter().for_each(|port| {
                wire.clear(*port);
            });
        }
    }

    /// From `now` on others take `part` of a bus.
    pub fn others(&self, bus: Bus, now: Instant, part: f64) {
        let both = &mut *self.0.borrow_mut();
        let port = both.wires[bus as usize].attach();
        let rng = ChaCha20Rng::seed_from_u64(bus as u64);
        both.others[bus as usize] = Some(Others { port, rng, part, next: now });
    }
}

impl Both {
    /// Frames of 8 random bytes at random times, half of them before and half of them behind everything of the pack in
    /// arbitration.
    fn fill(&mut self) {
        for (wire, others) in self.wires.iter_mut().zip(&mut self.others) {
            let Some(Others { port, rng, part, next }) = others else { continue };
            while *next < self.now + AHEAD {
                let number = (rng.next_u32() % 0x180) as u16;
                let id = if rng.next_u32() & 1 == 0 { 0x080 + number } else { 0x600 + number };
                let mut data = [0; 8];
                rng.fill_bytes(&mut data);
                let Ok(frame) = Frame::new_classic(Id::Standard(id), &data) else { continue };
                let length_us = f64::from(frame.bits_on_wire().unwrap_or(0)) * BIT_US;
                // Exponential gaps: what independent senders look like.
                let uniform = (f64::from(rng.next_u32()) + 1.0) / (f64::from(u32::MAX) + 1.0);
                *next = *next + Duration::from_micros((-uniform.ln() * length_us / *part) as u64);
                if wire.send(*port, *next, frame).is_err() {
                    break;
                }
            }
        }
    }
}

impl world::Buses for Timed {
    fn send(&mut self, who: usize, now: Instant, bus: Bus, frame: &Frame) {
        let both = &mut *self.0.borrow_mut();
        both.now = both.now.max(now);
        let port = both.ports[bus as usize][who];
        // A full queue is a frame lost, as on a device.
        let _lost = both.wires[bus as usize].send(port, now, *frame);
    }

    fn next(&mut self) -> Option<Instant> {
        let both = &mut *self.0.borrow_mut();
        both.fill();
        both.wires.iter().filter_map(Wire::next_event).min()
    }

    fn advance(&mut self, to: Instant) -> Option<(Instant, usize, Bus, Frame)> {
        let both = &mut *self.0.borrow_mut();
        for bus in [Bus::Can1, Bus::Can2] {
            if let Some(delivery) = both.wires[bus as usize].advance(to, &mut NoFaults) {
                both.now = both.now.max(delivery.at);
                let who = both.ports[bus as usize].iter().position(|port| *port == delivery.from);
                return Some((delivery.at, who.unwrap_or(OTHERS), bus, delivery.frame));
            }
        }
        None
    }
}
