//! Attack 23: a partner that puts another half into the pairing key than the certificate gave it.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{
    certificate::Certificate,
    curve::backend::AgreementKey,
    exchange::{Side, seal_half},
    handshake::Kind,
    secret::Secret,
};
use pack::{app::Party, pdu};
use rand_chacha::rand_core::Rng;

pub const ATTACK: Attack = Attack {
    number: 23,
    name: "wrong-half",
    attacker: "a partner with a valid certificate and its exchange key",
    defence: Defence::KeyCommitment,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::commissioned(0, seed);
    f.silence_app();
    let bytes = f.w.certificate(APP, PACK);
    f.w.give(Some(Party::Pack), &[&[pdu::CERTIFICATE], bytes.as_slice()].concat());
    f.w.run_for(1_000);
    let certificate = Certificate::parse(&bytes).unwrap();
    let held = &f.w.held.certificates;
    let [own, theirs, xk] = held.last().unwrap().secrets.clone();
    let earlier = held[0].secrets[0].clone();
    let drawn = Secret::random(&mut f.w.rng);
    let cases = [
        ("another half", drawn),
        ("a half of zeros", Secret::new([0; 32])),
        ("a half of ones", Secret::new([0xFF; 32])),
        ("the pack's own half", theirs),
        ("the half of an earlier pairing", earlier),
        ("", own),
    ];
    for (name, half) in cases {
        let exchange =
            seal_half(Side::A, &half, &xk, &certificate.cm_hash(), &certificate.pairing_id).unwrap();
        let mut nonce = [0; 16];
        f.w.rng.fill_bytes(&mut nonce);
        let point = AgreementKey::generate(&mut f.w.rng).public();
        let head = [pdu::HANDSHAKE, 1, Kind::Pair as u8, 1, 1];
        let m1 = [&head, [0; 8].as_slice(), &nonce, &point, &exchange].concat();
        let before = f.answered(Kind::Pair);
        f.as_app(&m1);
        f.w.run_for(1_500);
        let answered = f.answered(Kind::Pair) > before;
        match name {
            "" => assert!(answered, "the right half is answered"),
            _ => tally.attempt(answered, || format!("{name} was taken")),
        }
    }
    f.judge(tally);
}
