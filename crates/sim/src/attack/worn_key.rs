//! Attack 12: a key is used up to its limit and beyond, and the record of what was reserved is lost.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{
    schedule::Tier,
    seal::{Binding, MESSAGES_MAX, Sealer},
};
use pack::identity::key;

pub const ATTACK: Attack = Attack {
    number: 12,
    name: "worn-key",
    attacker: "somebody who makes a device seal without end, and destroys words of its flash",
    defence: Defence::KeyLimit,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::commissioned(0, seed);
    let session = f.w.app.relation().session().unwrap();
    let secret = session
        .master()
        .traffic(Tier::Pair, session.sends(), session.epoch(), session.channel(), None)
        .unwrap();
    let mut sealer = Sealer::new(&secret, MESSAGES_MAX - 2, u64::MAX).unwrap();
    let binding = Binding { level: 2, canonical_id: 0x8400_0000, epoch: session.epoch() };
    let mut out = [0; 64];
    for n in 0..6 {
        let sealed = sealer.seal(&binding, &[b"more"], &mut out).is_ok();
        assert!(sealed || n >= 2, "what is below the limit is sealed");
        tally.attempt(sealed && n >= 2, || format!("message 2^32 + {} under one key", n - 2));
    }
    // Reservations that are gone, and that were half written.
    for lost in [true, false] {
        for who in [APP, PACK] {
            for tier in [Tier::Exch, Tier::Pair, Tier::Bind] {
                let place = key::counter(0, tier);
                if lost {
                    f.w.flash[who].remove(&place);
                } else if let Some(record) = f.w.flash[who].get_mut(&place) {
                    record[17] ^= 0x40;
                }
            }
            f.w.restart(who);
            f.w.measure(-5_000);
            f.w.run_for(8_000);
            tally.tried += 1;
        }
    }
    f.judge(tally);
}
