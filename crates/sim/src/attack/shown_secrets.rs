//! Attack 26: every secret of an installation is looked for in what lies in the flash of its devices. (That none is on a
//! bus or in what a party tells its owner is judged in every attack.)

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, MODULE, PACK},
};
use crate::flash::{CONTROLLER_PAGES, Nor, keep, mount};
use pack::identity::{Record, key};

pub const ATTACK: Attack = Attack {
    number: 26,
    name: "shown-secrets",
    attacker: "whoever reads the flash, the buses and the output of every device",
    defence: Defence::SealedStorage,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    [APP, PACK, MODULE].into_iter().for_each(|who| f.w.restart(who));
    f.w.run_for(8_000);
    f.collect_canaries();
    assert!(f.shows(&f.w.flash[PACK][&key::bond(0)]), "the pack's own relationship key is one of them");
    for who in [APP, PACK, MODULE] {
        let mut vault =
            mount(Nor::in_memory(CONTROLLER_PAGES), &f.w.identities[who].key, &mut f.w.rng).unwrap();
        let records = f.w.flash[who].clone();
        let plain = records.values().any(|value| f.shows(value));
        let printed = records.values().any(|value| f.spells(&format!("{value:02x?}")));
        assert!(plain && printed, "the records of party {who} hold secrets, and one sees them");
        for (number, value) in &records {
            keep(&mut vault, &Record::new(*number, &[value]).unwrap(), &mut f.w.rng).unwrap();
        }
        let image = vault.board().to_bytes();
        tally.attempt(f.shows(&image), || format!("the flash of party {who} shows a secret"));
        tally.tried += records.len() as u32 - 1;
    }
    f.judge(tally);
}
