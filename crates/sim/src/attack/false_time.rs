//! Attack 16: the app's computer says that it is ten years later, or ten years earlier; so does a node on the bus.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, MODULE, PACK},
    world::BOUND,
};
use lct::clock::TimeToken;
use pack::{
    can::Bus,
    identity::key,
    message::{Message, RelayState, VcuTime},
};

pub const ATTACK: Attack = Attack {
    number: 16,
    name: "false-time",
    attacker: "malware in the app's computer, and a node on CAN 1",
    defence: Defence::PeerCredit,
    run,
};

const TEN_YEARS: u32 = 10 * 365 * 86_400;

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let judged =
        |f: &Field| [f.w.pack.judged_time(f.w.now), f.w.modules[0].judged_time(f.w.now)].map(Option::unwrap);
    let first = judged(&f);
    for time in [BOUND + TEN_YEARS, BOUND - TEN_YEARS, 1, u32::MAX] {
        let clear = VcuTime { unix_time: i64::from(time) }.frame(0).unwrap();
        f.inject(Bus::Can1, &[clear]);
        for _ in 0..3 {
            let now = f.w.now;
            f.w.app.set_time(now, u64::from(time) * 1_000).unwrap();
            f.w.run_for(1_000);
        }
        for (was, is) in first.iter().zip(judged(&f)) {
            tally.attempt(is < *was, || format!("judged time fell from {was} to {is}"));
            tally.attempt(is > was + 2 * 3_600, || format!("judged time leapt from {was} to {is}"));
        }
    }
    f.judge(tally);

    // A lease that ended stays ended, whatever the app's computer says then, and over starts.
    let mut f = Field::new(1, seed);
    f.w.timing.expires = BOUND + 7_200;
    f.commission();
    f.order(RelayState::On);
    let now = f.w.now;
    let end = TimeToken { time: BOUND + 7_300 }.issue(f.w.authority.spk.signing_key(), &mut f.w.rng);
    f.w.app.time_token(now, &end).unwrap();
    f.order(RelayState::Off);
    for round in 0..4 {
        // An app that forgot the time is an app that lies about it.
        f.w.flash[APP].remove(&key::TIME);
        [APP, PACK, MODULE].into_iter().take(1 + round % 3).for_each(|who| f.w.restart(who));
        f.w.run_for(8_000);
        let now = f.w.now;
        f.w.app.set_time(now, u64::from(BOUND) * 1_000).unwrap();
        f.w.run_for(500);
        let now = f.w.now;
        f.w.app.set_state(now, RelayState::On, &mut f.w.rng).unwrap();
        f.w.run_for(3_000);
        let (state, relay) = (f.w.pack.state(), f.w.modules[0].relay());
        tally.attempt((state, relay) != (RelayState::Off, RelayState::Off), || {
            format!("{state:?} under a lease that had ended")
        });
    }
    f.judge(tally);
}
