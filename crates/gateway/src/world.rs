//! An app, its pack and a module, for tests.

use crate::{
    commission::{Commissioner, Member},
    core::Gateway,
};
use lct::{
    attest::{CertificateType, DeviceCertificate, Subject},
    binding::Assurance,
    id::{Cid, Role},
    sign::SigningKey,
    spk::SpkSecret,
};
use pack::{app::Party, identity::Identity, introduction::Introduced, time::Instant};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

pub(crate) const APP: Member = None;
pub(crate) const PACK: Member = Some(Party::Pack);
pub(crate) const MODULE: Member = Some(Party::Module(1));

/// Everything that is to be commissioned.
pub(crate) const DONE: [&str; 11] = [
    "register app-0001",
    "register pack-0001",
    "register module-0001",
    "bind app-0001 pack-0001",
    "bind pack-0001 module-0001",
    "lct app-0001 pack-0001",
    "lct pack-0001 module-0001",
    "pair app-0001 pack-0001",
    "pair pack-0001 module-0001",
    "scope app-0001",
    "answer pack-0001",
];

fn introduced(name: &str, role: Role) -> Introduced {
    Introduced {
        cid: Cid::of(name),
        role,
        state: 0,
        assurance: 0,
        hardware: 1,
        firmware: 1,
        nodes: 0,
        component_id: name.try_into().unwrap(),
    }
}

/// The authority that the app pins.
pub(crate) fn authority() -> SpkSecret {
    SpkSecret::generate(&mut ChaCha20Rng::seed_from_u64(9)).unwrap()
}

/// The app's identity.
pub(crate) fn identity() -> Identity {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let key = SigningKey::generate(&mut rng);
    let certificate = |kind| {
        let subject = Subject {
            kind,
            cid: Cid::of("app-0001"),
            role: Role::App,
            flags: 0,
            not_before: 0,
            not_after: u32::MAX,
            hw: [0; 8],
            key: key.public(),
            code_commit: [0; 32],
        };
        DeviceCertificate::issue(&subject, &key, &mut ChaCha20Rng::seed_from_u64(2))
    };
    Identity {
        component_id: "app-0001".try_into().unwrap(),
        serial: "SN-1".try_into().unwrap(),
        role: Role::App,
        device: certificate(CertificateType::Device),
        batch: certificate(CertificateType::Batch),
        root: key.public(),
        authority: authority().public(),
        key,
        hardware: 1,
        firmware: 1,
        capacity_mwh: 0,
        unique_id: 0,
    }
}

/// What commissions the three, after the tasks in `done`.
pub(crate) fn commissioner(done: &[String]) -> Commissioner {
    let members =
        vec![(PACK, introduced("pack-0001", Role::Pack)), (MODULE, introduced("module-0001", Role::Module))];
    let own = introduced("app-0001", Role::App);
    Commissioner::new(identity(), [0; 32], own, members, done, Assurance::Attested)
}

/// The app's gateway, just started, without a channel.
pub(crate) fn gateway() -> Gateway {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let unix_ms = Box::new(|_: Instant| 1_000);
    Gateway::start(identity(), [0; 32], |_| Ok(None), Vec::new(), 1, unix_ms, Instant::START, &mut rng)
        .unwrap()
}
