//! Components for which the bridge speaks (A161, A162), where a switch lets it: for clients whose components exist nowhere
//! else. Their keys come from the creators' key file, their certificates from a batch authority that the bridge was given.
//! On the ledger they are components like any other, and their bindings and pairings are made by the same ceremonies; but
//! no device stands behind a proof of theirs, only this bridge.

use std::{fs, path::Path};

use ::lct::{
    attest::{CertificateType, DeviceCertificate, Subject, spk_attestation_digest},
    binding::{BindRequest, BindingRecord, BoundEntity, Introduction},
    certificate::{Certificate, VALIDATION_BUFFER},
    exchange::{Side, pairing_key},
    hash::sha256,
    id::{BindingId, Cid, PairingId, Role},
    metadata::PairingContext,
    ownership::{TRANSFER_MAX, Transfer},
    pairing::Completion,
    registration::{REGISTRATION_MAX, Registration},
    secret::Secret,
    sign::{Signature, SigningKey},
    spk::SpkSecret,
};
use api::binding::{AttestedKey, Sides};
use ledger::{
    records::Component,
    tx::{Body, TxId},
};
use rand_core::Rng;
use zeroize::Zeroizing;

use super::{Ctx, KeyError, ids::id, sign::Creator};
use crate::{
    authority::{PairingIn, PartyIn, active_binding, key::check_private},
    entropy,
    refusal::{Refusal, Reply},
    routes::{binding::complete_binding, pairing::complete_pairing},
};

/// How a component of the bridge is reached: not at all.
const ACCESS: &str = "bridge";
/// How the hardware of such a component is designated.
const HARDWARE: [u8; 8] = *b"BRIDGE\0\0";
/// How long a pairing of theirs lasts, in days.
const VALID_DAYS: u16 = 30;

/// A batch authority that certifies components of the bridge.
pub struct Issuer {
    key: SigningKey,
    certificate: DeviceCertificate,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("key", &self.key.public()).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Reads a file of the scalar and the certificate of a batch authority, 32 and 167 bytes, as `modbatt factory` keeps it.
    ///
    /// # Errors
    /// [`KeyError`]; a file that others can read is refused.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let bytes = fs::read(path)
            .map(Zeroizing::new)
            .map_err(|source| KeyError::Io { path: path.into(), source })?;
        check_private(path)?;
        let (scalar, certificate) = bytes.split_first_chunk::<32>().ok_or(KeyError::NotAKey)?;
        let key = SigningKey::from_bytes(scalar).map_err(|_| KeyError::NotAKey)?;
        let certificate = DeviceCertificate::from_slice(certificate).map_err(|_| KeyError::NotAKey)?;
        let subject = certificate.subject().map_err(|_| KeyError::NotAKey)?;
        if subject.key != key.public() || subject.kind != CertificateType::Batch {
            return Err(KeyError::NotAKey);
        }
        Ok(Issuer { key, certificate })
    }
}

/// A pairing of two components of the bridge.
pub(super) struct Paired {
    pub tx: TxId,
    /// Halves of A and of B, which together open the certificate.
    pub halves: [Secret<32>; 2],
}

fn fault(e: ::lct::Error) -> Refusal {
    Refusal::internal(&e)
}

/// What a name tells of a role; a module where it tells nothing, as the older contract has it.
fn role_of(said: &str) -> Role {
    let said = said.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["module", "mod-"]) {
        Role::Module
    } else if says(&["pack"]) {
        Role::Pack
    } else if says(&["host", "app", "ecu", "controller"]) {
        Role::App
    } else if says(&["sensor"]) {
        Role::Sensor
    } else if says(&["actuator", "motor"]) {
        Role::Actuator
    } else {
        Role::Module
    }
}

impl Ctx {
    fn held_key(&self, what: &str, about: &[&[u8]]) -> Reply<Secret<32>> {
        self.creators()?.held(what, about).map_err(fault)
    }

    fn device_key(&self, cid: &Cid) -> Reply<SigningKey> {
        SigningKey::from_bytes(self.held_key("held device", &[&cid.0])?.expose()).map_err(fault)
    }

    fn link_key(&self, cid: &Cid, binding: &BindingId) -> Reply<SpkSecret> {
        SpkSecret::from_seed(self.held_key("held link", &[&cid.0, &binding.0])?).map_err(fault)
    }

    /// Whether the bridge speaks for a component.
    pub(super) fn holds(&self, cid: &Cid, component: &Component) -> Reply<bool> {
        Ok(self.compat()?.issuer.is_some() && self.device_key(cid)?.public() == component.device_key)
    }

    /// The id of the component of the bridge that `data` and `context` are about.
    pub(super) fn held_id(creator: &Creator, data: &str, context: &str) -> String {
        let digest = sha256(&[
            b"modbatt1 held",
            creator.name.as_bytes(),
            b"|",
            data.as_bytes(),
            b"|",
            context.as_bytes(),
        ]);
        id("comp", &digest[..16])
    }

    /// Registers a component for which the bridge speaks, and hands it to its creator.
    pub(super) async fn make(
        &self,
        creator: &Creator,
        component_id: &str,
        serial: &str,
        said: &str,
    ) -> Reply<()> {
        let compat = self.compat()?;
        let Some(issuer) = &compat.issuer else {
            return Err(Refusal::internal(&"a component was to be made up without its switch"));
        };
        let cid = Cid::of(component_id);
        let role = role_of(said);
        let key = self.device_key(&cid)?;
        let batch = issuer.certificate.subject().map_err(fault)?;
        let certified = Subject {
            kind: CertificateType::Device,
            cid,
            role,
            flags: 0,
            not_before: batch.not_before,
            not_after: batch.not_after,
            hw: HARDWARE,
            key: key.public(),
            code_commit: [0; 32],
        };
        let device = entropy::with(|rng| DeviceCertificate::issue(&certified, &issuer.key, rng))?;
        let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '_' };
        let serial: String = serial.chars().take(::lct::registration::SERIAL_MAX).map(printable).collect();
        let too_long = |_| Refusal::format("component_id: 3 to 64 characters of A-Z, a-z, 0-9, _ and -");
        let chain_id = self.app.chain.chain_id();
        let registration = Registration {
            chain_id,
            device,
            batch: issuer.certificate,
            component_id: component_id.try_into().map_err(too_long)?,
            serial: serial.as_str().try_into().map_err(too_long)?,
            hardware: 0,
            firmware: 0,
            // A pack has an energy account; nobody attests that there is a battery.
            capacity_mwh: u64::from(role == Role::Pack),
            opening_soc_ppm: 0,
        };
        let mut bytes = [0; REGISTRATION_MAX];
        let n = registration.encode(&mut bytes).map_err(fault)?;
        let digest = registration.digest().map_err(fault)?;
        let proof = entropy::with(|rng| key.sign(&digest, rng))?;
        let body = api::sign::register(&bytes[..n], &proof).map_err(fault)?;
        self.step(creator, body).await?;
        tracing::warn!(
            creator = creator.name,
            component_id,
            "a component was made up, for which the bridge speaks"
        );

        let read = move |chain: &node::Chain| {
            let snapshot = chain.read()?;
            let made = snapshot.component(&cid)?;
            let made = made.ok_or_else(|| Refusal::internal(&"an included component is not in the state"))?;
            Ok((made.lct, snapshot.tip().time_ms))
        };
        let (lct, time_ms) = self.app.blocking(read).await?;
        let (from, to) = (issuer.key.public(), creator.key);
        let hop = Transfer { chain_id, cid, lct, hop: 1, previous: [0; 32], from, to, time_ms };
        let mut bytes = [0; TRANSFER_MAX];
        let n = hop.encode(&mut bytes).map_err(fault)?;
        let digest = hop.digest().map_err(fault)?;
        let given = entropy::with(|rng| issuer.key.sign(&digest, rng))?;
        let signatures = [given, self.sign_as(creator, &digest)?];
        self.step(creator, Body::Transfer { statement: bytes[..n].into(), signatures }).await?;
        Ok(())
    }

    /// Makes those of `ids` up that the ledger does not have, where the switch lets the bridge.
    pub(super) async fn make_missing(&self, creator: &Creator, ids: [&str; 2]) -> Reply<()> {
        if self.compat()?.issuer.is_none() {
            return Ok(());
        }
        for name in ids {
            let cid = Cid::of(name);
            let known = self.app.blocking(move |chain| Ok(chain.read()?.component(&cid)?.is_some())).await?;
            if !known && ::lct::id::valid_component_id(name) {
                self.make(creator, name, name, name).await?;
            }
        }
        Ok(())
    }

    /// Binds two components of the bridge, the one nearer the app first, unless they are bound.
    pub(super) async fn bind_held(&self, creator: &Creator, sides: &[(Cid, String, Role); 2]) -> Reply<()> {
        let cids = [sides[0].0, sides[1].0];
        let bound =
            move |chain: &node::Chain| Ok(active_binding(&chain.read()?, &cids[0], &cids[1])?.is_some());
        if self.app.blocking(bound).await? {
            return Ok(());
        }
        let party = |i: usize| PartyIn { component_id: sides[i].1.clone(), access: ACCESS.into() };
        let (name, a, b) = (creator.name.clone(), party(0), party(1));
        let begun = self.app.authority.call(move |core| core.begin_binding(name, a, b, "B1")).await?;
        let binding = BindingId(begun.binding_id.0);
        let authority = self.app.authority.spk().sign_pub();
        let keys = [self.link_key(&cids[0], &binding)?, self.link_key(&cids[1], &binding)?];
        let attest = |i: usize, request: &[u8]| -> Reply<AttestedKey> {
            let request = BindRequest::open(request, &authority).map_err(fault)?;
            let ((own, role), spk) = (request.own, keys[i].public());
            let digest = spk_attestation_digest(&own, role, &spk, &request.partner.0, &request.nonce);
            let device = self.device_key(&own)?;
            let attestation = entropy::with(|rng| device.sign(&digest, rng))?;
            Ok(AttestedKey { spk: api::Fixed(spk.0), attestation: api::Fixed(attestation.0), replaces: None })
        };
        let given = Sides { a: attest(0, &begun.requests.a.0)?, b: attest(1, &begun.requests.b.0)? };
        let introduced = self.app.authority.call(move |core| core.binding_keys(binding, &given)).await?;
        let (introduction, _) = Introduction::split(&introduced.introductions.a.0).map_err(fault)?;
        let told = Introduction::open(introduction, &authority).map_err(fault)?;
        let entity = |i: usize| BoundEntity {
            cid: sides[i].0,
            role: sides[i].2,
            sign_pub: keys[i].public().sign_pub(),
            spk_id: keys[i].public().id(),
            access_commit: told.access_commits[i],
        };
        let record = BindingRecord {
            binding_id: binding,
            entities: [entity(0), entity(1)],
            time: told.time,
            assurance: told.assurance,
        };
        let sign = |i: usize| entropy::with(|rng| keys[i].signing_key().sign(&record.digest(), rng));
        let signatures = Sides { a: sign(0)?.0, b: sign(1)?.0 };
        complete_binding(&self.app, binding, signatures, [None, None]).await?;
        Ok(())
    }

    /// Has a certificate issued to two bound components of the bridge.
    pub(super) async fn issue_held(
        &self,
        creator: &Creator,
        sides: &[(Cid, String, Role); 2],
    ) -> Reply<Vec<u8>> {
        let (mut salt, mut iv_seed) = ([0; 32], [0; 16]);
        entropy::with(|rng| {
            rng.fill_bytes(&mut salt);
            rng.fill_bytes(&mut iv_seed);
        })?;
        let wanted = PairingIn {
            creator: creator.name.clone(),
            a: sides[0].1.clone(),
            b: sides[1].1.clone(),
            context: PairingContext::BatteryManagement,
            salt,
            iv_seed,
            valid_days: VALID_DAYS,
            unencrypted_allowed: Vec::new(),
        };
        Ok(self.app.authority.call(move |core| core.issue_pairing(wanted)).await?.certificate.0)
    }

    /// Opens a certificate in the place of both of its components, and has the pairing recorded.
    pub(super) async fn pair_held(&self, certificate: &[u8], cids: [Cid; 2]) -> Reply<Paired> {
        let certificate = Certificate::parse(certificate).map_err(fault)?;
        let authority = *self.app.authority.spk();
        let pairing_id: PairingId = certificate.pairing_id;
        let bound = move |chain: &node::Chain| {
            let bound = active_binding(&chain.read()?, &cids[0], &cids[1])?;
            bound.map(|(id, _)| id).ok_or_else(|| Refusal::internal(&"a certificate without its binding"))
        };
        let binding = self.app.blocking(bound).await?;
        let keys = [self.link_key(&cids[0], &binding)?, self.link_key(&cids[1], &binding)?];
        let a = certificate.open_section(Side::A, &keys[0], &authority).map_err(fault)?;
        let b = certificate.open_section(Side::B, &keys[1], &authority).map_err(fault)?;
        let key = pairing_key(&a.half, &b.half).map_err(fault)?;
        let mut buffer = [0; VALIDATION_BUFFER];
        let sealed = certificate.validation().map_err(fault)?;
        let nonce = sealed.open(&key, &authority.sign_pub(), &mut buffer).map_err(fault)?.nonce;
        // There was no handshake whose transcript this could be.
        let th4 = sha256(&[b"modbatt1 held", &pairing_id.0]);
        let completion = Completion { pairing_id, nonce, cert_hash: certificate.hash(), th4 };
        let digest = completion.digest();
        let sign = |i: usize| -> Reply<Signature> {
            Ok(entropy::with(|rng| keys[i].signing_key().sign(&digest, rng))?)
        };
        let signatures = Sides { a: sign(0)?.0, b: sign(1)?.0 };
        let tx = complete_pairing(&self.app, pairing_id, (nonce, th4), signatures).await?;
        Ok(Paired { tx, halves: [a.half, b.half] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a batch authority's own key and certificate, in a file of its owner.
    #[cfg(unix)]
    #[test]
    fn an_issuer_is_a_batch_authority() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("batch");
        let draw = || entropy::with(SigningKey::generate).unwrap();
        let (root, batch, other) = (draw(), draw(), draw());
        let subject = |kind| Subject {
            kind,
            cid: Cid::of("batch-0001"),
            role: Role::Authority,
            flags: 0,
            not_before: 0,
            not_after: u32::MAX,
            hw: HARDWARE,
            key: batch.public(),
            code_commit: [0; 32],
        };
        let certify =
            |kind| entropy::with(|rng| DeviceCertificate::issue(&subject(kind), &root, rng)).unwrap();
        let (of_batch, of_device) = (certify(CertificateType::Batch), certify(CertificateType::Device));
        let file = |key: &SigningKey, certificate: &[u8]| {
            fs::write(&path, [key.to_bytes().expose().as_slice(), certificate].concat()).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Issuer::open(&path)
        };
        assert!(file(&batch, &of_batch.0).is_ok());
        for (key, certificate) in [
            (&other, &of_batch.0[..]),
            (&batch, &of_device.0),
            (&batch, &of_batch.0[1..]),
            (&batch, &[of_batch.0.as_slice(), &[0]].concat()),
            (&batch, &[]),
        ] {
            assert!(matches!(file(key, certificate), Err(KeyError::NotAKey)), "{} bytes", certificate.len());
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Issuer::open(&path), Err(KeyError::NotPrivate(_))));
    }

    #[test]
    fn names_of_the_known_clients_tell_roles() {
        for (said, role) in [
            ("battery_pack_demo MODBATT-PACK-RC001-A", Role::Pack),
            ("battery_module_demo MODBATT-MOD-RC001-001", Role::Module),
            ("host_system_demo MODBATT-HOST-RC001", Role::App),
            ("battery-module-001", Role::Module),
            ("motor-controller-001", Role::App),
            ("anything", Role::Module),
        ] {
            assert_eq!(role_of(said), role, "{said}");
        }
    }
}
