//! Attack 2: a whole session is played to parties that have just started and know no counter any more.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, MODULE, PACK},
};

pub const ATTACK: Attack = Attack {
    number: 2,
    name: "replay-after-start",
    attacker: "a node on both buses that recorded a session, and may cut the power of devices",
    defence: Defence::FreshEpoch,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let recorded = f.session_of_commands();
    // No handshake comes through at first.
    f.w.filter = Box::new(|_| false);
    [PACK, MODULE, APP].into_iter().for_each(|who| f.w.restart(who));
    for when in ["before RESUME", "after RESUME"] {
        let before = f.effects();
        for message in &recorded {
            f.inject(message.bus, &message.frames);
            f.w.run_for(0);
        }
        let after = f.effects();
        tally.tried += recorded.len() as u32 - 1;
        tally.attempt(before != after, || format!("{when}: {before:?} became {after:?}"));
        f.let_through();
        f.w.run_for(10_000);
    }
    assert!(f.w.app.relation().is_up(), "the owner's own channel comes back");
    f.judge(tally);
}
