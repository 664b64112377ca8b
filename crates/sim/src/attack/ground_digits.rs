//! Attack 18, bindings by comparison: a peer in the middle looks for a nonce with which both sides show the same digits.
//! The digits are shortened to three, so that looking takes no time; what is shown is that it may look at all. The long run
//! looks at 2^24 nonces for all six.

use super::{Attack, Defence, Tally};
use lct::{
    Digest,
    curve::backend::AgreementKey,
    handshake::{COMMITTED, Context, Ephemeral, Initiator, Kind, Psk, Responder, commit},
    hash::sha256,
    id::Cid,
    schedule::{derive, extract, mac16},
    secret::Secret,
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

pub const ATTACK: Attack = Attack {
    number: 18,
    name: "ground-digits",
    attacker: "a peer in the middle of a binding by comparison",
    defence: Defence::Commitment,
    run: |tally, seed| grind(tally, seed, 3, 1_000, 20_000),
};

/// The size of the design.
pub const LONG: Attack = Attack { run: |tally, seed| grind(tally, seed, 1, 1_000_000, 1 << 24), ..ATTACK };

const SALT: [u8; 32] = [4; 32];
/// In this kind of binding the halves travel in clear.
const PSK: [&[u8]; 3] = [&[1; 64], &[2; 64], &SALT];

fn context() -> Context {
    Context {
        kind: Kind::Dev,
        flags: COMMITTED,
        cid_a: Cid::of("app-0001"),
        cid_b: Cid::of("pack-0001"),
        spk_a: None,
        spk_b: None,
        cert_hash: None,
        policy_hash: [6; 32],
        salt: SALT,
    }
}

/// The digits that the app will show when it is answered with `nonce` (H12, H22, H23).
fn digits(secret: &AgreementKey, dh: &Secret<32>, m0: &[u8], m1: &[u8], nonce: &[u8; 16]) -> u32 {
    let c = context();
    let th0 = sha256(&[
        b"modbatt1 hs",
        &[Kind::Dev as u8, lct::SUITE, COMMITTED],
        &c.cid_a.0,
        &c.cid_b.0,
        &[0; 32],
        &[0; 32],
        &[0; 32],
        &c.policy_hash,
    ]);
    let core = [&[1, 0x41, COMMITTED, 1], [0; 4].as_slice(), nonce, &secret.public()].concat();
    let th2 = sha256(&[&sha256(&[&th0, m0, m1]), &core]);
    let salt = derive::<32>(&extract(&SALT, &PSK), "hs salt", &[&th0]).unwrap();
    let s1 = extract(salt.expose(), &[dh.expose()]);
    let finished = |label, th: &Digest| mac16(derive::<32>(&s1, label, &[th]).unwrap().expose(), &[th]);
    let th3 = sha256(&[&th2, &finished("fin b", &th2)]);
    let th4 = sha256(&[&th3, &finished("fin a", &th3)]);
    u32::from_be_bytes(*derive::<4>(&s1, "sas", &[&th4]).unwrap().expose()) % 1_000_000
}

/// So many `legs`, digits taken modulo `shown`, and `nonces` looked at for each.
fn grind(tally: &mut Tally, seed: u64, legs: u32, shown: u32, nonces: u32) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let c = context();
    for _ in 0..legs {
        // The leg to the pack is played to its end: the pack shows these digits.
        let pack = Ephemeral::generate(&mut rng);
        let m0 = commit(&c, &pack).unwrap();
        let (middle, m1) = Initiator::start(&c, Ephemeral::generate(&mut rng), 1, None, Some(&m0)).unwrap();
        let (pack, m2) =
            Responder::answer(&c, pack, 0, Some(&m0), &m1, None, &Psk(&PSK), None, &mut rng).unwrap();
        let (m3, _) = middle.finish(&c, &m2, &Psk(&PSK), None, &mut rng).unwrap();
        let target = pack.finish(&c, &m3).unwrap().comparison;
        // The leg to the app: a commitment to something, and then a nonce that fits.
        let (mut scalar, mut nonce) = ([0; 32], [0; 16]);
        rng.fill_bytes(&mut scalar[1..]);
        rng.fill_bytes(&mut nonce);
        let secret = AgreementKey::from_bytes(&scalar).unwrap();
        let m0 = commit(&c, &Ephemeral::from_parts(&scalar, nonce).unwrap()).unwrap();
        let (app, m1) = Initiator::start(&c, Ephemeral::generate(&mut rng), 1, None, Some(&m0)).unwrap();
        let dh = secret.agree(m1[28..61].try_into().unwrap()).unwrap();
        let looked = (0..nonces).map(|n| u128::from(n).to_be_bytes());
        let found: Vec<_> =
            looked.filter(|n| digits(&secret, &dh, &m0, &m1, n) % shown == target % shown).collect();
        assert!(!found.is_empty(), "{nonces} nonces are enough");
        let mut answered = |nonce| {
            let ephemeral = Ephemeral::from_parts(&scalar, nonce).unwrap();
            let (_, m2) =
                Responder::answer(&c, ephemeral, 0, Some(&m0), &m1, None, &Psk(&PSK), None, &mut rng)
                    .unwrap();
            app.finish(&c, &m2, &Psk(&PSK), None, &mut rng).map(|(_, done)| done.comparison)
        };
        for found in found {
            let equal = answered(found).is_ok_and(|digits| digits % shown == target % shown);
            tally.attempt(equal, || "app and pack show the same digits to two different peers".into());
        }
        assert!(answered(nonce).is_ok(), "with the nonce of the commitment the run ends well");
    }
}
