//! The three roles, from their frames: an operational pack of an app, a controller and a module, started anew from the
//! same flash for each input, and an attacker on one bus who sends what the input says.

use super::bus::{bus_of, frame};
use crate::input::Input;
use crate::world::{Flash, World};
use lct::schedule::Direction;
use pack::app::Party;
use pack::can::{Bus, Frame};
use pack::link::Link;
use pack::pdu;
use pack::sealed_id::SecurityId;
use pack::time::{Duration, Instant};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::cell::RefCell;

const PARTIES: usize = 3;

struct Bench {
    world: World,
    /// Flash of each party after commissioning.
    kept: Vec<Flash>,
}

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// Runs `body` with a commissioned world and the flash that belongs to it.
pub fn with_world(body: impl FnOnce(&mut World, &[Flash])) {
    BENCH.with_borrow_mut(|bench| {
        let bench = bench.get_or_insert_with(|| {
            let mut world = World::new(1, 1);
            world.commission();
            let kept = world.flash.clone();
            Bench { world, kept }
        });
        body(&mut bench.world, &bench.kept);
    });
}

/// The same operational pack, whatever came before.
fn operational(world: &mut World, kept: &[Flash]) {
    world.flash = kept.to_vec();
    world.wires = Default::default();
    world.log.clear();
    world.events.clear();
    world.pack_events.clear();
    world.module_events.clear();
    world.now = Instant::START + Duration::from_secs(100);
    world.rng = ChaCha20Rng::seed_from_u64(2);
    (0..PARTIES).for_each(|who| world.restart(who));
    world.run_for(700);
}

/// Who is attacked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Module,
    Controller,
    App,
}

fn inject(world: &mut World, victim: Victim, bus: Bus, frame: &Frame) {
    let (now, rng) = (world.now, &mut world.rng);
    match victim {
        Victim::Module => world.modules[0].frame(now, frame, rng),
        Victim::Controller => world.pack.frame(now, bus, frame, rng),
        Victim::App => world.app.frame(now, frame, rng),
    }
    .unwrap_or_else(|error| panic!("a frame stopped the role: {error}"));
}

/// Sends a security PDU in clear as an attacker would, in as many frames as it takes.
fn send(world: &mut World, victim: Victim, bus: Bus, device: u8, message: &[u8]) {
    let way = if victim == Victim::App || victim == Victim::Controller && bus == Bus::Can2 {
        Direction::Ba
    } else {
        Direction::Ab
    };
    let mut link = Link::<2>::new(bus, way.reversed());
    link.send_security(world.now, SecurityId::new(bus, way, device), message);
    for _ in 0..100 {
        while let Some(frame) = link.poll(world.now) {
            inject(world, victim, bus, &frame);
        }
        if link.is_idle() {
            break;
        }
        world.run_for(2);
    }
}

fn attack(victim: Victim, data: &[u8]) {
    with_world(|world, kept| {
        operational(world, kept);
        let mut input = Input(data);
        for _ in 0..24 {
            if input.is_empty() {
                break;
            }
            let op = input.byte();
            let bus = match victim {
                Victim::Module => Bus::Can2,
                Victim::App => Bus::Can1,
                Victim::Controller => bus_of(op >> 4),
            };
            match op & 7 {
                0 | 1 => {
                    if let Some(frame) = frame(&mut input) {
                        inject(world, victim, bus, &frame);
                    }
                }
                // What was on the bus before, as it was or with one byte changed.
                2 => {
                    let (at, mask, byte) = (input.byte(), input.byte(), input.byte());
                    let seen: Vec<Frame> =
                        world.log.iter().filter(|(_, b, _)| *b == bus).map(|(_, _, frame)| *frame).collect();
                    let Some(old) = seen.get(usize::from(at) % seen.len().max(1)) else { continue };
                    let mut changed = old.data().to_vec();
                    if !changed.is_empty() {
                        let at = usize::from(byte) % changed.len();
                        changed[at] ^= mask;
                    }
                    if let Ok(frame) = Frame::new_classic(old.id(), &changed) {
                        inject(world, victim, bus, &frame);
                    }
                }
                3 => {
                    let device = input.byte() & 3;
                    let message = input.slice().to_vec();
                    send(world, victim, bus, device, &message);
                }
                // A whole handshake or authority message of the right shape, signed by nobody who counts.
                4 => {
                    let head = [pdu::HANDSHAKE, pdu::CERTIFICATE, pdu::BINDING][usize::from(op >> 5) % 3];
                    let body = input.slice().repeat(usize::from(input.byte() & 7) + 1);
                    send(
                        world,
                        victim,
                        bus,
                        u8::from(bus == Bus::Can2),
                        &[&[head], body.as_slice()].concat(),
                    );
                }
                5 => {
                    let to = if op & 0x80 == 0 { Party::Pack } else { Party::Module(1) };
                    let now = world.now;
                    let _refused = world.app.send(now, to, input.slice());
                }
                6 => {
                    let now = world.now;
                    let message = input.slice();
                    let _refused = world.app.authority(now, message, &mut world.rng);
                }
                _ => world.run_for(u64::from(input.byte()) * 4),
            }
        }
        world.run_for(60);
    });
}

/// Handshake openings, identity questions, a replayed frame, a pause, a PDU of the owner.
pub fn seeds() -> Vec<Vec<u8>> {
    let request = [vec![0x03, 1, 5], vec![pdu::HANDSHAKE, 1, 0x7F, 0, 1]].concat();
    let m1 = [vec![0x03, 1, 62], vec![pdu::HANDSHAKE, 1, 2, 1, 1], vec![0; 24], vec![2; 33]].concat();
    let resume = [vec![0x03, 1, 29], vec![pdu::HANDSHAKE, 1, 4, 0, 1], vec![1; 24]].concat();
    let every: Vec<Vec<u8>> =
        (0..=0x1B).map(|kind| vec![0x03, 1, 4, kind, 1, 2, 3, 0x13, 1, 3, kind, 0, 0]).collect();
    let owner: Vec<Vec<u8>> =
        (0..=0x1B).map(|kind| vec![0x05, 3, kind, 1, 2, 0x85, 3, kind, 1, 2, 7, 20]).collect();
    let clear =
        vec![0, 0, 0, 4, 0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x50, 0x14, 8, 3, 0, 0, 0, 0, 0, 0, 0];
    let replay = vec![2, 1, 0, 0, 2, 9, 1, 3, 7, 50, 2, 20, 0, 0, 0x12, 30, 4, 4];
    [request, m1, resume, clear, replay, vec![4, 40, 1, 7], vec![6, 4, pdu::BINDING, 1, 1, 1]]
        .into_iter()
        .chain(every)
        .chain(owner)
        .collect()
}

pub mod module {
    pub use super::seeds;
    pub fn run(data: &[u8]) {
        super::attack(super::Victim::Module, data);
    }
}

pub mod controller {
    pub use super::seeds;
    pub fn run(data: &[u8]) {
        super::attack(super::Victim::Controller, data);
    }
}

pub mod app {
    pub use super::seeds;
    pub fn run(data: &[u8]) {
        super::attack(super::Victim::App, data);
    }
}
