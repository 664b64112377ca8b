//! Attack 1: everything that was sealed is played again, at once and later.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use pack::message::RelayState;

pub const ATTACK: Attack = Attack {
    number: 1,
    name: "replay",
    attacker: "a node on both buses that recorded every sealed message",
    defence: Defence::ReplayWindow,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    // A command to switch Off that the owner gave, before he switched On again.
    let start = f.w.now;
    f.order(RelayState::Off);
    f.order(RelayState::On);
    for _ in 0..3 {
        f.w.measure(-20_000);
        f.w.run_for(1_000);
    }
    let recorded: Vec<_> = f.recorded().into_iter().filter(|m| m.at >= start).collect();
    assert!(recorded.iter().any(|m| m.who == APP) && recorded.iter().any(|m| m.who == PACK));
    // At once, a second later, and when more than a window of newer messages was taken.
    for wait in [0, 1_000, 8_000] {
        for _ in 0..wait / 1_000 {
            f.w.measure(-20_000);
            f.w.run_for(1_000);
        }
        let before = f.effects();
        let count = f.refused();
        for message in &recorded {
            f.inject(message.bus, &message.frames);
        }
        // What was injected is told before anybody reports anything of his own.
        f.w.run_for(0);
        let values = f.effects().values;
        f.w.run_for(5);
        let after = f.effects();
        tally.tried += recorded.len() as u32 - 1;
        tally.attempt((after.states, after.relays) != (before.states, before.relays), || {
            format!("after {wait} ms an old command was obeyed: the pack is {:?}", f.w.pack.state())
        });
        tally.attempt(values > before.values || f.refused() - count < recorded.len() as u32, || {
            format!(
                "after {wait} ms {} of {} old messages were not refused",
                recorded.len() as u32 - (f.refused() - count),
                recorded.len()
            )
        });
    }
    f.judge(tally);
}
