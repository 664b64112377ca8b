//! Attack 15: a revoked module lives on because an older list is played again.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, MODULE, PACK},
    world::BOUND,
};
use lct::{
    clock::TimeToken,
    id::Cid,
    revocation::{GRACE_S, Reason, RevocationList, Revoked, Subject, hash_of},
    sign::SigningKey,
};
use pack::{app::Party, can::Bus, pdu};

pub const ATTACK: Attack = Attack {
    number: 15,
    name: "old-revocation-list",
    attacker: "a revoked module, and a node on both buses that kept the lists from before",
    defence: Defence::ListNumber,
    run,
};

fn list(f: &mut Field, number: u32, previous: [u8; 32], names: &[&str]) -> Vec<u8> {
    let entries = names.iter().map(|name| Revoked {
        subject: Subject::Component(Cid::of(name)),
        reason: Reason::Lost,
        time: BOUND,
    });
    let next_update = BOUND + 86_400;
    let list =
        RevocationList { number, this_update: BOUND, next_update, previous, entries: entries.collect() };
    list.issue(f.w.authority.spk.signing_key(), &mut f.w.rng).unwrap().to_vec()
}

fn give(f: &mut Field, list: &[u8]) {
    let now = f.w.now;
    f.w.app.send(now, Party::Pack, &[&[pdu::REVOCATION], list].concat()).unwrap();
    f.w.run_for(1_500);
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::operational(2, seed);
    let one = list(&mut f, 1, [0; 32], &["module-9999"]);
    let two = list(&mut f, 2, hash_of(&one), &["module-9999", "module-0001"]);
    give(&mut f, &one);
    let start = f.w.now;
    let group = f.w.pack.group_generation();
    give(&mut f, &two);
    assert_eq!(f.w.pack.revocation_number(), 2);
    tally.attempt(f.w.pack.group_generation() == group, || "the group kept its key".into());
    // What the module sealed as long as it was trusted, and a list before the one that revokes it.
    let own: Vec<_> = f.recorded().into_iter().filter(|m| m.who == MODULE && m.at < start).collect();
    let before = f.effects();
    for message in own.iter().rev().take(40) {
        f.inject(Bus::Can2, &message.frames);
        f.w.run_for(0);
    }
    tally.attempt(f.effects() != before, || "the revoked module was believed".into());
    // Lists of others, of no order, with another past.
    let liar = SigningKey::generate(&mut f.w.rng);
    let mut forged = list(&mut f, 3, hash_of(&two), &[]);
    let body = forged.len() - 64;
    let signature = liar.sign(&lct::hash::sha256(&[b"modbatt1 crl", &forged[..body]]), &mut f.w.rng);
    forged[body..].copy_from_slice(&signature.0);
    let torn = list(&mut f, 3, [7; 32], &[]);
    for (name, bytes) in [("an older list", one), ("a forged list", forged), ("a list of another past", torn)]
    {
        give(&mut f, &bytes);
        tally.attempt(f.w.pack.revocation_number() != 2, || {
            format!("{name} took the place of the one in force")
        });
    }
    // Whatever list is held, the place of the revoked one is not given to it again.
    let bound = f.w.bind((Some(Party::Pack), PACK), (Some(Party::Module(1)), MODULE));
    tally.attempt(bound, || "the revoked module was bound again".into());
    // Nobody gives out lists any more: once the one in force is too old, nothing new is paired.
    let now = f.w.now;
    let late = TimeToken { time: BOUND + 86_400 + GRACE_S + 10 };
    let late = late.issue(f.w.authority.spk.signing_key(), &mut f.w.rng);
    f.w.app.time_token(now, &late).unwrap();
    f.w.run_for(500);
    let th4 = |f: &Field| f.w.app.relation().session().map(|s| *s.th4());
    let before = th4(&f);
    let certificate = f.w.certificate(APP, PACK);
    f.w.give(Some(Party::Pack), &[&[pdu::CERTIFICATE], certificate.as_slice()].concat());
    f.w.run_for(1_000);
    f.w.give(None, &[&[pdu::CERTIFICATE], certificate.as_slice()].concat());
    f.w.run_for(2_000);
    tally.attempt(th4(&f) != before, || "paired under a list that is too old".into());
    f.judge(tally);
}
