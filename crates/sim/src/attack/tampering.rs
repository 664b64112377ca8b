//! Attack 3: bits of sealed messages and of their identifiers are flipped, messages are cut and lengthened.

use super::{
    Attack, Defence, Tally,
    field::{Field, ends},
    world::World,
};
use pack::{
    can::Bus,
    message::RelayState,
    sealed_id::{Direction, Level, SealedId},
    session::limits::Limits,
    time::Instant,
};

pub const ATTACK: Attack = Attack {
    number: 3,
    name: "tampering",
    attacker: "a node on both buses that changes messages on their way",
    defence: Defence::Tag,
    run,
};

/// Flips tried against a role before its alarm would give it fresh keys.
const AGAINST_A_ROLE: usize = 48;

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(1, seed);
    against_a_session(tally, &f);
    // The owner's Off is held back, and comes with one bit changed.
    let held = f.withhold(|id| id.family() == 0x400 && id.direction() == Direction::Ab, off, 30);
    let message = held.last().unwrap().clone();
    let bits = message.bytes.len() * 8;
    let before = f.effects();
    for n in 0..AGAINST_A_ROLE {
        let bit = bits - 1 - n * bits / AGAINST_A_ROLE;
        let mut changed = message.bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        f.send(Bus::Can1, message.sealed.unwrap(), &changed);
    }
    f.w.run_for(60);
    tally.tried += AGAINST_A_ROLE as u32 - 1;
    tally.attempt(f.effects().states != before.states, || "a command with a flipped bit was obeyed".into());
    // Nothing of this was in vain: the owner's next one, unchanged, is obeyed.
    let held = f.withhold(|id| id.family() == 0x400 && id.direction() == Direction::Ab, off, 30);
    let message = held.last().unwrap().clone();
    f.send(Bus::Can1, message.sealed.unwrap(), &message.bytes);
    f.w.run_for(60);
    assert!(f.w.pack.state() == RelayState::Off || tally.hits > 0, "the unchanged message is obeyed");
    f.let_through();
    f.judge(tally);
}

fn off(w: &mut World) {
    let now = w.now;
    w.app.set_state(now, RelayState::Off, &mut w.rng).unwrap();
}

/// Every bit and length of messages of many lengths, against the receiving end alone.
fn against_a_session(tally: &mut Tally, f: &Field) {
    let victim = f.w.app.relation().session().unwrap();
    let (pack, mut app) = ends(victim);
    let id = SealedId::new(0x424, Level::Exch, victim.sends().reversed(), 0).unwrap();
    let mut open = |id: SealedId, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let opened = app.open(Instant::START, &Limits::DEFAULT, id, &mut bytes).is_ok();
        // What did not open leaves no part of its text behind.
        opened || bytes.windows(4).any(|part| part == [0x5A; 4])
    };
    for n in [1, 7, 8, 31, 35, 64, 99] {
        let good = pack.sealed(id, 0x424, &vec![0x5A; n]);
        // The tag first: without it a counter that was changed would move the window.
        for bit in (0..good.len() * 8).rev() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            tally.attempt(open(id, &bad), || format!("{n} bytes with bit {bit} flipped opened"));
        }
        for len in (1..good.len()).filter(|len| good.len() - len <= 28 || *len <= 29) {
            tally.attempt(open(id, &good[..len]), || format!("{n} bytes cut to {len} opened"));
        }
        for more in 1..=28 {
            let long = [good.as_slice(), &vec![0; more]].concat();
            tally.attempt(open(id, &long), || format!("{n} bytes with {more} more opened"));
        }
        let mut untagged = good.clone();
        untagged[good.len() - 16..].fill(0);
        tally.attempt(open(id, &untagged), || format!("{n} bytes with no tag opened"));
        for other in [(0x420, Level::Exch), (0x4A4, Level::Exch), (0x424, Level::Pair), (0x424, Level::Bind)]
        {
            let other = SealedId::new(other.0, other.1, id.direction(), 0).unwrap();
            tally.attempt(open(other, &good), || format!("{n} bytes opened as {other:?}"));
        }
        let elsewhere = SealedId::new(0x424, Level::Exch, id.direction(), 9).unwrap();
        tally.attempt(open(elsewhere, &good), || format!("{n} bytes opened for another device"));
        assert!(open(id, &good) || tally.hits > 0, "the unchanged message opens");
    }
}
