//! Attack 21, without the pack: a recorded proof of the printed code is held against a list of codes that holds the right
//! one.

use super::{Attack, Defence, Tally};
use lct::{
    id::Cid,
    pake::{Prover, ProverSecret, STRETCHED_LEN, Verifier},
    secret::Secret,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

pub const ATTACK: Attack = Attack {
    number: 21,
    name: "code-dictionary",
    attacker: "somebody who recorded a proof of the printed code and has a list of codes",
    defence: Defence::FreshShares,
    run: |tally, seed| search(tally, seed, 200),
};

/// The size of the design.
pub const LONG: Attack = Attack { run: |tally, seed| search(tally, seed, 1_000_000), ..ATTACK };

/// What a code of the list is stretched to; that scrypt makes each guess dearer is not relied on.
fn secret(guess: u32) -> ProverSecret {
    let mut stretched = [0x5A; STRETCHED_LEN];
    stretched[36..40].copy_from_slice(&guess.to_be_bytes());
    stretched[76..].copy_from_slice(&guess.to_be_bytes());
    ProverSecret::from_stretched(&Secret::new(stretched)).unwrap()
}

fn search(tally: &mut Tally, seed: u64, codes: u32) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (app, pack) = (Cid::of("app-0001"), Cid::of("pack-0001"));
    let right = codes / 2;
    let prover = Prover::start(&secret(right), &app, &pack, &mut rng);
    let share = *prover.share();
    let (verifier, answer) =
        Verifier::answer(&secret(right).record(), &app, &pack, &share, &mut rng).unwrap();
    let (confirm, _) = prover.finish(&answer).unwrap();
    verifier.finish(&confirm).unwrap();
    for guess in 0..codes {
        // Whoever has the right code and the share's secret would find the same share, and the answer would verify.
        let own = Prover::start(&secret(guess), &app, &pack, &mut rng);
        let same = *own.share() == share;
        let fits = same || (guess % 8 == right % 8 && own.finish(&answer).is_ok());
        tally.attempt(fits, || format!("code {guess} of {codes} is told from the others by a recording"));
    }
}
