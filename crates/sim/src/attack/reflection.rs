//! Attack 4: what a party sealed comes back to it, as it was, with the direction turned round, and for another device.
//! With one key for both directions both sides would seal under the same nonces.

use super::{Attack, Defence, Tally, field::Field};
use pack::sealed_id::SealedId;

pub const ATTACK: Attack = Attack {
    number: 4,
    name: "reflection",
    attacker: "a node on both buses that sends back what it hears",
    defence: Defence::DirectionKeys,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let start = f.w.now;
    f.w.measure(-20_000);
    f.w.run_for(1_000);
    let recorded: Vec<_> = f.recorded().into_iter().filter(|m| m.at >= start).collect();
    // Few enough that no alarm renews the keys meanwhile.
    for message in recorded.iter().rev().take(24) {
        let id = message.sealed.unwrap();
        let elsewhere = SealedId::new(id.base(0), id.level(), id.direction().reversed(), id.device() ^ 1);
        for id in [id, id.reversed(), elsewhere.unwrap()] {
            let before = f.effects();
            f.send(message.bus, id, &message.bytes);
            f.w.run_for(0);
            tally.attempt(f.effects() != before, || format!("{id:?} was believed by who sent it"));
        }
    }
    f.judge(tally);
}
