//! Attack 16: the app's computer says that it is ten years later, or ten years earlier; so does a node on the bus.

use super::{Attack, Defence, Tally, field::Field, world::BOUND};
use pack::{
    can::Bus,
    message::{Message, VcuTime},
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
}
