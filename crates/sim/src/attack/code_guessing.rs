//! Attack 21: codes are guessed at a pack, and its power is cut after each answer.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{id::Cid, pake::ProverSecret, secret::Secret};
use pack::{identity::key, pdu};

pub const ATTACK: Attack = Attack {
    number: 21,
    name: "code-guessing",
    attacker: "somebody at the pack who does not know its code, and may cut its power",
    defence: Defence::TryLimit,
    run,
};

/// Answers that cost nothing but themselves (H77).
const FREE: usize = 5;

fn secret(byte: u8) -> ProverSecret {
    ProverSecret::from_stretched(&Secret::new([byte; 80])).unwrap()
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::new(0, seed);
    f.w.flash[PACK].insert(key::CODE, [&[1], secret(7).record().expose().as_slice()].concat());
    f.w.restart(PACK);
    let answers = |f: &Field| {
        let step = [pdu::PAKE, pdu::pake::ANSWER];
        f.messages().iter().filter(|m| m.who == PACK && m.bytes.starts_with(&step)).count()
    };
    for round in 0..40u8 {
        let now = f.w.now;
        f.w.app.begin_code(now, Cid::of("pack-0001"), &secret(100 + round), &mut f.w.rng).unwrap();
        f.w.run_for(1_200);
        if round % 2 == 1 {
            f.w.restart(PACK);
            f.w.restart(APP);
        }
        tally.attempt(f.w.pack.bootstrap().is_up(), || "a wrong code opened a channel".into());
    }
    let got = answers(&f);
    // Shares that are none, and the pack's own words said back to it, once it listens again.
    f.w.run_for(3_700_000);
    let newest = |f: &Field| {
        let mut all = f.messages().into_iter().rev();
        all.find(|m| m.bytes.starts_with(&[pdu::PAKE, pdu::pake::ANSWER])).unwrap().bytes
    };
    let own = newest(&f);
    let cid = f.w.identities[APP].cid();
    let share = |share: &[u8]| [&[pdu::PAKE, pdu::pake::SHARE], cid.0.as_slice(), share].concat();
    let mut off_curve = own[2..67].to_vec();
    off_curve[64] ^= 1;
    for (name, point) in
        [("the identity", vec![0; 65]), ("no point", off_curve), ("another form", vec![2; 65])]
    {
        let before = answers(&f);
        f.as_app(&share(&point));
        f.w.run_for(1_200);
        tally.attempt(answers(&f) > before, || format!("{name} was answered"));
    }
    let before = answers(&f);
    f.as_app(&share(&own[2..67]));
    f.w.run_for(50);
    assert_eq!(answers(&f), before + 1, "a share of the pack's own is a share");
    f.as_app(&[&[pdu::PAKE, pdu::pake::CONFIRM], &newest(&f)[67..99]].concat());
    f.w.run_for(1_200);
    tally.attempt(f.w.pack.bootstrap().is_up(), || "the pack believed its own words".into());
    tally.attempt(f.w.flash[PACK].contains_key(&key::device(0)), || "something was stored".into());
    assert!(got > 0, "a guess is answered");
    tally.attempt(got > FREE, || format!("{got} guesses were answered in a minute"));
    f.judge(tally);
}
