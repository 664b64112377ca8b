//! Attack 1: everything that was sealed is played again, at once and later.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK, ends},
};
use pack::{
    sealed_id::{Direction, Level, SealedId},
    session::limits::Limits,
    time::Instant,
};

pub const ATTACK: Attack = Attack {
    number: 1,
    name: "replay",
    attacker: "a node on both buses that recorded every sealed message",
    defence: Defence::ReplayWindow,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    // With a command to switch Off that the owner gave, before he switched On again.
    let recorded = f.session_of_commands();
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
    far_behind(tally, &f);
    f.judge(tally);
}

/// Messages of which one was taken 10^5 newer ones ago, against the receiving end alone.
fn far_behind(tally: &mut Tally, f: &Field) {
    for level in [Level::Exch, Level::Pair] {
        let (pack, mut app) = ends(f.w.app.relation().session().unwrap());
        let id = SealedId::new(0x424, level, Direction::Ba, 0).unwrap();
        let mut open =
            |message: &[u8]| app.open(Instant::START, &Limits::DEFAULT, id, &mut message.to_vec()).is_ok();
        let old: Vec<_> = (0..70).map(|n| pack.sealed(id, 0x424, &[n; 8])).collect();
        assert!(old.iter().all(|message| open(message)), "each is taken once");
        for newer in [0, 64, 100_000] {
            for _ in 0..newer {
                assert!(open(&pack.sealed(id, 0x424, &[0])), "what is new is taken");
            }
            for message in &old {
                tally.attempt(open(message), || {
                    format!("{newer} later an old message opened again at {level:?}")
                });
            }
        }
    }
}
