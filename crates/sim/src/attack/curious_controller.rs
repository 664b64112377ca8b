//! Attack 19: the authority tries everything that it knows, and every private key there is, on a recording of both
//! buses. (`crates/pack/tests/blindness.rs` does so over rotations, and with each ephemeral key in turn.)

use super::{Attack, Defence, Tally, eavesdropper, field::Field};

pub const ATTACK: Attack = Attack {
    number: 19,
    name: "curious-controller",
    attacker: "the authority with all that it drew and issued, every long-term key, and a recording of both buses",
    defence: Defence::EphemeralAgreement,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    for _ in 0..3 {
        f.w.measure(-20_000);
        f.w.run_for(1_000);
    }
    let recording = eavesdropper::Recording::of(&f.w.log);
    let authority = &f.w.authority;
    let keys = [authority.spk.signing_key(), &authority.root, &authority.batch].into_iter();
    let devices = f.w.identities.iter().map(|i| &i.key);
    let relations = [f.w.app.relation(), f.w.modules[0].relation()].into_iter();
    let relations = relations.map(|r| r.own_spk().unwrap().signing_key());
    let keys: Vec<[u8; 32]> =
        keys.chain(devices).chain(relations).map(|key| *key.to_bytes().expose()).collect();
    let outcome = eavesdropper::attack(&recording, &f.w.held, &keys);
    assert!(outcome.runs == 4 && recording.sealed.len() > 50, "{} runs attacked", outcome.runs);
    tally.tried += outcome.tried as u32;
    tally.attempt(outcome.confirmed > 0, || format!("{} master secrets were computed", outcome.confirmed));
    let opened = outcome.opened.len();
    tally.attempt(opened > 0, || format!("{opened} of {} messages opened", recording.sealed.len()));
    f.judge(tally);
}
