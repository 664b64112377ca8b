//! Attack 7: what must be sealed is sent in clear, also after every sealed frame was destroyed for a while.

use super::{
    Attack, Defence, Tally,
    field::{Field, MODULE, PACK},
};
use pack::{
    can::{Bus, Frame, Id},
    message::{Message, ModuleMaxState, ModuleStateChange, RelayState, VcuCommand, VcuModuleCommand},
};

pub const ATTACK: Attack = Attack {
    number: 7,
    name: "downgrade",
    attacker: "a node on both buses that destroys sealed frames and sends the same in clear",
    defence: Defence::LeastProtection,
    run,
};

fn clear(state: RelayState) -> [(Bus, Frame); 4] {
    [
        (Bus::Can1, VcuCommand { state, ..VcuCommand::default() }.frame(0).unwrap()),
        (Bus::Can1, VcuModuleCommand { node: 1, state, ..VcuModuleCommand::default() }.frame(0).unwrap()),
        (Bus::Can2, ModuleStateChange { state, hv_bus_mv: 0 }.frame(1).unwrap()),
        (Bus::Can2, ModuleMaxState { max: state }.frame(0).unwrap()),
    ]
}

fn attempt(tally: &mut Tally, f: &mut Field, state: RelayState, when: &str) {
    for (bus, frame) in clear(state) {
        let before = f.effects();
        f.inject(bus, &[frame]);
        f.w.run_for(60);
        let after = f.effects();
        tally.attempt((before.states, before.relays) != (after.states, after.relays), || {
            format!("{when} a clear {:x?} on {bus:?} made the pack {:?}", frame.id(), f.w.pack.state())
        });
    }
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    attempt(tally, &mut f, RelayState::Off, "in operation");
    // No sealed frame arrives any more: the functions that need one end, and nothing opens instead.
    f.w.filter = Box::new(|frame| !matches!(frame.id(), Id::Extended(raw) if raw >> 17 & 1 == 1));
    f.w.run_for(600_000);
    tally.attempt(f.w.pack.state() != RelayState::Off, || "the pack stayed On without its app".into());
    for state in [RelayState::On, RelayState::Standby] {
        attempt(tally, &mut f, state, "after ten minutes without sealed frames");
    }
    [PACK, MODULE].into_iter().for_each(|who| f.w.restart(who));
    f.w.run_for(5_000);
    attempt(tally, &mut f, RelayState::On, "after a start without sealed frames");
    f.judge(tally);
}
