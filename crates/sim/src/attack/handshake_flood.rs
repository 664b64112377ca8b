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
    beside_a_channel(tally, seed);
}

/// Handshakes of every kind, certificates with signatures of nobody, a thousand halves of runs, while the owner commands.
fn beside_a_channel(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    let quiet = f.latency(|_| {});
    let mut certificate = f.w.certificate(APP, PACK);
    *certificate.last_mut().unwrap() ^= 1;
    let before = f.w.app.relation().session().map(|s| *s.th4());
    let mut n = 0u32;
    let flooded = f.latency(|f| {
        for kind in [Kind::Bind as u8, Kind::Pair as u8, Kind::Resume as u8, 0x42, 0x43, 0x44, 0x84, 0x7F] {
            let mut rest = [0; 100];
            f.w.rng.fill_bytes(&mut rest);
            let pdu = [&[pdu::HANDSHAKE, 1, kind, 1, 1], rest.as_slice()].concat();
            f.as_app(&pdu);
        }
        if n.is_multiple_of(50) {
            let now = f.w.now;
            f.w.app.send(now, Party::Pack, &[&[pdu::CERTIFICATE], certificate.as_slice()].concat()).unwrap();
        }
        n += 1;
    });
    tally.tried += 8 * n;
    // A certificate shares the bus with the command: 98 frames are 27 ms.
    tally.attempt(flooded > quiet + 60, || format!("a command took {flooded} ms instead of {quiet}"));
    tally.attempt(!f.w.app.relation().is_up(), || "the channel went down".into());
    let after = f.w.app.relation().session().map(|s| *s.th4());
    tally.attempt(after != before, || "another pairing stands".into());
    f.judge(tally);
}
