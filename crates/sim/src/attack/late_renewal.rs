//! Attack 12, long before the end of a key: a device is made to seal without end, and its keys must be exchanged early.

use super::{Attack, Defence, Tally, field::Field};
use pack::session::limits::Limits;

pub const ATTACK: Attack = Attack {
    number: 12,
    name: "late-renewal",
    attacker: "somebody who makes devices seal without end",
    defence: Defence::EarlyRenewal,
    run,
};

/// Messages of a key after which its epoch is renewed here: more than are sealed in the minute that lies between renewals.
const LIMIT: u64 = 1_000;
/// What may still be sealed while the renewal is agreed upon, and the eighth that the side which only asks waits longer.
const UNDER_WAY: u64 = 40;

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let limits = Limits { epoch_messages: LIMIT, ..Limits::DEFAULT };
    f.w.app.set_limits(limits).unwrap();
    f.w.pack.set_limits(limits).unwrap();
    let session = |f: &Field| {
        let session = f.w.app.relation().session().unwrap();
        (session.epoch(), session.usage().messages)
    };
    let (first, mut most) = (session(&f).0, 0);
    for _ in 0..150 {
        for _ in 0..6 {
            f.w.measure(-20_000);
        }
        f.w.run_for(1_000);
        most = most.max(session(&f).1);
        tally.attempt(session(&f).1 > LIMIT + UNDER_WAY, || {
            format!("{} messages under keys that were to be exchanged after {LIMIT}", session(&f).1)
        });
    }
    // A second goes by between two looks.
    assert!(most + UNDER_WAY >= LIMIT, "only {most} messages: the limit was not reached");
    assert!(session(&f).0 > first || tally.hits > 0, "the keys were exchanged");
    f.judge(tally);
}
