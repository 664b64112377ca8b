//! Accounts and packs of a data directory that `modbatt ledger init` made, and what they sign.
#![allow(dead_code, reason = "each program uses its own part")]

#[path = "../../../ledger/tests/world/mod.rs"]
pub mod world;

use std::{fs, path::Path, time::SystemTime};

use api::{
    Blob,
    telemetry::{Batch, Entry},
};
use lct::{
    attest::{CertificateType, DeviceCertificate, Subject},
    id::{Cid, Role},
    registration::{REGISTRATION_MAX, Registration},
    secret::Secret,
    sign::SigningKey,
    spk::SpkSecret,
};
use ledger::{
    anonymous::{EVERYTHING, Urgency},
    codec::Canonical,
    records::{AccountRole, registry::RevocationScope},
    tx::{Body, Change, Governance, Registry, Unsigned, registry::Anonymous},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

/// Magic and version in front of the seed in a file of an authority's key.
const AUTHORITY_HEAD: usize = 5;

/// An account, and how many transactions it has signed.
#[derive(Clone)]
pub struct Account {
    pub key: SigningKey,
    pub chain_id: [u8; 32],
    pub nonce: u64,
}

impl Account {
    pub fn new(key: SigningKey, chain_id: [u8; 32]) -> Self {
        Account { key, chain_id, nonce: 0 }
    }

    /// Its next transaction.
    pub fn tx(&mut self, body: Body) -> Vec<u8> {
        self.nonce += 1;
        let (chain_id, signer) = (self.chain_id, self.key.public());
        let unsigned = Unsigned { chain_id, signer, nonce: self.nonce, expiry_height: u64::MAX, body };
        let signature = self.key.sign(&unsigned.digest(), &mut ChaCha20Rng::seed_from_u64(self.nonce));
        unsigned.with_signature(signature).to_bytes()
    }

    /// A transaction that is judged by its envelope's signature alone and writes two keys of its sender: the nonce, and what the
    /// sender withdraws.
    pub fn withdrawal(&mut self) -> Vec<u8> {
        self.tx(Body::Registry(Registry::Anonymous(Anonymous::Revoke {
            scope: RevocationScope::Blanket as u8,
            target: EVERYTHING,
            urgency: Urgency::Immediate as u8,
            category: 3,
        })))
    }

    /// Records `first..first + count` of `pack`, bound to `app`, and the transaction over them.
    pub fn batch(&mut self, (app, pack): (&str, &str), first: u32, count: u16) -> Batch {
        let statement = world::batch_statement(pack, first, count);
        let transaction = Blob(self.tx(world::batch_with(&statement, &world::bound_key(pack, app))));
        let records = world::records(pack, first, count).into_iter();
        Batch { transaction, records: records.map(|record| Entry::Record(Blob(record))).collect() }
    }
}

/// Who may do what in a new data directory.
pub struct Founders {
    pub chain_id: [u8; 32],
    pub authority: Account,
    pub operator: Account,
    batch: (SigningKey, DeviceCertificate),
}

impl Founders {
    /// Reads the keys of the data directory `dir`, in which nothing was signed yet.
    pub fn of(dir: &Path, chain_id: [u8; 32]) -> Self {
        let file = |name: &str| fs::read(dir.join("keys").join(name)).unwrap();
        let scalar = |bytes: &[u8]| SigningKey::from_bytes(bytes[..32].try_into().unwrap()).unwrap();
        let batch = file("batch");
        let seed = Secret::from_slice(&file("authority")[AUTHORITY_HEAD..]).unwrap();
        let authority = SpkSecret::from_seed(seed).unwrap();
        Founders {
            chain_id,
            authority: Account::new(authority.signing_key().clone(), chain_id),
            operator: Account::new(scalar(&file("account")), chain_id),
            batch: (scalar(&batch), DeviceCertificate(batch[32..].try_into().unwrap())),
        }
    }

    /// Lets an account in from the block `height` on.
    pub fn let_in(&mut self, key: &SigningKey, role: AccountRole, height: u64) -> Vec<u8> {
        let change = Change::Account { role, key: key.public() };
        self.authority.tx(Body::Govern(Governance { change, height }))
    }

    /// Registers a part whose key is that of its name.
    pub fn register(&mut self, id: &str, role: Role) -> Vec<u8> {
        let now_s = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as u32;
        let subject = Subject {
            kind: CertificateType::Device,
            cid: Cid::of(id),
            role,
            flags: 0,
            not_before: now_s - 60,
            not_after: now_s + 86_400,
            hw: *b"MB-TEST1",
            key: world::key(id).public(),
            code_commit: [0; 32],
        };
        let (issuer, certificate) = &self.batch;
        let statement = Registration {
            chain_id: self.chain_id,
            device: DeviceCertificate::issue(&subject, issuer, &mut ChaCha20Rng::seed_from_u64(1)),
            batch: *certificate,
            component_id: id.try_into().unwrap(),
            serial: format!("SN-{id}").as_str().try_into().unwrap(),
            hardware: 1,
            firmware: 1,
            capacity_mwh: if role == Role::Pack { world::CAPACITY } else { 0 },
            opening_soc_ppm: 500_000,
        };
        let mut bytes = [0; REGISTRATION_MAX];
        let n = statement.encode(&mut bytes).unwrap();
        let proof = world::key(id).sign_rfc6979(&statement.digest().unwrap());
        self.operator.tx(api::sign::register(&bytes[..n], &proof).unwrap())
    }

    /// Binds an app and a pack that are registered.
    pub fn bind(&mut self, (app, pack): (&str, &str)) -> Vec<u8> {
        let record = world::binding((app, Role::App), (pack, Role::Pack));
        let keys = [world::bound_key(app, pack), world::bound_key(pack, app), self.authority.key.clone()];
        self.authority.tx(world::bind_with(&record, keys.each_ref()))
    }
}
