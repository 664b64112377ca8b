//! The three roles together: commissioning, operation, restarts, disturbances.

use crate::world;

use lct::energy::{CycleClose, EnergyEvent};
use pack::{
    app::{self, Party},
    can::{Bus, Frame, Id},
    message::{Message, ModuleStateChange, RelayState, VcuCommand},
    pdu, policy,
    sealed_id::{Class, classify},
};
use world::World;

fn operational(modules: usize, seed: u64) -> World {
    let mut w = World::new(modules, seed);
    w.commission();
    let now = w.now;
    w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
    w.run_for(1_500);
    assert_eq!(w.pack.state(), RelayState::On);
    assert!(w.modules.iter().all(|m| m.relay() == RelayState::On));
    w
}

/// Batches as (party, first sequence number, records), energy events, cycle closes.
type Settled = (Vec<(Party, u32, u16)>, Vec<EnergyEvent>, Vec<CycleClose>);

/// Acknowledges every statement that arrived and returns them.
fn settle(w: &mut World) -> Settled {
    let (mut batches, mut energy, mut closes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..20 {
        let now = w.now;
        for event in std::mem::take(&mut w.events) {
            match event {
                app::Event::Batch(party, s, _) => {
                    if !batches.contains(&(party, s.first_seq, s.count)) {
                        batches.push((party, s.first_seq, s.count));
                    }
                    w.app.received(now, party, pdu::BATCH, u64::from(s.first_seq)).unwrap();
                }
                app::Event::Energy(bytes, _) => {
                    let number = if let Ok(e) = EnergyEvent::decode(&bytes) {
                        if !energy.contains(&e) {
                            energy.push(e);
                        }
                        e.number()
                    } else {
                        let c = CycleClose::decode(&bytes).unwrap();
                        if !closes.contains(&c) {
                            closes.push(c);
                        }
                        c.number()
                    };
                    w.app.received(now, Party::Pack, pdu::ENERGY, number).unwrap();
                }
                _ => {}
            }
        }
        w.run_for(300);
    }
    (batches, energy, closes)
}

#[test]
fn factory_to_operational_and_every_measurement_signed() {
    let mut w = operational(3, 1);
    let start = w.log.len();
    for _ in 0..250 {
        w.run_for(1_000);
        w.measure(-65_000);
    }
    let scans = |w: &World| w.events.iter().filter(|e| matches!(e, app::Event::ModuleScan(..))).count();
    w.run_for(100);
    assert_eq!(scans(&w), 750);
    let now = w.now;
    w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
    w.run_for(500);
    let (batches, energy, closes) = settle(&mut w);
    for party in [Party::Pack, Party::Module(1), Party::Module(2), Party::Module(3)] {
        let records: u32 = batches.iter().filter(|b| b.0 == party).map(|b| u32::from(b.2)).sum();
        assert_eq!(records, 250, "{party:?}");
    }
    let discharged: u64 = energy.iter().map(|e| e.mwh).sum();
    assert_eq!(closes.len(), 1);
    let want = 23_400u64 * 65 * (closes[0].end_ms - closes[0].start_ms) / 3_600_000;
    assert!(want > 100_000 && discharged.abs_diff(want) <= 1, "{discharged} mWh, {want} expected");
    assert_eq!(closes[0].discharged_mwh, discharged);
    assert!(w.pack.is_settled() && w.modules.iter().all(|m| m.is_settled()));

    // From the pairing on, no class whose minimum is sealed travels in clear.
    let clear = w.log[start..].iter().filter(|(_, bus, frame)| match classify(*bus, frame).unwrap() {
        Class::Clear(id) => policy::is_protected_when_paired(*bus, id.base),
        _ => false,
    });
    assert_eq!(clear.count(), 0);
    let refused =
        [w.app.refused(), w.pack.refused()].into_iter().chain(w.modules.iter().map(|m| m.refused()));
    refused.for_each(|r| assert_eq!((r.sealed, r.policy, r.security), (0, 0, 0)));
}

#[test]
fn every_party_restarts_and_resumes() {
    let mut w = operational(2, 2);
    for who in [0, 1, 2, 3, 1, 0, 2] {
        let epochs = |w: &World| w.app.relation().session().map(|s| s.epoch());
        let before = epochs(&w);
        w.restart(who);
        w.run_for(15_000);
        assert!(w.app.relation().is_up(), "app channel after restart of {who}");
        assert!(w.modules.iter().all(|m| m.relation().is_up()), "module channels after restart of {who}");
        if who < 2 {
            assert!(epochs(&w) > before, "a fresh epoch after restart of {who}");
        }
        let now = w.now;
        w.app.set_time(now, 1_700_000_000_000 + now.as_millis()).unwrap();
        w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
        w.run_for(300);
        let now = w.now;
        w.app.set_state(now, RelayState::On, &mut w.rng).unwrap();
        w.run_for(1_500);
        assert_eq!(w.pack.state(), RelayState::On, "pack follows after restart of {who}");
        assert!(
            w.modules.iter().all(|m| m.relay() == RelayState::On),
            "modules follow after restart of {who}"
        );
    }
    assert_eq!(w.pack.modules(), 2, "no module got a second slot");
}

/// The confirmation or M3 of a RESUME is lost with a power cut between: A is one epoch ahead, and both still meet.
#[test]
fn a_resume_cut_at_any_message_still_leads_to_a_channel() {
    let mut points = 0;
    for lost in 0..14u32 {
        let mut w = operational(1, 3);
        w.restart(1);
        let mut seen = 0;
        w.filter = Box::new(move |_| {
            seen += 1;
            seen <= lost
        });
        w.run_for(40);
        w.filter = Box::new(|_| true);
        w.restart(1);
        w.restart(2);
        w.run_for(20_000);
        assert!(w.app.relation().is_up() && w.modules[0].relation().is_up(), "cut after {lost} frames");
        points += 1;
    }
    println!("resume was cut at {points} points");
}

#[test]
fn clear_commands_are_dead_after_pairing() {
    let mut w = operational(1, 4);
    let now = w.now;
    let rng = &mut w.rng;
    let off = VcuCommand { state: RelayState::Off, ..VcuCommand::default() }.frame(0).unwrap();
    w.pack.frame(now, Bus::Can1, &off, rng).unwrap();
    let down = ModuleStateChange { state: RelayState::Off, hv_bus_mv: 0 }.frame(1).unwrap();
    w.modules[0].frame(now, &down, rng).unwrap();
    w.run_for(500);
    assert_eq!((w.pack.state(), w.modules[0].relay()), (RelayState::On, RelayState::On));
    assert_eq!((w.pack.refused().policy, w.modules[0].refused().policy), (1, 1));
}

/// A sealed frame recorded from the bus, sent again at once and later, is refused and counted.
#[test]
fn recorded_frames_replayed_are_refused() {
    let mut w = operational(1, 5);
    w.run_for(2_000);
    let sealed: Vec<_> = w
        .log
        .iter()
        .filter(|(_, bus, f)| *bus == Bus::Can2 && matches!(f.id(), Id::Extended(id) if id >> 17 & 1 == 1))
        .map(|(_, _, f)| *f)
        .collect();
    assert!(sealed.len() > 40);
    let before = w.modules[0].refused().sealed;
    let relay = w.modules[0].relay();
    for frame in &sealed {
        let now = w.now;
        w.modules[0].frame(now, frame, &mut w.rng).unwrap();
    }
    assert_eq!(w.modules[0].relay(), relay);
    // What the pack sent ends with a short frame; flow control (T = F1) is short too and no message.
    let ends =
        |f: &&Frame| f.id().raw() >> 16 & 1 == 0 && f.id().raw() >> 8 & 0xFF != 0xF1 && f.data().len() < 8;
    let heard = sealed.iter().filter(ends).count() as u32;
    assert!(w.modules[0].refused().sealed - before >= heard, "each complete message was refused");
}

/// Flipped bits cost a message, never a wrong effect, and the statements still arrive.
#[test]
fn disturbed_buses_lose_no_statement() {
    for seed in 10..14 {
        let mut w = operational(2, seed);
        let mut n = 0u32;
        w.filter = Box::new(move |frame| {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223 + frame.data().len() as u32);
            !(n >> 16).is_multiple_of(61)
        });
        for _ in 0..130 {
            w.run_for(1_000);
            w.measure(-20_000);
        }
        w.filter = Box::new(|_| true);
        w.run_for(1_000);
        let now = w.now;
        w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
        w.run_for(500);
        let (batches, _, closes) = settle(&mut w);
        for party in [Party::Pack, Party::Module(1), Party::Module(2)] {
            let records: u32 = batches.iter().filter(|b| b.0 == party).map(|b| u32::from(b.2)).sum();
            assert!(records >= 125, "seed {seed}, {party:?}: {records} of 130 signed");
        }
        assert!(!closes.is_empty(), "seed {seed}");
    }
}
