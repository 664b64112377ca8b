//! Attack 5: messages that were held back before the keys changed arrive after it.

use super::{Attack, Defence, Tally, field::Field};
use pack::{
    message::RelayState,
    sealed_id::{Direction, Level},
    session::limits::Limits,
    time::Duration,
};

pub const ATTACK: Attack = Attack {
    number: 5,
    name: "old-epoch",
    attacker: "a node on both buses that delays messages for as long as it likes",
    defence: Defence::GracePeriod,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let limits = Limits { epoch_age: Duration::from_secs(61), ..Limits::DEFAULT };
    f.w.app.set_limits(limits).unwrap();
    f.w.pack.set_limits(limits).unwrap();
    let epoch = |f: &Field| f.w.app.relation().session().unwrap().epoch();
    let first = epoch(&f);
    // Of each second the values are held back; those of the last one before the keys changed stay.
    let from_pack = |id: pack::sealed_id::SealedId| {
        id.level() == Level::Exch && id.direction() == Direction::Ba && (0x400..0x500).contains(&id.family())
    };
    let mut held = Vec::new();
    for _ in 0..90 {
        let now = f.withhold(from_pack, |w| w.measure(-20_000), 500);
        if epoch(&f) != first {
            break;
        }
        held = now;
        f.let_through();
        f.w.run_for(500);
        if epoch(&f) != first {
            break;
        }
    }
    assert!(epoch(&f) == first + 1 && !held.is_empty(), "one rotation, and something was held back");
    f.let_through();
    f.w.run_for(4_000);
    for message in &held {
        let before = f.effects();
        f.inject(message.bus, &message.frames);
        f.w.run_for(0);
        tally.attempt(f.effects() != before, || format!("{:?} of an old epoch was believed", message.sealed));
    }
    // A command to switch Off from before a start of the app, held back over its RESUME.
    let commands = |id: pack::sealed_id::SealedId| id.family() == 0x400;
    let off = f.withhold(
        commands,
        |w| {
            let now = w.now;
            w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
        },
        300,
    );
    let now = f.w.now;
    f.w.app.set_state(now, RelayState::On, &mut f.w.rng).unwrap();
    f.let_through();
    f.w.restart(0);
    f.w.run_for(5_000);
    f.order(RelayState::On);
    assert!(!off.is_empty());
    for message in &off {
        let before = f.effects();
        f.inject(message.bus, &message.frames);
        f.w.run_for(60);
        tally.attempt(f.effects().states != before.states, || "a command of an old epoch was obeyed".into());
    }
    f.judge(tally);
}
