//! Attack 33: whoever knows the semi-public keys of both sides (a signature shows its key) seals what he likes to them.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{
    binding::BindRequest,
    handshake::Kind,
    id::BindingId,
    key_package::{KeyPackage, Parties},
    metadata::LinkParameters,
    secret::Secret,
    sign::SigningKey,
    spk::Spk,
};
use pack::{
    app::Party,
    pdu::{self, binding as op},
};

pub const ATTACK: Attack = Attack {
    number: 33,
    name: "known-key",
    attacker: "a node on CAN 1 that knows every semi-public key",
    defence: Defence::PackageSignature,
    run,
};

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::new(0, seed);
    f.w.run_for(3_000);
    let ids = [PACK, APP].map(|who| (f.w.identities[who].cid(), f.w.identities[who].role));
    let request = BindRequest {
        binding_id: BindingId([5; 16]),
        own: ids[0],
        partner: ids[1],
        nonce: [2; 16],
        partner_access: heapless::Vec::from_slice(b"can").unwrap(),
    };
    let request = request.issue(f.w.authority.spk.signing_key(), &mut f.w.rng).unwrap();
    f.w.give(Some(Party::Pack), &[&[pdu::BINDING, op::REQUEST], request.as_slice()].concat());
    f.w.run_for(500);
    let keys = f.w.answer(Some(Party::Pack), pdu::BINDING, op::KEYS).unwrap();
    let spk = Spk::from_slice(&keys[18..86]).unwrap();
    let stranger = SigningKey::generate(&mut f.w.rng);
    let package = KeyPackage {
        kind: Kind::Bind,
        relation: [7; 16],
        half_own: Secret::new([0x31; 64]),
        half_peer: Secret::new([0x32; 64]),
        lct_half: Secret::new([0; 64]),
        salt: [5; 32],
        parameters: LinkParameters { iv_seed: [6; 16], kdf: 1, aead: 1, rotation_days: 30 },
        epoch: 0,
    };
    let parties = Parties { own: ids[0], peer: ids[1] };
    let device = f.w.identities[APP].key.clone();
    for (name, signer) in [("a stranger", &stranger), ("the key of a device", &device)] {
        let sealed = package.seal(&parties, &spk, &[2; 16], signer, &mut f.w.rng).unwrap();
        let head = [pdu::KEY_PACKAGE, pdu::key_package::SEALED];
        f.w.give(Some(Party::Pack), &[&head, [5; 16].as_slice(), &sealed].concat());
        f.w.run_for(500);
        let taken = f.w.answer(Some(Party::Pack), pdu::KEY_PACKAGE, pdu::key_package::STATUS);
        tally.attempt(taken.is_some(), || format!("halves from {name} were taken"));
    }
    f.judge(tally);
}
