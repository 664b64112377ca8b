//! Attack 29: a node tells of policies to which nobody agreed, or no longer, and has them paired under.
//!
//! Of what a ledger holds, devices are given policies, revocation lists (attack 15) and time (attack 16). No message carries
//! a trust score, a proof or a transaction to them; who judges those, and by which tests, says `spec/threats.md`.

use super::{
    Attack, Defence, Tally,
    field::{Field, spk_in},
    world::policy::{Entity, MODULE, PACK, falls_to_a_clear_frame, lowered, policy, signed, take},
};
use lct::{
    policy::{Policy, Rotation, digest_of},
    sign::SigningKey,
};
use pack::{
    app::Party,
    identity::key,
    pdu::{self, policy as op},
};

pub const ATTACK: Attack = Attack {
    number: 29,
    name: "lying-ledger-node",
    attacker: "a node that carries policies: made up, of another binding, half signed, beyond the envelope, older",
    defence: Defence::PolicySignatures,
    run,
};

const PAIR: [Entity; 2] = [PACK, MODULE];

/// Tells both ends of an update and the authority that both have it, has them paired under it, and tries what its table
/// allows: whether a clear frame takes the module off.
fn told(tally: &mut Tally, f: &mut Field, what: &str, version: u32, update: &[u8]) {
    let w = &mut f.w;
    let in_force = w.policy_version;
    for to in PAIR {
        // The ends verify once a second.
        w.run_for(1_100);
        w.give(to.0, &[&[pdu::POLICY, op::UPDATE], update].concat());
        w.run_for(500);
    }
    w.policy_version = version;
    let paired = w.pair(PACK, MODULE);
    w.policy_version = in_force;
    // A pairing that did not come to its end is given up; the one before it stands.
    w.run_for(15_000);
    tally.attempt(paired, || format!("{what}: both ends paired under version {version}"));
    tally.attempt(falls_to_a_clear_frame(w), || format!("{what}: a class was lowered"));
    tally.attempt(!w.pack.modules_up(), || format!("{what}: a channel was lost"));
}

/// `policy` with these three signatures.
fn with(policy: &Policy, signatures: [[u8; 64]; 3]) -> Vec<u8> {
    [&policy.encode().unwrap()[..], signatures.as_flattened()].concat()
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::commissioned(2, seed);
    // For a while the class was lowered by everybody's will, and is no longer.
    let mut last = Vec::new();
    for table in [lowered(&f.w, 2), policy(&f.w, 3, PAIR)] {
        let update = signed(&mut f.w, &table, PAIR);
        assert_eq!(PAIR.map(|to| take(&mut f.w, to, &update)), [0, 0]);
        f.w.policy_version = table.version;
        assert!(f.w.pair(PACK, MODULE), "the owner's own policy");
        last.push(update);
    }
    f.w.run_for(2_000);
    told(tally, &mut f, "one that was replaced", 2, &last[0]);

    let of = |update: &[u8]| {
        let signatures = update[update.len() - 192..].chunks(64);
        let all: Vec<[u8; 64]> = signatures.map(|s| s.try_into().unwrap()).collect();
        <[[u8; 64]; 3]>::try_from(all).unwrap()
    };
    let own = SigningKey::generate(&mut f.w.rng);
    let by_node = |policy: &Policy| own.sign_rfc6979(&digest_of(&policy.encode().unwrap())).0;
    let four = lowered(&f.w, 4);
    let forged = with(&four, [by_node(&four); 3]);
    told(tally, &mut f, "one that the node signed for all three", 4, &forged);

    let five = lowered(&f.w, 5);
    let kept = with(&five, of(&last[1]));
    told(tally, &mut f, "the signatures of the one in force", 5, &kept);

    // The authority proposed it; the two that must agree were never asked.
    let six = lowered(&f.w, 6);
    let proposal = six.propose(f.w.authority.spk.signing_key(), &mut f.w.rng).unwrap();
    let authority: [u8; 64] = *proposal.last_chunk().unwrap();
    let half = with(&six, [authority, by_node(&six), by_node(&six)]);
    told(tally, &mut f, "one to which only the authority agreed", 6, &half);

    // Everybody agreed, for another module of the same pack.
    let second = (Some(Party::Module(2)), MODULE.1 + 1);
    let seven = Policy { entities: policy(&f.w, 7, [PACK, second]).entities, ..lowered(&f.w, 7) };
    let other = signed(&mut f.w, &seven, [PACK, second]);
    told(tally, &mut f, "one of another binding", 7, &other);
    let renamed = with(&Policy { entities: six.entities, ..seven }, of(&other));
    told(tally, &mut f, "one of another binding with the names of this one", 7, &renamed);

    // What no table and no period of the envelope allows, with the keys of all three that must agree: those of the pack with each
    // module only its flash shows.
    let of_pack = spk_in(&f.w.flash[PACK.1][&key::bond(1)]).expect("a binding");
    assert!(of_pack.public() == f.w.spk_of(PACK.1, MODULE.1), "of another module");
    let of_module = f.w.modules[0].relation().own_spk().unwrap().signing_key().clone();
    let all = [f.w.authority.spk.signing_key().clone(), of_pack.signing_key().clone(), of_module];
    let mut open = lowered(&f.w, 8);
    open.rows.iter_mut().for_each(|row| row[5..].fill(0));
    let mut endless = lowered(&f.w, 9);
    endless.rotation = Rotation { epoch_messages: u32::MAX, agreement_s: u32::MAX, ..Rotation::FACTORY };
    for (what, policy) in [("every class in clear", open), ("keys without an end", endless)] {
        let digest = digest_of(&policy.encode().unwrap());
        let update = with(&policy, all.each_ref().map(|key| key.sign_rfc6979(&digest).0));
        told(tally, &mut f, what, policy.version, &update);
    }
    f.judge(tally);
}
