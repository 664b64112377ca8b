//! Attack 31: a party is made to believe that it speaks with somebody else than it does, by names or keys that are
//! exchanged on one side.

use super::{Attack, Defence, Tally};
use lct::{
    handshake::{Context, Ephemeral, Initiator, Kind, Psk, Responder, SIGNED},
    id::Cid,
    spk::SpkSecret,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

pub const ATTACK: Attack = Attack {
    number: 31,
    name: "misbinding",
    attacker: "the authority, which names the key of one party as that of another",
    defence: Defence::NamedParties,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let [a, b, c] = [(); 3].map(|()| SpkSecret::generate(&mut rng).unwrap());
    let [app, pack, other] = ["app-0001", "pack-0001", "pack-0002"].map(Cid::of);
    let honest = Context {
        kind: Kind::Bind,
        flags: SIGNED,
        cid_a: app,
        cid_b: pack,
        spk_a: Some(a.public()),
        spk_b: Some(b.public()),
        cert_hash: None,
        policy_hash: [6; 32],
        salt: [0; 32],
    };
    let psk: [&[u8]; 1] = [&[0; 32]];
    let mut agreed = |mine: &Context, theirs: &Context| {
        let (initiator, m1) = Initiator::start(mine, Ephemeral::generate(&mut rng), 1, None, None).ok()?;
        let (ephemeral, key) = (Ephemeral::generate(&mut rng), Some(b.signing_key()));
        let (responder, m2) =
            Responder::answer(theirs, ephemeral, 1, None, &m1, None, &Psk(&psk), key, &mut rng).ok()?;
        let (m3, one) = initiator.finish(mine, &m2, &Psk(&psk), Some(a.signing_key()), &mut rng).ok()?;
        let two = responder.finish(theirs, &m3).ok()?;
        (one.master == two.master).then_some(())
    };
    assert!(agreed(&honest, &honest).is_some(), "an honest run ends well");
    let cases = [
        ("the app believes in another pack", Context { cid_b: other, ..honest.clone() }),
        ("names exchanged", Context { cid_a: pack, cid_b: app, ..honest.clone() }),
        ("the app is told another key", Context { spk_b: Some(c.public()), ..honest.clone() }),
        ("the app is told its own key", Context { spk_b: Some(a.public()), ..honest.clone() }),
        ("another policy", Context { policy_hash: [7; 32], ..honest.clone() }),
        ("a certificate on one side", Context { cert_hash: Some([1; 32]), ..honest.clone() }),
    ];
    for (name, wrong) in cases {
        for (one, two) in [(&wrong, &honest), (&honest, &wrong)] {
            tally.attempt(agreed(one, two).is_some(), || format!("{name}, and both sides agreed"));
        }
    }
}
