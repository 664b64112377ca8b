//! Attack 4: what a party sealed comes back to it, as it was, with the direction turned round, and for another device;
//! and it is opened with the keys under which the party receives. A role hears one direction of identifiers, so that with
//! one key for both directions it is these keys, and nonces that repeat, which show it.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, MODULE, end},
};
use pack::{
    sealed_id::{Level, SealedId},
    session::limits::Limits,
    time::Instant,
};

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
    for (who, relation) in [(APP, f.w.app.relation()), (MODULE, f.w.modules[0].relation())] {
        let session = relation.session().unwrap();
        let opens = |sends, id: SealedId, bytes: &[u8]| {
            end(session, sends).open(Instant::START, &Limits::DEFAULT, id, &mut bytes.to_vec()).is_ok()
        };
        let mut own = 0;
        for message in f.recorded().into_iter().filter(|m| m.who == who) {
            let id = message.sealed.unwrap();
            if matches!(id.level(), Level::Exch | Level::Pair)
                && opens(session.sends().reversed(), id, &message.bytes)
            {
                own += 1;
                let fits = opens(session.sends(), id, &message.bytes);
                tally.attempt(fits, || format!("{id:?} opens under the receiving key of who sealed it"));
            }
        }
        assert!(own > 0, "its peer opens what party {who} sealed");
    }
    f.judge(tally);
}
