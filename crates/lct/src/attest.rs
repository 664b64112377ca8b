//! Manufacturer attestation: device certificates, the chain root -> batch authority -> device, and the
//! attestation of a relationship key by the device identity key (`spec/channel.md`, H7, H8 and H47).
//!
//! Certificate, 167 bytes: `0 version = 1 | 1 type (10 device, 11 batch authority, 12 root) | 2 issuer_kid 2 |
//! 4 cid 16 | 20 role | 21 flags (bit 0 key in secure storage, bit 1 debug locked) | 22 not_before u32 |
//! 26 not_after u32 | 30 hw 8 | 38 pub 33 | 71 code_commit 32 | 103 sig 64`, signature over
//! `H("modbatt1 devcert" || bytes 0..102)`. Times are Unix seconds.

use crate::{
    Digest, Error,
    codec::Fields,
    hash::sha256,
    id::{Cid, Role},
    sign::{PublicKey, Signature, Signer},
    spk::Spk,
};
use kept::{Defence, kept};
use rand_core::CryptoRng;

/// Length of a certificate in bytes.
pub const CERTIFICATE_LEN: usize = 167;
const SIGNED_LEN: usize = 103;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CertificateType {
    /// An end entity; can never issue.
    Device = 10,
    /// A production batch; issues device certificates.
    Batch = 11,
    /// The manufacturer's root; issues batch certificates.
    Root = 12,
}

/// A certificate as it travels. Parse with [`DeviceCertificate::from_slice`], trust after [`verify_chain`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceCertificate(pub [u8; CERTIFICATE_LEN]);

/// What an issuer states about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// End entity, batch authority or root.
    pub kind: CertificateType,
    /// Identity of the subject.
    pub cid: Cid,
    /// Role of the subject.
    pub role: Role,
    /// Bit 0: key in secure storage; bit 1: debug locked.
    pub flags: u8,
    /// Start of validity, Unix seconds.
    pub not_before: u32,
    /// End of validity (exclusive), Unix seconds.
    pub not_after: u32,
    /// Manufacturer's hardware designation.
    pub hw: [u8; 8],
    /// The certified key.
    pub key: PublicKey,
    /// `H("modbatt1 code" || cid || w0 || L)` of the printed code, or zero.
    pub code_commit: Digest,
}

impl DeviceCertificate {
    /// Issues a certificate for `subject`.
    pub fn issue(subject: &Subject, issuer: &impl Signer, rng: &mut impl CryptoRng) -> Self {
        let mut c = [0; CERTIFICATE_LEN];
        c[0] = 1;
        c[1] = subject.kind as u8;
        c[2..4].copy_from_slice(&key_id(&issuer.public()));
        c[4..20].copy_from_slice(&subject.cid.0);
        c[20] = subject.role as u8;
        c[21] = subject.flags;
        c[22..26].copy_from_slice(&subject.not_before.to_be_bytes());
        c[26..30].copy_from_slice(&subject.not_after.to_be_bytes());
        c[30..38].copy_from_slice(&subject.hw);
        c[38..71].copy_from_slice(&subject.key.0);
        c[71..103].copy_from_slice(&subject.code_commit);
        let sig = issuer.sign(&signed_digest(&c), rng);
        c[SIGNED_LEN..].copy_from_slice(&sig.0);
        DeviceCertificate(c)
    }

    /// Copies exactly 167 bytes and checks that every field has a known value.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let cert = DeviceCertificate(bytes.try_into().map_err(|_| Error::Malformed)?);
        cert.subject().map(|_| cert)
    }

    /// The fields.
    pub fn subject(&self) -> Result<Subject, Error> {
        let mut f = Fields::new(&self.0);
        if f.u8()? != 1 {
            return Err(Error::Malformed);
        }
        let kind = match f.u8()? {
            10 => CertificateType::Device,
            11 => CertificateType::Batch,
            12 => CertificateType::Root,
            _ => return Err(Error::Malformed),
        };
        let _issuer_kid: [u8; 2] = f.array()?;
        let subject = Subject {
            kind,
            cid: Cid(f.array()?),
            role: Role::from_code(f.u8()?)?,
            flags: f.u8()?,
            not_before: f.u32()?,
            not_after: f.u32()?,
            hw: f.array()?,
            key: PublicKey(f.array()?),
            code_commit: f.array()?,
        };
        if subject.flags & !0b11 != 0 {
            return Err(Error::Malformed);
        }
        PublicKey::from_slice(&subject.key.0)?;
        Ok(subject)
    }

    /// What the certificate promises of the printed code (H81); zero for nothing.
    pub fn code_commit(&self) -> Digest {
        let mut commit = [0; 32];
        commit.copy_from_slice(&self.0[71..103]);
        commit
    }

    fn issued_by(&self, issuer: &PublicKey) -> Result<(), Error> {
        if self.0[2..4] != key_id(issuer) {
            return Err(Error::NotAuthentic);
        }
        let sig = Signature::from_slice(&self.0[SIGNED_LEN..])?;
        Ok(issuer.verify(&signed_digest(&self.0), &sig)?)
    }
}

fn signed_digest(cert: &[u8; CERTIFICATE_LEN]) -> Digest {
    sha256(&[b"modbatt1 devcert", &cert[..SIGNED_LEN]])
}

/// First two bytes of SHA-256 of the compressed key: a hint, never an identity.
pub fn key_id(key: &PublicKey) -> [u8; 2] {
    let h = sha256(&[&key.0]);
    [h[0], h[1]]
}

/// Verifies `device` under `batch` under one of the pinned `roots` at time `now` (Unix seconds), and
/// returns what is certified about the device.
///
/// `now = None` leaves validity periods to a later check (a device without authenticated time).
pub fn verify_chain(
    device: &DeviceCertificate,
    batch: &DeviceCertificate,
    roots: &[PublicKey],
    now: Option<u32>,
) -> Result<Subject, Error> {
    let subject = device.subject()?;
    if subject.kind != CertificateType::Device {
        return Err(Error::NotAuthentic);
    }
    let batch_subject = issued_batch(batch, roots)?;
    device.issued_by(&batch_subject.key)?;
    holds(&batch_subject, now)?;
    holds(&subject, now)?;
    Ok(subject)
}

/// Verifies a batch authority's own certificate under one of the pinned `roots` at time `now`, as [`verify_chain`] does.
pub fn verify_batch(
    batch: &DeviceCertificate,
    roots: &[PublicKey],
    now: Option<u32>,
) -> Result<Subject, Error> {
    let subject = issued_batch(batch, roots)?;
    holds(&subject, now)?;
    Ok(subject)
}

fn issued_batch(batch: &DeviceCertificate, roots: &[PublicKey]) -> Result<Subject, Error> {
    let subject = batch.subject()?;
    let issued =
        subject.kind == CertificateType::Batch && roots.iter().any(|root| batch.issued_by(root).is_ok());
    let issued = issued || !kept(Defence::PinnedRoot);
    if issued { Ok(subject) } else { Err(Error::NotAuthentic) }
}

fn holds(subject: &Subject, now: Option<u32>) -> Result<(), Error> {
    if now.is_some_and(|now| now < subject.not_before || now >= subject.not_after) {
        Err(Error::Expired)
    } else {
        Ok(())
    }
}

/// Digest of the attestation by which a device identity key vouches for a relationship key:
/// `H("modbatt1 spk-attest" || cid || role || SPK || cid_partner || nonce16)`.
pub fn spk_attestation_digest(cid: &Cid, role: Role, spk: &Spk, partner: &Cid, nonce: &[u8; 16]) -> Digest {
    sha256(&[b"modbatt1 spk-attest", &cid.0, &[role as u8], &spk.0, &partner.0, nonce])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn subject(kind: CertificateType, key: &SigningKey) -> Subject {
        Subject {
            kind,
            cid: Cid::of("module-0001"),
            role: Role::Module,
            flags: 1,
            not_before: 100,
            not_after: 200,
            hw: *b"MB-M2S2P",
            key: key.public(),
            code_commit: [0; 32],
        }
    }

    #[test]
    fn chains_that_must_fail() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let [root, other, batch, device] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let batch_cert = DeviceCertificate::issue(&subject(CertificateType::Batch, &batch), &root, &mut rng);
        let device_cert =
            DeviceCertificate::issue(&subject(CertificateType::Device, &device), &batch, &mut rng);
        let roots = [root.public()];
        let check =
            |d: &DeviceCertificate, b: &DeviceCertificate, now| verify_chain(d, b, &roots, now).map(|_| ());
        assert_eq!(check(&device_cert, &batch_cert, Some(150)), Ok(()));
        assert_eq!(check(&device_cert, &batch_cert, None), Ok(()));
        assert_eq!(check(&device_cert, &batch_cert, Some(99)), Err(Error::Expired));
        assert_eq!(check(&device_cert, &batch_cert, Some(200)), Err(Error::Expired));
        let foreign_batch =
            DeviceCertificate::issue(&subject(CertificateType::Batch, &batch), &other, &mut rng);
        assert_eq!(check(&device_cert, &foreign_batch, None), Err(Error::NotAuthentic), "self-made root");
        let device_as_ca =
            DeviceCertificate::issue(&subject(CertificateType::Device, &batch), &root, &mut rng);
        assert_eq!(
            check(&device_cert, &device_as_ca, None),
            Err(Error::NotAuthentic),
            "device key as authority"
        );
        let batch_as_device =
            DeviceCertificate::issue(&subject(CertificateType::Batch, &device), &batch, &mut rng);
        assert_eq!(
            check(&batch_as_device, &batch_cert, None),
            Err(Error::NotAuthentic),
            "authority as device"
        );
        let by_root = DeviceCertificate::issue(&subject(CertificateType::Device, &device), &root, &mut rng);
        assert_eq!(check(&by_root, &batch_cert, None), Err(Error::NotAuthentic), "not issued by this batch");
        for i in 0..CERTIFICATE_LEN {
            for cert in [&device_cert, &batch_cert] {
                let mut bad = *cert;
                bad.0[i] ^= 0x10;
                let (d, b) = if cert == &device_cert { (&bad, &batch_cert) } else { (&device_cert, &bad) };
                assert!(check(d, b, None).is_err(), "byte {i}");
            }
        }
    }
}
