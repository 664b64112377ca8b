//! What pack and modules do in a flow: public-key operations as their roles ask for them, and sealed messages as they pass on
//! the buses. `cargo xtask bench tiers` puts the instructions of a Cortex-M4 for each of them beside.

use std::{cell::RefCell, rc::Rc};

use pack::{
    can::{Bus, Frame},
    chunk::{Push, Reassembler},
    isotp::FrameType,
    sealed_id::{Class, Transport, classify},
    time::Instant,
};
use serde_json::{Value, json};

use super::world::World;

const APP: usize = 0;
const PACK: usize = 1;
/// What a sealed message is longer than its text.
const OVERHEAD: usize = 28;
/// More senders than a bus has.
const SENDERS: usize = 64;

/// Of one party, or of all modules together.
#[derive(Default)]
struct Spent {
    /// Signatures, verifications, agreements, public keys.
    operations: [u64; 4],
    /// Messages sealed, and bytes of their texts.
    sealed: [u64; 2],
    /// Messages opened, and bytes of their texts.
    opened: [u64; 2],
}

impl Spent {
    fn add(&mut self, other: &Spent) {
        let pairs = [(&mut self.sealed, other.sealed), (&mut self.opened, other.opened)];
        for (own, others) in pairs {
            own.iter_mut().zip(others).for_each(|(sum, n)| *sum += n);
        }
        self.operations.iter_mut().zip(other.operations).for_each(|(sum, n)| *sum += n);
    }

    /// Per party and flow.
    fn shown(&self, of: f64) -> Value {
        let mean = |n: u64| n as f64 / of;
        let [sign, verify, agree, public] = self.operations.map(mean);
        let ([sealed, sealed_bytes], [opened, opened_bytes]) = (self.sealed.map(mean), self.opened.map(mean));
        json!({
            "sign": sign, "verify": verify, "agree": agree, "public": public,
            "sealed": sealed, "sealed_bytes": sealed_bytes, "opened": opened, "opened_bytes": opened_bytes,
        })
    }
}

/// What pack and modules did in some flows.
#[derive(Default)]
pub struct Done {
    pack: Spent,
    modules: Spent,
    flows: usize,
}

impl Done {
    /// One more flow.
    pub fn add(&mut self, other: &Done) {
        self.pack.add(&other.pack);
        self.modules.add(&other.modules);
        self.flows += other.flows;
    }
}

#[derive(Default)]
struct Tally {
    done: Done,
    chunks: [Reassembler<SENDERS>; 2],
}

/// Counts from now on; a clone counts the same.
#[derive(Clone)]
pub struct Work {
    tally: Rc<RefCell<Tally>>,
    modules: usize,
}

impl Work {
    /// Listens to everybody in `w`.
    pub fn of(w: &mut World) -> Self {
        let work = Work { tally: Rc::default(), modules: w.modules.len() };
        let hears = work.clone();
        w.worked = Some(Box::new(move |who| hears.worked(who)));
        let hears = work.clone();
        w.ear = Some(Box::new(move |who, at, bus, frame| hears.passed(who, at, bus, frame)));
        work
    }

    /// What was done since the last call, in one flow.
    pub fn take(&self) -> Done {
        let done = std::mem::take(&mut self.tally.borrow_mut().done);
        Done { flows: 1, ..done }
    }

    /// What each did, a module on the average, in each flow. `None` in a build that does not count.
    pub fn shown(&self, done: &Done) -> Option<Value> {
        let (pack, module) =
            (done.pack.shown(done.flows as f64), done.modules.shown((done.flows * self.modules) as f64));
        cfg!(feature = "counted").then(|| json!({ "pack": pack, "module": module }))
    }

    fn worked(&self, who: Option<usize>) {
        let done = taken();
        let mut tally = self.tally.borrow_mut();
        let spent = match who {
            Some(PACK) => &mut tally.done.pack,
            Some(who) if who > PACK => &mut tally.done.modules,
            _ => return,
        };
        spent.operations.iter_mut().zip(done).for_each(|(sum, n)| *sum += u64::from(n));
    }

    /// A frame of the party `who`. The message that it ends was sealed there and is opened by whom it is for.
    fn passed(&self, who: usize, at: Instant, bus: Bus, frame: &Frame) {
        let Ok(Class::Sealed(id, transport)) = classify(bus, frame) else { return };
        let mut tally = self.tally.borrow_mut();
        let whole = match transport {
            Transport::IsoTp => match FrameType::of(frame.data()) {
                FrameType::Single(message) => Some(message.len()),
                FrameType::First { len, .. } => Some(len as usize),
                _ => None,
            },
            _ => match tally.chunks[bus as usize].push(at, id.canonical(), transport, frame.data()) {
                Push::Complete(message) => Some(message.len()),
                _ => None,
            },
        };
        let Some(bytes) = whole.map(|n| n.saturating_sub(OVERHEAD) as u64) else { return };
        let add =
            |sum: &mut [u64; 2], times: u64| (sum[0], sum[1]) = (sum[0] + times, sum[1] + times * bytes);
        match who {
            PACK => add(&mut tally.done.pack.sealed, 1),
            APP => {}
            _ => add(&mut tally.done.modules.sealed, 1),
        }
        match (who, bus) {
            (PACK, Bus::Can1) => {}
            // Without a number it is for all of them.
            (PACK, Bus::Can2) => {
                let heard = if id.device() == 0 { self.modules as u64 } else { 1 };
                add(&mut tally.done.modules.opened, heard);
            }
            _ => add(&mut tally.done.pack.opened, 1),
        }
    }
}

#[cfg(feature = "counted")]
fn taken() -> [u32; 4] {
    lct::curve::counted::taken()
}

#[cfg(not(feature = "counted"))]
fn taken() -> [u32; 4] {
    [0; 4]
}
