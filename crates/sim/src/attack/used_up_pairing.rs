//! Attack 16, uses: a pairing that was given for so many sessions goes on, over starts, forgotten counts and lost records.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use pack::{identity::key, message::RelayState};

pub const ATTACK: Attack = Attack {
    number: 16,
    name: "used-up-pairing",
    attacker: "malware in the app's computer, which starts it as often as it likes and forgets what it likes",
    defence: Defence::UseLimit,
    run,
};

/// Sessions that the certificates allow.
const USES: u32 = 4;

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::new(1, seed);
    f.w.timing.max_uses = USES;
    f.commission();
    f.order(RelayState::On);
    f.order(RelayState::Off);
    let first = f.w.flash[APP][&key::lease(0)].clone();
    for round in 0..USES + 4 {
        // The app's own count is in the hands of the attacker; that of the pack is not.
        f.w.flash[APP].insert(key::lease(0), first.clone());
        f.w.restart(APP);
        if round % 3 == 2 {
            f.w.restart(PACK);
        }
        f.w.run_for(8_000);
        let now = f.w.now;
        // Where the pairing is used up there is nothing to ask, and that is told.
        let _asked = f.w.app.set_state(now, RelayState::On, &mut f.w.rng);
        f.w.run_for(3_000);
        let on = f.w.pack.state() == RelayState::On;
        // The pairing itself is the first session.
        let used = round + 2;
        assert!(on || used > USES, "session {used} of {USES} is one that was given");
        tally.attempt(on && used > USES, || format!("switched On in session {used} of {USES}"));
        let now = f.w.now;
        let _asked = f.w.app.set_state(now, RelayState::Off, &mut f.w.rng);
        f.w.run_for(3_000);
    }
    f.judge(tally);
}
