//! Attack 24: short tags are guessed. A guess that is right comes after more wrong ones than an epoch may have: whoever
//! still looks at it would look at 2^24 of them.

use super::{
    Attack, Defence, Tally,
    field::{Field, end},
};
use pack::{
    can::Bus,
    sealed_id::{Direction, Level, SealedId},
    session::{Refusal, limits::Limits},
    time::{Duration, Instant},
};
use rand_chacha::rand_core::Rng;

pub const ATTACK: Attack = Attack {
    number: 24,
    name: "compact-guessing",
    attacker: "a node on CAN 2 that guesses the tags of compact messages",
    defence: Defence::CompactGuard,
    run: |tally, seed| guess(tally, seed, 100_000),
};

/// The size of the design.
pub const LONG: Attack = Attack { run: |tally, seed| guess(tally, seed, 1_000_000), ..ATTACK };

const STATUS: u16 = 0x502;

fn guess(tally: &mut Tally, seed: u64, guesses: u32) {
    let id = SealedId::new(STATUS, Level::Exch, Direction::Ba, 1).unwrap();
    // Without a certificate that lists the class, no compact message is looked at.
    let mut f = Field::operational(1, seed);
    let refused = f.refused();
    for n in 0..50 {
        let mut guess = [0; 16];
        f.w.rng.fill_bytes(&mut guess);
        f.send(Bus::Can2, id, &guess[..if n % 2 == 0 { 8 } else { 16 }]);
    }
    tally.attempt(f.refused() - refused < 50, || "a compact message was taken that nobody allowed".into());
    f.judge(tally);

    let mut f = Field::new(1, seed);
    f.w.compact = vec![STATUS];
    f.commission();
    // Whole answers are held back too: they would move the counter on.
    let values =
        |id: SealedId| id.family() >= 0x500 && id.level() == Level::Exch && id.direction() == Direction::Ba;
    let held = f.withhold(values, |_| {}, 6_000);
    let mut genuine = held.iter().filter(|m| m.bytes.len() == 16);
    let (first, last) = (genuine.next().unwrap().clone(), genuine.next().unwrap().clone());
    let refused = f.refused();
    f.send(Bus::Can2, id, &first.bytes);
    assert_eq!(f.refused(), refused, "a compact status is taken");
    for _ in 0..100 {
        let mut guess = [0; 16];
        f.w.rng.fill_bytes(&mut guess);
        let refused = f.refused();
        f.send(Bus::Can2, id, &guess);
        tally.attempt(f.refused() == refused, || "a random tag was taken".into());
        f.w.run_for(5);
    }
    let refused = f.refused();
    f.send(Bus::Can2, id, &last.bytes);
    tally.attempt(f.refused() == refused, || "guess 101 was looked at, and it was right".into());
    random_tags(tally, &mut f, guesses);
    f.judge(tally);
}

/// Random messages of one frame and of two, against the receiving end alone, each so long after the one before that only
/// the limit of an epoch counts. What is refused unseen is no attempt.
fn random_tags(tally: &mut Tally, f: &mut Field, guesses: u32) {
    const LISTED: u16 = 0x412;
    let session = f.w.app.relation().session().unwrap();
    let mut app = end(session, session.sends());
    app.allow_compact(&[LISTED]).unwrap();
    let id = SealedId::new(LISTED, Level::Exch, Direction::Ba, 0).unwrap();
    let (mut now, mut looked) = (Instant::START, 0);
    for n in 0..guesses {
        let mut guess = [0; 16];
        f.w.rng.fill_bytes(&mut guess);
        let guess = &mut guess[..if n % 2 == 0 { 8 } else { 16 }];
        let opened = app.open(now, &Limits::DEFAULT, id, guess);
        if opened != Err(Refusal::Policy) {
            looked += 1;
            tally.attempt(opened.is_ok(), || format!("random message {n} was taken"));
        }
        now = now + Duration::from_secs(2);
    }
    let most = Limits::DEFAULT.compact_epoch_failures;
    assert!(looked >= most, "{looked} were looked at");
    tally.attempt(looked > most, || format!("{looked} random messages were looked at in one epoch"));
}
