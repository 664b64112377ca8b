//! Attack 28: the log of a pack is edited, shortened and put into another order, and rewritten by whoever took the pack
//! with its present key.

use super::{Attack, Defence, Tally, field::Field, world::keeper::Keeper};
use lct::{
    audit::{AuditChain, AuditLink, Verifier},
    journal::KeyStatement,
    schedule::derive,
    secret::Secret,
};
use pack::{app::Party, message::RelayState};

pub const ATTACK: Attack = Attack {
    number: 28,
    name: "rewritten-log",
    attacker: "whoever keeps the log of a pack, and whoever took the pack and its present key",
    defence: Defence::LogTag,
    run,
};

type Log = Vec<(AuditLink, Vec<u8>)>;

/// Number of the entry at which a verifier stops, none when it is content.
fn stops(log: &Log, first_key: &Secret<32>) -> Option<u64> {
    let mut verifier = Verifier::new(Some(first_key.clone()));
    log.iter().find(|(link, entry)| verifier.entry(link, entry).is_err()).map(|_| verifier.head().0 + 1)
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::commissioned(0, seed);
    let mut keeper = Keeper::default();
    keeper.collect(&mut f.w, 8_000);
    for state in [RelayState::Standby, RelayState::Off] {
        let now = f.w.now;
        f.w.app.set_state(now, state, &mut f.w.rng).unwrap();
        keeper.collect(&mut f.w, 4_000);
    }
    let party = Some(Party::Pack);
    let kept = keeper.of(party);
    let log: Log = kept.entries.iter().map(|(link, entry)| (*link, entry.clone())).collect();
    let signer = Keeper::signer(&f.w, party);
    let statement = KeyStatement::open(kept.key.as_ref().unwrap(), &signer).unwrap();
    let first_key = statement.first_key(f.w.authority.spk.opening_key()).unwrap();
    assert!(log.len() >= 4 && stops(&log, &first_key).is_none(), "{} entries of an honest log", log.len());
    for at in 0..log.len() {
        let number = at as u64 + 1;
        let mut edited = log.clone();
        *edited[at].1.last_mut().unwrap() ^= 1;
        tally.attempt(stops(&edited, &first_key) != Some(number), || format!("entry {number} was edited"));
        if at + 1 < log.len() {
            let mut shortened = log.clone();
            shortened.remove(at);
            tally.attempt(stops(&shortened, &first_key) != Some(number), || {
                format!("entry {number} was taken out")
            });
            let mut swapped = log.clone();
            swapped.swap(at, at + 1);
            tally.attempt(stops(&swapped, &first_key) != Some(number), || {
                format!("entry {number} changed places")
            });
        }
    }
    // The key of today is that behind the last entry; every entry from the second on is written anew with it.
    let mut key = first_key.clone();
    for number in 1..=log.len() as u64 {
        key = derive(&key, "log next", &[&number.to_be_bytes()]).unwrap();
    }
    let mut forged = AuditChain::restore(1, log[0].0.hash, key);
    let mut rewritten = log[..1].to_vec();
    for (_, entry) in &log[1..] {
        let mut entry = entry.clone();
        *entry.last_mut().unwrap() ^= 1;
        rewritten.push((forged.append(&entry).unwrap(), entry));
    }
    tally.attempt(stops(&rewritten, &first_key) != Some(2), || {
        format!("{} entries of the past were written anew", rewritten.len() - 1)
    });
    f.judge(tally);
}
