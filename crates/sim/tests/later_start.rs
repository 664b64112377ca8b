//! A commissioned pack of 31 modules starts again: all at once they have their logs, their presence and their measurements
//! to tell, over one bus to the app.
//!
//! Rules C26, H124 and H170.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../../../benches/src/tiers/buses.rs"]
mod buses;
#[path = "../../pack/tests/world/mod.rs"]
mod world;

use buses::Timed;
use lct::energy::{CycleClose, EnergyEvent};
use pack::{
    app::{self, Party},
    journal::LogPart,
    link::LinkCounters,
    message::RelayState,
    pdu,
};
use std::collections::BTreeMap;
use world::World;

const MODULES: usize = 31;
/// Unix time of the first measurement.
const UNIX_MS: u64 = world::BOUND as u64 * 1_000 + 600_000;

/// What came of a device's log: key statements, entries, checkpoints.
type Heard = BTreeMap<Option<Party>, [u32; 3]>;

/// Lets time pass as a gateway does that has everything on disk at once; with `current` everything is measured each second.
fn live(w: &mut World, ms: u64, current: Option<i32>, heard: &mut Heard) {
    for step in 0..ms / 10 {
        if let Some(ma) = current.filter(|_| step % 100 == 0) {
            w.measure(ma);
        }
        w.run_for(10);
        let now = w.now;
        for event in std::mem::take(&mut w.events) {
            match event {
                app::Event::Batch(party, batch, _) => {
                    w.app.received(now, party, pdu::BATCH, batch.first_seq.into()).unwrap();
                }
                app::Event::Energy(statement, _) => {
                    let number = match EnergyEvent::decode(&statement) {
                        Ok(event) => event.number(),
                        Err(_) => CycleClose::decode(&statement).unwrap().number(),
                    };
                    w.app.received(now, Party::Pack, pdu::ENERGY, number).unwrap();
                }
                app::Event::Log(from, part) => {
                    let kind = match part {
                        LogPart::Key(_) => 0,
                        LogPart::Entry { .. } => 1,
                        LogPart::Checkpoint(_) => 2,
                    };
                    heard.entry(from).or_default()[kind] += 1;
                    w.log_kept(from, part.receipt());
                }
                _ => {}
            }
        }
    }
}

fn counters(w: &World) -> Vec<(String, LinkCounters)> {
    let modules = w.modules.iter().map(|m| (format!("module {}", m.node()), m.link_counters()));
    let [can1, can2] = w.pack.link_counters();
    let own = [("app", w.app.link_counters()), ("pack, CAN 1", can1), ("pack, CAN 2", can2)];
    own.into_iter().map(|(who, counted)| (who.to_owned(), counted)).chain(modules).collect()
}

fn is_up(w: &World) -> bool {
    w.app.relation().is_up() && w.pack.modules_up() && w.modules.iter().all(|m| m.relation().is_up())
}

/// C26, H124: what finds no room towards the app is told again by its module, and nothing of it is lost; each start brings the
/// key statement and a checkpoint of every log.
#[test]
fn later_starts_of_31_modules_lose_nothing() {
    let mut w = World::new(MODULES, 4_031);
    let buses = Timed::new(MODULES + 2);
    w.buses = Some(Box::new(buses.clone()));
    w.commission();
    live(&mut w, 20_000, None, &mut Heard::new());
    for start in 2..4 {
        (0..MODULES + 2).for_each(|who| w.restart(who));
        buses.power_cut();
        let mut heard = Heard::new();
        live(&mut w, 1_500, None, &mut heard);
        assert!(is_up(&w), "start {start}");
        let now = w.now;
        w.app.set_time(now, UNIX_MS + start * 3_600_000).unwrap();
        w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
        live(&mut w, 40_000, Some(-60_000), &mut heard);
        assert_eq!(w.pack.state(), RelayState::On);
        for (who, counted) in counters(&w) {
            assert_eq!((counted.incomplete, counted.unsent), (0, 0), "start {start}: messages of {who}");
        }
        assert_eq!(heard.len(), MODULES + 2, "start {start}");
        for (from, [keys, entries, checkpoints]) in heard {
            assert!(keys > 0 && entries > 0 && checkpoints > 0, "start {start}, {from:?}");
        }
    }
}
