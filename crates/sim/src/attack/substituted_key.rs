//! Attack 18, attested bindings: a malicious authority passes a key of its own off as that of a genuine device.
//! (A binding by comparison is attacked in `ground_digits`.)

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
    forged_identity::begins,
};
use lct::{
    attest::spk_attestation_digest,
    id::Role,
    sign::{Signature, SigningKey},
    spk::SpkSecret,
};

pub const ATTACK: Attack = Attack {
    number: 18,
    name: "substituted-key",
    attacker: "the authority, which signs introductions and sits between the parties",
    defence: Defence::Attestation,
    run,
};

/// Order of the group of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `a - b`, big-endian, for b below a.
fn less(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let (mut difference, mut borrow) = ([0; 32], false);
    for i in (0..32).rev() {
        let (once, one) = a[i].overflowing_sub(b[i]);
        let (twice, two) = once.overflowing_sub(u8::from(borrow));
        (difference[i], borrow) = (twice, one || two);
    }
    difference
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::new(0, seed);
    f.w.run_for(3_000);
    let own = SpkSecret::generate(&mut f.w.rng).unwrap();
    let (pack, app) = (f.w.identities[PACK].cid(), f.w.identities[APP].cid());
    let digest = |nonce| spk_attestation_digest(&pack, Role::Pack, &own.public(), &app, &nonce);
    let stranger = SigningKey::generate(&mut f.w.rng);
    let by = |f: &mut Field, key: &SigningKey, nonce| key.sign(&digest(nonce), &mut f.w.rng).0;
    let genuine = f.w.identities[PACK].key.clone();
    // The device itself vouches for another key, for another partner or at another time.
    let before = by(&mut f, &genuine, [7; 16]);
    let elsewhere = spk_attestation_digest(&pack, Role::Pack, &own.public(), &pack, &[2; 16]);
    let elsewhere = genuine.sign(&elsewhere, &mut f.w.rng).0;
    let mut twin = by(&mut f, &genuine, [2; 16]);
    let s: [u8; 32] = twin[32..].try_into().unwrap();
    twin[32..].copy_from_slice(&less(&ORDER, &s));
    let mut ones = [0xFF; 64];
    ones[31] = 1;
    let cases = [
        ("a signature of a stranger", by(&mut f, &stranger, [2; 16])),
        ("a signature for another nonce", before),
        ("a signature for another partner", elsewhere),
        ("the high twin of a signature", twin),
        ("64 zero bytes", [0; 64]),
        ("r and s beyond the order", [0xFF; 64]),
        ("s beyond the order", ones),
    ];
    for (name, signature) in cases {
        f.w.forged = Some((own.public(), Signature(signature)));
        let begun = begins(&mut f);
        tally.attempt(begun, || format!("{name} vouched for the key of the authority"));
        tally.attempt(f.w.app.relation().binding().is_some(), || format!("{name} led to a binding"));
    }
    f.w.forged = None;
    assert!(begins(&mut f) || tally.hits > 0, "the device's own word is believed");
    f.judge(tally);
}
