//! Attack 22: ephemeral points that are none: off the curve, the identity, in another form.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
    forged_identity::begins,
    handshake_flood,
};
use lct::{attest::spk_attestation_digest, handshake::Kind, id::Role, spk::SpkSecret};

pub const ATTACK: Attack = Attack {
    number: 22,
    name: "invalid-points",
    attacker: "a node on CAN 1 while a binding is made",
    defence: Defence::PointsOfTheCurve,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = handshake_flood::introduced(seed);
    let x = |head: u8, last: u8| {
        let mut point = [0; 33];
        (point[0], point[32]) = (head, last);
        point
    };
    // x = 1 and x = 4 are on no point of P-256; 5 is, in forms that this link does not know.
    let cases = [
        ("the identity", [0; 33]),
        ("x = 1", x(2, 1)),
        ("x = 4", x(3, 4)),
        ("x beyond the field", [0xFF; 33]),
        ("a field element of ones", {
            let mut p = [0xFF; 33];
            p[0] = 2;
            p
        }),
        ("the head of an uncompressed point", x(4, 5)),
        ("the head of a hybrid point", x(6, 5)),
        ("the other head of a hybrid point", x(7, 5)),
    ];
    for (name, point) in cases {
        let before = f.answered(Kind::Bind);
        let m1 = handshake_flood::m1(&mut f, point);
        f.as_app(&m1);
        f.w.run_for(1_500);
        tally.attempt(f.answered(Kind::Bind) > before, || format!("{name} was agreed with"));
    }
    let m1 = handshake_flood::m1(
        &mut f,
        lct::curve::backend::AgreementKey::from_bytes(&[5; 32]).unwrap().public(),
    );
    for len in [m1.len() - 1, m1.len() - 33] {
        let before = f.answered(Kind::Bind);
        f.as_app(&m1[..len]);
        f.as_app(&[m1.as_slice(), &[0; 32]].concat());
        f.w.run_for(1_500);
        tally.attempt(f.answered(Kind::Bind) > before, || {
            "a message of another length was agreed with".into()
        });
    }
    let before = f.answered(Kind::Bind);
    f.as_app(&m1);
    f.w.run_for(1_500);
    assert!(f.answered(Kind::Bind) > before, "a point is agreed with");
    f.judge(tally);

    // Relationship keys that are no points, vouched for by the device itself.
    let mut f = Field::new(0, seed);
    f.w.run_for(3_000);
    let (pack, app) = (f.w.identities[PACK].cid(), f.w.identities[APP].cid());
    let good = SpkSecret::generate(&mut f.w.rng).unwrap().public();
    for (name, place) in [("the signing key", 2), ("the key for agreements", 35)] {
        let mut bad = good;
        bad.0[place..place + 33].copy_from_slice(&x(2, 1));
        let digest = spk_attestation_digest(&pack, Role::Pack, &bad, &app, &[2; 16]);
        let attestation = f.w.identities[PACK].key.clone().sign(&digest, &mut f.w.rng);
        f.w.forged = Some((bad, attestation));
        let begun = begins(&mut f);
        tally.attempt(begun, || format!("{name} of a relationship is no point, and was taken"));
    }
    f.judge(tally);
}
