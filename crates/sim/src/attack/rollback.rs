//! Attack 11: the flash of one side, then of both, is set back to an old image.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use pack::{controller::Event, relation::RelationEvent};

pub const ATTACK: Attack = Attack {
    number: 11,
    name: "rollback",
    attacker: "somebody who copies the flash of devices and puts old images back",
    defence: Defence::FreshNonces,
    run,
};

/// Times that the pack's channel with the app came up.
fn resumed(f: &Field) -> usize {
    let up = |e: &&Event| matches!(e, Event::Relation { node: 0, event: RelationEvent::ChannelUp { .. } });
    f.w.pack_events.iter().filter(up).count()
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::commissioned(0, seed);
    let image: Vec<_> = f.w.flash.clone();
    let traffic = |f: &mut Field| {
        for ma in [-10_000, -20_000] {
            f.w.measure(ma);
            f.w.run_for(1_000);
        }
    };
    // Two epochs later only one side is set back: it has no keys that the other one still takes.
    for _ in 0..2 {
        [APP, PACK].into_iter().for_each(|who| f.w.restart(who));
        f.w.run_for(6_000);
        traffic(&mut f);
    }
    let later: Vec<_> = f.w.flash.clone();
    let before = resumed(&f);
    assert!(before >= 2, "starts end in a RESUME");
    f.w.flash[PACK].clone_from(&image[PACK]);
    f.w.restart(PACK);
    f.w.run_for(10_000);
    tally.attempt(resumed(&f) > before, || "a pack with an old flash resumed".into());
    f.w.flash[PACK].clone_from(&later[PACK]);
    // Both sides together: nobody can tell, but what follows is sealed with keys that were never used.
    for round in 0..3u8 {
        for who in [APP, PACK] {
            f.w.flash[who].clone_from(&image[who]);
            f.w.restart(who);
        }
        f.w.run_for(6_000);
        f.w.measure(-1_000 * i32::from(round));
        f.w.run_for(1_000);
        traffic(&mut f);
        tally.tried += 1;
    }
    f.judge(tally);
}
