//! Attack 17: a malicious authority introduces a device whose chain of certificates is its own.

use super::{
    Attack, Defence, Tally,
    field::{APP, Field, PACK},
};
use lct::{
    attest::{CertificateType, DeviceCertificate, Subject, spk_attestation_digest},
    id::{Cid, Role},
    sign::SigningKey,
    spk::SpkSecret,
};
use pack::{app::Party, pdu};

pub const ATTACK: Attack = Attack {
    number: 17,
    name: "forged-identity",
    attacker: "the authority, which signs introductions, without the manufacturer's root",
    defence: Defence::PinnedRoot,
    run,
};

/// Binds app and pack; true when the app began a handshake with the key that it was given for the pack.
pub fn begins(f: &mut Field) -> bool {
    let m1 = [pdu::HANDSHAKE, 1, 2];
    let asked = |f: &Field| f.messages().iter().filter(|m| m.who == APP && m.bytes.starts_with(&m1)).count();
    let before = asked(f);
    f.w.bind((None, APP), (Some(Party::Pack), PACK));
    f.w.run_for(13_000);
    asked(f) > before
}

fn run(tally: &mut Tally, seed: u64) {
    let mut f = Field::new(0, seed);
    f.w.run_for(3_000);
    let [root, batch, device] = [(); 3].map(|()| SigningKey::generate(&mut f.w.rng));
    let own = SpkSecret::generate(&mut f.w.rng).unwrap();
    let (pack, app) = (Cid::of("pack-0001"), f.w.identities[APP].cid());
    let digest = spk_attestation_digest(&pack, Role::Pack, &own.public(), &app, &[2; 16]);
    f.w.forged = Some((own.public(), device.sign(&digest, &mut f.w.rng)));
    let certificate = |f: &mut Field, kind, cid, role, key: &SigningKey, issuer: &SigningKey| {
        let subject = Subject {
            kind,
            cid,
            role,
            flags: 0,
            not_before: 0,
            not_after: u32::MAX,
            hw: [0; 8],
            key: key.public(),
            code_commit: [0; 32],
        };
        DeviceCertificate::issue(&subject, issuer, &mut f.w.rng)
    };
    let (honest_device, honest_batch) = (f.w.identities[PACK].device, f.w.authority.batch_cert);
    let of_pack = |f: &mut Field, issuer: &SigningKey| {
        certificate(f, CertificateType::Device, pack, Role::Pack, &device, issuer)
    };
    let real = f.w.authority.batch.clone();
    let own_batch =
        certificate(&mut f, CertificateType::Batch, Cid::of("batch"), Role::Authority, &batch, &root);
    let no_batch =
        certificate(&mut f, CertificateType::Device, Cid::of("batch"), Role::Authority, &batch, &real);
    let other =
        certificate(&mut f, CertificateType::Device, Cid::of("pack-0666"), Role::Pack, &device, &real);
    let role = certificate(&mut f, CertificateType::Device, pack, Role::Module, &device, &real);
    let cases = [
        ("a root of its own", of_pack(&mut f, &batch), own_batch),
        ("a device as batch authority", of_pack(&mut f, &batch), no_batch),
        ("no batch authority", of_pack(&mut f, &root), honest_batch),
        ("the chain of another device", other, honest_batch),
        ("the chain of a device of another role", role, honest_batch),
    ];
    for (name, device, batch) in cases {
        (f.w.identities[PACK].device, f.w.authority.batch_cert) = (device, batch);
        let begun = begins(&mut f);
        tally.attempt(begun, || format!("{name} was believed"));
        tally.attempt(f.w.app.relation().binding().is_some(), || format!("{name} was bound"));
    }
    (f.w.forged, f.w.identities[PACK].device, f.w.authority.batch_cert) = (None, honest_device, honest_batch);
    assert!(begins(&mut f) || tally.hits > 0, "the honest chain is believed");
    f.judge(tally);
}
