//! Attack 10: the power of a party goes again and again while it seals, and what it sends afterwards is compared with
//! what it sent before. (Every single operation of a flash is cut in `crates/sim/tests/power_cuts.rs`.)

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, MODULE, PACK},
};
use pack::message::RelayState;
use rand_chacha::rand_core::Rng;

pub const ATTACK: Attack = Attack {
    number: 10,
    name: "nonce-after-power-loss",
    attacker: "somebody who pulls the fuse of a device whenever he likes",
    defence: Defence::FreshEpoch,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    for round in 0..12 {
        let who = [APP, PACK, MODULE][round % 3];
        f.w.measure(-20_000);
        let wait = u64::from(f.w.rng.next_u32() % 400);
        f.w.run_for(wait);
        f.w.restart(who);
        let now = f.w.now;
        // A party that may not send yet says so.
        let _early = f.w.app.set_state(now, [RelayState::Off, RelayState::On][round % 2], &mut f.w.rng);
        f.w.measure(-10_000);
        let wait = 2_000 + u64::from(f.w.rng.next_u32() % 4_000);
        f.w.run_for(wait);
        tally.tried += 1;
    }
    f.judge(tally);
}
