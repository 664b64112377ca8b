//! Counts instructions and stack of each operation and prints a line of JSON for each.
//!
//! Run with `-icount shift=0` an instruction takes one nanosecond of the emulated time, and SysTick counts 168 MHz of it.
#![no_std]
#![no_main]

use cortex_m::peripheral::{Peripherals, SYST, syst::SystClkSource};
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use firmware::{done, mix, operations as op, stack};
use lct::{curve::device::AgreementKey, schedule::Direction};
use pack::{
    can::Frame,
    link::MESSAGE_MAX,
    message::{ModuleScan, ModuleStatusAll},
    sealed_id::Level,
    session::Session,
};

/// Instructions for each thousand ticks: 1 GHz over 168 MHz.
const PER_TICKS: (u64, u64) = (1_000, 168);

#[inline(never)]
fn ticks(operation: &mut dyn FnMut()) -> u32 {
    let start = SYST::get_current();
    operation();
    // SysTick counts down, in 24 bits.
    start.wrapping_sub(SYST::get_current()) & 0x00FF_FFFF
}

fn instructions(ticks: u32) -> u64 {
    u64::from(ticks) * PER_TICKS.0 / PER_TICKS.1
}

struct Counter {
    nothing: u32,
}

impl Counter {
    fn count(&self, name: &str, bytes: usize, mut operation: impl FnMut()) {
        operation();
        let spent = ticks(&mut operation).saturating_sub(self.nothing);
        let stack = stack::depth(&mut operation);
        hprintln!(
            "{{\"operation\":\"{}\",\"bytes\":{},\"instructions\":{},\"stack\":{}}}",
            name,
            bytes,
            instructions(spent),
            stack
        );
    }
}

#[entry]
fn main() -> ! {
    let mut systick = Peripherals::take().expect("nobody took them before").SYST;
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(0x00FF_FFFF);
    systick.clear_current();
    systick.enable_counter();
    let counter = Counter { nothing: ticks(&mut || {}) };

    let (mut sealer, opener) = op::keys().expect("constant keys are good");
    counter.count("keys of a tier", 0, || assert!(op::derive()));
    counter.count("keys of a pairing", 0, || assert!(op::session(Direction::Ab).is_some()));
    let mut out = [0; 128];
    for n in [8, 16, 36, 64] {
        counter.count("seal", n, || assert_eq!(op::seal(&mut sealer, n, &mut out), n + 28));
        let whole = out;
        counter.count("open", n, || {
            out = whole;
            assert!(op::open(&opener, &mut out[..n + 28]));
        });
    }
    paths(&counter);
    seconds();
    let key = op::signing_key().expect("a constant scalar is good");
    let (public, signature) = (key.public(), op::sign(&key));
    counter.count("sign", 0, || {
        op::sign(&key);
    });
    counter.count("verify", 0, || assert!(op::verify(&public, &signature)));
    let agreement = AgreementKey::from_bytes(&[0x22; 32]).expect("a constant scalar is good");
    counter.count("public key", 0, || assert!(op::public(&agreement)));
    counter.count("agree", 0, || assert!(op::agree(&agreement, &public.0)));
    done()
}

/// Text to frames and back, with one byte of header inside. One link at a time: two of them fill the memory.
#[inline(never)]
fn paths(counter: &Counter) {
    let mut module = op::session(Direction::Ba).expect("constant keys are good");
    let mut pack = op::session(Direction::Ab).expect("constant keys are good");
    for n in [7, 35, 63] {
        let mut frames = [None; 16];
        let sent = sending(counter, &mut module, n, &mut frames);
        receiving(&mut pack, n, frames.get(..sent).unwrap_or(&[]));
    }
}

#[inline(never)]
fn sending(counter: &Counter, module: &mut Session, n: usize, frames: &mut [Option<Frame>; 16]) -> usize {
    let mut link = op::link(Direction::Ab);
    let mut sent = 0;
    counter.count("text to frames", n + 1, || sent = op::send(module, &mut link, n, frames));
    sent
}

/// Modules of decision 5, and what a pack sends in a second: ceilings as a heartbeat, and commands.
const MODULES: u64 = 31;
const HEARTBEATS: u64 = 5;
const COMMANDS: u64 = 4;
/// MODULE_MAX_STATE and MODULE_STATE_CHANGE.
const CEILING: (u16, usize) = (0x517, 1);
const STATE: (u16, usize) = (0x514, 4);

/// A second of decision 5, for one module that hears all that the pack sends, and for the pack: in clear, in three tiers,
/// and all at pair tier.
#[inline(never)]
fn seconds() {
    for (protection, up, down) in [
        ("clear", None, None),
        ("three_tier", Some(Level::Exch), Some(Level::Pair)),
        ("all_pair", Some(Level::Pair), Some(Level::Pair)),
    ] {
        let mut module = op::session(Direction::Ba).expect("constant keys are good");
        let mut pack = op::session(Direction::Ab).expect("constant keys are good");
        let scan = mix::scan().encode();
        let status = ModuleStatusAll::default().encode();
        let (mut of_module, mut of_pack) = (0, 0);
        for (base, body) in [(ModuleScan::BASE, &*scan), (ModuleStatusAll::BASE, &status)] {
            let (out, inside) = carried(&mut module, &mut pack, &mix::Message { level: up, base, body });
            (of_module, of_pack) = (of_module + out, of_pack + MODULES * inside);
        }
        for (times, (base, len)) in [(HEARTBEATS, CEILING), (COMMANDS, STATE)] {
            let message = mix::Message { level: down, base, body: &[3; 4][..len] };
            let (out, inside) = carried(&mut pack, &mut module, &message);
            (of_module, of_pack) = (of_module + times * inside, of_pack + times * out);
        }
        for (operation, instructions) in [("second of a module", of_module), ("second of a pack", of_pack)] {
            hprintln!(
                "{{\"operation\":\"{}\",\"protection\":\"{}\",\"instructions\":{}}}",
                operation,
                protection,
                instructions
            );
        }
    }
}

/// Instructions of the sender and of the receiver of a message.
#[inline(never)]
fn carried(from: &mut Session, to: &mut Session, message: &mix::Message<'_>) -> (u64, u64) {
    let mut frames = [None; mix::FRAMES];
    let (sent, out) = mixed_out(from, message, &mut frames);
    (out, mixed_in(to, frames.get(..sent).unwrap_or(&[])))
}

#[inline(never)]
fn mixed_out(from: &mut Session, message: &mix::Message<'_>, frames: &mut [Option<Frame>]) -> (usize, u64) {
    let mut link = op::link(from.sends().reversed());
    let mut sent = 0;
    let spent = ticks(&mut || sent = mix::send(from, &mut link, message, frames));
    assert!(sent > 0);
    (sent, instructions(spent))
}

#[inline(never)]
fn mixed_in(to: &mut Session, frames: &[Option<Frame>]) -> u64 {
    let mut link = op::link(to.sends().reversed());
    let (mut buffer, mut opened) = ([0; MESSAGE_MAX], false);
    let spent = ticks(&mut || opened = mix::receive(to, &mut link, frames, &mut buffer));
    assert!(opened);
    instructions(spent)
}

/// What was opened once is refused, so this is counted once and its stack is not.
#[inline(never)]
fn receiving(pack: &mut Session, n: usize, frames: &[Option<Frame>]) {
    let mut link = op::link(Direction::Ba);
    let (mut buffer, mut opened) = ([0; MESSAGE_MAX], false);
    let spent = ticks(&mut || opened = op::receive(pack, &mut link, frames, &mut buffer));
    assert!(opened);
    hprintln!(
        "{{\"operation\":\"frames to text\",\"bytes\":{},\"instructions\":{},\"frames\":{}}}",
        n + 1,
        instructions(spent),
        frames.len()
    );
}
