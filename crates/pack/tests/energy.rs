//! What modules say of their energy, and what their pack vouches for (`spec/channel.md`, H240 to H242).

use crate::world;

use lct::{
    energy::{CycleClose, EnergyEvent, EnergyKind, ModuleEnergy},
    validation::EventKind,
};
use pack::{
    app::{self, Party},
    controller,
    fault::FaultCode,
    message::{RelayState, ScanCell},
    module::{self, Measurement},
    pdu,
    testimony::Told,
};
use world::World;

/// What the world's modules show: two cells.
const MV: u64 = 3_901 + 3_902;

/// A pack in service with everything behind it that the ceremonies leave.
fn in_service(modules: usize, seed: u64) -> World {
    let mut w = World::new(modules, seed);
    w.commission();
    w.run_for(20_000);
    order(&mut w, RelayState::On);
    w.events.clear();
    w
}

fn order(w: &mut World, state: RelayState) -> (Vec<EnergyEvent>, Vec<(u8, Told)>) {
    let now = w.now;
    w.app.set_state(now, state, &mut w.rng).unwrap();
    serve(w, 20_000)
}

/// Lets time pass in steps in which the pack's statements are kept; statements of energy come out: of the pack, and of modules.
fn serve(w: &mut World, ms: u64) -> (Vec<EnergyEvent>, Vec<(u8, Told)>) {
    let (mut of_pack, mut of_modules) = (Vec::new(), Vec::new());
    for _ in 0..ms / 250 {
        w.run_for(250);
        for event in std::mem::take(&mut w.events) {
            match event {
                app::Event::Energy(statement, _) => {
                    let event = EnergyEvent::decode(&statement).ok();
                    let number = match &event {
                        Some(event) => event.number(),
                        None => CycleClose::decode(&statement).unwrap().number(),
                    };
                    let now = w.now;
                    w.app.received(now, Party::Pack, pdu::ENERGY, number).unwrap();
                    of_pack.extend(event.filter(|e| e.kind != EnergyKind::Opening));
                }
                app::Event::Batch(party, batch, _) => {
                    let now = w.now;
                    w.app.received(now, party, pdu::BATCH, batch.first_seq.into()).unwrap();
                }
                app::Event::Told(Some(Party::Module(node)), told)
                    if told.signed.decode().unwrap().kind == EventKind::Energy =>
                {
                    of_modules.push((node, told));
                }
                _ => {}
            }
        }
    }
    of_modules.dedup_by(|a, b| a == b);
    (of_pack, of_modules)
}

/// Seconds in which this current flows; `lies` is what a module measures in its place.
fn flow(
    w: &mut World,
    seconds: u64,
    ma: i32,
    lies: Option<(usize, i32)>,
) -> (Vec<EnergyEvent>, Vec<(u8, Told)>) {
    let (mut of_pack, mut of_modules) = (Vec::new(), Vec::new());
    for _ in 0..seconds {
        w.measure(ma);
        if let Some((place, current_ma)) = lies {
            let cells = [3_901, 3_902].map(|mv| ScanCell { mv, celsius: 25 });
            let cells = heapless::Vec::from_slice(&cells).unwrap();
            let measurement = Measurement { cells, current_ma, temperature_mc: [25_000; 3] };
            let now = w.now;
            w.modules[place].command(now, module::Command::Measure(measurement), &mut w.rng).unwrap();
        }
        let (packs, modules) = serve(w, 1_000);
        of_pack.extend(packs);
        of_modules.extend(modules);
    }
    (of_pack, of_modules)
}

/// Verifies both signatures of what the module at `node` stated.
fn said(w: &World, node: u8, told: &Told) -> ModuleEnergy {
    let place = w.modules.iter().position(|m| m.node() == node).unwrap() + 2;
    let event = told.signed.decode().unwrap();
    event.verify(&w.spk_of(place, 1).sign_pub(), &told.signed.signature).unwrap();
    let word = told.attestation.unwrap();
    word.verify((&event, &told.signed.signature), &w.spk_of(1, 0).sign_pub()).unwrap();
    assert_eq!((event.cid, word.witness), (w.identities[place].cid(), w.identities[1].cid()));
    ModuleEnergy::decode(&event.payload).unwrap()
}

fn disputed(w: &World) -> Option<u32> {
    w.pack.health().active().find(|f| f.code == FaultCode::EnergyDisputed).map(|f| f.detail)
}

/// Each module says of each event of its pack what flowed through itself, and the pack signs that too: energies add up to the
/// last mWh, times join, and after Off nothing is left.
#[test]
fn a_pack_signs_beside_what_its_modules_say_of_their_energy() {
    let mut w = in_service(2, 520);
    let (mut of_pack, mut of_modules) = flow(&mut w, 130, -60_000, None);
    let (packs, modules) = flow(&mut w, 40, 30_000, None);
    of_pack.extend(packs);
    of_modules.extend(modules);
    let (packs, modules) = order(&mut w, RelayState::Off);
    of_pack.extend(packs);
    of_modules.extend(modules);
    assert_eq!(disputed(&w), None);
    assert!(w.pack.is_settled() && w.modules.iter().all(|m| m.is_settled()));
    for node in [1, 2] {
        let mine = of_modules.iter().filter(|(of, _)| *of == node);
        let all: Vec<ModuleEnergy> = mine.map(|(_, told)| said(&w, node, told)).collect();
        assert!(all.len() >= 3, "two minutes, and what is left at the end: {all:?}");
        assert!(all.windows(2).all(|pair| pair[1].start_ms == pair[0].end_ms), "{all:?}");
        for each in &all {
            let of = |e: &&EnergyEvent| (e.cycle, e.seq) == (each.cycle, each.event);
            let asked = of_pack.iter().find(of).unwrap();
            assert!(asked.end_ms.abs_diff(each.end_ms) <= 1_100, "{asked:?} {each:?}");
        }
        let signed =
            |e: &ModuleEnergy| if e.kind == EnergyKind::Charge { e.mwh as i64 } else { -(e.mwh as i64) };
        let net_mwh: i64 = all.iter().map(signed).sum();
        // 130 s out at 60 A, the turn within a second, 39 s in at 30 A.
        let nj = -(129 * 60_000 * MV as i64 * 1_000) + (39 * 30_000 - 15_000) * MV as i64 * 1_000;
        assert!((net_mwh - nj / 3_600_000_000).abs() <= 500, "{net_mwh} {}", nj / 3_600_000_000);
    }
}

/// A module that says more than its pack counted has no witness; it is a fault until it says the same again. The other module is
/// not concerned, and what the liar states next is not held up.
#[test]
fn a_false_energy_has_no_witness() {
    let mut w = in_service(2, 521);
    let (_, told) = flow(&mut w, 70, -60_000, Some((1, -120_000)));
    let liar = w.modules[1].node();
    assert!(!told.is_empty() && told.iter().all(|(node, _)| *node != liar), "{told:?}");
    assert_eq!(disputed(&w), Some(liar.into()));
    let alerted = |e: &controller::Event| matches!(e, controller::Event::Alert { .. });
    assert!(!w.pack_events.iter().any(alerted), "its own alert goes to the app");
    assert!(w.modules[1].is_settled() || w.modules[1].relation().is_up());
    let (_, told) = flow(&mut w, 130, -60_000, None);
    let words = told.iter().filter(|(node, _)| *node == liar).count();
    assert!(words >= 1, "{told:?}");
    assert_eq!(disputed(&w), None);
    for (node, told) in &told {
        said(&w, *node, told);
    }
}

/// A module or a pack that starts anew counts anew: what nobody counted is neither vouched for nor disputed.
#[test]
fn a_start_begins_the_count_anew_at_both_ends() {
    for who in [1, 3] {
        let mut w = in_service(2, 522);
        flow(&mut w, 45, -60_000, None);
        w.restart(who);
        serve(&mut w, 20_000);
        let now = w.now;
        w.app.set_time(now, u64::from(world::BOUND) * 1_000 + now.as_millis()).unwrap();
        order(&mut w, RelayState::On);
        let (_, told) = flow(&mut w, 130, -60_000, None);
        for node in [1, 2] {
            assert!(told.iter().any(|(of, _)| *of == node), "restart of {who}: {told:?}");
        }
        for (node, told) in &told {
            said(&w, *node, told);
        }
        assert_eq!(disputed(&w), None, "restart of {who}");
    }
}

/// Where nobody keeps statements for minutes, a module states one at a time, and later ones say all that flowed meanwhile.
#[test]
fn nothing_is_lost_while_nobody_keeps_it() {
    let mut w = in_service(1, 523);
    w.keeps_statements = false;
    flow(&mut w, 300, -60_000, None);
    w.keeps_statements = true;
    let (_, mut told) = flow(&mut w, 130, -60_000, None);
    told.extend(order(&mut w, RelayState::Off).1);
    let all: Vec<ModuleEnergy> = told.iter().map(|(node, told)| said(&w, *node, told)).collect();
    assert!(all.windows(2).all(|pair| pair[1].start_ms == pair[0].end_ms), "{all:?}");
    let mwh: u64 = all.iter().map(|e| e.mwh).sum();
    let whole = 429 * 60_000 * MV * 1_000 / 3_600_000_000;
    assert!(mwh.abs_diff(whole) <= 500, "{mwh} of {whole}: {all:?}");
    assert_eq!((disputed(&w), w.modules[0].statements_lost()), (None, 0));
}
