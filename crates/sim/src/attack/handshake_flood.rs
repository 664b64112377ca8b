//! Attack 14: first messages of handshakes, without end, each of which would cost an agreement.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{curve::backend::AgreementKey, handshake::Kind};
use pack::{app::Party, pdu};
use rand_chacha::rand_core::Rng;

pub const ATTACK: Attack = Attack {
    number: 14,
    name: "handshake-flood",
    attacker: "a node on CAN 1 while a binding is made",
    defence: Defence::RunSpacing,
    run,
};

/// M1 of BIND with this point.
pub fn m1(f: &mut Field, point: [u8; 33]) -> Vec<u8> {
    let mut nonce = [0; 16];
    f.w.rng.fill_bytes(&mut nonce);
    [&[pdu::HANDSHAKE, 1, Kind::Bind as u8, 1, 1], [0; 8].as_slice(), &nonce, &point].concat()
}

/// A pack that knows who will bind it, and hears nothing from him.
pub fn introduced(seed: u64) -> Field {
    let mut f = Field::new(0, seed);
    f.w.run_for(3_000);
    f.silence_app();
    assert!(!f.w.bind((None, APP), (Some(Party::Pack), PACK)), "nobody finishes the binding");
    f
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = introduced(seed);
    let before = f.answered(Kind::Bind);
    for _ in 0..100 {
        let point = AgreementKey::generate(&mut f.w.rng).public();
        let m1 = m1(&mut f, point);
        f.as_app(&m1);
        f.w.run_for(50);
    }
    let answers = f.answered(Kind::Bind) - before;
    assert!(answers > 0, "a run is answered");
    tally.tried += 99;
    tally.attempt(answers > 6, || format!("{answers} agreements were computed in 5 s"));
    f.judge(tally);
}
