//! The exchange about energy, from the event that a pack signs over its question and the module's answer to the word of the pack
//! and what the host acknowledges, interrupted wherever it can be: a frame is lost, or a party loses its power.
//! Nothing is counted twice, and nothing is lost but what a start takes along.
//!
//! Rules C47, H170, H241 and H242.

use crate::world;

use lct::{
    energy::{CycleClose, EnergyEvent, EnergyKind, ModuleEnergy},
    validation::EventKind,
};
use pack::{
    app::{self, Party},
    fault::FaultCode,
    message::RelayState,
    pdu,
    time::Duration,
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use world::{
    BOUND, Flash, World,
    cuts::{MEET, started},
};

const SEED: u64 = 712;
const MA: i32 = -60_000;
/// What flows in a second, by the pack's own voltage, in mWh.
const SECOND_MWH: u64 = 7_800 * 60 / 3_600;
/// Seconds that are measured: before the exchange, while it is interrupted, until everybody met again, and afterwards.
const SECONDS: [u64; 4] = [59, 7, MEET / 1_000, 66];
/// Seconds for which an order to switch is waited for.
const ORDER: u64 = 5;

/// What a host keeps, which has room for everything and forgets nothing.
#[derive(Default)]
struct Kept {
    /// Statements of the pack, by their numbers.
    of_pack: BTreeMap<u64, Vec<u8>>,
    /// What the module said, by boot counter and number of its event.
    of_module: BTreeMap<(u32, u32), ModuleEnergy>,
}

impl Kept {
    /// Takes what the app was told, and acknowledges it.
    fn take(&mut self, w: &mut World, at: &str) {
        let now = w.now;
        for event in std::mem::take(&mut w.events) {
            match event {
                app::Event::Energy(statement, _) => {
                    let number = match EnergyEvent::decode(&statement) {
                        Ok(event) => event.number(),
                        Err(_) => CycleClose::decode(&statement).unwrap().number(),
                    };
                    let known = self.of_pack.entry(number).or_insert_with(|| statement.to_vec());
                    assert_eq!(*known, statement.to_vec(), "{at}: two statements under one number");
                    // Where the channel is down it is told again.
                    let _later = w.app.received(now, Party::Pack, pdu::ENERGY, number);
                }
                app::Event::Batch(party, batch, _) => {
                    let _later = w.app.received(now, party, pdu::BATCH, batch.first_seq.into());
                }
                app::Event::Told(Some(Party::Module(1)), told) => {
                    let event = told.signed.decode().unwrap();
                    if event.kind != EventKind::Energy {
                        continue;
                    }
                    event.verify(&w.spk_of(2, 1).sign_pub(), &told.signed.signature).unwrap();
                    let word = told.attestation.unwrap();
                    word.verify((&event, &told.signed.signature), &w.spk_of(1, 0).sign_pub()).unwrap();
                    let said = ModuleEnergy::decode(&event.payload).unwrap();
                    let known = *self.of_module.entry(event.position()).or_insert(said);
                    assert_eq!(known, said, "{at}: two statements under one number");
                }
                _ => {}
            }
        }
    }

    /// Lets seconds pass in which this current is measured.
    fn measure(&mut self, w: &mut World, seconds: u64, at: &str) {
        for _ in 0..seconds {
            second(w);
            for _ in 0..4 {
                w.run_for(250);
                self.take(w, at);
            }
        }
    }

    /// The same, with `who` losing its power once so many frames were heard; whether there were so many.
    fn measure_and_cut(
        &mut self,
        w: &mut World,
        seconds: u64,
        (who, frames): (usize, u32),
        at: &str,
    ) -> bool {
        let seen = Rc::new(Cell::new(0));
        let counter = seen.clone();
        w.filter = Box::new(move |_| {
            counter.set(counter.get() + 1);
            true
        });
        let mut cut = false;
        for _ in 0..seconds {
            second(w);
            let end = w.now + Duration::from_secs(1);
            while w.now < end {
                // A frame takes longer than this.
                let step = if cut { Duration::from_millis(250) } else { Duration::from_micros(250) };
                w.run_until((w.now + step).min(end));
                self.take(w, at);
                if !cut && seen.get() > frames {
                    cut = true;
                    w.restart(who);
                }
            }
        }
        w.filter = Box::new(|_| true);
        cut
    }

    fn order(&mut self, w: &mut World, state: RelayState, at: &str) {
        second(w);
        let now = w.now;
        w.app.set_state(now, state, &mut w.rng).unwrap();
        for _ in 0..4 * ORDER {
            w.run_for(250);
            self.take(w, at);
        }
        assert_eq!((w.pack.state(), w.modules[0].relay()), (state, state), "{at}");
    }

    /// After the interruption: a minute more, and the end of the cycle; then nothing waits any more.
    fn end(&mut self, w: &mut World, at: &str) {
        self.measure(w, SECONDS[2], at);
        self.order(w, RelayState::On, at);
        self.measure(w, SECONDS[3], at);
        self.order(w, RelayState::Off, at);
        for _ in 0..120 {
            if w.pack.is_settled() && w.modules[0].is_settled() {
                break;
            }
            w.run_for(1_000);
            self.take(w, at);
        }
        assert!(w.pack.is_settled() && w.modules[0].is_settled(), "{at}: something waits for ever");
        assert!(!w.pack.health().active().any(|f| f.code == FaultCode::EnergyDisputed), "{at}: disputed");
    }

    /// What the pack said flowed out, in mWh. Of each cycle that was closed everything is here; of one that was not only where the
    /// pack lost its power.
    fn pack_mwh(&self, cut: bool, at: &str) -> u64 {
        let events: Vec<_> = self.of_pack.values().filter_map(|s| EnergyEvent::decode(s).ok()).collect();
        let closes: Vec<_> = self.of_pack.values().filter_map(|s| CycleClose::decode(s).ok()).collect();
        let cycles: BTreeSet<u32> = events.iter().map(|event| event.cycle).collect();
        for cycle in &cycles {
            let of: Vec<_> = events.iter().filter(|event| event.cycle == *cycle).collect();
            assert!(
                of.windows(2).all(|pair| pair[1].start_ms >= pair[0].end_ms),
                "{at}: a time twice: {of:?}"
            );
            let Some(close) = closes.iter().find(|close| close.cycle == *cycle) else {
                assert!(cut, "{at}: cycle {cycle} has no end");
                continue;
            };
            let mwh = of.iter().map(|event| event.mwh).sum::<u64>();
            assert_eq!((close.events as usize, close.discharged_mwh), (of.len(), mwh), "{at}: cycle {cycle}");
        }
        let unclosed = cycles.len() - closes.len();
        assert!(unclosed <= usize::from(cut), "{at}: {unclosed} cycles have no end");
        events.iter().map(|event| event.mwh).sum()
    }

    /// What the module said flowed out.
    fn module_mwh(&self, at: &str) -> u64 {
        let all: Vec<_> = self.of_module.values().collect();
        assert!(all.windows(2).all(|pair| pair[1].start_ms >= pair[0].end_ms), "{at}: a time twice: {all:?}");
        assert!(
            all.windows(2).all(|pair| (pair[0].cycle, pair[0].event) < (pair[1].cycle, pair[1].event)),
            "{at}"
        );
        for said in &all {
            let most = (said.end_ms - said.start_ms) * SECOND_MWH / 1_000 + SECOND_MWH;
            assert!(said.kind == EnergyKind::Discharge && said.mwh <= most, "{at}: {said:?}");
        }
        all.iter().map(|said| said.mwh).sum()
    }
}

/// A second begins: the current is measured, and a gateway tells the time, as it does with every channel.
fn second(w: &mut World) {
    let (now, ms) = (w.now, u64::from(BOUND) * 1_000 + w.now.as_millis());
    let _later = w.app.set_time(now, ms);
    w.measure(MA);
}

/// A pack and its module a second before the pack signs what flowed in the first minute.
fn before(flash: &[Flash], at: &str) -> (World, Kept) {
    let (mut w, mut kept) = (started(SEED, flash), Kept::default());
    kept.order(&mut w, RelayState::On, at);
    kept.measure(&mut w, SECONDS[0], at);
    assert!(kept.of_module.is_empty(), "{at}: too late");
    (w, kept)
}

/// Both said all that flowed, to what two that measure at the same moments may differ by at the ends of a cycle.
fn all_is_there(kept: &Kept, seconds: u64, at: &str) {
    let (pack, module) = (kept.pack_mwh(false, at), kept.module_mwh(at));
    let flowed = seconds * SECOND_MWH;
    for mwh in [pack, module] {
        assert!(mwh.abs_diff(flowed) <= 3 * SECOND_MWH, "{at}: pack {pack}, module {module} of {flowed}");
    }
    assert!(pack.abs_diff(module) <= 2 * SECOND_MWH, "{at}: pack {pack}, module {module}");
}

/// One frame of `step` that is sent during the exchange is lost, and the message with it: everything is there in the end.
fn frames_lost(step: usize) -> u32 {
    let mut w = World::new(1, SEED);
    w.commission();
    let flash = std::mem::take(&mut w.flash);
    let mut points = 0;
    for n in (0_u32..).step_by(step) {
        let at = format!("frame {n} was lost");
        let (mut w, mut kept) = before(&flash, &at);
        let seen = Rc::new(Cell::new(0));
        let counter = seen.clone();
        w.filter = Box::new(move |_| {
            counter.set(counter.get() + 1);
            counter.get() != n + 1
        });
        kept.measure(&mut w, SECONDS[1], &at);
        w.filter = Box::new(|_| true);
        let seen = seen.get();
        kept.end(&mut w, &at);
        all_is_there(&kept, SECONDS.iter().sum::<u64>() + ORDER, &at);
        points += 1;
        if seen <= n {
            break;
        }
    }
    println!("the exchange about energy lost a frame at {points} points");
    points
}

/// Once one frame of `step` was heard each party in turn loses its power.
fn power_lost(step: usize) -> u32 {
    let mut w = World::new(1, SEED);
    w.commission();
    let flash = std::mem::take(&mut w.flash);
    let mut points = 0;
    for who in 0..3 {
        for n in (0_u32..).step_by(step) {
            let at = format!("{who} lost its power after {n}");
            let (mut w, mut kept) = before(&flash, &at);
            let reached = kept.measure_and_cut(&mut w, SECONDS[1], (who, n), &at);
            kept.end(&mut w, &at);
            let (pack, module) = (kept.pack_mwh(who == 1 && reached, &at), kept.module_mwh(&at));
            let [first, cut, meet, last] = SECONDS.map(|seconds| seconds * SECOND_MWH);
            // What flowed after the interruption is there whoever was cut, and nothing twice.
            for mwh in [pack, module] {
                assert!(mwh + 3 * SECOND_MWH >= last, "{at}: pack {pack}, module {module} of {last}");
                let most = first + cut + meet + ORDER * SECOND_MWH + last + SECOND_MWH;
                assert!(mwh <= most, "{at}: pack {pack}, module {module} of {most}");
            }
            // The start of a host takes nothing along; nor does that of the module anything of the pack's.
            if who != 1 {
                assert!(pack + 3 * SECOND_MWH >= first + last, "{at}: pack {pack}");
            }
            if who == 0 {
                assert!(pack.abs_diff(module) <= 3 * SECOND_MWH, "{at}: pack {pack}, module {module}");
            }
            points += 1;
            if !reached {
                break;
            }
        }
    }
    println!("the exchange about energy was cut with the power of a party at {points} points");
    points
}

#[test]
fn a_frame_lost_anywhere_costs_no_energy() {
    assert!(frames_lost(41) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn a_frame_lost_at_every_frame_costs_no_energy() {
    assert!(frames_lost(1) > 200);
}

#[test]
fn power_lost_anywhere_costs_no_energy_but_that_of_who_lost_it() {
    assert!(power_lost(97) > 8);
}

#[test]
#[ignore = "every frame: minutes"]
fn power_lost_at_every_frame_costs_no_energy_but_that_of_who_lost_it() {
    assert!(power_lost(1) > 600);
}
